# SPDX-License-Identifier: Apache-2.0
"""The contracts' README is true: its console lines run, its commands, tests and proofs exist."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ape
import click
import pytest
from click.testing import CliRunner
from eth_account import Account
from scripts.govern import cli as govern

from tests.contracts.conftest import Room
from tests.contracts.test_signatures import key
from tests.local_chain import ROOT

README = (ROOT / "contracts" / "README.md").read_text()
TESTS = ROOT / "tests" / "contracts"
ALIAS, PASSPHRASE = "hospital-a", "correct horse battery staple"
NAMES = {"project", "accounts", "chain", "networks", "convert", "Contract"}
"""Names of `ape console` that its lines may use."""


def block(language: str) -> str:
    """The one code block of this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(found)


# --- console --------------------------------------------------------------------------------------


@pytest.fixture
def owner_s_key(room: Room) -> Iterator[None]:
    """The first owner's key, encrypted, as `ape accounts import` puts it."""
    path = Path(ape.config.DATA_FOLDER) / "accounts" / f"{ALIAS}.json"
    assert not path.exists(), f"{path} is in the way"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(Account.encrypt(key(room.owners[0]), PASSPHRASE)))
    yield
    path.unlink()


@pytest.mark.usefixtures("owner_s_key")
def test_the_console_lines_work(room: Room, project: Any) -> None:
    """One after the other in the names that `ape console` gives; the last one asks before it signs."""
    study = room.study()
    room.pin(study)
    names: dict[str, Any] = {name: getattr(ape, name) for name in ape.__all__ if name in NAMES}
    names |= {"project": project, "C": room.address}
    shown = []
    with CliRunner().isolation(input=f"y\n{PASSPHRASE}\nn\n") as (asked, *_):
        for line in block("python").splitlines():
            if isinstance(ast.parse(line).body[0], ast.Expr):
                shown.append(eval(line, names))
            else:
                exec(line, names)
        questions = asked.getvalue().decode()
    state, owners, approvals, allowed, allowances, revoked = shown
    assert state == (True, study.nonce + 1, [])
    assert [account for _, account in owners] == [owner.address for owner in room.owners]
    assert approvals == [owner.address for owner in room.owners[:2]]
    assert allowed is True
    assert [allowance.runsPerDay for allowance in allowances] == [10, 10]
    assert not revoked.failed
    assert "Sign:" in questions
    assert room.state().revokers == (room.owners[0].address.lower(),)


# --- commands -------------------------------------------------------------------------------------


def test_each_command_of_govern_that_is_listed_exists() -> None:
    (listed,) = re.findall(r"^ape run govern --help +# (.*), …$", block("sh"), re.MULTILINE)
    assert isinstance(govern, click.Group)
    assert len(listed.split(", ")) > 8
    assert set(listed.split(", ")) <= set(govern.commands)


# --- tests and proofs -----------------------------------------------------------------------------


def plain() -> str:
    """The text without code, and links as they are read."""
    text = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`\n]*`", "", text))


def sources() -> dict[str, str]:
    """Text of each file of tests and proofs, by the name that the README calls it."""
    paths = [*TESTS.rglob("*.sol"), *TESTS.glob("*.py")]
    return {path.name: path.read_text() for path in paths}


def named(text: str) -> set[str]:
    """Each name in the text that has words joined by _, also one whose beginning or end is left out."""
    return set(re.findall(r"…?\b\w+_\w+\b…?", text))


def test_each_test_and_proof_that_is_named_exists() -> None:
    files = sources()
    known = {name for text in files.values() for name in re.findall(r"\b(?:function|def) (\w+)\(", text)}
    known |= {Path(name).stem for name in files}
    names = named(plain())
    assert len(names) > 40

    def exists(name: str) -> bool:
        return any(name.strip("…") in one for one in known)

    assert {name for name in names if not exists(name)} == set()
    assert not exists("a_test_that_is_not_there")


def test_each_file_of_tests_that_is_named_exists() -> None:
    files = {name.removesuffix(".sol").removesuffix(".py") for name in sources()}
    names = set(re.findall(r"\b(\w+\.t)\b", plain())) | set(re.findall(r"\b(test_\w+)\.py\b", plain()))
    assert len(names) > 12
    assert names - files == set()


def test_every_proof_is_named() -> None:
    """A proof that the table does not tell of proves nothing to anybody."""
    proofs = {
        name
        for path in (TESTS / "symbolic").glob("*.t.sol")
        for name in re.findall(r"\bfunction check_(\w+)\(", path.read_text())
    }
    cited = re.findall(r"[\w]+", " ".join(named(plain())))
    assert len(proofs) > 25
    assert {proof for proof in proofs if not any(one in proof for one in cited)} == set()
