"""Code points: integers with registered names, which keep the values nobody has registered yet."""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import ClassVar, Self, TypeVar


class Code(IntEnum):
    """An open enumeration, declared with its width: `class Alert(Code, size=1)`.

    `X(n)` never fails for a value that fits the width: unknown values keep their number.

    Unknown members compare equal by value. Only the last few are kept: a peer cannot fill memory with them.
    """

    # An enumeration's own is Python code that hashes the name: slower, and for another set than `==` is.
    __hash__ = int.__hash__

    size: ClassVar[int]
    """Width on the wire, in bytes."""

    def __init_subclass__(cls, size: int = 1) -> None:
        cls.size = size

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int) or not 0 <= value < 1 << 8 * cls.size:
            return None
        member = int.__new__(cls, value)
        member._name_ = f"{'GREASE ' if is_grease(value) else ''}0x{value:0{2 * cls.size}x}"
        member._value_ = value
        return member

    @classmethod
    def of(cls, value: int) -> Self:
        """`cls(value)`, six times as fast for the values that have names: for what is read again and again."""
        found: Self | None = cls._value2member_map_.get(value)  # type: ignore[assignment] # its values are members
        return _unknown(cls, value) if found is None else found

    @property
    def known(self) -> bool:
        """True when the value has a name here."""
        return self._value_ in type(self)._value2member_map_

    @property
    def label(self) -> str:
        """The registry's own spelling of the name."""
        return self._name_

    def __str__(self) -> str:
        return self.label

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.label}>"


C = TypeVar("C", bound=Code)


@lru_cache(512)  # every ClientHello holds some of the few reserved values, and making a member takes 2 µs
def _unknown(registry: type[C], value: int) -> C:
    """A value without a name."""
    return registry(value)


GREASE = tuple(0x0A0A + 0x1010 * i for i in range(16))
"""The 16-bit values RFC 8701 §2 reserves so that peers keep ignoring what they do not know."""


def is_grease(value: int) -> bool:
    """RFC 8701 §2: both bytes equal, low nibble of each 0xA."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF
