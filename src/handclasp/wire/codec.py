"""The presentation language of RFC 8446 §3 in seven words: uint, code, opaque, vector, optional, struct, extensions.

The last one is in `blocks.py`.
A message is declared once, as a frozen dataclass whose fields are annotated with these words:

    @dataclass(frozen=True, slots=True)
    class KeyShareEntry:
        group: Annotated[NamedGroup, code(NamedGroup)]
        key_exchange: Annotated[bytes, opaque(1, 2**16 - 1)]

Each word makes a `Codec`: two closures, `read` and `write`, composed from its parts, and the parameters they were made
from. Parser and builder are the closures; the byte-by-byte explanation, the listing in the RFC's style and the test
strategies walk the parameters. Nothing about a message is written twice.
"""

from __future__ import annotations

import struct as binary
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

from ..codes import GREASE, Code
from ..rules import SHORT, TRAILING, VECTOR_BOUNDS, PeerFault

T = TypeVar("T")
C = TypeVar("C", bound=Code)

Read = Callable[[bytes, int, int], tuple[T, int]]
"""(data, start, end) -> (value, where the next field starts). Raises PeerFault."""

Write = Callable[[T, bytearray], None]
"""(value, out): append the value's bytes. Raises ValueError for a value that does not fit its field."""


class Codec(Generic[T]):
    """How one field looks on the wire."""

    __slots__ = ("read", "write")
    read: Read[T]
    write: Write[T]


def decode(codec: Codec[T], data: bytes) -> T:
    """The value that fills all of `data`. Raises PeerFault."""
    value, at = codec.read(data, 0, len(data))
    if at != len(data):
        raise PeerFault(TRAILING)
    return value


def encode(codec: Codec[T], value: T) -> bytes:
    """The bytes of a value. Raises ValueError for a value that does not fit its field."""
    out = bytearray()
    codec.write(value, out)
    return bytes(out)


class Uint(Codec[int]):
    """A number of `size` bytes, big-endian."""

    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size

        def read(data: bytes, at: int, end: int) -> tuple[int, int]:
            after = at + size
            if after > end:
                raise PeerFault(SHORT)
            return int.from_bytes(data[at:after]), after

        def write(value: int, out: bytearray) -> None:
            try:
                out += value.to_bytes(size)
            except OverflowError:
                raise ValueError(f"{value} does not fit {size} bytes") from None

        self.read, self.write = read, write


class CodePoint(Codec[C]):
    """A value of a registry; unknown values are kept."""

    __slots__ = ("_known", "registry", "size")

    def __init__(self, registry: type[C]) -> None:
        self.registry = registry
        self.size = size = registry.size
        self._known = known = {member.value: member for member in registry}
        if size == 2:  # what clients say to keep servers used to it: in every hello there is some
            known |= {number: registry(number) for number in GREASE}

        def read(data: bytes, at: int, end: int) -> tuple[C, int]:
            after = at + size
            if after > end:
                raise PeerFault(SHORT)
            number = int.from_bytes(data[at:after])
            member = known.get(number)
            return registry.of(number) if member is None else member, after

        def write(value: C, out: bytearray) -> None:
            out += value.to_bytes(size)

        self.read, self.write = read, write

    def many(self, data: bytes, at: int, count: int) -> tuple[C, ...]:
        """`count` code points at once: the long lists of a ClientHello."""
        numbers = binary.unpack_from(f">{count}{_FORMATS[self.size]}", data, at)
        known, unknown = self._known, self.registry.of
        return tuple([known.get(number) or unknown(number) for number in numbers])

    def all(self, values: tuple[C, ...]) -> bytes:
        """The way back. Raises ValueError for one that does not fit."""
        try:
            return binary.pack(f">{len(values)}{_FORMATS[self.size]}", *values)
        except binary.error:
            raise ValueError(f"not all of {values} fit {self.size} bytes") from None


_FORMATS = {1: "B", 2: "H"}


class Opaque(Codec[bytes]):
    """Bytes. Of a fixed length, behind a length prefix, or all that is left (`rest`)."""

    __slots__ = ("fixed", "least", "most", "prefix")

    def __init__(self, least: int, most: int | None = None, *, rest: bool = False) -> None:
        self.least = least
        self.most = most_ = least if most is None else most
        self.fixed = most is None
        self.prefix = prefix = 0 if rest or self.fixed else _prefix_width(most_)

        def read(data: bytes, at: int, end: int) -> tuple[bytes, int]:
            after = end
            if prefix:
                at += prefix
                if at > end:
                    raise PeerFault(SHORT)
                after = at + int.from_bytes(data[at - prefix : at])
            elif not rest:
                after = at + least
            if after > end:
                raise PeerFault(SHORT)
            if not least <= after - at <= most_:
                raise PeerFault(VECTOR_BOUNDS)
            return data[at:after], after

        def write(value: bytes, out: bytearray) -> None:
            if not least <= len(value) <= most_:
                raise ValueError(f"{len(value)} bytes where {least} to {most_} belong")
            if prefix:
                out += len(value).to_bytes(prefix)
            out += value

        self.read, self.write = read, write


