"""HCR_EL2.{NV,NV1,NV2,AT} of L1: what hardware has of them in vEL1, and what SPSR_EL1 says."""

from __future__ import annotations

from itertools import product

import pytest

from tests.hyp.rig import Rig, fresh_rig, init_id_registers
from vel2.arch import sysregs as sr
from vel2.hyp import context, exception
from vel2.hyp.hcr import NESTED
from vel2.hyp.state import (
    GUEST_NVHE,
    GUEST_VHE,
    LEVEL_NV,
    LEVEL_NV2,
    VNCR_LOADED,
    id_index,
)

HCR = sr.HCR_EL2
BITS = [HCR.compose(NV=nv, NV1=nv1, NV2=nv2) for nv, nv1, nv2 in product((0, 1), repeat=3)]
EL1h, EL2h, EL0t = 0b0101, 0b1001, 0b0000


def in_vel1(hcr: int, nesting: int = NESTED) -> Rig:
    """Give a rig in vEL1 with an HCR_EL2 of L1."""
    rig = fresh_rig()
    rig.vm.probed.nesting = nesting
    rig.set_slot(HCR, hcr)
    rig.prepare(context.enter_vel1, rig.vcpu)
    return rig


@pytest.mark.parametrize("nesting", [0, HCR.compose(NV=1, AT=1), NESTED])
@pytest.mark.parametrize("bits", [*BITS, NESTED])
def test_hardware_has_what_l1_has(bits: int, nesting: int) -> None:
    """Show that the bits reach hardware as far as L1 has them, and are L0's own in vEL2."""
    rig = in_vel1(bits | HCR.VM.mask, nesting)
    assert rig[HCR] & NESTED == bits & nesting
    rig.prepare(context.enter_vel2, rig.vcpu)
    assert rig[HCR] & NESTED == HCR.compose(NV=1, NV2=1, AT=1)


@pytest.mark.parametrize("of_l1", [0, HCR.TACR.mask])
@pytest.mark.parametrize("bits", BITS)
def test_actlr_el1_is_memory_and_does_not_trap(bits: int, of_l1: int) -> None:
    """Show that with {NV,NV2}={1,1} only L1's HCR_EL2.TACR is set; L0's would come first."""
    rig = in_vel1(bits | of_l1 | HCR.VM.mask)
    is_memory = HCR.NV.get(bits) and HCR.NV2.get(bits)
    assert HCR.TACR.get(rig[HCR]) == (HCR.TACR.get(of_l1) if is_memory else 1)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("mode", [EL1h, EL0t])
def test_an_exception_to_l2s_el1_says_el2(bits: int, mode: int) -> None:
    """Show SPSR_EL1.M of an exception that L0 gives L2's EL1, against AArch64.TakeException."""
    rig = in_vel1(bits | HCR.VM.mask)
    rig.vcpu.pstate = mode
    rig.run(exception.take_to_running_el1, rig.vcpu, 0)
    nv, nv1, nv2 = HCR.NV.get(bits), HCR.NV1.get(bits), HCR.NV2.get(bits)
    says_el2 = mode == EL1h and (nv, nv1, nv2) in {(1, 0, 0), (1, 0, 1), (1, 1, 1)}
    assert rig[sr.SPSR_EL1] & 0xF == (EL2h if says_el2 else mode)


def test_vel2_has_its_own_page_again() -> None:
    rig = in_vel1(HCR.compose(NV=1, NV2=1, VM=1))
    rig[sr.VNCR_EL2] = 0x7F_C000_0000
    rig.vcpu.pcpu.loaded = VNCR_LOADED
    rig.prepare(context.enter_vel2, rig.vcpu)
    assert rig[sr.VNCR_EL2] == rig.vcpu.vel2.vncr_page
    assert rig.vcpu.pcpu.loaded == 0


@pytest.mark.parametrize("recursion", [0, 1])
@pytest.mark.parametrize("without_nv1", [False, True])
@pytest.mark.parametrize("level", [LEVEL_NV2, LEVEL_NV])
@pytest.mark.parametrize("kind", [GUEST_VHE, GUEST_NVHE])
def test_what_the_identification_registers_say(
    kind: int, level: int, without_nv1: bool, recursion: int
) -> None:
    """Show NV and E2H0 together with the bits of HCR_EL2 that L1 then has."""
    rig = fresh_rig()
    rig.vm.config.guest_kind, rig.vm.config.nv_level = kind, level
    rig.vm.config.recursion = recursion
    rig[sr.ID_AA64MMFR2_EL1] = sr.ID_AA64MMFR2_EL1.compose(NV=2)
    rig[sr.ID_AA64MMFR4_EL1] = sr.ID_AA64MMFR4_EL1.compose(E2H0=0b1110 if without_nv1 else 0)
    rig.run(init_id_registers, rig.vm)
    shown = rig.vm.probed.id_registers
    nv = sr.ID_AA64MMFR2_EL1.NV.get(shown[id_index(sr.ID_AA64MMFR2_EL1)])
    e2h0 = sr.ID_AA64MMFR4_EL1.E2H0.get(shown[id_index(sr.ID_AA64MMFR4_EL1)])
    has_nv2 = level == LEVEL_NV2
    assert nv == (recursion and (2 if has_nv2 else 1))
    has_nv1 = bool(recursion) and not without_nv1
    assert rig.vm.probed.nesting == (
        recursion and HCR.compose(NV=1, AT=1, NV2=has_nv2, NV1=has_nv1)
    )
    if kind == GUEST_VHE and has_nv2:
        assert e2h0 == (0b1111 if has_nv1 else 0b1110)
    else:
        assert e2h0 == 0
