"""System register accesses that trap at vEL2, and identification registers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.draw import WORDS
from tests.hyp.identification import RULES, Rule
from tests.hyp.rig import Rig, every_kind, fresh_rig, init_id_registers, rig_of
from vel2.arch import insn
from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding, Register, trap_key_from_iss
from vel2.arch.esr import EC, ESR_ELx
from vel2.arch.vncr import REDIRECTED_TO_EL1, redirected
from vel2.hyp import context, sysreg, trap
from vel2.hyp.homes import in_memory
from vel2.hyp.idregs import SHOWN
from vel2.hyp.selectors import ALL_COUNTERS
from vel2.hyp.state import CONTEXT_VEL1

VBAR = 0x9_0000
UNDEF = ESR_ELx.compose(EC=EC.UNKNOWN, IL=1)


def syndrome(encoding: Encoding, rt: int, read: bool) -> int:
    """Compose the syndrome of a trapped MRS or MSR, bit by bit as the Arm ARM lays it out."""
    op0, op1, crn, crm, op2 = encoding
    iss = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | rt << 5 | crm << 1 | read
    return 0x18 << 26 | 1 << 25 | iss


def access(rig: Rig, encoding: Encoding, rt: int, read: bool) -> None:
    """Trap on an access of vEL2."""
    rig[sr.VBAR_EL1] = VBAR
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000, 0b0101
    rig.run(trap.handle_sync, rig.vcpu, syndrome(encoding, rt, read))


def was_undefined(rig: Rig) -> bool:
    """Whether the last trap became an Undefined Instruction exception."""
    if rig.vcpu.pc == 0x1004:
        return False
    assert rig.vcpu.pc == VBAR + 0x200 and rig[sr.ESR_EL1] == UNDEF
    assert rig[sr.ELR_EL1] == 0x1000
    return True


def in_hardware(register: type[Register]) -> Callable[[Rig], int]:
    """Say where a register lives: in a hardware register."""
    return lambda rig: rig[register]


def in_memory_of(register: type[Register]) -> Callable[[Rig], int]:
    """Say where a register lives: in the memory of the vEL2 context."""
    index = in_memory(register)
    return lambda rig: rig.vcpu.vel2.memory[index]


def nowhere(rig: Rig) -> int:
    """Say where a register lives that is RES0."""
    return 0


ALL = (1 << 64) - 1
MDCR_BITS = 0xF00
"""TDE, TDA, TDOSA and TDRA (8 to 11): the rig's machine has neither PMU nor FEAT_FGT."""
HOMES = [
    (sr.SCTLR_EL2, in_hardware(sr.SCTLR_EL1), ALL),
    (sr.TCR_EL2, in_hardware(sr.TCR_EL1), ALL),
    (sr.TTBR0_EL2, in_hardware(sr.TTBR0_EL1), ALL),
    (sr.TTBR1_EL2, in_hardware(sr.TTBR1_EL1), ALL),
    (sr.MAIR_EL2, in_hardware(sr.MAIR_EL1), ALL),
    (sr.AMAIR_EL2, in_hardware(sr.AMAIR_EL1), ALL),
    (sr.VBAR_EL2, in_hardware(sr.VBAR_EL1), ALL),
    (sr.CONTEXTIDR_EL2, in_hardware(sr.CONTEXTIDR_EL1), ALL),
    (sr.AFSR0_EL2, in_hardware(sr.AFSR0_EL1), ALL),
    (sr.AFSR1_EL2, in_hardware(sr.AFSR1_EL1), ALL),
    (sr.CNTP_CTL_EL0, in_hardware(sr.CNTHP_CTL_EL2), ALL),
    (sr.CNTP_CVAL_EL0, in_hardware(sr.CNTHP_CVAL_EL2), ALL),
    (sr.CNTP_TVAL_EL0, in_hardware(sr.CNTHP_TVAL_EL2), ALL),
    (sr.CNTV_CTL_EL0, in_hardware(sr.CNTHV_CTL_EL2), ALL),
    (sr.CNTV_CVAL_EL0, in_hardware(sr.CNTHV_CVAL_EL2), ALL),
    (sr.CNTV_TVAL_EL0, in_hardware(sr.CNTHV_TVAL_EL2), ALL),
    (sr.CNTHP_CTL_EL2, in_hardware(sr.CNTHP_CTL_EL2), ALL),
    (sr.CNTHP_CVAL_EL2, in_hardware(sr.CNTHP_CVAL_EL2), ALL),
    (sr.CNTHV_CTL_EL2, in_hardware(sr.CNTHV_CTL_EL2), ALL),
    (sr.CNTHV_CVAL_EL2, in_hardware(sr.CNTHV_CVAL_EL2), ALL),
    (sr.HPFAR_EL2, lambda rig: rig.vcpu.hpfar, sr.HPFAR_EL2.FIPA.mask),
    (sr.MDCR_EL2, in_memory_of(sr.MDCR_EL2), MDCR_BITS),
    (sr.ACTLR_EL2, nowhere, 0),
    (sr.HACR_EL2, nowhere, 0),
    # RES0 where EL1 has AArch64 only (Arm ARM, SPSR_abt: "If EL1 only supports AArch64").
    (sr.SPSR_irq, nowhere, 0),
    (sr.SPSR_abt, nowhere, 0),
    (sr.SPSR_und, nowhere, 0),
    (sr.SPSR_fiq, nowhere, 0),
]


