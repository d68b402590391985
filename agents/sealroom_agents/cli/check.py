# SPDX-License-Identifier: Apache-2.0
"""``sealroom check``: whether a sealed file is what study card and chain say, and opens with its key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom_agents.cli.binding import checked_card, wrap_context
from sealroom_agents.cli.file_kinds import SEALED, refuse_another
from sealroom_agents.cli.key_options import asked_key, key_options
from sealroom_agents.cli.options import (
    FILE,
    gate_compose_option,
    json_option,
    reader_for,
    rpc_option,
    simulated_root_option,
)
from sealroom_agents.cli.terminal import Red, complain, finding, progress
from sealroom_agents.errors import ChainError, CommandExit

if TYPE_CHECKING:
    from sealroom.keys import Secret
    from sealroom.sealed import SealedInfo
    from sealroom_agents.chain import ChainReader
    from sealroom_agents.facts import ChainView
    from sealroom_agents.owner.consortium_contract import Registered
    from sealroom_agents.owner.findings import ConsortiumFacts, Finding
    from sealroom_agents.studycard import CheckedCard


@click.command()
@click.argument("sealed_file", metavar="SEALED.tar", type=FILE)
@click.option("--study", type=FILE, metavar="FILE", help="The study card that it must be sealed for.")
@click.option("--require-signature", is_flag=True, help="An index without the owner's signature is broken.")
@key_options(None)
@rpc_option
@gate_compose_option
@simulated_root_option
@json_option
def check(
    sealed_file: Path,
    study: Path | None,
    require_signature: bool,
    rpc: tuple[str, ...],
    gate_compose: bytes | None,
    simulated_root: Path | None,
    as_json: bool,
) -> int:
    """Check a sealed file: before its owner sends it, after it was received, or as a drill.

    Its frame is read strictly, every part is compared with its digest, the owner's signature is verified.
    With --study: the card holds, the recipe reads this dataset, and the key is wrapped to exactly that
    recipe, consortium and gate. With --rpc: exactly this file is registered, and an owner holds the dataset.
    None of that needs a key. With --key, its owner opens every part, and nothing is written: of a damaged
    file, the parts that do not open are named, as unseal --salvage would leave them out.

    \b
    Ends with the verdict as its status:
      0  everything that was asked holds
      1  something is broken; the first broken line says what
      3  not decided: no node answered, or they disagree

    \b
    Example:
      sealroom check sealed/hospital-A/cohort-A.tar --study study.json
      sealroom check hospital-A/cohort-A.tar --study study.json --rpc URL --require-signature --json
      sealroom check backup/cohort-A.tar --key keys/hospital-A/cohort-A.key --json
    """
    from sealroom_agents.cli import datakey

    source = asked_key()
    if study is None and not rpc and source is None:
        raise click.UsageError("needs --study, --rpc or --key; the file alone: sealroom inspect --parts")
    reader = reader_for(rpc) if rpc else None
    card = None
    if study is not None:
        card = checked_card(study, reader=reader, gate_compose=gate_compose, simulated_root=simulated_root)
    key = None if source is None else datakey.read(source)
    findings: list[Finding] = []
    undecided: ChainError | None = None
    try:
        for one in all_findings(sealed_file, card, reader, rpc, key, required=require_signature):
            findings.append(one)
            if not as_json:
                alarms = card is not None and one.name == "guarantee" and card.card.recipe.guarantee.must_read
                finding(one.name, Red(one.detail) if alarms else one.detail, ok=one.ok, width=12)
    except ChainError as error:
        undecided = error
    finally:
        if key is not None:
            key.wipe()
    broken = next((one for one in findings if not one.ok), None)
    if as_json:
        rows = [one.json() for one in findings]
        verdict = "broken" if broken else "undecided" if undecided else "holds"
        click.echo(json.dumps({"ok": verdict == "holds", "verdict": verdict, "findings": rows}))
    if broken is not None:
        complain(f"{sealed_file} does not hold: {broken.name}: {broken.detail}", _hint(broken.code))
        return CommandExit.FAILED
    if undecided is not None:
        complain(f"not decided: {undecided.message}", undecided.hint)
        return CommandExit.UNDECIDED
    if not as_json:
        verdict = _verdict(study=study is not None, chain=reader is not None)
        click.echo(verdict, err=True)
    return 0


def all_findings(
    path: Path,
    card: CheckedCard | None,
    reader: ChainReader | None,
    rpc: tuple[str, ...],
    key: Secret | None,
    *,
    required: bool,
) -> Iterator[Finding]:
    """All findings; those about the file's own structure first, and no more after a broken one of these."""
    from sealroom.sealed import inspect
    from sealroom_agents.owner import findings

    refuse_another(path, SEALED, Code.ARCHIVE_MALFORMED)
    with progress(f"reading {path.name}", path.stat().st_size if path.is_file() else 0) as advance:
        structure = list(findings.structure(path, progress=advance))
    yield from structure
    if key is not None:
        with progress(f"opening {path.name}", path.stat().st_size if path.is_file() else 0) as advance:
            opened = findings.opening(path, key, progress=advance)
        yield opened
        if not opened.ok:
            return
    if not all(finding.ok for finding in structure):
        return
    if card is None and reader is None:
        return
    info = inspect(path)
    if card is None and reader is not None:
        wrong = findings.wrapped_on(info, reader.chain_id())
        if wrong is not None:
            yield wrong
            return
    view = None if card is not None or reader is None else _view(info, reader)
    where = _consortium(card, view)
    registered = None if reader is None else _registered(info, where, reader, rpc)
    holder = None if registered is None else registered.holder
    found = findings.owner(info, where, holder=holder)
    yield found
    owner = findings.owner_of(info, where, holder=holder)
    if owner is None:
        return
    accounts = dict.fromkeys((where.accounts[owner], info.header.owner))
    yield findings.signature(info, accounts=accounts, required=required)
    if card is not None:
        yield findings.recipe(info, card.card.recipe, owner=owner)
        yield findings.guarantee(card.card.recipe)
        yield findings.wrap(info, wrap_context(card, owner=owner))
    elif view is not None:
        gate_root = None if view.platform is None else view.platform.gate_root
        yield findings.wrap_on_chain(info.needed_wrap(), app=view.app, gate_root=gate_root)
    if reader is not None:
        yield findings.registration(info, registered)


