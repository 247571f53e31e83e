"""`vel2 run --trace`: every trap is in the file, once, and what is missing is said."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.limits import LIMIT_S
from tests.tiny_guests import POWER_OFF
from vel2.arch.sysregs import CNTP_CVAL_EL0
from vel2.machine.memory import RAM_BASE
from vel2.trace.recording import Recording
from vel2.trace.schema import Kind
from vel2.trace.words import register_of

pytestmark = pytest.mark.qemu

VEL2 = Path(sys.executable).parent / "vel2"
CODE = RAM_BASE + 0x8_0000
COUNT = 300
WRITES = (
    0xD2800005 | COUNT << 5,  # movz x5, #COUNT
    0xD51BE245,  # msr  cntp_cval_el0, x5
    0xF10004A5,  # subs x5, x5, #1
    0x54FFFFC1,  # b.ne .-8
)


def traced(folder: Path, name: str, *options: str) -> tuple[Recording, str]:
    """Run a guest that writes a timer's register `COUNT` times, and read its trace."""
    code = (*WRITES, *POWER_OFF)
    (folder / "guest").write_bytes(struct.pack(f"<{len(code)}I", *code))
    entry = ("--load", f"guest@{CODE:#x}", "--entry", f"{CODE:#x}")
    ended = subprocess.run(
        [VEL2, "run", "--memory", "128M", *entry, "--trace", name, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_S,
    )
    assert ended.returncode == 0, ended.stderr
    return Recording(folder / name), ended.stderr


def test_a_trace_has_each_trap_that_l0_counted_and_repeats(tmp_path: Path) -> None:
    first, said = traced(tmp_path, "first", "--deterministic")
    events = list(first)
    assert first.end is not None and not first.caveat
    assert f"first has {len(events):,} events." in said
    assert [event.sequence for event in events] == list(range(len(events)))
    traps = [event for event in events if event.kind in (Kind.TRAP, Kind.ERET)]
    assert len(traps) == first.end.traps["total"] > COUNT
    written = [e.value for e in events if register_of(e) == CNTP_CVAL_EL0.name]
    assert written == list(range(COUNT, 0, -1))
    traced(tmp_path, "second", "--deterministic")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_a_filter_lets_through_what_it_names(tmp_path: Path) -> None:
    found, _ = traced(tmp_path, "some", "--only", "sysreg:cntp_cval_el0")
    assert {register_of(event) for event in found} == {CNTP_CVAL_EL0.name}
    assert found.count == COUNT
    nothing, said = traced(tmp_path, "none", "--only", "ec:HVC64", "--only", "from:L2")
    assert nothing.count == 0 and "none has 0 events." in said


def test_a_ring_that_is_too_small_loses_events_and_says_how_many(tmp_path: Path) -> None:
    found, said = traced(tmp_path, "small", "--trace-ring", "2")
    assert found.end is not None
    numbers = [event.sequence for event in found]
    assert numbers == sorted(set(numbers))
    assert found.lost > 0 and numbers[-1] < found.count + found.lost
    assert found.count + found.lost >= found.end.traps["total"]
    assert f"{found.lost:,} events were lost" in said
    assert "give --trace-ring more than 2" in said
