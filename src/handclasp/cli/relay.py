"""Standard input and output, joined to a connection."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

from ..errors import TLSError
from ..io.blocking import TLSSocket


def relay(tls: TLSSocket, early: bytes = b"") -> None:
    """Carry bytes both ways until the other side has finished. Raises TLSError, OSError.

    The end of our input is told to the other side, which may go on.
    """
    threading.Thread(target=_upwards, args=(tls,), name="handclasp-input", daemon=True).start()
    data, output = early or tls.recv(65536), sys.stdout.buffer
    while data:
        output.write(data)
        output.flush()
        data = tls.recv(65536)


def _upwards(tls: TLSSocket) -> None:
    # Past Python's buffer and its lock: a thread that waits in there would keep the program from ending.
    source = sys.stdin.fileno()
    with suppress(TLSError, OSError):  # the reading side says what is wrong
        while data := os.read(source, 65536):
            tls.sendall(data)
        tls.shutdown_write()
