"""The access flag that a walk sets, while L1's other CPUs write to the very leaf."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from tests.hyp.rig import BIG_RAM_BASE, DEVICE_BASE, RAM_BASE, Rig, fresh_rig
from tests.hyp.test_abort import S1PTW, WNR, fault
from tests.hyp.test_at import IPA, OLD_PAR, STAGE1, STAGE2, STOPPED, TCR_48, Hardware, machine, run
from tests.hyp.test_shadow import VM
from tests.hyp.test_trap import L2_PAGE, esr_of, l2_machine, page
from tests.hyp.test_walk import vtcr_of
from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, FSC
from vel2.arch.insn import AT
from vel2.hyp import fallible, walk
from vel2.hyp.outcome import Outcome
from vel2.hyp.records import CHANGED, NO_FAULT
from vel2.hyp.state import CONTEXT_VEL1
from vel2.lang import SimulatedAbort, compare_exchange_u64

AF, READ_ONLY, READ_WRITE, NORMAL = 1 << 10, 1 << 6, 3 << 6, 0xF << 2
OLD = BIG_RAM_BASE | READ_WRITE | NORMAL | 1
NEW = BIG_RAM_BASE + (1 << 30) | READ_ONLY | NORMAL | 1
HA = vtcr_of(0, 1, 39, ha=1)
WITH_AND_WITHOUT = (OLD, NEW)


class Writer:
    """Another CPU of L1, which writes to a leaf right before the walk's compare-and-swap.

    :ivar stores: what it writes, one value before each exchange; it is silent behind the last one.
    :ivar seen: what each exchange found, in CPython.
    """

    def __init__(self, rig: Rig, stores: Callable[[int], int | None]) -> None:
        self.rig = rig
        self.stores = stores
        self.seen: list[int] = []
        self.native = 0

    def exchange(self, address: int, expected: int, value: int) -> int:
        """Do what CASAL does, after the other CPU's store."""
        traced = self.rig.sim.is_traced
        number = len(self.seen) if traced else self.native
        new = self.stores(number)
        if new is not None:
            self.rig.sim.store(8, address, new)
        found = compare_exchange_u64(address, expected, value)
        if traced:
            self.seen.append(found)
        else:
            self.native += 1
        return found


@contextmanager
def writer(rig: Rig, stores: Callable[[int], int | None]) -> Iterator[Writer]:
    """Have another CPU write."""
    other = Writer(rig, stores)
    with patch.object(fallible, "compare_exchange_u64", other.exchange):
        yield other


def once(value: int) -> Callable[[int], int | None]:
    """Write once, before the first exchange."""
    return lambda number: None if number else value


def for_ever(number: int) -> int:
    """Write another descriptor each time."""
    return WITH_AND_WITHOUT[(number + 1) % 2]


def walk_of(rig: Rig) -> int:
    """Walk for the first address of L1's stage 2; give the status."""
    rig.run(walk.guest_stage2, rig.vm, rig.vcpu.walk, RAM_BASE, HA, 0)
    return rig.vcpu.walk.fsc


@pytest.mark.parametrize("accessed", [0, AF], ids=["not accessed", "accessed"])
def test_the_translation_is_that_of_the_entry_which_has_the_flag(accessed: int) -> None:
    """Show that a leaf which another CPU replaced is not used, and its successor gets the flag."""
    rig = fresh_rig()
    rig.store(RAM_BASE, OLD)
    with writer(rig, once(NEW | accessed)) as other:
        assert walk_of(rig) == NO_FAULT
    found = rig.vcpu.walk
    assert (found.output, found.s2ap) == (BIG_RAM_BASE + (1 << 30), 1)
    assert rig.load(RAM_BASE) == NEW | AF
    assert len(other.seen) == (1 if accessed else 2)


def test_another_cpu_may_set_the_same_flag() -> None:
    """Show that MemSwapTableDesc finding the value it wanted to write ends the walk."""
    rig = fresh_rig()
    rig.store(RAM_BASE, OLD)
    with writer(rig, once(OLD | AF)) as other:
        assert walk_of(rig) == NO_FAULT
    assert rig.vcpu.walk.output == BIG_RAM_BASE and other.seen == [OLD | AF]


@pytest.mark.parametrize(
    ("new", "fsc"),
    [(0, FSC.TRANSLATION + 1), (RAM_BASE + 0x1000 | 3, FSC.TRANSLATION + 2), (1 << 47 | 1, 0x01)],
    ids=["unmapped", "a table", "too far"],
)
def test_what_the_entry_became_decides(new: int, fsc: int) -> None:
    """Show the faults of the second walk, with its levels, and nothing written to what is there."""
    rig = fresh_rig(40)
    rig.store(RAM_BASE, OLD)
    with writer(rig, once(new)) as other:
        assert walk_of(rig) == fsc
    assert rig.load(RAM_BASE) == new and other.seen == [new]


def test_an_abort_of_the_second_exchange_is_one_on_the_walk() -> None:
    rig = fresh_rig()
    rig.store(RAM_BASE, OLD)

    def stores(number: int) -> int:
        if number == 1:
            raise SimulatedAbort
        return NEW

    native = iter(range(2))
    with writer(rig, stores) as other:
        exchange = other.exchange

        def counted(address: int, expected: int, value: int) -> int:
            if not rig.sim.is_traced and next(native) == 1:
                raise SimulatedAbort
            return exchange(address, expected, value)

        with patch.object(fallible, "compare_exchange_u64", counted):
            assert walk_of(rig) == FSC.SYNC_EXTERNAL_WALK + 1


