"""Prediction restriction instructions of vEL2: what hardware is asked to do."""

from __future__ import annotations

import pytest

from tests.hyp.rig import fresh_rig
from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding
from vel2.arch.insn import CFP, COSP, CPP, DVP, SysInsn
from vel2.hyp import trap

NEXT = 0x1004


def syndrome(encoding: Encoding, rt: int) -> int:
    """Compose the syndrome of a trapped SYS."""
    op0, op1, crn, crm, op2 = encoding
    iss = op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | rt << 5 | crm << 1
    return 0x18 << 26 | 1 << 25 | iss


@pytest.mark.parametrize("insn", [CFP.RCTX, DVP.RCTX, CPP.RCTX], ids=lambda insn: insn.name)
@pytest.mark.parametrize(
    ("operand", "expected"),
    [
        # EL2, VMID 7, ASID 3: vEL2 is EL1, for every VMID.
        (0x7_0200_0003, 0x1_0000_0100_0003),
        # EL0, every VMID and ASID, Non-secure.
        (0x1_0000_0401_0000, 0x1_0000_0401_0000),
        # EL3 is not L1's to name.
        (0x0300_0000, None),
    ],
)
def test_restriction_is_for_every_vmid(insn: SysInsn, operand: int, expected: int | None) -> None:
    rig = fresh_rig()
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000, 0b0101
    rig.vcpu.x[5] = operand
    rig.run(trap.handle_sync, rig.vcpu, syndrome(insn.encoding, 5))
    assert rig.vcpu.pc == NEXT
    done = [(op.name, op.value) for op in rig.sim.trace]
    assert done == ([] if expected is None else [(insn.name, expected)])


def test_another_restriction_is_undefined() -> None:
    """COSP RCTX came with FEAT_SPECRES2, which is hidden."""
    rig = fresh_rig()
    rig[sr.VBAR_EL1] = 0x9_0000
    rig.vcpu.pc, rig.vcpu.pstate = 0x1000, 0b0101
    rig.run(trap.handle_sync, rig.vcpu, syndrome(COSP.RCTX.encoding, 5))
    assert rig.vcpu.pc == 0x9_0200
    assert rig.sim.trace == []
