# SPDX-License-Identifier: Apache-2.0
"""By whose no a proposal can never take effect: one rule for studies and for what governs."""

from __future__ import annotations

from collections.abc import Mapping


def closing(noes: Mapping[str, bool], voters: int, needed: int) -> tuple[str, ...]:
    """Owners by whose no a proposal cannot take effect any more: those without whom it cannot; where too few
    others are left for the votes needed, all who said no. Nobody approves what it said no to. The page's
    script says the same of a study (`console/face/decide/voted.ts`).

    noes: who said no, and whether it cannot take effect without that owner.
    voters: how many owners there are.
    """
    must = tuple(one for one, required in noes.items() if required)
    return must or (tuple(noes) if voters - len(noes) < needed else ())
