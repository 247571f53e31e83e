"""Payload `classes`: every exception class that the machine can raise, from every level.

The instructions of `code` run at EL2, at its own EL0, and at L2's EL1 and EL0. The AArch32 ones run
at L2's EL0, which L2's EL1 enters by an exception return, with nothing trapped and then under each
control of EL2 that concerns them (`aarch32`). The hypervisor below must survive, and give each
exception to the level it belongs to: EL2 and L2's EL1 must see the same at real and at virtual EL2.
"""

from vel2.arch import sysregs as sr
from vel2.arch.pstate import PSTATE_DAIF, M_EL0t, M_EL1h, SPSR_ELx
from vel2.check.payloads.classes import aarch32
from vel2.check.payloads.classes.aarch32 import guest_registers, reset
from vel2.check.payloads.classes.code import ANYWHERE
from vel2.check.payloads.layout import ARENA, Parameters, State
from vel2.check.payloads.library.assembly import NO_EXCEPTION, SCTLR_OFF
from vel2.check.payloads.library.checks import begin, end, finish
from vel2.check.payloads.library.controls import HCR_BASE, has_e2h, no_traps, set_hcr
from vel2.check.payloads.library.guest import probe, run_guest, start_guest
from vel2.check.payloads.library.seen import saw
from vel2.lang import bytes_address, isb, msr, resident, symbol_address, u64

VMID = 11
TGE = sr.HCR_EL2.TGE.mask
STACK = ARENA + 0x800
AT_EL2, AT_HOST_EL0, AT_EL1, AT_EL0 = 2, 0x20, 1, 0
SCTLR_CLASSES = SCTLR_OFF | sr.SCTLR_EL1.compose(SA0=1, EnIA=1)
CODES = tuple(
    (f"{name}\0".encode(), f"class_{name}", name != "misaligned_sp") for name, _ in ANYWHERE
)
"""Name, code, and whether EL2, whose vectors need its stack, may run it."""


@resident
def at_el2(state: State) -> None:
    """Raise what EL2 itself can raise."""
    msr(sr.SCTLR_EL2, SCTLR_CLASSES)
    isb()
    for name, code, at_el2 in CODES:
        if at_el2:
            with_odd = symbol_address("class_with_x2_x3")
            state.vector = probe(with_odd, symbol_address(code), ARENA | 1)
            said(state, bytes_address(name), AT_EL2)
    msr(sr.SCTLR_EL2, SCTLR_OFF)
    isb()


@resident
def said(state: State, name: u64, place: u64) -> None:
    """Show how an instruction ended."""
    if state.vector == NO_EXCEPTION:
        begin(state, name, place)
        end(state)
    else:
        saw(state, name, place)


@resident
def below_el2(state: State, place: u64, mode: u64, leave: u64) -> None:
    """Raise what a lower EL can raise."""
    for name, code, _at_el2 in CODES:
        guest_registers(state)
        state.guest_x[2] = ARENA | 1
        state.guest_x[30] = leave
        msr(sr.SP_EL0, STACK)
        msr(sr.SP_EL1, STACK)
        state.guest_pc = symbol_address(code)
        state.guest_pstate = PSTATE_DAIF | mode
        state.vector = run_guest()
        saw(state, bytes_address(name), place)
    state.guest_pc = leave
    state.guest_pstate = PSTATE_DAIF | mode | SPSR_ELx.IL.mask
    state.vector = run_guest()
    saw(state, bytes_address(b"illegal-state\0"), place)


@resident
def classes_main(state: State, parameters: Parameters) -> None:
    """Run the payload."""
    at_el2(state)
    start_guest(state, parameters, VMID)
    reset(state)
    below_el2(state, AT_EL1, M_EL1h, symbol_address("guest_hvc"))
    below_el2(state, AT_EL0, M_EL0t, symbol_address("class_leave_el0"))
    if has_e2h():
        msr(sr.SCTLR_EL2, SCTLR_CLASSES)
        set_hcr(HCR_BASE | TGE)
        isb()
        below_el2(state, AT_HOST_EL0, M_EL0t, symbol_address("class_leave_el0"))
        msr(sr.SCTLR_EL2, SCTLR_OFF)
        no_traps()
    aarch32.run(state)
    finish(state)
