"""What holds at the points of a function: an interval for each variable, found by going through it.

The blocks are gone through in order until nothing changes any more. At the head of a loop what has
moved twice is *widened*, as far as it can go, so that this comes to an end; then it is gone through
twice more without that, which takes back what conditions exclude. `Flow.is_stable` says whether
the result holds: what each block leaves behind is within what its successors start from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vel2.lang.confined.transfer import COMPARISONS, NEGATED, SWAPPED, kept
from vel2.lang.confined.values import ANYTHING, Known, number
from vel2.lang.ir import Block, Function, Immediate, Instruction, Local, Operand
from vel2.lang.verify import predecessors, reachable

State = dict[Local, Known]
Evaluate = Callable[[Instruction, list[Known]], Known | None]
"""Says what is known of the result of an operation other than `get` and `set`, by its operands."""

PATIENCE = 2
"""So often a loop's head is joined before it is widened."""
IMPATIENCE = 40
"""From then on all variables are, those that the loop does not set, too: code that no source makes
has loops of which the head is not known."""
NARROWINGS = 2


def joined(states: Iterable[State]) -> State:
    """Say what holds where ways meet; a variable that one of them has not set has no value."""
    first, *others = states
    found = dict(first)
    for other in others:
        for local in list(found):
            if local in other:
                found[local] = found[local].join(other[local])
            else:
                del found[local]
    return found


def widened(before: State, later: State, moving: set[Local] | None) -> State:
    """Say what holds at the head of a loop, whatever it still does.

    :param moving: the variables that the loop sets; None for all. (The others move at the head of
        a loop around this one.)
    """
    return {
        local: before[local].widen(value)
        if local in before and (moving is None or local in moving)
        else value
        for local, value in later.items()
    }


def moving_in_loops(
    blocks: list[Block], before: dict[Block, list[Block]]
) -> dict[Block, set[Local]]:
    """Give the heads of loops, and which variables are set between a head and the way back."""
    order = {block: number for number, block in enumerate(blocks)}
    found: dict[Block, set[Local]] = {}
    for head in blocks:
        work = [each for each in before[head] if order[each] >= order[head]]
        if not work:
            continue
        body = {head}
        while work:
            block = work.pop()
            if block not in body:
                body.add(block)
                work += before[block]
        found[head] = {
            each.attributes[0]  # type: ignore[misc]
            for block in body
            for each in block.instructions
            if each.op == "set"
        }
    return found


def is_within(inner: Known, outer: Known) -> bool:
    """Whether all values that one stands for the other does, too."""
    return inner.join(outer) == outer


