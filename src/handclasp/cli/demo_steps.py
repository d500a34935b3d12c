"""The seven steps of the demo: each looks up what happened, insists that it did, and tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from ..alerts import Alert
from ..crypto.groups import POST_QUANTUM
from ..events import ConnectionInfo
from ..identity import certificates
from ..identity.names import any_matches, peer_name
from ..limits import RECORD_HEADER
from ..trace import DataMoved, Direction, Epoch, KeysChanged, MessageMoved, RecordMoved, Subject
from ..wire.messages import (
    Certificate,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    Finished,
    HandshakeMessage,
    KeyUpdate,
    ServerHello,
)
from .chain import table
from .meeting import Exchange
from .recording import M, Recording
from .story import in_short, real, told, told_alerts
from .terminal import Look, Terminal, row, wrapped
from .words import called, count, listed, milliseconds, number, octets

US, PEER = Direction.SENT, Direction.RECEIVED


class Untold(Exception):
    """Something the demo is about to tell did not happen."""


def require(condition: object, what: str) -> None:
    if not condition:
        raise Untold(f"this was to be shown and did not happen: {what}")


@dataclass(frozen=True, slots=True)
class Told:
    """The page, and the connection it tells of."""

    page: Terminal
    name: str
    port: int
    client: Recording
    server: Recording
    info: ConnectionInfo
    root: certificates.Certificate
    now: datetime

    @property
    def look(self) -> Look:
        return self.page.look

    def one(self, kind: type[M], direction: Direction) -> tuple[M, bytes]:
        """The only message of its kind that went this way; the same bytes left one side and reached the other."""
        opposite = PEER if direction is US else US
        ours, theirs = self.client.messages(kind, direction), self.server.messages(kind, opposite)
        require(len(ours) == 1 and ours == theirs, f"one {kind.__name__}, the same on both sides")
        return ours[0]

    def step(self, number: int, heading: str) -> None:
        self.page.lines(["", self.look.strong(f"{number}  {heading}")])

    def spoken(self, kind: type[HandshakeMessage], direction: Direction) -> None:
        self.page.lines(told(self.client, kind, direction, self.look))

    def fact(self, label: str, value: str) -> None:
        self.page.lines(row(label, value, self.look))

    def say(self, text: str) -> None:
        self.page.lines(wrapped(text))


def title(it: Told) -> None:
    it.page.line(it.look.strong("One TLS connection, told while it happens"))
    it.say(
        f"A client and a server meet on 127.0.0.1:{it.port}, with certificates from a CA made for this run."
        " All values are this connection's own."
    )


def offer(it: Told) -> None:
    hello, encoded = it.one(ClientHello, US)
    names = hello.extensions.server_name or ()
    require([entry.host_name.decode() for entry in names] == [it.name], f"the name {it.name} in the ClientHello")
    it.step(1, "We offer")
    it.spoken(ClientHello, US)
    it.fact("version", listed(real(hello.extensions.supported_versions)))
    it.fact("suites", in_short(hello.cipher_suites))
    it.fact("groups", ", ".join(real(hello.extensions.supported_groups)))
    it.fact("name", f"{it.name} (SNI: anyone on the way can read it)")
    shares = [entry for entry in hello.extensions.key_share or () if str(entry.group) in real((entry.group,))]
    require(shares, "a key share in the ClientHello")
    sizes = [f"{number(len(entry.key_exchange))} are a key share for {entry.group}" for entry in shares]
    hybrid = " The large one joins a curve with ML-KEM, against the quantum computers of the future."
    it.say(f"Of its {number(len(encoded))} bytes, {listed(sizes)}.{hybrid if shares[0].group in POST_QUANTUM else ''}")


def choice(it: Told) -> None:
    hello, _ = it.one(ServerHello, PEER)
    require(hello.cipher_suite == it.info.cipher_suite, "both sides go by the suite in the ServerHello")
    it.step(2, "The server picks")
    it.spoken(ServerHello, PEER)
    picks = (
        ("suite", Subject.CIPHER_SUITE, it.info.cipher_suite),
        ("group", Subject.GROUP, it.info.group),
        ("signature", Subject.SIGNATURE_SCHEME, it.info.signature_scheme),
        ("application", Subject.ALPN, it.info.alpn),
    )
    for label, subject, ours in picks:
        chosen = it.server.chosen(subject)
        require(chosen is not None and chosen.value == ours, f"the same {label} on both sides")
        if chosen is not None:
            it.fact(label, f"{chosen.value}: {chosen.why}")
    it.say("The reasons are the server's words. From here on the handshake is encrypted.")


def certificate(it: Told) -> None:
    """Who it is, why we believe it, and why that is not a copy."""
    message, _ = it.one(Certificate, PEER)
    proof, _ = it.one(CertificateVerify, PEER)
    chain, leaf = it.info.verified_chain, it.info.peer_certificates[0]
    sent = [entry.cert_data for entry in message.certificate_list]
    require([c.der for c in chain[:-1]] == sent and chain[-1] == it.root, "a chain up to the root we trusted before")
    require(all(child.was_signed_by(parent) for child, parent in pairwise(chain)), "each signed by the next")
    require(any_matches(leaf.names, peer_name(it.name)), f"{it.name} among the names")
    require(all(c.not_before <= it.now <= c.not_after for c in chain), "dates that hold today")
    require(it.client.chosen(Subject.PEER), "a verdict on the certificate")
    require(proof.algorithm == it.info.signature_scheme, "a signature by the scheme that was checked")
    it.step(3, "It shows its certificate, and we check it")
    it.spoken(Certificate, PEER)
    it.page.lines(table(chain, "trusted before", it.now, it.look))
    it.say(
        f"Each is signed by the next, up to a root we trusted before; {it.name} is among its names; today is within its"
        " dates."
    )
    it.spoken(CertificateVerify, PEER)
    it.say(
        "Anyone can copy a certificate, but not the key that belongs to it. With that key the server signed all that"
        " was said so far, and the signature fits."
    )


def our_certificate(it: Told) -> None:
    """The note's optional step; this server insists on it."""
    it.one(CertificateRequest, PEER)
    message, _ = it.one(Certificate, US)
    it.one(CertificateVerify, US)
    ours, accepted = it.info.certificate, it.server.chosen(Subject.PEER)
    if ours is None or accepted is None:
        raise Untold("our certificate, accepted by the server")
    require(message.certificate_list[0].cert_data == ours.der, "our certificate in our message")
    it.step(4, "We show ours, because this server asks")
    it.spoken(CertificateRequest, PEER)
    it.spoken(Certificate, US)
    it.spoken(CertificateVerify, US)
    it.say(
        f"Most web servers do not ask. This one does, and has checked ours as we checked its own: it knows us as"
        f" {called(ours)}."
    )


