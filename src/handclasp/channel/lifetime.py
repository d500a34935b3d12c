"""How long a key is used as a matter of policy, beside what its cipher bears (`protection.py`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta


class KeyLife:
    """One direction's present key: how old it may get, and how many bytes of content it may protect."""

    __slots__ = ("_clock", "_ends", "_most", "_protected", "_time")

    def __init__(self, clock: Callable[[], datetime], time: timedelta | None, most: int | None) -> None:
        self._clock = clock
        self._time = time
        self._most = most
        self._protected = 0
        self._ends: datetime | None = None

    def begin(self) -> None:
        """The key is a new one."""
        self._protected = 0
        self._ends = None if self._time is None else self._clock() + self._time

    def use(self, size: int) -> None:
        """The key protects so many bytes more."""
        self._protected += size

    def over(self, size: int) -> str:
        """Why the key should not protect `size` bytes more; empty while it may."""
        if self._most is not None and self._protected + size > self._most:
            return f"they protected as many bytes as they may: {self._most}"
        if self._ends is not None and self._clock() >= self._ends:
            return f"they are older than {self._time}"
        return ""


def key_life(clock: Callable[[], datetime], time: timedelta | None, most: int | None) -> KeyLife | None:
    """None where no policy asks for more than the cipher does: it then costs nothing."""
    return None if time is None and most is None else KeyLife(clock, time, most)
