"""How lists of payload `traps` are read and judged."""

from __future__ import annotations

import fnmatch
import re

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.bits import Field
from vel2.arch.esr import EC, ESR_ELx
from vel2.check.payloads.runner import Report
from vel2.check.payloads.traps.report import (
    EXCEPTIONS,
    FEATURES,
    Outcomes,
    Rules,
    judge,
    omits,
    outcome_text,
    undefined,
)
from vel2.check.payloads.traps.rows import OMISSIONS, compare_rows
from vel2.check.payloads.traps.table import (
    ACCESSES,
    BANKS,
    BASELINE,
    CONTROLS_PER_BANK,
    EL0_ACCESSES,
    Access,
    Phase,
    control_name,
)
from vel2.machine.outcome import ExitReason, MachineExit

TRAPPED = 0x8800_0000_6200_0000
PFR0 = sr.ID_AA64PFR0_EL1
PFR0_PLACE = 4 * 8
SHOWN = dict.fromkeys(range(64), (1 << 64) - 1)


def number_of(name: str) -> int:
    """Find an access by name."""
    return next(n for n, access in enumerate(ACCESSES) if access.name == name)


def control_of(name: str) -> int:
    """Find a control by name."""
    for bank in range(len(BANKS)):
        for n in range(64):
            control = bank * CONTROLS_PER_BANK + n
            if BANKS[bank].flips >> n & 1 and control_name(control) == name:
                return control
    raise KeyError(name)


TVM = control_of("HCR_EL2.TVM")
READ_TCR, WRITE_TCR = number_of("mrs TCR_EL1"), number_of("msr TCR_EL1")


def outcomes(**changes: dict[object, int]) -> Outcomes:
    """Make the lists of a machine that shows every feature."""
    return Outcomes(identification=dict(SHOWN), **changes)  # type: ignore[arg-type]


def test_every_access_and_control_has_a_name_of_its_own() -> None:
    names = [access.name for access in ACCESSES]
    assert len(names) == len(set(names))
    controls = [
        control_name(bank * CONTROLS_PER_BANK + n)
        for bank in range(len(BANKS))
        for n in range(64)
        if BANKS[bank].flips >> n & 1
    ]
    assert len(controls) == len(set(controls))
    assert control_name(BASELINE) == "nothing"


def test_every_register_is_read_and_written() -> None:
    accesses = {access.name: access for access in ACCESSES}
    for register in sr.ALL_REGISTERS:
        for direction in ("mrs", "msr"):
            assert accesses[f"{direction} {register.name}"].encoding == register.encoding


def test_a_stub_has_room_for_its_words_and_a_return() -> None:
    assert max(len(access.words) for access in ACCESSES) == 3


def test_lines_are_read() -> None:
    lines = (
        "id 0x20 0x1234",
        "no 0xf",
        f"t 0x1 {BASELINE:#x} 0x2 0x8000000000000001",
        f"t 0x0 {TVM:#x} {WRITE_TCR:#x} {TRAPPED:#x}",
        "done 0x0 failed 0x0",
    )
    read = Outcomes.of(Report(lines, MachineExit(ExitReason.SHUTDOWN, "", 0, 1.0)))
    assert read.identification == {0x20: 0x1234}
    assert read.missing_banks == {0xF}
    assert read.baseline == {(Phase.EL0, EL0_ACCESSES[2]): 0x8000_0000_0000_0001}
    assert read.at(Phase.EL1, TVM, WRITE_TCR) == TRAPPED
    assert read.at(Phase.EL1, TVM, READ_TCR) == 0


def test_equal_lists_have_no_difference() -> None:
    real = outcomes(changed={(Phase.EL1, TVM, WRITE_TCR): TRAPPED})
    found = judge(real, real, e2h=1)
    assert found.differences == []
    assert found.trapped == 1
    assert found.compared > len(ACCESSES) * 500


