"""SMC: PSCI and SMCCC. The conduit is SMC, because HVC belongs to vEL2.

L0 stands between the guest and the machine's firmware. It passes on calls that concern only the
caller, notes why the machine is about to stop, and answers calls that would start a CPU outside L0.
"""

from vel2.arch import sysregs as sr
from vel2.arch.esr import ISS_HVC
from vel2.arch.psci import (
    AFFINITY_INFO_32,
    AFFINITY_INFO_64,
    CPU_OFF,
    CPU_ON_32,
    CPU_ON_64,
    CPU_SUSPEND_32,
    CPU_SUSPEND_64,
    FUNCTION_MASK,
    INVALID_PARAMETERS,
    MIGRATE_INFO_TYPE,
    NOT_SUPPORTED,
    PSCI_FEATURES,
    PSCI_VERSION,
    SYSTEM_OFF,
    SYSTEM_RESET,
    FunctionIdentifier,
    PowerState,
    PowerStateExtended,
)
from vel2.hyp import observe, power
from vel2.hyp.answer import forward
from vel2.hyp.event import happened, wanted
from vel2.hyp.firmware import firmware_call
from vel2.hyp.hcr import l1_hcr
from vel2.hyp.outcome import Outcome, Stop
from vel2.hyp.state import Vcpu, vm_of
from vel2.hyp.watch import PSCI
from vel2.lang import U32_MAX, inline, resident, u64
from vel2.trace.schema import Kind

__all__ = ("from_vel1", "local", "stop_machine")

PASSED_ON = (
    PSCI_VERSION,
    AFFINITY_INFO_32,
    AFFINITY_INFO_64,
    MIGRATE_INFO_TYPE,
)
SUSPEND = (CPU_SUSPEND_32, CPU_SUSPEND_64)
POWERDOWN = PowerState.StateType.mask
POWERDOWN_EXTENDED = PowerStateExtended.StateType.mask
KNOWN = (
    *PASSED_ON,
    *SUSPEND,
    CPU_OFF,
    CPU_ON_32,
    CPU_ON_64,
    SYSTEM_OFF,
    SYSTEM_RESET,
    PSCI_FEATURES,
)

IMMEDIATE = ISS_HVC.imm16.mask
"""ISS of an SMC, too, has it there."""


@resident
def stop_machine(vcpu: Vcpu, reason: u64, function: u64) -> None:
    """Note why and ask the firmware to end the machine; it does not come back."""
    vm_of(vcpu).post_mortem.stop_reason = reason
    if vcpu.seen.wanted != 0:
        observe.end_for_good(vcpu)
    firmware_call(function, 0, 0, 0)


@inline
def argument(function: u64, value: u64) -> u64:
    """Give what an argument means: an SMC32 call has it in a W register (DEN 0028)."""
    if FunctionIdentifier.SMC64.get(function) == 0:
        return value & U32_MAX
    return value


@resident
def suspend(vcpu: Vcpu, function: u64) -> u64:
    """Pass CPU_SUSPEND on as a standby, which comes back here.

    Powerdown would enter EL2 at L1's address. L1 asks for it and gets a standby, which it has to
    expect: a wake-up may come before the power is off (DEN 0022, CPU_SUSPEND). An extended state
    that is one of powerdown is refused: this firmware does not offer the format.
    """
    state = vcpu.x[1] & U32_MAX
    if state & POWERDOWN_EXTENDED:
        return INVALID_PARAMETERS
    return firmware_call(function, state & ~u64(POWERDOWN), 0, 0)


@resident
def turn_on(vcpu: Vcpu, function: u64) -> u64:
    """Answer CPU_ON."""
    target = argument(function, vcpu.x[1])
    entry = argument(function, vcpu.x[2])
    return power.turn_on(vcpu, target, entry, argument(function, vcpu.x[3]))


@resident
def call(vcpu: Vcpu, function: u64) -> u64:
    """Answer one SMCCC call; the result goes to x0."""
    if function in PASSED_ON:
        first = argument(function, vcpu.x[1])
        second = argument(function, vcpu.x[2])
        return firmware_call(function, first, second, argument(function, vcpu.x[3]))
    if function in SUSPEND:
        return suspend(vcpu, function)
    if function == PSCI_FEATURES:
        asked = vcpu.x[1] & FUNCTION_MASK
        if asked in KNOWN:
            return firmware_call(function, asked, 0, 0)
        return NOT_SUPPORTED
    if function == SYSTEM_OFF:
        stop_machine(vcpu, Stop.SYSTEM_OFF, function)
    elif function == SYSTEM_RESET:
        stop_machine(vcpu, Stop.SYSTEM_RESET, function)
    elif function == CPU_ON_32 or function == CPU_ON_64:
        return turn_on(vcpu, function)
    elif function == CPU_OFF:
        return power.turn_off(vcpu)
    return NOT_SUPPORTED


@resident
def local(vcpu: Vcpu) -> Outcome:
    """Handle an SMC that is not L1's business. Only immediate 0 is SMCCC."""
    if vcpu.trap.esr & IMMEDIATE:
        vcpu.x[0] = NOT_SUPPORTED
    else:
        function = vcpu.x[0] & FUNCTION_MASK
        if wanted(vcpu, PSCI) != 0:
            happened(vcpu, Kind.PSCI, 0, vcpu.x[1], function)
        vcpu.x[0] = call(vcpu, function)
    return Outcome.SKIP


@resident
def from_vel1(vcpu: Vcpu) -> Outcome:
    """Forward an SMC of vEL1 if L1 set HCR_EL2.TSC, else it is the firmware's."""
    if l1_hcr(vcpu) & sr.HCR_EL2.TSC.mask:
        return forward(vcpu)
    return local(vcpu)
