# SPDX-License-Identifier: Apache-2.0
"""A gate whose state was put back to an older copy grants nothing more (OP-08)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.gate_world import Enclave, World, granted, refused
from tests.rpc_proxy import RpcProxy

from sealroom_agents.gate.rollback import Rollback

pytestmark = pytest.mark.anvil


def small(world: World) -> Enclave:
    """One that leaves ε for others."""
    return Enclave(world, epsilon_micro=300_000, delta_pico=1)


def opened(world: World) -> int:
    view = world.chain.reader().latest_view(world.room.consortium, whole=True).best
    assert view is not None
    return view.spending.runs


def watched(world: World) -> Rollback:
    """The gate's own look at the chain before it books, as its command sets it up."""
    rollback = Rollback(chain=world.reader, log=world.state / "audit.jsonl", signer=world.identity().signer)
    world.gate._ready = rollback.require_newest
    return rollback


def test_a_state_that_was_put_back_grants_nothing_and_renews_what_it_knows(
    approved: World, tmp_path: Path
) -> None:
    rollback = watched(approved)
    first = small(approved)
    granted(first.ask())
    assert rollback.trouble is None
    approved.stop_gate()
    copy, state = tmp_path / "copy", approved.state
    shutil.copytree(state, copy)

    approved.start_gate()
    watched(approved)
    granted(small(approved).ask())
    approved.chain.finalize()
    approved.stop_gate()
    newest = tmp_path / "newest"
    shutil.copytree(state, newest)
    shutil.rmtree(state)
    shutil.copytree(copy, state)  # log and database together: they agree with each other

    approved.start_gate()
    rollback = watched(approved)
    before = opened(approved)
    refused(small(approved).ask(), "state-rolled-back")
    assert opened(approved) == before  # it cost nothing
    assert "audit log has no such entry" in (rollback.trouble or "")
    assert first.renew(1).status_code == 200

    approved.stop_gate()
    shutil.rmtree(state)
    shutil.copytree(newest, state)
    approved.start_gate()
    watched(approved)
    granted(small(approved).ask())


def test_a_look_that_the_chain_does_not_answer_refuses_for_now(approved: World) -> None:
    with RpcProxy(approved.chain.url) as proxy:
        rollback = Rollback(
            chain=approved.chain.reader(proxy.url), log=approved.state / "audit.jsonl",
            signer=approved.identity().signer,
        )  # fmt: skip
        approved.gate._ready = rollback.require_newest
        proxy.down = True
        refused(small(approved).ask(), "chain-unreachable", 503)
        assert rollback.trouble is None
        proxy.down = False
        granted(small(approved).ask())
