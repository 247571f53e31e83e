"""Asking hooks of the host's: which trap asks, the wait, what comes of the order (`mailbox`)."""

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, FSC, ISS_DABT, ESR_ELx
from vel2.arch.pl011 import UARTCR, UARTDR
from vel2.hyp import errand
from vel2.hyp.answer import give, give_stage2_fault, give_with_far, interrupt, serror
from vel2.hyp.layout import PAGE_MASK, PAGE_SHIFT
from vel2.hyp.mailbox import (
    ASKED,
    FIRST_ERRAND,
    FREE,
    MAX_RANGES,
    Mailbox,
    Order,
    Wanted,
    mailbox_of,
    wanted_of,
)
from vel2.hyp.outcome import Outcome
from vel2.hyp.permission import FSC_TYPE
from vel2.hyp.records import SERROR, SYNC, TO_RUNNING_EL1, TO_VEL2
from vel2.hyp.state import Vcpu
from vel2.hyp.syndrome import key_of
from vel2.lang import (
    PA,
    address_of,
    dsb_ish,
    inline,
    load_acquire_u64,
    mrs,
    resident,
    store_release_u64,
    store_u32,
    u8,
    u32,
    u64,
    yield_,
)

__all__ = ("consult",)

# Which trap asks.


@resident
def consult(vcpu: Vcpu) -> Outcome:
    """Have hooks decide what becomes of the trap in `Vcpu.trap`; NOBODY if none does."""
    if wants(vcpu):
        return ask(vcpu)
    return Outcome.NOBODY


REGISTER_BITS = 6
KINDS_SHIFT = 7


@resident
def wants(vcpu: Vcpu) -> bool:
    """Whether the trap in `Vcpu.trap` is one that a hook wants."""
    if mailbox_of(vcpu).summoned != 0:
        return True
    wanted = wanted_of(vcpu)
    context = vcpu.trap.context
    if vcpu.trap.kind != SYNC:
        return wanted.interrupts[context] >> u64(vcpu.trap.kind >> KINDS_SHIFT) & 1 != 0
    ec = ESR_ELx.EC.get(vcpu.trap.esr)
    if wanted.classes[context] >> ec & 1 != 0:
        return True
    if wanted.filtered[context] >> ec & 1 == 0:
        return False
    if ec == EC.SYS64:
        key = key_of(vcpu.trap.esr)
        return wanted.registers[key >> REGISTER_BITS] >> u64(key & 63) & 1 != 0
    return is_in_range(wanted, vcpu.trap.esr, vcpu.trap.far)


@resident
def is_in_range(wanted: Wanted, esr: u64, far: u64) -> bool:
    """Whether an abort is a load or store where stage 2 translates nothing, in a range.

    HPFAR_EL2 is valid for these faults.
    """
    if esr & FSC_TYPE != FSC.TRANSLATION or esr & ISS_DABT.S1PTW.mask:
        return False
    page = u64(sr.HPFAR_EL2.FIPA.get(mrs(sr.HPFAR_EL2)) << PAGE_SHIFT)
    address = page | far & PAGE_MASK
    for index in range(MAX_RANGES):
        if index < wanted.range_count:
            each = wanted.ranges[index]
            if each.first <= address and address <= each.last:
                return True
    return False


# Asking.

TURN = Mailbox.offset_of("turn")
UART_ON = UARTCR.compose(RXE=1, TXE=1, UARTEN=1)
"""Out of reset a PL011 is off."""
LOOKS = 64
"""So many times `turn` is looked at between two YIELDs: under one host thread a YIELD is slow."""


@resident
def ask(vcpu: Vcpu) -> Outcome:
    """Ask the host about the trap in `Vcpu.trap`; NOBODY if L0's own handler is to deal with it."""
    box = mailbox_of(vcpu)
    if box.doorbell == 0:
        return Outcome.NOBODY
    if box.asked == 0:
        store_u32(PA(box.doorbell + UARTCR.offset), u32(UART_ON))
    box.asked = u64(box.asked + 1)
    box.hpfar = mrs(sr.HPFAR_EL2)
    if box.shows != 0:
        errand.show(vcpu, box)
    began = mrs(sr.CNTPCT_EL0)
    order = wait(vcpu, box)
    while order >= FIRST_ERRAND:
        errand.run(vcpu, box, order)
        order = wait(vcpu, box)
    outcome = ordered(vcpu, box, order)
    box.waited = u64(mrs(sr.CNTPCT_EL0) - began)
    store_release_u64(PA(address_of(box) + TURN), FREE)
    return outcome


@resident
def wait(vcpu: Vcpu, box: Mailbox) -> u64:
    """Say that it is the host's turn, ring, and give its order."""
    turn = PA(address_of(box) + TURN)
    store_release_u64(turn, ASKED)
    dsb_ish()
    for _ in range(box.rings):
        store_u32(PA(box.doorbell + UARTDR.offset), u32(vcpu.index))
    while load_acquire_u64(turn) == ASKED:
        box.polled = 1
        for _ in range(LOOKS):
            if load_acquire_u64(turn) != ASKED:
                return box.order
        yield_()
    return box.order


@resident
def ordered(vcpu: Vcpu, box: Mailbox, order: u64) -> Outcome:
    """Give the outcome that the host has ordered."""
    if order == Order.RESUME:
        return Outcome.RESUME
    if order == Order.SKIP:
        return Outcome.SKIP
    if order == Order.EXCEPTION or order == Order.UNDO:
        outcome = described(vcpu, box)
        if order == Order.UNDO:
            return Outcome.UNDO
        return outcome
    return Outcome.NOBODY


@inline
def described(vcpu: Vcpu, box: Mailbox) -> Outcome:
    """Make the exception that the mailbox describes."""
    target = TO_RUNNING_EL1
    if box.target != 0:
        target = TO_VEL2
    if box.kind == SERROR:
        return serror(vcpu, u8(target), box.syndrome)
    if box.kind != SYNC:
        return interrupt(vcpu, u32(box.kind))
    if box.has_ipaddress != 0:
        return give_stage2_fault(vcpu, box.syndrome, box.vaddress, box.ipaddress)
    if box.has_vaddress != 0:
        return give_with_far(vcpu, u8(target), box.syndrome, box.vaddress)
    return give(vcpu, u8(target), box.syndrome)
