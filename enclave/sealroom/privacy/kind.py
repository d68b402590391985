# SPDX-License-Identifier: Apache-2.0
"""What a kind of released value is: one module of `sealroom.privacy.kinds`, and nothing elsewhere.

A kind turns each row of `People` into one bounded vector of integers. The custodian sums the vectors, adds
noise and hands the noisy sum back (`release`); the accountant, the recipe, the statement, the console and the
commands ask the kind for all they need. A kind sees no noise being drawn, no budget and no key. It keeps
these promises, which `tests/enclave/kinds` puts to the test for every kind:

* `aggregate` is additive over rows, bit for bit: what a row adds is a function of that row alone, and of what
  was released before;
* what one row adds to a part is within that part's bounds;
* lengths and types follow from the recipe alone, and no value of a row makes anything raise;
* a part with a `rate` below everybody is summed over the rows that `of_sample` was given for it, and over no
  others; those of one round are never used in another;
* `finish` is total: any noisy integers give a value of the declared shape.

What one person adds follows from the most rows that a person has. Modules of kinds are read by whoever reads
a recipe, with or without numpy: they import it where they compute.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from sealroom.privacy.members import Groups, Members
from sealroom.privacy.parts import LAWS, Law, Noise, Part
from sealroom.privacy.shape import Row
from sealroom.safetensors import Tensor

if TYPE_CHECKING:
    from sealroom.privacy.people import Booleans, Integers, People
    from sealroom.training.checkpoints import Checkpoints

S = TypeVar("S")
"""What a kind reads from a field: a frozen value."""

Noisy = Mapping[str, list[Fraction]]
"""The noisy sums by part, in steps of the part."""
Noises = Mapping[str, Noise]
"""The noise of each part."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of the people's table that a field reads, each once."""

    numbers: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    vectors: tuple[tuple[str, int], ...] = ()
    """Columns of lists of numbers, each with the length that a list has. A row with a list of another length,
    or with none, is in no table of the field."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all columns, one of two uses once."""
        return tuple(dict.fromkeys((*self.numbers, *self.groups, *(name for name, _ in self.vectors))))


@dataclass(frozen=True)
class Counted:
    """What a row of the table stands for, in words."""

    one: str
    many: str


PEOPLE = Counted("person", "people")
"""Where a person has one row."""
ROWS = Counted("row", "rows")
"""Where a person may have several: rows are counted then, and not people."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """How wide a 95 % interval of something released will be, foretold from the noise alone."""

    about: str
    """What it is around, in words: `people in a group`."""
    half_width: float


@dataclass(frozen=True, kw_only=True)
class Least:
    """Below how many of something its noise is too much for a number to be told, however few a cohort may
    have."""

    of: str
    """In words: `events with a label`."""
    count: float


class Kind(ABC, Generic[S]):
    """A kind of released value."""

    name: ClassVar[str]
    """Its name in recipes."""
    member_names: ClassVar[tuple[str, ...]]
    """Of the members that are its own, those among them that not each field has."""
    laws: ClassVar[tuple[Law, ...]] = LAWS
    """The laws of noise that it can have."""
    otherwise: ClassVar[str] = ""
    """In words, what else withholds a number than that there are too few of something."""
    trains: ClassVar[bool] = False
    """Whether its value is a network, with `tensors` and `checkpoints`."""
    of_blocks: ClassVar[bool] = False
    """Whether its rows are blocks of people: recipes by blocks have such kinds alone, and others none."""

    closed: ClassVar[bool] = False
    """Whether `preview` is a closed form of what the recipe declares and the number of rows: a page computes
    it by itself."""
    units: ClassVar[Mapping[str, str]] = {}
    """What numbers of its value are counted in, by their names, where the names alone do not say it; `{own}`
    stands for the unit of what it reads."""

    @abstractmethod
    def read(self, members: Members, groups: Groups) -> S:
        """Read the members that are this kind's own, and judge them: the only place that refuses."""

    @abstractmethod
    def plain(self, spec: S) -> dict[str, Any]:
        """The members again."""

    @abstractmethod
    def columns(self, spec: S) -> Columns:
        """What it reads."""

    @abstractmethod
    def parts(self, spec: S, law: Law) -> tuple[Part, ...]:
        """The blocks of a row's vector. Those with several draws are summed in so many rounds. Those with a
        `rate` are summed over a random part of the people, another one in each round."""

    @abstractmethod
    def rows(self, spec: S) -> int:
        """How many rows of numbers the value has."""

    @abstractmethod
    def shape(self, spec: S) -> Row:
        """The shape of the value."""

    @abstractmethod
    def preview(self, spec: S, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        """How wide its intervals will be; the first is what planning makes small."""

    @abstractmethod
    def sentence(self, spec: S, of: Counted) -> str:
        """What it is, and what one of them can change, for owners."""

    @abstractmethod
    def aggregate(self, spec: S, law: Law, people: Any, state: Any) -> dict[str, Integers]:
        """The exact sums of the parts of this round, over what `prepare` made; `state` is None at first."""

    @abstractmethod
    def finish(self, spec: S, law: Law, state: Any, noise: Noises, cohort: int) -> dict[str, Any]:
        """The value. Numbers about fewer people than `cohort`, as far as the noisy sums tell, are null."""

    def least(self, spec: S, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        """What there must be enough of, beside a cohort, for `finish` to tell a number."""
        return ()

    def tensors(self, spec: S, value: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """The weights of a value that is a network, for a model file; none where it is not."""
        return ()

    def checkpoints(self, spec: S, value: Mapping[str, Any]) -> Checkpoints | None:
        """The hash chain that ends in these weights; `None` where there are none."""
        return None

    def warm_up(self) -> None:
        """Import what takes long, while there is time."""

    def prepare(self, spec: S, law: Law, people: People) -> Any:
        """What all rounds compute on."""
        return people

    def of_sample(self, spec: S, law: Law, prepared: Any, kept: Mapping[str, Booleans]) -> Any:
        """What one round computes on, of what `prepare` made, where a part is summed over a random part of
        the people: `aggregate` gets this in its place. `kept` has, by name of each such part, one truth a row
        of `People`, in their order, which the kernel drew for this round. How many are true is nobody's to
        know: nothing but the noisy sums may depend on it."""
        raise NotImplementedError(f"{self.name} has no parts over some of the people")

    def rounds(self, spec: S) -> int:
        """How often sums are asked for."""
        return 1

    def multiplications(self, spec: S) -> int:
        """About how many products a row takes in all rounds, where these are what takes time."""
        return 0

    def advance(self, spec: S, law: Law, state: Any, noisy: Noisy, noise: Noises) -> Any:
        """The state after a round: what was released so far."""
        return {**(state or {}), **noisy}
