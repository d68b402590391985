# SPDX-License-Identifier: Apache-2.0
"""What a verifier knows from elsewhere, `pin.json`: consortium, gate, KMS and OS images.

Everything in an envelope can be made by anyone with a machine that Intel attests: a consortium, a gate, a KMS
and an OS image of their own. So an envelope proves its origin only against values that come from another
source. Source: `enclave/spec/envelope.md`, "Pins".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import Fields, strict_json, to_hex
from sealroom.errors import FormatError
from sealroom.platform_policy import MAX_OS_IMAGES, OsImage
from sealroom_agents.errors import ToolError
from sealroom_agents.facts import Evidence

PIN_LIMIT_BYTES = 64 * 1024
ORIGINS = {
    "consortium": "consortium",
    "gate": "gate",
    "kms-root": "KMS root",
    "os-images": "OS images",
}
"""What has to be known from elsewhere, by stable word and in plain words."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """Values that a verifier trusts because they come from elsewhere; what is missing stays unproven."""

    chain_id: int | None = None
    """Chain of the consortium; set exactly where `consortium` is."""
    consortium: str | None = None
    """Address of the consortium, lower case."""
    gate_compose: bytes | None = None
    """Compose hash of the gate's app, 32 bytes; set exactly where `gate_root` is."""
    gate_root: bytes | None = None
    """Fingerprint of the gate's root key, 32 bytes."""
    kms_root: bytes | None = None
    """Fingerprint of the KMS root key: SHA-256 of its 33 bytes."""
    os_images: tuple[OsImage, ...] = ()
    """OS images that gate and enclave may boot, with their registers."""

    @property
    def origins(self) -> frozenset[str]:
        """Which of `ORIGINS` it pins."""
        pinned = {
            "consortium": self.consortium is not None,
            "gate": self.gate_compose is not None and self.gate_root is not None,
            "kms-root": self.kms_root is not None,
            "os-images": bool(self.os_images),
        }
        return frozenset(name for name, known in pinned.items() if known)

    def booted(self, evidence: Evidence) -> OsImage | None:
        """The pinned image whose registers a machine showed: they say it alone (AT-20)."""
        return next(
            (image for image in self.os_images if image.is_booted(evidence.mr_td, evidence.rt_mr)), None
        )

    def image_of(self, evidence: Evidence) -> bytes:
        """Digest of that image; where none of the pinned ones was booted, of the one that the guest says."""
        image = self.booted(evidence)
        return evidence.os_image_hash if image is None else image.digest

    def encode(self) -> bytes:
        """The file `pin.json`."""
        content: dict[str, Any] = {"version": 1}
        if self.consortium is not None:
            content |= {"chainId": self.chain_id, "consortium": self.consortium}
        for name, value in (
            ("gateCompose", self.gate_compose),
            ("gateRoot", self.gate_root),
            ("kmsRoot", self.kms_root),
        ):
            if value is not None:
                content[name] = to_hex(value)
        if self.os_images:
            content["osImages"] = [image.to_json() for image in self.os_images]
        return json.dumps(content, indent=1).encode() + b"\n"


_MEMBERS = (
    "`sealroom pin` writes such a file; "
    "its members are version, chainId, consortium, gateCompose, gateRoot, kmsRoot, osImages"
)
NOTHING = Pin()
"""No pins: nothing that an envelope says of its origin is proven."""


def parse_pin(data: bytes) -> Pin:
    """Read a pin file strictly; unknown members are refused. Raises `ToolError` `pin-malformed`."""
    try:
        return _read(Fields(strict_json(data, PIN_LIMIT_BYTES), "the pin file"))
    except FormatError as error:
        raise ToolError(Code.PIN_MALFORMED, error.message, _MEMBERS) from error


def _read(fields: Fields) -> Pin:
    fields.version()

    # Both or neither: a gate of anybody's code can name any root key in its own quote, and anybody can run a
    # gate's code on a chain of his own. Only together are they the one gate.
    named = fields.has("gateCompose") or fields.has("gateRoot")
    placed = fields.has("consortium") or fields.has("chainId")
    images = fields.array("osImages", limit=MAX_OS_IMAGES) if fields.has("osImages") else []
    pin = Pin(
        chain_id=fields.integer("chainId", 1) if placed else None,
        consortium=fields.address("consortium") if placed else None,
        gate_compose=fields.hex("gateCompose", 32) if named else None,
        gate_root=fields.hex("gateRoot", 32) if named else None,
        kms_root=fields.hex("kmsRoot", 32) if fields.has("kmsRoot") else None,
        os_images=tuple(OsImage.from_json(image) for image in images),
    )
    fields.done()
    if not pin.origins:
        fields.fail("pins nothing")
    return pin
