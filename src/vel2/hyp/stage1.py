"""The stage-1 tables of the regime that hardware's EL1 holds, walked in software (AArch64.S1Walk).

Hardware walks these tables itself. L0 walks them again when hardware reports that stage 2 stopped
it: either to make a guest's tables reachable in the shadow stage 2, or to find the level at which
nothing answers. Whatever hardware decides before it reads the first table (sizes out of range, EPD,
E0PD) is therefore not decided again here. Should the two walks still disagree, hardware's next step
is harmless (`fallible`), and its answer stands.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import (
    ADDRESS_MASK,
    GRANULE_4K,
    GRANULE_16K,
    GRANULE_64K,
    LAST_LEVEL,
    Stage1Table,
    VirtualAddress,
)
from vel2.arch.esr import FSC, FSC_LEVEL, ISS_DABT
from vel2.hyp import shadow
from vel2.hyp.fallible import try_at_s1e1r, try_load_entry
from vel2.hyp.layout import PAGE_MASK
from vel2.hyp.lock import acquire, release
from vel2.hyp.records import CHANGED, NO_FAULT
from vel2.hyp.stage2 import canonical_leaf, is_ram, pa_of
from vel2.hyp.state import CONTEXT_VEL1, Stage2, Vcpu, vm_of
from vel2.hyp.walk import S2AP_READ, guest_stage2
from vel2.lang import IPA, L1IPA, L2IPA, U32_MAX, at, inline, mrs, msr, resident, u64

__all__ = (
    "ALL_REACHED",
    "external_abort_of",
    "granule_bits",
    "has_guest_stage2",
    "instruction_at",
    "reach",
    "reach_entry",
    "reach_tables",
    "walk_status",
)

TCR = sr.TCR_EL1
UPPER = VirtualAddress.Upper.mask
TABLE = Stage1Table.compose(VALID=1, TYPE=1)
PAR = sr.PAR_EL1
DOUBLEWORD_MASK, HIGH_WORD = 7, 4
BYTE, HALF, WORD = 8, 16, 32
"""Widths in bits."""
ALL_REACHED = 0
BYTE_PAIRS, HALF_PAIRS = 0x00FF_00FF_00FF_00FF, 0x0000_FFFF_0000_FFFF


@inline
def granule_bits(tcr: u64, upper: bool) -> u64:
    """Give log2 of the granule for one half of the address space.

    A reserved TG0 or TG1 is an IMPLEMENTATION DEFINED choice: the smallest, as in `walk`.
    """
    if upper:
        tg1 = TCR.TG1.get(tcr)
        if tg1 == GRANULE_16K.TG1:
            return u64(GRANULE_16K.log2_bytes)
        if tg1 == GRANULE_64K.TG1:
            return u64(GRANULE_64K.log2_bytes)
        return u64(GRANULE_4K.log2_bytes)
    tg0 = TCR.TG0.get(tcr)
    if tg0 == GRANULE_16K.TG0:
        return u64(GRANULE_16K.log2_bytes)
    if tg0 == GRANULE_64K.TG0:
        return u64(GRANULE_64K.log2_bytes)
    return u64(GRANULE_4K.log2_bytes)


@inline
def in_order(entry: u64) -> u64:
    """Give a descriptor as numbers are written: with SCTLR_EL1.EE it is stored big-endian."""
    if mrs(sr.SCTLR_EL1) & sr.SCTLR_EL1.EE.mask == 0:
        return entry
    swapped = (entry & BYTE_PAIRS) << BYTE & ~BYTE_PAIRS | entry >> BYTE & BYTE_PAIRS
    swapped = (swapped & HALF_PAIRS) << HALF & ~HALF_PAIRS | swapped >> HALF & HALF_PAIRS
    return u64(swapped << WORD) | swapped >> WORD


@resident
def reach(vcpu: Vcpu, ipa: IPA, permission: u64) -> bool:
    """Find where an IPA of the regime that hardware has leads: `walk.output`.

    :param permission: the bit of S2AP that the access needs.
    :return: False, with `walk.fsc` set (`CHANGED` among them), if L1's own stage 2 does not map or
        allow it.
    """
    vcpu.walk.fsc = NO_FAULT
    vcpu.walk.output = L1IPA(ipa)
    if not has_guest_stage2(vcpu):
        return True
    context = at(Stage2, vcpu.shadow)
    guest_stage2(vm_of(vcpu), vcpu.walk, context.guest_vttbr, context.guest_vtcr, L2IPA(ipa))
    if vcpu.walk.fsc == NO_FAULT and vcpu.walk.s2ap & permission == 0:
        vcpu.walk.fsc = u64(FSC.PERMISSION + vcpu.walk.guest_level)
    return vcpu.walk.fsc == NO_FAULT


@inline
def has_guest_stage2(vcpu: Vcpu) -> bool:
    """Whether a stage 2 of L1's own is part of the regime that hardware has."""
    return vcpu.context == CONTEXT_VEL1 and at(Stage2, vcpu.shadow).stage2_off == 0


