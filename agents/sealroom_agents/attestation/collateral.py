# SPDX-License-Identifier: Apache-2.0
"""Where collateral comes from: a caching service (PCCS) for real machines, a folder for simulated ones.

Collateral is verified like everything else, so a source is trusted for nothing but being reachable. Its
address is configuration and never comes from a caller (AT-32).

What a PCCS gave is kept for each kind of machine, on disk too, and used for as long as it is valid, whatever
the service says meanwhile; never a second longer (AT-08). It is fetched anew ahead of that, after a day or
half of its life, by whoever calls `refresh`. What is older than what is kept is refused (AT-07, AT-09), and
so is what the root of trust did not sign: a service that lies is as good as one that is silent. While nothing
valid is there, quotes are refused with `collateral-unavailable`, which says nothing about the quote.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sealroom.codes import Code
from sealroom.encoding import canonical, sha256, strict_json
from sealroom.errors import FormatError
from sealroom.files import PRIVATE, write_atomic
from sealroom_agents.attestation.collateral_check import Kind, Standing, certificates_of, kind_of, standing
from sealroom_agents.attestation.pccs import Pccs
from sealroom_agents.attestation.quote import MAX_COLLATERAL_BYTES
from sealroom_agents.attestation.trust import TrustRoot
from sealroom_agents.errors import AttestationError

COLLATERAL_FILE = "collateral.json"
"""Name of the file in a simulated platform's folder."""
MAX_KINDS = 64
"""Kinds of machines whose collateral is kept; the one that was used longest ago makes room."""
MAX_CHAINS = 1024
"""Chains of certificates, one a machine, that are remembered as the root's."""
REFRESH_S = 86_400
"""Seconds after which collateral is fetched again at the latest, while it is valid."""
UNUSED_S = 30 * 86_400
"""Seconds after which collateral that no quote needed is dropped."""
PAUSE_S = 10
"""Seconds after a fetch that failed in which quotes of that kind cause no other one."""
VERSION = 1
"""Version of a kept file."""

_NAME = re.compile(r"([0-9A-F]{12})-(platform|processor)\.json")

_log = logging.getLogger(__name__)


class CollateralSource(Protocol):
    """Gives what is needed to verify a quote."""

    def fetch(self, quote: bytes) -> dict[str, Any]:
        """Collateral for `quote` in the JSON form of `dcap_qvl.QuoteCollateralV3`.

        Raises `AttestationError`: `collateral-unavailable` when there is none to be had at the moment,
        `quote-invalid` when nothing of the quote says for which machines.
        """
        ...


@dataclass
class _Kept:
    """What is kept of one kind of machine."""

    numbers: tuple[int, ...]
    """The highest numbers seen; they stay when the collateral has ended."""
    fetched: int
    """When, unix seconds."""
    used: int
    """When a quote needed it last, unix seconds."""
    until: int
    """When it ends, unix seconds."""
    collateral: dict[str, str]
    """The JSON form of `dcap_qvl.QuoteCollateralV3`."""


