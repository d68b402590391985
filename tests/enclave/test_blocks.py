# SPDX-License-Identifier: Apache-2.0
"""A study by blocks: what one person can do to its own block, and that it can do nothing to another.

Blocks run in the real sandbox, by a clock that leaps.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.formats.test_recipe_blocks import STUDY
from tests.patience import PATIENCE_S

from sealroom.privacy.people import People
from sealroom.privacy.release import Releases
from sealroom.recipe import Recipe, parse, render
from sealroom.runtime import blocks
from sealroom.runtime.blocks import DIVIDING, BlockCustodian, assign, read_numbers, rows_of
from sealroom.runtime.clock import Clock
from sealroom.runtime.custodian import sealed_memory

BLOCKS = 8
KEY = b"k" * 32
PATHS = ("hospital-A/cohort-A.tar", "hospital-B/cohort-B.tar")
LATE = 7.0
WAYS = (
    "value",
    "nothing",
    "crash",
    "exit",
    "kill",
    "late",
    "garbage",
    "nan",
    "twice",
    "private",
    "undeclared",
)
SCRIPT = """\
import os
import pandas as pd

from sealroom import emit_block, emit_signed, private, unwrap
from sealroom.runtime import job

people = pd.concat([unwrap("hospital-A/cohort-A.tar"), unwrap("hospital-B/cohort-B.tar")])
way = int(people.age.min())
way = [None, "value", "nothing", "crash", "exit", "kill", "late", "garbage", "nan", "twice", "private",
       "undeclared"][-way if way < 0 else 0]
if way == "crash":
    raise ValueError(str(people.age))
if way == "exit":
    emit_block({"age": 99})
    raise SystemExit(3)
if way == "kill":
    emit_block({"age": 99})
    os.abort()
while way == "late":
    pass
if way == "garbage":
    job._here()._ask({"op": "block"}, [memoryview(b"[" * 9999)])
elif way == "twice":
    emit_block({"age": 99})
    emit_block({"age": 99})
elif way == "private":
    private(people).count("age")
elif way == "undeclared":
    unwrap("hospital-A/other.tar")
else:
    age = {"value": 1e300, "nan": float("nan")}.get(way, people.age.mean())
    if way != "nothing":
        emit_block({"age": age, "more": 1})
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return study(tmp_path_factory.mktemp("blocks"), SCRIPT)


def study(folder: Path, script: str) -> Recipe:
    (folder / "study.yaml").write_text(STUDY.replace("blocks: 50", f"blocks: {BLOCKS}"))
    (folder / "analysis.py").write_text(script)
    return parse(render(folder))


def cohort(letter: str, extra: Mapping[int, float] | None = None) -> pa.Table:
    """People of one owner, and perhaps more, by id with their age."""
    base = 1000 if letter == "A" else 2000
    ages = {base + number: 20.0 + number % 60 for number in range(200)} | (dict(extra or {}))
    return pa.table({"person": pa.array(list(ages), pa.int64()), "age": list(ages.values())})


def of_block(block: int) -> int:
    """An id of nobody else's, of a person in this block."""
    ids = pa.chunked_array([pa.array(range(5000, 6000), pa.int64())])
    return 5000 + int(np.flatnonzero(assign(ids, blocks=BLOCKS, key=KEY) == block)[0])


class Leaping(Clock):
    """Leaps over what nobody works in; some waits for a job are cut short, which then is late."""

    def __init__(self, late: frozenset[int]) -> None:
        self._now, self._late, self._slot = 1000.0, late, 0

    def now(self) -> float:
        return self._now

    def wait(self, until: float, event: threading.Event) -> None:
        if any(thread.name == "block" and thread.is_alive() for thread in threading.enumerate()):
            patience = LATE if self._slot in self._late else PATIENCE_S
            if not event.wait(patience):
                assert self._slot in self._late
        self._now = max(self._now, until)

    def counted(self) -> None:
        """The lease is looked at before each block."""
        self._slot += 1


class Moments(Clock):
    """Leaps to what is waited for."""

    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def wait(self, until: float, event: threading.Event) -> None:
        self._now = until


