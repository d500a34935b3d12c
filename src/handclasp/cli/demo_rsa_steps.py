"""The seven steps of `demo rsa`: each looks up what happened, insists that it did, and tells it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..crypto.keys import encode_public
from ..crypto.suites import RSA_TRANSPORT_SUITES
from ..crypto.transport import PREMASTER_SIZE
from ..identity.names import any_matches, peer_name
from ..limits import RECORD_HEADER
from ..trace import MessageMoved, Subject
from ..wire.messages import ClientHello, Finished, ServerHello
from ..wire.messages12 import (
    Certificate12,
    CertificateRequest12,
    ClientEncryptedSecret,
    ServerHelloDone,
    ServerKeyExchange,
)
from ..wire.names import ContentType
from .chain import table
from .demo_steps import PEER, US, Told, carrier, first_line, require, start
from .eavesdrop import wire
from .meeting import Exchange
from .recording import Recording
from .story import real
from .words import count, number, octets

MODULUS = slice(33, 33 + 256)
"""Where the number that is the public key stands in the encoding of an RSA key of 2048 bits."""

VERSION = b"\x03\x03"
"""How every secret of this kind begins: the client's version, TLS 1.2."""

EXPLICIT = 8
"""Bytes of a record's number, which AES-GCM in TLS 1.2 writes out in front of the text."""


def title(it: Told) -> None:
    it.page.line(it.look.strong("TLS as it was first taught: the session key is sent"))
    it.say(
        f"TLS 1.2 with RSA key transport on 127.0.0.1:{it.port}, with certificates and keys made for this run. All"
        " values are this connection's own. A museum piece: handclasp offers it to nobody unless it is told to."
    )


def offer(it: Told) -> None:
    leaf, (hello, _) = it.info.peer_certificates[0], it.one(ClientHello, US)
    require(set(hello.cipher_suites) >= set(RSA_TRANSPORT_SUITES), "RSA key transport in our offer")
    require(leaf.public_key is not None and leaf.allows_encryption, "a certificate whose key may encrypt")
    it.step(1, "The server has a key pair and a certificate; we offer")
    public = encode_public(leaf.public_key) if leaf.public_key is not None else b""
    it.fact("public key", f"{leaf.key_description}, {start(public[MODULUS])}")
    it.fact("private key", "its other half, which stays on the server")
    it.spoken(ClientHello, US)
    offered = [suite for suite in hello.cipher_suites if suite in RSA_TRANSPORT_SUITES]
    it.fact("suites", ", ".join(real(tuple(offered))))


def choice(it: Told) -> None:
    hello, _ = it.one(ServerHello, PEER)
    chosen = it.server.chosen(Subject.CIPHER_SUITE)
    require(hello.cipher_suite == it.info.cipher_suite, "both sides go by the suite in the ServerHello")
    require(hello.cipher_suite in RSA_TRANSPORT_SUITES, "RSA key transport, picked by the server")
    require(chosen is not None and chosen.value == it.info.cipher_suite, "the same suite on both sides")
    it.step(2, "The server picks, and shows its certificate")
    it.spoken(ServerHello, PEER)
    it.spoken(Certificate12, PEER)
    it.fact("suite", f"{it.info.cipher_suite}: {chosen.why if chosen is not None else ''}")


def certificate(it: Told) -> None:
    message, _ = it.one(Certificate12, PEER)
    chain, leaf = it.info.verified_chain, it.info.peer_certificates[0]
    require([c.der for c in chain[:-1]] == list(message.certificate_list), "the chain as it was sent")
    require(chain[-1] == it.root, "a chain up to the root we trusted before")
    require(all(child.was_signed_by(parent) for child, parent in pairwise(chain)), "each signed by the next")
    require(any_matches(leaf.names, peer_name(it.name)), f"{it.name} among the names")
    require(all(c.not_before <= it.now <= c.not_after for c in chain), "dates that hold today")
    require(it.client.chosen(Subject.PEER), "a verdict on the certificate")
    require(not it.client.messages(ServerKeyExchange, PEER), "no signature by the server")
    it.step(3, "We check it against a root we trust")
    it.page.lines(table(chain, "trusted before", it.now, it.look))
    it.say(
        "Signed by the root, for this name, within its dates. Nothing is signed here to prove that the server has the"
        " key: it will have to decrypt with it."
    )


def our_certificate(it: Told) -> None:
    it.one(ServerHelloDone, PEER)
    require(not it.client.messages(CertificateRequest12, PEER), "no request for our certificate")
    it.step(4, "We could show a certificate too; this server does not ask")
    it.spoken(ServerHelloDone, PEER)


