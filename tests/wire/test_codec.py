"""The seven words, each at its bounds and one past them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from handclasp.rules import (
    EXTENSION_DUPLICATE,
    EXTENSION_MISPLACED,
    EXTENSION_UNKNOWN_DUPLICATE,
    SHORT,
    TRAILING,
    VECTOR_BOUNDS,
    PeerFault,
    Rule,
)
from handclasp.wire.blocks import ExtensionBlock, RawExtension, block, extension, extensions
from handclasp.wire.codec import Codec, code, decode, encode, opaque, optional, remainder, struct, uint, vector
from handclasp.wire.names import ExtensionType, HandshakeType, NamedGroup


@dataclass(frozen=True, slots=True)
class Inner:
    number: Annotated[int, uint(2)]
    text: Annotated[bytes, opaque(1, 4)]


@dataclass(frozen=True, slots=True)
class Outer:
    first: Annotated[int, uint(1)]
    inner: Annotated[Inner, struct(Inner)]
    last: Annotated[int | None, optional(uint(1))] = None


@block
class Block(ExtensionBlock):
    group: Annotated[NamedGroup | None, extension(ExtensionType.KEY_SHARE, code(NamedGroup))] = None
    cookie: Annotated[bytes | None, extension(ExtensionType.COOKIE, opaque(1, 9))] = None
    psk: Annotated[int | None, extension(ExtensionType.PRE_SHARED_KEY, uint(2))] = None
    unknown: tuple[RawExtension, ...] = ()
    order: tuple[ExtensionType, ...] = ()


GOOD: list[tuple[Codec[Any], Any, str]] = [
    (uint(1), 0, "00"),
    (uint(3), 0x010203, "010203"),
    (uint(4), 0xFFFFFFFF, "ffffffff"),
    (code(NamedGroup), NamedGroup.X25519, "001d"),
    (code(NamedGroup), NamedGroup(0x0A0A), "0a0a"),
    (code(HandshakeType), HandshakeType(255), "ff"),
    (opaque(3), b"abc", "616263"),
    (opaque(0, 255), b"", "00"),
    (opaque(0, 255), b"a", "0161"),
    (opaque(0, 256), b"a", "000161"),
    (opaque(0, 65536), b"a", "00000161"),
    (remainder(), b"", ""),
    (remainder(1, 2), b"ab", "6162"),
    (vector(uint(1), 0, 255), (), "00"),
    (vector(uint(1), 0, 255), (1, 2), "020102"),
    (vector(code(NamedGroup), 2, 65535), (NamedGroup.X25519, NamedGroup(1)), "0004001d0001"),
    (vector(code(HandshakeType), 1, 255), (HandshakeType.HELLO_REQUEST, HandshakeType(99)), "020063"),
    (vector(opaque(1, 255), 2, 65535), (b"a", b"bc"), "00050161026263"),
    (vector(struct(Inner), 0, 255), (Inner(1, b"x"), Inner(2, b"yz")), "09" + "00010178" + "000202797a"),
    (struct(Outer), Outer(7, Inner(1, b"x")), "0700010178"),
    (struct(Outer), Outer(7, Inner(1, b"x"), 9), "070001017809"),
    (extensions(Block), Block(), "0000"),
    (extensions(Block), Block(group=NamedGroup.X25519), "0006" + "00330002001d"),
    (extensions(Block), Block(psk=1, cookie=b"c"), "000c" + "002c00020163" + "002900020001"),
    (extensions(Block), Block(unknown=((ExtensionType(0x0A0A), b"?"),)), "0005" + "0a0a00013f"),
]


@pytest.mark.parametrize(("codec", "value", "expected"), GOOD)
def test_both_ways(codec: Codec[Any], value: Any, expected: str) -> None:
    assert encode(codec, value).hex() == expected
    assert decode(codec, bytes.fromhex(expected)) == value


BAD: list[tuple[Codec[Any], str, Rule]] = [
    (uint(2), "00", SHORT),
    (uint(2), "000000", TRAILING),
    (code(NamedGroup), "00", SHORT),
    (opaque(3), "6162", SHORT),
    (opaque(3), "61626364", TRAILING),
    (opaque(0, 255), "", SHORT),
    (opaque(0, 255), "0261", SHORT),
    (opaque(0, 255), "016161", TRAILING),
    (opaque(2, 4), "0161", VECTOR_BOUNDS),
    (opaque(2, 4), "056161616161", VECTOR_BOUNDS),
    (opaque(0, 256), "00", SHORT),
    (remainder(1, 2), "", VECTOR_BOUNDS),
    (remainder(1, 2), "616161", VECTOR_BOUNDS),
    (vector(uint(1), 1, 2), "00", VECTOR_BOUNDS),
    (vector(uint(1), 1, 2), "03010203", VECTOR_BOUNDS),
    (vector(uint(2), 0, 9), "03000100", SHORT),
    (vector(code(NamedGroup), 2, 65535), "0003001d00", SHORT),
    (vector(code(NamedGroup), 2, 65535), "0004001d", SHORT),
    (vector(opaque(1, 255), 2, 65535), "00030261", SHORT),
    (vector(opaque(1, 255), 2, 65535), "0003026161" + "61", TRAILING),
    (struct(Outer), "07000101", SHORT),
    (struct(Outer), "07000101780909", TRAILING),
    (extensions(Block), "00", SHORT),
    (extensions(Block), "0001", SHORT),
    (extensions(Block), "0003" + "003300", SHORT),
    (extensions(Block, 6), "0005" + "0a0a00013f", VECTOR_BOUNDS),
    (extensions(Block), "0006" + "00330003001d", SHORT),
    (extensions(Block), "0007" + "00330003001d00", TRAILING),
    (extensions(Block), "0005" + "0033000100", SHORT),
    (extensions(Block), "000c" + "00330002001d" + "00330002001d", EXTENSION_DUPLICATE),
    (extensions(Block), "0008" + "0a0a0000" + "0a0a0000", EXTENSION_UNKNOWN_DUPLICATE),
    (extensions(Block), "0004" + "00000000", EXTENSION_MISPLACED),
]


@pytest.mark.parametrize(("codec", "data", "rule"), BAD)
def test_refused(codec: Codec[Any], data: str, rule: Rule) -> None:
    with pytest.raises(PeerFault) as caught:
        decode(codec, bytes.fromhex(data))
    assert caught.value.rule is rule


def test_an_item_does_not_reach_behind_its_vector() -> None:
    """The length of the inner `opaque` runs past the vector's end, into bytes that are there but not its own."""
    codec = struct(_Two)
    with pytest.raises(PeerFault) as caught:
        decode(codec, bytes.fromhex("0003" + "036161" + "61"))
    assert caught.value.rule is SHORT
    assert caught.value.detail == "_Two.names"


