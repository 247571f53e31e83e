"""Domains that a guest hypervisor starts by itself when it boots, as Xen does.

Their kernels and ramdisks lie in memory, and L1's device tree says where, as Xen's
`docs/misc/arm/device-tree/booting.txt` describes. Domain 0 has its modules directly below
`/chosen`. Each other domain has its own node there, with its memory and cpus ("dom0less").
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vel2.errors import UserError
from vel2.machine.memory import format_bytes

__all__ = ("DOM0", "Domain", "describe_domains", "modules_of", "takes_domains")

DOM0 = "dom0"
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}")
DOMAIN_COMPATIBLE = "xen,domain"
KIB = 1 << 10
CELLS = 2
"""32-bit words of an address and of a size below `/chosen`; `virt` has 2 everywhere."""


@dataclass(frozen=True)
class Domain:
    """One domain.

    :ivar name: `dom0` for the privileged one; for another, its node's name.
    :ivar kernel: a plain arm64 `Image`.
    :ivar append: its kernel's command line.
    :ivar memory_bytes: its memory; 0 for dom0, whose memory is an option of the hypervisor's own
        command line (`dom0_mem=`).
    """

    name: str
    kernel: bytes
    append: str = ""
    ramdisk: bytes = b""
    memory_bytes: int = 0
    cpus: int = 1

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise UserError(
                f"a domain cannot be called {self.name!r}; give letters and digits, such as domU1."
            )
        if self.name == DOM0 and self.memory_bytes:
            raise UserError(
                "the memory of dom0 is Xen's to set; put dom0_mem=512M on Xen's command line"
                " (--append) and leave memory= out."
            )
        if self.name != DOM0 and (self.memory_bytes <= 0 or self.memory_bytes % KIB):
            raise UserError(
                f"{self.name} cannot have {format_bytes(self.memory_bytes)} of memory;"
                " give memory= and a size, such as 256M."
            )
        if self.cpus < 1:
            raise UserError(f"{self.name} cannot have {self.cpus} cpus; give 1 or more.")


def takes_domains(kernel: bytes) -> bool:
    """Whether a kernel is Xen: it compares nodes with this name."""
    return DOMAIN_COMPATIBLE.encode() + b"\0" in kernel


def modules_of(domains: Sequence[Domain]) -> list[bytes]:
    """List what must lie in memory, in the order of the addresses for `describe_domains`."""
    return [part for domain in domains for part in (domain.kernel, domain.ramdisk) if part]


def describe_domains(
    tree: Any, domains: Sequence[Domain], addresses: Sequence[int], append: str
) -> None:
    """Write the domains into an open device tree.

    :param addresses: of the parts that `modules_of` lists.
    :param append: the hypervisor's own command line.
    :raises UserError: when two domains have one name.
    """
    names = [domain.name for domain in domains]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise UserError(f"there are two domains {twice}; give each its own name.")
    chosen = tree.path_offset("/chosen")
    _set_cells(tree, chosen)
    # With this property Xen never takes `bootargs` for dom0's command line.
    tree.setprop_str(chosen, "xen,xen-bootargs", append)
    rest = list(addresses)
    # A node that is added moves what follows it: offsets are looked up anew each time.
    for domain in domains:
        path = "/chosen"
        if domain.name != DOM0:
            path = f"/chosen/{domain.name}"
            _add_domain(tree, domain)
        _add_module(tree, path, "multiboot,kernel", domain.kernel, rest.pop(0), domain.append)
        if domain.ramdisk:
            _add_module(tree, path, "multiboot,ramdisk", domain.ramdisk, rest.pop(0))


def _set_cells(tree: Any, node: int) -> None:
    tree.setprop_u32(node, "#address-cells", CELLS)
    tree.setprop_u32(node, "#size-cells", CELLS)


def _add_domain(tree: Any, domain: Domain) -> None:
    node = tree.add_subnode(tree.path_offset("/chosen"), domain.name)
    tree.setprop_str(node, "compatible", DOMAIN_COMPATIBLE)
    _set_cells(tree, node)
    tree.setprop_u64(node, "memory", domain.memory_bytes // KIB)
    tree.setprop_u32(node, "cpus", domain.cpus)
    # A PL011 of its own, whose output Xen shows with the domain's number before it.
    tree.setprop(node, "vpl011", b"")


def _add_module(
    tree: Any, parent: str, kind: str, data: bytes, address: int, append: str | None = None
) -> None:
    node = tree.add_subnode(tree.path_offset(parent), f"module@{address:x}")
    compatible = f"{kind}\0multiboot,module\0".encode()
    tree.setprop(node, "compatible", compatible)
    tree.setprop(node, "reg", address.to_bytes(8, "big") + len(data).to_bytes(8, "big"))
    if append is not None:
        tree.setprop_str(node, "bootargs", append)
