# SPDX-License-Identifier: Apache-2.0
"""A run that cannot go on keeps no other from going on, and no result whose receipt is on chain is lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.agents.emitted import signed
from tests.agents.test_runner import PAYER, ScriptedBackend, ScriptedEnclave, emit, runner
from tests.local_chain import LocalChain, account, private_key
from tests.outside import HOLDER, Lab, make_recipe
from tests.patience import PATIENCE_S, until
from tests.rpc_proxy import RpcProxy

from sealroom.codes import Code
from sealroom.envelope import Envelope, parse_envelope
from sealroom.model import Opening, Receipt
from sealroom_agents.chain import Transactor, TxResult
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.fees import GWEI
from sealroom_agents.chain.sending import reverted
from sealroom_agents.runner.backend import Assignment, Leftovers
from sealroom_agents.runner.pauses import FIRST_S, KEPT_S, MAX_S, Pauses
from sealroom_agents.runner.publish import UNSAID_TRIES, Publisher, Sender
from sealroom_agents.runner.service import MAX_RECHECKS, Runner
from sealroom_agents.store import Run, Store
from sealroom_agents.upkeep.rebuild import Rebuild

pytestmark = pytest.mark.anvil

AGAIN = replace(HOLDER, id="again")
"""The next process of the same place."""
OTHER = 17
"""anvil's account of somebody else."""
REFUSED = {"phase": "refused", "code": "not-approved", "message": "0 of 2"}


@pytest.fixture
def lab(chain: LocalChain, tmp_path: Path) -> Iterator[Lab]:
    snapshot = chain.snapshot()
    yield Lab.on(chain, tmp_path)
    chain.restore(snapshot)


class Refusing(ScriptedBackend):
    """Enclaves that the gate refuses."""

    def start(self, assignment: Assignment) -> ScriptedEnclave:
        return ScriptedEnclave([REFUSED], exit=3)


def refusing() -> Refusing:
    return Refusing(ScriptedEnclave([], exit=3))


@contextmanager
def serving(lab: Lab) -> Iterator[None]:
    """A runner that works meanwhile."""
    stop = threading.Event()
    loop = threading.Thread(target=runner(lab, refusing(), stop=stop, holder=AGAIN).serve, daemon=True)
    loop.start()
    try:
        yield
    finally:
        stop.set()
        loop.join(PATIENCE_S)
        assert not loop.is_alive()


def kept(folder: Path, digest: str) -> Path:
    """The file of the content store that holds these bytes."""
    return next(folder.rglob(digest.removeprefix("0x")))


def lose_draft(lab: Lab, folder: Path, run: Run, envelope: bytes, *, how: str) -> None:
    """Its envelope is not kept any more, or not as it was."""
    digest = lab.store.content.put(envelope)
    if how == "lost":
        lab.store.content.discard(digest)
    else:
        kept(folder, digest).write_bytes(b"rot")


# --- envelopes that are lost ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_a_run_whose_envelope_is_lost_keeps_no_other_from_its_turn(
    lab: Lab, tmp_path: Path, how: str
) -> None:
    """OP-05: it waits, for it may come back with a backup; those behind it do not, and it tells of itself
    once."""
    run, emitted = emit(lab, lab.live())
    lose_draft(lab, tmp_path, run, emitted.encode(), how=how)
    queued = [lab.submit() for _ in range(2)]
    with serving(lab):
        until(lambda: all(lab.store.run(one).state == "refused" for one in queued))
    assert lab.store.run(run.id).state == "anchoring"
    phases = [event.phase for event in lab.store.events(run.id)]
    assert phases == ["queued", "starting", "anchoring", "resumed"]


@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_an_envelope_that_is_lost_is_taken_from_the_runners_folder(
    lab: Lab, tmp_path: Path, how: str
) -> None:
    """RE-06."""
    run, emitted = emit(lab, lab.live())
    lose_draft(lab, tmp_path, run, emitted.encode(), how=how)
    taken = lab.store.claim(AGAIN)
    assert taken is not None and taken.id == run.id
    backend = refusing()
    backend.found[run.id] = Leftovers(started=True, envelope=emitted.encode(), failure=None)
    runner(lab, backend, holder=AGAIN).process(taken)
    assert lab.store.run(run.id).state == "done"
    assert backend.forgotten == [run.id]


def test_other_bytes_in_the_runners_folder_change_nothing(lab: Lab) -> None:
    run, emitted = emit(lab, lab.live())
    taken = lab.store.claim(AGAIN)
    assert taken is not None
    before = list(lab.store.content.digests())
    lab.store.mend_draft(taken, b"{}")
    assert list(lab.store.content.digests()) == before
    assert lab.store.draft(run.id) == emitted.encode().decode()


