"""The register tables: their index, its audits, and facts that code above relies on."""

from __future__ import annotations

import itertools
import re
from types import ModuleType

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding, Field, Register, Res0, Unknown
from vel2.arch.sysregs.el12 import alias


class A_EL2(Register, op0=3, op1=4, CRn=15, CRm=15, op2=7):
    """A register that does not exist."""

    X = Field(63, 0)


class B_EL2(Register, op0=3, op1=4, CRn=15, CRm=15, op2=7):
    """Another one, in the same place."""

    Y = Field(63, 0)


def test_a_duplicate_encoding_is_refused() -> None:
    sentence = (
        "B_EL2 and A_EL2 have the same encoding S3_4_C15_C15_7; mark one layout_of the other."
    )
    with pytest.raises(TypeError, match="^" + re.escape(sentence) + "$"):
        sr.index([A_EL2, B_EL2])


def test_a_duplicate_name_is_refused() -> None:
    class Twin(Register, op0=3, op1=4, CRn=15, CRm=15, op2=6, name="A_EL2"):
        X = Field(63, 0)

    with pytest.raises(TypeError, match=r"^A_EL2 is declared twice; keep one\.$"):
        sr.index([A_EL2, Twin])


@pytest.mark.parametrize("what", ["e2h", "alias_of", "layout_of"])
def test_a_reference_to_nothing_is_refused(what: str) -> None:
    class Pointer(Register, op0=3, op1=4, CRn=15, CRm=15, op2=6, **{what: "NO_EL2"}):
        X = Field(63, 0)

    with pytest.raises(TypeError, match=f"^Pointer: {what} names NO_EL2, which is not declared.$"):
        sr.index([A_EL2, Pointer])


def test_a_layout_at_another_encoding_is_refused() -> None:
    class Elsewhere(Register, op0=3, op1=4, CRn=15, CRm=15, op2=6, layout_of="A_EL2"):
        X = Field(63, 0)

    sentence = "Elsewhere is a layout of A_EL2 but has encoding S3_4_C15_C15_6, not S3_4_C15_C15_7."
    with pytest.raises(TypeError, match="^" + re.escape(sentence) + "$"):
        sr.index([A_EL2, Elsewhere])


def test_a_second_layout_is_found_by_name_only() -> None:
    class Other(Register, op0=3, op1=4, CRn=15, CRm=15, op2=7, layout_of="A_EL2"):
        X = Field(63, 0)

    names, keys = sr.index([A_EL2, Other])
    assert names == {"A_EL2": A_EL2, "Other": Other}
    assert keys == {A_EL2.trap_key: A_EL2}


def test_collect_takes_each_register_once_and_no_family() -> None:
    class Family(Register, family=True):
        X = Field(63, 0)

    module = ModuleType("m")
    vars(module).update(A=A_EL2, again=A_EL2, F=Family, R=Register, z=1, t=(B_EL2,))
    assert sr.collect([module]) == (A_EL2,)


def test_lookups() -> None:
    assert sr.by_name("HCR_EL2") is sr.HCR_EL2
    assert sr.by_key(sr.HCR_EL2.trap_key) is sr.HCR_EL2
    assert sr.by_key(Encoding(3, 4, 15, 15, 7).trap_key) is None
    assert sr.by_name("CPTR_EL2_E2H") is sr.CPTR_EL2_E2H
    with pytest.raises(KeyError) as error:
        sr.by_name("SCTRL_EL1")
    assert error.value.args[0].startswith(
        "SCTRL_EL1 is not a register known here; the nearest are SCTLR_EL1"
    )


def test_all_registers_are_reachable_as_attributes() -> None:
    for register in sr.ALL_REGISTERS:
        assert getattr(sr, register.name) is register
        assert sr.by_name(register.name) is register
        assert sr.by_key(register.trap_key) is register


