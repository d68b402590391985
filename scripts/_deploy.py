# SPDX-License-Identifier: Apache-2.0
"""What a deployment consists of, and how its parts are wired. Used by `deploy.py` and by the tests."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ape import Project
from ape.api import AccountAPI
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from scripts._command import Complaint, read_json, write_json
from scripts._send import send, tried
from web3.utils import get_create_address

from sealroom.codes import Code
from sealroom.encoding import Fields, normal_address, to_hex
from sealroom.errors import FormatError
from sealroom.files import PUBLIC, write_atomic
from sealroom.model import MAX_OWNERS, Owner
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.logs import address_topic
from sealroom_agents.governance.files import read_owner


def read_owners(fields: Fields) -> tuple[tuple[Owner, ...], int]:
    """Owners with their threshold k, of a configuration or a roster's file. Raises `FormatError`."""
    owners = tuple(read_owner(owner) for owner in fields.array("owners", limit=MAX_OWNERS))
    return owners, fields.integer("threshold", 1, max(1, len(owners)))


@dataclass(frozen=True)
class Config:
    """What is to be deployed."""

    owners: tuple[Owner, ...]
    """1 to 16 owners, in their order on chain."""
    threshold: int
    """How many grant, k."""
    salt: bytes
    """32 bytes; the same owners, threshold and salt give the same addresses once."""
    salt_given: bool
    """Whether the configuration names it; else it is random."""
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
            salt_given=fields.has("salt"),
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

    def json(self) -> dict[str, Any]:
        """The same, to be compared with what was begun."""
        return {
            "owners": [owner.to_json() for owner in self.owners],
            "threshold": self.threshold,
            "salt": to_hex(self.salt),
            "ledger": self.ledger,
            "factory": self.factory,
            "app": self.app,
        }

    def warnings(self) -> list[str]:
        """What may be a mistake that shows too late."""
        if self.threshold == len(self.owners) > 1:
            return [
                f"all {self.threshold} owners are needed for everything: one lost wallet stops all until its "
                "owner is removed, which takes 30 days"
            ]
        return []


@dataclass(frozen=True)
class Deployment:
    """Where everything is. The names are those of deployment.json."""

    chainId: int
    factory: str | None
    """None for a consortium with an app of dstack's own."""
    ledger: str
    lens: str
    """Answers for all consortia in one call; the ledger names it."""
    consortium: str
    app: str
    block: int
    """Block in which the consortium was created, or the one before: no event of it is older."""

    def json(self) -> dict[str, Any]:
        """The content of deployment.json."""
        return asdict(self)


def creation_code(project: Project) -> bytes:
    """Consortium's creation code, which the factory wants with each call and compares by its hash."""
    return bytes.fromhex(project.Consortium.contract_type.deployment_bytecode.bytecode.removeprefix("0x"))


def deploy_ledger(project: Project, account: AccountAPI) -> str:
    """Deploy a ledger with its lens, and return its address."""
    lens = account.deploy(project.Lens)
    return str(account.deploy(project.Ledger, lens).address)


def deploy_factory(project: Project, account: AccountAPI, *, ledger: str | None = None) -> Any:
    """Deploy what all consortia of a chain share, and return the factory, which knows the ledger."""
    ledger = ledger or deploy_ledger(project, account)
    return account.deploy(project.Factory, ledger, keccak(creation_code(project)))


def create_consortium(
    project: Project,
    account: AccountAPI,
    factory: Any,
    *,
    owners: Sequence[Owner],
    threshold: int,
    salt: bytes,
) -> tuple[Any, Any, int]:
    """Create a consortium and its app, unless it is there already; returns both and the block."""
    arguments = [owner.solidity() for owner in owners], threshold, salt, creation_code(project)
    answer = tried(project, account, factory.create, *arguments)
    consortium, app = map(to_checksum_address, interface("Factory").decode("create", answer))
    if not factory.isListed(consortium):
        send(project, account, factory.create, *arguments)
    block = _created(project, factory, consortium)
    return project.Consortium.at(consortium), project.DstackApp.at(app), block


def _created(project: Project, factory: Any, consortium: str) -> int:
    """Block in which the factory made a consortium."""
    topics = [
        to_hex(interface("Factory").topic("ConsortiumCreated")),
        to_hex(address_topic(consortium.lower())),
    ]
    where = {"address": factory.address, "topics": topics, "fromBlock": 0, "toBlock": "latest"}
    (log,) = project.provider.web3.eth.get_logs(where)
    return int(log["blockNumber"])


class Site:
    """The chain on which is built, and the account that pays."""

    def __init__(self, project: Project, account: AccountAPI) -> None:
        self._account = account
        self._web3 = project.provider.web3
        self.chain: dict[str, Any] = {
            "id": project.provider.chain_id,
            "genesis": to_hex(bytes(self._web3.eth.get_block(0)["hash"])),
        }
        """A chain by its id and its first block: many local chains share an id."""

    def next(self) -> dict[str, Any]:
        """What is known of the next deployment before it is sent."""
        return {
            "from": str(self._account.address).lower(),
            "nonce": self._web3.eth.get_transaction_count(self._account.address),
            "block": self._web3.eth.block_number,
        }

    def make(self, contract: Any, *arguments: Any) -> str:
        """Deploy a contract; its address."""
        return str(self._account.deploy(contract, *arguments).address).lower()

    def left(self, begun: dict[str, Any], contract: Any) -> str | None:
        """The contract that a deployment has left which was sent, and whose end nobody saw; `None` for none.

        Raises `Complaint` while its transaction still waits.
        """
        sender, nonce = to_checksum_address(begun["from"]), int(begun["nonce"])
        address = get_create_address(sender, nonce)
        code = bytes(self._web3.eth.get_code(address))
        if is_build_of(code, contract):
            return str(address).lower()
        mined, sent = (self._web3.eth.get_transaction_count(sender, tag) for tag in ("latest", "pending"))
        if mined <= nonce < sent:
            raise Complaint(f"transaction {nonce} of {sender} is not mined yet", "wait for it, then go on")
        return None

    def holds(self, address: str) -> bool:
        """Whether there is a contract."""
        return bool(self._web3.eth.get_code(to_checksum_address(address)))


