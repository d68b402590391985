# SPDX-License-Identifier: Apache-2.0
"""Logs, metrics, periodic work and conditions: what operators see of a process (OP-04, OP-13)."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import yaml
from tests.patience import PATIENCE_S, until
from tests.ports import free_port

from sealroom.codes import Code
from sealroom_agents.chain import GasMoney
from sealroom_agents.errors import ChainError, ConfigurationError, Refused
from sealroom_agents.gate.preflight import LOOK_AGE_S, Preflight
from sealroom_agents.telemetry.conditions import Condition, Conditions, disk
from sealroom_agents.telemetry.logs import about, formatter, without_secrets
from sealroom_agents.telemetry.metrics import States, serve_metrics
from sealroom_agents.telemetry.periodic import Periodic

GWEI = 10**9

# --- logs ---------------------------------------------------------------------------------------


def line(form: str, message: str, *arguments: object, **facts: str) -> str:
    record = logging.LogRecord("sealroom_agents.x", logging.WARNING, "", 0, message, arguments, None)
    with about(**facts):
        return formatter(form).format(record)


def test_a_log_line_is_text_for_people_or_one_json_object() -> None:
    text = line("text", "granted %d", 3, run="0x12", consortium="0xab")
    assert text.endswith("Z WARNING sealroom_agents.x: granted 3 consortium=0xab run=0x12")

    told = json.loads(line("json", "granted %d", 3, run="0x12", node="https://a.example/v3/KEY"))
    assert told.pop("timestamp").endswith("Z")
    assert told == {
        "event": "granted 3", "level": "warning", "logger": "sealroom_agents.x", "run": "0x12",
        "node": "https://a.example",
    }  # fmt: skip


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("https://eth.example/v3/CANARY failed", "https://eth.example failed"),
        ("https://user:CANARY@eth.example:8545/?key=CANARY", "https://eth.example:8545"),
        ("wss://eth.example#CANARY", "wss://eth.example"),
        ("(postgresql+psycopg://sealroom:CANARY@db:5432/CANARY)", "postgresql+psycopg://db:5432"),
        ("'http://[::1]:8545/CANARY'", "http://[::1]:8545"),
    ],
)
def test_of_a_url_only_scheme_and_host_are_logged(form: str, said: str, kept: str) -> None:
    """OP-04: the path of an RPC URL is an access token."""
    for told in (line(form, said), line(form, "%s", said), line(form, "x", node=said)):
        assert "CANARY" not in told
        assert kept in told
    assert "CANARY" not in without_secrets(said)


def test_a_message_forges_no_second_line_and_is_cut() -> None:
    for form in ("text", "json"):
        assert len(line(form, "a\nERROR forged: b\r\nc").splitlines()) == 1
        assert len(line(form, "x" * 100_000)) < 5000


def test_a_long_trace_keeps_its_end() -> None:
    try:
        raise ValueError("x" * 100_000 + "what went wrong")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "it failed", (), sys.exc_info())
    shown = formatter("text").format(record)
    assert shown.rstrip().endswith("what went wrong") and "Traceback" in shown
    assert len(shown) < 40_000


def test_an_error_in_a_trace_shows_no_url_either() -> None:
    try:
        raise ValueError("https://eth.example/CANARY")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    for form in ("text", "json"):
        told = formatter(form).format(record)
        assert "Traceback" in told
        assert "CANARY" not in told


# --- metrics ------------------------------------------------------------------------------------


def test_metrics_are_served_on_an_address_of_their_own_and_only_when_asked_for() -> None:
    """OP-13."""
    port = free_port()
    serve_metrics(None)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S)

    states = States()
    states.add("sealroom_test_known", "A number.", lambda: 7.0)
    states.add("sealroom_test_unknown", "Not known yet.", lambda: None)
    states.add_each("sealroom_test_nodes", "By host.", "host", lambda: {"a.example": 1.0})
    conditions = Conditions([lambda: Condition("balance", False, "little", "fund it")])
    states.add_conditions(conditions)
    states.serve()
    serve_metrics(f"127.0.0.1:{port}", conditions)
    told = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S).text
    assert "sealroom_test_known 7.0" in told
    assert 'sealroom_test_nodes{host="a.example"} 1.0' in told
    assert 'sealroom_ready{condition="balance"} 0.0' in told
    assert "\nsealroom_test_unknown" not in told.replace("# TYPE sealroom_test_unknown", "").replace(
        "# HELP sealroom_test_unknown", ""
    )

    base = f"http://127.0.0.1:{port}/v1"
    assert httpx.get(f"{base}/healthz", timeout=PATIENCE_S).json() == {"status": "ok"}
    assert httpx.get(f"{base}/readyz", timeout=PATIENCE_S).status_code == 503
    assert httpx.get(f"{base}/elsewhere", timeout=PATIENCE_S).status_code == 404

    with pytest.raises(ConfigurationError) as error:
        serve_metrics(f"127.0.0.1:{port}")
    assert error.value.code == Code.LISTEN


@pytest.mark.parametrize("address", ["", "9400", ":9400", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000"])
def test_an_address_for_metrics_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        serve_metrics(address)
    assert error.value.code == Code.CONFIGURATION


# --- periodic work ------------------------------------------------------------------------------


def test_a_job_that_fails_is_done_again_and_never_twice_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    times, again, inside, overlapped = [], threading.Event(), threading.Lock(), []

    def work() -> None:
        if not inside.acquire(blocking=False):
            overlapped.append(True)
            return
        try:
            times.append(1)
            if len(times) == 1:
                raise ChainError(Code.CHAIN_UNREACHABLE, "the node is silent")
            again.set()
        finally:
            inside.release()

    periodic = Periodic()
    periodic.every(0.01, work, now=True)
    periodic.start()
    try:
        assert again.wait(PATIENCE_S)
    finally:
        periodic.close()
        periodic.close()
    assert not overlapped
    assert "chain-unreachable: the node is silent" in caplog.text


# --- conditions ---------------------------------------------------------------------------------


def test_a_clock_that_is_set_back_delays_no_job() -> None:
    """OP-09: a watcher that waited for the hour to come again would be taken for dead, and end all runs."""
    behind, done = [0.0], threading.Event()
    began: list[float] = []

    def work() -> None:
        began.append(time.monotonic())
        if len(began) > 1:
            done.set()

    def set_back() -> bool:
        behind[0] += 3600.0
        return done.wait(0.1)

    periodic = Periodic(wall=lambda: time.time() - behind[0], look_s=0.01)
    periodic.paced(lambda: 3600.0 if began else 0.0, work)
    periodic.start()
    try:
        until(lambda: began)
        assert not done.wait(0.1), "the next one is due in an hour"
        until(set_back)
    finally:
        periodic.close()


@dataclass
class Ledger:
    """What the gate's preflight looks at."""

    balance: int = 10**18
    down: bool = False

    def finalized_head(self) -> None:
        if self.down:
            raise ChainError(Code.CHAIN_STALE, "the newest block is old")

    def gas_money(self, address: str) -> GasMoney:
        return GasMoney(balance_wei=self.balance, base_fee_wei=20 * GWEI)


