# SPDX-License-Identifier: Apache-2.0
"""Reading the chain from a real node, from several, from lying ones, and over reorganisations."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from tests.local_chain import Dataset, LocalChain, Room, account, private_key
from tests.patience import until
from tests.rpc_proxy import RpcProxy

from sealroom import typed
from sealroom.model import Opening, Receipt, Run
from sealroom_agents.chain import ChainReader, Transactor
from sealroom_agents.chain.contracts import explain_revert, interface
from sealroom_agents.errors import ChainError, TransactionError

pytestmark = pytest.mark.anvil

GATE = 10
"""Account that plays the gate's signer."""
RECIPE = b"\x09" * 32


@dataclass(frozen=True)
class Study:
    """A consortium of three, threshold two, with two datasets and one proposed study."""

    room: Room
    datasets: tuple[Dataset, ...]
    id: bytes


@pytest.fixture(scope="module")
def node() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
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
    datasets = tuple(sorted((Dataset(), Dataset()), key=lambda dataset: dataset.id))
    for owner, dataset in enumerate(datasets):
        chain.register(room, owner=owner, dataset=dataset, cap_micro=3_000_000)
    study = chain.propose(room, compose_hash=RECIPE, datasets=[dataset.id for dataset in datasets])
    return Study(room=room, datasets=datasets, id=study)


@pytest.fixture
def pinned(chain: LocalChain, proposed: Study) -> Study:
    chain.approve(proposed.room, proposed.id, 0, 1)
    chain.finalize()
    return proposed


@pytest.fixture
def reader(chain: LocalChain) -> Iterator[ChainReader]:
    reader = ChainReader([chain.url], timeout_s=5.0)
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
    assert view.study is not None
    assert (view.study.id, view.study.compose_hash, view.study.epoch) == (pinned.id, RECIPE, view.epoch)
    assert (view.study.epsilon_micro, view.study.delta_pico, view.study.max_runs) == (4_500_000, 1_000_000, 3)
    assert (view.study.nonce, view.nonce) == (0, 1)
    assert 0 < view.approved_block <= view.block_number
    assert view.live and view.app_allows and view.require_tcb and not view.allow_any_device
    assert view.approvals == (account(0), account(1))
    assert [record.id for record in view.datasets] == [dataset.id for dataset in pinned.datasets]
    assert [record.owner_id for record in view.datasets] == ["hospital-A", "hospital-B"]
    assert view.datasets[0].key_commitment == pinned.datasets[0].key_commitment
    assert (view.datasets[0].budget.epsilon_cap, view.datasets[0].budget.epsilon_spent) == (3_000_000, 0)
    assert (view.datasets[0].budget.delta_cap, view.datasets[0].budget.delta_spent) == (1_000_000, 0)
    assert (view.datasets[0].budget.run_cap, view.datasets[0].budget.runs) == (100, 0)
    assert (view.revoked_by, view.revocation_reason, view.candidate) == (None, "", None)


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
    assert candidate.required == (account(0), account(1))
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
    assert finalized.revoked_by is None and latest.epoch == finalized.epoch + 1


# --- several nodes ------------------------------------------------------------------------------


def test_two_nodes_that_agree_answer_as_one(chain: LocalChain, pinned: Study) -> None:
    with RpcProxy(chain.url) as proxy:
        alone = ChainReader([chain.url]).finalized_view(pinned.room.consortium)
        assert ChainReader([chain.url, proxy.url]).finalized_view(pinned.room.consortium) == alone


def lies_about_the_state(method: str, params: list[Any], result: Any) -> Any:
    """One bit of one answer of `budget`."""
    if method == "eth_call" and params[0]["data"].startswith(
        "0x" + interface("Ledger").encode("budget", GATE_ADDRESS, bytes(32))[:4].hex()
    ):
        return result[:-1] + "f"
    return result


GATE_ADDRESS = account(GATE)


def lies_about_the_hash(method: str, params: list[Any], result: Any) -> Any:
    """Another hash for every block."""
    if method == "eth_getBlockByNumber":
        return {**result, "hash": "0x" + "66" * 32}
    return result


