"""The simulated machine: a register file, a log of operations, and a flat memory.

One `Simulation` drives the same resident functions in CPython (`with simulation: f(...)`) and in
compiled code of the `simulated` mode, which reaches it through the layout of `SimulationBlock`.
A register reads as it was last written; a system instruction only adds to the log.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

from vel2.lang.ir import BARRIERS, HINTS
from vel2.lang.structs import Struct, StructT, Views, array, scalar, views_of
from vel2.lang.types import u64

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

REGISTERS = 1 << 16
LOG_ENTRIES = 1 << 12
ORDERING_KEY = 1 << 16
"""Keys from here on in the log are barriers and hints, in the order of `ORDERING`."""

ORDERING = (*BARRIERS, *HINTS)


class Encoded(Protocol):
    """What has a place in the encoding space of MRS, MSR and SYS (a Register, an instruction)."""

    @property
    def trap_key(self) -> int: ...  # noqa: D102


class LogEntry(Struct):
    """One system instruction, barrier or hint: its trap key and the value of its operand."""

    key = scalar(u64)
    value = scalar(u64)


class SimulationBlock(Struct):
    """What compiled code sees. `memory_bias` is the host address of memory less `memory_base`."""

    memory_base = scalar(u64)
    memory_size = scalar(u64)
    memory_bias = scalar(u64)
    fault_count = scalar(u64)
    fault_address = scalar(u64)
    fault_kind = scalar(u64)
    log_count = scalar(u64)
    log = array(LogEntry, LOG_ENTRIES)
    registers = array(u64, REGISTERS)


FAULT_MEMORY, FAULT_INDEX, FAULT_UNREACHABLE = 1, 2, 3


class SimulationError(Exception):
    """Resident code did what the simulated machine has no answer to."""


class SimulatedAbort(Exception):
    """An access or instruction aborts: what a test's simulation raises to have it so."""


@dataclass(frozen=True)
class Operation:
    """One entry of the log: a system instruction's trap key, or the name of a barrier or hint."""

    what: int | str
    value: int = 0


