# SPDX-License-Identifier: Apache-2.0
"""The model: what derives from the definition of a record, and that the contracts hold the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode, encode

from sealroom.errors import FormatError, KeyReleaseError
from sealroom.model import (
    REGIMES,
    Account,
    Allowance,
    ApproveStudy,
    Books,
    Dataset,
    DatasetView,
    Fate,
    Grant,
    Limits,
    Machines,
    Opening,
    Owner,
    Platform,
    Receipt,
    Record,
    Roster,
    Row,
    Run,
    Spending,
    State,
    Study,
    Validity,
    Verdict,
    Version,
    shown,
)
from sealroom.model.units import delta_text, epsilon_text, read_delta, read_epsilon
from tests.formats.worked import PROPOSED as STUDY

ABI = Path(__file__).parents[2] / "agents" / "sealroom_agents" / "chain" / "abi"
IN_CONTRACTS = (
    Owner, Roster, Validity, Platform, Machines, Study, Fate, Dataset, Version, Account, Limits, Allowance,
    Spending, Books, Run, Opening, Receipt, Verdict, State, DatasetView, Row,
)  # fmt: skip

ROSTER = Roster(
    remove=("hospital-C",),
    add=(
        Owner(account="0x" + "05" * 20, id="hospital-A", jurisdiction="DE", regimes=("HIPAA", "GDPR")),
        Owner(account="0x" + "06" * 20, id="hospital-B", jurisdiction="FR", regimes=()),
    ),
    threshold=2,
)
GRANT = Grant(
    run_id=b"\x01" * 32,
    study=b"\x02" * 32,
    ledger="0x" + "0c" * 20,
    compose_hash=b"\x03" * 32,
    enclave_signer="0x" + "0d" * 20,
    kem_key_hash=b"\x04" * 32,
    transcript=b"\x05" * 32,
    evidence=b"\x08" * 32,
    datasets_root=b"\x06" * 32,
    epsilon_micro=1,
    delta_pico=0,
    standing=b"\x09" * 32,
    block_number=2,
    block_hash=b"\x07" * 32,
    issued=3,
    lease_seconds=60,
    audit_head=bytes(32),
)


def structs(node: Any) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each structure that an ABI names, with the names and types of its fields."""
    if isinstance(node, list):
        for item in node:
            yield from structs(item)
    elif isinstance(node, dict):
        if str(node.get("internalType", "")).startswith("struct "):
            yield name(node).removesuffix("[]"), [(part["name"], name(part)) for part in node["components"]]
        for item in node.values():
            yield from structs(item)


def name(part: dict[str, Any]) -> str:
    """The type of a parameter; of a structure its own name."""
    inner = str(part["internalType"])
    return inner.rpartition(".")[2] if inner.startswith("struct ") else str(part["type"])


FOUND = {
    struct: fields
    for contract in ("Consortium", "Ledger", "Lens")
    for struct, fields in structs(json.loads((ABI / f"{contract}.json").read_text()))
}


@pytest.mark.parametrize("record", IN_CONTRACTS, ids=lambda record: record.struct)
def test_the_contracts_have_the_same_structures(record: type[Record]) -> None:
    assert list(record.table()) == FOUND[record.struct]


@pytest.mark.parametrize("record", [STUDY, GRANT], ids=["study", "grant"])
def test_a_record_comes_back_from_a_contract_and_from_json(record: Record) -> None:
    (values,) = decode([record.abi_type()], encode([record.abi_type()], [record.solidity()]))
    named = dict(zip((field for field, _ in record.table()), values, strict=True))

    assert type(record).of_abi(named) == record
    assert type(record).from_json(record.to_json()) == record
    assert shown(record.typed()) == record.to_json()


def test_addresses_of_a_decoder_lose_their_checksum() -> None:
    named = dict(zip((field for field, _ in GRANT.table()), GRANT.solidity(), strict=True))

    assert Grant.of_abi({**named, "ledger": "0x" + "0C" * 20}) == GRANT


def test_an_owner_is_text_for_people_and_bytes_for_contracts() -> None:
    assert ROSTER.to_json()["add"][0] == {
        "account": "0x" + "05" * 20,
        "id": "hospital-A",
        "jurisdiction": "DE",
        "regimes": ["HIPAA", "GDPR"],
    }
    assert Roster.from_json(ROSTER.to_json()) == ROSTER
    assert ROSTER.add[0].solidity() == ("0x" + "05" * 20, b"DE", 3, b"hospital-A".ljust(32, b"\0"))
    assert ROSTER.typed()["add"][1] == {
        "account": "0x" + "06" * 20,
        "id": b"hospital-B".ljust(32, b"\0"),
        "jurisdiction": b"FR",
        "regimes": 0,
    }
    flags = dict(zip((field for field, _ in Owner.table()), ROSTER.add[0].solidity(), strict=True))
    assert Owner.of_abi({**flags, "regimes": 2**16 - 1}).regimes == REGIMES
    assert Owner.of_abi({**flags, "id": b"\xff".ljust(32, b"\0")}).id == r"\xff"


