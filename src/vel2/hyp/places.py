"""From the name of a trapped register to where it is, in two loads.

The register home table (`homes`) says where each register of vEL2 lives. Compared name by name
that would be some two hundred comparisons, and with FEAT_NV alone there are a hundred such accesses
for one exit of L2. So the table is turned round once, when L0 is compiled: a trap key selects a
block by op0, op2 and op1, and CRn and CRm an entry in it.
"""

from enum import IntEnum

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register
from vel2.hyp import pagenames
from vel2.hyp.homes import CONTEXT_MEMORY, HYP_TIMERS, IN_PAGE, REDIRECTED_BY_NV2, SWITCHED
from vel2.lang import constexpr, inline, u64

NUMBER = (1 << 9) - 1
WITH_E2H = 1 << 9
WITHOUT_E2H = 1 << 10
ABSORBED = 1 << 11
"""With FEAT_NV2 the access does not trap."""
KIND_SHIFT = 12
KIND_MASK = 7
AHEAD = 1 << 15
"""`ahead` may do the access, and what follows it: whenever it does something, it is this (nothing
but FEAT_NV* decides whether it traps), and it leaves alone how vEL2's next instruction is fetched.
"""


class Kind(IntEnum):
    """What an entry's number is, and so what an access does."""

    NONE = 0
    """No register of ours."""
    PAGE = 1
    """A slot of the VNCR page, with `WITH_E2H` and `WITHOUT_E2H`: when the name means that."""
    CARRIED = 2
    """An index of `SWITCHED`, named as vEL2's."""
    HYP_TIMER = 3
    """An index of `HYP_TIMERS`."""
    MEMORY = 4
    """An index of `CONTEXT_MEMORY`."""
    SPECIAL = 5
    """An index of `SPECIALS`."""
    OPTIONAL = 6
    """A slot, if L1 has the feature (`pagenames`)."""
    CONDITIONAL = 7
    """An index of `SPECIALS`, of one that is not always there, or read-only."""


SPECIALS: tuple[type[Register], ...] = (
    sr.RMR_EL2,
    sr.SPSR_EL2, sr.CPTR_EL2, sr.CPACR_EL1, sr.HPFAR_EL2, sr.ZCR_EL2, sr.CNTHCTL_EL2,
    sr.CNTKCTL_EL12, sr.ACTLR_EL1, sr.HCR_EL2, sr.MDCR_EL2, sr.ICC_SRE_EL2, sr.ICH_VTR_EL2,
    sr.ICH_MISR_EL2, sr.ICH_EISR_EL2, sr.ICH_ELRSR_EL2, sr.CNTP_CTL_EL02, sr.CNTP_CVAL_EL02,
    sr.CNTP_TVAL_EL02, sr.CNTV_CTL_EL02, sr.CNTV_CVAL_EL02, sr.CNTV_TVAL_EL02, sr.RVBAR_EL2,
    sr.CNTVCT_EL0, sr.CNTVCTSS_EL0, sr.MDSCR_EL1,
)  # fmt: skip
"""Registers with a rule of their own; it may fall back to the register's place in the page."""


@constexpr
def special(register: type[Register]) -> int:
    """Give the number of a register with a rule of its own."""
    return SPECIALS.index(register)


def is_conditional(register: type[Register]) -> bool:
    """Whether one of `SPECIALS` exists with E2H=1 or a feature only, or cannot be written."""
    is_e2h_name = register.name.endswith(("_EL12", "_EL02"))
    return register is sr.ZCR_EL2 or is_e2h_name or register.access == "RO"


TRANSLATION: tuple[type[Register], ...] = (
    sr.SCTLR_EL2, sr.TCR_EL2, sr.TTBR0_EL2, sr.TTBR1_EL2, sr.MAIR_EL2, sr.AMAIR_EL2,
)  # fmt: skip
"""The registers of vEL2's translation regime: hardware, too, needs an ISB behind a write."""

