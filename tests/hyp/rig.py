"""The rig: L0's state in a simulated machine, and resident functions run on it in all host lives.

`Rig.run` runs a resident function twice from the same state, as CPython and as native code, and
requires the two to leave the same memory, registers and operations. A test that uses it therefore
shows both at once; what it then asserts about the state holds for both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

from tests.hyp import ordering
from vel2.arch import insn
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.check.tiny import TinyVm
from vel2.hyp import (
    a64,
    access,
    ahead,
    at,
    context,
    eret,
    errand,
    event,
    exception,
    finegrained,
    gic,
    hcrx,
    hook,
    idregs,
    layout,
    memattr,
    monitors,
    pauth,
    pool,
    power,
    routing,
    selectors,
    shadow,
    smc,
    stage1,
    stage2,
    tlbi,
    trap,
    walk,
)
from vel2.hyp.homes import OPTIONAL, switched
from vel2.hyp.pcpu import ON
from vel2.hyp.places import action_of, place_of
from vel2.hyp.state import (
    GUEST_NVHE,
    GUEST_VHE,
    LEVEL_NV,
    LEVEL_NV2,
    REGION_DEVICE,
    REGION_RAM,
    SHADOW_CONTEXTS,
    PoolPage,
    Stage2,
    Vcpu,
    Vm,
    VncrPage,
)
from vel2.lang import SimulatedAbort, extern, resident, u64
from vel2.lang.jit import Jit
from vel2.lang.sim import ORDERING, ORDERING_KEY, Simulation

ONLY_PYTHON = os.environ.get("VEL2_RIG") == "python"
"""Run in CPython alone (`tools/mutate` does): quicker by half, and shows no difference of lives."""
needs_native = pytest.mark.skipif(ONLY_PYTHON, reason="the rig runs CPython alone")
MIB = 1 << 20
GIB = 1 << 30
RAM_BASE = 0x4000_0000
RAM_BYTES = 2 * MIB
TABLES_BYTES = 0x8_0000
"""How much of that RAM is really there: L1's tables go here."""
BIG_RAM_BASE = 0x8000_0000
BIG_RAM_BYTES = 2 * GIB
"""RAM of L1 that is only mapped: a leaf may lead there, a table may not."""
DEVICE_BASE = 0x0900_0000
DEVICE_BYTES = 0x3000
FAR_DEVICE_BASE = 0x0A00_0000
"""A page in another 2 MiB, so that one large leaf of L1 has parts in two level-3 tables."""
VCPU_OFFSET = 0x1_0000
VNCR_OFFSET = 0x8_0000
POOL_OFFSET = 0x8_1000
"""L0 lies right below L1's RAM, where L1 has a hole, so that simulated memory is small."""
REGIONS = (
    (DEVICE_BASE, DEVICE_BYTES, REGION_DEVICE),
    (FAR_DEVICE_BASE, 0x1000, REGION_DEVICE),
    (RAM_BASE, RAM_BYTES, REGION_RAM),
    (BIG_RAM_BASE, BIG_RAM_BYTES, REGION_RAM),
)
FEW_CONTEXTS = 16
"""A rig's `pool_pages` is for so many; the roots of more are added."""
PARANGE = {32: 0, 36: 1, 40: 2, 42: 3, 44: 4, 48: 5, 52: 6}


@resident
def init_id_registers(vm: Vm) -> None:
    """Call `idregs.init`, whose plain name is that of another root."""
    idregs.init(vm)


@resident
def refusal(vcpu: Vcpu, key: u64, is_read: bool) -> u64:
    """Give what `access.refusal`, which is inline, says of an access of vEL2."""
    place = place_of(key)
    return access.refusal(vcpu, key, place, action_of(vcpu, place, is_read), is_read)


@resident
def read_el2(vcpu: Vcpu, key: u64) -> u64:
    """Read a register by `access`, as vEL2."""
    return access.read(vcpu, key, action_of(vcpu, place_of(key), True))


@resident
def write_el2(vcpu: Vcpu, key: u64, value: u64) -> None:
    """Write a register by `access`, as vEL2."""
    access.write(vcpu, key, action_of(vcpu, place_of(key), False), value)


