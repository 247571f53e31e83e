"""Switched registers of features that a machine may not have (`homes.OPTIONAL`).

They move like the others of the set, with a look at each whether it is there, so a machine that has
none of them pays one test for each change of context. All have a slot in the VNCR page. A change of
context moves them in one go, when `Vcpu.context` has changed already: hardware still has the other
context's.
"""

from vel2.hyp.homes import OPTIONAL
from vel2.hyp.state import Vcpu, Vm, id_index, page_of, vm_of
from vel2.lang import inline, mrs, msr, resident

__all__ = ("ROWS", "init", "load_vel2", "save_vel2", "to_vel1", "to_vel2")

ROWS = tuple((1 << number, row) for number, row in enumerate(OPTIONAL))
"""With the bit of each in `Probed.optional`."""
NEEDED = tuple(
    (bit, id_index(row.feature.register), row.feature.field, row.feature.value)
    for bit, row in ROWS
    if row.feature is not None
)


@inline
def init(vm: Vm) -> None:
    """Find out which of them L1 has: the features that it sees."""
    vm.probed.optional = 0
    for bit, index, field, value in NEEDED:
        if field.get(vm.probed.id_registers[index]) >= value:
            vm.probed.optional = vm.probed.optional | bit


@resident
def save_vel2(vcpu: Vcpu) -> None:
    """Copy vEL2's out of hardware; of an nVHE guest the context has them, and hardware shadows."""
    if vcpu.e2h != 0:
        for bit, row in ROWS:
            if vm_of(vcpu).probed.optional & bit != 0:
                vcpu.vel2.el1[row.index] = mrs(row.hardware)


@resident
def load_vel2(vcpu: Vcpu) -> None:
    """Put vEL2's into hardware, translated for an nVHE guest."""
    for bit, row in ROWS:
        if vm_of(vcpu).probed.optional & bit != 0:
            value = vcpu.vel2.el1[row.index]
            if vcpu.e2h == 0:
                value = row.to_el1(value)
            msr(row.hardware, value)


@resident
def to_vel1(vcpu: Vcpu) -> None:
    """Change from vEL2's to vEL1's."""
    save_vel2(vcpu)
    for bit, row in ROWS:
        if vm_of(vcpu).probed.optional & bit != 0:
            msr(row.hardware, page_of(vcpu).slot[row.vncr_slot])


@resident
def to_vel2(vcpu: Vcpu) -> None:
    """Change from vEL1's to vEL2's."""
    for bit, row in ROWS:
        if vm_of(vcpu).probed.optional & bit != 0:
            page_of(vcpu).slot[row.vncr_slot] = mrs(row.hardware)
    load_vel2(vcpu)