@pytest.mark.parametrize("changed", [{}, {(Phase.EL1, TVM, WRITE_TCR): TRAPPED + 1}])
def test_a_trap_that_is_missing_or_has_another_syndrome(changed: dict[object, int]) -> None:
    real = outcomes(changed={(Phase.EL1, TVM, WRITE_TCR): TRAPPED})
    (difference,) = judge(real, outcomes(changed=changed), e2h=1).differences
    assert str(difference).startswith("EL1 HCR_EL2.TVM: msr TCR_EL1: ")
    assert difference.want == TRAPPED


def test_a_hidden_register_has_to_be_undefined_under_every_control() -> None:
    real = outcomes()
    virtual = outcomes()
    virtual.identification[PFR0_PLACE] = PFR0.SVE.set(virtual.identification[PFR0_PLACE], 0)
    phases = {phase for phase, *_ in judge(real, virtual, e2h=0).differences}
    assert phases == {Phase.EL1, Phase.EL0}
    hidden = [n for n, access in enumerate(ACCESSES) if access.name in ("ptrue", "rdvl")]
    hidden += [number_of("mrs ZCR_EL1"), number_of("msr ZCR_EL1")]
    for phase in Phase:
        for index in hidden:
            virtual.baseline[phase, index] = undefined(phase)
    assert judge(real, virtual, e2h=0).differences == []


def hiding(field: Field) -> Outcomes:
    """Make the lists of a virtual EL2 that does not show a feature."""
    encoding = sr.by_name(field.register.name).encoding
    virtual = outcomes()
    place = encoding.CRm * 8 + encoding.op2
    virtual.identification[place] = field.set(virtual.identification[place], 0)
    return virtual


def test_a_feature_that_only_its_record_names_is_hidden_too() -> None:
    """A newer machine may have any of them."""
    virtual = hiding(sr.ID_AA64MMFR3_EL1.S1PIE)
    names = {found.access for found in judge(outcomes(), virtual, e2h=1).differences}
    assert {"mrs PIR_EL1", "msr PIRE0_EL1"} <= names and "mrs POR_EL1" not in names
    for index, access in enumerate(ACCESSES):
        if re.fullmatch(r"m[rs][rs] PIR(E0)?_EL\d+", access.name):
            for phase in Phase:
                virtual.baseline[phase, index] = undefined(phase)
    assert judge(outcomes(), virtual, e2h=1).differences == []


def test_what_the_machine_does_not_trap_stays() -> None:
    popx, control = number_of("gcs popx"), control_of("HFGITR_EL2.nGCSEPP")
    traps = outcomes(changed={(Phase.EL1, control, popx): TRAPPED})
    virtual = hiding(sr.ID_AA64PFR1_EL1.GCS)
    assert not Rules(outcomes(), virtual).hides(popx)
    assert Rules(traps, virtual).hides(popx)


def test_the_trap_of_el1_comes_before_what_l0_hides() -> None:
    read = number_of("mrs FPMR")
    own = undefined(Phase.EL0) ^ EC.SYS64 << ESR_ELx.EC.lsb
    real, virtual = outcomes(), hiding(sr.ID_AA64PFR2_EL1.FPMR)
    real.baseline[Phase.EL0, read] = own
    found = judge(real, virtual, e2h=1).differences
    wants = {d.phase: d.want for d in found if d.access == "mrs FPMR" and d.control == "nothing"}
    assert wants == {
        Phase.EL1: undefined(Phase.EL1),
        Phase.EL0: own,
        Phase.HOST_EL0: undefined(Phase.HOST_EL0),
    }


def test_a_control_of_a_hidden_feature_has_to_do_nothing() -> None:
    control = control_of("HCR_EL2.TLOR")
    index = number_of("mrs TTBR0_EL1")
    real, virtual = outcomes(), outcomes(changed={(Phase.EL1, control, index): TRAPPED})
    place = 7 * 8 + 1
    virtual.identification[place] = sr.ID_AA64MMFR1_EL1.LO.set(virtual.identification[place], 0)
    found = judge(real, virtual, e2h=1).differences
    assert [d for d in found if d.control == "HCR_EL2.TLOR" and d.access == "mrs TTBR0_EL1"]


