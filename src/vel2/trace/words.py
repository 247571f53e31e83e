"""What an event is about, in a word or two: for tables, slices and lines."""

from functools import lru_cache

from vel2.arch import insn, sysregs
from vel2.arch.bits import encoding_from_trap_key, trap_key_from_iss
from vel2.arch.esr import EC, ISS_SYS64, ESR_ELx
from vel2.trace.schema import Event, Flag, Kind, Place, Vector

__all__ = (
    "cause_of",
    "class_of",
    "direction_of",
    "is_access",
    "level_of",
    "register_of",
    "vmid_of",
)

WORK: dict[int, str] = {
    EC.HVC64: "hypercall",
    EC.SMC64: "SMC",
    EC.WFX: "WFI",
    EC.DABT_LOWER: "data abort",
    EC.IABT_LOWER: "instruction abort",
    EC.FP_ASIMD: "FP",
    EC.SVE: "SVE",
    EC.ERET: "ERET",
    EC.SERROR: "SError",
}
"""What L1 has to deal with, by class; others are called as Arm calls them."""


@lru_cache(maxsize=4096)
def name_of_key(key: int) -> str:
    """Name a register or instruction by its trap key."""
    known = sysregs.by_key(key) or insn.by_key(key)
    return encoding_from_trap_key(key).generic_name if known is None else known.name


def is_access(event: Event) -> bool:
    """Whether it is an MRS, MSR or SYS that trapped."""
    return (
        event.kind == Kind.TRAP
        and event.vector == Vector.SYNC
        and ESR_ELx.EC.get(event.esr) == EC.SYS64
    )


def register_of(event: Event) -> str:
    """Name the register or instruction of an access; empty for other events."""
    if event.kind == Kind.AHEAD:
        return name_of_key(event.detail)
    return name_of_key(trap_key_from_iss(ESR_ELx.ISS.get(event.esr))) if is_access(event) else ""


def direction_of(event: Event) -> str:
    """Give `read` or `write` of an access to a register; empty for other events."""
    if event.kind == Kind.AHEAD:
        return "read" if event.flags & Flag.READ else "write"
    if not is_access(event) or ESR_ELx.ISS.get(event.esr) >> ISS_SYS64.Op0.lsb & 3 == 1:
        return ""
    return "read" if ISS_SYS64.Direction.get(event.esr) else "write"


def class_of(event: Event) -> str:
    """Name the exception class of a trap, the interrupt, or the kind of another event."""
    if event.kind == Kind.TRAP and event.vector == Vector.SYNC:
        ec = ESR_ELx.EC.get(event.esr)
        return EC(ec).name if ec in EC._value2member_map_ else f"EC {ec:#x}"
    if event.kind == Kind.TRAP:
        return {Vector.IRQ: "IRQ", Vector.FIQ: "FIQ"}.get(Vector(event.vector), "SError")
    return Kind(event.kind).name if event.kind in Kind._value2member_map_ else str(event.kind)


def cause_of(event: Event) -> str:
    """Say what happened, as people call it: `hypercall`, `write HCR_EL2`, `IRQ`."""
    if register := register_of(event):
        return f"{direction_of(event)} {register}".strip()
    if event.kind == Kind.TRAP and event.vector == Vector.SYNC:
        return WORK.get(ESR_ELx.EC.get(event.esr), class_of(event))
    return class_of(event)


def level_of(place: int) -> str:
    """Give `L0`, `L1` or `L2` of a place."""
    return Place(place).level if place in Place._value2member_map_ else "?"


def vmid_of(event: Event) -> int:
    """Give the VMID of the guest of L1 that the event was in; L1's own context has whichever."""
    return sysregs.VTTBR_EL2.VMID.get(event.vttbr)
