# SPDX-License-Identifier: Apache-2.0
"""A table of groups against an outcome as a heat map: every count is written in its cell, shade is a help."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from tests.agents.test_plots import released
from tests.enclave.kinds.cases import CASES

from sealroom_agents.console.figures import NARROW, WIDE, finding
from sealroom_agents.plots import heat
from sealroom_agents.plots.heat import Grid, grid_of, inline

CROSSED = [name for name in CASES if name.startswith("contingency")]


@pytest.mark.parametrize("name", CASES)
def test_tables_of_groups_against_an_outcome_have_a_map_and_no_other_field_has(name: str) -> None:
    field, value = released(name)
    assert (grid_of(field, value, rows=1) is not None) is (name in CROSSED)


@pytest.mark.parametrize("name", CROSSED)
def test_every_count_is_written_in_its_cell_and_the_table_stays(name: str) -> None:
    field, value = released(name)
    found = finding(field, value, 1)
    assert found.tables and any(table.rows for _, table in found.tables)
    figure = found.figures[0]
    assert not figure.ranged and len(figure.drawings) == 2
    grid = grid_of(field, value, rows=1)
    assert grid is not None
    counts = ["not released" if row["people"] is None else row["people"] for row in value["groups"]]
    assert [text.replace(",", "") for row in grid.cells for text, _ in row] == [str(one) for one in counts]
    for drawing, width in zip(figure.drawings, (WIDE, NARROW), strict=True):
        root = ElementTree.fromstring(drawing)
        assert root.attrib["role"] == "img" and "heat map" in root.attrib["aria-label"]
        texts = [one.text for one in root.iter("text")]
        assert len(texts) == len(grid.along) + len(grid.down) + len(counts)
        shades = [
            float(one.attrib["fill-opacity"]) for one in root.iter("rect") if "fill-opacity" in one.attrib
        ]
        assert len(shades) == len(counts) and min(shades) >= 0 and max(shades) <= heat.DEEPEST
        for one in root.iter("rect"):
            assert (
                float(one.attrib["x"]) >= 0 and float(one.attrib["x"]) + float(one.attrib["width"]) <= width
            )


def test_what_was_not_released_has_no_shade_and_says_so() -> None:
    grid = Grid(
        "arm", ("F", "M"), ("a", "b"), ((("9", 9.0), ("not released", None)), (("-3", -3.0), ("0", 0.0)))
    )
    root = ElementTree.fromstring(inline(grid, WIDE, about="People"))
    shades = [one.attrib["fill-opacity"] for one in root.iter("rect") if "fill-opacity" in one.attrib]
    assert shades == ["0.400", "0.000", "0.000", "0.000"]
    assert "not released" in [one.text for one in root.iter("text")]


def test_nothing_in_it_acts_and_long_labels_stay_inside() -> None:
    """WE-09."""
    hostile = "<script>alert(1)</script>" * 9
    grid = Grid(hostile, (hostile, "M"), (hostile, "b"), ((("9", 9.0),) * 2,) * 2)
    text = inline(grid, NARROW, about=hostile)
    assert "<script" not in text
    assert all(len(one.text or "") < 30 for one in ElementTree.fromstring(text).iter("text"))


def test_a_table_that_is_too_large_for_a_map_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    field, value = released(CROSSED[0])
    monkeypatch.setattr(heat, "MOST_DOWN", 1)
    assert grid_of(field, value, rows=1) is None
    monkeypatch.undo()
    monkeypatch.setattr(heat, "MOST_ALONG", 1)
    assert grid_of(field, value, rows=1) is None
