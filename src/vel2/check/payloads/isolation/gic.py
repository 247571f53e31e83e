"""The part of `isolation` that L1 does through the GIC, which reads and writes memory by itself.

Each attack aims a table or the queue of the ITS, or a table of a redistributor, at memory that is
not L1's. The GIC may do with it what it likes: at real EL2 nothing is at the target, and the ITS
may stall or not. So the payload requires only that nothing of the target's contents shows, neither
an interrupt nor the canary. The host then examines L0's memory.
"""

from vel2.arch import sysregs as sr
from vel2.arch.gicv3 import FIRST_LPI, GITS_BASER, GITS_CBASER, Command
from vel2.check.payloads.layout import PAGE_BYTES, Parameters, State
from vel2.check.payloads.library import lpi as gic
from vel2.check.payloads.library.checks import begin, end, expect
from vel2.check.payloads.library.faults import block_of
from vel2.check.payloads.library.gic import SPURIOUS, gic_init
from vel2.lang import PA, bytes_address, isb, mrs, msr, resident, store_u64, u64
from vel2.runtime.device import write_long

ENTRY_BYTES = 8
"""Of QEMU's device and collection tables."""
ALL_ENABLED = 0x0101_0101_0101_0101
ITT_ALIGN = 0xFF
PENDING_ALIGN = 0xFFFF
DEVICE = 3
EVENTS_SIZE = 4
EVENT = 2


@resident
def expect_no_interrupt(state: State) -> None:
    """Acknowledge several times: nothing may be pending."""
    for _ in range(4):
        isb()
        intid = mrs(sr.ICC_IAR1_EL1)
        expect(state, bytes_address(b"intid\0"), intid, SPURIOUS)
        if intid != SPURIOUS:
            msr(sr.ICC_EOIR1_EL1, intid)


@resident
def own_tables() -> None:
    """Begin with an ITS that uses the payload's own tables."""
    gic.enable_its(gic.DEVICES, gic.COLLECTIONS, gic.QUEUE)


@resident
def device_table(state: State, target: u64) -> None:
    """Let MAPD write a device table entry over a target: the ITT's address makes a descriptor."""
    begin(state, bytes_address(b"its-device-table\0"), target)
    page = block_of(target, 3)
    gic.enable_its(page, gic.COLLECTIONS, gic.QUEUE)
    gic.map_device(u64(target - page) // ENTRY_BYTES, EVENTS_SIZE, gic.ITT)
    own_tables()
    end(state)


@resident
def indirect_table(state: State, target: u64) -> None:
    """Let MAPD do so through a first-level table of the payload's own."""
    begin(state, bytes_address(b"its-indirect-table\0"), target)
    page = block_of(target, 3)
    gic.clear(gic.DEVICES, PAGE_BYTES)
    store_u64(PA(gic.DEVICES), page | GITS_BASER.Valid.mask)
    gic.enable_its(gic.DEVICES | GITS_BASER.Indirect.mask, gic.COLLECTIONS, gic.QUEUE)
    gic.map_device(u64(target - page) // ENTRY_BYTES, EVENTS_SIZE, gic.ITT)
    gic.clear(gic.DEVICES, PAGE_BYTES)
    own_tables()
    end(state)


@resident
def collection_table(state: State, target: u64) -> None:
    """Let MAPC write a collection table entry over a target."""
    begin(state, bytes_address(b"its-collection-table\0"), target)
    page = block_of(target, 3)
    gic.enable_its(gic.DEVICES, page, gic.QUEUE)
    gic.map_collection(u64(target - page) // ENTRY_BYTES)
    own_tables()
    end(state)


@resident
def translation_table(state: State, target: u64) -> None:
    """Let MAPTI and DISCARD write into an ITT at a target."""
    begin(state, bytes_address(b"its-translation-table\0"), target)
    own_tables()
    gic.map_collection(0)
    gic.map_device(DEVICE, EVENTS_SIZE, target & ~u64(ITT_ALIGN))
    gic.map_event(DEVICE, EVENT, FIRST_LPI, 0)
    gic.with_event(Command.DISCARD, DEVICE, EVENT)
    gic.map_event(DEVICE, EVENT, FIRST_LPI, 0)
    own_tables()
    end(state)


@resident
def command_queue(state: State, target: u64) -> None:
    """Let the ITS read commands from a target."""
    begin(state, bytes_address(b"its-queue\0"), target)
    gic.disable_its()
    write_long(gic.GITS + GITS_CBASER.offset, block_of(target, 3) | gic.ONE_PAGE_QUEUE)
    gic.enable_its(gic.DEVICES, gic.COLLECTIONS, block_of(target, 3))
    gic.command(0, 0, 0)
    own_tables()
    end(state)


@resident
def pending_table(state: State, target: u64) -> None:
    """Turn a target's set bits into interrupts, and acknowledge them, which clears the bits."""
    begin(state, bytes_address(b"lpi-pending-table\0"), target)
    for i in range(gic.PROPERTIES_BYTES // 8):
        store_u64(PA(gic.PROPERTIES + i * 8), ALL_ENABLED)
    gic.enable_lpis(gic.PROPERTIES, target & ~u64(PENDING_ALIGN), 0)
    expect_no_interrupt(state)
    gic.disable_lpis()
    end(state)


@resident
def property_table(state: State, target: u64) -> None:
    """Learn a target's bytes: let all LPIs pend, and see which of them it enables."""
    begin(state, bytes_address(b"lpi-property-table\0"), target)
    for i in range(gic.PENDING_BYTES // 8):
        store_u64(PA(gic.PENDING + i * 8), (1 << 64) - 1)
    gic.enable_lpis(block_of(target, 3), gic.PENDING, 0)
    expect_no_interrupt(state)
    gic.disable_lpis()
    gic.clear(gic.PENDING, gic.PENDING_BYTES)
    end(state)


@resident
def attempts_by_gic(state: State, parameters: Parameters) -> None:
    """Aim everything the GIC has at each target."""
    gic_init()
    gic.clear(gic.DEVICES, PAGE_BYTES)
    gic.clear(gic.COLLECTIONS, PAGE_BYTES)
    for i in range(parameters.target_count):
        target = parameters.targets[i]
        device_table(state, target)
        indirect_table(state, target)
        collection_table(state, target)
        translation_table(state, target)
        command_queue(state, target)
        pending_table(state, target)
        property_table(state, target)
    gic.disable_its()
