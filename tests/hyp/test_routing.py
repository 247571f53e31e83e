"""Trap routing: the resident answer against the independent evaluation of the same tables."""

import random

import pytest

from tests.hyp.rig import Rig, fresh_rig
from vel2.arch import controls as arch_controls
from vel2.arch import sysregs as sr
from vel2.arch.features import HIDDEN_REGISTERS
from vel2.hyp import routing
from vel2.hyp.controls import HCR_FROM_L1
from vel2.hyp.hcr import NESTED
from vel2.hyp.homes import in_memory, switched

IRREGULAR = {"HPMN", "SPMACCESSR"}
"""Controls that are more than bits: `monitors` decides one, the other's registers are hidden."""


def give(rig: Rig, values: dict[str, int]) -> None:
    """Put L1's control registers where the vCPU has them while vEL1 runs."""
    rig.set_slot(sr.HCR_EL2, values["HCR_EL2"])
    rig.set_slot(sr.HCRX_EL2, values["HCRX_EL2"])
    rig.set_slot(sr.ICH_HCR_EL2, values["ICH_HCR_EL2"])
    rig.vcpu.vel2.memory[in_memory(sr.MDCR_EL2)] = values["MDCR_EL2"]
    rig.vm.probed.cpacr_holds_cptr = 1
    rig.vcpu.vel2.el1[switched(sr.CPACR_EL1).index] = values["CPTR_EL2_E2H"]
    rig.vm.probed.cntkctl_holds_cnthctl = 1
    rig.vcpu.vel2.el1[switched(sr.CNTKCTL_EL1).index] = values["CNTHCTL_EL2_E2H"]


HIDDEN = (
    *("PMB", "PMICNTR", "PMICFILTR", "PMUACR", "PMECR", "PMIAR", "PMSSCR", "PMZR", "PMCCNTSVR"),
    *("PMICNTSVR", "PMEVCNTSVR", "PMSCR", "PMSEVFR", "PMSFCR", "PMSICR", "PMSIDR", "PMSIRR"),
    *("PMSLATFR", "PMSNEVFR", "PMSDSFR", "SPM", "TRB", "TRC", "TRF", "BRB", "AMC", "AME", "AMU"),
    *("MPAM", "GCS", "LOR", "ZCR", "SMCR", "SMPRI", "SMIDR", "SVCR", "TPIDR2"),
    *("TCR2MASK", "TCR2ALIAS", "SCTLR2MASK", "SCTLR2ALIAS"),
    *("PIR", "POR", "S2POR", "MAIR2", "AMAIR2", "RGSR", "GCR", "GMID", "TFSR", "FPMR", "ACCDATA"),
    *("RCW", "PFAR", "MDSELR", "MDSTEPOP", "SCXTNUM", "ALLINT"),
    *("CNTPOFF", "NVHCR", "VST", "S2PIR", "HAFGRTR", "ICH_HFG", "MECID", "VMECID"),
    *("HFGRTR2_", "HFGWTR2_", "HFGITR2_", "HDFGRTR2_", "HDFGWTR2_"),
)
"""Beginnings of the names of registers that L1 does not have, a list of its own."""


def test_the_hidden_registers_are_those_of_hidden_features() -> None:
    by_name = {each for each in sr.ALL_REGISTERS if each.name.startswith(HIDDEN)}
    assert by_name == HIDDEN_REGISTERS


def keys() -> list[int]:
    """Every encoding with a control, those that a range covers thinned out."""
    ranged = sorted(set(arch_controls.COARSE) - set(arch_controls.EXACT))
    return sorted(arch_controls.EXACT) + ranged[::37]


@pytest.mark.parametrize("seed", range(3))
def test_every_access_is_routed_as_the_table_says(seed: int) -> None:
    """Show for every covered encoding and direction that the resident answer is the table's."""
    chance = random.Random(seed)
    rig = fresh_rig()
    rig.vm.probed.nesting = (0, NESTED, sr.HCR_EL2.compose(NV=1, AT=1))[seed]
    checked = 0
    for key in keys():
        register = sr.by_key(key)
        if register is not None and register.name.startswith(HIDDEN):
            assert rig.run(routing.control_of, key) == routing.HIDDEN
            continue
        values = {
            name: chance.getrandbits(64)
            for name in (
                "HCR_EL2", "HCRX_EL2", "ICH_HCR_EL2", "MDCR_EL2", "CPTR_EL2_E2H", "CNTHCTL_EL2_E2H",
            )
        }  # fmt: skip
        values["HCR_EL2"] &= HCR_FROM_L1 & ~NESTED | rig.vm.probed.nesting
        give(rig, values)
        index = rig.run(routing.control_of, key)
        name = arch_controls.COARSE[key]
        assert routing.CONTROLS[index - 1].name == name, hex(key)
        for is_read in (False, True):
            expected = arch_controls.traps(name, values, is_read=is_read)
            if expected is None:
                continue
            assert rig.run(routing.asks, rig.vcpu, index, is_read) == expected, (hex(key), is_read)
            checked += 1
    assert checked > 1000


def test_an_encoding_without_a_control_is_nobodys() -> None:
    """Show that what no row covers is not found."""
    rig = fresh_rig()
    for register in (sr.TPIDR_EL0, sr.SP_EL0, sr.NZCV):
        assert rig.run(routing.control_of, register.trap_key) == routing.NOT_FOUND
