"""The demo of RSA key transport: what it says is consistent, and its recordings open or stay shut as it says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from handclasp.alerts import Alert
from handclasp.cli import demo_rsa, demo_rsa_after, demo_rsa_steps, eavesdrop
from handclasp.cli.__main__ import main
from handclasp.cli.demo_steps import Told
from handclasp.cli.meeting import Exchange
from handclasp.cli.recording import Recording
from handclasp.cli.terminal import quiet
from handclasp.trace import Direction, Epoch, MessageMoved
from handclasp.wire.messages import Finished
from handclasp.wire.names import ContentType

from .commands import run

SENT, RECEIVED = Direction.SENT, Direction.RECEIVED


@pytest.fixture(scope="module")
def told() -> str:
    done = run("demo", "rsa")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def lab() -> demo_rsa.Lab:
    return demo_rsa._lab()


@pytest.fixture(scope="module")
def met(lab: demo_rsa.Lab) -> tuple[Told, Exchange]:
    connection, exchange, _ = demo_rsa.meet(quiet(), lab)
    return connection, exchange


def test_all_steps_are_told_in_order(told: str) -> None:
    headings = [int(line[0]) for line in told.splitlines() if re.match(r"[1-9]  [A-Z]", line)]
    assert headings == [1, 2, 3, 4, 5, 6, 7]


def test_it_fits_a_terminal_and_a_reader(told: str) -> None:
    lines = told.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 90
    assert "\x1b" not in told
    plain = run("demo", "rsa", PYTHONIOENCODING="ascii").stdout
    assert plain.isascii()
    assert max(map(len, plain.splitlines())) <= 80


def test_the_secret_is_the_same_on_both_sides_and_in_the_recording(told: str) -> None:
    secrets = re.findall(
        r"^  (?:we make|it decrypts|decrypts) +((?:[0-9a-f]{2} ){8})… \(48 bytes\)", told, re.MULTILINE
    )
    assert len(secrets) == 3
    assert len(set(secrets)) == 1
    assert secrets[0].startswith("03 03 ")


def test_what_is_encrypted_is_found_again(told: str) -> None:
    sent = re.search(r"16 03 03 01 06 │ 10 00 01 02 01 00 │ ((?:[0-9a-f]{2} ){8})…", told)
    found = re.search(r"^  finds +((?:[0-9a-f]{2} ){8})… \(256 bytes\)", told, re.MULTILINE)
    assert sent is not None
    assert found is not None
    assert sent[1] == found[1]


def test_sizes_add_up(told: str) -> None:
    sealed = re.findall(r"(\d+) B: (\d+) of header, (\d+) of number, (\d+) of text, (\d+) of seal", told)
    assert len(sealed) == 2
    for whole, *parts in sealed:
        assert int(whole) == sum(map(int, parts))


def test_one_recording_is_read_and_the_other_is_not(told: str) -> None:
    assert re.search(r"^  reads +GET / HTTP/1\.1 … .*✗ read$", told, re.MULTILINE)
    assert re.search(r"^  and +HTTP/1\.1 200 OK … .*✗ read$", told, re.MULTILINE)
    assert told.count("✓ not read") == 1


def test_each_run_is_its_own(told: str) -> None:
    again = run("demo", "rsa").stdout
    secret = re.compile(r"we make +([0-9a-f ]+)")
    assert secret.search(told)[1] != secret.search(again)[1]  # type: ignore[index]


# --- the recording ---------------------------------------------------------------------------------------------------


def test_the_key_opens_the_recording(lab: demo_rsa.Lab, met: tuple[Told, Exchange]) -> None:
    connection, exchange = met
    for recording, ways in ((connection.client, (SENT, RECEIVED)), (connection.server, (RECEIVED, SENT))):
        records = [(way if ways[0] is SENT else _other(way), record) for way, record in eavesdrop.wire(recording)]
        opened = eavesdrop.decrypt(records, lab.pair.key)
        assert opened.texts == ((SENT, exchange.request), (RECEIVED, exchange.answer))
        assert opened.premaster == lab.signer.decrypted[0]
        assert opened.premaster.hex() not in repr(opened)


def _other(way: Direction) -> Direction:
    return SENT if way is RECEIVED else RECEIVED


def test_another_key_does_not(met: tuple[Told, Exchange]) -> None:
    records = eavesdrop.wire(met[0].client)
    with pytest.raises(eavesdrop.NothingToDecrypt, match="do not open"):
        eavesdrop.decrypt(records, demo_rsa._lab().pair.key)
    with pytest.raises(eavesdrop.NothingToDecrypt, match="no private key"):
        eavesdrop.decrypt(records, b"")


def test_the_key_opens_no_recording_of_agreed_keys(lab: demo_rsa.Lab) -> None:
    client = lab.client.replace(cipher_suites=demo_rsa.ECDHE_RSA, sessions=None)
    agreed = replace(lab, client=client, server=lab.server.replace(cipher_suites=demo_rsa.ECDHE_RSA))
    connection, _, _ = demo_rsa.meet(quiet(), agreed)
    with pytest.raises(eavesdrop.NothingToDecrypt, match="a public key share"):
        eavesdrop.decrypt(eavesdrop.wire(connection.client), lab.pair.key)


def test_a_recording_that_was_cut_off(lab: demo_rsa.Lab, met: tuple[Told, Exchange]) -> None:
    with pytest.raises(eavesdrop.NothingToDecrypt, match="no ClientKeyExchange"):
        eavesdrop.decrypt(eavesdrop.wire(met[0].client)[:2], lab.pair.key)


# --- it cannot say what did not happen -------------------------------------------------------------------------------


def test_different_secrets_stop_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tell = demo_rsa_steps.transport

    def altered(it: Told, drawn: bytes, decrypted: Sequence[bytes]) -> None:
        tell(it, drawn, [bytes(len(secret)) for secret in decrypted])

    monkeypatch.setattr(demo_rsa_steps, "transport", altered)
    assert main(["demo", "rsa"]) == 1
    printed = capsys.readouterr()
    assert "5  The session key" not in printed.out
    assert "✗ the demo stopped: this was to be shown and did not happen: the same secret on both sides" in printed.err


def test_a_recording_that_stays_shut_stops_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shut(*_: object) -> None:
        raise eavesdrop.NothingToDecrypt("shut")

    monkeypatch.setattr(demo_rsa_after, "decrypt", shut)
    assert main(["demo", "rsa"]) == 1
    assert "the recording, read with the server's key (shut)" in capsys.readouterr().err


def test_a_recording_that_opens_stops_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    read = demo_rsa_after.read_nothing
    opens = eavesdrop.Opened(b"", ())

    def told_of(it: Told, exchange: Exchange, private_key: bytes) -> None:
        monkeypatch.setattr(demo_rsa_after, "decrypt", lambda *_: opens)
        read(it, exchange, private_key)

    monkeypatch.setattr(demo_rsa_after, "read_nothing", told_of)
    assert main(["demo", "rsa"]) == 1
    assert "a recording that the server's key does not open" in capsys.readouterr().err


def test_a_finished_that_was_refused_is_not_told_as_right(met: tuple[Told, Exchange]) -> None:
    recorded = met[0].client
    assert recorded.established
    refused = Recording()
    for moment in recorded.moments:
        refused(moment.event)
        if refused.messages(Finished, RECEIVED):
            break
    assert refused.established
    alert = bytes([2, Alert.DECRYPT_ERROR])
    refused(MessageMoved(SENT, Epoch.APPLICATION, ContentType.ALERT, alert))
    assert not refused.established
