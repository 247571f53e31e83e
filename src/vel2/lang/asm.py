"""A small A64 assembler for what the subset cannot say: vectors, context switches, entry points.

    a = Assembler("vectors")
    a.label("vector_sync")
    a.stp(0, 1, SP, -16, pre=True)
    a.mrs(0, ESR_EL2)
    a.bl("trap")

General registers are numbers 0 to 30 (64-bit), or `SP` and `XZR`. A third operand is an immediate;
a register there is `rm=`. Labels may be used before they are defined and from other assemblers; a
label that starts with "." is private to its assembler. Every operand is checked, and an
instruction that cannot carry it is refused with a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vel2.lang.asm_base import (
    R_ADD_LOW,
    R_ADR,
    R_ADR_PAGE,
    R_CALL,
    R_CONDITION_BRANCH,
    R_JUMP,
    R_TEST_BRANCH,
    SP,
    XZR,
    AssemblyError,
)
from vel2.lang.asm_data import DataInstructions, encode_bitmask

if TYPE_CHECKING:
    from vel2.arch.bits import Encoding

__all__ = ("SP", "XZR", "Assembler", "AssemblyError", "encode_bitmask")

BARRIER_OPTIONS = dict(
    zip(
        (
            "oshld",
            "oshst",
            "osh",
            "nshld",
            "nshst",
            "nsh",
            "ishld",
            "ishst",
            "ish",
            "ld",
            "st",
            "sy",
        ),
        (1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15),
        strict=True,
    )
)
_HINTS = {"nop": 0, "yield": 1, "wfe": 2, "wfi": 3, "sev": 4, "sevl": 5, "esb": 16}
_PSTATE = {"spsel": (0, 5), "daifset": (3, 6), "daifclr": (3, 7), "uao": (0, 3), "pan": (0, 4)}


class Encodable(Protocol):
    """A Register of `arch`, or an instruction object: what has an encoding."""

    @property
    def encoding(self) -> Encoding: ...


class Assembler(DataInstructions):
    """One piece of machine code and data; `link.py` places it.

    :param alignment: of the piece in the image.
    :param writable: the piece is data that changes (user programs only).
    """

    # -- branches and addresses

    def b(self, label: str) -> None:
        """B."""
        self._relocate(R_JUMP, label)
        self.word(0x1400_0000)

    def b_cond(self, condition: str, label: str) -> None:
        """B.cond."""
        number = self._condition(condition)
        self._relocate(R_CONDITION_BRANCH, label)
        self.word(0x5400_0000 | number)

    def bl(self, label: str) -> None:
        """BL."""
        self._relocate(R_CALL, label)
        self.word(0x9400_0000)

    def cbz(self, rt: int, label: str) -> None:
        """CBZ."""
        self._relocate(R_CONDITION_BRANCH, label)
        self.word(0xB400_0000 | self._reg(rt))

    def cbnz(self, rt: int, label: str) -> None:
        """CBNZ."""
        self._relocate(R_CONDITION_BRANCH, label)
        self.word(0xB500_0000 | self._reg(rt))

    def _test_branch(self, opcode: int, rt: int, bit: int, label: str) -> None:
        self._range("the bit", bit, 0, 63)
        self._relocate(R_TEST_BRANCH, label)
        self.word(opcode | bit >> 5 << 31 | (bit & 31) << 19 | self._reg(rt))

    def tbz(self, rt: int, bit: int, label: str) -> None:
        """TBZ."""
        self._test_branch(0x3600_0000, rt, bit, label)

    def tbnz(self, rt: int, bit: int, label: str) -> None:
        """TBNZ."""
        self._test_branch(0x3700_0000, rt, bit, label)

    def br(self, rn: int) -> None:
        """BR."""
        self.word(0xD61F_0000 | self._reg(rn) << 5)

    def blr(self, rn: int) -> None:
        """BLR."""
        self.word(0xD63F_0000 | self._reg(rn) << 5)

    def ret(self, rn: int = 30) -> None:
        """RET."""
        self.word(0xD65F_0000 | self._reg(rn) << 5)

    def adr(self, rd: int, label: str, addend: int = 0) -> None:
        """ADR: the address of a label within 1 MiB."""
        self._relocate(R_ADR, label, addend)
        self.word(0x1000_0000 | self._reg(rd))

    def adr_symbol(self, rd: int, label: str, addend: int = 0) -> None:
        """ADRP and ADD: the address of a label within 4 GiB."""
        self._relocate(R_ADR_PAGE, label, addend)
        self.word(0x9000_0000 | self._reg(rd))
        self._relocate(R_ADD_LOW, label, addend)
        self.word(0x9100_0000 | self._reg(rd) << 5 | self._reg(rd))

    def csel(self, rd: int, rn: int, rm: int, condition: str) -> None:
        """CSEL: `rn` if the condition holds, else `rm`."""
        registers = self._reg(rm) << 16 | self._reg(rn) << 5 | self._reg(rd)
        self.word(0x9A80_0000 | self._condition(condition) << 12 | registers)

    # -- system

    def _system(self, what: Encodable) -> int:
        op0, op1, crn, crm, op2 = what.encoding
        return op0 << 19 | op1 << 16 | crn << 12 | crm << 8 | op2 << 5

    def mrs(self, rt: int, register: Encodable) -> None:
        """MRS."""
        self.word(0xD520_0000 | self._system(register) | self._reg(rt))

    def msr(self, register: Encodable, rt: int) -> None:
        """MSR from a general register."""
        self.word(0xD500_0000 | self._system(register) | self._reg(rt))

    def msr_immediate(self, field: str, value: int) -> None:
        """MSR of a PSTATE field: spsel, daifset, daifclr, pan or uao."""
        if field not in _PSTATE:
            self._refuse(f"there is no PSTATE field {field!r}: give one of {', '.join(_PSTATE)}")
        self._range("the value", value, 0, 15)
        op1, op2 = _PSTATE[field]
        self.word(0xD500_401F | op1 << 16 | value << 8 | op2 << 5)

    def sys(self, instruction: Encodable, rt: int = XZR) -> None:
        """SYS: a TLBI, AT, IC or DC instruction."""
        self.word(0xD500_0000 | self._system(instruction) | self._reg(rt))

    def _exception(self, opcode: int, value: int) -> None:
        self.word(opcode | self._range("the immediate", value, 0, 0xFFFF) << 5)

    def svc(self, value: int = 0) -> None:
        """SVC."""
        self._exception(0xD400_0001, value)

    def hvc(self, value: int = 0) -> None:
        """HVC."""
        self._exception(0xD400_0002, value)

    def smc(self, value: int = 0) -> None:
        """SMC."""
        self._exception(0xD400_0003, value)

    def brk(self, value: int = 0) -> None:
        """BRK."""
        self._exception(0xD420_0000, value)

    def eret(self) -> None:
        """ERET."""
        self.word(0xD69F_03E0)

    def isb(self) -> None:
        """ISB."""
        self.word(0xD503_3FDF)

    def _barrier(self, opcode: int, option: str) -> None:
        if option not in BARRIER_OPTIONS:
            self._refuse(f"there is no option {option!r}: give one of {', '.join(BARRIER_OPTIONS)}")
        self.word(opcode | BARRIER_OPTIONS[option] << 8)

    def dsb(self, option: str = "sy") -> None:
        """DSB."""
        self._barrier(0xD503_309F, option)

    def dmb(self, option: str = "sy") -> None:
        """DMB."""
        self._barrier(0xD503_30BF, option)

    def hint(self, name: str) -> None:
        """HINT by name: nop, yield, wfe, wfi, sev, sevl or esb."""
        if name not in _HINTS:
            self._refuse(f"there is no hint {name!r}: give one of {', '.join(_HINTS)}")
        self.word(0xD503_201F | _HINTS[name] << 5)

    def nop(self) -> None:
        """NOP."""
        self.hint("nop")

    def wfe(self) -> None:
        """WFE."""
        self.hint("wfe")

    def wfi(self) -> None:
        """WFI."""
        self.hint("wfi")

    def sev(self) -> None:
        """SEV."""
        self.hint("sev")

    def autia(self, rd: int, rn: int) -> None:
        """AUTIA: authenticate `rd` with key A and modifier `rn`."""
        self.word(0xDAC1_1000 | self._reg(rn, SP) << 5 | self._reg(rd))

    def pacga(self, rd: int, rn: int, rm: int) -> None:
        """PACGA: the generic authentication code of `rn` with modifier `rm`."""
        registers = self._reg(rm, SP) << 16 | self._reg(rn) << 5 | self._reg(rd)
        self.word(0x9AC0_3000 | registers)

    def autib(self, rd: int, rn: int) -> None:
        """AUTIB: authenticate `rd` with key B and modifier `rn`."""
        self.word(0xDAC1_1400 | self._reg(rn, SP) << 5 | self._reg(rd))
