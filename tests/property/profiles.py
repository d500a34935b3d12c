"""How hard Hypothesis works: the same examples each time, unless `HYPOTHESIS_EXAMPLES` asks for more of other ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import HealthCheck, settings

_MORE = int(os.environ.get("HYPOTHESIS_EXAMPLES", "0"))

EXHAUSTIVE = bool(os.environ.get("HANDCLASP_EXHAUSTIVE"))
"""Whether everything is tried that is otherwise sampled, evenly: `make exhaustive` sets it."""

T = TypeVar("T")

Record = Callable[[str, object], None]
"""pytest's `record_property`: what a matrix covered goes into docs/conformance.md."""


def sampled(cases: Sequence[T], one_in: int) -> Sequence[T]:
    """One in so many of the cases, evenly; all of them where everything is tried."""
    return cases if EXHAUSTIVE else cases[::one_in]


def examples(count: int) -> settings:
    """`count` examples where everything is tried and half of them where not, always the same; or as many new ones as
    the environment says."""
    return settings(
        max_examples=_MORE or (count if EXHAUSTIVE else count // 2),
        derandomize=not _MORE,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )
