"""The PMU registers, the selectors and MDCR_EL2, where accesses to them trap to L0.

With FEAT_FGT these accesses trap: the selectors (`selectors`), and writes of PMCR_EL0,
PMCNTENSET_EL0 and PMCNTENCLR_EL0. All other PMU registers are hardware's own, both for L1 and, for
counters below L1's MDCR_EL2.HPMN, for L2. The overflow interrupt is a physical one, and is L1's
like every other.

While vEL2 runs, hardware's MDCR_EL2.HPMN gives EL1 all counters. If L1 keeps some of them for its
EL2 (HPMN less than PMCR_EL0.N; HPME controls those), hardware gets L1's HPMN and TPM. L0 then
performs every PMU access of vEL2, at EL2, where hardware shows all counters. The same happens
without FEAT_FGT, in vEL1 too. It also happens when a VHE L1 has set TPM or TPMCR, which trap its
EL0: L0 does not see ERETs to that EL0, so the bits are set for vEL2 as well.

When an access of vEL1 comes here, L1's own controls have already had their chance to take the trap.
"""

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.hyp import breakpoints, finegrained, routing, selectors
from vel2.hyp.answer import UNDEFINED_SYNDROME
from vel2.hyp.controls import MDCR_INDEX
from vel2.hyp.exception import is_el0
from vel2.hyp.selectors import ALL_COUNTERS, CYCLE, CYCLE_BIT, MDCR, SELECTORS, TYPER
from vel2.hyp.state import CONTEXT_VEL1, Vcpu, Vm, vm_of
from vel2.lang import inline, mrs, msr, resident, u64

__all__ = ("is_reserved", "load_mdcr", "probe", "read", "refusal", "reset", "write", "write_mdcr")

PMCR = sr.PMCR_EL0
SPLIT = MDCR.compose(HPMN=31, HPME=1, HLP=1)
OF_HOST_EL0 = MDCR.compose(TPM=1, TPMCR=1)
"""Traps that are about the EL0 of a VHE host too, and so set while vEL2 runs."""
PMU_CONTROLS = tuple(
    row.index for row in routing.CONTROLS if row.name in ("MDCR_TPM", "TPM_TPMCR", "TPM_HPMN")
)
MDCR_COUNTING = SPLIT | MDCR.compose(HPMD=1, HCCD=1)
PMUV3P1, PMUV3P5 = 4, 6

SETS: tuple[type[Register], ...] = (
    sr.PMCNTENSET_EL0,
    sr.PMCNTENCLR_EL0,
    sr.PMOVSCLR_EL0,
    sr.PMOVSSET_EL0,
    sr.PMINTENSET_EL1,
    sr.PMINTENCLR_EL1,
)
"""One bit for each counter; EL1 reaches those of its own counters."""
READ_WRITE: tuple[type[Register], ...] = (sr.PMSELR_EL0, sr.PMCCNTR_EL0, sr.PMUSERENR_EL0)
READ_ONLY: tuple[type[Register], ...] = (sr.PMCEID0_EL0, sr.PMCEID1_EL0, sr.PMMIR_EL1)
ALL: tuple[type[Register], ...] = (*SETS, *READ_WRITE, PMCR, sr.PMXEVCNTR_EL0)
BOTH = tuple(register.trap_key for register in ALL)
READABLE = (*BOTH, *(r.trap_key for r in READ_ONLY))
WRITABLE = (*BOTH, sr.PMSWINC_EL0.trap_key)
VALUES: tuple[tuple[int, type[Register]], ...] = tuple(enumerate(sr.PMEVCNTRn_EL0))
NOT_A_COUNTER = 32


@inline
def has_pmu(vcpu: Vcpu) -> bool:
    """Whether the VM has a PMU."""
    return vm_of(vcpu).probed.selectors & ALL_COUNTERS != 0


@inline
def below_el2(vcpu: Vcpu) -> bool:
    """Whether EL1 or EL0 runs, which MDCR_EL2.HPMN limits."""
    return vcpu.context == CONTEXT_VEL1 or is_el0(vcpu.pstate)


