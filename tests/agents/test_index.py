# SPDX-License-Identifier: Apache-2.0
"""The index: it is gapless through awkward nodes, follows reorganisations, has one writer, and strangers and
liars cost only their own rows."""

from __future__ import annotations

import re
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert, select, text
from tests.local_chain import LocalChain
from tests.outside import Lab
from tests.patience import PATIENCE_S, until
from tests.rpc_proxy import RpcProxy, honest

from sealroom.codes import Code
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.chain.scan import SMALLEST, STUBBORN, Scan, first_block
from sealroom_agents.chain.transport import NoAnswer, TooOften
from sealroom_agents.errors import ChainError, RequestError
from sealroom_agents.index import Follower, Indexed, rebuild
from sealroom_agents.index.indexed import QUIET_S
from sealroom_agents.index.rows import topics
from sealroom_agents.store import Store
from sealroom_agents.store.index import Index
from sealroom_agents.store.tables import ConsortiumRow
from sealroom_agents.telemetry import looks

pytestmark = pytest.mark.anvil


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@pytest.fixture
def lab(chain: LocalChain, tmp_path: Path) -> Iterator[Lab]:
    snapshot = chain.snapshot()
    yield Lab.on(chain, tmp_path)
    chain.restore(snapshot)


@pytest.fixture
def either(lab: Lab, database: str) -> Lab:
    """The same on SQLite and on PostgreSQL."""
    lab.store.close()
    lab.store = Store(database)
    return lab


def follower_of(lab: Lab, *urls: str, store: Store | None = None) -> Follower:
    return Follower(lab.chain.reader(*urls), store or lab.store, factory=lab.room.factory)


def truth(lab: Lab) -> list[tuple[int, int]]:
    """Block and position of all events of the consortium and of its runs, as the node has them."""
    whose: list[dict[str, Any]] = [
        {"address": lab.room.consortium},
        {"address": lab.room.ledger, "topics": [None, _word(lab)]},
    ]
    found = [
        log
        for query in whose
        for log in lab.chain.rpc("eth_getLogs", {**query, "fromBlock": "0x0", "toBlock": "latest"})
    ]
    return sorted((int(log["blockNumber"], 16), int(log["logIndex"], 16)) for log in found)


def _word(lab: Lab) -> str:
    return "0x" + 24 * "0" + lab.room.consortium[2:]


def kept(lab: Lab, store: Store | None = None) -> list[tuple[int, int]]:
    index = Index(store or lab.store, lab.room.factory)
    rows = index.events(lab.room.consortium, most=10_000)
    return sorted((row.block, row.position) for row in rows if row.name != "Allowed")


def test_what_the_index_has_is_what_the_chain_says(either: Lab) -> None:
    """State at one block, and each event once; before the newest block is reached nothing is told."""
    lab = either
    indexed = Indexed(lab.store, lab.room.factory)
    with pytest.raises(ChainError) as behind:
        indexed.one(lab.room.consortium)
    assert behind.value.code == Code.INDEX_BEHIND
    follower = follower_of(lab)
    study = lab.live()
    lab.chain.finalize()
    follower.catch_up()
    lab.open_run(study, secrets.token_bytes(32))
    follower.catch_up()
    found = indexed.one(lab.room.consortium)
    best = lab.reader.latest_view(lab.room.consortium, whole=True).best
    assert found.facts.view == best
    history = lab.reader.study_history(lab.room.consortium)
    assert [*found.votes.events, *indexed.run_events(lab.room.consortium)] == list(history.events)
    assert (found.facts.spending.runs, found.facts.books.runs) == (1, 1)
    assert kept(lab) == truth(lab)
    assert found.settled is not None and found.settled.spending.runs == 0, "the run is not final"
    lab.chain.finalize()
    follower.catch_up()
    assert indexed.one(lab.room.consortium).settled == found.facts.view
    with pytest.raises(RequestError) as unknown:
        indexed.one("0x" + "ab" * 20)
    assert unknown.value.code == Code.UNKNOWN_CONSORTIUM


