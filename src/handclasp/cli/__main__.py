"""`handclasp`: finds the command, runs it, and turns what ends it into an exit code."""

from __future__ import annotations

import importlib
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from .options import Parser, meant
from .terminal import Terminal, Unwritable, is_closed_pipe


class Command(NamedTuple):
    """How a command is called, an example of it, and what it does."""

    usage: str
    example: str
    summary: str


COMMANDS = {
    "demo": Command("[tls13|rsa]", "", "one connection on this machine, told step by step"),
    "connect": Command("[options] TARGET…", "example.com", "one handshake, told plainly"),
    "serve": Command("[options] [DIR]", "./site", "HTTPS for a folder, nothing to set up"),
}
"""Each is a module of this package, imported when it is asked for."""

INTERRUPTED, CLOSED_PIPE, BUG, UNWRITABLE = 130, 141, 1, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line. Returns the exit code: 0 done, 2 wrong usage, others by what stopped it."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(arguments)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except Unwritable as error:
        with suppress(Unwritable):
            Terminal(sys.stderr, "never").line(f"handclasp: what we have to say cannot be written: {error}")
        return UNWRITABLE
    except Exception as error:
        if isinstance(error, OSError) and is_closed_pipe(error):
            return CLOSED_PIPE
        return _report(error)


def _run(arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    if name in COMMANDS:
        parser = Parser(f"handclasp {name}", COMMANDS[name].usage, everything="--help-all" in arguments)
        command = importlib.import_module(f".{name}", __package__)
        command.configure(parser)
        code: int = command.run(parser.read(arguments[1:]))
        return code
    if name == "--version":
        Terminal(sys.stdout, "never").line(f"handclasp {_version()}")
        return 0
    if name == "help" and arguments[1:]:
        return _run([arguments[1], "--help"])
    if name in ("", "-h", "--help", "help"):
        Terminal(sys.stdout, "never").line(_overview())
        return 0
    what = "option" if name.startswith("-") else "command"
    near = meant(name, [*COMMANDS, "--help", "--version"])
    print(f"handclasp: unknown {what} {name!a}{near}\n(see handclasp --help)", file=sys.stderr)
    return 2


def _overview() -> str:
    lines = [f"    {f'{name} {command.example}':<24}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["handclasp  TLS you can see", "", *lines, "", "  handclasp COMMAND --help"])


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("handclasp")
    except PackageNotFoundError:
        return "(not installed: run from its source)"


def _report(error: Exception) -> int:
    """A bug of ours: keep its traceback in a file, and say where."""
    with tempfile.NamedTemporaryFile("w", prefix="handclasp-", suffix=".txt", delete=False, encoding="utf-8") as file:
        traceback.print_exception(error, file=file)
    print(f"handclasp failed: {type(error).__name__}. This is a bug; its report is in {file.name}", file=sys.stderr)
    return BUG


if __name__ == "__main__":
    sys.exit(main())
