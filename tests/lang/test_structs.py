"""Structures: one layout for CPython, for C, and for the machine."""

from __future__ import annotations

import ctypes
import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vel2.lang import PA, Struct, array, nested, scalar, u8, u16, u32, u64
from vel2.lang.structs import StructMeta

SCALARS = {1: u8, 2: u16, 4: u32, 8: u64}
C_TYPES = {1: ctypes.c_uint8, 2: ctypes.c_uint16, 4: ctypes.c_uint32, 8: ctypes.c_uint64}


class Timer(Struct):
    ctl = scalar(u32)
    enabled = scalar(bool)
    cval = scalar(u64)


class Vcpu(Struct):
    level = scalar(u8)
    x = array(u64, 31)
    timer = nested(Timer)
    timers = array(Timer, 3)
    names = array(u16, 5)
    page = scalar(PA)


def test_layout_is_natural() -> None:
    assert Timer.size == 16
    assert Timer.alignment == 8
    offsets = [(name, field.offset) for name, field in Vcpu.fields.items()]
    assert offsets == [
        *(("level", 0), ("x", 8), ("timer", 256), ("timers", 272), ("names", 320), ("page", 336)),
    ]
    assert Vcpu.size == 344


@given(st.lists(st.tuples(st.sampled_from((1, 2, 4, 8)), st.integers(0, 5)), min_size=1))
def test_layout_is_that_of_c(fields: list[tuple[int, int]]) -> None:
    """Random structures of scalars (count 0) and arrays against ctypes."""
    ours: dict[str, object] = {}
    theirs: list[tuple[str, type]] = []
    for number, (size, count) in enumerate(fields):
        element = SCALARS[size]
        ours[f"f{number}"] = array(element, count) if count else scalar(element)
        theirs.append((f"f{number}", C_TYPES[size] * count if count else C_TYPES[size]))
    struct = StructMeta("S", (Struct,), ours)
    c_struct = type("C", (ctypes.Structure,), {"_fields_": theirs})
    assert struct.size == ctypes.sizeof(c_struct)
    for name in ours:
        assert struct.offset_of(name) == getattr(c_struct, name).offset


def test_values_lie_where_the_layout_says() -> None:
    memory = bytearray(Vcpu.size + 8)
    vcpu = Vcpu(memory, 8)
    vcpu.level = 0x12
    vcpu.x[30] = 0x0102_0304_0506_0708
    vcpu.timer.enabled = True
    vcpu.timers[2].cval = 0xAABB
    vcpu.names[4] = 0xCCDD
    vcpu.page = PA(0x4000)
    assert memory[8] == 0x12
    assert memory[8 + 248 : 8 + 256] == bytes.fromhex("0807060504030201")
    assert memory[8 + 256 + 4] == 1
    assert memory[8 + 312 : 8 + 314] == bytes.fromhex("bbaa")
    assert memory[8 + 328 : 8 + 330] == bytes.fromhex("ddcc")
    assert (vcpu.level, vcpu.x[30], vcpu.timer.enabled) == (0x12, 0x0102_0304_0506_0708, True)
    assert (vcpu.timers[2].cval, vcpu.names[4], vcpu.page) == (0xAABB, 0xCCDD, 0x4000)
    assert vcpu.to_bytes() == bytes(memory[8:])


def test_views_share_memory() -> None:
    with mmap.mmap(-1, 0x1000) as memory:
        first, second = Timer(memory, 0x10), Timer(memory, 0x10)
        first.cval = 5
        assert second.cval == 5
        assert memory[0x18] == 5
        del first, second


def test_arrays_know_their_length_and_iterate() -> None:
    vcpu = Vcpu()
    vcpu.names[1] = 7
    assert len(vcpu.names) == 5
    assert list(vcpu.names) == [0, 7, 0, 0, 0]
    assert len(vcpu.timers) == 3
    vcpu.timers[1].ctl = 9
    assert [timer.ctl for timer in vcpu.timers] == [0, 9, 0]


def test_paths() -> None:
    assert Vcpu.offset_of("x[3]") == 32
    assert Vcpu.offset_of("timer.cval") == 264
    assert Vcpu.offset_of("timers[2].enabled") == 308
    for path in ("nothing", "x[31]", "timer[0]", "x.y", "timers.cval", "", "timer.", "level.x"):
        with pytest.raises(KeyError) as caught:
            Vcpu.offset_of(path)
        assert caught.value.args[0] == (
            f"Vcpu has no field {path!r}: it has level, x, timer, timers, names, page"
        )


