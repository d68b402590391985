# SPDX-License-Identifier: Apache-2.0
"""From a recipe to the study that owners approve, and back: whether a study is what the recipe says."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.decimals import decimal_text
from sealroom.encoding import to_hex
from sealroom.model import Study, Terms
from sealroom.model.units import delta_text, epsilon_text
from sealroom.schema import schema_hash
from sealroom_agents.cli.promise import guarantee_line, told
from sealroom_agents.cli.terminal import read_bounded
from sealroom_agents.errors import ToolError
from sealroom_agents.governance.standing import DatasetFacts, Standing, ambiguous
from sealroom_agents.governance.words import Lines, short
from sealroom_agents.recipe_words import (
    column_words,
    dataset_words,
    machine_words,
    people_words,
    rows_words,
    type_words,
)

if TYPE_CHECKING:
    from sealroom.recipe import DatasetSpec, Recipe
    from sealroom_agents.owner.registration import Registration

MAX_DIFF_LINES = 400
"""Lines of a difference between two recipes that are shown."""
MAX_COLUMNS_SHOWN = 100
"""Columns of one table that are shown; `sealroom recipe --check FILE --json` has all."""


def read_recipe(path: Path) -> Recipe:
    """The recipe from its exact bytes. Raises `RecipeError`."""
    from sealroom.recipe import MAX_COMPOSE_BYTES, parse

    return parse(read_bounded(path, MAX_COMPOSE_BYTES, "a recipe"))


def terms_of(
    recipe: Recipe,
    datasets: Sequence[bytes],
    *,
    versions: Sequence[int] | None = None,
    runs: int,
    expiry: int,
) -> Terms:
    """What a study of this recipe asks for: every hash and the budget come from the recipe's own bytes."""
    wanted = dict(zip(datasets, versions or [0] * len(datasets), strict=True))
    ordered = sorted(wanted)
    return Terms(
        compose_hash=recipe.compose_hash,
        output_hash=recipe.output_hash,
        privacy_hash=recipe.privacy_hash,
        datasets=tuple(ordered),
        versions=tuple(wanted[one] for one in ordered),
        epsilon_micro=recipe.epsilon_micro * runs,
        delta_pico=recipe.delta_pico * runs,
        max_runs=runs,
        expiry=expiry,
    )


def match(recipe: Recipe, given: Sequence[Registration]) -> list[Registration]:
    """The registration of each dataset of the recipe, in its order; none is left over.

    A registration names the account and not the owner: with two of one name, the columns must do.
    Raises `dataset-not-in-recipe`, `dataset-missing`.
    """
    left = list(given)
    found, missing = [], []
    for spec in recipe.datasets:
        wanted = (spec.name, schema_hash(spec.columns))
        one = next((each for each in left if (each.name, each.version.schema_hash) == wanted), None)
        if one is None:
            missing.append(spec.path)
            continue
        left.remove(one)
        found.append(one)
    if left:
        raise ToolError(
            Code.DATASET_NOT_IN_RECIPE,
            f"{recipe.name} reads no dataset {left[0].name} with these columns, or it was given twice",
            "give one registration for each dataset of the recipe; `sealroom recipe --check` lists them",
        )
    if missing:
        raise ToolError(
            Code.DATASET_MISSING,
            f"there is no registration of {', '.join(missing)}",
            "its owner gets it from `sealroom seal`, beside the sealed file",
        )
    return found


def datasets_on_chain(standing: Standing, recipe: Recipe, *, chosen: Sequence[bytes] = ()) -> list[bytes]:
    """The registered datasets that the recipe reads, in its order, by owner and name.

    chosen: ids that tell which is meant where a name does not. Raises `dataset-missing`,
    `dataset-ambiguous`.
    """
    offered = standing.offered()
    found, missing = [], []
    for spec in recipe.datasets:
        ids = _meant(standing, offered, spec, chosen)
        found += ids
        if not ids:
            missing.append(spec.path)
    if missing:
        raise ToolError(
            Code.DATASET_MISSING,
            f"no owner offers {', '.join(missing)} to this consortium",
            "its owner runs `govern register` and `govern allow`; or pass --registrations",
        )
    if strange := [one for one in chosen if one not in found]:
        raise ToolError(
            Code.DATASET_NOT_IN_RECIPE,
            f"--dataset names {to_hex(strange[0])}, which is none that {recipe.name} reads",
        )
    return found


