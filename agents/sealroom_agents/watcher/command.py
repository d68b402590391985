# SPDX-License-Identifier: Apache-2.0
"""`sealroom watcher`: one poll of the chain every second, and a heartbeat to the gate after each."""

from __future__ import annotations

import logging
from threading import Event

from apscheduler.schedulers.background import BackgroundScheduler

from sealroom.codes import Code
from sealroom_agents.chain import ChainReader
from sealroom_agents.config import Config, process_command, required
from sealroom_agents.errors import AgentError, ConfigurationError
from sealroom_agents.host import announce, log_to_stderr, on_signals, read_token
from sealroom_agents.store import Store
from sealroom_agents.watcher.lookout import Lookout
from sealroom_agents.watcher.service import HttpGate, Watcher

LOOK_EVERY_S = 5.0
"""Seconds between two looks at what owners should know of, one consortium each."""
POLL_TIMEOUT_S = 5.0
"""How long one question to a node may take, seconds."""

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
    log_to_stderr()
    settings, nodes = required(config.watcher, "watcher", "watch_token_file"), config.chain
    if nodes.factory is None and not settings.consortia:
        raise ConfigurationError(Code.CONFIGURATION, "nothing to follow", "give --factory, or --consortium")
    store = Store(config.database.clear)
    watcher = Watcher(
        ChainReader(
            nodes.urls, timeout_s=POLL_TIMEOUT_S, quorum=nodes.quorum, private_chain=nodes.private_chain
        ),
        store,
        HttpGate(settings.gate, read_token(settings.watch_token_file)),
        factory=nodes.factory,
        only=settings.consortia,
    )
    stop = Event()
    on_signals(stop.set)
    # With a reader of its own: what slows it, or makes it doubt a node, is no matter of the polls.
    own = ChainReader(nodes.urls, timeout_s=POLL_TIMEOUT_S, private_chain=nodes.private_chain)
    lookout = Lookout(own, store, watcher.followed)
    scheduler = BackgroundScheduler(timezone="UTC")
    waiting = [settings.ready_file]

    def poll() -> None:
        try:
            found = watcher.poll()
        except AgentError as error:
            log.warning("no heartbeat: %s", error.message)
            return
        if waiting and found.heartbeat:
            announce(waiting.pop(), consortia=found.consortia)

    def look() -> None:
        try:
            lookout.look()
        except AgentError as error:
            log.warning("no look at what owners should know of: %s", error.message)

    # A poll that takes too long is not followed by the ones that it delayed.
    scheduler.add_job(
        poll, "interval", seconds=settings.every, max_instances=1, coalesce=True, misfire_grace_time=None
    )
    scheduler.add_job(
        look, "interval", seconds=LOOK_EVERY_S, max_instances=1, coalesce=True, misfire_grace_time=None
    )
    poll()
    scheduler.start()
    stop.wait()
    scheduler.shutdown(wait=False)
