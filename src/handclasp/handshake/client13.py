"""The client's side of TLS 1.3: RFC 8446 §2 figure 1, from the ServerHello on."""

from __future__ import annotations

from collections.abc import Collection

from .. import rules
from ..channel.inbound import ChangeCipherSpecs
from ..channel.schedule import Early, ExporterSecret, Handshake, Main, TrafficSecret
from ..config import ClientConfig, Config
from ..crypto.secret import Secret
from ..crypto.suites import SUITES, Suite
from ..identity.credentials import CredentialRequest
from ..limits import MAX_PLAINTEXT
from ..rules import require
from ..sessions.session import Session
from ..trace import Epoch, Subject
from ..wire.blocks import ExtensionBlock
from ..wire.extensions import (
    CertificateEntryExtensions,
    CertificateRequestExtensions,
    CertificateStatus,
    ClientHelloExtensions,
)
from ..wire.messages import (
    Certificate,
    CertificateEntry,
    CertificateRequest,
    CertificateVerify,
    CompressedCertificate,
    EncryptedExtensions,
    EndOfEarlyData,
    Finished,
    HelloRetryRequest,
    ServerHello,
)
from ..wire.names import CertificateStatusType, ExtensionType, MaxFragmentLength, TLSVersion
from .authenticate import check_signed, choose_shown, identify_server, present, read_staple, server_again, staple_for
from .compression import expanded, receive_certificate, send_certificate
from .negotiate import Answer, picked
from .notices import EarlyDataRejected
from .offer import Offer
from .proofs import (
    CLIENT_CONTEXT,
    SERVER_CONTEXT,
    Established,
    Identity,
    Possession,
    Proofs,
    TicketKeeper,
    check_finished,
    later_of,
    signed_content,
)
from .psk import Psk, bound, proofs_of
from .questions import Sign
from .resume import client_policy, not_resumed, resumable
from .script import Peer


async def client13(peer: Peer, offer: Offer, hello: ServerHello | HelloRetryRequest) -> Established:
    """Our ClientHello is out, the answer has arrived. Raises PeerFault."""
    transcript = peer.transcript
    suite = accept_suite(peer, offer, hello)
    if isinstance(hello, HelloRetryRequest):
        offer, hello = await retry(peer, offer, suite, hello)
    psk = accept_psk(offer, suite, hello)
    if offer.held is not None and (psk is None or psk.session is None):
        not_resumed(peer)
    shared = accept_share(peer, offer, hello, psk)
    handshake = Early.start(suite, None if psk is None else psk.secret).agree(shared)
    hashed = transcript.hash()
    ours, theirs = open_handshake_keys(peer, handshake, hashed)
    main = handshake.main()
    peer.read_with(theirs, Epoch.HANDSHAKE)
    if not offer.early_data and offer.hello.legacy_session_id and not offer.retried:
        peer.send_change_cipher_spec()
    hopeful = psk.session if psk is not None and offer.early_data and psk is offer.psks[0] else None
    if hopeful is None:
        peer.write_with(ours, Epoch.HANDSHAKE)

    early = accept_extensions(peer, offer, await peer.receive(EncryptedExtensions), hopeful, suite)
    if hopeful is not None and not early:
        peer.write_with(ours, Epoch.HANDSHAKE)
    request, (identity, possession) = await authenticate(peer, offer, psk)
    covered = transcript.hash()
    agreement = check_finished(await peer.receive(Finished), theirs.finished(covered), covered)
    peer.change_cipher_specs(ChangeCipherSpecs.REFUSE)
    peer.flight_ends()

    hashed = transcript.hash()
    write_secret, read_secret, exporter = open_application_keys(peer, main, hashed)
    if early:
        peer.send(EndOfEarlyData())
        peer.write_with(ours, Epoch.HANDSHAKE)
    if request is not None:
        await authenticate_client(peer, offer, request)
    peer.send(Finished(ours.finished(transcript.hash())))
    peer.read_with(read_secret, Epoch.APPLICATION)
    peer.write_with(write_secret, Epoch.APPLICATION)
    kept = None
    if offer.config.sessions is not None:
        session = None if psk is None else psk.session
        policy = session.policy if session is not None else client_policy(offer.config, asked=request is not None)
        kept = resumable(peer, offer.config, suite, main.resumption(transcript.hash()), policy, identity, session)
    return Established(
        identity=identity,
        possession=possession,
        agreement=agreement,
        version=TLSVersion.TLS_1_3,
        suite=suite,
        read_secret=read_secret,
        exporter=exporter,
        later=later_of(offer.config, identity, peer.value(Subject.ALPN), offered=offer.config.post_handshake_auth),
        keeper=None if kept is None or offer.name is None else TicketKeeper(offer.config, offer.name.text, kept),
        server_certificate=possession.certificate if isinstance(possession, Possession) else None,
    )


