# SPDX-License-Identifier: Apache-2.0
"""Each refusal of the owner's commands has a code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.agents.shell import shell


@pytest.mark.parametrize(
    "command, code",
    [
        ("seal --owner hospital-A --in a.parquet", "card-missing"),
        ("reseal a.tar", "source-unreadable"),
        ("inspect a.tar", "source-unreadable"),
        ("sign a.tar --show", "source-unreadable"),
        ("govern confirm --consortium 0x" + 40 * "1" + " --calldata", "configuration"),
        ("upload a.tar memory://a --yes", "source-unreadable"),
        ("fetch memory://a --sha256 0x" + 64 * "1" + " --out a.tar", "remote-missing"),
    ],
)
def test_with_json_a_refusal_is_one_object_with_its_code(tmp_path: Path, command: str, code: str) -> None:
    done = shell(f"sealroom {command} --json 2>errors", tmp_path)
    refusal = json.loads(done.stdout)
    assert done.returncode == 1
    assert set(refusal) == {"ok", "code", "error", "hint"}
    assert (refusal["ok"], refusal["code"]) == (False, code)
    assert (tmp_path / "errors").read_text().startswith(f"error: {refusal['error']}")
