"""A folder as answers to HTTP requests. It reads files below one root, and nothing else."""

from __future__ import annotations

import html
import mimetypes
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request, as far as a file server reads it."""

    method: str
    target: str
    host: str
    """The Host header; empty when there is none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send. The body is in memory, or is a file of which `size` bytes are sent."""

    status: HTTPStatus
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    file: Path | None = None
    file_size: int = 0

    @property
    def size(self) -> int:
        return len(self.body) if self.file is None else self.file_size

    def head(self) -> bytes:
        """The status line and the headers, up to the body."""
        fixed = (("Content-Length", str(self.size)), ("Connection", "close"), ("X-Content-Type-Options", "nosniff"))
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in (*self.headers, *fixed)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


def request(head: bytes) -> Request | None:
    """The request in a head; None for what is none."""
    line, *fields = head.decode("latin-1").split("\r\n")
    words = line.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].isprintable():
        return None
    hosts = [value.strip() for name, _, value in (field.partition(":") for field in fields) if name.lower() == "host"]
    return Request(words[0], words[1], hosts[0] if hosts else "")


def plain(status: HTTPStatus, *headers: tuple[str, str]) -> Answer:
    """An answer that only says its status."""
    body = f"{status.value} {status.phrase}\n".encode()
    return Answer(status, (("Content-Type", "text/plain; charset=utf-8"), *headers), body)


def answer(root: Path, asked: Request | None) -> Answer:
    """The answer of the folder `root`, which is absolute and without symbolic links. Raises nothing."""
    if asked is None:
        return plain(HTTPStatus.BAD_REQUEST)
    if asked.method not in ("GET", "HEAD"):
        return plain(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "GET, HEAD"))
    try:
        found = locate(root, asked.target)
        if found is None:
            return plain(HTTPStatus.NOT_FOUND)
        if not found.is_dir():
            return _file(found)
        if not _path(asked.target).endswith("/"):
            return plain(HTTPStatus.MOVED_PERMANENTLY, ("Location", _url(root, found)))
        index = locate(root, f"{_url(root, found)}index.html")
        return _file(index) if index is not None and index.is_file() else _listing(root, found)
    except PermissionError:
        return plain(HTTPStatus.FORBIDDEN)
    except OSError:  # a file gone meanwhile
        return plain(HTTPStatus.NOT_FOUND)


def locate(root: Path, target: str) -> Path | None:
    """The file or folder a request names, resolved; None for what is not there, hidden, or outside of the root.

    Symbolic links are followed first and judged by where they lead.
    """
    parts = [part for part in unquote_to_bytes(_path(target)).split(b"/") if part]
    if any((part.startswith(b".") and part != b".well-known") or b"\0" in part or b"\\" in part for part in parts):
        return None
    try:
        found = root.joinpath(*(part.decode("utf-8", "surrogateescape") for part in parts)).resolve()
        exists = found.is_file() or found.is_dir()
    except (OSError, RuntimeError):  # a name too long for the system, a loop of links
        return None
    return found if exists and found.is_relative_to(root) else None


def _file(path: Path) -> Answer:
    kind, encoding = mimetypes.guess_type(path.name)
    if kind is None or encoding is not None:
        kind = "application/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    with path.open("rb"):
        pass  # a file that we may not read is refused before anything is sent
    return Answer(HTTPStatus.OK, (("Content-Type", kind),), file=path, file_size=path.stat().st_size)


def _listing(root: Path, folder: Path) -> Answer:
    names = [
        entry.name + ("/" if entry.is_dir() else "")
        for entry in sorted(folder.iterdir(), key=lambda entry: (not entry.is_dir(), entry.name.lower()))
        if locate(root, _url(root, entry)) is not None
    ]
    here = "/" if folder == root else f"/{_shown(folder.relative_to(root).as_posix())}/"
    up = [] if folder == root else ['<li><a href="../">../</a>']
    items = up + [f'<li><a href="./{quote(_raw(name))}">{html.escape(_shown(name))}</a>' for name in names]
    page = (
        f"<!doctype html><meta charset=utf-8><title>{html.escape(here)}</title>\n<h1>{html.escape(here)}</h1>\n<ul>\n"
    )
    body = page + "\n".join(items) + "\n</ul>\n"
    return Answer(HTTPStatus.OK, (("Content-Type", "text/html; charset=utf-8"),), body.encode())


def _path(target: str) -> str:
    return target.partition("?")[0].partition("#")[0]


def _url(root: Path, found: Path) -> str:
    """The path of a folder's URL, from one slash to the last: never a link to another host."""
    inside = quote(_raw(found.relative_to(root).as_posix())) if found != root else ""
    return f"/{inside}/" if inside else "/"


def _raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _shown(name: str) -> str:
    return _raw(name).decode("utf-8", "replace")
