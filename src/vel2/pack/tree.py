"""Read in a flattened device tree what machine this is (Devicetree Specification, chapter 5).

The tree comes from whoever started the file, and is read before anything is moved. Its numbers are
big-endian; addresses and sizes below the root have two cells each, as on every machine that vel2
runs on.
"""

from vel2.lang import PA, bytes_address, load_u8, resident, u64
from vel2.pack.manifest import Findings, Wanted
from vel2.runtime.text import equal, length

__all__ = ("is_tree", "read_tree")

MAGIC = 0xD00D_FEED
OFF_STRUCT, OFF_STRINGS, SIZE_STRUCT = 8, 12, 36
BEGIN_NODE, PROP, END = 1, 3, 9
PAIR_BYTES = 16
"""Of an address and a size."""

NO_ROLE, MEMORY, CPU, GIC = 0, 1, 2, 3


@resident
def cell(address: u64) -> u64:
    """Read a cell, which is aligned in the tree, but the tree perhaps not in memory."""
    value = u64(0)
    for i in range(4):
        value = u64(value << 8) | load_u8(PA(address + i))
    return value


@resident
def two_cells(address: u64) -> u64:
    """Read a number of two cells."""
    return u64(cell(address) << 32) | cell(u64(address + 4))


@resident
def role_of(name: u64, value: u64) -> u64:
    """Tell by a property what its node is; only the first string of `compatible` counts."""
    if equal(name, bytes_address(b"device_type\0")):
        if equal(value, bytes_address(b"memory\0")):
            return MEMORY
        if equal(value, bytes_address(b"cpu\0")):
            return CPU
    is_compatible = equal(name, bytes_address(b"compatible\0"))
    if is_compatible and equal(value, bytes_address(b"arm,gic-v3\0")):
        return GIC
    return NO_ROLE


@resident
def note(wanted: Wanted, findings: Findings, role: u64, reg: u64) -> None:
    """Take what a node says, once all of its properties have been seen.

    :param reg: the address of its first address and size, or 0.
    """
    if role == CPU:
        findings.cpus = u64(findings.cpus + 1)
    if reg == 0:
        return
    base = two_cells(reg)
    if role == MEMORY and base == wanted.ram_base:
        findings.ram_bytes = two_cells(u64(reg + 8))
    if role == GIC and base == wanted.distributor:
        findings.has_distributor = 1


@resident
def is_tree(tree: u64) -> bool:
    """Whether there is a device tree at an address."""
    return tree != 0 and cell(tree) == MAGIC


@resident
def read_tree(tree: u64, wanted: Wanted, findings: Findings) -> None:
    """Find RAM, CPUs and the GIC; properties of a node come before its children."""
    here = u64(tree + cell(u64(tree + OFF_STRUCT)))
    end = u64(here + cell(u64(tree + SIZE_STRUCT)))
    strings = u64(tree + cell(u64(tree + OFF_STRINGS)))
    role = u64(NO_ROLE)
    reg = u64(0)
    while here < end:
        token = cell(here)
        here = u64(here + 4)
        if token == PROP:
            size = cell(here)
            name = u64(strings + cell(u64(here + 4)))
            value = u64(here + 8)
            if equal(name, bytes_address(b"reg\0")) and size >= PAIR_BYTES:
                reg = value
            found = role_of(name, value)
            if found != NO_ROLE:
                role = found
            here = u64(value + size + 3) & ~u64(3)
        else:
            note(wanted, findings, role, reg)
            role = NO_ROLE
            reg = 0
            if token == BEGIN_NODE:
                here = u64(here + length(here) + 4) & ~u64(3)
            if token == END:
                return
