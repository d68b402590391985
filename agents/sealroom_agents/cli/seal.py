# SPDX-License-Identifier: Apache-2.0
"""``sealroom seal``: seal one dataset at its source, for the recipe of a checked card or for none yet."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from sealroom.codes import Code
from sealroom_agents.cli.binding import (
    announce,
    approval_of,
    bound_json,
    bound_lines,
    check_columns,
    checked_card,
    dataset_in,
    wrap_context,
)
from sealroom_agents.cli.options import (
    FILE,
    FILE_OR_FOLDER,
    gate_compose_option,
    json_option,
    reader_for,
    rpc_option,
    simulated_root_option,
    study_option,
    yes_option,
)
from sealroom_agents.cli.sealing import Job, made, profiled, seal_as_made
from sealroom_agents.cli.terminal import (
    ask_passphrase,
    confirm,
    interruptible,
    plural,
    refuse_stdout,
    size,
    table,
    warn,
)
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.staging import Outputs

if TYPE_CHECKING:
    from sealroom.sealed import SealSummary
    from sealroom_agents.owner.consortium_contract import ApprovalState
    from sealroom_agents.owner.keystore import Keystore, Signer
    from sealroom_agents.owner.profile import Profile
    from sealroom_agents.studycard import CheckedCard

SEALED_FOLDER = Path("sealed")
"""What may leave, as OWNER/NAME.tar, just as the runner reads it; ignored by git."""
KEYS_FOLDER = Path("keys")
"""Folder of what stays. Another one, so that a copy of the first holds no key."""


@click.command()
@study_option
@click.option("--owner", metavar="ID", help="Who seals, as the card names it: hospital-A.")
@click.option(
    "--account",
    metavar="ADDRESS",
    help="Account that registers the dataset. Without --owner: seal before there is a study. "
    " [default: the owner's account on the card]",
)
@click.option(
    "--in", "source", required=True, type=FILE_OR_FOLDER, metavar="FILE", help="What to seal; see above."
)
@click.option(
    "--as",
    "kind",
    type=click.Choice(["parquet", "arrow", "csv", "opaque"]),
    help="What the input is.  [default: found out from its first bytes]",
)
@click.option("--delimiter", default=",", show_default=True, help="Between the cells of a CSV.")
@click.option("--out", type=FILE, metavar="FILE", help="The sealed file.  [default: sealed/OWNER/NAME.tar]")
@click.option("--name", metavar="NAME", help="The dataset's name in the recipe.  [default: the input's name]")
@click.option(
    "--dataset-version",
    "version",
    type=click.IntRange(1, 2**32 - 1),
    default=1,
    show_default=True,
    metavar="N",
    help="Number of this file among the versions of the dataset: 2 for its first correction.",
)
@click.option(
    "--key-out",
    type=FILE,
    metavar="FILE",
    help="The data key, for resealing; needed with --out.  [default: keys/OWNER/NAME.key]",
)
@click.option(
    "--sign-with",
    type=FILE,
    metavar="FILE",
    help="Sign the index with the owner's Ethereum keystore file; its passphrase is asked for, or taken "
    "from $SEALROOM_PASSPHRASE.",
)
@rpc_option
@gate_compose_option
@simulated_root_option
@yes_option
@json_option
def seal(
    study: Path,
    owner: str | None,
    account: str | None,
    source: Path,
    kind: str | None,
    delimiter: str,
    out: Path | None,
    name: str | None,
    version: int,
    key_out: Path | None,
    sign_with: Path | None,
    rpc: tuple[str, ...],
    gate_compose: bytes | None,
    simulated_root: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Seal a dataset at its source, for one recipe of one consortium, or before there is one.

    First the study card is checked: the recipe breaks no rule, the gate is attested, and with --rpc all of
    it is the same on chain. Then the input is encrypted part by part under a fresh data key, and that key is
    wrapped to the gate, bound to this recipe: with one byte of the recipe changed, the wrap does not open.

    With --account and without --owner, no card is needed: the file is sealed before there is a consortium or
    a study, and its key is wrapped for nobody. `sealroom reseal` wraps it later, for each study anew; what
    was sealed and registered stays as it is.

    The input is a table with exactly the columns that the recipe declares: a Parquet file, sealed as it is;
    or an Arrow IPC or CSV file, sealed as Parquet. With --as opaque any other file is sealed as it is, and a
    folder as a tar; recipes read tables alone so far.

    Nothing is guessed and nothing dropped: a CSV with a line that does not fit is refused, with its line and
    column. Before you are asked, rows and each column's nulls, smallest and largest value are shown, read
    back from what will be sealed.

    Three files appear together, or none: the sealed file (send it), its data key (keep it, resealing needs
    it) and a registration (it goes on chain). The key is never written where the sealed file lies, not even
    for a moment. An interrupted run leaves nothing; run it again.

    \b
    Example:
      sealroom seal --owner hospital-A --in cohort-A.parquet --rpc URL
      sealroom seal --owner hospital-A --in cohort-A.csv --sign-with officer.json
      sealroom seal --study study.json --owner hospital-A --in cohort-A.arrow --rpc URL --yes --json
      sealroom seal --owner hospital-A --in cohort-A.parquet --dataset-version 2 --rpc URL
      sealroom seal --account 0x… --in cohort-A.parquet
    """
    from sealroom_agents.owner import keystore
    from sealroom_agents.owner import source as sources
    from sealroom_agents.owner.staging import recover

    owned = _owned(owner, account)
    dataset = name if name is not None else source.stem
    outputs = _outputs(source, place=owned.place, name=dataset, version=version, out=out, key_out=key_out)
    reader = reader_for(rpc) if rpc else None
    checked = None
    if owner is not None:
        checked = checked_card(study, reader=reader, gate_compose=gate_compose, simulated_root=simulated_root)
        owned = owned.on(checked, owner)
    declared = None if checked is None else dataset_in(checked.card.recipe, owner=owned.place, name=dataset)
    columns = None if declared is None else declared.columns
    found = sources.look(source, kind=kind, declared=columns, delimiter=delimiter)
    if declared is not None and found.columns is None:
        warn("the recipe declares a table, and this is none: no study can read it yet")
    elif declared is not None and found.columns is not None:
        check_columns(found.columns, declared, where=str(source))
    signing = keystore.read(sign_with) if sign_with is not None else None
    left = recover(outputs)
    if left is not None:
        warn(f"a run that was killed left its key in {left}; it opens nothing: remove that folder")
    _refuse_existing(outputs)
    approval = None if checked is None else approval_of(checked, reader, owner=owned.place)
    job = Job(
        source=found,
        place=owned.place,
        account=owned.registrant,
        name=dataset,
        version=version,
        declared=columns,
        delimiter=delimiter,
        outputs=outputs,
        context=None if checked is None else wrap_context(checked, owner=owned.place),
    )
    _need_space(job)
    shown = not (as_json and yes)
    if shown and checked is not None:
        announce(checked, approval, owner=owned.place)
    if shown:
        click.echo(table(_leaves_and_stays(job)), err=True)
    with interruptible(), ExitStack() as stack:
        plain = stack.enter_context(made(job))
        seen = None if found.columns is None else profiled(job, plain)
        if shown and seen is not None:
            click.echo(table(_rows_and_columns(seen)), err=True)
        confirm(f"seal {source} for {'no study yet' if checked is None else 'this recipe'}?", yes=yes)
        signer = _unlock(signing, account=owned.signer, owner=owned.place)
        try:
            summary = seal_as_made(job, plain, signer)
        finally:
            if signer is not None:
                signer.key.wipe()
    _report(summary, job, seen, signer, approval, as_json=as_json)


