# SPDX-License-Identifier: Apache-2.0
"""What is signed, and how: the EIP-712 domains, and the digests and signatures of the model's records.

The contracts hold the same type strings; vectors pin both to the same digests. Signatures are 65 bytes
r ‖ s ‖ v with v 27 or 28 and s in the lower half of the order; nothing else is accepted (CH-09).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from eth_abi.abi import encode as abi_encode
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from sealroom.codes import Code
from sealroom.encoding import address_bytes
from sealroom.errors import KeyMaterialError
from sealroom.keys import SigningKey
from sealroom.model import (
    Challenge,
    Finalized,
    Grant,
    Lease,
    Opening,
    Receipt,
    Record,
    Renewal,
    Vote,
    shown,
)

SIGNATURE_SIZE = 65
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Order of secp256k1 (SEC 2, section 2.4.1)."""

CONSORTIUM = "Sealroom Consortium"
"""Name of the domain of what owners sign."""
LEDGER = "Sealroom Ledger"
"""Name of the domain of receipts."""
GATE = "Sealroom Gate"
"""Name of the domain of grants, challenges, leases and final blocks."""
VERSION = "2"
"""Version of all of them."""
MAX_DOMAINS = 256
"""Domains whose hash is kept."""
_RUN_OPENED = keccak(text="Sealroom run opened")
"""First word of what `opening_hash` hashes."""
DOMAIN_FIELDS = (
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
)
"""Fields of a domain, in order."""


class Signable(NamedTuple):
    """What a key signs, by the three parts that EIP-191 has behind its first byte."""

    version: bytes
    """1 byte: 1 for typed data, `E` for text."""
    header: bytes
    """The domain separator, 32 bytes; or of text its prefix and its length."""
    body: bytes
    """The struct hash, 32 bytes; or the text."""


def consortium_domain(chain_id: int, consortium: str) -> dict[str, Any]:
    """Domain of what owners sign."""
    return _domain(CONSORTIUM, chain_id, consortium)


def ledger_domain(chain_id: int, ledger: str) -> dict[str, Any]:
    """Domain of receipts."""
    return _domain(LEDGER, chain_id, ledger)


def gate_domain(chain_id: int, consortium: str) -> dict[str, Any]:
    """Domain of grants, challenges, leases and final blocks."""
    return _domain(GATE, chain_id, consortium)


def vote(content: Vote, *, chain_id: int, consortium: str) -> Signable:
    """What one owner signs: a vote for a study, platform, machines or roster, a withdrawal, a revocation."""
    return _message(content, consortium_domain(chain_id, consortium))


def receipt(content: Receipt, *, chain_id: int, ledger: str) -> Signable:
    """The enclave's receipt of one run."""
    return _message(content, ledger_domain(chain_id, ledger))


def grant(content: Grant, *, chain_id: int, consortium: str) -> Signable:
    """The gate's grant to one enclave. Its `digest` is the grant hash that the ledger keeps."""
    return _message(content, gate_domain(chain_id, consortium))


def challenge(transcript: bytes, *, chain_id: int, consortium: str) -> Signable:
    """The gate's challenge; `transcript` is SHA-256(T0)."""
    return _message(Challenge(transcript=transcript), gate_domain(chain_id, consortium))


def lease(run_id: bytes, counter: int, *, chain_id: int, consortium: str) -> Signable:
    """The enclave asks for its lease to be renewed; `counter` grows each time."""
    return _message(Lease(run_id=run_id, counter=counter), gate_domain(chain_id, consortium))


def renewal(
    run_id: bytes, counter: int, lease_seconds: int, opening_final: bool, *, chain_id: int, consortium: str
) -> Signable:
    """The gate's answer to `lease`: good for `lease_seconds` from when the enclave asked; `opening_final`
    says whether the run's opening stands in a final block."""
    content = Renewal(
        run_id=run_id, counter=counter, lease_seconds=lease_seconds, opening_final=opening_final
    )
    return _message(content, gate_domain(chain_id, consortium))


def finalized(number: int, hash_: bytes, *, chain_id: int, consortium: str) -> Signable:
    """The gate says that the block of this number and hash is final on the chain of the domain."""
    return _message(Finalized(number=number, hash=hash_), gate_domain(chain_id, consortium))


