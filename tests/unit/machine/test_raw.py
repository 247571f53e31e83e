"""Files without a header: where they may lie, and where the device tree goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from vel2.errors import UserError
from vel2.machine.memory import RAM_BASE
from vel2.machine.raw import LoadedFile, RawImage, parse_address

MIB = 1 << 20
A = RAM_BASE + 0x8_0000


def file(address: int, size: int = 0x1000, name: str = "a") -> LoadedFile:
    return LoadedFile(name, address, bytes(size))


def guest(*files: LoadedFile) -> RawImage:
    return RawImage(files, files[0].address)


@pytest.mark.parametrize(("text", "value"), [("0x40080000", A), ("0X10", 16), ("4096", 4096)])
def test_addresses(text: str, value: int) -> None:
    assert parse_address(text) == value


@pytest.mark.parametrize("text", ["", "0x", "40080000h", "-4", "0x1_0000_0000_0000_0000", "1e9"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UserError, match="is no address; give one such as 0x40080000"):
        parse_address(text)


def test_a_file_with_an_at_in_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a@b"
    path.write_bytes(b"code")
    found = LoadedFile.read(f"{path}@0x40080000")
    assert (found.name, found.address, found.end) == (str(path), A, A + 4)


@pytest.mark.parametrize("text", ["a.bin", "@0x40080000", ""])
def test_a_file_without_a_place(text: str) -> None:
    with pytest.raises(UserError, match=r"has no address; give FILE@ADDRESS"):
        LoadedFile.read(text)


def test_files_side_by_side_do_not_overlap() -> None:
    assert guest(file(A + 0x1000, name="b"), file(A)).entry == A + 0x1000
    with pytest.raises(UserError) as error:
        guest(file(A, 0x1001), file(A + 0x1000, name="b"))
    assert str(error.value) == (
        f"a ({A:#x} to {A + 0x1001:#x}) and b ({A + 0x1000:#x} to {A + 0x2000:#x}) overlap; load"
        " one of them elsewhere."
    )


def test_one_inside_another_overlaps_though_not_its_neighbour() -> None:
    with pytest.raises(UserError, match="overlap"):
        guest(file(A, 0x10000), file(A + 0x1000, 16, "b"), file(A + 0x2000, 16, "c"))


@pytest.mark.parametrize(
    ("entry", "said"),
    [(A + 2, "no address of an instruction"), (A + 0x1000, "in no file"), (0, "in no file")],
)
def test_the_entry_is_in_a_file(entry: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        RawImage((file(A),), entry)


@pytest.mark.parametrize(
    "address",
    [0, RAM_BASE - 4, RAM_BASE + 64 * MIB - 4, RAM_BASE + 64 * MIB, RAM_BASE + 100 * MIB],
)
def test_the_bounds_of_ram(address: int) -> None:
    """What is right above the guest's RAM is vel2's own."""
    with pytest.raises(UserError) as error:
        guest(file(address)).check(64 * MIB)
    assert str(error.value) == (
        f"a ({address:#x} to {address + 0x1000:#x}) is not within the guest's RAM, which is"
        " 0x40000000 to 0x44000000 (64 MiB); load it elsewhere, or give more --memory."
    )
    guest(file(RAM_BASE), file(RAM_BASE + 64 * MIB - 0x1000)).check(64 * MIB)


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ([file(A)], RAM_BASE),
        ([file(RAM_BASE)], RAM_BASE + 64 * MIB - 0x2000),
        ([file(RAM_BASE), file(RAM_BASE + 63 * MIB, MIB)], RAM_BASE + 63 * MIB - 0x2000),
        # Not a page boundary: the page below it.
        ([file(RAM_BASE, 16), file(RAM_BASE + 64 * MIB - 16, 16)], RAM_BASE + 64 * MIB - 0x3000),
    ],
)
def test_where_the_device_tree_goes(files: list[LoadedFile], place: int) -> None:
    assert guest(*files).room_for(0x2000, 64 * MIB, RAM_BASE) == place


def test_no_room_for_the_device_tree() -> None:
    with pytest.raises(UserError, match=r"no room for the device tree"):
        guest(file(RAM_BASE + 0x1000, 64 * MIB - 0x2000)).room_for(0x2000, 64 * MIB, RAM_BASE)
