"""x509-limbo's cases with revocation lists: a chain that is good, and what its CA's lists say of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from handclasp import CertificateError, PresentedChain, Revocation, Role, TrustStore, VerifiedPeer
from handclasp.identity.certificates import parse_chain
from handclasp.identity.names import peer_name
from handclasp.identity.pem import blocks
from handclasp.limits import Limits

REASONS = {
    "crl::revoked-certificate-with-crl": "revoked",
    "crl::crlnumber-missing": "unreadable-crl",
    "crl::crlnumber-critical": "unreadable-crl",
    "crl::issuer-missing-crlsign": "revocation-unknown",
}
"""Why each case that fails does; the two with a wrong number are no lists that can be used at all."""


def verdict(case: dict[str, Any]) -> str:
    """`SUCCESS`, or the code of the refusal; in hard mode, with no way out."""
    chain = parse_chain([block.der for block in blocks(case["peer_certificate"].encode())], Limits())
    at = datetime.fromisoformat(case["validation_time"]).astimezone(UTC)
    presented = PresentedChain(chain, Role.SERVER, peer_name(case["expected_peer_name"]["value"]), at)
    anchor = next(iter(TrustStore.from_pem("\n".join(case["trusted_certs"]).encode()).certificates))
    policy = Revocation("hard", crls=[crl.encode() for crl in case["crls"]])
    try:
        policy.check(presented, VerifiedPeer((*chain, anchor), "the case says so"))
    except CertificateError as error:
        return error.code
    except Exception as error:
        return getattr(error, "code", type(error).__name__)
    return "SUCCESS"


def test_limbo_with_lists(corpora: Path) -> None:
    if not (corpora / "x509-limbo.json").exists():
        pytest.skip("x509-limbo.json is not there")
    cases = {c["id"]: c for c in json.loads((corpora / "x509-limbo.json").read_bytes())["testcases"] if c["crls"]}
    assert len(cases) >= 8
    expected = {name: REASONS.get(name, "SUCCESS") for name in cases}
    assert {name for name, c in cases.items() if c["expected_result"] == "FAILURE"} == set(REASONS)
    assert {name: verdict(case) for name, case in cases.items()} == expected
