# SPDX-License-Identifier: Apache-2.0
"""`wrap.json`: the data key, sealed to the gate for one recipe, owner, dataset and epoch.

The HPKE `info` holds the whole context. A wrap therefore opens only for the recipe that its owner meant: with
one byte of the recipe changed, the compose hash is another, and the wrap does not open (CE-08).
"""

from __future__ import annotations

from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.encoding import (
    Fields,
    address_bytes,
    canonical,
    lp,
    parse_canonical,
    sha256,
    to_base64,
    to_hex,
)
from sealroom.errors import FormatError, KeyMaterialError, WrapError
from sealroom.keys import HPKE_OVERHEAD, KemPrivateKey, Secret, hpke_open, hpke_seal
from sealroom.schema import OWNER_ID
from sealroom.sealed.header import Header
from sealroom.sealed.parts import DATA_KEY_SIZE, DOES_NOT_OPEN

SUITE = "mlkem768-x25519+hkdf-sha256+aes-256-gcm"
MAX_WRAP_BYTES = 16 * 1024


@dataclass(frozen=True, kw_only=True)
class WrapContext:
    """For whom a data key is wrapped: one gate, one app, one recipe, one epoch."""

    chain_id: int
    """Chain of the consortium."""
    consortium: str
    """Address of the consortium."""
    kms_root: bytes
    """Fingerprint of the KMS root key from which the gate's key comes, 32 bytes."""
    gate_public_key: bytes
    """The gate's X-Wing root public key, 1216 bytes."""
    app: str
    """Address of the consortium's DstackApp."""
    compose_hash: bytes
    """Compose hash of the recipe, 32 bytes."""
    epoch: int
    """Epoch of the consortium."""

    @property
    def gate_root(self) -> bytes:
        """Fingerprint of the gate's root public key, 32 bytes."""
        return sha256(self.gate_public_key)

    def info(self, *, owner: str, dataset_id: bytes) -> bytes:
        """HPKE `info` of the wrap of one dataset."""
        return _info(
            self.chain_id,
            self.consortium,
            self.kms_root,
            self.app,
            self.compose_hash,
            owner,
            dataset_id,
            self.epoch,
        )


