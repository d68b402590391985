# SPDX-License-Identifier: Apache-2.0
"""Work of many threads done at once: whoever comes while some is done is in the next.

A write that must be on disk costs one wait for the disk, however many rows it has. So under load a gate
writes hundreds of leases a second with a few such waits, and an idle one waits for nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

MAX_TOGETHER = 256
"""Pieces of work that are done at once."""

Work = TypeVar("Work")
Done = TypeVar("Done")


class NoTurn(Exception):
    """The turn did not come in time, and nothing was done."""


@dataclass(eq=False)  # two threads may bring equal work
class _Piece(Generic[Work, Done]):
    work: Work
    done: Done | None = None
    error: BaseException | None = None
    over: bool = field(default=False)


class Together(Generic[Work, Done]):
    """Does the work that several threads bring, in the order in which it came. Thread safe."""

    def __init__(self, act: Callable[[Sequence[Work]], Sequence[Done | BaseException]]) -> None:
        """`act` does some work: what came of each piece, or the error that its thread is to raise. What it
        raises itself, every thread raises."""
        self._act = act
        self._turn = threading.Lock()
        self._change = threading.Lock()
        self._waiting: list[_Piece[Work, Done]] = []

    def __call__(self, work: Work, *, timeout_s: float = -1) -> Done:
        """Have it done, and wait for that. Raises `NoTurn` after `timeout_s`, and what became of it."""
        piece = _Piece[Work, Done](work)
        with self._change:
            self._waiting.append(piece)
        if not self._turn.acquire(timeout=timeout_s):
            with self._change:
                if piece in self._waiting:
                    self._waiting.remove(piece)
                    raise NoTurn
            # Somebody does it right now.
            self._turn.acquire()
        try:
            if not piece.over:
                self._do(piece)
        finally:
            self._turn.release()
        if piece.error is not None:
            raise piece.error
        return piece.done  # type: ignore[return-value]

    def _do(self, own: _Piece[Work, Done]) -> None:
        with self._change:
            # What came before this one was done by those who had the turn before.
            pieces, self._waiting = self._waiting[:MAX_TOGETHER], self._waiting[MAX_TOGETHER:]
        try:
            outcomes = self._act([piece.work for piece in pieces])
            for piece, outcome in zip(pieces, outcomes, strict=True):
                if isinstance(outcome, BaseException):
                    piece.error = outcome
                else:
                    piece.done = outcome
        except BaseException as error:
            for piece in pieces:
                piece.error = error
        finally:
            for piece in pieces:
                piece.over = True
        if not own.over:
            self._do(own)