def send_hello(peer: Peer, offer: Offer) -> None:
    """The ClientHello, its binders proving that we have the keys we name."""
    if offer.psks:
        peer.send_encoded(bound(offer.hello, offer.psks, peer.transcript))
    else:
        peer.send(offer.hello)


def send_early_data(peer: Peer, offer: Offer) -> None:
    """Straight after the ClientHello, under the first key it names: RFC 8446 §4.2.10."""
    psk = offer.psks[0]
    if psk.session is None:
        raise ValueError("early data goes with a session")
    suite = SUITES[psk.session.suite]
    secret = Early.start(suite, psk.secret).client_traffic(peer.transcript.hash_with(suite.hash, b""))
    peer.log_secret("CLIENT_EARLY_TRAFFIC_SECRET", secret)
    if offer.hello.legacy_session_id:
        peer.send_change_cipher_spec()
    peer.write_with(secret, Epoch.EARLY)
    peer.send_data(offer.early_data)


def reject_early_data(peer: Peer, why: str) -> None:
    """Tell the application: nothing is sent a second time by itself."""
    peer.note(Subject.EARLY_DATA, False, why)
    peer.tell(EarlyDataRejected(why))


def accept_suite(peer: Peer, offer: Offer, hello: ServerHello | HelloRetryRequest) -> Suite:
    """What is fixed by the first answer, RFC 8446 §4.1.3."""
    require(hello.legacy_version is TLSVersion.TLS_1_2, rules.SERVER_LEGACY_VERSION, hello.legacy_version)
    require(hello.legacy_session_id_echo == offer.hello.legacy_session_id, rules.SERVER_SESSION_ID)
    known = SUITES.get(hello.cipher_suite)
    fitting = known is not None and known.version is TLSVersion.TLS_1_3
    require(fitting and hello.cipher_suite in offer.hello.cipher_suites, rules.SERVER_CIPHER_SUITE, hello.cipher_suite)
    require(hello.legacy_compression_method == 0, rules.SERVER_LEGACY_COMPRESSION)
    belonging = _RETRY_EXTENSIONS if isinstance(hello, HelloRetryRequest) else _HELLO_EXTENSIONS
    check_solicited(offer, hello.extensions, belonging, {ExtensionType.COOKIE})
    peer.note(Subject.VERSION, TLSVersion.TLS_1_3, picked(offer.config.usable_versions, TLSVersion.TLS_1_3))
    peer.note(Subject.CIPHER_SUITE, hello.cipher_suite, picked(offer.config.cipher_suites, hello.cipher_suite))
    suite = SUITES[hello.cipher_suite]
    peer.transcript.begin(suite.hash, retry=isinstance(hello, HelloRetryRequest))
    return suite


