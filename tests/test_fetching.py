"""Fetching what certificates point at: bounded in size and time, and only what was asked for."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

import pytest

from handclasp import fetch
from handclasp.lab.ca import CertificateAuthority
from handclasp.lab.responder import Fault, StatusServer
from handclasp.limits import MAX_HEAD

OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def answering(*answers: bytes, drip: float = 0.0) -> Generator[tuple[str, list[bytes]], None, None]:
    """A server that gives one answer after another, each on its own connection; its URL, and what it was asked."""
    asked: list[bytes] = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in answers:
                with suppress(OSError):
                    sock, _ = listening.accept()
                    with sock:
                        asked.append(_request(sock))
                        for at in range(0, len(answer), 1 if drip else 65536):
                            sock.sendall(answer[at : at + (1 if drip else 65536)])
                            if drip and done.wait(drip):
                                return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        finally:
            done.set()
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def _request(sock: socket.socket) -> bytes:
    """One whole request: to close with some of it unread would reset the connection, and the answer be lost."""
    asked = b""
    while True:
        head, ended, body = asked.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if ended and len(body) >= (int(length[1]) if length else 0):
            return asked
        more = sock.recv(65536)
        if not more:
            return asked
        asked += more


def test_get_and_post() -> None:
    with answering(OK + b"Content-Length: 2\r\n\r\nhi", OK + b"\r\nyes") as (url, asked):
        assert fetch(f"{url}/a?b", limit=2, timeout=5) == b"hi"
        assert fetch(url, body=b"?", content_type="application/ocsp-request", limit=10, timeout=5) == b"yes"
    assert asked[0].startswith(b"GET /a?b HTTP/1.1\r\n")
    assert asked[1].startswith(b"POST / HTTP/1.1\r\n")
    assert b"Content-Type: application/ocsp-request\r\n" in asked[1]
    assert not {b"cookie", b"authorization", b"referer"} & {line.split(b":")[0].lower() for line in asked[0].split()}


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 4\r\n\r\nlong",
        OK + b"\r\nlong",
        OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nlong\r\n0\r\n\r\n",
        OK + b"Content-Length: 3\r\n\r\nhi",
        OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nlong",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nlong",
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"SSH-2.0-none\r\n",
        b"",
        OK + b"x: y\r\n" * 200 + b"\r\n",
        OK + bytes(70_000),
    ],
)
def test_answers_that_are_none(answer: bytes) -> None:
    with answering(answer) as (url, _), pytest.raises(OSError, match=r"\w"):
        fetch(url, limit=3, timeout=5)


@pytest.mark.limit("MOST_REDIRECTS")
def test_redirects_are_few_and_stay_plain() -> None:
    def to(place: str) -> bytes:
        return f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()

    with answering(to("/b"), to("/c"), OK + b"\r\nthere") as (url, asked):
        assert fetch(f"{url}/a", limit=9, timeout=5) == b"there"
        assert [request.split()[1] for request in asked] == [b"/a", b"/b", b"/c"]
    with answering(to("/a"), to("/a"), to("/a")) as (url, _), pytest.raises(OSError, match="redirects"):
        fetch(url, limit=9, timeout=5)
    for place in ("https://127.0.0.1/", "file:///etc/passwd", "ftp://x/", "//user@127.0.0.1/"):
        with answering(to(place)) as (url, _), pytest.raises(ValueError, match="plain http"):
            fetch(url, limit=9, timeout=5)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "file:///etc/passwd",
        "ldap://127.0.0.1/",
        "http://",
        "http:///path",
        "http://user:password@127.0.0.1/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:x/",
        "http://[::1/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\r\nX: y",
        "http://127.0.0.1/é",
        "http://127.0.0.1/" + 2048 * "a",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        fetch(url, limit=9, timeout=5)


@pytest.mark.parametrize("answer", [OK + 1000 * b"a", OK + b"Content-Length: 1000\r\n\r\n" + 1000 * b"a"])
def test_a_trickle_does_not_extend_the_deadline(answer: bytes) -> None:
    with answering(answer, drip=0.02) as (url, _):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            fetch(url, limit=2000, timeout=0.3)
        assert time.monotonic() - began < 10  # the whole answer would take twenty seconds


def test_nothing_and_nobody() -> None:
    with StatusServer(CertificateAuthority()) as status:
        status.fault = Fault.SLOW
        with pytest.raises(TimeoutError):
            fetch(status.crl_url, limit=9, timeout=0.1)
        url = status.crl_url
    with pytest.raises(ConnectionRefusedError):
        fetch(url, limit=9, timeout=5)


def test_the_limit_holds_for_an_endless_answer() -> None:
    with StatusServer(CertificateAuthority()) as status:
        status.fault = Fault.OVERSIZED
        with pytest.raises(OSError, match="longer than 1000 bytes"):
            fetch(status.crl_url, limit=1000, timeout=5)


@pytest.mark.parametrize(
    "beginning", [OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"]
)
def test_nothing_that_http_allows_gets_around_the_limit(beginning: bytes) -> None:
    """A chunk that ends when it likes, an answer before the answer: again and again, up to megabytes."""
    with answering(beginning * 500_000) as (url, _), pytest.raises(OSError, match="longer than"):
        fetch(url, limit=1000, timeout=5)


@pytest.mark.limit("MAX_HEAD")
def test_headers_are_bounded() -> None:
    def answer(size: int) -> bytes:
        """With a head of so many bytes."""
        end = b"Content-Length: 2\r\n\r\n"
        lines = (b"x: " + 8000 * b"y" + b"\r\n") * 8
        return OK + lines + b"z: " + (size - len(OK + lines + end) - 5) * b"z" + b"\r\n" + end + b"hi"

    with answering(answer(MAX_HEAD), answer(MAX_HEAD + 1)) as (url, _):
        assert fetch(url, limit=2, timeout=5) == b"hi"
        with pytest.raises(OSError, match="longer than"):
            fetch(url, limit=2, timeout=5)
