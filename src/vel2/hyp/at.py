"""AT from vEL2 (AArch64.AT). The result goes to PAR_EL1, which vEL2 and vEL1 share.

- S1E2*, and S1E0*/S1E1* with TGE=1 (E2H=1), translate in L1's own regime, which is the one
  hardware's EL1 has: the EL1 form is run as it is.
- S1E0*/S1E1* with TGE=0 and S12* translate in the regime of L1's guest: the context is changed, the
  guest's stage-1 tables are made reachable in the shadow stage 2, hardware's AT is run, and the
  context is changed back. For S12* the output is then walked through L1's stage 2. Because L1's
  physical memory is the machine's at the same address, hardware's answer is L1's answer.

AT does not access the address it finds, but it reads tables. A table where L1 has no memory is an
External abort on the walk, which is an exception and not a result in PAR_EL1; hardware's AT would
take it to L0, so the tables are looked at first, in either regime.
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, FSC, ISS_DABT, ESR_ELx
from vel2.arch.homes import slot
from vel2.arch.insn import AT, SysInsn
from vel2.arch.pstate import SPSR_ELx
from vel2.hyp import memattr, shadow
from vel2.hyp.context import enter_vel1, enter_vel2
from vel2.hyp.outcome import Outcome
from vel2.hyp.stage2 import is_ram
from vel2.hyp.state import CONTEXT_VEL1, NO_FAULT, Stage2, Vcpu, page_of, vm_of
from vel2.hyp.walk import guest_stage2
from vel2.lang import (
    L1IPA,
    L2IPA,
    PA,
    at,
    extern,
    inline,
    isb,
    load_u64,
    mrs,
    msr,
    resident,
    sysop,
    u64,
)

HCR_SLOT = slot(sr.HCR_EL2)
TGE = sr.HCR_EL2.TGE.mask
PAR = sr.PAR_EL1
PAR_FAILED = PAR.F.mask
PAR_RES1 = 1 << 11
PAR_S = 1 << 9
PAR_PTW = 1 << 8
PAR_FST_SHIFT = 1
PA_MASK = ((1 << 52) - 1) & ~0xFFF
TCR = sr.TCR_EL1
ADDRESS_BITS = (1 << 48) - 1
BIT55 = 1 << 55
WORD = (1 << 64) - 1
TOP_BYTE = 0xFF << 56
LEVEL = 3
ALL_REACHED = 5
ABORT_BY_AT = ESR_ELx.compose(EC=EC.DABT_SAME, IL=1) | ISS_DABT.CM.mask | ISS_DABT.WnR.mask
"""CM and WnR are 1 for every address translation instruction."""
S2AP_READ = 0b01
S2AP_WRITE = 0b10


@dataclass(frozen=True)
class Row:
    """An AT as L1 names it: the stage-1 instruction that does it, and what it asks for."""

    key: int
    run: SysInsn
    own_regime: bool
    both_stages: bool
    is_write: bool
    with_pan: bool


ROWS = (
    Row(AT.S1E1R.trap_key, AT.S1E1R, False, False, False, False),
    Row(AT.S1E1W.trap_key, AT.S1E1W, False, False, True, False),
    Row(AT.S1E0R.trap_key, AT.S1E0R, False, False, False, False),
    Row(AT.S1E0W.trap_key, AT.S1E0W, False, False, True, False),
    Row(AT.S1E1RP.trap_key, AT.S1E1RP, False, False, False, True),
    Row(AT.S1E1WP.trap_key, AT.S1E1WP, False, False, True, True),
    Row(AT.S1E2R.trap_key, AT.S1E1R, True, False, False, False),
    Row(AT.S1E2W.trap_key, AT.S1E1W, True, False, True, False),
    Row(AT.S12E1R.trap_key, AT.S1E1R, False, True, False, False),
    Row(AT.S12E1W.trap_key, AT.S1E1W, False, True, True, False),
    Row(AT.S12E0R.trap_key, AT.S1E0R, False, True, False, False),
    Row(AT.S12E0W.trap_key, AT.S1E0W, False, True, True, False),
)


@extern("set_pan")
def set_pan(on: u64) -> None:
    """Set PSTATE.PAN of EL2, which AT S1E1RP and S1E1WP use."""


@resident
def run(key: u64, va: u64, pan: u64) -> None:
    """Run the stage-1 AT of a row in the regime hardware has."""
    for row in ROWS:
        if key == row.key:
            if row.with_pan:
                set_pan(pan)
            sysop(row.run, va)
            if row.with_pan:
                set_pan(0)
    isb()


@inline
def stage1_granule(tcr: u64, upper: bool) -> u64:
    """Give log2 of the stage-1 granule for one half of the address space."""
    if upper:
        tg1 = TCR.TG1.get(tcr)
        if tg1 == 2:
            return 12
        if tg1 == 1:
            return 14
        return 16
    tg0 = TCR.TG0.get(tcr)
    if tg0 == 0:
        return 12
    if tg0 == 2:
        return 14
    return 16


@resident
def reach(vcpu: Vcpu, ipa: u64, permission: u64) -> bool:
    """Find where an IPA of the regime that hardware has leads: `walk.output`.

    :param permission: the bit of S2AP that the access needs.
    :return: False, with `walk.fsc` set, if L1's own stage 2 does not map or allow it.
    """
    vcpu.walk.fsc = NO_FAULT
    vcpu.walk.output = ipa
    if not has_guest_stage2(vcpu):
        return True
    context = at(Stage2, vcpu.shadow)
    guest_stage2(vm_of(vcpu), vcpu.walk, context.guest_vttbr, context.guest_vtcr, L2IPA(ipa))
    if vcpu.walk.fsc == NO_FAULT and vcpu.walk.s2ap & permission == 0:
        vcpu.walk.fsc = u64(FSC.PERMISSION + vcpu.walk.guest_level)
    return vcpu.walk.fsc == NO_FAULT


@inline
def has_guest_stage2(vcpu: Vcpu) -> bool:
    """Whether a stage 2 of L1's own is part of the regime that hardware has."""
    return vcpu.context == CONTEXT_VEL1 and at(Stage2, vcpu.shadow).stage2_off == 0


