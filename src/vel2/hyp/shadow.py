"""Shadow stage 2: L1's stage 2 and the canonical one combined. Hardware walks it while vEL1 runs.

A shadow context belongs to one (VTTBR_EL2, VTCR_EL2) of L1, VMID included, and all vcpus share it.
It starts empty. `fill` adds one leaf at each fault, and L1's TLBIs take leaves out (`unmap`). The
static partition keeps this simple: the canonical stage 2 never changes, so a shadow leaf can only
go stale because L1 changed its own tables, and L1 then owes a TLBI, as it would on hardware.

When all contexts are taken, one is given away by lot: of two that are drawn, the one unused for
longer. An L1 that runs its guests in turn, one more than there are contexts, would always lose the
context that it needs next if the one unused for longest went; so some survive, and the cost grows
with the number of guests and does not jump.

A VMID that L1 runs without a stage 2 (HCR_EL2.{VM,DC}=0) walks the canonical tables under a VMID of
its own, because L1's EL1&0 translations there differ from vEL2's.

The attributes of a leaf have the form that L1's HCR_EL2.FWB asks for, which is also hardware's
while the shadow is walked. Device types look the same in both forms, so what the canonical stage 2
says of devices holds whatever L1 does to FWB. An L1 that changes FWB owes a TLBI, as on hardware.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import LAST_LEVEL, Stage2Leaf
from vel2.hyp import pool, stage2
from vel2.hyp.event import happened, wanted
from vel2.hyp.hcr import HCR_SLOT, STAGE2_ON
from vel2.hyp.homes import slot
from vel2.hyp.layout import PAGE_SHIFT
from vel2.hyp.lock import acquire, release
from vel2.hyp.state import SHADOW_CONTEXTS, Stage2, Vcpu, Vm, page_of, vcpu_at, vm_of
from vel2.hyp.watch import FILL
from vel2.lang import (
    IPA,
    L2IPA,
    PA,
    U64_MAX,
    address_of,
    at,
    dsb_ish,
    inline,
    load_u64,
    msr,
    resident,
    store_u64,
    u64,
)
from vel2.trace.schema import Kind

__all__ = (
    "INCREMENT",
    "MULTIPLIER",
    "claim",
    "draw",
    "fill",
    "guest_vmid",
    "invalidation_shift",
    "select",
    "unmap",
)

VTTBR_SLOT = slot(sr.VTTBR_EL2)
VTCR_SLOT = slot(sr.VTCR_EL2)
KEY_MASK = U64_MAX & ~sr.VTTBR_EL2.CnP.mask
VMID_SHIFT = sr.VTTBR_EL2.VMID.lsb
VMID_MASK = sr.VTTBR_EL2.VMID.mask
VMID8_MASK = sr.VTTBR_EL2.VMID.put(0xFF)
NONE = SHADOW_CONTEXTS
MULTIPLIER, INCREMENT = 6_364_136_223_846_793_005, 1_442_695_040_888_963_407
DRAW_SHIFT = 64 - (SHADOW_CONTEXTS.bit_length() - 1)
PART = 128
"""As many entries `unmap` looks at before it gives the lock a chance."""
EXECUTE_NEVER = 0b10


@inline
def guest_vmid(vttbr: u64, vtcr: u64) -> u64:
    """Give L1's VMID in place; eight bits of it unless VTCR_EL2.VS."""
    if vtcr & sr.VTCR_EL2.VS.mask:
        return vttbr & VMID_MASK
    return vttbr & VMID8_MASK


@inline
def is_for(context: Stage2, off: u64, vttbr: u64, vtcr: u64) -> bool:
    """Whether a context is the one for L1's current stage-2 registers."""
    if context.in_use == 0 or context.stage2_off != off:
        return False
    if off != 0:
        return guest_vmid(context.guest_vttbr, context.guest_vtcr) == guest_vmid(vttbr, vtcr)
    return context.guest_vttbr == vttbr and context.guest_vtcr == vtcr


@resident
def is_held(vm: Vm, context: Stage2) -> bool:
    """Whether a vcpu runs a context or ran it last: `select` takes it again without the lock."""
    held = False
    for i in range(vm.config.cpu_count):
        if vcpu_at(vm, i).shadow == address_of(context):
            held = True
    return held


