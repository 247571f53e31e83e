"""What a probe may want to know of a trap, for use in probes."""

from vel2.arch.esr import EC, ISS_SYS64, ESR_ELx
from vel2.hyp.records import SYNC, Trap
from vel2.hyp.syndrome import key_of
from vel2.lang import inline, u64

__all__ = ("class_of", "is_read", "is_register", "register_of")


@inline
def class_of(trap: Trap) -> u64:
    """Give the exception class (`vel2.EC`); 0 of an interrupt."""
    return ESR_ELx.EC.get(trap.esr)


@inline
def is_register(trap: Trap) -> bool:
    """Whether the trap is an access to a system register, or a system instruction."""
    return trap.kind == SYNC and ESR_ELx.EC.get(trap.esr) == EC.SYS64


@inline
def register_of(trap: Trap) -> u64:
    """Give the trap key of the system register or instruction."""
    return key_of(trap.esr)


@inline
def is_read(trap: Trap) -> bool:
    """Whether a system register is read (MRS)."""
    return trap.esr & ISS_SYS64.Direction.mask != 0
