# SPDX-License-Identifier: Apache-2.0
"""The vectors of `walk`, which stand still: each is broken at the link that it names, for the command and for
the page, and no link is without one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from sealroom_agents import verification
from sealroom_agents.verification.model_file import model_links, read_model
from tests.face.corpus import Case, require_agreement, told_by_page
from tests.vectors.vector import cases, read
from tests.vectors.walks import found, read_walk

UNWALKED = {"holds-with-gpus", "report-data-with-gpus-of-others", "report-data-with-gpus-of-another-run"}
"""What the page leaves to the command: evidence of GPUs that its recipe demands."""
OF_NODES = {"revocation"}
"""What a node says of today, which stands in no file. `tests/agents/test_verification_chain.py` asks one."""


@cache
def walks() -> dict[str, Path]:
    return {path.name: path for path in cases("walk")}


def links() -> set[str]:
    """Names of all links that `sealroom verify` walks."""
    pinned = read_walk(walks()["holds"]).pin
    steps = {
        *verification.steps(pin=pinned, on_chain=True),
        *verification.steps(pin=pinned, on_chain=True, proofs=True),
    }
    model = model_links(read_model(read_walk(walks()["holds-with-a-model"]).data))
    return {step.name for step in steps} | {link.name for link in model}


@pytest.mark.parametrize("name", walks())
def test_each_breaks_at_the_link_that_it_names(name: str) -> None:
    """OU-09: made once, judged the same ever since."""
    fields = read(walks()[name]).fields
    said = found(read_walk(walks()[name]))
    assert said == {key: fields[key] for key in ("expect", "link", "check", "verdict") if key in fields}
    assert (said["expect"] == "success") == name.startswith("holds")
    assert said.get("link", name).startswith(name[: len(said.get("link", name))])


def test_no_link_is_without_a_broken_one() -> None:
    """A new link needs a case: add it to `make_walks.py`, and make the vectors anew."""
    broken = {read(path).fields.get("link") for path in walks().values()}
    assert links() - OF_NODES == broken - {None}


def test_the_page_says_the_same(tmp_path: Path) -> None:
    alike: dict[str, Case] = {}
    others: dict[str, Case] = {}
    for name, path in walks().items():
        (others if name in UNWALKED else alike)[name] = read_walk(path)
    require_agreement(alike, tmp_path / "alike")
    codes = {name: one["code"] for name, one in told_by_page(others, tmp_path / "others").items()}
    assert codes == dict.fromkeys(UNWALKED, "gpu-evidence-unwalked")


def test_the_verdict_of_what_holds_is_never_more_than_it_shows() -> None:
    verdicts = {name: read(path).fields.get("verdict") for name, path in walks().items()}
    assert {name for name, verdict in verdicts.items() if verdict == "self-consistent"} == {
        "holds-by-its-own-claims"
    }
    assert "proven" not in verdicts.values()  # their hardware is simulated
