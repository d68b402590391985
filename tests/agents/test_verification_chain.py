# SPDX-License-Identifier: Apache-2.0
"""The links that ask a chain about an envelope without proofs, on a real one: anvil, the real contracts, the
real reader; `test_proofs` has those with proofs.

One study is settled, run and anchored once; each bad case differs from it in what was done on chain, or in
the one part of the envelope that names something else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.agents.shell import shell
from tests.agents.staged import Stage, make_stage
from tests.agents.worked import make_card, make_gate, make_run
from tests.local_chain import LocalChain
from tests.rpc_proxy import RpcProxy

from sealroom_agents import verification
from sealroom_agents.attestation import encode_os_images
from sealroom_agents.chain import ChainReader
from sealroom_agents.chain.contracts import interface
from sealroom_agents.errors import ChainError
from sealroom_agents.simulator.platform import simulated_os_image
from sealroom_agents.studycard import CardOwner

pytestmark = pytest.mark.anvil

LINKS = [step.name for step in (*verification.OFFLINE, *verification.ON_CHAIN)]


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A chain on which the study is approved; made once."""
    with LocalChain.start() as chain:
        yield make_stage(chain, tmp_path_factory.mktemp("stage"))


@pytest.fixture
def stage(settled: Stage) -> Iterator[Stage]:
    """The same for one test: what it does on chain is undone afterwards."""
    snapshot = settled.chain.snapshot()
    settled.chain.finalize()  # a head of now, however long ago the study was settled
    # A reader remembers the newest finalized block, and believes nothing older.
    reader = settled.chain.reader()
    yield replace(settled, reader=reader)
    reader.close()
    settled.chain.restore(snapshot)


def test_every_link_of_an_anchored_run_holds(stage: Stage) -> None:
    links = stage.walk(stage.done())
    assert [link.name for link in links] == LINKS
    assert all(link.ok for link in links), links[-1]
    assert links[-1].detail == "nobody has revoked since, and the same roster and platform govern"


def test_a_later_revocation_is_told_and_breaks_nothing(stage: Stage) -> None:
    envelope = stage.done()
    stage.chain.revoke(stage.room, 2, "consent withdrawn”; nobody has revoked since")
    links = stage.walk(envelope)
    assert all(link.ok for link in links)
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(stage.chain.head_time()))
    told = f"its study was revoked on {when} by hospital-C: "
    assert links[-1].detail == told + '“consent withdrawn"; nobody has revoked since”'


def test_a_revocation_when_the_study_was_over_is_told_as_such(stage: Stage) -> None:
    """Another study is live when an owner revokes; the first one was not revoked."""
    envelope = stage.done()
    again = stage.chain.draft(
        stage.room, compose_hash=b"\x66" * 32, datasets=[dataset.id for dataset in stage.datasets]
    )
    stage.chain.approve(stage.room, again, 0, 1)
    stage.chain.revoke(stage.room, 2, "consent withdrawn”; nobody has revoked since")
    links = stage.walk(envelope)
    assert all(link.ok for link in links)
    assert links[-1].detail == "an owner revoked since, when its study was over"


def test_another_roster_or_platform_is_told_and_says_nothing_against_a_result(stage: Stage) -> None:
    envelope = stage.done()
    stage.chain.change_roster(stage.room, remove=["hospital-C"], threshold=2)
    links = stage.walk(envelope)
    assert all(link.ok for link in links)
    assert links[-1].detail == "another roster or platform governs now, which says nothing against it"


def test_a_run_that_was_revoked_in_flight_is_opened_and_not_anchored(stage: Stage) -> None:
    """The walk says why its receipt can never be anchored."""
    envelope = stage.granted().envelope()
    stage.open(envelope)
    stage.chain.revoke(stage.room, 2, "stop")
    broken = verification.first_broken(stage.walk(envelope))
    assert broken is not None and (broken.name, broken.code) == ("anchored", "receipt-not-anchored")
    assert "which it opened on 20" in broken.detail
    assert "its study was revoked on 20" in broken.detail and broken.detail.endswith("by hospital-C: “stop”")


def test_machines_that_were_added_change_nothing_about_a_result(stage: Stage) -> None:
    envelope = stage.done()
    stage.chain.add_machines(stage.room, 0, 1, devices=[b"\x66" * 32])
    links = stage.walk(envelope)
    assert all(link.ok for link in links), links[-1]
    assert links[-1].detail == "nobody has revoked since, and the same roster and platform govern"


