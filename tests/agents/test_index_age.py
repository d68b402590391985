# SPDX-License-Identifier: Apache-2.0
"""The index on an old chain, and beside many consortia of strangers: it is read once, no page asks a node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from tests.local_chain import LocalChain
from tests.outside import Lab
from tests.rpc_proxy import RpcProxy

from sealroom_agents.chain.scan import WIDEST
from sealroom_agents.console.app import create_app
from sealroom_agents.index import Follower, Indexed

pytestmark = pytest.mark.anvil

AGE = 1_000_000
"""Blocks of nothing that come after what happened."""
STRANGERS = 50
PAGES = ("/", "/v1/studies", "/v1/studies/{0}", "/v1/studies/{0}/history", "/studies/{0}")


class Aged(RpcProxy):
    """A node whose chain has `AGE` empty blocks between those that there are now and all later ones."""

    def __init__(self, chain: LocalChain) -> None:
        super().__init__(chain.url)
        self._split = int(chain.rpc("eth_blockNumber"), 16)
        chain.mine(4)
        self.rewrite, self.tamper = self._asked, self._answered

    def _shown(self, number: str) -> str:
        return hex(int(number, 16) + (AGE if int(number, 16) > self._split else 0))

    def _real(self, number: int, *, upper: bool = False) -> int:
        if number <= self._split:
            return number
        inside = number <= self._split + AGE
        return self._split + (not upper) if inside else number - AGE

    def _empty(self, block: str) -> bool:
        return block.startswith("0x") and self._split < int(block, 16) <= self._split + AGE

    def _asked(self, method: str, params: list[Any]) -> list[Any]:
        if method == "eth_getBlockByNumber" and params[0].startswith("0x"):
            return [hex(self._real(int(params[0], 16))), params[1]]
        if method == "eth_getCode" and params[1].startswith("0x"):
            return [params[0], hex(self._real(int(params[1], 16), upper=True))]
        if method == "eth_getLogs":
            lower = self._real(int(params[0]["fromBlock"], 16))
            upper = self._real(int(params[0]["toBlock"], 16), upper=True)
            none = {"address": "0x" + 40 * "0"} if lower > upper else {}
            return [{**params[0], **none, "fromBlock": hex(min(lower, upper)), "toBlock": hex(upper)}]
        return params

    def _answered(self, method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getLogs":
            return [{**log, "blockNumber": self._shown(log["blockNumber"])} for log in result]
        if method != "eth_getBlockByNumber":
            return result
        if self._empty(params[0]):
            return {**result, "number": params[0], "hash": f"0x{int(params[0], 16):064x}"}
        return {**result, "number": self._shown(result["number"])}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with LocalChain.start() as chain:
        lab = Lab.on(chain, tmp_path)
        yield lab
        lab.store.close()


def test_an_old_chain_is_read_once_and_strangers_cost_nobody_else(lab: Lab) -> None:
    """CH-29, OP-08: few questions a range of blocks once, then few a block, and none a page, however old the
    chain is and however many consortia others have made."""
    lab.live()
    with Aged(lab.chain) as node:
        reader = lab.chain.reader(node.url)
        follower = Follower(reader, lab.store, factory=lab.room.factory)
        follower.catch_up()
        indexed = Indexed(lab.store, lab.room.factory)
        progress = indexed.progress()
        assert progress is not None and progress.ready and progress.number > AGE
        assert node.calls < 4 * AGE / WIDEST + 100

        def a_block() -> int:
            """Questions for one block more in which something happens here."""
            before = node.calls
            lab.chain.revoke(lab.room, 2, "again")
            follower.catch_up()
            return node.calls - before

        app = create_app(lab.store, reader, indexed, allowed_hosts=("testserver",))
        with TestClient(app) as web:

            def pages() -> list[int]:
                before = node.calls
                found = [web.get(page.format(lab.room.consortium)).status_code for page in PAGES]
                assert node.calls == before, "a page asks a node"
                return found

            alone = a_block()
            assert pages() == [200] * len(PAGES)
            for number in range(STRANGERS):
                lab.chain.create_consortium([f"stranger-{number}"], threshold=1)
            follower.catch_up()
            assert a_block() <= alone
            assert pages() == [200] * len(PAGES)
            assert indexed.one(lab.room.consortium).line.status == 3
        reader.close()