@pytest.mark.parametrize(
    "register", [sr.DACR32_EL2, sr.IFSR32_EL2, sr.FPEXC32_EL2, sr.DBGVCR32_EL2]
)
def test_what_only_an_el1_in_aarch32_has_is_undefined(register: type[Register]) -> None:
    """Show that these do not exist for an L1 whose EL1 has AArch64 only."""
    for read in (True, False):
        rig = fresh_rig()
        access(rig, register.encoding, 3, read)
        assert was_undefined(rig)


@pytest.mark.parametrize(("el3", "want"), [(0, 0x4_0000), (1, 0)])
def test_el2_is_the_highest_level_and_says_where_it_starts(el3: int, want: int) -> None:
    """Show that RVBAR_EL2 can be read, the machine's where it has one, and not be written."""
    rig = fresh_rig()
    rig[sr.RVBAR_EL2] = 0x4_0000
    rig[sr.ID_AA64PFR0_EL1] = sr.ID_AA64PFR0_EL1.EL3.put(el3)
    access(rig, sr.RVBAR_EL2.encoding, 3, True)
    assert not was_undefined(rig) and rig.vcpu.x[3] == want
    rig = fresh_rig()
    access(rig, sr.RVBAR_EL2.encoding, 3, False)
    assert was_undefined(rig)


FP_TRAP = ESR_ELx.compose(EC=EC.FP_ASIMD, IL=1) | 1 << 24 | 0b1110 << 20


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("fpen", range(4))
@pytest.mark.parametrize("zen", range(4))
def test_zcr_el2_traps_to_vel2_itself(zen: int, fpen: int, read: bool) -> None:
    """Show that CPTR_EL2.ZEN, and after it FPEN, trap EL2's own access when their bit 0 is 0."""
    rig = fresh_rig()
    rig.vm.probed.has_sve = rig.vm.probed.cpacr_holds_cptr = 1
    rig[sr.CPACR_EL1] = zen << 16 | fpen << 20
    rig[sr.ZCR_EL1] = 0x3
    rig.vcpu.x[3] = 0x1
    access(rig, sr.ZCR_EL2.encoding, 3, read)
    if zen & 1 and fpen & 1:
        assert rig.vcpu.pc == 0x1004
        assert (rig.vcpu.x[3], rig[sr.ZCR_EL1]) == ((3, 3) if read else (1, 1))
    else:
        assert rig.vcpu.pc == VBAR + 0x200
        assert rig[sr.ESR_EL1] == (FP_TRAP if zen & 1 else ESR_ELx.compose(EC=EC.SVE, IL=1))
        assert (rig.vcpu.x[3], rig[sr.ZCR_EL1]) == (1, 3)


