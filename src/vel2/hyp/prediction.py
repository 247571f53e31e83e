"""Prediction restriction by context (FEAT_SPECRES): CFP, DVP and CPP RCTX of vEL2.

These trap while vEL2 runs (HCR_EL2.NV), because the context that they name is virtual: vEL2 runs at
EL1, and L1's VMIDs are not the machine's. L0 performs each one for all VMIDs of the machine, which
restricts more than was asked; the architecture allows that. vEL1 and EL0 can name no VMID but their
own, so nothing traps there.
"""

from vel2.arch.insn import CFP, CPP, DVP
from vel2.arch.operands import RCTX, RestrictedEL
from vel2.hyp.outcome import Outcome
from vel2.hyp.state import Vcpu
from vel2.lang import inline, resident, sysop, u64

__all__ = ("from_vel2", "is_restriction")

INSTRUCTIONS = (CFP.RCTX, DVP.RCTX, CPP.RCTX)


@inline
def is_restriction(key: u64) -> bool:
    """Whether a system instruction is one of these."""
    return key == CFP.RCTX.trap_key or key == DVP.RCTX.trap_key or key == CPP.RCTX.trap_key


@resident
def from_vel2(vcpu: Vcpu, key: u64, value: u64) -> Outcome:
    """Restrict predictions as vEL2 asked; for EL3, which is not its to name, nothing happens."""
    operand = u64(value & ~RCTX.VMID.mask | RCTX.GVMID.mask)
    level = RCTX.EL.get(value)
    if level == RestrictedEL.EL3:
        return Outcome.SKIP
    if level == RestrictedEL.EL2:
        operand = RCTX.EL.set(operand, RestrictedEL.EL1)
    for instruction in INSTRUCTIONS:
        if key == instruction.trap_key:
            sysop(instruction, operand)
    return Outcome.SKIP
