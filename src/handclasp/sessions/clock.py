"""Time as sessions are dated by: aware datetimes, and milliseconds since 1970 where they are stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

Clock = Callable[[], datetime]
"""The present time, aware of its zone."""


def system_clock() -> datetime:
    return datetime.now(UTC)


def milliseconds(at: datetime) -> int:
    """A moment as milliseconds since 1970; what was before is 0."""
    return max(0, (at - _EPOCH) // timedelta(milliseconds=1))


def moment(stored: int) -> datetime:
    """The moment of a stored number. Raises ValueError for one that no datetime can hold."""
    if stored > _LAST:
        raise ValueError("not a session: it is of no time")
    return _EPOCH + timedelta(milliseconds=stored)


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = 253_402_300_799_999
"""The end of the year 9999."""
