"""Every system register by its Arm name, and the tables that find one.

`from vel2.arch import sysregs` gives all registers as attributes. `ALL_REGISTERS` holds each
encoding once; the classes that are only a second layout of an encoding (`layout_of`) are
attributes but not in it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from types import ModuleType

from vel2.arch.bits import Register
from vel2.arch.sysregs import debug, el1, el2, el12, ext, fgt, gic, id, pmu, spe, timer, trace

# Star imports are refused everywhere but here: this is the one place whose purpose is to gather
# all names, and a list of 800 of them would be a second table to keep right.
from vel2.arch.sysregs.debug import *  # noqa: F403
from vel2.arch.sysregs.el1 import *  # noqa: F403
from vel2.arch.sysregs.el2 import *  # noqa: F403
from vel2.arch.sysregs.el12 import *  # noqa: F403
from vel2.arch.sysregs.ext import *  # noqa: F403
from vel2.arch.sysregs.fgt import *  # noqa: F403
from vel2.arch.sysregs.gic import *  # noqa: F403
from vel2.arch.sysregs.id import *  # noqa: F403
from vel2.arch.sysregs.pmu import *  # noqa: F403
from vel2.arch.sysregs.spe import *  # noqa: F403
from vel2.arch.sysregs.timer import *  # noqa: F403
from vel2.arch.sysregs.trace import *  # noqa: F403

_MODULES: tuple[ModuleType, ...] = (
    id,
    el1,
    el2,
    el12,
    fgt,
    ext,
    gic,
    timer,
    debug,
    pmu,
    spe,
    trace,
)


def collect(modules: Iterable[ModuleType]) -> tuple[type[Register], ...]:
    """Gather the registers that `modules` define: families left out, each once, in order."""
    found: dict[type[Register], None] = {}
    for module in modules:
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Register)
                and hasattr(value, "encoding")
            ):
                found[value] = None
    return tuple(found)


def index(
    registers: Iterable[type[Register]],
) -> tuple[dict[str, type[Register]], dict[int, type[Register]]]:
    """Make the maps by name and by trap key.

    :raises TypeError: two registers have one name or one encoding, or a register names
        another (`e2h`, `alias_of`, `layout_of`) that does not exist.
    """
    names: dict[str, type[Register]] = {}
    keys: dict[int, type[Register]] = {}
    for register in registers:
        if register.name in names:
            raise TypeError(f"{register.name} is declared twice; keep one.")
        names[register.name] = register
        if register.layout_of is not None:
            continue
        other = keys.setdefault(register.trap_key, register)
        if other is not register:
            raise TypeError(
                f"{register.name} and {other.name} have the same encoding"
                f" {register.encoding.generic_name}; mark one layout_of the other."
            )
    for register in names.values():
        for what in ("e2h", "alias_of", "layout_of"):
            name = getattr(register, what)
            if name is not None and name not in names:
                raise TypeError(f"{register.name}: {what} names {name}, which is not declared.")
        if register.layout_of is not None:
            first = names[register.layout_of]
            if first.encoding != register.encoding:
                raise TypeError(
                    f"{register.name} is a layout of {first.name} but has encoding"
                    f" {register.encoding.generic_name}, not {first.encoding.generic_name}."
                )
    return names, keys


_BY_NAME, _BY_KEY = index(collect(_MODULES))

ALL_REGISTERS: tuple[type[Register], ...] = tuple(_BY_KEY.values())


def by_name(name: str) -> type[Register]:
    """Find a register, or one of the second layouts, by its Arm name.

    :raises KeyError: no such register; the sentence names the nearest ones.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name, _BY_NAME) or ["HCR_EL2"]
    raise KeyError(f"{name} is not a register known here; the nearest are {', '.join(near)}.")


def by_key(trap_key: int) -> type[Register] | None:
    """Find a register by the key of its trap; None if nothing is known at that encoding."""
    return _BY_KEY.get(trap_key)
