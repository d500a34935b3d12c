"""A Redis of our own: on a socket in a folder, without a port, and killed when its test is over."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Self

from interop.programs import Program, tool


class Redis:
    """One server, which can be stopped in every way there is, and started again."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._socket = folder / "redis.sock"
        self._command = (
            *(tool("redis-server"), "--port", "0", "--unixsocket", str(self._socket)),
            *("--dir", str(folder), "--save", "", *options),
        )
        self.url = f"unix://{self._socket}"
        self._program: Program | None = None

    def start(self) -> None:
        """Returns when it answers."""
        self._program = Program(*self._command)
        self._program.output.expect("ready to accept connections at")

    def send(self, number: signal.Signals) -> None:
        """Stop, continue or end it by a signal."""
        assert self._program is not None
        self._program.send(number)
        if number in (signal.SIGTERM, signal.SIGKILL):
            self._program.finish()

    def revive(self, number: signal.Signals) -> None:
        """Undo what a signal did."""
        if number is signal.SIGSTOP:
            self.send(signal.SIGCONT)
        else:
            self.end()
            self.start()

    def end(self) -> None:
        """Kill it, whatever state it is in."""
        if self._program is not None:
            self._program.__exit__()
            self._program = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
