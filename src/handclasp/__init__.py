"""TLS in Python: correct enough to be trusted, and able to show any handshake and to name the cause of any failure.

with handclasp.connect("example.com", 443) as tls:
    tls.sendall(b"GET / HTTP/1.1\\r\\nHost: example.com\\r\\nConnection: close\\r\\n\\r\\n")
    print(tls.recv(65536))
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import aio as aio
    from . import anyio as anyio
    from .api import *  # noqa: F403 - its __all__ is read by type checkers


def __getattr__(name: str) -> Any:
    """A public name, or `handclasp.aio` and `handclasp.anyio`: imported when it is first named.

    Nobody pays for a runtime that he does not use, nor `handclasp --version` for the whole library.
    """
    if name in ("aio", "anyio"):
        return importlib.import_module(f".{name}", __name__)
    public = importlib.import_module(".api", __name__)
    if name in public.__all__:
        globals()[name] = value = getattr(public, name)
        return value
    if name == "__all__":
        return public.__all__
    if name in globals():  # a module of the package, which has just been imported
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__"), "aio", "anyio"})
