"""What was answered before, kept for as long as it counts (RFC 6960 §2.4, RFC 5280 §5.1.2.5)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from datetime import datetime
from typing import Generic, TypeVar

V = TypeVar("V")


class AnswerCache(Generic[V]):
    """A bounded store of values that each count until a moment. Safe between threads; the least used go first."""

    __slots__ = ("_held", "_lock", "_most", "_room", "_size")

    def __init__(self, most: int = 1024, room: int = 64 * 1024 * 1024) -> None:
        """`most` values, of `room` bytes together."""
        self._most, self._room = most, room
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, tuple[V, datetime, int]] = OrderedDict()
        self._size = 0

    def find(self, key: Hashable, at: datetime) -> V | None:
        """The value, if there is one and it still counts."""
        with self._lock:
            if key not in self._held:
                return None
            value, until, _ = self._held[key]
            if at >= until:
                self._drop(key)
                return None
            self._held.move_to_end(key)
            return value

    def keep(self, key: Hashable, value: V, until: datetime, size: int = 1024) -> None:
        """Keep a value of about `size` bytes; one that is larger than all the room is not kept."""
        with self._lock:
            if key in self._held:
                self._drop(key)
            if size > self._room:
                return
            self._held[key] = value, until, size
            self._size += size
            while self._size > self._room or len(self._held) > self._most:
                self._drop(next(iter(self._held)))

    def __len__(self) -> int:
        return len(self._held)

    def _drop(self, key: Hashable) -> None:
        self._size -= self._held.pop(key)[2]
