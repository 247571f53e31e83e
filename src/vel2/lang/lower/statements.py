"""Statements: one method per node type."""

from __future__ import annotations

import ast
import copy
import enum
from dataclasses import dataclass
from typing import Any

from vel2.lang.ir import Block, Immediate, Instruction, Kind
from vel2.lang.lower.calls import Calls
from vel2.lang.lower.scope import Variable
from vel2.lang.lower.values import (
    Int,
    Known,
    Nothing,
    Range,
    Type,
    Value,
    immediate,
    type_of,
)
from vel2.lang.structs import StructMeta
from vel2.lang.types import U64, WORD_MASK, Scalar

_HINTS = {
    "Assert": "write an if that calls a function of your own",
    "AsyncFunctionDef": "define functions at the top of a module",
    "ClassDef": "define classes at the top of a module",
    "Delete": "assign another value instead",
    "FunctionDef": "define functions at the top of a module",
    "Global": "keep what changes in a Struct",
    "Import": "import at the top of the module",
    "ImportFrom": "import at the top of the module",
    "Nonlocal": "keep what changes in a Struct",
    "Raise": "return a value that says what happened",
    "Try": "return a value that says what happened",
    "With": "call what it does at its start and at its end",
}


@dataclass
class _Loop:
    """Where `continue` and `break` go."""

    again: Block
    end: Block


