"""Trap controls: audits, coverage, and the decision for register values."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vel2.arch import controls, insn
from vel2.arch import sysregs as sr
from vel2.arch.bits import Encoding
from vel2.arch.controls import (
    BY_NAME,
    COARSE,
    EXACT,
    FINE,
    controls_of,
    expand,
    fine_traps,
    index_coarse,
    index_controls,
    index_fine,
    row_of,
    traps,
)
from vel2.arch.insn import AT, DC, TLBI
from vel2.arch.trap_rows import (
    COARSE_ROWS,
    CONTROLS,
    FINE_OTHER,
    FINE_ROWS,
    RANGES,
    CoarseRow,
    Combination,
    Control,
    FineOther,
    FineRow,
    Irregular,
    RangeRow,
)

NV = Control("HCR_NV", "HCR_EL2", "NV", 1)


def says(sentence: str) -> str:
    return "^" + re.escape(sentence) + "$"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([NV, NV], "control HCR_NV is declared twice; keep one."),
        (
            [Combination("X", ("HCR_NV",)), NV],
            "control X: its part HCR_NV is not declared before it.",
        ),
        (
            [Control("X", "HCR_EL2", "NW", 1)],
            "control X: HCR_EL2 has no field NW; the nearest are RW, NV.",
        ),
        (
            [Control("X", "CPTR_EL2", "TAM", 1)],
            "control X: CPTR_EL2 changes layout with E2H; name CPTR_EL2_E2H.",
        ),
        (
            [Control("X", "HCR_EL2", "NV", 2)],
            "control X: NV & 0x1 can not be 0x2; the field has bits 42.",
        ),
        (
            [Control("X", "MDCR_EL2", "E2PB", 2, mask=1)],
            "control X: E2PB & 0x1 can not be 0x2; the field has bits 13:12.",
        ),
        (
            [Control("X", "HCR_EL2", "NV", 1, reads=False, writes=False)],
            "control X traps neither reads nor writes.",
        ),
    ],
)
def test_a_wrong_control_is_refused(
    rows: list[Control | Combination | Irregular], sentence: str
) -> None:
    with pytest.raises(TypeError, match=says(sentence)):
        index_controls(rows)


def test_a_control_of_an_unknown_register_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^control X: HRC_EL2 is not a register known here;"):
        index_controls([Control("X", "HRC_EL2", "NV", 1)])


@pytest.mark.parametrize(
    ("rows", "ranges", "sentence"),
    [
        ([CoarseRow("NO", "HCR_EL2")], [], "row NO: no such control."),
        ([], [RangeRow("NO", 3, (0, 0), (0, 0))], "row NO: no such control."),
        (
            [CoarseRow("HCR_NV", "HCR_EL2"), CoarseRow("HCR_TVM", "HCR_EL2")],
            [],
            "row HCR_TVM: HCR_EL2 is covered by row HCR_NV too.",
        ),
        (
            [CoarseRow("HCR_TVM", "SCTLR_EL12")],
            [RangeRow("HCR_NV", 3, (5, 5), (1, 1))],
            "row HCR_NV: the range from S3_5_C1_C0_0 overlaps row HCR_TVM.",
        ),
        ([CoarseRow("HCR_NV", "NO*_EL2")], [], "row HCR_NV: no register is called NO*_EL2."),
        (
            [CoarseRow("HCR_NV", "TLBI.NO")],
            [],
            "row HCR_NV: TLBI NO is not a system instruction known here; write it as TLBI VAE1IS.",
        ),
    ],
)
def test_a_wrong_coarse_row_is_refused(
    rows: list[CoarseRow], ranges: list[RangeRow], sentence: str
) -> None:
    with pytest.raises(TypeError, match=says(sentence)):
        index_coarse(rows, ranges, BY_NAME)


def test_a_row_with_an_unknown_register_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^row HCR_NV: HRC_EL2 is not a register known here;"):
        index_coarse([CoarseRow("HCR_NV", "HRC_EL2")], [], BY_NAME)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (
            FineRow("NoSuchField", "HCR_EL2"),
            "row NoSuchField: no fine-grained trap register has this field.",
        ),
        (
            FineRow("VBAR_EL1", "VBAR_EL1 TTBR1_EL1"),
            "HFGRTR_EL2.TTBR1_EL1: TTBR1_EL1 is covered by HFGRTR_EL2.VBAR_EL1 too.",
        ),
    ],
)
def test_a_wrong_fine_row_is_refused(row: FineRow, sentence: str) -> None:
    with pytest.raises(TypeError, match=says(sentence)):
        index_fine([*FINE_ROWS, row], FINE_OTHER)


def test_a_fine_field_that_covers_nothing_is_refused() -> None:
    rows = [row for row in FINE_ROWS if row.field != "DCZVA"]
    with pytest.raises(TypeError, match=r"^HFGITR_EL2\.DCZVA: DCZVA is not a register known here;"):
        index_fine(rows, FINE_OTHER)


def test_a_fine_field_of_another_class_must_exist() -> None:
    with pytest.raises(TypeError, match=r"^HFGITR_EL2 has no field HVC;"):
        index_fine(FINE_ROWS, [*FINE_OTHER, FineOther("HFGITR_EL2", "HVC", 0x16, "HVC")])


def test_polarity_is_what_the_name_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sr.HFGRTR_EL2.nPIR_EL1, "negative", False)
    sentence = (
        "HFGRTR_EL2.nPIR_EL1: a name with a leading n, and only that, is an enable;"
        " the field says negative=False."
    )
    with pytest.raises(TypeError, match=says(sentence)):
        index_fine(FINE_ROWS, FINE_OTHER)


def test_a_family_is_numbers_only() -> None:
    names = [name for name, _ in expand("ICH_AP*R*_EL2 PMEVCNTR*_EL0", "here")]
    assert len(names) == 8 + 31
    assert "ICH_AP1R3_EL2" in names
    assert "PMEVCNTR30_EL0" in names
    assert [name for name, _ in expand("SPMEVFILTR*_EL0", "here")] == [
        f"SPMEVFILTR{n}_EL0" for n in range(16)
    ]


def name_of(key: int) -> str:
    register, one = sr.by_key(key), insn.by_key(key)
    return register.name if register else one.name if one else hex(key)


def test_every_el2_and_el12_register_is_covered() -> None:
    """No register of EL2 can be reached by L2 without L1 being asked, but those that UNDEF."""
    for register in sr.ALL_REGISTERS:
        if register.encoding.op1 not in (4, 5) or "MEC" in register.name:
            continue
        control = COARSE[register.trap_key]
        assert control in ("HCR_NV", "NV_nNV2", "NV_nNVTGE", "NV_EL1NVPCT", "NV_EL1NVVCT"), (
            register.name,
            control,
        )


def test_every_tlbi_and_at_of_el1_and_el2_is_covered() -> None:
    for one in insn.ALL_INSNS:
        if one.encoding.CRn in (8, 9) or one.name.startswith("AT "):
            assert (one.trap_key in COARSE) == (one.encoding.op1 != 6), one.name
    assert COARSE[TLBI.VAE1.trap_key] == "HCR_TTLB"
    assert COARSE[TLBI.VAE1ISNXS.trap_key] == "TTLB_TTLBIS"
    assert COARSE[TLBI.RVAALE1OS.trap_key] == "TTLB_TTLBOS"
    assert COARSE[TLBI.RIPAS2LE1OSNXS.trap_key] == "HCR_NV"
    assert sum(COARSE[k] == "HCR_TTLB" for k in EXACT) == 20


def test_every_control_is_used() -> None:
    used = {row.control for row in COARSE_ROWS} | {span.control for span in RANGES}
    parts = {p for c in CONTROLS if isinstance(c, Combination) for p in c.parts}
    assert set(BY_NAME) == used | parts


@pytest.mark.parametrize(
    ("encoding", "control"),
    [
        (Encoding(3, 0, 0, 1, 0), "HCR_TID3"),
        (Encoding(3, 0, 0, 7, 7), "HCR_TID3"),
        (Encoding(3, 0, 0, 0, 0), None),
        (Encoding(3, 0, 0, 8, 0), None),
        (Encoding(3, 7, 15, 15, 7), "HCR_TIDCP"),
        (Encoding(3, 4, 11, 0, 0), "HCR_TIDCP"),
        (Encoding(3, 5, 11, 0, 0), "HCR_TIDCP"),
        (Encoding(3, 5, 10, 15, 7), "HCR_NV"),
        (Encoding(2, 1, 7, 15, 7), "CPTR_TTA"),
        (Encoding(2, 1, 8, 0, 0), None),
        (sr.SMIDR_EL1.encoding, "HCR_TID1"),
        (sr.SP_EL1.encoding, "NV_nNV2"),
        (sr.SP_EL0.encoding, None),
        (sr.TPIDR_EL1.encoding, None),
        (sr.CNTVCT_EL0.encoding, "CNTHCTL_EL1TVCT"),
        (DC.CVAU.encoding, "TPU_TOCU"),
        (AT.S12E0W.encoding, "HCR_NV"),
        (AT.S1E0R.encoding, "HCR_AT"),
    ],
)
def test_coarse_control(encoding: Encoding, control: str | None) -> None:
    assert COARSE.get(encoding.trap_key) == control
    assert controls_of(encoding.trap_key).coarse == control
    row = row_of(encoding.trap_key)
    assert (row.control if row else None) == control


def test_exact_leaves_out_the_ranges() -> None:
    assert set(EXACT.items()) < set(COARSE.items())
    assert Encoding(3, 0, 15, 0, 0).trap_key not in EXACT


@pytest.mark.parametrize(
    ("key", "is_read", "register", "field", "polarity"),
    [
        (sr.SCTLR_EL1.trap_key, True, "HFGRTR_EL2", "SCTLR_EL1", 1),
        (sr.SCTLR2_EL1.trap_key, False, "HFGWTR_EL2", "SCTLR_EL1", 1),
        (sr.PIR_EL1.trap_key, False, "HFGWTR_EL2", "nPIR_EL1", 0),
        (sr.MIDR_EL1.trap_key, True, "HFGRTR_EL2", "MIDR_EL1", 1),
        (sr.DBGBVR9_EL1.trap_key, True, "HDFGRTR_EL2", "DBGBVRn_EL1", 1),
        (sr.PMSWINC_EL0.trap_key, False, "HDFGWTR_EL2", "PMSWINC_EL0", 1),
        (sr.AMEVCNTR13_EL0.trap_key, True, "HAFGRTR_EL2", "AMEVCNTR13_EL0", 1),
        (sr.PMZR_EL0.trap_key, False, "HDFGWTR2_EL2", "nPMZR_EL0", 0),
        (DC.CIGDVAC.trap_key, False, "HFGITR_EL2", "DCCIVAC", 1),
        (TLBI.RVAE1OS.trap_key, False, "HFGITR_EL2", "TLBIRVAE1OS", 1),
    ],
)
def test_fine_control(key: int, is_read: bool, register: str, field: str, polarity: int) -> None:
    fine = FINE[key, is_read]
    assert (fine.register, fine.field, fine.polarity) == (register, field, polarity)
    assert (controls_of(key).read if is_read else controls_of(key).write) == fine


def test_a_direction_that_does_not_exist_has_no_fine_control() -> None:
    assert (sr.MIDR_EL1.trap_key, False) not in FINE
    assert (sr.OSLAR_EL1.trap_key, True) not in FINE
    for key, is_read in FINE:
        register = sr.by_key(key)
        if register is not None:
            assert register.access != ("WO" if is_read else "RO"), register.name
        else:
            assert insn.by_key(key) is not None
            assert not is_read


def test_reads_and_writes_of_a_register_have_the_same_field() -> None:
    apart = set()
    for key, is_read in FINE:
        if is_read and (key, False) in FINE and FINE[key, True].field != FINE[key, False].field:
            apart.add(name_of(key))
    assert apart == set()


def test_a_read_write_register_is_trapped_both_ways_or_not() -> None:
    """A register with a bit for one direction only is one that has the other in no register."""
    one_way = {
        name_of(key)
        for key, is_read in FINE
        if (register := sr.by_key(key))
        and register.access == "RW"
        and (key, not is_read) not in FINE
    }
    amu = {r.name for r in sr.ALL_REGISTERS if r.name.startswith("AM") and "_EL0" in r.name}
    assert one_way - amu == {"PMCR_EL0", "TRFCR_EL1"}


def hcr(**fields: int) -> dict[str, int]:
    return {"HCR_EL2": sr.HCR_EL2.compose(**fields), "HCRX_EL2": 0}


@pytest.mark.parametrize(
    ("control", "values", "is_read", "answer"),
    [
        ("HCR_TID3", hcr(TID3=1), True, True),
        ("HCR_TID3", hcr(TID3=1), False, False),
        ("HCR_TID3", hcr(), True, False),
        ("TVM_TRVM", hcr(TVM=1), False, True),
        ("TVM_TRVM", hcr(TVM=1), True, False),
        ("TVM_TRVM", hcr(TRVM=1), True, True),
        ("TVM_TRVM_TCR2En", hcr(), True, True),
        ("HCR_nAPK", hcr(), True, True),
        ("HCR_nAPK", hcr(APK=1), True, False),
        ("NV_nNV2", hcr(NV=1), True, True),
        ("NV_nNV2", hcr(NV=1, NV2=1), True, False),
        ("NV_nNV2", hcr(), True, False),
        ("NV_NV1_nNV2", hcr(NV=1, NV1=1), False, True),
        ("TTLB_TTLBIS", hcr(TTLBIS=1), False, True),
        ("TTLB_TTLBOS", hcr(TTLBIS=1), False, False),
        ("MDCR_E2PB", {"MDCR_EL2": 0}, True, True),
        ("MDCR_E2PB", {"MDCR_EL2": 2 << 12}, True, True),
        ("MDCR_E2PB", {"MDCR_EL2": 3 << 12}, True, False),
        ("TPM_HPMN", {"MDCR_EL2": 1 << 6}, True, True),
        ("TPM_HPMN", {"MDCR_EL2": 0}, True, None),
        ("HPMN", {}, True, None),
        ("CNTHCTL_nEL1PCTEN", {"CNTHCTL_EL2_E2H": 0}, True, True),
        ("CNTHCTL_nEL1PCTEN", {"CNTHCTL_EL2_E2H": 1 << 10}, True, False),
    ],
)
def test_decision(control: str, values: dict[str, int], is_read: bool, answer: bool | None) -> None:
    assert traps(control, values, is_read=is_read) is answer


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1), st.booleans())
def test_el02_timers_follow_their_rule(hcr_el2: int, cnthctl: int, is_read: bool) -> None:
    """Against the rule written out: a plain NV trap unless the access goes to memory."""
    h, values = sr.HCR_EL2, {"HCR_EL2": hcr_el2, "CNTHCTL_EL2_E2H": cnthctl}
    nv, nv1, nv2 = (f.get(hcr_el2) for f in (h.NV, h.NV1, h.NV2))
    to_memory = nv and nv2 and not nv1
    # The Arm ARM leaves {E2H,TGE}={1,1} out, but no PE is at EL1 then.
    expected = sr.CNTHCTL_EL2_E2H.EL1NVPCT.get(cnthctl) if to_memory else nv
    assert traps("NV_EL1NVPCT", values, is_read=is_read) is bool(expected)


def test_fine_decision() -> None:
    positive, negative = FINE[sr.VBAR_EL1.trap_key, True], FINE[sr.PIR_EL1.trap_key, True]
    bit = sr.HFGRTR_EL2.compose(VBAR_EL1=1, nPIR_EL1=1)
    assert fine_traps(positive, {"HFGRTR_EL2": bit})
    assert not fine_traps(positive, {"HFGRTR_EL2": 0})
    assert fine_traps(negative, {"HFGRTR_EL2": 0})
    assert not fine_traps(negative, {"HFGRTR_EL2": bit})


@pytest.mark.parametrize(("form", "filtered"), [(TLBI.VAE1IS, True), (TLBI.VAE1ISNXS, False)])
def test_nxs_forms_can_be_left_alone(form: insn.SysInsn, filtered: bool) -> None:
    fine = FINE[form.trap_key, False]
    bit = sr.HFGITR_EL2.compose(TLBIVAE1IS=1)
    assert fine_traps(fine, {"HFGITR_EL2": bit, "HCRX_EL2": 0})
    spared = {"HFGITR_EL2": bit, "HCRX_EL2": sr.HCRX_EL2.compose(FGTnXS=1)}
    assert fine_traps(fine, spared) is filtered


def test_what_is_reported_under_another_class() -> None:
    assert {(o.register, o.field): o.ec for o in FINE_OTHER}["HFGITR_EL2", "ERET"] == 0x1A
    covered = {(fine.register, fine.field) for fine in FINE.values()}
    assert covered.isdisjoint({(o.register, o.field) for o in FINE_OTHER})


def test_rows_are_kept_for_messages() -> None:
    row = row_of(sr.CTR_EL0.trap_key)
    assert row == CoarseRow("HCR_TID2", "CTR_EL0")
    assert row in COARSE_ROWS
    assert FINE[sr.GCSPR_EL0.trap_key, True].row == FineRow("nGCS_EL0", "GCSCRE0_EL1 GCSPR_EL0")
    assert isinstance(row_of(Encoding(3, 0, 15, 0, 0).trap_key), RangeRow)
    assert controls.BY_NAME["HPMN"] == next(c for c in CONTROLS if c.name == "HPMN")