async def retry(peer: Peer, offer: Offer, suite: Suite, request: HelloRetryRequest) -> tuple[Offer, ServerHello]:
    """Answer a HelloRetryRequest with a second ClientHello, RFC 8446 §4.1.4."""
    peer.flight_ends()
    second = offer.again(request)
    if offer.early_data:
        reject_early_data(peer, "the server asked for a second ClientHello")
        peer.write_in_clear()
    peer.note(Subject.HELLO_RETRY, True, _retry_reason(request))
    if offer.hello.legacy_session_id and not offer.early_data:
        peer.send_change_cipher_spec()
    send_hello(peer, second)
    hello = await peer.receive(ServerHello)
    require(hello.cipher_suite == request.cipher_suite, rules.RETRY_CIPHER_SUITE, hello.cipher_suite)
    require(hello.extensions.supported_versions is request.extensions.supported_versions, rules.SERVER_SELECTED_VERSION)
    accept_suite(peer, second, hello)
    if request.extensions.key_share is not None and hello.extensions.key_share is not None:
        same = hello.extensions.key_share.group == request.extensions.key_share
        require(same, rules.RETRY_GROUP_CHANGED, hello.extensions.key_share.group)
    return second, hello


def _retry_reason(request: HelloRetryRequest) -> str:
    if request.extensions.key_share is None:
        return "the server wants its cookie back"
    return f"the server wants a key share for {request.extensions.key_share}"


def accept_psk(offer: Offer, suite: Suite, hello: ServerHello) -> Psk | None:
    """The key of ours that the server goes on with, RFC 8446 §4.2.11."""
    index = hello.extensions.pre_shared_key
    if index is None:
        return None
    require(index < len(offer.psks), rules.PSK_SELECTED, index)
    psk = offer.psks[index]
    require(psk.hash is suite.hash, rules.PSK_HASH, suite.code)
    return psk


def accept_share(peer: Peer, offer: Offer, hello: ServerHello, psk: Psk | None) -> Secret | None:
    """The key agreement, RFC 8446 §4.2.8 and §7.4; None where a pre-shared key stands alone."""
    entry = hello.extensions.key_share
    if entry is None and psk is not None:
        require(offer.config.danger.psk_alone, rules.PSK_ALONE)
        return None
    if entry is None:
        rules.fail(rules.SERVER_KEY_SHARE_MISSING)
    pair = offer.key_pair(entry.group)
    if pair is None:
        rules.fail(rules.SERVER_GROUP, str(entry.group))
    peer.note(Subject.GROUP, entry.group, picked(offer.config.groups, entry.group))
    return Secret(pair.agree(entry.key_exchange))


def accept_extensions(
    peer: Peer, offer: Offer, message: EncryptedExtensions, hopeful: Session | None, suite: Suite
) -> bool:
    """RFC 8446 §4.3.1. Returns whether the server takes our early data, sent under the session `hopeful`."""
    answer, config = message.extensions, offer.config
    check_solicited(offer, answer, _ENCRYPTED_EXTENSIONS)
    require(not answer.server_name, rules.SERVER_NAME_ACK)
    accept_protocol(peer, config, answer.alpn)
    limit_records(peer, config, answer.record_size_limit, answer.max_fragment_length, hidden_type=1)
    if answer.early_data is None:
        if offer.early_data:
            reject_early_data(peer, "the server declined it")
        return False
    protocol = peer.notes.get(Subject.ALPN)
    settled = suite.code, protocol.value if protocol else ""
    require(hopeful is not None and settled == (hopeful.suite, hopeful.alpn), rules.EARLY_DATA_ACCEPTED)
    peer.note(Subject.EARLY_DATA, True, "the server takes it")
    return True


def accept_protocol(peer: Peer, config: ClientConfig, selected: tuple[bytes, ...] | None) -> None:
    """RFC 7301 §3.1, in both versions."""
    if selected is None:
        return
    require(len(selected) == 1, rules.ALPN_COUNT)
    protocol = selected[0].decode("latin-1")
    require(protocol in config.alpn, rules.ALPN_SELECTION, protocol)
    peer.note(Subject.ALPN, protocol, picked(config.alpn, protocol))