class Flow:
    """What holds in one function, called with certain arguments.

    :ivar blocks: those that control can reach, in reverse postorder. :ivar starts: what holds at
        the start of each. :ivar values: what is known of the result of each operation.
    """

    def __init__(self, function: Function, arguments: State, evaluate: Evaluate) -> None:
        self.blocks = reachable(function.blocks)
        self.before = predecessors(self.blocks)
        self.starts: dict[Block, State] = {}
        self.values: dict[Instruction, Known] = {}
        self._arguments = arguments
        self._evaluate = evaluate
        self._edges: dict[tuple[Block, Block], State] = {}
        self._moving = moving_in_loops(self.blocks, self.before)
        self._settle()

    def known(self, operand: Operand) -> Known:
        """Say what is known of an operand."""
        return number(operand.value) if isinstance(operand, Immediate) else self.values[operand]

    def operands(self, instruction: Instruction) -> list[Known]:
        """Say what is known of the operands of an operation."""
        return [self.known(each) for each in instruction.args]

    def entering(self, block: Block, inside: set[Block]) -> State:
        """Say what holds where a loop is entered, from outside of it."""
        ways = [
            self._edges[each, block]
            for each in self.before[block]
            if each not in inside and (each, block) in self._edges
        ]
        return joined([*ways, *([self._arguments] if block is self.blocks[0] else [])])

    def _settle(self) -> None:
        self._turn = 0
        while self._sweep(widen=self._turn >= PATIENCE):
            self._turn += 1
        kept_states, kept_edges, kept_values = self.starts, self._edges, self.values
        for _ in range(NARROWINGS):
            self._sweep(widen=False)
        if not self._is_stable():
            self.starts, self._edges, self.values = kept_states, kept_edges, kept_values

    def _sweep(self, *, widen: bool) -> bool:
        """Go through all blocks once; give whether anything is otherwise than before."""
        before = self.starts
        self.starts, self._edges, self.values = {}, dict(self._edges), dict(self.values)
        for block in self.blocks:
            start = self._start(block)
            if start is None:
                for successor in block.successors:
                    self._edges.pop((block, successor), None)
                continue
            if widen and block in self._moving and block in before:
                moving = self._moving[block] if self._turn < IMPATIENCE else None
                start = widened(before[block], start, moving)
            self.starts[block] = start
            self._run(block, dict(start))
        return self.starts != before

    def _start(self, block: Block) -> State | None:
        ways = [
            self._edges[each, block] for each in self.before[block] if (each, block) in self._edges
        ]
        if block is self.blocks[0]:
            ways.append(self._arguments)
        return joined(ways) if ways else None

    def _is_stable(self) -> bool:
        found, edges, values = self.starts, self._edges, self.values
        self._sweep(widen=False)
        again, self.starts, self._edges, self.values = self.starts, found, edges, values
        return all(
            block in found
            and all(
                local in state and is_within(value, state[local])
                for local, value in again[block].items()
                for state in [found[block]]
                if local in state
            )
            and found[block].keys() <= again[block].keys()
            for block in again
        )

    def _run(self, block: Block, state: State) -> None:
        for instruction in block.instructions:
            if instruction.op == "set":
                (local,) = instruction.attributes
                assert isinstance(local, Local)
                state[local] = self.known(instruction.args[0])
                continue
            if instruction.op == "get":
                (local,) = instruction.attributes
                assert isinstance(local, Local)
                self.values[instruction] = state.get(local, ANYTHING)
                continue
            value = self._evaluate(instruction, self.operands(instruction))
            if value is not None:
                self.values[instruction] = value
        for successor in block.successors:
            self._edges.pop((block, successor), None)
        for successor, after in self._leaving(block, state):
            known = self._edges.get((block, successor))
            self._edges[block, successor] = after if known is None else joined([known, after])

    def _leaving(self, block: Block, state: State) -> list[tuple[Block, State]]:
        """Give the ways out of a block that can be gone, and what holds on each."""
        last = block.terminator
        assert last is not None
        if last.op == "branch":
            return self._branches(block, last, state)
        if last.op == "switch":
            cases, default = last.attributes
            assert isinstance(cases, tuple) and isinstance(default, Block)
            only = self.known(last.args[0]).constant
            if only is not None:
                return [(dict(cases).get(only, default), state)]
        return [(successor, state) for successor in block.successors]

    def _branches(self, block: Block, last: Instruction, state: State) -> list[tuple[Block, State]]:
        yes, no = last.attributes
        assert isinstance(yes, Block) and isinstance(no, Block)
        decided = self.known(last.args[0]).constant
        condition, is_negated = last.args[0], False
        while isinstance(condition, Instruction) and condition.op == "not":
            condition, is_negated = condition.args[0], not is_negated
        found = []
        for target, holds in ((yes, True), (no, False)):
            if decided is not None and bool(decided) is not holds:
                continue
            after: State | None = state
            if isinstance(condition, Instruction) and condition.op in COMPARISONS:
                after = self._where(block, condition, holds is not is_negated, state)
            if after is not None:
                found.append((target, after))
        return found

    def _where(
        self, block: Block, condition: Instruction, holds: bool, state: State
    ) -> State | None:
        """Say what holds where a comparison is true, or false; None if it cannot be."""
        op = condition.op if holds else NEGATED[condition.op]
        a, b = condition.args
        state = dict(state)
        for side, other, relation in ((a, b, op), (b, a, SWAPPED[op])):
            local = variable_read(block, side)
            if local is None or local not in state:
                continue
            value = kept(relation, state[local], self.known(other))
            if value is None:
                return None
            state[local] = value
        return state


def variable_read(block: Block, operand: Operand) -> Local | None:
    """Give the variable that an operand still is the value of at the end of a block."""
    if not isinstance(operand, Instruction) or operand.op != "get":
        return None
    if operand not in block.instructions:
        return None
    (local,) = operand.attributes
    assert isinstance(local, Local)
    later = block.instructions[block.instructions.index(operand) :]
    is_set = any(each.op == "set" and each.attributes[0] is local for each in later)
    return None if is_set else local
