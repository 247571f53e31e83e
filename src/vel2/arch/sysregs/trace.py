"""Trace unit (TRC*), system PMU (SPM*) and register masks (FEAT_SRMASK): encodings for routing.

vel2 hides these from guests, so their content is left opaque.
"""

from __future__ import annotations

from vel2.arch.bits import Encoding, derive
from vel2.arch.sysregs.el1 import Value_ELx

TRCTRACEIDR = derive(Value_ELx, "TRCTRACEIDR", Encoding(2, 1, 0, 0, 1))
TRCVICTLR = derive(Value_ELx, "TRCVICTLR", Encoding(2, 1, 0, 0, 2))
TRCIDR8 = derive(Value_ELx, "TRCIDR8", Encoding(2, 1, 0, 0, 6), access="RO")
TRCPRGCTLR = derive(Value_ELx, "TRCPRGCTLR", Encoding(2, 1, 0, 1, 0))
TRCQCTLR = derive(Value_ELx, "TRCQCTLR", Encoding(2, 1, 0, 1, 1))
TRCVIIECTLR = derive(Value_ELx, "TRCVIIECTLR", Encoding(2, 1, 0, 1, 2))
TRCIDR9 = derive(Value_ELx, "TRCIDR9", Encoding(2, 1, 0, 1, 6), access="RO")
TRCITEEDCR = derive(Value_ELx, "TRCITEEDCR", Encoding(2, 1, 0, 2, 1))
TRCVISSCTLR = derive(Value_ELx, "TRCVISSCTLR", Encoding(2, 1, 0, 2, 2))
TRCIDR10 = derive(Value_ELx, "TRCIDR10", Encoding(2, 1, 0, 2, 6), access="RO")
TRCSTATR = derive(Value_ELx, "TRCSTATR", Encoding(2, 1, 0, 3, 0), access="RO")
TRCVIPCSSCTLR = derive(Value_ELx, "TRCVIPCSSCTLR", Encoding(2, 1, 0, 3, 2))
TRCIDR11 = derive(Value_ELx, "TRCIDR11", Encoding(2, 1, 0, 3, 6), access="RO")
TRCCONFIGR = derive(Value_ELx, "TRCCONFIGR", Encoding(2, 1, 0, 4, 0))
TRCIDR12 = derive(Value_ELx, "TRCIDR12", Encoding(2, 1, 0, 4, 6), access="RO")
TRCIDR13 = derive(Value_ELx, "TRCIDR13", Encoding(2, 1, 0, 5, 6), access="RO")
TRCAUXCTLR = derive(Value_ELx, "TRCAUXCTLR", Encoding(2, 1, 0, 6, 0))
TRCSEQRSTEVR = derive(Value_ELx, "TRCSEQRSTEVR", Encoding(2, 1, 0, 6, 4))
TRCSEQSTR = derive(Value_ELx, "TRCSEQSTR", Encoding(2, 1, 0, 7, 4))
TRCEVENTCTL0R = derive(Value_ELx, "TRCEVENTCTL0R", Encoding(2, 1, 0, 8, 0))
TRCIDR0 = derive(Value_ELx, "TRCIDR0", Encoding(2, 1, 0, 8, 7), access="RO")
TRCEVENTCTL1R = derive(Value_ELx, "TRCEVENTCTL1R", Encoding(2, 1, 0, 9, 0))
TRCIDR1 = derive(Value_ELx, "TRCIDR1", Encoding(2, 1, 0, 9, 7), access="RO")
TRCRSR = derive(Value_ELx, "TRCRSR", Encoding(2, 1, 0, 10, 0))
TRCIDR2 = derive(Value_ELx, "TRCIDR2", Encoding(2, 1, 0, 10, 7), access="RO")
TRCSTALLCTLR = derive(Value_ELx, "TRCSTALLCTLR", Encoding(2, 1, 0, 11, 0))
TRCIDR3 = derive(Value_ELx, "TRCIDR3", Encoding(2, 1, 0, 11, 7), access="RO")
TRCTSCTLR = derive(Value_ELx, "TRCTSCTLR", Encoding(2, 1, 0, 12, 0))
TRCIDR4 = derive(Value_ELx, "TRCIDR4", Encoding(2, 1, 0, 12, 7), access="RO")
TRCSYNCPR = derive(Value_ELx, "TRCSYNCPR", Encoding(2, 1, 0, 13, 0))
TRCIDR5 = derive(Value_ELx, "TRCIDR5", Encoding(2, 1, 0, 13, 7), access="RO")
TRCCCCTLR = derive(Value_ELx, "TRCCCCTLR", Encoding(2, 1, 0, 14, 0))
TRCIDR6 = derive(Value_ELx, "TRCIDR6", Encoding(2, 1, 0, 14, 7), access="RO")
TRCBBCTLR = derive(Value_ELx, "TRCBBCTLR", Encoding(2, 1, 0, 15, 0))
TRCIDR7 = derive(Value_ELx, "TRCIDR7", Encoding(2, 1, 0, 15, 7), access="RO")
TRCOSLAR = derive(Value_ELx, "TRCOSLAR", Encoding(2, 1, 1, 0, 4), access="WO")
TRCOSLSR = derive(Value_ELx, "TRCOSLSR", Encoding(2, 1, 1, 1, 4), access="RO")
TRCCIDCCTLR0 = derive(Value_ELx, "TRCCIDCCTLR0", Encoding(2, 1, 3, 0, 2))
TRCCIDCCTLR1 = derive(Value_ELx, "TRCCIDCCTLR1", Encoding(2, 1, 3, 1, 2))
TRCVMIDCCTLR0 = derive(Value_ELx, "TRCVMIDCCTLR0", Encoding(2, 1, 3, 2, 2))
TRCVMIDCCTLR1 = derive(Value_ELx, "TRCVMIDCCTLR1", Encoding(2, 1, 3, 3, 2))
TRCDEVID = derive(Value_ELx, "TRCDEVID", Encoding(2, 1, 7, 2, 7), access="RO")
TRCCLAIMSET = derive(Value_ELx, "TRCCLAIMSET", Encoding(2, 1, 7, 8, 6))
TRCCLAIMCLR = derive(Value_ELx, "TRCCLAIMCLR", Encoding(2, 1, 7, 9, 6))
TRCAUTHSTATUS = derive(Value_ELx, "TRCAUTHSTATUS", Encoding(2, 1, 7, 14, 6), access="RO")
TRCDEVARCH = derive(Value_ELx, "TRCDEVARCH", Encoding(2, 1, 7, 15, 6), access="RO")

