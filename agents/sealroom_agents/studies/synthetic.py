# SPDX-License-Identifier: Apache-2.0
"""Made-up data of a recipe's schemas: lifelike where the recipe tells how, and hostile where real data are.

Every declared type; missing values where a column may have them; several rows a person, and some rows twice;
a tenth of the people at two owners; rows without a person; and in each table each extreme of a type once: the
ends of its range, NaN and infinities, empty and long text, labels that nobody declared, the first and the
last day. Values of a column that a field bounds lie mostly within its bounds, and columns of one person go
together, so that a model has something to find. The same seed gives the same data.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal as Number
from itertools import cycle, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sealroom.recipe import Recipe
from sealroom.recipe.tables import DatasetSpec
from sealroom.safetensors import Tensor, write
from sealroom.schema import (
    Binary,
    Bool,
    Category,
    ColumnType,
    Date,
    Decimal,
    Integer,
    List,
    Real,
    String,
    Struct,
    Time,
    Timestamp,
)
from sealroom.schema.arrow import arrow_schema, arrow_type
from sealroom.training.weights import FILE
from sealroom_agents.studies.clues import Clue, Clues, clues_of, words_of

PEOPLE = 2_000
"""People of all owners together, unless told otherwise."""
MOST_PEOPLE = 1_000_000
SHARED = 0.1
"""Part of the people whom two owners know."""
MISSING = 0.03
"""Part of the cells that hold nothing, where they may."""
UNDECLARED = "no such label"
WIDE, MAGNITUDES = 1_000.0, 100_000.0
"""A range that ends at so many times its beginning, or 1, is drawn by magnitudes, by so many at most."""
MEMBERS = 12
"""Files of a dataset of files."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Person:
    """What the rows of a table share with the other rows of their people."""

    ids: npt.NDArray[np.int64]
    """Number of the person of each row, from 1."""
    latent: Floats
    """How ill, rich or risky the person of each row is, of mean 0 and variance 1."""
    column: str = ""
    """The column that is drawn: labels of two columns do not go together."""


def synthetic(recipe: Recipe, *, people: int = PEOPLE, seed: int = 0) -> dict[str, pa.Table]:
    """A table of each dataset of the recipe that is one, by its path."""
    clues = clues_of(recipe)
    words = [] if recipe.relation is not None else _words(recipe)
    generator = np.random.default_rng(seed)
    latent = generator.normal(size=people + 1)
    owners = list(dict.fromkeys(spec.owner for spec in recipe.datasets))
    home = generator.integers(len(owners), size=people)
    second = np.where(generator.random(people) < SHARED, generator.integers(len(owners), size=people), -1)
    made = {}
    for spec in recipe.datasets:
        if spec.schema is None:
            continue
        at = owners.index(spec.owner)
        known = np.flatnonzero((home == at) | (second == at)) + 1
        rows = np.repeat(known, generator.choice([1, 1, 1, 2, 3], size=len(known)))
        person = Person(ids=rows, latent=latent[rows])
        made[spec.path] = _table(spec, person, clues, words, generator)
    return made


def members(spec: DatasetSpec, *, seed: int = 0) -> dict[str, bytes]:
    """Small files of a dataset of files: grey pictures (PNG), a table (CSV), an empty file, bytes."""
    generator = np.random.default_rng([seed, zlib.crc32(spec.path.encode())])
    pictures = {
        f"images/{number:04d}.png": _png(generator.integers(0, 256, (8, 8), dtype=np.uint8))
        for number in range(1, MEMBERS - 2)
    }
    listed = "name,person\n" + "".join(f"{name},{place}\n" for place, name in enumerate(pictures, 1))
    return {"empty.bin": b"", "index.csv": listed.encode(), **pictures, "some.bin": generator.bytes(64)}


def network_of(recipe: Recipe, spec: DatasetSpec, *, seed: int = 0) -> dict[str, bytes]:
    """The files of a sealed network, with weights of the right shapes that are drawn; none of other files."""
    layers = next((each.layers for each in recipe.inferences if each.dataset == spec), None)
    if layers is None:
        return {}
    generator, made = np.random.default_rng([seed, zlib.crc32(spec.path.encode())]), []
    for layer in layers.weighted:
        most = layer.fan_in**-0.5
        for shape in (layer.weight_shape, layer.after[:1]):
            drawn = generator.uniform(-most, most, shape).astype("<f4")
            made.append(drawn.tobytes())
    tensors = [
        Tensor(name=name, shape=shape, data=data)
        for (name, shape), data in zip(layers.tensors(), made, strict=True)
    ]
    return {FILE: write(tensors)}


def _words(recipe: Recipe) -> list[str]:
    """Texts of the script that are no name of the recipe's."""
    names = {name for schema in recipe.schemas for name, _ in schema.columns}
    names |= {field.name for field in recipe.output.fields} | {"__main__", "__name__"}
    return [word for word in words_of(recipe.analysis) if word not in names]


