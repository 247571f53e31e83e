"""The part of `interrupts` about LPIs: what commands to the ITS and tables in memory do.

LPIs are acknowledged with interrupts masked, except where the line is about where one arrives.
"""

from vel2.arch import sysregs as sr
from vel2.arch.esr import FSC
from vel2.arch.gicv3 import (
    COMMAND_BYTES,
    FIRST_LPI,
    GICR_CTLR,
    GICR_PENDBASER,
    GICR_PROPBASER,
    GICR_TYPER,
    GITS_BASER,
    GITS_CBASER,
    GITS_CREADR,
    GITS_CTLR,
    GITS_CWRITER,
    ID_REGISTERS,
    Command,
    LpiProperty,
    TableType,
)
from vel2.check.payloads.layout import PAGE_BYTES, State
from vel2.check.payloads.library import lpi as gic
from vel2.check.payloads.library.assembly import CURRENT_SPX_IRQ, CURRENT_SPX_SYNC, HVC_DONE
from vel2.check.payloads.library.checks import NO_SUBJECT, begin, end, expect
from vel2.check.payloads.library.controls import HCR_HOST, invalidate_all, set_hcr
from vel2.check.payloads.library.faults import ALIAS, READ_SAME
from vel2.check.payloads.library.gic import (
    GICR,
    HCR_IRQ,
    SPURIOUS,
    acknowledge,
    end_interrupt,
    interrupt_l2,
)
from vel2.check.payloads.library.guest import enter_guest, is_hvc, probe
from vel2.check.payloads.library.tables import S2_NORMAL, map_to
from vel2.lang import (
    PA,
    bytes_address,
    dsb_sy,
    isb,
    load_u8,
    mrs,
    resident,
    store_u8,
    store_u64,
    symbol_address,
    u8,
    u64,
)
from vel2.runtime.device import read_byte, read_long, read_word, write_byte, write_long, write_word

DEVICE = 8
DEVICE_SIZE = 4
"""32 events."""
CPU_DEVICE = 0
"""The device that QEMU assumes when a CPU itself writes to GITS_TRANSLATER."""
TRANSLATER = gic.GITS + 0x1_0040
LPI = FIRST_LPI + 37
OTHER_LPI = FIRST_LPI + 5000
EVENT, OTHER_EVENT = 3, 31
URGENT, PLAIN = 0x40, 0xA0
ENABLE = LpiProperty.Enable.mask
HOLE = 0x3F00_0000
"""Nothing of the board is there."""
MANY = 100
PIDR2 = ID_REGISTERS + 0x18
ARCHITECTURE_SHIFT, GICV3 = 4, 3
CBASER = gic.GITS + GITS_CBASER.offset
PROPBASER = GICR + GICR_PROPBASER.offset
PENDBASER = GICR + GICR_PENDBASER.offset
EXTERNAL = READ_SAME | FSC.SYNC_EXTERNAL


@resident
def set_property(intid: u64, value: u64) -> None:
    """Write an LPI's property; the GIC need not look before INV."""
    store_u8(PA(gic.PROPERTIES + intid - FIRST_LPI), u8(value & 0xFF))
    dsb_sy()


@resident
def pending_bit(intid: u64) -> u64:
    """Give an LPI's bit in the table in memory."""
    return load_u8(PA(gic.PENDING + (intid >> 3))) >> (intid & 7) & 1


@resident
def expect_none(state: State, what: u64) -> None:
    """Require that no interrupt is pending."""
    isb()
    expect(state, what, mrs(sr.ICC_IAR1_EL1), SPURIOUS)


@resident
def expect_lpi(state: State, what: u64, intid: u64, priority: u64) -> None:
    """Acknowledge an LPI, which must have this priority, and end it."""
    isb()
    expect(state, what, mrs(sr.ICC_IAR1_EL1), intid)
    expect(state, what, mrs(sr.ICC_RPR_EL1) & 0xFF, priority)
    end_interrupt(intid)