def receipt_digest(content: Receipt, *, chain_id: int, ledger: str) -> bytes:
    """What the enclave signs of a receipt, and what a batch holds of it (`Ledger.hashReceipt`), 32 bytes."""
    return digest(receipt(content, chain_id=chain_id, ledger=ledger))


def opening_hash(opening: Opening) -> bytes:
    """What the ledger keeps of a run that is opened (`Ledger.commitment`), 32 bytes."""
    return keccak(_RUN_OPENED + opening.words())


def typed_data(content: Record, domain: dict[str, Any]) -> dict[str, Any]:
    """The full EIP-712 JSON which a wallet's `eth_signTypedData_v4` takes; bytes appear as hex."""
    return {
        "domain": domain,
        "primaryType": content.struct,
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for name, kind in DOMAIN_FIELDS],
            **content.eip712(),
        },
        "message": shown(content.typed()),
    }


def structure(struct_hash: bytes, domain: Mapping[str, Any]) -> Signable:
    """A structure by its hash (EIP-712's `hashStruct`), in a domain that has some of `DOMAIN_FIELDS`."""
    fields = tuple((name, kind, domain[name]) for name, kind in DOMAIN_FIELDS if name in domain)
    return Signable(version=b"\x01", header=_separator(fields), body=struct_hash)


@lru_cache(MAX_DOMAINS)
def _separator(fields: tuple[tuple[str, str, Any], ...]) -> bytes:
    """EIP-712's `domainSeparator`: one consortium's gate signs in the same domain again and again."""
    words = [keccak(text=f"EIP712Domain({','.join(f'{kind} {name}' for name, kind, _ in fields)})")]
    for _, kind, value in fields:
        words.append(keccak(text=value) if kind == "string" else abi_encode([kind], [value]))
    return keccak(b"".join(words))


def personal(content: bytes) -> Signable:
    """A wallet's personal message: EIP-191's version `E`."""
    return Signable(version=b"E", header=b"thereum Signed Message:\n%d" % len(content), body=content)


def digest(message: Signable) -> bytes:
    """What is signed: keccak256(0x19 ‖ version ‖ header ‖ body), 32 bytes."""
    return keccak(b"\x19" + message.version + message.header + message.body)


def sign(message: Signable, private_key: bytes | SigningKey) -> bytes:
    """Sign with a secp256k1 key (32 bytes, RFC 6979); returns 65 bytes r ‖ s ‖ v."""
    return sign_digest(digest(message), private_key)


def sign_digest(message_digest: bytes, private_key: bytes | SigningKey) -> bytes:
    """Like `sign`, for a digest."""
    key = private_key if isinstance(private_key, SigningKey) else SigningKey(private_key)
    return key.sign(message_digest)


def recover(message: Signable, signature: bytes) -> str:
    """Address that signed. Raises `signature-invalid` for every encoding but the one that `sign` makes."""
    return recover_digest(digest(message), signature)


def recover_digest(message_digest: bytes, signature: bytes) -> str:
    """Like `recover`, for a digest."""
    if len(signature) != SIGNATURE_SIZE:
        raise KeyMaterialError(
            Code.SIGNATURE_INVALID, f"a signature has {SIGNATURE_SIZE} bytes, not {len(signature)}"
        )
    r, s, v = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    if v not in (27, 28) or not 0 < r < CURVE_ORDER or not 0 < s <= CURVE_ORDER // 2:
        raise KeyMaterialError(Code.SIGNATURE_INVALID, "the signature is not in its one accepted form")
    try:
        public = Signature(vrs=(v - 27, r, s)).recover_public_key_from_msg_hash(message_digest)
    except (BadSignature, ValidationError, ValueError):
        raise KeyMaterialError(Code.SIGNATURE_INVALID, "the signature recovers no key") from None
    return str(public.to_address())


def _domain(name: str, chain_id: int, contract: str) -> dict[str, Any]:
    address_bytes(contract)
    return {"name": name, "version": VERSION, "chainId": chain_id, "verifyingContract": contract}


def _message(content: Record, domain: dict[str, Any]) -> Signable:
    return structure(content.struct_hash(), domain)
