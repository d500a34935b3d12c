"""Where trust anchors come from."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from handclasp.errors import ConfigError
from handclasp.identity import roots
from handclasp.identity.certificates import Certificate
from handclasp.identity.pem import encode
from handclasp.identity.trust import TrustStore
from handclasp.lab.ca import CertificateAuthority

FIRST, SECOND = CertificateAuthority("first root"), CertificateAuthority("second root")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    roots._load.cache_clear()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.pem"
    path.write_bytes(b"# two roots\n" + FIRST.pem() + b"\n# and\n" + SECOND.pem())
    return path


def both() -> tuple[Certificate, ...]:
    return (FIRST.certificate, SECOND.certificate)


def test_a_bundle(bundle: Path) -> None:
    assert TrustStore.from_file(bundle).certificates == both()
    assert TrustStore.from_file(str(bundle)) == TrustStore.from_file(bundle)
    assert TrustStore.from_pem(bundle.read_bytes()).certificates == both()
    assert TrustStore.from_pem(FIRST.certificate.der).certificates == (FIRST.certificate,)
    assert TrustStore.from_certificates([FIRST.certificate, SECOND.certificate.x509]).certificates == both()


def test_nothing_is_read_until_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "later.pem"
    store = TrustStore.from_file(path) | TrustStore.from_pem(FIRST.pem()) | TrustStore.system()
    assert len({store, store, TrustStore.system()}) == 2
    with pytest.raises(ConfigError, match=r"later\.pem"):
        _ = store.certificates
    path.write_bytes(SECOND.pem())
    assert set(both()) <= set(store.certificates)  # a failure is not remembered


def test_what_is_read_is_remembered(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = Certificate.from_der

    def counted(der: bytes) -> Certificate:
        read.append(threading.get_ident())
        return original(der)

    monkeypatch.setattr(Certificate, "from_der", counted)
    store = TrustStore.from_file(bundle)
    threads = [threading.Thread(target=lambda: store.certificates, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # threads that come at once may read beside each other: a lock that an interruption left held would stop them all
    first = len(read)
    assert 2 <= first <= 2 * len(threads)
    bundle.unlink()
    assert store.certificates == both()
    assert len(read) == first


def test_what_is_remembered_is_bounded(tmp_path: Path) -> None:
    for number in range(40):
        _ = TrustStore.from_pem(FIRST.pem() + b"\n" * number).certificates
    remembered = roots._load.cache_info()
    assert remembered.currsize == remembered.maxsize == 32


def test_stores_are_added() -> None:
    first, second = TrustStore.from_pem(FIRST.pem()), TrustStore.from_pem(SECOND.pem())
    assert (first | second).certificates == both()
    assert first | first == first
    assert (first | SECOND.trust).certificates == both()
    with pytest.raises(TypeError):
        _ = first | b"no store"  # type: ignore[operator]


def test_texts_do_not_list_bytes() -> None:
    assert "BEGIN" not in repr(TrustStore.from_pem(FIRST.pem()))
    assert "system" in str(roots.SystemRoots())
    assert str(roots.GivenRoots(both())) == "2 given roots"
    assert str(roots.GivenRoots(both()[:1])) == "one given root"


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    damaged = b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"
    text = encode("CERTIFICATE", b"rubbish") + damaged + FIRST.pem() + encode("TRUSTED CERTIFICATE", b"other")
    assert TrustStore.from_pem(text).certificates == (FIRST.certificate,)


@pytest.mark.parametrize("data", [b"", b"rubbish", FIRST.pem()[:-30], encode("PRIVATE KEY", b"x")])
def test_no_roots_at_all(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "roots.pem"
    path.write_bytes(data)
    for store, where in ((TrustStore.from_pem(data), "given as roots"), (TrustStore.from_file(path), str(path))):
        with pytest.raises(ConfigError) as error:
            _ = store.certificates
        assert error.value.code == "no-roots"
        assert where in str(error.value)
    with pytest.raises(ConfigError, match="trusts nobody"):
        TrustStore.from_certificates([])


def test_what_is_no_path() -> None:
    with pytest.raises(ConfigError) as error:
        _ = TrustStore.from_file("roots\0.pem").certificates
    assert error.value.code == "no-roots"


def test_a_directory(tmp_path: Path) -> None:
    (tmp_path / "11111111.0").write_bytes(FIRST.pem())
    (tmp_path / "22222222.0").write_bytes(SECOND.pem())
    (tmp_path / "README").write_text("no certificate")
    (tmp_path / "deeper").mkdir()
    assert TrustStore.from_file(tmp_path).certificates == both()


# --- the system ------------------------------------------------------------------------------------------------------


def test_the_environment_names_the_roots(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = TrustStore.system()
    folder = tmp_path / "hashed"
    folder.mkdir()
    (folder / "11111111.0").write_bytes(FIRST.pem())
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert store.certificates == both()
    monkeypatch.setenv("SSL_CERT_FILE", "")
    monkeypatch.setenv("SSL_CERT_DIR", os.pathsep.join(["", str(folder)]))
    assert store.certificates == (FIRST.certificate,)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match="absent"):
        _ = store.certificates


def test_the_first_bundle_there_is(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots, "SYSTEM_FILES", (str(tmp_path / "absent"), str(bundle)))
    assert TrustStore.system().certificates == both()


def test_directories_when_there_is_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one.pem").write_bytes(FIRST.pem())
    monkeypatch.setattr(roots, "SYSTEM_FILES", ())
    monkeypatch.setattr(roots, "SYSTEM_DIRECTORIES", (str(tmp_path), str(tmp_path / "absent")))
    assert TrustStore.system().certificates == (FIRST.certificate,)


def test_no_system_roots_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots, "SYSTEM_FILES", ("/absent/bundle.pem",))
    monkeypatch.setattr(roots, "SYSTEM_DIRECTORIES", ("/absent/folder",))
    with pytest.raises(ConfigError) as error:
        _ = TrustStore.system().certificates
    assert "/absent/bundle.pem, /absent/folder" in str(error.value)
    assert "SSL_CERT_FILE" in error.value.remedy


def test_this_systems_roots_can_be_read() -> None:
    if not any(os.path.isfile(path) for path in roots.SYSTEM_FILES):
        pytest.skip("this system has no bundle")
    assert len(TrustStore.system().certificates) > 50
