# SPDX-License-Identifier: Apache-2.0
"""``sealroom seal``: check the study card, then seal one dataset at its source, for that recipe alone."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

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

SEALED_FOLDER = Path("sealed")
"""What may leave, as OWNER/NAME.tar, just as the runner reads it; ignored by git."""
KEYS_FOLDER = Path("keys")
"""Folder of what stays. Another one, so that a copy of the first holds no key."""


@click.command()
@study_option
@click.option("--owner", required=True, metavar="ID", help="Who seals, as the card names it: hospital-A.")
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
    owner: str,
    source: Path,
    kind: str | None,
    delimiter: str,
    out: Path | None,
    name: str | None,
    key_out: Path | None,
    sign_with: Path | None,
    rpc: tuple[str, ...],
    gate_compose: bytes | None,
    simulated_root: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Seal a dataset at its source, for one recipe of one consortium.

    First the study card is checked: the recipe breaks no rule, the gate is attested, and with --rpc all of
    it is the same on chain. Then the input is encrypted part by part under a fresh data key, and that key is
    wrapped to the gate, bound to this recipe: with one byte of the recipe changed, the wrap does not open.

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
    """
    from sealroom_agents.owner import keystore
    from sealroom_agents.owner import source as sources
    from sealroom_agents.owner.staging import recover

    dataset = name if name is not None else source.stem
    outputs = _outputs(source, owner=owner, name=dataset, out=out, key_out=key_out)
    reader = reader_for(rpc) if rpc else None
    checked = checked_card(study, reader=reader, gate_compose=gate_compose, simulated_root=simulated_root)
    context = wrap_context(checked, owner=owner)
    declared = dataset_in(checked.card.recipe, owner=owner, name=dataset)
    found = sources.look(source, kind=kind, declared=declared.columns, delimiter=delimiter)
    if found.columns is None:
        warn("the recipe declares a table, and this is none: no study can read it yet")
    else:
        check_columns(found.columns, declared, where=str(source))
    signing = keystore.read(sign_with) if sign_with is not None else None
    left = recover(outputs)
    if left is not None:
        warn(f"a run that was killed left its key in {left}; it opens nothing: remove that folder")
    _refuse_existing(outputs)
    approval = approval_of(checked, reader, owner=owner)
    job = Job(found, declared, delimiter, outputs, context)
    _need_space(job)
    shown = not (as_json and yes)
    if shown:
        announce(checked, approval, owner=owner)
        click.echo(table(_leaves_and_stays(job)), err=True)
    with interruptible(), ExitStack() as stack:
        plain = stack.enter_context(made(job))
        seen = None if found.columns is None else profiled(job, plain)
        if shown and seen is not None:
            click.echo(table(_rows_and_columns(seen)), err=True)
        confirm(f"seal {source} for this recipe?", yes=yes)
        signer = _unlock(signing, account=checked.card.owner(owner).account, owner=owner)
        try:
            summary = seal_as_made(job, plain, signer)
        finally:
            if signer is not None:
                signer.key.wipe()
    _report(summary, job, seen, signer, approval, as_json=as_json)


def _outputs(source: Path, *, owner: str, name: str, out: Path | None, key_out: Path | None) -> Outputs:
    """Where to write; refused before anything is read when input and outputs are one, by whatever name."""
    sealed = out if out is not None else SEALED_FOLDER / owner / f"{name}.tar"
    key = key_out if key_out is not None else KEYS_FOLDER / owner / f"{name}.key"
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
    hint = "for a new recipe or epoch: sealroom reseal; else name another file"
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
    lines = [
        ("leaves", f"{outputs.sealed}: ciphertext, and in clear {clear}"),
        ("stays", f"{source.path}, and the data key {outputs.key}"),
    ]
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

    outputs, owner = job.outputs, job.declared.owner
    if as_json:
        facts = {
            "datasetId": to_hex(summary.dataset_id),
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
            "wrap": bound_json(job.context, owner=owner, dataset_id=summary.dataset_id),
        }
        click.echo(json.dumps(facts))
        return
    click.echo(
        table(
            [
                (
                    "sealed",
                    f"{outputs.sealed}  {size(summary.sealed_size)} in {plural(summary.parts, 'part')}",
                ),
                ("rows", f"{summary.rows:,}"),
                ("size", size(summary.size)),
                ("dataset", to_hex(summary.dataset_id)),
                *bound_lines(job.context, owner=owner, dataset_id=summary.dataset_id),
                ("signed", f"by {signer.address}" if signer is not None else "no"),
                ("key", f"{outputs.key}  keep it, send it to nobody"),
                ("registration", str(outputs.registration)),
                ("next", f"sealroom register {outputs.sealed}"),
                ("then", f"send it; the runner reads it as {owner}/{job.declared.name}.tar"),
            ]
        )
    )