def is_build_of(code: bytes, contract: Any) -> bool:
    """Whether code is that of a contract's build, but for its immutable values, which a build leaves zero."""
    built = bytes.fromhex(contract.contract_type.runtime_bytecode.bytecode.removeprefix("0x"))
    return len(code) == len(built) > 0 and all(
        one in (0, other) for one, other in zip(built, code, strict=True)
    )


class Journal:
    """What a deployment has made so far, in a file beside its own: one that was interrupted goes on from it.

    Nothing that is in it is deployed again, and no finished deployment is overwritten. What was sent, and not
    seen to end, is looked for on chain first.
    """

    def __init__(self, out: Path, config: Config, site: Site) -> None:
        """Raises `Complaint` where a deployment is finished, or another one begun."""
        self._out = out
        self._require_new()
        self._path = out.with_name(out.name + ".part")
        self._site = site
        asked = config.json()
        self._made: dict[str, Any] = {"chain": site.chain, "config": asked, "begun": {}, "made": {}}
        if self._path.exists():
            begun = read_json(self._path)
            if set(begun) != set(self._made) or begun["chain"] != site.chain:
                raise Complaint(
                    f"{self._path} holds a deployment that was begun on another chain, or by another version",
                    "finish it where it was begun, or remove the file",
                )
            if not config.salt_given:
                asked = {**asked, "salt": begun["config"].get("salt")}
            if begun["config"] != asked:
                raise Complaint(
                    f"{self._path} holds another deployment that was begun",
                    "finish it with its own configuration, or remove the file",
                )
            for name, address in begun["made"].items():
                if not site.holds(address):
                    raise Complaint(
                        f"{self._path} says that {name} is at {address}, and there is nothing",
                        "was it taken away by a reorganisation? remove the file, and begin anew",
                    )
            self._made = begun
        self.salt = bytes.fromhex(self._made["config"]["salt"].removeprefix("0x"))

    def _require_new(self) -> None:
        if self._out.exists():
            there = read_json(self._out)
            raise Complaint(
                f"{self._out} holds the deployment of {there.get('consortium')} on chain "
                f"{there.get('chainId')}",
                "nothing was deployed; name another file with --out",
            )

    def once(self, name: str, contract: Any, *arguments: Any) -> str:
        """The address of a part: made now, or before."""
        begun, made = self._made["begun"], self._made["made"]
        if name not in made:
            found = self._site.left(begun[name], contract) if name in begun else None
            if found is None:
                begun[name] = self._site.next()
                self._write()  # before it is sent
                found = self._site.make(contract, *arguments)
            made[name] = found
            self._write()
        return str(made[name])

    def block_of(self, name: str) -> int:
        """Block before a part was sent: no event of it is older."""
        return int(self._made["begun"][name]["block"])

    @property
    def made(self) -> dict[str, str]:
        """What is there already."""
        return dict(self._made["made"])

    def done(self, content: dict[str, Any]) -> None:
        """The deployment is finished: write its own file, which nobody else has written by now."""
        self._require_new()
        self._write()
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        write_atomic(self._out, text.encode(), mode=PUBLIC)
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        write_json(self._path, self._made)


def deploy(project: Project, account: AccountAPI, config: Config, journal: Journal) -> Deployment:
    """Deploy a consortium, and the shared contracts where the configuration names none."""

    def ledger() -> str:
        if config.ledger:
            return config.ledger
        lens = journal.once("lens", project.Lens)
        return journal.once("ledger", project.Ledger, lens)

    owners = [owner.solidity() for owner in config.owners]
    factory = None
    if config.app:
        shared, app = ledger(), config.app
        consortium = journal.once("consortium", project.Consortium, app, shared, owners, config.threshold)
        block = journal.block_of("consortium")
        _require_asked(project, consortium, config, shared)
    else:
        code = keccak(creation_code(project))
        factory = config.factory or journal.once("factory", project.Factory, ledger(), code)
        made = project.Factory.at(factory)
        one, its, block = create_consortium(
            project, account, made, owners=config.owners, threshold=config.threshold, salt=journal.salt
        )
        consortium, app, shared = str(one.address), str(its.address), str(made.ledger())
    return Deployment(
        chainId=project.provider.chain_id,
        factory=None if factory is None else factory.lower(),
        ledger=shared.lower(),
        lens=project.Ledger.at(shared).lens().lower(),
        consortium=consortium.lower(),
        app=app.lower(),
        block=block,
    )


def _require_asked(project: Project, consortium: str, config: Config, ledger: str) -> None:
    """The consortium is the one that the configuration asks for.

    One account may have deployed another since this call was interrupted, and its code is the same.
    """
    made = project.Consortium.at(consortium)
    owners = tuple(Owner.of_abi(one) for one in made.owners())
    found = str(made.app()).lower(), str(made.ledger()).lower(), owners, int(made.state().threshold)
    if found != (config.app, ledger, tuple(config.owners), config.threshold):
        raise Complaint(
            f"the consortium at {consortium} is not the one that this configuration asks for",
            "the account deployed another one meanwhile: remove the .part file, and begin anew",
        )
