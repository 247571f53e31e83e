"""The program at virtual EL2 that runs burst after burst and regains control each time.

A burst's words run in place, at the level that its PSTATE selects. Every exception to EL2 comes
here, whatever state EL2 is in: the vectors use no stack, restore SCTLR_EL2 before they touch
memory, and save two registers in TPIDR_EL0 and TPIDRRO_EL0. The burst then continues after the word
that caused the exception, until its words are used up. When L2's EL1 takes an exception, its vector
executes an HVC, and ELR_EL1 names the place.

An *event* is a hostile instruction that was executed. The harness counts the words from where the
burst was entered to the one that caused the exception. For a burst that leaves its words, it counts
only what is certain.

The EL2 physical timer ends a burst that loops. If the harness itself is lost (its vectors, its
memory, an endless loop with interrupts masked), the host notices: `Control.index` stops changing.
"""

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC
from vel2.arch.gicv3 import (
    FRAME_BYTES,
    GICD_CTLR,
    GICR_ICACTIVER0,
    GICR_ICENABLER0,
    GICR_IGROUPR0,
    GICR_IGRPMODR0,
    GICR_IPRIORITYR0,
    GICR_ISENABLER0,
    GICR_WAKER,
)
from vel2.arch.insn import TLBI
from vel2.arch.nesting import Kind, Level
from vel2.arch.pstate import PSTATE_DAIF, M_EL1h
from vel2.check.hostile.layout import (
    BURST_BYTES,
    BURSTS,
    CONTROL,
    IMAGE_BASE,
    KEEP,
    MEMORY_END,
    PAGE_BYTES,
    REGIME,
    SANE_STAGE2,
    TABLES,
    VIA_EL1,
    WORDS_OFFSET,
    Burst,
    Control,
)
from vel2.lang import XZR, Assembler, Image, link_image
from vel2.runtime.bare import VECTOR_BYTES, VECTORS, vector_table
from vel2.runtime.header import image_header
from vel2.runtime.psci import Conduit, power_off

__all__ = ("build_harness",)

ALARM_TICKS = {Level.NV2: 3_000_000, Level.NV: 8_000_000}
"""The most a burst may take, in nanoseconds; one that reaches its end takes a tenth of that."""
TIMER_PPI = 26
SCTLR_OFF = sr.SCTLR_EL1.compose(EOS=1, EIS=1, SPAN=1, nTLSMD=1, LSMAOE=1)
STAGE2_CONTROL = sr.VTCR_EL2.res1 | sr.VTCR_EL2.compose(
    SH0=3, ORGN0=1, IRGN0=1, SL0=1, T0SZ=25, PS=2
)
"""39 bits from level 1."""
BOTH_FP = sr.CPACR_EL1.compose(FPEN=3, ZEN=3)
EL0_TIMERS = sr.CNTKCTL_EL1.compose(EL0PCTEN=1, EL0VCTEN=1, EL0VTEN=1, EL0PTEN=1)
EL0_PMU = sr.PMUSERENR_EL0.compose(EN=1, SW=1, CR=1, ER=1)
"""L2's EL1 allows these to its EL0, so that only EL2 decides whether they trap."""
GICD = 0x0800_0000
GICR = 0x080A_0000
AFTER_IT = (EC.HVC64, EC.SVC64, EC.HVC32, EC.SVC32)
"""Exception classes whose ELR points after the instruction."""
FINE_GRAINED = (sr.HFGRTR_EL2, sr.HFGWTR_EL2, sr.HFGITR_EL2, sr.HDFGRTR_EL2, sr.HDFGWTR_EL2)
CONTROLS = (
    (sr.MDCR_EL2, "mdcr"),
    (sr.HSTR_EL2, "hstr"),
    (sr.CNTHCTL_EL2, "cnthctl"),
    (sr.CPTR_EL2, "cptr"),
)
"""EL2's controls for which each burst has its own value."""
VNCR = ((sr.VNCR_EL2, "vncr"),)
"""One more, with FEAT_NV2."""
PAIRS = range(0, 30, 2)


def build_harness(kind: Kind, level: Level, recursion: bool = False) -> Image:
    """Assemble the harness for a kind of virtual EL2 and a level of hardware.

    :param recursion: whether L1 has what the hardware's level has.
    """
    has_vncr = recursion and level is Level.NV2
    a = Assembler("harness")
    image_header(a, "harness_entry", MEMORY_END - IMAGE_BASE)
    _entry(a, kind)
    _vectors(a)
    _take(a, kind)
    _next_burst(a, ALARM_TICKS[level])
    _resume(a, kind, recursion)
    _restore(a, kind, has_vncr)
    _el1(a)
    return link_image(IMAGE_BASE, [a], None)


