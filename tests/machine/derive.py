"""The state machine, derived: every script is played with stand-ins for messages, and asked what it takes next.

What a script does at a step is control flow; what its checks find is not. The checks that would need real keys are
replaced while it is played, and each stand-in of a message says what the checks would have found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from handclasp import ClientAuth, ClientConfig, Limits, NamedGroup, ServerConfig, VerifiedPeer
from handclasp.channel.inbound import Inbound
from handclasp.channel.outbound import Outbound
from handclasp.channel.schedule import TrafficSecret
from handclasp.crypto.groups import KeyPair, generate
from handclasp.crypto.secret import Secret
from handclasp.crypto.suites import SUITES, Suite
from handclasp.handshake import client as client_script
from handclasp.handshake import client13, server13
from handclasp.handshake import server as server_script
from handclasp.handshake.after import after_client, after_server
from handclasp.handshake.proofs import Agreement, Established, Possession
from handclasp.handshake.script import Peer, Question, Script, Sign, VerifyPeer, Want
from handclasp.identity.names import peer_name
from handclasp.rules import PeerFault
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
    ServerHelloExtensions,
)
from handclasp.wire.messages import (
    RETRY_RANDOM,
    Certificate,
    CertificateEntry,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    EncryptedExtensions,
    EndOfEarlyData,
    Finished,
    HandshakeMessage,
    HelloRetryRequest,
    KeyUpdate,
    NewSessionTicket,
    ServerHello,
)
from handclasp.wire.names import CipherSuite, KeyUpdateRequest, SignatureScheme, TLSVersion
from rules.stage import NAME, authority, client_credential, credential

SUITE = CipherSuite.TLS_AES_128_GCM_SHA256
COOKIE = bytes(32)

# --- stand-ins -------------------------------------------------------------------------------------------------------


def _hello(*, shared: bool, cookie: bool = False, early_data: bool = False) -> ClientHello:
    shares = (KeyShareEntry(NamedGroup.X25519, b"\x09" + bytes(31)),) if shared else ()
    return ClientHello(
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
        ),
    )


STAND_INS: dict[type[HandshakeMessage], dict[str, HandshakeMessage]] = {
    ClientHello: {
        "ClientHello": _hello(shared=True),
        "ClientHello(without our group's share)": _hello(shared=False),
        "ClientHello(with our cookie and share)": _hello(shared=True, cookie=True),
    },
    ServerHello: {
        "ServerHello": ServerHello(
            TLSVersion.TLS_1_2,
            bytes(32),
            bytes(32),
            SUITE,
            0,
            ServerHelloExtensions(
                supported_versions=TLSVersion.TLS_1_3, key_share=KeyShareEntry(NamedGroup.X25519, bytes(32))
            ),
        )
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
    EncryptedExtensions: {"EncryptedExtensions": EncryptedExtensions(EncryptedExtensionsBlock())},
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
    NewSessionTicket: {"NewSessionTicket": NewSessionTicket(1, 0, b"", b"?", NewSessionTicketExtensions())},
    EndOfEarlyData: {"EndOfEarlyData": EndOfEarlyData()},
    KeyUpdate: {
        "KeyUpdate": KeyUpdate(KeyUpdateRequest.UPDATE_NOT_REQUESTED),
        "KeyUpdate(requested)": KeyUpdate(KeyUpdateRequest.UPDATE_REQUESTED),
    },
}
"""Each message with every difference that can change what is due next."""


@contextmanager
def checks_replaced() -> Iterator[None]:
    """Every check that needs real keys, certificates or transcripts passes."""
    leaf = credential().leaf

    def accept_suite(peer: Peer, offer: object, hello: Any) -> Suite:
        suite = SUITES[SUITE]
        peer.transcript.begin(suite.hash, retry=isinstance(hello, HelloRetryRequest))
        return suite

    replaced: list[tuple[object, str, Callable[..., object]]] = [
        (client_script, "check_version", lambda offer, hello: None),
        (client13, "accept_suite", accept_suite),
        (client13, "accept_share", lambda peer, offer, hello: Secret(bytes(32))),
        (client13, "accept_extensions", lambda peer, offer, message: None),
        (server13, "respond", lambda group, share, generate: (bytes(32), bytes(32))),
    ]
    for script in (client13, server13):
        replaced += [
            (script, "parse_chain", lambda ders, limits: (leaf,)),
            (script, "check_leaf", lambda leaf, limits: None),
            (script, "check_signature", lambda leaf, verify, *_: Possession(leaf, verify.algorithm)),
            (script, "check_finished", lambda *_: Agreement(b"")),
        ]
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
        super().send(message)

    def send_change_cipher_spec(self) -> None:
        self.said.append("send ChangeCipherSpec")

    def read_with(self, secret: TrafficSecret, epoch: Epoch) -> None:
        self.said.append(f"read {epoch.value} keys")

    def write_with(self, secret: TrafficSecret, epoch: Epoch) -> None:
        self.said.append(f"write {epoch.value} keys")
        super().write_with(secret, epoch)

    def flight_ends(self) -> None:
        self.said.append("boundary")

    def allow_change_cipher_spec(self, allowed: bool) -> None:
        self.said.append("ChangeCipherSpec may come" if allowed else "no ChangeCipherSpec any more")


@dataclass
class State:
    """Where a script stands after a path of messages."""

    path: tuple[str, ...]
    said: tuple[str, ...]
    """What it said since the message before."""
    due: tuple[type[HandshakeMessage], ...] = ()
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
        peer = Noting(Inbound(limits, None), Outbound(limits, None, None, 0x0301), None, None)
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
                    value = _answer(want)
                elif remaining:
                    peer.said = []
                    peer.update_pending = False
                    stand_in = _stand_in(remaining.pop(0))
                    value = (stand_in, stand_in.encode())
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


def _stand_in(name: str) -> HandshakeMessage:
    return next(found[name] for found in STAND_INS.values() if name in found)


def _answer(question: Question[Any]) -> object:
    if isinstance(question, VerifyPeer):
        return VerifiedPeer(question.presented.chain, "a stand-in")
    if isinstance(question, Sign):
        return b"a stand-in"
    raise TypeError(f"nobody asks {question} here")


# --- the configurations that change the language ---------------------------------------------------------------------


def machines() -> list[Machine]:
    """Every role, in every configuration that changes what may come."""
    trust = authority().trust

    def client(name: str, **changes: Any) -> Machine:
        config = ClientConfig(
            trust=trust,
            groups=[NamedGroup.SECP256R1, NamedGroup.X25519],
            key_shares=[NamedGroup.SECP256R1],
            entropy=Zeros(),
            grease=False,
            **changes,
        )
        return Machine(name, lambda peer: client_script.client(peer, config, peer_name(NAME)), after_client)

    def server(name: str, **changes: Any) -> Machine:
        config = ServerConfig(credentials=[credential()], groups=[NamedGroup.X25519], entropy=Zeros(), **changes)
        return Machine(name, lambda peer: server_script.server(peer, config), after_server)

    return [
        client("client"),
        client("client with a credential", credentials=[client_credential()]),
        client("client without middlebox compatibility", middlebox_compatibility=False),
        server("server"),
        server("server that asks for a certificate", client_auth=ClientAuth(verify=trust, required=False)),
        server("server that requires a certificate", client_auth=ClientAuth(verify=trust)),
    ]


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
