"""What lowering knows at compile time, and when it may no longer know it."""

from __future__ import annotations

from pathlib import Path

from tests.lang.snippets import load
from vel2.lang import Jit, lower_module


def body(source: str, tmp_path: Path) -> str:
    """Give the IR of the function f."""
    return str(lower_module(load(tmp_path, source).f))


def call(source: str, tmp_path: Path, *arguments: int) -> int:
    """Run f natively and in CPython, which must agree."""
    module = load(tmp_path, source)
    found: int = Jit(module.f).call(module.f, *arguments)
    assert found == module.f(*arguments)
    return found


def test_a_name_stays_known_when_all_ways_agree(tmp_path: Path) -> None:
    text = body(
        "def f(x: u64) -> u64:\n"
        "    if x:\n"
        "        r = HCR_EL2\n"
        "    elif x > 3:\n"
        "        return 0\n"
        "    else:\n"
        "        r = HCR_EL2\n"
        "    return mrs(r)\n",
        tmp_path,
    )
    assert text.count("mrs HCR_EL2") == 1


def test_equal_items_are_separate_rounds(tmp_path: Path) -> None:
    source = (
        "def f(x: u64) -> u64:\n    for n in (1, 1, 1):\n        x = u64(x + n)\n    return x\n"
    )
    assert call(source, tmp_path, 4) == 7


def test_code_after_a_certain_exit_is_not_lowered(tmp_path: Path) -> None:
    text = body(
        "def f(x: u64) -> u64:\n"
        "    if x or True:\n"
        "        return 1\n"
        "    return this_is_never_looked_up\n",
        tmp_path,
    )
    assert "return 1" in text


def test_dead_arms_are_not_lowered(tmp_path: Path) -> None:
    text = body(
        "def f(x: u64) -> u64:\n"
        "    for row in ROWS:\n"
        "        value = row[1] if row[0] is HCR_EL2 else missing\n"
        "        if row[1] != 1:\n"
        "            x = mrs(missing)\n"
        "        elif value == 1:\n"
        "            break\n"
        "    return x\n",
        tmp_path,
    )
    assert "missing" not in text


def test_a_root_may_be_named_twice_and_share_its_name(tmp_path: Path) -> None:
    first = load(tmp_path, "def f(x: u64) -> u64:\n    return x\n")
    second = load(tmp_path, "def f(x: u64) -> u64:\n    return u64(x + 1)\n")
    assert len(lower_module(first.f, first.f).functions) == 1
    jit = Jit(first.f, second.f)
    assert (jit.call(first.f, 4), jit.call(second.f, 4)) == (4, 5)


def test_a_loop_forgets_what_its_body_changes(tmp_path: Path) -> None:
    """`n` is 3 before the loop only; the compiler must not take it as 3 in the condition."""
    source = (
        "def f(x: u64) -> u64:\n    n = 3\n    while n < x:\n        n = u64(n * 2)\n    return n\n"
    )
    assert call(source, tmp_path, 100) == 192


def test_the_target_of_a_range_may_be_assigned(tmp_path: Path) -> None:
    source = (
        "def f(x: u64) -> u64:\n"
        "    for i in range(5):\n"
        "        x = u64(x * 10 + i)\n"
        "        i = 100\n"
        "    return u64(x * 1000 + i)\n"
    )
    source = source.replace("    for", "    i = 0\n    for", 1)
    assert call(source, tmp_path, 0) == 1234100


def test_range_arguments_are_evaluated_once(tmp_path: Path) -> None:
    source = (
        "def f(x: u64) -> u64:\n"
        "    n = x\n"
        "    for i in range(n):\n"
        "        n = 0\n"
        "        x = u64(x + i)\n"
        "    return x\n"
    )
    assert call(source, tmp_path, 5) == 15


def test_every_counted_loop_runs_as_often_as_in_python(tmp_path: Path) -> None:
    source = "def f(a: u64, b: u64) -> u64:\n    n = 1\n"
    for step in (1, 2, 3, -1, -2, -3):
        source += f"    for i in range(a, b, {step}):\n        n = u64(n * 31 + i)\n"
    source += "    for i in range(a, -1, -2):\n        n = u64(n * 31 + i)\n    return n\n"
    module = load(tmp_path, source)
    jit = Jit(module.f)
    for a in range(8):
        for b in range(8):
            assert jit.call(module.f, a, b) == module.f(a, b), (a, b)


def test_counted_loops_at_the_end_of_64_bits(tmp_path: Path) -> None:
    source = (
        "def f(a: u64, b: u64) -> u64:\n"
        "    n = 0\n"
        "    for i in range(a, b, 3):\n"
        "        n = u64(n * 31 + i)\n"
        "    for i in range(b, a, -2):\n"
        "        n = u64(n * 31 + i)\n"
        "    return n\n"
    )
    module = load(tmp_path, source)
    jit = Jit(module.f)
    top = (1 << 64) - 1
    for start in range(top - 9, top + 1):
        assert jit.call(module.f, start, top) == module.f(start, top), start
