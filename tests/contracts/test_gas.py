# SPDX-License-Identifier: Apache-2.0
"""No call is dearer than a consortium can bear, and stopping is cheap."""

from __future__ import annotations

import pytest

from tests.contracts.gas import measure

REVOKE_LIMIT = 200_000
CALL_LIMIT = 500_000
"""Far below what a block holds, so that no congestion keeps an owner's call out for its size."""


@pytest.mark.anvil
def test_each_call_fits_its_limit() -> None:
    gas = measure()
    calls = {name: used for name, used in gas.items() if not name.startswith(("deploy", "Factory"))}
    assert len(calls) >= 13
    assert not {name: used for name, used in calls.items() if used > CALL_LIMIT}
    assert gas["Consortium.revoke"] < REVOKE_LIMIT
