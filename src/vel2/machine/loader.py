"""Read a guest kernel from any common kind of file, or say in one sentence why not.

Accepted: the Linux arm64 `Image` (with or without EFI stub; Xen and U-Boot use the same header),
the same compressed, EFI zboot, and ELF64 AArch64. Linux's `Documentation/arch/arm64/booting.rst`
describes the header; the PE/COFF specification describes the PE part.
"""

import io
import os
import re
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from vel2.errors import UserError
from vel2.machine.compression import ALGORITHMS, algorithm_of, decompress
from vel2.machine.memory import format_bytes

__all__ = ("KernelImage", "check_firmware", "load_kernel", "read_file")

ACCEPTED = "an arm64 Linux Image (plain, compressed or EFI zboot) or an AArch64 ELF file"
FILE_LIMIT = 4 << 30
"""The largest file that is read into memory, in bytes: an initrd may well have gigabytes."""
FLASH_BYTES = 64 << 20
"""Of the `virt` board's flash, where firmware goes."""
HEADER_BYTES = 64
ARM64_MAGIC = b"ARM\x64"
ARM64_MAGIC_OFFSET = 0x38
OLD_TEXT_OFFSET = 0x8_0000  # booting.rst: assume this when image_size is 0 (before Linux 3.17)
NESTING_LIMIT = 3  # compressed zboot holding a compressed Image is the deepest that makes sense

MACHINE_NAMES = {3: "32-bit x86", 40: "32-bit Arm", 62: "x86-64", 183: "AArch64", 243: "RISC-V"}
PAGE_SIZES = {1: "4 KiB", 2: "16 KiB", 3: "64 KiB"}

# What pyelftools raises on damaged files goes far beyond its own ELFError.
ELF_FAILURES = (
    *(ELFError, ArithmeticError, LookupError, ValueError),
    *(TypeError, AttributeError, OSError, struct.error),
)


@dataclass(frozen=True)
class KernelImage:
    """A kernel as it must lie in memory.

    :ivar data: what is copied; memory up to `image_size` after it is the kernel's too (BSS).
    :ivar text_offset: distance of `data` from a 2 MiB boundary.
    :ivar image_size: bytes the kernel occupies from its start, BSS included.
    :ivar kind: `Image`, `Image (gzip)`, `zboot (zstd)`, `ELF`, ...: how it was packed.
    :ivar entry_offset: where to start, from the start of `data`.
    :ivar load_address: the physical address an ELF file insists on; None when any will do.
    :ivar version: as the kernel prints it after `Linux version`; None when it does not.
    :ivar page_size: `4 KiB`, `16 KiB`, `64 KiB` or None when the header does not say.
    """

    data: bytes
    text_offset: int
    image_size: int
    kind: str
    entry_offset: int = 0
    load_address: int | None = None
    version: str | None = None
    page_size: str | None = None


