"""The rooms of src/vel2: who may import whom, how long a module may be, what no file may name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src" / "vel2"

# Room -> the rooms it may import. `errors`, `scratch`, `supervisor` and the package itself (for its
# version) are no rooms: every room but `arch`, which imports nothing of ours, may import them.
MAY_IMPORT: dict[str, set[str]] = {
    "arch": set(),
    "lang": {"arch"},
    "trace": {"arch"},
    "hyp": {"arch", "lang", "trace"},
    "machine": {"arch"},
    "runtime": {"arch", "lang"},
    "guests": {"arch", "lang", "runtime"},
    "explain": {"arch", "lang", "trace", "hyp"},
    "probes": {"arch", "lang", "hyp", "explain"},
    "control": {"arch", "lang", "hyp", "machine", "trace", "runtime", "guests", "probes"},
    "inspect": {
        *("arch", "lang", "hyp", "machine", "trace", "runtime", "guests", "control"),
        *("explain", "probes"),
    },
    "pack": {"arch", "lang", "trace", "hyp", "machine", "runtime", "guests", "control"},
    "check": {"arch", "lang", "hyp", "machine", "trace", "runtime", "guests", "control", "pack"},
    "bench": {
        *("arch", "lang", "hyp", "machine", "trace", "runtime", "guests", "control"),
        *("pack", "probes"),
    },
    "report": {
        *("arch", "lang", "hyp", "machine", "trace", "runtime", "guests", "control"),
        *("explain", "bench"),
    },
    "cli": {
        *("arch", "lang", "hyp", "machine", "trace", "runtime", "guests", "control"),
        *("pack", "check", "bench", "explain", "inspect", "report", "probes"),
    },
}
COMMON = {"errors", "scratch", "supervisor", "__version__"}
LINES_MAX = 600

MODULES = sorted(SRC.rglob("*.py"))


def module_id(path: Path) -> str:
    return str(path.relative_to(SRC))


def imported_names(path: Path, source: str) -> set[str]:
    """Give every absolute dotted name a module imports, anywhere in it."""
    package = ("vel2", *path.relative_to(SRC).parent.parts)
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            base += node.module.split(".") if node.module else []
            names |= {".".join([*base, alias.name]) for alias in node.names}
    return names


def forbidden_imports(path: Path, source: str) -> list[str]:
    """Give the imports that break the order of the rooms."""
    room = path.relative_to(SRC).parts[0].removesuffix(".py")
    if room == "__init__":  # it names the library's parts, and loads them when they are used
        allowed = {"arch", "errors", "guests", "inspect"}
    elif room == "__main__":
        allowed = {"cli"}
    elif room in MAY_IMPORT:
        allowed = MAY_IMPORT[room] | {room} | (COMMON if room != "arch" else set())
    else:
        allowed = set()
    ours = [name.split(".") for name in imported_names(path, source) if name.startswith("vel2.")]
    return sorted(".".join(parts) for parts in ours if parts[1] not in allowed)


def is_table(source: str) -> bool:
    """Say whether a module is data only: no function, no branch, no loop."""
    logic = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.If, ast.For, ast.While, ast.Try)
    return not any(isinstance(node, logic) for node in ast.walk(ast.parse(source)))


def test_every_room_is_listed() -> None:
    rooms = {path.name for path in SRC.iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_import_order(path: Path) -> None:
    assert forbidden_imports(path, path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("arch/esr.py", "from vel2.lang import ir", ["vel2.lang.ir"]),
        ("arch/esr.py", "from vel2.errors import UserError", ["vel2.errors.UserError"]),
        ("arch/esr.py", "from .bits import Field\nfrom vel2.arch.bits import Field", []),
        ("arch/sysregs/el2.py", "from ... import hyp", ["vel2.hyp"]),
        ("arch/sysregs/el2.py", "from ..bits import Field", []),
        ("lang/lower.py", "def f():\n    import vel2.hyp.trap", ["vel2.hyp.trap"]),
        ("machine/qemu.py", "from vel2.errors import LaunchError", []),
        ("machine/qemu.py", "from vel2 import guests, trace", ["vel2.guests", "vel2.trace"]),
        ("control/vm.py", "from ..cli.main import main", ["vel2.cli.main.main"]),
        ("cli/run.py", "from vel2 import __version__\nfrom vel2.bench import neve", []),
        ("errors.py", "from vel2.machine import qemu", ["vel2.machine.qemu"]),
    ],
)
def test_the_import_check_itself(module: str, source: str, found: list[str]) -> None:
    assert forbidden_imports(SRC / module, source) == found


@pytest.fixture(scope="module")
def declared() -> set[str]:
    """Give the distributions that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    requirements = project["dependencies"] + extras["check"] + extras["report"] + extras["trace"]
    return {distribution_name(requirement) for requirement in requirements}


