# SPDX-License-Identifier: Apache-2.0
"""``sealroom run``: submit a recipe, follow the run, and save its envelope."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import click

from sealroom.codes import Code
from sealroom_agents.cli.options import FILE, json_option
from sealroom_agents.cli.terminal import complain, read_bounded, shown
from sealroom_agents.errors import CommandExit, ToolError

LOOK_S = 0.5
"""Pause between two looks at a run, seconds."""
TIMEOUT_S = 30.0
"""How long the console may take to answer, seconds."""
MAX_ANSWER_BYTES = 64 * 2**20
"""Largest answer of the console that is read."""
PATIENCE_S = 60.0
"""How long the console may be away while a run is followed, seconds."""
ENDS = frozenset({"done", "refused", "revoked", "failed"})
"""States in which a run stays."""


@click.command()
@click.option("--study", type=FILE, metavar="FILE", help="The study card.  [default: the room's]")
@click.option("--console", metavar="URL", help="The console that takes runs.  [default: the room's]")
@click.option(
    "--room", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="What `sealroom up --local` keeps.  [default: .sealroom, where --console is not given]",
)  # fmt: skip
@click.option("--id", "known", metavar="ID", help="Follow this run, which was submitted before; submit none.")
@click.option(
    "--out", type=FILE, default=Path("envelope.json"), show_default=True, help="Where the envelope goes."
)
@click.option(
    "--wait",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Follow it for so long at most.  [default: to its end]",
)
@json_option
def run(
    study: Path | None,
    console: str | None,
    folder: Path | None,
    known: str | None,
    out: Path,
    wait: float | None,
    as_json: bool,
) -> int:
    """Submit a study's recipe, follow the run to its end, and save its envelope.

    A run waits where something is missing that can still come, such as an approval; what is missing is
    shown. Stopping this command does not stop the run: --id goes on following it. The envelope is what
    `sealroom verify` walks; nobody needs to believe the console for it.

    \b
    Exit status:
      0  the envelope is saved
      1  the run was refused, revoked, or failed
      3  it goes on: --wait is over, or the console does not answer

    \b
    Example:
      sealroom run --out banks.envelope.json
      sealroom run --study study.json --console https://console.example --out envelope.json
    """
    if console is None or (study is None and known is None):
        from sealroom_agents.local.command import ROOM
        from sealroom_agents.local.room import Room

        room = Room.read(folder or ROOM)
        console, study = console or room.console, study or room.places.card
    if out.exists():
        raise ToolError(Code.OUTPUT_EXISTS, f"{out} is there already", "name another --out")
    follower = Console(console)
    run_id = known if known is not None else follower.submit(study)
    if not as_json:
        click.echo(f"run {run_id}", err=True)
    state = follower.follow(run_id, wait, quiet=as_json)
    if state["state"] not in ENDS:
        complain(f"the run is {state['state']} still", f"go on following it: sealroom run --id {run_id}")
        return CommandExit.UNDECIDED
    told = {"ok": state["state"] == "done", "run": run_id, "state": state["state"], "code": state.get("code")}
    if state["state"] == "done":
        follower.save(run_id, out)
        click.echo(json.dumps({**told, "envelope": str(out)}) if as_json else f"wrote {shown(str(out))}")
        return CommandExit.DONE
    if as_json:
        click.echo(json.dumps({**told, "message": state.get("message")}))
    hint = "the owners can read why: sealroom explain-failure --help" if state["state"] == "failed" else None
    complain(shown(f"{state['state']}: {state.get('code')}: {state.get('message')}"), hint)
    return CommandExit.FAILED


class Console:
    """What is asked of a console, whose answers are shown and not believed."""

    def __init__(self, url: str) -> None:
        import httpx

        self._http = httpx.Client(base_url=url.rstrip("/"), timeout=TIMEOUT_S)
        self._url = url

    def submit(self, study: Path | None) -> str:
        """A new run of a card's recipe; its id."""
        from sealroom_agents import studycard

        if study is None:
            raise click.UsageError("needs --study CARD, or --id of a run")
        card = studycard.parse(read_bounded(study, studycard.CARD_LIMIT_BYTES, "a study card"))
        body = {
            "compose": base64.b64encode(card.recipe.compose).decode(),
            "owners": [owner.id for owner in card.owners],
            "consortium": card.consortium,
        }
        return str(self._json("POST", "/v1/runs", body)["id"])

    def follow(
        self, run_id: str, wait: float | None, *, quiet: bool, until: frozenset[str] = ENDS
    ) -> dict[str, Any]:
        """Look at a run until it is in one of the states, or `wait` is over; what happens goes to stderr."""
        from rich.console import Console as Screen

        deadline = None if wait is None else time.monotonic() + wait
        told, missing, away = 0, "", None
        with Screen(stderr=True, quiet=quiet).status("waiting") as status:
            while True:
                try:
                    state = self._json("GET", f"/v1/runs/{run_id}")
                    away = None
                except ToolError as error:
                    if error.code != Code.CONSOLE_UNREACHABLE:
                        raise
                    away = away or time.monotonic()
                    if time.monotonic() - away > PATIENCE_S:
                        raise
                    time.sleep(LOOK_S)
                    continue
                events = state["events"]
                for event in events[told:]:
                    if not quiet:
                        click.echo(shown(f"{event['phase']:<10} {event['message']}"), err=True)
                told = len(events)
                lacks = "; ".join(item["message"] for item in state.get("missing") or ())
                if lacks != missing and not quiet and lacks:
                    click.echo(shown(f"waits for   {lacks}"), err=True)
                missing = lacks
                status.update(state["state"])
                if state["state"] in until or (deadline is not None and time.monotonic() > deadline):
                    return state
                time.sleep(LOOK_S)

    def save(self, run_id: str, out: Path) -> None:
        """Write a run's envelope."""
        from sealroom.files import PUBLIC, write_atomic

        write_atomic(out, self._get("GET", f"/v1/runs/{run_id}/envelope"), mode=PUBLIC)

    def _json(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        try:
            found = json.loads(self._get(method, path, body))
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ToolError(
                Code.CONSOLE_UNREACHABLE, f"{self._url} answers something else than a console does"
            )
        return found

    def _get(self, method: str, path: str, body: object = None) -> bytes:
        import httpx

        try:
            with self._http.stream(method, path, json=body) as answer:
                data = b""
                for part in answer.iter_bytes():
                    data += part
                    if len(data) > MAX_ANSWER_BYTES:
                        raise ToolError(
                            Code.CONSOLE_UNREACHABLE,
                            f"{self._url} answers more than {MAX_ANSWER_BYTES} bytes",
                        )
        except httpx.HTTPError as error:
            raise ToolError(
                Code.CONSOLE_UNREACHABLE,
                f"the console at {self._url} does not answer: {type(error).__name__}",
                "is it running? the run goes on without this command",
            ) from error  # fmt: skip
        if answer.is_success:
            return data
        raise _problem(answer.status_code, data)


def _problem(status: int, data: bytes) -> ToolError:
    """A refusal as the console writes it."""
    try:
        told = json.loads(data)
        return ToolError(Code.parse(str(told["code"])), shown(str(told["message"])), told.get("hint"))
    except (ValueError, KeyError, TypeError):
        return ToolError(Code.CONSOLE_UNREACHABLE, f"the console answers with status {status}")
