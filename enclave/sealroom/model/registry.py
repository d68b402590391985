# SPDX-License-Identifier: Apache-2.0
"""Sealed datasets on chain: whose they are, their versions, and what may be spent on them.

The contract's twins are the structures of `IRegistry`. A dataset belongs to no consortium: its holder allows
one to spend of it, and one lifetime account counts what all of them spend.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sealroom.model.base import Label, Record
from sealroom.model.kinds import B32, U16, U32, U64, Address, Micro32, Pico40, Text
from sealroom.model.units import delta_text, epsilon_text
from sealroom.schema import DATASET_NAME

MAX_OFFERED = 16
"""Most datasets that one holder offers to one consortium."""


@dataclass(frozen=True, kw_only=True)
class Version(Record, what="the version"):
    """One sealed file of a dataset (`IRegistry.Version`)."""

    header: Annotated[B32, Label("header digest")]
    """SHA-256 of the sealed header."""
    index: Annotated[B32, Label("index digest")]
    """SHA-256 of the unsigned index."""
    key_commitment: B32
    """Commitment to the data key."""
    schema_hash: B32
    """Digest of the columns."""
    rows: U64
    """Rows, as the owner declares them; 0 for what is no table."""


@dataclass(frozen=True, kw_only=True)
class Dataset(Record, what="the dataset"):
    """Whose a dataset is (`IRegistry.Dataset`)."""

    holder: Address
    """Account that holds it; zero for one that is not registered."""
    versions: U32
    """Number of its versions, which is the number of the newest."""
    tenure: U32
    """How often it changed hands."""
    name: Annotated[str, Text(64, DATASET_NAME)]
    """Name among those that its registrant registered."""


@dataclass(frozen=True, kw_only=True)
class Account(Record, what="the lifetime account"):
    """What may be, and is, spent on a dataset: all versions, consortia and studies together."""

    epsilon_cap: Micro32
    """ε that may be spent, micro-epsilon."""
    epsilon_spent: Micro32
    """ε that is spent, micro-epsilon."""
    delta_cap: Pico40
    """δ that may be spent, pico-delta."""
    delta_spent: Pico40
    """δ that is spent, pico-delta."""


@dataclass(frozen=True, kw_only=True)
class Limits(Record, what="the limits"):
    """What a holder lets one consortium spend on a dataset (`IRegistry.Limits`)."""

    epsilon_micro: Micro32
    """ε of all its runs together, micro-epsilon."""
    delta_pico: Pico40
    """δ of all its runs together, pico-delta."""
    epsilon_per_day: Micro32
    """ε in one UTC day, micro-epsilon."""
    runs_per_day: U16
    """Runs in one UTC day."""

    def __str__(self) -> str:
        return (
            f"ε {epsilon_text(self.epsilon_micro)}, δ {delta_text(self.delta_pico)}, "
            f"ε {epsilon_text(self.epsilon_per_day)} and {self.runs_per_day} runs a day"
        )


@dataclass(frozen=True, kw_only=True)
class Allowance(Record, what="the allowance"):
    """What a consortium may spend on a dataset, and has spent (`IRegistry.Allowance`)."""

    epsilon_cap: Micro32
    """ε that it may spend, micro-epsilon."""
    epsilon_spent: Micro32
    """ε that it spent, micro-epsilon."""
    delta_cap: Pico40
    """δ that it may spend, pico-delta."""
    delta_spent: Pico40
    """δ that it spent, pico-delta."""
    epsilon_per_day: Micro32
    """ε in one UTC day, micro-epsilon."""
    epsilon_today: Micro32
    """ε that it spent on `day`, micro-epsilon."""
    runs_per_day: U16
    """Runs in one UTC day."""
    runs_today: U16
    """Runs that it opened on `day`."""
    day: U16
    """Last UTC day on which it spent, counted from 1970."""
