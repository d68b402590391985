# SPDX-License-Identifier: Apache-2.0
"""`sealroom study check`: all that is certain to fail is told at once, each with its line."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.agents.shell import shell

from sealroom.errors import RecipeError
from sealroom.privacy.clipped import MAX_LENGTH
from sealroom.recipe import render, yamltext
from sealroom.recipe.beside import with_lists
from sealroom.spelling import nearest
from sealroom_agents.studies.check import check
from sealroom_agents.studies.checking.findings import Finding
from sealroom_agents.studies.checking.scripts import image_packages
from sealroom_agents.studies.templates import TEMPLATES, write_study

STUDIES = sorted(path.parent for path in Path("enclave/studies").glob("*/study.yaml"))


def changed(folder: Path, template: str, *pairs: tuple[str, str], file: str = "study.yaml") -> Path:
    """A template with other text in it."""
    if not folder.exists():
        write_study(folder, template)
    text = (folder / file).read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    (folder / file).write_text(text)
    return folder


def at(folder: Path, finding: Finding) -> str:
    """From where a finding points to on."""
    place = finding.place
    assert place.line is not None
    line = (folder / place.file).read_text().splitlines()[place.line - 1]
    return line[(place.column or 1) - 1 :]


def line_of(folder: Path, text: str) -> int:
    """The first line of study.yaml with a text."""
    lines = (folder / "study.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def told(findings: list[Finding]) -> list[str]:
    return [each.message for each in findings if each.certain]


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_has_nothing_wrong(tmp_path: Path, template: str) -> None:
    write_study(tmp_path / "mine", template)
    assert check(tmp_path / "mine", people=8_000, rows=50_000) == []


@pytest.mark.parametrize("study", STUDIES, ids=lambda each: each.name)
def test_a_study_of_the_product_has_nothing_wrong(study: Path) -> None:
    assert check(study) == []


def test_every_fault_is_told_with_its_line(tmp_path: Path) -> None:
    folder = changed(
        tmp_path / "mine", "cohort",
        ("sex: {type: category, values: [F, M]}", "sex: {type: kategory}"),
        ("@sha256:", ":latest@sha256:"),
        ("epsilon: \"1\"", "epsilon: \"100\""),
        ("kind: count", "kind: cuont"),
        ("lower: 80, upper: 220", "lower: 220, upper: 80"),
    )  # fmt: skip
    found = check(folder)
    places = [at(folder, each) for each in found]
    assert [place.split(":")[0] for place in places] == ["image", "sex", "privacy", "kind", "lower"]
    assert all(each.certain for each in found)
    assert "cuont" in places[3] and "lower: 220" in places[4]


def test_sql_is_told_by_line_and_column(tmp_path: Path) -> None:
    folder = changed(
        tmp_path / "mine", "cohort", ("avg(systolic) AS", "avg(sistolic) AS"), ("WHERE age", "WHERE agge"),
    )  # fmt: skip
    found = check(folder)
    assert told(found) == ["there is no column sistolic", "there is no column agge"]
    assert [at(folder, each).split()[0] for each in found] == ["sistolic)", "agge"]
    assert [each.hint for each in found] == ["did you mean systolic?", "did you mean age?"]
    changed(folder, "cohort", ("sistolic", "systolic"), ("agge", "age"), ("GROUP BY patient", "GROUP BY sex"))
    (mixed,) = check(folder)
    assert "groups of several people" in mixed.message and mixed.place.line is not None
    assert at(folder, mixed).startswith("sex")


def test_columns_of_fields_that_the_sql_does_not_give(tmp_path: Path) -> None:
    folder = changed(
        tmp_path / "mine", "cohort",
        ("column: systolic", "column: sistolic"), ("column: age", "column: years"),
    )  # fmt: skip
    found = check(folder)
    assert [each.message.split(",")[0] for each in found] == [
        "the field systolic uses sistolic", "the field ages uses years",
    ]  # fmt: skip
    assert found[0].hint == "did you mean systolic?" and at(folder, found[0]).startswith("column: sistolic")


def test_labels_that_the_sql_never_gives(tmp_path: Path) -> None:
    folder = changed(tmp_path / "mine", "cohort", ("18-49, 50-69, 70+]", "18-49, 50-69, 70 and more]"))
    error, warning = check(folder)
    assert error.message == "no person is ever in the group age_band '70 and more'"
    assert warning.message == "people with age_band '70+' count in no group" and not warning.certain
    assert at(folder, error).startswith("age_band: [18-49")


def test_labels_that_a_category_does_not_have(tmp_path: Path) -> None:
    folder = changed(tmp_path / "mine", "survival", ("arm: [none, treated]", "arm: [none, treatment]"))
    (error,) = check(folder)
    assert error.message == "no person is ever in the group arm 'treatment'" and error.certain
    assert error.hint == "the schema's values are none, treated; did you mean 'treated'?"
    assert at(folder, error).startswith("arm: [none, treatment]")
    # A query that makes the label itself may give any.
    changed(folder, "survival", ("SELECT patient, arm,", "SELECT patient, concat(arm, 'ment') AS arm,"))
    assert check(folder) == []


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("limit_bytes: 8192", "limit_bytes: 100", "limit_bytes"),
        ("died: bool", "died: string", "{name: survival"),
        ("gpu: none", "gpu: none\ngpu: none", "gpu"),
        ("question: How", "question: Lungs: how", "question"),
    ],
)
def test_a_fault_of_the_whole_is_told_where_it_stands(tmp_path: Path, old: str, new: str, place: str) -> None:
    folder = changed(tmp_path / "mine", "survival", (old, new))
    (error,) = check(folder)
    assert error.certain and at(folder, error).startswith(place)


@pytest.mark.parametrize("member", ["batch: 1 #", "loss: binary", "layers: [{linear: 8}, tanh, {linear: 1}]"])
def test_a_missing_member_of_a_model_is_told_how_to_write(tmp_path: Path, member: str) -> None:
    name = member.split(":")[0]
    folder = changed(tmp_path / "mine", "model", (member, "#" + member))
    (error,) = check(folder)
    assert f"network lacks {name}" in error.message and f"write {name}: " in (error.hint or "")


@pytest.mark.parametrize(
    ("template", "old", "new", "says", "meant"),
    [  # one of each section that study.yaml has
        ("survival", "edges:", "edge:", "field survival has the unknown field 'edge', and no edges", "edges"),
        ("cohort", "kind: count", "knid: count", "people has the unknown field 'knid', and no kind", "kind"),
        ("model", "held_out: ", "heldout: ", "has the unknown field 'heldout', and no held_out", "held_out"),
        ("model", "age, lower:", "age, lowr:", "feature has the unknown field 'lowr', and no lower", "lower"),
        ("cohort", "minimum_cohort:", "min_cohort:", "privacy has the unknown field", "minimum_cohort"),
        ("cohort", "limit_bytes:", "limit_byte:", "output has the unknown field", "limit_bytes"),
        ("cohort", "unit:", "units:", "the schema visits has the unknown field 'units', and no unit", "unit"),
        ("cohort", "rows: 1", "row: 1", "relation has the unknown field 'row', and no rows", "rows"),
        ("cohort", "privacy:", "privcay:", "study.yaml has the unknown field 'privcay', and no", "privacy"),
        ("cohort", "category, values:", "category, value:", "value is nothing that a type has", "values"),
        ("blocks", "\nblocks:", "\nblock:", "study.yaml has the unknown field 'block', and no", "blocks"),
    ],
)  # fmt: skip
def test_a_misspelt_member_is_told_with_its_line_and_the_right_name(
    tmp_path: Path, template: str, old: str, new: str, says: str, meant: str
) -> None:
    folder = changed(tmp_path / "mine", template)
    changed(folder, template, (old, new))
    (error, *rest) = check(folder)
    assert says in error.message and error.hint == f"did you mean {meant}?", (error, rest)
    assert error.place.line == line_of(folder, new.strip())


def test_a_member_of_another_kind_is_told_with_those_that_the_kind_has(tmp_path: Path) -> None:
    folder = changed(tmp_path / "mine", "cohort", ("kind: count,", "kind: count, column: age,"))
    (error,) = check(folder)
    assert error.message == "output field people has the unknown field 'column'"
    assert error.hint == "it may have by, law, share, epsilon"


@pytest.mark.parametrize(
    ("new", "says", "hint", "place"),
    [
        ("[{linear: 8}, tahn, {linear: 1}]", "layer 2: tahn is none of", "did you mean tanh?", "tahn"),
        ("[{linear: 8}, {linaer: 4}, tanh]", "layer 2: linaer is none", "did you mean linear?", "linaer"),
        ("[{linear: 8}, tanh, {linear: 4}]", "layer 3: the last one must be linear, with 1 outputs, and",
         "end the list with {linear: 1}: the loss does the rest", "linear: 4"),
        ("[{unflatten: [1, 9, 9]}, {linear: 1}]", "layer 1: unflatten makes 1 × 9 × 9, that is 81, of ",
         "its sizes multiplied are what comes in: all inputs, if it is the first layer", "unflatten"),
        ("[tanh, {conv2d: {channels: 2, kernel: 3}}, {linear: 1}]", "layer 2: conv2d needs channels, height",
         "begin with {unflatten: [channels, height, width]}", "conv2d"),
    ],
)  # fmt: skip
def test_a_layer_that_does_not_fit_is_told_by_its_number_and_place(
    tmp_path: Path, new: str, says: str, hint: str, place: str
) -> None:
    folder = changed(tmp_path / "mine", "model", ("[{linear: 8}, tanh, {linear: 1}]", new))
    (error,) = [each for each in check(folder) if each.certain]
    assert says in error.message and error.hint == hint
    assert at(folder, error).lstrip("{").startswith(place)


def test_a_study_of_a_stranger_is_read_as_far_as_any_study_may_go(tmp_path: Path) -> None:
    """Too many fields are refused as they are, and the files that they name are not read."""
    folder = changed(tmp_path / "mine", "cohort")
    study = yamltext.load((folder / "study.yaml").read_text())
    study["output"]["fields"] = [{"name": f"f{n}", "centre": {"file": "none.txt"}} for n in range(65)]
    study["datasets"] = [{"schema": []}, *study["datasets"] * 20]
    study["schemas"]["broken"] = {}
    (folder / "study.yaml").write_text(json.dumps(study))
    findings = check(folder)
    assert sum("cannot read" in each.message for each in findings) == 64
    study["datasets"], study["schemas"] = study["datasets"][1:2], {"visits": study["schemas"]["visits"]}
    (folder / "study.yaml").write_text(json.dumps(study))
    with pytest.raises(RecipeError, match="fields"):
        render(folder)


def test_a_list_in_a_file_is_no_longer_than_any_list_may_be(tmp_path: Path) -> None:
    (tmp_path / "centres.txt").write_text("10 " * 300_000)
    assert len(with_lists({"centre": {"file": "centres.txt"}}, tmp_path)["centre"]) == MAX_LENGTH + 1


def test_of_many_names_of_the_same_letters_few_are_compared_letter_by_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[str] = []
    real = difflib.SequenceMatcher.find_longest_match

    def watched(self: Any, *given: Any) -> Any:
        compared.append(self.a)
        return real(self, *given)

    monkeypatch.setattr(difflib.SequenceMatcher, "find_longest_match", watched)
    turned = [f"{'ab' * n}{'ba' * (30 - n)}" for n in range(31)] * 10
    known = {f"{one[at:]}{one[:at]}" for at, one in enumerate(turned)}
    assert nearest("ab" * 29 + "ba", known) in known and 1 <= len(set(compared)) <= 16 < len(known)
    assert nearest("Agee", ["sex", "age", "stage"]) == "age" and nearest("zzz", ["age"]) is None


def test_scripts_are_read_for_imports_and_names(tmp_path: Path) -> None:
    folder = changed(
        tmp_path / "mine", "reading",
        ("import pandas as pd\n", "import pandas as pd\nimport statsmodels.api\nimport math, torch\n"),
        ("hospital-B/stays.tar", "hospital-B/stay.tar"), ('table.mean("days")', 'table.mean("day")'),
        file="analysis.py",
    )  # fmt: skip
    found = check(folder)
    assert told(found) == [
        "the enclave's image has no module statsmodels",
        "the recipe reads no dataset hospital-B/stay.tar",
        "the recipe declares no mean day",
    ]
    assert [each.place.line for each in found if each.certain] == [2, 7, 12]
    assert at(folder, found[1]).startswith('unwrap("hospital-B/stay.tar")')
    assert {"numpy", "pandas", "torch", "opendp", "scikit-learn"} <= image_packages()
    assert "statsmodels" not in image_packages()
    changed(
        folder,
        "reading",
        ("emit_signed(table", "print(table"),
        ("as_index=False", "as_index=\t"),
        file="analysis.py",
    )
    assert any("U+0009" in each for each in told(check(folder)))


def test_a_network_s_time_grows_with_its_people_steps_and_weights(tmp_path: Path) -> None:
    folder = changed(tmp_path / "mine", "model")
    assert not [each for each in check(folder, people=100_000) if each.code == "job-timeout"]
    changed(folder, "model", ("steps: 30", "steps: 3000"), ("{linear: 8}", "{linear: 200}"))
    (late,) = [each for each in check(folder, people=100_000) if each.code == "job-timeout"]
    assert late.certain and "set release_after_seconds" in str(late.hint)


def test_sizes_that_cannot_work(tmp_path: Path) -> None:
    folder = changed(tmp_path / "mine", "cohort")
    assert told(check(folder, people=15)) == [
        "all 15 people together are fewer than the minimum cohort of 20",
        *(each for each in told(check(folder, people=15))[1:] if "is off by" in each),
    ]
    small = [each.message for each in check(folder, people=100)]
    assert any("in 6 equal groups of people are 16 each" in each for each in small)
    (late,) = [each for each in check(folder, people=10**6, rows=10**9) if each.code == "job-timeout"]
    assert late.certain and at(folder, late).startswith("release_after_seconds")
    changed(folder, "cohort", ('epsilon: "1"', 'epsilon: "0.001"'))
    wide = [each for each in check(folder, people=2_000) if "is off by" in each.message and each.certain]
    assert {each.message.split(":")[0] for each in wide} >= {"people", "systolic"}


def test_owners_who_are_not_in_the_consortium(tmp_path: Path) -> None:
    folder = changed(
        tmp_path / "mine", "cohort", ("hospital-B", "hospital-Z"), ("UK GDPR", "FADP"), file="owners.json"
    )
    error, regime = check(folder)
    assert error.message.startswith("hospital-B owns a dataset") and error.place.file == "owners.json"
    assert regime.message.startswith("'FADP' is no regime")


def test_the_command_tells_all_and_ends_with_one(tmp_path: Path) -> None:
    folder = changed(tmp_path / "mine", "cohort", ("avg(systolic)", "avg(sistolic)"))
    line = next(
        number
        for number, text in enumerate((folder / "study.yaml").read_text().splitlines(), 1)
        if "sisto" in text
    )
    done = shell("sealroom study check mine", tmp_path)
    assert done.returncode == 1
    assert f"mine/study.yaml:{line}:16: error: there is no column sistolic\n  did you mean" in done.stdout
    assert done.stdout.endswith("1 error, 0 warnings\n")
    found = json.loads(shell("sealroom study check mine --json", tmp_path).stdout)
    assert found["ok"] is False and found["findings"][0]["line"] == line


def test_names_that_no_terminal_may_see_are_escaped_in_json(tmp_path: Path) -> None:
    """Half a pair of UTF-16, and marks that reorder text, are legal in YAML."""
    folder = tmp_path / "study"
    write_study(folder, "cohort")
    study = yamltext.load((folder / "study.yaml").read_text())
    study["output"]["groups"] = {"\ud800\u202e": ["a"]}
    study["output"]["fields"][0]["by"] = ["nothing"]
    (folder / "study.yaml").write_text(json.dumps(study))
    done = shell("sealroom study check --json study", tmp_path)
    assert done.returncode == 1 and done.stdout.isascii(), done.stdout
    assert any("\u202e" in (found["hint"] or "") for found in json.loads(done.stdout)["findings"])
