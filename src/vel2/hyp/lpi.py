"""The registers of a redistributor that have to do with LPIs.

A redistributor reads the properties (priority, enable) of LPIs from a table at GICR_PROPBASER, and
reads and writes their pending bits in one at GICR_PENDBASER, past every stage 2: with an address of
L1's choice it would turn the bits of L0's memory into interrupts, and clear them one by one. So
hardware has tables of L0's, and L1's addresses are only noted.

L1's tables are taken over when it sets GICR_CTLR.EnableLPIs: the properties of all its LPIs, and
the pending bits unless it says that there are none (PTZ). That is up to 18 pages. One is done at a
trap, and the store that set the bit is then executed again, so that interrupts get in between;
hardware's EnableLPIs is set with the last. Later L1 tells what it has changed by INV and INVALL.
When L1 clears the bit, hardware's pending bits go to L1's table, where software that takes over
LPIs looks for them. An address outside L1's RAM reads as zeros, and nothing goes there.

While the bit is set L1's pending table is the redistributor's: L0 leaves zeros there, so that in
the end it writes only what pends. A kernel that was started by kexec may find LPIs enabled by the
one before, and that memory in use for something else; then it clears the bit.

L1 may set EnableLPIs only where the machine has LPIs, and clear it only where the machine lets it:
hardware's bit is what it reads. Of the rest of the frame L1 reads what hardware has, less what is
hidden: GICv4, and LPIs by register (DirectLPI, IR), which would not go through the ITS.
"""

from vel2.arch.gicv3 import (
    FIRST_LPI,
    GICR_CTLR,
    GICR_IIDR,
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_STATUSR,
    GICR_TYPER,
    GICR_WAKER,
    ID_REGISTERS,
    INNER_SHAREABLE,
    MAX_LPI_BITS,
    READ_WRITE_ALLOCATE_WRITE_BACK,
)
from vel2.hyp.device import (
    long_register_of,
    part,
    read_long_register,
    read_register,
    with_part,
    write_long_register,
    write_register,
)
from vel2.hyp.gicstate import Redistributor, gic_of, is_l1_page, pending_of, properties_of
from vel2.hyp.layout import PAGE_BYTES
from vel2.hyp.outcome import Outcome
from vel2.hyp.state import Vm
from vel2.lang import PA, dsb_sy, inline, load_u8, load_u64, resident, store_u8, store_u64, u64

__all__ = ("read", "take_properties", "take_property", "write")

MAX_PENDING_BYTES = (1 << MAX_LPI_BITS) // 8
ENABLE = GICR_CTLR.EnableLPIs.mask
WRITABLE_CTLR = GICR_CTLR.compose(DPG0=1, DPG1NS=1, DPG1S=1)
SHOWN_CTLR = WRITABLE_CTLR | GICR_CTLR.compose(EnableLPIs=1, CES=1, RWP=1, UWP=1)
HIDDEN_TYPER = GICR_TYPER.compose(VSGI=1, RVPEID=1, MPAM=1, DirectLPI=1, Dirty=1, VLPIS=1)
WRITABLE_PROPBASER = GICR_PROPBASER.known
WRITABLE_PENDBASER = GICR_PENDBASER.known
PTZ = GICR_PENDBASER.PTZ.mask
OWN_PROPBASER = GICR_PROPBASER.compose(
    InnerCache=READ_WRITE_ALLOCATE_WRITE_BACK, Shareability=INNER_SHAREABLE
)
OWN_PENDBASER = GICR_PENDBASER.compose(
    InnerCache=READ_WRITE_ALLOCATE_WRITE_BACK, Shareability=INNER_SHAREABLE
)
RWP_PATIENCE = 1000


@inline
def lpi_bits(redistributor: Redistributor) -> u64:
    """Give the bits of an INTID that L1's tables are for."""
    bits = u64(GICR_PROPBASER.IDbits.get(redistributor.propbaser) + 1)
    if bits > MAX_LPI_BITS:
        bits = u64(MAX_LPI_BITS)
    return bits


@inline
def property_table(redistributor: Redistributor) -> u64:
    """Give the address of L1's LPI Configuration table."""
    return redistributor.propbaser & GICR_PROPBASER.Physical_Address.mask


