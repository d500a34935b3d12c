"""The foreign implementations, as the table of `make interop` names them, and what each says its version is."""

from __future__ import annotations

import ctypes
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final


def located(program: str) -> str | None:
    """The path of a program; a package of Python's may bring it along, beside its interpreter."""
    return shutil.which(program) or shutil.which(program, path=Path(sys.executable).parent)


def _said(program: str, *arguments: str, pattern: str = r"(.+)") -> Callable[[], str]:
    """What a program answers when asked, or the part of it that a pattern finds."""

    def ask() -> str:
        command = (located(program) or program, *arguments)
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        found = re.search(pattern, answer.stdout + answer.stderr)
        if found is None:
            raise LookupError(f"{command} does not say its version: {answer.stdout + answer.stderr!r}")
        return found.group(1).strip()

    return ask


def _nss() -> str:
    """None of its programs tells; the library they are linked with does."""
    library = ctypes.CDLL("libnss3.so")
    library.NSS_GetVersion.restype = ctypes.c_char_p
    return f"NSS {library.NSS_GetVersion().decode()}"


def _pyopenssl() -> str:
    binding: Any = import_module("OpenSSL.SSL")
    version: bytes = binding.SSLeay_version(binding.SSLEAY_VERSION)
    return version.decode()


def _rtls() -> str:
    # also says which cryptography is underneath
    version: str = import_module("rtls").OPENSSL_VERSION
    return version


def _awscrt() -> str:
    # s2n itself has no releases to be told apart by
    return f"awscrt {import_module('awscrt').__version__}"


VERSIONS: Final[Mapping[str, Callable[[], str]]] = MappingProxyType(
    {
        "OpenSSL, `ssl`": lambda: ssl.OPENSSL_VERSION,
        "OpenSSL, pyOpenSSL": _pyopenssl,
        "OpenSSL, `openssl`": _said("openssl", "version", pattern=r"([^(]+)"),
        "GnuTLS": _said("gnutls-cli", "--version"),
        "NSS": _nss,
        "Go": _said("go", "version"),
        "Java": _said("java", "-version", pattern=r"(.+)\n.*Runtime"),
        "Node": _said("node", "--print", "`Node ${process.version}, OpenSSL ${process.versions.openssl}`"),
        "rustls": _rtls,
        "s2n": _awscrt,
        "Chromium": _said("chromium", "--version", pattern=r"(Chromium \S+)"),
        "Firefox": _said("firefox-esr", "--version"),
        "curl": _said("curl", "--version", pattern=r"(curl \S+ .*?OpenSSL/\S+|curl .*)"),
    }
)
"""Each peer by name. A test says whom it talks to: `@pytest.mark.peer("Node")`, or a module for all its tests."""
