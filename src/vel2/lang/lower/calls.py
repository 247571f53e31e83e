"""Calls: conversions, intrinsics, methods of fields, resident functions, compile-time calls."""

from __future__ import annotations

import ast
import enum
import inspect
from collections.abc import Callable
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any

from vel2.arch import bits
from vel2.lang import intrinsics
from vel2.lang.ir import SystemName
from vel2.lang.lower.expressions import Expressions
from vel2.lang.lower.scope import is_known
from vel2.lang.lower.values import (
    ArrayRef,
    Bool,
    Int,
    Known,
    Nothing,
    Place,
    Range,
    Ref,
    Type,
    Value,
    immediate,
    or_range,
)
from vel2.lang.structs import StructMeta
from vel2.lang.subset import mark_of
from vel2.lang.types import BY_SIZE, PA, U64, WORD_BITS, Scalar

_PURE_BUILTINS: frozenset[object] = frozenset(
    (
        *(abs, all, any, bool, dict, divmod, enumerate, getattr, hasattr, int, isinstance, len),
        *(max, min, range, reversed, set, sorted, str, sum, tuple, zip),
    )
)
_PURE_OWNERS = (bits.Field, bits.Encoding, enum.Enum, int, str, bytes, tuple, frozenset, dict)

Handler = Callable[["Calls", ast.Call, list[ast.expr]], Value]


