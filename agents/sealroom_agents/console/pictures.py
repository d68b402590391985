# SPDX-License-Identifier: Apache-2.0
"""What the pages show, as records: a consortium, its studies, the votes beside them, its runs.

`sealroom_agents.console.studies` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sealroom.model import Owner, Study
from sealroom.recipe import Recipe
from sealroom_agents.chain import LogPosition
from sealroom_agents.chain.owner_events import Proposal, Revocation
from sealroom_agents.chain.run_events import ReceiptAnchoring, RunOpening
from sealroom_agents.closing import closing
from sealroom_agents.console.earlier import Earlier
from sealroom_agents.facts import ChainView, DatasetRecord
from sealroom_agents.store import Notice, Observation, Run

WORDED = frozenset(
    {
        "compose_hash",
        "output_hash",
        "privacy_hash",
        "datasets",
        "epsilon_micro",
        "delta_pico",
        "max_runs",
        "expiry",
        "versions",
        "basis",
        "nonce",
    }
)
"""Fields of a study that the page tells in words of its own."""
STATUS = ("declared", "forming", "live", "revoked")


def needs(threshold: int, readers: int) -> str:
    """How many approvals a study takes, in words. readers: how many owners hold data that it reads, each of
    whom must approve. The page's script says the same (`face/decide/checks.ts`)."""
    return f"{threshold}, and each whose data is read: {readers}" if readers else str(threshold)


@dataclass(frozen=True)
class Vote:
    """One owner beside one study."""

    owner: Owner
    """Who."""
    approved: bool
    """Whether the approval counts."""
    withdrawn: bool
    """Whether the owner took it back, or barred it before it was given."""
    required: bool
    """Whether the study cannot be pinned without it: its data is used, or it revoked."""
    tx: str | None
    """Transaction of the approval, or of the withdrawal that came after it."""
    block: int | None
    """Its block."""


def noes_of(votes: Sequence[Vote]) -> dict[str, bool]:
    """Who said no, and whether the proposal cannot take effect without that owner."""
    return {one.owner.id: one.required for one in votes if one.withdrawn}


@dataclass(frozen=True)
class GoverningPicture:
    """A roster, a platform or machines that wait for votes."""

    id: bytes
    """Id of the proposal, 32 bytes: the EIP-712 hash of its content."""
    kind: str
    """`roster`, `platform` or `machines`."""
    lines: tuple[tuple[str, str], ...]
    """Label and value of all that it says."""
    votes: tuple[Vote, ...]
    """Every owner; `required` for those without whom it cannot take effect."""
    needed: int
    """Votes that it takes."""
    expiry: int
    """Unix seconds from which its votes no longer count."""
    removes: tuple[str, ...]
    """Ids of the owners who would lose their seats."""
    at: LogPosition
    """Where it was proposed."""

    @property
    def approved(self) -> tuple[str, ...]:
        """Ids of the owners who signed."""
        return tuple(one.owner.id for one in self.votes if one.approved)

    @property
    def required(self) -> tuple[str, ...]:
        """Ids of those without whom it cannot take effect."""
        return tuple(one.owner.id for one in self.votes if one.required)

    @property
    def missing(self) -> tuple[str, ...]:
        """Ids of those who have not, those who said no among them."""
        return tuple(one.owner.id for one in self.votes if not one.approved)

    @property
    def refused(self) -> tuple[str, ...]:
        """Ids of those who said no."""
        return tuple(one.owner.id for one in self.votes if one.withdrawn)

    @property
    def closed_by(self) -> tuple[str, ...]:
        """Ids of owners by whose no it cannot take effect any more; empty where it still can."""
        return closing(noes_of(self.votes), len(self.votes), self.needed)


@dataclass(frozen=True)
class StudyPicture:
    """One proposed study."""

    study: Study
    """Its content, as the owners approve it."""
    state: str
    """`pending`, `live`, `expired`, `stopped` (by a revocation) or `past`."""
    recipe: Recipe | None
    """The recipe, when its bytes were handed in."""
    votes: tuple[Vote, ...]
    """Every owner, approved or not."""
    readers: int
    """How many owners hold data that it reads: each must approve."""
    proposal: Proposal | None
    """Who approved it first, and so proposed it; `None` where the first approval pinned it."""
    runs: int
    """Runs opened."""
    spent_micro: int
    """Budget booked by them, micro-epsilon."""
    spent_pico: int
    """δ booked by them, pico-delta."""

    @property
    def content(self) -> dict[str, Any]:
        """The content as JSON for the page that approves it: hashes as hex, numbers as text."""
        return {name: _as_text(value) for name, value in self.study.to_json().items()}

    @property
    def further(self) -> list[tuple[str, str]]:
        """Label and value of the fields that the page has no words of its own for, so that none is hidden."""
        return [
            (part.label[0].upper() + part.label[1:], part.kind.text(getattr(self.study, part.attribute)))
            for part in self.study.parts()
            if part.attribute not in WORDED
        ]

    @property
    def uses(self) -> tuple[tuple[bytes, int], ...]:
        """Id and version of each dataset; version 0 is the newest when a run opens."""
        return tuple(zip(self.study.datasets, self.study.versions, strict=True))

    def needs(self, threshold: int) -> str:
        """How many approvals it takes, in words."""
        return needs(threshold, self.readers)

    def closed_by(self, threshold: int) -> tuple[str, ...]:
        """Ids of owners by whose no it cannot be pinned any more, as it waits; empty where it still can."""
        if self.state != "pending":
            return ()
        return closing(noes_of(self.votes), len(self.votes), threshold)

    @property
    def approved(self) -> int:
        """How many owners have approved."""
        return sum(one.approved for one in self.votes)


