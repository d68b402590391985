# SPDX-License-Identifier: Apache-2.0
"""What is certain to fail in a study, and what is likely to: all of it at once, each with its line.

Each section of study.yaml is judged by the reader that rendering uses, one after another, so that one fault
hides no other; at the end the study is rendered, so that nothing is missed. What rendering does not look at
comes on top: imports that the image has not, names in a script that the recipe does not declare, labels that
the SQL never gives, groups too small to be told, time too short.
"""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.errors import FormatError, RecipeError, SealroomError
from sealroom.guarantee import GUARANTEES
from sealroom.model import REGIMES
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.plan import Draft
from sealroom.recipe import Recipe, parse, render, yamltext
from sealroom.recipe.appcompose import check_image
from sealroom.recipe.contract import Privacy
from sealroom.recipe.outputs import read_draft
from sealroom.recipe.recipe import ANALYSIS_FILE, STUDY_FILE, yaml_hint
from sealroom.recipe.relation import Relation
from sealroom.recipe.tables import DatasetSpec, Schema
from sealroom.runtime.clock import margin
from sealroom.schema import check_column_name, parse_type
from sealroom.schema.types import Category, Struct
from sealroom.visible import visible
from sealroom_agents.studies.expected import cells_of, expected
from sealroom_agents.studies.positions import Path as At
from sealroom_agents.studies.positions import Place, Positions, line_and_column, nearest

OWNERS_FILE = "owners.json"
START_SECONDS = 5.0
"""What a job takes to start and load, on an idle machine."""
ROWS_A_SECOND = 3_000_000
"""Rows that a relation reads and groups, as measured with 78 million rows on two cores."""
SCRIPT_ROWS_A_SECOND = 1_000_000
"""Rows that a script gets as a table, of some ten columns."""
KERNEL_ROWS_A_SECOND = 8_000_000
"""Rows that the kernel clips and sums in one round of one field."""
NUMBERS_A_SECOND = 60_000
"""Noisy integers that are drawn."""
IMAGE_HAS = "it has numpy, pandas, pyarrow, duckdb, torch and what they need"
FAR = 3.0
"""An estimate of time that is exceeded by so much is certain."""
_LOCK = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
_ONE_OF = frozenset(("any_value", "arg_max", "arg_min", "first", "last", "max", "min", "mode"))
"""Functions whose result is one of the values that they take."""
_QUERY_LINE = re.compile(r",? in line (\d+) of the query|line (\d+) of the query")
_YAML_LINE = re.compile(r" in line (\d+)")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    certain: bool
    """An error; else a warning."""
    code: str
    message: str
    hint: str | None
    place: Place


class _Findings:
    def __init__(self) -> None:
        self.found: list[Finding] = []

    def error(self, place: Place, code: Code, message: str, hint: str | None = None) -> None:
        self._add(Finding(certain=True, code=code, message=message, hint=hint, place=place))

    def warning(self, place: Place, code: Code, message: str, hint: str | None = None) -> None:
        self._add(Finding(certain=False, code=code, message=message, hint=hint, place=place))

    def _add(self, finding: Finding) -> None:
        if finding not in self.found:
            self.found.append(finding)


def check(folder: Path, *, people: int | None = None, rows: int | None = None) -> list[Finding]:
    """All findings, those that are certain first, in order of their places.

    `people` of all owners together, `rows` of all datasets: where they are known, sizes and times are judged.
    """
    findings = _Findings()
    study = _Study(folder, findings)
    if study.content is not None:
        study.sections()
    recipe = study.rendered()
    if recipe is not None:
        _scripts(recipe, findings)
        _labels(recipe, study.positions, findings)
        _sizes(recipe, study.positions, findings, people, rows)
        _owners(folder, recipe, findings)
    return sorted(
        findings.found,
        key=lambda each: (not each.certain, each.place.file != STUDY_FILE, each.place.line or 0),
    )


