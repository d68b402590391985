# SPDX-License-Identifier: Apache-2.0
"""`sealroom console`: serve the REST interface and the web pages."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path

import click

from sealroom.codes import Code
from sealroom_agents.attestation import INTEL, DirectoryCollateral, PccsCollateral
from sealroom_agents.attestation.pccs import Pccs
from sealroom_agents.chain import ChainReader
from sealroom_agents.config import Config, process_command, required
from sealroom_agents.config.model import DEFAULT_PCCS, Console
from sealroom_agents.console.app import LOCAL_HOSTS, create_app
from sealroom_agents.console.how import Recordings
from sealroom_agents.console.identity import AttestedIdentity, Identity
from sealroom_agents.console.pins import read_pins
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.guest_socket import connect_guest
from sealroom_agents.host import announce, listen, read_key, serve
from sealroom_agents.index import Follower, Indexed, following
from sealroom_agents.signed_answers import AnswerKey
from sealroom_agents.store import Store
from sealroom_agents.store.retention import Retention
from sealroom_agents.telemetry import looks
from sealroom_agents.telemetry.conditions import Conditions
from sealroom_agents.telemetry.logs import log_to_stderr
from sealroom_agents.telemetry.metrics import serve_metrics

KEEP_ALIVE_S = 5
"""How long an idle connection stays open, seconds."""
FORGET_EVERY_S = 3600.0
"""Seconds between two times at which what is old is forgotten."""
FORGET_JITTER_S = 300.0
log = logging.getLogger(__name__)

SHUTDOWN_S = 2
"""How long open answers, such as event streams, may take when the process is told to end, seconds."""


@process_command("console")
def command(config: Config) -> None:
    """Serve the REST interface and the web pages.

    One console of a database follows the chain into it, block by block; further ones show what it reads, and
    take over when it ends. Pages ask no node, and say so when what they show is behind.
    Every answer is signed. With --attested the key is the confidential VM's own, and `GET /v1/console` proves
    it; with --signing-key it is a file's, of which the operator tells those who ask. No other key is here.

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
    chain = ChainReader(nodes.urls, quorum=nodes.quorum, private_chain=nodes.private_chain)
    indexed, view = Indexed(store, factory), looks.at_chain(chain)
    seen = (view, looks.at_database(store), looks.at_index(indexed.progress))
    conditions = Conditions([one.check for one in seen])
    identity = identity_of(settings, config.simulator.platform, chain)
    jobs = looks.periodic(*seen)
    retention = Retention(store, keep_days=settings.keep_days)
    jobs.every(FORGET_EVERY_S, retention.forget, jitter_s=FORGET_JITTER_S)
    looks.shown(chain, conditions, view=view)
    app = create_app(
        store,
        chain,
        indexed,
        conditions=conditions,
        identity=identity,
        pins=read_pins(settings.pins),
        how=Recordings(settings.how),
        allowed_hosts=(*LOCAL_HOSTS, settings.host, *settings.allowed_hosts),
    )
    # With a reader of its own, so that nothing else waits for it.
    own = ChainReader(nodes.urls, quorum=nodes.quorum, private_chain=nodes.private_chain)
    follower = Follower(own, store, factory=factory, from_block=settings.from_block)
    with following(follower), listen(settings.host, settings.port) as (listener, url):
        serve_metrics(settings.metrics, conditions)
        jobs.start()

        def ready() -> None:
            click.echo(f"console at {url}", err=True)
            announce(settings.ready_file, url=url)

        serve(app, listener, ready=ready, keep_alive_s=KEEP_ALIVE_S, shutdown_s=SHUTDOWN_S)
        jobs.close()


def identity_of(settings: Console, platform: Path | None, chain: ChainReader) -> Identity:
    """The key that signs answers, as it is configured. Raises `ConfigurationError`, `AttestationError`."""
    if settings.attested and settings.signing_key is not None:
        raise ConfigurationError(
            Code.CONFIGURATION, "--attested and --signing-key are two keys", "give one of the two"
        )
    if not settings.attested:
        if settings.signing_key is not None:
            return Identity(AnswerKey(read_key(settings.signing_key)))
        log.warning("answers are signed by a key of this process alone: see --signing-key, --attested")
        return Identity()
    chain_id = chain.chain_id()
    guest = connect_guest(chain_id=chain_id, environment=os.environ, guest_agent=settings.guest_agent)
    if platform is not None and settings.pccs is None:
        return AttestedIdentity(guest, chain_id=chain_id, collateral=DirectoryCollateral(platform))
    pccs = Pccs(settings.pccs or DEFAULT_PCCS)
    folder = Path(tempfile.mkdtemp(prefix="sealroom-collateral-"))
    collateral = PccsCollateral(pccs, trust=INTEL, folder=folder, clock=lambda: int(time.time()))
    return AttestedIdentity(guest, chain_id=chain_id, collateral=collateral)
