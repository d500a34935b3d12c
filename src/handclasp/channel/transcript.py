"""The running hash of all handshake messages, which both Finished and CertificateVerify cover (RFC 8446 §4.4.1)."""

from __future__ import annotations

from ..crypto.hashing import Hash
from ..wire.names import HandshakeType


class Transcript:
    """Messages are added as they are on the wire, never re-serialised. The hash is unknown until a server answers."""

    __slots__ = ("_closed", "_held", "_running")

    def __init__(self) -> None:
        self._held: list[bytes] | None = []
        self._running = Hash.SHA256.new()
        self._closed = False

    def add(self, message: bytes) -> None:
        """One message, header included."""
        if self._closed:
            return
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

    def hash(self) -> bytes:
        """The hash of everything added so far."""
        return self._running.copy().digest()

    def close(self) -> None:
        """The handshake is over: later messages are not part of it."""
        self._closed = True
