"""Fields and layouts: arithmetic, views, and the sentence of each audit."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vel2.arch import sysregs
from vel2.arch.bits import (
    Encoding,
    Field,
    Ignored,
    Layout,
    Register,
    Res0,
    Res1,
    Reserved,
    Unknown,
    derive,
    encoding_from_trap_key,
    trap_key_from_iss,
)
from vel2.arch.esr import ISS_SYS64


class Colour(IntEnum):
    RED = 1
    BLUE = 2


class Sample(Layout, width=16):
    """A layout with one of everything."""

    TOP = Field(15)
    _14 = Res0(14, 13)
    COLOUR = Field(12, 11, Colour)
    nEN = Field(10, negative=True)
    _9 = Res1(9)
    _8 = Unknown(8)
    _7 = Ignored(7)
    LOW = Field(6, 0)


HERE = {"op0": 3, "op1": 4, "CRn": 1, "CRm": 1, "op2": 0}


def refused(exactly: str) -> Any:
    """Expect a TypeError with exactly this sentence."""
    return pytest.raises(TypeError, match="^" + re.escape(exactly) + "$")


fields = st.integers(0, 63).flatmap(
    lambda lsb: st.integers(lsb, 63).map(lambda msb: Field(msb, lsb))
)
words = st.integers(0, (1 << 64) - 1)


@given(fields, words, st.data())
def test_set_then_get_gives_the_value_and_touches_nothing_else(
    field: Field, value: int, data: st.DataObject
) -> None:
    x = data.draw(st.integers(0, field.ones))
    after = field.set(value, x)
    assert field.get(after) == x
    assert after & ~field.mask == value & ~field.mask
    assert field.set(after, field.get(value)) == value
    assert field.put(x) == x << field.lsb
    assert field.mask == field.ones << field.lsb
    assert field.width == field.msb - field.lsb + 1 == field.ones.bit_length()


@given(words)
def test_every_register_of_a_value_is_made_of_its_fields(value: int) -> None:
    for register in (sysregs.HCR_EL2, sysregs.VTCR_EL2, sysregs.ICH_LR3_EL2, sysregs.ESR_EL1):
        assert sum(f.put(f.get(value)) for f in register.fields) == value


def test_masks_partition_the_register() -> None:
    assert (Sample.known, Sample.res0, Sample.res1) == (0x9C7F, 0x6000, 0x0200)
    for register in sysregs.ALL_REGISTERS:
        rest = sum(f.mask for f in register.fields if isinstance(f, (Unknown, Ignored)))
        assert register.known ^ register.res0 ^ register.res1 ^ rest == (1 << 64) - 1, register.name


@pytest.mark.parametrize("x", [-1, 4, 1 << 40])
def test_a_value_that_does_not_fit_is_refused(x: int) -> None:
    sentence = f"Sample.COLOUR: {x:#x} does not fit bits 12:11; give a value from 0 to 0x3."
    with pytest.raises(ValueError, match="^" + re.escape(sentence) + "$"):
        Sample.COLOUR.put(x)


def test_compose() -> None:
    assert Sample.compose(TOP=1, COLOUR=Colour.BLUE, LOW=5) == 0x9005
    assert Sample.compose() == 0
    with refused("Sample has no field COLOR; the nearest are COLOUR, LOW."):
        Sample.compose(COLOR=1)
    with refused("Sample has no field _14; it has TOP, COLOUR, nEN, LOW."):
        Sample.compose(_14=1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0x0200, "0"),
        (0x8205, "TOP|LOW=0x5"),
        (0x1200, "COLOUR=BLUE"),
        (0x1A00, "COLOUR=0x3"),
        (0x4600, "RES0[14:13]=0x2|nEN"),
        (0x0100, "RES1[9]=0x0|UNKNOWN[8]=0x1"),
        (0x0280, "IGNORED[7]=0x1"),
        (0x30200, "beyond[16]=0x3"),
    ],
)
def test_describe(value: int, text: str) -> None:
    assert Sample.describe(value) == text


def test_an_instance_reads_and_writes_its_fields() -> None:
    sample = Sample(0x9205)
    assert (sample.TOP, sample.COLOUR, sample.LOW) == (1, 2, 5)
    sample.COLOUR = Colour.RED
    sample.LOW = 0
    assert int(sample) == 0x8A00
    assert str(sample) == "TOP|COLOUR=RED"
    with pytest.raises(ValueError, match=r"Sample\.TOP: 0x2 does not fit bits 15;"):
        sample.TOP = 2


def test_repr_evaluates_back() -> None:
    sample = Sample(0x9205)
    assert eval(repr(sample)) == sample
    assert hash(eval(repr(sample))) == hash(sample)
    assert sample != Sample(0x9204)
    assert repr(Sample.LOW) == "Sample.LOW"
    assert repr(Field(5, 3)) == "Field(5:3)"


def test_an_instance_holds_only_values_of_its_width() -> None:
    with pytest.raises(ValueError, match=r"^Sample: 0x10000 is not a 16-bit value;"):
        Sample(1 << 16)


def test_a_subclass_owns_copies_of_the_fields() -> None:
    class Second(Sample):
        """Laid out as Sample."""

    assert Second.width == 16
    assert [f.bits for f in Second.fields] == [f.bits for f in Sample.fields]
    assert Second.LOW is not Sample.LOW
    assert (Second.LOW.register, Sample.LOW.register) == (Second, Sample)
    assert Second.COLOUR.enum is Colour
    assert Second.nEN.negative


def test_a_gap_is_refused() -> None:
    with refused("Gap: bits 62:8 are not declared; name them or write Res0(62, 8)."):

        class Gap(Register, **HERE):
            A = Field(63)
            B = Field(7, 0)


def test_a_gap_at_either_end_is_refused() -> None:
    with refused("High: bits 63:8 are not declared; name them or write Res0(63, 8)."):

        class High(Register, **HERE):
            B = Field(7, 0)

    with refused("Low: bits 7:0 are not declared; name them or write Res0(7, 0)."):

        class Low(Register, **HERE):
            B = Field(63, 8)


def test_an_overlap_is_refused() -> None:
    with refused("Twice: bits 7:4 are declared twice, by A and B."):

        class Twice(Register, **HERE):
            A = Field(63, 4)
            B = Field(7, 0)


def test_a_field_inside_another_is_refused() -> None:
    with refused("Inside: bits 12:11 are declared twice, by A and B."):

        class Inside(Register, **HERE):
            A = Field(63, 0)
            B = Field(12, 11)


def test_bits_out_of_range_are_refused() -> None:
    with refused("Wide.A: bits 16:0 are out of range; Wide has bits 15:0, highest first."):

        class Wide(Layout, width=16):
            A = Field(16, 0)


def test_bits_in_the_wrong_order_are_refused() -> None:
    with refused("Swapped.A: bits 0:15 are out of range; Swapped has bits 15:0, highest first."):

        class Swapped(Layout, width=16):
            A = Field(0, 15)


def test_an_enum_value_that_does_not_fit_is_refused() -> None:
    class Big(IntEnum):
        HUGE = 4

    with refused("Odd.A: Big.HUGE = 0x4 does not fit bits 1:0."):

        class Odd(Layout, width=2):
            A = Field(1, 0, Big)


def test_an_enum_with_a_value_twice_is_refused() -> None:
    class Same(IntEnum):
        ONE = 1
        UNO = 1

    with refused("Odd.A: Same.UNO and .ONE are both 0x1; keep one."):

        class Odd(Layout, width=2):
            A = Field(1, 0, Same)


def test_a_register_without_fields_is_refused() -> None:
    with refused("Empty: bits 63:0 are not declared; name them or write Res0(63, 0)."):

        class Empty(Register, **HERE):
            pass


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"op0": 4}, "Bad: op0=4 is out of range; it is 0 to 3."),
        ({"CRm": 16}, "Bad: CRm=16 is out of range; it is 0 to 15."),
        ({"op2": -1}, "Bad: op2=-1 is out of range; it is 0 to 7."),
        ({"access": "R"}, "Bad: access='R' is unknown; it is RW, RO or WO."),
        ({"vncr": 8}, "Bad: vncr and vncr_class go together; one of them is missing."),
        (
            {"vncr": 0x7C, "vncr_class": "A"},
            "Bad: VNCR offset 0x7c is not a multiple of 8 below 0x1000.",
        ),
        (
            {"vncr": 0x1000, "vncr_class": "A"},
            "Bad: VNCR offset 0x1000 is not a multiple of 8 below 0x1000.",
        ),
        ({"vncr": 8, "vncr_class": "Q"}, "Bad: vncr_class='Q' is unknown; it is A or P."),
    ],
)
def test_what_a_register_says_of_itself_is_checked(wrong: dict[str, Any], sentence: str) -> None:
    with refused(sentence):

        class Bad(Register, **(HERE | wrong)):
            A = Field(63, 0)


def test_a_register_that_forgets_its_encoding_is_refused() -> None:
    with refused("Lost: op0=-1 is out of range; it is 0 to 3."):

        class Lost(Register):
            A = Field(63, 0)


def test_derive_keeps_fields_and_gives_a_new_identity() -> None:
    twin = derive(sysregs.SCTLR_EL1, "SCTLR_EL13", Encoding(3, 5, 1, 0, 1), access="RO")
    assert twin.name == twin.__name__ == "SCTLR_EL13"
    assert twin.encoding == Encoding(3, 5, 1, 0, 1)
    assert twin.M.full_name == "SCTLR_EL13.M"
    assert (twin.access, twin.e2h, twin.vncr) == ("RO", None, None)
    assert sysregs.SCTLR_EL1.access == "RW"


encodings = st.builds(
    Encoding,
    st.integers(0, 3),
    st.integers(0, 7),
    st.integers(0, 15),
    st.integers(0, 15),
    st.integers(0, 7),
)


@given(encodings, st.integers(0, 31), st.integers(0, 1))
def test_trap_key_is_the_syndrome_without_rt_and_direction(
    encoding: Encoding, rt: int, direction: int
) -> None:
    iss = ISS_SYS64.compose(
        Op0=encoding.op0,
        Op1=encoding.op1,
        CRn=encoding.CRn,
        CRm=encoding.CRm,
        Op2=encoding.op2,
        Rt=rt,
        Direction=direction,
    )
    assert trap_key_from_iss(iss) == encoding.trap_key
    assert encoding_from_trap_key(encoding.trap_key) == encoding


def test_names_of_an_encoding() -> None:
    assert sysregs.HCR_EL2.encoding.generic_name == "S3_4_C1_C1_0"
    assert sysregs.HCR_EL2.encoding.trap_key == sysregs.HCR_EL2.trap_key == 0xC411


def test_reserved_bits_are_not_fields_to_ask_for() -> None:
    assert all(isinstance(f, Reserved) for f in Sample.fields if f.name.startswith("_"))
    with refused("Sample has no field _9; it has TOP, COLOUR, nEN, LOW."):
        Sample.field("_9")
