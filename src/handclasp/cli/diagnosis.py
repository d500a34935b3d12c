"""From an error to its cause: which entry of the catalogue it is, and what this connection shows about it."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from datetime import datetime

from ..alerts import Alert
from ..config import ClientConfig
from ..errors import (
    AlertReceived,
    CertificateError,
    ConfigError,
    HandshakeTimeout,
    PeerNotTLS,
    TLSError,
    TruncatedError,
)
from ..rules import printable
from ..trace import DataMoved, Direction
from ..wire.messages import Certificate, CertificateRequest, ClientHello
from ..wire.messages12 import Certificate12, CertificateRequest12
from ..wire.names import SignatureScheme
from .problems import CATALOGUE, Problem
from .recording import Recording
from .story import in_short, real
from .words import authority, called, common_name, count, left, moment, octets


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What we tried, and how far it got."""

    target: str
    """As it is shown: `shop.example.com:443`."""
    host: str
    """The name or address we were given."""
    name: str
    """Whom we check for."""
    address: str = ""
    """Where we dialled: `192.0.2.7:443`; empty when it did not come to that."""
    timeout: float = 10.0
    config: ClientConfig | None = None
    recording: Recording = field(default_factory=Recording)
    answer: bytes = b""
    """The first bytes that came from the other side."""
    narrowed: frozenset[str] = frozenset()
    """Which of our lists the user made shorter: `groups`, `suites`, `sigalgs`."""


Facts = tuple[tuple[str, str], ...]


def diagnose(error: TLSError | OSError, attempt: Attempt) -> Problem:
    """The cause of a failure, as far as what was seen tells."""
    match error:
        case ConfigError():
            return _configuration(error, attempt)
        case CertificateError():
            return _certificate(error, attempt)
        case PeerNotTLS():
            return _not_tls(error, attempt)
        case AlertReceived():
            return _alert(error, attempt)
        case HandshakeTimeout():
            return _late(error, attempt)
        case TruncatedError():
            return _cut(_sentence(error), attempt)
        case TLSError():
            return _broken_rule(error, attempt)
        case _:
            return _system(error, attempt)


def problem(
    code: str,
    attempt: Attempt,
    seen: str,
    *,
    facts: Facts = (),
    certain: bool = True,
    alert: TLSError | None = None,
    remedy: str = "",
) -> Problem:
    """An entry of the catalogue, filled in."""
    label = str(alert.alert) if alert is not None and alert.alert is not None else ""
    return Problem(
        code=code,
        entry=CATALOGUE[code],
        target=attempt.target,
        seen=seen,
        values={
            "target": attempt.target,
            "host": attempt.host,
            "name": attempt.name,
            "address": attempt.address or attempt.target,
            "timeout": f"{attempt.timeout:g}",
            "remedy": remedy,
        },
        facts=facts,
        certain=certain,
        alert_sent="" if alert is None or alert.alert_received else label,
        alert_received=label if alert is not None and alert.alert_received else "",
    )


# --- our own side ----------------------------------------------------------------------------------------------------

_FILE_CODES = {
    "file-missing": "file.missing",
    "key-mismatch": "file.key-mismatch",
    "encrypted-key": "file.encrypted-key",
    "chain-order": "file.chain-order",
    "no-roots": "file.no-roots",
    "no-key": "file.unreadable",
    "no-certificate": "file.unreadable",
    "unreadable-key": "file.unreadable",
    "key-unusable": "file.unreadable",
}


def _configuration(error: ConfigError, attempt: Attempt) -> Problem:
    return problem(
        _FILE_CODES.get(error.code, "option"),
        attempt,
        _sentence(error),
        remedy=error.remedy or "see handclasp COMMAND --help",
    )


# --- the network -----------------------------------------------------------------------------------------------------


