# SPDX-License-Identifier: Apache-2.0
"""The study card, `study.json`: what an owner needs in order to check a study and seal for it.

A card is a claim. Whoever hands it over may have put in a gate of his own, so nothing is sealed to a card
before `check` turned it into a `CheckedCard`: the recipe breaks no rule, the gate's quote shows that the
root key lives in an attested machine, and, where a node of the chain can be asked, owners, addresses and
gate are those of the consortium (AT-30). What changes with each vote and revocation is not in a card.

Format: one JSON object `{version: 2, chainId, consortium, app, ledger, recipe (base64), gate (the gate's
identity), owners: [{id, account}]}`; unknown fields are refused.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.encoding import Fields, strict_json, to_base64, to_hex
from sealroom.key_release import GateIdentity
from sealroom.recipe import Recipe
from sealroom.recipe import parse as parse_recipe
from sealroom_agents.attestation import GateFacts, TrustRoot, require_local_chain, verify_gate
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.errors import AttestationError, CardError
from sealroom_agents.facts import ChainView, LatestView

if TYPE_CHECKING:
    from sealroom_agents.chain import ChainReader

VERSION = 2
"""Version of the format."""
CARD_LIMIT_BYTES = 2 * 1024 * 1024
"""A card is a recipe and the gate's app-compose (at most 256 KiB each, in base64), a policy, a quote and
collateral (about 30 KiB): far below this."""
RECIPE_LIMIT_BYTES = 256 * 1024
"""What dstack takes as app-compose.json."""
OWNERS_LIMIT = 16
"""Owners that a consortium may have."""
ID_LIMIT_CHARACTERS = 32
GATE_EVIDENCE_MAX_AGE_S = 30 * 24 * 3600
"""Evidence older than this is refused, as Intel's collateral of that age would be."""
CLOCK_SKEW_S = 300
"""Evidence from further in the future than this is refused."""
GATE_TIMEOUT_S = 20.0
"""How long the gate may take to show its identity."""


@dataclass(frozen=True)
class CardOwner:
    """One owner as the card names it."""

    id: str
    """Short name, such as `hospital-A`."""
    account: str
    """Address that votes for it, `0x` + 40 lower-case hex digits."""


@dataclass(frozen=True)
class StudyCard:
    """A study card as it was read. Nothing of it is proven yet."""

    chain_id: int
    """Chain on which the consortium lives."""
    consortium: str
    """Address of the consortium."""
    app: str
    """Address of its DstackApp, which is the enclave's app id."""
    ledger: str
    """Address of the ledger that books its budget."""
    recipe: Recipe
    """The recipe, parsed and linted; `recipe.compose` are its exact bytes."""
    gate: GateIdentity
    """The gate's identity with its evidence."""
    owners: tuple[CardOwner, ...]
    """The owners, in the order of the contract."""

    def owner(self, owner_id: str) -> CardOwner:
        """The owner called `owner_id`. Raises `owner-not-in-card`."""
        for owner in self.owners:
            if owner.id == owner_id:
                return owner
        names = ", ".join(owner.id for owner in self.owners)
        raise CardError(
            Code.OWNER_NOT_IN_CARD, f"the card names no owner {owner_id}", f"its owners are {names}"
        )

    def encode(self) -> bytes:
        """The file `study.json`."""
        content = {
            "version": VERSION,
            "chainId": self.chain_id,
            "consortium": self.consortium,
            "app": self.app,
            "ledger": self.ledger,
            "owners": [{"id": owner.id, "account": owner.account} for owner in self.owners],
            "recipe": to_base64(self.recipe.compose),
            "gate": self.gate.to_json(),
        }
        return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"


@dataclass(frozen=True)
class CheckedCard:
    """A card that `check` accepted: the only thing that a dataset is sealed to."""

    card: StudyCard
    """The card."""
    gate: GateFacts
    """What the gate's quote proves."""
    block: int | None
    """Finalized block with which the card agrees; `None` when no chain was asked."""
    revoked_by: str | None
    """Who revoked the consortium, if somebody did: a new quorum is needed before anything runs."""


