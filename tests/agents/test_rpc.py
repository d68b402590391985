# SPDX-License-Identifier: Apache-2.0
"""One endpoint that may be hostile: each exchange ends by its deadline and within its bounds, and what leaves
is a typed answer or a `ChainError`."""

from __future__ import annotations

import gc
import gzip
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import pytest
from eth_abi import encode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.hostile_node import Answer, HostileNode, drips, endless, hangs_up, http, results, says, silent
from tests.local_chain import ROOT
from tests.patience import PATIENCE_S, until

from sealroom.model import Fate, Owner, Platform, State
from sealroom_agents.chain import ChainReader, Transactor, breaker, nodes
from sealroom_agents.chain.contracts import STRING_SELECTOR
from sealroom_agents.chain.logs import forward, walk
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.rpc import MAX_ANSWER_BYTES, Head, Rpc, RpcFailure
from sealroom_agents.chain.views import Place, Places, decode_state, read_state
from sealroom_agents.errors import ChainError, ConfigurationError, TransactionError

SHORT_S = 1.0
"""For what must be given up."""
SOCKET_BUFFERS = 32 * 2**20
"""More than the kernel keeps between two sockets of one machine."""
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
MEGABYTE = b"100000\r\n" + bytes(2**20) + b"\r\n"


def code(error: pytest.ExceptionInfo[ChainError]) -> str:
    return error.value.code


def one(result: bytes) -> bytes:
    return http(b'[{"jsonrpc":"2.0","id":0,"result":' + result + b"}]")


NEVER_ENDS: dict[str, Answer] = {
    "says nothing": silent,
    "drips its headers": drips(OK + b"x: "),
    "drips its body": drips(OK + b"content-length: 100000\r\n\r\n"),
    "drips chunks": drips(CHUNKED + b"5;"),
    "sends headers for ever": endless(OK, b"x: y\r\n"),
    "sends one header for ever": endless(OK + b"x: ", b"y" * 4096),
    "says 'continue' for ever": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "sends a body for ever": endless(CHUNKED, MEGABYTE),
}


@pytest.mark.parametrize("answer", NEVER_ENDS.values(), ids=NEVER_ENDS)
def test_an_answer_that_never_ends_is_given_up_by_one_deadline(answer: Answer) -> None:
    """A limit of each read alone would let a node that drips hold its caller for ever."""
    with HostileNode(answer) as node:
        rpc = Rpc(node.url, timeout_s=SHORT_S)
        with pytest.raises(ChainError) as error:
            rpc.chain_id()
        assert code(error) in {"chain-unreachable", "answer-too-large"}
        with node.changed:
            assert node.changed.wait_for(lambda: node.open == 0, PATIENCE_S), "the connection is kept"


def test_no_more_is_read_than_an_answer_may_have() -> None:
    with HostileNode(endless(CHUNKED, MEGABYTE)) as node:
        rpc = Rpc(node.url, timeout_s=PATIENCE_S)
        with pytest.raises(ChainError, match="more than"):
            rpc.chain_id()
        assert node.sent < MAX_ANSWER_BYTES + SOCKET_BUFFERS


