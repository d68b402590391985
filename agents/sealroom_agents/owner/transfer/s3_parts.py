# SPDX-License-Identifier: Apache-2.0
"""Sending a sealed file to S3: in parts, several at a time, and on from where a run before was stopped.

Nothing appears under the key before all was sent and compared: S3 shows an upload in parts once it is
completed. What a run leaves pending is found again by the run's notes, and by nothing else: another's upload
to the same key is not touched.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from sealroom.errors import SealroomError
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.transfer.gathering import first_of
from sealroom_agents.owner.transfer.notes import Answers, Noted, Notes, Upload
from sealroom_agents.owner.transfer.outgoing import Outgoing
from sealroom_agents.owner.transfer.pace import Transient
from sealroom_agents.owner.transfer.places import Exists, There, exists
from sealroom_agents.owner.transfer.s3 import Bucket, S3Refusal

MIN_PART_BYTES = 16 * 1024 * 1024
"""Our smallest part. S3 takes 5 MiB to 5 GiB, and R2 wants all but the last equal."""
MAX_PARTS = 10_000
"""The most that S3 takes."""
MIB = 1024 * 1024
_MD5 = re.compile(r"[0-9a-f]{32}")
_SUMS = ("ETag", "ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256")
"""What S3 answers for a part, and wants to hear again when the upload is completed."""


def part_bytes(size: int) -> int:
    """Bytes of each part but the last, for a file of `size` bytes."""
    return max(MIN_PART_BYTES, -(-size // (MAX_PARTS * MIB)) * MIB)


async def send(
    bucket: Bucket,
    outgoing: Outgoing,
    notes: Notes,
    *,
    overwrite: bool,
    parallel: int,
    progress: Callable[[int], None],
) -> int:
    """Send all of it. Returns how many bytes were there of a run before. Raises `remote-exists`, what
    `Outgoing.pieces` raises, and what S3 says."""
    if not overwrite and await _is_there(bucket):
        raise exists(bucket.place)
    size = part_bytes(outgoing.size)
    if outgoing.size <= size:
        await _whole(bucket, outgoing, overwrite=overwrite, progress=progress)
        return 0
    pending = await _resumed(bucket, outgoing, notes, size)
    if pending is None:
        begun = await bucket.call("create_multipart_upload", ContentType="application/x-tar")
        pending = _Pending(bucket, Upload(outgoing.identity.hex(), bucket.said(begun, "UploadId"), size), {})
        notes.begin(pending.upload)
    try:
        kept = await pending.send(outgoing, notes, parallel, progress)
        await pending.complete(overwrite=overwrite)
    except BaseException as error:
        if _is_final(error) or not notes.possible:
            with suppress(ToolError):  # what went wrong first is what is told
                await pending.abort()
                notes.forget()
        raise
    notes.forget()
    return kept


def _is_final(error: BaseException) -> bool:
    """Whether another run could not go on either: the file is broken, or something lies there."""
    return isinstance(error, SealroomError) and not isinstance(error, Transient | S3Refusal)


async def look(bucket: Bucket, outgoing: Outgoing, noted: Noted | None, *, overwrite: bool) -> There:
    """What the store has, of all this and of a run before; nothing is changed. Raises `remote-exists`."""
    known, found = await _lies_there(bucket)
    if found is not None and not overwrite:
        raise exists(bucket.place)
    size = part_bytes(outgoing.size)
    held: dict[int, int] = {}
    if noted is not None and outgoing.size > size and _is_of(noted[0], outgoing, size):
        pending = await _still_there(bucket, outgoing, noted)
        held = {} if pending is None else _lengths(pending.numbers, outgoing.size, size)
    parts = max(1, -(-outgoing.size // size))
    return There(known, found, parts, len(held), sum(held.values()))


async def _is_there(bucket: Bucket) -> bool:
    return (await _lies_there(bucket))[1] is not None


async def _lies_there(bucket: Bucket) -> tuple[bool, int | None]:
    """Whether the store tells, and the bytes of what lies under the key."""
    try:
        answer = await bucket.call("head_object")
    except S3Refusal as error:
        if error.status == 404:
            return True, None
        # Whoever may only write is not told. The condition at the end decides.
        if error.status != 403:
            raise
        return False, None
    length = answer.get("ContentLength")
    return True, length if isinstance(length, int) else 0


async def _whole(
    bucket: Bucket, outgoing: Outgoing, *, overwrite: bool, progress: Callable[[int], None]
) -> None:
    """A file of one part, in one call."""
    (body,) = await asyncio.to_thread(lambda: list(outgoing.blocks(outgoing.size)))
    await _conditional(bucket, "put_object", overwrite, body=body, ContentType="application/x-tar")
    progress(len(body))


async def _conditional(bucket: Bucket, method: str, overwrite: bool, **options: Any) -> None:
    """Make an object, only where none is. A store that doesn't know this condition was asked before."""
    if not overwrite:
        try:
            await bucket.call(method, IfNoneMatch="*", **options)
            return
        except S3Refusal as error:
            if error.status == 412:
                raise exists(bucket.place) from None
            if error.status != 501 and error.word not in ("NotImplemented", "InvalidArgument"):
                raise
    await bucket.call(method, **options)


