"""How hard Hypothesis works: the same examples each time, unless `HYPOTHESIS_EXAMPLES` asks for more of other ones."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_MORE = int(os.environ.get("HYPOTHESIS_EXAMPLES", "0"))


def examples(count: int) -> settings:
    """`count` examples, always the same; or as many new ones as the environment says."""
    return settings(
        max_examples=_MORE or count,
        derandomize=not _MORE,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )
