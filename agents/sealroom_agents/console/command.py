# SPDX-License-Identifier: Apache-2.0
"""`sealroom console`: serve the REST interface and the web pages."""

from __future__ import annotations

import click

from sealroom_agents.chain import ChainReader
from sealroom_agents.config import Config, process_command, required
from sealroom_agents.console.app import LOCAL_HOSTS, create_app
from sealroom_agents.host import announce, listen, serve
from sealroom_agents.index import Follower, Indexed, following
from sealroom_agents.store import Store
from sealroom_agents.telemetry import looks
from sealroom_agents.telemetry.conditions import Conditions
from sealroom_agents.telemetry.logs import log_to_stderr
from sealroom_agents.telemetry.metrics import serve_metrics

KEEP_ALIVE_S = 5
"""How long an idle connection stays open, seconds."""
SHUTDOWN_S = 2
"""How long open answers, such as event streams, may take when the process is told to end, seconds."""


@process_command("console")
def command(config: Config) -> None:
    """Serve the REST interface and the web pages.

    One console of a database follows the chain into it, block by block; further ones show what it reads, and
    take over when it ends. Pages ask no node, and say so when what they show is behind.
    The console holds no key. It has no accounts either: put a proxy that authenticates in front of it where
    not everyone who can reach it may submit runs.

    \b
    Example:
      sealroom console --rpc URL --factory 0x… --port 8080
    """
    log_to_stderr(config.log.format)
    settings, nodes = required(config.console, "console", "port"), config.chain
    store, factory = (
        Store(config.database.clear, config.database.content),
        required(nodes.factory, "chain", "factory"),
    )
    chain = ChainReader(nodes.urls, private_chain=nodes.private_chain)
    seen = (looks.at_chain(chain), looks.at_database(store))
    conditions = Conditions([one.check for one in seen])
    jobs = looks.periodic(*seen)
    looks.shown(chain, conditions)
    app = create_app(
        store,
        chain,
        Indexed(store, factory),
        conditions=conditions,
        allowed_hosts=(*LOCAL_HOSTS, settings.host, *settings.allowed_hosts),
    )
    # With a reader of its own, so that nothing else waits for it.
    own = ChainReader(nodes.urls, private_chain=nodes.private_chain)
    follower = Follower(own, store, factory=factory, from_block=settings.from_block)
    with following(follower), listen(settings.host, settings.port) as (listener, url):
        serve_metrics(settings.metrics, conditions)
        jobs.start()

        def ready() -> None:
            click.echo(f"console at {url}", err=True)
            announce(settings.ready_file, url=url)

        serve(app, listener, ready=ready, keep_alive_s=KEEP_ALIVE_S, shutdown_s=SHUTDOWN_S)
        jobs.close()
