"""Every order of conflicting accesses, each once: dynamic partial-order reduction.

Two runs differ only if two accesses to one word, one of them a write, come in another order. So
after each run the accesses that raced are found (neither had to come before the other), and for
each race a run is planned in which the other one comes first. Sleep sets keep a run from being made
that differs in nothing from one made before. The algorithm is Source-DPOR of Abdulla, Aronis,
Jonsson and Sagonas ("Optimal dynamic partial order reduction", POPL 2014). It is complete: when
nothing is left to plan, every order has been seen, however often it goes from pcpu to pcpu.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from vel2.check.interleave.actors import Actor, Pcpu
from vel2.check.interleave.machine import Machine
from vel2.check.interleave.order import HappensBefore, Unordered
from vel2.check.interleave.steps import Deadlock, Ended, Event, Finding, Step
from vel2.check.interleave.turns import Turns

__all__ = ("Explored", "Explorer", "Fault")


@dataclass
class Node:
    """A point where somebody was chosen; `sleep` need not be, all it can lead to has been seen."""

    enabled: dict[int, Step]
    sleep: dict[int, Step]
    chosen: int
    planned: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    waiting: set[int] = field(default_factory=set)
    """Who would only find here that it has to wait."""

    def left(self) -> set[int]:
        """Give who is planned and was not tried."""
        return self.planned - self.done - self.waiting - set(self.sleep)


class Fault(NamedTuple):
    """A run in which a rule does not hold: the sentence, and who was chosen at each step."""

    what: str
    schedule: tuple[int, ...]
    is_of_record: bool = False
    """It was found by looking at the record of a run, which itself ended well."""


@dataclass
class Explored:
    """What exploring has shown."""

    interleavings: int = 0
    """Runs to the end, no two of them alike."""
    cut_short: int = 0
    """Runs that turned out to be alike to one made before."""
    steps: int = 0
    """The longest run's accesses to shared words."""
    shared: int = 0
    fault: Fault | None = None
    is_complete: bool = True


def conflict(one: Step, other: Step) -> bool:
    """Whether the order of two steps matters."""
    for word in one.writes:
        if word in other.writes or word in other.reads:
            return True
    return any(word in other.writes for word in one.reads)


