"""Every refusal of the subset says exactly what is written in refusals.txt, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lang.snippets import HEADER, load
from vel2.lang import SubsetError, lower_module, resident

CASES = [
    tuple(part.split("-----\n"))
    for part in (Path(__file__).parent / "refusals.txt").read_text().split("=====\n")[1:]
]


@pytest.mark.parametrize(("source", "expected"), CASES, ids=[case[1][:60] for case in CASES])
def test_refusal(source: str, expected: str, tmp_path: Path) -> None:
    module = load(tmp_path, source)
    with pytest.raises(SubsetError) as caught:
        lower_module(module.f)
    lines = str(caught.value).split("\n")
    del lines[1:2]
    assert "\n".join(lines) == expected.rstrip("\n")


def test_refusal_names_file_line_and_function(tmp_path: Path) -> None:
    module = load(tmp_path, "def f(x: u64) -> u64:\n    y = x\n    return (y +\n            1)\n")
    with pytest.raises(SubsetError) as caught:
        lower_module(module.f)
    line = HEADER.count("\n") + 3
    assert str(caught.value) == (
        "`y + 1` may leave 64 bits: write u64(...) around it, or mask it with &, before it is "
        f"returned\n  {module.__file__}:{line}, in f\n    return (y +\n            ^^^"
    )


def test_refusal_in_a_callee_names_the_callee(tmp_path: Path) -> None:
    module = load(tmp_path, "def g() -> u64:\n    return -1\ndef f() -> u64:\n    return g()\n")
    with pytest.raises(SubsetError, match=r", in g\n    return -1\n           \^\^$"):
        lower_module(module.f)


def test_indented_function_keeps_its_columns() -> None:
    @resident
    def inner(x: bool) -> bool:
        return x + 1  # type: ignore[return-value]

    with pytest.raises(SubsetError) as caught:
        lower_module(inner)
    assert str(caught.value).endswith(
        "    return x + 1  # type: ignore[return-value]\n           ^"
    )


def test_two_roots_of_one_name(tmp_path: Path) -> None:
    first = load(tmp_path, "def f() -> u64:\n    return 1\n")
    second = load(tmp_path, "def f() -> u64:\n    return 2\n")
    with pytest.raises(SubsetError) as caught:
        lower_module(first.f, second.f)
    assert str(caught.value) == ("two roots are named f: an assembler could not tell them apart")


def test_a_root_must_be_a_function() -> None:
    with pytest.raises(SubsetError) as caught:
        lower_module(int)
    assert str(caught.value) == "a root must be a function, not <class 'int'>"


def test_names_are_ascii(tmp_path: Path) -> None:
    module = load(tmp_path, "def f() -> u64:\n    größe = 1\n    return größe\n")
    with pytest.raises(SubsetError, match=r"^the name `größe` is not ASCII: rename it\n"):
        lower_module(module.f)
    commented = load(tmp_path, "def f() -> u64:\n    return 1  # größe\n")
    assert "return 1" in str(lower_module(commented.f))


def test_source_that_is_not_there() -> None:
    names: dict[str, object] = {}
    exec("def f() -> None:\n    pass\n", names)
    with pytest.raises(SubsetError) as caught:
        lower_module(names["f"])  # type: ignore[arg-type]
    assert str(caught.value) == "the source of f() cannot be read from <string>"
