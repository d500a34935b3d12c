"""`handclasp serve`: HTTPS for a folder, with a certificate made on the fly."""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import shlex
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from .. import aio
from ..config import ClientAuth, ServerConfig
from ..errors import ConfigError, TLSError
from ..events import ConnectionInfo
from ..identity.credentials import Credential
from ..identity.names import peer_name
from ..identity.policies import private
from ..lab.ca import CertificateAuthority
from ..rules import printable
from . import site
from .connect import roots
from .diagnosis import Attempt, diagnose, problem
from .dialling import place
from .options import Parser, host_and_port
from .problems import USAGE, Problem, frame
from .terminal import Look, Terminal, quiet, row
from .visitors import FirstHello, echo, failure
from .words import left, milliseconds, size

PATIENCE = 10.0
"""Seconds a client may take for its handshake, for its request, and for each read of our answer."""

AT_ONCE = 64
"""Answers given at the same time. Clients that say nothing take no room."""

FAREWELL = 3.0
"""Seconds that connections under way get to finish once we stop."""

LOOPBACK = "127.0.0.1"
ALWAYS_NAMED = ("localhost", LOOPBACK, "::1")
MOST_HEAD = 16 * 1024
CHUNK = 256 * 1024


def configure(parser: Parser) -> None:
    parser.description = "HTTPS for a folder: GET and HEAD, folder listings, nothing to set up."
    parser.epilog = "examples:\n  handclasp serve ./site\n  handclasp serve --echo --on :0"
    add = parser.add_argument
    add("folder", nargs="?", default=".", metavar="DIR", help="what to serve (default: this folder)")
    add("--on", default=":8443", metavar="[HOST]:PORT", help="where to listen (default: 127.0.0.1:8443; port 0: any)")
    add("--name", action="append", default=[], metavar="NAME", help="another name for the certificate (repeatable)")
    add("--ca-out", metavar="FILE", help="where to write the certificate of the CA made for this run")
    add("--cert", metavar="FILE", help="our certificate chain, in place of one made now")
    add("--key", metavar="FILE", help="its key (default: in the same file)")
    add("--mtls", metavar="CA.pem", help="require client certificates from these CAs")
    add("--echo", action="store_true", help="answer with what the client offered, as JSON")
    add("-q", "--quiet", action="store_true", help="no log lines")


def run(arguments: argparse.Namespace) -> int:
    page, problems = Terminal(sys.stdout, arguments.color), Terminal(sys.stderr, arguments.color)
    told = Attempt(target=arguments.on, host="", name="")
    with ExitStack() as at_end:
        try:
            host, port = host_and_port(arguments.on)
            credential, root = _credential(arguments, host, at_end)
            config = ServerConfig(credentials=[credential], client_auth=_clients(arguments), alpn=["http/1.1"])
            folder = _folder(arguments.folder)
            listener = at_end.enter_context(_listen(host or LOOPBACK, port))
        except ConfigError as error:
            problems.lines(frame(diagnose(error, told), problems.look))
            return USAGE
        except OSError as error:
            problems.lines(frame(_no_listener(error, told), problems.look))
            return USAGE
        log = quiet() if arguments.quiet else problems
        server = Server(config, folder, arguments.echo, listener.getsockname()[:2], log)
        page.lines(_banner(server, arguments, credential, root, page.look))
        asyncio.run(_take_all(server, listener))
    return 0


# --- what we need ----------------------------------------------------------------------------------------------------