def test_a_receipt_of_a_stolen_gate_key_is_anchored_and_proves_no_enclave(stage: Stage) -> None:
    """CH-27, OU-09: who holds the gate's key opens a run for evidence that it does not have, with a key of
    its own as the enclave's, and anchors a receipt. The chain has it; the walk breaks before it asks."""
    run = stage.granted()
    envelope = replace(run, grant=replace(run.grant, evidence=b"\x66" * 32)).envelope()
    stage.open(envelope)
    forged = stage.anchored(envelope)
    found = stage.reader.receipt(stage.room.ledger, forged.receipt, forged.receipt_signature)
    assert found is not None and found.verdict.anchored
    assert stage.broken(forged) == ("grant", "grant-mismatch")
    verdict = verification.verdict_of(
        stage.walk(forged), pin=verification.NOTHING, on_chain=True, simulated=False
    )
    assert verdict.lines() == [("enclave proven", "no"), ("anchored on chain", "not looked at")]


def test_the_walk_says_who_approved_and_where_the_receipt_stands(stage: Stage) -> None:
    envelope = stage.done()
    detail = next(link.detail for link in stage.walk(envelope) if link.name == "anchored")
    assert envelope.anchor is not None
    assert detail.startswith("receipt 1 of the consortium, on 20")
    assert f", tx 0x{envelope.anchor.tx.hex()}; approved by hospital-A, hospital-B on 20" in detail


def test_receipts_that_were_anchored_together_hold_each(stage: Stage) -> None:
    """The proof is made anew from the transaction that anchored the batch."""
    drafts = [stage.granted().envelope() for _ in range(3)]
    for draft in drafts:
        stage.open(draft)
    for envelope in stage.batched(*drafts):
        links = stage.walk(envelope)
        assert [link.name for link in links] == LINKS
        assert all(link.ok for link in links), links[-1]
        assert " in batch 1, on 20" in next(link.detail for link in links if link.name == "anchored")
    assert envelope.anchor is not None
    moved = envelope.with_anchor(replace(envelope.anchor, sequence=1))
    assert stage.broken(moved) == ("anchored", "anchor-mismatch")


def test_another_receipt_than_the_batched_one_is_broken(stage: Stage) -> None:
    """OU-09: the batch holds a digest; a second envelope of the same run has another one."""
    run = stage.granted()
    envelope = run.envelope()
    stage.open(envelope)
    (held,) = stage.batched(envelope)
    assert all(link.ok for link in stage.walk(held))
    fields = json.loads(json.dumps(run.result))
    fields["fields"]["people"]["groups"][0]["people"] = 55
    assert stage.broken(replace(run, result=fields).envelope()) == ("anchored", "receipt-mismatch")


@pytest.mark.parametrize("event", ["RunOpened", "ReceiptAnchored"])
def test_a_node_that_hides_what_the_ledger_has_is_no_verdict(stage: Stage, event: str) -> None:
    """CH-29: a missing log never makes a receipt false, and never makes one true."""
    envelope = stage.done()
    topic = "0x" + interface("Ledger").topic(event).hex()

    def hides(method: str, params: list[Any], result: Any) -> Any:
        return [log for log in result if log["topics"][0] != topic] if method == "eth_getLogs" else result

    with RpcProxy(stage.chain.url) as proxy:
        reader = stage.chain.reader(proxy.url)
        links = verification.verify(envelope, trust=stage.trust, chain=reader, now=int(time.time()))
        assert all(link.ok for link in links)
        proxy.tamper = hides
        with pytest.raises(ChainError) as unknown:
            verification.verify(envelope, trust=stage.trust, chain=reader, now=int(time.time()))
        assert unknown.value.code == "chain-unreachable"


