# SPDX-License-Identifier: Apache-2.0
"""The Sign-RPC envelope: what an enclave signs, and what of it holds."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealroom import typed
from sealroom.encoding import canonical, sha256, to_base64
from sealroom.envelope import (
    Anchor,
    Approval,
    Envelope,
    Proof,
    Statement,
    parse_envelope,
    pre_authentication_encoding,
    result_digest,
    sign_payload,
    verify_receipt,
    verify_statement,
)
from sealroom.errors import EnvelopeError
from sealroom.keys import address_of
from tests.formats.worked import (
    CHAIN_ID,
    ENCLAVE_SIGNER,
    GATE_SIGNER,
    GRANT,
    HELLO,
    LEDGER,
    QUOTE,
    RESULT,
    envelope,
    flip,
    statement,
)

ENVELOPE = envelope()
ANCHOR = Anchor(
    chain_id=CHAIN_ID,
    ledger=LEDGER,
    tx=b"\x07" * 32,
    block=1300,
    sequence=1,
    approvals=(Approval(owner="0x" + "0a" * 20, tx=b"\x08" * 32),),
    batch_path=(b"\x09" * 32,),
    proofs=(Proof(header=b"header", index=3, path=b"path"),),
)


def test_an_envelope_reads_back_and_holds() -> None:
    read = parse_envelope(ENVELOPE.encode())

    assert read == ENVELOPE
    verify_statement(read)
    verify_receipt(read)


def test_an_anchored_envelope_reads_back() -> None:
    anchored = ENVELOPE.with_anchor(ANCHOR)

    assert parse_envelope(anchored.encode()) == anchored


def test_white_space_around_an_envelope_changes_nothing() -> None:
    shown = json.dumps(ENVELOPE.to_json(), indent=1).encode()

    assert parse_envelope(shown) == ENVELOPE


def test_the_receipt_says_what_the_statement_says() -> None:
    receipt = ENVELOPE.receipt

    assert receipt.result_digest == sha256(canonical(RESULT)) == ENVELOPE.statement.result_digest
    assert receipt.statement_digest == sha256(pre_authentication_encoding(ENVELOPE.signed.payload))
    assert receipt.grant_hash == ENVELOPE.statement.grant_hash
    assert (receipt.epsilon_micro, receipt.delta_pico) == (1_500_000, 1_000_000)
    message = typed.receipt(receipt, chain_id=CHAIN_ID, ledger=LEDGER)
    assert typed.recover(message, ENVELOPE.receipt_signature) == GRANT.enclave_signer


def test_the_pre_authentication_encoding_is_that_of_dsse() -> None:
    assert pre_authentication_encoding(b"hello") == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"


def test_the_statement_is_an_in_toto_statement() -> None:
    payload = json.loads(ENVELOPE.signed.payload)

    assert payload["_type"] == "https://in-toto.io/Statement/v1"
    assert payload["subject"][0]["digest"]["sha256"] == ENVELOPE.receipt.result_digest.hex()
    assert Statement.parse(ENVELOPE.signed.payload) == ENVELOPE.statement


def _restated(**changes: Any) -> Envelope:
    """An envelope whose enclave signed another statement."""
    other = replace(ENVELOPE.statement, **changes)
    signed = sign_payload(other.encode(), private_key=ENCLAVE_SIGNER, signer=address_of(ENCLAVE_SIGNER))
    return replace(ENVELOPE, statement=other, signed=signed)


def _forged() -> Envelope:
    signed = sign_payload(ENVELOPE.signed.payload, private_key=GATE_SIGNER, signer=address_of(ENCLAVE_SIGNER))
    return replace(ENVELOPE, signed=signed)


STATEMENTS = [
    ("result-mismatch", replace(ENVELOPE, result={**RESULT, "epsilon": "1.4"})),
    ("result-mismatch", _restated(result_digest=bytes(32))),
    ("statement-forged", _forged()),
    ("statement-forged", replace(ENVELOPE, grant=replace(GRANT, enclave_signer=address_of(GATE_SIGNER)))),
    (
        "statement-forged",
        replace(ENVELOPE, signed=replace(ENVELOPE.signed, signature=flip(ENVELOPE.signed.signature, 3))),
    ),
    ("statement-mismatch", _restated(run_id=bytes(32))),
    ("statement-mismatch", _restated(chain_id=1)),
    ("statement-mismatch", _restated(consortium="0x" + "c2" * 20)),
    ("statement-mismatch", _restated(ledger="0x" + "1f" * 20)),
    ("statement-mismatch", _restated(study=bytes(32))),
    ("statement-mismatch", _restated(compose_hash=bytes(32))),
    ("statement-mismatch", _restated(datasets=tuple(reversed(ENVELOPE.statement.datasets)))),
    ("statement-mismatch", _restated(privacy=replace(ENVELOPE.statement.privacy, epsilon_micro=1))),
    ("statement-mismatch", _restated(privacy=replace(ENVELOPE.statement.privacy, delta=Decimal("2e-6")))),
    ("statement-mismatch", _restated(privacy=replace(ENVELOPE.statement.privacy, delta=Decimal(0)))),
    ("statement-mismatch", replace(ENVELOPE, hello=replace(HELLO, epsilon_micro=1))),
    ("statement-mismatch", replace(ENVELOPE, hello=replace(HELLO, delta_pico=0))),
    ("statement-mismatch", replace(ENVELOPE, grant=replace(GRANT, delta_pico=0))),
    ("statement-mismatch", _restated(standing=bytes(32))),
    ("statement-mismatch", _restated(block_number=1)),
    ("statement-mismatch", _restated(block_hash=bytes(32))),
    ("statement-mismatch", _restated(grant_hash=bytes(32))),
    ("statement-mismatch", replace(ENVELOPE, quote=flip(QUOTE, 100))),
    ("statement-mismatch", replace(ENVELOPE, hello=replace(HELLO, run_id=bytes(32)))),
    ("statement-mismatch", replace(ENVELOPE, grant=replace(GRANT, issued=0))),
]


@pytest.mark.parametrize("code, changed", STATEMENTS, ids=range(len(STATEMENTS)))
def test_a_statement_about_something_else_does_not_hold(code: str, changed: Envelope) -> None:
    verify_statement(ENVELOPE)
    with pytest.raises(EnvelopeError) as caught:
        verify_statement(changed)
    assert caught.value.code == code


def test_the_tail_of_a_quote_may_be_changed_by_anyone() -> None:
    """AT-02: what the quote's own signature does not cover is not what the enclave states."""
    verify_statement(replace(ENVELOPE, quote=QUOTE + b"\0"))


