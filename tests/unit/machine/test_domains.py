"""Domains in the device tree, as Xen's booting.txt and Linux's `xen,domain` binding have them."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Any

import pytest

from tests.unit.machine.samples import plain_image
from tests.unit.machine.test_dtb import sample_tree
from vel2.errors import UserError
from vel2.machine.boot import STUB_ADDRESS, entry_stub, load_guest
from vel2.machine.domains import Domain, describe_domains, modules_of, takes_domains
from vel2.machine.dtb import QUIET, open_tree
from vel2.machine.loader import load_kernel
from vel2.machine.memory import RAM_BASE, GuestMemory

MIB = 1 << 20
DOM0 = Domain("dom0", b"kernel", "console=hvc0", b"ramdisk!")
DOMU = Domain("domU1", b"another", "console=ttyAMA0", b"root", 256 * MIB, 2)
ADDRESSES = (0x4100_0000, 0x4200_0000, 0x4300_0000, 0x4400_0000)


def strings(tree: Any, path: str, name: str) -> list[str]:
    value = bytes(tree.getprop(tree.path_offset(path), name))
    return value.rstrip(b"\0").decode().split("\0")


def described(*domains: Domain) -> Any:
    tree = open_tree(sample_tree(), 4096)
    if tree.path_offset("/chosen", QUIET) < 0:
        tree.add_subnode(0, "chosen")
    describe_domains(tree, domains, ADDRESSES[: len(modules_of(domains))], "dom0_mem=512M")
    return tree


def module(tree: Any, path: str) -> tuple[list[str], int, int]:
    """Give compatible, address and size of a module."""
    address, size = struct.unpack(">QQ", bytes(tree.getprop(tree.path_offset(path), "reg")))
    return strings(tree, path, "compatible"), address, size


def test_dom0_is_modules_below_chosen() -> None:
    tree = described(DOM0)
    assert strings(tree, "/chosen", "xen,xen-bootargs") == ["dom0_mem=512M"]
    for name in ("#address-cells", "#size-cells"):
        assert bytes(tree.getprop(tree.path_offset("/chosen"), name)) == b"\0\0\0\x02"
    path = "/chosen/module@41000000"
    assert module(tree, path) == (["multiboot,kernel", "multiboot,module"], 0x4100_0000, 6)
    assert strings(tree, path, "bootargs") == ["console=hvc0"]
    path = "/chosen/module@42000000"
    assert module(tree, path) == (["multiboot,ramdisk", "multiboot,module"], 0x4200_0000, 8)


def test_another_domain_has_a_node_of_its_own() -> None:
    tree = described(DOM0, DOMU)
    node = tree.path_offset("/chosen/domU1")
    assert strings(tree, "/chosen/domU1", "compatible") == ["xen,domain"]
    assert bytes(tree.getprop(node, "memory")) == struct.pack(">Q", 256 * 1024)
    assert bytes(tree.getprop(node, "cpus")) == struct.pack(">I", 2)
    assert bytes(tree.getprop(node, "vpl011")) == b""
    path = "/chosen/domU1/module@43000000"
    assert module(tree, path) == (["multiboot,kernel", "multiboot,module"], 0x4300_0000, 7)
    assert strings(tree, path, "bootargs") == ["console=ttyAMA0"]
    path = "/chosen/domU1/module@44000000"
    assert module(tree, path) == (["multiboot,ramdisk", "multiboot,module"], 0x4400_0000, 4)


def test_a_domain_without_ramdisk_has_one_module() -> None:
    tree = described(Domain("dom0", b"kernel"))
    assert tree.path_offset("/chosen/module@41000000") > 0
    assert tree.path_offset("/chosen/module@42000000", QUIET) < 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("dom 0", b"k"), "a domain cannot be called 'dom 0'; give letters and digits, such as"),
        (("dom0", b"k", "", b"", MIB), "the memory of dom0 is Xen's to set; put dom0_mem=512M on"),
        (("domU1", b"k"), "domU1 cannot have 0 bytes of memory; give memory= and a size, such as"),
        (("domU1", b"k", "", b"", MIB, 0), "domU1 cannot have 0 cpus; give 1 or more."),
    ],
)
def test_what_a_domain_cannot_be(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(UserError) as caught:
        Domain(*arguments)
    assert str(caught.value).startswith(said)


def test_two_domains_of_one_name_are_refused() -> None:
    with pytest.raises(UserError) as caught:
        described(DOMU, DOMU)
    assert str(caught.value) == "there are two domains domU1; give each its own name."


def test_xen_is_known_by_what_it_looks_for() -> None:
    assert takes_domains(b"....xen,domain\0....")
    assert not takes_domains(b"....xen,domain-x\0....")


def test_everything_is_where_the_tree_says() -> None:
    kernel = load_kernel(plain_image(text_offset=0x80000))
    with GuestMemory(128 * MIB) as memory:
        place = load_guest(
            memory, sample_tree(128 * MIB), 64 * MIB, kernel, b"", "xen", domains=(DOM0, DOMU)
        )
        tree = open_tree(memory.read(place.dtb_address, 2 * MIB))
        seen = []
        for address, data in zip(place.modules, modules_of((DOM0, DOMU)), strict=True):
            parent = "/chosen" if data in (DOM0.kernel, DOM0.ramdisk) else "/chosen/domU1"
            _, at, size = module(tree, f"{parent}/module@{address:x}")
            assert at == address and at % 4096 == 0
            assert memory.read(at, size) == data
            seen.append((at, at + size))
        seen.append((place.kernel_address, place.kernel_address + kernel.image_size))
        seen.append((place.dtb_address, place.dtb_address + 2 * MIB))
        seen.sort()
        assert all(end <= start for (_, end), (start, _) in pairwise(seen))
        assert seen[-1][1] <= RAM_BASE + 64 * MIB
        stub = entry_stub(memory, place.entry, place.dtb_address, STUB_ADDRESS)
        assert RAM_BASE + MIB <= stub < seen[0][0], "behind QEMU's tree, before the kernel"
        # ldr x0, +32; ldr x16, +24: PC-relative loads of the two words behind the code.
        words = struct.unpack("<8I2Q", memory.read(stub, 48))
        assert [(words[n] >> 5 & 0x7FFFF) * 4 for n in (0, 4)] == [32, 24]
        assert words[8:] == (place.dtb_address, place.entry)


def test_too_little_memory_for_the_modules() -> None:
    kernel = load_kernel(plain_image())
    with GuestMemory(64 * MIB) as memory, pytest.raises(UserError) as caught:
        big = Domain("dom0", bytes(50 * MIB))
        load_guest(memory, sample_tree(64 * MIB), 64 * MIB, kernel, domains=(big,))
    assert str(caught.value).startswith(
        "too little memory: this kernel, initrd and the domains' modules need"
    )
