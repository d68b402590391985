# SPDX-License-Identifier: Apache-2.0
"""The index: it is gapless through awkward nodes, follows reorganisations, has one writer, and strangers and
liars cost only their own rows."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from tests.local_chain import LocalChain
from tests.outside import Lab
from tests.rpc_proxy import RpcProxy

from sealroom.codes import Code
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.chain.scan import SMALLEST, Scan, first_block
from sealroom_agents.chain.transport import TooOften
from sealroom_agents.errors import ChainError, RequestError
from sealroom_agents.index import Follower, Indexed, rebuild
from sealroom_agents.index.rows import topics
from sealroom_agents.store import Store
from sealroom_agents.store.index import Index

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


def test_what_the_index_has_is_what_the_chain_says(lab: Lab) -> None:
    """State at one block, and each event once; before the newest block is reached nothing is told."""
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


def test_a_reorganisation_takes_back_what_it_took(lab: Lab) -> None:
    """CH-05: rows above the common block go, those of the other branch come."""
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
    with pytest.raises(RequestError):
        indexed.line(stranger)


def test_one_process_writes_and_another_takes_over(lab: Lab) -> None:
    """Two that both follow do not write twice; what one leaves the other goes on with."""
    one, other = follower_of(lab), follower_of(lab)
    one.catch_up()
    lab.live()
    assert not other.step(), "the first has the lease"
    before = Index(lab.store, lab.room.factory).cursor()
    one.release()
    other.catch_up()
    after = Index(lab.store, lab.room.factory).cursor()
    assert before is not None and after is not None and after.at.number > before.at.number
    one.catch_up()
    assert kept(lab) == truth(lab)


def test_a_node_that_hides_an_event_is_found_out_by_the_state(lab: Lab) -> None:
    """CH-29: state has the number of events. The consortium is not shown otherwise than it is."""
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
        ):
            proxy.tamper = lambda method, params, result, change=change: (  # type: ignore[misc]
                change(result) if method == "eth_getLogs" else result
            )
            with pytest.raises(ChainError):
                upper = 0
                while upper < head:
                    upper = Scan().read(rpc, topics(), max(0, head - 8), head, list).last.number
        rpc.close()


def test_the_board_is_one_indexed_query(lab: Lab) -> None:
    """Of 500 consortia, by status, owner and order; those that only their creators declared come last."""
    follower = follower_of(lab)
    follower.catch_up()
    index, indexed = Index(lab.store, lab.room.factory), Indexed(lab.store, lab.room.factory)
    lab.chain.create_consortium(["x"], threshold=1)
    follower.catch_up()
    copies(lab.store, lab.room.consortium, 500)
    asked: list[str] = []
    engine = lab.store._engine

    @event.listens_for(engine, "before_cursor_execute")
    def note(_c: Any, _k: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("SELECT"):
            asked.append(statement)

    index.cursor()
    asked.clear()
    lines, total = index.board(most=25, now=0.0)
    assert len(asked) == 1 and len(lines) == 25 and total == 502
    assert not any(line.declared for line in lines)
    with engine.connect() as connection:
        plan = str(
            connection.exec_driver_sql(
                "EXPLAIN QUERY PLAN SELECT * FROM index_consortia WHERE cursor = 1 "
                "ORDER BY declared, number DESC LIMIT 25"
            ).all()
        )
    assert "USING INDEX" in plan
    assert [line.declared for line in index.board(start=500, most=25, now=0.0)[0]] == [False, True]
    assert index.board(start=9000, most=25, now=0.0) == ([], 502)
    assert index.board(most=25, owner="hospital-A", now=0.0)[1] == 501
    assert index.board(most=25, owner="hospital", now=0.0)[1] == 0
    assert index.board(most=25, status=2, now=0.0)[1] == 0
    records = [line.records for line in index.board(most=25, sort="records", now=0.0)[0]]
    assert records == sorted(records, reverse=True) and records[0] > records[-1]
    assert len(indexed.named(["hospital-A", "hospital-B"])) == 501


def copies(store: Store, address: str, count: int) -> None:
    """The row of one consortium under other addresses."""
    with store.writing() as session:
        connection = session.connection()
        table = "index_consortia"
        names = [row[1] for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")]
        changed = {"address": "printf('0x%040x', :n)", "number": ":n", "records": ":n"}
        columns = ", ".join(changed.get(name, name) for name in names)
        for number in range(1000, 1000 + count):
            connection.execute(
                text(f"INSERT INTO {table} SELECT {columns} FROM {table} WHERE address = :a"),
                {"n": number, "a": address},
            )
