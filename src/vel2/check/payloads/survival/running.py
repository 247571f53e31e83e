"""The part of `survival` where L2 runs on tables that lead nowhere.

L2's code lies in the upper half of its address space, whose tables are good. Its data accesses go
to the lower half, whose tables are not. Hardware walks those under L0's stage 2. Each stop of the
walk is an abort that L0 must answer or a leaf that it must fill in, and must not repeat for ever.
"""

from vel2.arch import sysregs as sr
from vel2.check.payloads.layout import Parameters, State
from vel2.check.payloads.library.assembly import SCTLR_OFF
from vel2.check.payloads.library.controls import (
    HCR_HOST,
    SCTLR_ON,
    invalidate_all,
    physical_size,
    set_hcr,
    use_stage2,
)
from vel2.check.payloads.library.faults import UNTOUCHED, block_of
from vel2.check.payloads.library.guest import enter_guest, reset_guest
from vel2.check.payloads.library.seen import saw
from vel2.check.payloads.library.tables import (
    MAIR,
    S2_NORMAL,
    TABLE,
    UPPER_BASE,
    identity_table,
    map_to,
)
from vel2.check.payloads.stage2.faults import ACCESSES, code_table, heading, new_large_table
from vel2.check.payloads.survival.walks import LOWER_VA, NOWHERE, REGIMES, TCR, VMID, fill_table
from vel2.lang import bytes_address, isb, msr, resident, symbol_address, u64

UPPER_HALF = TCR.T1SZ.mask | TCR.TG1.mask | TCR.EPD1.mask | TCR.E0PD1.mask | TCR.HPD1.mask
UPPER_39 = TCR.compose(T1SZ=25, TG1=2)
LOWER_REGIMES = tuple((name, tcr & ~(UPPER_HALF | TCR.DS.mask) | UPPER_39) for name, tcr in REGIMES)


@resident
def access_in_each_regime(state: State, root: u64, what: u64) -> None:
    """Let L2 access the lower half, whose tables begin at `root`, with each size and granule."""
    msr(sr.TTBR0_EL12, root)
    for name, tcr in LOWER_REGIMES:
        msr(sr.TCR_EL12, tcr | TCR.IPS.put(physical_size()))
        isb()
        invalidate_all()
        heading(what, 0)
        heading(bytes_address(name), 0)
        for access, code in ACCESSES:
            here = UPPER_BASE | symbol_address(code)
            state.vector = enter_guest(state, here, LOWER_VA, UNTOUCHED)
            saw(state, bytes_address(access), LOWER_VA)


@resident
def guest_accesses(state: State, parameters: Parameters) -> None:
    """Let L2 run on tables that lead in circles or nowhere, with and without stage 2."""
    circle = new_large_table(state)
    lost = new_large_table(state)
    stage2 = identity_table(state, parameters.ram_end, S2_NORMAL)
    for nowhere in NOWHERE:
        map_to(state, stage2, block_of(nowhere, 3), 3, block_of(nowhere, 3), S2_NORMAL)
    msr(sr.MAIR_EL12, MAIR)
    msr(sr.TTBR1_EL12, code_table(state))
    msr(sr.VBAR_EL12, UPPER_BASE | symbol_address("el1_vectors"))
    msr(sr.TCR_EL12, LOWER_REGIMES[0][1] | TCR.IPS.put(physical_size()))
    msr(sr.SCTLR_EL12, SCTLR_ON)
    fill_table(circle, circle | TABLE)
    for stages in range(1, 3):
        if stages == 1:
            set_hcr(HCR_HOST)
            isb()
        else:
            use_stage2(stage2, VMID)
        access_in_each_regime(state, circle, bytes_address(b"run-circle\0"))
        for nowhere in NOWHERE:
            access_in_each_regime(state, nowhere, bytes_address(b"run-nowhere\0"))
            fill_table(lost, nowhere | TABLE)
            access_in_each_regime(state, lost, bytes_address(b"run-lost\0"))
    msr(sr.SCTLR_EL12, SCTLR_OFF)
    set_hcr(HCR_HOST)
    reset_guest()
    invalidate_all()
