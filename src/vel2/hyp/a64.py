"""A64 instructions that only compute, as the Arm ARM's decode tables and pseudocode define them.

Between two accesses that trap, a kernel mostly executes instructions like these: moves, logic,
addition, and a branch over the second access. `execute` performs one of them on the vcpu's
registers. This is no emulator of A64: an instruction that it does not know is left to hardware,
with nothing changed. Nothing here reads or writes memory, changes what the next instruction means,
or branches backwards.
"""

from vel2.arch.a64 import (
    BYTES,
    LOG2_BYTES,
    NOP,
    ZR,
    AddSubtractImmediate,
    AddSubtractRegister,
    Anything,
    BranchConditional,
    LogicalImmediate,
    LogicalRegister,
    MoveWide,
    PCRelative,
)
from vel2.arch.pstate import PSTATE_NZCV, SPSR_ELx
from vel2.hyp.layout import PAGE_MASK, PAGE_SHIFT
from vel2.hyp.state import Vcpu
from vel2.lang import U32_MAX, U64_MAX, clz, inline, resident, u64

__all__ = ("execute", "read", "write")

N, Z, C, V = SPSR_ELx.N.mask, SPSR_ELx.Z.mask, SPSR_ELx.C.mask, SPSR_ELx.V.mask
SIGN = 1 << 63
AL = 0b1110

IMMEDIATES = (0b1000, 0b1001)
REGISTERS = 0b0101
"""op0 of data processing: with an immediate, and with registers."""
MOVN, MOVK, RESERVED_MOVE = 0b00, 0b11, 0b01
ORR, EOR, ANDS = 0b01, 0b10, 0b11
ADR_BITS = PCRelative.immhi.width + PCRelative.immlo.width
IMM12_SHIFT = 12
HALFWORD_BITS = 16
WORD_BITS = 32
BACKWARD = 1 << BranchConditional.imm19.width - 1
"""The sign of B.cond's offset."""
SIX_BITS = LogicalImmediate.imms.ones


@inline
def read(vcpu: Vcpu, n: u64) -> u64:
    """Give X[n]; register 31 is zero."""
    if n == ZR:
        return 0
    return vcpu.x[n]


@inline
def write(vcpu: Vcpu, n: u64, wide: u64, value: u64) -> None:
    """Set X[n], or W[n] when `wide` is 0; register 31 takes nothing."""
    if n != ZR:
        if wide != 0:
            vcpu.x[n] = value
        else:
            vcpu.x[n] = value & U32_MAX


@inline
def sign_extend(value: u64, bits: u64) -> u64:
    """Extend a field of `bits` bits (SignExtend)."""
    top = u64(1 << u64(bits - 1))
    return u64((value ^ top) - top + (1 << 64))


@resident
def bit_mask(n: u64, imms: u64, immr: u64) -> u64:
    """Give the value of a logical immediate (DecodeBitMasks); 0, which is none, if reserved."""
    size_bits = u64(n << LogicalImmediate.imms.width | ~imms & SIX_BITS)
    if size_bits < 2:
        return 0
    size = u64(1 << u64(63 - clz(size_bits)))
    ones = u64((imms & u64(size - 1)) + 1)
    if ones == size:
        return 0
    rotate = immr & u64(size - 1)
    element = u64((1 << ones) - 1)
    value = u64(element >> rotate | element << u64(size - rotate))
    if size < 64:
        value = value & u64((1 << size) - 1)
    while size < 64:
        value = u64(value | value << size)
        size = u64(size * 2)
    return value


@inline
def set_nz(vcpu: Vcpu, wide: u64, result: u64, carry_overflow: u64) -> None:
    """Set the condition flags for a result, C and V as given."""
    flags = carry_overflow
    top = result
    if wide == 0:
        top = u64(result << WORD_BITS)
    if top & SIGN != 0:
        flags = flags | N
    if top == 0:
        flags = flags | Z
    vcpu.pstate = vcpu.pstate & ~PSTATE_NZCV | flags


