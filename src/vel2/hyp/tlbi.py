"""TLBI from vEL2.

What an instruction means depends on L1's HCR_EL2.TGE, which L0 reads at each trap:

- EL2 names always refer to L1's own EL2&0 regime, and so do EL1 names with TGE=1 (E2H=1). That
  regime lives in hardware's EL1&0 under the canonical VMID, which is current, so the EL1 form of
  the instruction is run unchanged.
- EL1 names with TGE=0 refer to the EL1&0 regime of L1's current VMID. The instruction is run under
  the VMID of every shadow context that stands for it.
- Stage-2 names take leaves out of those shadow contexts.

Booting Linux issues a hundred thousand TLBIs of the first kind, and hardware would do each of them
correctly without L0. So after a number of them in a row, while L1 runs a single CPU,
`stop_trapping` removes everything that vEL1 left in hardware's TLB and clears HCR_EL2.TTLB. Until
vEL1 runs again the EL1 names have only one meaning, because nothing of a guest is left to
invalidate. The next entry to vEL2 sets the trap again.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import TrapKey
from vel2.arch.descriptors import ADDRESS_MASK, GRANULE_4K, GRANULE_16K, GRANULE_64K
from vel2.arch.insn import TLBI, SysInsn
from vel2.arch.operands import TLBI_IPA, TLBI_RANGE
from vel2.hyp import pool, power, shadow, vncr
from vel2.hyp.answer import undefined
from vel2.hyp.event import happened, wanted
from vel2.hyp.hcr import is_vhe_host
from vel2.hyp.homes import slot
from vel2.hyp.layout import PAGE_SHIFT
from vel2.hyp.lock import acquire, release
from vel2.hyp.outcome import Outcome
from vel2.hyp.state import Stage2, Vcpu, Vm, page_of, vm_of
from vel2.hyp.watch import UNMAP
from vel2.lang import L2IPA, dsb_ish, inline, isb, mrs, msr, resident, sysop, u64
from vel2.trace.schema import Kind

__all__ = (
    "TRAPPED_AT_MOST",
    "from_vel2",
    "note_own",
    "run_for_guest",
    "stop_trapping",
    "unmap_from",
    "unmap_ipa",
)

VTTBR_SLOT = slot(sr.VTTBR_EL2)
VTCR_SLOT = slot(sr.VTCR_EL2)
TTLB = sr.HCR_EL2.TTLB.mask
TRAPPED_AT_MOST = 16
"""How many TLBIs of L1's own regime in a row are worth more than a guest's TLB entries."""
NOT_DONE, LOCAL, BROADCAST = 0, 1, 2
"""What `run_el1` says of a TLBI."""
REACH = {"": LOCAL, "IS": BROADCAST, "OS": BROADCAST}
EL1_NAMES = (
    "VMALLE1", "VAE1", "ASIDE1", "VAAE1", "VALE1", "VAALE1", "RVAE1", "RVAAE1", "RVALE1", "RVAALE1",
)  # fmt: skip
EL2_NAMES = (
    ("ALLE2", "VMALLE1"),
    ("VAE2", "VAE1"),
    ("VALE2", "VALE1"),
    ("RVAE2", "RVAE1"),
    ("RVALE2", "RVALE1"),
)


@dataclass(frozen=True)
class Maintenance:
    """A TLBI as L1 names it, and the EL1 instruction that does it to hardware's EL1&0."""

    key: int
    run: SysInsn
    reach: int
    """`LOCAL`, or `BROADCAST` to the other PEs."""


def _forms(name: str) -> Iterator[tuple[str, SysInsn]]:
    """Yield every form of an instruction with the form to run: nXS forms are run without nXS."""
    for suffix in REACH:
        plain: SysInsn = getattr(TLBI, name + suffix)
        yield suffix, plain
        yield suffix, getattr(TLBI, name + suffix + "NXS")


NAMED_AS_EL1 = tuple(
    Maintenance(insn.trap_key, getattr(TLBI, name + suffix), REACH[suffix])
    for name in EL1_NAMES
    for suffix, insn in _forms(name)
)
NAMED_AS_EL2 = tuple(
    Maintenance(insn.trap_key, getattr(TLBI, run + suffix), REACH[suffix])
    for name, run in EL2_NAMES
    for suffix, insn in _forms(name)
)

MAINTENANCE = NAMED_AS_EL1 + NAMED_AS_EL2


def _keys(*names: str) -> tuple[int, ...]:
    return tuple(insn.trap_key for name in names for _, insn in _forms(name))


