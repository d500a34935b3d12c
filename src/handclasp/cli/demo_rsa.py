"""`handclasp demo rsa`: TLS as it was first taught, with the session key sent under the server's public key.

A connection of TLS 1.2 with RSA key transport on the loopback interface, told in the same seven steps; then what is
wrong with it, done and not only said: its recording is read with the server's key alone.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from .. import danger
from ..config import ClientConfig, ServerConfig
from ..crypto.entropy import SystemEntropy
from ..crypto.groups import KeyPair
from ..crypto.signatures import KeyKind, PublicKey
from ..crypto.suites import RSA_TRANSPORT_SUITES, SUITES, KeyExchange
from ..crypto.transport import PREMASTER_SIZE
from ..identity.credentials import Credential
from ..lab.ca import CertificateAuthority, PemPair
from ..sessions.cache import ClientSessions, ServerSessions
from ..trace import Direction
from ..wire.names import CipherSuite, NamedGroup, SignatureScheme, TLSVersion
from . import demo_rsa_after as after
from . import demo_rsa_steps as steps
from .demo_steps import Told, require
from .meeting import LABEL, NAME, PATIENCE, Exchange, answering, ask
from .recording import Recording
from .terminal import Terminal

ECDHE_RSA = tuple(code for code, suite in SUITES.items() if suite.key_exchange is KeyExchange.ECDHE_RSA)


@dataclass(frozen=True, slots=True)
class WatchedEntropy:
    """The system's randomness; what a client draws for its secret is kept, so that it can be shown."""

    drawn: list[bytes] = field(default_factory=list, repr=False)

    def random(self, size: int) -> bytes:
        value = SystemEntropy().random(size)
        if size == PREMASTER_SIZE - 2:
            self.drawn.append(value)
        return value

    def key_pair(self, group: NamedGroup) -> KeyPair:
        return SystemEntropy().key_pair(group)


@dataclass(frozen=True, slots=True)
class WatchedSigner:
    """The server's key; what it decrypts is kept, so that it can be shown."""

    credential: Credential
    public_key: PublicKey
    decrypted: list[bytes] = field(default_factory=list, repr=False)

    def sign(self, scheme: SignatureScheme, data: bytes) -> bytes | Awaitable[bytes]:
        return self.credential.signer.sign(scheme, data)

    def decrypt(self, encrypted: bytes) -> bytes | Awaitable[bytes]:
        decrypted = self.credential.decrypt(encrypted)
        if isinstance(decrypted, bytes):
            self.decrypted.append(decrypted)
        return decrypted


@dataclass(frozen=True, slots=True)
class Lab:
    """A CA, a server with an RSA key, and a client."""

    root: CertificateAuthority
    pair: PemPair
    entropy: WatchedEntropy
    signer: WatchedSigner
    client: ClientConfig
    server: ServerConfig
    sessions: ClientSessions
    """What the client remembers."""


def rsa(page: Terminal) -> None:
    """RSA key transport in seven steps, again in short form and in full; then its recording, read."""
    began = time.perf_counter()
    lab = _lab()
    told, exchange, heard = meet(page, lab)
    steps.title(told)
    steps.offer(told)
    steps.choice(told)
    steps.certificate(told)
    steps.our_certificate(told)
    steps.transport(told, lab.entropy.drawn[-1], lab.signer.decrypted)
    steps.finished(told)
    steps.data(told, exchange, heard)

    short, _, _ = meet(page, lab)
    lab.sessions.clear()
    full, _, _ = meet(page, lab)
    steps.again(told, short, full, lab.signer.decrypted)

    client = lab.client.replace(cipher_suites=ECDHE_RSA, sessions=None)
    agreed = replace(lab, client=client, server=lab.server.replace(cipher_suites=ECDHE_RSA))
    ephemeral, other, _ = meet(page, agreed)
    require(len(lab.signer.decrypted) == 2, "nothing decrypted where keys are agreed")
    after.title(told)
    after.read_later(told, exchange, lab.pair.key, lab.signer.decrypted[0])
    after.read_nothing(ephemeral, other, lab.pair.key)
    after.measured(told, lab.signer.credential)
    after.farewell(told)
    after.summary(told, time.perf_counter() - began)


def meet(page: Terminal, lab: Lab) -> tuple[Told, Exchange, list[bytes]]:
    """One connection with one request, and all that is known of it."""
    client, server = Recording(records=True), Recording(records=True)
    with answering(lab.server.replace(trace=server)) as meeting:
        with meeting.connect(lab.client.replace(trace=client), NAME) as tls:
            require(meeting.exported.result(PATIENCE) == tls.export(LABEL), "the same keys on both sides")
            exchange, info = ask(tls, "/"), tls.info
        heard = meeting.served.result(PATIENCE)
    told = Told(page, NAME, meeting.port, client, server, info, lab.root.root, datetime.now(UTC))
    require(info.version is TLSVersion.TLS_1_2, "a connection of TLS 1.2")
    require(client.bytes_moved(Direction.SENT) == server.bytes_moved(Direction.RECEIVED), "all that was sent, received")
    return told, exchange, heard


def _lab() -> Lab:
    root = CertificateAuthority("Demo Root CA")
    usage = ("digital_signature", "key_encipherment")
    pair = root.issue_pem(NAME, key_kind=KeyKind.RSA, key_usage=usage)
    credential = Credential.from_pem(pair.chain, pair.key)
    entropy, signer = WatchedEntropy(), WatchedSigner(credential, credential.signer.public_key)
    only = (TLSVersion.TLS_1_2,)
    shown = Credential.from_signer(credential.chain, signer)
    sessions = ClientSessions()
    client = ClientConfig(trust=root.trust, versions=only, alpn=["http/1.1"], entropy=entropy, sessions=sessions)
    server = ServerConfig(credentials=[shown], versions=only, alpn=["http/1.1"], sessions=ServerSessions())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", danger.InsecureWarning)  # the whole demo says it
        client, server = danger.allow_rsa_key_transport(client), danger.allow_rsa_key_transport(server)
    suites: tuple[CipherSuite, ...] = RSA_TRANSPORT_SUITES
    client, server = client.replace(cipher_suites=suites), server.replace(cipher_suites=suites)
    return Lab(root, pair, entropy, signer, client, server, sessions)
