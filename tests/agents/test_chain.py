# SPDX-License-Identifier: Apache-2.0
"""Reading the chain from a real node, from several, from lying ones, and over reorganisations."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import click
import pytest
from click.testing import CliRunner
from tests.local_chain import (
    POLICY_HASH,
    RUNS_PER_DAY,
    Dataset,
    LocalChain,
    Room,
    account,
    member,
    private_key,
)
from tests.patience import PATIENCE_S, until
from tests.rpc_proxy import RpcProxy

from sealroom import typed
from sealroom.model import Opening, Receipt, Run
from sealroom_agents.chain import ChainReader, Transactor
from sealroom_agents.chain.contracts import explain_revert, interface
from sealroom_agents.chain.dataset_events import (
    AllowanceSetting,
    DatasetRegistration,
    LifetimeSetting,
    VersionAddition,
)
from sealroom_agents.chain.event import Event
from sealroom_agents.chain.owner_events import (
    Confirmation,
    MachinesAddition,
    PlatformAdoption,
    ProposedMachines,
    ProposedPlatform,
    ProposedRoster,
    RosterChange,
    SeatMove,
    SeatOffer,
    UnpinFailure,
    Withdrawal,
)
from sealroom_agents.chain.run_events import BatchAnchoring, RunRefusal
from sealroom_agents.chains import OTHER_HEIGHTS, SUPPORTED
from sealroom_agents.cli.options import reader_for, rpc_option
from sealroom_agents.errors import ChainError, ConfigurationError, TransactionError

pytestmark = [pytest.mark.anvil, pytest.mark.usefixtures("every_node_is_heard")]

GATE = 10
"""Account that plays the gate's signer."""
RECIPE = b"\x09" * 32


@dataclass(frozen=True)
class Study:
    """A consortium of three, threshold two, with two datasets and one study that nobody approved yet."""

    room: Room
    datasets: tuple[Dataset, ...]
    id: bytes


@pytest.fixture(scope="module")
def node() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        chain.keep_own_time()  # else a node that lags is stale on a busy machine
        yield chain


@pytest.fixture
def chain(node: LocalChain) -> Iterator[LocalChain]:
    snapshot = node.snapshot()
    yield node
    node.restore(snapshot)


@pytest.fixture
def proposed(chain: LocalChain) -> Study:
    room = chain.create_consortium(["hospital-A", "hospital-B", "hospital-C"], threshold=2)
    chain.adopt_platform(
        room,
        gate_root=b"\x05" * 32,
        gate_signer=account(GATE),
        gate_compose=b"\x06" * 32,
        os_images=[b"\x07" * 32],
        devices=[b"\x08" * 32],
    )
    datasets = tuple(sorted((Dataset(owner=0), Dataset(owner=1)), key=lambda dataset: dataset.id))
    for dataset in datasets:
        chain.register(room, dataset, cap_micro=3_000_000)
    study = chain.draft(room, compose_hash=RECIPE, datasets=[dataset.id for dataset in datasets])
    return Study(room=room, datasets=datasets, id=study)


@pytest.fixture
def pinned(chain: LocalChain, proposed: Study) -> Study:
    chain.approve(proposed.room, proposed.id, 0, 1)
    chain.finalize()
    return proposed


@pytest.fixture
def reader(chain: LocalChain) -> Iterator[ChainReader]:
    reader = chain.reader()
    yield reader
    reader.close()


def code(error: pytest.ExceptionInfo[ChainError]) -> str:
    return error.value.code


# --- views --------------------------------------------------------------------------------------


def test_the_finalized_view_has_everything_of_one_block(
    chain: LocalChain, pinned: Study, reader: ChainReader
) -> None:
    view = reader.finalized_view(pinned.room.consortium)
    block = chain.rpc("eth_getBlockByNumber", hex(view.block_number), False)
    assert (view.chain_id, view.block_hash.hex()) == (31337, block["hash"][2:])
    assert (view.consortium, view.app, view.ledger) == (
        pinned.room.consortium,
        pinned.room.app,
        pinned.room.ledger,
    )
    assert [owner.id for owner in view.owners] == ["hospital-A", "hospital-B", "hospital-C"]
    assert (view.owners[0].account, view.owners[0].jurisdiction, view.owners[0].regimes) == (
        account(0),
        "DE",
        ("GDPR",),
    )
    assert view.platform is not None
    assert (view.platform.gate_root, view.platform.gate_signer) == (b"\x05" * 32, account(GATE))
    assert (view.platform.os_images, view.platform.devices) == ((b"\x07" * 32,), (b"\x08" * 32,))
    assert view.platform.policy_hash == POLICY_HASH
    assert view.study is not None
    assert (view.study.id, view.study.compose_hash, view.study.basis) == (pinned.id, RECIPE, view.basis)
    assert (view.study.epsilon_micro, view.study.delta_pico, view.study.max_runs) == (4_500_000, 1_000_000, 3)
    assert (view.study.nonce, view.nonce, view.steps) == (0, 1, 2)
    state = chain.state(pinned.room)
    assert (view.roster_digest, view.charter) == (state.roster_digest, state.charter)
    assert (view.standing, view.basis) == (state.standing, state.basis)
    assert 0 < view.approved_at <= view.block_time
    assert view.live and view.app_allows and view.require_tcb and not view.allow_any_device
    assert view.approvals == (account(0), account(1))
    assert [record.id for record in view.datasets] == [dataset.id for dataset in pinned.datasets]
    for record, dataset in zip(view.datasets, pinned.datasets, strict=True):
        assert (record.name, record.holder) == (dataset.name, account(dataset.owner))
        assert record.holder_id == ["hospital-A", "hospital-B"][dataset.owner]
        assert (record.number, record.version) == (1, dataset.version)
        assert (record.account.epsilon_cap, record.account.epsilon_spent) == (3_000_000, 0)
        assert (record.account.delta_cap, record.account.delta_spent) == (1_000_000, 0)
        assert (record.allowance.epsilon_cap, record.allowance.runs_per_day) == (3_000_000, RUNS_PER_DAY)
    assert (view.revoked_by, view.revoked_at, view.revocation_reason) == (None, 0, "")
    assert (view.revokers, view.candidate) == ((), None)


