# SPDX-License-Identifier: Apache-2.0
"""Each single check of the walk carries weight: it refuses something that nothing else would.

For each there is a twin of a true envelope that this check refuses by its code, and that passes for a proof
when this check alone is switched off. A check without such a twin fails the first test.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.agents.liars import LIES, Truth, tell_the_truth
from tests.agents.worked import make_gate, make_run

from sealroom_agents import verification
from sealroom_agents.verification import Check, Findings, Link, Pin, Step


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return tell_the_truth(tmp_path_factory.mktemp("truth"))


def names(steps: Sequence[Step]) -> list[str]:
    """All single checks of some links."""
    return [check.name for step in steps for check in step.checks]


def without(steps: Sequence[Step], name: str, stand_in: Callable[[Findings], None] | None) -> list[Step]:
    """The links with one check switched off, or replaced by one that believes everything."""
    return [
        replace(
            step,
            checks=tuple(
                Check(name, stand_in) if check.name == name and stand_in is not None else check
                for check in step.checks
                if check.name != name or stand_in is not None
            ),
        )
        for step in steps
    ]


def test_there_is_a_lie_for_every_check(truth: Truth) -> None:
    """A new check needs one: what nothing shows to be needed may as well be gone."""
    assert sorted(LIES) == sorted(names(verification.steps(pin=truth.pin)))


def test_no_two_checks_have_one_name(truth: Truth) -> None:
    every = names(verification.steps(pin=truth.pin, on_chain=True))
    assert len(set(every)) == len(every)


def test_the_true_envelope_is_proven(truth: Truth) -> None:
    links = verification.verify(truth.envelope, trust=truth.trust, pin=truth.pin, now=int(time.time()))
    assert all(link.ok for link in links), links[-1]
    assert verification.verdict_of(links, pin=truth.pin, on_chain=False, simulated=False).outcome == "proven"


@pytest.mark.parametrize("name", LIES)
def test_a_check_alone_refuses_its_lie(truth: Truth, name: str) -> None:
    """OU-09, AT-01 to AT-30: switched off, the lie would be a proof."""
    lie = LIES[name](truth)
    pin = lie.pin or truth.pin
    steps = verification.steps(pin=pin)

    def walk(links: Sequence[Step]) -> list[Link]:
        now = int(time.time()) - lie.seconds_ago
        return verification.verify(lie.envelope, trust=truth.trust, pin=pin, now=now, links=links)

    broken = verification.first_broken(walk(steps))
    assert broken is not None, "nothing refuses it"
    assert (broken.check, broken.code) == (name, lie.code)
    links = walk(without(steps, name, lie.off))
    assert all(link.ok for link in links), links[-1]
    assert verification.verdict_of(links, pin=pin, on_chain=False, simulated=False).outcome == "proven"


# --- what a pin file may say -------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["consortium", "gate", "kms-root", "os-images"])
def test_an_origin_that_is_not_pinned_is_named_and_is_no_proof(truth: Truth, missing: str) -> None:
    nothing: dict[str, dict[str, Any]] = {
        "consortium": {"chain_id": None, "consortium": None},
        "gate": {"gate_compose": None, "gate_root": None},
        "kms-root": {"kms_root": None},
        "os-images": {"os_images": ()},
    }
    pin = replace(truth.pin, **nothing[missing])
    links = verification.verify(truth.envelope, trust=truth.trust, pin=pin, now=int(time.time()))
    verdict = verification.verdict_of(links, pin=pin, on_chain=False, simulated=False)
    assert (verdict.outcome, verdict.unproven) == ("self-consistent", (missing,))


def test_a_chain_vouches_for_the_gate_of_a_pinned_consortium_alone(truth: Truth) -> None:
    """CH-03: a consortium that the envelope alone names is anybody's."""
    links = [Link("result", ok=True, detail="")]
    place = Pin(chain_id=31337, consortium=truth.pin.consortium)
    judged = verification.verdict_of(links, pin=place, on_chain=True, simulated=False)
    assert judged.unproven == ("kms-root", "os-images")
    nobody = verification.verdict_of(links, pin=verification.NOTHING, on_chain=True, simulated=False)
    assert nobody.unproven == ("consortium", "gate", "kms-root", "os-images")


@pytest.mark.parametrize("missing", ["gate_compose", "gate_root"])
def test_half_a_gate_is_no_gate(truth: Truth, missing: str) -> None:
    """AT-30: any code can name any root key in its own quote, and anybody can run the gate's code."""
    options: dict[str, Any] = {
        "gate_compose": {
            "compose": b'{"name":"my own gate"}',
            "claims_root": truth.gate.identity.root_public_key,
        },
        "gate_root": {"app_id": b"\x66" * 20},
    }
    gate = make_gate(truth.platform, **options[missing])
    lie = make_run(truth.platform, gate, truth.recipe).lie()
    pin = replace(truth.pin, **{missing: None})
    links = verification.verify(lie, trust=truth.trust, pin=pin, now=int(time.time()))
    verdict = verification.verdict_of(links, pin=pin, on_chain=False, simulated=False)
    assert (verdict.outcome, verdict.unproven) == ("self-consistent", ("gate",))


def test_a_pin_file_reads_back(truth: Truth) -> None:
    assert verification.parse_pin(truth.pin.encode()) == truth.pin


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"version": 2, "chainId": 1, "consortium": "0x' + b"c1" * 20 + b'"}',
        b'{"version": 1}',
        b'{"version": 1, "consortium": "0x' + b"c1" * 20 + b'"}',
        b'{"version": 1, "chainId": 1}',
        b'{"version": 1, "kmsRoot": "0x12"}',
        b'{"version": 1, "kmsRoot": null}',
        b'{"version": 1, "osImages": []}',
        b'{"version": 1, "kmsRoot": "0x' + b"11" * 32 + b'", "gateRoot": "0x' + b"22" * 32 + b'"}',
        b'{"version": 1, "kmsRoot": "0x' + b"11" * 32 + b'", "gateCompose": "0x' + b"22" * 32 + b'"}',
        b'{"version": 1, "kmsRoot": "0x' + b"11" * 32 + b'", "gate": "0x12"}',
        b'{"version": 1, "kmsRoot": "0x' + b"11" * 32 + b'", "kmsRoot": "0x' + b"22" * 32 + b'"}',
        b" " * (verification.PIN_LIMIT_BYTES + 1),
    ],
    ids=[
        "empty", "array", "no version", "version 2", "pins nothing", "no chain", "no consortium",
        "short", "null", "no image", "root without code", "code without root",
        "unknown member", "twice", "too long",
    ],
)  # fmt: skip
def test_a_pin_file_with_anything_wrong_is_refused(text: bytes) -> None:
    from sealroom_agents.errors import ToolError

    with pytest.raises(ToolError) as refused:
        verification.parse_pin(text)
    assert refused.value.code == "pin-malformed"


def test_the_example_of_the_spec_is_a_pin_file() -> None:
    page = Path(__file__).resolve().parents[2] / "enclave" / "spec" / "envelope.md"
    example = page.read_text().split("## Pins")[1].split("```json\n")[1].split("```")[0]
    assert verification.parse_pin(example.encode()).origins == set(verification.ORIGINS)
