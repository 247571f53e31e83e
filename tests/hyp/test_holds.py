"""How long locks are held: what a guest can make large is done in parts, or by moving a link.

The measure is how many lines of resident code run in CPython between `acquire` and `release`: each
is a few instructions. The limits are for the code, not for a machine; `Lock.longest` has the time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from tests.hyp.rig import (
    BIG_RAM_BASE,
    GIB,
    MIB,
    Rig,
    fresh_rig,
    stand_ins,
)
from tests.hyp.test_shadow import Key, guest, put_leaf, running, select
from vel2.arch import sysregs as sr
from vel2.arch.insn import TLBI
from vel2.hyp import lock, pool, shadow, stage2, tlbi
from vel2.hyp.state import SHADOW_CONTEXTS

PAGE_LINES = 2 * 512
"""A page is cleared, or looked through."""
ENTRY_LINES = 64
"""`shadow.unmap_entry`, from the root down."""
LIMIT = 12 * PAGE_LINES
"""Three tables are made, each looked through and cleared, with a root of two emptied for each."""


class Holds:
    """Counts the lines that run while a lock is held."""

    def __init__(self) -> None:
        self.lines = 0
        self.all: list[int] = []

    def of_line(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Count one line of the resident code."""
        if event == "line":
            self.lines += 1
        return self.of_line

    def of_call(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Follow what is called, but for the lock itself and what stands in for the machine."""
        if frame.f_code is lock.acquire.__code__:
            self.lines = 0
        elif frame.f_code is lock.release.__code__:
            self.all.append(self.lines)
        elif "/vel2/hyp/" in frame.f_code.co_filename:
            return self.of_line
        return None


@contextmanager
def holds() -> Iterator[Holds]:
    """Measure."""
    found = Holds()
    before = sys.gettrace()
    sys.settrace(found.of_call)
    try:
        yield found
    finally:
        sys.settrace(before)


def measured(rig: Rig, function: Any, *arguments: Any) -> list[int]:
    """Run resident code in CPython; give the lines of each hold."""
    with holds() as found, rig.sim, stand_ins():
        function(*arguments)
    assert rig.vm.stage2.lock.next == rig.vm.stage2.lock.served
    return found.all


def operation(rig: Rig, instruction: Any, value: int = 0) -> list[int]:
    """Let L1 execute a TLBI; give the lines of each hold."""
    return measured(rig, tlbi.from_vel2, rig.vcpu, instruction.trap_key, value)


def fill_many(rig: Rig, tables: int) -> None:
    """Give the context that runs this many level-3 tables, of one leaf each."""
    for number in range(tables):
        put_leaf(rig, 12, BIG_RAM_BASE, number * 2 * MIB, 0)


@pytest.mark.parametrize("name", ["VMALLS12E1IS", "ALLE1IS"])
def test_emptying_does_not_depend_on_how_much_there_is(name: str) -> None:
    """Show one hold for each context, as long for forty tables as for one."""
    found = []
    for tables in (1, 40):
        rig, _context = running(40)
        fill_many(rig, tables)
        found.append(operation(rig, getattr(TLBI, name)))
        rig.check_pool()
    assert found[0] == found[1] and max(found[1]) < 3 * PAGE_LINES


def test_all_contexts_are_not_emptied_in_one_hold() -> None:
    rig = fresh_rig(40)
    for number in range(SHADOW_CONTEXTS):
        select(rig, guest(number))
        put_leaf(rig, 12, BIG_RAM_BASE, 0, 0)
    found = operation(rig, TLBI.ALLE1IS)
    assert len(found) == SHADOW_CONTEXTS and max(found) < 3 * PAGE_LINES
    assert not any(rig.leaves(context) for context in rig.vm.stage2.shadows)


WHOLE_SPACE = 31 << 39 | 3 << 44 | 1 << 46
"""TLBI_RANGE: NUM=31, SCALE=3, TG=4 KiB: 8 GiB from 0."""


def test_a_range_is_done_in_parts() -> None:
    """Show that no part looks at more than `PART` entries, and that the end is the same."""
    rig, context = running(40)
    for number in range(3):
        for page in range(0, 512, 8):
            put_leaf(rig, 12, BIG_RAM_BASE, number * GIB + MIB + page * 0x1000, 0)
    lines = operation(rig, TLBI.RIPAS2E1IS, WHOLE_SPACE)
    assert rig.leaves(context) == {} and max(lines) < ENTRY_LINES * shadow.PART
    rig.check_pool()
    # From inside one table into another: 511 pages by themselves.
    rig, context = running(40)
    for page in range(512):
        put_leaf(rig, 12, BIG_RAM_BASE, page * 0x1000, 0)
    put_leaf(rig, 12, BIG_RAM_BASE, 2 * MIB, 0)
    scale_1, pages = 1 << 44, (8 - 1) << 39
    value = pages | scale_1 | 1 << 46 | 1
    lines = operation(rig, TLBI.RIPAS2E1IS, value)
    assert len(lines) == -(-511 // shadow.PART)
    assert set(rig.leaves(context)) == {0}
    assert max(lines) < ENTRY_LINES * shadow.PART


def test_a_large_block_costs_no_more_for_what_it_replaces() -> None:
    """Show that a block of 1 GiB in the place of forty tables cuts off one."""
    found = []
    for tables in (1, 40):
        rig, context = running(40)
        fill_many(rig, tables)
        walk = rig.vcpu.walk
        walk.output, walk.shift, walk.level = BIG_RAM_BASE, 30, 1
        found.append(lines_of(rig, shadow.fill, rig.vcpu, 0, canonical_block(rig)))
        assert set(rig.leaves(context)) == {0}
        rig.check_pool()
    assert found[0] == found[1] < PAGE_LINES


def canonical_block(rig: Rig) -> int:
    """Give a canonical leaf of 1 GiB."""
    leaf: int = rig.prepare(stage2.canonical_leaf, rig.vm, BIG_RAM_BASE)
    return leaf


def lines_of(rig: Rig, function: Any, *arguments: Any) -> int:
    """Count the lines of one function, as if it were a hold."""
    found = Holds()
    before = sys.gettrace()
    sys.settrace(found.of_call)
    try:
        with rig.sim, stand_ins():
            function(*arguments)
    finally:
        sys.settrace(before)
    return found.lines


def test_spare_tables_come_back_one_level_at_a_time() -> None:
    """Show that all tables below one that was cut off are used again, each looked through once."""
    rig, context = running(40)
    fill_many(rig, 40)
    used = rig.vm.stage2.pool_used
    operation(rig, TLBI.RIPAS2E1IS, WHOLE_SPACE)
    assert rig.leaves(context) == {} and len(rig.chain(context.spare, "next_spare")) == 1
    costs = [lines_of(rig, pool.take, rig.vm, context) for _ in range(41)]
    assert rig.vm.stage2.pool_used == used and context.spare == 0
    assert max(costs) < 6 * PAGE_LINES
    rig.run(pool.take, rig.vm, context)
    assert rig.vm.stage2.pool_used == used + 1


def test_the_longest_fill_has_a_limit() -> None:
    """Show a fill that makes three tables, for each of which a context has to be emptied."""
    rig = fresh_rig(40)
    for number in range(8):
        select(rig, guest(number))
        put_leaf(rig, 12, BIG_RAM_BASE, 0, 0)
    while rig.vm.stage2.pool_free:
        rig.prepare(pool.take, rig.vm, rig.vm.stage2.shadows[0])
    rig.vm.stage2.shadows[0].last_use = 1 << 32
    select(rig, guest(20))
    walk = rig.vcpu.walk
    walk.output, walk.shift, walk.level = BIG_RAM_BASE, 12, 3
    cost = lines_of(rig, shadow.fill, rig.vcpu, GIB, canonical_block(rig))
    assert cost < LIMIT
    rig.check_pool()


def test_giving_a_context_away_has_a_limit() -> None:
    rig = fresh_rig(40)
    for number in range(SHADOW_CONTEXTS):
        select(rig, guest(number))
    fill_many(rig, 30)
    select(rig, guest(0))
    for number in range(SHADOW_CONTEXTS, SHADOW_CONTEXTS + 40):
        key = guest(number)
        set_key(rig, key)
        (lines,) = measured(rig, shadow.select, rig.vcpu)
        assert lines < 6 * PAGE_LINES


def set_key(rig: Rig, key: Key) -> None:
    """Let L1 name another guest."""
    rig.set_slot(sr.HCR_EL2, key.hcr)
    rig.set_slot(sr.VTTBR_EL2, key.vttbr)
    rig.set_slot(sr.VTCR_EL2, key.vtcr)
