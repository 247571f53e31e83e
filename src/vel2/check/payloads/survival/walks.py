"""The part of `survival` about address translation: AT through tables that lead nowhere."""

from vel2.arch import sysregs as sr
from vel2.arch.esr import FSC
from vel2.check.payloads.layout import ARENA, PAGE_BYTES, RAM_BASE, Parameters, State
from vel2.check.payloads.library.assembly import LOWER_AARCH64_SYNC, NO_EXCEPTION, SCTLR_OFF
from vel2.check.payloads.library.checks import NO_SUBJECT, UART_BASE, begin, end, expect, put
from vel2.check.payloads.library.controls import (
    HCR_HOST,
    SCTLR_ON,
    invalidate_all,
    physical_size,
    set_hcr,
    use_stage2,
)
from vel2.check.payloads.library.faults import FETCH_LOWER, UNTOUCHED, WITHOUT_INSTRUCTION, block_of
from vel2.check.payloads.library.guest import enter_guest, expect_el2, probe
from vel2.check.payloads.library.seen import saw
from vel2.check.payloads.library.stage1 import own_stage1
from vel2.check.payloads.library.tables import MAIR, S2_NORMAL, TABLE, identity_table, map_to
from vel2.check.payloads.stage2.faults import (
    AF,
    IPA,
    heading,
    new_large_table,
    saw_par,
    use_39_bits,
)
from vel2.lang import (
    PA,
    bytes_address,
    dsb_sy,
    inline,
    isb,
    load_u64,
    mrs,
    msr,
    resident,
    store_u32,
    store_u64,
    symbol_address,
    u32,
    u64,
)

VMID = 7
HOLE = 0x3F00_0000
PLATFORM_BUS = 0x0C00_0000
"""An empty window of the machine: it is L1's, and no device answers there."""
NOWHERE = (PLATFORM_BUS, HOLE)
BEYOND, IPS_32_BITS = 1 << 36, 0
"""A table beyond TCR_EL1.IPS, where stage 2 has nothing either."""
LARGE_TABLE_WORDS = 0x1_0000 // 8
TCR = sr.TCR_EL1
REGIMES = (
    (b"4k-39\0", TCR.compose(T0SZ=25, T1SZ=25, TG0=0, TG1=2)),
    (b"4k-48\0", TCR.compose(T0SZ=16, T1SZ=16, TG0=0, TG1=2)),
    (b"4k-52\0", TCR.compose(T0SZ=12, T1SZ=12, TG0=0, TG1=2)),
    (b"4k-52-ds\0", TCR.compose(T0SZ=12, T1SZ=12, TG0=0, TG1=2, DS=1)),
    (b"4k-16\0", TCR.compose(T0SZ=48, T1SZ=48, TG0=0, TG1=2)),
    (b"4k-15\0", TCR.compose(T0SZ=49, T1SZ=49, TG0=0, TG1=2)),
    (b"16k-36\0", TCR.compose(T0SZ=28, T1SZ=28, TG0=2, TG1=1)),
    (b"16k-47\0", TCR.compose(T0SZ=17, T1SZ=17, TG0=2, TG1=1)),
    (b"16k-16\0", TCR.compose(T0SZ=48, T1SZ=48, TG0=2, TG1=1)),
    (b"64k-42\0", TCR.compose(T0SZ=22, T1SZ=22, TG0=1, TG1=3)),
    (b"64k-48\0", TCR.compose(T0SZ=16, T1SZ=16, TG0=1, TG1=3)),
    (b"64k-52\0", TCR.compose(T0SZ=12, T1SZ=12, TG0=1, TG1=3)),
    (b"64k-17\0", TCR.compose(T0SZ=47, T1SZ=47, TG0=1, TG1=3)),
    (b"64k-16\0", TCR.compose(T0SZ=48, T1SZ=48, TG0=1, TG1=3)),
    (b"64k-1\0", TCR.compose(T0SZ=63, T1SZ=63, TG0=1, TG1=3)),
    (b"reserved-39\0", TCR.compose(T0SZ=25, T1SZ=25, TG0=3, TG1=0)),
    (b"t0sz-0\0", TCR.compose(T0SZ=0, T1SZ=0, TG0=0, TG1=2)),
    (b"epd\0", TCR.compose(T0SZ=25, T1SZ=25, TG0=0, TG1=2, EPD0=1, EPD1=1)),
    (b"e0pd\0", TCR.compose(T0SZ=25, T1SZ=25, TG0=0, TG1=2, E0PD0=1, E0PD1=1)),
    (b"hpd\0", TCR.compose(T0SZ=25, T1SZ=25, TG0=0, TG1=2, HPD0=1, HPD1=1)),
)
"""Sizes and granules of stage 1, in range and out of it."""
TRANSLATIONS = (
    (b"at-s1e1r\0", "do_at_s1e1r"),
    (b"at-s1e0r\0", "do_at_s1e0r"),
    (b"at-s12e1r\0", "do_at_s12e1r"),
)
LOWER_VA, UPPER_VA = 0x1234, (1 << 64) - 0x1234_5000


