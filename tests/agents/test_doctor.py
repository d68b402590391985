# SPDX-License-Identifier: Apache-2.0
"""`sealroom doctor`: each thing that is wrong is named, with what to do, beside its twin that is right."""

from __future__ import annotations

import email.utils
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.gate_world import World
from tests.local_chain import LocalChain, account
from tests.ports import free_port
from tests.rpc_proxy import RpcProxy

from sealroom.platform_policy import SAFE
from sealroom_agents.cli import main
from sealroom_agents.doctor import command, gates
from sealroom_agents.doctor.nodes import LATE_FINALITY_S
from sealroom_agents.store import Store


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


def doctor(*arguments: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    """Exit status, and findings by name."""
    result = CliRunner().invoke(main, ["doctor", "--json", *arguments])
    told: dict[str, list[dict[str, Any]]] = {}
    for finding in json.loads(result.output.splitlines()[0])["findings"]:
        told.setdefault(finding["name"], []).append(finding)
    return result.exit_code, told


def states(findings: list[dict[str, Any]]) -> list[str]:
    return [finding["state"] for finding in findings]


def test_endpoints_are_looked_at_one_by_one_and_held_against_each_other(chain: LocalChain) -> None:
    """CH-01: an endpoint of another chain is named, and one that is away."""
    chain.keep_real_time()
    chain.finalize()
    status, told = doctor("--rpc", chain.url)
    assert status == 0, told
    assert states(told["rpc"]) == states(told["clock"]) == states(told["logs"]) == ["ok"]
    assert "10,000 blocks" in told["logs"][0]["message"] and "agreement" not in told
    away = f"http://127.0.0.1:{free_port()}"
    status, told = doctor("--rpc", chain.url, "--rpc", away)
    assert status == 1 and states(told["rpc"]) == ["ok", "broken"] and told["rpc"][1]["hint"]
    with LocalChain.start() as other:
        other.fund(account(9))  # or its blocks are those of the first, where both start within one second
        other.keep_real_time()
        other.finalize()
        status, told = doctor("--rpc", chain.url, "--rpc", other.url)
    assert status == 1 and states(told["agreement"]) == ["broken"]
    assert "differs" in told["agreement"][0]["message"]


def test_clocks_finality_and_what_a_node_refuses_are_told(chain: LocalChain) -> None:
    """CH-04, OP-08: each is shown beside its twin that is right, and says what to type."""
    before = chain.snapshot()
    chain.keep_real_time()
    chain.finalize()
    chain.advance(2 * LATE_FINALITY_S)
    with RpcProxy(chain.url) as mean:
        mean.refuses = lambda method, params: method == "eth_call" and int(params[0]["gas"], 16) > 10**7
        mean.refusal = {"code": -32000, "message": "gas limit is too high"}
        status, told = doctor("--rpc", mean.url)
    assert status == 1
    (clock,), (finality,), (calls,) = told["clock"], told["finality"], told["calls"]
    assert (
        clock["state"] == "broken" and "in the future" in clock["message"] and "`timedatectl" in clock["hint"]
    )
    assert finality["state"] == "warning", finality
    assert "`curl " in finality["hint"]
    assert calls["state"] == "broken" and "gas limit is too high" in calls["message"]
    assert "`--rpc.gascap 50000000`" in calls["hint"]
    status, told = doctor("--rpc", chain.url)
    assert states(told["calls"]) == ["ok"]
    chain.restore(before)


def test_a_process_whose_clock_is_off_is_named() -> None:
    """OP-08: by the date of its answer; half a minute is longer than a lease may be late."""
    for seconds, wanted in ((0, []), (-30, ["broken"])):
        found = list(
            gates._clock("gate", email.utils.formatdate(1_000_000 + seconds, usegmt=True), 1_000_000.4)
        )
        assert [one.state for one in found] == wanted
        assert all("-30 s off" in one.message and "`timedatectl" in one.remedy for one in found)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"[" * 100_000, b'{"conditions": 7}', b'{"conditions": [7]}', b"\xff"]
)
def test_an_answer_that_is_none_is_told_in_words(data: bytes) -> None:
    """RE-02: whoever listens there may answer anything."""
    (found,) = gates._conditions("gate", "http://gate", 200, data)
    assert found.state == "unknown" and "no conditions" in found.message


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:1"), ("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1")],
)
def test_a_process_that_listens_everywhere_is_asked_here(host: str, url: str) -> None:
    assert command._here(host, 1) == url


