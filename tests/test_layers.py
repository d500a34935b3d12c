"""How the house is built, read from its source: who may import whom, what is never used, how big things may grow."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import handclasp
from handclasp import rules

ROOT = Path(handclasp.__file__).parent

ORDER = (
    "codes",
    "alerts",
    "limits",
    "rules",
    "errors",
    "wire",
    "crypto",
    "trace",
    "channel",
    "keylog",
    "fetching",
    "identity",
    "rotation",
    "sessions",
    "config",
    "danger",
    "handshake",
    "events",
    "connection",
    "asgi",
    "io",
    "aio",
    "anyio",
    "ssl",
    "api",
    "",
    "lab",
    "testing",
    "cli",
    "__main__",
)
"""A module imports from those before it, and from its own room. The empty name is the package's `__init__`."""

ONLY_FROM_ABOVE = {
    "danger": {"cli", "lab"},
    "lab": {"cli", "testing"},
    "cli": {"__main__"},
    "testing": set(),
    "": {"lab", "testing", "cli"},
    # what goes out on a certificate's word is a default of policies, and a tool of adapters
    "fetching": {"identity", "io", "api"},
}
"""Rooms that are closed to all but these: nothing less safe, and no test tool, is reachable by accident."""

CRYPTOGRAPHY = {
    "crypto": "cryptography",
    "identity": "cryptography.x509",
    "lab": "cryptography.x509",
}
"""What each room may take from the `cryptography` package; the others take nothing."""

FORBIDDEN = {
    "handshake": {"asyncio", "socket", "os", "time", "ssl", "threading", "select", "selectors"},
    "wire": {"asyncio", "socket", "os", "time", "ssl", "threading"},
    "channel": {"asyncio", "socket", "os", "time", "ssl", "threading"},
    "connection": {"asyncio", "socket", "os", "time", "ssl"},
    "crypto": {"asyncio", "socket", "time", "ssl"},
    "identity": {"asyncio", "socket", "time", "ssl"},
}
"""Modules of the standard library that have no business in a room, not even inside of a function."""

NOWHERE = {"random", "pickle", "marshal", "shelve", "dill"}


@dataclass(frozen=True)
class Import:
    """One imported module: absolute names as they are, our own from the package's root."""

    line: int
    module: str
    ours: bool


@dataclass(frozen=True)
class Source:
    """One file of the package."""

    path: Path
    name: str
    tree: ast.Module
    text: str

    @property
    def room(self) -> str:
        return self.name.split(".")[0]

    @property
    def imports(self) -> list[Import]:
        """All that is imported at run time, inside of functions too."""
        return [found for node in _running(self.tree) for found in self._imported(node)]

    def _imported(self, node: ast.AST) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield self._absolute(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = node.module or ""
            yield self._absolute(node.lineno, module)
            for alias in node.names:
                yield self._absolute(node.lineno, f"{module}.{alias.name}")
        elif isinstance(node, ast.ImportFrom):
            package = self.path.relative_to(ROOT).parent.parts
            base = package[: len(package) - node.level + 1] + tuple((node.module or "").split("."))
            base = tuple(part for part in base if part)
            for alias in node.names:
                parts = (*base, alias.name)
                is_module = _file_of(parts) is not None
                yield Import(node.lineno, ".".join(parts if is_module else base), ours=True)

    def _absolute(self, line: int, module: str) -> Import:
        ours = module.split(".")[0] == "handclasp"
        return Import(line, module.removeprefix("handclasp").removeprefix(".") if ours else module, ours)


def _file_of(parts: tuple[str, ...]) -> Path | None:
    path = ROOT.joinpath(*parts)
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if parts and p.is_file()), None)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _running(child)


@cache
def sources() -> tuple[Source, ...]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        found.append(Source(path, name, ast.parse(text), text))
    return tuple(found)


def _shown(source: Source, line: int, what: str) -> str:
    return f"{source.path.relative_to(ROOT)}:{line}: {what}"


# --- imports ---------------------------------------------------------------------------------------------------------


def test_every_room_has_its_place() -> None:
    assert {source.room for source in sources()} <= set(ORDER)
    assert len(set(ORDER)) == len(ORDER)


def test_imports_point_down() -> None:
    wrong = []
    for source in sources():
        for found in source.imports:
            if not found.ours:
                continue
            room = found.module.split(".")[0]
            downwards = ORDER.index(room) < ORDER.index(source.room)
            closed = room in ONLY_FROM_ABOVE and source.room not in ONLY_FROM_ABOVE[room]
            if room != source.room and (not downwards or closed):
                wrong.append(_shown(source, found.line, f"imports {found.module or 'the package itself'}"))
    assert wrong == []


def test_no_cycles() -> None:
    graph = {
        source.name: {found.module for found in source.imports if found.ours and found.module != source.name}
        for source in sources()
    }
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a cycle: {' -> '.join(error.args[1])}")
    assert set(order) >= {source.name for source in sources()}


