"""Key agreement: elliptic curves, ML-KEM, and hybrids of both (RFC 8446 §4.2.8, RFC 7748, RFC 10024)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..rules import KEY_SHARE_INVALID, PeerFault
from ..wire.names import NamedGroup

MLKEMPrivateKey = mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey
MLKEMPublicKey = mlkem.MLKEM768PublicKey | mlkem.MLKEM1024PublicKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A fresh key pair of one group, used for one handshake."""

    group: NamedGroup
    public: bytes
    """What goes into the key share."""
    agree: Callable[[bytes], bytes] = field(repr=False)
    """The peer's key share -> the shared secret. Raises PeerFault for a value that is not of the group."""
    curve: KeyPair | None = field(default=None, repr=False)
    """That of the curve inside of a hybrid. It may be offered by itself too, in the same ClientHello and no other
    (draft-ietf-tls-hybrid-design §3.2)."""


def generate(group: NamedGroup) -> KeyPair:
    """A new key pair, to offer in a ClientHello or to answer with on a plain curve."""
    if group in _KEMS:
        return _generate_kem(group, _KEMS[group])
    return _generate_curve(group)


def respond(group: NamedGroup, share: bytes, generate: Callable[[NamedGroup], KeyPair]) -> tuple[bytes, bytes]:
    """Answer a client's share: (our share, the shared secret). `generate` makes the plain curves' key pairs.

    Raises PeerFault for a share that is not of the group.
    """
    if group not in _KEMS:
        pair = generate(group)
        return pair.public, pair.agree(share)
    kem = _KEMS[group]
    curve_share, kem_share = kem.split(share, kem.public_size)
    curve_public = curve_secret = b""
    if kem.curve is not None:
        curve_pair = generate(kem.curve)
        curve_public, curve_secret = curve_pair.public, curve_pair.agree(curve_share)
    try:
        kem_secret, ciphertext = kem.public_key(kem_share).encapsulate()
    except ValueError:
        raise PeerFault(KEY_SHARE_INVALID, f"{group}: not an ML-KEM key") from None
    return kem.join(curve_public, ciphertext), kem.join(curve_secret, kem_secret)


def curve_key_pair(
    group: NamedGroup, private: x25519.X25519PrivateKey | x448.X448PrivateKey | ec.EllipticCurvePrivateKey
) -> KeyPair:
    """The key pair around an existing private key."""
    public_key: Any = private.public_key()
    if group in _CURVES:
        point = public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return KeyPair(group, point, _nist_agreement(group, private))
    return KeyPair(group, public_key.public_bytes_raw(), _montgomery_agreement(group, private))


# --- curves ----------------------------------------------------------------------------------------------------------

_CURVES: Final[dict[NamedGroup, ec.EllipticCurve]] = {
    NamedGroup.SECP256R1: ec.SECP256R1(),
    NamedGroup.SECP384R1: ec.SECP384R1(),
    NamedGroup.SECP521R1: ec.SECP521R1(),
}

CURVE_SHARE_SIZE: Final = {
    NamedGroup.X25519: 32,
    NamedGroup.X448: 56,
    NamedGroup.SECP256R1: 65,
    NamedGroup.SECP384R1: 97,
    NamedGroup.SECP521R1: 133,
}
"""Length of a share on a plain curve, in bytes."""


def _generate_curve(group: NamedGroup) -> KeyPair:
    if group is NamedGroup.X25519:
        return curve_key_pair(group, x25519.X25519PrivateKey.generate())
    if group is NamedGroup.X448:
        return curve_key_pair(group, x448.X448PrivateKey.generate())
    return curve_key_pair(group, ec.generate_private_key(_CURVES[group]))


def _montgomery_agreement(group: NamedGroup, private: Any) -> Callable[[bytes], bytes]:
    theirs = x25519.X25519PublicKey if group is NamedGroup.X25519 else x448.X448PublicKey

    def agree(share: bytes) -> bytes:
        _check_size(group, share, CURVE_SHARE_SIZE[group])
        try:
            # the library refuses low-order points, whose result would be all zero (RFC 8446 §7.4.2)
            secret: bytes = private.exchange(theirs.from_public_bytes(share))
        except ValueError:
            raise PeerFault(KEY_SHARE_INVALID, f"{group}: a point of low order") from None
        return secret

    return agree


