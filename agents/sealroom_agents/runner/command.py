# SPDX-License-Identifier: Apache-2.0
"""`sealroom runner`: start approved runs and anchor their receipts."""

from __future__ import annotations

import logging
import secrets
from threading import Event

from sealroom.runtime.gate_client import HttpGate
from sealroom_agents.chain import ChainReader, Transactor
from sealroom_agents.chain.fees import GWEI
from sealroom_agents.config import Config, backends, process_command, required
from sealroom_agents.host import announce, on_signals, read_key
from sealroom_agents.runner.backend import Kind, Place
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

    Its key pays for anchoring. A transaction that no block takes is replaced by one with a higher fee, up to
    --max-fee; above that, results wait. No other program may send with this key, nor another runner.

    \b
    Example:
      sealroom runner --rpc URL --gate URL --platform platform --datasets sealed --state runs \\
        --key-file runner.key
    """
    log_to_stderr(config.log.format)
    settings = required(config.runner, "runner", "state")
    options = backends.options_of(settings.backend, settings.options)
    nodes, max_fee_wei = config.chain, settings.max_fee * GWEI
    chain = ChainReader(nodes.urls, quorum=nodes.quorum, private_chain=nodes.private_chain)
    chain_id = chain.chain_id()
    place, _ = lock_folder(settings.state)
    sender = Transactor(
        nodes.urls, read_key(settings.key_file), quorum=nodes.quorum, chain_id=chain_id,
        max_fee_wei=max_fee_wei,
    )  # fmt: skip
    store = Store(config.database.clear, config.database.content)
    stop, drain = Event(), Event()
    kind: Kind = backends.kind(settings.backend)
    backend = kind.open(options, Place(config=config, runner=settings, chain_id=chain_id))
    view, gas = looks.at_chain(chain), looks.GasLook(chain, sender.address, max_fee_wei=max_fee_wei)
    seen = (view, gas, looks.at_database(store))
    conditions = Conditions([*(one.check for one in seen), disk(settings.state)])
    preflight = LocalPreflight(
        conditions=conditions, datasets=settings.datasets, content=store.content, gate=settings.gate
    )
    name = settings.shown_name
    runner = Runner(
        store,
        chain,
        backend,
        Supervisor(store, chain, backend, stop=stop, run_timeout_s=settings.run_timeout, preflight=preflight),
        Publisher(store, chain, sender, stop=stop, chain_id=chain_id),
        HttpGate(settings.gate),
        holder=Holder(id=secrets.token_hex(16), place=place, name=name[:MAX_NAME_CHARACTERS]),
        parallel=settings.parallel,
        stop=stop,
        drain=drain,
        drain_s=settings.drain_seconds,
        preflight=preflight,
    )
    jobs = looks.periodic(*seen)
    looks.shown(chain, conditions, view=view, gas=gas)
    serve_metrics(settings.metrics, conditions)
    on_signals(drain.set, stop.set)
    log.info("runner %s pays for anchoring as %s", name, sender.address)
    announce(settings.ready_file, name=name, address=sender.address)
    jobs.start()
    try:
        runner.serve()
    finally:
        jobs.close()
        backend.close()
