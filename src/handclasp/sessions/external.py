"""Keys that two peers share before they meet (RFC 8446 §4.2.11, RFC 9257, RFC 9258)."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, NoReturn, Protocol

from ..crypto.hashing import Hash, hkdf_expand_label, hkdf_extract
from ..crypto.secret import Secret
from ..errors import ConfigError
from ..limits import LEAST_PSK, MAX_END_NAME, MAX_PSK_IDENTITY
from ..wire.codec import encode, opaque, struct, uint

U16 = (1 << 16) - 1


class PskRole(Enum):
    """Which end of a connection we are with a key."""

    CLIENT = "client"
    SERVER = "server"


class ExternalPsk:
    """A key that was agreed on beforehand, and the name both ends know it by. It proves each end to the other.

    `role` is the end that *we* are: a key that one machine used for both ends would let an attacker reflect its own
    hello back at it (the Selfie attack, RFC 9257 §4.1). Two machines that call each other need two keys, or one that is
    bound to who is which: `between`.

    With `context` the key is imported (RFC 9258): each protocol and hash gets a key of its own, bound to the context.
    Without, the key is used as it is, with `hash`, as most other implementations do.

    Two are equal only when they are the same one; a key is neither compared, copied nor pickled. Raises ConfigError.
    """

    __slots__ = ("_key", "context", "hash", "identity", "role")

    def __init__(
        self,
        identity: bytes,
        key: bytes,
        *,
        role: PskRole | str,
        context: bytes | None = None,
        hash: Hash = Hash.SHA256,  # noqa: A002 - the field's word
    ) -> None:
        if not 1 <= len(identity) <= MAX_PSK_IDENTITY:
            raise ConfigError(f"a PSK identity is 1 to {MAX_PSK_IDENTITY} bytes, not {len(identity)}")
        if len(key) < LEAST_PSK:
            raise ConfigError(f"a pre-shared key needs at least {LEAST_PSK} random bytes, not {len(key)}")
        if context is not None and len(context) > MAX_PSK_IDENTITY:
            raise ConfigError(f"a PSK context is at most {MAX_PSK_IDENTITY} bytes, not {len(context)}")
        try:
            self.role = PskRole(role)
        except ValueError:
            raise ConfigError(f"role is 'client' or 'server', the end that we are, not {role!r}") from None
        self.identity = bytes(identity)
        self.context = context
        self.hash = hash
        self._key = Secret(bytes(key))

    @classmethod
    def between(
        cls,
        identity: bytes,
        key: bytes,
        *,
        client: bytes,
        server: bytes,
        role: PskRole | str,
        hash: Hash = Hash.SHA256,  # noqa: A002 - the field's word
    ) -> ExternalPsk:
        """A key that is imported for one pair of ends, each by its name of 1 to 255 bytes (RFC 9258 §B).

        Who calls whom is part of it: one key may serve a whole group, every machine in both roles, and a hello that is
        sent back to its sender, or on to a third machine, opens nothing. Raises ConfigError.
        """
        for name in (client, server):
            if not 1 <= len(name) <= MAX_END_NAME:
                raise ConfigError(f"the name of an end is 1 to {MAX_END_NAME} bytes, not {len(name)}")
        if client == server:
            raise ConfigError("the two ends of a key have the same name: a machine has no business with itself")
        return cls(identity, key, role=role, context=encode(_ENDS, _Ends(client, server)), hash=hash)

    @property
    def label(self) -> bytes:
        """What its binder is derived with (RFC 8446 §7.1, RFC 9258 §5.2)."""
        return b"ext binder" if self.context is None else b"imp binder"

    def identity_for(self, algorithm: Hash) -> bytes | None:
        """What names the key on the wire with suites of one hash; None where it is not for them."""
        if self.context is None:
            return self.identity if algorithm is self.hash else None
        return encode(_IMPORTED, _Imported(self.identity, self.context, _TLS_1_3, _KDF[algorithm]))

    def secret_for(self, algorithm: Hash) -> Secret:
        """The key with suites of one hash, RFC 9258 §5.1."""
        identity = self.identity_for(algorithm)
        if self.context is None or identity is None:
            return self._key
        extracted = hkdf_extract(self.hash, bytes(self.hash.size), self._key.reveal())
        digest = self.hash.digest(identity)
        return Secret(hkdf_expand_label(self.hash, extracted, b"derived psk", digest, algorithm.size))

    def __repr__(self) -> str:
        return f"<ExternalPsk {self.identity[:32]!r} as {self.role.value}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a pre-shared key is neither copied nor pickled")


class PskSource(Protocol):
    """Where a server looks its keys up, when they are too many to list."""

    def find(self, identity: bytes) -> ExternalPsk | Awaitable[ExternalPsk | None] | None:
        """The key of an identity, as it is on the wire; None for one that is not known. May set `blocking = True`."""
        ...


@dataclass(frozen=True, slots=True)
class _Imported:
    """RFC 9258 §5.1: ImportedIdentity."""

    external_identity: Annotated[bytes, opaque(1, U16)]
    context: Annotated[bytes, opaque(0, U16)]
    target_protocol: Annotated[int, uint(2)]
    target_kdf: Annotated[int, uint(2)]


@dataclass(frozen=True, slots=True)
class _Ends:
    """RFC 9258 §B: a context that says who is the client and who the server."""

    client: Annotated[bytes, opaque(0, 255)]
    server: Annotated[bytes, opaque(0, 255)]


_IMPORTED = struct(_Imported)
_ENDS = struct(_Ends)
_TLS_1_3 = 0x0304
_KDF = {Hash.SHA256: 0x0001, Hash.SHA384: 0x0002}
"""RFC 9258 §9: HKDF_SHA256, HKDF_SHA384."""