@contextmanager
def readable(path: Path, what: str) -> Iterator[None]:
    """Turn a failed read into a sentence that names the user's file."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{what} {path} does not exist; check the path.") from None
    except IsADirectoryError:
        raise UserError(f"{what} {path} is a directory; name a file in it.") from None
    except OSError as error:
        raise UserError(f"{what} {path} cannot be read ({error.strerror}).") from error


def read_file(path: Path, what: str) -> bytes:
    """Read a whole file that the user named; a pipe will do.

    :param what: what the file is for, as in "the kernel".
    :raises UserError: when it is missing, unreadable, empty or endless.
    """
    with readable(path, what), path.open("rb") as file:
        about = os.fstat(file.fileno())
        # A device may have no end, and a sparse file as good as none.
        data = b"" if about.st_size > FILE_LIMIT else file.read(1)
        is_device = stat.S_ISCHR(about.st_mode) or stat.S_ISBLK(about.st_mode)
        if data and not is_device:
            data += file.read(FILE_LIMIT)
    if data and is_device:
        raise UserError(f"{what} {path} is a device; name a file.")
    if max(about.st_size, len(data)) > FILE_LIMIT:
        raise UserError(f"{what} {path} has more than {format_bytes(FILE_LIMIT)}; name another.")
    if not data:
        raise UserError(f"{what} {path} is empty; fetch or build it again.")
    return data


def check_firmware(path: Path) -> None:
    """Find out whether a file can go into the flash, which QEMU reads by itself.

    :raises UserError: when it is missing, unreadable, empty or too large.
    """
    with readable(path, "the firmware"):
        size = path.stat().st_size
        path.open("rb").close()
    if path.is_dir():
        raise UserError(f"the firmware {path} is a directory; name a file in it.")
    if not 0 < size <= FLASH_BYTES:
        raise UserError(
            f"the firmware {path} has {format_bytes(size)}, and the flash takes"
            f" {format_bytes(FLASH_BYTES)}; name another file."
        )


def load_kernel(source: Path | str | bytes) -> KernelImage:
    """Read a kernel and everything its header says.

    :param source: a file, or the bytes of one.
    :raises UserError: when it is missing, damaged, or for another machine.
    """
    if isinstance(source, bytes):
        origin, data = "the kernel given as bytes", source
        if not data:
            raise UserError(f"{origin} is empty; give {ACCEPTED}.")
    else:
        path = Path(source)
        origin, data = f"the kernel {path}", read_file(path, "the kernel")
    return _parse(data, origin, packing=())


def _parse(data: bytes, origin: str, packing: tuple[str, ...]) -> KernelImage:
    """Peel one layer of packing, or read the image at the bottom."""
    if len(packing) > NESTING_LIMIT:
        raise UserError(f"{origin} is compressed more than {NESTING_LIMIT} times over; unpack it.")
    algorithm = algorithm_of(data)
    if algorithm is not None:
        return _parse(decompress(data, algorithm, origin), origin, (*packing, algorithm))
    if data[:4] == b"MZ\0\0" and data[4:8] == b"zimg":
        payload, algorithm = _zboot_payload(data, origin)
        expanded = decompress(payload, algorithm, origin)
        return _parse(expanded, origin, (*packing, f"zboot {algorithm}"))
    if data[:4] == b"\x7fELF":
        return _parse_elf(data, origin, packing)
    if data[ARM64_MAGIC_OFFSET : ARM64_MAGIC_OFFSET + 4] == ARM64_MAGIC:
        return _parse_image(data, origin, _kind("Image", packing))
    _refuse(data, origin)


def _kind(base: str, packing: tuple[str, ...]) -> str:
    return f"{base} ({', '.join(packing)})" if packing else base


def _zboot_payload(data: bytes, origin: str) -> tuple[bytes, str]:
    """Return the compressed kernel inside an EFI zboot file, and its compression."""
    if len(data) < HEADER_BYTES:
        raise UserError(f"{origin} is cut short inside its EFI zboot header; fetch it again.")
    offset, size = struct.unpack_from("<II", data, 8)
    algorithm = data[24:56].split(b"\0")[0].decode("ascii", "replace")
    algorithm = "zstd" if algorithm.startswith("zstd") else algorithm
    if algorithm not in ALGORITHMS:
        raise UserError(
            f"{origin} is an EFI zboot file compressed with {algorithm or 'nothing named'}; "
            f"vel2 expands {', '.join(ALGORITHMS)}: give the plain Image instead."
        )
    if offset + size > len(data):
        raise UserError(
            f"{origin} is cut short: its EFI zboot header promises {offset + size} bytes, "
            f"the file has {len(data)}; fetch it again."
        )
    return data[offset : offset + size], algorithm


def _parse_image(data: bytes, origin: str, kind: str) -> KernelImage:
    """Read the arm64 boot header (booting.rst, "Call the kernel image")."""
    if len(data) < HEADER_BYTES:
        raise UserError(f"{origin} is cut short inside its 64-byte header; fetch it again.")
    text_offset, image_size, flags = struct.unpack_from("<QQQ", data, 8)
    if flags & 1:
        raise UserError(
            f"{origin} is a big-endian kernel; vel2 runs little-endian guests: "
            "build it with CONFIG_CPU_LITTLE_ENDIAN."
        )
    if image_size == 0:
        text_offset, image_size = OLD_TEXT_OFFSET, len(data)
    if text_offset >= 1 << 30 or image_size >= 1 << 40:
        raise UserError(
            f"{origin} is damaged: its header says text_offset={text_offset:#x} and "
            f"image_size={image_size:#x}; fetch or build it again."
        )
    promised = _pe_file_end(data)
    if promised > len(data):
        raise UserError(
            f"{origin} is cut short: its header promises {promised} bytes, "
            f"the file has {len(data)}; fetch it again."
        )
    return KernelImage(
        data=data,
        text_offset=text_offset,
        image_size=max(image_size, len(data)),
        kind=kind,
        version=_linux_version(data),
        page_size=PAGE_SIZES.get(flags >> 1 & 3),
    )


def _pe_file_end(data: bytes) -> int:
    """Return how long the file must be by its PE section table; 0 when it has none.

    The boot header gives only the size in memory, so nothing else shows that a file is cut short.
    """
    (pe,) = struct.unpack_from("<I", data, 60)
    if data[:2] != b"MZ" or pe == 0:
        return 0
    if pe + 24 > len(data):
        return int(pe + 24)
    if data[pe : pe + 4] != b"PE\0\0":
        return 0
    sections, optional_bytes = struct.unpack_from("<H12xH", data, pe + 6)
    table = pe + 24 + optional_bytes
    if table + 40 * sections > len(data):
        return int(table + 40 * sections)
    fields = (struct.unpack_from("<II", data, table + 40 * i + 16) for i in range(sections))
    ends = [raw_size + raw_offset for raw_size, raw_offset in fields]
    end: int = max(ends, default=0)
    return end


def _parse_elf(data: bytes, origin: str, packing: tuple[str, ...]) -> KernelImage:
    """Flatten the loadable segments of an ELF file into one image."""
    if len(data) < 20:
        raise UserError(f"{origin} is cut short inside its ELF header; fetch or build it again.")
    endian = "<" if data[5] == 1 else ">"
    (machine,) = struct.unpack_from(f"{endian}H", data, 18)
    if machine != 183:
        name = MACHINE_NAMES.get(machine, f"machine {machine}")
        raise UserError(f"{origin} is an ELF file for {name}; vel2 runs {ACCEPTED}.")
    if endian == ">":
        raise UserError(f"{origin} is a big-endian ELF file; vel2 runs little-endian guests.")
    try:
        elf = ELFFile(io.BytesIO(data))
        loadable = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD" and s["p_memsz"]]
        contents = [s.data() for s in loadable]
        segments = [dict(s.header) for s in loadable]
        entry = elf["e_entry"]
    except ELF_FAILURES as error:
        raise UserError(
            f"{origin} is a damaged ELF file ({error}); fetch or build it again."
        ) from error
    if not segments:
        raise UserError(f"{origin} is an ELF file with nothing to load; give {ACCEPTED}.")
    if any(len(c) != s["p_filesz"] for s, c in zip(segments, contents, strict=True)):
        raise UserError(f"{origin} is cut short: an ELF segment is missing bytes; fetch it again.")
    return _flatten(segments, contents, entry, origin, packing)


def _flatten(
    segments: list[dict[str, int]],
    contents: list[bytes],
    entry: int,
    origin: str,
    packing: tuple[str, ...],
) -> KernelImage:
    base = min(s["p_paddr"] for s in segments)
    end = max(s["p_paddr"] + max(s["p_memsz"], s["p_filesz"]) for s in segments)
    if end - base > 1 << 30:
        raise UserError(
            f"{origin} has ELF segments spread over {end - base:#x} bytes; "
            "give a kernel whose physical addresses lie within 1 GiB."
        )
    file_end = max(s["p_paddr"] + len(c) for s, c in zip(segments, contents, strict=True))
    flat = bytearray(file_end - base)
    entry_offset = None
    for segment, content in zip(segments, contents, strict=True):
        at = segment["p_paddr"] - base
        flat[at : at + len(content)] = content
        # The entry point is a virtual address when the kernel is linked at one.
        if segment["p_vaddr"] <= entry < segment["p_vaddr"] + len(content):
            entry_offset = at + entry - segment["p_vaddr"]
    if entry_offset is None:
        raise UserError(
            f"{origin} has its entry point {entry:#x} outside every segment; build it again."
        )
    image = bytes(flat)
    if image[ARM64_MAGIC_OFFSET : ARM64_MAGIC_OFFSET + 4] == ARM64_MAGIC:
        # vmlinux: linked at kernel virtual addresses, and it starts with the boot header.
        return _parse_image(image, origin, _kind("ELF with Image header", packing))
    return KernelImage(
        data=image,
        text_offset=0,
        image_size=end - base,
        kind=_kind("ELF", packing),
        entry_offset=entry_offset,
        load_address=base,
        version=_linux_version(image),
    )


def _linux_version(data: bytes) -> str | None:
    """Find the kernel's own banner."""
    match = re.search(rb"Linux version (\d+\.\d+[^\s\0]*)", data)
    return match.group(1).decode("ascii", "replace") if match else None


