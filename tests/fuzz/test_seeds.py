"""All that once exercised a TLS implementation is replayed, and what our own mutations make of it."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import pytest

from fuzz.oracles import HELD_PER_BYTE, MOST_BYTES, peak_of
from fuzz.run import check, mutations, replay
from fuzz.targets import TARGETS, Target

targets = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name.replace(" ", "-"))


@targets
def test_seeds(target: Target, corpora: Path) -> None:
    """In time, and without anything but errors that can be shown."""
    assert corpora.is_dir()
    assert replay(target) >= len(list(target.own()))


@targets
def test_mutated_seeds(target: Target) -> None:
    """The same ones each time; `make fuzz` makes others."""
    own = [data[:MOST_BYTES] for data in target.own()]
    assert own
    only = Target(target.name, target.run, lambda: own)
    for data in islice(mutations(only, random.Random(target.name)), 300):
        check(target, data)


@targets
def test_memory_is_in_proportion(target: Target) -> None:
    """What an input makes us hold at once is bounded by its own length."""
    for data in target.own():
        target.run(data)  # what is made once is made by now
        assert peak_of(target.run, data) < target.held + HELD_PER_BYTE * len(data)
