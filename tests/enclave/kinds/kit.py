# SPDX-License-Identifier: Apache-2.0
"""Puts a kind of released value to the test: neighbours without noise, and the noise itself.

`exact` tries tables that differ by one person and checks, in integers and without any noise, all that a kind
promises (`sealroom.privacy.kind`). Sums are additive bit for bit, so what a person changes is that person's
own vector, whoever else is there; and this vector is measured against the bounds that the noise is made for.
Each rule has a name, and each broken kind in `test_mutants` is caught by the rule that it breaks.

`calibrated` compares drawn noise with the law and scale that a cost demands, `distinguish` knows neither and
bounds ε from below by telling two neighbours apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from tests import same_noise

from sealroom.decimals import rounded_text
from sealroom.encoding import MAX_INTEGER, canonical, to_base64
from sealroom.errors import JobError
from sealroom.privacy.accountant import estimate
from sealroom.privacy.kind import Columns, Kind
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.members import Members
from sealroom.privacy.noise import add_noise
from sealroom.privacy.parts import EVERYBODY, Cost, Law, Noise, Part, noise_of, sampled_of
from sealroom.privacy.people import People
from sealroom.privacy.release import compute
from sealroom.privacy.shape import Among, Base64, Label, Row, Rows, Shape, Vector, Whole
from sealroom.privacy.shape import check as check_shape
from sealroom.recipe import Field

GROUPS = {"band": ("50-59", "60-69", "70+"), "sex": ("F", "M"), "arm": ("new", "usual")}
AWKWARD = (
    math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, -5e-324, 1e308, -1e308, 2.0**53 + 1, 2.0**63, 0.1 + 0.2,
)  # fmt: skip
SIZES = (1, 2, 3, 7, 8, 9, 31, 33, 257)
"""Around the widths of vector instructions, where sums of floats change their order."""
COSTS = {law: Cost(law=law, amount=amount) for law, amount in (("laplace", 250_000), ("gaussian", 10**8))}
COHORT = 20
BLOCKS = 50


def spec_of(kind: Kind[Any], members: Mapping[str, Any]) -> Any:
    """What the kind reads from these members."""
    blocks = BLOCKS if kind.of_blocks else None
    found = Members(members, "field", blocks=blocks)
    spec = kind.read(found, GROUPS)
    found.done()
    assert kind.read(Members(kind.plain(spec), "field", blocks=blocks), GROUPS) == spec
    return spec


def largest(shape: Shape) -> Any:
    """The longest value of a shape, where nothing is null."""
    if isinstance(shape, Row):
        return {name: largest(member) for name, member in shape.members.items()}
    if isinstance(shape, Rows):
        return [largest(row) for row in shape.rows]
    if isinstance(shape, Vector):
        return [largest(number) for number in shape.numbers]
    if isinstance(shape, Label):
        return shape.text
    if isinstance(shape, Among):
        return max(shape.texts, key=lambda text: len(canonical(text)))
    if isinstance(shape, Whole):
        return MAX_INTEGER
    if isinstance(shape, Base64):
        return to_base64(bytes(shape.size))
    ends = (
        rounded_text(Fraction(end), decimals=shape.decimals, lower=shape.lower, upper=shape.upper)
        for end in (shape.lower, shape.upper)
    )
    return max(ends, key=len)


def columns_of(name: str, members: Mapping[str, Any]) -> Columns:
    """The columns that a field of this kind reads."""
    kind = KINDS[name]
    return kind.columns(spec_of(kind, members))


def table(
    kind: Kind[Any],
    spec: Any,
    count: int,
    dice: np.random.Generator,
    bounds: Sequence[float],
    *,
    rows: int = 1,
) -> People:
    """People of every sort: usual, at and beside the bounds, awkward floats, missing, of undeclared
    groups."""
    low, high = bounds[0], bounds[-1]
    edges = [(at, np.nextafter(at, -np.inf), np.nextafter(at, np.inf)) for at in (*bounds, (low + high) / 2)]

    def numbers() -> np.ndarray[Any, Any]:
        sort = dice.integers(0, 4, count)
        drawn = dice.uniform(low, high, count)
        drawn = np.where(sort == 0, dice.choice(np.ravel(edges), count), drawn)
        return np.where(sort == 1, dice.choice(AWKWARD, count), drawn)

    columns = kind.columns(spec)
    places = {name: dice.integers(-1, len(GROUPS[name]) + 1, count) for name in columns.groups}
    for column in places.values():
        column[dice.integers(0, 20, count) == 0] = 2**62
    with np.errstate(over="ignore"):
        vectors = {
            name: np.stack([numbers() for _ in range(width)], axis=1).astype(np.float32)
            for name, width in columns.vectors
        }
    return People(
        count=count, rows=rows, numbers={name: numbers() for name in columns.numbers}, groups=places,
        vectors=vectors,
    )  # fmt: skip


def take(people: People, index: Sequence[int] | np.ndarray[Any, Any]) -> People:
    """Some of the rows."""
    places = np.asarray(index, dtype=np.int64)
    return People(
        count=len(places),
        rows=people.rows,
        numbers={name: column[places] for name, column in people.numbers.items()},
        groups={name: column[places] for name, column in people.groups.items()},
        vectors={name: column[places] for name, column in people.vectors.items()},
    )


def parts_of(kind: Kind[Any], spec: Any, law: Law, rows: int = 1) -> dict[str, Part]:
    return {part.name: part.of_rows(rows) for part in kind.parts(spec, law)}


def exact(
    kind: Kind[Any],
    spec: Any,
    law: Law,
    *,
    bounds: Sequence[float],
    cases: int = 200,
    rows: int = 1,
    seed: int = 7,
) -> int:
    """Try neighbours; raises `AssertionError` with the rule that is broken. Returns how many were tried.

    A person has the given number of `rows` that follow each other in the table.
    """
    dice, parts, tried = np.random.default_rng(seed), parts_of(kind, spec, law, rows), 0
    _check_shares(parts)
    for case in range(cases):
        state = _some_state(kind, spec, law, dice) if case % 2 and kind.rounds(spec) > 1 else None
        people = int(dice.choice(SIZES))
        whole = table(kind, spec, people * rows, dice, bounds, rows=rows)
        coins = {name: dice.random(people) < dice.random() for name, part in parts.items() if part.sampled}
        kept = {name: np.repeat(coin, rows) for name, coin in coins.items()}
        if case % 5 == 0:  # everybody alike: what is guessed from the data shows
            whole = take(whole, np.zeros(people * rows, np.int64))
        of = np.arange(people * rows).reshape(people, rows)
        who, other = int(dice.integers(people)), int(dice.integers(people))
        left = np.delete(of, who, axis=0)

        def sums(
            index: np.ndarray[Any, Any],
            kept: dict[str, Any] = kept,
            whole: People = whole,
            state: Any = state,
        ) -> dict[str, Any]:
            mine = {name: each[index.ravel()] for name, each in kept.items()}
            return _sums(kind, spec, law, take(whole, index.ravel()), parts, state, mine)

        all_of_them, alone, others = sums(of), sums(of[[who]]), sums(left)
        replaced = sums(np.concatenate([left, of[[other]]]))
        shuffled, nobody = sums(dice.permutation(of.ravel())), sums(of[:0])
        for name in all_of_them:
            part, own = parts[name], alone[name].astype(object)
            _check((nobody[name] == 0).all(), f"additive: nobody adds something to {name}")
            _check(
                (all_of_them[name] - others[name] == alone[name]).all(),
                f"additive: {name} moves by something else than the person's own vector",
            )
            _check(
                (all_of_them[name] == shuffled[name]).all(), f"additive: {name} depends on the order of rows"
            )
            _check(abs(own).sum() <= part.l1, f"sensitivity: {name} moves by {abs(own).sum()} > {part.l1}")
            _check((own * own).sum() <= part.l2_squared, f"sensitivity: {name} moves too far in L2")
            step = (all_of_them[name] - replaced[name]).astype(object)
            _check(abs(step).sum() <= 2 * part.l1, f"sensitivity: another person moves {name} too far")
            if part.sampled:
                of_them = sums(of[coins[name]], {other: np.ones_like(each) for other, each in kept.items()})
                _check((all_of_them[name] == of_them[name]).all(), f"sampled: {name} is of other people")
        tried += 3
    _check_apart(kind, spec, law, parts, dice, bounds)
    _finish(kind, spec, law, parts, dice)
    return tried


def _check_shares(parts: Mapping[str, Part]) -> None:
    """All that a row adds to costs no more than the field: what is apart is beside the unsampled rest."""
    shares = {apart: Fraction(0) for apart in (False, True)}
    for part in parts.values():
        shares[part.apart] += part.share
    sampled = sum((part.share for part in parts.values() if part.sampled), Fraction(0))
    assert shares[False] == 1 and shares[True] <= (1 - sampled or 1)
    assert not any(part.apart and (part.sampled or part.draws > 1) for part in parts.values())


def _check_apart(
    kind: Kind[Any],
    spec: Any,
    law: Law,
    parts: Mapping[str, Part],
    dice: np.random.Generator,
    bounds: Sequence[float],
) -> None:
    """One row adds to parts that are apart, or to others, in whatever round it is asked."""
    if not any(part.apart for part in parts.values()):
        return
    _check(law == "gaussian", "apart: another law than the Gaussian one")
    whole, moved = table(kind, spec, 60, dice, bounds), [set[bool]() for _ in range(60)]
    states = [None, *(_some_state(kind, spec, law, dice) for _ in range(4 * kind.rounds(spec)))]
    for state in states:
        for row, seen in enumerate(moved):
            sums = _sums(kind, spec, law, take(whole, [row]), parts, state)
            seen.update(parts[name].apart for name, own in sums.items() if own.any())
    _check(all(len(seen) < 2 for seen in moved), "apart: a row adds to parts that are apart and to others")
    _check({True, False} <= set().union(*moved), "apart: nobody adds to one of the two")


def _sums(
    kind: Kind[Any],
    spec: Any,
    law: Law,
    people: People,
    parts: Mapping[str, Part],
    state: Any,
    kept: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The exact sums; of sampled parts over those rows that are `kept`, or over all."""
    try:
        found = kind.aggregate(spec, law, _of(kind, spec, law, people, parts, kept), state)
    except Exception as error:  # whatever is raised refuses some data and lets other data pass
        raise AssertionError(f"refusal-depends-on-data: {type(error).__name__}: {error}") from error
    _check(set(found) <= set(parts) and bool(found), "shape-depends-on-data: its parts")
    for name, sums in found.items():
        _check(isinstance(sums, np.ndarray) and sums.dtype == np.int64, f"float-leak: {name} is {sums.dtype}")
        _check(sums.shape == (parts[name].length,), f"shape-depends-on-data: {name}")
    return found


