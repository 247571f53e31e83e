"""The initramfs images of the small guests.

`base` is busybox and an init. L2's is a base with L2's init. L1's is a base with L1's init, the
VMM, and everything it needs to start L2. Where Linux's KVM is L0, its tree holds the same for L1.
"""

from pathlib import Path
from typing import Any

from vel2.arch.nesting import Kind
from vel2.guests.init_scripts import KVM_L0_INIT, L1_INIT, L2_COMMAND, L2_INIT, WELCOME
from vel2.guests.initramfs import Initramfs
from vel2.guests.kernels import busybox
from vel2.guests.l2tree import DEFAULT_BOOTARGS, l2_device_tree, l2_layout

__all__ = ("APPLETS", "base_tree", "kvm_l0_tree", "l1_tree", "l1_with_l2", "l2_tree", "shell_tree")

APPLET_NAMES = """
[ awk basename cat chmod clear cp cttyhack cut date dd df dirname dmesg echo env expr false find
free grep gunzip gzip head hexdump hostname id insmod kill ln ls lsmod md5sum mkdir mknod mktemp
modprobe more mount mv od poweroff printf ps pwd reboot rm rmdir sed seq setsid sh sha256sum
sleep sort stat strings stty switch_root sync tail tar taskset tee test time timeout top touch tr
true tty umount uname uniq uptime usleep vi wc which xargs yes
"""
APPLETS = tuple(APPLET_NAMES.split())
"""Links to busybox, made here so that the guest need not make them when it starts."""


def base_tree(init: str, busybox_path: Path | None = None) -> Initramfs:
    """Return the smallest tree a kernel can start: busybox, `/dev/console` and `/init`.

    :param init: text of `/init`.
    :param busybox_path: a static arm64 busybox; the fetched one when None.
    :raises UserError: when busybox has not been fetched.
    """
    tree = Initramfs()
    for folder in ("dev", "proc", "sys", "tmp", "root"):
        tree.directory(folder)
    # Process 1 gets it as its standard streams, before anything could mount devtmpfs.
    tree.character_device("dev/console", 5, 1)
    tree.character_device("dev/null", 1, 3, 0o666)
    tree.file("bin/busybox", (busybox_path or busybox()).read_bytes(), 0o755)
    for applet in APPLETS:
        tree.link(f"bin/{applet}", "busybox")
    tree.file("init", init, 0o755)
    return tree


def l2_tree(
    busybox_path: Path | None = None,
    observe: bytes | None = None,
    parallel: bytes | None = None,
) -> Initramfs:
    """Return the tree of L2.

    :param observe: the program of `job=observe`.
    :param parallel: the program that has all CPUs work together in `job=check`.
    """
    tree = base_tree(L2_INIT, busybox_path)
    for name, program in (("observe", observe), ("parallel", parallel)):
        if program is not None:
            tree.file(name, program, 0o755)
    return tree


def l1_tree(
    vmm: bytes | None = None,
    l2_kernel: bytes | None = None,
    l2_initrd: bytes | None = None,
    *,
    l2_image_bytes: int = 0,
    l2_memory_bytes: int = 256 << 20,
    l2_bootargs: str = DEFAULT_BOOTARGS,
    l2_cpus: int = 1,
    observe: bytes | None = None,
    busybox_path: Path | None = None,
) -> Initramfs:
    """Return the tree of L1, with L2 in it when a VMM is given.

    :param vmm: static arm64 program, started as `/vmm --kernel --initrd --dtb --memory --cpus`.
    :param l2_kernel: a plain arm64 `Image`.
    :param l2_image_bytes: `image_size` of that kernel's header.
    :param observe: the program of `job=observe`; L2's board has a PMU then.
    :raises UserError: when L2's memory is too small for what it boots.
    """
    tree = base_tree(L1_INIT, busybox_path)
    if vmm is not None:
        kernel, initrd = l2_kernel or b"", l2_initrd or b""
        image_bytes = max(l2_image_bytes, len(kernel))
        _add_guest(
            tree,
            "l2",
            vmm,
            kernel,
            image_bytes,
            initrd,
            l2_memory_bytes,
            l2_bootargs,
            cpus=l2_cpus,
            pmu=observe is not None,
        )
    if observe is not None:
        tree.file("observe", observe, 0o755)
    return tree


