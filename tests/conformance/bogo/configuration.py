"""From the flags of a test to our configurations, with the runner's defaults where ours differ."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from handclasp import (
    Alert,
    CertificateCompressor,
    CertificateError,
    Checked,
    CipherSuite,
    ClientAuth,
    ClientConfig,
    Credential,
    CredentialRequest,
    EarlyData,
    Evidence,
    HandshakeError,
    Limits,
    NamedGroup,
    PresentedChain,
    Revocation,
    ServerConfig,
    ServerSessions,
    SignatureScheme,
    TicketKeys,
    TLSVersion,
    VerifiedPeer,
    danger,
)
from handclasp.config import SUPPORTED_VERSIONS, Config
from handclasp.crypto.groups import GROUPS, POST_QUANTUM
from handclasp.crypto.signatures import CERTIFICATE_ONLY
from handclasp.crypto.signatures import SUPPORTED as SUPPORTED_SCHEMES
from handclasp.crypto.suites import DEFAULT_SUITES, SUITES
from handclasp.keylog import KeyLog
from handclasp.limits import MAX_PLAINTEXT
from handclasp.rules import PeerFault
from handclasp.sessions.cache import ClientSession
from handclasp.sessions.protocols import Tickets
from handclasp.sessions.replay import ReplayGuard
from handclasp.sessions.session import Session
from handclasp.trace import Trace
from handclasp.wire.codec import decode
from handclasp.wire.extensions import TIMESTAMPS
from handclasp.wire.messages import ClientHello

from .compressors import COMPRESSORS
from .options import Options, Unimplemented, Unmet

MOST_EARLY_DATA = 14_336
"""What the runner takes for a server's limit on early data, in bytes."""

GROUPS_BY_DEFAULT = (NamedGroup.X25519_MLKEM768, NamedGroup.X25519, NamedGroup.SECP256R1, NamedGroup.SECP384R1)

SCHEMES_BY_DEFAULT = (
    SignatureScheme.ECDSA_SECP256R1_SHA256,
    SignatureScheme.RSA_PSS_RSAE_SHA256,
    SignatureScheme.ECDSA_SECP384R1_SHA384,
    SignatureScheme.RSA_PSS_RSAE_SHA384,
    SignatureScheme.RSA_PSS_RSAE_SHA512,
)
"""What the runner expects to be accepted of a peer; TLS 1.2 adds PKCS#1 signatures by itself."""


@dataclass
class Clock:
    """The time as the library sees it: it stands still, but for tests that put it forward."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __call__(self) -> datetime:
        return self.now


class Wallet:
    """A client's sessions: the newest is the one to offer, whoever it is for."""

    def __init__(self) -> None:
        self.newest: ClientSession | None = None

    def put(self, name: str, session: ClientSession) -> None:
        self.newest = session

    def take(self, name: str) -> ClientSession | None:
        taken, self.newest = self.newest, None
        return taken


@dataclass
class Memory:
    """What one process remembers from connection to connection."""

    clock: Clock = field(default_factory=Clock)
    wallet: Wallet = field(default_factory=Wallet)
    tickets: TicketKeys = field(default_factory=TicketKeys)
    sessions: ServerSessions = field(init=False)
    replay: ReplayGuard = field(init=False)
    opened: Session | None = None
    """The session of the ticket that was opened last in this connection."""

    def __post_init__(self) -> None:
        self.sessions = ServerSessions(clock=self.clock)
        self.replay = ReplayGuard(clock=self.clock)


class Trusting:
    """The verifier: it says yes to every certificate, unless the test says otherwise."""

    fingerprint = b"bogo"
    blocking = True
    """So that it is asked through an event, after whatever else happened before: early data may be declined by then."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.staples: tuple[bytes, ...] = ()
        self.timestamps: tuple[bytes, ...] = ()

    def verify(self, presented: PresentedChain) -> VerifiedPeer:
        options = self.options
        if not presented.resumed:
            self.staples, self.timestamps = presented.staples, presented.timestamps
        ignored = not options.server and "-verify-peer" not in options and "-use-custom-verify-callback" not in options
        if "-verify-fail" in options and not ignored:
            custom = "-use-custom-verify-callback" in options
            alert = Alert.CERTIFICATE_UNKNOWN if custom else Alert.HANDSHAKE_FAILURE
            raise CertificateError("the test says so", code="certificate-verify-failed", alert=alert)
        return VerifiedPeer(presented.chain, "the test says so")


class Staples(Revocation):
    """What a client does with stapled responses: whatever the test says, for they are no real ones."""

    refused = False

    def check(self, presented: PresentedChain, verified: VerifiedPeer) -> Checked:
        if self.refused:
            raise CertificateError(
                "the test says so", code="ocsp-cb-error", alert=Alert.BAD_CERTIFICATE_STATUS_RESPONSE
            )
        return Checked(Evidence.NONE, "the test says so")


class RefusedStaples(Staples):
    """The same where the test says no."""

    refused = True


@dataclass(frozen=True)
class StapleFromCallback:
    """A server's staple when it is decided on in the handshake."""

    response: bytes | None
    fails: bool

    def staple(self) -> bytes | None:
        if self.fails:
            raise HandshakeError("the test says so", code="ocsp-cb-error", alert=Alert.INTERNAL_ERROR)
        return self.response


