"""The registers of the ITS, and how L0 takes hardware's ITS and redistributors at start-up.

Hardware has a device table, a collection table and a command queue of L0's from then on. L1 finds
the registers of an ITS with tables and a queue of its own; it gives memory for them, as an ITS
wants, and L0 never uses it. What a table held is forgotten when L1 gives it another address.

GITS_CTLR.Enabled is hardware's own: while L1 has it clear no message is translated. GITS_BASER<n>
and GITS_CBASER cannot be written while it is set, which the architecture leaves open and QEMU does.

L1 sees in GITS_TYPER what L0 has tables for: `gicstate.EVENT_BITS` of EventID and
`gicstate.COLLECTION_BITS` of ICID; all of the machine's DeviceIDs that fit a table of
`layout.DEVICE_TABLE_BYTES`; no GICv4 and no message that is not an LPI's.
"""

from vel2.arch import sysregs as sr
from vel2.arch.gicv3 import (
    BASERS,
    GICR_TYPER,
    GITS_BASER,
    GITS_CBASER,
    GITS_CREADR,
    GITS_CTLR,
    GITS_CWRITER,
    GITS_IIDR,
    GITS_TYPER,
    ID_REGISTERS,
    INNER_SHAREABLE,
    READ_WRITE_ALLOCATE_WRITE_BACK,
    AffinityValue,
    PageSize,
    TableType,
)
from vel2.hyp import layout
from vel2.hyp.device import (
    LONG_BYTES,
    long_register_of,
    part,
    read_long_register,
    read_register,
    with_part,
    write_long_register,
    write_register,
)
from vel2.hyp.gicstate import COLLECTION_BITS, EVENT_BITS, Gic, gic_of
from vel2.hyp.its_commands import COLLECTIONS_BASER, DEVICES_BASER, forget_table
from vel2.hyp.its_queue import run
from vel2.hyp.outcome import Outcome
from vel2.hyp.stage2 import canonical_leaf
from vel2.hyp.state import Vm
from vel2.lang import L1IPA, inline, resident, u64

__all__ = ("init", "read", "write")

ENABLED = GITS_CTLR.Enabled.mask
SHOWN_CTLR = GITS_CTLR.compose(Enabled=1, Quiescent=1)
FIXED_IN_BASER = GITS_BASER.compose(Type=7, Entry_Size=31)
SETTING_OF_BASER = GITS_BASER.Valid.mask | GITS_BASER.Physical_Address.mask
OWN_ATTRIBUTES = GITS_BASER.compose(
    Valid=1,
    InnerCache=READ_WRITE_ALLOCATE_WRITE_BACK,
    Shareability=INNER_SHAREABLE,
    Page_Size=PageSize.KIB_64,
)
OWN_CBASER = GITS_CBASER.compose(
    Valid=1, InnerCache=READ_WRITE_ALLOCATE_WRITE_BACK, Shareability=INNER_SHAREABLE
)
HAS_GICV4 = 1
HAS_WAY_IN = 2
NO_TABLE = 3
LAST_BASER = GITS_BASER.offset + LONG_BYTES * (BASERS - 1)


@inline
def is_enabled(gic: Gic) -> bool:
    """Whether L1 has enabled the ITS."""
    return read_register(u64(gic.control + GITS_CTLR.offset)) & ENABLED != 0


@inline
def is_baser(register: u64) -> bool:
    """Whether an offset is of a GITS_BASER<n>."""
    return register >= GITS_BASER.offset and register <= LAST_BASER


@inline
def baser_number(register: u64) -> u64:
    """Give n of a GITS_BASER<n>."""
    return u64(register - GITS_BASER.offset) // LONG_BYTES