@resident
def add(vcpu: Vcpu, insn: u64, left: u64, right: u64) -> None:
    """Finish ADD, ADDS, SUB or SUBS, of an immediate or of registers (AddWithCarry)."""
    wide = AddSubtractImmediate.sf.get(insn)
    subtracts = AddSubtractImmediate.op.get(insn)
    a, b = left, right
    if subtracts:
        b = u64(0 - right + (1 << 64))
    result = u64(a + b)
    write(vcpu, AddSubtractImmediate.Rd.get(insn), wide, result)
    if AddSubtractImmediate.S.get(insn) == 0:
        return
    if wide == 0:
        a, b, result = u64(a << WORD_BITS), u64(b << WORD_BITS), u64(result << WORD_BITS)
        right = u64(right << WORD_BITS)
        left = u64(left << WORD_BITS)
    flags = u64(0)
    if subtracts:
        if left >= right:
            flags = C
        if (left ^ right) & (left ^ result) & SIGN:
            flags = flags | V
    else:
        if result < a:
            flags = C
        if (a ^ result) & (b ^ result) & SIGN:
            flags = flags | V
    set_nz(vcpu, 1, result, flags)


@inline
def logic(vcpu: Vcpu, insn: u64, left: u64, right: u64) -> None:
    """Finish AND, ORR, EOR or ANDS by opc."""
    opc = LogicalImmediate.opc.get(insn)
    wide = LogicalImmediate.sf.get(insn)
    result = left & right
    if opc == ORR:
        result = left | right
    elif opc == EOR:
        result = left ^ right
    write(vcpu, LogicalImmediate.Rd.get(insn), wide, result)
    if opc == ANDS:
        set_nz(vcpu, wide, result, 0)


@inline
def condition_holds(vcpu: Vcpu, condition: u64) -> bool:
    """Whether a condition holds (ConditionHolds)."""
    flags = vcpu.pstate
    n, z = flags & N != 0, flags & Z != 0
    c, v = flags & C != 0, flags & V != 0
    kind = condition >> 1
    holds = True
    if kind == 0:
        holds = z
    elif kind == 1:
        holds = c
    elif kind == 2:
        holds = n
    elif kind == 3:
        holds = v
    elif kind == 4:
        holds = c and not z
    elif kind == 5:
        holds = n == v
    elif kind == 6:
        holds = n == v and not z
    if condition & 1 and condition < AL:
        return not holds
    return holds


@inline
def address_of_label(vcpu: Vcpu, insn: u64) -> None:
    """Execute ADR or ADRP."""
    rd = PCRelative.Rd.get(insn)
    label = u64(PCRelative.immhi.get(insn) << PCRelative.immlo.width | PCRelative.immlo.get(insn))
    offset = sign_extend(label, ADR_BITS)
    if PCRelative.op.get(insn) != 0:
        write(vcpu, rd, 1, u64((vcpu.pc & ~PAGE_MASK) + u64(offset << PAGE_SHIFT)))
    else:
        write(vcpu, rd, 1, u64(vcpu.pc + offset))


@inline
def add_immediate(vcpu: Vcpu, insn: u64) -> bool:
    """Execute ADD, ADDS, SUB or SUBS of an immediate; False if it is about SP."""
    rn = AddSubtractImmediate.Rn.get(insn)
    writes_sp = AddSubtractImmediate.Rd.get(insn) == ZR and AddSubtractImmediate.S.get(insn) == 0
    if rn == ZR or writes_sp:
        return False
    value = AddSubtractImmediate.imm12.get(insn)
    if AddSubtractImmediate.sh.get(insn):
        value = u64(value << IMM12_SHIFT)
    add(vcpu, insn, vcpu.x[rn], value)
    return True


