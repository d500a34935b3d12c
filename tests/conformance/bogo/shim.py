"""The program that the runner starts for each test: a TLS peer that does what its flags say, and judges the outcome.

Exit status: 0 where all was as expected, 1 for an error of TLS or an expectation that was not met, 89 for a test that
needs what is not there, and 90 for any other exception: the runner counts that as a failure in every test.
"""

from __future__ import annotations

import socket
import sys
import traceback
import warnings
from collections.abc import Sequence
from datetime import timedelta

from handclasp import CallbackError, ConfigError, InternalError, TLSError

from .configuration import Memory
from .conversation import Conversation
from .options import Options, Phase, Unimplemented, Unmet, read
from .reasons import reason

UNIMPLEMENTED = 89
BROKEN = 90


def main(arguments: Sequence[bytes]) -> int:
    """Run one test; returns the exit status."""
    warnings.simplefilter("ignore")  # the runner takes any text on standard error for a failure
    if b"-is-handshaker-supported" in arguments:
        print("No", flush=True)
        return 0
    try:
        return _run({phase: read(arguments, phase) for phase in Phase})
    except Unimplemented as missing:
        print(missing, file=sys.stderr)
        return UNIMPLEMENTED
    except (Unmet, OSError) as failure:
        print(failure, file=sys.stderr)
        return 1
    except (InternalError, ConfigError, CallbackError):
        traceback.print_exc()
        return BROKEN
    except TLSError as error:
        print(f":{reason(error)}: {error}", file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return BROKEN
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _run(options: dict[Phase, Options]) -> int:
    memory = Memory()
    first, later = options[Phase.INITIAL], options[Phase.RESUME]
    conversations = [Conversation(first, first, 0, memory)]
    count = first.number("-resume-count") or 0
    conversations += [Conversation(later, options[Phase.RETRY], index + 1, memory) for index in range(count)]
    for conversation in conversations:
        conversation.hold(_connect(first))
        memory.clock.now += timedelta(seconds=first.number("-resumption-delay") or 0)
    return 0


def _connect(options: Options) -> socket.socket:
    host = "::1" if "-ipv6" in options else "127.0.0.1"
    sock = socket.create_connection((host, options.number("-port") or 0), timeout=20)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall((options.number("-shim-id") or 0).to_bytes(8, "little"))
    return sock