@pytest.fixture(scope="module")
def providers() -> Mapping[str, list[str]]:
    """Give the distributions that bring each top-level name; it reads what every one installed."""
    return packages_distributions()


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_imported_libraries_are_declared(
    path: Path, declared: set[str], providers: Mapping[str, list[str]]
) -> None:
    """A library installed here by chance and missing from pyproject.toml breaks a fresh clone."""
    for name in imported_names(path, path.read_text()):
        top = name.split(".")[0]
        if top in ("vel2", "_typeshed") or top in sys.stdlib_module_names:
            continue
        found = {distribution_name(provider) for provider in providers.get(top, [])}
        assert found & declared, f"{name} comes from {sorted(found)}, not from {sorted(declared)}"


def distribution_name(requirement: str) -> str:
    """Give the normalised project name at the start of a requirement."""
    matched = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert matched
    return re.sub(r"[-_.]+", "-", matched[0]).lower()


@pytest.mark.parametrize("path", MODULES, ids=module_id)
def test_module_size(path: Path) -> None:
    source = path.read_text()
    lines = source.count("\n")
    assert lines <= LINES_MAX or is_table(source), (
        f"{path.relative_to(ROOT)} has {lines} lines; more than {LINES_MAX} is for pure tables:"
        " split it by subject"
    )


def test_a_table_holds_no_logic() -> None:
    assert is_table('"""Rows."""\nfrom x import Row\nROWS = [Row(n, 1 << 3) for n in (1, 2)]\n')
    assert not is_table("ROWS = [1]\ndef f() -> int:\n    return 1\n")
    assert not is_table("ROWS = []\nfor n in range(9):\n    ROWS.append(n)\n")


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_says_what_it_is_for(room: str) -> None:
    """The docstring answers: what lives here, what must not, who may import it."""
    docstring = ast.get_docstring(ast.parse((SRC / room / "__init__.py").read_text())) or ""
    if list((SRC / room).glob("*.py")) == [SRC / room / "__init__.py"]:
        pytest.skip(f"room {room} has no module yet; its docstring comes with the first")
    assert len(docstring.splitlines()) >= 3, f"{room}: {docstring!r}"
    assert "import" in docstring, f"{room}: who may import it?"


# --- what no tracked file may name ----------------------------------------------------------------

# Hosts that documents may link to. Package hosts are not among them: packages come from where the
# machine's own configuration says, and a name written down here would be wrong somewhere else.
LINKABLE = re.compile(
    r"(^|\.)(apache\.org|arm\.com|kernel\.org|qemu\.org|llvm\.org|github\.com|python\.org"
    r"|acm\.org|doi\.org|lwn\.net|devicetree\.org|xenproject\.org|readthedocs\.io)$"
    r"|(^|\.)example(\.(org|com|net))?$"
)
HOST = re.compile(r"(?<![\w@./-])((?:[a-z0-9-]+\.)+(?:com|org))(?![\w(=])")
URL_HOST = re.compile(r"(?:https?|ftp)://([A-Za-z0-9.-]+)")
# The character classes keep these patterns from finding themselves.
PLACES = re.compile(r"/wor[k]/|/tm[p]/plan|/opt/pyp[i]|/opt/wheel[s]|\.librar[y]/")


def tracked_texts() -> list[tuple[str, str]]:
    """Read every text file that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    texts = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        path = ROOT / name
        if not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" not in data:
            texts.append((name, data.decode()))
    return texts


def named_hosts(text: str) -> set[str]:
    """Give the host names a text names that may not be linked to."""
    hosts = set(URL_HOST.findall(text)) | set(HOST.findall(text))
    return {host for host in hosts if not LINKABLE.search(host)}


def test_no_tracked_file_names_a_package_host_or_a_private_place() -> None:
    found = []
    for name, text in tracked_texts():
        found += [f"{name}: {host}" for host in sorted(named_hosts(text))]
        found += [f"{name}: {place}" for place in sorted(set(PLACES.findall(text)))]
    assert found == []


def test_the_host_check_itself() -> None:
    host = ".".join(["mirror", "somewhere", "org"])
    assert named_hosts(f"see ftp://{host}:80/debian") == named_hosts(f"it is {host}.") == {host}
    assert named_hosts("https://developer.arm.com/x http://mirror.example/debian") == set()
    assert named_hosts("import io; self.net; context.org()") == set()
    assert PLACES.search("/".join(["", "work", "main"]))
