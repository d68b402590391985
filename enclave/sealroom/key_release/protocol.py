# SPDX-License-Identifier: Apache-2.0
"""The release protocol: transcripts, report data, and the keys that pass from gate to enclave.

hello → challenge → evidence → grant → lease. Everything that a signature or a quote vouches for
is a hash of a transcript, and each hash has its own domain string; TLS is trusted for nothing
(AT-04). Spec: `enclave/spec/key-release.md`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import address_bytes, canonical, lp, sha256, sha512
from sealroom.errors import KeyMaterialError, KeyReleaseError
from sealroom.key_release.finality import FinalBlock
from sealroom.key_release.messages import MAX_LEASE_SECONDS, Challenge, GateIdentity, Hello
from sealroom.key_release.replies import (
    LeaseReply,
    LeaseRequest,
)
from sealroom.keys import (
    GATE_SIGNER_PATH,
    GATE_SIGNER_PURPOSE,
    KemPrivateKey,
    KeyInterface,
    Secret,
    SigningKey,
    hpke_open,
    hpke_seal,
    recover_kms_root,
)
from sealroom.model import Grant

DATA_KEY_SIZE = 32


def gate_report_data(
    *, chain_id: int, root_public_key: bytes, signer: str, kms_root_key: bytes, policy_hash: bytes
) -> bytes:
    """What the gate's quote binds, 64 bytes: its keys, the chain that it reads, the KMS that its keys come
    from, and the platform policy by which it judges."""
    return sha512(
        lp(
            "sealroom/v2/gate",
            chain_id,
            root_public_key,
            address_bytes(signer),
            kms_root_key,
            policy_hash,
        )
    )


def check_kms_chain(identity: GateIdentity) -> None:
    """Check that the KMS root key vouches for the gate's signer key, by a claim of the one interface that the
    identity names. Raises `kms-chain-broken`.

    Owners compare the KMS root key itself with the one they trust: any chain leads to *some* root.
    """
    try:
        root = recover_kms_root(
            identity.signer_key,
            interface=KeyInterface(identity.key_interface),
            name=GATE_SIGNER_PATH,
            purpose=GATE_SIGNER_PURPOSE,
            app_id=identity.app_id,
            signature_chain=identity.signature_chain,
        )
    except KeyMaterialError as error:
        raise KeyReleaseError(Code.KMS_CHAIN_BROKEN, f"the gate's signature chain: {error.message}") from None
    if root != identity.kms_root_key:
        raise KeyReleaseError(
            Code.KMS_CHAIN_BROKEN, "the gate's signature chain ends at another KMS root key"
        )


def transcript_0(hello: Hello, challenge: Challenge) -> bytes:
    """T0, 64 bytes: all that was said before the evidence."""
    return sha512(
        lp("sealroom/v2/transcript", canonical(hello.to_json()), canonical(challenge.unsigned_json()))
    )


def report_data(transcript: bytes, *, kem_key: bytes, signer: str, gpu_evidence: bytes) -> bytes:
    """What the enclave's quote binds, 64 bytes (AT-03). `transcript` is T0."""
    return sha512(
        lp("sealroom/v2/report-data", transcript, kem_key, address_bytes(signer), sha256(gpu_evidence))
    )


def gpu_nonce(transcript: bytes, *, kem_key: bytes, signer: str) -> bytes:
    """Nonce for the GPU's own attestation, 32 bytes. `transcript` is T0."""
    return sha256(lp("sealroom/v2/gpu-nonce", transcript, kem_key, address_bytes(signer)))


def transcript_1(transcript: bytes, *, kem_key: bytes, signer: str, gate_signer: str, grant: Grant) -> bytes:
    """T1, 64 bytes: T0 with the evidence's keys, the gate's signer and the grant.

    Only the gate that opened the wraps can seal a data key under T1. So a key that opens proves the signer
    that the enclave was told, by any party; leases rest on that.
    """
    return sha512(
        lp(
            "sealroom/v2/transcript-1",
            transcript,
            kem_key,
            address_bytes(signer),
            address_bytes(gate_signer),
            canonical(grant.to_json()),
        )
    )


