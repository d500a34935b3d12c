"""The little DER that is read here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handclasp.identity.der import SEQUENCE, Element, names_and_key, pss_hash, read, serial_number, write

SHA256 = bytes.fromhex("0609608648016503040201")
SHA512 = bytes.fromhex("0609608648016503040203")
SHA1 = bytes.fromhex("06052b0e03021a")
MGF1 = bytes.fromhex("06092a864886f70d010108")
PSS = bytes.fromhex("06092a864886f70d01010a")


@given(st.binary(max_size=70_000), st.integers(0, 255))
def test_what_is_written_is_read(content: bytes, tag: int) -> None:
    raw = write(tag, content)
    assert read(raw + b"more") == Element(tag, content, raw)
    assert read(b"before" + raw, 6).content == content


@pytest.mark.parametrize("data", ["", "30", "3001", "3080", "3081", "30850000000001", "30820100", "308401"])
def test_what_cannot_be_read(data: str) -> None:
    with pytest.raises(ValueError, match="DER"):
        read(bytes.fromhex(data))


@given(st.binary(max_size=100))
def test_any_bytes_are_elements_or_a_value_error(data: bytes) -> None:
    for parse in (lambda: read(data).children(), lambda: serial_number(data), lambda: names_and_key(data)):
        try:
            parse()
        except ValueError:
            continue


def test_children_are_bounded() -> None:
    assert len(read(write(SEQUENCE, b"\x05\x00" * 5000)).children()) == 10


@pytest.mark.parametrize(("octets", "value"), [("00", 0), ("7f", 127), ("ff", -1), ("0080", 128)])
def test_serial_numbers_have_a_sign(octets: str, value: int) -> None:
    content = write(0x02, bytes.fromhex(octets))
    assert serial_number(write(SEQUENCE, write(SEQUENCE, content))) == value
    version = write(0xA0, write(0x02, b"\x02"))
    assert serial_number(write(SEQUENCE, write(SEQUENCE, version + content))) == value


def parameters(hash_: bytes = SHA256, mask: bytes = SHA256, salt: int | None = 32, function: bytes = MGF1) -> Element:
    """An id-RSASSA-PSS key field with these parameters."""
    fields = write(0xA0, write(SEQUENCE, hash_ + b"\x05\x00"))
    fields += write(0xA1, write(SEQUENCE, function + write(SEQUENCE, mask + b"\x05\x00")))
    if salt is not None:
        fields += write(0xA2, write(0x02, bytes([salt])))
    return field(write(SEQUENCE, fields))


def field(rest: bytes) -> Element:
    return read(write(SEQUENCE, write(SEQUENCE, PSS + rest) + write(0x03, b"\0")))


@pytest.mark.parametrize(
    ("key", "hash_"),
    [
        (field(b""), None),
        (field(b"\x05\x00"), None),
        (field(write(SEQUENCE, b"")), "unusable"),
        (field(write(SEQUENCE, write(0xA0, write(SEQUENCE, SHA256)))), "unusable"),
        (parameters(), "sha256"),
        (parameters(SHA512, SHA512, 64), "sha512"),
        (parameters(salt=20), "sha256"),
        (parameters(salt=None), "sha256"),
        (parameters(salt=33), "unusable"),
        (parameters(SHA1, SHA1, 20), "unusable"),
        (parameters(SHA256, SHA512), "unusable"),
        (parameters(function=PSS), "unusable"),
        (
            field(write(SEQUENCE, write(0xA0, write(SEQUENCE, SHA256)) + write(0xA1, write(SEQUENCE, MGF1)))),
            "unusable",
        ),
    ],
)
def test_the_hash_a_pss_key_allows(key: Element, hash_: str | None) -> None:
    assert pss_hash(key) == hash_
