"""What a caller can catch. Everything that fails on network input is a `TLSError`; anything else is a bug of ours.

Each error says what happened in its text and what to do about it in its notes (PEP 678), and carries the facts as
attributes: the alert and who sent it, the rule and its section, both offers where they did not meet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeVar

from .alerts import Alert
from .limits import MAX_MESSAGE
from .rules import CHAIN_TOO_LONG, Kind, PeerFault, Rule, printable

if TYPE_CHECKING:
    from .identity.certificates import Certificate


class TLSError(Exception):
    """Base of all errors of a TLS connection."""

    default_code: ClassVar[str] = "tls-error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        alert: Alert | None = None,
        alert_received: bool = False,
        rule: Rule | None = None,
        ours: tuple[str, ...] = (),
        theirs: tuple[str, ...] = (),
        remedy: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        """Stable name of what went wrong, for programs: `no-common-group`, `name-mismatch`."""
        self.alert = alert
        """The alert that ended the connection; None when none travelled."""
        self.alert_received = alert_received
        """True when the peer sent the alert, False when we did."""
        self.rule = rule
        """The rule the peer broke, with its section; None when no rule was broken."""
        self.ours = ours
        """What we offered, where the two offers did not meet."""
        self.theirs = theirs
        """What the peer offered, where the two offers did not meet."""
        self.remedy = remedy
        """One line on what to do about it; also the exception's note."""
        if remedy:
            self.add_note(f"fix: {remedy}")

    @property
    def section(self) -> str:
        """Where the broken rule is written; empty when no rule was broken."""
        return self.rule.section if self.rule else ""


class ConfigError(TLSError, ValueError):
    """The configuration cannot work: refused before anything is sent."""

    default_code = "config"


class HandshakeError(TLSError):
    """The handshake failed, or the peer broke the protocol later on."""

    default_code = "handshake"


class NegotiationError(HandshakeError):
    """Both sides are well, but have nothing in common: see `ours` and `theirs`."""

    default_code = "negotiation"


class CertificateError(HandshakeError):
    """The peer's certificate, or the proof that it owns it, was not accepted.

    A verifier raises this; `alert` is what the peer is told.
    """

    default_code = "certificate"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        alert: Alert | None = Alert.BAD_CERTIFICATE,
        rule: Rule | None = None,
        remedy: str = "",
        peer_chain: tuple[Certificate, ...] = (),
        certificate: Certificate | None = None,
        verified_chain: tuple[Certificate, ...] = (),
        section: str = "",
        facts: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, code=code, alert=alert, rule=rule, remedy=remedy)
        self.peer_chain = peer_chain
        """The chain as the peer sent it, leaf first."""
        self.certificate = certificate
        """The certificate at fault, a sent one or a root; None when the chain as a whole is."""
        self.certificate_index = peer_chain.index(certificate) if certificate in peer_chain else None
        """Where in `peer_chain` it stands; None for one that was not sent."""
        self.verified_chain = verified_chain
        """How far up the chain leads by names and signatures, from the leaf. It was refused: no proof of anything."""
        self._section = section
        self.others: tuple[CertificateError, ...] = ()
        """What other verifiers of a combination said, where all refused."""
        self.facts = dict(facts or {})
        """What was looked at, in words: which certificate (`0 of 2, CN=a.test`), asked name, valid names, dates."""
        if certificate is not None:
            self.facts.setdefault("certificate", _which(certificate, self.certificate_index, len(peer_chain)))

    @property
    def section(self) -> str:
        """Where the broken rule is written; empty when no rule was broken."""
        return self._section or super().section


def _which(certificate: Certificate, index: int | None, sent: int) -> str:
    """The place and the subject of a certificate, for a fact."""
    place = f"{index} of {sent}" if index is not None else "not sent: one of the roots"
    return printable(f"{place}, {certificate.subject or 'without a subject'}")


class PeerNotTLS(HandshakeError):
    """What answered does not speak TLS; `rule` says what it seems to speak."""

    default_code = "not-tls"


class AlertReceived(TLSError):
    """The peer ended the connection with an alert."""

    default_code = "alert-received"


class TruncatedError(TLSError, EOFError):
    """The transport ended without close_notify: data may be missing (RFC 8446 §6.1)."""

    default_code = "truncated"


