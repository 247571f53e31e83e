"""The identification registers as the VM sees them.

They are made from the records of the features (`arch.features`): a field is kept as the machine has
it, capped, set, or zero, so a feature nobody has thought about is hidden. A hidden feature is also
made unusable by the trap controls (`controls`), and what traps for it is UNDEFINED; some of what is
hidden no control of hardware takes away. `HIDDEN` says both for each feature that users may miss.
"""

from dataclasses import dataclass
from typing import NamedTuple

from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding, Field, Register, TrapKey
from vel2.arch.features import FEATURES, FIXED
from vel2.hyp.selectors import ALL_COUNTERS
from vel2.hyp.state import GUEST_NVHE, LEVEL_NV2, Vm, id_index
from vel2.lang import inline, mrs, resident, u64

PFR0 = sr.ID_AA64PFR0_EL1
DFR0 = sr.ID_AA64DFR0_EL1
MMFR0 = sr.ID_AA64MMFR0_EL1
MMFR1 = sr.ID_AA64MMFR1_EL1
MMFR4 = sr.ID_AA64MMFR4_EL1

UNDEFINED = "UNDEFINED"


class Hidden(NamedTuple):
    """Features that L1 does not see: why, and what using them does all the same."""

    why: str
    using: str


HIDDEN = {
    "AArch32": Hidden(
        "L0 has no 32-bit vectors, and vEL2 is AArch64 only",
        "at vEL2 an ERET to it is illegal; vEL1 enters it at EL0 where the machine has it, and then"
        " L1's traps are forwarded and L0's own are UNDEFINED",
    ),
    "SVE with FEAT_NV alone": Hidden(
        "ZCR_EL1 of vEL1 cannot be trapped apart from all of SVE",
        "UNDEFINED; at the EL0 of a VHE host L1's CPTR_EL2 comes first",
    ),
    "SVE at nVHE virtual EL2": Hidden(
        "no CPU has it without FEAT_VHE, and Linux's KVM refuses one", UNDEFINED
    ),
    "SME": Hidden("SMCR_EL2 and the streaming mode are not virtualized yet", UNDEFINED),
    "MTE": Hidden(
        "tag storage and GCR_EL1/TFSR switching are not virtualized yet",
        "what EL0 may use, TCO and DC GVA too, executes as on a machine without tag storage;"
        " registers, LDGM and STGM are UNDEFINED",
    ),
    "PMUv3 beyond FEAT_PMUv3p5": Hidden(
        "freezing, snapshots and PMICNTR_EL0 are not virtualized yet", UNDEFINED
    ),
    "FEAT_Debugv8p9": Hidden(
        "the bank that MDSELR_EL1 selects is not in the switched set", UNDEFINED
    ),
    "SPE, TRBE, BRBE, trace": Hidden(
        "buffers and records are not virtualized yet",
        "UNDEFINED; PSB CSYNC and TSB CSYNC do nothing",
    ),
    "FEAT_FGT2": Hidden("the features its bits are about are hidden too", UNDEFINED),
    "FEAT_NV for L1": Hidden(
        "recursion (L3) is not built yet",
        "HCR_EL2.{NV,NV1,NV2,AT} do nothing; VNCR_EL2 is UNDEFINED",
    ),
    "FEAT_TTST": Hidden(
        "the walk of L1's stage 2 takes its input to be 25 bits at least",
        "stage 1 does what the machine does; a smaller stage 2 is walked as one of 25 bits",
    ),
    "AMU, MPAM, RME, NMI, GCS, S1PIE, S1POE, TCR2, SCTLR2": Hidden(
        "not in the switched set",
        "UNDEFINED, but for reading ALLINT and clearing it, where the machine has it",
    ),
    "FEAT_MOPS": Hidden(
        "a protected KVM 6.12 shows it to L2, and traps it (HCRX_EL2.MSCEn)", UNDEFINED
    ),
    "FEAT_LPA, FEAT_LPA2, FEAT_LVA": Hidden(
        "addresses are 48 bits, physical ones 40 where the map fits",
        "stage 1 does what the machine does; L1's stage 2 is walked without them",
    ),
    "FEAT_CSV2_2, FEAT_CSV2_1p2": Hidden("SCXTNUM_ELx is not in the switched set", UNDEFINED),
    "LORegions, FEAT_SPECRES2": Hidden(
        "not useful to a guest hypervisor",
        "LOR registers are UNDEFINED; COSP RCTX executes where the machine has it",
    ),
    "dirty state management (HAFDBS=2)": Hidden(
        "the shadow stage 2 would have to write L1's descriptors",
        "stage 1 does what the machine does (TCR_ELx.HD); VTCR_EL2.HD does nothing",
    ),
    "mixed endianness": Hidden(
        "L0 reads L1's tables little-endian",
        "SCTLR_ELx.{EE,E0E} and SETEND act; what L0 walks for L1 is then read wrongly",
    ),
}
"""Features that L1 does not see. README lists these."""


