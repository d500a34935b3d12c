"""The key schedule of TLS 1.3 as a ladder of three rungs (RFC 8446 §7.1). Each offers only what is legal on it.

    Early --shared secret--> Handshake --> Main

The schedule derives. Installing keys is the script's doing (`read_with`, `write_with`), counting is `protection`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..crypto.aead import NONCE_SIZE
from ..crypto.hashing import Expander, Hash, hkdf_expand_label, hkdf_extract
from ..crypto.secret import Secret
from ..crypto.suites import SUITES, Suite
from ..wire.names import CipherSuite


class _Keyed:
    """A secret under a suite's hash, ready to derive from."""

    __slots__ = ("_expander", "secret", "suite")

    def __init__(self, suite: Suite, secret: Secret) -> None:
        self.suite = suite
        self.secret = secret
        self._expander = Expander(suite.hash, secret.reveal())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.suite.code}>"


class TrafficSecret(_Keyed):
    """What protects one direction of one epoch."""

    __slots__ = ("generation",)

    def __init__(self, suite: Suite, secret: Secret, generation: int = 0) -> None:
        super().__init__(suite, secret)
        self.generation = generation
        """How many KeyUpdates led here."""

    def keys(self) -> tuple[bytes, bytes]:
        """(key, iv), RFC 8446 §7.3."""
        expand = self._expander.label
        return expand(b"key", b"", self.suite.aead.key_size), expand(b"iv", b"", NONCE_SIZE)

    def finished(self, transcript_hash: bytes) -> bytes:
        """verify_data, RFC 8446 §4.4.4."""
        hash_ = self.suite.hash
        return hash_.hmac(self._expander.label(b"finished", b"", hash_.size), transcript_hash)

    def next(self) -> TrafficSecret:
        """The secret after a KeyUpdate, RFC 8446 §7.2."""
        secret = self._expander.label(b"traffic upd", b"", self.suite.hash.size)
        return TrafficSecret(self.suite, Secret(secret), self.generation + 1)


class _Rung(_Keyed):
    __slots__ = ()

    def _derive(self, label: bytes, transcript_hash: bytes) -> Secret:
        """Derive-Secret, RFC 8446 §7.1."""
        return Secret(self._expander.label(label, transcript_hash, self.suite.hash.size))

    def _traffic(self, label: bytes, transcript_hash: bytes) -> TrafficSecret:
        return TrafficSecret(self.suite, self._derive(label, transcript_hash))

    def _climb(self, input_key_material: bytes) -> Secret:
        hash_ = self.suite.hash
        salt = self._expander.label(b"derived", hash_.of_nothing, hash_.size)
        return Secret(hkdf_extract(hash_, salt, input_key_material))


class Early(_Rung):
    """Before the key agreement."""

    __slots__ = ()

    @classmethod
    def start(cls, suite: Suite, psk: Secret | None = None) -> Early:
        """The first rung, with a pre-shared key or without."""
        zeros = bytes(suite.hash.size)
        return (
            _without_psk(suite.code)
            if psk is None
            else cls(suite, Secret(hkdf_extract(suite.hash, zeros, psk.reveal())))
        )

    def binder(self, label: bytes, transcript_hash: bytes) -> bytes:
        """The proof that the pre-shared key is known, RFC 8446 §4.2.11.2; the hash covers the ClientHello up to it.

        `label` tells the kinds of keys apart: `res binder`, `ext binder`, `imp binder` (RFC 9258 §5.2).
        """
        return TrafficSecret(self.suite, self._derive(label, self.suite.hash.of_nothing)).finished(transcript_hash)

    def client_traffic(self, transcript_hash: bytes) -> TrafficSecret:
        """What protects early data; the hash covers the ClientHello."""
        return self._traffic(b"c e traffic", transcript_hash)

    def agree(self, shared: Secret | None) -> Handshake:
        """Climb with the (EC)DHE shared secret; None where the pre-shared key stands alone."""
        return Handshake(self.suite, self._climb(bytes(self.suite.hash.size) if shared is None else shared.reveal()))


@cache
def _without_psk(code: CipherSuite) -> Early:
    """Where every full handshake starts from: nothing in it is secret."""
    suite = SUITES[code]
    zeros = bytes(suite.hash.size)
    return Early(suite, Secret(hkdf_extract(suite.hash, zeros, zeros)))


class Handshake(_Rung):
    """From the ServerHello to the Finished messages; the transcript hash covers ClientHello to ServerHello."""

    __slots__ = ()

    def client_traffic(self, transcript_hash: bytes) -> TrafficSecret:
        return self._traffic(b"c hs traffic", transcript_hash)

    def server_traffic(self, transcript_hash: bytes) -> TrafficSecret:
        return self._traffic(b"s hs traffic", transcript_hash)

    def main(self) -> Main:
        """Climb to the last rung."""
        return Main(self.suite, self._climb(bytes(self.suite.hash.size)))


class Main(_Rung):
    """From the server's Finished on; the transcript hash covers ClientHello to the server's Finished."""

    __slots__ = ()

    def client_traffic(self, transcript_hash: bytes) -> TrafficSecret:
        return self._traffic(b"c ap traffic", transcript_hash)

    def server_traffic(self, transcript_hash: bytes) -> TrafficSecret:
        return self._traffic(b"s ap traffic", transcript_hash)

    def exporter(self, transcript_hash: bytes) -> ExporterSecret:
        return ExporterSecret(self.suite.hash, self._derive(b"exp master", transcript_hash))

    def resumption(self, transcript_hash: bytes) -> Secret:
        """resumption_main_secret; this transcript hash also covers the client's Finished."""
        return self._derive(b"res master", transcript_hash)


@dataclass(frozen=True, slots=True)
class ExporterSecret:
    """What key material for other protocols is derived from."""

    hash: Hash
    secret: Secret

    def export(self, label: bytes, context: bytes | None, length: int) -> bytes:
        """RFC 8446 §7.5: `length` bytes, at most 255 times the hash's size. No context is an empty one."""
        derived = hkdf_expand_label(self.hash, self.secret.reveal(), label, self.hash.of_nothing, self.hash.size)
        return hkdf_expand_label(self.hash, derived, b"exporter", self.hash.digest(context or b""), length)
