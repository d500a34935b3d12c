"""Name constraints: which names a CA may vouch for (RFC 5280 §4.2.1.10).

Both sides are prepared as sets, so that a comparison costs a look-up for each label and not one for each constraint.
All of it is counted before it is done, because both lists are the peer's to fill. What a constraint says is never
ignored: a name of a kind that is constrained here and cannot be compared is refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from itertools import takewhile
from typing import Final, TypeAlias

import cryptography.x509 as pyca
from cryptography.x509.oid import NameOID

from ..limits import MAX_NAME, MOST_COMPARISONS
from ..rules import printable
from .certificates import Certificate

Directory: TypeAlias = tuple[frozenset[tuple[str, str]], ...]
"""A distinguished name as its parts, each a set of (object identifier, value) prepared for comparison."""


class NotComparable(Exception):
    """A name or a constraint that cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Names:
    """All that a certificate says about whose it is."""

    dns: tuple[str, ...]
    addresses: tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...]
    directories: tuple[Directory, ...]
    mailboxes: tuple[str, ...]
    others: frozenset[type[pyca.GeneralName]]
    """Kinds of names that are there and are not compared."""
    labels: int
    """Of all of `dns` and `mailboxes` together."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """A CA's constraints, ready to compare with."""

    permitted: _Subtrees
    excluded: _Subtrees

    def cost(self, names: Names) -> int:
        """Look-ups that `forbids` makes for these names at most, about."""
        return self.permitted.cost(names) + self.excluded.cost(names)

    def forbids(self, names: Names) -> str:
        """The first name that the CA may not vouch for, in words; empty when there is none."""
        unread = names.others & (self.permitted.kinds | self.excluded.kinds)
        if unread:
            return f"a name of the kind {min(kind.__name__ for kind in unread)}, which is constrained and not compared"
        for kind, values, found in (
            (pyca.DNSName, names.dns, _Subtrees.holds_dns),
            (pyca.IPAddress, names.addresses, _Subtrees.holds_address),
            (pyca.DirectoryName, names.directories, _Subtrees.holds_directory),
            (pyca.RFC822Name, names.mailboxes, _Subtrees.holds_mailbox),
        ):
            limited = kind in self.permitted.kinds
            for value in values if limited or kind in self.excluded.kinds else ():
                if limited and not found(self.permitted, value):
                    return _shown(value)
                if found(self.excluded, value) or (kind is pyca.DNSName and self.excluded.may_match(str(value))):
                    return _shown(value)
        return ""


