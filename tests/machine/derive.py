"""The state machine, derived: every script is played with stand-ins for messages, and asked what it takes next.

What a script does at a step is control flow; what its checks find is not. The checks that would need real keys are
replaced while it is played, and each stand-in of a message says what the checks would have found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from handclasp import ClientAuth, ClientConfig, EarlyData, Limits, NamedGroup, ServerConfig, VerifiedPeer
from handclasp.channel.inbound import ChangeCipherSpecs, Inbound
from handclasp.channel.outbound import Outbound
from handclasp.channel.protection import Keys
from handclasp.config import Dangers
from handclasp.crypto.groups import KeyPair, generate
from handclasp.crypto.secret import Secret
from handclasp.crypto.signatures import KeyKind
from handclasp.crypto.suites import SUITES, Suite
from handclasp.handshake import authenticate, client12, client13, psk, server12, server13
from handclasp.handshake import client as client_script
from handclasp.handshake import server as server_script
from handclasp.handshake.after import after_client, after_server
from handclasp.handshake.offer import Offer
from handclasp.handshake.proofs import Agreement, Established, Possession
from handclasp.handshake.questions import (
    CheckRevocation,
    ClaimEarlyData,
    Decrypt,
    FindSession,
    KeepSession,
    Question,
    Sign,
    VerifyPeer,
)
from handclasp.handshake.resume import IDENTITY_SIZE, client_policy, server_policy
from handclasp.handshake.script import Peer, Script, Want
from handclasp.identity.names import peer_name
from handclasp.identity.revocation.finding import Evidence
from handclasp.identity.revocation.policy import Checked
from handclasp.rules import EARLY_DATA_ACCEPTED, SERVER_CIPHER_SUITE, PeerFault, require
from handclasp.sessions.cache import ClientSession, ClientSessions, ServerSessions
from handclasp.sessions.session import Session
from handclasp.sessions.tickets import TicketKeys
from handclasp.trace import Epoch
from handclasp.wire.extensions import (
    EMPTY,
    CertificateEntryExtensions,
    CertificateRequestExtensions,
    ClientHelloExtensions,
    EncryptedExtensionsBlock,
    HelloRetryRequestExtensions,
    KeyShareEntry,
    NewSessionTicketExtensions,
    OfferedPsks,
    PskIdentity,
    ServerHelloExtensions,
)
from handclasp.wire.messages import (
    RETRY_RANDOM,
    Certificate,
    CertificateEntry,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    CompressedCertificate,
    EncryptedExtensions,
    EndOfEarlyData,
    Finished,
    HandshakeMessage,
    HelloRetryRequest,
    KeyUpdate,
    NewSessionTicket,
    ServerHello,
)
from handclasp.wire.messages12 import (
    Certificate12,
    CertificateRequest12,
    CertificateStatusMessage,
    ClientECDH,
    ClientEncryptedSecret,
    HelloRequest,
    NewSessionTicket12,
    ServerECDHParams,
    ServerHelloDone,
    ServerKeyExchange,
)
from handclasp.wire.names import (
    CertificateCompression,
    CertificateStatusType,
    CipherSuite,
    ClientCertificateType,
    ECCurveType,
    KeyUpdateRequest,
    PskKeyExchangeMode,
    SignatureScheme,
    TLSVersion,
)
from handclasp.wire.records import ChangeCipherSpec
from rules.stage import NAME, authority, client_credential, credential

SUITE = CipherSuite.TLS_AES_128_GCM_SHA256
SUITE12 = CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
RSA_SUITE = CipherSuite.TLS_RSA_WITH_AES_128_GCM_SHA256
SESSION_ID = b"\x01" * 32
"""The id of a session that the server remembers, and that the client shows."""

Arrival = HandshakeMessage | ChangeCipherSpec
COOKIE = bytes(32)

# --- stand-ins -------------------------------------------------------------------------------------------------------


def _hello(*, shared: bool, cookie: bool = False, session: bool = False, early_data: bool = False) -> ClientHello:
    shares = (KeyShareEntry(NamedGroup.X25519, b"\x09" + bytes(31)),) if shared else ()
    hello = ClientHello(
        TLSVersion.TLS_1_2,
        bytes(32),
        bytes(32),
        (SUITE,),
        b"\0",
        ClientHelloExtensions(
            supported_groups=(NamedGroup.X25519,),
            signature_algorithms=(SignatureScheme.ECDSA_SECP256R1_SHA256,),
            key_share=shares,
            supported_versions=(TLSVersion.TLS_1_3,),
            early_data=EMPTY if early_data else None,
            cookie=COOKIE if cookie else None,
            psk_key_exchange_modes=(PskKeyExchangeMode.PSK_DHE_KE,),
            pre_shared_key=OfferedPsks((PskIdentity(bytes(IDENTITY_SIZE), 0),), (bytes(32),)) if session else None,
        ),
    )
    return ClientHello.parse(hello.encode()[4:])  # which knows the order of its extensions


def _hello12(*, suite: CipherSuite = SUITE12, session_id: bytes = b"") -> ClientHello:
    return ClientHello(
        TLSVersion.TLS_1_2,
        bytes(32),
        session_id,
        (suite,),
        b"\0",
        ClientHelloExtensions(
            supported_groups=(NamedGroup.X25519, NamedGroup.SECP256R1),
            signature_algorithms=(SignatureScheme.ECDSA_SECP256R1_SHA256,),
            extended_master_secret=EMPTY,
            session_ticket=b"",
        ),
    )


def _answer(*, pre_shared_key: int | None = None) -> ServerHello:
    extensions = ServerHelloExtensions(
        supported_versions=TLSVersion.TLS_1_3,
        key_share=KeyShareEntry(NamedGroup.X25519, bytes(32)),
        pre_shared_key=pre_shared_key,
    )
    return ServerHello(TLSVersion.TLS_1_2, bytes(32), bytes(32), SUITE, 0, extensions)


def _answer12(
    *, suite: CipherSuite = SUITE12, session_id: bytes = b"", ticket: bool = False, staple: bool = False
) -> ServerHello:
    extensions = ServerHelloExtensions(
        extended_master_secret=EMPTY,
        session_ticket=EMPTY if ticket else None,
        status_request=EMPTY if staple else None,
    )
    return ServerHello(TLSVersion.TLS_1_2, bytes(32), session_id, suite, 0, extensions)


STAND_INS: dict[type[Arrival], dict[str, Arrival]] = {
    ClientHello: {
        "ClientHello": _hello(shared=True),
        "ClientHello(without our group's share)": _hello(shared=False),
        "ClientHello(with our cookie and share)": _hello(shared=True, cookie=True),
        "ClientHello(a session)": _hello(shared=True, session=True),
        "ClientHello(a session, early data)": _hello(shared=True, session=True, early_data=True),
        "ClientHello(1.2)": _hello12(),
        "ClientHello(1.2, key transport)": _hello12(suite=RSA_SUITE),
        "ClientHello(1.2, a session)": _hello12(session_id=SESSION_ID),
    },
    ServerHello: {
        "ServerHello": _answer(),
        "ServerHello(our session)": _answer(pre_shared_key=0),
        "ServerHello(1.2)": _answer12(),
        "ServerHello(1.2, a ticket follows)": _answer12(ticket=True),
        "ServerHello(1.2, a staple may follow)": _answer12(staple=True),
        "ServerHello(1.2, key transport)": _answer12(suite=RSA_SUITE),
        "ServerHello(1.2, key transport, a staple may follow)": _answer12(suite=RSA_SUITE, staple=True),
        "ServerHello(1.2, our session)": _answer12(session_id=SESSION_ID),
    },
    HelloRetryRequest: {
        "HelloRetryRequest": HelloRetryRequest(
            TLSVersion.TLS_1_2,
            RETRY_RANDOM,
            bytes(32),
            SUITE,
            0,
            HelloRetryRequestExtensions(supported_versions=TLSVersion.TLS_1_3, key_share=NamedGroup.X25519),
        )
    },
    EncryptedExtensions: {
        "EncryptedExtensions": EncryptedExtensions(EncryptedExtensionsBlock()),
        "EncryptedExtensions(early data)": EncryptedExtensions(EncryptedExtensionsBlock(early_data=EMPTY)),
    },
    CertificateRequest: {
        "CertificateRequest": CertificateRequest(
            b"",
            CertificateRequestExtensions(signature_algorithms=(SignatureScheme.ECDSA_SECP256R1_SHA256,)),
        )
    },
    Certificate: {
        "Certificate": Certificate(b"", (CertificateEntry(b"der", CertificateEntryExtensions()),)),
        "Certificate(empty)": Certificate(b"", ()),
    },
    CertificateVerify: {"CertificateVerify": CertificateVerify(SignatureScheme.ECDSA_SECP256R1_SHA256, b"?")},
    Finished: {"Finished": Finished(bytes(32))},
    CompressedCertificate: {"CompressedCertificate": CompressedCertificate(CertificateCompression.ZLIB, 4, b"?")},
    NewSessionTicket: {"NewSessionTicket": NewSessionTicket(1, 0, b"", b"?", NewSessionTicketExtensions())},
    EndOfEarlyData: {"EndOfEarlyData": EndOfEarlyData()},
    KeyUpdate: {
        "KeyUpdate": KeyUpdate(KeyUpdateRequest.UPDATE_NOT_REQUESTED),
        "KeyUpdate(requested)": KeyUpdate(KeyUpdateRequest.UPDATE_REQUESTED),
    },
    HelloRequest: {"HelloRequest": HelloRequest()},
    Certificate12: {"Certificate12": Certificate12((b"der",)), "Certificate12(empty)": Certificate12(())},
    CertificateStatusMessage: {
        "CertificateStatusMessage": CertificateStatusMessage(CertificateStatusType.OCSP, b"?"),
    },
    ServerKeyExchange: {
        "ServerKeyExchange": ServerKeyExchange(
            ServerECDHParams(ECCurveType.NAMED_CURVE, NamedGroup.X25519, b"\x09" + bytes(31)),
            SignatureScheme.ECDSA_SECP256R1_SHA256,
            b"?",
        )
    },
    CertificateRequest12: {
        "CertificateRequest12": CertificateRequest12(
            (ClientCertificateType.ECDSA_SIGN,), (SignatureScheme.ECDSA_SECP256R1_SHA256,), ()
        )
    },
    ServerHelloDone: {"ServerHelloDone": ServerHelloDone()},
    ClientECDH: {"ClientECDH": ClientECDH(b"\x09" + bytes(31))},
    ClientEncryptedSecret: {"ClientEncryptedSecret": ClientEncryptedSecret(b"?")},
    NewSessionTicket12: {"NewSessionTicket12": NewSessionTicket12(1, b"?")},
    ChangeCipherSpec: {"ChangeCipherSpec": ChangeCipherSpec()},
}
"""Each message with every difference that can change what is due next."""


def _accept_extensions(
    peer: Peer, offer: Offer, message: EncryptedExtensions, hopeful: Session | None, *_: object
) -> bool:
    early = message.extensions.early_data is not None
    require(not early or hopeful is not None, EARLY_DATA_ACCEPTED)
    return early


@contextmanager
def checks_replaced() -> Iterator[None]:
    """Every check that needs real keys, certificates or transcripts passes."""
    leaf = credential().leaf

    def accept_suite(peer: Peer, offer: object, hello: Any) -> Suite:
        suite = SUITES[SUITE]
        peer.transcript.begin(suite.hash, retry=isinstance(hello, HelloRetryRequest))
        return suite

    def accept_hello(peer: Peer, offer: Offer, hello: ServerHello) -> Suite:
        require(hello.cipher_suite in offer.hello.cipher_suites, SERVER_CIPHER_SUITE)
        suite = SUITES[hello.cipher_suite]
        peer.transcript.keep()
        peer.transcript.begin(suite.hash)
        return suite

    replaced: list[tuple[object, str, Callable[..., object]]] = [
        (client13, "accept_suite", accept_suite),
        (client13, "accept_share", lambda *_: Secret(bytes(32))),
        (client13, "accept_extensions", _accept_extensions),
        (psk, "same", lambda ours, theirs: True),
        (client12, "accept_hello", accept_hello),
        (client12, "check_exchange", lambda *_: Possession(leaf, SignatureScheme.ECDSA_SECP256R1_SHA256)),
        (client12, "check_key", lambda *_: None),
        (client12, "encrypt_premaster", lambda *_: b"?"),
        (server13, "respond", lambda group, share, generate: (bytes(32), bytes(32))),
        (authenticate, "parse_chain", lambda ders, limits: (leaf,)),
        (authenticate, "check_leaf", lambda leaf, limits: None),
    ]
    for script in (client13, server13, server12):
        replaced.append((script, "check_signed", lambda leaf, scheme, *_: Possession(leaf, scheme)))
    for script in (client12, client13, server12, server13):
        replaced.append((script, "check_finished", lambda *_: Agreement(b"")))
    patches = [patch.object(target, name, stand_in) for target, name, stand_in in replaced]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


class Zeros:
    """Entropy without chance."""

    def random(self, size: int) -> bytes:
        return bytes(size)

    def key_pair(self, group: NamedGroup) -> KeyPair:
        return generate(group)


# --- playing a script ------------------------------------------------------------------------------------------------


class Noting(Peer):
    """Notes what a script says and when it changes keys; a stand-in arrives by itself, at no boundary of records."""

    __slots__ = ("said",)

    said: list[str]

    def send(self, message: HandshakeMessage) -> None:
        self.said.append(f"send {type(message).__name__}")
        super().send_encoded(message.encode())

    def send_encoded(self, message: bytes) -> None:
        self.said.append("send ClientHello with binders")
        super().send_encoded(message)

    def send_data(self, data: bytes) -> None:
        self.said.append("send early data")

    def write_in_clear(self) -> None:
        self.said.append("write in clear")
        super().write_in_clear()

    def take_early_data(self, most: int) -> None:
        self.said.append("early data may come")

    def skip_early_data(self, allowed: int) -> None:
        self.said.append("early data is passed over")

    def send_change_cipher_spec(self) -> None:
        self.said.append("send ChangeCipherSpec")

    def read_with(self, secret: Keys, epoch: Epoch) -> None:
        self.said.append(f"read {epoch.value} keys")

    def write_with(self, secret: Keys, epoch: Epoch) -> None:
        self.said.append(f"write {epoch.value} keys")
        super().write_with(secret, epoch)

    def flight_ends(self) -> None:
        self.said.append("boundary")

    def change_cipher_specs(self, meaning: ChangeCipherSpecs) -> None:
        words = {
            ChangeCipherSpecs.REFUSE: "no ChangeCipherSpec any more",
            ChangeCipherSpecs.DROP: "ChangeCipherSpec may come",
            ChangeCipherSpecs.DELIVER: "ChangeCipherSpec is due",
        }
        self.said.append(words[meaning])

    def refuse_renegotiation(self) -> None:
        self.said.append("warn no_renegotiation")


@dataclass
class State:
    """Where a script stands after a path of messages."""

    path: tuple[str, ...]
    said: tuple[str, ...]
    """What it said since the message before."""
    due: tuple[type[Arrival], ...] = ()
    established: bool = False
    refused: str = ""
    """The rule it refuses the last message by."""
    next: dict[str, State] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """One role in one configuration."""

    name: str
    start: Callable[[Peer], Script[Established]]
    after: Callable[[Peer, Established], Script[Any]]

    def play(self, path: Sequence[str]) -> State:
        """The state after a path of stand-ins, from a fresh start."""
        limits = Limits()
        peer = Noting(Inbound(limits, None), Outbound(limits, None, 0x0301), None)
        peer.said = []
        script: Script[Any] = self.start(peer)
        established = False
        value: object = None
        remaining = list(path)
        try:
            while True:
                want: Want
                try:
                    want = script.send(value)
                except StopIteration as finished:
                    peer.said.append("ESTABLISHED")
                    script, established, value = self.after(peer, finished.value), True, None
                    continue
                if isinstance(want, Question):
                    value = _reply(want)
                elif remaining:
                    peer.said = []
                    peer.update_pending = False
                    stand_in = _stand_in(remaining.pop(0))
                    value = stand_in if isinstance(stand_in, ChangeCipherSpec) else (stand_in, stand_in.encode())
                else:
                    return State(tuple(path), tuple(peer.said), want.types, established)
        except PeerFault as fault:
            return State(tuple(path), tuple(peer.said), refused=fault.rule.name)
        finally:
            script.close()

    def explore(self, after_handshake: int = 1) -> State:
        """All states, breadth first; `after_handshake` messages deep behind the handshake, where states repeat."""
        root = self.play(())
        queue = [root]
        while queue:
            state = queue.pop(0)
            depth = sum(1 for size in range(len(state.path)) if self.play(state.path[:size]).established)
            if depth >= after_handshake and state.established:
                continue
            for cls in state.due:
                for name in STAND_INS[cls]:
                    state.next[name] = self.play((*state.path, name))
                    queue.append(state.next[name])
        return root


def _stand_in(name: str) -> Arrival:
    return next(found[name] for found in STAND_INS.values() if name in found)


def _reply(question: Question[Any]) -> object:
    if isinstance(question, VerifyPeer):
        return VerifiedPeer(question.presented.chain, "a stand-in")
    if isinstance(question, CheckRevocation):
        return Checked(Evidence.NONE, "a stand-in")
    if isinstance(question, Sign | Decrypt):
        return b"a stand-in"
    if isinstance(question, FindSession | KeepSession | ClaimEarlyData):
        return question.put()
    raise TypeError(f"nobody asks {question} here")


# --- the configurations that change the language ---------------------------------------------------------------------


def machines() -> list[Machine]:
    """Every role, in every configuration that changes what may come."""
    trust = authority().trust

    newest, older = [TLSVersion.TLS_1_3], [TLSVersion.TLS_1_2]

    def client(name: str, versions: list[TLSVersion], early_data: bytes = b"", **changes: Any) -> Machine:
        config = ClientConfig(
            trust=trust,
            versions=versions,
            groups=[NamedGroup.SECP256R1, NamedGroup.X25519],
            key_shares=[NamedGroup.SECP256R1],
            entropy=Zeros(),
            grease=False,
            **changes,
        )
        return Machine(name, lambda peer: client_script.client(peer, config, peer_name(NAME), early_data), after_client)

    def server(name: str, versions: list[TLSVersion], **changes: Any) -> Machine:
        changes.setdefault("credentials", [credential()])
        config = ServerConfig(groups=[NamedGroup.X25519], entropy=Zeros(), versions=versions, **changes)
        return Machine(name, lambda peer: server_script.server(peer, config), after_server)

    transport: dict[str, Any] = {"danger": Dangers(rsa_key_transport=True), "cipher_suites": [RSA_SUITE]}
    encrypting = authority().issue(NAME, key_kind=KeyKind.RSA)
    asking, requiring = ClientAuth(verify=trust, required=False), ClientAuth(verify=trust)
    return [
        client("client", newest),
        client("client with a credential", newest, credentials=[client_credential()]),
        client("client that may be asked later", newest, credentials=[client_credential()], post_handshake_auth=True),
        client("client with a session", newest, sessions=_Remembering(SUITE)),
        client("client with early data", newest, b"early", sessions=_Remembering(SUITE)),
        client("client without middlebox compatibility", newest, middlebox_compatibility=False),
        client("client of TLS 1.2", older),
        client("client of TLS 1.2 with a credential", older, credentials=[client_credential()]),
        client("client of TLS 1.2 with a session", older, sessions=_Remembering(SUITE12)),
        client("client of both versions", newest + older),
        server("server", newest),
        server("server that knows the session", newest, sessions=_Known()),
        server("server that takes early data", newest, sessions=_Known(), early_data=EarlyData(replay=_New())),
        server("server that asks for a certificate", newest, client_auth=asking),
        server("server that requires a certificate", newest, client_auth=requiring),
        server("server of TLS 1.2", older, sessions=_remembering()),
        server("server of TLS 1.2 that asks for a certificate", older, client_auth=asking),
        server("server of TLS 1.2 that gives tickets", older, tickets=TicketKeys()),
        server("server of both versions", newest + older),
        client("client of key transport", older, **transport),
        server("server of key transport", older, credentials=[encrypting], **transport),
    ]


def _session(suite: CipherSuite) -> Session:
    """A session of these machines, with nothing in it that a full handshake would not have."""
    policy = client_policy(ClientConfig(trust=authority().trust), asked=False)
    now = datetime.now(UTC) - timedelta(seconds=1)
    return Session(
        version=SUITES[suite].version,
        suite=suite,
        secret=Secret(bytes(48)),
        extended=True,
        server_name="",
        alpn="",
        policy=policy or b"",
        created=now,
        authenticated=now,
        expires=now + timedelta(hours=2),
        max_early_data=1000,
        verified_chain=credential().chain,
    )


class _Remembering(ClientSessions):
    """A cache that always has the same session."""

    __slots__ = ("_suite",)

    def __init__(self, suite: CipherSuite) -> None:
        super().__init__()
        self._suite = suite

    def take(self, name: str) -> ClientSession:
        return ClientSession(_session(self._suite), SESSION_ID, SESSION_ID)

    def put(self, name: str, session: ClientSession) -> None:
        pass


class _Known(ServerSessions):
    """A store that always has the same session."""

    __slots__ = ()

    def take(self, session_id: bytes) -> Session:
        policy = server_policy(ServerConfig(credentials=[credential()]))
        return replace(_session(SUITE), policy=policy or b"", verified_chain=())


class _New:
    """A replay store to which everything is new."""

    def claim(self, key: bytes, now: datetime, until: datetime) -> bool:
        return True


def _remembering() -> ServerSessions:
    sessions = ServerSessions()
    policy = server_policy(ServerConfig(credentials=[credential()]))
    session = replace(_session(SUITE12), policy=policy or b"", verified_chain=())
    sessions.put(SESSION_ID, session, session.expires)
    return sessions


# --- writing it down -------------------------------------------------------------------------------------------------


def listing(root: State) -> str:
    """One paragraph for each state: the path there, what was said on the way, and what may come."""
    paragraphs = []
    queue = [root]
    while queue:
        state = queue.pop(0)
        lines = [" > ".join(("start", *state.path))]
        lines += [f"    {said}" for said in state.said]
        if state.refused:
            lines.append(f"    refused: {state.refused}")
        elif state.established and not state.next:
            lines.append("    as before: " + " | ".join(cls.__name__ for cls in state.due))
        else:
            lines.append("  takes " + " | ".join(cls.__name__ for cls in state.due))
        paragraphs.append("\n".join(lines))
        queue += state.next.values()
    return "\n\n".join(paragraphs) + "\n"


def diagram(root: State) -> str:
    """The same as a Mermaid state diagram; states with one future are one."""
    names: dict[object, str] = {}
    labels: list[str] = []
    edges: dict[str, None] = {}

    def future(state: State) -> object:
        if state.refused:
            return "refused"
        if state.established:
            return "established"
        return (tuple(cls.__name__ for cls in state.due), tuple((m, future(s)) for m, s in state.next.items()))

    def visit(state: State) -> str:
        key = future(state)
        if key in names:
            return names[key]
        name = key if isinstance(key, str) else f"s{len(labels)}"
        names[key] = name
        if not isinstance(key, str):
            labels.append(f"    {name}: awaits {' or '.join(cls.__name__ for cls in state.due)}")
        for message, after in state.next.items():
            if not after.refused:
                edges[f"    {name} --> {visit(after)}: {message}"] = None
        return name

    first = visit(root)
    return "\n".join(["stateDiagram-v2", *labels, f"    [*] --> {first}", *sorted(edges)]) + "\n"
