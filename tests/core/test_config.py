"""Configurations: frozen, comparable, checked when they are made."""

from __future__ import annotations

import dataclasses
import os
import stat
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handclasp import (
    CipherSuite,
    ClientAuth,
    ClientConfig,
    ClientConnection,
    ClientSessions,
    ConfigError,
    Credential,
    CredentialRequest,
    ExternalPsk,
    KeyLogFile,
    Limits,
    NamedGroup,
    PadTo,
    PresentedChain,
    ServerConfig,
    ServerConnection,
    ServerSessions,
    SignatureScheme,
    TicketKeys,
    TLSVersion,
    TrustStore,
    UnknownNames,
)
from handclasp.crypto.groups import GROUPS
from handclasp.danger import InsecureWarning, insecure_no_verification
from handclasp.keylog import key_log_line
from handclasp.lab.pair import handshake
from handclasp.limits import HARD_CAPS, MAX_TICKET


def test_configurations_are_values(trust: TrustStore, credential: Credential) -> None:
    for make in (
        lambda: ClientConfig(trust=trust, alpn=["h2"], credentials=[credential]),
        lambda: ServerConfig(credentials=[credential], client_auth=ClientAuth(verify=trust)),
    ):
        one, other = make(), make()
        assert one == other
        assert hash(one) == hash(other)
        with pytest.raises(dataclasses.FrozenInstanceError):
            one.alpn = ()  # type: ignore[misc]


def test_replace_checks_again(trust: TrustStore) -> None:
    config = ClientConfig(trust=trust)
    assert config.replace(alpn=["h2"]).alpn == ("h2",)
    assert config.alpn == ()
    with pytest.raises(ConfigError):
        config.replace(groups=[])


def test_the_first_hybrid_brings_a_plain_share_along(trust: TrustStore) -> None:
    config = ClientConfig(trust=trust)
    assert config.offered_shares == (NamedGroup.X25519_MLKEM768, NamedGroup.X25519)
    assert config.replace(groups=[NamedGroup.SECP256R1, NamedGroup.X25519]).offered_shares == (NamedGroup.SECP256R1,)
    assert config.replace(key_shares=[NamedGroup.SECP384R1]).offered_shares == (NamedGroup.SECP384R1,)
    assert config.replace(key_shares=[]).offered_shares == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpn": "h2"},
        {"alpn": [""]},
        {"alpn": ["x" * 256]},
        {"alpn": ["\u2603"]},
        {"alpn": [b"h2"]},
        {"alpn": ["h2", "h2"]},
        {"versions": []},
        {"versions": [TLSVersion.TLS_1_0]},
        {"cipher_suites": [CipherSuite.TLS_FALLBACK_SCSV]},
        {"groups": [NamedGroup.FFDHE2048]},
        {"groups": [NamedGroup.X25519], "key_shares": [NamedGroup.SECP256R1]},
        {"signature_schemes": [SignatureScheme.RSA_PKCS1_SHA256]},
        {"signature_schemes": []},
        {"record_size_limit": 63},
        {"record_size_limit": 16_386},
        {"versions": [TLSVersion.TLS_1_2], "groups": [NamedGroup.X25519_MLKEM768]},
        {"session_lifetime": timedelta.max},
        {"key_lifetime": timedelta(days=73_000)},
        {"trust": None},
        {"credentials": ["me.pem"]},
    ],
)
def test_a_client_that_cannot_work_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ClientConfig(**wrong)


def test_a_server_that_cannot_work_is_refused(credential: Credential, trust: TrustStore) -> None:
    mistakes: list[dict[str, Any]] = [
        {"credentials": []},
        {"credentials": [credential], "signature_schemes": [SignatureScheme.ED25519]},
        {"credentials": [credential], "unknown_names": "perhaps"},
        {"credentials": [credential], "versions": [TLSVersion.TLS_1_2], "groups": [NamedGroup.X25519_MLKEM768]},
    ]
    for wrong in mistakes:
        with pytest.raises(ConfigError):
            ServerConfig(**wrong)
    with pytest.raises(ConfigError):
        ClientAuth(verify=None)  # type: ignore[arg-type]
    wrong_names: list[Any] = [[b""], ["CN=us"], [b"a", b""]]
    for names in wrong_names:
        with pytest.raises(ConfigError, match="authorities"):
            ClientAuth(verify=trust, authorities=names)
    assert ServerConfig(credentials=[credential], unknown_names="refuse").unknown_names is UnknownNames.REFUSE


def test_limits_have_floors_and_caps() -> None:
    for name, cap in HARD_CAPS.items():
        assert getattr(Limits(**{name: cap}), name) == cap
        for wrong in (cap + 1, 0):
            with pytest.raises(ValueError, match=name):
                Limits(**{name: wrong})


def test_stores_of_another_kind_are_refused(trust: TrustStore, credential: Credential) -> None:
    kinds: list[Any] = [ClientSessions(), ServerSessions(), TicketKeys(), object(), b"sessions"]
    fitting = []
    for kind in kinds:
        for name, make in (
            ("client", lambda kind: ClientConfig(trust=trust, sessions=kind)),
            ("server", lambda kind: ServerConfig(credentials=[credential], sessions=kind)),
            ("tickets", lambda kind: ServerConfig(credentials=[credential], tickets=kind)),
        ):
            try:
                make(kind)
            except ConfigError:
                continue
            fitting.append((name, type(kind)))
    assert fitting == [("client", ClientSessions), ("server", ServerSessions), ("tickets", TicketKeys)]


