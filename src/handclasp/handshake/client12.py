"""The client's side of TLS 1.2: RFC 5246 §7.3 figure 1, from the ServerHello on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from .. import rules
from ..channel.inbound import ChangeCipherSpecs
from ..channel.prf import MasterSecret, WriteKeys
from ..crypto.groups import CURVE_SHARE_SIZE
from ..crypto.secret import Secret
from ..crypto.signatures import RSA_SCHEMES
from ..crypto.suites import SUITES, KeyExchange, Suite
from ..crypto.transport import encrypt_premaster
from ..identity.certificates import Certificate
from ..identity.credentials import CredentialRequest
from ..rules import require
from ..sessions.cache import ClientSession
from ..sessions.session import Session
from ..trace import Epoch, Subject
from ..wire.codec import encode
from ..wire.messages import CertificateVerify, Finished, ServerHello
from ..wire.messages12 import (
    ECDH_PARAMS,
    Certificate12,
    CertificateRequest12,
    CertificateStatusMessage,
    ClientECDH,
    ClientEncryptedSecret,
    NewSessionTicket12,
    ServerHelloDone,
    ServerKeyExchange,
)
from ..wire.names import ClientCertificateType, ExtensionType, NamedGroup, SignatureScheme, TLSVersion
from .authenticate import check_signed, choose_shown, identify_server, present, read_staple, server_again
from .client13 import accept_protocol, check_solicited, limit_records
from .negotiate import KEY_CURVES, Answer, picked, schemes12
from .offer import Offer
from .proofs import Established, Possession, check_finished
from .questions import Sign
from .resume import client_policy, keep_session, not_resumed, remember12, remembered
from .script import Peer


async def client12(peer: Peer, offer: Offer, hello: ServerHello) -> Established:
    """The server has answered with TLS 1.2. Raises PeerFault."""
    transcript, config = peer.transcript, offer.config
    peer.change_cipher_specs(ChangeCipherSpecs.REFUSE)
    suite = accept_hello(peer, offer, hello)
    if offer.session is not None and resumes(offer, hello):
        return await resume(peer, offer, hello, suite, offer.session)
    if offer.held is not None:
        not_resumed(peer)
    message = await peer.receive(Certificate12)
    require(message.certificate_list, rules.CERTIFICATE_EMPTY)
    leaf = present(peer, config, message.certificate_list)
    check_key(suite, leaf, config.groups)
    staple, after = await receive_status(peer, hello, suite)
    exchange, possession, request = None, None, None
    if isinstance(after, ServerKeyExchange):
        exchange = after
        possession = check_exchange(peer, offer, hello, leaf, exchange)
        after = await peer.receive(CertificateRequest12, ServerHelloDone)
    if isinstance(after, CertificateRequest12):
        request = after
        await peer.receive(ServerHelloDone)
    peer.flight_ends()
    proven = possession is not None  # in RSA key transport only the server's Finished proves it
    timestamps = hello.extensions.signed_certificate_timestamp
    identity = await identify_server(peer, config, offer.name, (staple,), timestamps, proven=proven)

    answer = await show_certificate(peer, offer, request)
    premaster = exchange_keys(peer, offer, leaf, exchange)
    master = agree(peer, suite, premaster, hello)
    if answer is not None:
        signature = await peer.ask(Sign(answer.credential, answer.scheme, transcript.messages()))
        peer.send(CertificateVerify(answer.scheme, signature))
    ours, theirs = master.write_keys()
    finished = master.client_finished(transcript.hash())
    send_change(peer, ours, finished)

    ticket, hint = await receive_ticket(peer, hello)
    covered = await receive_change(peer, theirs)
    agreement = check_finished(await peer.receive(Finished), master.server_finished(covered), covered)
    policy = client_policy(config, asked=request is not None)
    await remember(peer, offer, hello, remember12(config, master, policy, peer, identity), ticket, hint)
    return Established(
        identity=identity,
        possession=possession or Possession(leaf, None),
        agreement=agreement,
        version=TLSVersion.TLS_1_2,
        suite=suite,
        exporter=master,
        server_certificate=leaf,
        unique=finished if master.extended else None,
    )


def accept_hello(peer: Peer, offer: Offer, hello: ServerHello) -> Suite:
    """What the ServerHello fixes, RFC 5246 §7.4.1.3 and RFC 7627 §5.3."""
    config, extensions = offer.config, hello.extensions
    require(hello.cipher_suite in offer.hello.cipher_suites, rules.SERVER_CIPHER_SUITE, hello.cipher_suite)
    suite = SUITES.get(hello.cipher_suite)
    if suite is None or suite.version is not TLSVersion.TLS_1_2:
        rules.fail(rules.SERVER_CIPHER_SUITE, str(hello.cipher_suite))
    require(hello.legacy_compression_method == 0, rules.SERVER_COMPRESSION)
    check_solicited(offer, extensions, _HELLO_EXTENSIONS)
    # an echo without a session to resume is a TLS 1.3 habit that no TLS 1.2 server has (RFC 8446 §D.4)
    require(offer.session is not None or not resumes(offer, hello), rules.SERVER_SESSION_ID)
    require(not extensions.renegotiation_info, rules.RENEGOTIATION_INFO)
    extended = extensions.extended_master_secret is not None
    require(extended or config.danger.plain_master_secret, rules.EXTENDED_MASTER_SECRET)
    require(extensions.ec_point_formats is None or 0 in extensions.ec_point_formats, rules.POINT_FORMATS)
    peer.note(Subject.VERSION, TLSVersion.TLS_1_2, picked(config.usable_versions, TLSVersion.TLS_1_2))
    peer.note(Subject.CIPHER_SUITE, suite.code, picked(config.cipher_suites, suite.code))
    accept_protocol(peer, config, extensions.alpn)
    limit_records(peer, config, extensions.record_size_limit, extensions.max_fragment_length, hidden_type=0)
    peer.transcript.keep()
    peer.transcript.begin(suite.hash)
    return suite


def check_key(suite: Suite, leaf: Certificate, groups: Sequence[NamedGroup]) -> None:
    """The certificate's key has to be one that the suite and we can use, RFC 5246 §7.4.2 and RFC 8422 §5.3."""
    require(leaf.key_kind in suite.key_exchange.key_kinds, rules.CERTIFICATE_SUITE, leaf.key_description)
    curve = KEY_CURVES.get(leaf.key_kind) if leaf.key_kind is not None else None
    require(curve is None or curve in groups, rules.CERTIFICATE_CURVE, leaf.key_description)
    encrypts = suite.key_exchange is KeyExchange.RSA
    require(leaf.allows_encryption or not encrypts, rules.CERTIFICATE_ENCRYPTION)


