# SPDX-License-Identifier: Apache-2.0
"""The sealed datasets of one run: found on the host, offered to the gate, opened with what it releases.

The folder belongs to the host and is trusted for nothing. A dataset is opened only as the gate releases it:
with the index digest and key commitment that its owner registered on chain, each part authenticated before a
byte of it is used, and within the limits of `sealroom.sealed.source`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sealroom.codes import Code
from sealroom.envelope.statement import StatementDataset
from sealroom.errors import HeaderError, JobError, KeyMaterialError, KeyReleaseError, SealError
from sealroom.failure import check_report_key
from sealroom.key_release import DatasetOffer, KeyRelease, datasets_root, open_key
from sealroom.key_release.messages import GateIdentity
from sealroom.keys import KemPrivateKey, Secret
from sealroom.members import FOLDER
from sealroom.recipe import Recipe
from sealroom.recipe.tables import DatasetSpec
from sealroom.runtime.memory import seal_memory
from sealroom.schema import misfits
from sealroom.sealed import Header, SealedFile, SealedInfo, inspect, open_sealed


@dataclass(frozen=True, kw_only=True)
class _Found:
    spec: DatasetSpec
    path: Path
    info: SealedInfo


@dataclass(frozen=True, kw_only=True)
class _Opened:
    release: KeyRelease
    key: Secret


class Datasets:
    """The datasets that a recipe names. In the order of their ids, which is the study's order on chain."""

    def __init__(self, found: Sequence[_Found]) -> None:
        self._found = sorted(found, key=lambda each: each.info.dataset_id)
        self._opened: dict[str, _Opened] = {}
        self._wiping = threading.Lock()

    @classmethod
    def locate(cls, folder: Path, recipe: Recipe, *, chain_id: int, consortium: str) -> Datasets:
        """Find `folder/owner/name.tar` for each dataset of the recipe and read all that needs no key.

        Raises `SealError`; "dataset-mismatch" when a file is another dataset than its place says, or has
        other columns than the recipe declares; "not-wrapped", or "wrap-mismatch" when its key is wrapped for
        another consortium. A file names its owner's account and not the owner: whose place it may lie in, the
        gate tells, which seals each key for the owner's name. See `accept`.
        """
        found = []
        for spec in recipe.datasets:
            path = folder / spec.owner / f"{spec.name}.tar"
            info = inspect(path)
            header, wrap = info.header, info.needed_wrap()
            if header.dataset != spec.name:
                raise SealError(
                    Code.DATASET_MISMATCH, f"{spec.path} holds another dataset than its name says"
                )
            if (wrap.chain_id, wrap.consortium) != (chain_id, consortium):
                raise SealError(
                    Code.WRAP_MISMATCH, f"the key of {spec.path} is wrapped for another consortium"
                )
            if header.report_key is not None:
                try:
                    check_report_key(header.report_key)
                except KeyMaterialError:
                    raise HeaderError(
                        Code.HEADER_MALFORMED, f"{spec.path} has a report key that nothing can be sealed to"
                    ) from None
            if spec.schema is None and (header.columns is not None or header.media_type != FOLDER):
                raise SealError(
                    Code.NOT_FOLDER,
                    f"{spec.path} is no sealed folder, as the recipe declares",
                    "seal the folder: sealroom seal --as opaque",
                )
            for wrong in misfits(spec.columns, header.columns or ()):
                raise SealError(
                    Code.DATASET_MISMATCH,
                    f"{spec.path} has other columns than the recipe declares: it {wrong.what}",
                    wrong.remedy,
                )
            found.append(_Found(spec=spec, path=path, info=info))
        if len({each.info.dataset_id for each in found}) != len(found):
            raise SealError(Code.DATASET_MISMATCH, "one dataset lies in the places of two")
        return cls(found)

    @property
    def ids(self) -> tuple[bytes, ...]:
        return tuple(each.info.dataset_id for each in self._found)

    @property
    def root(self) -> bytes:
        """What the grant and the receipt hold of them, 32 bytes."""
        return datasets_root([(each.info.dataset_id, each.info.header_digest) for each in self._found])

    def headers(self) -> dict[str, Header]:
        """What each dataset says of itself in clear, by its path in the recipe."""
        return {each.spec.path: each.info.header for each in self._found}

    def report_keys(self) -> list[bytes]:
        """The report key of each dataset that has one: to those, the reason of a failure is sealed."""
        found = (each.info.header.report_key for each in self._found)
        return [key for key in found if key is not None]

    def offers(self) -> tuple[DatasetOffer, ...]:
        """What the gate must see in order to open the wraps."""
        return tuple(
            DatasetOffer(header=each.info.header_bytes, wrap=each.info.wrap_bytes) for each in self._found
        )

    def check_gate(self, identity: GateIdentity) -> None:
        """Check that the owners sealed to this very gate. Raises `KeyReleaseError` ("gate-mismatch").

        A relay, or a server that pretends to be the gate with its own keys, is not the one that owners chose.
        """
        for each in self._found:
            wrap = each.info.needed_wrap()
            if (wrap.gate_root, wrap.kms_root) != (identity.gate_root, identity.kms_root):
                raise KeyReleaseError(
                    Code.GATE_MISMATCH,
                    f"{each.spec.path} is sealed to another gate than the one that answered",
                )

    def accept(self, releases: Sequence[KeyRelease], *, private: KemPrivateKey, transcript: bytes) -> None:
        """Take the released keys; `transcript` is T1. Raises `KeyReleaseError`.

        The gate seals a key under the name of the owner who holds the dataset on chain: the key of a file
        that lies in another owner's place does not open.
        """
        if tuple(release.dataset for release in releases) != self.ids:
            raise KeyReleaseError(
                Code.MALFORMED, "the gate released keys of other datasets than those offered"
            )
        for each, release in zip(self._found, releases, strict=True):
            key = open_key(
                private,
                release.ciphertext,
                transcript=transcript,
                owner=each.spec.owner,
                dataset_id=release.dataset,
                header=each.info.header_digest,
                key_commitment=release.key_commitment,
            )
            self._opened[each.spec.path] = _Opened(release=release, key=key)

    def open(self, spec: DatasetSpec) -> pa.Table | SealedFile:
        """Decrypt one dataset: of a table the declared columns, of files the whole, to be closed.

        Raises `SealError`, or `KeyMaterialError` once wiped.
        """
        file = self._opening(spec)
        if spec.schema is None:
            return file
        with file:
            return file.to_arrow([name for name, _ in spec.columns])

    def _opening(self, spec: DatasetSpec) -> SealedFile:
        each = next(each for each in self._found if each.spec.path == spec.path)
        opened = self._opened[spec.path]
        return open_sealed(
            each.path,
            dek=opened.key,
            header_digest=each.info.header_digest,
            index_digest=opened.release.index_digest,
            key_commitment=opened.release.key_commitment,
        )

    def open_parquet(self, spec: DatasetSpec, columns: Sequence[str]) -> int:
        """Decrypt these columns of one dataset, as its Parquet file in sealed memory; gives the descriptor.

        Raises `SealError`, or `KeyMaterialError` once wiped.
        """
        with self._opening(spec) as file:
            return parquet_memory(file, columns)

    def stated(self) -> tuple[StatementDataset, ...]:
        """Each dataset as the signed statement names it."""
        return tuple(
            StatementDataset(
                id=each.info.dataset_id,
                owner=each.spec.owner,
                name=each.spec.name,
                header=each.info.header_digest,
                index_digest=self._opened[each.spec.path].release.index_digest,
            )
            for each in self._found
        )

    def wipe(self) -> None:
        """Overwrite the data keys; nothing opens any more. Several threads may."""
        with self._wiping:
            for opened in self._opened.values():
                opened.key.wipe()


def parquet_memory(file: SealedFile, columns: Sequence[str]) -> int:
    """These columns of a sealed table, decrypted, as its Parquet file in sealed memory; gives the descriptor.

    Raises `SealError`; `JobError` ("out-of-memory").
    """
    descriptor = os.memfd_create("dataset", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        file.copy_columns(columns, descriptor)
        seal_memory(descriptor)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError):
            raise JobError(Code.OUT_OF_MEMORY, "there is no room for a dataset in memory") from None
        raise
    return descriptor
