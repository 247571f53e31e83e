"""A hostile program: what one seed generates for a machine.

A program is a list of bursts and the tables they use. It depends only on its seed, the kind of
virtual EL2 and the machine's addresses, so that a failure can be repeated. Bursts that may destroy
the harness come last, because whatever follows them is lost.
"""

from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from vel2.arch import sysregs as sr
from vel2.arch.nesting import Kind
from vel2.arch.pstate import M_EL0t, M_EL1h, M_EL1t, M_EL2h, M_EL2t
from vel2.check.hostile.layout import (
    BURST_BYTES,
    BURSTS,
    DATA,
    HELD_ROOT,
    KEEP,
    MAX_BURSTS,
    MAX_WORDS,
    PAGE_BYTES,
    REGIME,
    TABLES,
    UNDEFINED,
    VIA_EL1,
    WORDS_OFFSET,
)
from vel2.check.hostile.layout import Burst as Record
from vel2.check.hostile.tables import table_pages
from vel2.check.hostile.values import Places, Values
from vel2.check.hostile.words import EL0, EL1, EL2, VEL2, Maker
from vel2.check.limits import BURSTS_OF_A_PROGRAM

__all__ = ("Burst", "Program", "make_program", "words_address")

LETHAL = 32
WORDS_MIN, WORDS_MEAN = 8, 24
M_USR = 0x10
END = UNDEFINED.to_bytes(4, "little")
DAF = 0b1101 << 6
"""SPSR_ELx.{D, A, F}, without I: the timer's interrupt must be able to end a burst that loops."""
ENABLES = sr.HCR_EL2.compose(RW=1, IMO=1, FMO=1, AMO=1, API=1, APK=1)
HOST_EL0 = sr.HCR_EL2.compose(TGE=1)
EXTRAS = (
    *(
        "VM",
        "SWIO",
        "PTW",
        "FB",
        "DC",
        "TWI",
        "TWE",
        "TID0",
        "TID1",
        "TID2",
        "TID3",
        "TSC",
        "TIDCP",
    ),
    *("TACR", "TSW", "TPCP", "TPU", "TTLB", "TVM", "TRVM", "TDZ", "HCD", "CD", "ID", "TERR", "TEA"),
    *("MIOCNCE", "NV", "NV1", "AT", "NV2", "FWB", "FIEN", "TID4", "TICAB", "TOCU", "EnSCXT", "DCT"),
    *("ATA", "TTLBIS", "TTLBOS", "TID5", "TLOR"),
)
"""Controls of HCR_EL2 that a burst below EL2 may run under."""


@dataclass(frozen=True)
class Level:
    """Where a burst runs.

    :ivar name: what reports say. :ivar el: the generator's level.
    """

    name: str
    el: int
    pstates: tuple[int, ...]
    hcr: int
    flags: int = 0
    a32: bool = False


AT_EL2 = Level("vEL2", EL2, (M_EL2h, M_EL2h, M_EL2t), 0)
AT_HOST_EL0 = Level("EL0 of a host", EL0, (M_EL0t,), HOST_EL0)
AT_EL1 = Level("L2's EL1", EL1, (M_EL1h, M_EL1h, M_EL1t), sr.HCR_EL2.VM.mask)
AT_EL0 = Level("L2's EL0", EL0, (M_EL0t,), sr.HCR_EL2.VM.mask)
AT_A32 = Level("L2's EL0, AArch32", EL0, (M_USR,), sr.HCR_EL2.VM.mask, VIA_EL1, a32=True)
AT_VEL2 = Level("L2's vEL2", VEL2, (M_EL1h, M_EL1h, M_EL1t), sr.HCR_EL2.VM.mask)
VHE_LEVELS = ((AT_EL2, 8), (AT_HOST_EL0, 3), (AT_EL1, 8), (AT_EL0, 2), (AT_A32, 2))
NVHE_LEVELS = ((AT_EL2, 8), (AT_EL1, 9), (AT_EL0, 3), (AT_A32, 2))
RECURSIVE = (AT_VEL2, 12)
"""One more level, where L1 has FEAT_NV*."""


