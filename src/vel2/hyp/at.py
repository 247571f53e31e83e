"""AT from vEL2 (AArch64.AT). The result goes to PAR_EL1, which vEL2 and vEL1 share.

- S1E2* translates in L1's own regime, and so do S1E0*, S1E1* and S12E0* with TGE=1 (E2H=1).
  Hardware's EL1 holds that regime, so the EL1 form of the instruction is run unchanged.
- All others translate in the regime of L1's guest. L0 changes the context, runs hardware's AT, and
  changes the context back. For S12* it then walks the output through L1's stage 2. L1's physical
  addresses are the machine's, so hardware's answer is also L1's answer. With TGE=1 the guest's
  stage 1 is off, and with E2H=1 its stage 2 is off too.

AT does not access the address that it finds, but it does read tables, and software does not repeat
the decisions that hardware makes on the way. If stage 2 stops hardware's walk, L0 walks the tables
(`stage1`), makes a guest's tables reachable in the shadow stage 2, and asks hardware once more.
Only if hardware is stopped again does software say why. A table where L1 has no memory is an
External abort on the walk, which is an exception and not a result in PAR_EL1. If hardware's own AT
takes such an abort, it ends here too (`fallible`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import LAST_LEVEL
from vel2.arch.esr import EC, FSC, FSC_LEVEL, ISS_DABT, ESR_ELx
from vel2.arch.insn import AT
from vel2.arch.pstate import SPSR_ELx
from vel2.hyp import memattr, shadow
from vel2.hyp.answer import give_with_far, undefined
from vel2.hyp.context import enter_vel1, enter_vel2
from vel2.hyp.fallible import (
    abort_status,
    try_at_s1e0r,
    try_at_s1e0w,
    try_at_s1e1r,
    try_at_s1e1rp,
    try_at_s1e1w,
    try_at_s1e1wp,
)
from vel2.hyp.hcr import TGE, is_vhe_host, l1_hcr
from vel2.hyp.outcome import Outcome
from vel2.hyp.records import CHANGED, NO_FAULT, TO_RUNNING_EL1
from vel2.hyp.stage1 import (
    ALL_REACHED,
    external_abort_of,
    has_guest_stage2,
    reach,
    reach_tables,
)
from vel2.hyp.state import Stage2, Vcpu
from vel2.hyp.walk import S2AP_READ, S2AP_WRITE
from vel2.lang import IPA, at, extern, inline, isb, mrs, msr, resident, u64

__all__ = ("first_stage", "from_vel2")

PAR = sr.PAR_EL1
FAILED = sr.PAR_EL1_F
STAGE2_FAILURE = FAILED.res1 | FAILED.compose(S=1, F=1)
STOPPED_ON_WALK = FAILED.compose(F=1, S=1, PTW=1)
PA_MASK = PAR.PA.mask
PAGE_MASK = (1 << PAR.PA.lsb) - 1
ABORT_BY_AT = ESR_ELx.compose(EC=EC.DABT_SAME, IL=1) | ISS_DABT.CM.mask | ISS_DABT.WnR.mask
"""CM and WnR are 1 for every address translation instruction."""


@dataclass(frozen=True)
class Translation:
    """An AT as L1 names it: the stage-1 instruction that does it, and what it asks for."""

    key: int
    run: Callable[[u64], u64]
    of_own_regime: bool = False
    both_stages: bool = False
    is_write: bool = False
    with_pan: bool = False
    is_el0: bool = False


TRANSLATIONS = (
    Translation(AT.S1E1R.trap_key, try_at_s1e1r),
    Translation(AT.S1E1W.trap_key, try_at_s1e1w, is_write=True),
    Translation(AT.S1E0R.trap_key, try_at_s1e0r, is_el0=True),
    Translation(AT.S1E0W.trap_key, try_at_s1e0w, is_write=True, is_el0=True),
    Translation(AT.S1E1RP.trap_key, try_at_s1e1rp, with_pan=True),
    Translation(AT.S1E1WP.trap_key, try_at_s1e1wp, is_write=True, with_pan=True),
    Translation(AT.S1E2R.trap_key, try_at_s1e1r, of_own_regime=True),
    Translation(AT.S1E2W.trap_key, try_at_s1e1w, of_own_regime=True, is_write=True),
    Translation(AT.S12E1R.trap_key, try_at_s1e1r, both_stages=True),
    Translation(AT.S12E1W.trap_key, try_at_s1e1w, both_stages=True, is_write=True),
    Translation(AT.S12E0R.trap_key, try_at_s1e0r, both_stages=True, is_el0=True),
    Translation(AT.S12E0W.trap_key, try_at_s1e0w, both_stages=True, is_write=True, is_el0=True),
)


@extern("set_pan")
def set_pan(on: u64) -> None:
    """Set PSTATE.PAN of EL2, which AT S1E1RP and S1E1WP use."""


@resident
def run(key: u64, va: u64, pan: u64) -> bool:
    """Run the stage-1 AT of a row in the regime hardware has; False if it took an abort."""
    done = u64(0)
    for row in TRANSLATIONS:
        if key == row.key:
            if row.with_pan:
                set_pan(pan)
            done = row.run(va)
            if row.with_pan:
                set_pan(0)
    return done != 0


@inline
def stage2_failure(fsc: u64, on_walk: bool) -> u64:
    """Compose PAR_EL1 for a fault of L1's stage 2."""
    par = STAGE2_FAILURE | FAILED.FST.put(fsc)
    if on_walk:
        par = par | FAILED.PTW.mask
    return par


