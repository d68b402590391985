# SPDX-License-Identifier: Apache-2.0
"""The gate's transactions against a hostile chain and hostile nodes: each run is opened once, and told what
became of it, or not opened, and told why.

Each trial ends with `Trial.verdict`, which compares what the runs were told with what the ledger opened."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from eth_abi.abi import encode
from tests.local_chain import Dataset, LocalChain, Room
from tests.patience import PATIENCE_S, until
from tests.rpc_proxy import RpcProxy

from sealroom.keys import address_of
from sealroom.model import Run, Study
from sealroom_agents.chain import Opened, Transactor, nodes, sending
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.fees import GWEI
from sealroom_agents.chain.senders import Senders
from sealroom_agents.chain.sending import Turns
from sealroom_agents.errors import ChainError
from sealroom_agents.gate.booking import Bookings, Order

NOTE = b"\x0e" * 32
SMALL = 1000
"""ε of a run, in millionths."""
ROOM_EPSILON = 1_000_000
FAR = 10**6

Told = dict[bytes, Future[Opened]]


@dataclass
class Trial:
    """A live study whose gate is a key, and runs that it is to open."""

    chain: LocalChain
    room: Room
    study: Study
    key: bytes
    stack: ExitStack
    told: list[Told] = field(default_factory=list)

    def transactor(self, *urls: str, **options: Any) -> Transactor:
        given = {"max_fee_wei": 900 * GWEI, "receipt_timeout_s": PATIENCE_S, **options}
        sender = Transactor(list(urls) or [self.chain.url], self.key, timeout_s=PATIENCE_S, **given)
        self.stack.callback(sender.close)
        return sender

    def bookings(self, sender: Transactor) -> Bookings:
        bookings = Bookings(sender, note=lambda: NOTE, gather_s=0.2)
        self.stack.callback(bookings.close)
        self.told.append({})
        return bookings

    def run(self, **changes: Any) -> Run:
        run = Run(
            run_id=secrets.token_bytes(32),
            epsilon_micro=SMALL,
            delta_pico=0,
            enclave_signer="0x" + "e5" * 20,
            grant_hash=b"\x01" * 32,
            open_before=self.chain.head_time() + FAR,
        )
        return replace(run, **changes)

    def submit(self, bookings: Bookings, *runs: Run, of: int = -1) -> None:
        with bookings._change:  # all of them wait before one is taken, however busy the machine is
            for run in runs:
                order = Order(self.room.ledger, self.room.consortium, self.study, run)
                self.told[of][run.run_id] = bookings.submit(order)

    def wait(self, mined: Callable[[int], object] = lambda block: None) -> None:
        """Mine until every run knows; `mined` is called before each block."""
        block = 0

        def all_told() -> bool:
            nonlocal block
            mined(block)
            self.chain.mine()
            block += 1
            return all(future.done() for told in self.told for future in told.values())

        until(all_told)

    def pending(self) -> list[dict[str, Any]]:
        """The transactions of the key that wait."""
        waiting = self.chain.rpc("txpool_content")["pending"]
        own = {address.lower(): txs for address, txs in waiting.items()}
        return list(own.get(address_of(self.key), {}).values())

    def opened(self) -> Counter[bytes]:
        runs = self.chain.reader().study_history(self.room.consortium).runs
        return Counter(run.run_id for run in runs)

    def verdict(self) -> tuple[int, list[str]]:
        """How many were opened, and what the others were told; the ledger and the told agree."""
        opened, good, bad = self.opened(), set(), []
        for told in self.told:
            for run_id, future in told.items():
                error = future.exception(0)
                if error is None or getattr(error, "revert", None) == "LedgerRunExists":
                    good.add(run_id)
                else:
                    assert isinstance(error, ChainError), error
                    bad.append(getattr(error, "revert", None) or str(error.code))
        assert set(opened.values()) <= {1} and set(opened) == good
        return len(opened), bad

    def base_fee(self, gwei: int) -> None:
        self.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(gwei * GWEI))


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        running.keep_own_time()
        yield running


@pytest.fixture(scope="module")
def rooms(chain: LocalChain) -> tuple[Room, Study, bytes]:
    """One study for all trials; each ends by going back to where they began."""
    key = secrets.token_bytes(32)
    chain.fund(address_of(key), ether=1000)
    room = chain.create_consortium(["a", "b", "c"], threshold=2)
    some = b"\xaa" * 32
    chain.adopt_platform(
        room, gate_root=some, gate_signer=address_of(key), gate_compose=some, os_images=[some], devices=[some]
    )
    datasets = [Dataset(owner=owner) for owner in range(2)]
    for each in datasets:
        chain.register(room, each, cap_micro=ROOM_EPSILON, runs_per_day=1000)
    study = chain.draft(
        room,
        compose_hash=some,
        datasets=[each.id for each in datasets],
        epsilon_micro=ROOM_EPSILON,
        max_runs=1000,
    )
    chain.approve(room, study, 0, 1)
    return room, chain.study(study), key


@pytest.fixture
def trial(
    chain: LocalChain, rooms: tuple[Room, Study, bytes], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Trial]:
    monkeypatch.setattr(sending, "REPLACE_AFTER_S", 0.5)
    monkeypatch.setattr(sending, "AGAIN_S", 0.1)
    monkeypatch.setattr(sending, "DISPLACED_S", 0.2)
    monkeypatch.setattr(nodes, "GRACE_S", PATIENCE_S)
    snapshot = chain.snapshot()
    with ExitStack() as stack:
        stack.callback(chain.restore, snapshot)
        stack.enter_context(chain.by_hand())
        yield Trial(chain, *rooms, stack)


def proxies(trial: Trial, count: int) -> list[RpcProxy]:
    return [trial.stack.enter_context(RpcProxy(trial.chain.url)) for _ in range(count)]


# --- the chain ----------------------------------------------------------------------------------


@pytest.mark.anvil
def test_many_at_once_and_one_too_much(trial: Trial) -> None:
    """64 fit into one transaction, and the one that asks for too much costs nobody anything."""
    runs = [trial.run() for _ in range(64)]
    bookings = trial.bookings(trial.transactor())
    trial.submit(bookings, trial.run(epsilon_micro=ROOM_EPSILON + 1), *runs)
    trial.wait()
    assert trial.verdict() == (64, ["LedgerStudyExceeds"])
    first, *_, last = [trial.told[0][run.run_id].result().sent for run in runs]
    assert first.gas_used / 63 < 80_000 and first.tx != last.tx


@pytest.mark.anvil
def test_a_base_fee_that_jumps_while_one_is_under_way(trial: Trial) -> None:
    """OP-14: it is replaced at once, not when it is overdue, and whatever came meanwhile follows."""
    bookings = trial.bookings(trial.transactor())
    trial.submit(bookings, *(trial.run() for _ in range(5)))
    (first,) = until(trial.pending)

    def jump(block: int) -> None:
        trial.base_fee(300)
        if block == 1:
            trial.submit(bookings, *(trial.run() for _ in range(5)))

    trial.wait(jump)
    assert trial.verdict() == (10, [])
    assert trial.chain.rpc("eth_getTransactionReceipt", first["hash"]) is None
    assert trial.chain.rpc("eth_getTransactionCount", address_of(trial.key), "latest") == "0x2"


@pytest.mark.anvil
def test_a_base_fee_above_the_maximum_books_nobody_late(trial: Trial) -> None:
    """OP-14: those whose time passes meanwhile are told, and are not opened when fees fall."""
    bookings = trial.bookings(trial.transactor(max_fee_wei=100 * GWEI))
    soon = trial.chain.head_time() + 4
    trial.submit(bookings, *(trial.run(open_before=soon) for _ in range(3)), *(trial.run() for _ in range(4)))
    until(trial.pending)
    trial.wait(lambda block: trial.base_fee(300 if block < 8 else 5))
    assert trial.verdict() == (4, ["LedgerRunLate"] * 3)

    # Nobody waits longer than any of them can be opened.
    trial.submit(bookings, *(trial.run(open_before=trial.chain.head_time() + 4) for _ in range(2)))
    until(trial.pending)
    trial.wait(lambda block: trial.base_fee(300))
    assert trial.verdict() == (4, ["LedgerRunLate"] * 3 + ["transaction-not-mined"] * 2)


@pytest.mark.anvil
def test_an_opening_that_a_reorganisation_took_is_opened_by_sending_it_again(trial: Trial) -> None:
    """CH-01: once, with the same content."""
    runs = [trial.run() for _ in range(3)]
    trial.submit(trial.bookings(trial.transactor()), *runs)
    trial.wait()
    trial.chain.mine()
    trial.chain.reorg(
        2 + trial.chain.block_number() - trial.told[0][runs[0].run_id].result().sent.block_number
    )
    assert not trial.opened()
    trial.submit(trial.bookings(trial.transactor()), *runs)
    trial.wait()
    assert trial.verdict() == (3, [])


@pytest.mark.anvil
def test_an_owner_who_revokes_earlier_in_the_same_block(trial: Trial) -> None:
    """CH-06: nothing is booked, and each run is told why."""
    trial.submit(trial.bookings(trial.transactor()), *(trial.run() for _ in range(20)))
    until(trial.pending)
    data = interface("Consortium").encode("revoke", "stop")
    tip = {"maxPriorityFeePerGas": hex(10**12), "maxFeePerGas": hex(10**13)}
    trial.chain.rpc(
        "eth_sendTransaction",
        {
            "from": trial.room.owners[0].account,
            "to": trial.room.consortium,
            "data": "0x" + data.hex(),
            **tip,
        },
    )
    trial.wait()
    assert trial.verdict() == (0, ["LedgerStudyNotLive"] * 20)


# --- nodes --------------------------------------------------------------------------------------


@pytest.mark.anvil
def test_nodes_that_swallow_what_they_are_given_and_lose_what_they_had(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All nodes are handed it, again and again: so no fee rises for what was lost."""
    monkeypatch.setattr(sending, "REPLACE_AFTER_S", PATIENCE_S)
    deaf, forgetful = proxies(trial, 2)
    deaf.loses = lambda method, params: method == "eth_sendRawTransaction"
    swallowed: list[str] = []

    def swallows(method: str, params: list[Any]) -> bool:
        if method != "eth_sendRawTransaction" or len(swallowed) == 2:
            return False
        swallowed.append(params[0])
        return True

    forgetful.loses = swallows
    trial.submit(trial.bookings(trial.transactor(deaf.url, forgetful.url)), *(trial.run() for _ in range(4)))
    (first,) = until(trial.pending)
    assert len(swallowed) == 2
    trial.chain.rpc("anvil_dropAllTransactions")
    (again,) = until(trial.pending)
    assert again["hash"] == first["hash"]
    trial.wait()
    assert trial.verdict() == (4, [])


