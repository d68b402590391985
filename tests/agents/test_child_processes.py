# SPDX-License-Identifier: Apache-2.0
"""Processes end with the one that started them, whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests import descriptors, processes
from tests.patience import PATIENCE_S, until

from sealroom_agents import child_guard, child_processes
from sealroom_agents.local.folder import locked

TREE = """
import os, subprocess, sys, time
inner = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(9999)"
print(os.getpid(), flush=True)
subprocess.Popen([sys.executable, "-c", inner])
time.sleep(9999)
"""
"""A process that starts another one, which leaves for a session of its own."""
PARENT = f"""
import sys, threading, time
from sealroom_agents import child_processes
tree = [sys.executable, "-c", {TREE!r}]
thread = threading.Thread(target=lambda: print(child_processes.start(tree).pid, flush=True))
thread.start()
thread.join()
time.sleep(9999)
"""
"""Starts the tree from a thread that ends at once."""


@pytest.mark.parametrize("victim", ["parent", "guard", "command"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_all_that_a_process_started_ends_with_it(victim: str, how: signal.Signals) -> None:
    """OP-10: also what moved to a session of its own; and not with the thread that started it."""
    there: processes.Known = {}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            pids = {int(parent.stdout.readline()) for _ in range(3)}
            there = processes.known(pids)
            keeper = next(
                pid for pid in pids if b"child_guard.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
            )
            command = next(
                pid
                for pid in pids - {keeper}
                if f"PPid:\t{keeper}\n" in Path(f"/proc/{pid}/status").read_text()
            )
            assert set(processes.living(there)) == pids
            os.kill({"parent": parent.pid, "guard": keeper, "command": command}[victim], how)
            if (victim, how) == ("guard", signal.SIGKILL):  # its command at least, and by Linux alone
                pids = {keeper, command}
            processes.until_gone({pid: there[pid] for pid in pids})
            assert victim == "parent" or child_guard.is_alive(parent.pid)
        finally:
            parent.kill()
            processes.kill(there)


def test_a_child_ends_as_its_command_ends_and_hears_signals() -> None:
    assert child_processes.start([sys.executable, "-c", "raise SystemExit(7)"]).wait(PATIENCE_S) == 7
    killed = "import os; os.kill(os.getpid(), 9)"
    assert child_processes.start([sys.executable, "-c", killed]).wait(PATIENCE_S) == -signal.SIGKILL
    hears = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(9));"
        "print('ready', flush=True); signal.pause()"
    )
    child = child_processes.start([sys.executable, "-c", hears], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.terminate()
    assert child.wait(PATIENCE_S) == 9
    child.stdout.close()
    with pytest.raises(FileNotFoundError):
        child_processes.start(["no-such-command"])


def test_a_parent_may_hold_many_descriptors() -> None:
    """The guard inherits its end of the pipe under the number that it has here."""
    with descriptors.many():
        child = child_processes.start([sys.executable, "-c", "raise SystemExit(7)"])
        assert child.wait(PATIENCE_S) == 7


def test_many_children_started_at_one_time_each_end() -> None:
    started: list[subprocess.Popen[bytes]] = []
    threads = [
        threading.Thread(target=lambda: started.append(child_processes.start(["sleep", "9999"])))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for child in started:
        child_processes.kill(child.pid)
    assert [child.wait(PATIENCE_S) for child in started] == [-signal.SIGKILL] * 4


DEMO = """
import sys
from pathlib import Path
from sealroom_agents.demo.command import standing
from sealroom_agents.demo.commands import program
from sealroom_agents.local.chain import start_chain
from sealroom_agents.local.ports import Ports
from sealroom_agents.simulator import SimulatedPlatform
from sealroom_agents.up.children import Child
with standing(Path(sys.argv[1]) / "demo", keep=False) as stage:
    start_chain(stage.children, stage.folder, Ports().take(0))
    platform = stage.folder / "platform"
    SimulatedPlatform.create(platform)
    compose, ready = stage.folder / "compose.json", stage.folder / "ready.json"
    compose.write_text('{"manifest_version":2,"name":"x","runner":"docker-compose"}')
    guest = (
        program("sealroom"), "simulate", "guest", "--platform", str(platform), "--compose", str(compose),
        "--app-id", "0x" + "11" * 20, "--socket", str(stage.folder / "x.sock"),
    )
    stage.children.start(Child("guest", guest, ready_file=ready))
    print("ready", flush=True)
    stage.commands.run("sleep", "9999")
"""
"""The demo's own way to start its chain, a guest agent and a command."""


@pytest.mark.anvil
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_stopped_demo_leaves_no_process(tmp_path: Path, how: signal.Signals) -> None:
    """Chain, guest agent and a command under way, each with its guard, are gone with it; the lock too."""
    command = [sys.executable, "-c", DEMO, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as demo:
        try:
            assert demo.stdout is not None
            assert demo.stdout.readline() == b"ready\n"
            until(lambda: len(set(child_guard.descendants(demo.pid))) >= 6)
            below = processes.below(demo.pid)
            demo.send_signal(how)
            assert demo.wait(PATIENCE_S) == (-how if how == signal.SIGKILL else 130)
            processes.until_gone(below)
        finally:
            processes.end(demo)
    with locked(tmp_path / "demo"):
        pass


STOPPED = """
import sys
from pathlib import Path
from sealroom_agents.demo.commands import Commands, in_parallel
folder = Path(sys.argv[1])
commands = Commands(folder)
print("ready", flush=True)
begin = "import time; print(1, file=open({!r}, 'w'), flush=True); time.sleep(9999)"
def one(name):
    return commands.run(sys.executable, "-c", begin.format(str(folder / name)))
try:
    in_parallel(*(lambda name=name: one(name) for name in "abcdefgh"))
except KeyboardInterrupt:
    pass
finally:
    commands.stop()
print("stopped", flush=True)
"""
"""The demo's own way to run commands at one time: more of them than run at once."""


def test_ctrl_c_ends_the_demo_s_commands_and_starts_no_more(tmp_path: Path) -> None:
    """Nobody waits for commands that were under way, nor for those that waited for their turn."""
    command = [sys.executable, "-c", STOPPED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:
        try:
            until(lambda: len(list(tmp_path.iterdir())) == 4, demo)
            below = processes.below(demo.pid)
            demo.send_signal(signal.SIGINT)
            out, err = demo.communicate(timeout=PATIENCE_S)
            assert out == b"ready\nstopped\n", err
            assert demo.returncode == 0
            processes.until_gone(below)
            assert len(list(tmp_path.iterdir())) == 4
        finally:
            processes.end(demo)
