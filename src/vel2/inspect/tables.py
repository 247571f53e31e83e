"""A walk of translation tables in software, descriptor by descriptor, for people to read.

AArch64.S1Walk and AArch64.S2Walk for addresses of up to 48 bits, which is what L1 sees. Nothing is
checked but what stops the walk: permissions are shown as the descriptors have them, not judged.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from vel2.arch import sysregs as sr
from vel2.arch.bits import Layout
from vel2.arch.descriptors import (
    ADDRESS_MASK,
    GRANULE_4K,
    GRANULES,
    LAST_LEVEL,
    Granule,
    Stage1Leaf,
    Stage1Table,
    Stage2Leaf,
    Stage2Table,
)
from vel2.arch.esr import FSC
from vel2.explain.syndrome import fault_words
from vel2.inspect.value import Value

__all__ = ("Fault", "Plan", "Reach", "Step", "by_code", "plan_stage1", "plan_stage2", "walk_tables")

VALID = Stage2Leaf.VALID.mask
TABLE = VALID | Stage2Leaf.TYPE.mask
ENTRY_BYTES = 8
MAX_CONCATENATED_BITS = 4


class Fault(Exception):
    """The walk stopped: a fault status code, with the level."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(fault_words(code))


class Plan(NamedTuple):
    """How one set of tables is walked.

    :ivar stage: what the steps are called. :ivar root: address of the first table.
    :ivar bits: size of the input. :ivar level: where the walk begins.
    """

    stage: str
    granule: Granule
    root: int
    bits: int
    level: int
    leaf: type[Layout]
    table: type[Layout]
    big_endian: bool = False


@dataclass(frozen=True)
class Step:
    """One descriptor of a walk.

    :ivar address: where it is, as the walker names it; `pa` is the machine's address.
    :ivar index: which entry of its table. :ivar descriptor: decoded.
    :ivar kind: `table`, `block`, `page` or `invalid`.
    :ivar output: the next table, or what the input is translated to.
    """

    stage: str
    level: int
    address: int
    pa: int
    index: int
    descriptor: Value
    kind: str
    output: int | None = None

    def __str__(self) -> str:
        leads = "" if self.output is None else f" -> {self.output:#x}"
        at = (
            f"{self.address:#x}"
            if self.address == self.pa
            else f"{self.address:#x} pa={self.pa:#x}"
        )
        text = f"{self.stage} level {self.level} [{self.index:#x}] at {at}: {self.kind}{leads}"
        fields = self.descriptor.layout.describe(int(self.descriptor))
        return f"{text}\n    {int(self.descriptor):#018x} {fields}"


Reach = Callable[[int], int]
"""Gives the machine's address of a table's entry, or raises `Fault`."""


def walk_tables(
    plan: Plan, address: int, reach: Reach, load: Callable[[int], bytes], steps: list[Step]
) -> int:
    """Walk, adding to `steps`; give the output address.

    :raises Fault: where the walk stops.
    """
    level, table = plan.level, plan.root
    while True:
        shift = plan.granule.level_shift(level)
        resolved = plan.bits - shift if level == plan.level else plan.granule.bits_per_level
        index = address >> shift & (1 << resolved) - 1
        where = table + index * ENTRY_BYTES
        pa = reach(where)
        entry = int.from_bytes(load(pa), "big" if plan.big_endian else "little")
        step = _read_step(plan, level, where, pa, index, entry)
        if step.kind == "invalid":
            steps.append(step)
            raise Fault(FSC.TRANSLATION + level)
        if step.kind == "table":
            table = entry & ADDRESS_MASK & ~(plan.granule.size - 1)
            steps.append(replace(step, output=table))
            level += 1
            continue
        offset = (1 << shift) - 1
        output = entry & ADDRESS_MASK & ~offset | address & offset
        steps.append(replace(step, output=output))
        return output


def _read_step(plan: Plan, level: int, where: int, pa: int, index: int, entry: int) -> Step:
    """Tell what a descriptor is."""
    if entry & VALID == 0:
        kind = "invalid"
    elif level == LAST_LEVEL:
        kind = "page" if entry & TABLE == TABLE else "invalid"
    elif entry & TABLE == TABLE:
        kind = "table"
    else:
        kind = "block" if level in plan.granule.block_levels else "invalid"
    layout = plan.table if kind == "table" else plan.leaf
    return Step(plan.stage, level, where, pa, index, Value(layout, entry), kind)


def plan_stage1(
    stage: str, ttbr: int, size: int, granule: Granule, *, big_endian: bool = False
) -> Plan:
    """Plan a walk of stage 1 (AArch64.S1StartLevel).

    :param size: TCR_ELx.TnSZ.
    :raises Fault: when no address is translated.
    """
    bits = 64 - size
    stride = granule.bits_per_level
    levels = -(-(bits - granule.log2_bytes) // stride)
    level = LAST_LEVEL + 1 - levels
    if not 0 <= level <= LAST_LEVEL or bits > ADDRESS_MASK.bit_length():
        raise Fault(FSC.TRANSLATION)
    root_bits = bits - granule.level_shift(level) + 3
    root = ttbr & ADDRESS_MASK & ~((1 << root_bits) - 1)
    return Plan(stage, granule, root, bits, level, Stage1Leaf, Stage1Table, big_endian)


def plan_stage2(stage: str, vttbr: int, vtcr: int) -> Plan:
    """Plan a walk of stage 2 (AArch64.S2StartLevel).

    :raises Fault: when VTCR_EL2 makes no sense.
    """
    value = sr.VTCR_EL2(vtcr)
    granule = by_code("TG0", value.TG0)
    level = granule.start_levels[value.SL0]
    bits = 64 - value.T0SZ
    if level is None:
        raise Fault(FSC.TRANSLATION)
    below = granule.level_shift(level)
    if not below < bits <= below + granule.bits_per_level + MAX_CONCATENATED_BITS:
        raise Fault(FSC.TRANSLATION)
    root_bits = bits - below + 3
    root = vttbr & ADDRESS_MASK & ~((1 << root_bits) - 1)
    return Plan(stage, granule, root, bits, level, Stage2Leaf, Stage2Table)


def by_code(field: str, code: int) -> Granule:
    """Find a granule by TG0 or TG1; a reserved code is the smallest, as on the machine."""
    return next((each for each in GRANULES if getattr(each, field) == code), GRANULE_4K)
