"""Instructions at virtual EL2: what traps and who answers, against the Arm ARM's rules for NV."""

from __future__ import annotations

import pytest

from vel2.arch import insn
from vel2.arch import sysregs as sr
from vel2.arch.a64 import system_instruction, system_move
from vel2.arch.nesting import Kind, Level
from vel2.errors import UserError
from vel2.explain.instruction import Access, decode, explain_insn, fate_at_vel2
from vel2.hyp.el2regs import TABLE

EL2_OP1 = 4
EL12_OP1 = 5


def test_a_move_is_decoded() -> None:
    # From binutils: msr hcr_el2, x3 is d51c1103; mrs x0, currentel is d5384240.
    access = decode(0xD51C1103)
    assert access is not None
    assert (access.text, access.is_read) == ("MSR HCR_EL2, x3", False)
    current_el = decode(0xD5384240)
    assert current_el is not None and current_el.text == "MRS x0, CurrentEL"
    tlbi = decode(0xD5088320)  # tlbi vae1is, x0
    assert tlbi is not None and tlbi.text == "TLBI VAE1IS, x0"


def test_what_fnv2_makes_memory_does_not_trap() -> None:
    assert explain_insn(0xD51C1103) == [
        "0xd51c1103  MSR HCR_EL2, x3",
        "at vEL2:",
        "   vhe nv2  no trap: FEAT_NV2 makes it a store to the VNCR page, at 0x78",
        "   vhe nv   traps: L0 does it (hyp.vhe.write_hcr)",
        "  nvhe nv2  no trap: FEAT_NV2 makes it a store to the VNCR page, at 0x78",
        "  nvhe nv   traps: L0 does it (hyp.vhe.write_hcr)",
        "at vEL1:    forwarded to L1 if HCR_EL2.NV is 1; L1 has HCR_EL2.NV with --recursion"
        " only, else it is UNDEFINED",
    ]


@pytest.mark.parametrize("kind", Kind)
def test_with_fnv_alone_every_register_of_el2_traps(kind: Kind) -> None:
    """HCR_EL2.NV: an access to an EL2, EL12 or EL02 name from EL1 is trapped to EL2."""
    of_el2 = [r.name for r in TABLE if r.name.encoding.op1 in (EL2_OP1, EL12_OP1)]
    assert len(of_el2) > 60
    for register in of_el2:
        for is_read in (True, False):
            access = Access(register.trap_key, is_read, 0)
            assert fate_at_vel2(access, kind, Level.NV).startswith("traps"), register.name


@pytest.mark.parametrize(("el2", "el1"), [("ELR_EL2", "ELR_EL1"), ("FAR_EL2", "FAR_EL1")])
def test_fnv2_redirects_to_el1(el2: str, el1: str) -> None:
    access = Access(sr.by_name(el2).trap_key, True, 0)
    expected = f"no trap: FEAT_NV2 makes it an access to hardware's {el1}"
    for kind in Kind:
        assert fate_at_vel2(access, kind, Level.NV2) == expected


def test_e2h_decides_what_an_el1_name_means() -> None:
    access = Access(sr.SCTLR_EL1.trap_key, False, 0)
    fates = {(k, v): fate_at_vel2(access, k, v) for k in Kind for v in Level}
    holds = "no trap: hardware's SCTLR_EL1 holds vEL2's SCTLR_EL2"
    assert fates[Kind.VHE, Level.NV2] == fates[Kind.VHE, Level.NV] == holds
    assert "VNCR page, at 0x110" in fates[Kind.NVHE, Level.NV2]
    assert fates[Kind.NVHE, Level.NV] == "traps: L0 writes the VNCR page at 0x110"


@pytest.mark.parametrize("name", ["TCR2_EL1", "SCTLR2_EL1"])
def test_vel2_uses_what_el2_may_use_whatever_hcrx_el2_says(name: str) -> None:
    """HCRX_EL2.{TCR2En,SCTLR2En} trap accesses of EL1; L0 sets them while vEL2 runs."""
    register = sr.by_name(name)
    for is_read in (True, False):
        access = Access(register.trap_key, is_read, 0)
        for level in Level:
            fate = fate_at_vel2(access, Kind.VHE, level)
            assert fate == f"no trap: hardware's {name} holds vEL2's {name[:-1]}2"
        assert "VNCR page" in (fate := fate_at_vel2(access, Kind.NVHE, Level.NV2))
        assert fate.startswith("no trap")
        assert fate_at_vel2(access, Kind.NVHE, Level.NV).startswith("traps")


def test_a_control_of_its_own_comes_before_the_page() -> None:
    """MRS ACTLR_EL1 asks HCR_EL2.TACR, which L0 sets, before it asks HCR_EL2.{NV,NV1,NV2}."""
    access = Access(sr.ACTLR_EL1.trap_key, True, 0)
    for kind in Kind:
        assert fate_at_vel2(access, kind, Level.NV2) == "traps: L0 reads the VNCR page at 0x118"


def test_the_virtual_count_traps_where_it_has_an_offset() -> None:
    access = Access(sr.CNTVCT_EL0.trap_key, True, 0)
    assert (
        fate_at_vel2(access, Kind.NVHE, Level.NV) == "traps: L0 does it (hyp.timer.virtual_count)"
    )
    assert fate_at_vel2(access, Kind.VHE, Level.NV) == "no trap: hardware's CNTVCT_EL0"


def test_a_hidden_register_is_undefined() -> None:
    access = Access(sr.LORC_EL1.trap_key, False, 0)
    assert "hidden from L1" in fate_at_vel2(access, Kind.VHE, Level.NV2)


def test_instructions_go_to_their_module() -> None:
    word = system_instruction(insn.AT.S1E1R.encoding)
    assert explain_insn(word)[2] == "   vhe nv2  traps: L0 does it (hyp.at)"
    assert explain_insn(word)[-1] == (
        "at vEL1:    forwarded to L1 if HCR_EL2.AT is 1, or HFGITR_EL2.ATS1E1R is 1;"
        " L1 has HCR_EL2.AT with --recursion only, else it is UNDEFINED"
    )


@pytest.mark.parametrize(
    ("word", "text"),
    [
        (0xD69F03E0, "ERET: traps at vEL2 (HCR_EL2.NV); L0 returns for L1 (hyp.eret)"),
        (0xD69F0FFF, "ERETAA or ERETAB: traps at vEL2; L0 authenticates (hyp.pauth)"),
        (0xD4000002, "HVC: at vEL2 L0 gives it to vEL2; at vEL1 it is forwarded to L1"),
        (0x8B000000, "no system instruction: virtual EL2 executes it as EL1 does"),
    ],
)
def test_instructions_without_a_register(word: int, text: str) -> None:
    assert explain_insn(word) == [f"{word:#010x}  {text}"]


def test_every_register_and_instruction_has_a_fate() -> None:
    for item in (*sr.ALL_REGISTERS, *insn.ALL_INSNS):
        for kind in Kind:
            for level in Level:
                assert fate_at_vel2(Access(item.trap_key, False, 0), kind, level)
    assert explain_insn(system_move(sr.VTTBR_EL2.encoding, is_read=True, rt=7))[0].endswith(
        "MRS x7, VTTBR_EL2"
    )


def test_what_is_no_instruction_is_refused() -> None:
    with pytest.raises(UserError) as refused:
        explain_insn(1 << 32)
    assert str(refused.value) == "0x100000000 is no instruction: an instruction of A64 has 32 bits."
