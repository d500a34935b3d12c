"""Pre-shared keys in the handshake, of sessions and of keys agreed on beforehand: RFC 8446 §4.2.11, both roles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import NoneType

from .. import rules
from ..channel.schedule import Early
from ..channel.transcript import Transcript
from ..config import ClientConfig, ServerConfig
from ..crypto.hashing import Hash, same
from ..crypto.secret import Secret
from ..crypto.suites import SUITES, Suite
from ..errors import CallbackError
from ..rules import require
from ..sessions.cache import ClientSession
from ..sessions.external import ExternalPsk, PskRole
from ..sessions.session import Session
from ..trace import Subject
from ..wire.extensions import ClientHelloExtensions, OfferedPsks, PskIdentity
from ..wire.messages import ClientHello
from ..wire.names import CipherSuite, ExtensionType, PskKeyExchangeMode, TLSVersion
from .negotiate import of_another_hash
from .proofs import Proofs, SharedKey
from .questions import FindPsk
from .resume import UNKNOWN, against_accepting, decline, recall, remembered
from .script import Peer

RESUMPTION = b"res binder"


@dataclass(frozen=True, slots=True)
class Psk:
    """A pre-shared key as it enters one handshake."""

    offered: PskIdentity
    secret: Secret = field(repr=False)
    hash: Hash
    label: bytes
    source: Session | ExternalPsk

    @property
    def session(self) -> Session | None:
        """The session it is of; None for a key known beforehand."""
        return self.source if isinstance(self.source, Session) else None

    def allows(self, early_data: bytes, suites: Sequence[CipherSuite]) -> bool:
        """Whether this much early data may be sent under it: the session says how much, and with which suite."""
        session = self.session
        return session is not None and len(early_data) <= session.max_early_data and session.suite in suites


def proofs_of(peer: Peer, source: Session | ExternalPsk) -> Proofs:
    """Who a peer is that has this key too; noted. Its Finished makes it good."""
    if isinstance(source, Session):
        peer.note(Subject.RESUMED, True, "both know the session")
        return remembered(peer, source)
    peer.note(Subject.PSK, source.identity, "both know this key beforehand")
    proof = SharedKey(source.identity)
    return proof, proof


# --- the client's side ------------------------------------------------------------------------------------------------


def psks_to_offer(config: ClientConfig, suites: Sequence[CipherSuite], held: ClientSession | None) -> tuple[Psk, ...]:
    """The session first, then the keys of the configuration, for each hash that a suite on offer has."""
    if held is None and not config.psks:
        return ()
    hashes = dict.fromkeys(SUITES[s].hash for s in suites if s in SUITES and SUITES[s].version is TLSVersion.TLS_1_3)
    psks = [] if held is None else [_of_session(held, config.clock())]
    for external in config.psks:
        for hash_ in hashes:
            identity = external.identity_for(hash_)
            if identity is not None:
                offered = PskIdentity(identity, 0)  # RFC 8446 §4.2.11: no age where there is no ticket
                psks.append(Psk(offered, external.secret_for(hash_), hash_, external.label, external))
    return tuple(psks)


def _of_session(held: ClientSession, now: datetime) -> Psk:
    session = held.session
    age = max(0, (now - session.created) // timedelta(milliseconds=1))
    offered = PskIdentity(held.ticket, (age + session.age_add) % (1 << 32))
    return Psk(offered, session.secret, SUITES[session.suite].hash, RESUMPTION, session)


def with_psks(extensions: ClientHelloExtensions, psks: Sequence[Psk]) -> ClientHelloExtensions:
    """The extensions with pre_shared_key as the last; its binders are zeros until `bound`."""
    if not psks and extensions.pre_shared_key is None:
        return extensions
    offered = OfferedPsks(tuple([psk.offered for psk in psks]), tuple([bytes(psk.hash.size) for psk in psks]))
    return extensions.ending(ExtensionType.PRE_SHARED_KEY, offered if psks else None)


def bound(hello: ClientHello, psks: Sequence[Psk], transcript: Transcript) -> bytes:
    """The encoded ClientHello with its binders, each of which covers all that stands before them."""
    encoded = hello.encode()
    if not psks or hello.extensions.pre_shared_key is None:
        return encoded
    size = binders_size(hello.extensions.pre_shared_key)
    before = encoded[:-size]
    binders = b"".join(
        _prefixed(_early(psk.hash, psk.secret).binder(psk.label, transcript.hash_with(psk.hash, before)))
        for psk in psks
    )
    return before + len(binders).to_bytes(2) + binders


def binders_size(offered: OfferedPsks) -> int:
    """Length of the binders at the end of a ClientHello, with their own length in front, in bytes."""
    return 2 + sum(1 + len(binder) for binder in offered.binders)


def _prefixed(binder: bytes) -> bytes:
    return bytes([len(binder)]) + binder


def _early(hash_: Hash, secret: Secret) -> Early:
    """Which suite it is does not matter to a binder, but for its hash."""
    suite = next(suite for suite in SUITES.values() if suite.version is TLSVersion.TLS_1_3 and suite.hash is hash_)
    return Early.start(suite, secret)


# --- the server's side ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """A key that the client named and that we have, and the suite to use it with."""

    identity: bytes
    source: Session | ExternalPsk
    suite: Suite


@dataclass(frozen=True, slots=True)
class Accepted:
    """The key that a server resumes with, or knew beforehand."""

    index: int
    """Its place in the client's list."""
    early: Early = field(repr=False)
    source: Session | ExternalPsk

    @property
    def session(self) -> Session | None:
        """The session it is of; None for a key known beforehand."""
        return self.source if isinstance(self.source, Session) else None


