"""x509-limbo: what the world's path validators are tested with (https://x509-limbo.com).

Every case runs under both policies but those about revocation lists, which path building alone does not read. The
table beside this file, `limbo.toml`, lists each case whose verdict is not ours, with the reason: those that are refused
and need not be, and those that break a rule which is not the policy's own. Nothing else may be accepted.
"""

from __future__ import annotations

import json
import subprocess
import time
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from handclasp import Verifier, private, webpki
from handclasp.errors import CertificateError, ConfigError
from handclasp.identity.certificates import parse_chain
from handclasp.identity.names import peer_name
from handclasp.identity.pem import blocks
from handclasp.identity.trust import PresentedChain, Role
from handclasp.limits import Limits
from handclasp.rules import PeerFault
from interop.programs import DEADLINE, tool
from property.profiles import Record

TABLE: dict[str, dict[str, dict[str, str]]] = tomllib.loads(Path(__file__).with_name("limbo.toml").read_text("utf-8"))
POLICIES = {"webpki": webpki, "private": private}
MOST_FALSE_REJECTS = 12
SECONDS = 1.0


@pytest.fixture(scope="module")
def cases(corpora: Path) -> dict[str, dict[str, Any]]:
    file = corpora / "x509-limbo.json"
    if not file.exists():
        pytest.skip("x509-limbo.json is not there")
    return {case["id"]: case for case in json.loads(file.read_bytes())["testcases"]}


def verdict(case: dict[str, Any], policy: str) -> str:
    """`SUCCESS`, or `FAILURE` by one of our own errors; anything else escapes."""
    name, at, depth = case["expected_peer_name"], case["validation_time"], case["max_chain_depth"]
    pems = [case["peer_certificate"], *case["untrusted_intermediates"]]
    limits = Limits() if depth is None else Limits(chain_length=min(depth + 1, 16))
    try:
        verifier: Verifier = POLICIES[policy]("\n".join(case["trusted_certs"]).encode())
        chain = parse_chain([block.der for pem in pems for block in blocks(pem.encode())], limits)
        role = Role[case["validation_kind"]]
        moment = datetime.fromisoformat(at) if at else datetime.now(UTC)
        verifier.verify(PresentedChain(chain, role, peer_name(name["value"]) if name else None, moment, limits))
    except (CertificateError, PeerFault, ConfigError):
        return "FAILURE"
    return "SUCCESS"


@pytest.mark.attack(70, "CA flags and purposes")
@pytest.mark.attack(71, "name-constraint bypass")
@pytest.mark.parametrize("policy", POLICIES)
def test_limbo(cases: dict[str, dict[str, Any]], policy: str, record_property: Record) -> None:
    judged = {case_id: case for case_id, case in cases.items() if case_id not in TABLE["needs"]}
    assert len(judged) >= 200
    wrong, slow = {}, []
    for case_id, case in judged.items():
        started = time.process_time()
        given = verdict(case, policy)
        if time.process_time() - started > SECONDS:
            slow.append(case_id)
        if given != case["expected_result"]:
            wrong[case_id] = given
    record_property("cases", len(judged) - len(wrong))
    assert slow == []
    by_other_rules = {*TABLE[policy]["other"], *TABLE[policy]["tolerated"]}
    accepted = {case_id for case_id, given in wrong.items() if given == "SUCCESS"}
    assert accepted - by_other_rules == set(), "false accepts"
    assert accepted == by_other_rules
    assert {case_id for case_id, given in wrong.items() if given == "FAILURE"} == set(TABLE[policy]["refused"])


def test_the_table(cases: dict[str, dict[str, Any]]) -> None:
    assert set(TABLE["needs"]) == {case_id for case_id, case in cases.items() if case["crls"]}
    assert len(TABLE["webpki"]["refused"]) <= MOST_FALSE_REJECTS
    assert TABLE["webpki"]["tolerated"] == {}
    assert all("rfc5280-incompatible-with-webpki" in cases[case_id]["features"] for case_id in TABLE["webpki"]["other"])
    assert all(case_id.startswith("webpki::") for case_id in TABLE["private"]["other"])
    for policy in POLICIES:
        assert all(reason for kind in TABLE[policy].values() for reason in kind.values())


def test_openssl_tolerates_the_same(cases: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """What `private` accepts against the suite's wish is nothing that a client of OpenSSL would have refused."""
    for case_id in (*TABLE["private"]["tolerated"], *TABLE["private"]["other"]):
        said = openssl_verify(cases[case_id], tmp_path)
        assert said.returncode == 0, (case_id, said.stderr)
    no_ca = openssl_verify(cases["rfc5280::intermediate-ca-without-ca-bit"], tmp_path)
    assert no_ca.returncode != 0


def openssl_verify(case: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """What `openssl verify` says of a server's chain; whatever it trusts is an anchor, root or not, as for us."""
    name, at = case["expected_peer_name"], case["validation_time"]
    files = {"root": case["trusted_certs"], "between": case["untrusted_intermediates"]}
    files["leaf"] = [case["peer_certificate"]]
    for file, pems in files.items():
        (folder / file).write_text("\n".join(pems), "utf-8")
    asked = ("-verify_ip" if name["kind"] == "IP" else "-verify_hostname", name["value"])
    when = ("-attime", str(int(datetime.fromisoformat(at).timestamp()))) if at else ()
    between = ("-untrusted", folder / "between") if files["between"] else ()
    command = (tool("openssl"), "verify", "-partial_chain", "-purpose", "sslserver", *asked, *when, *between)
    return subprocess.run(
        [*command, "-trusted", folder / "root", folder / "leaf"],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
