# SPDX-License-Identifier: Apache-2.0
"""Kinds of fields: how a value stands in Python, in a contract, and in JSON.

A field of a record names its kind in its annotation: `study: B32`. Each kind knows the Solidity type, turns a
value into what an ABI encoder takes and back, writes it as JSON, and reads it strictly from JSON.

Reading is pydantic's work. It is imported when something is read for the first time, so that a command which
reads nothing does not wait for it.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from sealroom.codes import Code
from sealroom.encoding import MAX_INTEGER, address_bytes, from_base64, from_hex, to_base64, to_hex
from sealroom.errors import FormatError
from sealroom.model.units import delta_text, epsilon_text, read_delta, read_epsilon, time_text

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

REGIMES = ("HIPAA", "GDPR", "UK GDPR", "PCI", "FFIEC", "SOC 2")
"""Names of the compliance regimes; the place of each is its bit on chain, the lowest first."""


class Kind(ABC):
    """How the values of a field are written and read."""

    unit = ""
    """Unit of a number: `micro`, `pico` or `seconds`; empty for all else."""

    @property
    def solidity(self) -> str:
        """Solidity type; empty for a kind that stands in no contract."""
        return ""

    def abi(self, value: Any) -> Any:
        """The value as an ABI encoder, or an encoder of EIP-712 structures, takes it."""
        return value

    def of_abi(self, value: Any) -> Any:
        """The value of what an ABI decoder hands out. Raises `FormatError` for what no genuine contract
        holds."""
        return value

    def json(self, value: Any) -> Any:
        """The value as JSON holds it."""
        return value

    def text(self, value: Any) -> str:
        """The value for people, in one line."""
        return str(value)

    def texts(self, value: Any) -> list[str]:
        """The value for people, a line for each item of a list."""
        return [self.text(value)]

    @abstractmethod
    def reader(self) -> CoreSchema:
        """pydantic's schema that reads what `json` writes, and nothing else."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return self.reader()


@dataclass(frozen=True)
class Hex(Kind):
    """Bytes of a fixed size; `0x` and lower-case hex in JSON."""

    size: int

    @property
    def solidity(self) -> str:
        return f"bytes{self.size}"

    def of_abi(self, value: Any) -> bytes:
        return bytes(value)

    def json(self, value: bytes) -> str:
        return to_hex(value)

    def text(self, value: bytes) -> str:
        return to_hex(value)

    def reader(self) -> CoreSchema:
        return decoder(lambda value: from_hex(value, self.size))


@dataclass(frozen=True)
class Base64(Kind):
    """Long bytes; standard base64 in JSON. At most `limit` bytes, and exactly `size` where it is given."""

    limit: int
    size: int | None = None

    def json(self, value: bytes) -> str:
        return to_base64(value)

    def reader(self) -> CoreSchema:
        return decoder(self._read)

    def _read(self, value: object) -> bytes:
        data = from_base64(value)
        if len(data) > self.limit or self.size not in (None, len(data)):
            wanted = f"{self.size} bytes" if self.size is not None else f"at most {self.limit} bytes"
            raise FormatError(Code.MALFORMED, f"{len(data)} bytes where {wanted} must be")
        return data


@dataclass(frozen=True)
class AddressKind(Kind):
    """An address of a chain: `0x` and 40 lower-case hex digits, in Python too."""

    @property
    def solidity(self) -> str:
        return "address"

    def of_abi(self, value: Any) -> str:
        return str(value).lower()

    def reader(self) -> CoreSchema:
        return decoder(_address)


@dataclass(frozen=True)
class UInt(Kind):
    """A whole number of `bits` bits, `low` at least. JSON bounds it by 2^53 - 1 besides."""

    bits: int
    low: int = 0
    high: int = MAX_INTEGER

    @property
    def solidity(self) -> str:
        return f"uint{self.bits}"

    def of_abi(self, value: Any) -> int:
        if value >> self.bits:
            raise FormatError(Code.MALFORMED, f"not a number of {self.bits} bits")
        return int(value)

    def reader(self) -> CoreSchema:
        from pydantic_core import core_schema

        high = min(2**self.bits - 1, self.high)
        number = core_schema.int_schema(strict=True, ge=self.low, le=high)
        return _or(number, f"not an integer from {self.low} to {high}")


@dataclass(frozen=True)
class Epsilon(UInt):
    """ε, in millionths."""

    unit = "micro"

    def text(self, value: int) -> str:
        return epsilon_text(value)

    def of_text(self, text: object, what: str) -> int:
        """Of what a person wrote. Raises `FormatError`; `what` names it."""
        return read_epsilon(text, what)


@dataclass(frozen=True)
class Delta(UInt):
    """δ, in parts of 10^12."""

    unit = "pico"

    def text(self, value: int) -> str:
        return delta_text(value)

    def of_text(self, text: object, what: str) -> int:
        """Of what a person wrote. Raises `FormatError`; `what` names it."""
        return read_delta(text, what)


@dataclass(frozen=True)
class Time(UInt):
    """Unix seconds."""

    unit = "seconds"

    def text(self, value: int) -> str:
        return time_text(value)


@dataclass(frozen=True)
class Boolean(Kind):
    """True or false."""

    @property
    def solidity(self) -> str:
        return "bool"

    def of_abi(self, value: Any) -> bool:
        return bool(value)

    def reader(self) -> CoreSchema:
        from pydantic_core import core_schema

        return _or(core_schema.bool_schema(strict=True), "neither true nor false")


