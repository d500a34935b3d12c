"""The running hash of all handshake messages, which both Finished and CertificateVerify cover (RFC 8446 §4.4.1)."""

from __future__ import annotations

from ..crypto.hashing import Hash
from ..wire.names import HandshakeType


class Transcript:
    """Messages are added as they are on the wire, never re-serialised. The hash is unknown until a server answers.

    They are held until a hash is asked for, so that the hash of a part of the last one can be had too.
    """

    __slots__ = ("_algorithm", "_closed", "_held", "_kept", "_running")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._running = Hash.SHA256.new()
        self._algorithm: Hash | None = None
        self._closed = False
        self._kept: list[bytes] | None = None

    def add(self, message: bytes) -> None:
        """One message, header included."""
        if self._closed:
            return
        if self._kept is not None:
            self._kept.append(message)
        self._held.append(message)

    def begin(self, algorithm: Hash, *, retry: bool = False) -> None:
        """The cipher suite is known, and the hash with it. After that, further calls change nothing.

        In a retry the first ClientHello is replaced by its hash (RFC 8446 §4.4.1).
        """
        if self._algorithm is not None:
            return
        self._algorithm = algorithm
        self._running = algorithm.new()
        if retry:
            digest = algorithm.digest(self._held[0])
            self._held[0] = bytes([HandshakeType.MESSAGE_HASH, 0, 0, len(digest)]) + digest

    def keep(self) -> None:
        """Keep the messages themselves too, from the beginning: TLS 1.2 signs them, by any hash (RFC 5246 §7.4.8)."""
        self._kept = list(self._held)

    def messages(self) -> bytes:
        """All messages so far, where they are kept."""
        return b"".join(self._kept or ())

    def hash(self) -> bytes:
        """The hash of everything added so far."""
        if self._held:
            self._flush()
        return self._running.digest()

    def hash_with(self, algorithm: Hash, part: bytes) -> bytes:
        """The hash of everything added so far and of `part` behind it, by the hash of a pre-shared key."""
        return self._ahead(algorithm, b"".join(self._held) + part)

    def hash_without(self, algorithm: Hash, size: int) -> bytes:
        """The same of everything less the last `size` bytes of the last message, straight after it was added."""
        return self._ahead(algorithm, b"".join(self._held)[:-size])

    def close(self) -> None:
        """The handshake is over: later messages are not part of it."""
        self._flush()
        self._closed = True
        self._kept = None

    def branch(self) -> Transcript:
        """Another that goes on from here, open again: for what is signed after the handshake (RFC 8446 §4.4.1)."""
        self._flush()
        branch = Transcript()
        branch._algorithm, branch._running = self._algorithm, self._running.copy()
        return branch

    def _flush(self) -> None:
        if self._held:
            self._running.update(b"".join(self._held))
            self._held.clear()

    def _ahead(self, algorithm: Hash, data: bytes) -> bytes:
        """With the first ClientHello the hash of the connection is not known yet: any will do."""
        running = algorithm.new() if self._algorithm is None else self._running.copy()
        running.update(data)
        return running.digest()
