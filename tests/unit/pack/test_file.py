"""Packed files: what is in them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_guests import POWER_OFF, write_image
from vel2.control.guest import Firmware, Kernel
from vel2.errors import UserError
from vel2.hyp import layout
from vel2.machine.config import MachineConfig
from vel2.machine.dtb import qemu_device_tree
from vel2.machine.loader import load_kernel
from vel2.machine.memory import RAM_BASE
from vel2.pack.file import Packing, merge, pack
from vel2.pack.manifest import LOADER_BYTES, Manifest
from vel2.pack.start import build_loader

MIB = 1 << 20


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    """Give the smallest of kernels."""
    write_image(tmp_path / "Image", POWER_OFF)
    return Kernel(load_kernel(tmp_path / "Image"))


@pytest.mark.qemu
def test_a_file_holds_ram_as_l0_wants_it(kernel: Kernel) -> None:
    """Show the guest and L0 among the pieces, in order, and a header that covers the file."""
    packed = pack(qemu_device_tree(MachineConfig(128 * MIB)), Packing(kernel, 128 * MIB))
    image = load_kernel(packed.data)
    assert (image.text_offset, image.entry_offset) == (0, 0)
    assert image.image_size == len(packed.data)
    manifest = Manifest(bytearray(packed.data), build_loader().symbols["manifest"])
    pieces = [manifest.pieces[index] for index in range(manifest.piece_count)]
    assert [piece.address for piece in pieces] == sorted(piece.address for piece in pieces)
    found = {
        piece.address: packed.data[piece.offset : piece.offset + piece.length] for piece in pieces
    }
    first = found[RAM_BASE + 2 * MIB]
    assert first.startswith(kernel.image.data)
    l0_base = RAM_BASE + packed.orders.l1_bytes
    assert manifest.l0_base == l0_base
    assert l0_base <= manifest.entry < l0_base + len(found[l0_base])
    assert max(piece.address + piece.length for piece in pieces) <= (
        l0_base + manifest.l0_bytes - LOADER_BYTES
    )
    assert manifest.file_bytes == len(packed.data)
    assert manifest.wanted.ram_bytes == 128 * MIB


def test_ranges_are_joined_where_they_touch() -> None:
    assert merge([(0x1000, 0x1001), (0x80, 0x100), (0x101, 0x140), (0x2000, 0x2000)]) == [
        (0x80, 0x140),
        (0x1000, 0x1040),
    ]


@pytest.mark.qemu
def test_what_cannot_be_packed(kernel: Kernel, tmp_path: Path) -> None:
    tree = qemu_device_tree(MachineConfig(128 * MIB))
    with pytest.raises(UserError) as caught:
        pack(tree, Packing(Firmware(tmp_path / "Image"), 128 * MIB))
    assert str(caught.value) == (
        "firmware runs from the flash, which no file can bring; pack a kernel."
    )
    with pytest.raises(UserError) as caught:
        pack(tree, Packing(kernel, 16 * MIB))
    assert str(caught.value) == (
        "16 MiB of memory are less than vel2 itself takes; give 128M or more."
    )


@pytest.mark.parametrize("mib", [64, 127, 128, 1024, 2048, 4000, 65536])
def test_l0_leaves_its_guest_as_much_as_it_can(mib: int) -> None:
    l1 = layout.l1_bytes(mib * MIB)
    assert l1 > 0 and l1 % layout.BLOCK_BYTES == 0
    assert l1 + layout.l0_bytes(l1) <= mib * MIB
    more = l1 + layout.BLOCK_BYTES
    assert more + layout.l0_bytes(more) > mib * MIB
