"""What a server learns of its clients: what one offered, and why one did not get in."""

from __future__ import annotations

import re
from typing import Any

from ..alerts import Alert
from ..codes import is_grease
from ..crypto.groups import POST_QUANTUM
from ..errors import AlertReceived, HandshakeTimeout, NegotiationError, PeerNotTLS, TLSError, TruncatedError
from ..events import ConnectionInfo
from ..trace import Direction, MessageMoved, TraceEvent
from ..wire.messages import ClientHello
from ..wire.names import ContentType
from .recording import message
from .story import real


class FirstHello:
    """A trace that keeps the first ClientHello and nothing else."""

    __slots__ = ("encoded",)

    def __init__(self) -> None:
        self.encoded = b""

    def __call__(self, event: TraceEvent) -> None:
        if not self.encoded and isinstance(event, MessageMoved) and event.direction is Direction.RECEIVED:
            self.encoded = event.message if event.type is ContentType.HANDSHAKE else b""


def echo(info: ConnectionInfo, first: FirstHello) -> dict[str, Any]:
    """What this client offered, and what was made of it: for JSON."""
    return {
        "version": _text(info.version),
        "suite": _text(info.cipher_suite),
        "group": _text(info.group),
        "post_quantum": info.group in POST_QUANTUM,
        "signature": _text(info.signature_scheme),
        "alpn": info.alpn,
        "server_name": info.server_name,
        "resumed": info.resumed,
        "hello_retry": info.hello_retry,
        "client_certificate": info.peer_certificates[0].subject if info.peer_certificates else None,
        "why": {chosen.subject.value: chosen.why for chosen in info.choices},
        "offered": _offered(first.encoded),
    }


def failure(error: TLSError | OSError) -> str:
    """Why a client did not get in, or did not stay: one line."""
    match error:
        case AlertReceived(alert=alert) if alert in _DISTRUST:
            return f"client does not trust our CA (alert {alert})"
        case AlertReceived(alert=alert):
            return f"client ended the connection (alert {alert})"
        case HandshakeTimeout():
            return "client did not finish its handshake in time"
        case TruncatedError():
            return "client left without a goodbye"
        case PeerNotTLS():
            return "what was sent here is not TLS"
        case NegotiationError(code="no-supported-version"):
            return f"client is too old: it offers {', '.join(error.theirs) or 'nothing we know'}"
        case TLSError():
            return f"handshake refused: {_bare(error)}"
        case TimeoutError():
            return "client sent nothing for too long"
        case _:
            return "client left in the middle"


def _offered(encoded: bytes) -> dict[str, Any] | None:
    hello = message(encoded) if encoded else None
    if not isinstance(hello, ClientHello):
        return None
    extensions = hello.extensions
    return {
        "client_hello_bytes": len(encoded),
        "versions": real(extensions.supported_versions or (hello.legacy_version,)),
        "suites": real(hello.cipher_suites),
        "groups": real(extensions.supported_groups),
        "key_shares": real(tuple(entry.group for entry in extensions.key_share or ())),
        "signature_schemes": real(extensions.signature_algorithms),
        "alpn": [name.decode("latin-1") for name in extensions.alpn or ()],
        "extensions": real(extensions.order),
        "grease": any(is_grease(type_) for type_ in extensions.order),
    }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _bare(error: TLSError) -> str:
    return re.sub(r" \[RFC [^\]]*\]$", "", str(error))


_DISTRUST = frozenset((Alert.UNKNOWN_CA, Alert.BAD_CERTIFICATE, Alert.CERTIFICATE_UNKNOWN))
