"""Each encoder of the assembler, read back by capstone; and what the assembler refuses."""

from __future__ import annotations

from collections.abc import Callable

import capstone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vel2.arch import sysregs as sr
from vel2.arch.insn import AT, TLBI
from vel2.lang.asm import SP, XZR, Assembler, AssemblyError, encode_bitmask
from vel2.lang.asm_base import CONDITIONS
from vel2.lang.elf import ObjectCode
from vel2.lang.link import LinkError, link_image

BASE = 0x4000_0000
DISASSEMBLER = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)

xreg = st.integers(0, 30)
xreg_or_zr = st.one_of(xreg, st.just(XZR))
xreg_or_sp = st.one_of(xreg, st.just(SP))
distinct = st.lists(xreg, min_size=3, max_size=3, unique=True)
u12 = st.integers(0, 0xFFF)
u16 = st.integers(0, 0xFFFF)
u64 = st.integers(0, (1 << 64) - 1)
shift = st.integers(0, 63)


def name(register: int) -> str:
    """Write a register as capstone does."""
    return repr(register).lower() if register in (SP, XZR) and register == 31 else f"x{register}"


def imm(value: int) -> str:
    """Write an immediate as capstone does."""
    sign = "-" if value < 0 else ""
    return f"#{sign}{abs(value)}" if abs(value) < 10 else f"#{sign}{abs(value):#x}"


def disassembled(a: Assembler, base: int = BASE) -> list[str]:
    image = link_image(base, [a])
    found = DISASSEMBLER.disasm(image.data[: a.here], base)
    return [f"{i.mnemonic} {i.op_str}".strip() for i in found]


def one(emit: Callable[[Assembler], None]) -> str:
    """Assemble one instruction and read it back."""
    a = Assembler()
    emit(a)
    (text,) = disassembled(a)
    return text


@given(xreg, xreg_or_zr)
def test_mov_register(rd: int, rn: int) -> None:
    assert one(lambda a: a.mov(rd, rn)) == f"mov {name(rd)}, {name(rn)}"


@given(xreg)
def test_mov_stack_pointer(rd: int) -> None:
    assert one(lambda a: a.mov(rd, SP)) == f"mov {name(rd)}, sp"
    assert one(lambda a: a.mov(SP, rd)) == f"mov sp, {name(rd)}"


@given(xreg, u16, st.sampled_from((0, 16, 32, 48)))
def test_movk(rd: int, value: int, at: int) -> None:
    suffix = f", lsl #{at}" if at else ""
    assert one(lambda a: a.movk(rd, value, at)) == f"movk x{rd}, {imm(value)}{suffix}"


def loaded(texts: list[str]) -> int:
    """Compute what a sequence of moves leaves in the register."""
    value = 0
    for text in texts:
        operation, operands = text.split(" ", 1)
        _, number, *rest = operands.split(", ")
        at = int(rest[0].removeprefix("lsl #")) if rest else 0
        bits = int(number.removeprefix("#"), 0)
        if operation == "movk":
            value = value & ~(0xFFFF << at) | bits << at
        elif operation == "movn":
            value = ~(bits << at)
        elif operation in ("movz", "mov", "orr"):
            bits = int(rest[0].removeprefix("#"), 0) if operation == "orr" else bits << at
            value = bits
        else:
            raise AssertionError(text)
    return value & (1 << 64) - 1


@given(xreg, st.one_of(u64, u16, st.integers(-(1 << 63), -1), st.just(0xFFFF_0000_FFFF_0000)))
def test_mov_imm_loads_the_constant_in_at_most_four(rd: int, value: int) -> None:
    a = Assembler()
    a.mov_imm(rd, value)
    texts = disassembled(a)
    assert loaded(texts) == value & (1 << 64) - 1
    assert len(texts) <= 4


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (0, 1),
        (0xFFFF, 1),
        (-1, 1),
        (-2, 1),
        (-0x1_0001, 1),
        (0x5555_5555_5555_5555, 1),
        (0x1_0001, 2),
        (-0x1_0002, 2),
    ],
)
def test_mov_imm_is_short(value: int, count: int) -> None:
    a = Assembler()
    a.mov_imm(0, value)
    assert a.here == 4 * count


