# SPDX-License-Identifier: Apache-2.0
"""Where a consortium stands, read from its own contract: no other contract has to be trusted, or be known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import Account, Allowance, Dataset, Owner, Platform, Version
from sealroom_agents.chain.rpc import RpcFailure
from sealroom_agents.errors import ChainError, ToolError
from sealroom_agents.governance.node import Ask, Node

NOBODY = "0x" + 40 * "0"
NO_HASH = bytes(32)
SUPERSEDED = 255


@dataclass(frozen=True)
class DatasetFacts:
    """One dataset, as this consortium may use it."""

    id: bytes
    dataset: Dataset
    account: Account
    allowance: Allowance

    @property
    def known(self) -> bool:
        """Whether anybody registered it."""
        return self.dataset.holder != NOBODY


@dataclass(frozen=True)
class Offer:
    """A seat or a dataset that is offered to another account."""

    to: str
    since: int
    """Unix seconds from which it can be taken."""


@dataclass(frozen=True)
class Standing:
    """One consortium at one block."""

    node: Node
    consortium: str
    app: str
    ledger: str
    owners: dict[int, Owner]
    """By seat, counted from zero."""
    threshold: int
    confirmed: tuple[str, ...]
    """Ids of the owners who did something here."""
    roster_digest: bytes
    charter: bytes
    standing: bytes
    basis: bytes
    nonce: int
    study: bytes
    """The study pinned last; zero before the first."""
    live: bool
    until: int
    approved_at: int
    approvals: tuple[str, ...]
    """Ids of the owners, sitting now, who approved it."""
    revokers: tuple[str, ...]
    """Ids of the owners whose veto stands."""
    revoked_by: str
    """Account that revoked that study; zero if nobody did."""
    superseded: bool
    ended_at: int
    compose_hash: bytes
    """What the app allows, or refused to drop; zero for nothing."""
    platform: Platform | None
    offers: dict[str, Offer]
    """Seats that are offered, by the owner's id."""
    last_block: int

    @classmethod
    def read(cls, node: Node, consortium: str) -> Standing:
        """Read it. Raises `ChainError` `not-a-consortium` where no consortium answers."""
        if not node.code(consortium):
            raise ChainError(
                Code.NOT_A_CONSORTIUM,
                f"{consortium} holds no contract on chain {node.chain_id}",
                "check --consortium and the network; deployment.json has the address",
            )
        views = (
            "owners", "state", "chronicle", "rosterDigest", "charter", "standing", "basis", "platform",
            "pinned", "app", "ledger",
        )  # fmt: skip
        answers = node.calls([Ask("Consortium", consortium, view) for view in views])
        for answer in answers:
            if isinstance(answer, RpcFailure):
                raise ChainError(
                    Code.NOT_A_CONSORTIUM,
                    f"{consortium} is no consortium of version 2 on chain {node.chain_id}",
                    "check --consortium and the network; deployment.json has the address",
                )
        members, state, chronicle, roster, charter, standing, basis, platform, pinned, app, ledger = answers
        seats = [seat for seat in range(16) if chronicle["seats"] >> seat & 1]
        owners = dict(zip(seats, map(Owner.of_abi, members), strict=True))

        def ids(bits: int) -> tuple[str, ...]:
            return tuple(owner.id for seat, owner in owners.items() if bits >> seat & 1)

        study, compose_hash = pinned
        details = node.calls(
            [
                Ask("Consortium", consortium, "isLive", (study,)),
                Ask("Consortium", consortium, "fate", (study,)),
                *(Ask("Consortium", consortium, "handover", (seat,)) for seat in seats),
            ]
        )
        if any(isinstance(answer, RpcFailure) for answer in details):
            raise ChainError(Code.NOT_A_CONSORTIUM, f"{consortium} is no consortium of version 2")
        live, fate, *handovers = details
        return cls(
            node=node,
            consortium=consortium,
            app=app.lower(),
            ledger=ledger.lower(),
            owners=owners,
            threshold=state["threshold"],
            confirmed=ids(chronicle["confirmed"]),
            roster_digest=bytes(roster),
            charter=bytes(charter),
            standing=bytes(standing),
            basis=bytes(basis),
            nonce=state["pins"],
            study=bytes(study),
            live=bool(live) and study != NO_HASH,
            until=state["until"],
            approved_at=state["approvedAt"],
            approvals=ids(state["approvals"]),
            revokers=ids(state["revokers"]),
            revoked_by=fate["revokedBy"].lower(),
            superseded=fate["superseded"],
            ended_at=fate["endedAt"],
            compose_hash=bytes(compose_hash),
            platform=None if platform["gateRoot"] == NO_HASH else Platform.of_abi(platform),
            offers={
                owners[seat].id: Offer(to=to.lower(), since=since)
                for seat, (to, since) in zip(seats, handovers, strict=True)
                if to != NOBODY
            },
            last_block=chronicle["lastBlock"],
        )

    # --- owners ---------------------------------------------------------------------------------

    @property
    def members(self) -> tuple[Owner, ...]:
        """All owners, by seat."""
        return tuple(self.owners.values())

    def named(self, bits: int) -> tuple[str, ...]:
        """Ids of the owners whose seats have a bit in a bitmap."""
        return tuple(owner.id for seat, owner in self.owners.items() if bits >> seat & 1)

    def name(self, account: str) -> str:
        """The owner's id, or the account where it is no owner's."""
        return next((one.id for one in self.members if one.account == account.lower()), account.lower())

    def owner(self, account: str) -> Owner | None:
        """The owner that votes with an account."""
        return next((one for one in self.members if one.account == account.lower()), None)

    def require_owner(self, account: str) -> Owner:
        """The same. Raises `owner-unknown`, naming those that there are."""
        found = self.owner(account)
        if found is None:
            known = ", ".join(f"{one.id} {one.account}" for one in self.members)
            raise ToolError(
                Code.OWNER_UNKNOWN, f"{account} is no owner of {self.consortium}", f"owners are {known}"
            )
        return found

    # --- datasets -------------------------------------------------------------------------------

    def datasets(self, ids: Iterable[bytes]) -> list[DatasetFacts]:
        """Datasets with their accounts; one that nobody registered has no holder."""
        wanted = list(ids)
        asks = [
            Ask("Ledger", self.ledger, view, arguments)
            for dataset in wanted
            for view, arguments in (
                ("datasetOf", (dataset,)),
                ("accountOf", (dataset,)),
                ("allowanceOf", (dataset, self.consortium)),
            )
        ]
        answers = iter(self.node.calls(asks))
        found = []
        for dataset, whose, account, allowance in zip(wanted, answers, answers, answers, strict=False):
            if any(isinstance(answer, RpcFailure) for answer in (whose, account, allowance)):
                raise ChainError(Code.NOT_A_CONSORTIUM, f"{self.ledger} is no ledger of version 2")
            found.append(
                DatasetFacts(
                    id=dataset,
                    dataset=_dataset(whose),
                    account=Account.of_abi(account),
                    allowance=Allowance.of_abi(allowance),
                )
            )
        return found

    def offered(self) -> list[DatasetFacts]:
        """All datasets that owners offer to this consortium."""
        asks = [
            Ask("Ledger", self.ledger, "offered", (self.consortium, owner.account)) for owner in self.members
        ]
        ids = [
            bytes(one) for many in self.node.calls(asks) if not isinstance(many, RpcFailure) for one in many
        ]
        return self.datasets(ids)

    def version_of(self, dataset: bytes, number: int) -> Version:
        """One version of a dataset; all zero if there is none."""
        return Version.of_abi(self.node.call("Ledger", self.ledger, "versionOf", dataset, number))

    def dataset_name(self, facts: DatasetFacts) -> str:
        """`hospital-A/cohort-A`, or its id where nobody registered it."""
        if not facts.known:
            return to_hex(facts.id)
        return f"{self.name(facts.dataset.holder)}/{facts.dataset.name}"


def ambiguous(named: str, ids: Iterable[bytes]) -> ToolError:
    """The error for a name that two datasets of one holder have."""
    return ToolError(
        Code.DATASET_AMBIGUOUS,
        f"{named} is the name of several datasets: {', '.join(to_hex(one) for one in sorted(ids))}",
        "`govern dataset ID` shows each; name the one that is meant by its id",
    )


def _dataset(raw: dict[str, object]) -> Dataset:
    if raw["holder"] == NOBODY:
        return Dataset(holder=NOBODY, versions=0, tenure=0, name="")
    return Dataset.of_abi(raw)
