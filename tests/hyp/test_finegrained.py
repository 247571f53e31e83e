"""Fine-grained traps: what L1 asks for is loaded for vEL1, and asked for by the same bits."""

import pytest

from tests.hyp.rig import Rig, fresh_rig
from vel2.arch import controls, sysregs
from vel2.arch import sysregs as sr
from vel2.hyp import context, finegrained


def rig_with_fgt() -> Rig:
    rig = fresh_rig()
    rig.vm.probed.has_fgt = 1
    return rig


def test_every_positive_bit_asks_for_its_accesses_and_no_other() -> None:
    """Show for each access that exactly the bit `arch.controls` names makes it L1's."""
    rig = rig_with_fgt()
    names = {register.name for register in finegrained.REGISTERS}
    checked = 0
    for (key, is_read), fine in controls.FINE.items():
        if fine.register not in names or fine.polarity == 0:
            continue
        register = sysregs.by_name(fine.register)
        bit = register.field(fine.field).mask
        rig.set_slot(register, bit)
        assert rig.run(finegrained.asks, rig.vcpu, key, is_read), fine
        rig.set_slot(register, register.known & ~bit)
        assert not rig.run(finegrained.asks, rig.vcpu, key, is_read), fine
        rig.set_slot(register, 0)
        checked += 1
    assert checked > 600


def test_enables_of_hidden_features_never_reach_hardware() -> None:
    """Show that only bits that trap when set are loaded, and that vEL2 runs with none."""
    rig = rig_with_fgt()
    for register in finegrained.REGISTERS:
        rig.set_slot(register, (1 << 64) - 1)
    rig.run(context.enter_vel1, rig.vcpu)
    for register in finegrained.REGISTERS:
        assert rig[register] == finegrained.positive_bits(register)
        negative = sum(f.mask for f in register.fields if f.negative)
        assert rig[register] & negative == 0
    rig.run(context.enter_vel2, rig.vcpu)
    for register in finegrained.REGISTERS:
        assert rig[register] == finegrained.OWN.get(register, 0)


def test_what_l0_traps_for_itself_is_on_beside_l1s_bits() -> None:
    """Show that a bit of L1 does not take one of L0's away, and that L0's are what it says."""
    rig = rig_with_fgt()
    selectors = sr.HDFGRTR_EL2.compose(
        PMEVTYPERn_EL0=1, PMCCFILTR_EL0=1, DBGBCRn_EL1=1, DBGWCRn_EL1=1
    )
    assert finegrained.OWN[sr.HDFGRTR_EL2] == selectors
    rig.set_slot(sr.HDFGRTR_EL2, sr.HDFGRTR_EL2.OSLSR_EL1.mask)
    rig.run(context.enter_vel1, rig.vcpu)
    assert rig[sr.HDFGRTR_EL2] == selectors | sr.HDFGRTR_EL2.OSLSR_EL1.mask


def test_a_machine_without_them_is_never_asked() -> None:
    """Show that L0 does not touch registers that the machine does not have."""
    rig = fresh_rig()
    rig.set_slot(sr.HFGRTR_EL2, (1 << 64) - 1)
    rig.run(context.enter_vel1, rig.vcpu)
    assert rig[sr.HFGRTR_EL2] == 0
    assert not rig.run(finegrained.asks, rig.vcpu, sr.SCTLR_EL1.trap_key, True)


@pytest.mark.parametrize("fgt", [1, 2])
def test_the_second_registers_are_zero_where_they_are(fgt: int) -> None:
    """FEAT_FGT2 is hidden: with its enables 0, its registers' features are UNDEFINED."""
    rig = rig_with_fgt()
    rig[sr.ID_AA64MMFR0_EL1] = sr.ID_AA64MMFR0_EL1.compose(FGT=fgt)
    for register in finegrained.SECOND:
        rig[register] = 0x1234
    rig.interpret(finegrained.reset)
    assert {rig[register] for register in finegrained.SECOND} == {0x1234 if fgt == 1 else 0}
    assert {register.name.replace("2_", "_") for register in finegrained.SECOND} == {
        register.name for register in finegrained.REGISTERS
    }
