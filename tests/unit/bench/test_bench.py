"""Parsing, counting and tables of `vel2 bench`, without a machine."""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from vel2.arch import sysregs as sr
from vel2.arch.esr import EC
from vel2.bench import measure, targets
from vel2.bench.configuration import CONFIGURATIONS, find_configurations
from vel2.bench.counts import Snapshot, Snapshots, Traps, between
from vel2.bench.host import MarkReader
from vel2.bench.layout import MAX_COUNT, ROUNDS, TIMED, Mark, Parameters
from vel2.bench.measure import Figures, MeasureError, Round, collect, follow
from vel2.bench.operations import operation_names, unavailable
from vel2.bench.payload import build_payload
from vel2.bench.result import add_comparisons, is_met, measured_column
from vel2.bench.targets import Cost
from vel2.cli.bench.comparison import print_comparison
from vel2.cli.bench.micro import print_costs
from vel2.cli.bench.options import split_names
from vel2.cli.bench.tables import parts_that_fit
from vel2.cli.main import vel2
from vel2.cli.terminal import Terminal
from vel2.errors import UserError
from vel2.hyp import image
from vel2.hyp.state import CONTEXT_VEL1, CONTEXT_VEL2, Vcpu
from vel2.lang import SubsetError
from vel2.machine.console import Console
from vel2.machine.loader import KernelImage, load_kernel
from vel2.machine.outcome import ExitReason, MachineExit

POWERED_OFF = MachineExit(ExitReason.SHUTDOWN, "", 0, 1.0)
KERNEL = KernelImage(b"", 0, 0, "Image")


# --- what is measured ---------------------------------------------------------------------------


def test_configurations() -> None:
    def names(*arguments: Any) -> list[str]:
        return [row.name for row in find_configurations(*arguments)]

    assert names() == ["native", "native-nvhe", "vhe-nv2", "nvhe-nv2", "vhe-nv", "nvhe-nv"]
    assert names((), ["vhe"]) == ["native", "vhe-nv2", "vhe-nv"]
    assert names((), ["nvhe"], ["nv"]) == ["native-nvhe", "nvhe-nv"]
    assert names(["nvhe-nv", "native-nvhe", "nvhe-nv"], ["vhe"]) == ["nvhe-nv", "native-nvhe"]
    assert names((), ["vhe"], ["nv2"], ["kvm"]) == ["native", "vhe-nv2", "kvm-vhe"]
    assert names(["native"], (), (), ["kvm"]) == ["native", "kvm-vhe", "kvm-nvhe"]
    assert names(["kvm-nvhe"], ["nvhe"], (), ["kvm"]) == ["kvm-nvhe"]
    assert CONFIGURATIONS["native-nvhe"].bootargs == " kvm-arm.mode=nvhe"
    assert CONFIGURATIONS["nvhe-nv2"].bootargs == CONFIGURATIONS["kvm-nvhe"].bootargs == ""
    assert [row.name for row in CONFIGURATIONS.values() if not row.nested] == [
        "native",
        "native-nvhe",
    ]


def test_names_with_commas() -> None:
    assert split_names([" a, b,,c "]) == ("a", "b", "c")
    assert split_names(["a", "b,c", ""]) == ("a", "b", "c")
    assert split_names([]) == ()


def test_operation_names_are_words_and_unique() -> None:
    names = operation_names()
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() for name in names)


def test_the_payload_is_a_kernel_for_the_vmm() -> None:
    payload = build_payload(100, ["hypercall", "null"], has_marks=False)
    image = load_kernel(payload.data)
    assert (image.kind, image.text_offset) == ("Image", 0)
    assert payload.selected == ("null", "hypercall")
    parameters = Parameters(payload.data, 64)
    assert (parameters.count, parameters.has_marks, parameters.selected) == (100, 0, 0b11)