class Statements(Calls):
    """Lowering of statements, and of a whole body."""

    def lower(self) -> None:
        """Lower the body of the function."""
        self._loops: list[_Loop] = []
        for (name, type_), local in zip(
            self.source.parameters, self.function.parameters, strict=True
        ):
            self.variables[name] = Variable(local, type_)
        self._body(self.source.node.body)
        if not self.is_open:
            return
        if self.source.result is not None:
            self.refuse(
                self.source.node.body[-1],
                f"{self.source.name}() can end without a value: return a "
                f"{self.source.result.name} on every path",
            )
        if self.source.never_returns:
            self.refuse(
                self.source.node.body[-1],
                f"{self.source.name}() is declared NoReturn but can end: end it with a loop or "
                "unreachable()",
            )
        self.emit("return")

    def _body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if not self.is_open:
                break
            self.here = self.location(statement)
            method = getattr(self, f"_stmt_{type(statement).__name__}", None)
            if method is None:
                kind = type(statement).__name__
                hint = _HINTS.get(kind, "write it with if, while, for and match")
                self.refuse(statement, f"the statement `{kind}` is not in the subset: {hint}")
            method(statement)

    def _stmt_Pass(self, node: ast.Pass) -> None:
        pass

    def _stmt_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):
            return
        if not isinstance(node.value, ast.Call):
            self.refuse(node, f"`{self.text(node)}` has no effect: only a call can stand alone")
        self.expression(node.value)

    def _stmt_Return(self, node: ast.Return) -> None:
        wanted = self.source.result
        if self.source.never_returns:
            self.refuse(node, f"{self.source.name}() is declared NoReturn: it cannot return")
        is_none = node.value is None or (
            isinstance(node.value, ast.Constant) and node.value.value is None
        )
        if wanted is None:
            if node.value is not None and not is_none:
                value = self.expression(node.value)
                if not isinstance(value, Nothing):
                    self.refuse(node, f"{self.source.name}() returns None, not {value.describe()}")
            if self.is_open:
                self.emit("return")
            return
        if node.value is None or is_none:
            self.refuse(node, f"{self.source.name}() must return a {wanted.name}")
        self.emit(
            "return", self.convert(node.value, self.expression(node.value), wanted, "returned")
        )

    # -- assignment

    def _stmt_Assign(self, node: ast.Assign) -> None:
        if len(node.targets) != 1:
            self.refuse(node, "a statement assigns one target: write two statements")
        target = node.targets[0]
        if isinstance(target, ast.Tuple):
            self._assign_tuple(node, target)
        else:
            self._assign(target, self.expression(node.value), node.value)

    def _assign_tuple(self, node: ast.Assign, target: ast.Tuple) -> None:
        """Lower `a, b = x, y`: all values first, then the targets from left to right."""
        self._refuse_repeated(target)
        if isinstance(node.value, ast.Tuple):
            nodes = node.value.elts
            found = [self.expression(item) for item in nodes]
        else:
            value = self.expression(node.value)
            items = value.object if isinstance(value, Known) else None
            if not isinstance(items, tuple):
                self.refuse(node.value, f"`{self.text(node.value)}` cannot be unpacked")
            found = [Known(item) for item in items]
            nodes = [node.value] * len(found)
        if len(found) != len(target.elts):
            self.refuse(
                node, f"{len(found)} values cannot be assigned to {len(target.elts)} targets"
            )
        for inner, value, source in zip(target.elts, found, nodes, strict=True):
            self._assign(inner, value, source)

    def _refuse_repeated(self, target: ast.Tuple) -> None:
        """Refuse a target named twice: CPython 3.11.2 would keep its first value."""
        seen = set()
        for inner in target.elts:
            text = ast.unparse(inner)
            if text in seen:
                self.refuse(inner, f"`{text}` is assigned twice here: only the last value counts")
            seen.add(text)

    def _assign(self, target: ast.expr, value: Value, source: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._assign_name(target, value, source, None)
        else:
            self.store_place(source, self.place(target), value)

    def _assign_name(
        self, target: ast.Name, value: Value, source: ast.expr, declared: Type | None
    ) -> None:
        name = target.id
        variable = self.variables.get(name)
        if variable is None:
            type_ = declared or type_of(value)
            if type_ is None:
                self._bind(source, name, value)
                return
            if name in self.bound and declared is None and self.assignments[name] > 1:
                self._refuse_rebinding(target)
            variable = self._declare(name, type_)
        if isinstance(value, Known) and type_of(value) is None:
            self.refuse(
                source,
                f"`{name}` is a {variable.type.name}: `{self.text(source)}` is {value.describe()}",
            )
        operand = self.convert(source, value, variable.type, "stored")
        self._narrow(name, variable, value)
        self.set(variable.local, operand)
        self._remember_constant(name, variable, value)

    def _remember_constant(self, name: str, variable: Variable, value: Value) -> None:
        """Let a name assigned once stand for its constant, for as long as that is sure."""
        wanted = variable.type.of
        is_address = isinstance(wanted, Scalar) and wanted.is_address
        if isinstance(value, Known) and self.assignments[name] == 1 and not is_address:
            self.bound[name] = value.object

    def _refuse_rebinding(self, target: ast.Name) -> None:
        self.refuse(
            target,
            f"`{target.id}` stands for a compile-time value here: use another name",
        )

    def _declare(self, name: str, type_: Type) -> Variable:
        variable = Variable(self.new_local(name, type_), type_)
        self.variables[name] = variable
        return variable

    def _narrow(self, name: str, variable: Variable, value: Value) -> None:
        """Remember the range of a variable that is assigned in one place only."""
        if self.assignments[name] != 1 or variable.type.kind is not Kind.INT:
            return
        if isinstance(value, Int):
            found = value.range
        elif isinstance(value, Known) and isinstance(value.object, int):
            found = Range(int(value.object), int(value.object))
        else:
            return
        variable.range = found if variable.range is None else variable.range.union(found)

    def _bind(self, source: ast.expr, name: str, value: Value) -> None:
        """Let a name stand for a compile-time object."""
        if not isinstance(value, Known):
            self.refuse(source, f"`{self.text(source)}` is {value.describe()}: it cannot be stored")
        self.bound[name] = value.object
        self.was_bound.add(name)

    def _stmt_AnnAssign(self, node: ast.AnnAssign) -> None:
        if not isinstance(node.target, ast.Name):
            self.refuse(node, "only a local variable can be annotated here")
        name = node.target.id
        declared = self._annotation(node.annotation)
        variable = self.variables.get(name)
        if variable is not None and variable.type != declared:
            self.refuse(node, f"`{name}` is already a {variable.type.name}")
        if node.value is not None:
            self._assign_name(node.target, self.expression(node.value), node.value, declared)
        elif variable is None:
            self._declare(name, declared)

    def _annotation(self, node: ast.expr) -> Type:
        value = self.expression(node)
        found = value.object if isinstance(value, Known) else None
        if isinstance(found, str):
            return self._annotation(ast.copy_location(ast.parse(found, mode="eval").body, node))
        if isinstance(found, Scalar | StructMeta) or found is bool:
            return Type(found)
        if isinstance(found, type) and issubclass(found, enum.IntEnum):
            return Type(U64)
        self.refuse(
            node,
            f"`{self.text(node)}` is not a type of the subset: use u8..u64, bool, VA, L2IPA, "
            "L1IPA, PA or a Struct",
        )

    def _stmt_AugAssign(self, node: ast.AugAssign) -> None:
        """Lower `target op= value`; the target's own operands are evaluated once."""
        current = copy.copy(node.target)
        current.ctx = ast.Load()
        result = ast.copy_location(ast.BinOp(current, node.op, node.value), node)
        if isinstance(node.target, ast.Name) and isinstance(current, ast.Name):
            value = self.binary(result, node.op, self.lookup(current), current, node.value)
            self._refuse_wide_augmented(node, value)
            self._assign_name(node.target, value, result, None)
            return
        place = self.place(node.target)
        value = self.binary(result, node.op, self.load_place(place), current, node.value)
        self._refuse_wide_augmented(node, value)
        self.store_place(result, place, value)

    def _refuse_wide_augmented(self, node: ast.AugAssign, value: Value) -> None:
        if isinstance(value, Int) and value.is_wide:
            op = ast.unparse(ast.BinOp(ast.Name("a"), node.op, ast.Name("b"))).split()[1]
            target, source = self.text(node.target), self.text(node.value)
            if isinstance(node.value, ast.BinOp | ast.IfExp | ast.BoolOp | ast.Compare):
                source = f"({source})"
            self.refuse(
                node,
                f"`{self.text(node)}` may leave 64 bits: write "
                f"`{target} = u64({target} {op} {source})`",
            )

    # -- control flow

    def _stmt_If(self, node: ast.If) -> None:
        yes, no = self.new_block("then"), self.new_block("else")
        known = self.condition(node.test, yes, no)
        if known is not None:
            self._body(node.body if known else node.orelse)
            return
        end = self.new_block("end") if node.orelse else no
        self.enter(yes)
        self._body(node.body)
        self.jump(end)
        if node.orelse:
            self.enter(no)
            self._body(node.orelse)
            self.jump(end)
        self.enter(end)

    def _refuse_else(self, node: ast.While | ast.For) -> None:
        if node.orelse:
            self.refuse(node.orelse[0], "a loop has no else in the subset: use a flag")

    def _stmt_While(self, node: ast.While) -> None:
        self._refuse_else(node)
        head, body, end = (self.new_block(name) for name in ("while", "body", "end"))
        self.forget_assigned(node.body)
        self.jump(head)
        self.enter(head)
        known = self.condition(node.test, body, end)
        if known is not None:
            self.jump(body if known else end)
        self.enter(body)
        self._loop_body(_Loop(head, end), node.body)
        self.jump(head)
        self.enter(end)

    def _loop_body(self, loop: _Loop, body: list[ast.stmt]) -> None:
        self._loops.append(loop)
        self._body(body)
        self._loops.pop()

    def _stmt_Break(self, node: ast.Break) -> None:
        self.jump(self._loops[-1].end)

    def _stmt_Continue(self, node: ast.Continue) -> None:
        self.jump(self._loops[-1].again)

    def _stmt_For(self, node: ast.For) -> None:
        self._refuse_else(node)
        if self._is_range(node.iter):
            assert isinstance(node.iter, ast.Call)
            if isinstance(node.target, ast.Name) and not node.iter.keywords:
                self._for_range(node, node.target, node.iter)
                return
        value = self.expression(node.iter)
        if not isinstance(value, Known):
            self.refuse(
                node.iter,
                f"`{self.text(node.iter)}` is {value.describe()}: loop over range(...) or a "
                "compile-time tuple",
            )
        try:
            items = list(value.object)
        except TypeError:
            self.refuse(
                node.iter,
                f"`{self.text(node.iter)}` is {value.describe()}: loop over range(...) or a "
                "compile-time tuple",
            )
        self._unroll(node, items)

    def _is_range(self, node: ast.expr) -> bool:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            return False
        name = node.func.id
        shadowed = name in self.assignments or name in self.source.environment
        return name == "range" and not shadowed

    # -- loops over range()

    def _for_range(self, node: ast.For, target: ast.Name, call: ast.Call) -> None:
        """Lower a counted loop; the counter is hidden, so the body may assign the target."""
        if not 1 <= len(call.args) <= 3:
            self.refuse(call, "range() takes 1 to 3 arguments")
        found = [self._range_argument(argument) for argument in call.args]
        zero, one = Int(immediate(0), Range(0, 0)), Int(immediate(1), Range(1, 1))
        start = found[0] if len(found) > 1 else zero
        stop = found[1] if len(found) > 1 else found[0]
        step = found[2] if len(found) > 2 else one
        if step.range.low != step.range.high or step.range.low == 0:
            self.refuse(call.args[-1], "the step of range() must be a compile-time number, not 0")
        by = step.range.low
        counts_to_zero = by < 0 and stop.range == Range(-1, -1)
        for argument, value in zip(call.args, found, strict=True):
            if value is not step and not (value is stop and counts_to_zero):
                self.integer(argument, value, "counted to")
        value_range = (
            Range(start.range.low, max(stop.range.high - 1, start.range.low))
            if by > 0
            else Range(max(stop.range.low + 1, 0), start.range.high)
        )
        self._counted(node, target, start, stop, by, value_range)

    def _range_argument(self, node: ast.expr) -> Int:
        value = self.any_integer(node, self.expression(node))
        return Int(value.operand, value.range)

    def _counted(
        self, node: ast.For, target: ast.Name, start: Int, stop: Int, by: int, values: Range
    ) -> None:
        counter = self.temporary(_COUNTER)
        self.set(counter, start.operand)
        again, body, step, end = (self.new_block(name) for name in ("for", "body", "step", "end"))
        remaining = None
        if by == 1:
            limit = stop.operand
        else:
            remaining = self.temporary(_COUNTER)
            self.set(remaining, self._trip_count(start, stop, by))
            limit = None
        self.forget_assigned(node.body)
        self.bound.pop(target.id, None)
        self.jump(again)
        self.enter(again)
        if remaining is None:
            assert limit is not None
            self.branch(self.emit("lt", self.get(counter), limit), body, end)
        else:
            self.branch(self.emit("ne", self.get(remaining), Immediate(0)), body, end)
        self.enter(body)
        self._assign_name(target, Int(self.get(counter), values), target, None)
        self._loop_body(_Loop(step, end), node.body)
        self.jump(step)
        self.enter(step)
        self.set(counter, self.emit("add", self.get(counter), immediate(by)))
        if remaining is not None:
            self.set(remaining, self.emit("sub", self.get(remaining), Immediate(1)))
        self.jump(again)
        self.enter(end)

    def _trip_count(self, start: Int, stop: Int, by: int) -> Instruction:
        """Compute how often a loop with a step other than 1 runs, as len(range(...)) does."""
        slot = self.temporary(_COUNTER)
        runs, end = self.new_block("runs"), self.new_block("counted")
        self.set(slot, Immediate(0))
        low, high = (start, stop) if by > 0 else (stop, start)
        if low.range == Range(-1, -1):
            self.jump(runs)
        else:
            self.branch(self.emit("lt", low.operand, high.operand), runs, end)
        self.enter(runs)
        distance = self.emit("sub", self.emit("sub", high.operand, low.operand), Immediate(1))
        rounds = self.emit("div", distance, Immediate(abs(by)))
        self.set(slot, self.emit("add", rounds, Immediate(1)))
        self.jump(end)
        self.enter(end)
        return self.get(slot)

    # -- loops over compile-time tuples

    def _unroll(self, node: ast.For, items: list[object]) -> None:
        """Repeat the body for each item, with the targets bound to compile-time values."""
        end = self.new_block("end")
        for index, item in enumerate(items):
            following = end if index == len(items) - 1 else self.new_block("next")
            self._bind_target(node.target, item)
            self._loop_body(_Loop(following, end), node.body)
            self.jump(following)
            self.enter(following)
            if not self.is_open:
                break
        if items and self.block is not end:
            self.enter(end)
        for name in _targets_of(node.target):
            self.bound.pop(name, None)

    def _bind_target(self, target: ast.expr, item: Any) -> None:
        if isinstance(target, ast.Name):
            if target.id in self.variables:
                self.refuse(
                    target,
                    f"`{target.id}` is a variable: an unrolled loop needs a name of its own",
                )
            self.bound[target.id] = item
            self.was_bound.add(target.id)
            return
        if not isinstance(target, ast.Tuple | ast.List):
            self.refuse(target, f"`{self.text(target)}` cannot be the target of an unrolled loop")
        try:
            parts = list(item)
        except TypeError:
            parts = []
        if len(parts) != len(target.elts):
            self.refuse(target, f"{item!r} cannot be unpacked into {len(target.elts)} names")
        for inner, part in zip(target.elts, parts, strict=True):
            self._bind_target(inner, part)

    # -- match

    def _stmt_Match(self, node: ast.Match) -> None:
        subject = self.expression(node.subject)
        rows: list[tuple[frozenset[int] | None, ast.match_case]] = []
        seen: set[int] = set()
        for case in node.cases:
            if case.guard is not None:
                self.refuse(case.guard, "a case takes no guard in the subset: use if inside it")
            rows.append((self._pattern(case.pattern, seen), case))
        if isinstance(subject, Known):
            for found, case in rows:
                if found is None or subject.object in found:
                    self._body(case.body)
                    return
            return
        value = self.integer(node.subject, subject, "compared")
        self._switch(value, rows)

    def _switch(self, value: Int, rows: list[tuple[frozenset[int] | None, ast.match_case]]) -> None:
        end = self.new_block("end")
        default = end
        cases: list[tuple[int, Block]] = []
        blocks = []
        for found, case in rows:
            block = self.new_block("case")
            blocks.append((block, case))
            if found is None:
                default = block
            else:
                cases += [(number, block) for number in sorted(found)]
        self.switch(value.operand, cases, default)
        for block, case in blocks:
            self.enter(block)
            self._body(case.body)
            self.jump(end)
        self.enter(end)

    def _pattern(self, node: ast.pattern, seen: set[int]) -> frozenset[int] | None:
        """Give the numbers that a pattern matches; None for all."""
        if isinstance(node, ast.MatchAs) and node.pattern is None and node.name is None:
            return None
        if isinstance(node, ast.MatchOr):
            parts = [self._pattern(part, seen) for part in node.patterns]
            if any(part is None for part in parts):
                return None
            return frozenset(number for part in parts if part is not None for number in part)
        if isinstance(node, ast.MatchValue):
            value = self.expression(node.value)
            number = value.object if isinstance(value, Known) else None
            if not isinstance(number, int) or not 0 <= number <= WORD_MASK:
                self.refuse(node, f"`{self.text(node)}` is not a compile-time u64")
            if number in seen:
                self.refuse(node, f"`{self.text(node)}` = {int(number):#x} is in an earlier case")
            seen.add(int(number))
            return frozenset((int(number),))
        self.refuse(
            node,
            f"the pattern `{self.text(node)}` is not in the subset: use constants, `|` and `_`",
        )


def _targets_of(node: ast.expr) -> list[str]:
    return [inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)]


_COUNTER = Type(U64)
