"""The commands of an ITS (IHI 0069, chapter 5), checked against what L1 has mapped, and translated.

L0 tracks the effect of every command: which DeviceIDs are mapped, what each of their events is
mapped to, and where each collection goes. The tables themselves belong to hardware and lie in L0's
memory, in a format of hardware's own; an ITT of L1's is never touched. Everything that a command
names is looked up here first, so hardware only ever gets valid commands.

A DeviceID gets one of `MAX_DEVICES` places, each with an ITT. L1 reads in GITS_TYPER how many
EventIDs and collections there are, but nothing tells it how few places there are. A MAPD that finds
no free place is ignored, like any other invalid command.
"""

from vel2.arch.gicv3 import (
    FIRST_LPI,
    GITS_BASER,
    GITS_TYPER,
    ITS_DW0,
    ITS_DW1,
    ITS_DW2,
    MAPD_DW1,
    MAPD_DW2,
    MAX_LPI_BITS,
    MOVALL_DW3,
    Command,
)
from vel2.hyp import lpi
from vel2.hyp.gicstate import (
    FREE,
    ITT_BYTES,
    MAPPED,
    MAX_COLLECTIONS,
    MAX_DEVICES,
    MAX_EVENTS,
    STALE,
    Event,
    Gic,
    itt_of,
)
from vel2.hyp.its_submit import submit
from vel2.hyp.state import MAX_REDISTRIBUTORS, Vm
from vel2.lang import PA, U64_MAX, dsb_sy, inline, resident, store_u64, u32, u64

__all__ = (
    "COLLECTIONS_BASER",
    "DEVICES_BASER",
    "execute",
    "forget_one",
    "forget_table",
    "map_event",
)

NONE = U64_MAX
DEVICES_BASER = 0
COLLECTIONS_BASER = 1
"""Which of L1's GITS_BASER<n> stands for which table."""


@inline
def command_for(command: u64, device_id: u64) -> u64:
    """Compose the first doubleword."""
    return u64(ITS_DW0.Command.put(command) | ITS_DW0.DeviceID.put(device_id))


@resident
def find_device(gic: Gic, device_id: u64) -> u64:
    """Give the place of a DeviceID that L1 has mapped, or NONE."""
    for slot in range(MAX_DEVICES):
        if gic.devices[slot].state == MAPPED and gic.devices[slot].id == device_id:
            return slot
    return NONE


@resident
def find_free(gic: Gic) -> u64:
    """Give a place that no DeviceID has, or NONE."""
    for slot in range(MAX_DEVICES):
        if gic.devices[slot].state == FREE:
            return slot
    return NONE


@resident
def find_redistributor(gic: Gic, rdbase: u64) -> u64:
    """Give the index of the redistributor that L1 means by a processor number, or NONE."""
    for index in range(MAX_REDISTRIBUTORS):
        if index < gic.redistributor_count and gic.redistributors[index].processor == rdbase:
            return index
    return NONE


@inline
def is_collection(gic: Gic, icid: u64) -> bool:
    """Whether L1 has mapped a collection."""
    return icid < MAX_COLLECTIONS and gic.collections[icid].state == MAPPED


@inline
def rdbase_of(gic: Gic, index: u64) -> u64:
    """Give the RDbase field by which hardware's commands name a redistributor."""
    if gic.takes_addresses != 0:
        return ITS_DW2.RDbase.put(gic.redistributors[index].frame >> ITS_DW2.RDbase.lsb)
    return ITS_DW2.RDbase.put(gic.redistributors[index].processor)


@inline
def refuse(gic: Gic) -> bool:
    """Ignore L1's command."""
    gic.refused = u64(gic.refused + 1)
    return True


@resident
def unmap_device(gic: Gic, slot: u64) -> None:
    """Take a device from hardware, and free its place."""
    submit(gic, command_for(Command.MAPD, gic.devices[slot].id), 0, 0, 0)
    gic.devices[slot].state = FREE


