# SPDX-License-Identifier: Apache-2.0
"""A sealed file that its owner registers, as a page shows it before it is signed: a new dataset with its
lifetime budget, or a further version of one. Nothing is asked here, and nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator

from sealroom.encoding import to_hex
from sealroom.model.units import delta_text, epsilon_text
from sealroom_agents.console.changes import Change, Doubt, Row, desk
from sealroom_agents.console.display import plain
from sealroom_agents.facts import ChainView, DatasetRecord
from sealroom_agents.governance.acts import Call
from sealroom_agents.owner.registration import Registration

FILE = "cohort.registration.json"
NONE = "not registered"


def dataset(
    view: ChainView, given: Registration, known: DatasetRecord | None, *, epsilon_micro: int, delta_pico: int
) -> Change:
    """Register a dataset with its first version. known: the dataset, where it is registered already."""
    owners = {one.account for one in view.owners}
    doubts = []
    if known is not None:
        told = "It is registered already: a corrected extract is sealed as its next version."
        doubts.append(Doubt(True, told))
    if given.owner not in owners:
        told = f"It was sealed for {given.owner}, which has no seat here: no study can use it before it has."
        doubts.append(Doubt(False, told))
    return Change(
        kind="register", title=f"Register the dataset {plain(given.name)}",
        effect="It counts at once, for all consortia: the sealed file, and what may ever be spent on it. "
        "Nothing may be spent here before you allow this consortium some of it, by a second transaction.",
        rows=(
            *_rows(given, None),
            ("ε for life", "nothing", epsilon_text(epsilon_micro)),
            ("δ for life", "nothing", delta_text(delta_pico)),
        ),
        call=Call(
            "Ledger", view.ledger, "register",
            (given.name, given.version.solidity(), epsilon_micro, delta_pico),
        ),
        command=desk(
            view.consortium,
            f"register --registration {FILE} --lifetime {epsilon_text(epsilon_micro)} "
            f"--lifetime-delta {delta_text(delta_pico)}",
        ),
        voters=(), needed=0, holder=given.owner,
        because="the file was sealed for it, and its id follows from it",
        doubts=tuple(doubts), then=to_hex(given.dataset),
    )  # fmt: skip


def version(view: ChainView, given: Registration, known: DatasetRecord | None) -> Change:
    """Register a further sealed file of a dataset. known: the dataset in its newest version."""
    return Change(
        kind="add-version", title=f"Register version {given.number} of {plain(given.name)}",
        effect="It counts at once: studies that name no version use it from their next run on. Its budget is "
        "that of the versions before, and what was spent stays spent.",
        rows=tuple(_rows(given, known)),
        call=Call("Ledger", view.ledger, "addVersion", (given.dataset, given.version.solidity())),
        command=desk(view.consortium, f"add-version --registration {FILE}"), voters=(), needed=0,
        holder=known.holder if known else given.owner, because="it holds the dataset",
        doubts=tuple(_doubts(given, known)),
    )  # fmt: skip


def _doubts(given: Registration, known: DatasetRecord | None) -> Iterator[Doubt]:
    if known is None:
        yield Doubt(True, "It is not registered yet: its first version is.")
        return
    if given.number != known.number + 1:
        told = f"The file is version {given.number}, and the next one is {known.number + 1}: seal it anew."
        yield Doubt(True, told)
    if given.version.schema_hash != known.version.schema_hash:
        yield Doubt(False, "It has other columns than the version before: recipes that read those refuse it.")
    if given.version.key_commitment == known.version.key_commitment:
        yield Doubt(False, "It is sealed with the same key as the version before.")


def _rows(given: Registration, known: DatasetRecord | None) -> Iterator[Row]:
    then, now = given.version, known.version if known else None
    yield "dataset", to_hex(given.dataset) if now else NONE, to_hex(given.dataset)
    yield "name", plain(given.name) if now else NONE, plain(given.name)
    yield "version", str(known.number) if known else NONE, str(given.number)
    yield "sealed header", to_hex(now.header) if now else NONE, to_hex(then.header)
    yield "sealed index", to_hex(now.index) if now else NONE, to_hex(then.index)
    yield "key commitment", to_hex(now.key_commitment) if now else NONE, to_hex(then.key_commitment)
    yield "columns", to_hex(now.schema_hash) if now else NONE, to_hex(then.schema_hash)
    yield "records, as declared", f"{now.rows:,}" if now else NONE, f"{then.rows:,}"
