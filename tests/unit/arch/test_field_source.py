"""Fields against tables vel2 did not write: what Linux's headers say of the same registers.

Debian's linux-headers packages have them: one file that the kernel makes from its own register
descriptions, and a few that people wrote (HCR_EL2, MDCR_EL2, the GIC, syndromes). They are fetched
for the test and read as text; nothing of them is kept. Positions are compared, and names where
Linux writes them as the Arm ARM does. What differs on purpose is listed with its reason.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.bits import Register, Reserved
from vel2.arch.esr import EC
from vel2.guests.apt import AptRoot
from vel2.guests.cache import cache_root, locked
from vel2.guests.packages import Package, download, extract, find_package

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]

MADE = "sysreg-defs.h"
WRITTEN = ("arm64/include/asm/kvm_arm.h", "arm64/include/asm/sysreg.h", "arm64/include/asm/esr.h")
MASK = re.compile(r"^#define (\w+_EL(?:\d+|x))_(\w+?)_MASK\s+GENMASK\((\d+), (\d+)\)", re.M)
BIT = re.compile(r"^#define\s+(\w+)\s+(?:\(?\(?(?:UL?\()?1U?L*\)?\s*<<\s*|BIT\()(\d+)\)", re.M)
CLASS = re.compile(r"^#define\s+ESR_ELx_EC_(\w+)\s+\(?(?:UL\()?(0x[0-9A-Fa-f]+)\)", re.M)

BY_NAME = {register.name: register for register in sr.ALL_REGISTERS}

OTHER_POSITIONS = {
    # vel2 does not divide what software never reads in parts.
    **{("ID_AFR0_EL1", f"IMPDEF{n}"): "IMPLEMENTATION DEFINED as a whole" for n in range(4)},
    **{("ID_AA64AFR0_EL1", f"IMPDEF{n}"): "IMPLEMENTATION DEFINED as a whole" for n in range(8)},
    **{("DACR32_EL2", f"D{n}"): "AArch32's, moved as a whole" for n in range(16)},
    ("CLIDR_EL1", "Ttypen"): "seven fields in one",
    ("LOREA_EL1", "EA_51_48"): "one field in two",
    ("LOREA_EL1", "EA_47_16"): "one field in two",
    # An early edition: SKL is in TTBRn_ELx now.
    ("TCR2_EL2", "SKL1"): "RES0 in the Arm ARM",
    ("TCR2_EL2", "SKL0"): "RES0 in the Arm ARM",
    # Linux has one layout for HFGRTR_EL2 and HFGWTR_EL2; what cannot be written has no write trap.
    **{
        ("HFGWTR_EL2", name): "reads only"
        for name in (
            "ERXPFGF_EL1", "ERXFR_EL1", "ERRIDR_EL1", "REVIDR_EL1", "MPIDR_EL1", "MIDR_EL1",
            "LORID_EL1", "ISR_EL1", "DCZID_EL0", "CTR_EL0", "CLIDR_EL1", "CCSIDR_EL1", "AIDR_EL1",
        )
    },
}  # fmt: skip
OTHER_NAMES = {
    **{(f"FAR_{el}", "ADDR"): "VA" for el in ("EL1", "EL2", "EL12")},
    ("PMSNEVFR_EL1", "E"): "Value",
    ("PMSEVFR_EL1", "E"): "Value",
    ("RCWSMASK_EL1", "RCWSMASK"): "Value",
    ("RCWMASK_EL1", "RCWMASK"): "Value",
    ("SMPRIMAP_EL2", "F9"): "P9",
    **{(f"HFG{rw}TR2_EL2", "nSCTLRALIAS2_EL1"): "nSCTLR2ALIAS_EL1" for rw in "RW"},
    ("HCR_EL2", "TPC"): "TPCP",
    ("HCR_EL2", "BSU_IS"): "BSU",
}
PREFIXES = {
    "HCR_": "HCR_EL2",
    "MDCR_EL2_": "MDCR_EL2",
    "CPTR_EL2_": "CPTR_EL2",
    "VTCR_EL2_": "VTCR_EL2",
    "ICH_HCR_": "ICH_HCR_EL2",
    "ICH_MISR_": "ICH_MISR_EL2",
}
"""How the headers that people wrote begin the names of a register's bits."""
OLD_RES1 = ("RES0", "RES1")


