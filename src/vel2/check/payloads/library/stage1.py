"""Stage 1 of EL2's own regime and of L2, with one table for both halves of the address space."""

from vel2.arch import sysregs as sr
from vel2.check.payloads.layout import Parameters, State
from vel2.check.payloads.library.assembly import SCTLR_OFF
from vel2.check.payloads.library.checks import UART_BASE
from vel2.check.payloads.library.controls import SCTLR_ON, has_e2h, invalidate_all, physical_size
from vel2.check.payloads.library.tables import (
    INPUT_BITS,
    MAIR,
    S1_DEVICE,
    S1_NORMAL,
    TCR_39,
    identity_table,
    map_to,
)
from vel2.lang import isb, msr, resident, u64

TCR_EL2_39 = sr.TCR_EL2.res1 | sr.TCR_EL2.compose(T0SZ=64 - INPUT_BITS, SH0=3, ORGN0=1, IRGN0=1)


@resident
def own_stage1_on(root: u64) -> u64:
    """Turn on stage 1 of the EL2&0 or EL2 regime; give TCR_EL2."""
    tcr = u64(TCR_EL2_39 | sr.TCR_EL2.PS.put(physical_size()))
    msr(sr.MAIR_EL2, MAIR)
    if has_e2h():
        tcr = u64(TCR_39 | sr.TCR_EL1.IPS.put(physical_size()))
        msr(sr.TTBR1_EL2, root)
    msr(sr.TCR_EL2, tcr)
    msr(sr.TTBR0_EL2, root)
    invalidate_all()
    msr(sr.SCTLR_EL2, SCTLR_ON)
    isb()
    return tcr


@resident
def own_stage1_off() -> None:
    """Turn stage 1 of EL2's regime off."""
    msr(sr.SCTLR_EL2, SCTLR_OFF)
    isb()


@resident
def own_stage1_table(state: State, ram_end: u64) -> u64:
    """Make a stage 1 for EL2 that maps RAM and the UART to themselves."""
    root = identity_table(state, ram_end, S1_NORMAL)
    map_to(state, root, UART_BASE, 3, UART_BASE, S1_DEVICE)
    return root


@resident
def own_stage1(state: State, parameters: Parameters) -> u64:
    """Make such a stage 1 and turn it on; give its root."""
    root = own_stage1_table(state, parameters.ram_end)
    own_stage1_on(root)
    return root


@resident
def guest_stage1_on(root: u64) -> None:
    """Turn on L2's stage 1 with a table."""
    msr(sr.MAIR_EL12, MAIR)
    msr(sr.TCR_EL12, TCR_39 | sr.TCR_EL1.IPS.put(physical_size()))
    msr(sr.TTBR0_EL12, root)
    msr(sr.TTBR1_EL12, root)
    msr(sr.SCTLR_EL12, SCTLR_ON)
    invalidate_all()
