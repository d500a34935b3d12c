"""x509-limbo: what the world's path validators are tested with (https://x509-limbo.com).

A case runs when it asks what a TLS peer asks: a chain, a name, a moment; no revocation lists, no depth of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from handclasp.errors import CertificateError, ConfigError
from handclasp.identity.certificates import parse_chain
from handclasp.identity.names import peer_name
from handclasp.identity.pem import blocks
from handclasp.identity.trust import PresentedChain, Role, TrustStore
from handclasp.limits import Limits
from handclasp.rules import PeerFault

ACCEPTED = {
    # The rule binds CAs when they issue. The name asked for is in subjectAltName, and the CN is never read.
    "webpki::cn::case-mismatch": "CN is not read",
    "webpki::cn::ipv4-hex-mismatch": "CN is not read",
    "webpki::cn::ipv4-leading-zeros-mismatch": "CN is not read",
    "webpki::cn::ipv6-non-rfc5952-mismatch": "CN is not read",
    "webpki::cn::ipv6-uncompressed-mismatch": "CN is not read",
    "webpki::cn::ipv6-uppercase-mismatch": "CN is not read",
    "webpki::cn::not-in-san": "CN is not read",
    "webpki::cn::punycode-not-in-san": "CN is not read",
    "webpki::cn::utf8-vs-punycode-mismatch": "CN is not read",
    # Key identifiers only help to find issuers faster; the signatures were verified.
    "rfc5280::aki::cross-signed-root-missing-aki": "key identifiers do not decide",
    "rfc5280::aki::intermediate-missing-aki": "key identifiers do not decide",
    "rfc5280::ski::intermediate-missing-ski": "key identifiers do not decide",
    "rfc5280::ski::root-missing-ski": "key identifiers do not decide",
    "webpki::aki::root-with-aki-all-fields": "key identifiers of an anchor do not decide",
    "webpki::aki::root-with-aki-ski-mismatch": "key identifiers of an anchor do not decide",
    # The rest are rules for issuing that the web's own clients do not enforce either.
    "rfc5280::nc::permitted-dns-match-noncritical": "the constraint is enforced whether critical or not",
    "rfc5280::pc::ica-noncritical-pc": "certificate policies are not processed; a critical one is refused",
    "rfc5280::san::underscore-dns": "names with underscores are in use, and are compared exactly",
    "rfc5280::serial::zero": "well-known roots have the serial number 0",
    "webpki::eku::ee-anyeku": "serverAuth is there too",
    "webpki::eku::ee-without-eku": "no extKeyUsage means any purpose, RFC 5280 §4.2.1.12",
    "webpki::eku::root-has-eku": "an anchor's own purposes are for those who trust it to say",
    "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf": "2048 bits or more are strong enough",
    "webpki::forbidden-rsa-not-divisible-by-8-in-root": "2048 bits or more are strong enough",
    "webpki::san::public-suffix-multi-label-wildcard-san": "no list of public suffixes is kept",
    "webpki::san::public-suffix-private-namespace-wildcard-san": "no list of public suffixes is kept",
}
"""Chains accepted although the case wants a refusal, each with its reason. None lets anyone in who has no right."""

REFUSED = {
    "pathlen::self-issued-certs-pathlen": "self-issued certificates count like others",
    "pathlen::validation-ignores-pathlen-in-leaf": "a CA's own certificate is no server's",
    "rfc5280::ca-as-leaf": "a CA's own certificate is no server's",
}
"""Chains refused although the case wants them accepted."""


def fitting(corpora: Path) -> Iterator[dict[str, Any]]:
    for case in json.loads((corpora / "x509-limbo.json").read_bytes())["testcases"]:
        server = case["validation_kind"] == "SERVER"
        if (
            not case["crls"]
            and "max-chain-depth" not in case["features"]
            and (case["expected_peer_name"] or not server)
        ):
            yield case


def verdict(case: dict[str, Any]) -> str:
    """`SUCCESS`, or `FAILURE` by one of our own errors; anything else escapes."""
    name = case["expected_peer_name"]
    at = case["validation_time"]
    pems = [case["peer_certificate"], *case["untrusted_intermediates"]]
    try:
        chain = parse_chain([block.der for pem in pems for block in blocks(pem.encode())], Limits())
        role = Role[case["validation_kind"]]
        moment = datetime.fromisoformat(at) if at else datetime.now(UTC)
        presented = PresentedChain(chain, role, peer_name(name["value"]) if name else None, moment)
        TrustStore.from_pem("\n".join(case["trusted_certs"]).encode()).verify(presented)
    except (CertificateError, PeerFault, ConfigError):
        return "FAILURE"
    return "SUCCESS"


def test_limbo(corpora: Path) -> None:
    if not (corpora / "x509-limbo.json").exists():
        pytest.skip("x509-limbo.json is not there")
    cases = {case["id"]: case for case in fitting(corpora)}
    assert len(cases) > 180
    verdicts = {case_id: verdict(case) for case_id, case in cases.items()}
    wrong = {case_id for case_id, given in verdicts.items() if given != cases[case_id]["expected_result"]}
    assert {case_id for case_id in wrong if verdicts[case_id] == "SUCCESS"} == set(ACCEPTED)
    assert {case_id for case_id in wrong if verdicts[case_id] == "FAILURE"} == set(REFUSED)
