"""What a pcpu's registers hold when its vCPU starts: the state of a PE out of reset.

A pcpu starts because the machine does, or because L1 turns it on (PSCI CPU_ON), perhaps for the
hundredth time. What stands in its registers then is the firmware's, or what L1 or a guest of L1
left there before it turned the CPU off; whether powering off clears them is the machine's choice.
So L0 writes every register that it relies on, or that L1 can reach in hardware, and takes none as
the first pcpu found it. Where the architecture gives a reset value it is that; where it says
UNKNOWN or IMPLEMENTATION DEFINED it is 0 (what is not writable stays as the machine has it).

Left alone is what nobody but firmware and debuggers can change, and what the entry to vEL2 or the
next exception writes: `tests/hyp/test_power.py` names each such register with its reason. SIMD and
floating-point registers are UNKNOWN to L1, too, and are not cleared.
"""

from collections.abc import Sequence

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.features import by_name, feature_of
from vel2.hyp.homes import ALWAYS
from vel2.hyp.selectors import ALL_COUNTERS
from vel2.hyp.state import Vm
from vel2.lang import inline, isb, mrs, msr, resident

__all__ = ("registers",)

GENERAL: tuple[type[Register], ...] = (
    *(row.hardware for row in ALWAYS),
    *(sr.SP_EL0, sr.TPIDR_EL0, sr.TPIDRRO_EL0, sr.TPIDR_EL1),
    *(sr.PAR_EL1, sr.CSSELR_EL1, sr.FPCR, sr.FPSR),
    *(sr.DISR_EL1, sr.VDISR_EL2, sr.VSESR_EL2),
    *(sr.TTBR1_EL2, sr.CONTEXTIDR_EL2, sr.AMAIR_EL2),
    *(sr.HSTR_EL2, sr.CNTVOFF_EL2),
    *(sr.CNTP_CTL_EL0, sr.CNTP_CVAL_EL0, sr.CNTV_CTL_EL0, sr.CNTV_CVAL_EL0),
    *(sr.CNTHP_CTL_EL2, sr.CNTHP_CVAL_EL2, sr.CNTHV_CTL_EL2, sr.CNTHV_CVAL_EL2),
    *(sr.MDSCR_EL1, sr.MDCCINT_EL1, sr.OSDLR_EL1),
)
"""There on each machine that L0 starts on (FEAT_VHE, FEAT_RAS)."""
AT_EL2: tuple[type[Register], ...] = (
    *(sr.SCTLR2_EL2, sr.TCR2_EL2, sr.GCSCR_EL2, sr.TRFCR_EL2, sr.PMSCR_EL2, sr.BRBCR_EL2),
)
"""Act on L0 itself. L1 does not see them, or has its own elsewhere."""
EL2_OF_FEATURES = tuple(
    (register, feature.register, feature.field, feature.value)
    for register in AT_EL2
    if (feature := feature_of(register)) is not None
)
ADDRESS_KEYS: tuple[type[Register], ...] = (
    *(sr.APIAKeyLo_EL1, sr.APIAKeyHi_EL1, sr.APIBKeyLo_EL1, sr.APIBKeyHi_EL1),
    *(sr.APDAKeyLo_EL1, sr.APDAKeyHi_EL1, sr.APDBKeyLo_EL1, sr.APDBKeyHi_EL1),
)
GENERIC_KEYS: tuple[type[Register], ...] = (sr.APGAKeyLo_EL1, sr.APGAKeyHi_EL1)
AUTHENTICATES = tuple(
    by_name(f"FEAT_PAuth, {cipher}") for cipher in ("QARMA5", "QARMA3", "IMPLEMENTATION DEFINED")
)
AUTHENTICATES_DATA = tuple(
    by_name(f"FEAT_PAuth generic, {cipher}")
    for cipher in ("QARMA5", "QARMA3", "IMPLEMENTATION DEFINED")
)

Pairs = tuple[tuple[int, type[Register], type[Register]], ...]
"""A register's number, what it selects, and its value."""


def _pairs(selectors: Sequence[type[Register]], values: Sequence[type[Register]]) -> Pairs:
    """Join registers that belong together, numbered."""
    return tuple((n, *pair) for n, pair in enumerate(zip(selectors, values, strict=True)))


BREAKPOINTS = _pairs(sr.DBGBCRn_EL1, sr.DBGBVRn_EL1)
WATCHPOINTS = _pairs(sr.DBGWCRn_EL1, sr.DBGWVRn_EL1)
OS_LOCKED = sr.OSLAR_EL1.OSLK.mask
"""OSLSR_EL1.OSLK resets to 1."""
CLAIM_TAGS = sr.DBGCLAIMCLR_EL1.CLAIM.mask

