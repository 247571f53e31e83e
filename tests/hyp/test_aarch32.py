"""Traps from an EL0 in AArch32: whose they are, by the register they are about."""

from __future__ import annotations

import pytest

from tests.hyp.rig import Rig, fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.esr import EC, ISS_CP_32, ISS_CP_64, ESR_ELx
from vel2.hyp import aarch32, context, trap
from vel2.hyp.homes import in_memory
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2

USER = 0x1D0
VBAR_VEL2, VBAR_VEL1 = 0x9_0000, 0xA_0000
UNDEF = ESR_ELx.compose(EC=EC.UNKNOWN, IL=1)
MDCR, HCR = sr.MDCR_EL2, sr.HCR_EL2
TPM, TDE, TIDCP = MDCR.TPM.mask, MDCR.TDE.mask, HCR.TIDCP.mask
ALL_COUNTERS = 6

SINGLE: tuple[tuple[str, tuple[int, int, int], type[Register]], ...] = (
    ("PMCR", (9, 12, 0), sr.PMCR_EL0),
    ("PMCNTENSET", (9, 12, 1), sr.PMCNTENSET_EL0),
    ("PMCNTENCLR", (9, 12, 2), sr.PMCNTENCLR_EL0),
    ("PMOVSR", (9, 12, 3), sr.PMOVSCLR_EL0),
    ("PMSWINC", (9, 12, 4), sr.PMSWINC_EL0),
    ("PMSELR", (9, 12, 5), sr.PMSELR_EL0),
    ("PMCEID0", (9, 12, 6), sr.PMCEID0_EL0),
    ("PMCCNTR", (9, 13, 0), sr.PMCCNTR_EL0),
    ("PMXEVTYPER", (9, 13, 1), sr.PMXEVTYPER_EL0),
    ("PMXEVCNTR", (9, 13, 2), sr.PMXEVCNTR_EL0),
    ("PMUSERENR", (9, 14, 0), sr.PMUSERENR_EL0),
    ("PMOVSSET", (9, 14, 3), sr.PMOVSSET_EL0),
    ("PMEVCNTR0", (14, 8, 0), sr.PMEVCNTRn_EL0[0]),
    ("PMCCFILTR", (14, 15, 7), sr.PMCCFILTR_EL0),
    ("TPIDRURW", (13, 0, 2), sr.TPIDR_EL0),
    ("TPIDRURO", (13, 0, 3), sr.TPIDRRO_EL0),
    ("CNTFRQ", (14, 0, 0), sr.CNTFRQ_EL0),
    ("CNTP_TVAL", (14, 2, 0), sr.CNTP_TVAL_EL0),
    ("CNTP_CTL", (14, 2, 1), sr.CNTP_CTL_EL0),
    ("CNTV_TVAL", (14, 3, 0), sr.CNTV_TVAL_EL0),
    ("CNTV_CTL", (14, 3, 1), sr.CNTV_CTL_EL0),
)
"""The Arm ARM's table of coprocessor 15: (CRn, CRm, Opc2), and the AArch64 register it maps to."""

PAIRED = (
    ("CNTPCT", (0, 14), sr.CNTPCT_EL0),
    ("CNTVCT", (1, 14), sr.CNTVCT_EL0),
    ("CNTP_CVAL", (2, 14), sr.CNTP_CVAL_EL0),
    ("CNTV_CVAL", (3, 14), sr.CNTV_CVAL_EL0),
    ("CNTPCTSS", (8, 14), sr.CNTPCTSS_EL0),
    ("CNTVCTSS", (9, 14), sr.CNTVCTSS_EL0),
    ("PMCCNTR", (0, 9), sr.PMCCNTR_EL0),
)


def single(CRn: int, CRm: int, Opc2: int, read: int = 1) -> int:
    """Compose the syndrome of an MRC or MCR of coprocessor 15."""
    iss = ISS_CP_32.compose(CV=1, COND=14, CRn=CRn, CRm=CRm, Opc2=Opc2, Rt=3, Direction=read)
    return ESR_ELx.compose(EC=EC.CP15_32, IL=1, ISS=iss)


def pair(Opc1: int, CRm: int) -> int:
    """Compose the syndrome of an MRRC of coprocessor 15."""
    iss = ISS_CP_64.compose(CV=1, COND=14, Opc1=Opc1, CRm=CRm, Rt=2, Rt2=3, Direction=1)
    return ESR_ELx.compose(EC=EC.CP15_64, IL=1, ISS=iss)


def machine(mdcr: int = ALL_COUNTERS, hcr: int = 0, cnthctl: int = 0xC00) -> Rig:
    """Give an L2 whose EL0 is in AArch32, under L1's controls."""
    rig = fresh_rig()
    rig[sr.VBAR_EL1] = VBAR_VEL2
    rig[sr.CNTKCTL_EL1] = cnthctl
    rig.vm.probed.cntkctl_holds_cnthctl = 1
    rig.set_slot(sr.VBAR_EL1, VBAR_VEL1)
    rig.set_slot(sr.HCR_EL2, hcr)
    rig.vcpu.vel2.memory[in_memory(MDCR)] = mdcr
    rig.prepare(context.enter_vel1, rig.vcpu)
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000, USER
    return rig