async def _resumed(bucket: Bucket, outgoing: Outgoing, notes: Notes, size: int) -> _Pending | None:
    """The upload that a run before left, with those parts that the store still has as they were sent."""
    found = notes.read()
    if found is None:
        return None
    if not _is_of(found[0], outgoing, size):
        # Of another file that lay here, or of another version of this program: of no use, and ours.
        with suppress(S3Refusal):
            await _Pending(bucket, found[0], {}).abort()
        return None
    return await _still_there(bucket, outgoing, found)


def _is_of(upload: Upload, outgoing: Outgoing, size: int) -> bool:
    """Whether an upload is of this very file, in parts of this size."""
    return upload.file == outgoing.identity.hex() and upload.part_size == size


async def _still_there(bucket: Bucket, outgoing: Outgoing, found: Noted) -> _Pending | None:
    upload, noted = found
    try:
        listed = await _listed(bucket, upload)
    except S3Refusal as error:
        if error.status == 404:
            return None  # it was completed, or given up; or the store forgot it
        raise
    lengths = _lengths(noted, outgoing.size, upload.part_size)
    trusted = {
        number: answers
        for number, answers in noted.items()
        if number in lengths and listed.get(number) == (answers["ETag"], lengths[number])
    }
    return _Pending(bucket, upload, trusted)


def _lengths(numbers: Iterable[int], whole: int, size: int) -> dict[int, int]:
    """Bytes of each of these parts that the file has; they count from 1."""
    there = (number for number in numbers if number >= 1 and (number - 1) * size < whole)
    return {number: min(size, whole - (number - 1) * size) for number in there}


async def _listed(bucket: Bucket, upload: Upload) -> dict[int, tuple[str, int]]:
    """Tag and length of each part that the store holds."""
    found: dict[int, tuple[str, int]] = {}
    after = 0
    while True:
        answer = await bucket.call("list_parts", UploadId=upload.id, PartNumberMarker=after)
        for part in answer.get("Parts", []):
            number, tag = bucket.said(part, "PartNumber"), bucket.said(part, "ETag")
            found[number] = (tag, bucket.said(part, "Size"))
        marker = int(answer.get("NextPartNumberMarker") or 0)
        # No list is longer than an upload may be.
        if not answer.get("IsTruncated") or not after < marker < MAX_PARTS:
            return found
        after = marker


class _Pending:
    """An upload in parts that is not completed."""

    def __init__(self, bucket: Bucket, upload: Upload, sent: dict[int, Answers]) -> None:
        self._bucket = bucket
        self.upload = upload
        self._sent = dict(sent)

    @property
    def numbers(self) -> list[int]:
        """The parts that the store has."""
        return sorted(self._sent)

    async def send(
        self, outgoing: Outgoing, notes: Notes, parallel: int, progress: Callable[[int], None]
    ) -> int:
        """Send what the store has not, and return how many bytes it had. All is read, since only what was
        compared is ever completed."""
        kept, slots = 0, asyncio.Semaphore(parallel)
        blocks = enumerate(outgoing.blocks(self.upload.part_size), start=1)

        async def one(number: int, block: bytearray) -> None:
            try:
                answer = await self._bucket.call(
                    "upload_part", UploadId=self.upload.id, PartNumber=number, body=block
                )
            finally:
                slots.release()
            self._bucket.said(answer, "ETag")
            self._sent[number] = {name: answer[name] for name in _SUMS if answer.get(name)}
            notes.sent(number, self._sent[number])
            progress(len(block))

        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await slots.acquire()
                    following = await asyncio.to_thread(next, blocks, None)
                    if following is None:
                        break
                    number, block = following
                    if number in self._sent:
                        slots.release()
                        kept += len(block)
                        progress(len(block))
                    else:
                        group.create_task(one(number, block))
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None
        return kept

    async def complete(self, *, overwrite: bool) -> None:
        """Make it an object."""
        parts = [{"PartNumber": number, **self._sent[number]} for number in sorted(self._sent)]
        options = {"UploadId": self.upload.id, "MultipartUpload": {"Parts": parts}}
        try:
            await _conditional(self._bucket, "complete_multipart_upload", overwrite, **options)
        except (S3Refusal, Exists):
            # The answer to our own completing may have been lost, and the second one is no.
            if not await self._stands():
                raise

    async def _stands(self) -> bool:
        """Whether the object is the one that our parts make, by the tag that S3 gives such an object."""
        tags = [self._sent[number]["ETag"].strip('"') for number in sorted(self._sent)]
        if any(_MD5.fullmatch(tag) is None for tag in tags):
            return False
        made = hashlib.md5(b"".join(map(bytes.fromhex, tags)), usedforsecurity=False)
        try:
            found = await self._bucket.call("head_object")
        except ToolError:
            return False
        return bool(found.get("ETag", "").strip('"') == f"{made.hexdigest()}-{len(tags)}")

    async def abort(self) -> None:
        """Have the store forget it. One that it doesn't know is none to forget."""
        try:
            await self._bucket.call("abort_multipart_upload", UploadId=self.upload.id)
        except S3Refusal as error:
            if error.status != 404:
                raise
