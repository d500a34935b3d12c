"""Targets: how they are written, and the way to them."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..identity.names import peer_name
from ..rules import printable
from .options import host_and_port

HTTPS: Final = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to connect to."""

    host: str
    port: int
    path: str
    """What the URL asked for; `/` for other forms."""
    name: str
    """Whom to check for, and what SNI says."""
    dial: tuple[str, int]
    """Where to dial."""

    def __str__(self) -> str:
        return place(self.host, self.port)


def target(text: str, *, name: str | None = None, at: str | None = None) -> Target:
    """`host`, `host:port`, `[::1]:8443`, `https://host/path`. Raises ConfigError."""
    path = "/"
    if "://" in text:
        url = urlsplit(text)
        if url.scheme not in ("https", "tls"):
            raise ConfigError(
                f"a target does not begin with {printable(url.scheme, 20)}://",
                remedy="write https://HOST or HOST:PORT",
            )
        text, path = url.netloc.rpartition("@")[2], (url.path or "/") + (f"?{url.query}" if url.query else "")
    host, port = host_and_port(text, HTTPS)
    asked = peer_name(host)
    dial = (asked.text if host.isascii() is False else host, port)
    if at is not None:
        there, dialled_port = host_and_port(at, port)
        dial = (there or dial[0], dialled_port)
    return Target(host=host, port=port, path=path, name=peer_name(name).text if name else asked.text, dial=dial)


def place(host: str, port: int) -> str:
    """`host:port`, with brackets where they are needed."""
    return f"[{host}]:{port}" if ":" in host else f"{printable(host, 253)}:{port}"


class Tapped(socket.socket):
    """A socket that remembers how the answer began."""

    began: bytes = b""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        data = super().recv(bufsize, flags)
        if len(self.began) < _REMEMBERED:
            self.began += data[: _REMEMBERED - len(self.began)]
        return data


@dataclass(slots=True)
class Journey:
    """How far we got, and how long each part took, in seconds."""

    address: tuple[str, int] | None = None
    """Where we dialled last."""
    rank: str = ""
    """Which of how many addresses that is."""
    dns: float = 0.0
    tcp: float = 0.0
    tls: float = 0.0
    sock: Tapped | None = None

    @property
    def total(self) -> float:
        return self.dns + self.tcp + self.tls

    @property
    def shown_address(self) -> str:
        return place(*self.address) if self.address else ""

    @property
    def answer(self) -> bytes:
        """The first bytes that came."""
        return self.sock.began if self.sock is not None else b""


def dial(journey: Journey, where: tuple[str, int], timeout: float) -> Tapped:
    """A TCP connection to the first address that takes one, within the time. Raises OSError."""
    began = time.perf_counter()
    found = socket.getaddrinfo(*where, type=socket.SOCK_STREAM)
    journey.dns = time.perf_counter() - began
    began = time.perf_counter()
    failure: OSError = OSError("this name has no address")
    for rank, (family, kind, protocol, _, address) in enumerate(found, 1):
        journey.address = (str(address[0]), int(address[1]))
        journey.rank = "" if len(found) == 1 else f"{rank} of {len(found)}"
        left = timeout - (time.perf_counter() - began)
        sock = Tapped(family, kind, protocol)
        try:
            sock.settimeout(max(left, _LEAST))
            sock.connect(address)
        except OSError as error:
            failure = error
            sock.close()
            continue
        journey.tcp = time.perf_counter() - began
        journey.sock = sock
        # Small writes follow each other: joined to larger ones, each would wait 40 ms for an acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(timeout)
        return sock
    raise failure


_REMEMBERED: Final = 64
_LEAST: Final = 0.001
