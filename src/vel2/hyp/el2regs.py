"""Every register that vEL2 can name, one record each: where it lives and what an access does.

This is about accesses that trap. With FEAT_NV2 most do not: the name means a slot of the VNCR page
or one of hardware's EL1 registers, and L0 sees nothing. With FEAT_NV alone all of them come here.

A record says what the name means to an L1 with E2H=1 and to one with E2H=0, and for each what a
read and a write do. Mostly that is where the value lies (`Kind`), or else a function of the module
that knows better. A name of the page needs no record of its own unless it is more than that: it
gets one from the architecture's table of the page.

A record of a feature (`arch.features`) counts where L1 has it, and nowhere if it is hidden.
`places` turns the table round, and `access` does what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.arch.features import Feature, feature_of
from vel2.arch.vncr import VNCR_PAGE
from vel2.hyp import constant, controls, el02, exception, gic, mdscr, monitors, sve, timer, vhe
from vel2.hyp.homes import SWITCHED
from vel2.hyp.state import Vcpu

__all__ = ("TABLE", "El2Register", "Home", "Kind", "Reader", "Refusal", "Stored", "Writer")

Reader = Callable[[Vcpu], int]
Writer = Callable[[Vcpu, int], None]
Refusal = Callable[[Vcpu], int]
"""Gives the syndrome of the exception that an access takes instead, or 0."""


class Kind(IntEnum):
    """What a read or a write does."""

    NONE = 0
    """It is UNDEFINED."""
    PAGE = 1
    """A slot of the VNCR page, which FEAT_NV2 makes of the name, too."""
    HARDWARE = 2
    """Hardware's register, as it is: while vEL2 runs it is vEL2's own."""
    VEL1_TIMER = 3
    """Hardware's register, which is vEL1's and counts with an offset that L1 writes unseen."""
    SHADOW = 4
    """The context; hardware's EL1 register holds a translation of it (`homes.SWITCHED`)."""
    MEMORY = 5
    """The context (`homes.CONTEXT_MEMORY`)."""
    FUNCTION = 6


@dataclass(frozen=True)
class Stored:
    """A place of its own where a value lies: of which kind, and which register's it is."""

    kind: Kind
    register: type[Register]


@dataclass(frozen=True)
class Home:
    """What a read and a write of a name do; None where there is no such access."""

    read: Stored | Reader | None
    write: Stored | Writer | None


@dataclass(frozen=True)
class El2Register:
    """One name, as vEL2 uses it.

    :ivar with_e2h: what it means to an L1 with E2H=1; None where there is no such name.
    :ivar without_e2h: the same for E2H=0.
    :ivar refusal: which exception an access takes for a reason beyond these.
    :ivar ahead: `ahead` may do the access, and what follows it: whenever it does something, it is
        this (nothing but FEAT_NV* decides whether it traps), and it leaves alone how vEL2's next
        instruction is fetched.
    """

    name: type[Register]
    with_e2h: Home | None
    without_e2h: Home | None
    refusal: Refusal = constant.no_refusal
    ahead: bool = True

    @property
    def feature(self) -> Feature | None:
        """The feature that it comes and goes with."""
        return feature_of(self.name)

    @property
    def is_offered(self) -> bool:
        """Whether L1 can have it; a record with a `refusal` knows for itself."""
        hidden = self.feature is not None and self.feature.hidden is not None
        return not hidden or self.refusal is not constant.no_refusal


def stored(kind: Kind, register: type[Register]) -> Home:
    """Give a home that reads and writes find alike."""
    return Home(Stored(kind, register), Stored(kind, register))


def page(register: type[Register], write: Writer | None = None) -> Home:
    """Give the home of what lies in the VNCR page; `write` may do more than to change it."""
    slot = Stored(Kind.PAGE, register)
    return Home(slot, write or slot)


def hardware(register: type[Register]) -> Home:
    """Give the home of what hardware has in a register."""
    return stored(Kind.HARDWARE, register)


def both(
    name: type[Register], home: Home, refusal: Refusal = constant.no_refusal, *, ahead: bool = True
) -> El2Register:
    """Make the record of a name that means the same whatever E2H is."""
    return El2Register(name, home, home, refusal, ahead)


OF_TRANSLATION = (
    *(sr.SCTLR_EL2, sr.TCR_EL2, sr.TTBR0_EL2, sr.TTBR1_EL2, sr.MAIR_EL2, sr.AMAIR_EL2),
)
"""vEL2's translation regime: hardware, too, needs an ISB behind a write."""


def carried() -> Iterator[El2Register]:
    """Make the records of the registers of vEL2 that hardware's EL1 registers carry."""
    for row in SWITCHED:
        home = hardware(row.hardware)
        without_e2h = stored(Kind.SHADOW, row.vel2) if row.traps_nvhe else home
        if row.vel2 is not sr.SP_EL2:
            ahead = row.vel2 not in OF_TRANSLATION
            yield El2Register(row.vel2, home, without_e2h, ahead=ahead)


def own_timer(plain: str, hypervisor: str) -> Iterator[El2Register]:
    """Make the records of a timer of vEL2, which is hardware's hypervisor timer.

    With E2H=1 the EL0 names mean it, too; with E2H=0 they mean vEL1's, hardware's own.
    """
    for part in ("CTL", "CVAL", "TVAL"):
        home = sr.by_name(f"{hypervisor}_{part}_EL2")
        name = sr.by_name(f"{plain}_{part}_EL0")
        yield both(home, hardware(home), ahead=part != "TVAL")
        yield El2Register(name, hardware(home), stored(Kind.VEL1_TIMER, name), ahead=False)


