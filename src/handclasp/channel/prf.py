"""The key schedule of TLS 1.2: one pseudo-random function for everything (RFC 5246 §5, §6.3, §8.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..crypto.hashing import Hash
from ..crypto.secret import Secret
from ..crypto.suites import Suite

VERIFY_DATA_SIZE = 12
"""Length of a Finished, RFC 5246 §7.4.9, in bytes."""

SECRET_SIZE = 48
"""Length of the premaster secret of RSA key transport, and of every master secret, in bytes."""


def prf(algorithm: Hash, secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """RFC 5246 §5: `length` bytes."""
    seed = label + seed
    out = b""
    chained = seed
    while len(out) < length:
        chained = algorithm.hmac(secret, chained)
        out += algorithm.hmac(secret, chained + seed)
    return out[:length]


@dataclass(frozen=True, slots=True)
class WriteKeys:
    """What protects one direction of a TLS 1.2 connection."""

    suite: Suite
    key: Secret
    iv: Secret

    generation: int = 0
    """Always 0: TLS 1.2 has no KeyUpdate."""


@dataclass(frozen=True, slots=True)
class MasterSecret:
    """The secret both sides have agreed on, and what follows from it."""

    suite: Suite
    secret: Secret = field(repr=False)
    client_random: bytes
    server_random: bytes
    extended: bool
    """Whether it is bound to the whole handshake (RFC 7627)."""

    @classmethod
    def extended_from(
        cls, suite: Suite, premaster: Secret, session_hash: bytes, client_random: bytes, server_random: bytes
    ) -> MasterSecret:
        """RFC 7627 §4: bound to every message up to ClientKeyExchange."""
        secret = prf(suite.hash, premaster.reveal(), b"extended master secret", session_hash, SECRET_SIZE)
        return cls(suite, Secret(secret), client_random, server_random, True)

    @classmethod
    def plain_from(cls, suite: Suite, premaster: Secret, client_random: bytes, server_random: bytes) -> MasterSecret:
        """RFC 5246 §8.1: bound to the two randoms alone."""
        secret = prf(suite.hash, premaster.reveal(), b"master secret", client_random + server_random, SECRET_SIZE)
        return cls(suite, Secret(secret), client_random, server_random, False)

    def write_keys(self) -> tuple[WriteKeys, WriteKeys]:
        """(client's, server's), RFC 5246 §6.3."""
        aead = self.suite.aead
        key, iv = aead.key_size, aead.fixed_iv_size
        seed = self.server_random + self.client_random
        block = prf(self.suite.hash, self.secret.reveal(), b"key expansion", seed, 2 * (key + iv))
        cut = [block[:key], block[key : 2 * key], block[2 * key : 2 * key + iv], block[2 * key + iv :]]
        client, server = (WriteKeys(self.suite, Secret(cut[i]), Secret(cut[i + 2])) for i in (0, 1))
        return client, server

    def client_finished(self, transcript_hash: bytes) -> bytes:
        """verify_data of the client's Finished, RFC 5246 §7.4.9."""
        return self._finished(b"client finished", transcript_hash)

    def server_finished(self, transcript_hash: bytes) -> bytes:
        """verify_data of the server's Finished."""
        return self._finished(b"server finished", transcript_hash)

    def _finished(self, label: bytes, transcript_hash: bytes) -> bytes:
        return prf(self.suite.hash, self.secret.reveal(), label, transcript_hash, VERIFY_DATA_SIZE)

    def export(self, label: bytes, context: bytes | None, length: int) -> bytes:
        """RFC 5705 §4. No context and an empty one differ."""
        seed = self.client_random + self.server_random
        if context is not None:
            seed += len(context).to_bytes(2) + context
        return prf(self.suite.hash, self.secret.reveal(), label, seed, length)
