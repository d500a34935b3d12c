"""`handclasp connect`: one handshake with each target, verified as a browser would, told plainly."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from dataclasses import dataclass, replace

from .. import danger
from ..config import ClientConfig
from ..crypto.groups import GROUPS
from ..crypto.signatures import SUPPORTED
from ..crypto.suites import SAFE_SUITES
from ..errors import CertificateError, ConfigError, TLSError
from ..identity.certificates import Certificate
from ..identity.credentials import Credential
from ..identity.policies import private
from ..identity.revocation.policy import Revocation
from ..identity.trust import TrustStore, Verifier
from ..io.blocking import TLSSocket, wrap
from ..keylog import KeyLogFile
from ..rules import printable
from ..trace import Direction, MessageMoved
from ..wire.messages import CertificateRequest
from ..wire.names import CipherSuite, ContentType, NamedGroup, SignatureScheme
from .diagnosis import Attempt, diagnose, problem
from .dialling import Journey, Target, dial, target
from .fetch import Response, get
from .options import Parser, codes, protocols, seconds, versions
from .problems import USAGE, frame
from .recording import Recording
from .relay import relay
from .report import Outcome, document, success, told_problem
from .story import conversation
from .terminal import Terminal, is_closed_pipe, quiet, wrapped
from .words import octets

BROWSERS = ("h2", "http/1.1")
"""What is offered where the user names no application protocol."""

VERDICT = 0.5
"""Longest wait, in seconds, for what a server says about our certificate, or the lack of one."""

QUICK_VERDICT = 0.1
"""The least wait: on a near network the server's own work takes longer than the way."""

_ASKING = 5.0
"""Longest time, in seconds, for the CA's servers to answer; never more than half of what the handshake has."""


def configure(parser: Parser) -> None:
    parser.description = "One handshake, verified as a browser would, then a clean close."
    examples = ("handclasp connect example.com", "handclasp connect localhost:8443 --only-ca ca.pem --steps")
    parser.epilog = "\n  ".join(["examples:", *examples])
    add, rare = parser.add_argument, parser.rare
    add("targets", nargs="+", metavar="TARGET", help="host, host:port, [::1]:8443, https://host/path")
    add("--steps", action="store_true", help="the conversation, message by message")
    add("--bytes", action="store_true", help="the same, and every field of every message")
    add("--get", metavar="PATH", help="send one HTTP request; print the status and the headers")
    rare("--talk", action="store_true", help="relay standard input and output")
    add("--ask-ca", action="store_true", help="ask the CA's own servers whether it has revoked the certificate")
    add("--ca", metavar="FILE", action="append", default=[], help="trust these roots too (repeatable)")
    rare("--only-ca", metavar="FILE", action="append", default=[], help="trust these roots only (repeatable)")
    add("--cert", metavar="FILE", help="our certificate chain, for a server that asks")
    rare("--key", metavar="FILE", help="its key (default: in the same file)")
    rare("--alpn", metavar="LIST", type=protocols, help="application protocols, such as h2,http/1.1")
    rare("--name", metavar="NAME", help="the name to ask and check for")
    rare("--at", metavar="ADDR[:PORT]", help="dial there, and keep the name")
    rare("--tls", metavar="RANGE", type=versions, help="versions: 1.2, 1.3 or 1.2-1.3 (default)")
    rare("--groups", metavar="LIST", type=codes(NamedGroup, GROUPS), help="key-agreement groups")
    rare("--suites", metavar="LIST", type=codes(CipherSuite, SAFE_SUITES), help="cipher suites")
    rare("--sigalgs", metavar="LIST", type=codes(SignatureScheme, SUPPORTED), help="signature schemes")
    rare("--keylog", metavar="FILE", help="append this connection's secrets, for Wireshark")
    rare("--timeout", metavar="SECONDS", type=seconds, default=10.0, help="for each wait (default: 10)")
    rare("--insecure", action="store_true", help="accept any certificate")
    add("--json", action="store_true", help="one JSON document for each target")
    rare("-q", "--quiet", action="store_true", help="say nothing, by exit code alone")
    rare("-v", "--verbose", action="store_true", help="the reason of each choice too")


