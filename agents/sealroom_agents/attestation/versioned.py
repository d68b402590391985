# SPDX-License-Identifier: Apache-2.0
"""dstack's versioned attestation in a recording: the enclave's reader, with the errors of who verifies."""

from __future__ import annotations

from sealroom.errors import FormatError
from sealroom.runtime import versioned
from sealroom.runtime.versioned import MAX_BYTES, Versioned
from sealroom_agents.errors import AttestationError

__all__ = ["MAX_BYTES", "Versioned", "read_attestation"]


def read_attestation(data: bytes) -> Versioned:
    """Read an attestation of a TDX guest. Raises `AttestationError`: `evidence-too-large`, `malformed`;
    `quote-not-tdx` for one of another platform."""
    try:
        return versioned.read_attestation(data)
    except FormatError as error:
        raise AttestationError(error.code, error.message) from None
