# SPDX-License-Identifier: Apache-2.0
"""What the commands of owners import before they work: modules are counted, and not seconds.

A start of a tenth of a second is lost again by one import. Whoever needs a library where an owner's command
starts imports it in the function that uses it, or says here why all wait for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

HEAVY = frozenset(
    {
        "aiohttp", "cffi", "Crypto", "duckdb", "eth_abi", "eth_account", "eth_keys", "eth_utils", "fsspec",
        "httpx", "numpy", "pandas", "pyarrow", "pycparser", "pydantic", "pyrage", "regex", "rich",
        "sqlalchemy", "torch", "yaml",
        # Of the standard library, with what they bring.
        "asyncio", "difflib", "email", "importlib.metadata", "multiprocessing", "ssl", "subprocess",
        "tomllib",
        # Ours.
        "sealroom.model", "sealroom.recipe", "sealroom.typed", "sealroom_agents.attestation",
        "sealroom_agents.chain", "sealroom_agents.owner.prepare.declared", "sealroom_agents.studycard",
    }
)  # fmt: skip
"""Modules that take longer to import than a command may take to start, or a good part of that."""
ACCOUNT = "0x" + "a1" * 20
PROBE = (
    "import json, sys\n"
    "if sys.argv[1:] == ['pyarrow']: import pyarrow.compute, pyarrow.parquet; main = sys.exit\n"
    "else: from sealroom_agents.cli import main\n"
    "try: main()\n"
    "except SystemExit as ended: assert ended.code in (0, None), ended.code\n"
    "finally: print('\\n' + json.dumps(sorted(sys.modules)), file=sys.stderr)"
)


def imported(folder: Path, *given: str) -> frozenset[str]:
    """Which of the heavy modules one command has imported at its end."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *given], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return HEAVY & set(json.loads(done.stderr.splitlines()[-1]))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file and a table, one sealed dataset of each, and their keys."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "scan.bin").write_bytes(bytes(range(256)) * 100)
    pq.write_table(pa.table({"person": [1, 2], "sex": ["F", "M"]}), folder / "cohort.parquet")
    assert imported(folder, *seal("scan.bin", "--as", "opaque")) == set()
    # Who looks through a table needs what decodes it, with what that brings; and no pandas.
    assert imported(folder, *seal("cohort.parquet")) <= imported(folder, "pyarrow")
    return folder


def seal(source: str, *more: str) -> tuple[str, ...]:
    return ("seal", "--account", ACCOUNT, "--in", source, "--yes", "--json", *more)


def place(name: str, kind: str) -> str:
    return f"{'keys' if kind == 'key' else 'sealed'}/{ACCOUNT}/{name}.{kind}"


@pytest.mark.parametrize(
    "given",
    [
        ("--help",),
        ("--version",),
        *((name, "--help") for name in ("seal", "unseal", "inspect", "profile", "check", "reseal")),
        ("key", "--help"),
        ("key", "list", "--help"),
        ("inspect", place("cohort", "tar"), "--json"),
        ("inspect", place("cohort", "tar"), "--parts"),
        ("check", place("scan", "tar"), "--key", place("scan", "key"), "--json"),
        ("unseal", place("scan", "tar"), "--out", "scan.again"),
        ("unseal", place("cohort", "tar"), "--out", "cohort.again", "--json"),
    ],
    ids=" ".join,
)
def test_an_owners_command_starts_without_what_it_does_not_use(desk: Path, given: tuple[str, ...]) -> None:
    assert imported(desk, *given) == set()


def test_the_probe_sees_what_a_command_imports(desk: Path) -> None:
    assert imported(desk, "profile", "cohort.parquet", "--json") >= {"pyarrow"}