WRONG: dict[str, bytes] = {
    "no JSON": http(b"<html>"),
    "not UTF-8": http(b'[{"id":0,"result":"\xff"}]'),
    "deep JSON": http(b"[" * 100_000),
    "a number without an end": http(b"9" * 100_000),
    "NaN": one(b"NaN"),
    "no list": http(b'{"jsonrpc":"2.0","id":0,"result":"0x1"}'),
    "an error for the whole batch": http(b'{"id":null,"error":{"code":-32005,"message":"too many"}}'),
    "nothing": http(b"[]"),
    "JSON that goes on": http(b'[],"more":[]'),
    "a name twice": http(b'[{"id":0,"result":"0x2","result":"0x1"}]'),
    "two answers": http(b'[{"id":0,"result":"0x1"},{"id":0,"result":"0x1"}]'),
    "the answer to another call": http(b'[{"id":1,"result":"0x1"}]'),
    "an id that only equals it": http(b'[{"id":false,"result":"0x1"}]'),
    "an id as text": http(b'[{"id":"0","result":"0x1"}]'),
    "an answer that is none": http(b"[7]"),
    "neither result nor error": http(b'[{"id":0}]'),
    "null": one(b"null"),
    "a number that is no text": one(b"1"),
    "a negative number": one(b'"-0x1"'),
    "a number with leading zeros": one(b'"0x01"'),
    "a number with a space": one(b'"0x1 "'),
    "a number without 0x": one(b'"1"'),
    "a number in other digits": one('"0x١"'.encode()),
    "a number beyond what can be": one(b'"0x' + b"f" * 17 + b'"'),
    "a number of 300 digits": one(b'"0x' + b"f" * 300 + b'"'),
    "a refusal": http(b'[{"id":0,"error":{"code":-32601,"message":"no such method"}}]'),
    "an error that is none": http(b'[{"id":0,"error":[[[7]]]}]'),
    "a compressed answer": http(gzip.compress(bytes(50 * 2**20)), b"content-encoding: gzip"),
    "status 429": http(b"[]", status=b"429 Too Many Requests"),
    "status 500": http(b'[{"id":0,"result":"0x1"}]', status=b"500 Internal Server Error"),
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "two lengths": OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\n[]",
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_an_answer_that_is_not_by_the_protocol_is_unreachable(answer: bytes) -> None:
    with HostileNode(says(answer)) as node:
        with pytest.raises(ChainError) as error:
            Rpc(node.url, timeout_s=PATIENCE_S if b"SSH" not in answer else SHORT_S).chain_id()
        assert code(error) == "chain-unreachable"
        assert str(error.value).isprintable()


BLOCK = {"number": "0x5", "hash": "0x" + "11" * 32, "timestamp": "0x64"}


@pytest.mark.parametrize(
    "change",
    [
        {"number": "0x" + "f" * 300},
        {"number": True},
        {"number": "0x6"},
        {"hash": "0x11"},
        {"hash": "0x" + "1 " * 32},
        {"hash": None},
        {"timestamp": "0x" + "f" * 300},
        {"timestamp": 1e300},
        {"timestamp": "0x8000000000000000"},
    ],
    ids=str,
)
def test_a_block_of_other_types_or_ranges_is_none(change: dict[str, Any]) -> None:
    with HostileNode(results(BLOCK)) as node:
        rpc = Rpc(node.url, timeout_s=PATIENCE_S)
        assert rpc.head(5).timestamp == 100
        node.answer = results({**BLOCK, **change})
        with pytest.raises(ChainError) as error:
            rpc.head(5)
        assert code(error) == "chain-unreachable"


def test_a_node_s_words_are_cut_and_cannot_command_a_terminal() -> None:
    words = json.dumps("\x1b[2J\nnot\u202eours" + "x" * 10_000).encode()
    with HostileNode(says(http(b'[{"id":0,"error":{"code":3,"message":' + words + b"}}]"))) as node:
        (failure,) = Rpc(node.url, timeout_s=PATIENCE_S).batch([("eth_call", [])])
    assert isinstance(failure, RpcFailure) and failure.reverted
    assert failure.message.isprintable() and len(failure.message) <= 200


@pytest.mark.parametrize("text", ["\x1b[2J\n" + "x" * 10_000, "\x01" * 16_000], ids=["escapes", "controls"])
def test_the_words_of_a_revert_are_cut_too(text: str) -> None:
    """They go into refusals and the audit log."""
    data = "0x" + (STRING_SELECTOR + encode(["string"], [text])).hex()
    answers = [{"id": 0, "error": {"code": 3, "message": "execution reverted", "data": data}}]
    block = {"baseFeePerGas": "0x1", "timestamp": "0x1"}
    answers += [{"id": number, "result": result} for number, result in ((1, "0x1"), (2, block), (3, "0x1"))]
    with HostileNode(says(http(json.dumps(answers).encode()))) as node:
        sender = Transactor(node.url, b"\x01" * 32, timeout_s=PATIENCE_S)
        with pytest.raises(TransactionError) as error:
            sender.send("0x" + "c0" * 20, b"")

    assert error.value.revert == "Error"
    assert error.value.message.isprintable() and len(error.value.message) <= 250


def test_a_redirect_is_not_followed() -> None:
    with HostileNode(results("0x1")) as other:
        moved = http(b"", b"location: " + other.url.encode(), status=b"307 Temporary Redirect")
        with HostileNode(says(moved)) as node, pytest.raises(ChainError, match="status 307"):
            Rpc(node.url, timeout_s=PATIENCE_S).chain_id()
        assert other.requests == []


def test_nothing_of_the_environment_leads_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """AT-21."""
    with HostileNode(hangs_up) as proxy, HostileNode(results("0x7a69")) as node:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert Rpc(node.url, timeout_s=PATIENCE_S).chain_id() == 31337
        assert proxy.requests == []
        assert b"accept-encoding: identity\r\n" in node.requests[0].lower()


def test_a_lost_connection_is_tried_again() -> None:
    with HostileNode(hangs_up) as node:

        def third_time(node: HostileNode, connection: Any, body: bytes) -> Any:
            answer = results("0x7a69") if len(node.requests) == 3 else hangs_up
            return answer(node, connection, body)

        node.answer = third_time
        assert Rpc(node.url, timeout_s=PATIENCE_S).chain_id() == 31337


def test_a_late_node_holds_nobody_and_is_back_with_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """CH-03: what answers after enough others is not waited for, nor asked again before it has answered."""
    monkeypatch.setattr(nodes, "GRACE_S", 0.0)
    monkeypatch.setattr(breaker, "LATE_S", 2 * PATIENCE_S)
    answer, go = results("0x7a69"), threading.Event()

    def held(node: HostileNode, connection: socket.socket, body: bytes) -> Any:
        assert go.wait(PATIENCE_S)
        return answer(node, connection, body)

    def after_it(node: HostileNode, connection: socket.socket, body: bytes) -> Any:
        until(lambda: late.requests)
        return answer(node, connection, body)

    with HostileNode(answer) as first, HostileNode(after_it) as second, HostileNode(held) as late:
        reader = ChainReader([first.url, second.url, late.url], timeout_s=PATIENCE_S, quorum=2)

        def answered() -> list[str]:
            return sorted(rpc.url for rpc in reader._nodes.ask(lambda rpc: rpc.chain_id()))

        prompt = sorted((first.url, second.url))
        assert answered() == prompt
        assert answered() == prompt
        go.set()
        monkeypatch.setattr(nodes, "GRACE_S", PATIENCE_S)
        until(lambda: late.url in answered())
        assert len(late.requests) == 2, "the first question, and the one after its answer"
        reader.close()


@pytest.mark.parametrize("let_go", ["close", "forget"])
def test_an_endpoint_that_nobody_needs_keeps_no_connection(let_go: str) -> None:
    with HostileNode(results("0x1")) as node:
        reader = ChainReader([node.url], timeout_s=PATIENCE_S)
        reader.chain_id()
        with node.changed:
            assert node.open > 0
        if let_go == "close":
            reader.close()
        del reader
        gc.collect()
        with node.changed:
            assert node.changed.wait_for(lambda: node.open == 0, PATIENCE_S)


@pytest.mark.parametrize("url", ["ftp://node", "http://", "http://node:port", "localhost:8545", ""])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        Rpc(url)
    assert error.value.code == "configuration"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.from_regex(r"0x[0-9a-f]{0,80}", fullmatch=True)
    | st.sampled_from(["0x0", "0x1", "0x" + "00" * 32, "0x" + "ff" * 32, "0x" + "00" * 640]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("number", "hash", "timestamp", "topics", "data", "blockNumber", "blockHash", "status"),
                    *("transactionHash", "logIndex", "logs", "input", "error", "code", "message", "id"),
                    *("result", "baseFeePerGas", "gasUsed"),
                ]
            ),
            inner,
            max_size=8,
        )
    ),
    max_leaves=20,
)
ROOM = "0x" + "77" * 20
HEAD = Head(number=5, hash=bytes(32), timestamp=100)
PLACE = Place(ledger="0x" + "1e" * 20, lens="0x" + "1f" * 20)
QUESTIONS: list[Callable[[Rpc], Any]] = [
    Rpc.chain_id,
    lambda rpc: rpc.head("latest"),
    lambda rpc: rpc.head(7),
    lambda rpc: rpc.calls_at(bytes(32), [("0x" + "11" * 20, b"")]),
    lambda rpc: list(forward(rpc, {}, 0, 5)),
    lambda rpc: list(walk(rpc, "Consortium", {}, 5)),
    lambda rpc: read_state(rpc, Places(), ROOM, HEAD),
    lambda rpc: Places().many(rpc, [ROOM], HEAD),
]


