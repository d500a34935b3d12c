"""The server's side of TLS 1.3: RFC 8446 §2 figure 1, from the ClientHello on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .. import rules
from ..channel.inbound import ChangeCipherSpecs
from ..channel.schedule import Early
from ..config import ClientAuth, ServerConfig
from ..crypto.groups import respond
from ..crypto.secret import Secret
from ..crypto.signatures import CERTIFICATE_ONLY
from ..crypto.suites import Suite
from ..identity.revocation.policy import Revocation
from ..limits import MAX_PLAINTEXT
from ..rules import require
from ..sessions.session import Session
from ..trace import Epoch, Subject
from ..wire.extensions import (
    EMPTY,
    CertificateRequestExtensions,
    ClientHelloExtensions,
    EncryptedExtensionsBlock,
    HelloRetryRequestExtensions,
    KeyShareEntry,
    ServerHelloExtensions,
)
from ..wire.messages import (
    RETRY_RANDOM,
    Certificate,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    EncryptedExtensions,
    EndOfEarlyData,
    Finished,
    HelloRetryRequest,
    ServerHello,
)
from ..wire.names import ExtensionType, MaxFragmentLength, NamedGroup, PskKeyExchangeMode, TLSVersion
from .authenticate import admit, check_signed, client_again, present, read_staple
from .client13 import open_application_keys, open_handshake_keys, prove
from .compression import receive_certificate
from .early import accept_early_data, read_early_data, skip_early_data
from .negotiate import Answer, choose_credential, choose_group, choose_protocol, choose_suite
from .proofs import (
    CLIENT_CONTEXT,
    SERVER_CONTEXT,
    Anonymous,
    Established,
    Proofs,
    check_finished,
    later_of,
    signed_content,
)
from .psk import Accepted, accept_psk, check_psks, choose_mode, find_psk, proofs_of
from .resume import resumable, server_policy
from .script import Peer
from .tickets import issuer_of


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a server decides by the ClientHello."""

    config: ServerConfig = field(repr=False)
    suite: Suite
    answer: Answer | None
    """None while a pre-shared key may make a certificate needless."""
    protocol: str | None


@dataclass(frozen=True, slots=True)
class Settled:
    """Which keys a handshake starts from (RFC 8446 §2): pre-shared, agreed on, or both."""

    hello: ClientHello
    """The first, or the second after a retry."""
    suite: Suite
    psk: Accepted | None
    share: KeyShareEntry | None
    """Ours; None where a pre-shared key stands alone."""
    shared: Secret | None = field(repr=False)
    retried: bool

    @property
    def early(self) -> Early:
        """The first rung of the key schedule."""
        return Early.start(self.suite) if self.psk is None else self.psk.early


async def server13(peer: Peer, config: ServerConfig, hello: ClientHello, name: str | None) -> Established:
    """The ClientHello has arrived, and TLS 1.3 is what both want. Raises PeerFault."""
    transcript = peer.transcript
    check_hello(hello)
    plan = decide(peer, config, hello, name)
    settled = await settle(peer, plan, hello, name)
    hello, psk, suite, answer = settled.hello, settled.psk, settled.suite, plan.answer
    if psk is None and answer is None:
        answer = decide_credential(peer, config, hello, name)
    sooner = await accept_early_data(peer, config, suite, hello, psk)
    early, covered = settled.early, transcript.hash()

    peer.send(server_hello(plan, settled))
    if hello.legacy_session_id and not settled.retried:
        peer.send_change_cipher_spec()
    handshake = early.agree(settled.shared)
    theirs, ours = open_handshake_keys(peer, handshake, transcript.hash())
    main = handshake.main()
    if sooner is not None:
        read_early_data(peer, sooner, early.client_traffic(covered))
    else:
        peer.read_with(theirs, Epoch.HANDSHAKE)
        if hello.extensions.early_data is not None:
            skip_early_data(peer, config, None if psk is None else psk.session)
    peer.write_with(ours, Epoch.HANDSHAKE)

    acknowledged = name if psk is None or psk.session is None else None  # RFC 6066 §3: not where a session goes on
    peer.send(EncryptedExtensions(encrypted_extensions(peer, plan, hello, acknowledged, early_data=sooner is not None)))
    if answer is not None:
        await show_certificate(peer, config, hello, answer)
    peer.send(Finished(ours.finished(transcript.hash())))
    read_secret, write_secret, exporter = open_application_keys(peer, main, transcript.hash())
    peer.write_with(write_secret, Epoch.APPLICATION)

    known = None if psk is None else await client_again(peer, config, proofs_of(peer, psk.source))
    if sooner is not None:  # we know by now whose data it is, and that we go on with them
        peer.answers_early = True
        await peer.receive(EndOfEarlyData)
        peer.read_with(theirs, Epoch.HANDSHAKE)
    identity, possession = known or await authenticate_client(peer, config)
    covered = transcript.hash()
    agreement = check_finished(await peer.receive(Finished), theirs.finished(covered), covered)
    peer.change_cipher_specs(ChangeCipherSpecs.REFUSE)
    peer.read_with(read_secret, Epoch.APPLICATION)
    kept = None
    if config.keeps_sessions:
        secret, policy = main.resumption(transcript.hash()), server_policy(config)
        kept = resumable(peer, config, suite, secret, policy, identity, None if psk is None else psk.session)
    return Established(
        identity=identity,
        possession=possession,
        agreement=agreement,
        version=TLSVersion.TLS_1_3,
        suite=suite,
        read_secret=read_secret,
        exporter=exporter,
        issuer=issuer_of(config, hello, kept),
        later=later_of(config, identity, plan.protocol, offered=hello.extensions.post_handshake_auth is not None),
        server_certificate=None if answer is None else answer.credential.leaf,
    )


