"""ESR_ELx: exception classes, the ISS of each, and fault status codes."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import NamedTuple

from vel2.arch.bits import Field, Layout, Res0, Unknown


class EC(IntEnum):
    """ESR_ELx.EC. LOWER and SAME say where the exception came from, as the Arm ARM does."""

    UNKNOWN = 0x00
    WFX = 0x01
    CP15_32 = 0x03
    CP15_64 = 0x04
    CP14_32 = 0x05
    CP14_LS = 0x06
    FP_ASIMD = 0x07
    CP10_ID = 0x08
    PAC = 0x09
    OTHER = 0x0A
    CP14_64 = 0x0C
    BTI = 0x0D
    ILLEGAL_STATE = 0x0E
    SVC32 = 0x11
    HVC32 = 0x12
    SMC32 = 0x13
    SYS128 = 0x14
    SVC64 = 0x15
    HVC64 = 0x16
    SMC64 = 0x17
    SYS64 = 0x18
    SVE = 0x19
    ERET = 0x1A
    TSTART = 0x1B
    FPAC = 0x1C
    SME = 0x1D
    GPC = 0x1E
    IMPDEF_EL3 = 0x1F
    IABT_LOWER = 0x20
    IABT_SAME = 0x21
    PC_ALIGN = 0x22
    DABT_LOWER = 0x24
    DABT_SAME = 0x25
    SP_ALIGN = 0x26
    MOPS = 0x27
    FP_EXC32 = 0x28
    FP_EXC64 = 0x2C
    GCS = 0x2D
    SERROR = 0x2F
    BREAKPOINT_LOWER = 0x30
    BREAKPOINT_SAME = 0x31
    SOFTSTEP_LOWER = 0x32
    SOFTSTEP_SAME = 0x33
    WATCHPOINT_LOWER = 0x34
    WATCHPOINT_SAME = 0x35
    BKPT32 = 0x38
    VECTOR32 = 0x3A
    BRK64 = 0x3C
    PROFILING = 0x3D
    # Not allocated by the Arm ARM; Apple cores report IMPLEMENTATION DEFINED traps with it.
    IMPDEF = 0x3F


class FSC(IntEnum):
    """Fault status codes (DFSC, IFSC, PAR_EL1.FST); add the level to the first four and walks."""

    ADDRESS_SIZE = 0x00
    TRANSLATION = 0x04
    ACCESS_FLAG = 0x08
    PERMISSION = 0x0C
    SYNC_EXTERNAL = 0x10
    SYNC_TAG_CHECK = 0x11
    SYNC_EXTERNAL_WALK_M1 = 0x13
    SYNC_EXTERNAL_WALK = 0x14
    SYNC_PARITY = 0x18
    SYNC_PARITY_WALK_M1 = 0x1B
    SYNC_PARITY_WALK = 0x1C
    ALIGNMENT = 0x21
    DEBUG = 0x22
    GPF_WALK_M1 = 0x23
    GPF_WALK = 0x24
    GPF = 0x28
    ADDRESS_SIZE_M1 = 0x29
    TRANSLATION_M2 = 0x2A
    TRANSLATION_M1 = 0x2B
    ADDRESS_SIZE_M2 = 0x2C
    TLB_CONFLICT = 0x30
    UNSUPPORTED_ATOMIC = 0x31
    LOCKDOWN = 0x34
    UNSUPPORTED_EXCLUSIVE = 0x35


FSC_LEVEL = 0b11
"""The bits of a fault status code that hold the level, where there is one."""
FSC_ASYNC_SERROR = 0x11
"""DFSC of an SError (EC 0x2F); the same number means a tag check fault in an abort."""


def fault_level(fsc: int) -> int | None:
    """Give the table level a fault status code reports, or None if it reports none."""
    low = {
        FSC.SYNC_EXTERNAL_WALK_M1: -1,
        FSC.SYNC_PARITY_WALK_M1: -1,
        FSC.GPF_WALK_M1: -1,
        FSC.ADDRESS_SIZE_M1: -1,
        FSC.TRANSLATION_M1: -1,
        FSC.TRANSLATION_M2: -2,
        FSC.ADDRESS_SIZE_M2: -2,
    }
    if fsc in low:
        return low[FSC(fsc)]
    walks = (
        FSC.ADDRESS_SIZE,
        FSC.TRANSLATION,
        FSC.ACCESS_FLAG,
        FSC.PERMISSION,
        FSC.SYNC_EXTERNAL_WALK,
        FSC.SYNC_PARITY_WALK,
        FSC.GPF_WALK,
    )
    return fsc & FSC_LEVEL if fsc & ~FSC_LEVEL in walks else None


class ESR_ELx(Layout):
    """Layout that ESR_EL1 and ESR_EL2 share."""

    _63 = Res0(63, 56)
    ISS2 = Field(55, 32)
    EC = Field(31, 26, EC)
    IL = Field(25)
    ISS = Field(24, 0)


class ISS_NONE(Layout, width=25):
    """No syndrome: EC UNKNOWN, PAC, ILLEGAL_STATE, SVE, PC_ALIGN, SP_ALIGN and others."""

    _24 = Res0(24, 0)


class ISS_ANY(Layout, width=25):
    """Syndrome that is IMPLEMENTATION DEFINED."""

    IMPDEF = Unknown(24, 0)


class ISS_WFX(Layout, width=25):
    """A trapped WFI, WFE, WFIT or WFET."""

    CV = Field(24)
    COND = Field(23, 20)
    _19 = Res0(19, 10)
    RN = Field(9, 5)
    _4 = Res0(4, 3)
    RV = Field(2)
    TI = Field(1, 0)


class ISS_CP_32(Layout, width=25):
    """A trapped AArch32 MCR or MRC."""

    CV = Field(24)
    COND = Field(23, 20)
    Opc2 = Field(19, 17)
    Opc1 = Field(16, 14)
    CRn = Field(13, 10)
    Rt = Field(9, 5)
    CRm = Field(4, 1)
    Direction = Field(0)


class ISS_CP_64(Layout, width=25):
    """A trapped AArch32 MCRR or MRRC."""

    CV = Field(24)
    COND = Field(23, 20)
    Opc1 = Field(19, 16)
    _15 = Res0(15)
    Rt2 = Field(14, 10)
    Rt = Field(9, 5)
    CRm = Field(4, 1)
    Direction = Field(0)


class ISS_CP_LS(Layout, width=25):
    """A trapped AArch32 LDC or STC."""

    CV = Field(24)
    COND = Field(23, 20)
    imm8 = Field(19, 12)
    _11 = Res0(11, 10)
    Rn = Field(9, 5)
    Offset = Field(4)
    AM = Field(3, 1)
    Direction = Field(0)


class ISS_FP(Layout, width=25):
    """A trapped FP or Advanced SIMD instruction; CV and COND matter to AArch32 only."""

    CV = Field(24)
    COND = Field(23, 20)
    _19 = Res0(19, 0)


class ISS_OTHER(Layout, width=25):
    """EC 0x0A: which of LD64B, ST64B*, TSB CSYNC, PSB CSYNC and the like trapped."""

    ISS = Field(24, 0)


class ISS_BTI(Layout, width=25):
    """A Branch Target exception."""

    _24 = Res0(24, 2)
    BTYPE = Field(1, 0)


class ISS_HVC(Layout, width=25):
    """SVC, HVC or SMC from AArch64 (for SVC32 and HVC32 too)."""

    _24 = Res0(24, 16)
    imm16 = Field(15, 0)


class ISS_SMC32(Layout, width=25):
    """SMC from AArch32."""

    CV = Field(24)
    COND = Field(23, 20)
    CCKNOWNPASS = Field(19)
    _18 = Res0(18, 0)


class ISS_SYS64(Layout, width=25):
    """A trapped MSR, MRS or system instruction; Direction is 1 for a read."""

    _24 = Res0(24, 22)
    Op0 = Field(21, 20)
    Op2 = Field(19, 17)
    Op1 = Field(16, 14)
    CRn = Field(13, 10)
    Rt = Field(9, 5)
    CRm = Field(4, 1)
    Direction = Field(0)


class ISS_SYS128(Layout, width=25):
    """A trapped MSRR, MRRS or 128-bit system instruction; registers Rt*2 and Rt*2+1."""

    _24 = Res0(24, 22)
    Op0 = Field(21, 20)
    Op2 = Field(19, 17)
    Op1 = Field(16, 14)
    CRn = Field(13, 10)
    Rt = Field(9, 6)
    _5 = Res0(5)
    CRm = Field(4, 1)
    Direction = Field(0)


class ISS_ERET(Layout, width=25):
    """A trapped ERET: ERET is 1 for ERETAA and ERETAB, ERETA is then the key (1 is B)."""

    _24 = Res0(24, 2)
    ERET = Field(1)
    ERETA = Field(0)


class ISS_TSTART(Layout, width=25):
    """A trapped TSTART."""

    _24 = Res0(24, 10)
    Rd = Field(9, 5)
    _4 = Res0(4, 0)


class ISS_FPAC(Layout, width=25):
    """A failed pointer authentication: data or instruction key, A or B."""

    _24 = Res0(24, 2)
    DnI = Field(1)
    BnA = Field(0)


class ISS_SME(Layout, width=25):
    """A trapped SME, or illegal in this mode, instruction."""

    _24 = Res0(24, 3)
    SMTC = Field(2, 0)


class ISS_GPC(Layout, width=25):
    """A Granule Protection Check exception."""

    _24 = Res0(24, 22)
    S2PTW = Field(21)
    InD = Field(20)
    GPCSC = Field(19, 14)
    VNCR = Field(13)
    _12 = Res0(12, 9)
    CM = Field(8)
    S1PTW = Field(7)
    WnR = Field(6)
    xFSC = Field(5, 0)


class ISS_IABT(Layout, width=25):
    """An Instruction Abort."""

    _24 = Res0(24, 15)
    PFV = Field(14)
    _13 = Res0(13)
    SET = Field(12, 11)
    FnV = Field(10)
    EA = Field(9)
    _8 = Res0(8)
    S1PTW = Field(7)
    _6 = Res0(6)
    IFSC = Field(5, 0, FSC)


class ISS_DABT(Layout, width=25):
    """A Data Abort; SAS to AR are only meaningful with ISV. AR is PFV without ISV, SET is LST."""

    ISV = Field(24)
    SAS = Field(23, 22)
    SSE = Field(21)
    SRT = Field(20, 16)
    SF = Field(15)
    AR = Field(14)
    VNCR = Field(13)
    SET = Field(12, 11)
    FnV = Field(10)
    EA = Field(9)
    CM = Field(8)
    S1PTW = Field(7)
    WnR = Field(6)
    DFSC = Field(5, 0, FSC)


class ISS_MOPS(Layout, width=25):
    """A Memory Copy or Memory Set exception."""

    MemInst = Field(24)
    isSETG = Field(23)
    Options = Field(22, 19)
    FromEpilogue = Field(18)
    WrongOption = Field(17)
    OptionA = Field(16)
    _15 = Res0(15)
    destreg = Field(14, 10)
    srcreg = Field(9, 5)
    sizereg = Field(4, 0)


class ISS_FP_EXC(Layout, width=25):
    """A trapped floating-point exception."""

    _24 = Res0(24)
    TFV = Field(23)
    _22 = Res0(22, 11)
    VECITR = Field(10, 8)
    IDF = Field(7)
    _6 = Res0(6, 5)
    IXF = Field(4)
    UFF = Field(3)
    OFF = Field(2)
    DZF = Field(1)
    IOF = Field(0)


class ISS_GCS(Layout, width=25):
    """A Guarded Control Stack exception."""

    _24 = Res0(24)
    ExType = Field(23, 20)
    _19 = Res0(19, 15)
    Raddr = Field(14, 10)
    Rvalue = Field(9, 5)
    IT = Field(4, 0)


class ISS_SERROR(Layout, width=25):
    """An SError; with IDS the rest is IMPLEMENTATION DEFINED."""

    IDS = Field(24)
    _23 = Res0(23, 18)
    WU = Field(17, 16)
    VFV = Field(15)
    PFV = Field(14)
    IESB = Field(13)
    AET = Field(12, 10)
    EA = Field(9)
    _8 = Res0(8)
    WnRV = Field(7)
    WnR = Field(6)
    DFSC = Field(5, 0)


class ISS_BREAKPOINT(Layout, width=25):
    """A Breakpoint or Vector Catch."""

    _24 = Res0(24, 6)
    IFSC = Field(5, 0, FSC)


class ISS_SOFTSTEP(Layout, width=25):
    """A Software Step; EX says a Load-Exclusive was stepped."""

    ISV = Field(24)
    _23 = Res0(23, 7)
    EX = Field(6)
    IFSC = Field(5, 0, FSC)


class ISS_WATCHPOINT(Layout, width=25):
    """A Watchpoint."""

    _24 = Res0(24)
    WPT = Field(23, 18)
    WPTV = Field(17)
    WPF = Field(16)
    FnP = Field(15)
    _14 = Res0(14)
    VNCR = Field(13)
    _12 = Res0(12, 11)
    FnV = Field(10)
    _9 = Res0(9)
    CM = Field(8)
    _7 = Res0(7)
    WnR = Field(6)
    DFSC = Field(5, 0, FSC)


class ISS_BRK(Layout, width=25):
    """BRK from AArch64, BKPT from AArch32: the instruction's immediate."""

    _24 = Res0(24, 16)
    Comment = Field(15, 0)


