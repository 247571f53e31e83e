"""vel2 in vel2: a guest at the virtual EL2 of the last of several vel2s, one in the other."""

from __future__ import annotations

import difflib
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import ShowConsole
from tests.limits import LIMIT_S
from tests.tiny_guests import POWER_OFF, say, write_image
from vel2.arch.descriptors import Stage2Leaf
from vel2.arch.esr import EC
from vel2.arch.nesting import Kind, Level
from vel2.check.integrity import Integrity
from vel2.check.payloads import (
    DEEPER,
    PAYLOADS,
    Report,
    build_payload,
    declared,
    is_about_the_machine,
    is_unlike,
    run_at_real_el2,
    run_at_virtual_el2,
    undeclared,
)
from vel2.check.payloads.differences import Unlike
from vel2.check.payloads.dma import EDU_ARGUMENTS
from vel2.check.payloads.layout import ARENA, MEMORY_BYTES, RAM_BASE
from vel2.control import counters
from vel2.control.counters import TrapCount, class_name
from vel2.control.guest import Kernel
from vel2.control.l0 import L0
from vel2.control.regions import UART1_BASE
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.errors import UserError
from vel2.guests.kernels import fetch
from vel2.guests.recipes import l1_with_l2
from vel2.guests.vmm import build_vmm
from vel2.hyp import layout
from vel2.hyp.outcome import Stop
from vel2.machine.loader import load_kernel
from vel2.pack.nested import Nested, inner_l0s, nest

pytestmark = pytest.mark.qemu

MIB = 1 << 20
KINDS = [pytest.param(el2, nv, id=f"{el2.value}-{nv.value}") for el2 in Kind for nv in Level]


def count(traps: list[TrapCount], context: str | None = None, kind: str | None = None) -> int:
    """Count the traps of one kind from one context, or of all."""
    return sum(
        trap.count
        for trap in traps
        if context in (None, trap.context) and kind in (None, trap.kind)
    )


def require_chain(vm: Vm) -> None:
    """Require that the levels' counters, each kept by another vel2, fit together.

    A visit to an inner L0's EL2 ends with an ERET that L0 executes at the vEL2 of the one below,
    which traps there. It executes one more to start its guest, and none for the power-off.
    """
    levels: list[L0] = [vm.l0, *inner_l0s(vm)]
    for below, above in pairwise(levels):
        assert above.fatal is None and above.stop_reason is Stop.SYSTEM_OFF
        erets = count(counters.traps(below.vcpus), "vEL2", class_name(EC.ERET))
        assert erets == count(counters.traps(above.vcpus))


@pytest.fixture
def tiny(tmp_path: Path) -> Kernel:
    """Give a guest that says a word."""
    write_image(tmp_path / "Image", say("at vEL2\n"), POWER_OFF)
    return Kernel(load_kernel(tmp_path / "Image"))


def run(request: Request, console: ShowConsole, depth: int) -> str:
    """Run a guest in so many vel2s; give what it said."""
    with closing(Vm(nest(request, depth))) as vm:
        console(f"depth {depth}", vm.console)
        l0 = Integrity(vm)
        with vm:
            ended = vm.wait(LIMIT_S)
        assert ended.clean and vm.fatal is None, (ended, vm.fatal)
        assert l0.broken() == []
        require_chain(vm)
        return vm.console.text


@pytest.mark.parametrize(("el2", "nv"), KINDS)
def test_a_guest_in_two(el2: Kind, nv: Level, tiny: Kernel, show_console: ShowConsole) -> None:
    request = Request(tiny, 256 * MIB, el2=el2, nv=nv)
    assert run(request, show_console, 2) == "at vEL2\n"


def test_a_guest_in_four(tiny: Kernel, show_console: ShowConsole) -> None:
    assert run(Request(tiny, 256 * MIB), show_console, 4) == "at vEL2\n"


def test_memory_is_what_bounds_the_depth(tiny: Kernel, show_console: ShowConsole) -> None:
    """Show that each level takes its part until a guest does not fit."""
    with pytest.raises(UserError, match=r"^too little memory: this kernel and initrd need 22 MiB"):
        run(Request(tiny, 64 * MIB), show_console, 4)