@inline
def pending_table(redistributor: Redistributor) -> u64:
    """Give the address of L1's LPI Pending table."""
    return redistributor.pendbaser & GICR_PENDBASER.Physical_Address.mask


@resident
def take_property(vm: Vm, index: u64, intid: u64) -> None:
    """Take over what L1 says now about one LPI, which is at least `FIRST_LPI`."""
    redistributor = gic_of(vm).redistributors[index]
    if intid >> lpi_bits(redistributor) != 0:
        return
    number = u64(intid - FIRST_LPI)
    source = u64(property_table(redistributor) + number)
    if is_l1_page(vm, source, 1):
        store_u8(PA(properties_of(gic_of(vm)) + number), load_u8(PA(source)))


@resident
def copy_page(vm: Vm, source: u64, target: u64) -> None:
    """Copy a page of L1's RAM into one of L0's, or zeros if L1 has no RAM there."""
    readable = is_l1_page(vm, source, PAGE_BYTES)
    for i in range(PAGE_BYTES // 8):
        value = u64(0)
        if readable:
            value = load_u64(PA(source + i * 8))
        store_u64(PA(target + i * 8), value)


@inline
def property_pages(redistributor: Redistributor) -> u64:
    """Give how many pages L1's LPI Configuration table has; there is no LPI below `FIRST_LPI`."""
    count = u64(1 << lpi_bits(redistributor))
    if count <= FIRST_LPI:
        return 0
    return u64(count - FIRST_LPI) // PAGE_BYTES


@resident
def take_properties(vm: Vm, index: u64, page: u64) -> bool:
    """Take over one page of L1's LPI Configuration table; False if there is no such page."""
    redistributor = gic_of(vm).redistributors[index]
    if page >= property_pages(redistributor):
        return False
    offset = u64(page * PAGE_BYTES)
    source = u64(property_table(redistributor) + offset)
    copy_page(vm, source, u64(properties_of(gic_of(vm)) + offset))
    return True


@resident
def take_pending(vm: Vm, index: u64, page: u64) -> None:
    """Take over one page of L1's LPI Pending table; nothing is pending where it says PTZ."""
    redistributor = gic_of(vm).redistributors[index]
    offset = u64(page * PAGE_BYTES)
    source = u64(pending_table(redistributor) + offset)
    if redistributor.pendbaser & PTZ:
        source = u64(0)
    copy_page(vm, source, u64(pending_of(gic_of(vm), index) + offset))


@inline
def pending_bytes(redistributor: Redistributor) -> u64:
    """Give the size of L1's LPI Pending table."""
    return u64(1 << lpi_bits(redistributor)) // 8


@resident
def clear_pending(vm: Vm, redistributor: Redistributor) -> None:
    """Clear L1's LPI Pending table, which has been taken over, unless it is zeros anyway."""
    size = pending_bytes(redistributor)
    target = pending_table(redistributor)
    if redistributor.pendbaser & PTZ or not is_l1_page(vm, target, size):
        return
    for i in range(FIRST_LPI // 64, size // 8):
        store_u64(PA(target + i * 8), 0)


@resident
def return_pending(vm: Vm, index: u64) -> None:
    """Put the pending bits that hardware leaves into L1's LPI Pending table, which is zeros."""
    redistributor = gic_of(vm).redistributors[index]
    size = pending_bytes(redistributor)
    target = pending_table(redistributor)
    source = pending_of(gic_of(vm), index)
    if not is_l1_page(vm, target, size):
        return
    for i in range(FIRST_LPI // 64, size // 8):
        pending = load_u64(PA(source + i * 8))
        if pending != 0:
            store_u64(PA(target + i * 8), pending)


@resident
def set_enable(vm: Vm, index: u64, others: u64) -> Outcome:
    """Set hardware's EnableLPIs once all of L1's tables have been taken over."""
    gic = gic_of(vm)
    redistributor = gic.redistributors[index]
    taken = redistributor.taken
    pages = property_pages(redistributor)
    if taken < pages:
        take_properties(vm, index, taken)
    else:
        take_pending(vm, index, u64(taken - pages))
    redistributor.taken = u64(taken + 1)
    if redistributor.taken < u64(pages + MAX_PENDING_BYTES // PAGE_BYTES):
        return Outcome.RESUME
    redistributor.taken = 0
    frame = redistributor.frame
    bits = u64(lpi_bits(redistributor) - 1)
    write_long_register(
        u64(frame + GICR_PROPBASER.offset),
        properties_of(gic) | OWN_PROPBASER | GICR_PROPBASER.IDbits.put(bits),
    )
    clear_pending(vm, redistributor)
    own = pending_of(gic, index) | OWN_PENDBASER | redistributor.pendbaser & PTZ
    write_long_register(u64(frame + GICR_PENDBASER.offset), own)
    dsb_sy()
    write_register(u64(frame + GICR_CTLR.offset), others | ENABLE)
    return Outcome.SKIP


@resident
def clear_enable(vm: Vm, index: u64, others: u64) -> None:
    """Clear hardware's EnableLPIs; if it lets itself be cleared, L1 gets the pending bits."""
    control = u64(gic_of(vm).redistributors[index].frame + GICR_CTLR.offset)
    write_register(control, others)
    for _ in range(RWP_PATIENCE):
        if read_register(control) & GICR_CTLR.RWP.mask == 0:
            break
    dsb_sy()
    if read_register(control) & ENABLE == 0:
        return_pending(vm, index)


@resident
def write_ctlr(vm: Vm, index: u64, value: u64) -> Outcome:
    """Write GICR_CTLR; RESUME if EnableLPIs is being set and more pages are to be taken over."""
    redistributor = gic_of(vm).redistributors[index]
    control = u64(redistributor.frame + GICR_CTLR.offset)
    others = value & WRITABLE_CTLR
    enabled = read_register(control) & ENABLE
    has_lpis = read_long_register(u64(redistributor.frame + GICR_TYPER.offset)) & (
        GICR_TYPER.PLPIS.mask
    )
    if value & ENABLE == 0:
        redistributor.taken = 0
        if enabled != 0:
            clear_enable(vm, index, others)
            return Outcome.SKIP
    elif enabled == 0 and has_lpis != 0:
        return set_enable(vm, index, others)
    write_register(control, others | enabled)
    return Outcome.SKIP


@resident
def read(vm: Vm, index: u64, offset: u64, size: u64) -> u64:
    """Read of the frame of RD_base, four or eight bytes."""
    redistributor = gic_of(vm).redistributors[index]
    register = long_register_of(offset)
    address = u64(redistributor.frame + offset)
    value = u64(0)
    if register == GICR_TYPER.offset:
        typer = read_long_register(u64(redistributor.frame + register)) & ~HIDDEN_TYPER
        value = part(typer, offset, size)
    elif register == GICR_PROPBASER.offset:
        value = part(redistributor.propbaser, offset, size)
    elif register == GICR_PENDBASER.offset:
        value = part(redistributor.pendbaser & ~PTZ, offset, size)
    elif size == 4:
        if offset == GICR_CTLR.offset:
            value = read_register(address) & SHOWN_CTLR
        elif offset in PASSED or offset >= ID_REGISTERS:
            value = read_register(address)
    return value


PASSED = (GICR_IIDR.offset, GICR_STATUSR.offset, GICR_WAKER.offset)


@resident
def write(vm: Vm, index: u64, offset: u64, size: u64, value: u64) -> Outcome:
    """Write to the frame of RD_base, four or eight bytes; what is not writable ignores it."""
    redistributor = gic_of(vm).redistributors[index]
    register = long_register_of(offset)
    if register == GICR_PROPBASER.offset:
        new = with_part(redistributor.propbaser, offset, size, value)
        redistributor.propbaser = new & WRITABLE_PROPBASER
        redistributor.taken = 0
    elif register == GICR_PENDBASER.offset:
        new = with_part(redistributor.pendbaser, offset, size, value)
        redistributor.pendbaser = new & WRITABLE_PENDBASER
        redistributor.taken = 0
    elif size == 4:
        if offset == GICR_CTLR.offset:
            return write_ctlr(vm, index, value)
        if offset in (GICR_STATUSR.offset, GICR_WAKER.offset):
            write_register(u64(redistributor.frame + offset), value)
    return Outcome.SKIP