def _nist_agreement(group: NamedGroup, private: Any) -> Callable[[bytes], bytes]:
    def agree(share: bytes) -> bytes:
        _check_size(group, share, CURVE_SHARE_SIZE[group])
        if share[0] != 4:
            # the library would take compressed points too; TLS does not (RFC 8446 §4.2.8.2)
            raise PeerFault(KEY_SHARE_INVALID, f"{group}: not an uncompressed point")
        try:
            theirs = ec.EllipticCurvePublicKey.from_encoded_point(private.curve, share)
            secret: bytes = private.exchange(ec.ECDH(), theirs)
        except ValueError:
            raise PeerFault(KEY_SHARE_INVALID, f"{group}: not a point of the curve") from None
        return secret

    return agree


def _check_size(group: NamedGroup, share: bytes, size: int) -> None:
    if len(share) != size:
        raise PeerFault(KEY_SHARE_INVALID, f"{group}: {len(share)} bytes where {size} belong")


# --- ML-KEM ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Kem:
    """ML-KEM by itself (draft-ietf-tls-mlkem) or beside a curve (RFC 10024); which comes first differs by group."""

    group: NamedGroup
    curve: NamedGroup | None
    kem_first: bool
    public_size: int
    ciphertext_size: int
    generate: Callable[[], MLKEMPrivateKey]
    public_key: Callable[[bytes], MLKEMPublicKey]

    def join(self, curve_part: bytes, kem_part: bytes) -> bytes:
        return kem_part + curve_part if self.kem_first else curve_part + kem_part

    def split(self, share: bytes, kem_size: int) -> tuple[bytes, bytes]:
        """(curve part, ML-KEM part); the former is empty where there is no curve."""
        curve_size = 0 if self.curve is None else CURVE_SHARE_SIZE[self.curve]
        _check_size(self.group, share, curve_size + kem_size)
        if self.kem_first:
            return share[kem_size:], share[:kem_size]
        return share[:curve_size], share[curve_size:]


def _kem768(group: NamedGroup, curve: NamedGroup | None, *, kem_first: bool = True) -> _Kem:
    keys = mlkem.MLKEM768PrivateKey.generate, mlkem.MLKEM768PublicKey.from_public_bytes
    return _Kem(group, curve, kem_first, 1184, 1088, *keys)


def _kem1024(group: NamedGroup, curve: NamedGroup | None, *, kem_first: bool = True) -> _Kem:
    keys = mlkem.MLKEM1024PrivateKey.generate, mlkem.MLKEM1024PublicKey.from_public_bytes
    return _Kem(group, curve, kem_first, 1568, 1568, *keys)


_HYBRIDS: Final = (
    _kem768(NamedGroup.X25519_MLKEM768, NamedGroup.X25519),
    _kem768(NamedGroup.SECP256R1_MLKEM768, NamedGroup.SECP256R1, kem_first=False),
    _kem1024(NamedGroup.SECP384R1_MLKEM1024, NamedGroup.SECP384R1, kem_first=False),
)

_PURE: Final = (_kem768(NamedGroup.MLKEM768, None), _kem1024(NamedGroup.MLKEM1024, None))

_KEMS: Final = {kem.group: kem for kem in (*_HYBRIDS, *_PURE)}


def _generate_kem(group: NamedGroup, kem: _Kem) -> KeyPair:
    curve, key = None if kem.curve is None else _generate_curve(kem.curve), kem.generate()
    curve_public = b"" if curve is None else curve.public

    def agree(share: bytes) -> bytes:
        curve_share, ciphertext = kem.split(share, kem.ciphertext_size)
        curve_secret = b"" if curve is None else curve.agree(curve_share)
        return kem.join(curve_secret, key.decapsulate(ciphertext))

    return KeyPair(group, kem.join(curve_public, key.public_key().public_bytes_raw()), agree, curve)


def _kem_available() -> bool:
    try:
        mlkem.MLKEM768PrivateKey.generate()
    except UnsupportedAlgorithm:
        return False
    return True


POST_QUANTUM: Final = tuple(_KEMS) if _kem_available() else ()
"""The groups with ML-KEM that this build of the primitives library can do: all, or none where its OpenSSL is too old.
"""

DEFAULT_GROUPS: Final = (
    *(hybrid.group for hybrid in _HYBRIDS if POST_QUANTUM),
    NamedGroup.X25519,
    NamedGroup.SECP256R1,
    NamedGroup.SECP384R1,
    NamedGroup.SECP521R1,
    NamedGroup.X448,
)
"""What is used unless the configuration says otherwise, in our order of preference: no ML-KEM without a curve beside
it, which still holds should ML-KEM not."""

GROUPS: Final = (*DEFAULT_GROUPS, *(pure.group for pure in _PURE if POST_QUANTUM))
"""Every group we can use."""