class Calls(Expressions):
    """Lowering of calls."""

    def call(self, node: ast.Call) -> Value:
        """Lower a call."""
        callee = self.expression(node.func)
        if not isinstance(callee, Known):
            self.refuse(
                node, f"`{self.text(node.func)}` is {callee.describe()}: it cannot be called"
            )
        target: Any = callee.object
        if isinstance(target, Scalar):
            return self._wrap(node, target)
        handler = _HANDLERS.get(target) if isinstance(target, FunctionType) else None
        if handler is not None:
            if node.keywords:
                self.refuse(node, f"{target.__name__}() takes no keyword arguments here")
            return handler(self, node, node.args)
        if isinstance(target, MethodType) and isinstance(target.__self__, bits.Field):
            found = self._field_method(node, target.__self__, target.__name__)
            if found is not None:
                return found
        if _is_pure(target):
            return self._compile_time(node, target)
        if isinstance(target, FunctionType):
            return self._resident(node, target)
        self.refuse(
            node,
            f"`{self.text(node.func)}` cannot be called from resident code: call a resident "
            "function, an intrinsic or a @constexpr function",
        )

    # -- conversions

    def _wrap(self, node: ast.Call, scalar: Scalar) -> Value:
        (argument,) = self._arguments(node, 1)
        value = self.expression(argument)
        if isinstance(value, Known) and isinstance(value.object, int):
            return Known(int(value.object) & scalar.mask)
        address = scalar if scalar.is_address else None
        if isinstance(value, Bool):
            return Int(self.emit("int", value.operand), Range(0, 1), address)
        found = self.any_integer(argument, value)
        if scalar.bits < WORD_BITS and (found.is_wide or found.range.high > scalar.mask):
            operand = self.emit("and", found.operand, immediate(scalar.mask))
            return Int(operand, Range(0, scalar.mask))
        return Int(found.operand, Range(0, U64.mask) if found.is_wide else found.range, address)

    def _arguments(self, node: ast.Call, *counts: int) -> list[ast.expr]:
        if node.keywords or len(node.args) not in counts:
            wanted = " or ".join(map(str, counts))
            plural = "" if counts[-1] == 1 else "s"
            self.refuse(node, f"{self.text(node.func)}() takes {wanted} argument{plural} here")
        return node.args

    # -- compile-time calls

    def _compile_time(self, node: ast.Call, target: Callable[..., object]) -> Value:
        arguments: list[object] = []
        for argument in node.args:
            starred = isinstance(argument, ast.Starred)
            value = self.expression(
                argument.value if isinstance(argument, ast.Starred) else argument
            )
            if target is len and isinstance(value, ArrayRef):
                return Known(value.count)
            if target is bool and not isinstance(value, Known):
                return self._known_or_bool(argument, value)
            known = self._known_argument(node, argument, value)
            if starred:
                arguments.extend(known)
            else:
                arguments.append(known)
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            value = self._known_argument(node, keyword.value, self.expression(keyword.value))
            if keyword.arg is None:
                keywords.update(value)
            else:
                keywords[keyword.arg] = value
        return self._python(node, lambda: target(*arguments, **keywords))

    def _known_or_bool(self, node: ast.expr, value: Value) -> Value:
        truth = self.truth(node, value)
        return Known(truth) if isinstance(truth, bool) else Bool(truth)

    def _known_argument(self, node: ast.Call, argument: ast.expr, value: Value) -> Any:
        if not isinstance(value, Known):
            self.refuse(
                argument,
                f"`{self.text(node.func)}` runs at compile time: `{self.text(argument)}` is not "
                "known then",
            )
        return value.object

    # -- fields of registers and layouts

    def _field_method(self, node: ast.Call, field: bits.Field, name: str) -> Value | None:
        """Lower get, put and set with a run-time argument; None leaves the call to Python."""
        if name not in ("get", "put", "set"):
            return None
        arguments = self._arguments(node, 2 if name == "set" else 1)
        found = [self.expression(argument) for argument in arguments]
        if all(isinstance(value, Known) for value in found):
            method = getattr(field, name)
            known = [value.object for value in found if isinstance(value, Known)]
            return self._python(node, lambda: method(*known))
        first = self.integer(arguments[0], found[0], "taken apart")
        if name == "get":
            return self._extract(first, field)
        if name == "put":
            return self._insert(first, field)
        second = self._insert(self.integer(arguments[1], found[1], "put in a field"), field)
        rest = self.emit("and", first.operand, immediate(~field.mask))
        merged = self.emit("or", rest, second.operand)
        rest_range = Range(0, min(first.range.high, ~field.mask & U64.mask))
        return Int(merged, or_range(rest_range, second.range))

    def _extract(self, value: Int, field: bits.Field) -> Int:
        operand = value.operand
        if field.lsb:
            operand = self.emit("shr", operand, immediate(field.lsb))
        high = value.range.high >> field.lsb
        if high > field.ones:
            operand = self.emit("and", operand, immediate(field.ones))
        return Int(operand, Range(0, min(high, field.ones)))

    def _insert(self, value: Int, field: bits.Field) -> Int:
        operand, high = value.operand, min(value.range.high, field.ones)
        if value.range.high > field.ones:
            operand = self.emit("and", operand, immediate(field.ones))
        if field.lsb:
            operand = self.emit("shl", operand, immediate(field.lsb))
        return Int(operand, Range(0, high << field.lsb))

    # -- resident functions

    def _resident(self, node: ast.Call, target: FunctionType) -> Value:
        signature = self.module.signature(target)
        try:
            bound = inspect.signature(target).bind(
                *node.args, **{keyword.arg or "**": keyword.value for keyword in node.keywords}
            )
        except TypeError as error:
            self.refuse(node, f"{target.__name__}() cannot take these arguments: {error}")
        operands = []
        for name, type_ in signature.parameters:
            if name in bound.arguments:
                argument = bound.arguments[name]
                value = self.expression(argument)
            else:
                argument = node
                value = Known(inspect.signature(target).parameters[name].default)
            operands.append(self.convert(argument, value, type_, "passed"))
        self.here = self.location(node)
        result = signature.result
        kind = None if result is None else result.kind
        call = self.emit("call", *operands, kind=kind, attributes=(signature.function,))
        if signature.never_returns:
            self.emit("unreachable")
        return Nothing() if result is None else result.value(call)

    # -- intrinsics

    def register(self, node: ast.expr) -> SystemName:
        """Require a system register, known at compile time."""
        value = self.expression(node)
        found = value.object if isinstance(value, Known) else None
        if not (isinstance(found, type) and issubclass(found, bits.Register)):
            self.refuse(
                node, f"a system register is wanted, `{self.text(node)}` is {value.describe()}"
            )
        return SystemName(found.name, found.encoding[:])

    def _mrs(self, node: ast.Call, args: list[ast.expr]) -> Value:
        (register,) = self._arguments(node, 1)
        name = self.register(register)
        self.here = self.location(node)
        return Int(self.emit("mrs", attributes=(name,)))

    def _msr(self, node: ast.Call, args: list[ast.expr]) -> Value:
        register, argument = self._arguments(node, 2)
        name = self.register(register)
        value = self.convert(argument, self._plain(argument), Type(U64), "written")
        self.emit("msr", value, attributes=(name,))
        return Nothing()

    def _plain(self, node: ast.expr) -> Value:
        """Lower an operand that may be an address as well as u64."""
        value = self.expression(node)
        return Int(value.operand, value.range) if isinstance(value, Int) else value

    def _sysop(self, node: ast.Call, args: list[ast.expr]) -> Value:
        self._arguments(node, 1, 2)
        value = self.expression(args[0])
        found = value.object if isinstance(value, Known) else None
        encoding = getattr(found, "encoding", None)
        if not isinstance(encoding, bits.Encoding) or encoding.op0 != 1:
            self.refuse(
                args[0],
                f"a system instruction is wanted, `{self.text(args[0])}` is {value.describe()}",
            )
        name = SystemName(str(getattr(found, "name", found)), encoding[:])
        takes = bool(getattr(found, "takes_register", True))
        if takes != (len(args) == 2):
            operand_text = "an operand" if takes else "no operand"
            self.refuse(node, f"{getattr(found, 'name', found)} takes {operand_text}")
        if takes:
            operand = self.convert(args[1], self._plain(args[1]), Type(U64), "passed")
            self.emit("sysop", operand, attributes=(name,))
        else:
            self.emit("sysop0", attributes=(name,))
        return Nothing()

    def _at(self, node: ast.Call, args: list[ast.expr]) -> Value:
        struct_node, address_node = self._arguments(node, 2)
        value = self.expression(struct_node)
        struct = value.object if isinstance(value, Known) else None
        if not isinstance(struct, StructMeta):
            self.refuse(
                struct_node, f"a Struct is wanted, `{self.text(struct_node)}` is {value.describe()}"
            )
        address = self.expression(address_node)
        if isinstance(address, Int) and address.address not in (None, PA):
            self.refuse(
                address_node,
                f"PA is wanted, `{self.text(address_node)}` is {address.describe()}: convert it on "
                "purpose with PA(...)",
            )
        found = self.integer(address_node, address, "used as an address")
        return Ref(self.emit("at", found.operand, attributes=(struct.size,)), struct)

    def _address_of(self, node: ast.Call, args: list[ast.expr]) -> Value:
        (argument,) = self._arguments(node, 1)
        value = self.expression(argument)
        if not isinstance(value, Ref | ArrayRef):
            self.refuse(
                argument, f"a structure is wanted, `{self.text(argument)}` is {value.describe()}"
            )
        return Int(self.emit("address", value.operand))

    def _address(self, node: ast.expr) -> Any:
        return self.convert(node, self.expression(node), Type(_PA), "used as an address")

    def _field_place(self, node: ast.Call, args: list[ast.expr]) -> Place:
        base = self.expression(args[0])
        name = self.expression(args[1])
        if (
            not isinstance(base, Ref)
            or not isinstance(name, Known)
            or not isinstance(name.object, str)
        ):
            self.refuse(node, f"{self.text(node.func)}() takes a structure and a field's name")
        found = self.field(args[1], base, name.object)
        if isinstance(found, ArrayRef):
            if len(args) < 3:
                self.refuse(
                    args[1], f"{base.struct.__name__}.{name.object} is an array: give an index"
                )
            found = self.array_element(args[2], found, self.expression(args[2]))
        elif len(args) > 2:
            self.refuse(
                args[2], f"{base.struct.__name__}.{name.object} is not an array: give no index"
            )
        if not isinstance(found, Place):
            self.refuse(
                args[1],
                f"{base.struct.__name__}.{name.object} is {found.describe()}, not a scalar field",
            )
        return found

    def _vload(self, node: ast.Call, args: list[ast.expr]) -> Value:
        self._arguments(node, 2, 3)
        return self.load_place(self._field_place(node, args), "volatile")

    def _vstore(self, node: ast.Call, args: list[ast.expr]) -> Value:
        self._arguments(node, 3, 4)
        place = self._field_place(node, [*args[:2], *args[3:]])
        self.store_place(args[2], place, self.expression(args[2]), "volatile")
        return Nothing()

    def _string(self, node: ast.expr, wanted: type) -> Any:
        value = self.expression(node)
        if not is_known(value, wanted):
            self.refuse(
                node,
                f"a compile-time {wanted.__name__} is wanted, `{self.text(node)}` is "
                f"{value.describe()}",
            )
        assert isinstance(value, Known)
        return value.object

    def _symbol_address(self, node: ast.Call, args: list[ast.expr]) -> Value:
        (argument,) = self._arguments(node, 1)
        return Int(self.emit("symbol", attributes=(self._string(argument, str),)))

    def _bytes_address(self, node: ast.Call, args: list[ast.expr]) -> Value:
        (argument,) = self._arguments(node, 1)
        blob = self.module.blob(self._string(argument, bytes))
        return Int(self.emit("bytes", attributes=(blob,)))

    def _unreachable(self, node: ast.Call, args: list[ast.expr]) -> Value:
        self._arguments(node, 0)
        self.emit("unreachable")
        return Nothing()


