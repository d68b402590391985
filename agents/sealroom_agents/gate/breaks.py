# SPDX-License-Identifier: Apache-2.0
"""Which entries the gate once wrote, beyond a break of its log that an operator accepted.

A log that does not hold is set aside, and the new one names it, its SHA-256, and the head that the database
had then (`audit`). The lines of the old one that were not changed still show what was written: each carries
its own digest. An entry behind that head proves nothing, since the database never knew it: both may be of an
older copy, with more lines put behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sealroom.encoding import canonical, from_hex, parse_canonical, sha256, to_hex
from sealroom.errors import FormatError
from sealroom_agents.gate.audit import BREAK_ACCEPTED, MAX_LINE_BYTES, read

_ASIDE = re.compile(r"[a-z.]+\.broken-[0-9]+")


def written(log: Path) -> set[bytes]:
    """Digests of the entries that counted, of this log and of those that were set aside for it."""
    breaks: list[Mapping[str, Any]] = []

    def see(entry: Mapping[str, Any]) -> None:
        if entry.get("event") == BREAK_ACCEPTED:
            breaks.append(entry)

    found = set(read(log, see).digests)
    taken = set[str]()
    while breaks:
        facts = breaks.pop().get("facts")
        if not isinstance(facts, dict) or facts.get("file") in taken:
            continue
        name, most = facts.get("file"), facts.get("keptSequence")
        if not isinstance(name, str) or not _ASIDE.fullmatch(name) or not isinstance(most, int):
            continue
        taken.add(name)
        try:
            found.add(from_hex(facts.get("keptDigest"), 32))
            data = log.with_name(name).read_bytes()
        except (FormatError, OSError):
            continue
        if facts.get("sha256") != to_hex(sha256(data)):
            continue
        for digest, entry in _whole(data, most):
            found.add(digest)
            see(entry)
    return found


def _whole(data: bytes, most: int) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
    """Entries up to number `most` whose lines are as they were written, each by itself."""
    for line in data.split(b"\n"):
        try:
            entry = parse_canonical(line, limit=MAX_LINE_BYTES)
            shown = from_hex(entry.pop("digest", None), 32)
        except FormatError:
            continue
        sequence = entry.get("sequence")
        if isinstance(sequence, int) and sequence <= most and sha256(canonical(entry)) == shown:
            yield shown, entry