@inline
def logic_immediate(vcpu: Vcpu, insn: u64) -> bool:
    """Execute AND, ORR, EOR or ANDS of an immediate; False if it is reserved or writes SP."""
    n = LogicalImmediate.N.get(insn)
    mask = bit_mask(n, LogicalImmediate.imms.get(insn), LogicalImmediate.immr.get(insn))
    if mask == 0 or (n != 0 and LogicalImmediate.sf.get(insn) == 0):
        return False
    if LogicalImmediate.Rd.get(insn) == ZR and LogicalImmediate.opc.get(insn) != ANDS:
        return False
    logic(vcpu, insn, read(vcpu, LogicalImmediate.Rn.get(insn)), mask)
    return True


@inline
def move_wide(vcpu: Vcpu, insn: u64) -> bool:
    """Execute MOVN, MOVZ or MOVK; False if it is reserved."""
    rd, wide, opc = MoveWide.Rd.get(insn), MoveWide.sf.get(insn), MoveWide.opc.get(insn)
    shift = u64(MoveWide.hw.get(insn) * HALFWORD_BITS)
    if opc == RESERVED_MOVE or (wide == 0 and shift > HALFWORD_BITS):
        return False
    value = u64(MoveWide.imm16.get(insn) << shift)
    if opc == MOVN:
        value = ~value & U64_MAX
    elif opc == MOVK:
        value = read(vcpu, rd) & ~u64(MoveWide.imm16.ones << shift) | value
    write(vcpu, rd, wide, value)
    return True


@resident
def immediate(vcpu: Vcpu, insn: u64) -> bool:
    """Execute data processing with an immediate; False if it is none of those known."""
    if insn & PCRelative.fixed == PCRelative.match:
        address_of_label(vcpu, insn)
        return True
    if insn & AddSubtractImmediate.fixed == AddSubtractImmediate.match:
        return add_immediate(vcpu, insn)
    if insn & LogicalImmediate.fixed == LogicalImmediate.match:
        return logic_immediate(vcpu, insn)
    if insn & MoveWide.fixed == MoveWide.match:
        return move_wide(vcpu, insn)
    return False


@resident
def register(vcpu: Vcpu, insn: u64) -> bool:
    """Execute logic or addition of registers, shifted left if at all; False if it is neither."""
    is_logic = insn & LogicalRegister.fixed == LogicalRegister.match
    if not is_logic and insn & AddSubtractRegister.fixed != AddSubtractRegister.match:
        return False
    shift = LogicalRegister.imm6.get(insn)
    is_reserved = LogicalRegister.sf.get(insn) == 0 and shift >= WORD_BITS
    if LogicalRegister.shift.get(insn) != 0 or is_reserved:
        return False
    left = read(vcpu, LogicalRegister.Rn.get(insn))
    right = u64(read(vcpu, LogicalRegister.Rm.get(insn)) << shift)
    if is_logic:
        if LogicalRegister.N.get(insn):
            right = ~right & U64_MAX
        logic(vcpu, insn, left, right)
    else:
        add(vcpu, insn, left, right)
    return True


@resident
def branch(vcpu: Vcpu, insn: u64) -> bool:
    """Execute a B.cond that leads forward, which sets PC; False if it is none."""
    offset = BranchConditional.imm19.get(insn)
    is_conditional = insn & BranchConditional.fixed == BranchConditional.match
    if not is_conditional or offset == 0 or offset & BACKWARD:
        return False
    if condition_holds(vcpu, BranchConditional.cond.get(insn)):
        vcpu.pc = u64(vcpu.pc + (offset << LOG2_BYTES))
    else:
        vcpu.pc = u64(vcpu.pc + BYTES)
    return True


@resident
def execute(vcpu: Vcpu, insn: u64) -> bool:
    """Execute one instruction at vEL2; False, with nothing changed, if it is not one we know."""
    group = Anything.op0.get(insn)
    if group in IMMEDIATES:
        if not immediate(vcpu, insn):
            return False
    elif group == REGISTERS:
        if not register(vcpu, insn):
            return False
    elif insn != NOP:
        return branch(vcpu, insn)
    vcpu.pc = u64(vcpu.pc + BYTES)
    return True
