"""Tickets: sessions that the client keeps, sealed so that only servers can read them (RFC 5077, RFC 8446 §4.6.1)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import NoReturn

from ..crypto.aead import NONCE_SIZE, Aead, Cipher, open_or_none
from .session import Session

NAME_SIZE = 16
"""Bytes in front of a ticket that name its key; drawn by chance, so they tell nobody anything."""


@dataclass(frozen=True, slots=True)
class _Key:
    name: bytes
    cipher: Cipher = field(repr=False)
    made: datetime


class TicketKeys:
    """Keys that seal tickets: made when first needed, replaced as time goes by, never written down.

    A new key every `rotate`; a key opens tickets until `accept` after it was made. Safe between threads. Two of them
    are equal only when they are the same one.
    """

    __slots__ = ("_keys", "_lock", "accept", "rotate")

    def __init__(self, *, rotate: timedelta = timedelta(hours=6), accept: timedelta = timedelta(hours=12)) -> None:
        if not timedelta(0) < rotate <= accept:
            raise ValueError("rotate must be positive, and no longer than accept")
        self.rotate = rotate
        self.accept = accept
        self._keys: list[_Key] = []
        self._lock = Lock()

    def seal(self, session: Session, now: datetime) -> bytes:
        """A ticket for a session."""
        key = self._current(now)
        nonce = os.urandom(NONCE_SIZE)
        return key.name + nonce + key.cipher.encrypt(nonce, session.to_bytes(), key.name)

    def open(self, ticket: bytes, now: datetime) -> Session | None:
        """The session in a ticket; None when it is not ours, too old, or was touched."""
        with self._lock:
            key = next((key for key in self._keys if key.name == ticket[:NAME_SIZE]), None)
        if key is None or not key.made <= now < key.made + self.accept:
            return None
        start = NAME_SIZE + NONCE_SIZE
        data = open_or_none(key.cipher, ticket[NAME_SIZE:start], ticket[start:], key.name)
        if data is None:
            return None
        try:
            return Session.from_bytes(data)
        except ValueError:
            return None  # sealed by another version of this program

    def _current(self, now: datetime) -> _Key:
        with self._lock:
            if not self._keys or not self._keys[0].made <= now < self._keys[0].made + self.rotate:
                self._keys = [key for key in self._keys if key.made <= now < key.made + self.accept]
                self._keys.insert(0, _Key(os.urandom(NAME_SIZE), Aead.AES_256_GCM.cipher(os.urandom(32)), now))
            return self._keys[0]

    def __reduce__(self) -> NoReturn:
        raise TypeError("ticket keys are neither copied nor pickled")
