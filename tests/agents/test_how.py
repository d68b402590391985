# SPDX-License-Identifier: Apache-2.0
"""What `/how` walks through: the shipped recording is true, and nothing else is taken for one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.agents.worked import fresh_platform, make_gate, make_run, render_recipe
from tests.test_threats import ROWS

from sealroom.codes import Code
from sealroom.encoding import canonical, from_base64
from sealroom.errors import FormatError
from sealroom_agents.attestation import load_simulated_root
from sealroom_agents.console.how import EXAMPLE, Recordings
from sealroom_agents.console.words import WORDS_FILE
from sealroom_agents.demo.story import MADE_UP_SCALE, ONE_BYTE, STUDY
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.verification import Outcome, parse_pin, verdict_of, verify
from sealroom_agents.walk import central
from sealroom_agents.walk.document import LAST_SECOND, MAX_BYTES, Document, read

AGAIN = "record it anew: sealroom demo --made-up --record agents/sealroom_agents/walk/example.json"


@pytest.fixture(scope="module")
def example() -> Document:
    return read(EXAMPLE.read_bytes())


def test_the_shipped_recording_says_that_it_is_simulated_and_how_it_was_made(example: Document) -> None:
    assert example.simulated and example.people == "made-up"
    assert example.command == "sealroom demo --made-up --record example.json"
    assert EXAMPLE.read_bytes() == example.encode() + b"\n"


def test_its_envelope_verifies_link_by_link(example: Document, tmp_path: Path) -> None:
    """OU-09: with the pin file and the simulated root that stand beside it, as on the page Verify."""
    root, pin = tmp_path / "root.der", parse_pin(canonical(example.pin))
    root.write_bytes(from_base64(example.root))
    trust = load_simulated_root(root)
    links = verify(example.proof, trust=trust, pin=pin, now=example.recorded)
    assert [link.name for link in links if not link.ok] == [], AGAIN
    assert [link.name for link in links] == example.links and "approvals" in example.links
    verdict = verdict_of(links, pin=pin, on_chain=False, simulated=trust.is_simulated)
    assert verdict.outcome is Outcome.SIMULATED
    assert example.verdict == "simulated"


def test_what_it_says_beside_the_envelope_is_what_the_envelope_says(example: Document) -> None:
    anchor = example.proof.anchor
    assert anchor is not None
    told = {one.at.tx for one in example.approved.approvals}
    assert told == {"0x" + one.tx.hex() for one in anchor.approvals}
    assert len(told) >= example.approved.threshold
    assert example.seconds("emitting") == pytest.approx(example.recipe.privacy.release_after_seconds, abs=1)
    assert max(one.at.block for one in example.approved.approvals) <= example.approved.pinned.block
    assert example.approved.pinned.block < example.opened.block < anchor.block < example.revoked.at.block
    assert example.revoked.time <= example.recorded  # the central pipeline ran after the revocation
    assert (example.changed.code, example.revoked.third.code) == ("compose-hash-mismatch", "revoked")


def test_a_central_pipeline_over_the_made_up_people_reads_these_rows(
    example: Document, tmp_path: Path
) -> None:
    """DP-13: each row, each exact number, and one person's value out of two of them."""
    made = [sys.executable, str(STUDY / "cohort.py"), "--out", str(tmp_path), "--scale", MADE_UP_SCALE]
    subprocess.run(made, check=True, capture_output=True, timeout=600)
    files = {spec.path: tmp_path / spec.owner / f"{spec.name}.parquet" for spec in example.recipe.datasets}
    found = central.run(example.recipe, files, example.result["fields"], one_byte=ONE_BYTE)
    told = example.central
    assert [one.table for one in found.files] == [one.table for one in told.files], AGAIN
    assert (found.joined, found.changed, found.subtraction) == (told.joined, told.changed, told.subtraction)
    assert told.subtraction.found == told.subtraction.true
    assert [one.table.rows for one in told.files] == [one.rows for one in example.sealed]
    assert [(one.field, one.of, one.released) for one in found.answers] == [
        (one.field, one.of, one.released) for one in told.answers
    ]
    numbers = [float(one.exact) for one in told.answers]
    assert [float(one.exact) for one in found.answers] == pytest.approx(numbers, abs=1e-3)


def _other_version(content: dict[str, Any]) -> None:
    content["version"] = 2


