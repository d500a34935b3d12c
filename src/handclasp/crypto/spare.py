"""Key pairs made ahead, while there is nothing else to do: a handshake that finds one saves its making."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ..wire.names import NamedGroup
from .entropy import FORKS, Entropy, SystemEntropy
from .groups import KeyPair


class SpareKeys:
    """An `Entropy` with a stock of key pairs. Each is given out once; a forked child begins with none of its parent's.

    Nothing is made ahead by itself: call `prepare` in idle moments. A spare key lies in memory until it is used: keep
    few; where there is none, one is made on the spot. Safe between threads.
    """

    __slots__ = ("_entropy", "_forks", "_most", "_stock")

    def __init__(self, groups: Sequence[NamedGroup], *, most: int = 8, entropy: Entropy | None = None) -> None:
        if most < 1:
            raise ValueError("most must be positive")
        self._entropy = entropy or SystemEntropy()
        self._most = most
        self._stock: dict[NamedGroup, deque[KeyPair]] = {group: deque() for group in groups}
        self._forks = FORKS.count

    def random(self, size: int) -> bytes:
        """`size` fresh random bytes; none are kept."""
        return self._entropy.random(size)

    def key_pair(self, group: NamedGroup) -> KeyPair:
        """A spare one, or a fresh one."""
        self._forget_what_was_forked()
        try:
            return self._stock[group].popleft()
        except (KeyError, IndexError):
            return self._entropy.key_pair(group)

    def prepare(self) -> bool:
        """Make one key pair of the group that has fewest; False when all have `most`."""
        self._forget_what_was_forked()
        group = min(self._stock, key=lambda group: len(self._stock[group]), default=None)
        if group is None or len(self._stock[group]) >= self._most:
            return False
        self._stock[group].append(self._entropy.key_pair(group))
        return True

    def _forget_what_was_forked(self) -> None:
        """Two processes must not use the same keys: they stay with the parent."""
        if self._forks != FORKS.count:
            self._forks = FORKS.count
            for spare in self._stock.values():
                spare.clear()