def limit_records(
    peer: Peer, config: ClientConfig, limit: int | None, fragment: MaxFragmentLength | None, hidden_type: int
) -> None:
    """RFC 8449 §4 and RFC 6066 §4, in both versions; TLS 1.3 counts the type that is hidden in a record."""
    require(limit is None or fragment is None, rules.BOTH_SIZE_LIMITS)
    if limit is not None and config.record_size_limit is not None:
        require(limit >= 64, rules.RECORD_SIZE_LIMIT_SMALL, limit)
        require(limit <= MAX_PLAINTEXT + 1, rules.RECORD_SIZE_LIMIT_LARGE, limit)
        ours = min(config.record_size_limit, MAX_PLAINTEXT + hidden_type)
        peer.limit_records(sent=min(limit - hidden_type, MAX_PLAINTEXT), received=ours + 1 - hidden_type)
    if fragment is not None:
        require(fragment == config.max_fragment_length, rules.MAX_FRAGMENT_LENGTH_ECHO, fragment)
        peer.limit_records(sent=fragment.octets, received=fragment.octets + 1)


async def authenticate(peer: Peer, offer: Offer, psk: Psk | None) -> tuple[CertificateRequest | None, Proofs]:
    """Who the server is, by a key we share or by its certificate; and whether it asks for ours, RFC 8446 §4.3.2."""
    if psk is not None:
        return None, await server_again(peer, offer.config, offer.name, proofs_of(peer, psk.source))
    request = None
    message: CertificateRequest | Certificate | CompressedCertificate
    if offer.config.certificate_compression:
        message = await peer.receive(CertificateRequest, Certificate, CompressedCertificate)
    else:
        message = await peer.receive(CertificateRequest, Certificate)
    if isinstance(message, CertificateRequest):
        request = message
        message = await receive_certificate(peer, offer.config)
    return request, await authenticate_server(peer, offer, expanded(offer.config, message))


async def authenticate_server(peer: Peer, offer: Offer, message: Certificate) -> tuple[Identity, Possession]:
    """Who is it, and does it own the key? RFC 8446 §4.4.2 and §4.4.3."""
    config = offer.config
    require(message.certificate_request_context == b"", rules.CERTIFICATE_CONTEXT)
    require(message.certificate_list, rules.CERTIFICATE_EMPTY)
    for entry in message.certificate_list:
        check_solicited(offer, entry.extensions, _CERTIFICATE_EXTENSIONS)
    staples = [read_staple(entry.extensions.status_request) for entry in message.certificate_list]
    leaf = present(peer, config, [entry.cert_data for entry in message.certificate_list])
    content = signed_content(SERVER_CONTEXT, peer.transcript.hash())
    verify = await peer.receive(CertificateVerify)
    ours = tuple(config.signature_schemes)
    possession = check_signed(leaf, verify.algorithm, verify.signature, content, ours, TLSVersion.TLS_1_3)
    peer.note(Subject.SIGNATURE_SCHEME, verify.algorithm, f"what the server's {leaf.key_description} key can do")
    timestamps = message.certificate_list[0].extensions.signed_certificate_timestamp
    return await identify_server(peer, config, offer.name, staples, timestamps), possession


async def authenticate_client(peer: Peer, offer: Offer, request: CertificateRequest) -> None:
    """Show a certificate, or say that we have none: RFC 8446 §4.4.2."""
    require(request.certificate_request_context == b"", rules.REQUEST_CONTEXT)
    answer = await choose_answer(peer, offer.config, request, str(offer.name) if offer.name else None)
    if answer is None:
        peer.send(Certificate(b"", ()))
    else:
        await prove(peer, offer.config, answer, CLIENT_CONTEXT, request.extensions)


async def choose_answer(
    peer: Peer, config: ClientConfig, request: CertificateRequest, name: str | None
) -> Answer | None:
    """What to show to the server `name`; None: an empty list."""
    theirs = request.extensions.signature_algorithms
    if theirs is None:
        rules.fail(rules.REQUEST_MISSING_SCHEMES)
    authorities = request.extensions.certificate_authorities or ()
    wish = CredentialRequest(authorities, theirs, TLSVersion.TLS_1_3, name)
    return await choose_shown(peer, config, tuple(config.signature_schemes), wish)


