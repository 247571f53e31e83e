"""What payload `traps` tries: every access by every control bit.

An *access* is one instruction of L2: an MRS and an MSR of each register that `arch` knows, each
system instruction, samples of unallocated encodings, and the other instructions that EL2 can trap.
A *control* is one register of EL2 with one bit changed from a value that traps nothing, or a field
of several bits with one of its values. Both are numbered, and payload and host share the numbers.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from vel2.arch import insn
from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding, Field, Register
from vel2.arch.pstate import PSTATE_DAIF, M_EL1h
from vel2.check.payloads.layout import ARENA
from vel2.check.payloads.library.assembly import SCTLR_OFF

MRS, MSR_SYS, RT = 0xD520_0000, 0xD500_0000, 1
"""The operand of every access is x1."""


class Phase(IntEnum):
    """Where the accesses are made."""

    EL1 = 0
    EL0 = 1
    HOST_EL0 = 2
    """EL0 below EL2: HCR_EL2.TGE=1."""


class Access(NamedTuple):
    """One instruction of L2, with the words directly before it and its x1."""

    name: str
    words: tuple[int, ...]
    value: int | str
    """A number, or a label of the payload."""
    encoding: Encoding | None
    in_el0: bool


SCTLR_TRAPS = SCTLR_OFF | sr.SCTLR_EL1.compose(
    UMA=1, DZE=1, UCT=1, nTWI=1, nTWE=1, UCI=1, EnRCTX=1, EnIA=1, EnIB=1, EnDA=1, EnDB=1, MSCEn=1
)
"""Allows EL0 everything, MMU off."""
CPACR_TRAPS = sr.CPACR_EL1.compose(FPEN=3, ZEN=3, SMEN=3)
CNTKCTL_TRAPS = sr.CNTHCTL_EL2_E2H.compose(EL0PCTEN=1, EL0VCTEN=1, EL0VTEN=1, EL0PTEN=1)
PMUSERENR_TRAPS = sr.PMUSERENR_EL0.compose(EN=1, SW=1, CR=1, ER=1)
SPURIOUS = 1023

WRITTEN: dict[str, int | str] = {
    "SCTLR_EL1": SCTLR_TRAPS,
    "CPACR_EL1": CPACR_TRAPS,
    "CNTKCTL_EL1": CNTKCTL_TRAPS,
    "PMUSERENR_EL0": PMUSERENR_TRAPS,
    "VBAR_EL1": "traps_el1_vectors",
    "DAIF": PSTATE_DAIF,
    "SPSel": 1,
    "SPSR_EL1": PSTATE_DAIF | M_EL1h,
    "ICC_SRE_EL1": 7,
    "ICC_EOIR0_EL1": SPURIOUS,
    "ICC_EOIR1_EL1": SPURIOUS,
    "ICC_DIR_EL1": SPURIOUS,
}
"""What is written to registers where 0 would change later accesses."""

UNDEFINED_ENCODINGS = (
    *(Encoding(3, 0, 0, CRm, op2) for CRm in range(1, 8) for op2 in range(8)),
    *(Encoding(3, op1, CRn, CRm, 0) for CRn in (11, 15) for op1 in range(8) for CRm in (0, 7)),
    *(Encoding(2, op1, CRn, 5, 6) for op1 in range(8) for CRn in (0, 7)),
    *(Encoding(1, op1, CRn, 0, 1) for op1 in range(8) for CRn in (11, 15)),
    Encoding(3, 0, 14, 9, 5),
    Encoding(3, 3, 14, 9, 5),
    Encoding(3, 4, 14, 9, 5),
    Encoding(3, 6, 1, 1, 0),
)
"""The space of identification registers, IMPLEMENTATION DEFINED spaces, and holes."""

MSR_ELR_EL1_X30 = 0xD518_4020 | 30
MSR_SPSR_EL1_X1 = 0xD518_4000 | RT
MOV_X2_0, MOV_X3_0 = 0xD280_0002, 0xD280_0003
CMP_X1_X1 = 0xEB01_003F
SEVL = 0xD503_20BF

OTHER: tuple[tuple[str, tuple[int, ...], int], ...] = (
    ("wfe", (SEVL, 0xD503_205F), 0),
    ("wfet", (0xD503_1000 | RT,), 0),
    ("wfit", (0xD503_1020 | RT,), 0),
    ("yield", (0xD503_203F,), 0),
    ("svc", (0xD400_0001,), 0),
    ("hvc", (0xD400_0002,), 0),
    ("smc", (0xD400_0003,), 0),
    ("smc 1", (0xD400_0023,), 0),
    ("brk", (0xD420_0000,), 0),
    ("udf", (0x0000_0000,), 0),
    ("drps", (0xD6BF_03E0,), 0),
    ("eret", (MSR_ELR_EL1_X30, MSR_SPSR_EL1_X1, 0xD69F_03E0), PSTATE_DAIF | M_EL1h),
    ("eretaa", (MSR_ELR_EL1_X30, MSR_SPSR_EL1_X1, 0xD69F_0BFF), PSTATE_DAIF | M_EL1h),
    ("eretab", (MSR_ELR_EL1_X30, MSR_SPSR_EL1_X1, 0xD69F_0FFF), PSTATE_DAIF | M_EL1h),
    ("pacia", (0xDAC1_0041,), 0),
    ("pacdb", (0xDAC1_0C41,), 0),
    ("pacga", (0x9AC2_3021,), 0),
    ("xpaci", (0xDAC1_43E1,), 0),
    ("fmov", (0x9E67_0020,), 0),
    ("ptrue", (0x2518_E3E0,), 0),
    ("rdvl", (0x04BF_5021,), 0),
    ("rdsvl", (0x04BF_5821,), 0),
    ("smstop", (0xD503_467F,), 0),
    ("setp", (MOV_X2_0, MOV_X3_0, 0x19C3_0441), ARENA),
    ("setm", (CMP_X1_X1, MOV_X2_0, 0x19C3_4441), ARENA),
    ("irg", (0x9ADF_1021,), 0),
    ("esb", (0xD503_221F,), 0),
    ("psb csync", (0xD503_223F,), 0),
    ("tsb csync", (0xD503_225F,), 0),
    ("ld64b", (0xF83F_D022,), ARENA),
    ("st64b", (0xF83F_9022,), ARENA),
    ("msr daifset", (0xD503_4FDF,), 0),
    ("msr pan", (0xD500_409F,), 0),
    ("msr allint 0", (0xD501_401F,), 0),
    ("msr allint 1", (0xD501_411F,), 0),
)
"""Instructions that are no MRS, MSR or SYS. A plain WFI would wait for ever where it does not trap,
and so would a WFE without an event (in QEMU since 11.1). WFIT and WFET have the time limit 0. SETM
without SETP is a Memory Copy and Memory Set exception."""


def _system(encoding: Encoding) -> int:
    op0, op1, crn, crm, op2 = encoding
    return op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5 | RT


def _moves(name: str, encoding: Encoding) -> tuple[Access, Access]:
    in_el0 = encoding.op1 == 3 or (encoding.CRn, encoding.op1) == (0, 0)
    word = _system(encoding)
    value = WRITTEN.get(name, 0)
    return (
        Access(f"mrs {name}", (MRS | word,), value, encoding, in_el0),
        Access(f"msr {name}", (MSR_SYS | word,), value, encoding, in_el0),
    )


def _accesses() -> tuple[Access, ...]:
    found: list[Access] = []
    named: set[Encoding] = set()
    for register in sr.ALL_REGISTERS:
        named.add(register.encoding)
        found += _moves(register.name, register.encoding)
    for instruction in insn.ALL_INSNS:
        encoding = instruction.encoding
        named.add(encoding)
        word = MSR_SYS | _system(encoding)
        if instruction.returns:
            word = MRS | _system(encoding)
        if not instruction.takes_register:
            word |= 31
        of_memory = encoding.CRn == 7 and not instruction.name.endswith(("SW", "RCTX"))
        value = ARENA if of_memory else 0
        found.append(Access(instruction.name.lower(), (word,), value, encoding, encoding.op1 == 3))
    for encoding in UNDEFINED_ENCODINGS:
        if encoding in named:
            continue
        if encoding.op0 == 1:
            word = MSR_SYS | _system(encoding)
            found.append(Access(f"sys {encoding.generic_name}", (word,), 0, encoding, True))
        else:
            found += _moves(encoding.generic_name, encoding)
    found += [Access(name, words, value, None, True) for name, words, value in OTHER]
    return tuple(found)


ACCESSES = _accesses()
EL0_ACCESSES = tuple(index for index, access in enumerate(ACCESSES) if access.in_el0)


@dataclass(frozen=True)
class Extra:
    """A value that is not one bit away from the base."""

    name: str
    value: int


@dataclass(frozen=True)
class Bank:
    """One control register and what is tried in it.

    :ivar base: traps nothing.
    :ivar flips: the bits that are tried, one at a time.
    :ivar shown_by: the identification field, with its least value, of machines that have it.
    :ivar interrupts: HCR_EL2.{FMO,IMO,AMO} are 1 meanwhile.
    :ivar hcrx: bits of HCRX_EL2 that are 1 meanwhile.
    :ivar e2h: the only HCR_EL2.E2H with which the register has this layout.
    """

    register: type[Register]
    base: int
    flips: int
    extras: tuple[Extra, ...] = ()
    shown_by: tuple[Field, int] | None = None
    interrupts: bool = False
    hcrx: int = 0
    e2h: int | None = None


HCR, MDCR, ICH = sr.HCR_EL2, sr.MDCR_EL2, sr.ICH_HCR_EL2
CPTR, CNTHCTL = sr.CPTR_EL2_E2H, sr.CNTHCTL_EL2_E2H
HCR_NOT_TRIED = {
    "VM": "a stage-2 fault ends each list",
    "TGE": "the phase HOST_EL0 has it",
    "E2H": "the payload is built for either value",
    "RW": "it would make EL1 AArch32",
    "NV1": "CONSTRAINED UNPREDICTABLE without NV",
    "NV2": "it redirects accesses to memory, which is not there",
}
HCR_TRAPS = HCR.compose(VM=1, RW=1, SWIO=1, API=1, APK=1, EnSCXT=1, FIEN=1, ATA=1)
INTERRUPTS = HCR.compose(FMO=1, IMO=1, AMO=1)


def _hcr_flips() -> int:
    flips = 0
    for field in HCR.fields:
        if field.name not in HCR_NOT_TRIED:
            flips |= field.mask
    return flips


def enables(register: type[Register]) -> int:
    """Give the value that has every bit with a negative name set."""
    return sum(field.mask for field in register.fields if field.negative)


def _fine(register: type[Register], least: int = 1) -> Bank:
    shown_by = (sr.ID_AA64MMFR0_EL1.FGT, least)
    return Bank(register, enables(register), register.known, shown_by=shown_by)


def _values(field: Field, *values: int, base: int) -> tuple[Extra, ...]:
    return tuple(Extra(f"{field.name}={x}", field.set(base, x)) for x in values)


ALL_COUNTERS = MDCR.HPMN.ones
"""Stands for HPMN = PMCR_EL0.N, which the payload reads: EL1 has all event counters."""
MDCR_TRAPS = MDCR.compose(E2PB=3, E2TB=3, EnSPM=1, HPMN=ALL_COUNTERS)
CPTR_TRAPS = CPTR.compose(FPEN=3, ZEN=3, SMEN=3)
BANKS: tuple[Bank, ...] = (
    Bank(HCR, HCR_TRAPS, _hcr_flips(), (Extra("IMO|FMO|AMO", HCR_TRAPS | INTERRUPTS),)),
    Bank(
        sr.HCRX_EL2,
        enables(sr.HCRX_EL2),
        sr.HCRX_EL2.known,
        shown_by=(sr.ID_AA64MMFR1_EL1.HCX, 1),
    ),
    Bank(
        MDCR,
        MDCR_TRAPS,
        MDCR.known & ~MDCR.HPMN.mask,
        _values(MDCR.E2PB, 0, base=MDCR_TRAPS)
        + _values(MDCR.E2TB, 0, base=MDCR_TRAPS)
        + _values(MDCR.HPMN, 1, base=MDCR_TRAPS),
    ),
    Bank(
        CPTR,
        CPTR_TRAPS,
        CPTR.known,
        _values(CPTR.FPEN, 0, base=CPTR_TRAPS)
        + _values(CPTR.ZEN, 0, base=CPTR_TRAPS)
        + _values(CPTR.SMEN, 0, base=CPTR_TRAPS),
        e2h=1,
    ),
    Bank(sr.CPTR_EL2, sr.CPTR_EL2.res1, sr.CPTR_EL2.known, e2h=0),
    Bank(CNTHCTL, enables(CNTHCTL), CNTHCTL.known, e2h=1),
    Bank(sr.CNTHCTL_EL2, enables(sr.CNTHCTL_EL2), sr.CNTHCTL_EL2.known, e2h=0),
    Bank(ICH, 0, ICH.known),
    Bank(ICH, 0, ICH.known, interrupts=True),
    Bank(sr.HSTR_EL2, 0, sr.HSTR_EL2.known),
    _fine(sr.HFGRTR_EL2),
    _fine(sr.HFGWTR_EL2),
    _fine(sr.HFGITR_EL2),
    Bank(
        sr.HFGITR_EL2,
        enables(sr.HFGITR_EL2),
        sr.HFGITR_EL2.known,
        shown_by=(sr.ID_AA64MMFR1_EL1.HCX, 1),
        hcrx=sr.HCRX_EL2.FGTnXS.mask,
    ),
    _fine(sr.HDFGRTR_EL2),
    _fine(sr.HDFGWTR_EL2),
    Bank(
        sr.HAFGRTR_EL2,
        0,
        sr.HAFGRTR_EL2.known,
        shown_by=(sr.ID_AA64PFR0_EL1.AMU, 1),
    ),
    _fine(sr.HFGRTR2_EL2, 2),
    _fine(sr.HFGWTR2_EL2, 2),
    _fine(sr.HFGITR2_EL2, 2),
    _fine(sr.HDFGRTR2_EL2, 2),
    _fine(sr.HDFGWTR2_EL2, 2),
)
"""Every register of EL2 with traps. VTCR_EL2 and VSTCR_EL2 have none."""

FIRST_EXTRA = 64
CONTROLS_PER_BANK = 128
BASELINE = CONTROLS_PER_BANK * len(BANKS)


def control_name(number: int) -> str:
    """Name a control, such as `HCR_EL2.TVM`.

    A bit of a longer field has its number: `CPTR_EL2_E2H.FPEN<0>`.
    """
    if number == BASELINE:
        return "nothing"
    bank = BANKS[number // CONTROLS_PER_BANK]
    register = bank.register.name
    if bank.interrupts:
        register += "+IMO"
    if bank.hcrx:
        register += "+FGTnXS"
    n = number % CONTROLS_PER_BANK
    if n >= FIRST_EXTRA:
        return f"{register}.{bank.extras[n - FIRST_EXTRA].name}"
    for field in bank.register.fields:
        if field.mask >> n & 1:
            part = "" if field.width == 1 else f"<{n - field.lsb}>"
            return f"{register}.{field.name}{part}"
    raise ValueError(f"control {number} is no bit of {register}")
