"""What once exercised a TLS implementation: the public corpora, where the machine has them."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path


def folder() -> Path:
    """Where the public test data is, if it is anywhere."""
    return Path(os.environ.get("HANDCLASP_CORPORA", Path(__file__).parents[3] / "shared" / "corpora"))


def archived(name: str) -> Iterator[tuple[str, bytes]]:
    """(name, content) of every file in an archive; nothing where the archive is absent."""
    path = folder() / name
    if not path.exists():
        return
    with tarfile.open(path) as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file.read()


def boringssl_stream(data: bytes) -> bytes:
    """The peer's bytes of a BoringSSL seed, behind the tags that configure its fuzzer (1: session, 5: hints)."""
    at = 0
    while len(data) - at >= 2:
        tag, at = int.from_bytes(data[at : at + 2]), at + 2
        if tag == 0:
            return data[at:]
        if tag != 2:
            at += 3 + int.from_bytes(data[at : at + 3])
    return data
