"""The identification registers as the VM sees them.

They are made from the records of the features (`arch.features`): a field is kept as the machine has
it, capped, set, or zero, so a feature nobody has thought about is hidden. A hidden feature is also
made unusable by the trap controls (`controls`), and what traps for it is UNDEFINED; some of what is
hidden no control of hardware takes away. The record says so, and README's table is made from it.
"""

from dataclasses import dataclass

from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding, Field, Register, TrapKey
from vel2.arch.features import FEATURES, FIXED
from vel2.hyp.selectors import ALL_COUNTERS
from vel2.hyp.state import GUEST_NVHE, LEVEL_NV2, Vm, id_index
from vel2.lang import inline, mrs, resident, u64

__all__ = ("init", "is_in_space", "of_vm")

PFR0 = sr.ID_AA64PFR0_EL1
DFR0 = sr.ID_AA64DFR0_EL1
MMFR0 = sr.ID_AA64MMFR0_EL1
MMFR1 = sr.ID_AA64MMFR1_EL1
MMFR2 = sr.ID_AA64MMFR2_EL1
MMFR4 = sr.ID_AA64MMFR4_EL1


@dataclass(frozen=True)
class Cap:
    """An unsigned field that is kept up to a value."""

    field: Field
    value: int


@dataclass(frozen=True)
class ShownRegister:
    """One identification register, as the masks and caps that make it."""

    register: type[Register]
    index: int
    keep_mask: int
    set_bits: int
    caps: tuple[Cap, ...]


def _shown(register: type[Register]) -> ShownRegister:
    """Make the row of a register from the records of the features that its fields tell of.

    A field is kept where all its features are L1's, and capped at the last that is where not all
    are; one that no feature of L1's stands behind reads as zero.
    """
    keep_mask = 0
    caps = []
    for field in register.fields:
        shown = [each.value for each in FEATURES if each.field is field and not each.hidden]
        hidden = [each for each in FEATURES if each.field is field and each.hidden]
        if shown and hidden:
            caps.append(Cap(field, max(shown)))
        elif shown:
            keep_mask |= field.mask
    set_bits = 0
    for fixed in FIXED:
        if fixed.register is register:
            set_bits |= fixed.field.put(fixed.value)
    return ShownRegister(register, id_index(register), keep_mask, set_bits, tuple(caps))


PMU_FIELDS = DFR0.PMUVer.mask | DFR0.HPMN0.mask
PFR0_INDEX = id_index(PFR0)
DFR0_INDEX = id_index(DFR0)
ZFR0_INDEX = id_index(sr.ID_AA64ZFR0_EL1)
MMFR0_INDEX = id_index(MMFR0)
MMFR1_INDEX = id_index(MMFR1)
MMFR2_INDEX = id_index(MMFR2)
MMFR4_INDEX = id_index(MMFR4)
NV_ONLY = 1
"""MMFR2.NV of FEAT_NV without FEAT_NV2."""
WITHOUT_NV1, WITH_NV1 = 0b1110, 0b1111
"""MMFR4.E2H0 where HCR_EL2.E2H is RES1: and NV1 RES0, or not."""
ID_SPACE_MASK = Encoding(3, 0, 15, 0, 0).trap_key | Encoding(0, 7, 0, 0, 0).trap_key
ID_SPACE = Encoding(3, 0, 0, 0, 0).trap_key
REGISTERS = dict.fromkeys(each.register for each in FEATURES)
"""The identification registers that may read as something."""
SHOWN = tuple(row for row in map(_shown, REGISTERS) if row.keep_mask or row.set_bits or row.caps)


@inline
def capped(field_value: u64, limit: u64) -> u64:
    """Give the smaller of the two."""
    if field_value < limit:
        return field_value
    return limit


@inline
def is_in_space(key: u64) -> bool:
    """Whether a key is in the space of HCR_EL2.TID3: op0=3, op1=0, CRn=0, CRm=1-7."""
    return key & ID_SPACE_MASK == ID_SPACE and 1 <= TrapKey.CRm.get(key) <= 7


@inline
def of_vm(vm: Vm, key: u64) -> u64:
    """Give an identification register as the VM sees it."""
    return vm.probed.id_registers[u64(TrapKey.CRm.get(key) % 8 * 8 + TrapKey.op2.get(key))]


@resident
def init(vm: Vm) -> None:
    """Compute every identification register of the VM from the machine's."""
    for row in SHOWN:
        hardware = mrs(row.register)
        value = hardware & row.keep_mask | row.set_bits
        for cap in row.caps:
            value = value | cap.field.put(capped(cap.field.get(hardware), cap.value))
        vm.probed.id_registers[row.index] = value
    mmfr0 = vm.probed.id_registers[MMFR0_INDEX]
    vm.probed.id_registers[MMFR0_INDEX] = MMFR0.PARange.set(
        mmfr0, capped(MMFR0.PARange.get(mmfr0), vm.config.max_parange)
    )
    if vm.probed.selectors & ALL_COUNTERS == 0:
        vm.probed.id_registers[DFR0_INDEX] = vm.probed.id_registers[DFR0_INDEX] & ~PMU_FIELDS
    if vm.probed.has_sve != 0:
        features = PFR0.SVE.get(mrs(PFR0))
        vm.probed.id_registers[PFR0_INDEX] = PFR0.SVE.set(
            vm.probed.id_registers[PFR0_INDEX], features
        )
        vm.probed.id_registers[ZFR0_INDEX] = mrs(sr.ID_AA64ZFR0_EL1) & sr.ID_AA64ZFR0_EL1.known
    if vm.config.guest_kind == GUEST_NVHE and vm.config.shows_vhe == 0:
        vm.probed.id_registers[MMFR1_INDEX] = MMFR1.VH.set(vm.probed.id_registers[MMFR1_INDEX], 0)
    if vm.config.guest_kind == GUEST_NVHE or vm.config.nv_level != LEVEL_NV2:
        vm.probed.id_registers[MMFR4_INDEX] = MMFR4.E2H0.set(vm.probed.id_registers[MMFR4_INDEX], 0)
    show_nesting(vm)


@inline
def show_nesting(vm: Vm) -> None:
    """Show FEAT_NV and FEAT_NV2 if L1 is to have them, and say which bits of HCR_EL2 they are."""
    shown = MMFR2.NV.get(vm.probed.id_registers[MMFR2_INDEX])
    if vm.config.recursion == 0:
        shown = 0
    elif vm.config.nv_level != LEVEL_NV2:
        shown = capped(shown, NV_ONLY)
    vm.probed.id_registers[MMFR2_INDEX] = MMFR2.NV.set(vm.probed.id_registers[MMFR2_INDEX], shown)
    vm.probed.nesting = 0
    if shown == 0:
        return
    vm.probed.nesting = sr.HCR_EL2.compose(NV=1, AT=1)
    if shown > NV_ONLY:
        vm.probed.nesting = vm.probed.nesting | sr.HCR_EL2.NV2.mask
    if MMFR4.E2H0.get(mrs(MMFR4)) == WITHOUT_NV1:
        return
    vm.probed.nesting = vm.probed.nesting | sr.HCR_EL2.NV1.mask
    mmfr4 = vm.probed.id_registers[MMFR4_INDEX]
    if MMFR4.E2H0.get(mmfr4) == WITHOUT_NV1:
        vm.probed.id_registers[MMFR4_INDEX] = MMFR4.E2H0.set(mmfr4, WITH_NV1)