def require_forwarded(rig: Rig, esr: int) -> None:
    rig.run(trap.handle_sync, rig.vcpu, esr)
    assert rig.vcpu.context == CONTEXT_VEL2
    assert rig.vcpu.pc == VBAR_VEL2 + 0x400
    assert (rig[sr.ESR_EL1], rig[sr.ELR_EL1], rig[sr.SPSR_EL1]) == (esr, 0x1000, USER)


def require_undefined(rig: Rig, esr: int) -> None:
    rig.run(trap.handle_sync, rig.vcpu, esr)
    assert rig.vcpu.context == CONTEXT_VEL1
    assert rig.vcpu.pc == VBAR_VEL1 + 0x600
    assert (rig[sr.ESR_EL1], rig[sr.ELR_EL1], rig[sr.SPSR_EL1]) == (UNDEF, 0x1000, USER)


@pytest.mark.parametrize(("name", "number", "register"), SINGLE)
def test_a_register_has_its_aarch64_name(
    name: str, number: tuple[int, int, int], register: type[Register]
) -> None:
    """Show that an MRC of coprocessor 15 is routed as the MRS of the register it maps to."""
    assert aarch32.key_of_single(single(*number)) == register.trap_key


@pytest.mark.parametrize(("name", "number", "register"), PAIRED)
def test_a_64_bit_register_has_its_aarch64_name(
    name: str, number: tuple[int, int], register: type[Register]
) -> None:
    """Show the same of MRRC."""
    assert aarch32.key_of_pair(pair(*number)) == register.trap_key


@pytest.mark.parametrize("row", SINGLE[:13], ids=lambda row: row[0])
def test_tpm_is_about_aarch32_too(row: tuple[str, tuple[int, int, int], type[Register]]) -> None:
    """Show that MDCR_EL2.TPM forwards; and that without it what L0 traps itself is UNDEFINED."""
    require_forwarded(machine(ALL_COUNTERS | TPM), single(*row[1]))
    require_undefined(machine(), single(*row[1]))
    require_forwarded(machine(ALL_COUNTERS | TPM), pair(0, 9))


def test_the_counters_and_timers_of_cnthctl() -> None:
    """Show that a trap of the physical counter or timer is L1's when it took the enable away."""
    require_forwarded(machine(cnthctl=0), pair(0, 14))
    require_forwarded(machine(cnthctl=0), single(14, 2, 1))
    require_undefined(machine(), pair(0, 14))
    require_undefined(machine(), single(14, 2, 1))


@pytest.mark.parametrize(
    ("CRn", "CRm", "is_impdef"),
    [
        *((9, CRm, CRm in (0, 1, 2, 5, 6, 7, 8)) for CRm in range(9)),
        *((10, CRm, CRm in (0, 1, 4, 8)) for CRm in range(9)),
        *((11, CRm, True) for CRm in range(9)),
    ],
)
def test_tidcp_covers_the_implementation_defined_space(CRn: int, CRm: int, is_impdef: bool) -> None:
    """Show HCR_EL2.TIDCP's own list for AArch32; L0 sets the bit always, so that it is L1's or no
    register."""
    require_undefined(machine(), single(CRn, CRm, 0))
    if is_impdef:
        require_forwarded(machine(hcr=TIDCP), single(CRn, CRm, 0))
    else:
        require_undefined(machine(hcr=TIDCP), single(CRn, CRm, 0))


@pytest.mark.parametrize(
    ("ec", "iss"),
    [
        (EC.CP14_32, ISS_CP_32.compose(CRm=1, Direction=1)),
        (EC.CP14_64, ISS_CP_64.compose(CRm=1, Direction=1)),
        (EC.CP14_LS, 0),
        (EC.SVC32, 7),
        (EC.BKPT32, 7),
        (EC.VECTOR32, 0x22),
    ],
)
def test_what_l0_never_traps_is_l1s(ec: EC, iss: int) -> None:
    """Show that debug, SVC and the debug exceptions of AArch32 are forwarded."""
    require_forwarded(machine(TDE), ESR_ELx.compose(EC=ec, IL=1, ISS=iss))


@pytest.mark.parametrize(
    ("ec", "iss"),
    [
        (EC.CP14_32, ISS_CP_32.compose(Opc1=1, Direction=1)),
        (EC.CP15_32, ISS_CP_32.compose(CRn=13, CRm=2, Direction=1)),
        (EC.CP15_64, ISS_CP_64.compose(Opc1=0, CRm=0, Direction=1)),
        (EC.CP10_ID, 0),
        (EC.HVC32, 0),
        (EC.SMC32, 0),
    ],
)
def test_what_l1_does_not_have_is_undefined(ec: EC, iss: int) -> None:
    """Show that trace, activity monitors and what EL0 cannot do are UNDEFINED."""
    require_undefined(machine(TPM), ESR_ELx.compose(EC=ec, IL=1, ISS=iss))


@pytest.mark.parametrize("kind", ["irq", "fiq"])
def test_an_interrupt_of_aarch32_goes_to_vel2(kind: str) -> None:
    """Show that L1 gets it at the vector for AArch64, with the SPSR of AArch32."""
    rig = machine()
    rig.run(getattr(trap, f"handle_{kind}"), rig.vcpu)
    assert rig.vcpu.pc == VBAR_VEL2 + {"irq": 0x480, "fiq": 0x500}[kind]
    assert rig[sr.SPSR_EL1] == USER
