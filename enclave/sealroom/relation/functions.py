# SPDX-License-Identifier: Apache-2.0
"""The table of functions: which scalars, aggregates and windows exist. What is not here does not exist.

A scalar is here if three answers are yes. Is it a function of its arguments' bits alone (no clock, setting,
collation, seed or catalogue)? Does it allocate no more than its type says? Does it fail only by errors that
`TRY` turns into NULL? Patterns and the names of date parts are literals: what a pattern costs, or whether it
is one, is then no fact about a person.

An aggregate is here if it is a function of the *multiset* of its inputs, bit for bit, and no input fails it:
sums add in 128 bits, an order ends in all columns, and binary fractions are not added at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.relation.terms import (
    BOOL,
    DATE,
    EXACT,
    INT,
    MAX_SCALE,
    MAX_TEXT,
    NUMBERS,
    REAL,
    SPAN,
    TIMESTAMP,
    Aggregate,
    Term,
    Type,
    Window,
    cast,
    check_key,
    common_type,
    decimal_type,
    derived,
    literal,
    need,
    refuse,
    text_type,
    used,
)

if TYPE_CHECKING:
    from sealroom.relation.relations import Relation

Terms = Sequence[Term]
MAX_ARGUMENTS = 1000
MAX_OFFSET = 1_000_000
"""Most rows that a window looks back or ahead."""
KEPT = 24
"""Bytes of a list that an aggregate keeps of a group."""
TIMES = ("date", "ts")

# --- arguments ----------------------------------------------------------------------------------------------


def _count(name: str, terms: Terms, least: int, most: int | None = None) -> None:
    most = least if most is None else most
    if not least <= len(terms) <= min(most, MAX_ARGUMENTS):
        number = str(least) if least == most else f"{least} to {most}"
        refuse(
            Code.RELATION_FUNCTION,
            f"{name} takes {number} arguments, not {len(terms)}",
            "see the table of functions in the specification of relations",
        )


def _kind(name: str, term: Term, *kinds: str) -> None:
    if term.type.kind not in (*kinds, "null"):
        words = " or ".join(str(Type(kind)) for kind in kinds)
        refuse(Code.RELATION_TYPE, f"{name} takes a {words}, not a {term.type}", "CAST the argument")


def _text(name: str, term: Term) -> str:
    if not isinstance(term.value, str):
        refuse(
            Code.RELATION_CONSTANT,
            f"{name}: a pattern, separator or part of a date is not a literal text",
            "write it as 'text': whether a pattern is one must not depend on data",
        )
    return term.value


def _whole(name: str, term: Term, least: int, most: int) -> int:
    value = term.value
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        refuse(
            Code.RELATION_CONSTANT,
            f"{name}: an argument is not a whole number from {least} to {most}",
            "write it as a literal",
        )
    return value


# --- scalars: operators -------------------------------------------------------------------------------------


def _real(term: Term) -> str:
    return f"CAST({term.sql} AS DOUBLE)"


def _arithmetic(name: str, terms: Terms) -> Term:
    """+ − × of whole numbers stay whole, of decimals exact; / is a binary fraction; an overflow is NULL."""
    a, b = terms
    ka, kb = a.type.kind, b.type.kind
    if ka in TIMES and kb == "span" and name in "+-":
        return derived(f"CAST({a.sql} {name} {b.sql} AS TIMESTAMP)", TIMESTAMP, a, b)
    if ka == "date" and kb == "int" and name in "+-":
        return derived(f"({a.sql} {name} CAST({b.sql} AS INTEGER))", DATE, a, b)
    if ka == kb == "date" and name == "-":
        return derived(f"CAST(({a.sql} - {b.sql}) AS BIGINT)", INT, a, b)
    for term in terms:
        _kind(name, term, *NUMBERS)
    kinds = {ka, kb} - {"null"}
    if "real" in kinds or name == "/":
        return derived(f"({_real(a)} {name} {_real(b)})", REAL, a, b)
    if kinds <= {"int"}:
        return derived(f"(CAST({a.sql} AS BIGINT) {name} CAST({b.sql} AS BIGINT))", INT, a, b)
    if name in ("//", "%"):
        refuse(Code.RELATION_TYPE, f"{name} takes whole numbers", "CAST(x AS BIGINT), or floor(a / b)")
    scale = a.type.size + b.type.size if name == "*" else max(a.type.size, b.type.size)
    if scale > MAX_SCALE:
        refuse(
            Code.RELATION_TYPE,
            f"{name} of decimals would have {scale} places, and {MAX_SCALE} are possible",
            "CAST a factor to fewer: CAST(x AS DECIMAL(18, 2))",
        )
    # 19 digits hold any whole number; a product then has at most 37.
    digits = 19 if name == "*" else 38
    wide = [f"CAST({term.sql} AS DECIMAL({digits},{term.type.size}))" for term in terms]
    return derived(
        f"CAST({wide[0]} {name} {wide[1]} AS {decimal_type(scale).sql})", decimal_type(scale), a, b
    )


def _sign(name: str, terms: Terms) -> Term:
    """− and + before a number."""
    (a,) = terms
    _kind(name, a, *NUMBERS)
    if name == "+":
        return a
    if isinstance(a.value, int | Decimal):
        return literal(-a.value)
    return derived(f"(-{a.sql})", a.type, a)


def compare(name: str, a: Term, b: Term) -> Term:
    """= <> < > <= >= IS [NOT] DISTINCT FROM, of one type: what must be cast is cast here, to a wider type."""
    ka, kb = a.type.kind, b.type.kind
    if "null" not in (ka, kb):
        if "list" in (ka, kb) or "span" in (ka, kb):
            refuse(
                Code.RELATION_TYPE, f"{name} compares no {a.type} with a {b.type}", "compare an element: x[1]"
            )
        if {ka, kb} == {"int", "dec"}:
            # 38 digits hold any whole number and 15 places.
            a, b = (
                derived(f"CAST({term.sql} AS DECIMAL(38,{MAX_SCALE}))", term.type, term, total=True)
                for term in (a, b)
            )
        elif {ka, kb} <= {*NUMBERS} and ka != kb:
            a, b = cast(a, REAL), cast(b, REAL)
        elif {ka, kb} == {*TIMES}:
            a, b = cast(a, TIMESTAMP), cast(b, TIMESTAMP)
        elif isinstance(a.value, str) and kb in TIMES:
            a = cast(a, b.type)
        elif isinstance(b.value, str) and ka in TIMES:
            b = cast(b, a.type)
        elif ka != kb:
            refuse(Code.RELATION_TYPE, f"{name} compares a {a.type} with a {b.type}", "CAST one of them")
    nullable = False if "DISTINCT" in name else None
    return derived(f"({a.sql} {name} {b.sql})", BOOL, a, b, total=True, nullable=nullable)


COMPARISONS = ("=", "<>", "<", ">", "<=", ">=", "IS NOT DISTINCT FROM", "IS DISTINCT FROM")


def conjunction(name: str, terms: Terms) -> Term:
    """AND, OR."""
    terms = [need(term, "bool", name) for term in terms]
    return derived("(" + f" {name} ".join(term.sql for term in terms) + ")", BOOL, *terms, total=True)


def negation(term: Term) -> Term:
    """NOT."""
    return derived(f"(NOT {need(term, 'bool', 'NOT').sql})", BOOL, term, total=True)


def is_null(term: Term, *, yes: bool) -> Term:
    """IS NULL, IS NOT NULL. Of a term that can fail: whether it did, which is a fact about its own row."""
    inner = term.safe
    return derived(
        f"({inner} IS {'' if yes else 'NOT '}NULL)", BOOL, _as_safe(term), total=True, nullable=False
    )


def _as_safe(term: Term) -> Term:
    return replace(term, sql=term.safe, total=True, nullable=term.safe_nullable, clean=True, unit=False)


def attempt(term: Term) -> Term:
    """TRY(x), and TRY_CAST."""
    return _as_safe(term)


def case(checks: Sequence[tuple[Term, Term]], other: Term) -> Term:
    """CASE WHEN … THEN … ELSE … END: values of one type."""
    values = [value for _, value in checks] + [other]
    type = common_type(values, "CASE")
    values = [cast(value, type) for value in values]
    tests = [need(test, "bool", "WHEN") for test, _ in checks]
    whens = " ".join(f"WHEN {test.sql} THEN {value.sql}" for test, value in zip(tests, values, strict=False))
    return derived(
        f"(CASE {whens} ELSE {values[-1].sql} END)",
        type,
        *tests,
        *values,
        total=True,
        nullable=any(value.nullable for value in values),
    )


# --- scalars: calls -----------------------------------------------------------------------------------------


def _magnitude(name: str, terms: Terms) -> Term:
    (a,) = terms
    _kind(name, a, *NUMBERS)
    return derived(f"{name}({a.sql})", a.type, a)


def _whole_part(name: str, terms: Terms) -> Term:
    (a,) = terms
    _kind(name, a, *NUMBERS)
    word = "ceil" if name == "ceiling" else name
    return derived(f"CAST({word}({a.sql}) AS BIGINT)", INT, a)


def _round(name: str, terms: Terms) -> Term:
    """round(x, n): a decimal with n places, so that it can be added."""
    a = terms[0]
    _kind(name, a, *NUMBERS)
    places = _whole(name, terms[1], 0, 9) if len(terms) > 1 else 0
    type = decimal_type(places)
    return derived(f"CAST(round({a.sql}, {places}) AS {type.sql})", type, *terms)


def _analytic(name: str, terms: Terms) -> Term:
    """ln, exp, sqrt …: of a binary fraction; NULL where the result is none."""
    for term in terms:
        _kind(name, term, *NUMBERS)
    word = {"power": "pow", "^": "pow", "**": "pow"}.get(name, name)
    return derived(f"{word}({', '.join(map(_real, terms))})", REAL, *terms)


def _chosen(name: str, terms: Terms) -> Term:
    """least, greatest (both pass over NULL), coalesce."""
    type = common_type(terms, name)
    word = "coalesce" if name == "ifnull" else name
    values = [cast(term, type) for term in terms]
    total = all(value.total for value in values)
    return derived(
        f"{word}({', '.join(value.sql for value in values)})",
        type,
        *values,
        total=total,
        nullable=all(value.nullable for value in values),
    )


def _nullif(name: str, terms: Terms) -> Term:
    type = common_type(terms, name)
    a, b = (cast(term, type) for term in terms)
    return derived(f"nullif({a.sql}, {b.sql})", type, a, b, nullable=True)


def _if(name: str, terms: Terms) -> Term:
    return case([(terms[0], terms[1])], terms[2])


def _letters(name: str, terms: Terms) -> Term:
    """lower, upper and the trims: never longer than their argument."""
    (a,) = terms
    _kind(name, a, "text")
    return derived(f"{name}({a.sql})", text_type(a.type.size), a)


def _ends(name: str, terms: Terms) -> Term:
    """left(x, n), right(x, n): a text of at most n characters."""
    a, n = terms
    _kind(name, a, "text")
    size = _whole(name, n, 0, MAX_TEXT)
    return derived(f"{name}({a.sql}, {size})", text_type(min(size, a.type.size)), a)


def _substring(name: str, terms: Terms) -> Term:
    a = terms[0]
    _kind(name, a, "text")
    for term in terms[1:]:
        _kind(name, term, "int")
    size = a.type.size
    if len(terms) == 3 and isinstance(terms[2].value, int):
        size = min(size, abs(terms[2].value))
    return derived(f"substring({', '.join(term.sql for term in terms)})", text_type(size), *terms)


def _length(name: str, terms: Terms) -> Term:
    (a,) = terms
    _kind(name, a, "text", "list")
    return derived(f"CAST(length({a.sql}) AS BIGINT)", INT, a)


def _contains(name: str, terms: Terms) -> Term:
    """starts_with, ends_with, contains."""
    for term in terms:
        _kind(name, term, "text")
    return derived(f"{name}({terms[0].sql}, {terms[1].sql})", BOOL, *terms)


def _like(name: str, terms: Terms) -> Term:
    """LIKE, NOT LIKE and their forms without case; ESCAPE has a third argument."""
    a, pattern = terms[:2]
    _kind("LIKE", a, "text")
    _text("LIKE", pattern)
    word = "ILIKE" if "*" in name or "ilike" in name else "LIKE"
    escape = ""
    if len(terms) == 3:
        if len(_text("ESCAPE", terms[2])) != 1:
            refuse(Code.RELATION_CONSTANT, "ESCAPE takes one character", "write ESCAPE '!'")
        escape = f" ESCAPE {terms[2].sql}"
    term = derived(f"({a.sql} {word} {pattern.sql}{escape})", BOOL, a, pattern)
    return negation(term) if name.startswith(("!", "not")) else term


def _regexp(name: str, terms: Terms) -> Term:
    a, pattern = terms
    _kind(name, a, "text")
    _text(name, pattern)
    return derived(f"{name}({a.sql}, {pattern.sql})", BOOL, a, pattern)


def _split(name: str, terms: Terms) -> Term:
    a, separator, index = terms
    _kind(name, a, "text")
    _text(name, separator)
    _kind(name, index, "int")
    return derived(f"split_part({a.sql}, {separator.sql}, {index.sql})", text_type(a.type.size), a, index)


def _joined(name: str, terms: Terms) -> Term:
    """|| (NULL if one is) and concat (passes over NULL): as long as all together."""
    parts = []
    for term in terms:
        if term.type.kind in ("list", "span", "real"):
            _kind(name, term, "text")
        parts.append(cast(term, text_type(0)) if term.type.kind != "text" else term)
    size = sum(term.type.size for term in parts)
    if size > MAX_TEXT:
        refuse(
            Code.RELATION_TEXT_SIZE,
            f"{name} could make a text of {size} characters, and {MAX_TEXT} are possible",
            "shorten the parts first: left(x, 100)",
        )
    written = [f"coalesce({term.sql}, '')" if name == "concat" else term.sql for term in parts]
    nullable = False if name == "concat" else None
    return derived("(" + " || ".join(written) + ")", text_type(size), *parts, nullable=nullable)


PARTS = (
    "year", "quarter", "month", "week", "day", "hour", "minute", "second",
    "dow", "isodow", "doy", "isoyear", "epoch",
)  # fmt: skip
STEPS = PARTS[:8]
"""Parts that a date is cut to, or differences are counted in."""
_OF_DAYS = STEPS[:5]
"""Those of whole days."""


def _part(name: str, term: Term, allowed: Sequence[str]) -> str:
    part = _text(name, term).lower()
    if part not in allowed:
        refuse(
            Code.RELATION_CONSTANT,
            f"{name}: '{part[:20]}' is no part of a date",
            f"one of {', '.join(allowed)}",
        )
    return part


def _date_part(name: str, terms: Terms) -> Term:
    part = _part(name, terms[0], PARTS)
    _kind(name, terms[1], *TIMES)
    return derived(f"CAST(date_part('{part}', {terms[1].sql}) AS BIGINT)", INT, terms[1])


def _named_part(name: str, terms: Terms) -> Term:
    return _date_part(name, [literal(name), *terms])


def _date_trunc(name: str, terms: Terms) -> Term:
    part = _part(name, terms[0], STEPS)
    _kind(name, terms[1], *TIMES)
    return derived(f"CAST(date_trunc('{part}', {terms[1].sql}) AS TIMESTAMP)", TIMESTAMP, terms[1])


def _date_difference(name: str, terms: Terms) -> Term:
    """date_diff counts borders crossed, date_sub whole steps."""
    part = _part(name, terms[0], STEPS)
    for term in terms[1:]:
        _kind(name, term, *TIMES)
    word = "date_sub" if "sub" in name else "date_diff"
    # As moments the same dates take longer, and the latest are none.
    dates = word == "date_diff" and part in _OF_DAYS and all(term.type == DATE for term in terms[1:])
    times = ", ".join(term.sql if dates else f"CAST({term.sql} AS TIMESTAMP)" for term in terms[1:])
    # Days are told apart by one subtraction of 64 bits, which has no other failure than a missing day.
    total = dates and part == "day"
    return derived(f"{word}('{part}', {times})", INT, *terms[1:], total=total, nullable=True)


SPANS = ("to_seconds", "to_minutes", "to_hours", "to_days", "to_weeks", "to_months", "to_years")


def _span(name: str, terms: Terms) -> Term:
    """INTERVAL n DAY, of a literal."""
    return Term(f"{name}({_whole('INTERVAL', terms[0], -(10**6), 10**6)})", SPAN, total=True, nullable=False)


def _element(name: str, terms: Terms) -> Term:
    """x[n] of a list: NULL outside of it."""
    a, n = terms
    _kind(name, a, "list")
    _kind(name, n, "int")
    if a.type.of is None:
        return literal(None)
    # of a list in a file, elements have fewer bits than the calculus computes with
    narrow = a.type.of == INT and a.type.item_bytes != 8
    found = f"list_extract({a.sql}, {n.sql})"
    return derived(f"CAST({found} AS BIGINT)" if narrow else found, a.type.of, a, n, nullable=True)


Scalar = Callable[[str, Terms], Term]

_SCALARS: dict[str, tuple[Scalar, int, int]] = {}
"""By name: what makes the term, and how many arguments it takes at least and at most."""


def _admit(make: Scalar, least: int, most: int, *names: str) -> None:
    _SCALARS.update({name: (make, least, most) for name in names})


_admit(_arithmetic, 2, 2, "*", "/", "//", "%", "mod", "divide")
_admit(_magnitude, 1, 1, "abs")
_admit(_whole_part, 1, 1, "floor", "ceil", "ceiling", "sign")
_admit(_round, 1, 2, "round")
_admit(_analytic, 1, 1, "ln", "log10", "log2", "exp", "sqrt")
_admit(_analytic, 2, 2, "pow", "power", "^", "**")
_admit(_chosen, 1, MAX_ARGUMENTS, "least", "greatest", "coalesce")
_admit(_chosen, 2, 2, "ifnull")
_admit(_nullif, 2, 2, "nullif")
_admit(_if, 3, 3, "if")
_admit(_letters, 1, 1, "lower", "upper", "trim", "ltrim", "rtrim")
_admit(_ends, 2, 2, "left", "right")
_admit(_substring, 2, 3, "substring", "substr")
_admit(_length, 1, 1, "length", "len")
_admit(_contains, 2, 2, "starts_with", "ends_with", "contains")
_admit(_like, 2, 2, "~~", "!~~", "~~*", "!~~*")
_admit(_like, 3, 3, "like_escape", "not_like_escape", "ilike_escape", "not_ilike_escape")
_admit(_regexp, 2, 2, "regexp_matches", "regexp_full_match")
_admit(_split, 3, 3, "split_part")
_admit(_joined, 2, 100, "||")
_admit(_joined, 1, 100, "concat")
_admit(_date_part, 2, 2, "date_part", "datepart", "extract")
_admit(_named_part, 1, 1, *PARTS)
_admit(_date_trunc, 2, 2, "date_trunc", "datetrunc")
_admit(_date_difference, 3, 3, "date_diff", "datediff", "date_sub", "datesub")
_admit(_span, 1, 1, *SPANS)
_admit(_element, 2, 2, "list_extract", "list_element", "array_extract")

SCALARS = tuple(sorted({*_SCALARS, "+", "-"}))
"""Names of all scalar functions and operators that are calls."""


def scalar(name: str, terms: Terms) -> Term:
    """A call of a scalar function."""
    if name in ("+", "-") and len(terms) in (1, 2):
        return _sign(name, terms) if len(terms) == 1 else _arithmetic(name, terms)
    if name not in _SCALARS:
        refuse(
            Code.RELATION_FUNCTION,
            f"there is no scalar function {name[:40]} in relations",
            "see the table of functions in the specification of relations; a join or CASE often does it",
        )
    make, least, most = _SCALARS[name]
    _count(name, terms, least, most)
    return make({"mod": "%", "divide": "//"}.get(name, name), terms)


# --- aggregates ---------------------------------------------------------------------------------------------


def order_item(term: Term, *, descending: bool, nulls_first: bool) -> tuple[str, Term]:
    """One item of ORDER BY."""
    if term.type.kind in ("list", "span"):
        refuse(Code.RELATION_KEY, "a list gives no order", "order by an element: x[1]")
    return f"{term.safe} {'DESC' if descending else 'ASC'} NULLS {'FIRST' if nulls_first else 'LAST'}", term


Order = Sequence[tuple[str, Term]]


def total_order(relation: Relation, order: Order = ()) -> str:
    """An order that ends in all columns: rows that it cannot tell apart are equal bit for bit.

    With a column of places it ends in that one, and tells all rows apart.
    """
    place = [f'"{column.id}" ASC NULLS LAST' for column in relation.columns if column.place]
    if place:
        return ", ".join([*(sql for sql, _ in order), *place])
    rest = [f'"{column.id}" ASC NULLS LAST' for column in relation.columns if not column.unit]
    return ", ".join([*(sql for sql, _ in order), *rest]) or "TRUE"


AGGREGATES = (
    "count", "count_star", "count_if", "sum", "avg", "mean", "min", "max", "bool_and", "bool_or", "median",
    "quantile_disc", "arg_max", "max_by", "arg_min", "min_by", "first", "last", "list", "array_agg",
)  # fmt: skip
"""Aggregates with a rule."""
ORDERED_HINT = {
    "first": "first(x ORDER BY y)",
    "last": "last(x ORDER BY y)",
    "any_value": "max(x), or first(x ORDER BY y)",
    "mode": "count by value first, then max_by(value, n): a tie is decided by value",
    "string_agg": "list(x ORDER BY y), or a column for each value: bool_or(x = 'A')",
    "stddev": "from sum(x), sum(x * x) and count(x) of exact numbers",
    "variance": "from sum(x), sum(x * x) and count(x) of exact numbers",
    "quantile_cont": "quantile_disc(x, 0.9), which is an element",
    "approx_quantile": "quantile_disc(x, 0.9)",
    "approx_count_distinct": "count(DISTINCT x)",
    "fsum": "sum(CAST(x AS DECIMAL(18, 4)))",
}


def aggregate(
    name: str,
    terms: Terms,
    relation: Relation,
    *,
    distinct: bool = False,
    where: Term | None = None,
    order: Order = (),
) -> Aggregate:
    """One aggregate of a person's rows in `relation`; its order, where it has one, is completed here."""
    if name == "count" and not terms:
        name = "count_star"
    if distinct:
        for term in terms:
            check_key(term, f"{name}(DISTINCT …)")
    if order and name not in ("first", "last", "list", "array_agg"):
        refuse(Code.RELATION_AGGREGATE, f"{name} takes no ORDER BY", "leave it out: its result has no order")
    if name == "count_if":
        _count(name, terms, 1)
        test = need(terms[0], "bool", name)
        where, terms, name = (test if where is None else conjunction("AND", [where, test])), [], "count_star"
    condition = "" if where is None else f" FILTER (WHERE {need(where, 'bool', 'FILTER').safe})"
    reads = used([*terms, *([where] if where is not None else []), *(term for _, term in order)])
    nullable = where is not None or any(term.safe_nullable for term in terms)

    def made(
        sql: str, type: Type, *, nullable: bool = nullable, more: frozenset[str] = frozenset()
    ) -> Aggregate:
        keeps = 0
        if distinct or more or name in ("median", "quantile_disc"):
            types = [term.type for term in (*terms, *(term for _, term in order))]
            types += [column.type for column in (relation.columns if more else ())]
            keeps = sum(each.width for each in types)
            keeps += 0 if distinct else KEPT
        return Aggregate(sql, type, reads | more, relation.name, nullable, keeps)

    every = frozenset(column.id for column in relation.columns)
    word = "DISTINCT " if distinct else ""
    match name:
        case "count_star":
            _count(name, terms, 0)
            return made(f"count(*){condition}", INT, nullable=False)
        case "count":
            _count(name, terms, 1)
            return made(f"count({word}{terms[0].safe}){condition}", INT, nullable=False)
        case "min" | "max":
            _count(name, terms, 1)
            _kind(name, terms[0], *EXACT, "real")
            return made(f"{name}({terms[0].safe}){condition}", terms[0].type)
        case "bool_and" | "bool_or":
            _count(name, terms, 1)
            return made(f"{name}({need(terms[0], 'bool', name).safe}){condition}", BOOL)
        case "sum" | "avg" | "mean":
            _count(name, terms, 1)
            term = _addend(name, terms[0])
            total = f"sum({word}{term.safe}){condition}"
            if name == "sum":
                return made(f"TRY_CAST({total} AS {term.type.sql})", term.type, nullable=True)
            number = f"count({word}{term.safe}){condition}"
            return made(_finite(f"CAST({total} AS DOUBLE) / CAST({number} AS DOUBLE)"), REAL, nullable=True)
        case "median" | "quantile_disc":
            _count(name, terms, 1 if name == "median" else 2)
            _kind(name, terms[0], "int", "dec", "real", "date", "ts")
            share = 0.5 if name == "median" else _share(name, terms[1])
            return made(f"quantile_disc({terms[0].safe}, {share!r}::DOUBLE){condition}", terms[0].type)
        case "arg_max" | "max_by" | "arg_min" | "min_by":
            _count(name, terms, 2)
            return _extreme(name, terms, relation, where, made, every)
        case "first" | "last" if order:
            _count(name, terms, 1)
            sql = f"{name}({terms[0].safe} ORDER BY {total_order(relation, order)}){condition}"
            return made(sql, terms[0].type, more=every)
        case "list" | "array_agg":
            _count(name, terms, 1)
            _kind(name, terms[0], *EXACT, "real")
            if relation.rows is None:
                refuse(
                    Code.RELATION_LIST,
                    f"{name}: a person's list could have any length",
                    "keep m rows a person first: QUALIFY row_number() OVER (PARTITION BY {unit}) <= m",
                )
            by = f"{terms[0].safe} ASC NULLS LAST"
            if distinct and order:
                refuse(
                    Code.RELATION_AGGREGATE, f"{name}(DISTINCT x) is in the order of x", "leave ORDER BY out"
                )
            if not distinct:
                by = total_order(relation, [*order, (by, terms[0])])
            type = Type("list", relation.rows, terms[0].type)
            return made(f"list({word}{terms[0].safe} ORDER BY {by}){condition}", type, more=every)
        case _:
            refuse(
                Code.RELATION_AGGREGATE,
                f"there is no exact aggregate {name[:40]} in relations",
                ORDERED_HINT.get(name, f"exact ones: {', '.join(AGGREGATES)}"),
            )


