"""The verifier: what must hold of every module, so that a bug of the compiler shows at once.

It runs after lowering and before any back end. There are two kinds of findings: a `VerifyError` is
our own mistake; a variable that may be read before it is assigned is the user's, and becomes a
`SubsetError`.
"""

from __future__ import annotations

from collections.abc import Sequence

from vel2.lang.ir import (
    BARRIERS,
    HINTS,
    OPCODES,
    Blob,
    Block,
    Function,
    Immediate,
    Instruction,
    Kind,
    Local,
    Module,
    SystemName,
    Table,
    attribute_text,
)
from vel2.lang.subset import SubsetError
from vel2.lang.types import WORD_MASK

_KINDS = {"i": Kind.INT, "b": Kind.BOOL, "r": Kind.REF}
_ORDERS = {
    "load": ("plain", "volatile"),
    "store": ("plain", "volatile"),
    "read": ("volatile", "acquire"),
    "write": ("volatile", "release"),
}


class VerifyError(Exception):
    """The compiler made IR that breaks the grammar."""


def verify_module(module: Module) -> None:
    """Check every function.

    :raises VerifyError: names the function, the block and the instruction.
    :raises SubsetError: a variable may be read before it is assigned.
    """
    for name, function in module.functions.items():
        if function.name != name:
            raise VerifyError(f"{function.name} is filed as {name}")
        if function.external:
            if function.blocks:
                raise VerifyError(f"{name} is external but has blocks")
            continue
        function.renumber()
        _FunctionVerifier(module, function).run()


class _FunctionVerifier:
    """Checks one function; see `verify_module`."""

    def __init__(self, module: Module, function: Function) -> None:
        self.module = module
        self.function = function
        self.locals = {*function.parameters, *function.locals}
        self.block: Block | None = None

    def run(self) -> None:
        """Check structure, then each instruction, then the order of definitions and uses."""
        self._check_structure()
        for block in self.function.blocks:
            self.block = block
            for instruction in block.instructions:
                self._check_instruction(instruction)
        blocks = reachable(self.function.blocks)
        self._check_dominance(blocks)
        self._check_assigned(blocks)

    def _fail(self, what: object, sentence: str) -> None:
        where = f"{self.function.name}:{self.block.name if self.block else '?'}"
        raise VerifyError(f"{where}: `{what}`: {sentence}")

    # -- structure

    def _check_structure(self) -> None:
        blocks = self.function.blocks
        names = [block.name for block in blocks]
        if not blocks:
            raise VerifyError(f"{self.function.name} has no blocks")
        if len(set(names)) != len(names):
            raise VerifyError(f"{self.function.name} has two blocks of one name")
        slots = [local.name for local in (*self.function.parameters, *self.function.locals)]
        if len(set(slots)) != len(slots):
            raise VerifyError(f"{self.function.name} has two slots of one name")
        placed = set(blocks)
        for block in blocks:
            self.block = block
            if block.terminator is None:
                self._fail(block.name, "the block does not end in a terminator")
            for instruction in block.instructions[:-1]:
                if instruction.op in OPCODES and OPCODES[instruction.op].terminator:
                    self._fail(instruction, "a terminator stands in the middle")
            for successor in block.successors:
                if successor not in placed:
                    self._fail(block.terminator, f"{successor.name} is not in the function")

    # -- one instruction

    def _check_instruction(self, instruction: Instruction) -> None:
        shape = OPCODES.get(instruction.op)
        if shape is None:
            self._fail(instruction.op, "there is no such operation")
            return
        if len(instruction.attributes) != len(shape.attributes):
            self._fail(instruction.op, f"it takes the attributes {', '.join(shape.attributes)}")
        kinds, result = self._signature(instruction)
        found = [arg.kind for arg in instruction.args]
        if found != kinds:
            self._fail(instruction, f"operands are {_names(found)}, {_names(kinds)} are wanted")
        if instruction.kind is not result:
            self._fail(instruction, f"the result is {_names([instruction.kind])}")
        for arg in instruction.args:
            if isinstance(arg, Immediate):
                self._check_immediate(instruction, arg)
        self._check_attributes(instruction)

    def _signature(self, instruction: Instruction) -> tuple[list[Kind | None], Kind | None]:
        """Give the kinds an instruction must have, from the grammar and what it refers to."""
        shape = OPCODES[instruction.op]
        if instruction.op == "call":
            (callee,) = instruction.attributes
            assert isinstance(callee, Function)
            return [local.kind for local in callee.parameters], callee.result
        if instruction.op == "return":
            return [self.function.result] if self.function.result else [], None
        if instruction.op in ("get", "set"):
            (local,) = instruction.attributes
            assert isinstance(local, Local)
            return ([], local.kind) if instruction.op == "get" else ([local.kind], None)
        result = _KINDS[shape.result] if shape.result else None
        return [_KINDS[letter] for letter in shape.args], result

    def _check_immediate(self, instruction: Instruction, arg: Immediate) -> None:
        limit = 1 if arg.kind is Kind.BOOL else WORD_MASK
        if not 0 <= arg.value <= limit or arg.kind is Kind.REF:
            self._fail(instruction, f"{arg.value} is not a constant of its kind")

    def _check_attributes(self, instruction: Instruction) -> None:
        names = OPCODES[instruction.op].attributes
        for name, value in zip(names, instruction.attributes, strict=True):
            if not self._is_valid(instruction, name, value):
                self._fail(instruction, f"{name} cannot be {attribute_text(value)}")

    def _is_valid(self, instruction: Instruction, name: str, value: object) -> bool:
        match name:
            case "local":
                return isinstance(value, Local) and value in self.locals
            case "callee":
                return isinstance(value, Function) and (
                    self.module.functions.get(value.name) is value
                )
            case "width":
                return value in (8, 16, 32, 64)
            case "order":
                return value in _ORDERS[instruction.op]
            case "offset" | "count" | "size":
                return isinstance(value, int) and value >= 0
            case "stride":
                return isinstance(value, int) and value > 0
            case "table":
                return isinstance(value, Table) and value in self.module.tables
            case "blob":
                return isinstance(value, Blob) and value in self.module.blobs
            case "register" | "instruction":
                return isinstance(value, SystemName) and (
                    value.encoding[0] in ((2, 3) if name == "register" else (1,))
                )
            case "name":
                known = {"barrier": BARRIERS.keys(), "hint": HINTS.keys()}.get(instruction.op)
                return isinstance(value, str) and (known is None or value in known)
            case "cases":
                return isinstance(value, tuple) and len({n for n, _ in value}) == len(value)
            case _:
                return isinstance(value, Block)

    # -- order

    def _check_dominance(self, blocks: list[Block]) -> None:
        """Require each value to be defined on every path to its use."""
        home = {
            instruction: block
            for block in self.function.blocks
            for instruction in block.instructions
        }
        parent = dominator_tree(blocks)
        for block in blocks:
            self.block = block
            seen: set[Instruction] = set()
            for instruction in block.instructions:
                for arg in instruction.args:
                    if isinstance(arg, Immediate) or arg in seen:
                        continue
                    if arg not in home:
                        self._fail(instruction, f"{arg} is not in the function")
                    elif home[arg] is block or not dominates(parent, home[arg], block):
                        self._fail(instruction, f"%{arg.number} is used before it is defined")
                seen.add(instruction)

    def _check_assigned(self, blocks: list[Block]) -> None:
        """Require each slot to be set on every path to a `get`."""
        everything = frozenset(self.locals)
        entry = self.function.blocks[0]
        at_end = dict.fromkeys(blocks, everything)
        before = predecessors(blocks)
        changed = True
        while changed:
            changed = False
            for block in blocks:
                assigned = self._assigned_at(block, entry, before, at_end)
                for instruction in block.instructions:
                    if instruction.op == "set":
                        assigned.add(instruction.attributes[0])  # type: ignore[arg-type]
                if assigned != at_end[block]:
                    at_end[block] = frozenset(assigned)
                    changed = True
        for block in blocks:
            assigned = self._assigned_at(block, entry, before, at_end)
            for instruction in block.instructions:
                if instruction.op == "set":
                    assigned.add(instruction.attributes[0])  # type: ignore[arg-type]
                elif instruction.op == "get" and instruction.attributes[0] not in assigned:
                    raise SubsetError(
                        f"`{instruction.attributes[0]}` may have no value here: assign it on every "
                        "path",
                        instruction.location,
                    )

    def _assigned_at(
        self,
        block: Block,
        entry: Block,
        before: dict[Block, list[Block]],
        at_end: dict[Block, frozenset[Local]],
    ) -> set[Local]:
        if block is entry:
            return set(self.function.parameters)
        found = [at_end[each] for each in before[block]]
        return set(frozenset.intersection(*found))


