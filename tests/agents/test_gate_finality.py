# SPDX-License-Identifier: Apache-2.0
"""The gate's word on blocks: signed for those that a quorum of its nodes calls final, and for no others."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import httpx
import pytest
import uvicorn
from tests.gate_world import TOKEN, World, refused
from tests.local_chain import LocalChain
from tests.patience import PATIENCE_S
from tests.rpc_proxy import RpcProxy

from sealroom.codes import Code
from sealroom.errors import KeyReleaseError
from sealroom.key_release import FinalityReply, FinalityRequest, verify_finalized
from sealroom.key_release.finality import MAX_BLOCKS
from sealroom.runtime.gate_client import GateRefused, HttpGate
from sealroom_agents.chain import FollowedChain
from sealroom_agents.chain.proofs import TOGETHER
from sealroom_agents.errors import Refused
from sealroom_agents.gate.finality import LOOKUPS, NEW_CONSORTIUM, SHARE, Finality
from sealroom_agents.gate.http import create_app
from sealroom_agents.gate.webhook import BootAuthority

pytestmark = pytest.mark.anvil


def ask(world: World, *numbers: int, **more: Any) -> httpx.Response:
    body = {"version": 2, "consortium": world.room.consortium, "numbers": list(numbers)} | more
    return world.http.post("/v1/finalized", content=json.dumps(body).encode())


def hash_of(chain: LocalChain, number: int) -> bytes:
    return bytes.fromhex(chain.rpc("eth_getBlockByNumber", hex(number), False)["hash"][2:])


def test_the_gate_signs_final_blocks_and_no_others(approved: World) -> None:
    """CH-01, CH-03: all that are asked about, or none; for this chain, consortium and block alone."""
    chain, world = approved.chain, approved
    final = world.reader.finalized_head().number
    answer = ask(world, 3, final)
    assert answer.status_code == 200, answer.text
    at: dict[str, Any] = {"chain_id": 31337, "consortium": world.room.consortium}
    signer = world.identity().signer
    said = FinalityReply.parse(answer.content).blocks
    assert [(block.number, block.hash) for block in said] == [(n, hash_of(chain, n)) for n in (3, final)]
    for block in said:
        verify_finalized(block, signer=signer, **at)
        for other in ({"chain_id": 1}, {"consortium": world.room.app}, {"signer": world.room.ledger}):
            with pytest.raises(KeyReleaseError) as forged:
                verify_finalized(block, **{"signer": signer, **at, **other})
            assert forged.value.code == "finality-forged"

    newest = chain.block_number()
    assert newest > final
    later: list[list[int]] = [[newest], [3, newest], [2**53 - 1]]
    for numbers in later:
        refused(ask(world, *numbers), "not-finalized")
    wrong: list[list[int]] = [[], [4, 3], [3, 3], list(range(33)), [-1], [2**64]]
    for numbers in wrong:
        refused(ask(world, *numbers), "malformed", 400)
    refused(ask(world, 3, hash="0x00"), "malformed", 400)
    refused(ask(world, 3, version=1), "malformed", 400)


def test_a_stranger_gets_no_word(approved: World) -> None:
    """OP-08: nothing is signed in the name of a consortium that did not adopt this gate."""
    stranger = approved.chain.create_consortium(("bank-A", "bank-B"), threshold=2)
    approved.chain.finalize()
    assert ask(approved, 3).status_code == 200
    refused(ask(approved, 3, consortium=stranger.consortium), "gate-not-registered")
    refused(ask(approved, 3, consortium=approved.room.app), "gate-not-registered")


def test_a_node_that_lies_about_a_block_gets_nothing_signed(approved: World) -> None:
    """CH-03: two nodes must show the same hash; what was signed before is not asked again."""
    with RpcProxy(approved.chain.url) as proxy:
        approved.rpc_urls = [approved.chain.url, proxy.url]
        approved.start_gate()

        def lie(method: str, params: list[Any], result: Any) -> Any:
            ours = method == "eth_getBlockByNumber" and params[0] == hex(3)
            return {**result, "hash": "0x" + "66" * 32} if ours else result

        proxy.tamper = lie
        refused(ask(approved, 3), "chain-disagrees", 503)
        assert ask(approved, 2).status_code == 200
        proxy.tamper = lambda method, params, result: result
        assert ask(approved, 3).status_code == 200
        proxy.tamper = lie
        again = FinalityReply.parse(ask(approved, 3).content)
        assert again.blocks[0].hash == hash_of(approved.chain, 3)


def test_a_flood_of_questions_costs_the_nodes_little_and_nobody_elses_word(approved: World) -> None:
    """RE-05: what a client may have looked up is bounded, goes by the batch, and is signed once."""
    at = [0.0]
    with RpcProxy(approved.chain.url) as proxy:
        approved.chain.mine(4 * MAX_BLOCKS + TOGETHER)
        approved.chain.finalize()
        approved.http.get("/v1/gate")
        asked = approved.chain.reader(proxy.url)
        finality = Finality(
            chain=FollowedChain(approved.reader, approved.follower, asked=asked),
            root=approved.gate._root,
            chain_id=31337,
            granted=frozenset,
            clock=lambda: at[0],
        )

        def answer(first: int, count: int, client: str = "stranger", consortium: str = "") -> FinalityReply:
            numbers = tuple(range(first, first + count))
            request = FinalityRequest(consortium=consortium or approved.room.consortium, numbers=numbers)
            return finality.answer(request.encode(), client=client)

        def busy(*asked: Any) -> bool:
            with pytest.raises(Refused) as no:
                answer(*asked)
            return no.value.code is Code.BUSY

        approved.caught_up()
        share = int(SHARE * LOOKUPS)
        before = proxy.calls
        for start in range(0, share - MAX_BLOCKS, MAX_BLOCKS):
            answer(1 + start, MAX_BLOCKS)
        first = answer(1, MAX_BLOCKS)
        assert proxy.calls - before == (share // MAX_BLOCKS - 1) * MAX_BLOCKS // TOGETHER
        assert busy(share - MAX_BLOCKS + 1, MAX_BLOCKS), "its share has a question about a consortium in it"
        answer(share - MAX_BLOCKS + 1, MAX_BLOCKS - NEW_CONSORTIUM)
        before = proxy.calls
        assert busy(share + 1, 4) and busy(1, 1, "stranger", approved.room.app)
        assert answer(1, MAX_BLOCKS) == first, "what was said once is said again"
        assert proxy.calls == before
        assert answer(share + 1, 4, "runner").blocks[0].number == share + 1
        at[0] = 1.0
        assert len(answer(share - MAX_BLOCKS + 1, MAX_BLOCKS).blocks) == MAX_BLOCKS
        asked.close()


def test_who_completes_an_envelope_gets_the_word_over_http(approved: World) -> None:
    """As the runner and `sealroom prove` ask; a refusal keeps its code."""
    app = create_app(approved.gate, BootAuthority(approved.reader, chain_id=31337), watch_token=TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
        thread.start()
        gate = HttpGate(f"http://127.0.0.1:{listener.getsockname()[1]}")
        said = gate.finalized(FinalityRequest(consortium=approved.room.consortium, numbers=(2, 3)))
        assert [block.hash for block in said.blocks] == [hash_of(approved.chain, n) for n in (2, 3)]
        with pytest.raises(GateRefused) as refusal:
            gate.finalized(FinalityRequest(consortium=approved.room.consortium, numbers=(2**53 - 1,)))
        assert refusal.value.code == "not-finalized"
        gate.close()
        server.should_exit = True
        thread.join(PATIENCE_S)
