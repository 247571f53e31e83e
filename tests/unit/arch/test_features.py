"""The records of the features account for every field, and name only what there is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vel2.arch import sysregs as sr
from vel2.arch.features import (
    FEATURES,
    FIXED,
    Feature,
    by_name,
    control_bits,
    registers_of,
)

IDENTIFICATION = [
    *(sr.ID_AA64PFR0_EL1, sr.ID_AA64PFR1_EL1, sr.ID_AA64PFR2_EL1, sr.ID_AA64DFR0_EL1),
    *(sr.ID_AA64DFR1_EL1, sr.ID_AA64ISAR0_EL1, sr.ID_AA64ISAR1_EL1, sr.ID_AA64ISAR2_EL1),
    *(sr.ID_AA64ISAR3_EL1, sr.ID_AA64MMFR0_EL1, sr.ID_AA64MMFR1_EL1, sr.ID_AA64MMFR2_EL1),
    *(sr.ID_AA64MMFR3_EL1, sr.ID_AA64MMFR4_EL1),
]


@pytest.mark.parametrize("register", IDENTIFICATION, ids=lambda register: register.name)
def test_every_field_has_been_thought_about(register: type[sr.Register]) -> None:
    told = {each.field for each in (*FEATURES, *FIXED)}
    fields = {field for field in register.fields if not field.name.startswith("_")}
    assert fields <= told


def test_a_field_is_fixed_or_tells_of_features() -> None:
    fixed = [each.field for each in FIXED]
    assert len(set(fixed)) == len(fixed)
    assert not set(fixed) & {each.field for each in FEATURES}


def test_names_and_values_are_used_once() -> None:
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names)
    places = [(feature.field, feature.value) for feature in FEATURES]
    assert len(set(places)) == len(places)
    assert all(0 <= each.value <= each.field.ones for each in (*FEATURES, *FIXED))


def test_what_is_hidden_comes_after_what_is_shown() -> None:
    """A field is capped, so it can hide only its upper values."""
    for feature in FEATURES:
        shown = [each.value for each in FEATURES if each.field is feature.field and not each.hidden]
        if feature.hidden and shown:
            assert feature.value > max(shown), feature.name


def test_registers_belong_to_one_feature() -> None:
    owners: dict[type[sr.Register], str] = {}
    for feature in FEATURES:
        for register in registers_of(feature):
            assert owners.setdefault(register, feature.name) == feature.name, register.name


def test_a_register_that_is_none_is_refused() -> None:
    wrong = replace(by_name("FEAT_TCR2"), registers="TCR2_EL1 TCR3_EL1")
    with pytest.raises(ValueError, match="FEAT_TCR2: TCR3_EL1 is no register"):
        registers_of(wrong)


def test_controls_are_fields_of_control_registers() -> None:
    for feature in FEATURES:
        assert control_bits(feature, sr.HCRX_EL2) == sum(each.mask for each in feature.controls)
    assert control_bits(by_name("FEAT_XS"), sr.HCRX_EL2) == sr.HCRX_EL2.compose(FGTnXS=1, FnXS=1)


def test_a_field_of_no_register_is_refused() -> None:
    from vel2.arch.esr import ESR_ELx

    with pytest.raises(TypeError, match="is not a field of a register"):
        _ = Feature("FEAT_X", ESR_ELx.EC).register
