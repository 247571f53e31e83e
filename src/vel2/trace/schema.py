"""The schema of an event: kinds, columns, units and words. One description for everybody.

An event is `EVENT_BYTES` bytes, in L0's ring, in a file and in a message alike. `Event` declares
the columns once, in the order of memory. From it are made where L0 stores (`hyp.observe` takes
`at`), the decoder (`Event.decode`), the printer, and the columns of Parquet and SQL (`COLUMNS`).

Every event has all columns: what a kind does not use is 0, and `Kind.uses` says what it uses. A
change of anything here that a reader of an old file would misread is a new `VERSION`.
"""

import struct
from dataclasses import dataclass, field, fields
from enum import IntEnum, IntFlag
from typing import Any, Self

__all__ = (
    "COLUMNS",
    "EVENT_BYTES",
    "EVERY",
    "USES",
    "VERSION",
    "Column",
    "Event",
    "Flag",
    "Form",
    "Kind",
    "Place",
    "Result",
    "Vector",
    "column",
    "columns_of",
)

VERSION = 1


class Form(IntEnum):
    """What the number in a column is, and so how it is printed."""

    NUMBER = 0
    NAME = 1
    """One of the column's enumeration."""
    TICKS = 2
    """Of CNTPCT_EL0; the file's header has the frequency."""
    ADDRESS = 3
    """Virtual, of the place it is about: a symbol where one is known."""
    PHYSICAL = 4
    """An IPA or PA."""
    SYNDROME = 5
    """ESR_ELx."""
    PSTATE = 6
    """SPSR_ELx."""
    VALUE = 7
    """Of the register that the event is about."""
    REGISTER = 8
    """A trap key: the register or instruction itself (`arch.bits.TrapKey`)."""
    HCR = 9
    """HCR_EL2."""
    VTTBR = 10
    """VTTBR_EL2: the VMID tells guests of L1 from each other."""


class Kind(IntEnum):
    """What an event is about."""

    TRAP = 1
    """An exception to L0, from `trap.begin` to `trap.deliver`."""
    ERET = 2
    """An ERET inside vEL2 that the vectors did at once; not among `TRAP`."""
    AHEAD = 3
    """An access that would have trapped, done with the trap before it; not among `TRAP`."""
    SWITCH = 4
    """A context switch: `source` ran, `target` runs from now on."""
    FILL = 5
    """A leaf put into the shadow stage 2."""
    UNMAP = 6
    """Leaves taken out of the shadow stage 2."""
    TIMER = 7
    """A timer of L1's guest was enabled when the guest was left."""
    PSCI = 8
    """A call of L1 to the firmware."""


class Vector(IntEnum):
    """Which exception it was: the order of the vectors, as of `hyp.records`."""

    SYNC = 0
    IRQ = 1
    FIQ = 2
    SERROR = 3


class Place(IntEnum):
    """Who ran: a level, and an Exception level as it believes itself to be at."""

    L0 = 0
    L1_EL2 = 1
    """vEL2."""
    L1_EL2_EL0 = 2
    """EL0 of vEL2: of a VHE host's translation regime."""
    L1_EL1 = 3
    """vEL1 with no stage 2 of L1's: an nVHE host's kernel."""
    L1_EL0 = 4
    L2_EL1 = 5
    """vEL1 below a stage 2 of L1's: a guest of L1; a guest's guest looks the same to L0."""
    L2_EL0 = 6
    L2_EL2 = 7
    """vEL1 with L1's HCR_EL2.NV set: a hypervisor that is a guest of L1."""
    L2_EL2_EL0 = 8
    """Its EL0, in its own translation regime."""

    @property
    def level(self) -> str:
        """`L0`, `L1` or `L2`."""
        return self.name[:2]

    @property
    def label(self) -> str:
        """As people write it: `L1 vEL2`, `L2 EL0`."""
        return LABELS[self]


LABELS = {
    Place.L0: "L0 EL2",
    Place.L1_EL2: "L1 vEL2",
    Place.L1_EL2_EL0: "L1 EL0",
    Place.L1_EL1: "L1 vEL1",
    Place.L1_EL0: "L1 vEL1's EL0",
    Place.L2_EL1: "L2 EL1",
    Place.L2_EL0: "L2 EL0",
    Place.L2_EL2: "L2 vEL2",
    Place.L2_EL2_EL0: "L2 vEL2's EL0",
}


class Result(IntEnum):
    """What came of a trap."""

    NONE = 0
    """The event is no trap."""
    RESUMED = 1
    """L0 changed what made it trap: the instruction is executed again."""
    HANDLED = 2
    """L0 did what the instruction does, and went on behind it."""
    FORWARDED = 3
    """An exception to vEL2."""
    INJECTED = 4
    """An exception to the EL1 that ran: in vEL2, vEL2 itself."""
    RETURNED = 5
    """An ERET of vEL2."""


class Flag(IntFlag):
    """Bits of the column `flags`."""

    FAR_VALID = 1 << 0
    IPA_VALID = 1 << 1
    READ = 1 << 2
    """`value` was read from the register of the access; else it was written."""
    HAS_VALUE = 1 << 3
    STEPPED = 1 << 4
    """A software step exception followed the instruction, which L0 has done."""
    HOOKED = 1 << 5
    """A hook decided it, not L0's own handler."""


