"""A client's certificate after the handshake, when the server asks for it: RFC 8446 §4.6.2, both roles."""

from __future__ import annotations

from dataclasses import dataclass, field

from .. import rules
from ..channel.schedule import TrafficSecret
from ..config import ClientAuth, ClientConfig, Config, ServerConfig
from ..identity.trust import VerifiedPeer
from ..rules import require
from ..trace import Subject
from ..wire.messages import Certificate, CertificateRequest, CertificateVerify, Finished
from ..wire.names import TLSVersion
from .authenticate import admit, check_signed, present
from .client13 import certificate_message, choose_answer
from .notices import ClientAuthenticated
from .proofs import CLIENT_CONTEXT, Identity, check_finished, signed_content
from .questions import Sign
from .script import Peer
from .server13 import certificate_request, staples_of

CONTEXT_SIZE = 32
"""Length of what tells one request from another, in bytes. It is drawn by chance: no answer can be made ahead of it."""


# --- the client's side ------------------------------------------------------------------------------------------------


async def show_certificate(peer: Peer, config: Config | None, request: CertificateRequest, number: int) -> None:
    """Answer a request, the so-many-th of this connection, with a certificate or with none. Raises PeerFault.

    All of the answer is made before any of it is sent: nothing may come between, whatever the application does while
    somebody chooses and signs.
    """
    if not isinstance(config, ClientConfig):
        raise TypeError("a client answers")
    most = config.limits.certificate_requests
    require(number <= most, rules.TOO_MANY_POST_HANDSHAKE, f"{number} requests for a certificate")
    transcript = peer.transcript.branch()
    transcript.add(peer.received)
    name = peer.value(Subject.SERVER_NAME)
    answer = await choose_answer(peer, config, request, None if name is None else str(name))
    certificate = Certificate(request.certificate_request_context, ())
    if answer is not None:
        context = request.certificate_request_context
        certificate = await certificate_message(peer, answer, request.extensions, context)
    messages = [certificate.encode()]
    transcript.add(messages[0])
    if answer is not None:
        content = signed_content(CLIENT_CONTEXT, transcript.hash())
        signature = await peer.ask(Sign(answer.credential, answer.scheme, content))
        messages.append(CertificateVerify(answer.scheme, signature).encode())
        transcript.add(messages[1])
    secret = peer.write_secret
    if secret is None or peer.closed:
        return  # we have said goodbye: nothing may follow
    messages.append(Finished(secret.finished(transcript.hash())).encode())
    for message in messages:
        peer.send_encoded(message)


# --- the server's side ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """What a client is being asked."""

    config: ServerConfig = field(repr=False)
    auth: ClientAuth
    context: bytes
    message: bytes = field(repr=False)


def request_certificate(peer: Peer, config: Config | None, auth: ClientAuth) -> Request:
    """Ask for a certificate; the answer comes when it comes."""
    if not isinstance(config, ServerConfig):
        raise TypeError("a server asks")
    context = config.entropy.random(CONTEXT_SIZE)
    message = certificate_request(config, auth, context)
    peer.send(message)
    return Request(config, auth, context, message.encode())


async def accept_certificate(
    peer: Peer, request: Request | None, message: Certificate, read_secret: TrafficSecret
) -> None:
    """The client's answer. Nothing is made known of it before all of it is here and fits. Raises PeerFault."""
    if request is None:
        raise TypeError("nobody was asked")
    require(message.certificate_request_context == request.context, rules.CERTIFICATE_CONTEXT)
    # a branch of our own: what we say meanwhile, such as a KeyUpdate, is no part of it
    transcript = peer.transcript.branch()
    transcript.add(request.message)
    transcript.add(peer.received)
    signed, verify = transcript.hash(), None
    if message.certificate_list:
        verify = await peer.receive(CertificateVerify)
        transcript.add(peer.received)
    covered = transcript.hash()
    check_finished(await peer.receive(Finished), read_secret.finished(covered), covered)
    staples = staples_of(request.auth, message)
    if verify is None:
        require(not request.auth.required, rules.CERTIFICATE_REQUIRED)
        peer.tell(ClientAuthenticated(()))
        return
    config, known, before = request.config, peer.chain, peer.notes.get(Subject.PEER)
    leaf = present(peer, config, [entry.cert_data for entry in message.certificate_list])
    content, ours = signed_content(CLIENT_CONTEXT, signed), tuple(config.signature_schemes)
    possession = check_signed(leaf, verify.algorithm, verify.signature, content, ours, TLSVersion.TLS_1_3)
    identity, _ = await admit(peer, config, request.auth, possession, staples)
    if isinstance(identity, Identity):
        why = f"what the client's {leaf.key_description} key can do"
        peer.note(Subject.CLIENT_SIGNATURE_SCHEME, verify.algorithm, why)
        peer.tell(ClientAuthenticated(identity.peer.chain))
        return
    if before is not None and isinstance(before.value, VerifiedPeer):
        peer.chain = known
        peer.note(Subject.PEER, before.value, before.why)
    peer.tell(ClientAuthenticated(()))
