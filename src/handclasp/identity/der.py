"""Writing the little DER that the certificate library has no call for. Reading is always the library's."""

from __future__ import annotations

from typing import Final

import cryptography.x509 as pyca

from ..rules import printable

SEQUENCE: Final = 0x30
BIT_STRING: Final = 0x03


def element(tag: int, content: bytes) -> bytes:
    """One element around content of any length (X.690 §8.1), with the shortest length."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content


def distinguished_name(name: bytes) -> str:
    """A name in DER, as certificate_authorities lists them (RFC 8446 §4.2.4), in the form of RFC 4514.

    The library reads names only inside larger things, so it is given one: a certificate request with a key and a
    signature of zeros. The name's own bytes in hex where it cannot be read; bounded either way.
    """
    info = element(SEQUENCE, _VERSION_0 + name + _KEY_OF_ZEROS + _NO_ATTRIBUTES)
    request = element(SEQUENCE, info + _ED25519 + element(BIT_STRING, bytes(65)))
    try:
        return printable(pyca.load_der_x509_csr(request).subject.rfc4514_string())
    except Exception:
        return printable(name[:32].hex())


_VERSION_0: Final = bytes.fromhex("020100")
_ED25519: Final = bytes.fromhex("300506032b6570")
_KEY_OF_ZEROS: Final = element(SEQUENCE, _ED25519 + element(BIT_STRING, bytes(33)))
_NO_ATTRIBUTES: Final = bytes.fromhex("a000")
