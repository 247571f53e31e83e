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

from typing import TYPE_CHECKING, NoReturn, Protocol

from vel2.lang.elf import Relocation

if TYPE_CHECKING:
    from vel2.arch.bits import Encoding

Octets = bytes
Text = str
"""The builtin: inside `Assembler`, `str` is the instruction."""

R_ABS64, R_ADR, R_ADR_PAGE, R_ADD_LOW = 257, 274, 275, 277
R_TEST_BRANCH, R_CONDITION_BRANCH, R_JUMP, R_CALL = 279, 280, 282, 283


class AssemblyError(Exception):
    """An instruction that cannot be encoded, or a label that cannot be resolved."""


class _Special(int):
    """Register 31, which is SP or XZR as the instruction has it."""

    name: str

    def __new__(cls, name: str) -> _Special:
        self = super().__new__(cls, 31)
        self.name = name
        return self

    def __repr__(self) -> str:
        return self.name


SP = _Special("SP")
XZR = _Special("XZR")

CONDITIONS = (
    *("eq", "ne", "cs", "cc", "mi", "pl", "vs", "vc"),
    *("hi", "ls", "ge", "lt", "gt", "le", "al"),
)
_CONDITION_NUMBERS = {name: number for number, name in enumerate(CONDITIONS)} | {"hs": 2, "lo": 3}
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
    def encoding(self) -> Encoding: ...  # noqa: D102


