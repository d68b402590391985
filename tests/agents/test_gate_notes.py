# SPDX-License-Identifier: Apache-2.0
"""The gate's audit log beside the chain: each opening has its entry, and notes that one or a later one."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.gate_world import Enclave, World, granted
from tests.local_chain import account
from tests.rpc_proxy import RpcProxy

from sealroom import typed
from sealroom.encoding import to_hex
from sealroom.key_release import GrantReply
from sealroom.model import Run, Study
from sealroom_agents.chain import Opened, Transactor
from sealroom_agents.cli.gatelog import gate_log
from sealroom_agents.errors import TransactionError
from sealroom_agents.gate.audit import GENESIS, AuditLog
from sealroom_agents.gate.notes import booking_facts, bookings

pytestmark = pytest.mark.anvil


class Heads:
    """Where a log keeps its head."""

    def audit_head(self) -> None:
        return None

    def keep_audit_head(self, head: Any, beside: Any = ()) -> None:
        return None


def compared(
    world: World, *arguments: str, log: Path | None = None, rpc: Sequence[str] | None = None
) -> Result:
    world.chain.keep_real_time()  # as the command does
    named = [part for url in rpc or (world.chain.url,) for part in ("--rpc", url)]
    command = [str(log or world.state / "audit.jsonl"), *named, *arguments]
    return CliRunner().invoke(gate_log, command, standalone_mode=False)


def broken(world: World, why: str, *arguments: str, log: Path | None = None) -> None:
    """The command refuses the log, and says why of one run."""
    told = compared(world, *arguments, log=log)
    assert told.return_value == 1, told.output
    assert told.output.count("BROKEN") == 1 and why in told.output, told.output


def small(world: World) -> Enclave:
    """One that leaves ε for others."""
    return Enclave(world, epsilon_micro=500_000, delta_pico=1)


def test_each_opening_notes_its_entry_or_a_later_one(approved: World) -> None:
    """RE-12."""
    enclaves = [small(approved) for _ in range(2)]
    for enclave in enclaves:
        granted(enclave.ask())
    told = compared(approved)
    assert told.return_value == 0, told.output
    assert f"ok      {approved.room.consortium}: 2 runs on chain" in told.output
    facts = json.loads(compared(approved, "--json", "--consortium", approved.room.consortium).output)
    assert facts["ok"] and facts["consortia"][0]["complete"]
    assert [run["runId"] for run in facts["consortia"][0]["openings"]] == [
        to_hex(enclave.run_id) for enclave in enclaves
    ]
    digests = {to_hex(one) for one in bookings(approved.state / "audit.jsonl").log.digests}
    assert {run["note"] for run in facts["consortia"][0]["openings"]} <= digests


@pytest.mark.parametrize(
    ("note", "why"),
    [
        (lambda world: b"\x07" * 32, "which is NOT in the log"),
        (lambda world: GENESIS.digest, "which is NOT in the log"),
        (lambda world: bookings(world.state / "audit.jsonl").log.digests[0], "it notes entry 1, and its own"),
    ],
    ids=["unknown", "empty", "earlier"],
)
def test_a_changed_note_breaks_the_comparison(
    approved: World, note: Callable[[World], bytes], why: str
) -> None:
    """RE-12: the twin of the test above, with a note that is not the head of the log."""
    granted(small(approved).ask())
    wrong = note(approved)
    approved.gate._bookings._note = lambda: wrong
    granted(small(approved).ask())
    broken(approved, why)


def test_a_run_that_another_one_opens_with_the_gates_key_has_no_entry(approved: World) -> None:
    """CH-36, AT-36: the thief notes the true head of the log, and only its entry is missing."""
    granted(small(approved).ask())
    key = approved.gate._root.signer_key.reveal()
    run = Run(
        run_id=secrets.token_bytes(32),
        epsilon_micro=1,
        delta_pico=0,
        enclave_signer=account(15),
        grant_hash=b"\x07" * 32,
        open_before=approved.chain.head_time() + 600,
    )
    room, study = approved.room, approved.chain.study(approved.study)
    head = bookings(approved.state / "audit.jsonl").log.head
    Transactor(approved.chain.url, key).open_runs(
        room.ledger, room.consortium, study, [run], note=head.digest
    )
    broken(approved, "has the gate's key")


class Faster:
    """A thief of the gate's key who sees its transaction, and is faster with the same run for its own key."""

    def __init__(self, world: World) -> None:
        self._stolen = Transactor(world.chain.url, world.gate._root.signer_key.reveal())
        self._gate = world.gate._bookings._opener

    def book(
        self, ledger: str, consortium: str, study: Study, runs: Sequence[Run], *, note: bytes
    ) -> Iterator[tuple[bytes, Opened | TransactionError]]:
        own = [replace(run, enclave_signer=account(15)) for run in runs]
        self._stolen.open_runs(ledger, consortium, study, own, note=note)
        yield from self._gate.book(ledger, consortium, study, runs, note=note)