def _table(
    spec: DatasetSpec, person: Person, clues: Clues, words: Sequence[str], generator: np.random.Generator
) -> pa.Table:
    assert spec.schema is not None
    arrays = []
    for name, kind in spec.columns:
        if name == spec.schema.unit:
            values = _ids(kind, person.ids)
        else:
            clue = clues.get(name.lower(), Clue())
            if isinstance(kind, String) and not clue.labels:
                clue = Clue(labels=list(words))
            values = _values(kind, clue, replace(person, column=name), generator)
            values = _hostile(values, kind, clue, generator)
        arrays.append(values)
    table = pa.Table.from_arrays(arrays, schema=arrow_schema(spec.columns))
    twice = generator.choice(len(table), size=-(-len(table) // 100), replace=False)
    return pa.concat_tables([table, table.take(pa.array(twice, pa.int64())), _nobody(table, spec)])


def _nobody(table: pa.Table, spec: DatasetSpec) -> pa.Table:
    """A row without a person, where the column may hold nothing."""
    assert spec.schema is not None
    unit = spec.schema.unit
    if not len(table) or not dict(spec.columns)[unit].nullable:
        return table.slice(0, 0)
    place = table.schema.get_field_index(unit)
    return table.slice(0, 1).set_column(
        place, table.schema.field(place), pa.nulls(1, table.schema.types[place])
    )


def _ids(kind: ColumnType, ids: npt.NDArray[np.int64]) -> pa.Array:
    if isinstance(kind, Integer):
        most = 2 ** (kind.bits - kind.signed) - 1
        return pa.array(ids % (most + 1) if most < 2**31 else ids, arrow_type(kind))
    return pa.array([f"p{id:07d}" for id in ids], arrow_type(kind))


def _values(kind: ColumnType, clue: Clue, person: Person, generator: np.random.Generator) -> pa.Array:
    """Lifelike values, none missing."""
    count, type = len(person.ids), arrow_type(kind)
    match kind:
        case Bool():
            return pa.array(generator.random(count) < 1 / (1 + np.exp(1 - 1.5 * person.latent)))
        case Category(values=values):
            return _labels([*values], person, generator, type)
        case String():
            labels = clue.labels or [f"word{number}" for number in range(1, 7)]
            return _labels(labels, person, generator, type)
        case Integer(bits=bits, signed=signed):
            low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
            numbers = np.rint(_numbers(clue, person, generator))
            listed = [int(each) for each in clue.labels if each.lstrip("-").isdecimal()]
            if not listed and bits <= 32:  # as of lists of pixels, of which there are many
                return pa.array(np.clip(numbers, low, high).astype(np.int64)).cast(type)
            whole = [min(max(int(each), low), high) for each in numbers]
            if listed:
                chosen, some = generator.choice(listed, size=count), generator.random(count) < 0.8
                whole = [int(a) if b else c for a, b, c in zip(chosen, some, whole, strict=True)]
            return pa.array(whole, type)
        case Real():
            return pa.array(_numbers(clue, person, generator)).cast(type, safe=False)
        case Decimal(precision=precision, scale=scale):
            most = Number(10) ** (precision - scale) - Number(1).scaleb(-scale)
            exact = (round(Number(float(each)), scale) for each in _numbers(clue, person, generator))
            return pa.array([min(max(each, -most), most) for each in exact], type)
        case Binary(length=length):
            return pa.array([generator.bytes(8 if length is None else length) for _ in range(count)], type)
        case Date():
            return pa.array(
                [date(1970, 1, 1) + timedelta(days=each) for each in _days(clue, person, generator)]
            )
        case Time(unit=unit):
            seconds = generator.integers(86_400, size=count)
            return (
                pa.array(seconds * _per_second(unit))
                .cast(pa.int32() if unit == "ms" else pa.int64())
                .cast(type)
            )
        case Timestamp(unit=unit):
            seconds = np.array(_days(clue, person, generator)) * 86_400 + generator.integers(
                86_400, size=count
            )
            return pa.array(seconds * _per_second(unit), pa.int64()).cast(type)
        case List(of=of):
            lengths = _lengths(clue, count, generator)
            inner = Person(np.repeat(person.ids, lengths), np.repeat(person.latent, lengths), person.column)
            offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
            return pa.ListArray.from_arrays(offsets, _values(of, clue, inner, generator), type=type)
        case Struct(fields=fields):
            columns = [
                _values(inner, clue, replace(person, column=name), generator) for name, inner in fields
            ]
            return pa.StructArray.from_arrays(columns, fields=list(type))
        case _:
            raise AssertionError(f"no values of {kind}")


def _lengths(clue: Clue, count: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """As long as a field wants a list, but of a few rows; short ones where none does."""
    if clue.length is None:
        return generator.integers(0, 4, size=count)
    odd = clue.length + generator.integers(-1, 2, size=count)
    return np.where(generator.random(count) < MISSING, odd, clue.length)


def _numbers(clue: Clue, person: Person, generator: np.random.Generator) -> Floats:
    """Numbers around the middle of what is known; of a wide range above zero that is no time, around the
    middle of its magnitudes, as amounts and sizes are."""
    low, high = clue.span or (0.0, 100.0)
    wide = not clue.time and low >= 0 and high >= WIDE * max(low, 1.0)
    if wide:
        low, high = math.log(max(low, high / MAGNITUDES)), math.log(high)
    noise = generator.normal(size=len(person.ids))
    found = (low + high) / 2 + (high - low) / 6 * (0.6 * person.latent + 0.8 * noise)
    return np.exp(found) if wide else found


def _days(clue: Clue, person: Person, generator: np.random.Generator) -> list[int]:
    """Days since 1970: by what the SQL compares with, or of 2018 to 2024."""
    span = clue.span
    if span is None or not clue.points:
        span = 17_532.0, 20_088.0
    found = np.clip(_numbers(Clue(*span), person, generator), -25_000, 80_000)
    return [int(each) for each in found]


def _per_second(unit: str) -> int:
    return {"ms": 10**3, "us": 10**6, "ns": 10**9}[unit]


def _labels(labels: list[str], person: Person, generator: np.random.Generator, type: Any) -> pa.Array:
    """A label a person, of falling frequency; one row in fifty has another one."""
    weights = 1 / np.sqrt(np.arange(1, len(labels) + 1))
    # By column and a number of the person: in all tables, and of all owners, the same.
    draws = np.random.default_rng(zlib.crc32(person.column.encode())).random(
        int(person.ids.max(initial=0)) + 1
    )[person.ids]
    draws = np.where(generator.random(len(draws)) < 0.02, generator.random(len(draws)), draws)
    place = np.searchsorted(np.cumsum(weights / weights.sum()), draws).clip(max=len(labels) - 1)
    return pa.array([labels[each] for each in place], type)


def _hostile(values: pa.Array, kind: ColumnType, clue: Clue, generator: np.random.Generator) -> pa.Array:
    """Missing values where there may be some, and each extreme of the type once."""
    missing = generator.random(len(values)) < MISSING if kind.nullable else np.zeros(len(values), bool)
    places = generator.permutation(len(values))
    extremes = _extremes(kind, clue)[: len(values)]
    changed = {int(place): extreme for place, extreme in zip(places, extremes, strict=False)}
    if not changed and not missing.any():
        return values
    if isinstance(kind, List):  # which are long: as arrays
        taken = np.where(missing, len(values) + len(extremes), np.arange(len(values)))
        for number, place in enumerate(changed):
            taken[place] = len(values) + number
        pool = pa.concat_arrays([values, pa.array([*extremes, None], values.type)])
        return pool.take(pa.array(taken))
    plain = values.to_pylist()
    for place in np.flatnonzero(missing).tolist():
        plain[place] = None
    for place, extreme in changed.items():
        plain[place] = extreme
    return pa.array(plain, values.type)


def _extremes(kind: ColumnType, clue: Clue) -> list[Any]:
    match kind:
        case Integer(bits=bits, signed=signed):
            return [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if signed else [0, 2**bits - 1]
        case Real(bits=bits):
            largest = {16: 65504.0, 32: float(np.finfo(np.float32).max), 64: 1.7e308}[bits]
            ends = (
                [] if clue.span is None else [np.float16(each) if bits == 16 else each for each in clue.span]
            )
            special = [float("nan"), float("inf"), float("-inf"), largest, -largest, -0.0, 5e-324]
            return [np.float16(each) if bits == 16 else each for each in [*special, *ends]]
        case Decimal(precision=precision, scale=scale):
            most = Number(10**precision - 1).scaleb(-scale)
            return [most, -most]
        case String() | Category():
            return ["", " ", UNDECLARED, "Zürich ﬁ Ω", "x" * 5_000]
        case Binary(length=length):
            return [b"", b"\0" * 5_000] if length is None else [b"\0" * length]
        case Date():
            return [date(1, 1, 1), date(9999, 12, 31)]
        case Time():
            return [time(0, 0), time(23, 59, 59)]
        case Timestamp(unit=unit, zone=zone):
            first, last = (1700, 2200) if unit == "ns" else (1, 9999)
            zoned = None if zone is None else UTC
            return [datetime(first, 1, 1, tzinfo=zoned), datetime(last, 12, 31, tzinfo=zoned)]
        case List(of=of):
            length = clue.length or 1
            inner = list(islice(cycle(_extremes(of, clue) or [None] * of.nullable), length))
            return [[], *([[None] * length] if of.nullable else []), *([inner] if any(inner) else [])]
        case _:
            return []


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A grey picture; `pixels` has shape (height, width)."""
    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
