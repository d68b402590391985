# SPDX-License-Identifier: Apache-2.0
"""The file that sealing, resealing and unsealing write: `sealroom.files` with the codes of `SealError`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.files import PRIVATE, TargetExists, atomic_output


@contextmanager
def sealed_output(target: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Write `target`, mode 0600, whole or not at all.

    Raises `SealError` with code `output-exists` or `output-unwritable`.
    """
    try:
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(atomic_output(target, mode=PRIVATE, replace=overwrite))
            except TargetExists:
                raise
            except OSError as error:
                raise SealError(Code.OUTPUT_UNWRITABLE, f"cannot write {target}: {error.strerror}") from None
            yield stream
    except TargetExists:
        raise output_exists(target) from None


def refuse_same(source: Path, target: Path) -> None:
    """Raise `same-file` when both are one file, by whatever names."""
    if target.exists() and source.exists() and os.path.samefile(source, target):
        raise SealError(Code.SAME_FILE, f"{target} is the file to be read", "choose another output")


def output_exists(target: Path) -> SealError:
    """The refusal of a target that is there already."""
    return SealError(
        Code.OUTPUT_EXISTS, f"{target} is there already", "choose another name, or allow overwriting"
    )
