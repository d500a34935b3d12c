"""Names of peers: what a caller asks for, and whether a certificate covers it (RFC 9525 §6)."""

from __future__ import annotations

import importlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from ..errors import ConfigError
from ..limits import MAX_NAME
from ..rules import printable


@dataclass(frozen=True, slots=True)
class PeerName:
    """Whom we want to talk to, normalised. Make it with `peer_name`."""

    text: str
    """A DNS name of A-labels in lower case without a trailing dot, or an IP address in its shortest form."""
    kind: Literal["dns", "ip"]

    def __str__(self) -> str:
        return self.text


def peer_name(text: str | bytes) -> PeerName:
    """Classify and normalise a host name or an IP address, which may stand in brackets.

    Addresses are looked for first: `1.2.3.4` is never a DNS name. One trailing dot is dropped. Names with characters
    beyond ASCII become A-labels when the `idna` package is there. Raises ConfigError for what is neither.
    """
    if len(text) > MAX_NAME + 1:
        raise _refused(text, f"longer than {MAX_NAME} characters")
    if isinstance(text, bytes):
        try:
            text = text.decode("ascii")
        except UnicodeDecodeError:
            raise _refused(text, "not ASCII: bytes hold a name's A-labels") from None
    return _ascii_name(text) if text.isascii() else _classified(text)


@lru_cache(256)  # the same names come again and again, and to look at one takes 2 µs
def _ascii_name(text: str) -> PeerName:
    return _classified(text)


def _classified(text: str) -> PeerName:
    if address := _address(text):
        return PeerName(address, "ip")
    name = text if text.isascii() else _a_labels(text)
    name = name.lower().removesuffix(".")
    if problem := _problem(name):
        raise _refused(text, problem)
    return PeerName(name, "dns")


def matches(pattern: str, name: PeerName) -> bool:
    """True when a name of a certificate covers the asked one (RFC 9525 §6.3 and §6.5).

    `*` counts as the whole first label only, stands for exactly one label, and needs two labels after it. An IP address
    is covered by the same address only, never by a DNS name that looks like it, nor the other way round.
    """
    if len(pattern) > MAX_NAME:
        return False
    address = _address(pattern)
    if name.kind == "ip":
        return address == name.text
    if address is not None:
        return False
    pattern = pattern.lower()
    if not pattern.startswith("*."):
        return pattern == name.text
    parent = pattern[2:]
    return "." in parent and name.text.partition(".")[2] == parent


def any_matches(patterns: Iterable[str], name: PeerName) -> bool:
    return any(matches(pattern, name) for pattern in patterns)


def _address(text: str) -> str | None:
    """The address in its shortest form, without brackets and zone; None when the text is none."""
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    # A zone ("%eth0") says which of our links to use: no certificate can know it.
    text = text.partition("%")[0]
    if ":" not in text and not text[-1:].isdigit():
        return None  # like every host name; the library would take ten times as long to say so
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _a_labels(text: str) -> str:
    try:
        idna = importlib.import_module("idna")
    except ImportError:
        raise _refused(text, "not ASCII: pass its A-labels (xn--…), or install the package idna") from None
    try:
        return str(idna.encode(text, uts46=True), "ascii")
    except (UnicodeError, ValueError):
        raise _refused(text, "not a name that IDNA 2008 allows") from None


def _problem(name: str) -> str:
    """What keeps a lower-case ASCII text from being a DNS name; empty when nothing does."""
    labels = name.split(".")
    if not name:
        return "empty"
    if len(name) > MAX_NAME:
        return f"longer than {MAX_NAME} characters"
    for label in labels:
        if not label:
            return "an empty label"
        if len(label) > _MAX_LABEL:
            return f"a label is longer than {_MAX_LABEL} characters"
        if not set(label) <= _CHARACTERS or not set(label) & _ALPHANUMERIC:
            return "a label holds other than letters, digits, hyphens and underscores"
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        # The WHATWG's "ends in a number": some resolvers read such text as an address that we did not recognise.
        return "neither a name nor an address: it ends in a number"
    return ""


def _refused(text: str | bytes, why: str) -> ConfigError:
    return ConfigError(
        f"{printable(text, 60)!r} cannot be the name of a peer: {why}",
        code="server-name",
        remedy="give a host name such as 'example.com', or an IP address",
    )


_MAX_LABEL: Final = 63
_ALPHANUMERIC: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_CHARACTERS: Final = _ALPHANUMERIC | frozenset("-_")