def _of(
    kind: Kind[Any],
    spec: Any,
    law: Law,
    people: People,
    parts: Mapping[str, Part],
    kept: Mapping[str, Any] | None = None,
) -> Any:
    """What a round computes on."""
    prepared = kind.prepare(spec, law, people)
    every = {name: np.ones(people.count, np.bool_) for name, part in parts.items() if part.sampled}
    return kind.of_sample(spec, law, prepared, {**every, **(kept or {})}) if every else prepared


def paid(kind: Kind[Any], spec: Any, law: Law, *, times: int = 1) -> Cost:
    """What a field costs in these tests."""
    return replace(COSTS[law], amount=times * COSTS[law].amount, sampled=sampled_of(kind.parts(spec, law)))


def _some_state(kind: Kind[Any], spec: Any, law: Law, dice: np.random.Generator) -> Any:
    """A state that a run could be in: after rounds whose noisy sums are anything.

    The sums of each part are of a size of their own, up to those of a million people who pull as one at the
    finest steps: a part that sets how far another one leads does not undo it. Often all pull one way.
    """
    state, parts = None, parts_of(kind, spec, law)
    noise = {name: noise_of(part, COSTS[law]) for name, part in parts.items()}
    for _ in range(int(dice.integers(1, kind.rounds(spec)))):
        noisy = {}
        for name, part in parts.items():
            size = 10 ** int(dice.integers(0, 18))
            signs = dice.integers(-1, 2, part.length if dice.integers(0, 2) else 1)
            noisy[name] = [Fraction(size * int(sign)) for sign in np.resize(signs, part.length)]
        state = kind.advance(spec, law, state, noisy, noise)
    return state


