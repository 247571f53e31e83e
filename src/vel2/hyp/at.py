"""AT from vEL2 (AArch64.AT). The result goes to PAR_EL1, which vEL2 and vEL1 share.

- S1E2*, and S1E0*/S1E1* with TGE=1 (E2H=1), translate in L1's own regime, which is the one
  hardware's EL1 has: the EL1 form is run as it is.
- S1E0*/S1E1* with TGE=0 and S12* translate in the regime of L1's guest: the context is changed, the
  guest's stage-1 tables are made reachable in the shadow stage 2, hardware's AT is run, and the
  context is changed back. For S12* the output is then walked through L1's stage 2. Because L1's
  physical memory is the machine's at the same address, hardware's answer is L1's answer.
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.esr import FSC
from vel2.arch.homes import slot
from vel2.arch.insn import AT, SysInsn
from vel2.arch.pstate import SPSR_ELx
from vel2.hyp import shadow
from vel2.hyp.context import enter_vel1, enter_vel2
from vel2.hyp.outcome import Outcome
from vel2.hyp.state import NO_FAULT, Stage2, Vcpu, page_of, vm_of
from vel2.hyp.walk import guest_stage2
from vel2.lang import L2IPA, PA, at, extern, inline, isb, load_u64, mrs, msr, resident, sysop, u64

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
def reach(vcpu: Vcpu, ipa: u64) -> bool:
    """Make one L2 IPA reachable in the shadow; False, with `walk.fsc` set, if L1 forbids it."""
    vm = vm_of(vcpu)
    context = at(Stage2, vcpu.shadow)
    if context.stage2_off != 0:
        vcpu.walk.output = ipa
        return True
    guest_stage2(vm, vcpu.walk, context.guest_vttbr, context.guest_vtcr, L2IPA(ipa))
    if vcpu.walk.fsc == NO_FAULT and vcpu.walk.s2ap & S2AP_READ == 0:
        vcpu.walk.fsc = u64(FSC.PERMISSION + vcpu.walk.guest_level)
    if vcpu.walk.fsc != NO_FAULT:
        return False
    canonical = shadow.output_of(vm, vcpu.walk.output)
    if canonical == 0:
        vcpu.walk.fsc = u64(FSC.SYNC_EXTERNAL)
        return False
    shadow.fill(vcpu, L2IPA(ipa), canonical)
    return True


@resident
def reach_tables(vcpu: Vcpu, va: u64) -> bool:
    """Walk the guest's stage-1 tables just to make each of them reachable (AArch64.S1Walk)."""
    tcr = mrs(sr.TCR_EL1)
    upper = va & BIT55 != 0
    granule = stage1_granule(tcr, upper)
    table = mrs(sr.TTBR0_EL1)
    size = TCR.T0SZ.get(tcr)
    if upper:
        table = mrs(sr.TTBR1_EL1)
        size = TCR.T1SZ.get(tcr)
    if mrs(sr.SCTLR_EL1) & sr.SCTLR_EL1.M.mask == 0 or size < 16 or size > 48:
        return True
    bits = u64(64 - size)
    stride = u64(granule - 3)
    level = u64(4 - (u64(bits - granule + stride - 1) // stride))
    shift = u64((3 - level) * stride + granule)
    table = table & ADDRESS_BITS & ~u64((1 << u64(bits - shift + 3)) - 1)
    index = va >> shift & u64((1 << u64(bits - shift)) - 1)
    while True:
        slot = u64(table + index * 8)
        if not reach(vcpu, slot):
            return False
        if level == 3:
            return True
        entry = load_u64(PA(vcpu.walk.output))
        if entry & 3 != 3:
            return True
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
    """Carry a stage-1 result on through L1's stage 2 (AT S12*)."""
    if at(Stage2, vcpu.shadow).stage2_off != 0:
        return par
    ipa = par & PA_MASK | va & 0xFFF
    if not reach(vcpu, ipa):
        return stage2_failure(vcpu.walk.fsc, False)
    if is_write and vcpu.walk.s2ap & S2AP_WRITE == 0:
        return stage2_failure(u64(FSC.PERMISSION + vcpu.walk.guest_level), False)
    return par & ~PA_MASK | vcpu.walk.output & PA_MASK


@resident
def in_guest_regime(vcpu: Vcpu, key: u64, va: u64, both: bool, is_write: bool) -> None:
    """Translate in the regime of L1's guest."""
    pan = SPSR_ELx.PAN.get(vcpu.pstate)
    enter_vel1(vcpu)
    shadow.select(vcpu)
    isb()
    if reach_tables(vcpu, va):
        run(key, va, pan)
        par = mrs(sr.PAR_EL1)
        if both and par & PAR_FAILED == 0:
            par = second_stage(vcpu, par, va, is_write)
    else:
        par = stage2_failure(vcpu.walk.fsc, True)
    enter_vel2(vcpu)
    msr(sr.PAR_EL1, par)


@resident
def from_vel2(vcpu: Vcpu, key: u64, va: u64) -> Outcome:
    """Emulate an AT that trapped in the hyp context."""
    host = page_of(vcpu).slot[HCR_SLOT] & TGE != 0
    for row in ROWS:
        if key == row.key:
            if row.own_regime or (host and not row.both_stages):
                run(key, va, SPSR_ELx.PAN.get(vcpu.pstate))
            else:
                in_guest_regime(vcpu, key, va, row.both_stages, row.is_write)
            return Outcome.SKIP
    vcpu.undefined = 1
    return Outcome.INJECT