@dataclass(frozen=True)
class Text(Kind):
    """Text of 1 to `limit` characters that matches `pattern` whole; `empty` allows none."""

    limit: int
    pattern: re.Pattern[str] | None = None
    empty: bool = False

    @property
    def solidity(self) -> str:
        return "string"

    def of_abi(self, value: Any) -> str:
        # A contract may hold nothing yet.
        return self._read(value) if value else ""

    def reader(self) -> CoreSchema:
        return decoder(self._read)

    def _read(self, value: object) -> str:
        if not isinstance(value, str) or len(value) > self.limit or not (value or self.empty):
            raise FormatError(Code.MALFORMED, f"not text of at most {self.limit} characters")
        if self.pattern is not None and self.pattern.fullmatch(value) is None:
            raise FormatError(Code.MALFORMED, f"not of the form {self.pattern.pattern}")
        return value


@dataclass(frozen=True)
class JsonObject(Kind):
    """Any JSON object; whoever uses it judges what is inside."""

    def json(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return dict(value)

    def reader(self) -> CoreSchema:
        from pydantic_core import core_schema

        return _or(core_schema.dict_schema(strict=True), "not an object")


@dataclass(frozen=True)
class Ascii(Kind):
    """Short ASCII text that a contract keeps as `size` bytes, padded with zero bytes on the right.

    Whatever else a contract holds there is shown escaped, never trusted as text.
    """

    size: int
    pattern: re.Pattern[str]

    @property
    def solidity(self) -> str:
        return f"bytes{self.size}"

    def abi(self, value: str) -> bytes:
        return value.encode("ascii").ljust(self.size, b"\0")

    def of_abi(self, value: Any) -> str:
        return bytes(value).rstrip(b"\0").decode("ascii", errors="backslashreplace")

    def reader(self) -> CoreSchema:
        return Text(self.size, self.pattern).reader()


@dataclass(frozen=True)
class Regimes(Kind):
    """Names out of `REGIMES`; bit flags in a contract."""

    @property
    def solidity(self) -> str:
        return "uint16"

    def abi(self, value: Sequence[str]) -> int:
        return sum({1 << REGIMES.index(name) for name in value})

    def of_abi(self, value: Any) -> tuple[str, ...]:
        return tuple(name for bit, name in enumerate(REGIMES) if int(value) >> bit & 1)

    def json(self, value: Sequence[str]) -> list[str]:
        return list(value)

    def text(self, value: Sequence[str]) -> str:
        return ", ".join(value)

    def reader(self) -> CoreSchema:
        return decoder(self._read)

    def _read(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or len(value) > len(REGIMES):
            raise FormatError(Code.MALFORMED, f"not an array of at most {len(REGIMES)} items")
        for name in value:
            if name not in REGIMES:
                raise FormatError(
                    Code.MALFORMED,
                    f"not of known regimes: {str(name)[:64]!r}; known are {', '.join(REGIMES)}",
                )
        return tuple(value)


@dataclass(frozen=True)
class Many(Kind):
    """A tuple of values of one kind; at most `limit`."""

    kind: Kind
    limit: int

    @property
    def solidity(self) -> str:
        return f"{self.kind.solidity}[]"

    def abi(self, value: Sequence[Any]) -> list[Any]:
        return [self.kind.abi(item) for item in value]

    def of_abi(self, value: Sequence[Any]) -> tuple[Any, ...]:
        if len(value) > self.limit:
            raise FormatError(Code.MALFORMED, f"not an array of at most {self.limit} items")
        return tuple(self.kind.of_abi(item) for item in value)

    def json(self, value: Sequence[Any]) -> list[Any]:
        return [self.kind.json(item) for item in value]

    def text(self, value: Sequence[Any]) -> str:
        return ", ".join(self.texts(value))

    def texts(self, value: Sequence[Any]) -> list[str]:
        return [self.kind.text(item) for item in value]

    def reader(self) -> CoreSchema:
        from pydantic_core import core_schema

        items = core_schema.list_schema(self.kind.reader(), strict=True, fail_fast=True)
        array = _or(
            core_schema.list_schema(strict=True, max_length=self.limit),
            f"not an array of at most {self.limit} items",
        )
        return core_schema.no_info_after_validator_function(tuple, core_schema.chain_schema([array, items]))


B32 = Annotated[bytes, Hex(32)]
"""A hash, a digest or an id of 32 bytes."""
Address = Annotated[str, AddressKind()]
"""An account or a contract: `0x` and 40 lower-case hex digits."""
U8 = Annotated[int, UInt(8)]
U16 = Annotated[int, UInt(16)]
U32 = Annotated[int, UInt(32)]
U24 = Annotated[int, UInt(24)]
U64 = Annotated[int, UInt(64)]
Micro32 = Annotated[int, Epsilon(32)]
Micro = Annotated[int, Epsilon(64)]
Pico40 = Annotated[int, Delta(40)]
Pico = Annotated[int, Delta(64)]
Seconds = Annotated[int, Time(64)]
Flag = Annotated[bool, Boolean()]


def _address(value: object) -> object:
    address_bytes(value)
    return value


def _or(schema: CoreSchema, message: str) -> CoreSchema:
    """The schema, with our words for whatever it refuses."""
    from pydantic_core import core_schema

    return core_schema.custom_error_schema(schema, "malformed", custom_error_message=message)


def decoder(decode: Callable[[object], Any]) -> CoreSchema:
    """A schema of a function that raises `FormatError`."""
    from pydantic_core import PydanticCustomError, core_schema

    def read(value: object) -> Any:
        try:
            return decode(value)
        except FormatError as error:
            raise PydanticCustomError("malformed", "{words}", {"words": error.message}) from None

    return core_schema.no_info_plain_validator_function(read)
