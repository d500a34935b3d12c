"""A message, field by field: where each value stands in the bytes, what it is called, what it says.

It walks the same declarations that parse and build, so it cannot disagree with them, and it leaves no byte out: the
sizes of the fields that hold no others add up to the size of the message.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..codes import Code
from .blocks import Extension, Extensions
from .codec import Codec, CodePoint, Opaque, Optional, Struct, Uint, Vector
from .messages import HEADER_SIZE, HandshakeMessage
from .names import ExtensionType, HandshakeType


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message. `offset` and `size` in bytes, from the message's first byte."""

    offset: int
    size: int
    depth: int
    name: str
    meaning: str
    """The value in words; empty for a field that only holds others."""


def explain_message(message: type[HandshakeMessage], encoded: bytes) -> list[Field]:
    """The fields of an encoded handshake message, header included. Raises PeerFault for one that does not parse."""
    message.parse(encoded[HEADER_SIZE:])
    fields = [
        Field(0, 1, 0, "msg_type", str(HandshakeType(encoded[0]))),
        Field(1, HEADER_SIZE - 1, 0, "length", f"{len(encoded) - HEADER_SIZE} bytes"),
    ]
    return fields + explain(message.codec, encoded, HEADER_SIZE)


def explain(codec: Codec[Any], data: bytes, at: int = 0, end: int | None = None) -> list[Field]:
    """The fields of data that `codec` has read without complaint."""
    return list(_walk(codec, data, at, len(data) if end is None else end, 0, ""))


def _walk(codec: Codec[Any], data: bytes, at: int, end: int, depth: int, name: str) -> Iterator[Field]:
    after = codec.read(data, at, end)[1]
    match codec:
        case Struct():
            yield from _structure(codec, data, at, end, depth, name)
        case Extensions():
            yield from _block(codec, data, at, after, depth, name)
        case Vector():
            yield from _vector(codec, data, at, after, depth, name)
        case Opaque():
            if codec.prefix:
                yield _length(at, codec.prefix, after, depth, name)
            yield Field(
                at + codec.prefix, after - at - codec.prefix, depth, name, _bytes(data[at + codec.prefix : after])
            )
        case Optional():
            if at < end:
                yield from _walk(codec.item, data, at, end, depth, name)
        case Extension():
            yield from _walk(codec.body, data, at, end, depth, name)
        case Uint() | CodePoint():
            yield Field(at, after - at, depth, name, _number(codec.read(data, at, end)[0]))


def _structure(codec: Struct[Any], data: bytes, at: int, end: int, depth: int, name: str) -> Iterator[Field]:
    if name:
        yield Field(at, codec.read(data, at, end)[1] - at, depth, name, "")
        depth += 1
    for part_name, part in codec.parts:
        yield from _walk(part, data, at, end, depth, part_name)
        at = part.read(data, at, end)[1]


def _vector(codec: Vector[Any], data: bytes, at: int, after: int, depth: int, name: str) -> Iterator[Field]:
    yield _length(at, codec.prefix, after, depth, name)
    at += codec.prefix
    index = 0
    while at < after:
        yield from _walk(codec.item, data, at, after, depth + 1, f"{name}[{index}]")
        at = codec.item.read(data, at, after)[1]
        index += 1


def _block(codec: Extensions[Any], data: bytes, at: int, after: int, depth: int, name: str) -> Iterator[Field]:
    if at == after:
        return  # left out altogether, as older versions may
    yield _length(at, 2, after, depth, name)
    at += 2
    while at < after:
        type_ = ExtensionType(int.from_bytes(data[at : at + 2]))
        body = at + 4
        end = body + int.from_bytes(data[at + 2 : body])
        yield Field(at, 2, depth + 1, "extension_type", str(type_))
        yield _length(at + 2, 2, end, depth + 1, str(type_))
        declared = codec.by_type.get(type_)
        if declared is not None:
            yield from _walk(declared[1], data, body, end, depth + 2, declared[0])
        elif end > body:
            yield Field(body, end - body, depth + 2, "extension_data", _bytes(data[body:end]))
        at = end


def _length(at: int, width: int, after: int, depth: int, name: str) -> Field:
    return Field(at, width, depth, f"{name} length", f"{after - at - width} bytes")


def _number(value: int) -> str:
    return f"{value} (0x{int(value):0{2 * value.size}x})" if isinstance(value, Code) else str(value)


def _bytes(value: bytes) -> str:
    if not value:
        return "empty"
    if value.isascii() and value.decode("ascii").isprintable():
        return f'"{value.decode("ascii")}"'
    return value.hex() if len(value) <= 32 else f"{value[:32].hex()}… ({len(value)} bytes)"