@pytest.mark.parametrize(("register", "home", "bits"), HOMES, ids=lambda x: getattr(x, "name", ""))
def test_each_el2_register_has_its_home(
    register: type[Register], home: Callable[[Rig], int], bits: int
) -> None:
    """Show that a write at vEL2 reaches the register's home, masked, and reads back from there."""
    for rt in (0, 7, 30):
        for value in (ALL, 0x0123_4567_89AB_CDEF, 0):
            rig = fresh_rig()
            rig.vcpu.x[rt] = value
            access(rig, register.encoding, rt, False)
            if register is sr.VBAR_EL2:
                assert rig.vcpu.pc == 0x1004
            else:
                assert not was_undefined(rig)
            assert home(rig) == value & bits
            rig.vcpu.x[rt] = 0x5A5A
            rig.run(trap.handle_sync, rig.vcpu, syndrome(register.encoding, rt, True))
            assert rig.vcpu.x[rt] == value & bits


@pytest.mark.parametrize("value", [0, 1, 2, ALL])
def test_el2_is_the_highest_level_and_manages_its_reset(value: int) -> None:
    """Show that RMR_EL2 has AA64 alone, whatever is written: there is no warm reset."""
    rig = fresh_rig()
    rig.vcpu.x[3] = value
    access(rig, sr.RMR_EL2.encoding, 3, False)
    assert rig.vcpu.pc == 0x1004
    rig.run(trap.handle_sync, rig.vcpu, syndrome(sr.RMR_EL2.encoding, 3, True))
    assert rig.vcpu.x[3] == 1


@pytest.mark.parametrize("read", [False, True])
def test_xzr_is_read_as_zero_and_never_written(read: bool) -> None:
    """Show that Rt = 31 is the zero register, not what follows x30 in memory."""
    rig = fresh_rig()
    rig[sr.TCR_EL1] = 0x77
    access(rig, sr.TCR_EL2.encoding, 31, read)
    assert rig.vcpu.pc == 0x1004
    assert rig[sr.TCR_EL1] == (0x77 if read else 0)
    assert list(rig.vcpu.x) == [0] * 31


KNOWN_AT_VEL2 = {register.trap_key for register, _, _ in HOMES} | {
    register.trap_key
    for register in (
        *(sr.CPTR_EL2, sr.CPACR_EL1, sr.CNTHCTL_EL2, sr.CNTKCTL_EL12, sr.ICC_SRE_EL2, sr.RMR_EL2),
        *(sr.ICH_VTR_EL2, sr.ICH_MISR_EL2, sr.ICH_EISR_EL2, sr.ICH_ELRSR_EL2),
        *(sr.CNTHP_TVAL_EL2, sr.CNTHV_TVAL_EL2, sr.ACTLR_EL1),
        *(sr.CNTP_TVAL_EL02, sr.CNTV_TVAL_EL02, sr.RVBAR_EL2),
    )
}
HARDWARE_ABSORBS = {
    *redirected(NV1=False),
    *(sr.by_name(name).trap_key for name, _ in REDIRECTED_TO_EL1),
}
HIDDEN_EL2 = [
    register
    for register in sr.ALL_REGISTERS
    if register.encoding.op0 == 3
    and register.encoding.op1 in (4, 5)
    and register.trap_key not in KNOWN_AT_VEL2 | HARDWARE_ABSORBS
]


@pytest.mark.parametrize("read", [False, True], ids=["write", "read"])
def test_registers_of_hidden_features_are_undefined(read: bool) -> None:
    """Show for every EL2 and EL12 register that is not offered: UNDEF, nothing changed."""
    assert len(HIDDEN_EL2) > 30
    offered = []
    for register in HIDDEN_EL2:
        rig = fresh_rig()
        rig.vcpu.x[3] = 0x5A5A
        access(rig, register.encoding, 3, read)
        if rig.vcpu.pc == 0x1004:
            offered.append(register.name)
            continue
        assert was_undefined(rig) and rig.vcpu.x[3] == 0x5A5A
        changed = {name for name in ("hpfar",) if getattr(rig.vcpu, name)}
        assert not changed and not any(rig.vcpu.vel2.memory)
    assert set(offered) <= {"CNTPOFF_EL2"}, offered


