"""Markers, the JSON report, the tables, and what a guest may put on the user's terminal."""

from __future__ import annotations

import json
import threading
import unicodedata
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.limits import LIMIT_S
from vel2.cli.consoles import LabelledLines, printable
from vel2.cli.report import (
    MARKER_LIMIT,
    MARKERS_LIMIT,
    Report,
    print_guests,
    print_locks,
    print_traps,
    write_json,
)
from vel2.cli.terminal import Terminal
from vel2.control.counters import TrapCount
from vel2.control.locks import LockTime
from vel2.errors import UserError
from vel2.machine.console import Line
from vel2.machine.outcome import ExitReason, MachineExit

TRAPS = [
    TrapCount("0x18 system register", "vEL2", 1200),
    TrapCount("0x1a ERET", "vEL2", 30),
    TrapCount("0x18 system register", "vEL1", 5),
]
ENDED = MachineExit(ExitReason.SHUTDOWN, "", 0, 3.25)


def taken(*lines: str) -> Report:
    report = Report(began=10.0)
    for number, line in enumerate(lines, start=1):
        report.take(Line(10.0 + number, line))
    return report


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("##vel2 l1.el=EL2", "l1.el", "EL2"),
        ("##vel2 l1.kernel=6.12.117+deb13-cloud-arm64", "l1.kernel", "6.12.117+deb13-cloud-arm64"),
        ("##vel2 l1.kernel=7.3", "l1.kernel", "7.3"),
        ("##vel2 l1.uptime=3.25", "l1.uptime", 3.25),
        ("##vel2 l1.vmm_status=0", "l1.vmm_status", 0),
        ("##vel2 l1.kvm_device=no", "l1.kvm_device", False),
        ("L2| ##vel2 l2.userspace=ok", "l2.userspace", True),
        ("##vel2 l1.kvm_mode=Protected nVHE", "l1.kvm_mode", "Protected nVHE"),
    ],
)
def test_markers(line: str, name: str, value: object) -> None:
    found = taken(line).get(name)
    assert (type(found), found) == (type(value), value)


@given(st.text())
def test_no_line_breaks_the_reader(text: str) -> None:
    report = taken("##vel2 l1.el=EL2", f"##vel2 {text}", text)
    assert report.get("l1.el") == "EL2"


def test_the_first_word_stands() -> None:
    """What runs inside a guest prints on the same console later, and must not rewrite its words."""
    assert taken("##vel2 l1.el=EL2", "##vel2 l1.el=EL1", "##vel2 l1.el.more=x").tree == (
        {"l1": {"el": "EL2"}}
    )


def test_no_guest_says_how_its_run_ended() -> None:
    """The first word stands, and a guest speaks before the host does."""
    said = ("exit_code=0", "ended=well", "run.vel2=99", "run.more=1", "traps.total=0", "fatal=no")
    assert taken(*(f"##vel2 {word}" for word in said)).tree == {}


def test_l2_speaks_of_l2_only() -> None:
    assert taken("L2| ##vel2 l1.vmm_status=0", "L2| ##vel2 l2.el=EL1").tree == {"l2": {"el": "EL1"}}


def test_a_finished_report(tmp_path: Path) -> None:
    report = taken(
        "##vel2 l1.uptime=0.9",
        "##vel2 l1.l2_start=1.1",
        "noise",
        "L2| ##vel2 l2.userspace=ok",
    )
    report.finish(ENDED, 0, TRAPS, {"HCR_EL2": 3, "VTTBR_EL2": 9})
    write_json(report.tree, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == {
        "l1": {"uptime": 0.9, "l2_start": 1.1, "boot_seconds": 1.0},
        "l2": {"userspace": True, "boot_seconds": 2.0},
        "exit_code": 0,
        "ended": "the guest powered off",
        "seconds": 3.25,
        "traps": {
            "total": 1235,
            "by_ec": {"0x18 system register": 1205, "0x1a ERET": 30},
            "by_context": {"vEL2": 1230, "vEL1": 5},
            "by_sysreg": {"VTTBR_EL2": 9, "HCR_EL2": 3},
        },
    }


def test_json_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.put("a.b", 1)
    write_json(report.tree, Path("-"))
    assert json.loads(capsys.readouterr().out) == {"a": {"b": 1}}


def test_json_to_nowhere(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        write_json({}, tmp_path / "none" / "out.json")
    assert str(caught.value) == (
        f"the JSON result cannot be written to {tmp_path}/none/out.json"
        " (No such file or directory); name another file."
    )


def test_the_table_of_locks(capsys: pytest.CaptureFixture[str]) -> None:
    print_locks(Terminal(), [LockTime("stage 2", 1234, 5_000_000, 12_300)])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "",
        "locks of L0  holds         all  longest",
        "stage 2      1,234  5,000.0 us  12.3 us",
    ]


def test_the_trap_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_traps(Terminal(), TRAPS, {"HCR_EL2": 3})
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "traps to EL2          vEL1   vEL2  total",
        "0x18 system register     5  1,200  1,205",
        "0x1a ERET                0     30     30",
        "all                      5  1,230  1,235",
        "",
        "system registers trapped most  count",
        "HCR_EL2                            3",
    ]


