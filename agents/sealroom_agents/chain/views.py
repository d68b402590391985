# SPDX-License-Identifier: Apache-2.0
"""From contract storage to facts: everything about one consortium, read from one node at one block hash.

The lens answers in one call. Consortium and ledger name it, once and for all: `Consortium.ledger()`, then
`Ledger.lens()`. So whoever trusts a ledger's code trusts its lens, and a lens can say of a consortium no more
than the consortium could itself: an owner's own contract falsifies its own rows only. What several nodes must
agree on is the row.

The contract keeps of a study only its hash; `sealroom_agents.chain.contents` finds what it is the hash of.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.model import DatasetView, Platform, Row, Spending, State, Study, Version
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import MAX_BATCH, Head, Rpc, RpcFailure
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import CandidateRecord, ChainView, DatasetRecord

ZERO_ADDRESS = "0x" + 40 * "0"
ZERO_HASH = bytes(32)
MAX_COUNTER = 2**40
"""Largest number, time or block that a genuine contract keeps."""
NOTHING = Spending(epsilon_micro=0, delta_pico=0, runs=0)
"""What no run has booked."""
MAX_CANDIDATES = MAX_BATCH // 2
"""Proposed studies that are read at once: two calls each."""
STUDY = 4
"""Kind of a proposal that is a study (`ILens.Pending`)."""
NAMING_GAS = 30_000
"""Gas for a question that a contract answers from its code: so little that `CALLS` hostile answers still fit
into one of a node."""
CALLS = 32
"""Consortia that are asked in one batch."""
STATE_GAS = 2_000_000
"""Gas for the state of one consortium; one of the most owners, images and devices needs a third."""
ROW_GAS = 10_000_000
"""Gas for a row; one of the most owners, machines and datasets needs half."""
MAX_STATE_BYTES = 32 * 1024
"""Bytes of a state; one of the most owners, images and devices has a third."""
MAX_DATASET_BYTES = 2 * 1024
"""Bytes of one dataset in a row; one with the longest name has half."""
MAX_LISTED = 64
"""Datasets that are asked for in one row."""
MAX_PLACES = 4096
"""Consortia whose ledger and lens are kept."""
PLACE_S = 600.0
"""Seconds after which a node is asked again; at once where what it shows there is no consortium's."""


@dataclass(frozen=True)
class Place:
    """Where a consortium is read. Neither ever changes."""

    ledger: str
    """Address of its ledger."""
    lens: str
    """Address of the ledger's lens."""


@dataclass(frozen=True)
class Seen:
    """What one node shows of a consortium at one block."""

    row: Row
    """The lens' answer, with the datasets that were asked for."""
    pinned: tuple[Version | None, ...]
    """For each of these datasets the version that the study pins; `None` where it uses the newest."""


