# SPDX-License-Identifier: Apache-2.0
"""`sealroom drill revoke`: what it makes of the moments of a run, and what it tells when a round fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.local import drill
from sealroom_agents.local.room import Room


def one(**seconds: float) -> drill.Round:
    return drill.Round(
        run="0x01", block=7, seconds={name.replace("_", "-"): at for name, at in seconds.items()}
    )


def test_the_parts_of_a_round_add_up_whichever_way_the_enclave_learnt_of_it() -> None:
    """OP-10: by the runner's word, or by the gate's before that."""
    told = one(mined=0.4, ordered=0.6, told=0.7, lease_ended=0.9, killed=1.0)
    assert told.parts == {"mined": 0.4, "ordered": 0.2, "told": 0.1, "lease-ended": 0.2, "killed": 0.1}
    gate = one(mined=0.4, lease_ended=0.5, ordered=0.8, killed=0.9)
    assert gate.parts == {"mined": 0.4, "ordered": 0.4, "lease-ended": 0.0, "killed": 0.1}
    assert all(sum(each.parts.values()) == pytest.approx(each.last) for each in (told, gate))


def test_a_round_that_fails_hides_none_of_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: Any) -> Iterator[drill.Round]:
        yield one(mined=0.4, ordered=0.5, killed=0.9)
        raise ToolError(Code.NOT_FINAL, "the run is refused: no")

    monkeypatch.setattr(drill, "measure", measured)
    monkeypatch.setattr(drill, "block_seconds", lambda room: 1.0)
    monkeypatch.setattr(Room, "read", lambda folder: None)
    result = CliRunner().invoke(drill.command, ["revoke", "--json", "--owner", "a"], standalone_mode=False)
    assert isinstance(result.exception, ToolError)
    told = json.loads(result.stdout)
    assert (told["p99"], told["limit"], told["ok"]) == (0.9, 2.0, False)
    assert told["parts"]["killed"] == {"p50": 0.4, "p99": 0.4}
