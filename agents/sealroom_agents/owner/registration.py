# SPDX-License-Identifier: Apache-2.0
"""What an owner puts on chain about a sealed dataset, as a file: `sealroom.model.Registration`."""

from __future__ import annotations

import json
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.model import Registration
from sealroom.sealed import SealedInfo
from sealroom_agents.errors import ToolError

MAX_REGISTRATION_BYTES = 16 * 1024


def registration_of(info: SealedInfo) -> Registration:
    """What a sealed file says of itself."""
    return Registration(
        dataset_id=info.dataset_id,
        index_digest=info.index_digest,
        key_commitment=info.index.key_commitment,
        schema_hash=info.header.schema_hash,
        rows=info.header.rows or 0,
        name=info.header.dataset,
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
