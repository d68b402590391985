# SPDX-License-Identifier: Apache-2.0
"""Records: dataclasses whose fields say once how they stand in Python, in a contract and in JSON.

From the annotations of its fields, `Record` derives the names in camelCase, the EIP-712 type, the ABI type,
what an ABI encoder takes, what an ABI decoder hands out, and JSON in both directions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args, get_origin, get_type_hints

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import FormatError, SealroomError
from sealroom.model.kinds import Boolean, Kind, Many, decoder

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import CoreSchema, ErrorDetails

MAX_SHOWN = 80
"""Most characters of a foreign field's name that a message repeats."""

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")

Table = tuple[tuple[str, str], ...]
"""Names and Solidity types of a structure's fields, in order."""


@dataclass(frozen=True)
class AtMost:
    """Bounds a tuple of records or values, in the annotation of a field."""

    limit: int


@dataclass(frozen=True)
class Label:
    """What people read beside a value, in the annotation of a field."""

    text: str


@dataclass(frozen=True)
class Beside:
    """Marks a field that stands in no contract and in no JSON: whoever makes the record gives it."""


@dataclass(frozen=True)
class Part:
    """One field of a record."""

    attribute: str
    """Name in Python."""
    name: str
    """Name in contracts and in JSON."""
    kind: Kind
    """How its values are written and read."""
    label: str
    """What people read beside it."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What all records can do. A subclass is a frozen dataclass with keyword arguments only."""

    struct: ClassVar[str]
    """Name of the structure in contracts and in EIP-712: the class keyword `struct`, or the class's name."""
    what: ClassVar[str]
    """What messages call it; the class keyword `what`, else the structure's name in lower case."""

    def __init_subclass__(cls, *, struct: str = "", what: str = "") -> None:
        cls.struct = struct or cls.__name__
        cls.what = what or cls.struct.lower()

    # --- shape ---------------------------------------------------------------------------------------

    @classmethod
    def parts(cls) -> tuple[Part, ...]:
        """Its fields, in order, without those beside it."""
        return _parts(cls)  # type: ignore[arg-type]  # classes are hashable

    @classmethod
    def table(cls) -> Table:
        """Names and Solidity types of its fields, in order."""
        return tuple((part.name, part.kind.solidity) for part in cls.parts())

    @classmethod
    def types(cls) -> dict[str, Table]:
        """The EIP-712 type and those that it contains, the outer one first."""
        found = {cls.struct: cls.table()}
        for part in cls.parts():
            inner = part.kind.kind if isinstance(part.kind, Many) else part.kind
            if isinstance(inner, Nested):
                found |= inner.record.types()
        return found

    @classmethod
    def encode_type(cls) -> str:
        """EIP-712's `encodeType`: its own type, then those that it contains in the order of their names."""
        own, *others = cls.types().items()
        return "".join(
            f"{struct}({','.join(f'{kind} {name}' for name, kind in table)})"
            for struct, table in (own, *sorted(others))
        )

    @classmethod
    def type_hash(cls) -> bytes:
        """EIP-712's `typeHash`, 32 bytes."""
        return _type_hash(cls)  # type: ignore[arg-type]  # as above

    @classmethod
    def abi_type(cls) -> str:
        """Its ABI type, a tuple: `(bytes32,uint64)`."""
        kinds = []
        for part in cls.parts():
            inner, array = (part.kind.kind, "[]") if isinstance(part.kind, Many) else (part.kind, "")
            kinds.append((inner.record.abi_type() if isinstance(inner, Nested) else inner.solidity) + array)
        return f"({','.join(kinds)})"

    # --- contracts -----------------------------------------------------------------------------------

    def solidity(self) -> tuple[Any, ...]:
        """What an ABI encoder takes for it."""
        return tuple(part.kind.abi(getattr(self, part.attribute)) for part in self.parts())

    def words(self) -> bytes:
        """The ABI encoding of a record whose values all have a fixed size: 32 bytes each, those of records
        inside in their place. Raises `TypeError` for another record."""
        found = []
        for part in self.parts():
            value = getattr(self, part.attribute)
            if isinstance(part.kind, Nested):
                found.append(value.words())
            elif isinstance(part.kind, Many) or part.kind.solidity in ("string", "bytes", ""):
                raise TypeError(f"{part.name} has no fixed size")
            else:
                found.append(_word(part.kind, value))
        return b"".join(found)

    @classmethod
    def of_abi(cls, found: Any, **more: Any) -> Self:
        """Of what an ABI decoder hands out, by the names of its fields: a mapping, or an object with
        attributes. `more` holds fields that do not stand there."""
        get = found.__getitem__ if isinstance(found, Mapping) else lambda name: getattr(found, name)
        values = {
            part.attribute: part.kind.of_abi(get(part.name))
            for part in cls.parts()
            if part.attribute not in more
        }
        return cls(**values, **more)

    def typed(self) -> dict[str, Any]:
        """Its fields under their EIP-712 names, values as they are signed."""
        return {part.name: _typed(part.kind, getattr(self, part.attribute)) for part in self.parts()}

    def struct_hash(self) -> bytes:
        """EIP-712's `hashStruct` of it, 32 bytes."""
        words = [_word(part.kind, getattr(self, part.attribute)) for part in self.parts()]
        return keccak(self.type_hash() + b"".join(words))

    @classmethod
    def eip712(cls) -> dict[str, list[dict[str, str]]]:
        """`types` as EIP-712 JSON has them."""
        return {
            struct: [{"name": name, "type": kind} for name, kind in table]
            for struct, table in cls.types().items()
        }

    # --- JSON ----------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON."""
        return {part.name: part.kind.json(getattr(self, part.attribute)) for part in self.parts()}

    def lines(self) -> list[tuple[str, str]]:
        """Label and value of its fields for people, one line for each value of a list."""
        return [
            (part.label, line)
            for part in self.parts()
            for line in part.kind.texts(getattr(self, part.attribute))
        ]

    @classmethod
    def from_json(
        cls,
        value: Any,
        *,
        error: type[SealroomError] = FormatError,
        code: Code = Code.MALFORMED,
        what: str | None = None,
    ) -> Self:
        """Read strictly what `to_json` writes: each field there, none besides, no value of another form.

        `what` names it in messages. Raises `error` with `code`, about the first fault.
        """
        from pydantic import ValidationError

        try:
            return _adapter(cls).validate_python(value)  # type: ignore[arg-type]  # as above
        except ValidationError as caught:
            first = caught.errors(include_url=False, include_context=False, include_input=False)[0]
            raise error(code, _words(what or cls.what, first)) from None

    def fault(self) -> str | None:
        """What is wrong between its fields, behind its name: `has expires before issued`; `None` if nothing.

        Whoever reads a record from JSON asks, for each record inside too.
        """
        return None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        from pydantic_core import PydanticCustomError, core_schema

        known = {part.name for part in cls.parts()}

        def foreign(value: Any) -> Any:
            # Before pydantic looks: it would make one error of each foreign field, however many they are.
            if not isinstance(value, dict):
                raise PydanticCustomError("object", "")
            for name in sorted(value.keys() - known, key=str):
                raise PydanticCustomError("foreign", "{name}", {"name": repr(str(name)[:MAX_SHOWN])})
            return value

        def checked(record: Record) -> Record:
            if (words := record.fault()) is not None:
                raise PydanticCustomError("fault", "{words}", {"words": words})
            return record

        arguments = [
            core_schema.dataclass_field(part.attribute, part.kind.reader(), validation_alias=part.name)
            for part in cls.parts()
        ]
        read = core_schema.dataclass_args_schema(cls.__name__, arguments)
        names = [part.attribute for part in cls.parts()]
        made = core_schema.dataclass_schema(
            cls, read, names, frozen=True, post_init=hasattr(cls, "__post_init__")
        )
        whole = core_schema.no_info_after_validator_function(checked, made)
        return core_schema.no_info_before_validator_function(foreign, whole)