@resident
def forget_one(gic: Gic) -> None:
    """Take one device or collection from hardware whose table L1 has taken away."""
    for slot in range(MAX_DEVICES):
        if gic.devices[slot].state == STALE:
            unmap_device(gic, slot)
            return
    for icid in range(MAX_COLLECTIONS):
        if gic.collections[icid].state == STALE:
            submit(gic, ITS_DW0.Command.put(Command.MAPC), 0, icid, 0)
            gic.collections[icid].state = FREE
            return
    gic.stale = 0


@resident
def forget_table(gic: Gic, number: u64) -> None:
    """Note that L1 has given a table another address: what the old one held is gone."""
    gic.stale = 1
    if number == DEVICES_BASER:
        for slot in range(MAX_DEVICES):
            if gic.devices[slot].state == MAPPED:
                gic.devices[slot].state = STALE
    elif number == COLLECTIONS_BASER:
        for icid in range(MAX_COLLECTIONS):
            if gic.collections[icid].state == MAPPED:
                gic.collections[icid].state = STALE


@resident
def map_device(gic: Gic, device_id: u64) -> bool:
    """MAPD. A device that is mapped is unmapped first, and then mapped by the next step."""
    slot = find_device(gic, device_id)
    valid = gic.command[2] & MAPD_DW2.V.mask
    size = MAPD_DW1.Size.get(gic.command[1])
    if valid != 0 and (
        size > GITS_TYPER.ID_bits.get(gic.typer)
        or device_id >> u64(GITS_TYPER.Devbits.get(gic.typer) + 1) != 0
        or gic.basers[DEVICES_BASER] & GITS_BASER.Valid.mask == 0
    ):
        return refuse(gic)
    if slot != NONE:
        unmap_device(gic, slot)
        return valid == 0
    if valid == 0:
        return True
    slot = find_free(gic)
    if slot == NONE:
        return refuse(gic)
    device = gic.devices[slot]
    device.state = MAPPED
    device.id = device_id
    device.event_count = u64(1 << u64(size + 1))
    for event in range(MAX_EVENTS):
        device.events[event] = u32(0)
    for i in range(ITT_BYTES // 8):
        store_u64(PA(itt_of(gic, slot) + i * 8), 0)
    dsb_sy()
    submit(gic, command_for(Command.MAPD, device_id), size, MAPD_DW2.V.mask | itt_of(gic, slot), 0)
    return True


@resident
def map_collection(gic: Gic) -> bool:
    """MAPC."""
    icid = ITS_DW2.ICID.get(gic.command[2])
    valid = gic.command[2] & ITS_DW2.V.mask
    index = find_redistributor(gic, ITS_DW2.RDbase.get(gic.command[2]))
    if icid >= MAX_COLLECTIONS or (
        valid != 0 and (index == NONE or gic.basers[COLLECTIONS_BASER] & GITS_BASER.Valid.mask == 0)
    ):
        return refuse(gic)
    third = icid
    if valid != 0:
        gic.collections[icid].redistributor = index
        gic.collections[icid].state = MAPPED
        third = icid | ITS_DW2.V.mask | rdbase_of(gic, index)
    else:
        gic.collections[icid].state = FREE
    submit(gic, ITS_DW0.Command.put(Command.MAPC), 0, third, 0)
    return True


@resident
def map_event(vm: Vm, gic: Gic, slot: u64, intid: u64) -> bool:
    """MAPTI and MAPI, for a device that is mapped."""
    event = ITS_DW1.EventID.get(gic.command[1])
    icid = ITS_DW2.ICID.get(gic.command[2])
    device = gic.devices[slot]
    if (
        event >= device.event_count
        or icid >= MAX_COLLECTIONS
        or intid < FIRST_LPI
        or intid >> MAX_LPI_BITS != 0
    ):
        return refuse(gic)
    device.events[event] = u32(Event.VALID.mask | Event.ICID.put(icid) | intid)
    if is_collection(gic, icid):
        # Nothing says that L1 must, but software that has mapped an LPI may think it fresh.
        lpi.take_property(vm, gic.collections[icid].redistributor, intid)
        dsb_sy()
    second = u64(event | ITS_DW1.pINTID.put(intid))
    submit(gic, command_for(Command.MAPTI, device.id), second, icid, 0)
    return True


@inline
def event_of(gic: Gic, slot: u64, event: u64) -> u64:
    """Give what an event is mapped to, or 0."""
    if event >= gic.devices[slot].event_count:
        return 0
    return u64(gic.devices[slot].events[event])


@inline
def icid_of(mapping: u64) -> u64:
    """Give the collection of an event."""
    return Event.ICID.get(mapping)


@resident
def with_event(vm: Vm, gic: Gic, slot: u64, command: u64) -> bool:
    """Do a command about an event that is mapped, and whose collection is: all the others."""
    event = ITS_DW1.EventID.get(gic.command[1])
    mapping = event_of(gic, slot, event)
    if mapping == 0 or not is_collection(gic, icid_of(mapping)):
        return refuse(gic)
    device = gic.devices[slot]
    third = u64(0)
    if command == Command.MOVI:
        third = ITS_DW2.ICID.get(gic.command[2])
        if not is_collection(gic, third):
            return refuse(gic)
        device.events[event] = u32(Event.ICID.set(mapping, third))
    elif command == Command.DISCARD:
        device.events[event] = u32(0)
    elif command == Command.INV:
        index = gic.collections[icid_of(mapping)].redistributor
        lpi.take_property(vm, index, Event.INTID.get(mapping))
        dsb_sy()
    submit(gic, u64(command | ITS_DW0.DeviceID.put(device.id)), event, third, 0)
    return True


@resident
def invalidate_all(vm: Vm, gic: Gic) -> bool:
    """INVALL: take over all properties, a page at a step, and then let hardware read them."""
    icid = ITS_DW2.ICID.get(gic.command[2])
    if not is_collection(gic, icid):
        return refuse(gic)
    if lpi.take_properties(vm, gic.collections[icid].redistributor, gic.page):
        gic.page = u64(gic.page + 1)
        return False
    gic.page = 0
    dsb_sy()
    submit(gic, ITS_DW0.Command.put(Command.INVALL), 0, icid, 0)
    return True


@resident
def with_redistributors(gic: Gic, command: u64) -> bool:
    """SYNC and MOVALL."""
    first = find_redistributor(gic, ITS_DW2.RDbase.get(gic.command[2]))
    second = find_redistributor(gic, MOVALL_DW3.RDbase2.get(gic.command[3]))
    if first == NONE or (command == Command.MOVALL and second == NONE):
        return refuse(gic)
    fourth = u64(0)
    if command == Command.MOVALL:
        fourth = rdbase_of(gic, second)
    submit(gic, command, 0, rdbase_of(gic, first), fourth)
    return True


OF_EVENTS = (Command.MOVI, Command.INT, Command.CLEAR, Command.INV, Command.DISCARD)


@resident
def execute(vm: Vm, gic: Gic) -> bool:
    """Do L1's command, which is in `Gic.command`; False if a part of it is left for next time."""
    command = ITS_DW0.Command.get(gic.command[0])
    device_id = ITS_DW0.DeviceID.get(gic.command[0])
    if command == Command.MAPD:
        return map_device(gic, device_id)
    if command == Command.MAPC:
        return map_collection(gic)
    if command == Command.INVALL:
        return invalidate_all(vm, gic)
    if command in (Command.SYNC, Command.MOVALL):
        return with_redistributors(gic, command)
    slot = find_device(gic, device_id)
    if slot == NONE:
        return refuse(gic)
    if command == Command.MAPTI:
        return map_event(vm, gic, slot, ITS_DW1.pINTID.get(gic.command[1]))
    if command == Command.MAPI:
        return map_event(vm, gic, slot, ITS_DW1.EventID.get(gic.command[1]))
    if command in OF_EVENTS:
        return with_event(vm, gic, slot, command)
    return refuse(gic)
