"""The loader: looks at the machine it was started on, lays out RAM, and enters L0.

It is started as any kernel is, by Linux's boot protocol for arm64: at EL2, with the MMU off, the
device tree in x0, from any place in RAM that is a multiple of 2 MiB. Each piece of RAM must come to
an address of its own, and the file lies in the way. So the loader first moves itself to the end of
L0's memory, which no piece needs, and then moves the pieces. In the file they lie in the order of
their addresses. Hence one that moves up can only overwrite what comes behind it in the file, and
one that moves down only what comes before; the first kind is moved from the last to the first, the
second from the first to the last, and nothing is overwritten that is still to be moved.

What is wrong with the machine is said on its UART, in one sentence, before anything is overwritten.
"""

from vel2.arch import sysregs as sr
from vel2.arch.insn import DC, IC
from vel2.hyp.start import (
    NEEDS_ECV,
    NEEDS_GICV3,
    NEEDS_NV2,
    NEEDS_VHE,
    missing_feature,
)
from vel2.lang import (
    PA,
    at,
    bytes_address,
    dsb_sy,
    isb,
    load_u32,
    load_u64,
    mrs,
    resident,
    store_u8,
    store_u64,
    symbol_address,
    sysop,
    u8,
    u64,
)
from vel2.pack.manifest import LOADER_BYTES, Findings, Manifest
from vel2.pack.tree import is_tree, read_tree
from vel2.runtime.console import console
from vel2.runtime.uart import UARTDR, UARTFR, UARTFR_TXFF

__all__ = ("place", "prepare")

MIB_SHIFT = 20
EL2 = 2
WORD = 8
CTR_WORD_SHIFT = 2
"""CTR_EL0.DminLine counts in words."""


@resident
def contents() -> Manifest:
    """Give the manifest, which lies in the loader."""
    return at(Manifest, symbol_address("manifest"))


@resident
def send(byte: u64) -> None:
    """Send a byte to the machine's UART, which its firmware has set up."""
    uart = contents().wanted.uart
    while load_u32(PA(uart + UARTFR)) & UARTFR_TXFF:
        pass
    store_u8(PA(uart + UARTDR), u8(byte))


put_byte, put, put_hex, put_decimal = console(send)


@resident
def refuse(why: u64) -> bool:
    """Begin a sentence about why vel2 does not start; give False, for the caller to hand on."""
    put(bytes_address(b"vel2 cannot start here: \0"))
    put(why)
    return False


@resident
def is_at_el2() -> bool:
    """Whether this is EL2, and one that can have HCR_EL2.E2H=0, which L0 runs with."""
    level = sr.CurrentEL.EL.get(mrs(sr.CurrentEL))
    if level != EL2:
        refuse(bytes_address(b"this is EL\0"))
        put_decimal(level)
        put(bytes_address(b", and it needs EL2; give QEMU -machine virtualization=on.\n\0"))
        return False
    if sr.ID_AA64MMFR4_EL1.E2H0.get(mrs(sr.ID_AA64MMFR4_EL1)) != 0:
        return refuse(
            bytes_address(
                b"HCR_EL2.E2H is always 1, and it needs 0; give the vel2 below --el2 nvhe.\n\0"
            )
        )
    return True


@resident
def has_features() -> bool:
    """Whether this CPU has what L0 needs."""
    lacking = missing_feature()
    if lacking == NEEDS_NV2:
        return refuse(bytes_address(b"the CPU has no FEAT_NV2; give QEMU -cpu max.\n\0"))
    if lacking == NEEDS_VHE:
        return refuse(bytes_address(b"the CPU has no FEAT_VHE; give QEMU -cpu max.\n\0"))
    if lacking == NEEDS_ECV:
        return refuse(bytes_address(b"the CPU has no FEAT_ECV; give QEMU -cpu max.\n\0"))
    if lacking == NEEDS_GICV3:
        return refuse(bytes_address(b"the CPU has no GICv3; give QEMU -machine gic-version=3.\n\0"))
    return True


