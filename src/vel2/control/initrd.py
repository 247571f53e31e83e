"""What a kernel gets as its initrd: a file, or a small system with a shell."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vel2.control.guest import Kernel
from vel2.errors import UserError
from vel2.guests.naming import is_on_offer
from vel2.guests.recipes import shell_tree
from vel2.machine.devices import Disk
from vel2.machine.domains import Domain
from vel2.machine.loader import KernelImage, read_file

__all__ = ("kernel_guest", "read_initrd")

SHELL, NONE = "shell", "none"
Fetch = Callable[[Sequence[str]], None]


def kernel_guest(
    path: Path | None,
    image: KernelImage,
    initrd: str | None,
    append: str,
    fetch: Fetch,
    *,
    disks: Sequence[Disk] = (),
    domains: tuple[Domain, ...] = (),
    cpus: int = 1,
) -> Kernel:
    """Make a guest of a kernel and what the user says of its initrd.

    :param path: its file; None when it has none.
    :param initrd: a file, `shell`, `none`, or None: then a fetched kernel gets a shell.
    :param fetch: brings guests on offer that are not at hand.
    :param cpus: how many CPUs its own guest has.
    :raises UserError: when the initrd cannot be had.
    """
    if wants_shell(path, initrd, append, disks):
        return Kernel(image, shell_initrd(image, fetch, cpus), with_shell(append), domains)
    return Kernel(image, read_initrd(initrd), append, domains)


def wants_shell(
    kernel: Path | None, initrd: str | None, append: str, disks: Sequence[Disk]
) -> bool:
    """Whether the kernel is to get our own small system.

    Asked for, or: one of Debian's kernels was named, and nothing that it could use as a root.
    """
    if initrd is not None:
        return initrd == SHELL
    has_root = disks or any(word.startswith("root=") for word in append.split())
    return not has_root and kernel is not None and is_on_offer(kernel)


def read_initrd(initrd: str | None) -> bytes:
    """Give the initrd that the user names; nothing for `none`, or when none is named.

    :raises UserError: when it cannot be read.
    """
    if initrd is None or initrd == NONE:
        return b""
    return read_file(Path(initrd), "the initrd")


def shell_initrd(image: KernelImage, fetch: Fetch, cpus: int) -> bytes:
    """Pack the small system, which starts the same kernel as L2 when it is asked to.

    :param fetch: brings guests on offer that are not at hand.
    :param cpus: how many CPUs L2 has.
    :raises UserError: when this is no Linux.
    """
    from vel2.guests.vmm import build_vmm  # it brings in the compiler

    if image.version is None:
        raise UserError(
            "--initrd shell is for a Linux kernel, which starts itself again as L2 from it; give"
            " one, such as --kernel 6.12."
        )
    fetch(["busybox"])
    size = image.image_size
    tree = shell_tree(build_vmm(), image.data, l2_image_bytes=size, l2_cpus=cpus)
    return tree.pack()


def with_shell(append: str) -> str:
    """Give the command line with what the small system needs and the user has not said."""
    words = append.split()
    defaults = {"console=": "console=ttyAMA0", "job=": "job=shell"}
    missing = [
        word
        for name, word in defaults.items()
        if not any(given.startswith(name) for given in words)
    ]
    return " ".join([append, *missing]).strip()
