"""A64 instructions that only compute, as the Arm ARM's decode tables and pseudocode give them.

What a kernel does between two accesses that trap is mostly this: moves, logic, addition, and a
branch over the second access. `execute` does one of them on the vcpu's registers. It is no emulator
of A64: what it does not know it leaves, with nothing changed, to hardware. Nothing here reads or
writes memory, changes what the next instruction means, or goes back.
"""

from vel2.arch.pstate import SPSR_ELx
from vel2.hyp.state import Vcpu
from vel2.lang import clz, inline, resident, u64

ZR = 31
WORD = (1 << 32) - 1
BYTES = 4
"""Of one instruction."""
N, Z, C, V = SPSR_ELx.N.mask, SPSR_ELx.Z.mask, SPSR_ELx.C.mask, SPSR_ELx.V.mask
NZCV = N | Z | C | V
SIGN = 1 << 63
AL = 0b1110

NOP = 0xD503_201F
MOVE_WIDE_MASK, MOVE_WIDE = 0x1F80_0000, 0x1280_0000
LOGICAL_IMMEDIATE = 0x1200_0000
ADD_IMMEDIATE_MASK, ADD_IMMEDIATE = 0x1F80_0000, 0x1100_0000
REGISTER_MASK, LOGICAL_REGISTER, ADD_REGISTER = 0x1F00_0000, 0x0A00_0000, 0x0B00_0000
EXTENDED = 1 << 21
ADR_MASK, ADR = 0x1F00_0000, 0x1000_0000
B_COND_MASK, B_COND = 0xFF00_0010, 0x5400_0000
BACKWARD = 1 << 20
"""The sign of B.cond's offset in bytes."""
"""Masks and values of the classes; a class's own fields are taken apart below."""


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
            vcpu.x[n] = value & WORD


@inline
def sign_extend(value: u64, bits: u64) -> u64:
    """Extend a field of `bits` bits (SignExtend)."""
    top = u64(1 << u64(bits - 1))
    return u64((value ^ top) - top + (1 << 64))


@resident
def bit_mask(n: u64, imms: u64, immr: u64) -> u64:
    """Give the value of a logical immediate (DecodeBitMasks); 0, which is none, if reserved."""
    size_bits = u64(n << 6 | ~imms & 0x3F)
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
        top = u64(result << 32)
    if top & SIGN != 0:
        flags = flags | N
    if top == 0:
        flags = flags | Z
    vcpu.pstate = vcpu.pstate & ~NZCV | flags


@resident
def add(vcpu: Vcpu, insn: u64, left: u64, right: u64) -> None:
    """Finish ADD, ADDS, SUB or SUBS (AddWithCarry)."""
    wide = insn >> 31
    a, b = left, right
    if insn >> 30 & 1:
        b = u64(0 - right + (1 << 64))
    result = u64(a + b)
    write(vcpu, insn & 31, wide, result)
    if insn >> 29 & 1 == 0:
        return
    if wide == 0:
        a, b, result = u64(a << 32), u64(b << 32), u64(result << 32)
        right = u64(right << 32)
        left = u64(left << 32)
    flags = u64(0)
    if insn >> 30 & 1:
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
    opc = insn >> 29 & 3
    result = left & right
    if opc == 1:
        result = left | right
    elif opc == 2:
        result = left ^ right
    write(vcpu, insn & 31, insn >> 31, result)
    if opc == 3:
        set_nz(vcpu, insn >> 31, result, 0)


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


@resident
def immediate(vcpu: Vcpu, insn: u64) -> bool:
    """Execute data processing with an immediate; False if it is none of those known."""
    rd, rn, wide = insn & 31, insn >> 5 & 31, insn >> 31
    if insn & ADR_MASK == ADR:
        offset = u64((insn >> 5 & 0x7FFFF) << 2 | insn >> 29 & 3)
        if wide != 0:
            write(vcpu, rd, 1, u64((vcpu.pc & ~0xFFF) + u64(sign_extend(offset, 21) << 12)))
        else:
            write(vcpu, rd, 1, u64(vcpu.pc + sign_extend(offset, 21)))
        return True
    if insn & ADD_IMMEDIATE_MASK == ADD_IMMEDIATE:
        if rn == ZR or (rd == ZR and insn >> 29 & 1 == 0):
            return False
        value = insn >> 10 & 0xFFF
        if insn >> 22 & 1:
            value = u64(value << 12)
        add(vcpu, insn, vcpu.x[rn], value)
        return True
    if insn & MOVE_WIDE_MASK == LOGICAL_IMMEDIATE:
        n = insn >> 22 & 1
        mask = bit_mask(n, insn >> 10 & 0x3F, insn >> 16 & 0x3F)
        if mask == 0 or (n != 0 and wide == 0) or (rd == ZR and insn >> 29 & 3 != 3):
            return False
        logic(vcpu, insn, read(vcpu, rn), mask)
        return True
    opc, shift = insn >> 29 & 3, u64((insn >> 21 & 3) * 16)
    if insn & MOVE_WIDE_MASK != MOVE_WIDE or opc == 1 or (wide == 0 and shift > 16):
        return False
    value = u64((insn >> 5 & 0xFFFF) << shift)
    if opc == 0:
        value = ~value & (1 << 64) - 1
    elif opc == 3:
        value = read(vcpu, rd) & ~u64(0xFFFF << shift) | value
    write(vcpu, rd, wide, value)
    return True


@resident
def register(vcpu: Vcpu, insn: u64) -> bool:
    """Execute logic or addition of registers, shifted left if at all; False if it is neither."""
    wide = insn >> 31
    is_logic = insn & REGISTER_MASK == LOGICAL_REGISTER
    shift = insn >> 10 & 0x3F
    if insn >> 22 & 3 != 0 or (wide == 0 and shift > 31):
        return False
    if not is_logic and (insn & REGISTER_MASK != ADD_REGISTER or insn & EXTENDED):
        return False
    left = read(vcpu, insn >> 5 & 31)
    right = u64(read(vcpu, insn >> 16 & 31) << shift)
    if is_logic:
        if insn & EXTENDED:
            right = ~right & (1 << 64) - 1
        logic(vcpu, insn, left, right)
    else:
        add(vcpu, insn, left, right)
    return True


@resident
def branch(vcpu: Vcpu, insn: u64) -> bool:
    """Execute a B.cond that leads forward, which sets PC; False if it is none."""
    offset = u64((insn >> 5 & 0x7FFFF) << 2)
    if insn & B_COND_MASK != B_COND or offset == 0 or offset & BACKWARD:
        return False
    if condition_holds(vcpu, insn & 15):
        vcpu.pc = u64(vcpu.pc + offset)
    else:
        vcpu.pc = u64(vcpu.pc + BYTES)
    return True


@resident
def execute(vcpu: Vcpu, insn: u64) -> bool:
    """Execute one instruction at vEL2; False, with nothing changed, if it is not one we know."""
    group = insn >> 25 & 15
    if group == 0b1000 or group == 0b1001:
        if not immediate(vcpu, insn):
            return False
    elif group == 0b0101:
        if not register(vcpu, insn):
            return False
    elif insn != NOP:
        return branch(vcpu, insn)
    vcpu.pc = u64(vcpu.pc + BYTES)
    return True