TRCSEQEVRn = tuple(derive(Value_ELx, f"TRCSEQEVR{n}", Encoding(2, 1, 0, n, 4)) for n in range(3))
TRCSEQEVR0, TRCSEQEVR1, TRCSEQEVR2 = TRCSEQEVRn

TRCCNTRLDVRn = tuple(
    derive(Value_ELx, f"TRCCNTRLDVR{n}", Encoding(2, 1, 0, n, 5)) for n in range(4)
)
TRCCNTRLDVR0, TRCCNTRLDVR1, TRCCNTRLDVR2, TRCCNTRLDVR3 = TRCCNTRLDVRn

TRCCNTCTLRn = tuple(
    derive(Value_ELx, f"TRCCNTCTLR{n}", Encoding(2, 1, 0, 4 + n, 5)) for n in range(4)
)
TRCCNTCTLR0, TRCCNTCTLR1, TRCCNTCTLR2, TRCCNTCTLR3 = TRCCNTCTLRn

TRCCNTVRn = tuple(derive(Value_ELx, f"TRCCNTVR{n}", Encoding(2, 1, 0, 8 + n, 5)) for n in range(4))
TRCCNTVR0, TRCCNTVR1, TRCCNTVR2, TRCCNTVR3 = TRCCNTVRn

TRCEXTINSELRn = tuple(
    derive(Value_ELx, f"TRCEXTINSELR{n}", Encoding(2, 1, 0, 8 + n, 4)) for n in range(4)
)
TRCEXTINSELR0, TRCEXTINSELR1, TRCEXTINSELR2, TRCEXTINSELR3 = TRCEXTINSELRn

TRCIMSPECn = tuple(derive(Value_ELx, f"TRCIMSPEC{n}", Encoding(2, 1, 0, n, 7)) for n in range(8))
TRCIMSPEC0, TRCIMSPEC1, TRCIMSPEC2, TRCIMSPEC3, TRCIMSPEC4, TRCIMSPEC5, TRCIMSPEC6, TRCIMSPEC7 = (
    TRCIMSPECn
)

