# SPDX-License-Identifier: Apache-2.0
"""`sealroom check`: whose a sealed file is, and what is registered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from tests.agents.shell import forked
from tests.agents.staged import Stage, make_stage
from tests.agents.worked import APP, CHAIN_ID, CONSORTIUM, LEDGER, make_card, write_cohort
from tests.local_chain import Dataset, LocalChain, Room, account
from tests.rpc_proxy import RpcProxy

from sealroom import sealed
from sealroom.keys import KemPrivateKey
from sealroom.sealed import SealedInfo, WrapContext
from sealroom_agents.owner import findings
from sealroom_agents.owner.consortium_contract import Registered
from sealroom_agents.owner.findings import ConsortiumFacts
from sealroom_agents.owner.registration import registration_of

OWNER, OTHER, STRANGER = ("0x" + pair * 20 for pair in ("0a", "0b", "66"))
WHERE = ConsortiumFacts(CHAIN_ID, CONSORTIUM, LEDGER, {"hospital-A": OWNER, "hospital-B": OTHER})
RECIPIENT = WrapContext(
    chain_id=CHAIN_ID,
    consortium=CONSORTIUM,
    kms_root=bytes(32),
    gate_public_key=KemPrivateKey.generate().public,
    app=APP,
    compose_hash=bytes(32),
)


def seal(
    folder: Path, *, owner: str, recipient: WrapContext | None = RECIPIENT, version: int = 1
) -> SealedInfo:
    """Seal the cohort as A.tar."""
    write_cohort(folder / "cohort-A.parquet")
    sealed.seal(
        folder / "cohort-A.parquet",
        folder / "A.tar",
        recipient=recipient,
        owner=owner,
        name="cohort-A",
        dataset_version=version,
        overwrite=True,
    )
    return sealed.inspect(folder / "A.tar")


# --- what is found, without a chain ----------------------------------------------------------------


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory) -> SealedInfo:
    return seal(tmp_path_factory.mktemp("sealed"), owner=OWNER, version=2)


@pytest.mark.parametrize(
    "holder, found",
    [(None, "hospital-A"), (OWNER, "hospital-A"), (OTHER, "hospital-B"), (STRANGER, None)],
    ids=["not asked", "its registrant", "moved", "moved away"],
)
def test_a_dataset_is_the_owners_who_holds_it(
    info: SealedInfo, holder: str | None, found: str | None
) -> None:
    """The account in the header stays when a dataset moves; the chain tells where it went."""
    assert findings.owner_of(info, WHERE, holder=holder) == found
    told = findings.owner(info, WHERE, holder=holder)
    assert (told.ok, told.code) == (found is not None, None if found else "owner-unknown")
    assert (holder is not None and holder != OWNER) == (str(holder) in told.detail)


def test_a_file_of_an_account_that_no_owner_has_is_refused(info: SealedInfo) -> None:
    where = replace(WHERE, accounts={"hospital-B": OTHER})
    assert findings.owner(info, where, holder=None).code == "owner-unknown"


def on_chain(info: SealedInfo, **changes: Any) -> Registered:
    """The file's own registration, as the registry holds it."""
    kept = Registered(holder=OWNER, newest=2, version=registration_of(info).version, final=True)
    return replace(kept, **changes)


def test_what_is_registered_just_so_holds(info: SealedInfo) -> None:
    assert findings.registration(info, on_chain(info)).ok
    later = findings.registration(info, on_chain(info, newest=3))
    assert later.ok and "the newest is 3" in later.detail


@pytest.mark.parametrize("field", ["header", "index", "key_commitment", "schema_hash", "rows"])
def test_a_registration_that_differs_in_one_value_is_told(info: SealedInfo, field: str) -> None:
    """CE-15."""
    mine = registration_of(info).version
    other = replace(mine, **{field: 7 if field == "rows" else b"\x07" * 32})
    told = findings.registration(info, on_chain(info, version=other))
    assert (told.ok, told.code) == (False, "registration-differs")


def test_a_version_that_is_not_there_yet_is_not_registered(info: SealedInfo) -> None:
    assert findings.registration(info, None).code == "not-registered"
    told = findings.registration(info, on_chain(info, version=None, newest=1))
    assert told.code == "not-registered" and "version 2 is not registered, the newest is 1" in told.detail
    assert findings.registration(info, on_chain(info, final=False)).code == "not-final"


def test_a_wrap_is_compared_with_all_that_it_is_bound_to(info: SealedInfo) -> None:
    """CE-08."""
    assert findings.wrap(info, RECIPIENT).ok
    changes: tuple[dict[str, Any], ...] = (
        {"chain_id": 1},
        {"consortium": "0x" + "c2" * 20},
        {"kms_root": b"\x01" * 32},
        {"gate_public_key": KemPrivateKey.generate().public},
        {"app": "0x" + "aa" * 20},
        {"compose_hash": b"\x01" * 32},
    )
    for change in changes:
        told = findings.wrap(info, replace(RECIPIENT, **change))
        assert (told.ok, told.code) == (False, "wrap-of-another")


def test_a_file_that_is_not_wrapped_is_told_in_each_way(tmp_path: Path) -> None:
    info = seal(tmp_path, owner=OWNER, recipient=None)
    assert findings.wrap(info, RECIPIENT).code == "not-wrapped"
    told = findings.wrapped_on(info, CHAIN_ID)
    assert told is not None and told.code == "not-wrapped"


