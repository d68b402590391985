# SPDX-License-Identifier: Apache-2.0
"""All that the owner's commands ask of the chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.model import Dataset, Owner, Version
from sealroom_agents.chain import ChainReader
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import Head, Rpc, RpcFailure
from sealroom_agents.errors import ChainError, ToolError

NOBODY = "0x" + 40 * "0"
TIMEOUT_S = 20.0
"""How long one question to a node may take."""


@dataclass(frozen=True)
class Registered:
    """A dataset as the registry holds it, and one version of it."""

    holder: str
    """Account that holds the dataset."""
    newest: int
    """Number of its newest version."""
    version: Version | None
    """The version that was asked for; `None` when there is none of this number."""
    final: bool
    """Whether a finalized block says so, or only the newest."""


def owners(reader: ChainReader, consortium: str) -> tuple[Owner, ...]:
    """The owners, as all nodes say at the finalized block. Raises `ChainError`."""
    return reader.finalized_view(consortium).owners


def registered(
    reader: ChainReader, urls: Sequence[str], *, ledger: str, dataset_id: bytes, number: int
) -> Registered | None:
    """A dataset with its version `number` as all nodes hold it, final or not; `None` when the dataset is not
    registered. Raises `ChainError`."""
    rpcs = [Rpc(url, timeout_s=TIMEOUT_S) for url in urls]
    head = reader.finalized_head()
    answers = [_registered(rpc, head, ledger, dataset_id, number, final=True) for rpc in rpcs]
    if any(answer != answers[0] for answer in answers):
        raise ChainError(
            Code.CHAIN_DISAGREES,
            "the nodes do not agree on this dataset's registration",
            "one of them lies, or serves another chain",
        )
    if answers[0] is not None and answers[0].version is not None:
        return answers[0]
    # The newest block of one node: only to say that it is on its way.
    return _registered(rpcs[0], rpcs[0].head("latest"), ledger, dataset_id, number, final=False)


def require_chain(reader: ChainReader, chain_id: int, *, what: str) -> None:
    """Raise `other-chain` unless the nodes are on the chain that `what` is for."""
    found = reader.chain_id()
    if found != chain_id:
        raise ToolError(
            Code.OTHER_CHAIN,
            f"{what} is for chain {chain_id}, the RPC is on chain {found}",
            "name an RPC endpoint of that chain",
        )


def _registered(
    rpc: Rpc, head: Head, ledger: str, dataset_id: bytes, number: int, *, final: bool
) -> Registered | None:
    contract = interface("Ledger")
    calls = [("datasetOf", (dataset_id,)), ("versionOf", (dataset_id, number))]
    answers = rpc.calls_at(head.hash, [(ledger, contract.encode(name, *values)) for name, values in calls])
    found = []
    for (name, _), answer in zip(calls, answers, strict=True):
        if isinstance(answer, RpcFailure):
            raise ChainError(
                Code.NOT_A_CONSORTIUM if answer.reverted else Code.CHAIN_DISAGREES,
                f"the registry {ledger} does not answer at block {head.number}: {answer.message}",
            )
        found.append(contract.decode(name, answer))
    dataset, version = Dataset.of_abi(found[0]), Version.of_abi(found[1])
    if dataset.holder == NOBODY:
        return None
    return Registered(
        holder=dataset.holder,
        newest=dataset.versions,
        version=version if any(version.header) else None,
        final=final,
    )
