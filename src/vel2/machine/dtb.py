"""Device trees: QEMU's own, and the one that L1 gets.

L1's tree is QEMU's tree without L0's share, so that QEMU, which built the board, also describes it.
"""

import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import libfdt

from vel2.errors import LaunchError, UserError
from vel2.machine.config import MachineConfig, board, machine_arguments
from vel2.machine.memory import RAM_BASE, format_bytes
from vel2.machine.version import require_qemu
from vel2.scratch import scratch

__all__ = (
    "Seeds",
    "children",
    "cpu_count",
    "l1_device_tree",
    "open_tree",
    "pack_tree",
    "qemu_device_tree",
)

DUMP_TIMEOUT_S = 60
EDIT_ROOM = 64 << 10
IOMMU_MAP = "iommu-map"
UART1_PATH = "/pl011@9040000"
QUIET = [libfdt.NOTFOUND]


@dataclass(frozen=True)
class Seeds:
    """Randomness handed to a kernel.

    :ivar rng: `chosen/rng-seed`, credited to its random number generator.
    :ivar kaslr: `chosen/kaslr-seed`, 64 bits; Linux runs without KASLR when it is absent.
    """

    rng: bytes | None = None
    kaslr: int | None = None


def qemu_device_tree(config: MachineConfig) -> bytes:
    """Ask QEMU for the device tree of the machine that `config` describes.

    :raises LaunchError: when QEMU refuses the configuration.
    """
    qemu, _ = require_qemu()
    options = [*machine_arguments(config), "-monitor", "none", "-serial", "null"]
    options += ["-serial", "null"] if config.doorbell else []
    return _dumped_tree(str(qemu), board(config), (*options, *config.extra_arguments))


@lru_cache(maxsize=8)
def _dumped_tree(qemu: str, name: str, options: tuple[str, ...]) -> bytes:
    """Let one QEMU write its tree. A thousand machines of one kind need one such call."""
    with scratch() as folder:
        path = Path(folder) / "virt.dtb"
        command = [qemu, "-M", f"{name},dumpdtb={path}", *options]
        try:
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=DUMP_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            summary = f"QEMU did not write its device tree within {DUMP_TIMEOUT_S} s"
            raise LaunchError(summary, command, None) from None
        if result.returncode != 0 or not path.exists():
            summary = "QEMU did not write its device tree"
            raise LaunchError(summary, command, result.returncode, result.stderr)
        return pack_tree(open_tree(path.read_bytes()))


def open_tree(blob: bytes, room: int = 0) -> Any:
    """Return a `libfdt.Fdt` to read or, with `room` bytes to spare, to edit.

    :raises UserError: when the bytes are no device tree.
    """
    try:
        tree = libfdt.Fdt(bytearray(blob))
        if room:
            tree.resize(tree.totalsize() + room)
    except libfdt.FdtException as error:
        raise UserError(
            f"these {len(blob)} bytes are not a flattened device tree ({error})."
        ) from error
    return tree


def pack_tree(tree: Any) -> bytes:
    """Return the bytes of a tree without spare room."""
    tree.pack()
    return bytes(tree.as_bytearray()[: tree.totalsize()])


def children(tree: Any, node: int) -> Iterator[int]:
    """Yield the offsets of a node's children; the tree must not change meanwhile."""
    child = tree.first_subnode(node, QUIET)
    while child >= 0:
        yield child
        child = tree.next_subnode(child, QUIET)


def cpu_count(blob: bytes) -> int:
    """Count the CPUs that a device tree describes."""
    tree = open_tree(blob)
    cpus = tree.path_offset("/cpus", QUIET)
    if cpus < 0:
        return 0
    kinds = (tree.getprop(node, "device_type", QUIET) for node in children(tree, cpus))
    return sum(bytes(kind) == b"cpu\0" for kind in kinds if kind != -libfdt.NOTFOUND)


