"""What moves PC: taking exceptions, returning, and going on behind an instruction.

An exception goes to vEL2, or to the EL1 that is running (AArch64.TakeException).

While vEL2 runs, hardware's ELR_EL1, SPSR_EL1, ESR_EL1, FAR_EL1 and VBAR_EL1 are L1's _EL2
registers, so an exception from the hyp context to vEL2 is written exactly like one from L2's EL0 or
EL1 to L2's EL1; only the mode in SPSR differs. An exception from vEL1 to vEL2 changes the context
first.

An exception that hardware itself takes from vEL2 to vEL2, a BRK say, has EL2 in SPSR_EL1.M, with
one exception: with HCR_EL2.{NV,NV1}=={1,1} and NV2=0 it has EL1 there, like one from L2. In that
configuration L0 and L1 (whose accesses to SPSR_EL2 trap) therefore never leave EL1 in hardware's
SPSR_EL1: it is held as EL3, which no guest has (`held_spsr`), so that EL1 there means vEL2.
"""

from vel2.arch import sysregs as sr
from vel2.arch.pstate import (
    PSTATE_DAIF,
    PSTATE_EL,
    PSTATE_MODE,
    PSTATE_NZCV,
    M_EL1h,
    M_EL1t,
    M_EL2h,
    M_EL3t,
    SPSR_ELx,
)
from vel2.hyp.context import enter_vel2
from vel2.hyp.hcr import is_vhe_host, shows_el2
from vel2.hyp.layout import PAGE_SHIFT
from vel2.hyp.records import TO_VEL2
from vel2.hyp.state import CONTEXT_VEL2, LEVEL_NV, Vcpu, vm_of
from vel2.lang import inline, mrs, msr, resident, u64

__all__ = (
    "EL1_TO_EL2",
    "ENTRY_PSTATE",
    "go_on",
    "held_spsr",
    "is_el0",
    "read_hpfar_el2",
    "read_spsr_el2",
    "return_from_vel2",
    "spsr_of",
    "step_back",
    "step_over",
    "take_exception",
    "write_hpfar_el2",
    "write_spsr_el2",
)

FROM_CURRENT_SP0 = 0x000
FROM_CURRENT_SPX = 0x200
FROM_LOWER_AARCH64 = 0x400
FROM_LOWER_AARCH32 = 0x600

EL1_TO_EL2 = M_EL1h ^ M_EL2h
"""Turns EL1t into EL2t and EL1h into EL2h, and back."""

KEPT = PSTATE_NZCV | SPSR_ELx.DIT.mask | SPSR_ELx.PAN.mask
INSTRUCTION_BYTES = 4
SINGLE_USE = SPSR_ELx.SS.mask | SPSR_ELx.BTYPE.mask
"""PSTATE that the execution of an instruction uses up."""
ENTRY_PSTATE = PSTATE_DAIF | M_EL1h

EL_OF_MODE = PSTATE_EL | SPSR_ELx.nRW.mask
EL1_MODES = M_EL1t
EL3_MODES = M_EL3t
EL1_TO_EL3 = EL1_MODES ^ EL3_MODES
UNALLOCATED = 0b0_0010
"""Set in a mode, it makes any EL's illegal: how L1's own EL3 is told from EL1 held as EL3."""


@inline
def hides_el2(vcpu: Vcpu) -> bool:
    """Whether hardware's SPSR_EL1 says EL1 after an exception from vEL2 to vEL2."""
    return vcpu.e2h == 0 and vm_of(vcpu).config.nv_level == LEVEL_NV


@inline
def held_spsr(vcpu: Vcpu, spsr: u64) -> u64:
    """Give what hardware's SPSR_EL1 holds for a value of L1's SPSR_EL2."""
    held = spsr
    if hides_el2(vcpu):
        if spsr & EL_OF_MODE == EL1_MODES:
            held = spsr ^ EL1_TO_EL3
        elif spsr & EL_OF_MODE == EL3_MODES:
            held = spsr | UNALLOCATED
    return held


@inline
def spsr_of(vcpu: Vcpu, held: u64) -> u64:
    """Give L1's SPSR_EL2 for what hardware's SPSR_EL1 holds."""
    spsr = held
    if hides_el2(vcpu):
        if held & EL_OF_MODE == EL1_MODES:
            spsr = held ^ EL1_TO_EL2
        elif held & EL_OF_MODE == EL3_MODES:
            if held & UNALLOCATED:
                spsr = held & ~UNALLOCATED
            else:
                spsr = held ^ EL1_TO_EL3
    return spsr


@resident
def read_spsr_el2(vcpu: Vcpu) -> u64:
    """Read L1's SPSR_EL2."""
    return spsr_of(vcpu, mrs(sr.SPSR_EL1))


@resident
def write_spsr_el2(vcpu: Vcpu, value: u64) -> None:
    """Write L1's SPSR_EL2."""
    msr(sr.SPSR_EL1, held_spsr(vcpu, value))


@resident
def read_hpfar_el2(vcpu: Vcpu) -> u64:
    """Read L1's HPFAR_EL2."""
    return vcpu.hpfar