@settings(max_examples=80)
@given(
    op0=st.sampled_from((2, 3)),
    op1=st.integers(0, 7),
    CRn=st.integers(0, 15),
    CRm=st.integers(0, 15),
    op2=st.integers(0, 7),
    read=st.booleans(),
)
def test_an_unknown_register_is_undefined(
    op0: int, op1: int, CRn: int, CRm: int, op2: int, read: bool
) -> None:
    """Show that an encoding nobody knows is UNDEFINED at vEL2 and changes no register."""
    encoding = Encoding(op0, op1, CRn, CRm, op2)
    if sr.by_key(encoding.trap_key) is not None or (op0, op1, CRn) == (3, 0, 0):
        return
    rig = fresh_rig()
    access(rig, encoding, 0, read)
    assert was_undefined(rig)
    assert rig.vcpu.x[0] == 0 and not any(rig.vcpu.vel2.memory)


def test_an_unknown_instruction_is_undefined() -> None:
    """Show that system instructions L0 does not emulate are UNDEFINED at vEL2."""
    for name in ("AT S1E3R", "TLBI ALLE3", "TLBI PAALL", "COSP RCTX", "DC CIPAE"):
        rig = fresh_rig()
        access(rig, insn.by_name(name).encoding, 0, False)
        assert was_undefined(rig), name


@settings(max_examples=100)
@given(iss=st.integers(0, (1 << 22) - 1))
def test_the_key_is_the_encodings(iss: int) -> None:
    """Show that L0 decodes a syndrome as the register tables do."""
    assert sysreg.key_of(0x18 << 26 | 1 << 25 | iss) == trap_key_from_iss(iss)


CPACR_BITS = sr.CPACR_EL1.compose(ZEN=3, FPEN=3, SMEN=3, TTA=1)
"""What hardware's CPACR_EL1 has without FEAT_NV2p1."""


@settings(max_examples=30)
@given(value=WORDS, read_by=st.sampled_from((sr.CPTR_EL2, sr.CPACR_EL1)))
def test_cptr_keeps_what_cpacr_cannot(value: int, read_by: type[Register]) -> None:
    """Show that without FEAT_NV2p1 CPTR_EL2 reads back all of its bits, whichever name reads it."""
    rig = fresh_rig()
    rig.vcpu.x[1] = value
    access(rig, sr.CPTR_EL2.encoding, 1, False)
    cpacr = CPACR_BITS
    rig[sr.CPACR_EL1] &= cpacr
    access(rig, read_by.encoding, 2, True)
    known = sr.CPTR_EL2_E2H.known
    assert rig.vcpu.x[2] & known == value & known
    assert rig[sr.CPACR_EL1] & cpacr == value & cpacr


@settings(max_examples=30)
@given(cnthctl=WORDS, cntkctl=WORDS, holds=st.booleans())
def test_cnthctl_is_one_register_in_two_places(cnthctl: int, cntkctl: int, holds: bool) -> None:
    """Show that CNTHCTL_EL2 joins what L1 wrote by CNTKCTL_EL1, untrapped, and by its own name."""
    rig = fresh_rig()
    rig.vm.probed.cntkctl_holds_cnthctl = int(holds)
    rig.vcpu.x[1] = cnthctl
    access(rig, sr.CNTHCTL_EL2.encoding, 1, False)
    visible = 0x2_03FF
    kept = ALL if holds else visible
    rig[sr.CNTKCTL_EL1] = cntkctl & kept
    access(rig, sr.CNTHCTL_EL2.encoding, 2, True)
    assert rig.vcpu.x[2] == (cntkctl if holds else cntkctl & visible | cnthctl & ~visible)


