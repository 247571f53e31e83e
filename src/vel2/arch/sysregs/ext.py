"""Extensions: RAS, MTE, GCS, MPAM, activity monitors, SVE and SME, read-check-write, masks."""

from __future__ import annotations

from vel2.arch.bits import Encoding, Field, Register, Res0, derive
from vel2.arch.sysregs.el1 import Value_ELx


class ERRIDR_EL1(Register, op0=3, op1=0, CRn=5, CRm=3, op2=0, access="RO"):
    """Number of error records."""

    _63 = Res0(63, 16)
    NUM = Field(15, 0)


class ERRSELR_EL1(Register, op0=3, op1=0, CRn=5, CRm=3, op2=1):
    """Error record the ERX registers reach."""

    _63 = Res0(63, 16)
    SEL = Field(15, 0)


class ERXGSR_EL1(Value_ELx, op0=3, op1=0, CRn=5, CRm=3, op2=2, access="RO"):
    """Group status of the selected error record."""


class ERXFR_EL1(Value_ELx, op0=3, op1=0, CRn=5, CRm=4, op2=0, access="RO"):
    """Features of the selected error record."""


class ERXCTLR_EL1(Value_ELx, op0=3, op1=0, CRn=5, CRm=4, op2=1):
    """Control of the selected error record."""


class ERXSTATUS_EL1(Value_ELx, op0=3, op1=0, CRn=5, CRm=4, op2=2):
    """Status of the selected error record."""


class ERXADDR_EL1(Value_ELx, op0=3, op1=0, CRn=5, CRm=4, op2=3):
    """Address of the selected error record."""


class ERXPFGF_EL1(Value_ELx, op0=3, op1=0, CRn=5, CRm=4, op2=4, access="RO"):
    """Fault generation features."""


class ERXPFGCTL_EL1(Value_ELx, op0=3, op1=0, CRn=5, CRm=4, op2=5):
    """Fault generation control."""


class ERXPFGCDN_EL1(Value_ELx, op0=3, op1=0, CRn=5, CRm=4, op2=6):
    """Fault generation countdown."""


class ERXMISC0_EL1(Value_ELx, op0=3, op1=0, CRn=5, CRm=5, op2=0):
    """Miscellaneous 0 of the selected error record."""


class ERXMISC1_EL1(Value_ELx, op0=3, op1=0, CRn=5, CRm=5, op2=1):
    """Miscellaneous 1 of the selected error record."""


class ERXMISC2_EL1(Value_ELx, op0=3, op1=0, CRn=5, CRm=5, op2=2):
    """Miscellaneous 2 of the selected error record."""


class ERXMISC3_EL1(Value_ELx, op0=3, op1=0, CRn=5, CRm=5, op2=3):
    """Miscellaneous 3 of the selected error record."""


class RGSR_EL1(Register, op0=3, op1=0, CRn=1, CRm=0, op2=5):
    """Random tag seed."""

    _63 = Res0(63, 56)
    SEED = Field(55, 8)
    _7 = Res0(7, 4)
    TAG = Field(3, 0)


class GCR_EL1(Register, op0=3, op1=0, CRn=1, CRm=0, op2=6):
    """Tag control."""

    _63 = Res0(63, 17)
    RRND = Field(16)
    Exclude = Field(15, 0)


class TFSR_ELx(Register, family=True):
    """Layout of the tag fault status registers."""

    _63 = Res0(63, 2)
    TF1 = Field(1)
    TF0 = Field(0)


class TFSR_EL1(
    TFSR_ELx, op0=3, op1=0, CRn=5, CRm=6, op2=0, vncr=0x190, vncr_class="P", e2h="TFSR_EL2"
):
    """Tag fault status, EL1."""


class TFSR_EL2(TFSR_ELx, op0=3, op1=4, CRn=5, CRm=6, op2=0):
    """Tag fault status, EL2."""


class TFSRE0_EL1(Register, op0=3, op1=0, CRn=5, CRm=6, op2=1):
    """Tag fault status, EL0."""

    _63 = Res0(63, 2)
    TF1 = Field(1)
    TF0 = Field(0)


class GCSCR_ELx(Register, family=True):
    """Layout of the guarded control stack controls."""

    _63 = Res0(63, 10)
    STREn = Field(9)
    PUSHMEn = Field(8)
    _7 = Res0(7)
    EXLOCKEN = Field(6)
    RVCHKEN = Field(5)
    _4 = Res0(4, 1)
    PCRSEL = Field(0)