@resident
def registers(state: State) -> None:
    """Check what the registers hold before anything is enabled, and after they are written."""
    begin(state, bytes_address(b"its-registers\0"), NO_SUBJECT)
    gic.disable_its()
    control = read_word(gic.GITS + GITS_CTLR.offset)
    expect(state, bytes_address(b"ctlr\0"), control, GITS_CTLR.Quiescent.mask)
    for number, kind in ((0, TableType.DEVICES), (1, TableType.COLLECTIONS), (2, 0)):
        place = gic.GITS + GITS_BASER.offset + 8 * number
        write_long(place, 0)
        expect(state, bytes_address(b"type\0"), GITS_BASER.Type.get(read_long(place)), kind)
    queue = u64(gic.QUEUE | gic.ONE_PAGE_QUEUE)
    write_word(CBASER, queue & 0xFFFF_FFFF)
    write_word(CBASER + 4, queue >> 32)
    expect(state, bytes_address(b"cbaser\0"), read_long(CBASER), queue)
    expect(state, bytes_address(b"creadr\0"), read_long(gic.GITS + GITS_CREADR.offset), 0)
    for frame in (gic.GITS, GICR):
        revision = read_word(frame + PIDR2) >> ARCHITECTURE_SHIFT
        expect(state, bytes_address(b"pidr2\0"), revision & 15, GICV3)
    end(state)


@resident
def redistributor_registers(state: State) -> None:
    """Check the redistributor's registers, also by halves, and accesses that are too narrow."""
    begin(state, bytes_address(b"lpi-registers\0"), NO_SUBJECT)
    typer = read_long(GICR + GICR_TYPER.offset)
    expect(state, bytes_address(b"plpis\0"), GICR_TYPER.PLPIS.get(typer), 1)
    upper = read_word(GICR + GICR_TYPER.offset + 4)
    expect(state, bytes_address(b"typer-high\0"), upper, typer >> 32)
    properties = u64(gic.PROPERTIES | gic.ATTRIBUTES | GICR_PROPBASER.IDbits.put(13))
    write_word(PROPBASER, properties & 0xFFFF_FFFF)
    write_word(PROPBASER + 4, properties >> 32)
    expect(state, bytes_address(b"propbaser\0"), read_long(PROPBASER), properties)
    pending = u64(gic.PENDING | gic.ATTRIBUTES)
    write_long(PENDBASER, pending)
    expect(state, bytes_address(b"pendbaser\0"), read_long(PENDBASER), pending)
    expect(state, bytes_address(b"pendbaser-low\0"), read_word(PENDBASER), pending & 0xFFFF_FFFF)
    expect(state, bytes_address(b"byte\0"), read_byte(PENDBASER + 2), 0)
    write_byte(PENDBASER + 2, 0xFF)
    expect(state, bytes_address(b"pendbaser\0"), read_long(PENDBASER), pending)
    end(state)


@resident
def narrow_access(state: State) -> None:
    """Let EL2 read a byte of the ITS, which allows only words and doublewords."""
    begin(state, bytes_address(b"its-byte\0"), gic.GITS)
    state.vector = probe(symbol_address("do_read_byte"), gic.GITS, 0)
    expect(state, bytes_address(b"vector\0"), state.vector, CURRENT_SPX_SYNC)
    expect(state, bytes_address(b"esr\0"), state.esr, EXTERNAL)
    expect(state, bytes_address(b"far\0"), state.far, gic.GITS)
    end(state)


@resident
def start(state: State) -> None:
    """Enable ITS and LPIs, and map one device with two events."""
    begin(state, bytes_address(b"its-start\0"), NO_SUBJECT)
    gic.clear(gic.PROPERTIES, gic.PROPERTIES_BYTES)
    gic.clear(gic.PENDING, gic.PENDING_BYTES)
    gic.clear(gic.DEVICES, PAGE_BYTES)
    gic.clear(gic.COLLECTIONS, PAGE_BYTES)
    gic.clear(gic.ITT, PAGE_BYTES)
    gic.enable_lpis(gic.PROPERTIES, gic.PENDING, GICR_PENDBASER.PTZ.mask)
    enabled = read_word(GICR + GICR_CTLR.offset) & GICR_CTLR.EnableLPIs.mask
    expect(state, bytes_address(b"enabled\0"), enabled, GICR_CTLR.EnableLPIs.mask)
    gic.enable_its(gic.DEVICES, gic.COLLECTIONS, gic.QUEUE)
    expect(state, bytes_address(b"mapc\0"), gic.map_collection(0), 1)
    expect(state, bytes_address(b"mapd\0"), gic.map_device(DEVICE, DEVICE_SIZE, gic.ITT), 1)
    expect(state, bytes_address(b"mapti\0"), gic.map_event(DEVICE, EVENT, LPI, 0), 1)
    expect(state, bytes_address(b"mapti\0"), gic.map_event(DEVICE, OTHER_EVENT, OTHER_LPI, 0), 1)
    expect(state, bytes_address(b"sync\0"), gic.command(Command.SYNC, 0, 0), 1)
    end(state)