def newest(root: AptRoot, package: Package, ending: str) -> Package:
    """Find the one package that another depends on whose name ends so."""
    (name,) = (name for name in package.depends if name.endswith(ending))
    found = find_package(root, name)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Fetch Linux's headers for arm64; give the text of each file by its name."""
    folder = tmp_path_factory.mktemp("headers")
    cache = cache_root()
    with locked(cache):
        root = AptRoot.open(cache / "apt", "trixie")
        root.update()
        meta = find_package(root, "linux-headers-arm64")
        assert meta is not None
        made = newest(root, meta, "arm64")
        packages = [made, newest(root, made, "common")]
        debs = download(root, [(one.name, one.version) for one in packages], folder, None)
    for deb in debs:
        extract(deb, lambda path: path.endswith((MADE, *WRITTEN)), folder)
    return {path.name: path.read_text() for path in Path(folder).glob("*.h")}


def registers_named(name: str) -> list[type[Register]]:
    """Give our registers for a name of Linux's; `ELx` is a layout that several share."""
    names = [name] if "ELx" not in name else [name.replace("ELx", f"EL{n}") for n in (1, 2)]
    names = [other for one in names for other in ([one.replace("FGx", f"FG{c}") for c in "RW"])]
    return [BY_NAME[one] for one in dict.fromkeys(names) if one in BY_NAME]


def disagreement(register: type[Register], name: str, msb: int, lsb: int) -> str:
    """Say what is wrong with a field at these bits, or nothing."""
    fields = {(field.msb, field.lsb): field for field in register.fields}
    ours = fields.get((msb, lsb))
    if ours is None or isinstance(ours, Reserved):
        return "" if (register.name, name) in OTHER_POSITIONS else f"no field at {msb}:{lsb}"
    expected = OTHER_NAMES.get((register.name, name), name)
    return "" if ours.name.upper() == expected.upper() else f"{ours.name} is at {msb}:{lsb}"


def test_every_field_that_linux_has_is_where_linux_has_it(headers: dict[str, str]) -> None:
    compared, wrong = 0, {}
    for name, field, msb, lsb in MASK.findall(headers[MADE]):
        for register in registers_named(name):
            compared += 1
            why = disagreement(register, field, int(msb), int(lsb))
            if why:
                wrong[f"{register.name}.{field}"] = why
    assert compared > 1000
    assert wrong == {}


def test_every_bit_of_el2s_controls_is_where_linux_has_it(headers: dict[str, str]) -> None:
    compared, wrong = set(), {}
    for file in ("kvm_arm.h", "sysreg.h"):
        for name, bit in BIT.findall(headers[file]):
            for prefix, register in PREFIXES.items():
                field = name.removeprefix(prefix)
                if not name.startswith(prefix) or field in OLD_RES1:
                    continue
                ours = [one for one in BY_NAME[register].fields if one.mask >> int(bit) & 1]
                expected = OTHER_NAMES.get((register, field), field)
                compared.add(name)
                if [one.name.upper() for one in ours] != [expected.upper()]:
                    wrong[name] = f"bit {bit} is {ours}"
    assert len(compared) > 80
    assert wrong == {}


OTHER_CLASSES = {
    "IABT_LOW": "IABT_LOWER", "IABT_CUR": "IABT_SAME", "DABT_LOW": "DABT_LOWER",
    "DABT_CUR": "DABT_SAME", "BREAKPT_LOW": "BREAKPOINT_LOWER", "BREAKPT_CUR": "BREAKPOINT_SAME",
    "SOFTSTP_LOW": "SOFTSTEP_LOWER", "SOFTSTP_CUR": "SOFTSTEP_SAME",
    "WATCHPT_LOW": "WATCHPOINT_LOWER", "WATCHPT_CUR": "WATCHPOINT_SAME",
}  # fmt: skip


def test_every_exception_class_has_linuxs_number(headers: dict[str, str]) -> None:
    """Show that two classes of one name have one number."""
    ours = {member.name: int(member) for member in EC}
    theirs = {
        OTHER_CLASSES.get(name, name): int(number, 16)
        for name, number in CLASS.findall(headers["esr.h"])
    }
    shared = ours.keys() & theirs.keys()
    assert len(shared) >= 20
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def test_what_is_said_to_differ_does(headers: dict[str, str]) -> None:
    """Show that the exceptions do not outlive their reason."""
    there = {
        (register.name, field): (int(msb), int(lsb))
        for name, field, msb, lsb in MASK.findall(headers[MADE])
        for register in registers_named(name)
    }
    for (name, field), why in OTHER_POSITIONS.items():
        assert (name, field) in there, f"{name}.{field} ({why}) is no more"
        fields = {(one.msb, one.lsb): one for one in BY_NAME[name].fields}
        ours = fields.get(there[name, field])
        assert ours is None or isinstance(ours, Reserved), f"{name}.{field} ({why}) is the same"