def test_only_some_rooms_touch_cryptography() -> None:
    wrong = []
    for source in sources():
        allowed = CRYPTOGRAPHY.get(source.room)
        for found in source.imports:
            if found.ours or found.module.split(".")[0] != "cryptography":
                continue
            below = allowed is not None and f"{found.module}.".startswith(f"{allowed}.")
            parent = allowed is not None and f"{allowed}.".startswith(f"{found.module}.") and found.module != allowed
            if not below and not parent:
                wrong.append(_shown(source, found.line, f"imports {found.module}"))
    assert wrong == []


def test_nothing_outside_belongs_into_the_protocol() -> None:
    wrong = [
        _shown(source, found.line, f"imports {found.module}")
        for source in sources()
        for found in source.imports
        if not found.ours and found.module.split(".")[0] in FORBIDDEN.get(source.room, set()) | NOWHERE
    ]
    assert wrong == []


def test_the_import_checks_can_fail() -> None:
    text = "\n".join(
        (
            "from typing import TYPE_CHECKING",
            "if TYPE_CHECKING:",
            "    import a",
            "def f():",
            "    from ..rules import X",
            "    import b.c",
        )
    )
    source = Source(ROOT / "wire" / "made_up.py", "wire.made_up", ast.parse(text), text)
    assert [(found.module, found.ours) for found in source.imports] == [
        ("typing", False),
        ("typing.TYPE_CHECKING", False),
        ("rules", True),
        ("b.c", False),
    ]


@pytest.mark.parametrize("named", ["", "; handclasp.ClientConfig"])
def test_importing_the_package_pulls_in_little(named: str) -> None:
    """Nothing of the library before a public name is used, and no runtime that nobody asked for then."""
    imports = f"import sys; before = set(sys.modules); import handclasp{named}"
    loaded = _run(f"{imports}; print('\\n'.join(sorted(set(sys.modules) - before)))").split()
    assert ("handclasp.connection" in loaded) is ("cryptography" in loaded) is bool(named)
    unwanted = ("asyncio", "ssl", "_ssl", "rich", "trio", "anyio", "handclasp.lab", "handclasp.cli", "handclasp.danger")
    assert [name for name in loaded if name in unwanted or name.startswith("handclasp.lab.")] == []


@pytest.mark.parametrize("name", ["connection", "lab.pair", "handshake.client13", "testing"])
def test_a_module_may_be_the_first_one(name: str) -> None:
    """Whichever is imported before all others: `from . import rules` does not ask for the public names."""
    assert _run(f"import handclasp.{name}, sys; print('handclasp.{name}' in sys.modules)").strip() == "True"


def test_naming_a_module_imports_no_other() -> None:
    told = _run("import handclasp, sys; handclasp.rules; print('\\n'.join(sys.modules))").split()
    assert "handclasp.rules" in told
    assert "handclasp.api" not in told


