"""What can go wrong, as a catalogue: one entry for each cause, with why it happens and what to do about it.

`diagnose` (in diagnosis.py) finds the entry for an error; the texts take this connection's names and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from .terminal import Look, row, wrapped

USAGE, NO_CONNECTION, NOT_TLS, NO_HANDSHAKE, CERTIFICATE, OUR_CERTIFICATE, BROKEN = 2, 3, 4, 5, 6, 7, 9
"""Exit codes, by what stopped us."""

Side = Literal["", "client", "server"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One cause. The texts name values in braces."""

    exit: int
    headline: str
    why: str = ""
    client: tuple[str, ...] = ()
    """What to do on our side."""
    server: tuple[str, ...] = ()
    """What to do on the other side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One failure of one connection."""

    code: str
    entry: Entry
    target: str
    """What it is about: `shop.example.com:443`, or a file."""
    seen: str
    """What we saw, as a sentence."""
    values: Mapping[str, str] = field(default_factory=dict)
    facts: tuple[tuple[str, str], ...] = ()
    certain: bool = True
    """False where the cause is only the likely one."""
    alert_sent: str = ""
    alert_received: str = ""

    @property
    def exit(self) -> int:
        return self.entry.exit

    @property
    def headline(self) -> str:
        return self.entry.headline.format_map(self.values)

    @property
    def why(self) -> str:
        return self.entry.why.format_map(self.values)

    @property
    def fixes(self) -> tuple[tuple[Side, str], ...]:
        """(whose side, what to do)."""
        sided = [("client", text) for text in self.entry.client] + [("server", text) for text in self.entry.server]
        return tuple((_side(side), text.format_map(self.values)) for side, text in sided)


def frame(problem: Problem, look: Look) -> list[str]:
    """The failure as it is shown: headline, what we saw, facts, why, fix, code."""
    lines = [f"{look.bad('✗')} {look.strong(problem.target)}  {problem.headline}"]
    if len(f"✗ {problem.target}  {problem.headline}") > 78:
        lines = [f"{look.bad('✗')} {look.strong(problem.target)}", *wrapped(problem.headline)]
    lines += ["", *wrapped(problem.seen)]
    if problem.facts:
        lines += ["", *(line for label, value in problem.facts for line in row(label, value, look))]
    lines.append("")
    if problem.why:
        lines += _labelled("why", problem.why, look)
    for index, (side, text) in enumerate(problem.fixes):
        both = len({side for side, _ in problem.fixes}) > 1
        lines += _labelled("" if index else "fix", f"{side}: {text}" if both else text, look)
    return [*lines, "", look.dim(f"  {_summary(problem)}")]


def _labelled(label: str, text: str, look: Look) -> list[str]:
    first, *others = wrapped(text, " " * 7)
    return [f"  {look.strong(label.ljust(5))}{first[7:]}", *others]


def _summary(problem: Problem) -> str:
    parts = [problem.code if problem.certain else f"{problem.code} (likely)", f"exit {problem.exit}"]
    if problem.alert_sent:
        parts.append(f"alert sent: {problem.alert_sent}")
    if problem.alert_received:
        parts.append(f"alert received: {problem.alert_received}")
    return " · ".join(parts)


def _side(text: str) -> Side:
    return "client" if text == "client" else "server"


