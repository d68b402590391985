# SPDX-License-Identifier: Apache-2.0
"""``sealroom up``: start what ``sealroom.toml`` asks for, keep it running, and stop it in order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import click

from sealroom_agents.cli.study_paths import FOLDER
from sealroom_agents.errors import CommandExit, DemoError
from sealroom_agents.host import announce, on_signals
from sealroom_agents.up.children import Children
from sealroom_agents.up.report import Report


@click.command()
@click.argument("study", metavar="[STUDY]", type=FOLDER, required=False)
@click.option(
    "--config", "file", type=click.Path(path_type=Path, dir_okay=False), default=Path("sealroom.toml"),
    show_default=True, metavar="FILE", help="What to start.",
)  # fmt: skip
@click.option(
    "--local", is_flag=True,
    help="Start a whole room for STUDY on this machine: chain, simulated platform, contracts, funded owners.",
)  # fmt: skip
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path(".sealroom"),
    show_default=True, help="With --local: where everything is kept. A later call goes on with it.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Written when all processes are ready.")
def command(
    study: Path | None, file: Path, local: bool, folder: Path, as_json: bool, ready_file: Path | None
) -> None:
    """Start the processes of sealroom.toml, restart what ends, and print one log of all.

    A process is started for each of the tables [gate], [watcher], [runner] and [console], in this order, each
    once the one before it is ready. One that ends is started again, after one second, then two, up to thirty.
    SIGTERM or Ctrl-C stops them the other way round; the runner ends the runs under way first. A second
    signal waits for nothing.

    With --local, STUDY is a folder with study.yaml and owners.json. Everything that its owners need is made
    in --dir: a local chain with the contracts, a simulated TDX platform, an account with its keystore for
    each owner, gate, runner, watcher and console. The owners adopt gate and machine. What is left to do is
    printed, command by command. Nothing is written outside --dir.

    \b
    Exit status: 0 ended by a signal, 1 failed, 78 a process must not start as configured.

    \b
    Example:
      sealroom up
      sealroom up --local banks
    """
    if local != (study is not None):
        raise click.UsageError("a STUDY goes with --local" if study else "--local needs a STUDY: its folder")
    report = Report(as_json=as_json)
    if study is not None:
        from sealroom_agents.local.command import up_local
        from sealroom_agents.local.folder import locked

        with locked(folder.absolute()), held(report, Path.cwd()) as (children, stop):
            up_local(children, folder.absolute(), study.absolute())
            announce(ready_file, folder=str(folder.absolute()))
            stop.wait()
        return
    from sealroom_agents.config import load
    from sealroom_agents.up.plan import children as planned

    config = load(file)
    with held(report, file.absolute().parent) as (children, stop), tempfile.TemporaryDirectory() as ready:
        plan = planned(config, file.absolute(), Path(ready))
        if not plan:
            raise click.UsageError(f"{file} has none of the tables [gate], [watcher], [runner], [console]")
        for child in plan:
            children.start(child)
        announce(ready_file, processes=[child.name for child in plan])
        report.event("ready", "up")
        stop.wait()


@contextmanager
def held(report: Report, folder: Path) -> Iterator[tuple[Children, Event]]:
    """A supervisor that a signal stops: the processes end, whatever happens inside.

    The first signal sets the event that is handed out, and begins to stop; a second one hurries.
    """
    children, stop = Children(report, folder), Event()

    def end() -> None:
        stop.set()
        children.cancel()

    on_signals(end, children.hurry.set)
    try:
        yield children, stop
    except DemoError:
        # What was being started when the signal came.
        if not stop.is_set():
            raise
    except KeyboardInterrupt:
        raise SystemExit(CommandExit.INTERRUPTED) from None
    finally:
        children.stop()