def test_a_virtual_el2_that_vel2_cannot_run_at(tiny: Kernel) -> None:
    """Show that it says why: L0 runs with E2H=0, which there is not with VHE on FEAT_NV2."""
    guest = Nested(tiny, Kind.VHE, Level.NV2)
    request = Request(guest, 256 * MIB, el2=Kind.VHE, nv=Level.NV2, recursion=True)
    with closing(Vm(request)) as vm:
        with vm:
            assert vm.wait(LIMIT_S).clean
        assert vm.console.text == (
            "vel2 cannot start here: HCR_EL2.E2H is always 1, and it needs 0; give the vel2 below"
            " --el2 nvhe.\n"
        )


LINUX = [
    pytest.param(2, Kind.VHE, Level.NV2, 1, id="vhe-nv2"),
    pytest.param(2, Kind.VHE, Level.NV2, 2, id="vhe-nv2-smp", marks=pytest.mark.slow),
    pytest.param(2, Kind.NVHE, Level.NV2, 1, id="nvhe-nv2", marks=pytest.mark.slow),
    pytest.param(2, Kind.VHE, Level.NV, 1, id="vhe-nv", marks=pytest.mark.slow),
    pytest.param(2, Kind.NVHE, Level.NV, 1, id="nvhe-nv", marks=pytest.mark.slow),
    pytest.param(3, Kind.VHE, Level.NV2, 1, id="three", marks=pytest.mark.slow),
]


@pytest.mark.network
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("depth", "el2", "nv", "cpus"), LINUX)
def test_linux_whose_kvm_starts_linux(
    depth: int, el2: Kind, nv: Level, cpus: int, show_console: ShowConsole
) -> None:
    """Boot a stock kernel at the virtual EL2 of the innermost vel2, and its guest."""
    found, _ = fetch(["6.12", "busybox"])
    kernel = load_kernel(found.path)
    initrd = l1_with_l2(build_vmm(), kernel.data, kernel.image_size, "console=ttyS0 panic=-1 quiet")
    guest = Kernel(kernel, initrd, "console=ttyAMA0 panic=-1 job=l2")
    request = nest(Request(guest, 1024 * MIB, el2=el2, nv=nv, smp=cpus), depth)
    with closing(Vm(request)) as vm:
        show_console(f"depth {depth}", vm.console)
        with vm:
            ended = vm.wait(3000)
        said = vm.console.text
        assert ended.clean and vm.fatal is None, (ended, vm.fatal)
        for line in ("##vel2 l1.el=EL2", f"##vel2 l1.cpus={cpus}", "L2| ##vel2 l2.sum=500500"):
            assert line in said, line
        if cpus == 1:
            require_chain(vm)


ALONE = ("dma", "isolation", "traps")
"""Payloads that have a test of their own below, or nothing to say about depth."""
SLOW = ("nested", "psci", "survival", "windows")
RECURSIVE = ("nested", "windows")
OTHERS = [
    pytest.param(
        name,
        el2,
        nv,
        id=f"{name}-{el2.value}-{nv.value}",
        marks=[pytest.mark.slow] * (name in SLOW or (el2, nv) != (Kind.VHE, Level.NV2)),
    )
    for name in PAYLOADS
    if name not in ALONE
    for el2 in Kind
    for nv in Level
    if name != "windows" or nv is Level.NV2
]


def shown(name: str, known: set[str], report: Report) -> list[str]:
    """Give the lines that have to be the same."""
    return [
        line
        for line in report.lines[:-1]
        if not known & set(line.split()[1:3])
        and not is_about_the_machine(line)
        and not is_unlike(name, line)
    ]


