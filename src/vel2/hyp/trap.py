"""Trap dispatch: one table in the order of ESR_ELx.EC, and one way out, `deliver`.

The vectors save the 31 GPRs, ELR_EL2 and SPSR_EL2 into the `Vcpu`, call here, and restore them.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, FSC, ISS_SOFTSTEP, ESR_ELx
from vel2.arch.psci import SYSTEM_OFF
from vel2.hyp import aarch32, abort, ahead, controls, eret, observe, smc, sve, sysreg, vncr
from vel2.hyp.answer import (
    forward,
    forward_with_far,
    give,
    inject,
    inject_with_far,
    interrupt,
    serror,
    undefined,
)
from vel2.hyp.exception import is_el0, return_from_vel2, step_back, step_over, take_exception
from vel2.hyp.hcr import TGE, l1_hcr
from vel2.hyp.outcome import Fatal, Outcome, Stop
from vel2.hyp.records import FIQ, IRQ, SERROR, SYNC, TO_RUNNING_EL1, TO_VEL2
from vel2.hyp.selectors import l1_mdcr
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu, vm_of
from vel2.hyp.watch import CLASSES_PER_CONTEXT, PROBE, class_of_interrupt
from vel2.lang import inline, mrs, resident, u32, u64

__all__ = (
    "fatal",
    "handle_bad_vector",
    "handle_fiq",
    "handle_irq",
    "handle_serror",
    "handle_sync",
    "handle_watched_interrupt",
    "handle_watched_sync",
)

HCD = sr.HCR_EL2.HCD.mask
STEPPED = ESR_ELx.IL.mask | ISS_SOFTSTEP.compose(ISV=1, IFSC=FSC.DEBUG)


@resident
def hvc_from_vel2(vcpu: Vcpu) -> Outcome:
    """Take HVC of vEL2 to vEL2 itself; ELR is already behind it."""
    if l1_hcr(vcpu) & HCD:
        undefined(vcpu)
        return Outcome.UNDO
    return forward(vcpu)


@resident
def hint(vcpu: Vcpu) -> Outcome:
    """Do nothing for an instruction that may do nothing."""
    return Outcome.SKIP


Handler = Callable[[Vcpu], Outcome]


@dataclass(frozen=True)
class ExceptionClass:
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
    EC.DABT_SAME: (undefined, vncr.from_vel1),
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
DISPATCH = tuple(ExceptionClass(ec, *HANDLED.get(ec, (undefined, undefined))) for ec in range(64))
"""All 64 classes, in order; what nobody has allocated is UNDEFINED. The classes of exceptions from
EL2 itself (IABT_SAME and so on) never come here, but for what FEAT_NV2 makes of an access of vEL1
to a register (DABT_SAME); nor does SERROR, which has a vector of its own."""

ANSWERED_VEL2 = tuple(row for row in DISPATCH if row.vel2 is not undefined)
ANSWERED_VEL1 = tuple(row for row in DISPATCH if row.vel1 is not undefined)
"""The rows that say more than that: the fewer there are, the shorter is the way to each."""


@inline
def begin(vcpu: Vcpu, kind: u64, context: u64, esr: u64) -> None:
    """Complete the record of a trap, which the vectors have begun: the way in of every trap."""
    vcpu.trap.kind = kind
    vcpu.trap.context = context
    vcpu.trap.esr = esr


@resident
def handle_sync(vcpu: Vcpu, esr: u64) -> None:
    """Handle a synchronous exception from a lower EL."""
    context = vcpu.context
    ec = ESR_ELx.EC.get(esr)
    index = class_of(context, esr)
    vcpu.counters.by_ec[index] = u64(vcpu.counters.by_ec[index] + 1)
    vcpu.trap.far = mrs(sr.FAR_EL2)
    begin(vcpu, SYNC, context, esr)
    outcome = Outcome.NOBODY
    if context == CONTEXT_VEL2:
        for row in ANSWERED_VEL2:
            if ec == row.ec:
                outcome = row.vel2(vcpu)
    else:
        for row in ANSWERED_VEL1:
            if ec == row.ec:
                outcome = row.vel1(vcpu)
    deliver(vcpu, outcome)


@resident
def handle_irq(vcpu: Vcpu) -> None:
    """Handle a physical IRQ. It is never ours: only vEL1 with L1's HCR_EL2.IMO sends it here."""
    context = vcpu.context
    vcpu.counters.irq[context] = u64(vcpu.counters.irq[context] + 1)
    begin(vcpu, IRQ, context, 0)
    deliver(vcpu, physical_interrupt(vcpu, IRQ))


@resident
def handle_fiq(vcpu: Vcpu) -> None:
    """Handle a physical FIQ, as an IRQ."""
    context = vcpu.context
    vcpu.counters.fiq[context] = u64(vcpu.counters.fiq[context] + 1)
    begin(vcpu, FIQ, context, 0)
    deliver(vcpu, physical_interrupt(vcpu, FIQ))


@resident
def handle_serror(vcpu: Vcpu) -> None:
    """Handle a physical SError, which L1's HCR_EL2.AMO sends here, with its syndrome.

    Should one come in the hyp context, vEL2 gets it all the same: it is not pending any more.
    """
    context = vcpu.context
    vcpu.counters.serror[context] = u64(vcpu.counters.serror[context] + 1)
    begin(vcpu, SERROR, context, mrs(sr.ESR_EL2))
    deliver(vcpu, serror(vcpu, TO_VEL2, vcpu.trap.esr))


