"""Why a machine ended is told from QEMU's events, its exit status and the console."""

from __future__ import annotations

import pytest

from vel2.errors import LaunchError, UserError
from vel2.machine.config import MachineConfig, run_arguments
from vel2.machine.console import Line
from vel2.machine.outcome import ExitReason, classify, ends_panic, find_panic

MIB = 1 << 20


def shutdown(reason: str) -> dict[str, object]:
    return {"event": "SHUTDOWN", "data": {"guest": True, "reason": reason}}


@pytest.mark.parametrize(
    ("said", "panic", "forced", "status", "text"),
    [
        ("guest-shutdown", None, None, 0, "the guest powered off"),
        ("guest-reset", None, None, 0, "the guest asked for a reset"),
        ("guest-reset", "Oops", None, 0, "the guest kernel panicked (Oops)"),
        ("guest-panic", None, None, 0, "the guest kernel panicked"),
        (None, "Oops", ExitReason.PANIC, -9, "the guest kernel panicked (Oops)"),
        ("host-qmp-quit", None, ExitReason.TIMEOUT, 0, "the time limit was reached"),
        ("host-qmp-quit", "Oops", ExitReason.TIMEOUT, 0, "the time limit was reached (Oops)"),
        ("host-qmp-quit", None, ExitReason.STOPPED, 0, "it was stopped from the host"),
        ("host-qmp-quit", None, None, 0, "it was stopped from the host"),
        (None, None, ExitReason.TIMEOUT, -9, "the time limit was reached"),
        (None, None, None, -11, "QEMU ended on its own (signal 11)"),
        (None, None, None, 1, "QEMU ended on its own (exit status 1)"),
        ("host-signal", None, None, 0, "QEMU ended on its own (host-signal, exit status 0)"),
        # The guest was quicker than the host's stop.
        ("guest-shutdown", None, ExitReason.TIMEOUT, 0, "the guest powered off"),
    ],
)
def test_classify(
    said: str | None, panic: str | None, forced: ExitReason | None, status: int, text: str
) -> None:
    events = [{"event": "RESUME", "data": {}}] + ([shutdown(said)] if said else [])
    ended = classify(events, panic, forced, status, 1.5)
    assert str(ended) == text
    assert ended.clean is (ended.reason is ExitReason.SHUTDOWN)
    assert (ended.exit_status, ended.seconds) == (status, 1.5)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Kernel panic - not syncing: VFS: no root", "VFS: no root"),
        ("[    1.234567] Kernel panic - not syncing: Oops", "Oops"),
        ("[    1.234567][    T1] Kernel panic - not syncing: Oops", "Oops"),
        ("L2| [    1.234567] Kernel panic - not syncing: not ours", None),
        ("echo Kernel panic - not syncing: quoted", None),
    ],
)
def test_only_l1s_own_panic_counts(line: str, said: str | None) -> None:
    assert find_panic([Line(0, "booting"), Line(0, line)]) == said


