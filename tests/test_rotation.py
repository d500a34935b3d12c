"""Credentials whose files are replaced under a running server."""

from __future__ import annotations

import errno
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import handclasp
from handclasp import (
    ClientAuth,
    ClientConfig,
    ClientConnection,
    ConfigError,
    Credential,
    CredentialFiles,
    Evidence,
    OCSPStapler,
    ServerConfig,
    ServerConnection,
    TLSError,
    TrustStore,
    cached,
)
from handclasp.crypto.keys import encode_private, generate
from handclasp.crypto.signatures import KeyKind
from handclasp.identity.certificates import Certificate, certificates_from
from handclasp.identity.pem import encode
from handclasp.identity.revocation.staples import FixedStaple
from handclasp.lab.ca import CertificateAuthority, PemPair
from handclasp.lab.pair import handshake
from handclasp.lab.responder import StatusServer


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Folder:
    """One chain and its key, replaced as a certificate manager does it."""

    path: Path
    authority: CertificateAuthority
    clock: Clock = field(default_factory=Clock)

    @property
    def chain(self) -> Path:
        return self.path / "chain.pem"

    @property
    def key(self) -> Path:
        return self.path / "key.pem"

    def put(self, file: Path, content: bytes) -> None:
        fresh = file.with_suffix(".new")
        fresh.write_bytes(content)
        os.replace(fresh, file)

    def renew(self, *names: str) -> Certificate:
        """A new certificate with a new key; its leaf."""
        pair = self.authority.issue_pem(*(names or ("localhost",)))
        self.put(self.key, pair.key)
        self.put(self.chain, pair.chain)
        return certificates_from(pair.chain)[0]

    def files(self, check_every: float = 0.0) -> CredentialFiles:
        return CredentialFiles([(self.chain, self.key)], check_every=check_every, clock=self.clock)


@pytest.fixture
def folder(tmp_path: Path, authority: CertificateAuthority) -> Folder:
    return Folder(tmp_path, authority)


def leaves(files: CredentialFiles) -> list[Certificate]:
    return [credential.leaf for credential in files.current]


# --- noticing --------------------------------------------------------------------------------------------------------