@resident
def reach_entry(vcpu: Vcpu, ipa: IPA) -> bool:
    """Make a stage-1 descriptor reachable for hardware's walk, and read it into `walk.entry`.

    :return: False, with `walk.fsc` set: SYNC_EXTERNAL if L1 has no memory there.
    """
    vm = vm_of(vcpu)
    acquire(vm.stage2.lock)
    found = reach_and_fill(vcpu, ipa)
    release(vm.stage2.lock)
    return found


@resident
def reach_and_fill(vcpu: Vcpu, ipa: IPA) -> bool:
    """Do what `reach_entry` says, under `Stage2Manager.lock` (see `abort.resolve`)."""
    if not reach(vcpu, ipa, S2AP_READ):
        return False
    # L0 reads it too: neither a hole nor a device may be read for the guest, at EL2.
    vm = vm_of(vcpu)
    is_read = is_ram(vm, vcpu.walk.output)
    if is_read and try_load_entry(vcpu.walk, pa_of(vcpu.walk.output)) != 0:
        if has_guest_stage2(vcpu):
            shadow.fill(vcpu, L2IPA(ipa), canonical_leaf(vm, vcpu.walk.output))
        return True
    vcpu.walk.fsc = u64(FSC.SYNC_EXTERNAL)
    return False


@resident
def reach_tables(vcpu: Vcpu, va: u64) -> u64:
    """Make every stage-1 table on the way to an address reachable.

    :return: how many tables are left, counting the one that cannot be reached, with `walk.fsc` set;
        `ALL_REACHED` if there is none.
    """
    tcr = mrs(sr.TCR_EL1)
    upper = va & UPPER != 0
    granule = granule_bits(tcr, upper)
    table = mrs(sr.TTBR0_EL1)
    bits = u64(64 - TCR.T0SZ.get(tcr))
    if upper:
        table = mrs(sr.TTBR1_EL1)
        bits = u64(64 - TCR.T1SZ.get(tcr))
    if bits <= granule:
        return ALL_REACHED
    stride = u64(granule - 3)
    left = u64(u64(bits - granule + stride - 1) // stride)
    shift = u64((left - 1) * stride + granule)
    root_bits = u64(bits - shift)
    table = table & ADDRESS_MASK & ~u64((1 << u64(root_bits + 3)) - 1)
    index = va >> shift & u64((1 << root_bits) - 1)
    while left > 0:
        if not reach_entry(vcpu, IPA(table + index * 8)):
            return left
        entry = in_order(vcpu.walk.entry)
        if entry & TABLE != TABLE:
            return ALL_REACHED
        table = entry & ADDRESS_MASK & ~u64((1 << granule) - 1)
        left = u64(left - 1)
        shift = u64(shift - stride)
        index = va >> shift & u64((1 << stride) - 1)
    return ALL_REACHED


@resident
def instruction_at(vcpu: Vcpu, va: u64) -> u64:
    """Read an instruction of the guest that runs, 0 if that cannot be done; PAR_EL1 is kept."""
    saved = mrs(PAR)
    done = try_at_s1e1r(va)
    found = mrs(PAR)
    msr(PAR, saved)
    if done == 0 or found & PAR.F.mask:
        return 0
    if not reach(vcpu, IPA(found & PAR.PA.mask | va & PAGE_MASK), S2AP_READ):
        return 0
    doubleword = L1IPA(vcpu.walk.output & ~DOUBLEWORD_MASK)
    is_read = is_ram(vm_of(vcpu), doubleword)
    if not is_read or try_load_entry(vcpu.walk, pa_of(doubleword)) == 0:
        return 0
    return vcpu.walk.entry >> u64((va & HIGH_WORD) * BYTE) & U32_MAX


@inline
def walk_status(left: u64) -> u64:
    """Give the fault status of an External abort on the walk with so many tables left."""
    return u64(FSC.SYNC_EXTERNAL_WALK + LAST_LEVEL + 1 - left)


@inline
def external_abort_of(vcpu: Vcpu, left: u64) -> u64:
    """Give the fault status of an External abort that `walk.fsc` says (S1PTW with it), or 0.

    `CHANGED` stays what it is: there is no answer, and the instruction has to be executed again.

    :param left: what `reach_tables` gave.
    """
    fsc = vcpu.walk.fsc
    if fsc == CHANGED:
        return fsc
    if fsc == FSC.SYNC_EXTERNAL:
        return walk_status(left)
    if fsc == NO_FAULT or fsc & ~FSC_LEVEL != FSC.SYNC_EXTERNAL_WALK:
        return 0
    if left != ALL_REACHED:
        return fsc | ISS_DABT.S1PTW.mask
    return fsc
