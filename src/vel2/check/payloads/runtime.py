"""The subset part that all payloads share: console, checks, tables, and running L2.

A check is `begin`, any number of `expect`, `end`; it prints one line, with the first value that was
wrong.
"""

from vel2.arch import sysregs as sr
from vel2.arch.descriptors import GRANULE_4K, Stage1Leaf, Stage2Leaf
from vel2.arch.esr import EC, FSC, ESR_ELx
from vel2.arch.insn import TLBI
from vel2.arch.pstate import PSTATE_DAIF, M_EL0t, M_EL1h, SPSR_ELx
from vel2.check.payloads.assembly import (
    HVC_EL1_VECTOR,
    LOWER_AARCH64_SYNC,
    SCTLR_OFF,
)
from vel2.check.payloads.layout import PAGE_BYTES, RAM_BASE, TABLES, State
from vel2.lang import (
    PA,
    bytes_address,
    dsb_ish,
    dsb_sy,
    extern,
    inline,
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
from vel2.runtime.console import NEWLINE, SPACE
from vel2.runtime.uart import pl011

UART_BASE = 0x0900_0000
put_byte, put, put_hex, _ = pl011(UART_BASE)
EQUALS = ord("=")
NO_SUBJECT = (1 << 64) - 1

LAST_LEVEL = 3
START_LEVEL = 1
INPUT_BITS = 39
INDEX_MASK = 511
TABLE = 0b11
ADDRESS = ((1 << 48) - 1) & ~(PAGE_BYTES - 1)
BLOCK_2M = 1 << 21
MAX_PS = 5
"""48 bits."""
S2_NORMAL = Stage2Leaf.compose(AF=1, SH=3, S2AP=3, MemAttr=0b1111)
S1_NORMAL = Stage1Leaf.compose(AF=1, SH=3, AttrIndx=0)
S1_DEVICE = Stage1Leaf.compose(AF=1, AttrIndx=1, UXN=1, PXN=1)
MAIR = 0x04_FF
TCR_39 = sr.TCR_EL1.compose(
    T0SZ=64 - INPUT_BITS,
    T1SZ=64 - INPUT_BITS,
    TG1=2,
    SH0=3,
    ORGN0=1,
    IRGN0=1,
    SH1=3,
    ORGN1=1,
    IRGN1=1,
)
UPPER_BASE = (1 << 64) - (1 << INPUT_BITS)
E2H = sr.HCR_EL2.E2H.mask
HCR_HOST = sr.HCR_EL2.compose(E2H=1, RW=1)
HCR_GUEST = HCR_HOST | sr.HCR_EL2.VM.mask
SCTLR_ON = SCTLR_OFF | sr.SCTLR_EL1.compose(M=1, C=1, I=1)
HVC_IMMEDIATE = 0xFFFF
VECTOR_NUMBER = 15
ALLINT = SPSR_ELx.ALLINT.mask
"""FEAT_NMI may be hidden from L1 while hardware has it: then only hardware sets this bit."""
UNKNOWN_IF_ILLEGAL = SPSR_ELx.compose(SSBS=1, BTYPE=3, UAO=1, DIT=1, TCO=1, PAN=1)
"""UNKNOWN after an illegal return (SetPSTATEFromPSR); PAN is not, but QEMU keeps the old one."""
SAME_KIND = 3
SYNCHRONOUS = 0
ABORTS = (EC.IABT_LOWER, EC.IABT_SAME, EC.DABT_LOWER, EC.DABT_SAME)
WITH_FAR = (*ABORTS, EC.WATCHPOINT_LOWER, EC.WATCHPOINT_SAME)
ABORTS_FROM_LOWER = (EC.IABT_LOWER, EC.DABT_LOWER)
FSC_TYPE = 0b11_1100


@extern("probe")
def probe(code: u64, a: u64, b: u64) -> u64:
    """Call code with two arguments; give the vector of the exception it took, or NO_EXCEPTION."""
    raise NotImplementedError("a payload runs on AArch64")


@extern("run_guest")
def run_guest() -> u64:
    """Enter `guest_pc` with `guest_x` and `guest_pstate`; give the vector that came back."""
    raise NotImplementedError("a payload runs on AArch64")


@resident
def put_field(name: u64, value: u64) -> None:
    """Write ` name=0x...`."""
    put_byte(SPACE)
    put(name)
    put_byte(EQUALS)
    put_hex(value)


@resident
def begin(state: State, name: u64, subject: u64) -> None:
    """Begin a check; `subject` is an address or number to print, or NO_SUBJECT."""
    state.name = name
    state.subject = subject
    state.wrong = 0


@resident
def expect(state: State, field: u64, got: u64, want: u64) -> None:
    """Require one value; the first that is wrong is kept."""
    if got != want and state.wrong == 0:
        state.wrong = field
        state.got = got
        state.want = want


@resident
def end(state: State) -> None:
    """End a check: print its line."""
    state.checks = u64(state.checks + 1)
    if state.wrong != 0:
        state.failures = u64(state.failures + 1)
        put(bytes_address(b"not \0"))
    put(bytes_address(b"ok \0"))
    put(state.name)
    if state.subject != NO_SUBJECT:
        put_byte(SPACE)
        put_hex(state.subject)
    if state.wrong != 0:
        put_byte(SPACE)
        put(state.wrong)
        put_field(bytes_address(b"got\0"), state.got)
        put_field(bytes_address(b"want\0"), state.want)
    put_byte(NEWLINE)


@resident
def finish(state: State) -> None:
    """Print the last line."""
    put(bytes_address(b"done \0"))
    put_hex(state.checks)
    put(bytes_address(b" failed \0"))
    put_hex(state.failures)
    put_byte(NEWLINE)


@resident
def unexpected_exception(state: State) -> None:
    """Say which exception nobody waited for; the payload ends."""
    put(bytes_address(b"not ok unexpected-exception\0"))
    put_field(bytes_address(b"vector\0"), state.vector)
    put_field(bytes_address(b"esr\0"), state.esr)
    put_field(bytes_address(b"elr\0"), state.elr)
    put_field(bytes_address(b"far\0"), state.far)
    put_field(bytes_address(b"spsr\0"), state.spsr)
    put_byte(NEWLINE)


@inline
def level_shift(level: u64) -> u64:
    """Give log2 of what one entry at `level` maps, 4 KiB granule."""
    return u64(GRANULE_4K.log2_bytes + (LAST_LEVEL - level) * GRANULE_4K.bits_per_level)


@resident
def new_table(state: State) -> u64:
    """Take a cleared page for a translation table."""
    if state.next_table == 0:
        state.next_table = TABLES
    table = state.next_table
    state.next_table = u64(table + PAGE_BYTES)
    for i in range(512):
        store_u64(PA(table + i * 8), 0)
    return table


@resident
def entry_of(state: State, root: u64, address: u64, level: u64) -> u64:
    """Give the address of the entry for `address` at `level`, making the tables on the way.

    :param root: a level-1 table, for 39 bits of input address, of either stage.
    """
    table = root
    step = u64(START_LEVEL)
    while step < level:
        slot = u64(table + (address >> level_shift(step) & INDEX_MASK) * 8)
        entry = load_u64(PA(slot))
        if entry & TABLE != TABLE:
            entry = new_table(state) | TABLE
            dsb_ish()
            store_u64(PA(slot), entry)
        table = entry & ADDRESS
        step = u64(step + 1)
    return u64(table + (address >> level_shift(level) & INDEX_MASK) * 8)


@resident
def map_to(state: State, root: u64, address: u64, level: u64, output: u64, attributes: u64) -> None:
    """Map one block or page; attributes as in the leaf's descriptor, without its type."""
    leaf = u64(output | attributes | 1)
    if level == LAST_LEVEL:
        leaf = leaf | TABLE
    store_u64(PA(entry_of(state, root, address, level)), leaf)
    dsb_sy()


@resident
def invalidate_all() -> None:
    """Forget every translation of EL1&0 and EL2&0."""
    dsb_sy()
    sysop(TLBI.ALLE1IS)
    sysop(TLBI.ALLE2IS)
    dsb_sy()
    isb()


@resident
def stage2_table(state: State, ram_end: u64) -> u64:
    """Make a stage 2 that maps L1's RAM to itself, in 2 MiB blocks."""
    root = new_table(state)
    address = u64(RAM_BASE)
    while address < ram_end:
        map_to(state, root, address, 2, address, S2_NORMAL)
        address = u64(address + BLOCK_2M)
    return root


@inline
def physical_size() -> u64:
    """Give ID_AA64MMFR0_EL1.PARange, at most 48 bits, as TCR_ELx and VTCR_EL2 take it."""
    size = sr.ID_AA64MMFR0_EL1.PARange.get(mrs(sr.ID_AA64MMFR0_EL1))
    if size > MAX_PS:
        size = MAX_PS
    return size


@inline
def has_e2h() -> bool:
    """Whether the payload runs with HCR_EL2.E2H=1."""
    return mrs(sr.HCR_EL2) & E2H != 0


@resident
def set_hcr(value: u64) -> None:
    """Write HCR_EL2, all but E2H, which is as the payload was built."""
    msr(sr.HCR_EL2, value & ~E2H | mrs(sr.HCR_EL2) & E2H)


@resident
def set_cptr(value: u64) -> None:
    """Write CPTR_EL2; the value is in the layout of E2H=1."""
    if has_e2h():
        msr(sr.CPTR_EL2_E2H, value)
        return
    without_e2h = sr.CPTR_EL2.res1 | value & (sr.CPTR_EL2.TCPAC.mask | sr.CPTR_EL2.TAM.mask)
    if sr.CPTR_EL2_E2H.FPEN.get(value) == 0:
        without_e2h = without_e2h | sr.CPTR_EL2.TFP.mask
    if sr.CPTR_EL2_E2H.ZEN.get(value) == 0:
        without_e2h = without_e2h | sr.CPTR_EL2.TZ.mask
    msr(sr.CPTR_EL2, without_e2h)


@resident
def set_cnthctl(value: u64) -> None:
    """Write CNTHCTL_EL2; the value is in the layout of E2H=1."""
    if has_e2h():
        msr(sr.CNTHCTL_EL2_E2H, value)
        return
    layout = sr.CNTHCTL_EL2_E2H
    moved = layout.EL1PCTEN.mask | layout.EL1PTEN.mask
    shift = layout.EL1PCTEN.lsb - sr.CNTHCTL_EL2.EL1PCTEN.lsb
    msr(sr.CNTHCTL_EL2, value & CNTHCTL_SAME_PLACE | (value & moved) >> shift)


CNTHCTL_SAME_PLACE = sr.CNTHCTL_EL2.compose(EL1TVT=1, EL1TVCT=1)


@resident
def use_stage2(root: u64, vmid: u64) -> None:
    """Let L2 run under a stage 2 of 39 bits, from level 1."""
    msr(
        sr.VTCR_EL2,
        sr.VTCR_EL2.res1
        | sr.VTCR_EL2.compose(SH0=3, ORGN0=1, IRGN0=1, SL0=1, T0SZ=64 - INPUT_BITS)
        | sr.VTCR_EL2.PS.put(physical_size()),
    )
    msr(sr.VTTBR_EL2, root | sr.VTTBR_EL2.VMID.put(vmid))
    set_hcr(HCR_GUEST)
    isb()


@resident
def reset_guest() -> None:
    """Put L2's EL1 to: stage 1 off, vectors that report, FP allowed."""
    msr(sr.SCTLR_EL12, SCTLR_OFF)
    msr(sr.VBAR_EL12, symbol_address("el1_vectors"))
    msr(sr.CPACR_EL12, sr.CPACR_EL1.compose(FPEN=3, ZEN=3))
    set_cnthctl(sr.CNTHCTL_EL2_E2H.compose(EL1PCTEN=1, EL1PTEN=1))
    isb()


@resident
def enter_guest(state: State, code: u64, address: u64, value: u64) -> u64:
    """Run L2's code at EL1h with x0 and x1; give the vector that came back."""
    state.guest_x[0] = address
    state.guest_x[1] = value
    state.guest_pc = code
    state.guest_pstate = PSTATE_DAIF | M_EL1h
    return run_guest()


@resident
def enter_guest_el0(state: State, code: u64, address: u64, value: u64) -> u64:
    """Run L2's code at EL0 with x0 and x1; give the vector that came back."""
    state.guest_x[0] = address
    state.guest_x[1] = value
    state.guest_pc = code
    state.guest_pstate = PSTATE_DAIF | M_EL0t
    return run_guest()


@resident
def saw(state: State, name: u64, subject: u64) -> None:
    """Print the last exception: what EL2 got, or, when it is L2's report, what L2's EL1 got."""
    put(bytes_address(b"saw \0"))
    put(name)
    if subject != NO_SUBJECT:
        put_byte(SPACE)
        put_hex(subject)
    put_field(bytes_address(b"vector\0"), state.vector)
    ec = ESR_ELx.EC.get(state.esr)
    if state.vector & SAME_KIND == SYNCHRONOUS:
        put_field(bytes_address(b"esr\0"), state.esr)
    put_field(bytes_address(b"elr\0"), state.elr)
    unknown = u64(ALLINT)
    if state.vector & SAME_KIND == SYNCHRONOUS and ec == EC.ILLEGAL_STATE:
        unknown = ALLINT | UNKNOWN_IF_ILLEGAL
    put_field(bytes_address(b"spsr\0"), state.spsr & ~unknown)
    put_field(bytes_address(b"pstate\0"), state.pstate & ~unknown)
    if ec in WITH_FAR:
        put_field(bytes_address(b"far\0"), state.far)
    if ec in ABORTS_FROM_LOWER and is_stage2_fault(state.esr):
        put_field(bytes_address(b"hpfar\0"), mrs(sr.HPFAR_EL2))
    if ec == EC.HVC64 and state.esr & HVC_IMMEDIATE & ~VECTOR_NUMBER == HVC_EL1_VECTOR:
        saw_by_el1()
    put_byte(NEWLINE)


@resident
def saw_by_el1() -> None:
    """Print what L2's EL1 got."""
    esr = mrs(sr.ESR_EL12)
    put_field(bytes_address(b"esr_el1\0"), esr)
    put_field(bytes_address(b"elr_el1\0"), mrs(sr.ELR_EL12))
    put_field(bytes_address(b"spsr_el1\0"), mrs(sr.SPSR_EL12) & ~ALLINT)
    if ESR_ELx.EC.get(esr) in WITH_FAR:
        put_field(bytes_address(b"far_el1\0"), mrs(sr.FAR_EL12))


@inline
def is_stage2_fault(esr: u64) -> bool:
    """Whether an abort's status is one of those that come with HPFAR_EL2."""
    return esr & FSC_TYPE <= FSC.PERMISSION


@inline
def is_hvc(state: State, immediate: u64) -> bool:
    """Whether the last exception was L2's HVC with this immediate."""
    return (
        state.vector == LOWER_AARCH64_SYNC
        and ESR_ELx.EC.get(state.esr) == EC.HVC64
        and state.esr & HVC_IMMEDIATE == immediate
    )


@resident
def expect_el1(state: State, vector: u64, esr: u64, far: u64) -> None:
    """Require that L2's EL1 took an exception, with this syndrome and address."""
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_SYNC)
    hvc = u64(ESR_ELx.compose(EC=EC.HVC64, IL=1) | (HVC_EL1_VECTOR + vector))
    expect(state, bytes_address(b"esr_el2\0"), state.esr, hvc)
    expect(state, bytes_address(b"esr_el1\0"), mrs(sr.ESR_EL12), esr)
    expect(state, bytes_address(b"far_el1\0"), mrs(sr.FAR_EL12), far)


@resident
def expect_el2(state: State, vector: u64, esr: u64, far: u64) -> None:
    """Require that EL2 took an abort, with this syndrome and address."""
    expect(state, bytes_address(b"vector\0"), state.vector, vector)
    expect(state, bytes_address(b"esr_el2\0"), state.esr, esr)
    expect(state, bytes_address(b"far_el2\0"), state.far, far)
