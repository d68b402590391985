# SPDX-License-Identifier: Apache-2.0
"""Where collateral comes from: a caching service (PCCS) for real machines, a folder for simulated ones.

Collateral is verified like everything else, so a source is trusted for nothing but being reachable. Its
address is configuration and never comes from a caller (AT-32).
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Protocol

import dcap_qvl

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError
from sealroom_agents.attestation.quote import MAX_COLLATERAL_BYTES
from sealroom_agents.errors import AttestationError

PCCS_TIMEOUT_S = 10.0
"""Longest time to fetch collateral."""

COLLATERAL_FILE = "collateral.json"
"""Name of the file in a simulated platform's folder."""


class CollateralSource(Protocol):
    """Fetches what is needed to verify a quote."""

    def fetch(self, quote: bytes) -> dict[str, Any]:
        """Collateral for `quote` in the JSON form of `dcap_qvl.QuoteCollateralV3`.

        Raises `AttestationError` `quote-invalid` when there is none to be had.
        """
        ...


class PccsCollateral:
    """Collateral from a PCCS, or from Intel's own service, by HTTPS."""

    def __init__(self, url: str, *, timeout_s: float = PCCS_TIMEOUT_S) -> None:
        self._url = url
        self._timeout_s = timeout_s

    def fetch(self, quote: bytes) -> dict[str, Any]:
        """See `CollateralSource.fetch`. Blocks; must not be called on an event loop's thread."""
        try:
            return dict(json.loads(asyncio.run(self._fetch(quote)).to_json()))
        except (ValueError, TimeoutError) as error:
            raise AttestationError(
                Code.QUOTE_INVALID, f"no collateral for the quote: {str(error) or 'timed out'}"
            ) from error

    async def _fetch(self, quote: bytes) -> dcap_qvl.QuoteCollateralV3:
        return await asyncio.wait_for(dcap_qvl.get_collateral(self._url, quote), self._timeout_s)


class DirectoryCollateral:
    """Collateral of a simulated platform, from its folder; the platform's seed is not read."""

    def __init__(self, directory: Path | str) -> None:
        self._path = Path(directory) / COLLATERAL_FILE

    def fetch(self, quote: bytes) -> dict[str, Any]:
        """See `CollateralSource.fetch`."""
        try:
            with self._path.open("rb") as stream:
                return strict_json(stream.read(MAX_COLLATERAL_BYTES + 1), MAX_COLLATERAL_BYTES)
        except (OSError, FormatError) as error:
            raise AttestationError(Code.QUOTE_INVALID, f"no collateral for the quote: {error}") from error
