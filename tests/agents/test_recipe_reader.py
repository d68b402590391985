# SPDX-License-Identifier: Apache-2.0
"""The recipe reader of the console's pages (TypeScript) against ours: the same hashes, and the same refusals.

An owner's browser hashes and draws the recipe by itself (WE-01). It runs here in Node.
"""

from __future__ import annotations

import json
import random
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.face.bundling import ROOT, bundled
from tests.formats import phala
from tests.formats.phala import needs_script
from tests.formats.test_recipe_inference import rendered
from tests.formats.test_recipe_relation import STUDY, changed, for_people
from tests.vectors.vector import cases, read

from sealroom.decimals import decimal_text
from sealroom.encoding import canonical, to_hex
from sealroom.errors import RecipeError
from sealroom.recipe import parse, render
from sealroom.recipe.appcompose import render_frame
from sealroom.schema import schema_hash
from sealroom_agents.recipe_words import machine_words

READER = ROOT / "tests" / "face" / "recipe_reader.ts"
LIMIT_S = 600
SEED = 20260729
WORDS = ["no", "NULL", "y", "a b", "ä-ö", "50-59", "80+", "1", "-7", "1e5", "{}", "[z]", "🙂", "x, y"]
WORDS += ['q"uote', "back\\slash"]
QUESTIONS = ["Why?", 'Überleben: α, or "β"?', "yes", "# no comment", "- a", "日本 🙂", "a: b"]
SCRIPTS = ["x = 1\n", "def f():\n    return 'ü🙂'\n\n\ny = [f(), \"|\"]\n", "a\n  - b: c\n# -- \n\nz\n"]
COLUMNS = ["age", "__proto__", "Z", "a_b", "on", "sex"]
GROUPS = ["sex", "__proto__", "constructor", "band", "no"]
TYPES: dict[str, tuple[Any, ...]] = {
    "age": ("int64", "float64", "decimal(6, 2)", {"type": "uint8", "nullable": False}),
    "sex": ("string", {"type": "category", "values": ["F", "no", "ä"]}),
    "__proto__": ("string",),
}
DEEP = {
    "type": "list",
    "of": {"type": "struct", "fields": {"__proto__": "date", "a b": "timestamp(us, UTC)"}},
}
ANY_TYPE: tuple[Any, ...] = (
    "int64",
    "float16",
    "string",
    "bool",
    "binary(16)",
    "time(ns)",
    "timestamp(ms)",
    DEEP,
)
ODD_TYPES: tuple[Any, ...] = (
    "int128", "decimal(2, 3)", "binary(0)", {"type": "list"}, {"type": "date"}, "timestamp(s)",
    {"type": "struct", "fields": {}}, {"type": "category", "values": ["a", "a"]},
    {"type": "list", "of": {"type": "list", "of": {"type": "list", "of": DEEP}}},
    {"type": "date", "nullable": False, "of": "date"},
    {"type": "struct", "fields": {"a": "bool", "A": "bool"}},
)  # fmt: skip
ODD_NAMES = ["Größe (cm)", "年齢", "𝛆", "a\u0302", " x", "x ", "a\u200bb", "c" * 256, "a.b", "AGE"]
PHALA_OTHERS: list[tuple[str, Any]] = [
    ("pre_launch_script", "#!/bin/bash\n"), ("pre_launch_script", None), ("init_script", "true"),
    ("allowed_envs", ["SEALROOM_HINTS", "DSTACK_ROOT_PASSWORD"]), ("allowed_envs", "SEALROOM_HINTS"),
    ("tproxy_enabled", True), ("tproxy_enabled", 0), ("storage_fs", "ext4"), ("secure_time", True),
    ("key_provider", "kms"), ("public_tcbinfo", True), ("features", ["kms", "tproxy-net"]), ("salt", "1"),
]  # fmt: skip
ASKERS: list[dict[str, Any]] = [
    {}, {"researchers": ["anyone"]}, {"researchers": ["0x" + "1a" * 20, "0x" + "c0" * 20]},
]  # fmt: skip
DEMANDS: list[dict[str, Any]] = [
    {"kind": "h100", "count": 8, "mode": "passthrough"}, {"kind": "h100", "count": 9, "mode": "passthrough"},
    {"kind": "h100", "mode": "passthrough", "count": 1}, {"kind": "h100", "count": 1, "mode": "cc"},
]  # fmt: skip
NO_ASKERS: list[dict[str, Any]] = [
    {"researchers": []}, {"researchers": ["0x" + "C0" * 20]}, {"researchers": "anyone"},
    {"researchers": ["0x" + "c0" * 20, "0x" + "1a" * 20]}, {"researchers": ["0x" + "1a" * 20, "anyone"]},
    {"researchers": ["0x" + "1a" * 20] * 2},
]  # fmt: skip