@resident
def draw(vm: Vm) -> u64:
    """Draw a context that no vcpu holds. There are more contexts than vcpus, so there is one.

    The generator is linear congruential (Knuth's MMIX), of which the upper bits are good.
    """
    vm.stage2.lottery = u64(vm.stage2.lottery * MULTIPLIER + INCREMENT)
    number = vm.stage2.lottery >> DRAW_SHIFT
    for _ in range(SHADOW_CONTEXTS):
        if not is_held(vm, vm.stage2.shadows[number]):
            return number
        number = u64(number + 1) % SHADOW_CONTEXTS
    return NONE


@resident
def vacant(vm: Vm) -> u64:
    """Give a context that nobody has had yet, or that of two drawn which is unused for longer."""
    if vm.stage2.contexts < SHADOW_CONTEXTS:
        vm.stage2.contexts = u64(vm.stage2.contexts + 1)
        return u64(vm.stage2.contexts - 1)
    first = draw(vm)
    second = draw(vm)
    if vm.stage2.shadows[second].last_use < vm.stage2.shadows[first].last_use:
        return second
    return first


@resident
def claim(vm: Vm, off: u64, vttbr: u64, vtcr: u64) -> u64:
    """Find the context for L1's stage-2 registers, or make one; under `Stage2Manager.lock`."""
    for i in range(vm.stage2.contexts):
        if is_for(vm.stage2.shadows[i], off, vttbr, vtcr):
            return i
    chosen = vacant(vm)
    context = vm.stage2.shadows[chosen]
    if context.in_use != 0:
        pool.empty(vm, context)
    context.in_use = 1
    context.stage2_off = off
    context.guest_vttbr = vttbr
    context.guest_vtcr = vtcr
    root = context.root
    if off != 0:
        root = vm.stage2.canonical.root
    context.vttbr = u64(root | (stage2.FIRST_SHADOW_VMID + chosen) << VMID_SHIFT)
    return chosen


@resident
def select(vcpu: Vcpu) -> None:
    """Make hardware walk the stage 2 that L1's HCR_EL2, VTTBR_EL2 and VTCR_EL2 ask for.

    The context of last time needs no lock: nobody gives it away while `Vcpu.shadow` names it.
    """
    page = page_of(vcpu)
    vm = vm_of(vcpu)
    vttbr = page.slot[VTTBR_SLOT] & KEY_MASK
    vtcr = page.slot[VTCR_SLOT]
    off = u64(0)
    if page.slot[HCR_SLOT] & STAGE2_ON == 0:
        off = u64(1)
    if vcpu.shadow == 0 or not is_for(at(Stage2, vcpu.shadow), off, vttbr, vtcr):
        acquire(vm.stage2.lock)
        vcpu.shadow = address_of(vm.stage2.shadows[claim(vm, off, vttbr, vtcr)])
        vm.stage2.clock = u64(vm.stage2.clock + 1)
        at(Stage2, vcpu.shadow).last_use = vm.stage2.clock
        at(Stage2, vcpu.shadow).dirty = 1
        # A TLBI of another pcpu that does not see this context yet has L1's stores before it seen
        # by all that is translated here.
        dsb_ish()
        release(vm.stage2.lock)
    context = at(Stage2, vcpu.shadow)
    if context.dirty == 0:
        # Seen by all before hardware walks: who unmaps, and then reads 0, leaves out the TLBI.
        context.dirty = 1
        dsb_ish()
    msr(sr.VTTBR_EL2, context.vttbr)


@resident
def fill(vcpu: Vcpu, ipa: L2IPA, canonical: u64) -> bool:
    """Add the leaf for `ipa` that both L1 (`vcpu.walk`) and the canonical stage 2 allow.

    :param canonical: the canonical leaf for the walk's output, with its level in SW.
    :return: False if it was there already, just so.
    """
    vm = vm_of(vcpu)
    context = at(Stage2, vcpu.shadow)
    found = vcpu.walk
    level = Stage2Leaf.SW.get(canonical) & LAST_LEVEL
    if found.level > level:
        level = found.level
    offset_mask = u64((1 << stage2.shift_at(level)) - 1)
    leaf = found.output & ~offset_mask
    leaf = leaf | combined_attributes(found.memattr, found.sh, found.xn, found.s2ap, canonical)
    leaf = leaf | stage2.leaf_type(level)
    vcpu.counters.shadow_fills = u64(vcpu.counters.shadow_fills + 1)
    if wanted(vcpu, FILL) != 0:
        happened(vcpu, Kind.FILL, u64(ipa & ~offset_mask), leaf & stage2.ADDRESS, level)
    mapped = stage2.map_leaf(vm, context, IPA(ipa & ~offset_mask), level, leaf, found.shift)
    if mapped == stage2.Mapped.NO_TABLE:
        pool.empty(vm, context)
    return mapped != stage2.Mapped.BEFORE


