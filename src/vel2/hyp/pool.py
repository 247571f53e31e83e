"""The pool of translation table pages.

A page belongs to a `Stage2` from the moment it is taken until that `Stage2` is emptied as a whole.
A table that is cut off earlier, because a block replaced it, goes to that context's spare list with
all that is below it, and is used again by it: the tables below come to the list when it is taken.
When the pool runs out, the shadow context that has been unused for longest is emptied. All lists
are singly linked through `PoolPage`, by page number + 1, so that zeroed memory means "none".

All of this is done under the lock, so nothing here depends on how many pages a context has: cutting
off and giving back move one link, and taking looks at one page.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import ENTRIES, LAST_LEVEL, Stage2Leaf
from vel2.arch.insn import TLBI
from vel2.hyp.layout import PAGE_MASK, PAGE_SHIFT
from vel2.hyp.state import SHADOW_CONTEXTS, PoolPage, Stage2, Vm, VncrPage
from vel2.lang import (
    PA,
    at,
    dsb_ish,
    inline,
    isb,
    load_u64,
    mrs,
    msr,
    resident,
    sysop,
    u8,
    u32,
    u64,
)

__all__ = (
    "NO_PAGE",
    "empty",
    "flush",
    "index_of",
    "init",
    "record_of",
    "spare",
    "take",
    "zero_page",
)

NO_PAGE = PA(0)
"""L0 has no memory there."""
TABLE = Stage2Leaf.VALID.mask | Stage2Leaf.TYPE.mask
ADDRESS = Stage2Leaf.OA.mask


@inline
def record_of(vm: Vm, index: u64) -> PoolPage:
    """Give the record of pool page number `index`."""
    return at(PoolPage, u64(vm.config.pool_base + index * PoolPage.size))


@inline
def index_of(vm: Vm, page: PA) -> u64:
    """Give the number of the pool page at `page`."""
    return u64(page - vm.stage2.pool_first_page) >> PAGE_SHIFT


@inline
def page_address(vm: Vm, index: u64) -> PA:
    """Give the address of pool page number `index`."""
    return PA(vm.stage2.pool_first_page + (index << PAGE_SHIFT))


@resident
def zero_page(page: PA) -> None:
    """Clear one page."""
    words = at(VncrPage, page)
    for i in range(ENTRIES):
        words.slot[i] = 0


@resident
def init(vm: Vm, root_pages: u64) -> None:
    """Divide the pool: records of all pages, the roots of every `Stage2`, then the free pages.

    :param root_pages: concatenated pages of one root; roots are aligned to their size.
    """
    total = u64(vm.stage2.pool_end - vm.config.pool_base) >> PAGE_SHIFT
    records = u64(total * PoolPage.size + PAGE_MASK) & ~PAGE_MASK
    roots_bytes = u64(root_pages << PAGE_SHIFT)
    first_root = u64(vm.config.pool_base + records + roots_bytes - 1) & ~u64(roots_bytes - 1)
    root = PA(first_root)
    vm.stage2.canonical.root = root
    for i in range(SHADOW_CONTEXTS):
        root = PA(root + roots_bytes)
        vm.stage2.shadows[i].root = root
    vm.stage2.devices.root = PA(root + roots_bytes)
    vm.stage2.pool_first_page = u64(root + roots_bytes * 2)
    vm.stage2.pool_pages = u64(vm.stage2.pool_end - vm.stage2.pool_first_page) >> PAGE_SHIFT
    vm.stage2.pool_free = 0
    index = vm.stage2.pool_pages
    while index > 0:
        record_of(vm, u64(index - 1)).next = u32(vm.stage2.pool_free)
        vm.stage2.pool_free = index
        index = u64(index - 1)


@resident
def take(vm: Vm, owner: Stage2) -> PA:
    """Take a cleared page for a table of `owner`; `NO_PAGE` if even eviction gives none."""
    number = owner.spare
    if number != 0:
        take_spare(vm, owner)
    else:
        if vm.stage2.pool_free == 0:
            evict_oldest(vm, owner)
        number = vm.stage2.pool_free
        if number == 0:
            return NO_PAGE
        record = record_of(vm, u64(number - 1))
        vm.stage2.pool_free = record.next
        record.next = u32(owner.pages)
        if owner.pages == 0:
            owner.last_page = number
        owner.pages = number
        owner.page_count = u64(owner.page_count + 1)
        vm.stage2.pool_used = u64(vm.stage2.pool_used + 1)
    record = record_of(vm, u64(number - 1))
    record.guest_shift = 0
    page = page_address(vm, u64(number - 1))
    zero_page(page)
    return page


@inline
def take_spare(vm: Vm, owner: Stage2) -> None:
    """Take the first spare table off its list, and put the tables right below it there instead."""
    record = record_of(vm, u64(owner.spare - 1))
    page = page_address(vm, u64(owner.spare - 1))
    owner.spare = u64(record.next_spare)
    if record.level < LAST_LEVEL:
        below = u64(record.level + 1)
        for i in range(ENTRIES):
            entry = load_u64(PA(page + i * 8))
            if entry & TABLE == TABLE:
                spare(vm, owner, PA(entry & ADDRESS), below)


@resident
def spare(vm: Vm, owner: Stage2, page: PA, level: u64) -> None:
    """Put a table at `level` that `owner` no longer points at, and all below, on its spare list."""
    index = index_of(vm, page)
    record = record_of(vm, index)
    record.next_spare = u32(owner.spare)
    record.level = u8(level)
    owner.spare = u64(index + 1)


@resident
def give_back_all(vm: Vm, owner: Stage2) -> None:
    """Return every table of `owner` but its root to the pool: its list goes before the free one."""
    if owner.pages != 0:
        record_of(vm, u64(owner.last_page - 1)).next = u32(vm.stage2.pool_free)
        vm.stage2.pool_free = owner.pages
        vm.stage2.pool_used = u64(vm.stage2.pool_used - owner.page_count)
    owner.pages = 0
    owner.last_page = 0
    owner.page_count = 0
    owner.spare = 0


@resident
def evict_oldest(vm: Vm, wanted_by: Stage2) -> None:
    """Empty the shadow context, other than `wanted_by`, that was used longest ago and has pages."""
    oldest = u64(SHADOW_CONTEXTS)
    for i in range(vm.stage2.contexts):
        candidate = vm.stage2.shadows[i]
        if candidate.pages == 0 or candidate.root == wanted_by.root:
            continue
        if oldest == SHADOW_CONTEXTS or candidate.last_use < vm.stage2.shadows[oldest].last_use:
            oldest = i
    if oldest != SHADOW_CONTEXTS:
        empty(vm, vm.stage2.shadows[oldest])


@inline
def root_holds_leaves(vm: Vm) -> bool:
    """Whether a root may map something without a table below it: it is at level 1, not 0."""
    return vm.stage2.start_level != 0


@resident
def empty(vm: Vm, context: Stage2) -> None:
    """Unmap everything in a shadow context and forget its TLB entries."""
    if context.stage2_off == 0:
        if context.pages != 0 or root_holds_leaves(vm):
            roots = u64(vm.stage2.shadows[1].root - vm.stage2.shadows[0].root) >> PAGE_SHIFT
            for i in range(roots):
                zero_page(PA(context.root + (i << PAGE_SHIFT)))
        flush(context)
        give_back_all(vm, context)
    else:
        flush(context)


@resident
def flush(context: Stage2) -> None:
    """Invalidate all TLB entries of the context's VMID, on all pcpus."""
    dsb_ish()
    if context.dirty == 0:
        return
    running = mrs(sr.VTTBR_EL2)
    if running != context.vttbr:
        msr(sr.VTTBR_EL2, context.vttbr)
        isb()
    sysop(TLBI.VMALLS12E1IS)
    dsb_ish()
    isb()
    if running != context.vttbr:
        msr(sr.VTTBR_EL2, running)
        isb()
