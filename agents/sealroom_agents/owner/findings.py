# SPDX-License-Identifier: Apache-2.0
"""Whether a sealed file is what it must be, without any key: one finding a question, in a fixed order.

What is known of the study and of the chain comes in; nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import SealError
from sealroom.keys import Secret
from sealroom.schema import misfits
from sealroom.sealed import SealedArchive, SealedInfo, Wrap, WrapContext
from sealroom_agents.owner.salvage import BrokenParts, salvage

if TYPE_CHECKING:
    from sealroom.recipe import Recipe
    from sealroom_agents.owner.consortium_contract import Registered

MOST_NAMED = 8
"""Stretches of broken parts that a sentence names."""


@dataclass(frozen=True)
class Finding:
    """The answer to one question."""

    name: str
    """What was asked: `frame`, `parts`, `key`, `owner`, `signature`, `recipe`, `wrap`, `registration`."""
    ok: bool
    """Whether it holds."""
    detail: str
    """What was found."""
    code: Code | None = None
    """Stable word for what is wrong."""
    broken: tuple[BrokenParts, ...] = ()
    """Of `key`: the parts that do not open."""

    def json(self) -> dict[str, object]:
        """The same as JSON."""
        row: dict[str, object] = {"name": self.name, "ok": self.ok, "code": self.code, "detail": self.detail}
        return {**row, "broken": [each.json() for each in self.broken]} if self.name == "key" else row


@dataclass(frozen=True)
class ConsortiumFacts:
    """One consortium, as a checked study card or the chain says."""

    chain_id: int
    """Chain id."""
    consortium: str
    """Address of the consortium."""
    ledger: str
    """Address of its ledger, which is the registry of datasets."""
    accounts: dict[str, str]
    """Accounts of its owners by their ids."""


def structure(path: Path, *, progress: Callable[[int, int], None] | None = None) -> Iterator[Finding]:
    """`frame`, then `parts`: everything that the file says of itself agrees, and each part has its digest."""
    try:
        archive = SealedArchive.open(path)
    except SealError as error:
        yield Finding("frame", False, error.message, error.code)
        return
    with archive:
        header = archive.info.header
        yield Finding("frame", True, f"{header.dataset} of {header.owner}, version {header.dataset_version}")
        try:
            archive.check_parts(progress=progress)
        except SealError as error:
            yield Finding("parts", False, error.message, error.code)
            return
        yield Finding("parts", True, f"{header.parts:,} of {header.parts:,} as the index lists them")


def opening(path: Path, dek: Secret, *, progress: Callable[[int, int], None] | None = None) -> Finding:
    """`key`: every part opens with it; asked of a broken file too, to tell what is left of it."""
    try:
        found = salvage(path, dek=dek, progress=progress)
    except SealError as error:
        return Finding("key", False, error.message, error.code)
    parts = found.header.parts
    if not found.broken and found.frame is not None and found.frame.code == Code.INDEX_MISMATCH:
        # Nothing else in the file tells that the index speaks of another key.
        return Finding(
            "key", False, f"opens {parts:,} of {parts:,} parts; {found.frame.message}", found.frame.code
        )
    if not found.broken:
        return Finding("key", True, f"opens {parts:,} of {parts:,} parts")
    lost = "; ".join(each.sentence() for each in found.broken[:MOST_NAMED])
    more = len(found.broken) - MOST_NAMED
    said = (
        f"opens {parts - found.lost:,} of {parts:,} parts: {lost}{f'; and {more:,} more' if more > 0 else ''}"
    )
    return Finding("key", False, said, Code.PARTS_BROKEN, found.broken)


def owner_of(info: SealedInfo, where: ConsortiumFacts, *, holder: str | None) -> str | None:
    """Id of the owner whose dataset this is: with the account that holds it on chain, or where no chain was
    asked, that is in the header."""
    account = info.header.owner if holder is None else holder
    return next((name for name, known in where.accounts.items() if known == account), None)


def owner(info: SealedInfo, where: ConsortiumFacts, *, holder: str | None) -> Finding:
    """`owner`: the dataset is an owner's of this consortium."""
    found = owner_of(info, where, holder=holder)
    if holder is not None and found is None:
        said = f"{holder} holds the dataset, and is no owner of {where.consortium}"
        return Finding("owner", False, said, Code.OWNER_UNKNOWN)
    if found is None:
        said = f"no owner has the account {info.header.owner}"
        return Finding("owner", False, said, Code.OWNER_UNKNOWN)
    moved = "" if holder in (None, info.header.owner) else f", whose account {holder} holds the dataset now"
    return Finding("owner", True, f"{found}{moved}")