def _view(info: SealedInfo, reader: ChainReader) -> ChainView:
    """The consortium that the wrap names, as the finalized block says."""
    return reader.finalized_view(info.needed_wrap().consortium)


def _consortium(card: CheckedCard | None, view: ChainView | None) -> ConsortiumFacts:
    from sealroom_agents.owner import findings

    if card is not None:
        made = card.card
        accounts = {owner.id: owner.account for owner in made.owners}
        return findings.ConsortiumFacts(made.chain_id, made.consortium, made.ledger, accounts)
    if view is None:
        raise click.UsageError("needs --study, --rpc or both")
    accounts = {owner.id: owner.account for owner in view.owners}
    return findings.ConsortiumFacts(view.chain_id, view.consortium, view.ledger, accounts)


def _registered(
    info: SealedInfo, where: ConsortiumFacts, reader: ChainReader, rpc: tuple[str, ...]
) -> Registered | None:
    from sealroom_agents.owner import consortium_contract

    return consortium_contract.registered(
        reader,
        rpc,
        ledger=where.ledger,
        dataset_id=info.dataset_id,
        number=info.header.dataset_version,
    )


def _verdict(*, study: bool, chain: bool) -> str:
    if study and chain:
        return "holds: sealed for this study, and registered by its owner"
    if not study and not chain:
        return "holds, and opens; for which study it is wrapped: pass --study FILE"
    if study:
        return "holds for this study; whether it is registered is on chain: pass --rpc URL"
    return "holds as it was registered; for which recipe is in the study card: pass --study FILE"


def _hint(code: Code | None) -> str | None:
    hints = {
        Code.WRAP_OF_ANOTHER: "its owner reseals it: sealroom reseal SEALED.tar --study FILE",
        Code.NOT_REGISTERED: "its owner registers it: sealroom govern register --registration SEALED.tar "
        "--lifetime EPS --consortium 0x…",
        Code.NOT_SIGNED: "its owner signs it: sealroom sign SEALED.tar --keystore FILE",
        Code.PART_ALTERED: "fetch it again: it is not what its owner sealed",
        Code.PARTS_BROKEN: "what opens can be had: sealroom unseal SEALED.tar --salvage --out FILE",
        Code.INDEX_MISMATCH: "fetch it again; with its key, what opens can be had: sealroom unseal --salvage",
        Code.WRONG_KEY: "which dataset a key is for: sealroom key list FILE.key",
        Code.REGISTRATION_DIFFERS: "do not use it: it is not what its owner registered",
        Code.NOT_WRAPPED: "its owner wraps it: sealroom reseal SEALED.tar --study FILE",
        Code.OWNER_UNKNOWN: "the chain tells to whom a dataset moved: pass --rpc URL",
    }
    return None if code is None else hints.get(code)