class Controls(NamedTuple):
    """What a burst below EL2 runs under besides HCR_EL2."""

    mdcr: int
    hstr: int
    cnthctl: int
    cptr: int


OPEN = {
    Kind.VHE: Controls(
        0,
        0,
        sr.CNTHCTL_EL2_E2H.compose(EL1PCTEN=1, EL1PTEN=1),
        sr.CPTR_EL2_E2H.compose(FPEN=3, ZEN=3),
    ),
    Kind.NVHE: Controls(0, 0, sr.CNTHCTL_EL2.compose(EL1PCTEN=1, EL1PCEN=1), sr.CPTR_EL2.res1),
}
"""Controls that trap nothing."""


def controls_of(values: Values, kind: Kind) -> Controls:
    """Give random controls, each as likely to trap as not."""
    rng = values.rng
    mdcr = values.fields(sr.MDCR_EL2)
    cnthctl, cptr = OPEN[kind].cnthctl, OPEN[kind].cptr
    if rng.random() < 0.6:
        cnthctl = rng.getrandbits(20)
    if rng.random() < 0.3:
        cptr = values.fields(sr.CPTR_EL2_E2H if kind is Kind.VHE else sr.CPTR_EL2)
    return Controls(mdcr, rng.getrandbits(16) & rng.getrandbits(16), cnthctl, cptr)


class Regime(NamedTuple):
    """L1's own stage 1, and the page of FEAT_NV2 that it translates; with recursion."""

    vncr: int = 0
    sctlr: int = 0
    tcr: int = 0
    ttbr0: int = 0
    ttbr1: int = 0
    mair: int = 0


WITHOUT = Regime()
HELD_TCR = {
    Kind.VHE: sr.TCR_EL1.compose(T0SZ=25, IRGN0=1, ORGN0=1, SH0=3, IPS=2),
    Kind.NVHE: sr.TCR_EL2.res1 | sr.TCR_EL2.compose(T0SZ=25, IRGN0=1, ORGN0=1, SH0=3, PS=2),
}
"""39 bits from level 1, where the held root begins."""
SCTLR_ON = 0x30C5_0830 | sr.SCTLR_EL2.M.mask
MAIRS = (0xFF, 0x44, 0, 0x04, 0x4F)


def regime_of(values: Values, kind: Kind) -> Regime:
    """Give a stage 1 of L1 that leaves the harness its code and data, whatever else it maps."""
    rng = values.rng
    sctlr = SCTLR_ON | sr.SCTLR_EL2.compose(C=rng.randrange(2), I=rng.randrange(2))
    tcr = HELD_TCR[kind]
    ttbr0, ttbr1 = TABLES + HELD_ROOT * PAGE_BYTES, 0
    if kind is Kind.VHE:
        upper = sr.TCR_EL1.TG1.mask | sr.TCR_EL1.EPD1.mask
        tcr |= values.tcr() & upper | sr.TCR_EL1.T1SZ.put(values.pick((16, 25, 25, 39)))
        tcr |= sr.TCR_EL1.compose(HA=rng.randrange(2), HD=rng.randrange(2))
        ttbr0 |= sr.TTBR0_EL1.ASID.put(rng.randrange(4))
        ttbr1 = values.root()
    else:
        tcr |= sr.TCR_EL2.compose(HA=rng.randrange(2), HD=rng.randrange(2))
    mair = values.pick(MAIRS) if rng.random() < 0.8 else rng.getrandbits(64)
    return Regime(values.vncr(), sctlr, tcr, ttbr0, ttbr1, mair)


