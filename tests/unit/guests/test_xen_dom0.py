"""A dom0 with Xen's tools, of trees that only look like Debian's packages."""

from __future__ import annotations

import lzma
import re
from pathlib import Path

import pytest

from tests.unit.guests.elf import INTERPRETER, elf
from vel2.errors import UserError
from vel2.guests.init_scripts import DOM0_INIT
from vel2.guests.qemu_guest import LIBRARIES
from vel2.guests.recipes import APPLETS
from vel2.guests.xen_dom0 import MODULES, PROGRAMS, THREADS_NEED, XenTools, dom0_tree

MODULE_NAMES = [f"{module.rpartition('/')[2]}.ko" for module in MODULES]


@pytest.fixture
def fetched(tmp_path: Path) -> XenTools:
    """Make trees with the programs, a library they need, a kernel and its modules."""
    tools, kernel = tmp_path / "tools", tmp_path / "kernel"
    (tools / "usr/lib/xen-4.20/bin").mkdir(parents=True)
    (tools / LIBRARIES).mkdir()
    (tools / "lib").symlink_to("usr/lib")
    (tools / "usr" / INTERPRETER).write_bytes(elf())
    (tools / LIBRARIES / "libxen.so.1").write_bytes(elf())
    (tools / THREADS_NEED).write_bytes(elf())
    for name in PROGRAMS:
        program = elf("libxen.so.1", interpreter=f"/{INTERPRETER}")
        (tools / "usr/lib/xen-4.20/bin" / name).write_bytes(program)
    (kernel / "boot").mkdir(parents=True)
    (kernel / "boot/vmlinuz-6.12").write_bytes(b"kernel")
    for module in MODULES:
        path = kernel / f"usr/lib/modules/6.12/kernel/{module}.ko.xz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.compress(module.encode()))
    (tmp_path / "busybox").write_bytes(b"busybox itself")
    return XenTools("4.20", tools, kernel)


def test_it_holds_all_that_its_init_starts(fetched: XenTools, tmp_path: Path) -> None:
    tree = dom0_tree(
        fetched,
        b"Image",
        b"initrd",
        domain_memory_bytes=128 << 20,
        domain_bootargs="console=hvc0 job=none",
        domain_cpus=3,
        busybox_path=tmp_path / "busybox",
    )
    for name in PROGRAMS:
        assert tree[f"bin/{name}"].data == f"/usr/lib/xen-4.20/bin/{name}".encode()
        assert tree[f"usr/lib/xen-4.20/bin/{name}"].mode & 0o111
        assert re.search(rf"\b{name}\b", DOM0_INIT)
    assert {f"{LIBRARIES}/libxen.so.1", THREADS_NEED, "etc/xen/xl.conf"} <= set(tree)
    assert tree["modules/order"].data.decode().split() == MODULE_NAMES
    for module, name in zip(MODULES, MODULE_NAMES, strict=True):
        assert tree[f"modules/{name}"].data == module.encode()
    assert "insmod" in APPLETS
    assert (tree["domU/Image"].data, tree["domU/initrd"].data) == (b"Image", b"initrd")
    settings = dict(
        re.findall(r'^(\w+) = "?(.*?)"?$', tree["domU/config"].data.decode(), re.MULTILINE)
    )
    assert (settings["kernel"], settings["ramdisk"]) == ("/domU/Image", "/domU/initrd")
    assert (settings["memory"], settings["extra"]) == ("128", "console=hvc0 job=none")
    assert settings["vcpus"] == "3"
    # Its log is where the domain's name says.
    assert f"guest-{settings['name']}.log" in DOM0_INIT
    assert fetched.vmlinuz.read_bytes() == b"kernel"


def test_a_module_that_is_missing_or_damaged(fetched: XenTools, tmp_path: Path) -> None:
    path = fetched.modules / f"{MODULES[0]}.ko.xz"
    for damage, why in (
        (lambda: path.write_bytes(b"x"), "Input format not supported by decoder"),
        (path.unlink, "No such file or directory"),
    ):
        damage()
        with pytest.raises(UserError) as caught:
            dom0_tree(fetched, b"", b"", busybox_path=tmp_path / "busybox")
        assert str(caught.value) == (
            f"the module {path} cannot be used ({why}); remove its folder below the cache's"
            " `closures` and fetch it again."
        )


def test_two_kernels_are_one_too_many(fetched: XenTools) -> None:
    (fetched.kernel / "boot/vmlinuz-6.13").write_bytes(b"")
    with pytest.raises(UserError, match=r"boot has 2 of vmlinuz-\*, where one is expected"):
        _ = fetched.vmlinuz
