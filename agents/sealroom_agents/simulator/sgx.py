# SPDX-License-Identifier: Apache-2.0
"""The hardware of a simulated machine, and the SGX extension that tells of it in its PCK certificate.

Layout of the extension: Intel, "SGX PCK Certificate and Certificate Revocation
List Profile Specification", §1.3.5.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

SGX_EXTENSION = "1.2.840.113741.1.13.1"
"""Object identifier of the extension; its fields hang below it."""

PPID_BYTES = 16

STANDARD, SCALABLE, SCALABLE_WITH_INTEGRITY = 0, 1, 2
"""Values of SGX Type."""

_ENUMERATED_TAG = 0x0A


@dataclass(frozen=True)
class Hardware:
    """What one simulated machine is; every field can be set to make the machine a bad one."""

    ppid: bytes
    """Platform provisioning id, 16 bytes. dstack's device id is its SHA-256."""
    cpu_svn: bytes = bytes.fromhex("03030202040100050000000000000000")
    """Security versions of the 16 CPU components."""
    pce_svn: int = 11
    """Security version of the provisioning enclave."""
    pce_id: bytes = bytes(2)
    """Id of the provisioning enclave, 2 bytes."""
    fmspc: bytes = bytes.fromhex("5ea100000000")
    """Family-model-stepping-platform, 6 bytes. The default is no real CPU's."""
    sgx_type: int = SCALABLE
    """Standard, Scalable or Scalable with integrity."""
    platform_instance_id: bytes = bytes(16)
    """Id of this registration of the platform, 16 bytes."""
    dynamic_platform: bool = False
    """Whether packages can be added after registration."""
    cached_keys: bool = False
    """Whether the registration service keeps the platform's root keys."""
    smt_enabled: bool = False
    """Whether two threads share a core."""

    @property
    def device_id(self) -> bytes:
        """dstack's name for the machine, 32 bytes."""
        return hashlib.sha256(self.ppid).digest()


@asn1.sequence
class _Leaf:
    oid: ObjectIdentifier
    value: bytes | int | bool


@asn1.sequence
class _Group:
    oid: ObjectIdentifier
    value: list[_Leaf]


@asn1.sequence
class _Raw:
    oid: ObjectIdentifier
    value: asn1.TLV


@asn1.sequence
class _Extension:
    ppid: _Leaf
    tcb: _Group
    pce_id: _Leaf
    fmspc: _Leaf
    sgx_type: _Raw
    platform_instance_id: _Leaf
    configuration: _Group


def encode_sgx_extension(hardware: Hardware) -> bytes:
    """The DER content of the extension for this hardware."""
    tcb = [_leaf(f"2.{number}", svn) for number, svn in enumerate(hardware.cpu_svn, start=1)]
    tcb += [_leaf("2.17", hardware.pce_svn), _leaf("2.18", hardware.cpu_svn)]
    configuration = [
        _leaf("7.1", hardware.dynamic_platform),
        _leaf("7.2", hardware.cached_keys),
        _leaf("7.3", hardware.smt_enabled),
    ]
    # The library has no ENUMERATED, and SGX Type is one: it goes in as the three bytes it is.
    sgx_type = asn1.decode_der(asn1.TLV, bytes([_ENUMERATED_TAG, 1, hardware.sgx_type]))
    return asn1.encode_der(
        _Extension(
            ppid=_leaf("1", hardware.ppid),
            tcb=_Group(oid=_oid("2"), value=tcb),
            pce_id=_leaf("3", hardware.pce_id),
            fmspc=_leaf("4", hardware.fmspc),
            sgx_type=_Raw(oid=_oid("5"), value=sgx_type),
            platform_instance_id=_leaf("6", hardware.platform_instance_id),
            configuration=_Group(oid=_oid("7"), value=configuration),
        )
    )


def _leaf(suffix: str, value: bytes | int | bool) -> _Leaf:
    return _Leaf(oid=_oid(suffix), value=value)


def _oid(suffix: str) -> ObjectIdentifier:
    return ObjectIdentifier(f"{SGX_EXTENSION}.{suffix}")
