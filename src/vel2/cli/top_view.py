"""How `vel2 top` shows a reading: on the whole screen, or as lines."""

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Protocol, TypeVar

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vel2.cli.terminal import Terminal
from vel2.control.attach import attach
from vel2.control.l0 import L0
from vel2.control.pulse import EVENTS, LEVELS, Pulse, Reading, VcpuReading, look, read
from vel2.machine.memory import format_bytes
from vel2.machine.others import OtherMachine
from vel2.machine.vcpu import process_seconds

__all__ = ("Lines", "Rates", "Screen", "View", "show")

Key = TypeVar("Key")
ROWS = 12
"""Of traps, and of registers, on a screen."""
LEAVE = ("q", "Q", "\x03", "\x1b")
KEYS = "q ends; the machine goes on"


@contextmanager
def cbreak() -> Iterator[None]:
    """Have keys come one by one, if there is a keyboard."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class View(Protocol):
    """Where readings are shown."""

    def shown(self) -> contextlib.AbstractContextManager[Callable[[float], bool]]:
        """Begin and end; give what waits some seconds, and says whether the user leaves."""

    def show(self, rates: "Rates") -> None:
        """Show one reading."""


class Rates:
    """What happened between two readings.

    :ivar busy: CPUs that QEMU used.
    """

    def __init__(
        self, machine: OtherMachine, l0: L0, old: Reading, new: Reading, pulse: Pulse, busy: float
    ) -> None:
        self.machine, self.l0, self.new, self.pulse, self.busy = machine, l0, new, pulse, busy
        self.seconds = new.at - old.at
        pairs = list(zip(old.vcpus, new.vcpus, strict=True))
        self.traps = [self._rates(before.traps, after.traps) for before, after in pairs]
        self.sysregs = [self._rates(before.sysregs, after.sysregs) for before, after in pairs]
        self.events = [self._rates(before.events, after.events) for before, after in pairs]

    def _rates(self, old: Counter[Key], new: Counter[Key]) -> Counter[Key]:
        # A vCPU that is turned on anew keeps its counters.
        return Counter({key: round((new[key] - old[key]) / self.seconds) for key in new})

    def totals(self, counters: list[Counter[Key]]) -> list[tuple[Key, int]]:
        """Add up all vCPUs; most first, without what did not happen."""
        total: Counter[Key] = Counter()
        for each in counters:
            total.update(each)
        return [(key, count) for key, count in total.most_common() if count]

    @property
    def title(self) -> str:
        """What machine it is."""
        orders = self.l0.orders
        cpus = f"{orders.cpus} vCPU" + ("s" if orders.cpus > 1 else "")
        return (
            f"process {self.machine.pid}: {cpus}, {format_bytes(orders.l1_bytes)},"
            f" {orders.el2.value} {orders.nv.value}; QEMU uses {self.busy:.2f} CPUs"
        )

    @property
    def shadow(self) -> str:
        """How much of stage 2 there is."""
        new = self.new
        return (
            f"stage 2: {new.shadows} guests of L1, {new.pages_used:,} of {new.pages:,} table pages"
        )

    def vcpu_row(self, vcpu: VcpuReading) -> list[str]:
        """Say what one vCPU does."""
        index = vcpu.index
        if not vcpu.is_on:
            return [str(index), "off", *["-"] * (len(VCPU_HEAD) - 2)]
        events = self.events[index]
        return [
            str(index),
            f"{self.traps[index].total():,}",
            *(f"{100 * self.pulse.share(index, level):.0f} %" for level in LEVELS.values()),
            *(f"{events[name]:,}" for name in EVENTS),
            ", ".join(f"{name} {timer}" for name, timer in vcpu.timers.items()) or "-",
        ]


VCPU_HEAD = (
    *("vCPU", "traps/s", *LEVELS.values()),
    *(name.replace("_", " ") for name in EVENTS),
    "timers of L2",
)


def table_of(title: str, head: tuple[str, ...], rows: list[list[str]]) -> Table:
    """Make a table; numbers stand to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for number, name in enumerate(head):
        is_text = number == 0 or name in ("from", "timers of L2")
        table.add_column(name, justify="left" if is_text else "right")
    for row in rows:
        table.add_row(*row)
    return table


class Screen:
    """The whole terminal, drawn anew for each reading."""

    def __init__(self) -> None:
        self._live = Live(
            Text("the first reading comes in a moment"),
            console=Terminal(),
            screen=True,
            auto_refresh=False,
        )

    @contextmanager
    def shown(self) -> Iterator[Callable[[float], bool]]:
        """Take the terminal, and give it back."""
        with cbreak(), self._live:
            self._live.refresh()
            yield self._wait

    @staticmethod
    def _wait(seconds: float) -> bool:
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return bool(ready) and os.read(sys.stdin.fileno(), 1).decode("latin-1") in ("", *LEAVE)

    def show(self, rates: Rates) -> None:
        """Draw it."""
        traps = [
            [kind, level, f"{count:,}", f"{all_of(rates, kind, level):,}"]
            for (kind, level), count in rates.totals(rates.traps)[:ROWS]
        ]
        registers = [[name, f"{count:,}"] for name, count in rates.totals(rates.sysregs)[:ROWS]]
        side = Table.grid(padding=(0, 4))
        side.add_row(
            table_of("Traps by class", ("class", "from", "per s", "in all"), traps),
            table_of("Registers and instructions", ("name", "per s"), registers),
        )
        vcpus = [rates.vcpu_row(vcpu) for vcpu in rates.new.vcpus]
        self._live.update(
            Group(
                Text(f"vel2 top - {rates.title} ({KEYS})", style="reverse"),
                Text(rates.shadow),
                Text(),
                table_of(
                    "vCPUs: traps, whose context hardware holds, events per s", VCPU_HEAD, vcpus
                ),
                Text(),
                side,
            ),
            refresh=True,
        )


def all_of(rates: Rates, kind: str, level: str) -> int:
    """Count all traps of a kind since the start."""
    return sum(vcpu.traps[kind, level] for vcpu in rates.new.vcpus)


class Lines:
    """One line for each vCPU and each kind of trap, with the time, for a file or a pipe."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @contextmanager
    def shown(self) -> Iterator[Callable[[float], bool]]:
        """Say what the lines are."""
        click.echo("# seconds vcpu from what per_second")

        def wait(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        yield wait

    def show(self, rates: Rates) -> None:
        """Print it."""
        at = rates.new.at - self._began
        for vcpu in rates.new.vcpus:
            start = f"{at:.1f} {vcpu.index}"
            for (kind, level), count in rates.traps[vcpu.index].most_common():
                if count:
                    click.echo(f"{start} {level} {kind.replace(' ', ':')} {count}")
            for name, count in rates.events[vcpu.index].items():
                if count:
                    click.echo(f"{start} - {name} {count}")


def show(machine: OtherMachine, interval: float, count: int | None) -> None:
    """Show readings until the machine ends, the user leaves, or there were enough.

    :param interval: seconds between two. :param count: how many; None for no end.
    :raises UserError: when the machine cannot be looked into.
    """
    l0 = attach(machine)
    with closing(l0.memory):
        view: View = Screen() if sys.stdout.isatty() else Lines()
        with view.shown() as wait:
            follow(machine, l0, view, wait, interval, count)


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