def test_a_run_that_is_taken_up_again_and_again_tells_so_once_for_each_runner(lab: Lab) -> None:
    lab.submit()
    lab.store.advance(lab.take(), "computing", message="runs")
    other = replace(HOLDER, id="other", name="other")

    def phases() -> list[str]:
        for holder in (AGAIN, other, AGAIN, other):
            taken = lab.store.claim(holder)
            assert taken is not None and taken.taken_up
            lab.store.release(holder)
        return [event.phase for event in lab.store.events(taken.id)]

    assert phases() == ["queued", "starting", "computing", "resumed", "resumed"]
    (run,) = lab.store.runs()
    lab.store.note(run, "granted", "it went on")
    assert phases()[-3:] == ["granted", "resumed", "resumed"]


def test_a_run_that_fails_again_and_again_is_left_alone_for_longer() -> None:
    now = 0.0
    pauses = Pauses(clock=lambda: now)
    pauses.failed("a")
    pauses.leave("b", 3 * FIRST_S)
    assert pauses.left() == ["a", "b"]
    now += FIRST_S
    assert pauses.left() == ["b"]
    pauses.failed("a")
    now += FIRST_S
    assert pauses.left() == ["a", "b"]
    for _ in range(20):
        pauses.failed("a")
    now += MAX_S - FIRST_S
    assert pauses.left() == ["a"]
    pauses.over("a")
    pauses.failed("a")
    now += FIRST_S
    assert pauses.left() == []
    now += KEPT_S
    assert pauses.left() == []
    assert pauses._pauses == {}


# --- waiting runs --------------------------------------------------------------------------------


def strangers(lab: Lab, folder: Path) -> Lab:
    """Another consortium with another study, in the same store."""
    folder.mkdir()
    other = Lab.on(lab.chain, folder, recipe=make_recipe(folder / "study", question="What else?"))
    other.store.close()
    return replace(other, store=lab.store)


def until_queued(lab: Lab, one: Runner, *runs: str) -> None:
    """Look again at what waiting runs lack, until these lack nothing."""

    def queued() -> bool:
        one._rechecked = 0.0
        one.recheck()
        return all(lab.store.run(run).state == "queued" for run in runs)

    until(queued)


def test_many_waiting_runs_of_strangers_keep_no_older_one_waiting(lab: Lab, tmp_path: Path) -> None:
    """OP-05: its last approval is seen, however many came after it."""
    waiting = lab.submit(waiting=True)
    other = strangers(lab, tmp_path / "other")
    for _ in range(MAX_RECHECKS + 1):
        other.submit(waiting=True)
    lab.live()
    lab.chain.keep_real_time()
    until_queued(lab, runner(lab, refusing()), waiting)


@pytest.mark.parametrize("what", ["its recipe", "its consortium"])
def test_a_waiting_run_that_cannot_be_read_keeps_no_other_waiting(
    lab: Lab, tmp_path: Path, what: str
) -> None:
    waiting = lab.submit(waiting=True)
    other = strangers(lab, tmp_path / "other")
    damaged = other.submit(waiting=True)
    lab.live()
    lab.chain.keep_real_time()
    with RpcProxy(lab.chain.url) as proxy:
        if what == "its recipe":
            kept(tmp_path, other.compose_hash).write_bytes(b"rot")
        else:
            unread = other.room.consortium.removeprefix("0x")
            proxy.refuses = lambda method, params: unread in json.dumps(params)
        one = runner(replace(lab, reader=lab.chain.reader(proxy.url)), refusing())
        one._unread = Pauses(clock=lambda: 0.0)
        until_queued(lab, one, waiting)
        assert lab.store.run(damaged).state == "waiting"
        calls = proxy.calls
        one._rechecked = 0.0
        one.recheck()
        assert proxy.calls == calls  # it is left alone for a while


def test_while_no_node_answers_one_waiting_run_is_looked_at_and_no_more(lab: Lab) -> None:
    lab.live()
    runs = [lab.submit(waiting=True) for _ in range(3)]
    with RpcProxy(lab.chain.url) as proxy:
        one = runner(replace(lab, reader=lab.chain.reader(proxy.url)), refusing())
        proxy.down = True
        one.recheck()
        assert one._unread._pauses == {}
        proxy.down = False
        lab.chain.keep_real_time()
        until_queued(lab, one, *runs)


# --- receipts that are on chain ------------------------------------------------------------------


