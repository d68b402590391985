# SPDX-License-Identifier: Apache-2.0
"""What `sealroom seal` asks before it opens its input: of the chain at one block, of the gate's evidence, and
of the disk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom_agents.cli.options import trust_for
from sealroom_agents.cli.standard_input import DASH
from sealroom_agents.cli.terminal import Red, coloured, size, warn
from sealroom_agents.errors import (
    CHAIN_CODES,
    AttestationError,
    CardError,
    ChainError,
    ConfigurationError,
    ToolError,
    UndecidedError,
)

if TYPE_CHECKING:
    from sealroom_agents.attestation import TrustRoot
    from sealroom_agents.chain import ChainReader
    from sealroom_agents.cli.seal_owned import Owned
    from sealroom_agents.facts import ChainView, DatasetRecord, LatestView
    from sealroom_agents.owner.approval import ApprovalState
    from sealroom_agents.owner.asked import Answer, Asked
    from sealroom_agents.owner.staging import Outputs
    from sealroom_agents.studycard import CheckedCard, StudyCard


@dataclass(frozen=True)
class Chain:
    """What the nodes say of a consortium and of one dataset."""

    view: ChainView
    """The consortium at a finalized block, the same from every node."""
    latest: LatestView
    """Its newest state: a revocation counts at once."""
    dataset: DatasetRecord
    """The dataset at the view's block."""
    newest: tuple[DatasetRecord, ...]
    """The dataset as each node shows it now."""


def ask_chain(
    reader: ChainReader, *, consortium: str, dataset: bytes, recipe: bytes | None, source: Path
) -> Chain:
    """Ask all of it. Raises `UndecidedError` where the nodes are away, behind or disagree; else what
    `ChainReader` does. recipe: compose hash of the card's recipe, if there is a card."""
    try:
        view = reader.finalized_view(consortium, compose_hash=recipe)
        latest = reader.latest_view(consortium)
        (found,) = reader.datasets_at(view, [dataset])
        newest = tuple(one for (one,) in reader.datasets_newest(consortium, [dataset]))
    except ChainError as error:
        if error.code not in CHAIN_CODES:
            raise
        raise UndecidedError(
            error.code,
            f"not decided, and {source} was not opened: {error.message}",
            "ask again, or name other nodes; without --rpc nothing is asked of the chain, and sealroom check "
            "--rpc can ask later",
        ) from error
    return Chain(view, latest, found, newest)


@dataclass(frozen=True)
class Heard:
    """All that is known before the input is opened."""

    checked: CheckedCard | None
    """The card; `None` without one, or where it fails."""
    approval: ApprovalState | None
    """How far its recipe's approval has come; `None` where no chain was asked."""
    asked: Asked | None
    """The answers; `None` where no chain was asked."""

    def require(self) -> None:
        """Raise with the code of the first answer that fails."""
        failed = None if self.asked is None else self.asked.failed
        if failed is None or failed.code is None or self.asked is None:
            return
        raise ToolError(failed.code, failed.detail, failed.hint, facts={"asked": self.asked.json()})


def hear(
    chain: Chain | None,
    card: StudyCard | None,
    owned: Owned,
    *,
    dataset: str,
    version: int,
    source: Path,
    outputs: Outputs,
    gate_compose: bytes | None,
    simulated_root: Path | None,
    registers: bool = False,
) -> Heard:
    """Judge the card, and answer what was asked. Without a chain, a card that fails is raised at once.

    registers: whether the caller registers the dataset next, which comes before a study is proposed.
    """
    if chain is None and card is None:
        return Heard(None, None, None)
    from sealroom_agents import studycard
    from sealroom_agents.cli.card import tell_doubts
    from sealroom_agents.owner import asked
    from sealroom_agents.owner.approval import approval_in

    if chain is None:
        checked = None
        if card is not None:
            checked = studycard.check(
                card, trust=_trust(card, simulated_root), now=int(time.time()), gate_compose=gate_compose
            )
            tell_doubts(checked, pinned=gate_compose is not None)
        return Heard(checked, None, None)
    view, now, owner = chain.view, int(time.time()), owned.place
    wanted = asked.Wanted(owned.registrant, owned.signer, dataset, version)
    answers = [*asked.of_registry(wanted, chain.dataset, chain.newest)]
    checked, approval = None, None
    if card is not None:
        approval = approval_in(view, chain.latest, compose_hash=card.recipe.compose_hash, owner=owner)
        early = registers or view.study is None
        answers.append(asked.of_approval(approval, owner=owner, early=early))
    answers.append(asked.of_standing(view, wanted.holder))
    if card is not None:
        try:
            checked = _checked(card, chain, gate_compose, simulated_root, now)
            answers.append(
                asked.of_gate(
                    policy=checked.gate.policy_hash,
                    issued=card.gate.issued,
                    now=now,
                    limit_s=studycard.GATE_EVIDENCE_MAX_AGE_S,
                )
            )
        except (AttestationError, CardError, ConfigurationError, FormatError) as error:
            name = "card" if error.code == Code.CARD_MISMATCH else "gate"
            answers.append(asked.Answer(name, asked.Verdict.FAILS, error.message, error.code, error.hint))
        answers.append(asked.of_budget(card.recipe, chain.dataset, view, now=view.block_time))
    answers.append(_space(source, outputs))
    return Heard(checked, approval, asked.Asked(view.chain_id, view.block_number, tuple(answers)))