def refuse() -> None:
    """The lease has ended when the first slot begins."""
    raise InterruptedError


def numbers_of(
    recipe: Recipe, extra: Mapping[int, float], *, late: frozenset[int] = frozenset()
) -> list[float]:
    return [each.get("age", math.nan) for each in rows_by_block(recipe, extra, late=late)]


def rows_by_block(
    recipe: Recipe, extra: Mapping[int, float], *, late: frozenset[int] = frozenset()
) -> list[blocks.Numbers]:
    """What each block handed in."""
    clock = Leaping(frozenset(block + 1 for block in late))
    custodian = BlockCustodian(
        recipe,
        open_dataset=lambda spec: cohort("A"),
        releases=Releases(recipe.privacy, recipe.output, epsilon_micro=1_500_000),
        check_lease=clock.counted,
        service=None,
        clock=clock,
        since=1000.0,
        until=1000.0 + 40 * BLOCKS,
    )
    rows = {}
    for path, letter in zip(PATHS, "AB", strict=True):
        table = cohort(letter, extra if letter == "B" else None)
        rows[path] = table, assign(table.column("person"), blocks=BLOCKS, key=KEY)
    return custodian.numbers(rows)


@pytest.fixture(scope="module")
def usual(recipe: Recipe) -> list[float]:
    """The numbers when everybody is as people are."""
    return numbers_of(recipe, {})


def total(recipe: Recipe, numbers: list[float]) -> tuple[int, int]:
    """The exact sum in steps before noise, and the most that one block may move it."""
    (field,) = recipe.output.fields
    (name,) = field.columns.numbers
    (part,) = field.parts(1).values()
    table = People(count=len(numbers), numbers={name: np.array(numbers)}, groups={})
    return int(field.kind.aggregate(field.spec, field.cost.law, table, None)[part.name][0]), part.l1


def test_blocks_are_of_like_size_and_follow_from_the_id_alone() -> None:
    """DP-23: a person is in one block, whichever table, type or neighbour it has."""
    ids = pa.chunked_array([pa.array(range(20_000), pa.int64())])
    found = assign(ids, blocks=50, key=KEY)
    sizes = np.bincount(found, minlength=50)
    assert len(sizes) == 50 and sizes.min() > 300 and sizes.max() < 500
    assert (assign(ids.cast(pa.int32()), blocks=50, key=KEY) == found).all()
    order = np.random.default_rng(3).permutation(20_000)[:9_000]
    assert (assign(ids.take(pa.array(order)), blocks=50, key=KEY) == found[order]).all()
    assert (assign(ids, blocks=50, key=b"other" * 5) == found).mean() < 0.05
    text = pa.chunked_array([pa.array(["ä", None, "b", "ä"]), pa.array(["b", None])])
    one, nobody, other, again, there, none = assign(text, blocks=4096, key=KEY)
    assert (one, other) == (again, there) and one != other and nobody == none == -1
    assert len(assign(pa.chunked_array([], pa.string()), blocks=8, key=KEY)) == 0


@pytest.mark.parametrize("way", ["value", "crash", "late"])
def test_one_person_moves_the_sum_by_one_block_and_no_other_by_a_bit(
    way: str, recipe: Recipe, usual: list[float]
) -> None:
    """DP-23: whatever one person makes of its block."""
    block = 3
    extra = {of_block(block): -float(WAYS.index(way) + 1)}
    moved = numbers_of(recipe, extra, late=frozenset({block} if way == "late" else ()))
    assert moved[:block] + moved[block + 1 :] == usual[:block] + usual[block + 1 :]
    assert moved[block] == 1e300 if way == "value" else math.isnan(moved[block])
    (before, most), (after, _) = total(recipe, usual), total(recipe, moved)
    assert 0 < abs(after - before) <= most


def test_a_block_that_fails_in_any_way_has_no_number_and_no_other_notices(
    recipe: Recipe, usual: list[float]
) -> None:
    """DP-23, OU-06."""
    ways = [way for way in WAYS if way not in ("value", "crash", "late")]
    assert len(ways) == BLOCKS
    left = BLOCKS - 1
    extra = {of_block(block): -float(WAYS.index(way) + 1) for block, way in enumerate(ways[:left])}
    found = numbers_of(recipe, extra)
    assert all(map(math.isnan, found[:left])) and found[left] == usual[left]