def _refuse(data: bytes, origin: str) -> NoReturn:
    """Say what a file is that is not an acceptable kernel."""
    if data[0x202:0x206] == b"HdrS":
        what = "an x86 kernel (bzImage)"
    elif data[0x24:0x28] == b"\x18\x28\x6f\x01":
        what = "a 32-bit Arm kernel (zImage)"
    elif data[0x38:0x3C] == b"RSC\x05":
        what = "a RISC-V kernel"
    elif data[:4] == b"\x27\x05\x19\x56":
        what = "a U-Boot uImage"
    elif data[:4] == b"\xd0\x0d\xfe\xed":
        what = "a device tree or FIT image"
    elif data[:6] in (b"070701", b"070702"):
        what = "a cpio archive (an initrd?)"
    elif data[:7] == b"!<arch>":
        what = "a package or static library"
    elif data[:4] in (b"\x02\x21\x4c\x18", b"\x04\x22\x4d\x18"):
        what = "compressed with lz4, which vel2 does not expand"
    elif data[:2] == b"MZ":
        what = "a PE program without an arm64 Linux header"
    elif len(data) < HEADER_BYTES:
        what = f"only {len(data)} bytes long"
    elif not any(data[:4096]):
        what = "all zeros at its start"
    else:
        what = "not in any kernel format"
    raise UserError(f"{origin} is {what}; vel2 runs {ACCEPTED}.")