@pytest.fixture(scope="module")
def fuzzed() -> Any:
    with HostileNode(results(None)) as node:
        yield node


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=JSON, whole=st.booleans())
def test_no_json_of_a_node_makes_anything_but_a_chain_error(
    fuzzed: HostileNode, value: Any, whole: bool
) -> None:
    content = value if whole else None
    fuzzed.answer = says(http(json.dumps(content).encode())) if whole else results(value)
    rpc = Rpc(fuzzed.url, timeout_s=PATIENCE_S)
    reader = ChainReader([fuzzed.url], timeout_s=PATIENCE_S, clock=lambda: 100.0)
    questions = [
        *(partial(question, rpc) for question in QUESTIONS),
        partial(
            Transactor(fuzzed.url, b"\x01" * 32, timeout_s=PATIENCE_S, receipt_timeout_s=0.0).send, ROOM, b""
        ),
        partial(reader.finalized_view, ROOM),
        partial(reader.latest_view, ROOM),
        partial(reader.snapshots, [ROOM]),
        partial(reader.study_history, ROOM),
        partial(reader.recent_dataset_history, ROOM, [bytes(32)]),
        partial(reader.offered, ROOM),
        partial(reader.board, ROOM),
        partial(reader.owners, ROOM),
    ]
    for question in questions:
        with suppress(ChainError):
            question()
    rpc.close()
    reader.close()