@dataclass(frozen=True)
class _Owned:
    """Whose dataset it is."""

    place: str
    """Folder of the owner's files: the owner's id, or before there is a study, the account."""
    registrant: str
    """Account that registers the dataset, or did."""
    signer: str
    """Account whose signature the file may have."""

    def on(self, checked: CheckedCard, owner: str) -> _Owned:
        """The same, as the card has it. Raises `owner-not-in-card`."""
        account = checked.card.owner(owner).account
        registrant = self.registrant or account
        if registrant != account:
            warn(
                f"{owner} votes with {account}: only a dataset that moved there is still called after "
                f"{registrant}"
            )
        return _Owned(place=owner, registrant=registrant, signer=account)


def _owned(owner: str | None, account: str | None) -> _Owned:
    """Whose dataset it is, as the command line says."""
    from sealroom.encoding import normal_address
    from sealroom.errors import FormatError

    try:
        address = "" if account is None else normal_address(account)
    except FormatError:
        raise click.UsageError(f"--account {account!r} is no address: 0x and 40 hex digits") from None
    if owner is None and not address:
        raise click.UsageError("needs --owner ID, for a study; or --account ADDRESS, before there is one")
    if owner is None:
        given = click.get_current_context().get_parameter_source
        for name, option in _OF_A_STUDY.items():
            if given(name) is not ParameterSource.DEFAULT:
                raise click.UsageError(f"{option} is about a study: name its owner with --owner ID")
    return _Owned(place=owner or address, registrant=address, signer=address)


