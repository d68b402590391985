# SPDX-License-Identifier: Apache-2.0
"""What `pyproject.toml` says that each part needs is what it imports: no more, no less."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = {"sealroom", "sealroom_agents"}
AGENTS = (
    "gate",
    "runner",
    "watcher",
    "console",
    "store",
    "config",
    "upkeep",
    "telemetry",
    "demo",
    "host.py",
    "guest_socket.py",
)
"""Parts of `sealroom_agents` that need the extra `agents`; the rest is the owner's and the auditor's."""
STUDIES = ("studies", "fullsize")
"""Parts of `sealroom_agents` that run studies on made-up data, and so need the extra `enclave`."""
ENCLAVE = ("privacy", "runtime", "training")
"""Parts of `sealroom` that need the extra `enclave`; the rest is everybody's."""
THROUGH = {"anyio": "fastapi", "botocore": "s3fs", "pydantic_core": "pydantic", "starlette": "fastapi"}
"""Modules that come with another package by its contract."""
NOT_IMPORTED = {
    "psycopg": "SQLAlchemy loads it for a postgresql:// database",
    "coincurve": "eth-keys is a hundred times as fast with it",
    "python-multipart": "fastapi reads forms with it",
}
"""Declared, and imported by none of our modules."""


def declared(lines: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in lines}


BASE = declared(PROJECT["dependencies"])
EXTRAS = {name: declared(lines) for name, lines in PROJECT["optional-dependencies"].items()}


def imports(path: Path) -> set[str]:
    """Top-level modules that a file imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - OWN - {"__future__"}


@pytest.fixture(scope="module")
def sources() -> dict[Path, set[str]]:
    """What each file of the packages imports."""
    return {
        path: imports(path)
        for folder in ("enclave/sealroom", "agents/sealroom_agents")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "templates" not in path.parts  # studies' scripts, which run in the image
    }


distributions = cache(packages_distributions)


def packages(module: str) -> set[str]:
    names = {name.lower().replace("_", "-") for name in distributions().get(module, [module])}
    return {THROUGH.get(module, name) for name in names}


def allowed(path: Path) -> set[str]:
    """What a module may import: what its part declares, and optional packages, which it imports late."""
    late = EXTRAS["s3"] | EXTRAS["images"] | EXTRAS["dicom"] | EXTRAS["age"] | EXTRAS["torch"]
    side, _, *parts = path.relative_to(ROOT).parts
    needing = [("enclave", ENCLAVE)] if side == "enclave" else [("agents", AGENTS), ("enclave", STUDIES)]
    own = (EXTRAS[extra] for extra, parts_of in needing if parts[0] in parts_of)
    return BASE | late | set[str]().union(*own)


def test_a_module_imports_what_its_part_declares(sources: dict[Path, set[str]]) -> None:
    assert sum(map(len, sources.values())) > 100
    undeclared = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path, modules in sources.items()
        for module in modules
        if not packages(module) & allowed(path)
    ]
    assert undeclared == []


def test_nothing_is_declared_that_nobody_imports(sources: dict[Path, set[str]]) -> None:
    used = {name for modules in sources.values() for module in modules for name in packages(module)}
    every = BASE.union(*EXTRAS.values())
    assert sorted(every - used - NOT_IMPORTED.keys()) == []


def test_the_torch_that_is_set_up_is_the_one_of_the_extra() -> None:
    """The extra is too large to install for a test: the suite runs with the version that it names."""
    pinned = re.search(r"^readonly TORCH=(\S+)", (ROOT / ".ci/setup").read_text(), re.MULTILINE)
    assert pinned is not None
    assert PROJECT["optional-dependencies"]["torch"] == [f"torch=={pinned[1]}"]
