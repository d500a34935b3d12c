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
    """A module of the package, such as `handclasp.aio`, or a public name: imported when it is first named.

    Nobody pays for a runtime that he does not use, nor `handclasp --version` for the whole library. Modules come first:
    `from . import rules` asks here too, and must not import all the others for it.
    """
    if name == "__all__":
        return importlib.import_module(".api", __name__).__all__
    if not name.startswith("_"):
        try:
            return importlib.import_module(f".{name}", __name__)
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
        public = importlib.import_module(".api", __name__)
        if name in public.__all__:
            globals()[name] = value = getattr(public, name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__"), "aio", "anyio"})