_OF_A_STUDY = {
    "study": "--study",
    "rpc": "--rpc",
    "gate_compose": "--gate-compose",
    "simulated_root": "--simulated-root",
}
"""Options that say something about the study, by the names of their parameters."""


def file_stem(name: str, version: int) -> str:
    """Name of a version's files: those of the first are called after the dataset alone."""
    return name if version == 1 else f"{name}.v{version}"


def _outputs(
    source: Path, *, place: str, name: str, version: int, out: Path | None, key_out: Path | None
) -> Outputs:
    """Where to write; refused before anything is read when input and outputs are one, by whatever name."""
    stem = file_stem(name, version)
    sealed = out if out is not None else SEALED_FOLDER / place / f"{stem}.tar"
    key = key_out if key_out is not None else KEYS_FOLDER / place / f"{stem}.key"
    for path in (sealed, key):
        refuse_stdout(path)
    if out is not None and key_out is None:
        raise click.UsageError("--out needs --key-out: say where the data key stays")
    outputs = Outputs(sealed=sealed, key=key, registration=sealed.with_suffix(".registration.json"))
    if len({source.resolve(), *(path.resolve() for path in outputs.all)}) != 4 or any(
        path.exists() and source.exists() and path.samefile(source) for path in outputs.all
    ):
        raise ToolError(
            Code.SAME_FILE, "input, sealed dataset and key must be different files", "name another --out"
        )
    if source.is_dir() and any(path.resolve().is_relative_to(source.resolve()) for path in outputs.all):
        raise ToolError(
            Code.SAME_FILE, f"an output would lie in {source}, which is sealed", "name another --out"
        )
    _refuse_key_that_would_leave(outputs)
    return outputs


def _refuse_key_that_would_leave(outputs: Outputs) -> None:
    """A copy of the sealed file's folder, or of all of `sealed/`, must hold no key."""
    leaves, stays = outputs.sealed.parent.resolve(), outputs.key.parent.resolve()
    # A sealed file that somebody puts where they work: its folder is no folder to be sent.
    below = leaves != Path.cwd() and stays.is_relative_to(leaves)
    if leaves == stays or below or stays.is_relative_to(SEALED_FOLDER.resolve()):
        raise ToolError(
            Code.KEY_WOULD_LEAVE,
            f"the key {outputs.key} would lie where sealed files lie, and leave with them",
            "name a --key-out in another folder, such as keys/",
        )


def _refuse_existing(outputs: Outputs) -> None:
    hint = (
        "for another recipe or consortium: sealroom reseal; for a correction: --dataset-version N; "
        "else name another file"
    )
    if os.path.lexists(outputs.key):
        if not os.path.lexists(outputs.sealed):
            hint = "if it is of no sealed file (a run that was killed may have left it), remove it; " + hint
        raise ToolError(Code.KEY_EXISTS, f"{outputs.key} exists, and a data key is never overwritten", hint)
    if os.path.lexists(outputs.sealed):
        raise ToolError(Code.OUTPUT_EXISTS, f"{outputs.sealed} exists, and may be registered already", hint)


