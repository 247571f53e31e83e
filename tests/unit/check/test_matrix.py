"""Choosing, running and judging cells of the guest matrix, with machines that only pretend."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vel2.arch.nesting import Kind, Level
from vel2.check.matrix import (
    COMBINATIONS,
    Cell,
    Combination,
    Inapplicable,
    Recipe,
    Result,
    Sign,
    Verdict,
    judge,
    run_cell,
    run_matrix,
    select,
)
from vel2.check.matrix_page import matrix_page
from vel2.errors import UserError
from vel2.machine.console import Console
from vel2.machine.outcome import ExitReason, MachineExit

AT = Combination(Kind.NVHE, Level.NV)
OTHER = Combination(Kind.VHE, Level.NV2)
OFF = MachineExit(ExitReason.SHUTDOWN, "", 0, 4.25)
LATE = MachineExit(ExitReason.TIMEOUT, "", -15, 120.0)
PANIC = MachineExit(ExitReason.PANIC, "no init", 0, 2.0)
FATAL = "L0 stopped: POOL_EMPTY"
MODE = Sign("mode=new", "the mode is not new", instead="mode=(.*)")
DONE = Sign("done", "the guest did not get to its end")


class PretendedVm:
    """A VM that says what it was told to, and remembers how it was used."""

    def __init__(self, text: str, ended: MachineExit = OFF, fatal: str = "") -> None:
        self.console = Console()
        self.fatal = fatal or None
        self.ended = ended
        self.text = text
        self.calls: list[object] = []

    def __enter__(self) -> PretendedVm:
        self.calls.append("start")
        return self

    def __exit__(self, *error: object) -> None:
        self.calls.append("end")

    def wait(self, timeout: float) -> MachineExit:
        self.calls.append(timeout)
        self.console.feed(self.text.encode())
        self.console.close()
        return self.ended

    def close(self) -> None:
        self.calls.append("close")


@dataclass(frozen=True)
class Made:
    """A request, as far as these machines look."""

    name: str
    at: Combination
    folder: Path
    smp: int


def recipe(
    name: str = "toy", inapplicable: dict[Combination, Inapplicable] | None = None
) -> Recipe:
    """Make a guest that says which mode it is in, and that it is done."""
    return Recipe(
        name=name,
        summary="a toy",
        needs=(),
        make_request=lambda at, cpus, folder: Made(name, at, folder, cpus),  # type: ignore[arg-type, return-value]
        signs=lambda at, cpus: (MODE, DONE),
        inapplicable=inapplicable or {},
    )


def run(vm: PretendedVm, guest: Recipe | None = None, at: Combination = AT) -> Result:
    """Run one cell in a pretended VM."""
    make: Callable[[Any], Any] = lambda config: vm  # noqa: E731
    return run_cell(Cell(guest or recipe(), at), 9.0, make)


def test_the_columns() -> None:
    assert [str(at) for at in COMBINATIONS] == ["vhe nv2", "vhe nv", "nvhe nv2", "nvhe nv"]


@pytest.mark.parametrize(
    ("ended", "fatal", "lines", "reason"),
    [
        (OFF, "", ["mode=new", "done"], ""),
        (OFF, "", ["done", "noise", "mode=new"], ""),
        (OFF, "", ["mode=old", "done"], "the mode is not new: old"),
        (OFF, "", ["done"], "the mode is not new"),
        (OFF, "", ["mode=new", "not done"], "the guest did not get to its end"),
        (OFF, "", ["x mode=new", "done."], "the mode is not new"),
        (LATE, "", ["mode=new", "done"], "the time limit was reached"),
        (
            LATE,
            "",
            ["mode=new"],
            "the time limit was reached; the guest did not get to its end",
        ),
        (PANIC, "", [], "the guest kernel panicked (no init); the mode is not new"),
        (OFF, FATAL, ["mode=new", "done"], FATAL),
        (OFF, FATAL, [], f"{FATAL}; the mode is not new"),
    ],
)
def test_judge(ended: MachineExit, fatal: str, lines: list[str], reason: str) -> None:
    assert judge(Cell(recipe(), AT), ended, fatal, lines) == reason


def test_a_guest_that_passes() -> None:
    vm = PretendedVm("mode=new\r\ndone\r\n")
    assert run(vm) == Result("toy", AT, Verdict.PASS, "", 4.25)
    assert vm.calls == ["start", 9.0, "end", "close"]


def test_a_guest_that_fails_shows_its_console() -> None:
    vm = PretendedVm("".join(f"line {n}\n" for n in range(99)) + "mode=ol")
    result = run(vm)
    assert (result.verdict, result.reason) == (Verdict.FAIL, "the mode is not new: ol")
    assert result.tail.splitlines()[-2:] == ["line 98", "mode=ol"]
    assert len(result.tail.splitlines()) == 30


def test_a_guest_under_an_l0_that_stopped_fails() -> None:
    result = run(PretendedVm("mode=new\ndone\n", fatal=FATAL))
    assert (result.verdict, result.reason) == (Verdict.FAIL, FATAL)


def test_a_guest_that_would_not_come_up_is_not_booted() -> None:
    vm = PretendedVm("")
    result = run(vm, recipe(inapplicable={AT: Inapplicable("it has no VHE")}))
    assert result == Result("toy", AT, Verdict.NOT_APPLICABLE, "it has no VHE")
    assert vm.calls == []


@pytest.mark.parametrize(
    ("text", "verdict", "reason"),
    [
        ("declined\n", Verdict.NOT_APPLICABLE, "it declines"),
        ("mode=new\ndone\n", Verdict.FAIL, "it did not decline"),
    ],
)
def test_a_guest_that_declines_has_to_do_so(text: str, verdict: Verdict, reason: str) -> None:
    """Saying "not applicable" is a claim like any other: it fails when the guest does not agree."""
    declines = Inapplicable("it declines", (Sign("declined", "it did not decline"),))
    vm = PretendedVm(text)
    result = run(vm, recipe(inapplicable={AT: declines}))
    assert (result.verdict, result.reason) == (verdict, reason)
    assert vm.calls == ["start", 9.0, "end", "close"]


def test_what_is_inapplicable_in_one_combination_is_run_in_the_others() -> None:
    guest = recipe(inapplicable={OTHER: Inapplicable("no")})
    assert run(PretendedVm("mode=new\ndone\n"), guest).verdict is Verdict.PASS


def test_a_machine_that_stays_up_is_stopped_when_all_signs_are_there() -> None:
    class StaysUp(PretendedVm):
        def stop(self) -> None:
            self.ended = MachineExit(ExitReason.STOPPED, "", 0, 1.0)

        def wait(self, timeout: float) -> MachineExit:
            for line in self.text.splitlines():
                if self.ended is LATE:
                    self.calls.append(line)
                    self.console.feed(f"{line}\n".encode())
            self.console.close()
            return self.ended

    stays = replace(recipe(), powers_off=False, read=lambda lines: [ln.lower() for ln in lines])
    vm = StaysUp("MODE=NEW\nnoise\nDONE\nmore\n", LATE)
    assert run(vm, stays) == Result("toy", AT, Verdict.PASS, "", 1.0)
    assert vm.calls == ["start", "MODE=NEW", "noise", "DONE", "end", "close"]
    result = run(StaysUp("MODE=NEW\n", LATE), stays)
    assert result.reason == "the time limit was reached; the guest did not get to its end"


def test_a_machine_that_should_stay_up_and_does_not_fails() -> None:
    stays = replace(recipe(), powers_off=False)
    ended = MachineExit(ExitReason.RESET, "", 0, 1.0)
    result = run(PretendedVm("mode=new\n", ended), stays)
    assert result.reason == "the guest asked for a reset; the guest did not get to its end"


def test_the_folder_of_a_cell_lives_as_long_as_its_machine() -> None:
    folders: list[Path] = []

    class Looks(PretendedVm):
        def wait(self, timeout: float) -> MachineExit:
            self.calls.append(folders[0].is_dir())
            return super().wait(timeout)

    def make(config: Any) -> Any:
        folders.append(config.folder)
        return vm

    vm = Looks("mode=new\ndone\n")
    assert run_cell(Cell(recipe(), AT), 9.0, make).verdict is Verdict.PASS
    assert vm.calls == ["start", True, 9.0, "end", "close"]
    assert not folders[0].exists()


def test_an_error_closes_the_vm_and_is_not_a_result() -> None:
    class Broken(PretendedVm):
        def wait(self, timeout: float) -> MachineExit:
            raise UserError("QEMU is gone.")

    vm = Broken("")
    with pytest.raises(UserError, match=r"QEMU is gone\."):
        run(vm)
    assert vm.calls == ["start", "end", "close"]


def test_the_machine_is_made_for_the_combination() -> None:
    made: list[Any] = []

    def make(config: Any) -> Any:
        made.append(config)
        return PretendedVm("mode=new\ndone\n")

    run_cell(Cell(recipe("a"), OTHER, 2), 1.0, make)
    assert [(config.name, config.at, config.smp) for config in made] == [("a", OTHER, 2)]


def test_cells_run_one_after_the_other() -> None:
    events: list[object] = []
    cells = [Cell(recipe("a"), AT), Cell(recipe("b"), AT)]

    def pretend(cell: Cell, timeout: float) -> Result:
        events.append(("run", cell.recipe.name, timeout))
        return Result(cell.recipe.name, cell.at, Verdict.PASS)

    def on_start(cell: Cell, at: float) -> None:
        events.append(("start", cell.recipe.name))

    for result in run_matrix(cells, 5.0, on_start, pretend):
        events.append(("result", result.guest))
    assert events == [
        *(("start", "a"), ("run", "a", 5.0), ("result", "a")),
        *(("start", "b"), ("run", "b", 5.0), ("result", "b")),
    ]


def names(cells: list[Cell]) -> list[str]:
    """Name cells by guest and combination."""
    return [f"{cell.recipe.name}/{cell.at.el2.value}/{cell.at.nv.value}" for cell in cells]


def test_select() -> None:
    recipes = [recipe("a"), recipe("b")]
    assert len(select(recipes)) == 8
    assert names(select(recipes, ["b"], nv=[Level.NV])) == ["b/vhe/nv", "b/nvhe/nv"]
    assert names(select(recipes, el2=[Kind.VHE], nv=[Level.NV])) == ["a/vhe/nv", "b/vhe/nv"]
    few = [("b", AT), ("a", OTHER)]
    assert names(select(recipes, only=few)) == ["a/vhe/nv2", "b/nvhe/nv"]
    assert names(select(recipes, ["b"], only=few)) == ["b/nvhe/nv"]


def test_select_nothing() -> None:
    recipes = [recipe("a"), recipe("b")]
    with pytest.raises(UserError) as caught:
        select(recipes, ["a"], only=[("b", AT)])
    assert str(caught.value) == (
        "none of the quick cells is among what was asked for; they are b (nvhe nv);"
        " leave --quick out to run others."
    )
    with pytest.raises(UserError) as caught:
        select(recipes, ["c"])
    assert str(caught.value) == "no guest of that name; give some of a, b, or none for all."


def test_json() -> None:
    passed = Result("toy", AT, Verdict.PASS, "", 4.2512)
    row = {"guest": "toy", "el2": "nvhe", "nv": "nv", "result": "pass", "reason": ""}
    assert passed.as_json() == row | {"seconds": 4.3}
    failed = Result("toy", OTHER, Verdict.FAIL, "it hung", 9.0, "last\nwords")
    assert failed.as_json()["tail"] == "last\nwords"
    assert failed.as_json()["result"] == "fail"
    assert Result("toy", AT, Verdict.NOT_APPLICABLE, "no").as_json()["result"] == "n/a"


class Page(HTMLParser):
    """Collect the table's cells, and every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("th", "td"):
            self.rows[-1].append(data)


