"""Linux's KVM as L0: QEMU's log of exceptions, and the comparison, without a machine."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from vel2.bench import traplog
from vel2.bench.configuration import CONFIGURATIONS
from vel2.bench.counts import Counted, Traps, between
from vel2.bench.measure import Figures
from vel2.bench.operations import operation_names
from vel2.bench.result import add_comparisons, measured_column
from vel2.bench.targets import AT_LEAST, PEER_OF
from vel2.bench.traplog import LogParser, TrapLog, TrapLogError
from vel2.cli.bench.comparison import print_peer
from vel2.cli.terminal import Terminal
from vel2.runtime.semihosting import SYS_READ, SYS_WRITE

GUEST, HOST = 0xFFFF_C0E9_EEAD_8C00, 0xFFFF_C0E9_EEA1_0C00
"""Vectors that KVM runs guests under, and those of the same kernel for its own user space."""
HVC, MSR_MDSCR_EL1, TLBI_VAALE1IS, DABT, SVC = (
    0x5A00_0000,
    0x6224_0044,
    0x621E_2006,
    0x9200_0007,
    0x5600_0000,
)


def taken(name: str, source: int, target: int, syndrome: int, vector: int = GUEST) -> str:
    """Write an exception as QEMU does."""
    return (
        f"Taking exception 1 [{name}] on CPU 0\n...from EL{source} to EL{target}\n"
        f"...with ESR {syndrome >> 26:#x}/{syndrome:#x}\n...with FAR 0x439ee0\n"
        f"...with SPSR 0x604003c5\n...with ELR 0x40201064\n"
        f"...to EL{target} PC {vector:#x} PSTATE 0x23c9\n"
        f"Exception return from AArch64 EL{target} to AArch64 EL{source} PC 0x40201064\n"
    )


def call(number: int) -> str:
    """Write a semihosting call as QEMU does."""
    return (
        "Taking exception 16 [Semihosting call] on CPU 0\n...from EL1 to EL2\n"
        f"...handling as semihosting call {number:#x}\n"
    )


MARK = call(SYS_WRITE) + call(SYS_READ)
USER_SPACE = taken("Data Abort", 0, 2, DABT, HOST) + taken("SVC", 0, 2, SVC, HOST)


def parsed(*texts: str) -> list[Counted]:
    parser = LogParser()
    for line in "".join(texts).encode().splitlines(keepends=True):
        parser.feed(line)
    return parser.marks


# --- the log ------------------------------------------------------------------------------------


def test_what_is_a_trap() -> None:
    before, after = parsed(
        USER_SPACE,
        taken("Hypervisor Call", 1, 2, HVC),
        MARK,
        taken("Undefined Instruction", 1, 2, MSR_MDSCR_EL1),
        taken("Undefined Instruction", 1, 2, TLBI_VAALE1IS),
        taken("Data Abort", 0, 2, DABT),
        taken("Data Abort", 1, 2, DABT, GUEST & ~0x7FF | 0x400),
        # QEMU shows the syndrome of before with an interrupt.
        taken("IRQ", 1, 2, HVC),
        # L0's own user space and kernel, and what a guest takes itself.
        USER_SPACE,
        taken("IRQ", 2, 2, DABT, HOST),
        taken("SVC", 0, 1, SVC),
        taken("Virtual IRQ", 1, 1, 0),
        MARK,
    )
    assert before == Counted({"HVC64 EL1": 1})
    assert between(before, after) == Traps(
        {
            "MDSCR_EL1": 1,
            "TLBI VAALE1IS": 1,
            "DABT_LOWER EL0": 1,
            "DABT_LOWER EL1": 1,
            "IRQ EL1": 1,
        },
        None,
    )
    assert between(None, before).by_kind == {"HVC64 EL1": 1}


def test_l0s_user_space_before_the_first_trap() -> None:
    (counts,) = parsed(USER_SPACE, USER_SPACE, MARK)
    assert counts.by_kind == {}


def test_the_log_of_a_running_machine(tmp_path: Path) -> None:
    """The other end, as QEMU is: it opens the file, and writes whether or not anybody waits."""
    with TrapLog(tmp_path) as log:
        assert log.arguments == ("-d", "int", "-D", str(tmp_path / "traps"))

        def machine() -> None:
            with (tmp_path / "traps").open("w") as file:
                file.write(taken("Hypervisor Call", 1, 2, HVC) + MARK)
                file.flush()
                file.write(taken("Hypervisor Call", 1, 2, HVC) * 1000 + MARK)

        thread = threading.Thread(target=machine)
        thread.start()
        assert [log.take().by_kind["HVC64 EL1"] for _ in range(2)] == [1, 1001]
        thread.join()


def test_a_log_without_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traplog, "MARK_TIMEOUT_S", 0.01)
    with TrapLog(tmp_path) as log, pytest.raises(TrapLogError, match="does not show the payload's"):
        log.take()


def test_no_descriptor_of_the_log_is_left(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with TrapLog(tmp_path):
        assert len(os.listdir("/proc/self/fd")) == before + 2
    assert len(os.listdir("/proc/self/fd")) == before


# --- the comparison -----------------------------------------------------------------------------


def test_what_is_asked_for_is_measured() -> None:
    for name, peer in PEER_OF.items():
        assert CONFIGURATIONS[peer].kvm and CONFIGURATIONS[name].nv is not None
        assert CONFIGURATIONS[peer].el2 is CONFIGURATIONS[name].el2
        assert set(AT_LEAST[name]) <= set(operation_names())


def columns(ours: int, kvm: int, deterministic: bool = True) -> dict[str, Any]:
    seven = Traps({"MDSCR_EL1": 5, "HVC64 EL1": 1, "ERET EL1": 1}, None)
    made = {
        name: measured_column({"hypercall": figures}, deterministic)
        for name, figures in (
            ("vhe-nv2", Figures(10, ours)),
            ("vhe-nv", Figures(10, ours)),
            ("kvm-vhe", Figures(10, kvm, seven, traps_of=1, singles=[(45_000, seven)])),
        )
    }
    add_comparisons(made, CONFIGURATIONS)
    return made


@pytest.mark.parametrize(("kvm", "ratio", "met"), [(240_000, 12.0, True), (239_900, 12.0, False)])
def test_at_least_so_many_times(kvm: int, ratio: float, met: bool) -> None:
    found = columns(20_000, kvm)
    assert found["vhe-nv2"]["operations"]["hypercall"]["peer"] == {
        "configuration": "kvm-vhe",
        "ratio": ratio,
        "host_ratio": None,
        "at_least": 12,
        "met": met,
    }
    assert found["vhe-nv"]["operations"]["hypercall"]["peer"] is None
    cell = found["kvm-vhe"]["operations"]["hypercall"]
    assert (cell["peer"], cell["usual_traps"], cell["switches_to_vel2_per_op"]) == (None, 7, None)


def test_what_is_asked_for_is_instructions() -> None:
    cell = columns(20_000, 100_000, deterministic=False)["vhe-nv2"]["operations"]["hypercall"]
    assert (cell["peer"]["ratio"], cell["peer"]["met"]) == (5.0, None)
    assert cell["peer"]["host_ratio"] == 5.0


def test_without_the_peer() -> None:
    made = {"vhe-nv2": measured_column({"hypercall": Figures(10, 20_000)}, True)}
    add_comparisons(made, CONFIGURATIONS)
    assert made["vhe-nv2"]["operations"]["hypercall"]["peer"] is None


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = io.StringIO()
    terminal = Terminal()
    terminal.file = text
    print_peer(terminal, columns(20_000, 460_000), ["null", "hypercall"])
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert "kvm-vhe hypercall 46,000 (7) 2,000 23 12 met" in lines


def test_a_peer_that_is_far_cheaper() -> None:
    cell = columns(2_865_000, 5_000)["vhe-nv2"]["operations"]["hypercall"]
    assert cell["peer"]["ratio"] == 0.00175