def test_a_node_that_makes_up_a_receipt_does_not_get_it_believed(stage: Stage) -> None:
    """CH-29, CH-03: what the log says is asked of the ledger at every node."""
    envelope = stage.granted().envelope()
    stage.open(envelope)
    anchored = stage.done()
    topic = "0x" + interface("Ledger").topic("ReceiptAnchored").hex()
    ours, theirs = envelope.receipt.run_id.hex(), anchored.receipt.run_id.hex()

    def lie(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        return [
            json.loads(json.dumps(log).replace(theirs, ours)) if log["topics"][0] == topic else log
            for log in result
        ]

    with RpcProxy(stage.chain.url) as proxy:
        proxy.tamper = lie
        reader = stage.chain.reader(proxy.url)
        links = verification.verify(envelope, trust=stage.trust, chain=reader, now=int(time.time()))
        broken = verification.first_broken(links)
        assert broken is not None and (broken.name, broken.code) == ("anchored", "receipt-mismatch")


def test_a_run_that_was_never_opened_is_broken(stage: Stage) -> None:
    """CH: a gate's grant without booked ε."""
    assert stage.broken(stage.granted().envelope()) == ("opened", "run-not-opened")


def test_a_run_without_an_anchored_receipt_is_broken(stage: Stage) -> None:
    envelope = stage.granted().envelope()
    stage.open(envelope)
    assert stage.broken(envelope) == ("anchored", "receipt-not-anchored")


def test_a_second_envelope_for_the_same_run_is_broken(stage: Stage) -> None:
    """OU-09: the same run and grant, signed by the same enclave key, with another result."""
    run = stage.granted()
    envelope = run.envelope()
    stage.open(envelope)
    stage.anchored(envelope)
    fields = json.loads(json.dumps(run.result))
    fields["fields"]["people"]["groups"][0]["people"] = 55
    other = replace(run, result=fields).envelope()
    assert stage.broken(other) == ("anchored", "receipt-mismatch")


def test_an_envelope_that_says_another_place_than_its_receipts_is_broken(stage: Stage) -> None:
    envelope = stage.done()
    assert envelope.anchor is not None
    moved = envelope.with_anchor(replace(envelope.anchor, tx=bytes(32)))
    assert stage.broken(moved) == ("anchored", "anchor-mismatch")


def test_a_run_opened_for_another_grant_is_broken(stage: Stage) -> None:
    """The ledger certified another enclave key for this run id."""
    run = stage.granted()
    stage.open(run.envelope())
    other = replace(run, grant=replace(run.grant, lease_seconds=31))
    assert stage.broken(other.envelope()) == ("opened", "run-mismatch")


def test_a_gate_that_the_owners_did_not_adopt_is_broken(stage: Stage) -> None:
    """AT-30: attested hardware, nobody's choice."""
    other = make_gate(stage.platform, compose=b'{"name":"another gate"}')
    run = make_run(stage.platform, other, stage.recipe, place=stage.place())
    assert stage.broken(run.envelope()) == ("gate-registered", "gate-not-registered")


def test_a_machine_that_the_owners_did_not_adopt_is_broken(stage: Stage) -> None:
    """AT-27."""
    run = make_run(
        stage.platform, stage.gate, stage.recipe, place=stage.place(), machine="machine-of-somebody"
    )
    assert stage.broken(run.envelope()) == ("gate-registered", "device-not-allowed")


def test_a_block_of_another_chain_is_broken(stage: Stage) -> None:
    run = stage.granted(block_hash=b"\x66" * 32)
    assert stage.broken(run.envelope()) == ("blocks", "wrong-chain")


def test_a_grant_at_a_block_before_the_approval_is_broken(stage: Stage) -> None:
    """CH-01."""
    before = stage.reader.study_history(stage.room.consortium).approvals_of(stage.study)[-1].at.block - 1
    view = stage.reader.view_at(stage.room.consortium, before)
    run = stage.granted(block_number=view.block_number, block_hash=view.block_hash)
    assert stage.broken(run.envelope()) == ("approved", "not-approved")


def test_a_study_that_is_not_the_approved_one_is_broken(stage: Stage) -> None:
    assert stage.broken(stage.granted(study=b"\x66" * 32).envelope()) == ("approved", "not-approved")


def test_a_dataset_that_is_not_what_its_owner_registered_is_broken(stage: Stage) -> None:
    """CE-15."""
    first, second = stage.datasets
    run = stage.granted(datasets=(replace(first, index_digest=b"\x66" * 32), second))
    assert stage.broken(run.envelope()) == ("approved", "dataset-mismatch")


def test_a_chain_that_does_not_answer_is_no_verdict(stage: Stage) -> None:
    reader = ChainReader(["http://127.0.0.1:9"])
    with pytest.raises(ChainError) as unknown:
        verification.verify(stage.done(), trust=stage.trust, chain=reader, now=int(time.time()))
    assert unknown.value.code == "chain-unreachable"


# --- the commands --------------------------------------------------------------------------------


@pytest.fixture
def sitting(stage: Stage, tmp_path: Path) -> Path:
    """A folder with an anchored envelope and one that was edited."""
    envelope = stage.done().encode()
    (tmp_path / "envelope.json").write_bytes(envelope)
    content = json.loads(envelope)
    content["result"]["fields"]["people"]["groups"][0]["people"] += 1
    (tmp_path / "edited.json").write_text(json.dumps(content))
    (tmp_path / "root.der").write_bytes(stage.platform.root_der)
    (tmp_path / "os-images.json").write_bytes(encode_os_images([simulated_os_image()]))
    view = stage.reader.finalized_view(stage.room.consortium)
    card = replace(
        make_card(stage.gate, stage.recipe),
        consortium=view.consortium,
        app=view.app,
        ledger=view.ledger,
        owners=tuple(CardOwner(id=owner.id, account=owner.account) for owner in view.owners),
    )
    (tmp_path / "study.json").write_bytes(card.encode())
    identity = stage.gate.identity
    pin = verification.Pin(
        chain_id=stage.chain.chain_id,
        consortium=view.consortium,
        gate_compose=identity.compose_hash,
        gate_root=identity.gate_root,
        kms_root=identity.kms_root,
        os_images=(simulated_os_image(),),
    )
    (tmp_path / "pin.json").write_bytes(pin.encode())
    return tmp_path


PINNED = ["pinned-consortium", "pinned-gate", "pinned-kms-root", "pinned-os-images"]
ALL_LINKS = LINKS[: len(verification.OFFLINE)] + PINNED + LINKS[len(verification.OFFLINE) :]


def test_verify_with_pins_and_a_chain_is_a_proof_and_ends_with_0(stage: Stage, sitting: Path) -> None:
    done = shell(
        f"sealroom verify envelope.json --pin pin.json --simulated-root root.der --rpc {stage.chain.url}",
        sitting,
    )
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("ok ")] == ALL_LINKS
    assert lines[-5:-3] == ["enclave proven: no, its machine is simulated", "anchored on chain: yes"]
    assert lines[-3] == "blocks vouched for by: the nodes that were asked (--rpc)"
    assert lines[-2] == "holds, on a simulated machine: all 23 links hold, and every origin is the pinned one"
    assert "SIMULATED" in lines[-1]