@resident
def is_the_machine(tree: u64) -> bool:
    """Whether the machine has what the file was made for."""
    if not is_tree(tree):
        return refuse(bytes_address(b"x0 holds no device tree.\n\0"))
    wanted = contents().wanted
    findings = at(Findings, symbol_address("findings"))
    read_tree(tree, wanted, findings)
    if findings.ram_bytes < wanted.ram_bytes:
        refuse(bytes_address(b"the file is for \0"))
        put_decimal(wanted.ram_bytes >> MIB_SHIFT)
        put(bytes_address(b" MiB of memory at \0"))
        put_hex(wanted.ram_base)
        put(bytes_address(b", and there are \0"))
        put_decimal(findings.ram_bytes >> MIB_SHIFT)
        put(bytes_address(b"; give QEMU -m, or pack it with a smaller --memory.\n\0"))
        return False
    if findings.cpus < wanted.cpus:
        refuse(bytes_address(b"the file is for \0"))
        put_decimal(wanted.cpus)
        put(bytes_address(b" CPUs, and the machine has \0"))
        put_decimal(findings.cpus)
        put(bytes_address(b"; give QEMU -smp, or pack it with a smaller --smp.\n\0"))
        return False
    if findings.has_distributor == 0:
        refuse(bytes_address(b"there is no GICv3 at \0"))
        put_hex(wanted.distributor)
        put(bytes_address(b"; give QEMU -machine virt,gic-version=3.\n\0"))
        return False
    return True


@resident
def is_in_place(image: u64) -> bool:
    """Whether the file was loaded below L0's memory, where it can be moved from."""
    if contents().wanted.ram_base <= image and u64(image + contents().file_bytes) <= (
        contents().l0_base
    ):
        return True
    refuse(bytes_address(b"the file is at \0"))
    put_hex(image)
    put(bytes_address(b", and must end below \0"))
    put_hex(contents().l0_base)
    put(bytes_address(b"; load it lower, or pack it with more --memory.\n\0"))
    return False


@resident
def clear(start: u64, end: u64) -> None:
    """Write zeros."""
    here = start
    while here < end:
        store_u64(PA(here), 0)
        store_u64(PA(here + WORD), 0)
        here = u64(here + 2 * WORD)


@resident
def copy_up(source: u64, target: u64, length: u64) -> None:
    """Copy to a higher address, or elsewhere; the two may overlap. All are multiples of 16."""
    left = length
    while left != 0:
        left = u64(left - 2 * WORD)
        low = load_u64(PA(source + left))
        high = load_u64(PA(source + left + WORD))
        store_u64(PA(target + left), low)
        store_u64(PA(target + left + WORD), high)


@resident
def copy_down(source: u64, target: u64, length: u64) -> None:
    """Copy to a lower address; the two may overlap. All are multiples of 16."""
    done = u64(0)
    while done < length:
        low = load_u64(PA(source + done))
        high = load_u64(PA(source + done + WORD))
        store_u64(PA(target + done), low)
        store_u64(PA(target + done + WORD), high)
        done = u64(done + 2 * WORD)


@resident
def make_visible(start: u64, length: u64) -> None:
    """Drop what caches may hold of memory that was written with the MMU off: DC IVAC."""
    line = u64(1 << u64(sr.CTR_EL0.DminLine.get(mrs(sr.CTR_EL0)) + CTR_WORD_SHIFT))
    here = u64(start)
    while here < u64(start + length):
        sysop(DC.IVAC, here)
        here = u64(here + line)


@resident
def synchronize() -> None:
    """Have instructions be fetched from what has been written."""
    dsb_sy()
    sysop(IC.IALLU)
    dsb_sy()
    isb()


@resident
def prepare(tree: u64, image: u64) -> u64:
    """Look at the machine, clear L0's memory, and copy the loader to its end.

    :param image: where the file is.
    :return: where the copy is; 0 when the machine will not do.
    """
    if not is_at_el2() or not has_features() or not is_the_machine(tree):
        return 0
    if not is_in_place(image):
        return 0
    base = contents().l0_base
    copy = u64(base + contents().l0_bytes - LOADER_BYTES)
    clear(base, copy)
    copy_up(image, copy, LOADER_BYTES)
    make_visible(base, contents().l0_bytes)
    synchronize()
    return copy


@resident
def place(image: u64) -> u64:
    """Move every piece to where it belongs; run by the copy of the loader.

    :param image: where the file is. :return: where L0 begins.
    """
    count = contents().piece_count
    index = count
    while index > 0:
        index = u64(index - 1)
        piece = contents().pieces[index]
        if piece.address >= u64(image + piece.offset):
            copy_up(u64(image + piece.offset), piece.address, piece.length)
    for i in range(count):
        piece = contents().pieces[i]
        if piece.address < u64(image + piece.offset):
            copy_down(u64(image + piece.offset), piece.address, piece.length)
    dsb_sy()
    for i in range(count):
        piece = contents().pieces[i]
        make_visible(piece.address, piece.length)
    synchronize()
    return contents().entry
