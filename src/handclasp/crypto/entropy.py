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


@dataclass(frozen=True, slots=True)
class SystemEntropy:
    """The operating system's generator: nothing is kept in the process, so nothing is shared after a fork."""

    def random(self, size: int) -> bytes:
        return os.urandom(size)

    def key_pair(self, group: NamedGroup) -> KeyPair:
        return generate(group)
