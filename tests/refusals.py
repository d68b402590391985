# SPDX-License-Identifier: Apache-2.0
"""The gate's checks by their number on the release protocol's page."""

from __future__ import annotations

from sealroom_agents.gate.checks import CHECKS

CODES = {row.number: row.codes for row in CHECKS}
REFUSAL_CODES = tuple(dict.fromkeys(code for row in CHECKS for code in row.codes))
"""Every code of the gate's refusals, in the order in which the page first names them."""
