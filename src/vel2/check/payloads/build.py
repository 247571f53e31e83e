"""Build payloads: the subset part, the assembly, and the parameters patched in."""

from array import array
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding
from vel2.arch.nesting import Kind, Level
from vel2.check.payloads.classes import code as classes_code
from vel2.check.payloads.classes.main import classes_main
from vel2.check.payloads.debug import code as debug_code
from vel2.check.payloads.debug.main import debug_main
from vel2.check.payloads.dma import dma_main
from vel2.check.payloads.exceptions import code as exceptions_code
from vel2.check.payloads.exceptions.main import exceptions_main
from vel2.check.payloads.features import code as features_code
from vel2.check.payloads.features.main import features_main
from vel2.check.payloads.interrupts import code as interrupts_code
from vel2.check.payloads.interrupts.main import interrupts_main
from vel2.check.payloads.isolation.main import isolation_main
from vel2.check.payloads.layout import (
    MAX_TARGETS,
    MEMORY,
    MEMORY_BYTES,
    RAM_BASE,
    Parameters,
    State,
)
from vel2.check.payloads.library.assembly import assemble, el2_controls
from vel2.check.payloads.library.checks import unexpected_exception
from vel2.check.payloads.nested import code as nested_code
from vel2.check.payloads.nested.main import nested_main
from vel2.check.payloads.pmu import code as pmu_code
from vel2.check.payloads.pmu.main import pmu_main
from vel2.check.payloads.pointers import code as pointers_code
from vel2.check.payloads.pointers.main import pointers_main
from vel2.check.payloads.psci import code as psci_code
from vel2.check.payloads.psci.main import psci_main
from vel2.check.payloads.psci.second import CPUS, second_main
from vel2.check.payloads.regime import code as regime_code
from vel2.check.payloads.regime.main import regime_main
from vel2.check.payloads.registers import code as registers_code
from vel2.check.payloads.registers.main import registers_main
from vel2.check.payloads.shared import code as shared_code
from vel2.check.payloads.shared.main import shared_main, shared_second
from vel2.check.payloads.stage2.main import stage2_main
from vel2.check.payloads.survival import ahead_code
from vel2.check.payloads.survival.main import survival_main
from vel2.check.payloads.traps import code as traps_code
from vel2.check.payloads.traps.main import traps_main
from vel2.check.payloads.windows import code as windows_code
from vel2.check.payloads.windows import main as windows
from vel2.errors import UserError
from vel2.lang import Assembler, Image
from vel2.runtime.bare import Bare, build_bare

__all__ = ("PAYLOADS", "build_payload")


class Payload(NamedTuple):
    """What a payload consists of, besides what all share.

    :ivar main: the function it starts with.
    :ivar code: emit the instructions that it runs and the subset cannot express.
    :ivar calls: functions that these call.
    :ivar cpus: how many CPUs it wants.
    """

    main: Callable[..., None]
    code: tuple[Callable[[Assembler], None], ...] = ()
    calls: tuple[Callable[..., None], ...] = ()
    cpus: int = 1


PAYLOADS = {
    "classes": Payload(classes_main, (classes_code.emit,)),
    "debug": Payload(debug_main, (debug_code.emit,)),
    "dma": Payload(dma_main),
    "exceptions": Payload(exceptions_main, (exceptions_code.emit,)),
    "features": Payload(features_main, (features_code.emit, exceptions_code.emit)),
    "interrupts": Payload(interrupts_main, (interrupts_code.emit,)),
    "isolation": Payload(isolation_main),
    "nested": Payload(nested_main, (nested_code.emit,)),
    "pmu": Payload(pmu_main, (pmu_code.emit, interrupts_code.emit)),
    "pointers": Payload(pointers_main, (pointers_code.emit,)),
    "psci": Payload(psci_main, (psci_code.emit,), (second_main,), CPUS),
    "regime": Payload(regime_main, (regime_code.emit, exceptions_code.emit)),
    "registers": Payload(
        registers_main, (registers_code.emit, exceptions_code.emit, features_code.emit)
    ),
    "shared": Payload(
        shared_main, (shared_code.emit, psci_code.emit), (shared_second, second_main), 2
    ),
    "stage2": Payload(stage2_main),
    "survival": Payload(survival_main, (ahead_code.emit,)),
    "traps": Payload(traps_main, (traps_code.emit,)),
    "windows": Payload(
        windows.windows_main,
        (windows_code.emit, psci_code.emit),
        (windows.windows_second, second_main),
        windows.CPUS,
    ),
}
"""Every payload by name."""