def test_aliases_share_fields_and_slot_but_not_encoding() -> None:
    aliases = [r for r in sr.ALL_REGISTERS if r.alias_of is not None]
    assert len(aliases) == 42
    for register in aliases:
        assert register.alias_of is not None
        plain = sr.by_name(register.alias_of)
        assert register.name == plain.name + "2"
        assert register.encoding == plain.encoding._replace(op1=5)
        assert (register.vncr, register.vncr_class) == (plain.vncr, plain.vncr_class)
        assert [(f.name, f.bits) for f in register.fields] == [
            (f.name, f.bits) for f in plain.fields
        ]


def test_alias_marks_what_it_stands_for() -> None:
    assert alias(sr.VBAR_EL1).alias_of == "VBAR_EL1"
    assert alias(sr.CNTV_CTL_EL0).name == "CNTV_CTL_EL02"


def test_every_register_with_an_el12_name_is_redirected_by_e2h() -> None:
    """What E2H takes away under its EL1 name, the alias gives back; and nothing else."""
    redirected = {r.name for r in sr.ALL_REGISTERS if r.e2h is not None}
    aliased = {r.alias_of for r in sr.ALL_REGISTERS if r.alias_of is not None}
    assert redirected == aliased


def test_redirection_reaches_the_register_of_the_same_purpose() -> None:
    odd = {"CPACR_EL1": "CPTR_EL2", "CNTKCTL_EL1": "CNTHCTL_EL2", "MPAM1_EL1": "MPAM2_EL2"}
    for register in sr.ALL_REGISTERS:
        if register.e2h is None:
            continue
        name = re.sub(r"_EL[01]$", "_EL2", register.name)
        name = re.sub(r"^CNT([PV])_", r"CNTH\1_", name)
        assert register.e2h == odd.get(register.name, name)
        target = sr.by_name(register.e2h)
        assert target.encoding.op1 == 4


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (sr.HCR_EL2.compose(E2H=1, TGE=1), 0x4_0800_0000),
        (sr.HCR_EL2.compose(NV=1, NV1=1, AT=1, NV2=1), 0x3C00_0000_0000),
        (sr.HCR_EL2.compose(VM=1, IMO=1, FMO=1, AMO=1, RW=1), 0x8000_0039),
        (sr.SCTLR_EL2_RES1_E2H0, 0x30C5_0830),
        (sr.CPTR_EL2.res1, 0x22FF),
        (sr.VTCR_EL2.res1, 0x8000_0000),
        (sr.TCR_EL2.res1, 0x8080_0000),
        (sr.MPIDR_EL1.res1, 0x8000_0000),
        (sr.VNCR_EL2.BADDR.mask, 0x01FF_FFFF_FFFF_F000),
        (sr.VTTBR_EL2.VMID.mask, 0xFFFF_0000_0000_0000),
        (sr.HPFAR_EL2.FIPA.mask, 0x0000_FFFF_FFFF_FFF0),
        (
            sr.ICH_LR0_EL2.compose(State=1, Group=1, HW=1, pINTID=27, vINTID=27),
            0x7000_001B_0000_001B,
        ),
        (sr.CNTHCTL_EL2.compose(EL1PCTEN=1, EL1PCEN=1), 0b11),
        (sr.CNTHCTL_EL2_E2H.compose(EL1PCTEN=1, EL1PTEN=1), 0xC00),
    ],
)
def test_well_known_values(value: int, expected: int) -> None:
    assert value == expected


def test_layouts_of_one_encoding() -> None:
    second = {
        name: register.layout_of
        for name in dir(sr)
        if isinstance(register := getattr(sr, name), type)
        and issubclass(register, Register)
        and getattr(register, "layout_of", None)
    }
    assert second == {
        "CCSIDR_EL1_CCIDX": "CCSIDR_EL1",
        "CNTHCTL_EL2_E2H": "CNTHCTL_EL2",
        "CPTR_EL2_E2H": "CPTR_EL2",
        "DBGDTRTX_EL0": "DBGDTRRX_EL0",
        "PAR_EL1_F": "PAR_EL1",
        "TCR_EL2_E2H": "TCR_EL2",
    }


