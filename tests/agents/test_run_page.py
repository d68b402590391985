# SPDX-License-Identifier: Apache-2.0
"""The page of a run, without a browser: words for every end, pictures of every kind, calls to copy."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import pytest
from tests.agents.test_plots import released
from tests.agents.test_run_phases import RUN
from tests.enclave.kinds.cases import CASES

from sealroom.codes import Code
from sealroom.recipe.researchers import ANYONE
from sealroom_agents.console import endings
from sealroom_agents.console.build_page import analysis, calls, datasets_of
from sealroom_agents.console.figures import MOST_FIGURES, finding, short, unit_of
from sealroom_agents.console.results import LISTED
from sealroom_agents.console.run_page import steps
from sealroom_agents.plots.chart import Mark, panels_of
from sealroom_agents.store import Event


def happened(*phases: str) -> list[Event]:
    return [Event(id=n, time=float(n), phase=phase, code=None, message="") for n, phase in enumerate(phases)]


def booked(epsilon_micro: int = 1_500_000) -> Any:
    run = SimpleNamespace(epsilon_micro=epsilon_micro, delta_pico=1_000_000)
    return SimpleNamespace(opening=SimpleNamespace(run=run, number=1), at=SimpleNamespace(block=61))


def test_every_code_that_ends_a_run_has_a_sentence_and_says_who_does_what() -> None:
    words = endings._words()
    for code in endings.ending_codes():
        told = endings.headline(code)
        assert told and not told.endswith(".") and not told.startswith("it ended with"), code
        if code.stage in endings.HEADED:
            assert code in words["headline"], f"{code} has no headline in {endings.WORDS_FILE.name}"
        assert [role for role, _ in endings.todo(code)] == list(endings.ROLES)
        assert all(does.endswith(".") for _, does in endings.todo(code)), code
    named = [code for group in words["ending"] for code in group.get("codes", ())]
    assert len(named) == len(set(named))
    known = {str(code) for code in Code}
    assert set(named) | set(words["headline"]) <= known, "words for codes that are none"


def test_the_effect_on_keys_and_budget_is_what_was_seen_and_not_guessed() -> None:
    def told(code: Code, seen: tuple[str, ...], opening: Any, state: str = "refused") -> endings.Ending:
        run = replace(RUN, state=state, code=code, message="why")
        found = endings.ending(run, happened(*seen), opening, block=79)
        assert found is not None
        return found

    refused = told(Code.COMPOSE_HASH_MISMATCH, ("queued", "attesting"), None)
    assert refused.headline == "Refused: the machine runs another recipe"
    assert refused.keys == "The gate kept the keys. Nothing was read."
    assert refused.spent == "As of block 79, no ε was spent." and not refused.booked
    # Booked and never granted: the same code does not get the same sentence.
    unsure = told(Code.COMPOSE_HASH_MISMATCH, ("queued", "attesting"), booked())
    assert "not known" in unsure.keys and unsure.spent.startswith("ε 1.5 and δ 1e-6 are spent")
    killed = told(Code.REVOKED, ("granted", "computing", "killed"), booked(), "revoked")
    assert killed.headline == "An owner revoked" and "dead" in killed.keys and "stay spent" in killed.spent
    wiped = told(Code.LEASE_EXPIRED, ("granted", "lease-ended"), None, "failed")
    assert "wiped" in wiped.keys and "so it is spent" in wiped.spent
    assert endings.ending(RUN, [], None, block=1) is None
    foreign = told(Code.parse("of-another-version"), (), None, "failed")
    assert foreign.headline == "Failed: it ended with the code of-another-version"


@pytest.mark.parametrize(
    ("state", "seen", "shown"),
    [
        ("waiting", (), "past now - - -"),
        ("attesting", ("queued", "attesting"), "past past now - -"),
        ("computing", ("attesting", "granted", "computing"), "past past past now -"),
        ("anchoring", ("granted", "emitting", "anchoring"), "past past past past now"),
        ("done", ("granted", "emitting", "anchoring", "done"), "past past past past past"),
        ("refused", ("queued", "attesting"), "past past no - -"),
        ("revoked", ("granted", "computing", "killed"), "past past past no -"),
        ("revoked", ("granted", "anchoring"), "past past past past no"),
        ("cancelled", ("waiting",), "past no - - -"),
    ],
)
def test_the_step_at_which_a_run_is_or_ended(state: str, seen: tuple[str, ...], shown: str) -> None:
    found = steps(replace(RUN, state=state), happened(*seen), None, None, None)
    assert " ".join(one.state or "-" for one in found) == shown


@pytest.mark.parametrize("name", CASES)
def test_every_kind_is_drawn_with_unit_and_range_by_attributes_alone(name: str) -> None:
    field, value = released(name)
    found = finding(field, value, 1)
    assert found.tables and len(found.figures) <= MOST_FIGURES
    for figure in found.figures:
        assert figure.unit
        for drawing in figure.drawings:
            root = ElementTree.fromstring(str(drawing))
            assert root.attrib["role"] == "img" and root.attrib["aria-label"]
            width = float(root.attrib["viewBox"].split()[2])
            for one in root.iter():
                # The policy takes no style and no script; both would be attributes or elements here.
                assert not {"style", "onload", "href"} & one.attrib.keys()
                assert one.tag in {"svg", "g", "line", "rect", "circle", "path", "text"}
                assert not any(re.search(r"nan|inf", text) for text in one.attrib.values())
                if one.tag == "text":
                    assert 0 <= float(one.attrib["x"]) <= width


def test_a_share_of_a_column_of_yes_and_no_has_a_unit_of_its_own() -> None:
    """The mean of 0 and 1 is a share; the same mean of other bounds is in the column's own unit."""
    field, value = released("mean")
    (panel,) = (one for one in panels_of(field, value, rows=1) if "mean" in one.of)
    column = field.spec.column
    for lower, upper, unit in (
        (20, 90, f"in the unit of the column {column}"),
        (0, 1, f"share, 0 to 1, where the column {column} is 1 for yes and 0 for no"),
    ):
        spec = replace(field.spec, lower=Decimal(lower), upper=Decimal(upper))
        assert unit_of(replace(field, spec=spec), panel) == unit


