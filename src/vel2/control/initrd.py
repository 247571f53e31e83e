"""What `vel2 run` gives a kernel as its initrd: a file, or a small system with a shell."""

from collections.abc import Sequence
from pathlib import Path

from vel2.cli.kernels import fetch_missing, is_on_offer
from vel2.errors import UserError
from vel2.guests.recipes import shell_tree
from vel2.machine.devices import Disk
from vel2.machine.loader import KernelImage, read_file

__all__ = ("read_initrd", "shell_initrd", "wants_shell", "with_shell")

SHELL, NONE = "shell", "none"


def wants_shell(kernel: Path, initrd: str | None, append: str, disks: Sequence[Disk]) -> bool:
    """Whether the kernel is to get our own small system.

    Asked for, or: one of Debian's kernels was named, and nothing that it could use as a root.
    """
    if initrd is not None:
        return initrd == SHELL
    has_root = disks or any(word.startswith("root=") for word in append.split())
    return not has_root and is_on_offer(kernel)


def read_initrd(initrd: str | None) -> bytes:
    """Give the initrd that the user names; nothing for `none`, or when none is named.

    :raises UserError: when it cannot be read.
    """
    if initrd is None or initrd == NONE:
        return b""
    return read_file(Path(initrd), "the initrd")


def shell_initrd(image: KernelImage, cpus: int) -> bytes:
    """Pack the small system, which starts the same kernel as L2 when it is asked to.

    :param cpus: how many CPUs L2 has.
    :raises UserError: when this is no Linux.
    """
    from vel2.guests.vmm import build_vmm  # it brings in the compiler

    if image.version is None:
        raise UserError(
            "--initrd shell is for a Linux kernel, which starts itself again as L2 from it; give"
            " one, such as --kernel 6.12."
        )
    fetch_missing(["busybox"])
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