@resident
def reach_table(vcpu: Vcpu, ipa: u64) -> bool:
    """Make a stage-1 descriptor reachable for hardware's walk, and for ours at `walk.output`.

    :return: False, with `walk.fsc` set: SYNC_EXTERNAL if L1 has no memory there.
    """
    if not reach(vcpu, ipa, S2AP_READ):
        return False
    # L0 reads it too: neither a hole nor a device may be read for the guest, at EL2.
    if not is_ram(vm_of(vcpu), L1IPA(vcpu.walk.output)):
        vcpu.walk.fsc = u64(FSC.SYNC_EXTERNAL)
        return False
    if has_guest_stage2(vcpu):
        shadow.fill(vcpu, L2IPA(ipa), shadow.output_of(vm_of(vcpu), vcpu.walk.output))
    return True


@inline
def is_translated(tcr: u64, va: u64, upper: bool, bits: u64) -> bool:
    """Whether an address is one that stage 1 walks for: in range, and not disabled by EPD."""
    if upper:
        if tcr & TCR.TBI1.mask:
            va = va | TOP_BYTE
        return tcr & TCR.EPD1.mask == 0 and u64(~va & WORD) >> bits == 0
    if tcr & TCR.TBI0.mask:
        va = va & ~TOP_BYTE
    return tcr & TCR.EPD0.mask == 0 and va >> bits == 0