@inline
def reachable(vcpu: Vcpu) -> u64:
    """Mask the counters that the running Exception level may use."""
    if below_el2(vcpu):
        return selectors.guest_counters(vcpu)
    return ALL_COUNTERS


@resident
def value_of_key(key: u64) -> u64:
    """Give the number of the event counter whose value a trap key names, or NOT_A_COUNTER."""
    for n, register in VALUES:
        if key == register.trap_key:
            return n
    if key == sr.PMXEVCNTR_EL0.trap_key:
        return sr.PMSELR_EL0.SEL.get(mrs(sr.PMSELR_EL0))
    return NOT_A_COUNTER


@resident
def selector_of_key(vcpu: Vcpu, key: u64) -> u64:
    """Give the index of the selector that a trap key names, by PMSELR_EL0 too, or SELECTORS."""
    if has_pmu(vcpu) and key == sr.PMXEVTYPER_EL0.trap_key:
        return sr.PMSELR_EL0.SEL.get(mrs(sr.PMSELR_EL0))
    return selectors.index_of(key)


@resident
def is_reserved(vcpu: Vcpu, key: u64) -> bool:
    """Whether an access of vEL1 is to a counter that L1 keeps: it traps to EL2 (FEAT_FGT)."""
    n = value_of_key(key)
    if n >= CYCLE:
        n = selector_of_key(vcpu, key)
    return n < CYCLE and n < vm_of(vcpu).probed.counters and reachable(vcpu) >> n & 1 == 0


@resident
def traps_host_el0(vcpu: Vcpu, key: u64, is_read: bool) -> bool:
    """Whether an access is of a VHE host's EL0, and L1's MDCR_EL2 traps it to vEL2."""
    if vcpu.context == CONTEXT_VEL1 or not is_el0(vcpu.pstate):
        return False
    control = routing.control_of(key)
    return control in PMU_CONTROLS and routing.asks(vcpu, control, is_read)


@resident
def has_access(vcpu: Vcpu, key: u64, is_read: bool) -> bool:
    """Whether the PMU, less its selectors, has a register with this access."""
    if is_read and key in READABLE:
        return True
    if not is_read and key in WRITABLE:
        return True
    return value_of_key(key) < vm_of(vcpu).probed.counters


@resident
def refusal(vcpu: Vcpu, key: u64, is_read: bool) -> u64:
    """Give the syndrome of the exception that an access takes instead, or 0.

    What PMXEVTYPER_EL0 and PMXEVCNTR_EL0 do for a counter that is not there is CONSTRAINED
    UNPREDICTABLE: they are RAZ/WI.
    """
    if traps_host_el0(vcpu, key, is_read):
        return vcpu.trap.esr
    index = selector_of_key(vcpu, key)
    if index < SELECTORS:
        if vm_of(vcpu).probed.selectors >> index & 1 != 0 or key == sr.PMXEVTYPER_EL0.trap_key:
            return 0
    elif has_pmu(vcpu) and has_access(vcpu, key, is_read):
        return 0
    return UNDEFINED_SYNDROME


@resident
def read(vcpu: Vcpu, key: u64) -> u64:
    """Read a PMU register or a selector that `refusal` lets pass."""
    index = selector_of_key(vcpu, key)
    if index >= SELECTORS:
        return read_pmu(vcpu, key)
    if vm_of(vcpu).probed.selectors >> index & 1 == 0:
        return 0
    value = vcpu.selectors[index]
    breakpoints.note_access(vcpu, index)
    return value


