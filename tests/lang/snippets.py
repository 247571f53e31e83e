"""Resident functions given as text: they become a module on disk, as the compiler reads sources."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

HEADER = """\
from enum import IntEnum
from typing import NoReturn
from vel2.arch.insn import AT, TLBI
from vel2.arch.sysregs import HCR_EL2, SCTLR_EL1, VTTBR_EL2
from vel2.lang import *


class Timer(Struct):
    cval = scalar(u64)
    ctl = scalar(u32)
    enabled = scalar(bool)
    level = scalar(u8)


class Vcpu(Struct):
    x = array(u64, 31)
    pc = scalar(u64)
    timer = nested(Timer)
    timers = array(Timer, 4)
    page = scalar(PA)


class Kind(IntEnum):
    HVC = 0x16
    SMC = 0x17


TABLE = (5, 6, 7, 1 << 63)
ROWS = ((HCR_EL2, 1), (SCTLR_EL1, 2))


"""

_numbers = itertools.count()


def load(directory: Path, source: str, header: str = HEADER) -> ModuleType:
    """Make a module of `header` and `source` and import it."""
    name = f"snippet_{next(_numbers)}"
    path = directory / f"{name}.py"
    path.write_text(header + source)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
