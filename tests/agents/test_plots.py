# SPDX-License-Identifier: Apache-2.0
"""Pictures of results: every kind is drawn, with every number that is released, and nothing in it acts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.enclave.kinds.cases import CASES
from tests.enclave.kinds.kit import COHORT, paid, spec_of, table

from sealroom.privacy.kinds import KINDS
from sealroom.privacy.release import compute
from sealroom.recipe.outputs import Field
from sealroom_agents.console.results import LISTED, tables
from sealroom_agents.plots.chart import CURVE, STRIP, Mark, Panel, panels_of, told
from sealroom_agents.plots.svg import WIDTH, draw

SVG = "{http://www.w3.org/2000/svg}"


def released(name: str, count: int = 400, cohort: int = COHORT) -> tuple[Field, dict[str, Any]]:
    """A field of a case, and a value of it."""
    case = CASES[name]
    kind = KINDS[case.kind]
    spec = spec_of(kind, case.members)
    field = Field(name="field", kind=kind, spec=spec, cost=paid(kind, spec, kind.laws[-1]))
    people = table(kind, spec, count, np.random.default_rng(5), case.bounds)
    return field, compute(field, people, cohort=cohort)


def marks(count: int, *, labels: int = 1, numeric: bool = False) -> tuple[Mark, ...]:
    return tuple(
        Mark(
            tuple(str(place) if numeric else f"row {place}" for _ in range(labels)),
            told(place, place - 1, place + 1),
            float(place), place - 1.0, place + 1.0,
        )
        for place in range(count)
    )  # fmt: skip


def tree(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


@pytest.mark.parametrize("name", CASES)
def test_every_kind_is_drawn_within_the_picture(name: str) -> None:
    field, value = released(name)
    panels = list(panels_of(field, value))
    assert panels
    root = tree(draw("A question?", panels, about="Some owners."))
    height = float(root.attrib["height"])
    for one in root.iter(f"{SVG}text"):
        assert 0 <= float(one.attrib["x"]) <= WIDTH
    for one in root.iter(f"{SVG}circle"):
        assert 0 <= float(one.attrib["cx"]) <= WIDTH and 0 <= float(one.attrib["cy"]) <= height
    assert not any(re.search(r"nan|inf", value) for one in root.iter() for value in one.attrib.values())


@pytest.mark.parametrize("name", CASES)
def test_every_number_of_every_kind_stands_in_a_table_or_its_note(name: str) -> None:
    field, value = released(name)
    found = tables("field", value, field.shape(1))
    text = " ".join(cell for _, each in found for cell in [each.note, *(c for row in each.rows for c in row)])

    def numbers(item: Any) -> Iterator[str]:
        below = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        if not isinstance(item, (dict, list)):
            yield "not released" if item is None else str(item)
        for each in below:
            yield from numbers(each)

    for number in numbers(value):
        assert number in text
    assert all(len(row) == len(each.head) for _, each in found for row in each.rows)


@pytest.mark.parametrize("name", ["count", "mean", "sum", "quantiles", "histogram with private bounds"])
def test_every_number_stands_beside_its_mark_as_it_is_signed(name: str) -> None:
    field, value = released(name)
    (panel, *_) = panels_of(field, value)
    assert len(panel.marks) == len(value["groups"])
    texts = [one.text for one in tree(draw("?", [panel])).iter(f"{SVG}text")]
    for mark in panel.marks:
        assert mark.text in texts


def test_what_is_withheld_is_said_and_not_drawn() -> None:
    field, value = released("count", count=12, cohort=10_000)
    (panel,) = panels_of(field, value)
    assert {mark.text for mark in panel.marks} == {"not released"}
    root = tree(draw("?", [panel]))
    assert [one.text for one in root.iter(f"{SVG}text")].count("not released") == len(panel.marks)
    assert not list(root.iter(f"{SVG}circle")) and len(list(root.iter(f"{SVG}rect"))) == 1


def test_who_does_not_see_it_is_told_the_same() -> None:
    field, value = released("mean")
    panels = list(panels_of(field, value))
    root = tree(draw("How old?", panels, about="Four owners."))
    assert root.attrib["role"] == "img"
    title, desc = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None and desc is not None and title.text == "How old?"
    assert root.attrib["aria-labelledby"].split() == [title.attrib["id"], desc.attrib["id"]]
    for mark in panels[0].marks:
        assert mark.text in (desc.text or "")


def test_a_long_question_is_wrapped() -> None:
    words = "How many people have which of these illnesses, and what follows from them? " * 4
    heads = [one for one in tree(draw(words, [])).iter(f"{SVG}text") if "h" in one.attrib["class"].split()]
    assert len(heads) > 2 and " ".join(one.text or "" for one in heads) == words.strip()


def test_text_of_others_makes_no_element() -> None:
    hostile = '</text><script>alert(1)</script>"&'
    mark = Mark((hostile,), "1", 1.0, None, None)
    root = tree(
        draw(hostile, [Panel(hostile, "points", (hostile,), (mark,), hostile, ("", ""))], about=hostile)
    )
    assert not list(root.iter(f"{SVG}script"))
    assert hostile in [one.text for one in root.iter(f"{SVG}text")]


def test_many_rows_become_a_strip_and_a_long_picture_stays_small() -> None:
    panel = Panel("long", "strip", ("variant",), marks(10_000), "", ("groups", "mean"))
    text = draw("?", [panel])
    assert len(text) < 300_000
    assert len(list(tree(text).iter(f"{SVG}text"))) < 40


def test_each_number_of_a_list_has_the_one_interval() -> None:
    field, value = released("vector mean with a centre for each entry")
    (panel,) = panels_of(field, value)
    half = float(value["half_width"])
    assert [mark.text for mark in panel.marks] == value["means"]
    for mark in panel.marks:
        assert mark.value is not None and (mark.low, mark.high) == (mark.value - half, mark.value + half)
    assert f"half_width {value['half_width']}" in panel.note and panel.of == ("means", "")


def test_a_table_of_a_long_list_is_cut_and_says_so() -> None:
    long = {"half_width": "1", "interval": "noise", "means": ["0.5"] * 10_000, "people": 3}
    (_, (name, found)) = tables("doses", long, None)
    assert name == "doses: means" and len(found.rows) == LISTED
    assert found.note.startswith("the first 1,000 of 10,000")


def test_numbers_along_a_label_become_a_curve() -> None:
    panel = Panel("curve", "curve", ("time",), marks(CURVE, numeric=True), "", ("groups", "mean"))
    paths = list(tree(draw("?", [panel])).iter(f"{SVG}path"))
    assert [path.attrib["class"] for path in paths] == ["f0 band", "s0 line"]


def test_the_form_follows_from_the_rows() -> None:
    field, value = released("vector sum")
    (panel,) = panels_of(field, value)
    assert len(panel.marks) <= STRIP and panel.form == "points"
    assert panel.note.startswith("people ")
    assert next(iter(panels_of(*released("count")))).form == "bars"
