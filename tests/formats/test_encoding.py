# SPDX-License-Identifier: Apache-2.0
"""Length-prefixed tuples, canonical JSON, decimals: one encoding a value."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroom.decimals import decimal_text, exact_sum, parse_decimal, parse_normal_decimal
from sealroom.encoding import (
    MAX_DEPTH,
    Fields,
    address_bytes,
    canonical,
    from_base64,
    from_hex,
    lp,
    parse_canonical,
    strict_json,
)
from sealroom.errors import FormatError, SealroomError
from sealroom.model.units import to_micro, to_pico
from tests.patience import PATIENCE_S

LIMIT = 4096


def test_a_tuple_is_its_fields_behind_their_lengths() -> None:
    encoded = lp("sealroom/v1/test", "ab", b"\x01", 2)

    assert encoded == (
        (16).to_bytes(8, "big")
        + b"sealroom/v1/test"
        + (2).to_bytes(8, "big")
        + b"ab"
        + (1).to_bytes(8, "big")
        + b"\x01"
        + (32).to_bytes(8, "big")
        + (2).to_bytes(32, "big")
    )


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=12), max_size=5), st.lists(st.binary(max_size=12), max_size=5))
def test_no_two_tuples_have_one_encoding(left: list[bytes], right: list[bytes]) -> None:
    """CE-09."""
    assert (lp("d", *left) == lp("d", *right)) == (left == right)


def test_moving_a_byte_between_fields_changes_the_encoding() -> None:
    """CE-09: ("ab", "c") and ("a", "bc")."""
    assert lp("d", "ab", "c") != lp("d", "a", "bc")


@pytest.mark.parametrize("value", [True, 1.5, None])
def test_other_types_cannot_be_fields(value: object) -> None:
    with pytest.raises(TypeError):
        lp("d", value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, 2**256])
def test_an_integer_beyond_256_bits_is_refused(value: int) -> None:
    assert lp("d", 2**256 - 1)
    with pytest.raises(FormatError):
        lp("d", value)


TEXT = st.text(st.characters(codec="utf-8")) | st.text('\x00\x1f\x7f"\\/\u2028\ud7ff\ue000\U0001f600é')
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) - 2, 2**53 + 2) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=400, deadline=None)
@given(JSON)
def test_whichever_encoder_writes_it_the_bytes_are_those_of_rfc_8785(value: object) -> None:
    try:
        expected = rfc8785.dumps(value)  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError:
        with pytest.raises(FormatError):
            canonical(value)
    else:
        assert canonical(value) == expected


def test_no_name_but_a_text_is_written() -> None:
    for value in ({1: "a"}, {None: "a"}, {"a": {True: 1}}, {"a": object()}, {"a": b""}):
        with pytest.raises(FormatError):
            canonical(value)


def test_canonical_json_reads_back() -> None:
    value = {"b": [1, "é", None, True], "a": {"x": "y"}}

    encoded = canonical(value)

    assert encoded == '{"a":{"x":"y"},"b":[1,"é",null,true]}'.encode()
    assert parse_canonical(encoded, LIMIT) == value


@pytest.mark.parametrize(
    "text, code",
    [
        ('{"a": 1}', "not-canonical"),
        ('{"b":1,"a":1}', "not-canonical"),
        ('{"a":"\\u0041"}', "not-canonical"),
        ('{"a":-0}', "not-canonical"),
        ('{"a":1,"a":1}', "malformed"),
        ('{"a":1.0}', "malformed"),
        ('{"a":1e2}', "malformed"),
        ('{"a":NaN}', "malformed"),
        ('{"a":9007199254740992}', "malformed"),
        ('{"a":' + "1" * 100 + "}", "malformed"),
        ('{"a":"\\ud800"}', "malformed"),
        ("[1]", "malformed"),
        ("", "malformed"),
        ('{"a":1}x', "malformed"),
        ('{"a":' + "[" * 17 + "]" * 17 + "}", "malformed"),
        ("[" * 4000, "malformed"),
        ('{"a":"' + "x" * LIMIT + '"}', "too-large"),
    ],
)
def test_other_json_is_refused_with_a_code(text: str, code: str) -> None:
    assert parse_canonical(b'{"a":1}', LIMIT) == {"a": 1}
    with pytest.raises(FormatError) as caught:
        parse_canonical(text.encode("utf-8", "surrogatepass"), LIMIT)
    assert caught.value.code == code


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_decoders_raise_only_our_error(data: bytes) -> None:
    for decode in (strict_json, parse_canonical):
        with suppress(FormatError):
            decode(data, LIMIT)


@pytest.mark.parametrize("text", ["0xAB", "ab", "0xa", "0x ab", "", None, 1])
def test_hex_has_one_form(text: object) -> None:
    assert from_hex("0xab") == b"\xab"
    with pytest.raises(FormatError):
        from_hex(text)


@pytest.mark.parametrize("text", ["YQ", "YQ=", "YR==", "YQ==\n", "Y Q==", "_-==", None])
def test_base64_has_one_form(text: object) -> None:
    assert from_base64("YQ==") == b"a"
    with pytest.raises(FormatError):
        from_base64(text)


@pytest.mark.parametrize("text", ["0x" + "AB" * 20, "ab" * 20, "0x" + "ab" * 19, None])
def test_an_address_has_one_form(text: object) -> None:
    assert address_bytes("0x" + "ab" * 20) == b"\xab" * 20
    with pytest.raises(FormatError):
        address_bytes(text)


def test_fields_refuse_what_nobody_read() -> None:
    fields = Fields({"a": 1, "b": 2}, "thing")
    assert fields.integer("a") == 1
    with pytest.raises(FormatError, match="unknown field 'b'"):
        fields.done()


@pytest.mark.parametrize("value", [True, "1", 1.0, -1, 11, None])
def test_fields_take_integers_in_range_only(value: object) -> None:
    assert Fields({"a": 10}, "thing").integer("a", 0, 10) == 10
    with pytest.raises(SealroomError):
        Fields({"a": value}, "thing").integer("a", 0, 10)


@pytest.mark.parametrize(
    "value, text",
    [("0", "0"), ("0.30", "0.3"), ("-20", "-20"), ("1e-6", "1e-6"), ("0.0001", "0.0001"), ("1000", "1000")],
)
def test_a_decimal_has_one_text(value: str, text: str) -> None:
    assert decimal_text(Decimal(value)) == text
    assert parse_normal_decimal(text) == Decimal(value)


@pytest.mark.parametrize("text", ["0.30", "1E-6", "+1", "01", ".5", "1.", "-0", "0.00001", "NaN", "1e99", 1])
def test_other_decimal_texts_are_refused(text: object) -> None:
    assert parse_normal_decimal("0.3") == Decimal("0.3")
    with pytest.raises(FormatError):
        parse_normal_decimal(text)


@settings(max_examples=200)
@given(st.decimals(min_value=-1000, max_value=1000, places=8))
def test_decimals_read_back(value: Decimal) -> None:
    assert parse_normal_decimal(decimal_text(value)) == value
    assert parse_decimal(decimal_text(value)) == value


def test_epsilon_is_booked_rounded_up() -> None:
    assert to_micro(Decimal("0.0000001")) == 1
    assert to_micro(Decimal("1.5")) == 1_500_000


@pytest.mark.parametrize(
    "text, pico",
    [
        ("0", 0),
        ("1e-6", 1_000_000),
        ("1e-12", 1),
        ("1e-13", 1),
        ("1e-99", 1),
        ("1.000000000001e-6", 1_000_001),
        ("1.00000000000000000000001e-6", 1_000_001),
        ("3.33333333333333333333333e-5", 33_333_334),
        ("1", 10**12),
    ],
)
def test_delta_is_booked_rounded_up_in_integers(text: str, pico: int) -> None:
    assert to_pico(parse_decimal(text)) == pico


@given(st.integers(1, 10**24 - 1), st.integers(-99, -24))
def test_what_is_booked_covers_what_is_spent_and_no_unit_more(digits: int, exponent: int) -> None:
    value = Decimal((0, tuple(map(int, str(digits))), exponent))
    for booked, unit in ((to_pico(value), 10**12), (to_micro(value), 10**6)):
        assert booked - 1 < Fraction(value) * unit <= booked


def test_a_sum_drops_no_digit() -> None:
    """Python's own sum has 28 digits: a smaller δ next to a larger one would cost nothing."""
    parts = [Decimal("1e-6"), Decimal("1e-99")]

    assert sum(parts) == Decimal("1e-6")
    assert exact_sum(parts) > Decimal("1e-6")
    assert to_pico(exact_sum(parts)) == 1_000_001


@pytest.mark.parametrize(
    "module", ["encoding", "typed", "receipt_tree", "key_release", "recipe", "envelope", "sealed"]
)
def test_formats_import_nothing_heavy(module: str) -> None:
    """An owner's tools and the gate start without the libraries of an analysis."""
    program = (
        f"import sys, sealroom.{module}; "
        "print(sorted({'pandas', 'pyarrow', 'torch', 'numpy', 'opendp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stdout.strip() == "[]", done.stderr


def test_nesting_is_refused_before_the_parser_sees_it() -> None:
    """RE-02: with a raised recursion limit, the parser would run out of stack and take the process along."""

    def deep(levels: int) -> bytes:
        return b'{"a":' + b"[" * levels + b"]" * levels + b"}"

    assert strict_json(deep(MAX_DEPTH - 1), 1000)
    brackets_in_a_string = b'{"a":"' + b"[" * 500 + b'\\""}'
    assert strict_json(brackets_in_a_string, 1000)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        with pytest.raises(FormatError) as caught:
            strict_json(deep(90_000), 1_000_000)
    finally:
        sys.setrecursionlimit(limit)
    assert caught.value.code == "malformed"
