"""Trap dispatch: one table in the order of ESR_ELx.EC, one place that applies the outcome.

The vectors save the 31 GPRs, ELR_EL2 and SPSR_EL2 into the `Vcpu`, call here, and restore them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, FSC, ISS_SOFTSTEP, ESR_ELx
from vel2.arch.pstate import SPSR_ELx
from vel2.hyp import aarch32, abort, ahead, controls, eret, smc, sve, sysreg
from vel2.hyp.answer import forward, forward_with_far, inject, inject_with_far, undefined
from vel2.hyp.exception import (
    FIQ,
    IRQ,
    SERROR,
    SYNC,
    is_el0,
    take_to_running_el1,
    take_to_vel2,
)
from vel2.hyp.hcr import TGE, l1_hcr
from vel2.hyp.outcome import Fatal, Outcome, Stop
from vel2.hyp.selectors import l1_mdcr
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu, vm_of
from vel2.lang import inline, mrs, msr, resident, u64

HCD = sr.HCR_EL2.HCD.mask
INSTRUCTION_BYTES = 4
STEPPED = ESR_ELx.IL.mask | ISS_SOFTSTEP.compose(ISV=1, IFSC=FSC.DEBUG)
SINGLE_USE = SPSR_ELx.SS.mask | SPSR_ELx.BTYPE.mask
"""PSTATE that the execution of an instruction uses up."""


@resident
def hvc_from_vel2(vcpu: Vcpu) -> Outcome:
    """Take HVC of vEL2 to vEL2 itself; ELR is already behind it."""
    if l1_hcr(vcpu) & HCD:
        vcpu.pc = u64(vcpu.pc - INSTRUCTION_BYTES)
        return undefined(vcpu)
    return forward(vcpu)


@resident
def hint(vcpu: Vcpu) -> Outcome:
    """Do nothing for an instruction that may do nothing."""
    return Outcome.SKIP


Handler = Callable[[Vcpu], Outcome]


@dataclass(frozen=True)
class Row:
    """Who handles one exception class, in the hyp context and in vEL1."""

    ec: int
    vel2: Handler
    vel1: Handler


HANDLED: dict[int, tuple[Handler, Handler]] = {
    EC.UNKNOWN: (undefined, undefined),
    EC.WFX: (hint, forward),
    EC.CP15_32: (undefined, aarch32.single),
    EC.CP15_64: (undefined, aarch32.pair),
    EC.CP14_32: (undefined, aarch32.debug),
    EC.CP14_LS: (undefined, forward),
    EC.FP_ASIMD: (undefined, forward),
    EC.CP10_ID: (undefined, undefined),
    EC.PAC: (undefined, forward),
    EC.OTHER: (undefined, undefined),
    EC.CP14_64: (undefined, forward),
    EC.BTI: (inject, inject),
    EC.ILLEGAL_STATE: (inject, inject),
    EC.SVC32: (undefined, forward),
    EC.HVC32: (undefined, undefined),
    EC.SMC32: (undefined, undefined),
    EC.SYS128: (undefined, undefined),
    EC.SVC64: (inject, forward),
    EC.HVC64: (hvc_from_vel2, forward),
    EC.SMC64: (smc.local, smc.from_vel1),
    EC.SYS64: (sysreg.from_vel2, sysreg.from_vel1),
    EC.SVE: (undefined, sve.from_vel1),
    EC.ERET: (eret.from_vel2, forward),
    EC.TSTART: (undefined, undefined),
    EC.FPAC: (inject, inject),
    EC.SME: (undefined, undefined),
    EC.GPC: (undefined, undefined),
    EC.IMPDEF_EL3: (undefined, undefined),
    EC.IABT_LOWER: (abort.from_vel2, abort.from_vel1),
    EC.PC_ALIGN: (inject_with_far, inject_with_far),
    EC.DABT_LOWER: (abort.from_vel2, abort.from_vel1),
    EC.SP_ALIGN: (inject, inject),
    EC.MOPS: (inject, forward),
    EC.FP_EXC32: (inject, inject),
    EC.FP_EXC64: (inject, inject),
    EC.GCS: (inject, inject),
    EC.BREAKPOINT_LOWER: (inject_with_far, forward_with_far),
    EC.SOFTSTEP_LOWER: (inject, forward),
    EC.WATCHPOINT_LOWER: (inject_with_far, forward_with_far),
    EC.BKPT32: (undefined, forward_with_far),
    EC.VECTOR32: (undefined, forward),
    EC.BRK64: (inject_with_far, forward_with_far),
    EC.PROFILING: (undefined, undefined),
    EC.IMPDEF: (undefined, undefined),
}
"""In vEL1: forwarded, where nothing but a control of L1's sends the class to EL2; injected, where
the class is EL1's own; UNDEFINED, where a hidden feature's instructions trap. In the hyp context
AArch32 does not run, and L1's controls are not loaded: most of these rows cannot come about, and
say what would be right if they did. None stops L0."""
DISPATCH = tuple(Row(ec, *HANDLED.get(ec, (undefined, undefined))) for ec in range(64))
"""All 64 classes, in order; what nobody has allocated is UNDEFINED. The classes of exceptions from
EL2 itself (IABT_SAME and so on) never come here, nor does SERROR, which has a vector of its own."""

ANSWERED_VEL2 = tuple(row for row in DISPATCH if row.vel2 is not undefined)
ANSWERED_VEL1 = tuple(row for row in DISPATCH if row.vel1 is not undefined)
"""The rows that say more than that: the fewer there are, the shorter is the way to each."""


@inline
def count(vcpu: Vcpu, ec: u64) -> None:
    """Count a trap by context and class."""
    index = u64(vcpu.context * 64 + ec)
    vcpu.counters.by_ec[index] = u64(vcpu.counters.by_ec[index] + 1)


@resident
def handle_sync(vcpu: Vcpu, esr: u64) -> None:
    """Handle a synchronous exception from a lower EL."""
    vcpu.esr = esr
    vcpu.far = mrs(sr.FAR_EL2)
    ec = ESR_ELx.EC.get(esr)
    count(vcpu, ec)
    outcome = Outcome.UNDEFINED
    if vcpu.context == CONTEXT_VEL2:
        for row in ANSWERED_VEL2:
            if ec == row.ec:
                outcome = row.vel2(vcpu)
    else:
        for row in ANSWERED_VEL1:
            if ec == row.ec:
                outcome = row.vel1(vcpu)
    if outcome == Outcome.UNDEFINED:
        outcome = undefined(vcpu)
    apply(vcpu, outcome)


@resident
def skip(vcpu: Vcpu) -> bool:
    """Go on behind the instruction, which has been done; False if a debugger steps there."""
    vcpu.pc = u64(vcpu.pc + INSTRUCTION_BYTES)
    is_stepped = vcpu.pstate & SPSR_ELx.SS.mask
    vcpu.pstate = vcpu.pstate & ~SINGLE_USE
    if is_stepped != 0:
        take_software_step(vcpu)
        return False
    return True


@inline
def apply(vcpu: Vcpu, outcome: Outcome) -> None:
    """Do what a handler asked for: the one place that moves PC."""
    if outcome == Outcome.RESUME:
        return
    if outcome == Outcome.SKIP:
        skip(vcpu)
    elif outcome == Outcome.AHEAD:
        if skip(vcpu):
            ahead.run(vcpu)
    elif outcome == Outcome.FORWARD:
        vcpu.counters.forwarded = u64(vcpu.counters.forwarded + 1)
        take_to_vel2(vcpu, SYNC)
        write_syndrome(vcpu)
    elif outcome == Outcome.INJECT:
        vcpu.counters.injected = u64(vcpu.counters.injected + 1)
        take_to_running_el1(vcpu, SYNC)
        write_syndrome(vcpu)
    else:
        fatal(vcpu, Fatal.BAD_OUTCOME, outcome)


@resident
def take_software_step(vcpu: Vcpu) -> None:
    """Take the exception that follows an instruction of a stepped guest that L0 has emulated.

    Hardware would take it by itself, but could not tell that an instruction was stepped (ISV).
    """
    traps = l1_mdcr(vcpu) & sr.MDCR_EL2.TDE.mask | l1_hcr(vcpu) & TGE
    to_vel2 = vcpu.context == CONTEXT_VEL1 and traps != 0
    if to_vel2 or is_el0(vcpu.pstate):
        vcpu.syndrome = STEPPED | ESR_ELx.EC.put(EC.SOFTSTEP_LOWER)
    else:
        vcpu.syndrome = STEPPED | ESR_ELx.EC.put(EC.SOFTSTEP_SAME)
    vcpu.syndrome_has_far = 0
    if to_vel2:
        take_to_vel2(vcpu, SYNC)
    else:
        take_to_running_el1(vcpu, SYNC)
    write_syndrome(vcpu)


@inline
def write_syndrome(vcpu: Vcpu) -> None:
    """Give the EL that takes the exception its ESR and, where there is one, its FAR."""
    msr(sr.ESR_EL1, vcpu.syndrome)
    if vcpu.syndrome_has_far != 0:
        msr(sr.FAR_EL1, vcpu.syndrome_far)
        vcpu.syndrome_has_far = 0


@resident
def handle_irq(vcpu: Vcpu) -> None:
    """Handle a physical IRQ. It is never ours: only vEL1 with L1's HCR_EL2.IMO sends it here."""
    vcpu.counters.irq[vcpu.context] = u64(vcpu.counters.irq[vcpu.context] + 1)
    asynchronous(vcpu, IRQ)


