"""The machine code: what it may contain, and where it may lie."""

from __future__ import annotations

from pathlib import Path

import capstone
import pytest

from tests.lang.programs import Program
from tests.lang.snippets import load
from vel2.arch.insn import AT, TLBI
from vel2.arch.sysregs import ALL_REGISTERS
from vel2.lang import (
    PA,
    Assembler,
    Image,
    LinkError,
    Struct,
    address_of,
    array,
    at,
    build_image,
    build_object,
    bytes_address,
    compare_exchange_u64,
    dmb_ish,
    dsb_ish,
    dsb_ishst,
    dsb_nsh,
    dsb_sy,
    extern,
    fetch_add_u64,
    inline,
    isb,
    link_elf,
    link_image,
    load_acquire_u64,
    load_u8,
    load_u64,
    nop,
    resident,
    scalar,
    sev,
    store_release_u64,
    store_u64,
    swap_u64,
    symbol_address,
    sysop,
    u8,
    u32,
    u64,
    vload,
    vstore,
    wfe,
    wfi,
    yield_,
)
from vel2.lang.build import disassembly, llvm_text
from vel2.lang.lower import lower_module

BASE = 0x4000_0000
DISASSEMBLER = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
DISASSEMBLER.detail = True


class Page(Struct):
    words = array(u64, 512)


class Shared(Struct):
    flag = scalar(u32)
    data = array(u8, 64)
    copy = array(u8, 64)


def code(image: Image, name: str) -> list[str]:
    """Disassemble one function."""
    start = image.symbols[name] - image.base
    octets = image.data[start : start + image.sizes[name]]
    return [
        f"{i.mnemonic} {i.op_str}".strip() for i in DISASSEMBLER.disasm(octets, image.symbols[name])
    ]


def compiled(function: object, *assemblers: Assembler) -> list[str]:
    image = build_image(BASE, [function], assemblers)  # type: ignore[list-item]
    return code(image, function.__name__)  # type: ignore[attr-defined]


def test_every_register_can_be_read_and_written(tmp_path: Path) -> None:
    """LLVM takes each encoding that arch knows, and encodes it unchanged."""
    body = ["from vel2.lang import *", "from vel2.arch.sysregs import ALL_REGISTERS as ALL"]
    body += ["def f(x: u64) -> u64:", "    for register in ALL:", "        x = x ^ mrs(register)"]
    body += ["        msr(register, x)", "    return x", ""]
    module = load(tmp_path, "\n".join(body), header="")
    image = build_image(BASE, [module.f])
    start = image.symbols["f"] - BASE
    octets = image.data[start : start + image.sizes["f"]]
    words = [int.from_bytes(octets[i : i + 4], "little") for i in range(0, len(octets), 4)]
    reads = [word >> 5 & 0x7FFF for word in words if word >> 20 == 0xD53]
    writes = [word >> 5 & 0x7FFF for word in words if word >> 20 == 0xD51]
    expected = [register.encoding.mrs_field & 0x7FFF for register in ALL_REGISTERS]
    assert reads == expected
    assert writes == expected


def test_instructions_without_operand_use_xzr() -> None:
    """With another register TLBI VMALLE1 would be CONSTRAINED UNPREDICTABLE."""

    @resident
    def flush(x: u64) -> None:
        sysop(TLBI.VMALLE1IS)
        sysop(TLBI.VAE1IS, x)
        sysop(TLBI.ALLE1)
        sysop(AT.S12E1R, x)
        sysop(TLBI.VMALLS12E1IS)

    assert compiled(flush) == [
        *("tlbi vmalle1is", "tlbi vae1is, x0", "tlbi alle1", "at s12e1r, x0"),
        *("tlbi vmalls12e1is", "ret"),
    ]


def test_barriers_and_hints() -> None:
    @resident
    def order() -> None:
        isb()
        dsb_sy()
        dsb_ish()
        dsb_ishst()
        dsb_nsh()
        dmb_ish()
        wfi()
        wfe()
        sev()
        nop()
        yield_()

    assert compiled(order) == [
        *("isb", "dsb sy", "dsb ish", "dsb ishst", "dsb nsh", "dmb ish"),
        *("wfi", "wfe", "sev", "nop", "yield", "ret"),
    ]


def test_memory_accesses_are_neither_merged_nor_dropped() -> None:
    @resident
    def twice(a: PA) -> u64:
        store_u64(a, 1)
        store_u64(a, 1)
        load_u64(a)
        load_u8(a)
        return load_u64(a)

    texts = compiled(twice)
    assert sum(text.startswith("str x") for text in texts) == 2
    assert sum(text.startswith("ldr x") for text in texts) == 2
    assert sum(text.startswith("ldrb") for text in texts) == 1