@pytest.mark.parametrize("table", [targets.KVM, targets.MUST, targets.AIMS])
def test_targets_name_what_there_is(table: dict[str, targets.Row]) -> None:
    for name, row in table.items():
        assert CONFIGURATIONS[name].nv is not None
        assert set(row) <= set(operation_names())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--configs", "vhe"],
            "there is no configuration 'vhe'; give one of native, native-nvhe, vhe-nv2, nvhe-nv2,"
            " vhe-nv, nvhe-nv, kvm-vhe, kvm-nvhe.",
        ),
        (
            ["--only", "null,hvc"],
            f"there is no operation 'hvc'; give one of {', '.join(operation_names())}.",
        ),
        (["--n", "3"], f"an operation cannot be done 3 times; give 10 to {MAX_COUNT}."),
    ],
)
def test_bad_options(options: list[str], said: str) -> None:
    result = CliRunner().invoke(vel2, ["bench", *options])
    assert (result.exit_code, result.stderr) == (2, f"vel2: {said}\n")


def test_an_l0_that_does_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before anything is fetched or started."""

    def build(base: int) -> None:
        raise SubsetError("there is no resident sorrow")

    monkeypatch.setattr(image, "build", build)
    result = CliRunner().invoke(vel2, ["bench", "--l1", "6.12", "--only", "null"])
    assert (result.exit_code, result.stderr) == (2, "vel2: there is no resident sorrow\n")


# --- counters -----------------------------------------------------------------------------------


def test_what_happened_between_two_snapshots() -> None:
    vcpu = Vcpu()
    counted = vcpu.counters
    counted.by_ec[CONTEXT_VEL1 * 64 + EC.HVC64] = 5
    counted.by_sysreg[sr.MDCR_EL2.trap_key] = 2
    counted.by_ec[CONTEXT_VEL2 * 64 + EC.SYS64] = 2
    before = Snapshot.take(vcpu)
    assert between(before, before) == Traps({}, 0)
    counted.by_ec[CONTEXT_VEL1 * 64 + EC.HVC64] = 8
    counted.by_ec[CONTEXT_VEL2 * 64 + EC.ERET] = 1
    counted.fast_eret = 3
    counted.by_sysreg[sr.MDCR_EL2.trap_key] = 4
    counted.by_sysreg[sr.ICC_SGI1R_EL1.trap_key] = 1
    counted.by_ec[CONTEXT_VEL2 * 64 + EC.SYS64] = 4
    counted.by_ec[CONTEXT_VEL1 * 64 + EC.SYS64] = 1
    counted.irq[CONTEXT_VEL1] = 1
    counted.to_vel2 = 5
    found = between(before, Snapshot.take(vcpu))
    assert found.by_kind == {
        "ERET vEL2": 4,
        "HVC64 vEL1": 3,
        "MDCR_EL2": 2,
        "ICC_SGI1R_EL1": 1,
        "IRQ vEL1": 1,
    }
    assert (found.total, found.exits) == (11, 5)


def test_what_all_vcpus_trapped_is_added_up() -> None:
    vcpus = [Vcpu(), Vcpu()]
    hvc = CONTEXT_VEL1 * 64 + EC.HVC64
    vcpus[0].counters.by_ec[hvc] = 1
    before = Snapshots.take(vcpus)
    vcpus[0].counters.by_ec[hvc] = 4
    vcpus[1].counters.by_ec[hvc] = 2
    vcpus[1].counters.irq[CONTEXT_VEL1] = 1
    vcpus[1].counters.to_vel2 = 6
    found = between(before, Snapshots.take(vcpus))
    assert found == Traps({"HVC64 vEL1": 5, "IRQ vEL1": 1}, 6)
    assert between(None, Snapshots.take(vcpus)).by_kind["HVC64 vEL1"] == 6


def test_what_takes_more_vcpus_is_left_out() -> None:
    alone, two = build_payload(100), build_payload(100, vcpus=2)
    assert set(two.selected) - set(alone.selected) == {
        "remote_sgi",
        "remote_wake",
        "hypercall_all",
    }
    assert (alone.vcpus, two.vcpus) == (1, 2)
    assert set(unavailable(1)) == set(two.selected) - set(alone.selected)
    assert unavailable(2) == {}


def test_a_register_counter_that_wraps() -> None:
    vcpu = Vcpu()
    vcpu.counters.by_sysreg[sr.MDCR_EL2.trap_key] = 0xFFFF_FFFF
    before = Snapshot.take(vcpu)
    vcpu.counters.by_sysreg[sr.MDCR_EL2.trap_key] = 1
    vcpu.counters.by_ec[CONTEXT_VEL2 * 64 + EC.SYS64] = 2
    assert between(before, Snapshot.take(vcpu)).by_kind == {"MDCR_EL2": 2}


def test_counters_that_contradict_each_other() -> None:
    vcpu = Vcpu()
    before = Snapshot.take(vcpu)
    vcpu.counters.by_ec[CONTEXT_VEL2 * 64 + EC.SYS64] = 2
    with pytest.raises(ValueError, match="counted 2 traps of EC 0x18, but 0 by register"):
        between(before, Snapshot.take(vcpu))


# --- marks --------------------------------------------------------------------------------------


def mark(
    sequence: int, operation: int = 0, number: int = 0, count: int = 1, ticks: int = 0
) -> Mark:
    made = Mark()
    made.sequence, made.operation, made.round = sequence, operation, number
    made.count, made.ticks = count, ticks
    return made


def test_marks_arrive_and_are_answered(tmp_path: Path) -> None:
    """The other end, as the payload behind QEMU is."""
    console = Console()
    seen: list[int] = []

    def machine() -> None:
        up, down = (tmp_path / name for name in ("mark0", "mark1"))
        with up.open("wb", buffering=0) as marks, down.open("rb", buffering=0) as answers:
            for number in (1, 2, 3):
                marks.write(mark(number).to_bytes())
                assert answers.read(1) == b"."
        console.close()

    with MarkReader(tmp_path) as reader:
        assert reader.arguments[1].endswith(f"arg={tmp_path}/mark0")
        thread = threading.Thread(target=machine)
        thread.start()
        seen.extend(each.sequence for each in reader.marks(console, time.monotonic() + 30))
        thread.join()
    assert seen == [1, 2, 3]


def test_a_machine_that_ends_without_a_mark(tmp_path: Path) -> None:
    console = Console()
    console.close()
    with MarkReader(tmp_path) as reader:
        assert list(reader.marks(console, time.monotonic() + 30)) == []


def test_a_machine_that_does_nothing(tmp_path: Path) -> None:
    with MarkReader(tmp_path) as reader, pytest.raises(TimeoutError):
        list(reader.marks(Console(), time.monotonic() + 0.01))


def test_a_folder_that_qemu_could_not_be_told(tmp_path: Path) -> None:
    for folder in (tmp_path / "a,b", tmp_path / ("long" * 100)):
        with pytest.raises(UserError, match="set TMPDIR to a short path with no comma"):
            MarkReader(folder)


def test_marks_become_rounds() -> None:
    said: list[str] = []
    marks = [mark(1, 1), mark(2, 1, 0, 8, 80), mark(3, 1, 1), mark(4, 1, 1, 10, 70), mark(5)]
    rounds = list(follow(iter(marks), lambda: None, said.append))
    assert rounds == [Round("hypercall", 0, 8, 80, None), Round("hypercall", 1, 10, 70, None)]
    assert said == ["hypercall", "null"]


def test_a_mark_left_out() -> None:
    with pytest.raises(MeasureError, match="L2 left a mark out while it did null"):
        list(follow(iter([mark(1), mark(3)]), lambda: None, None))


# --- putting it together ------------------------------------------------------------------------


def request(deterministic: bool = True) -> measure.Request:
    payload = build_payload(10, ["hypercall"], deterministic)
    return measure.MicroRequest(CONFIGURATIONS["vhe-nv2"], KERNEL, payload, deterministic)


def console_with(*lines: str) -> Console:
    console = Console()
    console.feed("".join(f"{line}\r\n" for line in lines).encode())
    return console


def rounds(ticks: int = 500) -> list[Round]:
    traps = Traps({"HVC64 vEL1": 1}, 1)
    made = [Round("hypercall", 0, 8, 480, traps)]
    made.append(Round("hypercall", TIMED, 10, ticks, Traps({"HVC64 vEL1": 10, "IRQ vEL1": 1}, 11)))
    for number in range(TIMED + 1, ROUNDS):
        made.append(Round("hypercall", number, 1, 50 + (number == ROUNDS - 1), traps))
    return made


DONE = f"L2| done {2 * ROUNDS}"


def test_figures() -> None:
    console = console_with("L2| result hypercall 10 500 21 10", DONE)
    figures = collect(request(), console, POWERED_OFF, rounds())["hypercall"]
    assert (figures.ticks_per_op, figures.usual_ticks) == (50.0, 50)
    assert figures.traps is not None and figures.traps.total == 11
    assert figures.usual_traps is not None and figures.usual_traps.by_kind == {"HVC64 vEL1": 1}
    cell = measured_column({"hypercall": figures}, True)["operations"]["hypercall"]
    assert cell["instructions_per_op"] == 50.0
    assert (cell["traps_per_op"], cell["usual_traps"]) == (1.1, 1)
    assert cell["traps_by_kind"] == {"HVC64 vEL1": 1.0, "IRQ vEL1": 0.1}
    assert (cell["host_ns_per_op"], cell["l1_exits_per_op"]) == (None, 2.1)


def test_what_is_prepared_is_seen_in_single_ones() -> None:
    """The marks of its timed round have the preparations between them too."""
    payload = build_payload(20, ["eoi"])
    asked = measure.MicroRequest(CONFIGURATIONS["vhe-nv2"], KERNEL, payload)
    made = [Round("eoi", number, 1, 4, Traps({"IRQ vEL1": 1}, 1)) for number in range(ROUNDS)]
    made[TIMED] = Round("eoi", TIMED, 20, 90, Traps({"ICC_SGI1R_EL1": 20}, 20))
    console = console_with("L2| result eoi 20 90 30 15", DONE)
    figures = collect(asked, console, POWERED_OFF, made)["eoi"]
    cell = measured_column({"eoi": figures}, True)["operations"]["eoi"]
    assert (cell["instructions_per_op"], cell["l1_exits_per_op"]) == (4.5, 2.0)
    assert cell["traps_by_kind"] == {"IRQ vEL1": 1.0}
    assert cell["traps_per_op"] == cell["switches_to_vel2_per_op"] == 1.0


def test_figures_by_host_time() -> None:
    console = console_with("L2| result hypercall 10 505 18446744073709551615 10", "L2| done 34")
    figures = collect(request(deterministic=False), console, POWERED_OFF, [])["hypercall"]
    cell = measured_column({"hypercall": figures}, False)["operations"]["hypercall"]
    assert (cell["host_ns_per_op"], cell["instructions_per_op"]) == (50.5, None)
    assert cell["usual_traps"] is cell["l1_exits_per_op"] is None


@pytest.mark.parametrize(
    ("lines", "seen", "said"),
    [
        (
            ["L2| result hypercall 10 500 21 10", DONE],
            rounds()[:-1],
            "passed 34 marks, but 32 were seen",
        ),
        (["L2| result hypercall 10 500 21 10", DONE], rounds(501), "was seen other than reported"),
        (["L2| result null 10 500 0 10", DONE], rounds(), "L2 did not get to its end"),
        (["L2| error vector 4 ESR_EL1 1 ELR_EL1 2 FAR_EL1 3"], [], "error vector 4"),
    ],
)
def test_a_run_that_cannot_be_believed(lines: list[str], seen: list[Round], said: str) -> None:
    with pytest.raises(MeasureError, match=said) as caught:
        collect(request(), console_with(*lines), POWERED_OFF, seen)
    assert caught.value.exit_code == 1


def test_the_time_limit_has_its_exit_code() -> None:
    ended = MachineExit(ExitReason.TIMEOUT, "", 0, 1.0)
    with pytest.raises(MeasureError, match="the time limit was reached") as caught:
        collect(request(), console_with("nothing"), ended, [])
    assert caught.value.exit_code == 4


# --- comparing and printing ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "instructions", "traps", "met"),
    [
        (Cost(100, 4), 100, 4, True),
        (Cost(100, 4), 101, 4, False),
        (Cost(100, 4), 100, 5, False),
        (Cost(100), 100, None, True),
        (Cost(100, 4), 100, None, None),
        (Cost(100, 4), None, None, None),
    ],
)
def test_meeting_a_target(
    target: Cost, instructions: int | None, traps: int | None, met: bool | None
) -> None:
    assert is_met(target, instructions, traps) is met


def columns() -> dict[str, Any]:
    traps = Traps({"HVC64 vEL1": 1, "ERET vEL2": 1}, 1)
    nested = Figures(
        1000, 2_030_000, Traps({"HVC64 vEL1": 1000}, 1000), 1000, singles=[(2033, traps)]
    )
    made = {
        "native": measured_column({"hypercall": Figures(1000, 1_374_000)}, True),
        "native-nvhe": measured_column({"hypercall": Figures(1000, 2_000_000)}, True),
        "vhe-nv2": measured_column({"hypercall": nested}, True),
        "nvhe-nv2": {"error": "it failed", "operations": {}},
        "nvhe-nv": measured_column({"hypercall": Figures(1000, 9_000_000)}, True),
    }
    add_comparisons(made, CONFIGURATIONS)
    return made


def test_comparisons() -> None:
    cell = columns()["vhe-nv2"]["operations"]["hypercall"]
    assert cell["ratio_to_native"] == 1.48
    assert cell["must"] == {"instructions": 3500, "traps": 4, "met": True}
    assert cell["aims"] == {"instructions": 2000, "traps": 2, "met": False}
    assert cell["kvm_as_l0"]["instructions"] == 46_080
    native = columns()["native"]["operations"]["hypercall"]
    assert native["ratio_to_native"] is native["must"] is None


def test_each_kind_of_l1_is_compared_with_its_own_at_real_el2() -> None:
    """An nVHE KVM leaves for its own EL1 at each exit of its guest, at real EL2 too."""
    made = columns()
    bases = {name: column["base"] for name, column in made.items()}
    assert bases == {
        "native": None,
        "native-nvhe": None,
        "vhe-nv2": "native",
        "nvhe-nv2": "native-nvhe",
        "nvhe-nv": "native-nvhe",
    }
    assert made["nvhe-nv"]["operations"]["hypercall"]["ratio_to_native"] == 4.5
    assert made["native-nvhe"]["operations"]["hypercall"]["ratio_to_native"] is None
    alone = {"nvhe-nv": made["nvhe-nv"], "native": made["native"]}
    add_comparisons(alone, CONFIGURATIONS)
    assert alone["nvhe-nv"]["operations"]["hypercall"]["ratio_to_native"] is None


def test_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = io.StringIO()
    terminal = Terminal()
    terminal.file = text
    print_costs(terminal, columns(), ["hypercall"])
    print_comparison(terminal, columns(), ["hypercall"])
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert [line for line in lines if "hypercall" in line] == [
        "hypercall 1,374 2,000 2,030 (2) failed 9,000",
        "vhe-nv2 hypercall 1.48 22.7 3,500 (4) met 2,000 (2) not met",
        "nvhe-nv hypercall 4.50 - - -",
    ]


def test_more_columns_than_fit() -> None:
    columns = {"a": ["1,000 (2)"], "bb": ["1"], "long name": ["1"]}
    assert list(parts_that_fit(columns, 15)) == [["a", "bb"], ["long name"]]
    assert list(parts_that_fit(columns, 26)) == [["a", "bb", "long name"]]
    assert list(parts_that_fit(columns, 0)) == [["a"], ["bb"], ["long name"]]
    assert list(parts_that_fit({}, 80)) == []


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with MarkReader(tmp_path):
        assert len(os.listdir("/proc/self/fd")) == before + 4
    assert len(os.listdir("/proc/self/fd")) == before
