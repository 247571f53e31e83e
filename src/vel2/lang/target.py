"""Machine targets: LLVM IR text to an optimized ELF object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

AARCH64 = "aarch64-none-elf"
# The order matters: +v8.4a after -neon would switch NEON back on. FEAT_NV2 comes with Armv8.4, so
# that is what EL2 has; a user program runs wherever its guest runs.
FEATURES = {
    "hardware": "+v8.4a,+strict-align,-neon,-fp-armv8",
    "simulated": "+v8.4a,+strict-align,-neon,-fp-armv8",
    "userspace": "+strict-align,-neon,-fp-armv8",
}


@dataclass(frozen=True)
class Compiled:
    """What LLVM made of a module: the ELF object, and how to print its stages."""

    elf: bytes
    optimized: str
    assembly: str


@cache
def aarch64_machine(mode: str, optimization: int) -> Any:
    """Give LLVM's AArch64 target machine."""
    import llvmlite.binding as llvm  # not at the top: an object from the cache needs no LLVM

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(AARCH64).create_target_machine(
        cpu="generic",
        features=FEATURES[mode],
        opt=optimization,
        reloc="static",
        codemodel="small",
    )


def parse_and_optimize(text: str, machine: Any, optimization: int) -> Any:
    """Parse LLVM IR, verify it and run the standard passes."""
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(text)
    module.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=optimization)
    tuning.loop_vectorization = False
    tuning.slp_vectorization = False
    builder = llvm.create_pass_builder(machine, tuning)
    builder.getModulePassManager().run(module, builder)
    return module


def compile_aarch64(
    text: str, mode: str = "hardware", optimization: int = 2, *, listing: bool = False
) -> Compiled:
    """Compile LLVM IR for AArch64 without FP and SIMD; `listing` adds the readable stages."""
    machine = aarch64_machine(mode, optimization)
    module = parse_and_optimize(text, machine, optimization)
    elf = bytes(machine.emit_object(module))
    if not listing:
        return Compiled(elf, "", "")
    return Compiled(elf, str(module), machine.emit_assembly(module))