class ISS_PROFILING(Layout, width=25):
    """A PMU Profiling exception; SYNC says it is precise."""

    _24 = Res0(24, 1)
    SYNC = Field(0)


class ECRow(NamedTuple):
    """What one exception class carries besides ESR, ELR and SPSR."""

    value: int
    name: str
    iss: type[Layout]
    far: bool
    """FAR_ELx is written (unless the ISS says FnV)."""


UNALLOCATED = "UNALLOCATED"

_ISS: dict[EC, type[Layout]] = {
    EC.WFX: ISS_WFX,
    EC.CP15_32: ISS_CP_32,
    EC.CP15_64: ISS_CP_64,
    EC.CP14_32: ISS_CP_32,
    EC.CP14_LS: ISS_CP_LS,
    EC.FP_ASIMD: ISS_FP,
    EC.CP10_ID: ISS_CP_32,
    EC.OTHER: ISS_OTHER,
    EC.CP14_64: ISS_CP_64,
    EC.BTI: ISS_BTI,
    EC.SVC32: ISS_HVC,
    EC.HVC32: ISS_HVC,
    EC.SMC32: ISS_SMC32,
    EC.SYS128: ISS_SYS128,
    EC.SVC64: ISS_HVC,
    EC.HVC64: ISS_HVC,
    EC.SMC64: ISS_HVC,
    EC.SYS64: ISS_SYS64,
    EC.ERET: ISS_ERET,
    EC.TSTART: ISS_TSTART,
    EC.FPAC: ISS_FPAC,
    EC.SME: ISS_SME,
    EC.GPC: ISS_GPC,
    EC.IMPDEF_EL3: ISS_ANY,
    EC.IABT_LOWER: ISS_IABT,
    EC.IABT_SAME: ISS_IABT,
    EC.DABT_LOWER: ISS_DABT,
    EC.DABT_SAME: ISS_DABT,
    EC.MOPS: ISS_MOPS,
    EC.FP_EXC32: ISS_FP_EXC,
    EC.FP_EXC64: ISS_FP_EXC,
    EC.GCS: ISS_GCS,
    EC.SERROR: ISS_SERROR,
    EC.BREAKPOINT_LOWER: ISS_BREAKPOINT,
    EC.BREAKPOINT_SAME: ISS_BREAKPOINT,
    EC.SOFTSTEP_LOWER: ISS_SOFTSTEP,
    EC.SOFTSTEP_SAME: ISS_SOFTSTEP,
    EC.WATCHPOINT_LOWER: ISS_WATCHPOINT,
    EC.WATCHPOINT_SAME: ISS_WATCHPOINT,
    EC.BKPT32: ISS_BRK,
    EC.VECTOR32: ISS_BREAKPOINT,
    EC.BRK64: ISS_BRK,
    EC.PROFILING: ISS_PROFILING,
    EC.IMPDEF: ISS_ANY,
}