ROOTS = (
    a64.execute,
    at.from_vel2,
    context.enter_vel1,
    context.enter_vel2,
    eret.from_vel2,
    event.returned,
    read_el2,
    refusal,
    write_el2,
    exception.take_to_running_el1,
    exception.take_to_vel2,
    hcrx.init,
    hcrx.reset,
    finegrained.asks,
    gic.empty_list_registers,
    gic.eoi_list_registers,
    gic.maintenance_status,
    init_id_registers,
    hook.ordered,
    hook.wants,
    errand.run,
    memattr.combine,
    monitors.probe,
    monitors.reset,
    pauth.authenticated,
    pool.empty,
    pool.give_back_all,
    pool.take,
    routing.asks,
    routing.control_of,
    selectors.enabled,
    selectors.counts_at_vel2,
    shadow.claim,
    shadow.fill,
    shadow.invalidation_shift,
    shadow.select,
    shadow.unmap,
    shadow.vacant,
    smc.call,
    stage1.reach_tables,
    stage2.canonical_leaf,
    stage2.find_leaf,
    stage2.init,
    stage2.is_ram,
    stage2.map_identity,
    stage2.map_leaf,
    tlbi.from_vel2,
    trap.handle_fiq,
    trap.handle_irq,
    trap.handle_serror,
    trap.handle_sync,
    trap.handle_watched_interrupt,
    trap.handle_watched_sync,
    walk.guest_stage2,
)
"""Every resident function that a test runs; they become one native module."""

KINDS = {
    "vhe-nv2": (GUEST_VHE, LEVEL_NV2),
    "nvhe-nv2": (GUEST_NVHE, LEVEL_NV2),
    "vhe-nv": (GUEST_VHE, LEVEL_NV),
    "nvhe-nv": (GUEST_NVHE, LEVEL_NV),
}
"""The guests and levels there are: what holds of a context has to hold in each."""
every_kind = pytest.mark.parametrize("kind", KINDS)
SELECTED = ["vhe-nv2"]
"""What `fresh_rig` gives; the fixture `each_kind` has a whole module run as each."""

LEFT_TO_THE_CALLER = (shadow.unmap, stage2.init, stage2.map_identity)
"""Parts that leave a DSB or TLBI to their caller, as they say."""


class Calls:
    """What stands in for the assembly: firmware that answers, and a PAC that can be computed."""

    made: list[tuple[int, int, int, int]]
    answer: int

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the calls made."""
        self.made = []
        self.answer = 0x1234


CALLS = Calls()


@extern("firmware_call")
def firmware_call(function: u64, first: u64, second: u64, third: u64) -> u64:
    """Note a call to the firmware."""
    CALLS.made.append((function, first, second, third))
    return CALLS.answer


def pac(key: int, pointer: int, modifier: int) -> int:
    """Compute something that depends on all of its arguments, in bits 63-32 as PACGA does."""
    mixed = (pointer * 0x9E37_79B9_7F4A_7C15 ^ modifier * 0xC2B2_AE3D_27D4_EB4F) + key
    return (mixed * 0xFF51_AFD7_ED55_8CCD) & 0xFFFF_FFFF_0000_0000


@extern("pac_with_key_a")
def pac_with_key_a(pointer: u64, modifier: u64) -> u64:
    """Stand in for PACGA under key A."""
    return pac(1, pointer, modifier)


@extern("pac_with_key_b")
def pac_with_key_b(pointer: u64, modifier: u64) -> u64:
    """Stand in for PACGA under key B."""
    return pac(2, pointer, modifier)


@contextmanager
def stand_ins() -> Iterator[None]:
    """Put the stand-ins in the place of the assembly."""
    with (
        patch.object(smc, "firmware_call", firmware_call),
        patch.object(power, "firmware_call", firmware_call),
        patch.object(pauth, "pac_with_key_a", pac_with_key_a),
        patch.object(pauth, "pac_with_key_b", pac_with_key_b),
    ):
        yield


@cache
def native() -> Jit:
    """Compile all of `ROOTS` for the host, once."""
    with stand_ins():
        return Jit(*ROOTS)


class Op(NamedTuple):
    """One system instruction, barrier or hint, with the VTTBR_EL2 it ran under."""

    name: str
    value: int
    vttbr: int


class RecordingSimulation(Simulation):
    """A simulated machine that remembers which VTTBR_EL2 each operation ran under (in CPython)."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.trace: list[Op] = []
        self.is_traced = True
        """False while native code runs, whose operations come here only by way of `fallible`."""
        self.watch: Callable[[Op], None] | None = None
        """Called at each operation, while memory is as it is then."""
        self.translate: Callable[[Op], int] | None = None
        """Called at each AT: gives PAR_EL1, or raises `SimulatedAbort`."""
        self.events: list[ordering.Event] = []
        self.written: list[int] = []
        """Trap keys of the registers written by the last run in CPython, in order."""
        self.note_store: Callable[[int, int], ordering.Event | None] = lambda address, value: None
        """Says what to note of a store of eight bytes."""

    def store(self, size: int, address: int, value: int) -> None:
        """Note a store to a table, and do it."""
        if size == 8:
            event = self.note_store(address, value)
            if event is not None:
                self.events.append(event)
        super().store(size, address, value)

    def log_operation(self, key: int, value: int = 0) -> None:
        """Remember an operation."""
        if key >= ORDERING_KEY:
            name = ORDERING[key - ORDERING_KEY]
        else:
            known = insn.by_key(key)
            name = f"key {key:#x}" if known is None else known.name
        op = Op(name, value, self[sr.VTTBR_EL2])
        if self.is_traced:
            self.events.append(ordering.Event("do", name))
            self.trace.append(op)
            if self.watch is not None:
                self.watch(op)
        super().log_operation(key, value)
        if self.translate is not None and name.startswith("AT "):
            try:
                self[sr.PAR_EL1] = self.translate(op)
            except SimulatedAbort:
                # Taking an exception and returning from it synchronize, as ISB does.
                self.events.append(ordering.Event("do", "isb"))
                raise


