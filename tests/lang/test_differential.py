"""The same source gives the same answers in CPython, as native code, and as AArch64 code.

Programs come from `programs.py`; a failure names the seed, so `VEL2_SEED=<seed>` repeats it alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
import unicorn
from unicorn import arm64_const as arm64

from tests.lang.programs import INTERESTING, MEMORY_BASE, MEMORY_SIZE, Program
from tests.lang.snippets import load
from vel2.arch.sysregs import HCR_EL2, SCTLR_EL1, VTTBR_EL2
from vel2.lang import Jit, Simulation, build_image
from vel2.lang.sim import SimulationBlock

FUNCTIONS = 8
RUNS = 12
CHOSEN = os.environ.get("VEL2_SEED")
SEEDS = range(4) if CHOSEN is None else (int(CHOSEN),)
MORE_SEEDS = range(4, 40) if CHOSEN is None else ()
CODE, VCPU, BLOCK, STACK, RETURN = 0x10_0000, 0x40_0000, 0x50_0000, 0x90_0000, 0x3F_0000
PAGE = 0x1000


@dataclass
class State:
    """All that a program can see and change."""

    vcpu: bytes
    memory: bytes
    registers: tuple[int, ...]
    log: tuple[tuple[int | str, int], ...] = ()
    result: int | None = None


@dataclass
class Call:
    """A function's name and its operands."""

    name: str
    a: int
    b: int
    c: bool


def number(random: Random) -> int:
    return random.choice((random.choice(INTERESTING), random.getrandbits(64)))


def initial(random: Random, module: ModuleType) -> State:
    vcpu = module.Vcpu(bytearray(random.randbytes(module.Vcpu.size)))
    for index in range(len(vcpu.x)):
        vcpu.x[index] = number(random)
    for timer in (vcpu.timer, *vcpu.timers):
        timer.enabled = bool(random.getrandbits(1))
    memory = random.randbytes(MEMORY_SIZE)
    return State(vcpu.to_bytes(), memory, tuple(number(random) for _ in range(3)))


def on_host(module: ModuleType, call: Call, state: State, jit: Jit | None) -> State:
    """Run in CPython, or natively when there is a `Jit`."""
    memory = bytearray(state.memory)
    vcpu = module.Vcpu(bytearray(state.vcpu))
    function = getattr(module, call.name)
    with Simulation(MEMORY_BASE, memory) as machine:
        machine[HCR_EL2], machine[SCTLR_EL1], machine[VTTBR_EL2] = state.registers
        arguments = (vcpu, call.a, call.b, call.c)
        result = function(*arguments) if jit is None else jit.call(function, *arguments)
        return State(
            vcpu.to_bytes(),
            bytes(memory),
            (machine[HCR_EL2], machine[SCTLR_EL1], machine[VTTBR_EL2]),
            tuple((operation.what, operation.value) for operation in machine.operations),
            result,
        )


