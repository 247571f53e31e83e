"""Probes out of files: which functions are taken, and what is wrong with a file that has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from vel2.errors import UserError
from vel2.probes.place import Place, marked_place
from vel2.probes.source import load_probes

HEAD = """\
from vel2.hyp.records import Trap
from vel2.probes import Counters, probe

hits = Counters(1)
"""
MARKED = (
    HEAD
    + """
@probe(trap="ERET")
def first(trap: Trap) -> None:
    hits.add(0)

def second(trap: Trap) -> None:
    hits.add(0)

@probe(at="end")
def third(trap: Trap) -> None:
    hits.add(0)
"""
)


def written(directory: Path, text: str) -> str:
    path = directory / "mine.py"
    path.write_text(text)
    return str(path)


def test_all_marked_ones_in_their_order(tmp_path: Path) -> None:
    found = load_probes(written(tmp_path, MARKED))
    assert [each.__name__ for each in found] == ["first", "third"]
    assert marked_place(found[1]) == Place(site="end")


def test_one_by_name_marked_or_not(tmp_path: Path) -> None:
    (found,) = load_probes(written(tmp_path, MARKED) + ":second")
    assert found.__name__ == "second"
    assert marked_place(found) is None


def test_a_file_is_run_anew_each_time(tmp_path: Path) -> None:
    """Show that two machines do not share a file's maps by accident."""
    path = written(tmp_path, MARKED)
    first, second = load_probes(path)[0], load_probes(path)[0]
    assert first.__globals__["hits"] is not second.__globals__["hits"]


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        (
            HEAD,
            "",
            "{path} has no probe: mark a function with @probe(...), or name one: {path}:NAME.",
        ),
        (
            HEAD + "def f(trap: Trap) -> None:\n    hits.add(0)\n",
            "",
            "{path} has no probe: mark a function with @probe(...), or name one: {path}:f.",
        ),
        (MARKED, ":fourth", "{path} has no function fourth; it has first, second, third."),
        (MARKED, ":hits", "{path} has no function hits; it has first, second, third."),
        ("\n\nimport no_such_module\n", "", "{path}:3: ModuleNotFoundError: No module named"),
        ("def f(:\n", "", "{path}:1: SyntaxError: "),
        ("x = 1\nx.y\n", "", "{path}:2: AttributeError: 'int' object has no attribute 'y'."),
        (
            HEAD + "more = Counters(0)\n",
            "",
            "Counters cannot have 0 entries; give 1 to 65,536.",
        ),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, text: str, name: str, sentence: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UserError) as caught:
        load_probes(path + name)
    assert str(caught.value).startswith(sentence.format(path=path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_probes(f"{tmp_path}/none.py:f")
    assert str(caught.value) == (
        f"there is no file {tmp_path}/none.py; --probe takes FILE.py or FILE.py:NAME."
    )
