# SPDX-License-Identifier: Apache-2.0
"""What follows from all that the nodes have shown: views, newest states, and who lied.

Nothing here waits for anything: what has to be asked, or looked for in logs, is left to the follower, which
holds its lock around every call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from sealroom.codes import Code
from sealroom.model import Row, Version
from sealroom.model.consortium import MAX_LIST
from sealroom_agents.chain.look import Sight
from sealroom_agents.chain.memory import Memory, Rows, Search
from sealroom_agents.chain.newest import Newest, Said, Settled, Settling
from sealroom_agents.chain.nodes import MAX_AHEAD, Nodes, decisive
from sealroom_agents.chain.rpc import Head, Rpc
from sealroom_agents.chain.seats import Agreed, Seat, Shown, agreed
from sealroom_agents.chain.views import Seen, active_study, revoker, view_of
from sealroom_agents.errors import ChainError

MAX_AGE_S = 15.0
"""Seconds after which nothing that was read counts, or three blocks where those take longer."""
FORGET_S = 120.0
"""Seconds after which what nobody asks about is not followed any more: twice the longest lease."""
SEARCH_AGAIN_S = 1.0
"""Seconds after which what was not found in logs is looked for again."""
RING = 512
"""Blocks whose hashes are remembered."""

log = logging.getLogger(__name__)


class Picture:
    """All that is known of the chain. Guarded by its follower's lock."""

    def __init__(self, nodes: Nodes, *, clock: Callable[[], float]) -> None:
        self._nodes = nodes
        self._clock = clock
        self._settling = Settling(nodes, clock=clock)
        self._rows = Rows()
        self.seats = {rpc: Seat(rpc, nodes.breaker(rpc)) for rpc in nodes.rpcs}
        """The nodes."""
        self.memories: dict[str, Memory] = {}
        """The consortia that are followed, by address."""
        self.heights: dict[int, float] = {}
        """Heights of revocations that were seen, and when somebody last asked about them."""
        self.floor = nodes.finalized_floor
        """Number of the highest block that a quorum called final."""
        self.violated: ChainError | None = None
        """Set once a final block was replaced."""
        self.searches: list[Search] = []
        """What the follower is to look for next."""
        self._ring: dict[int, bytes] = {}
        self._finals: dict[int, bytes] = {}

    # --- what is known --------------------------------------------------------------------------

    def limit(self) -> float:
        """Seconds after which what was read counts no more."""
        paces = sorted(seat.pace.block_s for seat in self.seats.values() if seat.at is not None)
        return max(MAX_AGE_S, 3 * paces[len(paces) // 2] if paces else 0.0)

    def lacking(self, what: str) -> ChainError:
        """Why there are too few answers: the nodes' own failures, else that they are old."""
        failures = [seat.failure for seat in self.seats.values() if seat.failure is not None]
        if len(self.seats) - len(failures) < self._nodes.quorum:
            return decisive(failures, answered=bool(self.fresh()))
        return ChainError(Code.CHAIN_STALE, what, "check the RPC endpoints and the network to them")

    def fresh(self) -> list[Seat]:
        """Nodes whose last good look is young enough."""
        oldest = self._clock() - self.limit()
        return [seat for seat in self.seats.values() if seat.at is not None and seat.at >= oldest]

    def reached(self) -> float | None:
        """When the look began that made up the quorum."""
        ats = sorted((seat.at for seat in self.seats.values() if seat.at is not None), reverse=True)
        return ats[self._nodes.quorum - 1] if len(ats) >= self._nodes.quorum else None

    @property
    def _whole(self) -> bool:
        """Whether every node that is asked has answered before."""
        return all(seat.at is not None or seat.breaker.out_s for seat in self.seats.values())

    def kept(self, memory: Memory, run_id: bytes, tag: str) -> dict[Rpc, bytes]:
        """What each node shows of a run."""
        return {
            shown_by.rpc: shown.sight.commitments[run_id]
            for shown_by, shown in self.shown(memory.consortium, tag)
            if run_id in shown.sight.commitments
        }

    def shown(self, consortium: str, tag: str) -> Iterator[tuple[Seat, Shown]]:
        """What these show of a consortium at the block of a tag."""
        oldest = self._clock() - self.limit()
        for seat in self.fresh():
            shown = seat.shown.get(tag, {}).get(consortium)
            if shown is not None and shown.at >= oldest:
                yield seat, shown

    def behind(self, memory: Memory) -> bool:
        """Whether a node has yet to show the datasets that are asked for now at the block that it calls
        final."""
        shown = [seat.shown.get("finalized", {}).get(memory.consortium) for seat in self.fresh()]
        return any(one is not None and one.sight.datasets != memory.wanted for one in shown)

    def wake(self) -> list[Seat]:
        """Have nodes looked at now: those that are not left out, or all where these are too few."""
        seated = [seat for seat in self.seats.values() if not seat.breaker.out_s]
        due = seated if len(seated) >= self._nodes.quorum else list(self.seats.values())
        for seat in due:
            seat.woken = True
        return due

    def drop(self) -> None:
        """Follow no more what nobody asks about."""
        oldest = self._clock() - FORGET_S
        for memory in list(self.memories.values()):
            for run_id, touched in list(memory.runs.items()):
                if touched >= oldest:
                    break
                del memory.runs[run_id]
            if memory.touched < oldest and not memory.runs:
                del self.memories[memory.consortium]
        for seat in self.seats.values():
            seat.lanes.keep(self.memories)
            for shown in seat.shown.values():
                for gone in shown.keys() - self.memories.keys():
                    del shown[gone]
        self.heights = {number: asked for number, asked in self.heights.items() if asked >= oldest}

    def require_near(self, seat: Seat, head: Head) -> None:
        """Refuse a node whose head is far before the others'. Raises `ChainError` `chain-disagrees`."""
        others = [one.heads["latest"].number for one in self.fresh() if one is not seat]
        number = self._nodes.enough([*others, head.number])
        if head.number > number + MAX_AHEAD:
            raise ChainError(
                Code.CHAIN_DISAGREES,
                f"{seat.rpc.shown_url} shows block {head.number}, the others {number}",
                "one of them lies; see the log for its name",
            )

    # --- judging --------------------------------------------------------------------------------

    def judge(self) -> None:
        """Compute again what follows from all that the nodes have shown."""
        fresh = self.fresh()
        if not self._nodes.sufficient(fresh):
            return
        before = {seat: set(seat.questions) for seat in self.seats.values()}
        for seat in self.seats.values():
            seat.questions = set()
        target = self._nodes.enough(seat.heads["finalized"].number for seat in fresh)
        self._follow(fresh)
        for memory in self.memories.values():
            self._judge_newest(memory)
            self._judge_final(memory, fresh, target)
            self._ask_for(memory)
        for seat, asked in before.items():
            new = seat.questions - asked
            seat.answered = {
                question: there
                for question, there in seat.answered.items()
                if question in seat.questions or question in self.heights
            }
            if new - seat.answered.keys() and not seat.breaker.out_s:
                seat.woken = True

    def _follow(self, fresh: Sequence[Seat]) -> None:
        """The hashes of the branch that a quorum is on; a parent that does not fit is a reorganisation."""
        number = self._nodes.enough(seat.heads["latest"].number for seat in fresh)
        for seat in fresh:
            head = seat.heads["latest"]
            block = seat.blocks.get(head.hash)
            if head.number != number or block is None:
                continue
            if (
                self._ring.get(number, head.hash) != head.hash
                or self._ring.get(number - 1, block.parent) != block.parent
            ):
                log.warning("a reorganisation: block %d of %s is another one", number, seat.rpc.shown_url)
                self._ring = {one: kept for one, kept in self._ring.items() if one < number - 1}
            self._ring[number], self._ring[number - 1] = head.hash, block.parent
            while len(self._ring) > RING:
                del self._ring[min(self._ring)]
            return

    def _judge_newest(self, memory: Memory) -> None:
        found: dict[Rpc, Newest] = {}
        ats: list[float] = []
        strange = 0
        for seat, shown in self.shown(memory.consortium, "latest"):
            row = self.row(shown.sight)
            if row is None:
                strange += 1
            else:
                found[seat.rpc] = Newest(shown.head, row.state)
                ats.append(shown.at)
        if found:
            number = self._nodes.enough(newest.head.number for newest in found.values())
            found = {rpc: one for rpc, one in found.items() if one.head.number <= number + MAX_AHEAD}
        if not self._nodes.sufficient(found):
            if strange + len(found) >= self._nodes.quorum:
                code = Code.CHAIN_DISAGREES if found else Code.NOT_A_CONSORTIUM
                memory.settled_error = ChainError(
                    code, f"{memory.consortium} does not answer as a consortium"
                )
            return
        try:
            settled = self._settling.settled(
                memory.consortium, found, lambda head: self._said(memory.consortium, head, found)
            )
        except ChainError as error:
            if self._whole or memory.settled is not None:
                memory.settled_error = error
            return
        memory.settled, memory.settled_error = settled, None
        memory.settled_at = sorted(ats, reverse=True)[self._nodes.quorum - 1]
        if revoker(settled.state) is not None and settled.state.standing not in memory.words:
            self._search(memory, "words", settled.state.standing, settled)
        active = active_study(settled.state)
        if active is not None and active not in memory.studies:
            self._search(memory, "study", active, settled)

    def _said(self, consortium: str, head: Head, found: dict[Rpc, Newest]) -> Said:
        """What the nodes show of a consortium at one block; those that have not said are asked."""
        states, left = {}, False
        for rpc in found:
            seat = self.seats[rpc]
            block = seat.blocks.get(head.hash)
            sight = None if block is None else block.sights.get(consortium)
            if block is not None and sight is not None:
                row = self.row(sight)
                states[rpc] = None if row is None else row.state
            else:
                seat.questions.add(head.hash)
                # A block of which it has not told this consortium yet says nothing about it.
                left = left or head.hash not in seat.answered or seat.answered[head.hash] is not None
        return Said(states, whole=not left)

    def row(self, sight: Sight) -> Row | None:
        """The row of a sight; `None` for what is no consortium's."""
        if sight.core is None or sight.place is None:
            return None
        with suppress(ChainError):
            return self._rows.row(sight.core, sight.place, sight.datasets)
        return None

    def _judge_final(self, memory: Memory, fresh: Sequence[Seat], target: int) -> None:
        if target < self.floor:
            memory.view_error = ChainError(
                Code.CHAIN_STALE,
                f"finalized block went back from {self.floor} to {target}",
                "the nodes serve an old or another chain",
            )
            return
        there = {seat.rpc: seat for seat in fresh if seat.heads["finalized"].number >= target}
        for seat in there.values():
            block = seat.finals.get(target)
            sight = None if block is None else block.sights.get(memory.consortium)
            if seat.heads["finalized"].number > target and (sight is None or sight.datasets != memory.wanted):
                seat.questions.add(target)
        try:
            found = agreed(
                memory.consortium,
                {rpc: seat.finals for rpc, seat in there.items()},
                target=target,
                quorum=self._nodes.quorum,
                whole=self._whole,
            )
        except ChainError as error:
            memory.view_error = error
            return
        if found is None:
            return
        head = found.block.head
        if self._finals.setdefault(head.number, head.hash) != head.hash:
            self.violated = ChainError(
                Code.CHAIN_DISAGREES,
                f"final block {head.number} was replaced: the chain broke its own promise",
                "find out why, and start the gate anew",
            )
            log.error("%s", self.violated.message)
            return
        while len(self._finals) > RING:
            del self._finals[min(self._finals)]
        self.floor = max(self.floor, head.number)
        if memory.agreed is not None and head.number < memory.agreed.block.head.number:
            return
        self._name_liars(memory, found, there)
        newer = memory.agreed is None or head.number > memory.agreed.block.head.number
        if self._build(memory, found) and (newer or head.number >= target):
            ats = sorted((there[rpc].at or 0.0 for rpc in found.rpcs), reverse=True)
            memory.view_at = ats[self._nodes.quorum - 1]

    def _name_liars(self, memory: Memory, found: Agreed, there: dict[Rpc, Seat]) -> None:
        """Who calls another block final loses its seat; who shows another state there is named."""
        head = found.block.head
        for rpc, seat in there.items():
            block = seat.finals.get(head.number)
            if block is None or rpc in found.rpcs:
                continue
            if block.head.hash != head.hash:
                what = f"{rpc.shown_url} calls another block {head.number} final than the others"
                seat.failure = ChainError(Code.CHAIN_DISAGREES, what)
                seat.breaker.fail(seat.failure, lied=True)
                seat.forget()
            elif (sight := block.sights.get(memory.consortium)) is not None and (
                sight.datasets == found.sight.datasets
            ):
                self._nodes.warn(rpc, f"shows another state of {memory.consortium} at a final block")

    def _build(self, memory: Memory, found: Agreed) -> bool:
        """Make the view of an agreed block; whether there is one."""
        row = self.row(found.sight)
        if row is None:
            memory.view_error = _strange(memory, known=memory.view is not None)
            return False
        memory.view_error = None
        active = active_study(row.state)
        study = None if active is None else memory.studies.get(active)
        datasets = () if study is None else study.datasets
        settled = Settled(found.block.head, row.state, found.rpcs)
        if active is not None and study is None:
            self._search(memory, "study", active, settled)
            return self._missed(memory, "study", active)
        memory.building = study
        by_id = {one.id: one for one in row.datasets}
        if any(dataset not in by_id for dataset in datasets):
            return False  # the next look has them
        pinned: list[Version | None] = []
        for dataset, number in zip(datasets, () if study is None else study.versions, strict=True):
            version = memory.versions.get((dataset, number)) if number else None
            if number and version is None:
                self._search(memory, "versions", active or b"", settled)
                return self._missed(memory, "versions", active or b"")
            pinned.append(version)
        seen = Seen(replace(row, datasets=tuple(by_id[one] for one in datasets)), tuple(pinned))
        words = memory.words.get(row.state.standing, "")
        before, memory.agreed = memory.agreed, found
        head = found.block.head
        if (
            memory.view is not None
            and before is not None
            and before.sight.core == found.sight.core
            and memory.view.study == study
            and memory.view.revocation_reason == words
        ):
            memory.view = replace(
                memory.view, block_number=head.number, block_hash=head.hash, block_time=head.timestamp
            )
        else:
            memory.view = view_of(
                memory.consortium, head, seen, chain_id=self._nodes.chain_id(), study=study, reason=words
            )
        if row.state.revokers and row.state.standing not in memory.words:
            self._search(memory, "words", row.state.standing, settled)
        return True

    @staticmethod
    def _missed(memory: Memory, what: str, key: bytes) -> bool:
        """There is no view yet, and perhaps it is known why."""
        if (missed := memory.missed.get((what, key))) is not None:
            memory.view_error = missed[1]
        return False

    def _ask_for(self, memory: Memory) -> None:
        """Ask for the datasets of the studies that are active, now and in the final block."""
        active = None if memory.settled is None else active_study(memory.settled.state)
        newest = None if active is None else memory.studies.get(active)
        studies = [study for study in (memory.building, newest) if study is not None]
        wanted: tuple[bytes, ...] = ()
        for study in studies:
            more = tuple(sorted({*wanted, *study.datasets}))
            wanted = more if len(more) <= MAX_LIST else wanted
        if studies and wanted != memory.wanted:
            memory.wanted = wanted
            self.wake()

    def _search(self, memory: Memory, what: str, key: bytes, at: Settled) -> None:
        """Have something looked for, unless it was not found a moment ago."""
        missed = memory.missed.get((what, key))
        if (what, key) in memory.searching:
            return
        if missed is not None and self._clock() - missed[0] < SEARCH_AGAIN_S:
            return
        memory.searching.add((what, key))
        self.searches.append(Search(memory, what, key, at))


def _strange(memory: Memory, *, known: bool) -> ChainError:
    """What answers is no consortium; one that is known cannot have gone, so that it is the nodes' doing."""
    code = Code.CHAIN_DISAGREES if known else Code.NOT_A_CONSORTIUM
    return ChainError(code, f"{memory.consortium} does not answer as a consortium")
