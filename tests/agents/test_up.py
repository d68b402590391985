# SPDX-License-Identifier: Apache-2.0
"""The supervisor of `sealroom up`: order, restarts, drain, and what ends with what."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests import processes
from tests.patience import PATIENCE_S, until

from sealroom_agents import child_processes
from sealroom_agents.child_guard import is_alive
from sealroom_agents.config import load
from sealroom_agents.errors import ConfigurationError, DemoError
from sealroom_agents.up.children import Child, Children
from sealroom_agents.up.plan import children as planned
from sealroom_agents.up.report import Report

PROCESS = """
import os, signal, sys, time
from pathlib import Path
trace, mode, ready = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[-1])
def note(word):
    with trace.open("a") as file:
        file.write(f"{word} {mode} {os.getpid()}\\n")
def end(number, frame):
    note("term")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "deaf" else end)
note("start")
print("a line of", mode, flush=True)
if mode == "misconfigured":
    sys.exit(78)
if mode == "failing":
    sys.exit(1)
ready.write_text('{"pid": %d}' % os.getpid())
while True:
    time.sleep(60)
"""


class Full(io.StringIO):
    """A stream that nobody reads, or whose disk is full, while `broken`."""

    broken = False

    def write(self, text: str) -> int:
        if self.broken:
            raise BrokenPipeError
        return super().write(text)


class Lab:
    """Children that note what happens to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trace = folder / "trace"
        self.said = Full()
        self.children = Children(Report(as_json=True, stream=self.said), folder)

    def child(self, mode: str, **more: float) -> Child:
        command = (sys.executable, "-c", PROCESS, str(self.trace), mode)
        return Child(mode, command, ready_file=self.folder / f"{mode}.json", **more)

    def noted(self, word: str) -> list[str]:
        """Names of the processes of which this was noted, in order."""
        lines = self.trace.read_text().splitlines() if self.trace.exists() else []
        return [line.split()[1] for line in lines if line.startswith(word)]

    def events(self, what: str) -> list[dict[str, object]]:
        found = [json.loads(line) for line in self.said.getvalue().splitlines()]
        return [each for each in found if each["event"] == what]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.children.hurry.set()
    lab.children.stop()


def test_each_starts_when_the_one_before_it_is_ready_and_they_stop_the_other_way_round(lab: Lab) -> None:
    for name in ("gate", "watcher", "runner"):
        assert lab.children.start(lab.child(name))["pid"]
    assert lab.noted("start") == ["gate", "watcher", "runner"]
    lab.children.stop()
    assert lab.noted("term") == ["runner", "watcher", "gate"]
    assert [each["process"] for each in lab.events("stopped")] == ["runner", "watcher", "gate"]
    assert "a line of gate" in [each["line"] for each in lab.events("line")]
    with pytest.raises(DemoError):
        lab.children.start(lab.child("late"))


def test_one_that_dies_is_started_again(lab: Lab) -> None:
    """OP-08: `kill -9` of a process is no end of the service."""
    pid = int(str(lab.children.start(lab.child("gate"))["pid"]))
    lab.children.start(lab.child("runner"))
    assert child_processes.kill(pid)
    until(lambda: lab.noted("start") == ["gate", "runner", "gate"])
    assert lab.events("ended")[0]["process"] == "gate"


def test_what_cannot_be_told_keeps_no_process_from_its_restart_or_its_end(lab: Lab) -> None:
    """`sealroom up | tee log`, whose reader dies of the same Ctrl-C; a log whose disk is full."""
    pid = int(str(lab.children.start(lab.child("gate"))["pid"]))
    lab.children.start(lab.child("runner"))
    lab.said.broken = True
    assert child_processes.kill(pid)
    until(lambda: lab.noted("start") == ["gate", "runner", "gate"])
    lab.said.broken = False
    lab.children.report.event("told", "up")
    (lost,) = lab.events("lost")
    assert int(str(lost["lines"])) >= 2
    lab.said.broken = True
    lab.children.stop()
    assert lab.noted("term") == ["runner", "gate"]


def test_a_log_of_a_process_that_cannot_be_kept_is_lost_alone(tmp_path: Path) -> None:
    said = io.StringIO()
    report = Report(stream=said, folder=tmp_path / "gone")
    report.line("gate", "one")
    (tmp_path / "gone").mkdir()
    report.line("gate", "two")
    assert said.getvalue().splitlines() == [
        "up       | -- lost lines 1", "gate     | one", "gate     | two",
    ]  # fmt: skip
    assert (tmp_path / "gone/gate.log").read_text() == "two\n"