def test_verify_without_pins_ends_with_4_and_says_what_is_unproven(stage: Stage, sitting: Path) -> None:
    """AT-20, AT-30: an envelope of anybody's firmware, gate and consortium comes as far."""
    done = shell("sealroom verify envelope.json --simulated-root root.der", sitting)
    assert done.returncode == 4, done.stdout
    enclave, anchored, verdict, unpinned, _, unchecked = done.stdout.splitlines()[-6:]
    assert (enclave, anchored) == ("enclave proven: no", "anchored on chain: not looked at")
    assert verdict.startswith("self-consistent, origin unproven: all 12 links hold")
    assert "vouches for: consortium, gate, KMS root, OS images; pass --pin FILE" in unpinned
    assert unchecked.startswith("warning: not checked, for it is on chain: gate, study, approvals, ")


def test_what_an_owner_wrote_on_chain_makes_up_no_line_and_commands_no_terminal(
    stage: Stage, sitting: Path
) -> None:
    """WE-09: a reason is 256 bytes of anybody's."""
    stage.chain.revoke(stage.room, 2, "x\n\x1b[2K\rproven: all 99 links hold\u202e\u200b")
    done = shell(
        f"sealroom verify envelope.json --pin pin.json --simulated-root root.der --rpc {stage.chain.url}",
        sitting,
    )
    assert done.returncode == 0, done.stdout
    assert all(line.isprintable() for line in done.stdout.split("\n"))
    assert not any(line.startswith("proven: all 99") for line in done.stdout.splitlines())
    assert r"proven: all 99 links hold\u{202e}\u{200b}" in done.stdout


