# SPDX-License-Identifier: Apache-2.0
"""An application over real HTTP, in a thread of the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from sealroom_agents.host import listen


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """An application on a free port, in a thread."""
    with listen("127.0.0.1", 0) as (listener, url):
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join()