SNIPPET = """\
import pandas as pd
import torch
from sklearn.linear_model import LinearRegression

from sealroom import emit_signed, unwrap


class Model:
    def __init__(self, people):
        values = people.age.to_numpy()
        self.median = people.groupby("person").age.max().median()
        line = LinearRegression().fit(values.reshape(-1, 1), 2 * values + 1)
        self.slope = line.coef_[0]
        self.weight = torch.zeros((), requires_grad=True)
        descent = torch.optim.SGD([self.weight], lr=0.25)
        for _ in range(60):
            loss = ((torch.tensor(values) - self.weight) ** 2).mean()
            descent.zero_grad()
            loss.backward()
            descent.step()

    def summary(self):
        return pd.Series({"median": self.median, "slope": self.slope, "weight": self.weight.detach()})


def train(people):
    return Model(people)


a, b = unwrap("hospital-A/cohort-A.tar"), unwrap("hospital-B/cohort-B.tar")

m = train(pd.concat([a, b]))
emit_signed(m.summary())
"""


def test_functions_of_pandas_scikit_learn_and_torch_run_on_each_block(tmp_path: Path) -> None:
    """What a script trains of a table, it trains of each block, and hands in as it would a result."""
    names = ("median", "slope", "weight")
    fields = "".join(
        f"    - {{name: {name}, kind: block_mean, lower: 0, upper: 120, decimals: 1}}\n" for name in names
    )
    (tmp_path / "study.yaml").write_text(
        STUDY.replace("blocks: 50", f"blocks: {BLOCKS}").partition("    - {name: age")[0] + fields
    )
    (tmp_path / "analysis.py").write_text(SNIPPET)
    recipe = parse(render(tmp_path))
    found = rows_by_block(recipe, {})
    assert len(found) == BLOCKS
    ages = [age for each in "AB" for age in cohort(each).column("age").to_pylist()]
    for each in found:
        assert set(each) == set(names)
        assert each["slope"] == pytest.approx(2)
        assert 20 < each["median"] < 80 and 20 < each["weight"] < 80
    # blocks are of like size: the mean over them is nearly that over all people
    assert np.mean([each["weight"] for each in found]) == pytest.approx(np.mean(ages), abs=2)


COUNTERS = """\
import ctypes
import os
import resource
import struct
import threading

from sealroom import emit_block, unwrap

libc = ctypes.CDLL(None)


def number_of(descriptor):
    found = ctypes.create_string_buffer(256)
    assert libc.syscall(5 if os.uname().machine == "x86_64" else 80, descriptor, found) == 0
    return struct.unpack_from("QQ", found)[1]


refused = 0
try:
    threading.Thread(target=print).start()
except RuntimeError:
    refused += 1
try:
    resource.getrlimit(resource.RLIMIT_NPROC)
except OSError:
    refused += 10
resource.getrlimit(resource.RLIMIT_AS)
from sealroom.runtime import job

numbers = set()
for _ in range(200):
    frame = job._here()._ask({"op": "unwrap", "path": "hospital-A/cohort-A.tar"})
    numbers.add(number_of(frame.descriptor))
    os.close(frame.descriptor)
people = unwrap("hospital-A/cohort-A.tar")
emit_block({"age": 1000 * refused + len(numbers)})
"""


def test_a_block_moves_nothing_that_the_kernel_counts_for_all(tmp_path: Path) -> None:
    """DP-23: process ids and inodes are given out in turn, so that the next block reads how many were."""
    assert numbers_of(study(tmp_path, COUNTERS), {}) == [11_001] * BLOCKS


