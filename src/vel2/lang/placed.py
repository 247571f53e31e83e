"""Objects of resident code that lie at a symbol: Python holds their type, the linker their place.

A `Placed` is known at compile time, and what it stands for is memory. Resident code calls its
methods; each is a resident function whose first parameter is the structure:

    class Total(Placed):
        methods = {"add": add_to_total}    # def add_to_total(memory: Memory, n: u64) -> None

In a simulation the memory is where the simulation has registered the symbol.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType

from vel2.lang.sim import current
from vel2.lang.structs import Struct


class Placed:
    """An object in memory at `symbol`, of the layout `struct`.

    :ivar methods: what resident code may call, by name.
    """

    symbol: str
    struct: type[Struct]
    methods: Mapping[str, FunctionType]

    def memory(self) -> Struct:
        """View the object's memory in the current simulation."""
        machine = current()
        return machine.at(self.struct, machine.symbols[self.symbol])
