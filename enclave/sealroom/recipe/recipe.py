# SPDX-License-Identifier: Apache-2.0
"""Recipes: what a study will run, as the exact bytes that owners approve and dstack measures.

A researcher writes a folder with `study.yaml` and `analysis.py`; `render` makes the app-compose bytes once.
From then on only those bytes exist: they are stored, shown, hashed and shipped, and never written anew.
`parse` judges them from themselves alone. Spec: `enclave/spec/recipe.md`.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.decimals import decimal_text, parse_decimal
from sealroom.encoding import sha256
from sealroom.errors import FormatError, RecipeError
from sealroom.recipe import yamltext
from sealroom.recipe.appcompose import (
    NO_GPU,
    check_image,
    check_service,
    read_frame,
    render_frame,
)
from sealroom.recipe.column_use import check_columns
from sealroom.recipe.contract import DatasetSpec, OutputContract, Privacy, check_budget
from sealroom.recipe.outputs import reader

STUDY_FILE = "study.yaml"
ANALYSIS_FILE = "analysis.py"
MAX_STUDY_BYTES = 64 * 1024
MAX_ANALYSIS_BYTES = 128 * 1024
MAX_DATASETS = 16
MAX_QUESTION = 500
"""Most characters of the question."""

_STUDY_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_DECIMAL_FIELDS = frozenset({"epsilon", "delta", "lower", "upper", "clip", "learning_rate"})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe that obeys all rules."""

    name: str
    """Name of the study."""
    question: str
    """What it asks, in one sentence."""
    image: str
    """Enclave image, by digest."""
    datasets: tuple[DatasetSpec, ...]
    """What it reads, in the researcher's order."""
    privacy: Privacy
    """How much one run may tell about any person."""
    output: OutputContract
    """All that may leave."""
    analysis: str = field(repr=False)
    """The Python text that runs in the enclave."""
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

    def dataset(self, path: str) -> DatasetSpec | None:
        """The dataset that `unwrap` means by `hospital-A/cohort-A.tar`, or `None`."""
        return next((spec for spec in self.datasets if spec.path == path), None)


def compose_hash(compose: bytes) -> bytes:
    """SHA-256 of the raw bytes, as dstack measures them, 32 bytes."""
    return sha256(compose)


def render(folder: Path) -> bytes:
    """Render a folder with `study.yaml` and `analysis.py` to app-compose bytes. Raises `RecipeError`."""
    study = _load_study(_read_text(folder / STUDY_FILE, MAX_STUDY_BYTES))
    analysis = _read_text(folder / ANALYSIS_FILE, MAX_ANALYSIS_BYTES)
    try:
        ast.parse(analysis)
    except (SyntaxError, ValueError) as error:
        raise RecipeError(Code.RECIPE_ANALYSIS, f"{ANALYSIS_FILE} is not Python: {error}") from None
    fields = reader(study, STUDY_FILE)
    fields.version()
    name = fields.text("name", limit=63, pattern=_STUDY_NAME)
    question = fields.text("question", limit=MAX_QUESTION)
    image = check_image(fields.raw("image"))
    _check_gpu(fields.raw("gpu"))
    section = {
        "version": 1,
        "study": name,
        "question": question,
        "gpu": NO_GPU,
        "datasets": _datasets(fields.array("datasets", limit=MAX_DATASETS)),
        "privacy": Privacy.read(fields.object("privacy")),
        "output": OutputContract.read(fields.object("output")),
        "analysis": _check_analysis(analysis),
    }
    fields.done()
    compose = render_frame(name=name, image=image, section=_plain(section))
    parse(compose)
    return compose


def parse(compose: bytes) -> Recipe:
    """Judge app-compose bytes from themselves alone. Raises `RecipeError`; its code names the broken rule."""
    name, settings, section = read_frame(compose)
    fields = reader(section, "x-sealroom")
    fields.version()
    study = fields.text("study", limit=63, pattern=_STUDY_NAME)
    question = fields.text("question", limit=MAX_QUESTION)
    _check_gpu(fields.raw("gpu"))
    datasets = _datasets(fields.array("datasets", limit=MAX_DATASETS))
    privacy = Privacy.read(fields.object("privacy"))
    output = OutputContract.read(fields.object("output"))
    analysis = _check_analysis(fields.text("analysis", limit=MAX_ANALYSIS_BYTES))
    fields.done()
    if study != name:
        raise RecipeError(Code.RECIPE_MALFORMED, "app-compose and x-sealroom name different studies")
    check_columns(datasets, privacy, output)
    epsilon_micro, delta_pico = check_budget(privacy, output)
    image = check_service(settings)
    recipe = Recipe(
        name=name,
        question=question,
        image=image,
        datasets=datasets,
        privacy=privacy,
        output=output,
        analysis=analysis,
        compose=compose,
        compose_hash=compose_hash(compose),
        output_hash=output.digest(),
        privacy_hash=privacy.digest(),
        epsilon_micro=epsilon_micro,
        delta_pico=delta_pico,
    )
    _check_one_text(recipe)
    return recipe