@resident
def read_pmu(vcpu: Vcpu, key: u64) -> u64:
    """Read a PMU register that is no selector."""
    if key == PMCR.trap_key:
        value = mrs(PMCR)
        if below_el2(vcpu):
            value = PMCR.N.set(value, MDCR.HPMN.get(selectors.l1_mdcr(vcpu)))
        return value
    for register in SETS:
        if key == register.trap_key:
            return mrs(register) & reachable(vcpu)
    for register in READ_WRITE + READ_ONLY:
        if key == register.trap_key:
            return mrs(register)
    number = value_of_key(key)
    for n, register in VALUES:
        if number == n and n < vm_of(vcpu).probed.counters:
            return mrs(register)
    return 0


@resident
def write(vcpu: Vcpu, key: u64, value: u64) -> None:
    """Write a PMU register or a selector that `refusal` lets pass."""
    index = selector_of_key(vcpu, key)
    if index >= SELECTORS:
        write_pmu(vcpu, key, value)
    elif vm_of(vcpu).probed.selectors >> index & 1 != 0:
        selectors.write(vcpu, index, value)
        breakpoints.note_access(vcpu, index)


@resident
def write_pmu(vcpu: Vcpu, key: u64, value: u64) -> None:
    """Write a PMU register that is no selector."""
    if key == PMCR.trap_key:
        write_pmcr(vcpu, value)
        return
    if key == sr.PMSWINC_EL0.trap_key:
        increment(vcpu, value & reachable(vcpu))
        return
    for register in SETS:
        if key == register.trap_key:
            msr(register, value & reachable(vcpu))
            selectors.refresh(vcpu)
            return
    for register in READ_WRITE:
        if key == register.trap_key:
            msr(register, value)
            return
    number = value_of_key(key)
    for n, register in VALUES:
        if number == n and n < vm_of(vcpu).probed.counters:
            msr(register, value)
            return


@resident
def write_pmcr(vcpu: Vcpu, value: u64) -> None:
    """Write PMCR_EL0: at EL2 P resets all event counters, below it those that are not kept."""
    if below_el2(vcpu):
        if value & PMCR.P.mask != 0:
            mine = selectors.guest_counters(vcpu)
            for n, register in VALUES:
                if n < vm_of(vcpu).probed.counters and mine >> n & 1 != 0:
                    msr(register, 0)
        msr(PMCR, value & ~PMCR.P.mask)
    else:
        msr(PMCR, value)
    selectors.refresh(vcpu)


@resident
def increment(vcpu: Vcpu, counters: u64) -> None:
    """Do what PMSWINC_EL0 does to the counters of a mask.

    Here, at EL2, hardware counts nothing. So those counters that count software increments, and do
    so where the guest is, count at EL2 for the length of one instruction.
    """
    open_mask = u64(0)
    for row in selectors.FILTERS:
        if row.index < vm_of(vcpu).probed.counters and counters >> row.index & 1 != 0:
            now = mrs(row.register)
            if TYPER.evtCount.get(now) == 0 and counts_here(vcpu, now):
                open_mask = open_mask | u64(1 << row.index)
                msr(row.register, now | TYPER.NSH.mask)
    msr(sr.PMSWINC_EL0, open_mask)
    for row in selectors.FILTERS:
        if open_mask >> row.index & 1 != 0:
            msr(row.register, mrs(row.register) & ~TYPER.NSH.mask)


@inline
def counts_here(vcpu: Vcpu, hardware_filter: u64) -> bool:
    """Whether hardware's filter lets a counter count where the guest was."""
    if is_el0(vcpu.pstate):
        return TYPER.U.get(hardware_filter) == TYPER.NSU.get(hardware_filter)
    return TYPER.P.get(hardware_filter) == TYPER.NSK.get(hardware_filter)


@resident
def mdcr_vel2(vcpu: Vcpu, vm: Vm) -> u64:
    """Compute hardware's MDCR_EL2 for the hyp context."""
    mdcr = selectors.l1_mdcr(vcpu)
    own = vm.probed.mdcr
    if vcpu.e2h != 0:
        own = own | mdcr & OF_HOST_EL0
    if not has_pmu(vcpu) or MDCR.HPMN.get(mdcr) == vm.probed.counters:
        return own | vm.probed.counters
    return own | MDCR.TPM.mask | MDCR.TPMCR.mask | mdcr & SPLIT


