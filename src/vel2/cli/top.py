"""`vel2 top`: what a running machine traps on, at the moment."""

import contextlib
import sys
from collections.abc import Callable
from contextlib import closing

import click

from vel2.cli.top_view import Lines, Rates, Screen, View
from vel2.control.attach import attach
from vel2.control.l0 import L0
from vel2.control.pulse import look, read
from vel2.errors import UserError
from vel2.machine.others import OtherMachine, other_machines
from vel2.machine.vcpu import process_seconds

__all__ = ("top",)


@click.command()
@click.option("--pid", type=int, help="QEMU's process, where several machines run.")
@click.option(
    "--interval",
    type=click.FloatRange(0.1, 60),
    default=1.0,
    show_default=True,
    help="Seconds between two readings.",
)
@click.option("--count", type=click.IntRange(1), help="End after so many; else when told to.")
def top(pid: int | None, interval: float, count: int | None) -> None:
    """Show the traps of a running machine, live: by class, level, register and vCPU.

    It reads L0's counters in the memory of a machine that another vel2 of yours runs. The machine
    notices nothing of it. On a terminal it fills the screen; otherwise it prints lines.

    \b
    Examples:
      vel2 top                           the machine that runs
      vel2 top --pid 4711                one of several
      vel2 top --count 10 >rates.txt     ten readings as lines
    """  # noqa: D301
    machine = choose(pid)
    l0 = attach(machine)
    with closing(l0.memory):
        view: View = Screen() if sys.stdout.isatty() else Lines()
        with view.shown() as wait:
            follow(machine, l0, view, wait, interval, count)


def choose(pid: int | None) -> OtherMachine:
    """Find the machine that is meant.

    :raises UserError: when there is none, or several and nobody said which.
    """
    found = other_machines()
    if pid is not None:
        found = [machine for machine in found if machine.pid == pid]
        if not found:
            raise UserError(f"process {pid} runs no machine of vel2's that you may look into.")
    if not found:
        raise UserError("no machine runs; start one, such as vel2 run --kernel 6.12.")
    if len(found) > 1:
        pids = ", ".join(str(machine.pid) for machine in found)
        raise UserError(f"{len(found)} machines run; choose one with --pid: {pids}.")
    return found[0]


def follow(
    machine: OtherMachine,
    l0: L0,
    view: View,
    wait: Callable[[float], bool],
    interval: float,
    count: int | None,
) -> None:
    """Show readings until the machine ends, the user leaves, or there were enough."""
    left = count
    leaves = False

    def asked(seconds: float) -> bool:
        nonlocal leaves
        leaves = wait(seconds)
        return leaves or not machine.is_running

    old, cpu = read(l0), cpu_of(machine)
    while left is None or left > 0:
        pulse = look(l0.vcpus, interval, asked)
        if leaves or not machine.is_running:
            return
        new, used = read(l0), cpu_of(machine)
        view.show(Rates(machine, l0, old, new, pulse, (used - cpu) / (new.at - old.at)))
        old, cpu = new, used
        left = None if left is None else left - 1


def cpu_of(machine: OtherMachine) -> float:
    """Give the CPU time QEMU has used; what it was last when it has ended."""
    with contextlib.suppress(OSError):
        return process_seconds(machine.pid)
    return 0.0
