# SPDX-License-Identifier: Apache-2.0
"""`sealroom study explain` and `diff`: what a recipe means, and what is different in another one."""

from __future__ import annotations

import difflib
import json
import math
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.agents.shell import shell
from tests.agents.test_study_check import changed
from tests.enclave.kinds.cases import CASES
from tests.enclave.kinds.kit import paid, spec_of

from sealroom.privacy.kinds import KINDS
from sealroom.recipe import Field, Recipe, parse, render
from sealroom_agents.console.bodies import recipe_body
from sealroom_agents.studies.diff import MOST_LINES, Change, by_number, diff
from sealroom_agents.studies.expected import EXAMPLE, expected
from sealroom_agents.studies.explain import sections
from sealroom_agents.studies.odds import odds
from sealroom_agents.studies.templates import TEMPLATES


def recipe(folder: Path) -> Recipe:
    return parse(render(folder))


@pytest.mark.parametrize("epsilon", ["0.1", "1", "1.5", "20"])
def test_odds_are_exact_and_rounded_up(epsilon: str) -> None:
    """Of the mechanism that is the worst of its (ε, δ): it tells all with chance δ, else it answers."""
    delta, factor = 1e-4, math.exp(float(epsilon))
    found = odds(Decimal(epsilon), Decimal("1e-4"))
    assert 0 <= float(found.to_one) - factor < 0.1 + 1e-9 * factor
    right = 100 * (
        delta + (1 - delta) * factor / (1 + factor)
    )  # a guess is right by being told, or by answer
    told = 100 * (delta / 2 + delta / 2 + (1 - delta) * factor / (1 + factor))
    assert right == pytest.approx(told) and 0 <= float(found.right) - right < 0.1 + 1e-9
    assert found.exception == 10_000
    assert odds(Decimal(epsilon), Decimal(0)).exception is None


def test_odds_of_the_demonstration() -> None:
    found = odds(Decimal("1.5"), Decimal("1e-6"))
    assert (str(found.to_one), str(found.right), found.exception) == ("4.5", "81.8", 1_000_000)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_study_is_explained_field_by_field(tmp_path: Path, template: str) -> None:
    read = recipe(changed(tmp_path / "mine", template))
    told = dict(sections(read, [500, 50_000]))
    assert [title for title in told if title.startswith("What leaves")] == [
        f"What leaves: {field.name}" for field in read.output.fields
    ]
    assert read.guarantee.sentence in told["Which guarantee holds"]
    words = "\n".join("\n".join(each) for each in told.values())
    assert "to 1" in words and "{" not in words
    for field in read.output.fields:
        assert field.sentence(read.rows) in told[f"What leaves: {field.name}"]


def test_errors_are_of_the_cohort_that_is_asked_for(tmp_path: Path) -> None:
    read = recipe(changed(tmp_path / "mine", "cohort"))
    (count, mean, _) = read.output.fields
    few, many = (expected(mean, read, people) for people in (300, 30_000))
    assert (few.cells, few.each, many.each) == (3, 100, 10_000)
    assert few.bars[0].about == "mean of systolic in a group of 100 people"
    assert few.bars[0].half_width == pytest.approx(100 * many.bars[0].half_width)
    assert expected(count, read, 300).bars == expected(count, read).bars
    withheld = dict(sections(read, [90]))["What leaves: people"]
    assert any("below the minimum cohort" in each for each in withheld)


def test_kinds_name_one_size_that_they_foretell_for() -> None:
    """In words that are found, since another size is put there."""
    for case in CASES.values():
        kind = KINDS[case.kind]
        spec = spec_of(kind, case.members)
        fields = [Field(name="f", kind=kind, spec=spec, cost=paid(kind, spec, law)) for law in kind.laws]
        for about in [bar.about for field in fields for bar in field.preview(1)]:
            assert about.count("1,000") == len(EXAMPLE.findall(about)) <= 1, about


def test_a_difference_starts_with_privacy(tmp_path: Path) -> None:
    old = recipe(changed(tmp_path / "old", "cohort"))
    assert (
        diff(old, recipe(changed(tmp_path / "same" / "old", "cohort", ("# One sentence", "# A sentence"))))
        == []
    )
    new = recipe(
        changed(
            tmp_path / "new" / "old",
            "cohort",
            ('epsilon: "1"', 'epsilon: "2"'),
            ("upper: 220", "upper: 250"),
            ("age >= 18", "age >= 16"),
            ("[18-49, 50-69, 70+]", "[18-49, 50-69, 70+, none]"),
            ("age: int16", "age: int32"),
            ("{owner: hospital-B", "{owner: hospital-C"),
            ("name: people", "name: persons"),
        )
    )
    found = diff(old, new)
    assert found[0] == Change(about="ε per run", old="1", new="2")
    told = {each.about: (each.old, each.new) for each in found}
    assert told["field systolic: upper"] == ("220", "250")
    assert told["labels of age_band"] == ("18-49, 50-69, 70+", "18-49, 50-69, 70+, none")
    assert told["table visits: age"] == ("int16", "int32")
    assert told["dataset hospital-B/visits"][1] is None and told["dataset hospital-C/visits"][0] is None
    assert told["field people"][1] is None and told["field persons"][0] is None
    (sql,) = [each for each in found if each.about == "SQL"]
    assert {"-WHERE age >= 18", "+WHERE age >= 16"} <= set(sql.lines)
    assert diff(new, old)[0].old == "2"


