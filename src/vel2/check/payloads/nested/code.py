"""What payload `nested` runs in L2 where HCR_EL2.{NV,NV1,NV2} make its EL1 a virtual EL2.

Every access is one instruction with x1. The registers are of every kind that FEAT_NV and FEAT_NV2
treat alike: they trap, they are memory, they are another register, or they are what they were.
"""

from vel2.arch import sysregs as sr
from vel2.arch.insn import AT, CFP, TLBI
from vel2.arch.pstate import PSTATE_DAIF, M_EL1h
from vel2.check.payloads.library.assembly import HVC_DONE, SCTLR_OFF, Unnamed
from vel2.lang import Assembler
from vel2.lang.asm import Encodable

CURRENT_EL = Unnamed(3, 0, 4, 2, 2)
UNALLOCATED_EL2 = Unnamed(3, 4, 14, 9, 5)
PATTERN = 0x1234_5678_9ABC_D000
HVC_7, SVC_3, SMC_0, BRK_5, UDF_5 = 0xD400_00E2, 0xD400_0061, 0xD400_0003, 0xD420_00A0, 5
ERET, ERETAA, ERETAB = 0xD69F_03E0, 0xD69F_0BFF, 0xD69F_0FFF

REGISTERS: tuple[tuple[str, Encodable, int], ...] = (
    # Memory with FEAT_NV2, whatever NV1 is.
    ("vttbr_el2", sr.VTTBR_EL2, PATTERN),
    ("vtcr_el2", sr.VTCR_EL2, PATTERN),
    ("vmpidr_el2", sr.VMPIDR_EL2, PATTERN),
    ("vpidr_el2", sr.VPIDR_EL2, PATTERN),
    ("cntvoff_el2", sr.CNTVOFF_EL2, PATTERN),
    ("hcr_el2", sr.HCR_EL2, PATTERN),
    ("hstr_el2", sr.HSTR_EL2, PATTERN),
    ("tpidr_el2", sr.TPIDR_EL2, PATTERN),
    ("vncr_el2", sr.VNCR_EL2, PATTERN),
    ("actlr_el1", sr.ACTLR_EL1, PATTERN),
    ("mdscr_el1", sr.MDSCR_EL1, 0x1000),
    ("sp_el1", sr.SP_EL1, PATTERN),
    ("hfgrtr_el2", sr.HFGRTR_EL2, PATTERN),
    ("hfgitr_el2", sr.HFGITR_EL2, PATTERN),
    ("hcrx_el2", sr.HCRX_EL2, PATTERN),
    ("ich_lr0_el2", sr.ICH_LR0_EL2, PATTERN),
    ("ich_ap1r0_el2", sr.ICH_AP1R0_EL2, PATTERN),
    ("ich_hcr_el2", sr.ICH_HCR_EL2, PATTERN),
    ("ich_vmcr_el2", sr.ICH_VMCR_EL2, PATTERN),
    ("vdisr_el2", sr.VDISR_EL2, PATTERN),
    ("vsesr_el2", sr.VSESR_EL2, PATTERN),
    # Another register with FEAT_NV2.
    ("elr_el2", sr.ELR_EL2, PATTERN),
    ("spsr_el2", sr.SPSR_EL2, PSTATE_DAIF | M_EL1h),
    ("esr_el2", sr.ESR_EL2, 0x5600_0123),
    ("far_el2", sr.FAR_EL2, PATTERN),
    # Memory by one of two names.
    ("sctlr_el1", sr.SCTLR_EL1, SCTLR_OFF),
    ("sctlr_el12", sr.SCTLR_EL12, PATTERN),
    ("cpacr_el1", sr.CPACR_EL1, sr.CPACR_EL1.compose(FPEN=3, ZEN=3)),
    ("cpacr_el12", sr.CPACR_EL12, PATTERN),
    ("ttbr0_el1", sr.TTBR0_EL1, PATTERN),
    ("ttbr0_el12", sr.TTBR0_EL12, PATTERN),
    ("ttbr1_el1", sr.TTBR1_EL1, PATTERN),
    ("ttbr1_el12", sr.TTBR1_EL12, PATTERN),
    ("tcr_el1", sr.TCR_EL1, 0),
    ("tcr_el12", sr.TCR_EL12, PATTERN),
    ("esr_el1", sr.ESR_EL1, 0x5600_0321),
    ("esr_el12", sr.ESR_EL12, PATTERN),
    ("far_el1", sr.FAR_EL1, PATTERN),
    ("far_el12", sr.FAR_EL12, PATTERN),
    ("afsr0_el1", sr.AFSR0_EL1, 0),
    ("afsr0_el12", sr.AFSR0_EL12, PATTERN),
    ("mair_el1", sr.MAIR_EL1, 0xFF),
    ("mair_el12", sr.MAIR_EL12, PATTERN),
    ("contextidr_el1", sr.CONTEXTIDR_EL1, 0x77),
    ("contextidr_el12", sr.CONTEXTIDR_EL12, PATTERN),
    ("elr_el1", sr.ELR_EL1, PATTERN),
    ("elr_el12", sr.ELR_EL12, PATTERN),
    ("spsr_el1", sr.SPSR_EL1, PSTATE_DAIF | M_EL1h),
    ("spsr_el12", sr.SPSR_EL12, PATTERN),
    ("vbar_el12", sr.VBAR_EL12, PATTERN),
    ("cntv_ctl_el0", sr.CNTV_CTL_EL0, 2),
    ("cntv_ctl_el02", sr.CNTV_CTL_EL02, 2),
    ("cntv_cval_el0", sr.CNTV_CVAL_EL0, PATTERN),
    ("cntv_cval_el02", sr.CNTV_CVAL_EL02, PATTERN),
    ("cntp_ctl_el0", sr.CNTP_CTL_EL0, 2),
    ("cntp_ctl_el02", sr.CNTP_CTL_EL02, 2),
    ("cntp_cval_el02", sr.CNTP_CVAL_EL02, PATTERN),
    # Never memory.
    ("cntp_tval_el02", sr.CNTP_TVAL_EL02, 0),
    ("cntkctl_el12", sr.CNTKCTL_EL12, 0),
    ("cntkctl_el1", sr.CNTKCTL_EL1, 0),
    ("tpidr_el1", sr.TPIDR_EL1, PATTERN),
    ("sctlr_el2", sr.SCTLR_EL2, 0),
    ("tcr_el2", sr.TCR_EL2, 0),
    ("ttbr0_el2", sr.TTBR0_EL2, 0),
    ("ttbr1_el2", sr.TTBR1_EL2, 0),
    ("mair_el2", sr.MAIR_EL2, 0),
    ("vbar_el2", sr.VBAR_EL2, 0),
    ("cptr_el2", sr.CPTR_EL2, 0),
    ("mdcr_el2", sr.MDCR_EL2, 0),
    ("hpfar_el2", sr.HPFAR_EL2, 0),
    ("cnthctl_el2", sr.CNTHCTL_EL2, 0),
    ("cnthp_ctl_el2", sr.CNTHP_CTL_EL2, 0),
    ("cnthv_cval_el2", sr.CNTHV_CVAL_EL2, 0),
    ("contextidr_el2", sr.CONTEXTIDR_EL2, 0),
    ("actlr_el2", sr.ACTLR_EL2, 0),
    ("icc_sre_el2", sr.ICC_SRE_EL2, 0),
    ("ich_vtr_el2", sr.ICH_VTR_EL2, 0),
    ("spsr_irq", sr.SPSR_irq, 0),
    ("unallocated", UNALLOCATED_EL2, 0),
    ("elr_el3", Unnamed(3, 6, 4, 0, 1), 0),
    ("sp_el2", sr.SP_EL2, 0),
    ("impdef", Unnamed(3, 0, 15, 2, 0), 0),
    ("currentel", CURRENT_EL, 0),
)
"""With the value that is written."""
ONLY_READ = ("currentel", "ich_vtr_el2")

