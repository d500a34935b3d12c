"""PEM text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handclasp.identity.pem import blocks, encode, is_pem


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_what_is_encoded_comes_back(contents: list[bytes]) -> None:
    text = b"some words\n".join(encode("CERTIFICATE", content) for content in contents)
    found = blocks(text)
    assert [block.der for block in found] == contents
    assert is_pem(text) is bool(contents)


def test_lines_are_64_characters_and_labels_are_kept() -> None:
    text = encode("PRIVATE KEY", bytes(100))
    assert max(map(len, text.splitlines())) == 64
    assert text.endswith(b"-----END PRIVATE KEY-----\n")
    assert [block.label for block in blocks(text.replace(b"\n", b"\r\n"))] == ["PRIVATE KEY"]
    assert blocks(text.replace(b"\n", b"\r\n"))[0].der == bytes(100)


def test_a_block_shows_only_its_label() -> None:
    assert repr(blocks(encode("PRIVATE KEY", b"secret"))[0]) == "<PEM PRIVATE KEY>"


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN CERTIFICATE-----\nAAAA\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN CERTIFICATE\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN ",
    ],
)
def test_a_block_without_an_end_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="does not end"):
        blocks(text)


def test_a_block_that_is_not_base64_is_refused() -> None:
    with pytest.raises(ValueError, match="not base64"):
        _ = blocks(b"-----BEGIN X-----\n!!!!\n-----END X-----\n")[0].der


@given(st.binary(max_size=300))
def test_any_bytes_are_blocks_or_a_value_error(data: bytes) -> None:
    try:
        for block in blocks(b"-----BEGIN " + data):
            _ = block.der
    except ValueError:
        pass


def test_der_is_not_pem() -> None:
    assert not is_pem(b"\x30\x03-----")
    assert not is_pem(b"")
    assert is_pem(b"\n -----BEGIN X-----")
    assert is_pem(b"# roots\n-----BEGIN X-----")
