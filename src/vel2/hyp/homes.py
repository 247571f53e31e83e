"""Where each virtual EL2 register lives: the register home table.

Three kinds of rows, after the review of the 2017 series: a *switched* register exists in hardware
once and virtually twice, so it is moved at each change between vEL2 and vEL1; a *memory* register
of vEL2 has no hardware of its own and lives in the context; a *trapped* register is what an access
at vEL2 that hardware does not absorb (no VNCR slot, no redirection) resolves to.

The switch code, the emulation of EL2 registers, the host's views and the tests are made from these
rows. Facts: docs/references.md, "Virtual EL2 state".
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.vncr import VNCR_PAGE
from vel2.hyp.translate import (
    cptr_el2_to_cpacr_el1,
    identity,
    sctlr_el2_to_el1,
    tcr_el2_to_el1,
    ttbr0_el2_to_el1,
    zero,
)

REDIRECTED_BY_NV2 = (sr.ESR_EL2, sr.FAR_EL2, sr.ELR_EL2, sr.SPSR_EL2)
"""EL2 names that hardware itself turns into the EL1 register: no trap."""


@dataclass(frozen=True)
class Switched:
    """One EL1 register of hardware that carries `vel2` in vEL2 and itself in vEL1."""

    hardware: type[Register]
    vel2: type[Register]
    to_el1: Callable[[int], int] = identity
    """What an nVHE guest's value goes through on its way to hardware (VHE: nothing)."""
    costly: bool = False
    """A write flushes translations on known implementations: not done for an equal value."""
    common_nvhe: bool = False
    """An nVHE guest's vEL2 and vEL1 mean the same register: nothing moves."""
    index: int = -1
    """Its place in `SWITCHED`, and in a context's `el1`."""

    @property
    def traps_nvhe(self) -> bool:
        """Whether every write by an nVHE guest is seen, so that memory is the truth."""
        return self.vel2 not in (*REDIRECTED_BY_NV2, sr.SP_EL2)

    @property
    def vncr_slot(self) -> int:
        """The slot (8 bytes each) of the VNCR page with vEL1's value, or -1 for context memory."""
        offset = self.hardware.vncr
        return -1 if offset is None else offset // 8


_ROWS = (
    Switched(sr.SCTLR_EL1, sr.SCTLR_EL2, sctlr_el2_to_el1, costly=True),
    Switched(sr.TCR_EL1, sr.TCR_EL2, tcr_el2_to_el1, costly=True),
    Switched(sr.TTBR0_EL1, sr.TTBR0_EL2, ttbr0_el2_to_el1),
    Switched(sr.TTBR1_EL1, sr.TTBR1_EL2, zero),
    Switched(sr.MAIR_EL1, sr.MAIR_EL2),
    Switched(sr.AMAIR_EL1, sr.AMAIR_EL2),
    Switched(sr.VBAR_EL1, sr.VBAR_EL2),
    Switched(sr.CONTEXTIDR_EL1, sr.CONTEXTIDR_EL2),
    Switched(sr.CPACR_EL1, sr.CPTR_EL2, cptr_el2_to_cpacr_el1),
    Switched(sr.ESR_EL1, sr.ESR_EL2),
    Switched(sr.FAR_EL1, sr.FAR_EL2),
    Switched(sr.AFSR0_EL1, sr.AFSR0_EL2),
    Switched(sr.AFSR1_EL1, sr.AFSR1_EL2),
    Switched(sr.ELR_EL1, sr.ELR_EL2),
    Switched(sr.SPSR_EL1, sr.SPSR_EL2),
    Switched(sr.SP_EL1, sr.SP_EL2),
    Switched(sr.CNTKCTL_EL1, sr.CNTHCTL_EL2, common_nvhe=True),
)
SWITCHED = tuple(replace(row, index=index) for index, row in enumerate(_ROWS))


@dataclass(frozen=True)
class InMemory:
    """A virtual EL2 register that only exists in a context's memory."""

    index: int
    register: type[Register]
    writable: int
    """The bits that a write can change; the others read as zero."""


def _in_memory() -> tuple[InMemory, ...]:
    debug = sr.MDCR_EL2
    mdcr = 0
    for field in (
        debug.TDE,
        debug.TDA,
        debug.TDOSA,
        debug.TDRA,
        debug.TDCC,
        debug.TPM,
        debug.TPMCR,
        debug.HPMN,
        debug.HPME,
        debug.HPMD,
        debug.HCCD,
        debug.HLP,
    ):
        mdcr |= field.mask
    rows = (
        (sr.MDCR_EL2, mdcr),
        (sr.CNTHCTL_EL2, sr.CNTHCTL_EL2_E2H.known),
        (sr.CPTR_EL2, sr.CPTR_EL2_E2H.known),
        (sr.ACTLR_EL2, 0),
        (sr.HACR_EL2, 0),
        # RES0 where EL1 has AArch64 only. DACR32_EL2, IFSR32_EL2, FPEXC32_EL2 and DBGVCR32_EL2 are
        # UNDEFINED there.
        (sr.SPSR_irq, 0),
        (sr.SPSR_abt, 0),
        (sr.SPSR_und, 0),
        (sr.SPSR_fiq, 0),
    )
    return tuple(InMemory(index, register, bits) for index, (register, bits) in enumerate(rows))


CONTEXT_MEMORY = _in_memory()


def switched(register: type[Register]) -> Switched:
    """Find the row of a hardware EL1 register or of the EL2 register it carries."""
    for row in SWITCHED:
        if register in (row.hardware, row.vel2):
            return row
    raise KeyError(f"{register.name} is not a switched register")


def in_memory(register: type[Register]) -> InMemory:
    """Find the row of a virtual EL2 register in context memory."""
    for row in CONTEXT_MEMORY:
        if row.register is register:
            return row
    raise KeyError(f"{register.name} has no home in context memory")


@dataclass(frozen=True)
class HypTimer:
    """A timer register of vEL2: the hypervisor timer of hardware answers for it."""

    name: type[Register]
    home: type[Register]
    e2h_only: bool
    """The name means the hypervisor timer with E2H=1 only."""


def _hyp_timers() -> tuple[HypTimer, ...]:
    rows = []
    for part in ("CTL", "CVAL", "TVAL"):
        for plain, hypervisor in (("CNTP", "CNTHP"), ("CNTV", "CNTHV")):
            home = sr.by_name(f"{hypervisor}_{part}_EL2")
            rows.append(HypTimer(sr.by_name(f"{plain}_{part}_EL0"), home, True))
            rows.append(HypTimer(home, home, False))
    return tuple(rows)


HYP_TIMERS = _hyp_timers()


@dataclass(frozen=True)
class InPage:
    """A register whose home is a slot of the VNCR page and whose access at vEL2 may still trap."""

    name: type[Register]
    slot: int
    with_e2h: bool
    without_e2h: bool


def _in_page() -> tuple[InPage, ...]:
    rows = []
    for row in VNCR_PAGE:
        plain = sr.by_name(row.plain)
        if row.el12 is not None:
            rows.append(InPage(sr.by_name(row.el12), row.offset // 8, True, False))
            rows.append(InPage(plain, row.offset // 8, False, True))
        else:
            rows.append(InPage(plain, row.offset // 8, True, True))
    return tuple(rows)


IN_PAGE = _in_page()
"""Every name of the page: with FEAT_NV alone all of these accesses trap."""


def slot(register: type[Register]) -> int:
    """Give the number of a register's slot (8 bytes each) in the VNCR page."""
    if register.vncr is None:
        raise KeyError(f"{register.name} has no slot in the VNCR page")
    return register.vncr // 8
