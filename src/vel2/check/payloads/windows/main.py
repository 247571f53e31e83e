"""Payload `windows`: each other CPU runs a guest with FEAT_NV2, and this one moves its VNCR page.

The EL2 regime of all CPUs has one table, in which each guest's VNCR_EL2 is an address of its own. A
round unmaps it, by every kind of TLBI of that regime in turn, and maps another page there. When the
TLBI and the DSB behind it are done, the old page is written no more, and the guest cannot have
looked once more than it had begun to. Once it looks again, it sees the page that is there now.
"""

from vel2.arch import sysregs as sr
from vel2.arch.insn import TLBI
from vel2.arch.operands import TLBI_RANGE
from vel2.arch.psci import CPU_ON_64, SUCCESS
from vel2.arch.vncr import VNCR_PAGE
from vel2.check.payloads.layout import ARENA, PAGE_BYTES, Parameters, State
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect, finish
from vel2.check.payloads.library.controls import HCR_BASE, has_e2h, set_hcr
from vel2.check.payloads.library.stage1 import own_stage1, own_stage1_on
from vel2.check.payloads.library.tables import S1_NORMAL, entry_of
from vel2.check.payloads.library.watcher import FRESH, STALE, VALUE, clear, turns, wait_for
from vel2.check.payloads.psci.second import pause, psci_call
from vel2.lang import (
    PA,
    Struct,
    at,
    bytes_address,
    dsb_ish,
    dsb_sy,
    isb,
    load_acquire_u64,
    load_u64,
    mrs,
    msr,
    resident,
    scalar,
    store_u64,
    symbol_address,
    sysop,
    u64,
)

CPUS = 4
GUESTS = CPUS - 1
ROUNDS = 60
RECORDS = ARENA
PAGES = ARENA + 16 * PAGE_BYTES
"""Two for each guest."""
WINDOWS = 0x12_3456_7000
"""VNCR_EL2 of the first guest."""
LEAF = S1_NORMAL | 0b11
OFFSETS = {row.name: row.offset for row in VNCR_PAGE}
READ, WRITTEN = OFFSETS["VTTBR_EL2"], OFFSETS["TPIDR_EL2"]
UNTOUCHED = 0xFFFF_FFFF
NESTED = HCR_BASE & ~sr.HCR_EL2.VM.mask | sr.HCR_EL2.compose(NV=1, NV2=1)
TGE = sr.HCR_EL2.TGE.mask
PAGE_NUMBER = (1 << 44) - 1
"""Of TLBI's operand."""
FORMS = 5


class Watcher(Struct):
    """What a guest tells (`library.watcher`), and what its hypervisor needs."""

    value = scalar(u64)
    turns = scalar(u64)
    hcr = scalar(u64)
    root = scalar(u64)
    vncr = scalar(u64)


@resident
def windows_second(page: u64) -> None:
    """Set up another CPU as the first one is, and what its guest runs under."""
    record = at(Watcher, page)
    msr(sr.HCR_EL2, record.hcr)
    isb()
    own_stage1_on(record.root)
    msr(sr.VNCR_EL2, record.vncr)
    set_hcr(NESTED)
    isb()


@resident
def record_of(guest: u64) -> u64:
    """Give a guest's record."""
    return u64(RECORDS + guest * PAGE_BYTES)


@resident
def window_of(guest: u64) -> u64:
    """Give a guest's VNCR_EL2."""
    return u64(WINDOWS + guest * PAGE_BYTES)


@resident
def invalidate(window: u64, turn: u64) -> None:
    """Take an address of EL2's regime from the TLBs of all CPUs, by one of the forms."""
    number = window >> 12 & PAGE_NUMBER
    dsb_ish()
    form = u64(turn % FORMS)
    if form == 0:
        sysop(TLBI.VAE2IS, number)
    elif form == 1:
        sysop(TLBI.VALE2OS, number)
    elif form == 2:
        sysop(TLBI.RVAE2IS, TLBI_RANGE.BaseADDR.put(number) | TLBI_RANGE.TG.put(1))
    elif form == 3 and has_e2h():
        set_hcr(HCR_BASE | TGE)
        isb()
        sysop(TLBI.VAAE1IS, number)
        dsb_ish()
        set_hcr(HCR_BASE)
    else:
        sysop(TLBI.ALLE2IS)
    dsb_ish()
    isb()


@resident
def move(state: State, entry: u64, guest: u64, turn: u64) -> None:
    """Do one round with one guest."""
    record = record_of(guest)
    page = u64(PAGES + 2 * guest * PAGE_BYTES)
    other = u64(page + PAGE_BYTES)
    if turn & 1 != 0:
        page, other = other, page
    store_u64(PA(entry), 0)
    invalidate(window_of(guest), turn)
    before = turns(record)
    store_u64(PA(other + READ), STALE | turn)
    store_u64(PA(other + WRITTEN), UNTOUCHED)
    store_u64(PA(page + READ), FRESH | turn)
    store_u64(PA(page + WRITTEN), UNTOUCHED)
    pause()
    ran_on = u64(turns(record) > u64(before + 1))
    expect(state, bytes_address(b"ran-on\0"), ran_on, 0)
    expect(state, bytes_address(b"written\0"), load_u64(PA(other + WRITTEN)), UNTOUCHED)
    store_u64(PA(entry), page | LEAF)
    dsb_sy()
    wait_for(record, u64(turns(record) + 3))
    seen = load_acquire_u64(PA(record + VALUE))
    expect(state, bytes_address(b"seen\0"), seen, FRESH | turn)
    is_written = u64(load_u64(PA(page + WRITTEN)) != UNTOUCHED)
    expect(state, bytes_address(b"writes\0"), is_written, 1)


@resident
def windows_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    root = own_stage1(state, parameters)
    set_hcr(HCR_BASE)
    isb()
    for guest in range(GUESTS):
        clear(record_of(guest))
        record = at(Watcher, record_of(guest))
        record.hcr = mrs(sr.HCR_EL2)
        record.root = root
        record.vncr = window_of(guest)
        entry = entry_of(state, root, window_of(guest), 3)
        store_u64(PA(entry), u64(PAGES + 2 * guest * PAGE_BYTES) | LEAF)
        dsb_sy()
        begin(state, bytes_address(b"on\0"), guest)
        start = symbol_address("windows_start")
        answer = psci_call(CPU_ON_64, u64(guest + 1), start, record_of(guest))
        expect(state, bytes_address(b"answer\0"), answer, SUCCESS)
        wait_for(record_of(guest), 10)
        end(state)
    begin(state, bytes_address(b"moves\0"), NO_SUBJECT)
    for turn in range(ROUNDS):
        for guest in range(GUESTS):
            entry = entry_of(state, root, window_of(guest), 3)
            move(state, entry, guest, turn)
    end(state)
    finish(state)
