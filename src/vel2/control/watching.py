"""Which traps L0 comes to those who watch at: the host's side of `hyp.watch`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vel2.arch.esr import EC
from vel2.hyp.records import FIQ, IRQ, SERROR, SYNC
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu
from vel2.hyp.watch import (
    BY_PC,
    CLASSES_PER_CONTEXT,
    PLAIN_ERET,
    REGISTER_GROUPS,
    class_of_interrupt,
)
from vel2.probes.place import Place

__all__ = ("ALL_CLASSES", "classes_of", "watch")

CONTEXTS = (CONTEXT_VEL2, CONTEXT_VEL1)
KINDS = (SYNC, IRQ, FIQ, SERROR)
ALL_CLASSES = frozenset(range(PLAIN_ERET + 1))
"""Of traps."""
ACCESSES = frozenset(context * CLASSES_PER_CONTEXT + EC.SYS64 for context in CONTEXTS)


def classes_of(place: Place) -> frozenset[int]:
    """Give the classes of the traps that a place may be about."""
    contexts = CONTEXTS if place.context is None else (place.context,)
    kinds = KINDS if place.kind is None else (place.kind,)
    found: set[int] = set()
    for context in contexts:
        for kind in kinds:
            if kind != SYNC:
                found.add(int(class_of_interrupt(kind, context)))
                continue
            ecs = range(CLASSES_PER_CONTEXT) if place.ec is None else (place.ec,)
            found.update(context * CLASSES_PER_CONTEXT + ec for ec in ecs)
            if context == CONTEXT_VEL2 and EC.ERET in ecs:
                found.add(PLAIN_ERET)
    return frozenset(found)


def watch(vcpus: Sequence[Vcpu], who: int, classes: Iterable[int]) -> None:
    """Have L0 come to one who watches (a bit of `hyp.watch`) at the traps of some classes only.

    Who else watches is left as it is. That they want a class only by address does not hold for
    all any more; each asks for itself as well.
    """
    wanted = frozenset(classes)
    for vcpu in vcpus:
        found = vcpu.observe.classes
        for number in ALL_CLASSES:
            before = found[number]
            after = before & ~who
            if number in wanted:
                after = before & ~BY_PC | who
            if after != before:
                found[number] = after
        show_anybody(vcpu, who, wanted)


def show_anybody(vcpu: Vcpu, who: int, wanted: frozenset[int]) -> None:
    """Let the vectors look at all, and at accesses to all registers if any are wanted."""
    observe = vcpu.observe
    if wanted & ACCESSES:
        for group in range(REGISTER_GROUPS):
            observe.groups[group] = 1
    if wanted:
        observe.anybody |= who
    else:
        observe.anybody &= ~who