def run(arguments: argparse.Namespace) -> int:
    problems = quiet() if arguments.quiet else Terminal(sys.stderr, arguments.color)
    # Standard output belongs to what the server sends, where that was asked for.
    elsewhere = arguments.get is not None or arguments.talk
    page = problems if elsewhere else Terminal(sys.stdout, arguments.color)
    if arguments.quiet or arguments.json:
        page = quiet()
    try:
        base = _config(arguments, problems)
        targets = [target(text, name=arguments.name, at=arguments.at) for text in arguments.targets]
    except ConfigError as error:
        return _unusable(error, arguments, problems)
    exits = []
    for index, aim in enumerate(targets):
        if index:
            page.line()
        exits.append(_one(aim, base, arguments, page, problems))
    return next((code for code in exits if code), 0)


def _one(aim: Target, base: ClientConfig, arguments: argparse.Namespace, page: Terminal, problems: Terminal) -> int:
    """Try one target, and tell of it."""
    outcome, opened = _shake(aim, base, arguments)
    response = None
    if opened is not None:
        hint = not (arguments.steps or arguments.bytes)
        page.lines(success(outcome, page.look, verbose=arguments.verbose, hint=hint))
        outcome, response = _use(opened, outcome, arguments)
    if arguments.steps or arguments.bytes:
        recording = outcome.attempt.recording
        page.lines(["", *conversation(recording, page.look, every_byte=arguments.bytes)])
    if response is not None and not arguments.json and not arguments.quiet:
        Terminal(sys.stdout, "never").lines(response.head)
        stopped = "; there is more, which was not read" if response.more else ""
        problems.lines(["", *wrapped(f"{octets(response.received)} of body, not shown{stopped}")])
    if outcome.problem is not None:
        problems.lines(frame(outcome.problem, problems.look))
    if arguments.json:
        _print_json(outcome, response, indent=None if len(arguments.targets) > 1 else 2)
    return outcome.exit


def _print_json(outcome: Outcome, response: Response | None, *, indent: int | None) -> None:
    found = document(outcome) | ({"http": response.document()} if response is not None else {})
    Terminal(sys.stdout, "never").line(json.dumps(found, indent=indent))


def _unusable(error: ConfigError, arguments: argparse.Namespace, problems: Terminal) -> int:
    """An option or a file of ours that cannot work: nothing was sent."""
    aims = " ".join(arguments.targets)
    found = diagnose(error, Attempt(target=aims, host="", name=""))
    problems.lines(frame(found, problems.look))
    if arguments.json:
        told = told_problem(found)
        failed = {"handclasp": 1, "command": "connect", "target": aims, "ok": False, "exit": USAGE, "problem": told}
        Terminal(sys.stdout, "never").line(json.dumps(failed, indent=2))
    return USAGE


@dataclass(frozen=True, slots=True)
class Open:
    """A connection ready for use."""

    tls: TLSSocket
    early: bytes
    """What the server said before it was asked."""


# --- the connection --------------------------------------------------------------------------------------------------


def _shake(aim: Target, base: ClientConfig, arguments: argparse.Namespace) -> tuple[Outcome, Open | None]:
    """Dial, shake hands, and wait for a verdict on our certificate where one is due."""
    journey, recording = Journey(), Recording()
    config = base.replace(trace=recording)
    opened: Open | TLSError | OSError
    try:
        opened = _opened(aim, config, journey, recording, arguments.timeout)
    except (TLSError, OSError) as error:
        opened = error
    attempt = _told(aim, journey, recording, config, arguments)
    outcome = Outcome(target=aim, attempt=attempt, journey=journey, config=config, verified=not arguments.insecure)
    if not isinstance(opened, Open):
        return _failed(outcome, opened), None
    info = opened.tls.info
    store = _store(info.verified_chain[-1], arguments)
    outcome = replace(outcome, info=info, presented=info.peer_certificates, store=store)
    if arguments.alpn and info.alpn is None:
        opened.tls.close()
        unmet = f"The handshake is good, but the server chose none of {', '.join(arguments.alpn)}."
        return replace(outcome, problem=problem("hello.no-alpn", attempt, unmet)), None
    return outcome, opened


