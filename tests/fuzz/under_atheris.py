"""One target under atheris: `python -m fuzz.under_atheris TARGET [libFuzzer options] [corpus]`, as `fuzz.run` does."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["handclasp"], enable_loader_override=False):
    from fuzz.run import check
    from fuzz.targets import TARGETS


def main() -> None:
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, lambda data: check(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
