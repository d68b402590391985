# SPDX-License-Identifier: Apache-2.0
"""What `sealroom seal` says: before it asks, and when it is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from sealroom_agents.cli.binding import (
    bound_json,
    bound_lines,
)
from sealroom_agents.cli.prepare_told import prepared_facts
from sealroom_agents.cli.sealing import Job, Plain
from sealroom_agents.cli.terminal import Hand, one_object, plural, size, table

if TYPE_CHECKING:
    from sealroom.sealed import SealSummary
    from sealroom_agents.cli.seal_asked import Heard
    from sealroom_agents.owner.keystore import Keystore, Signer
    from sealroom_agents.owner.profile import Profile
    from sealroom_agents.owner.staging import Leftovers


def leaves_and_stays(job: Job) -> list[tuple[str, str]]:
    """What leaves the owner's house and what stays, before the owner is asked."""
    source, outputs = job.source, job.outputs
    # How many rows is told below, as they were counted in what is sealed.
    clear = "its name, columns, number of rows, size" if source.columns is not None else "its name and size"
    clear += " and the account"
    lines = [
        ("leaves", f"{outputs.sealed}: ciphertext, and in clear {clear}"),
        ("stays", f"{source.called}, and the data key {outputs.key}"),
    ]
    if job.context is None:
        lines.append(("for", "nobody yet: sealroom reseal wraps its key for a study"))
    if source.form is not None:
        lines.append(("read as", source.form.words()))
    if source.preparing is not None:
        lines.append(("prepared", f"by {source.preparing.file}, which is kept as {outputs.prepare}"))
    if source.remade is not None:
        lines.append(("sealed as", source.remade))
    if source.columns is None:
        lines.append(("size", size(source.size)))
    return lines


def _kept(job: Job) -> str:
    if not job.parties:
        return "keep it, send it to nobody"
    return f"wrapped for {', '.join(party.name for party in job.parties)}"


def rows_and_columns(seen: Profile | None) -> list[tuple[str, str]]:
    """What was read back from what will be sealed; nothing for what is no table."""
    if seen is None:
        return []
    return [("rows", f"{seen.rows:,}"), *((column.name, column.sentence()) for column in seen.columns)]


def rehearse(
    job: Job,
    seen: Profile | None,
    heard: Heard,
    beside: Sequence[tuple[str, str]],
    signing: Keystore | None,
    left: Leftovers,
    *,
    as_json: bool,
) -> None:
    """What would be written, and where."""
    from sealroom.encoding import to_hex
    from sealroom.model import dataset_id
    from sealroom_agents.cli.rehearsal import rehearsed
    from sealroom_agents.owner import disk_space

    outputs, most = job.outputs, disk_space.sealed_size(job.source.size, job.source.columns)
    would = [
        *(("remove", f"{path}  left by a run that was killed") for path in left.folders),
        *(("remove", f"{path}  of that run: no sealed file came of it") for path in left.files),
        ("write", f"{outputs.sealed}  at most {size(most)}"),
        ("write", f"{outputs.key}  {_kept(job)}"),
        ("write", str(outputs.registration)),
    ]
    if job.source.preparing is not None:
        would.append(("write", f"{outputs.prepare}  as {job.source.preparing.file} is"))
    if job.report_key.fresh is not None:
        would.append(("write", f"{job.report_key.place}  opens the reasons of failed runs"))
    if signing is not None:
        would.append(("sign", f"its index, with {signing.path}"))
    facts = {
        "datasetId": to_hex(dataset_id(job.account, job.name)),
        "account": job.account,
        "datasetVersion": job.version,
        "rows": None if seen is None else seen.rows,
        "columns": None if seen is None else [column.json() for column in seen.columns],
        "sealed": str(outputs.sealed),
        "key": str(outputs.key),
        "registration": str(outputs.registration),
        "recipients": [party.name for party in job.parties],
        "sealedAs": job.source.remade,
        "prepare": None if job.source.preparing is None else str(outputs.prepare),
        **_heard(heard, beside),
    }
    rehearsed(would, facts, as_json=as_json)


def _declared(job: Job) -> str | None:
    """The declared file by which the input was prepared."""
    return None if job.source.preparing is None else str(job.source.preparing.file)


def _heard(heard: Heard, beside: Sequence[tuple[str, str]]) -> dict[str, object]:
    """What was known before the input was opened, and what is different from the version before."""
    return {
        "approval": None if heard.approval is None else heard.approval.facts(),
        "asked": None if heard.asked is None else heard.asked.json(),
        "before": dict(beside) or None,
    }


def report(
    summary: SealSummary,
    job: Job,
    plain: Plain,
    seen: Profile | None,
    signer: Signer | None,
    heard: Heard,
    beside: Sequence[tuple[str, str]],
    *,
    as_json: bool,
    registers: Hand | None = None,
) -> None:
    """What was sealed, as a table or as JSON. registers: a caller that registers it by itself, so that
    nothing is left to do, and tells JSON of all it did."""
    from sealroom.encoding import to_hex

    outputs = job.outputs
    prepared = plain.ready.prepared
    ids = {"dataset_id": summary.dataset_id, "header_digest": summary.header_digest}
    if registers is not None or as_json:
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
            "recipients": [party.name for party in job.parties],
            "registration": str(outputs.registration),
            "prepare": None
            if prepared is None
            else {"file": str(outputs.prepare), "by": _declared(job), **prepared_facts(prepared)},
            "signer": None if signer is None else signer.address,
            "readAs": None if job.source.form is None else job.source.form.json(),
            "sealedAs": job.source.remade,
            **_heard(heard, beside),
            "wrap": None if job.context is None else bound_json(job.context, **ids),
        }
        if registers is not None:
            registers(facts)
        else:
            click.echo(one_object(facts))
    if as_json:
        return
    where = "0x…" if job.context is None else job.context.consortium
    act = f"register {_budget(heard)}" if job.version == 1 else "add-version"
    if job.context is None:
        wrapped = [("wrap", "none: nothing opens it but the data key")]
        then = "sealroom reseal, for the study that shall read it"
    else:
        wrapped = bound_lines(job.context, **ids)
        then = f"send it; the runner reads it as {job.place}/{job.name}.tar"
    left = [
        ("next", f"sealroom govern {act} --registration {outputs.sealed} --consortium {where}"),
        ("then", then),
    ]
    click.echo(
        table(
            [
                (
                    "sealed",
                    f"{outputs.sealed}  {size(summary.sealed_size)} in {plural(summary.parts, 'part')}",
                ),
                ("rows", f"{summary.rows:,}" if seen is not None else "not a table"),
                ("size", size(summary.size)),
                ("dataset", f"{to_hex(summary.dataset_id)}  version {job.version}"),
                ("account", job.account),
                *wrapped,
                ("signed", f"by {signer.address}" if signer is not None else "no"),
                ("key", f"{outputs.key}  {_kept(job)}"),
                ("report key", f"{job.report_key.place or 'your own'}  opens the reasons of failed runs"),
                ("registration", str(outputs.registration)),
                *(
                    []
                    if prepared is None
                    else [("prepared", f"by {_declared(job)}, kept as {outputs.prepare}")]
                ),
                *([] if registers is not None else left),
            ]
        )
    )


def _budget(heard: Heard) -> str:
    """Options of `govern register` that say what may be spent, without which the study could not run."""
    if heard.checked is None:
        return "--lifetime EPS [--lifetime-delta DELTA]"
    delta = " --lifetime-delta DELTA --delta DELTA" if heard.checked.card.recipe.privacy.delta else ""
    return f"--lifetime EPS --cap EPS{delta}"
