"""The accepted language of every script, against what is written down in `golden/`.

The files are made by the scripts themselves: `HANDCLASP_REGENERATE=1 pytest tests/machine` writes them anew. A change
in them is a change of the protocol: read it as one.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from handclasp.wire.messages import MESSAGES, CertificateRequest
from handclasp.wire.messages12 import MESSAGES12
from handclasp.wire.records import ChangeCipherSpec
from machine.derive import STAND_INS, Machine, State, checks_replaced, diagram, listing, machines
from property.profiles import EXHAUSTIVE, Record

GOLDEN = Path(__file__).parent / "golden"


def _file(machine: Machine, suffix: str) -> Path:
    return GOLDEN / f"{machine.name.replace(' ', '-')}.{suffix}"


def _states(root: State) -> list[State]:
    found = [root]
    for state in found:
        found += state.next.values()
    return found


@pytest.fixture(scope="module", params=machines(), ids=lambda machine: machine.name.replace(" ", "-"))
def machine(request: pytest.FixtureRequest) -> Machine:
    chosen: Machine = request.param
    return chosen


@pytest.fixture(scope="module")
def root(machine: Machine) -> State:
    with checks_replaced():
        return machine.explore()


def test_every_message_has_a_stand_in() -> None:
    assert set(STAND_INS) == {*MESSAGES, *MESSAGES12, ChangeCipherSpec}


@pytest.mark.parametrize("suffix", ["txt", "mmd"])
def test_the_language_is_the_one_written_down(machine: Machine, root: State, suffix: str) -> None:
    written = listing(root) if suffix == "txt" else diagram(root)
    path = _file(machine, suffix)
    if os.environ.get("HANDCLASP_REGENERATE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(written, encoding="ascii")
    assert path.read_text(encoding="ascii") == written, (
        "HANDCLASP_REGENERATE=1 writes it anew: read the difference first"
    )


def test_nothing_else_is_written_down() -> None:
    expected = {_file(machine, suffix).name for machine in machines() for suffix in ("txt", "mmd")}
    assert {path.name for path in GOLDEN.iterdir()} == expected


@pytest.mark.attack(25, "state machine skips")
def test_nobody_is_established_without_a_finished(root: State) -> None:
    """And a client not without the server's Certificate, CertificateVerify and EncryptedExtensions, in this order."""
    for state in _states(root):
        if not state.established:
            continue
        messages = [name.split("(")[0] for name in state.path]
        assert "Finished" in messages
        if "ServerHello" in state.path:
            order = ["ServerHello", "EncryptedExtensions", "Certificate", "CertificateVerify", "Finished"]
            places = [messages.index(name) for name in order]
            assert places == sorted(places)
        if "ServerHello(1.2)" in state.path:
            order = ["Certificate12", "ServerKeyExchange", "ServerHelloDone", "ChangeCipherSpec", "Finished"]
            places = [messages.index(name) for name in order]
            assert places == sorted(places)


@pytest.mark.attack(26, "goto fail")
@pytest.mark.parametrize("name", ["server that asks for a certificate", "server that requires a certificate"])
def test_a_server_that_asks_gets_a_proof_with_each_certificate(name: str) -> None:
    (machine,) = (machine for machine in machines() if machine.name == name)
    with checks_replaced():
        endings = {state.path for state in _states(machine.explore()) if state.established}
    assert endings
    for path in endings:
        shown = "Certificate" in path
        assert shown or "Certificate(empty)" in path
        assert ("CertificateVerify" in path) is shown
        assert shown or "asks" in name


@pytest.mark.attack(31, "HelloRetryRequest abuse")
def test_a_second_retry_is_out_of_order(root: State) -> None:
    for state in _states(root):
        if "HelloRetryRequest" in state.path:
            assert "HelloRetryRequest" not in {cls.__name__ for cls in state.due}
        if sum(name.startswith("ClientHello") for name in state.path) == 2 and not state.established:
            assert "ClientHello" not in {cls.__name__ for cls in state.due}


def test_each_state_takes_few_things(root: State) -> None:
    """Where two messages may come there is a reason in the RFC; where three may, there is a mistake.

    But in two places: where an old flight has no message that has to come and two that may (RFC 6066 §8), and after the
    handshake, for a client that may be asked who it is.
    """
    for state in _states(root):
        stapled = state.path[-2:-1] == ("ServerHello(1.2, key transport, a staple may follow)",)
        asked = state.established and CertificateRequest in state.due
        assert state.refused or 1 <= len(state.due) <= (3 if stapled or asked else 2)


def test_what_comes_after_the_handshake_never_changes(machine: Machine, record_property: Record) -> None:
    depth = 3 if EXHAUSTIVE else 2
    with checks_replaced():
        root = machine.explore(after_handshake=depth)
    record_property("cases", len(_states(root)))
    due: dict[str, set[object]] = {}
    for state in _states(root):
        if state.established:
            due.setdefault(state.path[0], set()).add(state.due)
    assert due
    assert all(len(found) == 1 for found in due.values())
    assert max(len(state.path) for state in _states(root)) >= 2 + depth
