# SPDX-License-Identifier: Apache-2.0
"""The page of kinds: an example of each, which a study runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from tests.pages import ROOT, blocks

from sealroom.privacy.kinds import KINDS
from sealroom.recipe import parse, render
from sealroom.recipe.outputs import read_draft
from sealroom_agents.studies.check import check
from sealroom_agents.studies.dry_run import dry_run

PAGE = "docs/kinds.md"
BY_BLOCKS = "block_mean"
HEAD: dict[str, Any] = {
    "version": 2, "name": "kinds", "question": "What does each kind tell?", "gpu": "none",
    "image": f"ghcr.io/sealroom/enclave@sha256:{64 * '0'}", "guarantee": "by-construction",
    "privacy": {
        "adjacency": "add-remove", "epsilon": "20", "delta": "1e-6", "minimum_cohort": 20,
        "release_after_seconds": 600,
    },
}  # fmt: skip


def written() -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The study that the examples belong to, and each field by the heading that it stands under."""
    study, *fields = (yaml.safe_load(text) for text in blocks(PAGE, "yaml"))
    headings = re.findall(r"^### (\w+)$", (ROOT / PAGE).read_text(), re.MULTILINE)
    return study, dict(zip(headings, fields, strict=True))


def test_every_kind_has_an_example_under_its_name() -> None:
    _, fields = written()
    assert set(fields) == set(KINDS)
    assert {kind: field["kind"] for kind, field in fields.items()} == {kind: kind for kind in KINDS}
    read_draft(fields[BY_BLOCKS], {}, 50)


def test_the_examples_are_one_study_that_check_and_dry_run_pass(tmp_path: Path) -> None:
    study, fields = written()
    fields.pop(BY_BLOCKS)
    output = {"limit_bytes": 1 << 19, "groups": study.pop("groups"), "fields": list(fields.values())}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**HEAD, **study, "output": output}))
    assert [each for each in check(tmp_path) if each.certain] == []

    done = dry_run(parse(render(tmp_path)), people=3_000)
    for kind, field in fields.items():
        assert done.released[field["name"]].rows > 1_000, kind
