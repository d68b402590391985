# SPDX-License-Identifier: Apache-2.0
"""``sealroom seal``: seal one dataset at its source, for the recipe of a checked card or for none yet."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from sealroom_agents.cli.binding import (
    announce,
    approval_of,
    check_columns,
    checked_card,
    dataset_in,
    wrap_context,
)
from sealroom_agents.cli.input_options import TABLES, given_dialect, given_kind, input_options
from sealroom_agents.cli.key_options import parties, recipient_options
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
from sealroom_agents.cli.seal_outputs import need_space, outputs_of, refuse_existing
from sealroom_agents.cli.seal_report import leaves_and_stays, report, rows_and_columns
from sealroom_agents.cli.sealing import Job, made, profiled, seal_as_made
from sealroom_agents.cli.terminal import (
    ask_passphrase,
    confirm,
    interruptible,
    table,
    warn,
)
from sealroom_agents.cli.wrapping import ONE_RECIPIENT

if TYPE_CHECKING:
    from sealroom_agents.owner.keystore import Keystore, Signer
    from sealroom_agents.studycard import CheckedCard


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
@input_options(*TABLES, "opaque")
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
    "--report-key",
    type=FILE,
    metavar="PUBLIC",
    help="Public report key, in base64, of an owner who keeps the private one elsewhere.  [default: made "
    "once, and kept as report-key.secret beside the data key]",
)
@click.option(
    "--sign-with",
    type=FILE,
    metavar="FILE",
    help="Sign the index with the owner's Ethereum keystore file; its passphrase is asked for, or taken "
    "from $SEALROOM_PASSPHRASE.",
)
@recipient_options
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
    out: Path | None,
    name: str | None,
    version: int,
    key_out: Path | None,
    report_key: Path | None,
    sign_with: Path | None,
    rpc: tuple[str, ...],
    gate_compose: bytes | None,
    simulated_root: Path | None,
    yes: bool,
    as_json: bool,
    kind: str | None = None,
    registers: bool = False,
) -> None:
    """Seal a dataset at its source, for one recipe of one consortium, or before there is one.

    First the study card is checked: the recipe breaks no rule, the gate is attested, and with --rpc all of
    it is the same on chain. Then the input is encrypted part by part under a fresh data key, and that key is
    wrapped to the gate, bound to this recipe: with one byte of the recipe changed, the wrap does not open.

    With --account and without --owner, no card is needed: the file is sealed before there is a consortium or
    a study, and its key is wrapped for nobody. `sealroom reseal` wraps it later, for each study anew; what
    was sealed and registered stays as it is.

    The input is a table with exactly the columns that the recipe declares: a Parquet file, sealed as it is;
    or an Arrow IPC or CSV file, or a folder of Parquet files with Hive's partitions, sealed as Parquet. With
    --as opaque any other file is sealed as it is, and a folder as a tar, for a dataset of the kind files.

    Nothing is guessed and nothing dropped: a CSV with a line that does not fit is refused, with its line and
    column. Before you are asked, rows and each column's nulls, smallest and largest value are shown, read
    back from what will be sealed.

    Three files appear together, or none: the sealed file (send it), its data key (keep it, resealing needs
    it) and a registration (it goes on chain). The key is never written where the sealed file lies, not even
    for a moment. Beside it lies the owner's report key, made once: it opens the reasons of failed runs.
    An interrupted run leaves nothing; run it again.

    With --recipient, the data key is wrapped at home and never plain on disk: any one of the recipients opens
    it. Give two, and keep one elsewhere: without a recipient the data key is lost. See sealroom key.

    \b
    Example:
      sealroom seal --owner hospital-A --in cohort-A.parquet --rpc URL
      sealroom seal --owner hospital-A --in cohort-A.csv --sign-with officer.json
      sealroom seal --study study.json --owner hospital-A --in cohort-A.arrow --rpc URL --yes --json
      sealroom seal --owner hospital-A --in cohort-A.parquet --dataset-version 2 --rpc URL
      sealroom seal --account 0x… --in cohort-A.parquet
      sealroom seal --account 0x… --in cohort-A.parquet --recipient officer=age1… --recipient escrow=age1…
    """
    from sealroom_agents.owner import keystore
    from sealroom_agents.owner import report_key as report_keys
    from sealroom_agents.owner import source as sources
    from sealroom_agents.owner.staging import recover

    owned = _owned(owner, account)
    keepers = parties()
    if len(keepers) == 1:
        warn(ONE_RECIPIENT)
    dataset = name if name is not None else source.stem
    outputs = outputs_of(source, place=owned.place, name=dataset, version=version, out=out, key_out=key_out)
    reader = reader_for(rpc) if rpc else None
    checked = None
    if owner is not None:
        checked = checked_card(study, reader=reader, gate_compose=gate_compose, simulated_root=simulated_root)
        owned = owned.on(checked, owner)
    declared = None if checked is None else dataset_in(checked.card.recipe, owner=owned.place, name=dataset)
    columns = None if declared is None else declared.columns
    found = sources.look(source, kind=kind or given_kind(), declared=columns, dialect=given_dialect())
    if declared is not None and declared.schema is not None and found.columns is None:
        warn("the recipe declares a table, and this is none: it does not read it")
    elif declared is not None and declared.schema is None and found.entries is None:
        warn("the recipe declares a folder of files, and this is none: it does not read it")
    elif declared is not None and found.columns is not None:
        check_columns(found.columns, declared, where=str(source))
    signing = keystore.read(sign_with) if sign_with is not None else None
    left = recover(outputs)
    if left is not None:
        warn(f"a run that was killed left its key in {left}; it opens nothing: remove that folder")
    refuse_existing(outputs)
    approval = None if checked is None else approval_of(checked, reader, owner=owned.place)
    job = Job(
        source=found,
        place=owned.place,
        account=owned.registrant,
        name=dataset,
        version=version,
        outputs=outputs,
        context=None if checked is None else wrap_context(checked, owner=owned.place),
        report_key=report_keys.of_owner(outputs.key.parent, report_key),
        parties=keepers,
    )
    need_space(job)
    shown = not (as_json and yes)
    if shown and checked is not None:
        announce(checked, approval, owner=owned.place)
    if shown:
        click.echo(table(leaves_and_stays(job)), err=True)
    with interruptible(), ExitStack() as stack:
        plain = stack.enter_context(made(job))
        seen = None if found.columns is None else profiled(job, plain)
        if shown and seen is not None:
            click.echo(table(rows_and_columns(seen)), err=True)
        confirm(f"seal {source} for {'no study yet' if checked is None else 'this recipe'}?", yes=yes)
        signer = _unlock(signing, account=owned.signer, owner=owned.place)
        try:
            summary = seal_as_made(job, plain, signer)
        finally:
            if signer is not None:
                signer.key.wipe()
    report(summary, job, seen, signer, approval, as_json=as_json, registers=registers)


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
