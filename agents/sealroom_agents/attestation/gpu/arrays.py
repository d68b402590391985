# SPDX-License-Identifier: Apache-2.0
"""JSON from outside whose top level is an array, which is how NVIDIA's tools write."""

from __future__ import annotations

from typing import Any

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError

_MEMBER = b'{"array":%b}'


def read_array(data: bytes, limit: int) -> list[Any]:
    """Decode an array of at most `limit` bytes as strictly as `strict_json` decodes an object. Raises
    `FormatError`."""
    if len(data) > limit:
        raise FormatError(Code.TOO_LARGE, f"{len(data)} bytes where at most {limit} may be")
    value = strict_json(_MEMBER % data, limit + len(_MEMBER))
    if value.keys() != {"array"} or not isinstance(value["array"], list):
        raise FormatError(Code.MALFORMED, "the top level of the JSON must be an array")
    return value["array"]
