# SPDX-License-Identifier: Apache-2.0
"""What `sealroom run` takes of a console that lies, and what a stranger's recipe costs a check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.agents.liars import tell_the_truth

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom_agents.cli.run import of_run
from sealroom_agents.cli.run_told import how_it_ended, prove_next, with_proofs
from sealroom_agents.client import Connection, Console, Unverified
from sealroom_agents.client.console import patient
from sealroom_agents.errors import ToolError
from sealroom_agents.studies.checking.findings import MOST_FOUND, MOST_GUESSES, Findings
from sealroom_agents.studies.positions import Place

ID = "0x" + "11" * 32


def console(answer: object) -> Console:
    """One that answers everything with this JSON."""
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, stream=httpx.ByteStream(json.dumps(answer).encode()))
    )
    return Console(Connection("http://console", Unverified(), transport=transport))


def signed(asked: Console) -> Any:
    return asked.submit(
        b"{}", ["a"], chain_id=31337, consortium="0x" + "22" * 20, account="0x" + "33" * 20,
        signer=lambda _: bytes(65),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "ask"),
    [
        ({"id": ID}, signed),
        ({"id": "\x1b[2J"}, lambda asked: asked.submit(b"{}", ["a"])),
        ({}, lambda asked: asked.submit(b"{}", ["a"])),
        ([], lambda asked: asked.run(ID)),
        ({"id": ID, "state": "\x1b]0;"}, lambda asked: asked.run(ID)),
        ({"id": "0x" + "44" * 32, "state": "done"}, lambda asked: asked.run(ID)),
    ],
    ids=["another id than was signed", "no id", "nothing", "a list", "no state", "another run"],
)  # fmt: skip
def test_an_answer_about_another_run_is_refused(answer: object, ask: Callable[[Console], Any]) -> None:
    asked = console(answer)
    with asked.connection, pytest.raises(ToolError) as refused:
        ask(asked)
    assert refused.value.code == Code.CONSOLE_UNREACHABLE


def test_an_envelope_of_another_run_is_not_saved(tmp_path: Path) -> None:
    envelope = tell_the_truth(tmp_path).envelope
    run_id = to_hex(envelope.statement.run_id)
    assert of_run(envelope.encode(), run_id, None) == envelope.encode()
    with pytest.raises(ToolError) as refused:
        of_run(envelope.encode(), ID, None)
    assert refused.value.code == Code.ANSWER_FORGED


def test_an_envelope_without_proofs_is_saved_and_the_next_step_is_told(tmp_path: Path) -> None:
    """Proofs come once the block is final: they are waited for a little, and then asked for by name."""
    early = tell_the_truth(tmp_path).envelope
    assert early.anchor is None
    asked = console(json.loads(early.encode()))
    with asked.connection:
        data, proven = with_proofs(asked, ID, wait_s=0)
    assert not proven and json.loads(data) == json.loads(early.encode())
    told_next = prove_next(Path("my banks.json"), None)
    assert told_next == "sealroom prove 'my banks.json' --rpc URL --gate URL --out 'my banks.proven.json'"


@pytest.mark.parametrize(
    ("state", "code", "message", "told"),
    [
        ("revoked", "revoked", 'revoked by bank-B: "enough"', 'revoked by bank-B: "enough"'),
        ("revoked", "revoked", "hospital-C revoked: withdrawn", "hospital-C revoked: withdrawn"),
        (
            "revoked",
            "standing-changed",
            "another roster governs",
            "revoked: standing-changed: another roster governs",
        ),
        ("cancelled", "cancelled", "taken back by 0x12", "cancelled: taken back by 0x12"),
        ("failed", "job-failed", "the analysis failed", "job-failed: the analysis failed"),
        ("failed", "enclave-died", "the enclave ended", "failed: enclave-died: the enclave ended"),
        ("refused", "not-approved", "k is 2", "refused: not-approved: k is 2"),
        ("refused", "refused", 'x: "the gate refused"', 'refused: x: "the gate refused"'),
        (
            "failed",
            "lease-ended",
            'by a: "lease-ended failed"',
            'failed: lease-ended: by a: "lease-ended failed"',
        ),
        ("failed", None, None, "failed"),
        ("revoked", "revoked", None, "revoked"),
    ],
)
def test_how_a_run_ended_is_said_once(state: str, code: str | None, message: str | None, told: str) -> None:
    """What others wrote, as a reason, takes no word of ours away."""
    assert how_it_ended(state, code, message) == told


def test_a_study_of_strangers_has_a_bounded_number_of_findings_and_guesses() -> None:
    """OP-08: each guess compares a name with all that are known."""
    findings = Findings()
    guesses = [findings.guess("nane", ["name"]) for _ in range(2 * MOST_GUESSES)]
    assert guesses == ["name"] * MOST_GUESSES + [None] * MOST_GUESSES
    for number in range(2 * MOST_FOUND):
        findings.error(Place("study.yaml", 1, 1), Code.RECIPE_COLUMN, str(number))
    assert len(findings.found) == MOST_FOUND


def test_a_console_that_restarts_is_waited_for_and_another_refusal_is_not() -> None:
    """OP-10: also between the end of a run and its envelope."""
    answers = [Code.CONSOLE_UNREACHABLE, Code.CONSOLE_UNREACHABLE, None, Code.UNKNOWN_RUN]

    def ask() -> str:
        code = answers.pop(0)
        if code is not None:
            raise ToolError(code, "not now")
        return "here"

    assert patient(ask) == "here"
    with pytest.raises(ToolError, match="not now"):
        patient(ask)
    assert answers == []
