"""Reading QEMU's log, naming places, and the tables of a profile, without a machine."""

from __future__ import annotations

import io
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from tests.limits import LIMIT_S
from vel2.bench import execlog
from vel2.bench.configuration import CONFIGURATIONS
from vel2.bench.execlog import ExecLog, Taken, read_steps
from vel2.bench.layout import ROUNDS, TIMED, Mark
from vel2.bench.measure import Figures, MeasureError
from vel2.bench.payload import payload_image
from vel2.bench.places import Code, Place, source_text
from vel2.bench.profile import (
    KERNEL_HALF,
    Naming,
    Profile,
    Run,
    Watch,
    Windows,
    between_reads,
    counter_reads,
    look_into,
    trap_kind,
)
from vel2.bench.profile_result import profile_tree
from vel2.bench.system import Running
from vel2.cli.bench.profile import print_profile
from vel2.cli.main import vel2
from vel2.cli.terminal import Terminal
from vel2.hyp import image
from vel2.machine.qmp import MonitorError

L0_BASE = 0x8000_0000
L0 = image.build(L0_BASE)
PAYLOAD = payload_image()
READS = sorted(counter_reads(PAYLOAD))
VECTOR = L0.symbols["vectors"] + 0x400
KERNEL = 0xFFFF_8000_8001_0000
HVC = PAYLOAD.symbols["firmware_call"]


def trace(*pcs: int) -> list[str]:
    return [f"Trace 0: 0x7f3b435a0ec0 [40004004/{pc:016x}/00001121/ff022201] " for pc in pcs]


def taking(name: str, old: int, new: int, esr: int | None, elr: int, *more: str) -> list[str]:
    lines = [f"Taking exception 1 [{name}] on CPU 0", f"...from EL{old} to EL{new}"]
    if esr is not None:
        lines.append(f"...with ESR {esr >> 26:#x}/{esr:#x}")
    lines += [*more, "...with SPSR 0x20000345", f"...with ELR {elr:#x}"]
    return [*lines, f"...to EL{new} PC {VECTOR:#x} PSTATE 0x23c9"]


def returning(old: int, new: int, pc: int) -> list[str]:
    return [f"Exception return from AArch64 EL{old} to AArch64 EL{new} PC {pc:#x}"]


HYPERCALL = [
    *trace(HVC),
    *taking("Hypervisor Call", 1, 2, 0x5A00_0000, HVC + 4),
    *trace(VECTOR, VECTOR + 4, L0.symbols["handle_sync"]),
    *returning(2, 1, KERNEL),
    *trace(KERNEL, KERNEL + 4),
    *taking("Undefined Instruction", 1, 2, 0x6A00_0000, KERNEL + 4),
    *trace(VECTOR),
    *returning(2, 1, HVC + 4),
    *trace(HVC + 4),
]


# --- the log ------------------------------------------------------------------------------------


def test_steps_follow_exceptions_and_returns() -> None:
    steps = read_steps(HYPERCALL, el=1)
    assert [(step.el, len(step.pcs)) for step in steps] == [(1, 1), (2, 3), (1, 2), (2, 1), (1, 1)]
    assert steps[1].taken == Taken("Hypervisor Call", 1, 2, 0x5A00_0000, HVC + 4)
    assert [step.taken and trap_kind(step.taken) for step in steps[1::2]] == ["HVC64", "ERET"]
    assert steps[2].taken is None


def test_what_did_not_complete_is_not_counted() -> None:
    lines = [
        *trace(0x1000, 0x1004),
        "Stopped execution of TB chain before 0x7f3b435a0ec0 [0000000000001004] ",
        *trace(0x1004, 0x1008),
        *taking("Data Abort", 1, 2, 0x9200_0007, 0x1008, "...with FAR 0x9000800"),
        *trace(VECTOR),
    ]
    steps = read_steps(lines, el=1)
    assert [step.pcs for step in steps] == [[0x1000, 0x1004], [VECTOR]]
    assert steps[1].taken is not None
    assert steps[1].taken.far == 0x900_0800
    assert trap_kind(steps[1].taken) == "DABT_LOWER"


def test_kinds_of_traps() -> None:
    mrs_mdcr = 0x18 << 26 | 1 << 25 | 3 << 20 | 1 << 17 | 4 << 14 | 1 << 10 | 1 << 1 | 1
    tlbi = 0x18 << 26 | 1 << 25 | 1 << 20 | 8 << 10 | 3 << 1
    assert trap_kind(Taken("Undefined Instruction", esr=mrs_mdcr)) == "MRS MDCR_EL2"
    assert trap_kind(Taken("Undefined Instruction", esr=mrs_mdcr & ~1)) == "MSR MDCR_EL2"
    assert trap_kind(Taken("Undefined Instruction", esr=tlbi)) == "TLBI VMALLE1IS"
    assert trap_kind(Taken("IRQ")) == "IRQ"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["IN: something else"], "not understood"),
        (["Stopped execution of TB chain before 0x0 [0] "], "takes back what it did not say"),
    ],
)
def test_a_log_that_is_something_else(lines: list[str], said: str) -> None:
    with pytest.raises(MeasureError, match=said):
        read_steps(lines, el=1)


