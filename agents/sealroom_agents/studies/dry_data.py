# SPDX-License-Identifier: Apache-2.0
"""The datasets of a dry run: made up, or plain files that a person names; sealed, and opened as in the
enclave."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.members import FOLDER
from sealroom.recipe import Recipe
from sealroom.recipe.tables import DatasetSpec
from sealroom.runtime.datasets import parquet_memory
from sealroom.schema import misfits
from sealroom.sealed import SealedFile, open_sealed, seal
from sealroom.sealed.header import PARQUET
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.folder import listing, pack
from sealroom_agents.studies.synthetic import members, network_of

ACCOUNT = "0x" + 40 * "1"
"""Of nobody: a header names an account."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """One dataset, as it was read."""

    path: str
    made_up: bool
    rows: int | None
    """Of a table."""
    people: int | None
    files: int | None
    """Members of a dataset of files."""
    size: int
    """Bytes of the plain file."""


class Datasets:
    """The datasets of one dry run, sealed under keys that go with this object."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opening: dict[str, Callable[[], SealedFile]] = {}
        self.read: list[Read] = []
        self._ids: list[tuple[str, pa.Array]] = []

    def add(
        self, recipe: Recipe, spec: DatasetSpec, source: Path | None, table: pa.Table | None, seed: int
    ) -> None:
        """Seal one dataset: a file or folder, or what is made up. Raises `SealError`."""
        plain, made_up, files = source, source is None, None
        if spec.schema is None:
            plain = self._folder / "plain"
            with plain.open("wb") as stream:
                if source is None:
                    content = network_of(recipe, spec, seed=seed) or members(spec, seed=seed)
                    _pack(content, stream)
                    files = len(content)
                else:
                    entries = listing(source)
                    pack(entries, stream)
                    files = sum(each.size is not None for each in entries)
        elif table is not None and source is None:
            plain = self._folder / "plain"
            pq.write_table(table, plain)
        assert plain is not None
        target = self._folder / f"{len(self._opening)}.tar"
        done = seal(
            plain, target, recipient=None, owner=ACCOUNT, name=spec.name, processes=1,
            media_type=FOLDER if spec.schema is None else PARQUET,
        )  # fmt: skip
        self._opening[spec.path] = partial(
            open_sealed, target, dek=done.data_key, header_digest=done.header_digest,
            index_digest=done.index_digest, key_commitment=done.key_commitment,
        )  # fmt: skip
        rows, people = None, None
        if spec.schema is not None:
            with self._opening[spec.path]() as file:
                for wrong in misfits(spec.columns, file.info.header.columns or ()):
                    raise SealError(
                        Code.DATASET_MISMATCH,
                        f"{plain if source else spec.path} is not what the recipe declares: it {wrong.what}",
                        wrong.remedy,
                    )
                ids = file.to_arrow([spec.schema.unit]).column(0)
            unique = pc.unique(ids.combine_chunks()).drop_null()
            self._ids.append((spec.owner, unique))
            rows, people = len(ids), len(unique)
        size = plain.stat().st_size
        self.read.append(
            Read(path=spec.path, made_up=made_up, rows=rows, people=people, files=files, size=size)
        )

    def people(self) -> tuple[int, int]:
        """Different people, and those of several owners. Ids of numbers and of text are different."""
        owners: dict[Any, set[str]] = {}
        for owner, ids in self._ids:
            for one in ids.to_pylist():
                owners.setdefault(one, set()).add(owner)
        return len(owners), sum(len(each) > 1 for each in owners.values())

    def open(self, spec: DatasetSpec) -> pa.Table | SealedFile:
        """As the enclave opens it."""
        file = self._opening[spec.path]()
        if spec.schema is None:
            return file
        with file:
            return file.to_arrow([name for name, _ in spec.columns])

    def open_parquet(self, spec: DatasetSpec, columns: Sequence[str]) -> int:
        with self._opening[spec.path]() as file:
            return parquet_memory(file, columns)


def _pack(content: Mapping[str, bytes], stream: Any) -> None:
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(content, key=str.encode):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content[name]), 0o644
            archive.addfile(info, io.BytesIO(content[name]))


def named_files(recipe: Recipe, data: Mapping[str, Path]) -> dict[str, Path]:
    known = {f"{spec.owner}/{spec.name}": spec.path for spec in recipe.datasets}
    for name in data:
        if name not in known:
            raise ToolError(
                Code.DATASET_NOT_IN_RECIPE,
                f"the recipe reads no dataset {name}",
                f"it reads {', '.join(known)}",
            )
    return {known[name]: path for name, path in data.items()}
