"""What trapped, read from L0's counters in shared memory."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vel2.arch import insn, sysregs
from vel2.arch.bits import encoding_from_trap_key
from vel2.arch.esr import EC
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu

__all__ = ("INTERRUPTS", "TrapCount", "class_name", "sysreg_traps", "trap_name", "traps")

INTERRUPTS = {"irq": "IRQ", "fiq": "FIQ", "serror": "SError"}
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


def traps(vcpus: Sequence[Vcpu]) -> list[TrapCount]:
    """List the traps of all vCPUs together by class and context, largest first."""
    total: Counter[tuple[str, str]] = Counter()
    for vcpu in vcpus:
        counted = vcpu.counters
        for context, context_name in CONTEXT_NAMES.items():
            for ec in range(64):
                total[class_name(ec), context_name] += counted.by_ec[context * 64 + ec]
            for name in ("irq", "fiq", "serror"):
                total[INTERRUPTS[name], context_name] += getattr(counted, name)[context]
        total[class_name(EC.ERET), CONTEXT_NAMES[CONTEXT_VEL2]] += counted.fast_eret
    found = [TrapCount(kind, context, count) for (kind, context), count in total.items() if count]
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


def sysreg_traps(vcpus: Sequence[Vcpu]) -> dict[str, int]:
    """Count the traps of EC 0x18 by register or instruction, largest first."""
    found: Counter[str] = Counter()
    for vcpu in vcpus:
        array = vcpu.counters.by_sysreg
        for key in range(len(array)):
            if array[key]:
                found[trap_name(key)] += array[key]
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
