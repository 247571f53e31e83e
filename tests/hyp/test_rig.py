"""The rig itself: it must see a difference between the lives of a function."""

from __future__ import annotations

import pytest

from tests.hyp.rig import fresh_rig, native, needs_native
from vel2.arch.psci import CPU_OFF
from vel2.hyp import context, exception, power, smc, timer

pytestmark = needs_native


def test_a_result_that_differs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show that a run fails when CPython gives another result than native code."""
    native()
    rig = fresh_rig()
    monkeypatch.setattr(power, "DENIED", 77)
    with pytest.raises(AssertionError, match="another result"):
        rig.run(smc.call, rig.vcpu, CPU_OFF)


def test_memory_that_differs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show that a run fails when the two leave other memory."""
    native()
    rig = fresh_rig()
    rig.vcpu.pstate = 0b0101
    monkeypatch.setattr(exception, "FROM_CURRENT_SPX", 0x600)
    with pytest.raises(AssertionError, match="memory differs"):
        rig.run(exception.take_to_vel2, rig.vcpu, 0)


def test_registers_that_differ_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show that a run fails when the two leave other registers."""
    native()
    rig = fresh_rig()
    rig.run(context.enter_vel1, rig.vcpu)
    monkeypatch.setattr(timer, "CNTHCTL_VEL2", 0)
    with pytest.raises(AssertionError, match="registers or operations differ"):
        rig.run(context.enter_vel2, rig.vcpu)
