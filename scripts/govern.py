# SPDX-License-Identifier: Apache-2.0
"""What owners do with their consortium.

ape run govern ACTION --network ethereum:mainnet --account hospital-a --consortium 0x…
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from ape import project
from ape.api import AccountAPI
from ape.cli import account_option
from scripts._command import (
    AddressType,
    ChainCommand,
    Complaint,
    HashType,
    answer,
    complaints,
    read_json,
    signer,
    write_json,
)
from scripts._deploy import read_roster, roster_lines
from scripts._documents import (
    NO_HASH,
    Request,
    SignatureFile,
    load_platform,
    load_registration,
    read_cap,
)
from scripts._room import Room, progress_lines, sign_to, status_lines

from sealroom import typed
from sealroom.encoding import to_hex
from sealroom.model import ApproveStudy, Study

FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
NEW_FILE = click.Path(path_type=Path, dir_okay=False)
MAX_RUNS = 1000
"""Runs that a cap allows when nothing is said."""

consortium_option = click.option(
    "--consortium", required=True, type=AddressType(), help="Address of the consortium."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
sign_option = click.option(
    "--sign",
    type=NEW_FILE,
    metavar="OUT.json",
    help="Send nothing; write a signature, which anyone can hand in.",
)
signatures_option = click.option(
    "--signatures",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="Hand in a signature; give it once for each. The account only pays.",
)


def cap_options(command: Callable[..., None]) -> Callable[..., None]:
    """What a cap holds besides ε."""
    delta = click.option(
        "--delta", default="0", show_default=True, help="δ that all runs together may ever spend on it."
    )
    runs = click.option(
        "--runs",
        default=MAX_RUNS,
        show_default=True,
        type=click.IntRange(1, 2**32 - 1),
        help="How many runs may ever use it.",
    )
    return delta(runs(command))


study_id_option = click.option("--study-id", type=HashType(), help="What `propose` printed.")
study_file_option = click.option(
    "--study",
    "study_file",
    type=FILE,
    help="JSON: composeHash, outputHash, privacyHash, datasets, epsilon, delta, maxRuns, expiry.",
)


def chosen(room: Room, study_id: bytes | None, study_file: Path | None) -> Study:
    """The study that --study-id or --study names."""
    if study_id is not None and study_file is None:
        return room.study(study_id)
    if study_file is not None and study_id is None:
        return room.load_study(study_file)
    raise Complaint("one of --study-id and --study is needed", "`propose` prints the id")


def one_way(sign: Path | None, signatures: tuple[Path, ...]) -> None:
    """--sign and --signatures exclude each other."""
    if sign and signatures:
        raise Complaint("--sign and --signatures exclude each other")


def action(command: Callable[..., None]) -> Callable[..., None]:
    """What all actions share: the room and the unlocked account, and errors in one line."""

    @functools.wraps(command)
    def run(account: AccountAPI, consortium: str, as_json: bool, **options: Any) -> None:
        with complaints():
            command(Room.at(project, consortium), signer(account), as_json=as_json, **options)

    return account_option()(consortium_option(json_option(run)))


def written(signature: SignatureFile, path: Path, *, as_json: bool) -> None:
    """Say where a signature went."""
    facts = {"kind": signature.kind, "owner": signature.owner, "proposal": to_hex(signature.proposal)}
    lines = [("signed", signature.kind), ("owner", signature.owner), ("written to", str(path))]
    answer({**facts, "file": str(path)}, lines, as_json=as_json)


def sent(receipt: Any) -> dict[str, Any]:
    """Where a transaction went."""
    return {"tx": receipt.txn_hash, "block": receipt.block_number, "gas": receipt.gas_used}


def sent_lines(receipt: Any) -> list[tuple[str, str]]:
    return [("transaction", f"{receipt.txn_hash} in block {receipt.block_number}, {receipt.gas_used:,} gas")]


@click.group()
def cli() -> None:
    """Govern a consortium: who and what its owners trust, what they approve, and when they stop.

    Granting takes a quorum, stopping takes one. Every action but `sign` needs --network.
    """


@cli.command(cls=ChainCommand)
@action
@click.option(
    "--file",
    "file_",
    required=True,
    type=FILE,
    help="JSON: gateRoot, gateSigner, gateCompose, osImages, devices.",
)
@sign_option
@signatures_option
def platform(
    room: Room,
    account: AccountAPI,
    *,
    file_: Path,
    sign: Path | None,
    signatures: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Approve which gate and which machines to trust.

    The approval that completes the threshold adopts them and advances the epoch: the active study ends.
    """
    one_way(sign, signatures)
    wanted = load_platform(file_)
    epoch = room.contract.epoch()
    proposal = bytes(room.contract.hashPlatform(wanted.solidity(), epoch))
    if sign:
        message = typed.adopt_platform(
            wanted,
            owner=account.address.lower(),
            epoch=epoch,
            chain_id=room.chain_id,
            consortium=room.address,
        )
        signature = room.sign(account, message, sign, kind="AdoptPlatform", proposal=proposal)
        return written(signature, sign, as_json=as_json)
    if signatures:
        given = room.gathered(signatures, kind="AdoptPlatform", proposal=proposal)
        receipt = room.send(account, "adoptPlatformWithSignatures", wanted.solidity(), *given)
    else:
        receipt = room.send(account, "adoptPlatform", wanted.solidity())

    now = room.contract.epoch()
    names = room.owner_ids()
    approvals = [names[owner.lower()] for owner in room.contract.approvals(proposal)]
    facts = {
        "platform": to_hex(proposal),
        "approvals": approvals,
        "threshold": room.contract.threshold(),
        "adopted": now != epoch,
        "epoch": now,
        **sent(receipt),
    }
    lines = [
        *wanted.lines(),
        (
            "adopted",
            f"yes, epoch {now}"
            if facts["adopted"]
            else f"not yet; approved: {', '.join(approvals)} (threshold {facts['threshold']})",
        ),
        *sent_lines(receipt),
    ]
    answer(facts, lines, as_json=as_json)


