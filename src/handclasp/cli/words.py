"""Numbers, names and moments in the words the commands print. Pure: the present is an argument."""

from __future__ import annotations

import re
from datetime import datetime

from ..identity.certificates import Certificate
from ..identity.der import distinguished_name


def number(value: int) -> str:
    """`1 498`: thousands apart."""
    return f"{value:,}".replace(",", " ")


def octets(value: int) -> str:
    """`1 498 B`: a size to be compared with others, never rounded."""
    return f"{number(value)} B"


def size(value: int) -> str:
    """`1.2 kB`: a size to be taken in at a glance."""
    if value < 1000:
        return f"{value} B"
    for unit, step in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if value < step * 999.5:
            return f"{value / step:.1f} {unit}" if value < step * 99.5 else f"{value / step:.0f} {unit}"
    return f"{value / 1e12:.1f} TB"


def count(value: int, noun: str) -> str:
    """`1 certificate`, `2 certificates`."""
    return f"{number(value)} {noun}{'' if value == 1 else 's'}"


def milliseconds(seconds: float) -> str:
    """`0.4`, `23`: milliseconds, with a digit behind the point where it tells something."""
    value = seconds * 1000
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def listed(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def left(certificate: Certificate, now: datetime) -> str:
    """How long a certificate still counts: `71 days left`, `ended 3 days ago`, `starts in 5 days`."""
    if now < certificate.not_before:
        return f"starts in {_days((certificate.not_before - now).total_seconds())}"
    seconds = (certificate.not_after - now).total_seconds()
    return f"{_days(seconds)} left" if seconds >= 0 else f"ended {_days(-seconds)} ago"


def days_left(certificate: Certificate, now: datetime) -> int:
    """Whole days; below zero once it has ended."""
    return (certificate.not_after - now).days


def _days(seconds: float) -> str:
    hours = int(seconds // 3600)
    if hours < 24:
        return count(hours, "hour")
    return count(hours // 24, "day") if hours < 3 * 365 * 24 else f"{hours // (365 * 24)} years"


def called(certificate: Certificate) -> str:
    """What people call a certificate: its common name, else its first name."""
    return common_name(certificate.subject) or next(iter(certificate.names), "") or "a certificate without a name"


def common_name(name: str) -> str:
    """The CN of a distinguished name in the form of RFC 4514; the whole name where it has none."""
    found = re.search(r"(?:^|,|\+)CN=((?:\\.|[^,+\\])*)", name)
    return re.sub(r"\\(.)", r"\1", found[1]) if found else name


def authority(name: bytes) -> str:
    """The common name of a distinguished name in DER, as certificate_authorities lists them."""
    return common_name(distinguished_name(name))
