"""The server's side of TLS 1.2: RFC 5246 §7.3 figure 1, from the ClientHello on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import NoneType

from .. import rules
from ..channel.inbound import ChangeCipherSpecs
from ..channel.prf import MasterSecret
from ..config import ServerConfig
from ..crypto.groups import KeyPair
from ..crypto.secret import Secret
from ..crypto.suites import SUITES, KeyExchange, Suite
from ..crypto.transport import PREMASTER_SIZE, settle_premaster
from ..rules import require
from ..sessions.session import Session
from ..trace import Subject
from ..wire.codec import encode
from ..wire.extensions import EMPTY, ServerHelloExtensions
from ..wire.messages import CertificateVerify, ClientHello, Finished, ServerHello
from ..wire.messages12 import (
    ECDH_PARAMS,
    Certificate12,
    CertificateRequest12,
    CertificateStatusMessage,
    ClientECDH,
    ClientEncryptedSecret,
    NewSessionTicket12,
    ServerECDHParams,
    ServerHelloDone,
    ServerKeyExchange,
)
from ..wire.names import CertificateStatusType, CipherSuite, ClientCertificateType, ECCurveType, TLSVersion
from .authenticate import admit, check_signed, client_again, present, staple_for
from .client12 import agree, receive_change, send_change
from .negotiate import Answer12, choose_answer12, choose_protocol, schemes12
from .proofs import Anonymous, Established, Identity, Possession, check_finished
from .questions import Decrypt, KeepSession, Sign
from .resume import remember12, remembered, seal, server_policy, session_to_accept
from .script import Peer
from .server13 import agreed_sizes, check_compressions

DOWNGRADE_TO_12 = b"DOWNGRD\x01"
"""How our random ends when we could do TLS 1.3 and the client did not offer it (RFC 8446 §4.1.3)."""


@dataclass(frozen=True, slots=True)
class Plan12:
    """All that a server decides by the ClientHello."""

    config: ServerConfig = field(repr=False)
    answer: Answer12
    hello: ServerHello


async def server12(peer: Peer, config: ServerConfig, hello: ClientHello, name: str | None) -> Established:
    """The ClientHello has arrived, and TLS 1.2 is the best both can do. Raises PeerFault."""
    transcript = peer.transcript
    peer.change_cipher_specs(ChangeCipherSpecs.REFUSE)
    peer.flight_ends()
    check_hello(config, hello)
    session = await session_to_accept(peer, config, hello, name, config.clock())
    if session is not None:
        return await resume(peer, config, hello, session)
    plan = decide(peer, config, hello, name)
    suite, credential = plan.answer.suite, plan.answer.credential
    staple = await staple_for(peer, credential, hello.extensions.status_request)
    if staple is not None:
        plan = announce_staple(plan)
    transcript.keep()
    transcript.begin(suite.hash)
    peer.send(plan.hello)
    peer.send(Certificate12(tuple(certificate.der for certificate in credential.chain)))
    if staple is not None:
        peer.send(CertificateStatusMessage(CertificateStatusType.OCSP, staple))
    pair = await offer_share(peer, plan, hello)
    if config.client_auth is not None:
        peer.send(certificate_request(config))
    peer.send(ServerHelloDone())

    chain = await receive_certificate(peer, config)
    premaster = await receive_secret(peer, plan, hello, pair)
    master = agree(peer, suite, premaster, plan.hello)
    identity, possession = await authenticate_client(peer, config, chain)
    theirs, ours = master.write_keys()
    covered = await receive_change(peer, theirs)
    finished = master.client_finished(covered)
    agreement = check_finished(await peer.receive(Finished), finished, covered)
    peer.flight_ends()

    await remember(peer, plan.hello, config, remember12(config, master, server_policy(config), peer, identity))
    send_change(peer, ours, master.server_finished(transcript.hash()))
    return Established(
        identity=identity,
        possession=possession,
        agreement=agreement,
        version=TLSVersion.TLS_1_2,
        suite=suite,
        exporter=master,
        server_certificate=credential.leaf,
        unique=finished if master.extended else None,
    )


def check_hello(config: ServerConfig, hello: ClientHello) -> None:
    """What a ClientHello has to hold for TLS 1.2 as we speak it. Raises PeerFault."""
    extensions = hello.extensions
    fallback = CipherSuite.TLS_FALLBACK_SCSV in hello.cipher_suites
    require(not fallback or max(config.usable_versions) <= TLSVersion.TLS_1_2, rules.FALLBACK)
    require(0 in hello.legacy_compression_methods, rules.HELLO_COMPRESSION_NULL)
    extended = extensions.extended_master_secret is not None
    require(extended or config.danger.plain_master_secret, rules.EXTENDED_MASTER_SECRET)
    require(not extensions.renegotiation_info, rules.RENEGOTIATION_INFO)
    check_compressions(extensions)
    require(extensions.ec_point_formats is None or 0 in extensions.ec_point_formats, rules.POINT_FORMATS)
    limit, fragment = extensions.record_size_limit, extensions.max_fragment_length
    require(limit is None or limit >= 64, rules.RECORD_SIZE_LIMIT_SMALL, limit)
    require(fragment is None or fragment.known, rules.MAX_FRAGMENT_LENGTH_CODE, fragment)


def decide(peer: Peer, config: ServerConfig, hello: ClientHello, name: str | None) -> Plan12:
    """All choices at once: what cannot be met is refused before anything is sent."""
    choice = choose_answer12(config, name, hello)
    answer = choice.value
    protocol = choose_protocol(config, hello)
    peer.note(Subject.CIPHER_SUITE, answer.suite.code, choice.why)
    peer.note(Subject.CREDENTIAL, answer.credential.leaf, choice.why)
    if answer.group is not None:
        peer.note(Subject.GROUP, answer.group, "the first of ours that they offer")
        peer.note(Subject.SIGNATURE_SCHEME, answer.scheme, choice.why)
    if protocol is not None:
        peer.note(Subject.ALPN, protocol.value, protocol.why)
    ticket = config.tickets is not None and hello.extensions.session_ticket is not None
    kept = not ticket and config.sessions is not None
    session_id = config.entropy.random(32) if kept else b""
    settled = protocol.value if protocol else ""
    answering = server_hello(peer, config, hello, answer.suite, settled, ticket, session_id)
    timestamps = answer.credential.timestamps
    if timestamps and hello.extensions.signed_certificate_timestamp is not None:  # RFC 6962 §3.3.1
        extensions = replace(answering.extensions, signed_certificate_timestamp=timestamps, order=())
        answering = replace(answering, extensions=extensions)
    return Plan12(config, answer, answering)


def announce_staple(plan: Plan12) -> Plan12:
    """The ServerHello says that a CertificateStatus follows, RFC 6066 §8."""
    extensions = replace(plan.hello.extensions, status_request=EMPTY, order=())
    return replace(plan, hello=replace(plan.hello, extensions=extensions))


def server_hello(
    peer: Peer, config: ServerConfig, hello: ClientHello, suite: Suite, protocol: str, ticket: bool, session_id: bytes
) -> ServerHello:
    """RFC 5246 §7.4.1.3, for full and short handshakes; sets the record sizes it agrees to."""
    limit, fragment = agreed_sizes(peer, config, hello, hidden_type=0)
    random = config.entropy.random(32)
    if TLSVersion.TLS_1_3 in config.usable_versions:
        random = random[:24] + DOWNGRADE_TO_12
    signalled = hello.extensions.renegotiation_info is not None
    signalled |= CipherSuite.TLS_EMPTY_RENEGOTIATION_INFO_SCSV in hello.cipher_suites
    curves = suite.key_exchange is not KeyExchange.RSA and hello.extensions.ec_point_formats is not None
    named = hello.extensions.server_name is not None and Subject.RESUMED not in peer.notes  # RFC 6066 §3
    extensions = ServerHelloExtensions(
        server_name=EMPTY if named else None,
        max_fragment_length=fragment,
        record_size_limit=limit,
        extended_master_secret=hello.extensions.extended_master_secret,
        renegotiation_info=b"" if signalled else None,
        ec_point_formats=b"\0" if curves else None,
        alpn=(protocol.encode("latin-1"),) if protocol else None,
        session_ticket=EMPTY if ticket else None,
    )
    return ServerHello(TLSVersion.TLS_1_2, random, session_id, suite.code, 0, extensions)


async def resume(peer: Peer, config: ServerConfig, hello: ClientHello, session: Session) -> Established:
    """The short handshake, RFC 5246 §7.3 figure 2. Raises PeerFault."""
    transcript, suite = peer.transcript, SUITES[session.suite]
    peer.note(Subject.CIPHER_SUITE, suite.code, "the resumed session's")
    peer.note(Subject.RESUMED, True, "the client showed a session we know")
    if session.alpn:
        peer.note(Subject.ALPN, session.alpn, "the resumed session's")
    transcript.begin(suite.hash)
    ticket = config.tickets is not None and hello.extensions.session_ticket is not None
    answer = server_hello(peer, config, hello, suite, session.alpn, ticket, hello.legacy_session_id)
    peer.send(answer)
    master = MasterSecret(suite, session.secret, hello.random, answer.random, session.extended)
    peer.log_secret("CLIENT_RANDOM", master.secret.reveal())
    theirs, ours = master.write_keys()
    if ticket:
        await remember(peer, answer, config, session)
    finished = master.server_finished(transcript.hash())
    send_change(peer, ours, finished)
    covered = await receive_change(peer, theirs)
    agreement = check_finished(await peer.receive(Finished), master.client_finished(covered), covered)
    peer.flight_ends()
    identity, possession = await client_again(peer, config, remembered(peer, session))
    return Established(
        identity=identity,
        possession=possession,
        agreement=agreement,
        version=TLSVersion.TLS_1_2,
        suite=suite,
        exporter=master,
        server_certificate=None,
        unique=finished,
    )


async def remember(peer: Peer, hello: ServerHello, config: ServerConfig, session: Session | None) -> None:
    """Give the session to the client in a ticket, or keep it under the id we gave (RFC 5077 §3.3).

    A ticket that was announced and cannot be made is sent empty, as the RFC has it.
    """
    tickets, sessions, now = config.tickets, config.sessions, config.clock()
    if hello.extensions.session_ticket is not None and tickets is not None:
        sealed = b"" if session is None else await seal(peer, tickets, session, now)
        lifetime = 0 if session is None else max(0, (session.expires - now) // timedelta(seconds=1))
        peer.send(NewSessionTicket12(lifetime, sealed))
    elif session is not None and sessions is not None:
        kept, session_id = session, hello.legacy_session_id_echo
        await peer.ask(KeepSession(sessions, lambda: sessions.put(session_id, kept, kept.expires), (NoneType,)))


async def offer_share(peer: Peer, plan: Plan12, hello: ClientHello) -> KeyPair | None:
    """Send our signed key share, RFC 8422 §5.4; none in RSA key transport."""
    answer = plan.answer
    if answer.group is None:
        return None
    pair = plan.config.entropy.key_pair(answer.group)
    params = ServerECDHParams(ECCurveType.NAMED_CURVE, answer.group, pair.public)
    content = hello.random + plan.hello.random + encode(ECDH_PARAMS, params)
    signature = await peer.ask(Sign(answer.credential, answer.scheme, content))
    peer.send(ServerKeyExchange(params, answer.scheme, signature))
    return pair


async def receive_secret(peer: Peer, plan: Plan12, hello: ClientHello, pair: KeyPair | None) -> Secret:
    """The client's half of the secret; returns the premaster secret.

    In RSA key transport nothing here says whether the client's secret was well formed (RFC 5246 §7.4.7.1): a wrong one
    is replaced by a random one, and the handshake fails at Finished like any other with different keys.
    """
    if pair is not None:
        return Secret(pair.agree((await peer.receive(ClientECDH)).public))
    substitute = plan.config.entropy.random(PREMASTER_SIZE)
    message = await peer.receive(ClientEncryptedSecret)
    decrypted = await peer.ask(Decrypt(plan.answer.credential, message.encrypted_pre_master_secret))
    return Secret(settle_premaster(decrypted, hello.legacy_version.to_bytes(2), substitute))


def certificate_request(config: ServerConfig) -> CertificateRequest12:
    """RFC 5246 §7.4.4."""
    authorities = tuple(config.client_auth.authorities) if config.client_auth is not None else ()
    types = (ClientCertificateType.RSA_SIGN, ClientCertificateType.ECDSA_SIGN)
    return CertificateRequest12(types, schemes12(config.signature_schemes), authorities)


async def receive_certificate(peer: Peer, config: ServerConfig) -> bool:
    """The client's chain, where we asked for one; whether it sent any."""
    if config.client_auth is None:
        return False
    message = await peer.receive(Certificate12)
    if not message.certificate_list:
        require(not config.client_auth.required, rules.CLIENT_CERTIFICATE_MISSING)
        return False
    present(peer, config, message.certificate_list)
    return True


async def authenticate_client(
    peer: Peer, config: ServerConfig, shown: bool
) -> tuple[Identity, Possession] | tuple[Anonymous, Anonymous]:
    """RFC 5246 §7.4.8: the client's signature over all messages so far; then, who is it?"""
    if not shown or config.client_auth is None:
        return Anonymous(), Anonymous()
    leaf, content = peer.chain[0], peer.transcript.messages()
    verify = await peer.receive(CertificateVerify)
    ours = schemes12(config.signature_schemes)
    possession = check_signed(leaf, verify.algorithm, verify.signature, content, ours, TLSVersion.TLS_1_2)
    peer.note(Subject.CLIENT_SIGNATURE_SCHEME, verify.algorithm, f"what the client's {leaf.key_description} key can do")
    return await admit(peer, config, config.client_auth, possession)