@cli.command(cls=ChainCommand)
@action
@click.option(
    "--registration", required=True, type=FILE, help="What `sealroom seal` wrote beside the sealed file."
)
@click.option("--cap", metavar="EPS", help="ε that all runs together may ever spend on it, such as 4.5.")
@cap_options
def register(
    room: Room,
    account: AccountAPI,
    *,
    registration: Path,
    cap: str | None,
    delta: str,
    runs: int,
    as_json: bool,
) -> None:
    """Register a dataset that you sealed, and cap what may be spent on it.

    Without a cap no run is possible. `cap` changes it.
    """
    dataset = load_registration(registration)
    limit = None if cap is None else read_cap(cap, delta, runs)
    receipt = room.register(account, dataset, limit)
    facts = {
        "dataset": to_hex(dataset.dataset_id),
        "name": dataset.name,
        "rows": dataset.rows,
        "cap": None if limit is None else limit.to_json(),
        **sent(receipt),
    }
    lines = [
        ("dataset", f"{dataset.name}  {dataset.rows:,} rows"),
        ("id", to_hex(dataset.dataset_id)),
        ("cap", "none: no run is possible" if limit is None else str(limit)),
        *sent_lines(receipt),
    ]
    answer(facts, lines, as_json=as_json)


@cli.command(cls=ChainCommand)
@action
@click.option("--dataset-id", required=True, type=HashType(), help="Id of your dataset.")
@click.option(
    "--cap", required=True, metavar="EPS", help="ε that all runs together may ever spend on it, such as 4.5."
)
@cap_options
def cap(
    room: Room, account: AccountAPI, *, dataset_id: bytes, cap: str, delta: str, runs: int, as_json: bool
) -> None:
    """Change what all runs together may ever spend on a dataset of yours; never below what is spent."""
    limit = read_cap(cap, delta, runs)
    receipt = room.set_cap(account, dataset_id, limit)
    facts = {"dataset": to_hex(dataset_id), "cap": limit.to_json(), **sent(receipt)}
    lines = [("dataset", to_hex(dataset_id)), ("cap", str(limit)), *sent_lines(receipt)]
    answer(facts, lines, as_json=as_json)


@cli.command(cls=ChainCommand)
@action
@click.option(
    "--study",
    "study_file",
    required=True,
    type=FILE,
    help="JSON: composeHash, outputHash, privacyHash, datasets, epsilon, delta, maxRuns, expiry.",
)
def propose(room: Room, account: AccountAPI, *, study_file: Path, as_json: bool) -> None:
    """Put a study before the owners, and print its id. Proposing is not approving.

    The study is JSON. `sealroom recipe` printed its hashes, and `register` the ids of its datasets:

    \b
      {"composeHash": "0x…", "outputHash": "0x…", "privacyHash": "0x…", "datasets": ["0x…", …],
       "epsilon": "4.5", "delta": "3e-6",     what all its runs together may spend, as text
       "maxRuns": 3,
       "expiry": 1798301396}                  unix seconds, at most 400 days ahead
    """
    study = room.load_study(study_file)
    receipt = room.send(account, "propose", study.solidity())
    study_id = study.id
    required = room.required(study)
    facts = {"study": to_hex(study_id), "required": required, "epoch": study.epoch, **sent(receipt)}
    lines = [
        ("study", to_hex(study_id)),
        *study.lines(),
        ("required", ", ".join(required)),
        *sent_lines(receipt),
    ]
    answer(facts, lines, as_json=as_json)


