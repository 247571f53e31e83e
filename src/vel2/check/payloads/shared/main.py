"""Payload `shared`: a guest runs on the second CPU, and the first one moves a page under it.

Each round unmaps the page that the guest looks at, by every kind of stage-2 TLBI in turn, and maps
another one in its place. When the TLBI and the DSB behind it are done, the guest cannot have looked
once more than it had begun to; and once it looks again, it sees the page that is there now.
Caches are off, so both CPUs see each other's stores.
"""

from vel2.arch import sysregs as sr
from vel2.arch.insn import TLBI
from vel2.arch.operands import TLBI_IPA, TLBI_RANGE
from vel2.arch.psci import CPU_ON_64, SUCCESS
from vel2.check.payloads.layout import ARENA, MEMORY_END, PAGE_BYTES, Parameters, State
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect, finish
from vel2.check.payloads.library.controls import use_stage2
from vel2.check.payloads.library.tables import S2_NORMAL, entry_of, identity_table
from vel2.check.payloads.library.watcher import FRESH, STALE, VALUE, clear, turns, wait_for
from vel2.check.payloads.psci.second import pause, psci_call
from vel2.check.payloads.shared.code import WINDOW
from vel2.lang import (
    PA,
    Struct,
    at,
    bytes_address,
    dsb_ish,
    dsb_sy,
    isb,
    load_acquire_u64,
    mrs,
    msr,
    resident,
    scalar,
    store_u64,
    symbol_address,
    sysop,
    u64,
)

VMID = 11
ROUNDS = 150
RECORD = ARENA
PAGES = (ARENA + 2 * PAGE_BYTES, ARENA + 3 * PAGE_BYTES)
LEAF = S2_NORMAL | 0b11
WINDOW_PAGE = WINDOW >> 12
RANGE_OF_TWO = TLBI_RANGE.compose(BaseADDR=WINDOW_PAGE, TG=1)
"""Two pages of 4 KiB."""


class Watcher(Struct):
    """What the guest tells (`library.watcher`), and what its hypervisor needs."""

    value = scalar(u64)
    turns = scalar(u64)
    hcr = scalar(u64)
    root = scalar(u64)


@resident
def shared_second(page: u64) -> None:
    """Set up the guest's stage 2 on the second CPU, with the first one's E2H."""
    record = at(Watcher, page)
    msr(sr.HCR_EL2, record.hcr)
    isb()
    use_stage2(record.root, VMID)


@resident
def invalidate(turn: u64) -> None:
    """Take the page from all TLBs: stage 2, and what combines both stages."""
    dsb_ish()
    if turn % 3 == 0:
        sysop(TLBI.IPAS2E1IS, TLBI_IPA.IPA.put(WINDOW_PAGE))
    elif turn % 3 == 1:
        sysop(TLBI.RIPAS2E1IS, RANGE_OF_TWO)
    else:
        sysop(TLBI.VMALLS12E1IS)
    dsb_ish()
    if turn % 3 != 2:
        sysop(TLBI.VMALLE1IS)
        dsb_ish()
    isb()


@resident
def move(state: State, entry: u64, turn: u64) -> None:
    """Do one round."""
    page, other = u64(PAGES[0]), u64(PAGES[1])
    if turn & 1 != 0:
        page, other = other, page
    store_u64(PA(entry), 0)
    invalidate(turn)
    before = turns(RECORD)
    store_u64(PA(other), STALE | turn)
    store_u64(PA(page), FRESH | turn)
    pause()
    ran_on = u64(turns(RECORD) > u64(before + 1))
    expect(state, bytes_address(b"ran-on\0"), ran_on, 0)
    store_u64(PA(entry), page | LEAF)
    dsb_sy()
    wait_for(RECORD, u64(turns(RECORD) + 3))
    seen = load_acquire_u64(PA(RECORD + VALUE))
    expect(state, bytes_address(b"seen\0"), seen, FRESH | turn)


@resident
def shared_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    record = at(Watcher, RECORD)
    clear(RECORD)
    root = identity_table(state, MEMORY_END, S2_NORMAL)
    entry = entry_of(state, root, WINDOW, 3)
    record.hcr = mrs(sr.HCR_EL2)
    record.root = root
    use_stage2(root, VMID)
    store_u64(PA(entry), PAGES[0] | LEAF)
    begin(state, bytes_address(b"on\0"), NO_SUBJECT)
    answer = psci_call(CPU_ON_64, 1, symbol_address("shared_start"), RECORD)
    expect(state, bytes_address(b"seen\0"), answer, SUCCESS)
    wait_for(RECORD, 10)
    end(state)
    begin(state, bytes_address(b"moves\0"), NO_SUBJECT)
    for turn in range(ROUNDS):
        move(state, entry, turn)
    end(state)
    finish(state)
