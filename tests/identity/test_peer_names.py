"""Names of peers: what is one, and which certificate covers it."""

from __future__ import annotations

import sys
from ipaddress import ip_address
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handclasp.errors import ConfigError
from handclasp.identity.names import PeerName, any_matches, matches, peer_name


@pytest.mark.parametrize(
    ("given_text", "text", "kind"),
    [
        ("example.com", "example.com", "dns"),
        ("EXAMPLE.Com.", "example.com", "dns"),
        (b"example.com", "example.com", "dns"),
        ("localhost", "localhost", "dns"),
        ("my_service", "my_service", "dns"),
        ("_dmarc.example.com", "_dmarc.example.com", "dns"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", "dns"),
        ("-a-.example", "-a-.example", "dns"),
        ("a" * 63 + ".example", "a" * 63 + ".example", "dns"),
        ("192.0.2.7", "192.0.2.7", "ip"),
        (b"192.0.2.7", "192.0.2.7", "ip"),
        ("::1", "::1", "ip"),
        ("[::1]", "::1", "ip"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1", "ip"),
        ("fe80::1%eth0", "fe80::1", "ip"),
        ("::ffff:192.0.2.7", str(ip_address("::ffff:192.0.2.7")), "ip"),
    ],
)
def test_names_and_addresses(given_text: str | bytes, text: str, kind: str) -> None:
    name = peer_name(given_text)
    assert (name.text, name.kind) == (text, kind)
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        ".example.com",
        "_",
        "_._",
        "___.example",
        "-.example",
        "a b.example",
        "a/b",
        "example.com:443",
        "https://example.com",
        "*.example.com",
        "nul\0.example",
        "a" * 64 + ".example",
        "a." * 126 + "bcd",
        "a." * 1000,
        "256.1.1.1",
        "1.2.3.4.5",
        "127.1",
        "2130706433",
        "0x7f.1",
        "example.0x1",
        "[example.com]",
        "1.2.3.4.",
        b"b\xfccher.example",
        b"\xff" * 10_000,
    ],
)
def test_what_is_no_name(text: str | bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        peer_name(text)
    assert caught.value.code == "server-name"
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_a_name_beyond_ascii_without_idna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "idna", None)
    with pytest.raises(ConfigError, match="A-labels"):
        peer_name("bücher.example")


def test_a_name_beyond_ascii_with_idna(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(text: str, *, uts46: bool) -> bytes:
        if text != "bücher.example" or not uts46:
            raise UnicodeError
        return b"xn--bcher-kva.example"

    monkeypatch.setitem(sys.modules, "idna", SimpleNamespace(encode=encode))
    assert peer_name("bücher.example") == PeerName("xn--bcher-kva.example", "dns")
    with pytest.raises(ConfigError, match="IDNA 2008"):
        peer_name("☃.example")


@pytest.mark.attack(69, "names in certificates")
@pytest.mark.parametrize(
    ("pattern", "asked", "covered"),
    [
        ("example.com", "example.com", True),
        ("EXAMPLE.com", "example.com", True),
        ("example.com", "www.example.com", False),
        ("www.example.com", "example.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "my_host.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.b.example.com", False),
        ("*.com", "example.com", False),
        ("*", "example.com", False),
        ("*", "localhost", False),
        ("*.*.com", "a.example.com", False),
        ("*.*.example.com", "a.b.example.com", False),
        ("w*.example.com", "www.example.com", False),
        ("*w.example.com", "www.example.com", False),
        ("www.*.com", "www.example.com", False),
        ("*.example.com.", "www.example.com", False),
        (".example.com", "www.example.com", False),
        ("example.com\\x00.evil.test", "example.com", False),
        ("", "example.com", False),
        ("a" * 300, "example.com", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("2001:db8:0::1", "2001:db8::1", True),
        ("*.0.2.7", "192.0.2.7", False),
        ("example.com", "192.0.2.7", False),
        ("192.0.2.7", "example.com", False),
        ("::ffff:192.0.2.7", "192.0.2.7", False),
    ],
)
def test_which_names_are_covered(pattern: str, asked: str, covered: bool) -> None:
    assert matches(pattern, peer_name(asked)) is covered
    assert any_matches(["other.test", pattern], peer_name(asked)) is covered


@pytest.mark.attack(69, "names in certificates")
def test_a_dns_name_that_looks_like_an_address_is_covered_by_none() -> None:
    assert not matches("192.0.2.7", PeerName("192.0.2.7", "dns"))


def test_long_names_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setitem(sys.modules, "idna", SimpleNamespace(encode=lambda text, uts46: asked.append(text)))
    with pytest.raises(ConfigError, match="longer than 253"):
        peer_name("ü" * 100_000)
    assert not asked


@given(st.text(max_size=300) | st.binary(max_size=300))
def test_any_text_is_a_name_or_a_config_error(text: str | bytes) -> None:
    try:
        name = peer_name(text)
    except ConfigError:
        return
    assert name.text == name.text.lower()
    assert peer_name(name.text) == name
    assert matches(name.text, name)


@given(pattern=st.text("ab.*1:", max_size=12), asked=st.text("ab.1:", min_size=1, max_size=12))
def test_a_pattern_covers_only_its_own_depth(pattern: str, asked: str) -> None:
    try:
        name = peer_name(asked)
    except ConfigError:
        return
    if matches(pattern, name) and name.kind == "dns":
        assert pattern.count(".") == name.text.count(".")
        assert pattern == name.text or pattern[1:] == name.text[name.text.index(".") :]
