# SPDX-License-Identifier: Apache-2.0
"""One sealed dataset, and archives put together by hand, for the tests of sealing."""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sealroom.sealed import SealedFile, SealSummary, open_sealed, seal
from sealroom.sealed.archive import write_end, write_member
from tests.formats.worked import CONTEXT, NAME, OWNER

PART = 16 * 1024
ROWS = 4000
TABLE = pa.table(
    {
        "person": pa.array(range(ROWS), pa.int64()),
        "age": pa.array([age / 7 for age in range(ROWS)], pa.float64()),
        "sex": pa.array(["F", "M"] * (ROWS // 2), pa.string()),
        "outcome": pa.array([True, False] * (ROWS // 2), pa.bool_()),
    }
)


@dataclass(frozen=True)
class Sealed:
    """One sealed dataset with what its owner registered."""

    source: Path
    path: Path
    summary: SealSummary

    def open(self, path: Path | None = None, *, verify_all: bool = True, **changes: object) -> SealedFile:
        registered = {
            "dek": self.summary.data_key,
            "header_digest": self.summary.header_digest,
            "index_digest": self.summary.index_digest,
            "key_commitment": self.summary.key_commitment,
            **changes,
        }
        return open_sealed(path or self.path, verify_all=verify_all, **registered)  # type: ignore[arg-type]


def other(sealed: Sealed, folder: Path, **changes: object) -> Sealed:
    """The same file sealed once more, with something else."""
    path = folder / "other.tar"
    arguments = {"recipient": CONTEXT, "owner": OWNER, "name": NAME, "part_size": PART, **changes}
    return Sealed(sealed.source, path, seal(sealed.source, path, **arguments))  # type: ignore[arg-type]


def members(path: Path) -> dict[str, bytes]:
    """Contents of an archive by name, in order, as Python's own reader sees them."""
    with tarfile.open(path) as archive:
        return {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]


def write(path: Path, contents: dict[str, bytes]) -> Path:
    """An archive with these members."""
    with path.open("wb") as stream:
        for name, content in contents.items():
            write_member(stream, name, content)
        write_end(stream)
    return path
