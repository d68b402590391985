# SPDX-License-Identifier: Apache-2.0
"""What happened to datasets: an event of `IRegistry` each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from sealroom.model import Limits, Version
from sealroom.model.base import Beside
from sealroom.model.kinds import B32, U32, Address, Micro32, Pico40, Seconds, Text
from sealroom_agents.chain.event import Event


@dataclass(frozen=True, kw_only=True)
class DatasetEvent(Event):
    """Something happened to a dataset."""

    dataset: B32
    """Dataset id."""


@dataclass(frozen=True, kw_only=True)
class DatasetRegistration(DatasetEvent, name="DatasetRegistered"):
    """An account registered it."""

    holder: Address
    """The account."""
    name: Annotated[str, Text(64)]
    """Its name."""


@dataclass(frozen=True, kw_only=True)
class HolderEvent(DatasetEvent):
    """Its holder did something, whom the event does not name."""

    by: Annotated[str, Beside()] = ""
    """Account that held it then; empty where that is not known."""


@dataclass(frozen=True, kw_only=True)
class VersionAddition(HolderEvent, name="VersionAdded"):
    """It has another version."""

    number: U32
    """Number of the version, from 1."""
    version: Version
    """The sealed file."""


@dataclass(frozen=True, kw_only=True)
class LifetimeSetting(HolderEvent, name="LifetimeSet"):
    """Its holder set what may be spent on it, ever."""

    epsilon_micro: Micro32
    """ε, micro-epsilon."""
    delta_pico: Pico40
    """δ, pico-delta."""


@dataclass(frozen=True, kw_only=True)
class AllowanceSetting(HolderEvent, name="Allowed"):
    """Its holder set what one consortium may spend on it."""

    consortium: Address
    """Address of the consortium."""
    limits: Limits
    """What it may spend."""


@dataclass(frozen=True, kw_only=True)
class DatasetOffer(DatasetEvent, name="DatasetOffered"):
    """Its holder offered it to another account, or took the offer back."""

    holder: Address
    """Who holds it."""
    to: Address
    """Who may take it; zero takes the offer back."""
    from_: Seconds
    """From when, unix seconds."""


@dataclass(frozen=True, kw_only=True)
class DatasetMove(DatasetEvent, name="DatasetMoved"):
    """Another account holds it; what was allowed is void."""

    holder: Address
    """Who holds it."""
    tenure: U32
    """How often it has changed hands."""
