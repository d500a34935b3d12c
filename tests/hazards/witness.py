"""A witness of every sealed record: it knows which nonce was used under which key, and sees the second use."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

from handclasp.crypto import aead
from handclasp.crypto.aead import Cipher


@dataclass
class Witness:
    """All that was sealed while it watched."""

    used: set[tuple[bytes, bytes]] = field(default_factory=set)
    """(key, nonce)."""
    again: list[tuple[bytes, bytes]] = field(default_factory=list)

    def saw(self, key: bytes, nonce: bytes) -> None:
        if (key, nonce) in self.used:
            self.again.append((key, nonce))
        self.used.add((key, nonce))


class Watched:
    """A cipher under a witness's eyes."""

    def __init__(self, key: bytes, make: Callable[[bytes], Cipher], witness: Witness) -> None:
        self._key = key
        self._cipher = make(key)
        self._witness = witness

    def encrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes | None) -> bytes:
        self._witness.saw(self._key, nonce)
        return self._cipher.encrypt(nonce, data, associated_data)

    def decrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes | None) -> bytes:
        return self._cipher.decrypt(nonce, data, associated_data)


@contextmanager
def watching() -> Generator[Witness, None, None]:
    """Watch every cipher that is made while this lasts."""
    witness = Witness()

    def watched(make: Callable[[bytes], Cipher]) -> Callable[[bytes], Cipher]:
        return lambda key: Watched(key, make, witness)

    ciphers = {kind: watched(make) for kind, make in aead._CIPHERS.items()}
    with patch.object(aead, "_CIPHERS", ciphers):
        yield witness
