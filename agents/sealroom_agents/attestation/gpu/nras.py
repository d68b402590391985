# SPDX-License-Identifier: Apache-2.0
"""The other way: what NVIDIA's attestation service (NRAS) says of evidence, in tokens that it signs.

Who takes a token takes the service's word for everything, certificates and reference manifests included.
It is a claim beside our own verification, and never instead of it. The keys come from whoever asks: the
service publishes them, and changes them every other day.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError
from sealroom_agents.attestation.gpu.arrays import read_array
from sealroom_agents.errors import AttestationError

ISSUER = "https://nras.attestation.nvidia.com"
MAX_ANSWER_BYTES = 128 * 1024
MAX_KEYS_BYTES = 256 * 1024

_NAME = re.compile(r"GPU-[0-9]{1,2}")
_HALF = 48
_WANTED: dict[str, Any] = {
    "measres": "success",
    "secboot": True,
    "dbgstat": "disabled",
    "x-nvidia-attestation-warning": None,
    **{
        f"x-nvidia-gpu-{name}": True
        for name in (
            "attestation-report-parsed", "attestation-report-nonce-match",
            "attestation-report-signature-verified", "arch-check", "vbios-index-no-conflict",
            "driver-rim-fetched", "driver-rim-signature-verified", "driver-rim-measurements-available",
            "vbios-rim-fetched", "vbios-rim-signature-verified", "vbios-rim-measurements-available",
        )
    },
}  # fmt: skip
"""Claims, and the one value with which a GPU counts as attested."""
_CHAINS = ("attestation-report", "driver-rim", "vbios-rim")


@dataclass(frozen=True)
class Told:
    """What the service says of one GPU."""

    ueid: str
    driver: str
    vbios: str
    """Version in lower case."""


def verify_answer(answer: bytes, keys: bytes, *, nonce: bytes, now: int) -> tuple[Told, ...]:
    """Verify the service's answer at `now`, unix seconds, for this nonce, with its JWK set.

    answer: `[["JWT", overall], {"GPU-0": token, …}]`. Raises `AttestationError`: `gpu-token` for what is not
    signed or not about this, `gpu-token-expired`, `gpu-token-claims` where the service does not attest a GPU.
    """
    overall, tokens = _parts(answer)
    known = _keys(keys)
    claims = _claims(overall, known, nonce, now)
    if claims.get("x-nvidia-overall-att-result") is not True:
        raise AttestationError(Code.GPU_TOKEN_CLAIMS, "the service does not attest these GPUs")
    digests = {
        name: ["DIGEST", ["SHA-256", hashlib.sha256(text.encode()).hexdigest()]]
        for name, text in tokens.items()
    }
    if claims.get("submods") != digests:
        raise _bad("the tokens of the GPUs are not those that the whole names")
    return tuple(_told(name, _claims(text, known, nonce, now)) for name, text in sorted(tokens.items()))


def _parts(answer: bytes) -> tuple[str, dict[str, str]]:
    try:
        found = read_array(answer, MAX_ANSWER_BYTES)
    except FormatError as error:
        raise _bad(error.message) from error
    match found:
        case [["JWT", str(overall)], dict(tokens)] if tokens and all(
            _NAME.fullmatch(name) and isinstance(text, str) for name, text in tokens.items()
        ):
            return overall, tokens
    raise _bad("the answer has another form")


def _keys(keys: bytes) -> dict[str, ec.EllipticCurvePublicKey]:
    try:
        found = strict_json(keys, MAX_KEYS_BYTES).get("keys")
    except FormatError as error:
        raise _bad(error.message) from error
    known: dict[str, ec.EllipticCurvePublicKey] = {}
    for key in found if isinstance(found, list) else []:
        match key:
            case {"kty": "EC", "crv": "P-384", "kid": str(name), "x": str(x), "y": str(y)}:
                point = b"\x04" + _base64url(x) + _base64url(y)
                try:
                    known[name] = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point)
                except ValueError as error:
                    raise _bad("a key is no point of P-384") from error
    return known


def _claims(
    token: str, keys: Mapping[str, ec.EllipticCurvePublicKey], nonce: bytes, now: int
) -> dict[str, Any]:
    head, _, rest = token.partition(".")
    body, _, signature = rest.partition(".")
    header, raw = _json(head), _base64url(signature)
    key = keys.get(str(header.get("kid")))
    if header.get("alg") != "ES384" or key is None:
        raise _bad("a token is signed by another algorithm, or by a key that the service does not publish")
    try:
        if len(raw) != 2 * _HALF:
            raise InvalidSignature
        r, s = int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big")
        key.verify(encode_dss_signature(r, s), f"{head}.{body}".encode(), ec.ECDSA(SHA384()))
    except InvalidSignature as error:
        raise _bad("the signature of a token is wrong") from error
    claims = _json(body)
    if claims.get("iss") != ISSUER or not hmac.compare_digest(
        str(claims.get("eat_nonce")).encode(), nonce.hex().encode()
    ):
        raise _bad("a token is of another issuer, or for another nonce")
    begin, end = claims.get("nbf"), claims.get("exp")
    if type(begin) is not int or type(end) is not int or not begin <= now < end:
        raise AttestationError(Code.GPU_TOKEN_EXPIRED, "a token does not count now")
    return claims


def _told(name: str, claims: Mapping[str, Any]) -> Told:
    for claim, wanted in _WANTED.items():
        if claim not in claims or type(claims[claim]) is not type(wanted) or claims[claim] != wanted:
            raise AttestationError(Code.GPU_TOKEN_CLAIMS, f"{name}: {claim} is not what an attested GPU has")
    for chain in _CHAINS:
        if not _chain_holds(claims, chain):
            raise AttestationError(
                Code.GPU_TOKEN_CLAIMS, f"{name}: the certificates of its {chain} do not hold"
            )
    ueid, driver, vbios = (
        claims.get(claim) for claim in ("ueid", "x-nvidia-gpu-driver-version", "x-nvidia-gpu-vbios-version")
    )
    if not isinstance(ueid, str) or not isinstance(driver, str) or not isinstance(vbios, str):
        raise AttestationError(Code.GPU_TOKEN_CLAIMS, f"{name}: it names no device or version")
    return Told(ueid, driver, vbios.lower())


def _chain_holds(claims: Mapping[str, Any], chain: str) -> bool:
    """As claims of version 2.0 say it, a truth value, or those of 3.0, an object."""
    name = f"x-nvidia-gpu-{chain}-cert"
    if (chain_3 := claims.get(f"{name}-chain")) is not None:
        return isinstance(chain_3, dict) and (
            chain_3.get("x-nvidia-cert-status"), chain_3.get("x-nvidia-cert-ocsp-status")
        ) == ("valid", "good")  # fmt: skip
    return claims.get(f"{name}-validated") is True or claims.get(f"{name}-chain-validated") is True


def _json(part: str) -> dict[str, Any]:
    try:
        return strict_json(_base64url(part), MAX_ANSWER_BYTES)
    except FormatError as error:
        raise _bad(error.message) from error


def _base64url(text: str) -> bytes:
    try:
        if "=" in text:
            raise _bad("a token has padding")
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad("a token is no base64") from error


def _bad(why: str) -> AttestationError:
    return AttestationError(Code.GPU_TOKEN, f"what the service says does not hold: {why}")
