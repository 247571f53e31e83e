"""Judge two lists of payload `traps`: virtual EL2 must match the machine's real EL2.

Nothing here knows how vel2 routes a trap. Under the same control an access must end at virtual EL2
as it ends at real EL2, syndrome included. Features that L1's identification registers do not show
(`FEATURES`) are different: their registers and instructions are UNDEFINED, whatever traps are set,
and their control bits change nothing. Any other difference is in `EXCEPTIONS`, with its reason.
"""

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from vel2.arch import sysregs as sr
from vel2.arch.bits import Field
from vel2.arch.esr import EC, ISS_SYS64, ESR_ELx
from vel2.arch.features import FEATURES as RECORDS
from vel2.arch.features import registers_of
from vel2.check.payloads.library.assembly import CURRENT_SPX_SYNC, LOWER_AARCH64_SYNC
from vel2.check.payloads.runner import Report
from vel2.check.payloads.traps.code import TAKEN_BY_EL1, TAKEN_BY_EL2, VECTOR_LSB
from vel2.check.payloads.traps.table import (
    ACCESSES,
    BANKS,
    BASELINE,
    CONTROLS_PER_BANK,
    EL0_ACCESSES,
    Phase,
    control_name,
)

__all__ = (
    "EXCEPTIONS",
    "FEATURES",
    "Difference",
    "Judgement",
    "Outcomes",
    "Rules",
    "controls_tried",
    "judge",
    "omits",
)

VECTOR = 15
ESR_BITS = (1 << VECTOR_LSB) - 1


@dataclass(frozen=True)
class Feature:
    """What depends on an identification field.

    :ivar accesses: patterns of the accesses (`mrs NAME`, `msr NAME`, instructions) that exist only
        with the feature.
    :ivar controls: patterns of control bits that have a meaning only with it.
    :ivar stays: why accesses work although the feature is not shown; empty if they do not.
    :ivar by: the only control that can make them UNDEFINED. They stay where real EL2 does not take
        that trap, which the Arm ARM has (`rows.OMISSIONS`).
    :ivar after_el1: at EL0, the trap that EL1 (a VHE host's EL2) has for it, such as by
        SCTLR_EL1.EnFPM, comes before any of L0's; real EL2 shows it.
    """

    field: Field
    least: int
    accesses: str = ""
    controls: str = ""
    stays: str = ""
    by: str = ""
    after_el1: bool = False


PFR0, PFR1, PFR2 = sr.ID_AA64PFR0_EL1, sr.ID_AA64PFR1_EL1, sr.ID_AA64PFR2_EL1
DFR0 = sr.ID_AA64DFR0_EL1
ISAR1, ISAR2 = sr.ID_AA64ISAR1_EL1, sr.ID_AA64ISAR2_EL1
MMFR1, MMFR2 = sr.ID_AA64MMFR1_EL1, sr.ID_AA64MMFR2_EL1
CANNOT = "no control of hardware makes it UNDEFINED"

OWN: tuple[Feature, ...] = (
    Feature(PFR0.SVE, 1, "m?? ZCR_EL1|ptrue|rdvl", "CPTR_EL2*.ZEN*|CPTR_EL2.TZ"),
    Feature(PFR0.CSV2, 2, "m?? SCXTNUM_EL?", "HCR_EL2.EnSCXT|HFG?TR_EL2.SCXTNUM_EL?"),
    Feature(PFR1.MTE, 1, "m?? TCO|dc g*va|dc cg*", stays=CANNOT),
    Feature(PFR1.NMI, 1, "msr ALLINT|msr allint 1", "HCRX_EL2.TALLINT|HCRX_EL2.V?NMI"),
    Feature(PFR1.NMI, 1, "mrs ALLINT|msr allint 0", stays=CANNOT),
    Feature(PFR1.GCS, 1, "m?? GCS*|gcs push*|gcs popcx", "HCRX_EL2.GCSEn", after_el1=True),
    Feature(PFR1.GCS, 1, "gcs popx", by="HFGITR_EL2.nGCSEPP"),
    Feature(PFR1.GCS, 1, "gcs popm|gcs ss?", stays=CANNOT),
    Feature(PFR2.FPMR, 1, "m?? FPMR", "HCRX_EL2.EnFPM", after_el1=True),
    Feature(DFR0.PMUVer, 1, "m?? PM*", "MDCR_EL2.TPM*|MDCR_EL2.HPM*|HDFG?TR_EL2.PM[!SB]*"),
    Feature(ISAR1.SPECRES, 2, "cosp rctx", "HFGITR_EL2.COSPRCTX", stays=CANNOT),
    Feature(ISAR2.MOPS, 1, "setp|setm", "HCRX_EL2.MSCEn|HCRX_EL2.MCE2"),
    Feature(MMFR1.LO, 1, "m?? LOR*", "HCR_EL2.TLOR|HFG?TR_EL2.LOR*"),
    Feature(MMFR2.NV, 1, "", "HCR_EL2.NV|HCR_EL2.AT"),
)
"""Features of which more than the registers is tried, or less."""


