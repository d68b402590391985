# SPDX-License-Identifier: Apache-2.0
"""`sealroom runner`: start approved runs and anchor their receipts."""

from __future__ import annotations

import logging
import secrets
from threading import Event

from sealroom.codes import Code
from sealroom_agents.chain import ChainReader, Transactor
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.config import Config, process_command, required
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.host import announce, on_signals, read_key
from sealroom_agents.runner.local import LocalBackend
from sealroom_agents.runner.preflight import LocalPreflight
from sealroom_agents.runner.publish import Publisher
from sealroom_agents.runner.service import Runner
from sealroom_agents.runner.state_folder import lock_folder
from sealroom_agents.runner.supervisor import Supervisor
from sealroom_agents.store import Holder, Store
from sealroom_agents.telemetry import looks
from sealroom_agents.telemetry.conditions import Conditions, disk
from sealroom_agents.telemetry.logs import log_to_stderr
from sealroom_agents.telemetry.metrics import serve_metrics

MAX_NAME_CHARACTERS = 128

log = logging.getLogger("sealroom_agents.runner")


@process_command("runner")
def command(config: Config) -> None:
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
    log_to_stderr(config.log.format)
    settings, platform = required(config.runner, "runner", "state"), config.simulator.platform
    chain = ChainReader(config.chain.urls, private_chain=config.chain.private_chain)
    chain_id = chain.chain_id()
    if platform is None or chain_id not in LOCAL_CHAIN_IDS:
        raise ConfigurationError(
            Code.CONFIGURATION,
            f"the backend {settings.backend} needs --platform and a local chain; this is chain {chain_id}",
            "a simulated platform proves nothing to the owners of a real consortium",
        )
    place, _ = lock_folder(settings.state)
    sender = Transactor(config.chain.urls, read_key(settings.key_file), chain_id=chain_id)
    store = Store(config.database.clear, config.database.content)
    stop, drain = Event(), Event()
    local = LocalBackend(
        platform=platform, datasets=settings.datasets, state=settings.state, gate=settings.gate
    )
    seen = (looks.at_chain(chain), looks.at_gas_money(chain, sender.address), looks.at_database(store))
    conditions = Conditions([*(one.check for one in seen), disk(settings.state)])
    preflight = LocalPreflight(
        conditions=conditions, datasets=settings.datasets, content=store.content, gate=settings.gate
    )
    name = settings.shown_name
    runner = Runner(
        store,
        chain,
        local,
        Supervisor(store, chain, local, stop=stop, run_timeout_s=settings.run_timeout, preflight=preflight),
        Publisher(store, chain, sender, stop=stop, chain_id=chain_id),
        holder=Holder(id=secrets.token_hex(16), place=place, name=name[:MAX_NAME_CHARACTERS]),
        parallel=settings.parallel,
        stop=stop,
        drain=drain,
        drain_s=settings.drain_seconds,
        preflight=preflight,
    )
    jobs = looks.periodic(*seen)
    looks.shown(chain, conditions)
    serve_metrics(settings.metrics, conditions)
    on_signals(drain.set, stop.set)
    log.info("runner %s pays for anchoring as %s", name, sender.address)
    announce(settings.ready_file, name=name, address=sender.address)
    jobs.start()
    try:
        runner.serve()
    finally:
        jobs.close()