def evidence_digest(*, quote: bytes, event_log: str, gpu_evidence: bytes, gpu_material: bytes) -> bytes:
    """What a grant names of the evidence that it was given for, and of what the GPUs in it were judged by; 32
    bytes."""
    return sha256(lp("sealroom/v3/evidence", quote, event_log, gpu_evidence, gpu_material))


def datasets_root(datasets: Sequence[tuple[bytes, bytes]]) -> bytes:
    """SHA-256 over id and header digest of each dataset, in the study's order; 32 bytes each."""
    parts = [part for pair in datasets for part in pair]
    if any(len(part) != 32 for part in parts):
        raise KeyReleaseError(Code.MALFORMED, "a dataset's id and its header digest have 32 bytes each")
    return sha256(b"".join(parts))


def sign_challenge(
    hello: Hello, *, nonce: bytes, issued: int, expires: int, private_key: bytes | SigningKey
) -> Challenge:
    """Make the gate's challenge to a hello."""
    unsigned = Challenge(nonce=nonce, issued=issued, expires=expires, signature=b"")
    message = typed.challenge(
        sha256(transcript_0(hello, unsigned)), chain_id=hello.chain_id, consortium=hello.consortium
    )
    return Challenge(nonce=nonce, issued=issued, expires=expires, signature=typed.sign(message, private_key))


def verify_challenge(hello: Hello, challenge: Challenge, *, signer: str) -> bytes:
    """Check that the gate signed this challenge to this hello; returns T0. Raises `challenge-forged`."""
    transcript = transcript_0(hello, challenge)
    message = typed.challenge(sha256(transcript), chain_id=hello.chain_id, consortium=hello.consortium)
    _check_signer(message, challenge.signature, signer=signer, code=Code.CHALLENGE_FORGED, what="challenge")
    return transcript


def sign_grant(grant: Grant, *, chain_id: int, consortium: str, private_key: bytes | SigningKey) -> bytes:
    """Sign a grant as the gate, 65 bytes."""
    return typed.sign(typed.grant(grant, chain_id=chain_id, consortium=consortium), private_key)


def verify_grant(grant: Grant, signature: bytes, *, signer: str, chain_id: int, consortium: str) -> bytes:
    """Check that the gate signed this grant; returns the grant hash. Raises `grant-forged`."""
    message = typed.grant(grant, chain_id=chain_id, consortium=consortium)
    _check_signer(message, signature, signer=signer, code=Code.GRANT_FORGED, what="grant")
    return typed.digest(message)


def check_lease_seconds(grant: Grant) -> None:
    """Check that a grant ends soon unless it is renewed. Raises `grant-mismatch`."""
    if not 0 < grant.lease_seconds <= MAX_LEASE_SECONDS:
        raise KeyReleaseError(
            Code.GRANT_MISMATCH, f"a lease of {grant.lease_seconds} s is not one: 1 to {MAX_LEASE_SECONDS}"
        )


def sign_lease(
    run_id: bytes, counter: int, *, chain_id: int, consortium: str, private_key: bytes
) -> LeaseRequest:
    """Make the enclave's renewal."""
    message = typed.lease(run_id, counter, chain_id=chain_id, consortium=consortium)
    signature = typed.sign(message, private_key)
    return LeaseRequest(consortium=consortium, run_id=run_id, counter=counter, signature=signature)


def verify_lease(request: LeaseRequest, *, signer: str, chain_id: int, consortium: str) -> None:
    """Check that the enclave of this run signed its renewal. Raises `lease-forged`."""
    if request.consortium != consortium:
        raise KeyReleaseError(Code.LEASE_FORGED, "the lease request is for another consortium")
    message = typed.lease(request.run_id, request.counter, chain_id=chain_id, consortium=consortium)
    _check_signer(message, request.signature, signer=signer, code=Code.LEASE_FORGED, what="lease request")


