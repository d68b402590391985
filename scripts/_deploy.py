# SPDX-License-Identifier: Apache-2.0
"""What a deployment consists of, and how its parts are wired. Used by `deploy.py` and by the tests."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ape import Project
from ape.api import AccountAPI
from scripts._send import send

from sealroom.codes import Code
from sealroom.encoding import Fields, normal_address, to_hex
from sealroom.errors import FormatError
from sealroom.model import MAX_OWNERS, Owner, Roster

ALIASES = {"SOC2": "SOC 2", "UK-GDPR": "UK GDPR", "UKGDPR": "UK GDPR"}
"""Other ways in which people write them."""


def read_owner(value: Any) -> Owner:
    """Read an owner from a configuration: the address in any case, regimes also by their aliases.

    Raises `FormatError`.
    """
    given = dict(value) if isinstance(value, dict) else value
    if isinstance(given, dict):
        if "account" in given:
            given["account"] = normal_address(given["account"])
        if isinstance(regimes := given.get("regimes"), list):
            given["regimes"] = [ALIASES.get(str(regime), regime) for regime in regimes]
    name = given.get("id") if isinstance(given, dict) else None
    return Owner.from_json(given, what=None if name is None else f"the owner {str(name)[:32]!r}")


def read_owners(fields: Fields) -> tuple[tuple[Owner, ...], int]:
    """Owners with their threshold k, of a configuration or a roster's file. Raises `FormatError`."""
    owners = tuple(read_owner(owner) for owner in fields.array("owners", limit=MAX_OWNERS))
    return owners, fields.integer("threshold", 1, max(1, len(owners)))


def read_roster(value: Any, *, epoch: int) -> Roster:
    """Read a roster, proposed in an epoch. Raises `FormatError`."""
    fields = Fields(value, "the roster")
    owners, threshold = read_owners(fields)
    fields.done()
    if not owners:
        raise FormatError(Code.MALFORMED, "the roster names no owner")
    return Roster(owners=owners, threshold=threshold, epoch=epoch)


def roster_lines(roster: Roster) -> list[tuple[str, str]]:
    """A roster for people, who are about to approve it."""
    return [
        *(("owner", owner_line(owner)) for owner in roster.owners),
        ("threshold", f"{roster.threshold} of {len(roster.owners)}"),
    ]


def owner_line(owner: Owner) -> str:
    """An owner for people, in one line."""
    return f"{owner.id}  {owner.account}  {owner.jurisdiction}  {', '.join(owner.regimes)}"


@dataclass(frozen=True)
class Config:
    """What is to be deployed."""

    owners: tuple[Owner, ...]
    """1 to 16 owners, in their order on chain."""
    threshold: int
    """How many grant, k."""
    salt: bytes
    """32 bytes; the same owners, threshold and salt give the same addresses once."""
    ledger: str | None
    """A ledger that is there already."""
    factory: str | None
    """A factory that is there already, which brings its ledger."""
    app: str | None
    """An app of dstack that is there already. The consortium then stands outside the factory's list, and the
    app's owner offers it the app with `transferOwnership`."""

    @classmethod
    def parse(cls, value: Any) -> Config:
        """Read a configuration. Raises `FormatError`."""
        fields = Fields(value, "the configuration")
        owners, threshold = read_owners(fields)
        config = cls(
            owners=owners,
            threshold=threshold,
            salt=fields.hex("salt", 32) if fields.has("salt") else secrets.token_bytes(32),
            ledger=normal_address(fields.raw("ledger")) if fields.has("ledger") else None,
            factory=normal_address(fields.raw("factory")) if fields.has("factory") else None,
            app=normal_address(fields.raw("app")) if fields.has("app") else None,
        )
        fields.done()
        if not owners:
            raise FormatError(Code.MALFORMED, "the configuration names no owner")
        if config.ledger and config.factory:
            raise FormatError(Code.MALFORMED, "a factory brings its ledger: name one of the two")
        if config.app and config.factory:
            raise FormatError(Code.MALFORMED, "a factory makes apps of its own: name one of the two")
        return config


@dataclass(frozen=True)
class Deployment:
    """Where everything is. The names are those of deployment.json."""

    chainId: int
    factory: str | None
    """None for a consortium with an app of dstack's own."""
    ledger: str
    consortium: str
    app: str
    block: int
    """Block in which the consortium was created: no event of it is older."""

    def json(self) -> dict[str, Any]:
        """The content of deployment.json."""
        return asdict(self)


def deploy_factory(project: Project, account: AccountAPI, *, ledger: str | None = None) -> Any:
    """Deploy what all consortia of a chain share, and return the factory, which knows the rest."""
    return account.deploy(project.Factory, ledger or account.deploy(project.Ledger).address)


def create_consortium(
    project: Project,
    account: AccountAPI,
    factory: Any,
    *,
    owners: Sequence[Owner],
    threshold: int,
    salt: bytes,
) -> tuple[Any, Any, int]:
    """Create a consortium and its app; returns both and the block."""
    arguments = [owner.solidity() for owner in owners], threshold, salt
    receipt = send(project, account, factory.create, *arguments)
    (created,) = receipt.decode_logs(factory.ConsortiumCreated)
    return project.Consortium.at(created.consortium), project.DstackApp.at(created.app), receipt.block_number


def deploy(project: Project, account: AccountAPI, config: Config) -> Deployment:
    """Deploy a consortium, and the shared contracts where the configuration names none."""
    if config.app:
        return _deploy_around(project, account, config, config.app)
    if config.factory:
        factory = project.Factory.at(config.factory)
    else:
        factory = deploy_factory(project, account, ledger=config.ledger)
    consortium, app, block = create_consortium(
        project, account, factory, owners=config.owners, threshold=config.threshold, salt=config.salt
    )
    return Deployment(
        chainId=project.provider.chain_id,
        factory=factory.address.lower(),
        ledger=factory.ledger().lower(),
        consortium=consortium.address.lower(),
        app=app.address.lower(),
        block=block,
    )


def _deploy_around(project: Project, account: AccountAPI, config: Config, app: str) -> Deployment:
    """Deploy a consortium for an app that somebody else owns so far."""
    ledger = config.ledger or account.deploy(project.Ledger).address
    owners = [owner.solidity() for owner in config.owners]
    consortium = account.deploy(project.Consortium, app, ledger, owners, config.threshold)
    return Deployment(
        chainId=project.provider.chain_id,
        factory=None,
        ledger=ledger.lower(),
        consortium=consortium.address.lower(),
        app=app.lower(),
        block=consortium.creation_metadata.block,
    )


def salt_text(config: Config) -> str:
    """The salt as it stands in a configuration, to repeat a deployment on another chain."""
    return to_hex(config.salt)
