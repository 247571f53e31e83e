"""QEMU's names for registers, as its gdb server of version 10.0.2 lists them."""

from __future__ import annotations

import pytest

from vel2.arch import sysregs as sr
from vel2.machine.sysregs import qemu_name

SHOWN = {"SCTLR", "SCTLR_EL2", "AMAIR0", "VBAR", "VBAR_EL2", "APIAKEYLO_EL1", "HCR_EL2"}
SHOWN |= {"ID_AA64MMFR4_EL1_RESERVED", "ID_AA64MMFR1_EL1", "TCR_EL1", "SPSR_IRQ", "CLIDR"}


@pytest.mark.parametrize(
    ("arm", "qemu"),
    [
        ("SCTLR_EL1", "SCTLR"),
        ("SCTLR_EL2", "SCTLR_EL2"),
        ("AMAIR_EL1", "AMAIR0"),
        ("VBAR_EL1", "VBAR"),
        ("TCR_EL1", "TCR_EL1"),
        ("APIAKeyLo_EL1", "APIAKEYLO_EL1"),
        ("ID_AA64MMFR4_EL1", "ID_AA64MMFR4_EL1_RESERVED"),
        ("SPSR_irq", "SPSR_IRQ"),
        ("ICH_HCR_EL2", None),
    ],
)
def test_names(arm: str, qemu: str | None) -> None:
    assert qemu_name(sr.by_name(arm), SHOWN) == qemu