@resident
def enabled_by_inv(state: State) -> None:
    """Check that an LPI pends while it is disabled, and comes with its priority after INV."""
    begin(state, bytes_address(b"lpi-inv\0"), NO_SUBJECT)
    gic.with_event(Command.INT, DEVICE, EVENT)
    expect_none(state, bytes_address(b"disabled\0"))
    set_property(LPI, PLAIN | ENABLE)
    gic.with_event(Command.INV, DEVICE, EVENT)
    expect_lpi(state, bytes_address(b"enabled\0"), LPI, PLAIN)
    expect_none(state, bytes_address(b"once\0"))
    end(state)


@resident
def arrives_at_el2(state: State) -> None:
    """Let an LPI interrupt EL2."""
    begin(state, bytes_address(b"lpi-el2\0"), NO_SUBJECT)
    gic.with_event(Command.INT, DEVICE, EVENT)
    state.vector = probe(symbol_address("el2_wait"), 0, 0)
    expect(state, bytes_address(b"vector\0"), state.vector, CURRENT_SPX_IRQ)
    acknowledge(state, LPI)
    end_interrupt(LPI)
    end(state)


@resident
def by_priority(state: State) -> None:
    """Let two LPIs pend: the more urgent one is taken first, whichever came first."""
    begin(state, bytes_address(b"lpi-priority\0"), NO_SUBJECT)
    set_property(OTHER_LPI, URGENT | ENABLE)
    expect(state, bytes_address(b"invall\0"), gic.command(Command.INVALL, 0, 0), 1)
    gic.with_event(Command.INT, DEVICE, EVENT)
    gic.with_event(Command.INT, DEVICE, OTHER_EVENT)
    expect_lpi(state, bytes_address(b"urgent\0"), OTHER_LPI, URGENT)
    expect_lpi(state, bytes_address(b"plain\0"), LPI, PLAIN)
    set_property(OTHER_LPI, PLAIN | ENABLE)
    gic.with_event(Command.INV, DEVICE, OTHER_EVENT)
    gic.with_event(Command.INT, DEVICE, OTHER_EVENT)
    gic.with_event(Command.INT, DEVICE, EVENT)
    expect_lpi(state, bytes_address(b"lower\0"), LPI, PLAIN)
    expect_lpi(state, bytes_address(b"higher\0"), OTHER_LPI, PLAIN)
    end(state)


@resident
def taken_back(state: State) -> None:
    """Check CLEAR, DISCARD, MOVI, and an event that is mapped to another LPI."""
    begin(state, bytes_address(b"lpi-clear\0"), NO_SUBJECT)
    gic.with_event(Command.INT, DEVICE, EVENT)
    gic.with_event(Command.CLEAR, DEVICE, EVENT)
    expect_none(state, bytes_address(b"clear\0"))
    gic.with_event(Command.INT, DEVICE, EVENT)
    gic.with_event(Command.DISCARD, DEVICE, EVENT)
    expect_none(state, bytes_address(b"discard\0"))
    gic.with_event(Command.INT, DEVICE, EVENT)
    expect_none(state, bytes_address(b"discarded\0"))
    expect(state, bytes_address(b"mapc\0"), gic.map_collection(1), 1)
    gic.map_event(DEVICE, EVENT, LPI, 0)
    expect(
        state, bytes_address(b"movi\0"), gic.command(gic.about(Command.MOVI, DEVICE), EVENT, 1), 1
    )
    gic.command(Command.MAPC, 0, 0)
    gic.with_event(Command.INT, DEVICE, OTHER_EVENT)
    expect_none(state, bytes_address(b"unmapped\0"))
    gic.with_event(Command.INT, DEVICE, EVENT)
    expect_lpi(state, bytes_address(b"moved\0"), LPI, PLAIN)
    gic.map_collection(0)
    gic.command(gic.about(Command.MOVI, DEVICE), EVENT, 0)
    gic.map_event(DEVICE, OTHER_EVENT, LPI, 0)
    gic.with_event(Command.INT, DEVICE, OTHER_EVENT)
    expect_lpi(state, bytes_address(b"mapped-again\0"), LPI, PLAIN)
    gic.map_event(DEVICE, OTHER_EVENT, OTHER_LPI, 0)
    end(state)


