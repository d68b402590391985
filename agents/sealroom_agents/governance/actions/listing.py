# SPDX-License-Identifier: Apache-2.0
"""All actions, by section: one list for every face."""

from sealroom_agents.governance.actions import app, datasets, deciding, seats, seeing, stopping
from sealroom_agents.governance.actions.entry import Section

SECTIONS: tuple[Section, ...] = (
    stopping.SECTION,
    seeing.SECTION,
    deciding.SECTION,
    seats.SECTION,
    datasets.SECTION,
    app.SECTION,
)
"""All actions that know the chain, stopping first; `sign` knows none and stands apart."""
