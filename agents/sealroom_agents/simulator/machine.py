# SPDX-License-Identifier: Apache-2.0
"""A simulated machine: a PCK certificate and a quoting enclave that signs whatever it is told to."""

from __future__ import annotations

from sealroom_agents.simulator.measurement import Measurements
from sealroom_agents.simulator.pki import SimulatedPki, pem_chain
from sealroom_agents.simulator.quoting import (
    INTEL_QE_VENDOR_ID,
    REPORT_DATA_BYTES,
    SEPT_VE_DISABLE,
    TdReport,
    encode_quote,
)
from sealroom_agents.simulator.sgx import Hardware


class Machine:
    """One machine of a simulated platform."""

    def __init__(self, pki: SimulatedPki, name: str, *, hardware: Hardware) -> None:
        self.name = name
        self.hardware = hardware
        self._pck = pki.pck_certificate(name, hardware=hardware)
        self._attestation_key = pki.key(f"attestation:{name}")
        self._chain = pem_chain(self._pck, pki.pck_ca, pki.root)

    @property
    def device_id(self) -> bytes:
        """dstack's name for the machine: SHA-256 of its PPID, 32 bytes."""
        return self.hardware.device_id

    @property
    def pck_serial(self) -> int:
        """Serial number of the PCK certificate, for a revocation list."""
        return self._pck.certificate.serial_number

    def quote(
        self,
        report_data: bytes,
        measurements: Measurements,
        *,
        td_attributes: bytes = SEPT_VE_DISABLE,
        tee_tcb_svn: bytes = TdReport.tee_tcb_svn,
        mr_seam: bytes = bytes(48),
        mr_signer_seam: bytes = bytes(48),
        seam_attributes: bytes = bytes(8),
        mr_service_td: bytes = bytes(48),
        qe_vendor_id: bytes = INTEL_QE_VENDOR_ID,
        version: int = 4,
    ) -> bytes:
        """A signed TD quote of version 4 or 5. `report_data` is padded with zeros to 64 bytes.

        Everything after `measurements` is for making bad twins of a good quote.
        """
        report = TdReport(
            report_data=report_data.ljust(REPORT_DATA_BYTES, b"\0"),
            mr_td=measurements.mr_td,
            rt_mr=measurements.rt_mr,
            mr_config_id=measurements.mr_config_id,
            tee_tcb_svn=tee_tcb_svn,
            mr_seam=mr_seam,
            mr_signer_seam=mr_signer_seam,
            seam_attributes=seam_attributes,
            td_attributes=td_attributes,
            mr_service_td=mr_service_td,
        )
        return encode_quote(
            report,
            cpu_svn=self.hardware.cpu_svn,
            attestation_key=self._attestation_key,
            pck_key=self._pck.key,
            pck_chain=self._chain,
            version=version,
            qe_vendor_id=qe_vendor_id,
        )
