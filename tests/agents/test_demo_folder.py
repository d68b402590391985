# SPDX-License-Identifier: Apache-2.0
"""The demo empties the folder that it writes in: never one that holds what no demo wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealroom_agents.demo.folder import MARK, emptied
from sealroom_agents.errors import DemoError
from sealroom_agents.local.folder import LOCK

SEALROOM = Path(sys.executable).parent / "sealroom"
DEMO_LIMIT_S = 900


def refused(folder: Path, *, environment: dict[str, str] | None = None) -> str:
    """What `sealroom demo` says when it does not take a folder."""
    done = subprocess.run(
        [SEALROOM, "demo", "--dir", str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEMO_LIMIT_S,
        env=environment,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "hint: " in done.stderr
    return done.stderr


def test_a_folder_with_somebody_s_files_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    (folder / "below").mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "below" / "thesis.txt").write_text("years of work")
    (folder / ".hidden").write_text("x")
    assert "holds files that no demo wrote" in refused(folder)
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert "holds files that no demo wrote" in refused(link)
    assert sorted(path.name for path in folder.rglob("*")) == [".hidden", "below", "thesis.txt"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_new_an_empty_and_an_earlier_demo_s_folder_are_taken(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (tmp_path / "new" / "er", empty):
        for _ in range(2):
            with emptied(folder):
                assert {entry.name for entry in folder.iterdir()} == {MARK, LOCK}
                assert folder.stat().st_mode & 0o777 == 0o700
                (folder / "logs").mkdir()
                (folder / "logs" / "gate.log").write_text("old")
                (folder / "link").symlink_to(outside)
    assert (outside / "kept").read_text() == "kept"


def test_a_folder_in_which_a_demo_runs_is_not_emptied_below_it(tmp_path: Path) -> None:
    with emptied(tmp_path / "demo"):
        (tmp_path / "demo" / "runner.key").write_text("0x")
        assert "another room runs" in refused(tmp_path / "demo")
        assert (tmp_path / "demo" / "runner.key").exists()
    with emptied(tmp_path / "demo"):
        assert not (tmp_path / "demo" / "runner.key").exists()


def test_a_folder_that_cannot_be_made_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DemoError, match="cannot write"), emptied(tmp_path / "file" / "demo"):
        pass


LONG_CHAIN = """
import sys
from pathlib import Path
import httpx
from sealroom_agents.local.chain import start_chain
from sealroom_agents.local.ports import Ports
from sealroom_agents.up.children import Children
from sealroom_agents.up.report import Report
folder = Path(sys.argv[1]) / "demo"
children = Children(Report(stream=None), folder.parent)
try:
    chain = start_chain(children, folder, Ports().take(0))
    body = {"jsonrpc": "2.0", "id": 1, "method": "anvil_mine", "params": [hex(1600)]}
    assert "result" in httpx.post(chain, json=body, timeout=900).json()
finally:
    children.stop()
"""
"""A room's chain, until anvil has moved states of it to the disk."""


@pytest.mark.anvil
def test_a_long_chain_writes_into_the_demo_s_folder_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run(
        [sys.executable, "-c", LONG_CHAIN, str(tmp_path)],
        env={**os.environ, "HOME": str(home)},
        timeout=DEMO_LIMIT_S,
        check=True,
    )
    assert list((tmp_path / "demo" / "chain" / "cache").iterdir())
    assert not [path for path in home.rglob("*") if path.is_file()]