@pytest.mark.parametrize("lie", [lies_about_the_state, lies_about_the_hash])
def test_a_node_that_lies_makes_the_reader_refuse(chain: LocalChain, pinned: Study, lie: Any) -> None:
    """CH-03: neither of two is believed."""
    with RpcProxy(chain.url) as proxy:
        reader = ChainReader([chain.url, proxy.url])
        reader.finalized_view(pinned.room.consortium)
        proxy.tamper = lie
        with pytest.raises(ChainError) as error:
            reader.finalized_view(pinned.room.consortium)
        assert code(error) == "chain-disagrees"


@pytest.mark.parametrize("lie", [lies_about_the_state, lies_about_the_hash])
def test_a_liar_is_passed_over_while_a_quorum_agrees_and_only_then(
    chain: LocalChain, pinned: Study, lie: Any
) -> None:
    """CH-03: two of three decide against one; one of three never decides, nor do one and one."""
    consortium = pinned.room.consortium
    true = ChainReader([chain.url]).finalized_view(consortium)
    with RpcProxy(chain.url) as one, RpcProxy(chain.url) as two:
        two.tamper = lie
        reader = ChainReader([two.url, chain.url, one.url], quorum=2)
        for _ in range(3):
            assert reader.finalized_view(consortium) == true
        one.down = True
        with pytest.raises(ChainError) as error:
            ChainReader([two.url, chain.url, one.url], quorum=2).finalized_view(consortium)
        assert code(error) == "chain-disagrees"
        one.down, one.tamper = False, lie
        with pytest.raises(ChainError) as error:
            ChainReader([two.url, chain.url, one.url], quorum=3).finalized_view(consortium)
        assert code(error) == "chain-disagrees"
        with pytest.raises(ChainError) as error:
            ChainReader([two.url, chain.url], quorum=1).finalized_view(consortium)
        assert code(error) == "chain-disagrees"


def test_nodes_of_different_chains_are_refused(chain: LocalChain, pinned: Study) -> None:
    """CH-07."""
    with RpcProxy(chain.url) as proxy:
        proxy.tamper = lambda method, params, result: "0x1" if method == "eth_chainId" else result
        with pytest.raises(ChainError) as error:
            ChainReader([chain.url, proxy.url]).chain_id()
        assert code(error) == "chain-disagrees"
    with pytest.raises(ChainError) as error:
        ChainReader([chain.url], expected_chain_id=1).chain_id()
    assert code(error) == "chain-disagrees"


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
        reader = ChainReader([chain.url, proxy.url])
        assert reader.latest_view(pinned.room.consortium).revoked_by is None
        chain.revoke(pinned.room, 0)
        assert ChainReader([proxy.url]).latest_view(pinned.room.consortium).revoked_by is None
        assert reader.latest_view(pinned.room.consortium).revoked_by == account(0)


def test_a_node_that_is_down_stops_reading_unless_a_quorum_is_enough(
    chain: LocalChain, pinned: Study
) -> None:
    with RpcProxy(chain.url) as proxy:
        every = ChainReader([chain.url, proxy.url], timeout_s=2.0)
        enough = ChainReader([chain.url, proxy.url], timeout_s=2.0, quorum=1)
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
        reader = ChainReader([proxy.url])
        reader.finalized_view(pinned.room.consortium)
        proxy.tamper = lambda method, params, result: answer
        with pytest.raises(ChainError):
            reader.finalized_view(pinned.room.consortium)


def test_the_same_node_twice_is_no_second_opinion(chain: LocalChain) -> None:
    with pytest.raises(ChainError, match="twice"):
        ChainReader([chain.url, chain.url])


def test_what_is_shown_of_an_endpoint_has_no_token(chain: LocalChain) -> None:
    reader = ChainReader(["https://user:password@rpc.example/v3/token"])
    assert reader.endpoints == ("https://rpc.example",)


# --- what a hash is the hash of ------------------------------------------------------------------

