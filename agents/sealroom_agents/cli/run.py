# SPDX-License-Identifier: Apache-2.0
"""``sealroom run``: submit a recipe, follow the run, and save its envelope."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.files import PUBLIC, write_atomic
from sealroom_agents.cli.options import FILE, HashType, json_option, simulated_root_option
from sealroom_agents.cli.terminal import ask_passphrase, complain, read_bounded, shown
from sealroom_agents.errors import CommandExit, ToolError

if TYPE_CHECKING:
    from rich.status import Status

    from sealroom_agents.client import Console, Trust
    from sealroom_agents.client.types import RunLine, RunState
    from sealroom_agents.owner.keystore import Signer
    from sealroom_agents.studycard import StudyCard


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
@click.option(
    "--keystore", type=FILE, metavar="FILE",
    help="The researcher's account as an Ethereum keystore file, which signs the request; its passphrase is "
    "asked for, or taken from $SEALROOM_PASSPHRASE.",
)  # fmt: skip
@click.option(
    "--token-file", type=FILE, metavar="FILE", help="In place of --keystore: file with an API token."
)
@click.option(
    "--key", type=HashType(), metavar="KEY", envvar="SEALROOM_CONSOLE_KEY",
    help="Ed25519 public key by which the console's answers must be signed.  [default: the room's]",
)  # fmt: skip
@click.option(
    "--compose-hash", type=HashType(), metavar="HASH",
    help="In place of --key: compose hash of the console's own app, which its attestation must prove.",
)  # fmt: skip
@simulated_root_option
@json_option
def run(
    study: Path | None,
    console: str | None,
    folder: Path | None,
    known: str | None,
    out: Path,
    wait: float | None,
    keystore: Path | None,
    token_file: Path | None,
    key: bytes | None,
    compose_hash: bytes | None,
    simulated_root: Path | None,
    as_json: bool,
) -> int:
    """Submit a study's recipe, follow the run to its end, and save its envelope.

    Where the recipe names researchers, one of them, or an owner, asks: with --keystore or --token-file. In a
    local room its first owner asks, unless another is given.

    A run waits where something is missing that can still come, such as an approval; what is missing is
    shown. Stopping this command does not stop the run: --id goes on following it. The envelope is what
    `sealroom verify` walks; nobody needs to believe the console for it. Proofs of its anchoring are in it
    once the block is final; where that takes long, `next:` says how to put them in. What is shown on the way
    is the console's word: with --key or --compose-hash each answer must be signed by it.

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
    from rich.console import Console as Screen

    from sealroom_agents.cli import run_told
    from sealroom_agents.cli.call import trusted
    from sealroom_agents.client import Connection, Console, Unverified
    from sealroom_agents.client.console import ENDS
    from sealroom_agents.local.connected import key_of, signer_of
    from sealroom_agents.local.room import Room
    from sealroom_agents.storage_options import ROOM

    if out.exists():
        raise ToolError(Code.OUTPUT_EXISTS, f"{out} is there already", "name another --out")
    trust: Trust = Unverified()
    signer: Callable[[], Signer | None] = partial(_account, keystore)
    if key is not None or compose_hash is not None:
        trust = trusted(key, compose_hash, simulated_root)
    room: Room | None = None
    others: list[RunLine] = []
    proven = False
    if console is None or (study is None and known is None):
        room = Room.read(folder or ROOM)
        if console is None:
            trust = key_of(room) if isinstance(trust, Unverified) else trust
            if study is None and keystore is None and token_file is None:
                signer = partial(signer_of, room)
        console, study = console or room.console, study or room.places.card
    with Connection(console, trust, token=_token(token_file)) as connection:
        asked = Console(connection)
        if known is None:
            if study is None:
                raise click.UsageError("needs --study CARD, or --id of a run")
            card = _card(study)
            others = run_told.going_on(asked, card.consortium, to_hex(card.recipe.compose_hash))
            run_told.warn_of(others)
            known = submit(asked, study, signer())
        if not as_json:
            click.echo(shown(f"run {known}"), err=True)
        with Screen(stderr=True, quiet=as_json).status("waiting") as status:
            state = asked.watch(known, wait_s=wait, tell=_Progress(status, quiet=as_json))
        if state["state"] == "done":
            data, proven = run_told.with_proofs(asked, known)
            write_atomic(out, of_run(data, known, study), mode=PUBLIC)
    told = {"ok": state["state"] == "done", "run": known, "state": state["state"], "code": state.get("code")}
    told["others"] = [{"run": one["id"], "state": one["state"]} for one in others]
    if state["state"] not in ENDS:
        if as_json:
            click.echo(json.dumps(told))
        complain(f"the run is {state['state']} still", f"go on following it: sealroom run --id {known}")
        return CommandExit.UNDECIDED
    if state["state"] == "done":
        done = {**told, "envelope": str(out), "proofs": proven}
        click.echo(json.dumps(done) if as_json else f"wrote {shown(str(out))}")
        if not proven:
            later = run_told.prove_next(out, room)
            click.echo(f"no proofs are in it before its block is final; next: {later}", err=True)
        return CommandExit.DONE
    if as_json:
        click.echo(json.dumps({**told, "message": state.get("message")}))
    hint = run_told.ENDED.get(state["state"]) or run_told.ENDED.get(state.get("code") or "")
    complain(run_told.how_it_ended(state["state"], state.get("code"), state.get("message")), hint)
    return CommandExit.FAILED