@dataclass(frozen=True)
class RunPicture:
    """One run: what the ledger opened, joined with what this database knows."""

    id: str
    opened: RunOpening | None
    """Its entry in the ledger; `None` before the gate opened it, and when it never did."""
    receipt: ReceiptAnchoring | None
    run: Run | None
    """Its row here; `None` when it was submitted elsewhere."""


@dataclass(frozen=True)
class AnchoredPicture:
    """What the chain says of a run's receipt."""

    sequence: int
    """Number of the receipt among those of the consortium; 0 if it is not anchored."""
    anchored_at: int
    """When it was anchored, unix seconds."""
    approved_by: tuple[str, ...]
    """Owners who approved the study."""
    since: str
    """What happened since, in words."""


@dataclass(frozen=True)
class Picture:
    """One consortium with all that the pages show of it."""

    chain_id: int
    view: ChainView
    """State at the newest block."""
    status: str
    """One of `STATUS`."""
    records: int
    """Registered rows of all datasets."""
    grades: tuple[tuple[str, str], ...]
    """Criterion and grade."""
    current: StudyPicture | None
    """The study to speak of: the live one, else the waiting one with most approvals (of several, the oldest;
    one that can still be pinned before one that cannot), else the one that was stopped. No later proposal can
    take its place by being later."""
    pending: tuple[StudyPicture, ...]
    """Proposals that wait for approvals, each study once, newest first: of each owner the newest few."""
    waiting: int
    """How many studies wait in all."""
    confirmed: tuple[str, ...]
    """Accounts of the owners who did something here with their own account or signature; to register data is
    such an act, too."""
    governing: tuple[GoverningPicture, ...]
    """Rosters, platforms and machines that wait for votes, newest first."""
    notices: tuple[Notice, ...]
    """What an owner should know of at once, newest first."""
    datasets: tuple[DatasetRecord, ...]
    """Datasets of the current study in the versions that it uses; without one, those that owners offer."""
    runs: tuple[RunPicture, ...]
    """Newest first."""
    receipts: int
    """How many receipts are anchored."""
    revocations: tuple[Revocation, ...]
    """Logs of revocations, oldest first."""
    observations: tuple[Observation, ...]
    """What the watcher saw."""
    final: int
    """The newest final block; what is above it may still change."""
    fault: str = ""
    """Why a later look at the consortium brought nothing; empty where it did."""
    earlier: tuple[Earlier, ...] = ()
    """Studies that were pinned last, and that each owner approved last, newest first."""
    chosen: bool = False
    """Whether the reader asked for this very study."""
    drawn: dict[str, str] = field(default_factory=dict, init=False, compare=False, repr=False)
    """What was made of it, by what that is: kept with it."""

    @property
    def open(self) -> tuple[StudyPicture, ...]:
        """Of the proposals that wait those that can still be pinned."""
        return tuple(one for one in self.pending if not one.closed_by(self.view.threshold))

    @property
    def must_choose(self) -> bool:
        """Whether several proposals wait and the reader has not said which one is meant."""
        return not self.chosen and len(self.pending) > 1

    def of(self, study: StudyPicture, datasets: tuple[DatasetRecord, ...]) -> Picture:
        """The same, to speak of the study that a reader asked for. datasets: those of that study."""
        return replace(self, current=study, datasets=datasets, chosen=True)

    def owner_id(self, account: str | None) -> str:
        """Name of an owner's account, or the account."""
        if account is None:
            return ""
        return next((owner.id for owner in self.view.owners if owner.account == account), account)

    def vote(self, account: str) -> Vote | None:
        """An owner beside the current study."""
        found = self.current.votes if self.current else ()
        return next((one for one in found if one.owner.account == account), None)

    def pinned_version(self, dataset: DatasetRecord) -> bool:
        """Whether the current study names this very version, rather than the newest."""
        return self.current is not None and (dataset.id, dataset.number) in self.current.uses

    def observation(self, block: int) -> Observation | None:
        """What the watcher saw of a revocation in a block: the first change that it saw from there on."""
        return next((seen for seen in self.observations if seen.block >= block), None)

    @property
    def step(self) -> int:
        """Which of the five steps comes next or goes on, 1 to 5; 6 where a result has left."""
        if any(run.run and run.run.state == "computing" for run in self.runs):
            return 4
        if self.status == "live":
            return 6 if self.receipts else 3
        return 2 if self.current else 1


def _as_text(value: Any) -> Any:
    """Numbers as text, in lists too."""
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return str(value) if isinstance(value, int) else value
