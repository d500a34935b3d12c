"""The public names. `handclasp` gives them out; nothing else is here."""

from __future__ import annotations

from .alerts import Alert
from .config import ClientAuth, ClientConfig, EarlyData, PadTo, ServerConfig, UnknownNames, UnverifiedClients
from .connection import ClientConnection, ServerConnection
from .crypto.spare import SpareKeys
from .errors import (
    AlertReceived,
    CallbackError,
    CertificateError,
    ConcurrentUseError,
    ConfigError,
    ConnectionClosed,
    HandshakeError,
    HandshakeTimeout,
    InternalError,
    NegotiationError,
    NotEstablished,
    PeerNotTLS,
    TLSError,
    TruncatedError,
)
from .events import Asked, Closed, ConnectionInfo, Data, EarlyDataReceived, HandshakeComplete
from .fetching import Fetch, fetch
from .handshake.notices import ClientAuthenticated, EarlyDataRejected, KeysExpired, SessionDeclined, TicketReceived
from .identity.certificates import Certificate
from .identity.compression import ZLIB, CertificateCompressor
from .identity.credentials import Credential, CredentialRequest, CredentialSource, Signer
from .identity.names import PeerName
from .identity.policies import fetch_issuers, pin, private, tofu, webpki
from .identity.revocation.cache import AnswerCache
from .identity.revocation.finding import Evidence
from .identity.revocation.policy import Checked, Revocation
from .identity.revocation.staples import StapleSource
from .identity.trust import Check, Policy, PresentedChain, Role, TrustStore, VerifiedPeer, Verifier
from .identity.verdicts import cached
from .io.blocking import TLSSocket, connect, wrap
from .io.listener import Listener, listen
from .io.stapler import OCSPStapler
from .keylog import KeyLogFile
from .limits import Limits
from .rotation import CredentialFiles
from .sessions.cache import ClientSessions, ServerSessions
from .sessions.external import ExternalPsk
from .sessions.replay import ReplayGuard
from .sessions.tickets import TicketKeys
from .trace import Subject
from .wire.names import CertificateCompression, CipherSuite, MaxFragmentLength, NamedGroup, SignatureScheme, TLSVersion

__all__ = [
    "ZLIB",
    "Alert",
    "AlertReceived",
    "AnswerCache",
    "Asked",
    "CallbackError",
    "Certificate",
    "CertificateCompression",
    "CertificateCompressor",
    "CertificateError",
    "Check",
    "Checked",
    "CipherSuite",
    "ClientAuth",
    "ClientAuthenticated",
    "ClientConfig",
    "ClientConnection",
    "ClientSessions",
    "Closed",
    "ConcurrentUseError",
    "ConfigError",
    "ConnectionClosed",
    "ConnectionInfo",
    "Credential",
    "CredentialFiles",
    "CredentialRequest",
    "CredentialSource",
    "Data",
    "EarlyData",
    "EarlyDataReceived",
    "EarlyDataRejected",
    "Evidence",
    "ExternalPsk",
    "Fetch",
    "HandshakeComplete",
    "HandshakeError",
    "HandshakeTimeout",
    "InternalError",
    "KeyLogFile",
    "KeysExpired",
    "Limits",
    "Listener",
    "MaxFragmentLength",
    "NamedGroup",
    "NegotiationError",
    "NotEstablished",
    "OCSPStapler",
    "PadTo",
    "PeerName",
    "PeerNotTLS",
    "Policy",
    "PresentedChain",
    "ReplayGuard",
    "Revocation",
    "Role",
    "ServerConfig",
    "ServerConnection",
    "ServerSessions",
    "SessionDeclined",
    "SignatureScheme",
    "Signer",
    "SpareKeys",
    "StapleSource",
    "Subject",
    "TLSError",
    "TLSSocket",
    "TLSVersion",
    "TicketKeys",
    "TicketReceived",
    "TruncatedError",
    "TrustStore",
    "UnknownNames",
    "UnverifiedClients",
    "VerifiedPeer",
    "Verifier",
    "cached",
    "connect",
    "fetch",
    "fetch_issuers",
    "listen",
    "pin",
    "private",
    "tofu",
    "webpki",
    "wrap",
]