@dataclass(frozen=True, slots=True)
class _Subtrees:
    """One of the two lists."""

    kinds: frozenset[type[pyca.GeneralName]]
    dns: frozenset[str]
    """A name, for itself and all below it; with a dot in front, for all below it alone."""
    parents: frozenset[str]
    """What stands behind the first label of each of `dns`."""
    networks: Mapping[int, Mapping[int, Set[int]]]
    """Network addresses, by version and by how many bits stand behind their prefix."""
    directories: frozenset[Directory]
    depths: tuple[int, ...]
    """The lengths of `directories`, shortest first."""
    mailboxes: frozenset[str]
    """A mailbox, a host, or with a dot in front all hosts below one."""

    def cost(self, names: Names) -> int:
        """What it costs to look for all of these."""
        networks = sum(len(self.networks.get(address.version, ())) for address in names.addresses)
        parts = sum(len(directory) + 1 for directory in names.directories)
        return names.labels + networks + parts * len(self.depths)

    def holds_dns(self, name: object) -> bool:
        rest = str(name).lower()
        if rest in self.dns or "" in self.dns:
            return True
        while rest:
            rest = rest.partition(".")[2]
            if rest in self.dns or f".{rest}" in self.dns:
                return True
        return False

    def may_match(self, name: str) -> bool:
        """A wildcard stands for the constrained name too, among others."""
        return name.startswith("*.") and name[2:].lower() in self.parents

    def holds_address(self, address: object) -> bool:
        if not isinstance(address, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
            return False
        number = int(address)
        found = self.networks.get(address.version, _NO_NETWORKS).items()
        return any(number >> behind << behind in networks for behind, networks in found)

    def holds_directory(self, directory: object) -> bool:
        if not isinstance(directory, tuple):
            return False
        depths = takewhile(lambda depth: depth <= len(directory), self.depths)
        return any(directory[:depth] in self.directories for depth in depths)

    def holds_mailbox(self, mailbox: object) -> bool:
        host = str(mailbox).rpartition("@")[2]
        if str(mailbox) in self.mailboxes or host in self.mailboxes:
            return True
        while host:
            host = host.partition(".")[2]
            if f".{host}" in self.mailboxes:
                return True
        return False


class Comparer:
    """Compares the names of a chain's certificates with its CAs' constraints. What was prepared once is kept."""

    __slots__ = ("_constraints", "_names", "_spend")

    def __init__(self, spend: Callable[[int], None]) -> None:
        """`spend` is told of each piece of work before it is done, in look-ups, and raises when it is too much."""
        self._spend = spend
        self._names: dict[Certificate, Names] = {}
        self._constraints: dict[Certificate, Constraints | None] = {}

    def forbidden(self, issuer: Certificate, certificate: Certificate) -> str:
        """The first name of a certificate's that the CA may not vouch for, in words; empty when there is none.

        Raises NotComparable, and what `spend` raises.
        """
        found = issuer.constraints
        if found is None:
            return ""
        if issuer not in self._constraints:
            self._spend(_PREPARED * (len(found.permitted_subtrees or ()) + len(found.excluded_subtrees or ())))
            self._constraints[issuer] = constraints_of(issuer)
        if certificate not in self._names:
            self._spend(_PREPARED * (len(certificate.alternative_names) + len(certificate.x509.subject.rdns)))
            self._names[certificate] = names_of(certificate)
        constraints, names = self._constraints[issuer], self._names[certificate]
        if constraints is None:
            return ""
        self._spend(constraints.cost(names))
        return constraints.forbids(names)


def allowance() -> Callable[[int], None]:
    """What one chain may spend on comparisons: a function that takes it off, and raises NotComparable at the end."""
    left = MOST_COMPARISONS

    def spend(amount: int) -> None:
        nonlocal left
        left -= amount
        if left < 0:
            raise NotComparable("there are more names and name constraints than are compared")

    return spend


def names_of(certificate: Certificate) -> Names:
    """The subject, and all of subjectAltName. Raises NotComparable for one that is malformed."""
    dns, addresses, directories, mailboxes = [], [], [], []
    others: set[type[pyca.GeneralName]] = set()
    if certificate.x509.subject.rdns:
        directories.append(_directory(certificate.x509.subject))
        # RFC 5280 §4.2.1.10: a constraint on mailboxes holds for the attribute that came before subjectAltName, too.
        emails = certificate.x509.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
        mailboxes += [_mailbox(str(attribute.value)) for attribute in emails]
    for name in certificate.alternative_names:
        if isinstance(name, pyca.DNSName):
            dns.append(_dns(name.value, "*"))
        elif isinstance(name, pyca.IPAddress):
            addresses.append(_address(name))
        elif isinstance(name, pyca.DirectoryName):
            directories.append(_directory(name.value))
        elif isinstance(name, pyca.RFC822Name):
            mailboxes.append(_mailbox(name.value))
        else:
            others.add(type(name))
    labels = sum(name.count(".") + 1 for name in (*dns, *mailboxes))
    return Names(tuple(dns), tuple(addresses), tuple(directories), tuple(mailboxes), frozenset(others), labels)


def constraints_of(certificate: Certificate) -> Constraints | None:
    """A CA's name constraints; None without any. Raises NotComparable for one that is malformed."""
    found = certificate.constraints
    if found is None:
        return None
    return Constraints(_subtrees(found.permitted_subtrees or ()), _subtrees(found.excluded_subtrees or ()))


def _subtrees(bases: Iterable[pyca.GeneralName]) -> _Subtrees:
    kinds: set[type[pyca.GeneralName]] = set()
    dns: set[str] = set()
    networks: dict[int, dict[int, set[int]]] = {}
    directories: set[Directory] = set()
    mailboxes: set[str] = set()
    for base in bases:
        kinds.add(type(base))
        if isinstance(base, pyca.DNSName):
            # The dot in front is not in the RFC, and many CAs write it; it is taken at its narrowest: all names below.
            dns.add(f".{_dns(base.value[1:])}" if base.value.startswith(".") else _dns(base.value))
        elif isinstance(base, pyca.IPAddress):
            network = _network(base)
            alike, behind = networks.setdefault(network.version, {}), network.max_prefixlen - network.prefixlen
            alike.setdefault(behind, set()).add(int(network.network_address))
        elif isinstance(base, pyca.DirectoryName):
            directories.add(_directory(base.value))
        elif isinstance(base, pyca.RFC822Name):
            mailboxes.add(_mailbox(base.value) if "@" in base.value else base.value.lower())
    return _Subtrees(
        kinds=frozenset(kinds),
        dns=frozenset(dns),
        parents=frozenset(name.partition(".")[2] if not name.startswith(".") else name[1:] for name in dns),
        networks=networks,
        directories=frozenset(directories),
        depths=tuple(sorted({len(directory) for directory in directories})),
        mailboxes=frozenset(mailboxes),
    )


def _dns(text: str, wildcard: str = "") -> str:
    """The name in lower case; `wildcard` may be its first label."""
    name = text.lower()
    labels = name.split(".") if name else []
    if wildcard and labels[:1] == [wildcard]:
        labels = labels[1:]
    if len(name) > MAX_NAME or not all(label and set(label) <= _CHARACTERS for label in labels):
        raise NotComparable(f"{printable(text, 60)!r} is no DNS name")
    return name


def _address(name: pyca.IPAddress) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if not isinstance(name.value, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
        raise NotComparable(f"{name.value} is no address")
    return name.value


def _network(base: pyca.IPAddress) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return base.value if isinstance(base.value, _NETWORKS) else ipaddress.ip_network(base.value)


def _directory(name: pyca.Name) -> Directory:
    """Values are compared without regard to case and runs of spaces (RFC 5280 §7.1)."""
    return tuple(
        frozenset((part.oid.dotted_string, " ".join(str(part.value).casefold().split())) for part in rdn)
        for rdn in name.rdns
    )


def _mailbox(text: str) -> str:
    """The host is compared without regard to case, what stands before it is not (RFC 5280 §7.5)."""
    local, at, host = text.rpartition("@")
    if not local or not at or not host or "@" in local or len(host) > MAX_NAME:
        raise NotComparable(f"{printable(text, 60)!r} is no mailbox")
    return f"{local}@{host.lower()}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return printable("a subject of " + ", ".join(text for rdn in value for _, text in sorted(rdn)), 60)
    return printable(str(value), 60)


_NETWORKS: Final = (ipaddress.IPv4Network, ipaddress.IPv6Network)
_NO_NETWORKS: Final[Mapping[int, Set[int]]] = {}
_PREPARED: Final = 8
"""What it costs to prepare one name or constraint, in look-ups."""
_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
