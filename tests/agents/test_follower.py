# SPDX-License-Identifier: Apache-2.0
"""The chain in memory: what a look costs, what nodes that lie, lag or replace final blocks come to, and when
it is looked again."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.agents.followed import Stage, following, staged
from tests.lens import looks, tells
from tests.patience import PATIENCE_S, until
from tests.rpc_proxy import Tamper, as_asked, honest

from sealroom.codes import Code
from sealroom_agents.chain.pace import MAX_BLOCK_S, MIN_PAUSE_S, Pace
from sealroom_agents.chain.picture import MAX_AGE_S
from sealroom_agents.facts import Halt

pytestmark = pytest.mark.anvil


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as stage:
        yield stage


def test_a_look_is_one_request_whatever_is_followed(stage: Stage) -> None:
    """CH-05: two consortia with datasets and runs, at two blocks; readers ask nothing."""
    with following(stage, nodes=1, quorum=1) as followed:
        for room in stage.rooms:
            assert followed.follower.view(room.consortium).study is not None
            for _ in range(20):
                assert followed.follower.commitment(room.consortium, secrets.token_bytes(32)) is None
        followed.caught_up()
        (seat,), (node, *_) = followed.follower._picture.seats.values(), stage.nodes
        before, looks = node.calls, seat.begun
        for _ in range(5):
            followed.caught_up()
        with followed.follower._change:
            until(lambda: followed.follower._change.wait_for(lambda: seat.ended == seat.begun, 0.2))
            assert node.calls - before == seat.begun - looks >= 5
        followed.follower.close()
        asked = node.calls
        for _ in range(100):
            followed.follower.view(followed.room)
            followed.follower.latest(followed.room)
        assert node.calls == asked


def test_it_says_what_a_reader_that_asks_says(stage: Stage) -> None:
    with following(stage) as followed:
        view = followed.follower.view(followed.room)
        assert view == followed.reader.finalized_view(followed.room)
        latest = followed.follower.latest(followed.room)
        assert latest == followed.reader.latest_view(followed.room)


def test_what_is_no_consortium_is_told_at_once(stage: Stage) -> None:
    with following(stage) as followed:
        followed.room = "0x" + "77" * 20
        assert followed.refused() == Code.NOT_A_CONSORTIUM


def test_what_is_old_is_refused_and_comes_back_with_the_nodes(stage: Stage) -> None:
    """CH-04: nothing is thrown but the codes of the chain."""
    with following(stage) as followed:
        view = followed.follower.view(followed.room)
        for node in stage.nodes:
            node.down = True
        followed.caught_up()
        assert followed.follower.view(followed.room) == view, "it is young enough"
        followed.late_s += MAX_AGE_S + 1
        assert followed.refused() == Code.CHAIN_UNREACHABLE
        assert set(followed.kinds()) == {"chain-unreachable"}
        for node in stage.nodes:
            node.down = False
        followed.caught_up()
        assert followed.follower.view(followed.room).study == view.study
        assert followed.follower.age_s is not None and followed.follower.age_s < MAX_AGE_S
        followed.readmit()
        followed.caught_up()
        assert followed.kinds() == ["seated"] * 3


def test_a_node_that_calls_another_block_final_loses_its_seat_and_gets_it_back(stage: Stage) -> None:
    """CH-03: it is named by its host and the kind of its fault."""
    with following(stage) as followed:
        stage.nodes[2].tamper = tells(lambda row: row, at=("finalized",), block="0x" + "66" * 32)
        view = followed.follower.view(followed.room)
        until(lambda: followed.kinds() == ["seated", "seated", "chain-disagrees"])
        assert view == followed.reader.finalized_view(followed.room)
        stage.nodes[2].tamper = honest
        followed.readmit()
        until(lambda: followed.kinds() == ["seated"] * 3)


def test_a_node_that_shows_another_state_at_a_final_block_counts_for_nothing(stage: Stage) -> None:
    """CH-03: two others are enough; where all three must agree, nothing is read."""
    for quorum in (2, 3):
        with following(stage, quorum=quorum) as followed:
            stage.nodes[1].tamper = tells(lambda row: replace(row, allowed=False), at=("finalized",))
            if quorum == 2:
                assert followed.follower.view(followed.room).app_allows
            else:
                assert followed.refused() == Code.CHAIN_DISAGREES
                stage.nodes[1].tamper = honest
                followed.caught_up()
                assert followed.follower.view(followed.room).app_allows


class Held:
    """A node's answers, held back until they are let go."""

    def __init__(self, within: Tamper, holds: Callable[[str, list[Any]], bool]) -> None:
        self._within, self._holds = within, holds
        self.held, self.free = threading.Event(), threading.Event()

    def __call__(self, method: str, params: list[Any], result: Any) -> Any:
        if self._holds(method, params):
            self.held.set()
            assert self.free.wait(PATIENCE_S)
        return self._within(method, params, result)


