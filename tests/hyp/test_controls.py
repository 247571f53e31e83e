"""The trap controls of hardware's EL2: what L1 can and can never make of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hyp.draw import WORDS
from tests.hyp.rig import fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.bits import Reserved
from vel2.hyp import context
from vel2.hyp.homes import in_memory, switched

HCR = sr.HCR_EL2
ALWAYS = ("VM", "RW", "TSC", "TID3", "TACR", "TIDCP", "TLOR")
"""L0's, in every context."""
NEVER = (
    "TGE", "E2H", "NV", "NV1", "NV2", "AT", "GPF", "AMVOFFEN", "ATA", "DCT", "TME", "TWEDEn",
    "TWEDEL", "MIOCNCE", "EnSCXT",
)  # fmt: skip
"""Of vEL2 itself, or of a feature that is hidden."""
AS_L1_SAYS = (
    "SWIO", "PTW", "FMO", "IMO", "AMO", "VF", "VI", "VSE", "FB", "BSU", "DC", "TWI", "TWE", "TID0",
    "TID1", "TID2", "TSW", "TPCP", "TPU", "TTLB", "TVM", "TDZ", "HCD", "TRVM", "CD", "ID", "TERR",
    "TEA", "APK", "API", "FIEN", "TID4", "TICAB", "TOCU", "TTLBIS", "TTLBOS", "TID5",
)  # fmt: skip
WITH_STAGE_2 = ("FWB",)
"""As L1 says while it has a stage 2 of its own: the canonical one is made for FWB=0."""
MEMORY = {register: in_memory(register) for register in (sr.MDCR_EL2, sr.CNTHCTL_EL2, sr.CPTR_EL2)}
CPACR = switched(sr.CPACR_EL1).index


def test_every_field_of_hcr_is_in_one_list() -> None:
    """Show that the lists name each field once: one that `vel2.arch` learns of is in none."""
    listed = [*ALWAYS, *NEVER, *AS_L1_SAYS, *WITH_STAGE_2]
    named = [
        field.name
        for field in HCR.fields
        if not isinstance(field, Reserved) and field.mask & ~(HCR.res0 | HCR.res1)
    ]
    assert sorted(listed) == sorted(named)


@settings(max_examples=200)
@given(l1=WORDS)
def test_l1_can_neither_clear_nor_set_what_is_l0s(l1: int) -> None:
    """Show for any HCR_EL2 of L1 that L2 runs with L0's bits and with the others as L1 set them."""
    rig = fresh_rig()
    rig.set_slot(HCR, l1)
    rig.prepare(context.enter_vel1, rig.vcpu)
    real = rig[HCR]
    for field in HCR.fields:
        if field.name in ALWAYS:
            assert field.get(real) == field.ones, field
        elif field.name in WITH_STAGE_2:
            assert field.get(real) == (field.get(l1) and (HCR.VM.get(l1) or HCR.DC.get(l1)))
        elif field.name in AS_L1_SAYS:
            assert field.get(real) == field.get(l1), field
        else:
            assert field.get(real) == 0, field
    rig.prepare(context.enter_vel2, rig.vcpu)
    real = rig[HCR]
    on = {"VM", "RW", "TSC", "TID3", "NV", "NV2", "AT", "TTLB", "API", "APK"}
    assert all(HCR.field(name).get(real) for name in on)
    off = {"TGE", "E2H", "NV1", "IMO", "FMO", "AMO", "VI", "VF", "VSE", "DC", "FWB", "ATA", "DCT"}
    assert not any(HCR.field(name).get(real) for name in off)


@settings(max_examples=100)
@given(l1=WORDS, holds=st.booleans())
def test_fp_and_hidden_features_trap(l1: int, holds: bool) -> None:
    """Show CPTR_EL2 in vEL1: FP and CPACR_EL1 as L1's CPTR_EL2 says, hidden features always."""
    rig = fresh_rig()
    rig.vm.probed.cpacr_holds_cptr = int(holds)
    l1_register = sr.CPTR_EL2_E2H
    if holds:
        rig[sr.CPACR_EL1] = l1
    else:
        rig.vcpu.vel2.memory[MEMORY[sr.CPTR_EL2]] = l1
    rig.prepare(context.enter_vel1, rig.vcpu)
    real = rig[sr.CPTR_EL2]
    traps_fp = l1_register.FPEN.get(l1) in (0b00, 0b10)
    assert sr.CPTR_EL2.TFP.get(real) == traps_fp
    assert sr.CPTR_EL2.TCPAC.get(real) == l1_register.TCPAC.get(l1)
    for name in ("TZ", "TSM", "TTA", "TAM"):
        assert sr.CPTR_EL2.field(name).get(real) == 1
    assert real & sr.CPTR_EL2.res1 == sr.CPTR_EL2.res1
    rig.prepare(context.enter_vel2, rig.vcpu)
    real = rig[sr.CPTR_EL2]
    assert sr.CPTR_EL2.TFP.get(real) == 0
    assert sr.CPTR_EL2.TCPAC.get(real) == (not holds)


@settings(max_examples=100)
@given(cntkctl=WORDS, memory=WORDS, holds=st.booleans())
def test_l2s_counters_and_timers_trap_as_l1_asks(cntkctl: int, memory: int, holds: bool) -> None:
    """Show CNTHCTL_EL2 in vEL1: L1's EL1PCTEN and EL1PTEN (E2H=1) where E2H=0 has them."""
    rig = fresh_rig()
    rig.vm.probed.cntkctl_holds_cnthctl = int(holds)
    rig[sr.CNTKCTL_EL1] = cntkctl
    rig.vcpu.vel2.memory[MEMORY[sr.CNTHCTL_EL2]] = memory
    rig.prepare(context.enter_vel1, rig.vcpu)
    l1 = cntkctl if holds else memory
    real = rig[sr.CNTHCTL_EL2]
    assert real & 1 == l1 >> 10 & 1, "EL1PCTEN"
    assert real >> 1 & 1 == l1 >> 11 & 1, "EL1PCEN"
    assert real >> 13 & 3 == l1 >> 13 & 3, "EL1TVT, EL1TVCT"
    assert real >> 15 & 3 == l1 >> 15 & 3, "EL1NVPCT, EL1NVVCT"
    assert real & ~0x1_E003 == 0
    rig.prepare(context.enter_vel2, rig.vcpu)
    assert rig[sr.CNTHCTL_EL2] == 1 | 1 << 13, "vEL2's EL0-named timers trap, its counters do not"


@settings(max_examples=100)
@given(l1=WORDS)
def test_debug_and_pmu_traps_are_l1s_or_l0s(l1: int) -> None:
    """Show MDCR_EL2 in vEL1: L1 can add traps, and can take away none of L0's."""
    rig = fresh_rig()
    always = sr.MDCR_EL2.compose(TTRF=1, TPMS=1)
    rig.vm.probed.mdcr = always
    rig.vcpu.pcpu.mdcr_vel2 = always | 6
    rig.vcpu.vel2.memory[MEMORY[sr.MDCR_EL2]] = l1
    rig.prepare(context.enter_vel1, rig.vcpu)
    own = sr.MDCR_EL2.compose(
        TDE=1, TDA=1, TDOSA=1, TDRA=1, TDCC=1, TPM=1, TPMCR=1, HPMN=31, HPME=1, HLP=1
    )
    assert rig[sr.MDCR_EL2] == always | l1 & own
    rig.prepare(context.enter_vel2, rig.vcpu)
    assert rig[sr.MDCR_EL2] == always | 6
