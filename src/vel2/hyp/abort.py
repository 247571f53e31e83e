"""Aborts that stage 2 raises.

In the hyp context the only stage 2 is the canonical one, so the fault means that L1 touched
something that is not in its memory map: L1 gets the synchronous External abort the machine would
give.

In vEL1 a fault is L1's or L0's. L1's own tables are walked first. What L1 does not map or allow is
forwarded with L1's level and the L2 IPA, as if hardware had walked L1's tables; what L1 maps onto
nothing is an External abort; all else is a shadow leaf not there yet, and is filled in.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import Stage2Leaf
from vel2.arch.esr import EC, FSC, ISS_DABT, ESR_ELx
from vel2.arch.homes import slot
from vel2.arch.insn import AT
from vel2.hyp import pool, shadow
from vel2.hyp.answer import forward_with_far
from vel2.hyp.at import ALL_REACHED, reach_tables
from vel2.hyp.exception import EL0T, MODE
from vel2.hyp.outcome import Outcome
from vel2.hyp.pool import PAGE_MASK
from vel2.hyp.state import NO_FAULT, Stage2, Vcpu, page_of, vm_of
from vel2.hyp.walk import guest_stage2
from vel2.lang import L2IPA, at, inline, isb, mrs, msr, resident, sysop, u64

FSC_MASK = ISS_DABT.DFSC.mask
FSC_TYPE = FSC_MASK & ~3
LOWER_TO_SAME = 1
"""An abort's EC from a lower EL plus 1 is the same abort from the current EL."""
HPFAR_FIPA = sr.HPFAR_EL2.FIPA
EXTERNAL_KEEPS = ISS_DABT.CM.mask | ISS_DABT.WnR.mask
PAR_PA = ((1 << 52) - 1) & ~PAGE_MASK
TEA = sr.HCR_EL2.TEA.mask
HCR_SLOT = slot(sr.HCR_EL2)
XN_EL0_ONLY = 0b01
XN_NEVER = 0b10
XN_EL1_ONLY = 0b11
S2AP_READ = 0b01
S2AP_WRITE = 0b10


@inline
def is_instruction(esr: u64) -> bool:
    """Whether an abort from a lower EL was an instruction fetch."""
    return ESR_ELx.EC.get(esr) == EC.IABT_LOWER


@inline
def is_fetch(esr: u64) -> bool:
    """Whether an abort from a lower EL was on the instruction fetched, not on a walk for it."""
    return is_instruction(esr) and esr & ISS_DABT.S1PTW.mask == 0


@inline
def is_never_executable(canonical: u64) -> bool:
    """Whether the canonical stage 2 lets nobody execute from a leaf: a device's."""
    return Stage2Leaf.XN.get(canonical) == XN_NEVER


@resident
def external_abort(vcpu: Vcpu) -> Outcome:
    """Answer an access to nothing with a synchronous External abort to the EL that made it.

    On a stage-1 walk the level belongs to the syndrome, which a stage-2 fault does not tell: the
    walk is done again in software.
    """
    esr = vcpu.esr
    from_el0 = vcpu.pstate & MODE == EL0T
    ec = ESR_ELx.EC.get(esr)
    if not from_el0:
        ec = u64(ec + LOWER_TO_SAME)
    iss = u64(FSC.SYNC_EXTERNAL)
    if esr & ISS_DABT.S1PTW.mask:
        level = reach_tables(vcpu, vcpu.far)
        if level == ALL_REACHED:
            return Outcome.RESUME
        iss = u64(FSC.SYNC_EXTERNAL_WALK + level)
    if not is_instruction(esr):
        iss = iss | esr & EXTERNAL_KEEPS
    vcpu.syndrome = ESR_ELx.EC.put(ec) | ESR_ELx.IL.mask | iss
    vcpu.syndrome_far = vcpu.far
    vcpu.syndrome_has_far = 1
    return Outcome.INJECT


@resident
def from_vel2(vcpu: Vcpu) -> Outcome:
    """Handle an abort in the hyp context."""
    return external_abort(vcpu)


@inline
def faulting_ipa(vcpu: Vcpu, hpfar: u64) -> u64:
    """Give the IPA of a fault for which HPFAR_EL2 is valid; the page's alone for a stage-1 walk."""
    ipa = HPFAR_FIPA.get(hpfar) << 12
    if vcpu.esr & ISS_DABT.S1PTW.mask == 0:
        ipa = ipa | vcpu.far & PAGE_MASK
    return ipa & ((1 << 52) - 1)


