"""What a trap handler may ask for. Handlers return an `Outcome`; `trap.apply` does it."""

from enum import IntEnum


class Outcome(IntEnum):
    """The answer to one trap."""

    RESUME = 0
    """Run the guest on, at the PC it trapped at (or where ERET emulation put it)."""
    SKIP = 1
    """The instruction is done: run on behind it."""
    FORWARD = 2
    """Take a synchronous exception to vEL2 with the syndrome in `Vcpu.syndrome`."""
    INJECT = 3
    """Take a synchronous exception to the running EL1 with the syndrome in `Vcpu.syndrome`."""
    HOST = 4
    """Ask CPython."""
    UNDEFINED = 5
    """Nobody answers: the instruction is UNDEFINED."""
    AHEAD = 6
    """As SKIP; and what follows may be done by `ahead` before the guest runs on."""


class Stop(IntEnum):
    """Why L0 stopped the machine, in `Vm.stop_reason`."""

    RUNNING = 0
    SYSTEM_OFF = 1
    SYSTEM_RESET = 2
    FATAL = 3


class Fatal(IntEnum):
    """Which invariant of L0 broke, in `Vm.fatal_code`."""

    NONE = 0
    VECTOR_SAME_EL = 1
    """An exception from EL2 itself; `Vm.fatal_detail` is the vector's number."""
    VECTOR_AARCH32 = 2
    """An exception by a vector for AArch32, although HCR_EL2.RW makes EL1 AArch64."""
    POOL_EXHAUSTED = 3
    BAD_OUTCOME = 4
    BAD_MACHINE = 5
    """The machine below lacks something L0 needs; `Vm.fatal_detail` names it (see `start`)."""
