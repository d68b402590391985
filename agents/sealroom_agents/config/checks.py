# SPDX-License-Identifier: Apache-2.0
"""What is certain to fail in a configuration, found without the chain and without any process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sealroom_agents.chain import ChainReader
from sealroom_agents.chains import is_quorum
from sealroom_agents.config.backends import kind, options_of
from sealroom_agents.config.model import Config, Runner
from sealroom_agents.errors import AgentError, ConfigurationError
from sealroom_agents.host import read_key, read_token
from sealroom_agents.store.content import content_beside
from sealroom_agents.telemetry.metrics import listening


@dataclass(frozen=True)
class Fault:
    """One thing that does not fit."""

    where: str
    """The field: `[gate] state`."""
    message: str
    """What is wrong."""
    remedy: str
    """What to do."""


def faults(config: Config) -> list[Fault]:
    """Everything that a process would refuse at its start, or that two tables say differently."""
    return [*_missing(config), *_files(config), *_values(config), *_joints(config)]


def _missing(config: Config) -> Iterator[Fault]:
    if config.gate is not None and config.chain.id is None:
        yield Fault(
            "[chain] id", "the gate needs the id of its chain", "write it: 1 for Ethereum, 8453 for Base"
        )
    if config.gate is not None and config.gate.platform_policy is None and config.simulator.platform is None:
        yield Fault(
            "[gate] platform_policy",
            "the gate was given no platform policy",
            "name the document that the owners adopted",
        )
    if config.console is not None and config.chain.factory is None:
        yield Fault(
            "[chain] factory", "the console needs the factory's address", "write the one of deployment.json"
        )
    if config.watcher is not None and config.chain.factory is None and not config.watcher.consortia:
        yield Fault(
            "[watcher] consortia", "the watcher has nothing to follow", "name [chain] factory, or consortia"
        )
    if config.runner is not None:
        yield from _backend(config.runner, config)
    if not any((config.gate, config.runner, config.watcher, config.console)):
        yield Fault(
            "sealroom.toml", "no process has a table", "write [gate], [runner], [watcher] or [console]"
        )


def _backend(runner: Runner, config: Config) -> Iterator[Fault]:
    try:
        options = options_of(runner.backend, runner.options)
        missing = kind(runner.backend).lacks(config)
    except ConfigurationError as error:
        yield Fault("[runner] backend", error.message, error.hint or "sealroom config schema")
        return
    token = getattr(options, "token_file", None)
    if isinstance(token, Path):
        yield from _secret("[runner.options] token_file", token, read_token)
    for where, message, remedy in missing:
        yield Fault(where, message, remedy)


def _secret(where: str, path: Path, read: Callable[[Path], object]) -> Iterator[Fault]:
    try:
        read(path)
    except ConfigurationError as error:
        yield Fault(where, error.message, error.hint or "write it with mode 0600")


def _files(config: Config) -> Iterator[Fault]:
    gate, watcher, runner, console = config.gate, config.watcher, config.runner, config.console
    secrets: list[tuple[str, Path | None, Callable[[Path], object]]] = [
        ("[gate] watch_token_file", None if gate is None else gate.watch_token_file, read_token),
        ("[watcher] watch_token_file", None if watcher is None else watcher.watch_token_file, read_token),
        ("[runner] key_file", None if runner is None else runner.key_file, read_key),
        ("[console] signing_key", None if console is None else console.signing_key, read_key),
    ]
    for where, path, read in secrets:
        if path is not None:
            yield from _secret(where, path, read)
    there = [
        ("[gate] platform_policy", None if gate is None else gate.platform_policy),
        ("[simulator] platform", config.simulator.platform),
        ("[console] pins", None if console is None else console.pins),
    ]
    for where, place in there:
        if place is not None and not place.exists():
            yield Fault(where, f"{place} does not exist", "name the one that is there")


def _values(config: Config) -> Iterator[Fault]:
    """What processes read of a value beyond its form, by their own reading."""
    tables = {name: getattr(config, name) for name in ("gate", "runner", "watcher", "console")}
    reads: list[tuple[str, Callable[[], object]]] = [
        (f"[{name}] metrics", partial(listening, table.metrics))
        for name, table in tables.items()
        if table is not None and table.metrics is not None
    ]
    if config.chain.urls:
        reads.append(("[chain] rpc", lambda: ChainReader(config.chain.urls).close()))
    if any(tables[name] is not None for name in ("runner", "watcher", "console")):
        database = config.database
        reads.append(("[database] content", partial(content_beside, database.clear, database.content)))
    for where, read in reads:
        try:
            read()
        except AgentError as error:
            yield Fault(where, error.message, error.hint or "sealroom config schema")


def _joints(config: Config) -> Iterator[Fault]:
    gate, watcher, console = config.gate, config.watcher, config.console
    if gate is not None and watcher is not None:
        try:
            same = read_token(gate.watch_token_file) == read_token(watcher.watch_token_file)
        except ConfigurationError:
            same = True  # told already
        if not same:
            yield Fault("[watcher] watch_token_file", "it is not the gate's token", "give both the same file")
    if (
        gate is not None
        and console is not None
        and gate.port == console.port != 0
        and gate.host == console.host
    ):
        yield Fault("[console] port", f"gate and console both listen on {gate.port}", "give one another port")
    nodes, quorum = len(config.chain.rpc), config.chain.quorum
    if quorum is not None and nodes and not is_quorum(quorum, nodes):
        yield Fault(
            "[chain] quorum",
            f"{quorum} of {nodes} endpoints are no quorum",
            f"let more than half of them agree: {nodes // 2 + 1} to {nodes}",
        )