@dataclass(frozen=True, slots=True)
class RestrictedCredential(Credential):
    """A credential that is to sign with some schemes only."""

    allowed: tuple[SignatureScheme, ...] = ()

    @property
    def schemes(self) -> tuple[SignatureScheme, ...]:
        fitting = Credential(self.chain, self.signer).schemes
        return tuple(scheme for scheme in self.allowed if scheme in fitting)

    @property
    def schemes12(self) -> tuple[SignatureScheme, ...]:
        fitting = Credential(self.chain, self.signer).schemes12
        return tuple(scheme for scheme in self.allowed if scheme in fitting)


def check(options: Options) -> None:
    """Whether we have what a test needs, before anything is read or connected. Raises Unimplemented, Unmet."""
    _versions(options)
    _known_groups(options.numbers("-curves"))
    _known_groups(options.numbers("-key-shares"))
    if "-cipher" in options:
        _ordered(options.text("-cipher") or b"", ())
    for described in options.credentials:
        _check_schemes("signing with", [int(value) for value in described.get("-signing-prefs", ())])
    _check_schemes("verifying", options.numbers("-verify-prefs"))


def _check_schemes(what: str, numbers: Sequence[int]) -> None:
    schemes = [SignatureScheme(number) for number in numbers]
    if schemes and not set(schemes) & {*SUPPORTED_SCHEMES, *CERTIFICATE_ONLY}:
        raise Unimplemented(f"{what} {', '.join(map(str, schemes))}: {_WEAK.get(schemes[0], 'not known')}")


_WEAK = {
    SignatureScheme.RSA_PKCS1_SHA1: "SHA-1 and MD5 sign nothing here (RFC 9155)",
    SignatureScheme.ECDSA_SHA1: "SHA-1 and MD5 sign nothing here (RFC 9155)",
    SignatureScheme(0x0420): "PKCS#1 signatures have no place in TLS 1.3 (RFC 8446 §4.2.3), not even for old hardware",
}


def client_config(options: Options, memory: Memory, keylog: KeyLog, witness: Trace | None = None) -> ClientConfig:
    """Raises Unimplemented, Unmet."""
    check(options)
    credentials = _credentials(options)
    revocation: Revocation | str = "off"
    if "-enable-ocsp-stapling" in options:
        failing = "-use-ocsp-callback" in options and "-fail-ocsp-callback" in options
        revocation = RefusedStaples("staple") if failing else Staples("staple")
    groups = _groups(options)
    shares = _default_shares(groups)
    hinted = [group for group in groups if group in options.numbers("-server-supported-groups-hint")]
    if hinted:
        shares = (hinted[0],)
    elif "-no-key-shares" in options:
        shares = ()
    elif "-key-shares" in options:
        shares = _known_groups(options.numbers("-key-shares"))
    config = ClientConfig(
        trust=Trusting(options),
        revocation=revocation,
        ask_for_timestamps="-enable-signed-cert-timestamps" in options,
        reverify="-reverify-on-resume" in options,
        credentials=_failing if "-fail-cert-callback" in options else credentials,
        must_authenticate=True,
        versions=_versions(options),
        groups=groups,
        key_shares=shares,
        signature_schemes=_schemes(options, credentials),
        alpn=_protocols(options.text("-advertise-alpn")),
        send_server_name="-host-name" in options,
        sessions=memory.wallet,
        grease="-enable-grease" in options,
        limits=_limits(options),
        certificate_compression=_compressors(options),
        most_content=options.number("-max-send-fragment") or MAX_PLAINTEXT,
        keylog=keylog,
        trace=witness,
        clock=memory.clock,
    )
    return _dangerous(options, config)


def _failing(request: CredentialRequest) -> None:
    """A chooser of credentials that fails as the test wants."""
    raise HandshakeError("the test says so", code="cert-cb-error", alert=Alert.INTERNAL_ERROR)


