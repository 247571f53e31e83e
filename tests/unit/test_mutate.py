"""tools/mutate: its table fits the tree, and it tells what is caught from what is not.

Running all the bugs is slow; a few run here, in a tree made for the purpose and in the real one.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tools" / "mutate"
BUG = {
    "id": "wrong-sum",
    "kind": "boundary",
    "what": "One is added twice.",
    "file": "hyp/sums.py",
    "search": "+ 1",
    "replace": "+ 2",
    "tests": ("tests/test_sums.py::test_one",),
}
SOURCE = """\
@resident
def add(a: u64) -> u64:
    '''Add one.'''
    return a + 1


@inline
def is_small(a: u64) -> bool:
    '''Say so.'''
    if a < 5:
        return True
    return False


def helper(a: int) -> int:
    return a
"""
TESTS = """\
import sums


def test_one():
    assert sums.add(1) == 2


def test_none():
    assert sums.helper(3) == 3
"""


@pytest.fixture(scope="module")
def mutate() -> ModuleType:
    """Load the script, which has no suffix."""
    loader = importlib.machinery.SourceFileLoader("mutate", str(SCRIPT))
    spec = importlib.util.spec_from_loader("mutate", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutate"] = module
    loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make a small tree: one resident module and its tests."""
    (tmp_path / "src/vel2/hyp").mkdir(parents=True)
    (tmp_path / "tests").mkdir()
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    marks = "def resident(f): return f\ninline = resident\nu64 = int\n"
    (tmp_path / "src/vel2/hyp/sums.py").write_text(marks + SOURCE)
    path = "import sys\nsys.path.insert(0, 'src/vel2/hyp')\n"
    (tmp_path / "tests/test_sums.py").write_text(path + TESTS)
    return tmp_path


def bug(mutate: ModuleType, **changes: Any) -> Any:
    return mutate.Bug(**{**BUG, **changes})


def test_every_bug_fits_the_tree_and_names_tests_that_exist(mutate: ModuleType) -> None:
    """The table cannot go stale: a change that takes a bug's text away has to give it a new one."""
    bugs = mutate.read_bugs(ROOT / "tests" / "seeded")
    assert len(bugs) >= 55
    assert {one.kind for one in bugs} == set(mutate.KINDS)
    for one in bugs:
        assert one.mutant(ROOT).text != (ROOT / "src/vel2" / one.file).read_text()
        compile(one.mutant(ROOT).text, one.file, "exec")
        for test in one.tests:
            file, _, name = test.partition("::")
            assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(), one.id


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"search": "+ 7"}, "0 times in src/vel2/hyp/sums.py"),
        ({"search": "return a"}, "2 times in src/vel2/hyp/sums.py"),
    ],
)
def test_a_text_that_is_not_there_once_is_refused(
    mutate: ModuleType, tree: Path, changes: dict[str, str], why: str
) -> None:
    with pytest.raises(mutate.Refused, match=why):
        bug(mutate, **changes).mutant(tree)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "odd"}, "no kind of bug"),
        ({"tests": ()}, "names no test"),
        ({"tests": ("tests/hyp",)}, "names no test"),
        ({"replace": "+ 1"}, "what is there"),
    ],
)
def test_the_table_has_rules(mutate: ModuleType, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(mutate.Refused, match=why):
        mutate.audit([bug(mutate, **changes)])


def test_names_are_given_once_and_few_may_survive(mutate: ModuleType) -> None:
    with pytest.raises(mutate.Refused, match="two bugs"):
        mutate.audit([bug(mutate), bug(mutate)])
    with pytest.raises(mutate.Refused, match="more than 2"):
        mutate.audit([bug(mutate, id=str(n), survives="why") for n in range(3)])


@pytest.mark.parametrize(
    ("changes", "wrong", "said"),
    [
        ({}, 0, "caught   boundary   wrong-sum"),
        ({"search": "a < 5", "replace": "a < 6"}, 1, "SURVIVES boundary   wrong-sum"),
        ({"search": "a < 5", "replace": "a < 6", "survives": "no test"}, 0, "survives boundary"),
        ({"survives": "no test"}, 1, "CAUGHT   boundary"),
        ({"search": "def add", "replace": "def ad d"}, 1, "BROKEN   boundary"),
    ],
)
def test_each_end_is_told_from_the_others(
    mutate: ModuleType,
    tree: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    wrong: int,
    said: str,
) -> None:
    source = (tree / "src/vel2/hyp/sums.py").read_text()
    assert mutate.run_bugs(tree, [bug(mutate, **changes)], 1) == wrong
    assert said in capsys.readouterr().out
    assert (tree / "src/vel2/hyp/sums.py").read_text() == source


def test_a_test_that_fails_anyway_shows_nothing(mutate: ModuleType, tree: Path) -> None:
    (tree / "tests/test_sums.py").write_text("def test_one():\n    assert False\n")
    with pytest.raises(mutate.Refused, match="without any bug"):
        mutate.run_bugs(tree, [bug(mutate)], 1)


def test_every_body_is_replaced_once_for_each_nothing(mutate: ModuleType, tree: Path) -> None:
    path = Path("src/vel2/hyp/sums.py")
    bodies = list(mutate.bodies_of(tree, path))
    assert [name for name, _, _ in bodies] == [
        "sums.add: return 0",
        "sums.is_small: return False",
        "sums.is_small: return True",
    ]
    assert "return a + 1" not in bodies[0][2] and "if a < 5" in bodies[0][2]
    for _, _, text in bodies:
        compile(text, "sums.py", "exec")


SAMPLE = ("vector-fiq-irq", "mdscr-not-noted", "smc-tsc")


def test_a_few_bugs_are_caught(mutate: ModuleType) -> None:
    """All of them run in `make test-all`."""
    bugs = [one for one in mutate.read_bugs(ROOT / "tests" / "seeded") if one.id in SAMPLE]
    assert len(bugs) == len(SAMPLE)
    assert mutate.run_bugs(ROOT, bugs, 1) == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_bug_is_caught(mutate: ModuleType) -> None:
    assert mutate.run_bugs(ROOT, mutate.read_bugs(ROOT / "tests" / "seeded"), 2) == 0
