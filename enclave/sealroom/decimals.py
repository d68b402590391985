# SPDX-License-Identifier: Apache-2.0
"""Decimal numbers as text: one text for each value, so that hashed bytes have no floats."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction
from functools import lru_cache

from sealroom.codes import Code
from sealroom.errors import FormatError

MAX_DECIMAL = Decimal(10) ** 12
"""Largest magnitude of a number in our formats."""

MAX_DIGITS = 24
"""Most significant digits of a number in our formats."""

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,23})(\.[0-9]{1,24})?(e-?[0-9]{1,2})?")
_SMALL = Decimal("0.0001")
EXACT = Context(prec=400, traps=[Inexact])
"""Holds each sum and product of the numbers above whole; whatever would need rounding raises."""


def decimal_text(value: Decimal) -> str:
    """The one text of a number: `0.3`, `-20`, and `1e-6` for magnitudes below 0.0001."""
    if not value.is_finite() or abs(value) > MAX_DECIMAL:
        raise FormatError(Code.MALFORMED, "not a number of bounded size")
    if value == 0:
        return "0"
    sign, digits, _ = value.normalize().as_tuple()
    if len(digits) > MAX_DIGITS:
        raise FormatError(Code.MALFORMED, f"a number with more than {MAX_DIGITS} digits")
    if abs(value) >= _SMALL:
        return format(value.normalize(), "f")
    shown = "".join(map(str, digits))
    mantissa = shown[0] + ("." + shown[1:] if len(shown) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{value.adjusted()}"


def parse_decimal(text: object) -> Decimal:
    """Read any decimal text that a person may write, such as `0.30`."""
    if not isinstance(text, str) or _DECIMAL.fullmatch(text) is None:
        raise FormatError(Code.MALFORMED, "not a decimal number")
    value = Decimal(text)
    decimal_text(value)
    return value


def parse_normal_decimal(text: object) -> Decimal:
    """Read only what `decimal_text` writes."""
    value = parse_decimal(text)
    if decimal_text(value) != text:
        raise FormatError(Code.MALFORMED, f"the number {text} must be written {decimal_text(value)}")
    return value


def exact_sum(values: Iterable[Decimal]) -> Decimal:
    """The sum, to the last digit. Python's own would drop a δ of 1e-40 next to one of 1e-6."""
    with localcontext(EXACT):
        return sum(values, Decimal(0))


def rounded_text(value: Fraction, *, decimals: int, lower: Decimal, upper: Decimal) -> str:
    """`value` rounded once, half to even, to `decimals` places and held within the bounds."""
    lowest, highest = _within(lower, upper, decimals)
    whole = min(max(round(value * 10**decimals), lowest), highest)
    sign, digits = "-" if whole < 0 else "", str(abs(whole)).rjust(decimals + 1, "0")
    return sign + (digits if decimals == 0 else f"{digits[:-decimals]}.{digits[-decimals:]}")


@lru_cache(maxsize=256)
def _within(lower: Decimal, upper: Decimal, decimals: int) -> tuple[int, int]:
    """The least and the largest number within the bounds, in units of the last place."""
    unit = 10**decimals
    return math.ceil(Fraction(lower) * unit), math.floor(Fraction(upper) * unit)
