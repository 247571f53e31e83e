"""From the IR to LLVM IR, as text.

`HardwareWriter` gives operations their machine meaning. llvmlite has no AArch64 assembly parser, so
system registers and instructions go through `llvm.read_volatile_register` and `llvm.write_register`
(an op0 of 1 makes that a SYS), barriers and hints through intrinsics.
"""

from __future__ import annotations

from vel2.lang import ir
from vel2.lang.ir import (
    Blob,
    Block,
    Function,
    Immediate,
    Instruction,
    Kind,
    Local,
    Module,
    Operand,
    SystemName,
    Table,
)
from vel2.lang.lines import DebugInfo
from vel2.lang.types import WORD_BITS

_TYPES = {Kind.INT: "i64", Kind.BOOL: "i1", Kind.REF: "ptr"}
_RETURN = {Kind.INT: "i64", Kind.BOOL: "zeroext i1", Kind.REF: "ptr"}
_PARAMETER = {Kind.INT: "i64", Kind.BOOL: "i1 zeroext", Kind.REF: "ptr"}
_BINARY = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor"}
_LOGIC = {"band": "and", "bor": "or", "bxor": "xor"}
_COMPARE = {"eq": "eq", "ne": "ne", "lt": "ult", "le": "ule", "gt": "ugt", "ge": "uge"}
_COUNT = {"clz": "ctlz", "ctz": "cttz", "rbit": "bitreverse"}
_ATOMIC = {"swap": "xchg", "fetch_add": "add"}

# No floating-point or vector register, no memset or memcpy made out of a loop, no unwinding, and
# address 0 is memory like any other.
ATTRIBUTES = 'nounwind noimplicitfloat null_pointer_is_valid "no-builtins"'


def convention(function: Function) -> str:
    """Say how a function is called: one that is cold keeps nearly all registers for its caller."""
    return "preserve_mostcc " if function.cold else ""


