"""From resident functions to machine code, in one call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from vel2.lang import cache
from vel2.lang.asm import Assembler
from vel2.lang.elf import ObjectCode, read_object
from vel2.lang.ir import Module
from vel2.lang.link import Image, link_image
from vel2.lang.llvm import HardwareWriter
from vel2.lang.llvm_simulated import SimulatedWriter
from vel2.lang.lower import lower_module
from vel2.lang.target import AARCH64, FEATURES, aarch64_machine, compile_aarch64

LOG = logging.getLogger(__name__)

Root = Callable[..., Any]


MODES = tuple(FEATURES)


def llvm_text(
    module: Module, mode: str = "hardware", optimization: int = 2, *, check_bounds: bool = False
) -> str:
    """Give the LLVM IR of a module for AArch64; see `build_object` for the modes."""
    layout = str(aarch64_machine(mode, optimization).target_data)
    if mode == "simulated":
        return SimulatedWriter(module).write(AARCH64, layout)
    return HardwareWriter(module, check_bounds=check_bounds).write(AARCH64, layout)


def build_object(
    roots: Sequence[Root],
    mode: str = "hardware",
    *,
    optimization: int = 2,
    check_bounds: bool = False,
    use_cache: bool = True,
) -> ObjectCode:
    """Compile `roots` and all they call for AArch64, or take the object from the cache.

    :param mode: "hardware" for EL2; "userspace" for a Linux program, where only the linker differs;
        "simulated" for code that acts on a `Simulation` (the host runs that through `Jit`).
    :param check_bounds: stop at a BRK when an index is outside its array.
    :raises SubsetError: the source is not in the subset.
    """
    if mode not in MODES:
        raise ValueError(f"there is no mode {mode!r}: give one of {', '.join(MODES)}")
    key = cache.key_of(roots, f"{mode} {optimization} {check_bounds}") if use_cache else None
    elf = cache.load(key) if key is not None else None
    if elf is None:
        LOG.info("compiling, which takes some seconds; the result is kept for the next time")
        text = llvm_text(lower_module(*roots), mode, optimization, check_bounds=check_bounds)
        elf = compile_aarch64(text, mode, optimization).elf
        if key is not None:
            cache.save(key, elf)
    return read_object(elf)


def build_image(
    base: int, roots: Sequence[Root], assemblers: Sequence[Assembler] = (), **options: Any
) -> Image:
    """Compile and link for one address; `options` are those of `build_object`."""
    return link_image(base, assemblers, build_object(roots, **options))


def disassembly(roots: Sequence[Root], mode: str = "hardware", optimization: int = 2) -> str:
    """Give LLVM's assembly listing, to look at what became of a function."""
    text = llvm_text(lower_module(*roots), mode, optimization)
    return compile_aarch64(text, mode, optimization, listing=True).assembly
