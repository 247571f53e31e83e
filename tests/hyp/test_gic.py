"""ICH_ELRSR, ICH_EISR and ICH_MISR computed from the page, against the GIC specification."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.rig import Rig, fresh_rig
from vel2.arch import sysregs as sr
from vel2.hyp import gic

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
