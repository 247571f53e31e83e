"""What L0 keeps about the ITS and the LPIs, and the tables that it gives to hardware.

All of this lies in one block of L0's memory (`layout.GIC_OFFSET`): the bookkeeping first, then the
tables that hardware reads and writes by itself. L1's own tables and command queue stay in L1's
memory. L0 records their addresses, but never gives hardware an address that L1 chose.
"""

from vel2.arch.bits import Field, Layout
from vel2.arch.gicv3 import BASERS
from vel2.hyp import layout
from vel2.hyp.state import MAX_REDISTRIBUTORS, Lock, Vm
from vel2.lang import Struct, array, at, inline, nested, scalar, u32, u64

__all__ = (
    "COLLECTION_BITS",
    "EVENT_BITS",
    "FREE",
    "ITT_BYTES",
    "MAPPED",
    "MAX_COLLECTIONS",
    "MAX_DEVICES",
    "MAX_EVENTS",
    "STALE",
    "Event",
    "Gic",
    "Redistributor",
    "gic_of",
    "is_l1_page",
    "itt_of",
    "pending_of",
    "properties_of",
)

MAX_DEVICES = 64
"""DeviceIDs that can be mapped at the same time."""
EVENT_BITS = 8
MAX_EVENTS = 1 << EVENT_BITS
"""Of one device."""
COLLECTION_BITS = 6
MAX_COLLECTIONS = 1 << COLLECTION_BITS
ITT_ENTRY_MAX_BYTES = 16
"""GITS_TYPER.ITT_entry_size has four bits."""
ITT_BYTES = MAX_EVENTS * ITT_ENTRY_MAX_BYTES

FREE = 0
MAPPED = 1
STALE = 2
"""L1 has taken the table away that the entry was in; hardware still has to be told."""


class Event(Layout, width=32):
    """What an event of a device is mapped to."""

    VALID = Field(31)
    ICID = Field(30, 16)
    INTID = Field(15, 0)


class Device(Struct):
    """A DeviceID that L1 has mapped, with a table of its events in hardware's form beside it."""

    state = scalar(u64)
    id = scalar(u64)
    event_count = scalar(u64)
    events = array(u32, MAX_EVENTS)
    """Each an `Event`, or 0."""


class Collection(Struct):
    """A collection of LPIs."""

    state = scalar(u64)
    redistributor = scalar(u64)
    """Index in `Gic.redistributors`."""


class Redistributor(Struct):
    """What L1 has told one redistributor about its LPIs."""

    frame = scalar(u64)
    """RD_base."""
    processor = scalar(u64)
    """GICR_TYPER.Processor_Number, by which L1's commands name it."""
    propbaser = scalar(u64)
    pendbaser = scalar(u64)
    """Of L1, with PTZ as written."""
    taken = scalar(u64)
    """Pages of L1's tables that have been taken over, while EnableLPIs is being set."""


class Gic(Struct):
    """The bookkeeping for the machine's one ITS and all redistributors.

    `its.init` makes it on the first pcpu. From then on it is under `lock`, with the registers that
    L0 emulates: whoever answers an access of a guest to them holds it (`mmio`).
    """

    lock = nested(Lock)
    control = scalar(u64)
    """Address of the ITS's control frame, 0 if there is none."""
    typer = scalar(u64)
    """GITS_TYPER as L1 sees it."""
    takes_addresses = scalar(u64)
    """Hardware's GITS_TYPER.PTA: commands name a redistributor by its address."""
    base = scalar(u64)
    """Address of the block that this begins."""
    redistributor_count = scalar(u64)
    redistributors = array(Redistributor, MAX_REDISTRIBUTORS)
    cbaser = scalar(u64)
    cwriter = scalar(u64)
    creadr = scalar(u64)
    basers = array(u64, BASERS)
    command = array(u64, 4)
    """L1's command in work: read once, so that nobody can change it after it was checked."""
    page = scalar(u64)
    """The next page of L1's properties that an INVALL in work takes over."""
    unfinished = scalar(u64)
    """The command at GITS_CREADR has been given to hardware, which has not said that it is done."""
    hardware_writer = scalar(u64)
    """What hardware's GITS_CWRITER holds."""
    stale = scalar(u64)
    """There may be devices or collections that are `STALE`."""
    refused = scalar(u64)
    """Commands that were ignored: wrong ones, and those beyond a limit of this ITS."""
    collections = array(Collection, MAX_COLLECTIONS)
    devices = array(Device, MAX_DEVICES)


@inline
def gic_of(vm: Vm) -> Gic:
    """Give the bookkeeping of a VM's GIC."""
    return at(Gic, vm.config.gic)


@inline
def itt_of(gic: Gic, slot: u64) -> u64:
    """Give the address of the interrupt translation table of `Gic.devices[slot]`."""
    return u64(gic.base + layout.ITTS_IN_GIC + slot * ITT_BYTES)


@inline
def properties_of(gic: Gic) -> u64:
    """Give the address of the LPI Configuration table that hardware has."""
    return u64(gic.base + layout.PROPERTIES_IN_GIC)


@inline
def pending_of(gic: Gic, index: u64) -> u64:
    """Give the address of the LPI Pending table that redistributor `index` has."""
    return u64(gic.base + layout.PENDING_IN_GIC + index * layout.PENDING_BYTES)


@inline
def is_l1_page(vm: Vm, address: u64, size: u64) -> bool:
    """Whether `size` bytes at an address that is aligned to them are L1's RAM."""
    return (
        address >= vm.config.ram_base
        and address < vm.config.ram_end
        and u64(vm.config.ram_end - address) >= size
    )
