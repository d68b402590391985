# SPDX-License-Identifier: Apache-2.0
"""Sealed memory: what the custodian hands to a job, and nobody can change."""

from __future__ import annotations

import fcntl


def seal_memory(descriptor: int) -> None:
    """Let nobody change what is in a memfd."""
    fcntl.fcntl(
        descriptor,
        fcntl.F_ADD_SEALS,
        fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL,
    )
