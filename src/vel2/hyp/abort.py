"""Aborts that stage 2 raises.

In the hyp context the only stage 2 is the canonical one. A fault there means that L1 touched
something outside its memory map, and L1 gets the synchronous External abort that the machine would
give.

In vEL1 the fault may be L1's or L0's, so L1's own tables are walked first. What L1 does not map or
allow is forwarded with L1's level and the L2 IPA, as if hardware had walked L1's tables. What L1
maps onto nothing is an External abort. Anything else is a shadow leaf that is not there yet, and is
filled in.

Some holes are registers that L0 emulates, whoever accesses them: see `mmio`.

No access may fault for ever. If everything that L1 allows is already mapped and hardware still
faults on the same access, hardware has a reason that software cannot see. L1 then gets hardware's
own report (`is_stuck`).
"""

from enum import IntEnum

from vel2.arch import sysregs as sr
from vel2.arch.a64 import SystemInstruction, system_instruction
from vel2.arch.descriptors import ADDRESS_BITS_LPA
from vel2.arch.esr import FSC, ISS_DABT, ESR_ELx
from vel2.arch.insn import DC
from vel2.hyp import mmio, pool, shadow, stage2
from vel2.hyp.answer import forward_with_far, give_stage2_fault, give_with_far
from vel2.hyp.exception import is_el0
from vel2.hyp.fallible import try_at_s1e1r
from vel2.hyp.hcr import l1_hcr
from vel2.hyp.layout import PAGE_MASK, PAGE_SHIFT
from vel2.hyp.lock import acquire, release
from vel2.hyp.outcome import Outcome
from vel2.hyp.permission import (
    FSC_MASK,
    FSC_TYPE,
    is_fetch,
    is_instruction,
    is_never_executable,
    is_protected_walk,
    l1_forbids,
    permission_status,
)
from vel2.hyp.records import CHANGED, NO_FAULT, TO_RUNNING_EL1, TO_VEL2
from vel2.hyp.stage1 import ALL_REACHED, instruction_at, reach_tables, walk_status
from vel2.hyp.state import Stage2, Vcpu, vm_of
from vel2.hyp.walk import guest_stage2
from vel2.lang import IPA, L1IPA, L2IPA, U64_MAX, at, inline, mrs, msr, resident, u64

__all__ = (
    "from_vel1",
    "from_vel2",
    "resolve",
    "stage2_fault",
)

LOWER_TO_SAME = 1
"""An abort's EC from a lower EL plus 1 is the same abort from the current EL."""
EXTERNAL_KEEPS = ISS_DABT.CM.mask | ISS_DABT.WnR.mask
NO_IPA = IPA(U64_MAX)
TEA = sr.HCR_EL2.TEA.mask
REFAULTS = 8
"""As often a fault that nothing explains is taken for a translation that a TLB still held."""
TO_PERSISTENCE = tuple(system_instruction(dc.encoding) for dc in (DC.CVAP, DC.CVADP))


@resident
def is_maintenance(vcpu: Vcpu) -> bool:
    """Whether an abort is cache maintenance's on its own address, not on a walk for it.

    QEMU says of cleaning to a point of persistence only that it reads, so the instruction tells.
    """
    if is_instruction(vcpu.trap.esr) or vcpu.trap.esr & ISS_DABT.S1PTW.mask:
        return False
    if vcpu.trap.esr & ISS_DABT.CM.mask:
        return True
    if vcpu.trap.esr & (ISS_DABT.ISV.mask | ISS_DABT.WnR.mask):
        return False
    return instruction_at(vcpu, vcpu.pc) & ~SystemInstruction.Rt.mask in TO_PERSISTENCE


@inline
def is_data_hole(esr: u64) -> bool:
    """Whether an abort is of a load or store, not of a walk for it, that met a hole of a map."""
    if is_instruction(esr) or esr & ISS_DABT.S1PTW.mask:
        return False
    return esr & FSC_TYPE == FSC.TRANSLATION