def publisher(lab: Lab, sender: Sender, *, stop: threading.Event | None = None) -> Publisher:
    return Publisher(lab.store, lab.reader, sender, stop=stop or threading.Event(), chain_id=31337)


@dataclass
class Unsaid:
    """The real transactor: each of its transactions is mined, and no node says what became of it."""

    transactor: Transactor
    before: Callable[[Sender], None]
    """What happens before the first."""
    sent: int = 0

    def anchor(self, ledger: str, receipt: Receipt, opening: Opening, signature: bytes) -> TxResult:
        self.sent += 1
        if self.sent == 1:
            self.before(self.transactor)
        raise reverted(b"", "the transaction was mined but reverted")


def anchored_by(lab: Lab, sender: Sender, emitted: Envelope) -> TxResult:
    """The receipt is put on chain."""
    found = lab.reader.receipt(lab.room.ledger, emitted.receipt, emitted.receipt_signature)
    assert found is not None
    return sender.anchor(lab.room.ledger, emitted.receipt, found.opening, emitted.receipt_signature)


def test_an_anchoring_whose_logs_a_node_keeps_back_is_published(lab: Lab) -> None:
    """CH-03: what one answer lacks is no end of a result."""
    run, emitted = emit(lab, lab.live())
    with RpcProxy(lab.chain.url) as proxy:

        def without_logs(method: str, params: list[Any], result: Any) -> Any:
            return {**result, "logs": []} if method == "eth_getTransactionReceipt" and result else result

        proxy.tamper = without_logs
        publisher(lab, Transactor(proxy.url, private_key(PAYER))).publish(run)
    assert lab.store.run(run.id).state == "done"
    published = parse_envelope((lab.store.envelope(run.id) or "").encode())
    assert published.anchor is not None and replace(published, anchor=None) == emitted


def test_a_receipt_that_came_first_is_published_though_no_node_says_why_ours_failed(lab: Lab) -> None:
    """RE-06: both are mined in one block, and the nodes are too slow to say that it was there already."""
    run, emitted = emit(lab, lab.live())
    found = lab.reader.receipt(lab.room.ledger, emitted.receipt, emitted.receipt_signature)
    assert found is not None
    data = interface("Ledger").encode(
        "anchor", emitted.receipt.solidity(), found.opening.solidity(), emitted.receipt_signature
    )
    first = {
        "from": account(OTHER), "to": lab.room.ledger, "data": "0x" + data.hex(), "gas": hex(500_000),
        "maxFeePerGas": hex(90 * 10**9), "maxPriorityFeePerGas": hex(50 * 10**9),
    }  # fmt: skip
    with RpcProxy(lab.chain.url) as proxy:
        proxy.refuses = lambda method, params: method == "eth_call" and "from" in params[0]
        publish = publisher(lab, Transactor(proxy.url, private_key(PAYER)))
        lab.chain.rpc("evm_setAutomine", False)
        try:
            sending = threading.Thread(target=publish.publish, args=(run,))
            sending.start()
            until(lambda: lab.chain.rpc("txpool_content")["pending"])
            lab.chain.rpc("eth_sendTransaction", first)
            lab.chain.rpc("evm_mine")
        finally:
            lab.chain.rpc("evm_setAutomine", True)
        sending.join(PATIENCE_S)
    block = lab.chain.rpc("eth_getBlockByNumber", "latest", True)
    assert [one["from"] for one in block["transactions"]] == [account(OTHER), account(PAYER)]
    assert lab.store.run(run.id).state == "done"


def test_an_order_that_comes_after_the_anchoring_does_not_drop_it(lab: Lab) -> None:
    run, emitted = emit(lab, lab.live())

    def before(sender: Sender) -> None:
        anchored_by(lab, sender, emitted)
        lab.store.observe(
            lab.room.consortium, kind=Code.REVOKED, steps=3, standing="0x5a", block=9, block_time=0.0,
            owner=None, reason="stop",
        )  # fmt: skip

    unsaid = Unsaid(Transactor(lab.chain.url, private_key(PAYER)), before)
    publisher(lab, unsaid).publish(run)
    assert (lab.store.run(run.id).state, unsaid.sent) == ("done", 1)