def _system(error: OSError, attempt: Attempt) -> Problem:
    if isinstance(error, socket.gaierror):
        return problem("net.dns", attempt, f"We asked this system for the address of {attempt.host}: it knows none.")
    if attempt.recording.established:
        if isinstance(error, TimeoutError):
            return problem("conn.silent", attempt, "We waited for data, and none came.")
        return _cut("The connection was reset after the handshake.", attempt)
    if attempt.recording.moments:
        return _cut("The connection was reset during the handshake.", attempt)
    dialled = attempt.address or attempt.target
    if isinstance(error, TimeoutError):
        return problem("net.timeout", attempt, f"We tried to open a connection to {dialled}.")
    if isinstance(error, ConnectionRefusedError):
        return problem("net.refused", attempt, "The machine answered at once that nobody is there.")
    reason = (error.strerror or "no reason given").lower()
    return problem("net.unreachable", attempt, f"This system says of {dialled}: {reason}.")


def _late(error: HandshakeTimeout, attempt: Attempt) -> Problem:
    if not attempt.answer:
        waited = f"We sent a ClientHello of {octets(_hello_size(attempt))} and waited {attempt.timeout:g} s."
        return problem("net.silent", attempt, waited, certain=False)
    return problem("hello.stalled", attempt, _sentence(error), certain=False)


def _cut(seen: str, attempt: Attempt) -> Problem:
    """The connection ended, and nobody said so."""
    recording = attempt.recording
    if _lacked_certificate(attempt) and not recording.of(DataMoved, Direction.RECEIVED):
        seen = "The server asked for a certificate, got none, and cut the connection without a word."
        return problem("client.cert-required", attempt, seen, facts=_wanted(attempt), certain=False)
    if recording.established:
        came = sum(event.size for event in recording.of(DataMoved, Direction.RECEIVED))
        return problem("conn.truncated", attempt, seen, facts=(("received", octets(came)),))
    hello = f"{octets(_hello_size(attempt))}" + (f", with the name {attempt.name}" if _sent_name(attempt) else "")
    facts = (("first message", hello), ("answered with", octets(len(attempt.answer))))
    return problem("hello.dropped", attempt, seen, facts=facts, certain=False)


# --- what answers ----------------------------------------------------------------------------------------------------

_NOT_TLS_CODES = {"speaks-http": "peer.plain-http", "speaks-mail": "peer.needs-starttls"}


def _not_tls(error: PeerNotTLS, attempt: Attempt) -> Problem:
    began = printable(attempt.answer.partition(b"\n")[0].strip(), 48)
    return problem(
        _NOT_TLS_CODES.get(error.code, "peer.not-tls"),
        attempt,
        f"We sent a ClientHello. The answer began: {began}",
    )


_RULE_CODES = {
    "server-version": "hello.no-version",
    "server-selected-version": "hello.no-version",
    "downgrade": "hello.downgrade",
    "retry-group": "hello.no-group",
    "server-group": "hello.no-group",
}


def _broken_rule(error: TLSError, attempt: Attempt) -> Problem:
    facts: Facts = (("we offered", ", ".join(error.ours)), ("it answered", ", ".join(error.theirs)))
    facts = tuple(fact for fact in facts if fact[1])
    if error.section:
        facts += (("written in", error.section),)
    code = _RULE_CODES.get(error.code, "hello.protocol")
    if attempt.recording.established:
        code = "conn.damaged"
    return problem(code, attempt, _sentence(error), facts=facts, alert=error)


# --- alerts ----------------------------------------------------------------------------------------------------------

_ALERT_CODES = {
    Alert.PROTOCOL_VERSION: "hello.no-version",
    Alert.UNRECOGNIZED_NAME: "hello.unknown-name",
    Alert.NO_APPLICATION_PROTOCOL: "hello.no-alpn",
    Alert.INSUFFICIENT_SECURITY: "hello.no-suite",
}

