"""What an ASGI server tells its application of a TLS connection: the `tls` extension of a scope.

scope["extensions"]["tls"] = tls_extension(conn.info)
"""

from __future__ import annotations

from typing import TypedDict

from .events import ConnectionInfo


class TLSExtension(TypedDict):
    """The extension's fields, version 0.2 of its specification."""

    server_cert: str | None
    """The server's certificate, PEM; None after a resumption, which shows none."""
    client_cert_chain: list[str]
    """What the client showed, PEM, leaf first; empty when it showed none."""
    client_cert_name: str | None
    """The subject of the client's certificate (RFC 4514), printable and whole. It proves nothing where there is a
    `client_cert_error`."""
    client_cert_error: str | None
    """Why the client's certificate was not accepted: only where `ClientAuth.unverified` lets the connection go on."""
    tls_version: int | None
    """As TLS writes it: 0x0304 for TLS 1.3."""
    cipher_suite: int | None
    """As TLS writes it: 0x1301 for TLS_AES_128_GCM_SHA256."""


def tls_extension(info: ConnectionInfo) -> TLSExtension:
    """The `tls` extension for a server's connection. A new dictionary each time.

    An application has to look at `client_cert_error` before it believes `client_cert_name`: that is the
    specification's, and nothing to look at unless the server was configured to go on with unverified clients.
    """
    error = info.client_error
    chain = info.peer_certificates if error is None else error.peer_chain
    return {
        "server_cert": info.certificate.pem().decode() if info.certificate is not None else None,
        "client_cert_chain": [certificate.pem().decode() for certificate in chain],
        # not Certificate.subject, which is cut short where it is long
        "client_cert_name": _on_one_line(chain[0].x509.subject.rfc4514_string()) if chain else None,
        "client_cert_error": None if error is None else str(error) or error.code,
        "tls_version": None if info.version is None else int(info.version),
        "cipher_suite": None if info.cipher_suite is None else int(info.cipher_suite),
    }


def _on_one_line(name: str) -> str:
    """The same name, with what cannot be printed as hexadecimal pairs (RFC 4514 §2.4): it may end up in a log."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else "".join(f"\\{byte:02X}" for byte in c.encode()) for c in name)
