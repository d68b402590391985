# SPDX-License-Identifier: Apache-2.0
"""Each single check that asks the chain carries weight, on a real chain.

A twin of the real reader answers as the chain does but for one thing, or the envelope's anchor says one thing
else: one check refuses that by its code, and with this check alone switched off the walk holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from tests.agents.staged import Stage, make_stage
from tests.agents.test_verification_checks import names, without
from tests.local_chain import LocalChain

from sealroom.envelope import Envelope
from sealroom.model import Opening, Study
from sealroom_agents import verification
from sealroom_agents.chain import ChainReader, FoundReceipt, Head
from sealroom_agents.facts import ChainView, DatasetRecord
from sealroom_agents.verification import Findings, Link, Step

pytestmark = pytest.mark.anvil

OTHER = b"\x66" * 32
OTHER_ADDRESS = "0x" + "66" * 20


class Twin:
    """The chain as it is, but for what it was told to say else."""

    def __init__(
        self,
        reader: ChainReader,
        *,
        chain_id: int | None = None,
        view: Callable[[ChainView], ChainView] = lambda view: view,
        found: Callable[[FoundReceipt], FoundReceipt | None] = lambda found: found,
        behind_s: int = 0,
    ) -> None:
        self._reader, self._chain_id, self._view, self._found = reader, chain_id, view, found
        self._behind_s = behind_s

    def chain_id(self) -> int:
        return self._reader.chain_id() if self._chain_id is None else self._chain_id

    def newest(self) -> Head:
        head = self._reader.newest()
        return replace(head, timestamp=head.timestamp - self._behind_s)

    def view_at(self, consortium: str, block: int) -> ChainView:
        return self._view(self._reader.view_at(consortium, block))

    def receipt(self, *arguments: Any, **options: Any) -> FoundReceipt | None:
        found = self._reader.receipt(*arguments, **options)
        assert found is not None
        return self._found(found)

    def study_history(self, *arguments: Any, **options: Any) -> Any:
        return self._reader.study_history(*arguments, **options)

    def approvals_in(self, *arguments: Any, **options: Any) -> frozenset[str]:
        return self._reader.approvals_in(*arguments, **options)


@dataclass(frozen=True)
class Lie:
    """What one check alone refuses."""

    code: str
    """What it says."""
    chain: dict[str, Any] | None = None
    """How the twin differs from the chain."""
    anchor: Callable[[Envelope], Envelope] = lambda envelope: envelope
    """How the envelope's anchor differs."""
    off: Callable[[Stage, Envelope], Callable[[Findings], None]] | None = None
    """What stands in for a check that also finds facts."""


@dataclass(frozen=True)
class Set:
    stage: Stage
    envelope: Envelope


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    """A study that was approved, run and anchored; nothing here changes it."""
    with LocalChain.start() as chain:
        stage = make_stage(chain, tmp_path_factory.mktemp("stage"))
        yield Set(stage, stage.done())


def viewed(code: str, **changes: Any) -> Lie:
    """The chain's state says something else."""
    return Lie(code, {"view": lambda view: replace(view, **changes)})


def platform(code: str, **changes: Any) -> Lie:
    return Lie(code, {"view": lambda view: replace(view, platform=replace(view.platform, **changes))})


def study(code: str, **changes: Any) -> Lie:
    """Another content under the same id, or the same under another: a chain whose hashes do not hold."""

    def changed(truth: Study) -> Study:
        contents = {name: value for name, value in changes.items() if name != "id"}
        made = replace(truth, **contents)
        vars(made)["id"] = changes.get("id", truth.id)
        return made

    return Lie(code, {"view": lambda view: replace(view, study=changed(view.study))})


def dataset(code: str, **changes: Any) -> Lie:
    """Of the first dataset."""
    return of_first(code, lambda record: replace(record, **changes))


def of_version(code: str, **changes: Any) -> Lie:
    """Of the version of the first dataset."""
    return of_first(code, lambda record: replace(record, version=replace(record.version, **changes)))


def of_first(code: str, change: Callable[[DatasetRecord], DatasetRecord]) -> Lie:
    def changed(view: ChainView) -> ChainView:
        return replace(view, datasets=(change(view.datasets[0]), *view.datasets[1:]))

    return Lie(code, {"view": changed})


def opening(**changes: Any) -> Lie:
    """The run was opened for something else."""
    return Lie(
        "run-mismatch", {"found": lambda found: replace(found, opening=reopened(found.opening, changes))}
    )


def reopened(opening: Opening, changes: dict[str, Any]) -> Opening:
    of_run = {name: value for name, value in changes.items() if name in vars(opening.run)}
    rest = {name: value for name, value in changes.items() if name not in of_run}
    return replace(opening, run=replace(opening.run, **of_run), **rest)


