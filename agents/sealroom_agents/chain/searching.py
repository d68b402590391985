# SPDX-License-Identifier: Apache-2.0
"""What a follower looks for besides its looks, once: what a hash is the hash of, and what never changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sealroom.model import Version
from sealroom_agents.chain.contents import Contents
from sealroom_agents.chain.memory import Memory, Search
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.reads import at_block
from sealroom_agents.chain.rpc import Rpc


def found(search: Search, contents: Contents, nodes: Nodes) -> Callable[[Memory], Any]:
    """Look for it through `nodes`; what is returned puts it into the memory. Raises `ChainError`."""
    state, rpcs, block = search.at.state, nodes.same(search.at.rpcs), search.at.head.hash
    consortium = search.memory.consortium
    if search.what == "words":
        words = contents.reason(rpcs, consortium, state)
        return lambda memory: memory.words.update({search.key: words})
    study = contents.active(rpcs, consortium, state)
    if study is None:
        return lambda memory: None
    if search.what == "study":
        return lambda memory: memory.learn(study)
    versions: dict[tuple[bytes, int], Version] = {}
    for dataset, number in zip(study.datasets, study.versions, strict=True):
        if number:

            def ask(rpc: Rpc, dataset: bytes = dataset, number: int = number) -> Version:
                said = at_block(rpc, block, "Ledger", state.ledger, "versionOf", dataset, number)
                return Version.of_abi(said)

            what = f"version {number} of dataset 0x{dataset.hex()}"
            versions[dataset, number], _ = nodes.agreed(nodes.ask(ask, rpcs), what)
    return lambda memory: memory.versions.update(versions)
