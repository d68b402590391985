# SPDX-License-Identifier: Apache-2.0
"""The gate's audit log: one JSON object a line, each carrying the digest of the one before (RE-12).

Editing, removing or reordering a line breaks the chain of digests at that line. The head, which is the number
and the digest of the last entry, is kept in two more places, so that a log whose end was cut off shows too:
in the gate's database, and in each grant (`auditHead`), whose hash the ledger keeps with the opening.

An entry counts once it is on disk and its head is in the database. What a power cut, a kill or a full disk
left of an entry that never counted is set aside when the gate starts again, and the log says so. A log that
lacks an entry that counted is refused, until an operator accepts the break; the old log is kept.

No key, row or nonce ever enters the log.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sealroom.codes import Code
from sealroom.encoding import canonical, parse_canonical, sha256, to_hex
from sealroom.errors import FormatError
from sealroom.files import PRIVATE, fsync_folder, write_atomic
from sealroom_agents.errors import GateError
from sealroom_agents.gate.together import Together

MAX_LINE_BYTES = 64 * 1024
"""Longest line."""
BREAK_ACCEPTED = "break-accepted"
"""The event of the first entry after a break, with what is known of the log before."""
MAX_TEXT_CHARACTERS = 2048
"""What an entry keeps of one text; some are the words of nodes and enclaves."""


Beside = Callable[[Any], object]
"""What is written into the database in the transaction that keeps an entry's head; it gets the connection."""


@dataclass(frozen=True)
class Head:
    """The end of a log."""

    sequence: int
    """Number of its last entry, from 1; 0 for an empty log."""
    digest: bytes
    """Digest of that entry, 32 bytes; zeros for an empty log."""


GENESIS = Head(0, bytes(32))
"""The head of an empty log; its digest is what the first entry names as the one before."""


class Heads(Protocol):
    """Where the head is kept beside the log; `sealroom_agents.gate.sessions.Sessions` does."""

    def audit_head(self) -> Head | None:
        """The head that was kept last."""
        ...

    def keep_audit_head(self, head: Head, beside: tuple[Beside, ...] = ()) -> None:
        """Keep a head durably, and what is written beside it: all of it, or nothing."""
        ...


@dataclass(frozen=True)
class Log:
    """What a walk through a log found: the entries that hold, and why it stopped."""

    digests: tuple[bytes, ...]
    """Digest of each entry, in order."""
    size: int
    """Bytes of these entries."""
    rest: bytes
    """What stands behind them, cut off one byte after the longest line."""
    trouble: str | None
    """Why the rest is no entry; `None` when there is no rest."""

    @property
    def head(self) -> Head:
        """The last entry that holds."""
        return Head(len(self.digests), self.digests[-1]) if self.digests else GENESIS

    @property
    def torn(self) -> bool:
        """Whether the rest can be one entry that was not written to its end."""
        return self.trouble is not None and len(self.rest) <= MAX_LINE_BYTES and b"\n" not in self.rest[:-1]


def read(path: Path, see: Callable[[Mapping[str, Any]], None] = lambda entry: None) -> Log:
    """Walk a log up to the first line that does not follow from the one before. `see` gets each entry."""
    digests: list[bytes] = []
    size, previous = 0, GENESIS.digest
    with path.open("rb") as lines:
        while line := lines.readline(MAX_LINE_BYTES + 1):
            digest, trouble = _read_entry(line, see, sequence=len(digests) + 1, previous=previous)
            if digest is None:
                rest = line + lines.read(max(0, MAX_LINE_BYTES + 1 - len(line)))
                return Log(tuple(digests), size, rest, trouble)
            digests.append(digest)
            size, previous = size + len(line), digest
    return Log(tuple(digests), size, b"", None)


def verify(path: Path) -> Head:
    """The head of a whole log. Raises `GateError` `audit-broken` naming the first line that does not follow
    from the one before."""
    log = read(path)
    if log.trouble is not None:
        raise GateError(Code.AUDIT_BROKEN, f"line {log.head.sequence + 1} of the audit log: {log.trouble}")
    return log.head


@dataclass(frozen=True, eq=False)
class _Entry:
    """One entry that is to be written."""

    event: str
    facts: Mapping[str, Any]
    beside: Beside | None