_ABOUT_OUR_CERTIFICATE = frozenset(
    (
        Alert.BAD_CERTIFICATE,
        Alert.UNSUPPORTED_CERTIFICATE,
        Alert.CERTIFICATE_REVOKED,
        Alert.CERTIFICATE_EXPIRED,
        Alert.CERTIFICATE_UNKNOWN,
        Alert.UNKNOWN_CA,
        Alert.ACCESS_DENIED,
        Alert.CERTIFICATE_REQUIRED,
        Alert.HANDSHAKE_FAILURE,
        Alert.DECRYPT_ERROR,
    )
)

_NARROWED_CODES = {"groups": "hello.no-group", "suites": "hello.no-suite", "sigalgs": "hello.no-sigalg"}


def _alert(error: AlertReceived, attempt: Attempt) -> Problem:
    alert = error.alert
    if alert in _ABOUT_OUR_CERTIFICATE and _asked(attempt):
        return _our_certificate(error, attempt)
    if attempt.recording.established:
        return problem("conn.alert", attempt, f"It said: {alert}.", alert=error)
    seen = f"We sent a ClientHello. The server answered with the alert {alert}."
    if alert in _ALERT_CODES:
        relevant = {"hello.no-version": "versions", "hello.no-alpn": "application", "hello.no-suite": "suites"}
        facts = _offered(attempt, relevant.get(_ALERT_CODES[alert], ""))
        return problem(_ALERT_CODES[alert], attempt, seen, facts=facts, alert=error)
    narrowed = [_NARROWED_CODES[what] for what in sorted(attempt.narrowed)]
    if alert is Alert.HANDSHAKE_FAILURE and len(narrowed) == 1:
        return problem(narrowed[0], attempt, seen, facts=_offered(attempt), certain=False, alert=error)
    return problem("hello.refused", attempt, seen, facts=_offered(attempt), certain=False, alert=error)


def _our_certificate(error: AlertReceived, attempt: Attempt) -> Problem:
    if not _lacked_certificate(attempt):
        ours = (
            attempt.config.listed_credentials[0].leaf if attempt.config and attempt.config.listed_credentials else None
        )
        facts: Facts = ()
        if ours is not None:
            now = attempt.config.clock() if attempt.config else ours.not_before
            facts = (
                ("we sent", f"{called(ours)}, {left(ours, now)}"),
                ("issued by", common_name(ours.issuer)),
            )
        seen = f"We showed ours, and the server answered with the alert {error.alert}."
        return problem("client.cert-rejected", attempt, seen, facts=facts + _wanted(attempt), alert=error)
    seen = "The server asked for a certificate, we had none, and it ended the connection."
    certain = error.alert is Alert.CERTIFICATE_REQUIRED
    return problem("client.cert-required", attempt, seen, facts=_wanted(attempt), certain=certain, alert=error)


def _lacked_certificate(attempt: Attempt) -> bool:
    """The server asked for a certificate, and we sent none."""
    recording = attempt.recording
    sent = [bool(found.certificate_list) for found, _ in recording.messages(Certificate, Direction.SENT)]
    sent += [bool(found.certificate_list) for found, _ in recording.messages(Certificate12, Direction.SENT)]
    return bool(_asked(attempt)) and not any(sent)


def _asked(attempt: Attempt) -> list[tuple[tuple[bytes, ...], tuple[SignatureScheme, ...]]]:
    """What each request for a certificate names: the CAs, and the schemes."""
    recording = attempt.recording
    asked = []
    for newer, _ in recording.messages(CertificateRequest, Direction.RECEIVED):
        named = newer.extensions
        asked.append((named.certificate_authorities or (), named.signature_algorithms or ()))
    for older, _ in recording.messages(CertificateRequest12, Direction.RECEIVED):
        asked.append((older.certificate_authorities, older.signature_algorithms))
    return asked