class Emulated:
    """The AArch64 code of a module in unicorn."""

    def __init__(self, module: ModuleType, roots: list[Any], mode: str) -> None:
        self.mode = mode
        self.size = module.Vcpu.size
        self.image = build_image(CODE, roots, mode=mode)
        self.uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self.uc.ctl_set_cpu_model(arm64.UC_CPU_ARM64_MAX)  # has the atomics of Armv8.1
        for start, size in (
            (CODE, len(self.image.data)),
            (VCPU, PAGE),
            (BLOCK, SimulationBlock.size),
            (STACK - 16 * PAGE, 16 * PAGE),
            (RETURN, PAGE),
            (MEMORY_BASE, MEMORY_SIZE),
        ):
            self.uc.mem_map(start, -(-size // PAGE) * PAGE)
        self.uc.mem_write(CODE, self.image.data)
        if mode == "simulated":
            pointer = self.image.symbols["vel2_simulation"]
            self.uc.mem_write(pointer, BLOCK.to_bytes(8, "little"))

    def run(self, call: Call, state: State) -> State:
        machine = Simulation(MEMORY_BASE, MEMORY_SIZE)
        machine.block.memory_bias = 0
        machine[HCR_EL2], machine[SCTLR_EL1], machine[VTTBR_EL2] = state.registers
        uc = self.uc
        uc.mem_write(BLOCK, machine.block.to_bytes())
        uc.mem_write(VCPU, state.vcpu)
        uc.mem_write(MEMORY_BASE, state.memory)
        operands = (VCPU, call.a, call.b, int(call.c))
        for register, value in enumerate(operands, arm64.UC_ARM64_REG_X0):
            uc.reg_write(register, value)
        uc.reg_write(arm64.UC_ARM64_REG_SP, STACK)
        uc.reg_write(arm64.UC_ARM64_REG_X30, RETURN)
        uc.emu_start(self.image.symbols[call.name], RETURN)
        after = Simulation(MEMORY_BASE, MEMORY_SIZE)
        octets = bytes(uc.mem_read(BLOCK, SimulationBlock.size))
        after.block._views[0][:] = octets
        after.check_faults()
        return State(
            bytes(uc.mem_read(VCPU, self.size)),
            bytes(uc.mem_read(MEMORY_BASE, MEMORY_SIZE)),
            (after[HCR_EL2], after[SCTLR_EL1], after[VTTBR_EL2]),
            tuple((operation.what, operation.value) for operation in after.operations),
            uc.reg_read(arm64.UC_ARM64_REG_X0),
        )


def compare(seed: int, mode: str, directory: Path) -> None:
    """Run one program's functions on random operands in three ways."""
    random = Random(seed)
    module = load(directory, Program(random, machine=mode == "simulated").text(FUNCTIONS))
    roots = [getattr(module, f"f{n}") for n in range(FUNCTIONS)]
    jit = Jit(*roots)
    emulated = Emulated(module, roots, mode)
    for root in roots:
        for _ in range(RUNS):
            call = Call(root.__name__, number(random), number(random), bool(random.getrandbits(1)))
            state = initial(random, module)
            expected = on_host(module, call, state, None)
            assert on_host(module, call, state, jit) == expected, f"JIT, seed {seed}: {call}"
            assert emulated.run(call, state) == expected, f"AArch64, seed {seed}: {call}"


@pytest.mark.parametrize("mode", ["simulated", "hardware"])
@pytest.mark.parametrize("seed", SEEDS)
def test_random_programs_agree(seed: int, mode: str, tmp_path: Path) -> None:
    compare(seed, mode, tmp_path)


@pytest.mark.parametrize("mode", ["simulated", "hardware"])
def test_a_dense_match_agrees(mode: str, tmp_path: Path) -> None:
    """LLVM makes a jump table or a table of results of it; their relocations must be right."""
    lines = ["def f0(v: Vcpu, a: u64, b: u64, c: bool) -> u64:", "    match a:"]
    for number in range(64):
        lines += [f"        case {number}:"]
        lines += [f"            v.x[{number % 31}] = u64(b * {number + 3})"] * (number % 3)
        lines += [f"            return {number * 77 ^ 0x55}" if number % 5 else "            pass"]
    lines += ["        case _:", "            return 1", "    match b & 0x3f:"]
    for number in range(50):
        lines += [f"        case {number}:", f"            return {number**3}"]
    lines += ["    return 2", ""]
    module = load(tmp_path, "\n".join(lines))
    jit, emulated, random = Jit(module.f0), Emulated(module, [module.f0], mode), Random(0)
    for a in range(66):
        call = Call("f0", a, random.getrandbits(64), True)
        state = initial(random, module)
        expected = on_host(module, call, state, None)
        assert on_host(module, call, state, jit) == expected
        assert emulated.run(call, state) == expected


ATOMICS = {
    "swap": "return swap_u64(p, b)",
    "add": "return fetch_add_u64(p, b)",
    "exchange": "return compare_exchange_u64(p, a, b)",
    "acquire": "return load_acquire_u64(p)",
    "acquire32": "return load_acquire_u32(p)",
    "release": "store_release_u64(p, b)",
    "release32": "store_release_u32(p, u32(b & 0xFFFF_FFFF))",
}
"""Each access that other pcpus take part in, at the word `p` of memory, which is 5 before."""


@pytest.mark.parametrize("mode", ["simulated", "hardware"])
@pytest.mark.parametrize("name", ATOMICS)
def test_each_ordered_access_agrees(name: str, mode: str, tmp_path: Path) -> None:
    """A compare-exchange succeeds for a = 5 and fails for all else; an addition wraps."""
    head = "def f0(v: Vcpu, a: u64, b: u64, c: bool) -> u64:"
    lines = [head, f"    p = PA({MEMORY_BASE + 0x40:#x})", f"    {ATOMICS[name]}"]
    if not ATOMICS[name].startswith("return"):
        lines += ["    return load_u64(p)"]
    module = load(tmp_path, "\n".join(lines) + "\n")
    jit, emulated = Jit(module.f0), Emulated(module, [module.f0], mode)
    state = initial(Random(1), module)
    memory = bytearray(state.memory)
    memory[0x40:0x48] = (5).to_bytes(8, "little")
    state.memory = bytes(memory)
    for a, b in ((5, 9), (6, 9), (5, (1 << 64) - 1), (5 | 1 << 32, 1 << 63 | 1)):
        call = Call("f0", a, b, True)
        expected = on_host(module, call, state, None)
        assert on_host(module, call, state, jit) == expected
        assert emulated.run(call, state) == expected
        now = int.from_bytes(expected.memory[0x40:0x48], "little")
        assert (expected.result, now) == WANTED[name](a, b)


HIGH = 0xFFFF_FFFF
WANTED: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "swap": lambda a, b: (5, b),
    "add": lambda a, b: (5, (5 + b) % (1 << 64)),
    "exchange": lambda a, b: (5, b if a == 5 else 5),
    "acquire": lambda a, b: (5, 5),
    "acquire32": lambda a, b: (5, 5),
    "release": lambda a, b: (b, b),
    "release32": lambda a, b: (b & HIGH, b & HIGH),
}
"""The result, and what is in memory then."""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["simulated", "hardware"])
@pytest.mark.parametrize("seed", MORE_SEEDS)
def test_more_random_programs_agree(seed: int, mode: str, tmp_path: Path) -> None:
    compare(seed, mode, tmp_path)