def _check_one_text(recipe: Recipe) -> None:
    # The compose part is YAML, where one value has many texts, and docker's reader is not ours. Only the text
    # that `render` writes is accepted, so that both read the same.
    section = {
        "version": 1,
        "study": recipe.name,
        "question": recipe.question,
        "gpu": NO_GPU,
        "datasets": recipe.datasets,
        "privacy": recipe.privacy,
        "output": recipe.output,
        "analysis": recipe.analysis,
    }
    rendered = render_frame(name=recipe.name, image=recipe.image, section=_plain(section))
    if rendered != recipe.compose:
        raise RecipeError(Code.RECIPE_NOT_CANONICAL, "docker_compose_file is not in the one accepted form")


def _plain(section: dict[str, Any]) -> dict[str, Any]:
    return {
        **section,
        "datasets": [spec.plain() for spec in section["datasets"]],
        "privacy": section["privacy"].plain(),
        "output": section["output"].plain(),
    }


def _datasets(values: Any) -> tuple[DatasetSpec, ...]:
    datasets = tuple(DatasetSpec.read(value) for value in values)
    if not datasets or len({spec.path.lower() for spec in datasets}) != len(datasets):
        raise RecipeError(Code.RECIPE_MALFORMED, "a recipe has datasets, each once")
    return datasets


def _check_gpu(value: Any) -> None:
    """A recipe that demands an attested GPU is refused: this version verifies no GPU's evidence."""
    if value != NO_GPU:
        raise RecipeError(
            Code.RECIPE_GPU,
            "the recipe demands a GPU, and this version cannot verify a GPU's evidence",
            f"write gpu: {NO_GPU}",
        )


def _check_analysis(text: str) -> str:
    if not yamltext.is_block_text(text) or len(text.encode()) > MAX_ANALYSIS_BYTES:
        raise RecipeError(
            Code.RECIPE_ANALYSIS,
            "the analysis is not plain printable text",
            "no tabs, spaces at line ends or invisible characters, no blank line at the start or the end",
        )
    return text


def _load_study(text: str) -> dict[str, Any]:
    try:
        study = yamltext.load(text)
    except FormatError as error:
        raise RecipeError(Code.RECIPE_MALFORMED, f"{STUDY_FILE}: {error.message}") from None
    if not isinstance(study, dict):
        raise RecipeError(Code.RECIPE_MALFORMED, f"{STUDY_FILE} must be a mapping")
    return dict(_normal(study))


def _normal(value: Any) -> Any:
    """Bring numbers as a person writes them (`0.30`, `"1.5"`, `3`) to their one text."""
    if isinstance(value, list):
        return [_normal(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _normal_decimal(name, item) if name in _DECIMAL_FIELDS else _normal(item)
        for name, item in value.items()
    }


def _normal_decimal(name: str, value: Any) -> Any:
    # A group, and a dataset's column, may have such a name too: then the value is no number, and stays.
    if isinstance(value, list | dict) or value in ("int64", "float64", "string", "bool"):
        return _normal(value)
    try:
        number = Decimal(value) if isinstance(value, int) else parse_decimal(value)
        return decimal_text(number)
    except FormatError as error:
        raise RecipeError(Code.RECIPE_MALFORMED, f"{STUDY_FILE} has {name} that is {error.message}") from None


def _read_text(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise RecipeError(Code.RECIPE_UNREADABLE, f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecipeError(Code.RECIPE_MALFORMED, f"{path.name} is not UTF-8") from None
    if len(data) > limit:
        raise RecipeError(Code.RECIPE_TOO_LARGE, f"{path.name} has more than {limit} bytes")
    return text