def _run(code: str) -> str:
    """What an interpreter prints in which nothing of ours is imported yet."""
    paths = os.pathsep.join([str(ROOT.parent), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


# --- never used ------------------------------------------------------------------------------------------------------


def test_no_assert_statements() -> None:
    """They vanish under -O: a check that matters is never one."""
    wrong = [
        _shown(source, node.lineno, "assert")
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Assert)
    ]
    assert wrong == []


def test_no_bare_except_and_no_finalizers() -> None:
    wrong = []
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                wrong.append(_shown(source, node.lineno, "bare except"))
            if isinstance(node, ast.FunctionDef) and node.name == "__del__":
                wrong.append(_shown(source, node.lineno, "__del__"))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
                wrong.append(_shown(source, node.lineno, node.func.id))
    assert wrong == []


def test_what_a_peer_sent_is_not_compared_with_a_secret_by_equality() -> None:
    """`verify_data` and binders go through `crypto.hashing.same`."""
    secret = re.compile(r"verify_data|binder(?!s\b)|\bmac\b")
    wrong = [
        _shown(source, node.lineno, ast.unparse(node))
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
        and any(secret.search(ast.unparse(side)) for side in (node.left, *node.comparators))
        and not any("len(" in ast.unparse(side) for side in (node.left, *node.comparators))
    ]
    assert wrong == []


# --- budgets ---------------------------------------------------------------------------------------------------------

FILE_LINES = 500
FUNCTION_LINES = 60
ATTRIBUTES = 12

LONGER_FILES: dict[str, str] = {
    "connection.py": "one class, the driver: every entrance goes through the same few lines of it",
    "identity/diagnose.py": "one function for each thing that can be wrong with a chain, in the order they are told",
}

LONGER_FUNCTIONS: dict[str, str] = {}

LARGER_CLASSES: dict[str, str] = {
    "connection.py:Connection": "the driver: each attribute is one fact of a connection's life, and no group of them"
    " changes together",
    "channel/inbound.py:Inbound": "one more than it should: `wears` spares each record a call",
}
"""What is over its budget, and why it stays in one piece."""


def test_files_are_short() -> None:
    sizes = {source.path.relative_to(ROOT).as_posix(): len(source.text.splitlines()) for source in sources()}
    assert {name: size for name, size in sizes.items() if size > FILE_LINES}.keys() == LONGER_FILES.keys()


def test_functions_are_short() -> None:
    sizes = {
        f"{source.path.relative_to(ROOT).as_posix()}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES}.keys() == LONGER_FUNCTIONS.keys()


def test_classes_hold_little_that_changes() -> None:
    sizes = {
        f"{source.path.relative_to(ROOT).as_posix()}:{node.name}": len(_mutable_attributes(node))
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ClassDef) and not _is_frozen(node)
    }
    assert {name: size for name, size in sizes.items() if size > ATTRIBUTES}.keys() == LARGER_CLASSES.keys()
    assert all(size <= 16 for size in sizes.values())


def _is_frozen(cls: ast.ClassDef) -> bool:
    return any("frozen=True" in ast.unparse(decorator) for decorator in cls.decorator_list)


def _mutable_attributes(cls: ast.ClassDef) -> set[str]:
    """What instances can hold: `__slots__`, and whatever methods assign to self."""
    found: set[str] = set()
    for node in ast.walk(cls):
        if isinstance(node, ast.Assign) and any(ast.unparse(target) == "__slots__" for target in node.targets):
            found |= set(ast.literal_eval(node.value))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            found.add(node.attr)
    return found


# --- citations -------------------------------------------------------------------------------------------------------

SECTIONS_OF_RFC_8446 = frozenset(
    """
    1 1.1 1.2 1.3 1.4 2 2.1 2.2 2.3 3 3.1 3.2 3.3 3.4 3.5 3.6 3.7 3.8 3.9 4 4.1 4.1.1 4.1.2 4.1.3 4.1.4 4.2 4.2.1 4.2.2
    4.2.3 4.2.4 4.2.5 4.2.6 4.2.7 4.2.8 4.2.8.1 4.2.8.2 4.2.9 4.2.10 4.2.11 4.2.11.1 4.2.11.2 4.3 4.3.1 4.3.2 4.4 4.4.1
    4.4.2 4.4.2.1 4.4.2.2 4.4.2.3 4.4.2.4 4.4.3 4.4.4 4.5 4.6 4.6.1 4.6.2 4.6.3 5 5.1 5.2 5.3 5.4 5.5 6 6.1 6.2 7 7.1
    7.2 7.3 7.4 7.4.1 7.4.2 7.5 8 8.1 8.2 8.3 9 9.1 9.2 9.3 10 11 12 A A.1 A.2 B B.1 B.2 B.3 B.3.1 B.3.1.1 B.3.1.2
    B.3.1.3 B.3.1.4 B.3.2 B.3.3 B.3.4 B.4 C C.1 C.2 C.3 C.4 C.5 D D.1 D.2 D.3 D.4 D.5 E E.1 E.2 E.3 E.4 E.5 E.6
    """.split()  # noqa: SIM905 - a table of contents, not a list
)

_SECTION = r"§[0-9A-F](?:\d|\.\d)*"

CITATION = re.compile(rf"RFC (?P<number>\d{{3,5}})(?: (?P<sections>{_SECTION}(?:(?:,| and| to|-) ?{_SECTION})*))?")


def _sections(citation: re.Match[str]) -> list[str]:
    return [section.removeprefix("§") for section in re.findall(_SECTION, citation["sections"] or "")]


def test_citations_have_one_form() -> None:
    """`RFC 8446 §4.1.3`; a document as a whole is `RFC 5116`."""
    number = re.compile(r"\bRFC[ _-]?\d+\b|\brfc[ -]?\d+(?!\w)")
    words = re.compile(r"\b(section|appendix|chapter) [0-9A-F](\b|\.\d)", re.IGNORECASE)
    wrong = []
    for source in sources():
        for at, line in enumerate(source.text.splitlines(), 1):
            badly_named = [found for found in number.findall(line) if not CITATION.fullmatch(found)]
            badly_placed = len(re.findall('§(?!")', line)) - len(re.findall(_SECTION, line))
            if badly_named or badly_placed or words.search(line):
                wrong.append(_shown(source, at, line.strip()))
    assert wrong == []


def test_cited_sections_exist() -> None:
    wrong = [
        section
        for source in sources()
        for found in CITATION.finditer(source.text)
        for section in _sections(found)
        if found["number"] == "8446" and section not in SECTIONS_OF_RFC_8446
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(rules.ALL))
def test_rules_say_where_they_are_written(name: str) -> None:
    rule = rules.ALL[name]
    found = CITATION.fullmatch(rule.section)
    assert found is not None
    assert len(_sections(found)) == 1
    assert found["number"] != "8446" or _sections(found)[0] in SECTIONS_OF_RFC_8446
    assert rule.sentence[0].islower() or rule.sentence.startswith(("CertificateVerify", "legacy_version"))
    assert not rule.sentence.endswith(".")
    assert len(rule.sentence) <= 120


def test_rules_are_distinct() -> None:
    """Two rules that are equal would share a name."""
    assert len(set(rules.ALL.values())) == len(rules.ALL)
    assert {rule.name for rule in rules.ALL.values()} == {name.lower().replace("_", "-") for name in rules.ALL}
