"""What a payload must see differently at virtual EL2 than at real EL2, each with its reason.

`saw` lines already leave out what the architecture calls UNKNOWN (`seen.saw`).

Some are there only if the machine below has a feature: a newer QEMU has more of them. Such a row
names what the payload says at real EL2 if so (`saw NAME shown=0x1`).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from vel2.arch.nesting import Kind, Level

__all__ = (
    "DECLARED",
    "DEEPER",
    "Difference",
    "Unlike",
    "declared",
    "is_about_the_machine",
    "is_unlike",
    "undeclared",
)

SHOWN = re.compile(r"saw (\S+) shown=0x1")
NOTE = "note "
"""Begins a line about one run, which need not be like another's."""

MEMORY = (
    "FEAT_NV2 turns the access into one to the VNCR page, whether or not the register is shown; it"
    " has no effect"
)

AARCH32 = (
    "AArch32 is hidden: an ERET of vEL2 to it is illegal, HSTR_EL2 does nothing, and what L0 traps"
    " for itself is UNDEFINED there"
)

EXECUTES = "no control of hardware makes the instruction UNDEFINED: it does what it does there"
EL0_BESIDE_EL2 = (
    "hardware's EL1&0 regime always has an EL0, whatever L1's HCR_EL2.TGE, which it writes unseen"
)
MTE = ("irg", "addg", "gmi", "subp", "msr_tco", "mrs_tco", "dc_gva", "stg", "ldg")
NMI = ("mrs_allint", "clear_allint")
CSSC = ("cnt",)
GCS = ("gcsss1",)
EVERYWHERE = ("el2", "el1", "el0")


FREQUENCY = (
    "only the highest Exception level may write CNTFRQ_EL0; below, a write is UNDEFINED, and that"
    " is taken to EL1, which is vEL2, without a trap that L0 could answer"
)
FLASH = (
    "a walk of QEMU's sets an access flag in the storage of a flash device, past the device; L0 can"
    " only store to the device, to which that is a command, and lets the access go on without"
)


DEVICE = (
    "hardware's walk reads a device as it reads memory; L0 reads none for a guest, since what a"
    " device does then may come as an SError, and gives an External abort on the walk"
)


SMC32 = (
    "DEN0028: an SMC32 call has its function identifier and arguments in W registers, so the upper"
    " halves do not count; QEMU compares all 64 bits"
)
IMMEDIATE = "DEN0028: the immediate of an SMCCC call is 0, all others are reserved; QEMU ignores it"
OLD_PSCI = (
    "DEN0022: function identifiers are SMCCC's since PSCI 0.2, and the device tree names those;"
    " QEMU also takes its own of PSCI 0.1"
)


@dataclass(frozen=True)
class Difference:
    """One check of one payload that fails at virtual EL2."""

    payload: str
    check: str
    reason: str
    kinds: tuple[Kind, ...] = tuple(Kind)
    """Kinds of virtual EL2 it is seen in."""
    levels: tuple[Level, ...] = tuple(Level)
    """And levels of hardware."""
    shown: str = ""
    """What a machine must show for it."""


DECLARED = (
    *(
        Difference("classes", check, AARCH32)
        for check in (
            "a32-own-mcr_pmcr",
            "a32-own-mcr_pmcntenset",
            "a32-own-mrc_pmevtyper0",
            "a32-hstr",
            "a32-from-el2",
        )
    ),
    *(
        Difference("features", f"{instruction}-{where}", EXECUTES, shown=instruction)
        for instructions, places in (
            (MTE, EVERYWHERE),
            (NMI, ("el2", "el1")),
            (CSSC, EVERYWHERE),
            (GCS, EVERYWHERE),
        )
        for instruction in instructions
        for where in places
    ),
    Difference(
        "features",
        "big-endian",
        "no control of hardware keeps SCTLR_EL1.EE from acting",
        shown="big-endian",
    ),
    Difference("regime", "span", EL0_BESIDE_EL2, kinds=(Kind.VHE,)),
    Difference("regime", "ldtr", EL0_BESIDE_EL2, kinds=(Kind.VHE,)),
    Difference("features", "cntpoff_el2", MEMORY, levels=(Level.NV2,)),
    Difference("features", "vncr_el2", MEMORY, levels=(Level.NV2,)),
    Difference("features", "cntfrq_el0-write", FREQUENCY),
    Difference("psci", "high-bits", SMC32),
    Difference("psci", "immediate", IMMEDIATE),
    Difference("psci", "psci-0.1", OLD_PSCI),
    Difference("survival", "flash-access-flag", FLASH),
    Difference("survival", "table-in-device", DEVICE),
)


@dataclass(frozen=True)
class Unlike:
    """`saw` lines of a payload that are not the same below an inner vel2.

    :ivar lines: what they begin with.
    """

    payload: str
    lines: re.Pattern[str]
    reason: str


LARGE_ADDRESSES = (
    "FEAT_LVA is hidden, so TnSZ below 16 is out of range with 64 KiB granules, and its effect on"
    " the PAC field CONSTRAINED UNPREDICTABLE (RESTnSZ). Hardware has the feature and signs for 52"
    " bits; an inner vel2 that authenticates ERETAA cannot see that, and does it for 48"
)
DEEPER = (
    Unlike("pointers", re.compile(r"saw return-[ab]-(good 0xc?13|bad 0xc?13c9 )"), LARGE_ADDRESSES),
)
"""Below one vel2 there is none."""


def is_unlike(payload: str, line: str) -> bool:
    """Whether a line may differ below an inner vel2."""
    return any(row.payload == payload and row.lines.match(line) for row in DEEPER)


def is_about_the_machine(line: str) -> bool:
    """Whether a line says what the machine shows, which is not the same at virtual EL2."""
    return line.startswith(NOTE) or SHOWN.fullmatch(line) is not None


def declared(payload: str, el2: Kind, level: Level, real: Iterable[str]) -> set[str]:
    """Name the checks of a payload that are known to fail at virtual EL2.

    :param real: what the payload said at real EL2.
    """
    shown = {found[1] for line in real if (found := SHOWN.fullmatch(line))} | {""}
    return {
        row.check
        for row in DECLARED
        if row.payload == payload
        and el2 in row.kinds
        and level in row.levels
        and row.shown in shown
    }


def undeclared(failures: Iterable[str], known: set[str]) -> list[str]:
    """Give the failures (`not ok NAME ...`) at virtual EL2 that are not `declared`."""
    return [line for line in failures if line.split()[2] not in known]