@dataclass
class _Slot:
    """One kind of machine. One thread at a time fetches for it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: _Kept | None = None
    failed: int | None = None
    why: AttestationError | None = None


class PccsCollateral:
    """Collateral of a PCCS, kept on disk. Thread safe."""

    def __init__(
        self,
        pccs: Pccs,
        *,
        trust: TrustRoot,
        folder: Path,
        clock: Callable[[], int],
        margin_s: int = 0,
    ) -> None:
        """`folder`: where it is kept. `margin_s`: seconds for which collateral must be valid still to be
        used, such as the life of a lease."""
        self._pccs = pccs
        self._trust = trust
        self._folder = folder
        self._clock = clock
        self._margin_s = margin_s
        self._lock = threading.Lock()
        self._slots: dict[Kind, _Slot] = {}
        self._kinds: dict[bytes, Kind] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(folder.iterdir())[: 4 * MAX_KINDS]:
            self._load(path)

    def fetch(self, quote: bytes) -> dict[str, Any]:
        """See `CollateralSource.fetch`. Blocks; must not be called on an event loop's thread."""
        now = self._clock()
        kind = self._kind(quote, now)
        slot = self._slot(kind)
        kept = slot.kept
        if kept is None or not self._good(kept, now):
            with slot.lock:  # whoever waited here finds what the one before has fetched
                kept = self._renewed(kind, slot)
        kept.used = max(kept.used, now)
        return dict(kept.collateral)

    def refresh(self) -> None:
        """Fetch what has lived for a day or half of its life, ahead of its end. A failure is logged; what is
        kept stays. Blocks."""
        now = self._clock()
        with self._lock:
            slots = list(self._slots.items())
        for kind, slot in slots:
            kept = slot.kept
            if kept is not None and now - kept.used > UNUSED_S:
                self._forget(kind)
                continue
            if kept is None or not _due(kept, now):
                continue
            with slot.lock:
                if slot.kept is kept:  # nobody else has fetched it meanwhile
                    try:
                        self._take(kind, slot)
                    except AttestationError as error:
                        left = max(0, kept.until - now) // 3600
                        _log.warning("%s; what is kept is good for %d hours", error.message, left)

    def until(self) -> dict[str, int]:
        """When the collateral of each kind of machine that a quote needed within a day ends, unix seconds."""
        now = self._clock()
        with self._lock:
            kept = {str(kind): slot.kept for kind, slot in self._slots.items()}
        return {
            kind: one.until for kind, one in kept.items() if one is not None and now - one.used <= REFRESH_S
        }

    def _kind(self, quote: bytes, now: int) -> Kind:
        """The kind of machine; certificates that were the root's once are not verified again here, since
        whoever verifies the quote does so."""
        chain = sha256(certificates_of(quote))
        with self._lock:
            known = self._kinds.get(chain)
        if known is None:
            known = kind_of(quote, trust=self._trust, now=now)
            with self._lock:
                if len(self._kinds) >= MAX_CHAINS:
                    self._kinds.clear()
                self._kinds[chain] = known
        return known

    def _good(self, kept: _Kept, now: int) -> bool:
        return kept.fetched - PAUSE_S <= now and now + self._margin_s < kept.until

    def _slot(self, kind: Kind) -> _Slot:
        with self._lock:
            slot = self._slots.get(kind)
            if slot is None:
                if len(self._slots) >= MAX_KINDS:
                    oldest = min(self._slots, key=lambda one: _used(self._slots[one]))
                    self._drop(oldest)
                slot = self._slots[kind] = _Slot()
            return slot

    def _forget(self, kind: Kind) -> None:
        with self._lock:
            if kind in self._slots:
                self._drop(kind)

    def _drop(self, kind: Kind) -> None:
        """Keep nothing of a kind any more; the caller has the lock."""
        del self._slots[kind]
        self._path(kind).unlink(missing_ok=True)

    def _renewed(self, kind: Kind, slot: _Slot) -> _Kept:
        """What is good now, fetched where need be; the slot is locked. Raises `AttestationError`."""
        now = self._clock()
        if slot.kept is not None and self._good(slot.kept, now):
            return slot.kept
        if slot.why is not None and slot.failed is not None and 0 <= now - slot.failed < PAUSE_S:
            raise AttestationError(slot.why.code, slot.why.message, slot.why.hint)
        return self._take(kind, slot)

    def _take(self, kind: Kind, slot: _Slot) -> _Kept:
        """Fetch, verify and keep; the slot is locked. Raises `AttestationError` `collateral-unavailable`."""
        try:
            kept = self._fetched(kind, slot.kept)
        except AttestationError as error:
            slot.failed, slot.why = self._clock(), error
            raise
        try:
            content = {
                "version": VERSION,
                "fetched": kept.fetched,
                "numbers": list(kept.numbers),
                "collateral": kept.collateral,
            }
            write_atomic(self._path(kind), canonical(content), mode=PRIVATE, replace=True)
        except OSError as error:
            # It is good all the same, and the next start fetches it again.
            _log.warning("the collateral for %s could not be kept on disk: %s", kind, error.strerror)
        slot.kept, slot.failed, slot.why = kept, None, None
        _log.info("collateral for %s of %s, good until %d", kind, self._pccs.shown, kept.until)
        return kept

    def _fetched(self, kind: Kind, before: _Kept | None) -> _Kept:
        collateral = self._pccs.collateral(kind.fmspc, kind.ca)
        now = self._clock()
        if len(json.dumps(collateral)) > MAX_COLLATERAL_BYTES:
            raise AttestationError(Code.COLLATERAL_UNAVAILABLE, f"the collateral for {kind} is too large")
        found = standing(collateral, kind, trust=self._trust, now=now)
        if before is not None and found.older_than(before.numbers):
            raise AttestationError(
                Code.COLLATERAL_UNAVAILABLE,
                f"the PCCS {self._pccs.shown} gives older collateral for {kind} than before: evaluation and "
                f"CRL numbers {found.numbers} after {before.numbers}",
                "refresh the PCCS, or name another one with --pccs",
            )
        if found.until <= now + self._margin_s:
            raise AttestationError(Code.COLLATERAL_UNAVAILABLE, f"the collateral for {kind} ends too soon")
        used = now if before is None else before.used
        return _Kept(found.numbers, now, used, found.until, collateral)

    def _load(self, path: Path) -> None:
        """Take up what an earlier process kept; what does not hold now leaves only its numbers."""
        name = _NAME.fullmatch(path.name)
        if name is None:
            return
        kind, now = Kind(name[1], name[2]), self._clock()
        try:
            with path.open("rb") as stream:
                content = strict_json(stream.read(2 * MAX_COLLATERAL_BYTES + 1), 2 * MAX_COLLATERAL_BYTES)
            numbers, collateral = content["numbers"], content["collateral"]
            if content["version"] != VERSION or len(numbers) != 4 or not all(map(_is_count, numbers)):
                raise FormatError(Code.UNSUPPORTED_VERSION, "it has another form")
        except (OSError, FormatError, KeyError, TypeError) as error:
            _log.warning("kept collateral %s cannot be read, and is fetched anew: %s", path.name, error)
            return
        found = _held(collateral, kind, self._trust, now)
        kept = _Kept(tuple(numbers), now, now, 0, {})
        if found is not None and not found.older_than(kept.numbers) and _is_count(content.get("fetched")):
            kept = _Kept(tuple(numbers), min(content["fetched"], now), now, found.until, collateral)
        with self._lock:
            if len(self._slots) < MAX_KINDS:
                self._slots[kind] = _Slot(kept=kept)

    def _path(self, kind: Kind) -> Path:
        return self._folder / f"{kind}.json"


