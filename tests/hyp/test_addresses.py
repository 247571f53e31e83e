"""An address says of whom it is: mixing L2's, L1's and the machine's is refused, twice.

The compiler of the subset refuses it when L0 is built, mypy before that.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vel2.lang import SubsetError, lower_module

ROOT = Path(__file__).resolve().parents[2]
TYPES = ("IPA", "L1IPA", "L2IPA", "PA", "u64")
CALLS = (
    ("stage2.canonical_leaf(vm, a)", "L1IPA"),
    ("stage2.is_ram(vm, a)", "L1IPA"),
    ("stage2.pa_of(a)", "L1IPA"),
    ("stage2.find_leaf(vm, a, IPA(0))", "PA"),
    ("stage2.find_leaf(vm, PA(0), a)", "IPA"),
    ("stage2.map_leaf(vm, s, a, 3, 0, 0)", "IPA"),
    ("shadow.fill(vcpu, a, 0)", "L2IPA"),
    ("shadow.unmap(vm, s, a, 1)", "L2IPA"),
    ("shadow.invalidation_shift(vm, s, a)", "L2IPA"),
    ("walk.guest_stage2(vm, w, 0, 0, a)", "L2IPA"),
    ("stage1.reach(vcpu, a, 1)", "IPA"),
    ("abort.stage2_fault(vcpu, a)", "IPA"),
    ("abort.to_hole(vcpu, a)", "L1IPA"),
    ("mmio.access(vcpu, a)", "L1IPA"),
    ("pool.spare(vm, s, a, 3)", "PA"),
)
"""Each takes an address `a` of one type."""
HEAD = """\
from vel2.hyp import abort, mmio, pool, shadow, stage1, stage2, walk
from vel2.hyp.records import Walk
from vel2.hyp.state import Stage2, Vcpu, Vm
from vel2.lang import IPA, L1IPA, L2IPA, PA, resident, u64
"""
FUNCTION = """

@resident
def f{n}(vcpu: Vcpu, vm: Vm, s: Stage2, w: Walk, a: {given}) -> None:
    {call}
"""
WRONG = [(call, given) for call, wanted in CALLS for given in TYPES if given != wanted]


@pytest.mark.parametrize("call", CALLS, ids=[call for call, _ in CALLS])
def test_the_compiler_takes_one_type(call: tuple[str, str], tmp_path: Path) -> None:
    text, wanted = call
    for given in TYPES:
        path = tmp_path / f"of_{given}.py"
        path.write_text(HEAD + FUNCTION.format(n=0, given=given, call=text))
        names: dict[str, object] = {}
        exec(compile(path.read_text(), str(path), "exec"), names)
        function = names["f0"]
        if given == wanted:
            lower_module(function)  # type: ignore[arg-type]
        else:
            with pytest.raises(SubsetError, match=f"{wanted} is wanted, `a` is {given}"):
                lower_module(function)  # type: ignore[arg-type]


@pytest.mark.slow
def test_mypy_takes_one_type(tmp_path: Path) -> None:
    """An address is an integer to mypy, but an integer is no address."""
    path = tmp_path / "mixed.py"
    functions = [
        FUNCTION.format(n=n, given=given, call=call) for n, (call, given) in enumerate(WRONG)
    ]
    path.write_text(HEAD + "".join(functions))
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    refused = {int(line.split(":")[1]) for line in run.stdout.splitlines() if "[arg-type]" in line}
    first = HEAD.count("\n") + 5
    assert refused == {first + 5 * n for n in range(len(WRONG))}, run.stdout + run.stderr