def _names(kinds: Sequence[Kind | None]) -> str:
    return ", ".join("nothing" if kind is None else kind.value for kind in kinds) or "nothing"


def reachable(blocks: list[Block]) -> list[Block]:
    """Give the blocks that control can reach, in reverse postorder."""
    order: list[Block] = []
    seen = {blocks[0]}
    stack = [(blocks[0], iter(blocks[0].successors))]
    while stack:
        block, successors = stack[-1]
        following = next((s for s in successors if s not in seen), None)
        if following is None:
            order.append(block)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(following.successors)))
    return order[::-1]


def predecessors(blocks: list[Block]) -> dict[Block, list[Block]]:
    """Give the blocks from which each block is reached."""
    found: dict[Block, list[Block]] = {block: [] for block in blocks}
    for block in blocks:
        for successor in block.successors:
            found[successor].append(block)
    return found


def dominator_tree(blocks: list[Block]) -> dict[Block, Block]:
    """Give each block's immediate dominator; the entry is its own.

    Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm"; `blocks` are in reverse
    postorder.
    """
    order = {block: number for number, block in enumerate(blocks)}
    before = predecessors(blocks)
    parent = {blocks[0]: blocks[0]}
    changed = True
    while changed:
        changed = False
        for block in blocks[1:]:
            known = [each for each in before[block] if each in parent]
            found = known[0]
            for other in known[1:]:
                while found is not other:
                    while order[found] > order[other]:
                        found = parent[found]
                    while order[other] > order[found]:
                        other = parent[other]
            if parent.get(block) is not found:
                parent[block] = found
                changed = True
    return parent


def dominates(parent: dict[Block, Block], above: Block, below: Block) -> bool:
    """Tell whether every path to `below` passes `above`."""
    while below is not above:
        if parent[below] is below:
            return False
        below = parent[below]
    return True
