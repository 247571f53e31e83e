"""Taking a dynamically linked program out of a tree of packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.guests.elf import INTERPRETER, elf
from vel2.errors import UserError
from vel2.guests.init_scripts import L1_INIT, QEMU_PATH
from vel2.guests.initramfs import Initramfs
from vel2.guests.qemu_guest import LIBRARIES, add_program, qemu_l1_tree


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Make a tree where `usr/bin/program` needs two libraries that need each other."""
    libraries = tmp_path / LIBRARIES
    libraries.mkdir(parents=True)
    (tmp_path / "usr/bin").mkdir()
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "usr" / INTERPRETER).symlink_to("aarch64-linux-gnu/ld.so")
    (libraries / "ld.so").write_bytes(elf())
    (libraries / "libone.so.1").symlink_to("libone.so.1.2.3")
    (libraries / "libone.so.1.2.3").write_bytes(elf("libtwo.so.2"))
    (libraries / "libtwo.so.2").write_bytes(elf("libone.so.1"))
    (libraries / "libunused.so.3").write_bytes(elf())
    program = elf("libone.so.1", interpreter=f"/{INTERPRETER}")
    (tmp_path / "usr/bin/program").write_bytes(program)
    return tmp_path


def test_a_program_takes_what_its_start_needs_and_no_more(packages: Path) -> None:
    tree = Initramfs()
    add_program(tree, packages, "usr/bin/program")
    files = {path for path in tree if tree[path].data}
    assert files == {
        "usr/bin/program",
        INTERPRETER,
        f"{LIBRARIES}/libone.so.1",
        f"{LIBRARIES}/libtwo.so.2",
    }
    for path in files:
        assert tree[path].data == (packages / path).read_bytes()
        assert tree[path].mode & 0o111


def test_a_missing_library_is_named(packages: Path) -> None:
    (packages / LIBRARIES / "libtwo.so.2").unlink()
    with pytest.raises(UserError) as caught:
        add_program(Initramfs(), packages, "usr/bin/program")
    assert str(caught.value) == (
        "usr/bin/program cannot be put into an initramfs: usr/lib/aarch64-linux-gnu/libtwo.so.2 in"
        f" {packages} cannot be used (No such file or directory); remove {packages} and fetch it"
        " again."
    )


def test_what_is_no_elf_file_is_refused(packages: Path) -> None:
    (packages / LIBRARIES / "libtwo.so.2").write_bytes(b"INPUT(libone.so.1)")
    with pytest.raises(UserError, match=r"libtwo\.so\.2 in .* cannot be used \(Magic number"):
        add_program(Initramfs(), packages, "usr/bin/program")


def test_the_tree_of_l1_holds_what_its_init_starts(packages: Path) -> None:
    program = packages / QEMU_PATH.lstrip("/")
    (packages / "usr/bin/program").rename(program)
    busybox = packages / "busybox"
    busybox.write_bytes(b"busybox itself")
    tree = qemu_l1_tree(
        packages,
        b"kernel",
        b"initrd",
        l2_memory_bytes=128 << 20,
        l2_bootargs="console=ttyAMA0 job=none",
        busybox_path=busybox,
    )
    assert tree[QEMU_PATH].data == program.read_bytes()
    assert (tree["l2/Image"].data, tree["l2/initrd"].data) == (b"kernel", b"initrd")
    assert tree["l2/memory"].data == b"128M\n"
    assert tree["l2/bootargs"].data == b"console=ttyAMA0 job=none\n"
    assert "vmm" not in tree
    job = L1_INIT.partition("\nqemu)")[2].partition(";;")[0]
    for word in (f"{QEMU_PATH} -M virt", "/l2/Image", "/l2/initrd", "/l2/memory", "/l2/bootargs"):
        assert word in job
