# SPDX-License-Identifier: Apache-2.0
"""Who counts as one client, and what one may have."""

from __future__ import annotations

import pytest

from sealroom_agents import clients
from sealroom_agents.clients import Allowance, client_of


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.1.2.3", "10.1.2.3"), ("::ffff:10.1.2.3", "10.1.2.3"), ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"), ("guest.sock", "guest.sock"), ("", ""), (None, ""),
    ],
)  # fmt: skip
def test_a_client_is_whatever_one_machine_can_have(address: str | None, client: str) -> None:
    """RE-05: a machine with a network of addresses is one client."""
    assert client_of(address) == client


def test_a_client_has_its_share_and_all_have_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """RE-05."""
    monkeypatch.setattr(clients, "MAX_CLIENTS", 8)
    at = [0.0]
    allowance = Allowance(most=16, per_s=4, share=0.25, clock=lambda: at[0])
    assert allowance.take("a", 4) and not allowance.take("a", 1)
    assert not allowance.take("b", 5) and allowance.take("b", 3), "all or nothing"
    at[0] = 1
    assert allowance.take("a", 1) and not allowance.take("a", 1), "a client's share of what comes back"
    taken = sum(allowance.take(f"stranger {n}", 4) for n in range(100))
    assert taken == 3, "clients that are forgotten get no more than all have"
    at[0] = -50
    assert not allowance.take("c", 4), "a clock that is set back gives nothing"
    at[0] = 60
    assert allowance.take("c", 4)