class AuditLog:
    """An append-only log file. Thread safe; a second process on the same file is refused."""

    def __init__(
        self, path: Path, heads: Heads, *, clock: Callable[[], int], accept_break: bytes | None = None
    ) -> None:
        """Open or create; the whole log is verified first, and compared with the head that was kept.

        `accept_break` is the digest of the kept head: with it, a log that does not hold is set aside, and a
        new one begins, whose first entry names the old one. It accepts this one break and no later one.
        Raises `GateError`: `audit-broken`, `audit-cut`, `audit-unwritable`, `state-in-use`.
        """
        self._path, self._heads, self._clock = path, heads, clock
        self._lock = threading.Lock()
        self._appends: Together[_Entry, Head] = Together(self._append_all)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = self._open()
        try:
            self._head, self._size = GENESIS, 0
            self._take_up(accept_break=accept_break)
        except BaseException:
            self.close()
            raise

    @property
    def head(self) -> Head:
        """The last entry that counted."""
        return self._head

    def append(self, event: str, *, facts: Mapping[str, Any], beside: Beside | None = None) -> Head:
        """Write one entry durably; returns the new head. `facts` hold hashes, addresses, codes: nothing
        secret. `beside`: what is written into the database if the entry counts, and only then. A kill before
        that leaves an entry that says more than happened: it counts at the next start, and nothing else does.

        Raises `GateError` `audit-unwritable` or `audit-cut`: the entry does not count then, and what it was
        to vouch for must not happen.
        """
        return self._appends(_Entry(event, facts, beside))

    def _append_all(self, entries: Sequence[_Entry]) -> list[Head | BaseException]:
        """Entries that came at the same time, with one wait for the disk; each follows from the one before.
        One that cannot be written is left out, and the others follow from each other."""
        with self._lock:
            head, lines, outcomes = self._head, bytearray(), list[Head | BaseException]()
            beside: list[Beside] = []
            for entry in entries:
                try:
                    digest, line = _line(self._json(head, entry))
                except GateError as error:
                    outcomes.append(error)
                    continue
                head = Head(head.sequence + 1, digest)
                lines += line
                outcomes.append(head)
                if entry.beside is not None:
                    beside.append(entry.beside)
            if head != self._head:
                self._write(lines)
                self._heads.keep_audit_head(head, tuple(beside))
                self._head, self._size = head, self._size + len(lines)
            return outcomes

    def _json(self, head: Head, entry: _Entry) -> dict[str, Any]:
        facts = entry.facts.items()
        return {
            "sequence": head.sequence + 1,
            "time": self._clock(),
            "event": entry.event,
            "facts": {name: _text(fact) if isinstance(fact, str) else fact for name, fact in facts},
            "previous": to_hex(head.digest),
        }

    def close(self) -> None:
        """Close the file; safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> int:
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fsync_folder(self._path.parent)
        except BlockingIOError as error:
            os.close(descriptor)
            raise GateError(
                Code.STATE_IN_USE,
                f"another gate writes {self._path}",
                "one gate process for each --state folder",
            ) from error
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _write(self, lines: bytes | bytearray) -> None:
        there = os.fstat(self._file)
        if there.st_size < self._size or not there.st_nlink:
            raise GateError(
                Code.AUDIT_CUT,
                f"{self._path} was cut or removed while the gate runs",
                "put the file back as it was, or restart the gate to decide",
            )
        try:
            # What an entry that failed before has left: it never counted.
            if there.st_size > self._size:
                os.ftruncate(self._file, self._size)
            written = 0
            while written < len(lines):
                written += os.write(self._file, lines[written:])
            os.fsync(self._file)
        except OSError as error:
            raise GateError(
                Code.AUDIT_UNWRITABLE,
                f"the audit log {self._path} cannot be written: {error.strerror}",
                "free space on its disk; nothing is released until the log can be written",
            ) from error

    # --- the start ------------------------------------------------------------------------------

    def _take_up(self, *, accept_break: bytes | None) -> None:
        log, kept = read(self._path), self._heads.audit_head() or GENESIS
        trouble = _trouble(log, kept)
        if trouble is not None:
            if accept_break != kept.digest:
                raise trouble
            self._begin_anew(trouble, kept)
            return
        self._head, self._size = log.head, log.size
        if log.torn:
            self._set_torn_aside(log)
        elif log.head != kept:  # the gate ended between the entry and its head
            self._heads.keep_audit_head(log.head)

    def _set_torn_aside(self, log: Log) -> None:
        """Move what is left of an entry that never counted into a file of its own, and say so in the log."""
        aside = self._path.with_name(f"{self._path.name}.torn-{log.head.sequence + 1}")
        try:
            # One that is there already is of an earlier attempt.
            write_atomic(aside, log.rest, mode=PRIVATE, replace=True)
            os.ftruncate(self._file, log.size)
        except OSError as error:
            raise GateError(
                Code.AUDIT_UNWRITABLE,
                f"the torn end of {self._path} cannot be set aside: {error.strerror}",
                "free space on its disk",
            ) from error
        facts = {"bytes": len(log.rest), "sha256": to_hex(sha256(log.rest)), "file": aside.name}
        self.append("torn-entry-set-aside", facts=facts)

    def _begin_anew(self, trouble: GateError, kept: Head) -> None:
        aside = self._path.with_name(f"{self._path.name}.broken-{self._clock()}")
        os.link(self._path, aside)  # fails where that name is taken, unlike a rename
        os.unlink(self._path)
        os.close(self._file)
        self._file = -1
        self._file = self._open()
        facts = {
            "code": trouble.code,
            "why": trouble.message,
            "keptSequence": kept.sequence,
            "keptDigest": to_hex(kept.digest),
            "file": aside.name,
            "sha256": to_hex(sha256(aside.read_bytes())),
        }
        self.append(BREAK_ACCEPTED, facts=facts)


def _line(entry: dict[str, Any]) -> tuple[bytes, bytes]:
    """Digest and line of an entry. Raises `GateError` `audit-unwritable` when it could not be read again."""
    try:
        digest = sha256(canonical(entry))
        line = canonical({**entry, "digest": to_hex(digest)}) + b"\n"
    except FormatError as error:
        raise GateError(Code.AUDIT_UNWRITABLE, f"an entry of the audit log {error.message}") from error
    if len(line) > MAX_LINE_BYTES:
        raise GateError(Code.AUDIT_UNWRITABLE, f"an entry of {len(line)} bytes, more than {MAX_LINE_BYTES}")
    return digest, line


def _text(fact: str) -> str:
    """A text that JSON can carry, cut."""
    cut = fact if len(fact) <= MAX_TEXT_CHARACTERS else fact[: MAX_TEXT_CHARACTERS - 1] + "…"
    return cut.encode(errors="replace").decode()


def _read_entry(
    line: bytes, see: Callable[[Mapping[str, Any]], None], *, sequence: int, previous: bytes
) -> tuple[bytes | None, str | None]:
    """The digest of an entry, or why it is none."""
    if not line.endswith(b"\n"):
        return None, "it was not written to its end"
    try:
        entry = parse_canonical(line.removesuffix(b"\n"), limit=MAX_LINE_BYTES)
    except FormatError as error:
        return None, str(error)
    shown = entry.pop("digest", None)
    if entry.get("previous") != to_hex(previous) or entry.get("sequence") != sequence:
        return None, "it does not follow from the line before"
    digest = sha256(canonical(entry))
    if shown != to_hex(digest):
        return None, "its digest is wrong"
    see(entry)
    return digest, None


def _trouble(log: Log, kept: Head) -> GateError | None:
    """What forbids to go on with a log: an entry that counted is missing or was changed."""
    hint = (
        "someone changed the gate's state, or restored a part of an old copy: keep a copy of the whole "
        f"folder for the owners, then start with --accept-audit-break {to_hex(kept.digest)}, which sets this "
        "log aside and begins a new one"
    )
    # An entry that counted before, and does not hold now, is the first one behind those that hold.
    if log.head.sequence < kept.sequence:
        if log.trouble is not None:
            return GateError(
                Code.AUDIT_BROKEN, f"line {log.head.sequence + 1} of the audit log: {log.trouble}", hint
            )
        return GateError(
            Code.AUDIT_CUT,
            f"the audit log ends at entry {log.head.sequence}, and the gate wrote {kept.sequence}",
            hint,
        )
    if kept.sequence and log.digests[kept.sequence - 1] != kept.digest:
        return GateError(
            Code.AUDIT_BROKEN,
            f"entry {kept.sequence} of the audit log is not the one that the gate wrote",
            hint,
        )
    if log.trouble is not None and not log.torn:
        return GateError(
            Code.AUDIT_BROKEN, f"line {log.head.sequence + 1} of the audit log: {log.trouble}", hint
        )
    return None