def test_explicit_places_size_and_alignment() -> None:
    class Page(Struct, size=0x1000, alignment=0x1000):
        vttbr = scalar(u64, offset=0x20)
        hcr = scalar(u64, offset=0x78)

    class Two(Struct):
        flag = scalar(u8)
        page = nested(Page)

    assert (Page.offset_of("hcr"), Page.size, Page.alignment) == (0x78, 0x1000, 0x1000)
    assert (Two.offset_of("page"), Two.size) == (0x1000, 0x2000)


def test_index_errors() -> None:
    vcpu = Vcpu()
    for view in (vcpu.x, vcpu.timers):
        for index in (-1, len(view)):
            with pytest.raises(IndexError) as caught:
                view[index]
            assert str(caught.value) == (
                f"index {index} is outside an array of {len(view)}: give 0 to {len(view) - 1}"
            )
    with pytest.raises(IndexError):
        vcpu.x[31] = 0


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_values_that_do_not_fit(value: int) -> None:
    timer, vcpu = Timer(), Vcpu()
    with pytest.raises(ValueError) as caught:
        timer.ctl = value
    assert str(caught.value) == f"Timer.ctl cannot hold {value:#x}: it has 32 bits"
    with pytest.raises(ValueError) as caught:
        vcpu.names[2] = value
    assert str(caught.value) == f"element 2 cannot hold {value:#x}: it has 16 bits"


def test_buffers_that_do_not_fit() -> None:
    with pytest.raises(ValueError) as caught:
        Timer(bytearray(64), 4)
    assert str(caught.value) == "Timer cannot be at 0x4: give a multiple of 8"
    with pytest.raises(ValueError) as caught:
        Timer(bytearray(16), 8)
    assert str(caught.value) == "Timer needs 0x10 bytes at 0x8, but the buffer has 0x10"


def test_a_read_only_buffer_is_read() -> None:
    timer = Timer(bytes(range(16)))
    assert timer.ctl == 0x0302_0100
    with pytest.raises(TypeError):
        timer.ctl = 0


def test_a_misspelt_field_is_an_error() -> None:
    with pytest.raises(AttributeError):
        Timer().clt = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("x", "array x cannot be assigned: assign its elements"),
        ("timers", "array timers cannot be assigned: assign its elements"),
        ("timer", "structure timer cannot be assigned: assign its fields"),
    ],
)
def test_aggregates_are_not_assigned(name: str, sentence: str) -> None:
    with pytest.raises(AttributeError) as caught:
        setattr(Vcpu(), name, 0)
    assert str(caught.value) == sentence


def test_bad_definitions() -> None:
    def refused(make: object) -> str:
        with pytest.raises(TypeError) as caught:
            make()  # type: ignore[operator]
        return str(caught.value)

    assert refused(lambda: scalar(int)) == (
        "a field cannot hold <class 'int'>: give u8, u16, u32, u64, bool, an address type or a "
        "Struct"
    )
    assert refused(lambda: scalar(Timer)) == "scalar(Timer) is a structure: write nested(...)"
    assert refused(lambda: nested(u8)) == "nested(u8) is not a Struct: write scalar(...)"
    assert refused(lambda: array(u8, 0)) == (
        "an array cannot have 0 elements: give a number of at least 1"
    )
    assert refused(lambda: array(bool, 2)) == "an array cannot hold bool: give u8"
    shared = scalar(u8)
    assert refused(lambda: StructMeta("S", (Struct,), {"a": shared, "b": shared})) == (
        "S.b is a field already: call scalar(), array() or nested() again"
    )
    late = {"a": scalar(u64), "b": scalar(u32, offset=4)}
    assert refused(lambda: StructMeta("S", (Struct,), late)) == (
        "S.b cannot be at 0x4: give a multiple of 4 that is at least 0x8"
    )
    assert refused(lambda: StructMeta("S", (Struct,), {"a": scalar(u64)}, size=4)) == (
        "S cannot have 0x4 bytes: give a multiple of 8 that is at least 0x8"
    )
    assert refused(lambda: StructMeta("S", (Timer,), {})) == (
        "S cannot extend Timer: use a nested() field instead"
    )


def test_repr_shows_the_scalars_in_hexadecimal() -> None:
    assert (
        repr(Timer(bytes(range(16)))) == "Timer(ctl=0x3020100, enabled=0x1, cval=0xf0e0d0c0b0a0908)"
    )
    assert repr(Vcpu.fields["x"]) == "<x: u64[31] at 0x8>"