_PA: Any = PA


def _is_pure(target: object) -> bool:
    """Tell whether a callable is one that the compiler may run itself."""
    if isinstance(target, FunctionType):
        return mark_of(target)[0] == "constexpr"
    if isinstance(target, MethodType):
        owner = target.__self__
        if mark_of(target.__func__)[0] == "constexpr":
            return True
        if isinstance(owner, type):
            return issubclass(owner, bits.Layout | enum.Enum) or isinstance(owner, StructMeta)
        parameters = getattr(owner, "__dataclass_params__", None)
        is_frozen = parameters is not None and parameters.frozen
        return isinstance(owner, _PURE_OWNERS) or hasattr(owner, "encoding") or is_frozen
    if isinstance(target, BuiltinMethodType) and isinstance(target.__self__, _PURE_OWNERS):
        return True
    if isinstance(target, type) and issubclass(target, enum.Enum):
        return True
    try:
        return target in _PURE_BUILTINS
    except TypeError:
        return False


def _load(width: int, order: str = "volatile") -> Handler:
    def lower(self: Calls, node: ast.Call, args: list[ast.expr]) -> Value:
        (address,) = self._arguments(node, 1)
        operand = self.emit("read", self._address(address), attributes=(width, order))
        return Int(operand, Range(0, (1 << width) - 1))

    return lower


