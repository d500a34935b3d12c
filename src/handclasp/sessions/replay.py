"""Early data is taken once: what it came with is remembered for as long as it could be sent again (RFC 8446 §8.2)."""

from __future__ import annotations

import hashlib
from datetime import datetime
from heapq import heappop, heappush

from ..limits import MOST_REPLAYS
from .clock import Clock, system_clock
from .shared import Shared


class ReplayGuard(Shared):
    """What this process has seen. It knows of nothing before it was made, and of no other process.

    So sessions that are older than it bring no early data, and servers that share ticket keys share a store as well
    (`stores/`). A clock that was ahead and is set back may have made it forget too soon: it refuses until the time of
    all that it forgot is over. In a forked child it refuses everything: the tickets there are the parent's too, and the
    two cannot know what the other has seen.
    """

    __slots__ = ("_alone", "_by_end", "_forgotten", "_most", "_seen", "since")

    def __init__(self, *, most: int = MOST_REPLAYS, clock: Clock = system_clock) -> None:
        super().__init__()
        if most < 1:
            raise ValueError("most must be positive")
        self.since = clock()
        """What was sent before this moment, it may not have seen."""
        self._seen: set[bytes] = set()
        self._by_end: list[tuple[datetime, bytes]] = []
        """A heap: what ends first comes first."""
        self._forgotten: datetime | None = None
        """The latest end of what was forgotten."""
        self._most = most
        self._alone = True

    def claim(self, key: bytes, now: datetime, until: datetime) -> bool:
        """True for the first claim of a key before `until`; False for every other, and when `most` are remembered."""
        digest = hashlib.sha256(key).digest()
        with self._lock:
            while self._by_end and self._by_end[0][0] <= now:
                end, over = heappop(self._by_end)
                self._seen.discard(over)
                self._forgotten = end if self._forgotten is None else max(end, self._forgotten)
            forgetful = self._forgotten is not None and now < self._forgotten
            refused = digest in self._seen or len(self._seen) >= self._most or until <= now
            if refused or forgetful or not self._alone:
                return False
            self._seen.add(digest)
            heappush(self._by_end, (until, digest))
            return True

    def _forked(self) -> None:
        super()._forked()
        self._alone = False

    def __len__(self) -> int:
        return len(self._seen)
