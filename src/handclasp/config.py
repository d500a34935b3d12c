"""What a client and a server bring to a connection: frozen, checked once, made without I/O, safe to share."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, Self, TypeVar

from .channel.outbound import Padding
from .codes import Code
from .crypto.entropy import Entropy, SystemEntropy
from .crypto.groups import CURVE_SHARE_SIZE, DEFAULT_GROUPS, GROUPS, POST_QUANTUM
from .crypto.signatures import CERTIFICATE_ONLY
from .crypto.signatures import SUPPORTED as SUPPORTED_SCHEMES
from .crypto.suites import DEFAULT_SUITES, SAFE_SUITES, SUITES
from .errors import ConfigError
from .identity.compression import CertificateCompressor
from .identity.credentials import Credential, CredentialChooser, CredentialSource
from .identity.revocation.policy import Revocation
from .identity.trust import TrustStore, Verifier
from .keylog import KeyLog
from .limits import (
    EARLY_DATA,
    MAX_AUTHORITIES,
    MAX_EARLY_DATA,
    MAX_LIFETIME,
    MAX_PLAINTEXT,
    MAX_PROTOCOLS,
    MAX_PSKS_OFFERED,
    MAX_TICKETS_AT_ONCE,
    Limits,
)
from .sessions.clock import Clock, system_clock
from .sessions.external import ExternalPsk, PskRole, PskSource
from .sessions.protocols import ClientSessionStore, ReplayStore, SessionStore, Tickets, is_shared
from .trace import Trace
from .wire.messages import ClientHello
from .wire.names import CipherSuite, MaxFragmentLength, NamedGroup, SignatureScheme, TLSVersion

SUPPORTED_VERSIONS = (TLSVersion.TLS_1_3, TLSVersion.TLS_1_2)


@dataclass(frozen=True, slots=True)
class PadTo:
    """A padding policy: hide a record's length by filling it up to a multiple of `multiple` bytes (RFC 8446 §5.4)."""

    multiple: int

    def __post_init__(self) -> None:
        if not 1 <= self.multiple <= MAX_PLAINTEXT:
            raise ConfigError(f"PadTo needs 1 to {MAX_PLAINTEXT} bytes, not {self.multiple}")

    def __call__(self, length: int) -> int:
        return -length % self.multiple


@dataclass(frozen=True, slots=True, kw_only=True)
class Dangers:
    """Protections that are switched off. Made by `handclasp.danger`, where each is explained."""

    rsa_key_transport: bool = False
    plain_master_secret: bool = False
    psk_alone: bool = False


