# SPDX-License-Identifier: Apache-2.0
"""The Sign-RPC envelope: one file with a run's result, its receipt and all evidence.

`statement` is what the enclave signs about the result, `dsse` how, `anchor` what the ledger adds
afterwards, `envelope` the file that holds them all, `build` makes one, and `checks` is what it must say of
itself. Spec: `enclave/spec/envelope.md`.
"""

from sealroom.envelope.anchor import Anchor, Approval, Proof
from sealroom.envelope.build import build_envelope
from sealroom.envelope.checks import (
    RECEIPT_CHECKS,
    RESULT_CHECK,
    STATEMENT_CHECKS,
    EnvelopeCheck,
    receipt_of,
    verify_receipt,
    verify_statement,
)
from sealroom.envelope.dsse import SignedStatement, pre_authentication_encoding, sign_payload
from sealroom.envelope.envelope import (
    MAX_ENVELOPE_BYTES,
    Envelope,
    parse_envelope,
    result_digest,
)
from sealroom.envelope.statement import (
    Statement,
    StatementDataset,
    StatementMechanism,
    StatementPrivacy,
    quote_body_digest,
)

__all__ = [
    "MAX_ENVELOPE_BYTES",
    "RECEIPT_CHECKS",
    "RESULT_CHECK",
    "STATEMENT_CHECKS",
    "Anchor",
    "Approval",
    "Envelope",
    "EnvelopeCheck",
    "Proof",
    "SignedStatement",
    "Statement",
    "StatementDataset",
    "StatementMechanism",
    "StatementPrivacy",
    "build_envelope",
    "parse_envelope",
    "pre_authentication_encoding",
    "quote_body_digest",
    "receipt_of",
    "result_digest",
    "sign_payload",
    "verify_receipt",
    "verify_statement",
]