def test_a_new_certificate_is_served_and_nothing_is_read_in_between(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    first = folder.renew()
    files = folder.files(check_every=30)
    held = files.current
    second = folder.renew()
    assert leaves(files) == [first]
    folder.clock.now += 29.9
    assert files.current[0] is held[0]
    folder.clock.now += 0.2
    with caplog.at_level(logging.INFO, "handclasp"):
        assert leaves(files) == [second]
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "CN=localhost" in caplog.text
    assert held[0].leaf == first


def test_unchanged_files_are_not_read_again(folder: Folder) -> None:
    folder.renew()
    files = folder.files()
    one = files.current[0]
    assert files.current[0] is one


def test_only_what_changed_is_read_again_and_the_order_stays(tmp_path: Path, authority: CertificateAuthority) -> None:
    pairs = [Folder(tmp_path / name, authority) for name in ("a", "b")]
    for pair in pairs:
        pair.path.mkdir()
        pair.renew(f"{pair.path.name}.test")
    files = CredentialFiles([(pair.chain, pair.key) for pair in pairs], check_every=0)
    first, second = files.current
    renewed = pairs[1].renew("b.test")
    assert files.current[0] is first
    assert leaves(files) == [first.leaf, renewed]
    assert second.leaf != renewed


def test_chain_and_key_in_one_file(folder: Folder) -> None:
    for _ in range(2):
        pair = folder.authority.issue_pem("localhost")
        folder.put(folder.chain, pair.chain + pair.key)
        files = CredentialFiles([(folder.chain, None)], check_every=0)
        assert leaves(files) == list(certificates_from(pair.chain))[:1]


def test_symbolic_links_that_are_turned_over(tmp_path: Path, authority: CertificateAuthority) -> None:
    """As secrets are mounted into containers: a link to a folder is replaced."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(Folder(tmp_path / name, authority).renew())
    link = tmp_path / "current"
    link.symlink_to("one")
    files = CredentialFiles([(link / "chain.pem", link / "key.pem")], check_every=0)
    assert leaves(files) == made[:1]
    (tmp_path / "next").symlink_to("two")
    os.replace(tmp_path / "next", link)
    assert leaves(files) == made[1:]


# --- refusing --------------------------------------------------------------------------------------------------------


def _other_key(pair: PemPair) -> dict[str, bytes]:
    return {"key": encode("PRIVATE KEY", encode_private(generate(KeyKind.P256)))}


BAD: dict[str, Callable[[PemPair], dict[str, bytes]]] = {
    "another key": _other_key,
    "half a chain": lambda pair: {"chain": pair.chain[: len(pair.chain) // 2]},
    "half a key": lambda pair: {"key": pair.key[:60]},
    "an empty file": lambda pair: {"key": b""},
    "not PEM": lambda pair: {"chain": b"\x00\x01"},
    "only half replaced": lambda pair: {"chain": pair.chain},
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_set_changes_nothing_and_is_logged_once(
    bad: str, folder: Folder, authority: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    first = folder.renew()
    files = folder.files()
    for name, content in BAD[bad](authority.issue_pem("localhost")).items():
        folder.put(folder.path / f"{name}.pem", content)
    for _ in range(3):
        assert leaves(files) == [first]
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("handclasp", "WARNING")
    assert str(folder.chain) in record.getMessage()
    assert "PRIVATE" not in caplog.text
    renewed = folder.renew()
    assert leaves(files) == [renewed]


def test_a_file_that_is_gone_for_a_while(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    first = folder.renew()
    files = folder.files()
    content = folder.key.read_bytes()
    folder.key.unlink()
    assert leaves(files) == leaves(files) == [first]
    assert len(caplog.records) == 1
    folder.put(folder.key, content)
    assert leaves(files) == [first]
    assert len(caplog.records) == 1


def test_all_or_nothing(tmp_path: Path, authority: CertificateAuthority, caplog: pytest.LogCaptureFixture) -> None:
    pairs = [Folder(tmp_path / name, authority) for name in ("a", "b")]
    for pair in pairs:
        pair.path.mkdir()
        pair.renew()
    files = CredentialFiles([(pair.chain, pair.key) for pair in pairs], check_every=0)
    before = leaves(files)
    good, good_key = pairs[0].renew(), pairs[1].key.read_bytes()
    pairs[1].put(pairs[1].key, b"half a k")
    assert leaves(files) == before
    pairs[1].put(pairs[1].key, good_key)
    assert leaves(files) == [good, before[1]]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_certificate_that_must_be_stapled(folder: Folder, caplog: pytest.LogCaptureFixture) -> None:
    first = folder.renew()
    plain, stapling = (
        folder.files(),
        CredentialFiles(
            [(folder.chain, folder.key)], staple=lambda credential: FixedStaple(credential.leaf.der), check_every=0
        ),
    )
    pair = folder.authority.issue_pem("localhost", must_staple=True)
    folder.put(folder.key, pair.key)
    folder.put(folder.chain, pair.chain)
    assert leaves(plain) == [first]
    assert "stapled OCSP response" in caplog.text
    (credential,) = stapling.current
    assert credential.leaf.must_staple
    assert credential.staples is not None
    assert credential.staples.staple() == credential.leaf.der


def test_a_staple_source_that_cannot_be_made_keeps_the_old_set(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    working = True

    def staple(credential: Credential) -> FixedStaple:
        if not working:
            raise OSError("no network")
        return FixedStaple(b"response")

    first = folder.renew()
    files = CredentialFiles([(folder.chain, folder.key)], staple=staple, check_every=0)
    working = False
    folder.renew()
    assert leaves(files) == leaves(files) == [first]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_what_heals_by_itself_is_taken(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The files are as they should be, and the system had no room to open them: nothing about them will change."""
    first = folder.renew()
    files = folder.files()
    renewed = folder.renew()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", _too_many_open_files)
        assert leaves(files) == leaves(files) == [first]
    assert leaves(files) == [renewed]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "too many open files" in caplog.text


def _too_many_open_files(path: Path) -> bytes:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))


