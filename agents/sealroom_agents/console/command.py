# SPDX-License-Identifier: Apache-2.0
"""`sealroom console`: serve the REST interface and the web pages."""

from __future__ import annotations

from pathlib import Path

import click

from sealroom_agents.chain import ChainReader
from sealroom_agents.chains import private_chain_option
from sealroom_agents.console.app import LOCAL_HOSTS, create_app
from sealroom_agents.host import address_option, announce, listen, log_to_stderr, serve
from sealroom_agents.storage_options import database_option
from sealroom_agents.store import Store

DEFAULT_PORT = 8080
KEEP_ALIVE_S = 5
"""How long an idle connection stays open, seconds."""
SHUTDOWN_S = 2
"""How long open answers, such as event streams, may take when the process is told to end, seconds."""


@click.command()
@click.option("--rpc", "rpcs", required=True, multiple=True, metavar="URL", help="RPC endpoint; repeatable.")
@private_chain_option
@click.option("--factory", required=True, metavar="ADDRESS", help="The factory whose consortia are shown.")
@database_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535), help="0 takes any."
)
@click.option(
    "--allowed-host", "allowed", multiple=True, metavar="NAME", help="Name it is reached by; repeatable."
)
@click.option("--ready-file", type=click.Path(path_type=Path), help='Written when it listens: {"url": …}.')
def command(
    rpcs: tuple[str, ...],
    private_chain: int | None,
    factory: str,
    database: str,
    host: str,
    port: int,
    allowed: tuple[str, ...],
    ready_file: Path | None,
) -> None:
    """Serve the REST interface and the web pages.

    The console holds no key. It has no accounts either: put a proxy that authenticates in front of it where
    not everyone who can reach it may submit runs.

    \b
    Example:
      sealroom console --rpc URL --factory 0x… --port 8080
    """
    log_to_stderr()
    app = create_app(
        Store(database),
        ChainReader(list(rpcs), private_chain=private_chain),
        factory=address_option(factory, "factory"),
        allowed_hosts=(*LOCAL_HOSTS, host, *allowed),
    )
    with listen(host, port) as (listener, url):

        def ready() -> None:
            click.echo(f"console at {url}", err=True)
            announce(ready_file, url=url)

        serve(app, listener, ready=ready, keep_alive_s=KEEP_ALIVE_S, shutdown_s=SHUTDOWN_S)