@dataclass(frozen=True)
class Column:
    """One column of an event.

    :ivar offset, size: bytes, in the event. :ivar names: the enumeration of `Form.NAME`.
    """

    name: str
    offset: int
    size: int
    form: Form
    about: str
    names: type[IntEnum] | None = None


def _column(size: int, form: Form, about: str, names: type[IntEnum] | None = None) -> Any:
    return field(default=0, metadata={"size": size, "form": form, "about": about, "names": names})


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its columns in the order of memory."""

    kind: int = _column(1, Form.NAME, "what it is about", Kind)
    vcpu: int = _column(1, Form.NUMBER, "number of the vCPU")
    vector: int = _column(1, Form.NAME, "which exception", Vector)
    result: int = _column(1, Form.NAME, "what came of it", Result)
    source: int = _column(1, Form.NAME, "who ran", Place)
    target: int = _column(1, Form.NAME, "who runs afterwards", Place)
    flags: int = _column(2, Form.NUMBER, "bits of `Flag`")
    sequence: int = _column(8, Form.NUMBER, "number of the event on its vCPU; a gap is a loss")
    began: int = _column(8, Form.TICKS, "when L0 began with it")
    ended: int = _column(8, Form.TICKS, "when L0 had done it; `ended - began` is its cost")
    pc: int = _column(8, Form.ADDRESS, "ELR_EL2")
    pstate: int = _column(8, Form.PSTATE, "SPSR_EL2")
    esr: int = _column(8, Form.SYNDROME, "ESR_EL2, of a synchronous exception or SError")
    far: int = _column(8, Form.ADDRESS, "FAR_EL2, if FAR_VALID")
    ipa: int = _column(8, Form.PHYSICAL, "the IPA in HPFAR_EL2, if IPA_VALID")
    value: int = _column(8, Form.VALUE, "of the register or call, if HAS_VALUE; see the kind")
    hcr: int = _column(8, Form.HCR, "hardware's HCR_EL2 while `source` ran")
    vttbr: int = _column(8, Form.VTTBR, "L1's VTTBR_EL2: which of its guests it was")
    next_pc: int = _column(8, Form.ADDRESS, "where the guest goes on")
    next_pstate: int = _column(8, Form.PSTATE, "with which PSTATE, as hardware has it")
    syndrome: int = _column(8, Form.SYNDROME, "ESR_ELx that the guest got with an exception")
    detail: int = _column(8, Form.VALUE, "see the kind")

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview, offset: int = 0) -> Self:
        """Take an event from its bytes."""
        return cls(*LAYOUT.unpack_from(data, offset))

    def encode(self) -> bytes:
        """Give its bytes, as L0 would store them."""
        return LAYOUT.pack(*(getattr(self, each.name) for each in COLUMNS))

    @property
    def cost(self) -> int:
        """How long L0 took, in ticks."""
        return self.ended - self.began


def _columns() -> tuple[Column, ...]:
    """Place the columns: the next free byte each, which has to be aligned to the size."""
    found = []
    offset = 0
    for each in fields(Event):
        column = Column(name=each.name, offset=offset, **each.metadata)
        if offset % column.size:
            raise TypeError(f"{column.name} is not aligned to its {column.size} bytes")
        found.append(column)
        offset += column.size
    if offset & (offset - 1):
        raise TypeError(f"an event has {offset} bytes: a ring needs a power of two")
    return tuple(found)


COLUMNS = _columns()
EVENT_BYTES = COLUMNS[-1].offset + COLUMNS[-1].size
LAYOUT = struct.Struct("<" + "".join({1: "B", 2: "H", 8: "Q"}[each.size] for each in COLUMNS))


def column(name: str) -> Column:
    """Give a column by name.

    :raises KeyError: when there is none.
    """
    for each in COLUMNS:
        if each.name == name:
            return each
    raise KeyError(name)


EVERY = ("kind", "vcpu", "sequence", "began", "ended", "source", "hcr", "vttbr")
USES: dict[Kind, dict[str, str]] = {
    Kind.TRAP: {
        "vector": "",
        "result": "",
        "target": "",
        "flags": "",
        "pc": "",
        "pstate": "",
        "esr": "",
        "far": "",
        "ipa": "",
        "value": "what a system register access wrote or read",
        "next_pc": "",
        "next_pstate": "",
        "syndrome": "",
    },
    Kind.ERET: {"target": "", "pc": "", "pstate": "", "next_pc": "", "next_pstate": ""},
    Kind.AHEAD: {
        "flags": "",
        "pc": "",
        "value": "what it wrote or read",
        "detail": "trap key of the register",
    },
    Kind.SWITCH: {"target": ""},
    Kind.FILL: {"ipa": "of L2", "value": "PA of the leaf", "detail": "level of the leaf"},
    Kind.UNMAP: {"ipa": "the first of L2", "value": "VTTBR_EL2 of the shadow", "detail": "bytes"},
    Kind.TIMER: {"ipa": "its CVAL", "value": "its CTL", "detail": "0: physical, 1: virtual"},
    Kind.PSCI: {"value": "its first argument", "detail": "function identifier"},
}
"""What each kind has beside `EVERY`, and what it means there where the column does not say."""


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """Give the columns that a kind of event uses, in the order of memory."""
    names = {*EVERY, *USES[kind]}
    return tuple(each for each in COLUMNS if each.name in names)
