"""The instructions that payload `exceptions` runs at EL2, and in L2 with and without a trap."""

from vel2.arch import sysregs as sr
from vel2.arch.insn import DC, IC, TLBI
from vel2.check.payloads.library.assembly import HVC_DONE, Unnamed
from vel2.lang import Assembler
from vel2.lang.asm import Encodable

UNALLOCATED = Unnamed(3, 4, 14, 9, 5)
IMPLEMENTATION_DEFINED = Unnamed(3, 0, 15, 2, 0)
PACIA_X1_X2 = 0xDAC1_0041
FMOV_D0_X1 = 0x9E67_0020
BRK_7 = 0xD420_00E0
UDF_5 = 0x0000_0005
SMC_0 = 0xD400_0003
SVC_3 = 0xD400_0061
HVC_1234 = 0xD402_4682
WFI = 0xD503_207F
ERET = 0xD69F_03E0
ESB = 0xD503_221F
BR_X0 = 0xD61F_0000

AT_EL2: tuple[tuple[str, tuple[int, ...] | None, Encodable | None], ...] = (
    ("hvc", (HVC_1234,), None),
    ("svc", (SVC_3,), None),
    ("smc_unknown", (SMC_0,), None),
    ("brk", (BRK_7,), None),
    ("udf", (UDF_5,), None),
    ("unallocated", None, UNALLOCATED),
    ("sp_el2", None, sr.SP_EL2),
    ("elr_el3", None, Unnamed(3, 6, 4, 0, 1)),
    ("misaligned_pc", (BR_X0,), None),
)
"""What each does: words of code, or a read of a register."""

READS: tuple[tuple[str, Encodable], ...] = (
    ("sctlr_el1", sr.SCTLR_EL1),
    ("ttbr0_el1", sr.TTBR0_EL1),
    ("id_aa64pfr0_el1", sr.ID_AA64PFR0_EL1),
    ("id_unallocated", Unnamed(3, 0, 0, 7, 7)),
    ("ctr_el0", sr.CTR_EL0),
    ("clidr_el1", sr.CLIDR_EL1),
    ("ccsidr_el1", sr.CCSIDR_EL1),
    ("aidr_el1", sr.AIDR_EL1),
    ("actlr_el1", sr.ACTLR_EL1),
    ("impdef", IMPLEMENTATION_DEFINED),
    ("apiakeylo_el1", sr.APIAKeyLo_EL1),
    ("cpacr_el1", sr.CPACR_EL1),
    ("mdscr_el1", sr.MDSCR_EL1),
    ("dbgbvr0_el1", sr.DBGBVR0_EL1),
    ("mdrar_el1", sr.MDRAR_EL1),
    ("oslsr_el1", sr.OSLSR_EL1),
    ("mdccsr_el0", sr.MDCCSR_EL0),
    ("cntpct_el0", sr.CNTPCT_EL0),
    ("cntp_ctl_el0", sr.CNTP_CTL_EL0),
    ("cntv_ctl_el0", sr.CNTV_CTL_EL0),
    ("cntvct_el0", sr.CNTVCT_EL0),
    ("icc_iar1_el1", sr.ICC_IAR1_EL1),
    ("icc_pmr_el1", sr.ICC_PMR_EL1),
    ("icc_iar0_el1", sr.ICC_IAR0_EL1),
    ("disr_el1", sr.DISR_EL1),
)
WRITES: tuple[tuple[str, Encodable], ...] = (
    ("sctlr_el1", sr.SCTLR_EL1),
    ("vbar_el1", sr.VBAR_EL1),
    ("ttbr0_el1", sr.TTBR0_EL1),
    ("csselr_el1", sr.CSSELR_EL1),
    ("disr_el1", sr.DISR_EL1),
    ("icc_sgi1r_el1", sr.ICC_SGI1R_EL1),
    ("icc_dir_el1", sr.ICC_DIR_EL1),
    ("icc_pmr_el1", sr.ICC_PMR_EL1),
    ("cntv_cval_el0", sr.CNTV_CVAL_EL0),
)
SYSTEM: tuple[tuple[str, Encodable], ...] = (
    ("dc_isw", DC.ISW),
    ("dc_civac", DC.CIVAC),
    ("ic_iallu", IC.IALLU),
    ("tlbi_vmalle1", TLBI.VMALLE1),
    ("tlbi_vmalle1is", TLBI.VMALLE1IS),
    ("tlbi_vmalle1os", TLBI.VMALLE1OS),
    ("dc_zva_trap", DC.ZVA),
)
WORDS: tuple[tuple[str, int], ...] = (
    ("wfi", WFI),
    ("smc", SMC_0),
    ("hvc_1234", HVC_1234),
    ("brk", BRK_7),
    ("eret", ERET),
    ("pacia", PACIA_X1_X2),
    ("fmov", FMOV_D0_X1),
    ("udf", UDF_5),
    ("svc", SVC_3),
)


def emit(a: Assembler) -> None:
    """Emit `el2_NAME`, which return, and `l2_NAME`, which end in an HVC."""
    a.align(16)
    for name, words, register in AT_EL2:
        a.label(f"el2_{name}")
        for word in words or ():
            a.word(word)
        if register is not None:
            a.mrs(0, register)
        a.ret()
    for name, register in READS:
        a.label(f"l2_read_{name}")
        a.mrs(1, register)
        a.hvc(HVC_DONE)
    for name, register in WRITES:
        a.label(f"l2_write_{name}")
        a.msr(register, 1)
        a.hvc(HVC_DONE)
    for name, instruction in SYSTEM:
        a.label(f"l2_{name}")
        a.sys(instruction, 0)
        a.hvc(HVC_DONE)
    a.label("l2_esb_disr")
    a.word(ESB)
    a.mrs(1, sr.DISR_EL1)
    a.hvc(HVC_DONE)
    for name, word in WORDS:
        a.label(f"l2_{name}")
        a.word(word)
        a.hvc(HVC_DONE)
