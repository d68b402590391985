# SPDX-License-Identifier: Apache-2.0
"""Recipes: what a study will run, as the exact bytes that owners approve and dstack measures.

A researcher writes a folder with `study.yaml` and `analysis.py`; `render` makes the app-compose bytes once.
From then on only those bytes exist: they are stored, shown, hashed and shipped, and never written anew.
`parse` judges them from themselves alone. Spec: `enclave/spec/recipe.md`.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.encoding import Fields, sha256
from sealroom.errors import FormatError, RecipeError
from sealroom.gpu_demand import GpuDemand
from sealroom.gpu_rules import NO_GPU
from sealroom.guarantee import BY_BLOCKS, BY_READING, GUARANTEES, Guarantee
from sealroom.privacy.kind import Columns
from sealroom.privacy.members import Members
from sealroom.recipe import yamltext
from sealroom.recipe.appcompose import (
    check_image,
    check_services,
    read_frame,
    render_frame,
)
from sealroom.recipe.beside import read_text, with_lists
from sealroom.recipe.column_use import check_columns, check_unit
from sealroom.recipe.contract import MAX_FIELDS, OutputContract, Privacy, check_budget
from sealroom.recipe.inference import Inference, read_inferences
from sealroom.recipe.relation import Relation, check_result
from sealroom.recipe.researchers import read_researchers
from sealroom.recipe.tables import FILES, MAX_DATASETS, DatasetSpec, Schema, read_datasets, read_schemas
from sealroom.recipe.wrapped import MAX_SCRIPT_BYTES, MEMBER, SCRIPT_FILE, Script, known
from sealroom.schema.names import STUDY_NAME, STUDY_NAME_WORDS

if TYPE_CHECKING:
    from sealroom.relation.compiled import Compiled

STUDY_FILE = "study.yaml"
ANALYSIS_FILE = "analysis.py"
BLOCKS = (8, 4_096)
"""Fewest and most blocks of people."""
BLOCK_SECONDS = 4
"""Fewest seconds of `release_after_seconds` for each block: a job takes one or two to start."""
STUDY_MEMBERS = (
    "version", "name", "question", "image", "gpu", "hints", "guarantee", "researchers", "schemas", "datasets",
    "relation", "blocks", "inference", "privacy", "output",
)  # fmt: skip
"""All that `study.yaml` may have."""
DSTACK, PHALA = "dstack", "phala-cloud"
"""What `hints` of a study may be: who runs the host."""
VERSION = 2
"""Version of `study.yaml` and of `x-sealroom`."""
MAX_STUDY_BYTES = 256 * 1024
MAX_ANALYSIS_BYTES = 128 * 1024
MAX_QUESTION = 500
"""Most characters of the question."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe that obeys all rules."""

    name: str
    """Name of the study."""
    question: str
    """What it asks, in one sentence."""
    image: str
    """Enclave image, by digest."""
    gpu: GpuDemand | None
    """The GPUs whose evidence the enclave must show; `None` demands none."""
    hints: bool
    """Whether the enclave reads what its host tells it, as it must on a real one."""
    script: Script | None
    """What runs as root before the containers, where Phala Cloud built the bytes; else nothing does."""
    guarantee: Guarantee
    """Why one person's data stays apart from another's."""
    researchers: tuple[str, ...]
    """Accounts that may ask for runs besides the owners; `anyone` alone where everybody may."""
    schemas: tuple[Schema, ...]
    """The tables that it reads, whoever owns them."""
    datasets: tuple[DatasetSpec, ...]
    """What it reads, in the researcher's order."""
    privacy: Privacy
    """How much one run may tell about any person."""
    output: OutputContract
    """All that may leave."""
    analysis: str = field(repr=False)
    """The Python text that runs in the enclave; empty where a relation does instead."""
    relation: Relation | None
    """The SQL that computes the table of people, for the guarantee `by-construction`."""
    blocks: int | None
    """The number of blocks of people, for the guarantee `by-blocks`."""
    inferences: tuple[Inference, ...]
    """The networks whose outputs are columns beside those of the relation."""
    compiled: Compiled | None = field(repr=False, compare=False)
    """That SQL as it runs."""
    compose: bytes = field(repr=False)
    """The bytes themselves."""
    compose_hash: bytes
    """SHA-256 of the bytes."""
    output_hash: bytes
    """SHA-256 of the canonical output contract."""
    privacy_hash: bytes
    """SHA-256 of the canonical privacy policy."""
    epsilon_micro: int
    """ε of one run in micro-epsilon, rounded up."""
    delta_pico: int
    """δ of one run in parts of 10^12, rounded up; zero when all mechanisms are pure."""

    @property
    def unit(self) -> str:
        """Column that names the person: the same in all schemas; the first where a relation computes."""
        return self.schemas[0].unit

    @property
    def script_text(self) -> str:
        """The text of `script`, empty where there is none."""
        return str(json.loads(self.compose)[MEMBER]) if self.script is not None else ""

    @property
    def rows(self) -> int:
        """Most rows of one person in the table that fields are released from."""
        return 1 if self.relation is None else self.relation.rows

    def handed_over(self, columns: Columns) -> Columns:
        """What the relation gives for a field with these columns: instead of a network's output, what the
        network is told."""
        inferred = {each.name: each.taken() for each in self.inferences}
        numbers: list[str] = []
        groups: list[str] = []
        vectors: list[tuple[str, int]] = []
        for of in (columns, *(inferred[name] for name in columns.names if name in inferred)):
            numbers += [name for name in of.numbers if name not in inferred]
            groups += of.groups
            vectors += [each for each in of.vectors if each[0] not in inferred]
        return Columns(
            numbers=tuple(dict.fromkeys(numbers)),
            groups=tuple(dict.fromkeys(groups)),
            vectors=tuple(dict.fromkeys(vectors)),
        )

    def inferred_bytes(self, columns: Columns) -> int:
        """Memory that the outputs of networks among these columns take for one row."""
        return sum(each.row_bytes for each in self.inferences if each.name in columns.names)

    def dataset(self, path: str) -> DatasetSpec | None:
        """The dataset that `unwrap` means by `hospital-A/cohort-A.tar`, or `None`."""
        return next((spec for spec in self.datasets if spec.path == path), None)


