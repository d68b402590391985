# SPDX-License-Identifier: Apache-2.0
"""All that pages show of one consortium's state, at one block."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.model import Books, Spending, Study
from sealroom_agents.chain import History
from sealroom_agents.facts import CandidateRecord, ChainView, DatasetRecord, Handover, PendingRecord
from sealroom_agents.index.plain import of_plain, to_plain
from sealroom_agents.notices import SHOWN_OF_EACH_OWNER


@dataclass(frozen=True)
class StudyDatasets:
    """The datasets of one study, in the versions that it names."""

    study: bytes
    """Id of the study."""
    datasets: tuple[DatasetRecord, ...]
    """In the study's order."""


@dataclass(frozen=True)
class Seated:
    """Whom a bitmap of seats names."""

    roll: int
    """How often seats had changed hands."""
    approvals: int
    """Bit i for the holder of seat i."""
    accounts: tuple[str, ...]
    """Who held them."""


@dataclass(frozen=True)
class Facts:
    """One consortium at one block: `view` says which."""

    view: ChainView
    """Where it stands."""
    spending: Spending
    """What the runs of the study that was pinned last have booked."""
    books: Books
    """What has been booked for it in all."""
    candidates: tuple[CandidateRecord, ...]
    """Studies that wait, with their approvals: of each owner the newest."""
    pending: tuple[PendingRecord, ...]
    """Votes for rosters, platforms and machines."""
    handovers: tuple[Handover, ...]
    """Seats and datasets that are offered to another account."""
    offered: tuple[DatasetRecord, ...]
    """Datasets that owners let it use."""
    datasets: tuple[StudyDatasets, ...]
    """Those of studies that wait, or that was stopped last."""
    seated: tuple[Seated, ...]
    """Who decided what took effect."""

    def encode(self) -> str:
        """As JSON."""
        return json.dumps(to_plain(self), separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Facts:
        """Of what `encode` wrote. Raises `FormatError` for what another version wrote."""
        try:
            found = of_plain(cls, json.loads(text))
        except (ValueError, AttributeError) as error:
            raise FormatError(Code.MALFORMED, "no facts of this version") from error
        if not isinstance(found, cls):
            raise FormatError(Code.MALFORMED, "no facts")
        return found

    def datasets_of(self, study: bytes) -> tuple[DatasetRecord, ...] | None:
        """The datasets of a study; `None` where they are not known."""
        if self.view.study is not None and self.view.study.id == study:
            return self.view.datasets
        return next((one.datasets for one in self.datasets if one.study == study), None)


def waiting(view: ChainView, history: History, *, now: float) -> list[Study]:
    """Studies that can still be pinned, each once, newest first: they follow the present basis, come after
    the study that was pinned last, and have not expired. now: unix seconds."""
    found: dict[bytes, Study] = {}
    for proposal in reversed(history.proposals):
        study = proposal.content
        if (study.basis, study.nonce) == (view.basis, view.nonce) and study.expiry > now:
            found.setdefault(study.id, study)
    return list(found.values())


def newest_of_each(studies: Sequence[Study], history: History) -> list[Study]:
    """The newest few of each owner who proposed some, newest first. An owner who proposes many displaces only
    its own."""
    proposers = {item.content.id: item.by for item in history.proposals}
    taken: Counter[str] = Counter()
    found = []
    for study in studies:
        by = proposers[study.id]
        if taken[by] < SHOWN_OF_EACH_OWNER:
            found.append(study)
        taken[by] += 1
    return found