NO_DANGERS = Dangers()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What both roles have in common. Use `ClientConfig` or `ServerConfig`.

    Lists are given in order of preference; any sequence is taken and kept as a tuple. Raises ConfigError.
    """

    alpn: Sequence[str] = ()
    """Application protocols, such as "h2"; 4096 bytes at most. Empty: none is negotiated."""
    versions: Sequence[TLSVersion] = SUPPORTED_VERSIONS
    """In any order: the newest that both sides have is chosen."""
    cipher_suites: Sequence[CipherSuite] = DEFAULT_SUITES
    groups: Sequence[NamedGroup] = DEFAULT_GROUPS
    """Key-agreement groups; post-quantum hybrids first. ML-KEM alone, such as MLKEM1024, has to be listed."""
    signature_schemes: Sequence[SignatureScheme] = SUPPORTED_SCHEMES
    """What the peer may prove its certificate with, and what we prove ours with."""
    certificate_compression: Sequence[CertificateCompressor] = ()
    """How certificates may be compressed on the way, in TLS 1.3 (RFC 8879): `handclasp.ZLIB`, or others like it. Worth
    it for long chains and large keys."""
    record_size_limit: int | None = None
    """Most content, padding and type the peer may put in one record, in bytes (RFC 8449): 64 to 16385."""
    most_content: int = MAX_PLAINTEXT
    """Most content that we put in one record, in bytes: 64 to 16384. A record can be read once all of it is there."""
    padding: Padding | None = None
    """How much padding to hide in each record; None for none."""
    keylog: KeyLog | None = None
    """Called with each secret as a key-log line. Never set by the environment."""
    limits: Limits = field(default_factory=Limits)
    trace: Trace | None = None
    session_lifetime: timedelta = timedelta(hours=2)
    """How long after a full handshake its session may be resumed, where `sessions` or `tickets` are; at most a year."""
    key_lifetime: timedelta | None = None
    """How long one key may be used, either way, beside `limits.records_per_key`: then come new keys in TLS 1.3 (the
    peer is asked for its own), and the end of the connection in TLS 1.2, which cannot change them. It is looked at when
    data is sent or comes. A year at most; None: as long as the connection lives."""
    key_bytes: int | None = None
    """The same as a number of bytes of data, 16,384 at least. None: what the limit on records lets through, 2^37."""
    danger: Dangers = NO_DANGERS
    """What `handclasp.danger` has switched off; only its functions set it."""
    grease: bool = True
    """Say reserved values beside the real ones, so that peers keep ignoring what they do not know (RFC 8701)."""
    middlebox_compatibility: bool = True
    """Look like TLS 1.2 to boxes on the way (RFC 8446 §D.4)."""
    entropy: Entropy = field(default_factory=SystemEntropy)
    clock: Clock = system_clock
    usable_versions: tuple[TLSVersion, ...] = field(init=False, repr=False, compare=False)
    """Those of `versions` that one of `cipher_suites` belongs to, the newest first: to offer another could only fail
    later."""

    def __post_init__(self) -> None:
        listed = ("alpn", "versions", "cipher_suites", "groups", "signature_schemes", "certificate_compression")
        for name in listed:
            object.__setattr__(self, name, _listed(name, getattr(self, name)))
        _check_protocols(self.alpn)
        _check_codes("versions", self.versions, SUPPORTED_VERSIONS)
        _check_codes("cipher_suites", self.cipher_suites, SUITES if self.danger.rsa_key_transport else SAFE_SUITES)
        with_suites = {SUITES[suite].version for suite in self.cipher_suites}
        usable = tuple(sorted(with_suites.intersection(self.versions), reverse=True))
        object.__setattr__(self, "usable_versions", usable)
        if not usable:
            raise ConfigError("none of cipher_suites belongs to one of versions")
        _check_codes("groups", self.groups, GROUPS)
        if TLSVersion.TLS_1_3 not in usable and not CURVE_SHARE_SIZE.keys() & set(self.groups):
            raise ConfigError("none of groups belongs to TLS 1.2, which knows plain curves alone")
        _check_codes("signature_schemes", self.signature_schemes, SUPPORTED_SCHEMES)
        if not all(isinstance(known, CertificateCompressor) for known in self.certificate_compression):
            raise ConfigError("certificate_compression takes compressors", remedy="handclasp.ZLIB is one")
        for name in ("session_lifetime", "key_lifetime"):
            lifetime = getattr(self, name)
            if lifetime is not None and not timedelta(0) < lifetime <= MAX_LIFETIME:
                raise ConfigError(f"{name} must be positive, and at most {MAX_LIFETIME.days} days")
        if self.key_bytes is not None and self.key_bytes < MAX_PLAINTEXT:
            raise ConfigError(f"key_bytes must be at least {MAX_PLAINTEXT}, a full record, not {self.key_bytes}")
        if not 64 <= self.most_content <= MAX_PLAINTEXT:
            raise ConfigError(f"most_content must be 64 to {MAX_PLAINTEXT} bytes, not {self.most_content}")
        if self.record_size_limit is not None and not 64 <= self.record_size_limit <= MAX_PLAINTEXT + 1:
            raise ConfigError(
                f"record_size_limit must be 64 to {MAX_PLAINTEXT + 1} bytes, not {self.record_size_limit}"
            )

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig(Config):
    """A client. The defaults verify the server against the system's roots and offer post-quantum key agreement."""

    trust: Verifier = field(default_factory=TrustStore.system)
    """Who decides whether the server's certificate is good: a `TrustStore`, or any verifier."""
    revocation: Revocation | str = field(default_factory=Revocation)
    """Whether the CA still stands by the server's certificates: a `Revocation`, or just its mode: "off", "staple" (what
    is stapled has to be good), "soft" and "hard" (the CA is asked)."""
    reverify: bool = False
    """Ask `trust`, and `revocation`, again when a session goes on, with the chain that was verified at its full
    handshake; a no refuses the connection. Without it, only the chain's dates are looked at (RFC 8446 §4.6.1). Where
    there is early data, they are asked before it is sent too, and after a no it is not."""
    credentials: Sequence[Credential] | CredentialChooser = ()
    """What to show a server that asks for a certificate: the first that fits, one from a CA it names before others.

    Or a function that is asked then: see `CredentialChooser`.
    """
    must_authenticate: bool = False
    """Refuse a server that asks for a certificate when none of `credentials` fits. Without it the server is told that
    there is none, and decides (RFC 8446 §4.4.2)."""
    key_shares: Sequence[NamedGroup] | None = None
    """Groups to send a key share for at once. None: the first group, and the first plain curve beside a hybrid."""
    max_fragment_length: MaxFragmentLength | None = None
    """Ask the server for smaller records (RFC 6066 §4), for servers that do not know record_size_limit."""
    sessions: ClientSessionStore | None = None
    """Where sessions are kept for short handshakes, a `ClientSessions`; None: every handshake is a full one."""
    psks: Sequence[ExternalPsk] = ()
    """Keys that the server and we know beforehand (TLS 1.3); a server that knows none shows its certificate."""
    ask_for_timestamps: bool = False
    """Ask the server for signed certificate timestamps (RFC 6962 §3.3). They go to `trust`, which judges by them or
    not, as `presented.timestamps`; those inside of certificates are there without asking."""
    post_handshake_auth: bool = False
    """Offer to show a certificate when the server asks for it later on (TLS 1.3, RFC 8446 §4.2.6): the credentials are
    the same. Not where HTTP/2 is spoken (RFC 8740)."""
    send_server_name: bool = True
    """Tell the server which name we want (SNI). The name is checked either way."""

    def __post_init__(self) -> None:
        super(ClientConfig, self).__post_init__()
        object.__setattr__(self, "revocation", Revocation.of(self.revocation))
        if not callable(self.credentials):
            object.__setattr__(self, "credentials", _credentials(self.credentials))
        if self.key_shares is not None:
            object.__setattr__(self, "key_shares", _listed("key_shares", self.key_shares))
        object.__setattr__(self, "psks", _psks(self.psks, PskRole.CLIENT))
        _check_room(self.psks, self.cipher_suites)
        _check_store("sessions", self.sessions, "ClientSessions", "take", "put")
        if _takes(self.sessions, "get", "discard"):
            raise ConfigError("sessions of a client takes a ClientSessions, or a store like it, not a server's")
        if not set(self.offered_shares) <= set(self.groups):
            raise ConfigError("key_shares holds a group that groups does not")
        if not callable(getattr(self.trust, "verify", None)):
            raise ConfigError("trust needs a verify method: a TrustStore, or another verifier")

    @property
    def listed_credentials(self) -> tuple[Credential, ...]:
        """The credentials that are listed; none where a function has to be asked."""
        return () if callable(self.credentials) else tuple(self.credentials)

    @property
    def offered_shares(self) -> tuple[NamedGroup, ...]:
        """`key_shares` with its default worked out."""
        return _default_shares(tuple(self.groups)) if self.key_shares is None else tuple(self.key_shares)