def test_what_a_recipe_asks_of_its_machine_is_told_and_compared(tmp_path: Path) -> None:
    """Owners see that the next version of a study no longer demands GPUs."""
    demand = "gpu: {kind: h100, count: 2, mode: passthrough}"
    old = recipe(changed(tmp_path / "old", "cohort", ("gpu: none", demand)))
    new = recipe(changed(tmp_path / "new" / "old", "cohort", ("gpu: none", "gpu: none\nhints: dstack")))
    ((about, before, after),) = [(each.about, each.old, each.new) for each in diff(old, new)]
    assert about == "machine"
    assert before == "2 h100 GPUs (passthrough): their evidence is verified before any key leaves."
    assert after is not None and after.startswith("No GPU is demanded. Its host tells it ")
    assert dict(sections(old, []))["On which machine"] == [before]
    told = recipe_body(old)
    assert told.gpu is not None and (told.gpu.kind, told.gpu.count, told.hints) == ("h100", 2, False)
    assert (recipe_body(new).gpu, recipe_body(new).hints) == (None, True)


def test_long_texts_are_compared_by_command_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a page would have a server compare what a stranger wrote to be dear (RE-02)."""
    asked: list[int] = []
    real = difflib.unified_diff

    def counted(old: list[str], new: list[str], **given: Any) -> Any:
        asked.append(max(len(old), len(new)))
        return real(old, new, **given)

    monkeypatch.setattr(difflib, "unified_diff", counted)
    plain = recipe(changed(tmp_path / "mine", "reading"))
    old, new = (replace(plain, analysis="x\n" * MOST_LINES + end) for end in ("", "y\n"))
    (told,) = diff(old, new)
    assert not asked and not told.lines and "2,000 lines" in (told.old or "")
    assert "2,001 lines" in (told.new or "") and "`sealroom study diff OLD NEW`" in (told.new or "")
    assert "+y" in diff(old, new, most_lines=None)[0].lines and asked == [MOST_LINES + 1]
    short = replace(plain, analysis="kept\n")
    assert diff(plain, short) == diff(plain, short) and len(asked) == 2, "what was compared is kept"


def test_look_alikes_and_what_is_invisible_cannot_hide(tmp_path: Path) -> None:
    """An author shows one text and proposes another."""
    assert by_number("a\u202eb\u200bc\u0430") == "a\\u{202e}b\\u{200b}c\\u{430}"
    old = recipe(changed(tmp_path / "old", "cohort", ("'18-49'", "'18-49a'"), ("[18-49,", "[18-49a,")))
    new = recipe(
        changed(tmp_path / "n" / "old", "cohort", ("'18-49'", "'18-49\u0430'"), ("[18-49,", "[18-49\u0430,"))
    )
    (sql,) = [each for each in diff(old, new) if each.about == "SQL"]
    assert any("18-49\\u{430}" in line for line in sql.lines)


def test_the_commands_say_it_and_end_as_documented(tmp_path: Path) -> None:
    changed(tmp_path / "old", "reading")
    changed(tmp_path / "new", "reading", ('epsilon: "1"', 'epsilon: "1.5"'), ("name: new", "name: old"))
    done = shell("sealroom study diff old new", tmp_path)
    assert done.returncode == 1 and done.stdout.startswith("ε per run: 1 → 1.5\n")
    assert shell("sealroom study diff old old", tmp_path).stdout == "the same recipe\n"
    (tmp_path / "new" / "study.yaml").write_text("version: 2\n")
    assert shell("sealroom study diff old new", tmp_path).returncode == 2
    done = shell("sealroom study explain old --people 900", tmp_path)
    assert done.returncode == 0 and "can come to at most 2.8 to 1" in " ".join(done.stdout.split())
    told = json.loads(shell("sealroom study explain old --people 900 --json", tmp_path).stdout)
    assert told["oddsToOne"] == "2.8" and told["fields"][0]["expected"][0]["people"] == 900
