"""What is seen of the other side's messages on the way."""

from __future__ import annotations

from handclasp.trace import Direction, Epoch, MessageMoved, TraceEvent
from handclasp.wire.messages import HEADER_SIZE, CertificateRequest, ClientHello
from handclasp.wire.messages12 import CertificateRequest12
from handclasp.wire.names import ContentType, HandshakeType

from .configuration import authorities
from .options import Options, equal


class Witness:
    """A trace that remembers what a server asked its client for."""

    def __init__(self) -> None:
        self._seen: MessageMoved | None = None

    def __call__(self, event: TraceEvent) -> None:
        if not isinstance(event, MessageMoved) or event.direction is not Direction.RECEIVED:
            return
        if event.type is ContentType.HANDSHAKE and event.message[0] == HandshakeType.CERTIFICATE_REQUEST:
            self._seen = event

    def _request(self) -> CertificateRequest | CertificateRequest12 | None:
        if self._seen is None:
            return None
        body, older = self._seen.message[HEADER_SIZE:], self._seen.epoch is Epoch.CLEAR
        return CertificateRequest12.parse(body) if older else CertificateRequest.parse(body)

    def check(self, options: Options, hello: ClientHello | None) -> None:
        """Raises Unmet."""
        request = self._request()
        asked = request.extensions if isinstance(request, CertificateRequest) else request
        if "-expect-peer-verify-pref" in options:
            seen = hello.extensions if hello is not None else asked
            schemes = None if seen is None else seen.signature_algorithms
            equal("schemes", list(schemes or ()), options.numbers("-expect-peer-verify-pref"))
        if "-expect-client-ca-list" in options:
            named = None if asked is None else asked.certificate_authorities
            equal("authorities", named or (), authorities(options.text("-expect-client-ca-list")))
        if "-expect-certificate-types" in options:
            types = bytes(request.certificate_types) if isinstance(request, CertificateRequest12) else b""
            equal("types", types, options.decoded("-expect-certificate-types"))