def _noisy(kind: Kind[Any], spec: Any, law: Law, dice: np.random.Generator, size: int) -> dict[str, Any]:
    return {
        name: [Fraction(size * int(sign)) for sign in dice.integers(-1, 2, part.length)]
        for name, part in parts_of(kind, spec, law).items()
    }


def _finish(
    kind: Kind[Any], spec: Any, law: Law, parts: Mapping[str, Part], dice: np.random.Generator
) -> None:
    """Whatever integers come out of the noise, a value of the declared shape follows."""
    noise = {name: noise_of(part, COSTS[law]) for name, part in parts.items()}
    for size in (0, 1, 50, 1000, 10**6, 2**40, 2**62):
        for _ in range(5):
            state = None
            try:
                for _ in range(min(kind.rounds(spec), 3)):
                    state = kind.advance(spec, law, state, _noisy(kind, spec, law, dice, size), noise)
                value = kind.finish(spec, law, state, noise, COHORT)
                check_shape(value, kind.shape(spec), "field")
            except JobError as error:
                raise AssertionError(f"finish-not-total: {error.message}") from error
            except Exception as error:
                raise AssertionError(f"finish-not-total: {type(error).__name__}: {error}") from error


# --- the noise -------------------------------------------------------------------------------------------


def calibrated(
    part: Part, cost: Cost, *, draw: Callable[..., Sequence[Fraction]] = add_noise, draws: int = 2_000
) -> None:
    """Compare the spread and the middle of drawn noise with what the cost demands; a false alarm is rarer
    than once in 10⁸ runs, and so is one missed: 2,000 draws see half of the scale, 25,000 see nine tenths."""
    noise, wide = noise_of(part, cost), replace(part, length=draws)
    known = np.arange(draws, dtype=np.int64)
    drawn = draw(known, wide, cost, noise)
    rest = np.array([float(value - int(own)) for value, own in zip(drawn, known, strict=True)]) / noise.sd
    # the mean of squares; a Laplace square has variance 5, a Gaussian one 2
    spread = math.sqrt((5 if cost.law == "laplace" else 2) / draws)
    _check((rest**2).mean() > 1 - 6 * spread, f"noise-too-small: {(rest**2).mean():.3f} of the variance")
    _check((rest**2).mean() < 1 + 8 * spread, "noise-too-large")
    _check(abs(rest.mean()) < 6 / math.sqrt(draws), "noise-not-centred")


