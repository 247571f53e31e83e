"""Taking exceptions to vEL2 and to L2's EL1, against AArch64.TakeException."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.rig import Rig, fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.esr import EC, ESR_ELx
from vel2.hyp import context, exception, trap
from vel2.hyp.homes import switched
from vel2.hyp.outcome import Fatal
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, LEVEL_NV

pytestmark = pytest.mark.usefixtures("each_kind")

VBAR_VEL2, VBAR_VEL1 = 0xFFFF_8000_0001_0000, 0xFFFF_8000_0002_0000
ELR_WAS = 0xFFFF_0000_1234_5678
KINDS = {"sync": 0x000, "IRQ": 0x080, "FIQ": 0x100, "SError": 0x180}
HCR = sr.HCR_EL2
TGE = HCR.TGE.mask
SPAN = sr.SCTLR_EL1.SPAN.mask
DSSBS = sr.SCTLR_EL1.DSSBS.mask
N_Z_C_V, DIT, UAO, PAN = 0xF << 28, 1 << 24, 1 << 23, 1 << 22
SS, IL, SSBS, BTYPE, D_A_I_F = 1 << 21, 1 << 20, 1 << 12, 3 << 10, 0xF << 6
PSTATES = st.integers(0, (1 << 32) - 1).map(
    lambda x: x & (N_Z_C_V | DIT | UAO | PAN | SS | IL | SSBS | BTYPE | D_A_I_F)
)
MODES = {"EL0t": 0b0000, "EL1t": 0b0100, "EL1h": 0b0101}
"""As hardware has them; in the hyp context EL1 is vEL2."""


def machine(ctx: int, pstate: int, sctlr_vel2: int, sctlr_vel1: int, tge: int) -> Rig:
    """Give a vCPU that runs in a context, each of whose EL1 register files is recognisable."""
    rig = fresh_rig()
    rig.set_vel2(sr.VBAR_EL1, VBAR_VEL2)
    rig.set_vel2(sr.SCTLR_EL1, sctlr_vel2)
    rig.set_slot(sr.VBAR_EL1, VBAR_VEL1)
    rig.set_slot(sr.SCTLR_EL1, sctlr_vel1)
    if ctx == CONTEXT_VEL1:
        rig.prepare(context.enter_vel1, rig.vcpu)
    rig.set_slot(sr.HCR_EL2, tge)
    rig.vcpu.pstate = pstate
    rig.vcpu.pc = ELR_WAS
    return rig


def expected_pstate(old: int, sctlr: int, target_has_el0: bool) -> int:
    """PSTATE at the vector, as AArch64.TakeException sets it; hardware's EL is EL1."""
    new = old & (N_Z_C_V | DIT | PAN) | D_A_I_F | 0b0101
    if target_has_el0 and not sctlr & SPAN:
        new |= PAN
    if sctlr & DSSBS:
        new |= SSBS
    return new


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12)
@given(flags=PSTATES, sctlr=st.sampled_from((0, SPAN, DSSBS, SPAN | DSSBS)), tge=st.booleans())
def test_exceptions_inside_the_hyp_context(
    mode: str, kind: str, flags: int, sctlr: int, tge: bool
) -> None:
    """Show offset, SPSR (EL2t kept), ELR and PSTATE for exceptions of vEL2 and its EL0."""
    if mode == "EL0t" and not tge:
        return
    old = flags | MODES[mode]
    rig = machine(CONTEXT_VEL2, old, sctlr, ~sctlr & DSSBS, TGE if tge else 0)
    rig.run(exception.take_to_vel2, rig.vcpu, KINDS[kind])
    base = {"EL0t": 0x400, "EL1t": 0x000, "EL1h": 0x200}[mode]
    virtual = {"EL0t": 0b0000, "EL1t": 0b1000, "EL1h": 0b1001}[mode]
    assert rig.vcpu.pc == VBAR_VEL2 + base + KINDS[kind]
    assert rig[sr.ELR_EL1] == ELR_WAS
    assert rig[sr.SPSR_EL1] == flags | virtual
    # Without E2H the regime of EL2 has no EL0, whatever TGE says.
    assert rig.vcpu.pstate == expected_pstate(old, sctlr, tge and rig.vcpu.e2h != 0)
    assert rig.vcpu.context == CONTEXT_VEL2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12)
@given(flags=PSTATES, sctlr=st.sampled_from((0, SPAN, DSSBS, SPAN | DSSBS)))
def test_exceptions_from_l2_to_vel2(mode: str, kind: str, flags: int, sctlr: int) -> None:
    """Show that an exception from L2 changes the context and enters vEL2 as from a lower EL."""
    old = flags | MODES[mode]
    rig = machine(CONTEXT_VEL1, old, sctlr, ~sctlr & DSSBS, 0)
    rig[sr.SPSR_EL1], rig[sr.ELR_EL1] = 0x111, 0x222
    rig.run(exception.take_to_vel2, rig.vcpu, KINDS[kind])
    assert rig.vcpu.context == CONTEXT_VEL2
    assert rig.vcpu.pc == VBAR_VEL2 + 0x400 + KINDS[kind]
    assert rig[sr.ELR_EL1] == ELR_WAS
    # With FEAT_NV alone and NV1, hardware's EL1 would be vEL2: L2's is held as EL3.
    is_held = not rig.vcpu.e2h and rig.vm.config.nv_level == LEVEL_NV and mode != "EL0t"
    assert rig[sr.SPSR_EL1] == (old ^ 0b1000 if is_held else old)
    assert rig.vcpu.pstate == expected_pstate(old, sctlr, False)
    assert (rig.slot(sr.SPSR_EL1), rig.slot(sr.ELR_EL1)) == (0x111, 0x222)