def agreement(it: Told, ours: bytes, theirs: bytes) -> None:
    """Two key shares crossed the wire; the key they make did not."""
    hello, _ = it.one(ClientHello, US)
    answer, _ = it.one(ServerHello, PEER)
    share = answer.extensions.key_share
    if share is None or share.group != it.info.group:
        raise Untold("the server's key share, for the group both sides go by")
    offered = [entry for entry in hello.extensions.key_share or () if entry.group == share.group]
    require(len(offered) == 1, "our key share for the same group")
    require(ours == theirs, "the same value derived on both sides")
    clear = [event.record for event in it.client.of(RecordMoved)]
    require(not any(ours in record for record in clear), "a value that never crossed the wire")
    it.step(5, "A session key is agreed; it is never sent")
    it.fact("our share", f"{start(offered[0].key_exchange)}, went out in step 1")
    it.fact("its share", f"{start(share.key_exchange)}, came back in step 2")
    it.say("Each side joins the other's share with a secret that it keeps. A fingerprint of what it derives:")
    it.fact("we", ours[:16].hex(" "))
    it.fact("the server", f"{theirs[:16].hex(' ')}  {it.look.good('✓ the same')}")
    it.say(
        "Older versions could send the key instead, locked with the server's public key: whoever got its private key"
        " later could open every recording (handclasp demo rsa does it). This key is for this connection only."
    )


def finished(it: Told) -> None:
    it.one(Finished, PEER)
    it.one(Finished, US)
    require(it.client.established, "the server's Finished, found right by us")
    require(it.server.established, "our Finished, found right by the server")
    it.step(6, "Finished, both ways")
    it.spoken(Finished, PEER)
    it.spoken(Finished, US)
    it.say(
        "A checksum over all messages so far, which only a holder of the key can make. Both were right: a single byte"
        " changed on the way, even in step 1, would show now."
    )


