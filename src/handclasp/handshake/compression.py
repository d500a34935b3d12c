"""Certificate messages on the wire, compressed where both sides want it: RFC 8879, both roles."""

from __future__ import annotations

from collections.abc import Sequence

from .. import rules
from ..config import Config
from ..errors import CallbackError
from ..identity.compression import CertificateCompressor
from ..rules import PeerFault, require
from ..trace import Subject
from ..wire.extensions import U24
from ..wire.messages import HEADER_SIZE, Certificate, CompressedCertificate
from ..wire.names import CertificateCompression
from .script import Peer


def send_certificate(
    peer: Peer, config: Config, message: Certificate, theirs: Sequence[CertificateCompression] | None
) -> None:
    """Send a certificate, in the first of our short forms that the peer can read."""
    short = next((ours for ours in config.certificate_compression if ours.algorithm in (theirs or ())), None)
    if short is None:
        peer.send(message)
        return
    body = message.encode()[HEADER_SIZE:]
    try:
        compressed: object = short.compress(body)
    except Exception as error:
        raise CallbackError(f"the certificate was not compressed: {type(error).__name__}") from error
    if not isinstance(compressed, bytes) or not 0 < len(compressed) <= U24:
        raise CallbackError(f"the compressor returned {type(compressed).__name__}, not a certificate in short")
    peer.note(Subject.COMPRESSION, short.algorithm, f"{len(body)} bytes became {len(compressed)} bytes")
    peer.send(CompressedCertificate(short.algorithm, len(body), compressed))


async def receive_certificate(peer: Peer, config: Config) -> Certificate:
    """The peer's Certificate message. Raises PeerFault."""
    if not config.certificate_compression:
        return await peer.receive(Certificate)
    return expanded(config, await peer.receive(Certificate, CompressedCertificate))


def expanded(config: Config, message: Certificate | CompressedCertificate) -> Certificate:
    """The Certificate that a message is or stands for, RFC 8879 §4. Raises PeerFault."""
    if isinstance(message, Certificate):
        return message
    algorithm, length = message.algorithm, message.uncompressed_length
    known = next((ours for ours in config.certificate_compression if ours.algorithm == algorithm), None)
    if known is None:
        rules.fail(rules.COMPRESSION_NOT_OFFERED, str(algorithm))
    most = config.limits.certificate_message
    require(length <= most, rules.CERTIFICATE_COMPRESSION, f"{length} bytes where at most {most} may come")
    return Certificate.parse(_decompressed(known, message.compressed_certificate_message, length))


def _decompressed(known: CertificateCompressor, data: bytes, length: int) -> bytes:
    try:
        plain = known.decompress(data, length)
    except ValueError as error:
        raise PeerFault(rules.CERTIFICATE_COMPRESSION, str(error)) from None
    except Exception as error:
        raise CallbackError(f"the certificate was not decompressed: {type(error).__name__}") from error
    require(len(plain) == length, rules.CERTIFICATE_COMPRESSION, f"not the {length} bytes that were declared")
    return plain
