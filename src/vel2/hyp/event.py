"""Events: whether anybody wants one, and how it gets into the ring of its pcpu.

`wanted` is on the path of every trap, a load and a branch while nobody watches. `asked` is on that
of the traps of a class that somebody wants: a few instructions, in which most filters end.

An event is stored where `vel2.trace.schema` has its columns, and published by a store-release of
`Ring.head`. The host takes events while the machine runs, and is never waited for. A guest reaches
neither: rings lie in L0's memory, and what a guest does is only ever a value in a column.
"""

from vel2.arch import sysregs as sr
from vel2.arch.bits import TrapKey
from vel2.arch.esr import EC, ISS_SYS64, ESR_ELx
from vel2.arch.pstate import SPSR_ELx
from vel2.hyp.hcr import STAGE2_ON, l1_hcr
from vel2.hyp.homes import slot
from vel2.hyp.layout import PAGE_SHIFT
from vel2.hyp.outcome import Outcome
from vel2.hyp.records import IRQ, SYNC, TO_VEL2
from vel2.hyp.state import CONTEXT_VEL2, Vcpu, page_of, vm_of
from vel2.hyp.watch import BY_PC, BY_REGISTER, RANGES, Ring
from vel2.lang import (
    PA,
    address_of,
    cold,
    inline,
    mrs,
    resident,
    store_release_u64,
    store_u64,
    u64,
    vload,
)
from vel2.trace import schema
from vel2.trace.schema import EVENT_BYTES, Flag, Kind, Place, Result

__all__ = (
    "VTTBR_SLOT",
    "ahead",
    "asked",
    "happened",
    "returned",
    "switched",
    "trapped",
    "wanted",
    "wants_trap",
)

HEAD = Ring.offset_of("head")
VTTBR_SLOT = slot(sr.VTTBR_EL2)
GROUP_LSB = TrapKey.CRm.width
ISS_GROUP_LSB = ISS_SYS64.CRn.lsb
ISS_GROUP_ONES = (1 << ISS_SYS64.Op0.msb - ISS_SYS64.CRn.lsb + 1) - 1
"""op0, op2, op1 and CRn stand side by side in a syndrome, in the order of a trap key."""
WORDS = EVENT_BYTES // 8
KIND_STEP = IRQ - SYNC
"""Between the kinds of exceptions (`records`), which the schema numbers from 0."""
SEQUENCE, BEGAN, ENDED, PC, PSTATE, ESR, FAR, IPA = (
    schema.column(name).offset
    for name in ("sequence", "began", "ended", "pc", "pstate", "esr", "far", "ipa")
)
VALUE, HCR, VTTBR, NEXT_PC, NEXT_PSTATE, SYNDROME, DETAIL = (
    schema.column(name).offset
    for name in ("value", "hcr", "vttbr", "next_pc", "next_pstate", "syndrome", "detail")
)
VCPU_LSB, VECTOR_LSB, RESULT_LSB, SOURCE_LSB, TARGET_LSB, FLAGS_LSB = (
    8 * schema.column(name).offset
    for name in ("vcpu", "vector", "result", "source", "target", "flags")
)


@inline
def wanted(vcpu: Vcpu, number: u64) -> u64:
    """Give who wants the events of a class (`watch`); 0 nearly always."""
    return vcpu.observe.classes[number]


@inline
def asked(vcpu: Vcpu, who: u64, esr: u64) -> bool:
    """Whether anybody may want this trap of a class that somebody wants."""
    if who & BY_REGISTER:
        return vcpu.observe.groups[esr >> ISS_GROUP_LSB & ISS_GROUP_ONES] != 0
    if who & BY_PC:
        return u64(vcpu.trap.pc - vcpu.observe.pc_low) <= vcpu.observe.pc_span
    return True


@resident
def wants(vcpu: Vcpu, kind: u64, source: u64, pc: u64) -> bool:
    """Whether the tracer wants an event of a kind, by who ran and where."""
    chosen = vm_of(vcpu).filter
    if chosen.kinds >> kind & 1 == 0 or chosen.sources >> source & 1 == 0:
        return False
    found = chosen.range_count == 0
    for i in range(RANGES):
        if i < chosen.range_count and u64(pc - chosen.ranges[i].low) <= chosen.ranges[i].span:
            found = True
    return found