class Controls(NamedTuple):
    """What EL2's registers hold at the start."""

    hcr: int
    cptr: int


CONTROLS = {
    Kind.VHE: Controls(sr.HCR_EL2.compose(E2H=1, RW=1), sr.CPTR_EL2_E2H.compose(FPEN=3, ZEN=3)),
    Kind.NVHE: Controls(sr.HCR_EL2.compose(RW=1), sr.CPTR_EL2.res1),
}

NESTING = {Level.NV: 1, Level.NV2: 2}
MRS_MSR_MASK, MRS_MSR = 0xFFD0_0000, 0xD510_0000
NAME_MASK = Encoding(3, 7, 15, 15, 7).mrs_field
PLAIN_NAMES = {
    alias.encoding.mrs_field: sr.by_name(alias.alias_of).encoding.mrs_field
    for alias in sr.ALL_REGISTERS
    if alias.alias_of is not None
}


def without_el12(image: Image) -> bytes:
    """Turn each MRS and MSR of an `_EL12` or `_EL02` name into one of the plain name.

    The same hypervisor would use the plain names with E2H=0. Only instructions have these top
    bits: text is ASCII, and addresses and numbers in the image are small. What the payload marks
    as verbatim stays, because there L2 itself uses these names.
    """
    data = image.data
    words = array("I", data)
    kept = slice(
        (image.symbols.get("verbatim_start", image.base) - image.base) // words.itemsize,
        (image.symbols.get("verbatim_end", image.base) - image.base) // words.itemsize,
    )
    verbatim = words[kept]
    for index, word in enumerate(words):
        plain = PLAIN_NAMES.get(word >> 5 & NAME_MASK)
        if word & MRS_MSR_MASK == MRS_MSR and plain is not None:
            words[index] = word & ~(NAME_MASK << 5) | plain << 5
    words[kept] = verbatim
    return words.tobytes()


@cache
def _image(name: str) -> Image:
    payload = PAYLOADS[name]
    program = Bare(
        f"the payload {name}",
        2,
        MEMORY,
        payload.main,
        State,
        "el2_vectors",
        Parameters,
        calls=(unexpected_exception, *payload.calls),
        controls=el2_controls,
    )
    assembly = assemble()
    for emit in payload.code:
        emit(assembly)
    return build_bare(program, assembly)


def build_payload(
    name: str,
    targets: Sequence[int] = (),
    canary: int = 0,
    memory_bytes: int = MEMORY_BYTES,
    el2: Kind = Kind.VHE,
    nv: Level = Level.NV2,
    forgets: bool = False,
) -> bytes:
    """Build a payload as an arm64 Image.

    :param targets: addresses where L1 has nothing, for `isolation` and `dma`.
    :param canary: what the host has written there, for both.
    :param memory_bytes: L1's RAM.
    :param el2: whether it runs with HCR_EL2.E2H=1 or 0.
    :param nv: up to which feature `nested` goes.
    :param forgets: whether hardware's TLB may lose at a trap what it has.
    :raises UserError: when there is no such payload, or too many targets.
    """
    if name not in PAYLOADS:
        raise UserError(f"there is no payload {name}; give one of {', '.join(PAYLOADS)}.")
    if len(targets) > MAX_TARGETS:
        raise UserError(f"{len(targets)} targets are too many; give at most {MAX_TARGETS}.")
    image = _image(name)
    data = bytearray(image.data if el2 is Kind.VHE else without_el12(image))
    parameters = Parameters(data, image.symbols["parameters"] - image.base)
    parameters.hcr = CONTROLS[el2].hcr
    parameters.cptr = CONTROLS[el2].cptr
    parameters.nesting = NESTING[nv]
    parameters.ram_end = RAM_BASE + memory_bytes
    parameters.forgets = int(forgets)
    parameters.canary = canary
    parameters.target_count = len(targets)
    for index, target in enumerate(targets):
        parameters.targets[index] = target
    return bytes(data)
