"""When a session may be resumed, and what is remembered of a handshake. A session that does not fit is no error: the
handshake is then a full one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from types import NoneType

from .. import rules
from ..channel.prf import MasterSecret
from ..config import ClientConfig, Config, ServerConfig
from ..crypto.secret import Secret
from ..crypto.suites import SUITES, Suite
from ..errors import CallbackError, CertificateError
from ..identity.names import PeerName
from ..identity.revocation.policy import Revocation
from ..identity.trust import VerifiedPeer, Verifier
from ..limits import MAX_TICKET
from ..rules import require
from ..sessions.cache import ClientSession
from ..sessions.protocols import Tickets
from ..sessions.session import Resumable, Session
from ..trace import Subject
from ..wire.messages import ClientHello
from ..wire.names import CipherSuite, TLSVersion
from .negotiate import choose_protocol
from .notices import SessionDeclined
from .proofs import Anonymous, Identity, Possession, SharedKey
from .questions import FindSession, KeepSession
from .script import Peer

FOUND = (Session, NoneType)


def client_policy(config: ClientConfig, *, asked: bool) -> bytes | None:
    """What a client demands of its server, as a fingerprint; None where its verifier has none: nothing is kept then.

    `asked`: the server asked who we are. Its session goes on with whom we said then, so it is bound to our credentials
    too; where a function chooses among them, that function has to have a `fingerprint`.
    """
    ours = _credentials_of(config) if asked else b"not asked"
    policy = _fingerprint(b"client", config.trust, Revocation.of(config.revocation))
    return None if policy is None or ours is None else hashlib.sha256(policy + ours).digest()


def _credentials_of(config: ClientConfig) -> bytes | None:
    """What tells a client's credentials from others."""
    if callable(config.credentials):
        told = getattr(config.credentials, "fingerprint", None)
        return told if isinstance(told, bytes) else None
    return b"".join(hashlib.sha256(credential.leaf.der).digest() for credential in config.listed_credentials)


def server_policy(config: ServerConfig) -> bytes | None:
    """The same for a server's demands on its clients."""
    if config.client_auth is None:
        return hashlib.sha256(b"server, anonymous clients").digest()
    asked = b"required" if config.client_auth.required else b"optional"
    revocation = Revocation.of(config.client_auth.revocation)
    return _fingerprint(b"server " + asked, config.client_auth.verify, revocation)


def _fingerprint(who: bytes, verifier: Verifier, revocation: Revocation) -> bytes | None:
    told = getattr(verifier, "fingerprint", None)
    if not isinstance(told, bytes):
        return None
    return hashlib.sha256(who + b"\0" + revocation.fingerprint + told).digest()


# --- the client's side ------------------------------------------------------------------------------------------------


async def session_to_offer(peer: Peer, config: ClientConfig, name: PeerName | None) -> ClientSession | None:
    """A session for this server that still fits the configuration, taken from the cache: each is used once."""
    sessions = config.sessions
    if sessions is None or name is None:
        return None
    host = name.text
    held = await peer.ask(FindSession(sessions, lambda: sessions.take(host), (ClientSession, NoneType)))
    if held is None:
        return None
    against = _against_offering(held, config)
    if against:
        decline(peer, against)
        return None
    return held


def _against_offering(held: ClientSession, config: ClientConfig) -> str:
    """Why a session is not to be offered; empty when nothing speaks against it."""
    session = held.session
    if not session.verified_chain:
        return "the session knows of no server that was verified"
    if not _shows(held):
        return "the session has nothing that can be shown to a server"
    if session.version not in config.usable_versions:
        return f"the session is of {session.version}, which is off"
    if not _suite_fits(session, config.cipher_suites):
        return f"the session's cipher suite {session.suite} is off"
    if session.policy != client_policy(config, asked=False) and session.policy != client_policy(config, asked=True):
        return "the session was made under another trust policy, or with other credentials of ours"
    if session.alpn and session.alpn not in config.alpn:
        return f"the session is for the protocol {session.alpn}"
    return session.outdated(config.clock(), config.session_lifetime)


