# SPDX-License-Identifier: Apache-2.0
"""`sealroom study new` and `dry-run`: templates run as they are, on data as hostile as real ones."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from tests.agents.shell import shell

from sealroom.errors import RecipeError, SealError
from sealroom.recipe import Recipe, parse, render
from sealroom.runtime import launcher
from sealroom_agents.errors import ToolError
from sealroom_agents.plots.text import lines
from sealroom_agents.studies.check import check
from sealroom_agents.studies.clues import clues_of
from sealroom_agents.studies.dry_run import dry_run
from sealroom_agents.studies.dry_watch import WouldFail
from sealroom_agents.studies.explain import sections
from sealroom_agents.studies.synthetic import UNDECLARED, members, synthetic
from sealroom_agents.studies.templates import TEMPLATES, write_study

IMAGE = "registry.example/sealroom/enclave@sha256:" + "0" * 64
TYPES = {
    "id": "int64", "tiny": "int8", "large": "uint64", "single": "float32", "real": "float64",
    "half": "float16", "price": "decimal(7, 2)", "ill": "bool", "text": "string", "place": "string",
    "code": "binary", "hash": "binary(4)", "born": "date", "noon": "time(us)", "seen": "timestamp(us, UTC)",
    "heard": "timestamp(ns)", "sex": {"type": "category", "values": ["F", "M"]},
    "scores": {"type": "list", "of": "float64"},
    "address": {"type": "struct", "fields": {"street": "string", "number": "int32"}},
    "sure": {"type": "float64", "nullable": False},
}  # fmt: skip
SQL = """\
SELECT id, max(tiny) AS level, max(place) AS place, bool_or(ill) AS ill
FROM people
WHERE born < DATE '1980-01-01' AND sex = 'F'
GROUP BY id
"""
STUDY: dict[str, Any] = {
    "version": 2,
    "name": "types",
    "question": "How high is the level, by place?",
    "image": IMAGE,
    "gpu": "none",
    "guarantee": "by-construction",
    "schemas": {"people": {"unit": "id", "columns": TYPES}},
    "datasets": [
        *({"owner": f"hospital-{letter}", "name": "people", "schema": "people"} for letter in "AB"),
        {"owner": "hospital-A", "name": "scans", "kind": "files"},
    ],
    "relation": {"rows": 1, "sql": SQL},
    "privacy": {
        "adjacency": "add-remove", "epsilon": "2", "delta": "0", "minimum_cohort": 5,
        "release_after_seconds": 60,
    },
    "output": {
        "limit_bytes": 4096,
        "groups": {"place": ["here", "there"]},
        "fields": [
            {"name": "level", "kind": "mean", "column": "level", "by": ["place"], "lower": 40, "upper": 60,
             "decimals": 1},
        ],
    },
}  # fmt: skip


def study(folder: Path, **changed: Any) -> Recipe:
    folder.mkdir(exist_ok=True)
    (folder / "study.yaml").write_text(json.dumps(STUDY | changed))
    return parse(render(folder))


def script(folder: Path, template: str, text: str, **replaced: str) -> Recipe:
    """A template with another script, and other text in its study."""
    write_study(folder, template)
    content = (folder / "study.yaml").read_text()
    for old, new in replaced.items():
        content = content.replace(old, new)
    (folder / "study.yaml").write_text(content)
    (folder / "analysis.py").write_text(text)
    return parse(render(folder))


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_gives_a_result_as_it_is(tmp_path: Path, template: str) -> None:
    folder = tmp_path / "mine"
    write_study(folder, template)
    if template == "blocks":  # each block takes a process
        content = (folder / "study.yaml").read_text()
        (folder / "study.yaml").write_text(content.replace("blocks: 40", "blocks: 8"))
    done = dry_run(parse(render(folder)), people=5000, sandboxed=1)
    assert done.recipe.name == "mine" and done.people == 5000 and 100 < done.shared < 1000
    assert done.result["fields"].keys() == {field.name for field in done.recipe.output.fields}
    for value in done.result["fields"].values():
        first = value["groups"][0] if "groups" in value else value
        assert None not in first.values(), "a group that is filled"
    assert all(count == 8 for count in done.blocks.values()), done.printed
    assert min(done.job_bytes, done.custodian_bytes) > 20_000_000
    assert set(done.seconds) >= {"data", "sums and noise"}


def test_a_new_study_takes_no_folder_of_somebody_s(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ToolError) as caught:
        write_study(tmp_path / "mine", "cohort")
    assert caught.value.code == "output-exists"
    with pytest.raises(ToolError) as caught:
        write_study(tmp_path / "My Study", "cohort")
    assert caught.value.code == "study-name"
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


def test_made_up_data_have_every_type_and_its_extremes(tmp_path: Path) -> None:
    recipe = study(tmp_path)
    made = synthetic(recipe, people=500)
    table = made["hospital-A/people.tar"]
    # As text, since no NaN is equal to another.
    again, others = synthetic(recipe, people=500), synthetic(recipe, people=500, seed=1)
    texts = [str({path: one.to_pylist() for path, one in each.items()}) for each in (made, again, others)]
    assert texts[0] == texts[1] != texts[2]
    nulls = {name: table[name].null_count for name in table.column_names}
    assert nulls.pop("sure") == 0 and all(nulls.values())
    ids, other = (made[f"hospital-{letter}/people.tar"]["id"].drop_null() for letter in "AB")
    assert len(pc.unique(ids)) < len(ids), "several rows a person"
    shared = pc.sum(pc.is_in(pc.unique(ids), value_set=pc.unique(other))).as_py()
    assert 20 < shared < 100, "people at two owners"
    rows = [json.dumps(row, default=str, sort_keys=True) for row in table.to_pylist()]
    assert len(set(rows)) < len(rows), "rows that are there twice"
    cells = {name: set(map(str, table[name].to_pylist())) for name in table.column_names}
    assert {"-128", "127"} <= cells["tiny"] and str(2**64 - 1) in cells["large"]
    assert all({"nan", "inf", "-inf"} <= cells[name] for name in ("half", "single", "real", "sure"))
    assert all({"", UNDECLARED} <= cells[name] for name in ("text", "place", "sex"))
    assert {"99999.99", "-99999.99"} <= cells["price"]
    assert {"0001-01-01", "9999-12-31"} <= cells["born"]
    assert "[]" in cells["scores"]


def test_made_up_data_follow_the_recipe(tmp_path: Path) -> None:
    """Bounds of a result's column reach the column that it is made of; so do labels, and what SQL says."""
    recipe = study(tmp_path)
    clues = clues_of(recipe)
    assert (clues["tiny"].span, clues["place"].labels) == ((40.0, 60.0), ["here", "there"])
    table = synthetic(recipe)["hospital-A/people.tar"]
    level = table["tiny"].drop_null()
    inside = pc.sum(pc.and_(pc.greater_equal(level, 40), pc.less_equal(level, 60))).as_py()
    assert 0.95 * len(level) < inside < len(level)
    here = pc.sum(pc.equal(table["place"], "here")).as_py()
    assert 0.4 * len(table) < here < 0.7 * len(table)
    old = pc.sum(pc.less(table["born"], pa.scalar("1980-01-01").cast(pa.date32()))).as_py()
    assert 0.1 * len(table) < old < 0.9 * len(table)