def submit(console: Console, study: Path, signer: Signer | None = None) -> str:
    """A new run of a card's recipe, asked for by this account; its id. Raises `ToolError`."""
    card = _card(study)
    accepted = console.submit(
        card.recipe.compose,
        [owner.id for owner in card.owners],
        chain_id=card.chain_id,
        consortium=card.consortium,
        account=None if signer is None else signer.address,
        signer=None if signer is None else lambda digest: typed.sign_digest(digest, signer.key.reveal()),
    )
    if signer is not None:
        signer.key.wipe()
    return accepted["id"]


def _card(study: Path) -> StudyCard:
    from sealroom_agents import studycard

    return studycard.parse(read_bounded(study, studycard.CARD_LIMIT_BYTES, "a study card"))


def of_run(envelope: bytes, run_id: str, study: Path | None) -> bytes:
    """The envelope, if it is of this run, and of the card's recipe where there is a card. All else is for
    `sealroom verify`. Raises `ToolError` `answer-forged`."""
    from sealroom.envelope import parse_envelope

    stated = parse_envelope(envelope).statement
    card = None if study is None else _card(study)
    same = card is None or (stated.compose_hash, stated.consortium) == (
        card.recipe.compose_hash,
        card.consortium,
    )
    if to_hex(stated.run_id) != run_id or not same:
        raise ToolError(
            Code.ANSWER_FORGED, "the console sends the envelope of another run", "ask its operator"
        )
    return envelope


class _Progress:
    """Tells on stderr what is new at each look at a run."""

    def __init__(self, status: Status, *, quiet: bool) -> None:
        self._status, self._quiet = status, quiet
        self._told, self._lacked = 0, ""

    def __call__(self, state: RunState) -> None:
        if self._quiet:
            return
        events = state["events"]
        for event in events[self._told :]:
            click.echo(shown(f"{event['phase']:<10} {event['message']}"), err=True)
        self._told = len(events)
        lacks = "; ".join(item["message"] for item in state["missing"])
        if lacks and lacks != self._lacked:
            click.echo(shown(f"waits for   {lacks}"), err=True)
        self._lacked = lacks
        self._status.update(state["state"])  # one of a few words: the client takes no other


def _account(keystore: Path | None) -> Signer | None:
    if keystore is None:
        return None
    from sealroom_agents.owner import keystore as keystores

    return keystores.read(keystore).unlock(ask_passphrase(str(keystore)))


def _token(file: Path | None) -> str | None:
    if file is None:
        return None
    from sealroom_agents.host import read_token

    return read_token(file)