@pytest.mark.parametrize(
    "change, words",
    [
        ({"runId": "0xAA"}, "grant has runId that is not lower-case hex with 0x"),
        ({"runId": "0xaa"}, "grant has runId that is 1 bytes of hex where 32 must be"),
        ({"runId": None}, "grant has runId that is not lower-case hex with 0x"),
        ({"blockNumber": True}, "grant has blockNumber that is not an integer from 0 to 9007199254740991"),
        ({"blockNumber": 1.0}, "grant has blockNumber that is not an integer from 0 to 9007199254740991"),
        ({"blockNumber": "1"}, "grant has blockNumber that is not an integer from 0 to 9007199254740991"),
        ({"blockNumber": 2**53}, "grant has blockNumber that is not an integer from 0 to 9007199254740991"),
        ({"leaseSeconds": 2**32}, "grant has leaseSeconds that is not an integer from 0 to 4294967295"),
        ({"ledger": "0x" + "0C" * 20}, "grant has ledger that is not an address in lower-case hex"),
        ({"ledger": "0x" + "0c" * 20 + "\n"}, "grant has ledger that is not an address in lower-case hex"),
        ({"more": 1, "less": 1}, "grant has the unknown field 'less'"),
        ({"run_id": "0x" + "01" * 32}, "grant has the unknown field 'run_id'"),
    ],
)
def test_reading_is_strict_and_names_what_and_where(change: dict[str, Any], words: str) -> None:
    with pytest.raises(KeyReleaseError) as caught:
        Grant.from_json({**GRANT.to_json(), **change}, error=KeyReleaseError)
    assert (caught.value.code, caught.value.message) == ("malformed", words)


def test_a_missing_field_and_another_type_are_told() -> None:
    for absent in GRANT.to_json():
        rest = {field: value for field, value in GRANT.to_json().items() if field != absent}
        with pytest.raises(FormatError, match=f"^the grant lacks {absent}$"):
            Grant.from_json(rest, what="the grant")
    for other in (None, [], "", GRANT, 1):
        with pytest.raises(FormatError, match=r"^grant must be an object$"):
            Grant.from_json(other)


def test_a_fault_inside_is_told_with_its_way() -> None:
    inside, seats = ApproveStudy(owner="0x" + "05" * 20, study=STUDY).to_json(), ROSTER.to_json()
    inside["study"]["datasets"][1] = 3
    seats["add"][1]["regimes"] = ["GDPR", "other"]
    with pytest.raises(FormatError, match=r"^request's study has datasets\[1\] that is not lower-case hex"):
        ApproveStudy.from_json(inside, what="request")
    with pytest.raises(
        FormatError, match=r"^the roster's add\[1\] has regimes that is not of known regimes: 'other'"
    ):
        Roster.from_json(seats)
    inside["study"] = {**STUDY.to_json(), "datasets": [], "more": 1}
    with pytest.raises(FormatError, match=r"^request's study has the unknown field 'more'$"):
        ApproveStudy.from_json(inside, what="request")
    for broken in ({}, None, ["0x" + "0a" * 32] * 65):
        with pytest.raises(FormatError, match=r"that is not an array of at most 64 items$"):
            Study.from_json({**STUDY.to_json(), "datasets": broken})


def test_a_roster_keeps_the_order_of_its_owners() -> None:
    turned = replace(ROSTER, add=ROSTER.add[::-1])

    assert [owner["id"] for owner in turned.to_json()["add"]] == ["hospital-B", "hospital-A"]


@pytest.mark.parametrize(
    "micro, text", [(0, "0"), (1, "0.000001"), (500_000, "0.5"), (1_000_000, "1"), (4_500_000, "4.5")]
)
def test_epsilon_has_one_text(micro: int, text: str) -> None:
    assert epsilon_text(micro) == text
    if micro:
        assert read_epsilon(text, "ε") == micro


@pytest.mark.parametrize(
    "pico, text",
    [(0, "0"), (1, "1e-12"), (2_000_000, "2e-6"), (100_000_000, "0.0001"), (1_250_000, "1.25e-6")],
)
def test_delta_has_one_text(pico: int, text: str) -> None:
    assert delta_text(pico) == text
    assert read_delta(text, "δ") == pico


@pytest.mark.parametrize("text", ["0", "-1", "0.0000001", "9007199254.740992", "4.5 ", "", 4.5, None])
def test_an_epsilon_that_the_ledger_cannot_book_is_refused(text: object) -> None:
    with pytest.raises(FormatError, match=r"^--cap must be "):
        read_epsilon(text, "--cap")


@pytest.mark.parametrize("text", ["1", "-1", "1e-13", "0.0000000000001", "x", 0])
def test_a_delta_that_the_ledger_cannot_book_is_refused(text: object) -> None:
    with pytest.raises(FormatError, match=r"^--delta must be "):
        read_delta(text, "--delta")