async def receive_status(
    peer: Peer, hello: ServerHello, suite: Suite
) -> tuple[bytes, ServerKeyExchange | CertificateRequest12 | ServerHelloDone]:
    """The stapled OCSP response, and the message behind it. A server that announced one may yet send none: RFC 6066 §8.

    The response is empty where there is none.
    """
    signs, staple = suite.key_exchange is not KeyExchange.RSA, b""
    message: CertificateStatusMessage | ServerKeyExchange | CertificateRequest12 | ServerHelloDone
    if hello.extensions.status_request is not None:
        if signs:
            message = await peer.receive(CertificateStatusMessage, ServerKeyExchange)
        else:
            message = await peer.receive(CertificateStatusMessage, CertificateRequest12, ServerHelloDone)
        if not isinstance(message, CertificateStatusMessage):
            return staple, message
        staple = read_staple(message)
    if signs:
        return staple, await peer.receive(ServerKeyExchange)
    return staple, await peer.receive(CertificateRequest12, ServerHelloDone)


def resumes(offer: Offer, hello: ServerHello) -> bool:
    """A server says yes by echoing the id we sent (RFC 5246 §7.4.1.3, RFC 5077 §3.4)."""
    return bool(hello.legacy_session_id_echo) and hello.legacy_session_id_echo == offer.hello.legacy_session_id


