# SPDX-License-Identifier: Apache-2.0
"""What vouches for the key of a console that runs in a confidential VM, and how it is verified.

The quote's report data binds the key of the console's answers and its chain to the attested machine, and the
event log says which app-compose runs there. Whether that is the right app is for the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from sealroom.errors import KeyReleaseError
from sealroom.key_release.messages import MAX_EVENT_LOG, MAX_IDENTITY_BODY, MAX_QUOTE, ChainId, Message
from sealroom.model.kinds import B32, Base64, Hex, JsonObject, Seconds, Text
from sealroom_agents.attestation.evidence import verify_evidence
from sealroom_agents.attestation.trust import TrustRoot, require_local_chain
from sealroom_agents.errors import AttestationError
from sealroom_agents.facts import Evidence
from sealroom_agents.signed_answers import report_data


@dataclass(frozen=True, kw_only=True)
class ConsoleAttestation(Message, what="the console's attestation"):
    """The proof of `GET /v1/console`."""

    version: ClassVar[int] = 1
    limit: ClassVar[int] = MAX_IDENTITY_BODY

    chain_id: ChainId
    """The chain that the console shows."""
    key: B32
    """Ed25519 public key of its answers."""
    app_id: Annotated[bytes, Hex(20)]
    """dstack app id of its own CVM."""
    compose_hash: B32
    """Compose hash of its own app."""
    quote: Annotated[bytes, Base64(MAX_QUOTE)]
    """TDX quote whose report data is `signed_answers.report_data`."""
    event_log: Annotated[str, Text(MAX_EVENT_LOG)]
    """dstack's event log, JSON text."""
    collateral: Annotated[Mapping[str, Any], JsonObject()]
    """Intel's collateral for the quote, in dcap-qvl's JSON form."""
    issued: Seconds
    """When the quote was made, unix seconds."""


@dataclass(frozen=True)
class ConsoleFacts:
    """What is proven about a console."""

    key: bytes
    """Ed25519 public key of its answers, 32 bytes."""
    app_id: bytes
    """dstack app id, 20 bytes."""
    compose_hash: bytes
    """Which app-compose runs, 32 bytes."""
    evidence: Evidence
    """All facts about its machine."""


def verify_console(attestation: object, *, trust: TrustRoot, now: int) -> ConsoleFacts:
    """Verify the attestation, JSON as `GET /v1/console` has it, at `now` (unix seconds).

    Raises `AttestationError`: `malformed`, `simulated-root-off-local-chain`, all codes of `verify_evidence`.
    """
    try:
        found = ConsoleAttestation.from_json(attestation)
    except KeyReleaseError as error:
        raise AttestationError(error.code, error.message) from error
    require_local_chain(trust, found.chain_id)
    evidence = verify_evidence(
        found.quote,
        found.event_log,
        found.collateral,
        trust=trust,
        now=now,
        report_data=report_data(chain_id=found.chain_id, key=found.key),
    )
    return ConsoleFacts(
        key=found.key, app_id=evidence.app_id, compose_hash=evidence.compose_hash, evidence=evidence
    )