def l1_device_tree(
    blob: bytes,
    l1_memory_bytes: int,
    bootargs: str = "",
    initrd_range: tuple[int, int] | None = None,
    *,
    seeds: Seeds = Seeds(),
    remove: Sequence[str] = (),
    edit: Callable[[Any], None] | None = None,
) -> bytes:
    """Make L1's device tree out of the machine's.

    :param blob: from `qemu_device_tree`.
    :param l1_memory_bytes: L1's RAM from the start of RAM; what lies above belongs to L0.
    :param initrd_range: first address, and the one after the last.
    :param remove: paths of nodes that L1 must not see, beyond the doorbell.
    :param edit: called with the open tree at the end, to add what a guest needs besides.
    :raises UserError: when L1's tree cannot be made from the machine's.
    """
    tree = open_tree(blob, EDIT_ROOM + len(bootargs))
    _shrink_memory(tree, l1_memory_bytes)
    for path in (UART1_PATH, *remove):
        remove_node(tree, path)
    _remove_iommu_map(tree)
    psci = tree.path_offset("/psci", QUIET)
    if psci < 0:
        raise UserError("the machine's device tree has no PSCI node; vel2 starts cpus by PSCI.")
    # L1 runs at (virtual) EL2, where HVC is a call to itself: L0 is reached by SMC.
    tree.setprop_str(psci, "method", "smc")
    _write_chosen(tree, bootargs, initrd_range, seeds)
    if edit is not None:
        edit(tree)
    return pack_tree(tree)


def remove_node(tree: Any, path: str) -> None:
    """Delete a node and the aliases that name it; a node that does not exist is no error."""
    node = tree.path_offset(path, QUIET)
    if node < 0:
        return
    tree.del_node(node)
    aliases = tree.path_offset("/aliases", QUIET)
    if aliases < 0:
        return
    stale = []
    prop = tree.first_property_offset(aliases, QUIET)
    while prop >= 0:
        value = tree.get_property_by_offset(prop)
        if bytes(value).rstrip(b"\0").decode() == path:
            stale.append(value.name)
        prop = tree.next_property_offset(prop, QUIET)
    for name in stale:
        tree.delprop(aliases, name)


def _remove_iommu_map(tree: Any) -> None:
    """Remove the map of PCI functions to IOMMUs: the SMMU is L0's, and its node is removed."""
    for node in children(tree, 0):
        if tree.hasprop(node, IOMMU_MAP):
            tree.delprop(node, IOMMU_MAP)
            # Offsets have changed, and the board has one PCI host.
            return


def _shrink_memory(tree: Any, size: int) -> None:
    node = tree.path_offset(f"/memory@{RAM_BASE:x}", QUIET)
    if node < 0:
        raise UserError(
            f"the machine's device tree has no RAM node at {RAM_BASE:#x}; "
            "vel2 needs QEMU's virt board with one NUMA node."
        )
    reg = bytes(tree.getprop(node, "reg"))
    whole = int.from_bytes(reg[8:16], "big")
    if len(reg) != 16 or not 0 < size <= whole:
        raise UserError(
            f"L1 cannot have {format_bytes(size)} of memory; the machine has "
            f"{format_bytes(whole)} in all: use a smaller --memory."
        )
    tree.setprop(node, "reg", reg[:8] + size.to_bytes(8, "big"))


def _write_chosen(
    tree: Any, bootargs: str, initrd_range: tuple[int, int] | None, seeds: Seeds
) -> None:
    chosen = tree.path_offset("/chosen", QUIET)
    if chosen < 0:
        chosen = tree.add_subnode(0, "chosen")
    for name in ("rng-seed", "kaslr-seed", "linux,initrd-start", "linux,initrd-end"):
        if tree.hasprop(chosen, name):
            tree.delprop(chosen, name)
    tree.setprop_str(chosen, "bootargs", bootargs)
    if initrd_range is not None:
        tree.setprop_u64(chosen, "linux,initrd-start", initrd_range[0])
        tree.setprop_u64(chosen, "linux,initrd-end", initrd_range[1])
    if seeds.rng is not None:
        tree.setprop(chosen, "rng-seed", seeds.rng)
    if seeds.kaslr is not None:
        tree.setprop_u64(chosen, "kaslr-seed", seeds.kaslr)