RECEIPTS = [
    ("receipt-forged", replace(ENVELOPE, receipt_signature=flip(ENVELOPE.receipt_signature, 5))),
    ("receipt-forged", replace(ENVELOPE, receipt=replace(ENVELOPE.receipt, epsilon_micro=1))),
    ("receipt-forged", replace(ENVELOPE, receipt=replace(ENVELOPE.receipt, delta_pico=0))),
    ("receipt-forged", replace(ENVELOPE, grant=replace(GRANT, enclave_signer=address_of(GATE_SIGNER)))),
    ("receipt-mismatch", _restated(quote_body_digest=bytes(32))),
]


@pytest.mark.parametrize("code, changed", RECEIPTS, ids=range(len(RECEIPTS)))
def test_a_receipt_about_something_else_does_not_hold(code: str, changed: Envelope) -> None:
    verify_receipt(ENVELOPE)
    with pytest.raises(EnvelopeError) as caught:
        verify_receipt(changed)
    assert caught.value.code == code


def test_an_envelope_is_as_long_whatever_its_values_are() -> None:
    """DP-11, OU-02: the file has the length that the recipe allows; what is read is the same."""
    group = {"sex": "F", "people": 1, "people_low": 1, "people_high": 1}
    short = replace(ENVELOPE, result={**RESULT, "fields": {"people": {"groups": [group]}}})
    long = replace(short, result={**RESULT, "fields": {"people": {"groups": [{**group, "people": 10**9}]}}})
    assert len(long.encode()) == len(short.encode()) + 9
    assert len(long.padded(4096)) == len(short.padded(4096)) > len(long.encode())
    assert parse_envelope(ENVELOPE.padded(4096)) == ENVELOPE


def test_an_enclave_signs_nothing_that_a_verifier_would_refuse() -> None:
    with pytest.raises(EnvelopeError) as caught:
        envelope(result={**RESULT, "epsilon": "1.4"})
    assert caught.value.code == "result-mismatch"
    with pytest.raises(EnvelopeError) as caught:
        envelope(private_key=GATE_SIGNER)
    assert caught.value.code == "statement-forged"
    with pytest.raises(EnvelopeError) as caught:
        envelope(statement=replace(statement(), standing=bytes(32)))
    assert caught.value.code == "statement-mismatch"