def test_transactions_that_fail_and_nobody_says_why_end_the_run_at_last(lab: Lab) -> None:
    """Each costs gas; and a runner that is stopped before leaves the run to the next one."""
    run, _ = emit(lab, lab.live())
    stop = threading.Event()
    sender = Transactor(lab.chain.url, private_key(PAYER))
    stopped = Unsaid(sender, lambda _: stop.set())
    publisher(lab, stopped, stop=stop).publish(run)
    assert (lab.store.run(run.id).state, stopped.sent) == ("anchoring", 1)
    unsaid = Unsaid(sender, lambda _: None)
    publisher(lab, unsaid).publish(run)
    ended = lab.store.run(run.id)
    assert (ended.state, ended.code) == ("failed", "transaction-reverted")
    assert unsaid.sent == 1 + UNSAID_TRIES


def test_a_result_waits_while_fees_are_above_what_the_runner_may_pay(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    """CH-28: fees that rise are no end of a result."""
    run, _ = emit(lab, lab.live())
    sender = Transactor(lab.chain.url, private_key(PAYER), max_fee_wei=500 * GWEI)

    def base_fee(wei: int) -> None:
        lab.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))
        lab.chain.rpc("evm_mine")

    base_fee(900 * GWEI)
    publishing = threading.Thread(target=publisher(lab, sender).publish, args=(run,))
    publishing.start()
    until(lambda: "cannot anchor yet: the base fee is" in caplog.text)
    assert lab.store.run(run.id).state == "anchoring"
    base_fee(GWEI)
    publishing.join(PATIENCE_S)
    assert lab.store.run(run.id).state == "done"


def test_an_anchoring_that_no_block_takes_is_replaced_and_no_copy_queues_behind_it(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    run, _ = emit(lab, lab.live())
    sender = Transactor(lab.chain.url, private_key(PAYER), max_fee_wei=500 * GWEI, receipt_timeout_s=0.5)

    def waiting() -> list[Any]:
        pool = lab.chain.rpc("txpool_content")
        return [nonce for part in pool.values() for sent in part.values() for nonce in sent]

    lab.chain.rpc("evm_setAutomine", False)
    try:
        publishing = threading.Thread(target=publisher(lab, sender).publish, args=(run,))
        publishing.start()
        until(lambda: caplog.text.count("cannot anchor yet: none of the transactions") >= 2)
        assert len(waiting()) == 1
        until(lambda: lab.chain.rpc("evm_mine") and lab.store.run(run.id).state == "done")
    finally:
        lab.chain.rpc("evm_setAutomine", True)
    publishing.join(PATIENCE_S)


# --- a database that is rebuilt ------------------------------------------------------------------


def rebuilt(lab: Lab, store: Store | None = None) -> dict[str, str]:
    """What became of each thing in the store, by its digest."""
    pass_ = Rebuild(store or lab.store, lab.reader, factory=lab.room.factory)
    return {found.digest: found.what for found in pass_.run()}


def test_a_failed_run_whose_receipt_is_on_chain_is_published_after_a_rebuild(lab: Lab) -> None:
    run, emitted = emit(lab, lab.live())
    digest = lab.store.content.put(emitted.encode())
    lab.store.end(run, "failed", code=Code.TRANSACTION_REVERTED, message="anchored nothing")
    lab.chain.keep_real_time()
    assert rebuilt(lab)[digest] == "known"
    assert lab.store.run(run.id).state == "failed", "without a receipt on chain it stays so"
    sender = Transactor(lab.chain.url, private_key(PAYER))
    anchored_by(lab, sender, emitted)
    assert rebuilt(lab)[digest] == "anchoring"
    again = lab.store.claim(AGAIN)
    assert again is not None and (again.state, again.code, again.message) == ("anchoring", None, None)
    publisher(lab, sender).publish(again)
    assert lab.store.run(run.id).state == "done"


def test_envelopes_that_somebody_put_beside_the_true_one_do_not_hide_it(lab: Lab, tmp_path: Path) -> None:
    """Of an unanchored envelope, the ledger's opening says which enclave may have signed it."""
    study = lab.live()
    run, emitted = emit(lab, study)
    true = lab.store.content.put(emitted.encode())
    forged = [
        replace(emitted, receipt_signature=bytes([n]) + emitted.receipt_signature[1:]) for n in range(16)
    ]
    forged += [signed(lab, study, bytes.fromhex(run.id[2:]), opened=False, enclave=OTHER) for _ in range(16)]
    false = {lab.store.content.put(one.encode()) for one in forged} - {true}
    lab.chain.keep_real_time()
    new = Store(f"sqlite:///{tmp_path / 'new.db'}", str(next(tmp_path.glob("*.content"))))
    found = rebuilt(lab, new)
    assert found[true] == "anchoring"
    assert {found.get(one, "ignored") for one in false} == {"ignored"}
    assert new.draft(run.id) == emitted.encode().decode()
    new.close()
