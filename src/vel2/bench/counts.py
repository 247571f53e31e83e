"""Count what trapped between two moments.

A snapshot of L0's own counters is a copy of the `Vcpu`. A quarter of a megabyte of it counts system
registers one by one. Only the parts that differ are examined, so hundreds of snapshots cost little.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vel2.arch.esr import EC
from vel2.control.counters import trap_name
from vel2.hyp.counters import SYSREG_COUNTERS
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu

__all__ = (
    "Counted",
    "Moment",
    "Snapshot",
    "Snapshots",
    "Traps",
    "between",
    "class_name",
    "together",
)

CONTEXTS = {CONTEXT_VEL2: "vEL2", CONTEXT_VEL1: "vEL1"}
CLASSES = 64
BY_SYSREG = Vcpu.offset_of("counters.by_sysreg")
WORD_BYTES = 4
CHUNK_BYTES = 4096


@dataclass(frozen=True)
class Traps:
    """The traps to real EL2 of some stretch of a run.

    :ivar by_kind: how many of each kind; registers and instructions (EC 0x18) by name, the others
        as exception class and who ran: `HVC64 vEL1`.
    :ivar exits: how often L0 left vEL1 for vEL2: L2's exits, as L1 sees them; None where vel2 is
        not L0.
    """

    by_kind: Mapping[str, int]
    exits: int | None

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_kind.values())


@dataclass(frozen=True)
class Snapshot:
    """One vCPU's counters at one moment."""

    data: bytes

    @classmethod
    def take(cls, vcpu: Vcpu) -> "Snapshot":
        """Copy the counters of a vCPU that stands still."""
        return cls(vcpu.to_bytes())


@dataclass(frozen=True)
class Counted:
    """The traps of each kind up to one moment, where vel2 is not L0."""

    by_kind: Mapping[str, int]


@dataclass(frozen=True)
class Snapshots:
    """The counters of all vCPUs at one moment."""

    parts: tuple[Snapshot, ...]

    @classmethod
    def take(cls, vcpus: Sequence[Vcpu]) -> "Snapshots":
        """Copy the counters of vCPUs that stand still."""
        return cls(tuple(Snapshot.take(vcpu) for vcpu in vcpus))


Moment = Snapshot | Snapshots | Counted


def between(before: Moment | None, after: Moment) -> Traps:
    """Give what was counted from one moment to a later one of the same run.

    :param before: None for the machine's start.
    :raises ValueError: when L0's counters contradict each other.
    """
    if isinstance(after, Snapshots):
        firsts = before.parts if isinstance(before, Snapshots) else (None,) * len(after.parts)
        return together([between(*pair) for pair in zip(firsts, after.parts, strict=True)])
    if isinstance(after, Snapshot):
        first = before if isinstance(before, Snapshot) else Snapshot.take(Vcpu())
        return between_snapshots(first, after)
    kinds = Counter(after.by_kind)
    if isinstance(before, Counted):
        kinds.subtract(before.by_kind)
    return Traps({kind: count for kind, count in kinds.most_common() if count}, None)


def together(many: Sequence[Traps]) -> Traps:
    """Add up what was counted at several times, or by several vCPUs."""
    kinds: Counter[str] = Counter()
    for traps in many:
        kinds.update(traps.by_kind)
    exits = [traps.exits for traps in many if traps.exits is not None]
    return Traps(dict(kinds.most_common()), sum(exits) if len(exits) == len(many) else None)


def between_snapshots(before: Snapshot, after: Snapshot) -> Traps:
    """Give what L0 counted from one snapshot to a later one."""
    first, last = Vcpu(before.data), Vcpu(after.data)
    kinds: Counter[str] = Counter()
    for context, name in CONTEXTS.items():
        for ec in range(CLASSES):
            index = context * CLASSES + ec
            taken = last.counters.by_ec[index] - first.counters.by_ec[index]
            if context == CONTEXT_VEL2 and ec == EC.ERET:
                taken += last.counters.fast_eret - first.counters.fast_eret
            if ec != EC.SYS64:
                kinds[f"{class_name(ec)} {name}"] += taken
        for kind in ("irq", "fiq", "serror"):
            counts: tuple[Any, Any] = getattr(last.counters, kind), getattr(first.counters, kind)
            kinds[f"{kind.upper()} {name}"] += counts[0][context] - counts[1][context]
    registers = changed_registers(before.data, after.data)
    trapped = sum(
        last.counters.by_ec[context * CLASSES + EC.SYS64]
        - first.counters.by_ec[context * CLASSES + EC.SYS64]
        for context in CONTEXTS
    )
    if trapped != registers.total():
        raise ValueError(
            f"L0 counted {trapped} traps of EC 0x18, but {registers.total()} by register"
        )
    kinds.update({trap_name(key): count for key, count in registers.items()})
    found = {kind: count for kind, count in kinds.most_common() if count}
    return Traps(found, last.counters.to_vel2 - first.counters.to_vel2)


def class_name(ec: int) -> str:
    """Name an exception class."""
    return EC(ec).name if ec in EC._value2member_map_ else f"EC {ec:#04x}"


def changed_registers(before: bytes, after: bytes) -> Counter[int]:
    """Count the traps of EC 0x18 by trap key."""
    found: Counter[int] = Counter()
    for start in range(BY_SYSREG, BY_SYSREG + SYSREG_COUNTERS * WORD_BYTES, CHUNK_BYTES):
        old, new = before[start : start + CHUNK_BYTES], after[start : start + CHUNK_BYTES]
        if old == new:
            continue
        first = (start - BY_SYSREG) // WORD_BYTES
        pairs = zip(memoryview(old).cast("I"), memoryview(new).cast("I"), strict=True)
        for key, (counted, counts) in enumerate(pairs, first):
            if counts != counted:
                found[key] = counts - counted & 0xFFFF_FFFF
    return found