def false_reasons(count: int) -> str:
    """What `open` returns where it refuses each of so many runs."""
    return "0x" + encode(["bytes[]"], [[b"\xde\xad\xbe\xef"] * count]).hex()


@pytest.mark.anvil
@pytest.mark.parametrize(
    "lie",
    [
        {"eth_call": lambda result: false_reasons(3)},
        {"eth_getTransactionCount": lambda result: hex(int(result, 16) + 7)},
        {
            "eth_getBlockByNumber": lambda result: {
                **result,
                "baseFeePerGas": hex(10**15),
                "timestamp": hex(2**40),
            }
        },
        {"eth_estimateGas": lambda result: hex(21_000)},
        {"eth_estimateGas": lambda result: hex(10**9)},
        {"eth_getTransactionReceipt": lambda result: result and {**result, "status": "0x0", "logs": []}},
        {"eth_sendRawTransaction": lambda result: "0x" + "00" * 32},
    ],
    ids=["refuses", "nonce", "block", "little-gas", "much-gas", "receipt", "hash"],
)
def test_one_node_of_three_that_lies_changes_nothing(trial: Trial, lie: dict[str, Any]) -> None:
    """CH-03."""
    liar, *others = proxies(trial, 3)
    told: list[str] = []

    def tamper(method: str, params: list[Any], result: Any) -> Any:
        if method not in lie:
            return result
        told.append(method)
        return lie[method](result)

    liar.tamper = tamper
    sender = trial.transactor(liar.url, *(each.url for each in others), quorum=2)
    trial.submit(trial.bookings(sender), *(trial.run() for _ in range(3)))
    until(trial.pending)
    if "eth_getTransactionReceipt" not in lie:
        until(lambda: told)
    trial.wait()
    assert told and trial.verdict() == (3, [])
    assert trial.chain.rpc("eth_getTransactionCount", address_of(trial.key), "latest") == "0x1"


