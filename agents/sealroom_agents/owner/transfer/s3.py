# SPDX-License-Identifier: Apache-2.0
"""Sealed files in S3 and what speaks as it does: read in ranges, and what every call of it shares.

s3fs finds endpoint, region and credentials as other tools do, and signs. Its own way of writing and boto3's
cannot go on after a kill, so `s3_parts` calls S3 itself, through s3fs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.object_stores import PackageMissing, open_store
from sealroom_agents.owner.transfer.incoming import FIRST_BYTES, Sink, Window, changed, range_of, refused
from sealroom_agents.owner.transfer.pace import BUSY, Patience, busy, unreachable

CHUNK_BYTES = 256 * 1024
SLOWEST_BYTES_A_S = 16 * 1024
"""How fast a body must at least be taken: a call may last as long as that."""


class S3Refusal(ToolError):
    """S3 refuses; `word` is its own code, and `status` the one of HTTP."""

    word = ""
    status = 0


class Bucket:
    """One key of one bucket, and the connections to it."""

    def __init__(self, store: Any, bucket: str, key: str, place: str, patience: Patience) -> None:
        self._store = store
        self._where = {"Bucket": bucket, "Key": key}
        self.place = place
        self.patience = patience

    async def call(
        self, method: str, *, body: bytes | bytearray | None = None, **options: Any
    ) -> dict[str, Any]:
        """One call of S3's interface, tried again while the store is busy.

        Raises `S3Refusal`, and `Transient` `remote-unreachable`."""
        return await self.patience.with_tries(lambda: self.once(method, body=body, **options))

    async def once(
        self, method: str, *, body: bytes | bytearray | None = None, **options: Any
    ) -> dict[str, Any]:
        """The same, tried once."""
        # As a stream, which is sent piece by piece; a new one for each try.
        given = options if body is None else {**options, "Body": BytesIO(body)}
        within_s = self.patience.limits.idle_s + len(body or b"") / SLOWEST_BYTES_A_S
        async with self.errors(within_s):
            answer: dict[str, Any] = await self._store._call_s3(method, **self._where, **given)
            return answer
        raise AssertionError("the block returns or raises")

    def said(self, answer: dict[str, Any], name: str) -> Any:
        """What an answer must tell. Raises `remote-refused` where it does not."""
        found = answer.get(name)
        if found in (None, ""):
            raise refused(self.place, f"answers without {name}")
        return found

    @asynccontextmanager
    async def errors(self, within_s: float | None) -> AsyncIterator[None]:
        """What S3 and the libraries below raise, as ours: it may name a bucket, never a secret."""
        try:
            async with asyncio.timeout(within_s):
                yield
        except TimeoutError:
            raise unreachable(self.place, "no answer in time") from None
        except Exception as error:  # botocore raises whatever an answer makes it meet
            raise self._named(error) from None

    def _named(self, error: Exception) -> ToolError:
        answer = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
        if not isinstance(answer, dict):
            if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
                return ToolError(
                    Code.REMOTE_REFUSED,
                    f"{self.place}: no credentials are found",
                    "give them as to other tools: AWS_PROFILE, ~/.aws, or the machine's role",
                )
            return unreachable(self.place, type(error).__name__)
        head = answer.get("ResponseMetadata", {})
        status, word = head.get("HTTPStatusCode", 0), str(answer.get("Error", {}).get("Code", ""))
        if status in BUSY or word in ("SlowDown", "RequestTimeout"):
            return busy(self.place, status, head.get("HTTPHeaders", {}).get("retry-after", ""))
        return _refusal(self.place, status, word)


class S3File:
    """An object as it was when it was opened; `reading` makes it."""

    ranged = True

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._tag: str | None = None
        self.size: int | None = None
        self.first = b""

    async def open(self) -> None:
        """Ask for the first bytes."""
        first = bytearray()
        try:
            stop = await self._take(0, FIRST_BYTES, first)
        except S3Refusal as error:
            if error.status == 416:
                raise refused(self._bucket.place, "is empty") from None
            raise
        if self.size is None or stop != min(FIRST_BYTES, self.size):
            raise refused(self._bucket.place, "answers with another range than was asked for")
        self.first = bytes(first)

    async def read(self, start: int, stop: int, sink: Sink) -> None:
        try:
            if await self._take(start, stop, sink) != stop:
                raise refused(self._bucket.place, "answers with another range than was asked for")
        except S3Refusal as error:
            if error.status in (404, 412, 416):
                raise changed(self._bucket.place) from None
            raise

    async def stream(self, sink: Sink) -> None:
        raise AssertionError("S3 has ranges")

    async def _take(self, start: int, stop: int, sink: Sink | bytearray) -> int:
        bucket = self._bucket
        same: dict[str, Any] = {} if self._tag is None else {"IfMatch": self._tag}
        answer = await bucket.once("get_object", Range=f"bytes={start}-{stop - 1}", **same)
        async with answer["Body"] as body, bucket.patience.moving(bucket.place) as moved:
            end, size = range_of(bucket.place, answer.get("ContentRange", ""), start)
            if self._tag is None:
                self.size, self._tag = size, answer.get("ETag")
            elif size != self.size or answer.get("ETag") != self._tag:
                raise changed(bucket.place)
            if answer.get("ContentEncoding") not in (None, "", "identity", "aws-chunked"):
                raise refused(bucket.place, "sends a compressed body, which was not requested")
            window = Window(bucket.place, end - start, sink.extend if isinstance(sink, bytearray) else sink)
            while chunk := await self._chunk(body):
                window.take(chunk)
                moved(len(chunk))
        window.done()
        return end

    async def _chunk(self, body: Any) -> bytes:
        async with self._bucket.errors(None):
            return bytes(await body.read(CHUNK_BYTES))
        raise AssertionError("the block returns or raises")


@asynccontextmanager
async def bucket_at(url: str, place: str, patience: Patience, parallel: int) -> AsyncIterator[Bucket]:
    """The key that a URL names. Raises `package-missing`, `url-unsupported`."""
    limits = patience.limits
    config = {
        "connect_timeout": limits.connect_s,
        "read_timeout": limits.idle_s,
        "retries": {"total_max_attempts": 1},
        "max_pool_connections": parallel + 1,
    }
    try:
        store, path = open_store(url, asynchronous=True, skip_instance_cache=True, config_kwargs=config)
    except PackageMissing as error:
        raise ToolError(Code.PACKAGE_MISSING, str(error), error.install) from None
    store.retries = 1  # `Patience` tries again, and counts
    bucket, key, _ = store.split_path(path)
    if not key:
        raise ToolError(Code.URL_UNSUPPORTED, f"{place} names no file", "s3://BUCKET/KEY")
    found = Bucket(store, bucket, key, place, patience)
    async with found.errors(limits.connect_s + limits.idle_s):
        client = await store.set_session()
    try:
        yield found
    finally:
        await client.close()


@asynccontextmanager
async def reading(url: str, place: str, patience: Patience, parallel: int) -> AsyncIterator[S3File]:
    """Open an object for reading."""
    async with bucket_at(url, place, patience, parallel) as bucket:

        async def opened() -> S3File:
            found = S3File(bucket)
            await found.open()
            return found

        yield await patience.with_tries(opened)


def _refusal(place: str, status: int, word: str) -> ToolError:
    if word == "NoSuchBucket":
        error = S3Refusal(Code.REMOTE_MISSING, f"{place}: no such bucket", "check bucket and endpoint")
    elif status == 404:
        error = S3Refusal(Code.REMOTE_MISSING, f"{place} is not there", "check bucket, key and endpoint")
    elif status in (401, 403):
        error = S3Refusal(Code.REMOTE_REFUSED, f"{place} is not ours to use", "check the store's credentials")
    else:
        shown = word if word.isalnum() and len(word) < 60 else str(status)
        error = S3Refusal(Code.REMOTE_REFUSED, f"{place} refuses: {shown}", "check bucket, key and endpoint")
    error.word, error.status = word, status
    return error