def l1_with_l2(
    vmm: bytes,
    image: bytes,
    image_bytes: int,
    bootargs: str,
    l2: Initramfs | None = None,
    **more: Any,
) -> bytes:
    """Pack an L1 that starts the small L2 by our own VMM.

    :param image: the kernel that L2 boots. :param image_bytes: what it occupies, BSS included.
    :param bootargs: its command line. :param l2: its tree; the small one when None.
    :param more: as for `l1_tree`.
    """
    initrd = (l2 or l2_tree()).pack()
    tree = l1_tree(vmm, image, initrd, l2_image_bytes=image_bytes, l2_bootargs=bootargs, **more)
    return tree.pack()


def shell_tree(
    vmm: bytes,
    l2_kernel: bytes,
    *,
    l2_image_bytes: int,
    l2_memory_bytes: int = 256 << 20,
    l2_cpus: int = 1,
    busybox_path: Path | None = None,
) -> Initramfs:
    """Return the tree of an L1 for a person: a shell (`job=shell`) in which `l2` starts L2.

    :param vmm: as for `l1_tree`; likewise `l2_kernel` and `l2_image_bytes`.
    :raises UserError: when L2's memory is too small for what it boots.
    """
    inner = l2_tree(busybox_path)
    inner.file("welcome", WELCOME, 0o755)
    initrd = inner.pack()
    tree = l1_tree(
        vmm,
        l2_kernel,
        initrd,
        l2_image_bytes=l2_image_bytes,
        l2_memory_bytes=l2_memory_bytes,
        l2_bootargs="console=ttyS0 panic=-1",
        l2_cpus=l2_cpus,
        busybox_path=busybox_path,
    )
    place = l2_layout(l2_memory_bytes, max(l2_image_bytes, len(l2_kernel)), len(initrd))
    initrd_range = (place.initrd_address, place.initrd_end)
    bootargs = "console=ttyS0 panic=-1 quiet job=shell"
    dtb = l2_device_tree(l2_memory_bytes, bootargs, initrd_range, l2_cpus)
    tree.file("l2/shell.dtb", dtb)
    tree.file("bin/l2", L2_COMMAND, 0o755)
    tree.file("welcome", WELCOME, 0o755)
    return tree


def kvm_l0_tree(
    vmm: bytes,
    el2: Kind,
    l1_kernel: bytes,
    l1_initrd: bytes,
    *,
    l1_image_bytes: int,
    l1_memory_bytes: int,
    l1_bootargs: str,
    l1_cpus: int = 1,
    busybox_path: Path | None = None,
) -> Initramfs:
    """Return the tree of a Linux that is L0: its KVM gives L1 a virtual EL2.

    :param vmm: as for `l1_tree`. :param l1_image_bytes: `image_size` of L1's kernel's header.
    :raises UserError: when L1's memory is too small for what it boots.
    """
    tree = base_tree(KVM_L0_INIT, busybox_path)
    size = max(l1_image_bytes, len(l1_kernel))
    memory = l1_memory_bytes
    _add_guest(
        tree, "l1", vmm, l1_kernel, size, l1_initrd, memory, l1_bootargs, cpus=l1_cpus, el2=True
    )
    tree.file("l1/el2", f"{el2.value}\n")
    return tree


def _add_guest(
    tree: Initramfs,
    level: str,
    vmm: bytes,
    kernel: bytes,
    image_bytes: int,
    initrd: bytes,
    memory_bytes: int,
    bootargs: str,
    cpus: int = 1,
    el2: bool = False,
    pmu: bool = False,
) -> None:
    """Add the VMM, and what it starts under the level's name."""
    place = l2_layout(memory_bytes, image_bytes, len(initrd))
    initrd_range = (place.initrd_address, place.initrd_end) if initrd else None
    tree.file("vmm", vmm, 0o755)
    tree.file(f"{level}/Image", kernel)
    tree.file(f"{level}/initrd", initrd)
    tree.file(f"{level}/memory", f"{memory_bytes >> 20}M\n")
    tree.file(f"{level}/cpus", f"{cpus}\n")
    dtb = l2_device_tree(memory_bytes, bootargs, initrd_range, cpus, el2=el2, pmu=pmu)
    tree.file(f"{level}/dtb", dtb)