def test_walking_again_has_an_end() -> None:
    """Show that a CPU that never stops writing costs so many walks, and no translation comes out.

    The flag is in no descriptor that the walk had not read: what the other CPU wrote last stays.
    """
    rig = fresh_rig()
    rig.store(RAM_BASE, OLD)
    with writer(rig, for_ever) as other:
        assert walk_of(rig) == CHANGED
    assert len(other.seen) == walk.WALKS and not any(seen & AF for seen in other.seen)
    assert rig.load(RAM_BASE) == for_ever(walk.WALKS - 1)


def l2_with_a_leaf_not_accessed() -> Rig:
    """Give an L2 that runs, and whose one page L1 has not marked as accessed."""
    rig = l2_machine(BIG_RAM_BASE | READ_WRITE | NORMAL | 3)
    rig.set_slot(sr.VTCR_EL2, rig.slot(sr.VTCR_EL2) | sr.VTCR_EL2.HA.mask)
    rig.stage2_of(rig.vcpu.shadow).guest_vtcr |= sr.VTCR_EL2.HA.mask
    rig.vcpu.pc = 0x1234
    return rig


@pytest.mark.parametrize("iss", [FSC.TRANSLATION + 3, WNR | FSC.TRANSLATION + 3])
def test_l2s_access_is_made_again(iss: int) -> None:
    """Show no leaf in the shadow, no exception to L1, PC unmoved, the lock given back."""
    rig = l2_with_a_leaf_not_accessed()
    pc, pages = rig.vcpu.pc, (OLD | 3, BIG_RAM_BASE + 0x5000 | READ_WRITE | NORMAL | 3)
    with writer(rig, lambda number: pages[(number + 1) % 2]) as other:
        fault(rig, iss)
    assert len(other.seen) == walk.WALKS
    assert (rig.vcpu.pc, rig.vcpu.context) == (pc, CONTEXT_VEL1)
    assert rig.leaves(rig.stage2_of(rig.vcpu.shadow)) == {}
    lock = rig.vm.stage2.lock
    assert lock.next == lock.served
    fault(rig, iss)
    ((ipa, (_, leaf)),) = rig.leaves(rig.stage2_of(rig.vcpu.shadow)).items()
    assert (ipa, leaf & 0xFFFF_F000) == (L2_PAGE, pages[walk.WALKS % 2] & 0xFFFF_F000)


def not_accessed(rig: Rig, address: int) -> int:
    """Clear the access flag of L1's leaf for a page of the guest of `machine`; where it is."""
    rig.set_slot(sr.VTCR_EL2, rig.slot(sr.VTCR_EL2) | sr.VTCR_EL2.HA.mask)
    place = STAGE2[2] + 8 * (address >> 12 & 511)
    rig.store(place, rig.load(place) & ~AF)
    return place


@pytest.mark.parametrize("instruction", [AT.S12E1R, AT.S12E0W], ids=str)
def test_an_at_is_executed_again(instruction: object) -> None:
    """Show PAR_EL1 as it was, for both the guest's tables and the output of its stage 1."""
    output = RAM_BASE + 0x5000
    for address, answers in (
        (output, (output,)),
        (STAGE1[0], (STOPPED | FSC.TRANSLATION + 1 << 1,)),
    ):
        rig = machine(VM)
        place = not_accessed(rig, address)
        Hardware(rig, *answers)
        leaf = rig.load(place)
        with writer(rig, lambda number, leaf=leaf: leaf ^ (number + 1 & 1) << 55):
            outcome = run(rig, instruction)  # type: ignore[arg-type]
        assert outcome == Outcome.RESUME and rig[sr.PAR_EL1] == OLD_PAR
        assert rig.vcpu.pc == 0x1000


def test_an_at_whose_tables_change_takes_hardwares_word() -> None:
    """Show that hardware's second AT counts if it succeeds, whatever became of our walk."""
    rig = machine(VM)
    place = not_accessed(rig, STAGE1[0])
    Hardware(rig, STOPPED | FSC.TRANSLATION + 1 << 1, IPA)
    leaf = rig.load(place)
    with writer(rig, lambda number: leaf ^ (number + 1 & 1) << 55):
        assert run(rig, AT.S1E1R) == Outcome.SKIP
    assert rig[sr.PAR_EL1] == IPA


def test_an_access_to_nothing_is_made_again() -> None:
    """Show it of a walk that is done only to say at which level a table is missing.

    L2's second stage-1 table is where L1 has nothing; the first is in a page that is not accessed.
    """
    rig = l2_with_a_leaf_not_accessed()
    table, root = RAM_BASE + 0x3000, RAM_BASE + 0x2000 + 8 * 5
    rig.store(root, table | READ_WRITE | NORMAL | 3)
    rig.store(RAM_BASE + 0x2000 + 8 * (L2_PAGE >> 12 & 511), page(DEVICE_BASE - 0x1000))
    rig.store(table, L2_PAGE | 3)
    rig[sr.TCR_EL1], rig[sr.TTBR0_EL1], rig[sr.FAR_EL2] = TCR_48, 0x5000, 0
    rig[sr.ESR_EL1] = 0
    pc = rig.vcpu.pc
    with writer(rig, lambda number: rig.load(root) ^ 1 << 55) as other:
        fault(rig, S1PTW | FSC.TRANSLATION + 1)
    assert len(other.seen) == walk.WALKS
    assert (rig.vcpu.pc, rig[sr.ESR_EL1]) == (pc, 0)
    fault(rig, S1PTW | FSC.TRANSLATION + 1)
    assert rig[sr.ESR_EL1] == esr_of(EC.DABT_SAME, FSC.SYNC_EXTERNAL_WALK + 1)