def _unknown(content: dict[str, Any]) -> None:
    content["revoked"]["remark"] = ""


def _other_owner(content: dict[str, Any]) -> None:
    content["central"]["files"][0]["owner"] = "hospital-E"


def _short_row(content: dict[str, Any]) -> None:
    content["central"]["joined"]["sample"][0].pop()


def _long(content: dict[str, Any]) -> None:
    content["changed"]["message"] = "x" * 401


def _no_envelope(content: dict[str, Any]) -> None:
    content["envelope"] = {}


def _not_left(content: dict[str, Any]) -> None:
    content["phases"] = content["phases"][:1]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_other_version, Code.UNSUPPORTED_VERSION),
        (_unknown, Code.MALFORMED),
        (_other_owner, Code.MALFORMED),
        (_short_row, Code.MALFORMED),
        (_long, Code.MALFORMED),
        (_not_left, Code.MALFORMED),
        (_no_envelope, None),
    ],
)
def test_another_document_is_refused(
    example: Document, change: Callable[[dict[str, Any]], None], code: Code | None
) -> None:
    """RE-07."""
    content = json.loads(example.encode())
    change(content)
    with pytest.raises(FormatError) as refused:
        read(canonical(content))
    assert code is None or refused.value.code == code


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    """Another value at a place of the document."""

    def change(content: dict[str, Any]) -> None:
        *outer, last = path
        inner: Any = content
        for one in outer:
            inner = inner[one]
        inner[last] = to

    return change


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (_set("approved", "approvals", to=[]), "approved.approvals"),
        (_set("central", "answers", to=[]), "central.answers"),
        (_set("recorded", to=LAST_SECOND + 1), "recorded"),
        (_set("revoked", "time", to=LAST_SECOND + 1), "revoked.time"),
        (_set("phases", 0, "timeMs", to=1000 * LAST_SECOND + 1), "phases.0.timeMs"),
        (_set("revoked", "owner", to="hospital-Z"), "revoked.owner"),
        (_set("root", to="no base64"), "root"),
        (_set("sealed", to=[]), "sealed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_page_cannot_draw_is_refused_by_its_field(
    example: Document, change: Callable[[dict[str, Any]], None], field: str
) -> None:
    """RE-07: at load, and not where it is drawn."""
    content = json.loads(example.encode())
    change(content)
    with pytest.raises(FormatError, match=f"^the recording: {re.escape(field)}: ") as refused:
        read(canonical(content))
    assert refused.value.code == Code.MALFORMED


def test_a_run_without_a_query_is_no_walk(example: Document, tmp_path: Path) -> None:
    """RE-07: the page shows the recipe's query."""
    platform = fresh_platform()
    run = make_run(platform, make_gate(platform), render_recipe(tmp_path))
    content = json.loads(example.encode())
    content["envelope"] = json.loads(run.lie().encode())
    datasets = run.recipe.datasets
    for part in (content["sealed"], content["central"]["files"]):
        del part[len(datasets) :]
        for one, spec in zip(part, datasets, strict=True):
            one |= {"owner": spec.owner, "name": spec.name}
    with pytest.raises(FormatError, match=r"^the recording: envelope: its recipe has no query"):
        read(canonical(content))


def test_a_document_that_is_too_large_is_not_read(example: Document) -> None:
    """RE-02."""
    with pytest.raises(FormatError):
        read(example.encode() + b" " * MAX_BYTES)


def test_the_operators_file_is_shown_as_it_is_now_and_the_example_before(
    example: Document, tmp_path: Path
) -> None:
    file = tmp_path / "how.json"
    recordings = Recordings(file)
    assert recordings.current().shipped
    file.write_bytes(example.encode())
    assert not recordings.current().shipped
    assert recordings.current() is recordings.current()
    file.write_bytes(b"{}")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        recordings.current()
    file.unlink()
    assert recordings.current().shipped


def test_the_page_has_the_words_of_the_threat_model() -> None:
    words = tomllib.loads(WORDS_FILE.read_text())["how"]
    page = {row.id: row.threat for row in ROWS}
    assert {id: page[id] for id in words["threats"]} == words["threats"]
    cited = [id for step in (*words["steps"], words["revoke"]) for id in step["threats"]]
    assert set(cited) == set(words["threats"]) and len(words["steps"]) == 5
