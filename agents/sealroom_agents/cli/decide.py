# SPDX-License-Identifier: Apache-2.0
"""``sealroom decide``: the page of a study as one signed file, and what to think of one that came by mail."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealroom_agents.cli.options import (
    FILE,
    PRIVATE_CHAIN,
    HashType,
    json_option,
    keystore_option,
    rpc_option,
    yes_option,
)
from sealroom_agents.cli.terminal import (
    ask_passphrase,
    confirm,
    one_object,
    read_bounded,
    table,
    warn,
    write_out,
)
from sealroom_agents.errors import CommandExit

if TYPE_CHECKING:
    from sealroom_agents.console.disk.checking import Checked
    from sealroom_agents.console.disk.matter import Matter
    from sealroom_agents.studycard import StudyCard


@click.command()
@click.option("--page", type=FILE, metavar="FILE", help="Write the page of a study, signed, to this file.")
@click.option("--check", type=FILE, metavar="FILE", help="Say who made a page, and whether it is genuine.")
@click.option("--sign", type=FILE, metavar="FILE", help="Put a --signature into a page that has none yet.")
@click.option("--study", type=HashType(), metavar="ID", help="Which study, where several of a recipe wait.")
@click.option("--consortium", metavar="ADDRESS", help="The consortium's contract.")
@click.option(
    "--recipe", "recipes", type=FILE, metavar="FILE", multiple=True,
    help="The study's recipe, app-compose.json; then those that were approved before, for what changed.",
)  # fmt: skip
@click.option(
    "--expect",
    "card",
    type=FILE,
    metavar="FILE",
    help="The owner's study card: chain, consortium and recipe. With --check, what the page must be of.",
)
@keystore_option
@click.option("--account", metavar="ADDRESS", help="Who makes it, where a wallet elsewhere signs.")
@click.option("--signature", "given", metavar="0x…|FILE", help="What that wallet signed, for --sign.")
@click.option("--by", metavar="ADDRESS", help="With --check: refuse a page by any other account.")
@rpc_option
@yes_option
@json_option
def decide(
    page: Path | None,
    check: Path | None,
    sign: Path | None,
    study: bytes | None,
    consortium: str | None,
    recipes: tuple[Path, ...],
    card: Path | None,
    keystore: Path | None,
    account: str | None,
    given: str | None,
    by: str | None,
    rpc: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> int:
    """Write the page on which an officer decides as one signed file, or check such a file.

    The page works from disk, without console and network: it computes every hash from the recipe's bytes,
    draws what may leave, what that may cost, what changed and who approved, and asks the officer's own wallet
    for everything of the chain. Where no wallet enters a page from disk, it has the file for a Safe, the call
    read back from its bytes, twelve words, and the commands that do the same.

    --page takes recipe and consortium from files and nodes of yours, and signs with --keystore. With
    --account it prints instead what a wallet elsewhere signs as a personal message (EIP-191); --sign puts
    that --signature in. A Safe or another contract makes no page; one of its signers does.

    --check makes the page anew from the facts in it, with the code of this release, and compares every byte:
    neither script nor sentence of it is its maker's own. It names the maker. --by says which account you
    expect; with --rpc it must be an owner of the consortium, and your node must say what the page says of
    the chain. --expect or --consortium says which consortium yours is: a page may be of its maker's own.

    \b
    Exit status of --check:
      0  genuine, of your consortium, by --by or an owner, and with --rpc as your node says
      1  altered, signed by somebody else, made by another release, or of another consortium
      4  genuine, but nobody vouches for maker or consortium, or your node says otherwise now

    \b
    Example:
      sealroom decide --page decide.html --expect study.json --rpc URL --keystore officer.json
      sealroom decide --page decide.html --consortium 0x… --recipe app-compose.json --rpc URL --account 0x…
      sealroom decide --sign decide.html --signature 0x…
      sealroom decide --check decide.html --expect study.json --rpc URL
    """
    if sum(one is not None for one in (page, check, sign)) != 1:
        raise click.UsageError("needs one of --page, --check and --sign")
    expected = _card(card)
    if check is not None:
        return _check(check, expected, consortium=consortium, by=by, rpc=rpc, as_json=as_json)
    if sign is not None:
        if given is None:
            raise click.UsageError("--sign needs the --signature that was made elsewhere")
        return _attach(sign, given, as_json=as_json)
    assert page is not None
    if not rpc or (expected is None) == (consortium is None) or not (recipes or expected):
        raise click.UsageError("needs --rpc, and either --consortium and --recipe, or --expect")
    if (keystore is None) == (account is None):
        raise click.UsageError("needs --keystore, or the --account with which a wallet elsewhere signs")
    return _make(
        page, expected, study=study, consortium=consortium, recipes=recipes, keystore=keystore,
        account=account, rpc=rpc, yes=yes, as_json=as_json,
    )  # fmt: skip


def _card(card: Path | None) -> StudyCard | None:
    from sealroom_agents import studycard

    if card is None:
        return None
    return studycard.parse(read_bounded(card, studycard.CARD_LIMIT_BYTES, "a study card"))


def _make(
    page: Path,
    expected: StudyCard | None,
    *,
    study: bytes | None,
    consortium: str | None,
    recipes: tuple[Path, ...],
    keystore: Path | None,
    account: str | None,
    rpc: tuple[str, ...],
    yes: bool,
    as_json: bool,
) -> int:
    from sealroom import typed
    from sealroom.encoding import normal_address
    from sealroom_agents.console.disk.making import matter_of
    from sealroom_agents.console.disk.page import message, signed
    from sealroom_agents.console.disk.page import page as drawn
    from sealroom_agents.owner import keystore as keystores
    from sealroom_agents.studycard import RECIPE_LIMIT_BYTES

    composes = [expected.recipe.compose] if expected else []
    composes += [read_bounded(one, RECIPE_LIMIT_BYTES, "a recipe") for one in recipes]
    locked = None if keystore is None else keystores.read(keystore)
    signer = None if locked is None else locked.unlock(ask_passphrase(str(keystore)))
    try:
        matter = matter_of(
            rpc,
            expected.consortium if expected else normal_address(consortium),
            composes,
            study=study,
            chain_id=expected.chain_id if expected else None,
            private_chain=click.get_current_context().meta.get(PRIVATE_CHAIN),
            maker=signer.address if signer else normal_address(account),
            made=int(time.time()),
        )
        unsigned = drawn(matter)
        asked = message(unsigned, matter)
        if signer is None:
            write_out(page, unsigned)
            text = asked.decode()
            click.echo(one_object({"page": str(page), "personalMessage": text}) if as_json else text)
            return 0
        confirm(f"sign the page of study 0x{matter.study.hex()} as {signer.address}?", yes=yes)
        signature = typed.sign(typed.personal(asked), signer.key.reveal())
        write_out(page, signed(unsigned, matter, signature))
    finally:
        if signer is not None:
            signer.key.wipe()
    _tell(page, matter, as_json=as_json)
    return 0


def _attach(page: Path, given: str, *, as_json: bool) -> int:
    from sealroom_agents.console.disk.checking import unsigned_matter
    from sealroom_agents.console.disk.page import MAX_BYTES, signed
    from sealroom_agents.owner.signing import read_signature

    unsigned = read_bounded(page, MAX_BYTES, "a page")
    matter = unsigned_matter(unsigned)
    write_out(page, signed(unsigned, matter, read_signature(given)))
    _tell(page, matter, as_json=as_json)
    return 0


def _tell(page: Path, matter: Matter, *, as_json: bool) -> None:
    facts = [("signed", str(page)), ("by", matter.maker), ("study", f"0x{matter.study.hex()}")]
    if as_json:
        click.echo(one_object(dict(facts)))
    elif str(page) != "-":
        click.echo(table(facts))


def _check(
    file: Path,
    expected: StudyCard | None,
    *,
    consortium: str | None,
    by: str | None,
    rpc: tuple[str, ...],
    as_json: bool,
) -> int:
    from sealroom_agents.console.disk.checking import (
        Answered,
        asked,
        check,
        require_expected,
        require_maker,
    )
    from sealroom_agents.console.disk.page import MAX_BYTES

    found = check(read_bounded(file, MAX_BYTES, "a page"))
    wanted = expected.consortium if expected else consortium
    if wanted is not None:
        require_expected(found, chain_id=expected.chain_id if expected else None, consortium=wanted)
    private_chain = click.get_current_context().meta.get(PRIVATE_CHAIN)
    seat = require_maker(found, by=by, urls=rpc, private_chain=private_chain)
    answered = asked(found, rpc, private_chain=private_chain) if rpc else Answered(())
    against = answered.against
    open_points = _open_points(found, wanted=wanted is not None, maker=by is not None or bool(rpc))
    open_points += answered.untold
    vouched = not (open_points or against)
    facts = _facts(found, seat)
    if as_json:
        told = {"ok": True, "vouched": vouched, "nodeSaysOtherwise": against, **facts}
        click.echo(json.dumps(told))
    else:
        labels = {"signedSha256": "signed SHA-256", "code": "code SHA-256", "composeHash": "compose hash"}
        click.echo(table([(labels.get(name, name), str(value)) for name, value in facts.items()]))
    for point in open_points:
        warn(point)
    if against:
        warn(
            "your node says otherwise: " + "; ".join(against) + ". Either the chain has moved on since the "
            "page was made, or its maker lies: ask for a new page, or make one yourself"
        )
    return 0 if vouched else CommandExit.UNPROVEN


def _open_points(found: Checked, *, wanted: bool, maker: bool) -> list[str]:
    """For what nobody vouches."""
    points = []
    if not maker:
        points.append(
            f"nothing says who {found.matter.maker} is: compare it with the account that you know, or --by, "
            "--rpc"
        )
    if not wanted:
        points.append(
            f"nothing says that {found.matter.facts.view.consortium} is your consortium: compare it with the "
            "address that you know, or --expect, --consortium"
        )
    return points


def _facts(found: Checked, seat: str) -> dict[str, Any]:
    from sealroom import __version__
    from sealroom.encoding import sha256, to_hex
    from sealroom.model.units import time_text
    from sealroom_agents.twelve_words import twelve_words

    matter, view = found.matter, found.matter.facts.view
    return {
        "maker": f"{matter.maker}{seat and f', {seat}'}",
        "made": time_text(matter.made),
        "release": __version__,
        "code": to_hex(found.code.digest),
        "signedSha256": to_hex(sha256(found.unsigned)),
        "chain": f"{view.chain_id}, block {view.block_number}",
        "consortium": view.consortium,
        "study": to_hex(matter.study),
        "composeHash": to_hex(matter.content.compose_hash),
        "words": " ".join(twelve_words(matter.study)),
    }