@resident
def read(vm: Vm, offset: u64, size: u64) -> u64:
    """Read of the control frame, four or eight bytes. A look at GITS_CREADR lets work be done."""
    gic = gic_of(vm)
    register = long_register_of(offset)
    value = u64(0)
    if register == GITS_TYPER.offset:
        value = part(gic.typer, offset, size)
    elif register == GITS_CBASER.offset:
        value = part(gic.cbaser, offset, size)
    elif register == GITS_CWRITER.offset:
        value = part(gic.cwriter, offset, size)
    elif register == GITS_CREADR.offset:
        run(vm)
        value = part(gic.creadr, offset, size)
    elif is_baser(register):
        value = part(gic.basers[baser_number(register)], offset, size)
    elif size == 4:
        if offset == GITS_CTLR.offset:
            value = read_register(u64(gic.control + offset)) & SHOWN_CTLR
        elif offset == GITS_IIDR.offset or offset >= ID_REGISTERS:
            value = read_register(u64(gic.control + offset))
    return value


@resident
def write(vm: Vm, offset: u64, size: u64, value: u64) -> Outcome:
    """Write to the control frame, four or eight bytes; what is not writable ignores it.

    :return: RESUME when the store is to be executed again, to go on with what it has begun.
    """
    gic = gic_of(vm)
    register = long_register_of(offset)
    if register == GITS_CTLR.offset:
        if size == 4 and offset == GITS_CTLR.offset:
            write_register(u64(gic.control + GITS_CTLR.offset), value & ENABLED)
            return run(vm)
    elif register == GITS_CWRITER.offset:
        new = with_part(gic.cwriter, offset, size, value)
        gic.cwriter = new & GITS_CWRITER.Offset.mask
        gic.creadr = gic.creadr & ~GITS_CREADR.Stalled.mask
        return run(vm)
    elif not is_enabled(gic):
        if register == GITS_CBASER.offset:
            gic.cbaser = with_part(gic.cbaser, offset, size, value) & GITS_CBASER.known
            gic.creadr = 0
            gic.unfinished = 0
            gic.page = 0
        elif is_baser(register):
            write_baser(gic, baser_number(register), offset, size, value)
    return Outcome.SKIP


@resident
def write_baser(gic: Gic, number: u64, offset: u64, size: u64, value: u64) -> None:
    """Write a GITS_BASER<n>; one that stands for no table is RAZ/WI."""
    old = gic.basers[number]
    if GITS_BASER.Type.get(old) == TableType.UNIMPLEMENTED:
        return
    new = with_part(old, offset, size, value) & ~FIXED_IN_BASER | old & FIXED_IN_BASER
    if (new ^ old) & SETTING_OF_BASER:
        forget_table(gic, number)
    gic.basers[number] = new


@inline
def table_entry_bytes(baser: u64) -> u64:
    """Give the size of an entry in a table of hardware's."""
    return u64(GITS_BASER.Entry_Size.get(baser) + 1)


@resident
def give_table(gic: Gic, number: u64, address: u64, size: u64) -> u64:
    """Give hardware memory for a table; return how many entries fit into it."""
    register = u64(gic.control + GITS_BASER.offset + number * LONG_BYTES)
    write_long_register(register, address | OWN_ATTRIBUTES)
    # The page size may be fixed: what is there now says in what the size counts.
    page_shift = u64(12 + 2 * GITS_BASER.Page_Size.get(read_long_register(register)))
    pages = GITS_BASER.Size.put(u64((size >> page_shift) - 1))
    write_long_register(register, address | OWN_ATTRIBUTES | pages)
    return size // table_entry_bytes(read_long_register(register))


@inline
def bits_for(entries: u64, limit: u64) -> u64:
    """Give log2 of the largest power of two that is at most `entries`, and at most 2**limit."""
    bits = u64(0)
    while bits < limit and u64(1 << u64(bits + 1)) <= entries:
        bits = u64(bits + 1)
    return bits


@resident
def find_table(gic: Gic, kind: u64) -> u64:
    """Give the number of hardware's GITS_BASER<n> for a kind of table, or `BASERS`."""
    for number in range(BASERS):
        baser = read_long_register(u64(gic.control + GITS_BASER.offset + number * LONG_BYTES))
        if GITS_BASER.Type.get(baser) == kind:
            return number
    return BASERS