RUN = {"vel2": "0.1", "qemu": "10.0.2", "date": "2026-11-28", "command": "vel2 T & U"}


def test_the_page() -> None:
    results = [
        Result("a", OTHER, Verdict.PASS, "", 4.25),
        Result("a", AT, Verdict.FAIL, "it <hung>", 9.0, "a & b\n<c>"),
        Result("b", AT, Verdict.NOT_APPLICABLE, "no way"),
    ]
    text = matrix_page(results, RUN)
    page = Page(text)
    assert page.open == []
    assert page.rows == [
        ["guest", "--el2 vhe --nv nv2", "--el2 nvhe --nv nv"],
        ["a", "pass 4.2 s", "fail"],
        ["b", "not run", "n/a"],
    ]
    assert "1 passed, 1 failed, 1 not applicable." in text
    for said in ("T &amp; U", "it &lt;hung&gt;.", "a &amp; b\n&lt;c&gt;", "no way."):
        assert said in text
    assert "<hung>" not in text


def test_the_page_needs_nothing_else() -> None:
    text = matrix_page([Result("a", AT, Verdict.PASS)], RUN)
    tags = Page(text).tags
    assert {tag for tag, _ in tags} & {"script", "link", "img", "iframe"} == set()
    assert not any({"src", "href"} & set(attributes) for _, attributes in tags)
    assert not re.search(r"url\(|@import|https?:", text)
