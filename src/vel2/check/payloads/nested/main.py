"""Payload `nested`: what FEAT_NV and FEAT_NV2 do to an L2 that EL2 gives a virtual EL2.

For each set of HCR_EL2.{NV,NV1,NV2,AT}, L2's EL1 makes every access of a list (`code`). The `saw`
lines show the exception that ended it, what was read, and what has changed: registers of L2, and
slots of the page at VNCR_EL2. Then VNCR_EL2 is what its translation says: a page that moves, one
that may not be written, one that is not there.
"""

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.descriptors import Stage1Leaf
from vel2.arch.esr import EC, FSC, ISS_DABT, ESR_ELx
from vel2.arch.insn import TLBI
from vel2.arch.pstate import PSTATE_DAIF, PSTATE_MODE, M_EL1h, M_EL2h
from vel2.check.payloads.layout import ARENA, PAGE_BYTES, Parameters, State
from vel2.check.payloads.library.assembly import (
    HVC_DONE,
    HVC_EL1_VECTOR,
    LOWER_AARCH64_SYNC,
    SCTLR_OFF,
)
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect, finish
from vel2.check.payloads.library.controls import (
    CNTHCTL_BASE,
    HCR_BASE,
    HCR_HOST,
    has_e2h,
    no_traps,
    set_cnthctl,
    set_hcr,
)
from vel2.check.payloads.library.guest import enter_guest, is_hvc, start_guest
from vel2.check.payloads.library.seen import saw, say
from vel2.check.payloads.library.stage1 import own_stage1, own_stage1_off, own_stage1_table
from vel2.check.payloads.library.tables import (
    LAST_LEVEL,
    S1_NORMAL,
    S2_NORMAL,
    UPPER_BASE,
    entry_of,
    map_to,
)
from vel2.check.payloads.nested.code import ONLY_READ, PATTERN, REGISTERS, SYSTEM, WORDS
from vel2.lang import (
    PA,
    bytes_address,
    dsb_sy,
    isb,
    load_u64,
    mrs,
    msr,
    resident,
    store_u64,
    symbol_address,
    sysop,
    u64,
)

HCR = sr.HCR_EL2
VMID = 3
HOLE = 0x3F00_0000
PAGE, OTHER_PAGE = ARENA, ARENA + PAGE_BYTES
SLOTS = PAGE_BYTES // 8
FILL, OTHER_FILL = 0xA5A5_0000_0000_0000, 0xC3C3_0000_0000_0000
"""A slot holds this and its number."""
NV2 = 2
"""ID_AA64MMFR2_EL1.NV of FEAT_NV2."""

SETS = (
    (0, 0),
    (1, HCR.compose(NV=1)),
    (1, HCR.compose(NV=1, AT=1)),
    (1, HCR.compose(NV=1, NV1=1)),
    (1, HCR.compose(AT=1)),
    (1, HCR.compose(NV=1, TVM=1, TRVM=1, TTLB=1, TSC=1)),
    (2, HCR.compose(NV=1, NV2=1)),
    (2, HCR.compose(NV=1, NV2=1, AT=1, TTLB=1, TSC=1)),
    (2, HCR.compose(NV=1, NV1=1, NV2=1)),
    (2, HCR.compose(NV=1, NV1=1, NV2=1, TVM=1, TRVM=1, TACR=1)),
    (2, HCR.compose(NV2=1)),
)
"""With the feature that each needs, as ID_AA64MMFR2_EL1.NV has it."""

