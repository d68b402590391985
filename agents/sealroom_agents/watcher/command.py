# SPDX-License-Identifier: Apache-2.0
"""`sealroom watcher`: one look at the chain every second, and a heartbeat to the gate after each."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
from pathlib import Path

import click
from apscheduler.schedulers.blocking import BlockingScheduler

from sealroom.encoding import normal_address
from sealroom.errors import FormatError
from sealroom_agents.chain import ChainReader
from sealroom_agents.errors import AgentError, ConfigurationError
from sealroom_agents.store import DEFAULT_URL, Store
from sealroom_agents.watcher.service import HttpGate, Watcher

DEFAULT_EVERY_S = 1.0
"""Seconds between two looks."""
LOOK_TIMEOUT_S = 5.0
"""How long one question to a node may take, seconds."""
MIN_TOKEN_CHARACTERS = 16
"""A token shorter than this can be guessed."""
MAX_TOKEN_BYTES = 1024

log = logging.getLogger("sealroom_agents.watcher")


@click.command()
@click.option("--rpc", "rpcs", required=True, multiple=True, metavar="URL", help="RPC endpoint; repeatable.")
@click.option(
    "--rpc-quorum", type=click.IntRange(1), help="Endpoints that must answer; by default all of them."
)
@click.option("--factory", metavar="ADDRESS", help="Follow this factory's consortia that adopted the gate.")
@click.option(
    "--consortium", "consortia", multiple=True, metavar="ADDRESS", help="Follow only these; repeatable."
)
@click.option("--gate", required=True, metavar="URL", help="The gate that gets the heartbeats.")
@click.option(
    "--watch-token-file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of mode 0600 with the token that the gate expects.",
)
@click.option(
    "--database", default=DEFAULT_URL, show_default=True, metavar="URL", help="SQLite or PostgreSQL."
)
@click.option("--every", default=DEFAULT_EVERY_S, show_default=True, help="Seconds between two looks.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written after the first whole look.")
def command(
    rpcs: tuple[str, ...],
    rpc_quorum: int | None,
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
    an owner revoked or the epoch advanced, and tells the gate after each look which consortia it saw.
    Follows those with runs under way, and those of the factory that adopted this gate; with --consortium
    exactly those that are named. A look takes at most 256; more take turns.

    \b
    Example:
      sealroom watcher --rpc URL --factory 0x… --gate URL --watch-token-file watch.token
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # APScheduler tells of every job that it runs.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if factory is None and not consortia:
        raise ConfigurationError("configuration", "nothing to follow", "give --factory, or --consortium")
    watcher = Watcher(
        ChainReader(list(rpcs), timeout_s=LOOK_TIMEOUT_S, quorum=rpc_quorum),
        Store(database),
        HttpGate(gate, read_token(watch_token_file)),
        factory=_address(factory) if factory else None,
        only=[_address(one) for one in consortia],
    )
    scheduler = BlockingScheduler(timezone="UTC")
    waiting = [ready_file] if ready_file else []

    def look() -> None:
        try:
            found = watcher.look()
        except AgentError as error:
            log.warning("no heartbeat: %s", error.message)
            return
        if waiting and found.heartbeat:
            _announce(waiting.pop(), found.consortia)

    # A look that takes too long is not followed by the ones that it delayed.
    scheduler.add_job(
        look, "interval", seconds=every, max_instances=1, coalesce=True, misfire_grace_time=None
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: scheduler.shutdown(wait=False))
    look()
    scheduler.start()


def read_token(path: Path) -> str:
    """The token, from a file that nobody else may read. Raises `ConfigurationError`."""
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            data = stream.read(MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise ConfigurationError("token-file", f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigurationError("token-file", f"{path} can be read by others", f"chmod 600 {path}")
    token = data.decode("ascii", errors="replace").strip()
    if len(data) > MAX_TOKEN_BYTES or len(token) < MIN_TOKEN_CHARACTERS or not token.isprintable():
        raise ConfigurationError("token-file", f"{path} holds no token", "put 32 random bytes in it, as hex")
    return token


def _address(text: str) -> str:
    try:
        return normal_address(text)
    except FormatError as error:
        raise ConfigurationError("configuration", f"{text!r} is no address: {error.message}") from error


def _announce(path: Path, consortia: int) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps({"consortia": consortia}))
    partial.replace(path)
