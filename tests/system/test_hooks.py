"""Hooks in CPython: what they see, what they decide, what goes wrong in them, and determinism.

The guest is `tests.nested_guest`, with vectors that leave in registers what came to them.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import vel2
from tests.limits import LIMIT_S
from tests.nested_guest import (
    HYPERCALL,
    L1_CODE,
    L2_CODE,
    L2_DEVICE,
    L2_VA,
    SCTLR_OF_L2,
    nested_guest,
)
from vel2.arch import sysregs as sr
from vel2.hyp.mailbox import FREE
from vel2.lang import Assembler

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(2 * LIMIT_S)]

KINDS = ["vhe-nv2", "nvhe-nv"]
LDR_W3_X1, STR_W2_X1_4, LDRSB_X5_X1_8 = 0xB940_0023, 0xB900_0422, 0x3980_2025
STORED = 0x5566_7788
AT_DEVICE = L2_VA + L2_DEVICE
VECTOR_OF_L2 = 0x800
"""Of its code; the vectors are 0x200 further for exceptions from EL1h."""
SYNC_OF_L2 = VECTOR_OF_L2 + 0x200
LEFT_BY_L2 = 0x7000
"""An offset in L2's memory where its code leaves what it has loaded."""


def vectors(a: Assembler) -> None:
    """L1: note SErrors in x21 and x22, exceptions of its own in x23, and read a register that
    traps in each turn.
    """
    a.org(0x200)
    a.mrs(23, sr.ESR_EL2)
    a.mrs(24, sr.ELR_EL2)
    a.add(24, 24, 4)
    a.msr(sr.ELR_EL2, 24)
    a.eret()
    a.org(0x400)
    a.add(20, 20, 1)
    a.mrs(25, sr.ID_AA64MMFR0_EL1)
    a.eret()
    a.org(0x580)
    a.add(21, 21, 1)
    a.mrs(22, sr.ESR_EL2)
    a.eret()


def driver(a: Assembler) -> None:
    """L2: store to a device, load from it twice, and call with what it has loaded."""
    a.mov_imm(1, AT_DEVICE)
    a.mov_imm(2, STORED)
    a.mov_imm(4, L2_VA + L2_CODE + VECTOR_OF_L2)
    a.msr(sr.VBAR_EL1, 4)
    a.isb()
    a.label(".again")
    a.word(STR_W2_X1_4)
    a.word(LDR_W3_X1)
    a.word(LDRSB_X5_X1_8)
    a.hvc(HYPERCALL)
    a.b(".again")
    a.org(SYNC_OF_L2)
    a.mrs(26, sr.ESR_EL1)
    a.mrs(27, sr.FAR_EL1)
    a.hvc(HYPERCALL + 1)
    a.b(".again")


def boot(
    kind: str, code: Callable[[Assembler], None] | None = None, **options: object
) -> vel2.Machine:
    """Make the machine, with L2's own code unless another is given."""
    el2, nv = kind.split("-")
    guest = nested_guest(vhe=el2 == "vhe", l1=vectors, l2=code)
    return vel2.boot(
        load=guest.load,
        entry=guest.entry,
        memory="64M",
        el2=el2,
        nv=nv,
        **options,  # type: ignore[arg-type]
    )