def _need_space(job: Job) -> None:
    from sealroom_agents.owner import disk_space

    here, there = job.outputs.sealed.parent, job.source.path.absolute().parent
    sealed = disk_space.sealed_size(job.source.size)
    if job.source.remade is not None:
        disk_space.need(there, job.source.size, what=f"what is made of {job.source.path}")
        # On one disk both stand side by side for a while.
        sealed += job.source.size
    disk_space.need(here, sealed, what=str(job.outputs.sealed))


def _leaves_and_stays(job: Job) -> list[tuple[str, str]]:
    source, outputs = job.source, job.outputs
    rows = f"{source.rows:,} rows" if source.rows is not None else "number of rows"
    clear = f"its name, columns, {rows}, size" if source.columns is not None else "its name and size"
    clear += " and the account"
    lines = [
        ("leaves", f"{outputs.sealed}: ciphertext, and in clear {clear}"),
        ("stays", f"{source.path}, and the data key {outputs.key}"),
    ]
    if job.context is None:
        lines.append(("for", "nobody yet: sealroom reseal wraps its key for a study"))
    if source.remade is not None:
        lines.append(("sealed as", source.remade))
    if source.columns is None:
        lines.append(("size", size(source.size)))
    return lines


def _rows_and_columns(seen: Profile) -> list[tuple[str, str]]:
    return [("rows", f"{seen.rows:,}"), *((column.name, column.sentence()) for column in seen.columns)]


def _unlock(signing: Keystore | None, *, account: str, owner: str) -> Signer | None:
    """The owner's key, unlocked before the work begins, so that a typing error costs no hour."""
    if signing is None:
        return None
    from sealroom_agents.owner.signing import require_owner

    if signing.address is not None:
        require_owner(signing.address, account, owner=owner)
    signer = signing.unlock(ask_passphrase(str(signing.path)))
    require_owner(signer.address, account, owner=owner)
    return signer


def _report(
    summary: SealSummary,
    job: Job,
    seen: Profile | None,
    signer: Signer | None,
    approval: ApprovalState | None,
    *,
    as_json: bool,
) -> None:
    from sealroom.encoding import to_hex

    outputs = job.outputs
    ids = {"dataset_id": summary.dataset_id, "header_digest": summary.header_digest}
    if as_json:
        facts = {
            "datasetId": to_hex(summary.dataset_id),
            "account": job.account,
            "datasetVersion": job.version,
            "headerDigest": to_hex(summary.header_digest),
            "indexDigest": to_hex(summary.index_digest),
            "keyCommitment": to_hex(summary.key_commitment),
            "schemaHash": to_hex(summary.schema_hash),
            "rows": summary.rows,
            "columns": None if seen is None else [column.json() for column in seen.columns],
            "size": summary.size,
            "sealedSize": summary.sealed_size,
            "parts": summary.parts,
            "sealed": str(outputs.sealed),
            "key": str(outputs.key),
            "registration": str(outputs.registration),
            "signer": None if signer is None else signer.address,
            "sealedAs": job.source.remade,
            "approval": None if approval is None else approval.facts(),
            "wrap": None if job.context is None else bound_json(job.context, **ids),
        }
        click.echo(json.dumps(facts))
        return
    act = "register" if job.version == 1 else "add-version"
    if job.context is None:
        wrapped = [("wrap", "none: nothing opens it but the data key")]
        then = "sealroom reseal, for the study that shall read it"
    else:
        wrapped = bound_lines(job.context, **ids)
        then = f"send it; the runner reads it as {job.place}/{job.name}.tar"
    click.echo(
        table(
            [
                (
                    "sealed",
                    f"{outputs.sealed}  {size(summary.sealed_size)} in {plural(summary.parts, 'part')}",
                ),
                ("rows", f"{summary.rows:,}"),
                ("size", size(summary.size)),
                ("dataset", f"{to_hex(summary.dataset_id)}  version {job.version}"),
                ("account", job.account),
                *wrapped,
                ("signed", f"by {signer.address}" if signer is not None else "no"),
                ("key", f"{outputs.key}  keep it, send it to nobody"),
                ("registration", str(outputs.registration)),
                ("next", f"sealroom govern {act} --registration {outputs.sealed}"),
                ("then", then),
            ]
        )
    )
