"""Instructions on registers and memory."""

from __future__ import annotations

from vel2.lang.asm_base import SP, XZR, Piece


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


class DataInstructions(Piece):
    """Moves, arithmetic, logic, bit-fields, loads and stores; all on 64 bits unless named."""

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

    def casal(self, rs: int, rt: int, rn: int) -> None:
        """CASAL of 64 bits: `rt` into memory if that is `rs`, which gets what was there."""
        self.word(0xC8E0_FC00 | self._reg(rs) << 16 | self._reg(rn, SP) << 5 | self._reg(rt))
