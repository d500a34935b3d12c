"""What became of one connection, as text and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..config import ClientConfig
from ..crypto.groups import POST_QUANTUM
from ..events import ConnectionInfo
from ..identity.certificates import Certificate
from ..identity.revocation.finding import Evidence
from ..identity.revocation.policy import Revocation
from ..trace import Chosen, Direction, Epoch, MessageMoved, Subject
from ..wire.messages import ServerHello
from ..wire.names import TLSVersion
from .chain import table
from .diagnosis import Attempt
from .dialling import Journey, Target
from .problems import Problem
from .story import named
from .terminal import Look, row
from .words import called, days_left, left, milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One target, tried."""

    target: Target
    attempt: Attempt
    journey: Journey
    config: ClientConfig
    info: ConnectionInfo | None = None
    """What was settled; None when the handshake did not finish."""
    problem: Problem | None = None
    presented: tuple[Certificate, ...] = ()
    """The server's certificates, as it sent them."""
    faulty: int | None = None
    """Which of them is at fault."""
    store: str = ""
    """Where the root was found."""
    verified: bool = True

    @property
    def exit(self) -> int:
        return 0 if self.problem is None else self.problem.exit


def success(outcome: Outcome, look: Look, *, verbose: bool = False, hint: bool = True) -> list[str]:
    """A connection that is good, in lines."""
    info, now = outcome.info, outcome.config.clock()
    if info is None:
        return []
    trusted = "certificate trusted" if outcome.verified else look.bad("certificate not checked")
    verdict = f"{info.version}, {trusted} · {milliseconds(outcome.journey.total)} ms"
    lines = [
        f"{look.good('✓')} {look.strong(str(outcome.target))}  {verdict}",
        "",
        *(line for label, value in _facts(outcome, info) for line in row(label, value, look)),
    ]
    if verbose:
        lines += ["", *(line for chosen in info.choices for line in row(*_reason(chosen), look))]
    lines += ["", "  certificate chain"]
    lines += (
        table(info.verified_chain, outcome.store, now, look) if outcome.verified else _unchecked(outcome, now, look)
    )
    if hint:
        lines += ["", look.dim("  more: --steps the conversation   --bytes every byte")]
    return lines


def _facts(outcome: Outcome, info: ConnectionInfo) -> list[tuple[str, str]]:
    journey, offered = outcome.journey, ", ".join(outcome.config.alpn)
    trips = "1 round trip"
    if info.hello_retry:
        trips = "2 round trips: the first group did not suit it"
    elif info.version is TLSVersion.TLS_1_2:
        trips = "2 round trips"
    parts = (("DNS", journey.dns), ("TCP", journey.tcp), ("TLS", journey.tls))
    times = " · ".join(f"{name} {milliseconds(spent)}" for name, spent in parts) + " ms"
    quantum = " post-quantum" if info.group in POST_QUANTUM else ""
    facts = [
        ("peer", journey.shown_address + (f" ({journey.rank})" if journey.rank else "")),
        ("time", f"{times} ({trips})"),
        ("protected by", f"{info.cipher_suite}"),
        ("keys agreed", f"{info.group}{quantum} · fresh for this connection"),
        ("proved by", f"{info.signature_scheme} signature over the handshake"),
    ]
    if offered:
        facts.append(("application", f"{info.alpn or 'the server chose none'} (offered {offered})"))
    facts += _revocation(outcome, info)
    if info.certificate is not None:
        facts.append(("we showed", f"{called(info.certificate)}, {left(info.certificate, outcome.config.clock())}"))
    elif any(chosen.subject is Subject.CLIENT_CREDENTIAL for chosen in info.choices):
        facts.append(("asked us", "for a certificate, and went on without one"))
    return facts


def _revocation(outcome: Outcome, info: ConnectionInfo) -> list[tuple[str, str]]:
    """What the CA says, where it was asked or the server brought its word along."""
    asked = Revocation.of(outcome.config.revocation).asks_the_ca
    if info.revocation in (None, Evidence.NONE) and not asked:
        return []
    return [("asked the CA" if asked else "the CA says", info.why(Subject.REVOCATION))]


def _reason(chosen: Chosen) -> tuple[str, str]:
    label = chosen.subject.value.replace("_", " ").removesuffix(" scheme")
    plain = chosen.subject in (Subject.PEER, Subject.REVOCATION)
    return label, chosen.why if plain else f"{chosen.value}: {chosen.why}"


def _unchecked(outcome: Outcome, now: datetime, look: Look) -> list[str]:
    return [
        f"  {index:>4}  {look.bad('?')} {called(certificate)}  {certificate.key_description}  {left(certificate, now)}"
        for index, certificate in enumerate(outcome.presented)
    ]


