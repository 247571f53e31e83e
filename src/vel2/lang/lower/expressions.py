"""Expressions: one method per node type, each giving a `Value`.

Whatever Python can compute from constants is computed here and now, by Python itself; so a `Known`
operand never reaches the IR unless a run-time operation needs it.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from vel2.lang.ir import Block, Immediate, Kind, Operand
from vel2.lang.lower import values
from vel2.lang.lower.scope import Scope, is_known
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
    type_of,
)
from vel2.lang.structs import Field, StructMeta
from vel2.lang.types import WORD_BITS, WORD_MASK

RangeRule = Callable[[Range, Range], Range]

_ARITHMETIC: dict[type[ast.operator], tuple[str, RangeRule, Callable[[Any, Any], Any]]] = {
    ast.Add: ("add", values.add_range, operator.add),
    ast.Sub: ("sub", values.sub_range, operator.sub),
    ast.Mult: ("mul", values.mul_range, operator.mul),
    ast.FloorDiv: ("div", values.div_range, operator.floordiv),
    ast.Mod: ("mod", values.mod_range, operator.mod),
    ast.BitAnd: ("and", values.and_range, operator.and_),
    ast.BitOr: ("or", values.or_range, operator.or_),
    ast.BitXor: ("xor", values.xor_range, operator.xor),
    ast.LShift: ("shl", values.shl_range, operator.lshift),
    ast.RShift: ("shr", values.shr_range, operator.rshift),
}
_LOGIC = {ast.BitAnd: "band", ast.BitOr: "bor", ast.BitXor: "bxor"}
_COMPARE: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], bool]]] = {
    ast.Eq: ("eq", operator.eq),
    ast.NotEq: ("ne", operator.ne),
    ast.Lt: ("lt", operator.lt),
    ast.LtE: ("le", operator.le),
    ast.Gt: ("gt", operator.gt),
    ast.GtE: ("ge", operator.ge),
}
_CONSTANT_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, group: item in group,
    ast.NotIn: lambda item, group: item not in group,
}
_OPERATOR_HINTS = {
    ast.Div: "write // for the whole part",
    ast.Pow: "write the products out",
    ast.MatMult: "write the products out",
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Invert: operator.invert,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
MAX_CONSTANT_SHIFT = 1 << 16


class Expressions(Scope):
    """Lowering of expressions."""

    def call(self, node: ast.Call) -> Value:
        """Lower a call; see `calls.py`."""
        raise NotImplementedError

    def expression(self, node: ast.expr) -> Value:
        """Lower any expression."""
        method = getattr(self, f"_expr_{type(node).__name__}", None)
        if method is None:
            self.refuse(node, f"`{self.text(node)}` is not in the subset ({type(node).__name__})")
        value: Value = method(node)
        return value

    def _expr_Constant(self, node: ast.Constant) -> Value:
        return Known(node.value)

    def _expr_Name(self, node: ast.Name) -> Value:
        return self.lookup(node)

    def _expr_Call(self, node: ast.Call) -> Value:
        return self.call(node)

    def _expr_Tuple(self, node: ast.Tuple) -> Value:
        items = [self.expression(item) for item in node.elts]
        for item, value in zip(node.elts, items, strict=True):
            if not isinstance(value, Known):
                self.refuse(
                    item, f"a tuple holds compile-time values only, not `{self.text(item)}`"
                )
        return Known(tuple(item.object for item in items if isinstance(item, Known)))

    def _expr_JoinedStr(self, node: ast.JoinedStr) -> Value:
        parts: list[str] = []
        for part in node.values:
            inner = part.value if isinstance(part, ast.FormattedValue) else part
            value = self.expression(inner)
            if not isinstance(value, Known):
                self.refuse(node, "an f-string holds compile-time values only")
            parts.append(str(value.object))
        return Known("".join(parts))

    # -- attributes and subscripts

    def _expr_Attribute(self, node: ast.Attribute) -> Value:
        base = self.expression(node.value)
        if isinstance(base, Known):
            return self._python(node, lambda: getattr(base.object, node.attr))
        found = self.member(node, base)
        return self.load_place(found) if isinstance(found, Place) else found

    def _expr_Subscript(self, node: ast.Subscript) -> Value:
        base = self.expression(node.value)
        if isinstance(base, Known):
            return self._constant_subscript(node, base)
        found = self.element(node, base)
        return self.load_place(found) if isinstance(found, Place) else found

    def place(self, node: ast.expr) -> Place:
        """Lower a target of assignment."""
        if not isinstance(node, ast.Attribute | ast.Subscript):
            self.refuse(node, f"`{self.text(node)}` cannot be assigned in the subset")
        base = self.expression(node.value)
        if isinstance(base, Known):
            self.refuse(
                node, f"`{self.text(node.value)}` is a compile-time value: it cannot be changed"
            )
        if isinstance(node, ast.Attribute):
            found = self.member(node, base)
        else:
            found = self.element(node, base)
        if not isinstance(found, Place):
            self.refuse(
                node, f"`{self.text(node)}` is {found.describe()}: assign its fields or elements"
            )
        return found

    def member(self, node: ast.Attribute, base: Value) -> Place | Value:
        """Find a field of a structure."""
        if not isinstance(base, Ref):
            self.refuse(
                node, f"`{self.text(node.value)}` is {base.describe()}: it has no field {node.attr}"
            )
        return self.field(node, base, node.attr)

    def field(self, node: ast.AST, base: Ref, name: str) -> Place | Value:
        """Find a field of a structure by name."""
        field = base.struct.fields.get(name)
        if field is None:
            self.refuse(
                node,
                f"{base.struct.__name__} has no field {name}: it has "
                f"{', '.join(base.struct.fields)}",
            )
        operand = base.operand
        if field.offset:
            operand = self.emit("member", operand, attributes=(field.offset,))
        return self._inside(operand, field, f"{base.struct.__name__}.{name}")

    def _inside(self, operand: Operand, field: Field, what: str) -> Place | Value:
        if field.count is not None:
            return ArrayRef(operand, field.element, field.stride, field.count)
        if isinstance(field.element, StructMeta):
            return Ref(operand, field.element)
        return Place(operand, field.element, what)

    def element(self, node: ast.Subscript, base: Value) -> Place | Value:
        """Find an element of an array field."""
        if not isinstance(base, ArrayRef):
            self.refuse(node, f"`{self.text(node.value)}` is {base.describe()}: it has no elements")
        return self.array_element(node.slice, base, self.expression(node.slice))

    def array_element(self, node: ast.expr, base: ArrayRef, index: Value) -> Place | Value:
        """Find an element by an index already lowered."""
        found = self.integer(node, index, "used as an index")
        operand = base.operand
        if isinstance(found.operand, Immediate):
            number = found.operand.value
            if number >= base.count:
                self.refuse(
                    node,
                    f"index {number} is outside an array of {base.count}: give 0 to "
                    f"{base.count - 1}",
                )
            if number:
                operand = self.emit("member", operand, attributes=(number * base.stride,))
        else:
            count = 0 if found.range.high < base.count else base.count
            operand = self.emit("element", operand, found.operand, attributes=(base.stride, count))
        if isinstance(base.element, StructMeta):
            return Ref(operand, base.element)
        return Place(operand, base.element, "element")

    def _constant_subscript(self, node: ast.Subscript, base: Known) -> Value:
        index = self.expression(node.slice)
        if isinstance(index, Known):
            return self._python(node, lambda: base.object[index.object])
        table = base.object
        if not isinstance(table, tuple) or not all(isinstance(item, int) for item in table):
            self.refuse(
                node,
                f"`{self.text(node.value)}` is not a tuple of integers: only that can be indexed "
                "at run time",
            )
        if any(not 0 <= item <= WORD_MASK for item in table):
            self.refuse(node, f"`{self.text(node.value)}` has a value that does not fit u64")
        found = self.integer(node.slice, index, "used as an index")
        numbers = tuple(int(item) for item in table)
        operand = self.emit("lookup", found.operand, attributes=(self.module.table(numbers),))
        return Int(operand, Range(min(numbers), max(numbers)))

    def _python(self, node: ast.expr, action: Callable[[], object]) -> Known:
        """Compute with compile-time values in Python; what Python raises becomes a refusal."""
        try:
            return Known(action())
        except Exception as error:
            self.refuse(
                node, f"`{self.text(node)}` fails at compile time: {type(error).__name__}: {error}"
            )

    # -- operators

    def _expr_BinOp(self, node: ast.BinOp) -> Value:
        left = self.expression(node.left)
        return self.binary(node, node.op, left, node.left, node.right)

    def binary(
        self,
        node: ast.expr,
        op: ast.operator,
        left: Value,
        left_node: ast.expr,
        right_node: ast.expr,
    ) -> Value:
        """Lower a binary operation whose left operand is already lowered."""
        right = self.expression(right_node)
        if type(op) not in _ARITHMETIC:
            hint = _OPERATOR_HINTS[type(op)]
            self.refuse(node, f"`{self.text(node)}` is not in the subset: {hint}")
        name, rule, python = _ARITHMETIC[type(op)]
        if isinstance(left, Known) and isinstance(right, Known):
            amount = right.object
            if name == "shl" and isinstance(amount, int) and amount > MAX_CONSTANT_SHIFT:
                self.refuse(node, f"a shift by {right.object} gives a number of absurd size")
            return self._python(node, lambda: python(left.object, right.object))
        if _is_bool(left) and _is_bool(right) and type(op) in _LOGIC:
            operands = self.boolean(left_node, left), self.boolean(right_node, right)
            return Bool(self.emit(_LOGIC[type(op)], *operands))
        a = self.any_integer(left_node, left)
        b = self.any_integer(right_node, right)
        if name in ("shr", "div", "mod"):
            a = self.integer(left_node, a, "shifted right" if name == "shr" else "divided")
        if name in ("shl", "shr"):
            b = self.integer(right_node, b, "used as a shift amount")
            if isinstance(b.operand, Immediate) and b.operand.value >= WORD_BITS:
                self.refuse(
                    right_node, f"a shift by {b.operand.value} leaves nothing: give 0 to 63"
                )
        if name in ("div", "mod"):
            b = self.integer(right_node, b, "used as a divisor")
            if b.range.high == 0:
                self.refuse(right_node, "a division by 0 has no result: give another divisor")
        return Int(self.emit(name, a.operand, b.operand), rule(a.range, b.range))

    def _expr_UnaryOp(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            truth = self.truth(node.operand, self.expression(node.operand))
            if isinstance(truth, bool):
                return Known(not truth)
            return Bool(self.emit("not", truth))
        value = self.expression(node.operand)
        if isinstance(value, Known):
            return self._python(node, lambda: _UNARY[type(node.op)](value.object))
        found = self.any_integer(node.operand, value)
        if isinstance(node.op, ast.Invert):
            inverted = self.emit("xor", found.operand, Immediate(WORD_MASK))
            return Int(inverted, Range(-found.range.high - 1, -found.range.low - 1))
        if isinstance(node.op, ast.USub):
            negated = self.emit("sub", Immediate(0), found.operand)
            return Int(negated, Range(-found.range.high, -found.range.low))
        return Int(found.operand, found.range)

    # -- truth

    def truth(self, node: ast.expr, value: Value) -> Operand | bool:
        """Give the truth of a value: a bool when known at compile time."""
        if isinstance(value, Known):
            if isinstance(value.object, int):
                return bool(value.object)
            return bool(self._python(node, lambda: bool(value.object)).object)
        if isinstance(value, Bool):
            return value.operand
        if isinstance(value, Int):
            found = self.integer(node, value, "tested")
            return self.emit("ne", found.operand, Immediate(0))
        self.refuse(
            node, f"`{self.text(node)}` is {value.describe()}: it is neither true nor false"
        )

    def condition(self, node: ast.expr, yes: Block, no: Block) -> bool | None:
        """Go to `yes` or `no` by a condition; when it is known, go nowhere and give it."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            known = self.condition(node.operand, no, yes)
            return None if known is None else not known
        if isinstance(node, ast.BoolOp):
            return self._short_circuit(node, yes, no)
        value = self.truth(node, self.expression(node))
        if isinstance(value, bool):
            return value
        self.branch(value, yes, no)
        return None

    def _short_circuit(self, node: ast.BoolOp, yes: Block, no: Block) -> bool | None:
        is_and = isinstance(node.op, ast.And)
        has_branched = False
        last = len(node.values) - 1
        for index, operand in enumerate(node.values):
            following = self.new_block("and" if is_and else "or")
            targets = (following, no) if is_and else (yes, following)
            known = self.condition(operand, *((yes, no) if index == last else targets))
            if known is None:
                has_branched = True
                if index < last:
                    self.enter(following)
            elif known is not is_and:
                if not has_branched:
                    return known
                self.jump(no if is_and else yes)
                return None
            elif index == last:
                if not has_branched:
                    return known
                self.jump(yes if is_and else no)
        return None

    def _expr_BoolOp(self, node: ast.BoolOp) -> Value:
        """Lower `and`/`or` as a value.

        In Python `a or b` gives an operand, not a truth value; for bools it is the same, so at run
        time only bools are accepted. Leading compile-time operands are folded as Python folds them.
        """
        is_and = isinstance(node.op, ast.And)
        operands = list(node.values)
        value = self.expression(operand := operands.pop(0))
        while isinstance(value, Known) and operands:
            if bool(value.object) is not is_and:
                return value
            value = self.expression(operand := operands.pop(0))
        if not operands:
            return value
        slot, end = self.temporary(Type(bool)), self.new_block("end")
        while True:
            if not _is_bool(value):
                self.refuse(
                    operand,
                    f"`{self.text(operand)}` is {value.describe()}: `and`/`or` as a value takes "
                    "bools only",
                )
            truth = self.boolean(operand, value)
            self.set(slot, truth)
            if not operands:
                break
            following = self.new_block("and" if is_and else "or")
            self.branch(truth, *((following, end) if is_and else (end, following)))
            self.enter(following)
            value = self.expression(operand := operands.pop(0))
        self.jump(end)
        self.enter(end)
        return Bool(self.get(slot))

    # -- comparison

    def _expr_Compare(self, node: ast.Compare) -> Value:
        left = self.expression(node.left)
        if len(node.ops) == 1:
            right = self.expression(node.comparators[0])
            return self._compare(node, node.ops[0], left, right, node.left, node.comparators[0])
        slot, end = self.temporary(Type(bool)), self.new_block("end")
        left_node = node.left
        truth: Operand = Immediate(1, Kind.BOOL)
        for index, (op, right_node) in enumerate(zip(node.ops, node.comparators, strict=True)):
            if index:
                following = self.new_block("and")
                self.branch(truth, following, end)
                self.enter(following)
            right = self.expression(right_node)
            found = self._compare(node, op, left, right, left_node, right_node)
            truth = self.boolean(node, found)
            self.set(slot, truth)
            left, left_node = right, right_node
        self.jump(end)
        self.enter(end)
        return Bool(self.get(slot))

    def _compare(
        self,
        node: ast.Compare,
        op: ast.cmpop,
        left: Value,
        right: Value,
        left_node: ast.expr,
        right_node: ast.expr,
    ) -> Value:
        if isinstance(left, Known) and isinstance(right, Known):
            python = _CONSTANT_COMPARE.get(type(op)) or _COMPARE[type(op)][1]
            return self._python(node, lambda: python(left.object, right.object))
        if isinstance(op, ast.In | ast.NotIn):
            return self._membership(
                node, isinstance(op, ast.In), left, right, left_node, right_node
            )
        if type(op) not in _COMPARE:
            self.refuse(node, f"`{self.text(node)}` is for compile-time values only: use == or !=")
        name, _ = _COMPARE[type(op)]
        if _is_bool(left) and _is_bool(right) and name in ("eq", "ne"):
            operands = self.boolean(left_node, left), self.boolean(right_node, right)
            equal = self.emit("beq", *operands)
            return Bool(equal if name == "eq" else self.emit("not", equal))
        a = self._comparable(left_node, left)
        b = self._comparable(right_node, right)
        has_constant = isinstance(left, Known) or isinstance(right, Known)
        if a.address is not b.address and not has_constant:
            self.refuse(
                node,
                f"{a.describe()} and {b.describe()} cannot be compared: convert one of them on "
                "purpose",
            )
        return Bool(self.emit(name, a.operand, b.operand))

    def _comparable(self, node: ast.expr, value: Value) -> Int:
        return self.integer(node, value, "compared")

    def _membership(
        self,
        node: ast.Compare,
        is_in: bool,
        left: Value,
        right: Value,
        left_node: ast.expr,
        right_node: ast.expr,
    ) -> Value:
        if not is_known(right, (tuple, frozenset, set, list, range, Mapping)):
            self.refuse(
                right_node, f"`{self.text(right_node)}` is not a compile-time tuple of integers"
            )
        assert isinstance(right, Known)
        found = self.integer(left_node, left, "compared")
        result: Operand = Immediate(0, Kind.BOOL)
        for index, item in enumerate(right.object):
            if not isinstance(item, int) or not 0 <= item <= WORD_MASK:
                self.refuse(right_node, f"`{self.text(right_node)}` holds {item!r}, not a u64")
            equal = self.emit("eq", found.operand, Immediate(int(item)))
            result = equal if index == 0 else self.emit("bor", result, equal)
        if isinstance(result, Immediate):
            return Known(not is_in)
        return Bool(result if is_in else self.emit("not", result))

    # -- conditional expression

    def _expr_IfExp(self, node: ast.IfExp) -> Value:
        yes, no = self.new_block("then"), self.new_block("else")
        known = self.condition(node.test, yes, no)
        if known is not None:
            return self.expression(node.body if known else node.orelse)
        self.enter(yes)
        first = self.expression(node.body)
        first_end = self.block
        self.enter(no)
        second = self.expression(node.orelse)
        type_ = self._joined_type(node, first, second)
        slot = self.temporary(type_)
        end = self.new_block("end")
        found = self._store_arm(node.orelse, second, slot, type_, end)
        self.block = first_end
        other = self._store_arm(node.body, first, slot, type_, end)
        self.enter(end)
        merged = found.union(other) if found and other else None
        return type_.value(self.get(slot), merged)

    def _store_arm(
        self, node: ast.expr, value: Value, slot: Any, type_: Type, end: Block
    ) -> Range | None:
        """Put one arm's value in the slot; integers keep their range, wide ones too."""
        if type_.kind is Kind.INT:
            integer = self.any_integer(node, value)
            self.set(slot, integer.operand)
            self.jump(end)
            return integer.range
        self.set(slot, self.convert(node, value, type_, "used"))
        self.jump(end)
        return None

    def _joined_type(self, node: ast.IfExp, first: Value, second: Value) -> Type:
        a, b = type_of(first), type_of(second)
        if isinstance(first, Known) and isinstance(second, Int):
            a = b if a is not None and a.kind is Kind.INT else a
        if isinstance(second, Known) and isinstance(first, Int):
            b = a if b is not None and b.kind is Kind.INT else b
        if a is None or b is None or (a != b):
            self.refuse(
                node,
                f"`{self.text(node)}` is {first.describe()} or {second.describe()}: both arms must "
                "have one type",
            )
        return a


def _is_bool(value: Value) -> bool:
    return isinstance(value, Bool) or is_known(value, bool)