async def resume(peer: Peer, offer: Offer, hello: ServerHello, suite: Suite, held: ClientSession) -> Established:
    """The short handshake, RFC 5246 §7.3 figure 2. Raises PeerFault."""
    session, transcript = held.session, peer.transcript
    require(suite.code == session.suite, rules.RESUMED_SUITE, suite.code)
    extended = hello.extensions.extended_master_secret is not None
    require(extended == session.extended, rules.RESUMED_MASTER_SECRET)
    peer.note(Subject.RESUMED, True, "the server knows the session we showed")
    master = MasterSecret(suite, session.secret, peer.client_random, hello.random, session.extended)
    peer.log_secret("CLIENT_RANDOM", master.secret.reveal())
    ours, theirs = master.write_keys()
    ticket, hint = await receive_ticket(peer, hello)
    covered = await receive_change(peer, theirs)
    expected = master.server_finished(covered)
    agreement = check_finished(await peer.receive(Finished), expected, covered)
    peer.flight_ends()
    identity, possession = await server_again(peer, offer.config, offer.name, remembered(peer, session))
    send_change(peer, ours, master.client_finished(transcript.hash()))
    # the protocol is a connection's, not a session's (RFC 7301 §3.1)
    session = replace(session, alpn=str(peer.value(Subject.ALPN) or ""))
    await remember(peer, offer, hello, session, ticket or held.ticket, hint)
    return Established(
        identity=identity,
        possession=possession,
        agreement=agreement,
        version=TLSVersion.TLS_1_2,
        suite=suite,
        exporter=master,
        server_certificate=session.verified_chain[0],
        unique=expected,
    )


async def receive_ticket(peer: Peer, hello: ServerHello) -> tuple[bytes, int]:
    """A ticket, where the ServerHello announces one (RFC 5077 §3.3), which may be empty; and how many seconds it is
    good for, 0 where the server does not say.
    """
    if hello.extensions.session_ticket is None:
        return b"", 0
    message = await peer.receive(NewSessionTicket12)
    return message.ticket, message.ticket_lifetime_hint


def send_change(peer: Peer, ours: WriteKeys, verify_data: bytes) -> None:
    """Both roles: we change to our new keys, and our Finished is the first under them."""
    peer.send_change_cipher_spec()
    peer.write_with(ours, Epoch.APPLICATION)
    peer.send(Finished(verify_data))


async def receive_change(peer: Peer, theirs: WriteKeys) -> bytes:
    """Both roles: the peer changes to its new keys. Returns the hash that its Finished covers."""
    peer.change_cipher_specs(ChangeCipherSpecs.DELIVER)
    await peer.receive_change_cipher_spec()
    peer.read_with(theirs, Epoch.APPLICATION)
    peer.change_cipher_specs(ChangeCipherSpecs.REFUSE)
    return peer.transcript.hash()


async def remember(
    peer: Peer, offer: Offer, hello: ServerHello, session: Session | None, ticket: bytes, hint: int
) -> None:
    """Keep the session for the next time, where there is something to show for it, and no longer than the server's
    hint of so many seconds (RFC 5077 §5.6); 0 is none.
    """
    name, session_id = offer.name, hello.legacy_session_id_echo
    if session is not None and name is not None and (ticket or session_id):
        if hint:
            longest, hinted = offer.config.session_lifetime, timedelta(seconds=hint)
            expires = min(session.authenticated + longest, offer.config.clock() + hinted)
            session = replace(session, expires=expires)
        held = ClientSession(session, b"" if ticket else session_id, ticket)
        await keep_session(peer, offer.config, name.text, held)


