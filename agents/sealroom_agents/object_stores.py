# SPDX-License-Identifier: Apache-2.0
"""What every use of an object store by fsspec shares: how it is opened, and what it raises."""

from __future__ import annotations

import sys
from typing import Any

PACKAGE_OF = {"s3": "s3fs"}


class PackageMissing(ImportError):
    """A store needs a Python package that is not installed; `install` is what to type."""

    def __init__(self, scheme: str) -> None:
        self.package = PACKAGE_OF.get(scheme, "fsspec")
        self.install = 'pip install "sealroom[s3]"' if scheme == "s3" else f"pip install {self.package}"
        super().__init__(f"{scheme}:// needs the Python package {self.package}")


def open_store(url: str, **options: Any) -> tuple[Any, str]:
    """The file system of a URL, and the path in it. Raises `PackageMissing`."""
    import fsspec

    scheme = url.partition("://")[0]
    if scheme == "file":
        options = {"auto_mkdir": True, **options}
    try:
        store, path = fsspec.core.url_to_fs(url, **options)
    except ImportError:
        raise PackageMissing(scheme) from None
    return store, str(path)


def foreign_errors() -> tuple[type[Exception], ...]:
    """What s3fs lets through of the library below it; asked for only once that was imported."""
    if "botocore" not in sys.modules:
        return ()
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    return BotoCoreError, ClientError, ResponseParserError
