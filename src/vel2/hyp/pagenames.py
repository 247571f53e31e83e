"""The names of the VNCR page that exist for L1.

With FEAT_NV2 hardware turns an access to any of them into one to memory, so a register of a hidden
feature can be read and written without effect, and nobody can change that. With FEAT_NV alone all
of them trap, and what L1 does not see is UNDEFINED, as on such hardware.
"""

from dataclasses import dataclass

from vel2.arch.bits import Field, Register
from vel2.arch.features import FEATURES, HIDDEN_REGISTERS, registers_of
from vel2.hyp.homes import IN_PAGE, slot
from vel2.hyp.state import Vcpu, id_index, vm_of
from vel2.lang import resident, u64


@dataclass(frozen=True)
class Optional:
    """A name that exists if an identification field is not 0."""

    name: type[Register]
    slot: int
    index: int
    field: Field


OPTIONAL = tuple(
    Optional(register, slot(register), id_index(feature.register), feature.field)
    for feature in FEATURES
    if not feature.hidden
    for register in registers_of(feature)
    if register.vncr is not None
)

NAMES = tuple(
    row
    for row in IN_PAGE
    if row.name not in HIDDEN_REGISTERS and row.name not in {each.name for each in OPTIONAL}
)
"""The names that exist on every machine L0 runs on."""


@resident
def exists(vcpu: Vcpu, key: u64) -> bool:
    """Whether one of `OPTIONAL` exists for L1."""
    for row in OPTIONAL:
        if key == row.name.trap_key:
            return row.field.get(vm_of(vcpu).id_registers[row.index]) != 0
    return False
