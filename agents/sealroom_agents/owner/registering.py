# SPDX-License-Identifier: Apache-2.0
"""The registration that `sealroom seal` writes beside a sealed file.

What reads it is the record `registration.Registration`. Written here without it: who seals would wait for the
import of all records. A test holds both to the same bytes.
"""

from __future__ import annotations

import json

from sealroom.encoding import to_hex
from sealroom.sealed.reader import SealedInfo


def registration_of_file(info: SealedInfo) -> bytes:
    """What goes on chain of a sealed file, as JSON."""
    header = info.header
    registration = {
        "dataset": to_hex(info.dataset_id),
        "owner": header.owner,
        "name": header.dataset,
        "number": header.dataset_version,
        "version": {
            "header": to_hex(info.header_digest),
            "index": to_hex(info.index_digest),
            "keyCommitment": to_hex(info.index.key_commitment),
            "schemaHash": to_hex(header.schema_hash),
            "rows": header.rows or 0,
        },
    }
    return json.dumps(registration, indent=1).encode() + b"\n"