@contextmanager
def shown(world: World) -> Iterator[str]:
    """What a gate answers to GET, on a port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = world.http.get(self.path)
            self.send_response(answer.status_code)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_policy_that_owners_did_not_adopt_or_that_nodes_cannot_serve_is_told(approved: World) -> None:
    """AT-35, CH-06: a gate with another policy grants nothing; one whose results leave at a safe block needs
    nodes that name one."""
    here = approved.room.consortium
    with RpcProxy(approved.chain.url) as mean, shown(approved) as url:
        mean.refuses = lambda method, params: method == "eth_getBlockByNumber" and params[0] == "safe"
        arguments = ["--rpc", mean.url, "--gate", url, "--consortium", here]
        approved.chain.keep_real_time()  # as the command does
        _, told = doctor(*arguments)
        adopted = f"adopted {here[:10]}…"
        assert states(told[adopted]) == ["ok"] and "emission" not in told
        approved.policy = replace(approved.policy, emit=SAFE)
        approved.start_gate()
        approved.chain.keep_real_time()
        status, told = doctor(*arguments)
        assert status == 1 and states(told[adopted]) == states(told["emission"]) == ["broken"]
        assert "another platform policy" in told[adopted][0]["message"]
        assert "`sealroom gate --platform-policy FILE`" in told[adopted][0]["hint"]
        assert "eth_getBlockByNumber" in told["emission"][0]["message"]
        assert "`sealroom govern platform" in told["emission"][0]["hint"]
        mean.refuses = lambda method, params: False
        approved.chain.keep_real_time()
        _, told = doctor(*arguments)
        assert states(told["emission"]) == ["ok"]
        assert "staleness" not in told


def test_nodes_whose_newest_block_is_older_than_the_policy_accepts_are_told(approved: World) -> None:
    """CH-04: the gate would refuse every run, for now."""
    approved.judge_under(staleness_seconds=15)

    def late(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_getBlockByNumber" or params[0] != "latest":
            return result
        return {**result, "timestamp": hex(int(time.time()) - 40)}

    with RpcProxy(approved.chain.url) as mean, shown(approved) as url:
        mean.tamper = late
        approved.chain.keep_real_time()
        status, told = doctor("--rpc", mean.url, "--gate", url)
        assert status == 1 and states(told["staleness"]) == ["broken"]
        assert "on none older than 15 s" in told["staleness"][0]["message"]


def test_consortia_are_looked_at_through_the_quorum_that_is_configured(
    approved: World, tmp_path: Path
) -> None:
    """CH-03: one of three endpoints that is away is told, and keeps nothing else from being looked at."""
    file, here = tmp_path / "sealroom.toml", approved.room.consortium
    with RpcProxy(approved.chain.url) as one, RpcProxy(approved.chain.url) as two, shown(approved) as url:
        nodes = json.dumps([one.url, two.url, f"http://127.0.0.1:{free_port()}"])
        for quorum, wanted in (("", None), ("quorum = 2", ["ok"])):
            file.write_text(f"[chain]\nid = 31337\nrpc = {nodes}\n{quorum}\n")
            approved.chain.keep_real_time()  # as the command does
            status, told = doctor("--config", str(file), "--gate", url, "--consortium", here)
            assert status == 1 and states(told["rpc"]).count("broken") == 1
            adopted = told.get(f"adopted {here[:10]}…")
            assert (None if adopted is None else states(adopted)) == wanted, told


def test_a_file_is_looked_at_with_all_that_it_names(chain: LocalChain, tmp_path: Path) -> None:
    """OP-03, OP-08: a token for all to read, a gate that is away, a runner without gas money."""
    chain.keep_real_time()
    chain.finalize()
    file = tmp_path / "sealroom.toml"
    file.write_text(
        f'[chain]\nid = 31337\nrpc = ["{chain.url}"]\n[database]\nurl = "sqlite:///{tmp_path}/s.db"\n'
        f'[simulator]\nplatform = "."\n[gate]\nstate = "gate"\nwatch_token_file = "token"\n'
        f"port = {free_port()}\n"
        f'[runner]\ngate = "http://127.0.0.1:{free_port()}"\ndatasets = "d"\nstate = "r"\nkey_file = "key"\n'
    )
    for name, content in (("token", "t" * 32), ("key", "0x" + "11" * 32)):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(content)
    Store(f"sqlite:///{tmp_path}/s.db")
    status, told = doctor("--config", str(file))
    assert status == 1  # the gate is away
    assert states(told["config"]) == ["ok"] and told["gate"][0]["state"] == "broken"
    assert states(told["database revision"]) == ["ok"]
    assert states(told["balance"]) == ["broken"] and "`cast send 0x" in told["balance"][0]["hint"]
    assert len(told["disk"]) == 3
    (tmp_path / "token").chmod(0o644)
    (tmp_path / "s.db").unlink()
    file.write_text(file.read_text().replace("id = 31337", "id = 1"))
    status, told = doctor("--config", str(file))
    assert told["config"][0]["state"] == "broken" and "chmod 600" in told["config"][0]["hint"]
    assert states(told["chain"]) == ["broken"] and "is of chain 31337, not 1" in told["chain"][0]["message"]
    assert [name for name in told if name.startswith("database") and "broken" in states(told[name])]


def test_without_anything_to_look_at_it_says_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["doctor"], standalone_mode=False).exception is not None