@dataclass
class Newest:
    """Whether the state is the newest one."""

    trouble: str | None = None

    def require_newest(self, consortium: str, ledger: str) -> None:
        if self.trouble:
            raise Refused(Code.STATE_ROLLED_BACK, self.trouble)


@dataclass
class Gate:
    """All that the conditions of a gate rest on, and the conditions."""

    state: Path
    ledger: Ledger = field(default_factory=Ledger)
    newest: Newest = field(default_factory=Newest)
    heard: int | None = 1000
    trouble: str | None = None
    now: int = 1010

    def __post_init__(self) -> None:
        self.preflight = Preflight(
            chain=self.ledger, payer="0xpayer", max_fee_wei=500 * GWEI, state=self.state,
            rollback=self.newest, collateral=dict, heard=lambda: self.heard,
            trouble=lambda: self.trouble,
            lease_seconds=30, heartbeat_seconds=30, clock=lambda: self.now,
        )  # fmt: skip
        self.preflight.look()

    def missing(self) -> list[str]:
        return [one.name for one in self.preflight.conditions.missing() if one.name != "collateral"]

    def refusal(self) -> str | None:
        try:
            self.preflight.require("0xc", "0x1")
        except Refused as no:
            return no.code
        return None


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.mark.parametrize(
    ("name", "harm", "refusal"),
    [
        ("balance", lambda gate: setattr(gate.ledger, "balance", 10**17), Code.GATE_NOT_READY),
        ("disk", lambda gate: gate.state.rename(gate.state.with_name("away")), Code.GATE_NOT_READY),
        ("audit", lambda gate: setattr(gate.newest, "trouble", "an older copy"), Code.STATE_ROLLED_BACK),
        ("watcher", lambda gate: setattr(gate, "now", 1031), None),
        ("watcher", lambda gate: setattr(gate, "heard", None), None),
        ("follower", lambda gate: setattr(gate, "trouble", "a thread was ended"), None),
    ],
)
def test_a_condition_that_fails_is_named_and_what_the_run_does_not_show_refuses_it(
    gate: Gate, name: str, harm: Callable[[Gate], object], refusal: str | None
) -> None:
    assert (gate.missing(), gate.refusal()) == ([], None)
    harm(gate)
    gate.preflight.look()
    assert gate.missing() == [name]
    assert gate.refusal() == refusal
    [told] = [one for one in gate.preflight.conditions.all() if one.name == name]
    assert told.hint