TRCSSCCRn = tuple(derive(Value_ELx, f"TRCSSCCR{n}", Encoding(2, 1, 1, n, 2)) for n in range(8))
TRCSSCCR0, TRCSSCCR1, TRCSSCCR2, TRCSSCCR3, TRCSSCCR4, TRCSSCCR5, TRCSSCCR6, TRCSSCCR7 = TRCSSCCRn

TRCSSCSRn = tuple(derive(Value_ELx, f"TRCSSCSR{n}", Encoding(2, 1, 1, 8 + n, 2)) for n in range(8))
TRCSSCSR0, TRCSSCSR1, TRCSSCSR2, TRCSSCSR3, TRCSSCSR4, TRCSSCSR5, TRCSSCSR6, TRCSSCSR7 = TRCSSCSRn

TRCSSPCICRn = tuple(derive(Value_ELx, f"TRCSSPCICR{n}", Encoding(2, 1, 1, n, 3)) for n in range(8))
(
    TRCSSPCICR0,
    TRCSSPCICR1,
    TRCSSPCICR2,
    TRCSSPCICR3,
    TRCSSPCICR4,
    TRCSSPCICR5,
    TRCSSPCICR6,
    TRCSSPCICR7,
) = TRCSSPCICRn

TRCACVRn = tuple(
    derive(Value_ELx, f"TRCACVR{n}", Encoding(2, 1, 2, n % 8 * 2, n // 8)) for n in range(16)
)
(
    TRCACVR0,
    TRCACVR1,
    TRCACVR2,
    TRCACVR3,
    TRCACVR4,
    TRCACVR5,
    TRCACVR6,
    TRCACVR7,
    TRCACVR8,
    TRCACVR9,
    TRCACVR10,
    TRCACVR11,
    TRCACVR12,
    TRCACVR13,
    TRCACVR14,
    TRCACVR15,
) = TRCACVRn

TRCACATRn = tuple(
    derive(Value_ELx, f"TRCACATR{n}", Encoding(2, 1, 2, n % 8 * 2, 2 + n // 8)) for n in range(16)
)
(
    TRCACATR0,
    TRCACATR1,
    TRCACATR2,
    TRCACATR3,
    TRCACATR4,
    TRCACATR5,
    TRCACATR6,
    TRCACATR7,
    TRCACATR8,
    TRCACATR9,
    TRCACATR10,
    TRCACATR11,
    TRCACATR12,
    TRCACATR13,
    TRCACATR14,
    TRCACATR15,
) = TRCACATRn

TRCCIDCVRn = tuple(
    derive(Value_ELx, f"TRCCIDCVR{n}", Encoding(2, 1, 3, 2 * n, 0)) for n in range(8)
)
TRCCIDCVR0, TRCCIDCVR1, TRCCIDCVR2, TRCCIDCVR3, TRCCIDCVR4, TRCCIDCVR5, TRCCIDCVR6, TRCCIDCVR7 = (
    TRCCIDCVRn
)

TRCVMIDCVRn = tuple(
    derive(Value_ELx, f"TRCVMIDCVR{n}", Encoding(2, 1, 3, 2 * n, 1)) for n in range(8)
)
(
    TRCVMIDCVR0,
    TRCVMIDCVR1,
    TRCVMIDCVR2,
    TRCVMIDCVR3,
    TRCVMIDCVR4,
    TRCVMIDCVR5,
    TRCVMIDCVR6,
    TRCVMIDCVR7,
) = TRCVMIDCVRn

TRCRSCTLRn = tuple(
    derive(Value_ELx, f"TRCRSCTLR{n}", Encoding(2, 1, 1, n % 16, n // 16)) for n in range(2, 32)
)
(
    TRCRSCTLR2,
    TRCRSCTLR3,
    TRCRSCTLR4,
    TRCRSCTLR5,
    TRCRSCTLR6,
    TRCRSCTLR7,
    TRCRSCTLR8,
    TRCRSCTLR9,
    TRCRSCTLR10,
    TRCRSCTLR11,
    TRCRSCTLR12,
    TRCRSCTLR13,
    TRCRSCTLR14,
    TRCRSCTLR15,
    TRCRSCTLR16,
    TRCRSCTLR17,
    TRCRSCTLR18,
    TRCRSCTLR19,
    TRCRSCTLR20,
    TRCRSCTLR21,
    TRCRSCTLR22,
    TRCRSCTLR23,
    TRCRSCTLR24,
    TRCRSCTLR25,
    TRCRSCTLR26,
    TRCRSCTLR27,
    TRCRSCTLR28,
    TRCRSCTLR29,
    TRCRSCTLR30,
    TRCRSCTLR31,
) = TRCRSCTLRn


SPMCGCR0_EL1 = derive(Value_ELx, "SPMCGCR0_EL1", Encoding(2, 0, 9, 13, 0), access="RO")
SPMCGCR1_EL1 = derive(Value_ELx, "SPMCGCR1_EL1", Encoding(2, 0, 9, 13, 1), access="RO")
SPMACCESSR_EL1 = derive(Value_ELx, "SPMACCESSR_EL1", Encoding(2, 0, 9, 13, 3), e2h="SPMACCESSR_EL2")
SPMIIDR_EL1 = derive(Value_ELx, "SPMIIDR_EL1", Encoding(2, 0, 9, 13, 4), access="RO")
SPMDEVARCH_EL1 = derive(Value_ELx, "SPMDEVARCH_EL1", Encoding(2, 0, 9, 13, 5), access="RO")
SPMDEVAFF_EL1 = derive(Value_ELx, "SPMDEVAFF_EL1", Encoding(2, 0, 9, 13, 6), access="RO")
SPMCFGR_EL1 = derive(Value_ELx, "SPMCFGR_EL1", Encoding(2, 0, 9, 13, 7), access="RO")
SPMINTENSET_EL1 = derive(Value_ELx, "SPMINTENSET_EL1", Encoding(2, 0, 9, 14, 1))
SPMINTENCLR_EL1 = derive(Value_ELx, "SPMINTENCLR_EL1", Encoding(2, 0, 9, 14, 2))
SPMCR_EL0 = derive(Value_ELx, "SPMCR_EL0", Encoding(2, 3, 9, 12, 0))
SPMCNTENSET_EL0 = derive(Value_ELx, "SPMCNTENSET_EL0", Encoding(2, 3, 9, 12, 1))
SPMCNTENCLR_EL0 = derive(Value_ELx, "SPMCNTENCLR_EL0", Encoding(2, 3, 9, 12, 2))
SPMOVSCLR_EL0 = derive(Value_ELx, "SPMOVSCLR_EL0", Encoding(2, 3, 9, 12, 3))
SPMZR_EL0 = derive(Value_ELx, "SPMZR_EL0", Encoding(2, 3, 9, 12, 4), access="WO")
SPMSELR_EL0 = derive(Value_ELx, "SPMSELR_EL0", Encoding(2, 3, 9, 12, 5))
SPMOVSSET_EL0 = derive(Value_ELx, "SPMOVSSET_EL0", Encoding(2, 3, 9, 14, 3))
SPMSCR_EL1 = derive(Value_ELx, "SPMSCR_EL1", Encoding(2, 7, 9, 14, 7))
SPMACCESSR_EL2 = derive(Value_ELx, "SPMACCESSR_EL2", Encoding(2, 4, 9, 13, 3))
SPMACCESSR_EL12 = derive(
    Value_ELx, "SPMACCESSR_EL12", Encoding(2, 5, 9, 13, 3), alias_of="SPMACCESSR_EL1"
)

SPMEVCNTRn_EL0 = tuple(
    derive(Value_ELx, f"SPMEVCNTR{n}_EL0", Encoding(2, 3, 14, 0 + n // 8, n % 8)) for n in range(16)
)
(
    SPMEVCNTR0_EL0,
    SPMEVCNTR1_EL0,
    SPMEVCNTR2_EL0,
    SPMEVCNTR3_EL0,
    SPMEVCNTR4_EL0,
    SPMEVCNTR5_EL0,
    SPMEVCNTR6_EL0,
    SPMEVCNTR7_EL0,
    SPMEVCNTR8_EL0,
    SPMEVCNTR9_EL0,
    SPMEVCNTR10_EL0,
    SPMEVCNTR11_EL0,
    SPMEVCNTR12_EL0,
    SPMEVCNTR13_EL0,
    SPMEVCNTR14_EL0,
    SPMEVCNTR15_EL0,
) = SPMEVCNTRn_EL0

SPMEVTYPERn_EL0 = tuple(
    derive(Value_ELx, f"SPMEVTYPER{n}_EL0", Encoding(2, 3, 14, 2 + n // 8, n % 8))
    for n in range(16)
)
(
    SPMEVTYPER0_EL0,
    SPMEVTYPER1_EL0,
    SPMEVTYPER2_EL0,
    SPMEVTYPER3_EL0,
    SPMEVTYPER4_EL0,
    SPMEVTYPER5_EL0,
    SPMEVTYPER6_EL0,
    SPMEVTYPER7_EL0,
    SPMEVTYPER8_EL0,
    SPMEVTYPER9_EL0,
    SPMEVTYPER10_EL0,
    SPMEVTYPER11_EL0,
    SPMEVTYPER12_EL0,
    SPMEVTYPER13_EL0,
    SPMEVTYPER14_EL0,
    SPMEVTYPER15_EL0,
) = SPMEVTYPERn_EL0

SPMEVFILTRn_EL0 = tuple(
    derive(Value_ELx, f"SPMEVFILTR{n}_EL0", Encoding(2, 3, 14, 4 + n // 8, n % 8))
    for n in range(16)
)
(
    SPMEVFILTR0_EL0,
    SPMEVFILTR1_EL0,
    SPMEVFILTR2_EL0,
    SPMEVFILTR3_EL0,
    SPMEVFILTR4_EL0,
    SPMEVFILTR5_EL0,
    SPMEVFILTR6_EL0,
    SPMEVFILTR7_EL0,
    SPMEVFILTR8_EL0,
    SPMEVFILTR9_EL0,
    SPMEVFILTR10_EL0,
    SPMEVFILTR11_EL0,
    SPMEVFILTR12_EL0,
    SPMEVFILTR13_EL0,
    SPMEVFILTR14_EL0,
    SPMEVFILTR15_EL0,
) = SPMEVFILTRn_EL0

SPMEVFILT2Rn_EL0 = tuple(
    derive(Value_ELx, f"SPMEVFILT2R{n}_EL0", Encoding(2, 3, 14, 6 + n // 8, n % 8))
    for n in range(16)
)
(
    SPMEVFILT2R0_EL0,
    SPMEVFILT2R1_EL0,
    SPMEVFILT2R2_EL0,
    SPMEVFILT2R3_EL0,
    SPMEVFILT2R4_EL0,
    SPMEVFILT2R5_EL0,
    SPMEVFILT2R6_EL0,
    SPMEVFILT2R7_EL0,
    SPMEVFILT2R8_EL0,
    SPMEVFILT2R9_EL0,
    SPMEVFILT2R10_EL0,
    SPMEVFILT2R11_EL0,
    SPMEVFILT2R12_EL0,
    SPMEVFILT2R13_EL0,
    SPMEVFILT2R14_EL0,
    SPMEVFILT2R15_EL0,
) = SPMEVFILT2Rn_EL0


SCTLRMASK_EL1 = derive(Value_ELx, "SCTLRMASK_EL1", Encoding(3, 0, 1, 4, 0))
ACTLRMASK_EL1 = derive(Value_ELx, "ACTLRMASK_EL1", Encoding(3, 0, 1, 4, 1))
CPACRMASK_EL1 = derive(Value_ELx, "CPACRMASK_EL1", Encoding(3, 0, 1, 4, 2))
SCTLR2MASK_EL1 = derive(Value_ELx, "SCTLR2MASK_EL1", Encoding(3, 0, 1, 4, 3))
CPACRALIAS_EL1 = derive(Value_ELx, "CPACRALIAS_EL1", Encoding(3, 0, 1, 4, 4))
ACTLRALIAS_EL1 = derive(Value_ELx, "ACTLRALIAS_EL1", Encoding(3, 0, 1, 4, 5))
SCTLRALIAS_EL1 = derive(Value_ELx, "SCTLRALIAS_EL1", Encoding(3, 0, 1, 4, 6))
SCTLR2ALIAS_EL1 = derive(Value_ELx, "SCTLR2ALIAS_EL1", Encoding(3, 0, 1, 4, 7))
TCRMASK_EL1 = derive(Value_ELx, "TCRMASK_EL1", Encoding(3, 0, 2, 7, 2))
TCR2MASK_EL1 = derive(Value_ELx, "TCR2MASK_EL1", Encoding(3, 0, 2, 7, 3))
TCRALIAS_EL1 = derive(Value_ELx, "TCRALIAS_EL1", Encoding(3, 0, 2, 7, 6))
TCR2ALIAS_EL1 = derive(Value_ELx, "TCR2ALIAS_EL1", Encoding(3, 0, 2, 7, 7))