@resident
def write_hpfar_el2(vcpu: Vcpu, value: u64) -> None:
    """Write L1's HPFAR_EL2."""
    vcpu.hpfar = value & sr.HPFAR_EL2.FIPA.mask


@inline
def is_el0(pstate: u64) -> bool:
    """Whether a PSTATE is EL0's, of AArch64 or AArch32. EL1 is never AArch32 (HCR_EL2.RW)."""
    return pstate & SPSR_ELx.M.mask == 0


@inline
def virtual_spsr(vcpu: Vcpu) -> u64:
    """Give the interrupted PSTATE as the guest sees it: at vEL2, L1's or L2's, EL1 is EL2."""
    pstate = vcpu.pstate
    if is_el0(pstate):
        return pstate
    if vcpu.context == CONTEXT_VEL2 or shows_el2(mrs(sr.HCR_EL2)):
        return pstate ^ EL1_TO_EL2
    return pstate


@inline
def entry_pstate(old: u64, sets_pan: bool) -> u64:
    """Compute PSTATE at the handler's first instruction.

    :param sets_pan: the target regime has an EL0, so that SCTLR_ELx.SPAN counts.
    """
    new = old & KEPT | ENTRY_PSTATE
    sctlr = mrs(sr.SCTLR_EL1)
    if sets_pan and sctlr & sr.SCTLR_EL1.SPAN.mask == 0:
        new = new | SPSR_ELx.PAN.mask
    if sctlr & sr.SCTLR_EL1.DSSBS.mask:
        new = new | SPSR_ELx.SSBS.mask
    return new


@resident
def take_exception(vcpu: Vcpu) -> None:
    """Take the exception in `vcpu.exception`, which an `answer` has made."""
    exception = vcpu.exception
    if exception.target == TO_VEL2:
        vcpu.counters.forwarded = u64(vcpu.counters.forwarded + 1)
        take_to_vel2(vcpu, exception.kind)
    else:
        vcpu.counters.injected = u64(vcpu.counters.injected + 1)
        take_to_running_el1(vcpu, exception.kind)
    if exception.has_syndrome != 0:
        msr(sr.ESR_EL1, exception.syndrome)
    if exception.has_vaddress != 0:
        msr(sr.FAR_EL1, exception.vaddress)
        if exception.has_ipaddress != 0:
            vcpu.hpfar = sr.HPFAR_EL2.FIPA.put(exception.ipaddress >> PAGE_SHIFT)


@inline
def return_from_vel2(vcpu: Vcpu) -> None:
    """Take up what is in `vcpu.returning`: the end of AArch64.ExceptionReturn."""
    vcpu.pc = vcpu.returning.address
    vcpu.pstate = vcpu.returning.spsr


@inline
def go_on(vcpu: Vcpu) -> None:
    """Set PC behind an instruction that has been done."""
    vcpu.pc = u64(vcpu.pc + INSTRUCTION_BYTES)


@inline
def step_over(vcpu: Vcpu) -> bool:
    """Go on behind an instruction that trapped; True if a debugger steps there."""
    pstate = vcpu.pstate
    go_on(vcpu)
    vcpu.pstate = pstate & ~SINGLE_USE
    return pstate & SPSR_ELx.SS.mask != 0


@inline
def step_back(vcpu: Vcpu) -> None:
    """Go back to an instruction behind which hardware had set PC."""
    vcpu.pc = u64(vcpu.pc - INSTRUCTION_BYTES)


@resident
def take_to_running_el1(vcpu: Vcpu, kind: u64) -> None:
    """Enter the vector of hardware's EL1: vEL2 in the hyp context, else L2's EL1."""
    mode = vcpu.pstate & PSTATE_MODE
    base = FROM_LOWER_AARCH64
    if mode == M_EL1h:
        base = FROM_CURRENT_SPX
    elif mode == M_EL1t:
        base = FROM_CURRENT_SP0
    elif mode & SPSR_ELx.nRW.mask != 0:
        base = FROM_LOWER_AARCH32
    sets_pan = True
    if vcpu.context == CONTEXT_VEL2:
        sets_pan = is_vhe_host(vcpu)
    msr(sr.SPSR_EL1, virtual_spsr(vcpu))
    msr(sr.ELR_EL1, vcpu.pc)
    vcpu.pstate = entry_pstate(vcpu.pstate, sets_pan)
    vcpu.pc = u64(mrs(sr.VBAR_EL1) + base + kind)


@resident
def take_to_vel2(vcpu: Vcpu, kind: u64) -> None:
    """Enter L1's EL2 vector, from whichever context is running."""
    if vcpu.context == CONTEXT_VEL2:
        take_to_running_el1(vcpu, kind)
        return
    enter_vel2(vcpu)
    msr(sr.SPSR_EL1, held_spsr(vcpu, vcpu.pstate))
    msr(sr.ELR_EL1, vcpu.pc)
    vcpu.pstate = entry_pstate(vcpu.pstate, False)
    vcpu.pc = u64(mrs(sr.VBAR_EL1) + FROM_LOWER_AARCH64 + kind)
