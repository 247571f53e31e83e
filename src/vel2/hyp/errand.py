"""What a vCPU that waits does for the host: show and write registers, store to memory (`mailbox`).

It does so at EL2, where it has trapped: hardware holds all of the level's registers. A register of
vEL2 is written by its record, as an MSR that traps would be.
"""

from vel2.hyp import access
from vel2.hyp.mailbox import Mailbox, Order
from vel2.hyp.places import action_of, place_of
from vel2.hyp.shown import FINE, LISTS, OPTIONAL, PLAIN, WRITABLE
from vel2.hyp.state import CONTEXT_VEL2, Vcpu, vm_of
from vel2.lang import (
    PA,
    inline,
    mrs,
    msr,
    resident,
    store_u8,
    store_u32,
    store_u64,
    u8,
    u32,
    u64,
)

__all__ = ("run", "show")


@resident
def run(vcpu: Vcpu, box: Mailbox, order: u64) -> None:
    """Do something for the host, at EL2."""
    box.result = 0
    if order == Order.SHOW:
        show(vcpu, box)
        box.result = 1
    elif order == Order.WRITE:
        write(vcpu, box)
    elif order == Order.STORE:
        store(box)
        box.result = 1


@resident
def show(vcpu: Vcpu, box: Mailbox) -> None:
    """Copy hardware's registers into the mailbox, as far as the machine has them."""
    vm = vm_of(vcpu)
    for index, register in PLAIN:
        box.registers[index] = mrs(register)
    if vm.probed.optional != 0:
        for index, bit, row in OPTIONAL:
            if vm.probed.optional & bit != 0:
                box.registers[index] = mrs(row.hardware)
    if vm.probed.has_fgt != 0:
        for index, register in FINE:
            box.registers[index] = mrs(register)
    for index, number, register in LISTS:
        if number < vm.probed.list_registers:
            box.registers[index] = mrs(register)


@resident
def write(vcpu: Vcpu, box: Mailbox) -> None:
    """Write a register as the level that trapped would: by its record, or to hardware."""
    key = box.address
    place = place_of(key)
    if vcpu.context == CONTEXT_VEL2 and place != 0:
        action = action_of(vcpu, place, False)
        if action != 0 and access.refusal(vcpu, key, place, action, False) == 0:
            access.write(vcpu, key, action, box.value)
            box.result = 1
            return
    for register in WRITABLE:
        if key == register.trap_key:
            msr(register, box.value)
            box.result = 1


@inline
def store(box: Mailbox) -> None:
    """Store to memory or to a device: where, the host has looked at."""
    if box.width == 1:
        store_u8(PA(box.address), u8(box.value & 0xFF))
    elif box.width == 4:
        store_u32(PA(box.address), u32(box.value & 0xFFFF_FFFF))
    else:
        store_u64(PA(box.address), box.value)
