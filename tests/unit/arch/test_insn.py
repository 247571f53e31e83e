"""System instructions as objects."""

from __future__ import annotations

import re

import pytest

from vel2.arch import insn
from vel2.arch.bits import Encoding
from vel2.arch.insn import AT, DC, IC, TLBI, SysInsn


def test_an_instruction_knows_its_name_and_place() -> None:
    assert TLBI.VAE1IS.name == "TLBI VAE1IS"
    assert repr(TLBI.VAE1IS) == "TLBI.VAE1IS"
    assert TLBI.VAE1IS.encoding == Encoding(1, 0, 8, 3, 1)
    assert TLBI.VAE1IS.trap_key == 0x4883
    assert AT.S12E1W.encoding.generic_name == "S1_4_C7_C8_5"
    assert insn.by_key(TLBI.IPAS2E1IS.trap_key) is TLBI.IPAS2E1IS
    assert insn.by_name("DC CIVAC") is DC.CIVAC


def test_nothing_is_found_where_nothing_is() -> None:
    assert insn.by_key(Encoding(1, 7, 15, 15, 7).trap_key) is None
    with pytest.raises(KeyError) as error:
        insn.by_name("TLBI.VAE1")
    assert error.value.args[0] == (
        "TLBI.VAE1 is not a system instruction known here; write it as TLBI VAE1IS."
    )


def test_only_instructions_that_act_on_all_take_no_register() -> None:
    without = {one.name for one in insn.ALL_INSNS if not one.takes_register}
    tlbi = {name for name in without if name.startswith("TLBI")}
    assert all(re.match(r"TLBI (VMALL|ALLE|PAALL)", name) for name in tlbi)
    assert without - tlbi == {
        *("IC IALLU", "IC IALLUIS", "BRB IALL", "BRB INJ"),
        *("GCS PUSHX", "GCS POPCX", "GCS POPX"),
    }
    assert IC.IVAU.takes_register
    assert not TLBI.VMALLS12E1OSNXS.takes_register


def test_nxs_forms_differ_in_crn_only() -> None:
    nxs = [one for one in insn.ALL_INSNS if one.name.endswith("NXS")]
    assert len(nxs) == 81
    for one in nxs:
        plain = insn.by_name(one.name.removesuffix("NXS"))
        assert plain.encoding.CRn == 8
        assert one.encoding == plain.encoding._replace(CRn=9)
        assert one.takes_register == plain.takes_register


def test_each_tlbi_has_three_domains() -> None:
    """Local, inner and outer shareable forms come together; only RME's act on all anyway."""
    names = {one.name for one in insn.ALL_INSNS if one.name.startswith("TLBI")}
    for name in names - {"TLBI PAALL", "TLBI PAALLOS", "TLBI RPAOS", "TLBI RPALOS"}:
        end = "NXS" if name.endswith("NXS") else ""
        stem = re.sub(r"(IS|OS)$", "", name.removesuffix("NXS"))
        assert {f"{stem}{domain}{end}" for domain in ("", "IS", "OS")} <= names


def test_a_duplicate_encoding_is_refused() -> None:
    class ONE:
        A = SysInsn(0, 7, 0, 0)

    class TWO:
        B = SysInsn(0, 7, 0, 0)

    sentence = "TWO B and ONE A have the same encoding S1_0_C7_C0_0; one of them is wrong."
    with pytest.raises(TypeError, match="^" + re.escape(sentence) + "$"):
        insn.index([ONE, TWO])


def test_an_encoding_no_instruction_can_carry_is_refused() -> None:
    class BAD:
        A = SysInsn(8, 7, 0, 0)

    with pytest.raises(TypeError, match=r"^BAD A: op1=8 is out of range; it is 0 to 7\.$"):
        insn.index([BAD])