@pytest.mark.parametrize("wanted", ["", '("hospital-B/cohort-B.tar")'])
def test_a_blocks_data_lies_ready_whether_or_not_it_asks(
    wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DP-23: and that memory is there before the job is."""
    made: list[int] = []

    def counted(table: pa.Table) -> tuple[int, int]:
        made.append(table.num_rows)
        return sealed_memory(table)

    monkeypatch.setattr(blocks, "sealed_memory", counted)
    numbers_of(study(tmp_path, f"from sealroom import unwrap\n\nunwrap{wanted}\n"), {})
    assert len(made) == BLOCKS * len(PATHS) and sum(made) == 400


def rows_of_all_types(more: int) -> pa.Table:
    """Rows of many people in pieces of a hundred, as of row groups; one person, first, has so many more."""
    ids = [9_999] * more + [number % 300 for number in range(1_500)]
    odd = [None if each % 7 == 0 else each for each in ids]
    text = [None if each is None else str(each) for each in odd]
    columns = {
        "person": pa.array(ids, pa.int64()),
        "small": pa.array(odd, pa.int16()),
        "real": pa.array(odd, pa.float64()),
        "text": pa.array(text),
        "sex": pa.DictionaryArray.from_arrays([each % 2 for each in ids], ["F", "M"]),
        "there": pa.array([None if each is None else each % 2 == 0 for each in odd]),
        "price": pa.array(odd, pa.int64()).cast(pa.decimal128(21, 2)),
        "when": pa.array(odd, pa.int64()).cast(pa.timestamp("us", "UTC")),
        "list": pa.array([None if each is None else [each] * (each % 3) for each in odd]),
        "pair": pa.array([None if each is None else {"a": each, "b": str(each)} for each in odd]),
    }
    whole = pa.table(columns)
    return pa.concat_tables([whole.slice(at, 100) for at in range(0, len(whole), 100)])


@pytest.mark.parametrize("more", [1, 130, 1_000])
def test_another_persons_rows_change_no_byte_of_a_blocks_memory(more: int) -> None:
    """DP-23: nor where its pieces begin, which a script can read that looks at the memory itself."""
    found = []
    for table in (rows_of_all_types(0), rows_of_all_types(more)):
        blocks = assign(table.column("person"), blocks=BLOCKS, key=KEY)
        found.append([written(rows_of(block, table, blocks)) for block in range(BLOCKS)])
    own = assign(pa.chunked_array([pa.array([9_999])]), blocks=BLOCKS, key=KEY)[0]
    assert [before == after for before, after in zip(*found, strict=True)] == [
        block != own for block in range(BLOCKS)
    ]


def written(table: pa.Table) -> bytes:
    descriptor, size = sealed_memory(table)
    with os.fdopen(descriptor, "rb") as file:
        return os.pread(file.fileno(), size, 0)


def test_slots_begin_at_one_of_few_moments(recipe: Recipe) -> None:
    """DP-23: of how long the datasets took to open and to divide, a block's clock tells little."""
    begun = set()
    for took in (0.5, 3.0, 19.9, 20.1, 39.0):
        clock = Moments(took)
        custodian = BlockCustodian(
            recipe,
            open_dataset=lambda spec: cohort("A"),
            releases=Releases(recipe.privacy, recipe.output, epsilon_micro=1_500_000),
            check_lease=refuse,
            service=None,
            clock=clock,
            since=0.0,
            until=20.0 * DIVIDING,
        )
        with pytest.raises(InterruptedError):
            custodian.numbers({})
        begun.add(clock.now())
    assert begun == {20.0, 40.0}


def test_any_two_numbers_are_within_the_sensitivity(recipe: Recipe) -> None:
    """DP-02, DP-23: one block exchanged, from anything to anything."""
    awkward = [math.nan, math.inf, -math.inf, 1e308, -1e308, 0.0, -0.0, 60.0, 120.0, np.nextafter(120.0, 200)]
    sums = [total(recipe, [each, 30.0, 50.0])[0] for each in awkward]
    most = total(recipe, [0.0])[1]
    assert max(sums) - min(sums) == most
    assert total(recipe, [math.nan])[0] == total(recipe, [60.0])[0] == 0


@pytest.mark.parametrize(
    "said", [b"", b"null", b"[1]", b'{"age": "5"}', b'{"age": true}', b'{"age": NaN}', b"\xff", b'{"x": 1}']
)
def test_what_is_no_number_is_none(said: bytes, recipe: Recipe) -> None:
    assert math.isnan(read_numbers(memoryview(said), recipe).get("age", math.nan))