def compose_hash(compose: bytes) -> bytes:
    """SHA-256 of the raw bytes, as dstack measures them, 32 bytes."""
    return sha256(compose)


def render(folder: Path) -> bytes:
    """Render a folder with `study.yaml`, and `analysis.py` unless a relation computes, to app-compose bytes.

    Raises `RecipeError`.
    """
    study = _load_study(read_text(folder / STUDY_FILE, MAX_STUDY_BYTES))
    fields = Members(study, STUDY_FILE)
    fields.only(*STUDY_MEMBERS)
    fields.version(VERSION)
    name = fields.text("name", limit=63, pattern=STUDY_NAME, words=STUDY_NAME_WORDS)
    question = fields.text("question", limit=MAX_QUESTION)
    image = check_image(fields.raw("image"))
    gpu = _gpu(fields.raw("gpu"))
    hints = _hints(fields)
    script = _script_of(folder) if hints == PHALA else None
    guarantee = _guarantee(fields)
    researchers = read_researchers(fields, loose=True)
    schemas = read_schemas(fields.object("schemas"))
    privacy = Privacy.read(fields.object("privacy"), loose=True)
    if guarantee.by_script and fields.has("relation"):
        fields.fail(
            f"has a relation, which nothing would run under guarantee: {guarantee.name}",
            "write guarantee: by-construction, or remove the relation",
        )
    relation = None if guarantee.by_script else Relation.read(fields.object("relation"))
    rows = 1 if relation is None else relation.rows
    blocks = _blocks(fields, guarantee)
    datasets = read_datasets(fields.array("datasets", limit=MAX_DATASETS), schemas)
    output = OutputContract.planned(
        _with_lists(fields.object("output"), folder), privacy, rows=rows, blocks=blocks
    )
    inferences = read_inferences(fields, datasets, output.groups, relation is not None, folder=folder)
    section: dict[str, Any] = {
        "version": VERSION,
        "study": name,
        "question": question,
        "gpu": NO_GPU if gpu is None else gpu.to_json(),
        "guarantee": guarantee.name,
        "schemas": schemas.values(),
        "datasets": datasets,
        "privacy": privacy,
        "output": output,
    }
    if researchers:
        section["researchers"] = list(researchers)
    if blocks is not None:
        section["blocks"] = blocks
    if relation is not None:
        section["relation"] = relation
        _check_no_analysis(folder)
    else:
        section["analysis"] = _analysis_of(folder)
    if inferences:
        section["inference"] = inferences
    fields.done()
    compose = render_frame(
        name=name, image=image, section=_plain(section), hints=hints is not None, script=script
    )
    parse(compose)
    return compose