def test_a_study_uses_the_version_that_it_pins_else_the_newest(
    chain: LocalChain, proposed: Study, reader: ChainReader
) -> None:
    """CH-05: both are read at the same block as all else."""
    pinned, newest = proposed.datasets
    study = chain.draft(proposed.room, compose_hash=RECIPE, datasets=[pinned.id, newest.id], versions=[1, 0])
    chain.approve(proposed.room, study, 0, 1)
    corrected = [Dataset(owner=dataset.owner, name=dataset.name, rows=999) for dataset in proposed.datasets]
    for dataset in corrected:
        data = interface("Ledger").encode("addVersion", dataset.id, dataset.version.solidity())
        chain.send(dataset.owner, proposed.room.ledger, data)
    chain.finalize()
    view = reader.finalized_view(proposed.room.consortium)
    assert [(record.number, record.version) for record in view.datasets] == [
        (1, pinned.version),
        (2, corrected[1].version),
    ]


def test_a_pinned_version_that_does_not_exist_is_none(
    chain: LocalChain, pinned: Study, reader: ChainReader
) -> None:
    """A genuine consortium pins no such study; a lying node can say so, and it is no version then."""
    selector = "0x" + interface("Ledger").encode("versionOf", bytes(32), 1)[:4].hex()
    study = chain.draft(
        pinned.room, compose_hash=RECIPE, datasets=[one.id for one in pinned.datasets], versions=[1, 1]
    )
    chain.approve(pinned.room, study, 0, 1)

    def without(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_call" and params[0]["data"].startswith(selector):
            return "0x" + bytes(len(result) // 2 - 1).hex()
        return result

    with RpcProxy(chain.url) as proxy:
        proxy.tamper = without
        best = chain.reader(proxy.url).latest_view(pinned.room.consortium, whole=True).best
    assert best is not None
    assert [record.number for record in best.datasets] == [0, 0]


def test_python_computes_the_same_study_id_as_the_contract(pinned: Study, reader: ChainReader) -> None:
    study = reader.finalized_view(pinned.room.consortium).study
    assert study is not None
    assert study.id == pinned.id


def test_an_approval_shows_at_latest_before_it_is_final(
    chain: LocalChain, proposed: Study, reader: ChainReader
) -> None:
    """CH-01."""
    chain.finalize()
    chain.approve(proposed.room, proposed.id, 0, 1)
    assert reader.latest_view(proposed.room.consortium).active_study == proposed.id
    assert reader.finalized_view(proposed.room.consortium).study is None
    chain.finalize()
    assert reader.finalized_view(proposed.room.consortium).study is not None


def test_a_proposal_that_is_not_pinned_comes_as_candidate_with_what_it_lacks(
    chain: LocalChain, proposed: Study, reader: ChainReader
) -> None:
    chain.approve(proposed.room, proposed.id, 2)
    chain.finalize()
    candidate = reader.finalized_view(proposed.room.consortium, compose_hash=RECIPE).candidate
    assert candidate is not None
    assert candidate.study.id == proposed.id
    assert candidate.approvals == (account(2),)
    assert set(candidate.required) == {account(0), account(1)}
    other = reader.finalized_view(proposed.room.consortium, compose_hash=bytes(32))
    assert other.candidate is None


def test_an_address_that_is_no_consortium_is_named_as_such(
    chain: LocalChain, pinned: Study, reader: ChainReader
) -> None:
    for address in ("0x" + "77" * 20, pinned.room.ledger, pinned.room.app):
        with pytest.raises(ChainError) as error:
            reader.finalized_view(address)
        assert code(error) == "not-a-consortium"


def test_a_revocation_shows_at_latest_at_once(chain: LocalChain, pinned: Study, reader: ChainReader) -> None:
    """CH-02."""
    assert reader.latest_view(pinned.room.consortium).revoked_by is None
    chain.revoke(pinned.room, 2, "consent withdrawn")
    latest = reader.latest_view(pinned.room.consortium)
    assert (latest.revoked_by, latest.revocation_reason) == (account(2), "consent withdrawn")
    assert latest.active_study is None
    finalized = reader.finalized_view(pinned.room.consortium)
    assert finalized.revoked_by is None and latest.steps == finalized.steps + 1
    assert latest.standing == chain.state(pinned.room).standing != finalized.standing


# --- several nodes ------------------------------------------------------------------------------


def test_two_nodes_that_agree_answer_as_one(chain: LocalChain, pinned: Study) -> None:
    with RpcProxy(chain.url) as proxy:
        alone = chain.reader().finalized_view(pinned.room.consortium)
        assert chain.reader(chain.url, proxy.url).finalized_view(pinned.room.consortium) == alone


def lies_about_the_state(method: str, params: list[Any], result: Any) -> Any:
    """One bit of what the lens says of the books."""
    if method == "eth_call" and params[0]["data"].startswith(ROW):
        words = [result[2:][start : start + 64] for start in range(0, len(result) - 2, 64)]
        words[BOOKED] = f"{1:064x}"
        return "0x" + "".join(words)
    return result


ROW = "0x" + interface("Lens").encode("row", (account(GATE), [], []))[:4].hex()
STATE = "0x" + interface("Lens").encode("state", account(GATE))[:4].hex()
BOOKED = 1 + 4
"""Word of a row: its offset, then state, three switches, and ε of the study's runs."""


def lies_about_the_hash(method: str, params: list[Any], result: Any) -> Any:
    """Another hash for every block."""
    if method == "eth_getBlockByNumber":
        return {**result, "hash": "0x" + "66" * 32}
    return result


@pytest.mark.parametrize("lie", [lies_about_the_state, lies_about_the_hash])
def test_a_node_that_lies_makes_the_reader_refuse(chain: LocalChain, pinned: Study, lie: Any) -> None:
    """CH-03: neither of two is believed."""
    with RpcProxy(chain.url) as proxy:
        reader = chain.reader(chain.url, proxy.url)
        reader.finalized_view(pinned.room.consortium)
        proxy.tamper = lie
        with pytest.raises(ChainError) as error:
            reader.finalized_view(pinned.room.consortium)
        assert code(error) == "chain-disagrees"


@pytest.mark.parametrize("lie", [lies_about_the_state, lies_about_the_hash])
def test_a_liar_is_passed_over_while_a_quorum_agrees_and_only_then(
    chain: LocalChain, pinned: Study, lie: Any
) -> None:
    """CH-03: two of three decide against one; one of three never decides, and half of them may not."""
    consortium = pinned.room.consortium
    true = chain.reader().finalized_view(consortium)
    with RpcProxy(chain.url) as one, RpcProxy(chain.url) as two:
        two.tamper = lie
        reader = chain.reader(two.url, chain.url, one.url, quorum=2)
        for _ in range(3):
            assert reader.finalized_view(consortium) == true
        one.down = True
        with pytest.raises(ChainError) as error:
            chain.reader(two.url, chain.url, one.url, quorum=2).finalized_view(consortium)
        assert code(error) == "chain-disagrees"
        one.down, one.tamper = False, lie
        with pytest.raises(ChainError) as error:
            chain.reader(two.url, chain.url, one.url, quorum=3).finalized_view(consortium)
        assert code(error) == "chain-disagrees"
        for urls, quorum in (((two.url, chain.url), 1), ((two.url, chain.url, one.url), 1)):
            with pytest.raises(ConfigurationError, match="no quorum"):
                chain.reader(*urls, quorum=quorum)


def test_nodes_of_different_chains_are_refused(chain: LocalChain, pinned: Study) -> None:
    """CH-07."""
    with RpcProxy(chain.url) as proxy:
        proxy.tamper = lambda method, params, result: "0x1" if method == "eth_chainId" else result
        with pytest.raises(ChainError) as error:
            chain.reader(chain.url, proxy.url).chain_id()
        assert code(error) == "chain-disagrees"
    with pytest.raises(ChainError) as error:
        chain.reader(expected_chain_id=1).chain_id()
    assert code(error) == "chain-disagrees"


def test_a_chain_whose_block_numbers_are_not_its_own_is_refused_by_name(chain: LocalChain) -> None:
    """CH-07: what happened is found by the numbers that contracts see."""
    with RpcProxy(chain.url) as proxy:
        for chain_id, name in OTHER_HEIGHTS.items():
            proxy.tamper = lambda method, params, result, number=chain_id: (
                hex(number) if method == "eth_chainId" else result
            )
            for private in (None, chain_id):
                with pytest.raises(ChainError, match=name) as error:
                    chain.reader(proxy.url, private_chain=private).chain_id()
                assert code(error) == "chain-unsupported"


@click.command()
@rpc_option
def shows_the_chain(rpc: tuple[str, ...]) -> None:
    click.echo(reader_for(rpc).chain_id())


def test_a_chain_that_is_not_known_takes_an_operators_word(chain: LocalChain) -> None:
    with RpcProxy(chain.url) as proxy:
        proxy.tamper = lambda method, params, result: hex(4242) if method == "eth_chainId" else result
        for private in (None, 4243):
            with pytest.raises(ChainError, match="4242") as error:
                chain.reader(proxy.url, private_chain=private).chain_id()
            assert code(error) == "chain-unsupported"
            assert error.value.hint is not None and "--private-chain 4242" in error.value.hint
        assert chain.reader(proxy.url, private_chain=4242).chain_id() == 4242
        # Nothing is walked either, not even for a page.
        for read in (chain.reader(proxy.url).study_history, chain.reader(proxy.url).owners):
            with pytest.raises(ChainError) as error:
                read("0x" + "77" * 20)
            assert code(error) == "chain-unsupported"
        with pytest.raises(ChainError) as error:
            chain.reader(proxy.url).snapshots(["0x" + "77" * 20])
        assert code(error) == "chain-unsupported"
        shown = CliRunner().invoke(shows_the_chain, ["--rpc", proxy.url, "--private-chain", "4242"])
        assert shown.output == "4242\n", "an owner's tools take the word as well"
    assert chain.reader().chain_id() in SUPPORTED


def test_a_revocation_that_one_node_hides_is_seen_through_the_other(chain: LocalChain, pinned: Study) -> None:
    """CH-04: one node is frozen before the revocation."""
    frozen: dict[str, Any] = {}

    def freeze(method: str, params: list[Any], result: Any) -> Any:
        key = method + repr([param for param in params if not isinstance(param, dict)])
        if method == "eth_getBlockByNumber":
            return frozen.setdefault(key, result)
        return result

    with RpcProxy(chain.url) as proxy:
        proxy.tamper = freeze
        reader = chain.reader(chain.url, proxy.url)
        assert reader.latest_view(pinned.room.consortium).revoked_by is None
        chain.revoke(pinned.room, 0)
        assert chain.reader(proxy.url).latest_view(pinned.room.consortium).revoked_by is None
        assert reader.latest_view(pinned.room.consortium).revoked_by == account(0)


def test_a_node_that_is_down_stops_reading_unless_a_quorum_is_enough(
    chain: LocalChain, pinned: Study
) -> None:
    with RpcProxy(chain.url) as proxy, RpcProxy(chain.url) as third:
        every = chain.reader(chain.url, proxy.url)
        enough = chain.reader(chain.url, proxy.url, third.url, quorum=2)
        every.finalized_view(pinned.room.consortium)
        proxy.down = True
        with pytest.raises(ChainError) as error:
            every.finalized_view(pinned.room.consortium)
        assert code(error) == "chain-unreachable"
        assert enough.finalized_view(pinned.room.consortium).study is not None
        proxy.down = False
        every.finalized_view(pinned.room.consortium)


def test_no_node_at_all_is_unreachable() -> None:
    with pytest.raises(ChainError) as error:
        ChainReader(["http://127.0.0.1:1"], timeout_s=1.0).finalized_view("0x" + "77" * 20)
    assert code(error) == "chain-unreachable"


@pytest.mark.parametrize("answer", [None, 7, "text", [], {"number": "0x1"}])
def test_nonsense_from_a_node_is_an_error_of_ours(chain: LocalChain, pinned: Study, answer: Any) -> None:
    with RpcProxy(chain.url) as proxy:
        reader = chain.reader(proxy.url)
        reader.finalized_view(pinned.room.consortium)
        proxy.tamper = lambda method, params, result: answer
        with pytest.raises(ChainError):
            reader.finalized_view(pinned.room.consortium)


def test_the_same_node_twice_is_no_second_opinion(chain: LocalChain) -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        chain.reader(chain.url, chain.url)


def test_what_is_shown_of_an_endpoint_has_no_token(chain: LocalChain) -> None:
    reader = ChainReader(["https://user:password@rpc.example/v3/token"])
    assert reader.endpoints == ("https://rpc.example",)


# --- what a hash is the hash of ------------------------------------------------------------------


def tampered(*events: str) -> Callable[[Callable[[dict[str, Any]], list[Any]]], Any]:
    """A lie about the logs of some events: each is replaced by what the function makes of it."""
    wanted = {"0x" + interface(name).topic(event).hex() for name, event in map(named, events)}

    def of(change: Callable[[dict[str, Any]], list[Any]]) -> Any:
        def tamper(method: str, params: list[Any], result: Any) -> Any:
            if method != "eth_getLogs":
                return result
            return [new for log in result for new in (change(log) if log["topics"][0] in wanted else [log])]

        return tamper

    return of


def named(event: str) -> tuple[str, str]:
    """The contract of an event."""
    return ("Ledger" if event.startswith(("Run", "Receipt", "Batch")) else "Consortium"), event


def replaced(old: bytes | str, new: bytes | str) -> Callable[[dict[str, Any]], list[Any]]:
    """Another value in a log's data; its topics stay."""
    left, right = (value.hex() if isinstance(value, bytes) else value[2:] for value in (old, new))
    return lambda log: [{**log, "data": log["data"].replace(left, right)}]


hides_the_content = tampered("StudyPinned")(lambda log: [])
"""No log of any pin."""
falsifies_the_content = tampered("StudyPinned")(replaced(RECIPE, b"\x66" * 32))
"""Another recipe in every pinned study; its topics still name the study that the state names."""
says_nothing_readable = tampered("StudyPinned")(lambda log: [{**log, "data": "0x"}])
"""A log that does not decode."""
LIES_ABOUT_CONTENT = [hides_the_content, falsifies_the_content, says_nothing_readable]


@pytest.mark.parametrize("lie", LIES_ABOUT_CONTENT, ids=["hidden", "falsified", "unreadable"])
def test_a_node_that_hides_or_falsifies_the_content_makes_the_reader_refuse(
    chain: LocalChain, pinned: Study, lie: Any
) -> None:
    """CH-29: the hash in the state is the proof, the log only a hint."""
    with RpcProxy(chain.url) as proxy:
        assert chain.reader(proxy.url).finalized_view(pinned.room.consortium).study is not None
        proxy.tamper = lie
        reader = chain.reader(proxy.url)
        for read in (reader.finalized_view, partial(reader.latest_view, whole=True)):
            with pytest.raises(ChainError) as error:
                read(pinned.room.consortium)
            assert code(error) in ("chain-unreachable", "chain-disagrees")
        # Who asks no more than whether to stop needs no content.
        assert reader.latest_view(pinned.room.consortium).active_study == pinned.id


@pytest.mark.parametrize("lie", LIES_ABOUT_CONTENT, ids=["hidden", "falsified", "unreadable"])
def test_one_honest_node_is_enough_to_find_the_content(chain: LocalChain, pinned: Study, lie: Any) -> None:
    """CH-29, CH-03: the state must still be the same from both; content proves itself."""
    with RpcProxy(chain.url) as proxy:
        proxy.tamper = lie
        view = chain.reader(proxy.url, chain.url).finalized_view(pinned.room.consortium)
        assert view.study == chain.study(pinned.id)
        proxy.tamper = lies_about_the_state
        with pytest.raises(ChainError) as error:
            chain.reader(proxy.url, chain.url).finalized_view(pinned.room.consortium)
        assert code(error) == "chain-disagrees"


def test_content_is_asked_for_once(chain: LocalChain, pinned: Study) -> None:
    """A release costs no further question; another study does."""
    asked: list[str] = []

    def counts(method: str, params: list[Any], result: Any) -> Any:
        asked.extend([method] * (method == "eth_getLogs"))
        return result

    with RpcProxy(chain.url) as proxy:
        proxy.tamper = counts
        reader = chain.reader(proxy.url)
        for _ in range(3):
            reader.finalized_view(pinned.room.consortium)
            reader.latest_view(pinned.room.consortium, whole=True)
        assert len(asked) == 1
        again = chain.draft(
            pinned.room, compose_hash=RECIPE, datasets=[one.id for one in pinned.datasets], max_runs=5
        )
        chain.approve(pinned.room, again, 0, 1)
        chain.finalize()
        study = reader.finalized_view(pinned.room.consortium).study
        assert study is not None and study.max_runs == 5
        assert len(asked) == 2


def test_words_of_a_revocation_that_no_node_shows_are_no_error(chain: LocalChain, pinned: Study) -> None:
    """The state says who revoked; why is for people."""
    revoked = chain.revoke(pinned.room, 2, "consent withdrawn")
    chain.finalize()
    with RpcProxy(chain.url) as proxy:
        honest = chain.reader(proxy.url).finalized_view(pinned.room.consortium)
        assert (honest.revoked_by, honest.revocation_reason) == (account(2), "consent withdrawn")
        block = chain.rpc("eth_getBlockByNumber", revoked["blockNumber"], False)
        assert honest.revoked_at == int(block["timestamp"], 16)
        proxy.tamper = tampered("Revoked")(lambda log: [])
        silent = chain.reader(proxy.url).finalized_view(pinned.room.consortium)
        assert silent == replace(honest, revocation_reason="")
        assert chain.reader(proxy.url).latest_view(pinned.room.consortium).revocation_reason == ""


def test_a_history_costs_its_events_however_long_the_chain_is(
    chain: LocalChain, pinned: Study, gate: Transactor
) -> None:
    """Hundreds of blocks lie between the events."""
    asked: list[dict[str, Any]] = []

    def note(method: str, params: list[Any]) -> bool:
        asked.extend(params[:1] if method == "eth_getLogs" else [])
        return False

    open_one(chain, pinned, gate)
    confirm = interface("Consortium").encode("confirm")
    for _ in range(6):
        for _ in range(3):
            chain.send(0, pinned.room.consortium, confirm)
        chain.mine(200)
    with RpcProxy(chain.url) as proxy:
        proxy.refuses = note
        history = chain.reader(proxy.url).study_history(pinned.room.consortium)
    assert history.complete and len(history.of(Confirmation)) == 18
    assert len(history.pins) == len(history.runs) == 1
    assert len(asked) < len(history.events) / 2, "a question covers several blocks"
    widest = max(int(one["toBlock"], 16) - int(one["fromBlock"], 16) for one in asked)
    with RpcProxy(chain.url) as proxy:
        asked.clear()
        proxy.refuses = lambda method, params: (
            note(method, params)
            or (method == "eth_getLogs" and params[0]["fromBlock"] != params[0]["toBlock"])
        )
        assert chain.reader(proxy.url).study_history(pinned.room.consortium) == history
    assert widest and len(asked) <= 2 * len(history.events), "a node may refuse more than one block"


def test_several_events_of_one_block_are_one_question(chain: LocalChain, pinned: Study) -> None:
    confirm = interface("Consortium").encode("confirm")
    chain.rpc("evm_setAutomine", False)
    for owner in (0, 1, 2):
        call = {
            "from": account(owner),
            "to": pinned.room.consortium,
            "data": "0x" + confirm.hex(),
            "gas": hex(200_000),
        }
        chain.rpc("eth_sendTransaction", call)
    chain.mine()
    chain.rpc("evm_setAutomine", True)
    history = chain.reader().study_history(pinned.room.consortium)
    found = history.of(Confirmation)
    assert {event.owner for event in found} == {account(0), account(1), account(2)}
    assert len({event.at.block for event in found}) == 1


HIDDEN = {
    "the last": tampered("Revoked")(lambda log: []),
    "one of the middle": tampered("StudyPinned")(lambda log: []),
    "the first": tampered("Approved")(lambda log: []),
    "a run": tampered("RunOpened")(lambda log: []),
}


@pytest.mark.parametrize("lie", HIDDEN.values(), ids=HIDDEN)
def test_a_history_from_which_a_node_hides_events_comes_from_another_node(
    chain: LocalChain, pinned: Study, gate: Transactor, lie: Any
) -> None:
    """CH-29: events are linked, so what is left out between others is missed, and the state counts them."""
    open_one(chain, pinned, gate)
    chain.revoke(pinned.room, 0)
    with RpcProxy(chain.url) as proxy:
        honest = chain.reader(proxy.url).study_history(pinned.room.consortium)
        proxy.tamper = lie
        with pytest.raises(ChainError) as error:
            chain.reader(proxy.url).study_history(pinned.room.consortium)
        assert code(error) == "chain-unreachable"
        assert chain.reader(proxy.url, chain.url).study_history(pinned.room.consortium) == honest


def test_a_history_is_read_anew_where_the_chain_was_put_back(chain: LocalChain, pinned: Study) -> None:
    """A development node puts back what it had called final; what was read of it goes too."""
    reader = chain.reader()
    snapshot = chain.snapshot()
    chain.revoke(pinned.room, 0, "stop")
    chain.finalize()
    assert len(reader.study_history(pinned.room.consortium).revocations) == 1

    chain.restore(snapshot)
    chain.mine(5)
    chain.finalize()

    assert reader.study_history(pinned.room.consortium).revocations == ()


def test_history_and_proposals_are_read_on_from_where_they_were(chain: LocalChain, pinned: Study) -> None:
    """What a page or a refusal costs does not grow with the age of the consortium."""
    asked: list[int] = []

    def note(method: str, params: list[Any]) -> bool:
        if method == "eth_getLogs":
            asked.append(int(params[0]["fromBlock"], 16))
        return False

    chain.mine(600)
    with RpcProxy(chain.url) as proxy:
        proxy.refuses = note
        reader = chain.reader(proxy.url)
        before = reader.study_history(pinned.room.consortium)
        assert len(asked) <= 4, "two votes for the platform, two for the study"
        asked.clear()
        revoked = chain.revoke(pinned.room, 0, "stop")
        after = reader.study_history(pinned.room.consortium)
        assert (len(before.revocations), len(after.revocations)) == (0, 1)
        assert after.pins == before.pins
        assert asked == [int(revoked["blockNumber"], 16)]

        recipe = {"compose_hash": b"\x66" * 32}
        chain.mine(600)
        reader.latest_view(pinned.room.consortium, **recipe)
        asked.clear()
        reader.latest_view(pinned.room.consortium, **recipe)
        assert len(asked) <= 1
        study = chain.draft(pinned.room, datasets=[dataset.id for dataset in pinned.datasets], **recipe)
        chain.approve(pinned.room, study, 2)
        best = reader.latest_view(pinned.room.consortium, **recipe).best
        assert best is not None and best.candidate is not None
        assert best.candidate.approvals == (account(2),)
        assert set(best.candidate.required) == {account(0), account(1)}


def test_a_node_that_answers_logs_of_other_blocks_is_refused(chain: LocalChain, pinned: Study) -> None:
    """CH-29."""

    def elsewhere(method: str, params: list[Any], result: Any) -> Any:
        return [{**log, "blockNumber": "0x7fffffff"} for log in result] if method == "eth_getLogs" else result

    with RpcProxy(chain.url) as proxy:
        proxy.tamper = elsewhere
        with pytest.raises(ChainError) as error:
            chain.reader(proxy.url).study_history(pinned.room.consortium)
        assert code(error) == "chain-unreachable"


def test_a_proposal_whose_content_is_not_what_it_is_called_is_none(
    chain: LocalChain, proposed: Study
) -> None:
    """CH-29."""
    chain.approve(proposed.room, proposed.id, 2)
    chain.finalize()
    with RpcProxy(chain.url) as proxy:
        reader = chain.reader(proxy.url)
        assert reader.finalized_view(proposed.room.consortium, compose_hash=RECIPE).candidate is not None
        proxy.tamper = tampered("StudyProposed")(replaced(proposed.datasets[0].id, b"\x66" * 32))
        reader = chain.reader(proxy.url)
        assert reader.finalized_view(proposed.room.consortium, compose_hash=RECIPE).candidate is None


# --- stale, and reorganised ---------------------------------------------------------------------


def test_a_head_too_old_or_from_the_future_is_stale(chain: LocalChain, pinned: Study) -> None:
    """CH-04."""
    for skew, fine in ((0, True), (80, True), (-80, True), (95, False), (-95, False)):
        reader = chain.reader(clock=lambda skew=skew: chain.head_time() + skew)  # type: ignore[misc]
        if fine:
            reader.finalized_view(pinned.room.consortium)
            reader.latest_view(pinned.room.consortium)
            continue
        for read in (reader.finalized_view, reader.latest_view):
            with pytest.raises(ChainError) as error:
                read(pinned.room.consortium)
            assert code(error) == "chain-stale"


def test_a_finalized_block_that_goes_back_is_stale_also_after_a_restart(
    chain: LocalChain, pinned: Study, reader: ChainReader
) -> None:
    """CH-04."""
    before = chain.snapshot()
    chain.mine(5)
    seen = reader.finalized_view(pinned.room.consortium).block_number
    assert reader.finalized_floor == seen
    chain.restore(before)
    for one in (reader, chain.reader(finalized_floor=seen)):
        with pytest.raises(ChainError) as error:
            one.finalized_view(pinned.room.consortium)
        assert code(error) == "chain-stale"


def test_an_answer_that_another_one_overtook_is_not_stale(chain: LocalChain, pinned: Study) -> None:
    """CH-04, RE-05: of callers who ask at the same time, one may get the block before the other's."""
    with RpcProxy(chain.url) as proxy, ThreadPoolExecutor(1) as pool:
        reader = chain.reader(proxy.url)
        before = reader.finalized_view(pinned.room.consortium).block_number
        held, go = threading.Event(), threading.Event()

        def hold(method: str, params: list[Any], result: Any) -> Any:
            if method == "eth_getBlockByNumber" and params[0] == "finalized" and not held.is_set():
                held.set()
                assert go.wait(PATIENCE_S)
            return result

        proxy.tamper = hold
        slow = pool.submit(reader.finalized_view, pinned.room.consortium)
        try:
            assert held.wait(PATIENCE_S)
            chain.mine(5)
            assert reader.finalized_view(pinned.room.consortium).block_number > before
        finally:
            go.set()
        assert slow.result(PATIENCE_S).block_number == before
        assert reader.finalized_floor > before, "the older answer does not lower what was seen"


def test_an_approval_that_a_reorganisation_drops_was_never_final(
    chain: LocalChain, proposed: Study, reader: ChainReader
) -> None:
    """CH-01."""
    chain.approve(proposed.room, proposed.id, 0)
    chain.finalize()
    chain.approve(proposed.room, proposed.id, 1)
    assert reader.latest_view(proposed.room.consortium).active_study == proposed.id
    assert reader.finalized_view(proposed.room.consortium).study is None
    chain.reorg(1)
    chain.finalize()
    view = reader.finalized_view(proposed.room.consortium, compose_hash=RECIPE)
    assert view.study is None
    assert view.candidate is not None and view.candidate.approvals == (account(0),)


def test_a_block_that_left_the_chain_during_the_read_is_refused(chain: LocalChain, pinned: Study) -> None:
    """CH-05: state is asked at a hash, so it cannot silently come from another block."""
    with RpcProxy(chain.url) as proxy:

        def gone(method: str, params: list[Any], result: Any) -> Any:
            return {**result, "hash": "0x" + "66" * 32} if method == "eth_getBlockByNumber" else result

        proxy.tamper = gone
        with pytest.raises(ChainError) as error:
            chain.reader(proxy.url).finalized_view(pinned.room.consortium)
        assert code(error) == "chain-disagrees"


# --- runs, receipts, history --------------------------------------------------------------------


def run_of(chain: LocalChain, **changes: Any) -> Run:
    fields: dict[str, Any] = {
        "run_id": secrets.token_bytes(32),
        "epsilon_micro": 1_500_000,
        "delta_pico": 400_000,
        "enclave_signer": account(11),
        "grant_hash": b"\x0a" * 32,
        "open_before": chain.head_time() + 600,
    }
    return Run(**{**fields, **changes})


NOTE = b"\x0f" * 32
"""What the gate writes down with each opening."""


@pytest.fixture
def gate(chain: LocalChain) -> Transactor:
    return Transactor(chain.url, private_key(GATE))


ENCLAVE = 11
"""Account that plays the enclave's signer."""


def open_one(chain: LocalChain, pinned: Study, gate: Transactor, **changes: Any) -> Opening:
    """Open a run, as the gate does; returns what the ledger has of it."""
    room = pinned.room
    opened = gate.open_runs(
        room.ledger, room.consortium, chain.study(pinned.id), [run_of(chain, **changes)], note=NOTE
    )
    event = opened.event("RunOpened")
    assert event is not None
    return Opening.of_abi(event["opening"])


def signed_receipt(opening: Opening, ledger: str, **changes: Any) -> tuple[Receipt, bytes]:
    """What the enclave of a run signs."""
    receipt = Receipt(
        run_id=opening.run.run_id,
        consortium=opening.consortium,
        study=opening.study,
        compose_hash=RECIPE,
        datasets_root=b"\x0b" * 32,
        result_digest=b"\x0c" * 32,
        statement_digest=b"\x0d" * 32,
        epsilon_micro=opening.run.epsilon_micro,
        delta_pico=opening.run.delta_pico,
        grant_hash=opening.run.grant_hash,
    )
    receipt = replace(receipt, **changes)
    message = typed.receipt(receipt, chain_id=31337, ledger=ledger)
    return receipt, typed.sign(message, private_key(ENCLAVE))


def digest_of(receipt: Receipt, ledger: str) -> bytes:
    return typed.digest(typed.receipt(receipt, chain_id=31337, ledger=ledger))


def test_a_run_is_opened_and_its_receipt_anchored(
    chain: LocalChain, pinned: Study, reader: ChainReader, gate: Transactor
) -> None:
    ledger, consortium = pinned.room.ledger, pinned.room.consortium
    before = chain.block_number()
    assert reader.booked(ledger, consortium, b"\x01" * 32) is None
    opening = open_one(chain, pinned, gate, run_id=b"\x01" * 32)
    assert (opening.study, opening.compose_hash, opening.number) == (pinned.id, RECIPE, 1)
    assert (opening.approvals, opening.roll, opening.opened_at) == (0b11, 1, chain.head_time())
    assert (opening.standing, opening.note) == (chain.state(pinned.room).standing, NOTE)
    kept = typed.opening_hash(opening)
    assert reader.booked(ledger, consortium, opening.run.run_id) == kept
    assert reader.booked(ledger, "0x" + "66" * 20, opening.run.run_id) is None
    for from_block in (None, before):
        found = reader.opening(ledger, consortium, opening.run.run_id, kept, from_block=from_block)
        assert found == opening

    receipt, signature = signed_receipt(opening, ledger)
    found = reader.receipt(ledger, receipt, signature)
    assert found is not None
    assert (found.opening, found.anchoring) == (opening, None)
    assert (found.verdict.opened, found.verdict.anchored) == (True, False)

    anchored = Transactor(chain.url, private_key(12)).anchor(ledger, receipt, opening, signature)
    for from_block in (None, before):
        found = reader.receipt(ledger, receipt, signature, from_block=from_block)
        assert found is not None and found.anchoring is not None
        assert (found.anchoring.tx, found.anchoring.sequence, found.anchoring.batch) == (anchored.tx, 1, 0)
        assert found.anchoring.block == anchored.block_number
    verdict = found.verdict
    assert verdict.opened and verdict.anchored
    assert not (verdict.superseded or verdict.revoked_at or verdict.stopped_since)
    assert verdict.approved_by == (account(0), account(1))
    assert (verdict.opened_at, verdict.anchored_at) == (opening.opened_at, chain.head_time())

    chain.finalize()
    view = reader.finalized_view(pinned.room.consortium)
    assert (view.spending.runs, view.spending.epsilon_micro, view.spending.delta_pico) == (
        1,
        1_500_000,
        400_000,
    )
    assert [
        (one.account.epsilon_spent, one.allowance.epsilon_spent, one.allowance.delta_spent)
        for one in view.datasets
    ] == 2 * [(1_500_000, 1_500_000, 400_000)]


def test_a_receipt_stays_and_tells_what_happened_since(
    chain: LocalChain, pinned: Study, reader: ChainReader, gate: Transactor
) -> None:
    ledger = pinned.room.ledger
    opening = open_one(chain, pinned, gate)
    receipt, signature = signed_receipt(opening, ledger)
    gate.anchor(ledger, receipt, opening, signature)
    chain.advance(60)
    revoked = chain.revoke(pinned.room, 2)
    found = reader.receipt(ledger, receipt, signature)
    assert found is not None and found.verdict.anchored and found.verdict.stopped_since
    assert (found.verdict.revoked_at, found.verdict.revoked_by) == (chain.head_time(), account(2))
    assert found.verdict.revoked_at > found.verdict.anchored_at
    assert revoked["status"] == "0x1"
    chain.change_roster(pinned.room, remove=["hospital-C"], threshold=2)
    found = reader.receipt(ledger, receipt, signature)
    assert found is not None and found.verdict.anchored and found.verdict.superseded
    assert found.verdict.revoked_by == account(2), "what became of the study is kept"


def test_runs_that_are_refused_are_passed_over_and_told(
    chain: LocalChain, pinned: Study, reader: ChainReader, gate: Transactor
) -> None:
    room, study = pinned.room, chain.study(pinned.id)
    runs = [run_of(chain, epsilon_micro=1_000_000), run_of(chain, epsilon_micro=9_000_000)]
    gate.open_runs(room.ledger, room.consortium, study, runs, note=NOTE)
    history = reader.study_history(room.consortium)
    assert [one.run_id for one in history.runs] == [runs[0].run_id]
    assert [(one.run_id, one.error) for one in history.of(RunRefusal)] == [
        (runs[1].run_id, "LedgerStudyExceeds")
    ]


def test_a_receipt_in_a_batch_is_found_with_its_proof(
    chain: LocalChain, pinned: Study, reader: ChainReader, gate: Transactor
) -> None:
    """Numbers and digests stand in the transaction; the path up to the root is made from them."""
    ledger = pinned.room.ledger
    openings = [
        open_one(chain, pinned, gate, epsilon_micro=1_000_000, delta_pico=0, grant_hash=bytes([n]) * 32)
        for n in (1, 2, 3)
    ]
    receipts = [signed_receipt(opening, ledger) for opening in openings]
    alone, alone_signature = receipts[1]
    gate.anchor(ledger, alone, openings[1], alone_signature)
    done = gate.anchor_batch(
        ledger,
        pinned.room.consortium,
        standing=openings[0].standing,
        numbers=[openings[0].number, openings[2].number],
        digests=[digest_of(receipts[0][0], ledger), digest_of(receipts[2][0], ledger)],
    )
    for (receipt, signature), sequence in zip(receipts[::2], (2, 3), strict=True):
        found = reader.receipt(ledger, receipt, signature)
        assert found is not None and found.anchoring is not None
        assert (found.anchoring.tx, found.anchoring.batch, found.anchoring.sequence) == (done.tx, 1, sequence)
        assert len(found.anchoring.path) == 1
        assert found.verdict.anchored and found.verdict.anchored_at == chain.head_time()
        assert found.anchoring.block == done.block_number
    receipt, signature = signed_receipt(openings[2], ledger, result_digest=b"\x66" * 32)
    found = reader.receipt(ledger, receipt, signature)
    assert found is not None and found.verdict.opened and not found.verdict.anchored
    history = reader.study_history(pinned.room.consortium)
    assert [(one.batch, one.first, one.count) for one in history.of(BatchAnchoring)] == [(1, 2, 2)]
    assert (len(history.receipts), history.receipt_count) == (1, 3)


def test_a_false_log_of_an_opening_is_named_as_such(
    chain: LocalChain, pinned: Study, reader: ChainReader, gate: Transactor
) -> None:
    """CH-29: the ledger's own hash is the proof of what a log says."""
    ledger = pinned.room.ledger
    opening = open_one(chain, pinned, gate)
    receipt, signature = signed_receipt(opening, ledger)
    hides = tampered("RunOpened")(lambda log: [])
    falsifies = tampered("RunOpened")(replaced(account(ENCLAVE), account(13)))

    with RpcProxy(chain.url) as proxy:
        watched = chain.reader(proxy.url)
        found = watched.receipt(ledger, receipt, signature)
        assert found is not None and found.verdict.opened
        for lie, expected in ((hides, "chain-unreachable"), (falsifies, "chain-disagrees")):
            proxy.tamper = lie
            with pytest.raises(ChainError) as error:
                watched.receipt(ledger, receipt, signature)
            assert code(error) == expected


def test_what_the_ledger_refuses_comes_back_by_its_name_and_costs_nothing(
    chain: LocalChain, pinned: Study, gate: Transactor
) -> None:
    room, content = pinned.room, chain.study(pinned.id)
    first, late = run_of(chain), run_of(chain, open_before=chain.head_time())
    gate.open_runs(room.ledger, room.consortium, content, [first], note=NOTE)
    block = chain.block_number()
    for run, study, revert in (
        (first, content, "LedgerRunExists"),
        (late, content, "LedgerRunLate"),
        (run_of(chain, epsilon_micro=3_000_001), content, "LedgerStudyExceeds"),
        (run_of(chain, delta_pico=600_001), content, "LedgerStudyExceeds"),
        (run_of(chain, epsilon_micro=2_000_000), content, "RegistryExceeds"),
        (run_of(chain), replace(content, delta_pico=10**9), "LedgerStudyNotLive"),
    ):
        with pytest.raises(TransactionError) as error:
            gate.open_runs(room.ledger, room.consortium, study, [run], note=NOTE)
        assert (code(error), error.value.revert) == ("transaction-reverted", revert)
    stranger = Transactor(chain.url, private_key(12))
    with pytest.raises(TransactionError) as error:
        stranger.open_runs(room.ledger, room.consortium, content, [run_of(chain)], note=NOTE)
    assert error.value.revert == "LedgerNotGate"
    assert chain.block_number() == block


def test_a_sender_without_gas_money_is_told_so(chain: LocalChain, pinned: Study) -> None:
    poor = Transactor(chain.url, secrets.token_bytes(32))
    with pytest.raises(TransactionError) as error:
        poor.send(account(0), b"", value=1)
    assert code(error) == "transaction-rejected"
    assert error.value.hint is not None and poor.address in error.value.hint


def test_a_transactor_shows_no_key(chain: LocalChain) -> None:
    key = secrets.token_bytes(32)
    assert key.hex() not in repr(Transactor(chain.url, key))


def test_every_kind_of_event_is_one_of_the_contracts() -> None:
    """A record is made of an event by the name that its class gives."""
    named = {
        item["name"]
        for contract in ("Consortium", "Ledger")
        for item in interface(contract).abi
        if item["type"] == "event"
    }
    assert len(Event.KINDS) == 25 and set(Event.KINDS) <= named


def test_every_custom_error_of_the_contracts_is_explained_by_name() -> None:
    for contract in ("Consortium", "Ledger", "Factory"):
        for item in interface(contract).abi:
            if item["type"] == "error" and not item["inputs"]:
                data = interface(contract)  # an error without fields is its selector alone
                assert item["name"] in data.errors
    assert explain_revert(b"")[0] == "unknown"
    assert explain_revert(
        bytes.fromhex("08c379a0") + bytes(31) + b"\x20" + bytes(31) + b"\x02hi" + bytes(30)
    ) == (
        "Error",
        {"message": "hi"},
    )


def test_the_history_tells_all_that_happened_with_its_transactions(
    chain: LocalChain, pinned: Study, reader: ChainReader, gate: Transactor
) -> None:
    opening = open_one(chain, pinned, gate)
    second = chain.draft(pinned.room, compose_hash=b"\x0e" * 32, datasets=[one.id for one in pinned.datasets])
    chain.approve(pinned.room, second, 2)
    withdrawn = chain.withdraw(pinned.room, second, 2)
    chain.add_machines(pinned.room, 0, 1, devices=[b"\x66" * 32])
    revoked = chain.revoke(pinned.room, 1, "stop")
    contract = interface("Consortium")
    chain.send(2, pinned.room.consortium, contract.encode("offerSeat", account(5)))
    chain.advance(2 * 24 * 3600)
    chain.send(5, pinned.room.consortium, contract.encode("acceptSeat", account(2)))
    chain.change_roster(
        pinned.room, remove=["hospital-C"], add=[member(account(6), "hospital-D")], threshold=2
    )
    history = reader.study_history(pinned.room.consortium)
    assert history.complete
    assert [proposal.content.id for proposal in history.proposals] == [pinned.id, second]
    assert [proposal.by for proposal in history.proposals] == [account(0), account(2)]
    assert [approval.owner for approval in history.approvals_of(pinned.id)] == [account(0), account(1)]
    (pin,) = history.pins
    assert (pin.content, pin.owners) == (chain.study(pinned.id), (account(0), account(1)))
    assert history.approvals_of(pinned.id)[1].at == pin.at
    assert history.approvals_of(second) == ()
    for tx, counted in ((pin.at.tx, {account(0), account(1)}), (history.proposals[0].at.tx, set())):
        given = bytes.fromhex(tx[2:])
        assert reader.approvals_in(pinned.room.consortium, pinned.id, given, counted=True) == counted
    assert [(one.proposal, one.owner) for one in history.of(Withdrawal)] == [(second, account(2))]
    assert history.of(Withdrawal)[0].at.tx == withdrawn["transactionHash"]
    (proposed,), (adopted,) = history.of(ProposedPlatform), history.of(PlatformAdoption)
    assert (adopted.proposal, adopted.platform) == (proposed.proposal, proposed.platform)
    assert (adopted.platform.gate_signer, adopted.owners) == (account(GATE), (account(0), account(1)))
    (asked,), (added,) = history.of(ProposedMachines), history.of(MachinesAddition)
    assert (added.proposal, added.machines.devices) == (asked.proposal, (b"\x66" * 32,))
    assert added.owners == (account(0), account(1))
    assert [one.run_id for one in history.runs_of(pinned.id)] == [opening.run.run_id]
    assert (history.runs[0].opening.number, history.runs[0].opening.run.delta_pico) == (1, 400_000)
    assert [(one.owner, one.study, one.reason, one.compose_hash) for one in history.revocations] == [
        (account(1), pinned.id, "stop", RECIPE)
    ]
    assert history.revocations[0].at.tx == revoked["transactionHash"]
    assert [(one.owner, one.to) for one in history.of(SeatOffer)] == [(account(2), account(5))]
    assert history.of(SeatOffer)[0].from_ > 2 * 24 * 3600
    assert [(one.owner, one.to, one.roll) for one in history.of(SeatMove)] == [(account(2), account(5), 2)]
    (wanted,), (change,) = history.of(ProposedRoster), history.of(RosterChange)
    assert (change.proposal, change.roster) == (wanted.proposal, wanted.roster)
    assert (change.roll, change.roster.remove, change.roster.threshold) == (3, ("hospital-C",), 2)
    assert change.owners == (account(0), account(1))
    assert history.receipt_of(opening.run.run_id) is None
    assert history.of(UnpinFailure) == ()
    places = [(event.at.block, event.at.index) for event in history.events]
    assert places == sorted(places)


def test_what_happened_to_a_dataset_is_found_by_its_id(
    chain: LocalChain, pinned: Study, reader: ChainReader
) -> None:
    dataset = pinned.datasets[0]
    kinds = [type(event) for event in reader.recent_dataset_history(pinned.room.ledger, [dataset.id])]
    assert kinds == [DatasetRegistration, VersionAddition, LifetimeSetting, AllowanceSetting]
    offered = reader.offered(pinned.room.consortium)
    assert {one.id for one in offered} == {one.id for one in pinned.datasets}
    assert {one.holder_id for one in offered} == {"hospital-A", "hospital-B"}


def test_the_factory_lists_consortia_owners_and_board(
    chain: LocalChain, pinned: Study, reader: ChainReader
) -> None:
    assert reader.consortia(pinned.room.factory) == [pinned.room.consortium]
    (row,) = reader.board(pinned.room.factory)
    assert (row.consortium, row.owners, row.confirmed, row.records) == (pinned.room.consortium, 3, 2, 2000)
    assert (row.criteria, row.status) == ((2, 0, 2), 2)
    assert [owner.id for owner in reader.owners(pinned.room.consortium)] == [
        "hospital-A",
        "hospital-B",
        "hospital-C",
    ]
    chain.revoke(pinned.room, 0)
    assert reader.board(pinned.room.factory)[0].status == 3


def test_a_chain_that_mines_by_the_clock_works_the_same() -> None:
    with LocalChain.start(block_time=1) as chain:
        room = chain.create_consortium(["hospital-A"], threshold=1)
        reader = chain.reader()
        number = chain.block_number()
        until(lambda: reader.finalized_head().number >= number)
        chain.finalize()
        assert reader.finalized_view(room.consortium).threshold == 1
        reader.close()