@resident
def wants_key(vcpu: Vcpu, group: u64, crm: u64) -> bool:
    """Whether the tracer wants a register or instruction, by the two parts of its trap key."""
    chosen = vm_of(vcpu).filter
    return chosen.by_register == 0 or u64(chosen.registers[group]) >> crm & 1 != 0


@resident
def wants_trap(vcpu: Vcpu) -> bool:
    """Whether the tracer wants the trap that begins, or what may happen in it."""
    trap = vcpu.trap
    if not wants(vcpu, Kind.TRAP, vcpu.seen.source, trap.pc):
        return False
    if trap.kind != SYNC or ESR_ELx.EC.get(trap.esr) != EC.SYS64:
        return True
    group = trap.esr >> ISS_GROUP_LSB & ISS_GROUP_ONES
    return wants_key(vcpu, group, ISS_SYS64.CRm.get(trap.esr))


@resident
def place_of(vcpu: Vcpu, context: u64, pstate: u64, hcr: u64) -> u64:
    """Name who runs (`schema.Place`) with a PSTATE, under hardware's HCR_EL2."""
    place = u64(Place.L2_EL1)
    if context == CONTEXT_VEL2:
        place = Place.L1_EL2
    elif l1_hcr(vcpu) & STAGE2_ON == 0:
        place = Place.L1_EL1
    elif hcr & sr.HCR_EL2.NV.mask:
        place = Place.L2_EL2
    if pstate & SPSR_ELx.M.mask == 0:  # EL0
        place = u64(place + 1)
    return place


@resident
def open_slot(vcpu: Vcpu, head: u64) -> u64:
    """Begin an event that starts with `head`: give where it goes, or 0 if it is lost."""
    ring = vcpu.ring
    number = ring.numbered
    ring.numbered = u64(number + 1)
    if u64(ring.head - vload(ring, "tail")) >= ring.slots:
        ring.lost = u64(ring.lost + 1)
        return 0
    found = u64(ring.base + (ring.head & u64(ring.slots - 1)) * EVENT_BYTES)
    store_u64(PA(found), head | u64(vcpu.index << VCPU_LSB))
    for i in range(1, WORDS):
        store_u64(PA(found + i * 8), 0)
    store_u64(PA(found + SEQUENCE), number)
    return found


@resident
def publish(vcpu: Vcpu) -> None:
    """Let the host see the event whose slot was opened last."""
    store_release_u64(PA(address_of(vcpu.ring) + HEAD), u64(vcpu.ring.head + 1))


@cold
def happened(vcpu: Vcpu, kind: u64, ipa: u64, value: u64, detail: u64) -> None:
    """Record what is no trap, for `wanted` has said that somebody wants it."""
    hcr = mrs(sr.HCR_EL2)
    source = place_of(vcpu, vcpu.context, vcpu.pstate, hcr)
    if not wants(vcpu, kind, source, vcpu.pc):
        return
    found = open_slot(vcpu, kind | source << SOURCE_LSB)
    if found == 0:
        return
    now = mrs(sr.CNTPCT_EL0)
    store_u64(PA(found + BEGAN), now)
    store_u64(PA(found + ENDED), now)
    store_u64(PA(found + IPA), ipa)
    store_u64(PA(found + VALUE), value)
    store_u64(PA(found + HCR), hcr)
    store_u64(PA(found + VTTBR), page_of(vcpu).slot[VTTBR_SLOT])
    store_u64(PA(found + DETAIL), detail)
    publish(vcpu)


@cold
def ahead(vcpu: Vcpu, key: u64, is_read: bool, value: u64) -> None:
    """Record an access that is done ahead of its trap; PC is on it."""
    if not wants_key(vcpu, key >> GROUP_LSB, TrapKey.CRm.get(key)):
        return
    hcr = mrs(sr.HCR_EL2)
    source = place_of(vcpu, vcpu.context, vcpu.pstate, hcr)
    if not wants(vcpu, Kind.AHEAD, source, vcpu.pc):
        return
    flags = u64(Flag.HAS_VALUE)
    if is_read:
        flags = flags | Flag.READ
    found = open_slot(vcpu, u64(Kind.AHEAD | source << SOURCE_LSB | flags << FLAGS_LSB))
    if found == 0:
        return
    now = mrs(sr.CNTPCT_EL0)
    store_u64(PA(found + BEGAN), now)
    store_u64(PA(found + ENDED), now)
    store_u64(PA(found + PC), vcpu.pc)
    store_u64(PA(found + VALUE), value)
    store_u64(PA(found + HCR), hcr)
    store_u64(PA(found + VTTBR), page_of(vcpu).slot[VTTBR_SLOT])
    store_u64(PA(found + DETAIL), key)
    publish(vcpu)