FOLLOWED: tuple[tuple[bytes, type[Register], int], ...] = (
    (b"SCTLR_EL1\0", sr.SCTLR_EL12, SCTLR_OFF),
    (b"CPACR_EL1\0", sr.CPACR_EL12, sr.CPACR_EL1.compose(FPEN=3, ZEN=3)),
    (b"TTBR0_EL1\0", sr.TTBR0_EL12, 0x1000),
    (b"TTBR1_EL1\0", sr.TTBR1_EL12, 0x2000),
    (b"TCR_EL1\0", sr.TCR_EL12, 0x10),
    (b"ESR_EL1\0", sr.ESR_EL12, 0x5600_0001),
    (b"FAR_EL1\0", sr.FAR_EL12, 0x3000),
    (b"AFSR0_EL1\0", sr.AFSR0_EL12, 0),
    (b"MAIR_EL1\0", sr.MAIR_EL12, 0x44),
    (b"CONTEXTIDR_EL1\0", sr.CONTEXTIDR_EL12, 0x55),
    (b"ELR_EL1\0", sr.ELR_EL12, 0x4000),
    (b"SPSR_EL1\0", sr.SPSR_EL12, PSTATE_DAIF),
    (b"CNTV_CTL_EL0\0", sr.CNTV_CTL_EL02, 0),
    (b"CNTV_CVAL_EL0\0", sr.CNTV_CVAL_EL02, 0x6000),
    (b"CNTP_CTL_EL0\0", sr.CNTP_CTL_EL02, 0),
    (b"CNTP_CVAL_EL0\0", sr.CNTP_CVAL_EL02, 0x7000),
    (b"SP_EL1\0", sr.SP_EL1, 0x8000),
    (b"TPIDR_EL1\0", sr.TPIDR_EL1, 0x9000),
    (b"MDSCR_EL1\0", sr.MDSCR_EL1, 0),
)
"""L2's registers, what they hold before each access, and their names without EL12."""


@resident
def fill(page: u64) -> None:
    """Give every slot of a page its own value."""
    for i in range(SLOTS):
        store_u64(PA(page + i * 8), u64(FILL + i))
    dsb_sy()


@resident
def show_slots(name: u64, page: u64) -> None:
    """Show the slots that have changed."""
    for i in range(SLOTS):
        value = load_u64(PA(page + i * 8))
        if value != u64(FILL + i):
            say(name, u64(i * 8), bytes_address(b"slot\0"), value)
            store_u64(PA(page + i * 8), u64(FILL + i))


@resident
def set_registers() -> None:
    """Give the followed registers of L2 their values."""
    for _name, register, value in FOLLOWED:
        msr(register, value)
    msr(sr.VBAR_EL12, symbol_address("el1_vectors"))
    isb()


@resident
def show_registers(name: u64) -> None:
    """Show the followed registers that have changed."""
    for shown, register, value in FOLLOWED:
        found = mrs(register)
        if found != value:
            say(name, NO_SUBJECT, bytes_address(shown), found)


@resident
def attempt(state: State, name: u64, nesting: u64, code: u64, value: u64) -> None:
    """Run one access of L2 with these bits of HCR_EL2, and show what came of it."""
    set_registers()
    set_hcr(HCR_BASE | nesting)
    isb()
    state.vector = enter_guest(state, code, 0, value)
    set_hcr(HCR_BASE)
    isb()
    saw(state, name, nesting)
    if is_hvc(state, HVC_DONE) and state.x[1] != value:
        say(name, nesting, bytes_address(b"x1\0"), state.x[1])
    show_registers(name)
    show_slots(name, PAGE)


ACCESSES = (
    *((f"{name}\0".encode(), f"nested_read_{name}", PATTERN + 1) for name, _, _ in REGISTERS),
    *(
        (f"{name}\0".encode(), f"nested_write_{name}", value)
        for name, _, value in REGISTERS
        if name not in ONLY_READ
    ),
    *((f"{name}\0".encode(), f"nested_{name}", 0) for name, _ in SYSTEM),
    *((f"{name}\0".encode(), f"nested_{name}", HOLE) for name, _ in WORDS),
)


@resident
def accesses(state: State, nesting: u64) -> None:
    """Make every access with one set of bits."""
    for name, code, value in ACCESSES:
        attempt(state, bytes_address(name), nesting, symbol_address(code), value)


