# SPDX-License-Identifier: Apache-2.0
"""The kernel's noise has the scale that is paid for, for what one person moves; no stated bound is loose."""

from __future__ import annotations

from functools import cache

import pytest
from tests.enclave.kinds import kit
from tests.enclave.kinds.cases import CASES, EACH

from sealroom.privacy.kinds import KINDS
from sealroom.privacy.parts import Law
from sealroom.recipe import Field


@cache
def moved(name: str, law: Law) -> dict[str, tuple[int, int]]:
    """The farthest that a person moves each part of a case."""
    kind, (_, members, bounds, _) = KINDS[CASES[name].kind], CASES[name]
    return kit.moves(kind, kit.spec_of(kind, members), law, bounds=bounds)


@pytest.mark.parametrize(("name", "law"), EACH)
def test_the_kernel_draws_what_was_paid_for_and_half_of_it_is_caught(name: str, law: Law) -> None:
    """DP-02, DP-18: from what a person moves to the noise that fell, without a word of the kind's own on
    either."""
    kind, (_, members, bounds, _) = KINDS[CASES[name].kind], CASES[name]
    spec = kit.spec_of(kind, members)
    field = Field(name="field", kind=kind, spec=spec, cost=kit.paid(kind, spec, law))
    kit.drawn_enough(field, kit.COSTS[law], moved(name, law), bounds=bounds)
    half = Field(name="field", kind=kind, spec=field.spec, cost=kit.paid(kind, field.spec, law, times=2))
    with pytest.raises(AssertionError, match="noise-too-small") as caught:
        kit.drawn_enough(half, kit.COSTS[law], moved(name, law), bounds=bounds)
    assert all(f"{part} has" in str(caught.value) for part in field.parts(1))


@pytest.mark.parametrize(("name", "law"), EACH)
def test_stated_sensitivities_are_reached(name: str, law: Law) -> None:
    """Bounds that nobody comes near would be noise for nothing, and hide a scale that is too small."""
    kind, (_, members, _, _) = KINDS[CASES[name].kind], CASES[name]
    spec = kit.spec_of(kind, members)
    parts = kit.parts_of(kind, spec, law)
    assert moved(name, law).keys() == parts.keys()
    for part, (l1, l2_squared) in moved(name, law).items():
        if law == "laplace":
            assert 0.9 * parts[part].l1 <= l1 <= parts[part].l1
        assert 0.9 * parts[part].l2_squared <= l2_squared <= parts[part].l2_squared or law == "laplace"