async def prove(
    peer: Peer,
    config: Config,
    answer: Answer,
    context: bytes,
    asked: ClientHelloExtensions | CertificateRequestExtensions,
) -> None:
    """Send a certificate and the proof that we own its key; the same for both roles. `asked`: what the peer wants."""
    send_certificate(peer, config, await certificate_message(peer, answer, asked), asked.compress_certificate)
    content = signed_content(context, peer.transcript.hash())
    signature = await peer.ask(Sign(answer.credential, answer.scheme, content))
    peer.send(CertificateVerify(answer.scheme, signature))


async def certificate_message(
    peer: Peer,
    answer: Answer,
    asked: ClientHelloExtensions | CertificateRequestExtensions,
    request_context: bytes = b"",
) -> Certificate:
    """Our certificate, with its staple and its timestamps where the peer asks for them."""
    staple = await staple_for(peer, answer.credential, asked.status_request)
    status = None if staple is None else CertificateStatus(CertificateStatusType.OCSP, staple)
    timestamps = answer.credential.timestamps if asked.signed_certificate_timestamp is not None else ()
    told = CertificateEntryExtensions(status_request=status, signed_certificate_timestamp=timestamps or None)
    first, *others = answer.credential.chain
    return Certificate(
        request_context, (CertificateEntry(first.der, told), *[CertificateEntry(c.der, _SAYS_NOTHING) for c in others])
    )


_SAYS_NOTHING = CertificateEntryExtensions()


def open_handshake_keys(peer: Peer, handshake: Handshake, hashed: bytes) -> tuple[TrafficSecret, TrafficSecret]:
    """(the client's, the server's) secret of the rest of the handshake; both go to the key log."""
    client, server = handshake.client_traffic(hashed), handshake.server_traffic(hashed)
    peer.log_secret("CLIENT_HANDSHAKE_TRAFFIC_SECRET", client)
    peer.log_secret("SERVER_HANDSHAKE_TRAFFIC_SECRET", server)
    return client, server


def open_application_keys(peer: Peer, main: Main, hashed: bytes) -> tuple[TrafficSecret, TrafficSecret, ExporterSecret]:
    """(the client's first application secret, the server's, the exporter's); all three go to the key log."""
    client, server, exporter = main.client_traffic(hashed), main.server_traffic(hashed), main.exporter(hashed)
    peer.log_secret("CLIENT_TRAFFIC_SECRET_0", client)
    peer.log_secret("SERVER_TRAFFIC_SECRET_0", server)
    peer.log_secret("EXPORTER_SECRET", exporter.secret.reveal())
    return client, server, exporter


_HELLO_EXTENSIONS = frozenset(
    (ExtensionType.KEY_SHARE, ExtensionType.PRE_SHARED_KEY, ExtensionType.SUPPORTED_VERSIONS, ExtensionType.COOKIE)
)
_RETRY_EXTENSIONS = frozenset((ExtensionType.KEY_SHARE, ExtensionType.SUPPORTED_VERSIONS, ExtensionType.COOKIE))
_ENCRYPTED_EXTENSIONS = frozenset(
    (
        ExtensionType.SERVER_NAME,
        ExtensionType.MAX_FRAGMENT_LENGTH,
        ExtensionType.SUPPORTED_GROUPS,
        ExtensionType.APPLICATION_LAYER_PROTOCOL_NEGOTIATION,
        ExtensionType.RECORD_SIZE_LIMIT,
        ExtensionType.EARLY_DATA,
    )
)
_CERTIFICATE_EXTENSIONS = frozenset((ExtensionType.STATUS_REQUEST, ExtensionType.SIGNED_CERTIFICATE_TIMESTAMP))


def check_solicited(
    offer: Offer,
    block: ExtensionBlock,
    belonging: Collection[ExtensionType],
    unasked: Collection[ExtensionType] = (),
) -> None:
    """RFC 8446 §4.2: a server answers what was offered, in the message where it belongs; `unasked` may come anyway."""
    for type_ in block.order:
        if not offer.solicits(type_) and type_ not in unasked:
            rules.fail(rules.EXTENSION_UNSOLICITED, str(type_))
        if type_ not in belonging:
            rules.fail(rules.EXTENSION_MISPLACED, str(type_))