def signature(info: SealedInfo, *, accounts: Collection[str], required: bool) -> Finding:
    """`signature`: by the account that votes for the owner, or that registered the dataset; none is fine
    unless one is required."""
    try:
        signer = info.index.signer()
    except SealError as error:
        return Finding("signature", False, error.message, error.code)
    if signer is None:
        said = "none: who sealed it is told by the chain alone"
        return Finding("signature", not required, said, Code.NOT_SIGNED if required else None)
    if signer not in accounts:
        said = f"by {signer}, the owner's account is {' or '.join(accounts)}"
        return Finding("signature", False, said, Code.SIGNER_NOT_OWNER)
    return Finding("signature", True, f"by {signer}, the owner's account")


def recipe(info: SealedInfo, study: Recipe, *, owner: str) -> Finding:
    """`recipe`: it reads this dataset, with these columns."""
    header = info.header
    for spec in study.datasets:
        if (spec.owner, spec.name) == (owner, header.dataset):
            for wrong in misfits(spec.columns, header.columns or ()):
                said = f"it declares other columns than the dataset has: that {wrong.what}"
                return Finding("recipe", False, said, Code.COLUMNS_DIFFER)
            how = "as files" if spec.schema is None else "with these columns"
            return Finding("recipe", True, f"{study.name} reads it, {how}")
    missing = f"{study.name} reads no dataset {owner}/{header.dataset}"
    return Finding("recipe", False, missing, Code.DATASET_NOT_IN_RECIPE)


def guarantee(study: Recipe) -> Finding:
    """`guarantee`: which one the recipe gives the people of this dataset; it decides nothing here."""
    from sealroom_agents.recipe_words import counted_words

    one = study.guarantee
    return Finding("guarantee", True, f"{one.name}, {counted_words(study)}. {one.sentence}")


def wrap(info: SealedInfo, context: WrapContext) -> Finding:
    """`wrap`: bound to exactly this recipe, app, consortium and gate."""
    found = info.wrap
    if found is None:
        return _not_wrapped()
    pairs = (
        ("compose hash", found.compose_hash, context.compose_hash),
        ("app", found.app, context.app),
        ("gate root", found.gate_root, context.gate_root),
        ("KMS root", found.kms_root, context.kms_root),
        ("chain id", found.chain_id, context.chain_id),
        ("consortium", found.consortium, context.consortium),
    )
    return _wrap(pairs, f"bound to recipe {to_hex(context.compose_hash)}")


def wrapped_on(info: SealedInfo, chain_id: int) -> Finding | None:
    """What is wrong with the `wrap` when this chain is to be asked about it; `None` if nothing."""
    if info.wrap is None:
        return _not_wrapped()
    found = _wrap((("chain id", info.wrap.chain_id, chain_id),), "")
    return None if found.ok else found


def wrap_on_chain(found: Wrap, *, app: str, gate_root: bytes | None) -> Finding:
    """`wrap` where there is no study card: all of it that the chain knows."""
    pairs = (("app", found.app, app), ("gate root", found.gate_root, gate_root))
    said = f"bound to {found.consortium} and its gate; to which recipe: {to_hex(found.compose_hash)}"
    return _wrap(pairs, said)


def registration(info: SealedInfo, found: Registered | None) -> Finding:
    """`registration`: exactly this file is registered under its number, and a finalized block holds it."""
    # Late, here and below: who asks no chain and no card waits for neither.
    from sealroom_agents.owner.registration import registration_of

    mine, number = registration_of(info).version, info.header.dataset_version
    if found is None:
        return Finding("registration", False, "the dataset is not registered", Code.NOT_REGISTERED)
    if found.version is None:
        said = f"version {number} is not registered, the newest is {found.newest}"
        return Finding("registration", False, said, Code.NOT_REGISTERED)
    ours, chain = mine.to_json(), found.version.to_json()
    differ = [name for name in ours if ours[name] != chain[name]]
    if differ:
        said = f"version {number} has another {', '.join(differ)} on chain"
        return Finding("registration", False, said, Code.REGISTRATION_DIFFERS)
    if not found.final:
        return Finding("registration", False, "registered, and not final yet: ask again", Code.NOT_FINAL)
    newest = "the newest" if number == found.newest else f"the newest is {found.newest}"
    return Finding("registration", True, f"version {number}, {newest}, {mine.rows:,} rows")


def _not_wrapped() -> Finding:
    return Finding("wrap", False, "the key is wrapped for no recipe yet", Code.NOT_WRAPPED)


def _wrap(pairs: Sequence[tuple[str, object, object]], said: str) -> Finding:
    for name, mine, theirs in pairs:
        if mine != theirs:
            return Finding(
                "wrap", False, f"bound to {name} {_short(mine)}, not {_short(theirs)}", Code.WRAP_OF_ANOTHER
            )
    return Finding("wrap", True, said)


def _short(value: object) -> str:
    return to_hex(value) if isinstance(value, bytes) else str(value)
