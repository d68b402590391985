# SPDX-License-Identifier: Apache-2.0
"""The files of the verifier's wheel: the command's module, and what it imports, at once or later, of our own.

Where a module imports what a verifier never runs, `LEFT_OUT` says so. So each file in the wheel is one of
`sealroom`, and none is kept twice.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"sealroom": ROOT / "enclave", "sealroom_agents": ROOT / "agents"}
START = "sealroom_agents.cli.verify_alone"
LISTED = "sealroom.privacy.kinds"
"""A package that imports each module that it finds in its folder."""
LEFT_OUT = {
    "sealroom.privacy.quanta": "rounds values of a table",
    "sealroom.runtime": "what `import sealroom` offers to a script in the enclave",
    "sealroom.sealed": "what `import sealroom` offers to owners",
    "sealroom.training.weights": "computes with the weights of a model",
    "sealroom_agents.config": "the configuration of a local room's processes",
}
"""Modules and packages that are imported late, and not by a walk; with what they are for."""
DATA = ("chain/abi/*.json", "py.typed")
"""What modules read beside them."""
BUNDLER = ROOT / ".ci" / "face"
PAGE = ROOT / "agents/sealroom_agents/console/static/built/verify.html"
"""What `--page` writes."""


def source(module: str) -> Path | None:
    """The file of one of our modules; `None` for a name in a module, and for others' modules."""
    top, *inner = module.split(".")
    if top not in PACKAGES or any(module == one or module.startswith(f"{one}.") for one in LEFT_OUT):
        return None
    place = PACKAGES[top].joinpath(top, *inner)
    found = (place / "__init__.py", place.with_suffix(".py"))
    return next((path for path in found if path.is_file()), None)


def imported(tree: ast.AST) -> Iterator[str]:
    """Modules that a file imports wherever it does, save for its types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        else:
            yield from imported(node)


def closure() -> list[Path]:
    """The sources of the verifier, with the packages that they are in."""
    found: dict[Path, None] = {}
    kinds = PACKAGES["sealroom"].joinpath(*LISTED.split("."))
    waiting = [START, *(f"{LISTED}.{path.stem}" for path in kinds.glob("*.py"))]
    while waiting:
        module = waiting.pop()
        path = source(module)
        if "." in module:
            waiting.append(module.rpartition(".")[0])
        if path is None or path in found:
            continue
        found[path] = None
        waiting += imported(ast.parse(path.read_bytes()))
    return sorted(found)


class Sources(BuildHookInterface[Any]):
    """Puts them into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name each file, and its place. The page is made anew where node is there."""
        if BUNDLER.exists():
            subprocess.run(["node", BUNDLER], check=True, cwd=ROOT)
        beside = [path for top in PACKAGES for one in DATA for path in (PACKAGES[top] / top).glob(one)]
        for path in (*closure(), *beside, PAGE):
            base = next(base for base in PACKAGES.values() if path.is_relative_to(base))
            build_data["force_include"][str(path)] = path.relative_to(base).as_posix()