def test_deterministic_machines_have_no_source_of_chance() -> None:
    arguments = run_arguments(MachineConfig(64 * MIB, deterministic=True))
    assert arguments[arguments.index("-icount") + 1] == "shift=0,sleep=off"
    assert arguments[arguments.index("-seed") + 1] == "1"
    assert "clock=vm" in arguments[arguments.index("-rtc") + 1]
    assert "-accel" not in arguments
    assert "-icount" not in run_arguments(MachineConfig(64 * MIB))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            {"memory_bytes": 5},
            "a machine cannot have 5 bytes of memory; give a whole number of MiB.",
        ),
        (
            {"memory_bytes": MIB, "smp": 0},
            "a machine cannot have 0 cpus; give 1 to 512.",
        ),
        (
            {"memory_bytes": MIB, "entry": 0x80000},
            "the entry point 0x80000 is outside RAM, which has 1 MiB from 0x40000000.",
        ),
    ],
)
def test_bad_configurations_are_refused(arguments: dict[str, int], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        MachineConfig(**arguments)  # type: ignore[arg-type]
    assert str(caught.value) == sentence


def test_launch_error_shows_command_status_and_tail() -> None:
    """In a sentence; the page is for who debugs."""
    error = LaunchError("QEMU did not start", ["qemu", "-M", "a b"], 1, "bad\nworse\n")
    assert str(error) == (
        "QEMU did not start (exit status 1): bad; VEL2_DEBUG=1 shows its command line."
    )
    assert error.page == "command: qemu -M 'a b'\nlast output:\n  bad\n  worse"
    assert error.__notes__ == [error.page]
    assert error.exit_code == 3
    slow = LaunchError("Slow", ["qemu"], None)
    assert str(slow) == "Slow (still running); VEL2_DEBUG=1 shows its command line."


@pytest.mark.parametrize(
    ("tail", "complaint"),
    [
        ("qemu-system-aarch64: -x: invalid option", "-x: invalid option"),
        ("/opt/qemu-11.1/bin/qemu: -x: bad.\n", "-x: bad"),
        (
            "qemu-system-aarch64: -global x: warning: short form\nPlease use x=on instead\n"
            "qemu-system-aarch64: -global x: Invalid parameter 'x'\n",
            "-global x: Invalid parameter 'x'",
        ),
        (
            "qemu-system-aarch64: -m lots: Parameter 'size' expects\nOptional suffix: k, M\n",
            "-m lots: Parameter 'size' expects",
        ),
        ("", ""),
    ],
)
def test_what_qemu_complains_of(tail: str, complaint: str) -> None:
    assert LaunchError("QEMU did not start", ["qemu"], 1, tail).complaint == complaint


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("-daemonize",), "-daemonize"),
        (("--daemonize",), "-daemonize"),
        (("-incoming", "defer"), "-incoming"),
        (("-S",), "-S stops the machine"),
        (("--S", "-nographic"), "-S stops the machine"),
    ],
)
def test_options_that_take_the_machine_away(arguments: tuple[str, ...], named: str) -> None:
    with pytest.raises(UserError, match=named):
        MachineConfig(memory_bytes=MIB, extra_arguments=arguments)


def test_a_machine_may_wait_for_a_debugger() -> None:
    assert MachineConfig(memory_bytes=MIB, extra_arguments=("-S", "-s")).waits
    assert not MachineConfig(memory_bytes=MIB, extra_arguments=("-s",)).waits


def test_a_kernel_that_boots_after_a_panic_answers_for_itself() -> None:
    """A crash kernel that saved its dump and powered off has not failed."""
    panic = Line(0, "[    9.1] Kernel panic - not syncing: sysrq triggered crash")
    boot = Line(0, "[    0.000000] Booting Linux on physical CPU 0x0000000000 [0x000f0510]")
    assert find_panic([boot, panic]) == "sysrq triggered crash"
    assert find_panic([boot, panic, boot]) is None
    assert (
        find_panic([boot, panic, boot, Line(0, "Kernel panic - not syncing: no root")]) == "no root"
    )


PANIC = "[    9.1] Kernel panic - not syncing: no root"
END = "[    9.2] ---[ end Kernel panic - not syncing: no root ]---"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ([], "no root"),
        (["", "  "], "no root"),
        (["(XEN) Hardware Dom0 crashed: rebooting machine in 5 seconds."], "no root"),
        # User space has shown the log of another kernel.
        (["# "], None),
        (["[   99.0] usb 1-1: new device"], None),
        (["[   20.0] reboot: Power down"], None),
        (["done", PANIC, END], "no root"),
    ],
)
def test_a_kernel_that_goes_on_has_not_panicked(after: list[str], said: str | None) -> None:
    assert find_panic(Line(0, text) for text in ("booted", PANIC, END, *after)) == said


def test_a_kernel_that_powers_off_has_not_panicked() -> None:
    """Part of an old log, without its end."""
    lines = [Line(0, text) for text in (PANIC, "[  120.0] reboot: Power down")]
    assert find_panic(lines) is None
    # With panic=-1 Linux does not say that it resets.
    assert find_panic(lines[:1]) == "no root"


@pytest.mark.parametrize(
    ("line", "hangs"),
    [
        ("[    2.0] ---[ end Kernel panic - not syncing: VFS: no root ]---", True),
        ("---[ end Kernel panic - not syncing: VFS: no root ]---", True),
        ("L2| [    2.0] ---[ end Kernel panic - not syncing: VFS: no root ]---", False),
        ("[    2.0] Kernel panic - not syncing: VFS: no root", False),
    ],
)
def test_the_last_line_of_a_kernel_that_hangs(line: str, hangs: bool) -> None:
    assert ends_panic(Line(0, line)) is hangs
