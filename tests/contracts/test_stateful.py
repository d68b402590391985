# SPDX-License-Identifier: Apache-2.0
"""Random walks over the real contracts through Ape, beside a model of a few lines.

The model says what each call must do, an exact refusal included. After each step contracts and model are
compared: the invariants I1 to I8 of the consortium, and those of the ledger. A walk begins in the deployed
consortium of three (conftest.Room) and ends by putting the chain back.

The default is small and the same at every run; SEALROOM_STATEFUL=200 draws that many random walks instead.
"""

from __future__ import annotations

import os
import random
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import ape
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from sealroom import typed
from sealroom.model import Opening, Platform, Study
from tests.contracts.conftest import MICRO, Reverts, Room
from tests.contracts.test_signatures import key
from tests.contracts.test_story import Run, receipt_of, signed

WALKS, STEPS = 3, 30
VARIABLE = "SEALROOM_STATEFUL"
THRESHOLD = 2
DAY_S = 24 * 3600
ODD = 0.2
"""How often a step takes its unlikely turn."""
RECIPES = (b"\xc0" * 32, b"\xc1" * 32)
CAP = (3 * MICRO, 0, 10)
"""What conftest sets: ε, δ, runs."""

OFTEN = ("approve", "sign", "open", "anchor")
SELDOM = ("withdraw", "revoke", "revoke", "adopt", "unpin", "wait", "set_cap")
MOVES = 4 * OFTEN + SELDOM
"""What may happen; what ends things must leave time for them to begin."""
PEOPLE = (0, 0, 0, 1, 1, 1, 2, 2, 3)
"""Three owners, of whom the first two have data, and a stranger."""


@dataclass
class Spent:
    epsilon: int = 0
    runs: int = 0


@dataclass
class Model:
    """What must be true, as plain data."""

    epoch: int
    pins: int
    active: Study | None = None
    approvers: frozenset[int] = frozenset()
    """Owners who approved the active study."""
    recipe: bytes = bytes(32)
    """What the app allows."""
    revokers: set[int] = field(default_factory=set)
    """Who revoked since the last pin."""
    last_revoker: int | None = None
    comebacks: int = 0
    """Pins after a revocation."""
    approved: dict[bytes, set[int]] = field(default_factory=dict)
    withdrawn: dict[bytes, set[int]] = field(default_factory=dict)
    """By proposal; both of this epoch."""
    pinned: list[bytes] = field(default_factory=list)
    """Every study that ever was."""
    caps: dict[bytes, tuple[int, int, int]] = field(default_factory=dict)
    spent: dict[bytes, Spent] = field(default_factory=dict)
    """By dataset, and by study."""
    openings: list[Opening] = field(default_factory=list)
    anchored: list[bytes] = field(default_factory=list)
    """Run ids, in the order of their receipts."""

    def end_epoch(self) -> None:
        self.epoch += 1
        self.active, self.recipe = None, bytes(32)
        self.approved.clear()
        self.withdrawn.clear()


