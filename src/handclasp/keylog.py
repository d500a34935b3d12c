"""The key log: secrets written out on purpose, so that a network analyser can decrypt a capture (RFC 9850)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

KeyLog = Callable[[str], None]
"""Called with one line, without its newline, for each secret. Whoever has the lines can read the connection."""


def key_log_line(label: str, client_random: bytes, secret: bytes) -> str:
    """RFC 9850 §2: label, the ClientHello's random and the secret, both in hex."""
    return f"{label} {client_random.hex()} {secret.hex()}"


@dataclass(frozen=True, slots=True)
class KeyLogFile:
    """Appends to a file that only its owner can read (mode 0600). Opened for each line, so it may be moved away.

    One that others could read is taken from them first; where that cannot be, nothing is written, and OSError raised.
    """

    path: Path | str

    def __call__(self, line: str) -> None:
        data = f"{line}\n".encode()
        with _WRITING:
            descriptor = self._opened()
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)

    def check(self) -> None:
        """Make the file, if there is none, and see that it can be written. Raises OSError."""
        os.close(self._opened())

    def _opened(self) -> int:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISREG(mode) and mode & 0o077 and hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o600)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


_WRITING = Lock()