def _finite(sql: str) -> str:
    return f"(CASE WHEN isfinite({sql}) THEN {sql} + 0.0::DOUBLE END)"


def _addend(name: str, term: Term) -> Term:
    if term.type.kind == "real":
        refuse(
            Code.RELATION_INEXACT,
            f"{name} of binary fractions depends on the order of rows, and so on other people",
            f"make them exact: {name}(CAST(x AS DECIMAL(18, 4)))",
        )
    if term.type.kind in ("bool", "null"):
        term = cast(term, INT)
    _kind(name, term, "int", "dec")
    return term


def _share(name: str, term: Term) -> float:
    try:
        share = float(str(term.value))
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        refuse(Code.RELATION_CONSTANT, f"{name}: the share is no literal from 0 to 1", f"{name}(x, 0.9)")
    return share


def _extreme(
    name: str,
    terms: Terms,
    relation: Relation,
    where: Term | None,
    made: Callable[..., Aggregate],
    every: frozenset[str],
) -> Aggregate:
    """max_by(x, y): x of the row with the greatest y; among such rows the order of all columns decides."""
    value, by = terms
    check_key(by, f"{name}: the second argument")
    item = order_item(by, descending="max" in name, nulls_first=False)
    known = f"{by.safe} IS NOT NULL AND {value.safe} IS NOT NULL"
    condition = known if where is None else f"{known} AND {where.safe}"
    sql = f"first({value.safe} ORDER BY {total_order(relation, [item])}) FILTER (WHERE {condition})"
    return made(sql, value.type, nullable=True, more=every)