@resident
def saved_mode(state: State, nesting: u64) -> None:
    """Check SPSR_EL1.M after exceptions from L2's EL1 to it: by hardware, and on an abort.

    It says EL2 with NV=1 where NV1=0 or NV2=1 (AArch64.TakeException).
    """
    mode = u64(M_EL1h)
    if nesting & HCR.NV.mask and nesting & NV1_OR_NV2 != HCR.NV1.mask:
        mode = u64(M_EL2h)
    set_hcr(HCR_BASE | nesting)
    isb()
    for name, code, value in RAISING:
        begin(state, bytes_address(name), nesting)
        state.vector = enter_guest(state, symbol_address(code), 0, value)
        expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_SYNC)
        hvc = ESR_ELx.compose(EC=EC.HVC64, IL=1) | (HVC_EL1_VECTOR + CURRENT_SPX)
        expect(state, bytes_address(b"esr_el2\0"), state.esr, hvc)
        expect(state, bytes_address(b"mode_el2\0"), state.spsr & PSTATE_MODE, M_EL1h)
        expect(state, bytes_address(b"mode_el1\0"), mrs(sr.SPSR_EL12) & PSTATE_MODE, mode)
        end(state)
    set_hcr(HCR_BASE)
    isb()


CURRENT_SPX = 4
NV1_OR_NV2 = HCR.compose(NV1=1, NV2=1)
RAISING = (
    (b"mode-svc\0", "nested_svc", 0),
    (b"mode-udf\0", "nested_udf", 0),
    (b"mode-impdef\0", "nested_read_impdef", 0),
    (b"mode-hole\0", "nested_hole", HOLE),
)


@resident
def read_hcr_el2(state: State, nesting: u64) -> u64:
    """Let L2 read HCR_EL2; give the vector that came back."""
    set_hcr(HCR_BASE | nesting)
    isb()
    vector = enter_guest(state, symbol_address("nested_read_hcr_el2"), 0, 0)
    set_hcr(HCR_BASE)
    isb()
    return vector


@resident
def write_hcr_el2(state: State, nesting: u64) -> u64:
    """Let L2 write HCR_EL2; give the vector that came back."""
    set_hcr(HCR_BASE | nesting)
    isb()
    vector = enter_guest(state, symbol_address("nested_write_hcr_el2"), 0, PATTERN)
    set_hcr(HCR_BASE)
    isb()
    return vector


@resident
def expect_read(state: State, want: u64) -> None:
    """Require that L2 read this from the page."""
    state.vector = read_hcr_el2(state, WITH_NV2)
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_SYNC)
    expect(state, bytes_address(b"esr\0"), state.esr, DONE)
    expect(state, bytes_address(b"x1\0"), state.x[1], want)


@resident
def expect_abort(state: State, status: u64, address: u64, is_write: u64) -> None:
    """Require that L2's access to HCR_EL2 was an abort of EL2's own regime."""
    syndrome = u64(ESR_ELx.compose(EC=EC.DABT_SAME, IL=1) | ISS_DABT.VNCR.mask | status)
    if is_write != 0:
        state.vector = write_hcr_el2(state, WITH_NV2)
        syndrome = syndrome | ISS_DABT.WnR.mask
    else:
        state.vector = read_hcr_el2(state, WITH_NV2)
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_SYNC)
    expect(state, bytes_address(b"esr\0"), state.esr, syndrome)
    expect(state, bytes_address(b"far\0"), state.far, u64(address | HCR_OFFSET))
    expect(state, bytes_address(b"elr\0"), state.elr, state.guest_pc)
    expect(state, bytes_address(b"mode\0"), state.spsr & PSTATE_MODE, M_EL1h)
    saw(state, state.name, is_write)


@resident
def show(state: State, root: u64, address: u64, output: u64, attributes: u64) -> None:
    """Map a page of EL2's regime, and invalidate what was there."""
    map_to(state, root, address, LAST_LEVEL, output, attributes)
    invalidate_page(address)