@pytest.mark.parametrize("days", [-40, 5], ids=["expired", "not yet valid"])
def test_a_new_certificate_that_is_not_valid_now_waits(
    days: int, folder: Folder, authority: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    first = folder.renew()
    now = datetime.now(UTC)
    files = CredentialFiles([(folder.chain, folder.key)], check_every=0, now=lambda: now)
    pair = authority.issue_pem("localhost", not_before=now + timedelta(days=days))
    folder.put(folder.key, pair.key)
    folder.put(folder.chain, pair.chain)
    assert leaves(files) == leaves(files) == [first]
    assert "is valid from" in caplog.text
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    now += timedelta(days=10 if days > 0 else 400)  # valid by now; or none is, and the new one is as good as the old
    assert leaves(files) == list(certificates_from(pair.chain)[:1])


def test_a_certificate_that_must_be_stapled_waits_for_its_response(
    folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    class Source:
        response: bytes | None = None

        def staple(self) -> bytes | None:
            return self.response

    made: list[Source] = []

    def source(credential: Credential) -> Source:
        made.append(Source())
        return made[-1]

    first = folder.renew()
    files = CredentialFiles([(folder.chain, folder.key)], staple=source, check_every=0)
    pair = folder.authority.issue_pem("localhost", must_staple=True)
    folder.put(folder.key, pair.key)
    folder.put(folder.chain, pair.chain)
    assert leaves(files) == leaves(files) == [first]
    assert "there is none yet" in caplog.text
    assert len(caplog.records) == 1
    assert len(made) == 2, "one source a certificate, however often it is looked at"
    made[1].response = b"response"
    assert leaves(files) == list(certificates_from(pair.chain)[:1])
    assert files.current[0].staples is made[1]


def test_must_staple_is_handed_over_without_a_gap(folder: Folder) -> None:
    """With the CA's own responder and the stapler there is: no client is ever refused for want of a response."""
    with StatusServer(folder.authority.intermediate("one that sends staples")) as status:

        def renew() -> Certificate:
            pair = status.ca.issue_pem("localhost", must_staple=True, ocsp_url=status.ocsp_url)
            folder.put(folder.key, pair.key)
            folder.put(folder.chain, pair.chain)
            return certificates_from(pair.chain)[0]

        renew()
        files = CredentialFiles([(folder.chain, folder.key)], staple=OCSPStapler, check_every=0)
        first = files.current[0].staples
        assert isinstance(first, OCSPStapler)
        assert first.refresh()
        server, client = ServerConfig(credentials=files), ClientConfig(trust=folder.authority.trust)
        leaf = renew()
        until = time.monotonic() + 10
        shown = None
        while shown != leaf:
            assert time.monotonic() < until
            joined = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
            assert joined.client.info.revocation is Evidence.STAPLE
            shown = joined.client.info.peer_certificates[0]


def test_files_that_are_bad_to_begin_with_are_refused(folder: Folder) -> None:
    with pytest.raises(ConfigError) as caught:
        folder.files()
    assert caught.value.code == "file-missing"
    folder.renew()
    folder.put(folder.key, _other_key(folder.authority.issue_pem("localhost"))["key"])
    with pytest.raises(ConfigError) as caught:
        folder.files()
    assert caught.value.code == "key-mismatch"
    assert str(folder.key) in str(caught.value)
    with pytest.raises(ConfigError):
        CredentialFiles([])


# --- many at once ----------------------------------------------------------------------------------------------------


def test_whoever_asks_while_another_reads_is_not_held_up(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = folder.renew()
    files = folder.files()
    second = folder.renew()
    reading, go_on = threading.Event(), threading.Event()
    load = CredentialFiles._load

    def slowly(self: CredentialFiles, number: int, stamp: object) -> object:
        reading.set()
        assert go_on.wait(10)
        return load(self, number, stamp)

    monkeypatch.setattr(CredentialFiles, "_load", slowly)
    found: list[list[Certificate]] = []
    reader = threading.Thread(target=lambda: found.append(leaves(files)), daemon=True)
    reader.start()
    assert reading.wait(10)
    assert leaves(files) == [first]
    go_on.set()
    reader.join()
    assert found == [[second]]
    assert leaves(files) == [second]


def test_a_thousand_handshakes_while_the_files_are_replaced_twenty_times(folder: Folder, trust: TrustStore) -> None:
    """Half replaced much of the time: no thread sees anything but a whole pair, and each new one is seen."""
    made = {folder.renew()}
    server = ServerConfig(credentials=folder.files())
    # verdicts are remembered to save the time; that the key fits its certificate is proved each time
    client = ClientConfig(trust=cached(trust), groups=[handclasp.NamedGroup.X25519])
    seen: queue.SimpleQueue[Certificate | TLSError] = queue.SimpleQueue()
    stop = threading.Event()

    def shake() -> None:
        while not stop.is_set():
            try:
                pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
                seen.put(pair.client.info.peer_certificates[0])
            except TLSError as error:
                seen.put(error)

    workers = [threading.Thread(target=shake, daemon=True) for _ in range(4)]
    for worker in workers:
        worker.start()
    found: list[Certificate | TLSError] = []
    for number in range(1, 21):
        leaf = folder.renew()
        made.add(leaf)
        while len(found) < 50 * number or found[-1] != leaf:
            found.append(seen.get(timeout=10))
    stop.set()
    for worker in workers:
        worker.join()
    assert len(found) >= 1000
    assert len(made) == 21
    assert set(found) == made


@pytest.fixture
def served(folder: Folder) -> Iterator[tuple[int, CredentialFiles]]:
    """A server on loopback that says a word to each client."""
    folder.renew()
    files = folder.files()
    listener = handclasp.listen(("127.0.0.1", 0), ServerConfig(credentials=files))

    def serve() -> None:
        for tls in listener:
            with tls, suppress(TLSError, OSError):
                tls.sendall(b"hello")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.address[1], files
    listener.close()
    thread.join()


def test_replaced_under_a_server_on_loopback(
    served: tuple[int, CredentialFiles], folder: Folder, trust: TrustStore
) -> None:
    port, files = served
    made = []
    for _ in range(10):
        made.append(leaf := folder.renew())
        for _ in range(3):
            with handclasp.connect("127.0.0.1", port, ClientConfig(trust=trust), server_name="localhost") as tls:
                assert tls.info.peer_certificates[0] == leaf
                assert tls.recv(5) == b"hello"
    assert leaves(files) == made[-1:]


def test_a_client_shows_what_its_files_hold_now(folder: Folder, authority: CertificateAuthority) -> None:
    def renew() -> None:
        pair = authority.issue_pem("staff.test", usage="client")
        folder.put(folder.key, pair.key)
        folder.put(folder.chain, pair.chain)

    renew()
    files = folder.files()
    client = ClientConfig(trust=authority.trust, credentials=lambda request: files.current[0])
    auth = ClientAuth(verify=authority.trust)
    server = ServerConfig(credentials=[authority.issue("localhost")], client_auth=auth)
    shown = []
    for _ in range(2):
        pair = handshake(ClientConnection(client, "localhost"), ServerConnection(server))
        shown.append(pair.server.info.verified_chain[0])
        assert shown[-1] == files.current[0].leaf
        renew()
    assert shown[0] != shown[1]
