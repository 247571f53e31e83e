"""Events: whether anybody wants one, and how it gets into the ring of its pcpu.

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
from vel2.hyp.records import IRQ, SYNC
from vel2.hyp.state import CONTEXT_VEL2, Vcpu, page_of, vm_of
from vel2.hyp.watch import GROUP_BITS, RANGES, Ring
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
    "happened",
    "outcome_of",
    "place_of",
    "returned",
    "switched",
    "trapped",
    "wanted",
    "wants_trap",
)

HEAD = Ring.offset_of("head")
VTTBR_SLOT = slot(sr.VTTBR_EL2)
CNTV_CTL_SLOT, CNTV_CVAL_SLOT = slot(sr.CNTV_CTL_EL0), slot(sr.CNTV_CVAL_EL0)
CNTP_CTL_SLOT, CNTP_CVAL_SLOT = slot(sr.CNTP_CTL_EL0), slot(sr.CNTP_CVAL_EL0)
GROUP_LSB = TrapKey.CRm.width
ISS_GROUP_LSB = ISS_SYS64.CRn.lsb
ISS_GROUP_ONES = (1 << GROUP_BITS) - 1
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
    """Give who wants the events of a class that are no trap (`watch`); 0 nearly always."""
    return vcpu.observe.classes[number]


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


@resident
def open_moment(vcpu: Vcpu, head: u64, hcr: u64, value: u64, detail: u64) -> u64:
    """Begin an event that takes no time, as `open_slot` does, with what all of these have."""
    found = open_slot(vcpu, head)
    if found != 0:
        now = mrs(sr.CNTPCT_EL0)
        store_u64(PA(found + BEGAN), now)
        store_u64(PA(found + ENDED), now)
        store_u64(PA(found + VALUE), value)
        store_u64(PA(found + HCR), hcr)
        store_u64(PA(found + VTTBR), page_of(vcpu).slot[VTTBR_SLOT])
        store_u64(PA(found + DETAIL), detail)
    return found


@cold
def happened(vcpu: Vcpu, kind: u64, ipa: u64, value: u64, detail: u64) -> None:
    """Record what is no trap, for `wanted` has said that somebody wants it."""
    hcr = mrs(sr.HCR_EL2)
    source = place_of(vcpu, vcpu.context, vcpu.pstate, hcr)
    if not wants(vcpu, kind, source, vcpu.pc):
        return
    found = open_moment(vcpu, u64(kind | source << SOURCE_LSB), hcr, value, detail)
    if found != 0:
        store_u64(PA(found + IPA), ipa)
        publish(vcpu)


@resident
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
    head = u64(Kind.AHEAD | source << SOURCE_LSB | flags << FLAGS_LSB)
    found = open_moment(vcpu, head, hcr, value, key)
    if found != 0:
        store_u64(PA(found + PC), vcpu.pc)
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


@resident
def result_of(vcpu: Vcpu) -> u64:
    """Say what came of a trap that has been delivered (`schema.Result`), by what it changed."""
    trap = vcpu.trap
    if was_stepped(vcpu):
        return Result.HANDLED
    if vcpu.counters.forwarded != vcpu.seen.forwarded:
        return Result.FORWARDED
    if vcpu.counters.injected != vcpu.seen.injected:
        return Result.INJECTED
    if trap.kind == SYNC and ESR_ELx.EC.get(trap.esr) == EC.ERET:
        return Result.RETURNED
    if vcpu.pc == trap.pc:
        return Result.RESUMED
    return Result.HANDLED


@resident
def outcome_of(vcpu: Vcpu) -> u64:
    """Give the `Outcome` that a trap which has been delivered amounts to."""
    result = result_of(vcpu)
    if result == Result.RESUMED:
        return Outcome.RESUME
    if result == Result.HANDLED:
        return Outcome.SKIP
    if result == Result.RETURNED:
        return Outcome.RETURN
    return Outcome.EXCEPTION


@inline
def was_stepped(vcpu: Vcpu) -> bool:
    """Whether a software step exception has followed an instruction that L0 has done."""
    taken = vcpu.counters.forwarded != vcpu.seen.forwarded
    if vcpu.counters.injected != vcpu.seen.injected:
        taken = True
    return (
        taken
        and vcpu.trap.pstate & SPSR_ELx.SS.mask != 0
        and is_step(vcpu.exception.syndrome)
        and not is_step(vcpu.trap.esr)
    )


@inline
def is_step(esr: u64) -> bool:
    """Whether a syndrome is that of a Software Step exception."""
    ec = ESR_ELx.EC.get(esr)
    return ec == EC.SOFTSTEP_LOWER or ec == EC.SOFTSTEP_SAME


@resident
def trapped(vcpu: Vcpu) -> None:
    """Record a trap that has been delivered."""
    trap = vcpu.trap
    result = result_of(vcpu)
    flags = vcpu.seen.flags
    value = vcpu.seen.value
    if result == Result.HANDLED and vcpu.seen.is_read != 0:
        flags = flags | Flag.HAS_VALUE | Flag.READ
        value = vcpu.seen.read
    if was_stepped(vcpu):
        flags = flags | Flag.STEPPED
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
    store_u64(PA(found + VALUE), value)
    if (result >= Result.FORWARDED and result <= Result.INJECTED) or flags & Flag.STEPPED:
        if vcpu.exception.has_syndrome != 0:
            store_u64(PA(found + SYNDROME), vcpu.exception.syndrome)
    publish(vcpu)


@resident
def switched(vcpu: Vcpu) -> None:
    """Record a context switch that came with a trap, and the timers that were left behind."""
    if wants(vcpu, Kind.SWITCH, vcpu.seen.source, vcpu.trap.pc):
        if common(vcpu, Kind.SWITCH, 0) != 0:
            publish(vcpu)
    if vcpu.context == CONTEXT_VEL2:
        page = page_of(vcpu)
        virtual, physical = page.slot[CNTV_CTL_SLOT], page.slot[CNTP_CTL_SLOT]
        left_behind(vcpu, 1, virtual, page.slot[CNTV_CVAL_SLOT])
        left_behind(vcpu, 0, physical, page.slot[CNTP_CVAL_SLOT])


@resident
def left_behind(vcpu: Vcpu, is_virtual: u64, ctl: u64, cval: u64) -> None:
    """Record a timer of vEL1 that was enabled when it was left."""
    if ctl & sr.CNTV_CTL_EL0.ENABLE.mask == 0 or vcpu.e2h == 0:
        return  # with E2H=0 the timers are hardware's own, and go on
    if wants(vcpu, Kind.TIMER, vcpu.seen.source, vcpu.trap.pc):
        found = common(vcpu, Kind.TIMER, 0)
        if found != 0:
            store_u64(PA(found + IPA), cval)
            store_u64(PA(found + VALUE), ctl)
            store_u64(PA(found + DETAIL), is_virtual)
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
