"""A crypto provider that does nothing: what is sealed is readable, and every proof is good.

With it, bytes made by hand reach the states that lie behind encryption and authentication.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from handclasp import PresentedChain, VerifiedPeer
from handclasp.crypto import aead, signatures
from handclasp.handshake import proofs, psk


class Clear:
    """A cipher whose ciphertext is the plaintext."""

    def __init__(self, key: bytes) -> None:
        pass

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        return data

    def decrypt(self, nonce: bytes, data: bytes | memoryview, associated_data: bytes | None) -> bytes:
        return bytes(data)


class Anyone:
    """A verifier that says yes, and stands by it when a session goes on."""

    fingerprint = b"anyone"

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        return VerifiedPeer(presented.chain, "anyone will do")


@contextmanager
def null_crypto() -> Generator[None, None, None]:
    """While this lasts, records are in the clear, and signatures, Finished messages and binders are always right."""
    ciphers = dict.fromkeys(aead._CIPHERS, Clear)
    yes = lambda *_: True  # noqa: E731 - three times the same answer
    with (
        ExitStack() as tags,
        patch.object(aead, "_CIPHERS", ciphers),
        patch.object(aead.Aead, "fixed_iv_size", aead.NONCE_SIZE),
        patch.object(signatures, "verify", yes),
        patch.object(proofs, "same", yes),
        patch.object(psk, "same", yes),
    ):
        for kind in aead.Aead:
            tags.enter_context(patch.object(kind, "tag_size", 0))
        yield