def from_records() -> Iterator[Feature]:
    """Give the features whose registers come and go: a newer machine may have any of them."""
    own = {row.field for row in OWN}
    for record in RECORDS:
        if record.hidden is None or not record.registers or record.field in own:
            continue
        accesses = "|".join(f"m?? {register.name}" for register in registers_of(record))
        controls = "|".join(f"{bit.register.__name__}.{bit.name}" for bit in record.controls)
        yield Feature(record.field, record.value, accesses, controls)


FEATURES = (*OWN, *from_records())


class Exception_(NamedTuple):
    """Accesses under controls, in phases, that end differently at virtual EL2, and why.

    :ivar e2h: the only HCR_EL2.E2H with which they do.
    :ivar omitted: real EL2 does not take a trap that virtual EL2 takes, and that the Arm ARM has.
        The row explains this and nothing else, so it is idle where a newer QEMU takes the trap.
    """

    accesses: str
    controls: str
    phases: tuple[Phase, ...]
    reason: str
    e2h: int | None = None
    omitted: bool = False


EXCEPTIONS: tuple[Exception_, ...] = (
    Exception_(
        "m?? S3_?_C11_*|m?? S3_?_C15_*",
        "*",
        tuple(Phase),
        "IMPLEMENTATION DEFINED registers of the machine are not offered: HCR_EL2.TIDCP",
    ),
    Exception_(
        "m?? PMCR_EL0",
        "MDCR_EL2.TPMCR",
        tuple(Phase),
        "not every QEMU has the trap; virtual EL2 takes it where L0 traps the access itself",
        omitted=True,
    ),
    Exception_(
        "m?? PMEVTYPER?_EL0",
        "MDCR_EL2.HPMN=1",
        (Phase.EL1, Phase.EL0),
        "PMEVTYPER<n>_EL0 with n >= HPMN is trapped (FEAT_FGT); QEMU leaves it out, L0 traps it",
        omitted=True,
    ),
    Exception_(
        "ptrue|rdvl",
        "CPTR_EL2_E2H.*EN*",
        (Phase.HOST_EL0,),
        "SVE is hidden by CPTR_EL2.TZ, and before it comes hardware's CPACR_EL1: L1's CPTR_EL2",
        e2h=1,
    ),
    Exception_(
        "mrs MDCCSR_EL0|m?? DBGDTR*",
        "*",
        (Phase.HOST_EL0,),
        "HCR_EL2.TGE=1 acts as MDCR_EL2.TDA=1 on EL0, and vEL2 returns to its EL0 without L0",
        e2h=1,
    ),
    Exception_(
        "*",
        "*",
        (Phase.HOST_EL0,),
        "E2H=0 with TGE=1 is not offered as a mode: EL0 runs in vEL2's own context (README)",
        e2h=0,
    ),
)


def _matches(name: str, patterns: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns.split("|"))


