"""What is read from our connections for the table: what happened, and nothing of tests whose both ends are ours."""

from __future__ import annotations

from collections import Counter

import pytest

from handclasp import ClientConfig, ClientConnection, ServerConfig, ServerConnection, TicketKeys
from handclasp.lab.pair import handshake
from interop import observe
from interop.identities import NAME, OTHER_NAME, Identities
from interop.measure import table
from interop.observe import Fact, Seen
from interop.openssl_bio import StdlibPeer, meet, shake, stdlib_client, stdlib_server

PEER = "OpenSSL, `ssl`"


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> Seen:
    shown = Seen(PEER)
    shown.watch(monkeypatch)
    return shown


def of_kind(facts: Counter[Fact], kind: str) -> list[tuple[str, str, str]]:
    return sorted((fact.role, fact.version, fact.what) for fact in facts if fact.kind == kind)


def test_a_handshake_shows_what_it_had(watching: Seen, identities: Identities) -> None:
    config = ClientConfig(trust=identities.trust, alpn=["echo"])
    context = stdlib_server(identities.of())
    context.set_alpn_protocols(["echo"])
    for _ in range(2):
        shake(ClientConnection(config, NAME), StdlibPeer(context)).exchange(b"from us", b"from them")
    ours = ServerConnection(ServerConfig(credentials=[identities.of().credential]))
    shake(ours, StdlibPeer(stdlib_client(identities), NAME))
    facts = watching.facts()
    assert facts[Fact(PEER, "server", "TLS 1.3", observe.HANDSHAKE, "")] == 2
    assert facts[Fact(PEER, "client", "TLS 1.3", observe.HANDSHAKE, "")] == 1
    assert of_kind(facts, observe.FEATURE) == [("server", "TLS 1.3", observe.ALPN), ("server", "TLS 1.3", observe.DATA)]
    assert observe.decoded(observe.encoded(facts)) == facts
    (client, server) = table(facts)["rows"]
    assert (client[0], client[2:5]) == (PEER, ["client", "TLS 1.3", 1])
    assert (server[2:5], server[8:]) == (["server", "TLS 1.3", 2], ["data both ways, ALPN", "–", "–"])


def test_a_refusal_shows_itself_and_nothing_else(watching: Seen, identities: Identities) -> None:
    meet(ClientConnection(ClientConfig(trust=identities.trust), OTHER_NAME), StdlibPeer(stdlib_server(identities.of())))
    assert {(fact.kind, fact.what) for fact in watching.facts()} == {(observe.WE_REFUSE, "name-mismatch")}


def test_two_ends_of_ours_show_nothing(watching: Seen, identities: Identities) -> None:
    client = ClientConfig(trust=identities.trust)
    server = ServerConfig(credentials=[identities.of().credential], tickets=TicketKeys())
    assert handshake(ClientConnection(client, NAME), ServerConnection(server)).client.established
    assert not watching.facts()
