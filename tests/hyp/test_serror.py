"""Virtual SErrors of vEL1: VSESR_EL2, VDISR_EL2, and HCR_EL2.VSE, which hardware clears."""

from __future__ import annotations

import pytest

from tests.hyp.rig import fresh_rig
from vel2.arch import sysregs as sr
from vel2.hyp import context

HCR = sr.HCR_EL2
PENDING = HCR.compose(VM=1, AMO=1, VSE=1)
SYNDROME, DEFERRED = 0x00AB_CDEF, 0x80AB_CDEF


@pytest.mark.parametrize("vm", [0, HCR.VM.mask], ids=["stage-2-off", "stage-2-on"])
@pytest.mark.parametrize("is_taken", [False, True])
def test_l1_sees_whether_a_virtual_serror_was_taken(is_taken: bool, vm: int) -> None:
    """Show that it comes with L1's syndrome, and that VSE reads 0 only when hardware cleared it."""
    rig = fresh_rig()
    hcr = PENDING & ~HCR.VM.mask | vm
    rig.set_slot(HCR, hcr)
    rig.set_slot(sr.VSESR_EL2, SYNDROME)
    rig.run(context.enter_vel1, rig.vcpu)
    assert rig[HCR] & HCR.compose(AMO=1, VSE=1) == HCR.compose(AMO=1, VSE=1)
    assert rig[sr.VSESR_EL2] == SYNDROME
    if is_taken:
        rig[HCR] &= ~HCR.VSE.mask
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig.slot(HCR) == (hcr & ~HCR.VSE.mask if is_taken else hcr)
    assert rig[HCR] & HCR.compose(AMO=1, VSE=1) == 0
    rig.run(context.enter_vel1, rig.vcpu)
    assert HCR.VSE.get(rig[HCR]) == (0 if is_taken else 1)


def test_what_is_deferred_is_the_guests_and_l1s() -> None:
    """Show that VDISR_EL2 moves with every change: what one guest left no other guest reads."""
    rig = fresh_rig()
    rig.set_slot(HCR, HCR.compose(VM=1, AMO=1))
    rig.set_slot(sr.VDISR_EL2, 0)
    rig.run(context.enter_vel1, rig.vcpu)
    assert rig[sr.VDISR_EL2] == 0
    rig[sr.VDISR_EL2] = DEFERRED
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig.slot(sr.VDISR_EL2) == DEFERRED
    rig.set_slot(sr.VDISR_EL2, 0x5)
    rig.run(context.enter_vel1, rig.vcpu)
    assert rig[sr.VDISR_EL2] == 0x5


def test_fwb_is_left_out_without_a_stage_2_alone() -> None:
    """Show that the test for a virtual SError leaves HCR_EL2.FWB as it was before."""
    for bits, fwb in ((HCR.compose(VM=1), 1), (HCR.compose(DC=1), 1), (0, 0)):
        rig = fresh_rig()
        rig.set_slot(HCR, bits | HCR.compose(FWB=1, AMO=1))
        rig.run(context.enter_vel1, rig.vcpu)
        assert HCR.FWB.get(rig[HCR]) == fwb
