"""How often the loops of a function turn: the natural loops, and the variable that ends each.

A loop is bounded when a variable moves on each turn, by constants in one direction, and a test that
each turn passes leaves the loop at a number that the variable comes to. (The variable is compared
with anything whose interval is known.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from vel2.lang.confined.state import Flow, State, variable_read
from vel2.lang.confined.transfer import COMPARISONS, NEGATED, SWAPPED
from vel2.lang.confined.values import Known
from vel2.lang.ir import Block, Immediate, Instruction, Local
from vel2.lang.types import WORD_BITS, WORD_MASK
from vel2.lang.verify import dominates, dominator_tree

SIGN = 1 << WORD_BITS - 1


@dataclass(eq=False)
class Loop:
    """A natural loop.

    :ivar body: its blocks, the head among them. :ivar latches: those that go back to the head.
    """

    head: Block
    body: set[Block]
    latches: list[Block]


class Loops:
    """The loops of a function of which `flow` says what holds.

    :ivar jumped_into: a block to which control goes back although it can be come to otherwise, so
        that it is no loop; None if there is none.
    """

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.blocks = [block for block in flow.blocks if block in flow.starts]
        self._order = {block: number for number, block in enumerate(flow.blocks)}
        self.jumped_into: Block | None = None
        self.loops = self._found()

    @cached_property
    def _parents(self) -> dict[Block, Block]:
        return dominator_tree(self.flow.blocks)

    def _found(self) -> list[Loop]:
        loops: dict[Block, Loop] = {}
        for block in self.blocks:
            for head in block.successors:
                if head not in self.flow.starts or self._order[head] > self._order[block]:
                    continue
                if not dominates(self._parents, head, block):
                    self.jumped_into = head
                    continue
                loop = loops.setdefault(head, Loop(head, {head}, []))
                loop.latches.append(block)
                self._gather(loop, block)
        return list(loops.values())

    def _gather(self, loop: Loop, latch: Block) -> None:
        """Add what leads to a latch without passing the head."""
        work = [latch]
        while work:
            block = work.pop()
            if block not in loop.body:
                loop.body.add(block)
                work += [each for each in self.flow.before[block] if each in self.flow.starts]

    def turns(self, loop: Loop) -> int | None:
        """Give how often a loop turns at most; None where nothing bounds it."""
        found = [
            bound
            for block, condition, holds in self._tests(loop)
            for bound in self._bounds(loop, block, condition, holds)
        ]
        return min(found, default=None)

    def _tests(self, loop: Loop) -> Iterator[tuple[Block, Instruction, bool]]:
        """Yield the comparisons that each turn passes, and what they must be for it to go on."""
        for block in loop.body:
            last = block.terminator
            if last is None or last.op != "branch":
                continue
            yes, no = last.attributes
            if (yes in loop.body) == (no in loop.body):
                continue
            if not all(dominates(self._parents, block, latch) for latch in loop.latches):
                continue
            condition, holds = last.args[0], yes in loop.body
            while isinstance(condition, Instruction) and condition.op == "not":
                condition, holds = condition.args[0], not holds
            if isinstance(condition, Instruction) and condition.op in COMPARISONS:
                yield block, condition, holds

    def _bounds(
        self, loop: Loop, block: Block, condition: Instruction, holds: bool
    ) -> Iterator[int]:
        """Yield the bounds that a comparison gives, by either of its operands."""
        op = condition.op if holds else NEGATED[condition.op]
        a, b = condition.args
        start = self.flow.entering(loop.head, loop.body)
        for side, other, relation in ((a, b, op), (b, a, SWAPPED[op])):
            local = variable_read(block, side)
            if local is None:
                continue
            step = self._step(loop, local)
            bound = self._counted(relation, step, start, local, self.flow.known(other))
            if bound is not None:
                yield bound

    def _step(self, loop: Loop, local: Local) -> int:
        """Give by how much a variable moves on each turn at least; 0 if it may not."""
        steps: list[tuple[Block, int]] = []
        for block in loop.body:
            for index, instruction in enumerate(block.instructions):
                if instruction.op == "set" and instruction.attributes[0] is local:
                    steps.append((block, self._moved(block, index, local)))
        if not steps or len({step > 0 for _, step in steps}) > 1:
            return 0
        if any(step == 0 for _, step in steps):
            return 0
        each_turn = [
            step
            for block, step in steps
            if all(dominates(self._parents, block, latch) for latch in loop.latches)
        ]
        return min(each_turn, key=abs, default=0)

    def _moved(self, block: Block, index: int, local: Local) -> int:
        """Give by how much a `set` moves its variable; 0 if that is not sure, or it may wrap."""
        value = block.instructions[index].args[0]
        if not isinstance(value, Instruction) or value.op not in ("add", "sub"):
            return 0
        read, by = value.args
        if value.op == "add" and isinstance(read, Immediate):
            read, by = by, read
        if not isinstance(by, Immediate) or not isinstance(read, Instruction):
            return 0
        if read.op != "get" or read.attributes[0] is not local:
            return 0
        if read not in block.instructions[:index]:
            return 0
        between = block.instructions[block.instructions.index(read) : index]
        if any(each.op == "set" and each.attributes[0] is local for each in between):
            return 0
        step = by.value - (1 << WORD_BITS) if by.value >= SIGN else by.value
        step = -step if value.op == "sub" else step
        known = self.flow.values.get(read)
        if known is None or known.region is not None:
            return 0
        return step if known.low + step >= 0 and known.high + step <= WORD_MASK else 0

    def _counted(
        self, relation: str, step: int, start: State, local: Local, limit: Known
    ) -> int | None:
        """Give how often a turn begins with `local relation limit`, which moves by `step`."""
        first = start.get(local)
        if step == 0 or first is None or first.region is not None or limit.region is not None:
            return None
        if step > 0:
            distance = {"lt": limit.high - first.low, "le": limit.high + 1 - first.low}
            if step == 1 and first.high <= limit.low:
                distance["ne"] = limit.high - first.low
        else:
            distance = {"gt": first.high - limit.low, "ge": first.high + 1 - limit.low}
            if step == -1 and first.low >= limit.high:
                distance["ne"] = first.high - limit.low
        if relation not in distance:
            return None
        return max(0, -(-distance[relation] // abs(step)))


def longest(loops: Loops, cost: dict[Block, int], turns: dict[Block, int]) -> int:
    """Give the most that one way through the function costs.

    :param cost: of each block. :param turns: how often the loop of each head turns.
    """
    return _Paths(loops, cost, turns).most(loops.flow.blocks[0], set(loops.blocks), None)


class _Paths:
    """The ways through a function, with its loops taken as one step each."""

    def __init__(self, loops: Loops, cost: dict[Block, int], turns: dict[Block, int]) -> None:
        self.cost, self.turns = cost, turns
        self.loops = sorted(loops.loops, key=lambda loop: len(loop.body), reverse=True)
        self.reached = set(loops.blocks)

    def most(self, entry: Block, inside: set[Block], around: Loop | None) -> int:
        """Give the most that a way from `entry` costs which stays inside."""
        steps = self._steps(inside, around)
        found: dict[Block, int] = {}
        work = [self._step_of(entry, steps)]
        while work:
            step = work[-1]
            after = [
                target
                for block in steps[step]
                for each in block.successors
                if each in inside and (around is None or each is not around.head)
                for target in [self._step_of(each, steps)]
                if target is not step
            ]
            missing = [each for each in after if each not in found]
            if missing:
                work += missing
                continue
            if step not in found:
                own = self._own(step, steps[step], around)
                found[step] = own + max((found[each] for each in after), default=0)
            work.pop()
        return found[self._step_of(entry, steps)]

    def _steps(self, inside: set[Block], around: Loop | None) -> dict[Block, set[Block]]:
        """Give the blocks of each step by its first: of the outermost loops, and single ones."""
        steps: dict[Block, set[Block]] = {}
        taken: set[Block] = set()
        for loop in self.loops:
            if loop is around or not loop.body <= inside or loop.head in taken:
                continue
            if around is not None and loop.head is around.head:
                continue
            steps[loop.head] = loop.body
            taken |= loop.body
        return steps | {block: {block} for block in inside - taken}

    def _step_of(self, block: Block, steps: dict[Block, set[Block]]) -> Block:
        if block in steps:
            return block
        return next(first for first, blocks in steps.items() if block in blocks)

    def _own(self, first: Block, blocks: set[Block], around: Loop | None) -> int:
        if first not in self.turns or (around is not None and first is around.head):
            return self.cost[first]
        loop = next(loop for loop in self.loops if loop.head is first)
        return (self.turns[first] + 1) * self.most(first, blocks, loop)