@pytest.mark.parametrize(("name", "el2", "nv"), OTHERS)
def test_payloads_see_what_they_see_at_real_el2(name: str, el2: Kind, nv: Level) -> None:
    """Every syndrome, address and state, line by line, as under one vel2.

    Time counts instructions: a timer would fire too early where two levels take their time.
    """
    image = build_payload(name, el2=el2, nv=nv, forgets=True)
    cpus = PAYLOADS[name].cpus
    real = run_at_real_el2(image, cpus=cpus, deterministic=cpus == 1)
    inner = run_at_virtual_el2(
        image,
        nv=nv,
        el2=el2,
        recursion=name in RECURSIVE,
        depth=2,
        cpus=cpus,
        deterministic=cpus == 1,
    )
    known = declared(name, el2, nv, real.lines)
    assert inner.complete, (inner.end, inner.trouble, inner.lines[-5:])
    assert not undeclared(inner.failures, known), inner.failures
    assert len(inner.failures) == len(known), "a declared difference is gone"
    assert inner.checks == real.checks
    wanted, found = (shown(name, known, report) for report in (real, inner))
    difference = "\n".join(difflib.unified_diff(wanted, found, "real", "inner", n=0))
    assert not difference, difference


@pytest.mark.parametrize("row", DEEPER, ids=lambda row: row.payload)
def test_what_may_differ_deeper_does(row: Unlike) -> None:
    """A row that explains nothing any more is to be deleted."""
    image = build_payload(row.payload, el2=Kind.VHE, forgets=True)
    real, inner = run_at_real_el2(image), run_at_virtual_el2(image, depth=2)
    pairs = [pair for pair in zip(real.lines, inner.lines, strict=True) if row.lines.match(pair[0])]
    assert pairs and all(one != other for one, other in pairs)


INNER = RAM_BASE + MEMORY_BYTES
OUTER = INNER + layout.l0_bytes(MEMORY_BYTES)
GAP = INNER + layout.IMAGE_MAX_BYTES - layout.PAGE_BYTES
"""Behind the inner L0's image: its loader has cleared it."""
TARGETS = (
    *(INNER, GAP, INNER + layout.VM_OFFSET, INNER + layout.GIC_OFFSET, INNER + layout.POOL_OFFSET),
    INNER + layout.PCPU_OFFSET + layout.VCPU_IN_PCPU,
    INNER + layout.PCPU_OFFSET + layout.VNCR_IN_PCPU,
    OUTER - layout.PAGE_BYTES,
    *(OUTER, OUTER + layout.VM_OFFSET, OUTER + layout.GIC_OFFSET, OUTER + layout.POOL_OFFSET),
    OUTER + layout.PCPU_OFFSET + layout.VCPU_IN_PCPU,
    OUTER + layout.PCPU_OFFSET + layout.VNCR_IN_PCPU,
    UART1_BASE,
)
CANARY = ARENA | Stage2Leaf.compose(AF=1, SH=3, S2AP=3, MemAttr=0b1111, TYPE=1, VALID=1)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("el2", "nv"), KINDS)
def test_a_guest_in_two_reaches_the_memory_of_neither(el2: Kind, nv: Level) -> None:
    """Payload `isolation`: the inner L0, and the one below, as at an EL2 that has nothing there."""
    image = build_payload("isolation", TARGETS, CANARY, el2=el2)
    l0: list[Integrity] = []
    broken: list[str] = []

    def prepare(vm: Vm) -> None:
        l0.append(Integrity(vm, CANARY))

    def examine(vm: Vm) -> None:
        broken.extend(l0[0].broken())
        if any(vm.memory.read(GAP, layout.PAGE_BYTES)):
            broken.append("the inner L0's memory was changed")

    inner = run_at_virtual_el2(
        image, 1200, nv=nv, el2=el2, depth=2, prepare=prepare, examine=examine
    )
    assert inner.complete and not inner.failures, (inner.end, inner.trouble, inner.lines[-5:])
    assert broken == []
    assert inner.lines == run_at_real_el2(image).lines


def test_devices_are_refused_below_an_inner_vel2() -> None:
    """What L1 gives its guest decides, and an inner vel2 has no SMMU to give a device by."""
    with pytest.raises(UserError, match="an inner vel2 gives its guest no device with DMA"):
        run_at_virtual_el2(build_payload("dma"), depth=2, qemu_arguments=EDU_ARGUMENTS)