OWNER = Owner(account="0x" + "a1" * 20, jurisdiction="DE", regimes=("GDPR",), id="hospital-A")
STATE = State(
    roster_digest=b"\x01" * 32,
    charter=b"\x02" * 32,
    standing=b"\x03" * 32,
    basis=b"\x04" * 32,
    steps=2,
    last_block=9,
    events=3,
    nonce=1,
    study=b"\x05" * 32,
    live=True,
    expiry=200,
    approved_at=50,
    fate=Fate(revoked_by="0x" + "00" * 20, superseded=False, ended_at=0),
    compose_hash=b"\x06" * 32,
    approvals=(OWNER.account,),
    revokers=(),
    threshold=1,
    confirmed=(OWNER.account,),
    app="0x" + "a9" * 20,
    ledger=PLACE.ledger,
    owners=(OWNER,),
    platform=Platform(
        gate_root=b"\x07" * 32,
        gate_signer=OWNER.account,
        gate_compose=b"\x08" * 32,
        policy_hash=b"\x09" * 32,
        os_images=(b"\x0a" * 32,),
        devices=(),
    ),
)


def told(state: State) -> bytes:
    """What the lens answers."""
    return encode([State.abi_type()], [state.solidity()])


def test_what_the_lens_says_of_a_consortium_is_read_back() -> None:
    assert decode_state(told(STATE), PLACE) == STATE


