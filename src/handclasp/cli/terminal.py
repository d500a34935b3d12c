"""How text looks where it is printed: colour, marks, width. Meaning is never in a colour alone."""

from __future__ import annotations

import codecs
import io
import os
import sys
import textwrap
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import Final, TextIO

WIDTH: Final = 80
"""Columns of a report. Log lines are never folded."""

COLOURS: Final = ("auto", "always", "never")


@dataclass(frozen=True, slots=True)
class Look:
    """Paints text, or leaves it as it is."""

    colour: bool

    def us(self, text: str) -> str:
        """What comes from us, or from the client."""
        return self._painted(text, "36")

    def peer(self, text: str) -> str:
        """What comes from the other side."""
        return self._painted(text, "35")

    def good(self, text: str) -> str:
        return self._painted(text, "32")

    def warning(self, text: str) -> str:
        return self._painted(text, "33")

    def bad(self, text: str) -> str:
        return self._painted(text, "31")

    def strong(self, text: str) -> str:
        return self._painted(text, "1")

    def dim(self, text: str) -> str:
        return self._painted(text, "2")

    def _painted(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


class Unwritable(Exception):
    """Our own output cannot be written: the disk is full, say. The text says why."""


class Terminal:
    """A stream to print lines on, from any thread."""

    __slots__ = ("_encoding", "_lock", "_stream", "_unicode", "look")

    look: Look

    def __init__(
        self, stream: TextIO | None, colour: str = "auto", environment: Mapping[str, str] = os.environ
    ) -> None:
        self._stream = stream = stream or io.StringIO()  # whoever closed ours does not want to hear us
        self._encoding = stream.encoding or "ascii"
        self._unicode = codecs.lookup(self._encoding).name.startswith("utf")
        self._lock = Lock()
        self.look = Look(_wants_colour(stream, colour, environment))

    def line(self, text: str = "") -> None:
        """Print one line at once, in characters the stream can show."""
        if not self._unicode:
            text = text.translate(_ASCII)
        text = text.encode(self._encoding, "backslashreplace").decode(self._encoding)
        with self._lock:
            try:
                self._stream.write(f"{text.rstrip()}\n")
                self._stream.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                _forget(self._stream)
                raise Unwritable((error.strerror or "no reason given").lower()) from None

    def lines(self, texts: list[str]) -> None:
        for text in texts:
            self.line(text)


class Silence(Terminal):
    """What `-q` prints on."""

    __slots__ = ()

    def line(self, text: str = "") -> None:
        pass


def quiet() -> Terminal:
    return Silence(sys.stderr, "never")


def wrapped(text: str, indent: str = "  ", hanging: str | None = None) -> list[str]:
    """Text folded to the width; `hanging` indents the lines after the first. Fold first, paint later."""
    following = indent if hanging is None else hanging
    return textwrap.wrap(text, WIDTH - 2, initial_indent=indent, subsequent_indent=following, break_on_hyphens=False)


def row(label: str, value: str, look: Look) -> list[str]:
    """A fact in two columns, folded in the second."""
    first, *others = textwrap.wrap(value, WIDTH - 2 - _LABEL, break_on_hyphens=False) or [""]
    return [f"  {look.dim(label.ljust(_LABEL - 3))} {first}", *(" " * _LABEL + other for other in others)]


def clipped(text: str, most: int) -> str:
    """At most `most` characters."""
    return text if len(text) <= most else text[: max(0, most - 1)] + "…"


def is_closed_pipe(error: OSError) -> bool:
    """Whether our own output has no reader any more; then nothing is flushed to it at exit either."""
    if not isinstance(error, BrokenPipeError):
        return False
    _forget(sys.stdout)
    return True


def _forget(stream: TextIO) -> None:
    """What could not be written is not tried again at exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _wants_colour(stream: TextIO, colour: str, environment: Mapping[str, str]) -> bool:
    if colour != "auto":
        return colour == "always"
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return stream.isatty() and environment.get("TERM") != "dumb"


_LABEL: Final = 16
"""Columns of a fact's label, with its margin."""

_ASCII: Final = str.maketrans(
    {
        "✓": "ok",
        "✗": "x",
        "·": "-",
        "─": "-",
        "│": "|",
        "▶": ">",
        "◀": "<",
        "→": "->",
        "…": "...",
        "×": "x",
        "≈": "~",
        "§": "section ",
    }
)
