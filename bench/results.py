"""What was measured, as data: the table, the JSON and the plots are made from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from .contest import Spread, Standing


@dataclass(frozen=True)
class Row:
    """One workload against one contestant."""

    workload: str
    peer: str
    ours: Spread
    """Seconds of one operation, ours."""
    theirs: Spread
    ahead: Spread
    """Theirs by ours, round by round: above 1, we are faster."""
    goal: float | None
    """What `ahead` is to be at least; None where nothing is promised."""
    size: int = 0
    """Bytes of application data in one operation; 0 where an operation is a handshake."""

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else self.ahead.median >= self.goal


@dataclass(frozen=True)
class Cost:
    """One number of our own that has a bound, in its unit."""

    what: str
    value: float
    unit: str
    most: float | None = None
    theirs: str = ""
    """The same of others, in words."""

    @property
    def met(self) -> bool | None:
        return None if self.most is None else self.value <= self.most


@dataclass
class Results:
    """One run."""

    machine: dict[str, str]
    command: str
    rows: list[Row] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    profile: dict[str, float] = field(default_factory=dict)
    """Share of a full handshake's time, by what it is spent on."""
    functions: dict[str, float] = field(default_factory=dict)
    """The same by function, the busiest first."""
    skipped: list[str] = field(default_factory=list)

    def add(self, workload: str, standings: dict[str, Standing], goals: dict[str, float], size: int = 0) -> None:
        """The first contestant is ours."""
        ours, *others = standings
        for name in others:
            theirs = standings[name]
            self.rows.append(
                Row(workload, name, standings[ours].seconds, theirs.seconds, theirs.ahead, goals.get(name), size)
            )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
