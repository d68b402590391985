# SPDX-License-Identifier: Apache-2.0
"""`govern platform --gate`: what is proposed is what the gate proves, and nothing that it only says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.agents.answering import answering
from tests.agents.office import Office
from tests.agents.worked import make_gate
from tests.local_chain import ROOT, LocalChain, account

from sealroom.encoding import to_hex
from sealroom.key_release import GateIdentity
from sealroom.recipe import render
from sealroom_agents.simulator import SIMULATED_OS_IMAGE, SimulatedPlatform

pytestmark = pytest.mark.anvil
PLATFORM = SimulatedPlatform(b"\x21" * 32)
DEVICE = to_hex(PLATFORM.machine().device_id)


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


@pytest.fixture
def office(chain: LocalChain, tmp_path: Path) -> Iterator[Office]:
    """Four hospitals without a platform; they have read the policy."""
    before = chain.snapshot()
    office = Office.open(chain, tmp_path)
    office.file("policy.json", PLATFORM.policy().encode())
    office.file("root.der", PLATFORM.root_der)
    yield office
    chain.restore(before)


def given(office: Office, url: str, *more: str) -> tuple[str, ...]:
    """The command's words for the gate at a URL."""
    trusted = "--policy", office.file("policy.json"), "--simulated-root", office.file("root.der")
    return "platform", "--gate", url, *trusted, "--device", DEVICE, *more


def genuine() -> GateIdentity:
    return make_gate(PLATFORM, policy=PLATFORM.policy()).identity


def test_a_gate_is_asked_verified_and_proposed(office: Office) -> None:
    identity = genuine()
    with answering(identity.encode()) as url:
        assert "SIMULATED TDX, not Intel" in office.text(*given(office, url, "--draft"))
        first = office.govern(*given(office, url), by=0)
    (found,) = office.govern("pending")["proposals"]
    assert found["content"] | {"expiry": 0, "follows": ""} == {
        "gateRoot": to_hex(identity.gate_root),
        "gateSigner": identity.signer,
        "gateCompose": to_hex(identity.compose_hash),
        "policyHash": to_hex(PLATFORM.policy().hash),
        "osImages": [to_hex(SIMULATED_OS_IMAGE)],
        "devices": [DEVICE],
        "expiry": 0,
        "follows": "",
    }
    with answering(identity.encode()) as url:
        vote = "approve", first["proposal"], *given(office, url)[1:]
        office.govern(*vote, by=1)
        assert office.govern(*vote, by=2)["effective"]


def test_a_gate_under_another_policy_is_not_proposed(office: Office) -> None:
    """AT-30: its quote covers the policy by which it judges."""
    other = make_gate(PLATFORM, policy=PLATFORM.policy(emit="safe")).identity
    with answering(other.encode()) as url:
        code, words, _ = office.refused(*given(office, url), by=0)
    assert code == "proposal-differs" and "platform policy" in words
    assert office.govern("pending")["proposals"] == []


def test_a_gate_that_says_another_policy_than_its_quote_covers_is_not_proposed(office: Office) -> None:
    other = make_gate(PLATFORM, policy=PLATFORM.policy(emit="safe")).identity
    lied = replace(other, policy_hash=PLATFORM.policy().hash)
    with answering(lied.encode()) as url:
        code, *_ = office.refused(*given(office, url), by=0)
    assert code == "report-data-mismatch"


def test_a_gate_of_another_machine_maker_or_kms_is_not_proposed(office: Office) -> None:
    stranger = SimulatedPlatform(b"\x22" * 32)
    foreign = make_gate(stranger, policy=PLATFORM.policy()).identity
    with answering(foreign.encode()) as url:
        code, *_ = office.refused(*given(office, url), by=0)
    assert code == "quote-invalid"


def test_a_gate_of_another_chain_is_not_proposed(office: Office) -> None:
    other = make_gate(PLATFORM, chain_id=1337, policy=PLATFORM.policy()).identity
    with answering(other.encode()) as url:
        code, words, _ = office.refused(*given(office, url), by=0)
    assert code == "proposal-differs" and "1337" in words


