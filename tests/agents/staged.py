# SPDX-License-Identifier: Apache-2.0
"""The small study on a real chain: registered, approved, and ready to be granted, opened and anchored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.agents.worked import (
    STUDY_YAML,
    Place,
    WorkedGate,
    WorkedRun,
    fresh_platform,
    make_gate,
    make_run,
    render_recipe,
)
from tests.local_chain import Dataset, LocalChain, Room

from sealroom import typed
from sealroom.envelope import Anchor, Approval, Envelope, StatementDataset
from sealroom.model import Opening, Run
from sealroom.recipe import parse as parse_recipe
from sealroom_agents import verification
from sealroom_agents.attestation import TrustRoot
from sealroom_agents.chain import ChainReader, Transactor, TxResult
from sealroom_agents.chain.contracts import interface
from sealroom_agents.simulator import SIMULATED_OS_IMAGE, SimulatedPlatform

OWNERS = ("hospital-A", "hospital-B", "hospital-C")


@dataclass
class Stage:
    """A chain with one consortium, and what can be done there."""

    chain: LocalChain
    reader: ChainReader
    platform: SimulatedPlatform
    gate: WorkedGate
    recipe: bytes
    room: Room
    datasets: tuple[StatementDataset, ...]
    study: bytes

    @property
    def trust(self) -> TrustRoot:
        return self.platform.trust()

    def place(self, **changes: Any) -> Place:
        """What the finalized block says now."""
        view = self.reader.finalized_view(self.room.consortium)
        return Place(
            **{
                "consortium": view.consortium,
                "app": view.app,
                "ledger": view.ledger,
                "study": self.study,
                "standing": view.standing,
                "block_number": view.block_number,
                "block_hash": view.block_hash,
                "datasets": self.datasets,
                **changes,
            }
        )

    def granted(self, **changes: Any) -> WorkedRun:
        """A run that the gate grants, not opened yet."""
        return make_run(self.platform, self.gate, self.recipe, place=self.place(**changes))

    def open(self, envelope: Envelope) -> None:
        """Book the run, as the gate does before it releases keys."""
        Transactor(self.chain.url, self.gate.signer_key).open_runs(
            envelope.grant.ledger,
            envelope.receipt.consortium,
            self.chain.study(self.study),
            [self.run(envelope)],
            note=envelope.grant.audit_head,
        )

    def open_together(self, envelopes: Sequence[Envelope]) -> None:
        """Book several runs in one transaction, in one block with all that waits."""
        chain, signer = self.chain, self.gate.identity.signer
        runs = [self.run(envelope).solidity() for envelope in envelopes]
        call = interface("Ledger").encode(
            "open", self.room.consortium, chain.study(self.study).solidity(), runs, bytes(32)
        )
        chain.rpc("anvil_impersonateAccount", signer)
        sent = {"from": signer, "to": self.room.ledger, "data": "0x" + call.hex(), "gas": hex(3_000_000)}
        chain.rpc("eth_sendTransaction", sent)
        chain.mine()

    def run(self, envelope: Envelope) -> Run:
        """What the ledger opens for it."""
        receipt = envelope.receipt
        return Run(
            run_id=receipt.run_id,
            epsilon_micro=receipt.epsilon_micro,
            delta_pico=receipt.delta_pico,
            enclave_signer=envelope.grant.enclave_signer,
            grant_hash=receipt.grant_hash,
            open_before=self.chain.head_time() + 600,
        )

    def anchored(self, envelope: Envelope) -> Envelope:
        """Anchor the receipt, as the runner does, and say where it stands."""
        sent = Transactor(self.chain.url, self.gate.signer_key).anchor(
            envelope.grant.ledger, envelope.receipt, self.opening(envelope), envelope.receipt_signature
        )
        event = sent.event("ReceiptAnchored")
        assert event is not None
        return self.placed(envelope, sent, event["sequence"])

    def batched(self, *envelopes: Envelope) -> list[Envelope]:
        """Anchor several receipts at once, as the gate does, and say where each stands."""
        openings = [self.opening(envelope) for envelope in envelopes]
        sent = Transactor(self.chain.url, self.gate.signer_key).anchor_batch(
            self.room.ledger,
            self.room.consortium,
            standing=openings[0].standing,
            numbers=[opening.number for opening in openings],
            digests=[
                typed.digest(
                    typed.receipt(envelope.receipt, chain_id=self.chain.chain_id, ledger=self.room.ledger)
                )
                for envelope in envelopes
            ],
        )
        event = sent.event("BatchAnchored")
        assert event is not None
        return [self.placed(one, sent, event["first"] + n) for n, one in enumerate(envelopes)]

    def opening(self, envelope: Envelope) -> Opening:
        """How the ledger opened the run."""
        found = self.reader.receipt(self.room.ledger, envelope.receipt, envelope.receipt_signature)
        assert found is not None
        return found.opening

    def placed(self, envelope: Envelope, sent: TxResult, sequence: int) -> Envelope:
        """The envelope with its anchor."""
        return envelope.with_anchor(
            Anchor(
                chain_id=self.chain.chain_id,
                ledger=envelope.grant.ledger,
                tx=bytes.fromhex(sent.tx[2:]),
                block=sent.block_number,
                sequence=sequence,
                approvals=self.approvals(envelope),
            )
        )

    def approvals(self, envelope: Envelope) -> tuple[Approval, ...]:
        """Who approved its study."""
        history = self.reader.study_history(self.room.consortium)
        return tuple(
            Approval(owner=one.owner, tx=bytes.fromhex(one.at.tx[2:]))
            for one in history.approvals_of(envelope.receipt.study)
        )

    def done(self) -> Envelope:
        """A run opened, emitted and anchored."""
        envelope = self.granted().envelope()
        self.open(envelope)
        return self.anchored(envelope)

    def walk(self, envelope: Envelope) -> list[verification.Link]:
        """All links, on chain too."""
        return verification.verify(envelope, trust=self.trust, chain=self.reader, now=int(time.time()))

    def broken(self, envelope: Envelope) -> tuple[str, str | None]:
        """Name and code of the first broken link."""
        link = verification.first_broken(self.walk(envelope))
        assert link is not None, "every link holds"
        return link.name, link.code


def make_stage(chain: LocalChain, folder: Path, *, runs: int = 3, study_yaml: str = STUDY_YAML) -> Stage:
    """Three owners adopt a gate, two of them register what it reads, two approve it for so many runs."""
    platform = fresh_platform()
    gate = make_gate(platform)
    recipe = render_recipe(folder / "recipe", study=study_yaml)
    parsed = parse_recipe(recipe)
    room = chain.create_consortium(OWNERS, threshold=2)
    chain.adopt_platform(
        room,
        gate_root=gate.identity.gate_root,
        gate_signer=gate.identity.signer,
        gate_compose=gate.identity.compose_hash,
        policy_hash=gate.identity.policy_hash,
        os_images=[SIMULATED_OS_IMAGE],
        devices=[platform.machine().device_id],
    )
    stated = []
    for number, spec in enumerate(parsed.datasets):
        dataset = Dataset(owner=number, name=spec.name)
        chain.register(room, dataset, cap_micro=1_500_000 * runs)
        stated.append(
            StatementDataset(
                id=dataset.id,
                owner=spec.owner,
                name=spec.name,
                header=dataset.header,
                index_digest=dataset.index,
            )
        )
    stated.sort(key=lambda dataset: dataset.id)
    study = chain.draft(
        room,
        compose_hash=parsed.compose_hash,
        datasets=[dataset.id for dataset in stated],
        output_hash=parsed.output_hash,
        privacy_hash=parsed.privacy_hash,
        epsilon_micro=1_500_000 * runs,
        max_runs=runs,
    )
    chain.approve(room, study, 0, 1)
    chain.finalize()
    chain.fund(gate.identity.signer)
    return Stage(chain, chain.reader(), platform, gate, recipe, room, tuple(stated), study)
