"""L1's initramfs with Debian's own QEMU in it, to start L2 by KVM.

The files are those of Debian's `qemu-system-arm` for arm64, byte for byte. From the packages it
depends on, the image takes only what the program maps when it starts: the interpreter, the shared
libraries it names, and the libraries those name. Firmware, modules, locales and documentation stay
out, because L2 is a plain kernel on a board without options.
"""

from collections.abc import Iterator
from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import InterpSegment

from vel2.errors import UserError
from vel2.guests.apt import Progress
from vel2.guests.init_scripts import QEMU_PATH
from vel2.guests.initramfs import Initramfs
from vel2.guests.packages import fetch_closure
from vel2.guests.recipes import l1_tree

__all__ = ("DEFAULT_BOOTARGS", "add_program", "fetch_qemu", "qemu_l1_tree")

PACKAGE = "qemu-system-arm"
RELEASE = "trixie"
LIBRARIES = "usr/lib/aarch64-linux-gnu"
"""Where Debian's dynamic linker looks without being told, relative to the root."""

DEFAULT_BOOTARGS = "console=ttyAMA0 panic=-1 quiet"


def fetch_qemu(progress: Progress | None = None) -> Path:
    """Fetch Debian's QEMU for arm64 hosts and all it depends on.

    :return: the root of a read-only tree with the packages unpacked.
    :raises UserError: when it cannot be had.
    """
    return fetch_closure(PACKAGE, RELEASE, progress=progress)


def add_program(tree: Initramfs, root: Path, program: str) -> None:
    """Add a dynamically linked program and everything its start needs.

    :param root: of a tree with Debian's packages.
    :param program: path below `root`, and in the initramfs.
    :raises UserError: when a file is missing or is no ELF file.
    """
    waiting, done = [program], set[str]()
    while waiting:
        path = waiting.pop()
        if path in done:
            continue
        done.add(path)
        try:
            tree.file(path, (root / path).read_bytes(), 0o755)
            waiting += _needed(root / path)
        except (OSError, ELFError) as error:
            raise UserError(
                f"{program} cannot be put into an initramfs: {path} in {root} cannot be used"
                f" ({getattr(error, 'strerror', error)}); remove {root} and fetch it again."
            ) from error


def _needed(path: Path) -> Iterator[str]:
    """Yield the interpreter and the libraries that an ELF file names, as paths below the root."""
    with path.open("rb") as file:
        for segment in ELFFile(file).iter_segments():
            if isinstance(segment, InterpSegment):
                yield segment.get_interp_name().lstrip("/")
            elif isinstance(segment, DynamicSegment):
                for tag in segment.iter_tags("DT_NEEDED"):
                    # An attribute that pyelftools makes for tags that are names.
                    yield f"{LIBRARIES}/{vars(tag)['needed']}"


def qemu_l1_tree(
    root: Path,
    l2_kernel: bytes,
    l2_initrd: bytes,
    *,
    l2_memory_bytes: int = 256 << 20,
    l2_bootargs: str = DEFAULT_BOOTARGS,
    l2_cpus: int = 1,
    busybox_path: Path | None = None,
) -> Initramfs:
    """Return the tree of an L1 that starts L2 by QEMU when it boots with `job=qemu`.

    :param root: what `fetch_qemu` returned.
    :param l2_kernel: a plain arm64 `Image`.
    :raises UserError: when QEMU cannot be taken from `root`.
    """
    tree = l1_tree(busybox_path=busybox_path)
    add_program(tree, root, QEMU_PATH.lstrip("/"))
    tree.file("l2/Image", l2_kernel)
    tree.file("l2/initrd", l2_initrd)
    tree.file("l2/memory", f"{l2_memory_bytes >> 20}M\n")
    tree.file("l2/cpus", f"{l2_cpus}\n")
    tree.file("l2/bootargs", f"{l2_bootargs}\n")
    return tree
