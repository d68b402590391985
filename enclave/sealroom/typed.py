# SPDX-License-Identifier: Apache-2.0
"""Every EIP-712 structure of the product, in one place: domains, types, digests, signatures.

The contracts hold the same type strings; vectors pin both to the same digests. Signatures are 65 bytes
r ‖ s ‖ v with v 27 or 28 and s in the lower half of the order; nothing else is accepted (CH-09).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_account.messages import SignableMessage, encode_typed_data
from eth_keys.datatypes import PrivateKey, Signature
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from sealroom.encoding import address_bytes
from sealroom.errors import KeyMaterialError
from sealroom.records import (
    NESTED,
    OPENING_FIELDS,
    RUN_FIELDS,
    TYPES,
    Grant,
    Opening,
    OwnerLike,
    PlatformLike,
    Receipt,
    StudyLike,
    Table,
    raw,
    shown,
)

SIGNATURE_SIZE = 65
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Order of secp256k1 (SEC 2, section 2.4.1)."""

_RUN_TYPE = f"({','.join(kind for _, kind in RUN_FIELDS)})"
_OPENING_TYPE = f"({','.join([_RUN_TYPE, *(kind for _, kind in OPENING_FIELDS)])})"


def consortium_domain(chain_id: int, consortium: str) -> dict[str, Any]:
    """Domain of what owners sign."""
    return _domain("Sealroom Consortium", chain_id, consortium)


def ledger_domain(chain_id: int, ledger: str) -> dict[str, Any]:
    """Domain of receipts."""
    return _domain("Sealroom Ledger", chain_id, ledger)


def gate_domain(chain_id: int, consortium: str) -> dict[str, Any]:
    """Domain of grants, challenges and leases."""
    return _domain("Sealroom Gate", chain_id, consortium)


def approve_study(study: StudyLike, *, owner: str, chain_id: int, consortium: str) -> SignableMessage:
    """One owner's approval of one study."""
    message = {"owner": owner, "study": study_fields(study)}
    return _message("ApproveStudy", consortium_domain(chain_id, consortium), message)


def adopt_platform(
    platform: PlatformLike, *, owner: str, epoch: int, chain_id: int, consortium: str
) -> SignableMessage:
    """One owner's approval of a gate and its machines."""
    message = {"owner": owner, "platform": platform_fields(platform, epoch=epoch)}
    return _message("AdoptPlatform", consortium_domain(chain_id, consortium), message)


def change_owners(
    owners: Sequence[OwnerLike], threshold: int, *, owner: str, epoch: int, chain_id: int, consortium: str
) -> SignableMessage:
    """One owner's approval of a new roster."""
    message = {"owner": owner, "roster": owners_fields(owners, threshold, epoch=epoch)}
    return _message("ChangeOwners", consortium_domain(chain_id, consortium), message)


def withdraw(proposal: bytes, *, owner: str, epoch: int, chain_id: int, consortium: str) -> SignableMessage:
    """One owner takes back its approval of the study, platform or roster of this id."""
    message = {"owner": owner, "proposal": proposal, "epoch": epoch}
    return _message("Withdraw", consortium_domain(chain_id, consortium), message)


def revoke(reason: str, *, owner: str, epoch: int, chain_id: int, consortium: str) -> SignableMessage:
    """One owner's revocation."""
    message = {"owner": owner, "reason": reason, "epoch": epoch}
    return _message("Revoke", consortium_domain(chain_id, consortium), message)


def receipt(content: Receipt, *, chain_id: int, ledger: str) -> SignableMessage:
    """The enclave's receipt of one run."""
    return _message("Receipt", ledger_domain(chain_id, ledger), raw("Receipt", content))


def grant(content: Grant, *, chain_id: int, consortium: str) -> SignableMessage:
    """The gate's grant to one enclave. Its `digest` is the grant hash that the ledger keeps."""
    return _message("Grant", gate_domain(chain_id, consortium), raw("Grant", content))


def challenge(transcript: bytes, *, chain_id: int, consortium: str) -> SignableMessage:
    """The gate's challenge; `transcript` is SHA-256(T0)."""
    return _message("Challenge", gate_domain(chain_id, consortium), {"transcript": transcript})


def lease(run_id: bytes, counter: int, *, chain_id: int, consortium: str) -> SignableMessage:
    """The enclave asks for its lease to be renewed; `counter` grows each time."""
    return _message("Lease", gate_domain(chain_id, consortium), {"runId": run_id, "counter": counter})


def renewal(
    run_id: bytes, counter: int, lease_seconds: int, opening_final: bool, *, chain_id: int, consortium: str
) -> SignableMessage:
    """The gate's answer to `lease`: good for `lease_seconds` from when the enclave asked; `opening_final`
    says whether the run's opening stands in a final block."""
    content = {
        "runId": run_id,
        "counter": counter,
        "leaseSeconds": lease_seconds,
        "openingFinal": opening_final,
    }
    return _message("Renewal", gate_domain(chain_id, consortium), content)


def receipt_digest(content: Receipt, *, chain_id: int, ledger: str) -> bytes:
    """What the enclave signs of a receipt, and what a batch holds of it (`Ledger.hashReceipt`), 32 bytes."""
    return digest(receipt(content, chain_id=chain_id, ledger=ledger))


def study_id(study: StudyLike) -> bytes:
    """Id of a study: its EIP-712 struct hash, 32 bytes."""
    return _struct_hash("Study", study_fields(study))