@inline
def combined_attributes(memattr: u64, sh: u64, xn: u64, s2ap: u64, canonical: u64) -> u64:
    """Intersect permissions; Device wins over Normal, and L1's attributes hold for its memory.

    Both hold in both forms of MemAttr (HCR_EL2.FWB).
    """
    attributes = u64(Stage2Leaf.AF.mask) | Stage2Leaf.S2AP.put(
        s2ap & Stage2Leaf.S2AP.get(canonical)
    )
    if Stage2Leaf.XN.get(canonical) == EXECUTE_NEVER:
        attributes = attributes | Stage2Leaf.XN.put(EXECUTE_NEVER)
    else:
        attributes = attributes | Stage2Leaf.XN.put(xn)
    if canonical & stage2.MEMATTR_DEVICE_MASK == 0:
        attributes = attributes | canonical & Stage2Leaf.MemAttr.mask
    else:
        attributes = attributes | Stage2Leaf.MemAttr.put(memattr) | Stage2Leaf.SH.put(sh)
    return attributes


@resident
def invalidation_shift(vm: Vm, context: Stage2, ipa: L2IPA) -> u64:
    """Give log2 of what to unmap so that the leaf of L1 that covers `ipa` is wholly gone.

    Shadow leaves may be parts of a larger leaf of L1; the tables on the way remember how large.
    """
    largest = u64(PAGE_SHIFT)
    if u64(ipa) >= stage2.ipa_limit(vm):
        return largest
    table = context.root
    level = vm.stage2.start_level
    while level <= LAST_LEVEL:
        entry = load_u64(stage2.entry_at(vm, table, IPA(ipa), level))
        if level == LAST_LEVEL or entry & stage2.TABLE != stage2.TABLE:
            if entry & stage2.VALID and stage2.shift_at(level) > largest:
                largest = stage2.shift_at(level)
            return largest
        table = PA(entry & stage2.ADDRESS)
        level = u64(level + 1)
        shift = u64(pool.record_of(vm, pool.index_of(vm, table)).guest_shift)
        if shift > largest:
            largest = shift
    return largest


@resident
def unmap(vm: Vm, context: Stage2, start: L2IPA, end: u64) -> u64:
    """Take out every leaf that overlaps a range; whole tables inside it are cut off.

    It looks at `PART` entries at most. The caller flushes if `context.unflushed`.

    :return: where it has come to: `end` or beyond, or from where it has to go on.
    """
    address = u64(start)
    limit = stage2.ipa_limit(vm)
    if end > limit:
        end = limit
    for _ in range(PART):
        if address >= end:
            return U64_MAX
        address = unmap_entry(vm, context, address, end)
    return address


@resident
def unmap_entry(vm: Vm, context: Stage2, address: u64, end: u64) -> u64:
    """Take out the entry for an address, or a table of which all is in the range; give the next."""
    table = context.root
    level = vm.stage2.start_level
    span = u64(1 << stage2.shift_at(level))
    while level <= LAST_LEVEL:
        slot = stage2.entry_at(vm, table, IPA(address), level)
        entry = load_u64(slot)
        span = u64(1 << stage2.shift_at(level))
        whole = address & u64(span - 1) == 0 and u64(end - address) >= span
        if entry & stage2.VALID == 0:
            break
        if level < LAST_LEVEL and entry & stage2.TABLE == stage2.TABLE and not whole:
            table = PA(entry & stage2.ADDRESS)
            level = u64(level + 1)
            continue
        store_u64(slot, 0)
        context.unflushed = 1
        if level < LAST_LEVEL and entry & stage2.TABLE == stage2.TABLE:
            pool.spare(vm, context, PA(entry & stage2.ADDRESS), u64(level + 1))
        break
    return u64((address & ~u64(span - 1)) + span)
