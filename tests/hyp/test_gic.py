"""ICH_ELRSR, ICH_EISR and ICH_MISR of the page by the GIC specification; a live interface."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.rig import Rig, fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.esr import EC, ESR_ELx
from vel2.hyp import context, gic, trap
from vel2.hyp.state import CONTEXT_VEL1, SLOW_MAINTENANCE

LRS = tuple(sr.by_name(f"ICH_LR{n}_EL2") for n in range(16))
LR_VALUES = st.builds(
    lambda state, hw, eoi, rest: state << 62 | hw << 61 | eoi << 41 | rest,
    st.integers(0, 3),
    st.integers(0, 1),
    st.integers(0, 1),
    st.sampled_from((0, 0x00FF_0000_FFFF_FFFF & ~(1 << 41))),
)
EN, UIE, LRENPIE, NPIE, GRP0E, GRP0D, GRP1E, GRP1D = (1 << bit for bit in range(8))


class ListRegister:
    """A list register as the GIC specification draws it."""

    def __init__(self, value: int) -> None:
        self.state = {0: "invalid", 1: "pending", 2: "active", 3: "pending and active"}[value >> 62]
        self.hw = bool(value >> 61 & 1)
        self.eoi = bool(value >> 41 & 1)

    @property
    def owes_eoi(self) -> bool:
        """Whether an EOI maintenance interrupt is due."""
        return self.state == "invalid" and not self.hw and self.eoi

    @property
    def is_empty(self) -> bool:
        """Whether ICH_ELRSR_EL2 has its bit."""
        return self.state == "invalid" and (self.hw or not self.eoi)


def expected_misr(lrs: list[ListRegister], hcr: int, vmcr: int) -> int:
    """ICH_MISR_EL2: one bit per reason, in the order of the specification."""
    eoi_count = hcr >> 27 & 31
    valid = [lr for lr in lrs if lr.state != "invalid"]
    group0, group1 = bool(vmcr & 1), bool(vmcr & 2)
    reasons = (
        any(lr.owes_eoi for lr in lrs),
        hcr & UIE and len(valid) <= 1,
        hcr & LRENPIE and eoi_count != 0,
        hcr & NPIE and not any(lr.state == "pending" for lr in lrs),
        hcr & GRP0E and group0,
        hcr & GRP0D and not group0,
        hcr & GRP1E and group1,
        hcr & GRP1D and not group1,
    )
    return sum(1 << bit for bit, reason in enumerate(reasons) if reason)


def machine(values: list[int], hcr: int, vmcr: int) -> Rig:
    """Give a rig whose page holds list registers and controls; those beyond are garbage."""
    rig = fresh_rig()
    for n, register in enumerate(LRS):
        rig.set_slot(register, values[n] if n < len(values) else 1 << 41)
    rig.set_slot(sr.ICH_HCR_EL2, hcr)
    rig.set_slot(sr.ICH_VMCR_EL2, vmcr)
    return rig


@settings(max_examples=80)
@given(
    values=st.lists(LR_VALUES, min_size=1, max_size=16),
    hcr=st.builds(lambda low, count: low | count << 27, st.integers(0, 255), st.integers(0, 31)),
    vmcr=st.integers(0, 3),
)
def test_status_registers_are_what_hardware_would_say(
    values: list[int], hcr: int, vmcr: int
) -> None:
    """Show all three status registers for any contents, counting only the registers that exist."""
    rig = machine(values, hcr, vmcr)
    lrs = [ListRegister(value) for value in values]
    count = len(values)
    empty = sum(1 << n for n, lr in enumerate(lrs) if lr.is_empty)
    eoi = sum(1 << n for n, lr in enumerate(lrs) if lr.owes_eoi)
    assert rig.run(gic.empty_list_registers, rig.page, count) == empty
    assert rig.run(gic.eoi_list_registers, rig.page, count) == eoi
    assert rig.run(gic.maintenance_status, rig.page, count) == expected_misr(lrs, hcr, vmcr)


UIE_ENABLED = sr.ICH_HCR_EL2.compose(En=1, UIE=1)
TALL1 = sr.ICH_HCR_EL2.TALL1.mask


def trap_on(rig: Rig, register: type[Register], *, is_read: bool) -> None:
    """Trap on an access of L1 to a register of the CPU interface, through x5."""
    op0, op1, crn, crm, op2 = register.encoding
    iss = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | 5 << 5 | crm << 1 | is_read
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000, 0b0101
    rig.run(trap.handle_sync, rig.vcpu, ESR_ELx.compose(EC=EC.SYS64, IL=1) | iss)


def left_with_maintenance(nvhe_host: bool) -> Rig:
    """Leave a vEL1 whose maintenance interrupt is asserted."""
    rig = fresh_rig()
    rig.set_slot(sr.HCR_EL2, sr.HCR_EL2.compose(IMO=1, FMO=1, VM=1))
    rig.set_slot(sr.ICH_HCR_EL2, UIE_ENABLED)
    rig.prepare(context.enter_vel1, rig.vcpu)
    rig[sr.ICH_MISR_EL2] = sr.ICH_MISR_EL2.U.mask
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig.vcpu.slow_eret & SLOW_MAINTENANCE
    assert rig[sr.ICH_HCR_EL2] == UIE_ENABLED | TALL1
    if nvhe_host:
        rig.set_slot(sr.HCR_EL2, 0)
        rig.set_slot(sr.ICH_HCR_EL2, UIE_ENABLED)
        rig.vcpu.context = CONTEXT_VEL1
    return rig


@pytest.mark.parametrize("nvhe_host", [False, True], ids=["vEL2", "its host's vEL1"])
@pytest.mark.parametrize("gone", [False, True])
def test_l1_looks_for_an_interrupt_without_an_eret(nvhe_host: bool, gone: bool) -> None:
    """What L1 has written to the page since the exit reaches hardware before ICC_IAR1_EL1."""
    rig = left_with_maintenance(nvhe_host)
    rig[sr.ICC_IAR1_EL1] = 25
    written = 0 if gone else UIE_ENABLED
    rig.set_slot(sr.ICH_HCR_EL2, written)
    rig[sr.ICH_MISR_EL2] = 0 if gone else sr.ICH_MISR_EL2.U.mask
    trap_on(rig, sr.ICC_IAR1_EL1, is_read=True)
    assert rig.vcpu.pc == 0x1004
    assert rig.vcpu.x[5] == 25
    assert rig[sr.ICH_HCR_EL2] == (0 if gone else written | TALL1)
    assert bool(rig.vcpu.slow_eret & SLOW_MAINTENANCE) is not gone


def test_l1_ends_an_interrupt_meanwhile() -> None:
    rig = left_with_maintenance(nvhe_host=False)
    rig.vcpu.x[5] = 25
    trap_on(rig, sr.ICC_EOIR1_EL1, is_read=False)
    assert rig.vcpu.pc == 0x1004
    assert rig[sr.ICC_EOIR1_EL1] == 25


@pytest.mark.parametrize(
    ("register", "is_read"),
    [(sr.ICC_EOIR1_EL1, True), (sr.ICC_IAR1_EL1, False), (sr.ICC_AP1R1_EL1, True)],
)
def test_what_is_not_there_is_undefined(register: type[Register], is_read: bool) -> None:
    """The machine of the rig has one register of active priorities."""
    rig = left_with_maintenance(nvhe_host=False)
    rig[sr.VBAR_EL1] = 0x9_0000
    trap_on(rig, register, is_read=is_read)
    assert rig.vcpu.pc == 0x9_0200


def test_without_a_live_interface_nothing_of_it_is_emulated() -> None:
    rig = fresh_rig()
    rig[sr.VBAR_EL1] = 0x9_0000
    trap_on(rig, sr.ICC_IAR1_EL1, is_read=True)
    assert rig.vcpu.pc == 0x9_0200
