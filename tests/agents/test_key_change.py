# SPDX-License-Identifier: Apache-2.0
"""A key's file is replaced whole, under its one name, and from what it holds now."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path

import pyrage
import pytest

from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.keys import Secret
from sealroom.sealed import Header, key_commitment
from sealroom_agents.cli.datakey import need_changeable, replace_wrapped
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import age, custody, data_key
from sealroom_agents.owner.custody import Party
from sealroom_agents.owner.key_file import KeyFile

HEADER = Header(
    owner="0x" + "11" * 20, dataset="cohort-A", dataset_version=1, media_type="application/octet-stream",
    columns=None, rows=None, size=5, part_size=16384, report_key=None, salt=bytes(32),
)  # fmt: skip
KEY = Secret.generate()
PLAIN = data_key.text(KEY, note="a")


def file() -> KeyFile:
    recipient = age.recipient(str(pyrage.x25519.Identity.generate().to_public()))
    empty = custody.no_recipients(HEADER, commitment=key_commitment(KEY, header_digest=HEADER.digest), now=0)
    slot, _ = custody.wrap(KEY, Party("officer", recipient), now=0, note="a")
    return custody.added(empty, slot, KEY)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.key"
    path.write_bytes(PLAIN)
    path.chmod(0o600)
    return path


def refused(code: Code, path: Path, *, was: bytes = PLAIN) -> ToolError:
    with pytest.raises(ToolError) as error:
        replace_wrapped(path, file(), was=sha256(was))
    assert error.value.code == code
    return error.value


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_what_was_read_is_replaced(path: Path, mode: int) -> None:
    path.chmod(mode)
    new = file()
    replace_wrapped(path, new, was=sha256(PLAIN))
    assert path.read_bytes() == new.encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["a.key"]


def test_under_another_name_no_plain_key_stays(path: Path) -> None:
    """CE-12: the owner thinks that it is wrapped now."""
    link = path.with_name("link.key")
    link.symlink_to(path)
    assert str(path) in (refused(Code.KEY_FILE_LINKED, link).hint or "")
    assert link.is_symlink() and path.read_bytes() == PLAIN
    link.unlink()
    os.link(path, link)
    for name in (path, link):
        refused(Code.KEY_FILE_LINKED, name)
        with pytest.raises(ToolError):
            need_changeable(name)
    assert path.read_bytes() == link.read_bytes() == PLAIN
    link.unlink()
    need_changeable(path)


def test_what_another_command_wrote_meanwhile_stays(path: Path) -> None:
    """Of two that add a recipient at one time, one is told so, and nobody is lost."""
    first = file()
    replace_wrapped(path, first, was=sha256(PLAIN))
    refused(Code.KEY_FILE_CHANGED, path)
    assert path.read_bytes() == first.encode()


def test_while_another_command_writes_nothing_is_written(path: Path) -> None:
    with path.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        refused(Code.KEY_FILE_CHANGED, path)
        assert path.read_bytes() == PLAIN
    replace_wrapped(path, file(), was=sha256(PLAIN))


def test_what_is_no_file_cannot_be_changed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "none", "."):
        refused(Code.KEY_MISSING, tmp_path / name)
