# SPDX-License-Identifier: Apache-2.0
"""What is fetched besides the evidence: reference manifests by name and time, and answers about certificates.

Where the bytes lie is for whoever verifies to know; this says how they are found. A folder of manifests has
`NAME.xml`, which counts as fetched at the moment of verification, or `NAME@TIME.xml`, fetched at that time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sealroom.codes import Code
from sealroom_agents.attestation.gpu.ocsp import MAX_ANSWER_BYTES, SKEW_S
from sealroom_agents.attestation.gpu.rim import MAX_RIM_BYTES
from sealroom_agents.errors import AttestationError

MAX_FILES = 4096

RIM_NAME = "NV_GPU_[A-Z0-9_.]{1,80}"
"""What a manifest is called."""

_RIM_FILE = re.compile(rf"({RIM_NAME})(?:@([0-9]{{1,12}}))?\.xml")
_ANSWER_FILE = re.compile(r"[^.].*\.der", re.DOTALL)


@dataclass(frozen=True)
class Fetched:
    """A manifest as it was fetched."""

    data: bytes = field(repr=False)
    at: int | None = None
    """When, unix seconds; `None` for the moment of verification."""


@dataclass(frozen=True)
class Material:
    """What verification has at hand; empty members were not asked for."""

    rims: Mapping[str, Sequence[Fetched]] = field(default_factory=dict)
    """Manifests by their name, such as `NV_GPU_DRIVER_GH100_550.90.07`."""
    answers: Sequence[bytes] = ()
    """Answers of NVIDIA's OCSP responder, DER."""

    def rim(self, name: str, *, now: int, max_age_s: int | None) -> tuple[bytes, int] | None:
        """The manifest of this name that was fetched last, and when; `None` where there is none.

        One that was fetched while somebody decided, a moment later than the moment of the decision, counts as
        fetched then. Raises `AttestationError` `gpu-rim-stale` where it was fetched more than `max_age_s`
        seconds ago, or later than that.
        """
        found = [(now if one.at is None else one.at, one.data) for one in self.rims.get(name, ())]
        if not found:
            return None
        at, data = max(found, key=lambda one: one[0])
        if now < at <= now + SKEW_S:
            at = now
        if at > now or (max_age_s is not None and now - at > max_age_s):
            raise AttestationError(
                Code.GPU_RIM_STALE,
                f"manifest {name} was fetched at {at}, and it is {now}",
                "fetch it anew from rim.attestation.nvidia.com",
            )
        return data, at


def load_material(rims: Path | None, answers: Path | None, *, by_file_time: bool = False) -> Material:
    """Read a folder of manifests, and one of answers (`*.der`). Raises `OSError`.

    `by_file_time`: a `NAME.xml` counts as fetched when its file was written, instead of now.
    """
    found: dict[str, list[Fetched]] = {}
    for path in _files(rims, _RIM_FILE):
        if match := _RIM_FILE.fullmatch(path.name):
            at = int(match[2]) if match[2] else int(path.stat().st_mtime) if by_file_time else None
            found.setdefault(match[1], []).append(Fetched(_read(path, MAX_RIM_BYTES), at))
    said = [_read(path, MAX_ANSWER_BYTES) for path in _files(answers, _ANSWER_FILE)]
    return Material(found, said)


class MaterialFolder:
    """A folder of manifests and one of answers that somebody keeps fresh; read again when a file changed.

    Thread safe. A `NAME.xml` counts as fetched when its file was written.
    """

    def __init__(self, rims: Path, answers: Path) -> None:
        self._rims, self._answers = rims, answers
        self._kept: tuple[object, Material] | None = None

    def read(self) -> Material:
        """What lies there now. Raises `OSError`."""
        # A file that changes between the look and the reading is read again next time.
        seen = _look(self._rims, _RIM_FILE), _look(self._answers, _ANSWER_FILE)
        kept = self._kept
        if kept is None or kept[0] != seen:
            kept = seen, load_material(self._rims, self._answers, by_file_time=True)
            self._kept = kept
        return kept[1]


def _look(folder: Path, names: re.Pattern[str]) -> list[tuple[str, int, int, int]]:
    found = [(path.name, path.stat()) for path in _files(folder, names)]
    return [(name, stat.st_mtime_ns, stat.st_size, stat.st_ino) for name, stat in found]


def _files(folder: Path | None, names: re.Pattern[str]) -> list[Path]:
    """The files that count. Others, such as one that is being written, may come and go."""
    if folder is None:
        return []
    found = (path for path in folder.iterdir() if names.fullmatch(path.name) and path.is_file())
    return sorted(found)[:MAX_FILES]


def _read(path: Path, limit: int) -> bytes:
    """At most one byte more than may be, so that whoever reads it refuses it."""
    with path.open("rb") as stream:
        return stream.read(limit + 1)
