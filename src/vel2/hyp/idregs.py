"""The identification registers as the VM sees them.

One row per field that is not simply zero: kept as the machine has it, capped, or set. Every field
that has no row reads as zero, so a feature we have not thought about is hidden. A hidden feature is
also made unusable by the trap controls (`controls`), and what traps for it is UNDEFINED. `HIDDEN`
says why for each feature that users may miss.
"""

from dataclasses import dataclass
from enum import Enum

from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding, Field, Register
from vel2.hyp.selectors import ALL_COUNTERS
from vel2.hyp.state import GUEST_NVHE, LEVEL_NV2, Vm, id_index
from vel2.lang import inline, mrs, resident, u64


class Rule(Enum):
    """How a field comes about."""

    KEEP = "keep"
    CAP = "cap"
    SET = "set"


@dataclass(frozen=True)
class FieldRule:
    """One field, its rule, and the cap or value."""

    field: Field
    rule: Rule
    value: int = 0


def keep(*fields: Field) -> tuple[FieldRule, ...]:
    """Keep fields as the machine has them."""
    return tuple(FieldRule(field, Rule.KEEP) for field in fields)


def cap(field: Field, value: int) -> tuple[FieldRule, ...]:
    """Keep an unsigned field up to a value."""
    return (FieldRule(field, Rule.CAP, value),)


def fix(field: Field, value: int) -> tuple[FieldRule, ...]:
    """Set a field."""
    return (FieldRule(field, Rule.SET, value),)


PFR0 = sr.ID_AA64PFR0_EL1
PFR1 = sr.ID_AA64PFR1_EL1
DFR0 = sr.ID_AA64DFR0_EL1
ISAR0 = sr.ID_AA64ISAR0_EL1
ISAR1 = sr.ID_AA64ISAR1_EL1
ISAR2 = sr.ID_AA64ISAR2_EL1
MMFR0 = sr.ID_AA64MMFR0_EL1
MMFR1 = sr.ID_AA64MMFR1_EL1
MMFR2 = sr.ID_AA64MMFR2_EL1
MMFR4 = sr.ID_AA64MMFR4_EL1

AARCH64_ONLY = 1
DEBUG_V8P8 = 0xA
PMUV3P5 = 6
PARANGE_48_BITS = 5
GRAN4_48_BITS = 0
GRAN16_48_BITS = 1
ECV_WITHOUT_CNTPOFF = 1
CSV2_WITHOUT_SCXTNUM = 1
FGT_WITHOUT_FGT2 = 1
SPECRES_WITHOUT_COSP = 1
AF_ONLY = 1
E2H_RES1_AND_NV1_RES0 = 0b1110

RULES: tuple[tuple[type[Register], tuple[FieldRule, ...]], ...] = (
    (
        PFR0,
        fix(PFR0.EL0, AARCH64_ONLY)
        + fix(PFR0.EL1, AARCH64_ONLY)
        + fix(PFR0.EL2, AARCH64_ONLY)
        + keep(PFR0.FP, PFR0.AdvSIMD, PFR0.DIT, PFR0.CSV3)
        + cap(PFR0.CSV2, CSV2_WITHOUT_SCXTNUM)
        + cap(PFR0.GIC, 1)
        + cap(PFR0.RAS, 1),
    ),
    (PFR1, keep(PFR1.BT, PFR1.SSBS) + cap(PFR1.CSV2_frac, CSV2_WITHOUT_SCXTNUM)),
    (
        DFR0,
        cap(DFR0.DebugVer, DEBUG_V8P8)
        + keep(DFR0.BRPs, DFR0.WRPs, DFR0.CTX_CMPs, DFR0.DoubleLock, DFR0.HPMN0)
        + cap(DFR0.PMUVer, PMUV3P5),
    ),
    (
        ISAR0,
        keep(
            ISAR0.AES, ISAR0.SHA1, ISAR0.SHA2, ISAR0.CRC32, ISAR0.Atomic, ISAR0.RDM, ISAR0.SHA3,
            ISAR0.SM3, ISAR0.SM4, ISAR0.DP, ISAR0.FHM, ISAR0.TS, ISAR0.TLB, ISAR0.RNDR,
        ),
    ),
    (
        ISAR1,
        keep(
            ISAR1.DPB, ISAR1.APA, ISAR1.API, ISAR1.JSCVT, ISAR1.FCMA, ISAR1.LRCPC, ISAR1.GPA,
            ISAR1.GPI, ISAR1.FRINTTS, ISAR1.SB, ISAR1.BF16, ISAR1.DGH, ISAR1.I8MM, ISAR1.XS,
        )
        + cap(ISAR1.SPECRES, SPECRES_WITHOUT_COSP),
    ),
    (
        ISAR2,
        keep(ISAR2.WFxT, ISAR2.RPRES, ISAR2.GPA3, ISAR2.APA3, ISAR2.BC, ISAR2.PAC_frac)
        + keep(ISAR2.CLRBHB),
    ),
    (
        MMFR0,
        cap(MMFR0.PARange, PARANGE_48_BITS)
        + keep(MMFR0.ASIDBits, MMFR0.TGran64, MMFR0.SNSMem)
        + fix(MMFR0.TGran4, GRAN4_48_BITS)
        + cap(MMFR0.TGran16, GRAN16_48_BITS)
        + cap(MMFR0.ECV, ECV_WITHOUT_CNTPOFF)
        + cap(MMFR0.FGT, FGT_WITHOUT_FGT2),
    ),
    (
        MMFR1,
        cap(MMFR1.HAFDBS, AF_ONLY)
        + keep(MMFR1.VMIDBits, MMFR1.VH, MMFR1.HPDS, MMFR1.PAN, MMFR1.SpecSEI, MMFR1.XNX)
        + keep(MMFR1.ETS, MMFR1.AFP)
        + cap(MMFR1.HCX, 1),
    ),
    (
        MMFR2,
        keep(MMFR2.CnP, MMFR2.UAO, MMFR2.IESB, MMFR2.CCIDX, MMFR2.AT, MMFR2.IDS, MMFR2.FWB)
        + keep(MMFR2.TTL)
        + keep(MMFR2.BBM, MMFR2.EVT, MMFR2.E0PD),
    ),
    (MMFR4, fix(MMFR4.E2H0, E2H_RES1_AND_NV1_RES0)),
)  # fmt: skip

