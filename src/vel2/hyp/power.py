"""Turning CPUs on and off: PSCI's CPU_ON and CPU_OFF.

The firmware turns the pcpu on, at L0's entry and at real EL2, with the address of its vCPU as the
context; where L1 wants it to start, and with what in x0, waits in the vCPU until L0 has brought the
pcpu up (`start.start_secondary`). So no pcpu ever runs anything but L0 at EL2, whatever address L1
gives.

`Power.state` says what L1's other CPUs may know. Who changes it from OFF to PENDING is the one that
turns the pcpu on, so two CPUs that ask at the same time get one success. A CPU that goes off says
so before the firmware has stopped it: for a moment a CPU_ON may find the firmware's answer to be
that it is still on, and gives that.

A CPU_OFF that the firmware denies comes back. So the count of CPUs online does not say that there
is nobody else; the firmware does (`is_alone`).
"""

from vel2.arch import sysregs as sr
from vel2.arch.psci import (
    AFFINITY_INFO_64,
    AFFINITY_OFF,
    ALREADY_ON,
    CPU_OFF,
    CPU_ON_64,
    DENIED,
    INVALID_PARAMETERS,
    ON_PENDING,
    SUCCESS,
)
from vel2.hyp import observe
from vel2.hyp.firmware import firmware_call
from vel2.hyp.lock import acquire, release
from vel2.hyp.pcpu import OFF, ON, PENDING, Power
from vel2.hyp.state import CONTEXT_VEL2, Vcpu, Vm, vcpu_at, vm_of
from vel2.lang import (
    PA,
    U64_MAX,
    address_of,
    compare_exchange_u64,
    fetch_add_u64,
    inline,
    mrs,
    msr,
    resident,
    store_release_u64,
    symbol_address,
    u64,
)

__all__ = ("is_alone", "turn_off", "turn_on")

STATE = Power.offset_of("state")
ONLINE = Vm.offset_of("online")
INSTRUCTION_MASK = 3
"""Of an address: no instruction of AArch64 is anywhere else."""
TTLB = sr.HCR_EL2.TTLB.mask


@inline
def state_of(vcpu: Vcpu) -> PA:
    """Give the address of a vCPU's `Power.state`."""
    return PA(address_of(vcpu.power) + STATE)


@inline
def count_online(vm: Vm, by: u64) -> u64:
    """Add to how many CPUs run, `U64_MAX` to take one away; give how many it were before."""
    return fetch_add_u64(PA(address_of(vm) + ONLINE), by)


@resident
def number_of(vm: Vm, affinity: u64) -> u64:
    """Give the number of the vCPU with these affinity fields, or how many there are."""
    for i in range(vm.config.cpu_count):
        if vm.probed.affinities[i] == affinity:
            return i
    return vm.config.cpu_count


@inline
def watch_tlbis(vcpu: Vcpu) -> None:
    """Have vEL2's TLBIs trap again: it is no longer alone (`tlbi.stop_trapping`)."""
    if vcpu.context == CONTEXT_VEL2:
        vcpu.guesses.tlbis_of_own_regime = 0
        msr(sr.HCR_EL2, mrs(sr.HCR_EL2) | TTLB)


@resident
def is_alone(vcpu: Vcpu) -> bool:
    """Whether no other CPU runs, nor can come back: the firmware has turned them all off."""
    vm = vm_of(vcpu)
    if vm.online != 1:
        return False
    for i in range(vm.config.cpu_count):
        if i != vcpu.index:
            state = firmware_call(AFFINITY_INFO_64, vm.probed.affinities[i], 0, 0)
            if state != AFFINITY_OFF:
                return False
    return True


@resident
def turn_on(vcpu: Vcpu, affinity: u64, entry: u64, context: u64) -> u64:
    """Answer CPU_ON."""
    vm = vm_of(vcpu)
    number = number_of(vm, affinity)
    if number == vm.config.cpu_count or entry & INSTRUCTION_MASK != 0:
        return INVALID_PARAMETERS
    other = vcpu_at(vm, number)
    before = compare_exchange_u64(state_of(other), OFF, PENDING)
    if before == ON:
        return ALREADY_ON
    if before != OFF:
        return ON_PENDING
    other.power.entry_pc = entry
    other.power.entry_x0 = context
    count_online(vm, 1)
    watch_tlbis(vcpu)
    answer = firmware_call(
        CPU_ON_64, affinity, symbol_address("secondary_entry"), address_of(other)
    )
    if answer != SUCCESS:
        count_online(vm, U64_MAX)
        store_release_u64(state_of(other), OFF)
    return answer


@resident
def turn_off(vcpu: Vcpu) -> u64:
    """Answer CPU_OFF, which comes back only if it is denied: the last CPU stays on."""
    vm = vm_of(vcpu)
    if count_online(vm, U64_MAX) == 1:
        count_online(vm, 1)
        return DENIED
    acquire(vm.stage2.lock)
    vcpu.shadow = 0
    release(vm.stage2.lock)
    store_release_u64(state_of(vcpu), OFF)
    if vcpu.seen.wanted != 0:
        observe.end_for_good(vcpu)
    firmware_call(CPU_OFF, 0, 0, 0)
    store_release_u64(state_of(vcpu), ON)
    count_online(vm, 1)
    return DENIED