@dataclass
class Burst:
    """One burst; see `layout.Burst`."""

    level: Level
    flags: int
    pstate: int
    hcr: int
    x: list[int] = field(repr=False)
    words: list[int] = field(repr=False)
    controls: "Controls"
    regime: Regime = field(default=WITHOUT)

    def encoded(self) -> bytes:
        """Give the bytes that the harness takes."""
        data = bytearray(BURST_BYTES)
        record = Record(data)
        for number, value in enumerate(self.x):
            record.x[number] = value
        record.flags = self.flags
        record.pstate = self.pstate
        record.hcr = self.hcr
        record.count = len(self.words)
        record.sp = DATA + PAGE_BYTES
        record.mdcr, record.hstr, record.cnthctl, record.cptr = self.controls
        for name, value in self.regime._asdict().items():
            setattr(record, name, value)
        code = b"".join(word.to_bytes(4, "little") for word in self.words)
        data[WORDS_OFFSET:] = code + END * ((BURST_BYTES - WORDS_OFFSET - len(code)) // len(END))
        return bytes(data)


@dataclass
class Program:
    """What a seed generates: the tables, and the bursts in the order they run."""

    seed: int
    kind: Kind
    tables: bytes = field(repr=False)
    bursts: list[Burst] = field(repr=False)


def words_address(index: int) -> int:
    """Give the address of a burst's first word."""
    return BURSTS + index * BURST_BYTES + WORDS_OFFSET


def make_program(
    seed: int,
    kind: Kind,
    places: Places,
    bursts: int = BURSTS_OF_A_PROGRAM,
    recursion: bool = False,
) -> Program:
    """Make the program of a seed.

    :param recursion: whether L1 has FEAT_NV* to attack by.
    """
    assert bursts <= MAX_BURSTS
    rng = Random(f"vel2 hostile {seed} {kind.value}" + " recursion" * recursion)
    values = Values(rng, places, recursion)
    tables = table_pages(values)
    program = Program(seed, kind, tables, [])
    levels = [*(VHE_LEVELS if kind is Kind.VHE else NVHE_LEVELS)]
    if recursion:
        levels.append(RECURSIVE)
    names = [level for level, _ in levels]
    weights = [weight for _, weight in levels]
    for index in range(bursts):
        values.lethal = index >= bursts - LETHAL
        level = rng.choices(names, weights)[0]
        before = program.bursts[-1] if program.bursts else None
        program.bursts.append(make_burst(values, kind, level, index, before))
    return program


def make_burst(values: Values, kind: Kind, level: Level, index: int, before: Burst | None) -> Burst:
    """Make one burst; below EL2 it may run under what a burst of EL2 has left."""
    rng = values.rng
    values.at_el2 = level is AT_EL2
    maker = Maker(values, level.el, words_address(index))
    count = min(MAX_WORDS - 16, WORDS_MIN + int(rng.expovariate(1 / (WORDS_MEAN - WORDS_MIN))))
    words = maker.fill_a32(count) if level.a32 else maker.fill(count)
    pstate = values.pick(level.pstates) | DAF & rng.getrandbits(12)
    flags = level.flags
    if before is not None and before.level is AT_EL2 and level is not AT_EL2 and rng.random() < 0.4:
        flags |= KEEP
    hcr = ENABLES | level.hcr | sr.HCR_EL2.E2H.mask * (kind is Kind.VHE)
    if level is not AT_EL2 and rng.random() < 0.6:
        for _ in range(rng.randrange(1, 5)):
            hcr ^= sr.HCR_EL2.field(rng.choice(EXTRAS)).mask
    regime = WITHOUT
    if values.recursion:
        regime = regime_of(values, kind)
        if level is not AT_EL2 and rng.random() < (0.95 if level is AT_VEL2 else 0.4):
            hcr = values.nesting(hcr)
        if level in (AT_VEL2, AT_EL1) and rng.random() < 0.6:
            flags |= REGIME
    controls = OPEN[kind]
    if level is not AT_EL2 and rng.random() < 0.5:
        controls = controls_of(values, kind)
    return Burst(level, flags, pstate, hcr, maker.x, words[:MAX_WORDS], controls, regime)
