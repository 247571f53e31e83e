"""Values of hostile registers: addresses that matter, and values close to meaningful ones.

A random number fails the first check. So most values here are legal except for a few bits: an
address in L0's memory, a table that the program has built, a field at a boundary, a register whose
own fields have random settings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.pstate import SPSR_ELx
from vel2.check.hostile.layout import (
    BURSTS,
    DATA,
    DATA_PAGES,
    HELD_BLOCKS,
    HELD_ENTRY,
    HELD_ROOT,
    HELD_SELF,
    MEMORY_END,
    PAGE_BYTES,
    SANE_STAGE1,
    SANE_STAGE2,
    TABLE_PAGES,
    TABLES,
)

__all__ = ("EVERYTHING", "Places", "Values")

EVERYTHING = (1 << 64) - 1
ADDRESS_BITS = (32, 36, 39, 40, 42, 44, 47, 48, 52, 55, 56, 63)
MODES = (0, 0, 4, 5, 5, 5, 8, 9, 9, 0xC, 0xD, 1, 2, 6, 0xA, 0xF)
AARCH32_MODES = (0x10, 0x10, 0x10, 0x11, 0x12, 0x13, 0x16, 0x17, 0x1A, 0x1B, 0x1F, 0x14)
SPSR_BITS = (6, 7, 8, 9, 10, 11, 12, 13, 20, 20, 21, 21, 22, 23, 24, 25, 28, 29, 30, 31, 32, 33, 34)
T0SZ = (0, 11, 12, 15, 16, 17, 24, 25, 26, 31, 32, 39, 40, 47, 48, 63)
HCR_KEPT = sr.HCR_EL2.compose(RW=1, IMO=1, FMO=1)
NESTING = tuple(sr.HCR_EL2.field(name).mask for name in ("NV", "NV1", "NV2", "AT"))
VNCR_BASE = sr.VNCR_EL2.BADDR.mask
BLOCK_SHIFT, GIGABYTE_SHIFT, PAGE_SHIFT = 21, 30, 12
ENTRIES = 512


@dataclass(frozen=True)
class Places:
    """Addresses worth attacking.

    :ivar own: what belongs to L1: RAM, its end, its devices.
    :ivar forbidden: L0's memory, hidden devices, holes.
    :ivar vectors: the harness's, for VBAR_EL2 where the harness must survive.
    """

    own: tuple[int, ...]
    forbidden: tuple[int, ...]
    vectors: int
    el1_vectors: int


class Values:
    """A source of values; the same generator gives the same.

    :param recursion: whether L1 has FEAT_NV*.
    :ivar lethal: whether values may destroy the harness.
    :ivar at_el2: whether they are for a burst at EL2.
    """

    def __init__(self, rng: Random, places: Places, recursion: bool = False) -> None:
        self.rng = rng
        self.places = places
        self.recursion = recursion
        self.lethal = False
        self.at_el2 = False
        self._of_register: dict[type[Register], tuple[int, ...]] = {}

    def word(self) -> int:
        """Give 32 random bits."""
        return self.rng.getrandbits(32)

    def pick(self, choices: Sequence[int]) -> int:
        """Choose one."""
        return choices[self.rng.randrange(len(choices))]

    def table(self) -> int:
        """Give a page of the program's tables, sane roots more often."""
        page = self.rng.randrange(TABLE_PAGES)
        if self.rng.random() < 0.4:
            page = self.pick((SANE_STAGE1, SANE_STAGE2))
        return TABLES + page * PAGE_BYTES

    def data(self) -> int:
        """Give an address in the program's data."""
        return DATA + self.rng.randrange(DATA_PAGES * PAGE_BYTES)

    def address(self) -> int:
        """Give an address, mostly one where something is or must not be."""
        rng = self.rng
        at = rng.random()
        if at < 0.3:
            found = self.data() & ~7
        elif at < 0.45:
            found = self.table() + 8 * rng.randrange(512)
        elif at < 0.65:
            found = self.pick(self.places.own) + 4 * rng.randrange(1024)
        elif at < 0.85:
            found = self.pick(self.places.forbidden) + 8 * rng.randrange(512)
        elif at < 0.93:
            found = (1 << self.pick(ADDRESS_BITS)) + rng.randrange(-16, 16)
        else:
            found = rng.getrandbits(64)
        return self.perturbed(found)

    def perturbed(self, address: int) -> int:
        """Leave an address, or make it unaligned, tagged, or one of the upper half."""
        at = self.rng.random()
        if at < 0.8:
            return address
        if at < 0.88:
            return address + self.rng.randrange(1, 64) & EVERYTHING
        if at < 0.94:
            return (address & (1 << 56) - 1) | self.rng.getrandbits(8) << 56
        return (address | EVERYTHING << self.pick((39, 40, 48, 52))) & EVERYTHING

    def any(self) -> int:
        """Give any value: few bits, all but few bits, a boundary, an address, noise."""
        rng = self.rng
        at = rng.randrange(8)
        if at == 0:
            return self.pick((0, 1, EVERYTHING, 1 << 63, (1 << 63) - 1, 0xFFFF_FFFF))
        if at == 1:
            return 1 << rng.randrange(64)
        if at == 2:
            return EVERYTHING ^ 1 << rng.randrange(64)
        if at == 3:
            return (1 << rng.randrange(64)) - 1
        if at == 4:
            return rng.getrandbits(64) & rng.getrandbits(64) & rng.getrandbits(64)
        if at == 5:
            return rng.randrange(4096)
        return self.address() if at == 6 else rng.getrandbits(64)

    def fields(self, register: type[Register]) -> int:
        """Give random settings of a random choice of a register's fields; RES1 as it should be."""
        masks = self._of_register.get(register)
        if masks is None:
            masks = tuple(field.mask for field in register.fields if field.mask & register.known)
            self._of_register[register] = masks
        rng = self.rng
        chosen = register.res1
        if masks:
            noise = rng.getrandbits(64)
            for _ in range(rng.randrange(1, 1 + min(8, len(masks)))):
                chosen |= self.pick(masks) & noise
        return chosen

    def register(self, register: type[Register]) -> int:
        """Give a value to write to a register."""
        special = SPECIAL.get(register.name)
        at = self.rng.random()
        if special is not None and (at < 0.8 or not self.lethal):
            return special(self)
        if at < 0.3:
            return self.any()
        return self.fields(register)

    def spsr(self) -> int:
        """Give a PSTATE to return to; at EL2 one in which the timer can end a loop."""
        rng = self.rng
        mode = self.pick(MODES if rng.random() < 0.75 else AARCH32_MODES)
        value = mode | 0x3C0 * rng.randrange(2)
        for _ in range(self.pick((0, 0, 1, 1, 2, 4))):
            value |= 1 << self.pick(SPSR_BITS)
        if self.at_el2 and not self.lethal:
            value &= ~SPSR_ELx.I.mask
        return value

    def tcr(self) -> int:
        """Give a TCR_ELx or VTCR_EL2: sizes at boundaries, and granules of every code."""
        rng = self.rng
        value = self.pick(T0SZ) | self.pick(T0SZ) << 16
        if rng.random() < 0.5:
            return 25 | 25 << 16 | 2 << 30 | 1 << 31 | 1 << 23 | self.pick((0, 1, 2, 5)) << 32
        if rng.random() < 0.7:
            value |= rng.getrandbits(4) << 6 | 0b11_0101 << 8
        value |= self.pick((0, 0, 1, 2, 3)) << 14 | rng.getrandbits(2) << 30 | 1 << 31
        value |= rng.getrandbits(3) << 32 | rng.getrandbits(3) << 16
        return value | (
            rng.getrandbits(64) & rng.getrandbits(64) & ~0xFF if rng.random() < 0.3 else 0
        )

    def root(self) -> int:
        """Give a TTBR or VTTBR."""
        at = self.rng.random()
        where = self.table()
        if at < 0.3:
            where = self.pick(self.places.forbidden if at < 0.2 else self.places.own)
        low = self.pick((0, 0, 0, 1, 2, 0x3E))
        return where & (1 << 48) - 1 | self.rng.getrandbits(16) << 48 * self.rng.randrange(2) | low

    def sctlr(self) -> int:
        """Give an SCTLR_ELx; where the harness must survive, one that leaves it its memory."""
        value = 0x30C5_0830 | (self.rng.getrandbits(64) & self.rng.getrandbits(64))
        if self.lethal:
            return value
        return value & ~(sr.SCTLR_EL2.EE.mask | sr.SCTLR_EL2.M.mask)

    def vbar_el2(self) -> int:
        """Give a VBAR_EL2."""
        return self.address() & ~0x7FF if self.lethal else self.places.vectors

    def vbar_el1(self) -> int:
        """Give a VBAR_EL1: mostly vectors that report. At EL2 of a VHE host it is VBAR_EL2."""
        if self.at_el2:
            return self.vbar_el2()
        if self.rng.random() < 0.8:
            return self.places.el1_vectors
        return self.address() & ~0x7FF

    def hcr(self) -> int:
        """Give an HCR_EL2; where the harness must survive, its interrupts stay EL2's."""
        value = self.rng.getrandbits(64) & self.rng.getrandbits(64)
        if self.rng.random() < 0.5:
            value &= self.rng.getrandbits(64)
        if self.recursion and self.rng.random() < 0.5:
            value = self.nesting(value)
        if self.lethal:
            return value
        return (value | HCR_KEPT) & ~sr.HCR_EL2.HCD.mask

    def nesting(self, hcr: int) -> int:
        """Give an HCR_EL2 another set of {NV,NV1,NV2,AT}: each of the sixteen, {NV,NV2} oftener."""
        hcr &= ~sum(NESTING)
        if self.rng.random() < 0.4:
            hcr |= sr.HCR_EL2.compose(NV=1, NV2=1)
        return hcr | sum(mask for mask in NESTING if self.rng.random() < 0.5)

    def held_page(self) -> int:
        """Give the address of one of the two pages of EL2's held stage 1."""
        return TABLES + self.pick((HELD_ROOT, HELD_BLOCKS)) * PAGE_BYTES

    def held_slot(self) -> int:
        """Give the address of one of their entries, but for what maps the harness."""
        index = self.pick((0, 2, 3, HELD_SELF, 6, *[self.rng.randrange(2, ENTRIES)] * 3))
        return self.held_page() + 8 * index

    def held_address(self) -> int:
        """Give an address that EL2's held stage 1 may map: by a block, a page, or its own root.

        The root leads to itself, so that it is a table of every level, and a page.
        """
        rng = self.rng
        at = rng.random()
        page = rng.choice((0, HELD_ENTRY, HELD_SELF, rng.randrange(ENTRIES))) << PAGE_SHIFT
        if at < 0.3:
            return HELD_SELF << GIGABYTE_SHIFT | HELD_SELF << BLOCK_SHIFT | page
        if at < 0.5:
            return HELD_SELF << GIGABYTE_SHIFT | rng.randrange(ENTRIES) << BLOCK_SHIFT | page
        if at < 0.9:
            return HELD_ENTRY << GIGABYTE_SHIFT | rng.randrange(2, ENTRIES) << BLOCK_SHIFT | page
        return rng.randrange(2, ENTRIES) << GIGABYTE_SHIFT | page

    def vncr(self) -> int:
        """Give a VNCR_EL2: a page that serves, one that must not, one that its own tables are in.

        The harness's own page is left out where it must survive. BADDR and RESS may be wrong.
        """
        rng = self.rng
        at = rng.random()
        if at < 0.3:
            found = self.data()
        elif at < 0.45:
            found = self.table() if at < 0.38 else self.held_page()
        elif at < 0.65:
            found = self.held_address()
        elif at < 0.75:
            found = self.pick(self.places.own)
        elif at < 0.93:
            found = self.pick(self.places.forbidden)
        elif at < 0.98 or not self.lethal:
            found = (1 << self.pick(ADDRESS_BITS)) + PAGE_BYTES * rng.randrange(-2, 2)
        else:
            found = self.any()
        at = rng.random()
        if at < 0.7:
            return found & VNCR_BASE
        if at < 0.8:
            return found & EVERYTHING
        if at < 0.9:
            return (found | EVERYTHING << self.pick((39, 47, 48, 52))) & EVERYTHING
        return found & VNCR_BASE ^ 1 << rng.randrange(39, 64)

    def binary_point(self) -> int:
        """Give an ICC_BPRn_EL1. QEMU up to 10.0 ends itself at the next interrupt after an 8."""
        return self.rng.randrange(8)

    def target(self) -> int:
        """Give an address to go to."""
        at = self.rng.random()
        if at < 0.6:
            return BURSTS + self.rng.randrange(0, MEMORY_END - BURSTS, 4)
        return self.address()

    def soon(self) -> int:
        """Give a timer's compare value: past, near, or never."""
        at = self.rng.randrange(4)
        if at == 0:
            return self.rng.randrange(1 << 20)
        if at == 1:
            return self.rng.randrange(1 << 33)
        return EVERYTHING if at == 2 else self.rng.getrandbits(64)