class Places:
    """Ledger and lens of consortia, as each node names them. They never change, so a node is asked rarely: it
    may have lied then, or have been on another branch. Thread safe."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Rpc, str], tuple[Place, float]] = OrderedDict()

    def forget(self, rpc: Rpc, consortium: str | None = None) -> None:
        """Ask a node anew: about one consortium, or about all."""
        with self._lock:
            for key in [key for key in self._kept if key[0] is rpc and consortium in (None, key[1])]:
                del self._kept[key]

    def one(self, rpc: Rpc, consortium: str, head: Head) -> Place:
        """Of one consortium. Raises `ChainError` as `read` does."""
        if (kept := self._get(rpc, consortium)) is not None:
            return kept
        ledger = _address(rpc, head, "Consortium", consortium, "ledger")
        place = Place(ledger, _address(rpc, head, "Ledger", ledger, "lens"))
        self._keep(rpc, {consortium: place})
        return place

    def known(self, rpc: Rpc, consortium: str) -> Place | None:
        """Of one consortium, if it was asked for."""
        return self._get(rpc, consortium)

    def many(self, rpc: Rpc, consortia: Sequence[str], head: Head) -> dict[str, Place]:
        """Of many; those that name none are left out."""
        found = {one: place for one in consortia if (place := self._get(rpc, one)) is not None}
        new = [one for one in consortia if one not in found]
        ledgers = _addresses(rpc, head, "Consortium", new, "ledger")
        lenses = _addresses(rpc, head, "Ledger", sorted(set(ledgers.values())), "lens")
        named = {one: Place(ledger, lenses[ledger]) for one, ledger in ledgers.items() if ledger in lenses}
        self._keep(rpc, named)
        return found | named

    def _get(self, rpc: Rpc, consortium: str) -> Place | None:
        with self._lock:
            found = self._kept.get((rpc, consortium))
            return None if found is None or self._clock() - found[1] > PLACE_S else found[0]

    def _keep(self, rpc: Rpc, named: dict[str, Place]) -> None:
        with self._lock:
            for consortium, place in named.items():
                self._kept[(rpc, consortium)] = place, self._clock()
            while len(self._kept) > MAX_PLACES:
                self._kept.popitem(last=False)


def active_study(state: State) -> bytes | None:
    """Id of the study that was pinned last, and neither revoked nor superseded; else `None`."""
    return None if state.study == ZERO_HASH or state.fate.ended_at else state.study


def revoker(state: State) -> str | None:
    """Who revoked the study pinned last, else the first whose veto stands; `None` when no veto stands."""
    if not state.revokers:
        return None
    return state.revokers[0] if state.fate.revoked_by == ZERO_ADDRESS else state.fate.revoked_by


def read_state(rpc: Rpc, places: Places, consortium: str, head: Head) -> State:
    """Where a consortium stands at one block.

    Raises `ChainError`: `not-a-consortium` when the address answers something else, `chain-disagrees` when
    the block isn't canonical any more, `chain-unreachable`.
    """
    lens = interface("Lens")
    with _place(rpc, places, consortium, head) as place:
        (data,) = _calls(rpc, head, [(place.lens, lens.encode("state", consortium))], gas=STATE_GAS)
        return decode_state(data, place)


def read(rpc: Rpc, places: Places, consortium: str, head: Head, *, study: Study | None) -> Seen:
    """All of one consortium at one block, with the datasets of `study`. Raises as `read_state` does."""
    lens, ledger = interface("Lens"), interface("Ledger")
    datasets = () if study is None else study.datasets
    versions = () if study is None else study.versions
    with _place(rpc, places, consortium, head) as place:
        calls = [(place.lens, lens.encode("row", (consortium, [], list(datasets))))]
        calls += [
            (place.ledger, ledger.encode("versionOf", dataset, version))
            for dataset, version in zip(datasets, versions, strict=True)
            if version
        ]
        data, *rest = _calls(rpc, head, calls, gas=ROW_GAS)
        row = decode_row(data, place, datasets)
    answers = iter(rest)
    pinned = tuple(
        Version.of_abi(ledger.decode("versionOf", next(answers))) if version else None for version in versions
    )
    return Seen(row, pinned)


def view_of(
    consortium: str, head: Head, seen: Seen, *, chain_id: int, study: Study | None, reason: str = ""
) -> ChainView:
    """The view that `seen` is; it was read at `head`, and `study` is the content of its active study."""
    row, state = seen.row, seen.row.state
    return ChainView(
        chain_id=chain_id,
        consortium=consortium,
        app=state.app,
        ledger=state.ledger,
        block_number=head.number,
        block_hash=head.hash,
        block_time=head.timestamp,
        roster_digest=state.roster_digest,
        charter=state.charter,
        standing=state.standing,
        basis=state.basis,
        steps=state.steps,
        nonce=state.nonce,
        threshold=state.threshold,
        owners=state.owners,
        platform=adopted(state),
        study=study,
        live=study is not None and state.live,
        approved_at=0 if study is None else state.approved_at,
        approvals=() if study is None else state.approvals,
        revokers=state.revokers,
        revoked_by=revoker(state),
        revoked_at=0 if state.fate.revoked_by == ZERO_ADDRESS else state.fate.ended_at,
        revocation_reason=reason,
        datasets=() if study is None else _datasets(seen, study),
        spending=NOTHING if study is None else row.spending,
        app_allows=study is not None and row.allowed and state.compose_hash == study.compose_hash,
        require_tcb=row.require_tcb,
        allow_any_device=row.any_device,
        confirmed=state.confirmed,
    )


def adopted(state: State) -> Platform | None:
    """The platform; `None` before the first adoption."""
    return None if state.platform.gate_root == ZERO_HASH else state.platform


def read_datasets(
    rpc: Rpc, places: Places, consortium: str, head: Head, ids: Sequence[bytes]
) -> tuple[DatasetRecord, ...]:
    """Datasets as a consortium may use them at one block, each in its newest version."""
    place = places.one(rpc, consortium, head)
    call = interface("Lens").encode("row", (consortium, [], list(ids)))
    (data,) = _calls(rpc, head, [(place.lens, call)], gas=ROW_GAS)
    row = decode_row(data, place, ids)
    return tuple(_record(row.state, found, 0, None) for found in row.datasets)


def read_study_datasets(
    rpc: Rpc, places: Places, consortium: str, head: Head, study: Study
) -> tuple[DatasetRecord, ...]:
    """Datasets of a study, live or not, at one block, in the versions that it names."""
    return _datasets(read(rpc, places, consortium, head, study=study), study)


def read_versions(
    rpc: Rpc, ledger: str, head: Head, wanted: Sequence[tuple[bytes, int]]
) -> tuple[Version | None, ...]:
    """Versions by dataset and number at one block; `None` for one that is not registered."""
    contract = interface("Ledger")
    calls = [(ledger, contract.encode("versionOf", dataset, number)) for dataset, number in wanted]
    found: list[Version | None] = []
    for start in range(0, len(calls), MAX_BATCH):
        for data in _calls(rpc, head, calls[start : start + MAX_BATCH], gas=STATE_GAS):
            version = Version.of_abi(contract.decode("versionOf", data))
            found.append(None if version.header == ZERO_HASH else version)
    return tuple(found)


def read_offered(rpc: Rpc, places: Places, consortium: str, head: Head) -> list[bytes]:
    """Ids of the datasets that its owners let a consortium use, at one block; at most 16 each."""
    ledger = interface("Ledger")
    state = read_state(rpc, places, consortium, head)
    calls = [(state.ledger, ledger.encode("offered", consortium, owner.account)) for owner in state.owners]
    found: list[bytes] = []
    for data in _calls(rpc, head, calls, gas=STATE_GAS):
        _bounded(data, MAX_DATASET_BYTES)
        found += [bytes(one) for one in ledger.decode("offered", data)]
    return found


def read_candidates(
    rpc: Rpc, places: Places, consortium: str, head: Head, studies: Sequence[Study]
) -> list[CandidateRecord]:
    """Proposed studies with their approvals at one block, in one batch.

    At most `MAX_CANDIDATES`, and without those for which the contract does not answer there. Approvals that
    follow another basis than the present one do not count, and are left out.
    """
    lens, place = interface("Lens"), places.one(rpc, consortium, head)
    calls = []
    for study in studies[:MAX_CANDIDATES]:
        calls.append((place.lens, lens.encode("pending", consortium, study.id)))
        asked = consortium, list(study.datasets), list(study.versions)
        calls.append((place.lens, lens.encode("requiredOwners", *asked)))
    answers = iter(rpc.calls_at(head.hash, calls, gas=STATE_GAS))
    found = []
    for study, pending, required in zip(studies, answers, answers, strict=False):
        if isinstance(pending, RpcFailure):
            continue
        _bounded(pending, MAX_STATE_BYTES)
        votes = lens.decode("pending", pending)
        # The holder of a dataset may have left since, or a version may not be there; then it is unknown who
        # is required, and it is not needed.
        owners = () if isinstance(required, RpcFailure) else lens.decode("requiredOwners", required)
        counted = votes["approved"] if votes["counts"] and votes["kind"] == STUDY else ()
        found.append(CandidateRecord(study=study, approvals=_lower(counted), required=_lower(owners)))
    return found


@contextmanager
def _place(rpc: Rpc, places: Places, consortium: str, head: Head) -> Iterator[Place]:
    """Where a consortium is read; the node is asked for it anew once what is there is no consortium's."""
    place = places.one(rpc, consortium, head)
    try:
        yield place
    except ChainError as error:
        if error.code == Code.NOT_A_CONSORTIUM:
            places.forget(rpc, consortium)
        raise


