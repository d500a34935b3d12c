"""The libraries, each behind the same few calls."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable

from .base import Library


def installed(only: Iterable[str] = ()) -> list[Library]:
    """The libraries of this machine, handclasp first; those named, or all."""
    found: list[Library] = []
    from .ours import Handclasp

    found.append(Handclasp())
    if importlib.util.find_spec("ssl"):
        from .modules import Stdlib

        found.append(Stdlib())
    if importlib.util.find_spec("OpenSSL"):
        from .pyopenssl import PyOpenSSL

        found.append(PyOpenSSL())
    if importlib.util.find_spec("rtls"):
        from .modules import Rustls

        found.append(Rustls())
    if importlib.util.find_spec("tlslite"):
        from .tlslite import Tlslite

        found.append(Tlslite())
    wanted = set(only)
    return [library for library in found if not wanted or library.name in wanted or library.name == "handclasp"]