@dataclass(frozen=True)
class Cap:
    """An unsigned field that is kept up to a value."""

    field: Field
    value: int


@dataclass(frozen=True)
class Row:
    """One identification register, as the masks and caps that make it."""

    register: type[Register]
    index: int
    keep_mask: int
    set_bits: int
    caps: tuple[Cap, ...]


def _row(register: type[Register]) -> Row:
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
    return Row(register, id_index(register), keep_mask, set_bits, tuple(caps))


PMU_FIELDS = DFR0.PMUVer.mask | DFR0.HPMN0.mask
PFR0_INDEX = id_index(PFR0)
DFR0_INDEX = id_index(DFR0)
ZFR0_INDEX = id_index(sr.ID_AA64ZFR0_EL1)
MMFR0_INDEX = id_index(MMFR0)
MMFR1_INDEX = id_index(MMFR1)
MMFR4_INDEX = id_index(MMFR4)
ID_SPACE_MASK = Encoding(3, 0, 15, 0, 0).trap_key | Encoding(0, 7, 0, 0, 0).trap_key
ID_SPACE = Encoding(3, 0, 0, 0, 0).trap_key
REGISTERS = dict.fromkeys(each.register for each in FEATURES)
"""The identification registers that may read as something."""
ROWS = tuple(row for row in map(_row, REGISTERS) if row.keep_mask or row.set_bits or row.caps)


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
    return vm.id_registers[u64(TrapKey.CRm.get(key) % 8 * 8 + TrapKey.op2.get(key))]


@resident
def init(vm: Vm) -> None:
    """Compute every identification register of the VM from the machine's."""
    for row in ROWS:
        hardware = mrs(row.register)
        value = hardware & row.keep_mask | row.set_bits
        for cap in row.caps:
            value = value | cap.field.put(capped(cap.field.get(hardware), cap.value))
        vm.id_registers[row.index] = value
    mmfr0 = vm.id_registers[MMFR0_INDEX]
    vm.id_registers[MMFR0_INDEX] = MMFR0.PARange.set(
        mmfr0, capped(MMFR0.PARange.get(mmfr0), vm.max_parange)
    )
    if vm.selectors & ALL_COUNTERS == 0:
        vm.id_registers[DFR0_INDEX] = vm.id_registers[DFR0_INDEX] & ~PMU_FIELDS
    if vm.has_sve != 0:
        features = PFR0.SVE.get(mrs(PFR0))
        vm.id_registers[PFR0_INDEX] = PFR0.SVE.set(vm.id_registers[PFR0_INDEX], features)
        vm.id_registers[ZFR0_INDEX] = mrs(sr.ID_AA64ZFR0_EL1) & sr.ID_AA64ZFR0_EL1.known
    if vm.guest_kind == GUEST_NVHE:
        vm.id_registers[MMFR1_INDEX] = MMFR1.VH.set(vm.id_registers[MMFR1_INDEX], 0)
    if vm.guest_kind == GUEST_NVHE or vm.nv_level != LEVEL_NV2:
        vm.id_registers[MMFR4_INDEX] = MMFR4.E2H0.set(vm.id_registers[MMFR4_INDEX], 0)
