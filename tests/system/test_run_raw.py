"""`vel2 run --load`: binaries without a header, at virtual EL2 and at the machine's real EL2."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.limits import LIMIT_S
from tests.tiny_guests import POWER_OFF, say
from vel2.cli.exits import ExitCode
from vel2.machine.memory import RAM_BASE

pytestmark = pytest.mark.qemu

VEL2 = Path(sys.executable).parent / "vel2"
CODE, DATA = RAM_BASE + 0x8_0000, RAM_BASE + 0x200_0000
SHOW_LEVEL = (
    0xD5384243,  # mrs  x3, CurrentEL
    0xD342FC63,  # lsr  x3, x3, #2
    0x1100C063,  # add  w3, w3, #'0'
    0x39000043,  # strb w3, [x2]
)
SHOW_TREE = (
    0x39400003,  # ldrb w3, [x0]      ; the first byte of the magic number, 0xd0
    0x7103407F,  # cmp  w3, #0xd0
    0x1A9F17E3,  # cset w3, eq
    0x1100C063,  # add  w3, w3, #'0'
    0x39000043,  # strb w3, [x2]
)
SHOW_DATA = (
    0xD2A84004,  # movz x4, #0x4200, lsl #16
    0x39400083,  # ldrb w3, [x4]
    0x39000043,  # strb w3, [x2]
)


def write_binary(path: Path, *parts: tuple[int, ...], padding: int = 0) -> None:
    """Write instructions, behind some bytes that are none."""
    code = [word for part in parts for word in part]
    path.write_bytes(b"\xff" * padding + struct.pack(f"<{len(code)}I", *code))


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VEL2, "run", "--memory", "128M", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_S,
    )


KINDS = {
    "native": ("--native",),
    "vhe-nv2": (),
    "nvhe-nv": ("--el2", "nvhe", "--nv", "nv"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_two_files_and_an_entry(kind: str, tmp_path: Path) -> None:
    """The guest is at EL2, finds its device tree by x0, and the other file where it belongs."""
    parts = (say("EL"), SHOW_LEVEL, say(" tree "), SHOW_TREE, say(" data "), SHOW_DATA)
    # x0 is what POWER_OFF writes last.
    write_binary(tmp_path / "code", *parts, say("\n"), POWER_OFF, padding=64)
    (tmp_path / "data").write_bytes(b"D")
    done = run(
        tmp_path,
        *("--load", f"code@{CODE:#x}", "--load", f"data@{DATA:#x}"),
        *("--entry", f"{CODE + 64:#x}", *KINDS[kind]),
    )
    assert done.returncode == ExitCode.OK, done.stderr
    assert done.stdout == "EL2 tree 1 data D\n"


@pytest.mark.parametrize("kind", ["native", "vhe-nv2"])
def test_a_file_at_the_start_of_ram(kind: str, tmp_path: Path) -> None:
    """QEMU writes its own device tree there when it resets the machine."""
    write_binary(tmp_path / "code", say("here, tree "), SHOW_TREE, say("\n"), POWER_OFF)
    place = f"{RAM_BASE:#x}"
    done = run(tmp_path, "--load", f"code@{place}", "--entry", place, *KINDS[kind])
    assert (done.returncode, done.stdout) == (ExitCode.OK, "here, tree 1\n"), done.stderr
