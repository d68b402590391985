# SPDX-License-Identifier: Apache-2.0
"""Which URLs sealed files are sent to and fetched from, what may be printed of one, and how many requests go
there at a time. Nothing is asked here."""

from __future__ import annotations

from urllib.parse import urlsplit

from sealroom.codes import Code
from sealroom_agents.errors import ToolError

WEB = frozenset({"http", "https"})
STORES = frozenset({"file", "memory", "s3"})
PARALLEL = 4
"""Requests at a time, unless another number is asked for."""
MAX_PARALLEL = 64
"""More than this no store takes from one caller."""


def require_supported(url: str) -> str:
    """The scheme of a URL. Raises `url-unsupported` for any that isn't named here, for chained ones, and for
    a folder of a store."""
    scheme, separator, rest = url.partition("://")
    if not separator or not rest or scheme not in WEB | STORES:
        raise ToolError(
            Code.URL_UNSUPPORTED,
            f"{shown(url) if separator else url} is no URL that sealed files go to",
            "s3://BUCKET/KEY, https://HOST/PATH or file:///PATH",
        )
    if scheme in STORES and rest.endswith("/"):
        raise ToolError(
            Code.URL_UNSUPPORTED, f"{shown(url)} is a folder", f"name the file in it: {shown(url)}NAME.tar"
        )
    return scheme


def shown(url: str) -> str:
    """Scheme, host and path: a signed URL carries its permission in the query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{url.partition(':')[0]}://…"
    return f"{parts.scheme}://{(parts.netloc or '').rpartition('@')[2]}{parts.path}"
