"""Strategies that follow the declarations of the wire: every value a codec can carry, and nearly right bytes."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from handclasp.wire.blocks import RECOGNISED, Extension, Extensions
from handclasp.wire.codec import Codec, CodePoint, Opaque, Optional, Struct, Uint, Vector, encode
from handclasp.wire.messages import HandshakeMessage
from handclasp.wire.names import ExtensionType

MOST_BYTES = 40
"""Bytes beyond the least that an `opaque` is given, usually."""

MOST_ITEMS = 4


@cache
def values(codec: Codec[Any]) -> st.SearchStrategy[Any]:
    """Every kind of value the codec can write."""
    match codec:
        case Uint(size=size):
            return st.integers(0, (1 << 8 * size) - 1)
        case CodePoint(registry=registry, size=size):
            anything = st.integers(0, (1 << 8 * size) - 1).map(registry)
            return st.sampled_from(list(registry.__members__.values())) | anything
        case Opaque(least=least, most=most):
            usual = st.binary(min_size=least, max_size=min(most, least + MOST_BYTES))
            return usual | st.just(b"\xff" * min(most, 700))
        case Vector():
            return _vectors(codec)
        case Optional(item=item):
            return st.none() | values(item)
        case Struct(cls=cls, parts=parts):
            return st.builds(cls, *[values(part) for _, part in parts])
        case Extension(body=body):
            return values(body)
        case Extensions():
            return _blocks(codec)
    raise TypeError(f"no strategy for {codec}")


def least_size(codec: Codec[Any]) -> int:
    """The fewest bytes a value takes."""
    match codec:
        case Uint(size=size) | CodePoint(size=size):
            return size
        case Opaque(least=least, prefix=prefix):
            return prefix + least
        case Vector(least=least, prefix=prefix):
            return prefix + least
        case Struct(parts=parts):
            return sum(least_size(part) for _, part in parts)
        case Extensions(least=least, may_be_absent=may_be_absent):
            return 0 if may_be_absent else 2 + least
    return 0


def _vectors(codec: Vector[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    fewest = -(-codec.least // max(1, least_size(codec.item)))
    lists = st.lists(values(codec.item), min_size=fewest, max_size=fewest + MOST_ITEMS).map(tuple)

    def fits(value: tuple[Any, ...]) -> bool:
        return codec.least <= sum(len(encode(codec.item, item)) for item in value) <= codec.most

    return lists.filter(fits)


def _unknown(codec: Extensions[Any]) -> st.SearchStrategy[dict[ExtensionType, bytes]]:
    known = RECOGNISED | set(codec.by_type)
    types = st.integers(0, 0xFFFF).map(ExtensionType).filter(lambda type_: type_ not in known)
    return st.dictionaries(types, st.binary(max_size=MOST_BYTES), max_size=2)


@st.composite
def _block(draw: st.DrawFn, codec: Extensions[Any]) -> Any:
    names = dict(codec.by_type.values())
    chosen = draw(st.sets(st.sampled_from(sorted(names)), max_size=5)) if names else set()
    fields = {name: draw(values(names[name])) for name in sorted(chosen)}
    unknown = draw(_unknown(codec))
    present = [names[name].type for name in sorted(chosen)] + list(unknown)
    order = draw(st.permutations(present))
    return codec.cls(**fields, unknown=tuple((t, unknown[t]) for t in order if t in unknown), order=tuple(order))


def _blocks(codec: Extensions[Any]) -> st.SearchStrategy[Any]:
    def fits(block: Any) -> bool:
        try:
            encode(codec, block)
        except ValueError:
            return False
        return True

    return _block(codec).filter(fits)


def messages(cls: type[HandshakeMessage]) -> st.SearchStrategy[HandshakeMessage]:
    """Every message of a kind."""
    return values(cls.codec)


# --- bytes that are nearly right --------------------------------------------------------------------------------------


@st.composite
def _mutation(draw: st.DrawFn, data: bytes) -> bytes:
    at = draw(st.integers(0, max(0, len(data) - 1)))
    size = draw(st.integers(1, 8))
    match draw(st.sampled_from(("flip", "set", "cut", "drop", "repeat", "insert", "swap"))):
        case "flip" if data:
            return data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        case "set" if data:
            return data[:at] + bytes([draw(st.sampled_from((0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)))]) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "drop":
            return data[:at] + data[at + size :]
        case "repeat":
            return data[: at + size] + data[at : at + size] + data[at + size :]
        case "swap":
            return data[:at] + data[at + size : at + 2 * size] + data[at : at + size] + data[at + 2 * size :]
    return data[:at] + draw(st.binary(min_size=1, max_size=8)) + data[at:]


@st.composite
def mutated(draw: st.DrawFn, data: bytes, most: int = 3) -> bytes:
    """The bytes with one to `most` things wrong with them."""
    for _ in range(draw(st.integers(1, most))):
        data = draw(_mutation(data))
    return data


@st.composite
def cut(draw: st.DrawFn, data: bytes, most: int = 12) -> list[bytes]:
    """The bytes in pieces, cut anywhere."""
    at = sorted(draw(st.lists(st.integers(0, len(data)), max_size=most)))
    edges = [0, *at, len(data)]
    return [data[start:end] for start, end in pairwise(edges)]