Special = Callable[[Values], int]

SPECIAL: dict[str, Special] = {
    **dict.fromkeys(("VBAR_EL2",), Values.vbar_el2),
    **dict.fromkeys(("VBAR_EL1", "VBAR_EL12"), Values.vbar_el1),
    **dict.fromkeys(("SCTLR_EL2", "SCTLR_EL1", "SCTLR_EL12"), Values.sctlr),
    **dict.fromkeys(("TCR_EL1", "TCR_EL2", "TCR_EL12", "VTCR_EL2"), Values.tcr),
    **dict.fromkeys(
        ("TTBR0_EL1", "TTBR1_EL1", "TTBR0_EL2", "TTBR1_EL2", "TTBR0_EL12", "TTBR1_EL12"),
        Values.root,
    ),
    "VTTBR_EL2": Values.root,
    "HCR_EL2": Values.hcr,
    "VNCR_EL2": Values.vncr,
    **dict.fromkeys(("ICC_BPR0_EL1", "ICC_BPR1_EL1"), Values.binary_point),
    **dict.fromkeys(("SPSR_EL1", "SPSR_EL2", "SPSR_EL12"), Values.spsr),
    **dict.fromkeys(("ELR_EL1", "ELR_EL2", "ELR_EL12"), Values.target),
    **dict.fromkeys(
        (
            *("CNTP_CVAL_EL0", "CNTV_CVAL_EL0", "CNTP_CVAL_EL02", "CNTV_CVAL_EL02"),
            *("CNTHP_CVAL_EL2", "CNTHV_CVAL_EL2", "CNTVOFF_EL2", "CNTPOFF_EL2"),
        ),
        Values.soon,
    ),
}
"""How to make a value for each register whose meaning matters."""