# --- JSON ------------------------------------------------------------------------------------------------------------


def document(outcome: Outcome) -> dict[str, Any]:
    """The same for programs: names of the registries, times in UTC, durations in milliseconds."""
    journey, now = outcome.journey, outcome.config.clock()
    found: dict[str, Any] = {
        "handclasp": 1,
        "command": "connect",
        "target": str(outcome.target),
        "ok": outcome.problem is None,
        "exit": outcome.exit,
        "verified": outcome.verified and outcome.info is not None,
    }
    if outcome.problem is not None:
        found["problem"] = told_problem(outcome.problem)
    if journey.address is not None:
        address, port = journey.address
        found["peer"] = {"address": address, "port": port, "sni": _settled(outcome, Subject.SERVER_NAME)}
    if outcome.attempt.recording.messages(ServerHello, Direction.RECEIVED):
        found["tls"] = _tls(outcome)
    if outcome.presented:
        found["certificates"] = [_certificate(outcome, index, now) for index in range(len(outcome.presented))]
    if outcome.info is not None and outcome.verified:
        anchor = called(outcome.info.verified_chain[-1])
        found["trust"] = {"anchor": anchor, "store": outcome.store, "revocation": _spoken_by(outcome, outcome.info)}
    parts = {"dns": journey.dns, "tcp": journey.tcp, "tls": journey.tls, "total": journey.total}
    found["timing_ms"] = {name: round(seconds * 1000, 3) for name, seconds in parts.items()}
    found["messages"] = _messages(outcome)
    return found


def _spoken_by(outcome: Outcome, info: ConnectionInfo) -> str:
    """`staple`, `ocsp` or `crl`, where one of them said good; else whether anybody was asked."""
    if info.revocation not in (None, Evidence.NONE):
        return str(info.revocation.value)
    return "no-answer" if Revocation.of(outcome.config.revocation).asks_the_ca else "not-asked"


def told_problem(problem: Problem) -> dict[str, Any]:
    """A problem for programs."""
    alert = None
    if problem.alert_sent or problem.alert_received:
        direction = "sent" if problem.alert_sent else "received"
        alert = {"direction": direction, "description": problem.alert_sent or problem.alert_received}
    return {
        "code": problem.code,
        "certainty": "certain" if problem.certain else "likely",
        "headline": problem.headline,
        "seen": problem.seen,
        "why": problem.why,
        "fix": [{"side": side, "text": text} for side, text in problem.fixes],
        "facts": {label.replace(" ", "_"): value for label, value in problem.facts},
        "alert": alert,
    }


def _tls(outcome: Outcome) -> dict[str, Any]:
    version, group = _settled(outcome, Subject.VERSION), _settled(outcome, Subject.GROUP)
    return {
        "version": version.removeprefix("TLS ") if version else None,
        "suite": _settled(outcome, Subject.CIPHER_SUITE),
        "group": group,
        "post_quantum": group in [str(hybrid) for hybrid in POST_QUANTUM],
        "signature": _settled(outcome, Subject.SIGNATURE_SCHEME),
        "alpn": _settled(outcome, Subject.ALPN),
        "resumed": False,
        "early_data": "not-offered",
        "hello_retry": outcome.attempt.recording.chosen(Subject.HELLO_RETRY) is not None,
    }


def _certificate(outcome: Outcome, index: int, now: datetime) -> dict[str, Any]:
    certificate, problem = outcome.presented[index], outcome.problem
    at_fault = problem is not None and outcome.faulty == index
    return {
        "role": "leaf" if index == 0 else "intermediate",
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "names": list(certificate.names),
        "not_before": _rfc3339(certificate.not_before),
        "not_after": _rfc3339(certificate.not_after),
        "days_left": days_left(certificate, now),
        "key": certificate.key_description,
        "sha256": certificate.sha256,
        "problems": [problem.code] if problem is not None and at_fault else [],
    }


def _messages(outcome: Outcome) -> list[dict[str, Any]]:
    return [
        {
            "from": "client" if moment.event.direction is Direction.SENT else "server",
            "type": named(moment.event),
            "bytes": len(moment.event.message),
            "at_ms": round(moment.at * 1000, 3),
            "encrypted": moment.event.epoch is not Epoch.CLEAR,
        }
        for moment in outcome.attempt.recording.moments
        if isinstance(moment.event, MessageMoved)
    ]


def _settled(outcome: Outcome, subject: Subject) -> str | None:
    chosen = outcome.attempt.recording.chosen(subject)
    return None if chosen is None or chosen.value is None else str(chosen.value)


def _rfc3339(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