TPMCR = control_of("MDCR_EL2.TPMCR")
READ_PMCR = number_of("mrs PMCR_EL0")
TRAPPED_READ = TRAPPED | 1


@pytest.mark.parametrize(
    ("real", "virtual", "differences"),
    [
        (0, TRAPPED_READ, 0),
        (TRAPPED_READ, TRAPPED_READ, 0),
        (TRAPPED_READ, 0, 1),
        (TRAPPED_READ, TRAPPED, 1),
        (0, undefined(Phase.EL1), 1),
    ],
    ids=["qemu-10.0.2", "qemu-10.0.13", "lost", "wrong-syndrome", "no-trap-either"],
)
def test_what_a_qemu_omits_excuses_that_qemu_only(
    real: int, virtual: int, differences: int
) -> None:
    """A row about a trap that the machine may lack hides nothing on a machine that has it."""
    place = (Phase.EL1, TPMCR, READ_PMCR)
    at_real = outcomes(changed={place: real})
    found = judge(at_real, outcomes(changed={place: virtual}), e2h=1)
    assert len(found.differences) == differences
    (row,) = (row for row in EXCEPTIONS if row.omitted and "PMCR_EL0" in row.accesses)
    assert omits(at_real, row) == (real == 0)


def test_a_host_that_returns_to_its_el0_loses_no_trap() -> None:
    place = (Phase.HOST_EL0, TPMCR, READ_PMCR)
    real = outcomes(changed={place: TRAPPED_READ})
    (lost,) = judge(real, outcomes(), e2h=1).differences
    assert (lost.phase, lost.control, lost.got) == (Phase.HOST_EL0, "MDCR_EL2.TPMCR", 0)
    assert judge(real, real, e2h=1).differences == []


def _table(real: Outcomes) -> set[str]:
    """Compare the table with a machine that has PMCR_EL0 and GCSPOPX only."""
    for index, access in enumerate(ACCESSES):
        if access.encoding is not None and access.name not in ("mrs PMCR_EL0", "gcs popx"):
            real.baseline[Phase.EL1, index] = undefined(Phase.EL1)
    return {str(difference) for difference in compare_rows(real, 1)[1]}


def test_the_table_is_held_to_the_traps_that_the_machine_takes() -> None:
    missing = {difference for difference in _table(outcomes()) if "TPMCR" in difference}
    assert not missing, "an omission"
    (other,) = (difference for difference in _table(outcomes()) if ".TPM:" in difference)
    assert other == "MDCR_EL2.TPM: the table traps mrs PMCR_EL0, the machine does not"
    newer = outcomes(changed={(Phase.EL1, TPMCR, READ_PMCR): TRAPPED_READ})
    agreed, _ = compare_rows(newer, 1)
    assert agreed == 1


def test_omissions_name_what_the_table_traps() -> None:
    controls = {
        control_name(bank * CONTROLS_PER_BANK + n) for bank in range(len(BANKS)) for n in range(64)
    }
    accesses = {access.name.removeprefix("mrs ") for access in ACCESSES}
    for row in OMISSIONS:
        assert row.control in controls and row.access in accesses


def test_outcomes_are_shown() -> None:
    assert outcome_text(0) == "done"
    assert outcome_text(TRAPPED | 1) == "EL2 vector 8 SYS64 read"
    assert outcome_text(undefined(Phase.EL0)) == "EL1 vector 8 UNKNOWN iss=0x0"


def test_rows_name_something() -> None:
    """A pattern that matches nothing would hide a spelling mistake."""
    every = [access.name for access in ACCESSES]
    for feature in FEATURES:
        for pattern in feature.accesses.split("|"):
            assert not pattern or _some(pattern, every), pattern
    for row in EXCEPTIONS:
        for pattern in row.accesses.split("|"):
            assert _some(pattern, every), pattern


def _some(pattern: str, names: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for name in names)


def test_an_access_is_a_word_of_its_encoding() -> None:
    access: Access = ACCESSES[WRITE_TCR]
    assert access.words == (0xD518_2041,)
    assert ACCESSES[READ_TCR].words == (0xD538_2041,)
