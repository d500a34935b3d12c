"""All that once exercised a TLS implementation is replayed, and what our own mutations make of it."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest

from fuzz.run import MOST_BYTES, check, mutations, replay
from fuzz.targets import TARGETS, Target

targets = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name.replace(" ", "-"))


@targets
def test_seeds(target: Target, corpora: Path, record_property: pytest.FixtureRequest) -> None:
    assert replay(target) > len(list(target.own()))


@targets
def test_mutated_seeds(target: Target) -> None:
    """The same ones each time; `make fuzz` makes others."""
    own = [data[:MOST_BYTES] for data in target.own()]
    assert own
    only = Target(target.name, target.run, lambda: own)
    for data in islice(mutations(only, random.Random(target.name)), 300):
        check(target, data)
