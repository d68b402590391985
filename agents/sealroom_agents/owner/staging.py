# SPDX-License-Identifier: Apache-2.0
"""Three files that appear together: the sealed dataset, its data key and its registration.

All are made in a hidden folder beside the sealed file and moved at the end, the sealed file last; so where
it stands, its key stands too. A failure or an interruption removes the folder. What a killed run left behind
is removed by the next one, which starts from nothing: an encryption is never taken up again (CE-04).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sealroom_agents.errors import ToolError

SEALED, KEY, REGISTRATION = "sealed.tar", "data.key", "registration.json"
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})
"""How file systems say that they have no hard links."""


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
    def all(self) -> tuple[Path, Path, Path]:
        """All three."""
        return self.sealed, self.key, self.registration


class Staging:
    """The hidden folder of one run. `sealed`, `key` and `registration` are for the caller to make."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self.folder = outputs.sealed.with_name(f".{outputs.sealed.name}.sealing")
        self.sealed, self.key, self.registration = (
            self.folder / name for name in (SEALED, KEY, REGISTRATION)
        )
        self._lock = -1

    def __enter__(self) -> Staging:
        for path in self._outputs.all:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.folder.mkdir(mode=0o700)
        except FileExistsError:
            self._clear_after_a_killed_run()
            self.folder.mkdir(mode=0o700)
        self._lock = self._locked()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def publish(self) -> None:
        """Move all three to their places; none is written over but an older registration.

        Raises `key-exists` or `output-exists` when somebody put one there meanwhile.
        """
        out = self._outputs
        _copy_key(self.key, out.key)
        try:
            # A copy, so that the folder still knows the registration until the sealed file stands.
            copy = self.folder / "copy"
            shutil.copyfile(self.registration, copy)
            os.replace(copy, out.registration)
            _place(self.sealed, out.sealed)
        except BaseException:
            # The one thing never to do is to drop the key of a sealed file that stands.
            if not _stands(self.sealed, out.sealed):
                out.key.unlink(missing_ok=True)
            raise
        for folder in {path.parent for path in out.all}:
            _sync(folder)

    def _clear_after_a_killed_run(self) -> None:
        lock = self._locked()
        try:
            out = self._outputs
            if not os.path.lexists(out.sealed):
                # Its sealed file never appeared, so the key that it had put in place opens nothing.
                for mine, theirs in ((self.key, out.key), (self.registration, out.registration)):
                    if _same(mine, theirs):
                        theirs.unlink()
            shutil.rmtree(self.folder)
        finally:
            os.close(lock)

    def _locked(self) -> int:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise ToolError(
                "already-sealing",
                f"another run is sealing {self._outputs.sealed}",
                "wait for it, or stop it",
            ) from None
        return descriptor


def recover(outputs: Outputs) -> None:
    """Remove what a killed run left of these outputs. Raises `already-sealing` while another run works."""
    staging = Staging(outputs)
    if staging.folder.is_dir() and not staging.folder.is_symlink():
        staging._clear_after_a_killed_run()


def _copy_key(source: Path, target: Path) -> None:
    """Not a link: the key may well be kept on another disk."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise _appeared(target, "key-exists") from None
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(source.read_bytes())
        stream.flush()
        os.fsync(stream.fileno())


def _place(source: Path, target: Path) -> None:
    try:
        # A link, unlike a rename, never writes over what stands there.
        os.link(source, target)
    except FileExistsError:
        raise _appeared(target, "output-exists") from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise _appeared(target, "output-exists") from None
        source.rename(target)


def _stands(source: Path, target: Path) -> bool:
    return not source.exists() or (target.exists() and os.path.samefile(source, target))


def _appeared(target: Path, code: str) -> ToolError:
    return ToolError(code, f"{target} appeared while this run sealed", "nothing was written")


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
