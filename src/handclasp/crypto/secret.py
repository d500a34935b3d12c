"""Secrets that do not leak by accident: into a repr, a log, a pickle or a copy."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """Secret bytes. `reveal()` is the only way to them; the bytes cannot be erased from memory (see SECURITY.md)."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The bytes themselves."""
        return self._value

    def __repr__(self) -> str:
        return "<Secret>"

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError("a secret cannot be compared, hashed, copied or pickled")

    __eq__ = __hash__ = __reduce__ = __reduce_ex__ = __copy__ = __deepcopy__ = _refuse