class HardwareWriter:
    """Writes a module for the machine itself.

    :param check_bounds: stop at a BRK when an index is outside its array.
    """

    has_lines = True
    attributes = ATTRIBUTES
    """LLVM's, of every function."""

    def __init__(self, module: Module, *, check_bounds: bool = False) -> None:
        self.module = module
        self.check_bounds = check_bounds
        self.lines: list[str] = []
        self.declared: dict[str, str] = {}
        self.metadata: dict[str, int] = {}
        self.debug = DebugInfo(self.metadata)
        self.place = ""
        self.temporaries = 0

    def write(self, triple: str, data_layout: str) -> str:
        """Give the whole module."""
        for function in self.module.functions.values():
            if not function.external:
                self._function(function)
        head = [f'target datalayout = "{data_layout}"', f'target triple = "{triple}"']
        head += self._globals()
        head += [self._external(f) for f in self.module.functions.values() if f.external]
        tail = [f"attributes #0 = {{ {self.attributes} }}"]
        tail.append(f"attributes #1 = {{ alwaysinline {self.attributes} }}")
        tail.append(f"attributes #2 = {{ cold noinline {self.attributes} }}")
        tail += self.debug.module_flags()
        tail += [f"!{number} = {text}" for text, number in self.metadata.items()]
        return "\n".join([*head, *self.declared.values(), *self.lines, *tail, ""])

    # -- the frame

    def _globals(self) -> list[str]:
        found = []
        for table in self.module.tables:
            values = ", ".join(f"i64 {value}" for value in table.values)
            found.append(
                f"@{table.name} = internal unnamed_addr constant "
                f"[{len(table.values)} x i64] [{values}], align 8"
            )
        for blob in self.module.blobs:
            text = "".join(f"\\{octet:02X}" for octet in blob.data)
            found.append(
                f"@{blob.name} = internal unnamed_addr constant "
                f'[{len(blob.data)} x i8] c"{text}", align 8'
            )
        return found

    def _head(self, function: Function) -> tuple[str, str]:
        result = "void" if function.result is None else _RETURN[function.result]
        parameters = ", ".join(
            f"{_PARAMETER[local.kind]} %p.{local.name}" for local in function.parameters
        )
        return result, f"@{function.name}({parameters})"

    def _external(self, function: Function) -> str:
        result, rest = self._head(function)
        return f"declare dso_local {result} {rest} #0"

    def _function(self, function: Function) -> None:
        function.renumber()
        self.temporaries = 0
        result, rest = self._head(function)
        linkage = "dso_local" if function.exported else "internal"
        attributes = "#1" if function.inline else "#2" if function.cold else "#0"
        scope = ""
        if function.location is not None and self.has_lines:
            scope = f" !dbg {self.debug.subprogram(function.name, function.location)}"
        head = f"{linkage} {convention(function)}{result} {rest}"
        self.lines.append(f"define {head} {attributes}{scope} {{")
        self.lines.append("slots:")
        for local in (*function.parameters, *function.locals):
            self.line(f"{self.slot(local)} = alloca {_TYPES[local.kind]}, align 8")
        for local in function.parameters:
            self.line(
                f"store {_TYPES[local.kind]} %p.{local.name}, ptr {self.slot(local)}, align 8"
            )
        self.line(f"br label %{function.blocks[0].name}")
        for block in function.blocks:
            self.lines.append(f"{block.name}:")
            for instruction in block.instructions:
                where = instruction.location or function.location
                if scope and where is not None:
                    self.place = f", !dbg {self.debug.place(function.name, where)}"
                getattr(self, f"_op_{instruction.op}", self._op_other)(instruction)
        self.lines.append("}")
        self.place = ""

    # -- helpers

    def line(self, text: str) -> None:
        """Add one instruction."""
        self.lines.append(f"  {text}{self.place}")

    def new(self, text: str) -> str:
        """Add an instruction with an unnamed result, and give the result's name."""
        name = f"%t{self.temporaries}"
        self.temporaries += 1
        self.line(f"{name} = {text}")
        return name

    def slot(self, local: Local) -> str:
        """Name the stack slot of a local."""
        return f"%l.{local.name}"

    def value(self, operand: Operand) -> str:
        """Name an operand."""
        if isinstance(operand, Immediate):
            if operand.kind is Kind.BOOL:
                return "true" if operand.value else "false"
            return str(operand.value)
        return f"%v{operand.number}"

    def result(self, instruction: Instruction, text: str) -> None:
        """Add the instruction that defines an IR value."""
        self.line(f"%v{instruction.number} = {text}")

    def declare(self, name: str, result: str, parameters: str) -> str:
        """Declare an LLVM intrinsic or external symbol once, and give its name."""
        self.declared.setdefault(name, f"declare {result} @{name}({parameters})")
        return f"@{name}"

    def _values(self, instruction: Instruction) -> list[str]:
        return [self.value(arg) for arg in instruction.args]

    # -- locals and arithmetic

    def _op_get(self, instruction: Instruction) -> None:
        (local,) = instruction.attributes
        assert isinstance(local, Local)
        self.result(instruction, f"load {_TYPES[local.kind]}, ptr {self.slot(local)}, align 8")

    def _op_set(self, instruction: Instruction) -> None:
        (local,) = instruction.attributes
        assert isinstance(local, Local)
        (value,) = self._values(instruction)
        self.line(f"store {_TYPES[local.kind]} {value}, ptr {self.slot(local)}, align 8")

    def _op_other(self, instruction: Instruction) -> None:
        """Write the operations that are one LLVM instruction."""
        op, values = instruction.op, self._values(instruction)
        if op in _BINARY:
            self.result(instruction, f"{_BINARY[op]} i64 {values[0]}, {values[1]}")
        elif op in _LOGIC:
            self.result(instruction, f"{_LOGIC[op]} i1 {values[0]}, {values[1]}")
        elif op in _COMPARE:
            self.result(instruction, f"icmp {_COMPARE[op]} i64 {values[0]}, {values[1]}")
        elif op in _COUNT:
            flag = "" if op == "rbit" else ", i1 false"
            parameters = "i64" if op == "rbit" else "i64, i1"
            name = self.declare(f"llvm.{_COUNT[op]}.i64", "i64", parameters)
            self.result(instruction, f"call i64 {name}(i64 {values[0]}{flag})")
        elif op in _ATOMIC:
            pointer = self.pointer(instruction, values[0])
            self.result(
                instruction,
                f"atomicrmw volatile {_ATOMIC[op]} ptr {pointer}, i64 {values[1]} acq_rel, align 8",
            )
        else:
            raise NotImplementedError(f"no LLVM IR for the operation {op}")

    def _op_beq(self, instruction: Instruction) -> None:
        a, b = self._values(instruction)
        self.result(instruction, f"icmp eq i1 {a}, {b}")

    def _op_not(self, instruction: Instruction) -> None:
        self.result(instruction, f"xor i1 {self._values(instruction)[0]}, true")

    def _op_int(self, instruction: Instruction) -> None:
        self.result(instruction, f"zext i1 {self._values(instruction)[0]} to i64")

    def _shift(self, instruction: Instruction, name: str) -> None:
        """Shift; 64 or more gives 0, where LLVM's own shift has no meaning."""
        value, amount = self._values(instruction)
        constant = instruction.args[1]
        if isinstance(constant, Immediate):
            shifted = f"{name} i64 {value}, {amount}"
            self.result(instruction, shifted if constant.value < WORD_BITS else "add i64 0, 0")
            return
        inside = self.new(f"icmp ult i64 {amount}, {WORD_BITS}")
        masked = self.new(f"and i64 {amount}, {WORD_BITS - 1}")
        shifted = self.new(f"{name} i64 {value}, {masked}")
        self.result(instruction, f"select i1 {inside}, i64 {shifted}, i64 0")

    def _op_shl(self, instruction: Instruction) -> None:
        self._shift(instruction, "shl")

    def _op_shr(self, instruction: Instruction) -> None:
        self._shift(instruction, "lshr")

    def _division(self, instruction: Instruction, name: str, by_zero: str) -> None:
        """Divide; by 0 gives what UDIV and MSUB give, where LLVM's own division has no meaning."""
        value, divisor = self._values(instruction)
        constant = instruction.args[1]
        if isinstance(constant, Immediate) and constant.value:
            self.result(instruction, f"{name} i64 {value}, {divisor}")
            return
        is_zero = self.new(f"icmp eq i64 {divisor}, 0")
        safe = self.new(f"select i1 {is_zero}, i64 1, i64 {divisor}")
        found = self.new(f"{name} i64 {value}, {safe}")
        self.result(instruction, f"select i1 {is_zero}, i64 {by_zero}, i64 {found}")

    def _op_div(self, instruction: Instruction) -> None:
        self._division(instruction, "udiv", "0")

    def _op_mod(self, instruction: Instruction) -> None:
        self._division(instruction, "urem", self._values(instruction)[0])

    # -- references and fields

    def _op_member(self, instruction: Instruction) -> None:
        (base,) = self._values(instruction)
        (offset,) = instruction.attributes
        self.result(instruction, f"getelementptr i8, ptr {base}, i64 {offset}")

    def _op_element(self, instruction: Instruction) -> None:
        base, index = self._values(instruction)
        stride, count = instruction.attributes
        if self.check_bounds and count:
            index = self.checked_index(index, str(count))
        self.result(instruction, f"getelementptr [{stride} x i8], ptr {base}, i64 {index}")

    def checked_index(self, index: str, count: str) -> str:
        """Stop the machine unless index < count."""
        inside = self.new(f"icmp ult i64 {index}, {count}")
        number = self.temporaries
        trap = self.declare("llvm.debugtrap", "void", "")
        self.line(f"br i1 {inside}, label %in.{number}, label %out.{number}")
        self.lines.append(f"out.{number}:")
        self.line(f"call void {trap}()")
        self.line("unreachable")
        self.lines.append(f"in.{number}:")
        return index

    def _op_at(self, instruction: Instruction) -> None:
        self.result(instruction, f"inttoptr i64 {self._values(instruction)[0]} to ptr")

    def _op_address(self, instruction: Instruction) -> None:
        self.result(instruction, f"ptrtoint ptr {self._values(instruction)[0]} to i64")

    def _load(self, instruction: Instruction, pointer: str) -> None:
        width, order = instruction.attributes
        assert isinstance(width, int)
        words = {"plain": "load", "volatile": "load volatile", "acquire": "load atomic volatile"}
        suffix = " acquire" if order == "acquire" else ""
        text = f"{words[str(order)]} i{width}, ptr {pointer}{suffix}, align {width // 8}"
        if width == WORD_BITS:
            self.result(instruction, text)
        else:
            self.result(instruction, f"zext i{width} {self.new(text)} to i64")

    def _store(self, instruction: Instruction, pointer: str, value: str) -> None:
        width, order = instruction.attributes
        assert isinstance(width, int)
        words = {"plain": "store", "volatile": "store volatile", "release": "store atomic volatile"}
        suffix = " release" if order == "release" else ""
        if width < WORD_BITS:
            value = self.new(f"trunc i64 {value} to i{width}")
        self.line(
            f"{words[str(order)]} i{width} {value}, ptr {pointer}{suffix}, align {width // 8}"
        )

    def _op_load(self, instruction: Instruction) -> None:
        self._load(instruction, self._values(instruction)[0])

    def _op_store(self, instruction: Instruction) -> None:
        pointer, value = self._values(instruction)
        self._store(instruction, pointer, value)

    def pointer(self, instruction: Instruction, address: str) -> str:
        """Turn a physical address into a pointer."""
        return self.new(f"inttoptr i64 {address} to ptr")

    def _op_read(self, instruction: Instruction) -> None:
        self._load(instruction, self.pointer(instruction, self._values(instruction)[0]))

    def _op_write(self, instruction: Instruction) -> None:
        address, value = self._values(instruction)
        self._store(instruction, self.pointer(instruction, address), value)

    def _op_compare_exchange(self, instruction: Instruction) -> None:
        address, expected, value = self._values(instruction)
        pointer = self.pointer(instruction, address)
        pair = self.new(
            f"cmpxchg volatile ptr {pointer}, i64 {expected}, i64 {value} acq_rel acquire, align 8"
        )
        self.result(instruction, f"extractvalue {{ i64, i1 }} {pair}, 0")

    def _op_lookup(self, instruction: Instruction) -> None:
        (table,) = instruction.attributes
        assert isinstance(table, Table)
        (index,) = self._values(instruction)
        if self.check_bounds:
            index = self.checked_index(index, str(len(table.values)))
        pointer = self.new(f"getelementptr i64, ptr @{table.name}, i64 {index}")
        self.result(instruction, f"load i64, ptr {pointer}, align 8")

    def _op_bytes(self, instruction: Instruction) -> None:
        (blob,) = instruction.attributes
        assert isinstance(blob, Blob)
        self.result(instruction, f"ptrtoint ptr @{blob.name} to i64")

    def _op_symbol(self, instruction: Instruction) -> None:
        (name,) = instruction.attributes
        self.declared.setdefault(str(name), f"@{name} = external dso_local global i8")
        self.result(instruction, f"ptrtoint ptr @{name} to i64")

    # -- the machine

    def _register(self, name: SystemName) -> str:
        text = ":".join(map(str, name.encoding))
        node = self.debug.node(f'!{{!"{text}"}}')
        return f"metadata {node}"

    def _op_mrs(self, instruction: Instruction) -> None:
        (register,) = instruction.attributes
        assert isinstance(register, SystemName)
        read = self.declare("llvm.read_volatile_register.i64", "i64", "metadata")
        self.result(instruction, f"call i64 {read}({self._register(register)})")

    def _write_register(self, instruction: Instruction, value: str) -> None:
        (register,) = instruction.attributes
        assert isinstance(register, SystemName)
        write = self.declare("llvm.write_register.i64", "void", "metadata, i64")
        self.line(f"call void {write}({self._register(register)}, i64 {value})")

    def _op_msr(self, instruction: Instruction) -> None:
        self._write_register(instruction, self._values(instruction)[0])

    def _op_sysop(self, instruction: Instruction) -> None:
        self._write_register(instruction, self._values(instruction)[0])

    def _op_sysop0(self, instruction: Instruction) -> None:
        self._write_register(instruction, "0")

    def _op_barrier(self, instruction: Instruction) -> None:
        name, option = ir.BARRIERS[str(instruction.attributes[0])]
        barrier = self.declare(f"llvm.aarch64.{name}", "void", "i32")
        self.line(f"call void {barrier}(i32 {option})")

    def _op_hint(self, instruction: Instruction) -> None:
        number = ir.HINTS[str(instruction.attributes[0])]
        self.line(f"call void {self.declare('llvm.aarch64.hint', 'void', 'i32')}(i32 {number})")

    # -- control

    def _op_call(self, instruction: Instruction) -> None:
        (callee,) = instruction.attributes
        assert isinstance(callee, Function)
        arguments = ", ".join(
            f"{_PARAMETER[local.kind]} {self.value(arg)}"
            for local, arg in zip(callee.parameters, instruction.args, strict=True)
        )
        if callee.result is None:
            self.line(f"call {convention(callee)}void @{callee.name}({arguments})")
        else:
            what = f"{convention(callee)}{_RETURN[callee.result]} @{callee.name}({arguments})"
            self.result(instruction, f"call {what}")

    def _op_jump(self, instruction: Instruction) -> None:
        (target,) = instruction.attributes
        assert isinstance(target, Block)
        self.line(f"br label %{target.name}")

    def _op_branch(self, instruction: Instruction) -> None:
        yes, no = instruction.attributes
        assert isinstance(yes, Block) and isinstance(no, Block)
        (condition,) = self._values(instruction)
        self.line(f"br i1 {condition}, label %{yes.name}, label %{no.name}")

    def _op_switch(self, instruction: Instruction) -> None:
        cases, default = instruction.attributes
        assert isinstance(cases, tuple) and isinstance(default, Block)
        rows = " ".join(f"i64 {number}, label %{block.name}" for number, block in cases)
        (value,) = self._values(instruction)
        self.line(f"switch i64 {value}, label %{default.name} [ {rows} ]")

    def _op_return(self, instruction: Instruction) -> None:
        if not instruction.args:
            self.line("ret void")
            return
        argument = instruction.args[0]
        kind = argument.kind
        assert kind is not None
        self.line(f"ret {_TYPES[kind]} {self.value(argument)}")

    def _op_unreachable(self, instruction: Instruction) -> None:
        self.line("unreachable")