def check_exchange(
    peer: Peer, offer: Offer, hello: ServerHello, leaf: Certificate, exchange: ServerKeyExchange
) -> Possession:
    """The server's signed key share, RFC 8422 §5.4."""
    params = exchange.params
    curves = [group for group in offer.config.groups if group in CURVE_SHARE_SIZE]
    named = params.curve_type.known and params.named_curve in curves
    require(named, rules.SERVER_GROUP, params.named_curve)
    peer.note(Subject.GROUP, params.named_curve, picked(offer.config.groups, params.named_curve))
    content = offer.hello.random + hello.random + encode(ECDH_PARAMS, params)
    ours = schemes12(offer.config.signature_schemes)
    possession = check_signed(leaf, exchange.algorithm, exchange.signature, content, ours, TLSVersion.TLS_1_2)
    peer.note(Subject.SIGNATURE_SCHEME, exchange.algorithm, f"what the server's {leaf.key_description} key can do")
    return possession


def exchange_keys(peer: Peer, offer: Offer, leaf: Certificate, exchange: ServerKeyExchange | None) -> Secret:
    """Send our half of the secret; returns the premaster secret (RFC 8422 §5.7, RFC 5246 §7.4.7.1)."""
    entropy = offer.config.entropy
    if exchange is None:
        premaster = offer.hello.legacy_version.to_bytes(2) + entropy.random(46)
        peer.send(ClientEncryptedSecret(encrypt_premaster(leaf.public_key, premaster)))
        return Secret(premaster)
    pair = entropy.key_pair(exchange.params.named_curve)
    shared = pair.agree(exchange.params.public)
    peer.send(ClientECDH(pair.public))
    return Secret(shared)


def agree(peer: Peer, suite: Suite, premaster: Secret, hello: ServerHello) -> MasterSecret:
    """Both roles, once ClientKeyExchange has been sent or received: the master secret."""
    randoms = peer.client_random, hello.random
    if hello.extensions.extended_master_secret is not None:
        master = MasterSecret.extended_from(suite, premaster, peer.transcript.hash(), *randoms)
    else:
        master = MasterSecret.plain_from(suite, premaster, *randoms)
    peer.log_secret("CLIENT_RANDOM", master.secret.reveal())
    return master


async def show_certificate(peer: Peer, offer: Offer, request: CertificateRequest12 | None) -> Answer | None:
    """Our certificate, or that we have none, where the server asks (RFC 5246 §7.4.6)."""
    if request is None:
        return None
    name = str(offer.name) if offer.name else None
    wish = CredentialRequest(request.certificate_authorities, accepted_schemes(request), TLSVersion.TLS_1_2, name)
    answer = await choose_shown(peer, offer.config, schemes12(offer.config.signature_schemes), wish)
    chain = answer.credential.chain if answer is not None else ()
    peer.send(Certificate12(tuple(certificate.der for certificate in chain)))
    return answer


def accepted_schemes(request: CertificateRequest12) -> tuple[SignatureScheme, ...]:
    """What the server can verify: its schemes, as far as it takes keys of their kind (RFC 5246 §7.4.4)."""
    types = request.certificate_types
    rsa, others = ClientCertificateType.RSA_SIGN in types, ClientCertificateType.ECDSA_SIGN in types
    return tuple(scheme for scheme in request.signature_algorithms if (rsa if scheme in RSA_SCHEMES else others))


_HELLO_EXTENSIONS = frozenset(
    (
        ExtensionType.SERVER_NAME,
        ExtensionType.MAX_FRAGMENT_LENGTH,
        ExtensionType.SUPPORTED_GROUPS,  # RFC 8422 §4 has no place for it; some servers send it all the same
        ExtensionType.EC_POINT_FORMATS,
        ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION,
        ExtensionType.EXTENDED_MASTER_SECRET,
        ExtensionType.RECORD_SIZE_LIMIT,
        ExtensionType.RENEGOTIATION_INFO,
        ExtensionType.SESSION_TICKET,
        ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP,
        ExtensionType.STATUS_REQUEST,
    )
)
