"""Values of registers in words: fields, what is wrong with them, what they make trap."""

from __future__ import annotations

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC
from vel2.arch.trap_rows import CLASS_ROWS
from vel2.errors import UserError
from vel2.explain.effects import conditions_of, effects_of
from vel2.explain.register import describe_register, explain_value, fields_of, find_register


def line_of(register: str, value: int, field: str) -> list[str]:
    """Give the lines about one field: its own, and what it makes trap."""
    lines = explain_value(find_register(register), value)
    first = next(n for n, line in enumerate(lines) if f" {field} = " in line)
    last = first + 1
    while last < len(lines) and lines[last].startswith("         "):
        last += 1
    return [line.strip() for line in lines[first:last]]


def test_a_control_says_what_it_makes_trap_while_it_acts() -> None:
    assert line_of("HCR_EL2", sr.HCR_EL2.compose(TID5=1), "TID5") == [
        "58  TID5 = 1",
        "traps accesses of GMID_EL1",
    ]
    assert line_of("HCR_EL2", 0, "TID5") == ["58  TID5 = 0"]


def test_an_enable_traps_while_it_is_clear() -> None:
    assert line_of("HCR_EL2", 0, "EnSCXT")[1].startswith("traps accesses of SCXTNUM_EL0")
    assert line_of("HCR_EL2", sr.HCR_EL2.compose(EnSCXT=1), "EnSCXT") == ["53  EnSCXT = 1"]


def test_a_trap_with_a_class_of_its_own_is_named() -> None:
    assert line_of("HCR_EL2", sr.HCR_EL2.compose(TWI=1), "TWI")[1] == "traps WFI, WFIT"


def test_a_fine_grained_bit_covers_its_namesake() -> None:
    assert line_of("HFGWTR_EL2", 1, "AFSR0_EL1")[1] == "traps writes of AFSR0_EL1"
    assert line_of("HFGRTR_EL2", 1, "AFSR0_EL1")[1] == "traps reads of AFSR0_EL1"


def test_what_else_a_trap_needs_is_said() -> None:
    (effect,) = [e for e in effects_of(sr.HCR_EL2.NV2) if "VBAR_EL1" in e.names]
    assert effect.besides == "HCR_EL2.NV is 1 and HCR_EL2.NV1 is 1"
    assert conditions_of("TVM_TRVM") == "HCR_EL2.TVM is 1 or HCR_EL2.TRVM is 1"


def test_wrong_reserved_bits_are_named() -> None:
    wrong = [part for part in fields_of(sr.VBAR_EL2, 0x7FF) if part.wrong]
    assert [(part.field.bits, part.value, part.wrong) for part in wrong] == [
        ("10:0", 0x7FF, "RES0 bits are set")
    ]
    lines = explain_value(sr.CPTR_EL2, 0)
    assert any("WRONG: RES1 bits are clear" in line for line in lines)


def test_a_field_with_named_values_says_the_name() -> None:
    assert "NO_TRAP" in line_of("CPTR_EL2_E2H", 3 << 20, "FPEN")[0]


def test_a_register_is_described_without_a_value() -> None:
    assert describe_register(sr.SCTLR_EL1)[:3] == [
        "SCTLR_EL1: S3_0_C1_C0_0, read and written",
        "means SCTLR_EL2 at EL2 with HCR_EL2.E2H=1",
        "in the VNCR page at 0x110",
    ]


def test_names_are_found_in_any_case() -> None:
    assert find_register("hcr_el2") is sr.HCR_EL2
    assert find_register("APIAKEYLO_EL1").name == "APIAKeyLo_EL1"


def test_what_is_no_register_and_no_value_is_refused() -> None:
    with pytest.raises(UserError) as refused:
        find_register("HCR_EL3")
    assert str(refused.value) == (
        "HCR_EL3 is not a register known here; the nearest are HCR_EL2, HCRX_EL2, HACR_EL2;"
        " `vel2 explain` takes a name as Arm writes it."
    )
    with pytest.raises(UserError) as refused:
        explain_value(sr.HCR_EL2, 1 << 64)
    assert str(refused.value) == (
        "0x10000000000000000 is no value of HCR_EL2, which has 64 bits;"
        " give 0 to 0xffffffffffffffff."
    )


@pytest.mark.parametrize("row", CLASS_ROWS, ids=lambda row: f"{row.register}.{row.field}")
def test_class_rows_name_what_there_is(row) -> None:  # type: ignore[no-untyped-def]
    field = sr.by_name(row.register).field(row.field)
    assert all(value <= field.ones for value in row.traps_when)
    assert all(ec in set(EC) for ec in row.ec)


def test_every_register_can_be_explained() -> None:
    for register in sr.ALL_REGISTERS:
        for value in (0, (1 << 64) - 1):
            assert explain_value(register, value)[0] == f"{register.name} = {value:#x}"
        assert describe_register(register)
