"""Kernels are recognised however they are packed; anything else is refused in one sentence."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.machine.samples import elf64, pe_image, plain_image, zboot
from vel2.errors import UserError
from vel2.machine.loader import ACCEPTED, load_kernel

ORIGIN = "the kernel given as bytes"
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


def refusal(data: bytes) -> str:
    with pytest.raises(UserError) as caught:
        load_kernel(data)
    return str(caught.value)


@pytest.mark.parametrize("make", [pe_image, plain_image])
def test_image_is_read_as_its_header_says(make: Callable[..., bytes]) -> None:
    data = make(text_offset=0x80000, image_size=0x123000, flags=0b0010)
    kernel = load_kernel(data)
    assert kernel.data == data
    assert (kernel.text_offset, kernel.image_size) == (0x80000, 0x123000)
    assert (kernel.kind, kernel.page_size, kernel.version) == ("Image", "4 KiB", "6.12.0-test")
    assert (kernel.entry_offset, kernel.load_address) == (0, None)


@pytest.mark.parametrize(
    ("flags", "size"), [(0, None), (0b010, "4 KiB"), (0b100, "16 KiB"), (0b110, "64 KiB")]
)
def test_page_size_is_bits_2_to_1_of_flags(flags: int, size: str | None) -> None:
    assert load_kernel(plain_image(flags=flags)).page_size == size


def test_image_before_3_17_gets_the_default_text_offset() -> None:
    data = plain_image(text_offset=0x1234, image_size=0)
    kernel = load_kernel(data)
    assert (kernel.text_offset, kernel.image_size) == (0x80000, len(data))


def test_image_size_is_never_below_the_file() -> None:
    data = plain_image(image_size=64)
    assert load_kernel(data).image_size == len(data)


@pytest.mark.parametrize("algorithm", COMPRESSORS)
def test_compressed_image_is_expanded(algorithm: str) -> None:
    image = pe_image()
    kernel = load_kernel(COMPRESSORS[algorithm](image))
    assert kernel.data == image
    assert kernel.kind == f"Image ({algorithm})"


@pytest.mark.parametrize("algorithm", ["gzip", "xz", "lzma", "zstd"])
def test_zboot_is_expanded(algorithm: str) -> None:
    image = pe_image()
    kernel = load_kernel(zboot(COMPRESSORS[algorithm](image), algorithm.encode()))
    assert kernel.data == image
    assert kernel.kind == f"Image (zboot {algorithm})"


def test_zboot_names_zstd_with_its_level() -> None:
    image = pe_image()
    assert load_kernel(zboot(COMPRESSORS["zstd"](image), b"zstd22")).data == image


def test_trailing_bytes_after_a_compressed_image_are_allowed() -> None:
    image = pe_image()
    for compress in COMPRESSORS.values():
        assert load_kernel(compress(image) + bytes(512)).data == image


def test_elf_is_flattened_by_physical_address() -> None:
    low, high = b"low half", b"high half"
    data = elf64(
        [(0xFFFF0000, 0x40200000, low, 0x1000), (0xFFFF1000, 0x40201000, high, 0x3000)],
        entry=0xFFFF1004,
    )
    kernel = load_kernel(data)
    assert kernel.kind == "ELF"
    assert kernel.load_address == 0x40200000
    assert kernel.entry_offset == 0x1004
    assert kernel.image_size == 0x4000
    assert kernel.data == low + bytes(0x1000 - len(low)) + high


def test_vmlinux_is_taken_by_the_image_header_it_begins_with() -> None:
    image = plain_image(text_offset=0, image_size=0x8000)
    base = 0xFFFF800080000000
    kernel = load_kernel(elf64([(base, base, image, 0x8000)], entry=base))
    assert kernel.kind == "ELF with Image header"
    assert kernel.load_address is None
    assert kernel.data == image


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (bytes(0x202) + b"HdrS" + bytes(100), "an x86 kernel (bzImage)"),
        (bytes(0x24) + b"\x18\x28\x6f\x01" + bytes(100), "a 32-bit Arm kernel (zImage)"),
        (bytes(0x38) + b"RSC\x05" + bytes(100), "a RISC-V kernel"),
        (b"\x27\x05\x19\x56" + bytes(100), "a U-Boot uImage"),
        (b"\xd0\x0d\xfe\xed" + bytes(100), "a device tree or FIT image"),
        (b"070701" + b"0" * 104, "a cpio archive (an initrd?)"),
        (b"!<arch>\ndebian-binary" + bytes(100), "a package or static library"),
        (b"\x04\x22\x4d\x18" + bytes(100), "compressed with lz4, which vel2 does not expand"),
        (b"MZ" + bytes(200), "a PE program without an arm64 Linux header"),
        (b"hello", "only 5 bytes long"),
        (bytes(8192), "all zeros at its start"),
        (b"#!/bin/sh\n" * 20, "not in any kernel format"),
    ],
)
def test_other_files_are_named_for_what_they_are(data: bytes, what: str) -> None:
    assert refusal(data) == f"{ORIGIN} is {what}; vel2 runs {ACCEPTED}."


@pytest.mark.parametrize(
    ("machine", "name"),
    [(62, "x86-64"), (3, "32-bit x86"), (40, "32-bit Arm"), (243, "RISC-V"), (8, "machine 8")],
)
def test_elf_of_another_machine_is_refused(machine: int, name: str) -> None:
    data = elf64([(0, 0, b"code", 4)], entry=0, machine=machine)
    assert refusal(data) == f"{ORIGIN} is an ELF file for {name}; vel2 runs {ACCEPTED}."


def test_big_endian_kernels_are_refused() -> None:
    assert refusal(plain_image(flags=0b1011)) == (
        f"{ORIGIN} is a big-endian kernel; vel2 runs little-endian guests: "
        "build it with CONFIG_CPU_LITTLE_ENDIAN."
    )
    data = elf64([(0, 0, b"code", 4)], entry=0, big_endian=True)
    assert refusal(data) == (f"{ORIGIN} is a big-endian ELF file; vel2 runs little-endian guests.")


def test_absurd_header_values_are_refused() -> None:
    assert refusal(plain_image(image_size=1 << 63)) == (
        f"{ORIGIN} is damaged: its header says text_offset=0x0 and "
        "image_size=0x8000000000000000; fetch or build it again."
    )


def test_elf_with_entry_outside_or_nothing_to_load_is_refused() -> None:
    assert refusal(elf64([(0, 0, b"code", 4)], entry=0x99)) == (
        f"{ORIGIN} has its entry point 0x99 outside every segment; build it again."
    )
    assert refusal(elf64([], entry=0)) == (
        f"{ORIGIN} is an ELF file with nothing to load; give {ACCEPTED}."
    )
    spread = elf64([(0, 0, b"code", 4), (0x1000, 1 << 40, b"data", 4)], entry=0)
    assert refusal(spread) == (
        f"{ORIGIN} has ELF segments spread over 0x10000000004 bytes; "
        "give a kernel whose physical addresses lie within 1 GiB."
    )


def test_zboot_with_unknown_compression_or_missing_bytes_is_refused() -> None:
    assert refusal(zboot(b"x" * 100, b"lz4")) == (
        f"{ORIGIN} is an EFI zboot file compressed with lz4; "
        "vel2 expands gzip, xz, lzma, bzip2, zstd: give the plain Image instead."
    )
    assert refusal(zboot(gzip.compress(b"x"), b"gzip", size=5000)) == (
        f"{ORIGIN} is cut short: its EFI zboot header promises 5128 bytes, "
        "the file has 149; fetch it again."
    )


def test_compression_around_compression_ends_somewhere() -> None:
    data = plain_image()
    for _ in range(5):
        data = gzip.compress(data)
    assert refusal(data) == f"{ORIGIN} is compressed more than 3 times over; unpack it."


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.touch()
    cases = {
        missing: f"the kernel {missing} does not exist; check the path.",
        tmp_path: f"the kernel {tmp_path} is a directory; name a file in it.",
        empty: f"the kernel {empty} is empty; fetch or build it again.",
    }
    for path, sentence in cases.items():
        with pytest.raises(UserError) as caught:
            load_kernel(path)
        assert str(caught.value) == sentence
    assert refusal(b"") == f"{ORIGIN} is empty; give {ACCEPTED}."


@given(st.integers(min_value=0, max_value=len(pe_image()) - 1))
def test_an_image_cut_anywhere_is_refused(length: int) -> None:
    assert "\n" not in refusal(pe_image()[:length])


@settings(max_examples=200)
@given(st.sampled_from(sorted(COMPRESSORS)), st.data())
def test_a_compressed_image_cut_anywhere_is_refused(algorithm: str, data: st.DataObject) -> None:
    whole = COMPRESSORS[algorithm](pe_image(bytes(range(256)) * 8))
    # The last bytes of a stream may be padding or a check sum that the reader does not need.
    cut = data.draw(st.integers(min_value=1, max_value=len(whole) - 9))
    assert refusal(whole[:cut]).startswith(ORIGIN)


@settings(max_examples=300)
@given(
    st.sampled_from([pe_image(), plain_image(), elf64([(0, 0, b"code" * 9, 99)], entry=0)]),
    st.data(),
)
def test_damage_never_gives_anything_but_a_kernel_or_a_sentence(
    whole: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(min_value=1, max_value=4))):
        damaged[data.draw(st.integers(0, min(len(whole), 256) - 1))] = data.draw(
            st.integers(0, 255)
        )
    try:
        kernel = load_kernel(bytes(damaged))
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert kernel.image_size >= len(kernel.data) > kernel.entry_offset


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    assert refusal(data).startswith(ORIGIN)