def _field(name: str) -> int:
    return Control.offset_of(name)


def _entry(a: Assembler, kind: Kind) -> None:
    """Emit the start. The host chooses the burst to begin with."""
    a.label("harness_entry")
    a.msr_immediate("daifset", 0xF)
    a.msr_immediate("spsel", 1)
    a.mov_imm(0, sr.HCR_EL2.compose(RW=1, E2H=kind is Kind.VHE))
    a.msr(sr.HCR_EL2, 0)
    a.mov_imm(0, SCTLR_OFF)
    a.msr(sr.SCTLR_EL2, 0)
    a.isb()
    a.mov_imm(28, GICR)
    a.ldr_w(0, 28, GICR_WAKER.offset)
    a.mov_imm(1, GICR_WAKER.ProcessorSleep.mask)
    a.bic(0, 0, 1)
    a.str_w(0, 28, GICR_WAKER.offset)
    a.mov_imm(27, CONTROL)
    a.b("enter_burst")


def _vectors(a: Assembler) -> None:
    """Emit EL2's vectors and the saving of everything; x27 becomes the `Control`."""

    def slot(number: int) -> None:
        a.msr(sr.TPIDR_EL0, 0)
        a.msr(sr.TPIDRRO_EL0, 1)
        a.movz(0, number)
        a.b(".save")

    vector_table(a, "harness_vectors", slot)
    a.label(".save")
    a.mov_imm(1, SCTLR_OFF)
    a.msr(sr.SCTLR_EL2, 1)
    a.isb()
    a.mov_imm(1, CONTROL)
    for n in PAIRS[1:]:
        a.stp(n, n + 1, 1, 8 * n)
    a.str(30, 1, 8 * 30)
    a.mrs(2, sr.TPIDR_EL0)
    a.mrs(3, sr.TPIDRRO_EL0)
    a.stp(2, 3, 1, 0)
    a.mov(27, 1)
    a.b("take")


def _load(a: Assembler, rt: int, name: str) -> None:
    a.ldr(rt, 27, _field(name))


def _increase(a: Assembler, name: str, by: int | None = None) -> None:
    """Emit `Control.name += 1`, or += x<by>; x9 is used."""
    a.ldr(9, 27, _field(name))
    if by is None:
        a.add(9, 9, 1)
    else:
        a.add(9, 9, rm=by)
    a.str(9, 27, _field(name))


def _burst_address(a: Assembler) -> None:
    """Emit x26 = the burst, x25 = its words; x9 is used."""
    _load(a, 26, "index")
    a.mov_imm(9, BURSTS)
    a.lsl(26, 26, BURST_BYTES.bit_length() - 1)
    a.add(26, 26, rm=9)
    a.add(25, 26, WORDS_OFFSET)


def _take(a: Assembler, kind: Kind) -> None:
    """Emit what happens at an exception: x0 is the number of its vector."""
    a.label("take")
    _increase(a, "exceptions")
    _burst_address(a)
    a.ldr(24, 26, Burst.offset_of("count"))
    _load(a, 23, "start")
    a.tst(0, 3)
    a.b_cond("ne", ".asynchronous")
    a.mrs(2, sr.ELR_EL2)
    a.mrs(3, sr.ESR_EL2)
    a.adr_symbol(4, "harness_el1_vectors")
    a.sub(4, 2, rm=4)
    a.cmp(4, VECTOR_BYTES * VECTORS)
    a.b_cond("hs", ".have_place")
    a.mrs(2, sr.ELR_EL12 if kind is Kind.VHE else sr.ELR_EL1)
    a.mrs(3, sr.ESR_EL12 if kind is Kind.VHE else sr.ESR_EL1)
    a.label(".have_place")
    _count(a)
    _other_exceptions(a)


def _count(a: Assembler) -> None:
    """Emit the counting of the words done, and the way on; x2 is ELR, x3 ESR, x23 the first."""
    a.sub(2, 2, rm=25)
    a.mov_imm(9, BURST_BYTES - WORDS_OFFSET)
    a.cmp(2, rm=9)
    a.b_cond("hs", ".stray")
    a.lsr(2, 2, 2)
    a.lsr(3, 3, 26)
    for ec in AFTER_IT:
        a.cmp(3, ec)
        a.b_cond("eq", ".counted")
    a.add(2, 2, 1)
    a.label(".counted")
    a.cmp(2, rm=24)
    a.csel(2, 24, 2, "hi")
    a.subs(4, 2, rm=23)
    a.movz(5, 1)
    a.csel(4, 5, 4, "le")
    _increase(a, "events", 4)
    a.str(2, 27, _field("start"))
    a.ldr(9, 27, _field("left"))
    a.subs(9, 9, 1)
    a.str(9, 27, _field("left"))
    a.b_cond("le", "next_burst")
    a.cmp(2, rm=24)
    a.b_cond("hs", "next_burst")
    a.b("resume")