def _opened(aim: Target, config: ClientConfig, journey: Journey, recording: Recording, timeout: float) -> Open:
    """Raises TLSError, OSError."""
    sock = dial(journey, aim.dial, timeout)
    began = time.perf_counter()
    try:
        tls = wrap(sock, config, server_name=aim.name, timeout=timeout)
    finally:
        journey.tls = time.perf_counter() - began
    try:
        return Open(tls, _await_verdict(tls, recording, timeout))
    except BaseException:
        tls.close()
        raise


def _told(
    aim: Target, journey: Journey, recording: Recording, config: ClientConfig, arguments: argparse.Namespace
) -> Attempt:
    return Attempt(
        target=str(aim),
        host=aim.dial[0],
        name=aim.name,
        address=journey.shown_address,
        timeout=arguments.timeout,
        config=config,
        recording=recording,
        answer=journey.answer,
        narrowed=frozenset(what for what in ("groups", "suites", "sigalgs") if getattr(arguments, what)),
    )


def _failed(outcome: Outcome, error: TLSError | OSError) -> Outcome:
    presented, faulty = outcome.presented, None
    if isinstance(error, CertificateError):
        presented, faulty = error.peer_chain, error.certificate_index
    return replace(outcome, problem=diagnose(error, outcome.attempt), presented=presented, faulty=faulty)


def _await_verdict(tls: TLSSocket, recording: Recording, timeout: float) -> bytes:
    """In TLS 1.3 our handshake is done before the server has judged our certificate, or the lack of one.

    It says no with an alert; it says yes with silence, or with data, which is returned. Raises TLSError, OSError.
    """
    if not recording.messages(CertificateRequest, Direction.RECEIVED):
        return b""
    hello, answer = [event for event in recording.of(MessageMoved) if event.type is ContentType.HANDSHAKE][:2]
    trip = recording.at(answer) - recording.at(hello)
    tls.settimeout(min(max(3 * trip, QUICK_VERDICT), VERDICT))
    try:
        return tls.recv(65536)
    except TimeoutError:
        return b""
    finally:
        tls.settimeout(timeout)


_ENDS = {True: "the connection ended without close_notify", False: "the server said goodbye"}


def _use(opened: Open, outcome: Outcome, arguments: argparse.Namespace) -> tuple[Outcome, Response | None]:
    """What the user wants of the connection; then a goodbye."""
    response = None
    try:
        if arguments.get is not None:
            response = get(opened.tls, outcome.target, arguments.get, opened.early)
            if not response.is_http:
                seen = f"The answer began: {printable(response.head[0], 48)}" if response.head[0] else "None came."
                return replace(outcome, problem=problem("http.none", outcome.attempt, seen)), None
            if not response.whole:
                wanted = "an unknown number" if response.size is None else octets(response.size)
                seen = f"{octets(response.received)} of {wanted} came, and then {_ENDS[response.cut]}."
                code = "conn.truncated" if response.cut else "http.length"
                return replace(outcome, problem=problem(code, outcome.attempt, seen)), response
        elif arguments.talk:
            opened.tls.settimeout(None)
            relay(opened.tls, opened.early)
    except TLSError as error:
        return _failed(outcome, error), response
    except OSError as error:
        if arguments.talk and is_closed_pipe(error):
            raise  # it is our own output that has no reader
        return _failed(outcome, error), response
    finally:
        opened.tls.close()
    return outcome, response


# --- what we bring ---------------------------------------------------------------------------------------------------


