# SPDX-License-Identifier: Apache-2.0
"""``sealroom doctor``: look at everything, and say what to do."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.terminal import coloured, plural
from sealroom_agents.doctor.findings import Finding, State, looked
from sealroom_agents.errors import CommandExit

if TYPE_CHECKING:
    from sealroom_agents.chain import ChainReader
    from sealroom_agents.chain.rpc import Rpc
    from sealroom_agents.config import Config

CONFIG = Path("sealroom.toml")
NEWEST = 64
"""So many consortia of a factory are looked at where none is named."""
MARKS = {State.OK: "ok     ", State.WARNING: "warning", State.BROKEN: "BROKEN ", State.UNKNOWN: "unknown"}


@click.command()
@click.option(
    "--config",
    "file",
    type=FILE,
    metavar="FILE",
    help="The configuration.  [default: sealroom.toml, where it is there]",
)
@click.option(
    "--rpc",
    "urls",
    multiple=True,
    metavar="URL",
    help="RPC endpoint, in place of the configured ones; repeatable.",
)
@click.option("--gate", metavar="URL", help="The gate, in place of the configured one.")
@click.option("--console", metavar="URL", help="The console, in place of the configured one.")
@click.option(
    "--consortium", "named", multiple=True, metavar="ADDRESS", help="Look at this consortium too; repeatable."
)
@json_option
def command(
    file: Path | None,
    urls: tuple[str, ...],
    gate: str | None,
    console: str | None,
    named: tuple[str, ...],
    as_json: bool,
) -> int:
    """Look at chain, gate, database and machine, and say of each what is wrong and what to do.

    Endpoints: whether they answer and agree, how far finality is behind, whether they take the gate's calls,
    of how many blocks they give logs, and by their blocks whether this clock is right. Processes (runner and
    watcher where they serve metrics): whether they live, every condition that they lack (heartbeats,
    balances, chain lag), their clocks. Consortia: whether the owners adopted this gate and its policy, and
    what runs and ε are left. Machine: token modes, disk, database, versions. It works without a configuration
    on what is named, and changes nothing.

    \b
    Exit status: 0 nothing is broken, 1 something is, 3 something could not be looked at.

    \b
    Example:
      sealroom doctor
      sealroom doctor --rpc URL --rpc URL --gate URL --consortium 0x…
    """
    found: list[Finding] = []
    for finding in _all(file, urls, gate, console, named):
        found.append(finding)
        if not as_json:
            click.echo(f"{MARKS[finding.state]}  {finding.name:<18}  {coloured(finding.message)}")
            if finding.remedy:
                click.echo(f"{'':>29}{coloured(finding.remedy)}")
    states = [finding.state for finding in found]
    if as_json:
        told = [finding.to_json() for finding in found]
        click.echo(json.dumps({"ok": State.BROKEN not in states, "findings": told}, ensure_ascii=False))
    else:
        broken, warnings = states.count(State.BROKEN), states.count(State.WARNING)
        click.echo(f"{len(found)} looked at, {broken} broken, {plural(warnings, 'warning')}")
    if State.BROKEN in states:
        return CommandExit.FAILED
    return CommandExit.UNDECIDED if State.UNKNOWN in states else CommandExit.DONE


def _all(
    file: Path | None, urls: Sequence[str], gate: str | None, console: str | None, named: Sequence[str]
) -> Iterator[Finding]:
    from sealroom_agents.config import load
    from sealroom_agents.doctor import gates, machine, nodes
    from sealroom_agents.host import address_option

    path = file if file is not None else CONFIG if CONFIG.exists() else None
    config = None if path is None else load(path)
    consortia = [address_option(one, "consortium") for one in named]
    if config is None and not urls and gate is None and console is None:
        raise click.UsageError("there is no sealroom.toml here: name --config, or --rpc, --gate, --console")
    yield from machine.versions()
    private_chain = chain_id = quorum = None
    if config is not None:
        yield from machine.configuration(config)
        yield from machine.disk(config)
        if config.runner is not None or config.watcher is not None or config.console is not None:
            yield from looked(
                "database", machine.database(config.database.clear), remedy="look at it: `sealroom db check`"
            )
        if not urls:
            urls, quorum = config.chain.urls, config.chain.quorum
        chain_id, private_chain = config.chain.id, config.chain.private_chain
        gate = gate or _gate_of(config)
        if console is None and config.console is not None:
            console = _here(config.console.host, config.console.port)
        consortia += [
            *(config.gate.consortia if config.gate else ()),
            *(config.watcher.consortia if config.watcher else ()),
        ]
    findings, seen = nodes.look_at(urls, chain_id=chain_id, private_chain=private_chain, clock=time.time)
    yield from findings
    given = [(name, url) for name, url in (("gate", gate), ("console", console)) if url is not None]
    given += [] if config is None else _told_with_metrics(config)
    yield from gates.processes(given, clock=time.time)
    if not seen:
        return
    from sealroom_agents.chain import ChainReader

    rpc = seen[0].rpc
    if gate is not None:
        reader = ChainReader(list(urls), quorum=quorum, private_chain=private_chain)
        factory = None if config is None else config.chain.factory
        adopted = _adopted(gate, reader, [one.rpc for one in seen], factory, list(dict.fromkeys(consortia)))
        yield from looked(
            "consortia", adopted, remedy="look at gate and endpoints: `sealroom doctor --rpc URL`"
        )
    if config is not None and config.runner is not None:
        from sealroom.keys import address_of
        from sealroom_agents.errors import ConfigurationError
        from sealroom_agents.host import read_key

        with suppress(ConfigurationError):  # told by the look at the configuration
            payer = address_of(read_key(config.runner.key_file))
            yield gates.balance(rpc, payer, "the runner's key")


def _adopted(
    gate: str, reader: ChainReader, rpcs: Sequence[Rpc], factory: str | None, consortia: Sequence[str]
) -> Iterator[Finding]:
    """What owners adopted: of the consortia that are named, else of the factory's newest."""
    from sealroom_agents.doctor import gates

    if consortia or factory is None:
        yield from gates.adoption(gate, reader, rpcs, consortia, others=True)
        return
    # Anyone may declare consortia: few are looked at, and those alone told that are the gate's.
    newest = [row.consortium for row in reader.board(factory)[:NEWEST]]
    yield from gates.adoption(gate, reader, rpcs, newest, others=False)


def _told_with_metrics(config: Config) -> list[tuple[str, str]]:
    """Runner and watcher serve nothing else, so that they tell how they are where they serve metrics."""
    both = (("runner", config.runner), ("watcher", config.watcher))
    return [(name, f"http://{one.metrics}") for name, one in both if one is not None and one.metrics]


def _gate_of(config: Config) -> str | None:
    """Where the gate is, as the tables say."""
    for process in (config.runner, config.watcher):
        if process is not None:
            return process.gate
    return None if config.gate is None else _here(config.gate.host, config.gate.port)


def _here(host: str, port: int) -> str:
    """Where this machine reaches a process that listens there: one on all addresses, by loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
