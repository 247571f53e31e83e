"""The launcher: one description of a run, with vel2 below the guest and without."""

from __future__ import annotations

import struct
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libfdt
import pytest

from tests.limits import LIMIT_S
from vel2.control.guest import Board, Kernel, Start
from vel2.control.launch import launch
from vel2.control.request import Request
from vel2.control.session import Session
from vel2.control.vm import Vm
from vel2.errors import UserError
from vel2.machine.dtb import open_tree
from vel2.machine.loader import load_kernel
from vel2.machine.memory import RAM_BASE

pytestmark = pytest.mark.qemu

MIB = 1 << 20
CODE = (
    0xD2A12005,  # mov  x5, #UART
    0x528009E6,  # mov  w6, #'O'
    0x390000A6,  # strb w6, [x5]
    0x390000A0,  # strb w0, [x5]
    0x52B08000,  # mov  w0, #SYSTEM_OFF
    0x72800100,
    0xD4000003,  # smc  #0
)
"""Say `O` and what is in w0; power off."""
PROGRAM = struct.pack(f"<{len(CODE)}I", *CODE)
BRANCH_OVER_HEADER = 0x14000010
IMAGE = struct.pack("<IIQQQ24x4sI", BRANCH_OVER_HEADER, 0, 0, 0x1000, 0, b"ARM\x64", 0) + PROGRAM


@dataclass(frozen=True)
class Program:
    """A kind of guest that the launcher does not know: code at the very start of RAM.

    QEMU's device tree lies there until the machine is reset.
    """

    data: bytes
    x0: int = 0
    flash: Path | None = None

    def load(self, board: Board) -> Start:
        """Have it written late."""
        assert board.memory_bytes == 64 * MIB
        return Start(RAM_BASE, self.x0, late=((RAM_BASE, self.data),))


@pytest.mark.parametrize("native", [True, False], ids=["native", "vel2"])
@pytest.mark.parametrize("x0", [0, ord("K")])
def test_a_new_kind_of_guest_needs_no_launcher(native: bool, x0: int) -> None:
    request = Request(Program(PROGRAM, x0), 64 * MIB, native=native)
    with closing(launch(request)) as session, session:
        assert session.wait(LIMIT_S).clean
    assert session.console.data == bytes([ord("O"), x0])


def tree_of(session: Session) -> Any:
    """Open the device tree that a kernel was given."""
    if isinstance(session, Vm):
        address = session.vcpu().power.entry_x0
    else:  # it is named in the stub that enters the kernel
        assert session.machine.config.entry is not None
        (address,) = struct.unpack("<Q", session.memory.read(session.machine.config.entry + 32, 8))
    return open_tree(session.memory.read(address, 2 * MIB))


@pytest.mark.parametrize("deterministic", [False, True])
def test_both_give_the_guest_the_same_randomness(deterministic: bool) -> None:
    """A Linux moves itself by `kaslr-seed`; with vel2 and without it is to lie at one place."""
    guest, seeds = Kernel(load_kernel(IMAGE)), []
    for native in (False, True):
        request = Request(guest, 64 * MIB, native=native, deterministic=deterministic)
        with closing(launch(request)) as session:
            tree = tree_of(session)
            chosen = tree.path_offset("/chosen")
            names = ("kaslr-seed", "rng-seed")
            found = [name for name in names if tree.hasprop(chosen, name)]
            seeds.append({name: bytes(tree.getprop(chosen, name)) for name in found})
    assert seeds[0] == seeds[1]
    assert len(seeds[0]) == (2 if deterministic else 0)


@pytest.mark.parametrize("native", [True, False], ids=["native", "vel2"])
def test_cpus(native: bool) -> None:
    """The guest has as many as were asked for, and sees no more."""
    request = Request(Kernel(load_kernel(IMAGE)), 64 * MIB, native=native, smp=2)
    with closing(launch(request)) as session:
        tree = tree_of(session)
        assert tree.path_offset("/cpus/cpu@1") > 0
        assert tree.path_offset("/cpus/cpu@2", (libfdt.FDT_ERR_NOTFOUND,)) < 0
        with session:
            assert session.wait(LIMIT_S).clean


def test_more_cpus_than_vel2_takes() -> None:
    request = Request(Kernel(load_kernel(IMAGE)), 64 * MIB, smp=9)
    with pytest.raises(UserError, match=r"^L1 cannot have 9 CPUs; give 1 to 8\.$"):
        launch(request)


def test_state_outlives_the_machine() -> None:
    """What L0 counted can be read until the session is closed, and L0's fields with it."""
    with closing(launch(Request(Kernel(load_kernel(IMAGE)), 64 * MIB))) as session:
        with session:
            assert session.wait(LIMIT_S).clean
        assert [(trap.kind, trap.context) for trap in session.traps()] == [("0x17 SMC64", "vEL2")]
        assert session.fatal is None and session.sysreg_traps() == {}
    with pytest.raises(ValueError, match="closed"):
        session.memory.read(RAM_BASE, 1)