PINNED = "0x" + interface("Consortium").topic("StudyPinned").hex()


def asks_for_the_pin(method: str, params: list[Any]) -> bool:
    return method == "eth_getLogs" and params[0]["topics"][0] == PINNED


def hides_the_content(method: str, params: list[Any], result: Any) -> Any:
    """No log of any pin."""
    return [] if asks_for_the_pin(method, params) else result


def falsifies_the_content(method: str, params: list[Any], result: Any) -> Any:
    """Another recipe in every pinned study; its topics still name the study that the state names."""
    if not asks_for_the_pin(method, params):
        return result
    return [{**log, "data": log["data"].replace(RECIPE.hex(), "66" * 32)} for log in result]


def says_nothing_readable(method: str, params: list[Any], result: Any) -> Any:
    """A log that does not decode."""
    return [{**log, "data": "0x"} for log in result] if asks_for_the_pin(method, params) else result


@pytest.mark.parametrize("lie", [hides_the_content, falsifies_the_content, says_nothing_readable])
def test_a_node_that_hides_or_falsifies_the_content_makes_the_reader_refuse(
    chain: LocalChain, pinned: Study, lie: Any
) -> None:
    """CH-29: the hash in the state is the proof, the log only a hint."""
    with RpcProxy(chain.url) as proxy:
        assert ChainReader([proxy.url]).finalized_view(pinned.room.consortium).study is not None
        proxy.tamper = lie
        reader = ChainReader([proxy.url])
        for read in (reader.finalized_view, partial(reader.latest_view, whole=True)):
            with pytest.raises(ChainError) as error:
                read(pinned.room.consortium)
            assert code(error) == "chain-disagrees"
        # Who asks no more than whether to stop needs no content.
        assert reader.latest_view(pinned.room.consortium).active_study == pinned.id


@pytest.mark.parametrize("lie", [hides_the_content, falsifies_the_content, says_nothing_readable])
def test_one_honest_node_is_enough_to_find_the_content(chain: LocalChain, pinned: Study, lie: Any) -> None:
    """CH-29, CH-03: the state must still be the same from both; content proves itself."""
    with RpcProxy(chain.url) as proxy:
        proxy.tamper = lie
        view = ChainReader([proxy.url, chain.url]).finalized_view(pinned.room.consortium)
        assert view.study == chain.study(pinned.id)
        proxy.tamper = lies_about_the_state
        with pytest.raises(ChainError) as error:
            ChainReader([proxy.url, chain.url]).finalized_view(pinned.room.consortium)
        assert code(error) == "chain-disagrees"


def test_a_node_that_knows_no_logs_by_block_hash_is_asked_by_number(chain: LocalChain, pinned: Study) -> None:
    with RpcProxy(chain.url) as proxy:
        proxy.refuses = lambda method, params: method == "eth_getLogs" and "blockHash" in params[0]
        view = ChainReader([proxy.url]).finalized_view(pinned.room.consortium)
        assert view.study == chain.study(pinned.id)