_WRITES_FAR = {
    EC.GPC,
    EC.IABT_LOWER,
    EC.IABT_SAME,
    EC.PC_ALIGN,
    EC.DABT_LOWER,
    EC.DABT_SAME,
    EC.WATCHPOINT_LOWER,
    EC.WATCHPOINT_SAME,
}


def _ec_row(value: int) -> ECRow:
    if value not in set(EC):
        return ECRow(value, UNALLOCATED, ISS_NONE, False)
    ec = EC(value)
    return ECRow(value, ec.name, _ISS.get(ec, ISS_NONE), ec in _WRITES_FAR)


EC_ROWS: tuple[ECRow, ...] = tuple(_ec_row(value) for value in range(64))
"""One row per value of ESR_ELx.EC, in order; unused values are named UNALLOCATED."""


def describe_fsc(fsc: int) -> str:
    """Show a fault status code for humans: `TRANSLATION level 3`, or its number."""
    level = fault_level(fsc)
    if fsc in set(FSC) and level is None:
        return FSC(fsc).name
    if level is None:
        return f"{fsc:#x}"
    base = FSC(fsc) if level < 0 else FSC(fsc & ~3)
    return f"{re.sub('_M[12]$', '', base.name)} level {level}"


def describe_esr(esr: int) -> str:
    """Show an ESR_ELx value for humans: class, then its syndrome by that class's layout."""
    row = EC_ROWS[ESR_ELx.EC.get(esr)]
    iss = ESR_ELx.ISS.get(esr)
    parts = [f"EC {row.value:#04x} {row.name}"]
    if not ESR_ELx.IL.get(esr):
        parts.append("IL=0")
    for field in row.iss.fields:
        if field.enum is FSC:
            parts.append(describe_fsc(field.get(iss)))
            iss = field.set(iss, 0)
    if iss:
        parts.append(row.iss.describe(iss))
    if iss2 := ESR_ELx.ISS2.get(esr):
        parts.append(f"ISS2={iss2:#x}")
    return " ".join(parts)