# --- windows ------------------------------------------------------------------------------------------------

WINDOWS = (
    "row_number", "rank", "dense_rank", "ntile", "lag", "lead", "first_value", "last_value",
    "count", "count_star", "sum", "min", "max", "bool_and", "bool_or",
)  # fmt: skip
"""Windows with a rule."""
_WHOLE_PARTITION = ("UNBOUNDED PRECEDING", "UNBOUNDED FOLLOWING")


def frame_edge(word: str, distance: Term | None) -> str:
    """One end of a ROWS frame: `PRECEDING` or `FOLLOWING` by a literal, or unbounded, or the current row."""
    if distance is None:
        return word
    return f"{_whole('ROWS', distance, 0, MAX_OFFSET)} {word}"


def window(
    name: str,
    terms: Terms,
    relation: Relation,
    partition: Terms,
    order: Order,
    *,
    rows: tuple[str, str] | None = None,
    where: Term | None = None,
) -> Window:
    """One window over a person's rows. `rows` are the two ends of a ROWS frame; else the frame is SQL's own.

    Where ties matter the order ends in all columns. With SQL's own frame (RANGE) rows of the same place are
    taken together, so that no tie matters to a rank or a running sum.
    """
    if not any(term.unit for term in partition):
        refuse(
            Code.RELATION_NO_UNIT,
            f"the window {name} looks at the rows of several people",
            "write PARTITION BY with the column of the person",
        )
    for term in partition:
        check_key(term, "a term of PARTITION BY")
    if name not in WINDOWS:
        refuse(
            Code.RELATION_WINDOW,
            f"there is no window {name[:40]} in relations",
            f"those with a rule: {', '.join(WINDOWS)}",
        )
    by_place = name in ("row_number", "ntile", "lag", "lead", "first_value", "last_value")
    complete = by_place or rows is not None
    items = total_order(relation, order) if complete else ", ".join(sql for sql, _ in order)
    ordered = f" ORDER BY {items}" if items else ""
    over = f"PARTITION BY {', '.join(term.safe for term in partition)}{ordered}"
    frame = "" if rows is None else f" ROWS BETWEEN {rows[0]} AND {rows[1]}"
    reads = used([*terms, *partition, *(term for _, term in order), *([where] if where is not None else [])])
    if complete:
        reads |= {column.id for column in relation.columns}

    def made(sql: str, type: Type, *, nullable: bool = True) -> Window:
        return Window(sql, type, reads, relation.name, nullable, complete)

    if where is not None and (by_place or name in ("rank", "dense_rank")):
        refuse(Code.RELATION_WINDOW, f"the window {name} takes no FILTER", "filter in a subquery before it")
    match name:
        case "row_number" | "rank" | "dense_rank":
            _count(name, terms, 0)
            return made(f"{name}() OVER ({over})", INT, nullable=False)
        case "ntile":
            _count(name, terms, 1)
            return made(f"ntile({_whole(name, terms[0], 1, MAX_OFFSET)}) OVER ({over})", INT)
        case "lag" | "lead":
            _count(name, terms, 1, 2)
            distance = _whole(name, terms[1], 0, MAX_OFFSET) if len(terms) > 1 else 1
            return made(f"{name}({terms[0].safe}, {distance}::BIGINT) OVER ({over})", terms[0].type)
        case "first_value" | "last_value":
            _count(name, terms, 1)
            first, last = rows or _WHOLE_PARTITION
            over = f"{over} ROWS BETWEEN {first} AND {last}"
            return made(f"{name}({terms[0].safe}) OVER ({over})", terms[0].type)
        case "sum":
            _count(name, terms, 1)
            term = _addend(name, terms[0])
            inner = f"sum({term.safe}){_filter(where)} OVER ({over}{frame})"
            return made(f"TRY_CAST({inner} AS {term.type.sql})", term.type)
        case _:
            inner_aggregate = aggregate(name, terms, relation, where=where)
            return made(
                f"{inner_aggregate.sql} OVER ({over}{frame})",
                inner_aggregate.type,
                nullable=not name.startswith("count"),  # a frame may hold no row
            )


def _filter(where: Term | None) -> str:
    return "" if where is None else f" FILTER (WHERE {need(where, 'bool', 'FILTER').safe})"