HIDDEN = {
    "AArch32": "L0 has no 32-bit vectors, and vEL2 is AArch64 only",
    "SVE with FEAT_NV alone": "ZCR_EL1 of vEL1 cannot be trapped apart from all of SVE",
    "SME": "SMCR_EL2 and the streaming mode are not virtualized yet",
    "MTE": "tag storage and GCR_EL1/TFSR switching are not virtualized yet",
    "PMUv3 beyond FEAT_PMUv3p5": "freezing, snapshots and PMICNTR_EL0 are not virtualized yet",
    "FEAT_Debugv8p9": "the bank that MDSELR_EL1 selects is not in the switched set",
    "SPE, TRBE, BRBE, trace": "buffers and records are not virtualized yet",
    "FEAT_FGT2": "the features its bits are about are hidden too",
    "FEAT_NV for L1": "recursion (L3) is not built yet",
    "FEAT_TTST": "the walk of L1's stage 2 takes its input to be 25 bits at least",
    "AMU, MPAM, RME, NMI, GCS, S1PIE, S1POE, TCR2, SCTLR2": "not in the switched set",
    "FEAT_MOPS": "a protected KVM 6.12 shows it to L2, and traps it (HCRX_EL2.MSCEn)",
    "FEAT_LPA, FEAT_LPA2, FEAT_LVA": "addresses are 48 bits, physical ones 40 where the map fits",
    "FEAT_CSV2_2, FEAT_CSV2_1p2": "SCXTNUM_ELx is not in the switched set",
    "LORegions, FEAT_SPECRES2": "not useful to a guest hypervisor",
    "dirty state management (HAFDBS=2)": "the shadow stage 2 would have to write L1's descriptors",
}
"""Features that L1 does not see, and why. README and `vel2 run` list these."""


@dataclass(frozen=True)
class Row:
    """One identification register, as the masks and caps that make it."""

    register: type[Register]
    index: int
    keep_mask: int
    set_bits: int
    caps: tuple[FieldRule, ...]


def _row(register: type[Register], rules: tuple[FieldRule, ...]) -> Row:
    keep_mask = 0
    set_bits = 0
    for rule in rules:
        if rule.field.register is not register:
            raise ValueError(f"{rule.field} is not a field of {register.name}")
        if rule.rule is Rule.KEEP:
            keep_mask |= rule.field.mask
        elif rule.rule is Rule.SET:
            set_bits |= rule.field.put(rule.value)
    caps = tuple(rule for rule in rules if rule.rule is Rule.CAP)
    return Row(register, id_index(register), keep_mask, set_bits, caps)


PMU_FIELDS = DFR0.PMUVer.mask | DFR0.HPMN0.mask
PFR0_INDEX = id_index(PFR0)
DFR0_INDEX = id_index(DFR0)
ZFR0_INDEX = id_index(sr.ID_AA64ZFR0_EL1)
MMFR0_INDEX = id_index(MMFR0)
MMFR1_INDEX = id_index(MMFR1)
MMFR4_INDEX = id_index(MMFR4)
ID_SPACE_MASK = Encoding(3, 0, 15, 0, 0).trap_key | Encoding(0, 7, 0, 0, 0).trap_key
ID_SPACE = Encoding(3, 0, 0, 0, 0).trap_key
ROWS = tuple(_row(register, rules) for register, rules in RULES)


@inline
def capped(field_value: u64, limit: u64) -> u64:
    """Give the smaller of the two."""
    if field_value < limit:
        return field_value
    return limit


@inline
def is_in_space(key: u64) -> bool:
    """Whether a key is in the space of HCR_EL2.TID3: op0=3, op1=0, CRn=0, CRm=1-7."""
    return key & ID_SPACE_MASK == ID_SPACE and key & 15 >= 1 and key & 15 <= 7


@inline
def of_vm(vm: Vm, key: u64) -> u64:
    """Give an identification register as the VM sees it."""
    return vm.id_registers[u64((key & 7) * 8 + (key >> 11 & 7))]


@resident
def init(vm: Vm) -> None:
    """Compute every identification register of the VM from the machine's."""
    for row in ROWS:
        hardware = mrs(row.register)
        value = hardware & row.keep_mask | row.set_bits
        for rule in row.caps:
            value = value | rule.field.put(capped(rule.field.get(hardware), rule.value))
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
