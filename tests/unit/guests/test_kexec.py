"""The tree of a Linux that starts another one by kexec."""

from __future__ import annotations

from pathlib import Path

from tests.unit.guests.elf import INTERPRETER, elf
from vel2.guests.init_scripts import KEXEC_INIT
from vel2.guests.kexec import PROGRAM, kexec_tree
from vel2.guests.qemu_guest import LIBRARIES


def test_it_holds_all_that_its_init_uses(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for path, data in {
        PROGRAM: elf("libz.so.1", interpreter=f"/{INTERPRETER}"),
        INTERPRETER: elf(),
        f"{LIBRARIES}/libz.so.1": elf(),
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    (tmp_path / "busybox").write_bytes(b"busybox itself")
    tree = kexec_tree(root, b"Image", b"initrd", "job=l2", tmp_path / "busybox")
    assert {PROGRAM, INTERPRETER, f"{LIBRARIES}/libz.so.1"} <= set(tree)
    assert tree["bin/kexec"].data == f"/{PROGRAM}".encode()
    files = {"next/Image": b"Image", "next/initrd": b"initrd", "next/bootargs": b"job=l2\n"}
    for name, data in files.items():
        assert tree[name].data == data
        assert f"/{name}" in KEXEC_INIT
    assert tree["init"].data.decode() == KEXEC_INIT
