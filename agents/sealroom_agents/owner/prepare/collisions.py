# SPDX-License-Identifier: Apache-2.0
"""Whether two different ids of an input have one pseudonym, in memory that does not grow with the rows.

Of each batch the different ids are kept by 128 bits of their hashes: the pseudonym, and as many bits behind
it. They lie in buckets by their first bits, each in memory while it is small and then in a file without a
name, and each bucket is looked through by itself. No id is written anywhere.
"""

from __future__ import annotations

import struct
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO

from sealroom_agents.owner.prepare.pseudonyms import Tags

_BUCKETS = 64
_IN_MEMORY_BYTES = 1024 * 1024
"""Of one bucket."""
_SHIFT = 63 - 6
_PAIR = struct.Struct("<qQ")


class Collisions:
    """The different ids of one column, by their hashes; `place` is a folder with room for 16 bytes a hash."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._open = ExitStack()
        self._buckets: list[IO[bytes]] = []

    def __enter__(self) -> Collisions:
        for _ in range(_BUCKETS):
            bucket: IO[bytes] = self._open.enter_context(
                tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, dir=str(self._place))
            )
            self._buckets.append(bucket)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def add(self, tags: Tags) -> None:
        """Keep the different ids of one batch."""
        for pseudonym, rest in zip(tags.pseudonyms.to_pylist(), tags.rest.to_pylist(), strict=True):
            self._buckets[pseudonym >> _SHIFT].write(_PAIR.pack(pseudonym, rest))

    def count(self) -> tuple[int, int]:
        """How many different ids there are, and how many pseudonyms stand for two of them or more."""
        ids = shared = 0
        for bucket in self._buckets:
            found, twice = _count(bucket)
            ids, shared = ids + found, shared + twice
        return ids, shared


def _count(bucket: IO[bytes]) -> tuple[int, int]:
    import pyarrow
    import pyarrow.compute as pc

    bucket.seek(0)
    pairs = pyarrow.py_buffer(bucket.read())
    size = _PAIR.size
    # Two columns that lie in turns: the even and the odd words of one.
    words = pyarrow.Array.from_buffers(pyarrow.uint64(), 2 * (pairs.size // size), [None, pairs])
    if not len(words):
        return 0, 0
    places = pyarrow.array(range(0, len(words), 2), pyarrow.int64())
    table = pyarrow.table({"p": words.take(places), "r": words.take(pc.add(places, 1))})
    different = table.group_by(["p", "r"]).aggregate([])
    return different.num_rows, different.num_rows - len(pc.unique(different["p"]))
