# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all, on file systems with and without nameless files."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.patience import PATIENCE_S

from sealroom import files
from sealroom.files import (
    PRIVATE,
    PUBLIC,
    FileExposed,
    TargetExists,
    atomic_output,
    fsync_folder,
    link_new,
    read_private,
    write_atomic,
)

OLD, NEW = b"old", b"new" * 1000
KILLED = 9

# Ends the process before the n-th act on files, counted from 1, as a kill there would.
AT_STEP = """
import os, sys
from pathlib import Path
from sealroom.files import write_atomic
target, step = Path(sys.argv[1]), int(sys.argv[2])
replace, named = (word == "True" for word in sys.argv[3:])
if named:
    del os.O_TMPFILE
ACTS = {"open", "os.chmod", "os.link", "os.rename", "os.remove"}
done = 0
def before(event, _):
    global done
    if event in ACTS:
        done += 1
        if done == step:
            os._exit(9)
sys.addaudithook(before)
write_atomic(target, b"new" * 1000, mode=0o600, replace=replace)
"""

HALF = """
import signal, sys
from pathlib import Path
from sealroom.files import atomic_output
with atomic_output(Path(sys.argv[1]), mode=0o600, replace=True) as stream:
    stream.write(b"new" * 500)
    stream.flush()
    print("half", flush=True)
    signal.pause()
"""