class GCSPR_ELx(Register, family=True):
    """Layout of the guarded control stack pointers."""

    PTR = Field(63, 3)
    _2 = Res0(2, 0)


class GCSCR_EL1(
    GCSCR_ELx, op0=3, op1=0, CRn=2, CRm=5, op2=0, vncr=0x8D0, vncr_class="P", e2h="GCSCR_EL2"
):
    """Guarded control stack control, EL1."""


class GCSPR_EL1(
    GCSPR_ELx, op0=3, op1=0, CRn=2, CRm=5, op2=1, vncr=0x8C0, vncr_class="P", e2h="GCSPR_EL2"
):
    """Guarded control stack pointer, EL1."""


class GCSCRE0_EL1(Register, op0=3, op1=0, CRn=2, CRm=5, op2=2):
    """Guarded control stack control, EL0."""

    _63 = Res0(63, 11)
    nTR = Field(10)
    STREn = Field(9)
    PUSHMEn = Field(8)
    _7 = Res0(7, 6)
    RVCHKEN = Field(5)
    _4 = Res0(4, 1)
    PCRSEL = Field(0)


class GCSPR_EL0(GCSPR_ELx, op0=3, op1=3, CRn=2, CRm=5, op2=1):
    """Guarded control stack pointer, EL0."""


class GCSCR_EL2(GCSCR_ELx, op0=3, op1=4, CRn=2, CRm=5, op2=0):
    """Guarded control stack control, EL2."""


class GCSPR_EL2(GCSPR_ELx, op0=3, op1=4, CRn=2, CRm=5, op2=1):
    """Guarded control stack pointer, EL2."""


class MPAMIDR_EL1(Register, op0=3, op1=0, CRn=10, CRm=4, op2=4, access="RO"):
    """MPAM ID."""

    _63 = Res0(63, 62)
    HAS_SDEFLT = Field(61)
    HAS_FORCE_NS = Field(60)
    SP4 = Field(59)
    HAS_TIDR = Field(58)
    HAS_ALTSP = Field(57)
    HAS_BW_CTRL = Field(56)
    _55 = Res0(55, 40)
    PMG_MAX = Field(39, 32)
    _31 = Res0(31, 23)
    HAS_INSTR_ALT_ID = Field(22)
    HAS_ALT_ID = Field(21)
    VPMR_MAX = Field(20, 18)
    HAS_HCR = Field(17)
    _16 = Res0(16)
    PARTID_MAX = Field(15, 0)


class MPAM1_EL1(
    Register, op0=3, op1=0, CRn=10, CRm=5, op2=0, vncr=0x900, vncr_class="P", e2h="MPAM2_EL2"
):
    """MPAM, EL1."""

    MPAMEN = Field(63)
    _62 = Res0(62, 61)
    FORCED_NS = Field(60)
    _59 = Res0(59, 55)
    ALTSP_FRCD = Field(54)
    _53 = Res0(53, 48)
    PMG_D = Field(47, 40)
    PMG_I = Field(39, 32)
    PARTID_D = Field(31, 16)
    PARTID_I = Field(15, 0)


class MPAM0_EL1(Register, op0=3, op1=0, CRn=10, CRm=5, op2=1):
    """MPAM, EL0."""

    _63 = Res0(63, 48)
    PMG_D = Field(47, 40)
    PMG_I = Field(39, 32)
    PARTID_D = Field(31, 16)
    PARTID_I = Field(15, 0)


class MPAMSM_EL1(Register, op0=3, op1=0, CRn=10, CRm=5, op2=3):
    """MPAM, SME."""

    _63 = Res0(63, 48)
    PMG_D = Field(47, 40)
    _39 = Res0(39, 32)
    PARTID_D = Field(31, 16)
    _15 = Res0(15, 0)


class MPAM2_EL2(Register, op0=3, op1=4, CRn=10, CRm=5, op2=0):
    """MPAM, EL2."""

    MPAMEN = Field(63)
    _62 = Res0(62, 59)
    TIDR = Field(58)
    _57 = Res0(57)
    ALTSP_HFC = Field(56)
    ALTSP_EL2 = Field(55)
    ALTSP_FRCD = Field(54)
    _53 = Res0(53, 51)
    EnMPAMSM = Field(50)
    TRAPMPAM0EL1 = Field(49)
    TRAPMPAM1EL1 = Field(48)
    PMG_D = Field(47, 40)
    PMG_I = Field(39, 32)
    PARTID_D = Field(31, 16)
    PARTID_I = Field(15, 0)