@resident
def external_abort(vcpu: Vcpu) -> Outcome:
    """Answer an access to nothing with a synchronous External abort to the EL that made it.

    On a stage-1 walk the level belongs to the syndrome, which a stage-2 fault does not tell: the
    walk is done again in software. Cache maintenance of what is not there does nothing.
    """
    esr = vcpu.trap.esr
    vcpu.walk.fsc = NO_FAULT
    if is_maintenance(vcpu):
        return Outcome.SKIP
    if vcpu.walk.fsc == CHANGED:
        return Outcome.RESUME
    from_el0 = is_el0(vcpu.pstate)
    ec = ESR_ELx.EC.get(esr)
    if not from_el0:
        ec = u64(ec + LOWER_TO_SAME)
    iss = u64(FSC.SYNC_EXTERNAL)
    if esr & ISS_DABT.S1PTW.mask:
        left = reach_tables(vcpu, vcpu.trap.far)
        if left == ALL_REACHED:
            if not is_stuck(vcpu):
                return Outcome.RESUME
            left = 1
        if vcpu.walk.fsc == CHANGED:
            return Outcome.RESUME
        iss = walk_status(left)
    if not is_instruction(esr):
        iss = iss | esr & EXTERNAL_KEEPS
    syndrome = ESR_ELx.EC.put(ec) | ESR_ELx.IL.mask | iss
    return give_with_far(vcpu, TO_RUNNING_EL1, syndrome, vcpu.trap.far)


@resident
def from_vel2(vcpu: Vcpu) -> Outcome:
    """Handle an abort in the hyp context."""
    vcpu.trap.hpfar = mrs(sr.HPFAR_EL2)
    if is_data_hole(vcpu.trap.esr):
        outcome = mmio.access(vcpu, L1IPA(faulting_ipa(vcpu)))
        if outcome != Outcome.NOBODY:
            return outcome
    return external_abort(vcpu)


@inline
def faulting_ipa(vcpu: Vcpu) -> IPA:
    """Give the IPA of a fault for which HPFAR_EL2 is valid; the page's alone for a stage-1 walk."""
    ipa = sr.HPFAR_EL2.FIPA.get(vcpu.trap.hpfar) << PAGE_SHIFT
    if vcpu.trap.esr & ISS_DABT.S1PTW.mask == 0:
        ipa = ipa | vcpu.trap.far & PAGE_MASK
    return IPA(ipa & ((1 << ADDRESS_BITS_LPA) - 1))


@resident
def translate_far(vcpu: Vcpu) -> IPA:
    """Find the IPA of a permission fault, for which HPFAR_EL2 is UNKNOWN, by AT; PAR_EL1 is kept.

    Stage 1 has let the access pass, and EL1 may read whatever stage 1 maps: so the AT is a read by
    EL1, which execute-only memory of EL0 allows as well.

    :return: the IPA, or `NO_IPA` if stage 1 no longer translates the address.
    """
    saved = mrs(sr.PAR_EL1)
    done = try_at_s1e1r(vcpu.trap.far)
    par = mrs(sr.PAR_EL1)
    msr(sr.PAR_EL1, saved)
    if done == 0 or par & sr.PAR_EL1.F.mask:
        return NO_IPA
    return IPA(par & sr.PAR_EL1.PA.mask | vcpu.trap.far & PAGE_MASK)


@resident
def is_stuck(vcpu: Vcpu) -> bool:
    """Count a fault of an access for which all is mapped; True if it has come `REFAULTS` times.

    Until then a TLB is taken to hold what was there before.
    """
    if vcpu.guesses.refault_pc != vcpu.pc or vcpu.guesses.refault_far != vcpu.trap.far:
        vcpu.guesses.refaults = 0
        vcpu.guesses.refault_pc = vcpu.pc
        vcpu.guesses.refault_far = vcpu.trap.far
    vcpu.guesses.refaults = u64(vcpu.guesses.refaults + 1)
    if vcpu.guesses.refaults < REFAULTS:
        if vcpu.shadow != 0:
            pool.flush(at(Stage2, vcpu.shadow))
        return False
    vcpu.guesses.refaults = 0
    return True


@resident
def forward_fault(vcpu: Vcpu, fsc: u64, ipa: IPA) -> Outcome:
    """Forward a stage-2 fault with the code and level that L1's own tables give it."""
    return give_stage2_fault(vcpu, vcpu.trap.esr & ~FSC_MASK | fsc, vcpu.trap.far, u64(ipa))


@resident
def from_vel1(vcpu: Vcpu) -> Outcome:
    """Handle an abort of vEL1 or below that hardware took to EL2."""
    vcpu.trap.hpfar = mrs(sr.HPFAR_EL2)
    kind = vcpu.trap.esr & FSC_TYPE
    if kind == FSC.TRANSLATION or kind == FSC.ACCESS_FLAG or kind == FSC.ADDRESS_SIZE:
        return stage2_fault(vcpu, faulting_ipa(vcpu))
    if kind == FSC.PERMISSION:
        if vcpu.trap.esr & ISS_DABT.S1PTW.mask:
            return stage2_fault(vcpu, faulting_ipa(vcpu))
        ipa = translate_far(vcpu)
        if ipa != NO_IPA:
            return stage2_fault(vcpu, ipa)
        # Only a TLB can have translated it: without the entry hardware sees what is there now.
        return again_or_forward(vcpu, faulting_ipa(vcpu))
    if vcpu.trap.esr & FSC_MASK == FSC.TLB_CONFLICT:
        return again_or_forward(vcpu, faulting_ipa(vcpu))
    return forward_with_far(vcpu)