class HandshakeTimeout(TLSError, TimeoutError):
    """The handshake did not finish before its deadline."""

    default_code = "handshake-timeout"


class ConnectionClosed(TLSError):
    """The connection was closed on our side: nothing more can be sent or received."""

    default_code = "closed"


class NotEstablished(TLSError):
    """This needs a finished handshake."""

    default_code = "not-established"


class ConcurrentUseError(TLSError, RuntimeError):
    """Two threads, or a callback and its caller, entered one connection at once."""

    default_code = "concurrent-use"


class CallbackError(TLSError):
    """Something the configuration supplied (a signer, a verifier, a key log) failed: the connection is refused.

    The original exception is `__cause__`.
    """

    default_code = "callback"


class InternalError(TLSError):
    """A bug in handclasp, with the original as `__cause__`. Please report it."""

    default_code = "internal"


T = TypeVar("T")

_CLASS_OF = {
    Kind.PROTOCOL: HandshakeError,
    Kind.NEGOTIATION: NegotiationError,
    Kind.NOT_TLS: PeerNotTLS,
}


def from_fault(fault: PeerFault, peer_chain: tuple[Certificate, ...] = ()) -> TLSError:
    """The public error for a broken rule."""
    rule = fault.rule
    text = f"{rule.sentence}: {printable(fault.detail)}" if fault.detail else rule.sentence
    if fault.ours or fault.theirs:
        text += f" (we offer {_listed(fault.ours)}; the peer offers {_listed(fault.theirs)})"
    source = f" [{rule.section}, alert {rule.alert.label}]"
    text = printable(text, MAX_MESSAGE - len(source)) + source
    if rule.kind is Kind.CERTIFICATE:
        # all of these rules but one speak of the leaf; where a chain could not be read, there is none here
        leaf = peer_chain[0] if peer_chain and rule is not CHAIN_TOO_LONG else None
        return CertificateError(
            text,
            code=rule.name,
            alert=rule.alert,
            rule=rule,
            remedy=rule.remedy,
            peer_chain=peer_chain,
            certificate=leaf,
        )
    return _CLASS_OF[rule.kind](
        text,
        code=rule.name,
        alert=rule.alert,
        rule=rule,
        ours=tuple(printable(item) for item in fault.ours),
        theirs=tuple(printable(item) for item in fault.theirs),
        remedy=rule.remedy,
    )


def _listed(items: tuple[str, ...]) -> str:
    return printable(", ".join(items), 80) or "nothing"


_ALERT_REMEDIES = {
    Alert.HANDSHAKE_FAILURE: "compare both sides' versions, cipher suites, groups and signature schemes",
    Alert.PROTOCOL_VERSION: "the peer has none of our TLS versions: enable TLS 1.3 or 1.2 there, or more of them here",
    Alert.UNKNOWN_CA: "the peer does not trust the CA of our certificate: give it that CA, or send the whole chain",
    Alert.BAD_CERTIFICATE: "the peer refused our certificate: check its names, dates and chain",
    Alert.CERTIFICATE_EXPIRED: "renew our certificate, or set the peer's clock",
    Alert.CERTIFICATE_REQUIRED: "configure a client credential (credentials=[Credential.from_files(...)])",
    Alert.UNRECOGNIZED_NAME: "the server does not know the name we asked for: check it",
    Alert.NO_APPLICATION_PROTOCOL: "offer an application protocol the server has (config.alpn), or none",
}


def from_alert(alert: Alert) -> AlertReceived:
    """The public error for a fatal alert of the peer."""
    return AlertReceived(
        f"the peer ended the connection with the alert {alert.label}",
        code=f"alert-{alert.label.replace('_', '-').replace(' ', '-')}",
        alert=alert,
        alert_received=True,
        remedy=_ALERT_REMEDIES.get(alert, ""),
    )


def guarded(name: str, callback: Callable[..., T] | None) -> Callable[..., T] | None:
    """A callback of the configuration whose failure is told apart from ours."""
    if callback is None:
        return None
    call = callback

    def guarded(*arguments: object) -> T:
        try:
            return call(*arguments)
        except Exception as error:
            raise CallbackError(f"{name} failed: {type(error).__name__}") from error

    return guarded