@resident
def reach_tables(vcpu: Vcpu, va: u64) -> u64:
    """Walk the stage-1 tables hardware has, and make each of them reachable (AArch64.S1Walk).

    :return: the level of the table that cannot be reached, with `walk.fsc` set, or `ALL_REACHED`.
    """
    tcr = mrs(sr.TCR_EL1)
    upper = va & BIT55 != 0
    granule = stage1_granule(tcr, upper)
    table = mrs(sr.TTBR0_EL1)
    size = TCR.T0SZ.get(tcr)
    if upper:
        table = mrs(sr.TTBR1_EL1)
        size = TCR.T1SZ.get(tcr)
    if mrs(sr.SCTLR_EL1) & sr.SCTLR_EL1.M.mask == 0 or mrs(sr.HCR_EL2) & sr.HCR_EL2.DC.mask:
        return ALL_REACHED
    if size < 16 or size > 48 or not is_translated(tcr, va, upper, u64(64 - size)):
        return ALL_REACHED
    bits = u64(64 - size)
    stride = u64(granule - 3)
    level = u64(4 - (u64(bits - granule + stride - 1) // stride))
    shift = u64((3 - level) * stride + granule)
    table = table & ADDRESS_BITS & ~u64((1 << u64(bits - shift + 3)) - 1)
    index = va >> shift & u64((1 << u64(bits - shift)) - 1)
    while True:
        if not reach_table(vcpu, u64(table + index * 8)):
            return level
        if level == 3:
            return ALL_REACHED
        entry = load_u64(PA(vcpu.walk.output))
        if entry & 3 != 3:
            return ALL_REACHED
        table = entry & ADDRESS_BITS & ~u64((1 << granule) - 1)
        level = u64(level + 1)
        shift = u64(shift - stride)
        index = va >> shift & u64((1 << stride) - 1)


@inline
def stage2_failure(fsc: u64, on_walk: bool) -> u64:
    """Compose PAR_EL1 for a fault of L1's stage 2."""
    par = u64(PAR_FAILED | PAR_RES1 | PAR_S | fsc << PAR_FST_SHIFT)
    if on_walk:
        par = par | PAR_PTW
    return par


@resident
def second_stage(vcpu: Vcpu, par: u64, va: u64, is_write: bool) -> u64:
    """Carry a stage-1 result on through L1's stage 2 (AT S12*); the output is not accessed."""
    if at(Stage2, vcpu.shadow).stage2_off != 0:
        return par
    ipa = par & PA_MASK | va & 0xFFF
    permission = u64(S2AP_READ)
    if is_write:
        permission = S2AP_WRITE
    if not reach(vcpu, ipa, permission):
        return stage2_failure(vcpu.walk.fsc, False)
    par = par & ~PA_MASK | vcpu.walk.output & PA_MASK
    return memattr.combine(par, vcpu.walk.memattr, vcpu.walk.sh, page_of(vcpu).slot[HCR_SLOT])


@inline
def walk_abort(vcpu: Vcpu, level: u64) -> u64:
    """Give the fault status of an External abort on a walk (S1PTW with it), or 0 if it was none.

    :param level: of the stage-1 table that could not be reached, or `ALL_REACHED`.
    """
    fsc = vcpu.walk.fsc
    if fsc == FSC.SYNC_EXTERNAL:
        return u64(FSC.SYNC_EXTERNAL_WALK + level)
    if fsc == NO_FAULT or fsc & ~LEVEL != FSC.SYNC_EXTERNAL_WALK:
        return 0
    if level != ALL_REACHED:
        return fsc | ISS_DABT.S1PTW.mask
    return fsc


@resident
def in_guest_regime(vcpu: Vcpu, key: u64, va: u64, both: bool, is_write: bool) -> u64:
    """Translate in the regime of L1's guest; give the External abort on the walk, or 0."""
    pan = SPSR_ELx.PAN.get(vcpu.pstate)
    enter_vel1(vcpu)
    shadow.select(vcpu)
    isb()
    vcpu.walk.fsc = NO_FAULT
    level = reach_tables(vcpu, va)
    par = u64(0)
    if level == ALL_REACHED:
        run(key, va, pan)
        par = mrs(sr.PAR_EL1)
        if both and par & PAR_FAILED == 0:
            par = second_stage(vcpu, par, va, is_write)
    else:
        par = stage2_failure(vcpu.walk.fsc, True)
    fault = walk_abort(vcpu, level)
    enter_vel2(vcpu)
    if fault == 0:
        msr(sr.PAR_EL1, par)
    return fault


@resident
def in_own_regime(vcpu: Vcpu, key: u64, va: u64) -> u64:
    """Translate in L1's own regime; give the External abort on the walk, or 0."""
    level = reach_tables(vcpu, va)
    if level != ALL_REACHED:
        return walk_abort(vcpu, level)
    run(key, va, SPSR_ELx.PAN.get(vcpu.pstate))
    return 0


@resident
def from_vel2(vcpu: Vcpu, key: u64, va: u64) -> Outcome:
    """Emulate an AT that trapped in the hyp context."""
    host = vcpu.e2h != 0 and page_of(vcpu).slot[HCR_SLOT] & TGE != 0
    for row in ROWS:
        if key == row.key:
            fault = u64(0)
            if row.own_regime or (host and not row.both_stages):
                fault = in_own_regime(vcpu, key, va)
            else:
                fault = in_guest_regime(vcpu, key, va, row.both_stages, row.is_write)
            if fault == 0:
                return Outcome.SKIP
            vcpu.syndrome = ABORT_BY_AT | fault
            vcpu.syndrome_far = va
            vcpu.syndrome_has_far = 1
            return Outcome.INJECT
    vcpu.undefined = 1
    return Outcome.INJECT
