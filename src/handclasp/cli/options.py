"""The parser all commands share, and the options that mean the same everywhere."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn, TypeVar

from ..codes import Code
from ..errors import ConfigError
from ..rules import printable
from ..wire.names import TLSVersion
from .terminal import COLOURS, Terminal

C = TypeVar("C", bound=Code)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and which option was probably meant."""

    def __init__(self, prog: str, usage: str, *, everything: bool) -> None:
        super().__init__(
            prog=prog,
            usage=f"{prog} {usage}",
            allow_abbrev=False,
            fromfile_prefix_chars="@",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self._everything = everything
        self.add_argument("--help-all", action="help", help="the other options too")
        self.rare("--color", choices=COLOURS, default="auto", help="colour: auto, always or never")

    def rare(self, *names: str, **settings: Any) -> None:
        """An option that only --help-all shows."""
        if not self._everything:
            settings["help"] = argparse.SUPPRESS
        self.add_argument(*names, **settings)

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The arguments, all of them understood. Exits with 2 otherwise."""
        known, unknown = self.parse_known_intermixed_args(arguments)
        if unknown:
            what = f"unknown option {printable(unknown[0], 60)}{self._nearest(unknown[0])}"
            self.error(what if unknown[0].startswith("-") else f"one argument too many: {printable(unknown[0], 60)}")
        return known

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^\[Errno \d+\] ", "", message)  # of a file of arguments
        Terminal(sys.stderr, "never").lines([f"{self.prog}: {message}", f"(see {self.prog} --help)"])
        raise SystemExit(2)

    def _print_message(self, message: str, file: Any = None) -> None:
        Terminal(file or sys.stderr, "never").lines(message.rstrip("\n").split("\n"))

    def _nearest(self, option: str) -> str:
        return meant(option.partition("=")[0], self._option_string_actions)


def meant(word: str, known: Collection[str]) -> str:
    """`; did you mean --steps?`, or nothing where nothing is near."""
    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""


def seconds(text: str) -> float:
    """A time to wait, as an option's value."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:
        raise argparse.ArgumentTypeError(f"takes seconds, such as 10, not {text!r}")
    return value


def codes(kind: type[C], known: Sequence[C]) -> Callable[[str], tuple[C, ...]]:
    """An option's value that lists code points by name, in order of preference: `x25519,P-256`."""
    named = {_bare(str(code)): code for code in known}
    named |= {
        alias: code
        for alias, number in _ALIASES.items()
        for code in known
        if code is kind._value2member_map_.get(number)
    }

    def read(text: str) -> tuple[C, ...]:
        found = []
        for word in text.replace(":", ",").split(","):
            if _bare(word) not in named:
                near = meant(word.strip(), [str(code) for code in known]) or f"; there are {', '.join(map(str, known))}"
                raise argparse.ArgumentTypeError(f"{printable(word, 40)!r} is not one we have{near}")
            found.append(named[_bare(word)])
        return tuple(dict.fromkeys(found))

    return read


def versions(text: str) -> tuple[TLSVersion, ...]:
    """`1.2`, `1.3` or `1.2-1.3`: newest first."""
    if text not in _VERSIONS:
        raise argparse.ArgumentTypeError(f"takes {', '.join(_VERSIONS)}, not {printable(text, 40)!r}")
    return _VERSIONS[text]


def protocols(text: str) -> tuple[str, ...]:
    """`h2,http/1.1`."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def host_and_port(text: str, default: int | None = None) -> tuple[str, int]:
    """`host`, `host:port`, `[::1]:8443`, `::1`, and `:8443` with an empty host. Raises ConfigError."""
    host, port = text, ""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise ConfigError(
                f"{printable(text, 60)!r} begins with a bracket and has no other", remedy="write [::1]:8443"
            )
        port = rest[1:] if rest.startswith(":") else rest
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not port and default is not None:
        return host, default
    if not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise ConfigError(
            f"{printable(text, 60)!r} has no port that can be used",
            remedy="write it as HOST:PORT, with a port from 0 to 65535",
        )
    return host, int(port)


def _bare(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


_ALIASES = {"p256": 0x0017, "prime256v1": 0x0017, "p384": 0x0018, "p521": 0x0019}
"""Other names people know the curves by."""

_VERSIONS = {
    "1.2": (TLSVersion.TLS_1_2,),
    "1.3": (TLSVersion.TLS_1_3,),
    "1.2-1.3": (TLSVersion.TLS_1_3, TLSVersion.TLS_1_2),
}