class Vector(Codec[tuple[T, ...]]):
    """Items behind a length prefix; the bounds count bytes, as in the RFC's `T name<least..most>`."""

    __slots__ = ("item", "least", "most", "prefix")

    def __init__(self, item: Codec[T], least: int, most: int) -> None:
        self.item, self.least, self.most = item, least, most
        self.prefix = prefix = _prefix_width(most)
        read_item, write_item = item.read, item.write
        codes = item if isinstance(item, CodePoint) else None

        def read(data: bytes, at: int, end: int) -> tuple[tuple[T, ...], int]:
            at, end = span(data, at, end, prefix, 0)
            if not least <= end - at <= most:
                raise PeerFault(VECTOR_BOUNDS)
            if codes is not None:
                count, odd = divmod(end - at, codes.size)
                if odd:
                    raise PeerFault(SHORT)
                return codes.many(data, at, count), end
            items = []
            while at < end:
                value, at = read_item(data, at, end)
                items.append(value)
            return tuple(items), end

        def write(value: tuple[T, ...], out: bytearray) -> None:
            start = len(out)
            out += bytes(prefix)
            if codes is not None:
                out += codes.all(value)
            else:
                for part in value:
                    write_item(part, out)
            patch_length(out, start, prefix, least, most)

        self.read, self.write = read, write


class Optional(Codec[T | None]):
    """A last field that may be absent altogether."""

    __slots__ = ("item",)

    def __init__(self, item: Codec[T]) -> None:
        self.item = item
        read_item, write_item = item.read, item.write

        def read(data: bytes, at: int, end: int) -> tuple[T | None, int]:
            return read_item(data, at, end) if at < end else (None, at)

        def write(value: T | None, out: bytearray) -> None:
            if value is not None:
                write_item(value, out)

        self.read, self.write = read, write


class Struct(Codec[T]):
    """Fields in order, as the annotated dataclass declares them."""

    __slots__ = ("cls", "parts")

    def __init__(self, cls: type[T]) -> None:
        self.cls = cls
        self.parts: tuple[tuple[str, Codec[Any]], ...] = tuple(declared_parts(cls))
        readers = tuple(part.read for _, part in self.parts)
        writers = tuple((name, part.write) for name, part in self.parts)

        def read(data: bytes, at: int, end: int) -> tuple[T, int]:
            values: list[Any] = []
            try:
                for read_part in readers:
                    value, at = read_part(data, at, end)
                    values.append(value)
            except PeerFault as fault:
                fault.detail = fault.detail or f"{cls.__name__}.{self.parts[len(values)][0]}"
                raise
            return cls(*values), at

        def write(value: T, out: bytearray) -> None:
            for name, write_part in writers:
                write_part(getattr(value, name), out)

        self.read, self.write = read, write


# --- the words -----------------------------------------------------------------------------------------------------


def uint(size: int) -> Uint:
    """A number of `size` bytes."""
    return Uint(size)


def code(registry: type[C]) -> CodePoint[C]:
    """A code point of `registry`."""
    return CodePoint(registry)


def opaque(least: int, most: int | None = None) -> Opaque:
    """`opaque(32)`: 32 bytes. `opaque(0, 255)`: up to 255 bytes behind their length."""
    return Opaque(least, most)


def remainder(least: int = 0, most: int = 0xFFFFFF) -> Opaque:
    """`opaque` without a length: everything up to the end of the message or extension."""
    return Opaque(least, most, rest=True)


def vector(item: Codec[T], least: int, most: int) -> Vector[T]:
    """Items that take `least` to `most` bytes together, behind that length."""
    return Vector(item, least, most)


def optional(item: Codec[T]) -> Optional[T]:
    """The item, or nothing at the end of the message."""
    return Optional(item)


def struct(cls: type[T]) -> Struct[T]:
    """The annotated fields of a dataclass, in order."""
    return Struct(cls)


# --- parts -----------------------------------------------------------------------------------------------------------


def declared_parts(cls: type) -> list[tuple[str, Codec[Any]]]:
    if not is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is not a dataclass")
    hints = get_type_hints(cls, include_extras=True)
    parts = []
    for field in fields(cls):
        hint = hints[field.name]
        if get_origin(hint) is Annotated:
            parts += [(field.name, extra) for extra in get_args(hint)[1:] if isinstance(extra, Codec)]
    return parts


def _prefix_width(most: int) -> int:
    """RFC 8446 §3.4: a length field is as wide as its largest value needs."""
    return (most.bit_length() + 7) // 8


def span(data: bytes, at: int, end: int, prefix: int, fixed: int) -> tuple[int, int]:
    """Where a vector's content begins and ends: behind its prefix, or `fixed` bytes where it has none."""
    start = at + prefix
    if start > end:
        raise PeerFault(SHORT)
    after = start + (int.from_bytes(data[at:start]) if prefix else fixed)
    if after > end:
        raise PeerFault(SHORT)
    return start, after


def patch_length(out: bytearray, start: int, prefix: int, least: int, most: int) -> None:
    length = len(out) - start - prefix
    if not least <= length <= most:
        raise ValueError(f"{length} bytes where {least} to {most} belong")
    out[start : start + prefix] = length.to_bytes(prefix)
