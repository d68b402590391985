# SPDX-License-Identifier: Apache-2.0
"""The registry of codes is whole: each member is raised somewhere, and nothing else is."""

from __future__ import annotations

import ast
import json
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from sealroom.codes import Code, Exit, Stage
from sealroom.encoding import canonical
from sealroom.errors import SealroomError
from sealroom.key_release import Refusal

ROOT = Path(__file__).resolve().parents[1]
REGISTRY = ROOT / "enclave" / "sealroom" / "codes.py"
FOLDERS = ("enclave/sealroom", "agents/sealroom_agents", "scripts")
TAKES_A_CODE = {"Refusal", "Missing"}
"""What is given a code first, and is no error."""
FACE = ROOT / "agents/sealroom_agents/console/face"
BY_PAGE = {Code.GPU_EVIDENCE_UNWALKED}
"""What the pages in a browser alone end with: the command can do more."""
OTHER_WORDS = {
    "compose-hash": "event of dstack's log",
    "app-id": "event of dstack's log",
    "key-provider": "event of dstack's log",
    "lease-ended": "phase of a run, and entry of the audit log",
    "revoked": "state of a run",
    "refused": "phase and state of a run",
    "not-proposed": "state of an approval",
    "os-images": "origin that a pin names",
}
"""Words that mean something else, too, where they are written as text."""


@cache
def sources() -> dict[str, ast.Module]:
    """Every module of the product but the registry, by its path."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text())
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != REGISTRY
    }


def errors() -> set[str]:
    """Names of all classes of errors that have a code."""
    known = {SealroomError.__name__}
    while True:
        found = {
            node.name
            for tree in sources().values()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & known
        }
        if found <= known:
            return known
        known |= found


def literals() -> Iterator[tuple[str, int, str]]:
    """Each code that is written as text: where, and the word."""
    takers = errors() - {"DemoError"} | TAKES_A_CODE
    words = {str(code) for code in Code if "-" in code} - OTHER_WORDS.keys()
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in words:
                yield path, node.lineno, str(node.value)
            given: list[ast.expr] = []
            if isinstance(node, ast.Call):
                if ast.unparse(node.func).split(".")[-1] in takers:
                    given = node.args[:1]
                given += [one.value for one in node.keywords if one.arg in ("code", "cause", "unknown")]
            elif isinstance(node, ast.Compare) and ast.unparse(node.left).endswith(".code"):
                given = node.comparators
            for one in given:
                for part in ast.walk(one) if not isinstance(one, ast.Call) else ():
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield path, node.lineno, part.value


def test_no_code_is_written_as_text() -> None:
    assert sorted(set(literals())) == []


def test_each_member_is_used_by_the_product() -> None:
    used = {
        node.attr
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "Code"
    }
    by_framework = {code.name for code in Code if code.stage is Stage.SERVER}  # `server_code` finds them
    assert {code.name for code in Code} - used - by_framework == {code.name for code in BY_PAGE}
    scripts = "".join(path.read_text() for path in sorted(FACE.rglob("*.ts")))
    assert {code for code in BY_PAGE if f'refuse("{code}"' not in scripts} == set()


@pytest.mark.parametrize("code", Code)
def test_a_member_is_its_word_and_one_plain_sentence(code: Code) -> None:
    assert code.name == code.upper().replace("-", "_")
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code) and len(code) <= 64
    assert re.fullmatch(r"[^\n]{8,110}\.", code.sentence)
    assert code.sentence[0].isupper() or code.sentence.startswith(("--", "ε"))
    assert code.http is None or 400 <= code.http < 600
    assert code.stage is not Stage.UNKNOWN


def test_the_documents_have_the_tables_of_the_registry() -> None:
    done = subprocess.run([sys.executable, ROOT / ".ci" / "codes", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_two_members_have_one_sentence() -> None:
    assert len({code.sentence for code in Code}) == len(Code)


def test_a_code_is_text_on_every_way_out() -> None:
    assert f"{Code.REVOKED}" == str(Code.REVOKED) == "revoked"
    assert json.dumps({"code": Code.REVOKED}) == '{"code": "revoked"}'
    assert canonical({"code": Code.REVOKED}) == b'{"code":"revoked"}'
    assert {Code.REVOKED: 1}["revoked"] == 1  # type: ignore[index]
    assert pickle.loads(pickle.dumps(Code.REVOKED)) is Code.REVOKED
    assert repr(SealroomError(Code.REVOKED, "no")) == "SealroomError('revoked', 'no')"


def test_a_word_of_another_version_stays_visible_and_is_final() -> None:
    refusal = Refusal.parse(b'{"code":"too-tired","message":"words of a later version"}')
    assert refusal.code == "too-tired" and refusal.to_json()["code"] == "too-tired"
    assert (refusal.code.stage, refusal.code.transient, refusal.code.exit) == (
        Stage.UNKNOWN, False, Exit.REFUSED,
    )  # fmt: skip
    assert refusal.code not in list(Code) and Code.parse("revoked") is Code.REVOKED
    assert canonical({"code": refusal.code}) == b'{"code":"too-tired"}'
