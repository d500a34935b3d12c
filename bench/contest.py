"""Measuring side by side: contestants take turns in many short rounds, and only what fell into one round is compared.

On a machine that does something else besides, the time of one run says little. A disturbance that lasts longer than a
round slows all contestants alike, so the ratio of two neighbours stands; one that is shorter is outvoted by the median.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import repeat
from statistics import median, quantiles

Operation = Callable[[], object]
"""What is measured: one handshake, one message there, one connection."""


@dataclass(frozen=True)
class Spread:
    """A median between its quartiles."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        if len(values) < 2:
            return cls(values[0], values[0], values[0])
        low, _, high = quantiles(values, n=4, method="inclusive")
        return cls(low, median(values), high)


@dataclass(frozen=True)
class Standing:
    """One contestant's result."""

    seconds: Spread
    """For one operation."""
    ahead: Spread
    """Its time by the first contestant's time, round by round: above 1, the first one is faster."""


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    """At least as many; each contestant has one turn in each."""
    turn: float
    """Seconds of one turn."""


def contest(
    contestants: Mapping[str, Operation], effort: Effort, clock: Callable[[], float] = time.process_time
) -> dict[str, Standing]:
    """Results by name. The default clock counts this process alone; give `time.perf_counter` where others work too."""
    counts = {name: _count(operation, effort.turn, clock) for name, operation in contestants.items()}
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    gc.collect()
    for turn in range(effort.rounds):
        for name in names if turn % 2 else reversed(names):
            taken[name].append(_time(contestants[name], counts[name], clock))
    first = taken[names[0]]
    return {
        name: Standing(Spread.of(times), Spread.of([time / base for time, base in zip(times, first, strict=True)]))
        for name, times in taken.items()
    }


def _count(operation: Operation, turn: float, clock: Callable[[], float]) -> int:
    """How many operations fill one turn."""
    operation()  # whatever is done at the first time only
    once = max(_time(operation, 1, clock), 1e-7)
    some = max(1, min(1000, int(turn / once / 10)))
    return max(1, int(turn / max(_time(operation, some, clock), 1e-7)))


def _time(operation: Operation, count: int, clock: Callable[[], float]) -> float:
    """Seconds for one of `count` operations."""
    began = clock()
    for _ in repeat(None, count):
        operation()
    return (clock() - began) / count
