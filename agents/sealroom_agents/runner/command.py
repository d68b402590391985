# SPDX-License-Identifier: Apache-2.0
"""`sealroom runner`: start approved runs and anchor their receipts."""

from __future__ import annotations

import logging
import secrets
import socket
from pathlib import Path
from threading import Event

import click

from sealroom.codes import Code
from sealroom_agents.chain import ChainReader, Transactor
from sealroom_agents.chains import LOCAL_CHAIN_IDS, private_chain_option
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.host import announce, log_to_stderr, on_signals, read_key
from sealroom_agents.runner.local import LocalBackend
from sealroom_agents.runner.publish import Publisher
from sealroom_agents.runner.service import DRAIN_S, Runner
from sealroom_agents.runner.state_folder import lock_folder
from sealroom_agents.runner.supervisor import Supervisor
from sealroom_agents.storage_options import database_option
from sealroom_agents.store import Holder, Store

DEFAULT_RUN_TIMEOUT_S = 3600.0
"""How long one run may take, seconds."""
MAX_NAME_CHARACTERS = 128

log = logging.getLogger("sealroom_agents.runner")


@click.command()
@click.option("--rpc", "rpcs", required=True, multiple=True, metavar="URL", help="RPC endpoint; repeatable.")
@private_chain_option
@click.option("--gate", required=True, metavar="URL", help="The gate that the enclaves ask for keys.")
@database_option
@click.option(
    "--backend", type=click.Choice(["local"]), default="local", show_default=True, help="Where enclaves run."
)
@click.option(
    "--platform",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of the simulated platform (backend local; local chains only).",
)
@click.option(
    "--datasets",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with the owners' sealed datasets, as OWNER/NAME.tar.",
)
@click.option(
    "--state",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder in which each run gets one of its own.",
)
@click.option(
    "--key-file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File of mode 0600 with the private key that pays for anchoring.",
)
@click.option(
    "--name", default=socket.gethostname, help="Name of this runner, for people.  [default: host name]"
)
@click.option(
    "--parallel", default=1, show_default=True, type=click.IntRange(1, 64), help="Runs at one time."
)
@click.option(
    "--run-timeout", default=DEFAULT_RUN_TIMEOUT_S, show_default=True, help="Seconds that a run may take."
)
@click.option(
    "--drain-seconds",
    default=DRAIN_S,
    show_default=True,
    type=click.FloatRange(0),
    help="After SIGTERM: how long the runs under way may take to end.",
)
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written when the runner takes runs.")
def command(
    rpcs: tuple[str, ...],
    private_chain: int | None,
    gate: str,
    database: str,
    backend: str,
    platform: Path | None,
    datasets: Path,
    state: Path,
    key_file: Path,
    name: str,
    parallel: int,
    run_timeout: float,
    drain_seconds: float,
    ready_file: Path | None,
) -> None:
    """Start approved runs and anchor their receipts.

    Takes queued runs from the database, starts one enclave each, follows it, kills it on the watcher's
    word, and publishes its envelope once the receipt is on chain.

    SIGTERM or Ctrl-C: it takes no more runs, and ends once those under way have ended, at the latest
    after --drain-seconds; `docker stop` and other supervisors must wait longer than that before
    they kill it. A second signal stops the runs. What a runner that died had finished, the next one
    with the same --state publishes.

    \b
    Example:
      sealroom runner --rpc URL --gate URL --platform platform --datasets sealed --state runs \\
        --key-file runner.key
    """
    log_to_stderr()
    chain = ChainReader(list(rpcs), private_chain=private_chain)
    chain_id = chain.chain_id()
    if platform is None or chain_id not in LOCAL_CHAIN_IDS:
        raise ConfigurationError(
            Code.CONFIGURATION,
            f"the backend {backend} needs --platform and a local chain; this is chain {chain_id}",
            "a simulated platform proves nothing to the owners of a real consortium",
        )
    place, _ = lock_folder(state)
    sender = Transactor(rpcs[0], read_key(key_file))
    store = Store(database)
    stop, drain = Event(), Event()
    local = LocalBackend(platform=platform, datasets=datasets, state=state, gate=gate)
    runner = Runner(
        store,
        chain,
        local,
        Supervisor(store, chain, local, stop=stop, run_timeout_s=run_timeout),
        Publisher(store, chain, sender, stop=stop, chain_id=chain_id),
        holder=Holder(id=secrets.token_hex(16), place=place, name=name[:MAX_NAME_CHARACTERS]),
        parallel=parallel,
        stop=stop,
        drain=drain,
        drain_s=drain_seconds,
    )
    on_signals(drain.set, stop.set)
    log.info("runner %s pays for anchoring as %s", name, sender.address)
    announce(ready_file, name=name, address=sender.address)
    runner.serve()