@resident
def hide(state: State, root: u64, address: u64) -> None:
    """Unmap a page of EL2's regime."""
    store_u64(PA(entry_of(state, root, address, LAST_LEVEL)), 0)
    invalidate_page(address)


@resident
def invalidate_page(address: u64) -> None:
    """Invalidate an address of EL2's regime, for every ASID and PE."""
    dsb_sy()
    sysop(TLBI.VAE2IS, address >> 12 & TLBI_VA)
    dsb_sy()
    isb()


TLBI_VA = (1 << 44) - 1
WITH_NV2 = HCR.compose(NV=1, NV2=1)
DONE = ESR_ELx.compose(EC=EC.HVC64, IL=1) | HVC_DONE
HCR_OFFSET = 0x78
IN_PAGE, IN_OTHER = FILL + HCR_OFFSET // 8, OTHER_FILL + HCR_OFFSET // 8
WINDOW = 1 << 36
LAST = LAST_LEVEL
READ_ONLY = Stage1Leaf.AP.put(0b10)
OF_EL0 = Stage1Leaf.AP.put(0b01)
NOT_GLOBAL = Stage1Leaf.nG.mask
ASID_7 = sr.TTBR0_EL1.ASID.put(7)


@resident
def to_nothing(state: State, root: u64, address: u64, output: u64) -> None:
    """Check VNCR_EL2 where EL2 maps it to an address that it has nothing at."""
    begin(state, bytes_address(b"hole\0"), output)
    show(state, root, address, output, S1_NORMAL)
    expect_abort(state, FSC.SYNC_EXTERNAL, address, 0)
    expect_abort(state, FSC.SYNC_EXTERNAL, address, 1)
    end(state)


@resident
def page_moves(state: State, root: u64, address: u64, end_of_ram: u64) -> None:
    """Check that VNCR_EL2 is translated by EL2's tables, and again after each change of them.

    :param end_of_ram: where EL2 has nothing; at virtual EL2 L0's memory begins there.
    """
    msr(sr.VNCR_EL2, address | LOW_BITS)
    begin(state, bytes_address(b"mapped\0"), address)
    show(state, root, address, PAGE, S1_NORMAL)
    expect_read(state, IN_PAGE)
    end(state)
    begin(state, bytes_address(b"moved\0"), address)
    show(state, root, address, OTHER_PAGE, S1_NORMAL)
    expect_read(state, IN_OTHER)
    end(state)
    begin(state, bytes_address(b"unmapped\0"), address)
    hide(state, root, address)
    expect_abort(state, u64(FSC.TRANSLATION + LAST), address, 0)
    expect_abort(state, u64(FSC.TRANSLATION + LAST), address, 1)
    end(state)
    begin(state, bytes_address(b"read-only\0"), address)
    show(state, root, address, PAGE, S1_NORMAL | READ_ONLY)
    expect_read(state, IN_PAGE)
    expect_abort(state, u64(FSC.PERMISSION + LAST), address, 1)
    expect_read(state, IN_PAGE)
    end(state)
    begin(state, bytes_address(b"access-flag\0"), address)
    show(state, root, address, PAGE, S1_NORMAL & ~Stage1Leaf.AF.mask)
    expect_abort(state, u64(FSC.ACCESS_FLAG + LAST), address, 0)
    expect_abort(state, u64(FSC.ACCESS_FLAG + LAST), address, 1)
    end(state)
    to_nothing(state, root, address, HOLE)
    to_nothing(state, root, address, end_of_ram)
    begin(state, bytes_address(b"mapped-again\0"), address)
    show(state, root, address, PAGE, S1_NORMAL)
    expect_read(state, IN_PAGE)
    state.vector = write_hcr_el2(state, WITH_NV2)
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_SYNC)
    expect(state, bytes_address(b"stored\0"), load_u64(PA(PAGE + HCR_OFFSET)), PATTERN)
    store_u64(PA(PAGE + HCR_OFFSET), IN_PAGE)
    end(state)


