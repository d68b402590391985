# SPDX-License-Identifier: Apache-2.0
"""The configuration id of a TD, MRCONFIGID: what dstack's host bound to it before the guest ran.

Its first byte names the form; zeros fill it up to 48 bytes:

    1   compose hash
    2   Keccak-256(compose hash ‖ app id ‖ kind of key provider, 1 byte ‖ its id)
    3   SHA-256("dstack-mr-config-v3:" ‖ 0 ‖ a document of app id, compose hash and key provider)
    0   all zeros: nothing is bound

What it binds has to be what the guest measured: that alone is compared, and nobody's document is read.
Source: dstack `dstack-types/src/mr_config.rs`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from eth_utils.crypto import keccak

from sealroom.codes import Code
from sealroom.encoding import canonical, sha256
from sealroom_agents.attestation.eventlog import Claims
from sealroom_agents.attestation.trust import TrustRoot
from sealroom_agents.errors import AttestationError

CONFIG_ID_BYTES = 48
UNBOUND = bytes(CONFIG_ID_BYTES)
_DOMAIN = b"dstack-mr-config-v3:\x00"
_KINDS = {"none": 0, "local-sgx": 1, "kms": 2, "tpm": 3}
"""Number of a key provider, by the name under which the guest measures it."""
_WORDS = {"local-sgx": "local"}
"""What a version 3 document calls it, where that is another word."""


def require_config_id(config_id: bytes, claims: Claims, trust: TrustRoot) -> int:
    """Which form binds the guest's claims to the TD: 1, 2 or 3, or 0 for none.

    config_id: MRCONFIGID of the quote, 48 bytes. Raises `AttestationError`: `config-id-unbound` where nothing
    is bound and `trust` wants it to be, `config-id-unknown`, `config-id-mismatch`.
    """
    if config_id == UNBOUND:
        if not trust.allow_unbound_config:
            raise AttestationError(
                Code.CONFIG_ID_UNBOUND,
                "the TD was created without a configuration id, so its host bound it to no app and recipe",
            )
        return 0
    form = config_id[0]
    digest, rest = config_id[1:33], config_id[33:]
    if form not in (1, 2, 3) or any(rest):
        raise AttestationError(
            Code.CONFIG_ID_UNKNOWN, f"the TD's configuration id {config_id.hex()} is of no known form"
        )
    if digest not in _digests(form, claims):
        raise AttestationError(
            Code.CONFIG_ID_MISMATCH,
            f"the TD's configuration id, of form {form}, binds another app, recipe or key provider than the "
            f"guest measured: app {claims.app_id.hex()}, recipe {claims.compose_hash.hex()}, "
            f"key provider {claims.key_provider[:64]}",
        )
    return form


def _digests(form: int, claims: Claims) -> Iterator[bytes]:
    """What may stand in a configuration id of that form."""
    if form == 1:
        yield claims.compose_hash
    elif claims.key_provider not in _KINDS:
        return
    elif form == 2:
        kind = bytes([_KINDS[claims.key_provider]])
        yield keccak(claims.compose_hash + claims.app_id + kind + claims.key_provider_id)
    else:
        for document in _documents(claims):
            yield sha256(_DOMAIN + canonical(document))


def _documents(claims: Claims) -> Iterator[dict[str, Any]]:
    """Version 3 documents that bind these claims.

    Which of the last members stand there depends on the host: the key provider's id where the app names one,
    the GPU policy where the machine has GPUs, the scripts from some version on.
    """
    whole: dict[str, Any] = {
        "version": 3,
        "app_id": claims.app_id.hex(),
        "compose_hash": claims.compose_hash.hex(),
        "key_provider": _WORDS.get(claims.key_provider, claims.key_provider),
    }
    if claims.instance_id:
        whole["instance_id"] = claims.instance_id.hex()
    optional: list[dict[str, Any]] = [
        {"init_script_hashes": [one.hex() for one in claims.init_script_hashes]}
    ]
    if claims.key_provider_id:
        optional.append({"key_provider_id": claims.key_provider_id.hex()})
    if claims.gpu_policy_hash:
        optional.append({"gpu_policy_hash": claims.gpu_policy_hash.hex()})
    for chosen in itertools.product((False, True), repeat=len(optional)):
        members = [part for part, there in zip(optional, chosen, strict=True) if there]
        yield whole | {name: value for part in members for name, value in part.items()}