def test_an_old_disagreement_does_not_outlast_the_looks_that_a_reader_waits_for(stage: Stage) -> None:
    """CH-03: one node has shown the study's datasets, the others were asked before the study was found."""

    def final(method: str, params: list[Any]) -> bool:
        return looks(method, params) and params[1] == "finalized"

    with following(stage, quorum=3) as followed:
        lies = tells(lambda row: replace(row, allowed=False), at=("finalized",))
        searches = [
            Held(tamper, lambda method, _: method == "eth_getLogs") for tamper in (honest, lies, honest)
        ]
        for node, search in zip(stage.nodes, searches, strict=True):
            node.tamper = search
        assert followed.refused() == Code.CHAIN_DISAGREES
        late = Held(lies, final)
        stage.nodes[1].tamper = late
        with followed.follower._change:
            followed.follower._looking.wake()
        assert late.held.wait(PATIENCE_S)
        first, liar, last = followed.follower._picture.seats.values()
        goals = [seat.begun + 1 for seat in (first, last)]
        waiting = threading.Thread(target=followed.caught_up)
        waiting.start()
        until(lambda: first.ended >= goals[0] and last.ended >= goals[1])
        later = [Held(honest, final), Held(honest, final)]
        stage.nodes[0].tamper, stage.nodes[1].tamper, stage.nodes[2].tamper = later[0], honest, later[1]
        for search in searches:
            search.free.set()
        assert all(one.held.wait(PATIENCE_S) for one in later), "they are asked for the datasets"
        asked = liar.begun + 1
        late.free.set()
        until(lambda: liar.ended >= asked)
        waiting.join(0.5)
        for one in later:
            one.free.set()
        waiting.join(PATIENCE_S)
        assert followed.follower.view(followed.room).app_allows


def test_nodes_whose_final_blocks_differ_agree_on_one_that_enough_have(stage: Stage) -> None:
    """CH-03: one lags; the two others are asked about a block that they have passed."""

    def lags(blocks: int) -> Any:
        def rewrite(method: str, params: list[Any]) -> list[Any]:
            number = hex(stage.chain.block_number("finalized") - blocks)
            if method == "eth_getBlockByNumber" and params[0] == "finalized":
                return [number, False]
            return [params[0], number] if method == "eth_call" and params[1] == "finalized" else params

        return rewrite

    stage.chain.mine(4)
    with following(stage, quorum=3) as followed:
        stage.nodes[1].rewrite, stage.nodes[2].rewrite = lags(1), lags(2)
        final = stage.chain.block_number("finalized")
        assert followed.follower.view(followed.room).block_number == final - 2
        stage.nodes[2].rewrite = as_asked

        def caught_up_to() -> int:
            followed.caught_up()
            return followed.follower.view(followed.room).block_number

        until(lambda: caught_up_to() == final - 1)
        assert followed.kinds() == ["seated"] * 3
        stage.nodes[1].rewrite = lags(3)
        assert followed.kinds() == ["seated", "chain-stale", "seated"]
        assert followed.follower.floor == final - 1, "it never goes back"
        assert followed.follower.view(followed.room).block_number == final - 1
        followed.late_s += MAX_AGE_S + 1
        followed.caught_up()
        assert followed.refused() == Code.CHAIN_STALE