def walker(room: Room, reverts: Reverts, models: list[Model]) -> type[RuleBasedStateMachine]:
    """The state machine over this consortium. It leaves the model of each walk in `models`."""
    contract, ledger, app = room.contract, room.ledger, room.app
    people = (*room.owners, room.stranger)
    holder = dict(zip(room.datasets, (0, 1), strict=True))

    class Walk(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.before = ape.chain.snapshot()
            # Ape forgets types when it puts the chain back, and could then not name an error.
            for one in (contract, ledger, app):
                ape.chain.contracts[one.address] = one.contract_type
            self.model = Model(epoch=contract.epoch(), pins=contract.pinCount())
            self.model.caps = dict.fromkeys(room.datasets, CAP)
            self.studies: list[Study] = []
            self.drawn = self.steps = 0

        def teardown(self) -> None:
            for dataset, number in holder.items():  # I6
                assert contract.dataset(dataset).owner == people[number].address
            models.append(self.model)
            ape.chain.restore(self.before)

        # --- what may happen ------------------------------------------------------------------

        @rule(seed=st.integers(0, 2**32 - 1))
        def step(self, seed: int) -> None:
            """One rule for all: Hypothesis leaves whole rules out of a walk, and these need each other.

            It also repeats itself, so it gives a number only, from which each step draws anew.
            """
            self.steps += 1
            draw = random.Random(f"{seed} {self.steps}")
            move, who, odd = draw.choice(MOVES), draw.choice(PEOPLE), draw.random() < ODD
            getattr(self, move)(who, draw.randrange(100), odd)

        def approve(self, who: int, pick: int, odd: bool) -> None:
            """By a transaction; oddly of a study that was there before."""
            study = self._study(pick, stale=odd)
            with self._refusal(self._unfit(study) or who_is_no_owner(who) or self._no_vote(study, who)):
                contract.approve(study.solidity(), sender=people[who])
                self._count(study, {who})

        def sign(self, who: int, pick: int, odd: bool) -> None:
            """A stranger hands in what owners signed; oddly what it signed itself in their place."""
            study = self._study(pick)
            voices = ({0, 1}, {0, 1}, {0, 1, 2}, {0, 2}, {pick % 3})[pick // 3 % 5]
            order = sorted(voices, key=lambda n: int(people[n].address, 16))
            signatures = [self._approval(study, n, key(people[3 if odd else n])) for n in order]
            names = [people[n].address for n in order]
            with self._refusal(self._unfit(study) or self._bad_batch(study, order, forged=odd)):
                contract.approveWithSignatures(study.solidity(), names, signatures, sender=room.stranger)
                self._count(study, voices)

        def withdraw(self, who: int, pick: int, odd: bool) -> None:
            """Oddly from what is active."""
            study = self.model.active if odd and self.model.active else self._study(pick)
            proposal = study.id
            refused = who_is_no_owner(who)
            if not refused and study == self.model.active:
                refused = contract.ConsortiumNothingToWithdraw, {"proposal": proposal}
            with self._refusal(refused or self._barred(proposal, who)):
                contract.withdraw(proposal, sender=people[who])
                self.model.approved.get(proposal, set()).discard(who)
                self.model.withdrawn.setdefault(proposal, set()).add(who)

        def revoke(self, who: int, pick: int, odd: bool) -> None:
            """I2: nothing but not being an owner refuses it."""
            who = pick % 4
            with self._refusal(who_is_no_owner(who)):
                contract.revoke("stop", sender=people[who])
                self.model.end_epoch()
                self.model.revokers.add(who)
                self.model.last_revoker = who

        def adopt(self, who: int, pick: int, odd: bool) -> None:
            """Two owners make the quorum; oddly one alone does not, however often."""
            first, second = who % 3, who % 3 if odd else (who + 1) % 3
            platform = Platform(
                gate_root=self._fresh(),
                gate_signer=room.gate.address,
                gate_compose=self._fresh(),
                os_images=(),
                devices=room.platform.devices,
            )
            proposal = platform.at(self.model.epoch).id
            contract.adoptPlatform(platform.solidity(), sender=people[first])
            again = {"proposal": proposal, "owner": people[first].address}
            with self._refusal((contract.ConsortiumAlreadyApproved, again) if odd else None):
                contract.adoptPlatform(platform.solidity(), sender=people[second])
                self.model.end_epoch()

        def unpin(self, who: int, pick: int, odd: bool) -> None:
            idle = self.model.recipe != bytes(32) and not self._live(self.model.active)
            with self._refusal(None if idle else (contract.ConsortiumNothingToUnpin, {})):
                contract.unpin(sender=people[who])
                self.model.active, self.model.recipe = None, bytes(32)

        def wait(self, who: int, pick: int, odd: bool) -> None:
            """A study ends after thirty days."""
            days = 40 if odd else 1
            ape.chain.mine(timestamp=ape.chain.blocks.head.timestamp + days * DAY_S)

        def set_cap(self, who: int, pick: int, odd: bool) -> None:
            """Oddly so low that it may be below what is spent."""
            dataset = room.datasets[pick % 2]
            cap = (0, 0, 0) if odd else (5 * MICRO, 0, 9)
            spent = self._spent(dataset)
            refused = None
            if holder[dataset] != who:
                fields: dict[str, Any] = {"account": people[who].address, "dataset": dataset}
                refused = ledger.LedgerNotDatasetOwner, fields
            elif cap[0] < spent.epsilon:
                fields = {"dataset": dataset, "kind": 1, "cap": cap[0], "spent": spent.epsilon}
                refused = ledger.LedgerCapBelowSpent, fields
            with self._refusal(refused):
                ledger.setCap(contract, dataset, cap, sender=people[who])
                self.model.caps[dataset] = cap

        def open(self, who: int, pick: int, odd: bool) -> None:
            """Oddly a run that was opened before."""
            study = self.model.active or self._study(pick)
            before = odd and self.model.openings
            run_id = self.model.openings[-1].run.run_id if before else self._fresh()
            run = Run(room, study, run_id=run_id, epsilon_micro=(1 + pick % 2) * MICRO)
            with self._refusal(self._not_open(study, run)):
                opening = run.open()
                assert opening.number == len(self.model.openings) + 1
                self.model.openings.append(opening)
                for name in (study.id, *study.datasets):
                    spent = self._spent(name)
                    spent.epsilon += run.epsilon_micro
                    spent.runs += 1

        def anchor(self, who: int, pick: int, odd: bool) -> None:
            """Oddly with a signature that is not the enclave's."""
            if not self.model.openings:
                return
            opening = self.model.openings[-1 - pick % len(self.model.openings)]
            receipt = receipt_of(room, opening)
            signature = signed(room, receipt)
            if odd:
                message = typed.receipt(receipt, chain_id=room.chain_id, ledger=ledger.address.lower())
                signature = typed.sign(message, key(room.stranger))
            refused: Any = None
            run = {"runId": opening.run.run_id}
            if opening.run.run_id in self.model.anchored:
                refused = ledger.LedgerReceiptExists, run
            elif opening.run.epoch != self.model.epoch:
                fields = run | {"epoch": opening.run.epoch, "current": self.model.epoch}
                refused = ledger.LedgerRunRevoked, fields
            elif odd:
                refused = ledger.LedgerBadSignature, run | {"signer": room.enclave.address}
            with self._refusal(refused):
                ledger.anchor(receipt.solidity(), opening.solidity(), signature, sender=people[who])
                self.model.anchored.append(opening.run.run_id)

        # --- what must be true after each step ------------------------------------------------

        @invariant()
        def the_consortium_is_as_the_model_says(self) -> None:
            model, state = self.model, contract.state()
            active = model.active.id if model.active else bytes(32)
            voices = sorted(model.approvers) if model.active else []
            assert bytes(state.activeStudy) == active  # I1, I2
            assert state.approvals == [people[n].address for n in voices]
            assert state.live == self._live(model.active)
            assert (state.epoch, state.nonce) == (model.epoch, model.pins)  # I3
            revoker = model.last_revoker
            assert state.revokedBy == (
                people[revoker].address if revoker is not None else ape.utils.ZERO_ADDRESS
            )
            assert bytes(state.composeHash) == model.recipe
            for recipe in RECIPES:  # I5
                assert app.allowedComposeHashes(recipe) == (recipe == model.recipe)
            assert (state.threshold, len(state.owners)) == (THRESHOLD, 3)  # I7
            assert len(set(model.pinned)) == len(model.pinned) == model.pins  # I8

        @invariant()
        def the_votes_are_as_the_model_says(self) -> None:
            for study in self.studies[-1:]:
                if study != self.model.active:
                    proposal = study.id
                    voices = sorted(self.model.approved.get(proposal, ()))
                    assert contract.approvals(proposal) == [people[n].address for n in voices]

        @invariant()
        def the_books_are_as_the_model_says(self) -> None:
            model = self.model
            for dataset in holder:
                budget, spent, cap = (
                    ledger.budget(contract, dataset),
                    self._spent(dataset),
                    model.caps[dataset],
                )
                assert (budget.epsilonCap, budget.runCap) == (cap[0], cap[2])
                assert (budget.epsilonSpent, budget.runs) == (spent.epsilon, spent.runs)
                assert spent.epsilon <= cap[0] and spent.runs <= cap[2]
            assert ledger.runCount(contract) == len(model.openings)
            assert ledger.receiptCount(contract) == len(model.anchored)
            for opening in model.openings[-1:]:
                assert ledger.isAnchored(contract, opening.number) == (opening.run.run_id in model.anchored)

        # --- the model's rules ----------------------------------------------------------------

        def _count(self, study: Study, voices: set[int]) -> None:
            """Pins the study once k owners and each required one approved (I1, I4)."""
            proposal = study.id
            approved = self.model.approved.setdefault(proposal, set())
            approved |= voices
            required = {holder[dataset] for dataset in study.datasets} | self.model.revokers
            if len(approved) >= THRESHOLD and required <= approved:
                self.model.active, self.model.approvers = study, frozenset(approved)
                self.model.recipe = study.compose_hash
                self.model.pins += 1
                self.model.pinned.append(proposal)
                self.model.comebacks += bool(self.model.revokers)
                self.model.revokers, self.model.last_revoker = set(), None
                del self.model.approved[proposal]

        def _live(self, study: Study | None) -> bool:
            return study is not None and study.expiry > ape.chain.pending_timestamp

        def _unfit(self, study: Study) -> Any:
            """Why nobody can approve this study now."""
            if study.epoch != self.model.epoch:
                return contract.ConsortiumEpochMismatch, {"given": study.epoch, "current": self.model.epoch}
            if study.nonce != self.model.pins:
                return contract.ConsortiumNonceMismatch, {"given": study.nonce, "current": self.model.pins}
            return None

        def _barred(self, proposal: bytes, who: int) -> Any:
            fields = {"proposal": proposal, "owner": people[who].address}
            barred = who in self.model.withdrawn.get(proposal, ())
            return (contract.ConsortiumWithdrawn, fields) if barred else None

        def _no_vote(self, study: Study, who: int) -> Any:
            proposal = study.id
            fields = {"proposal": proposal, "owner": people[who].address}
            again = who in self.model.approved.get(proposal, ())
            return self._barred(proposal, who) or (
                (contract.ConsortiumAlreadyApproved, fields) if again else None
            )

        def _bad_batch(self, study: Study, order: list[int], forged: bool) -> Any:
            """The first signer who stands in the way, if any does."""
            proposal = study.id
            for who in order:
                if barred := self._barred(proposal, who):
                    return barred
                if forged and who not in self.model.approved.get(proposal, ()):
                    return contract.ConsortiumBadSignature, {"signer": people[who].address}
            return None

        def _not_open(self, study: Study, run: Run) -> Any:
            """Why the ledger opens no such run, in the order of its checks."""
            name, wanted = study.id, run.epsilon_micro
            if any(opening.run.run_id == run.run_id for opening in self.model.openings):
                return ledger.LedgerRunExists, {"runId": run.run_id}
            if study != self.model.active or not self._live(study):
                return ledger.LedgerStudyNotLive, {"study": name}
            spent = self._spent(name)
            if spent.runs >= study.max_runs:
                return ledger.LedgerRunsExhausted, {"study": name, "maxRuns": study.max_runs}
            if wanted > (left := study.epsilon_micro - spent.epsilon):
                fields = {"study": name, "kind": 1, "wanted": wanted, "left": left}
                return ledger.LedgerStudyBudgetExceeded, fields
            for dataset in study.datasets:
                spent, cap = self._spent(dataset), self.model.caps[dataset]
                if wanted > (left := cap[0] - spent.epsilon):
                    fields = {"dataset": dataset, "kind": 1, "wanted": wanted, "left": left}
                    return ledger.LedgerDatasetBudgetExceeded, fields
                if spent.runs >= cap[2]:
                    fields = {"dataset": dataset, "kind": 3, "wanted": 1, "left": 0}
                    return ledger.LedgerDatasetBudgetExceeded, fields
            return None

        # --- helpers --------------------------------------------------------------------------

        def _fresh(self) -> bytes:
            self.drawn += 1
            return self.drawn.to_bytes(32, "big")

        def _study(self, pick: int, *, stale: bool = False) -> Study:
            """One that can be approved, proposed anew if there is none; or any that has not expired."""
            usable = [study for study in self.studies if self._live(study)]
            fit = [study for study in usable if stale or not self._unfit(study)]
            if not fit:
                data = (room.datasets, room.datasets[:1], room.datasets[1:])[pick % 3]
                fit = [
                    room.study(
                        compose_hash=RECIPES[pick % 2], datasets=data, output_hash=self._fresh(), max_runs=3
                    )
                ]
                self.studies += fit
                contract.propose(fit[0].solidity(), sender=room.owners[2])
            return fit[-1 - pick % len(fit)]

        def _spent(self, name: bytes) -> Spent:
            return self.model.spent.setdefault(name, Spent())

        def _approval(self, study: Study, owner: int, secret: bytes) -> bytes:
            where: dict[str, Any] = {"chain_id": room.chain_id, "consortium": room.address.lower()}
            return typed.sign(
                typed.approve_study(study, owner=people[owner].address.lower(), **where), secret
            )

        def _refusal(self, refused: Any) -> AbstractContextManager[None]:
            """The call inside succeeds, or is refused exactly so."""
            if refused is None:
                return nullcontext()
            error, fields = refused
            return reverts(error, **fields)

    def who_is_no_owner(who: int) -> Any:
        return (contract.ConsortiumNotOwner, {"account": people[who].address}) if who == 3 else None

    return Walk


@pytest.mark.slow
def test_the_contracts_do_what_the_model_says(room: Room, reverts: Reverts) -> None:
    """I1 to I8, and the ledger's, over random walks; and these walks come everywhere."""
    walks = os.environ.get(VARIABLE)
    profile = settings(
        max_examples=int(walks) if walks else WALKS,
        stateful_step_count=STEPS,
        derandomize=not walks,
        database=None,
        deadline=None,
        # Making a walk that failed shorter takes many more of them: only where somebody waits for it.
        phases=tuple(Phase) if walks else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    models: list[Model] = []
    run_state_machine_as_test(walker(room, reverts, models), settings=profile)
    assert sum(model.pins for model in models) > 5
    assert sum(model.comebacks for model in models) > 0
    assert sum(len(model.openings) for model in models) > 1
    assert sum(len(model.anchored) for model in models) > 0
