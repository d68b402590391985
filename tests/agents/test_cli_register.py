# SPDX-License-Identifier: Apache-2.0
"""`sealroom register` and what `sealroom check` and `sealroom seal` read of it, on a real chain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode
from eth_account import Account
from eth_keys.datatypes import PrivateKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from tests.agents.shell import shell
from tests.agents.staged import Stage, make_stage
from tests.agents.worked import make_card, write_cohort
from tests.local_chain import LocalChain, Room, account, member, private_key
from tests.rpc_proxy import RpcProxy

from sealroom import sealed
from sealroom.keys import KemPrivateKey
from sealroom.model import Registration
from sealroom_agents.owner import safe as safes
from sealroom_agents.owner.registration import registration_of

SAFE_ARTIFACTS = (
    Path(__file__).resolve().parents[2] / "node_modules/@safe-global/safe-contracts/build/artifacts/contracts"
)
NOBODY = "0x" + 40 * "0"

# A file that Safe's transaction builder 1.18.2 exported, with the checksum that it wrote; from the
# public repository 5afe/safe-cli-nodejs.
EXPORTED: dict[str, Any] = {
    "version": "1.0",
    "chainId": "1",
    "createdAt": 1761326849944,
    "meta": {
        "name": "Transactions Batch",
        "description": "",
        "txBuilderVersion": "1.18.2",
        "createdFromSafeAddress": "0xA77DE01e157f9f57C7c4A326eeE9C4874D0598b6",
        "createdFromOwnerAddress": "",
        "checksum": "0x8b5032f716845c8b08bab3d63dbd9ba92e056f3557793cd041e59b84e16aa989",
    },
    "transactions": [
        {
            "to": "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
            "value": "0",
            "data": None,
            "contractMethod": {
                "inputs": [
                    {"internalType": "address", "name": "spender", "type": "address"},
                    {"internalType": "uint256", "name": "value", "type": "uint256"},
                ],
                "name": "approve",
                "payable": False,
            },
            "contractInputsValues": {
                "spender": "0x474e5Ded6b5D078163BFB8F6dBa355C3aA5478C8",
                "value": "100000000000",
            },
        }
    ],
}


def test_the_checksum_is_that_of_the_transaction_builder() -> None:
    assert safes.checksum(EXPORTED) == EXPORTED["meta"]["checksum"]
    renamed = {**EXPORTED, "meta": {**EXPORTED["meta"], "name": "another"}}
    assert safes.checksum(renamed) == EXPORTED["meta"]["checksum"]
    other = {**EXPORTED, "chainId": "2"}
    assert safes.checksum(other) != EXPORTED["meta"]["checksum"]


@dataclass(frozen=True)
class Desk:
    """A consortium on a chain, and one owner's sealed file for it."""

    chain: LocalChain
    room: Room
    folder: Path
    info: sealed.SealedInfo

    @property
    def registration(self) -> Registration:
        return registration_of(self.info)

    def run(self, command: str, status: int = 0) -> str:
        """A command in this folder, with the passphrase of every keystore here."""
        done = shell(f"SEALROOM_PASSPHRASE=open {command}", self.folder)
        assert done.returncode == status, done.stdout
        return done.stdout

    def on_chain(self) -> dict[str, Any]:
        return dict(self.chain.call("Consortium", self.room.consortium, "dataset", self.info.dataset_id))

    def assert_registered_by(self, owner: str) -> None:
        raw, mine = self.on_chain(), self.registration
        assert raw["owner"].lower() == owner
        assert (raw["indexDigest"], raw["keyCommitment"], raw["schemaHash"], raw["rows"], raw["name"]) == (
            mine.index_digest,
            mine.key_commitment,
            mine.schema_hash,
            mine.rows,
            mine.name,
        )


def seal_for(room: Room, folder: Path, *, chain_id: int = 31337) -> sealed.SealedInfo:
    """Seal the cohort for a consortium, as A.tar."""
    write_cohort(folder / "cohort-A.parquet")
    recipient = sealed.WrapContext(
        chain_id=chain_id,
        consortium=room.consortium,
        kms_root=bytes(32),
        gate_public_key=KemPrivateKey.generate().public,
        app=room.app,
        compose_hash=bytes(32),
        epoch=1,
    )
    sealed.seal(
        folder / "cohort-A.parquet",
        folder / "A.tar",
        recipient=recipient,
        owner="hospital-A",
        name="cohort-A",
        overwrite=True,
    )
    return sealed.inspect(folder / "A.tar")


