"""What instruction a syndrome names, against an assembler's words."""

from __future__ import annotations

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding
from vel2.arch.esr import EC, ISS_SYS64, ESR_ELx
from vel2.arch.insn import TLBI
from vel2.arch.trapped import trapped_instruction, trapped_pc


def sys64(encoding: Encoding, rt: int, is_read: bool) -> int:
    iss = ISS_SYS64.compose(
        Op0=encoding.op0,
        Op1=encoding.op1,
        Op2=encoding.op2,
        CRn=encoding.CRn,
        CRm=encoding.CRm,
        Rt=rt,
        Direction=int(is_read),
    )
    return ESR_ELx.compose(EC=EC.SYS64, IL=1, ISS=iss)


def other(ec: EC, iss: int) -> int:
    return ESR_ELx.compose(EC=ec, IL=1, ISS=iss)


# The words are GNU as's: `mrs x3, hcr_el2`, `msr sctlr_el1, x0`, ...
@pytest.mark.parametrize(
    ("esr", "word"),
    [
        (sys64(sr.HCR_EL2.encoding, 3, True), 0xD53C1103),
        (sys64(sr.SCTLR_EL1.encoding, 0, False), 0xD5181000),
        (sys64(sr.MDSCR_EL1.encoding, 31, False), 0xD510025F),
        (sys64(TLBI.VAE1IS.encoding, 5, False), 0xD5088325),
        (sys64(Encoding(1, 0, 7, 8, 0), 1, True), 0xD5287801),
        (other(EC.HVC64, 0x12), 0xD4000242),
        (other(EC.SMC64, 0), 0xD4000003),
        (other(EC.WFX, 0), 0xD503207F),
        (other(EC.WFX, 1), 0xD503205F),
        (other(EC.WFX, 2), None),
        (other(EC.ERET, 0), 0xD69F03E0),
        (other(EC.ERET, 2), 0xD69F0BFF),
        (other(EC.ERET, 3), 0xD69F0FFF),
        (other(EC.DABT_LOWER, 0), None),
    ],
)
def test_the_word(esr: int, word: int | None) -> None:
    assert trapped_instruction(esr) == word


def test_only_hvc_returns_behind_itself() -> None:
    assert trapped_pc(other(EC.HVC64, 0), 0x1004) == 0x1000
    assert trapped_pc(other(EC.SMC64, 0), 0x1004) == 0x1004
