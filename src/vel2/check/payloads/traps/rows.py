"""Judge the table of trap controls by a machine: `vel2.arch.controls` against payload `traps`.

The table says which control bits make an access at EL1 trap with EC 0x18; the payload has tried
them all at QEMU's real EL2. A trap without a row is a hole in the table. A row without a trap means
that one of the two is wrong. If that is QEMU, `OMISSIONS` names the sentence of the Arm ARM. An
omission excuses the machine from a trap that it does not take, and from nothing else: a newer QEMU
that takes it is compared like any other.
"""

from typing import NamedTuple

from vel2.arch import controls
from vel2.arch import sysregs as sr
from vel2.arch.trap_rows import FINE_READ_WRITE
from vel2.check.payloads.traps.report import Outcomes, controls_tried, traps_to_el2
from vel2.check.payloads.traps.table import (
    ACCESSES,
    BANKS,
    BASELINE,
    CONTROLS_PER_BANK,
    FIRST_EXTRA,
    INTERRUPTS,
    Access,
    Phase,
    control_name,
    enables,
)
from vel2.hyp.translate import cnthctl_el2_to_e2h, cptr_el2_to_e2h

__all__ = ("OMISSIONS", "Omission", "compare_rows")


class Omission(NamedTuple):
    """A trap of the Arm ARM that some QEMU does not take.

    :ivar access: a register, for its MRS and MSR, or the name of an instruction.
    """

    control: str
    access: str
    citation: str


GCSEPP = "HFGITR_EL2.nGCSEPP: trap execution of GCSPUSHX, GCSPOPCX and GCSPOPX at EL1"
OMISSIONS = (
    Omission("MDCR_EL2.TPMCR", "PMCR_EL0", "MDCR_EL2.TPMCR: accesses to the PMCR_EL0 are trapped"),
    Omission(
        "HDFGRTR_EL2.PMUSERENR_EL0",
        "PMUSERENR_EL0",
        "HDFGRTR_EL2.PMUSERENR_EL0: trap MRS reads of PMUSERENR_EL0 at EL1",
    ),
    Omission(
        "HDFGWTR_EL2.PMUSERENR_EL0",
        "PMUSERENR_EL0",
        "HDFGWTR_EL2.PMUSERENR_EL0: trap MSR writes of PMUSERENR_EL0 at EL1",
    ),
    Omission("HFGITR_EL2.nGCSEPP", "gcs popx", GCSEPP),
    Omission("HFGITR_EL2+FGTnXS.nGCSEPP", "gcs popx", GCSEPP),
)


class RowDifference(NamedTuple):
    """An access that the table and the machine disagree about."""

    control: str
    access: str
    has_row: bool

    def __str__(self) -> str:
        if self.has_row:
            return f"{self.control}: the table traps {self.access}, the machine does not"
        return f"{self.control}: the machine traps {self.access}, the table does not"


def _base() -> dict[str, int]:
    values = {bank.register.name: bank.base for bank in BANKS}
    for reads, writes in FINE_READ_WRITE:
        values.setdefault(reads, enables(sr.by_name(reads)))
        if writes is not None:
            values.setdefault(writes, enables(sr.by_name(writes)))
    return values


def values_under(control: int, e2h: int) -> dict[str, int]:
    """Give EL2's control registers under one control, as `arch.controls` wants them."""
    values = _base()
    if control != BASELINE:
        bank, n = BANKS[control // CONTROLS_PER_BANK], control % CONTROLS_PER_BANK
        value = bank.extras[n - FIRST_EXTRA].value if n >= FIRST_EXTRA else bank.base ^ 1 << n
        values[bank.register.name] = value
        if bank.interrupts:
            values["HCR_EL2"] |= INTERRUPTS
        values["HCRX_EL2"] |= bank.hcrx
    if e2h == 0:
        values["CPTR_EL2_E2H"] = cptr_el2_to_e2h(values["CPTR_EL2"])
        values["CNTHCTL_EL2_E2H"] = cnthctl_el2_to_e2h(values["CNTHCTL_EL2"])
    return values


def has_trap(access: Access, values: dict[str, int]) -> bool:
    """Ask the table whether an access traps."""
    assert access.encoding is not None
    is_read = access.name.startswith("mrs ")
    over = controls.controls_of(access.encoding.trap_key)
    if over.coarse is not None and controls.traps(over.coarse, values, is_read=is_read):
        return True
    fine = over.read if is_read else over.write
    return fine is not None and controls.fine_traps(fine, values)


def omitted(control: str, access: str) -> bool:
    """Whether a QEMU is known not to take a trap."""
    names = (access, access.removeprefix("mrs ").removeprefix("msr "))
    return any(row.control == control and row.access in names for row in OMISSIONS)


def compare_rows(real: Outcomes, e2h: int) -> tuple[int, list[RowDifference]]:
    """Compare the table with what a machine's real EL2 did.

    An access that is UNDEFINED with nothing trapped belongs to a feature that the machine does not
    have. It is compared only where the machine traps it.

    :return: how many traps agreed, and what did not.
    """
    agreed = 0
    differences: list[RowDifference] = []
    for control in controls_tried(real):
        values = values_under(control, e2h)
        name = control_name(control)
        for index, access in enumerate(ACCESSES):
            if access.encoding is None:
                continue
            outcome = real.at(Phase.EL1, control, index)
            trapped = traps_to_el2(outcome)
            if not trapped and real.at(Phase.EL1, BASELINE, index) != 0:
                continue
            has_row = has_trap(access, values)
            agreed += has_row and trapped
            if has_row == trapped:
                continue
            if not (has_row and omitted(name, access.name)):
                differences.append(RowDifference(name, access.name, has_row))
    return agreed, differences
