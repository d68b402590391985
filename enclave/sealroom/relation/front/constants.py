# SPDX-License-Identifier: Apache-2.0
"""Constants, intervals and names of types, as a query writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.relation import functions
from sealroom.relation.front.nodes import Node, only
from sealroom.relation.terms import (
    BOOL,
    DATE,
    DIGITS,
    INT,
    MAX_SCALE,
    MAX_TEXT,
    REAL,
    TIMESTAMP,
    Type,
    decimal_type,
    literal,
    refuse,
    text_type,
)

if TYPE_CHECKING:
    from sealroom.relation.terms import Term

_TYPES = {
    **dict.fromkeys(("bigint", "integer", "int", "smallint", "tinyint", "int1", "int2", "int4", "int8"), INT),
    **dict.fromkeys(("boolean", "bool", "logical"), BOOL),
    **dict.fromkeys(("double", "float", "real", "float4", "float8"), REAL),
    **dict.fromkeys(("varchar", "text", "string", "char", "bpchar"), text_type(MAX_TEXT)),
    "date": DATE,
    **dict.fromkeys(("timestamp", "datetime"), TIMESTAMP),
}
_UNITS = {"second": "to_seconds", "minute": "to_minutes", "hour": "to_hours", "day": "to_days",
          "week": "to_weeks", "month": "to_months", "year": "to_years"}  # fmt: skip


def constant(value: Mapping[str, Any]) -> Term:
    kind, text = value.get("kind"), value.get("text", "")
    match kind:
        case "INTEGER" if len(text) <= 40:
            number = int(text)
            return literal(number if abs(number) < 2**63 else Decimal(text))
        case "NUMERIC":
            return literal(_number(text))
        case "STRING":
            return literal(text)
        case "NULL_LITERAL":
            return literal(None)
        case "BOOLEAN":
            return literal(text == "true")
        case _:
            refuse(
                Code.RELATION_CONSTANT,
                f"a constant of kind {str(kind)[:20]}",
                "a number, 'text', TRUE or NULL",
            )


def _number(text: str) -> Decimal | float:
    """As DuckDB reads it: with an exponent a binary fraction, else a decimal."""
    try:
        if "e" in text.lower():
            return float(text)
        return Decimal(text)
    except (InvalidOperation, ValueError):
        refuse(Code.RELATION_CONSTANT, f"the constant {text[:40]}", f"at most {DIGITS} digits")


def interval(text: str) -> Term:
    """INTERVAL '3 days'."""
    number, _, unit = text.strip().partition(" ")
    name = _UNITS.get(unit.strip().lower().removesuffix("s"))
    if name is None or not number.removeprefix("-").isdecimal() or len(number) > 8:
        refuse(Code.RELATION_CONSTANT, f"the interval '{text[:40]}'", "write INTERVAL 3 DAY, or '3 days'")
    return functions.scalar(name, [literal(int(number))])


def type_of(name: str, parameters: Sequence[Node]) -> Type:
    sizes = []
    for each in parameters:
        if each.get("class") != "CONSTANT" or only(each, "literal")["literal"].get("kind") != "INTEGER":
            sizes.append(-1)
        else:
            sizes.append(int(each["literal"]["text"][:10]))
    if name in ("decimal", "numeric", "dec"):
        digits, scale = (*sizes, 0)[:2] if sizes else (DIGITS, 3)
        if len(sizes) <= 2 and 0 <= scale <= MAX_SCALE and scale <= digits <= DIGITS:
            return decimal_type(scale)
        sizes = [-1]
    if name in _TYPES and (not sizes or _TYPES[name].kind == "text"):
        return _TYPES[name]
    how = {
        "timestamptz": "TIMESTAMP: instants are read in UTC",
        "timestamp with time zone": "TIMESTAMP: instants are read in UTC",
        "hugeint": "BIGINT",
        "ubigint": "BIGINT",
    }.get(
        name,
        f"BIGINT, DOUBLE, DECIMAL(p, s) with p ≤ {DIGITS} and s ≤ {MAX_SCALE}, VARCHAR, BOOLEAN, DATE or"
        " TIMESTAMP",
    )
    refuse(Code.RELATION_TYPE, f"CAST to {name[:40]}{'(…)' if sizes else ''} has no rule", how)
