"""Blocks of extensions, the last word of the presentation language in `codec.py` (RFC 8446 §4.2).

A block is a dataclass with a field for each extension that its message may carry. An extension that no message declares
is kept as it came.
"""

from __future__ import annotations

import struct as binary
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Self, TypeVar, dataclass_transform

from ..limits import MAX_REMEMBERED_BODY, MOST_REMEMBERED_BODIES
from ..rules import (
    EXTENSION_DUPLICATE,
    EXTENSION_MISPLACED,
    EXTENSION_UNKNOWN_DUPLICATE,
    SHORT,
    TRAILING,
    VECTOR_BOUNDS,
    PeerFault,
)
from .codec import Codec, Read, Write, declared_parts, decode, patch_length, span
from .names import ExtensionType

T = TypeVar("T")


def extension(type_: ExtensionType, body: Codec[T], *, fresh: bool = False) -> Extension[T]:
    """One extension of a block. `fresh`: it hardly ever says the same twice."""
    return Extension(type_, body, fresh)


def extensions(cls: type[B], least: int = 0, *, may_be_absent: bool = False) -> Extensions[B]:
    """An extension block of at least `least` bytes. In the hellos, older versions leave the whole block out."""
    return Extensions(cls, least, may_be_absent)


class Extension(Codec[T]):
    """One field of an extension block: its type and what its body holds.

    Most bodies are the same in one hello after the other, so the last few are remembered, unless they are `fresh`.
    """

    __slots__ = ("body", "decoded", "encoded", "type")

    def __init__(self, type_: ExtensionType, body: Codec[T], fresh: bool) -> None:
        self.type, self.body = type_, body
        self.read, self.write = body.read, body.write
        RECOGNISED.add(type_)
        head = type_.to_bytes(2)

        def decoded(data: bytes) -> T:
            return decode(body, data)

        def encoded(value: T) -> bytes:
            out = bytearray()
            body.write(value, out)
            return b"".join((head, _extension_length(out), out))

        self.decoded = decoded if fresh else lru_cache(MOST_REMEMBERED_BODIES)(decoded)
        self.encoded = encoded if fresh else lru_cache(MOST_REMEMBERED_BODIES)(encoded)


def _extension_length(body: bytes | bytearray) -> bytes:
    if len(body) > 0xFFFF:
        raise ValueError(f"{len(body)} bytes where 0 to 65535 belong")
    return len(body).to_bytes(2)


RECOGNISED: set[ExtensionType] = set()
"""Every extension some message declares: in any other message it is an error, not an unknown (RFC 8446 §4.2)."""


RawExtension = tuple[ExtensionType, bytes]
"""An extension this message's declaration does not know: its type and its body."""


class ExtensionBlock:
    """Base of the extension blocks: works out `order` where it is not given, and checks it where it is.

    Blocks have no slots: an extension that is absent is the class's default, and takes neither time nor memory.
    """

    unknown: tuple[RawExtension, ...]
    order: tuple[ExtensionType, ...]

    def __init__(self, **given: Any) -> None:
        fields = _fields(type(self))  # type: ignore[arg-type] # classes have a hash
        present = {name: value for name, value in given.items() if value is not None}
        if not present.keys() <= fields.types.keys():
            raise TypeError(f"{type(self).__name__} has no field {present.keys() - fields.types.keys()}")
        listed = [type_ for name in present if (type_ := fields.types[name]) is not None]
        listed += [type_ for type_, _ in present.get("unknown", ())]
        order = present.get("order")
        if not order:
            present["order"] = tuple(sorted(listed, key=fields.places.__getitem__))
        elif sorted(order) != sorted(listed):
            raise ValueError("order does not list exactly the extensions that are present")
        self.__dict__.update(present)

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        """A block whose order is right without a check: for a ClientHello, the constructor takes 5 µs longer."""
        block = cls.__new__(cls)
        block.__dict__.update(values)
        return block

    def ending(self, type_: ExtensionType, value: object) -> Self:
        """The same with this extension as the last one; None: without it."""
        name = _fields(type(self)).names[type_]  # type: ignore[arg-type] # classes have a hash
        order = tuple([other for other in self.order if other is not type_])
        return self._of({**self.__dict__, name: value, "order": order if value is None else (*order, type_)})

    def between(self, first: RawExtension, last: RawExtension) -> Self:
        """The same with an extension that nobody knows in front of the others, and one behind."""
        order = (first[0], *self.order, last[0])
        return self._of({**self.__dict__, "unknown": (first, last), "order": order})


B = TypeVar("B", bound=ExtensionBlock)


