# SPDX-License-Identifier: Apache-2.0
"""Each refusal of the owner's commands has a code, and the page lists exactly those."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agents.shell import shell

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    *(ROOT / "agents" / "sealroom_agents" / "cli").glob("*.py"),
    *(ROOT / "agents" / "sealroom_agents" / "owner").glob("*.py"),
]
ERRORS = {"ToolError", "ChainError", "HeaderError"}
CODE = re.compile(r"[a-z]+(-[a-z]+)+")


def raised() -> Iterator[str]:
    """The codes in the commands' source: of errors, of findings, and those handed on by name."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            places = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            if name in ERRORS or name == "_appeared":
                places.append(node.args[1] if name == "_appeared" else node.args[0])
            elif name == "Finding" and len(node.args) > 3:
                places.append(node.args[3])
            for place in places:
                for part in ast.walk(place):
                    if isinstance(part, ast.Constant) and CODE.fullmatch(str(part.value)):
                        yield str(part.value)


def listed() -> set[str]:
    """The codes in the table of the page."""
    page = (ROOT / "agents" / "README.md").read_text()
    table = page[page.index("| about | codes |") : page.index("The rest are codes of the formats")]
    return set(re.findall(r"`([a-z-]+)`", table))


def test_the_page_lists_each_code_and_no_other() -> None:
    assert set(raised()) == listed()


@pytest.mark.parametrize(
    "command, code",
    [
        ("seal --owner hospital-A --in a.parquet", "card-missing"),
        ("reseal a.tar", "source-unreadable"),
        ("inspect a.tar", "source-unreadable"),
        ("sign a.tar --show", "source-unreadable"),
        ("register a.tar --calldata", "source-unreadable"),
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