def test_what_an_earlier_process_called_final_is_not_undone(stage: Stage) -> None:
    """CH-04."""
    with following(stage, floor=stage.chain.block_number() + 1000) as followed:
        assert followed.refused() == Code.CHAIN_STALE


def test_a_final_block_that_is_replaced_stops_everything(stage: Stage) -> None:
    """CH-01: until a person has found out why."""
    with following(stage, nodes=1, quorum=1) as followed:
        followed.follower.view(followed.room)
        seat = next(iter(followed.follower._picture.seats.values()))
        stage.nodes[0].tamper = tells(lambda row: row, at=("finalized",), block="0x" + "66" * 32)
        with followed.follower._change:
            seat.finals.clear()  # as if it had been another node
        followed.caught_up()
        assert followed.refused() == Code.CHAIN_DISAGREES
        stage.nodes[0].tamper = honest
        followed.caught_up()
        stage.chain.mine(3)
        followed.caught_up()
        assert followed.refused() == Code.CHAIN_DISAGREES


def test_a_revocation_in_a_block_that_was_replaced_is_known_as_such(stage: Stage) -> None:
    """CH-02: once so many blocks are upon the other one; the true block of that height is not replaced."""
    with following(stage) as followed:
        number = stage.chain.block_number()
        true = bytes.fromhex(stage.chain.rpc("eth_getBlockByNumber", "latest", False)["hash"][2:])
        stage.chain.mine(3)
        followed.follower.view(followed.room)
        halt = Halt(number, b"\x66" * 32, "somebody")
        assert not followed.follower.replaced(halt, 4)
        followed.caught_up()
        assert not followed.follower.replaced(halt, 4), "too few blocks are upon it"
        assert followed.follower.replaced(halt, 3)
        assert not followed.follower.replaced(replace(halt, block_hash=true), 3)


def test_a_reorganisation_is_followed(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """CH-05: by the hash of the block before."""
    with following(stage) as followed:
        stage.chain.mine(2)
        before = followed.follower.latest(followed.room)
        followed.caught_up()
        stage.chain.reorg(1)
        followed.caught_up()
        after = followed.follower.latest(followed.room)
        assert after.block_number == before.block_number and after.standing == before.standing
        assert "a reorganisation" in caplog.text


@pytest.mark.parametrize(("block_s", "most"), [(0.2, 0.45), (2.0, 0.6), (12.0, 1.6)])
def test_a_new_block_is_seen_soon_and_nobody_asks_all_the_time(block_s: float, most: float) -> None:
    """CH-04: at 0.2 s and at 12 s blocks, on a set clock; what is there is seen late by `most` seconds."""
    pace, now, looks, seen, worst = Pace(), 0.0, 0, -1, 0.0
    while now < 100 * block_s:
        number = int(now / block_s)
        if number > seen and now > 20 * block_s:
            worst = max(worst, now - number * block_s)
        seen, looks = number, looks + 1
        pace.saw(number, int(1_800_000_000 + number * block_s), now)
        pause = pace.pause(now)
        assert pause >= MIN_PAUSE_S
        now += pause + 0.01
    assert worst <= most
    assert looks <= 100 * max(3, block_s / MIN_PAUSE_S / 20)
    assert pace.block_s == pytest.approx(block_s, rel=0.3)


def test_no_timestamps_make_a_node_wait_long(stage: Stage) -> None:
    pace = Pace()
    for number in range(40):
        pace.saw(number, number * 10**9, float(number))
    assert pace.block_s == MAX_BLOCK_S
    pace.saw(3, 5, 41.0)
    assert 0 < pace.pause(41.0) <= MAX_BLOCK_S
