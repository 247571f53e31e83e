"""L1 on several CPUs, which it turns off and on; guests of its own on all of them at once."""

from __future__ import annotations

import re
from contextlib import closing

import pytest

from tests.conftest import ShowConsole
from tests.limits import LIMIT_S
from vel2.arch.nesting import Kind, Level
from vel2.control.guest import Kernel
from vel2.control.request import Request
from vel2.control.vm import Vm
from vel2.guests.init_scripts import COMMON, QEMU_PATH
from vel2.guests.initramfs import Initramfs
from vel2.guests.kernels import fetch
from vel2.guests.kexec import WITHOUT_LPIS, fetch_kexec, kexec_tree
from vel2.guests.markers import parse_markers
from vel2.guests.parallel import build_parallel, differences
from vel2.guests.qemu_guest import fetch_qemu, qemu_l1_tree
from vel2.guests.recipes import base_tree, l1_tree, l1_with_l2, l2_tree
from vel2.guests.vmm import build_vmm
from vel2.hyp.outcome import Stop
from vel2.hyp.pcpu import OFF, ON
from vel2.machine.loader import KernelImage, load_kernel
from vel2.machine.outcome import ExitReason

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.timeout(900)]

KERNEL = "6.12"
BOOTARGS = "console=ttyS0 panic=-1 quiet"
L1_BOOTARGS = "console=ttyAMA0 panic=-1 quiet"
CPUS = 2
MANY = 4
GIB = 1 << 30
TROUBLE = re.compile(r"rcu.*stall|lockup|\bBUG\b|\bOops\b|Call trace")
"""What a kernel says that lost an interrupt, a wake-up or a translation."""
WORK = r"""
work() { seq 1 2000 | awk '{ sum += $1 } END { print sum }'; }
for cpu in $(seq 1 "$(grep -c ^processor /proc/cpuinfo)"); do
    (for turn in 1 2 3 4 5; do work | cat >/tmp/sum$cpu; done) &
done
wait
echo "guest has $(grep -c ^processor /proc/cpuinfo) cpus, sums $(cat /tmp/sum* | tr '\n' ' ')"
poweroff -f
"""
HOTPLUG = r"""
echo "L1 has $(grep -c ^processor /proc/cpuinfo) cpus"
online=/sys/devices/system/cpu/cpu1/online
for turn in 1 2 3; do
    echo 0 >$online; echo "cpu1 is $(cat $online)"
    echo 1 >$online; echo "cpu1 is $(cat $online)"
done
"""
TWO_GUESTS = r"""
for guest in 1 2; do
    /vmm --kernel /l2/Image --initrd /l2/initrd --dtb /l2/dtb --memory "$(cat /l2/memory)" \
        --label "L2 number $guest: " &
done
wait
poweroff -f
"""
HUNDRED = r"""
work() { seq 1 200 | awk '{ sum += $1 } END { print sum }'; }
turn=0
while [ $turn -lt 100 ]; do
    cpu=$((turn % 3 + 1)) turn=$((turn + 1))
    echo 0 >/sys/devices/system/cpu/cpu$cpu/online
    echo 1 >/sys/devices/system/cpu/cpu$cpu/online
    [ "$(taskset $((1 << cpu)) seq 1 200 | awk '{ sum += $1 } END { print sum }')" = 20100 ] ||
        echo "wrong sum on $cpu"
done
echo "$turn turns, $(grep -c ^processor /proc/cpuinfo) cpus"
poweroff -f
"""
REBOOT = r"""
echo "L1 has $(grep -c ^processor /proc/cpuinfo) cpus"
reboot -f
"""
ONE_GUEST = rf"""
{QEMU_PATH} -M virt,gic-version=3 -cpu host -accel kvm -smp {CPUS} -m 256 -nographic -nodefaults \
    -serial stdio -kernel /l2/Image -initrd /l2/initrd \
    -append 'console=ttyAMA0 panic=-1 quiet' </dev/null
poweroff -f
"""
KINDS = [
    pytest.param(Kind.VHE, Level.NV2, id="vhe-nv2"),
    pytest.param(Kind.NVHE, Level.NV, id="nvhe-nv"),
    pytest.param(Kind.NVHE, Level.NV2, id="nvhe-nv2", marks=pytest.mark.slow),
    pytest.param(Kind.VHE, Level.NV, id="vhe-nv", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def kernel() -> KernelImage:
    """Give L1's kernel, which is L2's too."""
    found, _ = fetch([KERNEL, "busybox"])
    return load_kernel(found.path)


def run(
    kernel: KernelImage,
    tree: Initramfs,
    init: str,
    console: ShowConsole,
    smp: int = CPUS,
    **given: object,
) -> str:
    """Boot L1 with this init; give what the console said when all went well."""
    tree.file("init", COMMON + init, 0o755)
    return run_to_end(Kernel(kernel, tree.pack(), L1_BOOTARGS), console, smp, **given)


def run_to_end(
    guest: Kernel, console: ShowConsole, smp: int, boots: int = 1, **given: object
) -> str:
    """Boot L1; give what the console said when all went well.

    :param boots: how many there are, one after the other; each may take its time.
    """
    request = Request(guest, smp=smp, **given)  # type: ignore[arg-type]
    with closing(Vm(request)) as vm:
        with vm:
            console("L1", vm.console)
            ended = vm.wait(boots * LIMIT_S)
        text = vm.console.text
        assert ended.clean and vm.fatal is None, str(ended)
        assert not TROUBLE.search(text)
        state = vm.state
        assert state.stage2.lock.next == state.stage2.lock.served, "it was given back"
        assert [vcpu.power.state for vcpu in vm.vcpus].count(ON) == state.online
    return text


@pytest.mark.parametrize(("el2", "nv"), KINDS)
def test_l1_runs_two_guests_at_once(
    kernel: KernelImage, el2: Kind, nv: Level, show_console: ShowConsole
) -> None:
    """Show PSCI, and two shadows at the same time, in each kind of virtual EL2."""
    l2 = base_tree(COMMON + WORK).pack()
    tree = l1_tree(
        build_vmm(), kernel.data, l2, l2_image_bytes=kernel.image_size, l2_bootargs=BOOTARGS
    )
    text = run(kernel, tree, HOTPLUG + TWO_GUESTS, show_console, el2=el2, nv=nv)
    assert f"L1 has {CPUS} cpus" in text
    assert re.findall(r"cpu1 is (\d)", text) == ["0", "1"] * 3
    for guest in (1, 2):
        assert f"L2 number {guest}: guest has 1 cpus, sums 2001000" in text


@pytest.mark.slow
@pytest.mark.parametrize(("el2", "nv"), KINDS)
def test_l2_has_several_vcpus(
    kernel: KernelImage, el2: Kind, nv: Level, show_console: ShowConsole
) -> None:
    """Show one shadow that two pcpus walk and fill, and L2's SGIs between them."""
    tree = qemu_l1_tree(fetch_qemu(), kernel.data, base_tree(COMMON + WORK).pack())
    text = run(kernel, tree, ONE_GUEST, show_console, el2=el2, nv=nv, memory_bytes=3 * GIB)
    assert f"guest has {CPUS} cpus, sums 2001000 2001000" in text


@pytest.mark.slow
@pytest.mark.parametrize(("el2", "nv"), KINDS)
def test_cpus_go_off_and_on_a_hundred_times(
    kernel: KernelImage, el2: Kind, nv: Level, show_console: ShowConsole
) -> None:
    """Show that each life of a CPU begins as the first, and none is lost."""
    text = run(kernel, base_tree(""), HUNDRED, show_console, MANY, el2=el2, nv=nv)
    assert f"100 turns, {MANY} cpus" in text and "wrong sum" not in text


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("el2", "nv"), KINDS)
def test_l1_starts_another_kernel_by_kexec(
    kernel: KernelImage, el2: Kind, nv: Level, show_console: ShowConsole
) -> None:
    """Show that the next kernel finds CPUs, virtual EL2, timers and interrupts as after a reset.

    Its own guest then has as many vCPUs, which work together.
    """
    initrd = l1_with_l2(
        build_vmm(),
        kernel.data,
        kernel.image_size,
        BOOTARGS,
        l2_tree(parallel=build_parallel()),
        l2_cpus=MANY,
    )
    tree = kexec_tree(fetch_kexec(), kernel.data, initrd, L1_BOOTARGS)
    first = Kernel(kernel, tree.pack(), f"{L1_BOOTARGS} {WITHOUT_LPIS}")
    text = run_to_end(first, show_console, MANY, boots=3, el2=el2, nv=nv, memory_bytes=GIB)
    said = parse_markers(text.splitlines())
    assert said["first.load_status"] == "0"
    assert said["first.cpus"] == said["l1.cpus"] == said["l2.cpus"] == str(MANY)
    assert said["l1.el"] == "EL2"
    assert said["l1.kvm_mode"] == ("VHE" if el2 is Kind.VHE else "Hyp nVHE")
    assert said["l1.vmm_status"] == "0" and said["l2.userspace"] == "ok"
    found = {
        name.removeprefix("l2."): int(value)
        for name, value in said.items()
        if name.startswith("l2.parallel_")
    }
    assert differences(MANY, found) == []


@pytest.mark.parametrize("smp", [CPUS, pytest.param(MANY, marks=pytest.mark.slow)])
def test_l1_reboots(kernel: KernelImage, smp: int, show_console: ShowConsole) -> None:
    """Show that PSCI's SYSTEM_RESET ends the run as a reset, whichever CPU asks for it."""
    tree = base_tree(COMMON + REBOOT)
    guest = Kernel(kernel, tree.pack(), L1_BOOTARGS)
    with closing(Vm(Request(guest, smp=smp))) as vm:
        with vm:
            show_console("L1", vm.console)
            ended = vm.wait(LIMIT_S)
        assert vm.fatal is None and ended.reason is ExitReason.RESET
        assert vm.state.post_mortem.stop_reason == Stop.SYSTEM_RESET


def test_a_cpu_that_l1_never_turns_on_stays_off(
    kernel: KernelImage, show_console: ShowConsole
) -> None:
    """Show that L0 starts no pcpu by itself."""
    tree = base_tree(COMMON + "poweroff -f\n")
    guest = Kernel(kernel, tree.pack(), f"{L1_BOOTARGS} nosmp")
    with closing(Vm(Request(guest, smp=4))) as vm:
        with vm:
            show_console("L1", vm.console)
            assert vm.wait(LIMIT_S).clean
        assert [vcpu.power.state for vcpu in vm.vcpus] == [ON, OFF, OFF, OFF]
