"""`python -m bench`: measure, print a table, and write JSON, plots and the page where asked."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from . import eventloop, loopback, memory, plots, setup
from .contest import Effort
from .identity import Identity, make_identity
from .peers import installed
from .peers.base import Library
from .report import page, tables
from .results import Results

FULL, QUICK = Effort(60, 0.05), Effort(11, 0.02)

OPENSSL = """openssl_conf = main
[main]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
Ciphersuites = TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256
"""
"""The suite of all contestants: `ssl` of Python 3.11 takes that of TLS 1.3 from OpenSSL's configuration alone."""

PARTS = ("handshakes", "messages", "tcp", "asyncio", "costs", "profile")


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if "HANDCLASP_BENCH" not in os.environ:
        return _again_with_configuration()
    libraries = installed(options.against)
    results = Results(_machine(libraries), f"python -m bench {' '.join(sys.argv[1:])}".strip())
    with tempfile.TemporaryDirectory() as folder:
        identity = make_identity(Path(folder))
        for part in options.only or PARTS:
            began = time.perf_counter()
            _work(part, libraries, identity, options.quick, results)()
            print(f"{part}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    print(tables(results))
    for reason in dict.fromkeys(results.skipped):
        print(f"skipped: {reason}", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps(results.to_json(), indent=1) + "\n")
    if options.plot:
        options.plot.write_text(plots.ratios(results))
    if options.page:
        options.page.write_text(page(options.page.read_text(), results))
    return 0


def _work(part: str, libraries: list[Library], identity: Identity, quick: bool, results: Results) -> Callable[[], None]:
    """One part of the suite, ready to run."""
    effort = QUICK if quick else FULL
    # the pure-Python peer takes as long as all others together
    fast = [library for library in libraries if library.name != "tlslite-ng"]

    def costs() -> None:
        setup.beginnings(libraries, results)
        setup.reading(identity, results)
        setup.sessions((1000,) if quick else (1000, 1_000_000), results)
        memory.growth(identity, effort, (100,) if quick else (100, 1000, 10_000), results)
        eventloop.idle_memory(fast, identity, 50 if quick else 200, results)

    size = (16 if quick else 256) << 20
    works: dict[str, Callable[[], None]] = {
        "handshakes": lambda: memory.handshakes(fast if quick else libraries, identity, effort, results),
        "messages": lambda: memory.messages(fast if quick else libraries, identity, effort, results),
        "tcp": lambda: loopback.workloads(fast, identity, effort, size, results),
        "asyncio": lambda: eventloop.workloads(fast, identity, effort, size, results),
        "costs": costs,
        "profile": lambda: memory.own_profile(identity, 2 if quick else 10, results),
    }
    return works[part]


def _again_with_configuration() -> int:
    """The same command in a process whose OpenSSL is configured: it reads its file once, at the start."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "openssl.cnf")
        path.write_text(OPENSSL)
        environment = {**os.environ, "OPENSSL_CONF": str(path), "HANDCLASP_BENCH": "1"}
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
            environment.pop(name, None)  # the system's roots are to be where the system has them
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "bench", *sys.argv[1:]]
        return os.spawnve(os.P_WAIT, sys.executable, command, environment)


def _machine(libraries: list[Library]) -> dict[str, str]:
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    facts = {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load before": load,
        "Python": platform.python_version(),
    }
    return {**facts, **{library.name: library.version for library in libraries}}


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute; the spreads are wider")
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--against", nargs="+", default=(), metavar="LIBRARY", help="ssl, pyOpenSSL, rtls, tlslite-ng")
    parser.add_argument("--json", type=Path, help="write all results here")
    parser.add_argument("--plot", type=Path, help="write the ratios here, as SVG")
    parser.add_argument("--page", type=Path, help="put the tables into this page")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
