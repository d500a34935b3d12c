"""The running hash of all handshake messages, which both Finished and CertificateVerify cover (RFC 8446 §4.4.1)."""

from __future__ import annotations

from ..crypto.hashing import Hash
from ..wire.names import HandshakeType


class Transcript:
    """Messages are added as they are on the wire, never re-serialised. The hash is unknown until a server answers."""

    __slots__ = ("_closed", "_held", "_kept", "_running")

    def __init__(self) -> None:
        self._held: list[bytes] | None = []
        self._running = Hash.SHA256.new()
        self._closed = False
        self._kept: list[bytes] | None = None

    def add(self, message: bytes) -> None:
        """One message, header included."""
        if self._closed:
            return
        if self._kept is not None:
            self._kept.append(message)
        if self._held is None:
            self._running.update(message)
        else:
            self._held.append(message)

    def begin(self, algorithm: Hash, *, retry: bool = False) -> None:
        """The cipher suite is known: hash what was held back. After that, further calls change nothing.

        In a retry the first ClientHello is replaced by its hash (RFC 8446 §4.4.1).
        """
        if self._held is None:
            return
        messages, self._held = self._held, None
        if retry:
            digest = algorithm.digest(messages[0])
            messages[0] = bytes([HandshakeType.MESSAGE_HASH, 0, 0, len(digest)]) + digest
        self._running = algorithm.new(b"".join(messages))

    def keep(self) -> None:
        """Keep the messages themselves too, from the beginning: TLS 1.2 signs them, by any hash (RFC 5246 §7.4.8)."""
        self._kept = list(self._held or ())

    def messages(self) -> bytes:
        """All messages so far, where they are kept."""
        return b"".join(self._kept or ())

    def hash(self) -> bytes:
        """The hash of everything added so far."""
        return self._running.copy().digest()

    def close(self) -> None:
        """The handshake is over: later messages are not part of it."""
        self._closed = True
        self._kept = None