@given(xreg_or_sp, xreg_or_sp, u12.filter(bool), st.sampled_from(("add", "sub")))
def test_add_sub_immediate(rd: int, rn: int, value: int, op: str) -> None:
    text = one(lambda a: getattr(a, op)(rd, rn, value))
    assert text == f"{op} {name(rd)}, {name(rn)}, {imm(value)}"


@given(xreg, xreg, st.integers(1, 0xFFF))
def test_add_shifted_immediate(rd: int, rn: int, value: int) -> None:
    text = one(lambda a: a.add(rd, rn, value << 12))
    assert text == f"add x{rd}, x{rn}, {imm(value)}, lsl #12"


@given(
    xreg,
    xreg_or_zr,
    xreg_or_zr,
    st.integers(1, 63),
    st.sampled_from(("add", "sub", "adds", "subs")),
)
def test_add_sub_register(rd: int, rn: int, rm: int, amount: int, op: str) -> None:
    text = one(lambda a: getattr(a, op)(rd, rn, rm=rm, lsl=amount))
    if rn is XZR and op in ("sub", "subs"):
        op, operands = {"sub": "neg", "subs": "negs"}[op], f"{name(rd)}, {name(rm)}"
    else:
        operands = f"{name(rd)}, {name(rn)}, {name(rm)}"
    assert text == f"{op} {operands}, lsl #{amount}"


@given(xreg, u12, xreg_or_zr)
def test_compare(rn: int, value: int, rm: int) -> None:
    assert one(lambda a: a.cmp(rn, value)) == f"cmp x{rn}, {imm(value)}"
    assert one(lambda a: a.cmn(rn, value)) == f"cmn x{rn}, {imm(value)}"
    assert one(lambda a: a.cmp(rn, rm=rm)) == f"cmp x{rn}, {name(rm)}"


@given(xreg, xreg, xreg, st.integers(1, 63), st.sampled_from(("and", "orr", "eor", "ands", "bic")))
def test_logical_register(rd: int, rn: int, rm: int, amount: int, op: str) -> None:
    method = "and_" if op == "and" else op
    text = one(lambda a: getattr(a, method)(rd, rn, rm=rm, lsl=amount))
    assert text == f"{op} x{rd}, x{rn}, x{rm}, lsl #{amount}"


@st.composite
def bitmasks(draw: st.DrawFn) -> int:
    """Draw a logical immediate from its definition: a run of ones, rotated, repeated."""
    size = 1 << draw(st.integers(1, 6))
    ones = draw(st.integers(1, size - 1))
    rotation = draw(st.integers(0, size - 1))
    run = (1 << ones) - 1
    element = (run >> rotation | run << size - rotation) & (1 << size) - 1
    return sum(element << at for at in range(0, 64, size))


@given(xreg, xreg, bitmasks(), st.sampled_from(("and", "eor", "ands")))
def test_logical_immediate(rd: int, rn: int, value: int, op: str) -> None:
    method = "and_" if op == "and" else op
    text = one(lambda a: getattr(a, method)(rd, rn, value))
    assert split_number(text) == (f"{op} x{rd}, x{rn}", value)
    assert split_number(one(lambda a: a.tst(rn, value))) == (f"tst x{rn}", value)


def split_number(text: str) -> tuple[str, int]:
    """Take the last operand off; capstone shows some numbers as negative."""
    rest, number = text.rsplit(", #", 1)
    return rest, int(number, 0) & (1 << 64) - 1


def test_all_bitmask_immediates_are_known() -> None:
    """There are 5334 logical immediates of 64 bits; no other value is one."""
    found = {
        sum(
            ((((1 << ones) - 1) >> r | ((1 << ones) - 1) << s - r) & (1 << s) - 1) << at
            for at in range(0, 64, s)
        )
        for s in (2, 4, 8, 16, 32, 64)
        for ones in range(1, s)
        for r in range(s)
    }
    assert len(found) == 5334
    assert len({encode_bitmask(value) for value in found} - {None}) == 5334
    for value in (0, (1 << 64) - 1, 5, 0x1234, 1 << 64):
        assert encode_bitmask(value) is None


@given(xreg, xreg, st.integers(1, 63))
def test_shifts(rd: int, rn: int, amount: int) -> None:
    for op in ("lsr", "asr", "lsl"):
        text = one(lambda a, op=op: getattr(a, op)(rd, rn, amount))
        assert text == f"{op} x{rd}, x{rn}, {imm(amount)}"