def sign_renewal(
    request: LeaseRequest,
    *,
    lease_seconds: int,
    until: int,
    opening_final: bool,
    chain_id: int,
    consortium: str,
    private_key: bytes | SigningKey,
) -> LeaseReply:
    """Renew a lease as the gate, in answer to this request and no other."""
    message = typed.renewal(
        request.run_id,
        request.counter,
        lease_seconds,
        opening_final,
        chain_id=chain_id,
        consortium=consortium,
    )
    return LeaseReply(
        lease_seconds=lease_seconds,
        until=until,
        opening_final=opening_final,
        signature=typed.sign(message, private_key),
    )


def verify_renewal(
    reply: LeaseReply, request: LeaseRequest, *, signer: str, chain_id: int, consortium: str
) -> None:
    """Check that the gate renewed this lease in answer to this request. Raises `renewal-forged`."""
    message = typed.renewal(
        request.run_id,
        request.counter,
        reply.lease_seconds,
        reply.opening_final,
        chain_id=chain_id,
        consortium=consortium,
    )
    _check_signer(message, reply.signature, signer=signer, code=Code.RENEWAL_FORGED, what="renewal")


def sign_finalized(
    number: int, hash_: bytes, *, chain_id: int, consortium: str, private_key: bytes | SigningKey
) -> FinalBlock:
    """Say as the gate that a block is final."""
    message = typed.finalized(number, hash_, chain_id=chain_id, consortium=consortium)
    return FinalBlock(number=number, hash=hash_, signature=typed.sign(message, private_key))


def verify_finalized(block: FinalBlock, *, signer: str, chain_id: int, consortium: str) -> None:
    """Check that the gate said that a block is final. Raises `finality-forged`."""
    message = typed.finalized(block.number, block.hash, chain_id=chain_id, consortium=consortium)
    what = f"word on block {block.number}"
    _check_signer(message, block.signature, signer=signer, code=Code.FINALITY_FORGED, what=what)


def seal_key(
    data_key: bytes,
    *,
    kem_key: bytes,
    transcript: bytes,
    owner: str,
    dataset_id: bytes,
    header: bytes,
    key_commitment: bytes,
) -> bytes:
    """Seal a data key to the attested enclave. `transcript` is T1, `owner` the owner id of the dataset's
    holder, `header` the header digest of its version."""
    info = _release_info(transcript, owner, dataset_id, header, key_commitment)
    return hpke_seal(kem_key, data_key, info=info)


def open_key(
    private: KemPrivateKey,
    ciphertext: bytes,
    *,
    transcript: bytes,
    owner: str,
    dataset_id: bytes,
    header: bytes,
    key_commitment: bytes,
) -> Secret:
    """Open what `seal_key` sealed. Raises `release-does-not-open`."""
    info = _release_info(transcript, owner, dataset_id, header, key_commitment)
    try:
        data_key = hpke_open(private, ciphertext, info=info)
    except KeyMaterialError:
        raise KeyReleaseError(
            Code.RELEASE_DOES_NOT_OPEN, "the released key does not open in this run"
        ) from None
    if len(data_key) != DATA_KEY_SIZE:
        raise KeyReleaseError(Code.RELEASE_DOES_NOT_OPEN, "the released key does not open in this run")
    return Secret(data_key)


def _release_info(
    transcript: bytes, owner: str, dataset_id: bytes, header: bytes, key_commitment: bytes
) -> bytes:
    return lp("sealroom/v2/release", transcript, owner, dataset_id, header, key_commitment)


def _check_signer(message: typed.Signable, signature: bytes, *, signer: str, code: Code, what: str) -> None:
    try:
        found = typed.recover(message, signature)
    except KeyMaterialError as error:
        raise KeyReleaseError(code, f"{what}: {error.message}") from None
    if found != signer:
        raise KeyReleaseError(code, f"the {what} was signed by {found}, not by {signer}")
