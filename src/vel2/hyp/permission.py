"""Whether L1's stage 2 allows an access that faulted (AArch64.S2CheckPermissions).

What the access was is in the syndrome; what L1's leaf says is in `Vcpu.walk`.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import S2MemAttrParts, Stage2Leaf
from vel2.arch.esr import EC, FSC, FSC_LEVEL, ISS_DABT, ESR_ELx
from vel2.hyp.exception import is_el0
from vel2.hyp.hcr import l1_hcr
from vel2.hyp.state import Vcpu
from vel2.hyp.walk import S2AP_READ, S2AP_WRITE
from vel2.lang import inline, resident, u64

__all__ = (
    "FSC_MASK",
    "FSC_TYPE",
    "is_fetch",
    "is_instruction",
    "is_never_executable",
    "is_protected_walk",
    "l1_forbids",
    "permission_status",
)

FSC_MASK = ISS_DABT.DFSC.mask
FSC_TYPE = FSC_MASK & ~FSC_LEVEL
XN_EL0_ONLY = 0b01
XN_NEVER = 0b10
XN_EL1_ONLY = 0b11
PTW = sr.HCR_EL2.PTW.mask
FWB = sr.HCR_EL2.FWB.mask
NORMAL_MEMORY = S2MemAttrParts.Outer.mask
"""Of MemAttr: one of these bits is set in all types of Normal memory."""
NORMAL_MEMORY_FWB = 0b0100


@inline
def is_instruction(esr: u64) -> bool:
    """Whether an abort from a lower EL was an instruction fetch."""
    return ESR_ELx.EC.get(esr) == EC.IABT_LOWER


@inline
def is_fetch(esr: u64) -> bool:
    """Whether an abort from a lower EL was on the instruction fetched, not on a walk for it."""
    return is_instruction(esr) and esr & ISS_DABT.S1PTW.mask == 0


@inline
def is_write(esr: u64) -> bool:
    """Whether a data abort was for a write; a walk only writes flags, a permission fault."""
    if esr & ISS_DABT.S1PTW.mask:
        return esr & FSC_TYPE == FSC.PERMISSION
    return esr & ISS_DABT.WnR.mask != 0 and esr & ISS_DABT.CM.mask == 0


@inline
def is_never_executable(canonical: u64) -> bool:
    """Whether the canonical stage 2 lets nobody execute from a leaf: a device's."""
    return Stage2Leaf.XN.get(canonical) == XN_NEVER


@resident
def l1_forbids(vcpu: Vcpu) -> bool:
    """Whether L1's leaf (`vcpu.walk`) forbids the access (AArch64.S2CheckPermissions)."""
    if is_fetch(vcpu.trap.esr):
        xn = vcpu.walk.xn
        # Being readable has no part in it (AArch64.S2DirectBasePermissions).
        if xn == XN_NEVER:
            return True
        if is_el0(vcpu.pstate):
            return xn == XN_EL1_ONLY
        return xn == XN_EL0_ONLY
    needed = S2AP_READ
    if is_write(vcpu.trap.esr):
        needed = S2AP_WRITE
        if vcpu.trap.esr & ISS_DABT.S1PTW.mask:
            # A walk that writes a flag also reads. Taken for a write alone, what it may not read
            # would be filled in, fault again, and never end.
            needed = S2AP_READ | S2AP_WRITE
    return vcpu.walk.s2ap & needed != needed


@inline
def is_protected_walk(vcpu: Vcpu) -> bool:
    """Whether HCR_EL2.PTW forbids a walk of stage 1 in L1's leaf: Device memory.

    Only hardware's Permission fault asks: at the first fault on the table it is not mapped yet.
    """
    hcr = l1_hcr(vcpu)
    normal = u64(NORMAL_MEMORY)
    if hcr & FWB:
        normal = NORMAL_MEMORY_FWB
    return (
        hcr & PTW != 0
        and vcpu.trap.esr & ISS_DABT.S1PTW.mask != 0
        and vcpu.trap.esr & FSC_TYPE == FSC.PERMISSION
        and vcpu.walk.memattr & normal == 0
    )


@inline
def permission_status(vcpu: Vcpu) -> u64:
    """Give the status of a Permission fault at L1's leaf (`vcpu.walk`).

    No leaf of ours is at level 0: a machine whose Permission fault says 0 does not give the level
    of what forbids it (QEMU, of writes by the walk and with HCR_EL2.PTW), and L1 gets it as it is.
    """
    if vcpu.trap.esr & FSC_MASK == FSC.PERMISSION:
        return u64(FSC.PERMISSION)
    return u64(FSC.PERMISSION + vcpu.walk.guest_level)
