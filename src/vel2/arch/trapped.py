"""The instruction that trapped, where its syndrome says all of it.

EC 0x18 has the whole encoding with Rt and the direction; HVC and SMC have their immediate; of WFx
and ERET there are a few. Of other classes (aborts, FP) the syndrome does not say the instruction.
"""

from vel2.arch.a64 import BYTES, SystemInstruction, SystemRegisterMove
from vel2.arch.esr import EC, ISS_ERET, ISS_HVC, ISS_SYS64, ISS_WFX, ESR_ELx

__all__ = ("trapped_instruction", "trapped_pc")

HVC, SMC = 0xD400_0002, 0xD400_0003
IMM16_LSB = 5
WFX = {0: 0xD503_207F, 1: 0xD503_205F}
"""WFI and WFE, by ISS.TI; WFIT and WFET name a register besides."""
ERETS = {(0, 0): 0xD69F_03E0, (1, 0): 0xD69F_0BFF, (1, 1): 0xD69F_0FFF}
"""ERET, ERETAA and ERETAB, by ISS.ERET and ISS.ERETA."""
SYSL = 1 << 21
"""The bit of the system space that makes a SYS a SYSL."""


def trapped_instruction(esr: int) -> int | None:
    """Give the instruction of a syndrome; None where it does not say.

    Arm ARM: AArch64.SystemAccessTrapSyndrome, and the ISS of HVC, SMC, WFx and ERET.
    """
    ec, iss = ESR_ELx.EC.get(esr), ESR_ELx.ISS.get(esr)
    if ec == EC.SYS64:
        return _system(iss)
    if ec in (EC.HVC64, EC.SMC64):
        return (HVC if ec == EC.HVC64 else SMC) | ISS_HVC.imm16.get(iss) << IMM16_LSB
    if ec == EC.WFX:
        return WFX.get(ISS_WFX.TI.get(iss))
    if ec == EC.ERET:
        return ERETS.get((ISS_ERET.ERET.get(iss), ISS_ERET.ERETA.get(iss)))
    return None


def trapped_pc(esr: int, elr: int) -> int:
    """Give where the instruction is: the preferred return of an HVC is the one behind it."""
    return elr - BYTES if ESR_ELx.EC.get(esr) == EC.HVC64 else elr


def _system(iss: int) -> int:
    is_read = ISS_SYS64.Direction.get(iss)
    named = {name: ISS_SYS64.field(f"O{name[1:]}").get(iss) for name in ("op1", "op2")}
    named |= {name: ISS_SYS64.field(name).get(iss) for name in ("CRn", "CRm", "Rt")}
    op0 = ISS_SYS64.Op0.get(iss)
    if op0 == 1:
        return SystemInstruction.match | SystemInstruction.compose(**named) | SYSL * is_read
    move = SystemRegisterMove.compose(L=is_read, o0=op0 & 1, **named)
    return SystemRegisterMove.match | move