def test_ranges_fit_the_node_and_leave_nothing_out(lab: Lab, tmp_path: Path) -> None:
    """Ranges and answers beyond a limit are refused, and some questions come too often."""
    lab.live()
    for _ in range(3):
        lab.chain.mine(300)
        lab.chain.revoke(lab.room, 2, "again")
    widths: list[int] = []
    exchanges = 0

    def picky(method: str, params: list[Any]) -> bool:
        if method != "eth_getLogs":
            return False
        lower, upper = (int(params[0][key], 16) for key in ("fromBlock", "toBlock"))
        widths.append(upper - lower + 1)
        return upper - lower + 1 > 64

    def often() -> bool:
        nonlocal exchanges
        exchanges += 1
        return exchanges % 7 == 0

    with RpcProxy(lab.chain.url) as proxy:
        proxy.refuses = picky
        follower = follower_of(lab, proxy.url)
        follower.catch_up()
        assert kept(lab) == truth(lab)
        assert widths[0] <= SMALLEST < max(width for width in widths if width <= 64), "it grows"
        refused = [width for width in widths if width > 64]
        assert 1 <= len(refused) < 8, "the ceiling is learned"
        store = Store(f"sqlite:///{tmp_path / 'other.db'}")
        again = follower_of(lab, proxy.url, store=store)
        proxy.busy = often
        again.catch_up()
        assert exchanges > 7 and kept(lab, store) == truth(lab)
        proxy.busy = lambda: True
        lab.chain.mine()
        with pytest.raises(TooOften) as told:
            again.step()
        assert told.value.after_s == 0
        store.close()


def test_a_full_block_is_read_address_by_address(lab: Lab) -> None:
    """Anyone may emit what looks like our events, until no node hands out the block (CH-29)."""
    lab.live()

    def without_address(method: str, params: list[Any]) -> bool:
        return method == "eth_getLogs" and "address" not in params[0]

    with RpcProxy(lab.chain.url) as proxy:
        proxy.refuses = without_address
        follower_of(lab, proxy.url).catch_up()
    assert kept(lab) == truth(lab)


def test_a_reorganisation_takes_back_what_it_took(either: Lab) -> None:
    """CH-05: rows above the common block go, those of the other branch come."""
    lab = either
    study = lab.live()
    follower, indexed = follower_of(lab), Indexed(lab.store, lab.room.factory)
    follower.catch_up()
    lab.open_run(study, secrets.token_bytes(32))
    lab.chain.revoke(lab.room, 2, "consent withdrawn")
    stranger = lab.chain.create_consortium(["x"], threshold=1).consortium
    follower.catch_up()
    found = indexed.one(lab.room.consortium)
    assert (found.line.status, found.facts.view.revocation_reason) == (3, "consent withdrawn")
    assert indexed.line(stranger).declared
    lab.chain.reorg(3)
    follower.catch_up()
    found = indexed.one(lab.room.consortium)
    assert (found.line.status, found.facts.view.revokers, found.facts.spending.runs) == (2, (), 0)
    assert kept(lab) == truth(lab)
    lab.chain.revoke(lab.room, 1, "another branch")
    follower.catch_up()
    lab.chain.finalize()
    follower.catch_up()
    settled = indexed.one(lab.room.consortium).settled
    assert settled is not None and settled.revocation_reason == "another branch", (
        "what is gone never gets final"
    )
    with pytest.raises(RequestError):
        indexed.line(stranger)


def test_one_process_writes_and_another_takes_over(either: Lab) -> None:
    """Two that both follow do not write twice; what one leaves the other goes on with."""
    lab = either
    one, other = follower_of(lab), follower_of(lab)
    one.catch_up()
    lab.live()
    index = Index(lab.store, lab.room.factory)
    assert index.hold(one._holder, lease_s=PATIENCE_S)
    assert not other.step(), "the first has the lease"
    before = index.cursor()
    one.release()
    other.catch_up()
    after = index.cursor()
    assert before is not None and after is not None and after.at.number > before.at.number
    one.catch_up()
    assert kept(lab) == truth(lab)


