# SPDX-License-Identifier: Apache-2.0
"""Random walks over the real contracts through Ape, beside a model of a few lines.

The model says what each call must do, an exact refusal included. After each step contracts and model are
compared: the invariants I1 to I8 of the consortium, and those of registry and ledger. A walk begins in the
deployed consortium of three (conftest.Room) and ends by putting the chain back.

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
from eth_abi.abi import decode as abi_decode
from eth_utils.crypto import keccak
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from sealroom import typed
from sealroom.model import (
    AddMachines,
    ApproveStudy,
    Limits,
    Machines,
    Opening,
    Platform,
    PlatformProposal,
    Revoke,
    Run,
    Study,
    Validity,
    Vote,
)
from sealroom_agents.chain.contracts import interface
from tests.contracts.conftest import MICRO, Reverts, Room
from tests.contracts.test_signatures import key
from tests.contracts.test_story import GRANT_HASH, NOTE, receipt_of, signed

WALKS, STEPS = 3, 70
VARIABLE = "SEALROOM_STATEFUL"
THRESHOLD = 2
DAY_S, HOUR_S = 24 * 3600, 3600
ODD = 0.2
"""How often a step takes its unlikely turn."""
RECIPES = (b"\xc0" * 32, b"\xc1" * 32)
CAP = 3 * MICRO
"""What conftest sets: for life, for the consortium, and for a day."""

OFTEN = ("approve", "sign", "open", "anchor")
SELDOM = ("withdraw", "revoke", "relay", "unpin", "wait", "allow", "lifetime")
MOVES = 5 * OFTEN + 4 * ("open", "anchor") + SELDOM + 3 * ("adopt",) + 2 * ("machines",)
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

    pins: int
    live: Study | None = None
    """The study pinned last, until something ends it."""
    approvers: frozenset[int] = frozenset()
    """Owners who approved it."""
    recipe: bytes = bytes(32)
    """What the app allows."""
    vetoes: set[int] = field(default_factory=set)
    """Who revoked since the last pin."""
    lifted: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(3), 0))
    """How often each owner's veto was lifted."""
    comebacks: int = 0
    """Pins after a revocation."""
    approved: dict[bytes, set[int]] = field(default_factory=dict)
    withdrawn: dict[bytes, set[int]] = field(default_factory=dict)
    """By proposal. No revocation voids them; one for a study counts on its own basis only."""
    pending: tuple[PlatformProposal, Platform, Validity] | None = None
    """A platform that one owner voted for."""
    adopted: int = 0
    added: int = 0
    """Platforms adopted and machines added."""
    pinned: list[bytes] = field(default_factory=list)
    """Every study that ever was."""
    lifetime: dict[bytes, int] = field(default_factory=dict)
    limits: dict[bytes, Limits] = field(default_factory=dict)
    spent: dict[Any, Spent] = field(default_factory=dict)
    """By dataset, by dataset and day, and by study."""
    openings: list[Opening] = field(default_factory=list)
    anchored: list[bytes] = field(default_factory=list)
    """Run ids, in the order of their receipts."""
    refused: int = 0
    """Runs that were passed over while others opened."""
    digests: tuple[bytes, bytes, bytes] = (b"", b"", b"")
    """Charter, standing and basis as the chain has them."""


