# SPDX-License-Identifier: Apache-2.0
"""What a log tells, as a record: the base of all kinds of events.

Each kind is a class that says of which event of the contracts it is made. For people to follow;
`sealroom_agents.chain.events` reads them from logs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from sealroom.model import Record
from sealroom.model.base import Beside
from sealroom_agents.chain.logs import LogPosition


@dataclass(frozen=True, kw_only=True)
class Event(Record):
    """What a log tells, its fields under the names that the contract's event has."""

    KINDS: ClassVar[dict[str, type[Event]]] = {}
    """The class of each event of the contracts, by its name there."""

    at: Annotated[LogPosition, Beside()]
    """Where it happened."""

    def __init_subclass__(cls, *, name: str = "", **options: Any) -> None:
        """name: of the contracts' event; empty for what several kinds share."""
        super().__init_subclass__(**options)
        if name:
            Event.KINDS[name] = cls

    @property
    def content_id(self) -> bytes | None:
        """Id that the content of a proposal really has; `None` for what has no content."""
        return None
