# SPDX-License-Identifier: Apache-2.0
"""`sealroom console`: serve the REST interface and the web pages."""

from __future__ import annotations

import json
import logging
import socket
from pathlib import Path

import click
import uvicorn

from sealroom.encoding import normal_address
from sealroom.errors import FormatError
from sealroom_agents.chain import ChainReader
from sealroom_agents.console.app import LOCAL_HOSTS, create_app
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.store import DEFAULT_URL, Store

DEFAULT_PORT = 8080
KEEP_ALIVE_S = 5
"""How long an idle connection stays open, seconds."""
SHUTDOWN_S = 2
"""How long open answers, such as event streams, may take when the process is told to end, seconds."""
MAX_CONNECTIONS = 256
MAX_HEAD_BYTES = 16 * 1024
"""Largest request head."""


@click.command()
@click.option("--rpc", "rpcs", required=True, multiple=True, metavar="URL", help="RPC endpoint; repeatable.")
@click.option("--factory", required=True, metavar="ADDRESS", help="The factory whose consortia are shown.")
@click.option(
    "--database", default=DEFAULT_URL, show_default=True, metavar="URL", help="SQLite or PostgreSQL."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535), help="0 takes any."
)
@click.option(
    "--allowed-host", "allowed", multiple=True, metavar="NAME", help="Name it is reached by; repeatable."
)
@click.option("--from-block", default=0, show_default=True, help="Block of the factory's deployment.")
@click.option("--ready-file", type=click.Path(path_type=Path), help='Written when it listens: {"url": …}.')
def command(
    rpcs: tuple[str, ...],
    factory: str,
    database: str,
    host: str,
    port: int,
    allowed: tuple[str, ...],
    from_block: int,
    ready_file: Path | None,
) -> None:
    """Serve the REST interface and the web pages.

    The console holds no key. It has no accounts either: put a proxy that authenticates in front of it where
    not everyone who can reach it may submit runs.

    \b
    Example:
      sealroom console --rpc URL --factory 0x… --port 8080
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        address = normal_address(factory)
    except FormatError as error:
        raise ConfigurationError("configuration", f"{factory!r} is no address: {error.message}") from error
    app = create_app(
        Store(database),
        ChainReader(list(rpcs)),
        factory=address,
        allowed_hosts=(*LOCAL_HOSTS, host, *allowed),
        from_block=from_block,
    )
    try:
        listener = socket.create_server((host, port), reuse_port=False)
    except OSError as error:
        raise ConfigurationError("listen", f"cannot listen on {host}:{port}: {error.strerror}") from error
    url = f"http://{host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        app,
        log_level="warning",
        server_header=False,
        access_log=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    _Server(config, url=url, ready_file=ready_file).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, *, url: str, ready_file: Path | None) -> None:
        super().__init__(config)
        self._url = url
        self._ready_file = ready_file

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        click.echo(f"console at {self._url}", err=True)
        if self._ready_file is not None:
            partial = self._ready_file.with_name(f".{self._ready_file.name}.partial")
            partial.write_text(json.dumps({"url": self._url}))
            partial.replace(self._ready_file)
