"""ERET from vEL2 (AArch64.ExceptionReturn for the virtual machine).

With FEAT_NV every ERET at real EL1 traps while the hyp context runs. L1's ELR_EL2 and SPSR_EL2 are
hardware's ELR_EL1 and SPSR_EL1 then. Three ways out: back to vEL2, to the VHE host's EL0 (E2H=1,
TGE=1: still the hyp context), or to vEL1 and below, which changes the context. The first two are
usually finished in the vectors and come here only when there is more to do. EL0 with E2H=0 and
TGE=1 runs in the hyp context too: exceptions come to vEL2, but EL0's stage 1 is vEL2's, where it
should be off, and L1's trap controls are not loaded.
"""

from vel2.arch import sysregs as sr
from vel2.arch.pstate import (
    PSTATE_DAIF,
    PSTATE_MODE,
    PSTATE_NZCV,
    M_EL0t,
    M_EL1h,
    M_EL1t,
    M_EL2h,
    M_EL2t,
    SPSR_ELx,
)
from vel2.hyp import gic, pauth, shadow, timer, vncr
from vel2.hyp.answer import give, return_to
from vel2.hyp.context import enter_vel1, sync_mdscr
from vel2.hyp.exception import EL1_TO_EL2, spsr_of
from vel2.hyp.hcr import TGE, l1_hcr
from vel2.hyp.outcome import Outcome
from vel2.hyp.records import TO_RUNNING_EL1
from vel2.hyp.state import SLOW_MAINTENANCE, SLOW_PTIMER, SLOW_VTIMER, Vcpu
from vel2.lang import inline, mrs, resident, u64

__all__ = ("from_vel2",)

ILLEGAL_TAKES = (
    PSTATE_NZCV | PSTATE_DAIF | SPSR_ELx.PAN.mask | SPSR_ELx.UAO.mask | SPSR_ELx.DIT.mask
)
"""What an illegal return still takes from SPSR (SetPSTATEFromPSR); EL, SP and the rest stay."""


@resident
def sync_live_state(vcpu: Vcpu) -> None:
    """Do what must wait for the next ERET of vEL2: L1's stores to the VNCR page cannot be seen."""
    sync_mdscr(vcpu)
    if vcpu.slow_eret & SLOW_MAINTENANCE:
        gic.sync_live_interface(vcpu)
    if vcpu.slow_eret & (SLOW_VTIMER | SLOW_PTIMER):
        timer.sync_live_timers(vcpu)


@inline
def illegal_return(vcpu: Vcpu, spsr: u64, target: u64) -> Outcome:
    """Stay at this EL with PSTATE.IL set: the next instruction is an Illegal State exception."""
    kept = vcpu.pstate & ~ILLEGAL_TAKES
    return return_to(vcpu, target, kept | spsr & ILLEGAL_TAKES | SPSR_ELx.IL.mask)


@resident
def from_vel2(vcpu: Vcpu) -> Outcome:
    """Emulate ERET, ERETAA or ERETAB of vEL2."""
    spsr = spsr_of(vcpu, mrs(sr.SPSR_EL1))
    target = mrs(sr.ELR_EL1)
    if vcpu.trap.esr & pauth.IS_ERETA and pauth.is_enabled(vcpu.trap.esr):
        plain = pauth.stripped(target)
        target = pauth.authenticated(vcpu, target, plain)
        if target != plain and pauth.faults(vcpu):
            return give(vcpu, TO_RUNNING_EL1, pauth.failure(vcpu.trap.esr))
    mode = spsr & PSTATE_MODE
    hcr = l1_hcr(vcpu)
    if mode == M_EL2h or mode == M_EL2t:
        sync_live_state(vcpu)
        return return_to(vcpu, target, spsr ^ EL1_TO_EL2)
    if mode == M_EL0t and hcr & TGE:
        sync_live_state(vcpu)
        return return_to(vcpu, target, spsr)
    if (mode == M_EL0t or mode == M_EL1t or mode == M_EL1h) and hcr & TGE == 0:
        if hcr & sr.HCR_EL2.NV2.mask:
            vncr.load(vcpu)
        enter_vel1(vcpu)
        shadow.select(vcpu)
        return return_to(vcpu, target, spsr)
    return illegal_return(vcpu, spsr, target)
