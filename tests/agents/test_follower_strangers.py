# SPDX-License-Identifier: Apache-2.0
"""Strangers' contracts that take all the time and gas that a node gives: what is honest stays fresh."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from tests.agents.followed import Followed, Stage, following, staged
from tests.lens import looks
from tests.local_chain import LocalChain
from tests.patience import PATIENCE_S, until

from sealroom.codes import Code
from sealroom_agents.chain import looking
from sealroom_agents.chain.lanes import ALONE_S, PAUSES_S, PROVEN, Group, Lanes
from sealroom_agents.chain.look import Ask
from sealroom_agents.chain.picture import MAX_AGE_S
from sealroom_agents.chain.views import PLACE_S, Place
from sealroom_agents.errors import ChainError

pytestmark = pytest.mark.anvil

SELF = "36600414" + "60{:02x}57" + "{}" + "5b3060005260206000f3"
"""A contract that is its own ledger and lens: it answers a question of four bytes with its address, and any
longer one with what stands between."""
BURNS = SELF.format(11, "5b600756")
LARGE = SELF.format(14, "62210000" + "6000f3")
SLOW_S, BLOCK_S = 5.0, 4.0


def deploy(chain: LocalChain, code: str, count: int) -> list[str]:
    """Consortia whose contracts are this code."""
    made = ["0x" + secrets.token_hex(20) for _ in range(count)]
    for address in made:
        chain.rpc("anvil_setCode", address, "0x" + code)
    return made


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as stage:
        yield stage


def refuses(followed: Followed, consortium: str) -> bool:
    """Whether it is no consortium, as far as was looked; nobody waits for it."""
    try:
        followed.follower.view(consortium)
    except ChainError:
        return True
    return False


def test_fifty_hostile_consortia_do_not_make_an_honest_lease_stale(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CH-04: they burn all gas, answer megabytes, or take 5 seconds each; all hold leases. Blocks come every
    4 seconds, and the node gives an exchange as long."""
    monkeypatch.setattr(looking, "SHARE", PATIENCE_S / BLOCK_S)
    monkeypatch.setattr(looking, "ROUND_SHARE", PATIENCE_S / BLOCK_S)
    strangers = deploy(stage.chain, BURNS, 4) + deploy(stage.chain, LARGE, 4)
    slow = set(deploy(stage.chain, LARGE, 42))
    asked = dict.fromkeys([*strangers, *slow], 0)
    with following(stage, nodes=1, quorum=1, stands=True) as followed:
        run = secrets.token_bytes(32)
        followed.follower.view(followed.room)
        assert followed.follower.commitment(followed.room, run) is None
        monkeypatch.setattr("sealroom_agents.chain.follower.AWAIT_S", 0.0)

        def takes_long(method: str, params: list[Any], result: Any) -> Any:
            if looks(method, params) and params[0]["to"] in asked:
                asked[params[0]["to"]] += 1
                if params[0]["to"] in slow:
                    followed.late_s += SLOW_S / 2  # at each of two blocks
                    return None
            return result

        stage.nodes[0].tamper = takes_long
        for one in (*strangers, *slow):
            assert refuses(followed, one)
            assert not refuses(followed, followed.room)
            memory = followed.follower._picture.memories[one]
            with followed.follower._change:
                memory.follow(run, followed.follower._clock())
        ages = []
        for _ in range(12):
            followed.late_s += BLOCK_S
            followed.caught_up()
            with followed.follower._change:
                seat = next(iter(followed.follower._picture.seats.values()))
                ages.append(followed.follower._clock() - seat.saw(followed.room))
            assert followed.follower.commitment(followed.room, run) is None, "what a renewal reads is there"
        assert max(ages) <= MAX_AGE_S, ages
        assert followed.kinds() == ["seated"], "a node is not to blame for what contracts answer"
        assert sum(asked.values()) > 0


def test_what_strangers_have_asked_costs_no_node_its_seat(stage: Stage) -> None:
    """CH-03: `app_answer` and refusals that are explained ask nodes in their own name."""
    with following(stage, nodes=1, quorum=1) as followed:
        followed.follower.view(followed.room)
        for breaker in followed.reader._nodes._breakers.values():
            breaker.fail(ChainError(Code.CHAIN_UNREACHABLE, "it was silent for a stranger"))
        assert not any(followed.reader.available.values())
        assert followed.kinds() == ["seated"]


def test_a_ledger_that_a_node_named_falsely_is_asked_for_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CH-03: it lied once, of a contract's answer; it is not held to that."""
    monkeypatch.setattr("sealroom_agents.chain.follower.AWAIT_S", 0.0)
    (false,) = deploy(stage.chain, LARGE, 1)
    with following(stage, nodes=1, quorum=1) as followed:

        def names_another(method: str, params: list[Any], result: Any) -> Any:
            if method == "eth_call" and params[0]["to"] == followed.room:
                return "0x" + false[2:].rjust(64, "0")
            return result

        stage.nodes[0].tamper = names_another
        assert refuses(followed, followed.room)
        followed.caught_up()
        stage.nodes[0].tamper = lambda method, params, result: result

        def honest_again() -> bool:
            followed.late_s += max(PAUSES_S)
            followed.caught_up()
            return not refuses(followed, followed.room)

        until(honest_again)
        places, (rpc,) = followed.follower._looking._places, followed.follower._picture.seats
        places._clock = lambda: followed.follower._clock()
        assert places.known(rpc, followed.room) is not None
        followed.late_s += PLACE_S + 1
        assert places.known(rpc, followed.room) is None


def test_lanes_ask_the_prompt_first_and_find_who_is_slow() -> None:
    """CH-04: on a set clock; who is slow is found by being asked alone, and waits longer each time."""
    lanes, here, there = Lanes(), Place("0xa", "0xb"), Place("0xc", "0xd")
    asks = [Ask(f"0x{number:02x}", runs=(b"r",) if number == 7 else ()) for number in range(40)]
    places = {ask.consortium: there if ask.consortium == "0x27" else here for ask in asks}

    def names(groups: list[Group]) -> list[list[str]]:
        return [[ask.consortium for ask in group.asks] for group in groups]

    first = lanes.groups(asks, places, 0.0)
    assert names(first)[0] == ["0x07"], "a live lease first, with no newcomer beside it"
    assert sorted(map(len, names(first))) == [1, 1, 6, 16, 16], "another lens by itself"
    slow = next(group for group in first if len(group.asks) == 6)
    lanes.bad(slow, 1.0)
    assert [len(group) for group in names(lanes.groups(asks, places, 1.0))].count(1) == 8
    culprit = Group(here, slow.asks[:1])
    for pause in (*PAUSES_S, PAUSES_S[-1]):
        lanes.bad(culprit, 2.0)
        assert culprit.asks[0] not in lanes.due(asks, 2.0 + pause - 0.1)
        assert culprit.asks[0] in lanes.due(asks, 2.0 + pause)
    for ask in asks:
        if ask not in culprit.asks:
            for _ in range(PROVEN):
                lanes.good(ask.consortium, 3.0)
    late = names(lanes.groups(asks, places, 1.0 + ALONE_S))
    assert late[-1] == [culprit.asks[0].consortium], "whoever was slow comes last, alone"
    assert sorted(map(len, late)) == [1, 1, 6, 16, 16], (
        "all others are together again, the live one among them"
    )
