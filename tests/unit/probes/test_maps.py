"""Maps count the same in CPython and as compiled code, and say what they had no room for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vel2.arch.esr import EC
from vel2.arch.insn import TLBI
from vel2.arch.sysregs import HCR_EL2
from vel2.errors import UserError
from vel2.hyp.records import Trap
from vel2.hyp.state import Vcpu
from vel2.lang import Jit, Simulation, u64
from vel2.probes.counting import BUCKETS, TRIES, Counters, Hash, Histogram
from vel2.probes.maps import Map
from vel2.probes.notes import Last, Scratch

BASE = 0x4000_0000
VCPU, MAP = 0x1_0000, 0x8_0000

counters = Counters(4)
by_key = Hash(8)
sizes = Histogram(2)
recent = Last(4)
notes = Scratch(2)


def count(trap: Trap, vcpu: Vcpu, what: u64) -> None:
    counters.add(what)
    counters.add(2, 10)


def count_key(trap: Trap, vcpu: Vcpu, what: u64) -> None:
    by_key.add(what)


def record(trap: Trap, vcpu: Vcpu, what: u64) -> None:
    sizes.record(what, what & 3)


def leave(trap: Trap, vcpu: Vcpu, what: u64) -> None:
    recent.push(vcpu, what, 7)


def note(trap: Trap, vcpu: Vcpu, what: u64) -> None:
    notes.put(vcpu, 1, u64(notes.get(vcpu, 1) + what))
    notes.put(vcpu, 2, 5)


def run(function: Callable[..., None], each: Map, given: list[int], *, native: bool) -> Any:
    """Call a function with each of some numbers; give what its map says then."""
    machine = Simulation(BASE, 1 << 20, {each.symbol: BASE + MAP})
    vcpu = machine.at(Vcpu, BASE + VCPU)
    vcpu.index = 3
    jit = Jit(function) if native else None
    with machine:
        for number in given:
            if jit is None:
                function(vcpu.trap, vcpu, number)
            else:
                jit.call(function, vcpu.trap, vcpu, number)
    memory = memoryview(machine.buffer)[MAP : MAP + each.struct.size]
    return each.read(memory)


@pytest.mark.parametrize("native", [False, True])
class TestMaps:
    def test_counters(self, native: bool) -> None:
        found = run(count, counters, [0, 1, 1, 3, 4, 1 << 63], native=native)
        assert found.rows() == [(0, 1), (1, 2), (2, 60), (3, 1)]
        assert found.drops == 2
        assert found[1] == 2

    def test_a_hash_counts_each_key(self, native: bool) -> None:
        found = run(count_key, by_key, [5, 0, 1 << 63, 5, 0, 5, 2**64 - 1], native=native)
        assert found.items() == [(5, 3), (0, 2), (1 << 63, 1), (2**64 - 1, 1)]
        assert (found[5], found[6], len(found), found.drops) == (3, 0, 4, 0)

    def test_a_full_hash_counts_what_it_drops(self, native: bool) -> None:
        assert TRIES == 8, "all of its places are tried, so that it really gets full"
        found = run(count_key, by_key, [*range(1, 13), 0, *range(1, 13)], native=native)
        assert len(found) == 8
        assert found[0] == 1, "which has a place of its own"
        assert sum(n for _, n in found.items()) + found.drops == 25
        assert all(n == 2 for key, n in found.items() if key)

    def test_a_histogram(self, native: bool) -> None:
        given = [0, 4, 8, 12, 1 << 40, 5, 2, 3]
        found = run(record, sizes, given, native=native)
        assert found.counts(0) == {1: 1, 8: 1, 16: 2, 1 << 41: 1}
        assert found.mean(0) == sum((0, 4, 8, 12, 1 << 40)) / 5
        assert found.counts(1) == {8: 1}
        assert found.drops == 2
        assert found.rows()[1] == (0, 4, 7, 1)

    def test_the_last_records(self, native: bool) -> None:
        found = run(leave, recent, list(range(10, 16)), native=native)
        assert found.rows() == [(n, 3, n + 9, 7, 0, 0) for n in range(3, 7)]
        assert found.drops == 2

    def test_notes(self, native: bool) -> None:
        assert run(note, notes, [1, 2, 4], native=native).rows() == [(3, 1, 7)]


def test_the_largest_number_has_a_bucket() -> None:
    found = run(record, sizes, [2**64 - 4], native=False)
    assert found.counts(0) == {1 << BUCKETS - 1: 1}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Counters(0), "Counters cannot have 0 entries; give 1 to 65,536."),
        (
            lambda: Hash(100),
            "a Hash cannot have 100 entries; give a power of two, such as 128.",
        ),
        (lambda: Hash(1 << 17), "a Hash cannot have 131072 entries; give 1 to 65,536."),
        (lambda: Last(3), "Last cannot have 3 entries; give a power of two, such as 4."),
    ],
)
def test_sizes_that_no_map_has(make: Callable[[], Map], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == sentence


def test_keys_are_shown_as_what_they_are() -> None:
    memory = memoryview(bytearray(1 << 12))
    by_register = Hash(8, shows="sysreg").read(memory)
    assert by_register.text(HCR_EL2.trap_key) == "HCR_EL2"
    assert by_register.text(TLBI.VAE1IS.trap_key) == "TLBI VAE1IS"
    assert Counters(64, shows="ec").read(memory).text(EC.ERET) == "ERET"
    assert Hash(8, shows="pc").read(memory).text(0xFFFF_8000) == "0xffff8000"
    assert Hash(8).read(memory).text(12) == "12"
    with pytest.raises(UserError, match="a map cannot show 'pcs'; give one of number, pc, hex,"):
        Hash(8, shows="pcs")
