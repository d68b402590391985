# SPDX-License-Identifier: Apache-2.0
"""Units of the privacy budget: whole millionths of ε ("micro") and whole parts of 10^12 of δ ("pico").

Contracts, records and JSON hold these whole numbers. People write and read decimals: `4.5`, `2e-6`.
"""

from __future__ import annotations

import time
from decimal import ROUND_CEILING, Decimal, localcontext

from sealroom.codes import Code
from sealroom.decimals import EXACT, decimal_text, parse_decimal
from sealroom.encoding import MAX_INTEGER
from sealroom.errors import FormatError

MICRO = 1_000_000
"""Micro-epsilon in an ε of 1."""

PICO = 10**12
"""Pico-delta in a δ of 1."""


def to_micro(epsilon: Decimal) -> int:
    """ε in millionths, rounded up: the ledger never books less than is spent."""
    return _rounded_up(epsilon, MICRO)


def to_pico(delta: Decimal) -> int:
    """δ in parts of 10^12, rounded up: the ledger never books less than is spent. Zero stays zero."""
    return _rounded_up(delta, PICO)


def epsilon_text(micro: int) -> str:
    """Micro-epsilon for people and for files: 1_500_000 is `1.5`, 1 is `0.000001`."""
    whole, part = divmod(micro, MICRO)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")


def delta_text(pico: int) -> str:
    """Pico-delta for people and for files: 2_000_000 is `2e-6`."""
    return decimal_text(Decimal(pico) / PICO)


def time_text(seconds: int) -> str:
    """Unix seconds for people: `2030-03-17 17:46 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def read_epsilon(text: object, what: str) -> int:
    """ε that a person wrote, in millionths. More than six decimals are refused, not rounded.

    `what` names it in messages. Raises `FormatError` `malformed`.
    """
    epsilon = _read(text, what, "4.5")
    if epsilon <= 0 or (micro := _whole(epsilon, MICRO)) is None or micro > MAX_INTEGER:
        raise FormatError(Code.MALFORMED, f"{what} must be above zero, with at most six decimals")
    return micro


def read_delta(text: object, what: str) -> int:
    """δ that a person wrote, in parts of 10^12. More than twelve decimals are refused, not rounded.

    `what` names it in messages. Raises `FormatError` `malformed`.
    """
    delta = _read(text, what, "0.00001")
    if not 0 <= delta < 1 or (pico := _whole(delta, PICO)) is None:
        raise FormatError(Code.MALFORMED, f"{what} must be from zero to below one, with at most 12 decimals")
    return pico


def _read(text: object, what: str, example: str) -> Decimal:
    try:
        return parse_decimal(text)
    except FormatError as error:
        raise FormatError(
            Code.MALFORMED, f'{what} must be a decimal number as text, such as "{example}"'
        ) from error


def _whole(value: Decimal, unit: int) -> int | None:
    """The value in whole units; `None` when it is not whole."""
    with localcontext(EXACT):
        units = value * unit
    return int(units) if units == units.to_integral_value() else None


def _rounded_up(value: Decimal, unit: int) -> int:
    with localcontext(EXACT):
        return int((value * unit).to_integral_value(rounding=ROUND_CEILING))
