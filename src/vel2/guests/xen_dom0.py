"""An initramfs for a dom0 that starts a domain with Xen's own tools.

The programs are those of Debian's `xen-utils`, and the modules those of the kernel package that
dom0 boots, byte for byte. Both come from trees that `fetch_closure` makes. The new domain has no
disk and no network, so it needs neither scripts nor a device model: `xenstored`, `xenconsoled` and
`xl` are enough.
"""

import lzma
from pathlib import Path
from typing import NamedTuple

from vel2.errors import UserError
from vel2.guests.apt import Progress
from vel2.guests.init_scripts import DOM0_INIT
from vel2.guests.initramfs import Initramfs
from vel2.guests.packages import fetch_closure
from vel2.guests.qemu_guest import LIBRARIES, add_program
from vel2.guests.recipes import base_tree

__all__ = ("XEN_RELEASES", "XenTools", "dom0_tree", "fetch_xen_tools")

XEN_RELEASES = {"4.17": "bookworm", "4.20": "trixie"}
"""The Debian release that has each Xen."""

KERNEL_PACKAGE = "linux-image-cloud-arm64"
KERNEL_RELEASE = "trixie"
PROGRAMS = ("xenstored", "xen-init-dom0", "xenconsoled", "xl")
THREADS_NEED = f"{LIBRARIES}/libgcc_s.so.1"
"""What pthread_cancel loads by name when `xl` ends."""
MODULES = (
    "drivers/xen/xen-evtchn",
    "drivers/xen/xen-gntdev",
    "drivers/xen/xen-privcmd",
    "drivers/xen/xenfs/xenfs",
)
"""dom0's side of Xen, in the order to load them."""

DOMAIN = """\
name = "domU"
type = "pvh"
kernel = "/domU/Image"
ramdisk = "/domU/initrd"
extra = "{bootargs}"
memory = {memory_mib}
vcpus = {cpus}
on_poweroff = "destroy"
"""


class XenTools(NamedTuple):
    """What was fetched.

    :ivar tools: root of a tree with `xen-utils`.
    :ivar kernel: root of a tree with a kernel package.
    """

    version: str
    tools: Path
    kernel: Path

    @property
    def vmlinuz(self) -> Path:
        """Give the kernel that the modules are for."""
        return self._one("boot", "vmlinuz-*")

    @property
    def modules(self) -> Path:
        """Give the folder of its modules."""
        return self._one("usr/lib/modules", "*") / "kernel"

    def _one(self, folder: str, pattern: str) -> Path:
        found = sorted((self.kernel / folder).glob(pattern))
        if len(found) != 1:
            raise UserError(
                f"{self.kernel / folder} has {len(found)} of {pattern}, where one is expected;"
                f" remove {self.kernel} and fetch it again."
            )
        return found[0]


def fetch_xen_tools(version: str, progress: Progress | None = None) -> XenTools:
    """Fetch the tools of one Xen version, and a kernel for dom0 with its modules.

    :param version: a key of `XEN_RELEASES`.
    :raises UserError: when they cannot be had.
    """
    tools = fetch_closure(f"xen-utils-{version}", XEN_RELEASES[version], progress=progress)
    kernel = fetch_closure(KERNEL_PACKAGE, KERNEL_RELEASE, progress=progress)
    return XenTools(version, tools, kernel)


def dom0_tree(
    fetched: XenTools,
    domain_kernel: bytes,
    domain_initrd: bytes,
    *,
    domain_memory_bytes: int = 192 << 20,
    domain_bootargs: str = "console=hvc0 panic=-1 quiet",
    domain_cpus: int = 1,
    busybox_path: Path | None = None,
) -> Initramfs:
    """Return the tree of a dom0 that starts one domain, waits for its end, and powers off.

    :param domain_kernel: a plain arm64 `Image`.
    :raises UserError: when something is missing in what was fetched.
    """
    tree = base_tree(DOM0_INIT, busybox_path)
    for program in PROGRAMS:
        path = f"usr/lib/xen-{fetched.version}/bin/{program}"
        add_program(tree, fetched.tools, path)
        tree.link(f"bin/{program}", f"/{path}")
    add_program(tree, fetched.tools, THREADS_NEED)
    # Its absence is only a complaint; no setting is needed.
    tree.file("etc/xen/xl.conf", "")
    order = []
    for module in MODULES:
        order.append(f"{module.rpartition('/')[2]}.ko")
        tree.file(f"modules/{order[-1]}", _module(fetched.modules / f"{module}.ko.xz"))
    tree.file("modules/order", "".join(f"{name}\n" for name in order))
    tree.file("domU/Image", domain_kernel)
    tree.file("domU/initrd", domain_initrd)
    memory_mib = domain_memory_bytes >> 20
    text = DOMAIN.format(bootargs=domain_bootargs, memory_mib=memory_mib, cpus=domain_cpus)
    tree.file("domU/config", text)
    return tree


def _module(path: Path) -> bytes:
    """Give a module as `insmod` takes it."""
    try:
        return lzma.decompress(path.read_bytes())
    except (OSError, lzma.LZMAError) as error:
        raise UserError(
            f"the module {path} cannot be used ({getattr(error, 'strerror', None) or error});"
            " remove its folder below the cache's `closures` and fetch it again."
        ) from error