class Simulation:
    """A machine for tests.

    :param memory_base: physical address of the first byte of memory.
    :param memory: its size in bytes, or a writable buffer to use as memory.
    :param symbols: addresses that `symbol_address` gives; a name not in it gives 0.
    """

    _stack: list[Simulation] = []  # noqa: RUF012  # the simulations entered, innermost last

    def __init__(
        self,
        memory_base: int = 0x4000_0000,
        memory: int | WriteableBuffer = 1 << 20,
        symbols: Mapping[str, int] | None = None,
    ) -> None:
        self.buffer = bytearray(memory) if isinstance(memory, int) else memory
        self.symbols = dict(symbols or {})
        self.views: Views = views_of(self.buffer)
        self.block = SimulationBlock()
        self.registers = self.block._views[3][
            SimulationBlock.offset_of("registers") // 8 : SimulationBlock.size // 8
        ]
        self.memory_base = self.block.memory_base = memory_base
        self.memory_size = self.block.memory_size = memoryview(self.buffer).nbytes
        self._constants: dict[bytes, int] = {}
        self._top = (memory_base + self.memory_size) & ~7
        self.host_address = ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))
        self.block.memory_bias = (self.host_address - memory_base) & (1 << 64) - 1

    @property
    def block_address(self) -> int:
        """Give the host address of the block that compiled code uses."""
        return self.block.host_address

    def __enter__(self) -> Simulation:
        self._stack.append(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.pop()

    def __getitem__(self, register: Encoded) -> int:
        return self.registers[register.trap_key]

    def __setitem__(self, register: Encoded, value: int) -> None:
        self.registers[register.trap_key] = value

    def at(self, struct: type[StructT], address: int) -> StructT:
        """View simulated memory as a structure."""
        return struct._over(self.views, self._offset(address, struct.size, struct.alignment))

    def load(self, size: int, address: int) -> int:
        """Read `size` bytes (1, 2, 4, 8) at a physical address."""
        view = self.views[size.bit_length() - 1]
        return view[self._offset(address, size, size) // size]

    def store(self, size: int, address: int, value: int) -> None:
        """Write `size` bytes (1, 2, 4, 8) at a physical address."""
        view = self.views[size.bit_length() - 1]
        offset = self._offset(address, size, size)
        if not 0 <= value < 1 << 8 * size:
            raise SimulationError(f"{value:#x} does not fit a store of {size} bytes: wrap it first")
        view[offset // size] = value

    def load_acquire(self, size: int, address: int) -> int:
        """Read as LDAR does. One pcpu alone sees no difference; a simulation of several may."""
        return self.load(size, address)

    def store_release(self, size: int, address: int, value: int) -> None:
        """Write as STLR does; see `load_acquire`."""
        self.store(size, address, value)

    def update(self, address: int, change: Callable[[int], int | None]) -> int:
        """Read eight bytes and write what `change` makes of them, as one access; give the old ones.

        :param change: gives None to write nothing, as CAS does when it does not compare equal.
        """
        old = self.load(8, address)
        new = change(old)
        if new is not None:
            self.store(8, address, new)
        return old

    def address_of(self, instance: Struct) -> int:
        """Give the physical address of a structure that lies in simulated memory."""
        if instance._views is not self.views:
            raise SimulationError(
                f"this {type(instance).__name__} is not in simulated memory: make it with "
                "at(..., address)"
            )
        return self.memory_base + instance._offset

    def place_bytes(self, data: bytes) -> int:
        """Put constant bytes at the top of memory, once, and give their address."""
        if data not in self._constants:
            self._top -= -(-len(data) // 8) * 8
            start = self._offset(self._top, len(data), 1)
            memoryview(self.buffer).cast("B")[start : start + len(data)] = data
            self._constants[data] = self._top
        return self._constants[data]

    def log_operation(self, key: int, value: int = 0) -> None:
        """Append to the log; the oldest entries are overwritten when it is full."""
        entry = self.block.log[self.block.log_count % LOG_ENTRIES]
        entry.key, entry.value = key, value
        self.block.log_count += 1

    @property
    def operations(self) -> list[Operation]:
        """Give the log: system instructions, barriers and hints in program order."""
        count = self.block.log_count
        found = []
        for index in range(max(0, count - LOG_ENTRIES), count):
            entry = self.block.log[index % LOG_ENTRIES]
            if entry.key >= ORDERING_KEY:
                found.append(Operation(ORDERING[entry.key - ORDERING_KEY]))
            else:
                found.append(Operation(entry.key, entry.value))
        return found

    def clear_log(self) -> None:
        """Empty the log."""
        self.block.log_count = 0

    def check_faults(self) -> None:
        """Raise if compiled code left its memory or an array since the last check.

        :raises SimulationError: says how often, and what the first one was.
        """
        block = self.block
        count, address, kind = block.fault_count, block.fault_address, block.fault_kind
        block.fault_count = 0
        if count == 0:
            return
        if kind == FAULT_MEMORY:
            first = f"physical address {address:#x} is outside {self._range()}"
        elif kind == FAULT_INDEX:
            first = f"index {address} is outside its array"
        else:
            first = "unreachable() was reached"
        more = f" (the first of {count} faults)" if count > 1 else ""
        raise SimulationError(f"{first}{more}")

    def _offset(self, address: int, size: int, alignment: int) -> int:
        offset = address - self.memory_base
        if not 0 <= offset <= self.memory_size - size:
            raise SimulationError(f"physical address {address:#x} is outside {self._range()}")
        if address % alignment:
            raise SimulationError(f"physical address {address:#x} is not a multiple of {alignment}")
        return offset

    def _range(self) -> str:
        last = self.memory_base + self.memory_size - 1
        return f"simulated memory ({self.memory_base:#x} to {last:#x})"


def current() -> Simulation:
    """Give the innermost simulation entered."""
    try:
        return Simulation._stack[-1]
    except IndexError:
        _no_simulation()


def _no_simulation() -> NoReturn:
    raise SimulationError(
        "no simulated machine: run resident code that touches the machine inside "
        "`with Simulation(...):`"
    )
