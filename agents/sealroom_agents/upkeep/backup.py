# SPDX-License-Identifier: Apache-2.0
"""One file with the database and with every envelope and recipe, and what makes both from it.

A tar: `manifest.json` (version of the form, kind of database), `sha256/NAME` for each envelope and recipe,
`database` (a SQLite file, or a custom-format dump of PostgreSQL). It appears whole or not at all, and never
in place of another file. It holds results that are not published yet: it is made with mode 0600.

Envelopes are collected before and after the database is copied, so that all which the copy names are there.
A restore puts them back first, each compared with its name, then the database. It touches no database that is
there. Stopped half-way, it is done again: what is there already is not written twice.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sealroom.codes import Code
from sealroom.encoding import sha256, strict_json
from sealroom.errors import FormatError
from sealroom.files import PRIVATE, TargetExists, atomic_output
from sealroom_agents.errors import StoreError, ToolError
from sealroom_agents.store.content import MAX_BYTES, Content, ContentDamaged
from sealroom_agents.upkeep import snapshot

VERSION = 1
MANIFEST, DATABASE = "manifest.json", "database"
MAX_MANIFEST_BYTES = 4096
_MEMBER = re.compile(r"sha256/([0-9a-f]{64})")


@dataclass(frozen=True)
class Summary:
    """What a backup holds."""

    kind: str
    """`sqlite` or `postgresql`."""
    content: int
    """Envelopes and recipes."""
    damaged: tuple[str, ...] = ()
    """Digests of those that could not be kept: their place holds other bytes, or none that can be read."""


def backup(database: str, content: Content, target: Path) -> Summary:
    """Write a backup: all that is whole. Raises `ToolError` `output-exists`, `StoreError`, `OSError`."""
    kind = snapshot.kind_of(database)
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".sealroom-backup-", dir=target.parent) as scratch,
            atomic_output(target, mode=PRIVATE) as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            _add(archive, MANIFEST, json.dumps({"version": VERSION, "database": kind}).encode())
            held: set[str] = set()
            damaged: set[str] = set()
            _collect(archive, content, held, damaged)
            copied = Path(scratch) / DATABASE
            snapshot.copy(database, copied)
            _collect(archive, content, held, damaged)
            with copied.open("rb") as whole:
                archive.addfile(_info(DATABASE, copied.stat().st_size), whole)
    except TargetExists:
        raise ToolError(
            Code.OUTPUT_EXISTS, f"{target} is there already", "give each backup a name of its own"
        ) from None
    return Summary(kind, len(held), tuple(sorted(damaged)))


def restore(source: Path, database: str, content: Content) -> Summary:
    """Make database and content from a backup. Raises `StoreError`: `database-exists`, `backup-malformed`,
    `database`, `content-store`."""
    if not snapshot.is_empty(database):
        raise StoreError(
            Code.DATABASE_EXISTS,
            "there is a database already, and nothing of it is overwritten",
            "name another with --database, or move the old one away, with the -wal and -shm files beside it",
        )
    count = 0
    with _opened(source) as archive:
        members = iter(archive)
        kind = _manifest(archive, next(members, None))
        if kind != snapshot.kind_of(database):
            raise StoreError(
                Code.BACKUP_MALFORMED,
                f"the backup is of a {kind} database, and --database is none",
                f"restore it to {kind}; to change the kind of database, start empty: sealroom db rebuild",
            )
        folder = snapshot.scratch_beside(database)
        with tempfile.TemporaryDirectory(prefix=".sealroom-restore-", dir=folder) as scratch:
            copied: Path | None = None
            for member in members:
                named = _MEMBER.fullmatch(member.name)
                if copied is not None or not member.isreg() or not (named or member.name == DATABASE):
                    raise _malformed(f"it holds {member.name[:80]!r}")
                stream = archive.extractfile(member)
                if stream is None:
                    raise _malformed(f"{member.name} has no content")
                if named is None:
                    copied = Path(scratch) / DATABASE
                    _save(stream, copied)
                    continue
                data = stream.read(MAX_BYTES + 1)
                if sha256(data).hex() != named[1]:
                    raise _malformed(f"{member.name} holds other bytes than its name says")
                content.put(data)
                count += 1
            if copied is None:
                raise _malformed("it holds no database")
            snapshot.fill(database, copied)
    return Summary(kind, count)


def _collect(archive: tarfile.TarFile, content: Content, held: set[str], damaged: set[str]) -> None:
    for digest in content.digests():
        if digest in held or digest in damaged:
            continue
        try:
            data = content.get(digest)
        except ContentDamaged:
            damaged.add(digest)
            continue
        if data is not None:
            _add(archive, f"sha256/{digest[2:]}", data)
            held.add(digest)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    archive.addfile(_info(name, len(data)), io.BytesIO(data))


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, PRIVATE
    return info


@contextmanager
def _opened(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(source, mode="r:") as archive:
            yield archive
    except tarfile.TarError as error:
        raise _malformed(str(error)) from error


def _manifest(archive: tarfile.TarFile, first: tarfile.TarInfo | None) -> str:
    stream = None if first is None or first.name != MANIFEST else archive.extractfile(first)
    if stream is None:
        raise _malformed("it does not begin with its manifest")
    try:
        told = strict_json(stream.read(MAX_MANIFEST_BYTES + 1), MAX_MANIFEST_BYTES)
    except FormatError as error:
        raise _malformed(f"its manifest is {error.message}") from error
    if told.get("version") != VERSION:
        raise _malformed(f"it is of version {told.get('version')!r}; this program reads version {VERSION}")
    kind = told.get("database")
    if kind not in (snapshot.SQLITE, snapshot.POSTGRESQL):
        raise _malformed("its manifest names no kind of database")
    return str(kind)


def _save(stream: IO[bytes], target: Path) -> None:
    target.touch(mode=PRIVATE)
    with target.open("wb") as out:
        shutil.copyfileobj(stream, out)


def _malformed(why: str) -> StoreError:
    return StoreError(Code.BACKUP_MALFORMED, f"this is no whole backup: {why}", "take another copy of it")