def transport(it: Told, drawn: bytes, decrypted: Sequence[bytes]) -> None:
    """The client's secret, encrypted and decrypted."""
    message, encoded = it.one(ClientEncryptedSecret, US)
    encrypted, premaster = message.encrypted_pre_master_secret, VERSION + drawn
    require(len(premaster) == PREMASTER_SIZE and list(decrypted) == [premaster], "the same secret on both sides")
    records = [record for record in _records(it.client) if encrypted in record]
    require(len(records) == 1, "the encrypted secret on the wire")
    require(not any(drawn in record for record in _records(it.client)), "a secret that is never in the clear")
    it.step(5, "The session key is sent, encrypted under the public key")
    it.fact("we make", start(premaster))
    it.spoken(ClientEncryptedSecret, US)
    parts = records[0][:RECORD_HEADER], encoded[:6], encrypted[:8]
    it.fact("on the wire", " │ ".join(part.hex(" ") for part in parts) + " …")
    it.fact("it decrypts", f"{start(decrypted[0])}  {it.look.good('✓ the same')}")
    it.say(
        f"These {len(premaster)} bytes are the version and {len(drawn)} drawn by chance; {len(encrypted)} hide them."
        " Both sides compute the session keys from them: RSA, which is slow, is done, and AES takes over."
    )


def finished(it: Told) -> None:
    it.one(Finished, US)
    it.one(Finished, PEER)
    require(it.client.established, "the server's Finished, found right by us")
    require(it.server.established, "our Finished, found right by the server")
    it.step(6, "Finished, both ways")
    it.spoken(Finished, US)
    it.spoken(Finished, PEER)
    it.say("Both were right: nothing was altered, and the server could decrypt, so the key is its own.")


def data(it: Told, exchange: Exchange, heard: Sequence[bytes]) -> None:
    require([exchange.request] == list(heard), "what we wrote, read by the server")
    require(exchange.answer.startswith(b"HTTP/1.1 200"), "an answer")
    require(carrier(it.client, US) == carrier(it.server, PEER), "our record, the same where it arrived")
    require(carrier(it.server, US) == carrier(it.client, PEER), "its record, the same where it arrived")
    it.step(7, "Everything is encrypted, and the key lives for one session")
    _sealed(it, "we write", exchange.request, carrier(it.client, US))
    _sealed(it, "it answers", exchange.answer, carrier(it.client, PEER))
    for direction in (US, PEER):
        require(len(it.client.alerts(direction)) == 1, "one goodbye in each direction")


def _sealed(it: Told, label: str, text: bytes, record: bytes) -> None:
    require(text not in record, "a record that hides its text")
    seal = len(record) - RECORD_HEADER - EXPLICIT - len(text)
    require(seal > 0, "a seal on the record")
    it.fact(label, f"{first_line(text)} …  ({number(len(text))} bytes in all)")
    it.fact("on the wire", f"{record[:RECORD_HEADER].hex(' ')} │ {record[RECORD_HEADER:][:12].hex(' ')} …")
    parts = f"{RECORD_HEADER} of header, {EXPLICIT} of number, {number(len(text))} of text, {seal} of seal"
    it.fact("", f"{octets(len(record))}: {parts}")


def again(it: Told, short: Told, full: Told, decrypted: Sequence[bytes]) -> None:
    """The handshake repeated: resumed, and after the session was discarded."""
    require(short.info.resumed and not short.client.messages(ClientEncryptedSecret, US), "a handshake in short form")
    require(not full.info.resumed and len(decrypted) == 2 and len(decrypted[0]) == PREMASTER_SIZE, "a full handshake")
    first, last = it.one(ClientEncryptedSecret, US)[0], full.one(ClientEncryptedSecret, US)[0]
    require(first != last and decrypted[0] != decrypted[1], "another secret, encrypted anew")
    shorter, longer = handshake(short.client), handshake(full.client)
    require(len(shorter) < len(longer), "fewer messages in the short form")
    it.say("Then the handshake is repeated; in short form while both remember the session:")
    it.fact("remembered", f"{count(len(shorter), 'message')}, no certificate, nothing encrypted under RSA")
    it.fact("discarded", f"{count(len(longer), 'message')}, and another secret:")
    it.fact("", f"{start(decrypted[1])}  {it.look.good('✓ not the one before')}")


def handshake(recording: Recording) -> list[MessageMoved]:
    """All handshake messages, both ways."""
    return [event for event in recording.of(MessageMoved) if event.type is ContentType.HANDSHAKE]


def _records(recording: Recording) -> list[bytes]:
    return [record for _, record in wire(recording)]
