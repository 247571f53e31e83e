"""The function being built: its names, blocks, and the conversions every construct needs."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

from vel2.lang import ir
from vel2.lang.ir import Block, Immediate, Instruction, Kind, Local, Location, Operand
from vel2.lang.lower.values import (
    ArrayRef,
    Bool,
    Int,
    Known,
    Place,
    Range,
    Ref,
    Type,
    Value,
    immediate,
)
from vel2.lang.subset import SubsetError
from vel2.lang.types import U64, Scalar

if TYPE_CHECKING:
    from vel2.lang.lower.module import ModuleLowering, Source


class Variable:
    """A local variable: its slot, its type, and the range of its values when it has one source."""

    __slots__ = ("local", "range", "type")

    def __init__(self, local: Local, type_: Type) -> None:
        self.local = local
        self.type = type_
        self.range: Range | None = None


class Scope:
    """State and helpers for lowering one function."""

    def __init__(self, module: ModuleLowering, source: Source, function: ir.Function) -> None:
        self.module = module
        self.source = source
        self.function = function
        self.variables: dict[str, Variable] = {}
        self.bound: dict[str, object] = {}
        """Local names that stand for compile-time objects on every way to the point of emission."""
        self.arriving: dict[Block, dict[str, object]] = {}
        """What `bound` is on every jump to a block so far; a block not in it is never reached."""
        self.placed: set[Block] = set()
        self.was_bound: set[str] = set()
        self.assignments = _count_assignments(source.node)
        self.block_names: Counter[str] = Counter()
        self.here: Location | None = None
        entry = self.new_block("entry")
        self.arriving[entry] = {}
        self.enter(entry)

    # -- messages

    def location(self, node: ast.AST) -> Location:
        """Give the place of a node in its file."""
        line = getattr(node, "lineno", 1)
        column = getattr(node, "col_offset", 0)
        end = getattr(node, "end_col_offset", None)
        if end is None or getattr(node, "end_lineno", line) != line:
            end = 10_000
        return self.source.location(line, column, end)

    def refuse(self, node: ast.AST, sentence: str) -> NoReturn:
        """Stop with a message about a node."""
        raise SubsetError(sentence, self.location(node))

    def text(self, node: ast.AST) -> str:
        """Give the source of a node in one line."""
        return self.source.segment(node)

    # -- emission

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

    # -- names

    def lookup(self, node: ast.Name) -> Value:
        """Find what a name stands for."""
        name = node.id
        if name in self.bound:
            return Known(self.bound[name])
        if name in self.variables:
            variable = self.variables[name]
            self.here = self.location(node)
            return variable.type.value(self.get(variable.local), variable.range)
        if name in self.was_bound:
            self.refuse(
                node,
                f"`{name}` has a compile-time value only inside the branch or loop that sets it: "
                "use it there",
            )
        if name in self.assignments:
            self.refuse(node, f"`{name}` is used where it may have no value: assign it first")
        environment = self.source.environment
        if name in environment:
            return Known(environment[name])
        if hasattr(builtins, name):
            return Known(getattr(builtins, name))
        self.refuse(node, f"`{name}` is not defined: define or import it (outside TYPE_CHECKING)")

    def forget_assigned(self, body: list[ast.stmt]) -> None:
        """Unbind the names a loop's body assigns, since its end leads back to its head."""
        for statement in body:
            for name in _targets(statement):
                self.bound.pop(name, None)

    # -- conversions

    def integer(self, node: ast.expr, value: Value, use: str) -> Int:
        """Require an integer that fits 64 bits; `use` completes "... before it is ..."."""
        found = self.any_integer(node, value)
        if found.is_wide:
            if isinstance(found.operand, Immediate):
                self.refuse_constant(node, found.range.low, U64)
            self.refuse_wide(node, use)
        return found

    def refuse_constant(self, node: ast.expr, number: int, scalar: Scalar) -> NoReturn:
        """Tell that a constant is too big, or negative."""
        self.refuse(node, f"{number:#x} does not fit {scalar.name}: write {scalar.name}(...)")

    def refuse_wide(self, node: ast.expr, use: str) -> NoReturn:
        """Tell that a value must be wrapped."""
        self.refuse(
            node,
            f"`{self.text(node)}` may leave 64 bits: write u64(...) around it, or mask it with &, "
            f"before it is {use}",
        )

    def any_integer(self, node: ast.expr, value: Value) -> Int:
        """Require an integer of any range."""
        if isinstance(value, Int):
            return value
        if isinstance(value, Known) and isinstance(value.object, int):
            number = value.object
            if not isinstance(number, bool):
                number = int(number)
                return Int(immediate(number), Range(number, number))
        if isinstance(value, Bool) or (isinstance(value, Known) and isinstance(value.object, bool)):
            self.refuse(node, f"an integer is wanted, `{self.text(node)}` is bool: write u64(...)")
        self.refuse(node, f"an integer is wanted, `{self.text(node)}` is {value.describe()}")

    def boolean(self, node: ast.expr, value: Value) -> Operand:
        """Require a bool."""
        if isinstance(value, Bool):
            return value.operand
        if isinstance(value, Known) and isinstance(value.object, bool):
            return immediate(value.object)
        self.refuse(
            node,
            f"a bool is wanted, `{self.text(node)}` is {value.describe()}: write a comparison",
        )

    def convert(self, node: ast.expr, value: Value, type_: Type, use: str) -> Operand:
        """Require a value that a place of a type can take, and give its operand.

        :param use: completes "before it is ..." in messages: stored, passed, returned.
        """
        wanted = type_.of
        if isinstance(wanted, Scalar):
            return self._convert_scalar(node, value, wanted, use)
        if wanted is bool:
            return self.boolean(node, value)
        if isinstance(wanted, ArrayRef):
            if isinstance(value, ArrayRef) and (value.element, value.count) == (
                wanted.element,
                wanted.count,
            ):
                return value.operand
        elif isinstance(value, Ref) and value.struct is wanted:
            return value.operand
        self.refuse(node, f"{type_.name} is wanted, `{self.text(node)}` is {value.describe()}")

    def _convert_scalar(self, node: ast.expr, value: Value, wanted: Scalar, use: str) -> Operand:
        is_constant = isinstance(value, Known)
        found = self.any_integer(node, value)
        if is_constant:
            if not 0 <= found.range.low <= wanted.mask:
                self.refuse_constant(node, found.range.low, wanted)
            return found.operand
        wanted_address = wanted if wanted.is_address else None
        if found.address is not wanted_address:
            self.refuse(
                node,
                f"{wanted.name} is wanted, `{self.text(node)}` is {found.describe()}: convert it "
                f"on purpose with {wanted.name}(...)",
            )
        if found.is_wide:
            self.refuse_wide(node, use)
        if found.range.high > wanted.mask:
            self.refuse(
                node,
                f"`{self.text(node)}` may not fit {wanted.name}: write {wanted.name}(...)",
            )
        return found.operand

    # -- places

    def load_place(self, place: Place, order: str = "plain") -> Value:
        """Read a scalar field or element."""
        operand = self.emit("load", place.operand, attributes=(place.bits, order))
        if not isinstance(place.element, Scalar):
            return Bool(self.emit("ne", operand, Immediate(0)))
        return Type(place.element).value(operand)

    def store_place(self, node: ast.expr, place: Place, value: Value, order: str = "plain") -> None:
        """Write a scalar field or element."""
        type_ = Type(place.element)
        operand = self.convert(node, value, type_, "stored")
        if type_.kind is Kind.BOOL:
            operand = self.emit("int", operand)
        self.emit("store", place.operand, operand, attributes=(place.bits, order))


_KINDS = {"i": Kind.INT, "b": Kind.BOOL, "r": Kind.REF}


def _is_same(a: object, b: object) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, int) and a == b)


def _targets(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
            yield inner.id


def _count_assignments(node: ast.FunctionDef) -> Counter[str]:
    counts = Counter(name for statement in node.body for name in _targets(statement))
    for argument in node.args.args:
        counts[argument.arg] += 1
    return counts


def is_known(value: Value, wanted: type | tuple[type, ...] = object) -> bool:
    """Tell whether a value is a compile-time object of a Python type."""
    return isinstance(value, Known) and isinstance(value.object, wanted)
