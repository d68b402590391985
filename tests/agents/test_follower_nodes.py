# SPDX-License-Identifier: Apache-2.0
"""What may become of a node: each fault is named, costs it its seat, and is forgiven. And of a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.agents.followed import Stage, following, staged
from tests.patience import until
from tests.rpc_proxy import honest

from sealroom.codes import Code
from sealroom_agents.chain.looking import TROUBLE_S
from sealroom_agents.chain.seats import Seat

pytestmark = pytest.mark.anvil


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with staged() as stage:
        stage.chain.mine(4)
        yield stage


def block(tag: str, **changes: Any) -> Callable[[str, list[Any], Any], Any]:
    """The block of a tag is another one in some fields."""

    def tamper(method: str, params: list[Any], result: Any) -> Any:
        return {**result, **changes} if method == "eth_getBlockByNumber" and params[0] == tag else result

    return tamper


def no_block(method: str, params: list[Any], result: Any) -> Any:
    return None if method.startswith("eth_getBlock") else result


def other_chain(method: str, params: list[Any], result: Any) -> Any:
    """As it answers once it is another chain's, also by its lens."""
    if method == "eth_chainId":
        return "0x1"
    return "0x" + result[2:66] + f"{1:064x}" + result[130:] if method == "eth_call" else result


@dataclass(frozen=True)
class Fault:
    """What a node does, and what it is then called."""

    tamper: Callable[[str, list[Any], Any], Any]
    kind: str
    says: str


FAULTS = {
    "its clock is an hour behind": Fault(
        block("latest", timestamp="0x1"), "chain-stale", "away from this clock"
    ),
    "its clock is far ahead": Fault(
        block("latest", timestamp="0x7fffffff"), "chain-stale", "away from this clock"
    ),
    "it began anew with an old copy": Fault(
        block("finalized", number="0x0", hash="0x" + "61" * 32), "chain-stale", "went back from final block"
    ),
    "its final block is beyond its newest": Fault(
        block("finalized", number="0xffff", hash="0x" + "62" * 32), "chain-stale", "has not got"
    ),
    "its safe block is beyond its newest": Fault(
        block("safe", number="0xffff", hash="0x" + "63" * 32), "chain-stale", "block safe that it has not got"
    ),
    "it is on another chain": Fault(other_chain, "chain-disagrees", "is on chain 1, not 31337"),
    "its numbers begin with zeros": Fault(
        block("latest", number="0x01"), "chain-unreachable", "a malformed number"
    ),
    "it has no blocks": Fault(no_block, "chain-unreachable", "answers nothing for block"),
}


def test_each_fault_of_a_node_is_named_drops_it_and_is_forgiven(stage: Stage) -> None:
    """CH-03, CH-04, CH-07: two others go on; no fault ends a thread."""
    with following(stage, safe=True) as followed:
        followed.follower.view(followed.room)
        until(lambda: followed.kinds() == ["seated"] * 3)
        rpc, seat = list(followed.follower._picture.seats.items())[2]
        for name, fault in FAULTS.items():
            stage.nodes[2].tamper = fault.tamper
            followed.caught_up()
            assert followed.follower.states[2].kind == fault.kind, name
            assert seat.failure is not None and fault.says in seat.failure.message, (name, seat.failure)
            assert rpc.shown_url in seat.failure.message
            assert followed.follower.view(followed.room).study is not None
            assert followed.follower.trouble is None, name
            stage.nodes[2].tamper = honest
            followed.readmit()
            until(lambda: followed.kinds() == ["seated"] * 3)


def test_a_thread_that_an_error_ends_is_told_and_another_goes_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """CH-04: not ready for a while; what nobody looks at would get old."""
    monkeypatch.setattr("threading.excepthook", lambda arguments: None)
    with following(stage) as followed:
        followed.follower.view(followed.room)
        followed.caught_up()
        assert followed.follower.trouble is None
        doomed = next(iter(followed.follower._picture.seats.values()))
        thread = followed.follower._looking._threads[doomed]
        with monkeypatch.context() as patch:

            def breaks(self: Seat, look: Any, at: float) -> None:
                raise ZeroDivisionError("nobody foresaw it")

            patch.setattr(Seat, "take", breaks)
            followed.follower.refresh(every=True)
            until(lambda: not thread.is_alive())
            assert "was ended by an error" in (followed.follower.trouble or "")
            until(lambda: followed.follower.states[0].kind == Code.INTERNAL)
        followed.readmit()
        until(lambda: followed.kinds() == ["seated"] * 3)
        assert followed.follower._looking._threads[doomed] is not thread
        followed.late_s += TROUBLE_S + 1
        followed.caught_up()
        assert followed.follower.trouble is None
        assert followed.follower.view(followed.room).study is not None
