"""A guest kernel's symbols while it runs: names for its addresses, and addresses for its names.

VBAR_ELx names the kernel's vectors, which are symbols; that gives a base, KASLR or not. The code
in memory has to be the Image's there, but for the few instructions that a kernel patches at boot.
The nVHE hypervisor of KVM is the same Image at addresses of its own, and its vectors too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from vel2.arch.a64 import BYTES
from vel2.errors import UserError
from vel2.guests.kallsyms import KernelSymbols, read_kallsyms
from vel2.guests.symbols import BASE_ALIGN_BYTES, RunningKernel
from vel2.machine.loader import KernelImage

if TYPE_CHECKING:
    from vel2.inspect.vcpu import Vcpu

__all__ = ("symbols_of_image", "symbols_of_level")

VECTORS = (
    "vectors",
    "__kvm_hyp_vector",
    "__kvm_nvhe___kvm_hyp_vector",
    "__kvm_nvhe___kvm_hyp_host_vector",
)
"""Functions that a VBAR names: the kernel's own, and KVM's while it runs a guest."""
SAMPLES = 32
SAMPLE_BYTES = 64
LEAST_EQUAL = 0.8
"""Of the instructions read. Linux patches some two in a hundred."""


@cache
def symbols_of_image(image: bytes) -> KernelSymbols:
    """Read an Image's symbols, once.

    :raises UserError: when it has none.
    """
    found = read_kallsyms(image)
    if found is None:
        raise UserError(
            "this kernel has no table of symbols (CONFIG_KALLSYMS) that vel2 can read; name"
            " addresses by number."
        )
    return found


def symbols_of_level(vcpu: Vcpu, level: str, kernel: KernelImage) -> RunningKernel:
    """Find where a kernel runs at a level of a paused vCPU.

    :param level: `l1` or `l2`. An nVHE L1 is at vEL2 and at vEL1. L2 has memory only while L1 has
        its stage 2 loaded: at a trap of L2, but not where L1's user space runs.
    :raises UserError: when it runs something else, or has not come to its own vectors yet.
    """
    symbols = symbols_of_image(kernel.data)
    bases = dict.fromkeys(
        base
        for name in (["vel2", "l2"] if level == "l1" else ["l2"])
        for base in _bases(vcpu, name, symbols)
        if _is_there(vcpu, name, kernel, symbols, base)
    )
    if not bases:
        raise UserError(
            f"{level} does not run this kernel ({kernel.version}) now, or is not as far as its"
            " vectors yet; stop it at a trap of its own, or give the kernel that it runs."
        )
    return RunningKernel(symbols, kernel.image_size, tuple(bases))


def _bases(vcpu: Vcpu, name: str, symbols: KernelSymbols) -> Iterator[int]:
    vbar = int(vcpu.vel2.VBAR_EL2 if name == "vel2" else vcpu.l2.VBAR_EL1)
    for vectors in VECTORS:
        offset = symbols.offset(vectors)
        if offset is not None and (vbar - offset) % BASE_ALIGN_BYTES == 0:
            yield vbar - offset


def _is_there(
    vcpu: Vcpu, name: str, kernel: KernelImage, symbols: KernelSymbols, base: int
) -> bool:
    """Whether the code at a base is the Image's."""
    memory = vcpu.vel2_memory if name == "vel2" else vcpu.l2_memory
    equal = total = 0
    for offset in _sampled(symbols):
        try:
            there = memory.read(base + offset, SAMPLE_BYTES)
        except UserError:  # hyp code is only a part of the Image
            continue
        own = kernel.data[offset : offset + SAMPLE_BYTES]
        equal += sum(own[at : at + BYTES] == there[at : at + BYTES] for at in _steps(own))
        total += len(own) // BYTES
    return total > 0 and equal >= total * LEAST_EQUAL


def _sampled(symbols: KernelSymbols) -> Iterable[int]:
    """Choose functions all over the kernel, and each that is vectors."""
    functions = symbols.functions
    own = [offset for name in VECTORS if (offset := symbols.offset(name)) is not None]
    return [*own, *(offset for offset, _ in functions[:: max(1, len(functions) // SAMPLES)])]


def _steps(data: bytes) -> range:
    return range(0, len(data), BYTES)
