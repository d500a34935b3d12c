"""The little DER that the certificate library keeps to itself: key fields as they stand, PSS parameters, serials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SEQUENCE: Final = 0x30
INTEGER: Final = 0x02
VERSION: Final = 0xA0
"""The explicit [0] in front of a certificate's version, RFC 5280 §4.1; PSS parameters use it for their hash."""


@dataclass(frozen=True, slots=True)
class Element:
    """One tag-length-value: its tag byte, its content, and all of its bytes."""

    tag: int
    content: bytes
    raw: bytes

    def children(self) -> tuple[Element, ...]:
        """The first elements the content is made of, at most ten: no structure read here has more that matter.

        Raises ValueError when the content is not made of elements.
        """
        found: list[Element] = []
        at = 0
        while at < len(self.content) and len(found) < _MOST_CHILDREN:
            found.append(read(self.content, at))
            at += len(found[-1].raw)
        return tuple(found)


def read(data: bytes, at: int = 0) -> Element:
    """The element that begins at `at` (X.690 §8.1, definite lengths, one-byte tags). Raises ValueError otherwise."""
    header = data[at : at + 2]
    if len(header) < 2:
        raise ValueError("DER ends inside an element's header")
    length, start = header[1], at + 2
    if length & 0x80:
        size = length & 0x7F
        octets = data[start : start + size]
        if not 1 <= size <= 4 or len(octets) < size:
            raise ValueError("DER has a length that cannot be read")
        length, start = int.from_bytes(octets, "big"), start + size
    if len(data) < start + length:
        raise ValueError("DER ends inside an element")
    return Element(header[0], data[start : start + length], data[at : start + length])


def write(tag: int, content: bytes) -> bytes:
    """An element of DER, with the shortest length."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def serial_number(certificate: bytes) -> int:
    """serialNumber of a certificate (RFC 5280 §4.1.2.2), whatever its sign. Raises ValueError."""
    element = _tbs_field(read(read(certificate).content), 0, INTEGER)
    return int.from_bytes(element.content, "big", signed=True)


def names_and_key(tbs: bytes) -> tuple[Element, Element, Element]:
    """issuer, subject and subjectPublicKeyInfo of a to-be-signed certificate, as they stand. Raises ValueError."""
    whole = read(tbs)
    return _tbs_field(whole, 2, SEQUENCE), _tbs_field(whole, 4, SEQUENCE), _tbs_field(whole, 5, SEQUENCE)


def _tbs_field(tbs: Element, position: int, tag: int) -> Element:
    """RFC 5280 §4.1: version unless 1, then serialNumber, signature, issuer, validity, subject and the key."""
    fields = tbs.children()
    if fields and fields[0].tag == VERSION:
        fields = fields[1:]
    if len(fields) <= position or fields[position].tag != tag:
        raise ValueError("DER lacks what a certificate has to hold")
    return fields[position]


def pss_hash(key: Element) -> str | None:
    """The one hash an id-RSASSA-PSS key allows (RFC 4055 §3.1): `sha256`, `sha384`, `sha512`, or `unusable`.

    None when the key has no parameters and allows any hash. `unusable` stands for all parameters that no TLS 1.3 scheme
    agrees with (RFC 8446 §4.2.3: hash, MGF1 hash and salt length are those of the scheme). Raises ValueError.
    """
    algorithm = key.children()[0].children()
    if len(algorithm) < 2 or algorithm[1].tag != SEQUENCE:
        return None
    parameters = {element.tag: element.children()[0] for element in algorithm[1].children()}
    if VERSION not in parameters or _MASK not in parameters:
        return "unusable"  # an absent hash means SHA-1
    name = _HASHES.get(parameters[VERSION].children()[0].raw)
    mask = parameters[_MASK].children()
    mask_hash = mask[1].children()[0].raw if len(mask) > 1 else b""
    salt = int.from_bytes(parameters[_SALT].content, "big") if _SALT in parameters else 20
    if name is None or mask[0].raw != _MGF1 or _HASHES.get(mask_hash) != name or salt > _DIGEST[name]:
        return "unusable"
    return name


_MOST_CHILDREN: Final = 10
_MASK: Final = 0xA1
_SALT: Final = 0xA2
_MGF1: Final = bytes.fromhex("06092a864886f70d010108")
_HASHES: Final = {
    bytes.fromhex("0609608648016503040201"): "sha256",
    bytes.fromhex("0609608648016503040202"): "sha384",
    bytes.fromhex("0609608648016503040203"): "sha512",
}
_DIGEST: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