def tell(heard: Heard, source: Path, *, shown: bool) -> None:
    """The answers on stderr, and a warning for each doubt."""
    if heard.asked is None:
        return
    from sealroom_agents.owner.asked import Verdict

    for one in heard.asked.answers:
        if one.verdict is Verdict.DOUBT:
            warn(one.detail if one.hint is None else f"{one.detail}: {one.hint}")
    if shown or heard.asked.failed is not None:
        for line in _lines(heard.asked, source):
            click.echo(line, err=True)


def _lines(asked: Asked, source: Path) -> Iterator[str]:
    from sealroom_agents.owner.asked import Verdict

    marks = {Verdict.HOLDS: "ok", Verdict.DOUBT: "doubt", Verdict.FAILS: "FAILS"}
    yield f"asked at finalized block {asked.block} of chain {asked.chain_id}, before {source} is opened"
    for one in asked.answers:
        detail = Red(one.detail) if one.verdict is Verdict.FAILS else one.detail
        yield f"{marks[one.verdict]:<6}  {one.name:<8}  {coloured(detail)}"


def _checked(
    card: StudyCard, chain: Chain, gate_compose: bytes | None, simulated_root: Path | None, now: int
) -> CheckedCard:
    """The card, against the chain; its gate judged by the policy that the owners adopted, and no more."""
    from sealroom.platform_policy import PlatformPolicy
    from sealroom_agents import studycard
    from sealroom_agents.attestation import trust_under, verify_gate

    trust = _trust(card, simulated_root)
    checked = studycard.check(
        card, trust=trust, now=now, view=chain.view, latest=chain.latest, gate_compose=gate_compose
    )
    # Its hash is that which the owners adopted: the card's check compared them.
    rules = PlatformPolicy.of_document(card.gate.policy)
    verify_gate(card.gate, trust=trust_under(rules, trust), now=now)
    return checked


def _trust(card: StudyCard, simulated_root: Path | None) -> TrustRoot:
    return trust_for(simulated_root, chain_id=card.chain_id)


def _space(source: Path, outputs: Outputs) -> Answer:
    """`space`: whether a sealed file of the input's length fits; no byte of the input is read."""
    from sealroom_agents.owner import disk_space
    from sealroom_agents.owner.asked import Answer, Verdict

    folder = outputs.sealed.parent
    if source == DASH:
        return Answer("space", Verdict.HOLDS, "of standard input, once all of it came")
    if not source.exists():
        said = f"{source}: no such file or folder"
        return Answer("space", Verdict.FAILS, said, Code.SOURCE_MISSING)
    if source.is_dir():
        return Answer("space", Verdict.HOLDS, f"of the folder {source}, once it is listed")
    needed = disk_space.sealed_size(source.stat().st_size, None)
    try:
        disk_space.need(folder, needed, what=str(outputs.sealed))
    except ToolError as error:
        return Answer("space", Verdict.FAILS, error.message, error.code, error.hint)
    free = disk_space.free_at(folder)
    return Answer("space", Verdict.HOLDS, f"{size(needed)} of {size(free)} that are free in {folder}")