@inline
def class_of(context: u64, esr: u64) -> u64:
    """Give the class of a synchronous exception (`watch`), which is its place in `by_ec`."""
    return u64(context * CLASSES_PER_CONTEXT + ESR_ELx.EC.get(esr))


@resident
def handle_watched_sync(vcpu: Vcpu, esr: u64) -> None:
    """Handle a synchronous exception that somebody may want to see, as `handle_sync` does."""
    vcpu.trap.far = mrs(sr.FAR_EL2)
    begin(vcpu, SYNC, vcpu.context, esr)
    index = class_of(vcpu.context, esr)
    who = vcpu.observe.classes[index]
    if who == PROBE:  # it decides nothing, and has nothing to do with the end
        observe.probe_begin(vcpu)
        handle_sync(vcpu, esr)
        return
    outcome = observe.begin(vcpu, who)
    if outcome == Outcome.NOBODY:
        handle_sync(vcpu, esr)
    else:
        vcpu.counters.by_ec[index] = u64(vcpu.counters.by_ec[index] + 1)
        deliver(vcpu, outcome)
    observe.end(vcpu)


@resident
def handle_watched_interrupt(vcpu: Vcpu, kind: u64) -> None:
    """Handle an interrupt or SError that somebody may want to see; a hook may decide it."""
    esr = u64(0)
    if kind == SERROR:
        esr = mrs(sr.ESR_EL2)
    begin(vcpu, kind, vcpu.context, esr)
    index = class_of_interrupt(kind, vcpu.context)
    outcome = observe.begin(vcpu, vcpu.observe.classes[index])
    if outcome != Outcome.NOBODY:
        deliver(vcpu, outcome)
    elif kind == IRQ:
        handle_irq(vcpu)
    elif kind == FIQ:
        handle_fiq(vcpu)
    else:
        handle_serror(vcpu)
    observe.end(vcpu)


@inline
def physical_interrupt(vcpu: Vcpu, kind: u32) -> Outcome:
    """Give an interrupt to vEL2.

    In the hyp context HCR_EL2.{IMO,FMO,TGE} are 0, whatever L1 writes, so hardware takes it to vEL2
    without us. Should one come all the same, it is still pending: hardware is told again what the
    context needs.
    """
    if vcpu.context == CONTEXT_VEL2:
        controls.load_for_vel2(vcpu)
        return Outcome.RESUME
    return interrupt(vcpu, kind)


@inline
def deliver(vcpu: Vcpu, outcome: Outcome) -> None:
    """End a trap: do what its handler asked for. The way out of every trap that comes to the table.

    The guest goes on at `vcpu.pc` with `vcpu.pstate`, which change below and nowhere else.
    """
    if outcome == Outcome.RETURN:
        return_from_vel2(vcpu)
    elif outcome == Outcome.EXCEPTION:
        take_exception(vcpu)
    elif outcome == Outcome.SKIP or outcome == Outcome.AHEAD:
        if step_over(vcpu):
            software_step(vcpu)
            take_exception(vcpu)
        elif outcome == Outcome.AHEAD:
            ahead.run(vcpu)
    elif outcome != Outcome.RESUME:
        if outcome == Outcome.UNDO:
            step_back(vcpu)
        else:
            undefined(vcpu)
        take_exception(vcpu)


@resident
def software_step(vcpu: Vcpu) -> Outcome:
    """Give the exception that follows an instruction of a stepped guest that L0 has emulated.

    Hardware would take it by itself, but could not tell that an instruction was stepped (ISV).
    """
    is_trapped = l1_mdcr(vcpu) & sr.MDCR_EL2.TDE.mask | l1_hcr(vcpu) & TGE
    to_vel2 = vcpu.context == CONTEXT_VEL1 and is_trapped != 0
    ec = u64(EC.SOFTSTEP_SAME)
    if to_vel2 or is_el0(vcpu.pstate):
        ec = EC.SOFTSTEP_LOWER
    if to_vel2:
        return give(vcpu, TO_VEL2, STEPPED | ESR_ELx.EC.put(ec))
    return give(vcpu, TO_RUNNING_EL1, STEPPED | ESR_ELx.EC.put(ec))


@resident
def handle_bad_vector(vcpu: Vcpu, vector: u64) -> None:
    """Handle an exception that must not happen: from EL2 itself, or from AArch32."""
    if vector < 8:
        fatal(vcpu, Fatal.VECTOR_SAME_EL, vector)
    fatal(vcpu, Fatal.VECTOR_AARCH32, vector)


@resident
def fatal(vcpu: Vcpu, code: u64, detail: u64) -> None:
    """Record a broken invariant of ours and stop the machine."""
    vm = vm_of(vcpu)
    vm.post_mortem.fatal_code = code
    vm.post_mortem.fatal_detail = detail
    vm.post_mortem.fatal_esr = mrs(sr.ESR_EL2)
    vm.post_mortem.fatal_elr = mrs(sr.ELR_EL2)
    vm.post_mortem.fatal_far = mrs(sr.FAR_EL2)
    smc.stop_machine(vcpu, Stop.FATAL, SYSTEM_OFF)
