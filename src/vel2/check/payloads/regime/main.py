"""Payload `regime`: what each bit of SCTLR_EL2 and TCR_EL2 does to EL2 itself.

Stage 1 is on. Each bit is flipped alone, and then everything is attempted that a bit could allow or
forbid: misaligned accesses, a misaligned stack, tagged addresses, a writable page, a guarded one,
one without access flag, one whose table forbids writing, and each kind of pointer authentication.
With HCR_EL2.E2H=0 EL2 has layouts of its own, and bits about an EL0 do nothing there. `saw` lines
show the exceptions, and `say` lines whether a PAC was added.
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.descriptors import Stage1Leaf, Stage1Table
from vel2.arch.pstate import SPSR_ELx
from vel2.check.payloads.layout import ARENA, IMAGE_BASE, Parameters, State
from vel2.check.payloads.library.assembly import NO_EXCEPTION
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect, finish
from vel2.check.payloads.library.controls import SCTLR_ON, has_e2h, invalidate_all
from vel2.check.payloads.library.guest import probe
from vel2.check.payloads.library.seen import saw, say
from vel2.check.payloads.library.stage1 import own_stage1_off, own_stage1_on, own_stage1_table
from vel2.check.payloads.library.tables import S1_NORMAL, entry_of, map_to
from vel2.check.payloads.regime.code import GUARDED, PACIASP, RET
from vel2.lang import (
    PA,
    bytes_address,
    dsb_sy,
    isb,
    load_u64,
    msr,
    resident,
    store_u32,
    store_u64,
    symbol_address,
    u64,
)

ALIASES = 1 << 36
GUARDED_PAGE, WRITABLE_PAGE, UNUSED_PAGE = ALIASES, ALIASES + 0x1000, ALIASES + 0x2000
READ_ONLY_TABLE = ALIASES + (1 << 30)
TARGET = 0x40
TAG = 0x5A << 56
READ_ONLY = Stage1Leaf.AP.put(0b10)
GP = Stage1Leaf.GP.mask
APTABLE_READ_ONLY = Stage1Table.APTable.put(0b10)
SCTLR_NOT_TRIED = ("M", "EE", "E0E", "SPAN")
"""Without MMU there is nothing to see; mixed endianness may be hidden; SPAN has a check."""
TCR_TRIED = ("TBI", "TBID", "HPD", "HA", "HWU59", "HWU60", "HWU61", "HWU62")


@dataclass(frozen=True)
class Flip:
    """One bit of one register."""

    register: type[Register]
    number: int
    is_sctlr: bool
    e2h: int
    """0 or 1, or 2 for both."""


def _flips() -> tuple[Flip, ...]:
    flips = []
    for field in sr.SCTLR_EL2.fields:
        if field.mask & sr.SCTLR_EL2.known and field.name not in SCTLR_NOT_TRIED:
            for bit in range(field.lsb, field.msb + 1):
                flips.append(Flip(sr.SCTLR_EL2, bit, True, 2))
    for name in TCR_TRIED:
        flips.append(Flip(sr.TCR_EL2, sr.TCR_EL2.field(name).lsb, False, 0))
        lower = name.replace("HWU", "HWU0") if name.startswith("HWU") else f"{name}0"
        if name == "HA":
            lower = name
        flips.append(Flip(sr.TCR_EL2_E2H, sr.TCR_EL2_E2H.field(lower).lsb, False, 1))
    return tuple(flips)


FLIPS = _flips()
ATTEMPTS = (
    (b"unaligned\0", "do_read", ARENA | 1),
    (b"ldar-12\0", "regime_ldar", ARENA | 12),
    (b"ldar-8\0", "regime_ldar", ARENA | 8),
    (b"ldar-4\0", "regime_ldar", ARENA | 4),
    (b"stack\0", "regime_stack", ARENA | 8),
    (b"tagged-read\0", "do_read", ARENA | TAG),
    (b"tagged-fetch\0", "do_execute", WRITABLE_PAGE | TAG),
    (b"fetch-writable\0", "do_execute", WRITABLE_PAGE),
    (b"read-unused\0", "do_read", UNUSED_PAGE),
    (b"write-read-only-table\0", "do_write", READ_ONLY_TABLE),
)
PAC = (
    (b"pacia\0", "regime_pacia"),
    (b"pacib\0", "regime_pacib"),
    (b"pacda\0", "regime_pacda"),
    (b"pacdb\0", "regime_pacdb"),
)


@resident
def make_tables(state: State, parameters: Parameters) -> u64:
    """Map RAM and the UART to themselves, the image read-only, and the pages of the attempts."""
    root = own_stage1_table(state, parameters.ram_end)
    map_to(state, root, IMAGE_BASE, 2, IMAGE_BASE, S1_NORMAL | READ_ONLY)
    map_to(state, root, GUARDED_PAGE, 3, ARENA + 0x1000, S1_NORMAL | READ_ONLY | GP)
    map_to(state, root, WRITABLE_PAGE, 3, ARENA + 0x2000, S1_NORMAL)
    map_to(state, root, READ_ONLY_TABLE, 3, ARENA + 0x4000, S1_NORMAL)
    entry = entry_of(state, root, READ_ONLY_TABLE, 1)
    store_u64(PA(entry), load_u64(PA(entry)) | APTABLE_READ_ONLY)
    for index, word in enumerate(GUARDED):
        store_u32(PA(ARENA + 0x1000 + 4 * index), word)
    store_u32(PA(ARENA + 0x1000 + TARGET), PACIASP)
    store_u32(PA(ARENA + 0x1000 + TARGET + 4), RET)
    store_u32(PA(ARENA + 0x2000), RET)
    dsb_sy()
    return root


@resident
def attempts(state: State, root: u64, subject: u64) -> None:
    """Make every attempt, and show those that failed."""
    map_to(state, root, UNUSED_PAGE, 3, ARENA + 0x3000, S1_NORMAL & ~Stage1Leaf.AF.mask)
    invalidate_all()
    for name, code, address in ATTEMPTS:
        state.vector = probe(symbol_address(code), address, 0)
        if state.vector != NO_EXCEPTION:
            saw(state, bytes_address(name), subject)
    state.vector = probe(GUARDED_PAGE, GUARDED_PAGE | TARGET, 0)
    if state.vector != NO_EXCEPTION:
        saw(state, bytes_address(b"btype-3\0"), subject)
    for name, code in PAC:
        state.vector = probe(symbol_address(code), ARENA, ARENA)
        if state.x[0] != ARENA:
            say(bytes_address(name), subject, bytes_address(b"added\0"), 1)


@resident
def without_el0(state: State) -> None:
    """Check what differs between a regime with an EL0 and, with TGE=0, one without.

    An exception to EL2 sets PSTATE.PAN by SCTLR_EL2.SPAN with {E2H,TGE}={1,1} alone, and only then
    is LDTR of EL2 an access of EL0.
    """
    begin(state, bytes_address(b"span\0"), NO_SUBJECT)
    msr(sr.SCTLR_EL2, SCTLR_ON & ~sr.SCTLR_EL1.SPAN.mask)
    isb()
    state.vector = probe(symbol_address("el2_svc"), 0, 0)
    expect(state, bytes_address(b"pan\0"), state.pstate & SPSR_ELx.PAN.mask, 0)
    msr(sr.SCTLR_EL2, SCTLR_ON)
    isb()
    probe(symbol_address("regime_clear_pan"), 0, 0)
    end(state)
    begin(state, bytes_address(b"ldtr\0"), NO_SUBJECT)
    state.vector = probe(symbol_address("regime_ldtr"), ARENA, 0)
    expect(state, bytes_address(b"vector\0"), state.vector, NO_EXCEPTION)
    end(state)


@resident
def regime_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    root = make_tables(state, parameters)
    tcr = own_stage1_on(root)
    attempts(state, root, BASE)
    e2h = u64(0)
    if has_e2h():
        e2h = u64(1)
    for flip in FLIPS:
        if flip.e2h == 2 or flip.e2h == e2h:
            if flip.is_sctlr:
                msr(sr.SCTLR_EL2, SCTLR_ON ^ u64(1 << flip.number))
            else:
                msr(sr.TCR_EL2, tcr ^ u64(1 << flip.number))
            isb()
            attempts(state, root, u64(flip.number + SCTLR_FIRST * flip.is_sctlr))
            msr(sr.TCR_EL2, tcr)
            msr(sr.SCTLR_EL2, SCTLR_ON)
            isb()
    without_el0(state)
    own_stage1_off()
    finish(state)


SCTLR_FIRST = 0x100
BASE = 0x200
"""Subjects: a bit of TCR_EL2; of SCTLR_EL2, with this added; and no bit flipped."""