@inline
def again_or_forward(vcpu: Vcpu, ipa: IPA) -> Outcome:
    """Let an access run again with an emptied TLB; when that does not help, L1 gets its fault."""
    if is_stuck(vcpu):
        return forward_fault(vcpu, vcpu.trap.esr & FSC_MASK, ipa)
    return Outcome.RESUME


class Resolved(IntEnum):
    """What came of a fault of hardware's stage 2."""

    FAULT = 0
    """L1's own tables do not map it; `walk.fsc` says why."""
    FORBIDDEN = 1
    HOLE = 2
    """L1 has nothing where it maps it to."""
    NOT_CODE = 3
    """It was a fetch, and the canonical stage 2 has a device there."""
    FILLED = 4
    THERE = 5
    """The leaf was there before, just so."""
    OVERTAKEN = 6
    """Other CPUs kept changing L1's leaf (`records.CHANGED`): the access is to be made again."""


@resident
def resolve(vcpu: Vcpu, context: Stage2, ipa: L2IPA) -> Resolved:
    """Walk L1's tables and fill the shadow from them, under `Stage2Manager.lock`.

    Both under one lock: a leaf that was read before a TLBI of another pcpu cannot come into the
    shadow after it.
    """
    vm = vm_of(vcpu)
    guest_stage2(vm, vcpu.walk, context.guest_vttbr, context.guest_vtcr, ipa)
    if vcpu.walk.fsc == CHANGED:
        return Resolved.OVERTAKEN
    if vcpu.walk.fsc != NO_FAULT:
        return Resolved.FAULT
    if l1_forbids(vcpu) or is_protected_walk(vcpu):
        return Resolved.FORBIDDEN
    canonical = stage2.canonical_leaf(vm, vcpu.walk.output)
    if canonical == 0:
        return Resolved.HOLE
    if is_fetch(vcpu.trap.esr) and is_never_executable(canonical):
        return Resolved.NOT_CODE
    if shadow.fill(vcpu, ipa, canonical):
        return Resolved.FILLED
    return Resolved.THERE


@resident
def stage2_fault(vcpu: Vcpu, ipa: IPA) -> Outcome:
    """Resolve a fault of hardware's stage 2 while vEL1 runs."""
    vm = vm_of(vcpu)
    context = at(Stage2, vcpu.shadow)
    if context.stage2_off != 0:
        return to_hole(vcpu, L1IPA(ipa))
    acquire(vm.stage2.lock)
    found = resolve(vcpu, context, L2IPA(ipa))
    release(vm.stage2.lock)
    if found == Resolved.FILLED or found == Resolved.OVERTAKEN:
        return Outcome.RESUME
    if found == Resolved.FAULT:
        return forward_fault(vcpu, vcpu.walk.fsc, ipa)
    if found == Resolved.FORBIDDEN:
        return forward_fault(vcpu, permission_status(vcpu), ipa)
    if found == Resolved.HOLE:
        return to_hole(vcpu, vcpu.walk.output)
    if found == Resolved.NOT_CODE:
        return to_nothing(vcpu)
    return again_or_forward(vcpu, ipa)


@resident
def to_hole(vcpu: Vcpu, address: L1IPA) -> Outcome:
    """Answer an access of vEL1 to an address of L1 where its map has a hole."""
    if is_data_hole(vcpu.trap.esr):
        outcome = mmio.access(vcpu, address)
        if outcome != Outcome.NOBODY:
            return outcome
    return to_nothing(vcpu)


@inline
def to_nothing(vcpu: Vcpu) -> Outcome:
    """Answer L2's access to an address that L1 maps but does not have (HCR_EL2.TEA routes it)."""
    outcome = external_abort(vcpu)
    if outcome == Outcome.EXCEPTION and l1_hcr(vcpu) & TEA != 0:
        syndrome = vcpu.exception.syndrome & ~ESR_ELx.EC.mask | vcpu.trap.esr & ESR_ELx.EC.mask
        return give_with_far(vcpu, TO_VEL2, syndrome, vcpu.trap.far)
    return outcome