def parse(compose: bytes) -> Recipe:
    """Judge app-compose bytes from themselves alone. Raises `RecipeError`; its code names the broken rule."""
    frame = read_frame(compose)
    fields = Members(frame.section, "x-sealroom")
    fields.version(VERSION)
    study = fields.text("study", limit=63, pattern=STUDY_NAME, words=STUDY_NAME_WORDS)
    question = fields.text("question", limit=MAX_QUESTION)
    gpu = _gpu(fields.raw("gpu"))
    guarantee = _guarantee(fields)
    researchers = read_researchers(fields)
    schemas = read_schemas(fields.object("schemas"))
    datasets = read_datasets(fields.array("datasets", limit=MAX_DATASETS), schemas)
    privacy = Privacy.read(fields.object("privacy"))
    blocks = _blocks(fields, guarantee)
    output = OutputContract.read(fields.object("output"), blocks=blocks)
    relation, analysis = None, ""
    if guarantee.by_script:
        analysis = _check_analysis(fields.text("analysis", limit=MAX_ANALYSIS_BYTES))
    else:
        relation = Relation.read(fields.object("relation"))
    inferences = read_inferences(fields, datasets, output.groups, relation is not None)
    fields.done()
    if study != frame.name:
        raise RecipeError(Code.RECIPE_MALFORMED, "app-compose and x-sealroom name different studies")
    compiled = None
    if blocks is not None:
        _check_blocks(blocks, datasets, privacy)
        check_unit(schemas.values())
    elif relation is None:
        check_columns(schemas.values(), output.uses(), output.groups)
    else:
        compiled = relation.compile(tuple(schemas.values()), datasets)
        check_result(compiled, output, inferences)
    rows = 1 if relation is None else relation.rows
    epsilon_micro, delta_pico = check_budget(privacy, output, rows=rows)
    image, hints = check_services(frame.services, variable=frame.script is not None)
    recipe = Recipe(
        name=study,
        question=question,
        image=image,
        gpu=gpu,
        hints=hints,
        script=frame.script,
        guarantee=guarantee,
        researchers=researchers,
        schemas=tuple(schemas.values()),
        datasets=datasets,
        privacy=privacy,
        output=output,
        analysis=analysis,
        relation=relation,
        blocks=blocks,
        inferences=inferences,
        compiled=compiled,
        compose=compose,
        compose_hash=compose_hash(compose),
        output_hash=output.digest(),
        privacy_hash=privacy.digest(),
        epsilon_micro=epsilon_micro,
        delta_pico=delta_pico,
    )
    _check_one_text(recipe, frame.text)
    return recipe


def _check_one_text(recipe: Recipe, script: str | None) -> None:
    # The compose part is YAML, where one value has many texts, and docker's reader is not ours. Only the text
    # that `render` writes is accepted, so that both read the same.
    section: dict[str, Any] = {
        "version": VERSION,
        "study": recipe.name,
        "question": recipe.question,
        "gpu": NO_GPU if recipe.gpu is None else recipe.gpu.to_json(),
        "guarantee": recipe.guarantee.name,
        "schemas": recipe.schemas,
        "datasets": recipe.datasets,
        "privacy": recipe.privacy,
        "output": recipe.output,
    }
    if recipe.researchers:
        section["researchers"] = list(recipe.researchers)
    if recipe.blocks is not None:
        section["blocks"] = recipe.blocks
    if recipe.relation is None:
        section["analysis"] = recipe.analysis
    else:
        section["relation"] = recipe.relation
    if recipe.inferences:
        section["inference"] = recipe.inferences
    rendered = render_frame(
        name=recipe.name, image=recipe.image, section=_plain(section), hints=recipe.hints, script=script
    )
    if rendered != recipe.compose:
        raise RecipeError(Code.RECIPE_NOT_CANONICAL, "docker_compose_file is not in the one accepted form")


def _hints(fields: Members) -> str | None:
    """For which real host `study.yaml` is; left out, it is for a simulated platform."""
    if not fields.has("hints"):
        return None
    value = fields.raw("hints")
    if value not in (DSTACK, PHALA):
        fields.fail(f"has hints other than {DSTACK} and {PHALA}", f"write hints: {DSTACK}, or leave it out")
    return str(value)


def _script_of(folder: Path) -> str:
    """Phala's script, which lies beside the study: its hash says whether it is one that may."""
    text = read_text(folder / SCRIPT_FILE, MAX_SCRIPT_BYTES)
    if known(text) is None:
        raise RecipeError(
            Code.RECIPE_SCRIPT,
            f"{SCRIPT_FILE} is no script that a recipe may hold",
            "enclave/spec/recipe.md, Phala Cloud, lists their hashes",
        )
    return text


