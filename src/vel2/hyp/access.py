"""Doing an access of vEL2 to a register that trapped, as its record says (`el2regs`, `places`).

First comes the question whether there is such an access (`refusal`), so that what is then done
can be done without further ones. A register without a record may still be one of those that L0
traps for itself, and only at times, in vEL1 too: of the PMU, of debugging, of the GIC. Whatever is
neither does not exist for L1.
"""

from vel2.hyp import gic, monitors, timer
from vel2.hyp.answer import UNDEFINED_SYNDROME
from vel2.hyp.context import sync_mdscr
from vel2.hyp.el2regs import Kind
from vel2.hyp.homes import SWITCHED
from vel2.hyp.places import (
    CONDITION_SHIFT,
    HARDWARE,
    NEEDED,
    NUMBER,
    READERS,
    REFUSALS,
    WRITERS,
    kind_of,
)
from vel2.hyp.state import SLOW_MAINTENANCE, Vcpu, page_of, vm_of
from vel2.lang import inline, mrs, msr, resident, u64

__all__ = ("read", "read_rare", "refusal", "refusal_of_rare", "write", "write_rare")


@inline
def refusal(vcpu: Vcpu, key: u64, place: u64, action: u64, is_read: bool) -> u64:
    """Give the syndrome of the exception that an access at vEL2 takes instead, or 0.

    :param place: `places.place_of(key)`.
    :param action: `places.action_of` it.
    """
    if action == 0:
        return refusal_of_nothing(vcpu, key, place, is_read)
    if place >> CONDITION_SHIFT != 0:
        return refusal_of_condition(vcpu, place >> CONDITION_SHIFT)
    return 0


@resident
def refusal_of_nothing(vcpu: Vcpu, key: u64, place: u64, is_read: bool) -> u64:
    """Give the syndrome of the exception of an access without an action."""
    if place == 0:
        return refusal_of_rare(vcpu, key, is_read)
    return UNDEFINED_SYNDROME


@resident
def refusal_of_condition(vcpu: Vcpu, condition: u64) -> u64:
    """Give the syndrome of the exception that a register is not there, or refuses for itself."""
    for number, needed in NEEDED:
        if condition == number:
            if needed.field.get(vm_of(vcpu).probed.id_registers[needed.index]) < needed.value:
                return UNDEFINED_SYNDROME
    for number, function in REFUSALS:
        if condition == number:
            return function(vcpu)
    return 0


@resident
def read(vcpu: Vcpu, key: u64, action: u64) -> u64:
    """Read a register of L1 that trapped at vEL2, when there is no `refusal`."""
    kind = kind_of(action)
    number = action & NUMBER
    if kind == Kind.PAGE:
        return page_of(vcpu).slot[number]
    if kind == Kind.FUNCTION:
        return read_function(vcpu, number)
    if kind == Kind.SHADOW:
        return vcpu.vel2.el1[number]
    if kind == Kind.MEMORY:
        return vcpu.vel2.memory[number]
    if kind == Kind.NONE:
        return read_rare(vcpu, key)
    if kind == Kind.VEL1_TIMER:
        timer.load_offset(vcpu)
    return read_hardware(number)


@inline
def read_hardware(number: u64) -> u64:
    """Read one of hardware's registers."""
    for index, register in HARDWARE:
        if number == index:
            return mrs(register)
    return 0


@inline
def read_function(vcpu: Vcpu, number: u64) -> u64:
    """Read a register by its own function."""
    for index, function in READERS:
        if number == index:
            return function(vcpu)
    return 0


@resident
def write(vcpu: Vcpu, key: u64, action: u64, value: u64) -> None:
    """Write a register of L1 that trapped at vEL2, when there is no `refusal`."""
    kind = kind_of(action)
    number = action & NUMBER
    if kind == Kind.PAGE:
        page_of(vcpu).slot[number] = value
    elif kind == Kind.FUNCTION:
        write_function(vcpu, number, value)
    elif kind == Kind.SHADOW:
        write_shadow(vcpu, number, value)
    elif kind == Kind.MEMORY:
        vcpu.vel2.memory[number] = value
    elif kind == Kind.NONE:
        # A breakpoint or watchpoint of vEL2 itself works from here on: so must the MDSCR_EL1 that
        # was written before it.
        sync_mdscr(vcpu)
        write_rare(vcpu, key, value)
    else:
        if kind == Kind.VEL1_TIMER:
            timer.load_offset(vcpu)
        write_hardware(number, value)
    # L1 may acknowledge interrupts in a loop, with no ERET in it: what it has just masked must
    # not be there the next time it looks.
    if vcpu.slow_eret != 0:
        sync_live(vcpu)


@inline
def write_hardware(number: u64, value: u64) -> None:
    """Write one of hardware's registers."""
    for index, register in HARDWARE:
        if number == index:
            msr(register, value)


@inline
def write_function(vcpu: Vcpu, number: u64, value: u64) -> None:
    """Write a register by its own function."""
    for index, function in WRITERS:
        if number == index:
            function(vcpu, value)


@inline
def write_shadow(vcpu: Vcpu, number: u64, value: u64) -> None:
    """Write a register of vEL2 of whose value hardware has the translation."""
    vcpu.vel2.el1[number] = value
    for row in SWITCHED:
        if row.traps_nvhe and number == row.index:
            msr(row.hardware, row.to_el1(value))


@inline
def sync_live(vcpu: Vcpu) -> None:
    """Give hardware that was left live for L1 to see an interrupt what L1 has written."""
    timer.sync_live_timers(vcpu)
    if vcpu.slow_eret & SLOW_MAINTENANCE:
        gic.sync_live_interface(vcpu)


@resident
def refusal_of_rare(vcpu: Vcpu, key: u64, is_read: bool) -> u64:
    """Give the syndrome of the exception that an access of `read_rare` takes instead, or 0."""
    if vcpu.slow_eret & SLOW_MAINTENANCE == 0 or not gic.is_group1(key):
        return monitors.refusal(vcpu, key, is_read)
    if gic.has_group1(vcpu, key, is_read):
        return 0
    return UNDEFINED_SYNDROME


@resident
def read_rare(vcpu: Vcpu, key: u64) -> u64:
    """Read what L0 traps for itself, and only at times, in vEL1 too."""
    if vcpu.slow_eret & SLOW_MAINTENANCE and gic.is_group1(key):
        return gic.read_group1(vcpu, key)
    return monitors.read(vcpu, key)


@resident
def write_rare(vcpu: Vcpu, key: u64, value: u64) -> None:
    """Write what L0 traps for itself, and only at times, in vEL1 too."""
    if vcpu.slow_eret & SLOW_MAINTENANCE and gic.is_group1(key):
        gic.write_group1(vcpu, key, value)
    else:
        monitors.write(vcpu, key, value)