@dataclass
class Outcomes:
    """The lists of one machine.

    :ivar baseline: [phase, access] with nothing trapped; 0 is left out.
    :ivar changed: [phase, control, access] of what is not the baseline's.
    :ivar identification: [CRm * 8 + op2] as EL2 reads it.
    """

    baseline: dict[tuple[int, int], int] = field(default_factory=dict)
    changed: dict[tuple[int, int, int], int] = field(default_factory=dict)
    identification: dict[int, int] = field(default_factory=dict)
    missing_banks: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, report: Report) -> "Outcomes":
        """Read what the payload said."""
        self = cls()
        for line in report.lines:
            kind, *words = line.split()
            if kind == "id":
                index, value = (int(word, 16) for word in words)
                self.identification[index] = value
            elif kind == "no":
                self.missing_banks.add(int(words[0], 16))
            elif kind == "t":
                phase, control, place, outcome = (int(word, 16) for word in words)
                access = place if phase == Phase.EL1 else EL0_ACCESSES[place]
                if control == BASELINE:
                    self.baseline[phase, access] = outcome
                else:
                    self.changed[phase, control, access] = outcome
        return self

    def at(self, phase: int, control: int, access: int) -> int:
        """Give how an access ended."""
        baseline = self.baseline.get((phase, access), 0)
        return self.changed.get((phase, control, access), baseline)

    @cached_property
    def _changed_by(self) -> dict[tuple[int, int], set[int]]:
        found: dict[tuple[int, int], set[int]] = {}
        for phase, control, access in self.changed:
            found.setdefault((phase, control), set()).add(access)
        return found

    def changed_by(self, phase: int, control: int) -> set[int]:
        """Give the accesses that end differently under a control than in the baseline."""
        return self._changed_by.get((phase, control), set())

    def shows(self, feature: Feature) -> bool:
        """Whether the identification registers show a feature."""
        encoding = sr.by_name(feature.field.register.name).encoding
        value = self.identification[encoding.CRm * 8 + encoding.op2]
        return feature.field.get(value) >= feature.least


def undefined(phase: int) -> int:
    """Give the outcome of an UNDEFINED instruction."""
    esr = ESR_ELx.compose(EC=EC.UNKNOWN, IL=1)
    if phase == Phase.EL1:
        return TAKEN_BY_EL1 | CURRENT_SPX_SYNC << VECTOR_LSB | esr
    taken_by = TAKEN_BY_EL1 if phase == Phase.EL0 else TAKEN_BY_EL2
    return taken_by | LOWER_AARCH64_SYNC << VECTOR_LSB | esr


def outcome_text(outcome: int) -> str:
    """Show an outcome: `done`, or who took it with which class and ISS."""
    if outcome == 0:
        return "done"
    taken_by = "EL2" if outcome & TAKEN_BY_EL2 else "EL1"
    ec = ESR_ELx.EC.get(outcome)
    name = EC(ec).name if ec in set(EC) else hex(ec)
    text = f"{taken_by} vector {outcome >> VECTOR_LSB & VECTOR} {name}"
    iss = outcome & ESR_BITS & ~(ESR_ELx.EC.mask | ESR_ELx.IL.mask)
    if ec == EC.SYS64:
        return f"{text} {'read' if ISS_SYS64.Direction.get(iss) else 'write'}"
    return f"{text} iss={iss:#x}"


class Difference(NamedTuple):
    """One access that did not end as it should."""

    phase: Phase
    control: str
    access: str
    got: int
    want: int

    def __str__(self) -> str:
        got, want = outcome_text(self.got), outcome_text(self.want)
        return f"{self.phase.name} {self.control}: {self.access}: {got}; should be: {want}"


class Judgement(NamedTuple):
    """What a comparison found.

    :ivar compared: pairs of access and control.
    :ivar trapped: how many of them a control changed at real EL2.
    :ivar differences: those that no exception explains.
    :ivar used: the numbers of the exceptions that explained something.
    """

    compared: int
    trapped: int
    differences: list[Difference]
    used: set[int]


