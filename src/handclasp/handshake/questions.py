"""What a handshake asks the world outside: a signature, a verdict, a session. Whoever the configuration names answers.

`blocking` questions may take their time, and awaitables are answered later: no line of protocol code knows which.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..config import ServerConfig
from ..errors import (
    AlertReceived,
    CallbackError,
    ConcurrentUseError,
    ConnectionClosed,
    HandshakeTimeout,
    NotEstablished,
    TLSError,
    TruncatedError,
)
from ..identity.credentials import Credential, CredentialChooser, CredentialRequest, CredentialSource, Signer
from ..identity.revocation.policy import Checked, Revocation
from ..identity.revocation.staples import StapleSource
from ..identity.trust import PresentedChain, VerifiedPeer, Verifier
from ..limits import MAX_RESPONSE
from ..wire.messages import ClientHello
from ..wire.names import SignatureScheme

T = TypeVar("T")


class Question(Generic[T]):
    """Something only the world outside can answer. The configuration answers at once or, with an awaitable, later."""

    __slots__ = ()

    @property
    def blocking(self) -> bool:
        """Whether `put` may take its time: it is then left to whoever drives the connection, where it may wait."""
        return False

    def answer(self) -> T | Awaitable[T]:
        """Ask whoever the configuration names."""
        raise NotImplementedError

    def check(self, value: object) -> T:
        """The answer, if it is one. Raises CallbackError."""
        raise NotImplementedError

    def put(self) -> T | Awaitable[T]:
        """Ask; any failure of whoever was asked refuses the connection. Raises TLSError."""
        try:
            return self.answer()
        except Exception as error:
            if refuses(error):
                raise
            raise CallbackError(f"{type(self).__name__} failed: {type(error).__name__}") from error


_OF_A_CONNECTION = (
    AlertReceived,
    ConcurrentUseError,
    ConnectionClosed,
    HandshakeTimeout,
    NotEstablished,
    TruncatedError,
)
"""What a connection says of itself."""


def refuses(error: BaseException) -> bool:
    """Whether an error is a verdict on our peer, and not what somebody who was asked met on a connection of its own."""
    return isinstance(error, TLSError) and not isinstance(error, _OF_A_CONNECTION)


def blocks(asked: object) -> bool:
    """Whether something that answers says of itself, with an attribute `blocking`, that it may take its time."""
    return getattr(asked, "blocking", False) is True


@dataclass(frozen=True, slots=True)
class Sign(Question[bytes]):
    """Sign `data` with the credential's key."""

    credential: Credential
    scheme: SignatureScheme
    data: bytes = field(repr=False)

    @property
    def blocking(self) -> bool:
        return blocks(self.credential.signer)

    def answer(self) -> bytes | Awaitable[bytes]:
        signer: Signer = self.credential.signer
        return signer.sign(self.scheme, self.data)

    def check(self, value: object) -> bytes:
        if not isinstance(value, bytes) or not 1 <= len(value) <= 0xFFFF:
            raise CallbackError(f"the signer returned {type(value).__name__}, not a signature")
        return value


@dataclass(frozen=True, slots=True)
class Decrypt(Question[bytes]):
    """Decrypt a premaster secret with the credential's key (RSA key transport)."""

    credential: Credential
    encrypted: bytes = field(repr=False)

    @property
    def blocking(self) -> bool:
        return blocks(self.credential.signer)

    def answer(self) -> bytes | Awaitable[bytes]:
        return self.credential.decrypt(self.encrypted)

    def check(self, value: object) -> bytes:
        if not isinstance(value, bytes):
            raise CallbackError(f"the signer decrypted to {type(value).__name__}, not bytes")
        return value


@dataclass(frozen=True, slots=True)
class VerifyPeer(Question[VerifiedPeer]):
    """Is this certificate good?"""

    verifier: Verifier = field(repr=False)
    presented: PresentedChain

    @property
    def blocking(self) -> bool:
        return blocks(self.verifier)

    def answer(self) -> VerifiedPeer | Awaitable[VerifiedPeer]:
        return self.verifier.verify(self.presented)

    def check(self, value: object) -> VerifiedPeer:
        if not isinstance(value, VerifiedPeer) or value.chain[:1] != self.presented.chain[:1]:
            raise CallbackError(f"the verifier returned {type(value).__name__}, not a verdict on this certificate")
        return value