@resident
def translate_far(vcpu: Vcpu) -> u64:
    """Find the IPA of a permission fault, for which HPFAR_EL2 is UNKNOWN, by AT; PAR_EL1 is kept.

    :return: the IPA, or 1 if stage 1 no longer translates the address.
    """
    saved = mrs(sr.PAR_EL1)
    if vcpu.pstate & MODE == EL0T:
        sysop(AT.S1E0R, vcpu.far)
    else:
        sysop(AT.S1E1R, vcpu.far)
    isb()
    par = mrs(sr.PAR_EL1)
    msr(sr.PAR_EL1, saved)
    if par & sr.PAR_EL1.F.mask:
        return 1
    return par & PAR_PA | vcpu.far & PAGE_MASK


@inline
def is_write(esr: u64) -> bool:
    """Whether a data abort was for a write; a walk only writes flags, a permission fault."""
    if esr & ISS_DABT.S1PTW.mask:
        return esr & FSC_TYPE == FSC.PERMISSION
    return esr & ISS_DABT.WnR.mask != 0 and esr & ISS_DABT.CM.mask == 0


@resident
def l1_forbids(vcpu: Vcpu) -> bool:
    """Whether L1's leaf (`vcpu.walk`) forbids the access (AArch64.S2CheckPermissions)."""
    if is_fetch(vcpu.esr):
        xn = vcpu.walk.xn
        # Being readable has no part in it (AArch64.S2DirectBasePermissions).
        if xn == XN_NEVER:
            return True
        if vcpu.pstate & MODE == EL0T:
            return xn == XN_EL1_ONLY
        return xn == XN_EL0_ONLY
    needed = S2AP_READ
    if is_write(vcpu.esr):
        needed = S2AP_WRITE
        if vcpu.esr & ISS_DABT.S1PTW.mask:
            # A walk that writes a flag also reads. Taken for a write alone, what it may not read
            # would be filled in, fault again, and never end.
            needed = S2AP_READ | S2AP_WRITE
    return vcpu.walk.s2ap & needed != needed


@resident
def forward_fault(vcpu: Vcpu, fsc: u64, ipa: u64) -> Outcome:
    """Forward a stage-2 fault with the code and level that L1's own tables give it."""
    vcpu.syndrome = vcpu.esr & ~FSC_MASK | fsc
    vcpu.syndrome_far = vcpu.far
    vcpu.syndrome_has_far = 1
    vcpu.hpfar = HPFAR_FIPA.put(ipa >> 12)
    return Outcome.FORWARD


@resident
def from_vel1(vcpu: Vcpu) -> Outcome:
    """Handle an abort of vEL1 or below that hardware took to EL2."""
    kind = vcpu.esr & FSC_TYPE
    if kind == FSC.TRANSLATION or kind == FSC.ACCESS_FLAG or kind == FSC.ADDRESS_SIZE:
        return stage2_fault(vcpu, faulting_ipa(vcpu, mrs(sr.HPFAR_EL2)))
    if kind == FSC.PERMISSION:
        if vcpu.esr & ISS_DABT.S1PTW.mask:
            return stage2_fault(vcpu, faulting_ipa(vcpu, mrs(sr.HPFAR_EL2)))
        ipa = translate_far(vcpu)
        if ipa == 1:
            return Outcome.RESUME
        return stage2_fault(vcpu, ipa)
    if vcpu.esr & FSC_MASK == FSC.TLB_CONFLICT:
        pool.flush(at(Stage2, vcpu.shadow))
        return Outcome.RESUME
    return forward_with_far(vcpu)


@resident
def stage2_fault(vcpu: Vcpu, ipa: u64) -> Outcome:
    """Resolve a fault of hardware's stage 2 while vEL1 runs."""
    vm = vm_of(vcpu)
    context = at(Stage2, vcpu.shadow)
    if context.stage2_off != 0:
        return to_nothing(vcpu)
    guest_stage2(vm, vcpu.walk, context.guest_vttbr, context.guest_vtcr, L2IPA(ipa))
    if vcpu.walk.fsc != NO_FAULT:
        return forward_fault(vcpu, vcpu.walk.fsc, ipa)
    if l1_forbids(vcpu):
        return forward_fault(vcpu, u64(FSC.PERMISSION + vcpu.walk.guest_level), ipa)
    canonical = shadow.output_of(vm, vcpu.walk.output)
    if canonical == 0 or (is_fetch(vcpu.esr) and is_never_executable(canonical)):
        return to_nothing(vcpu)
    shadow.fill(vcpu, L2IPA(ipa), canonical)
    return Outcome.RESUME


@inline
def to_nothing(vcpu: Vcpu) -> Outcome:
    """Answer L2's access to an address that L1 maps but does not have (HCR_EL2.TEA routes it)."""
    outcome = external_abort(vcpu)
    if outcome == Outcome.RESUME:
        return outcome
    if page_of(vcpu).slot[HCR_SLOT] & TEA:
        vcpu.syndrome = vcpu.syndrome & ~ESR_ELx.EC.mask | vcpu.esr & ESR_ELx.EC.mask
        return Outcome.FORWARD
    return outcome