def _config(arguments: argparse.Namespace, problems: Terminal) -> ClientConfig:
    """The options as a configuration, checked before anything is sent. Raises ConfigError."""
    if arguments.talk and (arguments.json or arguments.get is not None):
        raise ConfigError("--talk needs standard output for itself", remedy="leave out --json and --get")
    credentials = [Credential.from_files(arguments.cert, arguments.key)] if arguments.cert else []
    if arguments.ask_ca and arguments.insecure:
        raise ConfigError("a certificate that is not checked has no CA to ask", remedy="leave out --insecure")
    if arguments.key and not arguments.cert:
        raise ConfigError("--key is the key of a certificate", remedy="give the certificate too: --cert FILE")
    lists = {
        "versions": arguments.tls,
        "groups": arguments.groups,
        "cipher_suites": arguments.suites,
        "signature_schemes": arguments.sigalgs,
    }
    config = ClientConfig(
        trust=_trust(arguments),
        credentials=credentials,
        alpn=_protocols(arguments),
        keylog=_keylog(arguments, problems),
        revocation=Revocation("soft", timeout=min(arguments.timeout / 2, _ASKING)) if arguments.ask_ca else "staple",
    ).replace(**{name: values for name, values in lists.items() if values})
    if not arguments.insecure:
        return config
    problems.line(
        problems.look.bad("! the certificate is not checked (--insecure): anyone on the way can be the server")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", danger.InsecureWarning)  # it has just been said
        return danger.insecure_no_verification(config)


def _trust(arguments: argparse.Namespace) -> Verifier:
    """The public web's rules for the system's roots; for those in files, the rules that private CAs keep to."""
    files = [roots(path) for path in (*arguments.only_ca, *arguments.ca)]
    if not files:
        return TrustStore.system()
    ours = private(*files)
    return ours if arguments.only_ca else TrustStore.system() | ours


def roots(path: str) -> TrustStore:
    """The roots in a file, read now: one that cannot be used is the user's to mend."""
    if not os.access(path, os.R_OK):
        raise ConfigError(f"{path!r} cannot be read", code="file-missing", remedy="check the path and its permissions")
    trust = TrustStore.from_file(path)
    remedy = "give PEM text, or one certificate in DER"
    try:
        found = trust.certificates
    except ConfigError as error:
        raise ConfigError(f"{path!r} has no roots: {error}", code="no-certificate", remedy=remedy) from None
    if not found:
        raise ConfigError(f"there is no certificate in {path!r}", code="no-certificate", remedy=remedy)
    return trust


def _store(anchor: Certificate, arguments: argparse.Namespace) -> str:
    """Where the root of a chain was found."""
    for path in (*arguments.only_ca, *arguments.ca):
        if anchor in TrustStore.from_file(path).certificates:
            return f"in {os.path.basename(path)}"
    return "in the system store"


def _protocols(arguments: argparse.Namespace) -> tuple[str, ...]:
    if arguments.alpn is not None:
        offered: tuple[str, ...] = arguments.alpn
        if arguments.get is not None and "http/1.1" not in offered:
            raise ConfigError("--get speaks HTTP/1.1", remedy="leave out --alpn, or set it to http/1.1")
        return offered if arguments.get is None else ("http/1.1",)
    if arguments.get is not None:
        return ("http/1.1",)
    return () if arguments.talk else BROWSERS


def _keylog(arguments: argparse.Namespace, problems: Terminal) -> KeyLogFile | None:
    """Where secrets go: the option, or SSLKEYLOGFILE unless we run with someone else's rights."""
    trusted = not hasattr(os, "getuid") or os.getuid() == os.geteuid()
    path = arguments.keylog or (os.environ.get("SSLKEYLOGFILE") if trusted else None)
    if not path:
        return None
    log = KeyLogFile(path)
    try:
        log.check()
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        raise ConfigError(
            f"the key log {path!r} cannot be written: {reason}", code="file-missing", remedy="check the path"
        ) from None
    problems.line(problems.look.warning(f"! the secrets of this connection go to {path}: whoever has it can read all"))
    return log