@dataclass(frozen=True, slots=True)
class CheckRevocation(Question[Checked]):
    """Do those who issued these certificates still stand by them?"""

    policy: Revocation = field(repr=False)
    presented: PresentedChain
    verified: VerifiedPeer

    @property
    def blocking(self) -> bool:
        return blocks(self.policy)

    def answer(self) -> Checked | Awaitable[Checked]:
        return self.policy.check(self.presented, self.verified)

    def check(self, value: object) -> Checked:
        if not isinstance(value, Checked):
            raise CallbackError(f"the revocation policy returned {type(value).__name__}, not a verdict")
        return value


@dataclass(frozen=True, slots=True)
class FindStaple(Question[bytes | None]):
    """Which OCSP response goes with our certificate?"""

    source: StapleSource

    @property
    def blocking(self) -> bool:
        return blocks(self.source)

    def answer(self) -> bytes | Awaitable[bytes | None] | None:
        return self.source.staple()

    def check(self, value: object) -> bytes | None:
        if value is not None and not (isinstance(value, bytes) and 0 < len(value) <= MAX_RESPONSE):
            raise CallbackError(f"the staple source returned {type(value).__name__}, not an OCSP response")
        return value


@dataclass(frozen=True, slots=True)
class ChooseConfig(Question[ServerConfig]):
    """Which configuration answers this ClientHello?"""

    choose: Callable[[ClientHello], ServerConfig | Awaitable[ServerConfig]] = field(repr=False)
    hello: ClientHello

    @property
    def blocking(self) -> bool:
        return blocks(self.choose)

    def answer(self) -> ServerConfig | Awaitable[ServerConfig]:
        return self.choose(self.hello)

    def check(self, value: object) -> ServerConfig:
        if not isinstance(value, ServerConfig):
            raise CallbackError(f"choose returned {type(value).__name__}, not a ServerConfig")
        return value


@dataclass(frozen=True, slots=True)
class FindCredentials(Question[tuple[Credential, ...]]):
    """Which credentials are there for this ClientHello?"""

    source: CredentialSource = field(repr=False)
    hello: ClientHello

    @property
    def blocking(self) -> bool:
        return blocks(self.source)

    def answer(self) -> Any:
        return self.source.credentials(self.hello)

    def check(self, value: object) -> tuple[Credential, ...]:
        listed = tuple(value) if isinstance(value, Sequence) else None
        if listed is None or not all(isinstance(credential, Credential) for credential in listed):
            raise CallbackError(f"the source of credentials returned {type(value).__name__}, not a list of them")
        return listed


@dataclass(frozen=True, slots=True)
class ChooseCredential(Question[Credential | None]):
    """Which certificate do we show to this server, if any?"""

    choose: CredentialChooser = field(repr=False)
    request: CredentialRequest

    @property
    def blocking(self) -> bool:
        return blocks(self.choose)

    def answer(self) -> Credential | Awaitable[Credential | None] | None:
        return self.choose(self.request)

    def check(self, value: object) -> Credential | None:
        if value is not None and not isinstance(value, Credential):
            raise CallbackError(f"credentials returned {type(value).__name__}, neither a Credential nor None")
        return value


@dataclass(frozen=True, slots=True)
class Consult(Question[T]):
    """Ask a store that the configuration names. Its kinds below say what for."""

    store: object = field(repr=False)
    call: Callable[[], T | Awaitable[T]] = field(repr=False)
    kinds: tuple[type, ...]
    """What the answer may be."""

    @property
    def blocking(self) -> bool:
        return blocks(self.store)

    def answer(self) -> T | Awaitable[T]:
        return self.call()

    def check(self, value: object) -> T:
        if not isinstance(value, self.kinds):
            raise CallbackError(f"{type(self).__name__} gave {type(value).__name__}")
        fitting: T = value  # type: ignore[assignment] # the kinds are those of T
        return fitting


class FindSession(Consult[T]):
    """Is there a session for this server, of this id, in this ticket?"""

    __slots__ = ()


class KeepSession(Consult[T]):
    """Remember a session, or seal it into a ticket."""

    __slots__ = ()


class FindPsk(Consult[T]):
    """Which key has this identity?"""

    __slots__ = ()


class ClaimEarlyData(Consult[T]):
    """Is this the first time that this ClientHello is seen, on all machines?"""

    __slots__ = ()
