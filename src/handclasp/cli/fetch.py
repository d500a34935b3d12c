"""One HTTP/1.1 request: enough to see that the other side answers, and whether the answer came whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from ..errors import TruncatedError
from ..io.blocking import TLSSocket
from ..rules import printable
from .dialling import HTTPS, Target, place


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. Sizes in bytes."""

    head: list[str]
    """The status line and the headers, safe to print."""
    received: int
    """How much of the body came; reading stops at a mebibyte."""
    size: int | None
    """What content-length says; None where it does not."""
    cut: bool
    """The connection ended without a goodbye."""

    @property
    def is_http(self) -> bool:
        """Whether it is an answer at all."""
        return self.head[0].startswith("HTTP/")

    @property
    def whole(self) -> bool:
        """False when part of the body is missing, or could be."""
        return self.received == self.size if self.size is not None and self.received < _MOST_BODY else not self.cut

    @property
    def more(self) -> bool:
        """Whether we stopped reading before its end."""
        return self.received >= _MOST_BODY and self.received != self.size

    def document(self) -> dict[str, Any]:
        return {"status": self.head[0], "headers": self.head[1:], "received": self.received, "size": self.size} | (
            {"stopped": True} if self.more else {}
        )


def get(tls: TLSSocket, target: Target, path: str, early: bytes = b"") -> Response:
    """Send a GET and read the answer; `early` is what came before it. A cut in the body is told, not raised.

    Raises TLSError, OSError.
    """
    host = place(target.name, target.port).removesuffix(f":{HTTPS}")
    path = quote(path if path.startswith("/") else f"/{path}", safe="/?&=%:;,+@!$'()*~")
    tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: handclasp\r\nConnection: close\r\n\r\n".encode())
    head, body = _head(tls, early)
    lines = [printable(line, _MOST_LINE) for line in head.split(b"\r\n")]
    size = _declared(lines)
    received, cut = len(body), False
    try:
        while received < min(_MOST_BODY, _MOST_BODY if size is None else size) and (data := tls.recv(65536)):
            received += len(data)
    except TruncatedError:
        cut = True
    return Response(lines, received, size, cut)


def _head(tls: TLSSocket, came: bytes) -> tuple[bytes, bytes]:
    """The head of the answer, and what came behind it."""
    while b"\r\n\r\n" not in came and len(came) < _MOST_HEAD:
        data = tls.recv(65536)
        if not data:
            break
        came += data
    head, _, body = came.partition(b"\r\n\r\n")
    return head, body


def _declared(lines: list[str]) -> int | None:
    if lines[0].split(" ")[1:2] in (["204"], ["304"]):
        return 0
    values = [line.partition(":")[2].strip() for line in lines[1:] if line.lower().startswith("content-length:")]
    return int(values[0]) if values and values[0].isascii() and values[0].isdigit() and len(values[0]) < 19 else None


_MOST_HEAD: Final = 64 * 1024
_MOST_LINE: Final = 2000
_MOST_BODY: Final = 1 << 20