def _wanted(attempt: Attempt) -> Facts:
    """What the server's CertificateRequest says of the certificates it takes."""
    facts: Facts = ()
    for authorities, asked in _asked(attempt)[:1]:
        if authorities:
            more = f" and {len(authorities) - 3} more" if len(authorities) > 3 else ""
            facts += (("accepts CAs", ", ".join(authority(name) for name in authorities[:3]) + more),)
        schemes = real(asked)
        facts += (("accepts keys", ", ".join(schemes[:5]) + (", …" if len(schemes) > 5 else "")),)
    return facts


def _offered(attempt: Attempt, only: str | None = None) -> Facts:
    """What our last ClientHello held: all of it, or one list."""
    for hello, _ in attempt.recording.messages(ClientHello, Direction.SENT)[-1:]:
        suites = in_short(hello.cipher_suites) if only is None else ", ".join(real(hello.cipher_suites))
        lists = (
            ("versions", ", ".join(real(hello.extensions.supported_versions or (hello.legacy_version,)))),
            ("suites", suites),
            ("groups", ", ".join(real(hello.extensions.supported_groups))),
            ("application", ", ".join(name.decode("latin-1") for name in hello.extensions.alpn or ())),
        )
        return tuple((label, value) for label, value in lists if value and only in (None, label))
    return ()


def _sent_name(attempt: Attempt) -> bool:
    return any(hello.extensions.server_name for hello, _ in attempt.recording.messages(ClientHello, Direction.SENT))


def _hello_size(attempt: Attempt) -> int:
    return sum(len(encoded) for _, encoded in attempt.recording.messages(ClientHello, Direction.SENT)[:1])


# --- the server's certificate ----------------------------------------------------------------------------------------

_CERTIFICATE_CODES = {
    "weak-key": "cert.weak",
    "weak-signature": "cert.weak",
    "certificate-malformed": "cert.malformed",
    "certificate-key-type": "cert.weak",
    "certificate-key-usage": "cert.wrong-purpose",
    "chain-too-long": "cert.malformed",
    "signature": "cert.bad-proof",
    "staple-invalid": "cert.bad-staple",
}

_LABELS = {
    "asked": "asked for",
    "valid_for": "valid for",
    "closest": "closest",
    "ca": "leads to",
    "issuer": "issued by",
    "sha256": "its sha256",
    "looked_in": "looked in",
    "issuer_url": "it is at",
    "not_before": "valid from",
    "not_after": "valid to",
    "now": "our clock",
    "purposes": "may be used as",
    "key": "key",
    "key_usage": "key is for",
    "path_length": "CAs allowed",
    "below": "CAs below",
    "permitted": "CA may sign",
    "reason": "reason",
    "revoked_at": "since",
    "said_by": "says",
    "tried": "tried",
    "also": "also wrong",
    "clock": "that clock",
    "others": "others said",
}


def _certificate(error: CertificateError, attempt: Attempt) -> Problem:
    code = _CERTIFICATE_CODES.get(error.code, f"cert.{error.code}")
    if code not in CATALOGUE:
        code = "cert.untrusted"
    facts = dict(error.facts)
    if "roots" in facts:
        facts["looked_in"] = f"{facts.get('looked_in', '')} ({count(int(facts['roots']), 'root')})"
    if "asked" in facts and _sent_name(attempt):
        facts["asked"] += " (sent as SNI)"
    for name in {"not_before", "not_after", "now", "revoked_at"} & facts.keys():
        facts[name] = moment(datetime.fromisoformat(facts[name]))
    for name in ("ca", "issuer"):
        if name in facts:
            facts[name] = common_name(facts[name])
    shown = tuple((label, facts[name]) for name, label in _LABELS.items() if name in facts)
    return problem(code, attempt, _sentence(error), facts=shown, alert=error)


def _sentence(error: TLSError) -> str:
    """An error's text as a sentence; its section and alert are told elsewhere."""
    text = re.sub(r" \[RFC [^\]]*\]$", "", str(error))
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "?")) else ".")
