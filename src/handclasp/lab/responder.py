"""A lab CA's own servers, on loopback: an OCSP responder and a place for its revocation list, wrong on demand.

with StatusServer(ca) as status:
    credential = ca.issue("localhost", ocsp_url=status.ocsp_url, crl_url=status.crl_url)
    ca.revoke(credential.leaf)
"""

from __future__ import annotations

import base64
import threading
from datetime import UTC, datetime, timedelta
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final, Self
from urllib.parse import unquote

import cryptography.x509 as pyca
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..crypto.keys import generate
from ..crypto.signatures import KeyKind
from .ca import CertificateAuthority
from .statements import CertId, ListOptions, ResponseOptions, Speaker, make_response, refusal


class Fault(Enum):
    """What is wrong with an answer."""

    WRONG_SIGNER = "wrong signer"
    """Signed by another CA of the same name."""
    STALE = "stale"
    """Its time is over."""
    FUTURE = "future"
    """Its time has not come."""
    UNAUTHORIZED_DELEGATE = "unauthorized delegate"
    """Signed by a certificate of the CA's that is not for signing OCSP; a list is not, and is right."""
    WRONG_SUBJECT = "wrong subject"
    """About another certificate; of lists: another part of the CA's certificates."""
    WRONG_NONCE = "wrong nonce"
    UNKNOWN = "unknown"
    """The responder says that it does not know the certificate."""
    TRY_LATER = "try later"
    GARBAGE = "garbage"
    EMPTY = "empty"
    OVERSIZED = "oversized"
    """Endless."""
    SLOW = "slow"
    """Nothing, until the server is closed."""
    NOT_FOUND = "not found"
    ELSEWHERE = "elsewhere"
    """A redirect to something that is not http."""


class StatusServer:
    """Answers for one CA as long as its context lasts. Set `fault` to have it answer wrongly."""

    def __init__(self, ca: CertificateAuthority) -> None:
        self.ca = ca
        self.fault: Fault | None = None
        self.delegate: Speaker | None = None
        """Who signs OCSP responses in the CA's place."""
        self.asked: list[str] = []
        """What was asked, in order: `ocsp` or `crl`."""
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def ocsp_url(self) -> str:
        return f"{self.url}/ocsp"

    @property
    def crl_url(self) -> str:
        return f"{self.url}/ca.crl"

    def close(self) -> None:
        """Stop answering. Nobody listens at its URLs any more, and whoever was being answered has been."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def response(self, request: bytes) -> bytes:
        """The OCSP response to a request, both DER."""
        self.asked.append("ocsp")
        asked = ocsp.load_der_ocsp_request(request)
        nonces = [
            extension.value.nonce for extension in asked.extensions if isinstance(extension.value, pyca.OCSPNonce)
        ]
        options: ResponseOptions = {"nonce": nonces[0]} if nonces else {}
        name = CertId.of(asked)
        if self.delegate is not None:
            options["speaker"] = self.delegate
        match self.fault:
            case Fault.WRONG_SIGNER:
                options["speaker"] = _impostor(self.ca)
            case Fault.UNAUTHORIZED_DELEGATE:
                options["speaker"] = delegate(self.ca, ExtendedKeyUsageOID.SERVER_AUTH.dotted_string)
            case Fault.STALE:
                options["at"] = datetime.now(UTC) - timedelta(days=3)
            case Fault.FUTURE:
                options["at"] = datetime.now(UTC) + timedelta(days=3)
            case Fault.WRONG_SUBJECT:
                name = CertId(name.algorithm, name.issuer_name_hash, name.issuer_key_hash, name.serial + 1)
            case Fault.WRONG_NONCE:
                options["nonce"] = bytes(32)
            case Fault.UNKNOWN:
                options["status"] = "unknown"
            case Fault.TRY_LATER:
                return refusal(ocsp.OCSPResponseStatus.TRY_LATER)
        return make_response(name, self.ca.revoked, self.ca.speaker, datetime.now(UTC), options)

    def list(self) -> bytes:
        """The revocation list, DER."""
        self.asked.append("crl")
        options: ListOptions = {}
        match self.fault:
            case Fault.WRONG_SIGNER:
                options["speaker"] = _impostor(self.ca)
            case Fault.STALE:
                options["at"] = datetime.now(UTC) - timedelta(days=3)
            case Fault.FUTURE:
                options["at"] = datetime.now(UTC) + timedelta(days=3)
            case Fault.WRONG_SUBJECT:
                options["extensions"] = [(_OTHER_PART, True)]
        return self.ca.crl(**options)

    def answer(self, handler: BaseHTTPRequestHandler, request: bytes | None) -> None:
        """Answer one HTTP request."""
        match self.fault:
            case Fault.SLOW:
                self._closing.wait()
                handler.close_connection = True
            case Fault.NOT_FOUND:
                handler.send_error(404)
            case Fault.ELSEWHERE:
                handler.send_response(302)
                handler.send_header("Location", "file:///etc/hostname")
                handler.end_headers()
            case Fault.OVERSIZED:
                handler.send_response(200)
                handler.end_headers()
                while not self._closing.is_set():
                    handler.wfile.write(bytes(65536))
            case Fault.GARBAGE | Fault.EMPTY:
                _send(handler, b"<html>captive portal</html>" if self.fault is Fault.GARBAGE else b"")
            case _:
                _send(handler, self.list() if request is None else self.response(request))


def delegate(ca: CertificateAuthority, *purposes: str) -> Speaker:
    """Someone the CA lets sign OCSP responses; with other `purposes`, someone it does not."""
    key = generate(KeyKind.P256)
    allowed = purposes or (ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string,)
    credential = ca.issue(key=key, eku=allowed, common_name="OCSP delegate", extensions=[(pyca.OCSPNoCheck(), False)])
    return Speaker(credential.leaf, key)


def _impostor(ca: CertificateAuthority) -> Speaker:
    names = ca.certificate.x509.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return CertificateAuthority(str(names[0].value)).speaker


def _send(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    """Its end waits for the answers under way; none takes longer than the handler's timeout."""


def _handler(status: StatusServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """POST /ocsp, GET /ocsp/base64 (RFC 6960 §A.1), GET /ca.crl."""

        timeout: ClassVar[float] = 10.0

        def do_GET(self) -> None:
            place = unquote(self.path)
            self._answer(base64.b64decode(place[6:]) if place.startswith("/ocsp/") else None)

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            self._answer(self.rfile.read(min(size, 65536)))

        def _answer(self, request: bytes | None) -> None:
            try:
                status.answer(self, request)
            except OSError:
                self.close_connection = True  # who asked has heard enough

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


_OTHER_PART: Final = pyca.IssuingDistributionPoint(
    full_name=[pyca.UniformResourceIdentifier("http://other.test/part.crl")],
    relative_name=None,
    only_contains_user_certs=False,
    only_contains_ca_certs=False,
    only_some_reasons=None,
    indirect_crl=False,
    only_contains_attribute_certs=False,
)