class MPAMHCR_EL2(Register, op0=3, op1=4, CRn=10, CRm=4, op2=0, vncr=0x930, vncr_class="A"):
    """MPAM hypervisor control."""

    _63 = Res0(63, 32)
    TRAP_MPAMIDR_EL1 = Field(31)
    _30 = Res0(30, 9)
    GSTAPP_PLK = Field(8)
    _7 = Res0(7, 2)
    EL1_VPMEN = Field(1)
    EL0_VPMEN = Field(0)


class MPAMVPMV_EL2(Register, op0=3, op1=4, CRn=10, CRm=4, op2=1, vncr=0x938, vncr_class="A"):
    """MPAM virtual PARTID valid."""

    _63 = Res0(63, 32)
    VPM_V = Field(31, 0)


class MPAMVPM_EL2(Register, family=True):
    """Layout of the MPAM virtual PARTID maps: PhyPARTID of 4n+3 down to 4n."""

    PARTID_3 = Field(63, 48)
    PARTID_2 = Field(47, 32)
    PARTID_1 = Field(31, 16)
    PARTID_0 = Field(15, 0)


class MPAMVPM0_EL2(MPAMVPM_EL2, op0=3, op1=4, CRn=10, CRm=6, op2=0, vncr=0x940, vncr_class="A"):
    """MPAM virtual PARTID map 0."""


class MPAMVPM1_EL2(MPAMVPM_EL2, op0=3, op1=4, CRn=10, CRm=6, op2=1, vncr=0x948, vncr_class="A"):
    """MPAM virtual PARTID map 1."""


class MPAMVPM2_EL2(MPAMVPM_EL2, op0=3, op1=4, CRn=10, CRm=6, op2=2, vncr=0x950, vncr_class="A"):
    """MPAM virtual PARTID map 2."""


class MPAMVPM3_EL2(MPAMVPM_EL2, op0=3, op1=4, CRn=10, CRm=6, op2=3, vncr=0x958, vncr_class="A"):
    """MPAM virtual PARTID map 3."""


class MPAMVPM4_EL2(MPAMVPM_EL2, op0=3, op1=4, CRn=10, CRm=6, op2=4, vncr=0x960, vncr_class="A"):
    """MPAM virtual PARTID map 4."""


class MPAMVPM5_EL2(MPAMVPM_EL2, op0=3, op1=4, CRn=10, CRm=6, op2=5, vncr=0x968, vncr_class="A"):
    """MPAM virtual PARTID map 5."""


class MPAMVPM6_EL2(MPAMVPM_EL2, op0=3, op1=4, CRn=10, CRm=6, op2=6, vncr=0x970, vncr_class="A"):
    """MPAM virtual PARTID map 6."""


class MPAMVPM7_EL2(MPAMVPM_EL2, op0=3, op1=4, CRn=10, CRm=6, op2=7, vncr=0x978, vncr_class="A"):
    """MPAM virtual PARTID map 7."""


class AMCR_EL0(Register, op0=3, op1=3, CRn=13, CRm=2, op2=0):
    """Activity monitors control."""

    _63 = Res0(63, 18)
    CG1RZ = Field(17)
    _16 = Res0(16, 11)
    HDBG = Field(10)
    _9 = Res0(9, 0)


class AMCFGR_EL0(Register, op0=3, op1=3, CRn=13, CRm=2, op2=1, access="RO"):
    """Activity monitors configuration."""

    _63 = Res0(63, 32)
    NCG = Field(31, 28)
    _27 = Res0(27, 25)
    HDBG = Field(24)
    _23 = Res0(23, 14)
    SIZE = Field(13, 8)
    N = Field(7, 0)


class AMCGCR_EL0(Register, op0=3, op1=3, CRn=13, CRm=2, op2=2, access="RO"):
    """Activity monitors counters, by group."""

    _63 = Res0(63, 16)
    CG1NC = Field(15, 8)
    CG0NC = Field(7, 0)


class AMUSERENR_EL0(Register, op0=3, op1=3, CRn=13, CRm=2, op2=3):
    """Activity monitors, EL0 access."""

    _63 = Res0(63, 1)
    EN = Field(0)


