"""The terms of `--only`: what they let through, and what is none."""

from __future__ import annotations

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC
from vel2.arch.insn import TLBI
from vel2.errors import UserError
from vel2.trace.filters import Wanted, parse
from vel2.trace.schema import Kind, Place, Vector


def test_no_term_is_everything() -> None:
    found = parse([])
    assert found == Wanted()
    assert found.classes == frozenset(range(64))
    assert found.kinds | {Kind.TRAP} == frozenset(Kind)


def test_terms_of_what_add_up() -> None:
    found = parse(["ec:hvc64", "ec:0x18", "ec:IRQ", "sysreg:hcr_el2", "kind:fill"])
    assert found.classes == {EC.HVC64, EC.SYS64}
    assert found.vectors == {Vector.IRQ}
    assert found.registers == {sr.HCR_EL2.trap_key}
    assert found.kinds == {Kind.FILL, Kind.AHEAD}, "who writes a register may do so ahead"
    assert found.places == Wanted().places and found.ranges == ()


def test_an_instruction_is_named_as_arm_writes_it() -> None:
    assert parse(["sysreg:TLBI  vmalle1"]).registers == {TLBI.VMALLE1.trap_key}


def test_an_eret_is_one_too_that_the_vectors_do() -> None:
    found = parse(["ec:ERET"])
    assert (found.classes, found.kinds) == ({EC.ERET}, {Kind.ERET})


@pytest.mark.parametrize(
    ("term", "places"),
    [
        ("from:L1", {Place.L1_EL2, Place.L1_EL2_EL0, Place.L1_EL1, Place.L1_EL0}),
        ("from:l2", {Place.L2_EL1, Place.L2_EL0, Place.L2_EL2, Place.L2_EL2_EL0}),
        ("from:L2-EL0", {Place.L2_EL0}),
        ("from:L1 vEL2", {Place.L1_EL2}),
    ],
)
def test_a_place_narrows_everything(term: str, places: set[Place]) -> None:
    found = parse([term])
    assert found.places == places
    assert (found.classes, found.kinds) == (Wanted().classes, Wanted().kinds)


def test_addresses_narrow_too() -> None:
    found = parse(["ec:HVC64", "pc:0x1000-0x1fff", "pc:64", "pc:kvm_entry"], lambda name: [(5, 9)])
    assert found.ranges == ((0x1000, 0x1FFF), (64, 64), (5, 9))
    assert found.classes == {EC.HVC64}


@pytest.mark.parametrize(
    ("terms", "said"),
    [
        (["HCR_EL2"], "--only HCR_EL2 says nothing to trace; begin it with ec:, sysreg:"),
        (["ec:NONE"], "--only ec:NONE says nothing to trace; give a class by Arm's name"),
        (["ec:0x40"], "a class is a number up to 0x3f"),
        (["sysreg:HCR_EL9"], "--only sysreg:HCR_EL9 says nothing to trace; give a register"),
        (["kind:exit"], "kinds are TRAP, ERET, AHEAD, SWITCH"),
        (["from:L3"], "give L1, L2, or one of L1-EL2, L1-EL2-EL0"),
        (["from:L0"], "give L1, L2"),
        (["pc:9-1"], "give an address, or the first and the last"),
        (["pc:0x"], "give an address"),
        (["pc:kvm_entry"], "nobody knows where 'kvm_entry' is before it runs"),
        ([f"pc:{n}" for n in range(17)], "17 ranges of addresses are too many; L0 takes 16."),
    ],
)
def test_what_is_no_term_is_refused(terms: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(terms)
    assert said in str(caught.value)


def test_a_function_that_no_kernel_has() -> None:
    with pytest.raises(UserError, match="no kernel that runs has such a function"):
        parse(["pc:no_such"], lambda name: [])
