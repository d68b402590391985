# SPDX-License-Identifier: Apache-2.0
"""What an owner puts on chain about a sealed file, as the file that `sealroom seal` writes beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.model import Version, dataset_id
from sealroom.model.base import Label, Record
from sealroom.model.kinds import B32, Address, Text, UInt
from sealroom.schema import DATASET_NAME
from sealroom.sealed import SealedInfo, inspect
from sealroom_agents.errors import ToolError

MAX_REGISTRATION_BYTES = 16 * 1024


@dataclass(frozen=True, kw_only=True)
class Registration(Record, what="the registration"):
    """One version of a dataset: the sealed file, and the place that it has in the registry."""

    dataset: B32
    """Id of the dataset, 32 bytes."""
    owner: Annotated[Address, Label("registered by")]
    """Account that registers the dataset, or did: it stays when the dataset has moved to another account."""
    name: Annotated[str, Text(64, DATASET_NAME)]
    """The dataset's name among those of the account."""
    number: Annotated[int, UInt(32, low=1), Label("version")]
    """Number that the file has among the dataset's versions, from 1."""
    version: Version
    """The sealed file."""

    def fault(self) -> str | None:
        """The id is the account's and the name's."""
        if self.dataset != dataset_id(self.owner, self.name):
            return "has a dataset that is not the id of its owner and name"
        return None


def registration_of(info: SealedInfo) -> Registration:
    """What a sealed file says of itself."""
    header = info.header
    return Registration(
        dataset=info.dataset_id,
        owner=header.owner,
        name=header.dataset,
        number=header.dataset_version,
        version=Version(
            header=info.header_digest,
            index=info.index_digest,
            key_commitment=info.index.key_commitment,
            schema_hash=header.schema_hash,
            rows=header.rows or 0,
        ),
    )


def load_registration(path: Path) -> Registration:
    """Read what `sealroom seal` wrote. Raises `registration-malformed`."""
    with path.open("rb") as stream:
        data = stream.read(MAX_REGISTRATION_BYTES + 1)
    value = strict_json(data, MAX_REGISTRATION_BYTES)
    return Registration.from_json(value, error=ToolError, code=Code.REGISTRATION_MALFORMED, what=str(path))


def registration_file(registration: Registration) -> bytes:
    """The file that `sealroom seal` writes."""
    return json.dumps(registration.to_json(), indent=1).encode() + b"\n"


def registration_in(path: Path) -> Registration:
    """What is registered of a sealed file: taken from the file itself, or from what was written beside it."""
    return registration_of(inspect(path)) if path.suffix == ".tar" else load_registration(path)
