"""`vel2 features`: what the records say of a feature, in lines."""

from __future__ import annotations

from tests.unit.cli.test_main import invoke


def test_a_feature_is_described() -> None:
    assert invoke("features", "FEAT_TCR2").stdout.splitlines() == [
        "FEAT_TCR2: ID_AA64MMFR3_EL1.TCRX >= 1",
        "L1 sees it where the machine has it.",
        "registers: TCR2_EL1 TCR2_EL2 TCR2_EL12",
        "control bits: HCRX_EL2.TCR2En",
    ]


def test_a_hidden_feature_says_why_and_what_using_it_does() -> None:
    lines = invoke("features", "FEAT_LOR").stdout.splitlines()
    assert lines[1:3] == ["hidden: not useful to a guest hypervisor", "using it: UNDEFINED"]


def test_all_features_are_listed() -> None:
    lines = invoke("features").stdout.splitlines()
    assert len(lines) > 150
    assert any(line.split() == ["FEAT_SCTLR2", "shown"] for line in lines)