def encode_bitmask(value: int) -> int | None:
    """Give N:immr:imms of a 64-bit logical immediate, or None if `value` is not one.

    Arm ARM: DecodeBitMasks, backwards: a run of ones, rotated, repeated in elements of 2..64 bits.
    """
    if not 0 < value < (1 << 64) - 1:
        return None
    for log_size in range(1, 7):
        size = 1 << log_size
        element = value & (1 << size) - 1
        if element * (((1 << 64) - 1) // ((1 << size) - 1)) != value:
            continue
        ones = element.bit_count()
        for rotation in range(size):
            run = (1 << ones) - 1
            if (run >> rotation | run << size - rotation) & (1 << size) - 1 == element:
                n = 1 if size == 64 else 0
                imms = (~(size * 2 - 1) & 0x3F | ones - 1) & 0x3F
                return n << 12 | rotation << 6 | imms
        return None
    return None


class Assembler:
    """One piece of machine code and data; `link.py` places it.

    :param alignment: of the piece in the image.
    :param writable: the piece is data that changes (user programs only).
    """

    def __init__(self, name: Text = "code", *, alignment: int = 16, writable: bool = False) -> None:
        self.name = name
        self.alignment = alignment
        self.writable = writable
        self.data = bytearray()
        self.labels: dict[Text, int] = {}
        self.relocations: list[Relocation] = []

    # -- placement

    @property
    def here(self) -> int:
        """Give the offset of what comes next."""
        return len(self.data)

    def label(self, name: Text) -> None:
        """Define a label here."""
        if name in self.labels:
            raise AssemblyError(f"{self.name}: label {name} is defined twice")
        self.labels[name] = self.here

    def align(self, alignment: int) -> None:
        """Fill with NOP up to a multiple of `alignment`."""
        self.alignment = max(self.alignment, alignment)
        while self.here % alignment:
            self.nop()

    def org(self, offset: int) -> None:
        """Fill with NOP up to an offset; refused when code is already past it."""
        if self.here > offset or offset % 4:
            raise AssemblyError(
                f"{self.name}: cannot go to {offset:#x}, the code is at {self.here:#x} already"
            )
        while self.here < offset:
            self.nop()

    def org_from(self, label: Text, offset: int) -> None:
        """Fill with NOP up to an offset from a label that is already defined."""
        if label not in self.labels:
            self._refuse(f"there is no label {label} yet")
        self.org(self.labels[label] + offset)

    def word(self, value: int) -> None:
        """Place 32 bits."""
        self.data += (value & 0xFFFF_FFFF).to_bytes(4, "little")

    def quad(self, value: int | Text) -> None:
        """Place 64 bits: a number, or the address of a label."""
        if isinstance(value, Text):
            self._relocate(R_ABS64, value)
            value = 0
        self.data += value.to_bytes(8, "little")

    def bytes(self, data: Octets) -> None:
        """Place bytes."""
        self.data += data

    def space(self, size: int, alignment: int = 1) -> None:
        """Place zeros, aligned."""
        self.data += Octets(-self.here % alignment + size)

    def _relocate(self, type_: int, symbol: Text, addend: int = 0) -> None:
        self.relocations.append(Relocation(self.here, type_, symbol, None, addend))

    # -- checks

    def _refuse(self, sentence: Text) -> NoReturn:
        raise AssemblyError(f"{self.name}+{self.here:#x}: {sentence}")

    def _range(self, what: Text, value: int, low: int, high: int, scale: int = 1) -> int:
        """Require `value` from `low` to `high`, a multiple of `scale`; give it scaled down."""
        if not low <= value <= high or value % scale:
            step = "" if scale == 1 else f", a multiple of {scale}"
            self._refuse(f"{what} cannot be {value}: give {low} to {high}{step}")
        return value // scale

    def _reg(self, register: int, special: _Special | None = XZR) -> int:
        """Require a general register; 31 must be named, and be what the instruction has there."""
        if isinstance(register, _Special):
            if register is not special:
                allowed = f"x0 to x30{f' or {special}' if special is not None else ''}"
                self._refuse(f"{register} cannot be used here: give {allowed}")
        elif not 0 <= register <= 30:
            self._refuse(f"there is no register x{register}: give 0 to 30, SP or XZR")
        return int(register)

    def _condition(self, name: Text) -> int:
        if name not in _CONDITION_NUMBERS:
            self._refuse(f"there is no condition {name!r}: give one of {', '.join(CONDITIONS)}")
        return _CONDITION_NUMBERS[name]

    # -- moves

    def mov(self, rd: int, rn: int) -> None:
        """MOV between registers, SP included."""
        if rd is SP or rn is SP:
            self.add(rd, rn, 0)
        else:
            self.orr(rd, XZR, rm=rn)

    def _move_wide(self, opcode: int, rd: int, value: int, shift: int) -> None:
        self._range("a 16-bit immediate", value, 0, 0xFFFF)
        half = self._range("the shift", shift, 0, 48, 16)
        self.word(opcode | half << 21 | value << 5 | self._reg(rd))

    def movz(self, rd: int, value: int, shift: int = 0) -> None:
        """MOVZ: 16 bits at `shift`, zeros elsewhere."""
        self._move_wide(0xD280_0000, rd, value, shift)

    def movn(self, rd: int, value: int, shift: int = 0) -> None:
        """MOVN: the complement of MOVZ."""
        self._move_wide(0x9280_0000, rd, value, shift)

    def movk(self, rd: int, value: int, shift: int = 0) -> None:
        """MOVK: 16 bits at `shift`, the rest kept."""
        self._move_wide(0xF280_0000, rd, value, shift)

    def mov_imm(self, rd: int, value: int) -> None:
        """Load any 64-bit constant, in as few instructions as MOVZ, MOVN, MOVK and ORR allow."""
        if not -(1 << 63) <= value < 1 << 64:
            self._refuse(f"{value:#x} does not fit a register: give 64 bits")
        value &= (1 << 64) - 1
        halves = [value >> shift & 0xFFFF for shift in (0, 16, 32, 48)]
        inverted = halves.count(0xFFFF) > halves.count(0)
        neutral = 0xFFFF if inverted else 0
        wanted = [(16 * i, half) for i, half in enumerate(halves) if half != neutral]
        if len(wanted) > 1 and encode_bitmask(value) is not None and rd is not XZR:
            self.orr(rd, XZR, imm=value)
            return
        shift, half = wanted[0] if wanted else (0, neutral)
        if inverted:
            self.movn(rd, half ^ 0xFFFF, shift)
        else:
            self.movz(rd, half, shift)
        for shift, half in wanted[1:]:
            self.movk(rd, half, shift)

    # -- arithmetic

    def _add_imm(self, opcode: int, rd: int, rn: int, value: int, flags: bool) -> None:
        shifted = 0
        if value > 0xFFF and value % 0x1000 == 0:
            shifted, value = 1 << 22, value >> 12
        self._range("an arithmetic immediate", value, 0, 0xFFF)
        rd_number = self._reg(rd, XZR if flags else SP)
        self.word(opcode | shifted | value << 10 | self._reg(rn, SP) << 5 | rd_number)

    def _arithmetic(
        self, opcode: int, rd: int, rn: int, imm: int | None, rm: int | None, lsl: int, flags: bool
    ) -> None:
        if rm is None:
            self._add_imm(0x1100_0000 | opcode, rd, rn, imm or 0, flags)
            return
        amount = self._range("the shift", lsl, 0, 63)
        registers = self._reg(rm) << 16 | amount << 10 | self._reg(rn) << 5 | self._reg(rd)
        self.word(0x0B00_0000 | opcode | registers)

    def add(
        self, rd: int, rn: int, imm: int | None = None, *, rm: int | None = None, lsl: int = 0
    ) -> None:
        """ADD an immediate (12 bits, or 12 bits times 4096), or the register `rm` shifted left."""
        self._arithmetic(0x8000_0000, rd, rn, imm, rm, lsl, False)

    def adds(
        self, rd: int, rn: int, imm: int | None = None, *, rm: int | None = None, lsl: int = 0
    ) -> None:
        """ADD and set the flags; see `add`."""
        self._arithmetic(0xA000_0000, rd, rn, imm, rm, lsl, True)

    def sub(
        self, rd: int, rn: int, imm: int | None = None, *, rm: int | None = None, lsl: int = 0
    ) -> None:
        """SUB; see `add`."""
        self._arithmetic(0xC000_0000, rd, rn, imm, rm, lsl, False)

    def subs(
        self, rd: int, rn: int, imm: int | None = None, *, rm: int | None = None, lsl: int = 0
    ) -> None:
        """SUBS; see `add`."""
        self._arithmetic(0xE000_0000, rd, rn, imm, rm, lsl, True)

    def cmp(self, rn: int, imm: int | None = None, *, rm: int | None = None) -> None:
        """CMP with an immediate or a register."""
        self.subs(XZR, rn, imm, rm=rm)

    def cmn(self, rn: int, imm: int | None = None, *, rm: int | None = None) -> None:
        """CMN with an immediate or a register."""
        self.adds(XZR, rn, imm, rm=rm)

    # -- logic and bit-fields

    def _logical(
        self, opcode: int, rd: int, rn: int, rm: int | None, imm: int | None, lsl: int, flags: bool
    ) -> None:
        if imm is None:
            if rm is None:
                self._refuse("give an immediate or rm=")
            amount = self._range("the shift", lsl, 0, 63)
            registers = self._reg(rm) << 16 | amount << 10 | self._reg(rn) << 5 | self._reg(rd)
            self.word(0x8A00_0000 | opcode | registers)
            return
        encoded = encode_bitmask(imm)
        if encoded is None:
            self._refuse(f"{imm:#x} is not a logical immediate: load it with mov_imm() first")
        rd_number = self._reg(rd, XZR if flags else SP)
        self.word(0x9200_0000 | opcode | encoded << 10 | self._reg(rn) << 5 | rd_number)

    def and_(
        self, rd: int, rn: int, imm: int | None = None, *, rm: int | None = None, lsl: int = 0
    ) -> None:
        """AND with a register shifted left, or a logical immediate."""
        self._logical(0x0000_0000, rd, rn, rm, imm, lsl, False)

    def orr(
        self, rd: int, rn: int, imm: int | None = None, *, rm: int | None = None, lsl: int = 0
    ) -> None:
        """ORR; see `and_`."""
        self._logical(0x2000_0000, rd, rn, rm, imm, lsl, False)

    def eor(
        self, rd: int, rn: int, imm: int | None = None, *, rm: int | None = None, lsl: int = 0
    ) -> None:
        """EOR; see `and_`."""
        self._logical(0x4000_0000, rd, rn, rm, imm, lsl, False)

    def ands(
        self, rd: int, rn: int, imm: int | None = None, *, rm: int | None = None, lsl: int = 0
    ) -> None:
        """ANDS; see `and_`."""
        self._logical(0x6000_0000, rd, rn, rm, imm, lsl, True)

    def tst(self, rn: int, imm: int | None = None, *, rm: int | None = None) -> None:
        """TST: ANDS into XZR."""
        self.ands(XZR, rn, imm, rm=rm)

    def bic(self, rd: int, rn: int, rm: int, *, lsl: int = 0) -> None:
        """BIC: clear the bits of `rm`."""
        self._logical(0x0020_0000, rd, rn, rm, None, lsl, False)

    def _bit_field(self, opcode: int, rd: int, rn: int, immr: int, imms: int) -> None:
        self.word(opcode | immr << 16 | imms << 10 | self._reg(rn) << 5 | self._reg(rd))

    def lsl(self, rd: int, rn: int, amount: int) -> None:
        """LSL by a constant."""
        self._range("the shift", amount, 0, 63)
        self._bit_field(0xD340_0000, rd, rn, -amount % 64, 63 - amount)

    def lsr(self, rd: int, rn: int, amount: int) -> None:
        """LSR by a constant."""
        self._bit_field(0xD340_0000, rd, rn, self._range("the shift", amount, 0, 63), 63)

    def asr(self, rd: int, rn: int, amount: int) -> None:
        """ASR by a constant."""
        self._bit_field(0x9340_0000, rd, rn, self._range("the shift", amount, 0, 63), 63)

    def lslv(self, rd: int, rn: int, rm: int) -> None:
        """LSL by a register."""
        self.word(0x9AC0_2000 | self._reg(rm) << 16 | self._reg(rn) << 5 | self._reg(rd))

    def lsrv(self, rd: int, rn: int, rm: int) -> None:
        """LSR by a register."""
        self.word(0x9AC0_2400 | self._reg(rm) << 16 | self._reg(rn) << 5 | self._reg(rd))

    def ubfx(self, rd: int, rn: int, lsb: int, width: int) -> None:
        """UBFX: extract `width` bits from `lsb`."""
        self._range("lsb", lsb, 0, 63)
        self._range("width", width, 1, 64 - lsb)
        self._bit_field(0xD340_0000, rd, rn, lsb, lsb + width - 1)

    def bfi(self, rd: int, rn: int, lsb: int, width: int) -> None:
        """BFI: insert the low `width` bits at `lsb`."""
        self._range("lsb", lsb, 0, 63)
        self._range("width", width, 1, 64 - lsb)
        self._bit_field(0xB340_0000, rd, rn, -lsb % 64, width - 1)

    def csel(self, rd: int, rn: int, rm: int, condition: Text) -> None:
        """CSEL: `rn` if the condition holds, else `rm`."""
        registers = self._reg(rm) << 16 | self._reg(rn) << 5 | self._reg(rd)
        self.word(0x9A80_0000 | self._condition(condition) << 12 | registers)

    # -- memory

    def _single(
        self, log_size: int, load: bool, rt: int, rn: int, offset: int, pre: bool, post: bool
    ) -> None:
        size = 1 << log_size
        opcode = log_size << 30 | (0x0040_0000 if load else 0)
        registers = self._reg(rn, SP) << 5 | self._reg(rt)
        if pre or post:
            self._check_writeback(rn, (rt,), pre and post)
            self._range("the offset", offset, -256, 255)
            mode = 0xC00 if pre else 0x400
            self.word(0x3800_0000 | opcode | mode | (offset & 0x1FF) << 12 | registers)
        elif -256 <= offset < 0 or (offset % size and offset <= 255):
            self.word(0x3800_0000 | opcode | (offset & 0x1FF) << 12 | registers)
        else:
            scaled = self._range("the offset", offset, 0, 4095 * size, size)
            self.word(0x3900_0000 | opcode | scaled << 10 | registers)

    def _check_writeback(self, rn: int, targets: tuple[int, ...], both: bool) -> None:
        if both:
            self._refuse("pre and post exclude each other")
        if rn is not SP and any(t is not XZR and t == rn for t in targets):
            self._refuse(f"x{int(rn)} is both the base to write back and a register of data")

    def ldr(
        self, rt: int, rn: int, offset: int = 0, *, pre: bool = False, post: bool = False
    ) -> None:
        """LDR of 64 bits; `pre` and `post` write the base back."""
        self._single(3, True, rt, rn, offset, pre, post)

    def str(
        self, rt: int, rn: int, offset: int = 0, *, pre: bool = False, post: bool = False
    ) -> None:
        """STR of 64 bits; see `ldr`."""
        self._single(3, False, rt, rn, offset, pre, post)

    def ldr_w(self, rt: int, rn: int, offset: int = 0) -> None:
        """LDR of 32 bits."""
        self._single(2, True, rt, rn, offset, False, False)

    def str_w(self, rt: int, rn: int, offset: int = 0) -> None:
        """STR of 32 bits."""
        self._single(2, False, rt, rn, offset, False, False)

    def ldrh(self, rt: int, rn: int, offset: int = 0) -> None:
        """LDRH."""
        self._single(1, True, rt, rn, offset, False, False)

    def strh(self, rt: int, rn: int, offset: int = 0) -> None:
        """STRH."""
        self._single(1, False, rt, rn, offset, False, False)

    def ldrb(
        self, rt: int, rn: int, offset: int = 0, *, pre: bool = False, post: bool = False
    ) -> None:
        """LDRB; see `ldr`."""
        self._single(0, True, rt, rn, offset, pre, post)

    def strb(
        self, rt: int, rn: int, offset: int = 0, *, pre: bool = False, post: bool = False
    ) -> None:
        """STRB; see `ldr`."""
        self._single(0, False, rt, rn, offset, pre, post)

    def _pair(
        self, load: bool, rt: int, rt2: int, rn: int, offset: int, pre: bool, post: bool
    ) -> None:
        scaled = self._range("the offset", offset, -512, 504, 8)
        mode = 0xA900_0000
        if pre or post:
            self._check_writeback(rn, (rt, rt2), pre and post)
            mode = 0xA980_0000 if pre else 0xA880_0000
        if load:
            mode |= 0x0040_0000
            if rt == rt2:
                self._refuse(f"LDP cannot load x{int(rt)} twice")
        registers = self._reg(rt2) << 10 | self._reg(rn, SP) << 5 | self._reg(rt)
        self.word(mode | (scaled & 0x7F) << 15 | registers)

    def ldp(
        self, rt: int, rt2: int, rn: int, offset: int = 0, *, pre: bool = False, post: bool = False
    ) -> None:
        """LDP of two 64-bit registers; see `ldr`."""
        self._pair(True, rt, rt2, rn, offset, pre, post)

    def stp(
        self, rt: int, rt2: int, rn: int, offset: int = 0, *, pre: bool = False, post: bool = False
    ) -> None:
        """STP of two 64-bit registers; see `ldr`."""
        self._pair(False, rt, rt2, rn, offset, pre, post)

    def ldar(self, rt: int, rn: int) -> None:
        """LDAR of 64 bits."""
        self.word(0xC8DF_FC00 | self._reg(rn, SP) << 5 | self._reg(rt))

    def stlr(self, rt: int, rn: int) -> None:
        """STLR of 64 bits."""
        self.word(0xC89F_FC00 | self._reg(rn, SP) << 5 | self._reg(rt))

    # -- branches and addresses

    def b(self, label: Text) -> None:
        """B."""
        self._relocate(R_JUMP, label)
        self.word(0x1400_0000)

    def b_cond(self, condition: Text, label: Text) -> None:
        """B.cond."""
        number = self._condition(condition)
        self._relocate(R_CONDITION_BRANCH, label)
        self.word(0x5400_0000 | number)

    def bl(self, label: Text) -> None:
        """BL."""
        self._relocate(R_CALL, label)
        self.word(0x9400_0000)

    def cbz(self, rt: int, label: Text) -> None:
        """CBZ."""
        self._relocate(R_CONDITION_BRANCH, label)
        self.word(0xB400_0000 | self._reg(rt))

    def cbnz(self, rt: int, label: Text) -> None:
        """CBNZ."""
        self._relocate(R_CONDITION_BRANCH, label)
        self.word(0xB500_0000 | self._reg(rt))

    def _test_branch(self, opcode: int, rt: int, bit: int, label: Text) -> None:
        self._range("the bit", bit, 0, 63)
        self._relocate(R_TEST_BRANCH, label)
        self.word(opcode | bit >> 5 << 31 | (bit & 31) << 19 | self._reg(rt))

    def tbz(self, rt: int, bit: int, label: Text) -> None:
        """TBZ."""
        self._test_branch(0x3600_0000, rt, bit, label)

    def tbnz(self, rt: int, bit: int, label: Text) -> None:
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

    def adr(self, rd: int, label: Text, addend: int = 0) -> None:
        """ADR: the address of a label within 1 MiB."""
        self._relocate(R_ADR, label, addend)
        self.word(0x1000_0000 | self._reg(rd))

    def adr_symbol(self, rd: int, label: Text, addend: int = 0) -> None:
        """ADRP and ADD: the address of a label within 4 GiB."""
        self._relocate(R_ADR_PAGE, label, addend)
        self.word(0x9000_0000 | self._reg(rd))
        self._relocate(R_ADD_LOW, label, addend)
        self.word(0x9100_0000 | self._reg(rd) << 5 | self._reg(rd))

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

    def msr_immediate(self, field: Text, value: int) -> None:
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

    def _barrier(self, opcode: int, option: Text) -> None:
        if option not in BARRIER_OPTIONS:
            self._refuse(f"there is no option {option!r}: give one of {', '.join(BARRIER_OPTIONS)}")
        self.word(opcode | BARRIER_OPTIONS[option] << 8)

    def dsb(self, option: Text = "sy") -> None:
        """DSB."""
        self._barrier(0xD503_309F, option)

    def dmb(self, option: Text = "sy") -> None:
        """DMB."""
        self._barrier(0xD503_30BF, option)

    def hint(self, name: Text) -> None:
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
