"""What many threads hold at once, and a forked child goes on with."""

from __future__ import annotations

import os
from threading import Lock
from typing import Final, NoReturn
from weakref import WeakSet


class Shared:
    """Something that remembers: one lock around what changes, and no copies.

    A fork may find the lock held by a thread that the child does not have: the child gets a new one. What a store does
    under its lock is therefore a row of steps each of which leaves the store usable.
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = Lock()
        _ALIVE.add(self)

    def _forked(self) -> None:
        """We are in the child, and no other thread runs yet."""
        self._lock = Lock()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is neither copied nor pickled")


_ALIVE: Final[WeakSet[Shared]] = WeakSet()
"""A fork is the whole process's, so this is too."""


def _renew() -> None:
    for shared in list(_ALIVE):
        shared._forked()


if hasattr(os, "register_at_fork"):  # not where there is no fork
    os.register_at_fork(after_in_child=_renew)