@settings(max_examples=20)
@given(value=WORDS)
def test_cntkctl_el12_is_l2s(value: int) -> None:
    """Show that CNTKCTL_EL12 is what hardware's CNTKCTL_EL1 has once L2 runs."""
    rig = fresh_rig()
    rig.vcpu.x[1] = value
    access(rig, sr.CNTKCTL_EL12.encoding, 1, False)
    rig.run(context.enter_vel1, rig.vcpu)
    assert rig[sr.CNTKCTL_EL1] == value & 0x2_03FF


def test_the_gic_says_what_it_has() -> None:
    """Show ICC_SRE_EL2 fixed, and ICH_VTR_EL2 without direct injection."""
    rig = fresh_rig()
    rig[sr.ICH_VTR_EL2] = ALL & ~sr.ICH_VTR_EL2.nV4.mask
    rig.vcpu.x[1] = 0
    access(rig, sr.ICC_SRE_EL2.encoding, 1, False)
    assert not was_undefined(rig)
    access(rig, sr.ICC_SRE_EL2.encoding, 2, True)
    assert rig.vcpu.x[2] == 0xF
    access(rig, sr.ICH_VTR_EL2.encoding, 3, True)
    assert sr.ICH_VTR_EL2.nV4.get(rig.vcpu.x[3]) == 1
    assert sr.ICH_VTR_EL2.DVIM.get(rig.vcpu.x[3]) == 0
    assert sr.ICH_VTR_EL2.ListRegs.get(rig.vcpu.x[3]) == 31


ID_SPACE = [Encoding(3, 0, 0, CRm, op2) for CRm in range(1, 8) for op2 in range(8)]
BY_KEY = {register.trap_key: rules for register, rules in RULES}


@settings(max_examples=25)
@given(words=st.lists(WORDS, min_size=len(ID_SPACE), max_size=len(ID_SPACE)))
def test_identification_registers_show_only_what_the_rules_allow(words: list[int]) -> None:
    """Show for any machine: each field kept, capped or fixed by its rule, and every other one 0."""
    rig = fresh_rig()
    for encoding, word in zip(ID_SPACE, words, strict=True):
        rig.sim.registers[encoding.trap_key] = word
    rig.vm.probed.selectors = ALL_COUNTERS
    rig.run(init_id_registers, rig.vm)
    for encoding, word in zip(ID_SPACE, words, strict=True):
        seen = rig.vm.probed.id_registers[encoding.CRm * 8 + encoding.op2]
        expected = 0
        for rule in BY_KEY.get(encoding.trap_key, ()):
            field = rule.field.get(word)
            if rule.rule is Rule.CAP:
                field = min(field, rule.value)
            elif rule.rule is Rule.SET:
                field = rule.value
            expected |= field << rule.field.lsb
        assert seen == expected, encoding.generic_name


MUST_HIDE = {
    sr.ID_AA64PFR0_EL1: ("SVE", "MPAM", "AMU", "SEL2", "RME"),
    sr.ID_AA64PFR1_EL1: ("MTE", "SME", "NMI", "GCS", "RAS_frac", "MPAM_frac"),
    sr.ID_AA64DFR0_EL1: ("PMSVer", "TraceVer", "PMSS", "SEBEP", "TraceFilt", "TraceBuffer", "BRBE"),
    sr.ID_AA64ISAR0_EL1: ("TME",),
    sr.ID_AA64ISAR1_EL1: ("LS64",),
    sr.ID_AA64ISAR2_EL1: ("MOPS",),
    sr.ID_AA64MMFR0_EL1: ("ExS",),
    sr.ID_AA64MMFR1_EL1: ("LO", "TWED", "CMOW"),
    sr.ID_AA64MMFR2_EL1: ("NV", "ST", "VARange", "LSM"),
    sr.ID_AA64MMFR3_EL1: ("S1PIE", "S1POE"),
    sr.ID_AA64ZFR0_EL1: ("SVEver",),
    sr.ID_AA64SMFR0_EL1: ("FA64",),
}


