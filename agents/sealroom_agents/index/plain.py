# SPDX-License-Identifier: Apache-2.0
"""Facts as JSON and back: dataclasses by the annotations of their fields, bytes as hex."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import FormatError
from sealroom.model import Record


def to_plain(value: Any) -> Any:
    """What `json` writes of it."""
    if isinstance(value, Record):
        return value.to_json()
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: to_plain(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, bytes):
        return to_hex(value)
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    return value


def of_plain(hint: Any, value: Any) -> Any:
    """The value of this type that `to_plain` wrote. Raises `FormatError` for anything else."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        (inner,) = (one for one in get_args(hint) if one is not NoneType)
        return None if value is None else of_plain(inner, value)
    if origin is tuple:
        if not isinstance(value, list):
            raise FormatError(Code.MALFORMED, "no list")
        return tuple(of_plain(get_args(hint)[0], item) for item in value)
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.from_json(value)
    if is_dataclass(hint):
        types = _types(hint)  # type: ignore[arg-type]  # classes are hashable
        if not isinstance(value, dict) or value.keys() != types.keys():
            raise FormatError(Code.MALFORMED, "other fields")
        return hint(**{name: of_plain(kind, value[name]) for name, kind in types.items()})  # type: ignore[operator]
    if hint is bytes:
        return bytes.fromhex(value.removeprefix("0x"))
    if type(value) is not hint:
        raise FormatError(Code.MALFORMED, f"no {hint.__name__}")
    return value


@cache
def _types(of: Any) -> dict[str, Any]:
    return get_type_hints(of)
