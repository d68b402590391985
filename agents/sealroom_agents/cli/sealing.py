# SPDX-License-Identifier: Apache-2.0
"""How one dataset is sealed, once all arguments are checked: converted, profiled, encrypted.

What is shown to its owner is read back from the file whose bytes are sealed, and that file must still be the
same when it is sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.files import PRIVATE, write_atomic
from sealroom_agents.cli.terminal import progress, warn
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom.sealed import Index, SealSummary, WrapContext
    from sealroom_agents.owner.custody import Party
    from sealroom_agents.owner.keystore import Signer
    from sealroom_agents.owner.profile import Profile
    from sealroom_agents.owner.report_key import ReportKey
    from sealroom_agents.owner.source import Ready, Source
    from sealroom_agents.owner.staging import Outputs


@dataclass(frozen=True)
class Job:
    """One dataset to be sealed, all of it checked."""

    source: Source
    """What is sealed."""
    place: str
    """Folder of the owner's files: the owner's id, or before there is a consortium, the account."""
    account: str
    """Account that registers the dataset."""
    name: str
    """Name of the dataset."""
    version: int
    """Number of this version of the dataset."""
    outputs: Outputs
    """What is written."""
    context: WrapContext | None
    """For whom the data key is wrapped; `None` for nobody yet."""
    report_key: ReportKey
    """To it, enclaves seal why a run failed."""
    parties: tuple[Party, ...] = ()
    """For whom the data key is wrapped at home; none for a plain one."""
    person: str | None = None
    """The column that names the person, where a recipe says so."""


@dataclass(frozen=True)
class Plain:
    """The file whose bytes are sealed."""

    ready: Ready
    """Where it is."""
    state: tuple[int, ...]
    """Its state before it was read."""


@contextmanager
def made(job: Job) -> Iterator[Plain]:
    """The file whose bytes are sealed, made where the input is not that file."""
    from sealroom_agents.owner import source as sources

    source = job.source
    with ExitStack() as stack:
        with progress(f"reading {source.called.name}", source.size if source.remade else 0) as reading:
            step = None if reading is None else partial(_step, reading, source.size)
            try:
                ready = stack.enter_context(sources.ready(source, advance=step))
            finally:
                if source.preparing is not None and source.preparing.key is not None:
                    source.preparing.key.wipe()
        yield Plain(ready, _state(ready.path))


def profiled(job: Job, plain: Plain) -> Profile:
    """What stands in the table, read back from the very file that is sealed.

    It is told in logs too, so what is some person's value is not in it (OP-04).
    """
    from sealroom_agents.owner.profile import profile

    ready, rows = plain.ready, job.source.rows if plain.ready.rows is None else plain.ready.rows
    with progress(f"looking through {job.source.called.name}", ready.size) as looking:
        step = None if looking is None else partial(_step_of_rows, looking, ready.size, rows or 1)
        seen = profile(ready.path, name=job.source.called, advance=step, expected=rows)
    if seen.rows == 0:
        warn(f"{job.source.called} has no rows")
    told = (each.discreet(names_people=each.name == job.person) for each in seen.columns)
    return replace(seen, columns=tuple(told))


def _step_of_rows(advance: Callable[[int, int], None], total: int, rows: int, done: int) -> None:
    advance(total * done // rows, total)


def seal_as_made(job: Job, plain: Plain, signer: Signer | None) -> SealSummary:
    """Seal it under a fresh data key; sealed file, key and registration appear together, or none.

    Raises `source-changed` when the file is another than was looked through.
    """
    from sealroom import sealed
    from sealroom.keys import Secret
    from sealroom_agents.cli import datakey
    from sealroom_agents.cli.wrapping import key_file, wrapped
    from sealroom_agents.owner.registering import registration_of_file
    from sealroom_agents.owner.staging import Staging

    source = job.source
    key = Secret.generate()
    what = job.name if job.version == 1 else f"{job.name}, version {job.version}"
    try:
        # Before the work, so that a token that is not there costs no hour.
        slots = wrapped(key, job.parties, note=f"{job.account}/{what}")
        with Staging(job.outputs) as staging:
            with progress(f"sealing {source.called.name}", plain.ready.size) as advance:
                summary = sealed.seal(
                    plain.ready.path,
                    staging.sealed,
                    recipient=job.context,
                    owner=job.account,
                    name=job.name,
                    dataset_version=job.version,
                    dek=key,
                    media_type=source.media_type,
                    report_key=job.report_key.public,
                    progress=advance,
                    sign=None if signer is None else partial(_sign, signer),
                )
            if _state(plain.ready.path) != plain.state:
                raise ToolError(
                    Code.SOURCE_CHANGED,
                    f"{source.called} changed after it was looked through",
                    "run it again",
                )
            info = sealed.inspect(staging.sealed)
            if slots:
                datakey.create_wrapped(staging.key, key_file(info, slots, key))
            else:
                datakey.create(staging.key, key, owner=job.place, dataset=what)
            staging.registration.write_bytes(registration_of_file(info))
            if source.preparing is not None:
                write_atomic(staging.prepare, source.preparing.declared.data, mode=PRIVATE)
            job.report_key.keep()
            staging.publish()
            return summary
    finally:
        key.wipe()


def _sign(signer: Signer, index: Index) -> bytes:
    from sealroom_agents.owner import signing

    return signing.sign(index, signer)


def _state(path: Path) -> tuple[int, ...]:
    """What differs once a file was changed or replaced."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _step(advance: Callable[[int, int], None], total: int, done: int) -> None:
    advance(done, total)