def read_in_node(folder: Path, recipes: list[bytes]) -> list[dict[str, Any]]:
    """What the pages' scripts make of these bytes."""
    paths = []
    for number, compose in enumerate(recipes):
        paths.append(folder / f"{number}.json")
        paths[-1].write_bytes(compose)
    done = subprocess.run(
        ["node", str(bundled(READER, folder))],
        input="\n".join(map(str, paths)),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(recipes)
    return lines


def agree(compose: bytes, found: dict[str, Any]) -> bool:
    """Whether both accept with the same facts, or both refuse; returns whether they accept."""
    try:
        recipe = parse(compose)
    except RecipeError as error:
        # Which SQL has a rule, and which columns its result has, a compiler says that the pages do not have.
        compiler = error.code.startswith("relation-") or (
            error.code == "recipe-column" and b"sql:" in compose
        )
        assert compiler or not found["ok"], f"{error.code}: {error.message}"
        return False
    assert found["ok"], found.get("error")
    assert (found["composeHash"], found["outputHash"], found["privacyHash"]) == (
        to_hex(recipe.compose_hash),
        to_hex(recipe.output_hash),
        to_hex(recipe.privacy_hash),
    )
    assert (found["epsilonMicro"], found["deltaPico"]) == (str(recipe.epsilon_micro), str(recipe.delta_pico))
    assert (found["name"], found["question"], found["image"], found["analysis"]) == (
        recipe.name,
        recipe.question,
        recipe.image,
        recipe.analysis,
    )
    assert found["hints"] == recipe.hints
    assert found["machine"] == machine_words(recipe)
    assert found["guarantee"]["name"] == recipe.guarantee.name
    assert found["guarantee"]["sentence"] == recipe.guarantee.sentence
    assert found["blocks"] == recipe.blocks
    assert (found["relation"] or {"rows": 1})["rows"] == recipe.rows
    assert found["schemas"] == [to_hex(schema_hash(spec.columns)) for spec in recipe.datasets]
    return True


def test_a_relation_is_read_as_we_read_it(tmp_path: Path) -> None:
    """Its SQL as text, in place of an analysis; a recipe with both, or with neither, is none."""
    (tmp_path / "study.yaml").write_text(STUDY)
    compose = render(tmp_path)
    recipe = parse(compose)
    assert recipe.relation is not None
    both = compose.replace(b"relation:", b"analysis: |\\n    1\\n  relation:", 1)
    several = compose.replace(b"rows: 1", b"rows: 100000", 1)
    more = compose.replace(b"rows: 1", b"rows: 100001", 1)
    counted = changed(for_people)
    nobody = counted.replace(b"people: 2000000", b"people: 0", 1)
    found, many, told, *refused = read_in_node(tmp_path, [compose, several, counted, both, more, nobody])
    assert agree(several, many) and many["relation"]["rows"] == 100_000
    assert agree(counted, told) and told["relation"] == found["relation"] | {"people": 2_000_000}
    assert found["composeHash"] == to_hex(recipe.compose_hash)
    assert found["outputHash"] == to_hex(recipe.output_hash)
    assert (
        found["relation"] == {"rows": 1, "people": None, "sql": recipe.relation.sql}
        and found["analysis"] == ""
    )
    assert found["unit"] == recipe.unit
    for each in refused:
        assert "composeHash" not in each


def test_networks_are_read_as_we_read_them(tmp_path: Path) -> None:
    """All that the bytes say of them is shown; what names weights that are nowhere is refused."""
    recipe = rendered(tmp_path)
    elsewhere = recipe.compose.replace(b"name: net\\n        owner", b"name: nut\\n        owner", 1)
    unordered = recipe.compose.replace(b"depth: 2\\n      features", b"features", 1)
    found, *refused = read_in_node(tmp_path, [recipe.compose, elsewhere, unordered, recipe.compose[:-9]])
    assert elsewhere != recipe.compose and agree(recipe.compose, found)
    assert [each["name"] for each in found["networks"]] == ["risk", "inside"]
    assert [name for name, _ in found["networks"][1]["declared"]] == [
        "depth", "features", "groups", "layers", "weights"
    ]  # fmt: skip
    assert "composeHash" not in refused[0] and "composeHash" not in refused[2]


def test_every_vector_is_read_as_we_read_it(tmp_path: Path) -> None:
    recipes = [read(path).body for path in cases("recipe")]
    accepted = [
        agree(compose, found) for compose, found in zip(recipes, read_in_node(tmp_path, recipes), strict=True)
    ]
    assert {True, False} == set(accepted)


@needs_script
def test_what_phala_builds_is_read_as_we_read_it(tmp_path: Path) -> None:
    """AT-23: the script by its hash, its words the same, and its text; what differs is refused by both."""
    compose = phala.wrapped(tmp_path)
    frame = json.loads(compose)
    changed = [canonical({**frame, name: value}) for name, value in PHALA_OTHERS]
    changed += [canonical({each: frame[each] for each in frame if each != name}) for name in frame]
    found, *others = read_in_node(tmp_path, [compose, *changed])
    assert agree(compose, found) and found["script"]["text"] == phala.script() == parse(compose).script_text
    assert "12,328 bytes runs as root" in found["machine"] and found["hints"] is True
    assert not any(agree(each, one) for each, one in zip(changed, others, strict=True))


class Maker:
    """Random recipes within the rules, and small changes of them that mostly break one."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)

    def decimal(self, low: int = -12, high: int = 3) -> str:
        """A positive number in its one text."""
        digits = self.dice.randint(1, 10 ** self.dice.randint(1, 9))
        return decimal_text(Decimal(digits).scaleb(self.dice.randint(low, high) - len(str(digits))))

    def bounds(self) -> dict[str, str]:
        low, span = Decimal(self.dice.choice(["0", "-20", "-1e-6", self.decimal()])), Decimal(self.decimal())
        return {"lower": decimal_text(low), "upper": decimal_text(low + span)}

    def field(self, number: int, groups: list[str]) -> dict[str, Any]:
        by = self.dice.sample(groups, self.dice.randint(0, min(2, len(groups))))
        kind = self.dice.choice(["count", "mean", "logistic"])
        law = "gaussian" if kind == "logistic" else self.dice.choice(["laplace", "laplace", "gaussian"])
        name, most = ("epsilon_micro", 10**6) if law == "laplace" else ("mu_nano", 10**8)
        head, cost = {"name": f"field_{number}", "kind": kind}, {"law": law, name: self.dice.randint(1, most)}
        if kind == "count":
            return {**head, "by": by, **cost}
        own = {**self.bounds(), "decimals": self.dice.randint(0, 6)}
        if kind == "mean":
            own |= {"column": "age", "by": by}
        else:
            features = [
                dict(sorted({"name": f"x{n}", **self.bounds()}.items()))
                for n in range(self.dice.randint(1, 4))
            ]
            own |= {"features": features, "label": "death", "clip": self.decimal(), "steps": 10}
            own |= {"learning_rate": self.decimal()}
        return {**head, **dict(sorted(own.items())), **cost}

    def section(self) -> dict[str, Any]:
        groups = {
            name: self.dice.sample(WORDS, self.dice.randint(1, len(WORDS)))
            for name in self.dice.sample(GROUPS, self.dice.randint(0, 3))
        }
        fields = [self.field(number, list(groups)) for number in range(self.dice.randint(1, 3))]
        columns = {name: self.dice.choice(TYPES.get(name, ANY_TYPE)) for name in self.dice.sample(COLUMNS, 3)}
        if self.dice.random() < 0.1:
            columns["odd"] = self.dice.choice(ODD_TYPES)
        if self.dice.random() < 0.15:
            columns[self.dice.choice(ODD_NAMES)] = "bool"

        # What Laplace fields add up to, and something for the others: often enough, and often not.
        epsilon = sum(one.get("epsilon_micro", 0) for one in fields) + self.dice.randint(-10, 3 * 10**6)

        return {
            "version": 2,
            "study": "a-study",
            "question": self.dice.choice(QUESTIONS),
            "gpu": self.dice.choice(["none"] * 18 + ["h100", *DEMANDS]),
            "guarantee": self.dice.choice(["by-reading"] * 9 + ["by-hope"]),
            "schemas": {"cohort": {"unit": "person", "columns": {"person": "int64", **columns}}},
            "datasets": [
                {
                    "owner": owner,
                    "name": f"cohort-{n}",
                    "schema": self.dice.choice(["cohort"] * 19 + ["other"]),
                }
                for n, owner in enumerate(self.dice.sample(["hospital-A", "B", "no", "C-3"], 2))
            ],
            "privacy": {
                "adjacency": "add-remove",
                "epsilon": decimal_text(Decimal(max(epsilon, 1)) / 10**6),
                "delta": self.dice.choice(["0", "1e-6", "1e-6", self.decimal(-12, -4)]),
                "minimum_cohort": self.dice.randint(1, 1000),
                "release_after_seconds": self.dice.randint(10, 86400),
            },
            "output": {
                "limit_bytes": self.dice.choice([self.dice.randint(1, 2**20), 2**16, 2**20]),
                "fields": fields,
                "groups": groups,
            },
            **self.dice.choice(ASKERS * 10 + NO_ASKERS),
            "analysis": self.dice.choice(SCRIPTS),
        }

    def recipe(self) -> bytes | None:
        section = self.section()
        image = f"ghcr.io/a/b@sha256:{self.dice.randbytes(32).hex()}"
        try:
            hints = self.dice.random() < 0.3
            return render_frame(name="a-study", image=image, section=section, hints=hints)
        except RecipeError:
            return None  # a text that cannot be written

    def broken(self, compose: bytes) -> bytes:
        """One change somewhere in the text of the compose part, or in the frame."""
        frame = json.loads(compose)
        text = frame["docker_compose_file"]
        place = self.dice.randrange(len(text))
        change = self.dice.randrange(6)
        if change == 0:
            text = text[:place] + text[place + 1 :]
        elif change == 1:
            text = text[:place] + self.dice.choice(" \n\"'-:#0&*!|>{}[],~$\t") + text[place:]
        elif change == 2:
            lines = text.split("\n")
            lines.insert(self.dice.randrange(len(lines)), self.dice.choice(lines))
            text = "\n".join(lines)
        elif change == 3:
            lines = text.split("\n")
            one, two = self.dice.randrange(len(lines)), self.dice.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            text = "\n".join(lines)
        elif change == 4:
            name = self.dice.choice(["init_script", "public_logs", "allowed_envs", "features", "__proto__"])
            frame[name] = self.dice.choice([True, "x", ["X"], 1])
        else:
            digit = self.dice.choice("0123456789")
            text = text[:place] + digit + text[place + 1 :]
        return canonical(frame | {"docker_compose_file": text})


def test_many_recipes_are_read_as_we_read_them(tmp_path: Path) -> None:
    """Within the rules and next to them: names that scripts know, texts that YAML knows, odd numbers."""
    maker = Maker(SEED)
    recipes: list[bytes] = []
    while len(recipes) < 600:
        if (compose := maker.recipe()) is not None:
            recipes += [compose, *(maker.broken(compose) for _ in range(4))]
    found = read_in_node(tmp_path, recipes)
    accepted = sum(agree(compose, one) for compose, one in zip(recipes, found, strict=True))
    assert 30 < accepted < len(recipes) - 30, "both kinds must be there"


STUDY_OF_SAMPLES = """\
version: 2
name: samples
question: What do draws over some of the people cost?
image: ghcr.io/sealroom/enclave@sha256:5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de
gpu: none
guarantee: by-reading
schemas:
  cohort:
    unit: person
    columns: {person: int64, x: float64, ill: bool, held: bool}
datasets:
  - {owner: hospital-A, name: cohort-A, schema: cohort}
privacy: {adjacency: add-remove, epsilon: 1.5, delta: 1e-6, minimum_cohort: 20, release_after_seconds: 60}
output:
  limit_bytes: 4096
  groups: {}
  fields:
    - name: network
      kind: model
      features: [{name: x, lower: 0, upper: 1}]
      groups: []
      layers: [{linear: 1}]
      loss: binary
      label: ill
      held_out: held
      batch: RATE
      clip: 1
      steps: STEPS
      learning_rate: 1
      momentum: 0
      seed: 7
      curve: 2
      decimals: 3
    - {name: mean, kind: mean, column: x, by: [], lower: 0, upper: 1, decimals: 2, law: laplace}
    - {name: people, kind: count, by: [], law: LAW}
"""


@pytest.mark.parametrize(
    ("rate", "steps", "law"),
    [
        ("0.01", 400, "gaussian"),
        ("0.3", 40, "laplace"),
        ("0.001", 3000, "gaussian"),
        ("0.9999", 1, "laplace"),
    ],
)
def test_draws_over_some_of_the_people_cost_the_same_in_the_pages(
    rate: str, steps: int, law: str, tmp_path: Path
) -> None:
    """DP-07: the budget is used up to a ten-thousandth, and both see where it ends; and who states less."""
    text = STUDY_OF_SAMPLES.replace("RATE", rate).replace("STEPS", str(steps)).replace("LAW", law)
    (tmp_path / "study.yaml").write_text(text)
    (tmp_path / "analysis.py").write_text("import pandas as pd\n")
    compose = render(tmp_path)
    (draws,) = parse(compose).output.fields[0].cost.sampled
    assert draws.draws == steps
    less = compose.replace(b'epsilon: \\"1.5\\"', b'epsilon: \\"1.4998\\"')
    none = compose.replace(b"draws: %d" % steps, b"draws: 0", 1)
    fewer = compose.replace(b"draws: %d" % steps, b"draws: %d" % (steps + 1), 1)
    assert len({compose, less, none, fewer}) == 4
    found = read_in_node(tmp_path, [compose, less, none, fewer])
    assert agree(compose, found[0])
    assert not agree(less, found[1]) and not found[1]["ok"]
    assert not agree(none, found[2]) and not found[2]["ok"]
    assert not agree(fewer, found[3]) and not found[3]["ok"]
    with pytest.raises(RecipeError) as caught:
        parse(fewer)
    assert caught.value.code == "recipe-field"


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda compose: compose + b"\n",
        lambda compose: b"\xef\xbb\xbf" + compose,
        lambda compose: compose.replace(b'"name":"', b'"name":"x","name":"', 1),
        lambda compose: compose.replace(b"small-study", b"small\\u002dstudy", 1),
        lambda compose: compose.replace(b"How", b"\xff"),
        lambda compose: compose.replace(b"How", b"\\ud800"),
        lambda compose: compose[:-1],
        lambda compose: b"[]",
        lambda compose: b"",
        lambda compose: compose.replace(b"minimum_cohort: ", b"minimum_cohort: 1e"),
        lambda compose: b'{"a":' * 5000,
        lambda compose: compose + b" " * 300_000,
    ],
)
def test_other_bytes_for_the_same_are_refused(spoilt: Any, tmp_path: Path) -> None:
    compose = read(next(path for path in cases("recipe") if path.name == "small_study")).body
    changed = spoilt(compose)
    assert changed != compose
    assert not agree(changed, read_in_node(tmp_path, [changed])[0])