def test_a_node_that_hides_an_event_is_found_out_by_the_state(either: Lab) -> None:
    """CH-29: state has the number of events. The consortium is not shown otherwise than it is."""
    lab = either
    study = lab.live()
    follower, indexed = follower_of(lab), Indexed(lab.store, lab.room.factory)
    follower.catch_up()
    topic = "0x" + interface("Consortium").topic("Revoked").hex()

    def hide(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        return [log for log in result if log["topics"][0] != topic]

    with RpcProxy(lab.chain.url) as proxy:
        proxy.tamper = hide
        follower.release()
        lab.chain.revoke(lab.room, 2, "consent withdrawn")
        liar = follower_of(lab, proxy.url)
        liar.catch_up()
        liar.release()
    found = indexed.one(lab.room.consortium)
    assert "lacks" in found.line.fault, "what the logs say is not all"
    assert (found.line.status, found.facts.view.study) == (3, None), "what the state says is shown"
    rebuild(lab.reader, lab.store, factory=lab.room.factory)
    found = indexed.one(lab.room.consortium)
    assert (found.line.fault, found.line.status) == ("", 3)
    assert found.votes.pins[-1].content.id == study


def test_events_of_creation_are_held_against_the_factorys_list(either: Lab, tmp_path: Path) -> None:
    """CH-29: one that a node hides gets its row, one that it makes up gets none, each its place; and a
    rebuild brings the very rows of who followed from the start."""
    lab = either
    topic, fake = "0x" + interface("Factory").topic("ConsortiumCreated").hex(), "0x" + 12 * "00" + 20 * "77"

    def hide(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        return [log for log in result if log["topics"][0] != topic]

    def make_up(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        return [
            log if log["topics"][0] != topic else {**log, "topics": [topic, fake, *log["topics"][2:]]}
            for log in result
        ]

    index, honest = Index(lab.store, lab.room.factory), follower_of(lab)
    honest.catch_up()
    honest.release()
    with RpcProxy(lab.chain.url) as proxy:
        for number, lie in enumerate((hide, make_up)):
            proxy.tamper = lie
            liar = follower_of(lab, proxy.url)
            lab.chain.create_consortium([f"hidden-{number}"], threshold=1)
            liar.catch_up()
            liar.release()
            assert index.addresses() == lab.reader.consortia(lab.room.factory)
        lab.chain.create_consortium(["last"], threshold=1)
        honest.catch_up()
        honest.release()
    assert index.addresses() == lab.reader.consortia(lab.room.factory)
    board = sorted((one.number, one.consortium) for one in index.board(most=25, now=0.0)[0])
    assert board == list(enumerate(index.addresses()))
    rebuild(lab.reader, lab.store, factory=lab.room.factory)
    other = Store(f"sqlite:///{tmp_path / 'other.db'}")
    follower_of(lab, store=other).catch_up()
    assert contents(lab.store) == contents(other)
    other.close()


def contents(store: Store) -> list[list[Any]]:
    """What the index says, without when it was read."""
    tables = {
        "index_consortia": "address, number, block, owners, confirmed, records, criteria, status, declared, "
        "expiry, names, facts, facts_since, moved, dirty, fault",
        "index_events": "block, position, block_hash, tx, contract, name, consortium, subject, topics, data",
        "index_uses": "dataset, consortium",
    }
    with store.reading() as session:
        return [
            [tuple(row) for row in session.execute(text(f"SELECT {columns} FROM {table} ORDER BY 1, 2"))]
            for table, columns in tables.items()
        ]


def test_a_fault_of_its_own_does_not_end_the_index(lab: Lab) -> None:
    """OP-08: it goes on by itself; until then readiness names it."""
    indexed = Indexed(lab.store, lab.room.factory)
    condition = looks.at_index(indexed.progress)
    condition.look()
    assert not condition.check().ok
    faults = iter([ZeroDivisionError("once"), OSError("twice")])

    def clock() -> float:
        fault = next(faults, None)
        if fault is not None:
            raise fault
        return time.time()

    stop = threading.Event()
    follower = Follower(lab.reader, lab.store, factory=lab.room.factory, clock=clock, fault_pause_s=0.01)
    thread = threading.Thread(target=follower.run, args=(stop,))
    thread.start()
    until(lambda: (progress := indexed.progress()) is not None and progress.ready)
    stop.set()
    thread.join()
    condition.look()
    assert condition.check().ok
    late = Indexed(lab.store, lab.room.factory, clock=lambda: time.time() + QUIET_S + 1)
    condition = looks.at_index(late.progress)
    condition.look()
    assert "no node has answered since" in condition.check().message


def test_a_follower_that_starts_while_the_node_fails_goes_on_once_it_answers(lab: Lab) -> None:
    """OP-08: it knows nothing of the chain yet when the node is out for the first time."""
    first = follower_of(lab)
    first.catch_up()
    first.release()
    lab.live()
    with RpcProxy(lab.chain.url) as proxy:
        reader, proxy.down = lab.chain.reader(proxy.url), True
        restarted = Follower(reader, lab.store, factory=lab.room.factory)
        for _ in range(3):
            with pytest.raises(ChainError) as out:
                restarted.step()
            assert out.value.code == Code.CHAIN_UNREACHABLE
        proxy.down = False
        restarted.catch_up()
        reader.close()
    assert kept(lab) == truth(lab)


def test_a_question_asks_its_node_nothing_through_the_breaker(lab: Lab) -> None:
    """While a node is out the inner question would be refused for ever, and nobody would know why."""
    reader = lab.reader
    with pytest.raises(RuntimeError, match="asks the same node again"):
        reader.first(lambda rpc: reader.first(Rpc.chain_id))


def test_the_block_of_the_factory_is_found_without_old_state(lab: Lab) -> None:
    rpc = Rpc(lab.chain.url)
    head = rpc.head("latest").number
    deployed = first_block(rpc, lab.room.factory, head)
    assert lab.chain.rpc("eth_getCode", lab.room.factory, hex(deployed)) != "0x"
    assert lab.chain.rpc("eth_getCode", lab.room.factory, hex(deployed - 1)) == "0x"
    with pytest.raises(ChainError) as nothing:
        first_block(rpc, "0x" + "ab" * 20, head)
    assert nothing.value.code == Code.NOT_A_CONSORTIUM
    with RpcProxy(lab.chain.url) as proxy:
        proxy.refuses = lambda method, params: method == "eth_getCode" and int(params[1], 16) < head - 1
        pruned = Rpc(proxy.url)
        assert first_block(pruned, lab.room.factory, head) == 0
        pruned.close()
    rpc.close()


def test_logs_that_no_node_would_send_are_refused(lab: Lab) -> None:
    """CH-03: other blocks, another order, or a block that changed meanwhile."""
    lab.live()
    head = truth(lab)[-1][0]
    with RpcProxy(lab.chain.url) as proxy:
        rpc = Rpc(proxy.url)
        for change in (
            lambda logs: logs[::-1],
            lambda logs: [*logs, logs[-1]],
            lambda logs: [{**logs[0], "blockNumber": hex(head + 9)}, *logs[1:]],
            lambda logs: [*logs[:-1], {**logs[-1], "blockHash": "0x" + 64 * "7"}],
            lambda logs: [{**logs[0], "address": "0x12"}, *logs[1:]],
            lambda logs: [*logs[:-1], {**logs[-1], "removed": True}],
            lambda logs: [*logs[:-1], {**logs[-1], "topics": ["0x" + 64 * "7"]}],
        ):
            proxy.tamper = lambda method, params, result, change=change: (  # type: ignore[misc]
                change(result) if method == "eth_getLogs" else result
            )
            with pytest.raises(ChainError):
                upper = 0
                while upper < head:
                    upper = Scan().read(rpc, topics(), max(0, head - 8), head, list).last.number
        proxy.tamper = honest
        before = "0x" + rpc.head(head - 9).hash.hex()
        assert Scan().read(rpc, topics(), head - 8, head, list, after=before).logs
        with pytest.raises(ChainError) as other:
            Scan().read(rpc, topics(), head - 8, head, list, after="0x" + 64 * "7")
        assert other.value.code == Code.CHAIN_DISAGREES
        rpc.close()


def test_each_provider_is_understood_and_nothing_is_passed_over(lab: Lab) -> None:
    """CH-29, OP-08: an answer too long or too slow makes ranges narrower; what comes too often or was pruned
    does not, and is an error by its name; logs of one contract are passed over only after many refusals."""
    lab.live()
    lab.chain.mine(300)
    head = lab.chain.block_number()
    widths: list[int] = []

    def asked(method: str, params: list[Any]) -> list[Any]:
        if method == "eth_getLogs":
            widths.append(int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1)
        return params

    def wide(method: str, _params: list[Any]) -> bool:
        return method == "eth_getLogs" and widths[-1] > 64

    def logs(method: str, _params: list[Any]) -> bool:
        return method == "eth_getLogs"

    def whole(scan: Scan) -> list[tuple[int, int]]:
        """All logs of the consortium and its runs, by one scan that goes on after errors."""
        found, lower = [], 0
        while lower <= head:
            try:
                part = scan.read(rpc, topics(), lower, head, list)
            except NoAnswer:
                continue
            pairs = zip(part.logs, part.addresses, strict=True)
            found += [log for log, address in pairs if address in (lab.room.consortium, lab.room.ledger)]
            lower = part.last.number + 1
        return [(log.where.block, log.where.index) for log in found]

    with RpcProxy(lab.chain.url) as proxy:
        rpc, proxy.rewrite, scan = Rpc(proxy.url), asked, Scan()
        proxy.refuses = wide
        proxy.refusal = {"code": -32005, "message": "query returned more than 10000 results"}
        complete = whole(scan)
        assert {*truth(lab)} <= {*complete} and max(widths) > 64
        proxy.refuses = lambda method, params: False
        proxy.hangs_up_after = lambda method: wide(method, [])
        assert whole(Scan()) == complete, "a question that is too wide to be answered at all"
        proxy.hangs_up_after = lambda method: False
        proxy.refuses = logs
        for code, message, kind, said in (
            (429, "compute units", TooOften, "too often"),
            (-32005, "project ID request rate exceeded", TooOften, "too often"),
            (4444, "pruned history unavailable", ChainError, "keeps no logs"),
        ):
            proxy.refusal, widths[:] = {"code": code, "message": message}, []
            for _ in range(3):
                with pytest.raises(kind, match=said):
                    scan.read(rpc, topics(), 0, head, list)
            assert len(widths) == 3 and len({*widths}) == 1 and widths[0] > SMALLEST, "it helps nothing"
        # Another endpoint that keeps them is asked then.
        follower_of(lab, proxy.url, lab.chain.url).catch_up()
        assert kept(lab) == truth(lab)
        contracts = [lab.room.factory, lab.room.ledger, lab.room.consortium]
        proxy.refusal = {"code": -32603, "message": "internal error"}
        proxy.refuses = lambda method, params: (
            method == "eth_getLogs" and lab.room.consortium in params[0].get("address", contracts)
        )
        block, tries = truth(lab)[-1][0], 0
        while tries < 2 * STUBBORN:
            tries += 1
            try:
                assert scan.read(rpc, topics(), block, block, lambda: contracts).skipped == (contracts[2],)
                break
            except ChainError as error:
                assert error.code == Code.CHAIN_UNREACHABLE
        assert tries == STUBBORN
        rpc.close()


def test_the_board_is_one_indexed_query(lab: Lab, database: str) -> None:
    """Of 500 consortia, by status, owner and order; those that only their creators declared come last. The
    database reads a page in the order of an index, and sorts nothing."""
    store = Store(database, "memory://board")
    follower = follower_of(lab, store=store)
    lab.chain.create_consortium(["x"], threshold=1)
    follower.catch_up()
    index, indexed = Index(store, lab.room.factory), Indexed(store, lab.room.factory)
    copies(store, lab.room.consortium, 500)
    asked: list[tuple[str, Any]] = []

    @event.listens_for(store._reads, "before_cursor_execute")
    def note(_c: Any, _k: Any, statement: str, values: Any, *_rest: Any) -> None:
        asked.append((statement, values))

    index.cursor()
    for sort in ("newest", "oldest", "records"):
        asked.clear()
        lines, total = index.board(most=25, sort=sort, now=0.0)
        assert len(asked) == 1 and len(lines) == 25 and total == 502
        assert not any(line.declared for line in lines)
        order = [getattr(line, "records" if sort == "records" else "number") for line in lines]
        assert order == sorted(order, reverse=sort != "oldest") and order[0] != order[-1]
        plan = plan_of(store, *asked[0])
        name = "index_consortia_by_" + {"oldest": "number"}.get(sort, sort)
        assert re.search(rf"(USING INDEX|Index Scan using) {name}", plan), plan
        assert "TEMP B-TREE" not in plan and "Sort" not in plan, plan
    assert [line.declared for line in index.board(start=500, most=25, now=0.0)[0]] == [False, True]
    assert index.board(start=9000, most=25, now=0.0) == ([], 502)
    assert index.board(most=25, owner="hospital-A", now=0.0)[1] == 501
    assert index.board(most=25, owner="hospital", now=0.0)[1] == 0
    assert index.board(most=25, owner="hospital%", now=0.0)[1] == 0
    assert index.board(most=25, status=2, now=0.0)[1] == 0
    assert len(indexed.named(["hospital-A", "hospital-B"])) == 501
    store.close()


def plan_of(store: Store, statement: str, values: Any) -> str:
    """How the database answers a query."""
    with store._engine.connect() as connection:
        explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN "
        connection.exec_driver_sql("ANALYZE")
        return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + statement, values))


def copies(store: Store, address: str, count: int) -> None:
    """The row of one consortium under other addresses."""
    table = ConsortiumRow.__table__
    with store.writing() as session:
        row = session.execute(select(table).where(table.c.address == address)).one()._asdict()
        new = range(1000, 1000 + count)
        rows = [row | {"address": f"0x{n:040x}", "number": n, "records": n // 2} for n in new]
        session.execute(insert(table), rows)  # type: ignore[arg-type]  # a table, not any selectable