@resident
def wrong_commands(state: State) -> None:
    """Give wrong commands: they have no effect, and the ITS goes on after them."""
    begin(state, bytes_address(b"its-wrong\0"), NO_SUBJECT)
    expect(state, bytes_address(b"size\0"), gic.map_device(DEVICE, 31, gic.ITT), 1)
    expect(state, bytes_address(b"device\0"), gic.with_event(Command.INT, DEVICE + 1, EVENT), 1)
    expect(state, bytes_address(b"event\0"), gic.with_event(Command.INT, DEVICE, 32), 1)
    expect(state, bytes_address(b"intid\0"), gic.map_event(DEVICE, EVENT, FIRST_LPI - 1, 0), 1)
    expect(state, bytes_address(b"high\0"), gic.map_event(DEVICE, EVENT, 1 << gic.LPI_BITS, 0), 1)
    expect(state, bytes_address(b"rdbase\0"), gic.command(Command.MAPC, 0, gic.VALID | 77 << 16), 1)
    expect(state, bytes_address(b"number\0"), gic.command(0xEE, 0, 0), 1)
    expect_none(state, bytes_address(b"none\0"))
    gic.with_event(Command.INT, DEVICE, EVENT)
    expect_lpi(state, bytes_address(b"as-before\0"), LPI, PLAIN)
    end(state)


@resident
def many_commands(state: State) -> None:
    """Give a hundred commands by one store, then more, past the end of the queue."""
    begin(state, bytes_address(b"its-many\0"), NO_SUBJECT)
    for _ in range(2):
        writer = read_long(gic.GITS + GITS_CWRITER.offset) & GITS_CWRITER.Offset.mask
        for i in range(MANY):
            place = u64(gic.QUEUE + writer)
            store_u64(PA(place), gic.about(Command.INT, DEVICE))
            store_u64(PA(place + 8), EVENT)
            if i == MANY - 1:
                store_u64(PA(place + 8), OTHER_EVENT)
            writer = u64(writer + COMMAND_BYTES) & (PAGE_BYTES - 1)
        dsb_sy()
        write_long(gic.GITS + GITS_CWRITER.offset, writer)
        reader = read_long(gic.GITS + GITS_CREADR.offset)
        expect(state, bytes_address(b"creadr\0"), reader, writer)
        expect_lpi(state, bytes_address(b"first\0"), LPI, PLAIN)
        expect_lpi(state, bytes_address(b"last\0"), OTHER_LPI, PLAIN)
        expect_none(state, bytes_address(b"none\0"))
    end(state)


@resident
def message(state: State) -> None:
    """Write to GITS_TRANSLATER, as a device does, while the ITS is enabled and while it is not."""
    begin(state, bytes_address(b"its-message\0"), NO_SUBJECT)
    gic.map_device(CPU_DEVICE, DEVICE_SIZE, gic.ITT + PAGE_BYTES)
    gic.map_event(CPU_DEVICE, OTHER_EVENT, LPI, 0)
    write_word(TRANSLATER, OTHER_EVENT)
    dsb_sy()
    expect_lpi(state, bytes_address(b"enabled\0"), LPI, PLAIN)
    gic.disable_its()
    write_word(TRANSLATER, OTHER_EVENT)
    dsb_sy()
    expect_none(state, bytes_address(b"disabled\0"))
    write_word(gic.GITS + GITS_CTLR.offset, GITS_CTLR.Enabled.mask)
    write_word(TRANSLATER, OTHER_EVENT)
    dsb_sy()
    expect_lpi(state, bytes_address(b"again\0"), LPI, PLAIN)
    end(state)