@pytest.mark.parametrize("mode", MODES)
@settings(max_examples=12)
@given(flags=PSTATES, sctlr=st.sampled_from((0, SPAN, DSSBS, SPAN | DSSBS)))
def test_exceptions_from_l2_to_its_own_el1(mode: str, flags: int, sctlr: int) -> None:
    """Show that an exception given to L2's EL1 is the one hardware would take there."""
    old = flags | MODES[mode]
    rig = machine(CONTEXT_VEL1, old, ~sctlr & DSSBS, sctlr, 0)
    rig.run(exception.take_to_running_el1, rig.vcpu, 0)
    base = {"EL0t": 0x400, "EL1t": 0x000, "EL1h": 0x200}[mode]
    assert rig.vcpu.context == CONTEXT_VEL1
    assert rig.vcpu.pc == VBAR_VEL1 + base
    assert rig[sr.ELR_EL1] == ELR_WAS and rig[sr.SPSR_EL1] == old
    assert rig.vcpu.pstate == expected_pstate(old, sctlr, True)


@pytest.mark.parametrize(
    ("handler", "kind", "counter"),
    [
        (trap.handle_irq, "IRQ", "irq"),
        (trap.handle_fiq, "FIQ", "fiq"),
        (trap.handle_serror, "SError", "serror"),
    ],
)
def test_interrupts_of_l2_go_to_vel2(handler: object, kind: str, counter: str) -> None:
    """Show that L1 gets each kind at its own vector, and the syndrome with an SError only."""
    rig = machine(CONTEXT_VEL1, 0b0101, 0, 0, 0)
    rig.vcpu.vel2.el1[switched(sr.ESR_EL1).index] = 0x5B
    rig[sr.ESR_EL2] = syndrome = ESR_ELx.compose(EC=EC.SERROR, IL=1, ISS=0x11)
    rig[sr.ESR_EL1] = 0x5A
    rig.run(handler, rig.vcpu)
    assert rig.vcpu.pc == VBAR_VEL2 + 0x400 + KINDS[kind]
    assert list(getattr(rig.vcpu.counters, counter)) == [0, 1]
    assert rig[sr.ESR_EL1] == (syndrome if kind == "SError" else 0x5B)
    assert rig.slot(sr.ESR_EL1) == 0x5A
    assert rig.vm.post_mortem.fatal_code == Fatal.NONE


@pytest.mark.parametrize("handler", [trap.handle_irq, trap.handle_fiq])
def test_an_interrupt_in_the_hyp_context_stays_pending(handler: object) -> None:
    """Show that hardware is told again to take it to vEL2, and that L0 lives."""
    rig = machine(CONTEXT_VEL2, 0b0101, 0, 0, 0)
    before = rig.vcpu.pc, rig.vcpu.pstate
    rig[sr.HCR_EL2] = HCR.compose(IMO=1, FMO=1, AMO=1, TGE=1)
    rig.run(handler, rig.vcpu)
    assert rig[sr.HCR_EL2] & HCR.compose(IMO=1, FMO=1, AMO=1, TGE=1) == 0
    assert (rig.vcpu.pc, rig.vcpu.pstate) == before
    assert rig.vm.post_mortem.fatal_code == Fatal.NONE


def test_an_serror_in_the_hyp_context_is_vel2s() -> None:
    """Show that it is not lost: hardware has taken it, and will not again."""
    rig = machine(CONTEXT_VEL2, 0b0101, 0, 0, 0)
    rig[sr.ESR_EL2] = syndrome = ESR_ELx.compose(EC=EC.SERROR, IL=1, ISS=0x11)
    rig.run(trap.handle_serror, rig.vcpu)
    assert rig.vcpu.pc == VBAR_VEL2 + 0x200 + KINDS["SError"]
    assert rig[sr.ESR_EL1] == syndrome
    assert rig.vm.post_mortem.fatal_code == Fatal.NONE


def test_an_exception_from_aarch32_at_el0_takes_its_own_vector() -> None:
    """Show AArch64.TakeException's lower_32: EL1's vectors for a lower EL in AArch32."""
    user = 0x1D0
    rig = machine(CONTEXT_VEL1, user, 0, 0, 0)
    rig.run(exception.take_to_running_el1, rig.vcpu, 0)
    assert rig.vcpu.pc == VBAR_VEL1 + 0x600
    assert rig[sr.SPSR_EL1] == user
    rig = machine(CONTEXT_VEL1, user, 0, 0, 0)
    rig.run(exception.take_to_vel2, rig.vcpu, 0)
    assert rig.vcpu.pc == VBAR_VEL2 + 0x400
    assert rig[sr.SPSR_EL1] == user
