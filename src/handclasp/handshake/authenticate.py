"""Who is it, and does it own the key? What both roles and both versions do alike with a peer's certificates."""

from __future__ import annotations

from collections.abc import Sequence

from .. import rules
from ..config import ClientAuth, ClientConfig, Config, ServerConfig, UnverifiedClients
from ..crypto import signatures
from ..errors import CallbackError, CertificateError
from ..identity.certificates import Certificate, parse_chain
from ..identity.credentials import Credential, CredentialRequest
from ..identity.names import PeerName
from ..identity.revocation.finding import Evidence
from ..identity.revocation.policy import Mode, Revocation
from ..identity.trust import PresentedChain, Role, Verifier, check_leaf
from ..rules import PeerFault, require
from ..sessions.session import Session
from ..trace import Subject
from ..wire.extensions import CertificateStatus, CertificateStatusRequest, Empty
from ..wire.messages12 import CertificateStatusMessage
from ..wire.names import CertificateStatusType, SignatureScheme, TLSVersion
from .negotiate import Answer, choose_client_credential
from .proofs import Anonymous, Identity, Possession, Proofs
from .questions import CheckRevocation, ChooseCredential, FindStaple, VerifyPeer
from .script import Peer


def present(peer: Peer, config: Config, ders: Sequence[bytes]) -> Certificate:
    """The peer shows a chain: keep it for whoever asks, and give out its leaf. Raises PeerFault."""
    peer.chain = parse_chain(ders, config.limits)
    leaf = peer.chain[0]
    check_leaf(leaf, config.limits)
    return leaf


async def identify_server(
    peer: Peer,
    config: ClientConfig,
    name: PeerName | None,
    staples: Sequence[bytes],
    timestamps: Sequence[bytes] | None = None,
    *,
    proven: bool = True,
) -> Identity:
    """Ask about the chain a server has shown. `staples` are OCSP responses, DER, in the chain's order; `timestamps` are
    those of the leaf.

    `proven`: it has proved that it owns the key.
    """
    now = config.clock()
    given = tuple(staples), tuple(timestamps or ())
    presented = PresentedChain(peer.chain, Role.SERVER, name, now, config.limits, *given, proven)
    return await _identify(peer, presented, config.trust, Revocation.of(config.revocation))


async def server_again(peer: Peer, config: ClientConfig, name: PeerName | None, proofs: Proofs) -> Proofs:
    """A session goes on: what is known of the server, which is asked about again where `config.reverify` says so."""
    possession = proofs[1]
    if not config.reverify or not isinstance(possession, Possession):
        return proofs
    presented = _seen_before(config, name, peer.chain)
    return await _identify(peer, presented, config.trust, Revocation.of(config.revocation)), possession


async def may_send_early(peer: Peer, config: ClientConfig, name: PeerName | None, session: Session) -> bool:
    """Whether early data may go to the server of a session. It has not said a word yet, so nothing is noted of it:
    where it goes on with the session, `server_again` does that, and refuses it.
    """
    if not config.reverify:
        return True
    presented, revocation = _seen_before(config, name, session.verified_chain), Revocation.of(config.revocation)
    try:
        verdict = await peer.ask(VerifyPeer(config.trust, presented))
        if revocation.mode is not Mode.OFF:
            await peer.ask(CheckRevocation(revocation, presented, verdict))
    except CertificateError:
        return False
    return True


def _seen_before(config: ClientConfig, name: PeerName | None, chain: tuple[Certificate, ...]) -> PresentedChain:
    return PresentedChain(chain, Role.SERVER, name, config.clock(), config.limits, proven=False, resumed=True)


async def client_again(peer: Peer, config: ServerConfig, proofs: Proofs) -> Proofs:
    """The same for a server, as its `client_auth` says."""
    auth, possession = config.client_auth, proofs[1]
    if auth is None or not auth.reverify or not isinstance(possession, Possession):
        return proofs
    return await admit(peer, config, auth, possession, resumed=True)