@resident
def load_mdcr(vcpu: Vcpu) -> None:
    """Give hardware MDCR_EL2 for the hyp context, after a change of what it is made from."""
    vcpu.pcpu.mdcr_vel2 = mdcr_vel2(vcpu, vm_of(vcpu))
    msr(MDCR, vcpu.pcpu.mdcr_vel2)


@resident
def write_mdcr(vcpu: Vcpu, value: u64) -> None:
    """Write L1's MDCR_EL2. Its traps take effect when vEL1 is entered."""
    vm = vm_of(vcpu)
    allowed = value & vm.probed.mdcr_writable
    if MDCR.HPMN.get(allowed) > vm.probed.counters:
        allowed = MDCR.HPMN.set(allowed, vm.probed.counters)
    changed = vcpu.vel2.memory[MDCR_INDEX] ^ allowed
    vcpu.vel2.memory[MDCR_INDEX] = allowed
    matters = u64(MDCR_COUNTING)
    if vcpu.e2h == 0:
        matters = matters | MDCR.TDE.mask
    elif changed & OF_HOST_EL0 != 0:
        load_mdcr(vcpu)
    if changed & matters != 0:
        load_mdcr(vcpu)
        selectors.refresh(vcpu)


PMU_PRESENT = tuple(range(1, 15))
"""ID_AA64DFR0_EL1.PMUVer: 0 is none, 15 IMPLEMENTATION DEFINED."""
DEBUG_TRAPS = MDCR.compose(TDE=1, TDA=1, TDOSA=1, TDRA=1)


@resident
def probe(vm: Vm) -> None:
    """Find out what there is to monitor with."""
    features = mrs(sr.ID_AA64DFR0_EL1)
    version = sr.ID_AA64DFR0_EL1.PMUVer.get(features)
    vm.probed.selectors = 0
    vm.probed.counters = 0
    vm.probed.mdcr_writable = DEBUG_TRAPS
    if vm.probed.has_fgt != 0:
        breakpoints = u64((1 << u64(sr.ID_AA64DFR0_EL1.BRPs.get(features) + 1)) - 1)
        watchpoints = u64((1 << u64(sr.ID_AA64DFR0_EL1.WRPs.get(features) + 1)) - 1)
        vm.probed.selectors = u64(breakpoints << selectors.FIRST_BREAKPOINT)
        vm.probed.selectors = vm.probed.selectors | u64(watchpoints << selectors.FIRST_WATCHPOINT)
        vm.probed.mdcr_writable = vm.probed.mdcr_writable | MDCR.TDCC.mask
    if version in PMU_PRESENT:
        vm.probed.counters = PMCR.N.get(mrs(PMCR))
        vm.probed.selectors = vm.probed.selectors | u64((1 << vm.probed.counters) - 1) | CYCLE_BIT
        vm.probed.mdcr_writable = vm.probed.mdcr_writable | MDCR.compose(
            HPMN=31, HPME=1, TPM=1, TPMCR=1
        )
        if version >= PMUV3P1:
            vm.probed.mdcr_writable = vm.probed.mdcr_writable | MDCR.HPMD.mask
        if version >= PMUV3P5:
            vm.probed.mdcr_writable = vm.probed.mdcr_writable | MDCR.HLP.mask | MDCR.HCCD.mask
    if version not in PMU_PRESENT or vm.probed.has_fgt == 0:
        vm.probed.mdcr = vm.probed.mdcr | MDCR.TPM.mask | MDCR.TPMCR.mask


@resident
def reset(vcpu: Vcpu, vm: Vm) -> None:
    """Give L1 all counters, and nothing enabled."""
    vcpu.vel2.memory[MDCR_INDEX] = vm.probed.counters
    vcpu.pcpu.mdcr_vel2 = mdcr_vel2(vcpu, vm)
    selectors.reset(vcpu, vm)
    finegrained.trap_mdscr(vcpu)