def data(it: Told, exchanges: Sequence[Exchange], heard: Sequence[bytes]) -> None:
    """What the applications say, what the wire shows, new keys, and a goodbye."""
    require([exchange.request for exchange in exchanges] == list(heard), "what we wrote, read by the server")
    require(all(exchange.answer.startswith(b"HTTP/1.1 200") for exchange in exchanges), "an answer to each")
    require(carrier(it.client, US) == carrier(it.server, PEER), "our record, the same where it arrived")
    require(carrier(it.server, US) == carrier(it.client, PEER), "its record, the same where it arrived")
    it.step(7, "Everything is encrypted")
    _sealed(it, "we write", exchanges[0].request, carrier(it.client, US))
    _sealed(it, "it answers", exchanges[0].answer, carrier(it.client, PEER))
    _new_keys(it)
    _goodbye(it)


def _sealed(it: Told, label: str, text: bytes, record: bytes) -> None:
    """A text, and the record that carried it."""
    require(text not in record and len(record) > len(text) + RECORD_HEADER, "a record that hides its text")
    added = len(record) - len(text) - RECORD_HEADER - 1
    sealed = (
        f"{octets(len(record))}: {RECORD_HEADER} of header, {number(len(text))} of text, 1 of type, {added} of seal"
    )
    it.fact(label, f"{first_line(text)} …  ({number(len(text))} bytes in all)")
    it.fact("on the wire", f"{record[:RECORD_HEADER].hex(' ')} │ {record[RECORD_HEADER:][:12].hex(' ')} …")
    it.fact("", sealed)


def _new_keys(it: Told) -> None:
    it.one(KeyUpdate, US)
    it.one(KeyUpdate, PEER)
    changed = {event.direction: event.generation for event in it.client.of(KeysChanged)}
    require(changed == {US: 1, PEER: 1}, "new keys in both directions")
    it.spoken(KeyUpdate, US)
    it.spoken(KeyUpdate, PEER)
    it.say(
        "Keys need not grow old: both directions have new ones now (generation 1), and a second request and its"
        " answer went under them."
    )


def _goodbye(it: Told) -> None:
    for direction in (US, PEER):
        require(it.client.alerts(direction) == [Alert.CLOSE_NOTIFY], "close_notify in both directions")
        it.page.lines(told_alerts(it.client, direction, it.look))
    it.say("Both said goodbye, so nothing was cut off. The keys are gone; the next connection begins at step 1.")


def summary(it: Told, refusals: int, seconds: float) -> None:
    messages = len(it.client.of(MessageMoved))
    last = it.client.at(next(event for event in it.client.of(KeysChanged, US) if event.epoch is Epoch.APPLICATION))
    there, back = it.client.bytes_moved(US), it.client.bytes_moved(PEER)
    it.page.line()
    it.page.line(
        f"{it.look.good('✓')} all as told: {count(messages, 'message')}, {octets(there)} there, {octets(back)} back,"
        f" handshake {milliseconds(last)} ms"
    )
    wanted = f"{count(refusals, 'refusal')}, each for the right reason"
    it.page.line(f"{it.look.good('✓')} {wanted} · {milliseconds(seconds)} ms in all")


def carrier(recording: Recording, direction: Direction) -> bytes:
    """The record that carried the first application data of one direction.

    What is sent is traced before it is sealed, what is received after it was opened.
    """
    moved = [
        moment.event
        for moment in recording.moments
        if isinstance(moment.event, RecordMoved | DataMoved) and moment.event.direction is direction
    ]
    data = next((index for index, event in enumerate(moved) if isinstance(event, DataMoved)), None)
    if data is None:
        raise Untold("application data on the wire")
    carrier = moved[data + 1 if direction is US else data - 1]
    if not isinstance(carrier, RecordMoved):
        raise Untold("a record for the application data")
    return carrier.record


def start(value: bytes) -> str:
    """A long value by its first bytes."""
    return f"{value[:8].hex(' ')} … ({number(len(value))} bytes)"


def first_line(text: bytes) -> str:
    return text.partition(b"\r\n")[0].decode("latin-1")
