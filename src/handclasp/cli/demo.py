"""`handclasp demo`: one TLS connection on this machine, told in steps while it happens.

A client and a server meet over TCP on the loopback interface. What is printed comes from the recordings of these two,
and is checked before it is told: a step that did not happen stops the demo.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime

from ..config import ClientAuth, ClientConfig, ServerConfig
from ..errors import AlertReceived, CertificateError, TLSError
from ..lab.ca import CertificateAuthority
from . import demo_steps as steps
from .demo_lifetimes import lifetimes
from .demo_rsa import rsa
from .demo_steps import Told, Untold, require
from .diagnosis import Attempt, diagnose
from .meeting import LABEL, NAME, PATIENCE, answering, ask
from .options import Parser
from .problems import frame
from .recording import Recording
from .terminal import Terminal, wrapped


def configure(parser: Parser) -> None:
    parser.description = "One TLS connection on this machine, told in eight steps."
    parser.add_argument("story", nargs="?", choices=list(STORIES), default="tls13", help="which story (default: tls13)")


def run(arguments: argparse.Namespace) -> int:
    page = Terminal(sys.stdout, arguments.color)
    try:
        STORIES[arguments.story](page)
    except (Untold, TLSError, TimeoutError) as error:
        problems = Terminal(sys.stderr, arguments.color)
        problems.line(f"{problems.look.bad('✗')} the demo stopped: {error}")
        return 1
    return 0


def tls13(page: Terminal) -> None:
    """TLS 1.3 with certificates on both sides, data, new keys, goodbye; then two refusals."""
    began = time.perf_counter()
    root = CertificateAuthority("Demo Root CA")
    issuer = root.intermediate("Demo Issuing CA")
    shop, alice = issuer.issue(NAME, f"www.{NAME}"), issuer.issue(common_name="Alice", usage="client")
    client, server = Recording(records=True), Recording(records=True)
    config = ClientConfig(trust=root.trust, credentials=[alice], alpn=["http/1.1"], trace=client)
    authorities = [root.certificate.subject_der, issuer.certificate.subject_der]
    auth = ClientAuth(verify=root.trust, authorities=authorities)
    with answering(ServerConfig(credentials=[shop], client_auth=auth, alpn=["http/1.1"], trace=server)) as meeting:
        with meeting.connect(config, NAME) as tls:
            # The server finishes last: once it has its value, all that is told below has happened on both sides.
            exported = meeting.exported.result(PATIENCE)
            told = Told(page, NAME, meeting.port, client, server, tls.info, root.root, datetime.now(UTC))
            steps.title(told)
            steps.offer(told)
            steps.choice(told)
            steps.certificate(told)
            steps.our_certificate(told)
            steps.agreement(told, tls.export(LABEL), exported)
            steps.finished(told)
            exchanges = [ask(tls, "/")]
            tls.update_keys(request_peer=True)
            exchanges.append(ask(tls, "/again"))
        heard = meeting.served.result(PATIENCE)
    steps.data(told, exchanges, heard)
    lifetimes(told, root.trust, shop)

    page.lines(["", *wrapped("Two failures that everyone meets sooner or later:", "")])
    plain, stranger = ServerConfig(credentials=[shop]), CertificateAuthority("Another Root CA")
    refused(page, plain, ClientConfig(trust=root.trust), "bank.test", "cert.name-mismatch")
    refused(page, plain, ClientConfig(trust=stranger.trust), NAME, "cert.unknown-ca")
    steps.summary(told, 2, time.perf_counter() - began)


STORIES = {"tls13": tls13, "rsa": rsa}


def refused(page: Terminal, server: ServerConfig, config: ClientConfig, name: str, code: str) -> None:
    """A connection that must fail in the client for just this cause, and the server must hear of it."""
    recording = Recording()
    with answering(server) as meeting:
        try:
            meeting.connect(config.replace(trace=recording), name).close()
        except CertificateError as error:
            problem = diagnose(error, _attempt(name, meeting.port, recording))
            told_why = meeting.served.exception(PATIENCE)
            heard = told_why.alert if isinstance(told_why, AlertReceived) else None
            require(problem.code == code, f"a refusal for {code}, not for {problem.code}")
            require(heard is error.alert, "the server hears why it was refused")
            page.lines(["", *frame(problem, page.look)])
        else:
            raise Untold(f"a refusal for {code}: the connection was accepted")


def _attempt(name: str, port: int, recording: Recording) -> Attempt:
    return Attempt(target=f"{name}:{port}", host=name, name=name, recording=recording)
