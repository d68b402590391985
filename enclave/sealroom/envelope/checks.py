# SPDX-License-Identifier: Apache-2.0
"""What an envelope must say of itself, one check a line: each pair of values
that has to be equal, each signature.

No check repeats another, so that each has an envelope which it alone
refuses. Spec: `enclave/spec/envelope.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from sealroom import typed
from sealroom.codes import Code
from sealroom.envelope.dsse import SignedStatement
from sealroom.envelope.envelope import Envelope, result_digest
from sealroom.envelope.statement import Statement, quote_body_digest
from sealroom.errors import EnvelopeError, KeyMaterialError
from sealroom.key_release import datasets_root
from sealroom.model import Receipt
from sealroom.model.units import to_pico

EnvelopeCheck = tuple[str, Callable[[Envelope], None]]
"""A stable name, and the function that raises `EnvelopeError` where the envelope does not hold."""


def verify_statement(envelope: Envelope) -> None:
    """Check that the granted enclave signed a statement about this result, quote and run.

    Raises `EnvelopeError`: `result-mismatch`, `statement-forged`, `statement-mismatch`.
    """
    for _, check in (RESULT_CHECK, *STATEMENT_CHECKS):
        check(envelope)


def verify_receipt(envelope: Envelope) -> None:
    """Check that the granted enclave signed the receipt, and that it says what the statement says.

    Raises `EnvelopeError`: `receipt-forged`, `receipt-mismatch`.
    """
    for _, check in RECEIPT_CHECKS:
        check(envelope)


def _result(envelope: Envelope) -> None:
    if result_digest(envelope.result) != envelope.statement.result_digest:
        raise EnvelopeError(Code.RESULT_MISMATCH, "the statement is about another result")


def _statement_signature(envelope: Envelope) -> None:
    envelope.signed.verify(envelope.grant.enclave_signer)


def _key_id(envelope: Envelope) -> None:
    if envelope.signed.key_id != envelope.grant.enclave_signer:
        raise EnvelopeError(Code.STATEMENT_FORGED, "the statement's key id is not the key that signed it")


def _receipt_signature(envelope: Envelope) -> None:
    statement, signer = envelope.statement, envelope.grant.enclave_signer
    message = typed.receipt(envelope.receipt, chain_id=statement.chain_id, ledger=statement.ledger)
    try:
        found = typed.recover(message, envelope.receipt_signature)
    except KeyMaterialError as error:
        raise EnvelopeError(Code.RECEIPT_FORGED, f"receipt: {error.message}") from None
    if found != signer:
        raise EnvelopeError(Code.RECEIPT_FORGED, f"the receipt was not signed by {signer}")


def _receipt_content(envelope: Envelope) -> None:
    if envelope.receipt != receipt_of(envelope.statement, envelope.signed):
        raise EnvelopeError(Code.RECEIPT_MISMATCH, "the receipt does not say what the statement says")


def receipt_of(statement: Statement, signed: SignedStatement) -> Receipt:
    """The receipt that follows from a statement."""
    return Receipt(
        run_id=statement.run_id,
        consortium=statement.consortium,
        study=statement.study,
        compose_hash=statement.compose_hash,
        datasets_root=_root(statement),
        result_digest=statement.result_digest,
        statement_digest=signed.digest,
        epsilon_micro=statement.privacy.epsilon_micro,
        delta_pico=to_pico(statement.privacy.delta),
        grant_hash=statement.grant_hash,
    )


def _root(statement: Statement) -> bytes:
    return datasets_root([(dataset.id, dataset.header) for dataset in statement.datasets])


def _grant_hash(envelope: Envelope) -> bytes:
    statement = envelope.statement
    return typed.digest(
        typed.grant(envelope.grant, chain_id=statement.chain_id, consortium=statement.consortium)
    )


Value = str | Callable[[Envelope], object]
"""Where a value stands: the path of an attribute, or a function."""


def _same(name: str, what: str, stated: Value, other: Value) -> EnvelopeCheck:
    """The statement and another part must name the same."""
    part = "hello" if name.startswith("hello.") else "quote" if what == "quote" else "grant"
    left, right = (attrgetter(value) if isinstance(value, str) else value for value in (stated, other))

    def check(envelope: Envelope) -> None:
        if left(envelope) != right(envelope):
            raise EnvelopeError(
                Code.STATEMENT_MISMATCH, f"the statement names another {what} than the {part}"
            )

    return name, check


RESULT_CHECK: EnvelopeCheck = ("result.digest", _result)
"""The result is the statement's subject."""

STATEMENT_CHECKS: tuple[EnvelopeCheck, ...] = (
    ("statement.signature", _statement_signature),
    ("statement.key-id", _key_id),
    _same("statement.run", "run", "statement.run_id", "grant.run_id"),
    _same("statement.ledger", "ledger", "statement.ledger", "grant.ledger"),
    _same("statement.study", "study", "statement.study", "grant.study"),
    _same("statement.recipe", "compose hash", "statement.compose_hash", "grant.compose_hash"),
    _same("statement.datasets", "datasets", lambda e: _root(e.statement), "grant.datasets_root"),
    _same("statement.epsilon", "ε", "statement.privacy.epsilon_micro", "grant.epsilon_micro"),
    _same("statement.delta", "δ", lambda e: to_pico(e.statement.privacy.delta), "grant.delta_pico"),
    _same("statement.standing", "standing", "statement.standing", "grant.standing"),
    _same("statement.block", "block", "statement.block_number", "grant.block_number"),
    _same("statement.block-hash", "block hash", "statement.block_hash", "grant.block_hash"),
    _same("statement.grant", "grant", "statement.grant_hash", _grant_hash),
    _same("statement.quote", "quote", "statement.quote_body_digest", lambda e: quote_body_digest(e.quote)),
    _same("hello.run", "run", "statement.run_id", "hello.run_id"),
    _same("hello.chain", "chain", "statement.chain_id", "hello.chain_id"),
    _same("hello.consortium", "consortium", "statement.consortium", "hello.consortium"),
    _same("hello.recipe", "compose hash", "statement.compose_hash", "hello.compose_hash"),
    _same("hello.epsilon", "ε", "statement.privacy.epsilon_micro", "hello.epsilon_micro"),
    _same("hello.delta", "δ", lambda e: to_pico(e.statement.privacy.delta), "hello.delta_pico"),
    _same("hello.guarantee", "guarantee", "statement.privacy.guarantee", "hello.guarantee"),
)
"""The granted enclave signed the statement, and it is about the run of this grant, hello and quote."""

RECEIPT_CHECKS: tuple[EnvelopeCheck, ...] = (
    ("receipt.signature", _receipt_signature),
    ("receipt.content", _receipt_content),
)
"""The same key signed the receipt, which follows from the statement."""