class AMCG1IDR_EL0(Register, op0=3, op1=3, CRn=13, CRm=2, op2=6, access="RO"):
    """Activity monitors group 1 ID."""

    _63 = Res0(63, 32)
    AMEVCNTOFF = Field(31, 16)
    AMEVCNTR = Field(15, 0)


class AMCNTEN_EL0(Register, family=True):
    """Layout of the activity monitor enables."""

    _63 = Res0(63, 16)
    P = Field(15, 0)


class AMCNTENCLR0_EL0(AMCNTEN_EL0, op0=3, op1=3, CRn=13, CRm=2, op2=4):
    """Activity monitors group 0, disable."""


class AMCNTENSET0_EL0(AMCNTEN_EL0, op0=3, op1=3, CRn=13, CRm=2, op2=5):
    """Activity monitors group 0, enable."""


class AMCNTENCLR1_EL0(AMCNTEN_EL0, op0=3, op1=3, CRn=13, CRm=3, op2=0):
    """Activity monitors group 1, disable."""


class AMCNTENSET1_EL0(AMCNTEN_EL0, op0=3, op1=3, CRn=13, CRm=3, op2=1):
    """Activity monitors group 1, enable."""


AMEVCNTR0n_EL0 = tuple(
    derive(Value_ELx, f"AMEVCNTR0{n}_EL0", Encoding(3, 3, 13, 4 + n // 8, n % 8)) for n in range(4)
)
(
    AMEVCNTR00_EL0,
    AMEVCNTR01_EL0,
    AMEVCNTR02_EL0,
    AMEVCNTR03_EL0,
) = AMEVCNTR0n_EL0

AMEVTYPER0n_EL0 = tuple(
    derive(Value_ELx, f"AMEVTYPER0{n}_EL0", Encoding(3, 3, 13, 6 + n // 8, n % 8), access="RO")
    for n in range(4)
)
(
    AMEVTYPER00_EL0,
    AMEVTYPER01_EL0,
    AMEVTYPER02_EL0,
    AMEVTYPER03_EL0,
) = AMEVTYPER0n_EL0

AMEVCNTR1n_EL0 = tuple(
    derive(Value_ELx, f"AMEVCNTR1{n}_EL0", Encoding(3, 3, 13, 12 + n // 8, n % 8))
    for n in range(16)
)
(
    AMEVCNTR10_EL0,
    AMEVCNTR11_EL0,
    AMEVCNTR12_EL0,
    AMEVCNTR13_EL0,
    AMEVCNTR14_EL0,
    AMEVCNTR15_EL0,
    AMEVCNTR16_EL0,
    AMEVCNTR17_EL0,
    AMEVCNTR18_EL0,
    AMEVCNTR19_EL0,
    AMEVCNTR110_EL0,
    AMEVCNTR111_EL0,
    AMEVCNTR112_EL0,
    AMEVCNTR113_EL0,
    AMEVCNTR114_EL0,
    AMEVCNTR115_EL0,
) = AMEVCNTR1n_EL0

AMEVTYPER1n_EL0 = tuple(
    derive(Value_ELx, f"AMEVTYPER1{n}_EL0", Encoding(3, 3, 13, 14 + n // 8, n % 8))
    for n in range(16)
)
(
    AMEVTYPER10_EL0,
    AMEVTYPER11_EL0,
    AMEVTYPER12_EL0,
    AMEVTYPER13_EL0,
    AMEVTYPER14_EL0,
    AMEVTYPER15_EL0,
    AMEVTYPER16_EL0,
    AMEVTYPER17_EL0,
    AMEVTYPER18_EL0,
    AMEVTYPER19_EL0,
    AMEVTYPER110_EL0,
    AMEVTYPER111_EL0,
    AMEVTYPER112_EL0,
    AMEVTYPER113_EL0,
    AMEVTYPER114_EL0,
    AMEVTYPER115_EL0,
) = AMEVTYPER1n_EL0

AMEVCNTVOFF0n_EL2 = tuple(
    derive(Value_ELx, f"AMEVCNTVOFF0{n}_EL2", Encoding(3, 4, 13, 8 + n // 8, n % 8))
    for n in range(16)
)
(
    AMEVCNTVOFF00_EL2,
    AMEVCNTVOFF01_EL2,
    AMEVCNTVOFF02_EL2,
    AMEVCNTVOFF03_EL2,
    AMEVCNTVOFF04_EL2,
    AMEVCNTVOFF05_EL2,
    AMEVCNTVOFF06_EL2,
    AMEVCNTVOFF07_EL2,
    AMEVCNTVOFF08_EL2,
    AMEVCNTVOFF09_EL2,
    AMEVCNTVOFF010_EL2,
    AMEVCNTVOFF011_EL2,
    AMEVCNTVOFF012_EL2,
    AMEVCNTVOFF013_EL2,
    AMEVCNTVOFF014_EL2,
    AMEVCNTVOFF015_EL2,
) = AMEVCNTVOFF0n_EL2

AMEVCNTVOFF1n_EL2 = tuple(
    derive(Value_ELx, f"AMEVCNTVOFF1{n}_EL2", Encoding(3, 4, 13, 10 + n // 8, n % 8))
    for n in range(16)
)
(
    AMEVCNTVOFF10_EL2,
    AMEVCNTVOFF11_EL2,
    AMEVCNTVOFF12_EL2,
    AMEVCNTVOFF13_EL2,
    AMEVCNTVOFF14_EL2,
    AMEVCNTVOFF15_EL2,
    AMEVCNTVOFF16_EL2,
    AMEVCNTVOFF17_EL2,
    AMEVCNTVOFF18_EL2,
    AMEVCNTVOFF19_EL2,
    AMEVCNTVOFF110_EL2,
    AMEVCNTVOFF111_EL2,
    AMEVCNTVOFF112_EL2,
    AMEVCNTVOFF113_EL2,
    AMEVCNTVOFF114_EL2,
    AMEVCNTVOFF115_EL2,
) = AMEVCNTVOFF1n_EL2


class ZCR_ELx(Register, family=True):
    """Layout of the SVE controls."""

    _63 = Res0(63, 4)
    LEN = Field(3, 0)


class ZCR_EL1(
    ZCR_ELx, op0=3, op1=0, CRn=1, CRm=2, op2=0, vncr=0x1E0, vncr_class="P", e2h="ZCR_EL2"
):
    """SVE vector length, EL1."""


class ZCR_EL2(ZCR_ELx, op0=3, op1=4, CRn=1, CRm=2, op2=0):
    """SVE vector length, EL2."""


class SMCR_ELx(Register, family=True):
    """Layout of the SME controls."""

    _63 = Res0(63, 32)
    FA64 = Field(31)
    EZT0 = Field(30)
    _29 = Res0(29, 4)
    LEN = Field(3, 0)


class SMCR_EL1(
    SMCR_ELx, op0=3, op1=0, CRn=1, CRm=2, op2=6, vncr=0x1F0, vncr_class="P", e2h="SMCR_EL2"
):
    """SME control, EL1."""


class SMCR_EL2(SMCR_ELx, op0=3, op1=4, CRn=1, CRm=2, op2=6):
    """SME control, EL2."""


class SMPRI_EL1(Register, op0=3, op1=0, CRn=1, CRm=2, op2=4):
    """Streaming priority."""

    _63 = Res0(63, 4)
    Priority = Field(3, 0)


class SMPRIMAP_EL2(Register, op0=3, op1=4, CRn=1, CRm=2, op2=5, vncr=0x1F8, vncr_class="A"):
    """Streaming priority map."""

    P15 = Field(63, 60)
    P14 = Field(59, 56)
    P13 = Field(55, 52)
    P12 = Field(51, 48)
    P11 = Field(47, 44)
    P10 = Field(43, 40)
    P9 = Field(39, 36)
    P8 = Field(35, 32)
    P7 = Field(31, 28)
    P6 = Field(27, 24)
    P5 = Field(23, 20)
    P4 = Field(19, 16)
    P3 = Field(15, 12)
    P2 = Field(11, 8)
    P1 = Field(7, 4)
    P0 = Field(3, 0)


class SVCR(Register, op0=3, op1=3, CRn=4, CRm=2, op2=2):
    """Streaming mode and ZA."""

    _63 = Res0(63, 2)
    ZA = Field(1)
    SM = Field(0)


class RCWMASK_EL1(Value_ELx, op0=3, op1=0, CRn=13, CRm=0, op2=6):
    """Bits a read-check-write may change."""


class RCWSMASK_EL1(Value_ELx, op0=3, op1=0, CRn=13, CRm=0, op2=3):
    """Bits a software read-check-write may change."""
