"""`vel2 top`: what a running machine traps on, at the moment."""

import click

from vel2.errors import UserError
from vel2.machine.others import OtherMachine, other_machines

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
      vel2 top --count 10 > rates.txt    ten readings as lines
    """  # noqa: D301
    from vel2.cli.top_view import show  # it brings in the compiler

    show(choose(pid), interval, count)


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