UNCONDITIONAL: tuple[type[Register], ...] = (
    *(row.vel2 for row in SWITCHED if row.vel2 not in TRANSLATION),
    *(row.hardware for row in SWITCHED if row.hardware is not sr.CPACR_EL1),
    *(page.name for page in IN_PAGE if page.name.name.endswith("_EL02")),
    *(page.name for page in IN_PAGE if page.name.name.startswith(("ICH_LR", "ICH_AP"))),
    *(sr.by_name(row.hardware.name + "2") for row in SWITCHED if row.hardware is not sr.SP_EL1),
    sr.ICH_HCR_EL2, sr.ICH_VMCR_EL2, sr.ICH_VTR_EL2, sr.ICH_MISR_EL2, sr.ICH_EISR_EL2,
    sr.ICH_ELRSR_EL2, sr.ICC_SRE_EL2,
    sr.VTTBR_EL2, sr.VTCR_EL2, sr.VPIDR_EL2, sr.VMPIDR_EL2, sr.TPIDR_EL2, sr.SP_EL1, sr.HPFAR_EL2,
    sr.VDISR_EL2, sr.VSESR_EL2, sr.MDCR_EL2, sr.HSTR_EL2, sr.CNTVOFF_EL2, sr.CNTP_TVAL_EL02,
    sr.CNTV_TVAL_EL02, sr.CNTHP_CTL_EL2, sr.CNTHP_CVAL_EL2, sr.CNTHV_CTL_EL2, sr.CNTHV_CVAL_EL2,
)  # fmt: skip
"""Registers that every machine has, and no control but FEAT_NV*'s makes trap or UNDEFINED."""


def _entries() -> dict[int, int]:
    """Give the entry of each trap key; of several for one key the last stands."""
    entries = {}
    for page in pagenames.NAMES:
        flags = WITH_E2H * page.with_e2h | WITHOUT_E2H * page.without_e2h
        entries[page.name.trap_key] = Kind.PAGE << KIND_SHIFT | page.slot | flags
    for optional in pagenames.OPTIONAL:
        entries[optional.name.trap_key] = Kind.OPTIONAL << KIND_SHIFT | optional.slot
    for memory in CONTEXT_MEMORY:
        entries[memory.register.trap_key] = Kind.MEMORY << KIND_SHIFT | memory.index
    for row in SWITCHED:
        if row.vel2 is not sr.SP_EL2:
            entries[row.vel2.trap_key] = Kind.CARRIED << KIND_SHIFT | row.index
    for number, timer in enumerate(HYP_TIMERS):
        entries[timer.name.trap_key] = Kind.HYP_TIMER << KIND_SHIFT | number
    for number, register in enumerate(SPECIALS):
        kind = Kind.CONDITIONAL if is_conditional(register) else Kind.SPECIAL
        entries[register.trap_key] = kind << KIND_SHIFT | number
    absorbed: list[type[Register]] = [*(page.name for page in IN_PAGE), *REDIRECTED_BY_NV2]
    for register in absorbed:
        if register.trap_key in entries:
            entries[register.trap_key] |= ABSORBED
    for register in UNCONDITIONAL:
        if register.trap_key in entries:
            entries[register.trap_key] |= AHEAD
    return entries


ENTRIES = _entries()

BLOCK = 256
BLOCKS = 128
"""By op0[0], op2 and op1; op0[1] is set in every register's key."""
IS_REGISTER = 15


def _blocks() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Give the start of each block, and all blocks; the first one is empty."""
    starts = [0] * BLOCKS
    entries = [0] * BLOCK
    for key, entry in sorted(ENTRIES.items()):
        if key >> IS_REGISTER == 0:
            raise ValueError(f"the key {key:#x} is no system register's")
        block = key >> 8 & BLOCKS - 1
        if starts[block] == 0:
            starts[block] = len(entries)
            entries += [0] * BLOCK
        entries[starts[block] + (key & BLOCK - 1)] = entry
    return tuple(starts), tuple(entries)


STARTS, PLACES = _blocks()


@inline
def place_of(key: u64) -> u64:
    """Give the entry for a trap key: `Kind` and number, 0 if it is none of ours."""
    if key >> IS_REGISTER == 0:
        return 0
    return PLACES[u64(STARTS[key >> 8 & BLOCKS - 1] + (key & BLOCK - 1))]


@inline
def kind_of(place: u64) -> u64:
    """Give the `Kind` of an entry."""
    return place >> KIND_SHIFT & KIND_MASK


@inline
def means_page(place: u64, e2h: u64) -> bool:
    """Whether a name that has a slot means it under L1's E2H."""
    if e2h != 0:
        return place & WITH_E2H != 0
    return place & WITHOUT_E2H != 0
