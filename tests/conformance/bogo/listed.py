"""The runner's tests by name, from the folder of public test data: which of them are about what we speak."""

from __future__ import annotations

import csv
import gzip
import json
import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from . import configuration, options
from .options import Phase, Unimplemented, Unmet

FILE = "bogo-tests.tsv.gz"
CONFIG = Path(__file__).parent / "config.json"


@dataclass(frozen=True)
class Listed:
    """One test."""

    name: str
    protocol: str
    version: str
    excluded: str
    """What it is about that few libraries have; empty for most."""
    flags: str

    @property
    def in_scope(self) -> bool:
        """TLS 1.3 and TLS 1.2, with AEAD suites and key agreement."""
        return self.protocol == "TLS" and self.version != "TLS<=1.1" and not self.excluded

    @property
    def key_transport(self) -> bool:
        """TLS 1.2 with a secret encrypted to the server's RSA key."""
        return self.protocol == "TLS" and self.version != "TLS<=1.1" and self.excluded.startswith("RSA key-exchange")

    def missing(self) -> str:
        """Why the shim does not take it; empty where it does."""
        told = (self.flags + " ").replace("  ", " '' ")  # a value may be empty
        arguments = [argument.encode("latin-1") for argument in shlex.split(told)]
        try:
            for phase in Phase:
                configuration.check(options.read(arguments, phase))
        except Unimplemented as missing:
            return str(missing)
        except Unmet:
            return ""
        return ""


def read(folder: Path) -> list[Listed]:
    """All tests of the list."""
    with gzip.open(folder / FILE, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [
        Listed(row["name"], row["protocol"], row["version_class"], row["excluded_feature"], row["flags"])
        for row in rows
    ]


def config() -> dict[str, Any]:
    """What the runner is told about us."""
    told: dict[str, Any] = json.loads(CONFIG.read_text(encoding="utf-8"))
    return told


def disabled(name: str, patterns: dict[str, str]) -> str:
    """Why a pattern leaves the test out; empty where none does."""
    return next((reason for pattern, reason in patterns.items() if fnmatchcase(name, pattern)), "")