@resident
def common(vcpu: Vcpu, kind: u64, head: u64) -> u64:
    """Begin the event of a trap whose start `observe.begin` has seen: give its slot, or 0."""
    target = place_of(vcpu, vcpu.context, vcpu.pstate, mrs(sr.HCR_EL2))
    places = u64(vcpu.seen.source << SOURCE_LSB | target << TARGET_LSB)
    found = open_slot(vcpu, kind | head | places)
    if found != 0:
        store_u64(PA(found + BEGAN), vcpu.seen.began)
        store_u64(PA(found + ENDED), mrs(sr.CNTPCT_EL0))
        store_u64(PA(found + HCR), vcpu.seen.hcr)
        store_u64(PA(found + VTTBR), vcpu.seen.vttbr)
    return found


@inline
def store_way(vcpu: Vcpu, found: u64) -> None:
    """Store from where to where the guest went."""
    store_u64(PA(found + PC), vcpu.trap.pc)
    store_u64(PA(found + PSTATE), vcpu.trap.pstate)
    store_u64(PA(found + NEXT_PC), vcpu.pc)
    store_u64(PA(found + NEXT_PSTATE), vcpu.pstate)


@inline
def result_of(vcpu: Vcpu, outcome: Outcome) -> u64:
    """Say what came of a trap (`schema.Result`)."""
    if outcome == Outcome.RESUME:
        return Result.RESUMED
    if outcome == Outcome.SKIP or outcome == Outcome.AHEAD:
        return Result.HANDLED
    if outcome == Outcome.RETURN:
        return Result.RETURNED
    if vcpu.exception.target == TO_VEL2:
        return Result.FORWARDED
    return Result.INJECTED


@resident
def trapped(vcpu: Vcpu, outcome: Outcome) -> None:
    """Record a trap that has been delivered."""
    trap = vcpu.trap
    result = result_of(vcpu, outcome)
    flags = vcpu.seen.flags
    head = u64(trap.kind // KIND_STEP << VECTOR_LSB | result << RESULT_LSB | flags << FLAGS_LSB)
    found = common(vcpu, Kind.TRAP, head)
    if found == 0:
        return
    store_way(vcpu, found)
    store_u64(PA(found + ESR), trap.esr)
    if flags & Flag.FAR_VALID:
        store_u64(PA(found + FAR), trap.far)
    if flags & Flag.IPA_VALID:
        store_u64(PA(found + IPA), u64(sr.HPFAR_EL2.FIPA.get(trap.hpfar) << PAGE_SHIFT))
    store_u64(PA(found + VALUE), vcpu.seen.value)
    if (result >= Result.FORWARDED and result <= Result.INJECTED) or flags & Flag.STEPPED:
        if vcpu.exception.has_syndrome != 0:
            store_u64(PA(found + SYNDROME), vcpu.exception.syndrome)
    publish(vcpu)


@resident
def switched(vcpu: Vcpu) -> None:
    """Record a context switch that came with a trap."""
    if wants(vcpu, Kind.SWITCH, vcpu.seen.source, vcpu.trap.pc):
        if common(vcpu, Kind.SWITCH, 0) != 0:
            publish(vcpu)


@cold
def returned(vcpu: Vcpu) -> None:
    """Record an ERET that the vectors have done: PC and PSTATE are where it goes to."""
    vcpu.seen.began = mrs(sr.CNTPCT_EL0)
    vcpu.seen.hcr = mrs(sr.HCR_EL2)
    vcpu.seen.vttbr = page_of(vcpu).slot[VTTBR_SLOT]
    vcpu.seen.source = place_of(vcpu, vcpu.context, vcpu.trap.pstate, vcpu.seen.hcr)
    if wants(vcpu, Kind.ERET, vcpu.seen.source, vcpu.trap.pc):
        found = common(vcpu, Kind.ERET, 0)
        if found != 0:
            store_way(vcpu, found)
            publish(vcpu)
