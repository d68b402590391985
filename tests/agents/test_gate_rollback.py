# SPDX-License-Identifier: Apache-2.0
"""A gate whose state was put back to an older copy grants nothing more (OP-08)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.gate_world import Enclave, World, granted, refused
from tests.rpc_proxy import RpcProxy

from sealroom_agents.gate import rollback as module
from sealroom_agents.gate import service
from sealroom_agents.gate.audit import AuditLog, read
from sealroom_agents.gate.breaks import written
from sealroom_agents.gate.rollback import Rollback
from sealroom_agents.gate.sessions import Sessions

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
    world.gate._releases._ready = rollback.require_newest
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


def accept_break(world: World) -> None:
    """What --accept-audit-break does at a start."""
    sessions = Sessions.open(world.state)
    kept = sessions.audit_head()
    assert kept is not None
    AuditLog(world.state / "audit.jsonl", sessions, clock=world.clock, accept_break=kept.digest).close()
    sessions.close()


@pytest.mark.parametrize("breaks", [1, 2])
def test_a_damaged_log_that_was_set_aside_is_no_older_one(approved: World, breaks: int) -> None:
    """RE-12: one letter of an old line rots; the lines behind it still show what the gate wrote."""
    log = approved.state / "audit.jsonl"
    for number in range(breaks):
        watched(approved)
        granted(small(approved).ask())
        approved.chain.finalize()
        approved.stop_gate()
        lines = log.read_bytes().splitlines(keepends=True)
        lines[number] = lines[number].replace(b'"time":', b'"tine":')
        log.write_bytes(b"".join(lines))
        accept_break(approved)
        approved.start_gate()
        approved.clock.ahead += 1
    watched(approved)
    granted(small(approved).ask())


def test_an_older_copy_whose_break_was_accepted_stays_an_older_one(approved: World, tmp_path: Path) -> None:
    """Whatever lines of the newer log are put behind it: its database never knew them."""
    watched(approved)
    granted(small(approved).ask())
    approved.stop_gate()
    copy, state = tmp_path / "copy", approved.state
    shutil.copytree(state, copy)
    approved.start_gate()
    watched(approved)
    granted(small(approved).ask())
    approved.chain.finalize()
    approved.stop_gate()
    newer = (state / "audit.jsonl").read_bytes()
    shutil.rmtree(state)
    shutil.copytree(copy, state)
    (state / "audit.jsonl").write_bytes(newer.replace(b'"time":', b'"tine":', 1))
    accept_break(approved)
    approved.start_gate()
    watched(approved)
    refused(small(approved).ask(), "state-rolled-back")


def test_a_look_that_the_chain_does_not_answer_refuses_for_now(approved: World) -> None:
    with RpcProxy(approved.chain.url) as proxy:
        rollback = Rollback(
            chain=approved.chain.reader(proxy.url), log=approved.state / "audit.jsonl",
            signer=approved.identity().signer,
        )  # fmt: skip
        approved.gate._releases._ready = rollback.require_newest
        proxy.down = True
        refused(small(approved).ask(), "chain-unreachable", 503)
        assert rollback.trouble is None
        proxy.down = False
        granted(small(approved).ask())


def test_a_note_costs_one_pass_through_the_log_however_often_it_is_asked_about(
    approved: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-08, RE-05: a consortium of strangers whose runs note what no log has makes nobody read it again."""
    passes = list[Path]()

    def counted(path: Path) -> set[bytes]:
        passes.append(path)
        return written(path)

    monkeypatch.setattr(module, "written", counted)
    monkeypatch.setattr(module, "MAX_NOTES", 2)
    log = approved.state / "audit.jsonl"
    rollback = Rollback(chain=approved.reader, log=log, signer=approved.identity().signer)
    known, strange = read(log).head.digest, bytes(31) + b"1"
    for _ in range(3):
        assert rollback._known({known, strange}) == {known: True, strange: False}
    assert len(passes) == 1
    rollback._known({bytes(31) + b"2"})
    assert rollback._known({known, strange})[known] and len(passes) == 3, "so many are remembered"


def test_who_is_refused_fills_no_disk(approved: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """OP-05, RE-05: nonces and evidence that proves nothing are free, and the log is on disk."""
    monkeypatch.setattr(service, "REFUSALS_AT_ONCE", 2)
    approved.start_gate()

    def written() -> list[int]:
        lines = map(json.loads, (approved.state / "audit.jsonl").read_text().splitlines())
        return [line["facts"].get("unwritten", 0) for line in lines if line["event"] == "refused"]

    def stranger() -> None:
        assert Enclave(approved, recipe=b'{"name":"another"}').ask().status_code == 403

    for _ in range(5):
        stranger()
    assert written() == [0, 0]
    approved.clock.ahead += 1
    stranger()
    assert written() == [0, 0, 3], "the next one says how many were not written"