@inline
def big_endian(value: u64) -> u64:
    """Give a 64-bit number with its bytes in the other order."""
    swapped = u64(0)
    for i in range(8):
        swapped = u64(swapped << 8) | value >> u64(8 * i) & 0xFF
    return swapped


@resident
def translate_all(state: State) -> None:
    """Translate an address of each half in each way, and print the results."""
    invalidate_all()
    for name, code in TRANSLATIONS:
        state.vector = probe(symbol_address(code), LOWER_VA, 0)
        saw_par(state, bytes_address(name), LOWER_VA)
        state.vector = probe(symbol_address(code), UPPER_VA, 0)
        saw_par(state, bytes_address(name), UPPER_VA)


@resident
def in_each_regime(state: State, root: u64, what: u64, ips: u64) -> None:
    """Translate by tables that begin at `root`, with each size and granule, and big-endian too."""
    msr(sr.TTBR0_EL12, root)
    msr(sr.TTBR1_EL12, root)
    for name, tcr in REGIMES:
        msr(sr.TCR_EL12, tcr | TCR.IPS.put(ips))
        msr(sr.SCTLR_EL12, SCTLR_ON)
        isb()
        heading(what, 0)
        heading(bytes_address(name), 0)
        translate_all(state)
    msr(sr.TCR_EL12, REGIMES[0][1] | TCR.IPS.put(ips))
    msr(sr.SCTLR_EL12, SCTLR_ON | sr.SCTLR_EL1.EE.mask)
    isb()
    heading(what, 1)
    translate_all(state)


@resident
def fill_table(table: u64, entry: u64) -> None:
    """Put one descriptor everywhere into a table of any granule."""
    for i in range(LARGE_TABLE_WORDS):
        store_u64(PA(table + i * 8), entry)


@resident
def guest_walks(state: State, parameters: Parameters) -> None:
    """Let EL2 translate by L2's tables, in circles or nowhere, with and without stage 2."""
    msr(sr.MAIR_EL12, MAIR)
    size = physical_size()
    circle = new_large_table(state)
    lost = new_large_table(state)
    stage2 = identity_table(state, parameters.ram_end, S2_NORMAL)
    for nowhere in NOWHERE:
        map_to(state, stage2, block_of(nowhere, 3), 3, block_of(nowhere, 3), S2_NORMAL)
    for stages in range(1, 3):
        if stages == 1:
            set_hcr(HCR_HOST)
            isb()
        else:
            use_stage2(stage2, VMID)
        fill_table(circle, circle | TABLE)
        in_each_regime(state, circle, bytes_address(b"circle\0"), size)
        fill_table(circle, big_endian(circle | TABLE))
        in_each_regime(state, circle, bytes_address(b"circle-big-endian\0"), size)
        for nowhere in NOWHERE:
            in_each_regime(state, nowhere, bytes_address(b"nowhere\0"), size)
            fill_table(lost, nowhere | TABLE)
            in_each_regime(state, lost, bytes_address(b"lost\0"), size)
        fill_table(lost, BEYOND | TABLE)
        in_each_regime(state, lost, bytes_address(b"beyond\0"), IPS_32_BITS)
    msr(sr.SCTLR_EL12, SCTLR_OFF)
    set_hcr(HCR_HOST)
    invalidate_all()


MAINTENANCE = ("dc_cvac", "dc_cvap", "dc_civac")


@resident
def maintenance(state: State, parameters: Parameters) -> None:
    """Maintain caches by addresses where nothing is: at EL2, and in L2 with and without stage 2."""
    stage2 = identity_table(state, parameters.ram_end, S2_NORMAL)
    for nowhere in NOWHERE:
        map_to(state, stage2, block_of(nowhere, 3), 3, block_of(nowhere, 3), S2_NORMAL)
    for name in MAINTENANCE:
        for nowhere in NOWHERE:
            heading(bytes_address(b"maintenance\0"), nowhere)
            state.vector = probe(symbol_address(f"do_{name}"), nowhere, 0)
            saw_vector(state)
            set_hcr(HCR_HOST)
            isb()
            state.vector = enter_guest(state, symbol_address(f"guest_{name}"), nowhere, 0)
            saw(state, bytes_address(b"by-l2\0"), 1)
            use_stage2(stage2, VMID)
            invalidate_all()
            state.vector = enter_guest(state, symbol_address(f"guest_{name}"), nowhere, 0)
            saw(state, bytes_address(b"by-l2\0"), 2)
    set_hcr(HCR_HOST)
    isb()