def test_a_wrap_of_another_chain_is_told_before_that_chain_is_asked(info: SealedInfo) -> None:
    assert findings.wrapped_on(info, CHAIN_ID) is None
    told = findings.wrapped_on(info, 1)
    assert told is not None and told.code == "wrap-of-another"


# --- on a chain ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


@dataclass(frozen=True)
class Desk:
    """A consortium on a chain, and one owner's sealed file for it."""

    chain: LocalChain
    room: Room
    folder: Path
    info: SealedInfo

    def dataset(self, **changes: Any) -> Dataset:
        """What anvil's first account registers about the file."""
        version = registration_of(self.info).version
        return replace(
            Dataset(
                owner=0,
                header=version.header,
                index=version.index,
                key_commitment=version.key_commitment,
                schema_hash=version.schema_hash,
                rows=version.rows,
                name=self.info.header.dataset,
            ),
            **changes,
        )

    def findings(self, status: int, *options: str, rpc: str | None = None) -> list[dict[str, Any]]:
        """What a check finds."""
        self.chain.mine()  # a head of now
        asked = f"--rpc {self.chain.url if rpc is None else rpc} {' '.join(options)}"
        done = forked(f"sealroom check A.tar {asked} --json 2>/dev/null", self.folder)
        assert done.returncode == status, done.stdout
        return list(json.loads(done.stdout)["findings"])


@pytest.fixture
def desk(chain: LocalChain, tmp_path: Path) -> Desk:
    """hospital-A votes with anvil's first account."""
    room = chain.create_consortium(["hospital-A", "hospital-B"], threshold=2)
    chain.finalize()
    recipient = replace(RECIPIENT, consortium=room.consortium, app=room.app)
    name = f"cohort-{room.consortium[2:10]}"  # the registry is one for all tests
    write_cohort(tmp_path / "cohort-A.parquet")
    sealed.seal(
        tmp_path / "cohort-A.parquet", tmp_path / "A.tar", recipient=recipient, owner=account(0), name=name
    )
    return Desk(chain, room, tmp_path, sealed.inspect(tmp_path / "A.tar"))


@pytest.mark.anvil
def test_check_tells_final_from_registered(desk: Desk) -> None:
    desk.chain.finalize()
    named = (account(0), desk.info.header.dataset)
    assert desk.chain.call("Ledger", desk.room.ledger, "datasetId", *named) == desk.info.dataset_id
    assert desk.findings(1)[-1]["code"] == "not-registered"
    desk.chain.register(desk.room, desk.dataset())
    assert desk.findings(1)[-1]["code"] == "not-final"
    desk.chain.finalize()
    last = desk.findings(1)[-1]
    assert (last["name"], last["ok"]) == ("registration", True)
    # No gate was adopted here, so the wrap is of none.
    assert [one["name"] for one in desk.findings(1) if not one["ok"]] == ["wrap"]


@pytest.mark.anvil
def test_a_node_that_lies_about_the_registration_decides_nothing(desk: Desk) -> None:
    """CH-03: one of two nodes says that it is registered."""
    desk.chain.finalize()
    holder = abi_encode(["(address,uint32,uint32,string)"], [(account(0), 1, 0, desk.info.header.dataset)])
    asked = keccak(text="datasetOf(bytes32)")[:4] + desk.info.dataset_id

    def tamper(method: str, params: list[Any], result: Any) -> Any:
        lie = method == "eth_call" and params[0]["data"] == "0x" + asked.hex()
        return "0x" + holder.hex() if lie else result

    with RpcProxy(desk.chain.url) as proxy:
        both = f"{desk.chain.url} --rpc {proxy.url}"
        assert desk.findings(1, rpc=both)[-1]["code"] == "not-registered"
        proxy.tamper = tamper
        assert all(one["ok"] for one in desk.findings(3, rpc=both))


# --- with a study card -----------------------------------------------------------------------------


@pytest.fixture
def study(chain: LocalChain, tmp_path: Path) -> Iterator[Desk]:
    """The small study, approved by two of three, with a study card, and the owner's file sealed by the
    command itself: another file than the one that is registered."""
    # The registry is one for all tests, and what the stage registers has fixed names.
    snapshot = chain.snapshot()
    stage: Stage = make_stage(chain, tmp_path / "stage")
    view = stage.reader.finalized_view(stage.room.consortium)
    card = make_card(stage.gate, stage.recipe)
    owners = tuple(replace(card.owners[0], id=one.id, account=one.account) for one in view.owners)
    place = {"consortium": view.consortium, "app": view.app, "ledger": view.ledger}
    (tmp_path / "study.json").write_bytes(replace(card, owners=owners, **place).encode())
    (tmp_path / "root.der").write_bytes(stage.platform.root_der)
    write_cohort(tmp_path / "cohort-A.parquet")
    command = "sealroom seal --owner hospital-A --in cohort-A.parquet --out A.tar --key-out keys/A.key --yes"
    done = forked(f"{command} --simulated-root root.der", tmp_path)
    assert done.returncode == 0, done.stdout
    yield Desk(stage.chain, stage.room, tmp_path, sealed.inspect(tmp_path / "A.tar"))
    chain.restore(snapshot)


@pytest.mark.anvil
def test_check_holds_the_file_against_its_registration(study: Desk) -> None:
    """CE-15: the dataset is registered with another file."""
    last = study.findings(1, "--study study.json --simulated-root root.der")[-1]
    assert (last["name"], last["code"]) == ("registration", "registration-differs")