def parse(data: bytes) -> StudyCard:
    """Read a card strictly. Raises `FormatError`, `CardError`, `RecipeError` or `KeyReleaseError`."""
    fields = Fields(strict_json(data, CARD_LIMIT_BYTES), "the study card", error=CardError)
    fields.version(VERSION)
    chain_id = fields.integer("chainId", 1)
    consortium = fields.address("consortium")
    app = fields.address("app")
    ledger = fields.address("ledger")
    owners = tuple(_owner(item) for item in fields.array("owners", limit=OWNERS_LIMIT))
    if len({owner.id for owner in owners}) != len(owners) or not owners:
        fields.fail("must name each owner once")
    recipe = parse_recipe(fields.base64("recipe", limit=RECIPE_LIMIT_BYTES))
    gate = GateIdentity.from_json(fields.object("gate"))
    fields.done()
    return StudyCard(
        chain_id=chain_id,
        consortium=consortium,
        app=app,
        ledger=ledger,
        recipe=recipe,
        gate=gate,
        owners=owners,
    )


def check(
    card: StudyCard,
    *,
    trust: TrustRoot,
    now: int,
    view: ChainView | None = None,
    latest: LatestView | None = None,
    gate_compose: bytes | None = None,
) -> CheckedCard:
    """Decide whether the card may be sealed to; pure.

    now: unix seconds. view, latest: the chain, when it was asked. gate_compose: compose hash of the gate
    that the owner expects, for when it wasn't.

    Raises `CardError` or `AttestationError`.
    """
    require_local_chain(trust, card.chain_id)
    gate = _check_gate(card, trust=trust, now=now)
    if gate_compose is not None and gate_compose != gate.compose_hash:
        raise CardError(
            Code.GATE_NOT_REGISTERED,
            f"the gate runs compose {to_hex(gate.compose_hash)}, not {to_hex(gate_compose)}",
        )
    if view is None:
        return CheckedCard(card=card, gate=gate, block=None, revoked_by=None)
    _check_chain(card, view)
    _check_gate_on_chain(gate, view)
    revoked_by = view.revoked_by or (latest.revoked_by if latest is not None else None)
    return CheckedCard(card=card, gate=gate, block=view.block_number, revoked_by=revoked_by)


def load(
    path: Path,
    *,
    trust: TrustRoot,
    now: int,
    reader: ChainReader | None = None,
    gate_compose: bytes | None = None,
) -> CheckedCard:
    """Read and check the card in `path`; with a `reader` also against the chain."""
    with path.open("rb") as stream:
        card = parse(stream.read(CARD_LIMIT_BYTES + 1))
    return check_with(card, trust=trust, now=now, reader=reader, gate_compose=gate_compose)


def check_with(
    card: StudyCard,
    *,
    trust: TrustRoot,
    now: int,
    reader: ChainReader | None,
    gate_compose: bytes | None = None,
) -> CheckedCard:
    """`check`, with what `reader` says of the chain."""
    view = latest = None
    if reader is not None:
        view = reader.finalized_view(card.consortium)
        latest = reader.latest_view(card.consortium)
    return check(card, trust=trust, now=now, view=view, latest=latest, gate_compose=gate_compose)


def build(consortium: str, *, reader: ChainReader, recipe: bytes, gate_url: str) -> StudyCard:
    """Make a card from the chain's finalized block, a recipe's exact bytes and what a gate says of itself.

    The card is not checked: call `check_with` before it is handed on.
    """
    view = reader.finalized_view(consortium)
    return StudyCard(
        chain_id=view.chain_id,
        consortium=view.consortium,
        app=view.app,
        ledger=view.ledger,
        recipe=parse_recipe(recipe),
        gate=fetch_gate(gate_url),
        owners=tuple(CardOwner(id=owner.id, account=owner.account) for owner in view.owners),
    )


