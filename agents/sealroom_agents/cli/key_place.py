# SPDX-License-Identifier: Apache-2.0
"""Where `sealroom seal` put the data key of a sealed file, for commands that were not told."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom_agents.cli.seal_outputs import KEYS_FOLDER
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.version_files import file_stem

if TYPE_CHECKING:
    from sealroom.sealed import Header
    from sealroom_agents.owner.secret_source import SecretSource


def key_place(sealed_file: Path, header: Header, owner: str | None = None) -> SecretSource:
    """Where the key lies: under the owner's id, or for a file that was sealed before there was a study,
    under the account. Raises `key-missing`: one beside the sealed file is in the wrong place, and is not
    taken from there.

    Without `owner`, the folder of the sealed file is taken for the owner's: `sealed/OWNER/NAME.tar`.
    """
    from sealroom_agents.owner.secret_source import SecretSource

    name = f"{file_stem(header.dataset, header.dataset_version)}.key"
    folder = sealed_file.absolute().parent.name
    owner = folder if owner is None else owner
    places = {owner, header.owner}
    # The file's own folder first: the same dataset may have been sealed before there was a study, and again.
    usual = KEYS_FOLDER / (folder if folder in places else owner) / name
    for found in (usual, *(KEYS_FOLDER / place / name for place in (owner, header.owner))):
        if found.is_file():
            return SecretSource(place=found)
    beside = sealed_file.with_suffix(".key")
    hint = "name it with --key; where it is lost, the file must be sealed anew, as the dataset's next version"
    if beside.is_file():
        hint = f"{beside} lies where sealed files lie, and could leave with them: move it to {usual}"
    raise ToolError(Code.KEY_MISSING, f"no data key {usual}", hint)
