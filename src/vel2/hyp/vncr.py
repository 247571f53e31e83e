"""L1's own VNCR_EL2: the page of L1's memory that are registers to its guest's virtual EL2.

L1 with FEAT_NV2 gives its guest a virtual EL2 as L0 does: it sets HCR_EL2.{NV,NV2}, and names a
page in VNCR_EL2. That is an address of L1's own translation regime. Hardware's VNCR_EL2 takes one
of L0's, so L0 has a page of virtual address for each pcpu, the *window*, and maps the page that
L1's tables give into it, with the rights and the kind of memory that they give.

- **When it is found.** At each entry to such a guest, before L1's regime leaves hardware: AT finds
  the page by the same tables, registers and ASID as hardware would. So no change that vEL2 itself
  makes can be missed, with a TLBI or without. If it is where it was, nothing is written.
- **What is allowed.** Only L1's memory: a device or a hole is an External abort. What L1 may not
  write, its guest may not. L0's memory is in no map of L1's.
- **What is not there** stays unmapped, and so does what L1 has unmapped. The guest's access is then
  a Data Abort to EL2 with ISS.VNCR (`from_vel1`): L0 looks again, and maps the page or gives L1
  the abort at the address that L1 knows.
- **TLBI by another pcpu** while the guest runs: the vcpu that executes it unmaps all windows but
  its own, with a TLBI that hardware broadcasts, before its instruction is done (`invalidate`).
  Finding and unmapping hold `Vm.vncr_lock`, so a page that was found before the TLBI is not in a
  window after it.

A watchpoint of L1 on its page does not see these accesses: hardware compares with the window.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import GRANULE_4K, MAIR_NORMAL_WB, Stage1Leaf
from vel2.arch.esr import FSC, ISS_DABT
from vel2.arch.insn import AT, TLBI
from vel2.hyp import pool, shadow
from vel2.hyp.answer import give_with_far
from vel2.hyp.at import first_stage
from vel2.hyp.context import enter_vel1, enter_vel2
from vel2.hyp.hcr import NV2_IN_USE, l1_nesting
from vel2.hyp.homes import slot
from vel2.hyp.layout import PAGE_BYTES, PAGE_MASK, PAGE_SHIFT, VNCR_TABLES_OFFSET
from vel2.hyp.lock import acquire, release
from vel2.hyp.outcome import Outcome
from vel2.hyp.permission import FSC_MASK, FSC_TYPE
from vel2.hyp.records import NO_FAULT, TO_VEL2
from vel2.hyp.stage2 import is_ram, pa_of
from vel2.hyp.state import VNCR_LOADED, Vcpu, Vm, page_of, vm_of
from vel2.lang import (
    L1IPA,
    PA,
    dsb_ish,
    inline,
    isb,
    load_u64,
    mrs,
    msr,
    resident,
    store_u64,
    sysop,
    u64,
)

__all__ = (
    "GIGABYTE",
    "NORMAL",
    "PAGE",
    "READ_WRITE",
    "WINDOWS",
    "entry_of",
    "from_vel1",
    "init",
    "invalidate",
    "load",
    "refill",
    "unmap",
    "window_of",
)

VNCR_SLOT = slot(sr.VNCR_EL2)
PAR = sr.PAR_EL1
PAR_FAILED = sr.PAR_EL1_F
GIGABYTE = 511
"""The entry of EL2's level-1 table that the windows are under: the last one."""
WINDOWS = GIGABYTE << GRANULE_4K.level_shift(1)
SIGN = 1 << sr.VNCR_EL2.BADDR.msb
TABLE = 3
PAGE = Stage1Leaf.compose(VALID=1, TYPE=1, AF=1, SH=3, UXN=1)
READ_WRITE, READ_ONLY = Stage1Leaf.AP.put(1), Stage1Leaf.AP.put(3)
"""AP[1] is RES1 at EL2."""
NORMAL, NON_CACHEABLE = Stage1Leaf.AttrIndx.put(0), Stage1Leaf.AttrIndx.put(2)
"""`start.EL2_MAIR`. What L1 takes for Device, L0 maps as the next weaker kind without a cache."""


@inline
def entry_of(vm: Vm, index: u64) -> PA:
    """Give where the descriptor of a pcpu's window is."""
    return PA(vm.config.l0_base + VNCR_TABLES_OFFSET + PAGE_BYTES + index * 8)


@inline
def window_of(index: u64) -> u64:
    """Give the address of a pcpu's window."""
    return u64(WINDOWS + (index << PAGE_SHIFT))


@inline
def l1_vncr(vcpu: Vcpu) -> u64:
    """Give the address in L1's VNCR_EL2, sign-extended."""
    base = page_of(vcpu).slot[VNCR_SLOT] & sr.VNCR_EL2.BADDR.mask
    return u64((base ^ SIGN) - SIGN)