class Once:
    """Have the program wait for what a hook has found."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.found: list[object] = []

    def __call__(self, *found: object) -> None:
        self.found += found
        self.event.set()

    def wait(self) -> list[object]:
        """Wait for it."""
        assert self.event.wait(LIMIT_S)
        return self.found


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_sees_and_changes_all_of_its_vcpu(kind: str) -> None:
    machine, once = boot(kind), Once()

    @machine.on_trap(ec=vel2.EC.HVC64, level="l2")
    def call(trap: vel2.HookedTrap) -> None:
        vcpu = trap.vcpu
        if vcpu.x[19] == 3:
            assert (trap.level, trap.kind, trap.ec) == ("vel1", "sync", vel2.EC.HVC64)
            assert trap.esr.ISS == HYPERCALL
            assert (vcpu.level, vcpu.el) == ("vel1", 1)
            assert trap.pc == vcpu.pc == L2_VA + L2_CODE + 12
            assert vcpu.l2.SCTLR_EL1 == SCTLR_OF_L2 == vcpu.hw.SCTLR_EL1
            assert vcpu.vel2.HCR_EL2.TWI == vcpu.hw.HCR_EL2.TWI == 1
            assert vcpu.vel2.VBAR_EL2 == L1_CODE
            assert vcpu.walk(trap.pc, "l2").pa & 0xFFF == trap.pc & 0xFFF
            vcpu.l2.TPIDR_EL1 = 0x7777
            assert vcpu.l2.TPIDR_EL1 == 0x7777
            vcpu.l2_memory.write(L2_VA + LEFT_BY_L2, b"from a hook")
            vcpu.set_x(19, 1000)
        if vcpu.x[19] == 1002:
            once(vcpu.l2.TPIDR_EL1, vcpu.l2_memory.read(L2_VA + LEFT_BY_L2, 11))

    with machine:
        assert once.wait() == [0x7777, b"from a hook"]
        assert machine.failures == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_register_is_what_the_hook_says(kind: str) -> None:
    machine, once = boot(kind), Once()

    @machine.on_trap(sysreg="ID_AA64MMFR0_EL1", level="vel2")
    def identify(trap: vel2.HookedTrap) -> vel2.Answer:
        assert (trap.sysreg, trap.is_read, trap.register) == ("ID_AA64MMFR0_EL1", True, 25)
        return trap.reads(0xABCD)

    @machine.on_trap(ec=vel2.EC.HVC64, level="l2")
    def call(trap: vel2.HookedTrap) -> None:
        if trap.vcpu.x[25]:
            once(trap.vcpu.x[25])

    with machine:
        # On a loaded machine L2 calls again before this thread comes.
        assert set(once.wait()) == {0xABCD}


@pytest.mark.parametrize("kind", KINDS)
def test_a_device_in_python(kind: str) -> None:
    """L2 stores and loads where L1 has put nothing; L1 sees none of it."""
    machine, once = boot(kind, driver), Once()
    stored = []

    @machine.on_mmio(L2_DEVICE, 0x1000)
    def device(trap: vel2.HookedTrap) -> vel2.Answer:
        assert trap.ipa is not None
        if trap.is_read:
            return trap.reads(0x80 if trap.size == 1 else 0x1234_5678)
        stored.append((trap.ipa - L2_DEVICE, trap.size, trap.value))
        return trap.skip()

    @machine.on_trap(ec=vel2.EC.HVC64, level="l2")
    def call(trap: vel2.HookedTrap) -> None:
        once(trap.vcpu.x[3], trap.vcpu.x[5])

    with machine:
        once.wait()
        # LDRSB of 0x80 into an X register.
        assert once.found[:2] == [0x1234_5678, 0xFFFF_FFFF_FFFF_FF80]
        assert stored[0] == (4, 4, STORED)


@pytest.mark.parametrize("kind", KINDS)
def test_exceptions_are_injected(kind: str) -> None:
    machine, once = boot(kind, driver), Once()
    turns = []

    @machine.on_mmio(L2_DEVICE, 0x1000)
    def device(trap: vel2.HookedTrap) -> vel2.Answer:
        turns.append(trap.ipa)
        if len(turns) == 1:
            return trap.inject("abort")  # L2 itself
        return trap.reads(1) if trap.is_read else trap.skip()

    @machine.on_trap(ec=vel2.EC.HVC64, level="l2")
    def call(trap: vel2.HookedTrap) -> vel2.Answer | None:
        if trap.esr.ISS == HYPERCALL + 1:
            once(trap.vcpu.x[26], trap.vcpu.x[27])
            return trap.inject("serror", iss=0x11)  # L1 has HCR_EL2.AMO set
        if trap.vcpu.x[21]:
            once(trap.vcpu.x[21], trap.vcpu.x[22])
            machine.stop()
        return None

    with machine:
        machine.wait(LIMIT_S)
    # EC, IL, and a synchronous External abort; WnR is not known to who injects it.
    assert once.found[0] == vel2.EC.DABT_SAME << 26 | 1 << 25 | 0x10
    assert once.found[1] == AT_DEVICE + 4
    assert once.found[2:4] == [1, vel2.EC.SERROR << 26 | 1 << 25 | 0x11]


def test_exits_are_seen_with_interrupts_and_skipped() -> None:
    machine, once = boot("vhe-nv2"), Once()

    @machine.on_exit_from("L2", when=lambda trap: trap.ec == vel2.EC.HVC64)
    def leave(trap: vel2.HookedTrap) -> vel2.Answer:
        if trap.vcpu.x[19] == 50:
            once(trap.vcpu.x[20])
        return trap.skip()

    with machine:
        # L1 counts L2's calls in x20, and has seen none.
        assert once.wait() == [0]


def test_a_hook_that_raises_leaves_the_machine_paused() -> None:
    machine, once = boot("vhe-nv2"), Once()

    @machine.on_trap(ec=vel2.EC.HVC64, level="l2")
    def broken(trap: vel2.HookedTrap) -> None:
        if trap.vcpu.x[19] == 5:
            raise ValueError("not today")
        if trap.vcpu.x[19] == 8:
            once(trap.vcpu.x[20])

    with machine:
        with pytest.raises(vel2.HookError) as failed:
            machine.wait_for("nothing comes", LIMIT_S)
        line = broken.function.__code__.co_firstlineno
        assert re.match(
            rf"hook broken \(.*test_hooks\.py:{line}\) failed at .*test_hooks\.py:{line + 3} for"
            r" vCPU 0 at vel1, pc 0x[0-9a-f]+: HVC #0x123: ValueError: not today;",
            str(failed.value),
        )
        assert machine.is_paused
        vcpu = machine.vcpus[0]
        assert (vcpu.x[19], vcpu.level, vcpu.pc) == (5, "vel1", L2_VA + L2_CODE + 12)
        assert vcpu.l2.SCTLR_EL1 == SCTLR_OF_L2
        assert vcpu.vel2.HCR_EL2.TWI == 1
        with pytest.raises(vel2.UserError, match="waits in a hook"):
            vcpu.step()
        vcpu.set_x(19, 7)
        machine.resume()
        # L1 has got the call at which the hook raised, like the four before it.
        assert once.wait() == [5]


WRONG: list[tuple[Callable[[vel2.HookedTrap], object], str]] = [
    (lambda trap: trap.reads(1), "reads nothing, so it cannot be answered with 0x1"),
    (lambda trap: "skip", r"it returned 'skip'; return an answer of the trap's"),
    (lambda trap: True, "it returned True"),
    (lambda trap: 5, "reads nothing"),
    (lambda trap: trap.inject("serror", level="l3"), "'l3' is no level"),
    (lambda trap: trap.inject("fire"), "'fire' cannot be injected; give 'undefined'"),
    (lambda trap: trap.inject("serror", level="l2"), "SErrors are masked there"),
    (lambda trap: trap.vcpu.vel2["HCR_EL9"], "HCR_EL9"),
    (lambda trap: trap.vcpu.execute_mrs("CNTVCT_EL0"), "executes nothing of the guest's"),
]


def test_wrong_answers_are_refused() -> None:
    """Each leaves the machine paused, says why, and the guest goes on as if nobody had asked."""
    machine = boot("vhe-nv2")
    turn = 0

    @machine.on_trap(ec=vel2.EC.HVC64, level="l2")
    def wrong(trap: vel2.HookedTrap) -> Any:
        return WRONG[turn][0](trap) if turn < len(WRONG) else None

    with machine:
        for _, sentence in WRONG:
            with pytest.raises(vel2.HookError, match=sentence):
                machine.wait(LIMIT_S)
            assert machine.is_paused
            turn += 1
            machine.resume()
        with machine.paused():
            assert machine.vcpus[0].x[20] > 0


def test_keyboard_interrupts_and_removal_do_not_lose_a_vcpu() -> None:
    machine, once = boot("vhe-nv2"), Once()

    @machine.on_trap(ec=vel2.EC.HVC64, level="l2")
    def pressed(trap: vel2.HookedTrap) -> None:
        pressed.remove()
        raise KeyboardInterrupt

    with machine:
        with pytest.raises(vel2.HookError, match="KeyboardInterrupt"):
            machine.wait(LIMIT_S)
        machine.resume()

        @machine.on_trap(ec=vel2.EC.ERET, level="vel2")
        def back(trap: vel2.HookedTrap) -> None:
            back.remove()
            once(trap.vcpu.x[20] > 0)

        assert once.wait() == [True]


def test_a_machine_may_end_in_a_hook() -> None:
    machine = boot("vhe-nv2")

    @machine.on_trap(ec=vel2.EC.HVC64, level="l2")
    def end(trap: vel2.HookedTrap) -> None:
        machine.stop()

    with machine:
        assert str(machine.wait(LIMIT_S))


def test_a_hook_may_take_its_time() -> None:
    """L0 waits for longer than `control.watch` allows it to be at EL2, and is not called hung."""
    machine, once = boot("vhe-nv2"), Once()

    @machine.on_trap(ec=vel2.EC.HVC64, level="l2")
    def slow(trap: vel2.HookedTrap) -> None:
        if not once.found:
            time.sleep(8)
        once(trap.vcpu.x[19])

    with machine:
        assert once.wait()
        with machine.paused():
            assert machine.vm.fatal is None


def test_what_does_not_trap_cannot_be_hooked() -> None:
    machine = boot("vhe-nv2")
    with pytest.raises(vel2.UserError, match="HCR_EL2 does not trap at vEL2: under FEAT_NV2"):
        machine.on_trap(sysreg="HCR_EL2")
    with pytest.raises(vel2.UserError, match="NO_SUCH_EL2 is not a register"):
        machine.on_trap(sysreg="NO_SUCH_EL2")
    with pytest.raises(vel2.UserError, match="'l9' is no level"):
        machine.on_exit_from("l9")
    with pytest.raises(vel2.UserError, match="no range"):
        machine.on_mmio(0, 0)
    machine.vm.close()


def deterministic_run(slow: bool, kind: str) -> tuple[list[object], list[object]]:
    """Give what 40 calls look like to a hook, and what has trapped then."""
    machine, once = boot(kind, deterministic=True), Once()

    @machine.on_trap(ec=vel2.EC.HVC64, level="l2")
    def call(trap: vel2.HookedTrap) -> None:
        vcpu = trap.vcpu
        if slow and vcpu.x[19] % 7 == 0:
            time.sleep(0.02)
            assert vcpu.vel2.HCR_EL2.TWI == 1
        if vcpu.x[19] <= 40:
            once.found.append((vcpu.x[19], int(vcpu.hw.CNTPCT_EL0), int(vcpu.hw.CNTVCT_EL0)))
        if vcpu.x[19] == 40:
            once.found.append([(each.kind, each.count) for each in machine.traps()])
            assert machine.hooks.in_step
            machine.stop()

    with machine:
        machine.wait(LIMIT_S)
    *calls, counted = once.found
    return calls, counted  # type: ignore[return-value]


@pytest.mark.parametrize("kind", KINDS)
def test_under_deterministic_a_hook_takes_no_guest_time(kind: str) -> None:
    """Whatever a hook does and however long, counters and traps are the same in each run."""
    slow, counted = deterministic_run(True, kind)
    assert deterministic_run(False, kind) == (slow, counted)
    assert len(slow) == 40


def test_no_guest_reaches_a_mailbox() -> None:
    """L1 stores to where its mailbox is: an External abort, and the mailbox as it was."""
    machine = boot("vhe-nv2")
    box = machine.vm.l0.mailbox(0)
    address = machine.vm.l0_base + 0x21_0000 + 0xE_0000
    with machine:
        with machine.paused():
            vcpu = machine.vcpus[0]
            vcpu.run_to("vel2")
            vcpu.set_x(0, address)
            vcpu.set_x(1, 2)
            there = vcpu.vel2_memory.pa_of(vcpu.pc)
            machine.write(there, (0xF900_0001).to_bytes(4, "little"))  # str x1, [x0]
            vcpu.step()
            assert vcpu.vel2.ESR_EL2.EC == vel2.EC.DABT_SAME
            assert address == vcpu.vel2.FAR_EL2
        assert box.turn == FREE
        assert box.order == 0


def test_a_breakpoint_of_one_level_alone() -> None:
    """L1's and L2's code lie at different addresses; the one at L2's address is L2's."""
    machine, once = boot("vhe-nv2"), Once()
    seen: list[tuple[str, int, int]] = []

    @machine.on_breakpoint(L2_VA + L2_CODE + 8, level="l2")
    def calls(hit: vel2.Hit) -> None:
        seen.append((hit.level, hit.pc, hit.vcpu.x[19]))
        if len(seen) == 1:
            hit.vcpu.set_x(19, 100)
        if len(seen) == 3:
            calls.remove()
            once(hit.vcpu.vel2.HCR_EL2.TWI)

    @machine.on_breakpoint(L2_VA + L2_CODE + 8, level="vel2")
    def never(hit: vel2.Hit) -> None:
        seen.append(("wrong", 0, 0))

    with machine:
        assert once.wait() == [1]
    there = L2_VA + L2_CODE + 8
    assert seen == [("vel1", there, 1), ("vel1", there, 101), ("vel1", there, 102)]


def test_a_watchpoint_and_a_pause() -> None:
    """L1 stores its counter; the machine can be paused and goes on with its points."""
    machine, once = boot("vhe-nv2", storing), Once()

    @machine.on_store(L2_VA + LEFT_BY_L2, level="l2")
    def stored(hit: vel2.Hit) -> None:
        once(int.from_bytes(hit.vcpu.l2_memory.read(L2_VA + LEFT_BY_L2, 8), "little"))

    with machine:
        once.wait()
        for _ in range(3):
            with machine.paused():
                assert machine.vcpus[0].vel2.HCR_EL2.TWI == 1
                before = len(once.found)
            once.event.clear()
            once.wait()
            assert len(once.found) > before
    assert once.found == [*range(1, len(once.found) + 1)]


def storing(a: Assembler) -> None:
    """L2: count in memory."""
    a.mov_imm(1, L2_VA + LEFT_BY_L2)
    a.mov_imm(19, 0)
    a.label(".again")
    a.add(19, 19, 1)
    a.str(19, 1)
    a.hvc(HYPERCALL)
    a.b(".again")


def test_a_breakpoint_that_raises_leaves_the_machine_paused() -> None:
    machine, once = boot("vhe-nv2"), Once()

    @machine.on_breakpoint(L2_VA + L2_CODE + 8)
    def broken(hit: vel2.Hit) -> None:
        if hit.vcpu.x[19] == 2:
            raise ValueError("not today")
        if hit.vcpu.x[19] == 3:
            once(True)

    with machine:
        with pytest.raises(vel2.HookError, match="breakpoint: ValueError: not today"):
            machine.wait(LIMIT_S)
        assert machine.is_paused
        assert machine.vcpus[0].x[19] == 2
        machine.resume()
        once.wait()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("deterministic", [False, True])
def test_an_exception_is_injected_at_a_stop(kind: str, deterministic: bool) -> None:
    machine = boot(kind, driver, deterministic=deterministic)
    with machine:
        vcpu = machine.vcpus[0]
        vcpu.run_to("l2", LIMIT_S)
        pc = vcpu.pc
        vcpu.inject("serror", iss=0x11)
        assert (vcpu.level, vcpu.el, vcpu.pc) == ("vel2", 2, L1_CODE + 0x580)
        assert vcpu.vel2.ESR_EL2 == vel2.EC.SERROR << 26 | 1 << 25 | 0x11
        assert pc == vcpu.vel2.ELR_EL2
        vcpu.inject("undefined")
        assert (vcpu.level, vcpu.pc) == ("vel2", L1_CODE + 0x200)
        assert vcpu.vel2.ELR_EL2 == L1_CODE + 0x580
        with pytest.raises(vel2.UserError, match="nobody at l2"):
            vcpu.inject("undefined", "l2")
        assert vcpu.pc == L1_CODE + 0x200


def test_an_interrupt_is_made_pending() -> None:
    """L1's distributor has the SPI pending, as from a device."""
    machine, once = boot("vhe-nv2"), Once()

    @machine.on_trap(ec=vel2.EC.HVC64, level="l2")
    def call(trap: vel2.HookedTrap) -> None:
        if not once.found:
            trap.pend(40)
            once(True)

    with machine:
        once.wait()
        with machine.paused():
            stub, base = machine.stub, machine.vm.distributor
            pending = int.from_bytes(stub.read(base + 0x204, 4), "little")
            assert pending & 1 << 8
    with pytest.raises(vel2.UserError, match="INTID 1020 is no SGI"):
        machine.hooks.pend(machine.hooks._boxes[0], 1020)
