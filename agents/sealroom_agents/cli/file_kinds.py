# SPDX-License-Identifier: Apache-2.0
"""What a file seems to be, by its first bytes, so that a command that got another one says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sealroom.codes import Code
from sealroom.errors import SealroomError
from sealroom_agents.errors import ToolError

MOST_BYTES = 8 * 1024 * 1024
"""Of a file that may be JSON so much is read; a longer one is no kind that is known here."""
HEAD_BYTES = 4096


@dataclass(frozen=True)
class Kind:
    """A kind of file."""

    what: str
    """With its article."""
    do: str
    """What takes it."""


ENVELOPE = Kind("the envelope of a result", "verify it: sealroom verify FILE; show it: sealroom show FILE")
FAILURE = Kind("the failure file of a run", "its owner opens it: sealroom explain-failure FILE --key KEY")
_KEY = Kind("a data key", "keep it, and send it to nobody; who can open it: sealroom key list FILE")
_TAR = Kind("a tar archive", "unpack it, and name a file in it")
SEALED = Kind("a sealed dataset", "look at it: sealroom inspect FILE")
_BY_MEMBERS = (
    ({"statement", "release"}, ENVELOPE),
    ({"runId", "reports", "signature"}, FAILURE),
    ({"recipe", "owners", "gate"}, Kind("a study card", "seal for it: sealroom seal --study FILE")),
    ({"docker_compose_file"}, Kind("a recipe", "read it: sealroom recipe --check FILE")),
    ({"crypto", "address"}, Kind("an Ethereum keystore", "it holds an account: --keystore FILE")),
    ({"keyCommitment", "recipients"}, _KEY),
    ({"gateRoot"}, Kind("a pin file", "compare a result with it: sealroom verify ENVELOPE --pin FILE")),
    ({"gateCompose"}, Kind("a pin file", "compare a result with it: sealroom verify ENVELOPE --pin FILE")),
)
"""JSON objects, by members that the kind has."""
_TABLE = "its owner seals it: sealroom seal --owner OWNER --in FILE"
_BY_HEAD = (
    (b"# data key of", _KEY),
    (b"sealroom-data-key", _KEY),
    (b"PAR1", Kind("a Parquet table that is not sealed", _TABLE)),
    (b"ARROW1", Kind("an Arrow table that is not sealed", _TABLE)),
    (b"PK\x03\x04", Kind("a ZIP archive", "unpack it, and name a file in it")),
    (b"\x1f\x8b", Kind("a gzip file", "unpack it first: gunzip FILE")),
    (
        b"SQLite format 3\0",
        Kind("a SQLite database", "look at it: sealroom db check --database sqlite:///FILE"),
    ),
)


def kind_of(path: Path) -> Kind | None:
    """What a file seems to be; `None` for what is not known. Nothing of it is verified. Raises `OSError`."""
    if path.is_dir():
        if (path / "study.yaml").exists():
            return Kind("the folder of a study", "check it: sealroom study check FILE")
        return Kind("a folder", "name a file in it")
    if not path.is_file():
        return None  # a FIFO or device: who opens it may wait for ever
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        rest = stream.read(MOST_BYTES) if head.lstrip().startswith(b"{") else b""
    if found := next((kind for begin, kind in _BY_HEAD if head.startswith(begin)), None):
        return found
    if head[257:262] == b"ustar":
        named = head[:100].rstrip(b"\0")
        return SEALED if named == b"header.json" else _TAR
    return _of_text(head, rest)


def _of_text(head: bytes, rest: bytes) -> Kind | None:
    if rest or head.lstrip().startswith(b"{"):
        try:
            members = set(json.loads(head + rest))
        except (ValueError, RecursionError):
            return None
        return next((kind for wanted, kind in _BY_MEMBERS if wanted <= members), None)
    if not head or b"\0" in head:
        return None
    lines = head.decode("utf-8", "replace").splitlines()
    words = [line.partition(":")[0] for line in lines if not line.startswith((" ", "#"))]
    if {"output", "privacy"} & set(words):
        return Kind("the text of a study", "check it: sealroom study check FILE")
    if "," in lines[0] or ";" in lines[0]:
        return Kind("a CSV table that is not sealed", _TABLE)
    return None


@contextmanager
def expecting(path: Path, wanted: Kind) -> Iterator[None]:
    """A refusal of a file that seems to be of another kind than wanted says of which, and what takes it. Its
    code stays."""
    try:
        yield
    except SealroomError as error:
        found = kind_of(path) if path.exists() else None
        if found is None or found == wanted:
            raise
        raise _another(path, found, wanted, error.code) from error


def refuse_another(path: Path, wanted: Kind, code: Code) -> None:
    """Raises `code` for a file that is plainly of another kind, where what is broken is told in another way
    than by a refusal. A tar archive may be one that is broken."""
    found = kind_of(path) if path.exists() else None
    if found is not None and found not in (wanted, _TAR):
        raise _another(path, found, wanted, code)


def _another(path: Path, found: Kind, wanted: Kind, code: Code) -> ToolError:
    said = f"{path} is not {wanted.what}: it seems to be {found.what}"
    return ToolError(code, said, found.do.replace("FILE", str(path)))