def test_volatile_fields_are_read_each_time() -> None:
    @resident
    def wait(s: Shared) -> None:
        vstore(s, "flag", 1)
        while vload(s, "flag") == 1:
            pass

    texts = compiled(wait)
    branch = next(text for text in texts if text.startswith("b."))
    target = int(branch.split("#")[1], 0)
    assert target > BASE, "the loop goes back to the load, not to the store"
    assert any(text.startswith("ldr w") for text in texts)


def test_ordered_and_atomic_accesses() -> None:
    @resident
    def atomics(a: PA, x: u64) -> u64:
        store_release_u64(a, x)
        old = swap_u64(a, x)
        return u64(load_acquire_u64(a) + fetch_add_u64(a, x) + compare_exchange_u64(a, x, old))

    mnemonics = {text.split()[0] for text in compiled(atomics)}
    assert {"stlr", "swpal", "ldapr", "ldaddal", "casal"} <= mnemonics


def test_address_0_is_memory() -> None:
    @resident
    def first() -> u64:
        return at(Page, 0).words[0]

    assert compiled(first) == ["mov x8, xzr", "ldr x0, [x8]", "ret"]


def test_user_programs_run_without_the_atomics_of_armv8_1() -> None:
    @resident
    def atomics(a: PA, x: u64) -> u64:
        return u64(swap_u64(a, x) + fetch_add_u64(a, x) + compare_exchange_u64(a, x, 1))

    built = build_object([atomics], mode="userspace")
    assert built.undefined == set()
    mnemonics = {text.split()[0] for text in code(link_image(BASE, [], built), "atomics")}
    assert {"ldaxr", "stlxr"} <= mnemonics
    assert not {text for text in mnemonics if text.startswith(("swp", "ldadd", "cas"))}


def test_loops_do_not_become_calls_of_memset_and_memcpy() -> None:
    @resident
    def clear(p: Page, s: Shared) -> None:
        for i in range(512):
            p.words[i] = 0
        for i in range(64):
            s.copy[i] = s.data[i]

    assert build_object([clear]).undefined == set()


@pytest.mark.parametrize("seed", range(2))
def test_no_fp_register_and_no_undefined_symbol(seed: int, tmp_path: Path) -> None:
    """In the code of random programs and of memory-moving loops."""
    from random import Random

    module = load(tmp_path, Program(Random(seed)).text(12))
    image = build_image(BASE, [getattr(module, f"f{n}") for n in range(12)])
    assert build_object([module.f0]).undefined == set()
    groups = (capstone.arm64.ARM64_GRP_NEON, capstone.arm64.ARM64_GRP_FPARMV8)
    checked = 0
    for name in image.sizes:
        start = image.symbols[name] - BASE
        for instruction in DISASSEMBLER.disasm(
            image.data[start : start + image.sizes[name]], image.symbols[name]
        ):
            checked += 1
            assert not any(group in groups for group in instruction.groups), instruction
            registers = {
                instruction.reg_name(r) for access in instruction.regs_access() for r in access
            }
            assert not {r for r in registers if r[0] in "bhsdqv" and r[1:].isdigit()}, instruction
    assert checked == sum(image.sizes.values()) // 4 > 100


def test_one_object_serves_any_base() -> None:
    table = tuple(n * n for n in range(100))

    @resident
    def look(x: u64) -> u64:
        return table[x % 100] | symbol_address("stub")

    stub = Assembler("stub")
    stub.label("stub")
    stub.ret()
    built = build_object([look])
    images = [link_image(base, [stub], built) for base in (0x1_0000, 0x8000_0000_0000)]
    mnemonics = [[text.split()[0] for text in code(image, "look")] for image in images]
    assert mnemonics[0] == mnemonics[1]
    offsets = [{name: at - image.base for name, at in image.symbols.items()} for image in images]
    assert offsets[0] == offsets[1]


def test_calls_of_assembly_and_back() -> None:
    @extern("firmware_call")
    def firmware_call(x: u64) -> u64:
        raise NotImplementedError

    @resident
    def trap(x: u64) -> u64:
        return u64(firmware_call(x) + 1)

    stub = Assembler("stub")
    stub.label("entry")
    stub.bl("trap")
    stub.label("firmware_call")
    stub.smc()
    stub.ret()
    image = build_image(BASE, [trap], [stub])
    assert f"bl #{image.symbols['firmware_call']:#x}" in code(image, "trap")
    assert image.symbol_at(image.symbols["trap"] + 4) == "trap+0x4"
    with pytest.raises(LinkError) as caught:
        build_image(BASE, [trap])
    assert str(caught.value) == (
        "nothing defines firmware_call, which .text uses: make it a root, or a label"
    )


