# SPDX-License-Identifier: Apache-2.0
"""`sealroom watcher`: one poll of the chain every second, and a heartbeat to the gate after each."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Event

import click
from apscheduler.schedulers.background import BackgroundScheduler

from sealroom.codes import Code
from sealroom_agents.chain import ChainReader
from sealroom_agents.chains import private_chain_option
from sealroom_agents.errors import AgentError, ConfigurationError
from sealroom_agents.host import address_option, announce, log_to_stderr, on_signals, read_token
from sealroom_agents.storage_options import database_option
from sealroom_agents.store import Store
from sealroom_agents.watcher.lookout import Lookout
from sealroom_agents.watcher.service import HttpGate, Watcher

DEFAULT_EVERY_S = 1.0
"""Seconds between two polls."""
LOOK_EVERY_S = 5.0
"""Seconds between two looks at what owners should know of, one consortium each."""
POLL_TIMEOUT_S = 5.0
"""How long one question to a node may take, seconds."""

log = logging.getLogger("sealroom_agents.watcher")


@click.command()
@click.option("--rpc", "rpcs", required=True, multiple=True, metavar="URL", help="RPC endpoint; repeatable.")
@click.option(
    "--rpc-quorum", type=click.IntRange(1), help="Endpoints that must answer; by default all of them."
)
@private_chain_option
@click.option("--factory", metavar="ADDRESS", help="Follow this factory's consortia that adopted the gate.")
@click.option(
    "--consortium", "consortia", multiple=True, metavar="ADDRESS", help="Follow only these; repeatable."
)
@click.option("--gate", required=True, metavar="URL", help="The gate that gets the heartbeats.")
@click.option(
    "--watch-token-file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of mode 0600 with the token that the gate expects (at least 32 characters).",
)
@database_option
@click.option("--every", default=DEFAULT_EVERY_S, show_default=True, help="Seconds between two polls.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written after the first whole poll.")
def command(
    rpcs: tuple[str, ...],
    rpc_quorum: int | None,
    private_chain: int | None,
    factory: str | None,
    consortia: tuple[str, ...],
    gate: str,
    watch_token_file: Path,
    database: str,
    every: float,
    ready_file: Path | None,
) -> None:
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
    if factory is None and not consortia:
        raise ConfigurationError(Code.CONFIGURATION, "nothing to follow", "give --factory, or --consortium")
    store = Store(database)
    watcher = Watcher(
        ChainReader(list(rpcs), timeout_s=POLL_TIMEOUT_S, quorum=rpc_quorum, private_chain=private_chain),
        store,
        HttpGate(gate, read_token(watch_token_file)),
        factory=address_option(factory, "factory") if factory else None,
        only=[address_option(one, "consortium") for one in consortia],
    )
    stop = Event()
    on_signals(stop.set)
    # With a reader of its own: what slows it, or makes it doubt a node, is no matter of the polls.
    own = ChainReader(list(rpcs), timeout_s=POLL_TIMEOUT_S, private_chain=private_chain)
    lookout = Lookout(own, store, watcher.followed)
    scheduler = BackgroundScheduler(timezone="UTC")
    waiting = [ready_file]

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
        poll, "interval", seconds=every, max_instances=1, coalesce=True, misfire_grace_time=None
    )
    scheduler.add_job(
        look, "interval", seconds=LOOK_EVERY_S, max_instances=1, coalesce=True, misfire_grace_time=None
    )
    poll()
    scheduler.start()
    stop.wait()
    scheduler.shutdown(wait=False)