def check_psks(extensions: ClientHelloExtensions) -> None:
    """The form of pre_shared_key, RFC 8446 §4.2.9 and §4.2.11, whether or not one is used. Raises PeerFault."""
    offered = extensions.pre_shared_key
    if offered is None:
        return
    require(extensions.order[-1] is ExtensionType.PRE_SHARED_KEY, rules.PSK_NOT_LAST)
    require(extensions.psk_key_exchange_modes is not None, rules.PSK_WITHOUT_MODES)
    require(len(offered.identities) == len(offered.binders), rules.PSK_BINDER_COUNT)


def choose_mode(config: ServerConfig, hello: ClientHello) -> PskKeyExchangeMode | None:
    """With a key agreement beside the key wherever the client can; None where its keys are of no use."""
    modes = hello.extensions.psk_key_exchange_modes or ()
    if hello.extensions.pre_shared_key is None:
        return None
    if PskKeyExchangeMode.PSK_DHE_KE in modes:
        return PskKeyExchangeMode.PSK_DHE_KE
    alone = PskKeyExchangeMode.PSK_KE in modes and config.danger.psk_alone
    return PskKeyExchangeMode.PSK_KE if alone else None


def accept_psk(peer: Peer, hello: ClientHello, found: Found) -> Accepted:
    """Go on with a key that was found, by the first hello or by the second. Its binder has to be right. Raises
    PeerFault.
    """
    offered, source, suite = hello.extensions.pre_shared_key, found.source, found.suite
    named = [] if offered is None else [psk.identity for psk in offered.identities]
    # a client may only drop keys that are of no use with the suite we chose (RFC 8446 §4.1.2)
    if offered is None or found.identity not in named:
        rules.fail(rules.SECOND_HELLO_PSKS)
    index = named.index(found.identity)
    secret, label = (
        (source.secret, RESUMPTION) if isinstance(source, Session) else (source.secret_for(suite.hash), source.label)
    )
    early = Early.start(suite, secret)
    covered = peer.transcript.hash_without(suite.hash, binders_size(offered))
    require(same(early.binder(label, covered), offered.binders[index]), rules.PSK_BINDER)
    return Accepted(index, early, source)


async def find_psk(
    peer: Peer, config: ServerConfig, hello: ClientHello, name: str | None, suite: Suite, protocol: str | None
) -> Found | None:
    """The first of the client's keys that we know and that fits the suite we prefer. Where there is none, a key known
    beforehand may bring a suite of its own hash along (RFC 8446 §4.2.11): it may be all that the two have in common.
    """
    offered = hello.extensions.pre_shared_key
    if offered is None:
        return None
    other = of_another_hash(config, hello, suite) if config.knows_psks else None
    suites = [suite] if other is None else [suite, other]
    now, declined, spare = config.clock(), UNKNOWN, None
    for psk in offered.identities[: config.limits.psk_identities]:
        found = await _known(peer, config, psk.identity, suites)
        if found is None:
            session = await recall(peer, config, psk.identity, now)
            if session is None:
                continue
            against = against_accepting(session, config, hello, TLSVersion.TLS_1_3, name, protocol, now)
            if not against and SUITES[session.suite].hash is not suite.hash:
                against = f"the session's cipher suite {session.suite} has another hash than {suite.code}"
            if against:
                declined = against
                continue
            found = Found(psk.identity, session, suite)
        if found.suite is suite:
            return found
        spare = spare or found
    if spare is None:
        decline(peer, declined)
    return spare


async def _known(peer: Peer, config: ServerConfig, identity: bytes, suites: Sequence[Suite]) -> Found | None:
    """A key known beforehand, with the first of the suites that it is for."""
    source, candidates = config.psk_source, config.listed_psks
    if source is not None:
        external = await peer.ask(FindPsk(source, lambda: source.find(identity), (ExternalPsk, NoneType)))
        if external is not None and external.role is not PskRole.SERVER:
            raise CallbackError("FindPsk gave a key of the other role: with it our own hello could be sent back to us")
        candidates = () if external is None else (external,)
    fitting = ((psk, suite) for suite in suites for psk in candidates if psk.identity_for(suite.hash) == identity)
    return next((Found(identity, psk, suite) for psk, suite in fitting), None)