@resident
def init(vm: Vm) -> u64:
    """Make the tables of the windows, all unmapped; give the one of level 2."""
    level2 = u64(vm.config.l0_base + VNCR_TABLES_OFFSET)
    level3 = u64(level2 + PAGE_BYTES)
    pool.zero_page(PA(level2))
    pool.zero_page(PA(level3))
    store_u64(PA(level2), level3 | TABLE)
    return level2


@resident
def found(vcpu: Vcpu, operation: u64) -> u64:
    """Give the page of VNCR_EL2 as a descriptor without AP, by a stage-1 AT of L1's regime.

    :return: 0 if there is none, with the fault status in `walk.fsc`.
    """
    fault = first_stage(vcpu, operation, l1_vncr(vcpu))
    par = mrs(PAR)
    if fault == 0 and par & PAR.F.mask:
        fault = PAR_FAILED.FST.get(par)
        vcpu.walk.fsc = fault
        return 0
    page = L1IPA(par & PAR.PA.mask)
    if fault == 0 and not is_ram(vm_of(vcpu), page):
        fault = FSC.SYNC_EXTERNAL
    if fault != 0:
        vcpu.walk.fsc = fault
        return 0
    vcpu.walk.fsc = NO_FAULT
    if PAR.ATTR.get(par) == MAIR_NORMAL_WB:
        return pa_of(page) | PAGE | NORMAL
    return pa_of(page) | PAGE | NON_CACHEABLE


@resident
def find(vcpu: Vcpu, is_write: bool) -> u64:
    """Give the descriptor for the window by L1's regime, which hardware has; PAR_EL1 is kept.

    :param is_write: a page that L1 may not write does not do.
    :return: 0 if there is none, with the fault status in `walk.fsc`.
    """
    saved = mrs(PAR)
    leaf = found(vcpu, AT.S1E2W.trap_key)
    if leaf != 0:
        leaf = leaf | READ_WRITE
    elif not is_write:
        leaf = found(vcpu, AT.S1E2R.trap_key)
        if leaf != 0:
            leaf = leaf | READ_ONLY
    msr(PAR, saved)
    return leaf


@resident
def unmap(vm: Vm, index: u64) -> None:
    """Take out what a window shows; the caller waits for the TLBI."""
    store_u64(entry_of(vm, index), 0)
    dsb_ish()
    sysop(TLBI.VAE2IS, window_of(index) >> PAGE_SHIFT)


@resident
def refill(vcpu: Vcpu, is_write: bool) -> bool:
    """Let this pcpu's window show the page that L1's VNCR_EL2 names now, or nothing.

    :return: False if there is none, with the fault status in `walk.fsc`.
    """
    vm = vm_of(vcpu)
    acquire(vm.vncr_lock)
    leaf = find(vcpu, is_write)
    entry = entry_of(vm, vcpu.index)
    shown = load_u64(entry)
    if shown != leaf:
        if shown != 0:
            unmap(vm, vcpu.index)
            dsb_ish()
        store_u64(entry, leaf)
        dsb_ish()
        isb()
    release(vm.vncr_lock)
    msr(sr.VNCR_EL2, window_of(vcpu.index))
    vcpu.pcpu.loaded = vcpu.pcpu.loaded | VNCR_LOADED
    return leaf != 0


@resident
def load(vcpu: Vcpu) -> None:
    """Make VNCR_EL2 L1's, in the hyp context, for a guest with FEAT_NV2 that is to run next."""
    if l1_nesting(vcpu) & NV2_IN_USE == NV2_IN_USE:
        refill(vcpu, False)


@resident
def invalidate(vcpu: Vcpu) -> None:
    """Unmap the windows of all other pcpus: L1 has executed a TLBI of its own regime for them.

    This vcpu's own is looked at when its guest runs again.
    """
    vm = vm_of(vcpu)
    acquire(vm.vncr_lock)
    for i in range(vm.config.cpu_count):
        if i != vcpu.index and load_u64(entry_of(vm, i)) != 0:
            unmap(vm, i)
    dsb_ish()
    release(vm.vncr_lock)


@inline
def may_be_stale(esr: u64) -> bool:
    """Whether an abort is one that the window's descriptor brings about."""
    kind = esr & FSC_TYPE
    return kind == FSC.TRANSLATION or kind == FSC.PERMISSION


@resident
def from_vel1(vcpu: Vcpu) -> Outcome:
    """Handle an abort of an access that FEAT_NV2 has made of a register's name in vEL1."""
    esr = vcpu.trap.esr
    status = esr & FSC_MASK
    if may_be_stale(esr):
        enter_vel2(vcpu)
        is_there = refill(vcpu, esr & ISS_DABT.WnR.mask != 0)
        status = vcpu.walk.fsc
        enter_vel1(vcpu)
        shadow.select(vcpu)
        if is_there:
            return Outcome.RESUME
    address = u64(l1_vncr(vcpu) | vcpu.trap.far & PAGE_MASK)
    return give_with_far(vcpu, TO_VEL2, esr & ~FSC_MASK | status, address)
