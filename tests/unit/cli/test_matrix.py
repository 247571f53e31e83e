"""`vel2 matrix` on the command line, with results that need no machine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from click.testing import Result as Invoked

from vel2.arch.nesting import Kind, Level
from vel2.check.matrix import Cell, Combination, Result, Verdict, run_matrix
from vel2.check.matrix_guests import QUICK, RECIPES
from vel2.cli import main as cli_main
from vel2.cli import matrix as command
from vel2.cli.exits import ExitCode
from vel2.cli.terminal import Terminal
from vel2.cli.version import describe
from vel2.machine.version import require_qemu

SICK = "linux-6.12"
VHE_NV2 = Combination(Kind.VHE, Level.NV2)


class Runs:
    """Stand in for the machines: all guests pass but those told to fail."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.timeouts: set[float] = set()
        self.failing: set[tuple[str, Combination]] = set()
        self.interrupt_after = 10_000

    def __call__(self, cell: Cell, timeout: float) -> Result:
        if len(self.cells) == self.interrupt_after:
            raise KeyboardInterrupt
        self.cells.append(cell)
        self.timeouts.add(timeout)
        name, at = cell.recipe.name, cell.at
        if (name, at) in self.failing:
            tail = "[    1.0] \x1b[31mlast words"
            return Result(name, at, Verdict.FAIL, "L2 did not reach user space", 7.0, tail)
        if declined := cell.recipe.inapplicable.get(at):
            return Result(name, at, Verdict.NOT_APPLICABLE, declined.reason)
        return Result(name, at, Verdict.PASS, "", 5.5)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Replace the machines and the fetching."""
    fake = Runs()
    monkeypatch.setattr(
        command,
        "run_matrix",
        lambda cells, timeout, started: run_matrix(cells, timeout, started, fake),
    )
    monkeypatch.setattr(command, "list_guests", list)
    monkeypatch.setattr(command, "fetch", lambda names, progress: None)
    recipes = [replace(recipe, fetch=lambda progress: None) for recipe in RECIPES]
    monkeypatch.setattr(command, "RECIPES", recipes)
    return fake


def invoke(*arguments: str) -> Invoked:
    return CliRunner().invoke(cli_main.vel2, ["matrix", *arguments], prog_name="vel2")


def test_everything_passes(runs: Runs) -> None:
    done = invoke()
    assert done.exit_code == ExitCode.OK, done.output
    assert len(runs.cells) == 4 * len(RECIPES)
    assert runs.timeouts == {command.TIMEOUT_S}
    header, *rows = done.stdout.split("\n\n")[0].splitlines()
    assert header.split() == ["guest", "vhe", "nv2", "vhe", "nv", "nvhe", "nv2", "nvhe", "nv"]
    assert [row.split()[0] for row in rows] == [recipe.name for recipe in RECIPES]
    assert rows[0].split()[1:] == ["pass", "5.5", "s"] * 4
    assert max(map(len, [header, *rows])) <= 80


def test_each_guest_gets_the_cpus_asked_for(runs: Runs, tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    assert invoke("--smp", "2", "--quick", "--json", str(file)).exit_code == ExitCode.OK
    assert {cell.cpus for cell in runs.cells} == {2}
    assert json.loads(file.read_text())["run"]["cpus"] == 2


def test_why_a_cell_is_not_applicable_is_told_once(runs: Runs) -> None:
    out = invoke().stdout
    told = " ".join(out.split("n/a: ")[1].split("\n  ")[0].split())
    assert told == (
        "linux-6.1-nvhe (vhe nv2), linux-6.1-protected (vhe nv2), linux-6.12-nvhe (vhe nv2),"
        " linux-7-nvhe (vhe nv2)"
    )
    xen = out.split("n/a: ")[2].split("\n  ")[0]
    rows = ("xen-4.17", "xen-4.17-xl", "xen-4.20", "xen-4.20-xl", "xen-4.20-dom0less")
    assert " ".join(xen.split()) == ", ".join(f"{row} (vhe nv2)" for row in rows)
    reason = next(r for r in RECIPES if r.name == "linux-7-nvhe").inapplicable[VHE_NV2].reason
    assert out.count(reason) == 1


def test_a_failure(runs: Runs, tmp_path: Path) -> None:
    runs.failing = {(SICK, VHE_NV2)}
    file = tmp_path / "m.json"
    done = invoke("--quick", "--json", str(file))
    assert done.exit_code == ExitCode.GUEST_FAILED
    assert f"fail: {SICK} (vhe nv2)\n  L2 did not reach user space.\n" in done.stdout
    assert "last words" not in done.stdout
    assert f"vel2: {SICK}, vhe nv2: fail: L2 did not reach user space\n" in done.stderr
    rows = json.loads(file.read_text())["cells"]
    assert {(row["guest"], row["el2"], row["nv"]) for row in rows} == {
        (name, at.el2.value, at.nv.value) for name, at in QUICK
    }
    (failed,) = (row for row in rows if row["result"] == "fail")
    assert (failed["guest"], failed["el2"], failed["nv"]) == (SICK, "vhe", "nv2")
    assert failed["reason"] == "L2 did not reach user space"
    assert failed["tail"].endswith("last words")


def test_verbose_shows_the_console_without_its_control_sequences(runs: Runs) -> None:
    runs.failing = {(SICK, VHE_NV2)}
    done = invoke("--guest", SICK, "--verbose")
    assert f"console of {SICK} (vhe nv2), last lines:\n  [    1.0] last words\n" in done.stdout


def test_filters(runs: Runs) -> None:
    done = invoke("--guest", "linux-7", "--guest", "linux-6.1", "--nv", "nv", "--timeout", "9")
    assert done.exit_code == ExitCode.OK
    assert [(cell.recipe.name, str(cell.at)) for cell in runs.cells] == [
        *(("linux-6.1", "vhe nv"), ("linux-6.1", "nvhe nv")),
        *(("linux-7", "vhe nv"), ("linux-7", "nvhe nv")),
    ]
    assert runs.timeouts == {9.0}
    assert done.stdout.splitlines()[0].split() == ["guest", "vhe", "nv", "nvhe", "nv"]


def test_json_to_standard_output_leaves_it_alone(runs: Runs) -> None:
    done = invoke("--guest", "linux-7", "--json", "-")
    assert [row["result"] for row in json.loads(done.stdout)["cells"]] == ["pass"] * 4
    assert "linux-7  pass 5.5 s" in done.stderr


def test_html(runs: Runs, tmp_path: Path) -> None:
    file = tmp_path / "m.html"
    assert invoke("--guest", "linux-7", "--html", str(file)).exit_code == ExitCode.OK
    page = file.read_text()
    assert page.count("pass 5.5 s") == 4
    assert f"<small>vel2 {describe()} on QEMU {require_qemu()[1]}, 20" in page


def test_what_was_measured_survives_an_interrupt(runs: Runs, tmp_path: Path) -> None:
    runs.interrupt_after = 2
    file = tmp_path / "m.json"
    done = invoke("--guest", "linux-7", "--json", str(file))
    assert done.exit_code == ExitCode.INTERRUPTED
    assert [row["nv"] for row in json.loads(file.read_text())["cells"]] == ["nv2", "nv"]
    assert done.stdout.splitlines()[1].split() == ["linux-7", *["pass", "5.5", "s"] * 2, "-", "-"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--nv", "none"],
            "vel2: --nv none (Armv8.0 without FEAT_NV) is not supported yet;"
            " leave --nv out, or give --nv nv2.",
        ),
        (
            ["--json", "-", "--html", "-"],
            "vel2: --json - and --html - would share standard output; name a file for one.",
        ),
        (
            ["--quick", "--guest", "linux-7"],
            "vel2: none of the quick cells is among what was asked for; they are"
            " linux-6.12 (vhe nv2), linux-6.12 (vhe nv), linux-6.12 (nvhe nv2),"
            " linux-6.12 (nvhe nv), linux-6.1-nvhe (nvhe nv),"
            " xen-4.20 (nvhe nv2); leave --quick out to run others.",
        ),
        (
            ["--json", "/nowhere/m.json"],
            "vel2: the JSON result cannot be written to /nowhere/m.json"
            " (No such file or directory); name another file.",
        ),
        (
            ["--el2", "both"],
            "Error: Invalid value for '--el2': 'both' is not one of 'vhe', 'nvhe'.",
        ),
    ],
)
def test_bad_choices_start_nothing(runs: Runs, arguments: list[str], said: str) -> None:
    done = invoke(*arguments)
    assert done.exit_code == ExitCode.USAGE
    assert done.stderr.splitlines()[-1] == said
    assert runs.cells == []


def test_an_unknown_guest_is_told_the_names(runs: Runs) -> None:
    done = invoke("--guest", "linux-5")
    assert done.exit_code == ExitCode.USAGE
    assert "'linux-5' is not one of 'linux-6.1', 'linux-6.1-nvhe'" in done.stderr


def test_only_what_the_guests_need_is_fetched(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[list[str]] = []
    monkeypatch.setattr(command, "fetch", lambda names, progress: fetched.append(names))
    done = invoke("--guest", "linux-6.1-nvhe")
    assert fetched == [["6.1", "busybox"]]
    assert "vel2: fetching 6.1, busybox from Debian, once\n" in done.stderr


def test_what_a_recipe_fetches_itself(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    recipes = [
        replace(recipe, fetch=lambda progress, name=recipe.name: fetched.append(name))
        for recipe in RECIPES
    ]
    monkeypatch.setattr(command, "RECIPES", recipes)
    invoke("--guest", "linux-7", "--guest", "linux-6.12-qemu")
    assert fetched == ["linux-7", "linux-6.12-qemu"]


def test_the_running_cell_shows_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vel2.cli.matrix.time.monotonic", lambda: 107.0)
    recipe = RECIPES[0]
    cells = [Cell(recipe, VHE_NV2), Cell(recipe, Combination(Kind.NVHE, Level.NV))]
    terminal = Terminal()
    with terminal.capture() as captured:
        terminal.print(command.results_table(cells, [], [(cells[0], 100.0)]))
    assert captured.get().splitlines()[1].split() == [recipe.name, "...", "7", "s", "-"]


def test_help_keeps_each_example_and_each_guest_on_its_line() -> None:
    lines = invoke("--help").stdout.splitlines()
    assert "    vel2 matrix --quick" in lines
    for recipe in RECIPES:
        assert [recipe.name, *recipe.summary.split()] in [line.split() for line in lines]
