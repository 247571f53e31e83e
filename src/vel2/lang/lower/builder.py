"""The IR of one function while it is made: its blocks, its slots, and what is known on each way."""

from __future__ import annotations

from collections import Counter

from vel2.lang import ir
from vel2.lang.ir import Block, Instruction, Kind, Local, Location, Operand
from vel2.lang.lower.values import Type

_KINDS = {"i": Kind.INT, "b": Kind.BOOL, "r": Kind.REF}


class Builder:
    """Appends to a function of the IR.

    :ivar here: the place in the source that what is emitted comes from.
    :ivar bound: local names that stand for compile-time objects on every way to the point of
        emission.
    """

    def __init__(self, function: ir.Function) -> None:
        self.function = function
        self.bound: dict[str, object] = {}
        self.here: Location | None = None
        self.arriving: dict[Block, dict[str, object]] = {}
        """What `bound` is on every jump to a block so far; a block not in it is never reached."""
        self.placed: set[Block] = set()
        self.block_names: Counter[str] = Counter()
        entry = self.new_block("entry")
        self.arriving[entry] = {}
        self.enter(entry)

    def new_block(self, name: str) -> Block:
        """Make a block; it is placed when it is entered."""
        return Block(name)

    def enter(self, block: Block) -> None:
        """Continue in a block: place it, unless control never gets there.

        What is emitted into a block that is not placed is lost, as dead code should be.
        """
        self.block = block
        if block not in self.arriving:
            return
        self.bound = self.arriving[block]
        count = self.block_names[block.name]
        self.block_names[block.name] += 1
        if count:
            block.name = f"{block.name}.{count}"
        self.placed.add(block)
        self.function.blocks.append(block)

    @property
    def is_open(self) -> bool:
        """Tell whether control reaches the point of emission."""
        return self.block in self.placed and self.block.terminator is None

    def emit(
        self,
        op: str,
        *args: Operand,
        kind: Kind | None = None,
        attributes: tuple[object, ...] = (),
    ) -> Instruction:
        """Append one operation."""
        shape = ir.OPCODES[op]
        if kind is None and shape.result and shape.result != "s":
            kind = _KINDS[shape.result]
        instruction = Instruction(op, args, kind, attributes, self.here)
        self.block.instructions.append(instruction)
        return instruction

    def jump(self, target: Block) -> None:
        """Go to a block, if control gets here."""
        if self.is_open:
            self.emit("jump", attributes=(target,))
            self._arrive(target)

    def branch(self, condition: Operand, yes: Block, no: Block) -> None:
        """Go to one of two blocks."""
        self.emit("branch", condition, attributes=(yes, no))
        self._arrive(yes, no)

    def switch(self, value: Operand, cases: list[tuple[int, Block]], default: Block) -> None:
        """Go to the block of a number, or to the default."""
        self.emit("switch", value, attributes=(tuple(cases), default))
        self._arrive(default, *(block for _, block in cases))

    def _arrive(self, *targets: Block) -> None:
        """Note a way to some blocks: a name stays bound there if all ways bind it to one object."""
        if self.block not in self.placed:
            return
        for target in targets:
            known = self.arriving.get(target)
            if known is None:
                self.arriving[target] = dict(self.bound)
            else:
                self.arriving[target] = {
                    name: value
                    for name, value in known.items()
                    if name in self.bound and _is_same(self.bound[name], value)
                }

    def new_local(self, name: str, type_: Type) -> Local:
        """Make a slot."""
        local = Local(name, type_.kind, type_.name)
        self.function.locals.append(local)
        return local

    def temporary(self, type_: Type) -> Local:
        """Make a slot that has no name in the source."""
        return self.new_local(f"${len(self.function.locals)}", type_)

    def get(self, local: Local) -> Instruction:
        """Read a slot."""
        return self.emit("get", kind=local.kind, attributes=(local,))

    def set(self, local: Local, value: Operand) -> None:
        """Write a slot."""
        self.emit("set", value, attributes=(local,))


def _is_same(a: object, b: object) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, int) and a == b)