def write_keystore(path: Path, key: bytes) -> None:
    path.write_text(json.dumps(Account.encrypt(key, "open", kdf="pbkdf2", iterations=2)))
    path.chmod(0o600)


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


@pytest.fixture
def desk(chain: LocalChain, tmp_path: Path) -> Desk:
    """hospital-A votes with anvil's first account; its keystore lies here, and a stranger's too."""
    room = chain.create_consortium(["hospital-A", "hospital-B"], threshold=2)
    chain.finalize()
    write_keystore(tmp_path / "officer.keystore", private_key(0))
    write_keystore(tmp_path / "stranger.keystore", private_key(1))
    return Desk(chain, room, tmp_path, seal_for(room, tmp_path))


@pytest.mark.anvil
class TestAccount:
    def test_the_owner_registers_what_it_sealed(self, desk: Desk) -> None:
        rpc = f"--rpc {desk.chain.url}"
        said = desk.run(f"sealroom register A.tar --keystore officer.keystore {rpc} --yes")
        assert "becomes public  hospital-A/cohort-A, 200 rows" in said
        desk.assert_registered_by(account(0))
        again = desk.run(f"sealroom register A.tar --keystore officer.keystore {rpc} --yes")
        assert "already, just so" in again

    def test_anybody_else_is_refused_before_anything_is_sent(self, desk: Desk) -> None:
        command = f"sealroom register A.tar --keystore stranger.keystore --rpc {desk.chain.url} --yes --json"
        refusal = json.loads(desk.run(f"{command} 2>/dev/null", 1))
        assert refusal["code"] == "signer-not-owner"
        assert desk.on_chain()["owner"] == NOBODY

    def test_nothing_is_sent_without_a_yes(self, desk: Desk) -> None:
        command = f"sealroom register A.tar --keystore officer.keystore --rpc {desk.chain.url} --json"
        assert json.loads(desk.run(f"{command} 2>/dev/null", 1))["code"] == "nobody-to-ask"
        assert desk.on_chain()["owner"] == NOBODY

    def test_what_the_contract_refuses_is_told_by_its_name(self, desk: Desk) -> None:
        rpc = f"--rpc {desk.chain.url} --yes"
        desk.run(f"sealroom register A.tar --keystore officer.keystore {rpc}")
        other = replace(desk, info=seal_for(desk.room, desk.folder))
        said = other.run(f"sealroom register A.tar --keystore officer.keystore {rpc}", 1)
        assert "error: the contract refuses: ConsortiumDatasetNameTaken" in said

    def test_a_file_for_another_chain_is_refused(self, desk: Desk) -> None:
        seal_for(desk.room, desk.folder, chain_id=5)
        said = desk.run(f"sealroom register A.tar --calldata --rpc {desk.chain.url}", 1)
        assert said.startswith("error: A.tar is for chain 5, the RPC is on chain 31337")

    def test_the_calldata_does_the_same_from_any_wallet(self, desk: Desk) -> None:
        call = json.loads(desk.run("sealroom register A.tar --calldata --json"))
        desk.chain.send(account(0), call["to"], bytes.fromhex(call["data"][2:]))
        desk.assert_registered_by(account(0))


# --- a Safe ----------------------------------------------------------------------------------------


def deploy(chain: LocalChain, artifact: str) -> str:
    """Deploy a published contract of Safe 1.4.1, as it is."""
    code = json.loads((SAFE_ARTIFACTS / artifact).read_text())["bytecode"]
    receipt = chain._mined({"from": account(19), "data": code})
    return str(receipt["contractAddress"]).lower()


def call(signature: str, *values: Any) -> bytes:
    types = signature[signature.index("(") + 1 : -1]
    kinds = types.split(",") if types else []
    return keccak(text=signature)[:4] + abi_encode(kinds, values)


SETUP = "setup(address[],uint256,address,bytes,address,address,uint256,address)"
HASH = "getTransactionHash(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,uint256)"
EXECUTE = "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)"