def _meant(
    standing: Standing, offered: Sequence[DatasetFacts], spec: DatasetSpec, chosen: Sequence[bytes]
) -> list[bytes]:
    """The one dataset of that owner and name; none, if there is none. Raises `dataset-ambiguous`."""
    ids = [one.id for one in offered if _is(standing, one, spec)]
    if len(ids) > 1:
        ids = [one for one in ids if one in chosen] or ids
    if len(ids) > 1:
        raise ambiguous(spec.path, ids)
    return ids


def require_hashes(study: Study, recipe: Recipe) -> None:
    """The study is of this very recipe. Raises `proposal-differs`."""
    for what, asked, computed in (
        ("recipe", study.compose_hash, recipe.compose_hash),
        ("output", study.output_hash, recipe.output_hash),
        ("privacy", study.privacy_hash, recipe.privacy_hash),
    ):
        if asked != computed:
            raise differs(f"its {what} hash is {to_hex(asked)}, and the file's is {to_hex(computed)}")


def require_as_many(study: Study, recipe: Recipe) -> None:
    """The study has as many datasets as the recipe reads. Raises `proposal-differs`."""
    if len(study.datasets) != len(recipe.datasets):
        raise differs(f"it uses {len(study.datasets)} datasets, and the recipe reads {len(recipe.datasets)}")


def require_datasets(
    standing: Standing, study: Study, recipe: Recipe, *, chosen: Sequence[bytes] = ()
) -> None:
    """The study is on the datasets that the recipe names. Raises `proposal-differs`, `dataset-ambiguous`."""
    offered = standing.offered()
    found = list(zip(standing.datasets(study.datasets), study.versions, strict=True))
    for spec in recipe.datasets:
        fits = [one for one in found if _is(standing, one[0], spec)]
        if not fits:
            raise differs(f"it does not use {spec.path}, which the recipe reads")
        facts, number = fits[0]
        found.remove(fits[0])
        if facts.id not in chosen and (meant := _meant(standing, offered, spec, chosen)) not in (
            [],
            [facts.id],
        ):
            raise differs(f"it uses {to_hex(facts.id)} for {spec.path}, and not {to_hex(meant[0])}")
        version = standing.version_of(facts.id, number or facts.dataset.versions)
        if version.schema_hash != schema_hash(spec.columns):
            raise differs(f"{spec.path} was sealed with other columns than the recipe reads")
    if found:
        raise differs(f"it uses {standing.dataset_name(found[0][0])}, which the recipe does not read")


def require_no_surplus(study: Study, recipe: Recipe) -> None:
    """The study may spend no more than its runs need. Raises `study-surplus`."""
    for what, asked, once, text in (
        ("ε", study.epsilon_micro, recipe.epsilon_micro, epsilon_text),
        ("δ", study.delta_pico, recipe.delta_pico, delta_text),
    ):
        if asked > once * study.max_runs:
            raise ToolError(
                Code.STUDY_SURPLUS,
                f"the study may spend {what} {text(asked)}, and its {study.max_runs} runs of the recipe need "
                f"{text(once * study.max_runs)}",
                "ask who proposed it why; --allow-surplus approves it in spite of that",
            )


def doubts(study: Study, recipe: Recipe) -> list[str]:
    """What fits, and may still not be meant."""
    found = []
    for what, asked, once in (
        ("ε", study.epsilon_micro, recipe.epsilon_micro),
        ("δ", study.delta_pico, recipe.delta_pico),
    ):
        if asked > once * study.max_runs:
            found.append(f"the study may spend more {what} than its {study.max_runs} runs need")
        elif asked < once * study.max_runs:
            found.append(f"the study's {what} ends before all its {study.max_runs} runs are used")
    return found


def recipe_lines(recipe: Recipe) -> Lines:
    """What the study asks, promises, reads and computes, and what leaves, with its noise."""
    return [
        ("name", recipe.name),
        ("asks", recipe.question),
        guarantee_line(recipe),
        ("machine", machine_words(recipe)),
        *table_lines(recipe),
        *_computing(recipe),
        *_leaving(recipe),
    ]


