# SPDX-License-Identifier: Apache-2.0
"""The gate's own keys, from the guest agent of its own CVM, and the quote that proves where they are held.

Two keys, both derived by dstack from (KMS root, the gate's app): the root key, to which owners wrap data
keys, and the signer, which signs challenges and grants and opens runs. Neither ever leaves this process. The
gate quotes itself and verifies that quote as anyone would; what it measured about its own key provider is
what it demands of enclaves (AT-19).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sealroom.codes import Code
from sealroom.encoding import sha256, to_hex
from sealroom.errors import GuestError, KeyMaterialError, SealroomError
from sealroom.key_release import GateIdentity, gate_report_data
from sealroom.keys import (
    GATE_ROOT_PATH,
    GATE_ROOT_PURPOSE,
    GATE_SIGNER_PATH,
    GATE_SIGNER_PURPOSE,
    KemPrivateKey,
    KeyInterface,
    Secret,
    SigningKey,
    address_of,
    gate_root_key,
    public_key33,
    recover_kms_root,
)
from sealroom.platform_policy import PlatformPolicy
from sealroom.runtime.guest_agent import Guest
from sealroom_agents.attestation import CollateralSource, TrustRoot, verify_gate
from sealroom_agents.errors import ConfigurationError, GateError

IDENTITY_MAX_AGE_S = 3600
"""Seconds after which the gate quotes itself anew, so that its proof never rests on old collateral."""

_log = logging.getLogger(__name__)


class GateRoot:
    """The gate's keys and identity. Its repr shows no key; there is no way to serialise it."""

    def __init__(
        self,
        guest: Guest,
        *,
        chain_id: int,
        trust: TrustRoot,
        collateral: CollateralSource,
        policy: PlatformPolicy,
        clock: Callable[[], int],
        keys: KeyInterface = KeyInterface.V0,
    ) -> None:
        """Fetch the keys, quote, and verify the own quote. keys: dstack's interface that they come from. It
        is never chosen by what the agent has: each gives another gate.

        Raises `GateError`, `AttestationError`, and `ConfigurationError` `platform-policy` when the keys come
        from another KMS than the policy's."""
        self._guest = guest
        self._chain_id = chain_id
        self._trust = trust
        self._collateral = collateral
        self._clock = clock
        self._keys = keys
        self._quoting = threading.Lock()
        try:
            info = guest.info()
            self._app_id, self._compose, self._compose_hash = info.app_id, info.compose, info.compose_hash
            signer = guest.key(GATE_SIGNER_PATH, GATE_SIGNER_PURPOSE, keys)
            root = guest.key(GATE_ROOT_PATH, GATE_ROOT_PURPOSE, keys)
            self._signer_key = signer.key
            self.signing_key: SigningKey = SigningKey(self._signer_key.reveal())
            self.root_key: KemPrivateKey = gate_root_key(root.key.reveal(), chain_id)
            root.key.wipe()
            self._signer_public = public_key33(self._signer_key.reveal())
            self.signer: str = address_of(self._signer_key.reveal())
            self._chain = signer.signature_chain
            self._kms_root = recover_kms_root(
                self._signer_public,
                interface=keys,
                name=GATE_SIGNER_PATH,
                purpose=GATE_SIGNER_PURPOSE,
                app_id=self._app_id,
                signature_chain=self._chain,
            )
        except GuestError as error:
            raise GateError(
                error.code,
                error.message,
                "start the gate inside its CVM, whose app uses the KMS as its key provider, or name a socket "
                "with --guest-agent",
            ) from error
        except KeyMaterialError as error:
            raise GateError(
                Code.GUEST_AGENT_FAILED,
                f"the guest agent gave no usable keys: {error}",
                "the gate's app must use the KMS as its key provider",
            ) from error
        if (kms_root := sha256(self._kms_root)) != policy.kms_root:
            raise ConfigurationError(
                Code.PLATFORM_POLICY,
                f"the platform policy names the KMS of root {to_hex(policy.kms_root)}, and this gate has its "
                f"keys from {to_hex(kms_root)}",
            )
        self.policy: PlatformPolicy = policy
        self._identity = self._quote()
        facts = verify_gate(self._identity, trust=trust, now=clock())
        self.key_provider_id: bytes = facts.evidence.key_provider_id

    def __repr__(self) -> str:
        return f"GateRoot(signer={self.signer}, root=0x{self.fingerprint.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a GateRoot cannot be pickled")

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the root public key: how owners and chain name this gate."""
        return self._identity.gate_root

    @property
    def app(self) -> str:
        """The gate's own app, as its quote proves it."""
        return "0x" + self._identity.app_id.hex()

    @property
    def compose_hash(self) -> bytes:
        """Compose hash of the gate's own app, as its quote proves it."""
        return self._identity.compose_hash

    @property
    def kms_root(self) -> bytes:
        """Fingerprint of the KMS root key, as wraps name it."""
        return self._identity.kms_root

    @property
    def signer_key(self) -> Secret:
        """Private key of the signer."""
        return self._signer_key

    @property
    def shown(self) -> GateIdentity:
        """The identity that was quoted last, however old."""
        return self._identity

    def identity(self) -> GateIdentity:
        """Who this gate is, with a quote of the last hour. One thread at a time asks the guest agent for a
        new one; meanwhile, and where it fails, the others get the last one, for another hour at most."""
        age = self._clock() - self._identity.issued
        if 0 <= age <= IDENTITY_MAX_AGE_S:
            return self._identity
        # One of the future, after the clock was set back, would be refused by whoever asks.
        usable = 0 <= age <= 2 * IDENTITY_MAX_AGE_S
        if not self._quoting.acquire(blocking=not usable):
            return self._identity
        try:
            if not 0 <= self._clock() - self._identity.issued <= IDENTITY_MAX_AGE_S:
                self._identity = self._quote()
        except SealroomError as error:
            if not usable:
                raise
            _log.warning("the gate shows a quote that is %d s old: %s", age, error)
        finally:
            self._quoting.release()
        return self._identity

    def _quote(self) -> GateIdentity:
        report_data = gate_report_data(
            chain_id=self._chain_id,
            root_public_key=self.root_key.public,
            signer=self.signer,
            kms_root_key=self._kms_root,
            policy_hash=self.policy.hash,
        )
        try:
            found = self._guest.quote(report_data)
        except GuestError as error:
            raise GateError(error.code, f"the guest agent gave no quote: {error.message}") from error
        return GateIdentity(
            chain_id=self._chain_id,
            app_id=self._app_id,
            compose_hash=self._compose_hash,
            compose=self._compose,
            root_public_key=self.root_key.public,
            signer_key=self._signer_public,
            kms_root_key=self._kms_root,
            signature_chain=self._chain,
            policy_hash=self.policy.hash,
            policy=self.policy.document(),
            quote=found.quote,
            event_log=found.event_log,
            collateral=self._collateral.fetch(found.quote),
            issued=self._clock(),
            key_interface=self._keys.value,
        )