def test_content_is_asked_for_once(chain: LocalChain, pinned: Study) -> None:
    """A release costs no further question; another study does."""
    asked: list[str] = []

    def counts(method: str, params: list[Any], result: Any) -> Any:
        asked.extend([method] * (method == "eth_getLogs"))
        return result

    with RpcProxy(chain.url) as proxy:
        proxy.tamper = counts
        reader = ChainReader([proxy.url])
        for _ in range(3):
            reader.finalized_view(pinned.room.consortium)
            reader.latest_view(pinned.room.consortium, whole=True)
        assert len(asked) == 1
        again = chain.propose(
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
    topic = "0x" + interface("Consortium").topic("Revoked").hex()

    def hides(method: str, params: list[Any], result: Any) -> Any:
        return [] if method == "eth_getLogs" and params[0]["topics"][0] == topic else result

    with RpcProxy(chain.url) as proxy:
        honest = ChainReader([proxy.url]).finalized_view(pinned.room.consortium)
        assert (honest.revoked_by, honest.revocation_reason) == (account(2), "consent withdrawn")
        assert honest.revoked_block == int(revoked["blockNumber"], 16)
        proxy.tamper = hides
        silent = ChainReader([proxy.url]).finalized_view(pinned.room.consortium)
        assert silent == replace(honest, revocation_reason="")
        assert ChainReader([proxy.url]).latest_view(pinned.room.consortium).revocation_reason == ""


@pytest.mark.parametrize("most", [100, 500])
def test_history_is_read_in_ranges_that_the_node_accepts(
    chain: LocalChain, pinned: Study, reader: ChainReader, most: int
) -> None:
    """Public nodes limit the blocks of one `eth_getLogs`, each to another number."""
    chain.mine(600)
    whole = reader.study_history(pinned.room.consortium)
    assert whole.pins

    def too_wide(method: str, params: list[Any]) -> bool:
        return (
            method == "eth_getLogs"
            and int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) >= most
        )

    with RpcProxy(chain.url) as proxy:
        proxy.refuses = too_wide
        limited = ChainReader([proxy.url])
        assert limited.study_history(pinned.room.consortium) == whole
        proxy.refuses = lambda method, params: method == "eth_getLogs"
        before = proxy.calls
        with pytest.raises(ChainError) as error:
            limited.study_history(pinned.room.consortium)
        assert code(error) == "chain-unreachable"
        assert proxy.calls - before < 20, "a node that refuses everything is asked for ever"


def test_a_history_is_read_anew_where_the_chain_was_put_back(chain: LocalChain, pinned: Study) -> None:
    """A development node puts back what it had called final; what was read of it goes too."""
    reader = ChainReader([chain.url])
    snapshot = chain.snapshot()
    chain.revoke(pinned.room, 0, "stop")
    chain.finalize()
    assert len(reader.study_history(pinned.room.consortium).revocations) == 1

    chain.restore(snapshot)
    chain.mine(5)
    chain.finalize()

    assert reader.study_history(pinned.room.consortium).revocations == ()


def test_history_and_proposals_are_read_on_from_where_they_were(chain: LocalChain, pinned: Study) -> None:
    """What a page or a refusal costs does not grow with the age of the chain."""
    asked: list[tuple[int, int]] = []

    def note(method: str, params: list[Any]) -> bool:
        if method == "eth_getLogs" and "fromBlock" in params[0]:
            asked.append((int(params[0]["fromBlock"], 16), int(params[0]["toBlock"], 16)))
        return False

    chain.mine(600)
    with RpcProxy(chain.url) as proxy:
        proxy.refuses = note
        reader = ChainReader([proxy.url])
        before = reader.study_history(pinned.room.consortium)
        assert min(lower for lower, _ in asked) == 0
        final = chain.block_number("finalized")
        asked.clear()
        chain.revoke(pinned.room, 0, "stop")
        after = reader.study_history(pinned.room.consortium)
        assert (len(before.revocations), len(after.revocations)) == (0, 1)
        assert after.pins == before.pins
        assert asked and all(lower > final for lower, _ in asked)

        reader.latest_view(pinned.room.consortium, compose_hash=b"\x66" * 32)
        asked.clear()
        reader.latest_view(pinned.room.consortium, compose_hash=b"\x66" * 32)
        assert asked and all(upper - lower <= 512 for lower, upper in asked)
        assert chain.propose(
            pinned.room, compose_hash=b"\x66" * 32, datasets=[dataset.id for dataset in pinned.datasets]
        )
        best = reader.latest_view(pinned.room.consortium, compose_hash=b"\x66" * 32).best
        assert best is not None and best.candidate is not None


def test_a_node_that_answers_logs_of_other_blocks_is_refused(chain: LocalChain, pinned: Study) -> None:
    """CH-29."""

    def elsewhere(method: str, params: list[Any], result: Any) -> Any:
        return [{**log, "blockNumber": "0x7fffffff"} for log in result] if method == "eth_getLogs" else result

    with RpcProxy(chain.url) as proxy:
        proxy.tamper = elsewhere
        with pytest.raises(ChainError) as error:
            ChainReader([proxy.url]).study_history(pinned.room.consortium)
        assert code(error) == "chain-unreachable"


