"""The small guests' trees, init scripts, device tree and marker lines."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import libfdt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vel2.arch.nesting import Kind
from vel2.errors import UserError
from vel2.guests import l2tree
from vel2.guests.init_scripts import KVM_L0_INIT, L1_INIT, L1_JOBS, L2_INIT
from vel2.guests.initramfs import read_cpio
from vel2.guests.l2tree import l2_device_tree, l2_layout
from vel2.guests.markers import parse_marker, parse_markers
from vel2.guests.recipes import APPLETS, kvm_l0_tree, l1_tree, l2_tree

MIB = 1 << 20


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    path = tmp_path / "busybox"
    path.write_bytes(b"busybox itself")
    return path


def words(value: Any) -> list[int]:
    data = bytes(value)
    return [int.from_bytes(data[at : at + 4], "big") for at in range(0, len(data), 4)]


def test_a_kernel_can_start_the_l2_tree(busybox: Path) -> None:
    found = read_cpio(l2_tree(busybox).pack())
    assert found["init"].data == L2_INIT.encode() and found["init"].mode & 0o111
    assert found["bin/busybox"].data == b"busybox itself" and found["bin/busybox"].mode & 0o111
    assert found["dev/console"].device == (5, 1)
    assert {"proc", "sys", "dev", "tmp"} <= found.keys()
    assert {name for name, e in found.items() if e.data == b"busybox"} == {
        f"bin/{a}" for a in APPLETS
    }


def test_l1_tree_holds_l2_where_its_init_looks(busybox: Path) -> None:
    tree = l1_tree(
        b"vmm",
        b"kernel",
        b"initrd",
        l2_image_bytes=40 * MIB,
        l2_memory_bytes=128 * MIB,
        l2_bootargs="console=ttyS0 job=none",
        l2_cpus=3,
        busybox_path=busybox,
    )
    assert tree["vmm"].data == b"vmm" and tree["vmm"].mode & 0o111
    assert (tree["l2/Image"].data, tree["l2/initrd"].data) == (b"kernel", b"initrd")
    assert tree["l2/memory"].data == b"128M\n"
    fdt = libfdt.Fdt(tree["l2/dtb"].data)
    chosen = fdt.path_offset("/chosen")
    place = l2_layout(128 * MIB, 40 * MIB, len(b"initrd"))
    assert fdt.getprop(chosen, "linux,initrd-start").as_uint64() == place.initrd_address
    assert fdt.getprop(chosen, "linux,initrd-end").as_uint64() == place.initrd_address + 6
    assert fdt.getprop(chosen, "bootargs").as_str() == "console=ttyS0 job=none"
    assert tree["l2/cpus"].data == b"3\n"
    node = fdt.first_subnode(fdt.path_offset("/cpus"))
    numbers = []
    while node >= 0:
        numbers.append(fdt.getprop(node, "reg").as_uint32())
        node = fdt.next_subnode(node, libfdt.QUIET_NOTFOUND)
    assert numbers == [0, 1, 2]
    for path in ("/l2/Image", "/l2/initrd", "/l2/dtb", "/l2/memory", "/l2/cpus", "/vmm "):
        assert path in L1_INIT


@pytest.mark.parametrize("el2", Kind)
def test_kvm_l0_tree_holds_l1_where_its_init_looks(busybox: Path, el2: Kind) -> None:
    tree = kvm_l0_tree(
        b"vmm",
        el2,
        b"kernel",
        b"initrd",
        l1_image_bytes=40 * MIB,
        l1_memory_bytes=128 * MIB,
        l1_bootargs="console=ttyS0",
        busybox_path=busybox,
    )
    assert (tree["l1/Image"].data, tree["l1/initrd"].data) == (b"kernel", b"initrd")
    assert (tree["l1/memory"].data, tree["l1/el2"].data) == (b"128M\n", el2.value.encode() + b"\n")
    place = l2_layout(128 * MIB, 40 * MIB, len(b"initrd"))
    range_ = (place.initrd_address, place.initrd_end)
    assert tree["l1/dtb"].data == l2_device_tree(128 * MIB, "console=ttyS0", range_, el2=True)
    for path in ("/l1/Image", "/l1/initrd", "/l1/dtb", "/l1/memory", "/l1/el2", "/vmm "):
        assert path in KVM_L0_INIT


def test_l1_tree_without_a_vmm_is_a_base(busybox: Path) -> None:
    tree = l1_tree(busybox_path=busybox)
    assert "vmm" not in tree and "l2/Image" not in tree
    assert tree["init"].data == L1_INIT.encode()


@given(st.integers(1, 64 * MIB), st.integers(0, 64 * MIB), st.integers(1, 512))
def test_l2_layout_does_not_overlap(image: int, initrd: int, mebibytes: int) -> None:
    try:
        place = l2_layout(mebibytes * MIB, image, initrd)
    except UserError:
        assert image + initrd + 4 * MIB > mebibytes * MIB
        return
    assert place.kernel_address - place.dtb_address == 2 * MIB
    assert place.kernel_address % (2 * MIB) == 0
    assert place.kernel_address + image <= place.initrd_address
    assert place.initrd_end <= l2tree.L2_RAM_BASE + mebibytes * MIB


def test_l2_with_too_little_memory_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        l2_layout(32 * MIB, 30 * MIB, 5 * MIB)
    assert str(caught.value) == (
        "too little memory for L2: its kernel and initrd need 37 MiB, given 32 MiB."
    )


def test_l2_device_tree_describes_the_vmms_board() -> None:
    fdt = libfdt.Fdt(l2_device_tree(256 * MIB, "quiet", None, cpus=2))

    def get(path: str, name: str) -> Any:
        return fdt.getprop(fdt.path_offset(path), name)

    assert words(get("/memory@40000000", "reg")) == [0, 0x40000000, 0, 256 * MIB]
    assert get("/psci", "method").as_str() == "hvc"
    gic = "/interrupt-controller@8000000"
    assert words(get(gic, "reg")) == [0, 0x8000000, 0, 0x10000, 0, 0x80A0000, 0, 0x40000]
    assert get("/", "interrupt-parent").as_uint32() == get(gic, "phandle").as_uint32()
    assert words(get("/timer", "interrupts"))[1::3] == [13, 14, 11, 10]
    uart = "/serial@9000000"
    assert get(uart, "compatible").as_str() == "ns16550a"
    assert words(get(uart, "reg")) == [0, 0x9000000, 0, 0x1000]
    assert words(get(uart, "interrupts")) == [0, 1, 4]
    assert get("/chosen", "stdout-path").as_str() == uart
    assert words(get("/cpus/cpu@1", "reg")) == [1]
    with pytest.raises(libfdt.FdtException):
        get("/chosen", "linux,initrd-start")


def test_the_device_tree_of_a_guest_with_a_virtual_el2() -> None:
    fdt = libfdt.Fdt(l2_device_tree(256 * MIB, el2=True))

    def get(path: str, name: str) -> Any:
        return fdt.getprop(fdt.path_offset(path), name)

    # HVC would go to the guest's own EL2.
    assert get("/psci", "method").as_str() == "smc"
    assert words(get("/timer", "interrupts"))[1::3] == [13, 14, 11, 10, 12]
    interrupt = words(get("/interrupt-controller@8000000", "interrupts"))
    assert interrupt == [1, l2tree.L2_MAINTENANCE_INTID - 16, 4]


def test_the_device_tree_of_a_guest_with_a_pmu() -> None:
    """Show that it names the interrupt that init gives the VMM."""
    fdt = libfdt.Fdt(l2_device_tree(256 * MIB, pmu=True))
    node = fdt.path_offset("/pmu")
    assert fdt.getprop(node, "compatible").as_str() == "arm,armv8-pmuv3"
    assert words(fdt.getprop(node, "interrupts")) == [1, l2tree.PMU_PPI, 4]
    assert f"--pmu {16 + l2tree.PMU_PPI} " in L1_INIT


@pytest.mark.parametrize("script", [KVM_L0_INIT, L1_INIT, L2_INIT], ids=["l0", "l1", "l2"])
def test_scripts_are_shell(script: str) -> None:
    shell = shutil.which("dash") or shutil.which("sh")
    assert shell is not None
    result = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_every_job_has_a_branch_and_every_command_an_applet() -> None:
    for job in L1_JOBS:
        assert f"\n{job})" in L1_INIT
    used = {"mount", "cut", "dmesg", "uname", "sed", "head", "grep", "awk", "cat", "sync", "setsid"}
    assert used | {"cttyhack", "poweroff", "sh", "seq"} <= set(APPLETS)


@pytest.mark.parametrize(
    ("line", "marker"),
    [
        ("##vel2 l1.kernel=6.12.117+deb13", ("l1.kernel", "6.12.117+deb13")),
        ("L2| ##vel2 l2.userspace=ok\r", ("l2.userspace", "ok")),
        ("##vel2 l1.error=job=x is not one of a, b", ("l1.error", "job=x is not one of a, b")),
        ("##vel2 l1.kvm_mode=", ("l1.kvm_mode", "")),
        ("##vel2 kernel=6.12", None),
        ("##vel2", None),
        ("# vel2 l1.kernel=6.12", None),
    ],
)
def test_marker_lines(line: str, marker: tuple[str, str] | None) -> None:
    assert parse_marker(line) == marker


def test_later_markers_replace_earlier_ones() -> None:
    lines = ["##vel2 l1.a=1", "noise", "##vel2 l1.b=2", "##vel2 l1.a=3"]
    assert parse_markers(lines) == {"l1.a": "3", "l1.b": "2"}
