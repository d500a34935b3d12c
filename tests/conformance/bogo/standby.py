"""A process that has everything loaded and forks itself for each test: starting Python anew costs more than a test.

The launcher that the runner starts is a few lines of Python without site packages. It hands its arguments and its
standard streams over a Unix socket to the process that stands by, and ends with the status that comes back.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from pathlib import Path

from . import shim

LAUNCHER = """#!{python} -IS
import os, socket, sys
with socket.socket(socket.AF_UNIX) as standby:
    standby.connect({address!r})
    arguments = b"\\0".join(os.fsencode(argument) for argument in sys.argv[1:])
    socket.send_fds(standby, [len(arguments).to_bytes(4)], [0, 1, 2])
    standby.sendall(arguments)
    status = standby.recv(1)
sys.exit(status[0] if status else {broken})
"""


def write_launcher(path: Path, address: Path) -> None:
    """Make the program to give to the runner as its shim."""
    path.write_text(LAUNCHER.format(python=sys.executable, address=str(address), broken=shim.BROKEN))
    path.chmod(0o755)


def serve(address: Path) -> None:
    """Answer launchers until the process is ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that children need not be waited for
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(64)
        gc.freeze()
        print("ready", flush=True)
        while True:
            launcher, _ = listener.accept()
            with launcher:
                if os.fork() == 0:
                    listener.close()
                    _answer(launcher)


def _answer(launcher: socket.socket) -> None:
    """In the child: run one test, with the launcher's standard streams. Does not return."""
    status = shim.BROKEN
    try:
        head, streams, _, _ = socket.recv_fds(launcher, 4, 3)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        size, arguments = int.from_bytes(head), b""
        while len(arguments) < size:
            arguments += launcher.recv(size - len(arguments))
        status = shim.main(arguments.split(b"\0") if arguments else [])
    finally:
        launcher.sendall(bytes([status]))
        os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