@resident
def second_stage(vcpu: Vcpu, par: u64, va: u64, is_write: bool) -> u64:
    """Carry a stage-1 result on through L1's stage 2 (AT S12*); the output is not accessed.

    `walk.fsc` says whether it came through (`external_abort_of`).
    """
    vcpu.walk.fsc = NO_FAULT
    if at(Stage2, vcpu.shadow).stage2_off != 0:
        return par
    ipa = IPA(par & PA_MASK | va & PAGE_MASK)
    permission = u64(S2AP_READ)
    if is_write:
        permission = S2AP_WRITE
    if not reach(vcpu, ipa, permission):
        if vcpu.walk.fsc == CHANGED:
            return par
        return stage2_failure(vcpu.walk.fsc, False)
    par = par & ~PA_MASK | vcpu.walk.output & PA_MASK
    return memattr.combine(par, vcpu.walk.memattr, vcpu.walk.sh, l1_hcr(vcpu))


@inline
def is_stopped_on_walk(par: u64) -> bool:
    """Whether stage 2 stopped hardware's walk of the stage-1 tables."""
    return par & STOPPED_ON_WALK == STOPPED_ON_WALK


@inline
def with_l1_level(vcpu: Vcpu, par: u64) -> u64:
    """Give a Permission fault of the shadow stage 2 the level of L1's own leaf (`vcpu.walk`).

    No leaf of ours is at level 0: a machine that says 0 gives no level, and neither do we. Only the
    last table of a walk is written to, and so can be refused when all of them can be read.
    """
    status = FAILED.FST.get(par)
    if status & ~FSC_LEVEL == FSC.PERMISSION and status & FSC_LEVEL != 0:
        return FAILED.FST.set(par, u64(FSC.PERMISSION + vcpu.walk.guest_level))
    return par


@resident
def first_stage(vcpu: Vcpu, key: u64, va: u64) -> u64:
    """Have hardware translate by stage 1, and make its tables reachable if need be.

    :return: the status of an External abort on the walk, or 0 with the result in PAR_EL1; `CHANGED`
        if there is no result, because another CPU kept changing L1's tables.
    """
    pan = SPSR_ELx.PAN.get(vcpu.pstate)
    if not run(key, va, pan):
        return abort_status()
    if not is_stopped_on_walk(mrs(PAR)):
        return 0
    left = reach_tables(vcpu, va)
    if not run(key, va, pan):
        return abort_status()
    par = mrs(PAR)
    if not is_stopped_on_walk(par):
        return 0
    if left != ALL_REACHED:
        fault = external_abort_of(vcpu, left)
        if fault == 0:
            msr(PAR, stage2_failure(vcpu.walk.fsc, True))
        return fault
    if not has_guest_stage2(vcpu):
        return u64(FSC.SYNC_EXTERNAL_WALK + LAST_LEVEL)
    msr(PAR, with_l1_level(vcpu, par))
    return 0


@resident
def in_guest_regime(vcpu: Vcpu, key: u64, va: u64, both: bool, is_write: bool) -> u64:
    """Translate in the regime of L1's guest; give what `first_stage` gives."""
    hcr = l1_hcr(vcpu)
    enter_vel1(vcpu)
    shadow.select(vcpu)
    sctlr = mrs(sr.SCTLR_EL1)
    if hcr & TGE:
        # HCR_EL2.TGE turns stage 1 of EL1&0 off, and with E2H all that DC and VM do. Hardware's
        # TGE is L0's.
        msr(sr.SCTLR_EL1, sctlr & ~sr.SCTLR_EL1.M.mask)
        if vcpu.e2h != 0:
            msr(sr.HCR_EL2, mrs(sr.HCR_EL2) & ~u64(sr.HCR_EL2.DC.mask))
    isb()
    fault = first_stage(vcpu, key, va)
    if fault == 0 and both and not (hcr & TGE and vcpu.e2h != 0):
        par = mrs(PAR)
        if par & PAR.F.mask == 0:
            msr(PAR, second_stage(vcpu, par, va, is_write))
            fault = external_abort_of(vcpu, ALL_REACHED)
    msr(sr.SCTLR_EL1, sctlr)
    enter_vel2(vcpu)
    return fault


@resident
def from_vel2(vcpu: Vcpu, key: u64, va: u64) -> Outcome:
    """Emulate an AT that trapped in the hyp context."""
    host = is_vhe_host(vcpu)
    saved = mrs(PAR)
    for row in TRANSLATIONS:
        if key == row.key:
            fault = u64(0)
            if row.of_own_regime or (host and (row.is_el0 or not row.both_stages)):
                fault = first_stage(vcpu, key, va)
            else:
                fault = in_guest_regime(vcpu, key, va, row.both_stages, row.is_write)
            if fault == 0:
                return Outcome.SKIP
            msr(PAR, saved)
            if fault == CHANGED:
                return Outcome.RESUME
            return give_with_far(vcpu, TO_RUNNING_EL1, ABORT_BY_AT | fault, va)
    return undefined(vcpu)