class _Study:
    """study.yaml, section by section."""

    def __init__(self, folder: Path, findings: _Findings) -> None:
        self._folder, self._findings = folder, findings
        self.content: dict[str, Any] | None = None
        text = ""
        try:
            written = (folder / STUDY_FILE).read_text()
            content = yamltext.load(written)
            self.content = content if isinstance(content, dict) else None
            text = written  # what the strict reader takes has no aliases that grow, and no depth
        except (OSError, UnicodeDecodeError):
            pass  # rendering says so
        except FormatError as error:
            line = _YAML_LINE.search(error.message)
            findings.error(
                Place(STUDY_FILE, int(line[1]) if line else None), Code.RECIPE_MALFORMED, error.message,
                yaml_hint(error.message),
            )  # fmt: skip
        self.positions = Positions(STUDY_FILE, text)
        self.schemas: dict[str, Schema] = {}
        self.datasets: list[DatasetSpec] = []
        self.drafts: dict[int, Draft] = {}
        """Fields, by their place."""

    def sections(self) -> None:
        """Judge each section that is there."""
        study = self.content or {}
        self._try(("image",), lambda: check_image(study["image"]))
        guarantee = GUARANTEES.get(str(study.get("guarantee")))
        schemas = study.get("schemas")
        for name, value in schemas.items() if isinstance(schemas, dict) else ():
            schema = self._schema(name, value)
            if schema is not None:
                self.schemas[name] = schema
        broken = set(schemas if isinstance(schemas, dict) else ()) - self.schemas.keys()
        for place, value in enumerate(_list(study.get("datasets"))):
            if isinstance(value, dict) and value.get("schema") in broken:
                continue  # what is wrong stands there
            spec = self._try(("datasets", place), partial(DatasetSpec.read, value, self.schemas))
            if spec is not None:
                self.datasets.append(spec)
        self._try(("privacy",), lambda: Privacy.read(study["privacy"], loose=True))
        output = study.get("output")
        if isinstance(output, dict):
            groups = output.get("groups")
            declared = {
                name: tuple(keys)
                for name, keys in (groups.items() if isinstance(groups, dict) else ())
                if isinstance(keys, list)
            }
            blocks = study.get("blocks")
            blocks = blocks if isinstance(blocks, int) and guarantee and guarantee.by_blocks else None
            for place, value in enumerate(_list(output.get("fields"))):
                draft = self._try(("output", "fields", place), partial(read_draft, value, declared, blocks))
                if draft is not None:
                    self.drafts[place] = draft
        if guarantee is not None and not guarantee.by_script and "relation" in study:
            relation = self._try(("relation",), lambda: Relation.read(study["relation"]))
            if relation is not None and self.schemas:
                self._sql(relation)
        if guarantee is not None and guarantee.by_script:
            _script_text(self._folder, self._findings)

    def rendered(self) -> Recipe | None:
        """The whole, as owners would get it."""
        try:
            return parse(render(self._folder))
        except RecipeError as error:
            said = [each.message for each in self._findings.found]
            known = any(error.message in each or each in error.message for each in said)
            # What is not read of a file that is broken has no line of its own.
            if not known and not (self.content is None and said):
                self._refused((), error)
            return None

    def _try(self, at: At, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except RecipeError as error:
            self._refused(at, error)
        except KeyError:
            pass  # rendering says what is missing
        return None

    def _refused(self, at: At, error: SealroomError) -> None:
        named = self.positions.named(at, error.message)
        if not named:  # of a fault of the whole, the field or the member of `output` that it names
            named = self.positions.named(("output", "fields"), error.message)
            named = named if named[2:] else self.positions.named(("output",), error.message)
            named = named if named[1:] else ()
        place = self.positions.of(named)
        line = _QUERY_LINE.search(error.message)
        if line is not None:
            place = self.positions.within(("relation", "sql"), int(line[1] or line[2]))
        elif error.code == Code.RECIPE_ANALYSIS:
            place = Place(ANALYSIS_FILE)
        self._findings.error(place, error.code, error.message, error.hint)

    def _schema(self, name: str, value: Any) -> Schema | None:
        """Each column for itself, then the whole."""
        columns = value.get("columns") if isinstance(value, dict) else None
        wrong = False
        for column, kind in columns.items() if isinstance(columns, dict) else ():
            try:
                check_column_name(column)
                parse_type(kind, column=column)
            except FormatError as error:
                wrong = True
                self._findings.error(
                    self.positions.of(("schemas", name, "columns", column)), Code.RECIPE_MALFORMED,
                    f"the schema {name}: {error.message}", error.hint,
                )  # fmt: skip
        if wrong:
            return None
        return self._try(("schemas", name), lambda: Schema.read(name, value))

    def _sql(self, relation: Relation) -> None:
        """Every column that no table and no alias has; then what the compiler says first."""
        from sealroom.relation.compiled import parse_sql
        from sealroom.relation.front import Front
        from sealroom.relation.inputs import inputs_of

        places: dict[int, int] = {}
        at: At = ("relation", "sql")
        try:
            tree = parse_sql(relation.sql, places)
            inputs = {each.name: each for each in inputs_of(self.schemas.values(), self.datasets)}
        except RecipeError as error:
            self._refused(at, error)
            return
        unknown = False
        for name, place in _unknown_columns(tree, places, self.schemas.values()):
            unknown = True
            near = nearest(name, _column_names(self.schemas.values()))
            self._findings.error(
                self._in_sql(relation.sql, place), Code.RELATION_NAME, f"there is no column {name}",
                f"did you mean {near}?" if near else "declare it in the schema, or name one that is there",
            )  # fmt: skip
        if unknown:
            return
        front = Front(inputs, places=places)
        try:
            self._columns_of(list(front.read(tree, relation.rows).names))
        except RecipeError as error:
            self._findings.error(
                self._in_sql(relation.sql, front.place), error.code, error.message,
                error.hint and error.hint.replace("{unit}", next(iter(self.schemas.values())).unit),
            )  # fmt: skip
        except RecursionError:
            pass  # rendering says so

    def _columns_of(self, given: list[str]) -> None:
        """Columns that fields read, and the query does not give."""
        for place, draft in self.drafts.items():
            read = draft.kind.columns(draft.spec)
            for name in (*read.numbers, *read.groups):
                if name in given:
                    continue
                near = nearest(name, given)
                at = self.positions.valued(("output", "fields", place), name)
                self._findings.error(
                    self.positions.of(at), Code.RECIPE_COLUMN,
                    f"the field {draft.name} uses {name}, and the relation has no such column",
                    f"did you mean {near}?" if near else f"its columns are: {', '.join(given)[:200]}",
                )  # fmt: skip

    def _in_sql(self, sql: str, place: int | None) -> Place:
        if place is None:
            return self.positions.of(("relation", "sql"))
        return self.positions.within(("relation", "sql"), *line_and_column(sql, place))


# --- SQL ---------------------------------------------------------------------------------------------


def _nodes(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
        for each in value.values():
            yield from _nodes(each)
    elif isinstance(value, list):
        for each in value:
            yield from _nodes(each)


def _column_names(schemas: Any) -> list[str]:
    found = []
    for schema in schemas:
        for name, kind in schema.columns:
            found.append(name)
            if isinstance(kind, Struct):
                found += [inner for inner, _ in kind.fields]
    return found


def _unknown_columns(tree: Any, places: Mapping[int, int], schemas: Any) -> Iterator[tuple[str, int | None]]:
    """Columns that a query names, and neither a schema has nor the query makes, with their places."""
    known = {name.lower() for name in _column_names(schemas)} | {"owner"}
    tables: set[str] = set()
    for node in _nodes(tree):
        if node.get("alias"):
            known.add(str(node["alias"]).lower())
        for member in ("column_name_alias", "aliases"):
            known |= {str(each).lower() for each in node.get(member) or ()}
        tables |= {
            str(node[each]).lower() for each in ("table_name", "key") if isinstance(node.get(each), str)
        }
    seen: set[str] = set()
    for node in _nodes(tree):
        names = node.get("column_names")
        if node.get("class") != "COLUMN_REF" or not names:
            continue
        lower = str(names[-1]).lower()
        if lower not in known | tables | seen:
            seen.add(lower)
            yield str(names[-1]), places.get(id(node))


def _labels(recipe: Recipe, positions: Positions, findings: _Findings) -> None:
    """Groups whose labels are not those that the SQL gives: constants, or a category as it is."""
    if recipe.relation is None:
        return
    from sealroom.relation.compiled import parse_sql

    tree = parse_sql(recipe.relation.sql)
    kinds = {name.lower(): kind for schema in recipe.schemas for name, kind in schema.columns}
    for group, labels in recipe.output.groups.items():
        items = [
            item
            for node in _nodes(tree)
            for item in node.get("select_list") or ()
            if isinstance(item, Mapping) and str(item.get("alias")).lower() == group.lower()
        ]
        at: At = ("output", "groups", group)
        given = _constants(items[0]) if len(items) == 1 else None
        source = f"the SQL gives {', '.join(map(repr, given or ()))}"
        kept = given is None and all(_keeps(node, group) for node in _nodes(tree) if _names(node, group))
        values = given if not kept else _category_values(recipe, group)
        if values is None:
            continue
        if kept:
            source = f"the schema's values are {', '.join(values)[:200]}"
        for label in [each for each in labels if each not in values]:
            near = nearest(label, values)
            findings.error(
                positions.of(at), Code.RECIPE_COLUMN, f"no person is ever in the group {group} {label!r}",
                source + (f"; did you mean {near!r}?" if near else ""),
            )  # fmt: skip
        # Of a column as it is, a study may count some values alone.
        for label in [each for each in given or () if each not in labels]:
            findings.warning(
                positions.of(at), Code.RECIPE_COLUMN, f"people with {group} {label!r} count in no group",
                "declare the label, if they should",
            )  # fmt: skip
    for node in _nodes(tree):
        if node.get("class") != "COMPARISON":
            continue
        left, right = node.get("left"), node.get("right")
        for one, other in ((left, right), (right, left)):
            if not isinstance(one, Mapping) or one.get("class") != "COLUMN_REF":
                continue
            kind, text = kinds.get(one["column_names"][-1].lower()), _constant(other)
            if isinstance(kind, Category) and text is not None and text not in kind.values:
                findings.warning(
                    positions.of(("relation", "sql")), Code.RECIPE_COLUMN,
                    f"{one['column_names'][-1]} is never {text!r}",
                    f"its values are {', '.join(kind.values)[:200]}",
                )  # fmt: skip


def _names(node: Mapping[str, Any], name: str) -> bool:
    """Whether a part of a query gives something this name."""
    given = [node.get("alias"), node.get("key")]
    for member in ("column_name_alias", "aliases"):
        given += node.get(member) or ()
    return name.lower() in [str(each).lower() for each in given if each]


def _keeps(item: Mapping[str, Any], name: str) -> bool:
    """Whether an item that is called `name` has values of the column `name` alone."""
    if item.get("class") == "COLUMN_REF":
        return str(item["column_names"][-1]).lower() == name.lower()
    if item.get("function_name") not in _ONE_OF:
        return False
    given = [each.get("expression", each) for each in item.get("arguments") or item.get("children") or ()]
    return bool(given) and isinstance(given[0], Mapping) and _keeps(given[0], name)


def _category_values(recipe: Recipe, name: str) -> list[str] | None:
    """What a column can hold, if it is a category in every schema that has it."""
    kinds = [
        kind for schema in recipe.schemas for column, kind in schema.columns if column.lower() == name.lower()
    ]
    values = [value for kind in kinds if isinstance(kind, Category) for value in kind.values]
    return list(dict.fromkeys(values)) if kinds and all(isinstance(k, Category) for k in kinds) else None


def _constants(item: Mapping[str, Any]) -> list[str] | None:
    """The texts that a CASE gives, if it gives constants alone."""
    if item.get("class") != "CASE":
        return None
    given = [each["then_expr"] for each in item.get("case_checks") or ()] + [item.get("else_expr")]
    found = []
    for each in given:
        literal = each.get("literal") if isinstance(each, Mapping) else None
        if literal is None:
            return None
        if literal.get("kind") != "NULL_LITERAL":
            found.append(str(literal.get("text")))
    return list(dict.fromkeys(found))


def _constant(node: Any) -> str | None:
    literal = node.get("literal") if isinstance(node, Mapping) else None
    return None if literal is None or literal.get("kind") != "STRING" else str(literal.get("text"))


# --- scripts -----------------------------------------------------------------------------------------


def image_packages() -> frozenset[str]:
    """The packages of the enclave's image, by their names in the lock that it installs."""
    here = Path(__file__)
    for place in (here.with_name("image.lock"), here.parents[3] / "enclave" / "requirements.lock"):
        if place.exists():
            return frozenset(_normal(name) for name in _LOCK.findall(place.read_text()))
    raise FileNotFoundError("the lock of the enclave's image")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _script_text(folder: Path, findings: _Findings) -> None:
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


def _imports(tree: ast.Module, findings: _Findings) -> None:
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


def _scripts(recipe: Recipe, findings: _Findings) -> None:
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
                f"did you mean {nearest(text, paths) or paths[0]}?",
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
                        f"did you mean {nearest(key, list(fields)) or ', '.join(fields)}?",
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


# --- sizes -------------------------------------------------------------------------------------------


def _sizes(
    recipe: Recipe, positions: Positions, findings: _Findings, people: int | None, rows: int | None
) -> None:
    if people is None and recipe.relation is not None:
        people = recipe.relation.people
    if people is not None and recipe.blocks is None:
        _cohorts(recipe, positions, findings, people)
    if recipe.blocks is not None and people is not None and people < 10 * recipe.blocks:
        findings.warning(
            positions.of(("blocks",)), Code.RECIPE_BOUNDS,
            f"{recipe.blocks} blocks of {people:,} people have fewer than 10 each", "declare fewer blocks",
        )  # fmt: skip
    _errors(recipe, positions, findings, people)
    _times(recipe, positions, findings, people, rows)


def _field_at(recipe: Recipe, name: str) -> At:
    return ("output", "fields", [each.name for each in recipe.output.fields].index(name))


def _cohorts(recipe: Recipe, positions: Positions, findings: _Findings, people: int) -> None:
    """Groups that stay below the minimum cohort."""
    least = recipe.privacy.minimum_cohort
    if people < least:
        findings.error(
            positions.of(("privacy", "minimum_cohort")), Code.RECIPE_BOUNDS,
            f"all {people:,} people together are fewer than the minimum cohort of {least:,}",
            "nothing but nulls would leave: lower it, or ask more people",
        )  # fmt: skip
        return
    for field in recipe.output.fields:
        cells = cells_of(field, recipe)
        if people < least * cells:
            findings.warning(
                positions.of(_field_at(recipe, field.name)), Code.RECIPE_BOUNDS,
                f"{people:,} people in {cells:,} equal groups of {field.name} are {people // cells:,} each,"
                f" fewer than the minimum cohort of {least:,}",
                "declare fewer groups, or a smaller minimum_cohort",
            )  # fmt: skip


def _errors(recipe: Recipe, positions: Positions, findings: _Findings, people: int | None) -> None:
    """Fields whose noise is wider than what they tell."""
    for field in recipe.output.fields:
        plain = field.kind.plain(field.spec)
        foretold = expected(field, recipe, people)
        at = positions.of(_field_at(recipe, field.name))
        for bar in foretold.bars:
            if bar.about in ("people in a group", "rows in a group") and foretold.each is not None:
                most, of = float(foretold.each), f"{foretold.each:,} in a group"
            elif "percent" in bar.about:
                most, of = 100.0, "100 percent"
            elif bar.about.startswith("mean of") and {"lower", "upper"} <= plain.keys():
                most = float(plain["upper"]) - float(plain["lower"])
                of = f"the {most:g} from lower to upper"
            else:
                continue
            if bar.half_width >= most:
                findings.error(
                    at, Code.RECIPE_BUDGET,
                    f"{field.name}: {bar.about} is off by ±{bar.half_width:.3g}, as much as {of}",
                    "give the field a larger share, the study more ε, or declare fewer groups",
                )  # fmt: skip
            elif bar.half_width >= most / 4:
                findings.warning(
                    at, Code.RECIPE_BUDGET,
                    f"{field.name}: {bar.about} is off by ±{bar.half_width:.3g}, of {of}",
                    "give the field a larger share, the study more ε, or declare fewer groups",
                )  # fmt: skip


def estimated_seconds(recipe: Recipe, rows: int, people: int) -> float:
    """About how long a run takes from the grant to its result, on two cores; by blocks, of one block."""
    if recipe.blocks is not None:
        return START_SECONDS / 2 + rows / recipe.blocks / SCRIPT_ROWS_A_SECOND
    rate = SCRIPT_ROWS_A_SECOND if recipe.relation is None else ROWS_A_SECOND
    rounds = sum(field.kind.rounds(field.spec) for field in recipe.output.fields)
    parts = [part for field in recipe.output.fields for part in field.parts(recipe.rows).values()]
    numbers = sum(part.length * part.draws for part in parts)
    handed = people * recipe.rows
    return START_SECONDS + rows / rate + rounds * handed / KERNEL_ROWS_A_SECOND + numbers / NUMBERS_A_SECOND


def _times(
    recipe: Recipe, positions: Positions, findings: _Findings, people: int | None, rows: int | None
) -> None:
    """Whether the analysis ends in the time that the recipe gives it."""
    rows = rows if rows is not None else people
    if rows is None:
        return
    after = recipe.privacy.release_after_seconds
    has = (after - 1.5 * margin(after)) / recipe.blocks if recipe.blocks else after - margin(after)
    needed = estimated_seconds(recipe, rows, min(people if people is not None else rows, rows))
    if needed > has:
        tell = findings.error if needed > FAR * has else findings.warning
        what = "a block" if recipe.blocks else "the analysis"
        tell(
            positions.of(("privacy", "release_after_seconds")), Code.JOB_TIMEOUT,
            f"{what} has {has:.0f} seconds, and takes about {needed:.0f} with {rows:,} rows",
            f"set release_after_seconds to about {2 * after * needed / has:.0f}",
        )  # fmt: skip


def _owners(folder: Path, recipe: Recipe, findings: _Findings) -> None:
    """owners.json, if there is one: who is in the consortium."""
    path = folder / OWNERS_FILE
    if not path.exists():
        return
    place = Place(OWNERS_FILE)
    try:
        content = json.loads(path.read_text())
        ids = [str(each["id"]) for each in content["owners"]]
        regimes = [str(one) for each in content["owners"] for one in each["regimes"]]
        threshold = int(content["threshold"])
    except (OSError, ValueError, KeyError, TypeError):
        findings.error(
            place, Code.MALFORMED, f"{OWNERS_FILE} has no owners with an id each, and a threshold",
            "compare it with that of a new study: sealroom study new",
        )  # fmt: skip
        return
    for owner in dict.fromkeys(spec.owner for spec in recipe.datasets if spec.owner not in ids):
        near = nearest(owner, ids)
        findings.error(
            place, Code.OWNER_UNKNOWN, f"{owner} owns a dataset, and is none of the owners in {OWNERS_FILE}",
            f"did you mean {near}?" if near else f"owners are {', '.join(ids)}",
        )  # fmt: skip
    for regime in dict.fromkeys(regimes):
        if regime not in REGIMES:
            findings.error(
                place, Code.MALFORMED, f"{regime!r} is no regime that a contract knows",
                f"known are {', '.join(REGIMES)}",
            )  # fmt: skip
    if not 0 < threshold <= len(ids):
        findings.error(
            place, Code.OWNER_UNKNOWN, f"a threshold of {threshold} of {len(ids)} owners", "lower it"
        )


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
