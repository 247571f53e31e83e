"""SVE: whose vector length hardware has, and who a trapped use of SVE goes to."""

import pytest

from tests.hyp.rig import Rig, fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ESR_ELx
from vel2.hyp import context, controls, sve, trap
from vel2.hyp.homes import switched
from vel2.hyp.state import GUEST_NVHE, GUEST_VHE, LEVEL_NV, LEVEL_NV2


def rig_with_sve() -> Rig:
    rig = fresh_rig()
    rig.vm.probed.has_sve = 1
    rig.vm.probed.cpacr_holds_cptr = 1
    return rig


def test_each_context_has_its_own_length_bounded_by_l1() -> None:
    """Show that vEL1 runs with L1's ZCR_EL2 as its bound, and that both lengths come back."""
    rig = rig_with_sve()
    rig[sr.ZCR_EL1], rig[sr.ZCR_EL2] = 0x7, sve.ZCR_MAX
    rig.set_slot(sr.ZCR_EL1, 0x3)
    rig.run(context.enter_vel1, rig.vcpu)
    assert (rig[sr.ZCR_EL1], rig[sr.ZCR_EL2]) == (0x3, 0x7)
    rig[sr.ZCR_EL1] = 0x1
    rig.run(context.enter_vel2, rig.vcpu)
    assert (rig[sr.ZCR_EL1], rig[sr.ZCR_EL2]) == (0x7, sve.ZCR_MAX)
    assert rig.slot(sr.ZCR_EL1) == 0x1


@pytest.mark.parametrize(("zen", "traps"), [(0b00, 1), (0b01, 0), (0b10, 1), (0b11, 0)])
def test_l1_decides_whether_its_guest_may_use_sve(zen: int, traps: int) -> None:
    """Show that CPTR_EL2.ZEN of a VHE L1 is CPTR_EL2.TZ of hardware while vEL1 runs."""
    rig = rig_with_sve()
    rig[sr.CPACR_EL1] = sr.CPACR_EL1.ZEN.put(zen)
    rig.run(context.enter_vel1, rig.vcpu)
    assert rig.vcpu.vel2.el1[switched(sr.CPACR_EL1).index] == sr.CPACR_EL1.ZEN.put(zen)
    assert sr.CPTR_EL2.TZ.get(rig[sr.CPTR_EL2]) == traps


@pytest.mark.parametrize("has_sve", [0, 1])
def test_a_trapped_use_is_l1s_or_undefined(has_sve: int) -> None:
    """Show that a use of SVE in vEL1 goes to vEL2, and is UNDEFINED where the VM has no SVE."""
    rig = rig_with_sve()
    rig.vm.probed.has_sve = has_sve
    rig.run(context.enter_vel1, rig.vcpu)
    rig[sr.VBAR_EL1] = 0x1_0000
    rig.vcpu.pstate = 0x3C5
    rig.run(trap.handle_sync, rig.vcpu, ESR_ELx.compose(EC=EC.SVE, IL=1))
    assert rig.vcpu.context == (0 if has_sve else 1)
    expected = EC.SVE if has_sve else EC.UNKNOWN
    assert ESR_ELx.EC.get(rig[sr.ESR_EL1]) == expected


@pytest.mark.parametrize("machine_has", [0, 1])
@pytest.mark.parametrize("level", [LEVEL_NV2, LEVEL_NV])
@pytest.mark.parametrize("kind", [GUEST_VHE, GUEST_NVHE])
def test_sve_is_offered_with_vhe_alone(kind: int, level: int, machine_has: int) -> None:
    """Show that an L1 without FEAT_VHE has no SVE: there is no such CPU."""
    rig = fresh_rig()
    rig.vm.config.guest_kind, rig.vm.config.nv_level = kind, level
    rig[sr.ID_AA64PFR0_EL1] = sr.ID_AA64PFR0_EL1.SVE.put(machine_has)
    wanted = machine_has == 1 and kind == GUEST_VHE and level == LEVEL_NV2
    assert rig.interpret(sve.is_offered, rig.vm) == wanted


def test_without_sve_nothing_of_it_is_touched() -> None:
    """Show that a machine without SVE never sees an access to its registers."""
    rig = fresh_rig()
    rig.run(context.enter_vel1, rig.vcpu)
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig[sr.ZCR_EL1] == 0 and rig[sr.ZCR_EL2] == 0
    assert sr.CPTR_EL2.TZ.get(controls.CPTR_ALWAYS) == 0
    assert sr.CPTR_EL2.TZ.get(rig[sr.CPTR_EL2]) == 1
