# SPDX-License-Identifier: Apache-2.0
"""What a column takes of a resource, as `[input.columns]` declares it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sealroom_agents.owner.adapters.fhir_paths import Number, Path, Unfit, plain
from sealroom_agents.owner.prepare.words import Words

UCUM = "http://unitsofmeasure.org"
PRECISIONS = {"year": 4, "month": 7, "day": 10}
"""Characters of a date that is told no more exactly."""
_DATE = re.compile(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2}(?:T[0-9:.]+(?:Z|[+-][0-9]{2}:[0-9]{2}))?)?)?")
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_VERSION = "/_history/"


@dataclass(frozen=True)
class Taken:
    """One column."""

    path: Path
    """Which value it is."""
    precision: str | None = None
    """One of `PRECISIONS`: dates are cut to it. `None`: as they are."""
    reference: str | None = None
    """The type of resource of which the value is a reference: its id is taken."""
    base: str = ""
    """With what references may begin: the address of the server."""
    unit: str | None = None
    """The unit of the quantity of which the value is the number."""
    bounds_missing: bool = False
    """Whether a quantity that is a bound, such as `< 5`, is missing. It is refused otherwise."""

    def of(self, resource: dict[str, Any]) -> str | None:
        """The value in a resource, as text; `None` where there is none. Raises `Unfit`."""
        found = self.path.find(resource)
        if not found:
            return None
        if len(found) > 1:
            raise Unfit(
                f"has {len(found)} values at {self.path.text}, which names one",
                "say which with a filter: name[use=official].family",
            )
        value, within = found[0]
        value = plain(value)
        if not isinstance(value, str):
            raise Unfit(f"has at {self.path.text} no single value", "name one of its members")
        if self.unit is not None and not self._measured(value, within):
            return None
        if self.reference is not None:
            return self._id(value)
        return value if self.precision is None else self._cut(value)

    def _measured(self, value: Any, quantity: dict[str, Any]) -> bool:
        """Whether the value counts, in the unit that is declared."""
        if "comparator" in quantity:
            if self.bounds_missing:
                return False
            raise Unfit(
                f"has a bound, such as < 5, at {self.path.text}, and no measurement",
                'make such values missing: bounds = "missing"',
            )
        coded = quantity.get("code")
        if quantity.get("unit" if coded is None else "code") != self.unit or (
            coded is not None and quantity.get("system") != UCUM
        ):
            raise Unfit(
                f"has another unit at {self.path.text} than {self.unit}",
                "convert it first, or take such resources in a file of their own",
            )
        if type(value) is not Number:
            raise Unfit(f"has no number at {self.path.text}")
        return True

    def _id(self, value: str) -> str:
        path = value.removeprefix(self.base) if self.base else value
        kind, slash, rest = path.lstrip("/").partition("/") if self.base else path.partition("/")
        id_, _, _ = rest.partition(_VERSION)
        if not slash or kind != self.reference or _ID.fullmatch(id_) is None:
            raise Unfit(
                f"has at {self.path.text} no reference {self.reference}/ID",
                "base names the server that references begin with",
            )
        return id_

    def _cut(self, value: str) -> str:
        length = PRECISIONS[self.precision or "day"]
        if _DATE.fullmatch(value) is None or len(value) < length:
            raise Unfit(f"has at {self.path.text} no date that tells its {self.precision}")
        return value[:length]


def read_taken(words: Words, *, path_of: Callable[[Words, str], Path]) -> Taken:
    """Read one column of `[input.columns]`. Raises `prepare-malformed`."""
    taken = Taken(
        path=path_of(words, "path"),
        precision=words.one_of("precision", tuple(PRECISIONS)),
        reference=words.line("reference"),
        base=words.line("base") or "",
        unit=words.line("unit"),
        bounds_missing=words.one_of("bounds", ("refused", "missing")) == "missing",
    )
    words.done()
    if sum(each is not None for each in (taken.precision, taken.reference, taken.unit)) > 1:
        words.fail("has more than one of precision, reference and unit: a value is one thing")
    if taken.base and taken.reference is None:
        words.fail("has base and no reference")
    if taken.bounds_missing and taken.unit is None:
        words.fail("has bounds and no unit")
    return taken