def make_safe(chain: LocalChain, keys: list[bytes]) -> str:
    """A Safe in which all of these must sign."""
    singleton = deploy(chain, "SafeL2.sol/SafeL2.json")
    factory = deploy(chain, "proxies/SafeProxyFactory.sol/SafeProxyFactory.json")
    owners = [str(Account.from_key(key).address) for key in keys]
    setup = call(SETUP, owners, len(keys), NOBODY, b"", NOBODY, NOBODY, 0, NOBODY)
    create = call("createProxyWithNonce(address,bytes,uint256)", singleton, setup, 1)
    made = chain.rpc("eth_call", {"to": factory, "data": "0x" + create.hex()}, "latest")
    chain.send(account(19), factory, create)
    return "0x" + made[-40:]


def execute(chain: LocalChain, safe: str, keys: list[bytes], to: str, data: bytes) -> None:
    """All owners sign the Safe's own transaction hash, and anybody executes it."""
    fixed = (to, 0, data, 0, 0, 0, 0, NOBODY, NOBODY)
    answer = chain.rpc("eth_call", {"to": safe, "data": "0x" + call(HASH, *fixed, 0).hex()}, "latest")
    digest = bytes.fromhex(answer[2:])
    signatures = b""
    for key in sorted(keys, key=lambda one: int(str(Account.from_key(one).address), 16)):
        signed = PrivateKey(key).sign_msg_hash(digest).to_bytes()
        signatures += signed[:64] + bytes([signed[64] + 27])
    chain.send(account(18), safe, call(EXECUTE, *fixed, signatures))


def encoded_by_hand(transaction: dict[str, Any]) -> bytes:
    """The call as the builder makes it from the words in the file, not from ours."""
    method, values = transaction["contractMethod"], transaction["contractInputsValues"]
    kinds = [part["type"] for part in method["inputs"]]
    typed = [
        bytes.fromhex(text[2:]) if kind == "bytes32" else int(text) if kind == "uint64" else text
        for kind, text in (
            (kind, values[part["name"]]) for kind, part in zip(kinds, method["inputs"], strict=True)
        )
    ]
    return keccak(text=f"{method['name']}({','.join(kinds)})")[:4] + abi_encode(kinds, typed)


@pytest.mark.anvil
def test_a_genuine_safe_executes_the_file_and_owns_the_dataset(chain: LocalChain, tmp_path: Path) -> None:
    keys = [private_key(16), private_key(17)]
    safe = make_safe(chain, keys)
    room = chain.create_consortium([member(safe, "hospital-A"), "hospital-B"], threshold=2)
    chain.finalize()
    desk = Desk(chain, room, tmp_path, seal_for(room, tmp_path))
    desk.run(f"sealroom register A.tar --safe {to_checksum_address(safe)} --rpc {chain.url}")
    content = json.loads((tmp_path / "A.safe.json").read_text())
    assert content["meta"]["checksum"] == safes.checksum(content)
    assert (content["version"], content["chainId"]) == ("1.0", "31337")
    (transaction,) = content["transactions"]
    assert set(transaction) == set(EXPORTED["transactions"][0])
    assert set(content["meta"]) == set(EXPORTED["meta"])
    data = encoded_by_hand(transaction)
    printed = desk.run("sealroom register A.tar --calldata 2>/dev/null").strip()
    assert printed == "0x" + data.hex()
    execute(chain, safe, keys, transaction["to"], data)
    desk.assert_registered_by(safe)


@pytest.mark.anvil
def test_a_file_for_a_safe_that_is_not_the_owner_is_refused(desk: Desk) -> None:
    command = f"sealroom register A.tar --safe 0x{'5a' * 20} --rpc {desk.chain.url} --json 2>/dev/null"
    assert json.loads(desk.run(command, 1))["code"] == "signer-not-owner"
    assert not (desk.folder / "A.safe.json").exists()


# --- what others see of it -------------------------------------------------------------------------


@pytest.fixture
def stage(chain: LocalChain, tmp_path: Path) -> Stage:
    """The small study, approved by two of three; its datasets are registered under other ids."""
    return make_stage(chain, tmp_path / "stage")


