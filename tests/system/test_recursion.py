"""L3: Linux's KVM at virtual EL2 gives its guest a virtual EL2, whose KVM starts a guest."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.limits import LIMIT_S
from vel2.arch.nesting import Kind
from vel2.bench.peer import KVM_KERNEL, KVM_L0_BOOTARGS, KVM_L0_MEMORY_BYTES, kvm_initrd, kvm_kernel
from vel2.cli.kernels import fetch_missing
from vel2.control.guest import Kernel
from vel2.control.launch import launch
from vel2.control.request import Request
from vel2.guests.kernels import guest_path
from vel2.guests.recipes import l1_with_l2
from vel2.guests.vmm import build_vmm
from vel2.machine.loader import load_kernel

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(1800)]

L2_KERNEL = "6.12"
L2_BYTES = 640 << 20
MODES = {Kind.VHE: "VHE"}
"""What L2's KVM calls itself, by the kind of virtual EL2 that L1's KVM gives it."""


@pytest.mark.parametrize("l2", list(MODES), ids=lambda kind: kind.value)
def test_l3_reaches_user_space(l2: Kind) -> None:
    """Boot the three levels; each says what it is and powers off.

    L1 runs at VHE virtual EL2: Linux has `kvm-arm.mode=nested` only there.
    """
    fetch_missing(["busybox", KVM_KERNEL, L2_KERNEL])
    kernel = load_kernel(guest_path(L2_KERNEL))
    initrd = l1_with_l2(build_vmm(), kernel.data, kernel.image_size, "console=ttyS0 panic=-1 quiet")
    l2_bootargs = "console=ttyAMA0 panic=-1 quiet job=l2"
    top = kvm_initrd(l2, kernel, initrd, l2_bootargs, L2_BYTES)
    request = Request(
        Kernel(kvm_kernel(), top, KVM_L0_BOOTARGS),
        L2_BYTES + KVM_L0_MEMORY_BYTES,
        recursion=True,
    )
    with closing(launch(request)) as session:
        with session:
            end = session.wait(4 * LIMIT_S)
        lines = session.console.text.splitlines()
    assert end.clean, lines[-20:]
    assert "L1| ##vel2 l1.el=EL2" in lines
    assert f"L1| ##vel2 l1.kvm_mode={MODES[l2]}" in lines
    assert "L1| L2| ##vel2 l2.userspace=ok" in lines
    assert "L1| L2| ##vel2 l2.sum=500500" in lines
    assert "L1| ##vel2 l1.vmm_status=0" in lines
    assert "##vel2 l0.vmm_status=0" in lines
