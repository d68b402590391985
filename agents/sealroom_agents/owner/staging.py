# SPDX-License-Identifier: Apache-2.0
"""Three files that appear together: the sealed dataset, its data key and its registration. Where the input
was prepared, a fourth: the declared file by which it was.

Each is made in a hidden folder beside its place, and moved at the end. There are two such folders, because
what lies beside the sealed file may be sent away at any moment: the key is made, and stays, in its own.

The order makes sure that no sealed file ever stands without its key, on the disk too: the key's place, the
registration, the key's hidden folder goes, and only then the sealed file. So a hidden folder of a key says
that the sealed file never appeared, and a key that is in place opens nothing. A failure or an interruption
removes both folders. What a killed run left behind is removed by the next one, which starts from nothing: an
encryption is never taken up again (CE-04).
"""

from __future__ import annotations

import fcntl
import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sealroom.codes import Code
from sealroom.files import PUBLIC, TargetExists, fsync_folder, link_new, write_atomic
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.prepare.kept import kept_file

SEALED, KEY, REGISTRATION = "sealed.tar", "data.key", "registration.json"
PREPARE = "prepare.toml"
KEY_PLACE = "key-place"
"""File that names the hidden folder of the key, for a next run that is told to keep its key elsewhere."""
MAX_PATH_BYTES = 4096


@dataclass(frozen=True)
class Outputs:
    """Where the three files go."""

    sealed: Path
    """The sealed dataset: to be sent."""
    key: Path
    """Its data key: to be kept."""
    registration: Path
    """What is registered on chain."""

    @property
    def workshop(self) -> Path:
        """The hidden folder in which sealed dataset and registration are made."""
        return self.sealed.with_name(f".{self.sealed.name}.sealing")

    @property
    def key_workshop(self) -> Path:
        """The hidden folder in which the key is made."""
        return self.key.with_name(f".{self.key.name}.sealing")

    @property
    def prepare(self) -> Path:
        """Where the declared file is kept, of a dataset that was prepared."""
        return kept_file(self.key)

    @property
    def all(self) -> tuple[Path, Path, Path]:
        """All three."""
        return self.sealed, self.key, self.registration