def fetch_gate(url: str) -> GateIdentity:
    """Ask a gate who it is. Nothing of the answer is proven. Raises `gate-unreachable`."""
    import httpx

    try:
        with (
            httpx.Client(timeout=GATE_TIMEOUT_S, follow_redirects=False) as client,
            client.stream("GET", f"{url.rstrip('/')}/v1/gate") as answer,
        ):
            if answer.status_code != 200:
                raise CardError(Code.GATE_UNREACHABLE, f"the gate at {url} answered {answer.status_code}")
            data = b""
            for piece in answer.iter_bytes():
                data += piece
                if len(data) > CARD_LIMIT_BYTES:
                    raise CardError(
                        Code.GATE_UNREACHABLE, f"the gate at {url} answers with more than an identity"
                    )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CardError(Code.GATE_UNREACHABLE, f"the gate at {url} cannot be reached: {error}") from error
    return GateIdentity.from_json(strict_json(data, CARD_LIMIT_BYTES))


def _owner(value: object) -> CardOwner:
    fields = Fields(value, "an owner of the study card", error=CardError)
    owner = CardOwner(id=fields.text("id", limit=ID_LIMIT_CHARACTERS), account=fields.address("account"))
    fields.done()
    return owner


def _check_gate(card: StudyCard, *, trust: TrustRoot, now: int) -> GateFacts:
    identity = card.gate
    if identity.chain_id != card.chain_id:
        raise CardError(
            Code.GATE_NOT_REGISTERED,
            f"the gate serves chain {identity.chain_id}, the card is for {card.chain_id}",
        )
    if identity.issued > now + CLOCK_SKEW_S:
        raise CardError(Code.GATE_EVIDENCE_STALE, "the gate's evidence is from the future", "check the clock")
    if identity.issued < now - GATE_EVIDENCE_MAX_AGE_S:
        days = (now - identity.issued) // 86400
        raise CardError(
            Code.GATE_EVIDENCE_STALE, f"the gate's evidence is {days} days old", "fetch a new card"
        )
    try:
        return verify_gate(identity, trust=trust, now=now)
    except AttestationError as error:
        hint = error.hint
        if not trust.is_simulated and card.chain_id in LOCAL_CHAIN_IDS:
            hint = "a gate on a simulated platform needs --simulated-root root.der"
        raise AttestationError(error.code, f"the gate does not verify: {error.message}", hint) from error


def _check_chain(card: StudyCard, view: ChainView) -> None:
    pairs = (
        ("chain id", card.chain_id, view.chain_id),
        ("app", card.app, view.app),
        ("ledger", card.ledger, view.ledger),
        ("owners", _names(card.owners), tuple((owner.id, owner.account) for owner in view.owners)),
    )
    for what, mine, theirs in pairs:
        if mine != theirs:
            raise CardError(
                Code.CARD_MISMATCH,
                f"the card's {what} differ from the consortium's: {_short(mine)}, on chain {_short(theirs)}",
                "do not seal: ask where this card comes from",
            )


def _check_gate_on_chain(gate: GateFacts, view: ChainView) -> None:
    platform = view.platform
    if platform is None:
        raise CardError(Code.GATE_NOT_REGISTERED, "the owners have not adopted a gate yet")
    pairs = (
        ("root key", gate.gate_root, platform.gate_root),
        ("signer", gate.signer, platform.gate_signer),
        ("compose hash", gate.compose_hash, platform.gate_compose),
        ("platform policy", gate.policy_hash, platform.policy_hash),
    )
    for what, mine, theirs in pairs:
        if mine != theirs:
            raise CardError(
                Code.GATE_NOT_REGISTERED,
                f"the gate's {what} is {_short(mine)}, the owners adopted {_short(theirs)}",
                "do not seal: this is not the gate that the owners approved",
            )


def _names(owners: tuple[CardOwner, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((owner.id, owner.account) for owner in owners)


def _short(value: object) -> str:
    if isinstance(value, bytes):
        return to_hex(value)
    if isinstance(value, tuple):
        return ", ".join(owner_id for owner_id, _ in value)
    return str(value)