@resident
def handle_fiq(vcpu: Vcpu) -> None:
    """Handle a physical FIQ, as an IRQ."""
    vcpu.counters.fiq[vcpu.context] = u64(vcpu.counters.fiq[vcpu.context] + 1)
    asynchronous(vcpu, FIQ)


@resident
def handle_serror(vcpu: Vcpu) -> None:
    """Handle a physical SError, which L1's HCR_EL2.AMO sends here, with its syndrome."""
    vcpu.counters.serror[vcpu.context] = u64(vcpu.counters.serror[vcpu.context] + 1)
    vcpu.esr = mrs(sr.ESR_EL2)
    asynchronous(vcpu, SERROR)
    msr(sr.ESR_EL1, vcpu.esr)


@inline
def asynchronous(vcpu: Vcpu, kind: u64) -> None:
    """Give an asynchronous exception to vEL2.

    In the hyp context HCR_EL2.{IMO,FMO,AMO,TGE} are 0, whatever L1 writes, so hardware takes them
    to vEL2 without us. Should one come all the same, an interrupt is still pending: hardware is
    told again what the context needs. An SError is not, and would be lost: vEL2 gets it.
    """
    if vcpu.context == CONTEXT_VEL2 and kind != SERROR:
        controls.load_for_vel2(vcpu)
    else:
        take_to_vel2(vcpu, kind)


@resident
def handle_bad_vector(vcpu: Vcpu, vector: u64) -> None:
    """Handle an exception that must not happen: from EL2 itself, or from AArch32."""
    vcpu.esr = mrs(sr.ESR_EL2)
    vcpu.far = mrs(sr.FAR_EL2)
    if vector < 8:
        fatal(vcpu, Fatal.VECTOR_SAME_EL, vector)
    fatal(vcpu, Fatal.VECTOR_AARCH32, vector)


@resident
def fatal(vcpu: Vcpu, code: u64, detail: u64) -> None:
    """Record a broken invariant of ours and stop the machine."""
    vm = vm_of(vcpu)
    vm.fatal_code = code
    vm.fatal_detail = detail
    vm.fatal_esr = mrs(sr.ESR_EL2)
    vm.fatal_elr = mrs(sr.ELR_EL2)
    vm.fatal_far = mrs(sr.FAR_EL2)
    smc.stop_machine(vcpu, Stop.FATAL, smc.SYSTEM_OFF)
