"""The instructions of payload `classes`: what each raises, at EL2, at its EL0, in L2, in AArch32.

The AArch64 ones return to x30, where `classes` has put a way out. The AArch32 ones (A32) run at
L2's EL0 and end in an SVC, which L2's EL1 reports.
"""

from vel2.arch import sysregs as sr
from vel2.check.payloads.traps.code import NOTHING_HERE
from vel2.lang import Assembler

ANYWHERE: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("svc", (0xD400_0001,)),
    ("hvc", (0xD400_0002,)),
    ("brk", (0xD420_0000,)),
    ("hlt", (0xD440_0000,)),
    ("udf", (0x0000_0000,)),
    ("dcps1", (0xD4A0_0001,)),
    ("drps", (0xD6BF_03E0,)),
    ("wfit", (0xD503_103F,)),
    ("wfet", (0xD503_101F,)),
    ("psb_csync", (0xD503_223F,)),
    ("tsb_csync", (0xD503_225F,)),
    ("ld64b", (0xF83F_D042,)),
    ("st64b", (0xF83F_9042,)),
    ("tstart", (0xD523_3060,)),
    ("mrrs", (0xD578_2000,)),
    ("msrr", (0xD558_2000,)),
    ("gcsss1", (0xD50B_7740,)),
    ("unallocated_register", (0xD53B_79E0,)),
    ("misaligned_pc", (0xD61F_0040,)),
    ("misaligned_sp", (0x9100_03E9, 0xD100_053F, 0xF840_13E0, 0x9100_013F)),
    ("load_nothing", (0xF940_0060,)),
    ("store_nothing", (0xF900_0060,)),
    ("execute_nothing", (0xD61F_0060,)),
    ("fpac", (0xDAC1_1041,)),
    ("smc_unknown", (0x5280_0000, 0xD400_0003)),
)
"""x2 is an odd address of RAM, x3 one where nothing is."""

AL = 0xE000_0000
SVC_1, SVC_7 = AL | 0x0F00_0001, AL | 0x0F00_0007


def mrc(coprocessor: int, opc1: int, crn: int, crm: int, opc2: int, cond: int = AL) -> int:
    """Encode MRC to r0."""
    fields = opc1 << 21 | crn << 16 | coprocessor << 8 | opc2 << 5 | crm
    return cond | 0x0E10_0010 | fields


def mcr(coprocessor: int, opc1: int, crn: int, crm: int, opc2: int) -> int:
    """Encode MCR from r0."""
    return mrc(coprocessor, opc1, crn, crm, opc2) & ~(1 << 20)


def mrrc(coprocessor: int, opc1: int, crm: int) -> int:
    """Encode MRRC to r0 and r1."""
    return AL | 0x0C50_0000 | 1 << 16 | coprocessor << 8 | opc1 << 4 | crm


EQ = 0
AARCH32: tuple[tuple[str, int], ...] = (
    ("svc", SVC_7),
    ("bkpt", AL | 0x0120_0077),
    ("hvc", AL | 0x0140_0070),
    ("smc", AL | 0x0160_0070),
    ("udf", 0xE7F0_00F0),
    ("wfi", AL | 0x0320_F003),
    ("wfe", AL | 0x0320_F002),
    ("spin", AL | 0x0AFF_FFFE),
    ("vmov", AL | 0x0E10_0A10),
    ("vmrs_fpscr", AL | 0x0EF1_0A10),
    ("vmrs_fpsid", AL | 0x0EF0_0A10),
    ("vmrs_mvfr0", AL | 0x0EF7_0A10),
    ("load_nothing", AL | 0x0593_0000),
    ("store_nothing", AL | 0x0583_0000),
    ("execute_nothing", AL | 0x012F_FF13),
    ("mrc_midr", mrc(15, 0, 0, 0, 0)),
    ("mrc_pmcr", mrc(15, 0, 9, 12, 0)),
    ("mrceq_pmcr", mrc(15, 0, 9, 12, 0, EQ)),
    ("mcr_pmcr", mcr(15, 0, 9, 12, 0)),
    ("mcr_pmcntenset", mcr(15, 0, 9, 12, 1)),
    ("mrc_pmcntenset", mrc(15, 0, 9, 12, 1)),
    ("mrc_pmccntr", mrc(15, 0, 9, 13, 0)),
    ("mrc_pmevtyper0", mrc(15, 0, 14, 12, 0)),
    ("mrrc_pmccntr", mrrc(15, 0, 9)),
    ("mrc_cntfrq", mrc(15, 0, 14, 0, 0)),
    ("mrc_cntp_ctl", mrc(15, 0, 14, 2, 1)),
    ("mcr_cntp_ctl", mcr(15, 0, 14, 2, 1)),
    ("mrc_cntv_ctl", mrc(15, 0, 14, 3, 1)),
    ("mrrc_cntpct", mrrc(15, 0, 14)),
    ("mrrc_cntvct", mrrc(15, 1, 14)),
    ("mrrc_cntp_cval", mrrc(15, 2, 14)),
    ("mrrc_cntpctss", mrrc(15, 8, 14)),
    ("mrc_tpidrurw", mrc(15, 0, 13, 0, 2)),
    ("mrc_c11", mrc(15, 0, 11, 0, 0)),
    ("mrc_c15", mrc(15, 0, 15, 0, 0)),
    ("mrc_amcr", mrc(15, 0, 13, 2, 0)),
    ("mrrc_amevcntr00", mrrc(15, 0, 0)),
    ("cp15isb", mcr(15, 0, 7, 5, 4)),
    ("mrc_dbgdscrint", mrc(14, 0, 0, 1, 0)),
    ("mrc_dbgdidr", mrc(14, 0, 0, 0, 0)),
    ("mrc_dbgdrar", mrc(14, 0, 1, 0, 0)),
    ("mrrc_dbgdrar", mrrc(14, 0, 1)),
    ("ldc_dbgdtrtxint", AL | 0x0D92_5E00),
    ("stc_dbgdtrrxint", AL | 0x0D82_5E00),
    ("mrc_trcidr0", mrc(14, 1, 0, 8, 7)),
    ("mrc_jidr", mrc(14, 7, 0, 0, 0)),
)
"""r2 is an aligned address of RAM, r3 one where nothing is; flags are clear, so EQ fails."""


def emit(a: Assembler) -> None:
    """Emit `class_NAME` and `a32_NAME`, the ways out, and L2's way into AArch32."""
    a.align(16)
    for name, words in ANYWHERE:
        a.label(f"class_{name}")
        for word in words:
            a.word(word)
        a.ret()
    a.label("class_with_x2_x3")
    a.mov(9, 0)
    a.mov(2, 1)
    a.mov_imm(3, NOTHING_HERE)
    a.br(9)
    a.label("class_leave_el0")
    a.svc(1)
    a.label("class_to_aarch32")
    a.msr(sr.ELR_EL1, 0)
    a.msr(sr.SPSR_EL1, 1)
    a.eret()
    for name, word in AARCH32:
        a.label(f"a32_{name}")
        a.word(word)
        a.word(SVC_1)
