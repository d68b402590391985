# SPDX-License-Identifier: Apache-2.0
"""Secrets are read from files, pipes and programs: within bounds, and never where reading would hang."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.secret_source import SecretSource, from_command, from_place, from_stdin

LIMIT = 100


def private(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def code(error: pytest.ExceptionInfo[ToolError]) -> Code:
    return error.value.code


def test_a_file_is_read_if_its_owner_alone_can(tmp_path: Path) -> None:
    path = private(tmp_path / "key", b"secret")
    assert SecretSource(place=path).read(LIMIT) == b"secret"
    path.chmod(0o640)
    with pytest.raises(ToolError) as error:
        SecretSource(place=path).read(LIMIT)
    assert code(error) == Code.KEY_EXPOSED


def test_no_more_is_read_than_tells_that_it_is_too_much(tmp_path: Path) -> None:
    path = private(tmp_path / "key", bytes(10 * LIMIT))
    assert len(from_place(path, LIMIT)) == LIMIT + 1


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/null", "/"])
def test_what_is_neither_file_nor_pipe_is_refused(name: str) -> None:
    with pytest.raises(ToolError) as error:
        from_place(Path(name), LIMIT)
    assert code(error) == Code.SECRET_UNREADABLE


def test_a_pipe_without_a_writer_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "idle", 0o600)
    with pytest.raises(ToolError) as error:
        from_place(tmp_path / "idle", LIMIT)
    assert code(error) == Code.SECRET_UNREADABLE


def test_a_pipe_whose_writer_is_silent_is_given_up(tmp_path: Path) -> None:
    read, write = os.pipe()
    try:
        with pytest.raises(ToolError, match="nothing within") as error:
            from_place(Path(f"/dev/fd/{read}"), LIMIT, wait_s=0.05)
    finally:
        os.close(read)
        os.close(write)
    assert code(error) == Code.SECRET_UNREADABLE


def test_a_pipe_is_read_to_its_end() -> None:
    read, write = os.pipe()
    os.write(write, b"one ")
    with subprocess.Popen([sys.executable, "-c", "print('two', end='')"], stdout=write):
        os.close(write)
        assert from_place(Path(f"/dev/fd/{read}"), LIMIT) == b"one two"
    os.close(read)


def test_standard_input_without_anything_in_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/null").open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(ToolError) as error:
            from_stdin(LIMIT)
    assert code(error) == Code.SECRET_UNREADABLE


def test_standard_input_is_a_file_that_its_owner_alone_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = private(tmp_path / "key", b"secret")
    for mode, readable in ((0o600, True), (0o644, False)):
        path.chmod(mode)
        with path.open() as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            if readable:
                assert SecretSource(place=Path("-")).read(LIMIT) == b"secret"
            else:
                with pytest.raises(ToolError) as error:
                    from_stdin(LIMIT)
                assert code(error) == Code.KEY_EXPOSED


def test_a_program_prints_it_and_no_shell_reads_the_line() -> None:
    assert from_command("echo '$HOME' ; id", LIMIT) == b"$HOME ; id\n"


@pytest.mark.parametrize(
    "command",
    ["", "'", "/no/such/program", "false", f"{sys.executable} -c 'print(\"x\" * 1000)'"],
    ids=["empty", "open quote", "missing", "fails", "too much"],
)
def test_a_program_that_does_not_do_so_is_refused(command: str) -> None:
    with pytest.raises(ToolError) as error:
        from_command(command, LIMIT)
    assert code(error) == Code.SECRET_COMMAND


def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(ToolError, match=r"within 0\.05 s") as error:
        from_command("sleep 1000", LIMIT, wait_s=0.05)
    assert code(error) == Code.SECRET_COMMAND


def test_a_message_never_shows_a_programs_arguments() -> None:
    source = SecretSource(command="fetch --token hunter2")
    assert "hunter2" not in source.name
