# SPDX-License-Identifier: Apache-2.0
"""What was worked out before, as much of it as fits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

LARGEST = 8
"""One value takes at most so manieth of the room, so that no single one empties it."""


class Kept(Generic[Key, Value]):
    """Values by key, up to so many bytes in all: what was asked for longest ago goes first. Thread safe."""

    def __init__(self, most: int) -> None:
        """most: bytes of all values together."""
        self._most = most
        self._size = 0
        self._values: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """What is kept; `None` where nothing is."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Key, value: Value, size: int) -> None:
        """Keep a value of about so many bytes in the place of the one before."""
        with self._lock:
            self._size -= self._values.pop(key, (None, 0))[1]
            if size > self._most // LARGEST:
                return
            self._values[key] = value, size
            self._size += size
            while self._size > self._most:
                self._size -= self._values.popitem(last=False)[1][1]

    @property
    def size(self) -> int:
        """Bytes that are kept now."""
        return self._size
