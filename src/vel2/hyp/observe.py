"""What watches a trap: called where it begins and where it ends, if somebody may want it.

    begin   the `Trap` is complete, and nothing has been done: who wants it says what to note, and
            may decide the outcome, which then comes in the place of L0's own handler's;
    end     the outcome has been delivered: the guest goes on at `Vcpu.pc`.

The vectors ask first (`watch`), so nothing here is reached while nobody watches. The tracer's
events go to the ring (`event`), probes are called in both places (`probe`).
"""

from vel2.arch import sysregs as sr
from vel2.arch.a64 import ZR
from vel2.arch.esr import EC, ISS_DABT, ISS_SYS64, ESR_ELx
from vel2.hyp import event, hook, probe
from vel2.hyp.outcome import Outcome
from vel2.hyp.records import SYNC
from vel2.hyp.state import Vcpu, page_of
from vel2.hyp.watch import HOOK, PROBE, PROBE_AT_END, SWITCHES, TRACE
from vel2.lang import cold, inline, mrs, resident, u64
from vel2.trace.schema import Flag

__all__ = ("begin", "end", "end_for_good", "probe_begin")

IS_READ = ISS_SYS64.Direction.mask
WITH_IPA = (EC.IABT_LOWER, EC.DABT_LOWER)
WITH_FAR = (*WITH_IPA, EC.DABT_SAME, EC.PC_ALIGN, EC.WATCHPOINT_LOWER)


@inline
def access_value(vcpu: Vcpu) -> u64:
    """Give the general-purpose register of an access to a system register."""
    rt = ISS_SYS64.Rt.get(vcpu.trap.esr)
    if rt == ZR:
        return 0
    return vcpu.x[rt]


@inline
def is_access(vcpu: Vcpu) -> bool:
    """Whether the trap is an MRS, MSR or SYS."""
    return vcpu.trap.kind == SYNC and ESR_ELx.EC.get(vcpu.trap.esr) == EC.SYS64


@inline
def validity(vcpu: Vcpu) -> u64:
    """Say which addresses hardware gave with the trap."""
    flags = u64(0)
    if vcpu.trap.kind == SYNC:
        ec = ESR_ELx.EC.get(vcpu.trap.esr)
        if ec in WITH_FAR and vcpu.trap.esr & ISS_DABT.FnV.mask == 0:
            flags = u64(Flag.FAR_VALID)
        if ec in WITH_IPA:
            flags = flags | Flag.IPA_VALID
    return flags


@inline
def probe_begin(vcpu: Vcpu) -> None:
    """Let a probe see a trap that begins."""
    probe.run(vcpu, probe.AT_BEGIN, 0)


@resident
def begin(vcpu: Vcpu, who: u64) -> Outcome:
    """Let those see a trap that begins who want it.

    Probes come first: what another one does to the vCPU is not what trapped.

    :param who: of `Watch.classes`.
    :return: what is to come of it; NOBODY leaves it to L0's handler.
    """
    if who & PROBE:
        probe_begin(vcpu)
    vcpu.seen.wanted = who & ~PROBE
    if vcpu.seen.wanted != 0:
        note(vcpu)
    if who & HOOK:
        return hook.consult(vcpu)
    return Outcome.NOBODY


@inline
def note(vcpu: Vcpu) -> None:
    """Keep of a trap what its end does not know any more."""
    seen = vcpu.seen
    seen.began = mrs(sr.CNTPCT_EL0)
    seen.hcr = mrs(sr.HCR_EL2)
    seen.vttbr = page_of(vcpu).slot[event.VTTBR_SLOT]
    seen.source = event.place_of(vcpu, vcpu.trap.context, vcpu.trap.pstate, seen.hcr)
    seen.forwarded, seen.injected = vcpu.counters.forwarded, vcpu.counters.injected
    seen.flags = validity(vcpu)
    seen.value = 0
    seen.is_read = 0
    if is_access(vcpu):
        if vcpu.trap.esr & IS_READ:
            seen.is_read = 1
        else:
            seen.flags = seen.flags | Flag.HAS_VALUE
            seen.value = access_value(vcpu)


@resident
def end(vcpu: Vcpu) -> None:
    """Take note of a trap that has been delivered."""
    if vcpu.seen.wanted & TRACE and event.wants_trap(vcpu):
        event.trapped(vcpu)
    if vcpu.seen.wanted & SWITCHES and vcpu.context != vcpu.trap.context:
        event.switched(vcpu)
    if vcpu.seen.wanted & PROBE_AT_END:
        probe.run(vcpu, probe.AT_END, event.outcome_of(vcpu))
    vcpu.seen.wanted = 0


@cold
def end_for_good(vcpu: Vcpu) -> None:
    """Take note of a trap out of which the guest does not come back: what it does not live to."""
    if vcpu.seen.wanted & TRACE and event.wants_trap(vcpu):
        event.trapped(vcpu)
    vcpu.seen.wanted = 0