def test_a_delta_between_two_units_is_booked_as_the_larger() -> None:
    finer = replace(statement().privacy, delta=Decimal("0.9999999e-6"))

    assert envelope(statement=replace(statement(), privacy=finer)).receipt.delta_pico == 1_000_000
    with pytest.raises(EnvelopeError) as caught:
        envelope(statement=replace(statement(), privacy=replace(finer, delta=Decimal("1.0000001e-6"))))
    assert caught.value.code == "statement-mismatch"


def test_a_result_with_a_float_has_no_digest() -> None:
    assert result_digest({"a": "1.5"})
    with pytest.raises(EnvelopeError):
        result_digest({"a": 1.5})


@pytest.mark.parametrize("name", [*ENVELOPE.to_json(), "more"])
def test_an_envelope_with_a_field_more_or_less_is_refused(name: str) -> None:
    value = ENVELOPE.to_json()
    changed = {**value, "more": 1} if name == "more" else {k: v for k, v in value.items() if k != name}
    with pytest.raises(EnvelopeError) as caught:
        parse_envelope(canonical(changed))
    assert caught.value.code == "malformed"


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(version=4),
        lambda value: value.update(version=6),
        lambda value: value["statement"].update(payloadType="text/plain"),
        lambda value: value["statement"]["signatures"].append(value["statement"]["signatures"][0]),
        lambda value: value["receipt"].pop("grantHash"),
        lambda value: value["gate"].update(signer="0x" + "00" * 20),
        lambda value: value["release"]["challenge"].update(expires=10**12),
        lambda value: value["evidence"].update(quote="!"),
    ],
)
def test_another_version_or_shape_is_refused(change: Any) -> None:
    value = json.loads(ENVELOPE.encode())
    parse_envelope(canonical(value))
    change(value)
    with pytest.raises(EnvelopeError):
        parse_envelope(canonical(value))


@pytest.mark.parametrize(
    "change",
    [
        lambda anchor: anchor.pop("proofs"),
        lambda anchor: anchor.pop("batchPath"),
        lambda anchor: anchor.update(proofs=None),
        lambda anchor: anchor.update(proofs=33 * anchor["proofs"]),
        lambda anchor: anchor.update(batchPath=13 * anchor["batchPath"]),
        lambda anchor: anchor["proofs"][0].update(more=1),
        lambda anchor: anchor["proofs"][0].update(index=-1),
        lambda anchor: anchor["proofs"][0].update(index=2**32),
        lambda anchor: anchor["proofs"][0].update(header="A" * 2732 + "A==="),
        lambda anchor: anchor["proofs"][0].update(header=to_base64(bytes(2049))),
        lambda anchor: anchor["proofs"][0].update(path=to_base64(bytes(256 * 1024 + 1))),
    ],
)
def test_proofs_of_another_shape_are_refused(change: Any) -> None:
    """RE-02: so many, of so many bytes."""
    value = json.loads(ENVELOPE.with_anchor(ANCHOR).encode())
    change(value["anchor"])
    with pytest.raises(EnvelopeError) as caught:
        parse_envelope(canonical(value))
    assert caught.value.code == "malformed"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_decoders_raise_only_our_error(data: st.DataObject) -> None:
    body = ENVELOPE.encode()
    changed = flip(body, data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 7)))
    with suppress(EnvelopeError):
        parse_envelope(changed)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_no_flipped_bit_of_a_statement_goes_unseen(data: st.DataObject) -> None:
    payload = ENVELOPE.signed.payload
    changed = flip(payload, data.draw(st.integers(0, len(payload) - 1)), data.draw(st.integers(0, 7)))
    with suppress(EnvelopeError):
        Statement.parse(changed)
    with pytest.raises(EnvelopeError):
        replace(ENVELOPE.signed, payload=changed).verify(GRANT.enclave_signer)


def test_numbers_with_decimals_have_one_text() -> None:
    body = ENVELOPE.statement.to_json()
    assert body["predicate"]["privacy"]["delta"] == "1e-6"
    assert ENVELOPE.statement.privacy.delta == Decimal("0.000001")
