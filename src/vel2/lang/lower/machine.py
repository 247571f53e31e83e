"""The intrinsics: system registers and instructions, memory, atomics, barriers and hints."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from vel2.arch import bits
from vel2.lang import intrinsics
from vel2.lang.ir import SystemName
from vel2.lang.lower.access import array_element, field
from vel2.lang.lower.arguments import arguments
from vel2.lang.lower.context import Context
from vel2.lang.lower.convert import convert, integer, is_known, load_place, store_place
from vel2.lang.lower.values import (
    ArrayRef,
    Int,
    Known,
    Nothing,
    Place,
    Range,
    Ref,
    Type,
    Value,
)
from vel2.lang.structs import StructMeta
from vel2.lang.types import BY_SIZE, PA, U64, WORD_BITS

Handler = Callable[[Context, ast.Call, list[ast.expr]], Value]

_PA: Any = PA


def _register(f: Context, node: ast.expr) -> SystemName:
    """Require a system register, known at compile time."""
    value = f.expression(node)
    found = value.object if isinstance(value, Known) else None
    if not (isinstance(found, type) and issubclass(found, bits.Register)):
        f.refuse(node, f"a system register is wanted, `{f.text(node)}` is {value.describe()}")
    return SystemName(found.name, found.encoding[:])


def _mrs(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
    (register,) = arguments(f, node, 1)
    name = _register(f, register)
    f.build.here = f.location(node)
    return Int(f.build.emit("mrs", attributes=(name,)))


def _msr(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
    register, argument = arguments(f, node, 2)
    name = _register(f, register)
    value = convert(f, argument, _plain(f, argument), Type(U64), "written")
    f.build.emit("msr", value, attributes=(name,))
    return Nothing()


def _plain(f: Context, node: ast.expr) -> Value:
    """Lower an operand that may be an address as well as u64."""
    value = f.expression(node)
    return Int(value.operand, value.range) if isinstance(value, Int) else value


def _sysop(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
    arguments(f, node, 1, 2)
    value = f.expression(args[0])
    found = value.object if isinstance(value, Known) else None
    encoding = getattr(found, "encoding", None)
    if not isinstance(encoding, bits.Encoding) or encoding.op0 != 1:
        f.refuse(
            args[0],
            f"a system instruction is wanted, `{f.text(args[0])}` is {value.describe()}",
        )
    name = SystemName(str(getattr(found, "name", found)), encoding[:])
    takes = bool(getattr(found, "takes_register", True))
    if takes != (len(args) == 2):
        operand_text = "an operand" if takes else "no operand"
        f.refuse(node, f"{getattr(found, 'name', found)} takes {operand_text}")
    if takes:
        operand = convert(f, args[1], _plain(f, args[1]), Type(U64), "passed")
        f.build.emit("sysop", operand, attributes=(name,))
    else:
        f.build.emit("sysop0", attributes=(name,))
    return Nothing()


def _at(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
    struct_node, address_node = arguments(f, node, 2)
    value = f.expression(struct_node)
    struct = value.object if isinstance(value, Known) else None
    if not isinstance(struct, StructMeta):
        f.refuse(struct_node, f"a Struct is wanted, `{f.text(struct_node)}` is {value.describe()}")
    address = f.expression(address_node)
    if isinstance(address, Int) and address.address not in (None, PA):
        f.refuse(
            address_node,
            f"PA is wanted, `{f.text(address_node)}` is {address.describe()}: convert it on "
            "purpose with PA(...)",
        )
    found = integer(f, address_node, address, "used as an address")
    return Ref(f.build.emit("at", found.operand, attributes=(struct.size,)), struct)


def _address_of(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
    (argument,) = arguments(f, node, 1)
    value = f.expression(argument)
    if not isinstance(value, Ref | ArrayRef):
        f.refuse(argument, f"a structure is wanted, `{f.text(argument)}` is {value.describe()}")
    return Int(f.build.emit("address", value.operand))


def _address(f: Context, node: ast.expr) -> Any:
    return convert(f, node, f.expression(node), Type(_PA), "used as an address")


def _field_place(f: Context, node: ast.Call, args: list[ast.expr]) -> Place:
    base = f.expression(args[0])
    name = f.expression(args[1])
    if not isinstance(base, Ref) or not isinstance(name, Known) or not isinstance(name.object, str):
        f.refuse(node, f"{f.text(node.func)}() takes a structure and a field's name")
    found = field(f, args[1], base, name.object)
    if isinstance(found, ArrayRef):
        if len(args) < 3:
            f.refuse(args[1], f"{base.struct.__name__}.{name.object} is an array: give an index")
        found = array_element(f, args[2], found, f.expression(args[2]))
    elif len(args) > 2:
        f.refuse(args[2], f"{base.struct.__name__}.{name.object} is not an array: give no index")
    if not isinstance(found, Place):
        f.refuse(
            args[1],
            f"{base.struct.__name__}.{name.object} is {found.describe()}, not a scalar field",
        )
    return found


def _vload(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
    arguments(f, node, 2, 3)
    return load_place(f, _field_place(f, node, args), "volatile")


def _vstore(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
    arguments(f, node, 3, 4)
    place = _field_place(f, node, [*args[:2], *args[3:]])
    store_place(f, args[2], place, f.expression(args[2]), "volatile")
    return Nothing()


def _string(f: Context, node: ast.expr, wanted: type) -> Any:
    value = f.expression(node)
    if not is_known(value, wanted):
        f.refuse(
            node,
            f"a compile-time {wanted.__name__} is wanted, `{f.text(node)}` is {value.describe()}",
        )
    assert isinstance(value, Known)
    return value.object


def _symbol_address(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
    (argument,) = arguments(f, node, 1)
    return Int(f.build.emit("symbol", attributes=(_string(f, argument, str),)))


def _bytes_address(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
    (argument,) = arguments(f, node, 1)
    blob = f.module.blob(_string(f, argument, bytes))
    return Int(f.build.emit("bytes", attributes=(blob,)))


def _unreachable(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
    arguments(f, node, 0)
    f.build.emit("unreachable")
    return Nothing()


def _load(width: int, order: str = "volatile") -> Handler:
    def lower(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
        (address,) = arguments(f, node, 1)
        operand = f.build.emit("read", _address(f, address), attributes=(width, order))
        return Int(operand, Range(0, (1 << width) - 1))

    return lower


def _store(width: int, order: str = "volatile") -> Handler:
    def lower(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
        address_node, value_node = arguments(f, node, 2)
        address = _address(f, address_node)
        scalar = _WIDTHS[width]
        value = convert(f, value_node, _plain(f, value_node), Type(scalar), "stored")
        f.build.emit("write", address, value, attributes=(width, order))
        return Nothing()

    return lower


def _atomic(op: str, operands: int) -> Handler:
    def lower(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
        address_node, *value_nodes = arguments(f, node, operands + 1)
        address = _address(f, address_node)
        found = [convert(f, n, _plain(f, n), Type(U64), "stored") for n in value_nodes]
        return Int(f.build.emit(op, address, *found, attributes=(64,)))

    return lower


def _count(op: str, high: int) -> Handler:
    def lower(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
        (argument,) = arguments(f, node, 1)
        value = f.expression(argument)
        found = integer(f, argument, value, "counted")
        return Int(f.build.emit(op, found.operand), Range(0, high))

    return lower


def _order(op: str, name: str) -> Handler:
    def lower(f: Context, node: ast.Call, args: list[ast.expr]) -> Value:
        arguments(f, node, 0)
        f.build.emit(op, attributes=(name,))
        return Nothing()

    return lower


_WIDTHS = {scalar.bits: scalar for scalar in BY_SIZE.values()}


HANDLERS: dict[object, Handler] = {
    intrinsics.mrs: _mrs,
    intrinsics.msr: _msr,
    intrinsics.sysop: _sysop,
    intrinsics.at: _at,
    intrinsics.address_of: _address_of,
    intrinsics.vload: _vload,
    intrinsics.vstore: _vstore,
    intrinsics.symbol_address: _symbol_address,
    intrinsics.bytes_address: _bytes_address,
    intrinsics.unreachable: _unreachable,
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
