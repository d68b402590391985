# SPDX-License-Identifier: Apache-2.0
"""What Intel's provisioning service would say about a simulated machine: TCB info, QE identity, CRLs.

The result has the JSON form of `dcap_qvl.QuoteCollateralV3`: PEM and JSON as text, binary as hex.
Shapes: Intel PCS API v4, "Get TDX TCB Info" and "Get TDX QE Identity".
"""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from sealroom_agents.simulator.pki import LABEL, SimulatedPki, pem_chain, raw_signature
from sealroom_agents.simulator.sgx import Hardware

COLLATERAL_LIFETIME_S = 30 * 86_400
"""How long minted collateral is valid, seconds; Intel's is valid for 30 days too."""

QE_SIGNER = hashlib.sha256(f"{LABEL}: quoting enclave signer".encode()).digest()
"""MRSIGNER of the simulated quoting enclave."""
QE_PRODUCT_ID = 2
"""ISVPRODID of a TD quoting enclave."""

_TDX_COMPONENTS = bytes.fromhex("05000200000000000000000000000000")
_MODULE_SVN = 3
_QE_SVN = 4
_ZERO_MEASUREMENT = "00" * 48
_ZERO_ATTRIBUTES = "00" * 8
_FULL_MASK = "FF" * 8


@dataclass(frozen=True)
class TcbState:
    """How good the platform is said to be; the default is spotless."""

    status: str = "UpToDate"
    """TCB status of the machine's own level."""
    advisories: tuple[str, ...] = ()
    """Security advisories that apply, such as `INTEL-SA-00615`."""
    module_status: str = "UpToDate"
    """Status of the TDX module."""
    qe_status: str = "UpToDate"
    """Status of the quoting enclave."""
    evaluation: int = 17
    """tcbEvaluationDataNumber of both TCB info and QE identity."""
    pce_svn: int | None = None
    """PCE level that the only TCB level asks for; `None` asks for the machine's own."""
    revoked_pck: tuple[int, ...] = ()
    """Serial numbers of revoked PCK certificates."""
    pck_ca_revoked: bool = False
    """Whether the root has revoked the PCK CA."""


def mint_collateral(
    pki: SimulatedPki,
    *,
    hardware: Hardware,
    issued: int,
    lifetime_s: int = COLLATERAL_LIFETIME_S,
    state: TcbState | None = None,
) -> dict[str, str]:
    """Collateral for quotes of `hardware`, valid from `issued` (unix seconds) for `lifetime_s`."""
    state = state or TcbState()
    tcb_info = _tcb_info(hardware, issued, lifetime_s, state)
    qe_identity = _qe_identity(issued, lifetime_s, state)
    revoked_ca = (pki.pck_ca.certificate.serial_number,) if state.pck_ca_revoked else ()
    root_crl = pki.revocation_list(pki.root, issued=issued, lifetime_s=lifetime_s, revoked=revoked_ca)
    pck_crl = pki.revocation_list(pki.pck_ca, issued=issued, lifetime_s=lifetime_s, revoked=state.revoked_pck)
    signer_chain = pem_chain(pki.tcb_signer, pki.root)
    return {
        "pck_crl_issuer_chain": pem_chain(pki.pck_ca, pki.root),
        "root_ca_crl": root_crl.hex(),
        "pck_crl": pck_crl.hex(),
        "tcb_info_issuer_chain": signer_chain,
        "tcb_info": tcb_info,
        "tcb_info_signature": raw_signature(pki.tcb_signer.key, tcb_info.encode()).hex(),
        "qe_identity_issuer_chain": signer_chain,
        "qe_identity": qe_identity,
        "qe_identity_signature": raw_signature(pki.tcb_signer.key, qe_identity.encode()).hex(),
    }


def _tcb_info(hardware: Hardware, issued: int, lifetime_s: int, state: TcbState) -> str:
    day = _stamp(issued - issued % 86_400)
    level: dict[str, Any] = {
        "tcb": {
            "sgxtcbcomponents": _components(hardware.cpu_svn),
            "pcesvn": hardware.pce_svn if state.pce_svn is None else state.pce_svn,
            "tdxtcbcomponents": _components(_TDX_COMPONENTS),
        },
        "tcbDate": day,
        "tcbStatus": state.status,
    }
    if state.advisories:
        level["advisoryIDs"] = list(state.advisories)
    module = {"mrsigner": _ZERO_MEASUREMENT, "attributes": _ZERO_ATTRIBUTES, "attributesMask": _FULL_MASK}
    module_levels = [{"tcb": {"isvsvn": _MODULE_SVN}, "tcbDate": day, "tcbStatus": state.module_status}]
    return _compact(
        {
            "id": "TDX",
            "version": 3,
            **_validity(issued, lifetime_s),
            "fmspc": hardware.fmspc.hex().upper(),
            "pceId": hardware.pce_id.hex(),
            "tcbType": 0,
            "tcbEvaluationDataNumber": state.evaluation,
            "tdxModule": module,
            "tdxModuleIdentities": [
                {"id": name, **module, "tcbLevels": module_levels} for name in ("TDX_01", "TDX_03")
            ],
            "tcbLevels": [level],
        }
    )


def _qe_identity(issued: int, lifetime_s: int, state: TcbState) -> str:
    day = _stamp(issued - issued % 86_400)
    return _compact(
        {
            "id": "TD_QE",
            "version": 2,
            **_validity(issued, lifetime_s),
            "tcbEvaluationDataNumber": state.evaluation,
            "miscselect": "00000000",
            "miscselectMask": "FFFFFFFF",
            "attributes": "11000000000000000000000000000000",
            "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
            "mrsigner": QE_SIGNER.hex().upper(),
            "isvprodid": QE_PRODUCT_ID,
            "tcbLevels": [{"tcb": {"isvsvn": _QE_SVN}, "tcbDate": day, "tcbStatus": state.qe_status}],
        }
    )


def _validity(issued: int, lifetime_s: int) -> dict[str, str]:
    return {"issueDate": _stamp(issued), "nextUpdate": _stamp(issued + lifetime_s)}


def _components(svns: bytes) -> list[dict[str, int]]:
    return [{"svn": svn} for svn in svns]


def _compact(value: dict[str, Any]) -> str:
    # The signature is over this very text, so it is made once and never parsed and written again.
    return json.dumps(value, separators=(",", ":"))


def _stamp(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
