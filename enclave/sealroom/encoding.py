# SPDX-License-Identifier: Apache-2.0
"""The encodings that hashes and signatures rest on: length-prefixed tuples and canonical JSON.

Each value has exactly one accepted encoding; a second one is a bug. Spec: `enclave/spec/key-release.md`,
"Conventions"; RFC 8785 for canonical JSON.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import rfc8785

from sealroom.codes import Code
from sealroom.errors import FormatError, SealroomError

MAX_DEPTH = 16
"""Deepest nesting of arrays and objects that a decoder accepts."""

MAX_INTEGER = 2**53 - 1
"""Largest magnitude of a JSON integer (RFC 7493, section 2.2): beyond it, parsers disagree."""

HASH_SIZE = 32

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_STRING_OR_BRACKET = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)
_HEX = re.compile(r"0x(?:[0-9a-f]{2})*")
_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def length_prefixed(*fields: bytes) -> bytes:
    """Concatenate fields so that no two different tuples give the same bytes (CE-09).

    Each field is its length as 8 big-endian bytes, then itself.
    """
    return b"".join(len(field).to_bytes(8, "big") + field for field in fields)


def lp(domain: str, *fields: bytes | str | int) -> bytes:
    """Encode a tuple under its domain-separation string, which is always the first field.

    Text is UTF-8, an integer is 32 big-endian unsigned bytes, bytes stay as they are. An address is its 20
    raw bytes: see `address_bytes`.
    """
    return length_prefixed(domain.encode(), *(_field(field) for field in fields))


def _field(value: bytes | str | int) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"cannot encode {type(value).__name__} as a field")
    if not 0 <= value < 2**256:
        raise FormatError(Code.MALFORMED, f"{value} is not an unsigned 256-bit integer")
    return value.to_bytes(32, "big")


def sha256(data: bytes | bytearray) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()


def sha512(data: bytes) -> bytes:
    """SHA-512, 64 bytes."""
    return hashlib.sha512(data).digest()


def to_hex(data: bytes) -> str:
    """Lower-case hex with `0x`: the one text form of short bytes in our formats."""
    return "0x" + data.hex()


def from_hex(text: object, size: int | None = None) -> bytes:
    """Decode `0x` + lower-case hex; `size` in bytes, when it is fixed."""
    if not isinstance(text, str) or _HEX.fullmatch(text) is None:
        raise FormatError(Code.MALFORMED, "not lower-case hex with 0x")
    data = bytes.fromhex(text[2:])
    if size is not None and len(data) != size:
        raise FormatError(Code.MALFORMED, f"{len(data)} bytes of hex where {size} must be")
    return data


def address_bytes(address: object) -> bytes:
    """The 20 raw bytes of an address in our one text form, `0x` + 40 lower-case hex digits."""
    if not isinstance(address, str) or _ADDRESS.fullmatch(address) is None:
        raise FormatError(Code.MALFORMED, "not an address in lower-case hex")
    return bytes.fromhex(address[2:])


def normal_address(address: object) -> str:
    """Bring an address that a person wrote (any case) to our one text form."""
    lowered = address.lower() if isinstance(address, str) else ""
    address_bytes(lowered)
    return lowered


def to_base64(data: bytes) -> str:
    """Standard base64 with padding: the one text form of long bytes in our formats."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: object) -> bytes:
    """Decode standard base64, refusing white space, missing padding and spare bits (no malleability)."""
    if not isinstance(text, str) or _BASE64.fullmatch(text) is None:
        raise FormatError(Code.MALFORMED, "not standard base64")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise FormatError(Code.MALFORMED, "not standard base64") from None
    if to_base64(data) != text:
        raise FormatError(Code.MALFORMED, "base64 with spare bits")
    return data


def canonical(value: Any) -> bytes:
    """Encode as canonical JSON (RFC 8785).

    Floats are refused: numbers with decimals travel as decimal strings.
    """
    try:
        if _is_plain(value):
            # The same bytes, ten times as fast.
            return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise FormatError(Code.MALFORMED, f"cannot be written as canonical JSON: {error}") from None


