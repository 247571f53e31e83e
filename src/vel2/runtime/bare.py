"""A bare-metal program: where it lies in memory, how it starts, its vectors, how it is built.

The image begins with an arm64 Image header and the parameters that the host patches in. Firmware,
or a hypervisor in its place, starts it as booting.rst requires: at the Exception level the program
was built for, with MMU and caches off, and unknown contents in the rest of RAM. The start-up code
masks all exceptions, lets the program set its controls, sets up vectors and stack, clears the
program's state, and calls its main function with the addresses of state and parameters. When main
returns, the machine is powered off.

A program may turn further CPUs on by PSCI, at the label `secondary_start` and with a number of its
own as the context, which chooses their stack. They do the same but for clearing, and call another
function with the address of state and that number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from vel2.arch import sysregs as sr
from vel2.lang import SP, XZR, Assembler, Image, Struct, build_object, link_image
from vel2.runtime.device import device_stubs
from vel2.runtime.header import image_header
from vel2.runtime.psci import Conduit, call_stub, power_off

__all__ = (
    "VECTORS",
    "VECTOR_BYTES",
    "Bare",
    "Memory",
    "build_bare",
    "reporting_vectors",
    "vector_table",
)

VECTORS = 16
VECTOR_BYTES = 0x80
TABLE_ALIGNMENT = 0x800
SECONDARY_STACK_BYTES = 0x1_0000
"""Of the stack's memory, for each CPU from the top down: number 0 is the first."""
VBAR = {1: sr.VBAR_EL1, 2: sr.VBAR_EL2}
CONDUIT = {1: Conduit.HVC, 2: Conduit.SMC}


@dataclass(frozen=True)
class Memory:
    """The RAM that belongs to the program.

    :ivar base: where the image is linked, and must be loaded.
    :ivar state: the address of the program's state; the image may not reach it.
    :ivar stack_top: the stack grows down from here.
    :ivar end: nothing else may be loaded below this address.
    """

    base: int
    state: int
    stack_top: int
    end: int


def no_controls(a: Assembler) -> None:
    """Emit nothing: the program starts with the controls it was given."""


@dataclass(frozen=True)
class Bare:
    """A bare-metal program.

    :ivar name: for error messages.
    :ivar el: the Exception level it runs at, 1 or 2.
    :ivar main: the resident function to start with.
    :ivar state: the layout of its variables, all zero at the start.
    :ivar vectors: the label of its vectors, in one of its pieces.
    :ivar parameters: the layout of what the host patches in at the label `parameters`, if anything.
    :ivar calls: other resident functions that its pieces call.
    :ivar controls: emits the writes of control registers at the start; x1 is the address of the
        parameters.
    :ivar secondary: the resident function of CPUs other than the first; it must not return.
    """

    name: str
    el: int
    memory: Memory
    main: Callable[..., None]
    state: type[Struct]
    vectors: str
    parameters: type[Struct] | None = None
    calls: tuple[Callable[..., Any], ...] = ()
    controls: Callable[[Assembler], None] = no_controls
    secondary: Callable[..., None] | None = None


def start(program: Bare) -> Assembler:
    """Give the beginning of the image: header, parameters, start-up, firmware and device access."""
    a = Assembler("start")
    memory, conduit = program.memory, CONDUIT[program.el]
    image_header(a, "start", memory.end - memory.base)
    a.label("parameters")
    a.space(program.parameters.size if program.parameters else 0)
    a.align(16)
    a.label("start")
    set_up(a, program)
    a.mov_imm(0, memory.stack_top)
    a.mov(SP, 0)
    a.mov_imm(0, memory.state)
    a.mov_imm(1, memory.state + program.state.size)
    a.label(".clear")
    a.str(XZR, 0, 0)
    a.add(0, 0, 8)
    a.cmp(0, rm=1)
    a.b_cond("lo", ".clear")
    a.mov_imm(0, memory.state)
    a.adr_symbol(1, "parameters")
    a.bl(program.main.__name__)
    power_off(a, conduit)
    if program.secondary is not None:
        secondary_start(a, program, program.secondary.__name__)
    call_stub(a, conduit)
    device_stubs(a)
    return a


def set_up(a: Assembler, program: Bare) -> None:
    """Emit what every CPU does first. It uses x0 and x1."""
    a.msr_immediate("daifset", 0xF)
    a.msr_immediate("spsel", 1)
    a.adr_symbol(1, "parameters")
    program.controls(a)
    a.adr_symbol(0, program.vectors)
    a.msr(VBAR[program.el], 0)
    a.isb()


def secondary_start(a: Assembler, program: Bare, function: str) -> None:
    """Emit where the other CPUs start, with their number in x0."""
    a.label("secondary_start")
    a.mov(19, 0)
    set_up(a, program)
    a.mov_imm(0, program.memory.stack_top)
    a.mov_imm(1, SECONDARY_STACK_BYTES)
    a.mov(2, 19)
    a.label(".next_stack")
    a.sub(0, 0, rm=1)
    a.sub(2, 2, 1)
    a.cbnz(2, ".next_stack")
    a.mov(SP, 0)
    a.mov_imm(0, program.memory.state)
    a.mov(1, 19)
    a.bl(function)
    a.b("power_off")


def vector_table(a: Assembler, label: str, slot: Callable[[int], None]) -> None:
    """Emit a table of vectors; `slot` emits the code of one, by its number."""
    a.align(TABLE_ALIGNMENT)
    a.label(label)
    for number in range(VECTORS):
        a.org_from(label, VECTOR_BYTES * number)
        slot(number)
    a.org_from(label, VECTOR_BYTES * VECTORS)


def reporting_vectors(
    a: Assembler, label: str, stack_top: int, handlers: Mapping[int, str] | None = None
) -> None:
    """Emit vectors that call handlers, or else report the exception and end the program.

    To report, they call `unexpected_exception` with the number of the vector, on a fresh stack.

    :param handlers: labels, by the number of the vector.
    """
    taken = handlers or {}

    def slot(number: int) -> None:
        if number in taken:
            a.b(taken[number])
        else:
            a.movz(0, number)
            a.b(".unexpected")

    vector_table(a, label, slot)
    a.label(".unexpected")
    a.mov_imm(1, stack_top)
    a.mov(SP, 1)
    a.bl("unexpected_exception")
    a.b("power_off")


def build_bare(program: Bare, *pieces: Assembler) -> Image:
    """Compile and link a program; its own assembly follows the start, in the order given.

    :raises ValueError: when the image would reach the program's state.
    """
    secondary = (program.secondary,) if program.secondary is not None else ()
    code = build_object((program.main, *secondary, *program.calls))
    image = link_image(program.memory.base, [start(program), *pieces], code)
    if image.end > program.memory.state:
        raise ValueError(f"{program.name} has {len(image.data)} bytes, too many")
    return image
