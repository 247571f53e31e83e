"""The simulated machine, under CPython and under native code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vel2.arch.insn import TLBI
from vel2.arch.sysregs import HCR_EL2, VTTBR_EL2
from vel2.lang import (
    PA,
    Jit,
    Simulation,
    SimulationError,
    Struct,
    address_of,
    array,
    at,
    bytes_address,
    compare_exchange_u64,
    dsb_ish,
    extern,
    fetch_add_u64,
    isb,
    load_u8,
    load_u64,
    mrs,
    msr,
    nested,
    rbit,
    resident,
    scalar,
    store_u8,
    store_u64,
    swap_u64,
    symbol_address,
    sysop,
    u8,
    u64,
    unreachable,
)
from vel2.lang.sim import LOG_ENTRIES, Operation

BASE = 0x4000_0000


class Inner(Struct):
    value = scalar(u64)


class Outer(Struct):
    words = array(u64, 4)
    inner = nested(Inner)


@resident
def switch(x: u64) -> u64:
    old = mrs(HCR_EL2)
    msr(HCR_EL2, HCR_EL2.NV.set(old, 1))
    msr(VTTBR_EL2, x)
    isb()
    sysop(TLBI.VMALLS12E1IS)
    sysop(TLBI.VAE2IS, x)
    dsb_ish()
    return old


@resident
def copy(source: PA, target: PA) -> u64:
    store_u64(target, load_u64(source))
    store_u8(PA(target + 8), load_u8(source))
    outer = at(Outer, target)
    outer.inner.value = address_of(outer.inner)
    return u64(swap_u64(source, 7) + fetch_add_u64(source, 3) + compare_exchange_u64(source, 10, 1))


@resident
def find(outer: Outer, wanted: bool) -> Inner:
    return outer.inner if wanted else at(Outer, BASE + 0x40).inner


@extern("stub_twice")
def twice(outer: Outer, x: u64) -> u64:
    if x == 13:
        raise RuntimeError("thirteen")
    outer.words[0] = x
    return 2 * x


@resident
def call_twice(outer: Outer, x: u64) -> u64:
    return u64(twice(outer, x) + outer.words[0])


@resident
def word(outer: Outer, index: u64) -> u64:
    return outer.words[index]


@resident
def where() -> u64:
    return u64(symbol_address("vectors") + load_u8(PA(bytes_address(b"AB") + 1)))


@resident
def never(x: u64) -> u64:
    if x == 0:
        unreachable()
    return x


@resident
def reverse(x: u64) -> u64:
    return rbit(x)


ROOTS = (switch, copy, find, call_twice, word, where, never, reverse)
Runner = Callable[..., Any]


@pytest.fixture(scope="module")
def jit() -> Jit:
    return Jit(*ROOTS)


@pytest.fixture(params=["cpython", "native"])
def run(request: pytest.FixtureRequest, jit: Jit) -> Runner:
    """Call a resident function in one way or the other."""
    if request.param == "native":
        return jit.call
    return lambda function, *arguments: function(*arguments)


def test_registers_and_operations(run: Runner) -> None:
    with Simulation() as machine:
        machine[HCR_EL2] = 0x8000_0000
        assert run(switch, 0x1234) == 0x8000_0000
        assert machine[HCR_EL2] == 0x8000_0000 | HCR_EL2.NV.mask
        assert machine[VTTBR_EL2] == 0x1234
        assert machine.operations == [
            Operation("isb"),
            Operation(TLBI.VMALLS12E1IS.trap_key),
            Operation(TLBI.VAE2IS.trap_key, 0x1234),
            Operation("dsb ish"),
        ]
        machine.clear_log()
        assert machine.operations == []


def test_the_log_keeps_the_newest(run: Runner) -> None:
    with Simulation() as machine:
        for n in range(LOG_ENTRIES // 4 + 2):
            run(switch, n)
        assert len(machine.operations) == LOG_ENTRIES
        assert machine.operations[-2:] == [
            Operation(TLBI.VAE2IS.trap_key, LOG_ENTRIES // 4 + 1),
            Operation("dsb ish"),
        ]
        assert machine.operations[0] == Operation("isb")


def test_memory(run: Runner) -> None:
    memory = bytearray(0x100)
    memory[0:8] = bytes(range(1, 9))
    with Simulation(BASE, memory) as machine:
        first = int.from_bytes(bytes(range(1, 9)), "little")
        assert run(copy, BASE, BASE + 0x40) == first + 7 + 10
        assert memory[0:8] == (1).to_bytes(8, "little")
        assert memory[0x40:0x49] == bytes([*range(1, 9), 1])
        assert machine.at(Outer, BASE + 0x40).inner.value == BASE + 0x60
        assert machine.load(2, BASE + 0x40) == 0x0201


def test_structures_are_shared_and_returned(run: Runner) -> None:
    outer = Outer(bytearray(Outer.size + 16), 16)
    outer.inner.value = 5
    with Simulation(BASE, 0x100) as machine:
        found = run(find, outer, True)
        assert found.value == 5
        found.value = 6
        assert outer.inner.value == 6
        run(find, outer, False).value = 7
        assert machine.at(Outer, BASE + 0x40).inner.value == 7


def test_external_functions_run_their_python_body(run: Runner) -> None:
    outer = Outer()
    assert run(call_twice, outer, 21) == 63
    assert outer.words[0] == 21
    with pytest.raises(RuntimeError, match=r"^thirteen$"):
        run(call_twice, outer, 13)
    assert run(call_twice, outer, 1) == 3


def test_symbols_and_bytes(run: Runner) -> None:
    with Simulation(BASE, symbols={"vectors": 0x1000}):
        assert run(where) == 0x1000 + ord("B")
    with Simulation(BASE):
        assert run(where) == ord("B")


def test_simulations_nest(run: Runner) -> None:
    with Simulation() as outer:
        with Simulation() as inner:
            run(switch, 1)
        run(switch, 2)
    assert (inner[VTTBR_EL2], outer[VTTBR_EL2]) == (1, 2)


def test_without_a_machine(run: Runner) -> None:
    with pytest.raises(SimulationError) as caught:
        run(switch, 1)
    assert str(caught.value) == (
        "no simulated machine: run resident code that touches the machine inside "
        "`with Simulation(...):`"
    )
    assert run(reverse, 1) == 1 << 63


def test_memory_that_is_not_there(run: Runner) -> None:
    with Simulation(BASE, 0x100):
        with pytest.raises(SimulationError) as caught:
            run(copy, BASE + 0x100, BASE)
        assert str(caught.value).startswith(
            "physical address 0x40000100 is outside simulated memory (0x40000000 to 0x400000ff)"
        )
        with pytest.raises(SimulationError):
            run(copy, 0, BASE)
        run(copy, BASE, BASE + 0x40)


def test_indices_outside_arrays(run: Runner) -> None:
    outer = Outer()
    outer.words[3] = 4
    assert run(word, outer, 3) == 4
    with pytest.raises((IndexError, SimulationError), match=r"^index 4 is outside (an|its) array"):
        run(word, outer, 4)


def test_what_is_unreachable(run: Runner) -> None:
    assert run(never, 1) == 1
    with pytest.raises(SimulationError, match=r"^unreachable\(\) was reached$"):
        run(never, 0)


def test_cpython_checks_what_the_machine_cannot() -> None:
    with Simulation(BASE, 0x100) as machine:
        with pytest.raises(SimulationError) as caught:
            msr(HCR_EL2, 1 << 64)
        assert str(caught.value) == ("HCR_EL2 cannot hold 0x10000000000000000: wrap it in u64(...)")
        with pytest.raises(SimulationError) as caught:
            machine.store(1, BASE, 256)
        assert str(caught.value) == "0x100 does not fit a store of 1 bytes: wrap it first"
        with pytest.raises(SimulationError) as caught:
            machine.load(4, BASE + 2)
        assert str(caught.value) == "physical address 0x40000002 is not a multiple of 4"
        with pytest.raises(SimulationError) as caught:
            address_of(Outer())
        assert str(caught.value) == (
            "this Outer is not in simulated memory: make it with at(..., address)"
        )


def test_native_calls_check_their_arguments(jit: Jit) -> None:
    outer = Outer()
    for arguments, kind, sentence in (
        ((outer,), TypeError, "word() takes 2 arguments, not 1"),
        ((1, 1), TypeError, "outer is a Outer, not int"),
        ((outer, "x"), TypeError, "index is a u64, not str"),
        ((outer, -1), ValueError, "index cannot be -0x1: it is a u64"),
        ((outer, 1 << 64), ValueError, "index cannot be 0x10000000000000000: it is a u64"),
    ):
        with pytest.raises(kind) as caught:
            jit.call(word, *arguments)
        assert str(caught.value) == sentence
    with pytest.raises(ValueError) as error:
        jit.call(twice, outer, 1)
    assert str(error.value) == "twice is not a root of this Jit: name it in Jit(...)"


def test_u8_wraps_as_the_machine_does() -> None:
    assert (u8(0x1FF), u64(-1), u64(1 << 64), PA(-1)) == (0xFF, (1 << 64) - 1, 0, (1 << 64) - 1)
