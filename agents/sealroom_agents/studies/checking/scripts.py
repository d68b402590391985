# SPDX-License-Identifier: Apache-2.0
"""The script of a study: lines that rendering refuses, modules that the image has not, and names that the
recipe does not declare."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from sealroom.codes import Code
from sealroom.privacy.kinds import KINDS
from sealroom.recipe import Recipe
from sealroom.recipe.recipe import ANALYSIS_FILE
from sealroom.spelling import nearest
from sealroom.visible import visible
from sealroom_agents.studies.checking.findings import Findings
from sealroom_agents.studies.positions import Place

IMAGE_HAS = "it has numpy, pandas, pyarrow, duckdb, scikit-learn, torch and what they need"
_LOCK = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)


def image_packages() -> frozenset[str]:
    """The packages of the enclave's image, by their names in the lock that it installs."""
    here = Path(__file__)
    for place in (here.parents[1] / "image.lock", here.parents[4] / "enclave" / "requirements.lock"):
        if place.exists():
            return frozenset(_normal(name) for name in _LOCK.findall(place.read_text()))
    raise FileNotFoundError("the lock of the enclave's image")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def script_text(folder: Path, findings: Findings) -> None:
    """Lines of a script that rendering refuses, and modules that the image has not."""
    try:
        text = (folder / ANALYSIS_FILE).read_text()
    except (OSError, UnicodeDecodeError):
        return
    for number, line in enumerate(text.split("\n"), 1):
        column = next((at for at, one in enumerate(line, 1) if not visible(one)), None)
        if column is not None:
            findings.error(
                Place(ANALYSIS_FILE, number, column), Code.RECIPE_ANALYSIS,
                f"the character U+{ord(line[column - 1]):04X} does not show",
                "indent by spaces, and write what is invisible by its escape",
            )  # fmt: skip
        elif line.endswith(" "):
            findings.error(
                Place(ANALYSIS_FILE, number, len(line.rstrip(" ")) + 1), Code.RECIPE_ANALYSIS,
                "spaces at the end of the line", "remove them",
            )  # fmt: skip
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        findings.error(
            Place(ANALYSIS_FILE, error.lineno, error.offset), Code.RECIPE_ANALYSIS,
            f"{ANALYSIS_FILE} is not Python: {error.msg}",
        )  # fmt: skip
        return
    except ValueError:
        return
    _imports(tree, findings)


def _imports(tree: ast.Module, findings: Findings) -> None:
    for node, what, hint in missing_modules(tree):
        findings.error(
            Place(ANALYSIS_FILE, node.lineno, node.col_offset + 1), Code.RECIPE_ANALYSIS, what, hint
        )


def missing_modules(tree: ast.Module) -> Iterator[tuple[ast.stmt, str, str]]:
    """Import statements of modules that the image has not: what is wrong, and a hint."""
    packages, installed = image_packages(), importlib.metadata.packages_distributions()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if not node.level else ["."]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            owners = {_normal(each) for each in installed.get(top, [top])}
            if top == "sealroom" or top in sys.stdlib_module_names or owners & packages:
                continue
            what = (
                f"the enclave's image has no module {top}"
                if top
                else "a script is one file, and has no package"
            )
            near = nearest(top, sorted(packages))
            yield node, what, f"did you mean {near}?" if near else IMAGE_HAS


def names(recipe: Recipe, findings: Findings) -> None:
    """Names in a script that the recipe does not declare, and what it never hands in."""
    if recipe.relation is not None:
        return
    tree = ast.parse(recipe.analysis)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    texts = {each.value for each in ast.walk(tree) if isinstance(each, ast.Constant)}
    paths = [spec.path for spec in recipe.datasets]
    fields = {field.name: field.kind.name for field in recipe.output.fields}
    for call in calls:
        place = Place(ANALYSIS_FILE, call.lineno, call.col_offset + 1)
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
        first = call.args[0] if call.args else None
        text = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None
        if name == "unwrap" and text is not None and text not in paths:
            findings.error(
                place, Code.UNDECLARED_DATASET, f"the recipe reads no dataset {text}",
                f"did you mean {findings.guess(text, paths) or paths[0]}?",
            )  # fmt: skip
        elif name in KINDS and isinstance(call.func, ast.Attribute) and text is not None:
            if not recipe.guarantee.by_blocks and (text not in fields or fields[text] != name):
                right = [each for each, kind in fields.items() if kind == name]
                if text in fields or _is_table(call.func.value, tree):
                    findings.error(
                        place, Code.UNDECLARED_FIELD, f"the recipe declares no {name} {text}",
                        f"fields of this kind: {', '.join(right)}" if right else None,
                    )  # fmt: skip
        elif name == "emit_block" and isinstance(first, ast.Dict):
            keys = [str(each.value) for each in first.keys if isinstance(each, ast.Constant)]
            for key in keys:
                if key not in fields:
                    findings.error(
                        place, Code.UNDECLARED_FIELD, f"the recipe declares no field {key}",
                        f"did you mean {findings.guess(key, fields) or ', '.join(fields)}?",
                    )  # fmt: skip
    ends = ("emit_block", "emit_signed") if recipe.guarantee.by_blocks else ("emit_signed",)
    called = {getattr(call.func, "id", getattr(call.func, "attr", None)) for call in calls}
    if not called.intersection(ends):
        findings.error(
            Place(ANALYSIS_FILE), Code.MISSING_FIELD, f"the script never calls {' or '.join(ends)}",
            f"end it with {ends[0]}(…)",
        )  # fmt: skip
    for missing in [each for each in fields if each not in texts]:
        findings.warning(
            Place(ANALYSIS_FILE), Code.MISSING_FIELD, f"the script does not name the field {missing}",
            "every declared field must be handed in",
        )  # fmt: skip


def _is_table(node: ast.expr, tree: ast.Module) -> bool:
    """Whether an expression is `private(…)`, or a name that is set to one."""
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", None) == "private"
    if not isinstance(node, ast.Name):
        return False
    return any(
        isinstance(each, ast.Assign)
        and isinstance(each.value, ast.Call)
        and getattr(each.value.func, "id", None) == "private"
        and any(isinstance(target, ast.Name) and target.id == node.id for target in each.targets)
        for each in ast.walk(tree)
    )