@cli.command(cls=ChainCommand)
@action
@study_id_option
@study_file_option
@click.option(
    "--request",
    type=NEW_FILE,
    metavar="OUT.json",
    help="Write the typed data for a wallet, or for `sign` on a machine without a network.",
)
@sign_option
@signatures_option
def approve(
    room: Room,
    account: AccountAPI,
    *,
    study_id: bytes | None,
    study_file: Path | None,
    request: Path | None,
    sign: Path | None,
    signatures: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Approve a study: by transaction, or by a signature that somebody hands in.

    The approval that completes the threshold and every required owner pins the study's recipe.
    """
    one_way(sign, signatures)
    study = chosen(room, study_id, study_file)
    proposal = study.id
    owner = account.address.lower()
    vote = ApproveStudy(owner=owner, study=study)
    asked = Request(vote=vote, chain_id=room.chain_id, consortium=room.address)
    if request:
        write_json(request, asked.json())
        lines = [*study.lines(), ("written to", str(request))]
        return answer(
            {"study": to_hex(proposal), "owner": owner, "file": str(request)}, lines, as_json=as_json
        )
    if sign:
        signature = room.sign(account, asked.message(), sign, kind="ApproveStudy", proposal=proposal)
        return written(signature, sign, as_json=as_json)
    if signatures:
        given = room.gathered(signatures, kind="ApproveStudy", proposal=proposal)
        receipt = room.send(account, "approveWithSignatures", study.solidity(), *given)
    else:
        receipt = room.send(account, "approve", study.solidity())
    progress = room.progress(study)
    answer({**progress, **sent(receipt)}, [*progress_lines(progress), *sent_lines(receipt)], as_json=as_json)


@cli.command(cls=ChainCommand)
@action
@click.option(
    "--proposal", required=True, type=HashType(), help="Id of the study, platform or roster, as printed."
)
@sign_option
@signatures_option
def withdraw(
    room: Room,
    account: AccountAPI,
    *,
    proposal: bytes,
    sign: Path | None,
    signatures: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Take your approval back before it takes effect. For that same content there is no way back."""
    one_way(sign, signatures)
    epoch = room.contract.epoch()
    if sign:
        message = typed.withdraw(
            proposal,
            owner=account.address.lower(),
            epoch=epoch,
            chain_id=room.chain_id,
            consortium=room.address,
        )
        signature = room.sign(account, message, sign, kind="Withdraw", proposal=proposal)
        return written(signature, sign, as_json=as_json)
    if signatures:
        owners, given = room.gathered(signatures, kind="Withdraw", proposal=proposal)
        if len(owners) != 1:
            raise Complaint("each withdrawal needs its own transaction: hand in one signature")
        arguments = proposal, owners[0], epoch, given[0]
        receipt = room.send(account, "withdrawWithSignature", *arguments)
    else:
        receipt = room.send(account, "withdraw", proposal)
    names = room.owner_ids()
    approvals = [names[owner.lower()] for owner in room.contract.approvals(proposal)]
    facts = {"proposal": to_hex(proposal), "approvals": approvals, **sent(receipt)}
    lines = [
        ("proposal", to_hex(proposal)),
        ("approved", ", ".join(approvals) or "by nobody"),
        *sent_lines(receipt),
    ]
    answer(facts, lines, as_json=as_json)


@cli.command(cls=ChainCommand)
@action
@click.option(
    "--file", "file_", required=True, type=FILE, help="JSON: owners and threshold, as in a deployment."
)
@sign_option
@signatures_option
def owners(
    room: Room,
    account: AccountAPI,
    *,
    file_: Path,
    sign: Path | None,
    signatures: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Approve other owners, or another threshold.

    The approval that completes today's threshold seats them and advances the epoch: the active study ends.
    Who leaves keeps its data: its datasets lock.
    """
    one_way(sign, signatures)
    epoch = room.contract.epoch()
    roster = read_roster(read_json(file_), epoch=epoch)
    proposal = roster.id
    if sign:
        message = typed.change_owners(
            roster.owners,
            roster.threshold,
            owner=account.address.lower(),
            epoch=epoch,
            chain_id=room.chain_id,
            consortium=room.address,
        )
        signature = room.sign(account, message, sign, kind="ChangeOwners", proposal=proposal)
        return written(signature, sign, as_json=as_json)
    if signatures:
        given = room.gathered(signatures, kind="ChangeOwners", proposal=proposal)
        receipt = room.send(account, "changeOwnersWithSignatures", *roster.solidity()[:2], *given)
    else:
        receipt = room.send(account, "changeOwners", *roster.solidity()[:2])
    now = room.contract.epoch()
    names = room.owner_ids()
    approvals = [names[owner.lower()] for owner in room.contract.approvals(proposal)]
    facts = {"owners": to_hex(proposal), "approvals": approvals, "seated": now != epoch, "epoch": now}
    lines = [
        *roster_lines(roster),
        ("proposal", to_hex(proposal)),
        ("seated", f"yes, epoch {now}" if now != epoch else f"not yet; approved: {', '.join(approvals)}"),
        *sent_lines(receipt),
    ]
    answer({**facts, **sent(receipt)}, lines, as_json=as_json)


@cli.command(cls=ChainCommand)
@action
def unpin(room: Room, account: AccountAPI, *, as_json: bool) -> None:
    """Have the app drop a recipe that it kept after a revocation, or whose study expired. Anyone may."""
    receipt = room.send(account, "unpin")
    answer(sent(receipt), sent_lines(receipt), as_json=as_json)


@cli.command(name="accept-app", cls=ChainCommand)
@action
def accept_app(room: Room, account: AccountAPI, *, as_json: bool) -> None:
    """Take over the app that its owner before has offered with `transferOwnership`. Anyone may."""
    receipt = room.send(account, "acceptApp")
    answer(sent(receipt), sent_lines(receipt), as_json=as_json)


@cli.command(cls=ChainCommand)
@action
@click.option("--reason", required=True, help="Why, for everyone to read; 256 bytes are kept.")
@sign_option
@signatures_option
def revoke(
    room: Room,
    account: AccountAPI,
    *,
    reason: str,
    sign: Path | None,
    signatures: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Stop everything, alone and at once.

    No study is active any more, and every approval is void. Coming back takes a quorum that includes you.
    """
    one_way(sign, signatures)
    epoch = room.contract.epoch()
    if sign:
        message = typed.revoke(
            reason,
            owner=account.address.lower(),
            epoch=epoch,
            chain_id=room.chain_id,
            consortium=room.address,
        )
        signature = room.sign(account, message, sign, kind="Revoke", proposal=NO_HASH)
        return written(signature, sign, as_json=as_json)
    if signatures:
        owners, given = room.gathered(signatures, kind="Revoke", proposal=NO_HASH)
        if len(owners) != 1:
            raise Complaint("one signature is enough to revoke, and each one needs its own transaction")
        receipt = room.send(account, "revokeWithSignature", owners[0], reason, epoch, given[0])
    else:
        receipt = room.send(account, "revoke", reason)
    facts = {"revoked": room.address, "reason": reason, "epoch": epoch + 1, **sent(receipt)}
    lines = [("revoked", room.address), ("reason", reason), ("epoch", str(epoch + 1)), *sent_lines(receipt)]
    answer(facts, lines, as_json=as_json)


@cli.command(name="sign")
@account_option()
@click.option("--request", required=True, type=FILE, help="What `approve --request` wrote.")
@click.option("--out", required=True, type=NEW_FILE, help="Where the signature is written.")
@json_option
def sign_request(account: AccountAPI, request: Path, out: Path, as_json: bool) -> None:
    """Sign an approval on a machine without a network; `approve --signatures` hands it in."""
    with complaints():
        asked = Request.load(request)
        if account.address.lower() != asked.vote.owner:
            raise Complaint(
                f"the request is for {asked.vote.owner}, not for {account.address}", "choose that --account"
            )
        signature = sign_to(
            out,
            signer(account),
            asked.message(),
            kind="ApproveStudy",
            chain_id=asked.chain_id,
            consortium=asked.consortium,
            proposal=asked.vote.study.id,
        )
    if not as_json:
        answer({}, asked.vote.study.lines(), as_json=False)
    written(signature, out, as_json=as_json)


@cli.command(cls=ChainCommand)
@consortium_option
@json_option
def status(consortium: str, as_json: bool) -> None:
    """Show owners, datasets, platform, study and revocation."""
    with complaints():
        facts = Room.at(project, consortium).facts()
    answer(facts, status_lines(facts), as_json=as_json)
