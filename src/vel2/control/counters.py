"""What trapped, read from L0's counters in shared memory."""

from dataclasses import dataclass

from vel2.arch import insn, sysregs
from vel2.arch.bits import encoding_from_trap_key
from vel2.arch.esr import EC
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu

__all__ = ("TrapCount", "sysreg_traps", "trap_name", "traps")

CONTEXT_NAMES = {CONTEXT_VEL2: "vEL2", CONTEXT_VEL1: "vEL1"}


@dataclass(frozen=True)
class TrapCount:
    """How often one kind of trap came from one context.

    :ivar kind: exception class, number and name, or the kind of interrupt.
    :ivar context: who ran when it trapped: vEL2 (L1) or vEL1 (below, normally L2).
    """

    kind: str
    context: str
    count: int


def class_name(ec: int) -> str:
    """Name an exception class by number and name."""
    name = EC(ec).name if ec in EC._value2member_map_ else "UNALLOCATED"
    return f"{ec:#04x} {name}"


def traps(vcpu: Vcpu) -> list[TrapCount]:
    """List the traps of one vCPU by class and context, largest first."""
    found = []
    counted = vcpu.counters
    for context, context_name in CONTEXT_NAMES.items():
        for ec in range(64):
            count = counted.by_ec[context * 64 + ec]
            if context == CONTEXT_VEL2 and ec == EC.ERET:
                count += counted.fast_eret
            if count:
                found.append(TrapCount(class_name(ec), context_name, count))
        for name, array in (("IRQ", counted.irq), ("FIQ", counted.fiq), ("SError", counted.serror)):
            if array[context]:
                found.append(TrapCount(name, context_name, array[context]))
    return sorted(found, key=lambda trap: (-trap.count, trap.kind, trap.context))


def trap_name(key: int) -> str:
    """Name a system register or instruction by its trap key."""
    register = sysregs.by_key(key)
    if register is not None:
        return register.name
    instruction = insn.by_key(key)
    if instruction is not None:
        return instruction.name
    return encoding_from_trap_key(key).generic_name


def sysreg_traps(vcpu: Vcpu) -> dict[str, int]:
    """Count the traps of EC 0x18 of one vCPU by register or instruction, largest first."""
    array = vcpu.counters.by_sysreg
    found = {trap_name(key): array[key] for key in range(len(array)) if array[key]}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
