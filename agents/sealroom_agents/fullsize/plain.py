# SPDX-License-Identifier: Apache-2.0
"""The same study without privacy: the researcher's own SQL in plain DuckDB over the owners' files, and each
field by pandas, numpy, scikit-learn or torch from all of it. The two ways share the recipe's text, and no
code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sealroom.privacy.ratios import RatioKind
from sealroom.recipe import Recipe
from sealroom.recipe.outputs import Field
from sealroom_agents.fullsize.answers import PLAIN_AUC, RELEASED_AUC, Answers, Key
from sealroom_agents.fullsize.measured import Figures, Watch
from sealroom_agents.fullsize.plain_lists import vector_mean
from sealroom_agents.fullsize.plain_model import model

if TYPE_CHECKING:
    import pandas as pd

THREADS = min(4, os.cpu_count() or 1)
"""As many as the enclave takes."""


def run(
    recipe: Recipe, files: Mapping[str, Path], released: Mapping[str, Any]
) -> tuple[dict[str, Answers], Figures]:
    """The answers of each field, and what they took. Of `released` only ranges are read, that were found."""
    answers: dict[str, Answers] = {}
    with Watch() as watch:
        people = table_of_people(recipe, files)
        for field in recipe.output.fields:
            answer = ANSWERS.get(field.kind.name)
            answers[field.name] = dict(answer(field, people, released[field.name])) if answer else {}
    return answers, watch.figures


def table_of_people(recipe: Recipe, files: Mapping[str, Path]) -> pd.DataFrame:
    """The result of the researcher's text, with text as categories and lists as Arrow has them."""
    import duckdb
    import pandas as pd
    import pyarrow as pa

    assert recipe.relation is not None
    connection = duckdb.connect(config={"threads": THREADS, "preserve_insertion_order": False})
    for schema in recipe.schemas:
        parts = [
            f"SELECT *, '{spec.owner}' AS owner FROM read_parquet('{files[spec.path]}')"
            for spec in recipe.datasets
            if spec.schema is not None and spec.schema.name == schema.name
        ]
        connection.execute(f"CREATE VIEW {schema.name} AS {' UNION ALL '.join(parts)}")
    table: Any = connection.sql(recipe.relation.sql).to_arrow_table()
    connection.close()
    wanted = set[str]()
    for columns in (field.columns for field in recipe.output.fields):
        wanted |= {*columns.numbers, *columns.groups, *(name for name, _ in columns.vectors)}
    table = table.select([name for name in table.column_names if name in wanted])
    return table.to_pandas(
        strings_to_categorical=True, self_destruct=True,
        types_mapper=lambda kind: pd.ArrowDtype(kind) if pa.types.is_list(kind) else None,
    )  # fmt: skip


def _number(people: pd.DataFrame, name: str) -> np.ndarray[Any, Any]:
    """A column as float64, NaN where it is missing."""
    return np.asarray(people[name].astype("float64"))