# --- places -------------------------------------------------------------------------------------


def test_a_place_is_the_source_function_where_it_was_expanded() -> None:
    code = Code(L0)
    start = L0.symbols["enter_vel2"]
    places = [code.at(pc) for pc in range(start, start + L0.sizes["enter_vel2"], 4)]
    names = {place.function for place in places if place}
    assert {"context.enter_vel2", "context.save_vel1_registers"} <= names
    place = next(place for place in places if place and place.function == "context.enter_vel2")
    assert place.line is not None and place.line.startswith("vel2/hyp/context.py:")
    assert source_text(place.line)
    second = code.at(L0.symbols["resume"] + 4)
    assert second is not None and second.function == "assembly resume"
    resume = code.at(L0.symbols["resume"])
    assert resume is not None and (resume.function, resume.line) == ("assembly resume", None)
    assert code.at(L0.end) is None


@pytest.mark.parametrize(
    ("configuration", "el", "pc", "who"),
    [
        ("vhe-nv2", 2, L0_BASE, "L0"),
        ("vhe-nv2", 1, HVC, "L2"),
        ("vhe-nv2", 1, KERNEL, "L1 vEL2"),
        ("vhe-nv2", 0, HVC, "L1 EL0"),
        ("nvhe-nv2", 1, KERNEL | KERNEL_HALF, "L1 vEL1"),
        ("nvhe-nv2", 1, 0x8000_0000_1000, "L1 vEL2"),
        ("native", 2, KERNEL, "L1 EL2"),
        ("native-nvhe", 1, KERNEL, "L1 EL1"),
        ("kvm-vhe", 2, KERNEL, "L0"),
        ("kvm-vhe", 1, KERNEL, "L1 vEL2"),
        ("kvm-vhe", 0, HVC, "EL0"),
    ],
)
def test_who_runs(configuration: str, el: int, pc: int, who: str) -> None:
    row = CONFIGURATIONS[configuration]
    assert Naming(row, None if row.nv is None else L0, b"").who(el, pc) == who


def test_who_completes_nothing_still_ran() -> None:
    """L0 returns to an access that aborts at once: the second trap is L2's, not L0's."""
    abort = taking("Data Abort", 1, 2, 0x9200_0007, HVC, "...with FAR 0x9000800")
    lines = [*trace(HVC, HVC), *abort, *trace(VECTOR), *returning(2, 1, HVC)]
    lines += [*trace(HVC), *abort, *trace(VECTOR), *returning(2, 1, HVC), *trace(HVC)]
    runs = Naming(CONFIGURATIONS["vhe-nv2"], L0, b"").name(read_steps(lines, el=1))
    found = [(run.who, len(run.pcs)) for run in runs]
    assert found == [("L2", 1), ("L0", 1), ("L2", 0), ("L0", 1), ("L2", 1)]
    made = Profile("stage2_fault", 4, 0, Figures(1, 4), runs)
    assert [who for who, _ in made.traps] == ["L2", "L2"]
    assert made.levels == {"L2": 2, "L0": 2}
    # What was just returned to, and not executed before the window ended, did not run.
    assert len(Naming(CONFIGURATIONS["vhe-nv2"], L0, b"").name(read_steps(lines[:-1], el=1))) == 4


# --- profiles -----------------------------------------------------------------------------------


def logged(lines: list[str]) -> bytes:
    """Give a window as QEMU logs it: a reading of the counter, the operation, another, the mark."""
    inside = [*trace(READS[0]), *lines, *trace(READS[1])]
    return "\n".join([*trace(HVC), *inside, *trace(HVC), ""]).encode()


USUAL = 9
VHE = Naming(CONFIGURATIONS["vhe-nv2"], L0, b"")


def test_the_usual_window_is_profiled() -> None:
    windows = Windows(Counter({2: 3, USUAL: 5}), {2: logged(trace(HVC)), USUAL: logged(HYPERCALL)})
    made = look_into("hypercall", Figures(10, 90), windows, VHE)
    assert made.levels == {"L0": 4, "L2": 3, "L1 vEL2": 2}
    assert [who for who, _ in made.traps] == ["L2", "L1 vEL2"]
    tree = profile_tree(made)
    assert tree["instructions"] == USUAL == sum(tree["levels"].values())
    assert sum(row["instructions"] for row in tree["functions"]) == USUAL
    assert sum(run["instructions"] for run in tree["runs"]) == USUAL
    assert tree["traps"] == [
        {"kind": "HVC64", "from": "L2", "times": 1, "instructions": 3},
        {"kind": "ERET", "from": "L1 vEL2", "times": 1, "instructions": 1},
    ]
    text = io.StringIO()
    terminal = Terminal()
    terminal.file = text
    print_profile(terminal, "vhe-nv2", made)
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert "hypercall in vhe-nv2: 9 instructions" in lines
    assert "HVC64 L2 1 3 3 33.3" in lines
    assert "L0 assembly vectors 3 33.3" in lines