def check_hello(hello: ClientHello) -> None:
    """What every TLS 1.3 ClientHello has to hold, RFC 8446 §4.1.2 and §9.2. Raises PeerFault."""
    extensions = hello.extensions
    require(hello.legacy_compression_methods == b"\0", rules.HELLO_COMPRESSION)
    keyed = extensions.pre_shared_key is not None
    groups, shares = extensions.supported_groups is not None, extensions.key_share is not None
    require(groups or (keyed and not shares), rules.HELLO_MISSING_GROUPS)
    require(shares or (keyed and not groups), rules.HELLO_MISSING_KEY_SHARE)
    require(keyed or extensions.signature_algorithms is not None, rules.HELLO_MISSING_SCHEMES)
    shared = [entry.group for entry in extensions.key_share or ()]
    require(len(set(shared)) == len(shared), rules.KEY_SHARE_DUPLICATE)
    listed = set(extensions.supported_groups or ())
    require(listed.issuperset(shared), rules.KEY_SHARE_NOT_OFFERED)
    check_compressions(extensions)
    check_psks(extensions)
    limit, fragment = extensions.record_size_limit, extensions.max_fragment_length
    require(limit is None or limit >= 64, rules.RECORD_SIZE_LIMIT_SMALL, limit)
    require(fragment is None or fragment.known, rules.MAX_FRAGMENT_LENGTH_CODE, fragment)


def check_compressions(extensions: ClientHelloExtensions) -> None:
    """The list of compress_certificate, in both versions, whether or not we use it. Raises PeerFault."""
    listed = extensions.compress_certificate or ()
    require(len(set(listed)) == len(listed), rules.COMPRESSION_DUPLICATE)


def decide(peer: Peer, config: ServerConfig, hello: ClientHello, name: str | None) -> Plan:
    """All choices at once: what cannot be met is refused before anything is sent."""
    suite = choose_suite(config, hello)
    protocol = choose_protocol(config, hello)
    peer.note(Subject.CIPHER_SUITE, suite.value.code, suite.why)
    if protocol is not None:
        peer.note(Subject.ALPN, protocol.value, protocol.why)
    answer = None if hello.extensions.pre_shared_key is not None else decide_credential(peer, config, hello, name)
    return Plan(config, suite.value, answer, None if protocol is None else protocol.value)


def decide_credential(peer: Peer, config: ServerConfig, hello: ClientHello, name: str | None) -> Answer:
    """The certificate to show. Raises PeerFault where none fits."""
    require(hello.extensions.signature_algorithms is not None, rules.HELLO_MISSING_SCHEMES)
    answer = choose_credential(config, name, hello)
    peer.note(Subject.CREDENTIAL, answer.value.credential.leaf, answer.why)
    peer.note(Subject.SIGNATURE_SCHEME, answer.value.scheme, answer.why)
    return answer.value


