# SPDX-License-Identifier: Apache-2.0
"""Sealed datasets: an owner's file as ciphertext, with its key wrapped to the gate for one recipe.

    seal(source, target, recipient=..., owner="0x...", name="cohort-A")   the owner, once
    reseal(target, dek=..., recipient=...)                                the owner, for a new recipe
    unseal(path, target, dek=...)                                         the owner, who wants it back
    inspect(path)                                                         anyone
    open_wrap(wrap, root_private, context=...)                            the gate
    open_sealed(path, dek=..., header_digest=..., ...)                    the enclave

Modules: `header`, `wrap`, `parts`, `index` are the members of the archive, `archive` is the tar around them.
`seal`, `reseal` and `unseal` write, with `parallel` on all processors; `reader` reads and checks, `cache`
holds opened parts, `file` is the seekable file over them, `table` reads it as Parquet within limits, and
`shares` opens ahead of it. Of Parquet, `parquet`, `columns` and `pages` read what Arrow must not be trusted
with, by `thrift`. Spec: `enclave/spec/sealed-dataset.md`.
"""

from sealroom.sealed.file import SealedFile, open_sealed
from sealroom.sealed.header import PARQUET, PART_SIZE, Header
from sealroom.sealed.index import Index, PartEntry
from sealroom.sealed.parts import check_commitment, key_commitment
from sealroom.sealed.reader import SealedArchive, SealedInfo, inspect
from sealroom.sealed.reseal import reseal
from sealroom.sealed.seal import SealSummary, seal
from sealroom.sealed.unseal import unseal
from sealroom.sealed.wrap import UNWRAPPED, Wrap, WrapContext, check_wrap, make_wrap, open_wrap

__all__ = [
    "PARQUET",
    "PART_SIZE",
    "UNWRAPPED",
    "Header",
    "Index",
    "PartEntry",
    "SealSummary",
    "SealedArchive",
    "SealedFile",
    "SealedInfo",
    "Wrap",
    "WrapContext",
    "check_commitment",
    "check_wrap",
    "inspect",
    "key_commitment",
    "make_wrap",
    "open_sealed",
    "open_wrap",
    "reseal",
    "seal",
    "unseal",
]