SYSTEM: tuple[tuple[str, Encodable], ...] = (
    ("at_s1e1r", AT.S1E1R),
    ("at_s1e0w", AT.S1E0W),
    ("at_s1e1rp", AT.S1E1RP),
    ("at_s1e2r", AT.S1E2R),
    ("at_s12e1r", AT.S12E1R),
    ("tlbi_vmalle1", TLBI.VMALLE1),
    ("tlbi_vae1is", TLBI.VAE1IS),
    ("tlbi_vae2is", TLBI.VAE2IS),
    ("tlbi_alle2", TLBI.ALLE2),
    ("tlbi_ipas2e1is", TLBI.IPAS2E1IS),
    ("tlbi_vmalls12e1is", TLBI.VMALLS12E1IS),
    ("tlbi_alle1is", TLBI.ALLE1IS),
    ("cfp_rctx", CFP.RCTX),
)
WORDS: tuple[tuple[str, int], ...] = (
    ("eret", ERET),
    ("eretaa", ERETAA),
    ("eretab", ERETAB),
    ("hvc_7", HVC_7),
    ("smc", SMC_0),
    ("svc", SVC_3),
    ("brk", BRK_5),
    ("udf", UDF_5),
    ("hole", 0xF940_0021),  # ldr x1, [x1]
)
"""With x1 an address where EL2 has nothing."""


def emit(a: Assembler) -> None:
    """Emit `nested_read_NAME`, `nested_write_NAME` and `nested_NAME`, which end in an HVC."""
    a.label("verbatim_start")
    for name, register, _ in REGISTERS:
        a.label(f"nested_read_{name}")
        a.mrs(1, register)
        a.hvc(HVC_DONE)
        if name not in ONLY_READ:
            a.label(f"nested_write_{name}")
            a.msr(register, 1)
            a.hvc(HVC_DONE)
    for name, instruction in SYSTEM:
        a.label(f"nested_{name}")
        a.sys(instruction, 1)
        a.hvc(HVC_DONE)
    for name, word in WORDS:
        a.label(f"nested_{name}")
        a.word(word)
        a.hvc(HVC_DONE)
    a.label("verbatim_end")
