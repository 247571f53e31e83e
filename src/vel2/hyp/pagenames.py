"""The names of the VNCR page that exist for L1.

With FEAT_NV2 hardware turns an access to any of them into one to memory, so a register of a hidden
feature can be read and written without effect, and nobody can change that. With FEAT_NV alone all
of them trap, and what L1 does not see is UNDEFINED, as on such hardware.
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import Field, Register
from vel2.arch.homes import IN_PAGE, slot
from vel2.hyp.finegrained import REGISTERS
from vel2.hyp.routing import HIDDEN_PREFIXES
from vel2.hyp.state import Vcpu, id_index, vm_of
from vel2.lang import resident, u64

HIDDEN = (
    *HIDDEN_PREFIXES,
    *("CNTPOFF", "VNCR", "VST", "S2PIR", "HAFGRTR", "ICH_HFG"),
    *(f"{register.name.removesuffix('_EL2')}2_" for register in REGISTERS),
)
"""Beginnings of names: FEAT_ECV's offset, FEAT_NV2, Secure EL2, activity monitors, FEAT_FGT2."""


@dataclass(frozen=True)
class Optional:
    """A name that exists if an identification field is not 0."""

    name: type[Register]
    slot: int
    index: int
    field: Field


MMFR0, MMFR1 = sr.ID_AA64MMFR0_EL1, sr.ID_AA64MMFR1_EL1
OPTIONAL = (
    *(Optional(register, slot(register), id_index(MMFR0), MMFR0.FGT) for register in REGISTERS),
    Optional(sr.HCRX_EL2, slot(sr.HCRX_EL2), id_index(MMFR1), MMFR1.HCX),
)

NAMES = tuple(
    row
    for row in IN_PAGE
    if not row.name.name.startswith(HIDDEN) and row.name not in {each.name for each in OPTIONAL}
)
"""The names that exist on every machine L0 runs on."""


@resident
def exists(vcpu: Vcpu, key: u64) -> bool:
    """Whether one of `OPTIONAL` exists for L1."""
    for row in OPTIONAL:
        if key == row.name.trap_key:
            return row.field.get(vm_of(vcpu).id_registers[row.index]) != 0
    return False