def test_a_proposal_whose_content_is_not_what_it_is_called_is_none(
    chain: LocalChain, proposed: Study
) -> None:
    """CH-29."""
    topic = "0x" + interface("Consortium").topic("StudyProposed").hex()

    def falsifies(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_getLogs" or params[0]["topics"][0] != topic:
            return result
        dataset = proposed.datasets[0].id.hex()
        return [{**log, "data": log["data"].replace(dataset, "66" * 32)} for log in result]

    chain.finalize()
    with RpcProxy(chain.url) as proxy:
        reader = ChainReader([proxy.url])
        assert reader.finalized_view(proposed.room.consortium, compose_hash=RECIPE).candidate is not None
        proxy.tamper = falsifies
        assert reader.finalized_view(proposed.room.consortium, compose_hash=RECIPE).candidate is None


# --- stale, and reorganised ---------------------------------------------------------------------


def test_a_head_too_old_or_from_the_future_is_stale(chain: LocalChain, pinned: Study) -> None:
    """CH-04."""
    for skew, fine in ((0, True), (80, True), (-80, True), (95, False), (-95, False)):
        reader = ChainReader([chain.url], clock=lambda skew=skew: chain.head_time() + skew)  # type: ignore[misc]
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
    for one in (reader, ChainReader([chain.url], finalized_floor=seen)):
        with pytest.raises(ChainError) as error:
            one.finalized_view(pinned.room.consortium)
        assert code(error) == "chain-stale"


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
            ChainReader([proxy.url]).finalized_view(pinned.room.consortium)
        assert code(error) == "chain-disagrees"


# --- runs, receipts, history --------------------------------------------------------------------


def run_of(pinned: Study, epoch: int, **changes: Any) -> Run:
    fields: dict[str, Any] = {
        "run_id": secrets.token_bytes(32),
        "consortium": pinned.room.consortium,
        "study": pinned.id,
        "epsilon_micro": 1_500_000,
        "delta_pico": 400_000,
        "epoch": epoch,
        "enclave_signer": account(11),
        "grant_hash": b"\x0a" * 32,
    }
    return Run(**{**fields, **changes})


@pytest.fixture
def gate(chain: LocalChain) -> Transactor:
    return Transactor(chain.url, private_key(GATE))


ENCLAVE = 11
"""Account that plays the enclave's signer."""


def open_one(chain: LocalChain, pinned: Study, gate: Transactor, **changes: Any) -> Opening:
    """Open a run, as the gate does; returns what the ledger has of it."""
    run = run_of(pinned, chain.epoch(pinned.room), **changes)
    opened = gate.open_run(pinned.room.ledger, run, chain.study(pinned.id))
    event = opened.event("RunOpened")
    assert event is not None
    return Opening.of_abi(event["opening"])


def signed_receipt(opening: Opening, ledger: str, **changes: Any) -> tuple[Receipt, bytes]:
    """What the enclave of a run signs."""
    receipt = Receipt(
        run_id=opening.run.run_id,
        consortium=opening.run.consortium,
        study=opening.run.study,
        compose_hash=RECIPE,
        datasets_root=b"\x0b" * 32,
        result_digest=b"\x0c" * 32,
        statement_digest=b"\x0d" * 32,
        epsilon_micro=opening.run.epsilon_micro,
        delta_pico=opening.run.delta_pico,
        epoch=opening.run.epoch,
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
    ledger = pinned.room.ledger
    before = chain.block_number()
    assert reader.booked(ledger, b"\x01" * 32) is None
    opening = open_one(chain, pinned, gate, run_id=b"\x01" * 32)
    assert (opening.run.study, opening.compose_hash, opening.number) == (pinned.id, RECIPE, 1)
    assert (opening.approvals, opening.roster, opening.opened_block) == (0b11, 1, before + 1)
    assert reader.booked(ledger, opening.run.run_id) == typed.opening_hash(opening)

    receipt, signature = signed_receipt(opening, ledger)
    found = reader.receipt(ledger, receipt, signature)
    assert found is not None
    assert (found.opening, found.anchoring) == (opening, None)
    assert (found.verdict.opened, found.verdict.anchored) == (True, False)

    anchored = Transactor(chain.url, private_key(12)).anchor(ledger, receipt, opening, signature)
    for from_block in (None, opening.opened_block):
        found = reader.receipt(ledger, receipt, signature, from_block=from_block)
        assert found is not None and found.anchoring is not None
        assert (found.anchoring.tx, found.anchoring.sequence, found.anchoring.batch) == (anchored.tx, 1, 0)
    verdict = found.verdict
    assert verdict.opened and verdict.anchored and not verdict.revoked
    assert verdict.approved_by == (account(0), account(1))
    assert (verdict.opened_block, verdict.anchored_block) == (before + 1, anchored.block_number)

    chain.finalize()
    view = reader.finalized_view(pinned.room.consortium)
    assert (view.spending.runs, view.spending.epsilon_micro, view.spending.delta_pico) == (
        1,
        1_500_000,
        400_000,
    )
    assert [
        (one.budget.epsilon_spent, one.budget.delta_spent, one.budget.runs) for one in view.datasets
    ] == 2 * [(1_500_000, 400_000, 1)]


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
        epoch=openings[0].run.epoch,
        numbers=[openings[0].number, openings[2].number],
        digests=[digest_of(receipts[0][0], ledger), digest_of(receipts[2][0], ledger)],
    )
    for (receipt, signature), sequence in zip(receipts[::2], (2, 3), strict=True):
        found = reader.receipt(ledger, receipt, signature)
        assert found is not None and found.anchoring is not None
        assert (found.anchoring.tx, found.anchoring.batch, found.anchoring.sequence) == (done.tx, 1, sequence)
        assert len(found.anchoring.path) == 1
        assert found.verdict.anchored and found.verdict.anchored_block == done.block_number
    receipt, signature = signed_receipt(openings[2], ledger, result_digest=b"\x66" * 32)
    found = reader.receipt(ledger, receipt, signature)
    assert found is not None and found.verdict.opened and not found.verdict.anchored
    history = reader.study_history(pinned.room.consortium)
    assert [(one.batch, one.first, one.count) for one in history.batches] == [(1, 2, 2)]
    assert (len(history.receipts), history.receipt_count) == (1, 3)


def test_a_false_log_of_an_opening_is_named_as_such(
    chain: LocalChain, pinned: Study, reader: ChainReader, gate: Transactor
) -> None:
    """CH-29: the ledger's own hash is the proof of what a log says."""
    ledger = pinned.room.ledger
    opening = open_one(chain, pinned, gate)
    receipt, signature = signed_receipt(opening, ledger)
    topic = "0x" + interface("Ledger").topic("RunOpened").hex()

    def of_openings(params: list[Any]) -> bool:
        return params[0]["topics"][0] in (topic, [topic])

    def hides(method: str, params: list[Any], result: Any) -> Any:
        return [] if method == "eth_getLogs" and of_openings(params) else result

    def falsifies(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_getLogs" or not of_openings(params):
            return result
        signer, other = account(ENCLAVE)[2:], account(13)[2:]
        return [{**log, "data": log["data"].replace(signer, other)} for log in result]

    with RpcProxy(chain.url) as proxy:
        watched = ChainReader([proxy.url])
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
    epoch = chain.epoch(pinned.room)
    first, content = run_of(pinned, epoch), chain.study(pinned.id)
    gate.open_run(pinned.room.ledger, first, content)
    block = chain.block_number()
    for run, study, revert in (
        (first, content, "LedgerRunExists"),
        (run_of(pinned, epoch, epsilon_micro=3_000_001), content, "LedgerStudyBudgetExceeded"),
        (run_of(pinned, epoch, delta_pico=600_001), content, "LedgerStudyBudgetExceeded"),
        (run_of(pinned, epoch, epsilon_micro=2_000_000), content, "LedgerDatasetBudgetExceeded"),
        (run_of(pinned, epoch + 1), content, "LedgerEpochMismatch"),
        (run_of(pinned, epoch, study=bytes(32)), content, "LedgerStudyNotLive"),
        (run_of(pinned, epoch), replace(content, delta_pico=10**9), "LedgerStudyMismatch"),
    ):
        with pytest.raises(TransactionError) as error:
            gate.open_run(pinned.room.ledger, run, study)
        assert (code(error), error.value.revert) == ("transaction-reverted", revert)
    with pytest.raises(TransactionError) as error:
        Transactor(chain.url, private_key(12)).open_run(pinned.room.ledger, run_of(pinned, epoch), content)
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
    second = chain.propose(
        pinned.room, compose_hash=b"\x0e" * 32, datasets=[one.id for one in pinned.datasets]
    )
    withdrawn = chain.withdraw(pinned.room, second, 2)
    revoked = chain.revoke(pinned.room, 1, "stop")
    room = chain.change_owners(pinned.room, pinned.room.owners[:2], threshold=2)
    history = reader.study_history(pinned.room.consortium)
    assert [proposal.content.id for proposal in history.proposals] == [pinned.id, second]
    assert history.proposals[0].proposer == account(0)
    assert [approval.owner for approval in history.approvals_of(pinned.id)] == [account(0), account(1)]
    (pin,) = history.pins
    assert (pin.content, pin.owners) == (chain.study(pinned.id), (account(0), account(1)))
    assert [approval.owner for approval in history.approvals] == [account(0)]
    assert history.approvals_of(pinned.id)[1].at == pin.at
    assert [(one.proposal, one.owner) for one in history.withdrawals] == [(second, account(2))]
    assert history.withdrawals[0].at.tx == withdrawn["transactionHash"]
    assert [one.name for one in history.registrations] == [dataset.name for dataset in pinned.datasets]
    assert [(one.epsilon_micro, one.delta_pico, one.runs) for one in history.caps] == 2 * [
        (3_000_000, 1_000_000, 100)
    ]
    assert [one.gate_signer for one in history.platforms] == [account(GATE)]
    assert [one.run_id for one in history.runs_of(pinned.id)] == [opening.run.run_id]
    assert (history.runs[0].opening.number, history.runs[0].opening.run.delta_pico) == (1, 400_000)
    assert history.runs[0].at.block == opening.opened_block
    assert [(one.owner, one.reason, one.compose_hash) for one in history.revocations] == [
        (account(1), "stop", RECIPE)
    ]
    assert history.revocations[0].at.tx == revoked["transactionHash"]
    (change,) = history.rosters
    assert (change.roster, change.threshold) == (2, 2)
    assert [owner.account for owner in change.owners] == [owner.account for owner in room.owners]
    assert history.receipt_of(opening.run.run_id) is None
    assert history.unpin_failures == ()


def test_the_factory_lists_consortia_owners_and_board(
    chain: LocalChain, pinned: Study, reader: ChainReader
) -> None:
    assert reader.consortia(pinned.room.factory) == [pinned.room.consortium]
    (row,) = reader.board(pinned.room.factory)
    assert (row.consortium, row.owners, row.records) == (pinned.room.consortium, 3, 2000)
    assert (row.criteria, row.status) == ((2, 0, 2), 1)
    assert [owner.id for owner in reader.owners(pinned.room.consortium)] == [
        "hospital-A",
        "hospital-B",
        "hospital-C",
    ]
    chain.revoke(pinned.room, 0)
    assert reader.board(pinned.room.factory)[0].status == 2


def test_a_chain_that_mines_by_the_clock_works_the_same() -> None:
    with LocalChain.start(block_time=1) as chain:
        room = chain.create_consortium(["hospital-A"], threshold=1)
        reader = ChainReader([chain.url])
        until(lambda: reader.finalized_head().number >= chain.block_number() - 2)
        chain.finalize()
        assert reader.finalized_view(room.consortium).threshold == 1
        reader.close()
