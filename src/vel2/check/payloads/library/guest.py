"""Run code at EL2 and in L2 until the next exception, and check what it was."""

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ESR_ELx
from vel2.arch.pstate import PSTATE_DAIF, M_EL0t, M_EL1h
from vel2.check.payloads.layout import Parameters, State
from vel2.check.payloads.library.assembly import (
    HVC_DONE,
    HVC_EL1_VECTOR,
    LOWER_AARCH64_SYNC,
    SCTLR_OFF,
)
from vel2.check.payloads.library.checks import expect
from vel2.check.payloads.library.controls import (
    HCR_HOST,
    invalidate_all,
    set_cnthctl,
    set_hcr,
    use_stage2,
)
from vel2.check.payloads.library.tables import S2_NORMAL, identity_table
from vel2.lang import bytes_address, extern, inline, isb, mrs, msr, resident, symbol_address, u64

HVC_IMMEDIATE = 0xFFFF


@extern("probe")
def probe(code: u64, a: u64, b: u64) -> u64:
    """Call code with two arguments; give the vector of the exception it took, or NO_EXCEPTION."""
    raise NotImplementedError("a payload runs on AArch64")


@extern("run_guest")
def run_guest() -> u64:
    """Enter `guest_pc` with `guest_x` and `guest_pstate`; give the vector that came back."""
    raise NotImplementedError("a payload runs on AArch64")


@resident
def reset_guest() -> None:
    """Reset L2's EL1: stage 1 off, vectors that report, FP allowed."""
    msr(sr.SCTLR_EL12, SCTLR_OFF)
    msr(sr.VBAR_EL12, symbol_address("el1_vectors"))
    msr(sr.CPACR_EL12, sr.CPACR_EL1.compose(FPEN=3, ZEN=3))
    set_cnthctl(sr.CNTHCTL_EL2_E2H.compose(EL1PCTEN=1, EL1PTEN=1))
    isb()


@resident
def start_guest(state: State, parameters: Parameters, vmid: u64) -> u64:
    """Make L2 ready: its EL1 reset, RAM mapped to itself by a new stage 2; give its root."""
    reset_guest()
    root = identity_table(state, parameters.ram_end, S2_NORMAL)
    use_stage2(root, vmid)
    invalidate_all()
    return root


@resident
def leave_guest() -> None:
    """Turn stage 2 off."""
    set_hcr(HCR_HOST)
    isb()


@resident
def enter_at(state: State, pstate: u64, code: u64, address: u64, value: u64) -> u64:
    """Run L2's code with this PSTATE, x0 and x1; give the vector that came back."""
    state.guest_x[0] = address
    state.guest_x[1] = value
    state.guest_pc = code
    state.guest_pstate = pstate
    return run_guest()


@resident
def enter_guest(state: State, code: u64, address: u64, value: u64) -> u64:
    """Run L2's code at EL1h with x0 and x1; give the vector that came back."""
    return enter_at(state, PSTATE_DAIF | M_EL1h, code, address, value)


@resident
def enter_guest_el0(state: State, code: u64, address: u64, value: u64) -> u64:
    """Run L2's code at EL0 with x0 and x1; give the vector that came back."""
    return enter_at(state, PSTATE_DAIF | M_EL0t, code, address, value)


@inline
def is_hvc(state: State, immediate: u64) -> bool:
    """Whether the last exception was L2's HVC with this immediate."""
    return (
        state.vector == LOWER_AARCH64_SYNC
        and ESR_ELx.EC.get(state.esr) == EC.HVC64
        and state.esr & HVC_IMMEDIATE == immediate
    )


@resident
def expect_el1(state: State, vector: u64, esr: u64, far: u64) -> None:
    """Require that L2's EL1 took an exception, with this syndrome and address."""
    expect(state, bytes_address(b"vector\0"), state.vector, LOWER_AARCH64_SYNC)
    hvc = u64(ESR_ELx.compose(EC=EC.HVC64, IL=1) | (HVC_EL1_VECTOR + vector))
    expect(state, bytes_address(b"esr_el2\0"), state.esr, hvc)
    expect(state, bytes_address(b"esr_el1\0"), mrs(sr.ESR_EL12), esr)
    expect(state, bytes_address(b"far_el1\0"), mrs(sr.FAR_EL12), far)


@resident
def expect_el2(state: State, vector: u64, esr: u64, far: u64) -> None:
    """Require that EL2 took an abort, with this syndrome and address."""
    expect(state, bytes_address(b"vector\0"), state.vector, vector)
    expect(state, bytes_address(b"esr_el2\0"), state.esr, esr)
    expect(state, bytes_address(b"far_el2\0"), state.far, far)


@resident
def done(state: State) -> u64:
    """Give 1 if L2 got to its HVC."""
    if is_hvc(state, HVC_DONE):
        return 1
    return 0