def platform_id(platform: PlatformLike, *, epoch: int) -> bytes:
    """Id of a platform's proposal in an epoch: its EIP-712 struct hash, 32 bytes."""
    return _struct_hash("Platform", platform_fields(platform, epoch=epoch))


def owners_id(owners: Sequence[OwnerLike], threshold: int, *, epoch: int) -> bytes:
    """Id of a roster's proposal in an epoch: its EIP-712 struct hash, 32 bytes."""
    return _struct_hash("Owners", owners_fields(owners, threshold, epoch=epoch))


def opening_hash(opening: Opening) -> bytes:
    """What the ledger keeps of a run that is opened (`Ledger.commitment`), 32 bytes."""
    return keccak(
        abi_encode(["bytes32", _OPENING_TYPE], [keccak(text="Sealroom run opened"), opening.solidity()])
    )


def typed_data(primary: str, domain: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """The full EIP-712 JSON which a wallet's `eth_signTypedData_v4` takes; bytes appear as hex."""
    return {
        "domain": domain,
        "primaryType": primary,
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"},
            ],
            **_types(primary, TYPES[primary]),
        },
        "message": shown(message),
    }


def digest(message: SignableMessage) -> bytes:
    """What is signed: keccak256(0x19 ‖ 0x01 ‖ domain separator ‖ struct hash), 32 bytes."""
    return keccak(b"\x19" + message.version + message.header + message.body)


def sign(message: SignableMessage, private_key: bytes) -> bytes:
    """Sign with a secp256k1 key (32 bytes, RFC 6979); returns 65 bytes r ‖ s ‖ v."""
    return sign_digest(digest(message), private_key)


def sign_digest(message_digest: bytes, private_key: bytes) -> bytes:
    """Like `sign`, for a digest."""
    try:
        signature = PrivateKey(private_key).sign_msg_hash(message_digest)
    except ValidationError:
        raise KeyMaterialError("key-invalid", "not a secp256k1 private key") from None
    return signature.to_bytes()[:64] + bytes([27 + signature.v])


def recover(message: SignableMessage, signature: bytes) -> str:
    """Address that signed. Raises `signature-invalid` for every encoding but the one that `sign` makes."""
    return recover_digest(digest(message), signature)


def recover_digest(message_digest: bytes, signature: bytes) -> str:
    """Like `recover`, for a digest."""
    if len(signature) != SIGNATURE_SIZE:
        raise KeyMaterialError(
            "signature-invalid", f"a signature has {SIGNATURE_SIZE} bytes, not {len(signature)}"
        )
    r, s, v = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    if v not in (27, 28) or not 0 < r < CURVE_ORDER or not 0 < s <= CURVE_ORDER // 2:
        raise KeyMaterialError("signature-invalid", "the signature is not in its one accepted form")
    try:
        public = Signature(vrs=(v - 27, r, s)).recover_public_key_from_msg_hash(message_digest)
    except (BadSignature, ValidationError, ValueError):
        raise KeyMaterialError("signature-invalid", "the signature recovers no key") from None
    return str(public.to_address())


def _domain(name: str, chain_id: int, contract: str) -> dict[str, Any]:
    address_bytes(contract)
    return {"name": name, "version": "1", "chainId": chain_id, "verifyingContract": contract}


def _message(primary: str, domain: dict[str, Any], message: dict[str, Any]) -> SignableMessage:
    return encode_typed_data(domain, _types(primary, TYPES[primary]), message)


def _types(primary: str, fields: Table) -> dict[str, list[dict[str, str]]]:
    """The type and those that it contains, as EIP-712 JSON has them."""
    types = {primary: [{"name": name, "type": kind} for name, kind in fields]}
    for _, kind in fields:
        if (nested := kind.removesuffix("[]")) in NESTED:
            types |= _types(nested, NESTED[nested])
    return types


def _struct_hash(name: str, values: dict[str, Any]) -> bytes:
    # The domain has no part in a struct hash.
    return encode_typed_data(_domain("", 1, "0x" + 40 * "0"), _types(name, NESTED[name]), values).body


def platform_fields(platform: PlatformLike, *, epoch: int) -> dict[str, Any]:
    """A platform's content in an epoch under its EIP-712 names."""
    return {
        "gateRoot": platform.gate_root,
        "gateSigner": platform.gate_signer,
        "gateCompose": platform.gate_compose,
        "osImages": list(platform.os_images),
        "devices": list(platform.devices),
        "epoch": epoch,
    }


def study_fields(study: StudyLike) -> dict[str, Any]:
    """A study's content under its EIP-712 names."""
    return {
        "composeHash": study.compose_hash,
        "outputHash": study.output_hash,
        "privacyHash": study.privacy_hash,
        "datasets": list(study.datasets),
        "epsilonMicro": study.epsilon_micro,
        "deltaPico": study.delta_pico,
        "maxRuns": study.max_runs,
        "expiry": study.expiry,
        "epoch": study.epoch,
        "nonce": study.nonce,
    }


def owners_fields(owners: Sequence[OwnerLike], threshold: int, *, epoch: int) -> dict[str, Any]:
    """A roster's content in an epoch under its EIP-712 names."""
    return {
        "owners": [
            {
                "account": owner.account,
                "id": owner.id_bytes,
                "jurisdiction": owner.jurisdiction_bytes,
                "regimes": owner.regime_flags,
            }
            for owner in owners
        ],
        "threshold": threshold,
        "epoch": epoch,
    }
