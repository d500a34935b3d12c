"""What is wrong with RSA key transport, done on the recordings of this run."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..crypto.aead import NONCE_SIZE, Aead
from ..crypto.transport import PREMASTER_SIZE
from ..identity.credentials import Credential
from ..trace import MessageMoved
from ..wire.messages12 import ClientECDH, ClientEncryptedSecret, ServerKeyExchange
from .demo_steps import PEER, US, Told, Untold, first_line, require, start
from .eavesdrop import NothingToDecrypt, decrypt, wire
from .meeting import Exchange
from .words import count, milliseconds, number, size

BLOCK = 16_384
"""Bytes in the largest record."""


def title(it: Told) -> None:
    it.page.lines(["", it.look.strong("What is wrong with it: the key that opens every recording")])


def read_later(it: Told, exchange: Exchange, private_key: bytes, premaster: bytes) -> None:
    """The recording of the seven steps, read with the server's key and nothing else."""
    records = wire(it.client)
    try:
        opened = decrypt(records, private_key)
    except NothingToDecrypt as error:
        raise Untold(f"the recording, read with the server's key ({error})") from None
    require(opened.premaster == premaster, "the secret, decrypted from the recording")
    require(opened.texts == ((US, exchange.request), (PEER, exchange.answer)), "the request and the answer, read")
    recorded = sum(len(record) for _, record in records)
    it.say(
        f"Somebody recorded the {number(recorded)} bytes of steps 1 to 7, and later gets the server's private key."
        " Nothing else of either side is used here:"
    )
    it.fact("finds", f"{start(it.one(ClientEncryptedSecret, US)[0].encrypted_pre_master_secret)}, in the recording")
    it.fact("decrypts", start(opened.premaster))
    for label, (_, text) in zip(("reads", "and"), opened.texts, strict=True):
        it.fact(label, f"{first_line(text)} …  ({number(len(text))} bytes)  {it.look.bad('✗ read')}")


def read_nothing(it: Told, exchange: Exchange, private_key: bytes) -> None:
    """The same server and the same key, where keys are agreed instead."""
    records = wire(it.client)
    ours, theirs = it.one(ClientECDH, US)[0].public, it.one(ServerKeyExchange, PEER)[0].params.public
    try:
        decrypt(records, private_key)
    except NothingToDecrypt as error:
        why = str(error)
    else:
        raise Untold("a recording that the server's key does not open")
    require(not any(exchange.request in record for _, record in records), "a request that stays hidden")
    it.say(f"The same server with the same key, but {it.info.cipher_suite}, recorded too:")
    it.fact("our share", start(ours))
    it.fact("its share", f"{start(theirs)}, signed by the server")
    it.fact("finds", f"{why}  {it.look.good('✓ not read')}")
    it.say(
        "Only public halves travelled. The private halves were made for this connection and are gone: that is forward"
        " secrecy. The certificate's key signs, and decrypts nothing."
    )


def measured(it: Told, credential: Credential) -> None:
    """Why RSA carries a key, and not the data."""
    encrypted = it.one(ClientEncryptedSecret, US)[0].encrypted_pre_master_secret
    cipher, block = Aead.AES_128_GCM.cipher(bytes(Aead.AES_128_GCM.key_size)), bytes(BLOCK)
    rsa = _least(lambda: credential.decrypt(encrypted), 20)
    aes = _least(lambda: cipher.encrypt(bytes(NONCE_SIZE), block, None), 20)
    worth = rsa / aes * BLOCK
    require(worth > PREMASTER_SIZE, "RSA slower than AES")
    it.fact(
        "measured now",
        f"RSA-2048 decrypts once in {rsa * 1000:.2f} ms, AES-128-GCM {size(round(1 / aes * BLOCK))}/s; in"
        f" the time of one, AES encrypts {size(round(worth))}",
    )


def farewell(it: Told) -> None:
    it.say(
        "So it went away: TLS 1.3 has no RSA key transport (RFC 8446), because one key stolen once opened all"
        " that was ever recorded. And since 1998 servers have told by their answers, or the time they took, whether"
        " a forged secret decrypted well, which opened recordings without the key."
    )


def summary(it: Told, seconds: float) -> None:
    messages = len(it.client.of(MessageMoved))
    it.page.line()
    it.page.line(
        f"{it.look.good('✓')} all as told: 4 connections, {count(messages, 'message')} in the first ·"
        f" {milliseconds(seconds)} ms in all"
    )


def _least(work: Callable[[], object], times: int, rounds: int = 10) -> float:
    """Seconds that `work` takes where nothing disturbs it."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(times):
            work()
        found.append((time.perf_counter() - began) / times)
    return min(found)
