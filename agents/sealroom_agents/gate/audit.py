# SPDX-License-Identifier: Apache-2.0
"""The gate's audit log: one JSON object a line, each carrying the digest of the one before (RE-12).

Editing, removing or reordering a line breaks the chain at that line; cutting the tail off shows against the
last digest, which whoever keeps the log elsewhere compares. No key, row or nonce preimage ever enters it.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealroom.encoding import canonical, parse_canonical, sha256, to_hex
from sealroom.errors import FormatError
from sealroom_agents.errors import GateError

GENESIS = to_hex(bytes(32))
"""What the first entry names as the digest before it."""
MAX_LINE_BYTES = 64 * 1024
"""Longest line."""


class AuditLog:
    """An append-only log file. Thread safe; a second process on the same file is an error of the
    operator's."""

    def __init__(self, path: Path) -> None:
        """Open or create; the whole existing chain is verified first.

        Raises `GateError`: `audit-broken`, `state-in-use`.
        """
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sequence, self._previous = verify(path)
        except BlockingIOError as error:
            os.close(self._file)
            raise GateError(
                "state-in-use", f"another gate writes {path}", "one gate process for each --state folder"
            ) from error
        except GateError:
            os.close(self._file)
            raise

    def append(self, event: str, *, time: int, facts: Mapping[str, Any]) -> str:
        """Write one entry durably; returns its digest. `facts` hold hashes, addresses, codes: nothing
        secret."""
        with self._lock:
            entry = {
                "sequence": self._sequence + 1,
                "time": time,
                "event": event,
                "facts": dict(facts),
                "previous": self._previous,
            }
            digest = to_hex(sha256(canonical(entry)))
            line = canonical({**entry, "digest": digest}) + b"\n"
            os.write(self._file, line)
            os.fsync(self._file)
            self._sequence, self._previous = self._sequence + 1, digest
            return digest

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def verify(path: Path) -> tuple[int, str]:
    """Walk a log; returns the number of entries and the last digest.

    Raises `GateError` `audit-broken` naming the first line that doesn't follow from the one before.
    """
    sequence, previous = 0, GENESIS
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                entry = parse_canonical(line.removesuffix(b"\n"), limit=MAX_LINE_BYTES)
            except FormatError as error:
                raise _broken(number, str(error)) from error
            digest = entry.pop("digest", None)
            if entry.get("previous") != previous or entry.get("sequence") != sequence + 1:
                raise _broken(number, "it does not follow from the line before")
            if digest != to_hex(sha256(canonical(entry))):
                raise _broken(number, "its digest is wrong")
            if not line.endswith(b"\n"):
                raise _broken(number, "it was not written to its end")
            sequence, previous = sequence + 1, str(digest)
    return sequence, previous


def _broken(number: int, why: str) -> GateError:
    return GateError(
        "audit-broken",
        f"line {number} of the audit log: {why}",
        "move the file aside and inspect it; the gate then begins a new one",
    )
