"""Text that a peer put into its certificates, as refusals tell it: escaped, on one line, of bounded length."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import cryptography.x509 as pyca
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from handclasp import CertificateError, PresentedChain, Revocation, Role, Verifier, fetch_issuers, pin, private, webpki
from handclasp.crypto.keys import certificate_hash
from handclasp.identity.certificates import Certificate
from handclasp.identity.names import peer_name
from handclasp.lab.ca import CertificateAuthority

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
CA = CertificateAuthority("a CA", at=AT)
TEXT = "one\x1b[2J\ntwo\u202eeerht\0" + 3000 * "x"
URL = "http://one.test/\x1b[2J\n" + 3000 * "y"
LONGEST = 320
"""An error's text and what goes with it."""


def name(text: str) -> pyca.Name:
    return pyca.Name([pyca.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, text, _validate=False)])


def made(subject: str = "a", issuer: str = "", san: str = "a.test", url: str = "", ocsp: str = "") -> Certificate:
    good = CA.issue("a.test").leaf.x509
    by = name(issuer) if issuer else good.issuer
    start, end = AT - timedelta(days=1), AT + timedelta(days=1)
    builder = pyca.CertificateBuilder(by, name(subject), good.public_key(), 7, start, end)
    builder = builder.add_extension(pyca.SubjectAlternativeName([pyca.DNSName(san)]), False)
    places = ((AuthorityInformationAccessOID.CA_ISSUERS, url), (AuthorityInformationAccessOID.OCSP, ocsp))
    access = [pyca.AccessDescription(kind, pyca.UniformResourceIdentifier(place)) for kind, place in places if place]
    if access:
        builder = builder.add_extension(pyca.AuthorityInformationAccess(access), False)
    key = CA._key
    return Certificate.from_der(builder.sign(key, certificate_hash(key)).public_bytes(Encoding.DER))


HOSTILE = {
    "subject": made(subject=TEXT, san="b.test"),
    "issuer": made(issuer=TEXT),
    "name": made(san="b\x1b[2J\n" + 3000 * "z"),
    "issuer's URL": made(issuer=TEXT, url=URL),
    "responder's URL": made(ocsp=URL),
}


def repeat(url: str, **_: object) -> bytes:
    raise OSError(url)


POLICIES: dict[str, Verifier] = {
    "webpki": webpki(CA.certificate),
    "private": private(CA.certificate),
    "either": webpki(CA.certificate) | private(CA.certificate),
    "pin": pin("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=") | webpki(CA.certificate),
    "fetching": fetch_issuers(webpki(CA.certificate), repeat),
    "revocation": private(CA.certificate) & Revocation("hard", fetch=repeat),
}


def texts(error: CertificateError) -> Iterator[str]:
    yield str(error)
    yield error.remedy
    yield from error.__notes__
    yield from error.facts.values()
    for other in error.others:
        yield from texts(other)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("where", HOSTILE)
def test_text_of_the_peer_is_bounded_and_escaped(where: str, policy: str) -> None:
    presented = PresentedChain((HOSTILE[where],), Role.SERVER, peer_name("a.test"), AT)
    try:
        POLICIES[policy].verify(presented)
    except CertificateError as error:
        told = list(texts(error))
    else:
        assert (where, policy) in (("responder's URL", "private"), ("responder's URL", "either"))
        return
    assert len(told) >= 4
    assert [text for text in told if not text.isprintable() or len(text) > LONGEST] == []