CATALOGUE: Final[Mapping[str, Entry]] = {
    # --- local files and options ---
    "option": Entry(
        exit=USAGE,
        headline="this cannot work",
        client=("{remedy}",),
    ),
    "file.missing": Entry(
        exit=USAGE,
        headline="a file cannot be used",
        client=("{remedy}",),
    ),
    "file.unreadable": Entry(
        exit=USAGE,
        headline="a file does not hold what it should",
        client=("{remedy}",),
    ),
    "file.key-mismatch": Entry(
        exit=USAGE,
        headline="the key does not belong to the certificate",
        client=("{remedy}",),
    ),
    "file.encrypted-key": Entry(
        exit=USAGE,
        headline="the private key is encrypted",
        client=("give the key without its password: openssl pkey -in KEY -out PLAIN_KEY",),
    ),
    "file.chain-order": Entry(
        exit=USAGE,
        headline="the certificates are in the wrong order",
        client=("{remedy}",),
    ),
    "file.no-roots": Entry(
        exit=USAGE,
        headline="there are no trusted roots to check against",
        client=("name a file with --ca FILE, set SSL_CERT_FILE, or install the package ca-certificates",),
    ),
    "listen.in-use": Entry(
        exit=USAGE,
        headline="something else listens here already",
        client=("stop it, or take another port: --on :0 finds a free one",),
    ),
    # --- no connection ---
    "net.dns": Entry(
        exit=NO_CONNECTION,
        headline="there is no address for {host}",
        why="The name is misspelt, new, or only known inside another network.",
        client=("check the spelling; --at ADDRESS dials without asking for the name's address",),
    ),
    "net.refused": Entry(
        exit=NO_CONNECTION,
        headline="nothing listens on {address}",
        why="The service is down, on another port, or bound to another address.",
        client=("check the port",),
        server=("start the service, or let it listen on this address",),
    ),
    "net.timeout": Entry(
        exit=NO_CONNECTION,
        headline="{address} did not answer in {timeout} s",
        why="A firewall drops what we send, or the host is away.",
        client=("try from another network, or allow more time with --timeout",),
        server=("open the port",),
    ),
    "net.unreachable": Entry(
        exit=NO_CONNECTION,
        headline="{address} cannot be reached from here",
        why="There is no route to it from this network.",
        client=("check the address and the network",),
    ),
    "net.silent": Entry(
        exit=NO_CONNECTION,
        headline="the server accepted the connection, then said nothing",
        why="It waits for another protocol, is overloaded, or a filter swallowed our first message.",
        client=("check that this port speaks TLS; --timeout allows more time",),
        server=("look for our address in its log",),
    ),
    # --- not TLS ---
    "peer.plain-http": Entry(
        exit=NOT_TLS,
        headline="this port speaks plain HTTP, not TLS",
        why="The server (or a proxy in front of it) has no TLS on this port.",
        client=("use http://{target}, or the port that has TLS",),
        server=("turn TLS on for this port",),
    ),
    "peer.needs-starttls": Entry(
        exit=NOT_TLS,
        headline="this server starts in plain text",
        why="Mail and file servers begin without TLS here, and change to it when asked (STARTTLS).",
        client=("use its direct TLS port: 465 for SMTP, 993 for IMAP, 995 for POP3, 990 for FTP",),
    ),
    "peer.not-tls": Entry(
        exit=NOT_TLS,
        headline="what answers on this port is not TLS",
        why="Another protocol lives here.",
        client=("check the port",),
    ),
    # --- TLS, but no handshake ---
    "hello.no-version": Entry(
        exit=NO_HANDSHAKE,
        headline="no TLS version in common",
        why="The server takes none of the versions we offered.",
        client=("offer TLS 1.2 too: --tls 1.2-1.3, or leave the option out",),
        server=("enable TLS 1.2 or TLS 1.3",),
    ),
    "hello.no-suite": Entry(
        exit=NO_HANDSHAKE,
        headline="no cipher suite in common",
        why="The server has none of the suites we offered.",
        client=("offer more with --suites, or leave the option out",),
        server=("enable one of ours; TLS_AES_128_GCM_SHA256 is the one every TLS 1.3 peer must have",),
    ),
    "hello.no-group": Entry(
        exit=NO_HANDSHAKE,
        headline="no key-agreement group in common",
        why="The server has none of the groups we offered.",
        client=("offer more with --groups, or leave the option out",),
        server=("enable one of ours; X25519 and secp256r1 are the common ones",),
    ),
    "hello.no-sigalg": Entry(
        exit=NO_HANDSHAKE,
        headline="no signature scheme in common",
        why="The server's key can sign with none of the schemes we offered.",
        client=("offer more with --sigalgs, or leave the option out",),
        server=("add a certificate with another kind of key",),
    ),
    "hello.no-alpn": Entry(
        exit=NO_HANDSHAKE,
        headline="no application protocol in common",
        why="The server has none of the protocols we offered.",
        client=("offer another with --alpn, or leave the option out",),
    ),
    "hello.unknown-name": Entry(
        exit=NO_HANDSHAKE,
        headline="the server does not know the name {name}",
        why="It has no certificate for this name, and no other to show instead.",
        client=("check the name",),
        server=("add the name, or a certificate for all others",),
    ),
    "hello.refused": Entry(
        exit=NO_HANDSHAKE,
        headline="the server refused the handshake",
        why="It gave no reason but the alert. Often the two sides have no suite, group or signature scheme in common.",
        client=("compare the lists above with what the server has",),
        server=("look for our address in its log: it knows the reason",),
    ),
    "hello.dropped": Entry(
        exit=NO_HANDSHAKE,
        headline="the connection was cut in the middle of the handshake",
        why="A filter on the way dislikes the name, or the size of our first message; or the server crashed.",
        client=("try a smaller first message (--groups X25519), or another network",),
        server=("look for our address in its log",),
    ),
    "hello.stalled": Entry(
        exit=NO_HANDSHAKE,
        headline="the handshake did not finish in {timeout} s",
        why="The server is overloaded, or part of what it sent was lost on the way.",
        client=("allow more time with --timeout",),
    ),
    "hello.protocol": Entry(
        exit=NO_HANDSHAKE,
        headline="the server broke the protocol",
        why="This is a fault of the program on the other side, or of something on the way.",
        server=("update it, and show its makers this text",),
    ),
    "hello.downgrade": Entry(
        exit=NO_HANDSHAKE,
        headline="someone pushed this connection to an older version",
        why="The server can do TLS 1.3, and something on the way made it believe that we cannot.",
        client=("do not go on with less; use another network",),
    ),
    # --- the server's certificate ---
    "cert.name-mismatch": Entry(
        exit=CERTIFICATE,
        headline="this certificate is for another name",
        why="The server has no certificate for this name, or ignored the name we sent.",
        client=("connect to a name on the list",),
        server=("reissue the certificate with {name} in it",),
    ),
    "cert.unknown-ca": Entry(
        exit=CERTIFICATE,
        headline="signed by a CA we do not trust",
        why="Anyone can make a CA; we go by the ones we are told to trust, and this is not among them.",
        client=("get the CA's file from its owner, compare its fingerprint, then --ca FILE",),
        server=("use a certificate from a CA its clients trust",),
    ),
    "cert.self-signed": Entry(
        exit=CERTIFICATE,
        headline="the server signed its own certificate",
        why="Nobody else vouches for it, so anyone on the way could have made it.",
        client=("get the certificate from its owner by another way, then --ca FILE",),
        server=("use a certificate from a CA its clients trust",),
    ),
    "cert.missing-intermediate": Entry(
        exit=CERTIFICATE,
        headline="the server left out an intermediate certificate",
        why="Browsers hide this by remembering or fetching the missing one; most programs do not.",
        server=("send the full chain (fullchain.pem, not cert.pem)",),
    ),
    "cert.expired": Entry(
        exit=CERTIFICATE,
        headline="this certificate has ended",
        why="It was not renewed, or it was and the server still shows the old one.",
        client=("tell the owner; do not switch checking off",),
        server=("renew the certificate and reload the server",),
    ),
    "cert.expired-in-chain": Entry(
        exit=CERTIFICATE,
        headline="a CA certificate in the chain has ended",
        why="The server sends an old chain.",
        server=("send the new chain from the CA",),
    ),
    "cert.not-yet-valid": Entry(
        exit=CERTIFICATE,
        headline="this certificate is not valid yet",
        why="Our clock is wrong, or the certificate was put in place too early.",
        client=("check the clock of this machine first",),
        server=("wait, or reissue it",),
    ),
    "cert.wrong-purpose": Entry(
        exit=CERTIFICATE,
        headline="this certificate may not be used for a server",
        why="A certificate says what it may be used for, and this is not it.",
        server=("use a certificate with keyUsage digitalSignature and extKeyUsage serverAuth",),
    ),
    "cert.not-a-ca": Entry(
        exit=CERTIFICATE,
        headline="a certificate that is not a CA's signed another",
        why="Only a CA's certificate may sign others, and only as far as it says.",
        server=("use a certificate from a CA",),
    ),
    "cert.no-san": Entry(
        exit=CERTIFICATE,
        headline="this certificate has no name where names belong",
        why="Names count in subjectAltName only; the old CN field has not counted since RFC 9525.",
        server=("reissue the certificate with subjectAltName {name}",),
    ),
    "cert.name-constraint": Entry(
        exit=CERTIFICATE,
        headline="the CA may not sign for this name",
        why="The CA's own certificate limits the names it may sign for.",
        server=("get a certificate from a CA that may sign for {name}",),
    ),
    "cert.weak": Entry(
        exit=CERTIFICATE,
        headline="a key or signature in the chain is too weak",
        why="It could be forged with the computers of today.",
        server=("reissue the certificate with an EC P-256 key (or RSA 2048) and SHA-256",),
    ),
    "cert.malformed": Entry(
        exit=CERTIFICATE,
        headline="a certificate cannot be read",
        why="It is damaged, or not made by the rules.",
        server=("reissue the certificate",),
    ),
    "cert.bad-proof": Entry(
        exit=CERTIFICATE,
        headline="the server did not prove that it owns its certificate's key",
        why="It has the wrong key file, or someone on the way shows a copied certificate.",
        client=("if you did not expect this, stop here",),
        server=("check that the key belongs to the certificate",),
    ),
    "cert.revoked": Entry(
        exit=CERTIFICATE,
        headline="the CA has withdrawn this certificate",
        why="Its key may be in other hands, or it was replaced. Whoever shows it now may not be who it says.",
        client=("do not go on; tell the owner of {name}",),
        server=("get a new certificate, with a new key",),
    ),
    "cert.revocation-unknown": Entry(
        exit=CERTIFICATE,
        headline="nobody says whether the CA still stands by this certificate",
        why="The CA's servers cannot be reached from here, or do not answer as they should.",
        client=("let this machine reach the CA's servers over plain HTTP",),
    ),
    "cert.staple-missing": Entry(
        exit=CERTIFICATE,
        headline="the certificate demands a stapled OCSP response, and the server sent none",
        why="Its owner asked the CA for that (must-staple), so that a stolen key is useless once it is revoked.",
        server=("turn OCSP stapling on, and check that the server reaches its CA's responder",),
    ),
    "cert.bad-staple": Entry(
        exit=CERTIFICATE,
        headline="the OCSP response that the server stapled does not count",
        why="It is damaged, another certificate's, or not signed by the CA.",
        server=("restart the stapling of the server, and check that its clock is right",),
    ),
    "cert.staple-stale": Entry(
        exit=CERTIFICATE,
        headline="the OCSP response that the server stapled is out of date",
        why="The server has not fetched a new one in time.",
        server=("check that the server reaches its CA's responder",),
    ),
    "cert.key-changed": Entry(
        exit=CERTIFICATE,
        headline="the server has another key than before",
        why="It was given a new key, or somebody else answers in its place.",
        client=("ask the owner by another way; then remove the old line from the file of known servers",),
        server=("tell those who remember the old key",),
    ),
    "cert.pin-mismatch": Entry(
        exit=CERTIFICATE,
        headline="the server has none of the keys we know it by",
        why="It was given a new key without a word, or somebody else answers in its place.",
        client=("ask the owner by another way, and pin the new key beside the old",),
        server=("keep to a key that is pinned, or publish the next one in time",),
    ),
    "cert.untrusted": Entry(
        exit=CERTIFICATE,
        headline="this certificate cannot be trusted",
        why="The path to a trusted root breaks one of the web's rules.",
        server=("compare the chain with what the CA gave",),
    ),
    # --- our certificate ---
    "client.cert-required": Entry(
        exit=OUR_CERTIFICATE,
        headline="the server wants a client certificate",
        why="It asked who we are, and we had no certificate to send that fits.",
        client=("handclasp connect {target} --cert me.pem --key me.key",),
    ),
    "client.cert-rejected": Entry(
        exit=OUR_CERTIFICATE,
        headline="the server did not accept our certificate",
        why="It does not trust the CA that issued ours, or finds the certificate itself unfit.",
        client=("use a certificate from a CA the server accepts, with its whole chain in the --cert file",),
    ),
    # --- after the handshake ---
    "conn.truncated": Entry(
        exit=BROKEN,
        headline="the server cut the connection without saying goodbye",
        why="It crashed, a proxy lost patience, or someone cut the answer short.",
        client=("do not use what came as if it were whole",),
        server=("look at its log",),
    ),
    "http.none": Entry(
        exit=BROKEN,
        headline="the server did not answer in HTTP",
        why="TLS is fine; what speaks inside of it is another protocol, or says nothing to a GET.",
        client=("leave out --get, or check the port",),
    ),
    "http.length": Entry(
        exit=BROKEN,
        headline="the answer is not as long as its head says",
        why="Nothing was cut: the server ended the connection properly. It counted wrong, or failed on the way.",
        client=("do not use what came as if it were whole",),
        server=("look at its log",),
    ),
    "conn.damaged": Entry(
        exit=BROKEN,
        headline="what the server sent was altered on the way",
        why="Networks repair their own damage: this is a fault of a program, or tampering.",
        client=("do not use what came",),
    ),
    "conn.alert": Entry(
        exit=BROKEN,
        headline="the server ended the connection with an alert",
        why="The handshake was good; something after it was not to the server's liking.",
        server=("look at its log: it knows the reason",),
    ),
    "conn.silent": Entry(
        exit=BROKEN,
        headline="the server sent nothing for {timeout} s",
        why="It is busy, or waits for something else from us.",
        client=("allow more time with --timeout",),
    ),
}