def test_one_is_started_again_where_the_folder_of_its_ready_file_is_gone(tmp_path: Path) -> None:
    """Who cleans /tmp removes what is old there."""
    lab = Lab(tmp_path)
    child = replace(lab.child("gate"), ready_file=tmp_path / "ready" / "gate.json")
    try:
        pid = int(str(lab.children.start(child)["pid"]))
        shutil.rmtree(tmp_path / "ready")
        assert child_processes.kill(pid)
        until(lambda: (tmp_path / "ready" / "gate.json").exists())
        assert (tmp_path / "ready").stat().st_mode & 0o777 == 0o700
    finally:
        lab.children.stop()


def test_one_that_fails_at_first_is_tried_again_and_is_told_where_time_is_short(lab: Lab) -> None:
    with pytest.raises(DemoError, match="a line of failing"):
        lab.children.start(lab.child("failing"), within_s=PATIENCE_S)


def test_one_that_must_not_start_as_configured_is_not_tried_again(lab: Lab) -> None:
    with pytest.raises(ConfigurationError, match="misconfigured must not start"):
        lab.children.start(lab.child("misconfigured"))
    assert lab.noted("start") == ["misconfigured"]


def test_one_that_does_not_listen_is_killed_and_somebody_in_a_hurry_waits_less(lab: Lab) -> None:
    lab.children.start(lab.child("deaf", stop_s=0.3))
    (pid,) = (process.pid for process in lab.children.processes.values())
    lab.children.stop()
    assert not is_alive(pid)


def test_a_command_that_is_not_there_is_a_fault_of_the_configuration(lab: Lab) -> None:
    with pytest.raises(ConfigurationError, match="cannot start no-such-command"):
        lab.children.start(Child("gate", ("no-such-command",), ready_file=lab.folder / "x"))


def test_the_plan_is_the_tables_that_are_there_and_the_runner_has_time_to_drain(tmp_path: Path) -> None:
    file = tmp_path / "sealroom.toml"
    file.write_text(
        '[chain]\nrpc = ["http://127.0.0.1:1"]\n[console]\n[gate]\nstate = "g"\nwatch_token_file = "t"\n'
        '[runner]\ndatasets = "d"\nstate = "s"\nkey_file = "k"\ndrain_seconds = 300\n'
    )
    plan = planned(load(file), file, tmp_path)
    assert [child.name for child in plan] == ["gate", "runner", "console"]
    assert plan[1].stop_s == 310
    assert plan[0].command[1:] == ("gate", "--config", str(file))


@pytest.mark.parametrize("send", [signal.SIGTERM, signal.SIGINT])
def test_the_command_starts_what_the_file_says_and_ends_in_order(
    tmp_path: Path, send: signal.Signals
) -> None:
    """The console alone: it needs no gate, and no chain at its start."""
    file, ready = tmp_path / "sealroom.toml", tmp_path / "ready.json"
    file.write_text(
        f'[chain]\nrpc = ["http://127.0.0.1:1"]\nfactory = "0x{"11" * 20}"\n'
        f'[database]\nurl = "sqlite:///{tmp_path}/s.db"\n[console]\nport = 0\n'
    )
    command = [sys.executable, "-m", "sealroom_agents.cli", "up", "--config", str(file), "--json"]
    with up([*command, "--ready-file", str(ready)], tmp_path, ready) as process:
        assert json.loads(ready.read_text())["processes"] == ["console"]
        process.send_signal(send)
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
    events = [json.loads(line) for line in out.splitlines()]
    told = [(each["event"], each["process"]) for each in events if each["event"] != "line"]
    assert told == [
        ("started", "console"), ("ready", "console"), ("ready", "up"), ("stopping", "console"),
        ("stopped", "console"),
    ]  # fmt: skip


class up:
    """A process of `sealroom up` that is ready."""

    def __init__(self, command: list[str], folder: Path, ready: Path) -> None:
        self.process = child_processes.start(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.ready = ready

    def __enter__(self) -> subprocess.Popen[str]:
        until(self.ready.exists, self.process)
        return self.process

    def __exit__(self, *_: object) -> None:
        processes.end(self.process)