class UnknownNames(Enum):
    """What a server does when a client asks for a name that none of its certificates has."""

    DEFAULT = "default"
    """Answer with the first credential; the client will judge."""
    REFUSE = "refuse"
    """Refuse with unrecognized_name."""


class UnverifiedClients(Enum):
    """What a server does with a client whose certificate its verifier does not accept."""

    REFUSE = "refuse"
    """End the connection with the alert that says why."""
    ANONYMOUS = "anonymous"
    """Go on as with a client that has no certificate, so that a page can say what a bare alert cannot.

    The client is nobody: `info.peer_certificates` is empty. `info.client_error` has the reason, and the chain.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAuth:
    """That a server asks its clients for a certificate: whether it must come, and how it is checked."""

    verify: Verifier
    """Who decides whether a client's certificate is good; it has no name to check."""
    required: bool = True
    """Refuse clients that have none."""
    revocation: Revocation | str = field(default_factory=lambda: Revocation("off"))
    """The same as a client's, for clients; off unless said otherwise: few clients staple, and none of them has to."""
    reverify: bool = False
    """Ask `verify`, and `revocation`, again when a client's session goes on, with the chain it showed at first: before
    its early data is delivered."""
    authorities: Sequence[bytes] = ()
    """Names of the CAs we accept, DER, as a hint for the client; 60,000 bytes at most."""
    unverified: UnverifiedClients | str = UnverifiedClients.REFUSE
    """What to do with a client whose certificate `verify` or `revocation` does not accept: "refuse", or "anonymous".

    Whatever it is: a certificate that cannot be read, a signature that does not fit it, and a verifier that fails
    instead of deciding refuse the connection.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "authorities", _listed("authorities", self.authorities))
        names: tuple[object, ...] = tuple(self.authorities)
        if not all(isinstance(name, bytes) and name for name in names):
            raise ConfigError("client_auth.authorities takes names of CAs as DER", remedy="certificate.subject_der")
        if sum(2 + len(name) for name in self.authorities) > MAX_AUTHORITIES:
            raise ConfigError(f"client_auth.authorities are {MAX_AUTHORITIES} bytes at most, all together")
        object.__setattr__(self, "revocation", Revocation.of(self.revocation))
        object.__setattr__(self, "unverified", _choice(UnverifiedClients, "client_auth.unverified", self.unverified))
        if self.required and self.unverified is UnverifiedClients.ANONYMOUS:
            raise ConfigError(
                "client_auth cannot both require a verified certificate and go on without one",
                remedy="set required=False, or leave unverified out",
            )
        if not callable(getattr(self.verify, "verify", None)):
            raise ConfigError("client_auth.verify needs a verify method: a TrustStore, or another verifier")


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyData:
    """That a server takes data with a resuming client's first flight, before the handshake is done (RFC 8446 §2.3).

    Such data has no forward secrecy, and whoever records it can send it again. `replay` keeps that from being taken
    twice, on all machines that share it; what early data makes the server do had better be harmless all the same.
    """

    replay: ReplayStore
    """Who remembers what was taken. There is no default: each machine by itself, or one store for all."""
    most: int = EARLY_DATA
    """Most early data of one client, in bytes; a ticket that allows more, from before a change, brings none. By default
    one record of it is among what a server passes over that has early data off by now (`limits.skipped_early_data`)."""
    window: timedelta = timedelta(seconds=10)
    """How far the age that the client tells for its session may be off; a replay is refused by it later on."""

    def __post_init__(self) -> None:
        if not 1 <= self.most <= MAX_EARLY_DATA:
            raise ConfigError(f"early data of 1 to {MAX_EARLY_DATA} bytes can be allowed, not {self.most}")
        if not timedelta(0) < self.window <= timedelta(minutes=5):
            raise ConfigError("the window for early data is positive, and at most 5 minutes")
        if not callable(getattr(self.replay, "claim", None)):
            raise ConfigError("early data needs a replay store, with a claim method")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig(Config):
    """A server."""

    credentials: Sequence[Credential] | CredentialSource = ()
    """Certificates with their keys, or a source that is asked for them at each ClientHello. At least one, unless there
    are `psks`.

    Which one answers depends on the name asked for (one that has it before one that covers it with a wildcard, and
    that before the others, the first of which is the default) and on the schemes offered.
    """
    client_auth: ClientAuth | None = None
    """Ask clients for a certificate; None: do not ask."""
    sessions: SessionStore | None = None
    """Where sessions are kept by id, a `ServerSessions`; None: none are. `tickets` come before it."""
    tickets: Tickets | None = None
    """Keys for sessions that clients keep, a `TicketKeys`; None: none are given out."""
    ticket_count: int = 2
    """Tickets that a client gets after the handshake (TLS 1.3); more with `send_tickets`."""
    early_data: EarlyData | None = None
    """Take early data with resumed sessions; None: never."""
    psks: Sequence[ExternalPsk] | PskSource = ()
    """Keys that clients and we know beforehand (TLS 1.3), or who to ask for them."""
    unknown_names: UnknownNames | str = UnknownNames.DEFAULT
    """What to do with a client that asks for a name no credential has: "default" or "refuse"."""
    choose: Callable[[ClientHello], ServerConfig | Awaitable[ServerConfig]] | None = None
    """Pick the configuration for a client by its ClientHello: virtual hosts, certificates that change. May be async.
    All of it counts from there on, but for `limits` and `trace`, which stay as they are here."""

    def __post_init__(self) -> None:
        super(ServerConfig, self).__post_init__()
        object.__setattr__(self, "unknown_names", _choice(UnknownNames, "unknown_names", self.unknown_names))
        if not _finds(self.psks):
            object.__setattr__(self, "psks", _psks(self.psks, PskRole.SERVER))
        if self.knows_psks and self.client_auth is not None and self.client_auth.required:
            raise ConfigError(
                "who shows a pre-shared key shows no certificate: psks and client_auth.required exclude each other"
            )
        _check_store("sessions", self.sessions, "ServerSessions", "get", "take", "put")
        _check_store("tickets", self.tickets, "TicketKeys", "seal", "open")
        if self.early_data is not None and self.tickets is None and self.sessions is None:
            raise ConfigError("early data goes with resumed sessions: set tickets or sessions too")
        alone = self.early_data is not None and not is_shared(self.early_data.replay)
        if alone and (is_shared(self.tickets) or is_shared(self.sessions)):
            raise ConfigError(
                "machines that share sessions have to share the replay store too: early data is taken once by all",
                remedy="handclasp.sessions.stores.redis.RedisReplayGuard",
            )
        if not 0 <= self.ticket_count <= MAX_TICKETS_AT_ONCE:
            raise ConfigError(f"ticket_count is 0 to {MAX_TICKETS_AT_ONCE}, not {self.ticket_count}")
        if callable(getattr(self.credentials, "credentials", None)):
            return
        listed = _credentials(self.credentials)
        object.__setattr__(self, "credentials", listed)
        if not listed and not self.knows_psks:
            raise ConfigError("a server needs at least one credential", remedy="Credential.from_files(chain, key)")
        if not listed and TLSVersion.TLS_1_3 not in self.usable_versions:
            raise ConfigError("psks are for TLS 1.3: a server of TLS 1.2 alone needs at least one credential")
        if any(credential.leaf.must_staple and credential.staples is None for credential in listed):
            raise ConfigError(
                "a certificate demands a stapled OCSP response, and its credential has none: clients will refuse it",
                code="must-staple",
                remedy="credential.with_staple(handclasp.OCSPStapler(credential))",
            )
        older = TLSVersion.TLS_1_2 in self.versions
        usable = {scheme for c in listed for scheme in (c.schemes12 if older else c.schemes)}
        ours = (*self.signature_schemes, *CERTIFICATE_ONLY) if older else self.signature_schemes
        if listed and not usable.intersection(ours):
            raise ConfigError("no credential can sign with any of signature_schemes")

    @property
    def knows_psks(self) -> bool:
        """Whether a client may have a key that we know beforehand."""
        return self.psk_source is not None or bool(self.psks)

    @property
    def psk_source(self) -> PskSource | None:
        """Who has to be asked for keys, however empty it looks; None where they are listed."""
        return None if isinstance(self.psks, tuple) else self.psks  # type: ignore[return-value] # with a find method

    @property
    def listed_psks(self) -> tuple[ExternalPsk, ...]:
        """The keys that are listed; none where a source has to be asked."""
        return self.psks if isinstance(self.psks, tuple) else ()

    @property
    def keeps_sessions(self) -> bool:
        """Whether a client may come back for a short handshake."""
        return self.tickets is not None or self.sessions is not None

    @property
    def source(self) -> CredentialSource | None:
        """Who has to be asked for credentials; None where they are listed."""
        if isinstance(self.credentials, tuple):  # as they are once listed, and quicker to see than a Sequence
            return None
        return None if isinstance(self.credentials, Sequence) else self.credentials

    @property
    def listed_credentials(self) -> tuple[Credential, ...]:
        """The credentials that are listed; none where a source has to be asked."""
        return self.credentials if isinstance(self.credentials, tuple) else ()


T = TypeVar("T")
E = TypeVar("E", bound=Enum)


def _listed(name: str, values: Sequence[T]) -> tuple[T, ...]:
    if isinstance(values, (str, bytes)):
        raise ConfigError(f"{name} takes a sequence, not one {type(values).__name__}")
    listed = tuple(values)
    if len(set(listed)) != len(listed):
        raise ConfigError(f"{name} lists something twice")
    return listed


def _choice(enum: type[E], name: str, value: object) -> E:
    try:
        return enum(value)
    except ValueError:
        words = " or ".join(repr(member.value) for member in enum)
        raise ConfigError(f"{name} is {words}, not {value!r}") from None


def _credentials(values: object) -> tuple[Credential, ...]:
    listed = tuple(values) if isinstance(values, Iterable) else None
    if listed is None or not all(isinstance(value, Credential) for value in listed):
        raise ConfigError("credentials takes Credential objects", remedy="Credential.from_files(chain, key)")
    return listed


def _psks(values: object, role: PskRole) -> tuple[ExternalPsk, ...]:
    listed = tuple(values) if isinstance(values, Sequence) and not isinstance(values, (str, bytes)) else (None,)
    if not all(isinstance(value, ExternalPsk) for value in listed):
        raise ConfigError("psks takes ExternalPsk objects")
    if any(psk.role is not role for psk in listed):
        raise ConfigError(f"psks of a {role.value} takes keys made with role={role.value!r}: see ExternalPsk")
    return listed


def _check_store(name: str, store: object, ours: str, *calls: str) -> None:
    """Whether something may be a store, None among it, by the calls that are made to it."""
    if store is not None and not _takes(store, *calls):
        raise ConfigError(f"{name} takes something with {', '.join(calls)}: a {ours}, or another like it")


def _takes(store: object, *calls: str) -> bool:
    return all(callable(getattr(store, call, None)) for call in calls)


def _check_room(psks: Sequence[ExternalPsk], suites: Sequence[CipherSuite]) -> None:
    """Each key is named once for each hash, with four bytes for an age and a binder behind all (RFC 8446 §4.2.11)."""
    hashes = {SUITES[suite].hash for suite in suites if SUITES[suite].version is TLSVersion.TLS_1_3}
    named = [(psk.identity_for(algorithm), algorithm.size) for psk in psks for algorithm in hashes]
    size = sum(2 + len(identity) + 4 + 1 + binder for identity, binder in named if identity is not None)
    if size > MAX_PSKS_OFFERED:
        raise ConfigError(f"psks would take {size} bytes of a ClientHello, and {MAX_PSKS_OFFERED} are the most")


def _finds(values: object) -> bool:
    """Whether something can be asked for keys. Strings have a `find` too, which is another."""
    return callable(getattr(values, "find", None)) and not isinstance(values, (str, bytes, bytearray))


def _check_protocols(protocols: Sequence[str]) -> None:
    for protocol in protocols:
        try:
            size = len(protocol.encode("latin-1"))
        except (AttributeError, UnicodeEncodeError):
            raise ConfigError(f"alpn takes protocol names such as 'h2', not {protocol!r}") from None
        if not 1 <= size <= 255:
            raise ConfigError("a protocol in alpn is 1 to 255 bytes long")
    if sum(1 + len(protocol) for protocol in protocols) > MAX_PROTOCOLS:
        raise ConfigError(f"the protocols in alpn take {MAX_PROTOCOLS} bytes at most, all together")


def _check_codes(name: str, values: Sequence[Code], supported: Collection[Code]) -> None:
    if not values:
        raise ConfigError(f"{name} is empty")
    for value in values:
        if value not in supported:
            raise ConfigError(f"{name}: {value} is not supported here (supported: {', '.join(map(str, supported))})")


@lru_cache(32)
def _default_shares(groups: tuple[NamedGroup, ...]) -> tuple[NamedGroup, ...]:
    """A post-quantum share costs a kilobyte; the plain one beside it saves servers without it a round trip."""
    first = groups[:1]
    if first and first[0] in POST_QUANTUM:
        return first + tuple(group for group in groups if group not in POST_QUANTUM)[:1]
    return first