def server_config(options: Options, memory: Memory, keylog: KeyLog, witness: Trace | None = None) -> ServerConfig:
    """Raises Unimplemented, Unmet."""
    check(options)
    credentials = _credentials(options)
    asked = None
    required = "-require-any-client-certificate" in options
    if required or "-verify-peer" in options:
        named = authorities(options.text("-use-client-ca-list"))
        asked = ClientAuth(verify=Trusting(options), required=required, authorities=named)
    select = options.text("-select-alpn")
    protocols = [select.decode("latin-1")] if select else []
    if "-reject-alpn" in options:
        protocols = ["nothing that a test offers"]
    early = None
    if "-enable-early-data" in options:
        # a minute is still fresh to the runner; to us, the end of a window is not
        early = EarlyData(replay=memory.replay, most=MOST_EARLY_DATA, window=timedelta(seconds=60, milliseconds=1))
    config = ServerConfig(
        credentials=credentials,
        client_auth=asked,
        versions=_versions(options),
        groups=_groups(options),
        signature_schemes=_schemes(options, credentials),
        alpn=protocols,
        sessions=memory.sessions,
        tickets=_tickets(options, memory),
        ticket_count=0 if "-no-ticket" in options else 2,
        early_data=early,
        limits=_limits(options),
        certificate_compression=_compressors(options),
        most_content=options.number("-max-send-fragment") or MAX_PLAINTEXT,
        keylog=keylog,
        trace=witness,
        clock=memory.clock,
    )
    config = _dangerous(options, config)
    return config.replace(choose=Chooser(options, config))


def _tickets(options: Options, memory: Memory) -> Tickets | None:
    if "-no-ticket" in options:
        return None
    memory.opened = None
    return Watched(memory, made="-skip-ticket" not in options)


@dataclass(frozen=True)
class Watched:
    """Tickets, with a note of the session that was opened last; not `made`: none are given out."""

    memory: Memory
    made: bool

    def seal(self, session: Session, now: datetime) -> bytes:
        return self.memory.tickets.seal(session, now) if self.made else b""

    def open(self, ticket: bytes, now: datetime) -> Session | None:
        self.memory.opened = self.memory.tickets.open(ticket, now)
        return self.memory.opened


class Chooser:
    """What a server does when it has a ClientHello: it looks, may refuse, and insists on its order of groups."""

    def __init__(self, options: Options, config: ServerConfig) -> None:
        self._options = options
        self._config = config
        self.hello: ClientHello | None = None

    def __call__(self, hello: ClientHello) -> ServerConfig:
        self.hello = hello
        if "-fail-early-callback" in self._options:
            raise HandshakeError("the test says so", code="connection-rejected", alert=Alert.HANDSHAKE_FAILURE)
        if "-fail-ddos-callback" in self._options:
            raise HandshakeError("the test says so", code="connection-rejected", alert=Alert.INTERNAL_ERROR)
        if "-fail-cert-callback" in self._options:
            raise HandshakeError("the test says so", code="cert-cb-error", alert=Alert.INTERNAL_ERROR)
        changes: dict[str, Any] = {}
        if "-cipher" in self._options:
            changes["cipher_suites"] = _ordered(self._options.text("-cipher") or b"", hello.cipher_suites)
        newest = TLSVersion.TLS_1_3 in (hello.extensions.supported_versions or ())
        if newest and TLSVersion.TLS_1_3 in self._config.versions:
            theirs = hello.extensions.supported_groups or ()
            groups = [group for group in self._config.groups if group in theirs]
            changes["groups"] = groups[:1] or self._config.groups
        return self._config.replace(**changes)


C = TypeVar("C", bound=Config)