@given(distinct)
def test_shifts_by_register(regs: list[int]) -> None:
    d, n, m = regs
    assert one(lambda a: a.lslv(d, n, m)) == f"lsl x{d}, x{n}, x{m}"
    assert one(lambda a: a.lsrv(d, n, m)) == f"lsr x{d}, x{n}, x{m}"


@given(xreg, xreg, st.integers(1, 62), st.data())
def test_bit_fields(rd: int, rn: int, lsb: int, data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 63 - lsb))
    text = one(lambda a: a.ubfx(rd, rn, lsb, width))
    assert text == f"ubfx x{rd}, x{rn}, {imm(lsb)}, {imm(width)}"
    text = one(lambda a: a.bfi(rd, rn, lsb, width))
    assert text == f"bfi x{rd}, x{rn}, {imm(lsb)}, {imm(width)}"


@given(xreg, xreg, xreg, st.sampled_from(CONDITIONS[:14]))
def test_csel(rd: int, rn: int, rm: int, condition: str) -> None:
    text = one(lambda a: a.csel(rd, rn, rm, condition))
    assert text.replace("hs", "cs").replace("lo", "cc") == f"csel x{rd}, x{rn}, x{rm}, {condition}"


SINGLE = (("ldr", 8, "x"), ("str", 8, "x"), ("ldr_w", 4, "w"), ("str_w", 4, "w"), ("ldrh", 2, "w"))
SINGLE += (("strh", 2, "w"), ("ldrb", 1, "w"), ("strb", 1, "w"))


def memory(base: int, offset: int) -> str:
    return f"[{name(base)}]" if offset == 0 else f"[{name(base)}, {imm(offset)}]"


@given(xreg, xreg_or_sp, st.sampled_from(SINGLE), st.integers(0, 4095))
def test_load_store_scaled(rt: int, rn: int, what: tuple[str, int, str], index: int) -> None:
    op, size, letter = what
    text = one(lambda a: getattr(a, op)(rt, rn, index * size))
    assert text == f"{op.removesuffix('_w')} {letter}{rt}, {memory(rn, index * size)}"


@given(xreg, xreg_or_sp, st.sampled_from(SINGLE), st.integers(-256, -1))
def test_load_store_negative_offset(
    rt: int, rn: int, what: tuple[str, int, str], offset: int
) -> None:
    op, _, letter = what
    unscaled = {"ldr": "ldur", "str": "stur"}.get(op[:3], "") + op.removesuffix("_w")[3:]
    text = one(lambda a: getattr(a, op)(rt, rn, offset))
    assert text == f"{unscaled} {letter}{rt}, {memory(rn, offset)}"


@given(distinct, st.integers(-256, 255).filter(bool), st.sampled_from(("ldr", "str")))
def test_load_store_write_back(regs: list[int], offset: int, op: str) -> None:
    t, n, _ = regs
    text = one(lambda a: getattr(a, op)(t, n, offset, pre=True))
    assert text == f"{op} x{t}, [x{n}, {imm(offset)}]!"
    text = one(lambda a: getattr(a, op)(t, SP, offset, post=True))
    assert split_number(text) == (f"{op} x{t}, [sp]", offset & (1 << 64) - 1)


@given(distinct, st.integers(-64, 63).filter(bool), st.sampled_from(("ldp", "stp")))
def test_pairs(regs: list[int], index: int, op: str) -> None:
    t, u, n = regs
    offset = 8 * index
    assert one(lambda a: getattr(a, op)(t, u, n, offset)) == f"{op} x{t}, x{u}, {memory(n, offset)}"
    text = one(lambda a: getattr(a, op)(t, u, SP, offset, pre=True))
    assert text == f"{op} x{t}, x{u}, [sp, {imm(offset)}]!"
    text = one(lambda a: getattr(a, op)(t, u, n, offset, post=True))
    assert split_number(text) == (f"{op} x{t}, x{u}, [x{n}]", offset & (1 << 64) - 1)


@given(xreg, xreg)
def test_ordered_accesses(rt: int, rn: int) -> None:
    assert one(lambda a: a.ldar(rt, rn)) == f"ldar x{rt}, [x{rn}]"
    assert one(lambda a: a.stlr(rt, rn)) == f"stlr x{rt}, [x{rn}]"


