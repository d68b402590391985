# SPDX-License-Identifier: Apache-2.0
"""``sealroom seal``: seal one dataset at its source, for the recipe of a checked card or for none yet."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click

from sealroom_agents.cli.binding import announce, check_columns, dataset_in, read_card, wrap_context
from sealroom_agents.cli.input_options import TABLES, given_dialect, given_kind, input_options, require_csv
from sealroom_agents.cli.key_options import parties, recipient_options
from sealroom_agents.cli.new_version import (
    NEW_VERSION_HELP,
    compared,
    recipients_of,
    refuse_number,
    version_before,
)
from sealroom_agents.cli.options import (
    FILE,
    FILE_OR_FOLDER,
    dry_run_option,
    gate_compose_option,
    json_option,
    reader_for,
    rpc_option,
    simulated_root_option,
    study_option,
    yes_option,
)
from sealroom_agents.cli.prepare_told import prepared_lines
from sealroom_agents.cli.pseudonym_options import pseudonym_key_options
from sealroom_agents.cli.seal_asked import ask_chain, hear, tell
from sealroom_agents.cli.seal_outputs import HOME, Home, need_space, outputs_of, refuse_existing
from sealroom_agents.cli.seal_owned import keystore_in, owned_by, unlocked
from sealroom_agents.cli.seal_prepared import PREPARE_HELP, asked_preparing
from sealroom_agents.cli.seal_report import leaves_and_stays, rehearse, report, rows_and_columns
from sealroom_agents.cli.sealing import Job, made, profiled, seal_as_made
from sealroom_agents.cli.standard_input import DASH, check_input, taken, tells_standard_input
from sealroom_agents.cli.terminal import Hand, confirm, interruptible, require_somebody, table, warn
from sealroom_agents.cli.wrapping import ONE_RECIPIENT


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
    "--consortium",
    metavar="ADDRESS",
    help="With --account and --rpc: the consortium in whose registry the dataset's name must be free.",
)
@click.option(
    "--in",
    "source",
    required=True,
    type=FILE_OR_FOLDER,
    metavar="FILE",
    help="What to seal; see above. - is standard input.",
)
@input_options(*TABLES, "opaque")
@click.option(
    "--prepare",
    type=FILE,
    metavar="FILE",
    help=PREPARE_HELP,
)
@pseudonym_key_options
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
    "--new-version",
    is_flag=True,
    help=NEW_VERSION_HELP,
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
@dry_run_option
@yes_option
@json_option
@tells_standard_input
def seal(
    study: Path,
    owner: str | None,
    account: str | None,
    consortium: str | None,
    source: Path,
    out: Path | None,
    name: str | None,
    version: int,
    new_version: bool,
    key_out: Path | None,
    report_key: Path | None,
    sign_with: Path | None,
    rpc: tuple[str, ...],
    gate_compose: bytes | None,
    simulated_root: Path | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    kind: str | None = None,
    prepare: Path | None = None,
    home: Home = HOME,
    registers: Hand | None = None,
) -> None:
    """Seal a dataset at its source, for one recipe of one consortium, or before there is one.

    First the study card is checked: the recipe breaks no rule, the gate is attested. With --rpc, the chain
    is asked too, at one block and before a byte of the input is read: card and gate are the consortium's,
    name and version are free, a run fits the dataset's budget. What you can mend is refused until you did;
    what others have yet to do, such as an approval, is told. Where no node answers, nothing is decided and
    nothing sealed, with status 3. Without --rpc nothing is asked.

    Then the input is encrypted part by part under a fresh data key, and that key is wrapped to the gate,
    bound to this recipe: with one byte of the recipe changed, the wrap does not open.

    With --account and without --owner, no card is needed: the file is sealed before there is a consortium or
    a study, and its key is wrapped for nobody. `sealroom reseal` wraps it later, for each study anew; what
    was sealed and registered stays as it is.

    The input is a table with exactly the columns that the recipe declares: a Parquet file, sealed as it is;
    or an Arrow IPC or CSV file, or a folder of Parquet or of Arrow files, sealed as Parquet. With
    --as opaque any other file is sealed as it is, and a folder as a tar, for a dataset of the kind files.

    With --in - it comes through a pipe, as a Parquet file, an Arrow stream or, with --as csv, a CSV: name the
    dataset, and pass --yes, as nobody can be asked. Until it is sealed it stands in a file without a name in
    the folder where the command runs. An Arrow stream marks its end; of a CSV, compare the rows.

    With --prepare, the input becomes these columns by a declared file, ids of persons become pseudonyms, and
    no plain file lies on disk by its name. The declared file is kept beside the data key. A later version is
    refused until you say how it is prepared: --prepare kept is the same way.

    Nothing is guessed and nothing dropped: a CSV with a line that does not fit is refused, with its line and
    column. It may be compressed by gzip or zstd; how its numbers, dates and missing values are written is
    yours to say, as --decimal , --dates %d.%m.%Y for a German export. Before you are asked, rows and each
    column's nulls and ends, of days the years, are shown, read back from what will be sealed.

    Three files appear together, or none: the sealed file (send it), its data key (keep it, resealing needs
    it) and a registration (it goes on chain). The key is never written where the sealed file lies, not even
    for a moment. Beside it lies the owner's report key, made once: it opens the reasons of failed runs.
    An interrupted run leaves nothing; run it again.

    With --new-version, the input is a corrected extract of what was sealed or registered under this name: it
    takes the next number, is wrapped at home for those of the last version's key, and is told beside that
    version. With --dry-run all of it is asked, read and shown, and nothing is written.

    With --recipient, the data key is wrapped at home and never plain on disk: any one of the recipients opens
    it. Give two, and keep one elsewhere: without a recipient the data key is lost. See sealroom key.

    \b
    Example:
      sealroom seal --owner hospital-A --in cohort-A.parquet --rpc URL
      sealroom seal --owner hospital-A --in cohort-A.csv --sign-with officer.json
      sealroom seal --owner hospital-A --in export.csv --name cohort-A --prepare cohort-A.prepare.toml
      sealroom seal --study study.json --owner hospital-A --in cohort-A.arrow --rpc URL --yes --json
      sealroom seal --owner hospital-A --in fixed.parquet --name cohort-A --new-version --rpc URL
      sealroom seal --owner hospital-A --in export2.csv --name cohort-A --new-version --prepare kept
      sealroom seal --owner hospital-A --in cohort-A.parquet --rpc URL --dry-run
      sealroom seal --account 0x… --in cohort-A.parquet
      sealroom seal --account 0x… --in - --name cohort-A --yes < cohort-A.arrow
      sealroom seal --account 0x… --in cohort-A.parquet --rpc URL --consortium 0x…
      sealroom seal --account 0x… --in cohort-A.parquet --recipient officer=age1… --recipient escrow=age1…
    """
    from sealroom.keccak import dataset_id
    from sealroom_agents.owner import report_key as report_keys
    from sealroom_agents.owner import source as sources
    from sealroom_agents.owner.staging import Leftovers, leftovers, recover

    check_input(source)
    if source == DASH and (name is None or not (yes or dry_run)):
        raise click.UsageError("--in - needs --name NAME, and --yes: nobody can be asked")
    owned = owned_by(owner, account, rpc=rpc, consortium=consortium)
    if new_version:
        refuse_number()
    keepers = parties()
    dataset = name if name is not None else sources.name_of(source)
    where = partial(outputs_of, source, place=owned.place, name=dataset, out=out, key_out=key_out, home=home)
    outputs = where(version=version)
    card = None if owner is None else read_card(study)
    if card is not None and owner is not None:
        owned = owned.on(card, owner)
    chain = None
    if rpc:
        chain = ask_chain(
            reader_for(rpc),
            consortium=card.consortium if card is not None else str(owned.consortium),
            dataset=dataset_id(owned.registrant, dataset),
            recipe=None if card is None else card.recipe.compose_hash,
            source=source,
        )
    before = None
    if new_version:
        known = None if chain is None else chain.dataset
        before = version_before(
            place=owned.place, account=owned.registrant, name=dataset, chain=known, home=home
        )
        version = before.number + 1
        outputs = where(version=version)
        keepers = keepers or recipients_of(before)
    if len(keepers) == 1:
        warn(ONE_RECIPIENT)
    heard = hear(
        chain,
        card,
        owned,
        dataset=dataset,
        version=version,
        source=source,
        outputs=outputs,
        gate_compose=gate_compose,
        simulated_root=simulated_root,
        registers=registers is not None,
    )
    shown = not (as_json and (yes or dry_run))
    tell(heard, source, shown=shown)
    heard.require()
    checked, approval = heard.checked, heard.approval
    declared = None if card is None else dataset_in(card.recipe, owner=owned.place, name=dataset)
    columns = None if declared is None else declared.columns
    kind = kind or given_kind()
    preparing = asked_preparing(prepare, source, keys=outputs.key.parent, name=dataset, version=version)
    if preparing is not None:
        found = sources.look_prepared(source, preparing)
    else:
        found = sources.look(taken(source, kind), kind=kind, declared=columns, dialect=given_dialect())
        if registers is None:
            require_csv(found)
    if declared is not None and declared.schema is not None and found.columns is None:
        warn("the recipe declares a table, and this is none: it does not read it")
    elif declared is not None and declared.schema is None and found.entries is None:
        warn("the recipe declares a folder of files, and this is none: it does not read it")
    elif declared is not None and found.columns is not None:
        check_columns(found.columns, declared, where=str(found.called))
    signing = keystore_in(sign_with)
    left = leftovers(outputs) if dry_run else Leftovers(elsewhere=recover(outputs))
    if left.elsewhere is not None:
        warn(f"a run that was killed left its key in {left.elsewhere}; it opens nothing: remove that folder")
    refuse_existing(outputs, gone=left.files)
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
        person=None if checked is None else checked.card.recipe.unit,
    )
    need_space(job)
    if shown and checked is not None:
        announce(checked, approval, owner=owned.place, told=chain is not None)
    if shown:
        click.echo(table(leaves_and_stays(job)), err=True)
    question = f"seal {found.called} for {'no study yet' if checked is None else 'this recipe'}?"
    require_somebody(question, yes=yes or dry_run)
    with interruptible(), ExitStack() as stack:
        plain = stack.enter_context(made(job))
        seen = None if found.columns is None else profiled(job, plain)
        beside = () if before is None else compared(before, job, seen)
        told = [] if plain.ready.prepared is None else prepared_lines(plain.ready.prepared)
        if shown and (seen is not None or beside):
            click.echo(table([*told, *rows_and_columns(seen), *beside]), err=True)
        if dry_run:
            rehearse(job, seen, heard, beside, signing, left, as_json=as_json)
            return
        confirm(question, yes=yes)
        signer = unlocked(signing, account=owned.signer, owner=owned.place)
        try:
            summary = seal_as_made(job, plain, signer)
        finally:
            if signer is not None:
                signer.key.wipe()
    report(summary, job, plain, seen, signer, heard, beside, as_json=as_json, registers=registers)