@pytest.mark.parametrize(
    ("text", "value", "low", "high", "told"),
    [
        ("0.94 (0.92 to 0.96)", 0.94, 0.92, 0.96, "0.94 ± 0.02"),
        ("1,662 (1,652 to 1,672)", 1662.0, 1652.0, 1672.0, "1,662 ± 10"),
        ("4 (0 to 14)", 4.0, 0.0, 14.0, "4 +10 −4"),
        ("0.3575 (0.2505 to 0.4644)", 0.3575, 0.2505, 0.4644, "0.3575 ± 0.1070"),
        ("7", 7.0, None, None, "7"),
        ("not released", None, None, None, "not released"),
    ],
)
def test_a_number_stands_with_its_range(text: str, value: Any, low: Any, high: Any, told: str) -> None:
    assert short(Mark((), text, value, low, high)) == told


def test_a_huge_result_is_bounded_and_says_so() -> None:
    """A page of any result has a size that the page decides."""
    field, value = released("vector mean")
    value = {**value, "means": ["0.5"] * 20_000}
    found = finding(field, value, 1)
    assert sum(len(drawing) for figure in found.figures for drawing in figure.drawings) < 300_000
    assert all(len(table.rows) <= LISTED for _, table in found.tables)
    assert any(table.note.startswith("the first 1,000 of 20,000") for _, table in found.tables)


def test_labels_of_strangers_hide_nothing_and_make_no_element() -> None:
    """WE-09."""
    field, value = released("count")
    evil = "\u202e</text><script>alert(1)</script>"
    value = {**value, "groups": [{**value["groups"][0], "sex": evil}, *value["groups"][1:]]}
    for drawing in finding(field, value, 1).figures[0].drawings:
        root = ElementTree.fromstring(str(drawing))
        assert not list(root.iter("script"))
        assert "\u202e" not in str(drawing)


def test_calls_survive_the_shell_whatever_owners_are_called() -> None:
    """WE-09: what is pasted does what it says, and no more."""
    evil = "x'; rm -rf ~; echo '\"$(id)"
    recipe = SimpleNamespace(datasets=[SimpleNamespace(owner=evil, name="t")], researchers=(ANYONE,))
    study = SimpleNamespace(compose_hash=b"\x5e" * 32)
    picture = SimpleNamespace(
        current=SimpleNamespace(recipe=recipe, study=study),
        view=SimpleNamespace(consortium="0x" + "c0" * 20, chain_id=31337),
    )
    curl, _, envelope, call, _ = calls("http://127.0.0.1:1", cast(Any, picture))
    words = shlex.split(curl.text.rpartition("\nRUN=")[0])
    assert words[:4] == ["curl", "-s", "--fail-with-body", "http://127.0.0.1:1/v1/runs"] and len(words) == 6
    assert json.loads(words[5]) == {
        "composeHash": "0x" + "5e" * 32, "owners": [evil], "consortium": "0x" + "c0" * 20,
    }  # fmt: skip
    line = call.text.splitlines()[2]
    assert shlex.split(line)[0] == "echo" and json.loads(shlex.split(line)[1])["owners"] == [evil]
    assert shlex.split(line)[2:] == ["|", "sealroom", "call", "POST", "/v1/runs", "--data", "-"]
    assert "--simulated-root" in envelope.text, "a local room has no genuine machine"
    # Of a study that only its owners may ask for, the calls say who asks.
    recipe.researchers = ()
    curl, *_, call, _ = calls("http://127.0.0.1:1", cast(Any, picture))
    assert '-H "Authorization: Bearer $(cat token)"' in curl.text and "token issue" in curl.text
    assert "--data - --token-file token" in call.text
    names = datasets_of(cast(Any, picture))
    assert names == ((evil, "t"),) and "hospital" not in analysis(names)
    compile(analysis(names), "analysis.py", "exec")
