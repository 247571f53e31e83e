"""Switched registers of a feature: they move where L1 has it, and are let alone where not.

That they move like the others is `test_context`'s, `test_nvhe`'s and `test_whole_state`'s to show,
whose machines have them all.
"""

from __future__ import annotations

import pytest

from tests.hyp.rig import KINDS, rig_of, write_el2
from vel2.arch import sysregs as sr
from vel2.hyp import context, optional
from vel2.hyp.homes import OPTIONAL, Switched
from vel2.hyp.state import id_index

HERE = (1 << 62) + 5
THERE = 3

every_row = pytest.mark.parametrize("row", OPTIONAL, ids=lambda row: row.vel2.name)


@every_row
@pytest.mark.parametrize("kind", KINDS)
def test_what_l1_does_not_have_is_not_touched(row: Switched, kind: str) -> None:
    """Show that no access is made that would be UNDEFINED on a machine without the feature."""
    rig = rig_of(kind)
    rig.vm.probed.optional &= ~(1 << OPTIONAL.index(row))
    rig[row.hardware] = HERE
    rig.set_slot(row.hardware, THERE)
    rig.vcpu.vel2.el1[row.index] = THERE
    rig.run(context.enter_vel1, rig.vcpu)
    assert rig[row.hardware] == HERE and row.hardware.trap_key not in rig.sim.written
    rig.run(context.enter_vel2, rig.vcpu)
    assert rig[row.hardware] == HERE and row.hardware.trap_key not in rig.sim.written
    assert rig.slot(row.hardware) == rig.vcpu.vel2.el1[row.index] == THERE


@every_row
def test_l1_has_what_it_sees(row: Switched) -> None:
    rig = rig_of("vhe-nv2")
    feature = row.feature
    assert feature is not None and not feature.hidden
    bit = 1 << OPTIONAL.index(row)
    index = id_index(feature.register)
    for value, want in ((feature.value - 1, 0), (feature.value, bit)):
        rig.vm.probed.id_registers[index] = feature.field.put(value)
        rig.interpret(optional.init, rig.vm)
        assert rig.vm.probed.optional & bit == want


@every_row
def test_it_follows_a_change_of_e2h(row: Switched) -> None:
    """Show that with E2H=0 hardware has its translation, and with E2H=1 the value as it is."""
    rig = rig_of("vhe-nv")
    rig[row.hardware] = HERE
    rig.run(write_el2, rig.vcpu, sr.HCR_EL2.trap_key, 0)
    assert rig.vcpu.vel2.el1[row.index] == HERE
    assert rig[row.hardware] == row.to_el1(HERE)
    rig.run(write_el2, rig.vcpu, sr.HCR_EL2.trap_key, sr.HCR_EL2.E2H.mask)
    assert rig[row.hardware] == HERE
