# SPDX-License-Identifier: Apache-2.0
"""The links that hold an envelope's origin against what the verifier pinned; one for each pinned origin."""

from __future__ import annotations

from collections.abc import Callable

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import EnvelopeError
from sealroom_agents.facts import Evidence
from sealroom_agents.verification.pin import Pin
from sealroom_agents.verification.state import Check, Findings, Step, equal


def steps(pin: Pin) -> tuple[Step, ...]:
    """The links for exactly what `pin` holds."""
    return tuple(_STEPS[origin] for origin in _STEPS if origin in pin.origins)


def _booted(name: str, who: str, evidence: Callable[[Findings], Evidence]) -> Check:
    """By its registers: the digest alone is the guest's claim (AT-20)."""

    def run(found: Findings) -> None:
        seen = evidence(found)
        if found.pin.booted(seen) is None:
            raise EnvelopeError(
                Code.OS_IMAGE_NOT_PINNED,
                f"{who} booted no pinned OS image: it says {to_hex(seen.os_image_hash)}, "
                f"with MRTD {to_hex(seen.mr_td)}",
            )

    return Check(name, run)


_CONSORTIUM = Step(
    "pinned-consortium",
    (
        equal(
            "pin.chain",
            lambda found: found.envelope.statement.chain_id,
            lambda found: found.pin.chain_id,
            Code.CONSORTIUM_NOT_PINNED,
            lambda found: (
                f"the result is of chain {found.envelope.statement.chain_id}, not of the pinned one"
            ),
        ),
        equal(
            "pin.consortium",
            lambda found: found.envelope.statement.consortium,
            lambda found: found.pin.consortium,
            Code.CONSORTIUM_NOT_PINNED,
            lambda found: (
                f"the result is of consortium {found.envelope.statement.consortium}, not of the pinned one"
            ),
        ),
    ),
    lambda found: f"{found.pin.consortium} on chain {found.pin.chain_id}, as pinned",
)
_GATE = Step(
    "pinned-gate",
    (
        equal(
            "pin.gate-compose",
            lambda found: found.gate.compose_hash,
            lambda found: found.pin.gate_compose,
            Code.GATE_NOT_PINNED,
            lambda found: f"the gate runs compose {to_hex(found.gate.compose_hash)}, not the pinned one",
        ),
        equal(
            "pin.gate-root",
            lambda found: found.gate.gate_root,
            lambda found: found.pin.gate_root,
            Code.GATE_NOT_PINNED,
            lambda found: f"the gate has root {to_hex(found.gate.gate_root)}, not the pinned one",
        ),
    ),
    lambda found: "the gate is the pinned one",
)
_KMS = Step(
    "pinned-kms-root",
    (
        equal(
            "pin.kms-root",
            lambda found: found.gate.kms_root_fingerprint,
            lambda found: found.pin.kms_root,
            Code.KMS_ROOT_NOT_PINNED,
            lambda found: (
                f"the keys come from KMS root {to_hex(found.gate.kms_root_fingerprint)}, not the pinned one"
            ),
        ),
    ),
    lambda found: "gate and enclave have their keys from the pinned KMS",
)
_OS_IMAGES = Step(
    "pinned-os-images",
    (
        _booted("pin.enclave-image", "the enclave", lambda found: found.evidence),
        _booted("pin.gate-image", "the gate", lambda found: found.gate.evidence),
    ),
    lambda found: f"gate and enclave booted pinned images, here {to_hex(found.pin.image_of(found.evidence))}",
)
_STEPS = {"consortium": _CONSORTIUM, "gate": _GATE, "kms-root": _KMS, "os-images": _OS_IMAGES}
