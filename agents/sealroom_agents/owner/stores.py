# SPDX-License-Identifier: Apache-2.0
"""Where sealed files are sent and fetched from, by URL: http(s) by `web`, every other store by fsspec.

http(s) doesn't go through fsspec's own client: that one follows redirects by itself and sends an upload in
pieces of unknown number, which stores with signed URLs refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.object_stores import PackageMissing, foreign_errors, open_store
from sealroom_agents.owner import web
from sealroom_agents.owner.web import CHUNK_BYTES, Incoming, shown

WEB = frozenset({"http", "https"})
STORES = frozenset({"file", "memory", "s3"})


def require_supported(url: str) -> str:
    """The scheme of a URL. Raises `url-unsupported` for any that isn't named here, and for chained ones."""
    scheme, separator, rest = url.partition("://")
    if not separator or not rest or scheme not in WEB | STORES:
        raise ToolError(
            Code.URL_UNSUPPORTED,
            f"{shown(url) if separator else url} is no URL that sealed files go to",
            "s3://BUCKET/KEY, https://HOST/PATH or file:///PATH",
        )
    return scheme


@contextmanager
def reading(url: str) -> Iterator[Incoming]:
    """Open a URL for reading. Raises `ToolError`: `url-unsupported`, `remote-missing`, `remote-refused`,
    `remote-unreachable`, `redirect-refused`, `package-missing`."""
    if require_supported(url) in WEB:
        with web.reading(url) as incoming:
            yield incoming
        return
    store, path = _store(url)
    with _store_errors(url):
        size = store.info(path).get("size")
        stream = store.open(path, "rb")
    with stream:
        yield Incoming(int(size) if size is not None else None, _chunks(stream, url))


def write(url: str, chunks: Iterator[bytes], size: int, *, overwrite: bool) -> None:
    """Send `size` bytes; they appear whole or not at all. Raises as `reading`, and `remote-exists`."""
    if require_supported(url) in WEB:
        web.write(url, chunks, size)
        return
    store, path = _store(url)
    with _store_errors(url):
        if not overwrite and store.exists(path):
            raise ToolError(
                Code.REMOTE_EXISTS, f"{shown(url)} is there already", "another name, or --overwrite"
            )
        # Closing a file of an object store publishes it, even after an error; a transaction does not.
        with store.transaction, store.open(path, "wb") as stream:
            for chunk in chunks:
                stream.write(chunk)


def _store(url: str) -> tuple[Any, str]:
    try:
        return open_store(url)
    except PackageMissing as error:
        raise ToolError(Code.PACKAGE_MISSING, str(error), error.install) from None


def _chunks(stream: Any, url: str) -> Iterator[bytes]:
    with _store_errors(url):
        while chunk := stream.read(CHUNK_BYTES):
            yield chunk


@contextmanager
def _store_errors(url: str) -> Iterator[None]:
    """What a store raises, as ours: it may name a path or a bucket, never a secret."""
    try:
        yield
    except FileNotFoundError:
        raise ToolError(Code.REMOTE_MISSING, f"{shown(url)} is not there") from None
    except PermissionError:
        raise _refused(url) from None
    except OSError as error:
        raise ToolError(
            Code.REMOTE_UNREACHABLE, f"{shown(url)}: {error.strerror or type(error).__name__}"
        ) from None
    except foreign_errors() as error:
        raise ToolError(
            Code.REMOTE_UNREACHABLE,
            f"{shown(url)}: {type(error).__name__}",
            "check the store's endpoint and credentials",
        ) from None


def _refused(url: str) -> ToolError:
    return ToolError(Code.REMOTE_REFUSED, f"{shown(url)} is not ours to use", "check the store's credentials")
