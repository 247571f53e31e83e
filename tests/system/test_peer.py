"""`vel2 bench --peer kvm`, and whether QEMU's log of exceptions tells what L0 counts."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.limits import LIMIT_S
from vel2.bench.configuration import CONFIGURATIONS
from vel2.bench.counts import Traps, between
from vel2.bench.host import MarkReader
from vel2.bench.measure import MicroRequest, l1_guest
from vel2.bench.payload import build_payload
from vel2.bench.system import system
from vel2.bench.targets import AT_LEAST, PEER_OF
from vel2.bench.traplog import TrapLog
from vel2.cli.demo import fetch_missing
from vel2.cli.exits import ExitCode
from vel2.guests.kernels import guest_path
from vel2.machine.loader import load_kernel

pytestmark = [pytest.mark.qemu, pytest.mark.network, pytest.mark.timeout(900)]

VEL2 = Path(sys.executable).parent / "vel2"
LEVELS = {"EL0", "EL1", "vEL1", "vEL2"}


def without_levels(traps: Traps) -> Counter[str]:
    """Count by kind alone: the log knows real Exception levels, L0 knows virtual ones."""
    kinds: Counter[str] = Counter()
    for kind, count in traps.by_kind.items():
        name, _, level = kind.rpartition(" ")
        kinds[name if level in LEVELS else kind] += count
    return kinds


def test_the_log_tells_what_l0_counts(tmp_path: Path) -> None:
    """Of vel2 both are known, so the way in which KVM's traps are counted can be checked."""
    fetch_missing(["6.12", "busybox"])
    payload = build_payload(20, ["null", "hypercall", "mmio_read", "self_sgi"])
    configuration = CONFIGURATIONS["vhe-nv2"]
    request = MicroRequest(configuration, load_kernel(guest_path("6.12")), payload)
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(MarkReader(tmp_path))
        log = stack.enter_context(TrapLog(tmp_path))
        running = stack.enter_context(
            system(
                configuration,
                l1_guest(request),
                tmp_path,
                deterministic=True,
                arguments=(*reader.arguments, *log.arguments),
            )
        )
        marks = reader.marks(running.session.console, time.monotonic() + 150)
        seen = [(running.snapshot(), log.take()) for _ in marks]
        assert running.session.wait(LIMIT_S).clean
    rounds = 0
    for (counted, logged), (later_counted, later_logged) in pairwise(seen):
        assert later_counted is not None
        traps = between(counted, later_counted)
        assert without_levels(traps) == without_levels(between(logged, later_logged))
        rounds += traps.total > 20
    assert rounds >= 3


@pytest.mark.slow
def test_kvm_as_l0(tmp_path: Path) -> None:
    def bench() -> tuple[dict[str, Any], str]:
        result = tmp_path / "result.json"
        command = [VEL2, "bench", "--peer", "kvm", "--deterministic", "--nv", "nv2"]
        command += ["--n", "60", "--json", result]
        for name in ("null", *AT_LEAST["vhe-nv2"]):
            command += ["--only", name]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == ExitCode.OK, done.stdout
        return json.loads(result.read_text()), done.stdout

    result, output = bench()
    columns = result["configurations"]
    assert result["kvm_l0_kernel"].startswith("7.")
    names = ["native", "native-nvhe", "vhe-nv2", "nvhe-nv2", "kvm-vhe", "kvm-nvhe"]
    assert list(columns) == names
    native = columns["native"]["operations"]
    for ours, kvm in PEER_OF.items():
        cells = columns[kvm]["operations"]
        assert cells["null"]["instructions_per_op"] == native["null"]["instructions_per_op"]
        assert cells["null"]["usual_traps"] == 0
        # L1's own interrupts come on top.
        assert cells["hypercall"]["l1_exits_per_op"] == pytest.approx(1, abs=0.1)
        # What traps is L2's HVC, L1's ERET, and what L1 does in between.
        kinds = cells["hypercall"]["usual_traps_by_kind"]
        assert kinds["HVC64 EL1"] >= 1 and kinds["ERET EL1"] >= 1
        assert sum(kinds.values()) == cells["hypercall"]["usual_traps"] >= 3
        for name in AT_LEAST[ours]:
            cell = columns[ours]["operations"][name]
            peer, kvm_instructions = cell["peer"], cells[name]["instructions_per_op"]
            assert (peer["configuration"], peer["met"]) == (kvm, True), (name, peer)
            assert peer["ratio"] == pytest.approx(
                kvm_instructions / cell["instructions_per_op"], rel=0.01
            )
    assert any(line.startswith("kvm-nvhe") and "met" in line for line in output.splitlines())

    # Bit for bit, L0's own interrupts included.
    again = bench()[0]
    assert again.pop("run")["command"] == result.pop("run")["command"]
    assert again == result