def test_a_policy_that_nobody_read_is_not_adopted(office: Office) -> None:
    with answering(genuine().encode()) as url:
        code, _, hint = office.refused("platform", "--gate", url, "--device", DEVICE, by=0)
    assert code == "way-unclear" and "--policy" in hint


# --- a study whose guarantee the adopted policy does not accept ------------------------------------------


def by_reading(office: Office) -> tuple[str, ...]:
    """A script over the file of hospital-A, whose columns are those of the worked study."""
    path = office.file("by-reading.json", render(ROOT / "enclave" / "studies" / "made-up-people"))
    return "--recipe", path


def test_nobody_votes_for_a_guarantee_that_the_policy_in_hand_does_not_accept(office: Office) -> None:
    """DP-22: the gate would refuse it by the same name, after everybody had voted."""
    strict, lenient = PLATFORM.policy(guarantees=("by-construction",)), PLATFORM.policy()
    office.adopt_with((0, 1, 2), policy_hash=strict.hash)
    office.datasets()
    policy = "--policy", office.file("strict.json", strict.encode())
    other = "--policy", office.file("lenient.json", lenient.encode())

    code, words, hint = office.refused("propose", *by_reading(office), *policy, by=0)
    assert code == "guarantee-not-accepted" and "platform" in hint
    assert words == "the recipe's guarantee is by-reading, and the owners accept by-construction"
    assert office.govern("pending")["proposals"] == []
    code, words, _ = office.refused("propose", *by_reading(office), *other, by=0)
    assert code == "proposal-differs" and to_hex(lenient.hash) in words and to_hex(strict.hash) in words

    # Who has no policy in hand may still vote: the next owner's desk says it.
    study = office.govern("propose", *by_reading(office), by=0)["proposal"]
    vote = "approve", study, *by_reading(office)
    assert office.refused(*vote, *policy, by=1)[0] == "guarantee-not-accepted"
    assert office.govern("show", study)["approved"] == ["hospital-A"]

    request = office.file("request.json")
    office.govern(*vote, "--owner", account(1), "--request", request)
    sign = "sign", "--request", request, "--out", office.file("signed.json"), *by_reading(office)
    assert office.refused(*sign, *policy, by=1)[0] == "guarantee-not-accepted"
    doubts = office.govern(*sign, *other, by=1)["warnings"]  # it sees no chain
    assert any("whether the owners adopted" in words for words in doubts)

    worked = "propose", "--recipe", office.file("app-compose.json")
    assert "adopted by the owners, accepts by-construction" in office.text(*worked, *policy, by=0)


def test_a_policy_without_a_recipe_says_nothing_of_a_study(office: Office) -> None:
    office.adopt()
    office.datasets()
    code, words, _ = office.refused("approve", office.propose(), *given(office, "")[3:5], "--blind", by=1)
    assert code == "way-unclear" and "without its recipe" in words


def test_nobody_votes_for_gpus_of_which_the_policy_in_hand_accepts_no_evidence(office: Office) -> None:
    """The gate would refuse it by the same name, after everybody had voted."""
    without = PLATFORM.policy()
    office.adopt_with((0, 1, 2), policy_hash=without.hash)
    office.datasets()
    policy = "--policy", office.file("without.json", without.encode())
    folder = office.folder / "demands"
    shutil.copytree(ROOT / "enclave" / "studies" / "made-up-people", folder)
    study = folder / "study.yaml"
    demand = "gpu: {kind: h100, count: 1, mode: passthrough}"
    study.write_text(study.read_text().replace("gpu: none", demand))
    recipe = "--recipe", office.file("demands.json", render(folder))
    code, words, hint = office.refused("propose", *recipe, *policy, by=0)
    assert code == "gpu-evidence-unverified" and "1 h100, passthrough" in words and "platform" in hint
    assert "machine" in office.text("propose", *recipe, by=0)
