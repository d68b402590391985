# SPDX-License-Identifier: Apache-2.0
"""The configuration of a deployment, and the journal of one that is not finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scripts._command import Complaint
from scripts._deploy import Config, Journal

from sealroom.errors import FormatError

ADDRESS = "0x" + 40 * "b"
OWNER = {"account": ADDRESS, "id": "hospital-A", "jurisdiction": "DE", "regimes": ["GDPR", "SOC 2"]}
CONFIG = {"owners": [OWNER], "threshold": 1}


def test_a_configuration_is_read() -> None:
    config = Config.parse(CONFIG)
    (owner,) = config.owners
    assert owner.solidity() == (ADDRESS, b"DE", 2 | 32, b"hospital-A".ljust(32, b"\0"))
    assert len(config.salt) == 32
    assert config.salt != Config.parse(CONFIG).salt


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"owners": []}, "names no owner"),
        ({"threshold": 2}, "threshold"),
        ({"threshold": 0}, "threshold"),
        ({"owners": [OWNER | {"regimes": ["ISO"]}]}, "hospital-A.* known are HIPAA"),
        ({"owners": [OWNER | {"jurisdiction": "Germany"}]}, "jurisdiction"),
        ({"owners": [OWNER | {"account": "hospital.eth"}]}, "address"),
        ({"owners": [OWNER] * 17}, "at most 16"),
        ({"ledger": ADDRESS, "factory": ADDRESS}, "brings its ledger"),
        ({"app": ADDRESS, "factory": ADDRESS}, "makes apps of its own"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_configuration_that_cannot_be_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        Config.parse(CONFIG | change)


def test_unanimity_is_warned_of() -> None:
    two = [OWNER, {**OWNER, "account": "0x" + 40 * "c", "id": "hospital-B"}]
    (words,) = Config.parse({"owners": two, "threshold": 2}).warnings()
    assert "one lost wallet stops all" in words
    assert Config.parse({"owners": two, "threshold": 1}).warnings() == []


def test_what_was_made_is_not_made_again(tmp_path: Path) -> None:
    out, config = tmp_path / "deployment.json", Config.parse(CONFIG)
    first = Journal(out, config, 31337)
    assert first.once("ledger", lambda: "0x" + 40 * "A") == "0x" + 40 * "a"
    again = Journal(out, Config.parse(CONFIG), 31337)
    assert again.salt == first.salt and again.made == {"ledger": "0x" + 40 * "a"}
    assert again.once("ledger", lambda: pytest.fail("deployed twice")) == "0x" + 40 * "a"
    for other, chain_id in ((CONFIG, 1), ({**CONFIG, "salt": "0x" + 64 * "1"}, 31337)):
        with pytest.raises(Complaint, match="another deployment"):
            Journal(out, Config.parse(other), chain_id)
    again.done()
    assert list(tmp_path.iterdir()) == []


def test_a_finished_deployment_is_named_and_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "deployment.json"
    out.write_text(json.dumps({"consortium": ADDRESS, "chainId": 1}))
    with pytest.raises(Complaint, match=f"{ADDRESS} on chain 1"):
        Journal(out, Config.parse(CONFIG), 31337)