def _other_exceptions(a: Assembler) -> None:
    """Emit what happens where no burst was, and at interrupts."""
    a.label(".stray")
    _increase(a, "strays")
    _increase(a, "events")
    a.b("next_burst")
    a.label(".asynchronous")
    a.mrs(2, sr.ICC_IAR1_EL1)
    a.cmp(2, TIMER_PPI)
    a.b_cond("ne", ".other")
    _increase(a, "timeouts")
    a.label(".other")
    a.msr(sr.CNTHP_CTL_EL2, XZR)
    a.isb()
    a.msr(sr.ICC_EOIR1_EL1, 2)
    a.msr(sr.ICC_DIR_EL1, 2)
    _increase(a, "events")
    a.b("next_burst")


def _next_burst(a: Assembler, ticks: int) -> None:
    """Emit the way from one burst to the next, and the way into a burst."""
    a.label("next_burst")
    _increase(a, "index")
    a.label("enter_burst")
    _load(a, 0, "index")
    _load(a, 1, "bursts")
    a.cmp(0, rm=1)
    a.b_cond("lo", ".more")
    a.movz(0, 1)
    a.str(0, 27, _field("done"))
    power_off(a, Conduit.SMC)
    a.label(".more")
    _burst_address(a)
    a.ldr(0, 26, Burst.offset_of("count"))
    a.lsl(0, 0, 1)
    a.str(0, 27, _field("left"))
    a.str(XZR, 27, _field("start"))
    a.ldr(0, 26, Burst.offset_of("flags"))
    a.tbnz(0, KEEP.bit_length() - 1, ".kept")
    a.bl("restore")
    a.label(".kept")
    a.mrs(0, sr.CNTPCT_EL0)
    a.mov_imm(1, ticks)
    a.add(0, 0, rm=1)
    a.msr(sr.CNTHP_CVAL_EL2, 0)
    a.movz(0, 1)
    a.msr(sr.CNTHP_CTL_EL2, 0)
    for n in PAIRS:
        a.ldp(0, 1, 26, 8 * n)
        a.stp(0, 1, 27, 8 * n)
    a.ldr(0, 26, 8 * 30)
    a.str(0, 27, 8 * 30)
    a.movz(2, 0)


def _resume(a: Assembler, kind: Kind, recursion: bool) -> None:
    """Emit the ERET into the burst's word number x2, with the registers of `Control.x`."""
    a.label("resume")
    a.add(2, 25, rm=2, lsl=2)
    a.ldr(0, 26, Burst.offset_of("pstate"))
    a.ldr(1, 26, Burst.offset_of("flags"))
    a.tbz(1, VIA_EL1.bit_length() - 1, ".directly")
    a.msr(sr.ELR_EL12 if kind is Kind.VHE else sr.ELR_EL1, 2)
    a.msr(sr.SPSR_EL12 if kind is Kind.VHE else sr.SPSR_EL1, 0)
    a.adr_symbol(2, "harness_el1_eret")
    a.mov_imm(0, PSTATE_DAIF | M_EL1h)
    a.label(".directly")
    a.msr(sr.ELR_EL2, 2)
    a.msr(sr.SPSR_EL2, 0)
    if recursion:
        _own_regime(a, kind)
    a.mov(30, 27)
    for n in PAIRS:
        a.ldp(n, n + 1, 30, 8 * n)
    a.ldr(30, 30, 8 * 30)
    a.eret()


def _own_regime(a: Assembler, kind: Kind) -> None:
    """Emit the turning on of EL2's own stage 1, where the burst wants it: the vectors end it."""
    registers = [(sr.TCR_EL2, "tcr"), (sr.TTBR0_EL2, "ttbr0"), (sr.MAIR_EL2, "mair")]
    if kind is Kind.VHE:
        registers.append((sr.TTBR1_EL2, "ttbr1"))
    a.ldr(1, 26, Burst.offset_of("flags"))
    a.tbz(1, REGIME.bit_length() - 1, ".no_regime")
    for register, name in registers:
        a.ldr(0, 26, Burst.offset_of(name))
        a.msr(register, 0)
    a.isb()
    a.ldr(0, 26, Burst.offset_of("sctlr"))
    a.msr(sr.SCTLR_EL2, 0)
    a.isb()
    a.label(".no_regime")