@pytest.fixture(params=["nameless", "named"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With `named`, as on a system that has no files without a name."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")
    return str(request.param)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("mode", [PRIVATE, PUBLIC])
def test_a_new_file_has_its_content_and_mode(tmp_path: Path, kind: str, mode: int, replace: bool) -> None:
    target = tmp_path / "a"
    write_atomic(target, NEW, mode=mode, replace=replace)
    assert target.read_bytes() == NEW and stat.S_IMODE(target.stat().st_mode) == mode
    assert names(tmp_path) == ["a"] and target.stat().st_nlink == 1


@pytest.mark.parametrize(
    ("umask", "mode", "expected"),
    [(0o000, PUBLIC, 0o644), (0o077, PUBLIC, 0o600), (0o777, PUBLIC, 0o600), (0o777, PRIVATE, 0o600)],
)
def test_the_umask_takes_bits_of_others_and_none_of_the_owner(
    tmp_path: Path, kind: str, umask: int, mode: int, expected: int
) -> None:
    before = os.umask(umask)
    try:
        with atomic_output(tmp_path / "a", mode=mode) as stream:
            assert stat.S_IMODE(os.fstat(stream.fileno()).st_mode) == expected
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == expected


def test_an_existing_file_is_replaced_only_on_demand(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "a"
    target.write_bytes(OLD)
    with pytest.raises(TargetExists) as caught:
        write_atomic(target, NEW, mode=PUBLIC)
    assert caught.value.filename == str(target) and target.read_bytes() == OLD
    with target.open("rb") as reader:
        write_atomic(target, NEW, mode=PRIVATE, replace=True)
        assert reader.read() == OLD
    assert target.read_bytes() == NEW and names(tmp_path) == ["a"]
    assert stat.S_IMODE(target.stat().st_mode) == PRIVATE


@pytest.mark.parametrize("links", [True, False], ids=["links", "no-links"])
def test_a_file_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        without_links(monkeypatch)
    target = tmp_path / "a"
    with pytest.raises(TargetExists), atomic_output(target, mode=PUBLIC) as stream:
        stream.write(NEW)
        target.write_bytes(OLD)
    assert target.read_bytes() == OLD and names(tmp_path) == ["a"]


@pytest.mark.parametrize("points_to", ["there", "nowhere"])
def test_a_symbolic_link_in_the_targets_place_is_replaced_and_not_followed(
    tmp_path: Path, kind: str, points_to: str
) -> None:
    (tmp_path / "there").write_bytes(OLD)
    target = tmp_path / "a"
    target.symlink_to(points_to)
    with pytest.raises(TargetExists):
        write_atomic(target, NEW, mode=PRIVATE)
    assert target.is_symlink()
    write_atomic(target, NEW, mode=PRIVATE, replace=True)
    assert not target.is_symlink() and target.read_bytes() == NEW
    assert (tmp_path / "there").read_bytes() == OLD and names(tmp_path) == ["a", "there"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("existing", [True, False])
def test_an_error_in_the_block_leaves_the_target_as_it_was(
    tmp_path: Path, kind: str, existing: bool, error: type[BaseException]
) -> None:
    target = tmp_path / "a"
    if existing:
        target.write_bytes(OLD)
    with pytest.raises(error), atomic_output(target, mode=PUBLIC, replace=True) as stream:
        stream.write(NEW)
        stream.flush()
        raise error
    assert names(tmp_path) == (["a"] if existing else [])
    assert not existing or target.read_bytes() == OLD


def test_a_write_that_fails_half_way_leaves_the_target_as_it_was(tmp_path: Path, kind: str) -> None:
    """A limit of the process's file size fails as a full disk does, in the middle of the content."""
    target = tmp_path / "a"
    target.write_bytes(OLD)
    before, limits = signal.getsignal(signal.SIGXFSZ), resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomic(target, NEW, mode=PUBLIC, replace=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert target.read_bytes() == OLD and names(tmp_path) == ["a"]


def test_a_folder_that_is_missing_or_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "none" / "a", NEW, mode=PUBLIC)
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(NotADirectoryError):
        write_atomic(tmp_path / "file" / "a", NEW, mode=PUBLIC)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomic(tmp_path / "folder", NEW, mode=PUBLIC, replace=True)
    assert names(tmp_path) == ["file", "folder"]


def test_a_folder_without_permission_is_refused(kind: str) -> None:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o555)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if os.geteuid() == 0:  # root may write anywhere
                    os.setuid(65534)
                write_atomic(folder / "a", NEW, mode=PUBLIC)
            except PermissionError:
                status = KILLED
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == KILLED
        assert names(folder) == []


def test_a_name_of_the_greatest_length_works(tmp_path: Path, kind: str) -> None:
    target = tmp_path / ("a" * 255)
    for content in (OLD, NEW):
        write_atomic(target, content, mode=PUBLIC, replace=True)
    assert target.read_bytes() == NEW and names(tmp_path) == [target.name]


@pytest.mark.parametrize("error", sorted(files._NO_NAMELESS))
def test_a_file_system_without_nameless_files_gets_a_hidden_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    real = os.open

    def without(path: str, flags: int, *more: int, **named: int) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(error, os.strerror(error))
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", without)
    with atomic_output(tmp_path / "a", mode=PRIVATE) as stream:
        (hidden,) = names(tmp_path)
        assert hidden.startswith(".a.") and stat.S_IMODE((tmp_path / hidden).stat().st_mode) == PRIVATE
        stream.write(NEW)
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == NEW


@pytest.mark.parametrize("named", [False, True], ids=["nameless", "named"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_kill_before_any_step_leaves_the_old_file_or_the_new_one(
    tmp_path: Path, existing: bool, named: bool
) -> None:
    target, outcomes = tmp_path / "a", []
    for step in range(1, 30):
        target.unlink(missing_ok=True)
        if existing:
            target.write_bytes(OLD)
        command = [sys.executable, "-c", AT_STEP, str(target), str(step), str(existing), str(named)]
        status = subprocess.run(command, timeout=PATIENCE_S).returncode
        content = target.read_bytes() if target.exists() else None
        assert content in (OLD if existing else None, NEW)
        left = [name for name in names(tmp_path) if name != "a"]
        if not named and not existing:
            assert left == []
        for name in left:
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == PRIVATE
            # A nameless file gets a name only when it is complete.
            assert named or (tmp_path / name).read_bytes() == NEW
            (tmp_path / name).unlink()
        outcomes.append((status, content))
        if status == 0:
            break
    assert outcomes[0] == (KILLED, OLD if existing else None) and outcomes[-1] == (0, NEW)
    assert len(outcomes) > 3


def test_a_kill_in_the_middle_of_writing_leaves_no_file(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.write_bytes(OLD)
    with subprocess.Popen([sys.executable, "-c", HALF, str(target)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"half\n"
        process.kill()
    assert target.read_bytes() == OLD and names(tmp_path) == ["a"]


def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system without hard links, such as FAT: it has no nameless files either."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.delattr(os, "O_TMPFILE")


def test_a_file_system_without_links_works_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_links(monkeypatch)
    write_atomic(tmp_path / "a", OLD, mode=PUBLIC)
    write_atomic(tmp_path / "a", NEW, mode=PUBLIC, replace=True)
    link_new(tmp_path / "a", tmp_path / "b")
    with pytest.raises(TargetExists):
        write_atomic(tmp_path / "b", OLD, mode=PUBLIC)
    assert names(tmp_path) == ["b"] and (tmp_path / "b").read_bytes() == NEW


def test_a_file_gets_a_second_name_that_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(NEW)
    (tmp_path / "taken").symlink_to("nowhere")
    link_new(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")
    with pytest.raises(TargetExists):
        link_new(tmp_path / "a", tmp_path / "taken")
    fsync_folder(tmp_path)
    with pytest.raises(NotADirectoryError):
        fsync_folder(tmp_path / "a")


# --- files with secrets ----------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [0o040, 0o020, 0o010, 0o004, 0o002, 0o001])
def test_a_secret_that_others_can_access_is_refused(tmp_path: Path, bits: int) -> None:
    """OP-03."""
    path = tmp_path / "secret"
    path.write_bytes(b"secret")
    path.chmod(0o600 | bits)
    with pytest.raises(FileExposed) as caught:
        read_private(path, 100)
    assert caught.value.remedy == f"chmod 600 {path}"
    path.chmod(0o400)
    assert read_private(path, 100) == b"secret"
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_private(link, 3) == b"secr"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to another user")
def test_root_reads_a_secret_that_is_mounted_from_another_user(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_atomic(path, b"secret", mode=PRIVATE)
    os.chown(path, 12345, -1)
    assert read_private(path, 100) == b"secret"
    path.chmod(0o440)
    with pytest.raises(FileExposed, match="others on this machine can read"):
        read_private(path, 100)


def test_a_secret_that_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", Path("/dev/null"), tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            read_private(path, 100)
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "none", 100)
