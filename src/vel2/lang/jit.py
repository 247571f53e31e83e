"""Resident functions as native code of the host, on the simulated machine."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any, cast

from vel2.lang import ir
from vel2.lang.llvm_simulated import SIMULATION, SimulatedWriter
from vel2.lang.lower.module import ModuleLowering
from vel2.lang.lower.source import Source
from vel2.lang.lower.values import Type
from vel2.lang.sim import Simulation, SimulationError, current
from vel2.lang.structs import Struct, StructMeta
from vel2.lang.target import parse_and_optimize
from vel2.lang.types import Scalar
from vel2.lang.verify import verify_module


def _host_machine(optimization: int) -> Any:
    """Make a target machine; the engine it is given to owns it, so it cannot be shared."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(opt=optimization, jit=True)


class Jit:
    """Compiles `roots` and all they call for the host.

        jit = Jit(classify)
        with Simulation() as machine:
            jit.call(classify, vcpu, 0x5600_0000)

    Arguments and results are what CPython would pass; a Struct is shared, not copied. `@extern`
    functions run their Python bodies. A function that touches the machine needs a `Simulation`
    entered around the call.
    """

    def __init__(self, *roots: Callable[..., Any], optimization: int = 2) -> None:
        import llvmlite.binding as llvm

        lowering = ModuleLowering()
        module = lowering.run(roots, keep_names=False)
        verify_module(module)
        machine = _host_machine(optimization)
        text = SimulatedWriter(module).write(machine.triple, str(machine.target_data))
        self._callbacks = {
            symbol: self._callback(python) for symbol, python in lowering.externals.items()
        }
        for symbol, callback in self._callbacks.items():
            llvm.add_symbol(symbol, ctypes.cast(callback, ctypes.c_void_p).value)
        self._engine = llvm.create_mcjit_compiler(
            parse_and_optimize(text, machine, optimization), machine
        )
        self._engine.finalize_object()
        self._functions = {
            root: self._bind(root, lowering.signatures[cast(FunctionType, root)].function)
            for root in roots
        }
        self._blobs = {f"address.{blob.name}": blob.data for blob in module.blobs}
        self._symbols = {
            str(instruction.attributes[0])
            for function in module.functions.values()
            for instruction in function.instructions()
            if instruction.op == "symbol"
        }
        self._simulation: Simulation | None = None
        self._error: BaseException | None = None

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a root as CPython would.

        :raises SimulationError: the code left simulated memory or an array.
        """
        bound = self._functions.get(function)
        if bound is None:
            raise ValueError(f"{function.__name__} is not a root of this Jit: name it in Jit(...)")
        native, source, touches_machine = bound
        has_machine = Simulation._stack or touches_machine
        simulation = current() if has_machine else _no_machine()
        if simulation is not self._simulation:
            self._enter(simulation)
        if len(arguments) != len(source.parameters):
            raise TypeError(
                f"{source.name}() takes {len(source.parameters)} arguments, not {len(arguments)}"
            )
        operands = [
            _lower(argument, type_, name)
            for argument, (name, type_) in zip(arguments, source.parameters, strict=True)
        ]
        result = native(*operands)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        simulation.check_faults()
        return self._raise(result, source.result, arguments, simulation)

    def _bind(self, root: Callable[..., Any], function: ir.Function) -> tuple[Any, Source, bool]:
        source = Source(cast(FunctionType, root))
        address = self._engine.get_function_address(function.name)
        return _prototype(source)(address), source, _touches_machine(function)

    def _enter(self, simulation: Simulation) -> None:
        """Point the code at a simulation, and tell it the addresses it may ask for."""
        self._simulation = simulation
        self._write(SIMULATION, simulation.block_address)
        for name in self._symbols:
            self._write(f"symbol.{name}", simulation.symbols.get(name, 0))
        for name, data in self._blobs.items():
            self._write(name, simulation.place_bytes(data))

    def _write(self, name: str, value: int) -> None:
        address = self._engine.get_global_value_address(name)
        ctypes.c_uint64.from_address(address).value = value

    def _raise(
        self, result: Any, type_: Type | None, arguments: tuple[Any, ...], simulation: Simulation
    ) -> Any:
        """Turn a native result into what CPython would give."""
        if type_ is None or not isinstance(type_.of, StructMeta):
            return result
        struct = cast("type[Struct]", type_.of)
        owners = [(simulation.views, simulation.host_address, simulation.memory_size)]
        for argument in arguments:
            if isinstance(argument, Struct):
                start = argument.host_address - argument._offset
                owners.append((argument._views, start, len(argument._views[0])))
        for views, start, size in owners:
            if start <= (result or 0) <= start + size - struct.size:
                return struct._over(views, (result or 0) - start)
        raise SimulationError(
            f"the {struct.__name__} returned lies neither in memory nor in an argument"
        )

    def _callback(self, python: FunctionType) -> Any:
        """Let native code call a Python body; what it raises is raised again by `call`."""
        source = Source(python)

        def run(*operands: Any) -> Any:
            if self._error is not None:
                return 0
            try:
                arguments = [
                    _view(operand, type_)
                    for operand, (_, type_) in zip(operands, source.parameters, strict=True)
                ]
                result = python(*arguments)
                return 0 if source.result is None else _lower(result, source.result, "the result")
            except BaseException as error:
                self._error = error
                return 0

        return _prototype(source)(run)


_MACHINE_OPS = {
    *("mrs", "msr", "sysop", "sysop0", "barrier", "hint", "at", "address", "read", "write"),
    *("swap", "fetch_add", "compare_exchange", "symbol", "bytes"),
}


def _touches_machine(function: ir.Function) -> bool:
    """Tell whether a function, or one it calls, does what only a simulation can answer."""
    seen, work = {function}, [function]
    while work:
        for instruction in work.pop().instructions():
            if instruction.op in _MACHINE_OPS:
                return True
            if instruction.op == "call":
                (callee,) = instruction.attributes
                assert isinstance(callee, ir.Function)
                if callee not in seen:
                    seen.add(callee)
                    work.append(callee)
    return False


@cache
def _no_machine() -> Simulation:
    """Give the block that code needs for its fault counters even when it touches no machine."""
    return Simulation(memory=8)


def _prototype(source: Source) -> Any:
    result = None if source.result is None else _ctype(source.result)
    return ctypes.CFUNCTYPE(result, *(_ctype(type_) for _, type_ in source.parameters))


def _ctype(type_: Type) -> Any:
    if isinstance(type_.of, Scalar):
        return ctypes.c_uint64
    return ctypes.c_bool if type_.of is bool else ctypes.c_void_p


def _lower(argument: Any, type_: Type, name: str) -> Any:
    """Check a Python value and turn it into what native code takes."""
    wanted = type_.of
    if isinstance(wanted, StructMeta):
        if not isinstance(argument, wanted):
            raise TypeError(f"{name} is a {wanted.__name__}, not {type(argument).__name__}")
        return cast(Struct, argument).host_address
    if not isinstance(argument, int):
        raise TypeError(f"{name} is a {type_.name}, not {type(argument).__name__}")
    mask = wanted.mask if isinstance(wanted, Scalar) else 1
    if not 0 <= argument <= mask:
        raise ValueError(f"{name} cannot be {argument:#x}: it is a {type_.name}")
    return int(argument)


def _view(operand: Any, type_: Type) -> Any:
    """Turn a native argument of a callback into a Python value."""
    if not isinstance(type_.of, StructMeta):
        return operand
    struct = cast("type[Struct]", type_.of)
    return struct((ctypes.c_char * max(struct.size, 8)).from_address(operand))