def _shows(held: ClientSession) -> bool:
    """Whether what shows it to the server has a size that it can have."""
    if len(held.ticket) > MAX_TICKET:
        return False
    older = held.session.version is TLSVersion.TLS_1_2
    return bool(held.ticket) or (older and 0 < len(held.session_id) <= SESSION_ID_SIZE)


def not_resumed(peer: Peer) -> None:
    """We offered a session, and the server shakes hands in full."""
    decline(peer, "the server did not take the session: it has forgotten it, or declines")


async def keep_session(peer: Peer, config: ClientConfig, name: str, held: ClientSession) -> None:
    """Remember a session for the next connection to `name`."""
    sessions = config.sessions
    if sessions is not None:
        await peer.ask(KeepSession(sessions, lambda: sessions.put(name, held), (NoneType,)))


# --- the server's side ------------------------------------------------------------------------------------------------


async def session_to_accept(
    peer: Peer, config: ServerConfig, hello: ClientHello, name: str | None, now: datetime
) -> Session | None:
    """The session a TLS 1.2 client asks to resume, if we know it and nothing has changed (RFC 5246 §7.4.1.2)."""
    ticket, session_id, session = hello.extensions.session_ticket, hello.legacy_session_id, None
    tickets, sessions = config.tickets, config.sessions
    if ticket and tickets is not None:
        session = await peer.ask(FindSession(tickets, lambda: tickets.open(ticket, now), FOUND))
    elif session_id and sessions is not None:
        session = await peer.ask(FindSession(sessions, lambda: sessions.get(session_id), FOUND))
    if session is None:
        # an id alone may be there just to look like TLS 1.2 (RFC 8446 §D.4)
        if ticket or (session_id and hello.extensions.supported_versions is None):
            decline(peer, UNKNOWN)
        return None
    # a client that has forgotten the extended master secret is either broken or attacked (RFC 7627 §5.3)
    require(not session.extended or hello.extensions.extended_master_secret is not None, rules.RESUMED_MASTER_SECRET)
    protocol = choose_protocol(config, hello)
    against = against_accepting(
        session, config, hello, TLSVersion.TLS_1_2, name, protocol.value if protocol else None, now
    )
    if against:
        decline(peer, against)
        return None
    return session


async def seal(peer: Peer, tickets: Tickets, session: Session, now: datetime) -> bytes:
    """A ticket for a session; empty where none can be made. Raises CallbackError."""
    ticket = await peer.ask(KeepSession(tickets, lambda: tickets.seal(session, now), (bytes, NoneType))) or b""
    if len(ticket) > MAX_TICKET:
        raise CallbackError(f"KeepSession gave a ticket of {len(ticket)} bytes, and {MAX_TICKET} are the most")
    return ticket


async def recall(peer: Peer, config: ServerConfig, identity: bytes, now: datetime) -> Session | None:
    """The session that a TLS 1.3 client names: sealed in the identity, or kept here under it and given out once."""
    tickets, sessions = config.tickets, config.sessions
    session = None
    if tickets is not None:
        session = await peer.ask(FindSession(tickets, lambda: tickets.open(identity, now), FOUND))
    if session is None and sessions is not None and len(identity) == IDENTITY_SIZE:
        session = await peer.ask(FindSession(sessions, lambda: sessions.take(identity), FOUND))
    return session


def against_accepting(
    session: Session,
    config: ServerConfig,
    hello: ClientHello,
    version: TLSVersion,
    name: str | None,
    protocol: str | None,
    now: datetime,
) -> str:
    """Why a client's session is not resumed; empty when nothing speaks against it."""
    if session.version is not version:
        return f"the session is of {session.version}"
    if not _suite_fits(session, hello.cipher_suites) or not _suite_fits(session, config.cipher_suites):
        return f"the session's cipher suite {session.suite} is off"
    if session.server_name != (name or ""):
        return f"the session is for the name {session.server_name or '(none)'}"
    if session.alpn != (protocol or ""):
        return f"the session is for the protocol {session.alpn or '(none)'}"
    if session.policy != server_policy(config):
        return "the session was made when other certificates were asked of clients"
    return session.outdated(now, config.session_lifetime)


