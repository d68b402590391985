# SPDX-License-Identifier: Apache-2.0
"""The history of a consortium for auditors: what of it is asked for, what was spent meanwhile, and as a file.

All of it is read from the chain. A log is a hint; the number of events is compared with the state, and the
page says where some are missing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model.units import delta_text, epsilon_text
from sealroom_agents.chain import History
from sealroom_agents.chain.event import Event
from sealroom_agents.chain.run_events import RunOpening
from sealroom_agents.console.activity import Activity
from sealroom_agents.errors import RequestError
from sealroom_agents.facts import DatasetRecord
from sealroom_agents.index import Wanted

KINDS = {
    "approvals": ("StudyProposed", "Approved", "Withdrawn", "StudyPinned"),
    "runs": ("RunOpened", "RunRefused"),
    "receipts": ("ReceiptAnchored", "BatchAnchored"),
    "revocations": ("Revoked", "UnpinFailed"),
    "owners": ("RosterProposed", "RosterChanged", "SeatOffered", "SeatMoved", "Confirmed"),
    "platform": ("PlatformProposed", "PlatformAdopted", "MachinesProposed", "MachinesAdded"),
    "datasets": (
        "DatasetRegistered",
        "VersionAdded",
        "LifetimeSet",
        "Allowed",
        "DatasetOffered",
        "DatasetMoved",
    ),
}
"""What an auditor asks for, and the contracts' events that tell of it."""
COLUMNS = (
    "block", "time", "final", "kind", "who", "what", "reason", "transaction", "block_hash", "run", "study",
    "datasets", "accounts",
)  # fmt: skip
"""Of the file. A cell of several ids has a space between them."""

DAY_S = 86_400

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FORMULA = re.compile(r"(^|[;\t\r\n])(?=[ ;\t\r\n]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r])")
"""Where a cell begins, for a spreadsheet that splits at commas or one that splits at semicolons, in which it
would compute; full-width signs count too."""


@dataclass(frozen=True)
class Filter:
    """What of the history is asked for, as it stands in a query: empty for all."""

    kind: str = ""
    """One of `KINDS`."""
    owner: str = ""
    """Id of an owner, of now or of before."""
    since: str = ""
    """First day, `2026-11-28`, UTC."""
    until: str = ""
    """Last day."""

    def wanted(self, names: dict[str, str], history: History) -> Wanted:
        """The events. names: ids of owners by their accounts; history: who decided what. Raises
        `RequestError` `malformed`, naming the parameter."""
        if self.kind and self.kind not in KINDS:
            raise RequestError(Code.MALFORMED, f"kind must be one of {', '.join(KINDS)}")
        accounts = tuple(account for account, owner in names.items() if owner == self.owner)
        if self.owner and not accounts:
            raise RequestError(Code.MALFORMED, "owner names none that this consortium has or had")
        since, last = _day("since", self.since), _day("until", self.until)
        if since and last and last < since:
            raise RequestError(Code.MALFORMED, "until is before since")
        return Wanted(
            names=KINDS.get(self.kind, ()),
            accounts=accounts,
            decided=tuple(
                to_hex(one)
                for one, voices in history.deciding.items()
                if not set(accounts).isdisjoint(voices)
            ),
            since=None if since is None else int(since.timestamp()),
            until=None if last is None else int(last.timestamp()) + DAY_S,
        )


def _day(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise RequestError(Code.MALFORMED, f"{name} must be a day such as 2026-11-28")


@dataclass(frozen=True)
class Spent:
    """What runs of a period booked on one dataset."""

    dataset: bytes
    """Its id, 32 bytes."""
    name: str
    """Empty where its registration was not read."""
    holder: str
    runs: int
    epsilon_micro: int
    delta_pico: int


def spent(events: Iterable[Event], history: History, datasets: Iterable[DatasetRecord]) -> list[Spent]:
    """What the openings among some events booked, by dataset. history: tells which datasets a study reads."""
    reads = {one.content.id: one.content.datasets for one in history.pins}
    known = {one.id: one for one in datasets}
    found: dict[bytes, list[int]] = {}
    for event in events:
        if isinstance(event, RunOpening):
            for dataset in reads.get(event.study, ()):
                booked = found.setdefault(dataset, [0, 0, 0])
                booked[0] += 1
                booked[1] += event.opening.run.epsilon_micro
                booked[2] += event.opening.run.delta_pico
    return [
        Spent(
            dataset,
            known[dataset].name if dataset in known else "",
            (known[dataset].holder_id or known[dataset].holder) if dataset in known else "",
            *booked,
        )
        for dataset, booked in found.items()
    ]


def as_csv(pages: Iterable[Iterable[Activity]]) -> Iterator[str]:
    """The history as lines of RFC 4180, page by page, with full hashes. Text that a spreadsheet would compute
    is led by an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for page in pages:
        for one in page:
            writer.writerow(map(_plain, row(one)))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def row(one: Activity) -> tuple[str, ...]:
    """The texts of a line, as `COLUMNS` names them."""
    time = "" if one.time is None else datetime.fromtimestamp(one.time, UTC).isoformat()
    final = "yes" if one.final else "no"
    told = one.kind, one.who, one.what, one.reason
    run, study = (to_hex(id) if id else "" for id in (one.run, one.study))
    of = run, study, " ".join(map(to_hex, one.datasets)), " ".join(one.accounts)
    return (str(one.at.block), time, final, *told, one.at.tx, to_hex(one.at.block_hash), *of)


def _plain(text: str) -> str:
    return _FORMULA.sub(r"\1'", text)


def spent_words(one: Spent) -> str:
    """In words."""
    return f"ε {epsilon_text(one.epsilon_micro)}, δ {delta_text(one.delta_pico)}"