def _credential(arguments: argparse.Namespace, host: str, at_end: ExitStack) -> tuple[Credential, Path | None]:
    """What we show, and where the root of a CA made for this run is; no private key is ever written."""
    if arguments.cert:
        if arguments.name or arguments.ca_out:
            raise ConfigError(
                "--name and --ca-out go with a certificate that is made now", remedy="leave them out, or --cert"
            )
        return Credential.from_files(arguments.cert, arguments.key), None
    if arguments.key:
        raise ConfigError("--key is the key of a certificate", remedy="give the certificate too: --cert FILE")
    named = [] if host in ("", "0.0.0.0", "::") else [peer_name(host).text]
    names = dict.fromkeys((*ALWAYS_NAMED, *named, *(peer_name(name).text for name in arguments.name)))
    ca = CertificateAuthority("handclasp serve CA")
    if arguments.ca_out:
        root = Path(arguments.ca_out)
    else:
        root = Path(at_end.enter_context(tempfile.TemporaryDirectory(prefix="handclasp-"))) / "ca.pem"
    try:
        root.write_bytes(ca.pem())
    except OSError as error:
        raise ConfigError(
            f"{str(root)!r} cannot be written: {(error.strerror or 'no reason given').lower()}",
            code="file-missing",
            remedy="check the path of --ca-out and its permissions",
        ) from None
    return ca.issue(*names), root


def _clients(arguments: argparse.Namespace) -> ClientAuth | None:
    if not arguments.mtls:
        return None
    trust = roots(arguments.mtls)
    return ClientAuth(
        verify=private(trust), authorities=[certificate.subject_der for certificate in trust.certificates]
    )


def _folder(path: str) -> Path:
    folder = Path(path).resolve()
    if not folder.is_dir():
        raise ConfigError(f"{path!r} is not a folder", code="file-missing", remedy="name a folder to serve")
    return folder


def _listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128)


def _no_listener(error: OSError, told: Attempt) -> Problem:
    if error.errno == errno.EADDRINUSE:
        return problem("listen.in-use", told, "The system gives each port to one program only.")
    reason = (error.strerror or "no reason given").lower().partition(" (while")[0]
    remedy = "name an address of this machine, and a port you may use: --on HOST:PORT"
    return problem("option", told, f"The system does not let us listen here: {reason}.", remedy=remedy)


def _banner(
    server: Server, arguments: argparse.Namespace, credential: Credential, root: Path | None, look: Look
) -> list[str]:
    url = f"https://{server.authority}/"
    what = "what each client offers" if server.echo else arguments.folder
    made = "made now, " if root is not None else ""
    names = f"{', '.join(credential.leaf.names)} ({made}{left(credential.leaf, datetime.now(UTC))})"
    lines = [
        f"{look.good('✓')} serving {printable(what)} on {look.strong(url)}   Ctrl-C stops",
        *row("certificate", names, look),
    ]
    if server.config.client_auth is not None:
        lines += row("clients", f"need a certificate from a CA in {arguments.mtls}", look)
    if root is not None:
        lines += row("signed by", "a CA made for this run; browsers do not trust it", look)
        lines += ["  try it", f"    curl --cacert {shlex.quote(str(root))} {url}"]
    return [*lines, ""]


# --- serving ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Server:
    """What every connection needs."""

    config: ServerConfig
    folder: Path
    echo: bool
    address: tuple[str, int]
    log: Terminal
    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    @property
    def authority(self) -> str:
        """Host and port as our own links name them: the name that our certificate has wherever we listen here."""
        host, port = self.address
        return place("localhost" if host in (LOOPBACK, "::1", "0.0.0.0", "::") else host, port)

    def say(self, peer: str, text: str) -> None:
        """One log line: one event, never folded."""
        self.log.line(f"  {datetime.now():%H:%M:%S} {peer}  {text}")


async def _take_all(server: Server, listener: socket.socket) -> None:
    """Take connections until SIGTERM or Ctrl-C. Those under way get to finish."""
    visits: set[asyncio.Task[None]] = set()

    def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve(server, reader, writer))
        visits.add(task)
        task.add_done_callback(visits.discard)

    taking = await asyncio.start_server(came, sock=listener)
    told = asyncio.Event()
    with suppress(NotImplementedError):  # Windows, where Ctrl-C is all there is
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    try:
        await told.wait()
    finally:
        taking.close()
        if visits:
            await asyncio.wait(visits, timeout=FAREWELL)