async def settle(peer: Peer, plan: Plan, hello: ClientHello, name: str | None) -> Settled:
    """The pre-shared key, if one fits, and the key agreement; a second ClientHello where it takes one."""
    config, found = plan.config, None
    mode = choose_mode(config, hello)
    if mode is not None:
        found = await find_psk(peer, config, hello, name, plan.suite, plan.protocol)
    if found is not None and found.suite is not plan.suite:
        plan = replace(plan, suite=found.suite)
        peer.note(Subject.CIPHER_SUITE, found.suite.code, "the first of ours that fits the key known beforehand")
    if found is not None and mode is PskKeyExchangeMode.PSK_KE:
        alone = accept_psk(peer, hello, found)
        peer.transcript.begin(plan.suite.hash)
        return Settled(hello, plan.suite, alone, None, None, retried=False)
    group = choose_group(config, hello)
    peer.note(Subject.GROUP, group.value, group.why)
    entry = share_for(hello, group.value)
    retried = entry is None
    peer.transcript.begin(plan.suite.hash, retry=retried)
    if entry is None:
        session = found.source if found is not None and isinstance(found.source, Session) else None
        hello, entry = await retry(peer, plan, hello, group.value, session)
    psk = None if found is None else accept_psk(peer, hello, found)
    share, shared = respond(group.value, entry.key_exchange, config.entropy.key_pair)
    return Settled(hello, plan.suite, psk, KeyShareEntry(group.value, share), Secret(shared), retried=retried)


def share_for(hello: ClientHello, group: NamedGroup) -> KeyShareEntry | None:
    """The client's key share of a group."""
    return next((entry for entry in hello.extensions.key_share or () if entry.group == group), None)


async def retry(
    peer: Peer, plan: Plan, first: ClientHello, group: NamedGroup, session: Session | None
) -> tuple[ClientHello, KeyShareEntry]:
    """Ask for a second ClientHello with the share we want, RFC 8446 §4.1.4; `session` is what we go on with."""
    peer.flight_ends()
    if first.extensions.early_data is not None:
        skip_early_data(peer, plan.config, session)
        peer.note(Subject.EARLY_DATA, False, "the client was asked for a second ClientHello")
    cookie = plan.config.entropy.random(32)
    peer.send(
        HelloRetryRequest(
            legacy_version=TLSVersion.TLS_1_2,
            random=RETRY_RANDOM,
            legacy_session_id_echo=first.legacy_session_id,
            cipher_suite=plan.suite.code,
            legacy_compression_method=0,
            extensions=HelloRetryRequestExtensions(
                key_share=group, cookie=cookie, supported_versions=TLSVersion.TLS_1_3
            ),
        )
    )
    peer.note(Subject.HELLO_RETRY, True, f"the client sent no key share for {group}")
    if first.legacy_session_id:
        peer.send_change_cipher_spec()
    second = await peer.receive(ClientHello)
    check_hello(second)
    return second, check_second_hello(first, second, group, cookie)


def check_second_hello(first: ClientHello, second: ClientHello, group: NamedGroup, cookie: bytes) -> KeyShareEntry:
    """The second ClientHello may differ in what we asked for, and in nothing else (RFC 8446 §4.1.2).

    Returns the key share asked for. Raises PeerFault.
    """
    require(second.extensions.cookie == cookie, rules.SECOND_HELLO_COOKIE)
    require(second.extensions.early_data is None, rules.SECOND_HELLO_EARLY_DATA)
    shares = second.extensions.key_share or ()
    require(len(shares) == 1 and shares[0].group == group, rules.SECOND_HELLO_KEY_SHARE)
    require(_without_retry(first) == _without_retry(second), rules.SECOND_HELLO_CHANGED)
    return shares[0]


def _without_retry(hello: ClientHello) -> ClientHello:
    """A ClientHello less the fields that a retry may change."""
    extensions = hello.extensions
    kept = tuple(type_ for type_ in extensions.order if type_ not in _CHANGED_BY_RETRY)
    stripped = replace(
        extensions, key_share=None, cookie=None, early_data=None, padding=None, pre_shared_key=None, order=kept
    )
    return replace(hello, extensions=stripped)


_CHANGED_BY_RETRY = frozenset(
    (
        ExtensionType.KEY_SHARE,
        ExtensionType.COOKIE,
        ExtensionType.EARLY_DATA,
        ExtensionType.PADDING,
        ExtensionType.PRE_SHARED_KEY,
    )
)


def server_hello(plan: Plan, settled: Settled) -> ServerHello:
    """RFC 8446 §4.1.3."""
    return ServerHello(
        legacy_version=TLSVersion.TLS_1_2,
        random=plan.config.entropy.random(32),
        legacy_session_id_echo=settled.hello.legacy_session_id,
        cipher_suite=settled.suite.code,
        legacy_compression_method=0,
        extensions=ServerHelloExtensions(
            key_share=settled.share,
            pre_shared_key=None if settled.psk is None else settled.psk.index,
            supported_versions=TLSVersion.TLS_1_3,
        ),
    )


