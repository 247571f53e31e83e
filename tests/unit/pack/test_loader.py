"""The loader: what it finds in a device tree, and that it moves pieces without losing any."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vel2.arch import sysregs as sr
from vel2.lang import Simulation
from vel2.machine.config import MachineConfig
from vel2.machine.dtb import cpu_count, l1_device_tree, qemu_device_tree
from vel2.machine.memory import RAM_BASE
from vel2.pack import loader
from vel2.pack.manifest import ALIGNMENT, LOADER_BYTES, Findings, Manifest, Wanted
from vel2.pack.tree import is_tree, read_tree

MIB = 1 << 20
TREE = RAM_BASE + 0x1000
GICD = 0x0800_0000
RAM_BYTES = 0x4_0000
COPY = RAM_BASE + RAM_BYTES
"""Where the loader runs: behind what it fills."""


def read(tree: bytes, distributor: int = GICD) -> tuple[int, int, int]:
    """Give what the loader finds: RAM, CPUs, and whether it has the GIC."""
    simulation = Simulation(RAM_BASE, 2 * MIB)
    simulation.buffer[TREE - RAM_BASE : TREE - RAM_BASE + len(tree)] = tree
    wanted = simulation.at(Wanted, RAM_BASE)
    findings = simulation.at(Findings, RAM_BASE + Wanted.size)
    wanted.ram_base, wanted.distributor = RAM_BASE, distributor
    with simulation:
        assert is_tree(TREE)
        read_tree(TREE, wanted, findings)
    return int(findings.ram_bytes), int(findings.cpus), int(findings.has_distributor)


@pytest.mark.qemu
@pytest.mark.parametrize("cpus", [1, 4])
def test_qemus_tree_is_read(cpus: int) -> None:
    """Show it for the tree of a machine, and for that of a guest of vel2's on this machine."""
    tree = qemu_device_tree(MachineConfig(512 * MIB, smp=cpus))
    assert read(tree) == (512 * MIB, cpus, 1)
    assert read(l1_device_tree(tree, 256 * MIB)) == (256 * MIB, cpus, 1)
    assert read(tree, GICD + 0x1000)[2] == 0
    assert cpu_count(tree) == cpus


def test_what_is_no_tree() -> None:
    simulation = Simulation(RAM_BASE, 0x1000)
    with simulation:
        assert not is_tree(0) and not is_tree(RAM_BASE)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    """Draw where the file is, and pieces as (address, length) that do not touch."""
    pieces = []
    at = RAM_BASE
    for _ in range(draw(st.integers(0, 6))):
        at += ALIGNMENT * draw(st.integers(0, 0x80))
        length = ALIGNMENT * draw(st.integers(1, 0x80))
        pieces.append((at, length))
        at += length
    size = LOADER_BYTES + sum(length for _, length in pieces)
    last = (RAM_BYTES - size) // ALIGNMENT
    return RAM_BASE + ALIGNMENT * draw(st.integers(0, last)), pieces


@settings(max_examples=60, deadline=None)
@given(layout=layouts())
def test_every_piece_comes_to_its_place(layout: tuple[int, list[tuple[int, int]]]) -> None:
    """Move pieces from a file in their way: any place of the file, any places of the pieces."""
    image, pieces = layout
    simulation = Simulation(
        RAM_BASE, RAM_BYTES + LOADER_BYTES, {"manifest": COPY, "findings": COPY}
    )
    manifest = simulation.at(Manifest, COPY)
    manifest.entry = 0x1234
    manifest.piece_count = len(pieces)
    offset, contents = LOADER_BYTES, []
    for index, (address, length) in enumerate(pieces):
        piece = manifest.pieces[index]
        piece.address, piece.offset, piece.length = address, offset, length
        content = b"".join((index << 32 | n).to_bytes(8, "little") for n in range(length // 8))
        start = image + offset - RAM_BASE
        simulation.buffer[start : start + length] = content
        contents.append(content)
        offset += length
    with simulation:
        assert loader.place(image) == 0x1234
    for (address, length), content in zip(pieces, contents, strict=True):
        start = address - RAM_BASE
        assert bytes(simulation.buffer[start : start + length]) == content


def test_caches_forget_every_line_that_was_written() -> None:
    """Show that DC IVAC names each line of the smallest cache, once."""
    simulation = Simulation(RAM_BASE, 0x1000)
    simulation[sr.CTR_EL0] = sr.CTR_EL0.compose(DminLine=5)
    with simulation:
        loader.make_visible(RAM_BASE + 0x80, 0x100)
    lines = [operation.value for operation in simulation.operations]
    assert lines == [RAM_BASE + 0x80, RAM_BASE + 0x100]