PIXELS = """\
SELECT id, first(shades ORDER BY born) AS pixels, bool_or(ill) AS ill, id % 4 = 0 AS held_out
FROM people
GROUP BY id
"""
NETWORK = {
    "name": "told", "kind": "model", "vectors": [{"name": "pixels", "length": 16, "lower": 0, "upper": 255}],
    "layers": [{"unflatten": [1, 4, 4]}, {"conv2d": {"channels": 3, "kernel": 2}}, "relu", "flatten",
               {"linear": 1}],
    "loss": "binary", "label": "ill", "held_out": "held_out", "batch": 1, "clip": 1, "steps": 20,
    "learning_rate": "0.5", "momentum": "0.9", "seed": 1, "curve": 2, "decimals": 3,
}  # fmt: skip


PICTURE = {"type": "list", "of": "uint8"}


def of_pixels(folder: Path, network: dict[str, Any], shades: Any = PICTURE) -> Recipe:
    columns = TYPES | {"shades": shades}
    return study(
        folder, relation={"rows": 1, "sql": PIXELS},
        schemas={"people": {"unit": "id", "columns": columns}},
        privacy=STUDY["privacy"] | {"epsilon": "8", "delta": "1e-6"},
        output={"limit_bytes": 8192, "groups": {}, "fields": [network]},
    )  # fmt: skip


