# SPDX-License-Identifier: Apache-2.0
"""The page reads a field of every kind as the enclave does: its noise, its value's shape, what it reads."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from sealroom.encoding import sha256, to_hex
from sealroom.envelope.noise import mechanisms
from sealroom.errors import RecipeError
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.parts import Cost, sampled_of
from sealroom.privacy.shape import Among, Base64, Known, Label, Row, Rows, Shape, Vector, Whole, longest
from sealroom.recipe import Field, parse, render
from sealroom.recipe.contract import OutputContract
from tests.enclave.kinds.cases import CASES, EACH
from tests.enclave.kinds.kit import BLOCKS, COSTS, GROUPS, spec_of
from tests.face.bundling import ROOT, bundled
from tests.vectors.vector import cases as vectors
from tests.vectors.vector import read

LIMIT_S = 600


def shape_told(shape: Shape) -> Any:
    """A shape as the page's tool tells it."""
    if isinstance(shape, Row):
        members = [[name, shape_told(member)] for name, member in shape.members.items()]
        return {"hides": shape.hides, "members": members}
    if isinstance(shape, Rows):
        return [shape_told(row) for row in shape.rows]
    if isinstance(shape, Vector):
        return {"vector": [shape_told(number) for number in shape.numbers]}
    if isinstance(shape, Label):
        return {"label": shape.text}
    if isinstance(shape, Among):
        return {"among": list(shape.texts)}
    if isinstance(shape, Whole):
        return "whole"
    if isinstance(shape, Base64):
        return {"base64": shape.size}
    lower, upper = str(Fraction(shape.lower)), str(Fraction(shape.upper))
    return {"decimals": shape.decimals, "lower": lower, "upper": upper, "known": isinstance(shape, Known)}


def told(field: Field, rows: int) -> dict[str, Any]:
    """What the page's tool must tell of a field."""
    contract = OutputContract(limit_bytes=2**20, fields=(field,), groups=dict(GROUPS))
    columns = {
        name: [list(each) if name == "vectors" else each for each in held]
        for name, held in asdict(field.columns).items()
    }
    return {
        "noise": [each.to_json() for each in mechanisms(contract, rows=rows)],
        "shape": shape_told(field.shape(rows)),
        "longest": longest(field.shape(rows)),
        "rows": field.kind.rows(field.spec),
        "plain": field.plain(),
        "columns": columns,
    }  # fmt: skip


def run(source: str, folder: Path, argument: Path) -> list[dict[str, Any]]:
    """The JSON lines that a tool of the page's modules prints."""
    command = ["node", str(bundled(ROOT / "tests/face" / source, folder)), str(argument)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_kind_is_read_alike(tmp_path: Path) -> None:
    """OU-01, DP-08: noise to the last digit of its scale, under each law, for one row a person and three."""
    fields, lines = [], []
    for name, law in EACH:
        kind, members = KINDS[CASES[name].kind], CASES[name].members
        spec = spec_of(kind, members)
        for rows, amount in ((1, COSTS[law].amount), (3, 12_345_677)):
            cost = Cost(law=law, amount=amount, sampled=sampled_of(kind.parts(spec, law)))
            field = Field(name="f", kind=kind, spec=spec, cost=cost)
            fields.append((f"{name} under {law}, {rows}", told(field, rows)))
            blocks = BLOCKS if kind.of_blocks else None
            lines.append({"field": field.plain(), "groups": GROUPS, "blocks": blocks, "rows": rows})
    assert {CASES[name].kind for name, _ in EACH} == set(KINDS)
    (tmp_path / "fields").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = run("kinds_corpus.ts", tmp_path, tmp_path / "fields")
    for (name, mine), page in zip(fields, found, strict=True):
        assert page == mine, name


SQL = ("relation-", "recipe-column", "recipe-inference")
"""Codes that the compiler of relations gives: the page reads SQL as text, and says so."""


@pytest.fixture(scope="module")
def recipes() -> dict[str, bytes]:
    """The recipes of all vectors, and those of the studies that come with the product."""
    found = {path.name: read(path).body for path in vectors("recipe")}
    for study in sorted((ROOT / "enclave/studies").glob("*/study.yaml")):
        found[study.parent.name] = render(study.parent)
    return found


def test_every_recipe_is_judged_alike(recipes: dict[str, bytes], tmp_path: Path) -> None:
    """AT-23 to AT-25: the same code for each broken rule; SQL the page does not compile."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    for name, body in recipes.items():
        (folder / f"{name}.data").write_bytes(body)
        (folder / f"{name}.case").write_text(json.dumps({"file": f"{name}.data", "recipe": True}))
    page = {each["name"]: each for each in run("verify_corpus.ts", tmp_path, folder)}
    held = 0
    for name, body in recipes.items():
        try:
            parsed, code = parse(body), None
        except RecipeError as error:
            parsed, code = None, str(error.code)
        if parsed is not None:
            assert page[name].get("recipe") == to_hex(parsed.output_hash), (
                name,
                page[name],
                to_hex(sha256(body)),
            )
            held += 1
        elif not str(code).startswith(SQL) or page[name].get("code"):
            assert page[name].get("code") == code, (name, page[name])
    assert held > 8