class Extensions(Codec[B]):
    """An extension block: its dataclass has a field per extension this message may carry, then `unknown`, `order`."""

    __slots__ = ("by_type", "cls", "least", "may_be_absent")

    def __init__(self, cls: type[B], least: int, may_be_absent: bool) -> None:
        if "__slots__" in vars(cls):
            raise TypeError(f"{cls.__name__} has slots: a block has none")
        self.cls, self.least, self.may_be_absent = cls, least, may_be_absent
        self.by_type: dict[ExtensionType, tuple[str, Extension[Any]]] = {
            part.type: (name, part) for name, part in declared_parts(cls) if isinstance(part, Extension)
        }
        self.read, self.write = self._reader(), self._writer()

    def _reader(self) -> Read[B]:
        cls, least, may_be_absent = self.cls, self.least, self.may_be_absent
        heading = binary.Struct(">HH").unpack_from
        readers = {type_.value: (type_, name, part.decoded, part.read) for type_, (name, part) in self.by_type.items()}

        def read(data: bytes, at: int, end: int) -> tuple[B, int]:
            if at == end and may_be_absent:
                return cls(), at
            at, end = span(data, at, end, 2, 0)
            if end - at < least:
                raise PeerFault(VECTOR_BOUNDS)
            values: dict[str, Any] = {}
            seen: dict[ExtensionType, None] = {}
            unknown: list[RawExtension] = []
            while at < end:
                # in one piece: with a function for the header and one for the body, a ClientHello takes a tenth longer
                if at + 4 > end:
                    raise PeerFault(SHORT)
                number, length = heading(data, at)
                at += 4
                after = at + length
                if after > end:
                    raise PeerFault(SHORT)
                declared = readers.get(number)
                type_ = ExtensionType.of(number) if declared is None else declared[0]
                if type_ in seen:
                    known = type_ in RECOGNISED
                    raise PeerFault(EXTENSION_DUPLICATE if known else EXTENSION_UNKNOWN_DUPLICATE, str(type_))
                seen[type_] = None
                if declared is not None:
                    _, name, decoded, read_body = declared
                    try:
                        if length <= MAX_REMEMBERED_BODY:
                            values[name] = decoded(data[at:after])
                        else:
                            values[name], at = read_body(data, at, after)
                            if at != after:
                                raise PeerFault(TRAILING)
                    except PeerFault as fault:
                        fault.detail = f"extension {type_}"
                        raise
                elif type_ in RECOGNISED:
                    raise PeerFault(EXTENSION_MISPLACED, f"{type_} in {cls.__name__}")
                else:
                    unknown.append((type_, data[at:after]))
                at = after
            if unknown:
                values["unknown"] = tuple(unknown)
            values["order"] = tuple(seen)
            return cls._of(values), end

        return read

    def _writer(self) -> Write[B]:
        least, may_be_absent = self.least, self.may_be_absent
        writers = {type_: (name, part.encoded) for type_, (name, part) in self.by_type.items()}

        def write(value: B, out: bytearray) -> None:
            if may_be_absent and not value.order:
                return  # older peers may know no extensions at all
            start = len(out)
            out += b"\0\0"
            for type_ in value.order:
                declared = writers.get(type_)
                if declared is not None:
                    name, encoded = declared
                    out += encoded(getattr(value, name))
                else:
                    body = dict(value.unknown)[type_]
                    out += type_.to_bytes(2) + _extension_length(body) + body
            patch_length(out, start, 2, least, 0xFFFF)

        return write


@dataclass_transform(frozen_default=True, kw_only_default=True)
def block(cls: type[B]) -> type[B]:
    """Declare a class as an extension block: a frozen dataclass whose fields are given by name.

    Its constructor is the base's, which sets what is present alone: a ServerHello's takes 3 µs less for it.
    """
    return dataclass(frozen=True, kw_only=True, init=False)(cls)


class _Places(dict[ExtensionType, int]):
    """Where an extension goes: one that nobody knows behind the others, pre_shared_key last (RFC 8446 §4.2.11)."""

    def __missing__(self, type_: ExtensionType) -> int:
        return 1 << 16


@dataclass(frozen=True, slots=True)
class _Fields:
    """What a block declares."""

    names: dict[ExtensionType, str]
    types: dict[str, ExtensionType | None]
    """All of its fields; None for those that are no extension."""
    places: _Places


@cache
def _fields(cls: type) -> _Fields:
    names = {part.type: name for name, part in declared_parts(cls) if isinstance(part, Extension)}
    places = _Places({type_: place for place, type_ in enumerate(names)})
    places[ExtensionType.PRE_SHARED_KEY] = 1 << 17
    return _Fields(names, {"unknown": None, "order": None, **{name: type_ for type_, name in names.items()}}, places)