def test_who_is_faster_with_a_run_of_the_gate_s_own_has_no_entry_either(approved: World) -> None:
    """CH-36: run, grant and note are the gate's; the enclave's key is the thief's."""
    granted(small(approved).ask())
    assert compared(approved).return_value == 0
    approved.gate._bookings._opener = Faster(approved)
    assert small(approved).ask().json()["code"] == "unknown-run-id-reused"
    broken(approved, "has the gate's key")


def test_one_node_hides_no_opening_from_the_others(approved: World) -> None:
    """CH-03: a node that keeps silent about an opening hides it only where it alone is asked."""
    granted(small(approved).ask())
    before = approved.chain.rpc("eth_blockNumber")
    wrong = GENESIS.digest
    approved.gate._bookings._note = lambda: wrong
    granted(small(approved).ask())

    def earlier(method: str, params: list[Any]) -> list[Any]:
        """Its newest block is the one before."""
        at_head = method == "eth_getBlockByNumber" and params[0] in ("latest", "finalized")
        return [before, *params[1:]] if at_head else params

    with RpcProxy(approved.chain.url) as liar:
        liar.rewrite = earlier
        honest = approved.chain.url
        assert compared(approved, rpc=(liar.url,)).return_value == 0
        for pair in ((liar.url, honest), (honest, liar.url)):
            told = compared(approved, rpc=pair)
            assert told.return_value == 1 and "which is NOT in the log" in told.output, told.output
            assert "1 run not shown by every node" in told.output


def test_a_log_that_was_written_anew_lacks_what_is_on_chain(approved: World, tmp_path: Path) -> None:
    """RE-12: every digest of it holds, and it is not the log that the openings note."""
    enclave = small(approved)
    reply = granted(enclave.ask())
    path = tmp_path / "anew.jsonl"
    log = AuditLog(path, Heads(), clock=lambda: 0)
    log.append("started", facts={"signer": approved.identity().signer})
    broken(approved, "the log was rewritten", "--consortium", approved.room.consortium, log=path)
    grant = reply.grant
    run = Run(
        run_id=grant.run_id,
        epsilon_micro=grant.epsilon_micro,
        delta_pico=grant.delta_pico,
        enclave_signer=grant.enclave_signer,
        grant_hash=grant_hash(approved, reply),
        open_before=0,
    )
    log.append("booking", facts=booking_facts(approved.room.consortium, run))
    broken(approved, "which is NOT in the log", log=path)


def grant_hash(world: World, reply: GrantReply) -> bytes:
    return typed.digest(typed.grant(reply.grant, chain_id=31337, consortium=world.room.consortium))


def test_a_log_of_another_gate_is_told(approved: World, tmp_path: Path) -> None:
    granted(small(approved).ask())
    path = tmp_path / "other.jsonl"
    AuditLog(path, Heads(), clock=lambda: 0).append("started", facts={"signer": account(15)})
    told = compared(approved, "--consortium", approved.room.consortium, log=path)
    assert told.return_value == 1 and "never adopted the gate of this log" in told.output
    assert "1 run more, opened by another gate" in told.output


def test_nothing_is_opened_while_the_log_cannot_be_written(approved: World) -> None:
    """OP-05: no ε is spent for a run whose keys could not be released."""
    (approved.state / "audit.jsonl").unlink()
    assert Enclave(approved).ask().status_code == 503
    call = approved.chain.call(
        "Ledger", approved.room.ledger, "spending", approved.room.consortium, approved.study
    )
    assert call["runs"] == 0
