"""Linux uses the PMU and the debug registers, as perf and gdb do, in L1 and in L2.

`--deterministic` makes counts repeat: what a program counts of itself must be the same at virtual
and at real EL2, to the instruction, whatever L0 does meanwhile.
"""

from __future__ import annotations

from contextlib import closing
from functools import cache

import pytest

from tests.limits import LIMIT_S
from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Kernel
from vel2.control.launch import launch
from vel2.control.request import Request
from vel2.guests.kernels import fetch, guest_kernel
from vel2.guests.markers import parse_markers
from vel2.guests.observe import build_observe
from vel2.guests.observe.main import TURNS
from vel2.guests.observe.perf import CALLS
from vel2.guests.observe.tracing import DONE
from vel2.guests.recipes import l1_tree, l2_tree
from vel2.guests.vmm import build_vmm
from vel2.machine.loader import KernelImage, load_kernel

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(900)]

ARGUMENTS = "panic=-1 quiet job=observe"
COMBINATIONS = [(el2, nv) for el2 in Kind for nv in Level]
KVM_MODES = {Kind.VHE: "VHE", Kind.NVHE: "Hyp nVHE"}
AROUND_THE_LOOP = 100
"""At most so many instructions of user space lie between enabling a counter and disabling it."""


@cache
def l1(name: str) -> tuple[KernelImage, bytes]:
    fetch([name, "busybox"])
    kernel = load_kernel(guest_kernel(name).image_path)
    program = build_observe()
    tree = l1_tree(
        build_vmm(),
        kernel.data,
        l2_tree(observe=program).pack(),
        l2_image_bytes=kernel.image_size,
        l2_bootargs=f"console=ttyS0 {ARGUMENTS}",
        observe=program,
    )
    return kernel, tree.pack()


@cache
def observe(name: str, el2: Kind, nv: Level, native: bool = False) -> dict[str, str]:
    """Boot L1 and L2 with the program in each; give what all said."""
    kernel, initrd = l1(name)
    request = Request(
        Kernel(kernel, initrd, f"console=ttyAMA0 {ARGUMENTS}"),
        512 << 20,
        el2=el2,
        nv=nv,
        deterministic=True,
        native=native,
    )
    with closing(launch(request)) as session:
        with session:
            ended = session.wait(2 * LIMIT_S)
        fatal, text = session.fatal, session.console.text
    assert ended.clean and not fatal, f"{ended} {fatal}\n{text}"
    return parse_markers(line.text for line in session.console.lines)


def require_counters(seen: dict[str, str], level: str) -> None:
    """Counters count what they are asked to, and their overflow interrupts arrive."""
    once, twice = (int(seen[f"{level}.instructions_user{suffix}"]) for suffix in ("", "_2"))
    assert twice - once == 2 * TURNS
    assert 2 * TURNS < once < 2 * TURNS + AROUND_THE_LOOP
    assert int(seen[f"{level}.cycles_user"]) == once, "a cycle is an instruction here"
    assert int(seen[f"{level}.cycles_host"]) > once
    assert int(seen[f"{level}.cycles_kernel"]) > 0
    assert int(seen[f"{level}.sample_bytes"]) > 0


def require_debugging(seen: dict[str, str], level: str) -> None:
    """A traced child stops where it shall, and the kernel at its own breakpoint."""
    assert int(seen[f"{level}.traced"]) == DONE
    assert int(seen[f"{level}.kernel_breaks"]) == CALLS


def require_all(seen: dict[str, str], el2: Kind) -> None:
    assert seen["l1.el"] == "EL2" and seen["l1.kvm_mode"] == KVM_MODES[el2]
    assert seen["l2.el"] == "EL1" and seen["l1.vmm_status"] == "0"
    for level in ("l1", "l2"):
        require_counters(seen, level)
        require_debugging(seen, level)
    assert seen["l1.vmm_break"] == "1" and seen["l1.vmm_steps"] == "100"
    assert 50 < int(seen["l1.vmm_steps_in_sequence"]) < 100


@pytest.mark.parametrize(("el2", "nv"), COMBINATIONS, ids=[f"{e}-{n}" for e, n in COMBINATIONS])
def test_l1_and_l2_observe_themselves(el2: Kind, nv: Level) -> None:
    require_all(observe("6.12", el2, nv), el2)


def test_counts_are_those_of_real_el2() -> None:
    """Show that L0's work is in nobody's count of user space."""
    native = observe("6.12", Kind.VHE, Level.NV2, native=True)
    require_all(native, Kind.VHE)
    virtual = observe("6.12", Kind.VHE, Level.NV2)
    for level in ("l1", "l2"):
        for name in ("instructions_user", "instructions_user_2", "cycles_user"):
            assert virtual[f"{level}.{name}"] == native[f"{level}.{name}"]
    for name in ("vmm_break", "vmm_steps", "vmm_steps_in_sequence"):
        assert virtual[f"l1.{name}"] == native[f"l1.{name}"]


@pytest.mark.parametrize("name", ["6.1", "7"])
def test_other_kernels(name: str) -> None:
    seen = observe(name, Kind.VHE, Level.NV2)
    assert seen["l1.kernel"].startswith(f"{name}.")
    require_all(seen, Kind.VHE)
