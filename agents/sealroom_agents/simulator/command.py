# SPDX-License-Identifier: Apache-2.0
"""`sealroom simulate`: make a simulated TDX platform, and run the guest agent of one simulated VM."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from sealroom.codes import Code
from sealroom_agents.cli.terminal import one_object
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.host import announce, on_signals
from sealroom_agents.simulator.enclave import APP_ID_BYTES
from sealroom_agents.simulator.guest import GuestAgent, Interfaces
from sealroom_agents.simulator.platform import DEFAULT_MACHINE, MAX_GPUS, SimulatedPlatform

MAX_COMPOSE_BYTES = 256 * 1024
"""Largest app-compose.json that dstack takes."""

_PLATFORM = click.option(
    "--platform", "folder", required=True, type=click.Path(path_type=Path), help="Folder of the platform."
)


@click.group()
def command() -> None:
    """A software TDX for tests and demonstrations: SIMULATED - not Intel.

    \b
    Example:
      sealroom simulate init --platform platform
      sealroom simulate guest --platform platform --compose app-compose.json --app-id 0x… --socket guest.sock
    """


@command.command()
@_PLATFORM
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def init(folder: Path, as_json: bool) -> None:
    """Make a platform.

    It is a folder with a seed, which stays secret, a root certificate and collateral.
    """
    platform = SimulatedPlatform.create(folder)
    summary = platform.summary()
    if as_json:
        click.echo(one_object(summary))
        return
    click.echo(f"platform  {folder}  {summary['label']}")
    click.echo(f"machine   {DEFAULT_MACHINE}  device {summary['device']}")
    click.echo(f"OS image  {summary['osImage']}")
    click.echo(f"KMS root  {summary['kmsRoot']}")


@command.command()
@_PLATFORM
@click.option(
    "--compose",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The app-compose.json that the VM boots; its raw bytes are measured.",
)
@click.option("--app-id", required=True, help="Id of the app: 0x and 40 hex digits.")
@click.option("--socket", "socket_path", required=True, type=click.Path(path_type=Path), help="Unix socket.")
@click.option("--machine", default=DEFAULT_MACHINE, show_default=True, help="Machine that the VM runs on.")
@click.option(
    "--gpus", type=click.IntRange(0, MAX_GPUS), default=0, show_default=True, help="GPUs that the VM has."
)
@click.option(
    "--interfaces",
    type=click.Choice([one.value for one in Interfaces]),
    default=Interfaces.BOTH.value,
    show_default=True,
    help="Versions of the interface that it serves: v0 as dstack 0.5.11 does, both as 0.6.0 does.",
)
@click.option(
    "--ready-file", type=click.Path(path_type=Path), help='Written as soon as the socket listens: {"url": …}.'
)
def guest(
    folder: Path,
    compose: Path,
    app_id: str,
    socket_path: Path,
    machine: str,
    gpus: int,
    interfaces: str,
    ready_file: Path | None,
) -> None:
    """Run the guest agent of one VM until a signal ends it."""
    stop = threading.Event()
    on_signals(stop.set)
    platform = SimulatedPlatform.open(folder)
    agent = GuestAgent(
        platform,
        _compose(compose),
        _app_id(app_id),
        machine=machine,
        gpus=platform.machine_gpus(gpus, machine),
        interfaces=Interfaces(interfaces),
    )
    with agent.serve(socket_path.absolute()) as server:
        announce(ready_file, url=f"unix:{server.path}", socket=str(server.path))
        stop.wait()


def _compose(path: Path) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(MAX_COMPOSE_BYTES + 1)
    if len(content) > MAX_COMPOSE_BYTES:
        raise ConfigurationError(Code.COMPOSE_TOO_LARGE, f"{path} is larger than {MAX_COMPOSE_BYTES} bytes")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(Code.COMPOSE_NOT_TEXT, f"{path} is not UTF-8") from error
    return content


def _app_id(text: str) -> bytes:
    try:
        app_id = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        app_id = b""
    if len(app_id) != APP_ID_BYTES:
        raise ConfigurationError(Code.APP_ID, f"{text!r} is no app id", "an app id is 0x and 40 hex digits")
    return app_id
