"""What mypy makes of resident code: it is plain Python to it, with distinct address types."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """\
from vel2.arch.sysregs import HCR_EL2
from vel2.lang import PA, VA, Struct, array, at, mrs, msr, nested, resident, scalar, u8, u32, u64


class Timer(Struct):
    cval = scalar(u64)
    on = scalar(bool)


class Vcpu(Struct):
    x = array(u64, 31)
    timer = nested(Timer)
    timers = array(Timer, 2)
    page = scalar(PA)


@resident
def f(v: Vcpu, n: u8, address: PA) -> u64:
    t = v.timers[n & 1]
    t.on = t.cval == v.timer.cval
    v.page = PA(address + 8)
    v.x[n % 31] = mrs(HCR_EL2) | HCR_EL2.NV.mask
    msr(HCR_EL2, v.x[0])
    size: u32 = u32(Vcpu.size)
    return u64(at(Vcpu, v.page).timer.cval + size)
"""
BAD = """\

@resident
def g(v: Vcpu, p: PA, a: VA) -> None:
    v.page = 5
    f(v, 1, a)
    v.x[0] = v.timer
    v.timer.clav = 1
    v.timers[0].x
    at(u64, p)
"""


@pytest.mark.slow
def test_mypy_accepts_and_refuses(tmp_path: Path) -> None:
    path = tmp_path / "sample.py"
    path.write_text(GOOD + BAD)
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(path)],
        cwd=root,
        capture_output=True,
        text=True,
    )
    first = GOOD.count("\n") + 4
    lines = [line.partition(": error: ") for line in run.stdout.splitlines()]
    found = {int(place.rsplit(":", 1)[1]): text for place, _, text in lines if text}
    assert sorted(found) == [first + n for n in range(6)], run.stdout + run.stderr
    assert "[assignment]" in found[first]
    assert '"VA"; expected "PA"' in found[first + 1]
    assert '"clav"' in found[first + 3]
