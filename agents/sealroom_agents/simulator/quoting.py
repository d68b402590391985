# SPDX-License-Identifier: Apache-2.0
"""TD quotes, version 4 (and 5), as a quoting enclave writes them.

Layout: Intel, "TDX DCAP Quoting Library API", appendix 3 "Quote format".

    header 48 │ TD report 584 │ u32 n │ signature 64 │ attestation key 64 │ u16 6 │ u32 m │ certification data
    certification data: QE report 384 │ signature 64 │ u16 32 │ auth data 32 │ u16 5 │ u32 k │ PEM chain
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from sealroom_agents.simulator.pccs import QE_PRODUCT_ID, QE_SIGNER
from sealroom_agents.simulator.pki import LABEL, raw_public_key, raw_signature

INTEL_QE_VENDOR_ID = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
"""The vendor id that every verifier demands; it names the format, and it's no secret."""

SEPT_VE_DISABLE = bytes.fromhex("0000001000000000")
"""TD attributes of a production TD: bit 28 only."""
DEBUG = bytes.fromhex("0100001000000000")
"""TD attributes of a TD that its host can look into."""

REPORT_DATA_BYTES = 64

_ECDSA_P256 = 2
_TEE_TDX = 0x81
_BODY_TD15 = 3
_CERT_QE_REPORT = 6
_CERT_PCK_CHAIN = 5
_QE_AUTH = bytes(range(32))
_QE_ISV_SVN = 6
_QE_ATTRIBUTES = bytes.fromhex("1500000000000000e700000000000000")
_QE_ENCLAVE = hashlib.sha256(f"{LABEL}: quoting enclave".encode()).digest()


@dataclass(frozen=True)
class TdReport:
    """What the TDX module reports about a TD; registers are 48 bytes each."""

    report_data: bytes
    """The guest's 64 bytes."""
    mr_td: bytes
    """Measurement of the virtual firmware."""
    rt_mr: tuple[bytes, bytes, bytes, bytes]
    """RTMR0 to RTMR3."""
    mr_config_id: bytes = bytes(48)
    """Configuration that the host gave at creation."""
    mr_owner: bytes = bytes(48)
    """Owner that the host gave at creation."""
    mr_owner_config: bytes = bytes(48)
    """Owner's configuration that the host gave at creation."""
    tee_tcb_svn: bytes = bytes.fromhex("06010300000000000000000000000000")
    """Security versions of the TDX module: byte 0 its ISVSVN, byte 1 its major version."""
    mr_seam: bytes = bytes(48)
    """Measurement of the TDX module."""
    mr_signer_seam: bytes = bytes(48)
    """Signer of the TDX module; zero is Intel."""
    seam_attributes: bytes = bytes(8)
    """Attributes of the TDX module; zero in production."""
    td_attributes: bytes = SEPT_VE_DISABLE
    """Attributes of the TD."""
    xfam: bytes = bytes.fromhex("e702060000000000")
    """Extended features the TD may use."""
    mr_service_td: bytes = bytes(48)
    """TDX 1.5 only: the service TDs bound to this one."""

    def encode(self, *, version: int = 4) -> bytes:
        """The 584 bytes of a TDX 1.0 report, or the 648 of a 1.5 report for quote version 5."""
        body = b"".join(
            (
                self.tee_tcb_svn,
                self.mr_seam,
                self.mr_signer_seam,
                self.seam_attributes,
                self.td_attributes,
                self.xfam,
                self.mr_td,
                self.mr_config_id,
                self.mr_owner,
                self.mr_owner_config,
                *self.rt_mr,
                self.report_data,
            )
        )
        return body if version == 4 else body + self.tee_tcb_svn + self.mr_service_td


def encode_quote(
    report: TdReport,
    *,
    cpu_svn: bytes,
    attestation_key: ec.EllipticCurvePrivateKey,
    pck_key: ec.EllipticCurvePrivateKey,
    pck_chain: str,
    version: int = 4,
    qe_vendor_id: bytes = INTEL_QE_VENDOR_ID,
) -> bytes:
    """Sign `report` with the attestation key, and certify that key by the PCK through a QE report."""
    body = report.encode(version=version)
    header = struct.pack("<HHIHH", version, _ECDSA_P256, _TEE_TDX, 0, 0) + qe_vendor_id + bytes(20)
    descriptor = struct.pack("<HI", _BODY_TD15, len(body)) if version == 5 else b""
    signed = header + descriptor + body

    attestation_public = raw_public_key(attestation_key)
    qe_report = _qe_report(cpu_svn, hashlib.sha256(attestation_public + _QE_AUTH).digest())
    chain = pck_chain.encode()
    certification = b"".join(
        (
            qe_report,
            raw_signature(pck_key, qe_report),
            struct.pack("<H", len(_QE_AUTH)),
            _QE_AUTH,
            struct.pack("<HI", _CERT_PCK_CHAIN, len(chain)),
            chain,
        )
    )
    signature_data = b"".join(
        (
            raw_signature(attestation_key, signed),
            attestation_public,
            struct.pack("<HI", _CERT_QE_REPORT, len(certification)),
            certification,
        )
    )
    return signed + struct.pack("<I", len(signature_data)) + signature_data


def _qe_report(cpu_svn: bytes, attestation_key_digest: bytes) -> bytes:
    """The 384-byte SGX report of the quoting enclave; its report data binds the attestation key."""
    return b"".join(
        (
            cpu_svn,
            bytes(4 + 28),
            _QE_ATTRIBUTES,
            _QE_ENCLAVE,
            bytes(32),
            QE_SIGNER,
            bytes(96),
            struct.pack("<HH", QE_PRODUCT_ID, _QE_ISV_SVN),
            bytes(60),
            attestation_key_digest + bytes(32),
        )
    )