EL1_KEYS = tuple(row.key for row in NAMED_AS_EL1)
IPA_KEYS = _keys("IPAS2E1", "IPAS2LE1")
IPA_RANGE_KEYS = _keys("RIPAS2E1", "RIPAS2LE1")
VMALLS12_KEYS = _keys("VMALLS12E1")
ALLE1_KEYS = _keys("ALLE1")

ASID = sr.TTBR0_EL1.ASID.mask
"""The EL2 regime with E2H=0 has no ASID: its shadow TTBR0_EL1 has ASID 0."""


@resident
def run_el1(key: u64, value: u64) -> u64:
    """Run the EL1 form of an EL1- or EL2-named TLBI; give its reach, or `NOT_DONE`."""
    for row in MAINTENANCE:
        if key == row.key:
            if row.run.takes_register:
                sysop(row.run, value)
            else:
                sysop(row.run)
            return row.reach
    return NOT_DONE


@inline
def is_el1_named(key: u64) -> bool:
    """Whether a TLBI is one of EL1's: op1 = 0."""
    return TrapKey.op1.get(key) == 0


@inline
def stands_for(vm: Vm, context: Stage2, vmid: u64) -> bool:
    """Whether a shadow context belongs to L1's VMID."""
    return (
        context.in_use != 0 and shadow.guest_vmid(context.guest_vttbr, context.guest_vtcr) == vmid
    )


@inline
def current_vmid(vcpu: Vcpu) -> u64:
    """Give the VMID in L1's VTTBR_EL2."""
    page = page_of(vcpu)
    return shadow.guest_vmid(page.slot[VTTBR_SLOT], page.slot[VTCR_SLOT])


@resident
def run_for_guest(vcpu: Vcpu, key: u64, value: u64) -> bool:
    """Run an EL1-named TLBI under the VMID of every shadow context of L1's current VMID.

    :return: False if `key` is no such TLBI, even when there is no context to run it for.
    """
    if key not in EL1_KEYS:
        return False
    vm = vm_of(vcpu)
    vmid = current_vmid(vcpu)
    running = mrs(sr.VTTBR_EL2)
    for i in range(vm.stage2.contexts):
        context = vm.stage2.shadows[i]
        if stands_for(vm, context, vmid) and context.dirty != 0:
            msr(sr.VTTBR_EL2, context.vttbr)
            isb()
            run_el1(key, value)
            dsb_ish()
            isb()
    msr(sr.VTTBR_EL2, running)
    isb()
    return True


@inline
def ttl_shift(value: u64) -> u64:
    """Give log2 of the leaf that a TTL hint names, or 0 without one (DecodeTLBITG, TTL[1:0])."""
    granule = TLBI_IPA.TTL_3_2.get(value)
    level = TLBI_IPA.TTL_1_0.get(value)
    if granule == GRANULE_4K.TG:
        if level == 0:
            return 0
        return u64(GRANULE_4K.log2_bytes + (3 - level) * GRANULE_4K.bits_per_level)
    if granule == GRANULE_16K.TG and level >= 2:
        return u64(GRANULE_16K.log2_bytes + (3 - level) * GRANULE_16K.bits_per_level)
    if granule == GRANULE_64K.TG and level >= 2:
        return u64(GRANULE_64K.log2_bytes + (3 - level) * GRANULE_64K.bits_per_level)
    return 0


@inline
def range_granule(value: u64) -> u64:
    """Give log2 of the granule of a range operation."""
    if TLBI_RANGE.TG.get(value) == GRANULE_16K.TG:
        return u64(GRANULE_16K.log2_bytes)
    if TLBI_RANGE.TG.get(value) != GRANULE_4K.TG:
        return u64(GRANULE_64K.log2_bytes)
    return u64(GRANULE_4K.log2_bytes)


@resident
def leaf_mask(vm: Vm, context: Stage2, ipa: u64) -> u64:
    """Mask the offset in the leaf of L1 that covers an IPA, as far as the shadow has it."""
    return u64((1 << shadow.invalidation_shift(vm, context, L2IPA(ipa))) - 1)


@resident
def unmap_ipa(vcpu: Vcpu, vm: Vm, context: Stage2, value: u64) -> None:
    """Take out the leaf of L1 that covers one IPA."""
    ipa = u64(TLBI_IPA.IPA.get(value) << PAGE_SHIFT)
    acquire(vm.stage2.lock)
    mask = u64((1 << ttl_shift(value)) - 1)
    if mask == 0:
        mask = leaf_mask(vm, context, ipa)
    unmap_from(vcpu, vm, context, ipa & ~mask, u64((ipa | mask) + 1))


