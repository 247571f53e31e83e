"""Syndromes in words. Values are those of Linux's and the Arm ARM's own examples, by layout."""

from __future__ import annotations

import pytest

from vel2.arch.esr import EC, ISS_DABT, ISS_SYS64, ESR_ELx
from vel2.errors import UserError
from vel2.explain.syndrome import explain_esr, fault_words, summary_of_esr


def esr(ec: EC, iss: int = 0) -> int:
    return ESR_ELx.compose(EC=ec, IL=1, ISS=iss)


@pytest.mark.parametrize(
    ("value", "summary"),
    [
        (0x62240045, "MRS x2, MDSCR_EL1: a read"),
        (
            esr(EC.SYS64, ISS_SYS64.compose(Op0=3, Op1=4, CRn=1, CRm=1, Rt=31)),
            "MSR HCR_EL2, xzr: a write",
        ),
        (esr(EC.SYS64, ISS_SYS64.compose(Op0=1, CRn=8, CRm=3, Op2=1)), "TLBI VAE1IS, x0"),
        (esr(EC.SYS64, ISS_SYS64.compose(Op0=3, Op1=7, CRn=15)), "MSR S3_7_C15_C0_0, x0: a write"),
        (esr(EC.HVC64, 0x4A48), "HVC #0x4a48"),
        (esr(EC.WFX, 1), "WFE trapped"),
        (esr(EC.ERET, 3), "ERETAB trapped"),
        (
            esr(EC.DABT_LOWER, ISS_DABT.compose(ISV=1, SAS=2, SRT=5, WnR=1, DFSC=0x06)),
            "write of a word, w5: Translation fault, level 2",
        ),
        (
            esr(EC.DABT_LOWER, ISS_DABT.compose(S1PTW=1, DFSC=0x0F)),
            "read, the walk of stage 1 stopped by stage 2: Permission fault, level 3",
        ),
        (esr(EC.IABT_LOWER, 0x04), "instruction fetch: Translation fault, level 0"),
        (0x3E << 26, "a class that the Arm ARM has not allocated"),
    ],
)
def test_a_syndrome_in_a_line(value: int, summary: str) -> None:
    assert summary_of_esr(value) == summary
    assert explain_esr(value)[0] == f"ESR = {value:#x}: {summary}"


def test_each_field_of_the_iss_is_shown() -> None:
    lines = [line.strip() for line in explain_esr(0x96000046)]
    assert "6  WnR = 0x1  a write" in lines
    assert "5:0  DFSC = 0x6  Translation fault, level 2" in lines


def test_reserved_bits_are_named() -> None:
    assert explain_esr(3 << 60)[-1].strip() == "WRONG: RES0 bits 63:56 are set (0x30)"
    assert "WRONG: RES0 bits are set (0x1)" in "\n".join(explain_esr(esr(EC.ERET, 1 << 2)))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0x00, "Address size fault, level 0"),
        (0x17, "Synchronous External abort on a walk, level 3"),
        (0x2B, "Translation fault, level -1"),
        (0x21, "Alignment fault"),
        (0x12, "reserved code 0x12"),
    ],
)
def test_fault_status_codes(code: int, words: str) -> None:
    assert fault_words(code) == words


def test_what_is_no_syndrome_is_refused() -> None:
    with pytest.raises(UserError) as refused:
        explain_esr(1 << 64)
    assert str(refused.value) == "0x10000000000000000 is no syndrome: ESR_ELx has 64 bits."
