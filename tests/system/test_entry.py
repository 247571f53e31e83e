"""How a kernel is entered, by vel2 and without it: booting.rst, \"Call the kernel image\"."""

from __future__ import annotations

import struct
from contextlib import closing

import pytest

from tests.limits import LIMIT_S
from vel2.control.guest import Kernel
from vel2.control.launch import launch
from vel2.control.request import Request
from vel2.machine.loader import load_kernel

pytestmark = pytest.mark.qemu

CODE = (
    0xAA020024,  # orr  x4, x1, x2
    0xAA030084,  # orr  x4, x4, x3
    0x52800606,  # mov  w6, #'0'
    0xB4000044,  # cbz  x4, 1f
    0x528009C6,  # mov  w6, #'N'
    0xD2A12005,  # 1: mov x5, #UART
    0x390000A6,  # strb w6, [x5]
    0xF9400007,  # ldr  x7, [x0]
    0x92401CE6,  # and  x6, x7, #0xff
    0x390000A6,  # strb w6, [x5]
    0x52800146,  # mov  w6, #10
    0x390000A6,  # strb w6, [x5]
    0x52B08000,  # mov  w0, #SYSTEM_OFF
    0x72800100,
    0xD4000003,  # smc  #0
)
"""Say whether x1 to x3 are zero, and the first byte that x0 points at; power off."""
BRANCH_OVER_HEADER = 0x14000010
IMAGE = struct.pack(
    "<IIQQQ24x4sI", BRANCH_OVER_HEADER, 0, 0, 0x1000, 0, b"ARM\x64", 0
) + struct.pack(f"<{len(CODE)}I", *CODE)
FIRST_OF_DEVICE_TREE = 0xD0


@pytest.mark.parametrize("native", [True, False], ids=["native", "vel2"])
def test_registers_at_entry(native: bool) -> None:
    request = Request(Kernel(load_kernel(IMAGE)), 128 << 20, native=native)
    with closing(launch(request)) as session, session:
        assert session.wait(LIMIT_S).clean
    assert session.console.data == bytes([ord("0"), FIRST_OF_DEVICE_TREE, 10])