def decode_state(data: bytes, place: Place) -> State:
    """The lens' `State`. Raises `ChainError` `not-a-consortium` for what no genuine consortium says."""
    _bounded(data, MAX_STATE_BYTES)
    return _checked(_of_abi(State, interface("Lens").decode("state", data)), place)


def decode_row(data: bytes, place: Place, datasets: Sequence[bytes]) -> Row:
    """The lens' `Row`, with these datasets and without runs. Raises `ChainError` `not-a-consortium` for what
    no genuine consortium says."""
    _bounded(data, MAX_STATE_BYTES + MAX_DATASET_BYTES * len(datasets))
    row = _of_abi(Row, interface("Lens").decode("row", data))
    _checked(row.state, place)
    if [dataset.id for dataset in row.datasets] != list(datasets):
        raise ChainError(Code.NOT_A_CONSORTIUM, "the lens answers with other datasets than were asked for")
    return row


def _checked(state: State, place: Place) -> State:
    fate = state.fate
    numbers = state.steps, state.last_block, state.nonce, state.expiry, state.approved_at, fate.ended_at
    if max(numbers) > MAX_COUNTER:
        raise ChainError(Code.NOT_A_CONSORTIUM, f"{max(numbers)} is no number, time or block of a consortium")
    if state.ledger != place.ledger:
        raise ChainError(Code.NOT_A_CONSORTIUM, "the lens says that the consortium has another ledger")
    return state


