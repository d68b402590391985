# SPDX-License-Identifier: Apache-2.0
"""`wrap.json`: the data key of one sealed file, sealed to the gate of one consortium for one recipe.

The HPKE `info` holds the whole context. A wrap therefore opens only for the recipe that its owner meant: with
one byte of the recipe changed, the compose hash is another, and the wrap does not open (CE-08).

Not in it: owners, revocations, machines and budgets. The gate reads those on chain when it decides, so none
of them takes a new wrap when it changes.
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
from sealroom.sealed.header import Header
from sealroom.sealed.parts import DATA_KEY_SIZE, DOES_NOT_OPEN

VERSION = 2
"""Version of the wrap."""
SUITE = "mlkem768-x25519+hkdf-sha256+aes-256-gcm"
MAX_WRAP_BYTES = 16 * 1024
UNWRAPPED = bytes(2560)
"""`wrap.json` of a file whose key is wrapped for nobody yet: as many zero bytes as any wrap takes in the
archive, so that the first wrap is written in place."""


@dataclass(frozen=True, kw_only=True)
class WrapContext:
    """For whom a data key is wrapped: one gate, one consortium, one app, one recipe."""

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

    @property
    def gate_root(self) -> bytes:
        """Fingerprint of the gate's root public key, 32 bytes."""
        return sha256(self.gate_public_key)

    def info(self, *, dataset_id: bytes, header_digest: bytes) -> bytes:
        """HPKE `info` of the wrap of one sealed file."""
        return _info(self, dataset_id, header_digest)


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
    dataset: bytes
    """Dataset id, 32 bytes."""
    header: bytes
    """Header digest, 32 bytes."""
    ciphertext: bytes
    """HPKE ciphertext of the data key."""

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical(
            {
                "version": VERSION,
                "suite": SUITE,
                "chainId": self.chain_id,
                "consortium": self.consortium,
                "kmsRoot": to_hex(self.kms_root),
                "gateRoot": to_hex(self.gate_root),
                "app": self.app,
                "composeHash": to_hex(self.compose_hash),
                "dataset": to_hex(self.dataset),
                "header": to_hex(self.header),
                "ciphertext": to_base64(self.ciphertext),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Wrap:
        """Read `wrap.json`. Raises only `WrapError`; its code is `not-wrapped` for `UNWRAPPED`."""
        if data == UNWRAPPED:
            raise not_wrapped()
        try:
            value = parse_canonical(data, MAX_WRAP_BYTES)
        except FormatError as error:
            raise WrapError(Code.WRAP_MALFORMED, f"wrap.json: {error.message}") from None
        fields = Fields(value, "wrap.json", error=WrapError, code=Code.WRAP_MALFORMED)
        fields.version(VERSION)
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
            dataset=fields.hex("dataset", 32),
            header=fields.hex("header", 32),
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
        return _info(self, self.dataset, self.header)


def not_wrapped() -> WrapError:
    """The refusal of a file whose key is wrapped for nobody yet, by whoever needs the wrap."""
    return WrapError(
        Code.NOT_WRAPPED,
        "the file was sealed before it had a recipient: its key is wrapped for no recipe yet",
        "its owner wraps the key for a study: sealroom reseal SEALED.tar --study study.json",
    )


def make_wrap(data_key: Secret, *, header: Header, recipient: WrapContext) -> Wrap:
    """Wrap a data key for one recipe of one consortium."""
    dataset_id, header_digest = header.dataset_id, header.digest
    info = recipient.info(dataset_id=dataset_id, header_digest=header_digest)
    return Wrap(
        chain_id=recipient.chain_id,
        consortium=recipient.consortium,
        kms_root=recipient.kms_root,
        gate_root=recipient.gate_root,
        app=recipient.app,
        compose_hash=recipient.compose_hash,
        dataset=dataset_id,
        header=header_digest,
        ciphertext=hpke_seal(recipient.gate_public_key, data_key.reveal(), info=info),
    )


def open_wrap(wrap: Wrap, root_private: KemPrivateKey, *, context: WrapContext | None = None) -> Secret:
    """Open a wrap as the gate. Raises `WrapError` with code `wrap-does-not-open`.

    With `context`, consortium, app, recipe and the rest are taken from there and not from what the wrap says
    of itself: a wrap for anything else does not open.
    """
    info = (
        wrap.info() if context is None else context.info(dataset_id=wrap.dataset, header_digest=wrap.header)
    )
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
    )


def check_wrap(wrap: Wrap, header: Header) -> None:
    """Check that a wrap is of the file with this header. Raises `wrap-mismatch`."""
    if (wrap.dataset, wrap.header) != (header.dataset_id, header.digest):
        raise WrapError(Code.WRAP_MISMATCH, "wrap.json is of another sealed file")


def _info(value: Wrap | WrapContext, dataset_id: bytes, header_digest: bytes) -> bytes:
    return lp(
        "sealroom/v2/wrap",
        value.chain_id,
        address_bytes(value.consortium),
        value.kms_root,
        address_bytes(value.app),
        value.compose_hash,
        dataset_id,
        header_digest,
    )
