# SPDX-License-Identifier: Apache-2.0
"""What `sealroom prepare` and `sealroom seal --prepare` say of an input that was prepared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.cli.looked_told import column_facts, column_lines, people_facts, people_words
from sealroom_agents.cli.terminal import size, table

if TYPE_CHECKING:
    from sealroom_agents.owner.looking import Looked
    from sealroom_agents.owner.needs import Needs
    from sealroom_agents.owner.prepare.run import Prepared

MOST_DROPPED = 40
"""Names of columns in a line."""


@dataclass(frozen=True)
class Told:
    """A prepared table, as it was written."""

    made: Prepared
    """How it was made."""
    declared_file: Path
    """By which file."""
    looked: Looked
    """What stands in it."""
    needs: Needs | None
    """What the study asks; `None` where none was named."""
    out: Path | None
    """Where it is; `None` for nowhere."""
    size: int
    """Its bytes."""

    def tell(self, *, as_json: bool) -> None:
        """Print it."""
        if as_json:
            click.echo(json.dumps(self._facts()))
            return
        lines = [("input", str(self.made.path)), ("declared", str(self.declared_file))]
        if self.needs is not None:
            lines.append(("study", f"{self.needs.study}: its table {self.needs.table}"))
        lines.append(("rows", f"{self.looked.rows:,}"))
        if self.looked.people is not None:
            lines.append(("people", people_words(self.looked.people)))
        lines += prepared_lines(self.made)
        where = "nothing: tried only" if self.out is None else f"{self.out}  {size(self.size)}"
        click.echo(table([*lines, ("written", where)]))
        click.echo()
        for line in column_lines(self.needs, self.looked):
            click.echo(line)

    def _facts(self) -> dict[str, Any]:
        return {
            "ok": True,
            "input": str(self.made.path),
            "declared": str(self.declared_file),
            "out": None if self.out is None else str(self.out),
            "size": self.size,
            "rows": self.looked.rows,
            "study": None if self.needs is None else self.needs.study,
            "dataset": None if self.needs is None else self.needs.dataset,
            "people": people_facts(self.looked),
            "columns": [column_facts(each) for each in self.looked.columns],
            **prepared_facts(self.made),
        }


def prepared_lines(made: Prepared) -> list[tuple[str, str]]:
    """What was left out, and what became of ids, when all rows were read."""
    lines = []
    if made.dropped:
        more = len(made.dropped) - MOST_DROPPED
        names = ", ".join(made.dropped[:MOST_DROPPED]) + (f" and {more:,} more" if more > 0 else "")
        lines.append(("left out", names))
    for each in made.ids:
        about = "" if each.exact else "about "
        spelt = "" if each.spellings == each.different else f" in {about}{each.spellings:,} spellings"
        lines.append(("pseudonyms", f"{each.column}: {about}{each.different:,} ids{spelt}"))
    lines += made.table.notes()
    return lines


def prepared_facts(made: Prepared) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "leftOut": list(made.dropped),
        "pseudonyms": [
            {"column": each.column, "ids": each.different, "spellings": each.spellings, "exact": each.exact}
            for each in made.ids
        ],
        "notes": [list(each) for each in made.table.notes()],
    }