def test_inline_functions_leave_no_call() -> None:
    @inline
    def big(x: u64) -> u64:
        for i in range(1000):
            x = u64(x * 31 + i)
            if x & 0xFFF == 0:
                x = u64(x + 7)
        return x

    @resident
    def twice(x: u64) -> u64:
        return big(x) ^ big(u64(x + 1))

    assert not any(text.startswith("bl") for text in compiled(twice))


def test_bounds_are_checked_on_request() -> None:
    @resident
    def pick(p: Page, x: u64) -> u64:
        return p.words[x]

    plain = build_image(BASE, [pick])
    checked = build_image(BASE, [pick], check_bounds=True)
    assert not any(text.startswith("brk") for text in code(plain, "pick"))
    assert any(text.startswith("brk") for text in code(checked, "pick"))


def test_the_stages_can_be_read() -> None:
    @resident
    def one() -> u64:
        return 1

    assert "define dso_local i64 @one()" in llvm_text(lower_module(one))
    assert "one:" in disassembly([one])
    with pytest.raises(
        ValueError, match=r"^there is no mode 'x': give one of hardware, simulated, userspace$"
    ):
        build_object([one], mode="x")


def test_code_leads_back_to_its_source() -> None:
    @inline
    def flush() -> None:
        sysop(TLBI.ALLE1)

    @resident
    def trap(x: u64) -> u64:
        sysop(TLBI.VAE1IS, x)
        isb()
        flush()
        return x

    stub = Assembler("stub")
    stub.label("entry")
    stub.bl("trap")
    image = build_image(BASE, [trap], [stub])
    start = image.symbols["trap"]
    first = trap.__code__.co_firstlineno
    lines = {
        "tlbi vae1is, x0": first + 2,
        "isb": first + 3,
        "tlbi alle1": flush.__code__.co_firstlineno + 2,
        "ret": first + 5,
    }
    for number, text in enumerate(code(image, "trap")):
        assert image.source_at(start + 4 * number) == f"{__file__}:{lines[text]}"
    assert image.source_at(image.symbols["entry"]) is None
    assert image.source_at(image.end) is None


def test_the_same_source_gives_the_same_image(tmp_path: Path) -> None:
    from random import Random

    module = load(tmp_path, Program(Random(7)).text(6))
    roots = [getattr(module, f"f{n}") for n in range(6)]
    first, second = (build_image(BASE, roots) for _ in range(2))
    assert first.data == second.data
    assert first.symbols == second.symbols


def test_a_program_has_code_and_data_apart(tmp_path: Path) -> None:
    text = b"hello\n"

    @extern("syscall")
    def syscall(n: u64, a: u64, b: u64, c: u64) -> u64:
        raise NotImplementedError

    @resident
    def main() -> u64:
        buffer = at(Shared, symbol_address("buffer"))
        buffer.data[0] = u8(load_u8(PA(bytes_address(text))))
        return syscall(64, 1, address_of(buffer), 1)

    stubs = Assembler("stubs")
    stubs.label("_start")
    stubs.bl("main")
    stubs.label("syscall")
    stubs.svc()
    stubs.ret()
    data = Assembler("data", alignment=16, writable=True)
    data.label("counter")
    data.quad(7)
    data.label("buffer")
    data.space(Shared.size)
    path = tmp_path / "program"
    built = build_object([main], mode="userspace")
    path.write_bytes(link_elf(built, [stubs, data], 0x40_0000, "_start"))
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as stream:
        elf = ELFFile(stream)
        segments = [(s["p_type"], s["p_flags"], s["p_vaddr"]) for s in elf.iter_segments()]
        code_segment, _, data_segment = elf.iter_segments()
        assert elf["e_machine"] == "EM_AARCH64"
        assert segments == [
            *(("PT_LOAD", 5, 0x40_0000), ("PT_GNU_STACK", 6, 0), ("PT_LOAD", 6, 0x41_0000)),
        ]
        start = elf["e_entry"] - 0x40_0000
        (first,) = DISASSEMBLER.disasm(code_segment.data()[start : start + 4], elf["e_entry"])
        assert first.mnemonic == "bl"
        assert text in code_segment.data()
        assert data_segment.data() == (7).to_bytes(8, "little").rstrip(b"\0")
        assert data_segment["p_memsz"] >= 8 + Shared.size


def test_bad_programs_are_refused() -> None:
    @resident
    def main() -> u64:
        return 0

    built = build_object([main], mode="userspace")
    with pytest.raises(LinkError) as caught:
        link_elf(built, [], 0x1000)
    assert str(caught.value) == "a program cannot start at 0x1000: give a multiple of 0x10000"
    with pytest.raises(LinkError) as caught:
        link_elf(built, [])
    assert str(caught.value) == "nothing defines the entry _start: give it a label"
