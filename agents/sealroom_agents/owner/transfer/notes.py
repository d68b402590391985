# SPDX-License-Identifier: Apache-2.0
"""What a run notes of an upload in parts, beside the sealed file, so that the next run can go on with it.

One line of JSON says which upload of which file this is; each further line, what the store answered for one
part. The file's identity stands for all its bytes, and no part is sent unless the index lists it: so a number
and an identity say which bytes the store confirmed. Nothing else is believed: a part counts as sent when the
store still lists it with the very tag that it answered to us.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sealroom.codes import Code
from sealroom.encoding import sha256, strict_json
from sealroom.errors import FormatError
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.transfer.kept import InUseError, open_kept, open_to_look, remove

MAX_BYTES = 8 * 1024 * 1024
"""Far more than the notes of 10,000 parts have."""
MAX_LINE_BYTES = 4096
MAX_TEXT = 1024
"""Characters of an id or a tag."""
VERSION = 1


@dataclass(frozen=True)
class Upload:
    """One that was begun."""

    file: str
    """Identity of the sealed file, in hex."""
    id: str
    """The store's name for the upload."""
    part_size: int
    """Bytes of each part but the last."""


Answers = dict[str, str]
"""What the store said of one part: its tag, and checksums."""
Noted = tuple[Upload, dict[int, Answers]]
"""An upload that was begun, and its parts."""


class Notes:
    """The notes of one sealed file for one URL, while no other run has them."""

    def __init__(self, sealed: Path, url: str) -> None:
        """Raises `already-sending`."""
        self._path = _path(sealed, url)
        self.keep = False
        """Whether another run will go on with what is noted."""
        try:
            self._descriptor = open_kept(self._path)
        except OSError:
            # A folder that is not ours to write in: then nothing is noted, and no run goes on.
            self._descriptor, self.possible = None, False
            return
        if self._descriptor is None:
            raise _in_use(sealed)
        self.possible = True
        """Whether something can be noted."""
        self.keep = os.fstat(self._descriptor).st_size > 0

    def read(self) -> Noted | None:
        """What a run before noted, if it is whole."""
        return None if self._descriptor is None else _read(self._descriptor)

    def begin(self, upload: Upload) -> None:
        """Note a new upload in place of what was there."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            self.keep = self.possible
            self._add(
                {"version": VERSION, "file": upload.file, "id": upload.id, "partSize": upload.part_size}
            )
            os.fsync(self._descriptor)

    def sent(self, number: int, answers: Answers) -> None:
        """Note what the store answered for a part."""
        if self._descriptor is not None:
            self._add({"part": number, "answers": answers})

    def forget(self) -> None:
        """The upload is done, or given up."""
        self.keep = False

    def __enter__(self) -> Notes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            if not self.keep:
                remove(self._path)
            os.close(self._descriptor)

    def _add(self, value: dict[str, object]) -> None:
        assert self._descriptor is not None
        try:
            os.lseek(self._descriptor, 0, os.SEEK_END)
            os.write(self._descriptor, json.dumps(value).encode() + b"\n")
        except OSError:
            # No room for notes: what is sent goes on, and no other run goes on with it.
            self.keep = self.possible = False


def look(sealed: Path, url: str) -> Noted | None:
    """What a run before noted, if it is whole; nothing is made or held. Raises `already-sending`."""
    try:
        descriptor = open_to_look(_path(sealed, url))
    except InUseError:
        raise _in_use(sealed) from None
    if descriptor is None:
        return None
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _path(sealed: Path, url: str) -> Path:
    return sealed.with_name(f".{sealed.name}.{sha256(url.encode()).hex()[:16]}.sending")


def _in_use(sealed: Path) -> ToolError:
    return ToolError(Code.ALREADY_SENDING, f"another run is sending {sealed} there", "wait for it")


def _read(descriptor: int) -> Noted | None:
    lines = os.pread(descriptor, MAX_BYTES, 0).split(b"\n")
    # What follows the last line break was not written whole.
    values = [_object(line) for line in lines[:-1]]
    upload = _upload(values[0]) if values else None
    if upload is None:
        return None
    parts: dict[int, Answers] = {}
    for value in values[1:]:
        number, answers = value.get("part"), _answers(value.get("answers"))
        if isinstance(number, int) and answers is not None:
            parts[number] = answers
    return upload, parts


def _object(line: bytes) -> dict[str, object]:
    try:
        return strict_json(line, MAX_LINE_BYTES)
    except FormatError:
        return {}


def _upload(value: dict[str, object]) -> Upload | None:
    file, name, size = value.get("file"), value.get("id"), value.get("partSize")
    if (
        value.get("version") != VERSION
        or not isinstance(file, str)
        or not isinstance(name, str)
        or not isinstance(size, int)
        or max(len(file), len(name)) > MAX_TEXT
    ):
        return None
    return Upload(file, name, size)


def _answers(value: object) -> Answers | None:
    if not isinstance(value, dict) or not isinstance(value.get("ETag"), str):
        return None
    return {str(name): text for name, text in value.items() if isinstance(text, str)}