@resident
def kept_in_memory(state: State) -> None:
    """Clear and set EnableLPIs: pending LPIs are kept in the table in memory and come back."""
    begin(state, bytes_address(b"lpi-pending-table\0"), NO_SUBJECT)
    gic.with_event(Command.INT, DEVICE, EVENT)
    gic.disable_lpis()
    expect_none(state, bytes_address(b"off\0"))
    expect(state, bytes_address(b"bit\0"), pending_bit(LPI), 1)
    expect(state, bytes_address(b"other\0"), pending_bit(OTHER_LPI), 0)
    gic.with_event(Command.INT, DEVICE, OTHER_EVENT)
    store_u8(PA(gic.PENDING + (OTHER_LPI >> 3)), u8(1 << (OTHER_LPI & 7)))
    gic.enable_lpis(gic.PROPERTIES, gic.PENDING, 0)
    expect_lpi(state, bytes_address(b"kept\0"), LPI, PLAIN)
    expect_lpi(state, bytes_address(b"written\0"), OTHER_LPI, PLAIN)
    expect_none(state, bytes_address(b"none\0"))
    gic.disable_lpis()
    expect(state, bytes_address(b"acknowledged\0"), pending_bit(LPI), 0)
    gic.enable_lpis(gic.PROPERTIES, gic.PENDING, GICR_PENDBASER.PTZ.mask)
    end(state)


@resident
def while_l2_runs(state: State, root: u64) -> None:
    """Let an LPI interrupt L2; then let L2 read and write the frames that EL2 maps for it."""
    begin(state, bytes_address(b"lpi-l2\0"), NO_SUBJECT)
    gic.with_event(Command.INT, DEVICE, EVENT)
    interrupt_l2(state)
    acknowledge(state, LPI)
    end_interrupt(LPI)
    end(state)
    begin(state, bytes_address(b"lpi-l2-registers\0"), NO_SUBJECT)
    typer = read_long(GICR + GICR_TYPER.offset)
    map_to(state, root, ALIAS | GICR, 3, GICR, S2_NORMAL)
    invalidate_all()
    expect(state, bytes_address(b"read\0"), l2_read(state, ALIAS | GICR + GICR_TYPER.offset), typer)
    pending = read_long(GICR + GICR_PENDBASER.offset)
    code = symbol_address("guest_write")
    state.vector = enter_guest(state, code, ALIAS | GICR + GICR_PENDBASER.offset, 0)
    written = read_long(GICR + GICR_PENDBASER.offset)
    expect(state, bytes_address(b"written\0"), written, 0)
    write_long(GICR + GICR_PENDBASER.offset, pending)
    set_hcr(HCR_HOST)
    isb()
    expect(state, bytes_address(b"no-stage2\0"), l2_read(state, GICR + GICR_TYPER.offset), typer)
    set_hcr(HCR_IRQ)
    isb()
    end(state)


@resident
def l2_read(state: State, address: u64) -> u64:
    """Let L2's EL1 load eight bytes; give what it got, or all ones."""
    state.vector = enter_guest(state, symbol_address("guest_read"), address, 0)
    if is_hvc(state, HVC_DONE):
        return state.x[1]
    return (1 << 64) - 1


@resident
def stalled(state: State) -> None:
    """Give the ITS a queue where there is no memory: it stalls, or finds nothing to do."""
    begin(state, bytes_address(b"its-stall\0"), HOLE)
    gic.disable_its()
    write_long(gic.GITS + GITS_CBASER.offset, HOLE | gic.ONE_PAGE_QUEUE)
    write_long(gic.GITS + GITS_CWRITER.offset, 0)
    write_word(gic.GITS + GITS_CTLR.offset, GITS_CTLR.Enabled.mask)
    write_long(gic.GITS + GITS_CWRITER.offset, COMMAND_BYTES)
    reader = read_long(gic.GITS + GITS_CREADR.offset)
    if reader != COMMAND_BYTES:
        expect(state, bytes_address(b"creadr\0"), reader, GITS_CREADR.Stalled.mask)
    gic.enable_its(gic.DEVICES, gic.COLLECTIONS, gic.QUEUE)
    gic.with_event(Command.INT, DEVICE, EVENT)
    expect_lpi(state, bytes_address(b"goes-on\0"), LPI, PLAIN)
    end(state)


@resident
def lpis(state: State, root: u64) -> None:
    """Check all of it; `root` is the stage 2 that L2 runs under."""
    registers(state)
    redistributor_registers(state)
    narrow_access(state)
    start(state)
    enabled_by_inv(state)
    arrives_at_el2(state)
    by_priority(state)
    taken_back(state)
    wrong_commands(state)
    many_commands(state)
    message(state)
    kept_in_memory(state)
    while_l2_runs(state, root)
    stalled(state)
    gic.disable_lpis()
    gic.disable_its()
