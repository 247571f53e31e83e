"""A guest hypervisor of some fifty instructions, with a guest: what L1 and L2 hold is known.

L1 sits at the start of RAM's third MiB. It gives L2 a stage 2 that maps IPA 0 to 0x4100_0000 by a
block of 2 MiB, and L2 a stage 1 that maps VA 0x4000_0000 to IPA 0, likewise. L2 counts in x19 and
makes a hypercall for each; L1 answers by an ERET. All tables are made here, by the Arm ARM's names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.descriptors import Stage1Leaf, Stage1Table, Stage2Leaf, Stage2Table
from vel2.arch.pstate import Mode, SPSR_ELx
from vel2.lang import Assembler, link_image

L1_CODE = 0x4020_0000
STAGE2_ROOT, STAGE2_LEVEL2 = 0x4030_0000, 0x4030_1000
L2_MEMORY = 0x4100_0000
"""Where L2's IPA 0 is."""
L2_VA = 0x4000_0000
L2_CODE, L2_ROOT, L2_LEVEL2 = 0x1_0000, 0x2_0000, 0x2_1000
"""Offsets in L2's memory."""
BITS39 = 25
"""T0SZ of 39 bits: level 1 is the first."""
SIGNATURE = 0x1122_3344_5566_7788
SIGNATURE_OFFSET = 0x3_0000
HYPERCALL = 0x123
SCTLR_OF_L2 = sr.SCTLR_EL1.res1 | sr.SCTLR_EL1.compose(M=1, LSMAOE=1, nTLSMD=1, EIS=1, EOS=1)
VTCR = sr.VTCR_EL2.compose(T0SZ=BITS39, SL0=1, PS=2)
TCR_OF_L2 = sr.TCR_EL1.compose(T0SZ=BITS39, EPD1=1, IPS=2)
HCR_OF_L1 = sr.HCR_EL2.compose(VM=1, RW=1, IMO=1, FMO=1, AMO=1, TWI=1)
VMID = 5
L2_DEVICE = 0x20_0000
"""An IPA of L2's where L1 has put nothing, and how far it is from `L2_VA` at its VA."""
Code = Callable[[Assembler], None]


class Guest(NamedTuple):
    """What `vel2.boot` takes."""

    load: tuple[tuple[int, bytes], ...]
    entry: int


def nested_guest(*, vhe: bool = True, l1: Code | None = None, l2: Code | None = None) -> Guest:
    """Make the guest for one kind of virtual EL2.

    :param l1: what L1's vectors hold instead; offsets are of its vector table.
    :param l2: what L2 executes instead.
    """
    memory = [(L1_CODE, _l1(vhe, l1 or _answer)), (STAGE2_ROOT, _stage2())]
    memory += [(L2_MEMORY + L2_CODE, _l2(l2 or _call)), (L2_MEMORY + L2_ROOT, _stage1())]
    memory.append((L2_MEMORY + SIGNATURE_OFFSET, SIGNATURE.to_bytes(8, "little")))
    return Guest(tuple(memory), L1_CODE)


def _code(assembler: Assembler, base: int) -> bytes:
    return link_image(base, [assembler], align=16).data


def _answer(a: Assembler) -> None:
    """L1: count what L2 wants, and let it go on."""
    a.org(0x400)  # the vector of synchronous exceptions from a lower level
    a.add(20, 20, 1)
    a.eret()


def _l1(vhe: bool, vectors: Code) -> bytes:
    """L1: set L2 up, and deal with its exceptions for ever."""
    a = Assembler("l1", alignment=0x800)

    def write(register: type[Register], value: int) -> None:
        a.mov_imm(0, value)
        a.msr(register, 0)

    hcr = HCR_OF_L1 | (sr.HCR_EL2.E2H.mask if vhe else 0)
    a.b(".begin")
    vectors(a)
    a.org(0x800)
    a.label(".begin")
    write(sr.HCR_EL2, hcr)
    a.isb()
    write(sr.VBAR_EL2, L1_CODE)
    write(sr.VTCR_EL2, VTCR)
    write(sr.VTTBR_EL2, sr.VTTBR_EL2.compose(VMID=VMID) | STAGE2_ROOT)
    write(sr.SCTLR_EL12 if vhe else sr.SCTLR_EL1, SCTLR_OF_L2)
    write(sr.TCR_EL12 if vhe else sr.TCR_EL1, TCR_OF_L2)
    write(sr.TTBR0_EL12 if vhe else sr.TTBR0_EL1, L2_ROOT)
    write(sr.MAIR_EL12 if vhe else sr.MAIR_EL1, 0xFF)
    write(sr.ELR_EL2, L2_VA + L2_CODE)
    write(sr.SPSR_EL2, SPSR_ELx.compose(D=1, A=1, I=1, F=1, M=Mode.EL1h))
    a.isb()
    a.eret()
    return _code(a, L1_CODE)


def _call(a: Assembler) -> None:
    """L2: count and call."""
    a.mov_imm(19, 0)
    a.label(".again")
    a.add(19, 19, 1)
    a.hvc(HYPERCALL)
    a.b(".again")


def _l2(code: Code) -> bytes:
    a = Assembler("l2", alignment=0x800)
    code(a)
    return _code(a, L2_VA + L2_CODE)


def _table(entries: dict[int, int]) -> bytes:
    slots = [entries.get(index, 0).to_bytes(8, "little") for index in range(512)]
    return b"".join(slots)


def _stage2() -> bytes:
    block = Stage2Leaf.compose(VALID=1, AF=1, SH=3, S2AP=3, MemAttr=0xF) | L2_MEMORY
    root = Stage2Table.compose(VALID=1, TYPE=1) | STAGE2_LEVEL2
    return _table({0: root}) + _table({0: block})


def _stage1() -> bytes:
    block = Stage1Leaf.compose(VALID=1, AF=1, SH=3)
    root = Stage1Table.compose(VALID=1, TYPE=1) | L2_LEVEL2
    # The second block leads where stage 2 has nothing.
    return _table({L2_VA >> 30: root}) + _table({0: block, 1: block | L2_DEVICE})
