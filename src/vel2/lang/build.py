"""From resident functions to machine code, in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vel2.lang.asm import Assembler
from vel2.lang.elf import ObjectCode, read_object
from vel2.lang.ir import Module
from vel2.lang.link import Image, link_image
from vel2.lang.llvm import HardwareWriter
from vel2.lang.lower import lower_module
from vel2.lang.target import AARCH64, aarch64_machine, compile_aarch64

Root = Callable[..., Any]


def llvm_text(module: Module, optimization: int = 2, *, check_bounds: bool = False) -> str:
    """Give the LLVM IR of a module for the machine itself."""
    layout = str(aarch64_machine(optimization).target_data)
    return HardwareWriter(module, check_bounds=check_bounds).write(AARCH64, layout)


def build_object(
    roots: Sequence[Root], mode: str = "hardware", *, optimization: int = 2
) -> ObjectCode:
    """Compile `roots` and all they call.

    :param mode: "hardware" for EL2, or "userspace" for a Linux program: the code is the same, the
        linker differs.
    """
    if mode not in ("hardware", "userspace"):
        raise ValueError(f"there is no mode {mode!r}: give hardware or userspace")
    module = lower_module(*roots)
    return read_object(compile_aarch64(llvm_text(module, optimization), optimization).elf)


def build_image(
    base: int, roots: Sequence[Root], assemblers: Sequence[Assembler] = (), **options: Any
) -> Image:
    """Compile and link for one address."""
    return link_image(base, assemblers, build_object(roots, **options))