@pytest.fixture
def study(stage: Stage, tmp_path: Path) -> Desk:
    """The same with a study card, and the owner's file sealed by the command itself."""
    view = stage.reader.finalized_view(stage.room.consortium)
    card = make_card(stage.gate, stage.recipe, epoch=view.epoch)
    owners = tuple(replace(card.owners[0], id=one.id, account=one.account) for one in view.owners)
    place = {"consortium": view.consortium, "app": view.app, "ledger": view.ledger}
    (tmp_path / "study.json").write_bytes(replace(card, owners=owners, **place).encode())
    (tmp_path / "root.der").write_bytes(stage.platform.root_der)
    write_cohort(tmp_path / "cohort-A.parquet")
    write_keystore(tmp_path / "officer.keystore", private_key(0))
    command = (
        "sealroom seal --owner hospital-A --in cohort-A.parquet --out A.tar --key-out keys/A.key --yes "
        f"--rpc {stage.chain.url}"
    )
    done = shell(f"{command} --simulated-root root.der", tmp_path)
    assert done.returncode == 0, done.stdout
    (tmp_path / "said").write_text(done.stdout)
    return Desk(stage.chain, stage.room, tmp_path, sealed.inspect(tmp_path / "A.tar"))


@pytest.mark.anvil
def test_sealing_tells_how_far_the_approval_has_come(study: Desk) -> None:
    said = (study.folder / "said").read_text()
    assert (
        "approval      hospital-A has approved it; in force: approved by hospital-A, hospital-B, 2 needed"
        in said
    )


@pytest.mark.anvil
def test_check_holds_the_file_against_its_registration(study: Desk) -> None:
    check = f"sealroom check A.tar --study study.json --simulated-root root.der --rpc {study.chain.url}"

    def verdict(status: int, options: str = "") -> tuple[str, str | None]:
        facts = json.loads(study.run(f"{check} {options} --json 2>/dev/null", status))
        last = facts["findings"][-1]
        assert last["name"] == "registration"
        return facts["verdict"], last["code"]

    assert verdict(1) == ("broken", "not-registered")
    # The study's own registration has this name already: another name is as good here.
    mine = study.registration
    data = encoded(replace(mine, name="cohort-A2"))
    study.chain.send(account(0), study.room.consortium, data)
    assert verdict(1) == ("broken", "registration-differs")


@pytest.mark.anvil
def test_check_tells_final_from_registered(desk: Desk) -> None:
    check = f"sealroom check A.tar --rpc {desk.chain.url} --json 2>/dev/null"
    desk.run(f"sealroom register A.tar --keystore officer.keystore --rpc {desk.chain.url} --yes")

    def registration() -> dict[str, Any]:
        findings = json.loads(shell(check, desk.folder).stdout)["findings"]
        return next(one for one in findings if one["name"] == "registration")

    assert registration()["code"] == "not-final"
    desk.chain.finalize()
    assert registration()["ok"] is True


@pytest.mark.anvil
def test_a_node_that_lies_about_the_registration_decides_nothing(study: Desk) -> None:
    """CH-03: one of two nodes says that it is registered."""
    mine = study.registration
    asked = keccak(text="dataset(bytes32)")[:4] + mine.dataset_id
    content = (account(0), mine.index_digest, mine.key_commitment, mine.schema_hash, mine.rows, mine.name)
    lie = abi_encode(["(address,bytes32,bytes32,bytes32,uint64,string)"], [content])

    def tamper(method: str, params: list[Any], result: Any) -> Any:
        return (
            "0x" + lie.hex() if method == "eth_call" and params[0]["data"] == "0x" + asked.hex() else result
        )

    with RpcProxy(study.chain.url) as proxy:
        command = f"sealroom check A.tar --rpc {study.chain.url} --rpc {proxy.url} --json 2>/dev/null"
        assert json.loads(study.run(command, 1))["findings"][-1]["code"] == "not-registered"
        proxy.tamper = tamper
        facts = json.loads(study.run(command, 3))
    assert (facts["ok"], facts["verdict"]) == (False, "undecided")
    assert all(one["ok"] for one in facts["findings"])


@pytest.mark.anvil
def test_a_dataset_that_somebody_else_claimed_is_told(desk: Desk) -> None:
    desk.chain.send(account(1), desk.room.consortium, encoded(desk.registration))
    desk.chain.finalize()
    done = shell(f"sealroom check A.tar --rpc {desk.chain.url}", desk.folder)
    assert done.returncode == 1
    assert (
        f"BROKEN  registration  {account(1)} registered it, and the owner's account is {account(0)}"
        in done.stdout
    )


def encoded(registration: Registration) -> bytes:
    """Call data, encoded here and not by the command."""
    kinds = ["bytes32", "bytes32", "bytes32", "bytes32", "uint64", "string"]
    return keccak(text=f"registerDataset({','.join(kinds)})")[:4] + abi_encode(kinds, registration.solidity())
