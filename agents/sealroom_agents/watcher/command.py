# SPDX-License-Identifier: Apache-2.0
"""`sealroom watcher`: a poll of the chain for each block, every second at least, and a heartbeat after it."""

from __future__ import annotations

import logging
from threading import Event

from prometheus_client import Counter

from sealroom.codes import Code
from sealroom_agents.chain import ChainReader
from sealroom_agents.config import Config, process_command, required
from sealroom_agents.errors import AgentError, ConfigurationError
from sealroom_agents.host import announce, on_signals, read_token
from sealroom_agents.index import Indexed
from sealroom_agents.store import Store
from sealroom_agents.telemetry import looks
from sealroom_agents.telemetry.conditions import Conditions, Look
from sealroom_agents.telemetry.logs import log_to_stderr
from sealroom_agents.telemetry.metrics import at_zero, serve_metrics
from sealroom_agents.watcher.lookout import Lookout
from sealroom_agents.watcher.service import HttpGate, Watcher

LOOK_EVERY_S = 5.0
"""Seconds between two looks at what owners should know of, one consortium each."""
HEARTBEAT_AGE_S = 30
"""Seconds without a heartbeat after which it is not ready. A gate renews nothing after as many as its
platform policy says, 15 to 60."""
POLL_TIMEOUT_S = 5.0
"""How long one question to a node may take, seconds."""

POLLS = Counter("sealroom_watcher_polls", "Polls of the watcher, by outcome.", ["outcome"])
at_zero(POLLS, ("heartbeat", "no-heartbeat", "failed"))

log = logging.getLogger("sealroom_agents.watcher")


@process_command("watcher")
def command(config: Config) -> None:
    """Follow the chain, and end what was revoked.

    Reads the state of consortia at the newest block of every endpoint, orders running runs to be killed when
    an owner revoked or another roster or platform governs, and tells the gate after each poll which
    consortia it saw. Writes down what owners should know of: a seat or a dataset that is offered or moved,
    and a roster that would remove an owner.
    Follows those with runs under way, and those of the factory that adopted this gate; with --consortium
    exactly those that are named. A poll takes at most 256; more take turns.

    \b
    Example:
      sealroom watcher --rpc URL --factory 0x… --gate URL --watch-token-file watch.token
    """
    log_to_stderr(config.log.format)
    settings, nodes = required(config.watcher, "watcher", "watch_token_file"), config.chain
    if nodes.factory is None and not settings.consortia:
        raise ConfigurationError(Code.CONFIGURATION, "nothing to follow", "give --factory, or --consortium")
    store = Store(config.database.clear)

    def reader() -> ChainReader:
        return ChainReader(
            nodes.urls, timeout_s=POLL_TIMEOUT_S, quorum=nodes.quorum, private_chain=nodes.private_chain
        )

    chain = reader()
    watcher = Watcher(
        chain,
        store,
        HttpGate(settings.gate, read_token(settings.watch_token_file)),
        factory=nodes.factory,
        only=settings.consortia,
    )
    stop = Event()
    on_signals(stop.set)
    # With a reader of its own: what slows it, or makes it doubt a node, is no matter of the polls.
    own = reader()
    indexed = None if nodes.factory is None else Indexed(store, nodes.factory)
    lookout = Lookout(own, store, watcher.followed, indexed=indexed)
    waiting = [settings.ready_file]

    def poll() -> tuple[bool, str]:
        try:
            found = watcher.poll()
        except AgentError as error:
            POLLS.labels("failed").inc()
            log.warning("no heartbeat: %s", error.message)
            raise
        if found.trouble is not None:
            log.warning("the database: %s; the gate is told all the same", found.trouble.message)
        POLLS.labels("heartbeat" if found.heartbeat else "no-heartbeat").inc()
        if waiting and found.heartbeat:
            announce(waiting.pop(), consortia=found.consortia)
        return found.heartbeat, f"{found.consortia} consortia were seen"

    def look() -> None:
        try:
            lookout.look()
        except AgentError as error:
            log.warning("no look at what owners should know of: %s", error.message)

    heartbeat = Look("heartbeat", poll, hint="look at gate and endpoints", good_for_s=HEARTBEAT_AGE_S)
    database = looks.at_database(store)
    conditions = Conditions([heartbeat.check, database.check])
    looks.shown(chain, conditions, view=heartbeat)
    serve_metrics(settings.metrics, conditions)
    heartbeat.look()
    jobs = looks.periodic(database)
    jobs.paced(lambda: watcher.pause(settings.every), heartbeat.look)
    jobs.every(LOOK_EVERY_S, look)
    jobs.start()
    stop.wait()
    jobs.close()
