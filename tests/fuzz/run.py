"""Fuzz the targets: `make fuzz`, or from tests/

    python -m fuzz.run [--seconds N] [TARGET ...]       our own mutations of the seeds, N seconds for each target
    python -m fuzz.run --atheris [...]                  the same targets under atheris, where it is installed

What is found is printed with its bytes, and ends the run. docs/data/fuzz.json has what was done.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from conformance.data import keep, measured
from fuzz.oracles import MOST_BYTES, within_bounds
from fuzz.reframe import reframed
from fuzz.targets import TARGETS, Target

TITLE = "Fuzzing"

MOST_RESIDENT = 512
"""Most memory of a process under atheris, with its corpus, in MiB."""


def check(target: Target, data: bytes) -> None:
    """Run a target once. Raises RuntimeError with the input for whatever it raises, and for too much time or memory."""
    try:
        within_bounds(target.run, data, target.held)
    except Exception as error:
        raise RuntimeError(f"{target.name}: {data.hex()}") from error


def replay(target: Target) -> int:
    """Every seed once; how many there were."""
    count = 0
    for source in (target.own, target.public):
        for data in source():
            check(target, data[:MOST_BYTES])
            count += 1
    return count


def mutations(target: Target, chance: random.Random) -> Iterator[bytes]:
    """The seeds with something wrong with them, without end. What stands in one may come into another."""
    pool = [data[:MOST_BYTES] for source in (target.own, target.public) for data in source()]
    while True:
        data = bytearray(chance.choice(pool))
        if target.readable and chance.randrange(2):
            for _ in range(1 << chance.randrange(3)):
                data[1:] = reframed(bytes(data[1:]), lambda part: _spoil(part, pool, chance), chance)
        else:
            for _ in range(1 << chance.randrange(5)):
                _spoil(data, pool, chance)
        yield bytes(data[:MOST_BYTES])


def _spoil(data: bytearray, pool: list[bytes], chance: random.Random) -> None:
    at, size = chance.randrange(len(data) + 1), chance.randrange(1, 9)
    match chance.randrange(6):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(data):
            data[at] = chance.choice((0, 1, 2, 3, 0x0B, 0x14, 0x16, 0x17, 0x7F, 0x80, 0xFE, 0xFF))
        case 2:
            del data[at : at + size]
        case 3:
            data[at:at] = chance.randbytes(size)
        case 4:
            data[at:at] = data[at : at + size * chance.randrange(1, 40)]
        case _:
            other = chance.choice(pool)
            start = chance.randrange(len(other) + 1)
            data[at:at] = other[start : start + size * chance.randrange(1, 40)]


def mutate(target: Target, seconds: float) -> int:
    """Our own mutations for so long; how many were tried."""
    chance, ends, count = random.Random(), time.monotonic() + seconds, 0
    for data in mutations(target, chance):
        check(target, data)
        count += 1
        if time.monotonic() >= ends:
            break
    return count


# --- atheris ---------------------------------------------------------------------------------------------------------


def with_atheris(target: Target, seconds: float) -> int:
    """The target in a process of its own, under coverage-guided mutation; how many inputs were tried."""
    with tempfile.TemporaryDirectory() as folder:
        for index, data in enumerate(data for source in (target.own, target.public) for data in source()):
            (Path(folder) / str(index)).write_bytes(data[:MOST_BYTES])
        options = [f"-max_total_time={int(seconds)}", f"-max_len={MOST_BYTES}", f"-rss_limit_mb={MOST_RESIDENT}"]
        done = subprocess.run(
            [sys.executable, "-m", "fuzz.under_atheris", target.name, *options, "-print_final_stats=1", folder],
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    if done.returncode or found is None:
        raise RuntimeError(f"{target.name}:\n{done.stdout[-5000:]}{done.stderr[-5000:]}")
    return int(found[1])


# --- what was done ---------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--atheris", action="store_true")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS])
    options = parser.parse_args()
    engine = "atheris" if options.atheris else "mutations"
    for name in options.targets or TARGETS:
        target = TARGETS[name]
        seeds = replay(target)
        tried = (with_atheris if options.atheris else mutate)(target, options.seconds)
        print(f"{name}: {seeds} seeds, {tried} inputs of {engine}", flush=True)
        _keep(name, seeds, engine, tried)


def _keep(name: str, seeds: int, engine: str, tried: int) -> None:
    """Executions add up from run to run; nothing that was found is left out, because what is found ends the run."""
    executions = measured("fuzz").get("executions", {})
    counted = executions.setdefault(name, {"seeds": 0, "mutations": 0, "atheris": 0})
    counted["seeds"] = seeds
    counted[engine] += tried
    rows = [[target, *counts.values()] for target, counts in executions.items()]
    columns = ["target", "seeds replayed", "mutated inputs", "inputs of atheris"]
    keep("fuzz", {"title": TITLE, "command": "make fuzz", "columns": columns, "rows": rows, "executions": executions})


if __name__ == "__main__":
    main()
