"""From a function to machine code: lowered, looked through, compiled, and linked for its place.

Nothing of a machine is touched here: what is refused is refused before anything has been changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any, cast

from vel2.arch.bits import TrapKey
from vel2.arch.esr import EC, ISS_SYS64, ESR_ELx
from vel2.hyp.records import SYNC, Trap
from vel2.hyp.state import Vcpu, Vm, VncrPage
from vel2.lang import SP, Assembler, SubsetError, resident, u64
from vel2.lang.confined import Finding, Region, Rules, check_code, confine
from vel2.lang.elf import ObjectCode, read_object
from vel2.lang.ir import Module
from vel2.lang.link import Layout
from vel2.lang.llvm import ATTRIBUTES, HardwareWriter
from vel2.lang.lower.module import ModuleLowering
from vel2.lang.lower.source import Source
from vel2.lang.target import AARCH64, aarch64_machine, compile_aarch64
from vel2.lang.verify import verify_module
from vel2.probes.maps import Map, map_at
from vel2.probes.place import Place

__all__ = (
    "ALIGNMENT",
    "CHAIN_BYTES",
    "CHAIN_MAX",
    "OPERATIONS_MAX",
    "Compiled",
    "compile_probe",
    "link_chain",
    "link_probe",
)

OPERATIONS_MAX = 4096
"""Of the IR, in the longest way through a probe: about as many instructions."""
STACK_MAX = 1024
"""In bytes. L0 has 32 KiB for each pcpu, and calls probes from near its end."""
MODE, OPTIMIZATION = "hardware", 2
ENTRY = "called"
ALIGNMENT = 64
"""Probes begin on cache lines of their own."""
CHAIN_MAX, CHAIN_BYTES = 16, 256
"""So many probes are called one after the other, by code of so many bytes."""

VM = Region("the Vm", Vm.size)
VNCR_PAGE = Region("the VNCR page", VncrPage.size)
VCPU = Region(
    "the vCPU",
    Vcpu.size,
    pointers={Vcpu.offset_of("vm"): VM, Vcpu.offset_of("vel2.vncr_page"): VNCR_PAGE},
)
"""What a probe may read: `Vcpu`, and by it the `Vm` and vEL2's page. These pointers stand from
before the first trap on, and never change."""
REGISTERS = frozenset(
    (
        *("CNTPCT_EL0", "CNTVCT_EL0", "CNTFRQ_EL0", "MPIDR_EL1", "MIDR_EL1"),
        *("ESR_EL2", "FAR_EL2", "HPFAR_EL2", "ELR_EL2", "SPSR_EL2"),
        *("HCR_EL2", "VTTBR_EL2", "VTCR_EL2", "VNCR_EL2", "CPTR_EL2", "MDCR_EL2"),
        *("SCTLR_EL1", "TCR_EL1", "TTBR0_EL1", "TTBR1_EL1", "MAIR_EL1", "VBAR_EL1"),
        *("ESR_EL1", "FAR_EL1", "ELR_EL1", "SPSR_EL1", "CONTEXTIDR_EL1", "TPIDR_EL1", "TPIDR_EL0"),
    )
)
"""System registers that every machine of ours has, and whose reading changes nothing."""
SIGNATURE = (("trap", Trap), ("vcpu", Vcpu), ("what", u64))
"""What a probe takes: the first one, two or three of these."""


@dataclass(frozen=True)
class Compiled:
    """A probe, ready to be linked.

    :ivar maps: what it counts into, by the name that is shown. :ivar operations: of the IR, in its
        longest way, what is around it included.
    """

    name: str
    place: Place
    code: ObjectCode
    maps: Mapping[str, Map]
    operations: int

    @property
    def code_bytes(self) -> int:
        """How much room it needs at most, wherever it begins."""
        return sum(-(-section.size // ALIGNMENT) * ALIGNMENT for section in self.code.sections)


class ProbeWriter(HardwareWriter):
    """Writes LLVM IR for code that has no branch to where a register says."""

    attributes = f'{ATTRIBUTES} "no-jump-tables"="true"'
    has_lines = False


def compile_probe(function: Callable[..., None], place: Place) -> Compiled:
    """Look through a function and compile it.

    :raises SubsetError: when it may do what no probe may, with the place.
    """
    if not isinstance(function, FunctionType):
        raise SubsetError(f"a probe is a function, not {function!r}")
    check_signature(function)
    lowering = ModuleLowering()
    called = around(function, place)
    module = lowering.run([called])
    verify_module(module)
    found, maps = confined(module, lowering, function, called)
    layout = str(aarch64_machine(MODE, OPTIMIZATION).target_data)
    text = ProbeWriter(module).write(AARCH64, layout)
    code = read_object(compile_aarch64(text, MODE, OPTIMIZATION).elf)
    stack = check_code(code)
    if stack > STACK_MAX:
        raise Source(function).refuse(
            f"{function.__name__}() takes {stack:,} bytes of stack, and a probe has {STACK_MAX:,}:"
            " use fewer variables at once"
        )
    return Compiled(function.__name__, place, code, maps, found.operations)


def confined(
    module: Module, lowering: ModuleLowering, function: FunctionType, called: FunctionType
) -> tuple[Finding, dict[str, Map]]:
    """Show of a probe that it does no more than a probe may; give its maps, too.

    :param called: the root of the module, which calls the function.
    :raises SubsetError: when that cannot be shown.
    """
    maps = maps_of(module, lowering.signatures)
    areas = {
        each.symbol: Region(f"the map {name}", each.struct.size, True)
        for name, each in maps.items()
    }
    rules = Rules((VCPU, None), areas, REGISTERS, OPERATIONS_MAX, "a probe")
    subject = lowering.signatures[function].function
    root = lowering.signatures[called].function
    return confine(module, root, rules, subject), maps


def check_signature(function: FunctionType) -> None:
    """Require a function to take what a probe is given, and to return nothing.

    :raises SubsetError: when it does not.
    """
    source = Source(function)
    types = [type_.of for _, type_ in source.parameters]
    wanted = [each for _, each in SIGNATURE]
    if not types or types != wanted[: len(types)]:
        given = ", ".join(type_.name for _, type_ in source.parameters) or "nothing"
        raise source.refuse(
            f"{function.__name__}() takes {given}: a probe takes (trap: Trap, vcpu: Vcpu,"
            " what: u64), or the first of these"
        )
    if source.result is not None:
        raise source.refuse(
            f"{function.__name__}() returns {source.result.name}: a probe returns nothing, so"
            " write -> None"
        )


def around(function: FunctionType, place: Place) -> FunctionType:
    """Give what L0 calls: it tests whether this trap is one for the probe."""
    takes = len(Source(function).parameters)
    syndrome_mask, syndrome = syndrome_of(place)
    tests_syndrome, tests_kind = syndrome_mask != 0, place.kind is not None and not syndrome
    tests_context, tests_pc = place.context is not None, place.pc is not None
    low, high = place.pc or (0, 0)
    is_range = high - low > 4
    kind, context = place.kind or SYNC, place.context or 0

    @resident
    def called(vcpu: Vcpu, what: u64) -> None:
        trap = vcpu.trap
        if tests_syndrome and trap.esr & syndrome_mask != syndrome:
            return
        if tests_kind and trap.kind != kind:
            return
        if tests_context and trap.context != context:
            return
        if tests_pc:
            if is_range:
                if trap.pc < low or trap.pc >= high:
                    return
            elif trap.pc != low:
                return
        if takes == 1:
            function(trap)
        elif takes == 2:
            function(trap, vcpu)
        else:
            function(trap, vcpu, what)

    return cast(FunctionType, called)


def syndrome_of(place: Place) -> tuple[int, int]:
    """Give the bits of ESR_EL2 by which a place tells its traps, and their value.

    Interrupts have no syndrome, and 0 is that of UNKNOWN: the kind has to be tested for that one.
    """
    if place.ec is None:
        return 0, 0
    mask, value = ESR_ELx.EC.mask, ESR_ELx.EC.put(place.ec)
    if place.ec != EC.SYS64:
        return mask, value
    if place.key is not None:
        for name, field in (("Op0", TrapKey.op0), ("Op1", TrapKey.op1), ("Op2", TrapKey.op2)):
            mask |= getattr(ISS_SYS64, name).mask
            value |= getattr(ISS_SYS64, name).put(field.get(place.key))
        for name, field in (("CRn", TrapKey.CRn), ("CRm", TrapKey.CRm)):
            mask |= getattr(ISS_SYS64, name).mask
            value |= getattr(ISS_SYS64, name).put(field.get(place.key))
    if place.is_read is not None:
        mask |= ISS_SYS64.Direction.mask
        value |= ISS_SYS64.Direction.put(int(place.is_read))
    return mask, value


def maps_of(module: Module, functions: Mapping[FunctionType, Any]) -> dict[str, Map]:
    """Give the maps that a module counts into, by the names to show.

    :param functions: those of the module, where the maps are variables.
    """
    variables = {
        value.symbol: name
        for function in functions
        for name, value in Source(function).environment.items()
        if isinstance(value, Map)
    }
    found: dict[str, Map] = {}
    for function in module.functions.values():
        for instruction in function.instructions():
            symbol = str(instruction.attributes[0]) if instruction.op == "symbol" else ""
            each = map_at(symbol)
            if each is not None and each not in found.values():
                name = each.name or variables.get(symbol, symbol)
                found[f"{name}.{symbol}" if name in found else name] = each
    return found


def link_probe(compiled: Compiled, address: int, maps: Mapping[Map, int]) -> tuple[bytes, int]:
    """Link a probe for its place.

    :param address: a multiple of `ALIGNMENT`. :param maps: where they are.
    :return: what is to be there, and the address to call.
    """
    layout = Layout(address)
    for each, place in maps.items():
        layout.define(each.symbol, place, "the maps")
    places: dict[int, int] = {}
    layout.add_object(compiled.code, range(len(compiled.code.sections)), places)
    layout.define_object(compiled.code, places)
    layout.align(ALIGNMENT)
    layout.patch(places)
    return layout.flat(address), layout.symbols[ENTRY]


def link_chain(entries: Sequence[int], address: int) -> bytes:
    """Give code that calls several probes with the same arguments, for its place."""
    a = Assembler("chain", alignment=ALIGNMENT)
    a.sub(SP, SP, 32)
    a.stp(19, 20, SP, 0)
    a.str(30, SP, 16)
    a.mov(19, 0)
    a.mov(20, 1)
    for number in range(len(entries)):
        a.mov(0, 19)
        a.mov(1, 20)
        a.bl(f"probe.{number}")
    a.ldp(19, 20, SP, 0)
    a.ldr(30, SP, 16)
    a.add(SP, SP, 32)
    a.ret()
    layout = Layout(address)
    for number, entry in enumerate(entries):
        layout.define(f"probe.{number}", entry, "another probe")
    layout.add_assembler(a)
    layout.patch({})
    return layout.flat(address)
