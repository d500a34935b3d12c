"""Where randomness comes from: the operating system, unless a test says otherwise."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

from ..wire.names import NamedGroup
from .groups import KeyPair, generate


class Entropy(Protocol):
    """All that a handshake draws by chance goes through here, so that a test can replay a recorded one."""

    def random(self, size: int) -> bytes:
        """`size` fresh random bytes."""
        ...

    def key_pair(self, group: NamedGroup) -> KeyPair:
        """A fresh key pair."""
        ...


class Forks:
    """How often the process was forked to get here. What draws numbers in order must not go on in two processes."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def forked(self) -> None:
        """We are in the child."""
        self.count += 1


FORKS = Forks()
"""A fork is the whole process's, so this is too."""

if hasattr(os, "register_at_fork"):  # not where there is no fork
    os.register_at_fork(after_in_child=FORKS.forked)


@dataclass(frozen=True, slots=True)
class SystemEntropy:
    """The operating system's generator: nothing is kept in the process, so nothing is shared after a fork."""

    def random(self, size: int) -> bytes:
        return os.urandom(size)

    def key_pair(self, group: NamedGroup) -> KeyPair:
        return generate(group)