def test_a_gate_is_never_ready_while_the_chain_is_down(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.ledger.down = True
    gate.preflight.look()
    assert gate.missing() == []  # what it saw a moment ago holds still
    monkeypatch.setattr(gate.preflight, "_looked_at", gate.preflight._looked_at - LOOK_AGE_S - 1)
    assert gate.missing() == ["chain", "balance"]
    status, body = gate.preflight.conditions.answer()
    assert (status, body["status"]) == (503, "not-ready")
    assert "old" in body["conditions"][0]["message"]
    gate.ledger.down = False
    gate.preflight.look()
    assert gate.missing() == []


def test_conditions_answer_for_people_and_machines(tmp_path: Path) -> None:
    good, bad = Condition("a", True, "fine", "nothing"), Condition("b", False, "broken", "mend it")
    assert Conditions([lambda: good]).answer() == (
        200, {"status": "ready", "conditions": [{"name": "a", "ok": True, "message": "fine"}]}
    )  # fmt: skip
    status, body = Conditions([lambda: good, lambda: bad]).answer()
    assert status == 503
    assert body["conditions"][1] == {"name": "b", "ok": False, "message": "broken", "hint": "mend it"}
    assert not disk(tmp_path / "nowhere")().ok


# --- the alerts page ----------------------------------------------------------------------------

ROOT = Path(__file__).resolve().parents[2]


def test_the_alerts_page_and_the_rules_name_the_metrics_that_there_are() -> None:
    code = "".join(path.read_text() for path in (ROOT / "agents" / "sealroom_agents").rglob("*.py"))
    counters = set(re.findall(r'Counter\(\s*"(sealroom_\w+)"', code))
    there = {
        name + "_total" if name in counters else name
        for name in re.findall(r'"(sealroom_(?!agents|verify)\w+)"', code)
    }
    page = (ROOT / "docs" / "alerts.md").read_text()
    assert set(re.findall(r"^\| `(sealroom_\w+)` \|", page, re.MULTILINE)) == there

    rules = yaml.safe_load((ROOT / "agents" / "deploy" / "alerts.yml").read_text())["groups"][0]["rules"]
    used = {name for rule in rules for name in re.findall(r"sealroom_\w+", rule["expr"])}
    assert {name.removesuffix("_bucket") for name in used} <= there
    labels = {label for rule in rules for label in re.findall(r'\b(\w+)=~?"', rule["expr"])}
    assert labels <= {"job", "outcome", "stage", "code", "status"}