class Rules:
    """Which features virtual EL2 hides, and what follows for one access or control."""

    def __init__(self, real: Outcomes, virtual: Outcomes) -> None:
        self.real, self.virtual = real, virtual

    @cached_property
    def hidden(self) -> list[Feature]:
        """The features that real EL2 shows and virtual EL2 does not."""
        return [f for f in FEATURES if self.real.shows(f) and not self.virtual.shows(f)]

    def hides(self, access: int) -> bool:
        """Whether an access must be UNDEFINED."""
        return any(
            _matches(ACCESSES[access].name, f.accesses)
            for f in self.hidden
            if not f.stays and not (f.by and self.omits(f.by, access))
        )

    def instead(self, phase: Phase, access: int) -> int:
        """Give how an access ends that is hidden."""
        baseline = self.real.at(phase, BASELINE, access)
        is_after = phase != Phase.EL1 and any(
            _matches(ACCESSES[access].name, f.accesses) for f in self.hidden if f.after_el1
        )
        if is_after and ESR_ELx.EC.get(baseline) == EC.SYS64:
            return baseline
        return undefined(phase)

    def omits(self, control: str, access: int) -> bool:
        """Whether real EL2 does not take the trap of an access that a control asks for."""
        numbers = (n for n in controls_tried(self.real) if control_name(n) == control)
        return not any(traps_to_el2(self.real.at(Phase.EL1, n, access)) for n in numbers)

    def idle(self, control: int) -> bool:
        """Whether a control bit must do nothing."""
        if control == BASELINE:
            return False
        if control // CONTROLS_PER_BANK in self.virtual.missing_banks:
            return True
        name = control_name(control)
        return any(_matches(name, f.controls) for f in self.hidden)


def controls_tried(outcomes: Outcomes) -> Iterator[int]:
    """Give the numbers of the controls that a machine has."""
    yield BASELINE
    for number, bank in enumerate(BANKS):
        if number not in outcomes.missing_banks:
            for bit in range(64):
                if bank.flips >> bit & 1:
                    yield number * CONTROLS_PER_BANK + bit
            for extra in range(len(bank.extras)):
                yield number * CONTROLS_PER_BANK + 64 + extra


def _covers(row: Exception_, phase: Phase, control: str, access: str) -> bool:
    """Whether a row is about an access under a control."""
    return (
        phase in row.phases and _matches(access, row.accesses) and _matches(control, row.controls)
    )


def traps_to_el2(outcome: int) -> bool:
    """Whether EL2 took an access by EC 0x18."""
    return outcome & TAKEN_BY_EL2 != 0 and ESR_ELx.EC.get(outcome) == EC.SYS64


def _excepted(found: Difference, e2h: int) -> int | None:
    """Give the number of the exception that explains a difference."""
    is_omission = traps_to_el2(found.got) and not traps_to_el2(found.want)
    for number, row in enumerate(EXCEPTIONS):
        if (
            row.e2h in (None, e2h)
            and (is_omission or not row.omitted)
            and _covers(row, found.phase, found.control, found.access)
        ):
            return number
    return None


def omits(real: Outcomes, row: Exception_) -> bool:
    """Whether a machine leaves out all the traps that a row says may be left out."""
    return not any(
        _covers(row, Phase(phase), control_name(control), ACCESSES[access].name)
        and traps_to_el2(outcome)
        for (phase, control, access), outcome in real.changed.items()
    )


def judge(real: Outcomes, virtual: Outcomes, e2h: int) -> Judgement:
    """Compare every access under every control.

    :param e2h: HCR_EL2.E2H of both runs.
    """
    rules = Rules(real, virtual)
    differences: list[Difference] = []
    used: set[int] = set()
    compared = trapped = 0
    for phase in Phase:
        accesses = range(len(ACCESSES)) if phase == Phase.EL1 else EL0_ACCESSES
        hidden = {index for index in accesses if rules.hides(index)}
        unlike = hidden | {
            index
            for index in accesses
            if real.at(phase, BASELINE, index) != virtual.at(phase, BASELINE, index)
        }
        for control in controls_tried(real):
            compared += len(accesses)
            at_real = real.changed_by(phase, control)
            trapped += len(at_real)
            name = control_name(control)
            for index in sorted(unlike | at_real | virtual.changed_by(phase, control)):
                got = virtual.at(phase, control, index)
                want = real.at(phase, control, index)
                if index in hidden:
                    want = rules.instead(phase, index)
                elif rules.idle(control):
                    want = virtual.at(phase, BASELINE, index)
                if got == want:
                    continue
                found = Difference(phase, name, ACCESSES[index].name, got, want)
                exception = _excepted(found, e2h)
                if exception is None:
                    differences.append(found)
                else:
                    used.add(exception)
    return Judgement(compared, trapped, differences, used)
