"""What an event is about, in a word or two: for tables, slices and lines."""

from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of an event."""

    class_name: str
    is_access: bool = False
    register: str = ""
    direction: str = ""
    cause: str = ""


def words_of(event: Event) -> Words:
    """Give all of it. Traces have few different events: each is put into words once."""
    is_ahead = event.kind == Kind.AHEAD
    is_read = is_ahead and event.flags & Flag.READ != 0
    return _words(event.kind, event.vector, event.esr, event.detail if is_ahead else 0, is_read)


@lru_cache(maxsize=1 << 16)
def _words(kind: int, vector: int, esr: int, key: int, is_read: bool) -> Words:
    name = _class_name(kind, vector, esr)
    if kind == Kind.AHEAD:
        register, direction = name_of_key(key), "read" if is_read else "write"
        return Words(name, False, register, direction, f"{direction} {register}")
    if kind != Kind.TRAP or vector != Vector.SYNC:
        return Words(name, cause=name)
    ec, iss = ESR_ELx.EC.get(esr), ESR_ELx.ISS.get(esr)
    if ec != EC.SYS64:
        return Words(name, cause=WORK.get(ec, name))
    register, direction = name_of_key(trap_key_from_iss(iss)), ""
    if ISS_SYS64.Op0.get(iss) != 1:
        direction = "read" if ISS_SYS64.Direction.get(iss) else "write"
    return Words(name, True, register, direction, f"{direction} {register}".strip())


def _class_name(kind: int, vector: int, esr: int) -> str:
    if kind == Kind.TRAP and vector == Vector.SYNC:
        ec = ESR_ELx.EC.get(esr)
        return EC(ec).name if ec in EC._value2member_map_ else f"EC {ec:#x}"
    if kind == Kind.TRAP:
        return {Vector.IRQ: "IRQ", Vector.FIQ: "FIQ"}.get(Vector(vector), "SError")
    return Kind(kind).name if kind in Kind._value2member_map_ else str(kind)


def is_access(event: Event) -> bool:
    """Whether it is an MRS, MSR or SYS that trapped."""
    return words_of(event).is_access


def register_of(event: Event) -> str:
    """Name the register or instruction of an access; empty for other events."""
    return words_of(event).register


def direction_of(event: Event) -> str:
    """Give `read` or `write` of an access to a register; empty for other events."""
    return words_of(event).direction


def class_of(event: Event) -> str:
    """Name the exception class of a trap, the interrupt, or the kind of another event."""
    return words_of(event).class_name


def cause_of(event: Event) -> str:
    """Say what happened, as people call it: `hypercall`, `write HCR_EL2`, `IRQ`."""
    return words_of(event).cause


LEVELS: dict[int, str] = {place: place.level for place in Place}


def level_of(place: int) -> str:
    """Give `L0`, `L1` or `L2` of a place."""
    return LEVELS.get(place, "?")


def vmid_of(event: Event) -> int:
    """Give the VMID of the guest of L1 that the event was in; L1's own context has whichever."""
    return sysregs.VTTBR_EL2.VMID.get(event.vttbr)
