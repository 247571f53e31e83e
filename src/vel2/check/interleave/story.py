"""A run that breaks a rule, made short and told: who did what where, in the protocol's words.

The schedule found first changes pcpus more often than it has to. It is made shorter as long as a
run still ends the same way: two turns of one pcpu become one, before or after the turn between.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from vel2.check.interleave.actors import Actor, Director, Pcpu
from vel2.check.interleave.board import Board
from vel2.check.interleave.explore import Fault
from vel2.check.interleave.machine import Machine
from vel2.check.interleave.steps import GHOST, Ended, Finding, Told
from vel2.check.interleave.turns import Turns

__all__ = ("shortest", "tell")

Schedule = tuple[int, ...]
Run = Callable[[Director], None]


class Follow:
    """Has pcpus take turns as a schedule says; where it cannot be, and behind it, as they come."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def choose(self, machine: Turns) -> Actor:
        """Give who goes on."""
        depth = len(machine.trace)
        able = [actor for actor in machine.actors if actor.can_go_on]
        if depth < len(self.schedule):
            wanted = machine.actors[self.schedule[depth]]
            if wanted in able:
                return wanted
        if machine.running in able:
            assert machine.running is not None
            return machine.running
        if able:
            return able[0]
        if any(pcpu.waits_for is not None for pcpu in machine.pcpus):
            raise Finding("deadlock: who is left waits for what nobody will write")
        raise Ended

    def voided(self, pcpu: Pcpu) -> None:
        """Learn that a pcpu only waits: the next is asked."""


def follow(machine: Machine, run: Run, schedule: Schedule) -> Fault | None:
    """Make one run; give what goes wrong in it."""
    try:
        run(Follow(schedule))
    except Finding as finding:
        return Fault(str(finding), tuple(event.pcpu for event in machine.trace))
    return None


def kind_of(what: str) -> str:
    """Give what two sentences of the same fault have in common."""
    return what.split(":")[0].split(" ", 2)[0]


def turns_of(schedule: Schedule) -> list[list[int]]:
    """Part a schedule into turns."""
    return [list(steps) for _, steps in groupby(schedule)]


def shortest(machine: Machine, run: Run, fault: Fault) -> Fault:
    """Find a run with fewer turns that breaks the same rule."""
    is_shorter = True
    while is_shorter:
        is_shorter = False
        turns = turns_of(fault.schedule)
        for index in range(1, len(turns) - 1):
            before, between, after = turns[index - 1 : index + 2]
            if before[0] != after[0]:
                continue
            for merged in ([*before, *after, *between], [*between, *before, *after]):
                order = [*turns[: index - 1], merged, *turns[index + 2 :]]
                tried = follow(machine, run, tuple(step for turn in order for step in turn))
                if (
                    tried is not None
                    and kind_of(tried.what) == kind_of(fault.what)
                    and len(turns_of(tried.schedule)) < len(turns)
                ):
                    fault, is_shorter = tried, True
                    break
            if is_shorter:
                break
    return fault


def tell(board: Board, run: Run, fault: Fault) -> list[str]:
    """Run once more, and say what each pcpu does in its turns."""
    machine = board.machine
    told: list[Told] = []
    machine.told = told
    try:
        follow(machine, run, fault.schedule)
    finally:
        machine.told = None
    if fault.is_of_record:
        del told[len(fault.schedule) :]
    lines = []
    writers: dict[int, int] = {}
    for number, steps in groupby(told, lambda each: each.event.pcpu):
        owner = number - board.pcpus
        lines.append(f"pcpu {number}:" if owner < 0 else f"store buffer of pcpu {owner}:")
        for each in steps:
            text = line_of(board, each, writers)
            if text and f"  {text}" != lines[-1]:
                lines.append(f"  {text}")
    lines.append(fault.what)
    return lines


def line_of(board: Board, told: Told, writers: dict[int, int]) -> str:
    """Say what one step does; nothing of a load of what nobody else has written."""
    step, number = told.event.step, told.event.pcpu
    where = f"{told.callers[0]}: " if told.callers else ""
    word = (*step.writes, *step.reads, -1)[0]
    if step.order == GHOST and word < 0:
        return f"{where}{step.what}"
    name = board.name(word)
    if step.what == "is seen":
        writers[word] = number
        return f"{name} = {step.value:#x} is seen"
    if step.order == GHOST:
        return f"{where}{step.what}"
    if step.writes:
        writers[word] = number
        verb = {"update": "updates", "release": "releases"}.get(step.order, "writes")
        if told.change is None:
            return f"{where}{verb} {name} (as it was)"
        return f"{where}{verb} {name}: {told.change[0]:#x} -> {told.change[1]:#x}"
    if writers.get(word, number) == number:
        return ""
    return f"{where}reads {name}, which pcpu {writers[word]} wrote"
