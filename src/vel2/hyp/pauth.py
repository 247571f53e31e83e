"""Authentication of ERETAA and ERETAB (Auth, ComputePAC) on behalf of vEL2.

L0 cannot use AUTIA for this. At EL2, AUTIA would take the width of the PAC field from TCR_EL2, and
with FEAT_FPAC a wrong pointer would raise an exception inside L0. PACGA computes the same function
with the generic key and never faults, so L0 puts the guest's instruction key there for one
instruction.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import GRANULE_16K, GRANULE_64K, PACError, VirtualAddress
from vel2.arch.esr import EC, ISS_ERET, ESR_ELx
from vel2.arch.pstate import PSTATE_MODE, M_EL1h
from vel2.hyp.stage1 import granule_bits
from vel2.hyp.state import Vcpu, id_index, vm_of
from vel2.lang import U32_MAX, U64_MAX, extern, inline, mrs, resident, u64

__all__ = ("IS_ERETA", "authenticated", "failure", "faults", "is_enabled", "stripped")

IS_ERETA = ISS_ERET.ERET.mask
"""The instruction was ERETAA or ERETAB."""
KEY_B = ISS_ERET.ERETA.mask
UPPER, TAG = VirtualAddress.Upper.mask, VirtualAddress.Tag.mask
PAC_COMPUTED = U64_MAX & ~U32_MAX
"""What PACGA gives of a PAC."""
KEY_A_ERROR, KEY_B_ERROR = 0b01, 0b10
"""The error code of Auth without FEAT_PAuth2."""
APA_ENHANCED = 3
"""ID_AA64ISAR1_EL1.{APA,API}, ID_AA64ISAR2_EL1.APA3: from here on FEAT_PAuth2."""
APA_FPACCOMBINE = 5
TCR = sr.TCR_EL1
MMFR0, MMFR2 = sr.ID_AA64MMFR0_EL1, sr.ID_AA64MMFR2_EL1
TGRAN4_52_BITS, TGRAN16_52_BITS = 1, 2
SIZE_OF_52_BITS, SIZE_OF_48_BITS = 12, 16
SIZE_WITHOUT_TTST, SIZE_WITH_TTST, SIZE_WITH_TTST_64K = 39, 48, 47
ISAR1 = id_index(sr.ID_AA64ISAR1_EL1)
ISAR2 = id_index(sr.ID_AA64ISAR2_EL1)


@extern("pac_with_key_a")
def pac_with_key_a(pointer: u64, modifier: u64) -> u64:
    """Compute the PAC of a pointer with the running guest's instruction key A."""
    raise NotImplementedError("pointer authentication needs the machine")


@extern("pac_with_key_b")
def pac_with_key_b(pointer: u64, modifier: u64) -> u64:
    """Compute the PAC of a pointer with the running guest's instruction key B."""
    raise NotImplementedError("pointer authentication needs the machine")


@resident
def pac_feature(vcpu: Vcpu) -> u64:
    """Give the largest of APA, API and APA3 that L1 sees."""
    vm = vm_of(vcpu)
    best = sr.ID_AA64ISAR1_EL1.APA.get(vm.probed.id_registers[ISAR1])
    other = sr.ID_AA64ISAR1_EL1.API.get(vm.probed.id_registers[ISAR1])
    if other > best:
        best = other
    other = sr.ID_AA64ISAR2_EL1.APA3.get(vm.probed.id_registers[ISAR2])
    if other > best:
        best = other
    return best


@inline
def has_large_addresses(tcr: u64, granule: u64) -> bool:
    """Whether hardware takes input addresses of 52 bits: FEAT_LVA, or FEAT_LPA2 where DS asks."""
    if granule == GRANULE_64K.log2_bytes:
        return MMFR2.VARange.get(mrs(MMFR2)) != 0
    if TCR.DS.get(tcr) == 0:
        return False
    features = mrs(MMFR0)
    if granule == GRANULE_16K.log2_bytes:
        return MMFR0.TGran16.get(features) >= TGRAN16_52_BITS
    return MMFR0.TGran4.get(features) == TGRAN4_52_BITS