def walker(room: Room, reverts: Reverts, models: list[Model]) -> type[RuleBasedStateMachine]:
    """The state machine over this consortium. It leaves the model of each walk in `models`."""
    contract, ledger, app = room.contract, room.ledger, room.app
    people = (*room.owners, room.stranger)
    holder = {
        dataset: next(n for n in (0, 1) if ledger.datasetOf(dataset).holder == people[n].address)
        for dataset in room.datasets
    }

    class Walk(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.before = ape.chain.snapshot()
            # The ledger counts by days: no midnight may come between a look at the time and a transaction.
            left = DAY_S - int(ape.chain.pending_timestamp) % DAY_S
            if left < HOUR_S:
                ape.chain.mine(timestamp=int(ape.chain.pending_timestamp) + left)
            # Ape forgets types when it puts the chain back, and could then not name an error.
            for one in (contract, ledger, app, room.lens):
                ape.chain.contracts[one.address] = one.contract_type
            self.model = Model(pins=room.state().nonce)
            self.model.lifetime = dict.fromkeys(room.datasets, CAP)
            limits = Limits(epsilon_micro=CAP, delta_pico=0, epsilon_per_day=CAP, runs_per_day=10)
            self.model.limits = dict.fromkeys(room.datasets, limits)
            self.model.digests = self._digests()
            self.studies: list[Study] = []
            self.drawn = self.steps = 0

        def teardown(self) -> None:
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
            charter, standing, basis = getattr(self, move)(who, draw.randrange(100), odd) or (False,) * 3
            before, self.model.digests = self.model.digests, self._digests()
            changed = tuple(old != new for old, new in zip(before, self.model.digests, strict=True))
            assert changed == (charter, standing, basis)

        def approve(self, who: int, pick: int, odd: bool) -> None:
            """By a transaction; oddly of a study that was there before."""
            study = self._study(pick, stale=odd)
            with self._refusal(self._unfit(study) or who_is_no_owner(who) or self._no_vote(study.id, who)):
                contract.approve(study.solidity(), [], sender=people[who])
                self._count(study, {who})

        def sign(self, who: int, pick: int, odd: bool) -> None:
            """A stranger hands in what owners signed; oddly what it signed itself in their place."""
            study = self._study(pick)
            voices = ({0, 1}, {0, 1}, {0, 1, 2}, {0, 2}, {pick % 3})[pick // 3 % 5]
            votes = [ApproveStudy(owner=self._account(n), study=study) for n in self._order(voices)]
            by = [self._signed(vote, forged=odd) for vote in votes]
            refused = self._unfit(study) or self._bad_batch(study.id, voices, forged=odd)
            with self._refusal(refused):
                contract.approve(study.solidity(), by, sender=room.stranger)
                self._count(study, voices)

        def withdraw(self, who: int, pick: int, odd: bool) -> None:
            """Oddly from what is live, or from a platform."""
            study = self.model.live if odd and self.model.live else self._study(pick)
            proposal = study.id
            if odd and pick % 2 and self.model.pending:
                proposal = self.model.pending[0].id
            refused = who_is_no_owner(who) or self._barred(proposal, who)
            live = self.model.live
            if not refused and live and proposal == live.id and self._lives(live):
                refused = contract.ConsortiumNothingToWithdraw, {"proposal": proposal}
            with self._refusal(refused):
                contract.withdraw(proposal, sender=people[who])
                self.model.approved.get(proposal, set()).discard(who)
                self.model.withdrawn.setdefault(proposal, set()).add(who)

        def revoke(self, who: int, pick: int, odd: bool) -> Any:
            """I2: nothing but not being an owner refuses it."""
            who = pick % 4
            with self._refusal(who_is_no_owner(who)):
                contract.revoke("stop", sender=people[who])
                return self._stop(who)

        def relay(self, who: int, pick: int, odd: bool) -> Any:
            """The stranger hands in a signed revocation; oddly one for another return."""
            who = pick % 3
            returns = self.model.lifted[who] + odd
            by = self._signed(Revoke(owner=self._account(who), reason="stop", returns=returns), forged=False)
            refused = None
            if who in self.model.vetoes:
                refused = contract.ConsortiumVetoStands, {"owner": people[who].address}
            elif odd:
                refused = contract.ConsortiumBadSignature, {"signer": people[who].address}
            with self._refusal(refused):
                contract.revokeWithSignature("stop", by, sender=room.stranger)
                return self._stop(who)

        def adopt(self, who: int, pick: int, odd: bool) -> Any:
            """The first vote waits for a second, whatever happens in between (I3)."""
            who = pick % 3
            if self.model.pending and self._is_over(self.model.pending[2].expiry):
                self.model.pending = None
            if self.model.pending is None:
                platform = Platform(
                    gate_root=self._fresh(),
                    gate_signer=room.gate.address.lower(),
                    gate_compose=self._fresh(),
                    policy_hash=self._fresh(),
                    os_images=(),
                    devices=room.platform.devices,
                )
                validity = self._validity(contract.charter())
                self.model.pending = platform.under(validity), platform, validity
            proposal, platform, validity = self.model.pending
            with self._refusal(self._no_vote(proposal.id, who)):
                contract.adoptPlatform(platform.solidity(), validity.solidity(), [], sender=people[who])
                approved = self.model.approved.setdefault(proposal.id, set())
                approved.add(who)
                if len(approved) < THRESHOLD:
                    return None
                self.model.pending = None
                self.model.adopted += 1
                self.model.live, self.model.recipe = None, bytes(32)
                return True, True, True

        def machines(self, who: int, pick: int, odd: bool) -> Any:
            """It takes a quorum, and all who approved what is live; and it ends nothing."""
            machines = Machines(os_images=(self._fresh(),), devices=())
            validity = self._validity(contract.charter())
            proposal = machines.under(validity)
            voices = ({0, 1}, {0, 1, 2}, {0, 2}, {pick % 3})[pick // 3 % 4]
            votes = [AddMachines(owner=self._account(n), machines=proposal) for n in self._order(voices)]
            by = [self._signed(vote, forged=False) for vote in votes]
            contract.addMachines(machines.solidity(), validity.solidity(), by, sender=room.stranger)
            required = self.model.approvers if self._lives(self.model.live) else frozenset()
            if len(voices) < THRESHOLD or not required <= voices:
                return None
            self.model.added += 1
            # The same signatures add nothing a second time.
            first = people[self._order(voices)[0]].address
            with reverts(contract.ConsortiumWithdrawn, proposal=proposal.id, owner=first):
                contract.addMachines(machines.solidity(), validity.solidity(), by, sender=room.stranger)
            return False, False, True

        def unpin(self, who: int, pick: int, odd: bool) -> None:
            idle = self.model.recipe != bytes(32) and not self._lives(self.model.live)
            with self._refusal(None if idle else (contract.ConsortiumNothingToUnpin, {})):
                contract.unpin(sender=people[who])
                self.model.recipe = bytes(32)

        def wait(self, who: int, pick: int, odd: bool) -> None:
            """A study ends after thirty days."""
            days = 40 if odd else 1
            ape.chain.mine(timestamp=ape.chain.blocks.head.timestamp + days * DAY_S)

        def allow(self, who: int, pick: int, odd: bool) -> None:
            """Oddly less than is spent, which stops it."""
            dataset = room.datasets[pick % 2]
            limits = Limits(
                epsilon_micro=MICRO if odd else 5 * MICRO,
                delta_pico=0,
                epsilon_per_day=(1 + pick % 3) * MICRO,
                runs_per_day=1 + pick % 4,
            )
            with self._refusal(self._is_not_holder(dataset, who)):
                ledger.allow(dataset, contract, limits.solidity(), sender=people[who])
                self.model.limits[dataset] = limits

        def lifetime(self, who: int, pick: int, odd: bool) -> None:
            """Oddly so low that it may be below what is spent."""
            dataset = room.datasets[pick % 2]
            cap = 0 if odd else 8 * MICRO
            refused = self._is_not_holder(dataset, who)
            if not refused and cap < self._spent(dataset).epsilon:
                refused = ledger.RegistryCapBelowSpent, {"dataset": dataset}
            with self._refusal(refused):
                ledger.setLifetime(dataset, cap, 0, sender=people[who])
                self.model.lifetime[dataset] = cap

        def open(self, who: int, pick: int, odd: bool) -> None:
            """One run or two; oddly the last is one that was opened before."""
            study = self.model.live or self._study(pick)
            runs = [self._run((1 + pick % 2) * MICRO) for _ in range(1 + pick // 2 % 2)]
            if odd and self.model.openings:
                runs[-1] = self._run(MICRO, self.model.openings[-1].run.run_id)
            call = [run.solidity() for run in runs]
            if not (study == self.model.live and self._lives(study)):
                with reverts(ledger.LedgerStudyNotLive, study=study.id):
                    ledger.open(contract, study.solidity(), call, NOTE, sender=room.gate)
                return
            refusals = []
            for run in runs:
                refused = self._not_open(study, run)
                refusals.append(refused)
                if refused is None:
                    self._book(study, run)
            with self._refusal(refusals[0] if all(refusals) else None):
                done = ledger.open(contract, study.solidity(), call, NOTE, sender=room.gate)
                self._compare_openings(done, runs, refusals)

        def anchor(self, who: int, pick: int, odd: bool) -> None:
            """Oddly with a signature that is not the enclave's."""
            if not self.model.openings:
                return
            opening = self.model.openings[-1 - pick % len(self.model.openings)]
            for one in self.model.openings:
                # Mostly one that can be anchored.
                fresh = one.run.run_id not in self.model.anchored and one.standing == self.model.digests[1]
                if fresh and pick % 3:
                    opening = one
            receipt = receipt_of(room, opening)
            signature = signed(room, receipt)
            if odd:
                message = typed.receipt(receipt, chain_id=room.chain_id, ledger=ledger.address.lower())
                signature = typed.sign(message, key(room.stranger))
            refused: Any = None
            run = {"runId": opening.run.run_id}
            if opening.run.run_id in self.model.anchored:
                refused = ledger.LedgerReceiptExists, run
            elif opening.standing != self.model.digests[1]:
                fields = {"given": opening.standing, "current": self.model.digests[1]}
                refused = ledger.LedgerStanding, fields
            elif odd:
                refused = ledger.LedgerBadSignature, run | {"signer": room.enclave.address}
            with self._refusal(refused):
                ledger.anchor(receipt.solidity(), opening.solidity(), signature, sender=people[who])
                self.model.anchored.append(opening.run.run_id)

        # --- what must be true after each step ------------------------------------------------

        @invariant()
        def the_consortium_is_as_the_model_says(self) -> None:
            model, state = self.model, room.state()
            assert state.live == self._lives(model.live)  # I1, I2
            if model.live:
                assert state.study == model.live.id
                assert set(state.approvals) == {self._account(n) for n in model.approvers}
            assert state.nonce == model.pins
            assert set(state.revokers) == {self._account(n) for n in model.vetoes}  # I4
            assert state.compose_hash == model.recipe
            for recipe in RECIPES:  # I5
                assert app.allowedComposeHashes(recipe) == (recipe == model.recipe)
            assert (state.threshold, len(state.owners)) == (THRESHOLD, 3)
            assert len(set(model.pinned)) == len(model.pinned) == model.pins  # I8

        @invariant()
        def the_votes_are_as_the_model_says(self) -> None:
            proposals = [study.id for study in self.studies[-1:] if study != self.model.live]
            if self.model.pending:  # I3
                proposals.append(self.model.pending[0].id)
            for proposal in proposals:
                shown = room.lens.pending(contract, proposal)
                voices = self.model.approved.get(proposal, set())
                assert set(shown.approved) == {people[n].address for n in voices}

        @invariant()
        def the_books_are_as_the_model_says(self) -> None:
            model = self.model
            for dataset in holder:
                account, allowance = ledger.accountOf(dataset), ledger.allowanceOf(dataset, contract)
                spent, limits = self._spent(dataset), model.limits[dataset]
                assert (account.epsilonCap, account.epsilonSpent) == (model.lifetime[dataset], spent.epsilon)
                assert spent.epsilon <= model.lifetime[dataset]
                assert (allowance.epsilonCap, allowance.epsilonSpent) == (limits.epsilon_micro, spent.epsilon)
                today = self._spent((dataset, allowance.day))
                assert (allowance.epsilonToday, allowance.runsToday) == (today.epsilon, today.runs)
            books = ledger.books(contract)
            assert (books.runs, books.receipts) == (len(model.openings), len(model.anchored))
            for opening in model.openings[-1:]:
                assert ledger.isAnchored(contract, opening.number) == (opening.run.run_id in model.anchored)

        # --- the model's rules ----------------------------------------------------------------

        def _count(self, study: Study, voices: set[int]) -> None:
            """Pins the study once k owners and each required one approved (I1, I4)."""
            approved = self.model.approved.setdefault(study.id, set())
            approved |= voices
            required = {holder[dataset] for dataset in study.datasets} | self.model.vetoes
            if len(approved) >= THRESHOLD and required <= approved:
                self.model.live, self.model.approvers = study, frozenset(approved)
                self.model.recipe = study.compose_hash
                self.model.pins += 1
                self.model.pinned.append(study.id)
                self.model.comebacks += bool(self.model.vetoes)
                for who in self.model.vetoes:
                    self.model.lifted[who] += 1
                self.model.vetoes = set()
                del self.model.approved[study.id]

        def _stop(self, who: int) -> tuple[bool, bool, bool]:
            self.model.vetoes.add(who)
            self.model.live, self.model.recipe = None, bytes(32)
            return False, True, True

        def _is_over(self, expiry: int) -> bool:
            return expiry <= int(ape.chain.pending_timestamp)

        def _lives(self, study: Study | None) -> bool:
            return study is not None and not self._is_over(study.expiry)

        def _unfit(self, study: Study) -> Any:
            """Why nobody can approve this study now."""
            basis = self.model.digests[2]
            if study.basis != basis:
                return contract.ConsortiumStale, {"given": study.basis, "current": basis}
            if study.nonce != self.model.pins:
                return contract.ConsortiumNonceMismatch, {"given": study.nonce, "current": self.model.pins}
            return None

        def _barred(self, proposal: bytes, who: int) -> Any:
            fields = {"proposal": proposal, "owner": people[who].address}
            barred = who in self.model.withdrawn.get(proposal, ())
            return (contract.ConsortiumWithdrawn, fields) if barred else None

        def _no_vote(self, proposal: bytes, who: int) -> Any:
            fields = {"proposal": proposal, "owner": people[who].address}
            again = who in self.model.approved.get(proposal, ())
            return self._barred(proposal, who) or (
                (contract.ConsortiumAlreadyApproved, fields) if again else None
            )

        def _bad_batch(self, proposal: bytes, voices: set[int], forged: bool) -> Any:
            """The first signer who stands in the way, if any does."""
            for who in self._order(voices):
                if barred := self._barred(proposal, who):
                    return barred
                if forged and who not in self.model.approved.get(proposal, ()):
                    return contract.ConsortiumBadSignature, {"signer": people[who].address}
            return None

        def _is_not_holder(self, dataset: bytes, who: int) -> Any:
            fields = {"account": people[who].address, "dataset": dataset}
            return None if holder[dataset] == who else (ledger.RegistryNotHolder, fields)

        def _not_open(self, study: Study, run: Run) -> Any:
            """Why the ledger opens no such run, in the order of its checks."""
            name, wanted = study.id, run.epsilon_micro
            if any(opening.run.run_id == run.run_id for opening in self.model.openings):
                return ledger.LedgerRunExists, {"runId": run.run_id}
            spent = self._spent(name)
            if spent.runs >= study.max_runs:
                return ledger.LedgerRunsExhausted, {"study": name, "maxRuns": study.max_runs}
            if wanted > (left := study.epsilon_micro - spent.epsilon):
                fields = {"study": name, "kind": 1, "wanted": wanted, "left": left}
                return ledger.LedgerStudyExceeds, fields
            for dataset in study.datasets:
                used, today = self._spent(dataset), self._spent((dataset, self._day()))
                limits = self.model.limits[dataset]
                for kind, cap, gone in (
                    (1, self.model.lifetime[dataset], used.epsilon),
                    (3, limits.epsilon_micro, used.epsilon),
                    (5, limits.epsilon_per_day, today.epsilon),
                ):
                    if wanted > (left := max(cap - gone, 0)):
                        fields = {"dataset": dataset, "kind": kind, "wanted": wanted, "left": left}
                        return ledger.RegistryExceeds, fields
                if today.runs >= limits.runs_per_day:
                    return ledger.RegistryExceeds, {"dataset": dataset, "kind": 6, "wanted": 1, "left": 0}
            return None

        def _book(self, study: Study, run: Run) -> None:
            names: list[Any] = [study.id, *study.datasets]
            names += [(dataset, self._day()) for dataset in study.datasets]
            for name in names:
                spent = self._spent(name)
                spent.epsilon += run.epsilon_micro
                spent.runs += 1

        def _compare_openings(self, done: Any, runs: list[Run], refusals: list[Any]) -> None:
            """The events tell of each run that was opened, and why each other was not."""
            told = [
                found
                for log in done.logs
                if (
                    found := interface("Ledger").decode_log(
                        [bytes(t) for t in log["topics"]], bytes(log["data"])
                    )
                )
            ]
            opened = [Opening.of_abi(fields["opening"]) for name, fields in told if name == "RunOpened"]
            assert [one.run for one in opened] == [
                run for run, refused in zip(runs, refusals, strict=True) if refused is None
            ]
            for one in opened:
                self.model.openings.append(one)
                assert one.number == len(self.model.openings)
            why = [bytes(fields["why"]) for name, fields in told if name == "RunRefused"]
            expected = [refused for refused in refusals if refused]
            assert len(why) == len(expected)
            self.model.refused += len(why)
            for data, (error, fields) in zip(why, expected, strict=True):
                assert data[:4] == keccak(text=error.abi.selector)[:4]
                kinds = [item.canonical_type for item in error.abi.inputs]
                names = [item.name for item in error.abi.inputs]
                assert dict(zip(names, abi_decode(kinds, data[4:]), strict=True)) == fields

        # --- helpers --------------------------------------------------------------------------

        def _digests(self) -> tuple[bytes, bytes, bytes]:
            return bytes(contract.charter()), bytes(contract.standing()), bytes(contract.basis())

        def _day(self) -> int:
            return int(ape.chain.pending_timestamp) // DAY_S

        def _fresh(self) -> bytes:
            self.drawn += 1
            return self.drawn.to_bytes(32, "big")

        def _validity(self, follows: Any) -> Validity:
            return Validity(expiry=ape.chain.pending_timestamp + 300 * DAY_S, follows=bytes(follows))

        def _account(self, who: int) -> str:
            return str(people[who].address).lower()

        def _order(self, voices: set[int]) -> list[int]:
            return sorted(voices, key=lambda n: int(people[n].address, 16))

        def _study(self, pick: int, *, stale: bool = False) -> Study:
            """One that can be approved, proposed anew if there is none; or any that has not expired."""
            usable = [study for study in self.studies if self._lives(study)]
            fit = [study for study in usable if stale or not self._unfit(study)]
            if not fit:
                data = (room.datasets, room.datasets[:1], room.datasets[1:])[pick % 3]
                study = room.study(
                    compose_hash=RECIPES[pick % 2],
                    datasets=data,
                    versions=(0,) * len(data),
                    output_hash=self._fresh(),
                    max_runs=3,
                )
                fit = [study]
                self.studies += fit
            return fit[-1 - pick % len(fit)]

        def _run(self, epsilon_micro: int, run_id: bytes | None = None) -> Run:
            return Run(
                run_id=run_id or self._fresh(),
                epsilon_micro=epsilon_micro,
                delta_pico=0,
                enclave_signer=str(room.enclave.address).lower(),
                grant_hash=GRANT_HASH,
                open_before=ape.chain.pending_timestamp + DAY_S,
            )

        def _spent(self, name: Any) -> Spent:
            return self.model.spent.setdefault(name, Spent())

        def _signed(self, vote: Vote, *, forged: bool) -> tuple[str, bytes]:
            """An owner's signature; forged: the stranger's."""
            account = next(one for one in people if str(one.address).lower() == vote.owner)
            message = typed.vote(vote, chain_id=room.chain_id, consortium=room.address.lower())
            return account.address, typed.sign(message, key(room.stranger if forged else account))

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
    """I1 to I8, the registry's and the ledger's, over random walks; and these walks come everywhere."""
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
    assert sum(len(model.openings) for model in models) > 2
    assert sum(len(model.anchored) for model in models) > 0
    assert sum(model.adopted for model in models) > 0
    assert sum(model.added for model in models) > 0
