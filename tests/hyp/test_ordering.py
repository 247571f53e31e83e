"""The checker of barriers: each rule has something that breaks it, and says so."""

from __future__ import annotations

import pytest

from tests.hyp import ordering
from tests.hyp.ordering import OWN_FLUSH, Event, OrderError
from tests.hyp.rig import RAM_BASE, fresh_rig
from vel2.arch.insn import TLBI
from vel2.hyp import pool

ENTRY = 0x4000
TABLE = 0x9000
DSB, ISB = Event("do", "dsb ish"), Event("do", "isb")
FLUSH, AT = Event("do", OWN_FLUSH), Event("do", "AT S1E1R")
VTTBR, HCR = Event("msr", "VTTBR_EL2"), Event("msr", "HCR_EL2")
OUT = Event("store", "table", ENTRY, old=3, cached=True)
IN = Event("store", "table", ENTRY, new=3, cached=True)
OVER = Event("store", "table", ENTRY, old=3, new=7, cached=True)
FILL = Event("fill", "zero_page", TABLE)
LINK = Event("store", "table", ENTRY, new=TABLE | 3, links=True, cached=True)
READ_PAR = Event("mrs", "PAR_EL1")


@pytest.mark.parametrize(
    "events",
    [
        [OUT, DSB, FLUSH, DSB, ISB, IN, DSB],
        [OUT, DSB, VTTBR, ISB, FLUSH, DSB, ISB, VTTBR, ISB],
        [FILL, DSB, LINK, DSB],
        [HCR, VTTBR, ISB, AT, ISB, READ_PAR, HCR, VTTBR],
        [VTTBR, Event("do", "TLBI ALLE1")],
    ],
)
def test_what_is_in_order_is_let_through(events: list[Event]) -> None:
    ordering.check(events)


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([OUT, FLUSH], "before the store to a table"),
        ([OUT, DSB, FLUSH, IN], "before what was there is out of the TLB"),
        ([OUT, DSB, IN], "before what was there is out of the TLB"),
        ([OVER], "replaced while it is valid"),
        ([FILL, LINK], "before its zeroes are visible"),
        ([VTTBR, FLUSH], "may not see VTTBR_EL2"),
        ([HCR, VTTBR, AT], "may not see HCR_EL2, VTTBR_EL2"),
        ([OUT, AT], "before the store to it"),
        ([FLUSH, VTTBR], "VTTBR_EL2 is written before"),
        ([FLUSH, ISB, VTTBR], "VTTBR_EL2 is written before"),
        ([AT, READ_PAR], "PAR_EL1 is read before"),
        ([IN], "before the store to a table is visible"),
        ([OUT, DSB], "still in the TLB: 0x4000"),
        ([FLUSH], "is complete"),
        ([FLUSH, DSB], "is complete"),
        ([FLUSH, ISB, DSB], "is complete"),
    ],
)
def test_what_is_out_of_order_is_refused(events: list[Event], why: str) -> None:
    with pytest.raises(OrderError, match=why):
        ordering.check(events)


@pytest.mark.parametrize("events", [[IN], [OUT, DSB], [FLUSH]])
def test_a_part_may_leave_the_rest_to_its_caller(events: list[Event]) -> None:
    ordering.check(events, is_whole=False)


def test_the_rig_records_what_code_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show that a run is checked: without its DSB a flush is refused."""
    rig = fresh_rig()
    context = rig.vm.stage2.shadows[0]
    context.dirty = 1
    rig.interpret(pool.flush, context)
    done = [event.what for event in rig.sim.events]
    assert done == [
        "dsb ish", "VTTBR_EL2", "isb", "TLBI VMALLS12E1IS", "dsb ish", "isb", "VTTBR_EL2", "isb",
    ]  # fmt: skip
    monkeypatch.setattr(pool, "dsb_ish", lambda: None)
    with pytest.raises(OrderError):
        rig.interpret(pool.flush, context)


def test_the_rig_knows_whose_table_an_entry_is_in() -> None:
    rig = fresh_rig()
    vm = rig.vm
    taken = rig.interpret(pool.take, vm, vm.stage2.shadows[2])
    roots = vm.stage2.shadows[1].root - vm.stage2.shadows[0].root
    for address, owner in (
        (vm.stage2.canonical.root, vm.stage2.canonical),
        (vm.stage2.shadows[0].root - 8, vm.stage2.canonical),
        (vm.stage2.shadows[3].root, vm.stage2.shadows[3]),
        (vm.stage2.shadows[3].root + roots - 8, vm.stage2.shadows[3]),
        (taken + 0xFF8, vm.stage2.shadows[2]),
    ):
        found = rig.owner_of(address)
        assert found is not None and found.root == owner.root, hex(address)
    assert rig.owner_of(RAM_BASE) is None
    assert rig.owner_of(vm.config.pool_base) is None
    assert TLBI.VMALLS12E1IS.name == OWN_FLUSH