class Staging:
    """The hidden folders of one run. `sealed`, `key` and `registration` are for the caller to make."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self.sealed = outputs.workshop / SEALED
        self.registration = outputs.workshop / REGISTRATION
        self.key = outputs.key_workshop / KEY
        self.prepare = outputs.key_workshop / PREPARE
        """For the caller to make, or to leave out."""
        self._open = ExitStack()

    def __enter__(self) -> Staging:
        out = self._outputs
        recover(out)
        out.sealed.parent.mkdir(parents=True, exist_ok=True)
        out.registration.parent.mkdir(parents=True, exist_ok=True)
        private_folder(out.key.parent)
        with ExitStack() as stack:
            for folder in (out.workshop, out.key_workshop):
                try:
                    _make_private(folder)
                except FileExistsError:
                    raise _busy(folder, out) from None
                stack.callback(_remove, folder, _locked(folder, out))
            (out.workshop / KEY_PLACE).write_bytes(os.fsencode(out.key_workshop.absolute()))
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def publish(self) -> None:
        """Move all to their places; none is written over but an older registration.

        Raises `key-exists` or `output-exists` when one appeared meanwhile.
        """
        out = self._outputs
        _place(self.key, out.key, Code.KEY_EXISTS)
        placed = [out.key]
        try:
            if self.prepare.exists():
                _place(self.prepare, out.prepare, Code.OUTPUT_EXISTS)
                placed.append(out.prepare)
            fsync_folder(out.key.parent)
            # A copy: the hidden folder keeps the registration until the sealed file is in place.
            write_atomic(out.registration, self.registration.read_bytes(), mode=PUBLIC, replace=True)
            # From here on the key must not be taken for one that opens nothing.
            _empty(out.key_workshop)
            out.key_workshop.rmdir()
            fsync_folder(out.key.parent)
            _place(self.sealed, out.sealed, Code.OUTPUT_EXISTS)
        except BaseException:
            # The key of a sealed file that is in place must never be removed.
            if not _stands(self.sealed, out.sealed):
                for path in placed:
                    path.unlink(missing_ok=True)
            raise
        fsync_folder(out.sealed.parent)


@dataclass(frozen=True)
class Leftovers:
    """What a killed run left of these outputs."""

    folders: tuple[Path, ...] = ()
    """Its hidden folders."""
    files: tuple[Path, ...] = ()
    """What it had put in place, and what is of no use: its sealed file never appeared."""
    elsewhere: Path | None = None
    """The hidden folder of a key that it left elsewhere, for a person to remove: it opens nothing."""


def recover(outputs: Outputs) -> Path | None:
    """Remove what a killed run left of these outputs. Raises `already-sealing` while another run works.

    Returns the hidden folder of a key that it left elsewhere.
    """
    with ExitStack() as stack:
        for folder in _hidden(outputs):
            stack.callback(_remove, folder, _locked(folder, outputs))
        left = _left(outputs)
        for path in left.files:
            path.unlink()
    return left.elsewhere


def leftovers(outputs: Outputs) -> Leftovers:
    """What `recover` would remove, all of which stays. Raises `already-sealing` while another run works."""
    with ExitStack() as stack:
        for folder in _hidden(outputs):
            stack.callback(os.close, _locked(folder, outputs))
        return _left(outputs)


def _hidden(outputs: Outputs) -> tuple[Path, ...]:
    folders = (outputs.workshop, outputs.key_workshop)
    return tuple(folder for folder in folders if folder.is_dir() and not folder.is_symlink())


def _left(outputs: Outputs) -> Leftovers:
    """What is there of a run, while nobody works in its folders."""
    files, elsewhere = [], None
    if _same(outputs.key_workshop / KEY, outputs.key):
        # Its sealed file never appeared, so the key that it had put in place opens nothing.
        files.append(outputs.key)
    if _same(outputs.key_workshop / PREPARE, outputs.prepare):
        files.append(outputs.prepare)
    if not os.path.lexists(outputs.sealed) and _same(outputs.workshop / REGISTRATION, outputs.registration):
        files.append(outputs.registration)
    with suppress(OSError), (outputs.workshop / KEY_PLACE).open("rb") as stream:
        named = Path(os.fsdecode(stream.read(MAX_PATH_BYTES)))
        if named != outputs.key_workshop.absolute() and named.is_dir():
            elsewhere = named
    return Leftovers(_hidden(outputs), tuple(files), elsewhere)


def private_folder(folder: Path) -> None:
    """Make a folder for keys, and those above it: each that is new is for
    this user alone, whatever the umask."""
    if folder.is_dir():
        return
    private_folder(folder.parent)
    with suppress(FileExistsError):
        _make_private(folder)
        fsync_folder(folder.parent)


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    folder.chmod(0o700)


def _locked(folder: Path, outputs: Outputs) -> int:
    """Hold the hidden folder that stands there now. One that another run removed, or made anew, between our
    opening it and our lock, is no folder of ours: what we hold then is not what the path names."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise _busy(folder, outputs) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(descriptor), os.stat(folder, follow_symlinks=False)):
            raise _busy(folder, outputs)
    except (BlockingIOError, FileNotFoundError):
        os.close(descriptor)
        raise _busy(folder, outputs) from None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _busy(folder: Path, outputs: Outputs) -> ToolError:
    what = f"sealing {outputs.sealed}" if folder == outputs.workshop else f"making the key {outputs.key}"
    return ToolError(Code.ALREADY_SEALING, f"another run is {what}", "wait for it, or stop it")


def _remove(folder: Path, lock: int) -> None:
    with suppress(OSError):
        _empty(folder)
        folder.rmdir()
    os.close(lock)


def _empty(folder: Path) -> None:
    """A hidden folder holds files alone. Not by shutil, which brings all packers of archives along."""
    for each in folder.iterdir():
        each.unlink()


def _place(source: Path, target: Path, code: Code) -> None:
    try:
        link_new(source, target)
    except TargetExists:
        raise ToolError(code, f"{target} appeared while this run sealed", "nothing was written") from None


def _stands(source: Path, target: Path) -> bool:
    return not source.exists() or (target.exists() and os.path.samefile(source, target))


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()
