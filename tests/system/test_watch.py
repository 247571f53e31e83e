"""An L0 that does not come back is reported with its place; a guest that never traps is not."""

from __future__ import annotations

import pytest

from vel2.check.payloads import build_payload
from vel2.check.payloads.layout import MEMORY_BYTES
from vel2.control import watch
from vel2.control.guest import Kernel
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.control.watch import Hang
from vel2.machine.loader import load_kernel

pytestmark = pytest.mark.qemu

BRANCH_TO_SELF = (0x1400_0000).to_bytes(4, "little")
TIME_LIMIT_S = 120.0


@pytest.mark.parametrize("place", ["start", "handle_sync", "plain_eret"])
@pytest.mark.parametrize("deterministic", [False, True], ids=["time", "icount"])
def test_an_endless_loop_of_l0_is_found(
    place: str, deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Show that it is said to be L0's, and where, long before the time limit."""
    monkeypatch.setattr(watch, "BUDGET_S", 1.0)
    image = load_kernel(build_payload("exceptions"))
    vm = Vm(Request(Kernel(image), MEMORY_BYTES, deterministic=deterministic))
    try:
        vm.memory.write(vm.image.symbols[place], BRANCH_TO_SELF)
        with vm:
            ended = vm.wait(TIME_LIMIT_S)
        assert isinstance(vm.fatal, Hang), f"{ended}; {vm.console.text[-200:]}"
        assert vm.fatal.where.startswith(place)
        assert vm.fatal.pc == vm.image.symbols[place]
    finally:
        vm.close()


@pytest.mark.parametrize(("smp", "deterministic"), [(1, False), (2, True)], ids=["one", "two"])
def test_a_guest_that_never_traps_is_no_hang(
    smp: int, deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Show that L1 may loop for longer than the budget, with nothing that moves a counter.

    Of two CPUs that run in turn on one thread, the other is off: at EL2, as reset left it.
    """
    monkeypatch.setattr(watch, "BUDGET_S", 0.2)
    monkeypatch.setattr(watch, "PERIOD_S", 0.2)
    image = load_kernel(build_payload("exceptions"))
    vm = Vm(Request(Kernel(image), MEMORY_BYTES, smp=smp, deterministic=deterministic))
    try:
        vm.memory.write(vm.vcpu().power.entry_pc, BRANCH_TO_SELF)
        with vm:
            ended = vm.wait(4)
        assert vm.fatal is None
        assert str(ended) == "the time limit was reached"
    finally:
        vm.close()