@given(xreg, xreg, xreg)
def test_compare_and_swap(rs: int, rt: int, rn: int) -> None:
    assert one(lambda a: a.casal(rs, rt, rn)) == f"casal x{rs}, x{rt}, [x{rn}]"


@given(st.integers(0, 40), st.integers(0, 40), xreg, st.integers(0, 63))
def test_branches_reach_both_ways(before: int, after: int, rt: int, bit: int) -> None:
    """A label behind and one ahead, for each kind of branch."""
    a = Assembler()
    a.label("back")
    for _ in range(before):
        a.nop()
    start = a.here
    for label in ("back", "ahead"):
        a.b(label)
        a.bl(label)
        a.b_cond("ne", label)
        a.cbz(rt, label)
        a.cbnz(rt, label)
        a.tbz(rt, bit, label)
        a.tbnz(rt, bit, label)
        a.adr(rt, label)
    for _ in range(after):
        a.nop()
    a.label("ahead")
    a.nop()
    texts = disassembled(a)[start // 4 :]
    t = f"{'x' if bit > 31 else 'w'}{rt}"
    for index, where in ((0, BASE), (8, BASE + a.labels["ahead"])):
        target = f"#{where:#x}"
        assert texts[index : index + 8] == [
            *(f"b {target}", f"bl {target}", f"b.ne {target}"),
            *(f"cbz x{rt}, {target}", f"cbnz x{rt}, {target}"),
            *(f"tbz {t}, {imm(bit)}, {target}", f"tbnz {t}, {imm(bit)}, {target}"),
            f"adr x{rt}, {target}",
        ]


@given(xreg, st.integers(0, 0x3000), st.integers(0, 1 << 20))
def test_adr_symbol_gives_the_address(rd: int, distance: int, page: int) -> None:
    a = Assembler()
    a.adr_symbol(rd, "there", 4)
    a.space(distance & ~3)
    a.label("there")
    a.nop()
    base = page * 0x1000
    adrp, add, *_ = disassembled(a, base)
    high = int(adrp.removeprefix(f"adrp x{rd}, #"), 0)
    low = int(add.removeprefix(f"add x{rd}, x{rd}, #"), 0)
    assert high + low == base + a.labels["there"] + 4


@given(xreg)
def test_register_branches(rn: int) -> None:
    assert one(lambda a: a.br(rn)) == f"br x{rn}"
    assert one(lambda a: a.blr(rn)) == f"blr x{rn}"
    assert one(lambda a: a.ret(rn)) == ("ret" if rn == 30 else f"ret x{rn}")


REGISTERS = (sr.ESR_EL2, sr.ELR_EL2, sr.SPSR_EL2, sr.VBAR_EL2, sr.TPIDR_EL2, sr.SP_EL1, sr.HCR_EL2)


@given(xreg_or_zr, st.sampled_from(REGISTERS))
def test_system_registers(rt: int, register: type[sr.Register]) -> None:
    text = f"{register.name.lower()}"
    assert one(lambda a: a.mrs(rt, register)) == f"mrs {name(rt)}, {text}"
    assert one(lambda a: a.msr(register, rt)) == f"msr {text}, {name(rt)}"


def test_every_register_is_encoded_as_its_generic_name() -> None:
    """Registers that capstone has no name for show the encoding itself."""
    for register in sr.ALL_REGISTERS:
        a = Assembler()
        a.mrs(3, register)
        (word,) = (int.from_bytes(a.data, "little"),)
        assert word >> 20 == 0xD53
        assert word & 31 == 3
        assert word >> 5 & 0x7FFF == register.encoding.mrs_field & 0x7FFF


def test_system_instructions() -> None:
    assert one(lambda a: a.sys(TLBI.VMALLE1IS)) == "tlbi vmalle1is"
    assert one(lambda a: a.sys(TLBI.VAE1IS, 7)) == "tlbi vae1is, x7"
    assert one(lambda a: a.sys(AT.S12E1R, 0)) == "at s12e1r, x0"


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("daifset", 15, "msr daifset, #0xf"),
        ("daifclr", 2, "msr daifclr, #2"),
        ("spsel", 1, "msr spsel, #1"),
        ("pan", 1, "msr pan, #1"),
        ("uao", 0, "msr uao, #0"),
    ],
)
def test_pstate_fields(field: str, value: int, text: str) -> None:
    assert one(lambda a: a.msr_immediate(field, value)) == text