COUNTERS = _pairs(sr.PMEVTYPERn_EL0, sr.PMEVCNTRn_EL0)
OF_PMU: tuple[type[Register], ...] = (
    *(sr.PMCR_EL0, sr.PMSELR_EL0, sr.PMUSERENR_EL0, sr.PMCCNTR_EL0, sr.PMCCFILTR_EL0),
)
TO_CLEAR: tuple[type[Register], ...] = (*(sr.PMCNTENCLR_EL0, sr.PMINTENCLR_EL1, sr.PMOVSCLR_EL0),)

OF_GROUP1: tuple[type[Register], ...] = (
    *(sr.ICC_PMR_EL1, sr.ICC_BPR1_EL1, sr.ICC_CTLR_EL1, sr.ICC_IGRPEN1_EL1),
)
OF_GROUP0: tuple[type[Register], ...] = (sr.ICC_BPR0_EL1, sr.ICC_IGRPEN0_EL1)
VIRTUAL_PRIORITIES = _pairs(
    [sr.by_name(f"ICH_AP0R{n}_EL2") for n in range(4)],
    [sr.by_name(f"ICH_AP1R{n}_EL2") for n in range(4)],
)
PRIORITIES = _pairs(
    [sr.by_name(f"ICC_AP0R{n}_EL1") for n in range(4)],
    [sr.by_name(f"ICC_AP1R{n}_EL1") for n in range(4)],
)
LIST_REGISTERS = tuple((n, sr.by_name(f"ICH_LR{n}_EL2")) for n in range(16))
OPEN = sr.CPTR_EL2.res1
"""CPTR_EL2 with E2H=0: EL2 may use floating point."""


@inline
def authentication() -> None:
    """Clear the keys that the machine has."""
    address = False
    for feature in AUTHENTICATES:
        if feature.field.get(mrs(feature.register)) != 0:
            address = True
    if address:
        for key in ADDRESS_KEYS:
            msr(key, 0)
    generic = False
    for feature in AUTHENTICATES_DATA:
        if feature.field.get(mrs(feature.register)) != 0:
            generic = True
    if generic:
        for key in GENERIC_KEYS:
            msr(key, 0)


@inline
def debugging() -> None:
    """Turn breakpoints, watchpoints and what else is the debugger's off, and set the OS lock."""
    msr(sr.OSLAR_EL1, OS_LOCKED)
    msr(sr.DBGCLAIMCLR_EL1, CLAIM_TAGS)
    features = mrs(sr.ID_AA64DFR0_EL1)
    for n, control, value in BREAKPOINTS:
        if n <= sr.ID_AA64DFR0_EL1.BRPs.get(features):
            msr(control, 0)
            msr(value, 0)
    for n, control, value in WATCHPOINTS:
        if n <= sr.ID_AA64DFR0_EL1.WRPs.get(features):
            msr(control, 0)
            msr(value, 0)


@inline
def counting(vm: Vm) -> None:
    """Turn the PMU off, if there is one."""
    if vm.probed.selectors & ALL_COUNTERS == 0:
        return
    for register in TO_CLEAR:
        msr(register, ALL_COUNTERS)
    for register in OF_PMU:
        msr(register, 0)
    for n, selector, counter in COUNTERS:
        if n < vm.probed.counters:
            msr(selector, 0)
            msr(counter, 0)


@inline
def interrupts(vm: Vm) -> None:
    """Begin with a CPU interface that signals nothing and has nothing active, and no virtual one.

    Group 0 is EL3's where there is one.
    """
    msr(sr.ICH_HCR_EL2, 0)
    msr(sr.ICH_VMCR_EL2, 0)
    for n, register in LIST_REGISTERS:
        if n < vm.probed.list_registers:
            msr(register, 0)
    for register in OF_GROUP1:
        msr(register, 0)
    has_el3 = sr.ID_AA64PFR0_EL1.EL3.get(mrs(sr.ID_AA64PFR0_EL1)) != 0
    if not has_el3:
        for register in OF_GROUP0:
            msr(register, 0)
    for n, group0, group1 in PRIORITIES:
        if n < vm.probed.active_priorities:
            msr(group1, 0)
            if not has_el3:
                msr(group0, 0)
    for n, group0, group1 in VIRTUAL_PRIORITIES:
        if n < vm.probed.active_priorities:
            msr(group0, 0)
            msr(group1, 0)


@resident
def registers(vm: Vm) -> None:
    """Write them all. HCR_EL2 has E2H=TGE=0 (`vectors.prepare`)."""
    msr(sr.CPTR_EL2, OPEN)
    isb()
    for register in GENERAL:
        msr(register, 0)
    for register, known_by, field, value in EL2_OF_FEATURES:
        if field.get(mrs(known_by)) >= value:
            msr(register, 0)
    authentication()
    debugging()
    counting(vm)
    interrupts(vm)
    isb()
