"""Maps: what probes count into, and the host reads while they do.

A map is one piece of memory that all vCPUs share. A count is added by one atomic instruction
(LDADDAL), so none is lost however many vCPUs add at once; records and notes are per vCPU. What does
not fit is counted in `drops`: nothing is silently left out.

A map is made at the top of a probe's file and used by name:

    by_pc = Hash(4096)

    def count(trap: Trap) -> None:
        by_pc.add(trap.pc)

The methods that a probe calls are functions of the subset (`methods`), compiled with it and looked
through as its own code is. CPython runs the same ones in a simulation. `read`, and all that has no
counterpart in `methods`, is the host's.
"""

import itertools
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, cast
from weakref import WeakValueDictionary

from vel2.arch import insn
from vel2.arch import sysregs as sr
from vel2.arch.esr import EC
from vel2.errors import UserError
from vel2.lang import Struct
from vel2.lang.placed import Placed

__all__ = ("NUMBER", "PC", "Map", "Reading", "Row", "map_at", "power_of_two", "sized")

_numbers = itertools.count()
_made: "WeakValueDictionary[str, Map]" = WeakValueDictionary()
ENTRIES_MAX = 1 << 16
NUMBER, PC = "number", "pc"

Row = tuple[Any, ...]


def register_name(key: int) -> str:
    """Name what a trap key stands for."""
    found = sr.by_key(key) or insn.by_key(key)
    return f"{key:#06x}" if found is None else str(getattr(found, "name", found))


def class_name(ec: int) -> str:
    """Name an exception class."""
    return EC(ec).name if ec in EC.__members__.values() else f"{ec:#x}"


SHOWN: dict[str, Callable[[int], str]] = {
    NUMBER: str,
    PC: hex,
    "hex": hex,
    "sysreg": register_name,
    "ec": class_name,
}
"""How a key is shown, by what it is."""


class Map(Placed):
    """The base of all maps.

    :ivar name: how it is shown; the variable's name, unless it was given one. :ivar shows: what
        its keys are (`SHOWN`).
    :raises UserError: when keys cannot be shown so.
    """

    def __init__(
        self,
        struct: type[Struct],
        methods: Mapping[str, Any],
        name: str | None,
        shows: str = NUMBER,
    ) -> None:
        if shows not in SHOWN:
            raise UserError(f"a map cannot show {shows!r}; give one of {', '.join(SHOWN)}.")
        self.struct = struct
        self.methods = {each: cast(FunctionType, found) for each, found in methods.items()}
        self.symbol = f"map.{next(_numbers)}"
        self.name, self.shows = name, shows
        _made[self.symbol] = self

    def read(self, memory: memoryview) -> "Reading":
        """View the map's contents in a machine's memory, live."""
        raise NotImplementedError

    def _call(self, method: str, *arguments: Any) -> Any:
        return self.methods[method](self.memory(), *arguments)


class Reading:
    """A map's contents, live.

    :ivar columns: what `rows` has. :ivar shows: what the first of these is (`SHOWN`).
    :ivar is_result: whether it is worth showing when all is done. :ivar names: names addresses, if
        somebody knows them.
    """

    columns: tuple[str, ...] = ()
    is_result = True

    def __init__(self, memory: Any, shows: str = NUMBER) -> None:
        self._memory, self.shows = memory, shows
        self.names: Callable[[int], object | None] = lambda address: None

    @property
    def drops(self) -> int:
        """How often something did not fit."""
        return 0

    def rows(self) -> list[Row]:
        """Give the contents as rows, in the order to show them in."""
        raise NotImplementedError

    def text(self, key: int) -> str:
        """Write a key as what it is."""
        name = self.names(key) if self.shows == PC else None
        return SHOWN[self.shows](key) if name is None else str(name)

    def result(self) -> dict[str, Any]:
        """Give the contents for JSON; a key that has a name comes with it."""
        rows = []
        for row in self.rows():
            found = dict(zip(self.columns, row, strict=True))
            if self.shows != NUMBER:
                found["name"] = self.text(row[0])
            rows.append(found)
        return {"rows": rows, "drops": self.drops}


def map_at(symbol: str) -> Map | None:
    """Give the map that has a symbol."""
    return _made.get(symbol)


def sized(what: str, count: int) -> int:
    """Require a number of entries.

    :raises UserError: when a map cannot have so many.
    """
    if not isinstance(count, int) or not 1 <= count <= ENTRIES_MAX:
        raise UserError(f"{what} cannot have {count} entries; give 1 to {ENTRIES_MAX:,}.")
    return count


def power_of_two(what: str, count: int) -> int:
    """Require a number of entries that is a power of two.

    :raises UserError: when a map cannot have so many.
    """
    size = sized(what, count)
    if size & (size - 1):
        raise UserError(
            f"{what} cannot have {count} entries; give a power of two, such as"
            f" {1 << size.bit_length()}."
        )
    return size