@resident
def saw_vector(state: State) -> None:
    """Print the exception of a probe, or that there was none."""
    if state.vector == NO_EXCEPTION:
        put(bytes_address(b"saw no-exception\n\0"))
    else:
        saw(state, bytes_address(b"exception\0"), NO_SUBJECT)


@resident
def without_tables(state: State, parameters: Parameters) -> None:
    """Let EL2 read registers and use memory while its own tables are nowhere.

    The TLB has what EL2 needs, where it is known to keep it (`Parameters.forgets`); a walk by L0
    itself would find nothing.
    """
    own_stage1(state, parameters)
    for nowhere in NOWHERE:
        begin(state, bytes_address(b"without-tables\0"), nowhere)
        state.vector = probe(symbol_address("do_without_tables"), nowhere, ARENA)
        expect(state, bytes_address(b"vector\0"), state.vector, NO_EXCEPTION)
        end(state)
    msr(sr.SCTLR_EL2, SCTLR_OFF)
    isb()


FLASH = 0x0400_0000
FLASH_VMID = 8
PROGRAM, READ_ARRAY = 0x40, 0xFF
"""Commands of the CFI flash."""


@resident
def program(address: u64, value: u64) -> None:
    """Write eight bytes of flash."""
    for half in range(2):
        store_u32(PA(address + 4 * half), PROGRAM)
        store_u32(PA(address + 4 * half), u32(value >> u64(32 * half) & 0xFFFF_FFFF))
    store_u32(PA(address), READ_ARRAY)
    dsb_sy()


@resident
def tables_in_flash(state: State) -> None:
    """Run L2 under a stage 2 in flash whose access flag hardware would have to set."""
    if sr.ID_AA64MMFR1_EL1.HAFDBS.get(mrs(sr.ID_AA64MMFR1_EL1)) == 0:
        return
    slot = u64(FLASH + (IPA >> LEVEL_1_SHIFT) * 8)
    program(u64(FLASH + (RAM_BASE >> LEVEL_1_SHIFT) * 8), RAM_BASE | S2_NORMAL | 1)
    program(slot, RAM_BASE | S2_NORMAL & ~AF | 1)
    for flags in (0, sr.VTCR_EL2.HA.mask):
        use_39_bits(FLASH, flags)
        msr(sr.VTTBR_EL2, FLASH | sr.VTTBR_EL2.VMID.put(FLASH_VMID))
        isb()
        invalidate_all()
        heading(bytes_address(b"table-in-flash\0"), flags)
        state.vector = enter_guest(state, symbol_address("guest_read"), IPA, UNTOUCHED)
        saw(state, bytes_address(b"read\0"), IPA)
    begin(state, bytes_address(b"flash-is-flash\0"), NO_SUBJECT)
    store_u32(PA(FLASH), READ_ARRAY)
    expect(state, bytes_address(b"leaf\0"), load_u64(PA(slot)) | AF, RAM_BASE | S2_NORMAL | 1)
    end(state)
    begin(state, bytes_address(b"flash-access-flag\0"), NO_SUBJECT)
    expect(state, bytes_address(b"af\0"), load_u64(PA(slot)) & AF, AF)
    end(state)
    set_hcr(HCR_HOST)
    invalidate_all()


LEVEL_1_SHIFT = 30


@resident
def tables_in_a_device(state: State) -> None:
    """Run L2 under a stage 2 whose table is the UART, which reads as zero there."""
    use_stage2(UART_PAGE, VMID)
    invalidate_all()
    begin(state, bytes_address(b"table-in-device\0"), NO_SUBJECT)
    code = symbol_address("guest_hvc")
    state.vector = enter_guest(state, code, 0, 0)
    fault = u64(FETCH_LOWER | FSC.TRANSLATION + 1)
    state.esr = state.esr & WITHOUT_INSTRUCTION
    expect_el2(state, LOWER_AARCH64_SYNC, fault & WITHOUT_INSTRUCTION, code)
    end(state)
    set_hcr(HCR_HOST)
    invalidate_all()


UART_PAGE = UART_BASE & ~(PAGE_BYTES - 1)