@resident
def size_field(tcr: u64, upper: bool) -> u64:
    """Give TCR_EL1.TnSZ as hardware uses it: a value beyond a limit means the limit.

    That is a choice the architecture gives (CONSTRAINED UNPREDICTABLE, RESTnSZ), and QEMU's.
    """
    size = TCR.T0SZ.get(tcr)
    if upper:
        size = TCR.T1SZ.get(tcr)
    granule = granule_bits(tcr, upper)
    least = u64(SIZE_OF_48_BITS)
    if has_large_addresses(tcr, granule):
        least = SIZE_OF_52_BITS
    most = u64(SIZE_WITHOUT_TTST)
    if MMFR2.ST.get(mrs(MMFR2)) != 0:
        most = SIZE_WITH_TTST
        if granule == GRANULE_64K.log2_bytes:
            most = SIZE_WITH_TTST_64K
    if size < least:
        return least
    if size > most:
        return most
    return size


@inline
def pac_mask(target: u64) -> u64:
    """Mask the PAC field of a pointer under hardware's TCR_EL1 (CalculateBottomPACBit)."""
    tcr = mrs(TCR)
    upper = target & UPPER != 0
    size = size_field(tcr, upper)
    ignored = TCR.TBI0.get(tcr) & (TCR.TBID0.get(tcr) ^ 1)
    if upper:
        ignored = TCR.TBI1.get(tcr) & (TCR.TBID1.get(tcr) ^ 1)
    mask = u64(UPPER - (1 << u64(64 - size)))
    if ignored == 0:
        mask = mask | TAG
    return mask


@resident
def is_enabled(esr: u64) -> bool:
    """Whether vEL2's SCTLR_EL2 lets ERETAA or ERETAB authenticate: without, each is an ERET."""
    sctlr = mrs(sr.SCTLR_EL1)
    if esr & KEY_B != 0:
        return sctlr & sr.SCTLR_EL1.EnIB.mask != 0
    return sctlr & sr.SCTLR_EL1.EnIA.mask != 0


@resident
def stripped(target: u64) -> u64:
    """Give a pointer with its PAC field as in an address (Strip)."""
    mask = pac_mask(target)
    if target & UPPER:
        return target | mask
    return target & ~mask


@resident
def authenticated(vcpu: Vcpu, target: u64, plain: u64) -> u64:
    """Give the address that ERETAA or ERETAB returns to (Auth): `plain` only if the PAC is right.

    :param plain: `stripped(target)`.
    """
    modifier = mrs(sr.SP_EL0)
    if vcpu.pstate & PSTATE_MODE == M_EL1h:
        modifier = mrs(sr.SP_EL1)
    pac = u64(0)
    if vcpu.trap.esr & KEY_B != 0:
        pac = pac_with_key_b(plain, modifier)
    else:
        pac = pac_with_key_a(plain, modifier)
    mask = pac_mask(target)
    is_enhanced = pac_feature(vcpu) >= APA_ENHANCED
    found = target
    if is_enhanced:
        found = target ^ plain
    wrong = (found ^ pac) & mask & PAC_COMPUTED
    if wrong == 0:
        return plain
    if is_enhanced:
        return plain ^ wrong
    error = u64(KEY_A_ERROR)
    if vcpu.trap.esr & KEY_B != 0:
        error = u64(KEY_B_ERROR)
    if mask & TAG != 0:
        return PACError.code.set(plain, error)
    return PACError.code_with_tbi.set(plain, error)


@resident
def faults(vcpu: Vcpu) -> bool:
    """Whether a wrong PAC is an exception of the ERETAA or ERETAB itself (FEAT_FPACCOMBINE)."""
    return pac_feature(vcpu) >= APA_FPACCOMBINE


@inline
def failure(esr: u64) -> u64:
    """Give the syndrome of that exception."""
    return ESR_ELx.EC.put(EC.FPAC) | ESR_ELx.IL.mask | esr & KEY_B
