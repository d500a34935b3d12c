"""The little DER we write, read back by the library."""

from __future__ import annotations

import cryptography.x509 as pyca
import pytest

from handclasp.identity.der import SEQUENCE, distinguished_name, element


@pytest.mark.parametrize(
    ("size", "header"), [(0, "3000"), (127, "307f"), (128, "308180"), (256, "30820100"), (65536, "3083010000")]
)
def test_lengths_are_the_shortest(size: int, header: str) -> None:
    assert element(SEQUENCE, bytes(size)) == bytes.fromhex(header) + bytes(size)


def test_names_of_authorities_in_words() -> None:
    parts = ((pyca.NameOID.COUNTRY_NAME, "DE"), (pyca.NameOID.COMMON_NAME, "Staff CA\nÄ"))
    name = pyca.Name([pyca.NameAttribute(oid, value) for oid, value in parts])
    assert distinguished_name(name.public_bytes()) == "CN=Staff CA\\x0aÄ,C=DE"


@pytest.mark.parametrize("junk", [b"", b"\x30", b"\x30\x05abc", b"\xff" * 5000, b"\x30\x80" + bytes(200)])
def test_what_is_no_name_is_shown_in_hex(junk: bytes) -> None:
    shown = distinguished_name(junk)
    assert shown == junk[:32].hex()
