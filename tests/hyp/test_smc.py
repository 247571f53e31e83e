"""The PSCI filter: what reaches the firmware, and what L0 answers itself."""

from __future__ import annotations

import pytest

from tests.hyp.rig import CALLS, Rig, fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ESR_ELx
from vel2.hyp import context, trap
from vel2.hyp.outcome import Stop
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2

SMC0 = ESR_ELx.compose(EC=EC.SMC64, IL=1)
MINUS = (1 << 64).__sub__
NOT_SUPPORTED, INVALID, DENIED, ALREADY_ON = MINUS(1), MINUS(2), MINUS(3), MINUS(4)
MPIDR = 1 << 31
VBAR = 0x9_0000


def smc(
    function: int, *arguments: int, esr: int = SMC0, l2: bool = False, tsc: bool = False
) -> Rig:
    """Trap on an SMC."""
    rig = fresh_rig()
    rig[sr.MPIDR_EL1] = MPIDR
    rig[sr.VBAR_EL1] = VBAR
    if l2:
        rig.prepare(context.enter_vel1, rig.vcpu)
    rig.set_slot(sr.HCR_EL2, sr.HCR_EL2.TSC.mask if tsc else 0)
    for n, value in enumerate((function, *arguments)):
        rig.vcpu.x[n] = value
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000, 0b0101
    rig.run(trap.handle_sync, rig.vcpu, esr)
    return rig


@pytest.mark.parametrize("l2", [False, True])
@pytest.mark.parametrize("function", [0x8400_0000, 0x8400_0004, 0xC400_0004, 0x8400_0006])
def test_what_concerns_only_the_caller_is_passed_on(function: int, l2: bool) -> None:
    """Show that the firmware gets the call as it is and its answer goes to x0."""
    rig = smc(function | 0xAAAA << 32, 1, 2, 3, l2=l2)
    assert CALLS.made == [(function, 1, 2, 3)]
    assert rig.vcpu.x[0] == CALLS.answer
    assert rig.vcpu.pc == 0x1004


@pytest.mark.parametrize("function", [0x8400_0001, 0xC400_0001])
def test_standby_is_passed_on(function: int) -> None:
    """Show that CPU_SUSPEND to a state that returns behind the SMC is the firmware's."""
    smc(function, 0, 0x4000_0000, 7)
    assert CALLS.made == [(function, 0, 0, 0)]


@pytest.mark.parametrize("function", [0x8400_0001, 0xC400_0001])
@pytest.mark.parametrize(("state", "passed"), [(1 << 16, 0), (0x1_0005, 5), (1 << 32 | 5, 5)])
def test_powerdown_becomes_a_standby(function: int, state: int, passed: int) -> None:
    """Show that CPU_SUSPEND names no entry point: firmware would enter it at real EL2."""
    smc(function, state, 0x4000_0000, 7)
    assert CALLS.made == [(function, passed, 0, 0)]


@pytest.mark.parametrize("function", [0x8400_0001, 0xC400_0001])
@pytest.mark.parametrize("state", [1 << 30, 1 << 30 | 5])
def test_powerdown_in_the_extended_format_is_refused(function: int, state: int) -> None:
    """Show that what may be powerdown to a firmware of that format never gets there."""
    rig = smc(function, state, 0x4000_0000, 7)
    assert CALLS.made == []
    assert rig.vcpu.x[0] == INVALID


@pytest.mark.parametrize("function", [0x8400_0003, 0xC400_0003])
def test_cpu_on_is_l0s(function: int) -> None:
    """Show that no CPU is started by the firmware at L1's address."""
    assert smc(function, 0, 0x4000_0000).vcpu.x[0] == ALREADY_ON
    assert CALLS.made == []
    for target in (1, MPIDR, MPIDR | 1):
        assert smc(function, target, 0x4000_0000).vcpu.x[0] == INVALID
    assert CALLS.made == []


HIGH = 1 << 32


def test_an_smc32_call_has_no_more_than_w_registers() -> None:
    """Show what the upper halves of its arguments mean (nothing), and those of an SMC64 call."""
    assert smc(0x8400_0003, HIGH, 0x4000_0000).vcpu.x[0] == ALREADY_ON
    assert smc(0xC400_0003, HIGH, 0x4000_0000).vcpu.x[0] == INVALID
    for function, first in ((0x8400_0004, 7), (0xC400_0004, HIGH | 7)):
        smc(function, HIGH | 7, 0, HIGH)
        assert CALLS.made == [(function, first, 0, first & HIGH)]
    smc(0x8400_000A, HIGH | 0xC400_0003)
    assert CALLS.made == [(0x8400_000A, 0xC400_0003, 0, 0)]


def test_the_only_cpu_cannot_go_off() -> None:
    """Show CPU_OFF denied."""
    assert smc(0x8400_0002).vcpu.x[0] == DENIED
    assert CALLS.made == []


@pytest.mark.parametrize(
    ("function", "reason"), [(0x8400_0008, Stop.SYSTEM_OFF), (0x8400_0009, Stop.SYSTEM_RESET)]
)
def test_the_end_is_noted(function: int, reason: Stop) -> None:
    """Show that the host learns why and when the machine stopped."""
    rig = smc(function)
    assert rig.vm.post_mortem.stop_reason == reason
    assert CALLS.made == [(function, 0, 0, 0)]


@pytest.mark.parametrize(
    "function",
    [0, 0x8000_0000, 0x8000_0001, 0x8400_0005, 0x8400_000E, 0xC400_000E, 0xC400_0012, 0x8400_0014,
     0xC500_0020, 0xBF00_FF01, 0xFFFF_FFFF],
)  # fmt: skip
def test_anything_else_is_not_supported(function: int) -> None:
    """Show that unknown calls never reach the firmware."""
    assert smc(function, 1, 2, 3).vcpu.x[0] == NOT_SUPPORTED
    assert CALLS.made == []


@pytest.mark.parametrize(
    ("asked", "passed"),
    [(0x8400_0000, True), (0xC400_0003, True), (0x8400_0008, True), (0x8000_0000, False),
     (0xC400_000E, False), (0xC400_0012, False)],
)  # fmt: skip
def test_features_are_those_that_are_passed(asked: int, passed: bool) -> None:
    """Show that PSCI_FEATURES promises nothing that the filter then refuses."""
    rig = smc(0x8400_000A, asked)
    assert CALLS.made == ([(0x8400_000A, asked, 0, 0)] if passed else [])
    assert rig.vcpu.x[0] == (CALLS.answer if passed else NOT_SUPPORTED)


def test_only_immediate_zero_is_smccc() -> None:
    """Show that SMC #1 is no call."""
    assert smc(0x8400_0000, esr=SMC0 | 1).vcpu.x[0] == NOT_SUPPORTED
    assert CALLS.made == []


def test_l2s_smc_is_l1s_if_it_asked() -> None:
    """Show that HCR_EL2.TSC of L1 forwards SMC of L2, with PC on the SMC, and not vEL2's own."""
    rig = smc(0x8400_0008, l2=True, tsc=True)
    assert CALLS.made == [] and rig.vcpu.context == CONTEXT_VEL2
    assert rig[sr.ESR_EL1] == SMC0 and rig[sr.ELR_EL1] == 0x1000
    assert rig.vcpu.pc == VBAR + 0x400
    rig = smc(0x8400_0000, l2=True)
    assert rig.vcpu.context == CONTEXT_VEL1
    assert smc(0x8400_0000, tsc=True).vcpu.x[0] == CALLS.answer
