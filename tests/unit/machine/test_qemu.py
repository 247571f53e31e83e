"""A machine starts, is observed, ends for a known reason, and leaves nothing behind."""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.limits import LIMIT_S
from tests.processes import started
from vel2.errors import LaunchError
from vel2.machine import qemu
from vel2.machine.config import MachineConfig
from vel2.machine.console import ConsoleClosed, Line
from vel2.machine.memory import RAM_BASE, GuestMemory
from vel2.machine.outcome import ExitReason
from vel2.machine.qemu import Machine
from vel2.machine.qmp import MonitorError

pytestmark = pytest.mark.qemu

MIB = 1 << 20
ENTRY = RAM_BASE + 2 * MIB
CONFIG = MachineConfig(64 * MIB, cpu="max", entry=ENTRY)
UART0, UART1 = 0x0900, 0x0904  # bits 31:16 of the addresses

PSCI_SYSTEM_OFF, PSCI_SYSTEM_RESET = 0x8400_0008, 0x8400_0009


def movz(register: int, value: int, shift: int = 0) -> int:
    return 0xD2800000 | (shift // 16) << 21 | value << 5 | register


def movk(register: int, value: int, shift: int) -> int:
    return 0xF2800000 | (shift // 16) << 21 | value << 5 | register


def put(text: str, uart: int = UART0) -> list[int]:
    """Write characters to a PL011's data register: x1 = its address, STR W0, [X1]."""
    code = [movz(1, uart, 16)]
    for character in text.encode():
        code += [movz(0, character), 0xB9000020]
    return code


def psci(function: int) -> list[int]:
    """SMC with the function identifier in x0."""
    return [movz(0, function & 0xFFFF), movk(0, function >> 16, 16), 0xD4000003]


WAIT_FOREVER = [0xD503207F, 0x17FFFFFF]  # wfi; b .-4
SPIN = [0x14000000]  # b .
# x0 = CurrentEL; UART0 gets '0' + EL.
REPORT_EL = [movz(1, UART0, 16), 0xD5384240, 0xD342FC00, 0x9100C000, 0xB9000020]
# Echo: wait until UARTFR.RXFE is clear, read UARTDR, write it back, again.
ECHO = [movz(1, UART0, 16), 0xB9401822, 0x3727FFE2, 0xB9400020, 0xB9000020, 0x17FFFFFC]


def machine_with(code: list[int], config: MachineConfig = CONFIG) -> Machine:
    machine = Machine(config)
    machine.memory.write(ENTRY, struct.pack(f"<{len(code)}I", *code))
    return machine


def processes_of(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_cpu_0_starts_at_entry_in_el2_and_the_guest_powers_off() -> None:
    with machine_with([*REPORT_EL, *put(" hello\n"), *psci(PSCI_SYSTEM_OFF)]) as machine:
        ended = machine.wait(LIMIT_S)
        assert ended.reason is ExitReason.SHUTDOWN
        assert ended.clean and ended.exit_status == 0
        assert machine.console.text == "2 hello\n"
        assert machine.exit is ended
    assert machine.pid is not None and not processes_of(machine.pid)


def test_a_guests_reset_ends_the_machine() -> None:
    with machine_with(psci(PSCI_SYSTEM_RESET)) as machine:
        assert machine.wait(LIMIT_S).reason is ExitReason.RESET


def test_qemu_that_outlives_its_guest_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """QEMU 10.0.2 hangs now and then when its guest powers off while it is being started."""
    monkeypatch.setattr(qemu, "SHUTDOWN_TIMEOUT_S", 0.1)
    config = replace(CONFIG, extra_arguments=("-no-shutdown",))
    with machine_with([*put("bye\n"), *psci(PSCI_SYSTEM_OFF)], config) as machine:
        ended = machine.wait(LIMIT_S)
    assert (ended.reason, ended.exit_status) == (ExitReason.SHUTDOWN, -signal.SIGKILL)
    assert machine.console.text == "bye\n"
    assert machine.pid is not None and not processes_of(machine.pid)


def test_a_panic_seen_on_the_console_makes_a_reset_a_panic() -> None:
    text = "Kernel panic - not syncing: test\n"
    with machine_with([*put(text), *psci(PSCI_SYSTEM_RESET)]) as machine:
        ended = machine.wait(LIMIT_S)
    assert (ended.reason, ended.detail) == (ExitReason.PANIC, "test")


@pytest.mark.parametrize("code", [WAIT_FOREVER, SPIN])
def test_a_guest_that_does_not_end_is_ended_at_the_limit(code: list[int]) -> None:
    with machine_with([*put("alive\n"), *code]) as machine:
        machine.console.wait_for("alive", LIMIT_S)
        assert machine.poll() is None
        ended = machine.wait(0.05)
        assert ended.reason is ExitReason.TIMEOUT
        with pytest.raises(ConsoleClosed):
            machine.console.wait_for("never", 30)
    assert machine.pid is not None and not processes_of(machine.pid)


def test_qemu_that_is_killed_is_reported() -> None:
    with machine_with([*put("alive\n"), *SPIN]) as machine:
        machine.console.wait_for("alive", LIMIT_S)
        assert machine.pid is not None
        os.kill(machine.pid, signal.SIGKILL)
        assert str(machine.wait(LIMIT_S)) == "QEMU ended on its own (signal 9)"
        with pytest.raises(MonitorError, match="QMP stop: the machine has ended"):
            machine.monitor.pause()


def test_qemu_that_does_not_answer_is_killed() -> None:
    with machine_with([*put("alive\n"), *SPIN]) as machine:
        machine.console.wait_for("alive", LIMIT_S)
        assert machine.pid is not None
        os.kill(machine.pid, signal.SIGSTOP)
        machine.stop()
        assert machine.exit is not None
        assert machine.exit.reason is ExitReason.STOPPED
    assert not processes_of(machine.pid)


def test_monitor_pauses_and_resumes_and_sees_events() -> None:
    with machine_with(WAIT_FOREVER) as machine:
        assert machine.monitor.status() == "running"
        machine.monitor.pause()
        assert machine.monitor.status() == "paused"
        assert machine.monitor.wait_event("STOP", 10)["event"] == "STOP"
        machine.monitor.resume()
        assert machine.monitor.status() == "running"
        with pytest.raises(MonitorError, match=r"QMP no-such-command: .* has not been found"):
            machine.monitor.execute("no-such-command")
        with pytest.raises(MonitorError, match=r"no BALLOON_CHANGE event within 0\.01 s"):
            machine.monitor.wait_event("BALLOON_CHANGE", 0.01)


def test_a_paused_start_runs_nothing_until_told() -> None:
    config = MachineConfig(64 * MIB, cpu="max", entry=ENTRY, start_paused=True)
    with machine_with([*put("go\n"), *psci(PSCI_SYSTEM_OFF)], config) as machine:
        assert machine.monitor.status() == "prelaunch"
        assert machine.console.data == b""
        machine.monitor.resume()
        assert machine.wait(LIMIT_S).clean
        assert machine.console.text == "go\n"


def test_console_input_reaches_the_guest() -> None:
    with machine_with([*put("ready\n"), *ECHO]) as machine:
        machine.console.wait_for("ready", LIMIT_S)
        machine.console.write("ping?")
        machine.console.wait_for(r"ping\?", LIMIT_S)


def test_doorbell_is_the_second_uart_and_closes_with_qemu() -> None:
    config = MachineConfig(64 * MIB, cpu="max", entry=ENTRY, doorbell=True)
    with machine_with([*put("!", UART1), *WAIT_FOREVER], config) as machine:
        machine.doorbell.settimeout(30)
        assert machine.doorbell.recv(16) == b"!"
        assert machine.console.data == b""
        machine.stop()
        assert machine.doorbell.recv(16) == b""


def test_memory_is_shared_both_ways() -> None:
    # x1 = ENTRY + 0x1000; x0 = [x1]; [x1 + 8] = x0; power off.
    address = ENTRY + 0x1000
    code = [movz(1, address & 0xFFFF), movk(1, address >> 16, 16), 0xF9400020, 0xF9000420]
    with GuestMemory(64 * MIB) as memory:
        machine = Machine(CONFIG, memory)
        payload = [*code, *psci(PSCI_SYSTEM_OFF)]
        memory.write(ENTRY, struct.pack(f"<{len(payload)}I", *payload))
        memory.write(address, b"by hosts")
        with machine:
            assert machine.wait(LIMIT_S).clean
        assert memory.read(address, 16) == b"by hostsby hosts"


def test_two_machines_run_side_by_side_from_threads() -> None:
    outputs: dict[str, str] = {}

    def run(name: str) -> None:
        with machine_with([*put(f"{name}\n"), *psci(PSCI_SYSTEM_OFF)]) as machine:
            machine.wait(LIMIT_S)
            outputs[name] = machine.console.text

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == {"one": "one\n", "two": "two\n"}


def test_a_machine_outlives_the_thread_that_started_it() -> None:
    machine = machine_with([*put("ready\n"), *ECHO])
    starter = threading.Thread(target=machine.start)
    starter.start()
    starter.join()
    try:
        machine.console.wait_for("ready", LIMIT_S)
        machine.console.write("still there")
        machine.console.wait_for("still there", LIMIT_S)
    finally:
        machine.close()


def test_a_refused_launch_carries_command_status_and_words() -> None:
    machine = Machine(MachineConfig(64 * MIB, cpu="z80"))
    with pytest.raises(LaunchError) as caught, machine:
        pytest.fail("it must not start")
    error = caught.value
    assert error.summary == "QEMU did not start"
    assert error.exit_status == 1
    assert error.command[0].endswith("qemu-system-aarch64") and "z80" in error.command
    assert "unable to find CPU model 'z80'" in error.tail


def test_an_exception_inside_ends_the_machine() -> None:
    with pytest.raises(KeyboardInterrupt), machine_with(SPIN) as machine:
        raise KeyboardInterrupt
    assert machine.pid is not None and not processes_of(machine.pid)
    assert machine.exit is not None and machine.exit.reason is ExitReason.STOPPED


def test_a_listener_may_stop_the_machine() -> None:
    machine = machine_with([*put("enough\n"), *SPIN])
    machine.console.on_line(lambda line: machine.stop())
    with machine:
        assert machine.wait(LIMIT_S).reason is ExitReason.STOPPED


def test_what_a_listener_raises_ends_the_machine_and_reaches_the_owner() -> None:
    def fail(line: Line) -> None:
        raise ZeroDivisionError(line.text)

    machine = machine_with([*put("boom\n"), *SPIN])
    machine.console.on_line(fail)
    with machine, pytest.raises(ZeroDivisionError, match="boom"):
        machine.wait(LIMIT_S)
    assert machine.pid is not None and not processes_of(machine.pid)


def test_a_machine_is_started_once() -> None:
    with (
        machine_with(psci(PSCI_SYSTEM_OFF)) as machine,
        pytest.raises(ValueError, match="a machine is started once"),
    ):
        machine.start()
    unstarted = Machine(CONFIG)
    with pytest.raises(MonitorError, match="has not been started"):
        unstarted.monitor.status()
    with pytest.raises(ValueError, match="without a doorbell"):
        _ = unstarted.doorbell
    unstarted.close()


def test_console_log_gets_everything(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    with Machine(CONFIG, console_log=log) as machine:
        machine.stop()
    assert log.read_bytes() == machine.console.data


CHILD = """
import struct, sys, time
sys.path.insert(0, {root!r})
from tests.unit.machine.test_qemu import SPIN, machine_with, put
with machine_with([*put("alive\\n"), *SPIN]) as machine:
    machine.console.wait_for("alive", {limit})
    print(machine.pid, flush=True)
    machine.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_way_of_dying_leaves_a_process_or_a_file(number: signal.Signals, tmp_path: Path) -> None:
    root = str(Path(__file__).resolve().parents[3])
    before = set(os.listdir("/dev/shm"))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", CHILD.format(root=root, limit=LIMIT_S)]
    with started(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True
    ) as child:
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        watched = os.pidfd_open(pid)
        child.send_signal(number)
        child.wait(LIMIT_S)
    # A pidfd becomes readable when its process ends.
    ended, _, _ = select.select([watched], [], [], LIMIT_S)
    os.close(watched)
    assert ended, "QEMU is still there"
    assert list(tmp_path.iterdir()) == []
    assert set(os.listdir("/dev/shm")) <= before


def test_a_run_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    descriptors = len(os.listdir("/proc/self/fd"))
    with machine_with([*put("x"), *psci(PSCI_SYSTEM_OFF)]) as machine:
        machine.wait(LIMIT_S)
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors
