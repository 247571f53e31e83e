"""Where the registers of virtual EL2 live that a change between vEL2 and vEL1 is about.

After the review of the 2017 series: a *switched* register exists in hardware once and virtually
twice, so it is moved at each change between vEL2 and vEL1; a *memory* register of vEL2 has no
hardware of its own and lives in the context.

The switch code, the host's views and the tests are made from these rows, and so are records of
`el2regs`, which say what an access that traps does. Facts: docs/references.md, "Virtual EL2 state".
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.features import Feature, feature_of
from vel2.hyp.translate import (
    cptr_el2_to_cpacr_el1,
    identity,
    sctlr2_el2_to_el1,
    sctlr_el2_to_el1,
    tcr2_el2_to_el1,
    tcr_el2_to_el1,
    ttbr0_el2_to_el1,
    zero,
)

__all__ = (
    "ALWAYS",
    "CONTEXT_MEMORY",
    "OPTIONAL",
    "REDIRECTED_BY_NV2",
    "SWITCHED",
    "in_memory",
    "slot",
    "switched",
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
    def feature(self) -> Feature | None:
        """The feature that it comes and goes with."""
        return feature_of(self.hardware)

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
    Switched(sr.TCR2_EL1, sr.TCR2_EL2, tcr2_el2_to_el1),
    Switched(sr.SCTLR2_EL1, sr.SCTLR2_EL2, sctlr2_el2_to_el1),
)
SWITCHED = tuple(replace(row, index=index) for index, row in enumerate(_ROWS))
ALWAYS = tuple(row for row in SWITCHED if row.feature is None)
OPTIONAL = tuple(row for row in SWITCHED if row.feature is not None)
"""Those of a feature that L1 sees where the machine has it (`optional`)."""


CONTEXT_MEMORY: tuple[type[Register], ...] = (sr.MDCR_EL2, sr.CNTHCTL_EL2, sr.CPTR_EL2)
"""Registers of vEL2 that nothing of hardware holds, or not all of it, in the order of a context."""


def switched(register: type[Register]) -> Switched:
    """Find the row of a hardware EL1 register or of the EL2 register it carries."""
    for row in SWITCHED:
        if register in (row.hardware, row.vel2):
            return row
    raise KeyError(f"{register.name} is not a switched register")


def in_memory(register: type[Register]) -> int:
    """Give the place of a register of vEL2 in a context's `memory`."""
    return CONTEXT_MEMORY.index(register)


def slot(register: type[Register]) -> int:
    """Give the number of a register's slot (8 bytes each) in the VNCR page."""
    if register.vncr is None:
        raise KeyError(f"{register.name} has no slot in the VNCR page")
    return register.vncr // 8