TOO_MUCH: dict[str, dict[str, Any]] = {
    "owners": {"owners": (OWNER,) * 17},
    "approvals": {"approvals": (OWNER.account,) * 17},
    "revokers": {"revokers": (OWNER.account,) * 17},
    "images": {"platform": replace(STATE.platform, os_images=(bytes(32),) * 65)},
    "devices": {"platform": replace(STATE.platform, devices=(bytes(32),) * 65)},
    "bytes": {"platform": replace(STATE.platform, devices=(bytes(32),) * 1000)},
    "steps": {"steps": 2**40 + 1},
    "blocks": {"last_block": 2**64 - 1},
    "seconds": {"expiry": 2**63},
    "another ledger": {"ledger": "0x" + "66" * 20},
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_contract_that_says_more_than_a_genuine_one_is_no_consortium(name: str) -> None:
    """CH-03: lists, numbers and bytes are bounded, whoever made the contract."""
    with pytest.raises(ChainError) as error:
        decode_state(told(replace(STATE, **TOO_MUCH[name])), PLACE)
    assert code(error) == "not-a-consortium"


@settings(max_examples=300, deadline=None)
@given(word=st.integers(0, len(told(STATE)) // 32 - 1), value=st.binary(min_size=32, max_size=32))
def test_no_word_of_an_answer_makes_anything_but_a_chain_error(word: int, value: bytes) -> None:
    data = told(STATE)
    with suppress(ChainError):
        decode_state(data[: 32 * word] + value + data[32 * word + 32 :], PLACE)


WITHOUT = """
import sys
for name in ("web3", "requests", "tenacity", "ape", "sqlalchemy", "fastapi"):
    sys.modules[name] = None
import sealroom_agents.chain, sealroom_agents.owner.consortium_contract, sealroom_agents.studycard
from sealroom_agents.chain import ChainReader, Transactor
print(ChainReader(sys.argv[1:]).chain_id())
"""


def test_what_owners_and_auditors_ask_of_the_chain_needs_the_base_packages_only() -> None:
    with HostileNode(results("0x7a69")) as node:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT, node.url], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert (done.stdout, done.returncode) == ("31337\n", 0), done.stderr


def test_no_log_tells_the_path_of_a_url(caplog: pytest.LogCaptureFixture) -> None:
    """OP-04: it is often an access token, and processes log from INFO on."""
    caplog.set_level("INFO")
    with HostileNode(results("0x7a69")) as node:
        assert Rpc(f"{node.url}/v3/secret-token").chain_id() == 31337
    with HostileNode(hangs_up) as node, pytest.raises(ChainError):
        Rpc(f"{node.url}/v3/secret-token").chain_id()
    assert "secret-token" not in caplog.text


def test_a_chain_that_goes_on_between_two_questions_is_not_stale() -> None:
    """CH-04: a node that goes on is not taken for a frozen one. Each question meets five blocks more, and the
    newest block but one is final."""
    length = count(100, 5)

    def answer(node: HostileNode, connection: socket.socket, body: bytes) -> None:
        (call,) = json.loads(body)
        number = next(length) - (call["params"][0] == "finalized")
        block = {"number": hex(number), "hash": f"0x{number:064x}", "timestamp": hex(int(time.time()))}
        node.send(
            connection, http(json.dumps([{"jsonrpc": "2.0", "id": call["id"], "result": block}]).encode())
        )

    with HostileNode(answer) as node:
        nodes = Nodes(
            [node.url],
            timeout_s=PATIENCE_S,
            quorum=None,
            expected_chain_id=None,
            private_chain=None,
            finalized_floor=0,
            clock=time.time,
        )
        head, _ = nodes.finalized()
        nodes.close()
    assert head.number == 99