@resident
def init_its(gic: Gic) -> u64:
    """Give hardware's ITS L0's tables and queue, and L1 the registers of one out of reset.

    :return: 0, or what is wrong with the machine.
    """
    own = read_long_register(u64(gic.control + GITS_TYPER.offset))
    if GITS_TYPER.Virtual.get(own) != 0:
        return HAS_GICV4
    write_register(u64(gic.control + GITS_CTLR.offset), 0)
    gic.takes_addresses = GITS_TYPER.PTA.get(own)
    devices = find_table(gic, TableType.DEVICES)
    collections = find_table(gic, TableType.COLLECTIONS)
    if devices == BASERS or collections == BASERS:
        return NO_TABLE
    address = u64(gic.base + layout.DEVICE_TABLE_IN_GIC)
    entries = give_table(gic, devices, address, layout.DEVICE_TABLE_BYTES)
    device_bits = bits_for(entries, u64(GITS_TYPER.Devbits.get(own) + 1))
    address = u64(gic.base + layout.COLLECTION_TABLE_IN_GIC)
    entries = give_table(gic, collections, address, layout.COLLECTION_TABLE_BYTES)
    if bits_for(entries, COLLECTION_BITS) < COLLECTION_BITS or device_bits == 0:
        return NO_TABLE
    queue = u64(gic.base + layout.ITS_QUEUE_IN_GIC)
    write_long_register(u64(gic.control + GITS_CBASER.offset), queue | OWN_CBASER)
    write_long_register(u64(gic.control + GITS_CWRITER.offset), 0)
    gic.typer = u64(
        GITS_TYPER.compose(Physical=1, CIL=1, CIDbits=COLLECTION_BITS - 1, ID_bits=EVENT_BITS - 1)
        | own & GITS_TYPER.ITT_entry_size.mask
        | GITS_TYPER.Devbits.put(u64(device_bits - 1))
    )
    gic.basers[DEVICES_BASER] = shown_baser(gic, devices)
    gic.basers[COLLECTIONS_BASER] = shown_baser(gic, collections)
    return 0


@inline
def shown_baser(gic: Gic, number: u64) -> u64:
    """Give a GITS_BASER<n> of L1's out of reset, for a table of hardware's."""
    own = read_long_register(u64(gic.control + GITS_BASER.offset + number * LONG_BYTES))
    return own & FIXED_IN_BASER | GITS_BASER.Page_Size.put(PageSize.KIB_64)


@inline
def mpidr_affinity(value: u64) -> u64:
    """Give MPIDR_EL1's affinity fields for a redistributor's, where Aff3 follows Aff2."""
    return sr.MPIDR_EL1.Aff3.put(AffinityValue.Aff3.get(value)) | AffinityValue.Aff2_0.get(value)


@resident
def init(vm: Vm) -> u64:
    """Take the ITS and the redistributors, whose frames must not be in the canonical stage 2.

    :return: 0, or what is wrong with the machine.
    """
    gic = gic_of(vm)
    gic.base = vm.config.gic
    gic.control = vm.config.its_control
    gic.redistributor_count = vm.config.redistributor_count
    for index in range(vm.config.redistributor_count):
        redistributor = gic.redistributors[index]
        redistributor.frame = vm.config.redistributors[index]
        typer = read_long_register(u64(redistributor.frame + GICR_TYPER.offset))
        redistributor.processor = GICR_TYPER.Processor_Number.get(typer)
        vm.probed.affinities[index] = mpidr_affinity(GICR_TYPER.Affinity_Value.get(typer))
        if GICR_TYPER.VLPIS.get(typer) != 0:
            return HAS_GICV4
        if canonical_leaf(vm, L1IPA(redistributor.frame)) != 0:
            return HAS_WAY_IN
    if gic.control == 0:
        return 0
    if canonical_leaf(vm, L1IPA(gic.control)) != 0:
        return HAS_WAY_IN
    return init_its(gic)