@given(u16)
def test_exception_generation(value: int) -> None:
    for op in ("svc", "hvc", "smc", "brk"):
        assert one(lambda a, op=op: getattr(a, op)(value)) == f"{op} {imm(value)}"


def test_instructions_without_operands() -> None:
    a = Assembler()
    plain = ["eret", "isb", "nop", "wfe", "wfi", "sev"]
    for op in plain:
        getattr(a, op)()
    options = ("sy", "ish", "ishst", "nsh")
    for option in options:
        a.dsb(option)
        a.dmb(option)
    barriers = [f"{op} {option}" for option in options for op in ("dsb", "dmb")]
    assert disassembled(a) == [*plain, *barriers]


@given(xreg, xreg_or_sp)
def test_pointer_authentication(rd: int, rn: int) -> None:
    assert one(lambda a: a.autia(rd, rn)) == f"autia x{rd}, {name(rn)}"
    assert one(lambda a: a.autib(rd, rn)) == f"autib x{rd}, {name(rn)}"
    assert one(lambda a: a.pacga(rd, 1, rn)) == f"pacga x{rd}, x1, {name(rn)}"


def test_placement() -> None:
    a = Assembler()
    a.label("start")
    a.nop()
    a.align(16)
    a.label("table")
    a.quad(0x1122_3344_5566_7788)
    a.quad("start")
    a.bytes(b"abc")
    a.space(4, 4)
    a.org(0x40)
    a.org_from("table", 0x34)
    image = link_image(0x8000, [a])
    assert a.labels == {"start": 0, "table": 16}
    assert a.here == 0x44
    assert image.data[16:24] == bytes.fromhex("8877665544332211")
    assert int.from_bytes(image.data[24:32], "little") == 0x8000
    assert image.data[32:40] == b"abc\0\0\0\0\0"
    assert image.symbol_at(0x8000) == "start"
    assert image.symbol_at(0x8014) == "table+0x4"
    assert image.symbol_at(0x7FFF) is None
    assert image.symbol_at(image.end) is None


NO_CONDITION = f"there is no condition 'xx': give one of {', '.join(CONDITIONS)}"
NO_OPTION = (
    "there is no option 'all': give one of oshld, oshst, osh, nshld, nshst, nsh, ishld, ishst, "
    "ish, ld, st, sy"
)
NO_FIELD = "there is no PSTATE field 'daif': give one of spsel, daifset, daifclr, uao, pan"
NO_HINT = "there is no hint 'x': give one of nop, yield, wfe, wfi, sev, sevl, esb"
BASE_IS_DATA = "x1 is both the base to write back and a register of data"

