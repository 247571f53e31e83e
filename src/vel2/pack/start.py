"""The first instructions of a packed file, and how its loader is built.

The code refers to itself by distances only, so it runs where it was loaded, and its copy where that
is. It needs no vectors: nothing that it does is expected to fault.
"""

from functools import cache

from vel2.arch import sysregs as sr
from vel2.arch.psci import SYSTEM_OFF
from vel2.lang import SP, XZR, Assembler, Image, build_object, link_image
from vel2.pack import loader
from vel2.pack.manifest import LOADER_BYTES, Findings, Manifest
from vel2.runtime.header import image_header
from vel2.runtime.psci import Conduit, power_off

__all__ = ("build_loader",)

STACK_BYTES = 0x1000
R_ABS64 = 257
EL2 = 2
IMAGE, COPY = 19, 20
"""The registers that hold where the file is, and where the loader's copy is."""


def start() -> Assembler:
    """Give header, manifest, variables, stack, and the code that calls the rest."""
    a = Assembler("start")
    image_header(a, "start", 0)
    a.align(16)
    a.label("manifest")
    a.space(Manifest.size)
    a.label("findings")
    a.space(Findings.size, 16)
    a.space(STACK_BYTES, 16)
    a.label("stack_top")
    a.label("start")
    a.msr_immediate("daifset", 0xF)
    a.msr_immediate("spsel", 1)
    set_stack(a)
    a.adr_symbol(IMAGE, "image_start")
    a.mov(1, IMAGE)
    a.bl("prepare")
    a.cbz(0, "give_up")
    go_on_in_the_copy(a)
    set_stack(a)
    a.mov(0, IMAGE)
    a.bl("place")
    a.mov(16, 0)
    for argument in range(4):
        a.mov(argument, XZR)
    a.br(16)
    power_off(a, Conduit.SMC)
    give_up(a)
    return a


def give_up(a: Assembler) -> None:
    """Emit the end of the machine: by SMC at EL2, by HVC at EL1, which is not where L0 can be."""
    a.label("give_up")
    a.mrs(0, sr.CurrentEL)
    a.lsr(0, 0, sr.CurrentEL.EL.lsb)
    a.cmp(0, EL2)
    a.b_cond("eq", "power_off")
    a.mov_imm(0, SYSTEM_OFF)
    a.hvc(0)
    a.label(".halt_at_el1")
    a.wfi()
    a.b(".halt_at_el1")


def set_stack(a: Assembler) -> None:
    """Emit the choice of a stack: that of the loader which runs."""
    a.adr_symbol(2, "stack_top")
    a.mov(SP, 2)


def go_on_in_the_copy(a: Assembler) -> None:
    """Emit the jump to the next instruction in the copy of the loader at x0."""
    a.mov(COPY, 0)
    a.adr_symbol(2, ".moved")
    a.sub(2, 2, rm=IMAGE)
    a.add(2, 2, rm=COPY)
    a.br(2)
    a.label(".moved")


@cache
def build_loader() -> Image:
    """Compile and link the loader, for any place that is a multiple of 4 KiB.

    :raises ValueError: when it is too large, or refers to itself by address.
    """
    code = build_object((loader.prepare, loader.place))
    if any(each.type == R_ABS64 for section in code.sections for each in section.relocations):
        raise ValueError("the loader holds an address, and so cannot be moved")
    a = start()
    a.labels["image_start"] = 0
    image = link_image(0, [a], code)
    if len(image.data) > LOADER_BYTES:
        raise ValueError(f"the loader has {len(image.data)} bytes; {LOADER_BYTES} fit")
    return image
