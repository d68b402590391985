# SPDX-License-Identifier: Apache-2.0
"""Whether a sealed file is what it must be, without any key: one finding a question, in a fixed order.

What is known of the study and of the chain comes in; nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import SealError
from sealroom.recipe import Recipe
from sealroom.sealed import SealedArchive, SealedInfo, WrapContext
from sealroom_agents.owner.consortium_contract import Registered
from sealroom_agents.owner.registration import registration_of


@dataclass(frozen=True)
class Finding:
    """The answer to one question."""

    name: str
    """What was asked: `frame`, `parts`, `signature`, `recipe`, `wrap`, `registration`."""
    ok: bool
    """Whether it holds."""
    detail: str
    """What was found."""
    code: Code | None = None
    """Stable word for what is wrong."""


@dataclass(frozen=True)
class ConsortiumFacts:
    """One consortium, as a checked study card or the chain says."""

    chain_id: int
    """Chain id."""
    consortium: str
    """Address of the consortium."""
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
        yield Finding("frame", True, f"{header.owner}/{header.dataset}  {to_hex(archive.info.dataset_id)}")
        try:
            archive.check_parts(progress=progress)
        except SealError as error:
            yield Finding("parts", False, error.message, error.code)
            return
        yield Finding("parts", True, f"{header.parts:,} of {header.parts:,} as the index lists them")


def consortium(info: SealedInfo, where: ConsortiumFacts) -> Finding:
    """`consortium`: the dataset belongs to this one, and to an owner of it."""
    header = info.header
    if (header.chain_id, header.consortium) != (where.chain_id, where.consortium):
        return Finding(
            "consortium",
            False,
            f"it is of {header.consortium} on chain {header.chain_id}, "
            f"not of {where.consortium} on chain {where.chain_id}",
            Code.OTHER_CONSORTIUM,
        )
    if header.owner not in where.accounts:
        return Finding("consortium", False, f"no owner is called {header.owner}", Code.OWNER_UNKNOWN)
    return Finding("consortium", True, f"{where.consortium}, owner {header.owner}")


def signature(info: SealedInfo, *, account: str | None, required: bool) -> Finding:
    """`signature`: by the account that votes for the owner; none is fine unless one is required."""
    try:
        signer = info.index.signer()
    except SealError as error:
        return Finding("signature", False, error.message, error.code)
    if signer is None:
        said = "none: who sealed it is told by the chain alone"
        return Finding("signature", not required, said, Code.NOT_SIGNED if required else None)
    if account is not None and signer != account:
        return Finding(
            "signature", False, f"by {signer}, the owner's account is {account}", Code.SIGNER_NOT_OWNER
        )
    return Finding("signature", True, f"by {signer}, the owner's account")


def recipe(info: SealedInfo, study: Recipe) -> Finding:
    """`recipe`: it reads this dataset, with these columns."""
    header = info.header
    for spec in study.datasets:
        if (spec.owner, spec.name) == (header.owner, header.dataset):
            if dict(header.columns or ()) != dict(spec.columns):
                return Finding(
                    "recipe", False, "it declares other columns than the dataset has", Code.COLUMNS_DIFFER
                )
            return Finding("recipe", True, f"{study.name} reads it, with these columns")
    missing = f"{study.name} reads no dataset {header.owner}/{header.dataset}"
    return Finding("recipe", False, missing, Code.DATASET_NOT_IN_RECIPE)


def wrap(info: SealedInfo, context: WrapContext) -> Finding:
    """`wrap`: bound to exactly this recipe, app, gate and epoch."""
    found = info.wrap
    pairs = (
        ("compose hash", found.compose_hash, context.compose_hash),
        ("epoch", found.epoch, context.epoch),
        ("app", found.app, context.app),
        ("gate root", found.gate_root, context.gate_root),
        ("KMS root", found.kms_root, context.kms_root),
        ("chain id", found.chain_id, context.chain_id),
        ("consortium", found.consortium, context.consortium),
    )
    return _wrap(pairs, f"bound to recipe {to_hex(context.compose_hash)}, epoch {context.epoch}")


def wrap_on_chain(info: SealedInfo, *, app: str, epoch: int, gate_root: bytes | None) -> Finding:
    """`wrap` where there is no study card: all of it that the chain knows."""
    found = info.wrap
    pairs = (
        ("epoch", found.epoch, epoch),
        ("app", found.app, app),
        ("gate root", found.gate_root, gate_root),
    )
    said = f"bound to this gate and epoch {epoch}; to which recipe: {to_hex(found.compose_hash)}"
    return _wrap(pairs, said)


def registration(info: SealedInfo, found: Registered | None, *, account: str | None) -> Finding:
    """`registration`: the owner registered exactly this, and a finalized block holds it."""
    if found is None:
        return Finding("registration", False, "it is not registered", Code.NOT_REGISTERED)
    mine, theirs = registration_of(info), found.registration
    if found.owner != account:
        return Finding(
            "registration",
            False,
            f"{found.owner} registered it, and the owner's account is {account}",
            Code.REGISTERED_BY_OTHER,
        )
    ours, chain = mine.to_json(), theirs.to_json()
    differ = [name for name in ours if ours[name] != chain[name]]
    if differ:
        return Finding(
            "registration", False, f"the chain has another {', '.join(differ)}", Code.REGISTRATION_DIFFERS
        )
    if not found.final:
        return Finding("registration", False, "registered, and not final yet: ask again", Code.NOT_FINAL)
    return Finding("registration", True, f"by {found.owner}, {mine.rows:,} rows")


def _wrap(pairs: Sequence[tuple[str, object, object]], said: str) -> Finding:
    for name, mine, theirs in pairs:
        if mine != theirs:
            return Finding(
                "wrap", False, f"bound to {name} {_short(mine)}, not {_short(theirs)}", Code.WRAP_OF_ANOTHER
            )
    return Finding("wrap", True, said)


def _short(value: object) -> str:
    return to_hex(value) if isinstance(value, bytes) else str(value)
