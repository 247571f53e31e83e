"""What `vel2 run` gives a kernel as its initrd: a file, or a small system with a shell."""

from pathlib import Path

from vel2.cli.kernels import fetch_missing, is_on_offer
from vel2.cli.session import vmm_program
from vel2.errors import UserError
from vel2.guests.recipes import shell_tree
from vel2.machine.loader import KernelImage, read_file

__all__ = ("NONE", "SHELL", "make_initrd", "wants_shell", "with_shell")

SHELL, NONE = "shell", "none"


def wants_shell(
    kernel: Path | None, initrd: str | None, append: str, disks: tuple[str, ...]
) -> bool:
    """Whether the kernel is to get our own small system.

    Asked for, or: one of Debian's kernels was named, and nothing that it could use as a root.
    """
    if initrd is not None:
        return initrd == SHELL
    has_root = disks or any(word.startswith("root=") for word in append.split())
    return kernel is not None and not has_root and is_on_offer(kernel)


def make_initrd(image: KernelImage | None, initrd: str | None, shell: bool) -> bytes:
    """Give the initrd, which may be empty.

    :param initrd: a file's name, `shell` or `none`. :param shell: as `wants_shell` says.
    :raises UserError: when it cannot be made, or read.
    """
    if not shell:
        return read_file(Path(initrd), "the initrd") if initrd not in (None, NONE) else b""
    if image is None or image.version is None:
        raise UserError(
            "--initrd shell is for a Linux kernel, which starts itself again as L2 from it; give"
            " one, such as --kernel 6.12."
        )
    fetch_missing(["busybox"])
    tree = shell_tree(vmm_program(), image.data, l2_image_bytes=image.image_size)
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
