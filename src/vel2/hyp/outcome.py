"""What a trap handler may ask for. Handlers return an `Outcome`; `trap.deliver` does it."""

from enum import IntEnum

__all__ = ("Fatal", "Outcome", "Stop")


class Outcome(IntEnum):
    """The answer to one trap."""

    RESUME = 0
    """Run the guest on, at the PC it trapped at."""
    SKIP = 1
    """The instruction is done: run on behind it."""
    AHEAD = 2
    """As SKIP; and what follows may be done by `ahead` before the guest runs on."""
    EXCEPTION = 3
    """Take the exception in `Vcpu.exception`."""
    UNDO = 4
    """As EXCEPTION, of an instruction that hardware has already gone past: PC is on it again."""
    RETURN = 5
    """Return from vEL2 to what is in `Vcpu.returning`."""
    NOBODY = 6
    """Nobody answers: of a trap, that its instruction is UNDEFINED; of an address, that nothing is
    there."""


class Stop(IntEnum):
    """Why L0 stopped the machine, in `PostMortem.stop_reason`."""

    RUNNING = 0
    SYSTEM_OFF = 1
    SYSTEM_RESET = 2
    FATAL = 3


class Fatal(IntEnum):
    """Which invariant of L0 broke, in `PostMortem.fatal_code`."""

    NONE = 0
    VECTOR_SAME_EL = 1
    """An exception from EL2 itself; `PostMortem.fatal_detail` is the vector's number."""
    VECTOR_AARCH32 = 2
    """An exception by a vector for AArch32, although HCR_EL2.RW makes EL1 AArch64."""
    BAD_MACHINE = 3
    """The machine below lacks something L0 needs; `fatal_detail` names it (see `start`)."""
