"""From the name of a trapped register to what an access of it does, in two loads.

`el2regs` has the records. Compared name by name they would be some hundred comparisons, and with
FEAT_NV alone there are a hundred such accesses for one exit of L2. So the table is turned round
once, when L0 is compiled: a trap key selects a block by op0, op2, op1 and CRn, and CRm an entry in
it. An entry has an action, which is a kind and a number, for each meaning and direction of access.
"""

from dataclasses import dataclass
from typing import TypeVar

from vel2.arch import sysregs as sr
from vel2.arch.bits import Field, Register
from vel2.arch.vncr import VNCR_PAGE
from vel2.hyp.constant import no_refusal
from vel2.hyp.el2regs import TABLE, El2Register, Home, Kind, Reader, Refusal, Stored, Writer
from vel2.hyp.homes import REDIRECTED_BY_NV2, in_memory, slot, switched
from vel2.hyp.state import Vcpu, id_index
from vel2.lang import inline, u64

__all__ = (
    "ABSORBED",
    "AHEAD",
    "CONDITION_SHIFT",
    "HARDWARE",
    "NEEDED",
    "NUMBER",
    "READERS",
    "REFUSALS",
    "WRITERS",
    "action_of",
    "kind_of",
    "place_of",
)

NUMBER_BITS = 9
NUMBER = (1 << NUMBER_BITS) - 1
ACTION_BITS = 12
ACTION = (1 << ACTION_BITS) - 1
"""An entry has one to read and one to write with E2H=0, and the same with E2H=1."""
AHEAD = 1 << 4 * ACTION_BITS
ABSORBED = AHEAD << 1
"""With FEAT_NV2 the access does not trap."""
CONDITION_SHIFT = 4 * ACTION_BITS + 2
"""The rest of an entry: 0, or the number of what the register depends on."""

T = TypeVar("T")
IS_ABSORBED = {
    *REDIRECTED_BY_NV2,
    *(sr.by_name(name) for row in VNCR_PAGE for name in (row.plain, row.el12) if name is not None),
}


@dataclass(frozen=True)
class Needed:
    """What a feature needs: a field of L1's identification registers, from a value on."""

    index: int
    field: Field
    value: int


class _Numbers:
    """What the entries name by number, in the order in which they come."""

    def __init__(self) -> None:
        self.hardware: list[type[Register]] = []
        self.readers: list[Reader] = []
        self.writers: list[Writer] = []
        self.conditions: list[Needed | Refusal] = []

    def reading(self, home: Home | None) -> int:
        """Give the action of a read."""
        if home is None or home.read is None:
            return 0
        if isinstance(home.read, Stored):
            return self.stored(home.read)
        return Kind.FUNCTION << NUMBER_BITS | _number(self.readers, home.read)

    def writing(self, home: Home | None) -> int:
        """Give the action of a write."""
        if home is None or home.write is None:
            return 0
        if isinstance(home.write, Stored):
            return self.stored(home.write)
        return Kind.FUNCTION << NUMBER_BITS | _number(self.writers, home.write)

    def stored(self, place: Stored) -> int:
        """Give the action of an access to a place."""
        if place.kind == Kind.PAGE:
            number = slot(place.register)
        elif place.kind == Kind.SHADOW:
            number = switched(place.register).index
        elif place.kind == Kind.MEMORY:
            number = in_memory(place.register)
        else:
            number = _number(self.hardware, place.register)
        return place.kind << NUMBER_BITS | number

    def condition(self, record: El2Register) -> int:
        """Give the number of what a register depends on; a refusal knows about the feature."""
        feature = record.feature
        if record.refusal is not no_refusal:
            return _number(self.conditions, record.refusal) + 1
        if feature is None:
            return 0
        needed = Needed(id_index(feature.register), feature.field, feature.value)
        return _number(self.conditions, needed) + 1

    def entry(self, record: El2Register) -> int:
        """Give the entry of a record."""
        entry = self.condition(record) << CONDITION_SHIFT
        if record.ahead and entry == 0:
            entry |= AHEAD
        if record.name in IS_ABSORBED:
            entry |= ABSORBED
        for index, home in enumerate((record.without_e2h, record.with_e2h)):
            both = self.reading(home) | self.writing(home) << ACTION_BITS
            entry |= both << index * 2 * ACTION_BITS
        return entry


def _number(found: list[T], wanted: T) -> int:
    """Give the place of something in a list, at the end if it was not there."""
    if wanted not in found:
        found.append(wanted)
    return found.index(wanted)


_NUMBERS = _Numbers()
ENTRIES = {record.name.trap_key: _NUMBERS.entry(record) for record in TABLE}
HARDWARE = tuple(enumerate(_NUMBERS.hardware))
READERS = tuple(enumerate(_NUMBERS.readers))
WRITERS = tuple(enumerate(_NUMBERS.writers))
NEEDED = tuple(
    (number, needed)
    for number, needed in enumerate(_NUMBERS.conditions, 1)
    if isinstance(needed, Needed)
)
REFUSALS = tuple(
    (number, refusal)
    for number, refusal in enumerate(_NUMBERS.conditions, 1)
    if not isinstance(refusal, Needed)
)

BLOCK = 16
BLOCKS = 1 << 11
"""By op0[0], op2, op1 and CRn; op0[1] is set in every register's key."""
IS_REGISTER = 15


def _blocks() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Give the start of each block, and all blocks; the first one is empty."""
    starts = [0] * BLOCKS
    entries = [0] * BLOCK
    for key, entry in sorted(ENTRIES.items()):
        if key >> IS_REGISTER == 0:
            raise ValueError(f"the key {key:#x} is no system register's")
        block = key >> 4 & BLOCKS - 1
        if starts[block] == 0:
            starts[block] = len(entries)
            entries += [0] * BLOCK
        entries[starts[block] + (key & BLOCK - 1)] = entry
    return tuple(starts), tuple(entries)


STARTS, PLACES = _blocks()


@inline
def place_of(key: u64) -> u64:
    """Give the entry for a trap key, 0 if it is none of ours."""
    if key >> IS_REGISTER == 0:
        return 0
    return PLACES[u64(STARTS[key >> 4 & BLOCKS - 1] + (key & BLOCK - 1))]


@inline
def action_of(vcpu: Vcpu, place: u64, is_read: bool) -> u64:
    """Give the action of an access out of an entry, 0 if there is no such access."""
    shifted = place
    if vcpu.e2h != 0:
        shifted = place >> 2 * ACTION_BITS
    if not is_read:
        shifted = shifted >> ACTION_BITS
    return shifted & ACTION


@inline
def kind_of(action: u64) -> u64:
    """Give the `Kind` of an action."""
    return action >> NUMBER_BITS