def _suite_fits(session: Session, suites: Sequence[CipherSuite]) -> bool:
    """TLS 1.2 resumes with the same suite; TLS 1.3 with any of the same hash (RFC 8446 §4.2.11)."""
    known = SUITES.get(session.suite)
    if known is None or session.version is TLSVersion.TLS_1_2:
        return known is not None and session.suite in suites
    return any(SUITES[suite].hash is known.hash for suite in suites if suite in NEWEST)


def decline(peer: Peer, why: str) -> None:
    """The handshake is a full one although there was a session: note it, and tell the application."""
    peer.note(Subject.SESSION_DECLINED, True, why)
    peer.tell(SessionDeclined(why))


UNKNOWN = "the session is not known here: forgotten, or never ours"


# --- what is remembered -----------------------------------------------------------------------------------------------


def resumable(
    peer: Peer,
    config: Config,
    suite: Suite,
    secret: Secret,
    policy: bytes | None,
    identity: Identity | Anonymous | SharedKey,
    resumed: Session | None,
) -> Resumable | None:
    """What the tickets of a TLS 1.3 connection are made from; None where there are to be none.

    A key known beforehand needs no ticket: it is the shorter way already.
    """
    if policy is None or isinstance(identity, SharedKey) or _unverified(peer):
        return None
    name, protocol = peer.notes.get(Subject.SERVER_NAME), peer.notes.get(Subject.ALPN)
    return Resumable(
        suite=suite,
        secret=secret,
        policy=policy,
        server_name=str(name.value) if name else "",
        alpn=str(protocol.value) if protocol else "",
        authenticated=config.clock() if resumed is None else resumed.authenticated,
        verified_chain=identity.peer.chain if isinstance(identity, Identity) else (),
    )


def remember12(
    config: Config, master: MasterSecret, policy: bytes | None, peer: Peer, identity: object
) -> Session | None:
    """The session of a full TLS 1.2 handshake; None where it must not be kept: without the extended master secret a
    resumption could be spliced onto another connection (RFC 7627 §5.4).
    """
    if policy is None or not master.extended or _unverified(peer):
        return None
    name, protocol = peer.notes.get(Subject.SERVER_NAME), peer.notes.get(Subject.ALPN)
    now = config.clock()
    return Session(
        version=TLSVersion.TLS_1_2,
        suite=master.suite.code,
        secret=Secret(master.secret.reveal()),
        extended=True,
        server_name=str(name.value) if name else "",
        alpn=str(protocol.value) if protocol else "",
        policy=policy,
        created=now,
        authenticated=now,
        expires=now + config.session_lifetime,
        verified_chain=identity.peer.chain if isinstance(identity, Identity) else (),
    )


def _unverified(peer: Peer) -> bool:
    """Whether this is a client we go on with although its certificate was refused: the next time it is told again."""
    verdict = peer.notes.get(Subject.PEER)
    return verdict is not None and isinstance(verdict.value, CertificateError)


def remembered(peer: Peer, session: Session) -> tuple[Identity, Possession] | tuple[Anonymous, Anonymous]:
    """The peer's proofs from the session's first handshake, which a matching Finished makes good again."""
    if not session.verified_chain:
        return Anonymous(), Anonymous()
    peer.chain = session.verified_chain
    since = f"verified on {session.authenticated:%Y-%m-%d %H:%M} UTC, resumed since"
    verdict = VerifiedPeer(session.verified_chain, since)
    peer.note(Subject.PEER, verdict, verdict.why)
    return Identity(verdict), Possession(session.verified_chain[0], None)


NEWEST = frozenset(code for code, suite in SUITES.items() if suite.version is TLSVersion.TLS_1_3)

SESSION_ID_SIZE = 32
"""The longest id that a session of TLS 1.2 has, in bytes (RFC 5246 §7.4.1.2)."""

IDENTITY_SIZE = SESSION_ID_SIZE + 1
"""Length of what names a session of TLS 1.3 that we keep ourselves, in bytes. Whoever names one has it forgotten here:
so it is longer than the ids of TLS 1.2, which anybody can read who listens, and which name a session again and again.
"""
