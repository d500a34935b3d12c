"""What other protocols take from a finished handshake: key material, and names for the connection itself."""

from __future__ import annotations

from ..errors import ConfigError
from ..wire.names import TLSVersion
from .proofs import Established


def export(established: Established, label: str | bytes, context: bytes | None, length: int) -> bytes:
    """RFC 8446 §7.5, RFC 5705. Raises ConfigError."""
    most = 255 * established.suite.hash.size
    if not 1 <= length <= most:
        raise ConfigError(f"an exporter gives 1 to {most} bytes, not {length}")
    try:
        name = label.encode("ascii") if isinstance(label, str) else bytes(memoryview(label))
    except UnicodeEncodeError:
        raise ConfigError("an exporter label is ASCII text") from None
    if len(name) > 249:
        raise ConfigError("an exporter label is at most 249 bytes long")
    return established.exporter.export(name, context, length)


def channel_binding(established: Established, kind: str) -> bytes:
    """RFC 9266, RFC 5929. Raises ConfigError for a kind that this connection does not have."""
    older = established.version is TLSVersion.TLS_1_2
    if kind == "tls-exporter" and not (older and established.unique is None):  # RFC 9266 §3
        return export(established, "EXPORTER-Channel-Binding", b"", 32)
    if kind == "tls-unique" and established.unique is not None:
        return established.unique
    if kind != "tls-server-end-point":
        raise ConfigError(f"the channel binding {kind} is not defined for {established.version}")
    if established.server_certificate is None:
        raise ConfigError("this connection has no server certificate")
    try:
        return established.server_certificate.end_point_hash()
    except ValueError as error:
        raise ConfigError(str(error), remedy="use tls-exporter") from None
