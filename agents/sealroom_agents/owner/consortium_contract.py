# SPDX-License-Identifier: Apache-2.0
"""All that the owner's commands ask of the chain, and the one transaction that they send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.model import Owner, Registration
from sealroom_agents.chain import ChainReader, Transactor, TxResult
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import Head, Rpc, RpcFailure
from sealroom_agents.errors import ChainError, ToolError
from sealroom_agents.owner.keystore import Signer

FUNCTION = "registerDataset"
NOBODY = "0x" + 40 * "0"
TIMEOUT_S = 20.0
"""How long one question to a node may take."""
MINED_WITHIN_S = 180.0
"""How long a registration may wait for its block."""


@dataclass(frozen=True)
class ApprovalState:
    """How far a recipe's approval has come."""

    state: str
    """`not-proposed`, `proposed`, `approved` (all that it needs) or `revoked`."""
    approved_by: tuple[str, ...]
    """Ids of the owners who approved it."""
    threshold: int
    """Approvals that it needs."""
    mine: bool
    """Whether the owner who asks has approved it."""
    block: int
    """Finalized block of this answer."""

    def facts(self) -> dict[str, object]:
        """As JSON."""
        return {
            "state": self.state,
            "approvedBy": list(self.approved_by),
            "threshold": self.threshold,
            "mine": self.mine,
            "block": self.block,
        }

    def sentence(self, owner: str) -> str:
        """In words."""
        at = f"at finalized block {self.block}"
        if self.state == "not-proposed":
            return f"no study with this recipe is before the owners, {at}"
        yours = f"{owner} has approved it" if self.mine else f"{owner} has not approved it yet"
        who = ", ".join(self.approved_by) or "nobody"
        state = {"approved": "in force", "revoked": "revoked"}.get(self.state, "not in force")
        return f"{yours}; {state}: approved by {who}, {self.threshold} needed, {at}"


@dataclass(frozen=True)
class Registered:
    """A dataset as the consortium holds it."""

    owner: str
    """Account that registered it."""
    registration: Registration
    """What it registered."""
    final: bool
    """Whether a finalized block says so, or only the newest."""


def approval_state(reader: ChainReader, *, consortium: str, compose_hash: bytes, owner: str) -> ApprovalState:
    """The approval of one recipe, as the finalized block says. Raises `ChainError`."""
    view = reader.finalized_view(consortium, compose_hash=compose_hash)
    accounts: tuple[str, ...] = ()
    state = "not-proposed"
    if view.study is not None and view.study.compose_hash == compose_hash:
        accounts, state = view.approvals, "approved" if view.live else "proposed"
    elif view.candidate is not None:
        accounts, state = view.candidate.approvals, "proposed"
    if view.revoked_by is not None and state == "proposed" and not accounts:
        state = "revoked"
    names = {one.account: one.id for one in view.owners}
    approved = tuple(names.get(account, account) for account in accounts)
    return ApprovalState(
        state=state,
        approved_by=approved,
        threshold=view.threshold,
        mine=owner in approved,
        block=view.block_number,
    )


def owners(reader: ChainReader, consortium: str) -> tuple[Owner, ...]:
    """The owners, as all nodes say at the finalized block. Raises `ChainError`."""
    return reader.finalized_view(consortium).owners


def registered(
    reader: ChainReader, urls: Sequence[str], *, consortium: str, dataset_id: bytes
) -> Registered | None:
    """A dataset as all nodes hold it, final or not; `None` when it is not registered. Raises `ChainError`."""
    rpcs = [Rpc(url, timeout_s=TIMEOUT_S) for url in urls]
    head = reader.finalized_head()
    final = _agreed(rpcs, head, consortium, dataset_id)
    if final is not None:
        return _record(dataset_id, final, final=True)
    # The newest block of one node: only to say that it is on its way.
    newest = _dataset(rpcs[0], rpcs[0].head("latest"), consortium, dataset_id)
    return None if newest is None else _record(dataset_id, newest, final=False)


def calldata(registration: Registration) -> bytes:
    """The call that registers a dataset."""
    return interface("Consortium").encode(FUNCTION, *registration.solidity())


def function_inputs() -> tuple[dict[str, Any], ...]:
    """Names and types of its arguments, from the contract's ABI."""
    for item in interface("Consortium").abi:
        if item["type"] == "function" and item["name"] == FUNCTION:
            return tuple(dict(part) for part in item["inputs"])
    raise KeyError(FUNCTION)


def register(url: str, signer: Signer, *, consortium: str, registration: Registration) -> TxResult:
    """Send it from the owner's account. Raises `TransactionError`."""
    transactor = Transactor(url, signer.key.reveal(), timeout_s=TIMEOUT_S, receipt_timeout_s=MINED_WITHIN_S)
    return transactor.send(consortium, calldata(registration))


def require_chain(reader: ChainReader, chain_id: int, *, what: str) -> None:
    """Raise `other-chain` unless the nodes are on the chain that `what` is for."""
    found = reader.chain_id()
    if found != chain_id:
        raise ToolError(
            Code.OTHER_CHAIN,
            f"{what} is for chain {chain_id}, the RPC is on chain {found}",
            "name an RPC endpoint of that chain",
        )


def _agreed(rpcs: Sequence[Rpc], head: Head, consortium: str, dataset_id: bytes) -> dict[str, Any] | None:
    answers = [_dataset(rpc, head, consortium, dataset_id) for rpc in rpcs]
    if any(answer != answers[0] for answer in answers):
        raise ChainError(
            Code.CHAIN_DISAGREES,
            "the nodes do not agree on this dataset's registration",
            "one of them lies, or serves another chain",
        )
    return answers[0]


def _dataset(rpc: Rpc, head: Head, consortium: str, dataset_id: bytes) -> dict[str, Any] | None:
    contract = interface("Consortium")
    (answer,) = rpc.calls_at(head.hash, [(consortium, contract.encode("dataset", dataset_id))])
    if isinstance(answer, RpcFailure):
        raise ChainError(
            Code.NOT_A_CONSORTIUM if answer.reverted else Code.CHAIN_DISAGREES,
            f"{consortium} does not answer at block {head.number}: {answer.message}",
        )
    raw: dict[str, Any] = contract.decode("dataset", answer)
    return None if raw["owner"].lower() == NOBODY else raw


def _record(dataset_id: bytes, raw: dict[str, Any], *, final: bool) -> Registered:
    return Registered(
        owner=raw["owner"].lower(),
        registration=Registration.of_abi(raw, dataset_id=dataset_id),
        final=final,
    )
