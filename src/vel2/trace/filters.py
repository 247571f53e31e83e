"""What is to be traced: the terms of `--only`, as sets that L0's filter is made of.

    ec:HVC64  ec:0x16  ec:IRQ     traps of an exception class, or interrupts
    sysreg:HCR_EL2                accesses to a register, or an instruction such as `TLBI VMALLE1`
    kind:FILL                     events of one kind (`schema.Kind`)
    from:L2  from:L1-EL2          only from a level, or from one of its Exception levels
    pc:0x1000-0x2000  pc:NAME     only from addresses, which both are among them, or a function

Of the first three, each adds something to what is traced; without any it is everything. The last
two narrow it: of several `from:` one must hold, of several `pc:` one must, and both kinds must.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vel2.arch import insn, sysregs
from vel2.arch.esr import EC
from vel2.errors import UserError
from vel2.trace.schema import Kind, Place, Vector

__all__ = ("MAX_RANGES", "Addresses", "Wanted", "parse")

MAX_RANGES = 16
"""As many as L0 has places for."""
ADDRESS_MAX = (1 << 64) - 1
Addresses = tuple[int, int]
"""The first and the last of them."""


@dataclass(frozen=True)
class Wanted:
    """What is to be traced.

    :ivar classes: EC of synchronous exceptions, all of whose traps are. :ivar vectors: interrupts.
    :ivar registers: trap keys of registers and instructions. :ivar kinds: of events besides TRAP.
    :ivar places: who must have run. :ivar ranges: where; empty for anywhere.
    """

    classes: frozenset[int] = frozenset(range(64))
    vectors: frozenset[int] = frozenset({Vector.IRQ, Vector.FIQ, Vector.SERROR})
    registers: frozenset[int] = frozenset()
    kinds: frozenset[int] = frozenset(kind for kind in Kind if kind != Kind.TRAP)
    places: frozenset[int] = frozenset(Place)
    ranges: tuple[Addresses, ...] = ()


Resolver = Callable[[str], Sequence[Addresses]]


def no_names(name: str) -> Sequence[Addresses]:
    """Refuse a function's name where no kernel is known.

    :raises UserError: always.
    """
    raise UserError(f"nobody knows where {name!r} is before it runs; give addresses to pc:.")


def parse(terms: Sequence[str], resolve: Resolver = no_names) -> Wanted:
    """Read the terms of `--only`.

    :param resolve: gives where a function is, in each place where it runs.
    :raises UserError: naming a term that is none.
    """
    if not terms:
        return Wanted()
    classes: set[int] = set()
    vectors: set[int] = set()
    registers: set[int] = set()
    kinds: set[int] = set()
    places: set[int] = set()
    ranges: list[Addresses] = []
    for term in terms:
        what, _, value = term.partition(":")
        if what == "ec":
            add_class(value, classes, vectors, kinds)
        elif what == "sysreg":
            registers.add(key_of(value))
            kinds.add(Kind.AHEAD)
        elif what == "kind":
            add_kind(value, classes, vectors, kinds)
        elif what == "from":
            places |= places_of(value)
        elif what == "pc":
            ranges += addresses_of(value, resolve)
        else:
            raise refused(term, "begin it with ec:, sysreg:, kind:, from: or pc:")
    if len(ranges) > MAX_RANGES:
        raise UserError(f"{len(ranges)} ranges of addresses are too many; L0 takes {MAX_RANGES}.")
    everything = Wanted()
    narrowed = (frozenset(places) or everything.places, tuple(ranges))
    if not (classes or vectors or registers or kinds):
        all_traps = everything.classes, everything.vectors
        return Wanted(*all_traps, frozenset(), everything.kinds, *narrowed)
    return Wanted(
        frozenset(classes), frozenset(vectors), frozenset(registers), frozenset(kinds), *narrowed
    )


def refused(term: str, advice: str) -> UserError:
    """Say what is wrong with a term."""
    return UserError(f"--only {term} says nothing to trace; {advice}.")


def add_class(value: str, classes: set[int], vectors: set[int], kinds: set[int]) -> None:
    """Add an exception class or an interrupt."""
    name = value.upper()
    if name in ("IRQ", "FIQ", "SERROR"):
        vectors.add(Vector[name])
        return
    if name in EC.__members__:
        found = int(EC[name])
    else:
        found = number_of(value, f"ec:{value}", "give a class by Arm's name or number")
        if found > 63:
            raise refused(f"ec:{value}", "a class is a number up to 0x3f")
    classes.add(found)
    if found == EC.ERET:
        kinds.add(Kind.ERET)


def add_kind(value: str, classes: set[int], vectors: set[int], kinds: set[int]) -> None:
    """Add a kind of event."""
    name = value.upper()
    if name not in Kind.__members__:
        raise refused(f"kind:{value}", f"kinds are {', '.join(Kind.__members__)}")
    if name == Kind.TRAP.name:
        classes |= Wanted().classes
        vectors |= Wanted().vectors
    else:
        kinds.add(Kind[name])


def key_of(value: str) -> int:
    """Find a register or instruction by its name, as Arm writes it."""
    name = " ".join(value.upper().split())
    for register in sysregs.ALL_REGISTERS:
        if register.name.upper() == name:
            return register.trap_key
    for instruction in insn.ALL_INSNS:
        if instruction.name.upper() == name:
            return instruction.trap_key
    raise refused(f"sysreg:{value}", "give a register or instruction by Arm's name")


def places_of(value: str) -> set[int]:
    """Give who is meant by a level, or a level and an Exception level."""
    name = value.upper().replace("VEL", "EL").replace(" ", "-").replace("_", "-")
    found = {place for place in Place if place != Place.L0 and name in (place.level, dashed(place))}
    if not found:
        known = ", ".join(dashed(place) for place in Place if place != Place.L0)
        raise refused(f"from:{value}", f"give L1, L2, or one of {known}")
    return set(found)


def dashed(place: Place) -> str:
    """Write a place as in a term: `L1-EL2`."""
    return place.name.replace("_", "-")


def addresses_of(value: str, resolve: Resolver) -> list[Addresses]:
    """Read a range, one address, or a function."""
    if not value[:1].isdigit():
        found = list(resolve(value))
        if not found:
            raise refused(f"pc:{value}", "no kernel that runs has such a function")
        return found
    first, dash, last = value.partition("-")
    advice = "give an address, or the first and the last: 0x1000-0x1fff"
    low = number_of(first, f"pc:{value}", advice)
    high = number_of(last, f"pc:{value}", advice) if dash else low
    if not low <= high <= ADDRESS_MAX:
        raise refused(f"pc:{value}", advice)
    return [(low, high)]


def number_of(text: str, term: str, advice: str) -> int:
    """Read a number."""
    try:
        return int(text, 0)
    except ValueError:
        raise refused(term, advice) from None
