# SPDX-License-Identifier: Apache-2.0
"""`sealroom doctor`: each thing that is wrong is named, with what to do, beside its twin that is right."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.local_chain import LocalChain

from sealroom_agents.cli import main
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        other.keep_real_time()
        other.finalize()
        status, told = doctor("--rpc", chain.url, "--rpc", other.url)
    assert status == 1 and states(told["agreement"]) == ["broken"]
    assert "differs" in told["agreement"][0]["message"]


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
    assert states(told["balance"]) == ["broken"] and "send ether to 0x" in told["balance"][0]["hint"]
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