def test_features_whose_state_is_not_switched_are_hidden() -> None:
    """Show, by name, that L1 sees nothing of what L0 does not virtualize, whatever there is."""
    rig = fresh_rig()
    for encoding in ID_SPACE:
        rig.sim.registers[encoding.trap_key] = 0x7777_7777_7777_7777
    rig.run(init_id_registers, rig.vm)
    for register, names in MUST_HIDE.items():
        index = register.encoding.CRm * 8 + register.encoding.op2
        for name in names:
            field = register.field(name)
            assert field.get(rig.vm.probed.id_registers[index]) == 0, field


def test_rows_have_distinct_registers() -> None:
    indices = [row.index for row in SHOWN]
    assert len(set(indices)) == len(indices)
    assert all(8 <= index < 64 for index in indices)


@pytest.mark.parametrize("ctx", ["vEL2", "vEL1"])
@pytest.mark.parametrize("encoding", ID_SPACE, ids=lambda encoding: encoding.generic_name)
def test_the_whole_space_reads_as_the_table(encoding: Encoding, ctx: str) -> None:
    """Show that every encoding of HCR_EL2.TID3's space reads the VM's value, also from L2."""
    rig = fresh_rig()
    index = encoding.CRm * 8 + encoding.op2
    rig.vm.probed.id_registers[index] = 0xAB_0000 + index
    if ctx == "vEL1":
        rig.prepare(context.enter_vel1, rig.vcpu)
    access(rig, encoding, 9, True)
    assert rig.vcpu.pc == 0x1004
    assert rig.vcpu.x[9] == 0xAB_0000 + index
    assert rig.vcpu.context == (CONTEXT_VEL1 if ctx == "vEL1" else 0)


@every_kind
@pytest.mark.parametrize("written", [0, sr.HCR_EL2.E2H.mask])
def test_e2h_reads_as_it_is_after_the_next_trap(kind: str, written: int) -> None:
    """Show HCR_EL2.E2H, written unseen under FEAT_NV2: RES1 for a VHE guest, else as written.

    Kernels that do not know ID_AA64MMFR4_EL1.E2H0 find out by writing 0 and reading it back.
    """
    rig = rig_of(kind)
    rig.set_slot(sr.HCR_EL2, sr.HCR_EL2.RW.mask | written)
    access(rig, sr.CNTHCTL_EL2.encoding, 5, True)
    expected = sr.HCR_EL2.E2H.mask if rig.vcpu.e2h else written
    assert rig.slot(sr.HCR_EL2) == sr.HCR_EL2.RW.mask | expected


@pytest.mark.parametrize("kind", ["vhe-nv", "nvhe-nv"])
def test_only_a_vhe_guest_can_set_e2h(kind: str) -> None:
    """Show HCR_EL2.E2H with FEAT_NV alone, where writing it traps: RES0 without FEAT_VHE."""
    rig = rig_of(kind)
    rig.vcpu.e2h = 0
    rig.vcpu.x[5] = sr.HCR_EL2.compose(E2H=1, RW=1)
    access(rig, sr.HCR_EL2.encoding, 5, False)
    assert rig.vcpu.e2h == int(kind == "vhe-nv")
    assert rig.slot(sr.HCR_EL2) == sr.HCR_EL2.compose(RW=1, E2H=rig.vcpu.e2h)


@every_kind
def test_a_hidden_register_is_undefined_whatever_l1_asks(kind: str) -> None:
    """Show L2's access to a register of a hidden feature: UNDEFINED at EL1, no trap to L1."""
    rig = rig_of(kind)
    rig.set_slot(sr.HCR_EL2, (1 << 64) - 1 & ~(sr.HCR_EL2.E2H.mask | sr.HCR_EL2.TGE.mask))
    for register in (sr.HFGRTR_EL2, sr.HDFGRTR_EL2):
        rig.set_slot(register, (1 << 64) - 1)
    rig.vm.probed.has_fgt = 1
    rig.prepare(context.enter_vel1, rig.vcpu)
    access(rig, sr.LORC_EL1.encoding, 5, True)
    assert was_undefined(rig)
    assert rig.vcpu.context == CONTEXT_VEL1