def _grouped(people: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Labels and places of the rows of each group."""
    if not by:
        yield (), slice(None)
        return
    for labels, places in people.groupby(list(by), observed=True).indices.items():
        yield tuple(map(_label, labels if isinstance(labels, tuple) else (labels,))), places


def _label(value: Any) -> str:
    return str(value).lower() if isinstance(value, (bool, np.bool_)) else str(value)


# --- by kind -----------------------------------------------------------------------------------------


def _count(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    for labels, places in _grouped(people, field.spec.by):
        yield ("groups", "people", labels), float(len(people) if isinstance(places, slice) else len(places))


def _of_column(**numbers: Callable[[Any], float]) -> Any:
    """A kind that gives numbers of one column by group."""

    def answer(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
        values = _number(people, field.spec.column)
        for labels, places in _grouped(people, field.spec.cells.by):
            known = values[places]
            known = known[~np.isnan(known)]
            if len(known):
                for name, number in numbers.items():
                    yield ("groups", name, labels), float(number(known))

    return answer


def _quantiles(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    values = _number(people, field.spec.column)
    shares = [str(share) for share in field.kind.plain(field.spec)["quantiles"]]
    for labels, places in _grouped(people, field.spec.cells.by):
        known = values[places]
        for share, found in zip(shares, np.nanquantile(known, [float(one) for one in shares]), strict=True):
            yield ("groups", "value", (*labels, share)), float(found)


def _histogram(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    values, by = _number(people, field.spec.column), field.spec.cells.by
    ranges = dict.fromkeys((row["from"], row["to"]) for row in value["groups"])
    last = max(float(high) for _, high in ranges)
    for labels, places in _grouped(people, by):
        known = values[places]
        for low, high in ranges:
            below = (known < float(high)) | ((known == float(high)) & (float(high) == last))
            found = float(np.count_nonzero((known >= float(low)) & below))
            yield ("groups", "people", (*labels, f"{low} to {high}")), found


def _vector_sum(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    for name, centre in zip(field.spec.columns, field.spec.centre, strict=True):
        values = _number(people, name)
        # What is missing counts as the centre there, as the recipe says.
        yield ("groups", "mean", (name,)), float(np.where(np.isnan(values), float(centre), values).mean())


def _logistic(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    from sklearn.linear_model import LogisticRegression

    spec = field.spec
    names = [feature.name for feature in spec.features]
    label = _number(people, spec.label)
    columns = [
        np.clip(_number(people, each.name), float(each.lower), float(each.upper)) for each in spec.features
    ]
    known = ~np.isnan(label)
    for each in columns:
        known &= ~np.isnan(each)
    inputs = np.stack([each[known] for each in columns], axis=1)
    middle, spread = inputs.mean(axis=0), inputs.std(axis=0)
    spread[spread == 0] = 1
    model = LogisticRegression(C=np.inf, solver="newton-cholesky")
    model.fit((inputs - middle) / spread, label[known] > 0.5)
    slopes = model.coef_[0] / spread
    yield ("groups", "coefficient", ("intercept",)), float(model.intercept_[0] - slopes @ middle)
    for name, slope in zip(names, slopes, strict=True):
        yield ("groups", "coefficient", (name,)), float(slope)
    found = {row["term"]: row["coefficient"] for row in value["groups"]}
    if None not in found.values():
        released = np.array([float(found[name]) for name in names])
        yield RELEASED_AUC, _auc(inputs @ released, label[known] > 0.5)
        yield PLAIN_AUC, _auc(inputs @ slopes, label[known] > 0.5)


def _auc(score: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, score))


def _survival(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    """Kaplan and Meier by each time that occurs."""
    counted = field.spec.counted
    time, event = _number(people, counted.time), _number(people, counted.event)
    first = float(counted.edges[0])
    for labels, places in _grouped(people, counted.cells.by):
        times, events = time[places], event[places]
        known = ~np.isnan(times) & ~np.isnan(events) & (times >= first)
        moments, which = np.unique(times[known], return_inverse=True)
        ended = np.bincount(which, minlength=len(moments))
        died = np.bincount(which, weights=events[known] > 0.5, minlength=len(moments))
        at_risk = known.sum() - np.concatenate([[0], np.cumsum(ended)[:-1]])
        curve = np.cumprod(1 - died / at_risk)
        for edge in value["groups"]:
            if all(str(edge[name]) == label for name, label in zip(counted.cells.by, labels, strict=True)):
                before = np.searchsorted(moments, float(edge["to"]), side="right")
                found = float(curve[before - 1]) if before else 1.0
                yield ("groups", "survival", (*labels, edge["to"])), found
        below = np.flatnonzero(curve <= 0.5)
        if len(below):
            yield ("medians", "median", labels), float(moments[below[0]])


def _linear(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    spec = field.spec
    features = [
        np.clip(_number(people, each.name), float(each.lower), float(each.upper)) for each in spec.features
    ]
    target = np.clip(_number(people, spec.target.name), float(spec.target.lower), float(spec.target.upper))
    design = np.stack([np.ones(len(people)), *features], axis=1)
    known = ~np.isnan(design).any(axis=1) & ~np.isnan(target)
    design, target = design[known], target[known]
    found = np.linalg.lstsq(design, target, rcond=None)[0]
    for term, coefficient in zip(spec.terms(), found, strict=True):
        yield ("groups", "coefficient", (term,)), float(coefficient)
    left = ((target - design @ found) ** 2).sum()
    yield ("fit", "r_squared", ()), float(1 - left / ((target - target.mean()) ** 2).sum())


def _cdf(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    values = _number(people, field.spec.column)
    points = dict.fromkeys(row["up_to"] for row in value["groups"])
    for labels, places in _grouped(people, field.spec.cells.by):
        known = np.sort(values[places][~np.isnan(values[places])])
        for point in points if len(known) else ():
            below = np.searchsorted(known, float(point), side="right")
            yield ("groups", "share", (*labels, point)), float(below / len(known))


def _contingency(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    by = field.spec.cells.by
    cells = {labels: float(len(places)) for labels, places in _grouped(people, by)}
    allowed = [set(labels) for labels in field.spec.cells.labels]
    cells = {
        key: n for key, n in cells.items() if all(one in them for one, them in zip(key, allowed, strict=True))
    }
    for labels, count in cells.items():
        alike = sum(n for key, n in cells.items() if key[:-1] == labels[:-1])
        yield ("groups", "people", labels), count
        yield ("groups", "share", labels), count / alike


def _auc_of_score(
    field: Field, people: pd.DataFrame, value: Mapping[str, Any]
) -> Iterator[tuple[Key, float]]:
    score, label = _number(people, field.spec.score), _number(people, field.spec.label)
    known = ~np.isnan(score) & ~np.isnan(label)
    yield ("area", "auc", ()), _auc(score[known], label[known] > 0.5)


def _cells(field: Field, people: pd.DataFrame) -> tuple[Any, Any, list[tuple[str, str]]]:
    """The cell of each row, −1 for none; the model's columns by cell; the name of each but the first one."""
    cells = cast(RatioKind[Any], field.kind).ratios(field.spec).cells
    places, names = np.zeros(len(people), dtype=np.int64), []
    sizes = [len(labels) for labels in cells.labels]
    for name, labels in zip(cells.by, cells.labels, strict=True):
        place = np.full(len(people), -1)
        for number, label in enumerate(labels):
            place[_having(people[name], label)] = number
        places = np.where((places < 0) | (place < 0), -1, places * len(labels) + place)
        names += [(name, label) for label in labels[1:]]
    every = np.indices(sizes).reshape(len(sizes), -1)
    columns = [np.ones(every.shape[1])]
    columns += [(every[at] == n).astype(float) for at, size in enumerate(sizes) for n in range(1, size)]
    return places, np.stack(columns, axis=1), names


def _having(values: pd.Series[Any], label: str) -> np.ndarray[Any, Any]:
    """Whose value has this label."""
    if values.dtype == bool:
        return np.asarray(values) == (label.lower() == "true")
    if values.dtype.kind in "iu":
        return np.asarray(values) == int(label)
    if values.dtype == object:  # truth values, some of them missing
        return np.asarray(values.astype(str).str.lower() == label.lower())
    return np.asarray(values == label)


def _ratios(number: str, first: Sequence[str], score: Callable[..., tuple[Any, Any]]) -> Any:
    """A model of declared groups, fitted by Newton's method on all people."""

    def answer(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
        members = field.kind.plain(field.spec)
        cell, alike, names = _cells(field, people)
        values = [_number(people, members[name]) for name in first]
        kept = cell >= 0
        for each in values:
            kept &= ~np.isnan(each)
        # People of the same labels have the same effects: the sums of each cell are enough.
        cell = cell[kept]
        sums = [np.bincount(cell, weights=each[kept], minlength=len(alike)) for each in values]
        counts = np.bincount(cell, minlength=len(alike)).astype(float)
        beta = np.zeros(alike.shape[1])
        for _ in range(100):
            gradient, weights = score(alike @ beta, counts, *sums)
            hessian = (alike * weights[:, None]).T @ alike + 1e-12 * np.eye(len(beta))
            step = np.clip(np.linalg.solve(hessian, alike.T @ gradient), -1, 1)
            beta = beta + step
            if np.abs(step).max() < 1e-10:
                break
        for label, effect in zip(names, beta[1:], strict=True):
            yield ("groups", number, label), float(np.exp(effect))
        released = [row[number] for row in value["groups"]]
        if score is _of_odds and None not in released and min(map(float, released)) > 0:
            truth = values[0][kept] > 0.5
            yield RELEASED_AUC, _auc((alike[:, 1:] @ np.log([float(one) for one in released]))[cell], truth)
            yield PLAIN_AUC, _auc((alike @ beta)[cell], truth)

    return answer


def _of_odds(effect: Any, count: Any, cases: Any) -> tuple[Any, Any]:
    chance = 1 / (1 + np.exp(-effect))
    return cases - count * chance, count * chance * (1 - chance)


def _of_poisson(effect: Any, count: Any, events: Any, exposure: Any) -> tuple[Any, Any]:
    expected = exposure * np.exp(effect)
    return events - expected, expected


def _of_gamma(effect: Any, count: Any, total: Any) -> tuple[Any, Any]:
    return total * np.exp(-effect) - count, total * np.exp(-effect)


def _hazards(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    """Cox's partial likelihood with Breslow's ties, by the times that occur."""
    members = field.kind.plain(field.spec)
    cell, design, names = _cells(field, people)
    time, event = _number(people, members["time"]), _number(people, members["event"])
    kept = (cell >= 0) & ~np.isnan(time) & ~np.isnan(event)
    order = np.argsort(-time[kept], kind="stable")
    inputs, ended = design[cell[kept][order], 1:], time[kept][order]
    died = event[kept][order] > 0.5
    last = np.searchsorted(-ended, -ended, side="right") - 1  # who is at risk: up to here
    beta = np.zeros(inputs.shape[1])
    for _ in range(30):
        risk = np.exp(inputs @ beta)
        total = np.cumsum(risk)[last]
        mean = np.cumsum(inputs * risk[:, None], axis=0)[last] / total[:, None]
        gradient = (inputs - mean)[died].sum(axis=0)
        hessian = np.zeros((len(beta), len(beta)))
        for one in range(len(beta)):
            products = np.cumsum(inputs * (inputs[:, one] * risk)[:, None], axis=0)[last] / total[:, None]
            hessian[one] = (products - mean * mean[:, [one]])[died].sum(axis=0)
        step = np.clip(np.linalg.solve(hessian + 1e-9 * np.eye(len(beta)), gradient), -1, 1)
        beta = beta + step
        if np.abs(step).max() < 1e-9:
            break
    for label, effect in zip(names, beta, strict=True):
        yield ("groups", "hazard_ratio", label), float(np.exp(effect))


ANSWERS: dict[str, Callable[[Field, Any, Mapping[str, Any]], Iterator[tuple[Key, float]]]] = {
    "auc": _auc_of_score,
    "cdf": _cdf,
    "contingency": _contingency,
    "count": _count,
    "gamma": _ratios("mean_ratio", ("column",), _of_gamma),
    "hazards": _hazards,
    "histogram": _histogram,
    "linear": _linear,
    "logistic": _logistic,
    "mean": _of_column(mean=np.mean),
    "model": model,
    "odds": _ratios("odds_ratio", ("outcome",), _of_odds),
    "poisson": _ratios("rate_ratio", ("events", "exposure"), _of_poisson),
    "quantiles": _quantiles,
    "sum": _of_column(sum=np.sum),
    "survival": _survival,
    "variance": _of_column(mean=np.mean, variance=np.var, standard_deviation=np.std),
    "vector_mean": vector_mean,
    "vector_sum": _vector_sum,
}
"""The non-private answer of each kind."""