class DirectoryCollateral:
    """Collateral of a simulated platform, from its folder; the platform's seed is not read."""

    def __init__(self, directory: Path | str) -> None:
        self._path = Path(directory) / COLLATERAL_FILE
        self._read: tuple[tuple[int, ...], dict[str, Any]] | None = None

    def fetch(self, quote: bytes) -> dict[str, Any]:
        """See `CollateralSource.fetch`. The file is read when it has changed."""
        try:
            with self._path.open("rb") as stream:
                there = os.fstat(stream.fileno())
                version = there.st_ino, there.st_mtime_ns, there.st_size
                if self._read is None or self._read[0] != version:
                    content = strict_json(stream.read(MAX_COLLATERAL_BYTES + 1), MAX_COLLATERAL_BYTES)
                    self._read = version, content
                return dict(self._read[1])
        except (OSError, FormatError) as error:
            raise AttestationError(
                Code.COLLATERAL_UNAVAILABLE, f"the platform's folder has no collateral: {error}"
            ) from error


def _due(kept: _Kept, now: int) -> bool:
    return now - kept.fetched >= min(REFRESH_S, (kept.until - kept.fetched) // 2)


def _used(slot: _Slot) -> int:
    return 0 if slot.kept is None else slot.kept.used


def _held(collateral: Mapping[str, Any], kind: Kind, trust: TrustRoot, now: int) -> Standing | None:
    try:
        return standing(collateral, kind, trust=trust, now=now)
    except AttestationError as error:
        _log.info("kept collateral for %s is used no more: %s", kind, error.message)
        return None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