@dataclass(frozen=True)
class Nested(Kind):
    """A record inside another one."""

    record: type[Record]

    @property
    def solidity(self) -> str:
        return self.record.struct

    def abi(self, value: Record) -> tuple[Any, ...]:
        return value.solidity()

    def of_abi(self, value: Any) -> Record:
        return self.record.of_abi(value)

    def json(self, value: Record) -> dict[str, Any]:
        return value.to_json()

    def reader(self) -> CoreSchema:
        return self.record.__get_pydantic_core_schema__(self.record, None)


@dataclass(frozen=True, eq=False)
class Either(Kind):
    """One of several records, which the text of one of its members tells apart; in no contract."""

    member: str
    """Name of the member in JSON."""
    records: Mapping[str, type[Record]]
    """The records by that text."""

    def json(self, value: Record) -> dict[str, Any]:
        return value.to_json()

    def reader(self) -> CoreSchema:
        return decoder(self._read)

    def _read(self, value: object) -> Record:
        named = value.get(self.member) if isinstance(value, dict) else None
        if not isinstance(named, str) or named not in self.records:
            raise FormatError(Code.MALFORMED, f"without {self.member}: {' or '.join(self.records)}")
        return self.records[named].from_json(value)


def shown(value: Any) -> Any:
    """Signed values with bytes as hex, as a wallet's JSON holds them."""
    if isinstance(value, bytes):
        return to_hex(value)
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [shown(item) for item in value]
    return value