def strict_json(data: bytes, limit: int, *, allow_floats: bool = False) -> dict[str, Any]:
    """Decode one JSON object from outside.

    `limit` is the most bytes accepted. Refused: other top-level types, invalid UTF-8, halves of surrogate
    pairs, duplicate names, floats unless allowed, NaN, integers beyond 2^53 - 1, nesting deeper than
    `MAX_DEPTH`. Raises `FormatError` with code `malformed` or `too-large`, and nothing else.
    """
    if len(data) > limit:
        raise FormatError(Code.TOO_LARGE, f"{len(data)} bytes where at most {limit} may be")
    _check_nesting(data)
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_int=_integer,
        )
    except FormatError:
        raise
    except RecursionError:
        raise FormatError(Code.MALFORMED, "JSON is nested too deeply") from None
    except ValueError:  # UnicodeDecodeError and JSONDecodeError both are
        raise FormatError(Code.MALFORMED, "not valid JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise FormatError(Code.MALFORMED, "the top level of the JSON must be an object")
    if _SURROGATE.search(data):
        _check_text(value)
    _check_tree(value, allow_floats=allow_floats)
    return value


def _check_nesting(data: bytes) -> None:
    # Before the parser: it is recursive, and a library that raises the recursion limit (py-evm does) would
    # let deep nesting exhaust the stack of the process.
    if data.count(b"{") + data.count(b"[") <= MAX_DEPTH:
        return
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(data):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH + 1:
                raise FormatError(Code.MALFORMED, "JSON is nested too deeply")
        elif first in b"]}":
            depth -= 1


def _check_text(value: Any) -> None:
    # An escape can spell half of a surrogate pair: text that no later step could write (CE-18).
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise FormatError(Code.MALFORMED, "text with half of a surrogate pair") from None


def parse_canonical(data: bytes, limit: int) -> dict[str, Any]:
    """Like `strict_json`, and the bytes must be the canonical ones (`not-canonical` otherwise)."""
    value = strict_json(data, limit)
    if canonical(value) != data:
        raise FormatError(Code.NOT_CANONICAL, "JSON is not in canonical form (RFC 8785)")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise FormatError(Code.MALFORMED, "an object has one name twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise FormatError(Code.MALFORMED, f"{name} is not a number")


def _integer(text: str) -> int:
    # Checked before int(): its cost grows with the square of the digits.
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        raise FormatError(Code.MALFORMED, "an integer is beyond 2^53 - 1")
    return int(text)


def _check_tree(value: Any, *, allow_floats: bool) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str or kind is int:
                continue  # nearly all, at no cost
            if isinstance(item, Mapping):
                below.extend(item.values())
            elif isinstance(item, list | tuple):
                below.extend(item)
            elif isinstance(item, float) and not allow_floats:
                raise FormatError(Code.MALFORMED, "a float where only integers and strings may be")
        if not below:
            return
        level = below
    raise FormatError(Code.MALFORMED, f"JSON is nested deeper than {MAX_DEPTH} levels")


def _is_plain(value: Any) -> bool:
    """Whether Python's own encoder writes it canonically: its order of names and RFC 8785's are the same for
    ASCII, and it knows no bound for integers. Raises like `_check_tree`, in the same walk."""
    plain, level = True, [value]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is str or item is None or kind is bool:
                continue
            if kind is dict:
                below.extend(item.values())
                plain = plain and all(type(name) is str and name.isascii() for name in item)
            elif kind is list or kind is tuple:
                below.extend(item)
            elif kind is int:
                plain = plain and -MAX_INTEGER <= item <= MAX_INTEGER
            elif isinstance(item, Mapping):
                below.extend(item.values())
                plain = False
            elif isinstance(item, float):
                raise FormatError(Code.MALFORMED, "a float where only integers and strings may be")
            elif isinstance(item, list | tuple):
                below.extend(item)
                plain = False
            else:
                plain = plain and isinstance(item, str)
        if not below:
            return plain
        level = below
    raise FormatError(Code.MALFORMED, f"JSON is nested deeper than {MAX_DEPTH} levels")


class Fields:
    """Read a decoded JSON object field by field, and refuse what was not read.

    `what` names the object in messages; errors are of class `error` with code `code`. Call `done` at the end:
    it refuses unknown fields, with code `unknown`.
    """

    def __init__(
        self,
        value: Any,
        what: str,
        *,
        error: type[SealroomError] = FormatError,
        code: Code = Code.MALFORMED,
        unknown: Code | None = None,
    ) -> None:
        self._what, self._error, self._code, self._unknown = what, error, code, unknown or code
        if not isinstance(value, Mapping):
            self.fail("must be an object")
        self._left: dict[str, Any] = dict(value)

    def fail(self, message: str, hint: str | None = None) -> NoReturn:
        """Raise this reader's error about the object as a whole."""
        raise self._error(self._code, f"{self._what} {message}", hint)

    def raw(self, name: str) -> Any:
        """Take any value; the caller judges it."""
        if name not in self._left:
            self.fail(f"lacks {name}")
        return self._left.pop(name)

    def integer(self, name: str, low: int = 0, high: int = MAX_INTEGER) -> int:
        """Take an integer with `low <= value <= high`."""
        value = self.raw(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fail(f"has {name} that is not an integer from {low} to {high}")
        return value

    def text(
        self,
        name: str,
        *,
        limit: int,
        pattern: re.Pattern[str] | None = None,
        words: str = "",
        empty: bool = False,
    ) -> str:
        """Take text of at most `limit` characters which matches `pattern` whole; `words` say the pattern."""
        value = self.raw(name)
        if not isinstance(value, str) or len(value) > limit or not (value or empty):
            self.fail(f"has {name} that is not text of at most {limit} characters")
        if pattern is not None and pattern.fullmatch(value) is None:
            is_not = f"is not {words}" if words else f"does not match {pattern.pattern}"
            self.fail(f"has {name} that {is_not}")
        return value

    def hex(self, name: str, size: int) -> bytes:
        """Take `size` bytes written as hex."""
        return self._decoded(name, lambda value: from_hex(value, size))

    def address(self, name: str) -> str:
        """Take an address; it stays text."""
        value = self.raw(name)
        try:
            address_bytes(value)
        except FormatError as error:
            self.fail(f"has {name} that is {error}")
        return str(value)

    def base64(self, name: str, *, limit: int, size: int | None = None) -> bytes:
        """Take bytes written as base64: at most `limit` of them, exactly `size` when given."""
        data = self._decoded(name, from_base64)
        if len(data) > limit or (size is not None and len(data) != size):
            self.fail(f"has {name} of {len(data)} bytes")
        return data

    def object(self, name: str) -> dict[str, Any]:
        """Take an object, to be read by another `Fields`."""
        value = self.raw(name)
        if not isinstance(value, dict):
            self.fail(f"has {name} that is not an object")
        return value

    def array(self, name: str, *, limit: int) -> Sequence[Any]:
        """Take an array of at most `limit` items."""
        value = self.raw(name)
        if not isinstance(value, list) or len(value) > limit:
            self.fail(f"has {name} that is not an array of at most {limit} items")
        return value

    def has(self, name: str) -> bool:
        """Whether an optional field is there and was not read yet."""
        return name in self._left

    def version(self, supported: int = 1) -> None:
        """Take `version`; another than the supported one is refused by its own code."""
        value = self.raw("version")
        if value != supported or isinstance(value, bool):
            raise self._error(Code.UNSUPPORTED_VERSION, f"{self._what} has a version other than {supported}")

    def done(self) -> None:
        """Refuse fields that were not read."""
        for name in sorted(self._left, key=str):
            raise self._error(self._unknown, f"{self._what} has the unknown field {str(name)[:80]!r}")

    def _decoded(self, name: str, decode: Any) -> bytes:
        value = self.raw(name)
        try:
            data = decode(value)
        except FormatError as error:
            self.fail(f"has {name} that is {error}")
        return bytes(data)