@pytest.mark.anvil
def test_a_node_of_another_chain_gets_no_signature(trial: Trial) -> None:
    """CH-07: one that signs for whatever chain a node names could be made to pay there."""
    (other,) = proxies(trial, 1)
    other.tamper = lambda method, params, result: "0x1" if method == "eth_chainId" else result
    with pytest.raises(ChainError) as error:
        trial.transactor(other.url, chain_id=31337).send(trial.room.ledger, b"", value=1)
    assert error.value.code == "chain-disagrees"


# --- processes ----------------------------------------------------------------------------------


def book_and_die(
    url: str, key: bytes, order: tuple[str, str, Study], runs: Sequence[Run], handed: bool
) -> None:
    """A gate that is killed before, or after, its transaction is handed to the nodes."""
    hand = Senders.hand

    def fatal(self: Senders, raw: str) -> Any:
        if handed:
            hand(self, raw)
        os.kill(os.getpid(), signal.SIGKILL)

    Senders.hand = fatal  # type: ignore[method-assign]
    list(Transactor(url, key, max_fee_wei=900 * GWEI).book(*order, runs, note=NOTE))


@pytest.mark.anvil
@pytest.mark.parametrize(
    ("handed", "mined"), [(False, False), (True, False), (True, True)], ids=["before", "waiting", "mined"]
)
def test_a_gate_that_is_killed_as_it_sends_and_one_that_takes_over(
    trial: Trial, handed: bool, mined: bool
) -> None:
    """The next one needs nothing but the chain."""
    runs = [trial.run() for _ in range(3)]
    order = trial.room.ledger, trial.room.consortium, trial.study
    child = multiprocessing.get_context("spawn").Process(
        target=book_and_die, args=(trial.chain.url, trial.key, order, runs, handed)
    )
    child.start()
    child.join(PATIENCE_S)
    assert child.exitcode == -signal.SIGKILL and len(trial.pending()) == handed
    if mined:
        trial.chain.mine()
    trial.submit(trial.bookings(trial.transactor()), *runs, trial.run())
    trial.wait()
    assert trial.verdict() == (4, [])