def seeded(exact: np.ndarray[Any, Any], noise: Noise, dice: np.random.Generator) -> list[Fraction]:
    """Noise of this law and scale from a generator with a seed, which shares no code with the custodian's."""
    drawn = same_noise.LAWS[noise.law](dice, float(noise.scale), len(exact))
    grid = 2**noise.bits
    return [Fraction(int(value) * grid + more, grid) for value, more in zip(exact, drawn, strict=True)]


def released(field: Field, people: People, *, cohort: int = COHORT, seed: int = 1) -> dict[str, Any]:
    """What the product's kernel releases, with coins and noise of this seed: the same at every run."""
    with same_noise.drawn(seed):
        return compute(field, people, cohort=cohort)


def simulated(
    kind: Kind[Any],
    spec: Any,
    law: Law,
    people: People,
    dice: np.random.Generator,
    *,
    draws: int,
    stays: Collection[str] = (),
) -> Iterator[tuple[dict[str, Any], dict[str, Any], Any]]:
    """Releases of the same people, with their noise from a generator with a seed: each with what would have
    been released had the last round had none, but for that of parts which `stays`; and the state that round
    was asked in."""
    noise = {
        name: noise_of(part, COSTS[law]) for name, part in parts_of(kind, spec, law, people.rows).items()
    }
    parts, prepared = parts_of(kind, spec, law, people.rows), kind.prepare(spec, law, people)

    def of_round() -> Any:
        kept = {
            name: dice.random(people.count) < part.rate / EVERYBODY
            for name, part in parts.items()
            if part.sampled
        }
        return kind.of_sample(spec, law, prepared, kept) if kept else prepared

    sampled = any(part.sampled for part in parts.values())
    first = kind.aggregate(spec, law, of_round(), None)

    def without_noise(
        exact: Mapping[str, Any], before: Any, noisy: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        plain = {name: [Fraction(int(each)) for each in sums] for name, sums in exact.items()}
        plain.update({name: noisy[name] for name in stays} if noisy else {})
        value: dict[str, Any] = kind.finish(
            spec, law, kind.advance(spec, law, before, plain, noise), noise, 0
        )
        return value

    at_once = without_noise(first, None) if kind.rounds(spec) == 1 and not (sampled or stays) else None
    for _ in range(draws):
        exact, before, state = first, None, None
        for step in range(kind.rounds(spec)):
            exact = kind.aggregate(spec, law, of_round(), state) if step or sampled else first
            before = state
            noisy = {name: seeded(sums, noise[name], dice) for name, sums in exact.items()}
            state = kind.advance(spec, law, before, noisy, noise)
        truth = without_noise(exact, before, noisy) if at_once is None else at_once
        yield kind.finish(spec, law, state, noise, COHORT), truth, before


Held = dict[str, list[tuple[bool, float, bool]]]
"""By name of a number: whether its interval held the true one, how wide it was in units of the last digit,
and whether the number was another one than the true one."""


def held(value: Any, truth: Any, found: Held, includes: str = "") -> None:
    """Add each interval of a value, beside the same number of another one, where both show it. Numbers are
    named with what their intervals include."""
    if isinstance(value, list):
        for item, true in zip(value, truth, strict=True):
            held(item, true, found, includes)
    elif isinstance(value, dict):
        includes = value.get("interval", includes)
        for name, item in value.items():
            held(item, truth[name], found, includes)
            low, high = value.get(f"{name}_low"), value.get(f"{name}_high")
            if low is not None and high is not None and truth[name] is not None:
                wide = (float(high) - float(low)) * 10 ** len(str(low).partition(".")[2])
                inside = float(low) <= float(truth[name]) <= float(high)
                found.setdefault(f"{name}, {includes}", []).append((inside, wide, item != truth[name]))


def one_person(kind: Kind[Any], spec: Any, value: float) -> People:
    """A person of the first group who has this value everywhere."""
    columns = kind.columns(spec)
    with np.errstate(over="ignore"):
        narrow = np.float32(value)
    return People(
        count=1,
        numbers={name: np.array([value]) for name in columns.numbers},
        groups={name: np.zeros(1, np.int64) for name in columns.groups},
        vectors={name: np.full((1, width), narrow) for name, width in columns.vectors},
    )


def moves(kind: Kind[Any], spec: Any, law: Law, *, bounds: Sequence[float]) -> dict[str, tuple[int, int]]:
    """The farthest that one person with one row was seen to move each part, in L1 and in L2²: a lower bound
    on its sensitivity. A block is there in any case: its row is exchanged for each other that was seen."""
    dice, parts, found = np.random.default_rng(11), parts_of(kind, spec, law), dict[str, tuple[int, int]]()
    everyone = [one_person(kind, spec, value) for value in (*AWKWARD, *bounds)]
    drawn = table(kind, spec, 40, dice, bounds)
    others: dict[str, list[Any]] = {}
    for people in [*everyone, *(take(drawn, [place]) for place in range(40))]:
        states = [None, *(_some_state(kind, spec, law, dice) for _ in range(12) if kind.rounds(spec) > 1)]
        for state in states:
            for name, sums in _sums(kind, spec, law, people, parts, state).items():
                own, before = sums.astype(object), found.get(name, (0, 0))
                seen = others.setdefault(name, []) if kind.of_blocks else [0]
                far = [own - other for other in seen]
                found[name] = (
                    max(before[0], *(abs(move).sum() for move in far), 0),
                    max(before[1], *((move * move).sum() for move in far), 0),
                )
                seen.append(own)
    return found


def drawn_enough(
    field: Field, paid: Cost, moved: Mapping[str, tuple[int, int]], *, bounds: Sequence[float]
) -> None:
    """Run the kernel, and hold the noise that it drew on each part against what a person was seen to move
    (`moves`) and what was paid. Knows neither the scale nor the sensitivity that the kind states. Names every
    part that has too little; a false alarm is rarer than once in 10⁸ runs."""
    kind, spec = field.kind, field.spec
    numbers = {"laplace": 1000, "gaussian": 400}[paid.law]  # as many as tell half of the noise from all of it
    rest: dict[str, list[float]] = {}

    class Watched(type(kind)):  # type: ignore[misc]
        """The same kind, with its sums before and after the noise written down, and nothing made of them."""

        def aggregate(self, *args: Any) -> Any:
            self.exact = super().aggregate(*args)
            return self.exact

        def advance(self, spec: Any, law: Law, state: Any, noisy: Any, noise: Any) -> Any:
            for name, sums in self.exact.items():
                pairs = zip(noisy[name], sums, strict=True)
                rest.setdefault(name, []).extend(float(value - int(own)) for value, own in pairs)
            return super().advance(spec, law, state, noisy, noise)

        def finish(self, *args: Any) -> Any:
            return {}

    people = table(kind, spec, 8, np.random.default_rng(13), bounds)
    watched = Field(name=field.name, kind=Watched(), spec=spec, cost=field.cost)
    parts, law, too_small = parts_of(kind, spec, paid.law), paid.law, []
    while min((len(each) for each in rest.values()), default=0) < numbers:
        compute(watched, people, cohort=COHORT)
    for name, (l1, l2_squared) in moved.items():
        part, drawn = parts[name], np.array(rest[name])
        share = float(part.share) / part.draws
        if law == "laplace":
            variance, spread = 2 * (l1 / (paid.amount / 10**6 * share)) ** 2, math.sqrt(5 / len(drawn))
        else:
            rate, once = part.rate / EVERYBODY, (paid.amount / 10**9) ** 2 * share
            once = math.log1p(once / rate**2) if part.sampled else once
            variance, spread = l2_squared / once, math.sqrt(2 / len(drawn))
        seen = float((drawn**2).mean()) / variance
        if seen <= 1 - 6 * spread:
            too_small.append(f"{name} has {seen:.3f} of the variance")
    _check(not too_small, f"noise-too-small: {', '.join(too_small)}")


def distinguish(
    one: Callable[[int], Sequence[Any]],
    other: Callable[[int], Sequence[Any]],
    *,
    delta: float,
    draws: int = 20_000,
) -> float:
    """A lower bound on ε, at six standard deviations, from draws of one number on two neighbours.

    Half of the draws choose the event x ≥ t or x ≤ t that tells them apart best, the other half measure it.
    """
    first, second = (np.array(list(map(float, draw(draws)))) for draw in (one, other))
    half, best, chosen = draws // 2, 0.0, None
    for at in np.unique(
        np.quantile(np.concatenate([first[:half], second[:half]]), np.linspace(0.005, 0.995, 100))
    ):
        for sign in (1, -1):
            for more, less in ((first, second), (second, first)):
                found = _bound(sign * more[:half] >= sign * at, sign * less[:half] >= sign * at, delta)
                if found > best:
                    best, chosen = found, (more, less, sign, at)
    if chosen is None:
        return 0.0
    more, less, sign, at = chosen
    return _bound(sign * more[half:] >= sign * at, sign * less[half:] >= sign * at, delta)


def _bound(more: np.ndarray[Any, Any], less: np.ndarray[Any, Any], delta: float) -> float:
    """ln((p − δ) / q), with p six standard deviations lower and q six higher than seen."""
    count, often, rarely = len(more), more.mean(), less.mean()
    low = often - 6 * math.sqrt(often / count) - delta
    high = rarely + 6 * math.sqrt(max(rarely, 1 / count) / count)
    return math.log(low / high) if low > 0 else 0.0


def mu_epsilon(mu: float, delta: float) -> float:
    """The ε of μ-Gaussian differential privacy at this δ."""
    low, high = 0.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if estimate(middle, pure_micro=[], mu=mu) <= delta else (middle, high)
    return high


def _check(holds: Any, rule: str) -> None:
    if not holds:
        raise AssertionError(rule)