LOW_BITS = 0x123
"""Of VNCR_EL2; RES0."""


@resident
def other_tables(state: State, parameters: Parameters, root: u64) -> None:
    """Check that a TTBR0_EL2 with another table and ASID counts without a TLBI."""
    begin(state, bytes_address(b"other-tables\0"), NO_SUBJECT)
    msr(sr.VNCR_EL2, WINDOW)
    show(state, root, WINDOW, PAGE, S1_NORMAL | NOT_GLOBAL)
    expect_read(state, IN_PAGE)
    other = own_stage1_table(state, parameters.ram_end)
    show(state, other, WINDOW, OTHER_PAGE, S1_NORMAL | NOT_GLOBAL)
    if has_e2h():
        msr(sr.TTBR0_EL2, other | ASID_7)
    else:
        msr(sr.TTBR0_EL2, other)
        sysop(TLBI.ALLE2)
        dsb_sy()
    isb()
    expect_read(state, IN_OTHER)
    msr(sr.TTBR0_EL2, root)
    if not has_e2h():
        sysop(TLBI.ALLE2)
        dsb_sy()
    isb()
    expect_read(state, IN_PAGE)
    end(state)


@resident
def of_el0(state: State, root: u64) -> None:
    """Check that a page of EL0 serves, although PSTATE.PAN would keep EL2 from it."""
    begin(state, bytes_address(b"pan\0"), NO_SUBJECT)
    show(state, root, WINDOW, PAGE, S1_NORMAL | OF_EL0)
    expect_read(state, IN_PAGE)
    end(state)


@resident
def translation(state: State, parameters: Parameters) -> None:
    """Check how VNCR_EL2 is translated."""
    for i in range(SLOTS):
        store_u64(PA(OTHER_PAGE + i * 8), u64(OTHER_FILL + i))
    fill(PAGE)
    root = own_stage1(state, parameters)
    page_moves(state, root, WINDOW, parameters.ram_end)
    if has_e2h():
        page_moves(state, root, UPPER_BASE + WINDOW, parameters.ram_end)
        msr(sr.VNCR_EL2, WINDOW)
        of_el0(state, root)
    other_tables(state, parameters, root)
    own_stage1_off()


@resident
def timers(state: State, nesting: u64) -> None:
    """Show the EL02 names of timers where CNTHCTL_EL2 sends them to EL2, not to the page."""
    set_cnthctl(CNTHCTL_BASE | sr.CNTHCTL_EL2_E2H.compose(EL1NVPCT=1, EL1NVVCT=1))
    for name, code, value in TIMERS:
        attempt(state, bytes_address(name), nesting, symbol_address(code), value)
    set_cnthctl(CNTHCTL_BASE)


TIMERS = tuple(row for row in ACCESSES if row[0].startswith(b"cnt"))


@resident
def identification(state: State, parameters: Parameters) -> None:
    """Check that the identification registers tell of what is tried."""
    begin(state, bytes_address(b"id_aa64mmfr2_el1\0"), NO_SUBJECT)
    shown = sr.ID_AA64MMFR2_EL1.NV.get(mrs(sr.ID_AA64MMFR2_EL1))
    if shown > parameters.nesting:
        shown = parameters.nesting
    expect(state, bytes_address(b"nv\0"), shown, parameters.nesting)
    end(state)


@resident
def nested_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    identification(state, parameters)
    no_traps()
    root = start_guest(state, parameters, VMID)
    map_to(state, root, HOLE, LAST_LEVEL, HOLE, S2_NORMAL)
    fill(PAGE)
    if parameters.nesting >= NV2:
        msr(sr.VNCR_EL2, PAGE)
    for needed, nesting in SETS:
        if parameters.nesting >= needed:
            accesses(state, nesting)
            saved_mode(state, nesting)
            timers(state, nesting)
    if parameters.nesting >= NV2:
        translation(state, parameters)
    set_hcr(HCR_HOST)
    finish(state)