@pytest.mark.anvil
def test_two_gates_that_send_with_one_key_by_mistake(trial: Trial) -> None:
    """OP-08: they replace what the other one sends, and still each run is opened once, and told."""
    gates = [trial.bookings(trial.transactor()) for _ in range(2)]
    shared = [trial.run() for _ in range(5)]
    for number, bookings in enumerate(gates):
        trial.submit(bookings, *shared, *(trial.run() for _ in range(5)), of=number)
    trial.wait()
    assert trial.verdict() == (15, [])


# --- turns --------------------------------------------------------------------------------------


def test_openings_go_before_whatever_else_waits() -> None:
    turns, order, began = Turns(), [], threading.Semaphore(0)

    def act(name: str, urgent: bool) -> None:
        began.release()
        with turns(urgent=urgent):
            order.append(name)

    threads = []
    with turns(urgent=False):
        for name, urgent in (("anchor", False), ("anchor", False), ("open", True)):
            threads.append(threading.Thread(target=act, args=(name, urgent)))
            threads[-1].start()
            assert began.acquire(timeout=PATIENCE_S)
        until(lambda: turns._urgent == 1)
    for thread in threads:
        thread.join(PATIENCE_S)
    assert order == ["open", "anchor", "anchor"]


def test_who_fails_in_its_turn_keeps_nobody_out() -> None:
    turns = Turns()
    with pytest.raises(KeyError), turns(urgent=True):
        raise KeyError
    with turns(urgent=False):
        pass
