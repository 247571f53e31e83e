"""Debug the guest by KVM_SET_GUEST_DEBUG: a breakpoint on its first instruction, then steps.

It is the first vCPU that is debugged. Each must stop it with the right syndrome and PC. The VMM
prints each finding as a marker, then lets the guest run freely.
"""

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ESR_ELx
from vel2.guests.vmm import kvm
from vel2.guests.vmm.failure import check
from vel2.guests.vmm.state import State
from vel2.guests.vmm.vcpu import vcpu_of
from vel2.lang import address_of, bytes_address, resident, u32, u64
from vel2.runtime.console import NEWLINE
from vel2.runtime.linux import ioctl
from vel2.runtime.streams import OUT

BREAK_AT_EL1 = sr.DBGBCR_EL1.compose(E=1, PMC=1, BAS=15)


@resident
def program_counter(state: State) -> u64:
    """Read the vCPU's PC."""
    state.register.id = kvm.REG_PC
    state.register.addr = u64(address_of(state) + State.offset_of("value"))
    result = ioctl(vcpu_of(state, 0).fd, kvm.GET_ONE_REG, address_of(state.register))
    check(result, bytes_address(b"read the PC\0"))
    return state.value


@resident
def set_debug(state: State, control: u64) -> None:
    """Tell KVM when to stop the vCPU."""
    state.debug.control = u32(control)
    result = ioctl(vcpu_of(state, 0).fd, kvm.SET_GUEST_DEBUG, address_of(state.debug))
    check(result, bytes_address(b"debug the vCPU\0"))


@resident
def begin(state: State) -> None:
    """Set a breakpoint where the vCPU is about to start."""
    state.entry = program_counter(state)
    state.debug.bvr[0] = state.entry
    state.debug.bcr[0] = BREAK_AT_EL1
    set_debug(state, kvm.DEBUG_ENABLE | kvm.DEBUG_HARDWARE)


@resident
def say(name: u64, value: u64) -> None:
    """Print a marker with a number."""
    OUT.put(name)
    OUT.put_decimal(value)
    OUT.put_byte(NEWLINE)


@resident
def stopped(state: State, run: kvm.Run) -> None:
    """Handle a stop: first the breakpoint, then each step, until there have been enough."""
    ec = ESR_ELx.EC.get(run.mmio_address)
    pc = program_counter(state)
    if state.is_stepping == 0:
        good = ec == EC.BREAKPOINT_LOWER and pc == state.entry
        say(bytes_address(b"##vel2 l1.vmm_break=\0"), u64(good))
        state.is_stepping = 1
        set_debug(state, kvm.DEBUG_ENABLE | kvm.DEBUG_SINGLE_STEP)
        return
    if ec == EC.SOFTSTEP_LOWER:
        state.stepped = u64(state.stepped + 1)
    if pc == u64(state.last_pc + 4):
        state.in_sequence = u64(state.in_sequence + 1)
    state.last_pc = pc
    if state.stepped >= state.options.steps or ec != EC.SOFTSTEP_LOWER:
        set_debug(state, 0)
        say(bytes_address(b"##vel2 l1.vmm_steps=\0"), state.stepped)
        say(bytes_address(b"##vel2 l1.vmm_steps_in_sequence=\0"), state.in_sequence)