def _typed(kind: Kind, value: Any) -> Any:
    if isinstance(kind, Nested):
        return value.typed()
    return [_typed(kind.kind, item) for item in value] if isinstance(kind, Many) else kind.abi(value)


def _word(kind: Kind, value: Any) -> bytes:
    """EIP-712's `encodeData` of one value, 32 bytes."""
    if isinstance(kind, Nested):
        return bytes(value.struct_hash())
    if isinstance(kind, Many):
        return keccak(b"".join(_word(kind.kind, item) for item in value))
    if kind.solidity == "string":
        return keccak(text=kind.abi(value))
    found, solidity = kind.abi(value), kind.solidity
    # What nearly all fields are, without the encoder, which costs more than the hash.
    if solidity == "bytes32" and type(found) is bytes and len(found) == 32:
        return found
    if solidity.startswith("uint") and type(found) is int and 0 <= found < 1 << int(solidity[4:]):
        return found.to_bytes(32, "big")
    if solidity == "address" and type(found) is str and _ADDRESS.fullmatch(found) is not None:
        return bytes(12) + bytes.fromhex(found[2:])
    if found is True or found is False:
        return found.to_bytes(32, "big")
    return abi_encode([solidity], [found])


@cache
def _parts(record: type[Record]) -> tuple[Part, ...]:
    hints = get_type_hints(record, include_extras=True)
    found = []
    for name in (each.name for each in fields(record)):
        marks = get_args(hints[name])[1:]
        if not any(isinstance(mark, Beside) for mark in marks):
            label = next((mark.text for mark in marks if isinstance(mark, Label)), name.replace("_", " "))
            found.append(Part(name, _camel(name), _kind(hints[name]), label))
    return tuple(found)


def _kind(hint: Any) -> Kind:
    """The kind that an annotation names."""
    inner, *marks = get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
    for mark in marks:
        if isinstance(mark, Kind):
            return mark
    if get_origin(inner) is tuple:
        (limit,) = (mark.limit for mark in marks if isinstance(mark, AtMost))
        return Many(_kind(get_args(inner)[0]), limit)
    if inner is bool:
        return Boolean()
    if isinstance(inner, type) and issubclass(inner, Record):
        return Nested(inner)
    raise TypeError(f"{hint} names no kind of field")


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


@cache
def _type_hash(record: type[Record]) -> bytes:
    return keccak(text=record.encode_type())


@cache
def _adapter(record: type[Record]) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(record)


def _words(what: str, fault: ErrorDetails) -> str:
    """One line about a fault: what is wrong, in which field of what."""
    *outer, last = fault["loc"] or ("",)
    kind, words = fault["type"], fault["msg"]
    if kind in ("foreign", "object", "fault"):
        what = "'s ".join([what, *_path([*outer, last])])
        says = {"foreign": f"has the unknown field {words}", "object": "must be an object"}.get(kind, words)
        return f"{what} {says}"
    if isinstance(last, int):
        (last,) = _path([outer.pop(), last])
    what = "'s ".join([what, *_path(outer)])
    return f"{what} lacks {last}" if kind == "missing" else f"{what} has {last} that is {words}"


def _path(steps: Sequence[str | int]) -> list[str]:
    """`("datasets", 3)` as `["datasets[3]"]`."""
    found: list[str] = []
    for step in steps:
        if isinstance(step, int) and found:
            found[-1] += f"[{step}]"
        elif step != "":
            found.append(str(step))
    return found