@dataclass(frozen=True, kw_only=True)
class Wrap:
    """One wrapped data key, and the context that it was wrapped for."""

    chain_id: int
    """Chain of the consortium."""
    consortium: str
    """Address of the consortium."""
    kms_root: bytes
    """Fingerprint of the KMS root key, 32 bytes."""
    gate_root: bytes
    """Fingerprint of the gate's root public key, 32 bytes."""
    app: str
    """Address of the DstackApp."""
    compose_hash: bytes
    """Compose hash of the recipe, 32 bytes."""
    owner: str
    """Owner id."""
    dataset: bytes
    """Dataset id, 32 bytes."""
    epoch: int
    """Epoch of the consortium."""
    ciphertext: bytes
    """HPKE ciphertext of the data key."""

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical(
            {
                "version": 1,
                "suite": SUITE,
                "chainId": self.chain_id,
                "consortium": self.consortium,
                "kmsRoot": to_hex(self.kms_root),
                "gateRoot": to_hex(self.gate_root),
                "app": self.app,
                "composeHash": to_hex(self.compose_hash),
                "owner": self.owner,
                "dataset": to_hex(self.dataset),
                "epoch": self.epoch,
                "ciphertext": to_base64(self.ciphertext),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Wrap:
        """Read `wrap.json`. Raises only `WrapError`."""
        try:
            value = parse_canonical(data, MAX_WRAP_BYTES)
        except FormatError as error:
            raise WrapError(Code.WRAP_MALFORMED, f"wrap.json: {error.message}") from None
        fields = Fields(value, "wrap.json", error=WrapError, code=Code.WRAP_MALFORMED)
        fields.version()
        if fields.raw("suite") != SUITE:
            raise WrapError(Code.UNSUPPORTED_SUITE, f"wrap.json has a suite other than {SUITE}")
        size = HPKE_OVERHEAD + DATA_KEY_SIZE
        wrap = cls(
            chain_id=fields.integer("chainId", 1),
            consortium=fields.address("consortium"),
            kms_root=fields.hex("kmsRoot", 32),
            gate_root=fields.hex("gateRoot", 32),
            app=fields.address("app"),
            compose_hash=fields.hex("composeHash", 32),
            owner=fields.text("owner", limit=31, pattern=OWNER_ID),
            dataset=fields.hex("dataset", 32),
            epoch=fields.integer("epoch"),
            ciphertext=fields.base64("ciphertext", limit=size, size=size),
        )
        fields.done()
        return wrap

    @property
    def context(self) -> tuple[object, ...]:
        """What the wrap says of its context."""
        return _stated(self)

    def info(self) -> bytes:
        """HPKE `info` as this wrap states its context."""
        return _info(
            self.chain_id,
            self.consortium,
            self.kms_root,
            self.app,
            self.compose_hash,
            self.owner,
            self.dataset,
            self.epoch,
        )


def make_wrap(data_key: Secret, *, header: Header, recipient: WrapContext) -> Wrap:
    """Wrap a data key for one recipe. Raises `WrapError` when the dataset is of another consortium."""
    if (header.chain_id, header.consortium) != (recipient.chain_id, recipient.consortium):
        raise WrapError(
            Code.WRAP_MISMATCH,
            "the dataset was sealed for another consortium",
            "seal the file anew: a dataset belongs to one consortium for life",
        )
    info = recipient.info(owner=header.owner, dataset_id=header.dataset_id)
    return Wrap(
        chain_id=recipient.chain_id,
        consortium=recipient.consortium,
        kms_root=recipient.kms_root,
        gate_root=recipient.gate_root,
        app=recipient.app,
        compose_hash=recipient.compose_hash,
        owner=header.owner,
        dataset=header.dataset_id,
        epoch=recipient.epoch,
        ciphertext=hpke_seal(recipient.gate_public_key, data_key.reveal(), info=info),
    )


def open_wrap(wrap: Wrap, root_private: KemPrivateKey, *, context: WrapContext | None = None) -> Secret:
    """Open a wrap as the gate. Raises `WrapError` with code `wrap-does-not-open`.

    With `context`, the recipe, app, epoch and the rest are taken from there and not from what the wrap
    says of itself: a wrap for anything else does not open.
    """
    info = wrap.info() if context is None else context.info(owner=wrap.owner, dataset_id=wrap.dataset)
    try:
        data_key = hpke_open(root_private, wrap.ciphertext, info=info)
    except KeyMaterialError:
        raise WrapError(Code.WRAP_DOES_NOT_OPEN, DOES_NOT_OPEN) from None
    if context is not None and wrap.context != _stated(context):
        # It opens here, but claims to be for something else: an honest sealer does not write that.
        raise WrapError(Code.WRAP_DOES_NOT_OPEN, DOES_NOT_OPEN)
    return Secret(data_key)


def _stated(value: Wrap | WrapContext) -> tuple[object, ...]:
    return (
        value.chain_id,
        value.consortium,
        value.kms_root,
        value.gate_root,
        value.app,
        value.compose_hash,
        value.epoch,
    )


def check_wrap(wrap: Wrap, header: Header) -> None:
    """Check that a wrap belongs to this dataset. Raises `wrap-mismatch`."""
    if (wrap.chain_id, wrap.consortium, wrap.owner, wrap.dataset) != (
        header.chain_id,
        header.consortium,
        header.owner,
        header.dataset_id,
    ):
        raise WrapError(Code.WRAP_MISMATCH, "wrap.json is of another dataset, owner or consortium")


def _info(
    chain_id: int,
    consortium: str,
    kms_root: bytes,
    app: str,
    compose_hash: bytes,
    owner: str,
    dataset_id: bytes,
    epoch: int,
) -> bytes:
    return lp(
        "sealroom/v1/wrap",
        chain_id,
        address_bytes(consortium),
        kms_root,
        address_bytes(app),
        compose_hash,
        owner,
        dataset_id,
        epoch,
    )
