# SPDX-License-Identifier: Apache-2.0
"""What `sealroom seal` left in a folder: sealed files with what they say of themselves, and their keys.

No key is opened, and no part read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.errors import FormatError, SealError
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom.sealed import SealedInfo
    from sealroom_agents.owner.key_file import KeyFile

SUFFIX = ".tar"
MAX_FILES = 1024
"""Sealed files that one call reads."""
WRAPPED, PLAIN, MISSING, BROKEN = "wrapped", "plain", "missing", "broken"


@dataclass(frozen=True)
class KeyHere:
    """A data key's file, as it lies there."""

    path: Path
    """Where it lies, or would."""
    state: str
    """`wrapped`, `plain`, `missing`, or `broken` for what is no key."""
    file: KeyFile | None = None
    """What a wrapped one says of itself; nothing of it is proven before somebody opens it."""


@dataclass(frozen=True)
class SealedHere:
    """One sealed file of an owner's folder."""

    place: str
    """Name of that folder: the owner's id or account."""
    path: Path
    """The sealed file."""
    info: SealedInfo | None
    """What it says; `None` for one that cannot be read."""
    fault: SealError | None
    """Why it cannot."""
    key: KeyHere
    """Its data key."""


def sealed_here(
    sealed: Path, keys: Callable[[str], Path], *, owner: str | None = None
) -> tuple[list[SealedHere], int]:
    """The sealed files of all owners below a folder, or of one, by place, name and version; and how many more
    there are than were read. `keys` is the folder of the keys of a place."""
    from sealroom import sealed as sealing

    found: list[SealedHere] = []
    paths = [path for path in _files(sealed) if owner in (None, path.parent.name)]
    for path in paths[:MAX_FILES]:
        info, fault = None, None
        try:
            info = sealing.inspect(path)
        except SealError as error:
            fault = error
        key = key_here(keys(path.parent.name) / f"{path.stem}.key")
        found.append(SealedHere(path.parent.name, path, info, fault, key))
    return sorted(found, key=_order), max(0, len(paths) - MAX_FILES)


def key_here(path: Path) -> KeyHere:
    """What lies where a key's file should be."""
    from sealroom_agents.cli import datakey
    from sealroom_agents.owner import data_key
    from sealroom_agents.owner.key_file import KeyFile
    from sealroom_agents.owner.secret_source import SecretSource

    if not path.is_file():
        return KeyHere(path, MISSING)
    try:
        content = datakey.read_content(SecretSource(place=path))
        if datakey.is_wrapped(content):
            return KeyHere(path, WRAPPED, KeyFile.parse(content, name=str(path)))
        data_key.parse(content, source=str(path)).wipe()
    except (ToolError, FormatError):
        return KeyHere(path, BROKEN)
    return KeyHere(path, PLAIN)


def newest_of(found: list[SealedHere], *, account: str, name: str) -> SealedHere | None:
    """The newest version of one dataset among them."""
    mine = [
        one
        for one in found
        if one.info is not None and (one.info.header.owner, one.info.header.dataset) == (account, name)
    ]
    return max(mine, key=_order, default=None)


def _files(sealed: Path) -> Iterator[Path]:
    """`OWNER/NAME.tar`, in order; hidden folders are of runs that work, or were killed."""
    for folder in _entries(sealed):
        if folder.is_dir():
            yield from (one for one in _entries(folder) if one.suffix == SUFFIX and one.is_file())


def _entries(folder: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ToolError(Code.SOURCE_UNSUPPORTED, f"{folder} cannot be listed: {error.strerror}") from None
    return [folder / name for name in names if not name.startswith(".")]


def _order(one: SealedHere) -> tuple[str, str, int, str]:
    if one.info is None:
        return one.place, one.path.stem, 0, one.path.name
    return one.place, one.info.header.dataset, one.info.header.dataset_version, one.path.name