def _with_lists(output: dict[str, Any], folder: Path) -> dict[str, Any]:
    listed = output.get("fields")
    if not isinstance(listed, list) or len(listed) > MAX_FIELDS:
        return output  # and it is refused, before any file is read
    return {**output, "fields": [with_lists(each, folder) for each in listed]}


def _plain(section: dict[str, Any]) -> dict[str, Any]:
    return {
        **section,
        "schemas": {schema.name: schema.plain() for schema in section["schemas"]},
        **{
            name: [each.plain() for each in section[name]]
            for name in ("datasets", "inference")
            if name in section
        },
        **{name: section[name].plain() for name in ("privacy", "output", "relation") if name in section},
    }


def _guarantee(fields: Fields) -> Guarantee:
    value = fields.raw("guarantee")
    if not isinstance(value, str) or value not in GUARANTEES:
        fields.fail(f"has a guarantee that is none of {', '.join(GUARANTEES)}")
    return GUARANTEES[value]


def _blocks(fields: Fields, guarantee: Guarantee) -> int | None:
    return fields.integer("blocks", *BLOCKS) if guarantee.by_blocks else None


def _check_blocks(blocks: int, datasets: tuple[DatasetSpec, ...], privacy: Privacy) -> None:
    """Files say nothing of whom they are about, so no block of people has its own."""
    if any(spec.schema is None for spec in datasets):
        raise RecipeError(
            Code.RECIPE_MALFORMED,
            f"a recipe {BY_BLOCKS} reads a dataset of the kind {FILES}, which names no person",
            "seal a table with the column of the person",
        )
    if privacy.release_after_seconds < blocks * BLOCK_SECONDS:
        raise RecipeError(
            Code.RECIPE_BOUNDS,
            f"{blocks} blocks run one after another in {privacy.release_after_seconds} seconds",
            f"set release_after_seconds to {blocks * BLOCK_SECONDS} at least, or declare fewer blocks",
        )


def _gpu(value: Any) -> GpuDemand | None:
    """The GPUs that the recipe demands. Raises `RecipeError` `recipe-gpu`."""
    if value == NO_GPU:
        return None
    try:
        return GpuDemand.from_json(value)
    except FormatError as error:
        raise RecipeError(
            Code.RECIPE_GPU,
            f"the recipe demands GPUs that nothing can verify: {error.message}",
            f"write gpu: {NO_GPU}, or gpu: {{kind: h100, count: 1, mode: passthrough}}",
        ) from None


def _analysis_of(folder: Path) -> str:
    analysis = read_text(folder / ANALYSIS_FILE, MAX_ANALYSIS_BYTES)
    try:
        ast.parse(analysis)
    except (SyntaxError, ValueError) as error:
        raise RecipeError(Code.RECIPE_ANALYSIS, f"{ANALYSIS_FILE} is not Python: {error}") from None
    return _check_analysis(analysis)


def _check_no_analysis(folder: Path) -> None:
    if (folder / ANALYSIS_FILE).exists():
        raise RecipeError(
            Code.RECIPE_ANALYSIS,
            f"the study has a relation and {ANALYSIS_FILE}, which nothing would run",
            f"remove {ANALYSIS_FILE}, or write guarantee: {BY_BLOCKS} or {BY_READING} without a relation",
        )


def _check_analysis(text: str) -> str:
    if not yamltext.is_block_text(text) or len(text.encode()) > MAX_ANALYSIS_BYTES:
        raise RecipeError(
            Code.RECIPE_ANALYSIS,
            "the analysis is not plain printable text",
            "no tabs, spaces at line ends or invisible characters, no blank line at the start or the end",
        )
    return text


def yaml_hint(message: str) -> str | None:
    """What to do about a file that is no YAML; what is YAML and not taken says so itself."""
    if not message.startswith("not valid YAML"):
        return None
    return (
        "indent by spaces, not tabs; quote text with a colon; all lines of a text after | are indented as"
        " far as its first one; the fault may be in the line before"
    )


def _load_study(text: str) -> dict[str, Any]:
    try:
        study = yamltext.load(text)
    except FormatError as error:
        raise RecipeError(
            Code.RECIPE_MALFORMED,
            f"{STUDY_FILE}: {error.message}",
            yaml_hint(error.message),
        ) from None
    if not isinstance(study, dict):
        raise RecipeError(Code.RECIPE_MALFORMED, f"{STUDY_FILE} must be a mapping")
    return study