def test_list_registers_and_priorities_follow_each_other() -> None:
    assert [r.name for r in sr.ICH_LRn_EL2] == [f"ICH_LR{n}_EL2" for n in range(16)]
    for n, register in enumerate(sr.ICH_LRn_EL2):
        assert register.vncr == 0x400 + 8 * n
        assert register.encoding == Encoding(3, 4, 12, 12 + n // 8, n % 8)
        assert register.res0 == 0x0700_E000_0000_0000


def test_id_registers_fill_their_space() -> None:
    """S3_0_C0_C4_0 to C7_7, the AArch64 half of what HCR_EL2.TID3 covers, by name or hole."""
    names = {
        (crm, op2): register.name
        for crm in range(4, 8)
        for op2 in range(8)
        if (register := sr.by_key(Encoding(3, 0, 0, crm, op2).trap_key))
    }
    assert len(names) == 20
    assert all(name.startswith("ID_AA64") for name in names.values())
    for register in map(sr.by_name, names.values()):
        assert register.access == "RO"


def test_res0_is_declared_in_one_piece() -> None:
    for register in sr.ALL_REGISTERS:
        for above, below in itertools.pairwise(register.fields):
            assert not (isinstance(above, Res0) and isinstance(below, Res0)), (above, below)


# Written down from prose about the architecture, apart from the class: position by name.
HCR_EL2_BITS = """
    VM 0 SWIO 1 PTW 2 FMO 3 IMO 4 AMO 5 VF 6 VI 7 VSE 8 FB 9 BSU 11:10 DC 12 TWI 13 TWE 14 TID0 15
    TID1 16 TID2 17 TID3 18 TSC 19 TIDCP 20 TACR 21 TSW 22 TPCP 23 TPU 24 TTLB 25 TVM 26 TGE 27
    TDZ 28 HCD 29 TRVM 30 RW 31 CD 32 ID 33 E2H 34 TLOR 35 TERR 36 TEA 37 MIOCNCE 38 TME 39 APK 40
    API 41 NV 42 NV1 43 AT 44 NV2 45 FWB 46 FIEN 47 GPF 48 TID4 49 TICAB 50 AMVOFFEN 51 TOCU 52
    EnSCXT 53 TTLBIS 54 TTLBOS 55 ATA 56 DCT 57 TID5 58 TWEDEn 59 TWEDEL 63:60
"""


def test_hcr_el2_bit_by_bit() -> None:
    words = HCR_EL2_BITS.split()
    expected = dict(zip(words[::2], words[1::2], strict=True))
    assert {field.name: field.bits for field in sr.HCR_EL2.fields} == expected


@pytest.mark.parametrize(
    ("reads", "writes"),
    [
        (sr.HFGRTR_EL2, sr.HFGWTR_EL2),
        (sr.HFGRTR2_EL2, sr.HFGWTR2_EL2),
        (sr.HDFGRTR_EL2, sr.HDFGWTR_EL2),
        (sr.HDFGRTR2_EL2, sr.HDFGWTR2_EL2),
        (sr.ICH_HFGRTR_EL2, sr.ICH_HFGWTR_EL2),
    ],
    ids=lambda register: register.name,
)
def test_a_fine_grained_bit_has_one_place_for_reads_and_writes(
    reads: type[Register], writes: type[Register]
) -> None:
    """And where the pair differs, it is because the access exists in one direction only."""
    by_name = {f.name: f.bits for f in reads.fields if f.mask & reads.known}
    for field in writes.fields:
        if field.mask & writes.known and field.name in by_name:
            assert field.bits == by_name[field.name]
    for mine, other, missing in ((reads, writes, "RO"), (writes, reads, "WO")):
        names = {f.name for f in other.fields}
        for field in mine.fields:
            name = field.name.removeprefix("n")
            # TRFCR_EL1 and PMCR_EL0 have no read trap although both can be read.
            if name not in dir(sr) or name in ("TRFCR_EL1", "PMCR_EL0"):
                continue
            if field.mask & mine.known and field.name not in names:
                assert sr.by_name(name).access == missing, name


def test_unknown_bits_are_few() -> None:
    """Bits the tables have no name for are the exception: opaque registers are named as such."""
    assert [
        register.name
        for register in sr.ALL_REGISTERS
        if any(isinstance(field, Unknown) for field in register.fields)
    ] == ["CCSIDR_EL1"]
