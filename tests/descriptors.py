# SPDX-License-Identifier: Apache-2.0
"""A process that holds many descriptors, as one does that serves many connections."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator

SELECT_MOST = 1024
"""select(2) refuses descriptors from this number on."""


@contextlib.contextmanager
def many() -> Iterator[None]:
    """Whatever is opened inside has a number that select refuses."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    held: list[int] = []
    try:
        while not held or held[-1] < SELECT_MOST:
            held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