def table_lines(recipe: Recipe) -> Lines:
    """The datasets, and the columns of each table that they are."""
    lines = [("reads", f"{spec.path}: {dataset_words(spec)}") for spec in recipe.datasets]
    for schema in recipe.schemas:
        columns = [
            f"{name} {type_words(kind)}{', the person' if name == schema.unit else ''}"
            for name, kind in schema.columns[:MAX_COLUMNS_SHOWN]
        ]
        if len(schema.columns) > MAX_COLUMNS_SHOWN:
            columns.append(f"and {len(schema.columns) - MAX_COLUMNS_SHOWN:,} more")
        lines.append((f"table {schema.name}", "; ".join(columns)))
    return lines


def _computing(recipe: Recipe) -> Lines:
    """The script; or the researcher's SQL, what is compiled from it, and the columns of its result."""
    relation, compiled = recipe.relation, recipe.compiled
    if relation is None or compiled is None:
        return _text_lines("script", recipe.analysis)
    return [
        *_text_lines("SQL", relation.sql),
        *_text_lines("what runs", compiled.sql),
        ("result", f"{rows_words(compiled.rows)}; compiled here, as the enclave compiles it"),
        *([] if relation.people is None else [("people", people_words(relation.people))]),
        *(
            (
                "column",
                f"{each.name}: {column_words(each.type, nullable=each.nullable, unit=each.unit)}",
            )
            for each in compiled.columns
        ),
        *(("network", f"{each.name}: {each.sentence()}") for each in recipe.inferences),
    ]


def _text_lines(label: str, text: str) -> Lines:
    """Lines of source text, the first with a label."""
    return [("" if number else label, line) for number, line in enumerate(text.splitlines())]


def _leaving(recipe: Recipe) -> Lines:
    lines: Lines = []
    for field in recipe.output.fields:
        lines.append(("leaves", f"{field.name}: {field.sentence(recipe.rows)}"))
        lines.append(
            ("with noise", f"{field.cost.law}, {field.cost.text()}; 95 %: {told(field, recipe.rows)}")
        )
    privacy = recipe.privacy
    lines.append(
        (
            "a run costs",
            f"ε {epsilon_text(recipe.epsilon_micro)}, δ {decimal_text(privacy.delta)} for each "
            f"{recipe.unit}; "
            f"nothing leaves for fewer than {privacy.minimum_cohort}",
        )
    )
    return lines


def recipe_difference(before: Path, now: Recipe, last: Study | None) -> Lines:
    """The difference between two recipes' texts, once the older one is that of the study approved last.

    Raises `proposal-differs`.
    """
    old = read_recipe(before)
    if last is None or old.compose_hash != last.compose_hash:
        approved = "none was approved" if last is None else f"approved last was {short(last.compose_hash)}"
        raise differs(f"{before} has the compose hash {short(old.compose_hash)}, and {approved}")
    lines: Lines = []
    for what, one, other in (
        ("analysis", old.analysis, now.analysis),
        ("SQL", _sql(old), _sql(now)),
        ("recipe", _outline(old), _outline(now)),
    ):
        found = list(
            difflib.unified_diff(
                one.splitlines(), other.splitlines(), f"{what} before", f"{what} now", lineterm="", n=2
            )
        )
        lines += [("", line) for line in found[:MAX_DIFF_LINES]]
        if len(found) > MAX_DIFF_LINES:
            lines.append(("", f"… {len(found) - MAX_DIFF_LINES} lines more"))
    return lines or [("differs", "the two recipes read alike")]


def _sql(recipe: Recipe) -> str:
    return "" if recipe.relation is None else recipe.relation.sql


def _outline(recipe: Recipe) -> str:
    """All but script and SQL."""
    lines = [
        ("name", recipe.name),
        ("asks", recipe.question),
        ("image", recipe.image),
        guarantee_line(recipe),
        *table_lines(recipe),
        *_leaving(recipe),
    ]
    return "\n".join(f"{label}: {value}" for label, value in lines)


def _is(standing: Standing, facts: DatasetFacts, spec: DatasetSpec) -> bool:
    return (standing.name(facts.dataset.holder), facts.dataset.name) == (spec.owner, spec.name)


def differs(why: str) -> ToolError:
    return ToolError(
        Code.PROPOSAL_DIFFERS,
        f"the study is not what the recipe says: {why}",
        "do not approve it; ask who proposed it for the recipe that it is of",
    )
