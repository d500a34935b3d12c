"""Tickets: sessions that the client keeps, sealed so that only servers can read them (RFC 5077, RFC 8446 §4.6.1)."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from ..crypto.aead import NONCE_SIZE, Aead, Cipher, open_or_none
from ..crypto.secret import Secret
from ..limits import MAX_TICKET, MOST_TICKET_KEYS, TICKET_ACCEPTED, TICKET_ROTATION
from .session import SKEW, Session
from .shared import Shared

NAME_SIZE: Final = 16
"""Bytes in front of a ticket that name its key; drawn by chance, so they tell nobody anything."""

KEY_SIZE: Final = Aead.AES_256_GCM.key_size


@dataclass(frozen=True, slots=True, eq=False)
class TicketKey:
    """One key. Made by `generate`, or read back from its bytes: there is no other way to one.

    The nonce of each ticket is drawn by chance, so processes and machines may share a key; 2^32 tickets under one are
    the most that allows (NIST SP 800-38D), 200,000 a second for six hours.
    """

    name: bytes
    _secret: Secret = field(repr=False)
    _cipher: Cipher = field(repr=False)

    @classmethod
    def generate(cls) -> TicketKey:
        """A fresh key with a fresh name."""
        return cls.from_bytes(os.urandom(NAME_SIZE + KEY_SIZE))

    @classmethod
    def from_bytes(cls, data: bytes) -> TicketKey:
        """Raises ValueError for bytes that are no key, zeros among them."""
        name, key = data[:NAME_SIZE], data[NAME_SIZE:]
        if len(key) != KEY_SIZE or not any(key):
            raise ValueError("not a ticket key")
        return cls(name, Secret(key), Aead.AES_256_GCM.cipher(key))

    def to_bytes(self) -> bytes:
        """The name, then the key itself: for servers that share it."""
        return self.name + self._secret.reveal()

    def seal(self, session: Session) -> bytes:
        """A ticket for a session; empty when it would be larger than a client keeps (16 KiB)."""
        nonce = os.urandom(NONCE_SIZE)
        ticket = self.name + nonce + self._cipher.encrypt(nonce, session.to_bytes(), self.name)
        return ticket if len(ticket) <= MAX_TICKET else b""

    def open(self, ticket: bytes) -> Session | None:
        """The session in a ticket of this key; None when it was touched."""
        start = NAME_SIZE + NONCE_SIZE
        data = open_or_none(self._cipher, ticket[NAME_SIZE:start], ticket[start:], self.name)
        if data is None:
            return None
        try:
            return Session.from_bytes(data)
        except ValueError:
            return None  # sealed by another version of this program


class TicketKeys(Shared):
    """Keys that seal tickets: made when first needed, replaced as time goes by, never written down.

    A new key every `rotate`; a key opens tickets until `accept` after it was made. A clock may go back a minute; where
    it goes back further, keys made later are forgotten. Safe between threads; processes forked after the first use
    share the keys there were. Two of them are equal only when they are the same one.
    """

    __slots__ = ("_keys", "accept", "rotate")

    def __init__(self, *, rotate: timedelta = TICKET_ROTATION, accept: timedelta = TICKET_ACCEPTED) -> None:
        super().__init__()
        check_times(rotate, accept)
        self.rotate = rotate
        self.accept = accept
        self._keys: list[tuple[TicketKey, datetime]] = []
        """The newest first, each with when it was made."""

    def seal(self, session: Session, now: datetime) -> bytes:
        """A ticket for a session; empty when it would be larger than a client keeps (16 KiB)."""
        return self._current(now).seal(session)

    def open(self, ticket: bytes, now: datetime) -> Session | None:
        """The session in a ticket; None when it is not ours, too old, or was touched."""
        with self._lock:
            good = self._good(now)
        key = next((key for key, _ in good if key.name == ticket[:NAME_SIZE]), None)
        return None if key is None else key.open(ticket)

    def _current(self, now: datetime) -> TicketKey:
        with self._lock:
            if not self._keys or not self._keys[0][1] - SKEW <= now < self._keys[0][1] + self.rotate:
                self._keys = [(TicketKey.generate(), now), *self._good(now)[: MOST_TICKET_KEYS - 1]]
            return self._keys[0][0]

    def _good(self, now: datetime) -> list[tuple[TicketKey, datetime]]:
        """The keys that open tickets at this moment, and when each was made."""
        return [(key, made) for key, made in self._keys if made - SKEW <= now < made + self.accept]


def check_times(rotate: timedelta, accept: timedelta) -> None:
    """Raises ValueError for times that do not go together."""
    if not timedelta(0) < rotate <= accept <= MOST_TICKET_KEYS * rotate:
        raise ValueError(f"rotate must be positive, and accept one to {MOST_TICKET_KEYS} times as long")
