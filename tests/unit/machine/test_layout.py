"""Placement keeps the boot protocol's rules and never lets two things overlap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.machine.samples import elf64, plain_image
from vel2.errors import UserError
from vel2.machine.layout import DTB_LIMIT, layout
from vel2.machine.loader import KernelImage, load_kernel
from vel2.machine.memory import RAM_BASE, GuestMemory

MIB = 1 << 20


def kernel_of(image_size: int, text_offset: int = 0) -> KernelImage:
    return KernelImage(b"\x14", text_offset, image_size, "Image")


@given(
    st.integers(1, 64 * MIB),
    st.sampled_from([0, 0x80000]),
    st.integers(0, 64 * MIB),
    st.integers(1, 512),
)
def test_rules_of_booting_rst(image: int, text_offset: int, initrd: int, mebibytes: int) -> None:
    memory = mebibytes * MIB
    try:
        place = layout(memory, kernel_of(image, text_offset), initrd)
    except UserError:
        # Only refused when it is really tight: the parts, alignment and headroom do not fit.
        assert image + initrd + 26 * MIB > memory
        return
    assert (place.kernel_address - text_offset) % (2 * MIB) == 0
    assert place.kernel_address >= RAM_BASE + 2 * MIB, "QEMU writes its device tree there"
    assert place.kernel_address + image <= place.initrd_address
    assert place.initrd_end - place.initrd_address == initrd
    assert place.initrd_end <= place.dtb_address
    assert place.dtb_address % 8 == 0
    assert place.dtb_address + DTB_LIMIT <= RAM_BASE + memory
    window = place.kernel_address >> 30
    assert place.initrd_end <= (window + 32) << 30


def test_too_little_memory_says_how_much_is_needed() -> None:
    with pytest.raises(UserError) as caught:
        layout(32 * MIB, kernel_of(30 * MIB), 5 * MIB)
    assert str(caught.value) == (
        "too little memory: this kernel and initrd need 55 MiB, given 32 MiB; "
        "use a larger --memory."
    )
    layout(55 * MIB, kernel_of(30 * MIB), 5 * MIB)


def test_elf_goes_where_it_was_linked() -> None:
    kernel = load_kernel(elf64([(0x44000000, 0x44000000, b"code", 0x100)], entry=0x44000002))
    place = layout(256 * MIB, kernel)
    assert (place.kernel_address, place.entry) == (0x44000000, 0x44000002)
    assert place.initrd_range is None


def test_elf_linked_outside_ram_is_refused() -> None:
    kernel = load_kernel(elf64([(0x80000, 0x80000, b"code", 0x100)], entry=0x80000))
    with pytest.raises(UserError) as caught:
        layout(256 * MIB, kernel)
    assert str(caught.value) == (
        "the kernel is an ELF file that loads at 0x80000, outside RAM "
        "(0x40000000 to 0x50000000); link it inside."
    )


def test_write_puts_everything_where_it_said() -> None:
    kernel, initrd, tree = load_kernel(plain_image(text_offset=0x80000)), b"initrd", b"tree"
    place = layout(64 * MIB, kernel, len(initrd))
    with GuestMemory(64 * MIB) as memory:
        place.write(memory, kernel, initrd, tree)
        assert memory.read(place.kernel_address, len(kernel.data)) == kernel.data
        assert memory.read(place.initrd_address, 6) == initrd
        assert memory.read(place.dtb_address, 4) == tree
        with pytest.raises(UserError, match=r"the device tree has 2097153 bytes; .* 2097152\."):
            place.write(memory, kernel, initrd, bytes(DTB_LIMIT + 1))
        with pytest.raises(ValueError, match="another length"):
            place.write(memory, kernel, b"", tree)