def _restore(a: Assembler, kind: Kind, has_vncr: bool) -> None:
    """Emit what restores EL2's state, L2's EL1 and the interrupt controller."""
    a.label("restore")
    a.ldr(0, 26, Burst.offset_of("hcr"))
    a.msr(sr.HCR_EL2, 0)
    a.isb()
    a.adr_symbol(0, "harness_vectors")
    a.msr(sr.VBAR_EL2, 0)
    a.mov_imm(0, TABLES + SANE_STAGE2 * PAGE_BYTES)
    a.msr(sr.VTTBR_EL2, 0)
    a.mov_imm(0, STAGE2_CONTROL)
    a.msr(sr.VTCR_EL2, 0)
    for register in (sr.MDSCR_EL1, sr.ICH_HCR_EL2, *FINE_GRAINED):
        a.msr(register, XZR)
    for control, name in (*CONTROLS, *VNCR[: int(has_vncr)]):
        a.ldr(0, 26, Burst.offset_of(name))
        a.msr(control, 0)
    _restore_el1(a, kind)


def _restore_el1(a: Assembler, kind: Kind) -> None:
    """Emit the rest of it: EL1's registers, by their names at a VHE EL2 or their own."""
    el1 = kind is Kind.VHE
    a.msr(sr.CNTP_CTL_EL02 if el1 else sr.CNTP_CTL_EL0, XZR)
    a.msr(sr.CNTV_CTL_EL02 if el1 else sr.CNTV_CTL_EL0, XZR)
    if el1:
        a.msr(sr.CNTHV_CTL_EL2, XZR)
    a.mov_imm(0, SCTLR_OFF)
    a.msr(sr.SCTLR_EL12 if el1 else sr.SCTLR_EL1, 0)
    a.adr_symbol(0, "harness_el1_vectors")
    a.msr(sr.VBAR_EL12 if el1 else sr.VBAR_EL1, 0)
    a.mov_imm(0, BOTH_FP)
    a.msr(sr.CPACR_EL12 if el1 else sr.CPACR_EL1, 0)
    a.mov_imm(0, EL0_TIMERS)
    a.msr(sr.CNTKCTL_EL12 if el1 else sr.CNTKCTL_EL1, 0)
    a.mov_imm(0, EL0_PMU)
    a.msr(sr.PMUSERENR_EL0, 0)
    a.ldr(0, 26, Burst.offset_of("sp"))
    a.msr(sr.SP_EL1, 0)
    a.msr(sr.SP_EL0, 0)
    a.dsb()
    a.sys(TLBI.ALLE1)
    a.sys(TLBI.ALLE2)
    a.dsb()
    _restore_gic(a)
    a.isb()
    a.ret()


def _restore_gic(a: Assembler) -> None:
    """Emit what enables the timer's interrupt and no other."""
    a.mov_imm(0, 0xFF)
    a.msr(sr.ICC_PMR_EL1, 0)
    for register in (sr.ICC_CTLR_EL1, sr.ICC_AP1R0_EL1, sr.ICC_AP0R0_EL1):
        a.msr(register, XZR)
    a.movz(0, 1)
    a.msr(sr.ICC_IGRPEN1_EL1, 0)
    a.mov_imm(28, GICD)
    a.movz(0, GICD_CTLR.compose(ARE=1, EnableGrp1=1))
    a.str_w(0, 28, GICD_CTLR.offset)
    a.mov_imm(28, GICR)
    a.str_w(XZR, 28, GICR_WAKER.offset)
    a.mov_imm(28, GICR + FRAME_BYTES)
    a.str_w(XZR, 28, GICR_IGRPMODR0)
    a.str_w(XZR, 28, GICR_IPRIORITYR0 + (TIMER_PPI & ~3))
    a.movn(0, 0)
    a.str_w(0, 28, GICR_IGROUPR0)
    a.str_w(0, 28, GICR_ICACTIVER0)
    a.str_w(0, 28, GICR_ICENABLER0)
    a.mov_imm(0, 1 << TIMER_PPI)
    a.str_w(0, 28, GICR_ISENABLER0)


def _el1(a: Assembler) -> None:
    """Emit L2's EL1: vectors that tell EL2, and the ERET that enters a burst."""
    a.align(PAGE_BYTES)
    vector_table(a, "harness_el1_vectors", a.hvc)
    a.label("harness_el1_eret")
    a.eret()