async def _serve(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, from its first byte to its last. Whatever it does costs one log line."""
    shown = place(*writer.get_extra_info("peername")[:2])
    try:
        async with asyncio.timeout(PATIENCE):
            first = await reader.read(MOST_HEAD)
        # TLS begins with the byte 22; a letter is somebody who does not know that this port has TLS.
        if first[:1].isalpha():
            await _redirect(server, first, reader, writer, shown)
            return
        hello = FirstHello()
        config = server.config.replace(trace=hello)
        tls_reader, tls_writer = await aio.start_tls(reader, writer, config, timeout=PATIENCE, received=first)
        try:
            await _answer(server, tls_reader, tls_writer, hello, shown)
        finally:
            tls_writer.close()
            with suppress(TLSError, OSError):  # it was told already, if it matters
                await tls_writer.wait_closed()
    except (TLSError, OSError) as error:
        server.say(shown, failure(error))
    except Exception as bug:
        server.say(shown, f"a bug in handclasp: {type(bug).__name__}: {printable(str(bug))}")
    finally:
        writer.close()


async def _answer(
    server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: FirstHello, shown: str
) -> None:
    """One request, one answer."""
    began = time.perf_counter()
    info: ConnectionInfo = writer.get_extra_info("tls_info")
    head = await _head(reader)
    if not head:
        server.say(shown, f"{info.version} {info.group}  left without a request")
        return
    asked = site.request(head)
    async with server.room:
        if server.echo:
            text = json.dumps(echo(info, hello), indent=2) + "\n"
            answer = site.Answer(HTTPStatus.OK, (("Content-Type", "application/json"),), text.encode())
        else:
            answer = await asyncio.to_thread(site.answer, server.folder, asked)
        sent = await _send(writer, answer, with_body=asked is None or asked.method != "HEAD")
    line = "a request that cannot be read" if asked is None else f"{asked.method} {asked.target}"
    server.say(
        shown,
        f"{info.version} {info.group}  {answer.status.value} {printable(line)}  {size(sent)}"
        f"  {milliseconds(time.perf_counter() - began)} ms",
    )


async def _send(writer: asyncio.StreamWriter, answer: site.Answer, *, with_body: bool) -> int:
    """Send an answer; how many bytes of body that was."""
    await _write(writer, answer.head() + (answer.body if with_body else b""))
    if not with_body or answer.file is None:
        return len(answer.body) if with_body else 0
    sent = 0
    with answer.file.open("rb") as file:
        # Exactly what Content-Length said, also of a file that grows meanwhile.
        while sent < answer.size:
            chunk = await asyncio.to_thread(file.read, min(CHUNK, answer.size - sent))
            if not chunk:
                break
            await _write(writer, chunk)
            sent += len(chunk)
    return sent


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    async with asyncio.timeout(PATIENCE):
        await writer.drain()


async def _redirect(
    server: Server, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, shown: str
) -> None:
    """Plain HTTP on our port: say where TLS is."""
    asked = site.request(await _head(reader, first))
    if asked is None:
        server.say(shown, "sent something that is neither TLS nor HTTP")
        return
    path = asked.target if asked.target.startswith("/") else "/"
    answer = site.plain(HTTPStatus.PERMANENT_REDIRECT, ("Location", f"https://{server.authority}{path}"))
    await _write(writer, answer.head() + answer.body)
    server.say(shown, "plain HTTP sent here; redirected to https")


async def _head(reader: asyncio.StreamReader, came: bytes = b"") -> bytes:
    """The head of a request, within the time and the size a head may take; what came of it when it ends early."""
    async with asyncio.timeout(PATIENCE):
        while b"\r\n\r\n" not in came and len(came) < MOST_HEAD:
            data = await reader.read(MOST_HEAD)
            if not data:
                break
            came += data
    return came.partition(b"\r\n\r\n")[0]
