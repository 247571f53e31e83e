"""The walk through a module: every operation that the root can reach is allowed, and their number.

A function is looked at once for each set of arguments it is called with: first `state.Flow` finds
what holds at each point, then every operation is checked against that, in the order of the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import NoReturn

from vel2.lang.confined.loops import Loops, longest
from vel2.lang.confined.rules import Region, Rules
from vel2.lang.confined.state import Flow, State
from vel2.lang.confined.transfer import computed, moved, mul
from vel2.lang.confined.values import ANYTHING, Known, between, number, start_of
from vel2.lang.ir import (
    Blob,
    Block,
    Function,
    Instruction,
    Kind,
    Location,
    Module,
    SystemName,
    Table,
)
from vel2.lang.lines import shown_path
from vel2.lang.subset import SubsetError
from vel2.lang.types import WORD_BITS

DEPTH_MAX = 16
"""So many functions may be under way at once."""
WORK_MAX = 400_000
"""So many operations are looked at for one root, before it is refused as too large."""
LOADS = {"load", "read"}
STORES = {"store", "write"}
ATOMIC = {"swap", "fetch_add", "compare_exchange"}
BARRIERS_ALLOWED = ("dmb ish", "dmb ishst")

Arguments = tuple[Known, ...]


@dataclass(frozen=True)
class Finding:
    """What was shown of a function for some arguments.

    :ivar operations: how many it executes at most, those of what it calls among them.
    :ivar result: what is known of what it returns.
    """

    operations: int
    result: Known


def confine(
    module: Module, root: Function, rules: Rules, subject: Function | None = None
) -> Finding:
    """Show that a function keeps to the rules, whatever it is called with.

    :param subject: the function that sentences are about, if the root is only around it.
    :raises SubsetError: with the sentence and the place of what it could not be shown of.
    """
    return _Confining(module, root, rules, subject or root).run()


class _Confining:
    """Looks through one module; see `confine`."""

    def __init__(self, module: Module, root: Function, rules: Rules, subject: Function) -> None:
        self.module, self.root, self.rules, self.subject = module, root, rules, subject
        self.known: dict[tuple[Function, Arguments], Finding | SubsetError] = {}
        self.calls: list[tuple[Function, Location | None]] = []
        self.work = 0

    def run(self) -> Finding:
        """Look at the root with all that it may be called with."""
        parameters = self.root.parameters
        arguments = tuple(
            ANYTHING if region is None else start_of(region)
            for region in self.rules.parameters[: len(parameters)]
        )
        expected = [Kind.INT if region is None else Kind.REF for region in self.rules.parameters]
        if [local.kind for local in parameters] != expected[: len(parameters)]:
            self.refuse(
                self.root.location, f"{self.root.name}() must take {self._wanted_parameters()}"
            )
        found = self.finding(self.root, arguments, self.root.location)
        if found.operations > self.rules.operations_max:
            self.refuse(self.subject.location, self._too_many(found.operations))
        return found

    def _wanted_parameters(self) -> str:
        names = ["a number" if each is None else each.name for each in self.rules.parameters]
        return f"{', '.join(names)}, or the first of these"

    def _too_many(self, operations: int) -> str:
        return (
            f"{self.subject.name}() may execute {operations:,} operations, and {self.rules.purpose}"
            f" has {self.rules.operations_max:,}: let its loops turn less often"
        )

    def refuse(self, where: Location | None, sentence: str) -> NoReturn:
        """Stop with a sentence; the place is in the root's own file, as near as can be."""
        home = self.subject.location.file if self.subject.location else None
        if where is not None and where.file != home:
            inner = f"{where.function}() at {shown_path(where.file)}:{where.line}"
            for _, caller in reversed(self.calls):
                if caller is not None and caller.file == home:
                    raise SubsetError(f"{sentence}; it is {inner} that does so", caller)
        raise SubsetError(sentence, where)

    # -- functions

    def finding(self, function: Function, arguments: Arguments, place: Location | None) -> Finding:
        """Look at a function for some arguments, once."""
        key = (function, arguments)
        if key not in self.known:
            if any(each is function for each, _ in self.calls):
                self.refuse(
                    place,
                    f"{function.name}() calls itself: {self.rules.purpose} must come to its end,"
                    " so write a loop over range(...)",
                )
            if function.external:
                self.refuse(
                    place,
                    f"{function.name}() is machine code, which nothing is known of:"
                    f" {self.rules.purpose} calls functions of the subset only",
                )
            if len(self.calls) >= DEPTH_MAX:
                self.refuse(
                    place,
                    f"{function.name}() is called {DEPTH_MAX} calls deep: {self.rules.purpose} has"
                    " little stack, so call less deeply",
                )
            self.calls.append((function, place))
            try:
                self.known[key] = self._look_at(function, arguments)
            except SubsetError as error:  # it would be the same the next time
                self.known[key] = error
            finally:
                self.calls.pop()
        found = self.known[key]
        if isinstance(found, SubsetError):
            raise found
        return found

    def _look_at(self, function: Function, arguments: Arguments) -> Finding:
        start: State = dict(zip(function.parameters, arguments, strict=True))
        flow = Flow(function, start, self.evaluate)
        costs = {block: self._cost(flow, block) for block in flow.blocks if block in flow.starts}
        loops = Loops(flow)
        if loops.jumped_into is not None:
            self.refuse(function.location, f"{function.name}() jumps into the middle of a loop")
        turns: dict[Block, int] = {}
        for loop in loops.loops:
            bound = loops.turns(loop)
            if bound is None:
                self.refuse(_place_of(loop.head, function), self._unbounded())
            turns[loop.head] = bound
        results = [
            flow.known(last.args[0])
            for block in costs
            for last in [block.terminator]
            if last is not None and last.op == "return" and last.args
        ]
        return Finding(longest(loops, costs, turns), reduce(Known.join, results or [ANYTHING]))

    def _unbounded(self) -> str:
        return (
            f"nothing is known that bounds this loop: {self.rules.purpose} must come to its end, so"
            " loop over range(...) of a number that a constant, an if or a mask keeps small"
        )

    def _cost(self, flow: Flow, block: Block) -> int:
        """Check the operations of a block, and count them, with those of what it calls."""
        cost = 0
        for instruction in block.instructions:
            cost += 1
            operands = flow.operands(instruction)
            if instruction.op == "call":
                cost += self._called(instruction, operands).operations
            else:
                self._check(instruction, operands)
        return cost

    def _called(self, instruction: Instruction, operands: list[Known]) -> Finding:
        (callee,) = instruction.attributes
        assert isinstance(callee, Function)
        return self.finding(callee, tuple(operands), instruction.location)

    # -- what is known of results

    def evaluate(self, instruction: Instruction, operands: list[Known]) -> Known | None:
        """Say what is known of the result of an operation, by its operands; nothing is checked."""
        self.work += 1
        if self.work > WORK_MAX:
            self.refuse(
                self.subject.location,
                f"{self.subject.name}() is too large to be looked through: make it shorter",
            )
        if instruction.kind is None:
            return None
        known = computed(instruction.op, operands)
        return self._fetched(instruction, operands) if known is None else known

    def _fetched(self, instruction: Instruction, operands: list[Known]) -> Known:
        """Say what is known of what does not only compute."""
        op, attributes = instruction.op, instruction.attributes
        match op:
            case "call":
                try:
                    return self._called(instruction, operands).result
                except SubsetError:  # what holds is not known yet; it is checked when it is
                    return ANYTHING
            case "member":
                (offset,) = attributes
                assert isinstance(offset, int)
                return _beyond(operands[0], number(offset))
            case "element":
                stride, _ = attributes
                assert isinstance(stride, int)
                return _beyond(operands[0], mul(operands[1], number(stride)))
            case "at" | "address":
                return operands[0]
            case "symbol":
                region = self.rules.symbols.get(str(attributes[0]))
                return ANYTHING if region is None else start_of(region)
            case "bytes":
                return start_of(_region_of(attributes[0]))
            case "lookup":
                (table,) = attributes
                assert isinstance(table, Table)
                return between(min(table.values), max(table.values))
            case "load" | "read":
                return _loaded(instruction, operands[0])
        return ANYTHING

    # -- what is allowed

    def _check(self, instruction: Instruction, operands: list[Known]) -> None:
        """Require an operation to be allowed."""
        op, attributes, where = instruction.op, instruction.attributes, instruction.location
        if op in (*LOADS, *STORES, *ATOMIC):
            width = attributes[0]
            assert isinstance(width, int)
            self._check_access(where, operands[0], width // 8, is_write=op not in LOADS)
        elif op == "lookup":
            (table,) = attributes
            assert isinstance(table, Table)
            self._check_index(where, operands[0], len(table.values))
        elif op == "element" and attributes[1]:  # 0: the compiler itself knows the range
            assert isinstance(attributes[1], int)
            self._check_index(where, operands[1], attributes[1])
        elif op == "symbol" and str(attributes[0]) not in self.rules.symbols:
            self.refuse(
                where, f"{attributes[0]} is a place of L0's: {self.rules.purpose} has its maps only"
            )
        elif op == "mrs":
            self._check_register(where, attributes[0])
        elif sentence := FORBIDDEN.get(op):
            name = attributes[0] if attributes else ""
            if op != "barrier" or name not in BARRIERS_ALLOWED:
                what = str(name).replace(".", " ")
                self.refuse(where, sentence.format(name=what, purpose=self.rules.purpose))

    def _check_index(self, where: Location | None, index: Known, count: int) -> None:
        """Require an index to be inside an array or table."""
        if index.region is not None or index.high >= count:
            self.refuse(
                where,
                f"an index of up to {index.high:,} may be outside an array of {count}: {HINT}",
            )

    def _check_register(self, where: Location | None, register: object) -> None:
        assert isinstance(register, SystemName)
        if register.name not in self.rules.registers:
            self.refuse(
                where,
                f"{register.name} is not among the registers that {self.rules.purpose} may read:"
                f" these are {', '.join(sorted(self.rules.registers))}",
            )

    def _check_access(
        self, where: Location | None, place: Known, size: int, *, is_write: bool
    ) -> None:
        """Require an access to be inside a region that may be read, or written."""
        verb = "write" if is_write else "read"
        region, purpose = place.region, self.rules.purpose
        if region is None:
            self.refuse(
                where,
                f"this would {verb} memory at an address that is only a number:"
                f" {purpose} may {verb} {self._regions(is_write)}",
            )
        if is_write and not region.is_writable:
            self.refuse(
                where,
                f"this would write {region.name}, which {purpose} may only read:"
                f" it may write {self._regions(True)}",
            )
        if place.low < 0 or place.high + size > region.size:
            self.refuse(
                where,
                f"this may {verb} {region.name}, of {region.size:,} bytes, at up to byte"
                f" {place.high:,}: {HINT}"
                if place.low >= 0
                else f"this may {verb} below the start of {region.name}: {HINT}",
            )
        if place.step % size:
            self.refuse(
                where,
                f"this may {verb} {size} bytes of {region.name} at an address that is no multiple"
                f" of {size}: move by multiples of {size}",
            )

    def _regions(self, is_write: bool) -> str:
        """List what may be written, or read."""
        if is_write:
            return "its maps"
        names = [each.name for each in self.rules.parameters if each is not None]
        return ", ".join(dict.fromkeys(names)) + " and its maps"


HINT = "show that it is inside, by an if before it or with a mask"
FORBIDDEN = {
    "msr": "this writes {name}: {purpose} may not write system registers",
    "sysop": "this executes {name}: {purpose} may not execute system instructions",
    "sysop0": "this executes {name}: {purpose} may not execute system instructions",
    "barrier": "this executes {name}: {purpose} may only order its own accesses, with dmb_ish()",
    "hint": "this executes {name}: {purpose} may not wait, nor let others wait",
    "unreachable": "control may come to unreachable() here: {purpose} must do something there",
}


def _beyond(place: Known, distance: Known) -> Known:
    """Give a reference some bytes further on; a number is no reference to anything."""
    if place.region is None or distance.region is not None:
        return ANYTHING
    return moved(place, distance.low, distance.high, distance.step)


def _loaded(instruction: Instruction, place: Known) -> Known:
    """Say what a load gives: the address of a region, where the owner keeps one, or a number."""
    width = instruction.attributes[0]
    assert isinstance(width, int)
    if place.region is not None and place.low == place.high and width == WORD_BITS:
        pointed = place.region.pointers.get(place.low)
        if pointed is not None:
            return start_of(pointed)
    return between(0, (1 << width) - 1)


def _region_of(blob: object) -> Region:
    assert isinstance(blob, Blob)
    return Region(f"the constant bytes {blob.name}", len(blob.data))


def _place_of(block: Block, function: Function) -> Location | None:
    """Give the line of a loop's head."""
    for instruction in reversed(block.instructions):
        if instruction.location is not None:
            return instruction.location
    return function.location
