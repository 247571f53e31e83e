"""Running ahead on the machine: that it is done at all, and that it can be turned off."""

from __future__ import annotations

import pytest

from vel2.arch.nesting import Kind
from vel2.check.payloads import build_payload
from vel2.check.payloads.layout import MEMORY_BYTES
from vel2.control.guest import Kernel
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.machine.loader import load_kernel

pytestmark = pytest.mark.qemu


def accesses_done_ahead(*, ahead: bool) -> int:
    """Run a payload with EL2's MMU on; give how many accesses came with the trap of another."""
    image = load_kernel(build_payload("survival", el2=Kind.NVHE))
    vm = Vm(Request(Kernel(image), MEMORY_BYTES, el2=Kind.NVHE, ahead=ahead))
    try:
        with vm:
            ended = vm.wait(60)
        assert ended.clean, f"{ended}; {vm.console.text[-200:]}"
        return int(vm.vcpu().counters.ahead)
    finally:
        vm.close()


def test_it_is_done_unless_it_is_turned_off() -> None:
    """Show that `--no-ahead` leaves every access a trap of its own."""
    assert accesses_done_ahead(ahead=True) > 0
    assert accesses_done_ahead(ahead=False) == 0