def _store(width: int, order: str = "volatile") -> Handler:
    def lower(self: Calls, node: ast.Call, args: list[ast.expr]) -> Value:
        address_node, value_node = self._arguments(node, 2)
        address = self._address(address_node)
        scalar = _WIDTHS[width]
        value = self.convert(value_node, self._plain(value_node), Type(scalar), "stored")
        self.emit("write", address, value, attributes=(width, order))
        return Nothing()

    return lower


def _atomic(op: str, operands: int) -> Handler:
    def lower(self: Calls, node: ast.Call, args: list[ast.expr]) -> Value:
        address_node, *value_nodes = self._arguments(node, operands + 1)
        address = self._address(address_node)
        found = [self.convert(n, self._plain(n), Type(U64), "stored") for n in value_nodes]
        return Int(self.emit(op, address, *found, attributes=(64,)))

    return lower


def _count(op: str, high: int) -> Handler:
    def lower(self: Calls, node: ast.Call, args: list[ast.expr]) -> Value:
        (argument,) = self._arguments(node, 1)
        value = self.expression(argument)
        found = self.integer(argument, value, "counted")
        return Int(self.emit(op, found.operand), Range(0, high))

    return lower


def _order(op: str, name: str) -> Handler:
    def lower(self: Calls, node: ast.Call, args: list[ast.expr]) -> Value:
        self._arguments(node, 0)
        self.emit(op, attributes=(name,))
        return Nothing()

    return lower


_WIDTHS = {scalar.bits: scalar for scalar in BY_SIZE.values()}

_HANDLERS: dict[object, Handler] = {
    intrinsics.mrs: Calls._mrs,
    intrinsics.msr: Calls._msr,
    intrinsics.sysop: Calls._sysop,
    intrinsics.at: Calls._at,
    intrinsics.address_of: Calls._address_of,
    intrinsics.vload: Calls._vload,
    intrinsics.vstore: Calls._vstore,
    intrinsics.symbol_address: Calls._symbol_address,
    intrinsics.bytes_address: Calls._bytes_address,
    intrinsics.unreachable: Calls._unreachable,
    intrinsics.load_u8: _load(8),
    intrinsics.load_u16: _load(16),
    intrinsics.load_u32: _load(32),
    intrinsics.load_u64: _load(64),
    intrinsics.store_u8: _store(8),
    intrinsics.store_u16: _store(16),
    intrinsics.store_u32: _store(32),
    intrinsics.store_u64: _store(64),
    intrinsics.load_acquire_u32: _load(32, "acquire"),
    intrinsics.load_acquire_u64: _load(64, "acquire"),
    intrinsics.store_release_u32: _store(32, "release"),
    intrinsics.store_release_u64: _store(64, "release"),
    intrinsics.swap_u64: _atomic("swap", 1),
    intrinsics.fetch_add_u64: _atomic("fetch_add", 1),
    intrinsics.compare_exchange_u64: _atomic("compare_exchange", 2),
    intrinsics.clz: _count("clz", WORD_BITS),
    intrinsics.ctz: _count("ctz", WORD_BITS),
    intrinsics.rbit: _count("rbit", U64.mask),
    intrinsics.isb: _order("barrier", "isb"),
    intrinsics.dsb_sy: _order("barrier", "dsb sy"),
    intrinsics.dsb_ish: _order("barrier", "dsb ish"),
    intrinsics.dsb_ishst: _order("barrier", "dsb ishst"),
    intrinsics.dsb_nsh: _order("barrier", "dsb nsh"),
    intrinsics.dmb_sy: _order("barrier", "dmb sy"),
    intrinsics.dmb_ish: _order("barrier", "dmb ish"),
    intrinsics.dmb_ishst: _order("barrier", "dmb ishst"),
    intrinsics.wfi: _order("hint", "wfi"),
    intrinsics.wfe: _order("hint", "wfe"),
    intrinsics.sev: _order("hint", "sev"),
    intrinsics.nop: _order("hint", "nop"),
    intrinsics.yield_: _order("hint", "yield"),
}
