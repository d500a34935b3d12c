"""No memory, at every allocation of a step, in a process of its own: `python -m hazards.starve NAME ONE_IN`.

Prints how many allocations failed. What does not hold afterwards ends it with a traceback.
"""

from __future__ import annotations

import _testcapi  # type: ignore[import-not-found] # CPython's own tests have it
import sys

from hazards.steps import STEPS, assert_dead_or_untouched
from hazards.witness import watching
from rules.stage import Stage

SILENT = 40
"""So many runs in a row in which nothing was missed: the step makes no more allocations."""


def starve(name: str, one_in: int) -> int:
    """How many allocations were made to fail, one run each."""
    failing = silent = 0
    while silent * one_in < SILENT:
        silent = 0 if _missed(name, failing * one_in) else silent + 1
        failing += 1
    return failing - silent


def _missed(name: str, failing: int) -> bool:
    """Whether the step noticed that one allocation failed. Raises AssertionError for what must not come of it."""
    prepare, step, configs = STEPS[name]
    with watching() as witness:
        scene = Stage().joined({**configs, "trace": None}, {"trace": None})
        heard, said, missed = prepare(scene), b"", False
        _testcapi.set_nomemory(failing, failing + 1)
        try:
            said = step(scene.victim, heard)
        except BaseException:  # the library below makes of it what it can, a panic too
            missed = True
        finally:
            _testcapi.remove_mem_hooks()
        scene.other.receive_data(said)
        assert_dead_or_untouched(scene, may_lose=True)
    if witness.again:
        raise AssertionError(f"allocation {failing}: a nonce was used twice")
    return missed


if __name__ == "__main__":
    print(starve(sys.argv[1], int(sys.argv[2])))