@resident
def unmap_range(vcpu: Vcpu, vm: Vm, context: Stage2, value: u64) -> None:
    """Take out the leaves that a range operation names, and the rest of leaves of L1 it cuts."""
    granule_shift = range_granule(value)
    start = u64(TLBI_RANGE.BaseADDR.get(value) << granule_shift)
    pages = u64(u64(TLBI_RANGE.NUM.get(value) + 1) << u64(5 * TLBI_RANGE.SCALE.get(value) + 1))
    if start > ADDRESS_MASK:
        return
    last = u64(start + (pages << granule_shift) - 1)
    if last > ADDRESS_MASK:
        last = ADDRESS_MASK
    acquire(vm.stage2.lock)
    first = start & ~leaf_mask(vm, context, start)
    unmap_from(vcpu, vm, context, first, u64((last | leaf_mask(vm, context, last)) + 1))


@resident
def unmap_from(vcpu: Vcpu, vm: Vm, context: Stage2, first: u64, end: u64) -> None:
    """Take out a range's leaves under the lock, which the caller has taken and this gives back.

    A long range is done in parts. In between another pcpu may fill in leaves again, from what L1's
    tables say now, or the context may become another guest's, which faults once more than it had
    to.
    """
    address = first
    while address < end:
        part = address
        address = shadow.unmap(vm, context, L2IPA(address), end)
        if context.unflushed != 0:
            context.unflushed = 0
            vcpu.counters.shadow_unmaps = u64(vcpu.counters.shadow_unmaps + 1)
            pool.flush(context)
            if wanted(vcpu, UNMAP) != 0:
                happened(vcpu, Kind.UNMAP, part, context.guest_vttbr, u64(address - part))
        if address < end:
            release(vm.stage2.lock)
            acquire(vm.stage2.lock)
    release(vm.stage2.lock)


@resident
def empty(vm: Vm, context: Stage2) -> None:
    """Take everything out of a context."""
    acquire(vm.stage2.lock)
    pool.empty(vm, context)
    release(vm.stage2.lock)


@resident
def stage2_operation(vcpu: Vcpu, key: u64, value: u64) -> bool:
    """Do a stage-2 TLBI to the shadow contexts it concerns; False if `key` is none.

    The lock is held for one context at a time, and not to look whose it is: one that is given to
    this VMID just now is empty, and filled from what L1 wrote before its TLBI (`shadow.select`).
    """
    everything = key in ALLE1_KEYS
    whole = everything or key in VMALLS12_KEYS
    one = key in IPA_KEYS
    if not whole and not one and key not in IPA_RANGE_KEYS:
        return False
    vm = vm_of(vcpu)
    vmid = current_vmid(vcpu)
    for i in range(vm.stage2.contexts):
        context = vm.stage2.shadows[i]
        if context.in_use == 0 or not (everything or stands_for(vm, context, vmid)):
            continue
        if whole:
            empty(vm, context)
        elif context.stage2_off == 0:
            if one:
                unmap_ipa(vcpu, vm, context, value)
            else:
                unmap_range(vcpu, vm, context, value)
    return True


@resident
def stop_trapping(vcpu: Vcpu) -> None:
    """Let TLBI run untrapped until vEL1 runs again.

    The flush covers all pcpus, but another vcpu in vEL1 would refill its TLB, and a TLBI for that
    guest would not be seen: so this is done only while no other vcpu runs (`power.is_alone`).
    """
    vm = vm_of(vcpu)
    for i in range(vm.stage2.contexts):
        context = vm.stage2.shadows[i]
        if context.dirty != 0:
            pool.flush(context)
            context.dirty = 0
    msr(sr.HCR_EL2, mrs(sr.HCR_EL2) & ~u64(TTLB))


@inline
def note_own(vcpu: Vcpu) -> None:
    """Count a TLBI of L1's own regime, named as EL1's."""
    vcpu.guesses.tlbis_of_own_regime = u64(vcpu.guesses.tlbis_of_own_regime + 1)
    if vcpu.guesses.tlbis_of_own_regime == TRAPPED_AT_MOST:
        vcpu.guesses.tlbis_of_own_regime = 0
        if power.is_alone(vcpu):
            stop_trapping(vcpu)


@resident
def from_vel2(vcpu: Vcpu, key: u64, value: u64) -> Outcome:
    """Emulate a TLBI that trapped in the hyp context."""
    done = False
    if is_el1_named(key) and not is_vhe_host(vcpu):
        done = run_for_guest(vcpu, key, value)
    else:
        if is_el1_named(key):
            note_own(vcpu)
        operand = value
        if vcpu.e2h == 0:
            operand = value & ~ASID
        reach = run_el1(key, operand)
        done = reach != NOT_DONE or stage2_operation(vcpu, key, value)
        if reach == BROADCAST and vm_of(vcpu).probed.nesting != 0:
            vncr.invalidate(vcpu)
    if done:
        return Outcome.SKIP
    return undefined(vcpu)