class State:
    """A copy of all that a resident function can change; made once and filled again and again."""

    def __init__(self, sim: Simulation) -> None:
        self.parts = [bytearray(part) for part in buffers(sim)]
        self.calls: list[tuple[int, int, int, int]] = []

    def take(self, sim: Simulation) -> None:
        """Copy from the machine."""
        for part, source in zip(self.parts, buffers(sim), strict=True):
            part[:] = source
        self.calls = list(CALLS.made)

    def put_back(self, sim: Simulation) -> None:
        """Copy to the machine."""
        for part, target in zip(self.parts, buffers(sim), strict=True):
            target[:] = part
        CALLS.made = list(self.calls)


def buffers(sim: Simulation) -> tuple[bytearray, bytearray]:
    """Give the machine's memory, and the block with its registers and its log of operations."""
    memory, block = sim.buffer, sim.registers.obj
    assert isinstance(memory, bytearray) and isinstance(block, bytearray)
    return memory, block


class Rig:
    """A machine with L0 initialised as `start` does it, in the hyp context."""

    def __init__(
        self,
        pa_bits: int = 48,
        pool_pages: int = 96,
        regions: tuple[tuple[int, int, int], ...] = REGIONS,
    ) -> None:
        roots = {40: 2, 42: 8}.get(pa_bits, 1)
        pool_pages += (SHADOW_CONTEXTS - FEW_CONTEXTS) * roots
        self.l0_base = RAM_BASE - pool_pages * 0x1000 - POOL_OFFSET
        self.l0_end = RAM_BASE
        size = RAM_BASE + TABLES_BYTES - self.l0_base
        self.sim = RecordingSimulation(self.l0_base, size)
        self.vm: Vm = self.sim.at(Vm, self.l0_base)
        self.vcpu: Vcpu = self.sim.at(Vcpu, self.l0_base + VCPU_OFFSET)
        self.page: VncrPage = self.sim.at(VncrPage, self.l0_base + VNCR_OFFSET)
        TinyVm(
            self.l0_base,
            (self.l0_base + POOL_OFFSET, pool_pages * 0x1000),
            (RAM_BASE, TABLES_BYTES),
            PARANGE[48],
            regions,
            self.l0_base + VCPU_OFFSET - layout.VCPU_IN_PCPU,
            1,
        ).describe(self.vm)
        self.vcpu.power.state = ON
        self.vm.config.ahead = ahead.BUDGET
        self.vm.probed.list_registers = 4
        self.vm.probed.active_priorities = 1
        self.vm.probed.optional = (1 << len(OPTIONAL)) - 1
        self.vcpu.vm = self.l0_base
        self.vcpu.vel2.vncr_page = self.l0_base + VNCR_OFFSET
        self.vcpu.e2h = 1
        with self.sim:
            monitors.probe(self.vm)
            monitors.reset(self.vcpu, self.vm)
            self.ready: bool = stage2.init(self.vm, PARANGE[pa_bits])
            self.sim[sr.VTTBR_EL2] = self.vm.stage2.canonical.vttbr
            self.sim[sr.HCR_EL2] = sr.HCR_EL2.compose(VM=1, NV=1)
        CALLS.reset()
        self.before, self.after = State(self.sim), State(self.sim)
        self.initial = self.state()

    def state(self) -> State:
        """Copy everything."""
        copy = State(self.sim)
        copy.take(self.sim)
        return copy

    def put_back(self, state: State) -> None:
        """Make everything what it was, with an empty log."""
        state.put_back(self.sim)
        self.sim.clear_log()
        self.sim.trace.clear()

    def reset(self) -> None:
        """Go back to the state after initialisation."""
        CALLS.reset()
        self.sim.watch = None
        self.sim.translate = None
        self.put_back(self.initial)

    def become(self, kind: str) -> None:
        """Make the guest one of `KINDS`."""
        self.vm.config.guest_kind, self.vm.config.nv_level = KINDS[kind]
        self.vcpu.e2h = int(self.vm.config.guest_kind == GUEST_VHE)

    def interpret(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function in CPython only (an inline function has no native code of its own).

        What it does is recorded, and its barriers are checked.
        """
        sim, file = self.sim, self.sim.registers
        sim.events.clear()
        sim.written.clear()
        sim.note_store = self.note_store
        sim.registers = ordering.Registers(file, sim.events, sim.written)
        try:
            with sim, stand_ins(), ordering.noting_fills(sim.events):
                result = function(*arguments)
        finally:
            sim.registers = file
            sim.note_store = lambda address, value: None
        ordering.check(sim.events, is_whole=function not in LEFT_TO_THE_CALLER)
        return result

    def note_store(self, address: int, value: int) -> ordering.Event | None:
        """Note a store to a table that hardware walks."""
        owner = self.owner_of(address)
        if owner is None:
            return None
        output = value & 0xFFFF_FFFF_F000
        return ordering.Event(
            "store",
            "table",
            address,
            old=self.sim.load(8, address),
            new=value,
            links=value & 1 != 0 and self.is_pool(output),
            cached=owner.dirty != 0,
        )

    def is_pool(self, address: int) -> bool:
        """Whether an address is one of the pool."""
        return (
            self.vm.config.pool_base
            <= address
            < self.vm.config.pool_base + self.vm.config.pool_size
        )

    def owner_of(self, address: int) -> Stage2 | None:
        """Find the `Stage2` of which an address is part of a table."""
        vm = self.vm
        first_root, root_bytes = (
            vm.stage2.canonical.root,
            vm.stage2.shadows[0].root - vm.stage2.canonical.root,
        )
        if not first_root <= address < vm.config.pool_base + vm.config.pool_size:
            return None
        if address < vm.stage2.pool_first_page:
            return (vm.stage2.canonical, *vm.stage2.shadows, vm.stage2.devices)[
                (address - first_root) // root_bytes
            ]
        number = (address - vm.stage2.pool_first_page) >> 12
        for owner in (vm.stage2.canonical, *vm.stage2.shadows, vm.stage2.devices):
            if number in self.chain(owner.pages, "next"):
                return owner
        return None

    def prepare(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function as native code only: to come to a state, not to test how."""
        if ONLY_PYTHON:
            return self.interpret(function, *arguments)
        self.sim.is_traced = False
        try:
            with self.sim:
                return native().call(function, *arguments)
        finally:
            self.sim.is_traced = True

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function in both lives, from the same state, and require the same end."""
        self.sim.clear_log()
        self.sim.trace.clear()
        self.before.take(self.sim)
        expected = self.interpret(function, *arguments)
        if ONLY_PYTHON:
            return expected
        self.after.take(self.sim)
        self.before.put_back(self.sim)
        result = self.prepare(function, *arguments)
        name = function.__name__
        memory, block = buffers(self.sim)
        assert result == expected, f"{name}: native code gives another result"
        assert memory == self.after.parts[0], f"{name}: memory differs"
        assert block == self.after.parts[1], f"{name}: registers or operations differ"
        assert CALLS.made == self.after.calls, f"{name}: firmware calls differ"
        return result

    def __getitem__(self, register: type[Register]) -> int:
        return self.sim[register]

    def __setitem__(self, register: type[Register], value: int) -> None:
        self.sim[register] = value

    def slot(self, register: type[Register]) -> int:
        """Read a register's slot in the VNCR page."""
        assert register.vncr is not None
        return self.page.slot[register.vncr // 8]

    def set_slot(self, register: type[Register], value: int) -> None:
        """Write a register's slot in the VNCR page, as L1 does."""
        assert register.vncr is not None
        self.page.slot[register.vncr // 8] = value

    def set_vel2(self, register: type[Register], value: int) -> None:
        """Write the register of vEL2 that one of hardware's EL1 registers carries."""
        row = switched(register)
        self.vcpu.vel2.el1[row.index] = value
        self[register] = value if self.vcpu.e2h else row.to_el1(value)

    def instructions(self) -> list[Op]:
        """Give the system instructions that the last `run` executed, without barriers."""
        return [op for op in self.sim.trace if op.name not in ORDERING]

    def stage2_of(self, address: int) -> Stage2:
        """Look at a `Stage2` by its address."""
        return self.sim.at(Stage2, address)

    def store(self, address: int, value: int) -> None:
        """Write eight bytes of memory."""
        self.sim.store(8, address, value)

    def load(self, address: int) -> int:
        """Read eight bytes of memory."""
        return self.sim.load(8, address)

    def chain(self, head: int, link: str) -> list[int]:
        """Follow a list of pool pages (`next` or `next_spare`); give page numbers."""
        found = []
        while head:
            number = head - 1
            assert number < self.vm.stage2.pool_pages, "a list leads outside the pool"
            assert number not in found, "a list of pool pages is circular"
            found.append(number)
            record = self.sim.at(PoolPage, self.vm.config.pool_base + number * PoolPage.size)
            head = getattr(record, link)
        return found

    def leaves(self, context: Stage2) -> dict[int, tuple[int, int]]:
        """List what a `Stage2` maps, by reading all its tables: {IPA: (level, descriptor)}."""
        found: dict[int, tuple[int, int]] = {}
        start = self.vm.stage2.start_level
        bits = 64 - sr.VTCR_EL2.T0SZ.get(self.vm.stage2.vtcr)
        entries = 1 << (bits - (39 - 9 * start))
        self._read_table(context.root, start, 0, entries, found)
        return found

    def _read_table(
        self, table: int, level: int, ipa: int, entries: int, found: dict[int, tuple[int, int]]
    ) -> None:
        shift = 39 - 9 * level
        start = (table - self.l0_base) // 8
        for index, entry in enumerate(self.sim.views[3][start : start + entries].tolist()):
            if entry & 1 == 0:
                continue
            here = ipa + (index << shift)
            if level < 3 and entry & 2:
                self._read_table(entry & 0xFFFF_FFFF_F000, level + 1, here, 512, found)
            else:
                found[here] = (level, entry)

    def check_pool(self) -> None:
        """Require every pool page to be in exactly one place, and the counts to agree."""
        vm = self.vm
        places = self.chain(vm.stage2.pool_free, "next")
        used = 0
        for owner in (vm.stage2.canonical, *vm.stage2.shadows):
            pages = self.chain(owner.pages, "next")
            used += len(pages)
            places += pages
            spare = self.chain(owner.spare, "next_spare")
            tables = self.tables(owner)
            assert set(spare) <= set(pages), "a spare page belongs to another context"
            assert tables <= set(pages), "a table in use is not among its context's pages"
            assert not tables & set(spare), "a table in use is on the spare list"
        assert sorted(places) == list(range(vm.stage2.pool_pages)), (
            "a page is lost, or in two lists"
        )
        assert vm.stage2.pool_used == used

    def tables(self, context: Stage2) -> set[int]:
        """Number the pool pages that the tables of a `Stage2` use."""
        found: set[int] = set()
        bits = 64 - sr.VTCR_EL2.T0SZ.get(self.vm.stage2.vtcr)
        work = [
            (
                context.root,
                self.vm.stage2.start_level,
                1 << (bits - (39 - 9 * self.vm.stage2.start_level)),
            )
        ]
        while work:
            table, level, entries = work.pop()
            start = (table - self.l0_base) // 8
            for entry in self.sim.views[3][start : start + entries].tolist():
                if level < 3 and entry & 3 == 3:
                    below = entry & 0xFFFF_FFFF_F000
                    number = (below - self.vm.stage2.pool_first_page) >> 12
                    assert number not in found, "two entries lead to one table"
                    found.add(number)
                    work.append((below, level + 1, 512))
        return found


@cache
def shared_rig(pa_bits: int = 48, pool_pages: int = 96) -> Rig:
    """Give the one rig of a shape; call `reset` before use."""
    return Rig(pa_bits, pool_pages)


def fresh_rig(pa_bits: int = 48, pool_pages: int = 96) -> Rig:
    """Give a rig in its initial state, of the kind that the test's module runs as."""
    rig = shared_rig(pa_bits, pool_pages)
    rig.reset()
    rig.become(SELECTED[-1])
    return rig


def rig_of(kind: str) -> Rig:
    """Give a rig in its initial state for one of `KINDS`, with E2H as its guest has set it."""
    rig = fresh_rig()
    rig.become(kind)
    return rig
