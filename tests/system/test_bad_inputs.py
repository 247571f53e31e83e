"""What a user may get wrong: one sentence, the documented exit code, and nothing left behind.

`bad_inputs.txt` has a row for each mistake. The program runs as a user starts it, in a folder with
the files below and with nothing fetched. What it leaves there, processes it leaves, how much memory
it took and how long are looked at each time; for some rows the modes of a terminal, too.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import pty
import select
import shlex
import shutil
import struct
import subprocess
import sys
import termios
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.limits import LIMIT_S
from tests.processes import started
from vel2.hyp import image
from vel2.machine.memory import RAM_BASE

pytestmark = pytest.mark.qemu

TABLE = (Path(__file__).parent / "bad_inputs.txt").read_text()
ROWS = [
    tuple(part.strip() for part in line.split(" | "))
    for line in TABLE.splitlines()
    if line and not line.startswith("#")
]
MEMORY_BYTES = 300 << 20
SECONDS = 30
"""Of CPU time, with that of its children: the machine may be busy with others."""

# It stands between the test and the program. Asked for its own children, a test's process would
# tell of the largest that it ever had.
MEASURE = (
    *(sys.executable, "-I", "-S", "-c"),
    """import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    print(used.ru_utime + used.ru_stime, used.ru_maxrss << 10, file=file)
sys.exit(code if code >= 0 else 128 - code)
""",
)
BOMB_BYTES = 128 << 20
SPARSE_BYTES = 100 << 30
ROW = "VEL2_TEST_ROW"
LOOK_S = 0.1


def arm64_image(size: int = 0x10000, code: bytes = b"") -> bytes:
    """Give the header of an arm64 Image, and code."""
    return (
        struct.pack("<IIQQQQQQ4sI", 0x14000010, 0, 0, size, 0b1010, 0, 0, 0, b"ARM\x64", 0) + code
    )


def at(offset: int, magic: bytes, size: int = 4096) -> bytes:
    """Give a file with a magic number somewhere in it."""
    data = bytearray(b"#" * size)
    data[offset : offset + len(magic)] = magic
    return bytes(data)


def zeros(compress: Callable[[bytes], bytes]) -> bytes:
    """Give a small file that expands to a large one."""
    return compress(bytes(BOMB_BYTES))


def xz_dictionary() -> bytes:
    """Give a stream that asks for a dictionary of 1 GiB."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    data = bytearray(lzma.compress(arm64_image(), format=lzma.FORMAT_XZ, filters=filters))
    # Block header: size, flags, filter id, properties' size, dictionary size; then its CRC32.
    header = data.index(b"\x21\x01", 12)
    data[header + 2] = 36
    length = (data[12] + 1) * 4
    struct.pack_into("<I", data, 12 + length - 4, zlib.crc32(data[12 : 12 + length - 4]))
    return bytes(data)


def elf(machine: int, size: int) -> bytes:
    """Give the start of an ELF file."""
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    return (header + b"\xff" * 4096)[:size]