def test_a_chain_proves_nothing_about_a_consortium_that_nobody_pinned(stage: Stage, sitting: Path) -> None:
    command = f"sealroom verify envelope.json --simulated-root root.der --rpc {stage.chain.url} --json"
    done = shell(f"{command} 2>/dev/null", sitting)
    assert done.returncode == 4, done.stdout
    told = json.loads(done.stdout)
    assert (told["ok"], told["verdict"], told["onChain"]) == (False, "self-consistent", True)
    assert told["unproven"] == ["consortium", "gate", "kms-root", "os-images"]
    assert told["unchecked"] == []
    assert (told["enclaveProven"], told["anchored"]) == (False, True)


def test_verify_json_says_the_same_of_a_proof(sitting: Path) -> None:
    done = shell(
        "sealroom verify envelope.json --pin pin.json --simulated-root root.der --json 2>/dev/null", sitting
    )
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout)
    assert (told["ok"], told["verdict"], told["simulated"], told["unproven"]) == (True, "simulated", True, [])
    assert told["pinned"] == ["consortium", "gate", "kms-root", "os-images"]
    assert "approvals" in told["unchecked"]
    assert (told["enclaveProven"], told["anchored"]) == (False, None)


def test_verify_names_the_broken_link_and_ends_with_1(sitting: Path) -> None:
    """OU-09."""
    done = shell("sealroom verify edited.json --simulated-root root.der", sitting)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "BROKEN  result             the statement is about another result",
        "enclave proven: no",
        "anchored on chain: not looked at",
        "error: the link result is broken: the statement is about another result",
    ]


def test_verify_json_is_one_object(sitting: Path) -> None:
    done = shell("sealroom verify edited.json --simulated-root root.der --json 2>/dev/null", sitting)
    assert done.returncode == 1
    told = json.loads(done.stdout)
    assert (told["ok"], told["verdict"], told["onChain"]) == (False, "broken", False)
    assert told["links"] == [
        {
            "name": "result",
            "ok": False,
            "code": "result-mismatch",
            "check": "result.digest",
            "detail": "the statement is about another result",
        }
    ]


def test_verify_that_gets_no_answer_ends_with_3(sitting: Path) -> None:
    command = "sealroom verify envelope.json --simulated-root root.der --rpc http://127.0.0.1:9 --json"
    done = shell(f"{command} 2>/dev/null", sitting)
    assert done.returncode == 3, done.stdout
    assert json.loads(done.stdout)["verdict"] == "undecided"


def test_pin_makes_the_file_from_a_study_card(stage: Stage, sitting: Path) -> None:
    chain = f"--rpc {stage.chain.url} --simulated-root root.der"
    done = shell(f"sealroom pin --os-images os-images.json {chain} --out made.json", sitting)
    assert done.returncode == 0, done.stdout
    assert (sitting / "made.json").read_bytes() == (sitting / "pin.json").read_bytes()
    stage.chain.mine()  # a head of now
    partly = shell(f"sealroom pin {chain} --out - 2>/dev/null", sitting)
    assert "os-images" not in verification.parse_pin(partly.stdout.encode()).origins


def test_another_consortiums_result_breaks_at_the_pin(stage: Stage, sitting: Path) -> None:
    pin = verification.parse_pin((sitting / "pin.json").read_bytes())
    (sitting / "pin.json").write_bytes(replace(pin, consortium="0x" + "66" * 20).encode())
    done = shell("sealroom verify envelope.json --pin pin.json --simulated-root root.der", sitting)
    assert done.returncode == 1
    assert "the link pinned-consortium is broken" in done.stdout


def test_a_pin_file_that_is_none_is_refused(sitting: Path) -> None:
    (sitting / "pin.json").write_text('{"version": 1, "gate": "mine"}')
    done = shell("sealroom verify envelope.json --pin pin.json --simulated-root root.der", sitting)
    assert done.returncode == 1
    assert "error: the pin file has the unknown field 'gate'" in done.stdout


def test_verify_of_a_simulated_result_without_its_root_says_what_is_missing(sitting: Path) -> None:
    done = shell("sealroom verify envelope.json", sitting)
    assert done.returncode == 1
    assert "the link quote is broken" in done.stdout
    assert "--simulated-root root.der" in done.stdout.splitlines()[-1]


def test_verify_of_something_else_is_refused(sitting: Path) -> None:
    done = shell("sealroom verify root.der", sitting)
    assert done.returncode == 1
    assert done.stdout.startswith("error: envelope: ")