@pytest.mark.parametrize(
    ("deterministic", "clock"), [(False, "3.12 s"), (True, "3.12 G instructions")]
)
def test_the_guest_table(
    capsys: pytest.CaptureFixture[str], deterministic: bool, clock: str
) -> None:
    report = taken(
        "##vel2 l1.kernel=6.12.1",
        "##vel2 l1.el=EL2",
        "##vel2 l1.kvm_mode=VHE",
        "##vel2 l1.uptime=3.125",
    )
    report.finish(ENDED, 1, [], {})
    print_guests(Terminal(), report, deterministic)
    heading, l1, l2 = capsys.readouterr().out.splitlines()
    assert heading.split() == ["guest", "kernel", "runs", "at", "KVM", "boot", "guest", "clock"]
    assert l1.split(maxsplit=6) == ["L1", "6.12.1", "EL2", "VHE", "1.00", "s", clock]
    assert l2.split() == ["L2", "never", "reached", "user", "space"]


def show(capsys: pytest.CaptureFixture[str], *lines: str) -> list[str]:
    shown = LabelledLines(10.0, pytest.fail)
    for line in lines:
        shown(Line(11.5, line))
    return capsys.readouterr().out.splitlines()


def test_lines_are_labelled(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["hello", "L2| hello", "##vel2 l1.a=b", "L2| ##vel2 l2.a=b", "", "L2| "]
    assert show(capsys, *lines) == [
        "L1    1.500 hello",
        "L2    1.500 hello",
        "L1    1.500 ",
        "L2    1.500 ",
    ]


def test_a_guest_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    nasty = ["\x1b[2Jclear", "\x1b]0;title\x07set", "a\rb", "bell\x07", "\x9b31mc1", "cut \x1b["]
    assert [line[12:] for line in show(capsys, *nasty)] == [
        *("clear", "set", "ab", "bell", "31mc1", "cut ["),
    ]


@given(st.text(st.characters() | st.sampled_from("\x1b[]\\\x07\x9b0;m")))
def test_no_control_character_gets_through(text: str) -> None:
    assert all(c == "\t" or unicodedata.category(c) != "Cc" for c in printable(text))


def test_an_output_without_reader_ends_the_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: object, **kwargs: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("vel2.cli.consoles.click.echo", gone)
    stopped: list[str] = []
    done = threading.Event()

    def stop() -> None:
        stopped.append("stop")
        done.set()

    shown = LabelledLines(0.0, stop)
    shown(Line(0.0, "one"))
    shown(Line(0.0, "two"))
    assert done.wait(LIMIT_S)
    assert (stopped, shown.broken) == (["stop"], True)


def test_a_guest_that_makes_up_markers_fills_no_memory() -> None:
    report = Report()
    for number in range(MARKERS_LIMIT + 5):
        report.take(Line(0.0, f"##vel2 l1.made_up_{number}=x"))
    report.take(Line(0.0, "##vel2 l1.made_up_0=again"))
    report.take(Line(0.0, "##vel2 l1.long=" + "y" * MARKER_LIMIT))
    assert report.dropped == 6
    assert report.get("l1.made_up_0") == "x"
    assert len(cast("dict[str, object]", report.tree["l1"])) == MARKERS_LIMIT
