# SPDX-License-Identifier: Apache-2.0
"""``sealroom call``: one request to a console, whose answer is verified before it is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom_agents.cli.options import FILE, HashType, simulated_root_option
from sealroom_agents.cli.terminal import complain, read_bounded, shown, write_out
from sealroom_agents.errors import CommandExit, ToolError

if TYPE_CHECKING:
    from sealroom_agents.client import Connection, Trust

MAX_BODY_BYTES = 512 * 1024
"""Largest body that is sent."""
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")


@click.command()
@click.argument("method", type=click.Choice(METHODS, case_sensitive=False))
@click.argument("path")
@click.option(
    "--console", metavar="URL", envvar="SEALROOM_CONSOLE", help="The console.  [default: the local room's]"
)
@click.option(
    "--key", type=HashType(), metavar="KEY", envvar="SEALROOM_CONSOLE_KEY",
    help="Ed25519 public key by which its answers must be signed, as its operator tells it.",
)  # fmt: skip
@click.option(
    "--compose-hash", type=HashType(), metavar="HASH",
    help="In place of --key: compose hash of the console's own app. Its attestation must prove that a "
    "confidential VM runs this, and holds the key.",
)  # fmt: skip
@simulated_root_option
@click.option("--data", type=FILE, metavar="FILE", help="Body to send, JSON; - for stdin.")
@click.option(
    "--token-file", type=FILE, metavar="FILE", help="File of mode 0600 with an API token of a researcher."
)
@click.option("--idempotency-key", metavar="KEY", help="The same key with the same body makes one run.")
def call(
    method: str,
    path: str,
    console: str | None,
    key: bytes | None,
    compose_hash: bytes | None,
    simulated_root: Path | None,
    data: Path | None,
    token_file: Path | None,
    idempotency_key: str | None,
) -> int:
    """Send one request to a console, verify its answer, and print it.

    The answer's signature must cover the status, the body, the request and a nonce that is made for it, and
    be of the expected key. Otherwise nothing is printed. In the folder of a local room, console and key are
    the room's. Of a stream, each event is verified and printed as one line of JSON.

    \b
    Exit status:
      0  the console did what it was asked
      1  it refused, or the answer is not the console's

    \b
    Example:
      sealroom call GET /v1/studies --console https://console.example --key 0x…
      sealroom call POST /v1/runs --data run.json --token-file token --console URL --compose-hash 0x…
    """
    from sealroom_agents.client import Connection

    body = None
    if data is not None:
        source = Path("/dev/stdin") if str(data) == "-" else data
        body = read_bounded(source, MAX_BODY_BYTES, "a body")
    token = None
    if token_file is not None:
        from sealroom_agents.host import read_token

        token = read_token(token_file)
    if console is None:
        from sealroom_agents.local.connected import key_of
        from sealroom_agents.local.room import Places, Room
        from sealroom_agents.storage_options import ROOM

        if not Places(ROOM).room.exists():
            raise ToolError(
                Code.ROOM_MISSING,
                f"no console is named, and {ROOM} holds no room",
                "name one: --console URL --key KEY, or $SEALROOM_CONSOLE; or work in the folder of a room",
            )
        room = Room.read(ROOM)
        console = room.console
        if key is None and compose_hash is None:
            key = key_of(room).key
    trust = trusted(key, compose_hash, simulated_root)
    headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
    with Connection(console, trust, token=token) as connection:
        if method.upper() == "GET" and path.partition("?")[0].endswith("/events"):
            return _follow(connection, path)
        answer = connection.call(method, path, body, headers=headers)
        if not answer.ok:
            problem = answer.problem()
            click.echo(answer.body.decode("utf-8", "replace"))
            complain(f"{answer.status} {problem.code}: {shown(problem.message)}", problem.hint)
            return CommandExit.FAILED
        # Of a file, such as a ZIP, the bytes alone.
        text = "json" in answer.headers.get("content-type", "")
        write_out(Path("-"), answer.body + (b"\n" if answer.body and text else b""))
        return CommandExit.DONE


def trusted(key: bytes | None, compose_hash: bytes | None, simulated_root: Path | None) -> Trust:
    """By which key answers must be signed. Raises `ToolError` `console-key-unknown`."""
    from sealroom_agents.attestation import INTEL, load_simulated_root
    from sealroom_agents.client import Attested, Pinned

    if key is not None:
        return Pinned(key)
    if compose_hash is None:
        raise ToolError(
            Code.CONSOLE_KEY_UNKNOWN,
            "nothing says by which key the console's answers must be signed",
            "pass --key, which the operator tells you, or --compose-hash of a console in a confidential VM",
        )
    root = INTEL if simulated_root is None else load_simulated_root(simulated_root)
    return Attested(compose_hash, root)


def _follow(connection: Connection, path: str) -> int:
    for event in connection.events(path):
        line = {"event": event.name, "id": event.id, "data": json.loads(event.data or "null")}
        click.echo(json.dumps(line))
        if event.name == "end":
            return CommandExit.DONE
    complain("the stream broke off", "call it again")
    return CommandExit.FAILED