def encrypted_extensions(
    peer: Peer, plan: Plan, hello: ClientHello, name: str | None, *, early_data: bool
) -> EncryptedExtensionsBlock:
    """RFC 8446 §4.3.1; sets the record sizes that it agrees to (RFC 8449 §4, RFC 6066 §4)."""
    limit, fragment = agreed_sizes(peer, plan.config, hello, hidden_type=1)
    return EncryptedExtensionsBlock(
        max_fragment_length=fragment,
        record_size_limit=limit,
        server_name=b"" if name is not None else None,
        alpn=(plan.protocol.encode("latin-1"),) if plan.protocol is not None else None,
        early_data=EMPTY if early_data else None,
    )


def agreed_sizes(
    peer: Peer, config: ServerConfig, hello: ClientHello, hidden_type: int
) -> tuple[int | None, MaxFragmentLength | None]:
    """(our record_size_limit, the max_fragment_length to echo), in both versions; record sizes are set accordingly.

    TLS 1.3 counts the type that is hidden in a record (RFC 8449 §4).
    """
    limit, fragment = hello.extensions.record_size_limit, hello.extensions.max_fragment_length
    if limit is not None:
        ours = min(config.record_size_limit or MAX_PLAINTEXT + 1, MAX_PLAINTEXT + hidden_type)
        peer.limit_records(sent=min(limit - hidden_type, MAX_PLAINTEXT), received=ours + 1 - hidden_type)
        return ours, None
    if fragment is not None:
        peer.limit_records(sent=fragment.octets, received=fragment.octets + 1)
    return None, fragment


async def show_certificate(peer: Peer, config: ServerConfig, hello: ClientHello, answer: Answer) -> None:
    """Ask for the client's, where we want one; show ours."""
    if config.client_auth is not None:
        peer.send(certificate_request(config, config.client_auth))
    await prove(peer, config, answer, SERVER_CONTEXT, hello.extensions)


def certificate_request(config: ServerConfig, auth: ClientAuth, context: bytes = b"") -> CertificateRequest:
    """RFC 8446 §4.3.2; with a context where it comes after the handshake."""
    authorities = tuple(auth.authorities)
    stapled = Revocation.of(auth.revocation).asks_for_staples
    # an answer after the handshake is rare: it is not worth compressing
    compressed = () if context else tuple(known.algorithm for known in config.certificate_compression)
    return CertificateRequest(
        context,
        CertificateRequestExtensions(
            status_request=EMPTY if stapled else None,
            compress_certificate=compressed or None,
            signature_algorithms=tuple(config.signature_schemes) + CERTIFICATE_ONLY,
            certificate_authorities=authorities or None,
        ),
    )


async def authenticate_client(peer: Peer, config: ServerConfig) -> Proofs:
    """Who is it, and does it own the key? RFC 8446 §4.4.2 and §4.4.3; nobody in particular where we did not ask."""
    if config.client_auth is None:
        return Anonymous(), Anonymous()
    message = await receive_certificate(peer, config)
    require(message.certificate_request_context == b"", rules.CERTIFICATE_CONTEXT)
    staples = staples_of(config.client_auth, message)
    if not message.certificate_list:
        require(not config.client_auth.required, rules.CERTIFICATE_REQUIRED)
        return Anonymous(), Anonymous()
    leaf = present(peer, config, [entry.cert_data for entry in message.certificate_list])
    content = signed_content(CLIENT_CONTEXT, peer.transcript.hash())
    verify = await peer.receive(CertificateVerify)
    ours = tuple(config.signature_schemes)
    possession = check_signed(leaf, verify.algorithm, verify.signature, content, ours, TLSVersion.TLS_1_3)
    peer.note(Subject.CLIENT_SIGNATURE_SCHEME, verify.algorithm, f"what the client's {leaf.key_description} key can do")
    return await admit(peer, config, config.client_auth, possession, staples)


def staples_of(auth: ClientAuth, message: Certificate) -> list[bytes]:
    """The OCSP responses that a client has stapled, in its chain's order. Raises PeerFault for what was not asked."""
    solicited = {ExtensionType.STATUS_REQUEST} if Revocation.of(auth.revocation).asks_for_staples else set()
    for entry in message.certificate_list:
        require(solicited.issuperset(entry.extensions.order), rules.EXTENSION_UNSOLICITED, entry.extensions.order)
    return [read_staple(entry.extensions.status_request) for entry in message.certificate_list]
