"""The command line itself: help, wrong usage, and how each kind of end becomes an exit code."""

from __future__ import annotations

import os
import shlex
import subprocess
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from handclasp.cli import __main__ as cli
from handclasp.cli import demo
from handclasp.cli.__main__ import main
from handclasp.cli.options import codes, host_and_port
from handclasp.cli.terminal import Terminal
from handclasp.cli.words import common_name, count, listed, milliseconds, number, size
from handclasp.errors import ConfigError
from handclasp.wire.names import NamedGroup

from .commands import command, environment, run

Printed = pytest.CaptureFixture[str]


def test_no_arguments_print_the_short_help(capsys: Printed) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 14
    assert all(any(line.strip().startswith(name) for line in lines) for name in cli.COMMANDS)


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_each_command_has_help(name: str, capsys: Printed) -> None:
    assert main([name, "--help"]) == 0
    short = capsys.readouterr().out
    assert main([name, "--help-all"]) == 0
    everything = capsys.readouterr().out
    assert "--color" not in short
    assert "--color" in everything
    assert max(map(len, everything.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["conect"], "did you mean connect?"),
        (["--versoin"], "did you mean --version?"),
        (["connect", "x", "--gruops", "y"], "did you mean --groups?"),
        (["connect", "x", "--groups", "x2551"], "did you mean X25519?"),
        (["serve", "--ehco"], "did you mean --echo?"),
        (["connect"], "TARGET"),
        (["connect", "x", "--timeout", "-1"], "takes seconds"),
        (["connect", "@/nowhere/options"], "connect: No such file"),
        (["serve", "one", "two"], "one argument too many: two"),
        (["demo", "nothing"], "tls13"),
    ],
)
def test_wrong_usage(arguments: list[str], meant: str, capsys: Printed) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert meant in printed.err
    assert "--help" in printed.err


def test_arguments_from_a_file(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "options").write_text("--at\n127.0.0.1:none\n")
    assert main(["connect", "x.test", f"@{tmp_path / 'options'}"]) == 2
    assert "has no port" in capsys.readouterr().err


def test_version_is_quick() -> None:
    """In processor time: how long it takes is a matter of what else the machine does."""
    before = os.times()
    done = run("--version")
    after = os.times()
    assert done.returncode == 0
    assert done.stdout.startswith("handclasp ")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < 2


def test_control_c(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    assert main(["demo"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_bug_leaves_a_report(monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(demo, "run", broken)
    assert main(["demo"]) == 1
    told = capsys.readouterr().err
    report = Path(told.strip().rpartition(" ")[2])
    assert "ZeroDivisionError: oh" in report.read_text()
    assert "Traceback" not in told
    report.unlink()


def test_a_closed_pipe() -> None:
    with subprocess.Popen(
        command("demo"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(30) == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("arguments", [["--help"], ["connect", "--help"], ["demo"]], ids=" ".join)
def test_a_full_disk_is_no_bug(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command(*arguments),
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "handclasp: what we have to say cannot be written: no space left on device\n"


@pytest.mark.skipif(os.name == "nt", reason="needs a shell")
def test_outputs_that_are_closed_are_no_bug() -> None:
    for arguments, closed, code in ((["connect", "--help"], ">&-", 0), (["connect", "x", "--key", "k"], "2>&-", 2)):
        shell = f"{shlex.join(command(*arguments))} {closed}"
        done = subprocess.run(shell, shell=True, env=environment(), capture_output=True, timeout=60, check=False)
        assert done.returncode == code
        assert b"bug" not in done.stdout + done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_help_in_any_encoding(encoding: str) -> None:
    done = run("connect", "--help", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "TARGET..." in done.stdout


def test_a_bracket_has_another() -> None:
    with pytest.raises(ConfigError, match="bracket"):
        host_and_port("[::1", 443)


def test_help_for_a_command(capsys: Printed) -> None:
    assert main(["help", "serve"]) == 0
    assert "handclasp serve" in capsys.readouterr().out
    assert main(["help", "nonsense"]) == 2


# --- looks and words -------------------------------------------------------------------------------------------------


class Tty(TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("kind", "colour", "environ", "painted"),
    [
        (TextIOWrapper, "auto", {}, False),
        (Tty, "auto", {}, True),
        (Tty, "auto", {"NO_COLOR": "1"}, False),
        (Tty, "auto", {"TERM": "dumb"}, False),
        (TextIOWrapper, "auto", {"FORCE_COLOR": "1"}, True),
        (TextIOWrapper, "auto", {"FORCE_COLOR": "0"}, False),
        (TextIOWrapper, "auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (TextIOWrapper, "always", {"NO_COLOR": "1"}, True),
        (Tty, "never", {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colour(kind: type[TextIOWrapper], colour: str, environ: dict[str, str], painted: bool) -> None:
    with kind(BytesIO(), encoding="utf-8") as stream:
        assert Terminal(stream, colour, environ).look.colour is painted


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "✓ ──▶ · café ☃ \\udc80\n"),
        ("ascii", "ok --> - caf\\xe9 \\u2603 \\udc80\n"),
        ("latin-1", "ok --> - café \\u2603 \\udc80\n"),
    ],
)
def test_characters(encoding: str, expected: str) -> None:
    raw = BytesIO()
    with TextIOWrapper(raw, encoding=encoding, newline="") as stream:
        Terminal(stream, "never").line("✓ ──▶ · café ☃ \udc80")
        assert raw.getvalue().decode(encoding) == expected


def test_words() -> None:
    assert number(1234567) == "1 234 567"
    assert [size(n) for n in (0, 999, 1000, 123_456, 1 << 20, 5 * 10**9)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "123 kB",
        "1.0 MB",
        "5.0 GB",
    ]
    assert (count(1, "root"), count(2, "root")) == ("1 root", "2 roots")
    assert (milliseconds(0.00044), milliseconds(0.0234)) == ("0.4", "23")
    assert [listed(list(text)) for text in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]
    assert common_name("CN=shop.test,O=Shop\\, Inc") == "shop.test"
    assert common_name("O=x,CN=a\\,b") == "a,b"
    assert common_name("O=nothing") == "O=nothing"


def test_hosts_and_ports() -> None:
    assert host_and_port("example.com", 443) == ("example.com", 443)
    assert host_and_port("example.com:1", 443) == ("example.com", 1)
    assert host_and_port("[::1]:8443", 443) == ("::1", 8443)
    assert host_and_port("::1", 443) == ("::1", 443)
    assert host_and_port(":0") == ("", 0)
    for wrong in ("x", "x:", "x:y", "x:65536", "[::1]", "x:-1", "x:١"):
        with pytest.raises(ConfigError):
            host_and_port(wrong)


def test_lists_of_code_points() -> None:
    read = codes(NamedGroup, (NamedGroup.X25519, NamedGroup.SECP256R1))
    assert read("p-256,X25519") == (NamedGroup.SECP256R1, NamedGroup.X25519)
    assert read("prime256v1:x25519:x25519") == (NamedGroup.SECP256R1, NamedGroup.X25519)