REFUSED: list[tuple[Callable[[Assembler], None], str]] = [
    (lambda a: a.mov(31, 0), "there is no register x31: give 0 to 30, SP or XZR"),
    (lambda a: a.ldr(SP, 0), "SP cannot be used here: give x0 to x30 or XZR"),
    (lambda a: a.ldr(0, XZR), "XZR cannot be used here: give x0 to x30 or SP"),
    (lambda a: a.movz(0, 0x10000), "a 16-bit immediate cannot be 65536: give 0 to 65535"),
    (lambda a: a.movz(0, 1, 8), "the shift cannot be 8: give 0 to 48, a multiple of 16"),
    (lambda a: a.mov_imm(0, 1 << 64), "0x10000000000000000 does not fit a register: give 64 bits"),
    (lambda a: a.add(0, 0, 0x1001), "an arithmetic immediate cannot be 4097: give 0 to 4095"),
    (lambda a: a.add(0, 0, -1), "an arithmetic immediate cannot be -1: give 0 to 4095"),
    (lambda a: a.add(SP, 0, rm=1), "SP cannot be used here: give x0 to x30 or XZR"),
    (lambda a: a.and_(0, 0, 5), "0x5 is not a logical immediate: load it with mov_imm() first"),
    (lambda a: a.orr(0, 0), "give an immediate or rm="),
    (lambda a: a.lsl(0, 0, 64), "the shift cannot be 64: give 0 to 63"),
    (lambda a: a.ubfx(0, 0, 60, 5), "width cannot be 5: give 1 to 4"),
    (lambda a: a.ldr(0, 1, 0x8000), "the offset cannot be 32768: give 0 to 32760, a multiple of 8"),
    (lambda a: a.ldr(0, 1, 0x101), "the offset cannot be 257: give 0 to 32760, a multiple of 8"),
    (lambda a: a.ldr(0, 1, 256, pre=True), "the offset cannot be 256: give -256 to 255"),
    (lambda a: a.ldr(0, 1, 8, pre=True, post=True), "pre and post exclude each other"),
    (lambda a: a.ldr(1, 1, 8, pre=True), BASE_IS_DATA),
    (lambda a: a.ldp(0, 0, 1), "LDP cannot load x0 twice"),
    (lambda a: a.stp(0, 1, SP, 4), "the offset cannot be 4: give -512 to 504, a multiple of 8"),
    (lambda a: a.tbz(0, 64, "l"), "the bit cannot be 64: give 0 to 63"),
    (lambda a: a.b_cond("xx", "l"), NO_CONDITION),
    (lambda a: a.hvc(1 << 16), "the immediate cannot be 65536: give 0 to 65535"),
    (lambda a: a.msr_immediate("daif", 1), NO_FIELD),
    (lambda a: a.msr_immediate("daifset", 16), "the value cannot be 16: give 0 to 15"),
    (lambda a: a.dsb("all"), NO_OPTION),
    (lambda a: a.hint("x"), NO_HINT),
    (lambda a: a.org_from("l", 4), "there is no label l yet"),
]


@pytest.mark.parametrize(("emit", "sentence"), REFUSED, ids=[text for _, text in REFUSED])
def test_refused(emit: Callable[[Assembler], None], sentence: str) -> None:
    a = Assembler("stub")
    a.nop()
    with pytest.raises(AssemblyError) as caught:
        emit(a)
    assert str(caught.value) == f"stub+0x4: {sentence}"
    assert a.here == 4, "a refused instruction leaves nothing behind"
    assert not a.relocations


def test_a_label_is_defined_once() -> None:
    a = Assembler("stub")
    a.label("l")
    with pytest.raises(AssemblyError, match=r"^stub: label l is defined twice$"):
        a.label("l")


def test_org_does_not_go_back() -> None:
    a = Assembler("stub")
    a.space(0x90)
    with pytest.raises(AssemblyError) as caught:
        a.org(0x80)
    assert str(caught.value) == (
        "stub: cannot go to 0x80, the code is at 0x90: give a multiple of 4 that is not before it"
    )


def link_error(*pieces: Assembler, base: int = BASE) -> str:
    with pytest.raises(LinkError) as caught:
        link_image(base, pieces)
    return str(caught.value)


def test_link_errors() -> None:
    lost = Assembler("one")
    lost.bl("missing")
    assert link_error(lost) == "nothing defines missing, which one uses: make it a root, or a label"
    a, b = Assembler("one"), Assembler("two")
    a.label("l")
    b.label("l")
    assert link_error(a, b) == "l is defined twice, the second time by two: rename one"
    far = Assembler("one")
    far.tbz(0, 1, "far")
    far.space(0x8000)
    far.label("far")
    assert link_error(far) == "one+0x0: a distance of 0x8004 is out of reach (far)"
    assert link_error(base=0x100) == "an image cannot start at 0x100: give a multiple of 0x800"


def test_private_labels_belong_to_their_assembler() -> None:
    pieces = []
    for number in range(2):
        a = Assembler(f"piece{number}", alignment=4)
        a.nop()
        a.label(".loop")
        a.b(".loop")
        pieces.append(a)
    image = link_image(BASE, pieces)
    texts = [f"{i.mnemonic} {i.op_str}".strip() for i in DISASSEMBLER.disasm(image.data, BASE)]
    assert texts == ["nop", f"b #{BASE + 4:#x}", "nop", f"b #{BASE + 12:#x}"]
    assert ".loop" not in image.symbols


def test_an_object_may_be_absent_or_empty() -> None:
    a = Assembler()
    a.nop()
    assert link_image(BASE, [a], ObjectCode(b"", [], [])).data == link_image(BASE, [a]).data
