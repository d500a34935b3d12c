"""When a session may be resumed, and what is remembered of a handshake. A session that does not fit is no error: the
handshake is then a full one.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from .. import rules
from ..channel.prf import MasterSecret
from ..config import ClientConfig, Config, ServerConfig
from ..crypto.secret import Secret
from ..identity.names import PeerName
from ..identity.trust import VerifiedPeer, Verifier
from ..rules import require
from ..sessions.cache import ClientSession
from ..sessions.session import Session
from ..trace import Subject
from ..wire.messages import ClientHello
from ..wire.names import TLSVersion
from .negotiate import choose_protocol
from .proofs import Identity, Possession
from .script import Peer


def client_policy(config: ClientConfig) -> bytes | None:
    """What a client demands of its server, as a fingerprint; None where its verifier has none: nothing is kept then."""
    return _fingerprint(b"client", config.trust)


def server_policy(config: ServerConfig) -> bytes | None:
    """The same for a server's demands on its clients."""
    if config.client_auth is None:
        return hashlib.sha256(b"server, anonymous clients").digest()
    asked = b"required" if config.client_auth.required else b"optional"
    return _fingerprint(b"server " + asked, config.client_auth.verify)


def _fingerprint(who: bytes, verifier: Verifier) -> bytes | None:
    told = getattr(verifier, "fingerprint", None)
    return hashlib.sha256(who + b"\0" + told).digest() if isinstance(told, bytes) else None


def session_to_offer(config: ClientConfig, name: PeerName | None) -> ClientSession | None:
    """A session for this server that still fits the configuration, taken from the cache."""
    if config.sessions is None or name is None:
        return None
    held = config.sessions.take(name.text)
    if held is None:
        return None
    session = held.session
    fits = (
        session.version in config.versions
        and session.suite in config.cipher_suites
        and session.policy == client_policy(config)
        and (session.alpn in config.alpn if session.alpn else not config.alpn)
        and session.fresh(config.clock(), config.session_lifetime)
    )
    return held if fits else None


def session_to_accept(config: ServerConfig, hello: ClientHello, name: str | None, now: datetime) -> Session | None:
    """The session a TLS 1.2 client asks to resume, if we know it and nothing has changed (RFC 5246 §7.4.1.2)."""
    ticket, session = hello.extensions.session_ticket, None
    if ticket and config.tickets is not None:
        session = config.tickets.open(ticket, now)
    elif hello.legacy_session_id and config.sessions is not None:
        session = config.sessions.get(hello.legacy_session_id)
    if session is None:
        return None
    # a client that has forgotten the extended master secret is either broken or attacked (RFC 7627 §5.3)
    require(not session.extended or hello.extensions.extended_master_secret is not None, rules.RESUMED_MASTER_SECRET)
    protocol = choose_protocol(config, hello)
    fits = (
        session.version is TLSVersion.TLS_1_2
        and session.suite in hello.cipher_suites
        and session.suite in config.cipher_suites
        and session.server_name == (name or "")
        and session.alpn == (protocol.value if protocol else "")
        and session.policy == server_policy(config)
        and session.fresh(now, config.session_lifetime)
    )
    return session if fits else None


def remember12(
    config: Config, master: MasterSecret, policy: bytes | None, peer: Peer, identity: object
) -> Session | None:
    """The session of a full TLS 1.2 handshake; None where it must not be kept: without the extended master secret a
    resumption could be spliced onto another connection (RFC 7627 §5.4).
    """
    if policy is None or not master.extended:
        return None
    name, protocol = peer.notes.get(Subject.SERVER_NAME), peer.notes.get(Subject.ALPN)
    return Session(
        version=TLSVersion.TLS_1_2,
        suite=master.suite.code,
        secret=Secret(master.secret.reveal()),
        extended=True,
        server_name=str(name.value) if name else "",
        alpn=str(protocol.value) if protocol else "",
        policy=policy,
        created=config.clock(),
        verified_chain=identity.peer.chain if isinstance(identity, Identity) else (),
    )


def remembered(peer: Peer, session: Session) -> tuple[Identity, Possession]:
    """The peer's proofs from the session's first handshake, which a matching Finished makes good again."""
    peer.chain = session.verified_chain
    verdict = VerifiedPeer(session.verified_chain, f"verified on {session.created:%Y-%m-%d %H:%M} UTC, resumed since")
    peer.note(Subject.PEER, verdict, verdict.why)
    return Identity(verdict), Possession(session.verified_chain[0], None)