def _dangerous(options: Options, config: C) -> C:
    """The runner's peers may lack the extended master secret, and know RSA key transport."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = danger.allow_rsa_key_transport(danger.allow_plain_master_secret(config))
    listed = options.text("-cipher")
    return config if listed is None else config.replace(cipher_suites=_ordered(listed, ()))


def _credentials(options: Options) -> tuple[Credential, ...]:
    """Those that the test names, the default one last."""
    default, *others = options.credentials
    given = [described for described in (*others, default) if "-cert-file" in described]
    return tuple(_credential(options, described) for described in given)


def _credential(options: Options, described: dict[str, list[bytes]]) -> Credential:
    chain, key = described["-cert-file"][-1].decode(), described["-key-file"][-1].decode()
    credential = Credential.from_files(chain, key)
    response = base64.b64decode(described["-ocsp-response"][-1]) if "-ocsp-response" in described else None
    if options.server and ("-use-ocsp-callback" in options or response is not None):
        declined = "-decline-ocsp-callback" in options
        credential = credential.with_staple(
            StapleFromCallback(None if declined else response, fails="-fail-ocsp-callback" in options)
        )
    if "-signing-prefs" in described:
        preferred = tuple(SignatureScheme(int(value)) for value in described["-signing-prefs"])
        credential = RestrictedCredential(credential.chain, credential.signer, credential.staples, allowed=preferred)
    if "-signed-cert-timestamps" in described:
        credential = credential.with_timestamps(_timestamps(described["-signed-cert-timestamps"][-1]))
    return credential.for_named_issuers() if "-must-match-issuer" in described else credential


def _timestamps(value: bytes) -> tuple[bytes, ...]:
    try:
        return decode(TIMESTAMPS, base64.b64decode(value))
    except PeerFault:
        raise Unmet(":INVALID_SCT_LIST: what the test gives is no list of timestamps") from None


def _versions(options: Options) -> tuple[TLSVersion, ...]:
    least, most = options.number("-min-version") or 0, options.number("-max-version") or 0xFFFF
    off = {version for flag, version in _OFF.items() if flag in options}
    versions = tuple(version for version in SUPPORTED_VERSIONS if least <= version <= most and version not in off)
    if not versions and off == set(_OFF.values()):
        raise Unmet(":NO_SUPPORTED_VERSIONS_ENABLED: all versions are off")
    if not versions:
        raise Unimplemented("no version that we speak")
    return versions


_OFF = {"-no-tls12": TLSVersion.TLS_1_2, "-no-tls13": TLSVersion.TLS_1_3}


def _ordered(rules: bytes, theirs: Sequence[CipherSuite]) -> tuple[CipherSuite, ...]:
    """The suites of TLS 1.3, and those that the test lists; those between brackets as the other side orders them.

    What we do not have is left out. Raises Unimplemented for rules that are no list, and where nothing is left.
    """
    known = {suite.name: suite for suite in SUITES}
    listed: list[CipherSuite] = []
    for entry in rules.decode().split(":"):
        alike = [known[name] for name in entry.strip("[]").split("|") if name in known]
        if entry == "DEFAULT":
            alike = [suite for suite in SUITES if SUITES[suite].version is TLSVersion.TLS_1_2]
        elif entry == "!AES":
            listed = [suite for suite in listed if "_AES_" not in suite.name]
        elif not entry.lstrip("[").startswith("TLS_"):
            raise Unimplemented(f"the cipher rule {entry}")
        listed += sorted(alike, key=lambda suite: theirs.index(suite) if suite in theirs else len(theirs))
    if not listed:
        raise Unimplemented("none of the cipher suites listed")
    newest = tuple(suite for suite in DEFAULT_SUITES if SUITES[suite].version is TLSVersion.TLS_1_3)
    return newest + tuple(listed)


def _groups(options: Options) -> tuple[NamedGroup, ...]:
    return _known_groups(options.numbers("-curves")) if "-curves" in options else GROUPS_BY_DEFAULT


def _default_shares(groups: tuple[NamedGroup, ...]) -> tuple[NamedGroup, ...]:
    """The first, and the first of the other sort: a hybrid beside a plain curve, and the other way round."""
    others = tuple(group for group in groups if (group in POST_QUANTUM) != (groups[0] in POST_QUANTUM))
    return groups[:1] + others[:1]


def _compressors(options: Options) -> tuple[CertificateCompressor, ...]:
    all_of_them = "-install-cert-compression-algs" in options
    one = options.number("-install-one-cert-compression-alg")
    return tuple(known for known in COMPRESSORS if all_of_them or known.algorithm == one)


def _known_groups(numbers: Sequence[int]) -> tuple[NamedGroup, ...]:
    groups = tuple(NamedGroup(number) for number in numbers)
    unknown = [group for group in groups if group not in GROUPS]
    if unknown:
        raise Unimplemented(f"the group {unknown[0]}")
    return groups


def _schemes(options: Options, credentials: Sequence[Credential]) -> tuple[SignatureScheme, ...]:
    """What we accept, and what our own keys need: the library has one list for both."""
    preferred = tuple(SignatureScheme(number) for number in options.numbers("-verify-prefs"))
    accepted = tuple(scheme for scheme in preferred or SCHEMES_BY_DEFAULT if scheme in SUPPORTED_SCHEMES)
    own = tuple(scheme for credential in credentials for scheme in credential.schemes)
    return tuple(dict.fromkeys((*accepted, *own))) or SCHEMES_BY_DEFAULT


def _protocols(wire: bytes | None) -> list[str]:
    """A list of protocols, each behind a byte with its length."""
    protocols, rest = [], wire or b""
    while rest:
        size = rest[0]
        protocols.append(rest[1 : 1 + size].decode("latin-1"))
        rest = rest[1 + size :]
    return protocols


def authorities(value: bytes | None) -> tuple[bytes, ...]:
    if value is None or value in (b"<EMPTY>", b"<NULL>"):
        return ()
    return tuple(bytes.fromhex(name.decode()) for name in value.split(b","))


def _limits(options: Options) -> Limits:
    most = options.number("-max-cert-list")
    return Limits() if most is None else Limits(certificate_message=most)
