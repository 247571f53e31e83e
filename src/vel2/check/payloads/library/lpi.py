"""The ITS and LPIs, driven as software at EL2 does it: for `interrupts` and `isolation`.

Registers are at the addresses of QEMU's board; everything in memory is in pages of `ARENA`.
"""

from vel2.arch.gicv3 import (
    COMMAND_BYTES,
    GICR_CTLR,
    GICR_PENDBASER,
    GICR_PROPBASER,
    GITS_BASER,
    GITS_CBASER,
    GITS_CREADR,
    GITS_CTLR,
    GITS_CWRITER,
    INNER_SHAREABLE,
    ITS_DW0,
    ITS_DW1,
    ITS_DW2,
    MAPD_DW1,
    MAPD_DW2,
    READ_WRITE_ALLOCATE_WRITE_BACK,
    Command,
)
from vel2.check.payloads.layout import ARENA, PAGE_BYTES
from vel2.check.payloads.library.gic import GICR
from vel2.lang import PA, dsb_sy, resident, store_u64, u64
from vel2.runtime.device import read_long, read_word, write_long, write_word

GITS = 0x0808_0000
PROPERTIES = ARENA + 0x10_0000
PROPERTIES_BYTES = 0xE000
PENDING = ARENA + 0x12_0000
PENDING_BYTES = 0x2000
QUEUE = ARENA + 0x13_0000
DEVICES = ARENA + 0x14_0000
COLLECTIONS = ARENA + 0x15_0000
ITT = ARENA + 0x16_0000
LPI_BITS = 16
PATIENCE = 10000
TABLE = GITS_BASER.compose(
    Valid=1, InnerCache=READ_WRITE_ALLOCATE_WRITE_BACK, Shareability=INNER_SHAREABLE
)
"""One page of 4 KiB."""
ONE_PAGE_QUEUE = GITS_CBASER.compose(
    Valid=1, InnerCache=READ_WRITE_ALLOCATE_WRITE_BACK, Shareability=INNER_SHAREABLE
)
ATTRIBUTES = GICR_PROPBASER.compose(
    InnerCache=READ_WRITE_ALLOCATE_WRITE_BACK, Shareability=INNER_SHAREABLE
)
VALID = ITS_DW2.V.mask


@resident
def clear(start: u64, size: u64) -> None:
    """Fill memory with zeros."""
    for i in range(size // 8):
        store_u64(PA(start + i * 8), 0)


@resident
def disable_its() -> None:
    """Clear GITS_CTLR.Enabled and wait until the ITS is quiescent."""
    write_word(GITS + GITS_CTLR.offset, 0)
    for _ in range(PATIENCE):
        if read_word(GITS + GITS_CTLR.offset) & GITS_CTLR.Quiescent.mask:
            break


@resident
def enable_its(devices: u64, collections: u64, queue: u64) -> None:
    """Give the ITS tables and a queue of a page each, and enable it."""
    disable_its()
    write_long(GITS + GITS_BASER.offset, devices | TABLE)
    write_long(GITS + GITS_BASER.offset + 8, collections | TABLE)
    write_long(GITS + GITS_CBASER.offset, queue | ONE_PAGE_QUEUE)
    write_long(GITS + GITS_CWRITER.offset, 0)
    write_word(GITS + GITS_CTLR.offset, GITS_CTLR.Enabled.mask)


@resident
def command(first: u64, second: u64, third: u64) -> u64:
    """Give the ITS one command and wait until it is done; 0 if it is not, or stalls."""
    writer = read_long(GITS + GITS_CWRITER.offset) & GITS_CWRITER.Offset.mask
    store_u64(PA(QUEUE + writer), first)
    store_u64(PA(QUEUE + writer + 8), second)
    store_u64(PA(QUEUE + writer + 16), third)
    store_u64(PA(QUEUE + writer + 24), 0)
    writer = u64(writer + COMMAND_BYTES) & (PAGE_BYTES - 1)
    dsb_sy()
    write_long(GITS + GITS_CWRITER.offset, writer)
    for _ in range(PATIENCE):
        if read_long(GITS + GITS_CREADR.offset) == writer:
            return 1
    return 0


@resident
def about(code: u64, device: u64) -> u64:
    """Compose the first doubleword of a command."""
    return u64(code | ITS_DW0.DeviceID.put(device))


@resident
def map_device(device: u64, size: u64, table: u64) -> u64:
    """MAPD."""
    return command(about(Command.MAPD, device), MAPD_DW1.Size.put(size), table | MAPD_DW2.V.mask)


@resident
def map_collection(icid: u64) -> u64:
    """MAPC, to processor 0."""
    return command(Command.MAPC, 0, icid | VALID)


@resident
def map_event(device: u64, event: u64, intid: u64, icid: u64) -> u64:
    """MAPTI."""
    return command(about(Command.MAPTI, device), event | ITS_DW1.pINTID.put(intid), icid)


@resident
def with_event(code: u64, device: u64, event: u64) -> u64:
    """Send INT, CLEAR, INV or DISCARD."""
    return command(about(code, device), event, 0)


@resident
def disable_lpis() -> None:
    """Clear GICR_CTLR.EnableLPIs."""
    write_word(GICR + GICR_CTLR.offset, 0)
    for _ in range(PATIENCE):
        if read_word(GICR + GICR_CTLR.offset) & GICR_CTLR.RWP.mask == 0:
            break


@resident
def enable_lpis(properties: u64, pending: u64, flags: u64) -> None:
    """Give the redistributor its tables for all INTIDs of 16 bits, and enable LPIs."""
    disable_lpis()
    store_u64(
        PA(GICR + GICR_PROPBASER.offset),
        properties | ATTRIBUTES | GICR_PROPBASER.IDbits.put(LPI_BITS - 1),
    )
    write_long(GICR + GICR_PENDBASER.offset, pending | ATTRIBUTES | flags)
    dsb_sy()
    write_word(GICR + GICR_CTLR.offset, GICR_CTLR.EnableLPIs.mask)