def test_a_narrow_page_loses_no_place_and_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source is what can be looked up; its beginning stands as far as there is room."""
    monkeypatch.setenv("COLUMNS", "80")
    place = "vel2/hyp/a_module_of_some_name.py:1234"
    name = "a_function_of_a_guest_whose_name_is_too_long_for_a_line_of_eighty_columns_to_hold"
    runs = [
        Run("L0", Taken("HVC"), [0] * 12_345, [Place("trap.handle", place)] * 12_345),
        Run("L1 vEL2", None, [0] * 54_321, [Place(name)] * 54_321),
    ]
    source = "value = " + "and_more_of_the_same + " * 20
    monkeypatch.setattr("vel2.bench.places.source_text", lambda line: source)
    text = io.StringIO()
    terminal = Terminal()
    terminal.file = text
    print_profile(terminal, "vhe-nv2", Profile("hypercall", 66_666, 0, Figures(10, 90), runs))
    lines = text.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    (found,) = (line for line in lines if place in line)
    assert "12,345  18.5  value = " in found and found.endswith("…")
    # A name goes on in the next line.
    at = next(n for n, line in enumerate(lines) if "a_function_of" in line)
    first, second = lines[at : at + 2]
    assert first.split()[2] + second.split()[0] == name and first.split()[3] == "54,321"


def test_of_equally_frequent_windows_the_least_is_usual() -> None:
    windows = Windows(Counter({30: 2, 20: 2, 40: 1}), {30: b"a", 20: b"b", 40: b"c"})
    assert windows.usual() == (20, b"b")


def test_a_log_that_contradicts_the_clock() -> None:
    windows = Windows(Counter({10: 1}), {10: logged(HYPERCALL)})
    with pytest.raises(MeasureError, match="logged 9 instructions of hypercall, but it took 10"):
        look_into("hypercall", Figures(10, 90), windows, VHE)
    assert look_into("wfi_timer", Figures(10, 90), windows, VHE).idle == 1


class Monitor:
    """QEMU's monitor, which writes a line to the log when it is switched on."""

    def __init__(self, log: Path, said: str = "") -> None:
        self.log, self.said = log, said
        self.commands: list[object] = []

    def execute(self, command: str, arguments: dict[str, object]) -> str:
        self.commands.append(arguments["command-line"])
        return self.said


def test_single_operations_are_taken_out_of_the_log(tmp_path: Path) -> None:
    """QEMU appends where it was, whatever has been dropped before."""
    path = tmp_path / "log"
    monitor = Monitor(path)
    machine = SimpleNamespace(monitor=monitor)
    with ExecLog(path) as log, path.open("wb", buffering=0) as qemu:
        watch = Watch(log, ["null"])
        watch.begin(Running(cast(Any, machine), lambda: None))
        sequence = itertools.count(1)
        for number in range(ROUNDS):
            for ticks in (0, 5):
                mark = Mark()
                mark.sequence, mark.round, mark.ticks = next(sequence), number, ticks
                watch.see(mark)
                if mark.sequence == 1:
                    wait_until(lambda: log.is_on)
                qemu.write(b"%d;" % mark.sequence)
        wait_until(lambda: len(monitor.commands) == 4)
    assert not watch.too_late
    assert watch.windows["null"] == Windows(Counter({5: ROUNDS - 2}), {5: b"5;"})
    assert monitor.commands == [*execlog.ON, *execlog.OFF]


def test_a_log_that_comes_too_late(tmp_path: Path) -> None:
    release = threading.Event()

    class Slow(Monitor):
        def execute(self, command: str, arguments: dict[str, object]) -> str:
            release.wait(LIMIT_S)
            return super().execute(command, arguments)

    machine = SimpleNamespace(monitor=Slow(tmp_path / "log"))
    with ExecLog(tmp_path / "log") as log:
        watch = Watch(log, ["null"])
        watch.begin(Running(cast(Any, machine), lambda: None))
        for sequence, number in ((1, 0), (2, 0), (3, TIMED + 1)):
            mark = Mark()
            mark.sequence, mark.round = sequence, number
            watch.see(mark)
        release.set()
    assert watch.too_late


def test_a_qemu_that_refuses(tmp_path: Path) -> None:
    with ExecLog(tmp_path / "log") as log:
        log.switch(cast(Any, Monitor(tmp_path / "log", "unknown command: 'log'\n")), True)
        with pytest.raises(MonitorError, match="one-insn-per-tb on: unknown command: 'log'"):
            wait_until(lambda: log.is_on)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.001)


def test_a_window_without_the_counter() -> None:
    with pytest.raises(MeasureError, match="does not show L2 reading the counter"):
        between_reads(trace(HVC, READS[0], HVC), frozenset(READS))


@pytest.mark.parametrize("command", ["profile", "explain"])
def test_host_time_cannot_be_profiled(command: str) -> None:
    result = CliRunner().invoke(vel2, ["bench", command, "--host-time"])
    assert result.exit_code == 2
    assert "No such option '--host-time'" in result.stderr
