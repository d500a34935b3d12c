"""Who is it, and does it own the key? What both roles and both versions do alike with a peer's certificates."""

from __future__ import annotations

from collections.abc import Sequence

from .. import rules
from ..config import Config
from ..crypto import signatures
from ..identity.certificates import Certificate, parse_chain
from ..identity.names import PeerName
from ..identity.trust import PresentedChain, Role, Verifier, check_leaf
from ..rules import require
from ..trace import Subject
from ..wire.names import SignatureScheme, TLSVersion
from .proofs import Identity, Possession
from .script import Peer, VerifyPeer


def present(peer: Peer, config: Config, ders: Sequence[bytes]) -> Certificate:
    """The peer shows a chain: keep it for whoever asks, and give out its leaf. Raises PeerFault."""
    peer.chain = parse_chain(ders, config.limits)
    leaf = peer.chain[0]
    check_leaf(leaf, config.limits)
    return leaf


async def identify(peer: Peer, config: Config, verifier: Verifier, role: Role, name: PeerName | None) -> Identity:
    """Ask the verifier about the chain the peer has shown."""
    presented = PresentedChain(peer.chain, role, name, config.clock(), config.limits)
    verdict = await peer.ask(VerifyPeer(verifier, presented))
    peer.note(Subject.PEER, verdict, verdict.why)
    return Identity(verdict)


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
    require(scheme in offered, rules.SIGNATURE_SCHEME_NOT_OFFERED, str(scheme))
    require(kind is not None and signatures.fits(scheme, kind, version), rules.SIGNATURE_SCHEME_KEY, str(scheme))
    good = signatures.verify(leaf.public_key, kind, scheme, signature, content, version)
    require(good, rules.SIGNATURE)
    return Possession(leaf, scheme)