def _of_abi(record: Any, raw: Any) -> Any:
    try:
        return record.of_abi(raw)
    except FormatError as error:
        raise ChainError(
            Code.NOT_A_CONSORTIUM, f"the contract answers with what no genuine one says: {error.message}"
        ) from error


def _datasets(seen: Seen, study: Study) -> tuple[DatasetRecord, ...]:
    answers = zip(seen.row.datasets, study.versions, seen.pinned, strict=True)
    return tuple(_record(seen.row.state, found, number, version) for found, number, version in answers)


def _record(state: State, found: DatasetView, number: int, pinned: Version | None) -> DatasetRecord:
    """One dataset in the version `number` that a study pins; in its newest one if that is zero."""
    version = found.newest if pinned is None else pinned
    number = number or found.dataset.versions
    holder = found.dataset.holder
    return DatasetRecord(
        id=found.id,
        name=found.dataset.name,
        holder=holder,
        holder_id=next((owner.id for owner in state.owners if owner.account == holder), ""),
        number=0 if version.header == ZERO_HASH else number,
        version=version,
        account=found.account,
        allowance=found.allowance,
        tenure=found.dataset.tenure,
    )


def _address(rpc: Rpc, head: Head, name: str, address: str, view: str) -> str:
    contract = interface(name)
    (data,) = _calls(rpc, head, [(address, contract.encode(view))], gas=NAMING_GAS)
    return str(contract.decode(view, data)).lower()


def _addresses(rpc: Rpc, head: Head, name: str, contracts: Sequence[str], view: str) -> dict[str, str]:
    """What each contract answers; those that answer nothing are left out."""
    contract = interface(name)
    call = contract.encode(view)
    found = {}
    for start in range(0, len(contracts), CALLS):
        asked = contracts[start : start + CALLS]
        answers = rpc.calls_at(head.hash, [(address, call) for address in asked], gas=NAMING_GAS)
        for address, answer in zip(asked, answers, strict=True):
            if not isinstance(answer, RpcFailure) and len(answer) == 32 and answer[:12] == bytes(12):
                found[address] = "0x" + answer[12:].hex()
    return found


def _bounded(data: bytes, limit: int) -> None:
    if len(data) > limit:
        raise ChainError(
            Code.NOT_A_CONSORTIUM, f"the contract answers with {len(data)} bytes, at most {limit}"
        )


def _lower(accounts: Sequence[str]) -> tuple[str, ...]:
    return tuple(account.lower() for account in accounts)


def _calls(rpc: Rpc, head: Head, calls: Sequence[tuple[str, bytes]], *, gas: int) -> list[bytes]:
    answers: list[bytes] = []
    for (address, _), answer in zip(calls, rpc.calls_at(head.hash, calls, gas=gas), strict=True):
        if isinstance(answer, RpcFailure):
            if answer.reverted:
                raise ChainError(Code.NOT_A_CONSORTIUM, f"{address} reverts: {answer.message}")
            # A node that no longer (or not yet) has this block as canonical says so here.
            raise ChainError(
                Code.CHAIN_DISAGREES,
                f"{rpc.shown_url} does not answer at block {head.number}: {answer.message}",
                "try again; the chain has moved under the read",
            )
        answers.append(answer)
    return answers
