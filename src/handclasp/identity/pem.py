"""PEM text (RFC 7468): labelled blocks, whatever stands between them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

CERTIFICATE_LABELS: Final = frozenset({"CERTIFICATE", "X509 CERTIFICATE"})


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its label, and its text with both boundary lines. The text can be a key, so no repr shows it."""

    label: str
    text: bytes

    def __repr__(self) -> str:
        return f"<PEM {self.label}>"

    @property
    def der(self) -> bytes:
        """The decoded content. Raises ValueError when it is not base64."""
        body = self.text[self.text.index(_DASHES, len(_BEGIN)) + len(_DASHES) : self.text.rindex(b"-----END ")]
        try:
            return base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error:
            raise ValueError(f"a PEM block {self.label!r} holds something that is not base64") from None


def is_pem(data: bytes) -> bool:
    """True when there is at least one boundary line; DER never holds one at its start."""
    return data.lstrip().startswith(_BEGIN) or b"\n" + _BEGIN in data


def blocks(data: bytes) -> tuple[Block, ...]:
    """Every complete block in order. Text between blocks is skipped, as RFC 7468 §2 allows.

    Raises ValueError for a block that has no end.
    """
    found = []
    at = data.find(_BEGIN)
    while at >= 0:
        label_end = data.find(_DASHES, at + len(_BEGIN))
        label = data[at + len(_BEGIN) : label_end] if label_end >= 0 else b""
        closing = b"-----END " + label + _DASHES
        end = data.find(closing, label_end)
        if label_end < 0 or b"\n" in label or end < 0:
            raise ValueError("a PEM block begins and does not end: the file is cut short or damaged")
        end += len(closing)
        found.append(Block(label.decode("ascii", "replace"), data[at:end]))
        at = data.find(_BEGIN, end)
    return tuple(found)


def encode(label: str, der: bytes) -> bytes:
    """One block around `der`, in lines of 64 characters (RFC 7468 §2)."""
    body = base64.b64encode(der)
    lines = [body[i : i + 64] for i in range(0, len(body), 64)]
    return b"\n".join([_BEGIN + label.encode() + _DASHES, *lines, b"-----END " + label.encode() + _DASHES, b""])


_DASHES: Final = b"-----"
_BEGIN: Final = b"-----BEGIN "
