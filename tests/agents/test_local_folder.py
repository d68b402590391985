# SPDX-License-Identifier: Apache-2.0
"""What a room on one machine needs before it starts anything: its folder, space, anvil, its ports."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from sealroom_agents.errors import DemoError
from sealroom_agents.local import chain, folder, ports
from sealroom_agents.local.ports import ANY, Ports


def test_one_call_at_a_time_has_the_folder(tmp_path: Path) -> None:
    room = tmp_path / "room"
    with folder.locked(room):
        assert room.stat().st_mode & 0o777 == 0o700
        with pytest.raises(DemoError, match="another room runs") as refused, folder.locked(room):
            pass
        assert refused.value.hint
    with folder.locked(room):
        pass


def test_a_disk_without_space_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-08."""
    folder.require_space(tmp_path)
    monkeypatch.setattr(folder, "NEEDED_BYTES", 1 << 60)
    with pytest.raises(DemoError, match="GiB free, and a room needs"):
        folder.require_space(tmp_path)


def test_without_anvil_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(chain.anvil()).name == "anvil"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError, match="anvil") as refused:
        chain.anvil()
    assert "foundryup" in (refused.value.hint or "")


def test_a_port_that_is_taken_is_named_and_another_one_is_found() -> None:
    claimed, asked = Ports(), Ports()
    port = claimed.take(0)  # of those that the system gives nobody else meanwhile
    with socket.create_server(("127.0.0.1", port)):
        claimed.close()
        assert asked.take(port) > port
        with pytest.raises(DemoError, match=f"port {port}, which the gate") as refused:
            asked.keep({"gate": port})
        assert f"sport = :{port}" in (refused.value.hint or "")
    asked.keep({"gate": port})
    asked.close()


def test_rooms_that_start_at_once_choose_other_ports_before_anybody_listens() -> None:
    """A room listens half a minute after it chose: first come chain and contracts."""
    one, other, third = Ports(), Ports(), Ports()
    port = one.take(0)
    assert port in ANY
    beside = other.take(port)
    assert beside > port
    with pytest.raises(DemoError, match=f"port {port}, which the chain"):
        other.keep({"chain": port})
    one.close()
    other.keep({"chain": port})
    assert beside < third.take(port)
    other.close()
    third.close()


def test_where_no_port_is_free_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Ports()
    port = held.take(0)
    monkeypatch.setattr(ports, "TRIED", 1)
    with pytest.raises(DemoError, match=f"no port from {port} to {port} is free"):
        Ports().take(port)
    held.close()
