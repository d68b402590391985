# SPDX-License-Identifier: Apache-2.0
"""From the cells of an input's column to those of one column of the result, batch by batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sealroom.codes import Code
from sealroom.schema import Bool, ColumnType, Date, Integer, Real, String, Timestamp
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.prepare.casts import cast, castable
from sealroom_agents.owner.prepare.declared import Mapped, Scalar
from sealroom_agents.owner.prepare.forms import Table
from sealroom_agents.owner.prepare.pseudonyms import Pseudonyms, Tags, id_texts, spelt
from sealroom_agents.owner.tables.csv_cells import CellError

_LAST_YEAR = 9999
"""As in a text of a day, and so in Python."""


class Step:
    """What is done to one column; `given` is the type of its cells in the input.

    Raises `prepare-unfit` where cells of that type cannot become what is declared.
    """

    def __init__(
        self, mapped: Mapped, given: ColumnType, table: Table, *, pseudonyms: Pseudonyms | None = None
    ) -> None:
        self._mapped, self._given, self._table = mapped, given, table
        self._pseudonyms = pseudonyms
        self._between = wanted = _between(mapped, given)
        changes = (mapped.values, mapped.pseudonym, mapped.keep, mapped.factor)
        self._changes = any(each is not None for each in changes)
        if not isinstance(given, String) and not castable(given, wanted):
            raise ToolError(
                Code.PREPARE_UNFIT,
                f"{mapped.source} holds {given.name}, and {mapped.name} is declared {mapped.type.name}",
                _instead(given, mapped),
            )
        if not self._changes and not castable(wanted, mapped.type):
            raise ToolError(
                Code.PREPARE_UNFIT, f"{mapped.name} reads {wanted.name}, and is declared {mapped.type.name}"
            )

    @property
    def looks(self) -> str | None:
        """What a cell of the column looks like that fits, in words for a hint; `None` where any does."""
        if self._mapped.values is not None or self._mapped.pseudonym is not None:
            return None
        if not isinstance(self._given, String):
            return _instead(self._given, self._mapped)
        said = self._table.looks(self._between)
        if isinstance(self._between, Bool):
            said += "; other words are values = { yes = true, no = false }"
        if self._mapped.type.nullable:
            said += '; a word for no value is missing = ["NA"]'
        return said

    def made(self, values: Any) -> tuple[Any, Tags | None]:
        """The cells of the result, of those of the input; and the different ids, where they are replaced by
        numbers. Raises `CellError` for the first cell that cannot become one."""
        from sealroom.schema.arrow import arrow_type

        mapped = self._mapped
        if isinstance(self._given, String):
            # What the input itself writes for a missing text.
            values = self._table.typed(values, String())
        if mapped.missing:
            values = self._without_missing(values)
        tags = None
        if self._pseudonyms is not None and mapped.pseudonym is not None:
            ids = spelt(id_texts(values, self._given), mapped.pseudonym.spelling)
            found, tags = self._pseudonyms.of(ids)
        elif mapped.values is not None:
            found = self._recoded(values)
        else:
            found = self._cast(values)
        if not mapped.type.nullable and found.null_count:
            import pyarrow.compute as pc

            index = pc.index(pc.is_null(found), True).as_py()
            raise CellError(index, "is empty, and declared without nulls")
        assert found.type == arrow_type(mapped.type)
        return found, tags

    def _cast(self, values: Any) -> Any:
        mapped, between = self._mapped, self._between
        # Whether a cell may be empty is judged at the end.
        found = self._as(values, replace(between, nullable=True))
        if mapped.keep is not None:
            return _kept(found, mapped.keep, mapped.type)
        if mapped.factor is not None:
            return _times(cast(found, between, Real(64)), mapped.factor, mapped.type)
        return cast(found, between, mapped.type)

    def _as(self, values: Any, wanted: ColumnType) -> Any:
        if isinstance(self._given, String):
            return self._table.typed(values, wanted)
        return cast(values, self._given, wanted)

    def _without_missing(self, values: Any) -> Any:
        import pyarrow
        import pyarrow.compute as pc

        texts = _texts(values, self._given)
        return pc.if_else(pc.is_in(texts, pyarrow.array(self._mapped.missing)), None, values)

    def _recoded(self, values: Any) -> Any:
        """Each text as what is declared for it. An empty one for which nothing is declared is missing."""
        import pyarrow
        import pyarrow.compute as pc

        from sealroom.schema.arrow import arrow_type

        mapped = self._mapped
        declared = mapped.values or {}
        texts = _texts(values, self._given)
        if "" not in declared:
            texts = pc.if_else(pc.equal(texts, ""), None, texts)
        keys = pyarrow.array(list(declared), pyarrow.string())
        target = arrow_type(mapped.type)
        places = pc.index_in(texts, keys)
        unlisted = pc.and_(pc.is_null(places), pc.is_valid(texts))
        if mapped.other is None and not mapped.other_missing and pc.any(unlisted).as_py():
            raise CellError(
                pc.index(unlisted, True).as_py(),
                "holds a text that values does not list",
                'list it, or say what every other text becomes: other = "…", or other-is-missing = true',
            )
        found = _scalars(list(declared.values()), target).take(places)
        if mapped.other is None:
            return found
        return pc.if_else(unlisted, _scalars([mapped.other], target)[0], found)


def constant(mapped: Mapped, rows: int) -> Any:
    """A column with one value in each row."""
    import pyarrow

    from sealroom.schema.arrow import arrow_type

    assert mapped.constant is not None
    return pyarrow.repeat(_scalars([mapped.constant], arrow_type(mapped.type))[0], rows)


def _between(mapped: Mapped, given: ColumnType) -> ColumnType:
    """What cells are brought to before the change that is declared, if one is."""
    if mapped.values is not None or mapped.pseudonym is not None:
        if isinstance(given, Integer | String) or (isinstance(given, Bool) and mapped.values is not None):
            return String()
        what = "values lists texts" if mapped.values is not None else "an id is a text or a whole number"
        raise ToolError(
            Code.PREPARE_UNFIT, f"{mapped.source} holds {given.name}, and {what}", _instead(given, mapped)
        )
    if mapped.keep is not None:
        # Instants keep their days by the clock that they have.
        found = mapped.reads or (given if isinstance(given, Timestamp) else Date())
        if not isinstance(found, Date | Timestamp):
            raise ToolError(
                Code.PREPARE_UNFIT,
                f"{mapped.name} keeps the {mapped.keep}, and reads {found.name}",
                'reads = "date" or "timestamp(us)"',
            )
        return found
    if mapped.factor is not None:
        return mapped.reads or Real(64)
    return mapped.reads or mapped.type


def _instead(given: ColumnType, mapped: Mapped) -> str:
    match given, mapped.type:
        case Timestamp(), Date():
            return 'keep = "day": in UTC, where the instants are'
        case (Real(), String()):
            return "a real number has many spellings: declare a number"
        case _:
            return f'declare what it holds: type = "{given.name}"'


def _texts(values: Any, given: ColumnType) -> Any:
    """Cells as the texts by which a declared file names them: digits of a whole number, true or false."""
    import pyarrow

    if isinstance(given, String):
        return values
    if isinstance(given, Integer | Bool | Date):
        return values.cast(pyarrow.string())
    raise ToolError(Code.PREPARE_UNFIT, f"missing lists texts, and a column holds {given.name}")


def _scalars(values: list[Scalar], target: Any) -> Any:
    import pyarrow

    return pyarrow.array(values).cast(target)


def _times(numbers: Any, factor: float, wanted: ColumnType) -> Any:
    import pyarrow
    import pyarrow.compute as pc

    from sealroom.schema.arrow import arrow_type

    # A product is rounded once, to the nearest float64, and once more where fewer bits are declared.
    given = numbers.cast(pyarrow.float64())
    found = pc.multiply(given, factor).cast(arrow_type(wanted), safe=False)
    told = found.cast(pyarrow.float64())
    became = pc.or_(
        pc.and_(pc.is_inf(told), pc.is_finite(given)),
        pc.and_(pc.equal(told, 0.0), pc.not_equal(given, 0.0)),
    )
    if pc.any(became).as_py():
        said = f"times the factor is larger or smaller than {wanted.name} holds"
        raise CellError(pc.index(became, True).as_py(), said)
    return found


def _kept(days: Any, keep: str, wanted: ColumnType) -> Any:
    """Days or instants without what is not kept: the year as a number, else the first day of what is kept."""
    import pyarrow
    import pyarrow.compute as pc

    if isinstance(wanted, Integer):
        from sealroom.schema.arrow import arrow_type

        years = pc.year(days)
        outside = pc.or_(pc.less(years, 1), pc.greater(years, _LAST_YEAR))
        if pc.any(outside).as_py():
            raise CellError(pc.index(outside, True).as_py(), f"is no day of the years 1 to {_LAST_YEAR}")
        return pc.cast(years, arrow_type(wanted))
    plain = days if pyarrow.types.is_date(days.type) else days.cast(pyarrow.timestamp(days.type.unit))
    return pc.floor_temporal(plain, unit=keep).cast(pyarrow.date32(), safe=False)
