# SPDX-License-Identifier: Apache-2.0
"""The check `quote.gpu`: the GPUs that a recipe demands, walked again as the gate walked them.

Evidence, manifests and answers are in the envelope, so the walk asks nobody, and is as of the time of the
grant. With the owners' platform policy it is held to their rules; without it to what evidence itself
says, and how far that goes is told.
"""

from __future__ import annotations

from sealroom.codes import Code
from sealroom.errors import KeyReleaseError
from sealroom.key_release import gpu_nonce
from sealroom_agents.attestation.gpu import (
    State,
    Terms,
    Walk,
    gpu_trust,
    read_material,
    walk_gpus,
)
from sealroom_agents.errors import AttestationError
from sealroom_agents.verification.state import Findings

_LEFT_OPEN = {
    State.SIGNATURE_VERIFIED: ", with no manifest of VBIOS or driver",
    State.VBIOS_MATCHED: ", with no manifest of the driver",
}
"""What a state leaves open."""


def require_gpus(found: Findings) -> None:
    """Evidence of the GPUs that the recipe demands, and of no others.

    Raises `KeyReleaseError` `gpu-evidence-unverified`; the message names the link that broke, and its code.
    """
    envelope, demand = found.envelope, found.recipe.gpu
    if demand is None:
        if envelope.gpu_evidence or envelope.gpu_material:
            raise _unproven("it carries GPU evidence, which its recipe does not demand")
        return
    if not envelope.gpu_evidence:
        raise _unproven(f"its recipe demands GPUs ({demand}), and it carries no evidence of any")
    gpus = _walk(found)
    if gpus.broken is not None:
        raise _unproven(f"GPU evidence: {gpus.broken.name}: {gpus.broken.words} ({gpus.broken.code})")
    if not gpus.asked_all:
        raise _unproven("it carries nobody's word on whether the certificates of its GPUs are revoked")
    if any((gpu.chip, gpu.protected_pcie) != (demand.chip, demand.protected_pcie) for gpu in gpus.gpus):
        raise _unproven(f"the GPUs that signed are not those that its recipe demands ({demand})")
    found.gpus = gpus


def tell_gpus(found: Findings) -> str:
    """What was found, to be said behind what the quote binds; empty where the recipe demands none."""
    gpus = found.gpus
    if gpus is None:
        return ""
    whose = "SIMULATED GPUs, not NVIDIA's" if found.trust.is_simulated else "NVIDIA's"
    asked = len(gpus.asked)
    return (
        f", and what its GPUs signed for it: {found.recipe.gpu}, {whose}. {str(gpus.state).capitalize()}"
        f"{_LEFT_OPEN.get(gpus.state, '')}; {asked} certificates were good at the grant. That they are in"
        " this machine rests on the measured guest (no TDISP)"
    )


def _walk(found: Findings) -> Walk:
    envelope, demand, policy = found.envelope, found.recipe.gpu, found.policy
    count = None if demand is None else demand.count
    if policy is None:
        terms = Terms(count=count)
    elif policy.gpu is None:
        raise _unproven("the platform policy accepts no GPUs")
    else:
        terms = Terms.under(policy.gpu, count=count)
    try:
        material = read_material(envelope.gpu_material)
    except AttestationError as error:
        raise _unproven(f"GPU evidence: manifests and answers: {error.message} ({error.code})") from error
    return walk_gpus(
        envelope.gpu_evidence,
        nonce=gpu_nonce(found.transcript, kem_key=envelope.kem_key, signer=envelope.grant.enclave_signer),
        now=envelope.grant.issued,
        material=material,
        terms=terms,
        trust=gpu_trust(found.trust, found.trust.gpu_roots),
    )


def _unproven(words: str) -> KeyReleaseError:
    return KeyReleaseError(Code.GPU_EVIDENCE_UNVERIFIED, words)
