"""What is written for L0 when hooks come and go, and which traps a hook is for."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC
from vel2.arch.nesting import Level
from vel2.errors import UserError
from vel2.hyp import ahead, layout
from vel2.hyp.mailbox import MAX_RANGES, Wanted
from vel2.hyp.records import IRQ
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu
from vel2.hyp.watch import BY_PC, CLASSES, HOOK, INTERRUPTS, PLAIN_ERET, TRACE
from vel2.inspect.hookable import Hookable
from vel2.inspect.hooks import stores
from vel2.inspect.mailbox import wanted_of
from vel2.machine.memory import RAM_BASE, GuestMemory


class Standing(Hookable):
    """A machine that has not been started: L0's memory, and what was asked for."""

    has_started = False

    def __init__(self, memory: GuestMemory, nv: Level) -> None:
        self._hooks = None
        self._points = None
        base = RAM_BASE + layout.PCPU_OFFSET + layout.VCPU_IN_PCPU
        vm: Any = SimpleNamespace(
            memory=memory,
            l0_base=RAM_BASE,
            request=SimpleNamespace(smp=1, deterministic=False, doorbell=True, nv=nv, ahead=True),
            vcpus=[Vcpu(memory.window(base, Vcpu.size))],
            state=SimpleNamespace(config=SimpleNamespace(ahead=ahead.BUDGET)),
        )
        self.vm = vm

    @property
    def wanted(self) -> Wanted:
        """What L0 looks hooks up in."""
        return wanted_of(self.vm)

    @property
    def watched(self) -> set[int]:
        """The classes of events of which hooks are asked."""
        classes = self.vm.vcpus[0].observe.classes
        return {number for number in range(CLASSES) if classes[number] & HOOK}


@pytest.fixture
def machine() -> Iterator[Standing]:
    with GuestMemory(4 << 20) as memory:
        yield Standing(memory, Level.NV)


def nothing(trap: object) -> None:
    """Answer nothing."""


def number_of(ec: EC, context: int) -> int:
    """Give the class of events of an exception class."""
    return context * 64 + ec


def test_a_class_of_one_level(machine: Standing) -> None:
    hook = machine.on_trap(ec=EC.HVC64, level="l2")(nothing)
    assert machine.watched == {number_of(EC.HVC64, CONTEXT_VEL1)}
    assert [*machine.wanted.classes] == [0, 1 << EC.HVC64]
    hook.remove()
    assert machine.watched == set()
    assert [*machine.wanted.classes] == [0, 0]


def test_hooks_add_up(machine: Standing) -> None:
    machine.on_trap(ec=(EC.HVC64, EC.SMC64))(nothing)
    machine.on_trap(interrupt="irq", level="l2")(nothing)
    machine.on_trap(ec=EC.ERET, level="vel2")(nothing)
    machine.on_mmio(0x1000, 0x20)(nothing)
    both = {number_of(ec, c) for ec in (EC.HVC64, EC.SMC64) for c in (CONTEXT_VEL1, CONTEXT_VEL2)}
    assert machine.watched == both | {
        *(number_of(EC.ERET, CONTEXT_VEL2), PLAIN_ERET, number_of(EC.DABT_LOWER, CONTEXT_VEL1)),
        INTERRUPTS + IRQ // 0x40 + CONTEXT_VEL1,
    }
    wanted = machine.wanted
    assert wanted.filtered[CONTEXT_VEL1] == 1 << EC.DABT_LOWER
    assert (wanted.range_count, wanted.ranges[0].first, wanted.ranges[0].last) == (
        1,
        0x1000,
        0x101F,
    )


def test_a_register_is_a_bit_and_nothing_is_done_ahead(machine: Standing) -> None:
    hook = machine.on_trap(sysreg=("HCR_EL2", "TLBI VAE1IS"))(nothing)
    key = sr.HCR_EL2.trap_key
    wanted = machine.wanted
    assert wanted.registers[key >> 6] == 1 << (key & 63)
    assert sum(bin(word).count("1") for word in wanted.registers) == 2
    assert wanted.filtered[CONTEXT_VEL2] == 1 << EC.SYS64
    assert wanted.classes[CONTEXT_VEL2] == 0
    assert machine.vm.state.config.ahead == 0
    hook.remove()
    assert not any(wanted.registers)
    assert machine.vm.state.config.ahead == ahead.BUDGET


def test_who_else_watches_is_left_alone(machine: Standing) -> None:
    """The narrowing is for all who want a class, so with a hook there is none."""
    classes = machine.vm.vcpus[0].observe.classes
    number = number_of(EC.SYS64, CONTEXT_VEL2)
    classes[number] = TRACE | BY_PC
    classes[number + 1] = TRACE | BY_PC
    hook = machine.on_trap(sysreg="HCR_EL2", level="vel2")(nothing)
    assert (classes[number], classes[number + 1]) == (TRACE | HOOK, TRACE | BY_PC)
    hook.remove()
    assert classes[number] == TRACE


def test_all_of_a_level(machine: Standing) -> None:
    machine.on_exit_from("L2")(nothing)
    interrupts = {INTERRUPTS + kind + CONTEXT_VEL1 for kind in (2, 4, 6)}
    assert machine.watched == {64 + ec for ec in range(64)} | interrupts
    assert [*machine.wanted.interrupts] == [0, 0b1110]


def test_what_cannot_be_hooked_is_refused(machine: Standing) -> None:
    with pytest.raises(UserError, match="'timer' is no interrupt; give 'irq', 'fiq' or 'serror'"):
        machine.on_trap(interrupt="timer")
    with pytest.raises(UserError, match="64 is no exception class"):
        machine.on_trap(ec=64)
    with pytest.raises(UserError, match=r"traps as vel2\.EC\.SYS64; leave ec= out"):
        machine.on_trap(ec=EC.HVC64, sysreg="HCR_EL2")
    for n in range(MAX_RANGES):
        machine.on_mmio(0x1000 * n, 4)(nothing)
    with pytest.raises(UserError, match=f"{MAX_RANGES + 1} ranges are hooked; vel2 takes 32"):
        machine.on_mmio(0, 4)(nothing)


def test_a_range_is_parted_into_aligned_stores() -> None:
    assert [*stores(0x1003, 14)] == [(0x1003, 1), (0x1004, 4), (0x1008, 8), (0x1010, 1)]
    assert [*stores(0x1000, 0)] == []