class Explorer:
    """Runs a scene in every order. It is the `Director` of each run."""

    def __init__(self, machine: Machine, races: Callable[[list[Event]], None]) -> None:
        self.machine = machine
        self.races = races
        """Looks at each run's record; raises `Finding`."""
        self.stack: list[Node] = []
        self.depth_of_change = 0

    # --- one run ---

    def choose(self, machine: Turns) -> Actor:
        """Give who goes on: as planned, and then whoever runs, as long as it can."""
        depth = len(machine.trace)
        waiting = {each.number for each in machine.pcpus if each.waits_for is not None}
        if depth < len(self.stack):
            node = self.stack[depth]
            node.waiting |= waiting
            if node.chosen in node.waiting:
                self.choose_another(node, machine)
            return machine.actors[node.chosen]
        enabled = {each.number: each.next_step() for each in machine.actors if each.can_go_on}
        if not enabled:
            if waiting:
                names = " and ".join(f"pcpu {number}" for number in sorted(waiting))
                raise Deadlock(f"deadlock: {names} wait for what nobody will write")
            raise Ended
        node = Node(enabled, self.asleep(machine), -1, waiting=waiting)
        self.stack.append(node)
        self.choose_another(node, machine)
        return machine.actors[node.chosen]

    def choose_another(self, node: Node, machine: Turns) -> None:
        """Choose at a node where nobody is chosen, or the one chosen would only wait."""
        if node.done:
            candidates = node.left()
        else:
            candidates = set(node.enabled) - node.waiting - set(node.sleep)
        if not candidates:
            if not set(node.enabled) - node.waiting and not node.done:
                names = " and ".join(f"pcpu {number}" for number in sorted(node.waiting))
                raise Deadlock(f"deadlock: {names} wait for what nobody will write")
            raise Ended
        running = machine.running
        if running is not None and running.number in candidates:
            node.chosen = running.number
        else:
            node.chosen = min(candidates)
        node.planned.add(node.chosen)

    def asleep(self, machine: Turns) -> dict[int, Step]:
        """Give who sleeps after the last step: who slept or was tried there, and is not touched."""
        if not self.stack:
            return {}
        parent = self.stack[-1]
        step = machine.trace[-1].step
        sleepers = dict(parent.sleep)
        sleepers.update({number: parent.enabled[number] for number in parent.done})
        return {
            number: wanted
            for number, wanted in sleepers.items()
            if number != parent.chosen and not conflict(wanted, step)
        }

    def voided(self, pcpu: Pcpu) -> None:
        """Learn that the last choice only made a pcpu wait."""
        depth = len(self.machine.trace)
        del self.stack[depth + 1 :]
        self.stack[depth].waiting.add(pcpu.number)

    # --- all runs ---

    def explore(self, run: Callable[[], None], most: int) -> Explored:
        """Make runs until every order has been seen, or one breaks a rule.

        :param run: makes one run, directed by this object, and raises `Finding`.
        :param most: give up after so many.
        """
        machine, result = self.machine, Explored()
        while result.interleavings + result.cut_short < most:
            fault = self.fault_of(run)
            if machine.found:
                machine.watched |= machine.found
                machine.found = set()
                self.stack, self.depth_of_change = [], 0
                result = Explored()
                continue
            if fault is not None:
                result.fault = fault
                return result
            if machine.is_over:
                result.interleavings += 1
            else:
                result.cut_short += 1
            result.steps = max(result.steps, len(machine.trace))
            result.shared = len(machine.watched)
            self.plan(machine.trace)
            if not self.next_run():
                return result
        result.is_complete = False
        return result

    def fault_of(self, run: Callable[[], None]) -> Fault | None:
        """Make a run; give the rule that it breaks."""
        try:
            run()
            trace = self.machine.trace
            if not self.machine.found:
                self.races(trace)
        except Unordered as finding:
            schedule = tuple(event.pcpu for event in trace[: finding.index + 1])
            return Fault(str(finding), schedule, is_of_record=True)
        except Finding as finding:
            return Fault(str(finding), tuple(event.pcpu for event in self.machine.trace))
        return None

    # --- between runs ---

    def plan(self, trace: list[Event]) -> None:
        """Find the races of a run, and plan a run for each in which the other comes first."""
        clocks = HappensBefore(len(self.machine.actors))
        for index, event in enumerate(trace):
            for earlier in clocks.add(index, event):
                if index >= self.depth_of_change:
                    self.reverse(trace, clocks, earlier, index)

    def reverse(self, trace: list[Event], clocks: HappensBefore, earlier: int, later: int) -> None:
        """Plan a run in which the later of two racing steps comes first."""
        node = self.stack[earlier]
        after = [
            index for index in range(earlier + 1, later) if not clocks.is_before(earlier, index)
        ]
        after.append(later)
        first: dict[int, int] = {}
        initials = []
        for index in after:
            pcpu = trace[index].pcpu
            if pcpu not in first:
                first[pcpu] = index
                # What comes before it is not among those that run in front of it.
                if not any(clocks.is_before(other, index) for other in after if other < index):
                    initials.append(pcpu)
        if any(pcpu in node.planned for pcpu in initials):
            return
        able = [pcpu for pcpu in initials if pcpu in node.enabled and pcpu not in node.waiting]
        if able:
            node.planned.add(able[0])

    def next_run(self) -> bool:
        """Go back to the last point where somebody else is planned; False if there is none."""
        while self.stack:
            node = self.stack[-1]
            node.done.add(node.chosen)
            left = node.left()
            if left:
                node.chosen = min(left)
                self.depth_of_change = len(self.stack) - 1
                return True
            self.stack.pop()
        return False
