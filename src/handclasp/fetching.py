"""Fetching over plain HTTP what certificates point at: OCSP responses and revocation lists (RFC 6960 §A.1, RFC 5280).

Below the rooms that use it, because it uses none of them: a function that a policy holds and that can be replaced. What
it fetches is signed, so nothing is lost by fetching it in the clear; over HTTPS it would need a checked certificate to
check a certificate. The addresses come out of certificates, so it does as little as possible for them: one scheme, no
credentials, no cookies, no proxies, few redirects, a bounded answer, one deadline for all of it. It does go to private
addresses, where private CAs have their servers.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

from .limits import MAX_HEAD, MAX_URL, MOST_REDIRECTS

if TYPE_CHECKING:
    from http.client import HTTPResponse

S = TypeVar("S", bound=socket.socket)


class Fetch(Protocol):
    """Gets what is at a URL; `fetch` is the usual one."""

    def __call__(
        self, url: str, *, body: bytes | None, content_type: str | None, limit: int, timeout: float
    ) -> bytes | Awaitable[bytes]:
        """GET, or POST where there is a body. At most `limit` bytes, within `timeout` seconds, or any exception.

        An `async def` is awaited where the connection is driven; any other function is called where it may block.
        """
        ...


def fetch(url: str, *, body: bytes | None = None, content_type: str | None = None, limit: int, timeout: float) -> bytes:
    """What is at an http URL: GET, or POST where there is a body.

    `timeout` bounds all of it, in seconds, but for the system's own name resolution, which cannot be stopped. Raises
    ValueError for a URL that is not plain http, and OSError for whatever goes wrong on the way, a late answer and one
    of more than `limit` bytes included.
    """
    left = countdown(timeout)
    for _ in range(MOST_REDIRECTS + 1):
        found = _ask(_target(url), body, content_type, limit, left)
        if isinstance(found, bytes):
            return found
        url = urljoin(url, found.location)
    raise OSError("too many redirects")


def countdown(seconds: float) -> Callable[[], float]:
    """A function that says how many seconds are left. It raises TimeoutError when none are."""
    ends = time.monotonic() + seconds

    def left() -> float:
        remaining = ends - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("no answer in time")
        return remaining

    return left


def dial(address: tuple[str, int], left: Callable[[], float | None], kind: type[S]) -> S:
    """A connected socket of that kind, in the time that is left; None: as long as it takes.

    All addresses of a name share that time, but for the system's own name resolution. Raises OSError.
    """
    failure = OSError("this name has no address")
    for family, type_, protocol, _, place in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        sock = kind(family, type_, protocol)
        try:
            sock.settimeout(left())
            sock.connect(place)
        except OSError as error:
            failure = error
            sock.close()
            continue
        return sock
    raise failure


class _Elsewhere:
    """A redirect."""

    __slots__ = ("location",)

    def __init__(self, location: str) -> None:
        self.location = location


def _target(url: str) -> SplitResult:
    if not (url.isascii() and url.isprintable()) or " " in url or len(url) > MAX_URL:
        raise ValueError("the URL is not one")
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or "@" in parts.netloc:
        raise ValueError("only plain http:// URLs without credentials are fetched")
    if parts.port == 0:
        raise ValueError("port 0 cannot be dialled")
    return parts


def _ask(
    target: SplitResult, body: bytes | None, content_type: str | None, limit: int, left: Callable[[], float]
) -> bytes | _Elsewhere:
    # Only a connection that asks its CA needs this module, and it is not a small one.
    from http.client import HTTPConnection, HTTPException

    class Connection(HTTPConnection):
        """Over a socket that keeps the deadline."""

        def connect(self) -> None:
            sock = dial((self.host, self.port), left, _Hurried)
            sock.left, sock.room = left, limit + MAX_HEAD
            self.sock = sock

    connection = Connection(str(target.hostname), target.port or 80)
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if content_type is not None:
        headers["Content-Type"] = content_type
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    try:
        connection.request("GET" if body is None else "POST", path, body, headers)
        try:
            with connection.getresponse() as response:
                return _read(response, limit)
        except ValueError:  # it takes a chunk of -5 bytes at its word
            raise OSError("the answer is not HTTP") from None
    except HTTPException as error:
        raise OSError(f"the answer is not HTTP: {type(error).__name__}") from None
    finally:
        connection.close()


def _read(response: HTTPResponse, limit: int) -> bytes | _Elsewhere:
    location = response.headers.get("Location")
    if response.status in _REDIRECTS and location:
        return _Elsewhere(location)
    if response.status != HTTPStatus.OK:
        raise OSError(f"the server answered {response.status}")
    data = response.read(limit + 1)
    if len(data) > limit:
        raise OSError(f"the answer is longer than {limit} bytes")
    if response.length:
        raise OSError("the answer was cut short")
    return data


class _Hurried(socket.socket):
    """A socket whose every wait ends with the same deadline: a trickle of bytes does not extend it.

    What comes is counted here, whatever it calls itself: to `http.client` a chunk of -1 bytes is all there is to come.
    """

    left: Callable[[], float]
    room = 0
    """How many bytes it still takes."""

    def recv_into(self, *arguments: Any) -> int:
        self.settimeout(self.left())
        size = super().recv_into(*arguments)
        self.room -= size
        if self.room < 0:
            raise OSError("the answer is longer than its limit allows")
        return size

    def sendall(self, *arguments: Any) -> None:
        self.settimeout(self.left())
        super().sendall(*arguments)


_REDIRECTS: Final = frozenset(
    {
        HTTPStatus.MOVED_PERMANENTLY,
        HTTPStatus.FOUND,
        HTTPStatus.TEMPORARY_REDIRECT,
        HTTPStatus.PERMANENT_REDIRECT,
    }
)