async def _identify(peer: Peer, presented: PresentedChain, verifier: Verifier, revocation: Revocation) -> Identity:
    verdict = await peer.ask(VerifyPeer(verifier, presented))
    peer.note(Subject.PEER, verdict, verdict.why)
    known, why = verdict.revocation, verdict.why
    if revocation.mode is not Mode.OFF:
        checked = await peer.ask(CheckRevocation(revocation, presented, verdict))
        if known is None or checked.evidence is not Evidence.NONE:
            known, why = checked.evidence, checked.why
    if known is not None:
        peer.note(Subject.REVOCATION, known, why)
    return Identity(verdict)


async def admit(
    peer: Peer,
    config: Config,
    auth: ClientAuth,
    possession: Possession,
    staples: Sequence[bytes] = (),
    *,
    resumed: bool = False,
) -> tuple[Identity, Possession] | tuple[Anonymous, Anonymous]:
    """Ask about the chain a client has shown; who is not accepted is refused, or nobody, as `auth` says."""
    presented = PresentedChain(
        peer.chain,
        Role.CLIENT,
        None,
        config.clock(),
        config.limits,
        tuple(staples),
        proven=not resumed,
        resumed=resumed,
    )
    try:
        return await _identify(peer, presented, auth.verify, Revocation.of(auth.revocation)), possession
    except CertificateError as error:
        if auth.unverified is not UnverifiedClients.ANONYMOUS:
            raise
        refusal = error.with_traceback(None)
    refusal.peer_chain, peer.chain = peer.chain, ()
    peer.note(Subject.PEER, refusal, f"not accepted, and so nobody: {refusal}")
    return Anonymous(), Anonymous()


async def choose_shown(
    peer: Peer, config: ClientConfig, ours: Sequence[SignatureScheme], request: CredentialRequest
) -> Answer | None:
    """What a client shows to a server that asks, and what it signs with; None: an empty list."""
    candidates, chosen = config.listed_credentials, None
    if callable(config.credentials):
        chosen = await peer.ask(ChooseCredential(config.credentials, request))
        candidates = () if chosen is None else (chosen,)
    choice = choose_client_credential(candidates, ours, request)
    if choice is None:
        if chosen is not None:
            raise CallbackError("the credential that was chosen cannot sign with what the server accepts")
        if config.must_authenticate and candidates:
            raise PeerFault(rules.NO_FITTING_CREDENTIAL, theirs=request.schemes)
        peer.note(Subject.CLIENT_CREDENTIAL, None, "the server asked for a certificate; none of ours fits")
        return None
    peer.note(Subject.CLIENT_CREDENTIAL, choice.value.credential.leaf, choice.why)
    peer.note(Subject.CLIENT_SIGNATURE_SCHEME, choice.value.scheme, choice.why)
    return choice.value


def read_staple(status: CertificateStatus | CertificateStatusMessage | None) -> bytes:
    """The OCSP response in what the peer stapled to a certificate; empty where it stapled none. Raises PeerFault."""
    if status is None:
        return b""
    require(status.status_type is CertificateStatusType.OCSP, rules.STATUS_TYPE, status.status_type)
    return status.response


async def staple_for(
    peer: Peer, credential: Credential, asked: CertificateStatusRequest | Empty | None
) -> bytes | None:
    """The OCSP response to send with a certificate of ours, where the peer asks for one and we have it."""
    if asked is None or credential.staples is None:
        return None
    if isinstance(asked, CertificateStatusRequest) and asked.status_type is not CertificateStatusType.OCSP:
        return None
    response = await peer.ask(FindStaple(credential.staples))
    why = "the source has none at present" if response is None else "the peer asked for it"
    peer.note(Subject.STAPLE, response is not None, why)
    return response


def check_signed(
    leaf: Certificate,
    scheme: SignatureScheme,
    signature: bytes,
    content: bytes,
    offered: Sequence[SignatureScheme],
    version: TLSVersion,
) -> Possession:
    """The peer's signature over a part of the handshake, RFC 8446 §4.4.3 and RFC 5246 §7.4.8. Raises PeerFault."""
    kind = leaf.key_kind
    require(scheme in offered, rules.SIGNATURE_SCHEME_NOT_OFFERED, scheme)
    require(kind is not None and signatures.fits(scheme, kind, version), rules.SIGNATURE_SCHEME_KEY, scheme)
    good = signatures.verify(leaf.public_key, kind, scheme, signature, content, version)
    require(good, rules.SIGNATURE)
    return Possession(leaf, scheme)
