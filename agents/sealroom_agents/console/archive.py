# SPDX-License-Identifier: Apache-2.0
"""The history of a consortium as one ZIP, with what proves it: for an auditor who keeps it, and checks it
years later without this console.

    README.txt                          what each file is, and how to check it
    SHA256SUMS                          of all other files, for `sha256sum -c`
    history.csv, history.json           the same rows
    blocks.csv                          each block that the envelopes prove, with its hash
    envelopes/RUN.json                  as the runner published it, byte by byte
    proofs/RUN/BLOCK.header             RLP, whose keccak256 is the hash of the block
    proofs/RUN/BLOCK-INDEX.receipt      nodes of the receipt trie down to one transaction's, an RLP list

The same rows and envelopes make the same bytes, wherever and whenever: names are sorted, times fixed, and
nothing is compressed, since libraries compress in ways of their own.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.envelope import Envelope, parse_envelope
from sealroom.errors import EnvelopeError
from sealroom_agents import inclusion
from sealroom_agents.console.activity import Activity
from sealroom_agents.console.history import COLUMNS, as_csv, row
from sealroom_agents.errors import RequestError

MOST_ROWS = 20_000
"""Of one file."""
MOST_RUNS = 1000
"""Runs whose envelopes are looked for."""
MOST_BYTES = 32 * 1024 * 1024
"""Of all files together. An answer is signed whole, so it is held whole."""
MADE = (1980, 1, 1, 0, 0, 0)
"""Time of each file: the first that a ZIP can say."""
NOTE = """\
Sealroom: the history of one consortium, with its proofs

Chain            {chain_id}
Consortium       {consortium}
Factory          {factory}
Asked for        {asked}
Rows             {rows}
Envelopes        {envelopes} of {runs} runs that the rows name
{fault}
What is here

  history.csv    one line an event of the contracts, newest first; an apostrophe leads text that a spreadsheet
                 would compute
  history.json   the same rows, and of each run whether its envelope is here
  envelopes/     results of runs with all that proves them, as they were published
  proofs/        what the envelopes carry of the chain, for other tools: headers of blocks (RLP), and paths to
                 receipts of transactions (RLP lists of trie nodes). The envelopes have the same inside.
  blocks.csv     those blocks: compare the hashes with any node, or with whom you believe
  SHA256SUMS     of all files: sha256sum -c SHA256SUMS

How to check it offline

  1. sha256sum -c SHA256SUMS
  2. Have a pin file of this consortium from somebody whom you believe, such as one of its owners. It is not
     in here: who could change this file could change that one too. `sealroom pin` makes one.
  3. For each envelope: sealroom verify envelopes/RUN.json --pin pin.json
     Or open verify.html in a browser: `sealroom verify --page verify.html` writes it, each release has it,
     and the console serves it at /verify.html. Compare its SHA-256 with the release's.
  4. To do without the gate's word on blocks: --block-hash NUMBER:HASH for each line of blocks.csv whose hash
     you know from elsewhere.
  5. Online, what happened since: --rpc URL of any full node.

What it does not prove

  Rows without an envelope are what a console read from its nodes: look their transactions up at a node of
  yours. Names are what owners, or the consortium's creator, declared. A row that is not final can still be
  replaced. It is evidence of what was decided and released; nothing here says that a law is obeyed.
"""


@dataclass(frozen=True)
class Subject:
    """Whose history it is, and what of it."""

    chain_id: int
    consortium: str
    factory: str
    asked: str
    """The filter, as it stands in a query; empty for everything."""
    fault: str
    """What is known to be missing, in words; empty where nothing is."""


def archived(
    subject: Subject, pages: Iterable[Sequence[Activity]], envelope_of: Callable[[str], str | None]
) -> bytes:
    """The ZIP. envelope_of: the published envelope of a run by its id, `None` where there is none here.
    Raises `RequestError` `export-too-large`."""
    rows: list[Activity] = []
    for page in pages:
        rows += page
        if len(rows) > MOST_ROWS:
            raise _too_large(f"this period has more than {MOST_ROWS} rows")
    runs = list(dict.fromkeys(to_hex(one.run) for one in rows if one.run))
    if len(runs) > MOST_RUNS:
        raise _too_large(f"{len(runs)} runs are in this period, of at most {MOST_RUNS}")
    files = _Files()
    files.add("history.csv", "".join(as_csv([rows])).encode())
    blocks: list[tuple[str, ...]] = []
    told: dict[str, str] = {}
    for run in runs:
        text = envelope_of(run)
        told[run] = "not here" if text is None else _add_envelope(files, run, text.encode(), blocks)
    files.add("blocks.csv", _table(("run", "block", "hash", "transaction_index"), blocks))
    document = {
        "chainId": subject.chain_id,
        "consortium": subject.consortium,
        "factory": subject.factory,
        "asked": subject.asked,
        "fault": subject.fault,
        "rows": [dict(zip(COLUMNS, row(one), strict=True)) for one in rows],
        "envelopes": told,
    }
    files.add("history.json", (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode())
    note = NOTE.format(
        chain_id=subject.chain_id,
        consortium=subject.consortium,
        factory=subject.factory,
        asked=subject.asked or "everything",
        rows=len(rows),
        envelopes=sum(one != "not here" for one in told.values()),
        runs=len(runs),
        fault=f"\nEvents are missing: {subject.fault}\n" if subject.fault else "",
    )
    files.add("README.txt", note.encode())
    return files.zipped()


def _add_envelope(files: _Files, run: str, data: bytes, blocks: list[tuple[str, ...]]) -> str:
    """Add an envelope and its proofs; says what of it is here."""
    files.add(f"envelopes/{run}.json", data)
    try:
        envelope = parse_envelope(data)
        for name, part, block in _proofs(envelope):
            files.add(f"proofs/{run}/{name}", part)
            if block is not None:
                blocks.append((run, *block))
    except EnvelopeError as error:
        # Such as one of a later version: its bytes are here, and whoever can read it has the proofs in it.
        return f"here; its proofs were not read: {error.code}"
    return "here"


def _proofs(envelope: Envelope) -> Iterator[tuple[str, bytes, tuple[str, str, str] | None]]:
    """Files of an envelope's proofs, with the line of `blocks.csv` for each path. Raises `EnvelopeError`."""
    headers: set[int] = set()
    for proof in envelope.anchor.proofs if envelope.anchor else ():
        header = inclusion.read_header(proof.header)
        number = header.number
        if number not in headers:
            headers.add(number)
            yield f"{number}.header", proof.header, None
        line = (str(number), to_hex(header.hash), str(proof.index))
        yield f"{number}-{proof.index}.receipt", inclusion.unpack(proof.path), line


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows(lines)
    return text.getvalue().encode()


class _Files:
    """Files of the archive by name, at most `MOST_BYTES`."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._bytes = 0

    def add(self, name: str, data: bytes) -> None:
        """Raises `RequestError` `export-too-large`."""
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            raise _too_large(f"history and envelopes have more than {MOST_BYTES} bytes")
        self._files[name] = data

    def zipped(self) -> bytes:
        """All of them, and their sums."""
        sums = "".join(f"{sha256(data).hex()}  {name}\n" for name, data in sorted(self._files.items()))
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
            for name, data in sorted([*self._files.items(), ("SHA256SUMS", sums.encode())]):
                entry = zipfile.ZipInfo(name, MADE)
                entry.create_system, entry.external_attr = 3, 0o644 << 16
                archive.writestr(entry, data)
        return made.getvalue()


def _too_large(why: str) -> RequestError:
    return RequestError(Code.EXPORT_TOO_LARGE, why, "choose a shorter period with since and until")
