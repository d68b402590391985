# SPDX-License-Identifier: Apache-2.0
"""The rules about platform and machine: what its evidence says, what the owners adopted and allow."""

from __future__ import annotations

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.key_release import Refusal
from sealroom_agents.chains import LOCAL_CHAIN_IDS
from sealroom_agents.facts import (
    ChainView,
    Evidence,
)
from sealroom_agents.gate.cases import Config, Request

UP_TO_DATE = "UpToDate"
"""The one TCB status that is accepted."""
KEY_PROVIDER = "kms"
"""The one kind of key provider that is accepted (AT-19)."""


def simulated(evidence: Evidence, view: ChainView) -> Refusal | None:
    """A simulated platform counts on a local chain only."""
    if evidence.simulated and view.chain_id not in LOCAL_CHAIN_IDS:
        return Refusal(
            Code.SIMULATED_ROOT_OFF_LOCAL_CHAIN,
            f"the quote comes from a simulated platform, and chain {view.chain_id} is not a local one",
        )
    return None


def tcb(evidence: Evidence, view: ChainView) -> Refusal | None:
    """The TCB is up to date, and the app contract asks for it."""
    # The gate asks for it whatever the app contract says; an app that does not is set up wrongly (CH-23).
    if evidence.tcb_status != UP_TO_DATE or not view.require_tcb:
        return Refusal(
            Code.TCB_NOT_UP_TO_DATE,
            f"TCB status is {evidence.tcb_status}, not {UP_TO_DATE}"
            if evidence.tcb_status != UP_TO_DATE
            else "the app contract does not require an up-to-date TCB",
            seen={"tcbStatus": evidence.tcb_status},
            pinned={"tcbStatus": UP_TO_DATE},
        )
    return None


def adopted(view: ChainView, config: Config) -> Refusal | None:
    """The owners adopted this gate, with the platform policy by which it judges."""
    platform = view.platform
    if platform is None:
        return Refusal(Code.GATE_NOT_REGISTERED, "the owners have not adopted any gate yet")
    adopted = (platform.gate_root, platform.gate_signer, platform.gate_compose)
    if adopted != (config.gate_root, config.gate_signer, config.gate_compose):
        return Refusal(
            Code.GATE_NOT_REGISTERED,
            "the owners adopted another gate",
            seen=_gate(config.gate_root, config.gate_signer, config.gate_compose),
            pinned=_gate(*adopted),
        )
    if platform.policy_hash != config.policy_hash:
        return Refusal(
            Code.PLATFORM_POLICY_MISMATCH,
            "the owners adopted this gate with another platform policy",
            seen={"policyHash": to_hex(config.policy_hash)},
            pinned={"policyHash": to_hex(platform.policy_hash)},
        )
    return None


def booted(evidence: Evidence, view: ChainView) -> Refusal | None:
    """The machine booted for the consortium's app."""
    app = to_hex(evidence.app_id)
    if app != view.app:
        return Refusal(
            Code.APP_ID_MISMATCH,
            f"the machine booted for app {app}, not for {view.app}",
            seen={"appId": app},
            pinned={"appId": view.app},
        )
    return None


def key_provider(evidence: Evidence, config: Config) -> Refusal | None:
    """The machine takes its keys from the gate's own KMS."""
    if evidence.key_provider != KEY_PROVIDER or evidence.key_provider_id != config.key_provider_id:
        return Refusal(
            Code.KEY_PROVIDER_MISMATCH,
            "the machine takes its keys from another key provider than the gate",
            seen={"name": evidence.key_provider, "id": to_hex(evidence.key_provider_id)},
            pinned={"name": KEY_PROVIDER, "id": to_hex(config.key_provider_id)},
        )
    return None


def os_image(evidence: Evidence, view: ChainView) -> Refusal | None:
    """The owners allow the OS image."""
    if view.platform is None or evidence.os_image_hash not in view.platform.os_images:
        return Refusal(
            Code.OS_IMAGE_NOT_ALLOWED,
            "the owners did not allow this OS image",
            seen={"osImage": to_hex(evidence.os_image_hash)},
        )
    return None


def device(evidence: Evidence, view: ChainView) -> Refusal | None:
    """The owners allow the machine, and the app contract not any machine."""
    if view.allow_any_device:
        return Refusal(
            Code.DEVICE_NOT_ALLOWED, "the app contract allows any device, so the owners' list means nothing"
        )
    if view.platform is None or evidence.device_id not in view.platform.devices:
        return Refusal(
            Code.DEVICE_NOT_ALLOWED,
            "the owners did not allow this machine",
            seen={"device": to_hex(evidence.device_id)},
        )
    return None


def guarantee(request: Request, config: Config) -> Refusal | None:
    """The owners' platform policy accepts the recipe's guarantee."""
    if request.guarantee not in config.guarantees:
        return Refusal(
            Code.GUARANTEE_NOT_ACCEPTED,
            f"the recipe's guarantee is {request.guarantee}, and the owners accept "
            f"{' and '.join(config.guarantees)}",
            seen={"guarantee": request.guarantee},
            pinned={"guarantees": list(config.guarantees)},
        )
    return None


def gpu_evidence(request: Request, config: Config) -> Refusal | None:
    """GPU evidence came where the recipe demands GPUs and the owners have rules for them, and nowhere else.

    Whether it proves anything is looked at last, since that takes longest: `gate.gpus`.
    """
    demand = request.gpu
    if demand is None:
        words = "the enclave brought GPU evidence, and its recipe demands none"
        return Refusal(Code.GPU_EVIDENCE_UNVERIFIED, words) if request.has_gpu_evidence else None
    if not config.gpu_rules:
        words = f"the recipe demands GPUs ({demand}), and the owners' platform policy accepts no GPU evidence"
        return Refusal(Code.GPU_EVIDENCE_UNVERIFIED, words)
    if not request.has_gpu_evidence:
        words = f"the recipe demands GPUs ({demand}), and the enclave brought no evidence of any"
        return Refusal(Code.GPU_EVIDENCE_UNVERIFIED, words)
    return None


def _gate(root: bytes, signer: str, compose_hash: bytes) -> dict[str, object]:
    return {"gateRoot": to_hex(root), "gateSigner": signer, "gateCompose": to_hex(compose_hash)}
