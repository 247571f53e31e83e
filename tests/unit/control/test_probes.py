"""Probes in a machine: put in, called, counted, taken out; and what there is no room for.

No QEMU is needed: `tests.probe_board` has L0's own code for the exchange, and executes what was
linked.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest

from tests.probe_board import Board
from vel2.arch.esr import EC
from vel2.control import probes as control_probes
from vel2.control.watching import ALL_CLASSES, classes_of
from vel2.errors import UserError
from vel2.hyp import layout
from vel2.hyp.probing import REQUESTS
from vel2.hyp.records import Trap
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu
from vel2.hyp.watch import INTERRUPTS, PLAIN_ERET, PROBE, PROBE_AT_END, TRACE
from vel2.lang import SubsetError, u64
from vel2.probes import Counters, Hash
from vel2.probes.build import CHAIN_MAX, compile_probe
from vel2.probes.place import Place, place_of

HVC, ERET = int(EC.HVC64), int(EC.ERET)
by_pc = Hash(64)
hits = Counters(4)
whats = Counters(8)
large = Counters(1 << 16)
larger = [Counters(1 << 16) for _ in range(4)]


def count_pc(trap: Trap) -> None:
    by_pc.add(trap.pc)


def hit(trap: Trap) -> None:
    hits.add(0)


def hit_other(trap: Trap, vcpu: Vcpu) -> None:
    hits.add(1)


def hit_third(trap: Trap, vcpu: Vcpu, what: u64) -> None:
    hits.add(2)
    whats.add(what)


def fill(trap: Trap) -> None:
    large.add(trap.pc)


def break_out(trap: Trap, vcpu: Vcpu) -> None:
    hits.add(0)
    vcpu.x[0] = 1


@pytest.fixture
def board() -> Iterator[Board]:
    found = Board()
    yield found
    found.close()


@cache
def compiled_once(function: Any, place: Place) -> Any:
    """Compile a function once for all tests: what is compiled is the same each time."""
    return compile_probe(function, place)


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    with patch.object(control_probes, "compile_probe", compiled_once):
        yield


def test_the_first_trap_puts_it_in_force_and_is_counted(board: Board) -> None:
    probe = board.probes.add(count_pc)
    assert not probe.is_linked
    board.trap(pc=0x1000)
    assert probe.is_linked
    board.trap(1, pc=0x2000)
    board.trap(1, pc=0x1000)
    assert probe.maps["by_pc"].items() == [(0x1000, 2), (0x2000, 1)]  # type: ignore[attr-defined]


def test_l0_comes_only_for_the_classes_that_are_wanted(board: Board) -> None:
    classes = board.l0.vcpu(1).observe.classes
    classes[HVC] = TRACE
    first = board.probes.add(hit, trap="HVC64", level="l2")
    second = board.probes.add(hit_other, trap="HVC64", at="end")
    wanted = {number: int(n) for number, n in enumerate(classes) if n}
    assert wanted == {
        CONTEXT_VEL2 * 64 + HVC: TRACE | PROBE_AT_END,
        CONTEXT_VEL1 * 64 + HVC: PROBE | PROBE_AT_END,
    }
    assert board.trap(ec=ERET) == []
    second.remove()
    first.remove()
    assert [int(n) for n in classes if n] == [TRACE]


@pytest.mark.parametrize(
    ("where", "classes"),
    [
        ({}, ALL_CLASSES - {INTERRUPTS, INTERRUPTS + 1}),
        ({"level": "l2"}, {*range(64, 128), *(INTERRUPTS + each for each in (3, 5, 7))}),
        ({"trap": "ERET"}, {ERET, 64 + ERET, PLAIN_ERET}),
        ({"trap": "ERET", "level": "l2"}, {64 + ERET}),
        ({"trap": "IRQ"}, {INTERRUPTS + 2, INTERRUPTS + 3}),
        ({"trap": "SERROR", "level": "l1"}, {INTERRUPTS + 6}),
        ({"sysreg": "HCR_EL2", "level": "vel2"}, {int(EC.SYS64)}),
    ],
)
def test_the_classes_of_a_place(where: dict[str, Any], classes: set[int]) -> None:
    assert classes_of(place_of(**where)) == classes


def test_what_a_probe_is_told_at_the_end(board: Board) -> None:
    probe = board.probes.add(hit_third, trap="HVC64", at="end")
    board.trap()
    board.trap()
    assert probe.maps["whats"].rows() == [(3, 2)]


def test_several_are_called_in_their_order(board: Board) -> None:
    added = [board.probes.add(each) for each in (hit, hit_other, hit_third)]
    board.trap()
    assert added[0].maps["hits"].rows() == [(0, 1), (1, 1), (2, 1)]
    added[1].remove()
    board.trap()
    assert added[0].maps["hits"].rows() == [(0, 2), (1, 1), (2, 2)]
    added[0].remove()
    assert board.trap() == [added[2]._piece.entry], "one alone is called without a chain"
    assert added[2].maps["hits"].rows() == [(0, 2), (1, 1), (2, 3)]


def test_maps_stay_readable(board: Board) -> None:
    probe = board.probes.add(count_pc)
    board.trap(pc=0x1000)
    probe.remove()
    other = board.probes.add(hit)
    board.trap(pc=0x2000)
    again = board.probes.add(count_pc)
    board.trap(pc=0x3000)
    assert probe.result()["maps"]["by_pc"]["rows"] == [{"key": 0x1000, "count": 1}]
    assert again.result()["maps"]["by_pc"]["rows"] == [{"key": 0x3000, "count": 1}]
    assert other.maps["hits"].rows() == [(0, 2)]
    with pytest.raises(UserError, match="the probe count_pc is not in this machine"):
        probe.remove()


def test_a_map_that_others_use_stays(board: Board) -> None:
    first, second = board.probes.add(hit), board.probes.add(hit_other)
    board.trap()
    first.remove()
    board.trap()
    board.probes._clear_away()
    assert second.maps["hits"].rows() == [(0, 1), (1, 2)]
    assert first.maps["hits"].rows() == [(0, 1), (1, 2)], "it is the same map, live"


def test_a_thousand_come_and_go(board: Board) -> None:
    """Show that nothing is lost: neither room, nor a hit."""
    free = board.probes._code.free_bytes, board.probes._data.free_bytes
    for number in range(1000):
        probe = board.probes.add(hit)
        assert len(board.trap(number % 2)) == 1
        assert probe.maps["hits"].rows() == [(0, 1)]
        probe.remove()
        board.l0.vcpu(0).observe.classes[0] = PROBE  # any trap does what is asked for
        assert board.trap(ec=0) == []
    board.probes._clear_away()
    assert (board.probes._code.free_bytes, board.probes._data.free_bytes) == free
    assert board.l0.state.probes.refused == 0


def test_code_that_a_pcpu_is_in_is_not_given_away(board: Board) -> None:
    probe = board.probes.add(hit)
    place = probe._piece.code
    board.trap(0)
    board.trap(1)

    def remove_under_it() -> None:
        board.running = lambda: None
        assert board.l0.vcpu(1).probing.busy == 1
        probe.remove()
        board.l0.vcpu(0).observe.classes[0] = PROBE
        entered = list(board.entered)
        board.trap(0, ec=0)
        board.entered = entered
        assert board.probes.add(hit_other)._piece.code != place

    board.running = remove_under_it
    board.trap(1)
    assert probe.maps["hits"].rows() == [(0, 3)]
    board.trap(0)
    assert board.probes.add(hit_third)._piece.code == place, "nobody is in it any more"


def test_a_pcpu_that_slept_calls_what_is_there_now(board: Board) -> None:
    """Show that one that has missed the exchange does not call what has gone."""
    first = board.probes.add(hit)
    board.trap(0)
    board.trap(1)
    first.remove()
    board.l0.vcpu(0).observe.classes[0] = PROBE
    board.trap(0, ec=0)
    second = board.probes.add(hit_other)
    assert second._piece.code == first._piece.code
    board.trap(0)
    board.trap(1)
    assert second.maps["hits"].rows() == [(1, 2)]


def untouched(board: Board) -> bytes:
    return bytes(board.memory.view)


def test_a_probe_that_is_refused_leaves_everything_as_it_was(board: Board) -> None:
    board.probes.add(hit)
    board.trap()
    before = untouched(board)
    with pytest.raises(SubsetError) as caught:
        board.probes.add(break_out)
    assert str(caught.value).splitlines()[0] == (
        "this would write the vCPU, which a probe may only read: it may write its maps"
    )
    assert f"{__file__}:" in str(caught.value)
    assert untouched(board) == before
    assert len(board.probes.probes) == 1


def test_maps_that_do_not_fit(board: Board) -> None:
    board.probes.add(fill)
    board.probes.add(hit)
    before, free = untouched(board), board.probes._code.free_bytes

    def more(trap: Trap) -> None:
        hits.add(1)
        larger[0].add(1)
        larger[1].add(1)
        larger[2].add(1)

    with pytest.raises(UserError) as caught:
        board.probes.add(more)
    size = larger[0].struct.size
    assert str(caught.value).startswith(f"the map {larger[1].symbol} of the probe more has")
    assert size * 3 > layout.PROBE_MAPS_BYTES
    assert untouched(board) == before
    assert board.probes._code.free_bytes == free


def test_code_that_does_not_fit(board: Board) -> None:
    rest = board.probes._code.take(board.probes._code.free_bytes)
    assert rest is not None
    before = untouched(board)
    with pytest.raises(UserError, match=r"the probe hit has \d+ bytes of code, and 0 bytes are"):
        board.probes.add(hit)
    assert untouched(board) == before


def test_more_probes_than_a_site_can_have(board: Board) -> None:
    for _ in range(CHAIN_MAX):
        board.probes.add(hit)
    board.trap()
    assert board.probes.probes[0].maps["hits"].rows() == [(0, CHAIN_MAX)]
    with pytest.raises(UserError, match=f"{CHAIN_MAX} probes are called at the begin of traps"):
        board.probes.add(hit)
    board.probes.add(hit, at="end")


def test_more_changes_than_wait_for_a_trap(board: Board) -> None:
    with pytest.raises(UserError, match=f"{REQUESTS} changes of probes wait for a trap; let the"):
        for _ in range(REQUESTS):
            board.probes.add(hit).remove()
    board.l0.vcpu(0).observe.classes[0] = PROBE
    board.trap(ec=0)
    board.probes.add(hit)
    assert len(board.trap()) == 1
