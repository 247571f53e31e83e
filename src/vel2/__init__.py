"""vel2: a nested hypervisor for Armv8-A, written in Python.

    import vel2

    with vel2.boot(kernel="6.12") as machine:
        machine.wait_for("L1# ")
        with machine.paused():
            print(machine.vcpus[0].vel2.HCR_EL2)

The names below are the library's (docs/library.md), and stay. They are loaded when they are used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vel2.arch.esr import EC
    from vel2.errors import LaunchError, UserError
    from vel2.guests.symbols import RunningKernel
    from vel2.inspect.boot import boot
    from vel2.inspect.failing import HookError
    from vel2.inspect.hooked import Answer, HookedTrap
    from vel2.inspect.hooks import Hook
    from vel2.inspect.points import Hit, Point
    from vel2.inspect.traces import Trace
    from vel2.inspect.value import Value
    from vel2.inspect.vcpu import Vcpu
    from vel2.inspect.vm import Machine, Trap
    from vel2.inspect.walk import Walk

__version__ = "0.2.0.dev0"

__all__ = (
    "EC",
    "Answer",
    "Hit",
    "Hook",
    "HookError",
    "HookedTrap",
    "LaunchError",
    "Machine",
    "Point",
    "RunningKernel",
    "Trace",
    "Trap",
    "UserError",
    "Value",
    "Vcpu",
    "Walk",
    "__version__",
    "boot",
)

HOMES = {
    "Answer": "vel2.inspect.hooked",
    "Hit": "vel2.inspect.points",
    "Hook": "vel2.inspect.hooks",
    "HookError": "vel2.inspect.failing",
    "HookedTrap": "vel2.inspect.hooked",
    "EC": "vel2.arch.esr",
    "LaunchError": "vel2.errors",
    "Machine": "vel2.inspect.vm",
    "Point": "vel2.inspect.points",
    "RunningKernel": "vel2.guests.symbols",
    "Trace": "vel2.inspect.traces",
    "Trap": "vel2.inspect.vm",
    "UserError": "vel2.errors",
    "Value": "vel2.inspect.value",
    "Vcpu": "vel2.inspect.vcpu",
    "Walk": "vel2.inspect.walk",
    "boot": "vel2.inspect.boot",
}
"""Where each name is."""


def __getattr__(name: str) -> object:
    if name not in HOMES:
        raise AttributeError(f"module 'vel2' has no attribute {name!r}")
    return getattr(importlib.import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