@dataclass(frozen=True, slots=True)
class _Two:
    names: Annotated[tuple[bytes, ...], vector(opaque(1, 255), 2, 65535)]
    number: Annotated[int, uint(1)]


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (uint(1), 256),
        (uint(1), -1),
        (opaque(3), b"ab"),
        (opaque(1, 2), b""),
        (opaque(1, 2), b"abc"),
        (remainder(0, 2), b"abc"),
        (vector(uint(1), 1, 2), ()),
        (vector(uint(1), 1, 2), (1, 2, 3)),
        (vector(uint(1), 0, 255), (0,) * 256),
        (extensions(Block, 6), Block(unknown=((ExtensionType(0x0A0A), b""),))),
        (extensions(Block), Block(unknown=((ExtensionType(0x0A0A), bytes(65536)),))),
    ],
)
def test_what_does_not_fit_is_not_written(codec: Codec[Any], value: Any) -> None:
    with pytest.raises(ValueError, match=r"belong|fit"):
        encode(codec, value)


def test_a_block_may_be_left_out_where_older_versions_do() -> None:
    assert decode(extensions(Block, may_be_absent=True), b"") == Block()
    with pytest.raises(PeerFault):
        decode(extensions(Block), b"")


def test_the_order_of_a_block_is_kept() -> None:
    data = bytes.fromhex("0010" + "002900020001" + "0a0a0000" + "00330002001d")
    block = decode(extensions(Block), data)
    assert block.order == (ExtensionType.PRE_SHARED_KEY, ExtensionType(0x0A0A), ExtensionType.KEY_SHARE)
    assert encode(extensions(Block), block) == data


@pytest.mark.parametrize(
    "make",
    [
        lambda: Block(psk=1, order=(ExtensionType.COOKIE,)),
        lambda: Block(psk=1, order=(ExtensionType.PRE_SHARED_KEY, ExtensionType.PRE_SHARED_KEY)),
        lambda: Block(order=(ExtensionType.COOKIE,)),
    ],
)
def test_an_order_lists_what_is_there(make: Callable[[], Block]) -> None:
    with pytest.raises(ValueError, match="order"):
        make()


def test_a_struct_needs_a_dataclass() -> None:
    with pytest.raises(TypeError):
        struct(int)


def test_unknown_code_points_keep_their_number_and_are_not_kept() -> None:
    first, second = NamedGroup(0x7777), NamedGroup(0x7777)
    assert first == second == 0x7777
    assert first is not second
    assert not first.known
    assert str(first) == "0x7777"
    assert str(NamedGroup(0x1A1A)) == "GREASE 0x1a1a"
    with pytest.raises(ValueError, match="65536"):
        NamedGroup(65536)
