"""The IR of small functions, compared whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.lang.snippets import load
from vel2.lang import cold, lower_module, mrs, resident, u64
from vel2.lang.build import disassembly
from vel2.lang.ir import OPCODES, SystemName

CASES = [
    tuple(part.split("-----\n"))
    for part in (Path(__file__).parent / "golden_ir.txt").read_text().split("=====\n")[1:]
]


@pytest.mark.parametrize(("source", "expected"), CASES, ids=[c[0].split("\n")[0] for c in CASES])
def test_golden(source: str, expected: str, tmp_path: Path) -> None:
    assert str(lower_module(load(tmp_path, source).f)) == expected


def test_the_golden_cases_use_every_operation() -> None:
    """So that a change of the text or meaning of an operation is seen."""
    text = "".join(expected for _, expected in CASES)
    words = {word.split(".")[0] for line in text.split("\n") for word in line.split()}
    assert {op for op in OPCODES if op not in words} == set()


def test_functions_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    other = load(tmp_path, "def g() -> u64:\n    return 1\n")
    module = load(
        tmp_path, "def g() -> u64:\n    return 2\ndef f() -> u64:\n    return g() | h()\n"
    )
    module.h = other.g
    lowered = lower_module(module.f)
    assert list(lowered.functions) == ["f", "g", f"{other.__name__}.g"]


def test_closures_are_seen_through() -> None:
    registers = [SystemName("X", (3, 0, 1, 0, 0))]
    from vel2.arch.sysregs import SCTLR_EL1 as register

    @resident
    def read() -> u64:
        return mrs(register) & limit

    limit = len(registers)
    assert "mrs SCTLR_EL1\n  %1 = and %0, 1\n" in str(lower_module(read))


def test_what_is_cold_stays_where_it_is() -> None:
    """It is called, however small: LLVM must not expand it on the way of the others."""
    from vel2.arch.sysregs import SCTLR_EL1

    @cold
    def rare(value: u64) -> u64:
        return u64(mrs(SCTLR_EL1) + value)

    @resident
    def often(value: u64) -> u64:
        if value < 5:
            return rare(value)
        return value

    (name,) = (each for each in lower_module(often).functions if each.endswith("rare"))
    assert f"cold function {name}(" in str(lower_module(often))
    assert re.search(rf"\tbl?\t.*{re.escape(name)}", disassembly((often,)))


def test_trap_key_of_a_system_name_is_that_of_arch() -> None:
    from vel2.arch.sysregs import ALL_REGISTERS

    for register in ALL_REGISTERS:
        assert SystemName(register.name, register.encoding[:]).trap_key == register.trap_key
