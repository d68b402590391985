# SPDX-License-Identifier: Apache-2.0
"""The operator's pin file: whose word a name is, and names that are pinned elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.local_chain import account

from sealroom.model import Owner
from sealroom_agents.console.pins import Pins, Spoof, read_pins
from sealroom_agents.errors import ConfigurationError

PINNED, OTHER = account(8), account(9)
FILE = f"""
[[consortium]]
chain = 31337
address = "{PINNED.upper().replace("0X", "0x")}"
name = "Cardio-renal cohort"
domain = "healthcare"
[consortium.owners]
"{account(0)}" = "hospital-A"
"""
OWNERS = (Owner(account=account(0), id="hospital-A", jurisdiction="DE", regimes=()),)


@pytest.fixture
def pins(tmp_path: Path) -> Pins:
    (tmp_path / "pins.toml").write_text(FILE)
    return read_pins(tmp_path / "pins.toml")


def test_the_operator_vouches_for_exactly_what_is_pinned(pins: Pins) -> None:
    assert pins.vouched(31337, PINNED, OWNERS)
    assert not pins.vouched(1, PINNED, OWNERS)
    assert not pins.vouched(31337, OTHER, OWNERS)
    more = (*OWNERS, Owner(account=account(1), id="hospital-B", jurisdiction="DE", regimes=()))
    assert not pins.vouched(31337, PINNED, more)
    assert not Pins().vouched(31337, PINNED, OWNERS)


@pytest.mark.parametrize("name", ["Cardio-renal cohort", "CARDIO RENAL COHORT", "Card1o-rena1 c0hort"])
def test_a_pinned_name_at_another_address_is_found(pins: Pins, name: str) -> None:
    """WE-02: also where it only looks like it; and an owner's name of another account."""
    assert pins.spoofs(PINNED, name, OWNERS) == ()
    assert pins.spoofs(OTHER, name, ()) == (Spoof(name, OTHER, PINNED),)
    stranger = Owner(account=account(3), id="hospita1-a", jurisdiction="DE", regimes=())
    assert pins.spoofs(OTHER, "another", (stranger,)) == (Spoof("hospita1-a", account(3), account(0)),)
    assert pins.spoofs(OTHER, "another", OWNERS) == ()


@pytest.mark.parametrize(
    "text",
    [
        "[[consortium]]\nchain = 1\n",
        FILE.replace("domain", "realm"),
        FILE.replace("0x", "1x"),
        FILE + "x = 1",
        "[other]",
        "consortium = 3",
        "\x00",
        FILE.replace("healthcare", "h" * 201),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "pins.toml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_pins(tmp_path / "pins.toml")
    assert caught.value.code == "configuration"