FILES: dict[str, Callable[[], bytes]] = {
    "empty": bytes,
    "short": lambda: b"short",
    "text": lambda: b"this is a text, and no kernel of any kind\n" * 200,
    "zeros": lambda: bytes(1 << 20),
    "image": lambda: arm64_image(code=bytes(4096)),
    "cut": lambda: gzip.compress(arm64_image(code=os.urandom(4096)))[:600],
    "cpio": lambda: b"070701" + b"0" * 4096,
    "deb": lambda: b"!<arch>\ndebian-binary" + b" " * 4096,
    "bzImage": lambda: at(0x202, b"HdrS"),
    "zImage": lambda: at(0x24, b"\x18\x28\x6f\x01"),
    "riscv": lambda: at(0x38, b"RSC\x05"),
    "uImage": lambda: at(0, b"\x27\x05\x19\x56"),
    "fit": lambda: at(0, b"\xd0\x0d\xfe\xed"),
    "lz4": lambda: at(0, b"\x02\x21\x4c\x18"),
    "pe": lambda: at(0, b"MZ"),
    "elf-x86": lambda: elf(62, 4096),
    "elf-cut": lambda: elf(183, 64),
    "gzip-cut": lambda: gzip.compress(arm64_image(code=os.urandom(4096)))[:1000],
    "gzip-text": lambda: gzip.compress(b"no kernel " * 1000),
    "gzip-bomb": lambda: zeros(gzip.compress),
    "bzip2-bomb": lambda: zeros(bz2.compress),
    "xz-bomb": lambda: zeros(lzma.compress),
    "zstd-bomb": lambda: zeros(zstandard.ZstdCompressor().compress),
    "xz-dictionary": xz_dictionary,
    "nested": lambda: gzip.compress(gzip.compress(gzip.compress(gzip.compress(arm64_image())))),
    "code": lambda: struct.pack("<I", 0x14000000) * 1024,
    "huge-header": lambda: arm64_image(size=1 << 63, code=bytes(4096)),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the files once; nobody changes them."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "folder").mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content())
    with (folder / "sparse").open("wb") as file:
        file.truncate(SPARSE_BYTES)
    return folder


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile L0 once: a row is about what the user got wrong."""
    cache = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        image.build(RAM_BASE)
    return cache


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Give what is in a folder, with sizes and times."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def surroundings(folder: Path, compiled: Path) -> dict[str, str]:
    """Give the environment of one row, with a compiled L0 in its cache and a name of its own."""
    shutil.copytree(compiled, folder / "cache", copy_function=os.link)
    return {
        **os.environ,
        "TMPDIR": str(folder),
        "XDG_CACHE_HOME": str(folder / "cache"),
        ROW: str(folder),
    }


def processes_with(row: str) -> dict[int, str]:
    """Find the processes that a row has left: whatever it started inherits its name."""
    wanted = f"{ROW}={row}".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is not ours to look into
            if wanted in (process / "environ").read_bytes().split(b"\0"):
                found[int(process.name)] = (process / "comm").read_text().strip()
    return found


@pytest.mark.parametrize(("code", "line", "named"), ROWS, ids=[row[1] or "nothing" for row in ROWS])
def test_it_is_one_sentence(
    code: str,
    line: str,
    named: str,
    made: Path,
    compiled: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    measured = tmp_path_factory.mktemp("measured") / "usage"
    command = [*MEASURE, str(measured), sys.executable, "-m", "vel2", *shlex.split(line)]
    environment = surroundings(tmp_path, compiled)
    before = listing(made)
    with started(
        command,
        cwd=made,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        out, said = process.communicate(timeout=LIMIT_S)
    took, peak = map(float, measured.read_text().split())
    assert process.returncode == int(code), said
    *usage, sentence = said.rstrip("\n").split("\n") or [""]
    if usage:
        assert usage[0].startswith("Usage: vel2"), said
        assert sentence.startswith("Error: "), said
    else:
        assert sentence.startswith(("vel2: ", "Error: ")), said
    assert sentence.endswith(".") or sentence.startswith("Error: "), said
    assert named in sentence
    assert "Traceback" not in said and out == ""
    assert listing(made) == before
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}
    assert took < SECONDS and peak < MEMORY_BYTES
    assert processes_with(environment[ROW]) == {}


AT_A_TERMINAL = (
    "run --kernel missing",
    "run --kernel text",
    "run --kernel image --memory 5",
    "run --kernel image -- -no-such-option",
    "run --native --kernel image -- -no-such-option",
    "run --kernel image -- -device virtio-balloon-pci",
    "run --kernel image -- -smp 2,cores=7",
    "run --load code@0x40080000 --entry 0x40081000",
    "bench --only nothing",
    "matrix --json - --html -",
)


def test_rows_at_a_terminal_are_of_the_table() -> None:
    assert set(AT_A_TERMINAL) <= {line for _, line, _ in ROWS}


@pytest.mark.parametrize("line", AT_A_TERMINAL)
def test_the_terminal_is_as_it_was(line: str, made: Path, compiled: Path, tmp_path: Path) -> None:
    """Some get as far as the start of a machine, whose console takes the terminal over."""
    code, named = next((int(code), named) for code, row, named in ROWS if row == line)
    near, far = pty.openpty()
    modes = termios.tcgetattr(far)
    environment = surroundings(tmp_path, compiled)
    command = [sys.executable, "-m", "vel2", *shlex.split(line)]
    said = b""
    with started(
        command,
        cwd=made,
        env=environment,
        stdin=far,
        stdout=far,
        stderr=far,
        start_new_session=True,
    ) as process:
        while process.poll() is None or select.select([near], [], [], 0)[0]:
            if select.select([near], [], [], LOOK_S)[0]:
                said += os.read(near, 4096)
    assert process.returncode == code, said
    assert named in " ".join(said.decode().split()), said
    assert termios.tcgetattr(far) == modes
    assert processes_with(environment[ROW]) == {}
    os.close(near)
    os.close(far)