def test_keys_known_beforehand_are_keys_and_for_tls_1_3(credential: Credential) -> None:
    secrets: list[Any] = [b"secret", "secret", bytearray(b"secret")]
    for wrong in secrets:
        for make in (ServerConfig, ClientConfig):
            with pytest.raises(ConfigError, match="psks"):
                make(psks=wrong)
    key = ExternalPsk(b"id", bytes(16), role="server")
    older: dict[str, Any] = {"psks": [key], "versions": [TLSVersion.TLS_1_2]}
    with pytest.raises(ConfigError, match="psks"):
        ServerConfig(**older)
    ServerConfig(credentials=[credential], **older)


@pytest.mark.limit("MAX_PROTOCOLS")
def test_protocols_fit_into_one_hello(trust: TrustStore) -> None:
    names = [f"{number:03}" + 252 * "x" for number in range(16)]
    config = ClientConfig(trust=trust, alpn=names, groups=list(GROUPS), key_shares=list(GROUPS))
    assert len(ClientConnection(config, "localhost").data_to_send()) > 4096
    with pytest.raises(ConfigError, match="all together"):
        config.replace(alpn=[*names, "h"])


@pytest.mark.limit("MAX_PSKS_OFFERED")
def test_keys_fit_into_one_hello(trust: TrustStore, credential: Credential) -> None:
    """Beside the largest ticket there is, and a key share of every group."""

    def key(size: int, context: bytes | None = None) -> ExternalPsk:
        return ExternalPsk(bytes(size), bytes(16), role="client", context=context)

    around = 2 + 4 + 1 + 32  # the length of a name, an age, and a binder with its length
    last = 32_768 - (16_384 + around) - around
    sessions = ClientSessions()
    client = ClientConfig(trust=trust, groups=list(GROUPS), key_shares=list(GROUPS), sessions=sessions)
    server = ServerConfig(credentials=[credential], tickets=TicketKeys())
    handshake(ClientConnection(client, "localhost"), ServerConnection(server))
    held = sessions.take("localhost")
    assert held is not None
    sessions.put("localhost", replace(held, ticket=bytes(MAX_TICKET)))
    full = client.replace(psks=[key(16_384), key(last)])
    assert handshake(ClientConnection(full, "localhost"), ServerConnection(server)).client.established
    for too_many in ([key(16_384), key(last + 1)], [key(16_384, bytes(16_384))], [key(8_000, bytes(8_400))]):
        with pytest.raises(ConfigError, match="32768"):
            client.replace(psks=too_many)


@pytest.mark.limit("MAX_LIFETIME")
@pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)
def test_nothing_lives_for_ever(version: TLSVersion, trust: TrustStore, credential: Credential) -> None:
    year = timedelta(days=365)
    longest: dict[str, Any] = {"session_lifetime": year, "key_lifetime": year, "versions": [version]}
    client = ClientConfig(trust=trust, sessions=ClientSessions(), **longest)
    server = ServerConfig(credentials=[credential], tickets=TicketKeys(), **longest)
    for resumed in (False, True):
        pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
        assert pair.client.info.resumed is resumed
    for name in ("session_lifetime", "key_lifetime"):
        for config in (client, server):
            for wrong in (year + timedelta.resolution, timedelta.max, timedelta(0)):
                with pytest.raises(ConfigError, match=name):
                    config.replace(**{name: wrong})


@pytest.mark.limit("MAX_AUTHORITIES")
@pytest.mark.parametrize("version", [TLSVersion.TLS_1_3, TLSVersion.TLS_1_2], ids=str)
def test_names_of_authorities_fit_into_one_message(
    version: TLSVersion, trust: TrustStore, credential: Credential
) -> None:
    names = [bytes([number]) * 998 for number in range(60)]
    auth = ClientAuth(verify=trust, required=False, authorities=names)
    asked: list[tuple[bytes, ...]] = []

    def choose(request: CredentialRequest) -> None:
        asked.append(tuple(request.authorities))

    client = ClientConfig(trust=trust, credentials=choose, versions=[version])
    server = ServerConfig(credentials=[credential], client_auth=auth)
    assert handshake(ClientConnection(client, "localhost"), ServerConnection(server)).client.established
    assert asked == [tuple(names)]
    with pytest.raises(ConfigError, match="60000"):
        replace(auth, authorities=[*names[1:], bytes(999)])


def test_padding_fills_up_to_a_multiple() -> None:
    policy = PadTo(100)
    assert [policy(length) for length in (0, 1, 99, 100, 101)] == [0, 99, 1, 0, 99]
    for wrong in (0, 16_385):
        with pytest.raises(ConfigError):
            PadTo(wrong)


def test_the_key_log_file_is_private_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "keys.log"
    log = KeyLogFile(path)
    old = os.umask(0)
    try:
        log(key_log_line("CLIENT_TRAFFIC_SECRET_0", b"\x01\x02", b"\xff"))
        log("second")
    finally:
        os.umask(old)
    assert path.read_text() == "CLIENT_TRAFFIC_SECRET_0 0102 ff\nsecond\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_switching_verification_off_is_loud_and_named(trust: TrustStore, credential: Credential) -> None:
    config = ClientConfig(trust=trust)
    with pytest.warns(InsecureWarning):
        careless = insecure_no_verification(config)
    assert config.trust is trust
    presented = PresentedChain(credential.chain, _role(), None, config.clock())
    verdict = careless.trust.verify(presented)
    assert "insecure_no_verification" in getattr(verdict, "why", "")


def _role() -> Any:
    from handclasp import Role

    return Role.SERVER
