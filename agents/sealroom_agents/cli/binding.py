# SPDX-License-Identifier: Apache-2.0
"""What sealing and resealing share: the checked card, the recipe's dataset, and what a wrap is bound to."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom_agents.cli.card import describe, tell_doubts
from sealroom_agents.cli.options import trust_for
from sealroom_agents.cli.terminal import read_bounded, table
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom.recipe import Column, DatasetSpec, Recipe
    from sealroom.sealed import WrapContext
    from sealroom_agents.chain import ChainReader
    from sealroom_agents.owner.approval import ApprovalState
    from sealroom_agents.owner.needs import Needs
    from sealroom_agents.studycard import CheckedCard, StudyCard

MOST_TOLD = 20
"""Columns that a message names."""


def read_card(study: Path) -> StudyCard:
    """The study card in a file; nothing of it is proven yet. Raises `card-missing`."""
    from sealroom_agents import studycard

    if not study.exists():
        raise ToolError(
            Code.CARD_MISSING, f"{study}: no such file", "get the study card: sealroom card --help"
        )
    return studycard.parse(read_bounded(study, studycard.CARD_LIMIT_BYTES, "a study card"))


def checked_card(
    study: Path,
    *,
    reader: ChainReader | None,
    gate_compose: bytes | None,
    simulated_root: Path | None,
) -> CheckedCard:
    """The study card, checked with all that the command line gives; doubts go to stderr."""
    from sealroom_agents import studycard

    card = read_card(study)
    checked = studycard.check_with(
        card,
        trust=trust_for(simulated_root, chain_id=card.chain_id),
        now=int(time.time()),
        reader=reader,
        gate_compose=gate_compose,
    )
    tell_doubts(checked, pinned=gate_compose is not None)
    return checked


def approval_of(checked: CheckedCard, reader: ChainReader | None, *, owner: str) -> ApprovalState | None:
    """How far the recipe's approval has come; `None` where no chain was asked."""
    if reader is None:
        return None
    from sealroom_agents.owner.approval import approval_in

    card = checked.card
    view = reader.finalized_view(card.consortium, compose_hash=card.recipe.compose_hash)
    return approval_in(view, None, compose_hash=card.recipe.compose_hash, owner=owner)


def announce(checked: CheckedCard, approval: ApprovalState | None, *, owner: str, told: bool = False) -> None:
    """Show on stderr for which study an owner is about to seal, and which owners approved it, unless that
    was told before."""
    if told:
        click.echo(table(describe(checked)), err=True)
        return
    said = "not asked: pass --rpc URL to see it" if approval is None else approval.sentence(owner)
    click.echo(table([*describe(checked), ("approval", said)]), err=True)


def wrap_context(checked: CheckedCard, *, owner: str) -> WrapContext:
    """To what the wrap is bound: all of it comes from a checked card. Raises `owner-not-in-card`."""
    from sealroom.sealed import WrapContext

    card = checked.card
    card.owner(owner)
    return WrapContext(
        chain_id=card.chain_id,
        consortium=card.consortium,
        kms_root=checked.gate.kms_root_fingerprint,
        gate_public_key=checked.gate.root_public_key,
        app=card.app,
        compose_hash=card.recipe.compose_hash,
    )


def dataset_in(recipe: Recipe, *, owner: str, name: str) -> DatasetSpec:
    """The dataset as the recipe declares it. Raises `dataset-not-in-recipe`."""
    mine = [spec for spec in recipe.datasets if spec.owner == owner]
    for spec in mine:
        if spec.name == name:
            return spec
    wanted = ", ".join(spec.name for spec in mine)
    raise ToolError(
        Code.DATASET_NOT_IN_RECIPE,
        f"the recipe {recipe.name} reads no dataset {owner}/{name}",
        f"of {owner} it reads {wanted}: pass --name" if mine else f"it reads nothing of {owner}",
    )


def check_columns(columns: Iterable[Column], declared: DatasetSpec | Needs, *, where: str) -> None:
    """The table has exactly the columns that the recipe declares. Raises `columns-differ`, naming each."""
    from sealroom.schema import misfits

    wrong = list(misfits(declared.columns, columns))
    if wrong:
        told = [f"it {each.what}" for each in wrong[:MOST_TOLD]]
        told += [f"and {len(wrong) - MOST_TOLD:,} more"] if len(wrong) > MOST_TOLD else []
        raise ToolError(
            Code.COLUMNS_DIFFER,
            f"{where} does not have the columns that the recipe declares: {'; '.join(told)}",
            "; ".join(dict.fromkeys(each.remedy for each in wrong[:MOST_TOLD])),
        )


def bound_lines(context: WrapContext, *, dataset_id: bytes, header_digest: bytes) -> list[tuple[str, str]]:
    """The tuple that the wrap is bound to, as lines."""
    bound = bound_json(context, dataset_id=dataset_id, header_digest=header_digest)
    labels = {
        "chainId": "chain id",
        "kmsRoot": "KMS root",
        "composeHash": "compose hash",
        "dataset": "dataset",
        "gateRoot": "gate root",
    }
    return [
        ("wrap", "opens at the gate only for all of"),
        *((f"  {labels.get(name, name)}", str(value)) for name, value in bound.items()),
    ]


def bound_json(context: WrapContext, *, dataset_id: bytes, header_digest: bytes) -> dict[str, str | int]:
    """The same as JSON, in the order of the HPKE `info`."""
    from sealroom.encoding import to_hex

    return {
        "chainId": context.chain_id,
        "consortium": context.consortium,
        "kmsRoot": to_hex(context.kms_root),
        "app": context.app,
        "composeHash": to_hex(context.compose_hash),
        "dataset": to_hex(dataset_id),
        "header": to_hex(header_digest),
        "gateRoot": to_hex(context.gate_root),
    }