def in_page() -> Iterator[El2Register]:
    """Make the records of the names of the VNCR page: with NV1=1 EL1's plain names are of it."""
    for row in VNCR_PAGE:
        plain = sr.by_name(row.plain)
        home = page(plain)
        if row.el12 is None:
            yield both(plain, home)
        else:
            yield El2Register(sr.by_name(row.el12), home, None)
            yield El2Register(plain, None, home)


CPTR = Home(controls.read_cptr, controls.write_cptr)
CPTR_SHADOW = stored(Kind.SHADOW, sr.CPTR_EL2)
CNTHCTL = Home(controls.read_cnthctl, controls.write_cnthctl)
CNTKCTL_EL12 = Home(controls.read_cntkctl_el12, controls.write_cntkctl_el12)
SPSR = Home(exception.read_spsr_el2, exception.write_spsr_el2)
NOTHING = Home(constant.zero, constant.ignore)

RULED = (
    *own_timer("CNTP", "CNTHP"),
    *own_timer("CNTV", "CNTHV"),
    # What the machine is.
    both(sr.RMR_EL2, Home(constant.rmr, constant.ignore), ahead=False),
    both(sr.RVBAR_EL2, Home(constant.rvbar, None), ahead=False),
    both(sr.ACTLR_EL1, page(sr.ACTLR_EL1, constant.ignore), ahead=False),
    both(sr.ACTLR_EL2, NOTHING, ahead=False),
    both(sr.HACR_EL2, NOTHING, ahead=False),
    # RES0 where EL1 has AArch64 only. DACR32_EL2, IFSR32_EL2, FPEXC32_EL2 and DBGVCR32_EL2 are
    # UNDEFINED there.
    both(sr.SPSR_irq, NOTHING, ahead=False),
    both(sr.SPSR_abt, NOTHING, ahead=False),
    both(sr.SPSR_und, NOTHING, ahead=False),
    both(sr.SPSR_fiq, NOTHING, ahead=False),
    # Controls and debugging.
    both(sr.HCR_EL2, page(sr.HCR_EL2, vhe.write_hcr), ahead=False),
    both(sr.MDCR_EL2, Home(Stored(Kind.MEMORY, sr.MDCR_EL2), monitors.write_mdcr)),
    both(sr.MDSCR_EL1, page(sr.MDSCR_EL1, mdscr.write_mdscr), ahead=False),
    El2Register(sr.CPTR_EL2, CPTR, CPTR_SHADOW),
    El2Register(sr.CPACR_EL1, CPTR, page(sr.CPACR_EL1), ahead=False),
    both(sr.ZCR_EL2, hardware(sr.ZCR_EL1), sve.refusal, ahead=False),
    # What an exception leaves.
    El2Register(sr.SPSR_EL2, hardware(sr.SPSR_EL1), SPSR),
    both(sr.HPFAR_EL2, Home(exception.read_hpfar_el2, exception.write_hpfar_el2)),
    # vEL1's timers.
    El2Register(sr.CNTHCTL_EL2, CNTHCTL, stored(Kind.MEMORY, sr.CNTHCTL_EL2)),
    El2Register(sr.CNTKCTL_EL12, CNTKCTL_EL12, None),
    El2Register(sr.CNTV_CTL_EL02, Home(el02.read_cntv_ctl, el02.write_cntv_ctl), None),
    El2Register(sr.CNTV_CVAL_EL02, page(sr.CNTV_CVAL_EL0, el02.write_cntv_cval), None),
    El2Register(sr.CNTV_TVAL_EL02, Home(el02.read_cntv_tval, el02.write_cntv_tval), None),
    El2Register(sr.CNTP_CTL_EL02, Home(el02.read_cntp_ctl, el02.write_cntp_ctl), None),
    El2Register(sr.CNTP_CVAL_EL02, page(sr.CNTP_CVAL_EL0, el02.write_cntp_cval), None),
    El2Register(sr.CNTP_TVAL_EL02, Home(el02.read_cntp_tval, el02.write_cntp_tval), None),
    both(sr.CNTVCT_EL0, Home(timer.virtual_count, None), ahead=False),
    both(sr.CNTVCTSS_EL0, Home(timer.virtual_count, None), ahead=False),
    # The GIC; what lies in the page is the rest of it.
    both(sr.ICC_SRE_EL2, Home(gic.read_sre, constant.ignore)),
    both(sr.ICH_VTR_EL2, Home(gic.read_vtr, None)),
    both(sr.ICH_MISR_EL2, Home(gic.read_misr, None)),
    both(sr.ICH_EISR_EL2, Home(gic.read_eisr, None)),
    both(sr.ICH_ELRSR_EL2, Home(gic.read_elrsr, None)),
)
"""Registers that are more than a place where a value lies, or another one than their kind's."""


def _table() -> dict[type[Register], El2Register]:
    """Put the records together: one of `RULED` goes before those made from other tables.

    :raises ValueError: when a name has two records in one of them.
    """
    table: dict[type[Register], El2Register] = {}
    for source in (RULED, tuple(carried()), tuple(in_page())):
        if len({record.name for record in source}) < len(source):
            raise ValueError("a register has two records")
        table = {record.name: record for record in source} | table
    return table


TABLE = tuple(record for record in _table().values() if record.is_offered)