def anchored(**changes: Any) -> Lie:
    """The envelope says another place."""

    def moved(envelope: Envelope) -> Envelope:
        assert envelope.anchor is not None
        return envelope.with_anchor(replace(envelope.anchor, **changes))

    return Lie("anchor-mismatch", anchor=moved)


def approvals(change: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> Lie:
    """The envelope lists other approvals."""

    def listed(envelope: Envelope) -> Envelope:
        assert envelope.anchor is not None
        return envelope.with_anchor(replace(envelope.anchor, approvals=change(envelope.anchor.approvals)))

    return Lie("approval-mismatch", anchor=listed)


def seen(stage: Stage, envelope: Envelope) -> Callable[[Findings], None]:
    """Takes the state as it is, whatever block the twin names."""

    def off(found: Findings) -> None:
        found.view = stage.reader.view_at(envelope.statement.consortium, envelope.grant.block_number)

    return off


def found(stage: Stage, envelope: Envelope) -> Callable[[Findings], None]:
    def off(findings: Findings) -> None:
        real = stage.reader.receipt(envelope.grant.ledger, envelope.receipt, envelope.receipt_signature)
        assert real is not None
        findings.receipt = real

    return off


LIES: dict[str, Lie] = {
    "chain.id": Lie("wrong-chain", {"chain_id": 1}),
    "chain.block": replace(viewed("wrong-chain", block_hash=OTHER), off=seen),
    "chain.time": viewed("grant-mismatch", block_time=1),
    "chain.app": viewed("app-id-mismatch", app=OTHER_ADDRESS),
    "chain.ledger": viewed("ledger-mismatch", ledger=OTHER_ADDRESS),
    "platform.gate-root": platform("gate-not-registered", gate_root=OTHER),
    "platform.gate-signer": platform("gate-not-registered", gate_signer=OTHER_ADDRESS),
    "platform.gate-compose": platform("gate-not-registered", gate_compose=OTHER),
    "platform.policy": platform("gate-not-registered", policy_hash=OTHER),
    "platform.os-image": platform("os-image-not-allowed", os_images=(OTHER,)),
    "platform.device": platform("device-not-allowed", devices=(OTHER,)),
    "study.live": viewed("not-approved", live=False),
    "study.id": study("not-approved", id=OTHER),
    "study.standing": viewed("standing-mismatch", standing=OTHER),
    "study.recipe": study("not-approved", compose_hash=OTHER),
    "study.output": study("not-approved", output_hash=OTHER),
    "study.privacy": study("not-approved", privacy_hash=OTHER),
    "study.datasets": study("not-approved", datasets=(OTHER, OTHER)),
    "dataset.owner": dataset("dataset-mismatch", holder_id="hospital-Z"),
    "dataset.name": dataset("dataset-mismatch", name="cohort-Z"),
    "dataset.header": of_version("dataset-mismatch", header=OTHER),
    "dataset.index": of_version("dataset-mismatch", index=OTHER),
    "dataset.approved": dataset("owner-not-approved", holder=OTHER_ADDRESS),
    "run.opened": Lie("run-not-opened", {"found": lambda found: None}, off=found),
    "run.consortium": opening(consortium=OTHER_ADDRESS),
    "run.study": opening(study=OTHER),
    "run.recipe": opening(compose_hash=OTHER),
    "run.epsilon": opening(epsilon_micro=1),
    "run.delta": opening(delta_pico=1),
    "run.standing": opening(standing=OTHER),
    "run.enclave": opening(enclave_signer=OTHER_ADDRESS),
    "run.grant": opening(grant_hash=OTHER),
    "run.after-grant": opening(opened_at=1),
    "receipt.this": Lie(
        "receipt-mismatch",
        {"found": lambda found: replace(found, verdict=replace(found.verdict, anchored=False))},
    ),
    "anchor.tx": anchored(tx=OTHER),
    "anchor.block": anchored(block=10**6),
    "anchor.sequence": anchored(sequence=7),
    "approvals.owners": approvals(lambda listed: (*listed, replace(listed[0], owner=OTHER_ADDRESS))),
    "approvals.transactions": approvals(
        lambda listed: (replace(listed[0], tx=listed[1].tx), replace(listed[1], tx=listed[0].tx))
    ),
    "approvals.quorum": approvals(lambda listed: listed[:1]),
}
"""By the name of the check; three more have a test of their own below."""
APART = {"study.quorum", "receipt.anchored", "chain.newest"}


def walk(settled: Set, chain: Twin, envelope: Envelope, links: Sequence[Step]) -> list[Link]:
    return verification.verify(
        envelope, trust=settled.stage.trust, chain=chain, now=int(time.time()), links=links
    )


def test_there_is_a_lie_for_every_check_on_chain() -> None:
    assert sorted(LIES.keys() | APART) == sorted(names(verification.ON_CHAIN))


def test_the_true_envelope_holds(settled: Set) -> None:
    links = walk(settled, Twin(settled.stage.reader), settled.envelope, verification.steps(on_chain=True))
    assert all(link.ok for link in links), links[-1]


@pytest.mark.parametrize("name", LIES)
def test_a_check_alone_refuses_its_lie(settled: Set, name: str) -> None:
    """CH-01 to CH-07, CH-27, AT-27, OU-09: switched off, the lie would hold."""
    lie = LIES[name]
    envelope = lie.anchor(settled.envelope)
    chain = Twin(settled.stage.reader, **(lie.chain or {}))
    steps = verification.steps(on_chain=True)
    broken = verification.first_broken(walk(settled, chain, envelope, steps))
    assert broken is not None, "nothing refuses it"
    assert (broken.check, broken.code) == (name, lie.code)
    off = None if lie.off is None else lie.off(settled.stage, envelope)
    if name == "approvals.owners":
        # An account that never approved has no transaction that brought its approval either.
        steps = tuple(without(steps, "approvals.transactions", None))
    links = walk(settled, chain, envelope, without(steps, name, off))
    assert all(link.ok for link in links), links[-1]


def test_fewer_approvals_than_the_threshold_are_refused(settled: Set) -> None:
    """CH-17: three were needed, two had approved; without the check, the list of approvals still says so."""
    chain = Twin(settled.stage.reader, view=lambda view: replace(view, threshold=3))
    steps = verification.steps(on_chain=True)
    envelope = replace(settled.envelope, anchor=None)
    broken = verification.first_broken(walk(settled, chain, envelope, steps))
    assert broken is not None and (broken.check, broken.code) == ("study.quorum", "not-approved")
    links = walk(settled, chain, envelope, without(steps, "study.quorum", None))
    assert all(link.ok for link in links), links[-1]


def test_a_receipt_that_stands_nowhere_is_refused(settled: Set) -> None:
    chain = Twin(settled.stage.reader, found=lambda found: replace(found, anchoring=None))
    steps = verification.steps(on_chain=True)
    envelope = replace(settled.envelope, anchor=None)
    broken = verification.first_broken(walk(settled, chain, envelope, steps))
    assert broken is not None and (broken.check, broken.code) == ("receipt.anchored", "receipt-not-anchored")
    links = walk(settled, chain, envelope, without(steps, "receipt.anchored", None))
    assert all(link.ok for link in links), links[-1]


def test_nodes_that_stand_still_are_not_asked_what_happened_since(settled: Set) -> None:
    """CH-04: an hour is the most that they may lie behind, and the link says so."""
    steps = verification.steps(on_chain=True)
    for behind_s, unsaid in ((0, ()), (2 * 3600, ("revocation",))):
        links = walk(settled, Twin(settled.stage.reader, behind_s=behind_s), settled.envelope, steps)
        assert all(link.ok for link in links), links[-1]
        assert links[-1].unsaid == unsaid
        assert links[-1].detail.endswith("what came after is not known") == bool(unsaid)


def test_a_seat_that_moved_between_pin_and_run_breaks_nothing(settled: Set) -> None:
    """The envelope lists accounts as they were when they approved; the grant's block has the new holder."""
    assert settled.envelope.anchor is not None
    old = settled.envelope.anchor.approvals[1].owner

    def now(account: str) -> str:
        return OTHER_ADDRESS if account == old else account

    def moved(view: ChainView) -> ChainView:
        return replace(
            view,
            owners=tuple(replace(owner, account=now(owner.account)) for owner in view.owners),
            approvals=tuple(map(now, view.approvals)),
            datasets=tuple(replace(one, holder=now(one.holder)) for one in view.datasets),
        )

    chain = Twin(settled.stage.reader, view=moved)
    links = walk(settled, chain, settled.envelope, verification.steps(on_chain=True))
    assert all(link.ok for link in links), links[-1]


def test_an_approval_by_signature_is_found_in_the_transaction_that_handed_it_in(settled: Set) -> None:
    """Each listed transaction says whose approvals it brought; one that does not exist brought none."""
    anchor, stated = settled.envelope.anchor, settled.envelope.statement
    assert anchor is not None
    for approval in anchor.approvals:
        brought = settled.stage.reader.approvals_in(stated.consortium, stated.study, approval.tx)
        assert approval.owner in brought
    assert settled.stage.reader.approvals_in(stated.consortium, stated.study, OTHER) == frozenset()
    assert settled.stage.reader.approvals_in(stated.consortium, OTHER, anchor.approvals[0].tx) == frozenset()