def test_a_network_on_lists_is_tried_on_lists_of_its_length(tmp_path: Path) -> None:
    """Some rows have others, as real ones may; a model is trained on the rest, and finds something."""
    recipe = of_pixels(tmp_path, NETWORK)
    clue = clues_of(recipe)["shades"]
    assert (clue.span, clue.length) == ((0.0, 255.0), 16)
    lists = synthetic(recipe)["hospital-A/people.tar"]["shades"]
    lengths = pc.list_value_length(lists).to_pylist()
    assert {0, 15, 17, None} < set(lengths) and 0.9 < lengths.count(16) / len(lengths) < 0.97
    assert [None] * 16 in lists.to_pylist() and [0, 255] * 8 in lists.to_pylist()
    done = dry_run(recipe, people=3_000, sandboxed=1)
    value = done.result["fields"]["told"]
    people = value["people"][0]["people"] + value["held_out"][0]["people"]
    assert 0.8 * 3_000 < people < 3_000 and float(value["held_out"][0]["auc"]) > 0.53


def test_a_list_that_is_no_list_of_numbers_is_refused_before_a_run(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        of_pixels(tmp_path, NETWORK, shades="uint8")
    assert caught.value.code == "recipe-column" and "must be a list of numbers" in caught.value.message
    with pytest.raises(RecipeError) as caught:
        of_pixels(tmp_path, NETWORK | {"vectors": [NETWORK["vectors"][0] | {"name": "ill_"}]})
    assert caught.value.code == "recipe-column"


def test_a_list_that_the_sql_does_not_give_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        of_pixels(tmp_path, NETWORK | {"vectors": [NETWORK["vectors"][0] | {"name": "pixel"}]})
    [finding] = check(tmp_path)
    assert finding.code == "recipe-column" and finding.hint == "did you mean pixels?"
    assert "told uses pixel, and the relation has no such column" in finding.message


def test_amounts_are_of_all_magnitudes(tmp_path: Path) -> None:
    field = {"name": "level", "kind": "mean", "column": "level", "by": [], "lower": 0, "upper": 1_000_000}
    sql = SQL.replace("max(tiny)", "max(large)")
    recipe = study(
        tmp_path, relation={"rows": 1, "sql": sql},
        output=STUDY["output"] | {"fields": [field | {"decimals": 0}]},
    )  # fmt: skip
    found = synthetic(recipe)["hospital-A/people.tar"]["large"].drop_null().to_pylist()
    for low, high in ((10, 1_000), (1_000, 10_000), (10_000, 1_000_000)):
        assert 0.1 < sum(low < each < high for each in found) / len(found) < 0.6


def test_made_up_times_are_spread_and_labels_do_not_go_together(tmp_path: Path) -> None:
    write_study(tmp_path / "mine", "survival")
    path = tmp_path / "mine" / "study.yaml"
    text = path.read_text()
    for old, new in (
        ("      arm:", "      sex: string\n      arm:"), ("SELECT patient,", "SELECT patient, sex,"),
        ("by: [arm]", "by: [arm, sex]"), ("  groups:", "  groups:\n    sex: [F, M]"),
    ):  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    table = synthetic(parse(render(tmp_path / "mine")))["hospital-A/follow-up.tar"].to_pylist()
    for arm in ("none", "treated"):
        for sex in ("F", "M"):
            assert 0.1 * len(table) < sum((row["arm"], row["sex"]) == (arm, sex) for row in table)
    days = [row["days"] for row in table if row["days"] is not None]
    assert 0.9 * len(days) < sum(300 < each < 3_000 for each in days), "years / 365.25 are 0 to 8"


def test_a_plain_file_or_folder_takes_the_place_of_made_up_data(tmp_path: Path) -> None:
    """A relation over every type, and files beside it."""
    recipe = study(tmp_path / "study")
    own = synthetic(recipe, people=90, seed=7)["hospital-A/people.tar"]
    pq.write_table(own, tmp_path / "own.parquet")
    done = dry_run(recipe, people=200, data={"hospital-A/people": tmp_path / "own.parquet"})
    (first, second, files) = done.read
    assert (first.made_up, first.rows) == (False, own.num_rows)
    assert second.made_up and files.made_up and files.files == len(members(recipe.datasets[2]))
    pq.write_table(own.drop_columns(["price"]), tmp_path / "own.parquet")
    with pytest.raises(SealError, match="lacks price"):
        dry_run(recipe, data={"hospital-A/people": tmp_path / "own.parquet"})
    with pytest.raises(ToolError, match="reads no dataset hospital-C/people"):
        dry_run(recipe, data={"hospital-C/people": tmp_path / "own.parquet"})


def test_a_script_that_fails_shows_its_lines_and_text(tmp_path: Path) -> None:
    """Outside the sandbox and on made-up data alone: no program of the launcher leads there (OU-03)."""
    text = (
        'from sealroom import unwrap\n\nstays = unwrap("hospital-A/stays.tar")\nprint(len(stays))\n'
        'stays["no such column"]\n'
    )
    recipe = script(tmp_path / "mine", "reading", text)
    with pytest.raises(WouldFail) as caught:
        dry_run(recipe, people=50)
    assert caught.value.code == "job-failed"
    printed = caught.value.printed
    assert printed.splitlines()[0].isdecimal(), "what the script prints"
    assert 'File "analysis.py", line 5, in <module>\n    stays["no such column"]' in printed
    assert printed.rstrip().endswith("KeyError: 'no such column'")
    assert "run_script" not in printed, "no frames of ours"
    assert "studies" not in Path(launcher.__file__).read_text()
    done = shell("sealroom study dry-run mine --people 50 --json 2>/dev/null", tmp_path)
    failure = json.loads(done.stdout)
    assert (done.returncode, failure["code"]) == (5, "job-failed") and "line 5" in failure["printed"]


def test_a_stranger_s_script_never_leaves_the_sandbox(tmp_path: Path) -> None:
    """Whoever looks at a recipe gives its script none of their rights."""
    mark = tmp_path / "mark"
    text = f'open({str(mark)!r}, "w")\n'
    reading = script(tmp_path / "reading", "reading", text)
    (tmp_path / "recipe.json").write_bytes(reading.compose)
    done = shell("sealroom study dry-run recipe.json --people 50", tmp_path)
    assert done.returncode == 5 and "line 1 of analysis.py: " in done.stdout
    blocks = script(tmp_path / "blocks", "blocks", text, **{"blocks: 40": "blocks: 8"})
    assert dry_run(blocks, people=50, sandboxed=None).blocks == {"days_a_decade": 0}
    assert not mark.exists()
    with pytest.raises(WouldFail):
        dry_run(reading, people=50)
    assert mark.exists(), "one's own runs outside, too, for its traceback"


def test_what_fails_in_the_sandbox_alone_is_said_so(tmp_path: Path) -> None:
    text = 'from sealroom import emit_block\n\nopen("/etc/passwd")\nemit_block({"days_a_decade": 1})\n'
    recipe = script(tmp_path / "mine", "blocks", text, **{"blocks: 40": "blocks: 8"})
    done = dry_run(recipe, people=100, sandboxed=1)
    assert done.blocks == {"days_a_decade": 7}
    assert done.printed.startswith("outside the sandbox this block gives its number")


def test_a_script_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    recipe = script(
        tmp_path / "mine", "reading", "import time\n\ntime.sleep(999)\n", **{"seconds: 60": "seconds: 10"}
    )
    with pytest.raises(WouldFail) as caught:
        dry_run(recipe, people=20)
    assert caught.value.code == "job-timeout"


def test_a_module_that_the_image_has_not_is_told_though_it_is_here(tmp_path: Path) -> None:
    write_study(tmp_path / "mine", "reading")
    script = tmp_path / "mine" / "analysis.py"
    script.write_text(
        script.read_text().replace("import pandas as pd\n", "import pandas as pd\nimport pytest\n")
    )
    done = shell("sealroom study dry-run mine --people 100", tmp_path)
    assert "the enclave's image has no module pytest" in done.stdout


def test_what_is_not_released_says_why(tmp_path: Path) -> None:
    """With 2,000 people, a rate's events are fewer than their noise; the words name them, and how many."""
    fields = [{
        "name": "visits", "kind": "poisson", "events": "level", "events_upper": 100, "exposure": "level",
        "exposure_upper": 100, "by": ["place"], "decimals": 2,
    }]  # fmt: skip
    output = {"limit_bytes": 4096, "groups": {"place": ["north", "south", "west"]}, "fields": fields}
    privacy = STUDY["privacy"] | {"epsilon": "0.1"}
    recipe = study(tmp_path, output=output, privacy=privacy)
    done = dry_run(recipe, people=2_000)
    assert all(row["rate_ratio"] is None for row in done.result["fields"]["visits"]["groups"])
    (said,) = [line for line in lines(recipe, done.result["fields"]) if "not released, of" in line]
    assert re.fullmatch(
        r"  not released, of fewer than 5 people, or than [0-9,]+ people with a label, for their noise, or"
        r" than [0-9,]+ level with a label, for their noise, .*; or too little of the first label of its"
        r" group, or equations without a solution",
        said,
    )
    least = {each.of: each.count for each in recipe.output.fields[0].least(recipe.rows)}
    assert f"{math.ceil(least['level with a label']):,} level" in said
    leaves = dict(sections(recipe, []))["What leaves: visits"]
    assert any(line.startswith("A number leaves as null of fewer than 5 people, or than ") for line in leaves)
