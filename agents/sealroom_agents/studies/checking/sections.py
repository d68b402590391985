# SPDX-License-Identifier: Apache-2.0
"""study.yaml, section by section, each by the reader that rendering uses."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.errors import FormatError, RecipeError, SealroomError
from sealroom.guarantee import GUARANTEES
from sealroom.privacy.plan import Draft
from sealroom.recipe import Recipe, parse, render, yamltext
from sealroom.recipe.appcompose import check_image
from sealroom.recipe.beside import with_lists
from sealroom.recipe.column_use import Use
from sealroom.recipe.contract import MAX_FIELDS, Privacy
from sealroom.recipe.inference import MAX_INFERENCES, SECTION, Inference, read_inference
from sealroom.recipe.outputs import read_draft
from sealroom.recipe.recipe import ANALYSIS_FILE, BLOCKS, STUDY_FILE, yaml_hint
from sealroom.recipe.relation import Relation
from sealroom.recipe.tables import MAX_DATASETS, DatasetSpec, Schema
from sealroom.schema import check_column_name, parse_type
from sealroom.spelling import nearest
from sealroom_agents.studies.checking.findings import Findings
from sealroom_agents.studies.checking.queries import column_names, unknown_columns
from sealroom_agents.studies.checking.scripts import script_text
from sealroom_agents.studies.positions import Path as At
from sealroom_agents.studies.positions import Place, Positions, line_and_column

_QUERY_LINE = re.compile(r",? in line (\d+) of the query|line (\d+) of the query")
_LAYER = re.compile(r"\blayer (\d+): ")
_UNKNOWN = re.compile(r" the unknown field '([^']+)'")
_YAML_LINE = re.compile(r" in line (\d+)")


class StudyFile:
    """study.yaml, section by section."""

    def __init__(self, folder: Path, findings: Findings) -> None:
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
        self.networks: dict[int, Inference] = {}
        """Networks, by their place."""

    def sections(self) -> None:
        """Judge each section that is there; of a list, as many items as any study may have."""
        study = self.content or {}
        self._try(("image",), lambda: check_image(study["image"]))
        guarantee = GUARANTEES.get(str(study.get("guarantee")))
        schemas = study.get("schemas")
        for name, value in schemas.items() if isinstance(schemas, dict) else ():
            schema = self._schema(name, value)
            if schema is not None:
                self.schemas[name] = schema
        broken = set(schemas if isinstance(schemas, dict) else ()) - self.schemas.keys()
        for place, value in enumerate(_list(study.get("datasets"))[:MAX_DATASETS]):
            if isinstance(value, dict) and str(value.get("schema")) in broken:
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
            blocks = None
            if guarantee is not None and guarantee.by_blocks:
                blocks = study.get("blocks")
                # rendering says so where it is no number: the fields are of blocks all the same
                blocks = blocks if isinstance(blocks, int) else BLOCKS[0]
            for place, value in enumerate(_list(output.get("fields"))[:MAX_FIELDS]):
                draft = self._try(("output", "fields", place), partial(self._draft, value, declared, blocks))
                if draft is not None:
                    self.drafts[place] = draft
            for place, value in enumerate(_list(study.get(SECTION))[:MAX_INFERENCES]):
                network = self._try(
                    (SECTION, place),
                    partial(read_inference, value, self.datasets, declared, self._folder),
                )
                if network is not None:
                    self.networks[place] = network
        if guarantee is not None and not guarantee.by_script and "relation" in study:
            relation = self._try(("relation",), lambda: Relation.read(study["relation"]))
            if relation is not None and self.schemas:
                self._sql(relation)
        if guarantee is not None and guarantee.by_script:
            script_text(self._folder, self._findings)

    def _draft(self, value: Any, declared: dict[str, tuple[str, ...]], blocks: int | None) -> Draft:
        return read_draft(with_lists(value, self._folder), declared, blocks)

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
            named = named if named[1:] else self.positions.named((SECTION,), error.message)
            named = named if named[1:] else ()
        layer = _LAYER.search(error.message)
        if layer is not None and self.positions.has((*at, "layers")):
            named = (*at, "layers", int(layer[1]) - 1)
        unknown = _UNKNOWN.search(error.message)
        if unknown is not None:
            named = self.positions.keyed(at or named, unknown[1])
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
        for name, place in unknown_columns(tree, places, self.schemas.values()):
            unknown = True
            near = nearest(name, column_names(self.schemas.values()))
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
        """Columns that fields and networks read, and the query does not give."""
        for place, network in self.networks.items():
            self._unknown((SECTION, place), network.use(), given)
        # What a network gives counts even where the network itself is refused.
        listed = _list((self.content or {}).get(SECTION))
        given = [*given, *(str(each["name"]) for each in listed if isinstance(each, dict) and "name" in each)]
        for place, draft in self.drafts.items():
            use = Use(f"the field {draft.name}", draft.kind.columns(draft.spec))
            self._unknown(("output", "fields", place), use, given)

    def _unknown(self, at: At, use: Use, given: list[str]) -> None:
        for name in use.columns.names:
            if name in given:
                continue
            near = nearest(name, given)
            self._findings.error(
                self.positions.of(self.positions.valued(at, name)), Code.RECIPE_COLUMN,
                f"{use.by} uses {name}, and the relation has no such column",
                f"did you mean {near}?" if near else f"its columns are: {', '.join(given)[:200]}",
            )  # fmt: skip

    def _in_sql(self, sql: str, place: int | None) -> Place:
        if place is None:
            return self.positions.of(("relation", "sql"))
        return self.positions.within(("relation", "sql"), *line_and_column(sql, place))


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
