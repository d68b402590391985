# SPDX-License-Identifier: Apache-2.0
"""One look at a caching service (PCCS), or at Intel's own, for the collateral of one kind of machine.

Four answers make one collateral: TCB info, QE identity, and the revocation lists of the PCK CA and of the
root (Intel PCS API v4). All of them together have one deadline and each so many bytes at most, however slowly
the service sends. Nothing of it is believed here: `sealroom_agents.attestation.collateral_check` checks it.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sealroom.codes import Code
from sealroom_agents.errors import AttestationError, ConfigurationError

# Imported where a service is asked: most commands verify quotes by collateral that is at hand.
if TYPE_CHECKING:
    import httpx

PCCS_TIMEOUT_S = 10.0
"""Longest time for all four answers together, seconds."""
MAX_ANSWER_BYTES = 96 * 1024
"""Largest answer; real ones have at most 20 KiB."""
MAX_CHAIN_CHARACTERS = 16 * 1024
"""Longest chain of certificates in a header of an answer; real ones have 4,000."""
INTEL_HOST = "api.trustedservices.intel.com"
"""Intel's own service, which has the root's revocation list elsewhere."""
INTEL_ROOT_CRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
"""Where that is; a fixed address, and not the one that a certificate in somebody's quote names (AT-32)."""

_TDX = "/tdx/certification/v4"
_SGX = "/sgx/certification/v4"
_SIGNED = r'\s*\{\s*"%s"\s*:\s*(\{.*\})\s*,\s*"signature"\s*:\s*"([0-9a-fA-F]{128})"\s*\}\s*'
# The signature is over these very characters, so they are cut out and never written anew.
_TCB_INFO = re.compile(_SIGNED % "tcbInfo", re.DOTALL)
_QE_IDENTITY = re.compile(_SIGNED % "enclaveIdentity", re.DOTALL)
_HEX = re.compile(r"\s*((?:[0-9a-fA-F]{2})+)\s*")


@dataclass(frozen=True)
class _Answer:
    body: bytes
    headers: httpx.Headers


class Pccs:
    """One service by its URL."""

    def __init__(self, url: str, *, timeout_s: float = PCCS_TIMEOUT_S) -> None:
        """Raises `ConfigurationError` `configuration` when it is no http(s) URL."""
        import httpx

        try:
            parsed = httpx.URL(url)
            fine = parsed.scheme in ("http", "https") and bool(parsed.host)
        except httpx.InvalidURL:
            fine = False
        if not fine:
            raise ConfigurationError(
                Code.CONFIGURATION, f"--pccs {url!r} is no http(s) URL", "give the address of a PCCS"
            )
        self._base = url.rstrip("/").removesuffix(_SGX).removesuffix(_TDX)
        self._root_crl = INTEL_ROOT_CRL if parsed.host == INTEL_HOST else f"{self._base}{_SGX}/rootcacrl"
        self._timeout_s = timeout_s
        self.shown: str = parsed.host
        """Its host, for messages: the rest of the URL may hold a password."""

    def collateral(self, fmspc: str, ca: str) -> dict[str, str]:
        """What the service says of the machines of `fmspc` (12 hex digits) under `ca` (`platform` or
        `processor`), in the JSON form of `dcap_qvl.QuoteCollateralV3`; nothing of it is verified.

        Blocks; must not be called on an event loop's thread. Raises `AttestationError`
        `collateral-unavailable`.
        """
        import httpx

        try:
            return asyncio.run(self._collateral(fmspc, ca))
        except TimeoutError as error:
            raise self._unavailable(f"has not answered within {self._timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, ValueError) as error:
            raise self._unavailable(f"does not answer: {type(error).__name__}") from error

    async def _collateral(self, fmspc: str, ca: str) -> dict[str, str]:
        import httpx

        async with (
            asyncio.timeout(self._timeout_s),
            httpx.AsyncClient(
                timeout=None,  # the deadline above is for all of it
                trust_env=False,
                follow_redirects=False,
                headers={"accept-encoding": "identity"},
            ) as client,
        ):
            tcb, qe, pck_crl, root_crl = [
                await self._get(client, url)
                for url in (
                    f"{self._base}{_TDX}/tcb?fmspc={fmspc}",
                    f"{self._base}{_TDX}/qe/identity",
                    f"{self._base}{_SGX}/pckcrl?ca={ca}&encoding=der",
                    self._root_crl,
                )
            ]
        tcb_info, tcb_signature = self._signed(tcb, _TCB_INFO, "TCB info")
        qe_identity, qe_signature = self._signed(qe, _QE_IDENTITY, "QE identity")
        return {
            "pck_crl_issuer_chain": self._chain(pck_crl, "SGX-PCK-CRL-Issuer-Chain"),
            "root_ca_crl": self._der(root_crl),
            "pck_crl": self._der(pck_crl),
            "tcb_info_issuer_chain": self._chain(tcb, "TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"),
            "tcb_info": tcb_info,
            "tcb_info_signature": tcb_signature,
            "qe_identity_issuer_chain": self._chain(qe, "SGX-Enclave-Identity-Issuer-Chain"),
            "qe_identity": qe_identity,
            "qe_identity_signature": qe_signature,
        }

    async def _get(self, client: httpx.AsyncClient, url: str) -> _Answer:
        async with client.stream("GET", url) as answer:
            if answer.status_code != 200:
                raise self._unavailable(f"answers with HTTP status {answer.status_code}")
            if answer.headers.get("content-encoding", "identity").lower() != "identity":
                raise self._unavailable("sends a compressed answer that was not asked for")
            read = bytearray()
            async for piece in answer.aiter_raw():
                read += piece
                if len(read) > MAX_ANSWER_BYTES:
                    raise self._unavailable(f"answers with more than {MAX_ANSWER_BYTES} bytes")
            return _Answer(bytes(read), answer.headers)

    def _signed(self, answer: _Answer, form: re.Pattern[str], what: str) -> tuple[str, str]:
        try:
            found = form.fullmatch(answer.body.decode())
        except UnicodeDecodeError:
            found = None
        if found is None:
            raise self._unavailable(f"gives no {what}")
        return found[1], found[2].lower()

    def _der(self, answer: _Answer) -> str:
        """A revocation list as hex; services send DER, or its hex digits as text."""
        if answer.body[:1] == b"\x30":
            return answer.body.hex()
        found = _HEX.fullmatch(answer.body.decode("ascii", errors="replace"))
        if found is None:
            raise self._unavailable("gives no revocation list")
        return found[1].lower()

    def _chain(self, answer: _Answer, *names: str) -> str:
        found = next((answer.headers[name] for name in names if name in answer.headers), "")
        if not found or len(found) > MAX_CHAIN_CHARACTERS:
            raise self._unavailable(f"gives no header {names[0]}")
        return unquote(found)

    def _unavailable(self, why: str) -> AttestationError:
        return AttestationError(Code.COLLATERAL_UNAVAILABLE, f"the PCCS {self.shown} {why}")
