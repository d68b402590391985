# SPDX-License-Identifier: Apache-2.0
"""Variables of an app on Phala Cloud: encrypted to the app's key, which the KMS signs.

dstack opens them in the VM. Whoever has the key can encrypt to it, so they say nothing about who wrote them;
the signature keeps them from the cloud's own servers. Source: dstack, `kms/src/crypto.rs` and the SDK's
`encrypt_env_vars`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealroom.codes import Code
from sealroom.errors import KeyMaterialError
from sealroom.keys import recover_variables_root
from sealroom_agents.errors import RunnerError
from sealroom_agents.runner.phala_api import EnvKey

NONCE_BYTES = 12


def checked(key: EnvKey, app: str, root: str) -> bytes:
    """The app's key, 32 bytes, if the KMS signed it. app: 40 hex digits. root: the KMS's compressed secp256k1
    key, hex. Raises `RunnerError` `host-answer`."""
    try:
        public = bytes.fromhex(key.public_key.removeprefix("0x"))
        signature = bytes.fromhex(key.signature.removeprefix("0x"))
        signer = recover_variables_root(public, app_id=bytes.fromhex(app), signature=signature).hex()
    except (ValueError, KeyMaterialError):
        public, signer = b"", ""
    if signer != root.removeprefix("0x").lower():
        raise RunnerError(
            Code.HOST_ANSWER,
            "the key for the app's variables is not signed by the KMS of kms_root",
            "compare kms_root with k256Pubkey of kmsInfo() of the KMS contract",
        )
    return public


def encrypted(variables: Mapping[str, str], public: bytes) -> str:
    """The variables, as hex: an ephemeral key, a nonce and what AES-256-GCM makes of them."""
    mine = X25519PrivateKey.generate()
    shared = mine.exchange(X25519PublicKey.from_public_bytes(public))
    nonce = secrets.token_bytes(NONCE_BYTES)
    plain = json.dumps({"env": [{"key": key, "value": value} for key, value in variables.items()]})
    sealed = AESGCM(shared).encrypt(nonce, plain.encode(), None)
    return (mine.public_key().public_bytes_raw() + nonce + sealed).hex()
