# SPDX-License-Identifier: Apache-2.0
"""What owners did in a consortium, and what took effect: an event of `IConsortium` each."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

from sealroom.model import Machines, Platform, Roster, Study, Validity
from sealroom.model.base import Beside
from sealroom.model.consortium import MAX_REASON_BYTES
from sealroom.model.kinds import B32, U16, U24, Address, Seconds, Text
from sealroom_agents.chain.event import Event


@dataclass(frozen=True, kw_only=True)
class Proposal(Event, name="StudyProposed"):
    """A study has its first approval."""

    content: Study
    """Its content, under the id that it really has."""
    by: Address
    """Account that approved it first."""

    @property
    def content_id(self) -> bytes:
        """The id that its content really has."""
        return self.content.id


@dataclass(frozen=True, kw_only=True)
class Proposed(Event):
    """A platform, machines or a roster has its first approval."""

    proposal: B32
    """Id of the proposal, which its content really has."""
    terms: Validity
    """Until when, and under what, votes for it count."""


@dataclass(frozen=True, kw_only=True)
class ProposedPlatform(Proposed, name="PlatformProposed"):
    """A platform has its first approval."""

    platform: Platform
    """Its content."""

    @property
    def content_id(self) -> bytes:
        """The id that its content really has."""
        return self.platform.under(self.terms).id


@dataclass(frozen=True, kw_only=True)
class ProposedMachines(Proposed, name="MachinesProposed"):
    """Machines to be added have their first approval."""

    machines: Machines
    """Their content."""

    @property
    def content_id(self) -> bytes:
        """The id that its content really has."""
        return self.machines.under(self.terms).id


@dataclass(frozen=True, kw_only=True)
class ProposedRoster(Proposed, name="RosterProposed"):
    """A change of owners has its first approval."""

    roster: Roster
    """Its content."""

    @property
    def content_id(self) -> bytes:
        """The id that its content really has."""
        return self.roster.under(self.terms).id


@dataclass(frozen=True, kw_only=True)
class Approval(Event, name="Approved"):
    """An owner approved, and others' approval was lacking still. For an approval that a pin alone tells of,
    `at` is the pin."""

    proposal: B32
    """Id of the study, platform, machines or roster."""
    owner: Address
    """Account that approved."""


@dataclass(frozen=True, kw_only=True)
class Withdrawal(Event, name="Withdrawn"):
    """An owner took back an approval, or barred it before it was given."""

    proposal: B32
    """Id of the study, platform, machines or roster."""
    owner: Address
    """Account that withdrew."""


# --- what took effect ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Decision(Event):
    """Enough owners approved, and it took effect."""

    approvals: U16
    """Who approved: bit i for the holder of seat i."""
    owners: Annotated[tuple[str, ...], Beside()] = ()
    """Their accounts; empty where they are not known."""

    @property
    @abstractmethod
    def decided(self) -> bytes:
        """Id of what took effect."""


@dataclass(frozen=True, kw_only=True)
class Pin(Decision, name="StudyPinned"):
    """A study was pinned: it may run, and the app allows its recipe."""

    content: Study
    """Its content, under the id that it really has."""
    roll: U24
    """How often seats had changed hands."""

    @property
    def content_id(self) -> bytes:
        """The id that its content really has."""
        return self.content.id

    @property
    def decided(self) -> bytes:
        return self.content.id


@dataclass(frozen=True, kw_only=True)
class Adoption(Decision):
    """A platform, machines or a roster took effect."""

    proposal: B32
    """Id of the proposal."""

    @property
    def decided(self) -> bytes:
        return self.proposal


@dataclass(frozen=True, kw_only=True)
class PlatformAdoption(Adoption, name="PlatformAdopted"):
    """The owners adopted a gate and its machines; the live study ended."""

    charter: B32
    """The charter after it."""
    platform: Platform
    """What they adopted."""


@dataclass(frozen=True, kw_only=True)
class MachinesAddition(Adoption, name="MachinesAdded"):
    """The owners added machines to the platform; the live study goes on."""

    machines: Machines
    """What they added."""


@dataclass(frozen=True, kw_only=True)
class RosterChange(Adoption, name="RosterChanged"):
    """The owners changed; the live study ended. The first roster, the consortium's own, is in no event."""

    roll: U24
    """How often seats have changed hands, this time included."""
    roster: Roster
    """Who left and who joined."""


@dataclass(frozen=True, kw_only=True)
class Revocation(Event, name="Revoked"):
    """An owner revoked."""

    owner: Address
    """Account that revoked."""
    study: B32
    """The study that was live, or zero."""
    compose_hash: B32
    """The recipe that the app allowed, or zero."""
    reason: Annotated[str, Text(MAX_REASON_BYTES, empty=True)]
    """Why."""


@dataclass(frozen=True, kw_only=True)
class UnpinFailure(Event, name="UnpinFailed"):
    """The app did not drop a recipe when it should."""

    compose_hash: B32
    """The recipe."""


@dataclass(frozen=True, kw_only=True)
class SeatOffer(Event, name="SeatOffered"):
    """An owner offered its seat to another account, or took the offer back."""

    owner: Address
    """Account that holds the seat."""
    to: Address
    """Who may take it; zero takes the offer back."""
    from_: Seconds
    """From when, unix seconds."""


@dataclass(frozen=True, kw_only=True)
class SeatMove(Event, name="SeatMoved"):
    """A seat has another holder."""

    owner: Address
    """Who held it."""
    to: Address
    """Who holds it."""
    roll: U24
    """How often seats have changed hands, this time included."""


@dataclass(frozen=True, kw_only=True)
class Confirmation(Event, name="Confirmed"):
    """An owner said that it knows of its seat."""

    owner: Address
    """Its account."""
